/*
 * Any bytes as the lines of patron-requests --stdin. However they arrive, each line that is not blank is answered once, in order,
 * in one line of JSON, and only what is accepted goes on. Bytes: how large the pieces are, text. Behind a first byte of 255 the
 * byte 1 stands for 70,000 of x, up to twice: a line too long.
 */
#include "producers/patron-requests/lines.c"

#include "tests/fuzz/fuzz.h"

/* ---- what takes them in: it tells a moment later, and now and then that it knew one, or another under its ref ---- */

static struct intake_item *taken[LINES_MAX];
static int taken_count;
static bool telling;

struct intake_item *intake_put(const struct wish *wish, const char *caller_name, const char *asked, intake_told *told, void *of)
{
    struct intake_item *item = calloc(1, sizeof *item);
    SCOPED(json_object_put) json_object *stored = NULL;

    want(item && taken_count < LINES_MAX && wish->service && wish->action && *wish->ref && *wish->patron && *caller_name);
    want(!json_read(asked, strlen(asked), &stored).kind && json_object_is_type(stored, json_type_object));
    memcpy(item->id, "1ec54964-70f0-44cc-bd19-2a892ea0d336", sizeof item->id);
    item->ref = strdup(wish->ref);
    item->told = told;
    item->of = of;
    taken[taken_count++] = item;
    return item;
}

void intake_leave(struct intake_item *item)
{
    free(item->ref);
    free(item->row);
    free(item);
}

static void tell(void)
{
    static const enum intake_end ends[] = {INTAKE_ACCEPTED, INTAKE_KNOWN, INTAKE_OTHER, INTAKE_FAILED};

    for (int i = 0; i < taken_count; i++) {
        struct intake_item *item = taken[i];
        item->end = ends[strlen(item->ref) % COUNT(ends)];
        item->row = item->end == INTAKE_KNOWN ? strdup("{}") : NULL;
        item->told(item);
    }
    taken_count = 0;
}

/* What else of the intake the others ask for is of the service alone. */
struct fault intake_open(struct producer *p, bool patient)
{
    (void)p;
    (void)patient;
    abort();
}

void intake_drain(int ms)
{
    (void)ms;
    abort();
}

int intake_in_hand(void)
{
    abort();
}

void intake_trouble(struct text *why)
{
    (void)why;
    abort();
}

bool intake_busy(bool caught_up)
{
    (void)caught_up;
    abort();
}

/* ---- lines ---- */

static bool turn(void)
{
    size_t left = input.len;
    int under_way = line_count;

    take_lines();
    if (telling)
        tell();
    telling = !telling;
    print_told();
    return input.len != left || line_count != under_way || (line_count && telling);
}

/* What is said of the text when it arrives in pieces of that length. The caller's. */
static char *feed(const char *bytes, size_t len, size_t piece)
{
    char *said = NULL;
    size_t said_len;
    FILE *terminal = stdout;

    stdout = open_memstream(&said, &said_len);
    want(stdout != NULL);
    first = line_count = number = refused = 0;
    at_end = skipping = telling = false;
    while (len) {
        size_t part = len < piece ? len : piece;
        text_add(&input, bytes, part);
        bytes += part;
        len -= part;
        while (input.len > LINE_BYTES && turn())
            ;
    }
    at_end = true;
    while ((line_count || input.len) && turn())
        ;
    want(!line_count && !input.len && !taken_count);
    fclose(stdout);
    stdout = terminal;
    return said;
}

static void want_answers(const char *said, int lines_most)
{
    int64_t last = 0, count = 0, status, line;

    for (const char *at = said, *end; *at; at = end + 1, count++) {
        SCOPED(json_object_put) json_object *answer = NULL;
        end = strchr(at, '\n');
        want(end && !json_read(at, (size_t)(end - at), &answer).kind);
        want(!json_int(answer, "line", last + 1, lines_most, &line).kind);
        want(!json_int(answer, "status", 200, 500, &status).kind);
        want((status < 300) == (json_get(answer, "request") != NULL) && (status < 300) != (json_get(answer, "detail") != NULL));
        last = line;
    }
    want(count <= lines_most);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char x[70000];
    struct text all = {0};
    int lines_most = 1, long_ones = 0;

    if (!size)
        return 0;
    caller = (struct caller){.name = "discovery", .may = {true, true, true}};
    if (!*x)
        memset(x, 'x', sizeof x);
    for (size_t i = 1; i < size; i++) {
        lines_most += data[i] == '\n';
        if (data[0] == 255 && data[i] == 1 && long_ones++ < 2)
            text_add(&all, x, sizeof x);
        else
            text_add(&all, (const char *)&data[i], 1);
    }
    char *whole = feed(text_str(&all), all.len, all.len + 1), *parts = feed(text_str(&all), all.len, 1 + data[0] * 16u);
    want_answers(whole, lines_most);
    want(!strcmp(whole, parts));
    free(whole);
    free(parts);
    text_free(&all);
    return 0;
}

#include "producers/patron-requests/lines.h"

#include "common/json.h"
#include "common/loop.h"
#include "common/scoped.h"
#include "producers/patron-requests/api.h"
#include "producers/patron-requests/callers.h"
#include "producers/patron-requests/intake.h"
#include "producers/patron-requests/problem.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* What becomes of a line, until those before it have been told. */
struct line {
    int number, status;
    struct intake_item *item;
    struct text refusal; /* the members behind "status" */
    bool told;
};

static struct line lines[LINES_MAX]; /* a ring */
static int first, line_count, number, refused;
static struct caller caller;
static struct text input;
static size_t input_read; /* of input: lines that were taken */
static bool at_end, readable, skipping; /* skipping: the rest of a line that is too long */
static struct loop_fd watch;

/* ---- out ---- */

static void print(struct line *l)
{
    static struct text out;

    text_clear(&out);
    text_printf(&out, "{\"line\":%d,\"status\":%d", l->number, l->status);
    if (l->item && l->item->end == INTAKE_KNOWN) {
        text_printf(&out, ",\"request\":%s", l->item->row);
    } else if (l->item && l->item->end == INTAKE_ACCEPTED) {
        text_puts(&out, ",\"request\":{\"request_id\":");
        text_json(&out, l->item->id);
        text_puts(&out, ",\"ref\":");
        text_json(&out, l->item->ref);
        text_puts(&out, ",\"state\":\"accepted\"}");
    } else {
        text_add(&out, text_str(&l->refusal), l->refusal.len);
    }
    text_puts(&out, "}\n");
    fwrite(text_str(&out), 1, out.len, stdout);
    refused += l->status >= 300;
    if (l->item)
        intake_leave(l->item);
    text_free(&l->refusal);
}

static void print_told(void)
{
    bool any = false;

    for (; line_count && lines[first].told; line_count--, first = (first + 1) % LINES_MAX) {
        print(&lines[first]);
        any = true;
    }
    if (any)
        fflush(stdout);
}

static void on_told(struct intake_item *item)
{
    struct line *l = item->of;

    l->told = true;
    l->status = item->end == INTAKE_ACCEPTED ? 202 : item->end == INTAKE_KNOWN ? 200 : item->end == INTAKE_OTHER ? 409 : 500;
    if (l->status >= 300)
        text_puts(&l->refusal, l->status == 409 ? ",\"detail\":\"another request was sent under this ref before\""
                                                : ",\"detail\":\"PostgreSQL refuses this request\"");
}

/* ---- in ---- */

static void refuse(struct line *l, int status, const char *detail, struct mistakes *errors)
{
    l->told = true;
    l->status = status;
    text_puts(&l->refusal, ",\"detail\":");
    text_json(&l->refusal, detail);
    if (!errors || !errors->count)
        return;
    text_puts(&l->refusal, ",\"errors\":[");
    text_add(&l->refusal, text_str(&errors->json), errors->json.len);
    text_putc(&l->refusal, ']');
}

static void check_line(struct line *l, const char *bytes, json_object *in)
{
    static struct wish wishes[FORMS_ITEMS_MAX];
    static struct text asked;
    struct mistakes errors = {0};

    if (!json_object_is_type(in, json_type_object))
        mistake(&errors, "", "want an object");
    else
        api_check(in, bytes, &caller, time(NULL), &errors, wishes);
    if (errors.count) {
        refuse(l, 422, "not taken: mend what the errors name", &errors);
    } else {
        text_clear(&asked);
        form_asked(in, &asked);
        l->item = intake_put(&wishes[0], caller.name, text_str(&asked), on_told, l);
        if (!l->item)
            refuse(l, 500, "memory is out", NULL);
    }
    text_free(&errors.json);
}

static void take_line(const char *bytes, size_t len)
{
    SCOPED(json_object_put) json_object *in = NULL;
    struct line *l = &lines[(first + line_count) % LINES_MAX];

    number++;
    if (!len || strspn(bytes, " \t\r") == len)
        return;
    *l = (struct line){.number = number};
    line_count++;
    struct fault f = forms_room(bytes, len);
    if (!f.kind)
        f = json_read(bytes, len, &in);
    if (f.kind)
        refuse(l, 400, f.what, NULL);
    else
        check_line(l, bytes, in);
}

static void refuse_long(void)
{
    struct line *l = &lines[(first + line_count++) % LINES_MAX];

    *l = (struct line){.number = ++number};
    refuse(l, 413, "a line has at most 64 KiB", NULL);
}

/* Whole lines of what was read; at the end also what has no line end. */
static void take_lines(void)
{
    while (line_count < LINES_MAX) {
        char *begin = input.at + input_read, *end = input.at ? memchr(begin, '\n', input.len - input_read) : NULL;
        size_t left = input.len - input_read;
        size_t len = end ? (size_t)(end - begin) : left;
        if (!left || (!end && !at_end && len <= LINE_BYTES && !skipping))
            break;
        if (end)
            *end = '\0';
        if (len > LINE_BYTES && !skipping)
            refuse_long();
        else if (!skipping)
            take_line(begin, len);
        skipping = !end && !at_end;
        input_read += len + (end != NULL);
    }
    if (input_read && input.at) {
        memmove(input.at, input.at + input_read, input.len - input_read);
        input.len -= input_read;
        input.at[input.len] = '\0';
        input_read = 0;
    }
}

static void read_input(void)
{
    char piece[65536];
    ssize_t n = read(STDIN_FILENO, piece, sizeof piece);

    if (n > 0)
        text_add(&input, piece, (size_t)n);
    else if (!n || (errno != EAGAIN && errno != EINTR))
        at_end = true;
    readable = false;
}

static void on_readable(void *of, uint32_t events)
{
    (void)of;
    (void)events;
    readable = true;
}

static struct fault find_caller(struct producer *p, const char *name)
{
    SCOPED(PQclear) PGresult *res = NULL;

    TRY(producer_run(p, &res, "SELECT caller, array_to_string(services, ','), coalesce(callback_secret, '') FROM callers"
                              " WHERE caller = $1 AND revoked_at IS NULL", 1, (const char *const[]){name}));
    if (!PQntuples(res))
        return FAULT(MISUSE, "there is no caller %.40s: patron-requests --callers lists them", name);
    caller_read(res, 0, &caller);
    return FAULT_OK;
}

struct fault lines_run(struct producer *p, const char *name, int *ret_refused)
{
    struct loop *loop = producer_loop(p);
    struct stat is;

    TRY(find_caller(p, name));
    bool file = !fstat(STDIN_FILENO, &is) && S_ISREG(is.st_mode); /* always readable, and epoll takes none */
    while ((!at_end || line_count || input.len) && !loop_stopping(loop)) {
        bool wants = !at_end && line_count < LINES_MAX && input.len <= LINE_BYTES;
        if (wants && (file || readable))
            read_input();
        take_lines();
        print_told();
        bool more = wants && file && !at_end;
        loop_watch(loop, &watch, STDIN_FILENO, wants && !file && !at_end ? EPOLLIN : 0, on_readable, NULL);
        loop_turn(loop, more || readable ? 0 : 100);
        print_told();
    }
    loop_watch(loop, &watch, -1, 0, NULL, NULL);
    text_free(&input);
    *ret_refused = refused;
    return loop_stopping(loop) ? FAULT(RETRY, "told to stop: run it again with the same lines") : FAULT_OK;
}

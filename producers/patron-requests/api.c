#include "producers/patron-requests/api.h"

#include "common/json.h"
#include "common/log.h"
#include "common/loop.h"
#include "common/metrics.h"
#include "producers/patron-requests/callbacks.h"
#include "producers/patron-requests/intake.h"
#include "producers/patron-requests/looks.h"
#include "producers/patron-requests/problem.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/queue.h>
#include <time.h>

enum { RETRY_S = 2, REF_SIZE = 129, SWEEP_US = 250000 };

static struct producer *producer;
static struct loop *loop;
static struct metric *refused_requests;

/* What a request waits for: requests being taken, or a look. */
struct post {
    TAILQ_ENTRY(post) at;
    struct server_request *r;
    int64_t until_us;
    bool array;
    int count, under_way;
    struct intake_item *items[];
};

struct visit {
    char caller[CALLER_SIZE];
    struct post *post;
    struct look *look;
};

static TAILQ_HEAD(, post) posts = TAILQ_HEAD_INITIALIZER(posts); /* the oldest first: all have the same time */
static struct loop_timer sweep_timer;

/* ---- answers ---- */

static struct text body;

static void answer_problem(struct server_request *r, int status, const char *detail, const struct mistakes *errors)
{
    struct server_answer a = {.status = status, .type = problem_type};

    text_clear(&body);
    problem_write(&body, status, detail, errors);
    a.body = text_str(&body);
    a.len = body.len;
    a.retry_after_s = status == 503 ? RETRY_S : 0;
    a.authenticate = status == 401 ? "Bearer" : NULL;
    server_answer(r, &a);
}

static void answer_json(struct server_request *r, int status, const char *json, size_t len, const char *location)
{
    server_answer(r, &(struct server_answer){.status = status, .type = "application/json", .body = json, .len = len,
                                             .location = location});
}

/* ---- the head: who, what and where ---- */

static const char *token_of(const char *authorization)
{
    if (strncasecmp(authorization, "Bearer ", 7) != 0)
        return NULL;
    authorization += 7;
    return authorization + strspn(authorization, " ");
}

static void wrong_token(struct server_request *r, const char *detail)
{
    int wait_s = callers_wrong_token(r->from, loop_now(loop));

    if (!wait_s) {
        answer_problem(r, 401, detail, NULL);
        return;
    }
    text_clear(&body);
    problem_write(&body, 429, "too many wrong tokens from this address", NULL);
    server_answer(r, &(struct server_answer){.status = 429, .type = problem_type, .body = text_str(&body), .len = body.len,
                                             .retry_after_s = wait_s, .close = true});
}

static void allow(struct server_request *r, const char *methods)
{
    text_clear(&body);
    problem_write(&body, 405, "this path knows other methods", NULL);
    server_answer(r, &(struct server_answer){.status = 405, .type = problem_type, .body = text_str(&body), .len = body.len,
                                             .allow = methods});
}

static bool is_json(const char *type)
{
    static const char json[] = "application/json";
    size_t n = sizeof json - 1;

    return !strncasecmp(type, json, n) && (!type[n] || type[n] == ';' || type[n] == ' ');
}

static bool is_uuid(const char *text)
{
    static const char form[] = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx";
    size_t at = 0;

    while (form[at] && text[at] && (form[at] == 'x' ? strchr("0123456789abcdefABCDEF", text[at]) != NULL : text[at] == '-'))
        at++;
    return !form[at] && !text[at];
}

static const char *id_of(const char *path)
{
    return !strncmp(path, "/requests/", 10) ? path + 10 : NULL;
}

/* Who asks what became of a request needs less than who sends one. */
static bool is_troubled(bool post)
{
    struct text why = {0};

    if (post)
        api_trouble(&why);
    bool troubled = why.len || !producer_locked(producer) || producer_held(producer) || !questions_up();
    text_free(&why);
    return troubled;
}

static const char held[] = "the database was restored from a backup, and somebody must say so before requests are taken and told again";

static void on_head(struct server_request *r)
{
    const char *id = id_of(r->path);
    bool post = !strcmp(r->method, "POST"), get = !strcmp(r->method, "GET"), all = !strcmp(r->path, "/requests");
    const char *token = token_of(r->authorization);
    const struct caller *caller = token && callers_known() ? caller_by_token(token) : NULL;

    if (!callers_known())
        answer_problem(r, 503, "nothing is known yet", NULL);
    else if (!token)
        answer_problem(r, 401, "want a header Authorization: Bearer and a token", NULL);
    else if (!caller)
        wrong_token(r, "nobody's token");
    else if (is_troubled(post))
        answer_problem(r, 503, producer_held(producer) ? held : "nothing can be taken now: send it again, with the same ref", NULL);
    else if (!all && (!id || !is_uuid(id)))
        answer_problem(r, 404, "there is nothing at this path", NULL);
    else if (!get && !(all && post))
        allow(r, all ? "GET, POST" : "GET");
    else if (post && !is_json(r->content_type))
        answer_problem(r, 415, "want Content-Type: application/json", NULL);
    struct visit *visit = caller ? calloc(1, sizeof *visit) : NULL;
    if (visit)
        memcpy(visit->caller, caller->name, sizeof visit->caller);
    r->of = visit;
}

/* ---- POST ---- */

static void item_result(const struct intake_item *item)
{
    if (item->end == INTAKE_KNOWN) {
        text_puts(&body, item->row);
        return;
    }
    text_puts(&body, "{\"request_id\":");
    text_json(&body, item->id);
    text_puts(&body, ",\"ref\":");
    text_json(&body, item->ref);
    text_puts(&body, ",\"service\":");
    text_json(&body, item->service);
    text_puts(&body, ",\"action\":");
    text_json(&body, item->action);
    text_puts(&body, ",\"state\":\"accepted\"}");
}

static int status_of(const struct intake_item *item)
{
    return item->end == INTAKE_ACCEPTED ? 202 : item->end == INTAKE_KNOWN ? 200 : item->end == INTAKE_OTHER ? 409 : 500;
}

/* Each item's own status in front of what it is. */
static void array_results(const struct post *p)
{
    text_putc(&body, '[');
    for (int i = 0; i < p->count; i++) {
        int status = status_of(p->items[i]);
        text_printf(&body, "%s{\"status\":%d", i ? "," : "", status);
        if (status < 300) {
            text_puts(&body, ",\"request\":");
            item_result(p->items[i]);
        }
        text_putc(&body, '}');
    }
    text_putc(&body, ']');
}

/* Some are taken, some not: the errors say which are not, the results what became of each. */
static void answer_mixed(const struct post *p, int status)
{
    struct mistakes errors = {0};
    char pointer[32];

    for (int i = 0; i < p->count; i++) {
        int one = status_of(p->items[i]);
        snprintf(pointer, sizeof pointer, p->array ? "/%d/ref" : "/ref", i);
        if (one == 409)
            mistake(&errors, pointer, "another request was sent under this ref before");
        else if (one == 500)
            mistake(&errors, pointer, "PostgreSQL refuses this request, which is no fault of yours");
    }
    const char *detail = status == 409 ? "under a ref another request is known" : "a request could not be taken";
    text_clear(&body);
    problem_write(&body, status, detail, &errors);
    if (p->array) {
        body.len--; /* the closing brace */
        text_puts(&body, ",\"results\":");
        array_results(p);
        text_putc(&body, '}');
    }
    server_answer(p->r, &(struct server_answer){.status = status, .type = problem_type, .body = text_str(&body),
                                                .len = body.len});
    text_free(&errors.json);
}

static void answer_post(const struct post *p)
{
    char location[64];
    int worst = 200;

    for (int i = 0; i < p->count; i++)
        worst = status_of(p->items[i]) > worst ? status_of(p->items[i]) : worst;
    if (worst >= 400) {
        answer_mixed(p, worst);
        return;
    }
    text_clear(&body);
    if (p->array)
        array_results(p);
    else
        item_result(p->items[0]);
    snprintf(location, sizeof location, "/requests/%s", p->items[0]->id);
    if (body.failed)
        answer_problem(p->r, 503, "memory is out", NULL);
    else
        answer_json(p->r, worst, text_str(&body), body.len, p->array ? NULL : location);
}

static void free_post(struct post *p)
{
    TAILQ_REMOVE(&posts, p, at);
    for (int i = 0; i < p->count; i++)
        if (p->items[i])
            intake_leave(p->items[i]);
    ((struct visit *)p->r->of)->post = NULL;
    free(p);
}

static void on_told(struct intake_item *item)
{
    struct post *p = item->of;

    if (--p->under_way)
        return;
    answer_post(p);
    free_post(p);
}

static void sweep(void *of, uint32_t events)
{
    struct post *p;

    (void)of;
    (void)events;
    while ((p = TAILQ_FIRST(&posts)) && p->until_us <= loop_now(loop)) {
        answer_problem(p->r, 503, "not known to be taken: send it again, with the same ref", NULL);
        free_post(p);
    }
    if (!TAILQ_EMPTY(&posts))
        loop_timer_set(loop, &sweep_timer, loop_now(loop) + SWEEP_US);
}

int api_items(json_object *in, struct mistakes *to)
{
    if (!json_object_is_type(in, json_type_array))
        return 1;
    size_t count = json_object_array_length(in);
    if (count && count <= FORMS_ITEMS_MAX)
        return (int)count;
    mistake(to, "", "%zu requests, want 1 to %d", count, FORMS_ITEMS_MAX);
    return -1;
}

static void check_caller(const struct wish *w, const char *at, const struct caller *caller, struct mistakes *to)
{
    char pointer[32];
    const char *why = w->callback ? callback_refused(w->callback) : NULL;

    if (w->service && !caller->may[w->topic]) {
        snprintf(pointer, sizeof pointer, "%s/service", at);
        mistake(to, pointer, "this caller may not ask it");
    }
    if (w->callback && !why && !*caller->secret)
        why = "this caller has no secret that callbacks are signed with";
    if (why) {
        snprintf(pointer, sizeof pointer, "%s/callback", at);
        mistake(to, pointer, "%s", why);
    }
}

static void check_refs(const struct wish *wishes, int count, struct mistakes *to)
{
    char pointer[32];

    for (int i = 1; i < count; i++)
        for (int k = 0; k < i && wishes[i].ref; k++)
            if (wishes[k].ref && !strcmp(wishes[i].ref, wishes[k].ref)) {
                snprintf(pointer, sizeof pointer, "/%d/ref", i);
                mistake(to, pointer, "the same as that of %d", k);
                break;
            }
}

void api_check(json_object *in, const char *bytes, const struct caller *caller, int64_t now, struct mistakes *to,
               struct wish wishes[FORMS_ITEMS_MAX])
{
    bool array = json_object_is_type(in, json_type_array);
    int count = api_items(in, to);
    struct oddities odd;
    char at[8] = "";

    if (count < 0)
        return;
    forms_oddities(bytes, in, &odd);
    for (int i = 0; i < count; i++) {
        if (array)
            snprintf(at, sizeof at, "/%d", i);
        form_check(array ? json_object_array_get_idx(in, (size_t)i) : in, at, now, to, &wishes[i]);
        if (odd.twice[i])
            mistake(to, at, "a member is given twice");
        if (odd.zero[i])
            mistake(to, at, "holds a zero character");
        check_caller(&wishes[i], at, caller, to);
    }
    check_refs(wishes, count, to);
}

static void take(struct server_request *r, json_object *in, const struct wish *wishes, int count)
{
    static struct text asked;
    struct visit *visit = r->of;
    bool array = json_object_is_type(in, json_type_array);
    struct post *p = calloc(1, sizeof *p + (size_t)count * sizeof *p->items);

    if (!p) {
        answer_problem(r, 503, "memory is out", NULL);
        return;
    }
    *p = (struct post){.r = r, .array = array, .until_us = loop_now(loop) + (int64_t)API_ACCEPT_S * 1000000, .count = count,
                       .under_way = count};
    visit->post = p;
    TAILQ_INSERT_TAIL(&posts, p, at);
    if (!sweep_timer.place)
        loop_timer_set(loop, &sweep_timer, loop_now(loop) + SWEEP_US);
    for (int i = 0; i < count; i++) {
        text_clear(&asked);
        form_asked(array ? json_object_array_get_idx(in, (size_t)i) : in, &asked);
        p->items[i] = asked.failed ? NULL : intake_put(&wishes[i], visit->caller, text_str(&asked), on_told, p);
        if (!p->items[i]) { /* none is promised */
            answer_problem(r, 503, "memory is out", NULL);
            free_post(p);
            return;
        }
    }
}

static void on_post(struct server_request *r)
{
    static struct wish wishes[FORMS_ITEMS_MAX];
    SCOPED(json_object_put) json_object *in = NULL;
    struct mistakes errors = {0};
    const struct visit *visit = r->of;
    const struct caller *caller = visit ? caller_by_name(visit->caller) : NULL;
    struct fault f = forms_room(text_str(&r->body), r->body.len);

    if (!f.kind)
        f = json_read(text_str(&r->body), r->body.len, &in);
    if (!caller) {
        answer_problem(r, 401, "nobody's token any longer", NULL);
        return;
    }
    if (f.kind) {
        answer_problem(r, 400, f.what, NULL);
        return;
    }
    api_check(in, text_str(&r->body), caller, time(NULL), &errors, wishes);
    if (errors.count)
        answer_problem(r, 422, "nothing was taken: mend what the errors name, and send it again", &errors);
    else
        take(r, in, wishes, api_items(in, &errors));
    metric_add(refused_requests, errors.count > 0);
    text_free(&errors.json);
}

/* ---- GET ---- */

static void on_look(void *of, enum look_result result, const char *row)
{
    struct server_request *r = of;

    ((struct visit *)r->of)->look = NULL;
    if (result == LOOK_FOUND)
        answer_json(r, 200, row, strlen(row), NULL);
    else if (result == LOOK_NOT_FOUND)
        answer_problem(r, 404, "there is no such request of this caller", NULL);
    else
        answer_problem(r, 503, "PostgreSQL does not say", NULL);
}

static bool is_solid(const char *text)
{
    for (; *text; text++)
        if (*text <= ' ' || *text > '~')
            return false;
    return true;
}

/* -1 for what is no whole number of 0 to 30. */
static int seconds_of(const char *text)
{
    if (!*text || strlen(text) > 2 || text[strspn(text, "0123456789")])
        return -1;
    int n = atoi(text);
    return n <= API_WAIT_S ? n : -1;
}

static void on_get(struct server_request *r)
{
    struct visit *visit = r->of;
    const char *id = id_of(r->path);
    char ref[REF_SIZE] = "", wait[8] = "";
    int refs = server_argument(r, "ref", ref, sizeof ref), waits = server_argument(r, "wait", wait, sizeof wait);
    int wait_s = waits ? seconds_of(wait) : 0;

    if (!visit)
        answer_problem(r, 503, "memory is out", NULL);
    else if (waits > 1 || wait_s < 0)
        answer_problem(r, 400, "want ?wait= once, of 0 to 30 whole seconds", NULL);
    else if (!id && (refs != 1 || !*ref || !is_solid(ref)))
        answer_problem(r, 400, "want ?ref= once, of 1 to 128 characters of ASCII without spaces, percent-encoded", NULL);
    else
        visit->look = look_make(visit->caller, id, ref, wait_s, on_look, r);
    if (visit && !visit->look && wait_s >= 0)
        answer_problem(r, 503, "memory is out", NULL); /* unless it is answered */
}

static void on_whole(struct server_request *r)
{
    if (!strcmp(r->method, "POST"))
        on_post(r);
    else
        on_get(r);
}

static void on_gone(struct server_request *r)
{
    struct visit *visit = r->of;

    if (!visit)
        return;
    if (visit->post)
        free_post(visit->post);
    if (visit->look)
        look_leave(visit->look);
    free(visit);
    r->of = NULL;
}

const struct server_calls api_calls = {on_head, on_whole, on_gone};

void api_open(struct producer *p)
{
    producer = p;
    loop = producer_loop(p);
    sweep_timer = (struct loop_timer){.call = sweep};
    refused_requests = metric_make(METRIC_COUNTER, "shelfwire_requests_refused_total",
                                   "Posts refused because of mistakes in them.", "%s", "");
}

void api_trouble(struct text *why)
{
    producer_trouble(producer, why);
    intake_trouble(why);
    if (!questions_up())
        text_puts(why, why->len ? "" : "connecting to PostgreSQL; ");
    else if (!callers_known())
        text_puts(why, "who may call is not known yet; ");
}

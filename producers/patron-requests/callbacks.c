#include "producers/patron-requests/callbacks.h"

#include "common/http.h"
#include "common/log.h"
#include "common/loop.h"
#include "common/metrics.h"
#include "common/scoped.h"
#include "producers/patron-requests/callers.h"
#include "producers/patron-requests/rows.h"

#include <inttypes.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <time.h>

enum {
    SLOTS = 32,
    SLOTS_A_CALLER = 8,
    LOOK_US = 1000000, /* how often what is due is looked for, besides when a state has changed */
    SOON_US = 20000,
    TIMEOUT_MS = 10000,
    FIRST_PAUSE_S = 10,
    PAUSE_MAX_S = 3600,
    DUE_COLUMNS = 2,
    DONE_COLUMNS = 4,
};

static struct setting_list prefixes;
static const char *ca_file;

const struct setting callback_settings[] = {
    {"CALLBACK_URL_PREFIXES", SET_LIST, NULL, .to = &prefixes,
     .help = "what a callback's URL must begin with, comma separated, each with a / behind its host; not set: no callbacks"},
    {"CALLBACK_CA_FILE", SET_TEXT, NULL, .to = &ca_file,
     .help = "file of a private certificate authority for those hosts (PEM); the system's when not set"},
    {0}};

struct callback {
    TAILQ_ENTRY(callback) at;
    char id[37], claim[48], caller[CALLER_SIZE];
    int tries;
    bool too_old;  /* a day has passed since the answer */
    bool given_up;
    int64_t pause_s; /* -1: it was taken */
    char why[160];
    struct http_exchange *exchange;
};

static TAILQ_HEAD(callbacks, callback) posting, ended, marking; /* ended: to be marked */
static int posting_count;
static struct loop *loop;
static struct http *http;
static struct loop_timer timer;
static struct db_columns due_columns, done_columns;
static struct metric *taken, *not_taken, *given_up;

/* ---- where to ---- */

static bool begins(const char *text, const char *with)
{
    return !strncmp(text, with, strlen(with));
}

static bool is_loopback(const char *host)
{
    size_t n = strcspn(host, ":/");

    return begins(host, "[::1]") || (n == 9 && begins(host, "localhost")) ||
           (begins(host, "127.") && strspn(host, "0123456789.") == n);
}

static bool is_prefix(const char *prefix)
{
    const char *host = begins(prefix, "https://") ? prefix + 8 : begins(prefix, "http://") ? prefix + 7 : NULL;
    const char *slash = host ? strchr(host, '/') : NULL;

    return slash && slash > host && !memchr(host, '@', (size_t)(slash - host)) &&
           (begins(prefix, "https://") || is_loopback(host));
}

struct fault callbacks_settled(void)
{
    for (int i = 0; i < prefixes.count; i++)
        if (!is_prefix(prefixes.items[i]))
            return FAULT(MISUSE, "CALLBACK_URL_PREFIXES: want https://host/, or http:// and the loopback, found \"%.60s\"",
                         prefixes.items[i]);
    return FAULT_OK;
}

static bool has_dots(const char *url)
{
    for (const char *at = strchr(url, '/'); at; at = strchr(at + 1, '/')) {
        size_t dots = strspn(at + 1, ".");
        if ((dots == 1 || dots == 2) && strchr("/?", at[1 + dots])) /* its end, too */
            return true;
    }
    return strcasestr(url, "%2e") || strcasestr(url, "%2f") || strcasestr(url, "%5c");
}

const char *callback_refused(const char *url)
{
    bool begun = false;

    if (!prefixes.count)
        return "no callbacks are allowed here";
    for (int i = 0; i < prefixes.count; i++)
        begun = begun || begins(url, prefixes.items[i]);
    if (!begun)
        return "does not begin with what is allowed here";
    if (strpbrk(url, " #\\\"<>^`{|}@") || has_dots(url))
        return "want a plain URL: no fragment, no @, no dots as a step of its path, nothing to be escaped";
    return NULL;
}

/* ---- claims and marks ---- */

/* A caller's free slots; whoever is revoked has no row here, and gets nothing more. */
static void put_caller(const struct caller *c)
{
    const struct callback *b;
    int busy = 0;

    TAILQ_FOREACH(b, &posting, at)
        busy += !strcmp(b->caller, c->name);
    if (busy >= SLOTS_A_CALLER)
        return;
    db_put(&due_columns, c->name);
    db_put_int(&due_columns, SLOTS_A_CALLER - busy);
    db_row_end(&due_columns);
}

static bool put_due(const char *values[QUESTION_VALUES_MAX])
{
    static char slots[16];

    db_columns_begin(&due_columns, DUE_COLUMNS);
    for (int i = 0; i < callers_count(); i++)
        if (*caller_at(i)->secret)
            put_caller(caller_at(i));
    bool any = due_columns.rows > 0;
    db_columns_end(&due_columns, values);
    snprintf(slots, sizeof slots, "%d", SLOTS - posting_count);
    values[DUE_COLUMNS] = slots;
    return any && posting_count < SLOTS;
}

static void sign(const char *secret, const char *body, char *ret, size_t size)
{
    static struct text signed_;
    unsigned char mac[EVP_MAX_MD_SIZE];
    unsigned len = 0;
    int64_t now = time(NULL);

    text_clear(&signed_);
    text_printf(&signed_, "%" PRId64 ".", now);
    text_puts(&signed_, body);
    HMAC(EVP_sha256(), secret, (int)strlen(secret), (const unsigned char *)text_str(&signed_), signed_.len, mac, &len);
    size_t n = (size_t)snprintf(ret, size, "t=%" PRId64 ",v1=", now);
    for (unsigned i = 0; i < len && n + 2 < size; i++)
        n += (size_t)snprintf(ret + n, size - n, "%02x", mac[i]);
}

static void end(struct callback *b, const char *why, bool for_good)
{
    int64_t pause_s = (int64_t)FIRST_PAUSE_S << (b->tries < 12 ? b->tries - 1 : 11);

    TAILQ_REMOVE(&posting, b, at);
    posting_count--;
    TAILQ_INSERT_TAIL(&ended, b, at);
    b->pause_s = !why ? -1 : pause_s < PAUSE_MAX_S ? pause_s : PAUSE_MAX_S;
    b->given_up = why && (for_good || b->too_old);
    snprintf(b->why, sizeof b->why, "%s", why ? why : "");
    metric_add(!why ? taken : b->given_up ? given_up : not_taken, 1);
    if (b->given_up)
        log_about(LOG_WARN, b->id, "the callback is given up: %s", why);
    else if (why)
        log_about(LOG_INFO, b->id, "the callback is tried again in %" PRId64 " s: %s", b->pause_s, why);
    question_ask(&callbacks_done);
}

static void on_answer(void *of, const struct http_response *res)
{
    struct callback *b = of;
    char why[120];

    b->exchange = NULL;
    if (res->end != HTTP_ANSWERED)
        snprintf(why, sizeof why, "no answer: %.90s", res->error);
    else
        snprintf(why, sizeof why, "answered %d", res->status);
    end(b, res->end == HTTP_ANSWERED && res->status >= 200 && res->status < 300 ? NULL : why, false);
    loop_timer_set(loop, &timer, loop_now(loop) + SOON_US);
}

static void post(struct callback *b, const char *url, const char *row)
{
    static struct http_request req;
    static struct text root;
    const char *refused = callback_refused(url);
    const struct caller *caller = caller_by_name(b->caller);
    char signature[128];

    if (refused || !caller) { /* the settings are others than when it was asked */
        end(b, refused ? refused : "its caller is known no more", true);
        return;
    }
    const char *path = strchr(strstr(url, "://") + 3, '/');
    text_clear(&root);
    text_add(&root, url, (size_t)(path - url));
    sign(caller->secret, row, signature, sizeof signature);
    http_request_reset(&req, "POST", path);
    http_request_header(&req, "Content-Type", "application/json");
    http_request_header(&req, "Shelfwire-Signature", signature);
    text_puts(&req.body, row);
    b->exchange = http_send(http, text_str(&root), &req, TIMEOUT_MS, on_answer, b);
    if (!b->exchange)
        end(b, "memory is out", false);
}

enum { C_ID, C_CLAIM, C_CALLER, C_TRIES, C_TOO_OLD, C_URL, C_ROW };

static void on_due(const PGresult *res)
{
    for (int i = 0; res && i < PQntuples(res); i++) {
        struct callback *b = calloc(1, sizeof *b);
        if (!b)
            return; /* its claim ends by itself */
        snprintf(b->id, sizeof b->id, "%s", PQgetvalue(res, i, C_ID));
        snprintf(b->claim, sizeof b->claim, "%s", PQgetvalue(res, i, C_CLAIM));
        snprintf(b->caller, sizeof b->caller, "%s", PQgetvalue(res, i, C_CALLER));
        b->tries = atoi(PQgetvalue(res, i, C_TRIES));
        b->too_old = PQgetvalue(res, i, C_TOO_OLD)[0] == 't';
        TAILQ_INSERT_TAIL(&posting, b, at);
        posting_count++;
        post(b, PQgetvalue(res, i, C_URL), PQgetvalue(res, i, C_ROW));
    }
}

static bool put_done(const char *values[QUESTION_VALUES_MAX])
{
    struct callback *b;
    bool any = false;

    db_columns_begin(&done_columns, DONE_COLUMNS);
    while ((b = TAILQ_FIRST(&ended))) {
        TAILQ_REMOVE(&ended, b, at);
        TAILQ_INSERT_TAIL(&marking, b, at);
        db_put(&done_columns, b->id);
        db_put(&done_columns, b->claim);
        db_put(&done_columns, b->given_up ? b->why : NULL);
        db_put_int(&done_columns, b->given_up ? -1 : b->pause_s);
        db_row_end(&done_columns);
        any = true;
    }
    db_columns_end(&done_columns, values);
    return any;
}

/* What could not be marked is tried again when its claim ends: it is posted twice, which its receiver can tell. */
static void on_done(const PGresult *res)
{
    struct callback *b;

    (void)res;
    while ((b = TAILQ_FIRST(&marking))) {
        TAILQ_REMOVE(&marking, b, at);
        free(b);
    }
}

struct question callbacks_due = {
    .sql = "UPDATE requests r SET callback_at = clock_timestamp() + interval '2 minutes', callback_tries = callback_tries + 1"
           " WHERE r.request_id IN ("
           "SELECT d.request_id FROM unnest($1::text[], $2::integer[]) AS c(caller, slots) CROSS JOIN LATERAL ("
           "SELECT s.request_id FROM requests s WHERE s.callback_at <= clock_timestamp() AND s.caller = c.caller"
           " ORDER BY s.callback_at LIMIT c.slots FOR UPDATE SKIP LOCKED) AS d LIMIT $3::integer)"
           " RETURNING r.request_id, r.callback_at, r.caller, r.callback_tries,"
           " coalesce(r.answered_at, r.accepted_at) < clock_timestamp() - interval '1 day', r.callback_url, " ROW_JSON,
    .params = DUE_COLUMNS + 1, .put = put_due, .answered = on_due,
};

struct question callbacks_done = {
    .sql = "WITH e AS MATERIALIZED (SELECT * FROM unnest($1::uuid[], $2::timestamptz[], $3::text[], $4::bigint[])"
           " AS e(id, claim, why, pause_s)),"
           " said AS (SELECT count(CASE WHEN e.why IS NULL THEN desk_clear('callback_failed', e.id::text)"
           " ELSE desk_say('callback_failed', e.id::text, e.why, NULL) END) FROM e WHERE e.why IS NOT NULL OR e.pause_s < 0)"
           "UPDATE requests r SET"
           " callback_at = CASE WHEN e.pause_s >= 0 THEN clock_timestamp() + e.pause_s * interval '1 second' END,"
           " callback_tries = CASE WHEN e.pause_s >= 0 THEN callback_tries ELSE 0 END"
           " FROM e, said WHERE r.request_id = e.id AND r.callback_at = e.claim",
    .params = DONE_COLUMNS, .put = put_done, .answered = on_done,
};

/* ---- the whole ---- */

static void on_time(void *of, uint32_t events)
{
    (void)of;
    (void)events;
    question_ask(&callbacks_due);
    loop_timer_set(loop, &timer, loop_now(loop) + LOOK_US);
}

void callbacks_heard(void)
{
    if (http && timer.at_us > loop_now(loop) + SOON_US)
        loop_timer_set(loop, &timer, loop_now(loop) + SOON_US);
}

static struct metric *outcome(const char *word)
{
    return metric_make(METRIC_COUNTER, "shelfwire_callbacks_total", "Callbacks posted, by what came of it.",
                       "outcome=\"%s\"", word);
}

struct fault callbacks_open(struct producer *p)
{
    loop = producer_loop(p);
    TAILQ_INIT(&posting);
    TAILQ_INIT(&ended);
    TAILQ_INIT(&marking);
    taken = outcome("taken");
    not_taken = outcome("later");
    given_up = outcome("given_up");
    timer = (struct loop_timer){.call = on_time};
    TRY(http_open(&http, loop, SLOTS, ca_file));
    loop_timer_set(loop, &timer, loop_now(loop) + LOOK_US);
    return FAULT_OK;
}

void callbacks_close(void)
{
    if (!http)
        return;
    loop_timer_stop(loop, &timer);
    http_close(http);
    http = NULL;
}

#include "producers/oneclick-catalog/ask.h"

#include "common/db.h"
#include "common/json.h"
#include "common/log.h"
#include "common/loop.h"
#include "common/metrics.h"
#include "common/oneclick.h"
#include "common/scoped.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    ELEMENT_MAX = 4 << 20,
    RECORD_MAX = 400 * 1024, /* of a message of 512 KiB; see MESSAGE_MAX in stage/worker.h */
    RATE_PAUSE_MS = 60000,
    PAUSE_MAX_MS = 3600000,
    PROGRESS_US = 200000,
    BAD_KEPT = 100,
    ROWS = 10000, /* of each_row, in memory */
    QUERY_MAX = 600,
};

static int64_t list_seconds, paused_until_us;

const struct setting ask_settings[] = {
    {"ONECLICK_LIST_SECONDS", SET_WHOLE, "600", .least = 1, .most = 7200, .to = &list_seconds,
     .help = "how long OneClick may be silent while it makes or sends a list, seconds"},
    {0}};

bool is_plain_list(const struct json_stream *s)
{
    return json_stream_has(s, "");
}

struct reading {
    struct producer *p;
    const struct list *list;
    struct json_stream *stream;
    struct fault fault; /* of what was done with an element, or of the text */
    bool text_bad;
    struct list_progress at;
    int64_t began_us, shown_us;
    struct answer answer;
};

static struct fault on_element(void *of, const char *name, json_object *value, const char *bytes, size_t len)
{
    struct reading *r = of;

    r->at.elements++;
    r->fault = r->list->use(r->list->of, name, value, bytes, len);
    return r->fault;
}

static enum http_taken on_piece(void *of, const struct http_piece *piece)
{
    struct reading *r = of;

    if (producer_full(r->p))
        return HTTP_NOT_NOW;
    struct fault f = json_stream_feed(r->stream, piece->bytes, piece->len);
    if (f.kind) {
        r->text_bad = !r->fault.kind;
        r->fault = f;
        return HTTP_ENOUGH;
    }
    int64_t now = loop_now(producer_loop(r->p));
    r->at.bytes += (int64_t)piece->len;
    r->at.whole_len = piece->whole_len;
    r->at.seconds_us = now - r->began_us;
    if (r->list->progress && now - r->shown_us >= PROGRESS_US) {
        r->shown_us = now;
        r->list->progress(&r->at);
    }
    return HTTP_TAKEN;
}

/* The stream is whole, or what came instead of a list is the answer's body. */
static void on_answer(void *of, const struct http_response *res)
{
    struct reading *r = of;
    struct http_response seen = *res;
    bool listed = false;

    if (r->text_bad) /* it is an answer, though none that can be read */
        seen = (struct http_response){.end = HTTP_ANSWERED, .status = 200, .content_type = "", .body = "", .watched = "",
                                      .retry_after_ms = -1, .duration_us = res->duration_us, .error = ""};
    if (!r->text_bad && res->end == HTTP_ANSWERED && res->status >= 200 && res->status < 300) {
        struct fault f = json_stream_end(r->stream);
        json_object *other = json_stream_other(r->stream);
        r->text_bad = f.kind != FAULT_NONE;
        r->fault = f.kind ? f : r->fault;
        listed = !f.kind && r->list->is_it(r->stream);
        seen.body = other ? json_object_to_json_string_ext(other, JSON_C_TO_STRING_PLAIN) : "";
        seen.body_len = strlen(seen.body);
    }
    r->answer = oneclick_list_answer(&seen, listed);
}

static void note(const struct answer *a, const char *call)
{
    producer_called("oneclick", call, a);
    log_debug("OneClick %s: %s", call, a->reason);
}

static struct fault refused(struct producer *p, const char *call, const struct answer *a)
{
    if (a->cause == CAUSE_RATE || a->cause == CAUSE_CREDENTIALS) {
        int64_t wait_ms = a->wait_ms > 0 ? a->wait_ms : RATE_PAUSE_MS;
        paused_until_us = loop_now(producer_loop(p)) + (wait_ms < PAUSE_MAX_MS ? wait_ms : PAUSE_MAX_MS) * 1000;
    }
    return fault_make(a->cause == CAUSE_CREDENTIALS ? FAULT_MISUSE : FAULT_RETRY, "OneClick %s: %s", call, a->reason);
}

static struct fault may_ask(const struct producer *p)
{
    int64_t left_us = paused_until_us - loop_now(producer_loop(p));

    return left_us > 0 ? FAULT(RETRY, "OneClick asked to slow down: waiting %" PRId64 " s", left_us / 1000000 + 1) : FAULT_OK;
}

static struct fault read_stream(struct reading *r, const char **ret_code)
{
    static struct http_request req;

    r->list->request(&req, r->list->question);
    req.take = on_piece;
    req.take_of = r;
    TRY(producer_ask(r->p, oneclick_url, &req, (int)list_seconds * 1000, on_answer, r));
    if (r->fault.kind && !r->text_bad)
        return r->fault;
    note(&r->answer, r->list->call);
    *ret_code = r->answer.code;
    if (r->answer.verdict == DONE)
        return FAULT_OK;
    struct fault f = refused(r->p, r->list->call, &r->answer);
    return r->text_bad ? FAULT(RETRY, "%.150s: %.80s", f.what, r->fault.what) : f;
}

struct fault list_read(struct producer *p, const struct list *list, const char **ret_code)
{
    struct reading r = {.p = p, .list = list, .at = {.whole_len = -1}, .began_us = loop_now(producer_loop(p))};

    *ret_code = "";
    TRY(may_ask(p));
    r.stream = json_stream_open(list->shape, ELEMENT_MAX, on_element, &r);
    if (!r.stream)
        return FAULT(FATAL, "out of memory");
    struct fault f = read_stream(&r, ret_code);
    json_stream_close(r.stream);
    return f;
}

struct dates {
    struct oneclick_dates *ret;
    struct answer answer;
};

static void on_dates(void *of, const struct http_response *res)
{
    struct dates *d = of;

    d->answer = oneclick_dates_answer(res, d->ret);
}

struct fault ask_dates(struct producer *p, struct oneclick_dates *ret, const char **ret_code)
{
    static struct http_request req;
    struct dates d = {.ret = ret};

    *ret_code = "";
    TRY(may_ask(p));
    oneclick_dates_request(&req, oneclick_library, oneclick_token);
    TRY(producer_ask(p, oneclick_url, &req, (int)list_seconds * 1000, on_dates, &d));
    note(&d.answer, "book-holdings/delta/available-dates");
    *ret_code = d.answer.code;
    return d.answer.verdict == DONE ? FAULT_OK : refused(p, "book-holdings/delta/available-dates", &d.answer);
}

struct fault ask_now(struct producer *p, char ret[ASK_NOW_SIZE])
{
    SCOPED(PQclear) PGresult *res = NULL;

    TRY(producer_run(p, &res, "SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')", 0, NULL));
    text_copy(ret, ASK_NOW_SIZE, PQgetvalue(res, 0, 0));
    return FAULT_OK;
}

static struct fault use_rows(struct producer *p, row_use *use, void *of)
{
    char fetch[40];

    snprintf(fetch, sizeof fetch, "FETCH %d FROM each_row", ROWS);
    for (bool more = true; more;) {
        SCOPED(PQclear) PGresult *res = NULL;
        TRY(producer_run(p, &res, fetch, 0, NULL));
        for (int row = 0; row < PQntuples(res); row++)
            TRY(use(of, res, row));
        more = PQntuples(res) == ROWS;
    }
    return FAULT_OK;
}

struct fault each_row(struct producer *p, const char *query, const char *const *values, int count, row_use *use, void *of)
{
    char declare[QUERY_MAX + 50];

    if (strlen(query) >= QUERY_MAX)
        abort(); /* a mistake in the code */
    snprintf(declare, sizeof declare, "DECLARE each_row NO SCROLL CURSOR FOR %s", query);
    TRY(producer_do_(p, "BEGIN", NULL, 0));
    struct fault f = producer_do_(p, declare, values, (size_t)count);
    if (!f.kind)
        f = use_rows(p, use, of);
    struct fault ended = producer_do_(p, f.kind ? "ROLLBACK" : "COMMIT", NULL, 0);
    return f.kind ? f : ended;
}

/* ---- messages ---- */

struct fault send_change(struct producer *p, const struct catalog_change *change, const char *record, size_t len)
{
    static struct metric *sent[CATALOG_CHECK + 1];
    static struct text value;
    struct catalog_change said = *change;

    if (len > RECORD_MAX) {
        said.kind = CATALOG_CHECK;
        len = 0;
    }
    text_clear(&value);
    catalog_write(&value, &said, record, len);
    if (value.failed)
        return FAULT(FATAL, "out of memory");
    if (!sent[said.kind])
        sent[said.kind] = metric_make(METRIC_COUNTER, "shelfwire_catalog_changes_total", "Changes of the catalog sent, by kind.",
                                      "change=\"%s\"", catalog_kind_name(said.kind));
    metric_add(sent[said.kind], 1);
    return producer_send(p, said.isbn, text_str(&value), value.len);
}

/* ---- what has no valid ISBN ---- */

static struct {
    char subject[64], why[160];
} bad[BAD_KEPT];
static int bad_count;

void bad_isbn(json_object *element, const char *why)
{
    json_object *id = json_get(element, "titleId");

    if (!id)
        id = json_get(element, "id"); /* of a holding */
    if (bad_count < BAD_KEPT) {
        char title_id[40];
        text_copy(title_id, sizeof title_id, id ? json_object_get_string(id) : "unknown");
        snprintf(bad[bad_count].subject, sizeof bad[0].subject, "titleId %s", title_id);
        snprintf(bad[bad_count].why, sizeof bad[0].why, "OneClick lists it without a valid ISBN, so it is no row: %.100s", why);
    }
    bad_count++;
}

struct fault bad_isbns_say(struct producer *p, bool whole)
{
    static struct db_columns columns;
    const char *values[2];

    db_columns_begin(&columns, 2);
    for (int i = 0; i < bad_count && i < BAD_KEPT; i++) {
        db_put(&columns, bad[i].subject);
        db_put(&columns, bad[i].why);
        db_row_end(&columns);
    }
    db_columns_end(&columns, values);
    if (bad_count)
        log_warn("%d title%s without a valid ISBN left out; the desk has been told", bad_count, bad_count == 1 ? "" : "s");
    bool any = bad_count > 0;
    bad_count = 0;
    if (any)
        TRY(producer_do_(p, "SELECT desk_say('bad_isbn', s, w, NULL) FROM unnest($1::text[], $2::text[]) AS b(s, w)", values, 2));
    if (!whole)
        return FAULT_OK;
    return producer_do_(p, "UPDATE desk SET closed_at = clock_timestamp(), closed_by = 'shelfwire'"
                           " WHERE kind = 'bad_isbn' AND closed_at IS NULL AND subject <> ALL ($1::text[])", values, 1);
}

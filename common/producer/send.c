/* send.c - rows in rounds, messages without a row, and what is served while the program waits. */
#include "common/producer/engine.h"

#include "common/event.h"
#include "common/injection.h"
#include "common/log.h"
#include "common/metrics.h"
#include "common/scoped.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    BUSY_PAUSE_MS = 50,
    UNSETTLED_MAX = 4000,          /* messages without a row that may wait for Kafka, */
    UNSETTLED_BYTES_MAX = 1 << 20, /* and bytes: together with what one more piece of an answer adds, it fits librdkafka's queue */
};

static void row_delivered(struct producer_message *m, const char *error)
{
    struct row *row = (struct row *)m;
    struct producer *p = row->p;

    p->round_pending--;
    row->acknowledged = !error;
    if (error && !p->round_failed)
        log_about(LOG_WARN, p->to[m->topic].full, "Kafka did not take a message: %s; it is sent again", error);
    p->round_failed = p->round_failed || error;
}

static void loose_delivered(struct producer_message *m, const char *error)
{
    struct loose *loose = (struct loose *)m;
    struct producer *p = loose->p;

    p->unsettled--;
    p->unsettled_len -= m->len;
    if (error && !p->not_taken[0])
        snprintf(p->not_taken, sizeof p->not_taken, "%s", error);
    metric_add(p->sent, !error);
    free(loose);
    if (p->asked && !producer_full(p))
        http_resume(p->http, p->asked);
}

void engine_delivered(void *of, const char *error)
{
    struct producer_message *m = of;

    m->fate(m, error);
}

bool producer_post(struct producer *p, struct producer_message *m)
{
    struct kafka_message k = {.topic = p->to[m->topic].full, .key = m->key, .key_len = strlen(m->key), .value = m->value,
                              .len = m->len};

    k.headers = event_headers(p->plan->name, m->subject, p->to[m->topic].plain, m->trace_id);
    if (kafka_produce(p->kafka, &k, m))
        return true;
    rd_kafka_headers_destroy(k.headers);
    return false;
}

bool producer_full(const struct producer *p)
{
    return p->unsettled >= UNSETTLED_MAX || p->unsettled_len >= UNSETTLED_BYTES_MAX;
}

struct fault producer_send(struct producer *p, const char *key, const char *value, size_t len)
{
    struct loose *loose = malloc(sizeof *loose);

    *loose = (struct loose){.p = p, .message = {.subject = key, .trace_id = "", .key = key, .value = value, .len = len,
                                                .fate = loose_delivered}};
    if (!producer_post(p, &loose->message)) {
        free(loose);
        return FAULT(RETRY, "Kafka's local queue takes no message of %zu bytes", len);
    }
    p->unsettled++;
    p->unsettled_len += len;
    return FAULT_OK;
}

static struct fault produce_due(struct producer *p, const PGresult *due)
{
    int bad = 0;

    for (int i = 0; i < PQntuples(due); i++) {
        struct row *out = &p->round[p->round_count];
        *out = (struct row){.p = p, .has_retry = !PQgetisnull(due, i, 1)};
        snprintf(out->work_id, sizeof out->work_id, "%s", PQgetvalue(due, i, 0));
        snprintf(out->retry_at, sizeof out->retry_at, "%s", PQgetvalue(due, i, 1));
        text_clear(&p->key);
        text_clear(&p->value);
        struct fault f = p->plan->message(due, i, &p->key, &p->value);
        if (!f.kind && (p->key.failed || p->value.failed))
            f = FAULT(REJECT, "it is longer than a message may be");
        if (f.kind) {
            log_about(LOG_ERROR, out->work_id, "cannot be sent: %s", f.what);
            bad++;
            continue;
        }
        out->message = (struct producer_message){.topic = p->plan->topic_of ? p->plan->topic_of(due, i) : 0,
                                                 .subject = out->work_id, .trace_id = PQgetvalue(due, i, 2),
                                                 .key = text_str(&p->key), .value = text_str(&p->value), .len = p->value.len,
                                                 .fate = row_delivered};
        if (!producer_post(p, &out->message))
            break;
        p->round_count++;
        p->round_pending++;
    }
    return bad ? FAULT(RETRY, "%d row%s cannot be sent", bad, bad == 1 ? "" : "s") : FAULT_OK;
}

static struct fault read_pauses(struct producer *p)
{
    SCOPED(PQclear) PGresult *locations = NULL;

    if (!p->plan->paused)
        return FAULT_OK;
    TRY(producer_run(p, &locations, "SELECT name, to_char(since AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"') FROM pauses"
                                    " WHERE what = 'location' AND ended_at IS NULL", 0, NULL));
    p->plan->paused(locations);
    return FAULT_OK;
}

struct fault engine_begin_round(struct producer *p)
{
    SCOPED(PQclear) PGresult *due = NULL;
    char limit[16];

    p->send_at_us = loop_now(p->loop) + engine_resend_seconds * SECOND_US;
    p->round_left = !p->caught_up && p->plan->left_sql;
    const char *sql = p->round_left ? p->plan->left_sql : p->plan->due_sql;
    p->caught_up = p->caught_up || !p->plan->left_sql;
    if (!sql)
        return FAULT_OK;
    TRY(read_pauses(p));
    snprintf(limit, sizeof limit, "%d", ROUND_MAX);
    TRY(producer_run(p, &due, sql, 1, (const char *const[]){limit}));
    INJECTION_POINT(round_read);
    p->round_us = loop_now(p->loop);
    p->round_full = PQntuples(due) == ROUND_MAX;
    p->round_failed = false;
    struct fault f = produce_due(p, due);
    if (PQntuples(due) && !p->round_count) /* not a single one: the local queue is full, or none can be written */
        p->send_at_us = loop_now(p->loop) + SECOND_US;
    p->caught_up = p->caught_up || !PQntuples(due);
    return f;
}

struct fault engine_finish_round(struct producer *p)
{
    const char *values[2];
    int sent = 0;

    db_columns_begin(&p->columns, 2);
    for (int i = 0; i < p->round_count; i++)
        if (p->round[i].acknowledged) {
            db_put(&p->columns, p->round[i].work_id);
            db_put(&p->columns, p->round[i].has_retry ? p->round[i].retry_at : NULL);
            db_row_end(&p->columns);
            sent++;
        }
    db_columns_end(&p->columns, values);
    INJECTION_POINT(round_mark);
    p->mark_at_us = loop_now(p->loop) + SECOND_US;
    if (sent) /* a failure leaves the round as it is: it is marked when PostgreSQL is back */
        TRY(producer_do_(p, p->plan->sent_sql, values, 2));
    INJECTION_POINT(round_marked);
    metric_add(p->sent, sent);
    if (sent)
        log_debug("%d sent%s", sent, p->round_left ? ": what was left unsent" : "");
    p->round_count = 0;
    p->mark_at_us = 0;
    if ((p->round_full && sent) || p->round_left)
        p->send_at_us = 0;
    return FAULT_OK;
}

bool engine_is_busy(const struct producer *p)
{
    return p->plan->busy && p->plan->busy(p->caught_up);
}

static bool can_send(const struct producer *p)
{
    return p->topics_known && p->conn && p->locked && p->guard.trusted;
}

/* What can be done about sending now. */
static struct fault send_step(struct producer *p)
{
    if (!can_send(p))
        return FAULT_OK;
    if (p->round_count && !p->round_pending && loop_now(p->loop) >= p->mark_at_us)
        TRY(engine_finish_round(p));
    if (p->round_count || loop_now(p->loop) < p->send_at_us)
        return FAULT_OK;
    if (engine_is_busy(p)) {
        p->send_at_us = loop_now(p->loop) + BUSY_PAUSE_MS * 1000;
        return FAULT_OK;
    }
    return engine_begin_round(p);
}

int engine_wait_ms(const struct producer *p, int most_ms)
{
    int64_t until = p->round_count ? p->mark_at_us : p->send_at_us;

    if (!can_send(p) || p->round_pending)
        return most_ms; /* Kafka's answer wakes the loop */
    int64_t ms = (until - loop_now(p->loop)) / 1000 + 1;
    return ms < 1 ? 1 : ms < most_ms ? (int)ms : most_ms;
}

void engine_serve(struct producer *p, int most_ms)
{
    loop_turn(p->loop, engine_wait_ms(p, most_ms));
    if (settings_reread(loop_now(p->loop)))
        p->poll_at_us = 0; /* what was refused may be let in now */
    struct fault f = send_step(p);
    if (f.kind && p->conn)
        log_warn("sending: %s", f.what);
}

/* ---- the program's waits ---- */

struct asking {
    http_done *use;
    void *of;
    bool ended;
};

static void on_answer(void *of, const struct http_response *res)
{
    struct asking *a = of;

    a->ended = true;
    a->use(a->of, res);
}

struct fault producer_ask(struct producer *p, const char *root, const struct http_request *req, int timeout_ms,
                          http_done *use, void *of)
{
    struct asking a = {.use = use, .of = of};
    struct http_exchange *x = http_send(p->http, root, req, timeout_ms, on_answer, &a);

    if (!x)
        return FAULT(RETRY, "out of memory");
    p->asked = req->take ? x : NULL;
    while (!a.ended && !loop_stopping(p->loop))
        engine_serve(p, 1000);
    p->asked = NULL;
    if (a.ended)
        return FAULT_OK;
    http_cancel(p->http, x);
    return FAULT(RETRY, "told to stop");
}

struct fault producer_settle(struct producer *p)
{
    int64_t slow_us = loop_now(p->loop) + (int64_t)KAFKA_SLOW_S * SECOND_US;

    while (p->unsettled && !loop_stopping(p->loop)) {
        engine_serve(p, 1000);
        if (p->unsettled && loop_now(p->loop) >= slow_us) {
            log_warn("Kafka has not acknowledged %d messages for %d s; waiting for it", p->unsettled, KAFKA_SLOW_S);
            slow_us = INT64_MAX;
        }
    }
    if (p->unsettled)
        return FAULT(RETRY, "told to stop");
    struct fault f = p->not_taken[0] ? FAULT(RETRY, "Kafka did not take a message: %s", p->not_taken) : FAULT_OK;
    p->not_taken[0] = '\0';
    return f;
}

void producer_poll_in(struct producer *p, int64_t seconds)
{
    p->poll_at_us = loop_now(p->loop) + seconds * SECOND_US;
}

void producer_called(const char *vendor, const char *call, const struct answer *a)
{
    metric_add(metric_make(METRIC_COUNTER, "shelfwire_vendor_calls_total", "Calls made at a vendor, by what came of them.",
                           "vendor=\"%s\",call=\"%s\",code=\"%s\"", vendor, call, a->code), 1);
    struct metric *refused =
        metric_make(METRIC_GAUGE, "shelfwire_vendor_credentials_refused",
                    "1: the vendor refuses a key, user or password of ours; nothing works until a person mends it.",
                    "vendor=\"%s\"", vendor);
    if (a->cause == CAUSE_CREDENTIALS)
        metric_set(refused, 1);
    else if (a->verdict != LATER && a->verdict != UNKNOWN)
        metric_set(refused, 0);
}

struct fault producer_pause(struct producer *p, int ms)
{
    int64_t until = loop_now(p->loop) + (int64_t)ms * 1000;

    while (loop_now(p->loop) < until && !loop_stopping(p->loop)) {
        int64_t left = (until - loop_now(p->loop)) / 1000 + 1;
        engine_serve(p, left < 1000 ? (int)left : 1000);
    }
    return loop_stopping(p->loop) ? FAULT(RETRY, "told to stop") : FAULT_OK;
}

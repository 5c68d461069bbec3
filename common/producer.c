#include "common/producer.h"

#include "common/db.h"
#include "common/event.h"
#include "common/instant.h"
#include "common/injection.h"
#include "common/log.h"
#include "common/metrics.h"
#include "common/program.h"
#include "common/status.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    ROUND_MAX = 1000,
    SECOND_US = 1000000,
    ONCE_WAIT_S = 60,   /* --once: how long Kafka may take, to be there and to acknowledge */
    KAFKA_SLOW_S = 10,  /* unacknowledged for so long, it is said */
    BUSY_PAUSE_MS = 50,
    ASK_LOG_MS = 1000,
    ASK_GROUP_MS = 2000, /* with a connection of its own to be made */
    ASK_BROKER_MS = 1000,
    ASK_BROKER_SERVING_MS = 100, /* where others wait for us meanwhile */
    PG_SILENT_S = 10,            /* a serving producer: PostgreSQL says nothing for so long, it counts as lost */
    LOG_EVERY_S = 3600,
    LOG_PAUSE_MAX_S = 60, /* between two looks that brought no answer */
    LOG_WAIT_S = 10,      /* --once: how long such looks are repeated before it goes on without */
    PURGE_EVERY_S = 86400,
    GUARD_EVERY_S = 10, /* the others may have noticed */
    HELD_SAY_S = 300,
    READERS_MAX = 8,
    TOPICS_MAX = 8,
    UNSETTLED_MAX = 4000,        /* messages without a row that may wait for Kafka, */
    UNSETTLED_BYTES_MAX = 1 << 20, /* and bytes: together with what one more piece of an answer adds, it fits librdkafka's queue */
};

static int64_t resend_seconds, purge_after_days;
static const char *vendor_ca_file;

static const struct setting producer_settings[] = {
    {"RESEND_SECONDS", SET_WHOLE, "10", .least = 1, .most = 3600, .to = &resend_seconds,
     .help = "how often rows that are due are sent: those whose time to be tried again has come"},
    {"PURGE_AFTER_DAYS", SET_WHOLE, "30", .least = 0, .most = 3650, .to = &purge_after_days,
     .help = "days after which people's data and history are deleted; 0: never"},
    {"VENDOR_CA_FILE", SET_TEXT, NULL, .to = &vendor_ca_file,
     .help = "file of a private certificate authority for the vendor (PEM); the system's when not set"},
    {0}};

/* A message without a row, freed when its fate is known. */
struct loose {
    struct producer_message message;
    struct producer *p;
};

struct row {
    struct producer_message message;
    struct producer *p;
    char work_id[64], retry_at[48];
    bool has_retry, acknowledged;
};

struct producer {
    const struct producer_plan *plan;
    struct loop *loop;
    struct http *http;
    PGconn *conn; /* NULL: lost, or never had */
    bool started, opened, locked, caught_up, topics_known, log_known, once, said_pg, said_lock, said_kafka;
    char pg_trouble[240], topics_trouble[240], source[80];
    struct kafka_producer *kafka;
    struct status *status;
    struct {
        const char *plain, *full; /* without and with prefix */
    } to[TOPICS_MAX];
    int to_count;
    int log_pause_s;
    const char *groups[READERS_MAX], *topics[READERS_MAX];
    struct {
        bool trusted, held, compared, renewed; /* compared: with Kafka, since the lock was gained */
        char why[240], said[48];               /* said: when a person last said so, as PostgreSQL writes it; "" never */
        int64_t said_ms, at_us, say_us;
        struct metric *metric;
    } guard;

    struct row round[ROUND_MAX];
    int round_count, round_pending;
    bool round_full, round_failed, round_left; /* left: what a predecessor left */
    int64_t round_us; /* when it was begun */

    int unsettled;
    size_t unsettled_len;
    char not_taken[160]; /* why Kafka did not take a message without a row; "" */
    struct http_exchange *asked; /* whose body is taken as it arrives */

    int64_t connect_at_us, topics_at_us, send_at_us, mark_at_us, poll_at_us, log_at_us, purge_at_us;
    struct db_columns columns;
    struct text key, value;
    struct metric *sent, *polling;

    struct loop_fd pg_watch; /* while a statement is waited for on the loop */
    bool pg_spoke;
};

/* ---- PostgreSQL and the lock ---- */

static void disconnect(struct producer *p, const char *why)
{
    if (p->conn)
        PQfinish(p->conn);
    p->conn = NULL;
    p->locked = p->caught_up = false;
    producer_doubt(p);
    p->connect_at_us = loop_now(p->loop) + SECOND_US;
    if (!p->once && (!p->said_pg || strcmp(p->pg_trouble, why) != 0))
        log_warn("%s; waiting for it", why);
    snprintf(p->pg_trouble, sizeof p->pg_trouble, "%s", why);
    p->said_pg = true;
}

static void on_pg(void *of, uint32_t events)
{
    struct producer *p = of;

    (void)events;
    p->pg_spoke = true;
}

/* Turns the loop until the connection's socket is ready; RETRY: it was not for too long. */
static struct fault await_pg(struct producer *p, PGconn *conn, uint32_t events)
{
    int64_t until = loop_now(p->loop) + (int64_t)PG_SILENT_S * SECOND_US;

    p->pg_spoke = false;
    loop_watch(p->loop, &p->pg_watch, PQsocket(conn), events, on_pg, p);
    while (!p->pg_spoke && loop_now(p->loop) < until)
        loop_turn(p->loop, 1000);
    loop_watch(p->loop, &p->pg_watch, -1, 0, NULL, NULL);
    return p->pg_spoke ? FAULT_OK : FAULT(RETRY, "PostgreSQL has not answered for %d s", PG_SILENT_S);
}

/* A statement's results are awaited on the loop: others are served meanwhile. */
static struct fault run_on_loop(struct producer *p, PGresult **ret, const char *sql, int params, const char *const *values)
{
    PGresult *last = NULL, *res;

    if (!PQsendQueryParams(p->conn, sql, params, NULL, values, NULL, NULL, 0))
        return pg_result(p->conn, NULL, ret);
    do {
        while (PQisBusy(p->conn)) {
            struct fault f = await_pg(p, p->conn, EPOLLIN);
            if (f.kind) {
                PQclear(last);
                disconnect(p, f.what);
                return f;
            }
            if (!PQconsumeInput(p->conn))
                break;
        }
        res = PQgetResult(p->conn);
        if (res) {
            PQclear(last);
            last = res;
        }
    } while (res);
    return pg_result(p->conn, last, ret);
}

static struct fault run_statement(struct producer *p, PGresult **ret, const char *sql, int params, const char *const *values)
{
    INJECTION_POINT(statement);
    struct fault f = p->plan->serves ? run_on_loop(p, ret, sql, params, values) : pg_run(p->conn, ret, sql, params, values);
    INJECTION_POINT(statement_done);
    return f;
}

struct fault producer_run(struct producer *p, PGresult **ret, const char *sql, int params, const char *const *values)
{
    *ret = NULL;
    if (!p->conn || !p->locked)
        return FAULT(RETRY, "PostgreSQL is not there");
    struct fault f = run_statement(p, ret, sql, params, values);
    if (f.kind && PQstatus(p->conn) != CONNECTION_OK)
        disconnect(p, f.what);
    return f;
}

struct fault producer_do_(struct producer *p, const char *sql, const char *const *values, size_t count)
{
    SCOPED(PQclear) PGresult *res = NULL;

    return producer_run(p, &res, sql, (int)count, values);
}

struct loop *producer_loop(const struct producer *p)
{
    return p->loop;
}

static void on_notice(void *of, const char *words)
{
    (void)of;
    log_debug("PostgreSQL: %.*s", (int)strcspn(words, "\n"), words);
}

/* Connects on the loop; whom nobody refuses within PG_SILENT_S is not there. */
static struct fault open_on_loop(struct producer *p)
{
    PGconn *conn;
    PostgresPollingStatusType status = PGRES_POLLING_WRITING;

    TRY(pg_open_start(&conn, p->plan->name));
    while (status == PGRES_POLLING_WRITING || status == PGRES_POLLING_READING) {
        struct fault f = await_pg(p, conn, status == PGRES_POLLING_WRITING ? EPOLLOUT : EPOLLIN);
        if (f.kind || loop_stopping(p->loop)) {
            PQfinish(conn);
            return f.kind ? f : FAULT(RETRY, "told to stop");
        }
        status = PQconnectPoll(conn);
    }
    if (status == PGRES_POLLING_OK) {
        p->conn = conn;
        return FAULT_OK;
    }
    struct fault f = pg_connection_fault(conn, p->started);
    PQfinish(conn);
    return f;
}

static struct fault connect_pg(struct producer *p)
{
    TRY(p->plan->serves ? open_on_loop(p) : pg_open(&p->conn, p->plan->name));
    PQsetNoticeProcessor(p->conn, on_notice, NULL);
    struct fault f = pg_check_schema(p->conn);
    if (f.kind) {
        PQfinish(p->conn);
        p->conn = NULL;
        return f;
    }
    if (p->said_pg)
        log_info("PostgreSQL is there");
    p->said_pg = false;
    p->pg_trouble[0] = '\0';
    return FAULT_OK;
}

static struct fault take_lock(struct producer *p)
{
    SCOPED(PQclear) PGresult *res = NULL;
    struct fault f = run_statement(p, &res, "SELECT pg_try_advisory_lock(hashtextextended($1, 0))", 1,
                                   (const char *const[]){p->source});

    if (f.kind) {
        disconnect(p, f.what);
        return f;
    }
    p->locked = PQgetvalue(res, 0, 0)[0] == 't';
    if (p->locked) {
        INJECTION_POINT(locked);
        if (p->said_lock)
            log_info("the lock is ours");
        p->said_lock = false;
        return FAULT_OK;
    }
    if (!p->said_lock && !p->once)
        log_info("another producer of %s is at work; waiting for it to end", p->plan->source);
    p->said_lock = true;
    return FAULT(RETRY, "another producer of %s is at work in database %s: it does what this one would", p->plan->source,
                 PQdb(p->conn));
}

/* Connection, schema, lock. MISUSE is for the start; later it is one more thing to wait for. */
static struct fault upkeep_pg(struct producer *p)
{
    if (p->conn && p->locked)
        return FAULT_OK;
    if (loop_now(p->loop) < p->connect_at_us)
        return FAULT(RETRY, "%s", *p->pg_trouble ? p->pg_trouble : "waiting for the lock");
    p->connect_at_us = loop_now(p->loop) + SECOND_US;
    if (!p->conn) {
        struct fault f = connect_pg(p);
        if (f.kind && (f.kind == FAULT_RETRY || p->started))
            disconnect(p, f.what);
        if (f.kind)
            return f;
    }
    return take_lock(p);
}

/* ---- sending ---- */

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

static void on_delivered(void *of, const char *error)
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

    if (!loose)
        return FAULT(FATAL, "out of memory");
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

static struct fault begin_round(struct producer *p)
{
    SCOPED(PQclear) PGresult *due = NULL;
    char limit[16];

    p->send_at_us = loop_now(p->loop) + resend_seconds * SECOND_US;
    p->round_left = !p->caught_up && p->plan->left_sql;
    const char *sql = p->round_left ? p->plan->left_sql : p->plan->due_sql;
    p->caught_up = p->caught_up || !p->plan->left_sql;
    if (!sql)
        return FAULT_OK;
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

static struct fault finish_round(struct producer *p)
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

static bool is_busy(const struct producer *p)
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
        TRY(finish_round(p));
    if (p->round_count || loop_now(p->loop) < p->send_at_us)
        return FAULT_OK;
    if (is_busy(p)) {
        p->send_at_us = loop_now(p->loop) + BUSY_PAUSE_MS * 1000;
        return FAULT_OK;
    }
    return begin_round(p);
}

static int wait_ms(const struct producer *p, int most_ms)
{
    int64_t until = p->round_count ? p->mark_at_us : p->send_at_us;

    if (!can_send(p) || p->round_pending)
        return most_ms; /* Kafka's answer wakes the loop */
    int64_t ms = (until - loop_now(p->loop)) / 1000 + 1;
    return ms < 1 ? 1 : ms < most_ms ? (int)ms : most_ms;
}

static void serve(struct producer *p, int most_ms)
{
    loop_turn(p->loop, wait_ms(p, most_ms));
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
        serve(p, 1000);
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
        serve(p, 1000);
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

struct fault producer_pause(struct producer *p, int ms)
{
    int64_t until = loop_now(p->loop) + (int64_t)ms * 1000;

    while (loop_now(p->loop) < until && !loop_stopping(p->loop)) {
        int64_t left = (until - loop_now(p->loop)) / 1000 + 1;
        serve(p, left < 1000 ? (int)left : 1000);
    }
    return loop_stopping(p->loop) ? FAULT(RETRY, "told to stop") : FAULT_OK;
}

/* ---- was the log cut short? ---- */

struct cut {
    char mark[300], value[64];
    bool lost; /* messages are gone that nobody had read; else only the mark is news */
};

struct cuts {
    struct cut *at;
    size_t count, room;
};

struct fault producer_recall(struct producer *p, const char *mark, char *ret, size_t size)
{
    SCOPED(PQclear) PGresult *res = NULL;

    ret[0] = '\0';
    TRY(producer_run(p, &res, "SELECT value FROM producer_marks WHERE producer = $1 AND mark = $2", 2,
                     (const char *const[]){p->plan->name, mark}));
    if (PQntuples(res))
        snprintf(ret, size, "%s", PQgetvalue(res, 0, 0));
    return FAULT_OK;
}

struct fault producer_remember(struct producer *p, const char *mark, const char *value)
{
    if (!value)
        return producer_do(p, "DELETE FROM producer_marks WHERE producer = $1 AND mark = $2", p->plan->name, mark);
    return producer_do(p, "INSERT INTO producer_marks (producer, mark, value) VALUES ($1, $2, $3)"
                          " ON CONFLICT (producer, mark) DO UPDATE SET value = excluded.value, set_at = clock_timestamp()",
                       p->plan->name, mark, value);
}

static struct fault add_cut(struct cuts *cuts, const char *mark, int64_t value, bool lost)
{
    if (cuts->count == cuts->room) {
        size_t room = cuts->room ? 2 * cuts->room : 32;
        struct cut *at = realloc(cuts->at, room * sizeof *at);
        if (!at)
            return FAULT(FATAL, "out of memory");
        cuts->at = at;
        cuts->room = room;
    }
    struct cut *c = &cuts->at[cuts->count++];
    snprintf(c->mark, sizeof c->mark, "%s", mark);
    snprintf(c->value, sizeof c->value, "%" PRId64, value);
    c->lost = lost;
    return FAULT_OK;
}

/* Adds a mark that says something else now. lost: a sign of lost messages in any case; else only when it says less. */
static struct fault compare_mark(struct producer *p, const char *mark, int64_t value, bool lost, struct cuts *cuts)
{
    char known[64];

    TRY(producer_recall(p, mark, known, sizeof known));
    int64_t before = strtoll(known, NULL, 10);
    return before == value ? FAULT_OK : add_cut(cuts, mark, value, lost || value < before);
}

/*
 * Three signs: the oldest message left is newer than what the group has read; the log is shorter than we have seen it, or
 * than the group has: the topic was made anew. Each is acted upon once, which the marks remember. read: -1: nothing, so
 * the group would begin with the oldest.
 */
static struct fault look_at_partition(struct producer *p, const char *group, const char *topic, int32_t partition,
                                      int64_t read, struct cuts *cuts)
{
    int64_t low, high;
    char mark[300];

    rd_kafka_resp_err_t err =
        rd_kafka_query_watermark_offsets(kafka_producer_handle(p->kafka), topic, partition, &low, &high, ASK_LOG_MS);
    if (err)
        return FAULT(RETRY, "topic %s, partition %d: %s", topic, (int)partition, rd_kafka_err2str(err));
    snprintf(mark, sizeof mark, "end %s %s/%d", group, topic, partition);
    TRY(compare_mark(p, mark, high, false, cuts));
    snprintf(mark, sizeof mark, "cut %s %s/%d", group, topic, partition);
    if ((read < 0 ? 0 : read) < low)
        TRY(compare_mark(p, mark, low, true, cuts));
    snprintf(mark, sizeof mark, "ahead %s %s/%d", group, topic, partition);
    if (read > high)
        TRY(compare_mark(p, mark, read, true, cuts));
    return FAULT_OK;
}

static bool is_ours(const struct producer *p, const char *topic)
{
    for (int i = 0; i < p->to_count; i++)
        if (!strcmp(topic, p->to[i].full))
            return true;
    return false;
}

/* 0: there is no such topic yet. Ours has been made: one that is not known is not known yet. */
static struct fault count_partitions(struct producer *p, const char *topic, int *ret)
{
    rd_kafka_t *rk = kafka_producer_handle(p->kafka);
    rd_kafka_topic_t *handle = rd_kafka_topic_new(rk, topic, NULL);
    const struct rd_kafka_metadata *meta = NULL;

    rd_kafka_resp_err_t err = handle ? rd_kafka_metadata(rk, 0, handle, &meta, ASK_LOG_MS) : rd_kafka_last_error();
    if (handle)
        rd_kafka_topic_destroy(handle);
    if (!err && meta->topic_cnt)
        err = meta->topics[0].err;
    *ret = !err && meta->topic_cnt ? meta->topics[0].partition_cnt : 0;
    if (meta)
        rd_kafka_metadata_destroy(meta);
    if (err == RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED)
        return FAULT(MISUSE, "topic %s: %s", topic, rd_kafka_err2str(err));
    bool missing = err == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART && !is_ours(p, topic);
    return err && !missing ? FAULT(RETRY, "topic %s: %s", topic, rd_kafka_err2str(err)) : FAULT_OK;
}

/* A topic is decided when all its partitions have answered: while leaders are elected, some do not. */
static struct fault look_at_reader(struct producer *p, const char *group, const char *topic, struct cuts *cuts)
{
    size_t before = cuts->count;
    int partitions;

    TRY(count_partitions(p, topic, &partitions));
    if (!partitions)
        return FAULT_OK;
    int64_t *read = calloc((size_t)partitions, sizeof *read);
    struct fault f = read ? kafka_committed(p->plan->name, group, topic, partitions, ASK_GROUP_MS, read)
                          : FAULT(FATAL, "out of memory");
    for (int32_t i = 0; !f.kind && i < partitions; i++)
        f = loop_stopping(p->loop) ? FAULT(RETRY, "told to stop") : look_at_partition(p, group, topic, i, read[i], cuts);
    free(read);
    if (f.kind)
        cuts->count = before;
    return f;
}

static struct fault send_again(struct producer *p, const struct cuts *cuts)
{
    SCOPED(PQclear) PGresult *again = NULL;
    const char *lost = NULL;

    for (size_t i = 0; i < cuts->count && !lost; i++)
        lost = cuts->at[i].lost ? cuts->at[i].mark : NULL;
    TRY(producer_do_(p, "BEGIN", NULL, 0));
    if (lost && p->plan->resend_sql)
        TRY(producer_run(p, &again, p->plan->resend_sql, 0, NULL));
    for (size_t i = 0; i < cuts->count; i++)
        TRY(producer_remember(p, cuts->at[i].mark, cuts->at[i].value));
    TRY(producer_do_(p, "COMMIT", NULL, 0));
    if (lost)
        log_warn("Kafka's log was cut short or made anew before it was read (%s): %s sent and unanswered, sent again", lost,
                 again ? PQcmdTuples(again) : "0");
    return FAULT_OK;
}

/* RETRY: a topic is not decided yet; the others are, and what they have lost is due again. */
static struct fault look_at_readers(struct producer *p)
{
    struct cuts cuts = {0};
    struct fault undecided = FAULT_OK;

    for (int i = 0; i < READERS_MAX && p->plan->readers[i].group; i++) {
        struct fault f = look_at_reader(p, p->groups[i], p->topics[i], &cuts);
        if (f.kind == FAULT_RETRY)
            undecided = f;
        if (f.kind == FAULT_RETRY && p->plan->serves) /* a broker that is silent would be asked for the others in vain */
            break;
        if (f.kind && f.kind != FAULT_RETRY)
            log_warn("whether Kafka's log was cut short is not known: %s", f.what);
    }
    struct fault f = cuts.count ? send_again(p, &cuts) : FAULT_OK;
    if (f.kind && p->conn) {
        producer_do_(p, "ROLLBACK", NULL, 0);
        log_warn("%s", f.what);
    }
    free(cuts.at);
    return f.kind ? f : undecided;
}

static void look_at_log(struct producer *p)
{
    struct fault f = look_at_readers(p);

    p->log_known = !f.kind;
    p->log_pause_s = p->log_known ? 0 : p->once || !p->log_pause_s ? 1 : 2 * p->log_pause_s;
    if (p->log_pause_s > LOG_PAUSE_MAX_S)
        p->log_pause_s = LOG_PAUSE_MAX_S;
    p->log_at_us = loop_now(p->loop) + (int64_t)(p->log_known ? LOG_EVERY_S : p->log_pause_s) * SECOND_US;
    if (f.kind)
        log_debug("whether the log was cut short is not known yet: %s", f.what);
}

/* ---- was PostgreSQL restored? ---- */

static const struct producer_reader *watched(const struct producer *p)
{
    return p->plan->watched ? p->plan->watched : p->plan->readers;
}

bool producer_held(const struct producer *p)
{
    return p->guard.held;
}

void producer_doubt(struct producer *p)
{
    p->guard.trusted = p->guard.compared = false;
    p->guard.at_us = 0;
}

/* How far a reader's partitions are, as PostgreSQL knows it and as Kafka does. */
struct reach {
    const char *group, *topic;
    int partitions;
    int64_t *noted, *committed; /* -1: not at all */
    bool before; /* it worked before anything was noted */
};

static void reach_free(struct reach *r)
{
    free(r->noted);
    free(r->committed);
}

static struct fault read_noted(struct producer *p, const struct producer_reader *reader, struct reach *r)
{
    SCOPED(PQclear) PGresult *res = NULL;

    TRY(producer_run(p, &res, "SELECT partition, next_offset, EXISTS (SELECT FROM progress_before WHERE stage = $3)"
                              " FROM (SELECT -1 AS partition, -1 AS next_offset UNION ALL SELECT partition, next_offset FROM progress"
                              " WHERE consumer = $1 AND topic = $2) AS noted", 3,
                     (const char *const[]){r->group, r->topic, reader->group}));
    r->before = PQgetvalue(res, 0, 2)[0] == 't';
    for (int i = 0; i < PQntuples(res); i++) {
        int partition = atoi(PQgetvalue(res, i, 0));
        if (partition >= 0 && partition < r->partitions)
            r->noted[partition] = strtoll(PQgetvalue(res, i, 1), NULL, 10);
    }
    return FAULT_OK;
}

/* No partitions: there is no such topic, or nobody may ask. */
static struct fault reach_read(struct producer *p, const struct producer_reader *reader, struct reach *r)
{
    TRY(count_partitions(p, r->topic, &r->partitions));
    r->noted = calloc((size_t)r->partitions + 1, sizeof *r->noted);
    r->committed = calloc((size_t)r->partitions + 1, sizeof *r->committed);
    if (!r->partitions)
        return FAULT_OK;
    for (int i = 0; i < r->partitions; i++)
        r->noted[i] = -1;
    TRY(read_noted(p, reader, r));
    return kafka_committed(p->plan->name, r->group, r->topic, r->partitions, ASK_GROUP_MS, r->committed);
}

static struct fault notice(struct producer *p, const struct reach *r, int partition)
{
    char why[200];

    snprintf(why, sizeof why, "group %s has finished %s, partition %d, up to %" PRId64 ", and the table has %" PRId64, r->group, r->topic,
             partition, r->committed[partition], r->noted[partition] < 0 ? 0 : r->noted[partition]);
    p->guard.held = true;
    TRY(producer_do(p, "SELECT restore_noticed($1, $2, $3::timestamptz)", p->plan->name, why, *p->guard.said ? p->guard.said : NULL));
    return FAULT(RETRY, "PostgreSQL is older than Kafka, as after a restore from a backup (%s)", why);
}

/* What the group has finished ahead of the table may be older than the last word of a person: then it is read again. */
static struct fault compare(struct producer *p, const struct reach *r)
{
    for (int i = 0; i < r->partitions; i++) {
        int64_t since = 0;
        if (r->committed[i] <= (r->noted[i] < 0 ? 0 : r->noted[i]) || (r->noted[i] < 0 && r->before))
            continue;
        if (p->guard.said_ms)
            TRY(kafka_offset_since(kafka_producer_handle(p->kafka), r->topic, i, p->guard.said_ms, ASK_LOG_MS, &since));
        if (r->committed[i] > since)
            return notice(p, r, i);
    }
    return FAULT_OK;
}

/* Whether everything that is older than the last word of a person was read, since then. */
static struct fault await_reader(struct producer *p, const struct reach *r)
{
    rd_kafka_t *rk = kafka_producer_handle(p->kafka);

    for (int i = 0; i < r->partitions; i++) {
        int64_t since, low, high;
        TRY(kafka_offset_since(rk, r->topic, i, p->guard.said_ms, ASK_LOG_MS, &since));
        rd_kafka_resp_err_t err = rd_kafka_query_watermark_offsets(rk, r->topic, i, &low, &high, ASK_LOG_MS);
        if (err)
            return FAULT(RETRY, "topic %s, partition %d: %s", r->topic, i, rd_kafka_err2str(err));
        int64_t until = since < high ? since : high;
        if (r->noted[i] < until && low < until)
            return FAULT(RETRY, "%s has to read %s again, as PostgreSQL was restored: partition %d from %" PRId64 " to %" PRId64, r->group,
                         r->topic, i, r->noted[i] < 0 ? 0 : r->noted[i], until);
    }
    return FAULT_OK;
}

static struct fault look_at_reach(struct producer *p, int place)
{
    struct reach r = {.group = kafka_topic(watched(p)[place].group), .topic = kafka_topic(watched(p)[place].topic)};
    struct fault f = reach_read(p, &watched(p)[place], &r);

    if (f.kind == FAULT_MISUSE) {
        log_warn("whether PostgreSQL is as far as Kafka is not known: %s", f.what);
        f = FAULT_OK;
        r.partitions = 0;
    }
    if (!f.kind)
        f = compare(p, &r);
    if (!f.kind && p->guard.said_ms && p->plan->renewing && !p->guard.renewed)
        f = await_reader(p, &r);
    reach_free(&r);
    free((char *)(uintptr_t)r.group);
    free((char *)(uintptr_t)r.topic);
    return f;
}

/* What was said of restores, by programs and people. */
static struct fault read_restores(struct producer *p, bool *ret_open)
{
    SCOPED(PQclear) PGresult *res = NULL;
    char mark[48];

    TRY(producer_run(p, &res, "SELECT max(said_at), (extract(epoch FROM max(said_at)) * 1000)::bigint, coalesce(bool_or(said_at IS NULL), false),"
                              " max(why) FILTER (WHERE said_at IS NULL) FROM restores", 0, NULL));
    *ret_open = PQgetvalue(res, 0, 2)[0] == 't';
    snprintf(p->guard.why, sizeof p->guard.why, "%s", PQgetvalue(res, 0, 3));
    if (!strcmp(p->guard.said, PQgetvalue(res, 0, 0)))
        return FAULT_OK;
    snprintf(p->guard.said, sizeof p->guard.said, "%s", PQgetvalue(res, 0, 0));
    p->guard.said_ms = strtoll(PQgetvalue(res, 0, 1), NULL, 10);
    p->guard.compared = false;
    TRY(producer_recall(p, "renewed", mark, sizeof mark));
    p->guard.renewed = !strcmp(mark, p->guard.said);
    return FAULT_OK;
}

static struct fault look_at_restores(struct producer *p)
{
    const struct kafka_topic_plan none[1];
    bool open;

    TRY(read_restores(p, &open));
    p->guard.held = open;
    if (open)
        return FAULT(RETRY, "PostgreSQL is older than Kafka, as after a restore from a backup (%.160s)", p->guard.why);
    if (p->guard.compared)
        return FAULT_OK;
    TRY(kafka_ensure_topics(kafka_producer_handle(p->kafka), none, 0, p->plan->serves ? ASK_BROKER_SERVING_MS : ASK_BROKER_MS));
    for (int i = 0; i < READERS_MAX && watched(p)[i].group; i++)
        TRY(look_at_reach(p, i));
    if (p->guard.said_ms && p->plan->renewing && !p->guard.renewed)
        TRY(producer_remember(p, "renewed", p->guard.said));
    p->guard.renewed = p->guard.compared = true;
    return FAULT_OK;
}

static struct fault upkeep_guard(struct producer *p)
{
    if (loop_now(p->loop) < p->guard.at_us)
        return p->guard.trusted ? FAULT_OK : FAULT(RETRY, "%s", p->guard.why);
    struct fault f = look_at_restores(p);
    bool was_held = p->guard.say_us;
    p->guard.trusted = !f.kind;
    p->guard.at_us = loop_now(p->loop) + (int64_t)(f.kind ? 1 : GUARD_EVERY_S) * SECOND_US;
    snprintf(p->guard.why, sizeof p->guard.why, "%s", f.what);
    metric_set(p->guard.metric, p->guard.held);
    if (p->guard.held && !p->once && p->guard.say_us <= loop_now(p->loop)) {
        log_error("%s: nothing is written or sent until somebody says SELECT database_restored('name')", f.what);
        p->guard.say_us = loop_now(p->loop) + (int64_t)HELD_SAY_S * SECOND_US;
    } else if (!p->guard.held && was_held) {
        log_warn("somebody has said that PostgreSQL was restored: going on%s%s", f.kind ? "; " : "", f.what);
        p->guard.say_us = 0;
    }
    return f.kind ? FAULT(RETRY, "%s", f.what) : FAULT_OK;
}

/* ---- the purge ---- */

/* A run by cron need not purge every five minutes. */
static bool purged_today(struct producer *p)
{
    SCOPED(PQclear) PGresult *res = NULL;
    struct fault f = producer_run(p, &res, "SELECT FROM producer_marks WHERE producer = $1 AND mark = 'purged'"
                                           " AND set_at > now() - interval '1 day'", 1, (const char *const[]){p->plan->name});

    return !f.kind && PQntuples(res) > 0;
}

static void purge(struct producer *p)
{
    SCOPED(PQclear) PGresult *res = NULL;
    char days[16];
    struct fault f;

    p->purge_at_us = loop_now(p->loop) + (int64_t)PURGE_EVERY_S * SECOND_US;
    snprintf(days, sizeof days, "%" PRId64, purge_after_days);
    if (p->once && purged_today(p))
        return;
    if (purge_after_days)
        f = producer_run(p, &res, "SELECT what, deleted FROM purge($1::integer)", 1, (const char *const[]){days});
    else /* the history needs its next months all the same */
        f = producer_run(p, &res, "SELECT NULL, 0 FROM attempts_make_partitions()", 0, NULL);
    if (f.kind) {
        log_warn("the purge: %s", f.what);
        return;
    }
    for (int i = 0; i < PQntuples(res); i++)
        if (strcmp(PQgetvalue(res, i, 1), "0") != 0)
            log_info("purged %s: %s older than %s days", PQgetvalue(res, i, 0), PQgetvalue(res, i, 1), days);
    producer_remember(p, "purged", days);
}

/* ---- beginning and end ---- */

void producer_trouble(const struct producer *p, struct text *why)
{
    if (loop_stopping(p->loop))
        text_puts(why, "stopping; ");
    if (!p->conn)
        text_printf(why, "%s; ", *p->pg_trouble ? p->pg_trouble : "connecting to PostgreSQL");
    else if (!p->locked)
        text_printf(why, "another producer of %s is at work; ", p->plan->source);
    else if (!p->topics_known)
        text_printf(why, "%s; ", *p->topics_trouble ? p->topics_trouble : "no Kafka broker yet");
    else if (p->guard.held)
        text_printf(why, "%s: somebody must say SELECT database_restored('name'); ", p->guard.why);
    else if (!p->guard.trusted)
        text_printf(why, "%s; ", *p->guard.why ? p->guard.why : "finding out how far PostgreSQL and Kafka are");
    else if (!p->caught_up && p->plan->left_sql)
        text_puts(why, "what was left unsent is sent first; ");
}

bool producer_locked(const struct producer *p)
{
    return p->conn && p->locked;
}

bool producer_caught_up(const struct producer *p)
{
    return p->conn && p->locked && p->topics_known && p->guard.trusted && p->caught_up && !loop_stopping(p->loop);
}

static bool is_ready(void *of, struct text *why)
{
    struct producer *p = of;
    size_t before = why->len;

    producer_trouble(p, why);
    bool ready = why->len == before && p->topics_known;
    if (p->unsettled && producer_full(p)) {
        text_printf(why, "%d messages wait for Kafka's acknowledgement; ", p->unsettled);
    } else if (p->round_pending && loop_now(p->loop) - p->round_us > (int64_t)KAFKA_SLOW_S * SECOND_US) {
        text_printf(why, "Kafka has not acknowledged %d messages for %" PRId64 " s; ", p->round_pending,
                    (loop_now(p->loop) - p->round_us) / SECOND_US);
        if (*kafka_producer_trouble(p->kafka))
            text_printf(why, "%s; ", kafka_producer_trouble(p->kafka));
        ready = false;
    }
    p->plan->trouble(why);
    return ready;
}

static struct fault upkeep_topics(struct producer *p)
{
    struct kafka_topic_plan plans[TOPICS_MAX];

    if (p->topics_known)
        return FAULT_OK;
    if (loop_now(p->loop) < p->topics_at_us)
        return FAULT(RETRY, "%s", p->topics_trouble);
    for (int i = 0; i < p->to_count; i++)
        plans[i] = (struct kafka_topic_plan){p->to[i].full, false};
    /* a topic that is made takes longer: the broker is there then */
    struct fault f = kafka_ensure_topics(kafka_producer_handle(p->kafka), plans, p->to_count,
                                         p->plan->serves && p->said_kafka ? ASK_BROKER_SERVING_MS : ASK_BROKER_MS);
    p->topics_at_us = loop_now(p->loop) + SECOND_US;
    p->topics_known = !f.kind;
    if (f.kind && (f.kind == FAULT_RETRY || p->started) && strcmp(p->topics_trouble, f.what) != 0)
        log_warn("%s; waiting for it", f.what);
    else if (!f.kind && p->said_kafka)
        log_info("Kafka is there");
    snprintf(p->topics_trouble, sizeof p->topics_trouble, "%s", f.what);
    p->said_kafka = f.kind != FAULT_NONE;
    return f;
}

static struct fault begin(struct producer *p, const struct producer_plan *plan, bool check)
{
    struct status_source source = {is_ready, NULL, p};

    p->plan = plan;
    for (int i = 0; plan->topics ? i < TOPICS_MAX && plan->topics[i] : i < 1; i++) {
        p->to[i].plain = plan->topics ? plan->topics[i] : plan->topic;
        p->to[i].full = kafka_topic(p->to[i].plain);
        p->to_count++;
    }
    snprintf(p->source, sizeof p->source, "shelfwire producer of %s", plan->source);
    for (int i = 0; i < READERS_MAX && plan->readers[i].group; i++) {
        p->groups[i] = kafka_topic(plan->readers[i].group);
        p->topics[i] = kafka_topic(plan->readers[i].topic);
    }
    TRY(loop_open(&p->loop));
    loop_turn(p->loop, 0);
    TRY(http_open(&p->http, p->loop, 2, vendor_ca_file));
    plan->begin(p);
    p->sent = metric_make(METRIC_COUNTER, "shelfwire_sent_total", "Messages acknowledged by Kafka.", "%s", "");
    p->guard.metric = metric_make(METRIC_GAUGE, "shelfwire_database_older",
                                  "1: PostgreSQL is older than Kafka, and nothing is done until a person has said so.", "%s", "");
    p->polling = metric_make(METRIC_GAUGE, "shelfwire_poll_seconds", "How long the last poll took.", "%s", "");
    TRY(kafka_producer_open(&p->kafka, p->loop, plan->name, on_delivered));
    if (check)
        return FAULT_OK;
    for (int i = 0; plan->topics && i < p->to_count; i++)
        kafka_prepare(p->kafka, p->to[i].full);
    p->opened = true;
    if (plan->open)
        TRY(plan->open(p));
    if (p->once)
        return FAULT_OK;
    return status_open(&p->status, p->loop, program_metrics_address, (int)program_metrics_port, &source);
}

static void end(struct producer *p)
{
    if (p->opened && p->plan->close)
        p->plan->close(p);
    if (p->kafka && p->round_count) {
        if (p->round_pending)
            kafka_flush(p->kafka, 1000);
        if (p->conn && p->locked)
            finish_round(p);
    }
    http_close(p->http);
    kafka_producer_close(p->kafka, 0);
    status_close(p->status);
    if (p->conn)
        PQfinish(p->conn);
    db_columns_free(&p->columns);
    text_free(&p->key);
    text_free(&p->value);
    loop_close(p->loop);
}

static struct fault poll_once(struct producer *p)
{
    int64_t began = loop_now(p->loop);
    INJECTION_POINT(poll);
    struct fault f = p->plan->poll(p);
    INJECTION_POINT(polled);

    metric_set(p->polling, (double)(loop_now(p->loop) - began) / SECOND_US);
    p->send_at_us = 0; /* what it found is sent at once */
    return f;
}

/* Connection, lock and broker, or why not; --once waits only for the broker. */
static struct fault upkeep(struct producer *p)
{
    TRY(upkeep_pg(p));
    TRY(upkeep_topics(p));
    TRY(upkeep_guard(p));
    if (loop_now(p->loop) >= p->purge_at_us)
        purge(p);
    if (loop_now(p->loop) >= p->log_at_us && !is_busy(p))
        look_at_log(p);
    return FAULT_OK;
}

/* Until nothing is due and everything is acknowledged. */
static struct fault send_all(struct producer *p, int64_t until_us)
{
    while (!loop_stopping(p->loop)) {
        loop_turn(p->loop, wait_ms(p, 100));
        if (p->round_count && !p->round_pending) {
            bool more = p->round_full && !p->round_failed;
            TRY(finish_round(p));
            if (!more)
                return p->round_failed ? FAULT(RETRY, "Kafka did not take every message: the next run sends the rest") : FAULT_OK;
        }
        if (!p->round_count) {
            TRY(begin_round(p));
            if (!p->round_count)
                return FAULT_OK;
        }
        if (loop_now(p->loop) >= until_us)
            return FAULT(RETRY, "Kafka has not acknowledged %d messages within %d s: the next run sends them", p->round_pending,
                         ONCE_WAIT_S);
    }
    return FAULT(RETRY, "told to stop");
}

static struct fault run_once(struct producer *p)
{
    int64_t until = loop_now(p->loop) + (int64_t)ONCE_WAIT_S * SECOND_US;
    struct fault f;

    TRY(upkeep_pg(p));
    while ((f = upkeep(p)).kind == FAULT_RETRY && p->locked && !p->guard.held && loop_now(p->loop) < until && !loop_stopping(p->loop))
        loop_turn(p->loop, 200);
    until = loop_now(p->loop) + (int64_t)LOG_WAIT_S * SECOND_US;
    while (!f.kind && !p->log_known && loop_now(p->loop) < until && !loop_stopping(p->loop)) {
        loop_turn(p->loop, 200);
        f = upkeep(p);
    }
    if (f.kind)
        return f;
    struct fault polled = poll_once(p);
    if (!p->conn)
        return polled;
    f = send_all(p, loop_now(p->loop) + (int64_t)ONCE_WAIT_S * SECOND_US);
    return polled.kind ? polled : f;
}

static struct fault run_service(struct producer *p)
{
    while (!loop_stopping(p->loop)) {
        struct fault f = upkeep(p);
        if (f.kind && f.kind != FAULT_RETRY && !p->started)
            return f;
        p->started = p->started || !f.kind;
        if (!f.kind && loop_now(p->loop) >= p->poll_at_us) {
            producer_poll_in(p, *p->plan->poll_seconds);
            poll_once(p);
        }
        if (loop_stopping(p->loop))
            break;
        int64_t ms = (p->poll_at_us - loop_now(p->loop)) / 1000 + 1;
        serve(p, f.kind || ms > 1000 ? 1000 : ms < 1 ? 1 : (int)ms);
    }
    return FAULT_OK;
}

static struct fault check_all(struct producer *p)
{
    SCOPED(PQfinish) PGconn *conn = NULL;
    const struct kafka_topic_plan none[1];

    setvbuf(stdout, NULL, _IOLBF, 0); /* what is right is said before what is wrong, also into a file */
    TRY(pg_open(&conn, p->plan->name));
    TRY(pg_check_schema(conn));
    printf("ok  PostgreSQL: database %s, schema %d\n", PQdb(conn), SCHEMA_VERSION);
    TRY(kafka_ensure_topics(kafka_producer_handle(p->kafka), none, 0, 5000));
    printf("ok  Kafka answers\n");
    TRY(p->plan->check(p));
    printf("ok  %s is ready to run\n", p->plan->name);
    return FAULT_OK;
}

static struct fault run(const struct producer_plan *plan, const struct program *program, int argc, char **argv)
{
    static struct producer p;
    struct program_arguments arguments;

    TRY(program_open(program, argc, argv, &arguments));
    if (arguments.ended)
        return FAULT_OK;
    if (plan->argued)
        TRY(plan->argued(arguments.rest, arguments.rest_count));
    TRY(kafka_check_settings());
    if (plan->settled)
        TRY(plan->settled());
    p.once = arguments.once || plan->once;
    struct fault f = begin(&p, plan, arguments.check);
    if (!f.kind)
        f = arguments.check ? check_all(&p) : p.once ? run_once(&p) : run_service(&p);
    if (p.loop)
        end(&p);
    if (!f.kind && !arguments.check && !p.once)
        log_info("stopped");
    return f;
}

int producer_main(const struct producer_plan *plan, int argc, char **argv)
{
    const struct setting *tables[8] = {NULL};
    int n = 0;

    for (int i = 0; plan->tables[i] && i < 4; i++)
        tables[n++] = plan->tables[i];
    tables[n++] = producer_settings;
    tables[n++] = kafka_settings;
    const struct program program = {.name = plan->name, .about = plan->about, .options = plan->options, .tables = tables,
                                    .arguments = plan->arguments ? plan->arguments : "[--once]"};

    return program_exit(&program, run(plan, &program, argc, argv));
}

/* producer.c - the turn that drives a producer; the purge; beginning and end. */
#include "common/producer/engine.h"

#include "common/injection.h"
#include "common/log.h"
#include "common/metrics.h"
#include "common/program.h"
#include "common/scoped.h"
#include "common/status.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum {
    ONCE_WAIT_S = 60, /* --once: how long Kafka may take, to be there and to acknowledge */
    LOG_WAIT_S = 10,  /* --once: how long such looks are repeated before it goes on without */
    PURGE_EVERY_S = 86400,
};

int64_t engine_resend_seconds;
static int64_t purge_after_days, dry_run;
static const char *vendor_ca_file;

static const struct setting producer_settings[] = {
    {"RESEND_SECONDS", SET_WHOLE, "10", .least = 1, .most = 3600, .to = &engine_resend_seconds,
     .help = "how often rows that are due are sent: those whose time to be tried again has come"},
    {"PURGE_AFTER_DAYS", SET_WHOLE, "30", .least = 0, .most = 3650, .to = &purge_after_days,
     .help = "days after which people's data and history are deleted; 0: never"},
    {"DRY_RUN", SET_WHOLE, "0", .least = 0, .most = 1, .to = &dry_run,
     .help = "1: said in /readyz; a producer changes nothing at its vendor in any case, and what it sends waits for workers in earnest"},
    {"VENDOR_CA_FILE", SET_TEXT, NULL, .to = &vendor_ca_file,
     .help = "file of a private certificate authority for the vendor (PEM); the system's when not set"},
    {0}};

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
    if (dry_run)
        text_puts(why, "dry run: nothing is changed at a vendor; ");
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
    TRY(kafka_producer_open(&p->kafka, p->loop, plan->name, engine_delivered));
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
            engine_finish_round(p);
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
    TRY(engine_upkeep_pg(p));
    TRY(upkeep_topics(p));
    TRY(engine_upkeep_guard(p));
    if (loop_now(p->loop) >= p->purge_at_us)
        purge(p);
    if (loop_now(p->loop) >= p->log_at_us && !engine_is_busy(p))
        engine_look_at_log(p);
    return FAULT_OK;
}

/* Until nothing is due and everything is acknowledged. */
static struct fault send_all(struct producer *p, int64_t until_us)
{
    while (!loop_stopping(p->loop)) {
        loop_turn(p->loop, engine_wait_ms(p, 100));
        if (p->round_count && !p->round_pending) {
            bool more = p->round_full && !p->round_failed;
            TRY(engine_finish_round(p));
            if (!more)
                return p->round_failed ? FAULT(RETRY, "Kafka did not take every message: the next run sends the rest") : FAULT_OK;
        }
        if (!p->round_count) {
            TRY(engine_begin_round(p));
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

    TRY(engine_upkeep_pg(p));
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
        engine_serve(p, f.kind || ms > 1000 ? 1000 : ms < 1 ? 1 : (int)ms);
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

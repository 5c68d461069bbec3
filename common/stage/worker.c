/* worker.c - the turn that drives a worker; its status, beginning and end. */
#include "common/stage/worker.h"

#include "common/injection.h"
#include "common/log.h"
#include "common/memory.h"
#include "common/pg.h"
#include "common/program.h"

#include <malloc.h>
#include <time.h>
#include <unistd.h>

struct stage_settings stage_settings;

enum { CLOSE_S = 8 }; /* for taking leave of Kafka's group */

static struct setting worker_settings[] = {
    {"CONCURRENCY", SET_WHOLE, NULL, .least = 1, .most = 5000, .to = &stage_settings.concurrency,
     .help = "vendor calls in flight at a time, at most"},
    {"DRAIN_SECONDS", SET_WHOLE, "20", .least = 0, .most = 3600, .to = &stage_settings.drain_seconds,
     .help = "how long calls under way may take to finish after SIGTERM; shorter than what kills the program"},
    {"RETRY_MS_MIN", SET_WHOLE, "1000", .least = 10, .most = 60000, .to = &stage_settings.retry_ms_min,
     .help = "first pause before a message that could not be done is tried again, milliseconds; it doubles"},
    {"RETRY_MS_MAX", SET_WHOLE, "60000", .least = 10, .most = 3600000, .to = &stage_settings.retry_ms_max,
     .help = "longest such pause, milliseconds"},
    {"TRIES_MAX", SET_WHOLE, "6", .least = 1, .most = 1000, .to = &stage_settings.tries_max,
     .help = "failed tries after which a message is set aside, counted only while the vendor answers others"},
    {"DAY_PAUSE_SECONDS", SET_WHOLE, "900", .least = 1, .most = 86400, .to = &stage_settings.day_pause_seconds,
     .help = "how long no call is made when the vendor says that the day's are used up, before one is tried again"},
    {"DRY_RUN", SET_WHOLE, "0", .least = 0, .most = 1, .to = &stage_dry_run,
     .help = "1: everything is read, decided and shown, and nothing is changed at the vendor; a later run without it does the work"},
    {"VENDOR_CA_FILE", SET_TEXT, NULL, .to = &stage_settings.vendor_ca_file,
     .help = "file of a private certificate authority for the vendor (PEM); the system's when not set"},
    {0}};

/* ---- the turn: callbacks change lists, and everything that follows from it is done once, at the end of the turn ---- */

static void on_changed(void *of)
{
    (void)of;
}

static void on_linger(void *of, uint32_t events)
{
    (void)of;
    (void)events;
}

static void on_pulse(void *of, uint32_t events)
{
    struct worker *w = of;

    (void)events;
    w->pulse_due = true;
    loop_timer_set(w->loop, &w->pulse, loop_now(w->loop) + PULSE_US);
}

static void prove(void *of, uint32_t events)
{
    struct worker *w = of;

    (void)events;
    if (!w->suspect)
        return;
    if (!kafka_prove_membership(w->consumer) && !w->hand_n) {
        worker_trust(w); /* nothing was fetched yet: there is nothing that could be somebody else's */
        return;
    }
    loop_timer_set(w->loop, &w->prove, loop_now(w->loop) + 1000000);
}

void worker_suspect(struct worker *w)
{
    w->suspect = true;
    w->suspect_us = loop_now(w->loop);
    prove(w, 0);
}

/*
 * The program was not running for half a session: somebody else may own its keys by now. Nothing is sent to the vendor
 * until the group has answered; intents in hand are taken anew, which PostgreSQL refuses if the partition has moved.
 */
static void slept(struct worker *w)
{
    log_warn("this program was stopped for %.1f s: asking the group whether its partitions are still its own",
             (double)loop_gap_us(w->loop) / 1e6);
    for (struct job *job; (job = TAILQ_LAST(&w->ready, job_list));)
        job_move(job, J_LOOK, true);
    worker_suspect(w);
}

/*
 * May something be sent to the vendor? Whoever has not been heard by the group for a session has lost its partitions, and a
 * worker that is cut off from the brokers does not hear of it; so no call begins in the last quarter of that time. While
 * work flows its commits tell; where it has stood still, the group is asked as the first of it is looked up.
 */
bool worker_heard(struct worker *w)
{
    int64_t now = loop_now(w->loop);

    if (!stage_has_intent(w->stage) || !w->consumer)
        return true;
    int64_t silent_us = now - kafka_heard_us(w->consumer) + loop_lapse_us(w->loop);
    if (silent_us > w->session_us / 4 && (w->ready_n || w->looking_n) && now >= w->prove_us) {
        kafka_prove_membership(w->consumer);
        w->prove_us = now + w->session_us / 16;
    }
    bool heard = silent_us < w->session_us * 3 / 4;
    if (heard || !w->ready_n) {
        w->unheard_us = 0;
    } else if (!w->unheard_us) {
        w->unheard_us = now;
    } else if (w->unheard_us != INT64_MAX && now - w->unheard_us > w->session_us / 2) {
        log_warn("the group %s has not answered: nothing is sent to %s until it does, for somebody else may be at it", w->group,
                 w->stage->vendor->name);
        w->unheard_us = INT64_MAX;
    }
    return heard;
}

static void turn(struct worker *w)
{
    loop_turn(w->loop, 1000);
    if (w->consumer && loop_gap_us(w->loop) > w->session_us / 2)
        slept(w);
    if (w->consumer)
        kafka_consumer_serve(w->consumer);
    if (w->suspect && w->consumer && kafka_heard_us(w->consumer) >= w->suspect_us)
        worker_trust(w);
    progress_serve(w);
    if (settings_reread(loop_now(w->loop)))
        access_renewed(&w->access);
    if (!*w->pause.since)
        access_serve(&w->access);
    if (w->consumer)
        worker_fetch(w);
    worker_call(w);
    worker_record(w);
    worker_look(w);
    worker_call(w);
    worker_send(w);
    worker_push(w);
    if (w->consumer)
        worker_store_offsets(w);
}

void worker_wait(struct worker *w, int64_t until_us)
{
    if (!w->linger.place || until_us < w->linger.at_us)
        loop_timer_set(w->loop, &w->linger, until_us);
}

/* Requests leave at once; what came of it already is dealt with in the next turn, which then must not wait. */
void worker_push(struct worker *w)
{
    if (http_push(w->http))
        worker_wait(w, loop_now(w->loop));
}

/*
 * Is a batch worth sending now? While slots are free, at once: there is time, and somebody waits for it. When nearly all are
 * taken, it may fill for a while since the last one went: a commit of four rows costs as much as one of forty. Where slots are
 * held until the outcome is committed that while is short.
 */
bool worker_worth_it(struct worker *w, int n, int room, int64_t last_us)
{
    if (n >= room || n >= GATHER_ENOUGH || w->calling_n * 4 < w->access.health.limit * 3)
        return true;
    int64_t due = last_us + (w->stage->call == CALL_BLIND ? GATHER_BLIND_US : GATHER_US);
    if (due <= loop_now(w->loop))
        return true;
    worker_wait(w, due);
    return false;
}

/* ---- status ---- */

static bool is_ready(void *of, struct text *why)
{
    struct worker *w = of;
    bool ready = true;

    if (w->draining) {
        text_puts(why, "draining; ");
        ready = false;
    }
    if (!w->look_db || !w->record_db || !db_connected(w->look_db) || !db_connected(w->record_db)) {
        const char *trouble = w->look_db ? db_trouble(w->look_db) : w->waits_for;
        text_printf(why, "%s; ", *trouble ? trouble : "connecting to PostgreSQL");
        ready = false;
    }
    if (!w->look_db || progress_trouble(w, why)) {
        ready = false; /* Kafka's turn comes after PostgreSQL's */
    } else if (!w->consumer || !kafka_consumer_joined(w->consumer)) {
        text_printf(why, "%s; ", w->consumer ? kafka_consumer_trouble(w->consumer) : *w->waits_for ? w->waits_for : "no Kafka broker yet");
        ready = false;
    } else if (*kafka_consumer_trouble(w->consumer)) {
        text_printf(why, "%s; ", kafka_consumer_trouble(w->consumer));
    }
    if (w->suspect || w->unheard_us == INT64_MAX)
        text_puts(why, "asking the group whether the partitions are still ours; ");
    dry_trouble(w, why);
    pause_trouble(w, why);
    if (!*w->pause.since)
        access_trouble(&w->access, why);
    return ready;
}

/* Of each key, in the setting's order: the key itself is no label. What is kept for others, only beside what it is a part of. */
static void refresh_calls_left(struct worker *w)
{
    const struct vendor *v = w->stage->vendor;

    for (int i = 0; i < w->access.account_count; i++) {
        if (w->access.accounts[i].calls_left < 0)
            continue;
        metric_set(metric_make(METRIC_GAUGE, "shelfwire_vendor_calls_left", "Calls left today, as the vendor last said.",
                               "vendor=\"%s\",account=\"%d\"", v->name, i + 1), (double)w->access.accounts[i].calls_left);
        metric_set(metric_make(METRIC_GAUGE, "shelfwire_vendor_calls_left_min", "Calls of the day that are left to others.",
                               "vendor=\"%s\",account=\"%d\"", v->name, i + 1),
                   v->calls_left_min ? (double)*v->calls_left_min : 0);
    }
}

static void refresh(void *of)
{
    struct worker *w = of;
    int64_t oldest_ms = 0, now_ms = (int64_t)time(NULL) * 1000;

    for (struct part *p = w->parts; p; p = p->next_part) {
        int64_t lag = kafka_lag(w->consumer, p->id);
        if (lag >= 0)
            metric_set(p->lag, (double)lag);
        struct job *first = TAILQ_FIRST(&p->jobs);
        if (first && first->timestamp_ms > 0 && now_ms - first->timestamp_ms > oldest_ms)
            oldest_ms = now_ms - first->timestamp_ms;
    }
    metric_set(w->m_hand, w->hand_n);
    metric_set(w->m_flight, w->calling_n);
    metric_set(w->m_parked, w->parked_n);
    metric_set(w->pause.m_held, w->pause.held_n);
    metric_set(w->m_pause, (double)access_paused_us(&w->access) / 1e6);
    metric_set(w->m_turns, (double)loop_turns(w->loop));
    metric_set(w->m_oldest, (double)oldest_ms / 1000);
    metric_set(w->m_refused, access_refused(&w->access));
    refresh_calls_left(w);
}

static struct metric *counter(const char *outcome)
{
    return metric_make(METRIC_COUNTER, "shelfwire_messages_total", "Messages finished, by how.", "outcome=\"%s\"", outcome);
}

static void make_metrics(struct worker *w)
{
    w->m_fetched = metric_make(METRIC_COUNTER, "shelfwire_fetched_total", "Messages taken from Kafka.", "%s", "");
    w->m_done = counter("done");
    w->m_on = counter("true_already");
    w->m_rejected = counter("rejected");
    w->m_unknown = counter("unknown");
    w->m_dropped = counter("not_wanted");
    w->m_dead = counter("dead_letter");
    w->m_hand = metric_make(METRIC_GAUGE, "shelfwire_in_hand", "Messages taken and not finished.", "%s", "");
    w->m_flight = metric_make(METRIC_GAUGE, "shelfwire_calls_in_flight", "Vendor calls under way.", "%s", "");
    w->m_parked = metric_make(METRIC_GAUGE, "shelfwire_parked", "Messages waiting for their next try.", "%s", "");
    w->m_turns = metric_make(METRIC_COUNTER, "shelfwire_loop_turns_total", "Turns of the loop.", "%s", "");
    w->m_look_rows = metric_make(METRIC_COUNTER, "shelfwire_look_rows_total", "Rows looked up.", "%s", "");
    w->m_look_batches = metric_make(METRIC_COUNTER, "shelfwire_look_batches_total", "Statements they took.", "%s", "");
    w->m_record_rows = metric_make(METRIC_COUNTER, "shelfwire_record_rows_total", "Outcomes written.", "%s", "");
    w->m_record_batches = metric_make(METRIC_COUNTER, "shelfwire_record_batches_total", "Transactions they took.", "%s", "");
    w->m_oldest = metric_make(METRIC_GAUGE, "shelfwire_oldest_message_seconds", "Age of the oldest unfinished message.", "%s", "");
    w->m_pause = metric_make(METRIC_GAUGE, "shelfwire_vendor_pause_seconds",
                             "For how long no call is made yet, because of a quota or because the vendor asked for it.",
                             "vendor=\"%s\"", w->stage->vendor->name);
    w->m_refused = metric_make(METRIC_GAUGE, "shelfwire_vendor_credentials_refused",
                               "1: the vendor refuses a key, user or password of ours; nothing works until a person mends it.",
                               "vendor=\"%s\"", w->stage->vendor->name);
    w->m_seconds = metric_make(METRIC_HISTOGRAM, "shelfwire_vendor_call_seconds", "How long the vendor's calls take.",
                               "vendor=\"%s\"", w->stage->vendor->name);
}

/* ---- beginning and end ---- */

/*
 * `ord` carries two bits more through the stage's SELECT, so that nothing need be joined again by it: 1, the partition is
 * ours by PostgreSQL's reckoning; 2, a finished intent may be taken anew. prior_past carries the second on into the
 * conflict clause, which sees nothing but the row proposed.
 */
static const char intent_look[] =
    "WITH asked AS MATERIALIZED (SELECT a.ord * 4 + CASE WHEN a.reopen THEN 2 ELSE 0 END + CASE WHEN EXISTS (SELECT FROM partition_owners o"
    " WHERE o.topic = $4 AND o.partition = a.part AND o.epoch = a.epoch) THEN 1 ELSE 0 END AS ord, %s"
    " FROM unnest($6::int[], $7::int[], $8::bigint[], $9::bool[]%s) AS a(ord, part, epoch, reopen, %s)), "
    "seen AS MATERIALIZED (SELECT s.*, row_number() OVER (PARTITION BY s.work_id, s.wants ORDER BY s.ord) AS nth FROM (%s) AS s), "
    "taken AS (INSERT INTO intents AS i (stage, work_id, state, owner, deadline, prior_past)"
    " SELECT $1, s.work_id, 'taken', $2, clock_timestamp() + $3::bigint * interval '1 millisecond', s.ord & 2 = 2 FROM seen s"
    " WHERE s.wants AND s.ord & 1 = 1 AND s.nth = 1 ORDER BY s.work_id"
    " ON CONFLICT (stage, work_id) DO UPDATE SET state = 'taken', owner = excluded.owner, deadline = excluded.deadline,"
    " tries = i.tries + 1, changed_at = clock_timestamp(), prior_state = i.state, prior_owner = i.owner,"
    " prior_past = i.deadline < clock_timestamp()"
    " WHERE i.state = 'released' OR i.state = 'finished' AND excluded.prior_past"
    " OR i.state IN ('taken', 'unsure') AND (%s OR i.deadline < clock_timestamp() OR %s AND starts_with(i.owner, $5))"
    " RETURNING i.work_id, CASE WHEN i.tries > 1 THEN i.prior_state END AS prior_state, i.prior_owner) "
    "SELECT s.*, t.work_id IS NOT NULL AS taken, coalesce(t.prior_state, '') AS prior_state, coalesce(t.prior_owner, '') AS prior_owner,"
    " s.ord & 1 = 0 AS fenced FROM seen s LEFT JOIN taken t ON s.nth = 1 AND s.wants AND t.work_id = s.work_id"
    " ORDER BY s.ord"; /* and not as the work is called: what is finished first is then what Kafka may forget first */

static char *compose_look(const struct worker *w, int *ret_params)
{
    const struct stage *s = w->stage;
    struct text params = {0}, sql = {0};
    int first = w->dry ? 3 : stage_has_intent(s) ? 10 : 2;

    for (int i = 0; i < s->look_columns; i++)
        text_printf(&params, ", $%d::text[]", first + i);
    if (w->dry) {
        dry_compose_look(s, text_str(&params), &sql);
    } else if (stage_has_intent(s)) {
        text_printf(&sql, intent_look, s->look_names, text_str(&params), s->look_names, s->look_sql,
                    s->call == CALL_ASKABLE && !s->patient ? "true" : "false", s->patient ? "false" : "true");
    } else {
        text_printf(&sql, "WITH asked AS MATERIALIZED (SELECT * FROM unnest($1::int[]%s) AS a(ord, %s)) %s",
                    text_str(&params), s->look_names, s->look_sql);
    }
    text_free(&params);
    *ret_params = first - 1 + s->look_columns;
    return sql.at;
}

/* What was there before may be there no more: it may be another database, or one from yesterday. */
static void on_db_up(void *of)
{
    progress_doubt(of);
    pause_doubt(of);
}

static struct db_statement look_statements[] = {
    [ST_EPOCHS] = {"INSERT INTO partition_owners AS o (topic, partition, epoch, owner) SELECT $1, p, 1, $2 FROM unnest($3::int[]) AS p"
                   " ON CONFLICT (topic, partition) DO UPDATE SET epoch = o.epoch + 1, owner = excluded.owner, since = clock_timestamp()"
                   " RETURNING partition, epoch", 3},
    /* the time is read when the lease has been made, so its slots are late by that, and never early */
    [ST_LEASE] = {"SELECT first_in_us, given, paused_us, coalesce(why, ''), (extract(epoch FROM clock_timestamp()) * 1000000)::bigint"
                  " FROM quota_lease($1, $2, $3, $4)", 4},
    [ST_PULSE] = {"SELECT account, (extract(epoch FROM least(paused_until, clock_timestamp() + interval '1 day') - clock_timestamp()) * 1000000)::bigint,"
                  " coalesce(paused_why, '') FROM quotas WHERE vendor = $1 AND paused_until > clock_timestamp()", 1},
    [ST_LOOK] = {NULL, 0},
};

static struct db_statement record_statements[] = {
    [ST_ATTEMPTS] = {"INSERT INTO attempts (stage, subject, work_id, call, verdict, code, reason, http_status, duration_ms, trace_id)"
                     " SELECT $1, s, w, c, v, k, r, h, d, t FROM unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::text[],"
                     " $7::text[], $8::int[], $9::int[], $10::text[]) AS a(s, w, c, v, k, r, h, d, t)", 10},
    /* as an upsert, which looks each row up by its key whatever the planner thinks of a table that was empty when it planned */
    [ST_INTENTS] = {"INSERT INTO intents AS i (stage, work_id, state, owner, deadline)"
                    " SELECT DISTINCT ON (work_id) $1, work_id, state, $2, clock_timestamp() FROM unnest($3::text[], $4::text[]) AS r(work_id, state)"
                    " ORDER BY work_id, state"
                    " ON CONFLICT (stage, work_id) DO UPDATE SET state = excluded.state, changed_at = clock_timestamp()"
                    " WHERE i.owner = $2 OR excluded.state = 'finished'", 4},
    [ST_PAUSE] = {"SELECT quota_pause($1, $2, $3, $4)", 4},
    [ST_RECORD] = {NULL, 0},
    [ST_NOTE] = {NULL, 0},
};

static void name_owner(struct worker *w)
{
    const char *instance = kafka_instance();
    uint32_t random = (uint32_t)event_random();
    char host[80] = "?";

    gethostname(host, sizeof host - 1);
    if (instance) /* a name that only one living worker has: what its predecessor left may be asked about at once */
        snprintf(w->instance, sizeof w->instance, "%s@", instance);
    else
        snprintf(w->instance, sizeof w->instance, "%s-%d-%08x@", host, (int)getpid(), random);
    snprintf(w->owner, sizeof w->owner, "%s%s-%d-%08x", w->instance, host, (int)getpid(), random);
}

static const char *dead_topic(const char *topic)
{
    char *dead = NULL;

    if (asprintf(&dead, "%s.dlq", topic) < 0)
        out_of_memory();
    return dead;
}

static const char *group_of(const struct worker *w)
{
    char name[80];

    snprintf(name, sizeof name, "%s%s", w->stage->name, w->dry ? "-dry-run" : "");
    return kafka_topic(name);
}

static struct fault begin(struct worker *w, const struct stage *s, bool check)
{
    struct status_source source = {is_ready, refresh, w};

    w->stage = s;
    w->timeout_ms = (int)*s->timeout_ms;
    w->topic = kafka_topic(s->consumes);
    w->topic_dead = dead_topic(w->topic);
    w->topic_on = s->produces ? kafka_topic(s->produces) : NULL;
    dry_begin(w);
    w->group = group_of(w);
    w->hand_max = stage_settings.concurrency * HAND_PER_SLOT > 300 ? (int)stage_settings.concurrency * HAND_PER_SLOT : 300;
    w->record_batch_max = s->batch ? s->batch : STAGE_BATCH;
    if (w->hand_max < 2 * w->record_batch_max) /* one is written while the next fills */
        w->hand_max = 2 * w->record_batch_max;
    w->session_us = (int64_t)kafka_session_ms() * 1000;
    w->lease_account = w->pause_sent = -1;
    w->linger = (struct loop_timer){.call = on_linger, .of = w};
    w->release = (struct loop_timer){.call = worker_release, .of = w};
    w->pulse = (struct loop_timer){.call = on_pulse, .of = w};
    w->prove = (struct loop_timer){.call = prove, .of = w};
    progress_begin(w);
    pause_begin(w);
    TAILQ_INIT(&w->look);
    TAILQ_INIT(&w->looking);
    TAILQ_INIT(&w->ready);
    TAILQ_INIT(&w->calling);
    TAILQ_INIT(&w->record);
    TAILQ_INIT(&w->recording);
    TAILQ_INIT(&w->send);
    TAILQ_INIT(&w->sending);
    TAILQ_INIT(&w->parked);
    TAILQ_INIT(&w->refused);
    name_owner(w);
    TRY(loop_open(&w->loop));
    loop_pace(w->loop, PACE_US);
    TRY(http_open(&w->http, w->loop, (int)stage_settings.concurrency, stage_settings.vendor_ca_file));
    TRY(access_open(&w->access, s->vendor, w->loop, w->http, (int)stage_settings.concurrency, s->call == CALL_BLIND, on_changed, w));
    w->access.day_pause_us = stage_settings.day_pause_seconds * 1000000;
    if (check)
        return FAULT_OK;
    make_metrics(w);
    look_statements[ST_PROGRESS] = progress_statement;
    look_statements[ST_NOTICE] = progress_notice_statement;
    look_statements[ST_PAUSES] = pause_statement;
    record_statements[ST_NOTE] = progress_note_statement;
    look_statements[ST_LOOK].sql = compose_look(w, &look_statements[ST_LOOK].params);
    record_statements[ST_RECORD] = (struct db_statement){s->record_sql, s->record_columns};
    return status_open(&w->status, w->loop, program_metrics_address, (int)program_metrics_port, &source);
}

/* What it waits for is said once, until it is something else. */
static void waits_for(struct worker *w, const char *what)
{
    if (strcmp(w->waits_for, what) != 0)
        log_warn("%s; waiting for it", what);
    text_copy(w->waits_for, sizeof w->waits_for, what);
}

/* What waiting cannot mend is returned. */
static struct fault await_schema(struct worker *w)
{
    while (!loop_stopping(w->loop)) {
        PGconn *conn = NULL;
        struct fault f = pg_open(&conn, w->stage->name);
        if (!f.kind) {
            f = pg_check_schema(conn);
            if (!f.kind)
                f = pause_read(w, conn);
            PQfinish(conn);
        }
        if (f.kind != FAULT_RETRY)
            return f;
        waits_for(w, f.what);
        loop_turn(w->loop, 500);
    }
    return FAULT_OK;
}

static struct fault await_topics(struct worker *w)
{
    const struct kafka_topic_plan plans[] = {{w->topic, false}, {w->topic_dead, true}, {w->topic_on, false}};

    while (!loop_stopping(w->loop)) {
        struct fault f = kafka_ensure_topics(kafka_producer_handle(w->producer), plans, w->topic_on ? 3 : 2, 300);
        if (f.kind != FAULT_RETRY)
            return f;
        waits_for(w, f.what);
        loop_turn(w->loop, 100);
    }
    return FAULT_OK;
}

struct fault worker_join(struct worker *w)
{
    return kafka_consumer_open(&w->consumer, w->loop, w->stage->name, w->group, w->topic, w->topic_dead,
                               w->stage->batch > STAGE_BATCH, &worker_kafka_calls, w);
}

static struct fault start(struct worker *w)
{
    TRY(kafka_producer_open(&w->producer, w->loop, w->stage->name, worker_delivered));
    TRY(await_schema(w));
    w->waits_for[0] = '\0';
    if (loop_stopping(w->loop))
        return FAULT_OK;
    if (!*w->pause.since)
        access_serve(&w->access); /* the log-in is under way while the rest comes up */
    TRY(db_open(&w->look_db, w->loop, w->stage->name, look_statements, COUNT(look_statements), on_db_up, w));
    TRY(db_open(&w->record_db, w->loop, w->stage->name, record_statements, COUNT(record_statements), on_db_up, w));
    db_join_sets(w->record_db);
    TRY(await_topics(w));
    w->waits_for[0] = '\0';
    if (loop_stopping(w->loop))
        return FAULT_OK;
    if (w->topic_on)
        kafka_prepare(w->producer, w->topic_on);
    loop_timer_set(w->loop, &w->pulse, loop_now(w->loop) + PULSE_US);
    return worker_join(w);
}

/* What is in flight is finished, for as long as there is time; what has not begun is left to Kafka. */
static void drain(struct worker *w)
{
    int64_t until = loop_now(w->loop) + stage_settings.drain_seconds * 1000000;

    log_info("stopping: finishing %d call%s", w->calling_n, w->calling_n == 1 ? "" : "s");
    w->draining = true;
    INJECTION_POINT(drain);
    for (struct part *p = w->parts; p; p = p->next_part)
        part_give_up_unsent(p);
    while (loop_now(w->loop) < until &&
           (w->looking_n || w->ready_n || w->calling_n || w->record_n || w->recording_n || w->refused_n || w->send_n || w->sending_n || w->freed_n ||
            progress_must_note(w) || w->restore.note_sent)) {
        /* what an answer or a look-up brings back is given up as well */
        for (struct part *p = w->parts; p; p = p->next_part)
            part_give_up_unsent(p);
        turn(w);
        if (!db_connected(w->record_db) && !w->calling_n)
            break; /* PostgreSQL is gone: what is not recorded is found as an unfinished intent */
    }
    worker_store_offsets(w);
    INJECTION_POINT(drained);
    if (w->calling_n)
        log_warn("%d call%s did not end in time: whoever comes next asks what became of them", w->calling_n,
                 w->calling_n == 1 ? "" : "s");
}

static void end(struct worker *w)
{
    if (w->consumer) {
        kafka_consumer_close(w->consumer);
        w->consumer = NULL;
    }
    while (w->parts)
        part_forget(w, w->parts);
    http_close(w->http);
    access_close(&w->access);
    kafka_producer_close(w->producer, 1000);
    db_close(w->look_db);
    db_close(w->record_db);
    status_close(w->status);
    HASH_CLEAR(hh, w->lanes);
    struct job_list *lists[] = {&w->look, &w->looking, &w->ready, &w->calling, &w->record, &w->recording, &w->send, &w->sending, &w->parked, &w->refused};
    for (size_t i = 0; i < COUNT(lists); i++)
        for (struct job *job; (job = TAILQ_FIRST(lists[i]));) {
            TAILQ_REMOVE(lists[i], job, link);
            loop_timer_stop(w->loop, &job->timer);
            job_free(job);
        }
    http_request_free(&w->request);
    db_columns_free(&w->columns);
    db_columns_free(&w->call_columns);
    db_columns_free(&w->intent_columns);
    progress_end(w);
    text_free(&w->key);
    text_free(&w->value);
    text_free(&w->text);
    free(w->freed);
    free((char *)(uintptr_t)look_statements[ST_LOOK].sql);
    loop_close(w->loop);
}

static struct fault check_all(struct worker *w)
{
    SCOPED(PQfinish) PGconn *conn = NULL;
    const struct kafka_topic_plan none[1];

    setvbuf(stdout, NULL, _IOLBF, 0); /* what is right is said before what is wrong, also into a file */
    TRY(pg_open(&conn, w->stage->name));
    TRY(pg_check_schema(conn));
    printf("ok  PostgreSQL: database %s, schema %d\n", PQdb(conn), SCHEMA_VERSION);
    TRY(kafka_producer_open(&w->producer, w->loop, w->stage->name, worker_delivered));
    TRY(kafka_ensure_topics(kafka_producer_handle(w->producer), none, 0, 5000));
    printf("ok  Kafka answers\n");
    if (w->stage->check)
        TRY(w->stage->check(w->http));
    printf("ok  %s is ready to run\n", w->stage->name);
    return FAULT_OK;
}

static struct fault run(const struct stage *s, const struct program *p, int argc, char **argv)
{
    static struct worker w;
    struct program_arguments arguments;

    if (stage_has_intent(s) != (s->changes != 0))
        abort(); /* a dry run would make its calls: a mistake in the code */
    mallopt(M_ARENA_MAX, 1); /* librdkafka's threads would each keep an arena of their own */
    worker_settings[0].fallback = s->concurrency;
    TRY(program_open(p, argc, argv, &arguments));
    if (arguments.ended)
        return FAULT_OK;
    TRY(kafka_check_settings());
    if (stage_settings.retry_ms_max < stage_settings.retry_ms_min)
        return FAULT(MISUSE, "RETRY_MS_MAX=%lld is less than RETRY_MS_MIN=%lld", (long long)stage_settings.retry_ms_max, (long long)stage_settings.retry_ms_min);
    if (s->settled)
        TRY(s->settled());
    struct fault f = begin(&w, s, arguments.check);
    if (!f.kind && arguments.check) {
        f = check_all(&w);
    } else if (!f.kind) {
        f = start(&w);
        if (!f.kind) {
            while (!loop_stopping(w.loop))
                turn(&w);
            if (w.consumer || w.restore.held)
                drain(&w);
        }
    }
    if (w.loop) {
        program_end_within(CLOSE_S, fault_exit_code(f));
        end(&w);
    }
    if (!f.kind && !arguments.check)
        log_info("stopped");
    return f;
}

int stage_main(const struct stage *s, int argc, char **argv)
{
    const struct setting *tables[8] = {NULL};
    int n = 0;

    for (int i = 0; s->tables[i] && i < 5; i++)
        tables[n++] = s->tables[i];
    tables[n++] = worker_settings;
    tables[n++] = kafka_settings;
    const struct program p = {.name = s->name, .about = s->about, .arguments = "", .tables = tables};

    return program_exit(&p, run(s, &p, argc, argv));
}

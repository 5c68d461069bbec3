/*
 * progress.c - how far a partition's work is in PostgreSQL, and whether PostgreSQL has forgotten any of it.
 *
 * What is finished is noted in `progress`, with the outcomes and several times a second at most; only what is noted is stored
 * for Kafka's next commit. So the group's offsets are never ahead of the table, whatever crashes. When they are, PostgreSQL was
 * restored from a backup, or lost altogether. That is looked at for each partition that is assigned, and for all of them when
 * a connection was made again or a note did not find the row as this worker had left it. A row that is behind is read once
 * more: between it and Kafka's answer another worker may have gone on, above all while this one was stopped. When it still is,
 * the worker gives up what has not begun, leaves the group, says so, and waits for a person: database_restored(), in schemas/sql.
 *
 * When it was said, the partitions are read again from where the table is. A message that is older than the person's word may
 * have been worked on in the time that is forgotten: the stage is told so (PRIOR_FORGOTTEN), and makes nothing that may exist.
 * Kafka's offsets stay as they are until the table has caught up with them, so that another restore is noticed as well. They
 * are then ahead with that person's consent, which covers only messages that are older than it.
 */
#include "common/stage/worker.h"

#include "common/log.h"

#include <stdlib.h>

enum {
    RIDE_US = 50000,   /* a note goes with outcomes no more often than this */
    ALONE_US = 150000, /* and without them when it has waited for so long */
    ASK_MS = 500,
    ASK_AGAIN_US = 100000,
    AGAIN_US = 1000000,
    OTHERS_US = 5000000, /* so often it is asked whether others have noticed it */
    SAY_US = 300 * 1000000,
    PARTS_MAX = 64, /* asked about at a time */
};

/* One row more than partitions, so that what is said of restores is always there. */
const struct db_statement progress_statement = {
    "SELECT a.id, coalesce(p.next_offset, 0), coalesce(p.notes, 0), r.said, coalesce((extract(epoch FROM r.said) * 1000)::bigint, 0),"
    " EXISTS (SELECT FROM restores WHERE said_at IS NULL), EXISTS (SELECT FROM progress_before WHERE stage = $4)"
    " FROM (SELECT max(said_at) AS said FROM restores) AS r, unnest($3::int[] || -1) AS a(id)"
    " LEFT JOIN progress p ON p.consumer = $1 AND p.topic = $2 AND p.partition = a.id", 4};
enum { C_ID, C_NEXT, C_NOTES, C_SAID, C_SAID_MS, C_OPEN, C_BEFORE };

const struct db_statement progress_notice_statement = {"SELECT restore_noticed($1, $2, $3::timestamptz)", 3};

/* A row that is not as it was left is left as it is. */
const struct db_statement progress_note_statement = {
    "WITH n AS MATERIALIZED (SELECT * FROM unnest($3::int[], $4::bigint[], $5::bigint[]) AS n(id, notes, next)),"
    " made AS (INSERT INTO progress (consumer, topic, partition, next_offset) SELECT $1, $2, id, next FROM n WHERE notes = 0"
    " ON CONFLICT (consumer, topic, partition) DO NOTHING RETURNING partition),"
    " moved AS (UPDATE progress p SET next_offset = n.next, notes = p.notes + 1, noted_at = clock_timestamp() FROM n"
    " WHERE p.consumer = $1 AND p.topic = $2 AND p.partition = n.id AND p.partition = ANY ($3::int[]) AND p.notes = n.notes"
    " RETURNING p.partition)"
    " SELECT partition FROM made UNION ALL SELECT partition FROM moved", 5};

void progress_begin(struct worker *w)
{
    w->restore.m_held = metric_make(METRIC_GAUGE, "shelfwire_database_older",
                                   "1: PostgreSQL is older than Kafka, and nothing is done until a person has said so.", "%s", "");
}

void progress_end(struct worker *w)
{
    db_columns_free(&w->restore.columns);
}

/* ---- notes ---- */

bool progress_unnoted(const struct part *p)
{
    return p->progress.known && (p->progress.due || p->progress.finished > p->progress.noted);
}

/* Whether a note is to be made now; alone: also when nothing else is written. */
static bool is_time(struct worker *w, bool alone)
{
    struct restore *m = &w->restore;
    bool any = false, hurry = w->draining;

    for (struct part *p = w->parts; p; p = p->next_part) {
        any |= progress_unnoted(p);
        hurry |= p->revoking && progress_unnoted(p);
    }
    if (!any)
        m->unnoted_us = 0;
    else if (!m->unnoted_us)
        m->unnoted_us = loop_now(w->loop);
    if (!any || hurry)
        return any;
    int64_t at = alone ? m->unnoted_us + ALONE_US : m->noted_us + RIDE_US;
    if (at > loop_now(w->loop) && alone)
        worker_wait(w, at);
    return at <= loop_now(w->loop);
}

bool progress_must_note(struct worker *w)
{
    return is_time(w, true);
}

void progress_add_note(struct worker *w)
{
    struct restore *m = &w->restore;
    const char *values[5] = {w->group, w->topic, NULL};

    if (!is_time(w, false))
        return;
    db_columns_begin(&m->columns, 3);
    for (struct part *p = w->parts; p; p = p->next_part) {
        struct progress *at = &p->progress;
        if (!progress_unnoted(p))
            continue;
        at->noting = at->finished > at->noted ? at->finished : at->noted;
        at->due = false;
        db_put_int(&m->columns, p->id);
        db_put_int(&m->columns, at->notes);
        db_put_int(&m->columns, at->noting);
        db_row_end(&m->columns);
    }
    db_columns_end(&m->columns, values + 2);
    db_add(w->record_db, ST_NOTE, values);
    m->note_sent = true;
    m->unnoted_us = 0;
    m->noted_us = loop_now(w->loop);
}

/* The row was not as this worker had left it: somebody else has the partition, or PostgreSQL has gone back. */
static void look_again(struct worker *w, struct part *p)
{
    p->progress.looked = p->progress.known = false;
    w->restore.wanted = true;
}

void progress_noted(struct worker *w, const struct db_outcome *out)
{
    const PGresult *res = out && w->restore.note_sent ? out->results[0] : NULL;

    for (int r = 0; res && r < PQntuples(res); r++) {
        struct part *p = worker_part(w, atoi(PQgetvalue(res, r, 0)));
        if (!p || p->progress.noting < 0)
            continue; /* it has come back meanwhile */
        p->progress.noted = p->progress.next = p->progress.noting;
        p->progress.notes++;
        p->progress.noting = -1;
    }
    for (struct part *p = w->parts; p; p = p->next_part) {
        if (p->progress.noting < 0)
            continue;
        p->progress.noting = -1;
        p->progress.due = true;
        if (res)
            look_again(w, p);
    }
    w->restore.note_sent = false;
    worker_maybe_release(w);
}

/* ---- what PostgreSQL says ---- */

void progress_assigned(struct worker *w, struct part *p)
{
    p->progress = (struct progress){.finished = -1, .noted = -1, .noting = -1};
    w->restore.wanted = true;
}

void progress_doubt(struct worker *w)
{
    for (struct part *p = w->parts; p; p = p->next_part)
        look_again(w, p);
    w->restore.wanted = true;
}

void progress_add_look(struct worker *w)
{
    struct restore *m = &w->restore;
    const char *values[4] = {w->group, w->topic, NULL, w->stage->name};

    if (m->notice_due) {
        db_add(w->look_db, ST_NOTICE, (const char *const[]){w->stage->name, m->why, *m->held_said ? m->held_said : NULL});
        m->notice_due = false;
        m->notice_sent = true;
    }
    if (!m->wanted || m->look_us > loop_now(w->loop))
        return;
    db_columns_begin(&m->columns, 1);
    for (struct part *p = w->parts; p; p = p->next_part)
        if (!p->progress.looked) {
            db_put_int(&m->columns, p->id);
            db_row_end(&m->columns);
        }
    db_columns_end(&m->columns, values + 2);
    db_add(w->look_db, ST_PROGRESS, values);
    m->wanted = false;
    m->sent = true;
}

bool progress_look_sent(const struct worker *w)
{
    return w->restore.sent || w->restore.notice_sent;
}

/* Said while answers are being read, done at the end of the turn. notice: the others do not know it yet. */
static void is_older(struct worker *w, const char *why, bool notice)
{
    struct restore *m = &w->restore;

    if (m->older)
        return;
    m->older = true;
    m->notice_due = notice;
    text_copy(m->why, sizeof m->why, why);
}

/* A row with fewer notes than this worker has made, or none, is one from the past: it was restored. */
static void read_row(struct worker *w, struct part *p, int64_t next, int64_t notes)
{
    struct progress *at = &p->progress;

    at->looked = true;
    if (notes < at->notes) {
        char why[160];
        snprintf(why, sizeof why, "%s, partition %d, was noted up to %lld by this program, and the table has %lld", w->topic, p->id,
                 (long long)at->next, (long long)next);
        is_older(w, why, true);
        return;
    }
    at->next = next;
    at->notes = notes;
    at->known = at->noted >= 0; /* it was before the connection was lost */
}

static void read_all(struct worker *w, const PGresult *res)
{
    struct restore *m = &w->restore;

    text_copy(m->said, sizeof m->said, PQgetvalue(res, 0, C_SAID));
    m->said_ms = atoll(PQgetvalue(res, 0, C_SAID_MS));
    m->open = PQgetvalue(res, 0, C_OPEN)[0] == 't';
    m->before = PQgetvalue(res, 0, C_BEFORE)[0] == 't';
    for (int r = 0; r < PQntuples(res); r++) {
        struct part *p = worker_part(w, atoi(PQgetvalue(res, r, C_ID)));
        if (p && !p->progress.looked)
            read_row(w, p, atoll(PQgetvalue(res, r, C_NEXT)), atoll(PQgetvalue(res, r, C_NOTES)));
    }
    if (m->open && !m->held)
        is_older(w, "another program has noticed it", false);
}

/* What was asked with the look-ups; out NULL: it failed. Returns the place of the next result. */
int progress_looked(struct worker *w, const struct db_outcome *out, int at)
{
    struct restore *m = &w->restore;

    if (m->notice_sent && !out)
        m->notice_due = true;
    else if (m->notice_sent)
        at++;
    if (m->sent && !out)
        m->wanted = true;
    else if (m->sent)
        read_all(w, out->results[at++]);
    m->look_us = loop_now(w->loop) + (m->sent && (!out || m->held) ? AGAIN_US : 0);
    m->sent = m->notice_sent = false;
    return at;
}

/* ---- beside what Kafka says ---- */

/* Everything that the group has finished ahead of the table is older than the last word of a person. */
static struct fault may_be_read_again(struct worker *w, const struct part *p, int64_t committed, bool *ret)
{
    int64_t since = 0;

    *ret = false;
    if (!w->restore.said_ms)
        return FAULT_OK;
    TRY(kafka_offsets_at(kafka_producer_handle(w->producer), w->topic, p->id, 1, w->restore.said_ms, ASK_MS, &since));
    *ret = committed <= since;
    return FAULT_OK;
}

static void go_on(struct part *p, int64_t from)
{
    p->progress.noted = from;
    p->progress.known = true;
    p->drained = false;
}

/* Is the row, read since Kafka said how far the group is, still behind that? Otherwise it is to be read again. */
static bool is_behind(struct worker *w, struct part *p, int64_t committed)
{
    struct progress *at = &p->progress;

    if (at->next < at->ahead)
        return true;
    at->ahead = committed;
    look_again(w, p);
    return false;
}

/* committed: -1: nothing. RETRY: not decided yet. */
static struct fault decide(struct worker *w, struct part *p, int64_t committed)
{
    struct progress *at = &p->progress;
    bool again;

    if (!at->notes && w->restore.before && committed > 0) {
        go_on(p, committed);
        at->due = true;
        return FAULT_OK;
    }
    if (committed <= at->next) {
        go_on(p, committed < 0 ? 0 : committed);
        return FAULT_OK;
    }
    if (!is_behind(w, p, committed))
        return FAULT_OK;
    TRY(may_be_read_again(w, p, committed, &again));
    if (!again) {
        char why[160];
        snprintf(why, sizeof why, "group %s has finished %s, partition %d, up to %lld, and the table has %lld", w->group, w->topic, p->id,
                 (long long)committed, (long long)at->next);
        is_older(w, why, true);
        return FAULT_OK;
    }
    if (!kafka_seek(w->consumer, p->id, at->next))
        return FAULT(RETRY, "Kafka does not go back yet");
    log_info("reading partition %d again from %lld to %lld, of which PostgreSQL has forgotten what came of it", p->id,
             (long long)at->next, (long long)committed);
    go_on(p, at->next);
    return FAULT_OK;
}

static struct fault ask(struct worker *w)
{
    int32_t ids[PARTS_MAX];
    int64_t committed[PARTS_MAX];
    struct fault first = FAULT_OK;
    int n = 0;

    for (struct part *p = w->parts; p && n < PARTS_MAX; p = p->next_part)
        if (p->progress.looked && !p->progress.known && !p->revoking)
            ids[n++] = p->id;
    if (!n)
        return FAULT_OK;
    TRY(kafka_group_offsets(w->consumer, ids, n, ASK_MS, committed));
    for (int i = 0; i < n && !w->restore.older; i++) {
        struct fault f = decide(w, worker_part(w, ids[i]), committed[i]);
        if (!first.kind)
            first = f;
    }
    return first;
}

/* ---- held ---- */

static void say(struct worker *w)
{
    log_error("PostgreSQL is older than Kafka, as after a restore from a backup (%s): nothing is done until somebody says "
              "SELECT database_restored('name')", w->restore.why);
    w->restore.say_us = loop_now(w->loop) + SAY_US;
}

/* Calls under way end, and their outcome is recorded: it is true in any case. */
static void hold(struct worker *w)
{
    struct restore *m = &w->restore;

    m->older = false;
    m->held = true;
    m->wanted = true;
    memcpy(m->held_said, m->said, sizeof m->held_said);
    w->suspect = false;
    loop_timer_stop(w->loop, &w->release);
    for (struct part *p = w->parts; p; p = p->next_part) {
        p->revoking = true; /* first all of them, so that nothing of them is begun */
        p->progress.known = false;
    }
    while (w->parts) {
        part_give_up_unsent(w->parts);
        part_forget(w, w->parts);
    }
    kafka_consumer_close(w->consumer);
    w->consumer = NULL;
    metric_set(m->m_held, 1);
    say(w);
}

static void wait_for_word(struct worker *w)
{
    struct restore *m = &w->restore;

    if (m->say_us <= loop_now(w->loop))
        say(w);
    if (m->look_us > loop_now(w->loop))
        worker_wait(w, m->look_us);
    if (m->wanted || m->sent || m->notice_due || m->notice_sent || w->draining)
        return;
    if (m->open || !strcmp(m->said, m->held_said)) {
        m->wanted = true;
        return;
    }
    struct fault f = worker_join(w);
    if (f.kind) {
        log_warn("%s", f.what);
        m->wanted = true;
        return;
    }
    log_warn("somebody has said that PostgreSQL was restored: going on");
    m->held = false;
    metric_set(m->m_held, 0);
}

void progress_serve(struct worker *w)
{
    struct restore *m = &w->restore;

    if (m->older && w->consumer)
        hold(w);
    if (m->held) {
        wait_for_word(w);
        return;
    }
    if (loop_now(w->loop) >= m->others_us) {
        m->others_us = loop_now(w->loop) + OTHERS_US;
        m->wanted = true;
    }
    if (!w->consumer || m->ask_us > loop_now(w->loop))
        return;
    int64_t began_us = loop_lapse_us(w->loop);
    struct fault f = ask(w);
    if (!f.kind)
        return;
    log_debug("whether PostgreSQL is as far as Kafka: %s", f.what);
    int64_t ended_us = loop_lapse_us(w->loop), took_us = ended_us - began_us;
    m->ask_us = loop_now(w->loop) + ended_us + took_us + ASK_AGAIN_US; /* all else has waited: now it is its turn for as long */
    worker_wait(w, m->ask_us);
}

/* True while it is held. */
bool progress_trouble(struct worker *w, struct text *why)
{
    if (w->restore.held) {
        text_printf(why, "PostgreSQL is older than Kafka, as after a restore from a backup (%s): somebody must say "
                         "SELECT database_restored('name'); ", w->restore.why);
        return true;
    }
    return false;
}

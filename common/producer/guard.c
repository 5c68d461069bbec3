/* guard.c - was PostgreSQL restored from a backup? */
#include "common/producer/engine.h"

#include "common/log.h"
#include "common/metrics.h"
#include "common/scoped.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    GUARD_EVERY_S = 10, /* the others may have noticed */
    HELD_SAY_S = 300,
};

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
    int64_t *since; /* what is older is older than the last word of a person; 0: nobody ever said one */
    bool before; /* it worked before anything was noted */
};

static void reach_free(struct reach *r)
{
    free(r->noted);
    free(r->committed);
    free(r->since);
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

/*
 * No partitions: there is no such topic, or nobody may ask. Kafka is asked first: the group works on meanwhile, and notes before
 * it commits.
 */
static struct fault reach_read(struct producer *p, const struct producer_reader *reader, struct reach *r)
{
    TRY(engine_count_partitions(p, r->topic, &r->partitions));
    r->noted = calloc((size_t)r->partitions + 1, sizeof *r->noted);
    r->committed = calloc((size_t)r->partitions + 1, sizeof *r->committed);
    r->since = calloc((size_t)r->partitions + 1, sizeof *r->since);
    if (!r->partitions)
        return FAULT_OK;
    for (int i = 0; i < r->partitions; i++)
        r->noted[i] = -1;
    TRY(kafka_committed(p->plan->name, r->group, r->topic, r->partitions, ASK_GROUP_MS, r->committed));
    if (p->guard.said_ms)
        TRY(kafka_offsets_at(kafka_producer_handle(p->kafka), r->topic, 0, r->partitions, p->guard.said_ms, ASK_LOG_MS, r->since));
    return read_noted(p, reader, r);
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
    for (int i = 0; i < r->partitions; i++)
        if (r->committed[i] > (r->noted[i] < 0 ? 0 : r->noted[i]) && !(r->noted[i] < 0 && r->before) && r->committed[i] > r->since[i])
            return notice(p, r, i);
    return FAULT_OK;
}

/* Whether everything that is older than the last word of a person was read, since then. */
static struct fault await_reader(struct producer *p, const struct reach *r)
{
    int64_t *low = calloc(2 * (size_t)r->partitions + 1, sizeof *low), *high = low + r->partitions;
    struct fault f = kafka_log_edges(kafka_producer_handle(p->kafka), r->topic, r->partitions, ASK_LOG_MS, low, high);

    for (int i = 0; i < r->partitions && !f.kind; i++) {
        int64_t until = r->since[i] < high[i] ? r->since[i] : high[i];
        if (r->noted[i] < until && low[i] < until)
            f = FAULT(RETRY, "%s has to read %s again, as PostgreSQL was restored: partition %d from %" PRId64 " to %" PRId64, r->group,
                      r->topic, i, r->noted[i] < 0 ? 0 : r->noted[i], until);
    }
    free(low);
    return f;
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

struct fault engine_upkeep_guard(struct producer *p)
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

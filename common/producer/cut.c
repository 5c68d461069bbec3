/* cut.c - was Kafka's log cut short, or made anew, before it was read? */
#include "common/producer/engine.h"

#include "common/log.h"
#include "common/scoped.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    LOG_EVERY_S = 3600,
    LOG_PAUSE_MAX_S = 60, /* between two looks that brought no answer */
};

struct cut {
    char mark[300], value[64];
    bool lost; /* messages are gone that nobody had read; else only the mark is news */
};

struct cuts {
    struct cut *at;
    size_t count, room;
};

static void add_cut(struct cuts *cuts, const char *mark, int64_t value, bool lost)
{
    if (cuts->count == cuts->room) {
        size_t room = cuts->room ? 2 * cuts->room : 32;
        cuts->at = realloc(cuts->at, room * sizeof *cuts->at);
        cuts->room = room;
    }
    struct cut *c = &cuts->at[cuts->count++];
    snprintf(c->mark, sizeof c->mark, "%s", mark);
    snprintf(c->value, sizeof c->value, "%" PRId64, value);
    c->lost = lost;
}

/* Adds a mark that says something else now. lost: a sign of lost messages in any case; else only when it says less. */
static struct fault compare_mark(struct producer *p, const char *mark, int64_t value, bool lost, struct cuts *cuts)
{
    char known[64];

    TRY(producer_recall(p, mark, known, sizeof known));
    int64_t before = strtoll(known, NULL, 10);
    if (before != value)
        add_cut(cuts, mark, value, lost || value < before);
    return FAULT_OK;
}

/*
 * Three signs: the oldest message left is newer than what the group has read; the log is shorter than we have seen it, or
 * than the group has: the topic was made anew. Each is acted upon once, which the marks remember. read: -1: nothing, so
 * the group would begin with the oldest.
 */
static struct fault look_at_partition(struct producer *p, const char *group, const char *topic, int32_t partition,
                                      int64_t read, int64_t low, int64_t high, struct cuts *cuts)
{
    char mark[300];

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
struct fault engine_count_partitions(struct producer *p, const char *topic, int *ret)
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

    TRY(engine_count_partitions(p, topic, &partitions));
    if (!partitions)
        return FAULT_OK;
    int64_t *read = calloc(3 * (size_t)partitions, sizeof *read), *low = read + partitions, *high = low + partitions;
    struct fault f = kafka_committed(p->plan->name, group, topic, partitions, ASK_GROUP_MS, read);
    if (!f.kind)
        f = kafka_log_edges(kafka_producer_handle(p->kafka), topic, partitions, ASK_LOG_MS, low, high);
    for (int32_t i = 0; !f.kind && i < partitions; i++)
        f = loop_stopping(p->loop) ? FAULT(RETRY, "told to stop") : look_at_partition(p, group, topic, i, read[i], low[i], high[i], cuts);
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

/* For whoever asks when Kafka has forgotten a person (schemas/sql, 009). */
static struct fault note_keeping(struct producer *p)
{
    int64_t ms[READERS_MAX];
    int n = 0;

    while (n < READERS_MAX && p->topics[n])
        n++;
    if (n)
        TRY(kafka_keeps(kafka_producer_handle(p->kafka), p->topics, n, ASK_LOG_MS, ms));
    for (int i = 0; i < n; i++) {
        char mark[300], value[24];
        snprintf(mark, sizeof mark, "keeps %s", p->topics[i]);
        snprintf(value, sizeof value, "%" PRId64, ms[i]);
        if (ms[i] != -2)
            TRY(producer_do(p, "INSERT INTO producer_marks (producer, mark, value) VALUES ('kafka', $1, $2) ON CONFLICT (producer, mark)"
                               " DO UPDATE SET value = excluded.value, set_at = clock_timestamp()", mark, value));
    }
    return FAULT_OK;
}

void engine_look_at_log(struct producer *p)
{
    struct fault f = look_at_readers(p);

    p->log_known = !f.kind;
    p->log_pause_s = p->log_known ? 0 : p->once || !p->log_pause_s ? 1 : 2 * p->log_pause_s;
    if (p->log_pause_s > LOG_PAUSE_MAX_S)
        p->log_pause_s = LOG_PAUSE_MAX_S;
    p->log_at_us = loop_now(p->loop) + (int64_t)(p->log_known ? LOG_EVERY_S : p->log_pause_s) * SECOND_US;
    if (f.kind)
        log_debug("whether the log was cut short is not known yet: %s", f.what);
    else if ((f = note_keeping(p)).kind)
        log_debug("%s", f.what);
}

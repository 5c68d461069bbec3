/*
 * kafka.h - Apache Kafka on the loop, over librdkafka: a consumer of one topic, a producer, the topics.
 *
 * What it decides, so that no program has to:
 *  - Offsets are stored by us (kafka_store) and committed by librdkafka's timer: a commit of our own during a rebalance
 *    would throw the whole assignment away (librdkafka 2.0.2).
 *  - Each partition has its own queue, polled only while there is room, while the consumer itself is polled at every
 *    turn: back-pressure never hides a rebalance.
 *  - The assignment is incremental (cooperative-sticky). With KAFKA_GROUP_INSTANCE_ID the member is static.
 *  - A fatal error of a consumer or producer makes a new one.
 *  - acks=all, idempotent, never given up by time; the partitioner is Java's (murmur2).
 *
 * Settings: KAFKA_BOOTSTRAP_SERVERS, and any librdkafka property as KAFKA_ + its name in capitals, `_` for `.`; also as
 * _FILE. Those that would break a promise are refused.
 * Threads: librdkafka has its own; every callback here comes on the loop's thread.
 */
#ifndef SHELFWIRE_KAFKA_H
#define SHELFWIRE_KAFKA_H

#include "common/loop.h"
#include "common/settings.h"
#include "common/text.h"

#include <librdkafka/rdkafka.h>

extern const struct setting kafka_settings[];

/* "prefix" + name, kept for ever. */
const char *kafka_topic(const char *name);

/* Checks the KAFKA_* variables without connecting: a MISUSE names the variable. */
struct fault kafka_check_settings(void);

/* The stable name of this member (KAFKA_GROUP_INSTANCE_ID), or NULL. */
const char *kafka_instance(void);

/* The session time-out in force, in milliseconds. */
int kafka_session_ms(void);

/*
 * max.poll.interval.ms in force: a minute, or the session if that is longer, unless KAFKA_MAX_POLL_INTERVAL_MS says otherwise. So long an
 * answer to our joining is waited for, too, which a broker that has crashed may forget to give (librdkafka's default: five minutes).
 */
int kafka_poll_ms(void);

/* ---- producing ---- */

struct kafka_producer;

struct kafka_message {
    const char *topic; /* with prefix */
    const char *key;
    size_t key_len;
    const char *value;
    size_t len;
    rd_kafka_headers_t *headers; /* given away when it was queued; may be NULL */
};

/* of: as given to kafka_produce. error: NULL when every in-sync replica has it, else why not. */
typedef void kafka_delivered(void *of, const char *error);

struct fault kafka_producer_open(struct kafka_producer **ret, struct loop *loop, const char *program,
                                 kafka_delivered *delivered);
/* Waits at most flush_ms for what is under way. */
void kafka_producer_close(struct kafka_producer *p, int flush_ms);
/* Finds a topic's partitions out in advance: the first message to a topic would wait up to a second for that. */
void kafka_prepare(struct kafka_producer *p, const char *topic);
/* False when the local queue is full or memory is out: nothing was taken, try later. */
bool kafka_produce(struct kafka_producer *p, struct kafka_message *m, void *of);
/* Waits for what is under way, serving the callbacks; true when nothing is left. */
bool kafka_flush(struct kafka_producer *p, int timeout_ms);
rd_kafka_t *kafka_producer_handle(struct kafka_producer *p);
/* The last trouble with a broker since a message was delivered, or "". */
const char *kafka_producer_trouble(const struct kafka_producer *p);

/* ---- topics ---- */

struct kafka_topic_plan {
    const char *name; /* with prefix */
    bool dead_letters; /* kept without end, takes larger messages */
};

/*
 * Makes the topics that are missing, if the broker allows it; rk is a producer's. RETRY: no broker within timeout_ms, or, where one
 * is there and does not answer in time, within more of it at each try, up to some seconds. MISUSE: a topic is missing and may not be
 * made, or the broker is there, and certificates or passwords do not agree.
 */
struct fault kafka_ensure_topics(rd_kafka_t *rk, const struct kafka_topic_plan *plans, int count, int timeout_ms);

/*
 * How far a group has read the partitions 0 to partitions - 1 of a topic: the offset it goes on with, -1 where it has
 * committed none. Both names with prefix. It asks without joining the group, over a connection of its own, and waits for
 * the answer. RETRY: none within timeout_ms, or up to four seconds of a broker that has been slow. MISUSE: the broker will not tell us.
 */
struct fault kafka_committed(const char *program, const char *group, const char *topic, int partitions, int timeout_ms,
                             int64_t *ret_offsets);

/*
 * The same by a client of that group which has not joined it, for whoever asks often. Not by the Admin API: where a coordinator is
 * lost as it is asked (ListConsumerGroupOffsets, DescribeConsumerGroups), librdkafka 2.0 to 2.8 aborts the program (its issue 4605).
 */
struct fault kafka_committed_by(rd_kafka_t *rk, const char *group, const char *topic, int partitions, int timeout_ms, int64_t *ret_offsets);

/*
 * Of `count` partitions of a topic, from `first`, at once: the offset of the first message that is no older than an instant (ms
 * since the epoch), INT64_MAX: all are older; or, where RD_KAFKA_OFFSET_BEGINNING or _END stands for the instant, where the log
 * begins and where it ends. Waits for the answer. RETRY: not all within timeout_ms.
 */
struct fault kafka_offsets_at(rd_kafka_t *rk, const char *topic, int first, int count, int64_t at, int timeout_ms, int64_t *ret_offsets);

/* Where the logs of a topic's partitions begin and end: kafka_offsets_at, twice. */
struct fault kafka_log_edges(rd_kafka_t *rk, const char *topic, int partitions, int timeout_ms, int64_t *ret_begins, int64_t *ret_ends);

/*
 * For how long Kafka keeps a message of each topic, at most (retention.ms, and segment.ms: a log is cut by whole segments), in
 * milliseconds; -1: without end; -2: it does not say, as of a topic there is not. Waits for the answer. RETRY: none within timeout_ms.
 */
struct fault kafka_keeps(rd_kafka_t *rk, const char *const *topics, int count, int timeout_ms, int64_t *ret_ms);

/* ---- consuming ---- */

struct kafka_consumer;

struct kafka_consumer_calls {
    void (*assigned)(void *of, int32_t partition);
    /* To be given back with kafka_release, at once or within a few seconds; lost: somebody else owns it already. */
    void (*revoked)(void *of, int32_t partition, bool lost);
    void (*ready)(void *of, int32_t partition);   /* messages may be fetched */
    void (*message)(void *of, rd_kafka_message_t *m); /* one that comes unasked; to be destroyed by the callee */
};

/*
 * fast: more than a thousand messages a second may be taken in; some megabytes of them are then held ready. topic_dead: where
 * the topic's dead letters are, which nobody of the group reads; see kafka/orphans.h.
 */
struct fault kafka_consumer_open(struct kafka_consumer **ret, struct loop *loop, const char *program, const char *group,
                                 const char *topic, const char *topic_dead, bool fast, const struct kafka_consumer_calls *calls,
                                 void *of);
void kafka_consumer_close(struct kafka_consumer *c);

/* Call at every turn: rebalances, errors, commits are served here. */
void kafka_consumer_serve(struct kafka_consumer *c);

/* Up to max messages, without waiting; each is the caller's (rd_kafka_message_destroy). Errors are dealt with inside. */
int kafka_fetch(struct kafka_consumer *c, int32_t partition, rd_kafka_message_t **ret, int max);

/* Everything below offset is finished. */
void kafka_store(struct kafka_consumer *c, int32_t partition, int64_t offset);

/*
 * How far the group has committed these partitions of ours, as the broker has it: -1 where it has not. It waits for the answer.
 * RETRY: none within timeout_ms, or up to four seconds of a broker that has been slow.
 */
struct fault kafka_group_offsets(struct kafka_consumer *c, const int32_t *partitions, int count, int timeout_ms, int64_t *ret_offsets);

/* Goes on with that message, which may be one that was committed long ago. False: not yet, try again. */
bool kafka_seek(struct kafka_consumer *c, int32_t partition, int64_t offset);

/* Gives back every partition whose revocation was announced; stored offsets are committed on the way. */
void kafka_release(struct kafka_consumer *c);

/*
 * Since when, at least, the group cannot have given our partitions to others before a session has passed: microseconds of
 * loop_now at which something was asked that the group has accepted since (a commit, an assignment). 0: never.
 * A group takes an accepted commit for a sign of life, so nothing more than a session after this may be believed ours.
 */
int64_t kafka_heard_us(const struct kafka_consumer *c);

/*
 * Commits once more what was committed, to learn whether the group still knows us; kafka_heard_us moves when it does. False:
 * no partition has been fetched from yet, so there is nothing to commit. Seldom: librdkafka 2.0 throws the assignment away
 * when such a commit meets a rebalance.
 */
bool kafka_prove_membership(struct kafka_consumer *c);

/* What it waits for ("no broker", "joining the group"), or "". */
const char *kafka_consumer_trouble(const struct kafka_consumer *c);
bool kafka_consumer_joined(const struct kafka_consumer *c);

/* Messages not yet committed of a partition we own; -1 when unknown. */
int64_t kafka_lag(struct kafka_consumer *c, int32_t partition);

#endif

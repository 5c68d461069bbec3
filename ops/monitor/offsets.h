/*
 * offsets.h - how far every stage has read its topic, asked of Kafka without joining any group.
 *
 * Cost    offsets_look asks one stage's group and one topic: an OffsetFetch, and a ListOffsets to each of the topic's brokers. Whoever
 *         calls it once a second costs the brokers no more than that, however many look at the page. Which topics there are is
 *         asked every half minute.
 * Waits   for the answers, some seconds at most. Threads: one.
 */
#ifndef SHELFWIRE_MONITOR_OFFSETS_H
#define SHELFWIRE_MONITOR_OFFSETS_H

#include "common/fault.h"
#include "ops/monitor/picture.h"

#include <librdkafka/rdkafka.h>

struct offsets;

struct fault offsets_open(struct offsets **ret);
void offsets_close(struct offsets *o);

/* The brokers, and the topics there are: of every stage `exists` and `partitions`, and who has them; the partitions of its dead letters. */
struct fault offsets_topics(struct offsets *o, struct picture *ret, int ret_dlq_partitions[STAGES_MAX]);

/* Of one stage that exists: read, end, begin, lag. */
struct fault offsets_look(struct offsets *o, int stage, struct stage_picture *ret);

/*
 * When the oldest message that a stage has not finished was written: one message of each partition that has any is fetched. Sets
 * oldest_ms.
 */
void offsets_oldest(struct offsets *o, int stage, struct stage_picture *ret);

/* With prefix; kept for ever. */
const char *offsets_topic(int stage);
const char *offsets_dlq(int stage);
const char *offsets_group(int stage);

/* A consumer that names a group (NULL: one of monitor's own) and never joins it; so much is fetched at a time, and held ready. */
struct fault offsets_consumer(rd_kafka_t **ret, const char *group, const char *fetch_bytes, const char *queued_kbytes);

#endif

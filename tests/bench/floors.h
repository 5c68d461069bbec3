/*
 * floors.h - what the programs that measure floors share: arguments, clocks, files of lines, a producer.
 *
 * Each is one file, and of one thread but for librdkafka's own. What fails ends the program with 111.
 */
#ifndef SHELFWIRE_BENCH_FLOORS_H
#define SHELFWIRE_BENCH_FLOORS_H

#include <errno.h>
#include <librdkafka/rdkafka.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define COUNT(a) (sizeof(a) / sizeof *(a))

static char **args; /* NAME=VALUE, ended by NULL; main's to set */

static inline _Noreturn void die(const char *format, ...)
{
    va_list list;

    va_start(list, format);
    fprintf(stderr, "%s: ", program_invocation_short_name);
    vfprintf(stderr, format, list);
    fputc('\n', stderr);
    va_end(list);
    exit(111);
}

static inline const char *arg(const char *name, const char *fallback)
{
    size_t len = strlen(name);

    for (char **a = args; *a; a++)
        if (!strncmp(*a, name, len) && (*a)[len] == '=')
            return *a + len + 1;
    if (!fallback)
        die("%s= is missing", name);
    return fallback;
}

static inline int64_t clock_us(clockid_t clock)
{
    struct timespec t;

    clock_gettime(clock, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static inline int64_t now_us(void)
{
    return clock_us(CLOCK_MONOTONIC);
}

static inline int64_t cpu_us(void)
{
    return clock_us(CLOCK_PROCESS_CPUTIME_ID);
}

static inline void sleep_until(int64_t at_us)
{
    struct timespec t = {.tv_sec = at_us / 1000000, .tv_nsec = (long)(at_us % 1000000) * 1000};

    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL);
}

/* ---- a file of lines, each of fields with tabs between them ---- */

struct lines {
    char *bytes;
    char **at;
    int count;
};

static inline void *need(void *memory)
{
    if (!memory)
        die("out of memory");
    return memory;
}

static inline struct lines lines_read(const char *path)
{
    struct lines l = {0};
    FILE *file = fopen(path, "r");
    long size;
    int room = 0;

    if (!file || fseek(file, 0, SEEK_END) || (size = ftell(file)) < 0 || fseek(file, 0, SEEK_SET))
        die("cannot read %s: %s", path, strerror(errno));
    l.bytes = need(malloc((size_t)size + 1));
    l.bytes[fread(l.bytes, 1, (size_t)size, file)] = '\0';
    fclose(file);
    for (char *line = l.bytes, *end; *line; line = end) {
        end = line + strcspn(line, "\n");
        if (*end)
            *end++ = '\0';
        if (l.count == room)
            l.at = need(realloc(l.at, (size_t)(room = room ? room * 2 : 1024) * sizeof *l.at));
        l.at[l.count++] = line;
    }
    if (!l.count)
        die("%s is empty", path);
    return l;
}

/* Cuts a line in place; what is missing is "". */
static inline void fields(char *line, const char **ret, int count)
{
    for (int i = 0; i < count; i++) {
        size_t len = strcspn(line, "\t");
        ret[i] = line;
        line += len;
        if (*line)
            *line++ = '\0';
    }
}

static inline void set_all(rd_kafka_conf_t *conf, const char *const settings[][2], size_t count)
{
    char why[256];

    for (size_t i = 0; i < count; i++)
        if (rd_kafka_conf_set(conf, settings[i][0], settings[i][1], why, sizeof why) != RD_KAFKA_CONF_OK)
            die("%s", why);
}

static int delivered;

static inline void on_delivery(rd_kafka_t *rk, const rd_kafka_message_t *m, void *opaque)
{
    (void)rk;
    (void)opaque;
    if (m->err)
        die("not delivered: %s", rd_kafka_err2str(m->err));
    delivered++;
}

/* batch: at most so many messages together. A batch is fetched whole, whatever the consumer's limits say. */
static inline rd_kafka_t *producer_open(const char *linger_ms, const char *batch)
{
    const char *const settings[][2] = {
        {"bootstrap.servers", arg("servers", NULL)}, {"acks", "all"}, {"enable.idempotence", "true"},
        {"message.timeout.ms", "0"}, {"partitioner", "murmur2_random"}, {"linger.ms", linger_ms}, {"batch.num.messages", batch},
        {"queue.buffering.max.messages", "1000000"}, {"socket.nagle.disable", "true"},
        {"topic.metadata.refresh.interval.ms", "60000"}};
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    char why[256];

    set_all(conf, settings, COUNT(settings));
    rd_kafka_conf_set_dr_msg_cb(conf, on_delivery);
    rd_kafka_t *rk = rd_kafka_new(RD_KAFKA_PRODUCER, conf, why, sizeof why);
    if (!rk)
        die("%s", why);
    return rk;
}

/* The first message to a topic would wait for its metadata. */
static inline rd_kafka_topic_t *topic_open(rd_kafka_t *rk, const char *name)
{
    rd_kafka_topic_t *topic = rd_kafka_topic_new(rk, name, NULL);
    const struct rd_kafka_metadata *meta;
    rd_kafka_resp_err_t err = rd_kafka_metadata(rk, 0, topic, &meta, 10000);

    if (err)
        die("topic %s: %s", name, rd_kafka_err2str(err));
    rd_kafka_metadata_destroy(meta);
    return topic;
}

static inline void produce(rd_kafka_t *rk, rd_kafka_topic_t *topic, const void *key, size_t key_len, const void *value, size_t len)
{
    while (rd_kafka_produce(topic, RD_KAFKA_PARTITION_UA, RD_KAFKA_MSG_F_COPY, (void *)(uintptr_t)value, len, key, key_len, NULL)) {
        if (rd_kafka_last_error() != RD_KAFKA_RESP_ERR__QUEUE_FULL)
            die("%s", rd_kafka_err2str(rd_kafka_last_error()));
        rd_kafka_poll(rk, 10);
    }
}

/* A group's only member. */
static inline rd_kafka_queue_t *subscribe(const char *topic)
{
    static const char *const settings[][2] = {
        {"group.id", "floors"}, {"auto.offset.reset", "earliest"}, {"partition.assignment.strategy", "cooperative-sticky"},
        {"session.timeout.ms", "15000"}, {"fetch.wait.max.ms", "100"}, {"fetch.error.backoff.ms", "100"},
        {"heartbeat.interval.ms", "1000"}, {"auto.commit.interval.ms", "100"}, {"socket.nagle.disable", "true"},
        {"topic.metadata.refresh.interval.ms", "60000"}};
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    char why[256];

    set_all(conf, settings, COUNT(settings));
    rd_kafka_conf_set(conf, "bootstrap.servers", arg("servers", NULL), NULL, 0);
    rd_kafka_t *consumer = rd_kafka_new(RD_KAFKA_CONSUMER, conf, why, sizeof why);
    if (!consumer)
        die("%s", why);
    rd_kafka_poll_set_consumer(consumer);
    rd_kafka_topic_partition_list_t *from = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(from, topic, RD_KAFKA_PARTITION_UA);
    rd_kafka_subscribe(consumer, from);
    rd_kafka_topic_partition_list_destroy(from);
    return rd_kafka_queue_get_consumer(consumer);
}

/* ---- PostgreSQL ---- */

static const char session_sql[] =
    "SELECT set_config(name, value, false) FROM (VALUES ('synchronous_commit', 'on'), ('plan_cache_mode', 'force_generic_plan'), "
    "('enable_seqscan', 'off'), ('enable_hashjoin', 'off'), ('enable_mergejoin', 'off'), ('jit', 'off'), ('timezone', 'UTC')) AS s(name, value)";

#endif

/*
 * engine.h - the inside of the engine of a producer (producer.h is its outside): what it holds, and who does what with it.
 *
 *   database.c  PostgreSQL and the lock: one connection that every statement goes over; what the producer remembers between runs
 *   send.c      rows in rounds, messages without a row, and what is served while the program waits
 *   cut.c       was Kafka's log cut short, or made anew, before it was read?
 *   guard.c     was PostgreSQL restored from a backup?
 *   producer.c  the turn that drives them all; the purge; beginning and end
 */
#ifndef SHELFWIRE_PRODUCER_ENGINE_H
#define SHELFWIRE_PRODUCER_ENGINE_H

#include "common/db.h"
#include "common/producer.h"

#include <stddef.h>

enum {
    ROUND_MAX = 1000,
    SECOND_US = 1000000,
    KAFKA_SLOW_S = 10, /* unacknowledged for so long, it is said */
    ASK_LOG_MS = 1000,
    ASK_GROUP_MS = 2000, /* with a connection of its own to be made */
    ASK_BROKER_MS = 1000,
    ASK_BROKER_SERVING_MS = 100, /* where others wait for us meanwhile */
    READERS_MAX = 8,
    TOPICS_MAX = 8,
};

extern int64_t engine_resend_seconds;

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

/* ---- database.c ---- */

void engine_disconnect(struct producer *p, const char *why);
struct fault engine_upkeep_pg(struct producer *p);

/* ---- send.c ---- */

struct fault engine_begin_round(struct producer *p);
struct fault engine_finish_round(struct producer *p);
bool engine_is_busy(const struct producer *p);
int engine_wait_ms(const struct producer *p, int most_ms);
void engine_serve(struct producer *p, int most_ms);
void engine_delivered(void *of, const char *error);

/* ---- cut.c ---- */

void engine_look_at_log(struct producer *p);
struct fault engine_count_partitions(struct producer *p, const char *topic, int *ret);

/* ---- guard.c ---- */

struct fault engine_upkeep_guard(struct producer *p);

#endif

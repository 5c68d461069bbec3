/*
 * client.h - what the parts of common/kafka share; kafka.h is their outside.
 *
 *   settings.c  Kafka's settings, and librdkafka's configuration from them
 *   topics.c    topics made where they are missing, and what a broker tells of them
 *   producer.c  messages to Kafka
 *   consumer.c  a member of a consumer group
 *   orphans.c   partitions that a group has left to nobody
 *   trouble.c   what librdkafka says is wrong, in words that name the setting
 */
#ifndef SHELFWIRE_KAFKA_CLIENT_H
#define SHELFWIRE_KAFKA_CLIENT_H

#include "common/kafka.h"
#include "common/kafka/trouble.h"

extern const char *kafka_bootstrap_servers;
extern int64_t kafka_topic_partitions, kafka_topic_replicas, kafka_topic_retention_days;

enum kafka_role { KAFKA_PRODUCES, KAFKA_CONSUMES, KAFKA_CONSUMES_FAST };

/* Our properties for that role, and what was given; the configuration is the caller's. MISUSE: one that is refused or wrong. */
struct fault kafka_configure(rd_kafka_conf_t **ret, const char *program, enum kafka_role role);

/*
 * A client that lives for long: when the file of KAFKA_SASL_USERNAME or _PASSWORD has changed (settings_reread), its next connection
 * is made with what is in there now. Others are configured anew each time.
 */
void kafka_client_made(rd_kafka_t *rk);
void kafka_client_gone(rd_kafka_t *rk);

/*
 * A broker that is there and does not answer in time is given twice as much at the next try, four seconds at most, or one that is
 * slow for good would be asked for ever. kafka_patience hears what came of a try, and returns it.
 */
int kafka_patience_ms(int ms);
rd_kafka_resp_err_t kafka_patience(rd_kafka_resp_err_t err);

/* What librdkafka says of a broker is kept: of "all are down", or of no answer, nobody learns why. */
void kafka_note_trouble(struct kafka_trouble *last, int err, const char *said);
/* Why rd_kafka_new did not make a client. */
struct fault kafka_unusable(const char *why);
/* Why a group's offsets are not known. */
struct fault kafka_not_committed(const char *group, rd_kafka_resp_err_t err);

struct kafka_producer {
    rd_kafka_t *rk;
    rd_kafka_topic_t *prepared[4];
    const char *prepared_names[4];
    int prepared_count;
    struct loop *loop;
    const char *program;
    kafka_delivered *delivered;
    int event_fd;
    struct loop_fd watch;
    struct loop_timer reopen_timer;
    struct kafka_trouble trouble; /* the last there was with a broker */
    bool fatal;
};

#endif

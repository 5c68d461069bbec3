/* producer.c - messages to Kafka, idempotent, and known to be there when every in-sync replica has them. */
#include "common/kafka/client.h"

#include "common/injection.h"
#include "common/log.h"
#include "common/memory.h"
#include "common/scoped.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

static void on_delivery(rd_kafka_t *rk, const rd_kafka_message_t *m, void *opaque)
{
    struct kafka_producer *p = opaque;

    if (m->err && rd_kafka_fatal_error(rk, NULL, 0))
        p->fatal = true;
    if (!m->err)
        p->trouble = (struct kafka_trouble){0};
    INJECTION_POINT(delivered);
    p->delivered(m->_private, m->err ? rd_kafka_err2str(m->err) : NULL);
    INJECTION_POINT(delivered_done);
}

static void on_producer_error(rd_kafka_t *rk, int err, const char *reason, void *opaque)
{
    struct kafka_producer *p = opaque;

    (void)rk;
    if (err == RD_KAFKA_RESP_ERR__FATAL)
        p->fatal = true;
    kafka_note_trouble(&p->trouble, err, reason);
    log_about(err == RD_KAFKA_RESP_ERR__FATAL ? LOG_WARN : LOG_DEBUG, "kafka", "producer: %s", reason);
}

static struct fault producer_start(struct kafka_producer *p)
{
    rd_kafka_conf_t *conf;
    char why[256];

    TRY(kafka_configure(&conf, p->program, KAFKA_PRODUCES));
    rd_kafka_conf_set(conf, "acks", "all", NULL, 0);
    rd_kafka_conf_set(conf, "enable.idempotence", "true", NULL, 0);
    rd_kafka_conf_set(conf, "message.timeout.ms", "0", NULL, 0);
    rd_kafka_conf_set(conf, "partitioner", "murmur2_random", NULL, 0);
    rd_kafka_conf_set_dr_msg_cb(conf, on_delivery);
    rd_kafka_conf_set_error_cb(conf, on_producer_error);
    rd_kafka_conf_set_opaque(conf, p);
    /* a consumer's properties mean nothing to a producer, and the other way round; librdkafka only warns */
    p->rk = rd_kafka_new(RD_KAFKA_PRODUCER, conf, why, sizeof why);
    if (!p->rk) {
        rd_kafka_conf_destroy(conf);
        return kafka_unusable(why);
    }
    kafka_client_made(p->rk);
    rd_kafka_queue_t *queue = rd_kafka_queue_get_main(p->rk);
    rd_kafka_queue_io_event_enable(queue, p->event_fd, &(uint64_t){1}, sizeof(uint64_t));
    rd_kafka_queue_destroy(queue);
    return FAULT_OK;
}

static void prepare_topics(struct kafka_producer *p)
{
    for (int i = 0; i < p->prepared_count; i++)
        p->prepared[i] = rd_kafka_topic_new(p->rk, p->prepared_names[i], NULL);
}

static void forget_topics(struct kafka_producer *p)
{
    for (int i = 0; i < p->prepared_count; i++)
        if (p->prepared[i])
            rd_kafka_topic_destroy(p->prepared[i]);
}

void kafka_prepare(struct kafka_producer *p, const char *topic)
{
    if (p->prepared_count == (int)COUNT(p->prepared))
        return;
    p->prepared_names[p->prepared_count] = topic;
    p->prepared[p->prepared_count++] = rd_kafka_topic_new(p->rk, topic, NULL);
}

static void producer_reopen(void *of, uint32_t events)
{
    struct kafka_producer *p = of;

    (void)events;
    log_warn("Kafka's producer failed for good: making a new one");
    rd_kafka_purge(p->rk, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
    rd_kafka_flush(p->rk, 1000); /* calls `delivered` with an error for each */
    forget_topics(p);
    kafka_client_gone(p->rk);
    rd_kafka_destroy(p->rk);
    p->fatal = false;
    struct fault f = producer_start(p);
    if (!f.kind)
        prepare_topics(p);
    if (f.kind) {
        log_error("%s", f.what);
        exit(fault_exit_code(f));
    }
}

static void on_producer_event(void *of, uint32_t events)
{
    struct kafka_producer *p = of;

    (void)events;
    rd_kafka_poll(p->rk, 0);
    if (p->fatal && !p->reopen_timer.place)
        loop_timer_set(p->loop, &p->reopen_timer, loop_now(p->loop) + 100000);
}

struct fault kafka_producer_open(struct kafka_producer **ret, struct loop *loop, const char *program,
                                 kafka_delivered *delivered)
{
    struct kafka_producer *p = calloc(1, sizeof *p);

    *ret = NULL;
    p->event_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (p->event_fd < 0) {
        free(p);
        return FAULT(FATAL, "cannot start Kafka's producer: %s", strerror(errno));
    }
    p->loop = loop;
    p->program = program;
    p->delivered = delivered;
    p->reopen_timer = (struct loop_timer){.call = producer_reopen, .of = p};
    struct fault f = producer_start(p);
    if (f.kind) {
        close(p->event_fd);
        free(p);
        return f;
    }
    loop_watch(loop, &p->watch, p->event_fd, EPOLLIN | EPOLLET, on_producer_event, p);
    *ret = p;
    return FAULT_OK;
}

void kafka_producer_close(struct kafka_producer *p, int flush_ms)
{
    if (!p)
        return;
    rd_kafka_flush(p->rk, flush_ms);
    rd_kafka_purge(p->rk, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
    rd_kafka_flush(p->rk, 100);
    forget_topics(p);
    loop_timer_stop(p->loop, &p->reopen_timer);
    loop_watch(p->loop, &p->watch, -1, 0, NULL, NULL);
    kafka_client_gone(p->rk);
    rd_kafka_destroy(p->rk);
    close(p->event_fd);
    free(p);
}

bool kafka_produce(struct kafka_producer *p, struct kafka_message *m, void *of)
{
    if (p->fatal)
        return false;
    INJECTION_POINT(produce);
    rd_kafka_resp_err_t err =
        m->headers
            ? rd_kafka_producev(p->rk, RD_KAFKA_V_TOPIC(m->topic), RD_KAFKA_V_KEY(m->key, m->key_len),
                                RD_KAFKA_V_VALUE((void *)(uintptr_t)m->value, m->len), RD_KAFKA_V_HEADERS(m->headers),
                                RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_OPAQUE(of), RD_KAFKA_V_END)
            : rd_kafka_producev(p->rk, RD_KAFKA_V_TOPIC(m->topic), RD_KAFKA_V_KEY(m->key, m->key_len),
                                RD_KAFKA_V_VALUE((void *)(uintptr_t)m->value, m->len),
                                RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_OPAQUE(of), RD_KAFKA_V_END);
    if (err && err != RD_KAFKA_RESP_ERR__QUEUE_FULL)
        log_about(LOG_WARN, m->topic, "cannot send: %s", rd_kafka_err2str(err));
    INJECTION_POINT(produced);
    return !err;
}

bool kafka_flush(struct kafka_producer *p, int timeout_ms)
{
    rd_kafka_flush(p->rk, timeout_ms);
    return rd_kafka_outq_len(p->rk) == 0;
}

rd_kafka_t *kafka_producer_handle(struct kafka_producer *p)
{
    return p->rk;
}

const char *kafka_producer_trouble(const struct kafka_producer *p)
{
    return p->trouble.what;
}

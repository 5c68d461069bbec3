/* send.c - the next topic, or the dead letters. */
#include "common/stage/worker.h"

#include "common/event.h"
#include "common/log.h"

#include <arpa/inet.h>
#include <endian.h>

void worker_delivered(void *of, const char *error)
{
    struct job *job = of;
    struct worker *w = job->w;
    char subject[120];

    if (!error) {
        if (job->dead_letter)
            metric_add(w->m_dead, 1);
        job_finish(job);
        return;
    }
    job_subject(job, subject);
    log_about(LOG_WARN, subject, "Kafka did not take it for %s: %s; sending again",
              job->dead_letter ? w->topic_dead : w->topic_on, error);
    job_move(job, J_SEND, true);
    worker_wait(w, loop_now(w->loop) + 1000000);
}

/* The names and the binary numbers that Spring Kafka's readers of dead letters expect. */
static rd_kafka_headers_t *dead_letter_headers(struct job *job)
{
    struct worker *w = job->w;
    rd_kafka_headers_t *h = rd_kafka_headers_new(10);
    uint32_t partition = htonl((uint32_t)(job->part ? job->part->id : -1));
    uint64_t offset = htobe64((uint64_t)job->offset), timestamp = htobe64((uint64_t)job->timestamp_ms);
    char text[80], why[320];

    event_header(h, "kafka_dlt-original-topic", w->topic);
    rd_kafka_header_add(h, "kafka_dlt-original-partition", -1, &partition, sizeof partition);
    rd_kafka_header_add(h, "kafka_dlt-original-offset", -1, &offset, sizeof offset);
    rd_kafka_header_add(h, "kafka_dlt-original-timestamp", -1, &timestamp, sizeof timestamp);
    event_header(h, "kafka_dlt-original-timestamp-type", "CreateTime");
    event_header(h, "kafka_dlt-original-consumer-group", w->group);
    event_header(h, "kafka_dlt-exception-fqcn", job->answer.code);
    snprintf(why, sizeof why, "%s: %s", job->answer.code, job->answer.reason);
    event_header(h, "kafka_dlt-exception-message", why);
    snprintf(text, sizeof text, "00-%s-0000000000000001-01", job->trace_id);
    event_header(h, "traceparent", text);
    return h;
}

/*
 * One batch at a time, unless a broker keeps us waiting. While five messages of a partition are on their way, librdkafka 2.0.2
 * sends no more of it (RD_KAFKA_IDEMP_MAX_INFLIGHT), but looks without pause whether it may: its thread then takes a whole core.
 */
static bool is_free(struct worker *w)
{
    struct job *oldest = TAILQ_FIRST(&w->sending);

    return !oldest || oldest->since_us + SENDING_US < loop_now(w->loop);
}

void worker_send(struct worker *w)
{
    if (!w->send_n || !is_free(w) || !worker_worth_it(w, w->send_n, w->hand_max, w->sent_us))
        return; /* each time it is woken, Kafka's own thread costs as much as a message */
    w->sent_us = loop_now(w->loop);
    for (struct job *job; (job = TAILQ_FIRST(&w->send));) {
        bool nowhere = !job->dead_letter && !w->topic_on;
        if (!job->part || nowhere) {
            job_finish(job); /* nobody is next; or the partition is somebody else's, who will send it on */
            continue;
        }
        struct kafka_message m = {.topic = w->topic_dead, .key = job->key_null ? NULL : job->key, .key_len = job->key_len,
                                  .value = job->value_null ? NULL : job->value, .len = job->value_len};
        if (job->dead_letter) {
            m.headers = dead_letter_headers(job);
        } else {
            text_clear(&w->key);
            text_clear(&w->value);
            w->stage->onward(job->of, &w->key, &w->value);
            if (w->key.failed || w->value.failed) {
                job_set_aside(job, "too_long", "what it becomes is longer than a message may be");
                continue;
            }
            m = (struct kafka_message){.topic = w->topic_on, .key = text_str(&w->key), .key_len = w->key.len,
                                       .value = text_str(&w->value), .len = w->value.len};
            m.headers = event_headers(w->stage->name, w->stage->subject(job->of), w->stage->produces, job->trace_id);
            dry_mark(w, m.headers);
        }
        if (!kafka_produce(w->producer, &m, job)) {
            rd_kafka_headers_destroy(m.headers);
            worker_wait(w, loop_now(w->loop) + 100000);
            return;
        }
        job_move(job, J_SENDING, false);
    }
}

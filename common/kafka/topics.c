/* topics.c - topics made where they are missing, and what a broker tells of them without being read from. */
#include "common/kafka/client.h"

#include "common/log.h"
#include "common/memory.h"
#include "common/scoped.h"

#include <stdlib.h>
#include <string.h>

enum { ASK_MS = 300, PATIENCE_MAX = 4, PATIENCE_MS_MAX = 4000 };

static int doubled; /* how often somebody was asked in vain, so far */

int kafka_patience_ms(int ms)
{
    ms <<= doubled;
    return ms < PATIENCE_MS_MAX ? ms : PATIENCE_MS_MAX;
}

rd_kafka_resp_err_t kafka_patience(rd_kafka_resp_err_t err)
{
    if (err == RD_KAFKA_RESP_ERR__TIMED_OUT && doubled < PATIENCE_MAX)
        doubled++;
    return err;
}

static bool known(const struct rd_kafka_metadata *meta, const char *name)
{
    for (int i = 0; i < meta->topic_cnt; i++)
        if (!strcmp(meta->topics[i].topic, name) && !meta->topics[i].err && meta->topics[i].partition_cnt > 0)
            return true;
    return false;
}

static struct fault create_topics(rd_kafka_t *rk, rd_kafka_NewTopic_t **news, int count, int timeout_ms)
{
    rd_kafka_queue_t *queue = rd_kafka_queue_new(rk);
    struct fault f = FAULT_OK;
    size_t n = 0;

    rd_kafka_CreateTopics(rk, news, (size_t)count, NULL, queue);
    rd_kafka_event_t *event = rd_kafka_queue_poll(queue, timeout_ms);
    if (!event) {
        f = FAULT(RETRY, "Kafka does not answer; see KAFKA_BOOTSTRAP_SERVERS");
    } else if (rd_kafka_event_error(event)) {
        f = FAULT(RETRY, "Kafka cannot make topics: %s", rd_kafka_event_error_string(event));
    } else {
        const rd_kafka_topic_result_t **results =
            rd_kafka_CreateTopics_result_topics(rd_kafka_event_CreateTopics_result(event), &n);
        for (size_t i = 0; i < n; i++) {
            rd_kafka_resp_err_t err = rd_kafka_topic_result_error(results[i]);
            const char *name = rd_kafka_topic_result_name(results[i]);
            if (!err)
                log_info("made topic %s", name);
            else if (err != RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS)
                f = FAULT(MISUSE, "topic %s is missing and cannot be made (make it, or mend TOPIC_REPLICAS, TOPIC_PARTITIONS): %s", name,
                          rd_kafka_topic_result_error_string(results[i]));
        }
    }
    if (event)
        rd_kafka_event_destroy(event);
    rd_kafka_queue_destroy(queue);
    return f;
}

/* Of these topics alone: a cluster may have thousands, and take long to tell them. */
static rd_kafka_resp_err_t ask_topics(rd_kafka_t *rk, const struct kafka_topic_plan *plans, int count, int timeout_ms,
                                      const struct rd_kafka_metadata **ret)
{
    rd_kafka_topic_t *asked[16];
    int n = 0;

    for (int i = 0; i < count && n < (int)COUNT(asked); i++)
        asked[n++] = rd_kafka_topic_new(rk, plans[i].name, NULL);
    rd_kafka_resp_err_t err = kafka_patience(rd_kafka_metadata(rk, 0, NULL, ret, timeout_ms));
    for (int i = 0; i < n; i++)
        if (asked[i])
            rd_kafka_topic_destroy(asked[i]);
    return err;
}

/* In slices, so that whoever is refused need not wait for the end. */
static struct fault await_broker(struct kafka_producer *p, const struct kafka_topic_plan *plans, int count, int timeout_ms,
                                 const struct rd_kafka_metadata **ret)
{
    rd_kafka_resp_err_t err;

    do {
        int ms = kafka_patience_ms(ASK_MS);
        err = ask_topics(p->rk, plans, count, ms, ret);
        if (!err) {
            p->trouble = (struct kafka_trouble){0};
            return FAULT_OK;
        }
        rd_kafka_poll(p->rk, 0); /* its words come as an event */
        timeout_ms -= ms;
    } while (timeout_ms > 0 && !p->trouble.refused);
    if (p->trouble.kind)
        return fault_make(p->trouble.refused ? FAULT_MISUSE : FAULT_RETRY, "%s", p->trouble.what);
    return FAULT(RETRY, "no Kafka broker at %s: %s; see KAFKA_BOOTSTRAP_SERVERS", kafka_bootstrap_servers, rd_kafka_err2str(err));
}

struct fault kafka_ensure_topics(rd_kafka_t *rk, const struct kafka_topic_plan *plans, int count, int timeout_ms)
{
    const struct rd_kafka_metadata *meta;
    rd_kafka_NewTopic_t *news[16];
    char why[256], retention[32];
    int missing = 0;

    TRY(await_broker(rd_kafka_opaque(rk), plans, count, timeout_ms, &meta));
    snprintf(retention, sizeof retention, "%lld", (long long)kafka_topic_retention_days * 86400000);
    struct fault f = FAULT_OK;
    for (int i = 0; i < count && missing < 16; i++) {
        if (known(meta, plans[i].name))
            continue;
        rd_kafka_NewTopic_t *t =
            rd_kafka_NewTopic_new(plans[i].name, (int)kafka_topic_partitions, (int)kafka_topic_replicas, why, sizeof why);
        if (!t) {
            f = FAULT(MISUSE, "topic %s: %s", plans[i].name, why);
            break;
        }
        rd_kafka_NewTopic_set_config(t, "retention.ms", plans[i].dead_letters ? "-1" : retention);
        if (kafka_topic_replicas >= 3) /* Kafka's default of 1 would acknowledge what a single broker has, and might take away */
            rd_kafka_NewTopic_set_config(t, "min.insync.replicas", "2");
        if (plans[i].dead_letters)
            rd_kafka_NewTopic_set_config(t, "max.message.bytes", "8388608");
        news[missing++] = t;
    }
    rd_kafka_metadata_destroy(meta);
    if (!f.kind && missing)
        f = create_topics(rk, news, missing, timeout_ms > 10000 ? timeout_ms : 10000);
    rd_kafka_NewTopic_destroy_array(news, (size_t)missing);
    return f;
}

static int64_t whole_number(const rd_kafka_ConfigResource_t *of, const char *property)
{
    size_t n;
    const rd_kafka_ConfigEntry_t **entries = rd_kafka_ConfigResource_configs(of, &n);

    for (size_t i = 0; i < n; i++) {
        const char *value = rd_kafka_ConfigEntry_value(entries[i]);
        if (!strcmp(rd_kafka_ConfigEntry_name(entries[i]), property) && value)
            return strtoll(value, NULL, 10);
    }
    return -2;
}

static int64_t keeps(const rd_kafka_ConfigResource_t *topic)
{
    int64_t retention_ms = whole_number(topic, "retention.ms"), segment_ms = whole_number(topic, "segment.ms");

    if (rd_kafka_ConfigResource_error(topic) || retention_ms < 0)
        return rd_kafka_ConfigResource_error(topic) ? -2 : retention_ms;
    return segment_ms > 0 && retention_ms < INT64_MAX - segment_ms ? retention_ms + segment_ms : retention_ms;
}

struct fault kafka_keeps(rd_kafka_t *rk, const char *const *topics, int count, int timeout_ms, int64_t *ret_ms)
{
    rd_kafka_AdminOptions_t *options = rd_kafka_AdminOptions_new(rk, RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS);
    rd_kafka_ConfigResource_t **asked = calloc((size_t)count + 1, sizeof *asked);
    rd_kafka_queue_t *queue = rd_kafka_queue_new(rk);
    size_t n = 0;

    rd_kafka_AdminOptions_set_request_timeout(options, timeout_ms, NULL, 0);
    for (int i = 0; i < count; i++)
        asked[i] = rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, topics[i]);
    rd_kafka_DescribeConfigs(rk, asked, (size_t)count, options, queue);
    rd_kafka_event_t *event = rd_kafka_queue_poll(queue, timeout_ms);
    struct fault f = !event ? FAULT(RETRY, "Kafka does not say how long it keeps messages")
                   : rd_kafka_event_error(event) ? FAULT(RETRY, "how long Kafka keeps messages: %s", rd_kafka_event_error_string(event))
                   : FAULT_OK;
    const rd_kafka_ConfigResource_t **told =
        f.kind ? NULL : rd_kafka_DescribeConfigs_result_resources(rd_kafka_event_DescribeConfigs_result(event), &n);
    for (int i = 0; i < count; i++) {
        ret_ms[i] = -2;
        for (size_t k = 0; k < n; k++)
            if (!strcmp(rd_kafka_ConfigResource_name(told[k]), topics[i]))
                ret_ms[i] = keeps(told[k]);
    }
    if (event)
        rd_kafka_event_destroy(event);
    rd_kafka_ConfigResource_destroy_array(asked, (size_t)count);
    free(asked);
    rd_kafka_queue_destroy(queue);
    rd_kafka_AdminOptions_destroy(options);
    return f;
}

struct fault kafka_not_committed(const char *group, rd_kafka_resp_err_t err)
{
    if (err == RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED || err == RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED)
        return FAULT(MISUSE, "the offsets of group %s: %s", group, rd_kafka_err2str(err));
    return FAULT(RETRY, "the offsets of group %s: %s", group, rd_kafka_err2str(err));
}

struct fault kafka_committed_by(rd_kafka_t *rk, const char *group, const char *topic, int partitions, int timeout_ms, int64_t *ret_offsets)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(partitions);

    rd_kafka_topic_partition_list_add_range(list, topic, 0, partitions - 1);
    rd_kafka_resp_err_t err = kafka_patience(rd_kafka_committed(rk, list, kafka_patience_ms(timeout_ms)));
    for (int i = 0; i < list->cnt && !err; i++)
        err = list->elems[i].err;
    for (int i = 0; i < list->cnt && !err; i++)
        ret_offsets[list->elems[i].partition] = list->elems[i].offset >= 0 ? list->elems[i].offset : -1;
    rd_kafka_topic_partition_list_destroy(list);
    return err ? kafka_not_committed(group, err) : FAULT_OK;
}

struct fault kafka_committed(const char *program, const char *group, const char *topic, int partitions, int timeout_ms,
                             int64_t *ret_offsets)
{
    rd_kafka_conf_t *conf;
    char why[256];

    TRY(kafka_configure(&conf, program, KAFKA_CONSUMES));
    rd_kafka_conf_set(conf, "group.id", group, NULL, 0);
    rd_kafka_conf_set(conf, "enable.auto.commit", "false", NULL, 0);
    rd_kafka_t *rk = rd_kafka_new(RD_KAFKA_CONSUMER, conf, why, sizeof why);
    if (!rk) {
        rd_kafka_conf_destroy(conf);
        return kafka_unusable(why);
    }
    struct fault f = kafka_committed_by(rk, group, topic, partitions, timeout_ms, ret_offsets);
    rd_kafka_destroy_flags(rk, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE); /* there is nothing to leave, so nothing to wait for */
    return f;
}

struct fault kafka_offsets_at(rd_kafka_t *rk, const char *topic, int first, int count, int64_t at, int timeout_ms, int64_t *ret_offsets)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(count);
    struct fault f = FAULT_OK;

    for (int i = 0; i < count; i++)
        rd_kafka_topic_partition_list_add(list, topic, first + i)->offset = at;
    rd_kafka_resp_err_t err = rd_kafka_offsets_for_times(rk, list, timeout_ms);
    for (int i = 0; i < list->cnt && !f.kind; i++) {
        const rd_kafka_topic_partition_t *it = &list->elems[i];
        if (err || it->err)
            f = FAULT(RETRY, "topic %s, partition %d: %s", topic, (int)it->partition, rd_kafka_err2str(err ? err : it->err));
    }
    for (int i = 0; i < list->cnt && !f.kind; i++)
        ret_offsets[list->elems[i].partition - first] = list->elems[i].offset >= 0 ? list->elems[i].offset : INT64_MAX;
    rd_kafka_topic_partition_list_destroy(list);
    return f;
}

struct fault kafka_log_edges(rd_kafka_t *rk, const char *topic, int partitions, int timeout_ms, int64_t *ret_begins, int64_t *ret_ends)
{
    TRY(kafka_offsets_at(rk, topic, 0, partitions, RD_KAFKA_OFFSET_BEGINNING, timeout_ms, ret_begins));
    return kafka_offsets_at(rk, topic, 0, partitions, RD_KAFKA_OFFSET_END, timeout_ms, ret_ends);
}

#include "ops/monitor/offsets.h"

#include "common/kafka/client.h"
#include "common/scoped.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { ASK_MS = 4000, FETCH_MS = 1500, BEGIN_EVERY_S = 300 };

struct offsets {
    rd_kafka_t *rk; /* of a group of its own */
    rd_kafka_t *members[STAGES_MAX]; /* one of each group, which asks and never joins; NULL: not yet */
    time_t begin_asked[STAGES_MAX];
};

static const char *own;
static const char *topics[STAGES_MAX], *dlqs[STAGES_MAX], *groups[STAGES_MAX];

const char *offsets_topic(int stage)
{
    return topics[stage];
}

const char *offsets_dlq(int stage)
{
    return dlqs[stage];
}

const char *offsets_group(int stage)
{
    return groups[stage];
}

static void name_all(void)
{
    char dlq[80];

    for (int i = 0; i < STAGES_MAX && !topics[i]; i++) {
        topics[i] = kafka_topic(chain_stages[i].topic);
        groups[i] = kafka_topic(chain_stages[i].program);
        snprintf(dlq, sizeof dlq, "%s.dlq", chain_stages[i].topic);
        dlqs[i] = kafka_topic(dlq);
    }
}

struct fault offsets_consumer(rd_kafka_t **ret, const char *group, const char *fetch_bytes, const char *queued_kbytes)
{
    rd_kafka_conf_t *conf;
    char why[256];

    TRY(kafka_configure(&conf, "monitor", KAFKA_CONSUMES));
    own = own ? own : kafka_topic("monitor");
    rd_kafka_conf_set(conf, "group.id", group ? group : own, NULL, 0);
    rd_kafka_conf_set(conf, "group.instance.id", "", NULL, 0);
    rd_kafka_conf_set(conf, "enable.auto.commit", "false", NULL, 0);
    rd_kafka_conf_set(conf, "auto.offset.reset", "earliest", NULL, 0);
    rd_kafka_conf_set(conf, "fetch.wait.max.ms", "2000", NULL, 0); /* where nothing comes, a broker is asked no more often */
    rd_kafka_conf_set(conf, "fetch.message.max.bytes", fetch_bytes, NULL, 0);
    rd_kafka_conf_set(conf, "queued.max.messages.kbytes", queued_kbytes, NULL, 0);
    rd_kafka_t *rk = rd_kafka_new(RD_KAFKA_CONSUMER, conf, why, sizeof why);
    if (!rk) {
        rd_kafka_conf_destroy(conf);
        return kafka_unusable(why);
    }
    rd_kafka_poll_set_consumer(rk);
    *ret = rk;
    return FAULT_OK;
}

struct fault offsets_open(struct offsets **ret)
{
    rd_kafka_t *rk;

    name_all();
    TRY(offsets_consumer(&rk, NULL, "16384", "16"));
    struct offsets *o = calloc(1, sizeof *o);
    o->rk = rk;
    *ret = o;
    return FAULT_OK;
}

void offsets_close(struct offsets *o)
{
    if (!o)
        return;
    for (int i = 0; i < STAGES_MAX; i++)
        if (o->members[i])
            rd_kafka_destroy_flags(o->members[i], RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
    rd_kafka_destroy_flags(o->rk, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
    free(o);
}

/* ---- which topics there are ---- */

/* ret: who has its partitions; NULL: not wanted. Returns how many there are, 0: there is no such topic. */
static int partitions_of(const struct rd_kafka_metadata *meta, const char *name, struct stage_picture *ret)
{
    for (int i = 0; i < meta->topic_cnt; i++) {
        const struct rd_kafka_metadata_topic *topic = &meta->topics[i];
        if (strcmp(topic->topic, name) != 0 || topic->err)
            continue;
        for (int n = 0; ret && n < topic->partition_cnt; n++) {
            const struct rd_kafka_metadata_partition *p = &topic->partitions[n];
            if (p->id < 0 || p->id >= PARTITIONS_MAX)
                continue;
            ret->leader[p->id] = p->leader;
            ret->replicas[p->id] = (int16_t)p->replica_cnt;
            ret->in_sync[p->id] = (int16_t)p->isr_cnt;
        }
        return topic->partition_cnt < PARTITIONS_MAX ? topic->partition_cnt : PARTITIONS_MAX;
    }
    return 0;
}

struct fault offsets_topics(struct offsets *o, struct picture *ret, int ret_dlq_partitions[STAGES_MAX])
{
    const struct rd_kafka_metadata *meta;
    rd_kafka_resp_err_t err = kafka_patience(rd_kafka_metadata(o->rk, 1, NULL, &meta, kafka_patience_ms(ASK_MS / 4)));

    if (err)
        return FAULT(RETRY, "no Kafka broker at %s: %s", kafka_bootstrap_servers, rd_kafka_err2str(err));
    ret->brokers = meta->broker_cnt;
    for (int i = 0; i < STAGES_MAX; i++) {
        struct stage_picture *s = &ret->stages[i];
        s->partitions = partitions_of(meta, topics[i], s);
        s->exists = s->partitions > 0;
        ret_dlq_partitions[i] = partitions_of(meta, dlqs[i], NULL);
    }
    rd_kafka_metadata_destroy(meta);
    return FAULT_OK;
}

/* ---- offsets ---- */

/* Errors and logs are handed over, or they would pile up. */
static void serve(rd_kafka_t *rk)
{
    for (rd_kafka_message_t *m; (m = rd_kafka_consumer_poll(rk, 0));)
        rd_kafka_message_destroy(m);
}

static struct fault committed(struct offsets *o, int stage, struct stage_picture *ret)
{
    if (!o->members[stage])
        TRY(offsets_consumer(&o->members[stage], groups[stage], "16384", "16"));
    serve(o->members[stage]);
    return kafka_committed_by(o->members[stage], groups[stage], topics[stage], ret->partitions, ASK_MS, ret->read);
}

struct fault offsets_look(struct offsets *o, int stage, struct stage_picture *ret)
{
    bool unread = false;
    time_t now = time(NULL);

    serve(o->rk);
    /* the group first: what comes in between is lag, and never less than none */
    TRY(committed(o, stage, ret));
    TRY(kafka_offsets_at(o->rk, topics[stage], 0, ret->partitions, RD_KAFKA_OFFSET_END, ASK_MS, ret->end));
    for (int p = 0; p < ret->partitions; p++)
        unread |= ret->read[p] < ret->begin[p];
    if (!ret->seen_ms || (unread && now - o->begin_asked[stage] > BEGIN_EVERY_S)) { /* where it would begin: it seldom moves */
        TRY(kafka_offsets_at(o->rk, topics[stage], 0, ret->partitions, RD_KAFKA_OFFSET_BEGINNING, ASK_MS, ret->begin));
        o->begin_asked[stage] = now;
    }
    ret->lag = 0;
    for (int p = 0; p < ret->partitions; p++) {
        int64_t from = ret->read[p] > ret->begin[p] ? ret->read[p] : ret->begin[p];
        ret->lag += ret->end[p] > from ? ret->end[p] - from : 0;
    }
    return FAULT_OK;
}

static bool behind(const struct stage_picture *s, int p)
{
    return s->end[p] > (s->read[p] > s->begin[p] ? s->read[p] : s->begin[p]);
}

void offsets_oldest(struct offsets *o, int stage, struct stage_picture *ret)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(ret->partitions);
    int64_t oldest = INT64_MAX;
    bool seen[PARTITIONS_MAX] = {false};
    int left;

    for (int p = 0; p < ret->partitions; p++)
        if (behind(ret, p))
            rd_kafka_topic_partition_list_add(list, topics[stage], p)->offset = ret->read[p] > ret->begin[p] ? ret->read[p] : ret->begin[p];
    left = list->cnt;
    if (left && !rd_kafka_assign(o->rk, list)) {
        for (int waited_ms = 0; left && waited_ms < FETCH_MS;) {
            rd_kafka_message_t *m = rd_kafka_consumer_poll(o->rk, 100);
            if (!m) {
                waited_ms += 100;
                continue;
            }
            if (!m->err && m->partition < PARTITIONS_MAX && !seen[m->partition]) {
                int64_t at = rd_kafka_message_timestamp(m, NULL);
                seen[m->partition] = true;
                left--;
                oldest = at > 0 && at < oldest ? at : oldest;
            }
            rd_kafka_message_destroy(m);
        }
        rd_kafka_assign(o->rk, NULL);
    }
    if (!list->cnt)
        ret->oldest_ms = 0;
    else
        ret->oldest_ms = oldest < INT64_MAX ? oldest : -1;
    rd_kafka_topic_partition_list_destroy(list);
}

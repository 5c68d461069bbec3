#include "common/kafka/orphans.h"

#include "common/log.h"

#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum {
    SETTLED_US = 3000000,
    AGAIN_US = 4000000, /* longer than anybody takes to give a partition back */
    PATIENCE_US = 20000000,
};

enum step { RESTING, ASKING, JOINING, LEAVING };

struct orphans {
    struct loop *loop;
    const char *group, *topic, *beside;
    orphans_conf *conf;
    void *conf_of;
    enum step step;
    bool seen; /* some were orphans when it was looked last */
    bool mute; /* the broker describes no groups: it is not asked again */
    struct loop_timer timer;
    struct loop_fd watch;
    int event_fd;
    rd_kafka_t *rk;
    rd_kafka_queue_t *answers;
};

/* The member is no more; when: the next look, 0 for none. */
static void rest(struct orphans *o, int64_t when_us)
{
    if (o->answers)
        rd_kafka_queue_destroy(o->answers);
    if (o->rk)
        rd_kafka_destroy_flags(o->rk, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
    o->answers = NULL;
    o->rk = NULL;
    o->step = RESTING;
    loop_timer_stop(o->loop, &o->timer);
    if (when_us)
        loop_timer_set(o->loop, &o->timer, when_us);
}

static void leave(struct orphans *o)
{
    o->step = LEAVING;
    rd_kafka_error_t *error = rd_kafka_consumer_close_queue(o->rk, o->answers);
    if (error) {
        rd_kafka_error_destroy(error);
        rest(o, 0);
    }
}

static void on_rebalance(rd_kafka_t *rk, rd_kafka_resp_err_t err, rd_kafka_topic_partition_list_t *list, void *opaque)
{
    struct orphans *o = opaque;
    bool given = err == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS;
    rd_kafka_error_t *error = given ? rd_kafka_incremental_assign(rk, list) : rd_kafka_incremental_unassign(rk, list);

    if (error)
        rd_kafka_error_destroy(error);
    if (given && o->step == JOINING)
        o->step = LEAVING; /* not from here: on_event does it */
}

static void watch_queue(struct orphans *o, rd_kafka_queue_t *queue)
{
    rd_kafka_queue_io_event_enable(queue, o->event_fd, &(uint64_t){1}, sizeof(uint64_t));
}

static struct fault open_member(struct orphans *o)
{
    rd_kafka_conf_t *conf;
    char why[256];

    TRY(o->conf(o->conf_of, &conf));
    rd_kafka_conf_set(conf, "group.id", o->group, NULL, 0);
    rd_kafka_conf_set(conf, "session.timeout.ms", "6000", NULL, 0);
    rd_kafka_conf_set(conf, "heartbeat.interval.ms", "500", NULL, 0);
    rd_kafka_conf_set(conf, "enable.auto.commit", "false", NULL, 0);
    rd_kafka_conf_set_rebalance_cb(conf, on_rebalance);
    rd_kafka_conf_set_opaque(conf, o);
    o->rk = rd_kafka_new(RD_KAFKA_CONSUMER, conf, why, sizeof why);
    if (!o->rk) {
        rd_kafka_conf_destroy(conf);
        return FAULT(RETRY, "%s", why);
    }
    rd_kafka_poll_set_consumer(o->rk);
    o->answers = rd_kafka_queue_new(o->rk);
    watch_queue(o, o->answers);
    rd_kafka_queue_t *queue = rd_kafka_queue_get_consumer(o->rk);
    watch_queue(o, queue);
    rd_kafka_queue_destroy(queue);
    return FAULT_OK;
}

static void ask(struct orphans *o)
{
    struct fault f = open_member(o);

    if (f.kind) {
        log_warn("whether partitions of %s have no owner cannot be asked: %s", o->topic, f.what);
        rest(o, 0);
        return;
    }
    o->step = ASKING;
    rd_kafka_DescribeConsumerGroups(o->rk, (const char *[]){o->group}, 1, NULL, o->answers);
    loop_timer_set(o->loop, &o->timer, loop_now(o->loop) + PATIENCE_US);
}

/* How many partitions the topic has; 0 when nobody says. */
static int partition_count(struct orphans *o)
{
    const struct rd_kafka_metadata *meta;
    rd_kafka_topic_t *topic = rd_kafka_topic_new(o->rk, o->topic, NULL);
    int count = 0;

    if (!rd_kafka_metadata(o->rk, 0, topic, &meta, 1000)) {
        count = meta->topic_cnt ? meta->topics[0].partition_cnt : 0;
        rd_kafka_metadata_destroy(meta);
    }
    rd_kafka_topic_destroy(topic);
    return count;
}

static int owned(struct orphans *o, const rd_kafka_ConsumerGroupDescription_t *group)
{
    int count = 0;

    for (size_t m = 0; m < rd_kafka_ConsumerGroupDescription_member_count(group); m++) {
        const rd_kafka_MemberAssignment_t *given =
            rd_kafka_MemberDescription_assignment(rd_kafka_ConsumerGroupDescription_member(group, m));
        const rd_kafka_topic_partition_list_t *list = given ? rd_kafka_MemberAssignment_partitions(given) : NULL;
        for (int i = 0; list && i < list->cnt; i++)
            count += !strcmp(list->elems[i].topic, o->topic);
    }
    return count;
}

static void join(struct orphans *o, int none)
{
    rd_kafka_topic_partition_list_t *topics = rd_kafka_topic_partition_list_new(1);

    log_warn("%d partition%s of %s belong%s to nobody: making group %s assign anew", none, none == 1 ? "" : "s", o->topic,
             none == 1 ? "s" : "", o->group);
    o->seen = false;
    o->step = JOINING;
    rd_kafka_topic_partition_list_add(topics, o->beside, RD_KAFKA_PARTITION_UA);
    if (rd_kafka_subscribe(o->rk, topics))
        rest(o, 0);
    else
        loop_timer_set(o->loop, &o->timer, loop_now(o->loop) + PATIENCE_US);
    rd_kafka_topic_partition_list_destroy(topics);
}

/* How many have no owner; 0 also when the group did not say; -1 while it is being assigned. */
static int orphaned(struct orphans *o, rd_kafka_event_t *event)
{
    const rd_kafka_ConsumerGroupDescription_t **groups;
    size_t n = 0;

    if (rd_kafka_event_type(event) != RD_KAFKA_EVENT_DESCRIBECONSUMERGROUPS_RESULT || rd_kafka_event_error(event))
        return 0;
    groups = rd_kafka_DescribeConsumerGroups_result_groups(rd_kafka_event_DescribeConsumerGroups_result(event), &n);
    if (!n || rd_kafka_ConsumerGroupDescription_error(groups[0]))
        return 0;
    if (rd_kafka_ConsumerGroupDescription_state(groups[0]) != RD_KAFKA_CONSUMER_GROUP_STATE_STABLE)
        return -1;
    int none = partition_count(o) - owned(o, groups[0]);
    return none > 0 ? none : 0;
}

static bool unsupported(rd_kafka_event_t *event)
{
    const rd_kafka_ConsumerGroupDescription_t **groups;
    rd_kafka_resp_err_t err = rd_kafka_event_error(event);
    size_t n = 0;

    if (!err && rd_kafka_event_type(event) == RD_KAFKA_EVENT_DESCRIBECONSUMERGROUPS_RESULT) {
        groups = rd_kafka_DescribeConsumerGroups_result_groups(rd_kafka_event_DescribeConsumerGroups_result(event), &n);
        err = n ? rd_kafka_error_code(rd_kafka_ConsumerGroupDescription_error(groups[0])) : err;
    }
    return err == RD_KAFKA_RESP_ERR__UNSUPPORTED_FEATURE;
}

static void on_answer(struct orphans *o, rd_kafka_event_t *event)
{
    int none = orphaned(o, event);

    o->mute = unsupported(event);
    rd_kafka_event_destroy(event);
    if (o->mute) { /* librdkafka 2.0.2 would wait without end for what it could not send: this client is left behind */
        o->answers = NULL;
        o->rk = NULL;
    }
    if (none > 0 && o->seen) {
        join(o, none);
        return;
    }
    o->seen = none > 0;
    rest(o, none ? loop_now(o->loop) + AGAIN_US : 0);
}

static void on_event(void *of, uint32_t events)
{
    struct orphans *o = of;
    uint64_t many;

    (void)events;
    if (read(o->event_fd, &many, sizeof many) < 0)
        many = 0;
    if (o->step == ASKING) {
        rd_kafka_event_t *event = rd_kafka_queue_poll(o->answers, 0);
        if (event)
            on_answer(o, event);
    }
    if (o->step == JOINING) {
        for (rd_kafka_message_t *m; (m = rd_kafka_consumer_poll(o->rk, 0));)
            rd_kafka_message_destroy(m);
        if (o->step == LEAVING)
            leave(o);
    }
    if (o->step == LEAVING) {
        while (rd_kafka_queue_poll_callback(o->answers, 0) > 0)
            continue;
        if (rd_kafka_consumer_closed(o->rk))
            rest(o, loop_now(o->loop) + AGAIN_US);
    }
}

static void on_timer(void *of, uint32_t events)
{
    struct orphans *o = of;

    (void)events;
    if (o->step == RESTING)
        ask(o);
    else
        rest(o, 0); /* nobody answers */
}

struct orphans *orphans_new(struct loop *loop, const char *group, const char *topic, const char *beside, orphans_conf *conf, void *of)
{
    struct orphans *o = calloc(1, sizeof *o);

    o->event_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (o->event_fd < 0) {
        free(o);
        return NULL;
    }
    o->loop = loop;
    o->group = group;
    o->topic = topic;
    o->beside = beside;
    o->conf = conf;
    o->conf_of = of;
    o->timer = (struct loop_timer){.call = on_timer, .of = o};
    loop_watch(loop, &o->watch, o->event_fd, EPOLLIN, on_event, o);
    return o;
}

void orphans_free(struct orphans *o)
{
    if (!o)
        return;
    rest(o, 0);
    loop_watch(o->loop, &o->watch, -1, 0, NULL, NULL);
    close(o->event_fd);
    free(o);
}

void orphans_look(struct orphans *o)
{
    if (!o || o->mute || o->step != RESTING)
        return;
    o->seen = false;
    loop_timer_set(o->loop, &o->timer, loop_now(o->loop) + SETTLED_US);
}

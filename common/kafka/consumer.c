/* consumer.c - a member of a consumer group: messages from the partitions it was given, a queue each, and how far they are finished. */
#include "common/kafka/client.h"

#include "common/injection.h"
#include "common/kafka/orphans.h"
#include "common/log.h"
#include "common/memory.h"
#include "common/scoped.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { ASK_AGAIN_US = 1000000, SEEK_MS = 1000, JOIN_MS = 2000 };

struct partition {
    struct kafka_consumer *consumer;
    int32_t id;
    rd_kafka_queue_t *queue;
    int event_fd;
    struct loop_fd watch;
    int64_t committed; /* -1: not known */
    int64_t first;     /* offset of the first message fetched; -1: none yet */
    int64_t mark, mark_us; /* an offset not seen committed yet, and when it was stored; -1: none */
    int64_t behind;    /* what is finished, where it was rewound to before what is committed: until it has caught up; -1: it was not */
    bool revoking, asked; /* asked: what the group has committed of it, if anything, is known (kafka_group_offsets) */
    struct partition *next;
};

struct kafka_consumer {
    rd_kafka_t *rk;
    struct loop *loop;
    const char *program, *group, *topic;
    const struct kafka_consumer_calls *calls;
    void *of;
    int event_fd;
    struct loop_fd watch;
    struct partition *partitions;
    bool joined, closing, away, down, fast; /* away: a broker is not there, or refuses us; down: all of them */
    bool was_joined;                        /* this client, whatever came of it */
    char trouble[240];
    struct kafka_trouble last; /* of any broker: the others may do */
    int said;                  /* the kind of trouble that was logged; 0: none */
    int64_t serve_at_us, heard_us;
    bool events_waiting;
    struct orphans *orphans; /* of a member with a name; others are assigned anew whenever one comes back */
    bool asking; /* whether a broker is there */
    int64_t ask_at_us;
};

static struct partition *partition_of(const struct kafka_consumer *c, int32_t id)
{
    for (struct partition *p = c->partitions; p; p = p->next)
        if (p->id == id)
            return p;
    return NULL;
}

static void on_partition_event(void *of, uint32_t events)
{
    struct partition *p = of;

    (void)events;
    p->consumer->calls->ready(p->consumer->of, p->id);
}

static void partition_add(struct kafka_consumer *c, int32_t id)
{
    struct partition *p = calloc(1, sizeof *p);

    p->event_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (p->event_fd < 0) {
        log_error("no descriptor for a partition's events: %s", strerror(errno));
        exit(111);
    }
    p->consumer = c;
    p->id = id;
    p->committed = p->first = p->mark = p->behind = -1;
    p->queue = rd_kafka_queue_get_partition(c->rk, c->topic, id);
    rd_kafka_queue_forward(p->queue, NULL);
    rd_kafka_queue_io_event_enable(p->queue, p->event_fd, &(uint64_t){1}, sizeof(uint64_t));
    loop_watch(c->loop, &p->watch, p->event_fd, EPOLLIN | EPOLLET, on_partition_event, p);
    p->next = c->partitions;
    c->partitions = p;
    if (c->closing) /* let in only to leave: nobody need know */
        return;
    c->calls->assigned(c->of, id);
    c->calls->ready(c->of, id); /* what came before the queue was ours made no event */
}

static void partition_drop(struct kafka_consumer *c, struct partition *gone)
{
    struct partition **at = &c->partitions;

    while (*at != gone)
        at = &(*at)->next;
    *at = gone->next;
    loop_watch(c->loop, &gone->watch, -1, 0, NULL, NULL);
    rd_kafka_queue_io_event_enable(gone->queue, -1, NULL, 0);
    rd_kafka_queue_destroy(gone->queue);
    close(gone->event_fd);
    free(gone);
}

static void joining(struct kafka_consumer *c)
{
    snprintf(c->trouble, sizeof c->trouble, "joining Kafka's consumer group %s", c->group);
}

void kafka_release(struct kafka_consumer *c)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(4);

    for (struct partition *p = c->partitions, *next; p; p = next) {
        next = p->next;
        if (!p->revoking)
            continue;
        rd_kafka_topic_partition_list_add(list, c->topic, p->id);
        partition_drop(c, p);
    }
    if (list->cnt) { /* librdkafka commits what is stored of them on the way */
        rd_kafka_error_t *error = rd_kafka_incremental_unassign(c->rk, list);
        if (error) {
            log_about(LOG_WARN, "kafka", "giving partitions back: %s", rd_kafka_error_string(error));
            rd_kafka_error_destroy(error);
        }
    }
    rd_kafka_topic_partition_list_destroy(list);
}

/* A broker has answered. */
static void is_back(struct kafka_consumer *c)
{
    if (!c->away)
        return;
    c->away = false;
    c->last = (struct kafka_trouble){0};
    c->trouble[0] = '\0';
    if (!c->joined)
        joining(c);
    if (!c->down)
        return; /* one broker refuses us beside others that do not: nobody wants to read it at each of its tries */
    log_info("Kafka is there again");
    c->down = false;
    c->said = 0;
}

static void on_rebalance(rd_kafka_t *rk, rd_kafka_resp_err_t err, rd_kafka_topic_partition_list_t *list, void *opaque)
{
    struct kafka_consumer *c = opaque;

    if (err == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS) {
        rd_kafka_error_t *error = rd_kafka_incremental_assign(rk, list);
        if (error) {
            log_about(LOG_WARN, "kafka", "taking partitions: %s", rd_kafka_error_string(error));
            rd_kafka_error_destroy(error);
            return;
        }
        c->joined = c->was_joined = true;
        c->heard_us = loop_now(c->loop);
        is_back(c);
        c->trouble[0] = '\0';
        log_info("assigned %d partition%s of %s", list->cnt, list->cnt == 1 ? "" : "s", c->topic);
        for (int i = 0; i < list->cnt; i++)
            partition_add(c, list->elems[i].partition);
        orphans_look(c->orphans);
        return;
    }
    bool lost = rd_kafka_assignment_lost(rk) != 0;
    if (lost) { /* it joins anew */
        c->joined = false;
        joining(c);
    }
    if (list->cnt)
        log_info("%s %d partition%s of %s", lost ? "lost" : "giving back", list->cnt, list->cnt == 1 ? "" : "s", c->topic);
    for (int i = 0; i < list->cnt; i++) {
        struct partition *p = partition_of(c, list->elems[i].partition);
        if (!p)
            continue;
        p->revoking = true;
        c->calls->revoked(c->of, p->id, lost);
    }
    if (lost || c->closing || !list->cnt)
        kafka_release(c);
    if (!list->cnt)
        rd_kafka_error_destroy(rd_kafka_incremental_unassign(rk, list));
}

static void on_commit(rd_kafka_t *rk, rd_kafka_resp_err_t err, rd_kafka_topic_partition_list_t *list, void *opaque)
{
    struct kafka_consumer *c = opaque;

    (void)rk;
    if (err && err != RD_KAFKA_RESP_ERR__NO_OFFSET) {
        log_about(LOG_DEBUG, "kafka", "commit: %s", rd_kafka_err2str(err));
        return;
    }
    INJECTION_POINT(offset_committed);
    for (int i = 0; list && i < list->cnt; i++) {
        const rd_kafka_topic_partition_t *at = &list->elems[i];
        struct partition *p = partition_of(c, at->partition);
        if (at->err || at->offset < 0 || !p)
            continue;
        p->committed = at->offset;
        if (at->offset > p->behind)
            p->behind = -1;
        if (p->mark >= 0 && at->offset >= p->mark) { /* it was asked after it was stored; when it was answered says nothing */
            if (p->mark_us > c->heard_us)
                c->heard_us = p->mark_us;
            p->mark = -1;
        }
    }
}

/* Once, until it is another one: each broker says it at every try. */
static void say_trouble(struct kafka_consumer *c, const struct kafka_trouble *t)
{
    if (c->said != t->kind)
        log_warn("%s; trying again until it is there", t->what);
    c->said = t->kind;
    snprintf(c->trouble, sizeof c->trouble, "%s", t->what);
    c->away = true;
}

static void on_consumer_error(rd_kafka_t *rk, int err, const char *reason, void *opaque)
{
    struct kafka_consumer *c = opaque;

    (void)rk;
    kafka_note_trouble(&c->last, err, reason);
    c->down = c->down || err == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN;
    if (err == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN || c->last.refused)
        say_trouble(c, c->last.kind ? &c->last : &(struct kafka_trouble){.kind = -1, .what = "Kafka: all brokers are down"});
    else
        log_about(LOG_DEBUG, "kafka", "%s: %s", rd_kafka_err2name((rd_kafka_resp_err_t)err), reason);
}

static void on_consumer_event(void *of, uint32_t events)
{
    struct kafka_consumer *c = of;

    (void)events;
    c->events_waiting = true;
}

static struct fault consumer_start(struct kafka_consumer *c)
{
    rd_kafka_conf_t *conf;
    char why[256], session[16], poll[16];

    TRY(kafka_configure(&conf, c->program, c->fast ? KAFKA_CONSUMES_FAST : KAFKA_CONSUMES));
    snprintf(session, sizeof session, "%d", kafka_session_ms());
    snprintf(poll, sizeof poll, "%d", kafka_poll_ms());
    rd_kafka_conf_set(conf, "max.poll.interval.ms", poll, NULL, 0);
    rd_kafka_conf_set(conf, "group.id", c->group, NULL, 0);
    rd_kafka_conf_set(conf, "session.timeout.ms", session, NULL, 0);
    rd_kafka_conf_set(conf, "partition.assignment.strategy", "cooperative-sticky", NULL, 0);
    rd_kafka_conf_set(conf, "enable.auto.commit", "true", NULL, 0);
    rd_kafka_conf_set(conf, "enable.auto.offset.store", "false", NULL, 0);
    rd_kafka_conf_set(conf, "auto.offset.reset", "earliest", NULL, 0);
    rd_kafka_conf_set_rebalance_cb(conf, on_rebalance);
    rd_kafka_conf_set_offset_commit_cb(conf, on_commit);
    rd_kafka_conf_set_error_cb(conf, on_consumer_error);
    rd_kafka_conf_set_opaque(conf, c);
    c->rk = rd_kafka_new(RD_KAFKA_CONSUMER, conf, why, sizeof why);
    if (!c->rk) {
        rd_kafka_conf_destroy(conf);
        return kafka_unusable(why);
    }
    kafka_client_made(c->rk);
    rd_kafka_poll_set_consumer(c->rk);
    rd_kafka_queue_t *queue = rd_kafka_queue_get_consumer(c->rk);
    rd_kafka_queue_io_event_enable(queue, c->event_fd, &(uint64_t){1}, sizeof(uint64_t));
    rd_kafka_queue_destroy(queue);
    rd_kafka_topic_partition_list_t *topics = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(topics, c->topic, RD_KAFKA_PARTITION_UA);
    rd_kafka_resp_err_t err = rd_kafka_subscribe(c->rk, topics);
    rd_kafka_topic_partition_list_destroy(topics);
    if (err)
        return FAULT(FATAL, "Kafka: cannot subscribe to %s: %s", c->topic, rd_kafka_err2str(err));
    c->asking = c->away = c->down = false;
    joining(c);
    return FAULT_OK;
}

static struct fault configure_nameless(void *of, rd_kafka_conf_t **ret)
{
    struct kafka_consumer *c = of;

    TRY(kafka_configure(ret, c->program, KAFKA_CONSUMES));
    rd_kafka_conf_set(*ret, "group.instance.id", NULL, NULL, 0);
    rd_kafka_conf_set(*ret, "partition.assignment.strategy", "cooperative-sticky", NULL, 0);
    return FAULT_OK;
}

struct fault kafka_consumer_open(struct kafka_consumer **ret, struct loop *loop, const char *program, const char *group,
                                 const char *topic, const char *topic_dead, bool fast, const struct kafka_consumer_calls *calls,
                                 void *of)
{
    struct kafka_consumer *c = calloc(1, sizeof *c);

    *ret = NULL;
    c->event_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (c->event_fd < 0) {
        free(c);
        return FAULT(FATAL, "cannot start Kafka's consumer: %s", strerror(errno));
    }
    c->loop = loop;
    c->program = program;
    c->group = group;
    c->topic = topic;
    c->fast = fast;
    c->calls = calls;
    c->of = of;
    struct fault f = consumer_start(c);
    if (f.kind) {
        close(c->event_fd);
        free(c);
        return f;
    }
    loop_watch(loop, &c->watch, c->event_fd, EPOLLIN | EPOLLET, on_consumer_event, c);
    if (kafka_instance())
        c->orphans = orphans_new(loop, group, topic, topic_dead, configure_nameless, c);
    *ret = c;
    return FAULT_OK;
}

static bool is_unwanted(const struct kafka_consumer *c)
{
    char why[256];

    return rd_kafka_fatal_error(c->rk, why, sizeof why) != RD_KAFKA_RESP_ERR_NO_ERROR;
}

/*
 * librdkafka before 2.3.0 aborts when it is destroyed between the answer to its joining and its first assignment (of the sticky
 * assignor's state, which is not there yet: issue 4312). So who is about to join is let in first.
 */
static void await_joined(struct kafka_consumer *c)
{
    for (int ms = 0; ms < JOIN_MS && !c->joined && !is_unwanted(c); ms += 20) {
        rd_kafka_message_t *m = rd_kafka_consumer_poll(c->rk, 20);
        if (m)
            rd_kafka_message_destroy(m);
    }
}

/* Who was refused before, because another has the same name, never will be: what is closed is then left behind as it is. */
static bool may_be_destroyed(const struct kafka_consumer *c)
{
    return c->was_joined || rd_kafka_version() >= 0x02030000 || !is_unwanted(c);
}

static void wake_nobody(rd_kafka_t *rk)
{
    rd_kafka_queue_t *queue = rd_kafka_queue_get_consumer(rk);

    if (queue) {
        rd_kafka_queue_io_event_enable(queue, -1, NULL, 0);
        rd_kafka_queue_destroy(queue);
    }
}

static void consumer_stop(struct kafka_consumer *c)
{
    c->closing = true;
    await_joined(c);
    bool destroy = may_be_destroyed(c);
    rd_kafka_consumer_close(c->rk); /* calls on_rebalance, which gives everything back */
    while (c->partitions)
        partition_drop(c, c->partitions);
    kafka_client_gone(c->rk);
    if (destroy)
        rd_kafka_destroy(c->rk);
    else
        wake_nobody(c->rk);
    c->rk = NULL;
    c->joined = c->was_joined = false;
    c->closing = false;
}

void kafka_consumer_close(struct kafka_consumer *c)
{
    if (!c)
        return;
    orphans_free(c->orphans);
    c->orphans = NULL;
    consumer_stop(c);
    loop_watch(c->loop, &c->watch, -1, 0, NULL, NULL);
    close(c->event_fd);
    free(c);
}

void kafka_consumer_serve(struct kafka_consumer *c)
{
    char why[256];

    /* at least now and then, events or not: it is what tells librdkafka that this program is alive */
    if (!c->events_waiting && loop_now(c->loop) < c->serve_at_us)
        return;
    c->events_waiting = false;
    c->serve_at_us = loop_now(c->loop) + 200000;
    for (rd_kafka_message_t *m; (m = rd_kafka_consumer_poll(c->rk, 0));) {
        if (!m->err) {
            c->calls->message(c->of, m); /* fetched before its queue was ours */
            continue;
        }
        if (m->err == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART || m->err == RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC) {
            snprintf(c->trouble, sizeof c->trouble, "topic %s is missing", c->topic);
        } else {
            log_about(LOG_DEBUG, "kafka", "%s", rd_kafka_message_errstr(m));
        }
        rd_kafka_message_destroy(m);
    }
    if (c->away && !c->asking && loop_now(c->loop) >= c->ask_at_us) { /* nobody tells when one is there again */
        c->ask_at_us = loop_now(c->loop) + ASK_AGAIN_US;
        c->asking = kafka_prove_membership(c);
    }
    /* asked for, not waited for: of a consumer the error comes as one message among others, if it comes */
    if (rd_kafka_fatal_error(c->rk, why, sizeof why)) {
        log_warn("Kafka's consumer failed for good: %s; making a new one", why);
        for (struct partition *p = c->partitions; p; p = p->next)
            c->calls->revoked(c->of, p->id, true);
        consumer_stop(c);
        struct fault f = consumer_start(c);
        if (f.kind) {
            log_error("%s", f.what);
            exit(fault_exit_code(f));
        }
    }
}

int kafka_fetch(struct kafka_consumer *c, int32_t partition, rd_kafka_message_t **ret, int max)
{
    struct partition *p = partition_of(c, partition);
    int kept = 0;
    ssize_t n, room;

    if (!p || p->revoking)
        return 0;
    do { /* fewer than asked for must mean that the queue is empty, whatever else was in it: it makes an event only when it was */
        room = max - kept;
        n = rd_kafka_consume_batch_queue(p->queue, 0, ret + kept, (size_t)room);
        for (ssize_t i = 0, from = kept; i < n; i++) {
            rd_kafka_message_t *m = ret[from + i];
            if (!m->err) {
                ret[kept++] = m;
                continue;
            }
            log_about(LOG_WARN, c->topic, "partition %d: %s", partition, rd_kafka_message_errstr(m));
            rd_kafka_message_destroy(m);
        }
    } while (n == room && kept < max);
    if (kept && p->first < 0)
        p->first = ret[0]->offset;
    return kept;
}

void kafka_store(struct kafka_consumer *c, int32_t partition, int64_t offset)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    struct partition *p = partition_of(c, partition);

    rd_kafka_topic_partition_list_add(list, c->topic, partition)->offset = offset;
    rd_kafka_offsets_store(c->rk, list);
    rd_kafka_topic_partition_list_destroy(list);
    if (p && p->mark < 0) {
        p->mark = offset;
        p->mark_us = loop_now(c->loop);
    }
    if (p && p->behind >= 0)
        p->behind = offset;
}

struct fault kafka_group_offsets(struct kafka_consumer *c, const int32_t *partitions, int count, int timeout_ms, int64_t *ret_offsets)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(count);

    for (int i = 0; i < count; i++)
        rd_kafka_topic_partition_list_add(list, c->topic, partitions[i]);
    rd_kafka_resp_err_t err = kafka_patience(rd_kafka_committed(c->rk, list, kafka_patience_ms(timeout_ms)));
    for (int i = 0; i < count; i++) { /* as they were added: nobody sorts the list */
        struct partition *p = partition_of(c, partitions[i]);
        err = err ? err : list->elems[i].err;
        ret_offsets[i] = list->elems[i].offset >= 0 ? list->elems[i].offset : -1;
        if (!err && p) {
            p->committed = ret_offsets[i];
            p->asked = true;
        }
    }
    rd_kafka_topic_partition_list_destroy(list);
    return err ? kafka_not_committed(c->group, err) : FAULT_OK;
}

bool kafka_seek(struct kafka_consumer *c, int32_t partition, int64_t offset)
{
    struct partition *p = partition_of(c, partition);
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);

    rd_kafka_topic_partition_list_add(list, c->topic, partition)->offset = offset;
    rd_kafka_error_t *error = rd_kafka_seek_partitions(c->rk, list, SEEK_MS);
    bool done = p && !error && !list->elems[0].err;
    if (error) /* it has not begun to fetch yet */
        rd_kafka_error_destroy(error);
    rd_kafka_topic_partition_list_destroy(list);
    if (done)
        p->behind = offset;
    return done;
}

int64_t kafka_heard_us(const struct kafka_consumer *c)
{
    return c->heard_us;
}

/* sent: when it was asked, as the pointer itself. */
static void on_proved(rd_kafka_t *rk, rd_kafka_resp_err_t err, rd_kafka_topic_partition_list_t *list, void *sent)
{
    struct kafka_consumer *c = rd_kafka_opaque(rk);
    int64_t sent_us = (int64_t)(intptr_t)sent;

    c->asking = false;
    for (int i = 0; !err && list && i < list->cnt; i++)
        err = list->elems[i].err;
    if (err)
        log_about(LOG_DEBUG, "kafka", "commit: %s", rd_kafka_err2str(err));
    else if (sent_us > c->heard_us)
        c->heard_us = sent_us;
    if (err >= RD_KAFKA_RESP_ERR_NO_ERROR) /* a broker's word, whatever it is */
        is_back(c);
}

bool kafka_prove_membership(struct kafka_consumer *c)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(4);

    for (struct partition *p = c->partitions; p; p = p->next)
        if (p->committed >= 0 || p->first >= 0)
            rd_kafka_topic_partition_list_add(list, c->topic, p->id)->offset = p->committed >= 0 ? p->committed : p->first;
    bool asked = list->cnt > 0;
    if (asked) {
        rd_kafka_queue_t *queue = rd_kafka_queue_get_consumer(c->rk);
        rd_kafka_commit_queue(c->rk, list, queue, on_proved, (void *)(intptr_t)loop_now(c->loop));
        rd_kafka_queue_destroy(queue);
    }
    rd_kafka_topic_partition_list_destroy(list);
    return asked;
}

const char *kafka_consumer_trouble(const struct kafka_consumer *c)
{
    return c->trouble;
}

bool kafka_consumer_joined(const struct kafka_consumer *c)
{
    return c->joined;
}

int64_t kafka_lag(struct kafka_consumer *c, int32_t partition)
{
    struct partition *p = partition_of(c, partition);
    int64_t low = -1, high = -1;

    if (!p || rd_kafka_get_watermark_offsets(c->rk, c->topic, partition, &low, &high) || high < 0)
        return -1;
    if (p->committed < 0 && p->first < 0 && !p->asked)
        return -1;
    int64_t done = p->behind >= 0 ? p->behind : p->committed >= 0 ? p->committed : p->first >= 0 ? p->first : low >= 0 ? low : 0;
    return high > done ? high - done : 0;
}

#include "common/kafka.h"

#include "common/injection.h"
#include "common/kafka_trouble.h"
#include "common/log.h"
#include "common/memory.h"
#include "common/orphans.h"
#include "common/scoped.h"

#include <ctype.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

extern char **environ;

enum { ASK_MS = 300, ASK_AGAIN_US = 1000000, LEARN_MS = 200, LEARN_AGAIN_US = 10000000, SEEK_MS = 1000, CLOSE_MS = 5000 };

static const char *bootstrap_servers, *topic_prefix;
static int64_t topic_partitions, topic_replicas, topic_retention_days;

const struct setting kafka_settings[] = {
    {"KAFKA_BOOTSTRAP_SERVERS", SET_TEXT, NULL, .required = true, .help = "brokers to begin with, as host:port,host:port",
     .to = &bootstrap_servers},
    {"TOPIC_PREFIX", SET_TEXT, "", .help = "put before every topic and consumer group, for several libraries on one cluster",
     .to = &topic_prefix},
    {"TOPIC_PARTITIONS", SET_WHOLE, "10", .least = 1, .most = 1000, .to = &topic_partitions,
     .help = "partitions of a topic made by us; never changed later: it bounds how many workers of a stage can share the work"},
    {"TOPIC_REPLICAS", SET_WHOLE, "-1", .least = -1, .most = 10, .to = &topic_replicas,
     .help = "replicas of a topic made by us, with min.insync.replicas=2 from 3 on; -1: the brokers' defaults of both"},
    {"TOPIC_RETENTION_DAYS", SET_WHOLE, "30", .least = 1, .most = 3650, .to = &topic_retention_days,
     .help = "how long a topic made by us keeps messages (dead letters are kept without end)"},
    {0}};

/* Properties that are ours: another value would break what we promise. */
static const struct {
    const char *property, *why;
} refused[] = {
    {"group.id", "the group is the program's name, so that lag is found under it"},
    {"partition.assignment.strategy", "cooperative-sticky keeps work going through a rebalance"},
    {"enable.auto.commit", "what is committed must be what is finished"},
    {"enable.auto.offset.store", "what is committed must be what is finished"},
    {"auto.offset.reset", "a new group must begin with the oldest message"},
    {"partitioner", "every program must find a key in the same partition (murmur2_random)"},
    {"acks", "a message counts as sent when every in-sync replica has it"},
    {"request.required.acks", "a message counts as sent when every in-sync replica has it"},
    {"enable.idempotence", "a message must not be written twice"},
    {"enable.gapless.guarantee", "order is kept by idempotence"},
    {"transactional.id", "we do not use transactions"},
    {"message.timeout.ms", "a message is never given up"},
    {"delivery.timeout.ms", "a message is never given up"},
    {"message.send.max.retries", "a message is never given up"},
    {"retries", "a message is never given up"},
};

/* Ours where the property is not set: small memory, quick rebalances, no waiting for company. */
static const char *const consumer_defaults[][2] = {
    {"queued.min.messages", "200"},
    {"queued.max.messages.kbytes", "32"}, /* each partition has its own queue */
    {"fetch.message.max.bytes", "32768"},
    {"fetch.wait.max.ms", "100"},
    {"fetch.error.backoff.ms", "100"},
    {"heartbeat.interval.ms", "1000"},
    {"auto.commit.interval.ms", "100"},
    {"topic.metadata.refresh.interval.ms", "60000"},
};
/*
 * For one that takes in more than a thousand a second. When every queue is full, librdkafka 2.0 sleeps for up to a second, and
 * does not notice that they were emptied (its issue 2879; from 2.2 on there is fetch.queue.backoff.ms): what is in them must
 * last for that long.
 */
static const char *const consumer_fast_defaults[][2] = {
    {"queued.min.messages", "500"},
    {"queued.max.messages.kbytes", "512"},
};
static const char *const producer_defaults[][2] = {
    {"linger.ms", "1"},
    {"message.max.bytes", "4000000"}, /* a dead letter is its message and the reason */
    {"queue.buffering.max.messages", "20000"},
    {"queue.buffering.max.kbytes", "16384"},
    {"batch.size", "131072"}, /* a batch is fetched whole, by every consumer */
    {"topic.metadata.refresh.interval.ms", "60000"},
};
static const char *const common_defaults[][2] = {
    {"socket.nagle.disable", "true"},
    {"socket.keepalive.enable", "true"},
    {"reconnect.backoff.ms", "50"},
    {"reconnect.backoff.max.ms", "1000"},
    {"allow.auto.create.topics", "false"},
    {"log.connection.close", "true"}, /* or nobody would be told of a broker that hangs up at once; see on_log */
};

const char *kafka_topic(const char *name)
{
    char *full = NULL;

    if (asprintf(&full, "%s%s", topic_prefix, name) < 0)
        out_of_memory();
    return full;
}

/* KAFKA_SSL_CA_LOCATION → ssl.ca.location; false for a name that is not a property's. */
static bool property_of(const char *variable, size_t len, char ret[128])
{
    size_t n = 0;

    if (len >= 128 + 6 || len <= 6)
        return false;
    for (const char *c = variable + 6; c < variable + len; c++)
        ret[n++] = *c == '_' ? '.' : (char)tolower((unsigned char)*c);
    ret[n] = '\0';
    return true;
}

static struct fault set(rd_kafka_conf_t *conf, const char *property, const char *value)
{
    char why[256];

    if (rd_kafka_conf_set(conf, property, value, why, sizeof why) != RD_KAFKA_CONF_OK)
        return FAULT(MISUSE, "Kafka property %s: %s", property, why);
    return FAULT_OK;
}

/* The properties given as KAFKA_*, read once: a file of a secret may be gone later, and each reading would be kept. */
static struct given {
    char variable[160], property[128];
    const char *value;
} *given;
static int given_count;
static bool given_read;

static struct fault add_given(const char *variable)
{
    struct given it;

    snprintf(it.variable, sizeof it.variable, "%s", variable);
    if (!property_of(variable, strlen(variable), it.property) || !strcmp(variable, "KAFKA_BOOTSTRAP_SERVERS"))
        return FAULT_OK;
    TRY(settings_value(variable, &it.value));
    if (!it.value)
        return FAULT_OK;
    given = realloc(given, (size_t)(given_count + 1) * sizeof *given);
    given[given_count++] = it;
    return FAULT_OK;
}

static struct fault read_environment(void)
{
    char variable[160];

    for (char **entry = environ; *entry && !given_read; entry++) {
        size_t len = strcspn(*entry, "=");
        if (strncmp(*entry, "KAFKA_", 6) != 0 || len >= sizeof variable)
            continue;
        if (len > 5 && !strncmp(*entry + len - 5, "_FILE", 5))
            len -= 5;
        snprintf(variable, sizeof variable, "%.*s", (int)len, *entry);
        TRY(add_given(variable));
    }
    given_read = true;
    return FAULT_OK;
}

static struct fault set_given(rd_kafka_conf_t *conf)
{
    TRY(read_environment());
    for (int i = 0; i < given_count; i++) {
        const struct given *it = &given[i];
        for (size_t r = 0; r < COUNT(refused); r++)
            if (!strcmp(it->property, refused[r].property))
                return FAULT(MISUSE, "%s is refused: %s; unset it", it->variable, refused[r].why);
        if (rd_kafka_conf_set(conf, it->property, it->value, NULL, 0) != RD_KAFKA_CONF_OK)
            return FAULT(MISUSE, "%s: librdkafka does not take this value for a property named %s, or knows no such property",
                         it->variable, it->property);
    }
    return FAULT_OK;
}

static const char *property(const char *name)
{
    struct fault f = read_environment(); /* what is wrong with it was said at the start */

    for (int i = 0; !f.kind && i < given_count; i++)
        if (!strcmp(given[i].property, name))
            return given[i].value;
    return NULL;
}

const char *kafka_instance(void)
{
    return property("group.instance.id");
}

int kafka_session_ms(void)
{
    const char *value = property("session.timeout.ms");

    /* a static member's session must outlast a broker's failover, or it is fenced for good */
    return value ? atoi(value) : kafka_instance() ? 30000 : 15000;
}

static void on_log(const rd_kafka_t *rk, int level, const char *facility, const char *words)
{
    static const char *const told[] = {"FAIL", "ERROR", "SSL", "SSLCERTVRFY", "SSLPASSWD"};
    bool away = false;

    (void)rk;
    /* a broker that is away is said once, by the error callback, and shown in /readyz; librdkafka says it for ever */
    for (size_t i = 0; i < COUNT(told); i++)
        away = away || !strcmp(facility, told[i]);
    log_about(level <= 3 && !away ? LOG_WARN : LOG_DEBUG, "kafka", "%s: %s", facility, words);
}

static atomic_int certificate_error; /* why the last broker's certificate was not believed: nothing else says it */

/* Believes what OpenSSL does; on a thread of librdkafka's. */
static int on_certificate(rd_kafka_t *rk, const char *broker, int32_t id, int *x509_error, int depth, const char *certificate,
                          size_t size, char *ret_why, size_t why_size, void *opaque)
{
    (void)rk;
    (void)broker;
    (void)id;
    (void)depth;
    (void)certificate;
    (void)size;
    (void)opaque;
    if (!*x509_error)
        return 1;
    certificate_error = *x509_error;
    snprintf(ret_why, why_size, "X509 error %d", *x509_error);
    return 0;
}

/* What librdkafka says of a broker is kept: of "all are down", or of no answer, nobody learns why. */
static void note_trouble(struct kafka_trouble *last, int err, const char *said)
{
    if (err == RD_KAFKA_RESP_ERR__TRANSPORT || err == RD_KAFKA_RESP_ERR__AUTHENTICATION || err == RD_KAFKA_RESP_ERR__SSL ||
        err == RD_KAFKA_RESP_ERR__RESOLVE)
        *last = kafka_trouble_read(said, certificate_error, rd_kafka_version());
}

static struct fault unusable(const char *why)
{
    return FAULT(MISUSE, "%s", kafka_trouble_read(why, 0, rd_kafka_version()).what);
}

static struct fault set_all(rd_kafka_conf_t *conf, const char *const properties[][2], size_t count)
{
    for (size_t i = 0; i < count; i++)
        TRY(set(conf, properties[i][0], properties[i][1]));
    return FAULT_OK;
}

static struct fault configure(rd_kafka_conf_t **ret, const char *program, const char *const defaults[][2], size_t count, bool fast)
{
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    struct fault f = set(conf, "bootstrap.servers", bootstrap_servers);

    if (!f.kind)
        f = set_all(conf, common_defaults, COUNT(common_defaults));
    if (!f.kind)
        f = set_all(conf, defaults, count);
    if (!f.kind && fast)
        f = set_all(conf, consumer_fast_defaults, COUNT(consumer_fast_defaults));
    if (!f.kind)
        f = set(conf, "client.id", program);
    if (!f.kind)
        f = set_given(conf);
    if (f.kind) {
        rd_kafka_conf_destroy(conf);
        return f;
    }
    rd_kafka_conf_set_log_cb(conf, on_log);
    rd_kafka_conf_set_ssl_cert_verify_cb(conf, on_certificate);
    *ret = conf;
    return FAULT_OK;
}

struct fault kafka_check_settings(void)
{
    rd_kafka_conf_t *conf;

    TRY(configure(&conf, "check", consumer_defaults, COUNT(consumer_defaults), false));
    rd_kafka_conf_destroy(conf);
    return FAULT_OK;
}

/* ---- producing ---- */

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
    note_trouble(&p->trouble, err, reason);
    log_about(err == RD_KAFKA_RESP_ERR__FATAL ? LOG_WARN : LOG_DEBUG, "kafka", "producer: %s", reason);
}

static struct fault producer_start(struct kafka_producer *p)
{
    rd_kafka_conf_t *conf;
    char why[256];

    TRY(configure(&conf, p->program, producer_defaults, COUNT(producer_defaults), false));
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
        return unusable(why);
    }
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
    if (!p || (p->event_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) < 0) {
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

/* ---- topics ---- */

enum { ANSWER_MS_MAX = 5000 };

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

/*
 * Of these topics alone: a cluster may have thousands, and take long to tell them. A broker that is there and does not answer in
 * time is given more of it at the next try, or one that is slow for good would be asked for ever.
 */
static rd_kafka_resp_err_t ask_topics(rd_kafka_t *rk, const struct kafka_topic_plan *plans, int count, int timeout_ms,
                                      const struct rd_kafka_metadata **ret)
{
    static int doubled;
    rd_kafka_topic_t *asked[16];
    int n = 0;

    for (int i = 0; i < count && n < (int)COUNT(asked); i++)
        asked[n++] = rd_kafka_topic_new(rk, plans[i].name, NULL);
    rd_kafka_resp_err_t err = rd_kafka_metadata(rk, 0, NULL, ret, timeout_ms << doubled);
    if (err == RD_KAFKA_RESP_ERR__TIMED_OUT && timeout_ms << doubled < ANSWER_MS_MAX)
        doubled++;
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
        err = ask_topics(p->rk, plans, count, timeout_ms < ASK_MS ? timeout_ms : ASK_MS, ret);
        if (!err) {
            p->trouble = (struct kafka_trouble){0};
            return FAULT_OK;
        }
        rd_kafka_poll(p->rk, 0); /* its words come as an event */
        timeout_ms -= ASK_MS;
    } while (timeout_ms > 0 && !p->trouble.refused);
    if (p->trouble.kind)
        return fault_make(p->trouble.refused ? FAULT_MISUSE : FAULT_RETRY, "%s", p->trouble.what);
    return FAULT(RETRY, "no Kafka broker at %s: %s; see KAFKA_BOOTSTRAP_SERVERS", bootstrap_servers, rd_kafka_err2str(err));
}

struct fault kafka_ensure_topics(rd_kafka_t *rk, const struct kafka_topic_plan *plans, int count, int timeout_ms)
{
    const struct rd_kafka_metadata *meta;
    rd_kafka_NewTopic_t *news[16];
    char why[256], retention[32];
    int missing = 0;

    TRY(await_broker(rd_kafka_opaque(rk), plans, count, timeout_ms, &meta));
    snprintf(retention, sizeof retention, "%lld", (long long)topic_retention_days * 86400000);
    struct fault f = FAULT_OK;
    for (int i = 0; i < count && missing < 16; i++) {
        if (known(meta, plans[i].name))
            continue;
        rd_kafka_NewTopic_t *t =
            rd_kafka_NewTopic_new(plans[i].name, (int)topic_partitions, (int)topic_replicas, why, sizeof why);
        if (!t) {
            f = FAULT(MISUSE, "topic %s: %s", plans[i].name, why);
            break;
        }
        rd_kafka_NewTopic_set_config(t, "retention.ms", plans[i].dead_letters ? "-1" : retention);
        if (topic_replicas >= 3) /* Kafka's default of 1 would acknowledge what a single broker has, and might take away */
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

static struct fault not_committed(const char *group, rd_kafka_resp_err_t err)
{
    if (err == RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED || err == RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED)
        return FAULT(MISUSE, "the offsets of group %s: %s", group, rd_kafka_err2str(err));
    return FAULT(RETRY, "the offsets of group %s: %s", group, rd_kafka_err2str(err));
}

/*
 * A consumer, because librdkafka 2.0.2 dies of it when a producer is told NOT_COORDINATOR (ListConsumerGroupOffsets on a
 * handle without a group), as a broker says that is only setting its groups up.
 */
struct fault kafka_committed(const char *program, const char *group, const char *topic, int partitions, int timeout_ms,
                             int64_t *ret_offsets)
{
    rd_kafka_conf_t *conf;
    char why[256];

    TRY(configure(&conf, program, consumer_defaults, COUNT(consumer_defaults), false));
    rd_kafka_conf_set(conf, "group.id", group, NULL, 0);
    rd_kafka_conf_set(conf, "enable.auto.commit", "false", NULL, 0);
    rd_kafka_t *rk = rd_kafka_new(RD_KAFKA_CONSUMER, conf, why, sizeof why);
    if (!rk) {
        rd_kafka_conf_destroy(conf);
        return unusable(why);
    }
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(partitions);
    rd_kafka_topic_partition_list_add_range(list, topic, 0, partitions - 1);
    rd_kafka_resp_err_t err = rd_kafka_committed(rk, list, timeout_ms);
    for (int i = 0; i < list->cnt; i++) {
        err = err ? err : list->elems[i].err;
        ret_offsets[list->elems[i].partition] = list->elems[i].offset >= 0 ? list->elems[i].offset : -1;
    }
    rd_kafka_topic_partition_list_destroy(list);
    rd_kafka_destroy_flags(rk, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE); /* there is nothing to leave, so nothing to wait for */
    return err ? not_committed(group, err) : FAULT_OK;
}

struct fault kafka_offset_since(rd_kafka_t *rk, const char *topic, int32_t partition, int64_t since_ms, int timeout_ms,
                                int64_t *ret_offset)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);

    rd_kafka_topic_partition_list_add(list, topic, partition)->offset = since_ms;
    rd_kafka_resp_err_t err = rd_kafka_offsets_for_times(rk, list, timeout_ms);
    err = err ? err : list->elems[0].err;
    *ret_offset = list->elems[0].offset >= 0 ? list->elems[0].offset : INT64_MAX;
    rd_kafka_topic_partition_list_destroy(list);
    return err ? FAULT(RETRY, "topic %s, partition %d: %s", topic, (int)partition, rd_kafka_err2str(err)) : FAULT_OK;
}

/* ---- consuming ---- */

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
    bool revoking, asked; /* asked: what the group has committed of it, if anything, is known */
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
    char trouble[240];
    struct kafka_trouble last; /* of any broker: the others may do */
    int said;                  /* the kind of trouble that was logged; 0: none */
    int64_t serve_at_us, heard_us;
    bool events_waiting;
    struct orphans *orphans; /* of a member with a name; others are assigned anew whenever one comes back */
    bool asking; /* whether a broker is there */
    int64_t ask_at_us, learn_at_us;
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
        c->joined = true;
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
    note_trouble(&c->last, err, reason);
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
    char why[256], session[16];

    TRY(configure(&conf, c->program, consumer_defaults, COUNT(consumer_defaults), c->fast));
    snprintf(session, sizeof session, "%d", kafka_session_ms());
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
        return unusable(why);
    }
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

    TRY(configure(ret, c->program, consumer_defaults, COUNT(consumer_defaults), false));
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
    if (!c || (c->event_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) < 0) {
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

/* Gives everything back (on_rebalance) and leaves the group. False: a broker that is silent lets nobody leave. */
static bool leave_group(struct kafka_consumer *c)
{
    rd_kafka_queue_t *queue = rd_kafka_queue_new(c->rk);
    rd_kafka_error_t *error = rd_kafka_consumer_close_queue(c->rk, queue);

    if (error)
        rd_kafka_error_destroy(error);
    for (int ms = 0; ms < CLOSE_MS && !rd_kafka_consumer_closed(c->rk); ms += 20)
        while (rd_kafka_queue_poll_callback(queue, 20) && !rd_kafka_consumer_closed(c->rk))
            ;
    rd_kafka_queue_destroy(queue);
    return rd_kafka_consumer_closed(c->rk);
}

static void consumer_stop(struct kafka_consumer *c)
{
    c->closing = true;
    bool left = leave_group(c);
    while (c->partitions)
        partition_drop(c, c->partitions);
    if (left)
        rd_kafka_destroy(c->rk);
    else /* it would wait for the broker, a minute and more, and who stops us kills us after half of one; it ends with the program */
        log_warn("Kafka lets nobody leave group %s: what was committed last stands", c->group);
    c->rk = NULL;
    c->joined = false;
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
    rd_kafka_resp_err_t err = rd_kafka_committed(c->rk, list, timeout_ms);
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
    return err ? not_committed(c->group, err) : FAULT_OK;
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

/*
 * What the group has committed of partitions that no message came from yet, once each, when somebody wants to know their lag: what
 * a topic still holds is none. It waits for the broker, a moment at most, and not while none is there.
 */
static void learn_committed(struct kafka_consumer *c)
{
    if (!c->joined || c->away || loop_now(c->loop) < c->learn_at_us)
        return;
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(4);
    for (struct partition *p = c->partitions; p; p = p->next)
        rd_kafka_topic_partition_list_add(list, c->topic, p->id);
    rd_kafka_resp_err_t err = rd_kafka_committed(c->rk, list, LEARN_MS);
    c->learn_at_us = err ? loop_now(c->loop) + LEARN_AGAIN_US : 0;
    for (int i = 0; !err && i < list->cnt; i++) {
        struct partition *p = partition_of(c, list->elems[i].partition);
        if (list->elems[i].err)
            continue;
        p->asked = true;
        if (p->committed < 0)
            p->committed = list->elems[i].offset >= 0 ? list->elems[i].offset : -1;
    }
    rd_kafka_topic_partition_list_destroy(list);
}

int64_t kafka_lag(struct kafka_consumer *c, int32_t partition)
{
    struct partition *p = partition_of(c, partition);
    int64_t low = -1, high = -1;

    if (!p || rd_kafka_get_watermark_offsets(c->rk, c->topic, partition, &low, &high) || high < 0)
        return -1;
    if (p->committed < 0 && p->first < 0 && !p->asked)
        learn_committed(c);
    if (p->committed < 0 && p->first < 0 && !p->asked)
        return -1;
    int64_t done = p->behind >= 0 ? p->behind : p->committed >= 0 ? p->committed : p->first >= 0 ? p->first : low >= 0 ? low : 0;
    return high > done ? high - done : 0;
}

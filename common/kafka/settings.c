/* settings.c - Kafka's settings, and librdkafka's configuration from them. */
#include "common/kafka/client.h"

#include "common/log.h"
#include "common/memory.h"
#include "common/scoped.h"

#include <ctype.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

extern char **environ;

const char *kafka_bootstrap_servers;
int64_t kafka_topic_partitions, kafka_topic_replicas, kafka_topic_retention_days;
static const char *topic_prefix;

const struct setting kafka_settings[] = {
    {"KAFKA_BOOTSTRAP_SERVERS", SET_TEXT, NULL, .required = true, .help = "brokers to begin with, as host:port,host:port",
     .to = &kafka_bootstrap_servers},
    {"TOPIC_PREFIX", SET_TEXT, "", .help = "put before every topic and consumer group, for several libraries on one cluster",
     .to = &topic_prefix},
    {"TOPIC_PARTITIONS", SET_WHOLE, "10", .least = 1, .most = 1000, .to = &kafka_topic_partitions,
     .help = "partitions of a topic made by us; never changed later: it bounds how many workers of a stage can share the work"},
    {"TOPIC_REPLICAS", SET_WHOLE, "-1", .least = -1, .most = 10, .to = &kafka_topic_replicas,
     .help = "replicas of a topic made by us, with min.insync.replicas=2 from 3 on; -1: the brokers' defaults of both"},
    {"TOPIC_RETENTION_DAYS", SET_WHOLE, "30", .least = 1, .most = 3650, .to = &kafka_topic_retention_days,
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

enum { POLL_MS = 60000 };

/* The properties given as KAFKA_*, read once, but for a log-in whose file has changed: a file of a secret may be gone later. */
static struct given {
    char variable[160], property[128];
    const char *value;
} *given;
static int given_count;
static bool given_read;

static rd_kafka_t *clients[8];

static const char *given_value(const char *property)
{
    for (int i = 0; i < given_count; i++)
        if (!strcmp(given[i].property, property))
            return given[i].value;
    return NULL;
}

static void set_login(rd_kafka_t *rk)
{
    const char *username = given_value("sasl.username"), *password = given_value("sasl.password");
    rd_kafka_error_t *error = username && password ? rd_kafka_sasl_set_credentials(rk, username, password) : NULL;

    if (error)
        log_warn("Kafka: %s", rd_kafka_error_string(error));
    rd_kafka_error_destroy(error);
}

static void on_changed(void *of, const char *variable, char *value)
{
    (void)of;
    for (int i = 0; i < given_count; i++) {
        if (strcmp(given[i].variable, variable) != 0)
            continue;
        char *old = (char *)(uintptr_t)given[i].value;
        given[i].value = value;
        explicit_bzero(old, strlen(old));
        free(old);
    }
    for (size_t i = 0; i < COUNT(clients); i++)
        if (clients[i])
            set_login(clients[i]);
}

static void replace_client(rd_kafka_t *old, rd_kafka_t *fresh)
{
    for (size_t i = 0; i < COUNT(clients); i++)
        if (clients[i] == old) {
            clients[i] = fresh;
            return;
        }
}

void kafka_client_made(rd_kafka_t *rk)
{
    replace_client(NULL, rk);
}

void kafka_client_gone(rd_kafka_t *rk)
{
    replace_client(rk, NULL);
}

static struct fault add_given(const char *variable)
{
    struct given it;

    snprintf(it.variable, sizeof it.variable, "%s", variable);
    if (!property_of(variable, strlen(variable), it.property) || !strcmp(variable, "KAFKA_BOOTSTRAP_SERVERS"))
        return FAULT_OK;
    if (!strcmp(it.property, "sasl.username") || !strcmp(it.property, "sasl.password"))
        settings_follow(variable, on_changed, NULL);
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

    return f.kind ? NULL : given_value(name);
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

int kafka_poll_ms(void)
{
    const char *value = property("max.poll.interval.ms");

    if (value)
        return atoi(value);
    return kafka_session_ms() > POLL_MS ? kafka_session_ms() : POLL_MS; /* librdkafka takes no less than the session */
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

void kafka_note_trouble(struct kafka_trouble *last, int err, const char *said)
{
    if (err == RD_KAFKA_RESP_ERR__TRANSPORT || err == RD_KAFKA_RESP_ERR__AUTHENTICATION || err == RD_KAFKA_RESP_ERR__SSL ||
        err == RD_KAFKA_RESP_ERR__RESOLVE)
        *last = kafka_trouble_read(said, certificate_error, rd_kafka_version());
}

struct fault kafka_unusable(const char *why)
{
    return FAULT(MISUSE, "%s", kafka_trouble_read(why, 0, rd_kafka_version()).what);
}

static struct fault set_all(rd_kafka_conf_t *conf, const char *const properties[][2], size_t count)
{
    for (size_t i = 0; i < count; i++)
        TRY(set(conf, properties[i][0], properties[i][1]));
    return FAULT_OK;
}

struct fault kafka_configure(rd_kafka_conf_t **ret, const char *program, enum kafka_role role)
{
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    struct fault f = set(conf, "bootstrap.servers", kafka_bootstrap_servers);

    if (!f.kind)
        f = set_all(conf, common_defaults, COUNT(common_defaults));
    if (!f.kind)
        f = role == KAFKA_PRODUCES ? set_all(conf, producer_defaults, COUNT(producer_defaults))
                                   : set_all(conf, consumer_defaults, COUNT(consumer_defaults));
    if (!f.kind && role == KAFKA_CONSUMES_FAST)
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

    TRY(kafka_configure(&conf, "check", KAFKA_CONSUMES));
    rd_kafka_conf_destroy(conf);
    return FAULT_OK;
}

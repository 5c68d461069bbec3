/*
 * embedded-broker - a Kafka broker for the demo and for quick tests, up in milliseconds, gone without a trace.
 *
 * Usage      embedded-broker [--port N] [--port-file FILE] [--topics NAME[:PARTITIONS],...] [--partitions-default N]
 *              --port N                port on 127.0.0.1; 0, the default, takes a free one
 *              --port-file FILE        write the port there once clients may connect (whole or not at all)
 *              --topics LIST           topics made at the start; may be given more than once
 *              --partitions-default N  partitions of a name in LIST that says none (4)
 *            Prints "embedded-broker: listening on 127.0.0.1:PORT" when it is ready, and runs until SIGTERM or SIGINT.
 * Exit       0 told to stop, 100 wrong arguments, 111 could not start (the port is taken, most often)
 *
 * It is librdkafka's own mock cluster (rdkafka_mock.h), one broker, in memory. Good for: produce, consume, groups of one
 * member, committed offsets, watermarks. What was measured of librdkafka 2.0.2:
 *   - It forgets everything on exit, and keeps 5 MiB a partition: older messages are dropped.
 *   - A join or a leave stalls its group for the session time-out: one member a group. Sessions of 3 s or less never get
 *     partitions.
 *   - No transactions, no topic administration; DescribeConsumerGroups hangs the client. Take lag from committed offsets
 *     and watermarks.
 *   - Mixed assignors, malformed frames and DeleteGroups kill it.
 *   - An empty fetch sleeps fetch.wait.max.ms (set 10 to 20); single-message batches are slow (set linger.ms 20 to 50).
 *   - A topic that was not named in --topics is made on first use, with 4 partitions whatever --partitions-default says.
 * So it shows that a pipeline works, never that a promise holds: promises are tested on Apache Kafka.
 *
 * The port    The mock binds port 0 and advertises what it was given, and has no setting for it. This program therefore
 *             defines bind() itself, which librdkafka then calls instead of libc's, and puts the wanted port there.
 */
#include <errno.h>
#include <limits.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>

enum { EXIT_USAGE = 100, EXIT_FAILED = 111, TOPICS_MAX = 256, PARTITIONS_MAX = 1000 };

struct topic {
    char name[250];                  /* Kafka allows 249 bytes */
    int partitions;                  /* 0: the default */
};

struct settings {
    uint16_t port;
    const char *port_file;
    int partitions_default;
    struct topic topics[TOPICS_MAX];
    size_t topic_count;
};

static uint16_t wanted_port;         /* what bind() puts in place of port 0; 0 leaves it alone */
static int bind_errno;               /* why it could not, for the message */

/* Called by librdkafka through the dynamic linker; see "The port" above. */
int bind(int fd, const struct sockaddr *addr, socklen_t addr_len)
{
    struct sockaddr_in in;
    long rc;

    if (wanted_port != 0 && addr != NULL && addr->sa_family == AF_INET && addr_len >= (socklen_t)sizeof in) {
        memcpy(&in, addr, sizeof in);
        if (in.sin_port == 0) {
            const int on = 1;

            /* a broker killed a moment ago leaves connections in TIME_WAIT behind */
            (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, (socklen_t)sizeof on);
            in.sin_port = htons(wanted_port);
            rc = syscall(SYS_bind, fd, &in, sizeof in);
            if (rc != 0)
                bind_errno = errno;
            return (int)rc;
        }
    }
    return (int)syscall(SYS_bind, fd, addr, addr_len);
}

static void usage(FILE *to)
{
    fputs("usage: embedded-broker [--port N] [--port-file FILE] [--topics NAME[:PARTITIONS],...]\n"
          "                       [--partitions-default N]\n", to);
}

static bool number(const char *text, long min, long max, long *ret_value)
{
    char *end;

    errno = 0;
    *ret_value = strtol(text, &end, 10);
    return errno == 0 && end != text && *end == '\0' && *ret_value >= min && *ret_value <= max;
}

static bool topic_name_ok(const char *name)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";

    return name[0] != '\0' && name[strspn(name, allowed)] == '\0' && strcmp(name, ".") != 0 && strcmp(name, "..") != 0;
}

/* Takes "bookings.new:4,users.resolve" apart; says what is wrong with it and returns false. */
static bool topics_add(struct settings *set, const char *list)
{
    while (*list != '\0') {
        size_t entry_len = strcspn(list, ",");
        char entry[sizeof set->topics[0].name + 16];
        struct topic *topic = &set->topics[set->topic_count];
        char *colon;
        long partitions = 0;

        if (set->topic_count == TOPICS_MAX) {
            fprintf(stderr, "embedded-broker: more than %d topics\n", TOPICS_MAX);
            return false;
        }
        if (entry_len >= sizeof entry) {
            fprintf(stderr, "embedded-broker: --topics: a name is too long: %.40s...\n", list);
            return false;
        }
        memcpy(entry, list, entry_len);
        entry[entry_len] = '\0';
        colon = strchr(entry, ':');
        if (colon != NULL) {
            *colon = '\0';
            if (!number(colon + 1, 1, PARTITIONS_MAX, &partitions)) {
                fprintf(stderr, "embedded-broker: --topics: %s: partitions must be 1 to %d, not \"%s\"\n", entry,
                        PARTITIONS_MAX, colon + 1);
                return false;
            }
        }
        if (!topic_name_ok(entry) || strlen(entry) >= sizeof topic->name) {
            fprintf(stderr, "embedded-broker: --topics: not a topic name: \"%s\"\n", entry);
            return false;
        }
        memcpy(topic->name, entry, strlen(entry) + 1);
        topic->partitions = (int)partitions;
        set->topic_count++;
        list += entry_len;
        if (*list == ',')
            list++;
    }
    return true;
}

/* Returns 0 to go on, or the status to exit with; -1 stands for "asked for help, exit 0". */
static int settings_read(struct settings *set, int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        const char *name = argv[i];
        const char *value = i + 1 < argc ? argv[i + 1] : NULL;
        long n = 0;

        if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0) {
            usage(stdout);
            return -1;
        }
        if (value == NULL) {
            usage(stderr);
            return EXIT_USAGE;
        }
        i++;
        if (strcmp(name, "--port") == 0 && number(value, 0, 65535, &n)) {
            set->port = (uint16_t)n;
        } else if (strcmp(name, "--port-file") == 0 && value[0] != '\0') {
            set->port_file = value;
        } else if (strcmp(name, "--partitions-default") == 0 && number(value, 1, PARTITIONS_MAX, &n)) {
            set->partitions_default = (int)n;
        } else if (strcmp(name, "--topics") == 0) {
            if (!topics_add(set, value))
                return EXIT_USAGE;
        } else {
            fprintf(stderr, "embedded-broker: cannot use \"%s %s\"\n", name, value);
            usage(stderr);
            return EXIT_USAGE;
        }
    }
    return 0;
}

/* A reader that waits for the file must never see half of it, so it is written beside it and renamed. */
static bool port_file_write(const char *path, unsigned port)
{
    char beside[PATH_MAX];
    FILE *f;
    bool ok;
    int n = snprintf(beside, sizeof beside, "%s.%ld", path, (long)getpid());

    if (n < 0 || (size_t)n >= sizeof beside) {
        errno = ENAMETOOLONG;
        return false;
    }
    f = fopen(beside, "we");
    if (f == NULL)
        return false;
    ok = fprintf(f, "%u\n", port) > 0;
    ok = fclose(f) == 0 && ok;
    if (ok && rename(beside, path) == 0)
        return true;
    (void)unlink(beside);
    return false;
}

/* The mock does not say why it cannot listen: try the port first, so that the message is a good one. */
static bool port_free(uint16_t port)
{
    struct sockaddr_in in = { .sin_family = AF_INET, .sin_port = htons(port) };
    const int on = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool ok;

    if (fd == -1)
        return false;
    in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, (socklen_t)sizeof on);
    ok = bind(fd, (const struct sockaddr *)&in, (socklen_t)sizeof in) == 0 && listen(fd, 1) == 0;
    if (!ok)
        bind_errno = errno;
    (void)close(fd);
    return ok;
}

static int serve(const struct settings *set)
{
    char errstr[256] = "";
    const char *bootstraps, *colon;
    sigset_t stop;
    rd_kafka_conf_t *conf;
    rd_kafka_t *rk;
    rd_kafka_mock_cluster_t *cluster;
    long port = 0;
    int sig, status = EXIT_FAILED;

    /* before librdkafka starts its threads, which inherit the mask: sigwait below is then the only one to see them */
    sigemptyset(&stop);
    sigaddset(&stop, SIGTERM);
    sigaddset(&stop, SIGINT);
    if (pthread_sigmask(SIG_BLOCK, &stop, NULL) != 0)
        return EXIT_FAILED;
    (void)signal(SIGPIPE, SIG_IGN);

    if (set->port != 0 && !port_free(set->port)) {
        fprintf(stderr, "embedded-broker: port %u: %s\n", (unsigned)set->port, strerror(bind_errno));
        return EXIT_FAILED;
    }

    conf = rd_kafka_conf_new();
    if (rd_kafka_conf_set(conf, "log_level", "3", errstr, sizeof errstr) != RD_KAFKA_CONF_OK) {
        fprintf(stderr, "embedded-broker: %s\n", errstr);
        rd_kafka_conf_destroy(conf);
        return EXIT_FAILED;
    }
    rk = rd_kafka_new(RD_KAFKA_PRODUCER, conf, errstr, sizeof errstr);
    if (rk == NULL) {
        fprintf(stderr, "embedded-broker: %s\n", errstr);
        rd_kafka_conf_destroy(conf);
        return EXIT_FAILED;
    }

    wanted_port = set->port;
    cluster = rd_kafka_mock_cluster_new(rk, 1);
    wanted_port = 0;
    if (cluster == NULL) {
        fprintf(stderr, "embedded-broker: cannot listen%s%s\n", bind_errno ? ": " : "",
                bind_errno ? strerror(bind_errno) : "");
        rd_kafka_destroy(rk);
        return EXIT_FAILED;
    }

    bootstraps = rd_kafka_mock_cluster_bootstraps(cluster);
    colon = strrchr(bootstraps, ':');
    if (colon == NULL || !number(colon + 1, 1, 65535, &port) || (set->port != 0 && port != set->port)) {
        fprintf(stderr, "embedded-broker: librdkafka listens on %s, which is not what was asked for\n", bootstraps);
        goto done;
    }
    for (size_t i = 0; i < set->topic_count; i++) {
        const struct topic *topic = &set->topics[i];
        int partitions = topic->partitions ? topic->partitions : set->partitions_default;
        rd_kafka_resp_err_t err = rd_kafka_mock_topic_create(cluster, topic->name, partitions, 1);

        if (err != RD_KAFKA_RESP_ERR_NO_ERROR) {
            fprintf(stderr, "embedded-broker: topic %s: %s\n", topic->name, rd_kafka_err2str(err));
            goto done;
        }
    }
    if (set->port_file != NULL && !port_file_write(set->port_file, (unsigned)port)) {
        fprintf(stderr, "embedded-broker: %s: %s\n", set->port_file, strerror(errno));
        goto done;
    }
    printf("embedded-broker: listening on 127.0.0.1:%ld\n", port);
    (void)fflush(stdout);

    status = sigwait(&stop, &sig) == 0 ? 0 : EXIT_FAILED;

done:
    rd_kafka_mock_cluster_destroy(cluster);
    rd_kafka_destroy(rk);
    return status;
}

int main(int argc, char **argv)
{
    static struct settings set = { .partitions_default = 4 };
    int status = settings_read(&set, argc, argv);

    if (status != 0)
        return status == -1 ? 0 : status;
    return serve(&set);
}

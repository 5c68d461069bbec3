/*
 * request_floors - what the libraries alone cost for what patron-requests does, and the load it is measured with.
 *
 *   request_floors load   port= token= [connections=64] [rate=0] [seconds=10] [items=1] [prefix=b]   POST /requests over kept
 *                         connections; rate: posts a second, evenly, whoever is late (0: as fast as each is answered). Times
 *                         are from when a post should have been sent
 *   request_floors http   libmicrohttpd alone: reads the same posts, answers the same answer; its port, then on SIGTERM its CPU
 *   request_floors pg     [count=200000] [batch=30]   the same rows in batches as large, with the marks of the last ones
 *   request_floors kafka  servers= topic= [count=200000]   the same messages, acks=all
 *
 * The last line on standard output is a JSON object; CPU is user and system time of this process.
 */
#include "floors.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libpq-fe.h>
#include <microhttpd.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/epoll.h>
#include <sys/socket.h>

static const char item[] = "1ec54964-70f0-44cc-bd19-2a892ea0d336", pickup[] = "963396d7-c96f-4bb1-a24c-42e868a8823d";

/* One request of 200 bytes. */
static int write_request(char *to, size_t size, const char *prefix, int64_t n)
{
    return snprintf(to, size, "{\"ref\":\"%s-%" PRId64 "\",\"service\":\"folio\",\"action\":\"hold_item\","
                              "\"patron\":\"reader-%06" PRId64 "\",\"item\":\"%s\",\"pickup\":\"%s\"}",
                    prefix, n, n % 20000, item, pickup);
}

/* ---- the load ---- */

enum { ANSWER_MAX = 1 << 20, POST_MAX = 64 * 1024, WAITS_MAX = 2000000 };

struct connection {
    int fd;
    bool busy;
    int64_t due_us; /* when its post should have been sent */
    char *out;
    size_t out_len, out_at, in_len;
    char in[65536];
};

static struct connection *connections;
static int connection_count, items;
static const char *token, *prefix;
static int64_t next_ref, answered, others;
static uint32_t *waits;
static int64_t wait_count, count_from_us;

static void post(struct connection *c, int64_t due_us)
{
    static char body[POST_MAX];
    size_t len = 0;

    if (items > 1)
        body[len++] = '[';
    for (int i = 0; i < items; i++) {
        if (i)
            body[len++] = ',';
        len += (size_t)write_request(body + len, sizeof body - len, prefix, next_ref++);
    }
    if (items > 1)
        body[len++] = ']';
    c->out_len = (size_t)snprintf(c->out, POST_MAX + 512,
                                  "POST /requests HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer %s\r\n"
                                  "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n%.*s",
                                  token, len, (int)len, body);
    c->out_at = c->in_len = 0;
    c->busy = true;
    c->due_us = due_us;
}

static void send_more(struct connection *c)
{
    while (c->out_at < c->out_len) {
        ssize_t n = send(c->fd, c->out + c->out_at, c->out_len - c->out_at, MSG_NOSIGNAL);
        if (n < 0 && errno == EAGAIN)
            return;
        if (n < 0)
            die("a connection was closed: %s", strerror(errno));
        c->out_at += (size_t)n;
    }
}

/* Whether the answer is whole. */
static bool receive(struct connection *c, int *ret_status)
{
    for (;;) {
        ssize_t n = recv(c->fd, c->in + c->in_len, sizeof c->in - 1 - c->in_len, 0);
        if (!n || (n < 0 && errno != EAGAIN))
            die("a connection was closed in mid-answer");
        if (n < 0)
            return false;
        c->in_len += (size_t)n;
        c->in[c->in_len] = '\0';
        char *end = strstr(c->in, "\r\n\r\n"), *length = strstr(c->in, "Content-Length: ");
        if (!end || !length)
            continue;
        if (c->in_len >= (size_t)(end + 4 - c->in) + strtoul(length + 16, NULL, 10)) {
            *ret_status = atoi(c->in + 9);
            return true;
        }
    }
}

static void on_answer(struct connection *c, int status)
{
    int64_t now = now_us();

    c->busy = false;
    answered += status == 202;
    others += status != 202;
    if (now >= count_from_us && wait_count < WAITS_MAX)
        waits[wait_count++] = (uint32_t)(now - c->due_us);
}

static int by_size(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return x < y ? -1 : x > y;
}

static void connect_all(int epoll, int port)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};

    connections = calloc((size_t)connection_count, sizeof *connections);
    for (int i = 0; i < connection_count; i++) {
        struct connection *c = &connections[i];
        c->fd = socket(AF_INET, SOCK_STREAM, 0);
        if (connect(c->fd, (struct sockaddr *)&to, sizeof to))
            die("nobody listens on port %d", port);
        fcntl(c->fd, F_SETFL, O_NONBLOCK);
        setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
        c->out = malloc(POST_MAX + 512);
        epoll_ctl(epoll, EPOLL_CTL_ADD, c->fd, &(struct epoll_event){.events = EPOLLIN, .data.ptr = c});
    }
}

static int load(void)
{
    struct epoll_event events[256];
    int epoll = epoll_create1(0), idle = 0, status;
    double rate = atof(arg("rate", "0"));
    int64_t seconds = atoi(arg("seconds", "10")), sent = 0;

    connection_count = atoi(arg("connections", "64"));
    items = atoi(arg("items", "1"));
    token = arg("token", NULL);
    prefix = arg("prefix", "b");
    waits = malloc(WAITS_MAX * sizeof *waits);
    connect_all(epoll, atoi(arg("port", NULL)));
    int64_t begin = now_us(), end = begin + seconds * 1000000, cpu = cpu_us();
    count_from_us = begin + seconds * 1000000 / 5;
    int64_t counted_from = 0, counted = 0;
    for (int64_t now; (now = now_us()) < end;) {
        for (int i = 0; i < connection_count; i++) {
            struct connection *c = &connections[idle = (idle + 1) % connection_count];
            int64_t due = rate > 0 ? begin + (int64_t)((double)sent * 1e6 / rate) : now;
            if (due > now)
                break;
            if (c->busy)
                continue;
            post(c, due);
            send_more(c);
            sent++;
        }
        int64_t wait = rate > 0 ? (begin + (int64_t)((double)sent * 1e6 / rate) - now_us()) / 1000 : 100;
        int n = epoll_wait(epoll, events, 256, wait < 0 ? 0 : (int)wait);
        for (int i = 0; i < n; i++)
            if (receive(events[i].data.ptr, &status))
                on_answer(events[i].data.ptr, status);
        if (!counted_from && now >= count_from_us) {
            counted_from = now;
            counted = answered;
        }
    }
    int64_t spent = now_us() - counted_from;
    qsort(waits, (size_t)wait_count, sizeof *waits, by_size);
    if (!wait_count)
        die("nothing was answered");
    printf("{\"requests_per_s\":%.0f,\"p50_ms\":%.2f,\"p99_ms\":%.2f,\"max_ms\":%.2f,",
           (double)(answered - counted) * items * 1e6 / (double)spent, waits[wait_count / 2] / 1e3,
           waits[wait_count * 99 / 100] / 1e3, waits[wait_count - 1] / 1e3);
    printf("\"accepted\":%" PRId64 ",\"others\":%" PRId64 ",\"cpu_s\":%.3f}\n", answered * items, others * items,
           (double)(cpu_us() - cpu) / 1e6);
    return 0;
}

/* ---- libmicrohttpd alone ---- */

static const char taken[] = "{\"request_id\":\"01a217c9-c026-7ccd-bbcb-ea37b6dc07ec\",\"ref\":\"bench-0000000\","
                            "\"service\":\"folio\",\"action\":\"hold_item\",\"state\":\"accepted\"}";
static volatile sig_atomic_t stopping;
static int64_t served;

static enum MHD_Result on_request(void *of, struct MHD_Connection *from, const char *url, const char *method,
                                  const char *version, const char *upload, size_t *upload_size, void **state)
{
    (void)of, (void)url, (void)method, (void)version, (void)upload;
    if (!*state) {
        *state = from;
        return MHD_YES;
    }
    if (*upload_size) {
        *upload_size = 0;
        return MHD_YES;
    }
    struct MHD_Response *response =
        MHD_create_response_from_buffer(sizeof taken - 1, (void *)(uintptr_t)taken, MHD_RESPMEM_MUST_COPY);
    MHD_add_response_header(response, "Content-Type", "application/json");
    MHD_add_response_header(response, "Cache-Control", "no-store");
    MHD_add_response_header(response, "Location", "/requests/01a217c9-c026-7ccd-bbcb-ea37b6dc07ec");
    enum MHD_Result result = MHD_queue_response(from, 202, response);
    MHD_destroy_response(response);
    served++;
    return result;
}

static void on_signal(int signal)
{
    (void)signal;
    stopping = 1;
}

static int http(void)
{
    struct MHD_Daemon *daemon = MHD_start_daemon(MHD_USE_EPOLL, 0, NULL, NULL, on_request, NULL,
                                                 MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)8192, MHD_OPTION_END);
    int epoll = daemon ? MHD_get_daemon_info(daemon, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd : -1, outer = epoll_create1(0);
    MHD_UNSIGNED_LONG_LONG wait_ms;

    if (!daemon)
        die("libmicrohttpd does not start");
    signal(SIGTERM, on_signal);
    epoll_ctl(outer, EPOLL_CTL_ADD, epoll, &(struct epoll_event){.events = EPOLLIN});
    printf("%d\n", MHD_get_daemon_info(daemon, MHD_DAEMON_INFO_BIND_PORT)->port);
    fflush(stdout);
    while (!stopping) {
        struct epoll_event event;
        epoll_wait(outer, &event, 1, MHD_get_timeout(daemon, &wait_ms) == MHD_YES && wait_ms < 100 ? (int)wait_ms : 100);
        MHD_run(daemon);
    }
    printf("{\"served\":%" PRId64 ",\"cpu_s\":%.3f}\n", served, (double)cpu_us() / 1e6);
    return 0;
}

/* ---- PostgreSQL: the rows ---- */

static void check(PGconn *conn, PGresult *res)
{
    if (PQresultStatus(res) != PGRES_COMMAND_OK && PQresultStatus(res) != PGRES_TUPLES_OK)
        die("PostgreSQL: %s", PQerrorMessage(conn));
    PQclear(res);
}

static char *columns[9];
enum { ID, CALLER, REF, SERVICE, ACTION, PATRON, ASKED, CALLBACK, TRACE };

static void append(int column, bool first, const char *format, ...) __attribute__((format(printf, 3, 4)));
static void append(int column, bool first, const char *format, ...)
{
    size_t len = first ? 0 : strlen(columns[column]);
    va_list list;

    columns[column][len++] = first ? '{' : ',';
    va_start(list, format);
    vsnprintf(columns[column] + len, 65536 - len, format, list);
    va_end(list);
}

static int pg(void)
{
    static const char insert[] =
        "INSERT INTO requests (request_id, caller, ref, service, action, patron, asked, callback_url, trace_id)"
        " SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::jsonb[], $8::text[],"
        " $9::text[])"
        " ON CONFLICT (caller, ref) DO NOTHING";
    static const char mark[] = "UPDATE requests SET sent_at = clock_timestamp() WHERE request_id = ANY ($1::uuid[])";
    PGconn *conn = PQconnectdb("");
    int count = atoi(arg("count", "200000")), batch = atoi(arg("batch", "30"));

    if (PQstatus(conn) != CONNECTION_OK)
        die("PostgreSQL: %s", PQerrorMessage(conn));
    check(conn, PQexec(conn, session_sql));
    check(conn, PQprepare(conn, "insert", insert, 0, NULL));
    check(conn, PQprepare(conn, "mark", mark, 0, NULL));
    for (int i = 0; i < 9; i++)
        columns[i] = malloc(65536);
    char *before = calloc(1, 65536);
    int64_t begin = now_us(), cpu = cpu_us();
    for (int n = 0; n < count; n += batch) {
        for (int i = 0; i < batch; i++) {
            append(ID, !i, "01a217c9-c026-7ccd-bbcb-%012x", n + i);
            append(CALLER, !i, "\"floor\"");
            append(REF, !i, "\"floor-%d\"", n + i);
            append(SERVICE, !i, "\"folio\"");
            append(ACTION, !i, "\"hold_item\"");
            append(PATRON, !i, "\"reader-%06d\"", (n + i) % 20000);
            append(ASKED, !i, "\"{\\\"item\\\":\\\"%s\\\",\\\"pickup\\\":\\\"%s\\\"}\"", item, pickup);
            append(CALLBACK, !i, "NULL");
            append(TRACE, !i, "\"%032x\"", n + i);
        }
        for (int i = 0; i < 9; i++)
            strcat(columns[i], "}");
        PQenterPipelineMode(conn);
        PQsendQueryPrepared(conn, "insert", 9, (const char *const *)columns, NULL, NULL, 0);
        if (*before)
            PQsendQueryPrepared(conn, "mark", 1, (const char *const *)&before, NULL, NULL, 0);
        PQpipelineSync(conn);
        for (bool synced = false; !synced;) {
            PGresult *res = PQgetResult(conn);
            synced = res && PQresultStatus(res) == PGRES_PIPELINE_SYNC;
            if (res && PQresultStatus(res) == PGRES_FATAL_ERROR)
                die("PostgreSQL: %s", PQerrorMessage(conn));
            PQclear(res);
        }
        PQexitPipelineMode(conn);
        strcpy(before, columns[ID]);
    }
    printf("{\"rows_per_s\":%.0f,\"cpu_s\":%.3f}\n", count * 1e6 / (double)(now_us() - begin), (double)(cpu_us() - cpu) / 1e6);
    PQfinish(conn);
    return 0;
}

/* ---- librdkafka: the messages ---- */

static int kafka(void)
{
    static const char *const names[] = {"ce_specversion", "ce_id", "ce_source", "ce_type", "ce_time", "content-type", "traceparent"};
    int count = atoi(arg("count", "200000"));
    char key[32], value[256];
    rd_kafka_t *rk = producer_open("1", "10000");
    rd_kafka_topic_t *topic = topic_open(rk, arg("topic", NULL));
    int64_t begin = now_us(), cpu = cpu_us();

    for (int n = 0; n < count;) {
        snprintf(key, sizeof key, "reader-%06d", n % 20000);
        int len = snprintf(value, sizeof value, "{\"request_id\":\"01a217c9-c026-7ccd-bbcb-%012x\",\"service\":\"folio\","
                                                "\"action\":\"hold_item\",\"patron\":\"%s\"}", n, key);
        rd_kafka_headers_t *headers = rd_kafka_headers_new(8);
        for (size_t i = 0; i < COUNT(names); i++)
            rd_kafka_header_add(headers, names[i], -1, "patron-requests/01a217c9-c026-7ccd", -1);
        if (rd_kafka_producev(rk, RD_KAFKA_V_RKT(topic), RD_KAFKA_V_KEY(key, strlen(key)),
                              RD_KAFKA_V_VALUE(value, (size_t)len), RD_KAFKA_V_HEADERS(headers),
                              RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_END)) {
            rd_kafka_headers_destroy(headers);
            rd_kafka_poll(rk, 1);
            continue;
        }
        n++;
        rd_kafka_poll(rk, 0);
    }
    rd_kafka_flush(rk, 60000);
    printf("{\"messages_per_s\":%.0f,\"delivered\":%d,\"cpu_s\":%.3f}\n", count * 1e6 / (double)(now_us() - begin), delivered,
           (double)(cpu_us() - cpu) / 1e6);
    rd_kafka_topic_destroy(topic);
    rd_kafka_destroy(rk);
    return 0;
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        int (*run)(void);
    } modes[] = {{"load", load}, {"http", http}, {"pg", pg}, {"kafka", kafka}};

    args = argv + 1;
    for (size_t i = 0; argc > 1 && i < COUNT(modes); i++)
        if (!strcmp(argv[1], modes[i].name))
            return modes[i].run();
    die("want load, http, pg or kafka");
    return 100;
}

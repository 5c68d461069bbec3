#include "producers/patron-requests/server.h"

#include "common/log.h"
#include "common/metrics.h"
#include "common/scoped.h"

#include <arpa/inet.h>
#include <errno.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/queue.h>
#include <sys/resource.h>
#include <unistd.h>

enum {
    BODY_MAX = 1 << 20,
    BODIES_MAX = 32 << 20,
    DROPPED_MAX = 8 << 20, /* of a body that is refused: more is not waited for */
    MEMORY = 8192,         /* a connection's, of libmicrohttpd: the head must fit */
    KEPT_MAX = 4096,       /* of a body's memory, for the next */
    IDLE_S = 60,
    SWEEP_US = 1000000,
    SPARE = 64,       /* connections accepted beyond the limit, of which as many give way */
    DESCRIPTORS = 64, /* those of the program besides */
    MULTIPLE_MAX = 8,
};

enum { PLAIN_LOOPBACK, PLAIN_ANYWHERE };

static int64_t port, connections_max, connections_per_address, slow_seconds;
static const char *bind_address, *certificate_file, *key_file;
static int plain_http;
static char certificate[65536], key[16384]; /* what is in them */

const struct setting server_settings[] = {
    {"REQUESTS_PORT", SET_WHOLE, "8484", .least = 0, .most = 65535, .to = &port,
     .help = "port of the HTTP interface; 0: any free one, which is logged"},
    {"REQUESTS_ADDRESS", SET_TEXT, "127.0.0.1", .to = &bind_address,
     .help = "IPv4 or IPv6 address it is served on; one that is not of the loopback demands TLS"},
    {"REQUESTS_PLAIN_HTTP", SET_CHOICE, "loopback", .choices = "loopback|anywhere", .to = &plain_http,
     .help = "where HTTP without TLS may be served; anywhere: behind what lets in this machine alone, as a container's published port,"
             " or adds TLS"},
    {"REQUESTS_TLS_CERT_FILE", SET_TEXT, NULL, .to = &certificate_file,
     .help = "file of the certificate and its chain (PEM): HTTPS instead of HTTP"},
    {"REQUESTS_TLS_KEY_FILE", SET_TEXT, NULL, .to = &key_file, .help = "file of its private key (PEM)"},
    {"REQUESTS_CONNECTIONS", SET_WHOLE, "2000", .least = 1, .most = 100000, .to = &connections_max,
     .help = "connections at a time; when all are taken, the one that has been silent for longest gives way"},
    {"REQUESTS_CONNECTIONS_PER_ADDRESS", SET_WHOLE, "1000", .least = 1, .most = 100000, .to = &connections_per_address,
     .help = "of these, from one address"},
    {"REQUESTS_SLOW_SECONDS", SET_WHOLE, "20", .least = 1, .most = IDLE_S, .to = &slow_seconds,
     .help = "how long a first head, a body, or the taking of an answer may last; a kept connection may be idle for 60 s"},
    {0}};

enum phase { FIRST_HEAD, NEXT_HEAD, BODY, WORK, ANSWER };

struct connection {
    TAILQ_ENTRY(connection) at; /* by how long its phase has lasted */
    struct MHD_Connection *mhd;
    int fd;
    enum phase phase;
    int64_t since_us;
    bool cut; /* its socket is shut: it is about to go */

    struct server_request r;
    bool begun, shown, suspended, answered, waits, odd, lengthy;
    size_t dropped, held;
    struct MHD_Response *response;
    int status;
};

static TAILQ_HEAD(, connection) connections = TAILQ_HEAD_INITIALIZER(connections);
static int64_t connection_count;
static size_t bodies_len;
static struct loop *loop;
static struct MHD_Daemon *daemon_;
static struct loop_fd watch;
static struct loop_timer run_timer, sweep_timer;
static const struct server_calls *calls;
static struct metric *open_connections, *cut_connections;

static void phase(struct connection *c, enum phase to)
{
    c->phase = to;
    c->since_us = loop_now(loop);
    TAILQ_REMOVE(&connections, c, at);
    TAILQ_INSERT_TAIL(&connections, c, at);
}

/* libmicrohttpd has no call for it: it finds the socket at its end, and lets go of it. */
static void cut(struct connection *c)
{
    c->cut = true;
    shutdown(c->fd, SHUT_RDWR);
    metric_add(cut_connections, 1);
}

/* ---- answers ---- */

static void count_answer(const struct connection *c)
{
    static struct metric *known[3][600];
    int method = !strcmp(c->r.method, "POST") ? 0 : !strcmp(c->r.method, "GET") ? 1 : 2;
    static const char *const names[] = {"POST", "GET", "other"};
    struct metric **m = &known[method][c->status];

    if (!*m)
        *m = metric_make(METRIC_COUNTER, "shelfwire_http_requests_total", "Requests answered, by method and status.",
                         "method=\"%s\",status=\"%d\"", names[method], c->status);
    metric_add(*m, 1);
}

static enum MHD_Result send_answer(struct connection *c)
{
    struct MHD_Response *response = c->response;

    c->response = NULL;
    count_answer(c);
    phase(c, ANSWER);
    enum MHD_Result result = response ? MHD_queue_response(c->mhd, (unsigned)c->status, response) : MHD_NO;
    if (response)
        MHD_destroy_response(response);
    return result;
}

static void header(struct MHD_Response *response, const char *name, const char *value)
{
    if (value)
        MHD_add_response_header(response, name, value);
}

void server_answer(struct server_request *r, const struct server_answer *a)
{
    struct connection *c = (struct connection *)((char *)r - offsetof(struct connection, r));
    char seconds[16];

    if (c->answered)
        return;
    c->answered = true;
    c->status = a->status;
    c->response = MHD_create_response_from_buffer(a->len, (void *)(uintptr_t)a->body, MHD_RESPMEM_MUST_COPY);
    if (c->response) {
        header(c->response, "Content-Type", a->type);
        header(c->response, "Cache-Control", "no-store");
        header(c->response, "Location", a->location);
        header(c->response, "Allow", a->allow);
        header(c->response, "WWW-Authenticate", a->authenticate);
        snprintf(seconds, sizeof seconds, "%d", a->retry_after_s);
        header(c->response, "Retry-After", a->retry_after_s ? seconds : NULL);
        header(c->response, "Connection", a->close ? "close" : NULL);
    }
    if (c->suspended) {
        c->suspended = false;
        MHD_resume_connection(c->mhd); /* its own wake-up does not reach an outer epoll */
        loop_timer_set(loop, &run_timer, loop_now(loop));
    }
}

/* ---- a request as it comes ---- */

struct head {
    struct connection *c;
    int authorizations, types, lengths, encodings, expects;
    const char *length;
};

static enum MHD_Result on_header(void *of, enum MHD_ValueKind kind, const char *name, const char *value)
{
    struct head *h = of;

    (void)kind;
    if (!value)
        value = "";
    if (!strcasecmp(name, "Authorization")) {
        h->authorizations++;
        h->c->r.authorization = value;
    } else if (!strcasecmp(name, "Content-Type")) {
        h->types++;
        h->c->r.content_type = value;
    } else if (!strcasecmp(name, "Content-Length")) {
        h->lengths++;
        h->length = value;
    } else if (!strcasecmp(name, "Transfer-Encoding")) {
        h->encodings++;
    } else if (!strcasecmp(name, "Expect")) {
        h->expects++;
    }
    return MHD_YES;
}

static void refuse(struct connection *c, int status, const char *title, const char *detail, int retry_after_s)
{
    char body[256];
    int len = snprintf(body, sizeof body, "{\"title\":\"%s\",\"status\":%d,\"detail\":\"%s\"}", title, status, detail);

    server_answer(&c->r, &(struct server_answer){.status = status, .type = "application/problem+json", .body = body,
                                                 .len = (size_t)len, .retry_after_s = retry_after_s, .close = true});
}

static void too_long(struct connection *c)
{
    refuse(c, MHD_HTTP_CONTENT_TOO_LARGE, "Content Too Large", "a body has at most 1 MiB", 0);
}

static void read_head(struct connection *c, const char *method, const char *path)
{
    struct head h = {.c = c};
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(c->mhd, MHD_CONNECTION_INFO_CLIENT_ADDRESS);

    c->r.method = method;
    c->r.path = path;
    c->r.content_type = c->r.authorization = "";
    c->r.from = info->client_addr;
    c->begun = true;
    phase(c, BODY);
    MHD_get_connection_values(c->mhd, MHD_HEADER_KIND, on_header, &h);
    c->waits = h.expects > 0;
    c->lengthy = h.length && strtoull(h.length, NULL, 10) > DROPPED_MAX;
    if (h.authorizations > 1 || h.types > 1 || h.lengths > 1 || h.encodings > 1 || (h.lengths && h.encodings))
        refuse(c, MHD_HTTP_BAD_REQUEST, "Bad Request",
               "a header that may come once comes twice, or a length beside a Transfer-Encoding", 0);
    else if (h.length && strtoull(h.length, NULL, 10) > BODY_MAX)
        too_long(c);
    else
        calls->head(&c->r);
}

static enum MHD_Result take_body(struct connection *c, const char *bytes, size_t len)
{
    if (!c->answered && c->r.body.len + len > BODY_MAX)
        too_long(c);
    if (!c->answered && bodies_len + len > BODIES_MAX)
        refuse(c, MHD_HTTP_SERVICE_UNAVAILABLE, "Service Unavailable", "too much is being read at a time", 1);
    if (c->answered) {
        c->dropped += len;
        return c->dropped > DROPPED_MAX ? MHD_NO : MHD_YES;
    }
    text_add(&c->r.body, bytes, len);
    c->held += len;
    bodies_len += len;
    return c->r.body.failed ? MHD_NO : MHD_YES;
}

static enum MHD_Result on_request(void *of, struct MHD_Connection *from, const char *url, const char *method,
                                  const char *version, const char *upload, size_t *upload_size, void **state)
{
    struct connection *c = MHD_get_connection_info(from, MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context;

    (void)of;
    (void)version;
    *state = c;
    if (!c->begun) {
        read_head(c, method, url);
        return c->answered && (c->waits || c->lengthy) ? send_answer(c) : MHD_YES;
    }
    if (*upload_size) {
        enum MHD_Result result = take_body(c, upload, *upload_size);
        *upload_size = 0;
        return result;
    }
    if (!c->answered && !c->shown) {
        c->shown = true;
        phase(c, WORK);
        calls->whole(&c->r);
    }
    if (c->answered)
        return send_answer(c);
    c->suspended = true;
    MHD_suspend_connection(from);
    return MHD_YES;
}

static void on_completed(void *of, struct MHD_Connection *from, void **state, enum MHD_RequestTerminationCode how)
{
    struct connection *c = *state;

    (void)of;
    (void)from;
    (void)how;
    if (!c || !c->begun)
        return;
    calls->gone(&c->r);
    if (c->response)
        MHD_destroy_response(c->response);
    bodies_len -= c->held;
    struct text body = c->r.body;
    text_clear(&body);
    if (body.room > KEPT_MAX)
        text_free(&body);
    c->r = (struct server_request){.body = body};
    c->begun = c->shown = c->suspended = c->answered = false;
    c->response = NULL;
    c->dropped = c->held = 0;
    phase(c, NEXT_HEAD);
    *state = NULL;
}

/* ---- connections ---- */

static bool may_give_way(const struct connection *c)
{
    return !c->cut && c->phase != WORK;
}

static void give_way(void)
{
    struct connection *c;

    TAILQ_FOREACH(c, &connections, at)
        if (may_give_way(c)) {
            cut(c);
            return;
        }
}

static void on_connection(void *of, struct MHD_Connection *mhd, void **socket_context, enum MHD_ConnectionNotificationCode what)
{
    struct connection *c = *socket_context;

    (void)of;
    if (what == MHD_CONNECTION_NOTIFY_STARTED) {
        c = calloc(1, sizeof *c);
        c->mhd = mhd;
        c->fd = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
        c->since_us = loop_now(loop);
        if (connection_count++ >= connections_max)
            give_way();
        TAILQ_INSERT_TAIL(&connections, c, at);
        *socket_context = c;
    } else if (c) {
        TAILQ_REMOVE(&connections, c, at);
        connection_count--;
        text_free(&c->r.body);
        free(c);
        *socket_context = NULL;
    }
    metric_set(open_connections, (double)connection_count);
}

/* Nothing of an answer has been written yet: what is written here is all. */
static void say_late(const struct connection *c)
{
    static const char late[] = "{\"title\":\"Request Timeout\",\"status\":408,\"detail\":\"the body was slow\"}";
    char answer[256];
    int len = snprintf(answer, sizeof answer, "HTTP/1.1 408 Request Timeout\r\nContent-Type: application/problem+json\r\n"
                                              "Connection: close\r\nContent-Length: %zu\r\n\r\n%s", sizeof late - 1, late);

    if (!certificate_file && send(c->fd, answer, (size_t)len, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
        return; /* it is gone */
}

static void sweep(void *of, uint32_t events)
{
    struct connection *c;

    (void)of;
    (void)events;
    TAILQ_FOREACH(c, &connections, at) {
        int64_t lasted_us = loop_now(loop) - c->since_us;
        if (lasted_us < slow_seconds * 1000000)
            break; /* all that follow are younger */
        if (!may_give_way(c) || (c->phase == NEXT_HEAD && lasted_us < (int64_t)IDLE_S * 1000000))
            continue;
        if (c->phase == BODY)
            say_late(c);
        cut(c);
    }
    loop_timer_set(loop, &sweep_timer, loop_now(loop) + SWEEP_US);
}

static void run(void *of, uint32_t events)
{
    MHD_UNSIGNED_LONG_LONG wait_ms;

    (void)of;
    (void)events;
    MHD_run(daemon_);
    if (MHD_get_timeout(daemon_, &wait_ms) == MHD_YES)
        loop_timer_set(loop, &run_timer, loop_now(loop) + (int64_t)(wait_ms < 60000 ? wait_ms : 60000) * 1000);
}

/* ---- beginning and end ---- */

union address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
};

static bool read_address(union address *ret, bool *ret_loopback)
{
    *ret = (union address){0};
    if (inet_pton(AF_INET, bind_address, &ret->v4.sin_addr) == 1) {
        ret->v4.sin_family = AF_INET;
        ret->v4.sin_port = htons((uint16_t)port);
        *ret_loopback = ntohl(ret->v4.sin_addr.s_addr) >> 24 == 127;
        return true;
    }
    if (inet_pton(AF_INET6, bind_address, &ret->v6.sin6_addr) == 1) {
        ret->v6.sin6_family = AF_INET6;
        ret->v6.sin6_port = htons((uint16_t)port);
        *ret_loopback = IN6_IS_ADDR_LOOPBACK(&ret->v6.sin6_addr);
        return true;
    }
    return false;
}

static struct fault read_pem(const char *setting, const char *path, char *ret, size_t size)
{
    SCOPED(fclose) FILE *file = fopen(path, "r");

    if (!file)
        return FAULT(MISUSE, "%s: cannot read %s: %s", setting, path, strerror(errno));
    size_t len = fread(ret, 1, size - 1, file);
    ret[len] = '\0';
    if (!len || len == size - 1 || !strstr(ret, "-----BEGIN"))
        return FAULT(MISUSE, "%s: %s is no PEM file", setting, path);
    return FAULT_OK;
}

struct fault server_settled(void)
{
    union address address;
    bool loopback;

    if (!read_address(&address, &loopback))
        return FAULT(MISUSE, "REQUESTS_ADDRESS=%s: want an IPv4 or IPv6 address as 127.0.0.1 or ::1", bind_address);
    if (!certificate_file != !key_file)
        return FAULT(MISUSE, "REQUESTS_TLS_CERT_FILE and REQUESTS_TLS_KEY_FILE belong together: set both");
    if (!loopback && !certificate_file && plain_http != PLAIN_ANYWHERE)
        return FAULT(MISUSE, "REQUESTS_ADDRESS=%s is reached from elsewhere: set REQUESTS_TLS_CERT_FILE and"
                             " REQUESTS_TLS_KEY_FILE, or keep to 127.0.0.1 and put a proxy in front", bind_address);
    if (certificate_file) {
        TRY(read_pem("REQUESTS_TLS_CERT_FILE", certificate_file, certificate, sizeof certificate));
        TRY(read_pem("REQUESTS_TLS_KEY_FILE", key_file, key, sizeof key));
    }
    return FAULT_OK;
}

static struct fault raise_descriptors(void)
{
    struct rlimit limit;
    rlim_t want = (rlim_t)connections_max + SPARE + DESCRIPTORS;

    if (getrlimit(RLIMIT_NOFILE, &limit))
        return FAULT_OK;
    if (limit.rlim_max != RLIM_INFINITY && limit.rlim_max < want)
        return FAULT(MISUSE, "REQUESTS_CONNECTIONS=%lld needs %llu descriptors, and this process may have %llu: raise the limit"
                             " (systemd: LimitNOFILE=), or lower the setting",
                     (long long)connections_max, (unsigned long long)want, (unsigned long long)limit.rlim_max);
    if (limit.rlim_cur < want) {
        limit.rlim_cur = want;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
    return FAULT_OK;
}

/* Nothing is decoded: neither %2F nor %00 may make another path of it. */
static size_t undecoded(void *of, struct MHD_Connection *mhd, char *text)
{
    (void)of;
    (void)mhd;
    return strlen(text);
}

static void no_log(void *of, const char *format, va_list args)
{
    (void)of;
    (void)format;
    (void)args;
}

static struct MHD_Daemon *start(const union address *address)
{
    unsigned flags = MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | (address->any.sa_family == AF_INET6 ? MHD_USE_IPv6 : 0) |
                     (certificate_file ? MHD_USE_TLS : 0);
    struct MHD_OptionItem tls[] = {{MHD_OPTION_HTTPS_MEM_CERT, 0, certificate},
                                   {MHD_OPTION_HTTPS_MEM_KEY, 0, key},
                                   {MHD_OPTION_END, 0, NULL}};

    return MHD_start_daemon(flags, (uint16_t)port, NULL, NULL, on_request, NULL, MHD_OPTION_EXTERNAL_LOGGER, no_log, NULL,
                            MHD_OPTION_SOCK_ADDR, address, MHD_OPTION_NOTIFY_CONNECTION, on_connection, NULL,
                            MHD_OPTION_NOTIFY_COMPLETED, on_completed, NULL, MHD_OPTION_UNESCAPE_CALLBACK, undecoded, NULL,
                            MHD_OPTION_CONNECTION_LIMIT, (unsigned)(connections_max + SPARE),
                            MHD_OPTION_PER_IP_CONNECTION_LIMIT, (unsigned)connections_per_address,
                            MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)MEMORY, MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_LISTEN_BACKLOG_SIZE, 1024u,
                            MHD_OPTION_ARRAY, certificate_file ? tls : tls + 2, MHD_OPTION_END);
}

struct fault server_open(struct loop *on, const struct server_calls *to)
{
    union address address;
    bool loopback;

    TRY(raise_descriptors());
    read_address(&address, &loopback);
    loop = on;
    calls = to;
    open_connections = metric_make(METRIC_GAUGE, "shelfwire_http_connections", "Connections that are open.", "%s", "");
    cut_connections = metric_make(METRIC_COUNTER, "shelfwire_http_connections_cut_total",
                                  "Connections closed because they were slow, or gave way to others.", "%s", "");
    run_timer = (struct loop_timer){.call = run};
    sweep_timer = (struct loop_timer){.call = sweep};
    daemon_ = start(&address);
    if (!daemon_)
        return FAULT(MISUSE, "REQUESTS_PORT=%lld: cannot listen on %s%s", (long long)port, bind_address,
                     certificate_file ? ": is another program using it, or are certificate and key no pair?"
                                      : ": is another program using it?");
    const union MHD_DaemonInfo *fd = MHD_get_daemon_info(daemon_, MHD_DAEMON_INFO_EPOLL_FD);
    const union MHD_DaemonInfo *bound = MHD_get_daemon_info(daemon_, MHD_DAEMON_INFO_BIND_PORT);
    loop_watch(loop, &watch, fd->epoll_fd, EPOLLIN, run, NULL);
    loop_timer_set(loop, &sweep_timer, loop_now(loop) + SWEEP_US);
    bool v6 = address.any.sa_family == AF_INET6;
    log_info("requests on %s://%s%s%s:%u", certificate_file ? "https" : "http", v6 ? "[" : "", bind_address, v6 ? "]" : "",
             bound ? bound->port : (unsigned)port);
    return FAULT_OK;
}

void server_quiesce(void)
{
    MHD_socket listening = daemon_ ? MHD_quiesce_daemon(daemon_) : MHD_INVALID_SOCKET;

    if (listening != MHD_INVALID_SOCKET)
        close(listening);
}

void server_close(void)
{
    struct connection *c;

    if (!daemon_)
        return;
    loop_timer_stop(loop, &run_timer);
    loop_timer_stop(loop, &sweep_timer);
    loop_watch(loop, &watch, -1, 0, NULL, NULL);
    TAILQ_FOREACH(c, &connections, at)
        if (c->suspended)
            refuse(c, MHD_HTTP_SERVICE_UNAVAILABLE, "Service Unavailable", "the program is ending", 5);
    MHD_run(daemon_);
    MHD_stop_daemon(daemon_);
    daemon_ = NULL;
}

/* ---- the query ---- */

struct argument {
    const char *name, *value;
    int count;
};

static enum MHD_Result on_argument(void *of, enum MHD_ValueKind kind, const char *name, const char *value)
{
    struct argument *a = of;

    (void)kind;
    if (!strcmp(name, a->name) && !a->count++)
        a->value = value ? value : "";
    return MHD_YES;
}

static int hex(char c)
{
    const char *digits = "0123456789abcdef", *at = c ? strchr(digits, c | 0x20) : NULL;

    return at ? (int)(at - digits) : -1;
}

static bool decode(const char *text, char *ret, size_t size)
{
    size_t n = 0;

    for (; *text; text++) {
        char c = *text;
        if (c == '%') {
            int high = hex(text[1]), low = high < 0 ? -1 : hex(text[2]);
            if (low < 0)
                return false;
            c = (char)(high * 16 + low);
            text += 2;
        }
        if (!c || n + 1 >= size)
            return false;
        ret[n++] = c;
    }
    ret[n] = '\0';
    return true;
}

int server_argument(struct server_request *r, const char *name, char *ret, size_t size)
{
    struct connection *c = (struct connection *)((char *)r - offsetof(struct connection, r));
    struct argument a = {.name = name, .value = ""};

    MHD_get_connection_values(c->mhd, MHD_GET_ARGUMENT_KIND, on_argument, &a);
    if (!decode(a.value, ret, size))
        ret[0] = '\0';
    return a.count;
}

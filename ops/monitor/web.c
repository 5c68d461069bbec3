#include "ops/monitor/web.h"

#include "common/event.h"
#include "common/log.h"
#include "common/metrics.h"
#include "common/pg.h"
#include "common/scoped.h"
#include "ops/monitor/collect.h"

#include <arpa/inet.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum {
    BODY_MAX = 256 << 10,
    FREE_TRIES = 5,      /* wrong passwords before an address must wait */
    WAIT_MAX_S = 300,
    ADDRESSES = 64,      /* that are remembered for it */
    CONNECT_EVERY_US = 3000000,
    TOKEN_SIZE = 2 * EVENT_TRACE_SIZE,
};

static int64_t port;
static const char *bind_address, *password, *user_header, *proxy;

const struct setting web_settings[] = {
    {"MONITOR_PORT", SET_WHOLE, "8480", .least = 0, .most = 65535, .to = &port, .help = "port of the page; 0: any free one, which is logged"},
    {"MONITOR_ADDRESS", SET_TEXT, "127.0.0.1", .to = &bind_address,
     .help = "IPv4 or IPv6 address it is served on; one that is not of the loopback demands a password or a proxy"},
    {"MONITOR_PASSWORD", SET_SECRET, NULL, .least = 8, .to = &password, .help = "password of the page, with any user's name: what is done is recorded under it"},
    {"MONITOR_USER_HEADER", SET_TEXT, NULL, .to = &user_header, .help = "header in which the proxy at MONITOR_PROXY says who asks, as X-Forwarded-User"},
    {"MONITOR_PROXY", SET_TEXT, NULL, .to = &proxy, .help = "address of the proxy that is believed"},
    {0}};

struct connection { /* one request */
    struct web_request r;
    struct MHD_PostProcessor *post;
    struct text body_fields; /* of the form: name, zero, value, zero */
    size_t body_len;
    bool too_large, no_form;
    char path[300];
};

static struct loop *loop;
static struct MHD_Daemon *daemon_;
static struct loop_fd watch;
static struct loop_timer timer;
static web_page *answer_page;
static PGconn *conn;
static struct fault conn_fault;
static int64_t connect_at_us;
static char token[TOKEN_SIZE];
static bool loopback, guarded; /* guarded: by the password */

const char *web_field(const struct web_request *r, const char *name)
{
    for (int i = 0; i < r->field_count; i++)
        if (!strcmp(r->fields[i].name, name))
            return r->fields[i].value;
    return "";
}

const char *web_token(void)
{
    return token;
}

/* ---- addresses ---- */

static bool is_loopback(const struct sockaddr *a)
{
    if (a->sa_family == AF_INET)
        return ntohl(((const struct sockaddr_in *)(const void *)a)->sin_addr.s_addr) >> 24 == 127;
    if (a->sa_family == AF_INET6)
        return IN6_IS_ADDR_LOOPBACK(&((const struct sockaddr_in6 *)(const void *)a)->sin6_addr);
    return false;
}

static bool read_address(const char *written, struct sockaddr_storage *ret)
{
    struct sockaddr_in *four = (struct sockaddr_in *)ret;
    struct sockaddr_in6 *six = (struct sockaddr_in6 *)ret;

    memset(ret, 0, sizeof *ret);
    four->sin_family = AF_INET;
    if (inet_pton(AF_INET, written, &four->sin_addr) == 1)
        return true;
    memset(ret, 0, sizeof *ret);
    six->sin6_family = AF_INET6;
    return inet_pton(AF_INET6, written, &six->sin6_addr) == 1;
}

static void say_address(const struct sockaddr *a, char ret[INET6_ADDRSTRLEN])
{
    const void *bytes = a->sa_family == AF_INET6 ? (const void *)&((const struct sockaddr_in6 *)(const void *)a)->sin6_addr
                                                 : (const void *)&((const struct sockaddr_in *)(const void *)a)->sin_addr;
    const char *said = inet_ntop(a->sa_family, bytes, ret, INET6_ADDRSTRLEN);

    if (!said)
        ret[0] = '\0';
    else if (!strncmp(ret, "::ffff:", 7) && strchr(ret, '.'))
        memmove(ret, ret + 7, strlen(ret + 7) + 1);
}

struct fault web_settled(void)
{
    struct sockaddr_storage a;

    if (!read_address(bind_address, &a))
        return FAULT(MISUSE, "MONITOR_ADDRESS=%s: want an IPv4 or IPv6 address as 127.0.0.1, ::1 or 0.0.0.0", bind_address);
    loopback = is_loopback((struct sockaddr *)&a);
    if (!!user_header != !!proxy)
        return FAULT(MISUSE, "%s is missing: MONITOR_USER_HEADER and MONITOR_PROXY belong together", proxy ? "MONITOR_USER_HEADER" : "MONITOR_PROXY");
    if (proxy && !read_address(proxy, &a))
        return FAULT(MISUSE, "MONITOR_PROXY=%s: want the proxy's address", proxy);
    if (!loopback && !password && !proxy)
        return FAULT(MISUSE, "MONITOR_ADDRESS=%s is open to others: set MONITOR_PASSWORD (or _FILE), or the proxy that says who asks", bind_address);
    guarded = password != NULL;
    return FAULT_OK;
}

/* ---- who may come in ---- */

static struct tries { /* of wrong passwords, by address; the least used gives way */
    char address[INET6_ADDRSTRLEN];
    int wrong;
    int64_t until_us, last_us;
} tries[ADDRESSES];

static struct tries *tries_of(const char *address)
{
    struct tries *oldest = tries;

    for (int i = 0; i < ADDRESSES; i++) {
        if (!strcmp(tries[i].address, address))
            return &tries[i];
        if (tries[i].last_us < oldest->last_us)
            oldest = &tries[i];
    }
    *oldest = (struct tries){.last_us = loop_now(loop)};
    text_copy(oldest->address, sizeof oldest->address, address);
    return oldest;
}

static bool same(const char *a, const char *b)
{
    unsigned char ha[32], hb[32];
    unsigned int len;

    return EVP_Digest(a, strlen(a), ha, &len, EVP_sha256(), NULL) && EVP_Digest(b, strlen(b), hb, &len, EVP_sha256(), NULL) &&
           !CRYPTO_memcmp(ha, hb, sizeof ha);
}

/* A name as it is recorded: printable ASCII, whatever was sent. */
static void name_of(const char *said, char ret[64])
{
    size_t n = 0;

    for (; *said && n < 63; said++)
        if (*said > ' ' && *said < 0x7f)
            ret[n++] = *said;
        else if (n && ret[n - 1] != ' ' && n < 62)
            ret[n++] = ' ';
    while (n && ret[n - 1] == ' ')
        n--;
    ret[n] = '\0';
}

static int right_password(struct MHD_Connection *from, const char *address, char who[64])
{
    struct tries *t = tries_of(address);
    char *said = NULL, *name;

    t->last_us = loop_now(loop);
    if (t->until_us > loop_now(loop))
        return MHD_HTTP_TOO_MANY_REQUESTS;
    name = MHD_basic_auth_get_username_password(from, &said);
    collect_look();
    bool right = name && said && same(said, password);
    collect_done();
    if (right)
        name_of(name, who);
    if (said)
        OPENSSL_cleanse(said, strlen(said));
    if (right) {
        t->wrong = 0;
    } else if (name && ++t->wrong >= FREE_TRIES) {
        int64_t wait_s = (int64_t)1 << (t->wrong - FREE_TRIES < 9 ? t->wrong - FREE_TRIES : 9);
        t->until_us = loop_now(loop) + (wait_s < WAIT_MAX_S ? wait_s : WAIT_MAX_S) * 1000000;
        log_warn("%d wrong passwords for the page from %s", t->wrong, address);
    }
    MHD_free(name);
    MHD_free(said);
    return right ? MHD_HTTP_OK : MHD_HTTP_UNAUTHORIZED;
}

static bool host_is_loopback(const char *host)
{
    static const char *const names[] = {"localhost", "127.0.0.1", "[::1]"};

    for (size_t i = 0; host && i < COUNT(names); i++) {
        size_t len = strlen(names[i]);
        if (!strncasecmp(host, names[i], len) && (!host[len] || host[len] == ':'))
            return true;
    }
    return false;
}

/* OK, or the status it is refused with. */
static int may_come_in(struct MHD_Connection *from, struct web_request *r)
{
    const struct sockaddr *peer = MHD_get_connection_info(from, MHD_CONNECTION_INFO_CLIENT_ADDRESS)->client_addr;
    char address[INET6_ADDRSTRLEN];

    say_address(peer, address);
    if (proxy && !strcmp(address, proxy)) {
        const char *said = MHD_lookup_connection_value(from, MHD_HEADER_KIND, user_header);
        name_of(said ? said : "", r->who);
        r->who_known = *r->who != '\0';
        return r->who_known ? MHD_HTTP_OK : MHD_HTTP_FORBIDDEN;
    }
    if (guarded) {
        int status = right_password(from, address, r->who);
        r->who_known = *r->who != '\0';
        return status;
    }
    if (!loopback || !is_loopback(peer))
        return MHD_HTTP_FORBIDDEN;
    return host_is_loopback(MHD_lookup_connection_value(from, MHD_HEADER_KIND, "Host")) ? MHD_HTTP_OK : MHD_HTTP_FORBIDDEN;
}

/* ---- an answer ---- */

static enum MHD_Result send_answer(struct MHD_Connection *to, const struct web_request *r)
{
    static const char *const fixed[][2] = {
        {"Content-Security-Policy", "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; form-action 'self';"
                                    " frame-ancestors 'none'; base-uri 'none'"},
        {"X-Content-Type-Options", "nosniff"},
        {"Referrer-Policy", "no-referrer"},
        {"Cross-Origin-Opener-Policy", "same-origin"},
        {"Cross-Origin-Resource-Policy", "same-origin"},
    };
    char cookie[120];

    if (r->out->failed)
        return MHD_NO;
    struct MHD_Response *response = MHD_create_response_from_buffer(r->out->len, (void *)(uintptr_t)text_str(r->out), MHD_RESPMEM_MUST_COPY);
    if (!response)
        return MHD_NO;
    snprintf(cookie, sizeof cookie, "%s; charset=utf-8", r->type);
    MHD_add_response_header(response, "Content-Type", cookie);
    for (size_t i = 0; i < COUNT(fixed); i++)
        MHD_add_response_header(response, fixed[i][0], fixed[i][1]);
    MHD_add_response_header(response, "Cache-Control", r->lasting ? "max-age=3600" : "no-store");
    if (*r->location)
        MHD_add_response_header(response, "Location", r->location);
    if (r->status == MHD_HTTP_UNAUTHORIZED)
        MHD_add_response_header(response, "WWW-Authenticate", "Basic realm=\"Shelfwire\", charset=\"UTF-8\"");
    if (!strcmp(r->method, "POST") && *r->who && !r->who_known) { /* so that it need not be typed each time */
        struct text name = {0};
        text_percent(&name, r->who);
        snprintf(cookie, sizeof cookie, "who=%.90s; Path=/; SameSite=Strict; HttpOnly", text_str(&name));
        text_free(&name);
        MHD_add_response_header(response, "Set-Cookie", cookie);
    }
    enum MHD_Result result = MHD_queue_response(to, (unsigned)r->status, response);
    MHD_destroy_response(response);
    return result;
}

static enum MHD_Result refuse(struct MHD_Connection *to, struct connection *c, int status, const char *why)
{
    c->r.status = status;
    c->r.type = "text/plain";
    text_clear(c->r.out);
    text_printf(c->r.out, "%s\n", why);
    return send_answer(to, &c->r);
}

static const char *why_not(int status)
{
    switch (status) {
    case MHD_HTTP_UNAUTHORIZED: return "the password of this page is wanted, with your own name as the user's";
    case MHD_HTTP_TOO_MANY_REQUESTS: return "too many wrong passwords: wait a little";
    default: return "not from there: this page is for the machine it runs on; see MONITOR_ADDRESS and MONITOR_PASSWORD";
    }
}

/* ---- PostgreSQL ---- */

static void connect_when_due(void)
{
    if (conn && PQstatus(conn) == CONNECTION_OK)
        return;
    if (loop_now(loop) < connect_at_us)
        return;
    connect_at_us = loop_now(loop) + CONNECT_EVERY_US;
    PQfinish(conn);
    conn = NULL;
    conn_fault = pg_open(&conn, "monitor page");
    if (!conn_fault.kind)
        conn_fault = pg_check_schema(conn);
    if (!conn_fault.kind)
        conn_fault = pg_do(conn, "SET statement_timeout = '20s'");
    if (!conn_fault.kind && getenv("TZ") && *getenv("TZ") && !getenv("PGTZ")) {
        struct fault f = pg_do(conn, "SELECT set_config('TimeZone', $1, false)", getenv("TZ"));
        if (f.kind)
            log_warn("TZ: PostgreSQL knows no such time zone: the page's times are those of %s", PQparameterStatus(conn, "TimeZone"));
    }
    if (conn_fault.kind) {
        PQfinish(conn);
        conn = NULL;
    }
}

/* ---- a request as it comes ---- */

static void add_field(struct web_request *r, const char *name, const char *value)
{
    if (r->field_count == WEB_FIELDS_MAX)
        return;
    r->fields[r->field_count].name = name;
    r->fields[r->field_count++].value = value;
}

static enum MHD_Result on_argument(void *of, enum MHD_ValueKind kind, const char *name, const char *value)
{
    (void)kind;
    add_field(of, name, value ? value : "");
    return MHD_YES;
}

/* A value may come in pieces: `at` is how much of it came before. */
static enum MHD_Result on_form(void *of, enum MHD_ValueKind kind, const char *name, const char *filename, const char *type, const char *encoding,
                               const char *bytes, uint64_t at, size_t len)
{
    struct connection *c = of;

    (void)kind;
    (void)filename;
    (void)type;
    (void)encoding;
    if (memchr(bytes, '\0', len))
        return MHD_NO;
    if (!at) {
        if (c->body_fields.len)
            text_putc(&c->body_fields, '\0');
        text_add(&c->body_fields, name, strlen(name) + 1);
    }
    text_add(&c->body_fields, bytes, len);
    return MHD_YES;
}

static void read_form(struct connection *c)
{
    const char *at = text_str(&c->body_fields), *end = at + c->body_fields.len;

    while (at < end) {
        const char *value = at + strlen(at) + 1;
        if (value > end)
            break;
        add_field(&c->r, at, value);
        at = value + strlen(value) + 1;
    }
}

static bool from_here(struct MHD_Connection *from)
{
    const char *site = MHD_lookup_connection_value(from, MHD_HEADER_KIND, "Sec-Fetch-Site");

    return !site || !strcmp(site, "same-origin") || !strcmp(site, "none");
}

static void read_who(struct MHD_Connection *from, struct web_request *r)
{
    const char *cookie = MHD_lookup_connection_value(from, MHD_COOKIE_KIND, "who");
    char name[200];

    if (r->who_known)
        return;
    if (*web_field(r, "who")) {
        name_of(web_field(r, "who"), r->who);
    } else if (cookie && text_copy(name, sizeof name, cookie)) {
        MHD_http_unescape(name);
        name_of(name, r->who);
    }
}

static enum MHD_Result answer(struct MHD_Connection *from, struct connection *c)
{
    struct web_request *r = &c->r;

    if (c->too_large)
        return refuse(from, c, MHD_HTTP_CONTENT_TOO_LARGE, "a form has at most 256 KiB");
    if (c->no_form)
        return refuse(from, c, MHD_HTTP_BAD_REQUEST, "this is no form");
    if (c->post) {
        MHD_destroy_post_processor(c->post);
        c->post = NULL;
        read_form(c);
    }
    MHD_get_connection_values(from, MHD_GET_ARGUMENT_KIND, on_argument, r);
    read_who(from, r);
    if (!strcmp(r->method, "POST")) {
        if (!from_here(from) || !same(web_field(r, "token"), token))
            return refuse(from, c, MHD_HTTP_FORBIDDEN, "the form is from before monitor was started, or from elsewhere: load the page again");
    }
    connect_when_due();
    r->conn = conn;
    r->database_trouble = conn ? "" : conn_fault.what;
    r->status = MHD_HTTP_OK;
    r->type = "text/html";
    answer_page(r);
    return send_answer(from, r);
}

static enum MHD_Result begin(struct MHD_Connection *from, struct connection *c, const char *method)
{
    bool post = !strcmp(method, "POST");
    int status = may_come_in(from, &c->r);

    c->r.method = post ? "POST" : "GET";
    if (status != MHD_HTTP_OK)
        return refuse(from, c, status, why_not(status));
    if (!post && strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0)
        return refuse(from, c, MHD_HTTP_METHOD_NOT_ALLOWED, "GET or POST");
    if (post && !(c->post = MHD_create_post_processor(from, 4096, on_form, c)))
        return refuse(from, c, MHD_HTTP_UNSUPPORTED_MEDIA_TYPE, "a form is wanted: application/x-www-form-urlencoded");
    return MHD_YES;
}

static enum MHD_Result on_request(void *of, struct MHD_Connection *from, const char *url, const char *method, const char *version,
                                  const char *upload, size_t *upload_size, void **state)
{
    static struct text out;
    struct connection *c = *state;

    (void)of;
    (void)version;
    if (!c) {
        c = calloc(1, sizeof *c);
        *state = c;
        c->r.out = &out; /* one answer is made at a time */
        text_copy(c->path, sizeof c->path, url);
        size_t len = strlen(c->path);
        if (len > 5 && !strcmp(c->path + len - 5, ".json")) {
            c->r.json = true;
            c->path[len - 5] = '\0';
        }
        c->r.path = c->path;
        return begin(from, c, method);
    }
    if (*upload_size) {
        c->body_len += *upload_size;
        c->too_large |= c->body_len > BODY_MAX;
        if (c->post && !c->too_large && !c->no_form)
            c->no_form = MHD_post_process(c->post, upload, *upload_size) != MHD_YES;
        *upload_size = 0;
        return c->body_len > 4 * BODY_MAX ? MHD_NO : MHD_YES;
    }
    text_clear(&out);
    return answer(from, c);
}

static void on_completed(void *of, struct MHD_Connection *from, void **state, enum MHD_RequestTerminationCode how)
{
    struct connection *c = *state;

    (void)of;
    (void)from;
    (void)how;
    if (!c)
        return;
    if (c->post)
        MHD_destroy_post_processor(c->post);
    text_free(&c->body_fields);
    free(c);
    *state = NULL;
}

/* ---- the server ---- */

static void serve(void *of, uint32_t events)
{
    MHD_UNSIGNED_LONG_LONG wait_ms;

    (void)of;
    (void)events;
    MHD_run(daemon_);
    if (MHD_get_timeout(daemon_, &wait_ms) == MHD_YES)
        loop_timer_set(loop, &timer, loop_now(loop) + (int64_t)(wait_ms < 60000 ? wait_ms : 60000) * 1000);
}

struct fault web_open(struct loop *l, web_page *page)
{
    struct sockaddr_storage to;
    char half[EVENT_TRACE_SIZE];

    loop = l;
    answer_page = page;
    event_new_trace(half);
    event_new_trace(token);
    memcpy(token + strlen(token), half, sizeof half);
    read_address(bind_address, &to);
    if (to.ss_family == AF_INET6)
        ((struct sockaddr_in6 *)&to)->sin6_port = htons((uint16_t)port);
    else
        ((struct sockaddr_in *)&to)->sin_port = htons((uint16_t)port);
    timer = (struct loop_timer){.call = serve};
    unsigned flags = MHD_USE_EPOLL | (to.ss_family == AF_INET6 ? MHD_USE_DUAL_STACK : 0);
    daemon_ = MHD_start_daemon(flags, (uint16_t)port, NULL, NULL, on_request, NULL, MHD_OPTION_SOCK_ADDR, &to, MHD_OPTION_CONNECTION_LIMIT, 100u,
                               MHD_OPTION_PER_IP_CONNECTION_LIMIT, 60u, MHD_OPTION_CONNECTION_TIMEOUT, 20u, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
                               (size_t)16384, MHD_OPTION_NOTIFY_COMPLETED, on_completed, NULL, MHD_OPTION_END);
    if (!daemon_)
        return FAULT(MISUSE, "MONITOR_PORT=%lld: cannot listen on %s: is another program using it?", (long long)port, bind_address);
    const union MHD_DaemonInfo *fd = MHD_get_daemon_info(daemon_, MHD_DAEMON_INFO_EPOLL_FD);
    const union MHD_DaemonInfo *bound = MHD_get_daemon_info(daemon_, MHD_DAEMON_INFO_BIND_PORT);
    loop_watch(loop, &watch, fd->epoll_fd, EPOLLIN, serve, NULL);
    log_info(to.ss_family == AF_INET6 ? "the page is at http://[%s]:%u" : "the page is at http://%s:%u", bind_address,
             bound ? bound->port : (unsigned)port);
    return FAULT_OK;
}

void web_close(void)
{
    if (!daemon_)
        return;
    loop_timer_stop(loop, &timer);
    loop_watch(loop, &watch, -1, 0, NULL, NULL);
    MHD_stop_daemon(daemon_);
    PQfinish(conn);
}

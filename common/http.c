#include "common/http.h"

#include "common/injection.h"
#include "common/loop.h"
#include "common/scoped.h"

#include <curl/curl.h>
#include <openssl/x509_vfy.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

struct http_exchange {
    struct http *http;
    CURL *easy;
    CURLU *origin; /* scheme, host and port, as `url` has them; a URL in one piece has none */
    struct curl_slist *headers;
    struct text url, target, body, watched;
    char error[CURL_ERROR_SIZE];
    const char *watch;
    bool (*may_leave)(void *of);
    void *may_leave_of;
    bool withheld;
    bool started; /* a connection was there and the request began to leave: from here on nobody knows */
    bool too_large;
    bool headed; /* the answer's head is complete: libcurl takes one that is cut short for an answer */
    bool enough, waiting; /* what `take` said last */
    http_take *take;
    void *take_of;
    http_done *done;
    void *of;
    int64_t since_us;
    struct http_exchange *next, *prev;
};

struct http {
    struct loop *loop;
    CURLM *multi;
    struct loop_timer timer;
    struct loop_fd **sockets; /* by descriptor */
    int socket_room;
    const char *ca_file;
    bool proxy_wanted;
    bool answered; /* by anybody yet */
    int connections_max;
    struct http_exchange under_way; /* list head */
    struct http_exchange *idle;
};

static int finish(struct http *h);

static void on_timer(void *of, uint32_t events)
{
    struct http *h = of;
    int running;

    (void)events;
    curl_multi_socket_action(h->multi, CURL_SOCKET_TIMEOUT, 0, &running);
    finish(h);
}

static int set_timer(CURLM *multi, long timeout_ms, void *of)
{
    struct http *h = of;

    (void)multi;
    if (timeout_ms < 0)
        loop_timer_stop(h->loop, &h->timer);
    else
        loop_timer_set(h->loop, &h->timer, loop_now(h->loop) + (int64_t)timeout_ms * 1000);
    return 0;
}

struct socket_watch {
    struct loop_fd watch; /* first */
    struct http *http;
    bool connection; /* close_socket will be called for it; the resolver's are closed without */
    bool wanted; /* curl waits for it; an idle connection's is left registered, for that halves the system calls */
};

static void on_ready(void *of, uint32_t events)
{
    struct socket_watch *w = of;
    struct http *h = w->http;
    int mask = (events & EPOLLIN ? CURL_CSELECT_IN : 0) | (events & EPOLLOUT ? CURL_CSELECT_OUT : 0) |
               (events & (EPOLLERR | EPOLLHUP) ? CURL_CSELECT_ERR : 0);
    int running;

    if (!w->wanted) { /* closed by the other side while idle: curl finds out when it wants to use it */
        loop_watch(h->loop, &w->watch, w->watch.fd, 0, NULL, NULL);
        return;
    }
    curl_multi_socket_action(h->multi, w->watch.fd, mask, &running);
    finish(h);
}

static struct socket_watch *socket_of(struct http *h, int fd, bool make)
{
    if (fd < 0)
        return NULL;
    if (fd >= h->socket_room) {
        if (!make)
            return NULL;
        int room = fd + 64;
        struct loop_fd **sockets = realloc(h->sockets, (size_t)room * sizeof *sockets);
        if (!sockets)
            return NULL;
        memset(sockets + h->socket_room, 0, (size_t)(room - h->socket_room) * sizeof *sockets);
        h->sockets = sockets;
        h->socket_room = room;
    }
    if (!h->sockets[fd] && make) {
        struct socket_watch *w = calloc(1, sizeof *w);
        if (!w)
            return NULL;
        w->http = h;
        h->sockets[fd] = &w->watch;
    }
    return (struct socket_watch *)h->sockets[fd];
}

static int set_socket(CURL *easy, curl_socket_t fd, int what, void *of, void *per_socket)
{
    struct http *h = of;
    struct socket_watch *w = socket_of(h, fd, what != CURL_POLL_REMOVE);

    (void)easy;
    (void)per_socket;
    if (!w)
        return what == CURL_POLL_REMOVE ? 0 : -1;
    w->wanted = what != CURL_POLL_REMOVE;
    if (w->wanted) {
        uint32_t events = what == CURL_POLL_IN ? EPOLLIN : what == CURL_POLL_OUT ? EPOLLOUT : EPOLLIN | EPOLLOUT;
        loop_watch(h->loop, &w->watch, fd, events, on_ready, w);
    } else if (!w->connection || w->watch.events & EPOLLOUT) { /* the latter is always ready: it would keep the loop awake */
        loop_watch(h->loop, &w->watch, fd, 0, NULL, NULL);
    }
    return 0;
}

static int on_opened(void *of, curl_socket_t fd, curlsocktype purpose)
{
    struct socket_watch *w = socket_of(of, fd, true);

    (void)purpose;
    if (!w)
        return CURL_SOCKOPT_ERROR;
    w->connection = true;
    return CURL_SOCKOPT_OK;
}

static int close_socket(void *of, curl_socket_t fd)
{
    struct http *h = of;
    struct socket_watch *w = socket_of(h, fd, false);

    if (w) {
        loop_forget(h->loop, &w->watch);
        h->sockets[fd] = NULL;
        free(w);
    }
    return close(fd);
}

static size_t hand_over(struct http_exchange *x, const char *bytes, size_t len)
{
    curl_off_t whole_len = -1;

    if (x->enough)
        return 0;
    curl_easy_getinfo(x->easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &whole_len);
    enum http_taken taken = x->take(x->take_of, &(struct http_piece){bytes, len, whole_len});
    x->waiting = taken == HTTP_NOT_NOW;
    x->enough = taken == HTTP_ENOUGH;
    return x->waiting ? CURL_WRITEFUNC_PAUSE : x->enough ? 0 : len;
}

static size_t on_body(char *bytes, size_t size, size_t count, void *of)
{
    struct http_exchange *x = of;
    long status = 0;

    if (x->take) {
        curl_easy_getinfo(x->easy, CURLINFO_RESPONSE_CODE, &status);
        if (status >= 200 && status < 300 && size * count > 0)
            return hand_over(x, bytes, size * count);
    }
    if (x->body.len + size * count > HTTP_BODY_MAX - 1) {
        x->too_large = true;
        return 0;
    }
    text_add(&x->body, bytes, size * count);
    return x->body.failed ? 0 : size * count;
}

static size_t on_header(char *line, size_t size, size_t count, void *of)
{
    struct http_exchange *x = of;
    size_t len = size * count;

    if (len > 5 && !memcmp(line, "HTTP/", 5))
        x->headed = false; /* another one began: the last was "100 Continue" */
    else if (len && (*line == '\r' || *line == '\n'))
        x->headed = true;
    return len;
}

/*
 * Called when the request is about to leave, each time. libcurl repeats a request by itself when a kept connection
 * turns out dead before an answer came; the vendor may have read the first one, so the second never leaves.
 */
static int on_leaving(void *of, char *a, char *b, int c, int d)
{
    struct http_exchange *x = of;

    (void)a;
    (void)b;
    (void)c;
    (void)d;
    INJECTION_POINT(call_leaving);
    if (x->started)
        return CURL_PREREQFUNC_ABORT;
    x->withheld = x->may_leave && !x->may_leave(x->may_leave_of);
    if (x->withheld)
        return CURL_PREREQFUNC_ABORT;
    x->started = true;
    return CURL_PREREQFUNC_OK;
}

#ifdef SHELFWIRE_INJECTION_POINTS
static int on_said(CURL *easy, curl_infotype what, char *bytes, size_t len, void *of)
{
    (void)easy;
    (void)bytes;
    (void)len;
    (void)of;
    if (what == CURLINFO_HEADER_OUT)
        INJECTION_POINT(call_left);
    return 0;
}
#endif

/* libcurl would say it of every call, and only then. */
static struct fault check_authority(const char *file)
{
    if (access(file, R_OK) < 0)
        return FAULT(MISUSE, "VENDOR_CA_FILE: cannot read %s", file);
    X509_STORE *store = X509_STORE_new();
    bool good = store && X509_STORE_load_file(store, file);
    X509_STORE_free(store);
    return good ? FAULT_OK : FAULT(MISUSE, "VENDOR_CA_FILE: there is no certificate (PEM) in %s", file);
}

struct fault http_open(struct http **ret, struct loop *loop, int connections_max, const char *ca_file)
{
    static const char *const proxies[] = {"http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"};
    struct http *h = calloc(1, sizeof *h);

    *ret = NULL;
    if (curl_global_init(CURL_GLOBAL_DEFAULT) || !(h->multi = curl_multi_init())) {
        free(h);
        return FAULT(FATAL, "cannot start libcurl");
    }
    struct fault f = ca_file ? check_authority(ca_file) : FAULT_OK;
    if (f.kind) {
        http_close(h);
        return f;
    }
    h->loop = loop;
    h->ca_file = ca_file;
    h->connections_max = connections_max;
    h->timer = (struct loop_timer){.call = on_timer, .of = h};
    h->under_way.next = h->under_way.prev = &h->under_way;
    for (size_t i = 0; i < COUNT(proxies); i++)
        h->proxy_wanted |= getenv(proxies[i]) != NULL;
    curl_multi_setopt(h->multi, CURLMOPT_SOCKETFUNCTION, set_socket);
    curl_multi_setopt(h->multi, CURLMOPT_SOCKETDATA, h);
    curl_multi_setopt(h->multi, CURLMOPT_TIMERFUNCTION, set_timer);
    curl_multi_setopt(h->multi, CURLMOPT_TIMERDATA, h);
    curl_multi_setopt(h->multi, CURLMOPT_MAXCONNECTS, (long)connections_max + 4);
    *ret = h;
    return FAULT_OK;
}

static void exchange_free(struct http_exchange *x)
{
    curl_easy_cleanup(x->easy);
    curl_url_cleanup(x->origin);
    curl_slist_free_all(x->headers);
    text_free(&x->url);
    text_free(&x->target);
    text_free(&x->body);
    text_free(&x->watched);
    free(x);
}

void http_close(struct http *h)
{
    if (!h)
        return;
    while (h->under_way.next && h->under_way.next != &h->under_way)
        http_cancel(h, h->under_way.next);
    while (h->idle) {
        struct http_exchange *x = h->idle;
        h->idle = x->next;
        exchange_free(x);
    }
    curl_multi_cleanup(h->multi);
    if (h->loop)
        loop_timer_stop(h->loop, &h->timer);
    for (int fd = 0; fd < h->socket_room; fd++)
        free(h->sockets[fd]);
    free(h->sockets);
    free(h);
}

static struct http_exchange *exchange_new(struct http *h)
{
    struct http_exchange *x = h->idle;

    if (x) {
        h->idle = x->next;
        return x;
    }
    x = calloc(1, sizeof *x);
    x->easy = curl_easy_init();
    x->origin = curl_url();
    if (!x->easy || !x->origin) {
        exchange_free(x);
        return NULL;
    }
    x->http = h;
    curl_easy_setopt(x->easy, CURLOPT_PRIVATE, x);
    curl_easy_setopt(x->easy, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(x->easy, CURLOPT_WRITEDATA, x);
    curl_easy_setopt(x->easy, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(x->easy, CURLOPT_HEADERDATA, x);
    curl_easy_setopt(x->easy, CURLOPT_PREREQFUNCTION, on_leaving);
    curl_easy_setopt(x->easy, CURLOPT_PREREQDATA, x);
    curl_easy_setopt(x->easy, CURLOPT_SOCKOPTFUNCTION, on_opened);
    curl_easy_setopt(x->easy, CURLOPT_SOCKOPTDATA, h);
    curl_easy_setopt(x->easy, CURLOPT_CLOSESOCKETFUNCTION, close_socket);
    curl_easy_setopt(x->easy, CURLOPT_CLOSESOCKETDATA, h);
    curl_easy_setopt(x->easy, CURLOPT_ERRORBUFFER, x->error);
    curl_easy_setopt(x->easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(x->easy, CURLOPT_PATH_AS_IS, 1L); /* an id of dots is an id, not a way up */
    curl_easy_setopt(x->easy, CURLOPT_BUFFERSIZE, h->connections_max > 8 ? 2048L : 65536L); /* each exchange has one */
    curl_easy_setopt(x->easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(x->easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(x->easy, CURLOPT_TCP_KEEPALIVE, 1L);
    /* younger than what servers commonly close after, so that a request seldom meets a closing connection */
    curl_easy_setopt(x->easy, CURLOPT_MAXAGE_CONN, 4L);
#ifdef SHELFWIRE_INJECTION_POINTS
    curl_easy_setopt(x->easy, CURLOPT_VERBOSE, 1L);
    curl_easy_setopt(x->easy, CURLOPT_DEBUGFUNCTION, on_said);
#endif
    if (!h->proxy_wanted) { /* saves looking the variables up for each request */
        curl_easy_setopt(x->easy, CURLOPT_PROXY, "");
        curl_easy_setopt(x->easy, CURLOPT_NOPROXY, "");
    }
    if (h->ca_file)
        curl_easy_setopt(x->easy, CURLOPT_CAINFO, h->ca_file);
    return x;
}

static void unlink_exchange(struct http_exchange *x)
{
    x->prev->next = x->next;
    x->next->prev = x->prev;
}

static void retire(struct http *h, struct http_exchange *x)
{
    if (x->body.room > 256 * 1024)
        text_free(&x->body);
    x->next = h->idle;
    h->idle = x;
}

static bool add_header(struct http_exchange *x, const char *header)
{
    struct curl_slist *more = curl_slist_append(x->headers, header);

    if (more)
        x->headers = more;
    return more;
}

/* Nothing in it that an URL's parser would refuse, cut off or move. */
static bool is_plain_target(const char *target)
{
    const char *c = target;

    while (*c > ' ' && *c < 0x7F && *c != '#')
        c++;
    return *target == '/' && !*c;
}

/* Where the request goes, taken apart once for all requests to the same service. */
static bool set_origin(struct http_exchange *x, const char *root, size_t len)
{
    if (x->url.len == len && !memcmp(text_str(&x->url), root, len))
        return true;
    text_clear(&x->url);
    text_add(&x->url, root, len);
    if (x->url.failed || curl_url_set(x->origin, CURLUPART_URL, text_str(&x->url), 0)) {
        text_clear(&x->url);
        return false;
    }
    curl_easy_setopt(x->easy, CURLOPT_URL, NULL); /* it would still be the last one */
    curl_easy_setopt(x->easy, CURLOPT_CURLU, x->origin);
    return true;
}

/*
 * libcurl takes an URL apart and puts it together again, character by character, for each request: two fifths of what a
 * request costs. So it gets the service once, and each time the target as it is to stand in the request; but for a proxy, which
 * wants the whole.
 */
static bool set_address(struct http_exchange *x, const char *root, const char *target)
{
    const char *host = strstr(root, "://");
    size_t origin_len = host ? (size_t)(host + 3 - root) + strcspn(host + 3, "/") : 0;
    bool apart = origin_len && !x->http->proxy_wanted && is_plain_target(target) && set_origin(x, root, origin_len);

    text_clear(&x->target);
    text_puts(&x->target, root + (apart ? origin_len : 0));
    text_puts(&x->target, target);
    if (!apart) {
        text_clear(&x->url);
        curl_easy_setopt(x->easy, CURLOPT_CURLU, NULL);
        curl_easy_setopt(x->easy, CURLOPT_URL, text_str(&x->target));
    }
    curl_easy_setopt(x->easy, CURLOPT_REQUEST_TARGET, apart ? text_str(&x->target) : NULL);
    return !x->target.failed;
}

struct http_exchange *http_send(struct http *h, const char *root, const struct http_request *req, int timeout_ms,
                                http_done *done, void *of)
{
    struct http_exchange *x = exchange_new(h);

    if (!x)
        return NULL;
    curl_slist_free_all(x->headers);
    x->headers = NULL;
    bool whole = !req->target.failed && !req->body.failed;
    for (int i = 0; i < req->header_count; i++)
        whole &= !req->headers[i].failed && add_header(x, text_str(&req->headers[i]));
    if (req->body.len > 1000000) /* below that libcurl asks for no "100 Continue" by itself */
        whole &= add_header(x, "Expect:");
    if (req->timeout_ms)
        timeout_ms = req->timeout_ms;
    text_clear(&x->body);
    whole &= set_address(x, root, text_str(&req->target));
    if (!whole) {
        retire(h, x);
        return NULL;
    }
    x->error[0] = '\0';
    x->watch = req->watch;
    x->started = x->too_large = x->headed = x->enough = x->waiting = x->withheld = false;
    x->may_leave = req->may_leave;
    x->may_leave_of = req->may_leave_of;
    x->take = req->take;
    x->take_of = req->take_of;
    x->done = done;
    x->of = of;
    x->since_us = loop_now(h->loop);
    curl_easy_setopt(x->easy, CURLOPT_HTTPHEADER, x->headers);
    if (!strcmp(req->method, "POST") || req->body.len) {
        curl_easy_setopt(x->easy, CURLOPT_POST, 1L);
        curl_easy_setopt(x->easy, CURLOPT_POSTFIELDSIZE, (long)req->body.len);
        curl_easy_setopt(x->easy, CURLOPT_COPYPOSTFIELDS, text_str(&req->body));
        curl_easy_setopt(x->easy, CURLOPT_CUSTOMREQUEST, strcmp(req->method, "POST") ? req->method : NULL);
    } else {
        curl_easy_setopt(x->easy, CURLOPT_HTTPGET, 1L);
        curl_easy_setopt(x->easy, CURLOPT_CUSTOMREQUEST, strcmp(req->method, "GET") ? req->method : NULL);
    }
    curl_easy_setopt(x->easy, CURLOPT_TIMEOUT_MS, req->take ? 0L : (long)timeout_ms);
    curl_easy_setopt(x->easy, CURLOPT_LOW_SPEED_LIMIT, (long)(req->take != NULL));
    curl_easy_setopt(x->easy, CURLOPT_LOW_SPEED_TIME, req->take ? (long)(timeout_ms + 999) / 1000 : 0L);
    curl_easy_setopt(x->easy, CURLOPT_CONNECTTIMEOUT_MS, (long)(timeout_ms < 10000 ? timeout_ms : 10000));
    x->prev = h->under_way.prev;
    x->next = &h->under_way;
    x->prev->next = x->next->prev = x;
    INJECTION_POINT(call);
    if (curl_multi_add_handle(h->multi, x->easy)) {
        unlink_exchange(x);
        retire(h, x);
        return NULL;
    }
    return x;
}

void http_cancel(struct http *h, struct http_exchange *x)
{
    curl_multi_remove_handle(h->multi, x->easy);
    unlink_exchange(x);
    exchange_free(x);
}

bool http_push(struct http *h)
{
    int running;

    if (!h->timer.place || h->timer.at_us > loop_now(h->loop))
        return false;
    loop_timer_stop(h->loop, &h->timer);
    curl_multi_socket_action(h->multi, CURL_SOCKET_TIMEOUT, 0, &running);
    return finish(h) > 0;
}

void http_resume(struct http *h, struct http_exchange *x)
{
    (void)h;
    if (!x->waiting)
        return;
    x->waiting = false;
    curl_easy_pause(x->easy, CURLPAUSE_CONT); /* the next turn's timer goes on reading */
}

int64_t http_retry_after_ms(const char *value, int64_t now)
{
    int64_t seconds;

    if (*value && !value[strspn(value, "0123456789")]) {
        seconds = strtoll(value, NULL, 10);
    } else {
        time_t at = curl_getdate(value, NULL);
        if (at < 0)
            return -1;
        seconds = at - now;
    }
    return seconds < 0 ? 0 : seconds > 86400 ? 86400000 : seconds * 1000;
}

static int64_t retry_after_ms(CURL *easy)
{
    struct curl_header *header;

    if (curl_easy_header(easy, "Retry-After", 0, CURLH_HEADER, -1, &header) != CURLHE_OK)
        return -1;
    return http_retry_after_ms(header->value, time(NULL));
}

static const char *watched(struct http_exchange *x)
{
    struct curl_header *header;

    text_clear(&x->watched);
    for (size_t i = 0; curl_easy_header(x->easy, x->watch, i, CURLH_HEADER, -1, &header) == CURLHE_OK; i++) {
        if (i)
            text_putc(&x->watched, '\n');
        /* of an empty one libcurl keeps the line's end */
        text_puts(&x->watched, header->value + strspn(header->value, "\r\n"));
    }
    return text_str(&x->watched);
}

/* What to look at where TLS is the matter; "" where it is not. */
static const char *tls_advice(const struct http_exchange *x, CURLcode code)
{
    long why = 0;

    if (code == CURLE_PEER_FAILED_VERIFICATION) {
        if (strstr(x->error, "subject name")) /* libcurl compares names itself, and OpenSSL has no complaint */
            return "; see the URL's host";
        curl_easy_getinfo(x->easy, CURLINFO_SSL_VERIFYRESULT, &why);
        return why == X509_V_ERR_CERT_HAS_EXPIRED ? "; it must be renewed there, or this computer's clock is wrong"
                                                  : "; is it of a private authority? See VENDOR_CA_FILE";
    }
    if (code == CURLE_SSL_CONNECT_ERROR && strstr(x->error, "wrong version number"))
        return "; it speaks no TLS: see the URL";
    bool cut = code == CURLE_GOT_NOTHING || code == CURLE_RECV_ERROR || code == CURLE_UNSUPPORTED_PROTOCOL;
    if (cut && !x->http->answered && !strncmp(text_str(&x->url), "http:", 5))
        return "; does it want https? See the URL";
    return "";
}

static const char *what_failed(struct http_exchange *x, CURLcode code)
{
    if (x->too_large)
        return "the answer is larger than 16 MiB";
    if (x->enough)
        return "no more of the answer was wanted";
    if (code == CURLE_OK)
        return "the connection closed within the answer's head";
    if (code == CURLE_ABORTED_BY_CALLBACK)
        return "the connection closed before an answer came";
    if (!x->error[0])
        snprintf(x->error, sizeof x->error, "%s", curl_easy_strerror(code));
    const char *advice = tls_advice(x, code);
    size_t len = strlen(x->error);
    snprintf(x->error + len, sizeof x->error - len, "%s", advice);
    return x->error;
}

/* How many have ended. */
static int finish(struct http *h)
{
    CURLMsg *message;
    int left, ended = 0;

    while ((message = curl_multi_info_read(h->multi, &left))) {
        struct http_exchange *x = NULL;
        struct http_response res = {.retry_after_ms = -1, .watched = "", .content_type = "", .error = ""};
        CURLcode code = message->data.result;
        long status = 0;
        char *type = NULL;

        if (message->msg != CURLMSG_DONE)
            continue;
        curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **)&x);
        struct timespec now;
        clock_gettime(CLOCK_MONOTONIC, &now);
        res.duration_us = (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000 - x->since_us;
        if (code == CURLE_OK && x->headed && !x->enough) {
            res.end = HTTP_ANSWERED;
            h->answered = true;
            curl_easy_getinfo(x->easy, CURLINFO_RESPONSE_CODE, &status);
            curl_easy_getinfo(x->easy, CURLINFO_CONTENT_TYPE, &type);
            res.status = (int)status;
            res.content_type = type ? type : "";
            res.body = text_str(&x->body);
            res.body_len = x->body.len;
            if (status >= 300)
                res.retry_after_ms = retry_after_ms(x->easy);
            if (x->watch)
                res.watched = watched(x);
        } else {
            res.end = x->started ? HTTP_UNKNOWN : HTTP_NOT_SENT;
            res.withheld = x->withheld && !x->started;
            res.body = "";
            res.error = what_failed(x, code);
        }
        curl_multi_remove_handle(h->multi, x->easy);
        unlink_exchange(x);
        INJECTION_POINT(call_answered);
        x->done(x->of, &res);
        INJECTION_POINT(call_done);
        retire(h, x);
        ended++;
    }
    return ended;
}

struct waiting {
    http_done *use;
    void *of;
    bool ended;
};

static void on_waited(void *of, const struct http_response *res)
{
    struct waiting *w = of;

    w->use(w->of, res);
    w->ended = true;
}

void http_wait(struct http *h, const char *root, const struct http_request *req, int timeout_ms, http_done *use,
               void *of)
{
    struct waiting w = {.use = use, .of = of};

    if (!http_send(h, root, req, timeout_ms, on_waited, &w)) {
        use(of, &(struct http_response){.end = HTTP_NOT_SENT, .content_type = "", .body = "", .watched = "",
                                        .retry_after_ms = -1, .error = "out of memory"});
        return;
    }
    while (!w.ended)
        loop_turn(h->loop, 1000);
}

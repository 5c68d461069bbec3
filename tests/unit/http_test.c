/* The vendor is a script: a listener on the very loop the exchanges run on. */
#include "common/http.h"

#include "common/loop.h"
#include "common/scoped.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

/* ---- the scripted server ---- */

enum then {
    KEEP,  /* the connection is kept */
    CLOSE, /* closed in good order */
    RESET, /* closed in bad order */
};

struct script {
    const char *answer; /* NULL: none */
    enum then then;
    size_t filler;      /* so many bytes more, before it closes */
};

struct talk {
    struct loop_fd watch;
    struct text in;
    const char *out;
    size_t out_len, filler;
    enum then then;
    int requests;
    struct talk *next;
};

static struct loop *loop;
static struct http *http;
static struct {
    int fd, port, connections, requests;
    struct loop_fd watch;
    const struct script *script; /* one for each request, the last for all that follow */
    int script_count;
    struct text request; /* the last one, whole */
    struct talk *talks;
} server;

static void hang_up(struct talk *t, enum then how)
{
    if (t->watch.fd < 0)
        return;
    if (how == RESET)
        setsockopt(t->watch.fd, SOL_SOCKET, SO_LINGER, &(struct linger){1, 0}, sizeof(struct linger));
    int fd = t->watch.fd;
    loop_watch(loop, &t->watch, fd, 0, NULL, NULL);
    close(fd);
    t->watch.fd = -1;
}

static void on_talk(void *of, uint32_t events);

static void send_rest(struct talk *t)
{
    static char filler[65536];

    while (t->out_len || t->filler) {
        size_t len = t->filler < sizeof filler ? t->filler : sizeof filler;
        ssize_t n = t->out_len ? send(t->watch.fd, t->out, t->out_len, MSG_NOSIGNAL)
                               : send(t->watch.fd, filler, len, MSG_NOSIGNAL);
        if (n < 0 && errno == EAGAIN) {
            loop_watch(loop, &t->watch, t->watch.fd, EPOLLIN | EPOLLOUT, on_talk, t);
            return;
        }
        if (n < 0) {
            hang_up(t, CLOSE);
            return;
        }
        if (t->out_len) {
            t->out += n;
            t->out_len -= (size_t)n;
        } else {
            t->filler -= (size_t)n;
        }
    }
    if (t->then != KEEP)
        hang_up(t, t->then);
    else
        loop_watch(loop, &t->watch, t->watch.fd, EPOLLIN, on_talk, t);
}

/* One whole request, when it is there. */
static void on_request(struct talk *t)
{
    const char *end = strstr(text_str(&t->in), "\r\n\r\n"), *length = strcasestr(text_str(&t->in), "\r\nContent-Length: ");

    if (!end)
        return;
    size_t want = (size_t)(end + 4 - t->in.at) + (length && length < end ? strtoull(length + 18, NULL, 10) : 0);
    if (t->in.len < want)
        return;
    text_clear(&server.request);
    text_add(&server.request, t->in.at, want);
    memmove(t->in.at, t->in.at + want, t->in.len - want + 1);
    t->in.len -= want;
    const struct script *s = &server.script[server.requests < server.script_count ? server.requests : server.script_count - 1];
    server.requests++;
    t->requests++;
    if (!s->answer && s->then == KEEP)
        return; /* silence */
    t->out = s->answer ? s->answer : "";
    t->out_len = strlen(t->out);
    t->filler = s->filler;
    t->then = s->then;
    send_rest(t);
}

static void on_talk(void *of, uint32_t events)
{
    struct talk *t = of;
    static char piece[65536];
    ssize_t n = 1;

    if (events & EPOLLOUT)
        send_rest(t);
    while (t->watch.fd >= 0 && (n = recv(t->watch.fd, piece, sizeof piece, MSG_DONTWAIT)) > 0)
        text_add(&t->in, piece, (size_t)n);
    if (t->watch.fd >= 0 && (!n || (n < 0 && errno != EAGAIN)))
        hang_up(t, CLOSE);
    else if (t->watch.fd >= 0)
        on_request(t);
}

static void on_connection(void *of, uint32_t events)
{
    int fd = accept4(server.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    struct talk *t = calloc(1, sizeof *t);

    (void)of;
    (void)events;
    assert_non_null(t);
    assert_true(fd >= 0);
    server.connections++;
    t->next = server.talks;
    server.talks = t;
    loop_watch(loop, &t->watch, fd, EPOLLIN, on_talk, t);
}

static int listen_somewhere(int *ret_port)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof at;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(listen(fd, 512), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &len), 0);
    *ret_port = ntohs(at.sin_port);
    return fd;
}

static char root[64];

static int set_up(void **state)
{
    (void)state;
    if (loop_open(&loop).kind || http_open(&http, loop, 100, NULL).kind)
        return 1;
    memset(&server, 0, sizeof server);
    server.fd = listen_somewhere(&server.port);
    loop_watch(loop, &server.watch, server.fd, EPOLLIN, on_connection, NULL);
    snprintf(root, sizeof root, "http://127.0.0.1:%d/base", server.port);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    http_close(http);
    for (struct talk *t; (t = server.talks);) {
        server.talks = t->next;
        hang_up(t, CLOSE);
        text_free(&t->in);
        free(t);
    }
    close(server.fd);
    text_free(&server.request);
    loop_close(loop);
    return 0;
}

static void play(const struct script *script, int count)
{
    server.script = script;
    server.script_count = count;
    server.requests = server.connections = 0;
}

/* ---- the exchange ---- */

static struct {
    int count;
    enum http_end end;
    bool withheld;
    int status;
    int64_t retry_after_ms, duration_us;
    size_t body_len;
    char body[64], type[64], watched[64], error[300];
} got;

static void note(void *of, const struct http_response *res)
{
    (void)of;
    got.count++;
    got.end = res->end;
    got.withheld = res->withheld;
    got.status = res->status;
    got.retry_after_ms = res->retry_after_ms;
    got.duration_us = res->duration_us;
    got.body_len = res->body_len;
    text_copy(got.body, sizeof got.body, res->body);
    text_copy(got.type, sizeof got.type, res->content_type);
    text_copy(got.watched, sizeof got.watched, res->watched);
    text_copy(got.error, sizeof got.error, res->error);
}

static void ask(const char *at, const char *method, const char *body, int timeout_ms)
{
    struct http_request req = {0};

    memset(&got, 0, sizeof got);
    http_request_reset(&req, method, "/persons");
    http_request_query(&req, "name", "M\xc3\xbcller");
    http_request_header(&req, "Authorization", "Bearer s3cret");
    text_puts(&req.body, body);
    req.watch = "X-Calls-Left";
    http_wait(http, at, &req, timeout_ms, note, NULL);
    http_request_free(&req);
    if (got.count != 1)
        fail_msg("ended %d times", got.count);
    if (strstr(got.error, "persons") || strstr(got.error, "name=") || strstr(got.error, "s3cret") || strstr(got.error, "base"))
        fail_msg("the error quotes the request: %s", got.error);
    if ((got.end == HTTP_ANSWERED) != !*got.error)
        fail_msg("end %d, and the error is \"%s\"", got.end, got.error);
    if (got.end != HTTP_ANSWERED && (got.status || got.body_len))
        fail_msg("not answered, but status %d and %zu bytes", got.status, got.body_len);
}

static void wait_ms(int ms)
{
    int64_t until;

    loop_turn(loop, 0);
    until = loop_now(loop) + ms * 1000;
    while (loop_now(loop) < until)
        loop_turn(loop, ms);
}

static void wait_for(int count)
{
    int64_t since = loop_now(loop);

    while (got.count < count && loop_now(loop) - since < 20000000)
        loop_turn(loop, 100);
    assert_int_equal(got.count, count);
}

static const struct script ok = {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", KEEP, 0};

static void test_not_sent(void **state)
{
    char refused[64], tls[64];
    int port;
    const struct {
        const char *when, *root;
    } roots[] = {
        {"nobody listens", refused},
        {"the name is not known", "http://nobody.invalid:80"},
        {"no TLS there", tls},
        {"not a name", "http://no body"},
    };
    static const struct script garbage = {"HTTP/1.1 400 Bad Request\r\n\r\n", CLOSE, 0};
    (void)state;

    close(listen_somewhere(&port));
    snprintf(refused, sizeof refused, "http://127.0.0.1:%d", port);
    snprintf(tls, sizeof tls, "https://127.0.0.1:%d", server.port);
    for (size_t i = 0; i < COUNT(roots); i++) {
        play(&garbage, 1);
        ask(roots[i].root, "POST", "{}", 2000);
        if (got.end != HTTP_NOT_SENT || server.requests)
            fail_msg("%s: end %d: %s", roots[i].when, got.end, got.error);
        if (got.duration_us < 0 || got.retry_after_ms != -1)
            fail_msg("%s: %lld us, wait %lld", roots[i].when, (long long)got.duration_us, (long long)got.retry_after_ms);
    }
}

/*
 * Resolving a name takes a socket of libcurl's own; the connection after it often has that one's number, and must be
 * watched all the same, or it hangs until the time-out.
 */
static void test_number_of_the_resolver(void **state)
{
    (void)state;
    play(&ok, 1);
    for (int i = 0; i < 3; i++) {
        ask("http://nobody.invalid:80", "GET", "", 5000);
        assert_int_equal(got.end, HTTP_NOT_SENT);
        struct http *fresh = http; /* no kept connection */
        assert_int_equal(http_open(&http, loop, 10, NULL).kind, FAULT_NONE);
        ask("http://nobody.invalid:80", "GET", "", 5000);
        ask(root, "GET", "", 5000);
        assert_int_equal(got.end, HTTP_ANSWERED);
        assert_true(got.duration_us < 2000000);
        http_close(http);
        http = fresh;
        ask(root, "GET", "", 5000);
        assert_int_equal(got.end, HTTP_ANSWERED);
    }
}

static void test_answered(void **state)
{
    static const int statuses[] = {200, 201, 202, 204, 300, 301, 302, 303, 304, 307, 308, 400, 401, 403, 404,
                                   409, 422, 429, 500, 502, 503, 504, 599};
    char answer[200];
    struct script s = {answer, KEEP, 0};
    (void)state;

    for (size_t i = 0; i < COUNT(statuses) * 2; i++) {
        int status = statuses[i / 2];
        bool bodyless = status == 204 || status == 304;
        snprintf(answer, sizeof answer, "HTTP/1.1 %d Said\r\nLocation: %s/elsewhere\r\nContent-Type: text/plain\r\n%s", status,
                 root, bodyless ? "\r\n" : "Content-Length: 4\r\n\r\nsaid");
        play(&s, 1);
        ask(root, i % 2 ? "POST" : "GET", "", 5000);
        if (got.end != HTTP_ANSWERED || got.status != status || strcmp(got.body, bodyless ? "" : "said") ||
            strcmp(got.type, "text/plain"))
            fail_msg("%d: end %d, status %d, \"%s\", %s: %s", status, got.end, got.status, got.body, got.type, got.error);
        if (server.requests != 1) /* no redirect is followed, nothing is tried again */
            fail_msg("%d: %d requests", status, server.requests);
    }
}

static void test_whole_answers(void **state)
{
    static const struct {
        const char *when;
        struct script script;
        int status;
        const char *body;
    } answers[] = {
        {"chunks", {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", KEEP, 0}, 200, "abcde"},
        {"as long as the connection", {"HTTP/1.0 200 OK\r\n\r\nabcde", CLOSE, 0}, 200, "abcde"},
        {"an announcement first", {"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Made\r\nContent-Length: 1\r\n\r\na", KEEP, 0}, 201, "a"},
        {"no phrase, no type", {"HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", KEEP, 0}, 200, ""},
        {"closed after it", {"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nConnection: close\r\n\r\na", CLOSE, 0}, 200, "a"},
    };
    (void)state;

    for (size_t i = 0; i < COUNT(answers); i++) {
        play(&answers[i].script, 1);
        ask(root, "GET", "", 5000);
        if (got.end != HTTP_ANSWERED || got.status != answers[i].status || strcmp(got.body, answers[i].body) || *got.type)
            fail_msg("%s: end %d, status %d, \"%s\": %s", answers[i].when, got.end, got.status, got.body, got.error);
    }
}

static void test_unknown(void **state)
{
    static const struct {
        const char *when;
        struct script script;
        int timeout_ms;
        const char *error;
    } ends[] = {
        {"closed before an answer", {NULL, CLOSE, 0}, 5000, ""},
        {"reset before an answer", {NULL, RESET, 0}, 5000, ""},
        {"closed within the head", {"HTTP/1.1 200 OK\r\nContent-Le", CLOSE, 0}, 5000, ""},
        {"closed within the body", {"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabcde", CLOSE, 0}, 5000, ""},
        {"closed before the body", {"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n", CLOSE, 0}, 5000, ""},
        {"reset within the body", {"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabcde", RESET, 0}, 5000, ""},
        {"closed between chunks", {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", CLOSE, 0}, 5000, ""},
        {"a chunk that is none", {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\nabc\r\n", CLOSE, 0}, 5000, ""},
        {"silence", {NULL, KEEP, 0}, 100, "timed out"},
        {"silence after the head", {"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n", KEEP, 0}, 100, "timed out"},
        {"silence after an announcement", {"HTTP/1.1 100 Continue\r\n\r\n", KEEP, 0}, 100, "timed out"},
        {"not HTTP", {"SSH-2.0-OpenSSH_9.2\r\n", CLOSE, 0}, 5000, ""},
        {"more than 16 MiB, announced", {"HTTP/1.1 200 OK\r\nContent-Length: 20000000\r\n\r\n", CLOSE, 20000000}, 20000, "16 MiB"},
        {"more than 16 MiB, without end", {"HTTP/1.1 200 OK\r\n\r\n", CLOSE, 20000000}, 20000, "16 MiB"},
    };
    (void)state;

    for (size_t i = 0; i < COUNT(ends); i++) {
        play(&ends[i].script, 1);
        ask(root, "POST", "{}", ends[i].timeout_ms);
        if (got.end != HTTP_UNKNOWN || !strstr(got.error, ends[i].error))
            fail_msg("%s: end %d: %s", ends[i].when, got.end, got.error);
        if (server.requests != 1)
            fail_msg("%s: %d requests", ends[i].when, server.requests);
    }
    play(&ok, 1);
    ask(root, "GET", "", 5000); /* and life goes on */
    assert_int_equal(got.end, HTTP_ANSWERED);
}

static void test_largest(void **state)
{
    static const struct script s = {"HTTP/1.1 200 OK\r\nContent-Length: 16777215\r\n\r\n", KEEP, HTTP_BODY_MAX - 1};
    (void)state;

    play(&s, 1);
    ask(root, "GET", "", 20000);
    assert_int_equal(got.end, HTTP_ANSWERED);
    assert_int_equal(got.body_len, HTTP_BODY_MAX - 1);
}

/* The time a request asks for goes before the service's. */
static void test_time_of_the_request(void **state)
{
    static const struct script silence = {NULL, KEEP, 0};
    struct http_request req = {0};
    (void)state;

    play(&silence, 1);
    memset(&got, 0, sizeof got);
    http_request_reset(&req, "GET", "/");
    req.timeout_ms = 50;
    http_wait(http, root, &req, 60000, note, NULL);
    assert_int_equal(got.end, HTTP_UNKNOWN);
    assert_in_range(got.duration_us, 40000, 10000000);
    http_request_free(&req);
}

/*
 * The server closes a kept connection when it has read the second request. libcurl would send it again by itself; but
 * nobody knows what the server did with the first.
 */
static void test_kept_connection_breaks(void **state)
{
    static const enum then hows[] = {CLOSE, RESET};
    static const char *const methods[] = {"GET", "POST"};
    (void)state;

    for (size_t i = 0; i < COUNT(hows) * COUNT(methods) * 4; i++) {
        const struct script script[] = {ok, {NULL, hows[i % 2], 0}, ok};

        play(script, 3);
        ask(root, "GET", "", 5000);
        assert_int_equal(got.end, HTTP_ANSWERED);
        int connections = server.connections;
        ask(root, methods[i / 2 % 2], "", 5000);
        if (got.end != HTTP_UNKNOWN)
            fail_msg("%s: end %d, status %d", methods[i / 2 % 2], got.end, got.status);
        assert_int_equal(server.requests, 2);
        ask(root, "GET", "", 5000);
        assert_int_equal(got.end, HTTP_ANSWERED);
        assert_int_equal(server.requests, 3);
        assert_true(server.connections > connections);
    }
}

/* Closed while idle: found out before anything is sent. */
static void test_kept_connection_closed(void **state)
{
    static const struct script script[] = {{"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", CLOSE, 0}};
    (void)state;

    play(script, 1);
    for (int i = 0; i < 5; i++) {
        ask(root, "POST", "{}", 5000);
        assert_int_equal(got.end, HTTP_ANSWERED);
        uint64_t turns = loop_turns(loop);
        wait_ms(30);
        assert_true(loop_turns(loop) - turns < 10); /* the closed socket does not keep the loop awake */
    }
    assert_int_equal(server.requests, 5);
    assert_int_equal(server.connections, 5);
}

static void test_retry_after(void **state)
{
    static const struct {
        const char *when;
        int status;
        const char *header; /* or "+60": a date so many seconds from now */
        int64_t least, most;
    } waits[] = {
        {"seconds", 503, "120", 120000, 120000},
        {"none", 503, NULL, -1, -1},
        {"at once", 429, "0", 0, 0},
        {"a date", 503, "+60", 58000, 60000},
        {"a date that has passed", 503, "-60", 0, 0},
        {"an old form of a date", 503, "Sunday, 06-Nov-94 08:49:37 GMT", 0, 0},
        {"words", 503, "soon", -1, -1},
        {"less than nothing", 503, "-5", -1, -1},
        {"a unit", 503, "5 minutes", -1, -1},
        {"nothing in it", 503, "", -1, -1},
        {"a year", 503, "31536000", 86400000, 86400000},
        {"more than there are", 503, "99999999999999999999", 86400000, 86400000},
        {"with a success it means nothing", 200, "120", -1, -1},
        {"with a redirect", 302, "7", 7000, 7000},
    };
    char answer[300], date[64];
    struct script s = {answer, KEEP, 0};
    (void)state;

    for (size_t i = 0; i < COUNT(waits); i++) {
        const char *header = waits[i].header;
        if (header && (*header == '+' || !strcmp(header, "-60"))) {
            time_t at = time(NULL) + atoi(header);
            strftime(date, sizeof date, "%a, %d %b %Y %H:%M:%S GMT", gmtime(&at));
            header = date;
        }
        snprintf(answer, sizeof answer, "HTTP/1.1 %d Said\r\n%s%s%sContent-Length: 0\r\n\r\n", waits[i].status,
                 header ? "retry-after: " : "", header ? header : "", header ? "\r\n" : "");
        play(&s, 1);
        ask(root, "GET", "", 5000);
        if (got.end != HTTP_ANSWERED || got.retry_after_ms < waits[i].least || got.retry_after_ms > waits[i].most)
            fail_msg("%s: end %d, %lld ms", waits[i].when, got.end, (long long)got.retry_after_ms);
    }
}

static void test_watched(void **state)
{
    static const struct {
        const char *when;
        struct script script;
        const char *want;
    } answers[] = {
        {"there", {"HTTP/1.1 200 OK\r\nX-Calls-Left: 42\r\nContent-Length: 0\r\n\r\n", KEEP, 0}, "42"},
        {"small letters", {"HTTP/1.1 429 No\r\nx-calls-left:7 \r\nContent-Length: 0\r\n\r\n", KEEP, 0}, "7"},
        {"empty", {"HTTP/1.1 200 OK\r\nX-Calls-Left:\r\nContent-Length: 0\r\n\r\n", KEEP, 0}, ""},
        {"absent", {"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", KEEP, 0}, ""},
        {"no answer", {"HTTP/1.1 200 OK\r\nX-Calls-Left: 42\r\nContent-Length: 5\r\n\r\n", CLOSE, 0}, ""},
        {"often", {"HTTP/1.1 200 OK\r\nX-Calls-Left: 42\r\nX: 1\r\nx-calls-left: 41\r\nContent-Length: 0\r\n\r\n", KEEP, 0},
         "42\n41"},
        {"and once again", {"HTTP/1.1 200 OK\r\nX-Calls-Left: 40\r\nContent-Length: 0\r\n\r\n", KEEP, 0}, "40"},
    };
    (void)state;

    for (size_t i = 0; i < COUNT(answers); i++) {
        play(&answers[i].script, 1);
        ask(root, "GET", "", 5000);
        if (strcmp(got.watched, answers[i].want))
            fail_msg("%s: \"%s\"", answers[i].when, got.watched);
    }
}

static void test_requests(void **state)
{
    static const struct {
        const char *when, *method;
        size_t body_len;
        const char *has, *has_not;
    } requests[] = {
        {"a GET", "GET", 0, "GET /base/persons?name=M%C3%BCller HTTP/1.1\r\n", "Content-Length"},
        {"its headers", "GET", 0, "\r\nAuthorization: Bearer s3cret\r\n", "Expect"},
        {"an empty POST", "POST", 0, "\r\nContent-Length: 0\r\n", "Expect"},
        {"a GET after it", "GET", 0, "GET /base/persons", "Content-Length"},
        {"a POST", "POST", 10, "\r\nContent-Length: 10\r\n", "Expect"},
        {"a POST of 1 MB", "POST", 1000000, "\r\nContent-Length: 1000000\r\n", "Expect"},
        {"one byte more", "POST", 1000001, "\r\nContent-Length: 1000001\r\n", "Expect"},
        {"a large POST", "POST", 5000000, "\r\nContent-Length: 5000000\r\n", "Expect"},
        {"a small one after it", "POST", 1, "\r\nContent-Length: 1\r\n", "Expect"},
        {"a DELETE", "DELETE", 0, "DELETE /base/persons", "Content-Length"},
        {"a POST after it", "POST", 2, "POST /base/persons", "DELETE"},
        {"a PUT", "PUT", 100, "PUT /base/persons", "POST"},
        {"a GET after that", "GET", 0, "GET /base/persons", "PUT"},
    };
    struct text body = {0};
    (void)state;

    play(&ok, 1);
    for (size_t i = 0; i < COUNT(requests); i++) {
        text_clear(&body);
        for (size_t n = 0; n < requests[i].body_len; n++)
            text_putc(&body, 'x');
        ask(root, requests[i].method, text_str(&body), 20000);
        const char *head = text_str(&server.request), *rest = strstr(head, "\r\n\r\n");
        if (got.end != HTTP_ANSWERED)
            fail_msg("%s: end %d: %s", requests[i].when, got.end, got.error);
        if (!rest || strlen(rest + 4) != requests[i].body_len)
            fail_msg("%s: a body of %zu bytes", requests[i].when, rest ? strlen(rest + 4) : 0);
        if (!strstr(head, requests[i].has) || strstr(head, requests[i].has_not))
            fail_msg("%s:\n%.500s", requests[i].when, head);
    }
    assert_int_equal(server.connections, 1);
    text_free(&body);
}

/* A target goes out as it is, and nothing of it can become a header; one exchange after another uses the same handle. */
static void test_targets(void **state)
{
    static const struct {
        const char *target, *line; /* NULL: nothing is sent */
    } targets[] = {
        {"/a/%2E%2E/b?q=%0D%0A", "GET /base/a/%2E%2E/b?q=%0D%0A HTTP/1.1\r\n"},
        {"/a/../b", "GET /base/a/../b HTTP/1.1\r\n"},
        {"/", "GET /base/ HTTP/1.1\r\n"},
        {"", "GET /base HTTP/1.1\r\n"},
        {"?q=1", "GET /base?q=1 HTTP/1.1\r\n"},
        {"/a#b", "GET /base/a HTTP/1.1\r\n"},
        {"/a b", NULL},
        {"/a\r\nX-Header: 1", NULL},
        {"/after", "GET /base/after HTTP/1.1\r\n"},
    };
    char other[64];
    (void)state;

    play(&ok, 1);
    for (size_t i = 0; i < COUNT(targets); i++) {
        struct http_request req = {0};
        memset(&got, 0, sizeof got);
        text_clear(&server.request);
        http_request_reset(&req, "GET", targets[i].target);
        http_wait(http, root, &req, 5000, note, NULL);
        if (got.end != (targets[i].line ? HTTP_ANSWERED : HTTP_NOT_SENT))
            fail_msg("%s: end %d: %s", targets[i].target, got.end, got.error);
        if (targets[i].line && strncmp(text_str(&server.request), targets[i].line, strlen(targets[i].line)) != 0)
            fail_msg("%s: %.100s", targets[i].target, text_str(&server.request));
        if (!targets[i].line && server.request.len)
            fail_msg("%s: sent %.100s", targets[i].target, text_str(&server.request));
        http_request_free(&req);
    }
    snprintf(other, sizeof other, "http://localhost:%d", server.port); /* another service, on the handle of the first */
    ask(other, "GET", "", 5000);
    assert_non_null(strstr(text_str(&server.request), "GET /persons?"));
    assert_non_null(strstr(text_str(&server.request), "Host: localhost:"));
}

/* A proxy wants the whole URL, and so does whoever names one. */
static void test_proxy(void **state)
{
    char proxy[64];
    (void)state;

    snprintf(proxy, sizeof proxy, "http://127.0.0.1:%d", server.port);
    http_close(http);
    setenv("http_proxy", proxy, 1);
    struct fault f = http_open(&http, loop, 100, NULL);
    assert_int_equal(f.kind, FAULT_NONE);
    play(&ok, 1);
    ask("http://gate.example.edu/base", "GET", "", 5000);
    unsetenv("http_proxy");
    assert_int_equal(got.end, HTTP_ANSWERED);
    assert_non_null(strstr(text_str(&server.request), "GET http://gate.example.edu/base/persons?name="));
}

static void test_impossible(void **state)
{
    struct http_request req = {0};
    (void)state;

    memset(&got, 0, sizeof got);
    http_request_reset(&req, "GET", "/");
    for (int i = 0; i < HTTP_HEADERS_MAX; i++)
        http_request_header(&req, "X-Header", "1");
    struct http_exchange *x = http_send(http, root, &req, 5000, note, NULL);
    assert_non_null(x);
    http_cancel(http, x);
    http_request_header(&req, "X-Header", "1"); /* one too many: rather nothing than half of it */
    assert_null(http_send(http, root, &req, 5000, note, NULL));
    http_wait(http, root, &req, 5000, note, NULL);
    assert_int_equal(got.count, 1);
    assert_int_equal(got.end, HTTP_NOT_SENT);
    http_request_reset(&req, "GET", "/");
    x = http_send(http, root, &req, 5000, note, NULL);
    assert_non_null(x); /* reset is as new */
    http_cancel(http, x);
    for (size_t i = 0; i < TEXT_MAX / sizeof "a body"; i++)
        text_add(&req.body, "a body ", sizeof "a body");
    text_puts(&req.body, "and its end");
    assert_true(req.body.failed); /* nor does the beginning of a body leave */
    assert_null(http_send(http, root, &req, 5000, note, NULL));
    http_request_free(&req);
}

static void test_query(void **state)
{
    struct http_request req = {0};
    (void)state;

    http_request_reset(&req, "GET", "/a");
    http_request_query(&req, "q", "a b&c=d#?/%+");
    http_request_query(&req, "n", "");
    assert_string_equal(text_str(&req.target), "/a?q=a%20b%26c%3Dd%23%3F%2F%25%2B&n=");
    http_request_reset(&req, "GET", "/b?x=1");
    http_request_query(&req, "n", "2");
    assert_string_equal(text_str(&req.target), "/b?x=1&n=2");
    http_request_free(&req);
}

static void test_parallel(void **state)
{
    struct http_request req = {0};
    (void)state;

    http_request_reset(&req, "POST", "/");
    play(&ok, 1);
    for (int round = 1; round <= 3; round++) {
        memset(&got, 0, sizeof got);
        for (int i = 0; i < 100; i++)
            assert_non_null(http_send(http, root, &req, 20000, note, NULL));
        assert_int_equal(got.count, 0); /* by the callback, later */
        wait_for(100);
        assert_int_equal(got.end, HTTP_ANSWERED);
        assert_int_equal(server.requests, round * 100);
        assert_in_range(server.connections, 1, 100); /* kept, and used again */
    }
    uint64_t turns = loop_turns(loop);
    wait_ms(50);
    assert_true(loop_turns(loop) - turns < 20); /* a hundred idle connections keep nobody awake */
    http_request_free(&req);
}

static struct http_request chained;
static int links;

static void next_link(void *of, const struct http_response *res)
{
    note(of, res);
    if (res->end == HTTP_ANSWERED && --links > 0)
        assert_non_null(http_send(http, root, &chained, 5000, next_link, NULL));
}

/* An answer starts the next exchange. */
/* What http_push is for: on a kept connection a request is gone before the loop turns. */
static void test_push(void **state)
{
    struct http_request req = {0};
    char first;
    (void)state;

    play(&ok, 1);
    ask(root, "GET", "", 5000);
    memset(&got, 0, sizeof got);
    http_request_reset(&req, "GET", "/pushed");
    assert_non_null(http_send(http, root, &req, 5000, note, NULL));
    assert_int_equal(recv(server.talks->watch.fd, &first, 1, MSG_PEEK | MSG_DONTWAIT), -1);
    assert_false(http_push(http));
    assert_int_equal(recv(server.talks->watch.fd, &first, 1, MSG_PEEK | MSG_DONTWAIT), 1);
    assert_int_equal(got.count, 0);
    wait_for(1);
    assert_int_equal(got.end, HTTP_ANSWERED);
    assert_false(http_push(http)); /* nothing is there to be sent */
    http_request_free(&req);
}

static void test_chain(void **state)
{
    (void)state;
    http_request_reset(&chained, "GET", "/");
    play(&ok, 1);
    memset(&got, 0, sizeof got);
    links = 20;
    for (int i = 0; i < 3; i++)
        assert_non_null(http_send(http, root, &chained, 5000, next_link, NULL));
    wait_for(22);
    assert_int_equal(server.requests, 22);
    http_request_free(&chained);
}

static void test_cancel(void **state)
{
    static const struct script script[] = {{NULL, KEEP, 0}, {NULL, KEEP, 0}, {"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", KEEP, 0}};
    struct http_request req = {0};
    struct http_exchange *x[2];
    (void)state;

    http_request_reset(&req, "POST", "/");
    memset(&got, 0, sizeof got);
    play(script, 3);
    for (int i = 0; i < 2; i++)
        assert_non_null(x[i] = http_send(http, root, &req, 60000, note, NULL));
    http_cancel(http, x[0]); /* before it has left */
    while (server.requests < 1)
        loop_turn(loop, 100);
    http_cancel(http, x[1]); /* while the answer is waited for */
    wait_ms(30);
    assert_int_equal(got.count, 0);
    play(&script[2], 1);
    ask(root, "GET", "", 5000);
    assert_int_equal(got.end, HTTP_ANSWERED);
    http_request_free(&req);
}

static bool says(void *of)
{
    int *asked = of;

    return ++asked[1] && asked[0];
}

/* Whoever is asked at the last moment decides, on a new connection and on a kept one; nothing left means nothing came. */
static void test_withheld(void **state)
{
    int may[2] = {0, 0};
    struct http_request req = {0};
    (void)state;

    http_request_reset(&req, "POST", "/");
    assert_null(req.may_leave);
    req.may_leave = says;
    req.may_leave_of = may;
    play(&ok, 1);
    for (int i = 0; i < 4; i++) {
        memset(&got, 0, sizeof got);
        may[0] = i % 2;
        http_wait(http, root, &req, 5000, note, NULL);
        assert_int_equal(may[1], i + 1);
        assert_int_equal(got.withheld, !may[0]);
        assert_int_equal(got.end, may[0] ? HTTP_ANSWERED : HTTP_NOT_SENT);
        assert_int_equal(server.requests, (i + 1) / 2);
    }
    ask("http://127.0.0.1:1", "POST", "", 5000);
    assert_int_equal(got.end, HTTP_NOT_SENT);
    assert_false(got.withheld);
    http_request_free(&req);
}

/* ---- bodies taken as they arrive ---- */

static struct {
    enum http_taken then[3]; /* of the first pieces; the rest are taken */
    int pieces;
    size_t bytes, most;
    int64_t whole_len;
    bool resumed;
} taken;

static enum http_taken take(void *of, const struct http_piece *piece)
{
    enum http_taken then = taken.pieces < 3 ? taken.then[taken.pieces] : HTTP_TAKEN;

    (void)of;
    taken.pieces++;
    taken.whole_len = piece->whole_len;
    if (piece->len > taken.most)
        taken.most = piece->len;
    if (then == HTTP_TAKEN)
        taken.bytes += piece->len;
    return then;
}

static void test_taken(void **state)
{
    static const struct {
        const char *when;
        struct script script;
        enum http_taken then[3];
        enum http_end end;
        int status;
        size_t bytes, kept;
        int64_t whole_len;
    } rows[] = {
        {"larger than what may be kept", {"HTTP/1.1 200 OK\r\nContent-Length: 20000000\r\n\r\n", KEEP, 20000000},
         {HTTP_TAKEN}, HTTP_ANSWERED, 200, 20000000, 0, 20000000},
        {"there was no room for a while", {"HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n", KEEP, 300000},
         {HTTP_NOT_NOW, HTTP_NOT_NOW, HTTP_TAKEN}, HTTP_ANSWERED, 200, 300000, 0, 300000},
        {"its length is not said", {"HTTP/1.1 200 OK\r\n\r\n", CLOSE, 100000}, {HTTP_TAKEN}, HTTP_ANSWERED, 200, 100000, 0, -1},
        {"an error is kept", {"HTTP/1.1 500 Unwell\r\nContent-Length: 4\r\n\r\nwell", KEEP, 0}, {HTTP_TAKEN}, HTTP_ANSWERED, 500, 0, 4, 0},
        {"no more is wanted", {"HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n", KEEP, 300000},
         {HTTP_TAKEN, HTTP_ENOUGH}, HTTP_UNKNOWN, 0, 0, 0, 300000},
        {"no more is wanted, after a pause", {"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nthat's it", KEEP, 0},
         {HTTP_NOT_NOW, HTTP_ENOUGH}, HTTP_UNKNOWN, 0, 0, 0, 9},
        {"it is cut short", {"HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n", CLOSE, 1000}, {HTTP_TAKEN}, HTTP_UNKNOWN, 0, 1000, 0, 300000},
        {"it falls silent", {"HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\nso", KEEP, 0}, {HTTP_TAKEN}, HTTP_UNKNOWN, 0, 2, 0, 300000},
    };
    (void)state;

    for (size_t i = 0; i < COUNT(rows); i++) {
        struct http_request req = {0};
        memset(&got, 0, sizeof got);
        memset(&taken, 0, sizeof taken);
        memcpy(taken.then, rows[i].then, sizeof taken.then);
        play(&rows[i].script, 1);
        http_request_reset(&req, "GET", "/");
        req.take = take;
        struct http_exchange *x = http_send(http, root, &req, 1000, note, NULL);
        for (int64_t since = loop_now(loop); !got.count && loop_now(loop) - since < 20000000;) {
            int pieces = taken.pieces;
            loop_turn(loop, 20);
            if (!got.count && taken.pieces && pieces == taken.pieces) /* nothing more comes by itself */
                http_resume(http, x);
        }
        if (got.count != 1 || got.end != rows[i].end || got.status != rows[i].status || got.body_len != rows[i].kept ||
            (rows[i].bytes && taken.bytes != rows[i].bytes) || (taken.pieces && taken.whole_len != rows[i].whole_len))
            fail_msg("%s: ended %d times, end %d, status %d, %zu bytes taken, %zu kept: %s", rows[i].when, got.count, got.end,
                     got.status, taken.bytes, got.body_len, got.error);
        if (taken.most > 128 * 1024)
            fail_msg("%s: a piece of %zu bytes", rows[i].when, taken.most);
        http_request_free(&req);
    }
    play(&ok, 1);
    ask(root, "GET", "", 5000); /* the next request keeps its answer, and its time is of the whole */
    assert_int_equal(got.body_len, 2);
}

/* With exchanges resolving, connecting and waiting: no callback, and nothing is left behind. */
static void test_close(void **state)
{
    static const struct script silence = {NULL, KEEP, 0};
    struct http_request req = {0};
    (void)state;

    http_request_reset(&req, "POST", "/");
    memset(&got, 0, sizeof got);
    play(&silence, 1);
    for (int i = 0; i < 10; i++)
        assert_non_null(http_send(http, root, &req, 60000, note, NULL));
    while (server.requests < 5)
        loop_turn(loop, 100);
    for (int i = 0; i < 5; i++)
        assert_non_null(http_send(http, root, &req, 60000, note, NULL));
    assert_non_null(http_send(http, "http://nobody.invalid", &req, 60000, note, NULL));
    http_close(http);
    assert_int_equal(got.count, 0);
    wait_ms(20);
    assert_int_equal(got.count, 0);
    assert_int_equal(http_open(&http, loop, 1, NULL).kind, FAULT_NONE);
    http_request_free(&req);
}

static void test_open(void **state)
{
    struct http *h;
    (void)state;

    struct fault f = http_open(&h, loop, 1, "/nonexistent/ca.pem");
    assert_int_equal(f.kind, FAULT_MISUSE);
    assert_null(h);
    assert_non_null(strstr(f.what, "/nonexistent/ca.pem"));
    http_close(NULL);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_not_sent),
        TEST(test_number_of_the_resolver),
        TEST(test_answered),
        TEST(test_whole_answers),
        TEST(test_unknown),
        TEST(test_largest),
        TEST(test_time_of_the_request),
        TEST(test_kept_connection_breaks),
        TEST(test_kept_connection_closed),
        TEST(test_retry_after),
        TEST(test_watched),
        TEST(test_requests),
        TEST(test_targets),
        TEST(test_proxy),
        TEST(test_impossible),
        TEST(test_query),
        TEST(test_parallel),
        TEST(test_push),
        TEST(test_chain),
        TEST(test_cancel),
        TEST(test_withheld),
        TEST(test_taken),
        TEST(test_close),
        TEST(test_open),
    };

    unsetenv("http_proxy");
    unsetenv("all_proxy");
    unsetenv("ALL_PROXY");
    return cmocka_run_group_tests_name("http", tests, NULL, NULL);
}

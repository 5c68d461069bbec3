#include "server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#define BODY_MAX ((size_t)1 << 29)
#define KEEP_MAX ((size_t)1 << 18)       /* a buffer that grew beyond this is given back */
#define QUANTUM_NS (NS_PER_MS / 4)
#define TURN_MAX ((size_t)1 << 20)       /* of a long answer, before the other connections have theirs */
#define DOORS_MAX 8
#define CHUNK_DIGITS 8
#define NOT_WAITING SIZE_MAX

enum source { SOURCE_DOOR, SOURCE_SIGNAL, SOURCE_CONN };

struct door { enum source source; int fd, port; const struct vendor *vendor; };
struct span { size_t at, len; };

enum { SPAN_AUTHORIZATION, SPAN_TOKEN, SPAN_ACCEPT, SPAN_CONTENT_TYPE, SPAN_EXPECT,
       SPAN_OKAPI_TENANT, SPAN_OKAPI_TOKEN, SPAN_COOKIE, SPAN_WISE_KEY, SPAN_HEADERS };

struct conn {
    enum source source;
    int fd;                              /* -1: the client has left, the effect is still to come */
    const struct vendor *vendor;         /* of its last request, or of the door it came through */
    struct conn *previous, *next;
    http_parser parser;
    struct text in;
    size_t parsed;
    struct span target, body, field, headers[SPAN_HEADERS], *value;
    bool field_done, complete, keep_alive, readable, busy, writing;
    struct exchange x;
    struct text head;
    size_t sent, send_len;
    enum piece piece;                    /* the one in the body; PIECE_LAST also when all of it is in memory */
    bool chunked;
    size_t room;                         /* payload that may still come in pieces */
    int64_t due_ns;
    size_t heap_at;
};

static const struct { const char *name; size_t len; } header_names[SPAN_HEADERS] = {
    { "authorization", 13 }, { "token", 5 }, { "accept", 6 }, { "content-type", 12 }, { "expect", 6 },
    { "x-okapi-tenant", 14 }, { "x-okapi-token", 13 }, { "cookie", 6 }, { "wise_key", 8 },
};

static int epoll_fd = -1, signal_fd = -1;
static char listen_address[64];
static struct door doors[DOORS_MAX];
static size_t door_count;
static struct conn *conns, *dead, *current;
static uint32_t last_connection;
static struct { struct conn **at; size_t count, cap; } heap;

/* ---- answers that wait ---- */

static void heap_set(size_t at, struct conn *c)
{
    heap.at[at] = c;
    c->heap_at = at;
}

static void heap_up(size_t at, struct conn *c)
{
    while (at && heap.at[(at - 1) / 2]->due_ns > c->due_ns) {
        heap_set(at, heap.at[(at - 1) / 2]);
        at = (at - 1) / 2;
    }
    heap_set(at, c);
}

static void heap_down(size_t at, struct conn *c)
{
    for (;;) {
        size_t child = 2 * at + 1;

        if (child >= heap.count)
            break;
        if (child + 1 < heap.count && heap.at[child + 1]->due_ns < heap.at[child]->due_ns)
            child++;
        if (heap.at[child]->due_ns >= c->due_ns)
            break;
        heap_set(at, heap.at[child]);
        at = child;
    }
    heap_set(at, c);
}

static void wait_exactly(struct conn *c, int64_t due_ns)
{
    c->due_ns = due_ns;
    if (heap.count == heap.cap) {
        heap.cap = heap.cap ? heap.cap * 2 : 1024;
        heap.at = memory(heap.at, heap.cap * sizeof(struct conn *));
    }
    heap_up(heap.count++, c);
}

static void wait_until(struct conn *c, int64_t due_ns)
{
    wait_exactly(c, (due_ns + QUANTUM_NS - 1) / QUANTUM_NS * QUANTUM_NS);
}

static void wait_no_more(struct conn *c)
{
    size_t at = c->heap_at;
    struct conn *last;

    if (at == NOT_WAITING)
        return;
    c->heap_at = NOT_WAITING;
    last = heap.at[--heap.count];
    if (last == c)
        return;
    if (at && heap.at[(at - 1) / 2]->due_ns > last->due_ns)
        heap_up(at, last);
    else
        heap_down(at, last);
}

/* ---- connections ---- */

static void conn_unlink(struct conn *c)
{
    if (c->previous)
        c->previous->next = c->next;
    else
        conns = c->next;
    if (c->next)
        c->next->previous = c->previous;
}

/* Memory goes later: the batch of events at hand may still name it. */
static void conn_close(struct conn *c, enum outcome outcome, bool by_reset)
{
    struct linger at_once = { 1, 0 };

    if (c->busy)
        exchange_done(&c->x, outcome);
    c->busy = false;
    wait_no_more(c);
    if (by_reset && c->fd >= 0)
        setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    if (c->fd >= 0)
        close(c->fd);
    c->fd = -1;
    conn_unlink(c);
    c->next = dead;
    dead = c;
    c->source = SOURCE_CONN;
    c->complete = c->writing = c->readable = false;
    c->keep_alive = false;
}

static void bury(void)
{
    while (dead) {
        struct conn *c = dead;

        dead = c->next;
        text_release(&c->in);
        text_release(&c->head);
        exchange_release(&c->x);
        free(c);
    }
}

static void text_shrink(struct text *t)
{
    if (t->cap > KEEP_MAX && t->len < KEEP_MAX / 4) {
        t->at = memory(t->at, KEEP_MAX / 4);
        t->cap = KEEP_MAX / 4;
    }
}

/* ---- reading a request ---- */

static void span_grow(struct span *s, const struct conn *c, const char *at, size_t len)
{
    if (!s->len)
        s->at = (size_t)(at - c->in.at);
    s->len += len;
}

static int on_url(http_parser *p, const char *at, size_t len)
{
    struct conn *c = p->data;

    span_grow(&c->target, c, at, len);
    return 0;
}

static int on_field(http_parser *p, const char *at, size_t len)
{
    struct conn *c = p->data;

    if (c->field_done)
        c->field.len = 0;
    c->field_done = false;
    span_grow(&c->field, c, at, len);
    return 0;
}

static int on_value(http_parser *p, const char *at, size_t len)
{
    struct conn *c = p->data;

    if (!c->field_done) {
        struct slice name = { c->in.at + c->field.at, c->field.len };

        c->field_done = true;
        c->value = NULL;
        for (size_t i = 0; i < SPAN_HEADERS; i++)
            if (name.len == header_names[i].len
                && slice_same_nocase(name, (struct slice){ header_names[i].name, name.len }))
                c->value = &c->headers[i];
        if (c->value)
            c->value->len = 0;
    }
    if (c->value)
        span_grow(c->value, c, at, len);
    return 0;
}

static int on_headers(http_parser *p)
{
    static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";
    struct conn *c = p->data;

    if (c->headers[SPAN_EXPECT].len && send(c->fd, go_on, sizeof go_on - 1, MSG_NOSIGNAL) < 0)
        return -1;
    return 0;
}

/* The pieces of a chunked body are moved together; those of any other are together already. */
static int on_body(http_parser *p, const char *at, size_t len)
{
    struct conn *c = p->data;
    char *end;

    if (!c->body.len)
        c->body.at = (size_t)(at - c->in.at);
    end = c->in.at + c->body.at + c->body.len;
    if (end != at)
        memmove(end, at, len);
    c->body.len += len;
    return c->body.len > BODY_MAX ? -1 : 0;
}

static int on_complete(http_parser *p)
{
    struct conn *c = p->data;

    c->complete = true;
    c->keep_alive = http_should_keep_alive(p);
    http_parser_pause(p, 1);
    return 0;
}

static const http_parser_settings parser_settings = {
    .on_url = on_url, .on_header_field = on_field, .on_header_value = on_value, .on_headers_complete = on_headers,
    .on_body = on_body, .on_message_complete = on_complete,
};

static struct slice slice_at(const struct conn *c, struct span s)
{
    return (struct slice){ s.len ? c->in.at + s.at : NULL, s.len };
}

static void request_fill(struct conn *c)
{
    struct request *req = &c->x.req;
    struct slice target = slice_at(c, c->target);
    const char *mark = target.len ? memchr(target.at, '?', target.len) : NULL;
    size_t path_len = mark ? (size_t)(mark - target.at) : target.len;

    req->method = c->parser.method;
    req->target = target;
    req->path = (struct slice){ target.at, path_len };
    req->query = mark ? (struct slice){ mark + 1, target.len - path_len - 1 } : (struct slice){ NULL, 0 };
    req->body = slice_at(c, c->body);
    req->authorization = slice_at(c, c->headers[SPAN_AUTHORIZATION]);
    req->token = slice_at(c, c->headers[SPAN_TOKEN]);
    req->accept = slice_at(c, c->headers[SPAN_ACCEPT]);
    req->content_type = slice_at(c, c->headers[SPAN_CONTENT_TYPE]);
    req->okapi_tenant = slice_at(c, c->headers[SPAN_OKAPI_TENANT]);
    req->okapi_token = slice_at(c, c->headers[SPAN_OKAPI_TOKEN]);
    req->cookie = slice_at(c, c->headers[SPAN_COOKIE]);
    req->wise_key = slice_at(c, c->headers[SPAN_WISE_KEY]);
}

/* ---- answering ---- */

static const char *usual_reason(int status)
{
    switch (status) {
#define XX(number, name, string) case number: return #string;
        HTTP_STATUS_MAP(XX)
#undef XX
    default: return "Unknown";
    }
}

/* Everything that belongs to the request is over; what came behind it moves to the front. */
static void request_forget(struct conn *c)
{
    size_t rest = c->in.len - c->parsed;

    memmove(c->in.at, c->in.at + c->parsed, rest);
    c->in.len = rest;
    c->parsed = 0;
    c->busy = c->writing = c->complete = false;
    c->target = c->body = c->field = (struct span){ 0 };
    memset(c->headers, 0, sizeof c->headers);
    text_shrink(&c->in);
    c->x.answer.body.len = 0;
    text_shrink(&c->x.answer.body);
}

/* Sends what is at hand; false when the rest must wait, or the client has left. */
static bool conn_send(struct conn *c)
{
    const struct text *body = &c->x.answer.body;

    while (c->sent < c->send_len) {
        size_t in_head = c->sent < c->head.len ? c->head.len - c->sent : 0;
        size_t in_body = c->sent < c->head.len ? 0 : c->sent - c->head.len;
        struct iovec pieces[2] = {
            { c->head.at + (in_head ? c->sent : 0), in_head },
            { body->at + in_body, c->send_len - c->sent - in_head },
        };
        struct msghdr message = { .msg_iov = in_head ? pieces : pieces + 1,
                                  .msg_iovlen = 1U + (in_head && pieces[1].iov_len) };
        ssize_t sent = sendmsg(c->fd, &message, MSG_NOSIGNAL);

        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            return false;
        if (sent < 0) {
            conn_close(c, OUTCOME_LEFT, false);
            return false;
        }
        c->sent += (size_t)sent;
    }
    return true;
}

static void chunk_close(struct text *body, size_t len)
{
    static const char hex[] = "0123456789abcdef";

    for (size_t i = 0; i < CHUNK_DIGITS; i++)
        body->at[i] = hex[len >> (4 * (CHUNK_DIGITS - 1 - i)) & 15];
    text_str(body, "\r\n");
}

/* Makes the next piece. A truncated answer ends in mid-piece; one that does not come to what it announced is broken. */
static void conn_refill(struct conn *c)
{
    struct pieces *p = &c->x.answer.pieces;
    struct text *body = &c->x.answer.body;
    bool truncated = c->x.ending == END_TRUNCATE;
    size_t before, len;

    c->head.len = body->len = c->sent = 0;
    if (c->chunked)
        text_str(body, "00000000\r\n");
    before = body->len;
    c->piece = p->next(p->state, body);
    len = body->len - before;
    if (len > c->room || (c->piece == PIECE_LAST && !c->chunked && len < c->room))
        c->piece = truncated ? PIECE_LAST : PIECE_BROKEN;
    if (c->piece == PIECE_BROKEN)
        len = 0;
    else if (len > c->room)
        len = c->room;
    body->len = before + len;
    c->room -= len;
    if (c->chunked && len)
        chunk_close(body, len);
    else if (c->chunked)
        body->len = 0;
    if (c->chunked && c->piece == PIECE_LAST && !truncated)
        text_str(body, "0\r\n\r\n");
    c->send_len = body->len;
}

static void conn_flush(struct conn *c)
{
    size_t turn = 0;

    c->writing = true;
    wait_no_more(c);
    while (conn_send(c) && c->piece == PIECE_MORE && turn < TURN_MAX) {
        conn_refill(c);
        turn += c->send_len;
    }
    if (c->fd < 0 || c->sent < c->send_len)
        return;
    if (c->piece == PIECE_MORE) {
        wait_exactly(c, clock_ns());
        return;
    }
    if (c->piece == PIECE_BROKEN) {
        conn_close(c, OUTCOME_DROPPED, false);
        return;
    }
    if (c->x.ending == END_TRUNCATE) {
        conn_close(c, OUTCOME_DROPPED, false);
        return;
    }
    exchange_done(&c->x, OUTCOME_ANSWERED);
    c->busy = false;
    if (!c->keep_alive)
        conn_close(c, OUTCOME_ANSWERED, false);
    else
        request_forget(c);
}

static void head_number(struct text *head, size_t n)
{
    char digits[24];
    size_t at = sizeof digits;

    do
        digits[--at] = (char)('0' + n % 10);
    while (n /= 10);
    text_add(head, digits + at, sizeof digits - at);
}

/* How long the body is; a chunked one may be of any length, and is measured only to be cut in the middle. */
static size_t conn_measure(struct conn *c)
{
    struct answer *a = &c->x.answer;
    struct pieces *p = &a->pieces;
    bool truncated = c->x.ending == END_TRUNCATE;
    size_t len;

    c->piece = p->next ? PIECE_MORE : PIECE_LAST;
    c->chunked = p->next && !p->announced && (c->parser.http_major > 1 || c->parser.http_minor);
    if (!p->next)
        return a->status == 204 ? 0 : a->body.len;
    len = c->chunked && !truncated ? SIZE_MAX : p->length(p->state);
    c->room = truncated ? len / 2 : len;
    return len;
}

static void conn_answer(struct conn *c)
{
    struct answer *a = &c->x.answer;
    struct text *head = &c->head;
    size_t len;

    if (c->x.ending == END_CLOSE || c->x.ending == END_RESET) {
        conn_close(c, OUTCOME_DROPPED, c->x.ending == END_RESET);
        return;
    }
    len = conn_measure(c);
    head->len = 0;
    text_str(head, "HTTP/1.1 ");
    head_number(head, (size_t)a->status);
    text_add(head, " ", 1);
    text_str(head, a->reason ? a->reason : usual_reason(a->status));
    text_str(head, "\r\nContent-Type: ");
    text_str(head, a->content_type);
    text_str(head, c->chunked ? "\r\nTransfer-Encoding: chunked" : "\r\nContent-Length: ");
    if (!c->chunked)
        head_number(head, len);
    text_str(head, "\r\n");
    text_add(head, a->headers.at, a->headers.len);
    text_str(head, c->keep_alive ? "\r\n" : "Connection: close\r\n\r\n");
    c->sent = 0;
    c->send_len = head->len + a->body.len;
    if (c->x.ending == END_TRUNCATE)
        c->send_len = head->len + a->body.len / 2;
    conn_flush(c);
}

static void conn_begin(struct conn *c)
{
    request_fill(c);
    c->busy = true;
    c->x.started_ns = clock_ns();
    current = c;
    exchange_start(&c->x);
    current = NULL;
    if (c->x.vendor)
        c->vendor = c->x.vendor;
    if (!c->x.wait_ns)
        conn_answer(c);
    else if (c->x.wait_ns != WAIT_FOREVER)
        wait_until(c, c->x.started_ns + c->x.wait_ns);
}

static void conn_due(struct conn *c)
{
    if (c->writing) {
        conn_flush(c);
        return;
    }
    if (c->x.held_by)
        exchange_resume(&c->x);
    if (c->fd < 0)
        conn_close(c, OUTCOME_LEFT, false);
    else
        conn_answer(c);
}

static void conn_left(struct conn *c)
{
    if (!c->busy || !c->x.held_by || !c->x.late || c->x.served) {
        conn_close(c, OUTCOME_LEFT, false);
        return;
    }
    close(c->fd);
    c->fd = -1;
}

static bool conn_parse(struct conn *c)
{
    enum http_errno why;

    if (HTTP_PARSER_ERRNO(&c->parser) == HPE_PAUSED)
        http_parser_pause(&c->parser, 0);
    c->parsed += http_parser_execute(&c->parser, &parser_settings, c->in.at + c->parsed, c->in.len - c->parsed);
    why = HTTP_PARSER_ERRNO(&c->parser);
    if (c->parser.upgrade || (why != HPE_OK && why != HPE_PAUSED)) {
        static const char sorry[] = "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

        if (send(c->fd, sorry, sizeof sorry - 1, MSG_NOSIGNAL) < 0)
            c->readable = false;
        conn_close(c, OUTCOME_DROPPED, false);
        return false;
    }
    return c->complete;
}

/* False when there is nothing more for now. */
static bool conn_read(struct conn *c)
{
    ssize_t len;
    size_t room;

    if (c->in.cap - c->in.len < 2048)
        text_reserve(&c->in, c->in.len + 4096);
    room = c->in.cap - c->in.len;
    len = recv(c->fd, c->in.at + c->in.len, room, 0);
    if (len < 0 && errno == EINTR)
        return true;
    if (len < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
        c->readable = false;
        return false;
    }
    if (len <= 0) {
        conn_close(c, OUTCOME_LEFT, false);
        return false;
    }
    c->in.len += (size_t)len;
    c->readable = (size_t)len == room;
    return true;
}

static void conn_run(struct conn *c)
{
    while (c->fd >= 0 && !c->busy) {
        if (c->parsed < c->in.len) {
            if (conn_parse(c))
                conn_begin(c);
            continue;
        }
        if (!c->readable || !conn_read(c))
            return;
    }
}

static void conn_event(struct conn *c, uint32_t events)
{
    if (c->fd < 0)
        return;
    if (events & EPOLLIN)
        c->readable = true;
    if (events & (EPOLLHUP | EPOLLERR) || (events & EPOLLRDHUP && c->busy)) {
        conn_left(c);
        return;
    }
    if (events & EPOLLRDHUP)
        c->readable = true;              /* read what is left, and then the end */
    if (events & EPOLLOUT && c->writing)
        conn_flush(c);
    conn_run(c);
}

static void door_accept(const struct door *door)
{
    static const int on = 1;

    for (int i = 0; i < 64; i++) {
        int fd = accept4(door->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        struct epoll_event event;
        struct conn *c;

        if (fd < 0)
            return;
        c = memory(NULL, sizeof *c);
        memset(c, 0, sizeof *c);
        c->source = SOURCE_CONN;
        c->fd = fd;
        c->vendor = door->vendor;
        c->heap_at = NOT_WAITING;
        c->x.connection = ++last_connection;
        http_parser_init(&c->parser, HTTP_REQUEST);
        c->parser.data = c;
        c->next = conns;
        if (conns)
            conns->previous = c;
        conns = c;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        event = (struct epoll_event){ .events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = c };
        if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0)
            conn_close(c, OUTCOME_DROPPED, false);
    }
}

/* ---- doors ---- */

static bool door_open(struct door *door)
{
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons((uint16_t)door->port) };
    struct epoll_event event = { .events = EPOLLIN, .data.ptr = door };
    socklen_t len = sizeof address;
    static const int on = 1;

    door->source = SOURCE_DOOR;
    if (inet_pton(AF_INET, listen_address, &address.sin_addr) != 1)
        return false;
    door->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (door->fd < 0)
        return false;
    setsockopt(door->fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(door->fd, (struct sockaddr *)&address, sizeof address) < 0 || listen(door->fd, 4096) < 0
        || getsockname(door->fd, (struct sockaddr *)&address, &len) < 0
        || epoll_ctl(epoll_fd, EPOLL_CTL_ADD, door->fd, &event) < 0) {
        close(door->fd);
        door->fd = -1;
        return false;
    }
    door->port = ntohs(address.sin_port);
    return true;
}

static void door_close(struct door *door)
{
    if (door->fd >= 0)
        close(door->fd);
    door->fd = -1;
}

static struct door *door_of(const struct vendor *v)
{
    for (size_t i = 0; i < door_count; i++)
        if (doors[i].vendor == v)
            return &doors[i];
    return NULL;
}

int server_door(const struct vendor *v, int port)
{
    struct door *door = door_of(v);

    if (door)
        return door->port;
    if (door_count == DOORS_MAX || port < 0 || port > 65535)
        return -1;
    doors[door_count] = (struct door){ .port = port, .vendor = v };
    if (!door_open(&doors[door_count]))
        return -1;
    return doors[door_count++].port;
}

int server_door_port(const struct vendor *v)
{
    const struct door *door = door_of(v);

    return door ? door->port : 0;
}

bool server_vendor_down(const struct vendor *v, bool down)
{
    struct door *door = door_of(v);

    if (!down)
        return !door || door->fd >= 0 || door_open(door);
    if (door)
        door_close(door);
    for (struct conn *c = conns, *next; c; c = next) {
        next = c->next;
        if (c->vendor == v && c != current)
            conn_close(c, OUTCOME_DROPPED, v->state->down_by_reset);
    }
    return true;
}

void server_release(uint32_t fault)
{
    int64_t now_ns = clock_ns();

    for (struct conn *c = conns; c; c = c->next) {
        if (!c->busy || !c->x.held_by || (fault && c->x.held_by != fault))
            continue;
        wait_no_more(c);
        wait_until(c, now_ns);
    }
}

void server_drop_held(void)
{
    for (struct conn *c = conns, *next; c; c = next) {
        next = c->next;
        if (c->busy && c->x.held_by)
            conn_close(c, OUTCOME_DROPPED, false);
    }
}

/* ---- the loop ---- */

static int wait_for_events(struct epoll_event *events, int max)
{
    static bool coarse;
    int64_t left_ns = heap.count ? heap.at[0]->due_ns - clock_ns() : -1;
    struct timespec wait;

    if (heap.count && left_ns < 0)
        left_ns = 0;
    if (!coarse) {
        wait = (struct timespec){ left_ns / NS_PER_S, left_ns % NS_PER_S };
        int count = epoll_pwait2(epoll_fd, events, max, left_ns < 0 ? NULL : &wait, NULL);

        if (count >= 0 || errno != ENOSYS)
            return count;
        coarse = true;
    }
    return epoll_wait(epoll_fd, events, max, left_ns < 0 ? -1 : (int)((left_ns + NS_PER_MS - 1) / NS_PER_MS));
}

void server_run(void)
{
    struct epoll_event events[256];

    for (;;) {
        int count = wait_for_events(events, (int)COUNT(events));
        int64_t now_ns;

        for (int i = 0; i < count; i++) {
            enum source source = *(enum source *)events[i].data.ptr;

            if (source == SOURCE_SIGNAL)
                return;
            if (source == SOURCE_DOOR)
                door_accept(events[i].data.ptr);
            else
                conn_event(events[i].data.ptr, events[i].events);
        }
        now_ns = clock_ns();
        while (heap.count && heap.at[0]->due_ns <= now_ns) {
            struct conn *c = heap.at[0];

            wait_no_more(c);
            conn_due(c);
            conn_run(c);
        }
        bury();
    }
}

bool server_open(const char *address, int port)
{
    static struct door signals = { .source = SOURCE_SIGNAL };
    struct epoll_event event = { .events = EPOLLIN, .data.ptr = &signals };
    struct rlimit files;
    sigset_t stop;

    if (!getrlimit(RLIMIT_NOFILE, &files)) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    sigemptyset(&stop);
    sigaddset(&stop, SIGTERM);
    sigaddset(&stop, SIGINT);
    sigprocmask(SIG_BLOCK, &stop, NULL);
    signal_fd = signalfd(-1, &stop, SFD_CLOEXEC | SFD_NONBLOCK);
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    snprintf(listen_address, sizeof listen_address, "%s", address);
    doors[0] = (struct door){ .port = port };
    if (signal_fd >= 0 && epoll_fd >= 0 && !epoll_ctl(epoll_fd, EPOLL_CTL_ADD, signal_fd, &event)
        && door_open(&doors[0])) {
        door_count = 1;
        return true;
    }
    fprintf(stderr, "sandbox: cannot listen on %s:%d: %s\n", address, port, strerror(errno));
    return false;
}

int server_port(void)
{
    return doors[0].port;
}

void server_close(void)
{
    while (conns)
        conn_close(conns, OUTCOME_DROPPED, false);
    bury();
    for (size_t i = 0; i < door_count; i++)
        door_close(&doors[i]);
    free(heap.at);
    close(epoll_fd);
    close(signal_fd);
}

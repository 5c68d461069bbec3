/*
 * http.h - HTTP exchanges with a vendor, over libcurl: requests and answers as plain data, and the one place that sends.
 *
 * Units      durations are milliseconds and end in _ms, or microseconds and end in _us; sizes are bytes.
 * Ownership  a request owns its texts and is reused (http_request_reset). A response is lent to the callback: its
 *            strings are gone when the callback returns.
 * Bounds     an answer of more than HTTP_BODY_MAX bytes ends the exchange as HTTP_UNKNOWN with an error, never as a
 *            truncated success. Redirects are not followed: a vendor's redirect is an answer. An answer that may be larger is
 *            taken as it arrives (`take`), and never held.
 * Failure    an exchange always ends, by the callback, exactly once. A status is never a failure here.
 * Secrets    URLs carry people's data (PassagePoint) and headers carry secrets: nothing here logs either.
 * Threads    one struct http per thread.
 */
#ifndef SHELFWIRE_HTTP_H
#define SHELFWIRE_HTTP_H

#include "common/fault.h"
#include "common/text.h"

#include <stdint.h>

enum { HTTP_BODY_MAX = 16 << 20, HTTP_HEADERS_MAX = 8 };

/* A piece of an answer's body, lent. */
struct http_piece {
    const char *bytes;
    size_t len;
    int64_t whole_len; /* of the whole body, as the answer's head says; -1 when it does not */
};

enum http_taken {
    HTTP_TAKEN,
    HTTP_NOT_NOW, /* no room: the same piece comes again after http_resume; meanwhile the vendor is not read from */
    HTTP_ENOUGH,  /* no more is wanted: the exchange ends as HTTP_UNKNOWN */
};

typedef enum http_taken http_take(void *of, const struct http_piece *piece);

struct http_request {
    const char *method; /* static: "GET", "POST" */
    struct text target; /* path and query, beginning with '/', put behind the service's root */
    struct text body;   /* sent when not empty, or always for POST (an empty body has Content-Length: 0) */
    struct text headers[HTTP_HEADERS_MAX]; /* "Name: value" */
    int header_count;
    int timeout_ms;       /* of the whole exchange, or with `take` of a silence, in whole seconds; 0: the service's default */
    http_take *take;      /* takes the body of a 2xx, which is then not in the response; others are kept. NULL: all are */
    void *take_of;
    /* Asked when there is a connection and no byte has left, the last moment there is; false: it ends as `withheld`. NULL: it may. */
    bool (*may_leave)(void *of);
    void *may_leave_of;
    const char *watch;    /* static: name of an answer's header to hand back, or NULL */
};

void http_request_reset(struct http_request *req, const char *method, const char *path);
void http_request_header(struct http_request *req, const char *name, const char *value);
void http_request_query(struct http_request *req, const char *name, const char *value); /* percent-encoded */
void http_request_free(struct http_request *req);

/* How an exchange ended, which decides whether a call that changes something may simply be repeated. */
enum http_end {
    HTTP_NOT_SENT, /* no byte of the request left: name, connect or TLS failed */
    HTTP_ANSWERED, /* a whole answer came */
    HTTP_UNKNOWN,  /* bytes left and no whole answer came: time-out, reset, cut short */
};

struct http_response {
    enum http_end end;
    bool withheld;             /* HTTP_NOT_SENT, and the vendor has nothing to do with it: may_leave said no */
    int status;                /* 0 unless HTTP_ANSWERED */
    const char *content_type;  /* "" when there is none */
    const char *body;          /* zero-terminated, may hold zero bytes within body_len */
    size_t body_len;
    const char *watched;       /* the header asked for with `watch`, "" when absent; one that comes often, a value a line */
    int64_t retry_after_ms;    /* Retry-After in seconds or as a date; -1 when absent or unreadable */
    int64_t duration_us;
    const char *error;         /* why it is not HTTP_ANSWERED, in words without the URL; "" otherwise */
};

/* A Retry-After: seconds, or a date; at most a day. now: an instant, in seconds. -1: unreadable. */
int64_t http_retry_after_ms(const char *value, int64_t now);

/* ---- sending ---- */

struct http;          /* connections and exchanges of one program, on its loop */
struct http_exchange; /* one under way */
struct loop;

typedef void http_done(void *of, const struct http_response *res);

/*
 * root: "https://host[:port][/base]". connections_max: kept connections, at least what will be in flight.
 * A private certificate authority is a file named by the setting (see vendor.h); NULL: the system's.
 */
struct fault http_open(struct http **ret, struct loop *loop, int connections_max, const char *ca_file);
void http_close(struct http *h); /* exchanges under way are dropped without a callback */

/* Starts an exchange; `done` is called from the loop, later. NULL (and no callback) when memory is out. */
struct http_exchange *http_send(struct http *h, const char *root, const struct http_request *req, int timeout_ms,
                                http_done *done, void *of);
void http_cancel(struct http *h, struct http_exchange *x); /* no callback */

/*
 * Requests given since the last turn leave now, and not with the next one. Exchanges that could not begin end within this call;
 * true: there were some. Not from a callback of an exchange.
 */
bool http_push(struct http *h);
void http_resume(struct http *h, struct http_exchange *x); /* after HTTP_NOT_NOW; at other times nothing happens */

/* Runs the loop until one exchange has ended; `use` reads the answer. For producers and --check. */
void http_wait(struct http *h, const char *root, const struct http_request *req, int timeout_ms, http_done *use,
               void *of);

#endif

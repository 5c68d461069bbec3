/*
 * server.h - HTTP on the program's own loop (libmicrohttpd, no thread): connections, their limits, whole requests, answers.
 *
 * A request is shown twice: with its head, when it may be refused, and whole. It is answered once, then or later; until it is,
 * its connection is suspended and costs nothing. What is refused by its head is read to the end of its body all the same, so
 * that the answer arrives, unless the body is much too long or the client waits for "100 Continue".
 *
 * Bounds     a body has 1 MiB; all bodies held at a time 32 MiB; a head 8 KiB, of which libmicrohttpd answers what is longer.
 *            A first head, a body, and the taking of an answer may last REQUESTS_SLOW_SECONDS each, a kept connection be idle
 *            for 60 s: else it is closed, after a 408 where a body is late. So who sends a byte a second is slow, too.
 *            Of connections there are REQUESTS_CONNECTIONS, and of one address REQUESTS_CONNECTIONS_PER_ADDRESS, of which more
 *            are closed at once; when all are taken, the one that has been silent for longest gives way.
 * Refused    besides: two of Authorization, Content-Type, Content-Length, Transfer-Encoding; a length beside a
 *            Transfer-Encoding. A path is compared as it was written: nothing in it is decoded.
 * Ownership  a request is the server's, and lent until it is answered or gone.
 * Nothing of a request is logged.
 */
#ifndef SHELFWIRE_PATRON_REQUESTS_SERVER_H
#define SHELFWIRE_PATRON_REQUESTS_SERVER_H

#include "common/loop.h"
#include "common/settings.h"
#include "common/text.h"

#include <sys/socket.h>

extern const struct setting server_settings[];

struct server_request {
    const char *method, *path, *content_type, *authorization; /* the last two "" when there is none; lent until it is whole */
    const struct sockaddr *from;
    struct text body;
    void *of; /* the program's, NULL at first */
};

struct server_answer {
    int status;
    const char *type, *body;
    size_t len;
    const char *location, *allow, *authenticate; /* headers, or NULL */
    int retry_after_s; /* 0: none */
    bool close;        /* the connection with it */
};

struct server_calls {
    void (*head)(struct server_request *r);
    void (*whole)(struct server_request *r);
    void (*gone)(struct server_request *r); /* answered and sent, or the client went away: the last that is heard of it */
};

struct fault server_settled(void); /* what the settings must agree on */

/* MISUSE: it cannot listen there, or what TLS needs cannot be read. */
struct fault server_open(struct loop *loop, const struct server_calls *calls);
void server_quiesce(void); /* takes no new connections */
void server_close(void);   /* those that are left are closed */

/* The texts are copied. */
void server_answer(struct server_request *r, const struct server_answer *a);

/* A query's argument: how many there are of that name, and the first, decoded; "" where it cannot be. */
int server_argument(struct server_request *r, const char *name, char *ret, size_t size);

#endif

/*
 * status.h - /metrics, /healthz and /readyz over HTTP, answered by the program's own loop (libmicrohttpd, no thread).
 *
 * /healthz is answered by the loop itself: while the loop turns it says 200, and when it is stuck nothing answers,
 * which is what a health check's time-out is for. Waiting for a vendor is healthy; the text says what is waited for.
 * /readyz says 503 with the reason while `ready` returns false.
 */
#ifndef SHELFWIRE_STATUS_H
#define SHELFWIRE_STATUS_H

#include "common/loop.h"
#include "common/text.h"

struct status;

struct status_source {
    bool (*ready)(void *of, struct text *why); /* appends what it waits for */
    void (*refresh)(void *of);                 /* sets gauges that are only worth computing when somebody looks */
    void *of;
};

/* port 0: any free one, which is logged; port -1: no server. */
struct fault status_open(struct status **ret, struct loop *loop, const char *bind_address, int port,
                         const struct status_source *source);
void status_close(struct status *s);

#endif

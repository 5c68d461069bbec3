/*
 * server.h - sockets, HTTP/1.1 and time: one thread, one epoll, one heap of answers that wait.
 *
 * Doors      the first listener takes every vendor; a vendor may have a door of its own besides, which is really
 *            closed (connection refused) while the vendor is down.
 * Time       an answer is sent when its wait is over, rounded up to a quarter of a millisecond so that one wake
 *            serves many.
 * Pieces     a body that comes in pieces is made as fast as its client reads, a turn at a time, so that a long answer
 *            costs neither memory nor the others' time.
 * Leaving    a client that closes while it waits is dropped; a request that is to take effect late stays.
 * Failure    what concerns one connection closes that connection. Opening says why on stderr.
 */
#ifndef SANDBOX_SERVER_H
#define SANDBOX_SERVER_H

#include "exchange.h"

bool server_open(const char *address, int port);
int server_port(void);
void server_run(void);               /* until SIGTERM or SIGINT */
void server_close(void);

int server_door(const struct vendor *v, int port);      /* the port of the vendor's own door, or -1 */
int server_door_port(const struct vendor *v);           /* 0: it has none */
bool server_vendor_down(const struct vendor *v, bool down);
void server_release(uint32_t fault);                    /* what that fault stalls goes on; 0: any fault */
void server_drop_held(void);                            /* what is stalled is closed instead */

#endif

/*
 * loop.h - the one place a program waits: descriptors, timers and signals in one epoll.
 *
 * Units    times are microseconds of CLOCK_MONOTONIC and end in _us. loop_now is read once a turn.
 * Threads  everything runs on the thread that calls loop_turn.
 * Signals  SIGTERM and SIGINT only set loop_stopping; SIGPIPE is ignored.
 */
#ifndef SHELFWIRE_LOOP_H
#define SHELFWIRE_LOOP_H

#include "common/fault.h"

#include <stdint.h>
#include <sys/epoll.h>

struct loop;

typedef void loop_call(void *of, uint32_t events); /* events: EPOLL*; 0 for a timer */

/* Embedded in whatever waits; it must outlive its watch. */
struct loop_fd {
    int fd;
    uint32_t events; /* what it is watched for; 0: not watched */
    loop_call *call;
    void *of;
};

struct loop_timer {
    loop_call *call;
    void *of;
    int64_t at_us;
    int place; /* 1 + its place in the heap; 0: not set */
};

struct fault loop_open(struct loop **ret);
void loop_close(struct loop *l);

/* Watches fd for EPOLLIN, EPOLLOUT, also EPOLLET; events 0 stops. The descriptor may be closed before it is unwatched. */
void loop_watch(struct loop *l, struct loop_fd *w, int fd, uint32_t events, loop_call *call, void *of);
void loop_forget(struct loop *l, struct loop_fd *w); /* the descriptor was closed: the kernel has dropped it already */

void loop_timer_set(struct loop *l, struct loop_timer *t, int64_t at_us);
void loop_timer_stop(struct loop *l, struct loop_timer *t);

int64_t loop_now(const struct loop *l);
bool loop_stopping(const struct loop *l);
void loop_stop(struct loop *l);

/* Waits at most max_wait_ms for something to happen and lets it happen. */
void loop_turn(struct loop *l, int max_wait_ms);

/*
 * Under load, when turns would follow one another more closely, they begin at least so far apart, and what happens meanwhile is
 * handled together: to be woken costs more than most of what there is to do. Who comes alone does not wait. 0: never.
 */
void loop_pace(struct loop *l, int64_t us);

/* Microseconds the program was not running between the last two turns, seen on CLOCK_BOOTTIME: stopped or suspended. */
int64_t loop_gap_us(const struct loop *l);
/* Microseconds since this turn began, by the same clock read anew: for what must not rest on loop_now after a stop in mid-turn. */
int64_t loop_lapse_us(const struct loop *l);

uint64_t loop_turns(const struct loop *l);

#endif

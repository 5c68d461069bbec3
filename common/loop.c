#include "common/loop.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

struct loop {
    int epoll, signals;
    struct loop_fd signal_watch;
    int64_t now_us, boot_us, gap_us;
    int64_t pace_us, pace_since_us; /* see loop_pace; when the turns counted for it began */
    int pace_turns;
    bool busy;
    bool stopping;
    bool calling_timers, coarse; /* coarse: only epoll_wait is there */
    uint64_t turns;
    struct loop_timer **heap;
    int timers, room;
    struct epoll_event *events; /* of the turn under way, so that a forgotten watch can be taken out of it */
    int event_count;
};

enum { EVENTS_A_TURN = 256, PACE_TURNS = 32 };

static int64_t clock_us(clockid_t clock)
{
    struct timespec t;

    clock_gettime(clock, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static void on_signal(void *of, uint32_t events)
{
    struct loop *l = of;
    struct signalfd_siginfo info;

    (void)events;
    while (read(l->signals, &info, sizeof info) == sizeof info)
        l->stopping = true;
}

struct fault loop_open(struct loop **ret)
{
    struct loop *l = calloc(1, sizeof *l);
    sigset_t set;

    *ret = NULL;
    l->events = calloc(EVENTS_A_TURN, sizeof *l->events);
    l->epoll = epoll_create1(EPOLL_CLOEXEC);
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigprocmask(SIG_BLOCK, &set, NULL); /* before any library starts a thread: they inherit it */
    signal(SIGPIPE, SIG_IGN);
    l->signals = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    if (l->epoll < 0 || l->signals < 0 || !l->events) {
        loop_close(l);
        return FAULT(FATAL, "cannot wait for events: %s", strerror(errno));
    }
    l->now_us = clock_us(CLOCK_MONOTONIC);
    l->boot_us = clock_us(CLOCK_BOOTTIME);
    loop_watch(l, &l->signal_watch, l->signals, EPOLLIN, on_signal, l);
    *ret = l;
    return FAULT_OK;
}

void loop_close(struct loop *l)
{
    if (!l)
        return;
    if (l->epoll >= 0)
        close(l->epoll);
    if (l->signals >= 0)
        close(l->signals);
    free(l->heap);
    free(l->events);
    free(l);
}

void loop_watch(struct loop *l, struct loop_fd *w, int fd, uint32_t events, loop_call *call, void *of)
{
    struct epoll_event want = {.events = events, .data.ptr = w};

    if (!events) {
        if (w->events)
            epoll_ctl(l->epoll, EPOLL_CTL_DEL, w->fd, NULL);
        loop_forget(l, w);
        return;
    }
    if (!w->events || w->fd != fd) {
        if (w->events)
            epoll_ctl(l->epoll, EPOLL_CTL_DEL, w->fd, NULL);
        w->fd = fd;
        if (epoll_ctl(l->epoll, EPOLL_CTL_ADD, fd, &want) < 0 && errno == EEXIST)
            epoll_ctl(l->epoll, EPOLL_CTL_MOD, fd, &want);
    } else if (w->events != events) {
        epoll_ctl(l->epoll, EPOLL_CTL_MOD, fd, &want);
    }
    w->events = events;
    w->call = call;
    w->of = of;
}

void loop_forget(struct loop *l, struct loop_fd *w)
{
    w->events = 0;
    for (int i = 0; i < l->event_count; i++)
        if (l->events[i].data.ptr == w)
            l->events[i].data.ptr = NULL;
}

/* ---- timers: a binary heap, the earliest on top ---- */

static void place(struct loop *l, int at, struct loop_timer *t)
{
    l->heap[at] = t;
    t->place = at + 1;
}

static void settle(struct loop *l, int at)
{
    struct loop_timer *t = l->heap[at];

    while (at > 0 && l->heap[(at - 1) / 2]->at_us > t->at_us) {
        place(l, at, l->heap[(at - 1) / 2]);
        at = (at - 1) / 2;
    }
    for (;;) {
        int child = 2 * at + 1;
        if (child >= l->timers)
            break;
        if (child + 1 < l->timers && l->heap[child + 1]->at_us < l->heap[child]->at_us)
            child++;
        if (l->heap[child]->at_us >= t->at_us)
            break;
        place(l, at, l->heap[child]);
        at = child;
    }
    place(l, at, t);
}

void loop_timer_set(struct loop *l, struct loop_timer *t, int64_t at_us)
{
    /* the past is now, and now is the next turn for what a timer sets: so none can hold the loop, or go before others */
    t->at_us = at_us > l->now_us ? at_us : l->now_us + l->calling_timers;
    if (!t->place) {
        if (l->timers == l->room) {
            int room = l->room ? l->room * 2 : 64;
            l->heap = realloc(l->heap, (size_t)room * sizeof(struct loop_timer *));
            l->room = room;
        }
        place(l, l->timers++, t);
    }
    settle(l, t->place - 1);
}

void loop_timer_stop(struct loop *l, struct loop_timer *t)
{
    if (!t->place)
        return;
    int at = t->place - 1;
    struct loop_timer *last = l->heap[--l->timers];

    t->place = 0;
    if (last != t) {
        place(l, at, last);
        settle(l, at);
    }
}

int64_t loop_now(const struct loop *l)
{
    return l->now_us;
}

bool loop_stopping(const struct loop *l)
{
    return l->stopping;
}

void loop_stop(struct loop *l)
{
    l->stopping = true;
}

int64_t loop_gap_us(const struct loop *l)
{
    return l->gap_us;
}

int64_t loop_lapse_us(const struct loop *l)
{
    return clock_us(CLOCK_BOOTTIME) - l->boot_us;
}

uint64_t loop_turns(const struct loop *l)
{
    return l->turns;
}

void loop_pace(struct loop *l, int64_t us)
{
    l->pace_us = us;
    l->pace_turns = 0;
    l->pace_since_us = l->now_us;
}

/* Busy: the last turns followed one another at hardly more than the pace. */
static void count_turn(struct loop *l)
{
    if (++l->pace_turns < PACE_TURNS)
        return;
    l->busy = l->now_us - l->pace_since_us < PACE_TURNS * l->pace_us * 3 / 2;
    l->pace_turns = 0;
    l->pace_since_us = l->now_us;
}

/* Returns what it has waited, at the most. */
static int64_t keep_pace(const struct loop *l)
{
    int64_t rest_us = l->busy ? l->now_us + l->pace_us - clock_us(CLOCK_MONOTONIC) : 0;

    if (rest_us <= 0)
        return 0;
    clock_nanosleep(CLOCK_MONOTONIC, 0, &(struct timespec){.tv_nsec = (long)rest_us * 1000}, NULL);
    return rest_us;
}

void loop_turn(struct loop *l, int max_wait_ms)
{
    int64_t wait_us = (int64_t)max_wait_ms * 1000, paced_us = keep_pace(l);

    if (l->timers) {
        int64_t until = l->heap[0]->at_us - clock_us(CLOCK_MONOTONIC);
        if (until < wait_us)
            wait_us = until > 0 ? until : 0;
    }
    struct timespec wait = {.tv_sec = wait_us / 1000000, .tv_nsec = (long)(wait_us % 1000000) * 1000};
    int n = l->coarse ? -1 : epoll_pwait2(l->epoll, l->events, EVENTS_A_TURN, &wait, NULL);

    l->coarse |= n < 0 && errno != EINTR; /* kernels before 5.11, and containers that forbid what they do not know */
    if (l->coarse)
        n = epoll_wait(l->epoll, l->events, EVENTS_A_TURN, (int)((wait_us + 999) / 1000));
    l->turns++;
    l->now_us = clock_us(CLOCK_MONOTONIC);
    int64_t boot = clock_us(CLOCK_BOOTTIME);
    l->gap_us = boot - l->boot_us > wait_us + paced_us ? boot - l->boot_us - wait_us - paced_us : 0;
    l->boot_us = boot;
    count_turn(l);
    l->event_count = n > 0 ? n : 0;
    for (int i = 0; i < l->event_count; i++) {
        struct loop_fd *w = l->events[i].data.ptr;
        if (w && w->events)
            w->call(w->of, l->events[i].events);
    }
    l->event_count = 0;
    l->calling_timers = true;
    while (l->timers && l->heap[0]->at_us <= l->now_us) {
        struct loop_timer *t = l->heap[0];
        loop_timer_stop(l, t);
        t->call(t->of, 0);
    }
    l->calling_timers = false;
}

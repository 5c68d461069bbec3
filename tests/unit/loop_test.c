#include "common/loop.h"

#include "common/scoped.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

static struct loop *loop;

static int set_up(void **state)
{
    (void)state;
    return loop_open(&loop).kind ? 1 : 0;
}

static int tear_down(void **state)
{
    (void)state;
    loop_close(loop);
    return 0;
}

static int64_t clock_us(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

/* ---- timers ---- */

struct alarm {
    struct loop_timer timer; /* first */
    int rang, order;
};

static int rung;

static void ring(void *of, uint32_t events)
{
    struct alarm *a = of;

    assert_int_equal(events, 0);
    assert_int_equal(a->timer.place, 0);
    a->rang++;
    a->order = ++rung;
}

static void begin(struct alarm *alarms, size_t count, loop_call *call)
{
    rung = 0;
    memset(alarms, 0, count * sizeof *alarms);
    for (size_t i = 0; i < count; i++)
        alarms[i].timer = (struct loop_timer){.call = call, .of = &alarms[i]};
}

static void test_in_order(void **state)
{
    struct alarm a[4];
    int64_t now = loop_now(loop);
    (void)state;

    begin(a, 4, ring);
    loop_timer_set(loop, &a[0].timer, now + 30000);
    loop_timer_set(loop, &a[1].timer, now + 10000);
    loop_timer_set(loop, &a[2].timer, now + 20000);
    loop_timer_set(loop, &a[3].timer, now + 10000000);
    while (rung < 3) {
        loop_turn(loop, 1000);
        for (int i = 0; i < 4; i++)
            assert_true(!a[i].rang || a[i].timer.at_us <= loop_now(loop)); /* none before its time */
    }
    assert_int_equal(a[1].order, 1);
    assert_int_equal(a[2].order, 2);
    assert_int_equal(a[0].order, 3);
    assert_in_range(loop_turns(loop), 1, 20); /* it slept in between */
    loop_timer_stop(loop, &a[3].timer);
    loop_timer_stop(loop, &a[3].timer); /* stopping what is not set is nothing */
    loop_turn(loop, 0);
    assert_int_equal(a[3].rang, 0);
}

static void test_set_again(void **state)
{
    struct alarm a;
    int64_t now = loop_now(loop);
    (void)state;

    begin(&a, 1, ring);
    loop_timer_set(loop, &a.timer, now + 10000000);
    loop_timer_set(loop, &a.timer, now + 1000); /* moved, not doubled */
    int64_t since = clock_us();
    while (!rung)
        loop_turn(loop, 1000);
    assert_true(clock_us() - since < 5000000);
    loop_turn(loop, 20);
    assert_int_equal(a.rang, 1);
}

/* Against a plain list: 3,000 sets and stops in any order. */
static void test_many(void **state)
{
    static struct alarm a[300];
    bool set[300] = {false};
    int64_t past = loop_now(loop);
    uint32_t random = 7;
    (void)state;

    begin(a, COUNT(a), ring);
    for (int i = 0; i < 3000; i++) {
        random = random * 1664525 + 1013904223;
        size_t which = random >> 8 & 0xFFFF;
        which %= COUNT(a);
        set[which] = (random >> 28) > 3;
        if (set[which])
            loop_timer_set(loop, &a[which].timer, past + 1 + (random >> 4) % 5000);
        else
            loop_timer_stop(loop, &a[which].timer);
    }
    while (loop_now(loop) < past + 6000)
        loop_turn(loop, 10);
    loop_turn(loop, 0);
    int want = 0;
    for (size_t i = 0; i < COUNT(a); i++) {
        want += set[i];
        assert_int_equal(a[i].rang, set[i]);
        for (size_t k = 0; k < i; k++)
            if (set[i] && set[k] && a[i].timer.at_us < a[k].timer.at_us)
                assert_true(a[i].order < a[k].order);
    }
    assert_int_equal(rung, want);
}

static struct alarm *other;

static void ring_and_set_again(void *of, uint32_t events)
{
    struct alarm *a = of;

    ring(of, events);
    loop_timer_set(loop, &a->timer, 0); /* a deadline that has passed long ago */
}

static void ring_and_stop_other(void *of, uint32_t events)
{
    ring(of, events);
    loop_timer_stop(loop, &other->timer);
}

static void count_event(void *of, uint32_t events)
{
    (void)events;
    ++*(int *)of;
}

/* A timer whose time is always past is called once a turn: descriptors, signals and other timers get theirs. */
static void test_in_the_past(void **state)
{
    struct alarm a[6];
    struct loop_fd watch = {0};
    int seen = 0, fd = eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK);
    (void)state;

    begin(a, COUNT(a), ring_and_set_again);
    a[5].timer.call = ring;
    loop_watch(loop, &watch, fd, EPOLLIN, count_event, &seen);
    for (size_t i = 0; i < 5; i++)
        loop_timer_set(loop, &a[i].timer, (int64_t)i);
    loop_timer_set(loop, &a[5].timer, loop_now(loop));
    uint64_t turns = loop_turns(loop);
    for (int i = 0; i < 50; i++)
        loop_turn(loop, 1000);
    assert_int_equal(loop_turns(loop) - turns, 50);
    assert_int_equal(seen, 50);
    assert_int_equal(a[5].rang, 1);
    for (int i = 0; i < 5; i++)
        assert_in_range(a[i].rang, 10, 50); /* fewer when two turns fall into one microsecond */
    for (int i = 0; i < 5; i++)
        loop_timer_stop(loop, &a[i].timer);
    loop_watch(loop, &watch, fd, 0, NULL, NULL);
    close(fd);
}

/* Set once in the past: called once, and then the loop sleeps again. */
static void test_past_does_not_spin(void **state)
{
    struct alarm a;
    (void)state;

    begin(&a, 1, ring);
    loop_timer_set(loop, &a.timer, loop_now(loop) - 1000000);
    uint64_t turns = loop_turns(loop);
    int64_t until = clock_us() + 60000;
    while (clock_us() < until)
        loop_turn(loop, 20);
    assert_int_equal(a.rang, 1);
    assert_in_range(loop_turns(loop) - turns, 2, 6);
}

static void test_stopped_by_another(void **state)
{
    struct alarm a[3];
    int64_t now = loop_now(loop);
    (void)state;

    begin(a, 3, ring);
    a[0].timer.call = ring_and_stop_other;
    other = &a[1];
    loop_timer_set(loop, &a[0].timer, now);
    loop_timer_set(loop, &a[1].timer, now + 1);
    loop_timer_set(loop, &a[2].timer, now + 2);
    while (!a[2].rang)
        loop_turn(loop, 10);
    assert_int_equal(a[1].rang, 0);
}

/* ---- descriptors ---- */

struct ear {
    struct loop_fd watch;
    int fd, heard;
    struct ear *forgets;
};

static void hear(void *of, uint32_t events)
{
    struct ear *e = of;

    assert_true(events & EPOLLIN);
    e->heard++;
    if (e->forgets)
        loop_watch(loop, &e->forgets->watch, e->forgets->fd, 0, NULL, NULL);
}

static void open_ear(struct ear *e, uint32_t events)
{
    memset(e, 0, sizeof *e);
    e->fd = eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK);
    assert_true(e->fd >= 0);
    loop_watch(loop, &e->watch, e->fd, events, hear, e);
}

static void close_ear(struct ear *e)
{
    loop_watch(loop, &e->watch, e->fd, 0, NULL, NULL);
    close(e->fd);
}

static void test_level(void **state)
{
    struct ear e;
    uint64_t n;
    (void)state;

    open_ear(&e, EPOLLIN);
    loop_turn(loop, 1000);
    loop_turn(loop, 1000);
    assert_int_equal(e.heard, 2); /* as long as there is something to read */
    assert_int_equal(read(e.fd, &n, sizeof n), sizeof n);
    loop_turn(loop, 10);
    assert_int_equal(e.heard, 2);
    close_ear(&e);
    loop_turn(loop, 10);
}

static void test_edge(void **state)
{
    struct ear e;
    uint64_t n = 1;
    (void)state;

    open_ear(&e, EPOLLIN | EPOLLET);
    loop_turn(loop, 1000);
    assert_int_equal(e.heard, 1);
    loop_turn(loop, 10);
    assert_int_equal(e.heard, 1); /* not drained, and not told again */
    assert_int_equal(write(e.fd, &n, sizeof n), sizeof n);
    loop_turn(loop, 1000);
    assert_int_equal(e.heard, 2); /* a new edge, drained or not */
    close_ear(&e);
}

static void test_changed_events(void **state)
{
    struct ear e;
    (void)state;

    open_ear(&e, EPOLLIN);
    loop_watch(loop, &e.watch, e.fd, EPOLLPRI, hear, &e);
    loop_turn(loop, 10);
    assert_int_equal(e.heard, 0);
    loop_watch(loop, &e.watch, e.fd, EPOLLIN, hear, &e);
    loop_watch(loop, &e.watch, e.fd, EPOLLIN, hear, &e); /* twice is once */
    loop_turn(loop, 1000);
    assert_int_equal(e.heard, 1);
    close_ear(&e);
    loop_watch(loop, &e.watch, -1, 0, NULL, NULL); /* not watched any more: nothing happens */
}

/* Both are ready in the same turn, and whoever comes first unwatches the other. */
static void test_forgotten_in_the_turn(void **state)
{
    struct ear e[2];
    (void)state;

    open_ear(&e[0], EPOLLIN);
    open_ear(&e[1], EPOLLIN);
    e[0].forgets = &e[1];
    e[1].forgets = &e[0];
    loop_turn(loop, 1000);
    assert_int_equal(e[0].heard + e[1].heard, 1);
    close_ear(&e[0]);
    close_ear(&e[1]);
}

static void hear_and_close(void *of, uint32_t events)
{
    struct ear *e = of, *gone = e->forgets;

    (void)events;
    e->heard++;
    if (!gone)
        return;
    e->forgets = NULL;
    gone->forgets = NULL;
    close(gone->fd);
    loop_forget(loop, &gone->watch);
    int number = gone->fd;
    gone->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK); /* nothing to read here */
    assert_int_equal(gone->fd, number);
    loop_watch(loop, &gone->watch, gone->fd, EPOLLIN, hear_and_close, gone);
}

/* As above, and another descriptor takes its number and its watch at once: the old one's event is not the new one's. */
static void test_reused_in_the_turn(void **state)
{
    struct ear e[2];
    uint64_t n = 1;
    (void)state;

    for (int i = 0; i < 2; i++) {
        open_ear(&e[i], EPOLLIN);
        e[i].watch.call = hear_and_close;
        e[i].forgets = &e[!i];
    }
    loop_turn(loop, 1000);
    assert_int_equal(e[0].heard + e[1].heard, 1);
    struct ear *reused = e[0].heard ? &e[1] : &e[0];
    loop_turn(loop, 10);
    assert_int_equal(reused->heard, 0);
    assert_int_equal(write(reused->fd, &n, sizeof n), sizeof n);
    loop_turn(loop, 1000);
    assert_int_equal(reused->heard, 1); /* and the new one's is heard */
    close_ear(&e[0]);
    close_ear(&e[1]);
}

static void test_closed_before_unwatched(void **state)
{
    struct ear e;
    (void)state;

    open_ear(&e, EPOLLIN);
    close(e.fd);
    loop_watch(loop, &e.watch, e.fd, 0, NULL, NULL);
    loop_turn(loop, 10);
    assert_int_equal(e.heard, 0);
    open_ear(&e, EPOLLIN); /* most likely the same number */
    loop_turn(loop, 1000);
    assert_int_equal(e.heard, 1);
    close_ear(&e);
}

static void test_moved(void **state)
{
    struct ear e;
    int second = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    (void)state;

    open_ear(&e, EPOLLIN);
    loop_watch(loop, &e.watch, second, EPOLLIN, hear, &e);
    loop_turn(loop, 10);
    assert_int_equal(e.heard, 0); /* the first is ready, and nobody asks */
    close_ear(&e);
    close(second);
    loop_watch(loop, &e.watch, -1, 0, NULL, NULL);
}

/* More ready than one turn takes: all get their turn. */
static void test_many_ready(void **state)
{
    static struct ear e[400];
    (void)state;

    for (size_t i = 0; i < COUNT(e); i++)
        open_ear(&e[i], EPOLLIN | EPOLLET);
    for (int i = 0; i < 4; i++)
        loop_turn(loop, 10);
    for (size_t i = 0; i < COUNT(e); i++) {
        assert_int_equal(e[i].heard, 1);
        close_ear(&e[i]);
    }
}

/* ---- signals and being stopped ---- */

static void test_signals(void **state)
{
    static const int signals[] = {SIGTERM, SIGINT};
    int broken[2];
    (void)state;

    for (size_t i = 0; i < COUNT(signals); i++) {
        struct loop *l;
        assert_int_equal(loop_open(&l).kind, FAULT_NONE);
        loop_turn(l, 0);
        assert_false(loop_stopping(l));
        int64_t since = clock_us();
        raise(signals[i]);
        loop_turn(l, 10000);
        assert_true(loop_stopping(l));
        assert_true(clock_us() - since < 5000000); /* it was woken */
        loop_turn(l, 10);                          /* and does not spin from now on */
        assert_true(clock_us() - since >= 10000);
        loop_close(l);
    }
    loop_stop(loop);
    assert_true(loop_stopping(loop));
    assert_int_equal(pipe(broken), 0);
    close(broken[0]);
    assert_int_equal(write(broken[1], "x", 1), -1); /* SIGPIPE would have ended this */
    assert_int_equal(errno, EPIPE);
    close(broken[1]);
}

static void test_waiting_is_no_gap(void **state)
{
    (void)state;
    loop_turn(loop, 0);
    loop_turn(loop, 300);
    assert_in_range(loop_gap_us(loop), 0, 250000);
    int64_t lapse = loop_lapse_us(loop), later;
    while ((later = loop_lapse_us(loop)) <= lapse) /* it goes on within a turn, as loop_now does not */
        ;
    loop_turn(loop, 0);
    assert_in_range(loop_lapse_us(loop), 0, 10000000);
    raise(SIGTERM); /* woken long before the time: not a negative gap */
    loop_turn(loop, 10000);
    assert_in_range(loop_gap_us(loop), 0, 1000000);
}

static void test_stopped(void **state)
{
    int out[2], status;
    int64_t gap = 0;
    char ready;
    (void)state;

    assert_int_equal(pipe(out), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (!child) {
        struct loop *l;
        int64_t until = clock_us() + 20000000;
        if (loop_open(&l).kind || write(out[1], "r", 1) != 1)
            _exit(1);
        while (gap < 400000 && clock_us() < until) {
            loop_turn(l, 10);
            gap = loop_gap_us(l);
        }
        _exit(write(out[1], &gap, sizeof gap) != sizeof gap);
    }
    assert_int_equal(read(out[0], &ready, 1), 1);
    usleep(30000);
    kill(child, SIGSTOP);
    assert_int_equal(waitpid(child, &status, WUNTRACED), child);
    assert_true(WIFSTOPPED(status));
    usleep(500000);
    kill(child, SIGCONT);
    assert_int_equal(read(out[0], &gap, sizeof gap), sizeof gap);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_in_range(gap, 450000, 15000000);
    close(out[0]);
    close(out[1]);
}

static void count_call(void *of, uint32_t events)
{
    (void)events;
    ++*(int *)of;
}

/* Once it is seen that turns follow one another at once, they are held to the pace. */
static void test_pace(void **state)
{
    enum { TURNS = 100, COUNTED = 32, PACE = 2000 };
    struct loop_fd watch = {0};
    int fd = eventfd(1, EFD_CLOEXEC), calls = 0;
    int64_t since = clock_us();
    (void)state;

    loop_pace(loop, PACE);
    loop_watch(loop, &watch, fd, EPOLLIN, count_call, &calls); /* always ready: nobody reads it */
    for (int i = 0; i < TURNS; i++)
        loop_turn(loop, 1000);
    assert_int_equal(calls, TURNS);
    assert_true(clock_us() - since >= (COUNTED - 1) * PACE);
    loop_watch(loop, &watch, fd, 0, NULL, NULL);
    close(fd);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_in_order),
        TEST(test_set_again),
        TEST(test_many),
        TEST(test_in_the_past),
        TEST(test_past_does_not_spin),
        TEST(test_stopped_by_another),
        TEST(test_level),
        TEST(test_edge),
        TEST(test_changed_events),
        TEST(test_forgotten_in_the_turn),
        TEST(test_reused_in_the_turn),
        TEST(test_closed_before_unwatched),
        TEST(test_moved),
        TEST(test_many_ready),
        TEST(test_signals),
        TEST(test_waiting_is_no_gap),
        TEST(test_stopped),
        TEST(test_pace),
    };

    return cmocka_run_group_tests_name("loop", tests, NULL, NULL);
}

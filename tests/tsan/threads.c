/*
 * threads.c - C11's threads, mutexes and conditions as POSIX ones, for builds with the thread sanitizer.
 *
 * librdkafka uses <threads.h>, which the sanitizer does not know: a thread made so crashes it, and what such a mutex guards
 * looks like a race. The POSIX calls it knows. Linked into a program these stand before the C library's, also for librdkafka.
 * glibc's C11 types are its POSIX types under other names.
 *
 * librdkafka itself is not built with the sanitizer, which sees only what it does through the C library (memset, read, free) and
 * none of the atomic operations that order these: so what it does there, or to its mutexes here, is left out, and nothing else.
 * What our callbacks do on its threads (log lines) is watched.
 */
#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <threads.h>

_Static_assert(sizeof(mtx_t) >= sizeof(pthread_mutex_t) && sizeof(cnd_t) >= sizeof(pthread_cond_t), "not glibc");

const char *__tsan_default_suppressions(void);
const char *__tsan_default_suppressions(void)
{
    return "called_from_lib:librdkafka.so.1\n"
           "race:^mtx_\n"
           "race:^cnd_\n";
}

struct start {
    thrd_start_t run;
    void *of;
};

static int word(int error)
{
    switch (error) {
    case 0: return thrd_success;
    case ENOMEM: return thrd_nomem;
    case ETIMEDOUT: return thrd_timedout;
    case EBUSY: return thrd_busy;
    default: return thrd_error;
    }
}

static void *begin(void *of)
{
    struct start start = *(struct start *)of;

    free(of);
    return (void *)(intptr_t)start.run(start.of);
}

int thrd_create(thrd_t *ret, thrd_start_t run, void *of)
{
    struct start *start = malloc(sizeof *start);

    if (!start)
        return thrd_nomem;
    *start = (struct start){run, of};
    int error = pthread_create(ret, NULL, begin, start);
    if (error)
        free(start);
    return word(error);
}

int thrd_join(thrd_t thread, int *ret)
{
    void *end;
    int error = pthread_join(thread, &end);

    if (!error && ret)
        *ret = (int)(intptr_t)end;
    return word(error);
}

int mtx_init(mtx_t *m, int type)
{
    pthread_mutexattr_t kind;

    pthread_mutexattr_init(&kind);
    pthread_mutexattr_settype(&kind, type & mtx_recursive ? PTHREAD_MUTEX_RECURSIVE : PTHREAD_MUTEX_NORMAL);
    int error = pthread_mutex_init((pthread_mutex_t *)m, &kind);
    pthread_mutexattr_destroy(&kind);
    return word(error);
}

void mtx_destroy(mtx_t *m)
{
    pthread_mutex_destroy((pthread_mutex_t *)m);
}

int mtx_lock(mtx_t *m)
{
    return word(pthread_mutex_lock((pthread_mutex_t *)m));
}

int mtx_unlock(mtx_t *m)
{
    return word(pthread_mutex_unlock((pthread_mutex_t *)m));
}

int cnd_init(cnd_t *c)
{
    return word(pthread_cond_init((pthread_cond_t *)c, NULL));
}

void cnd_destroy(cnd_t *c)
{
    pthread_cond_destroy((pthread_cond_t *)c);
}

int cnd_signal(cnd_t *c)
{
    return word(pthread_cond_signal((pthread_cond_t *)c));
}

int cnd_broadcast(cnd_t *c)
{
    return word(pthread_cond_broadcast((pthread_cond_t *)c));
}

int cnd_wait(cnd_t *c, mtx_t *m)
{
    return word(pthread_cond_wait((pthread_cond_t *)c, (pthread_mutex_t *)m));
}

int cnd_timedwait(cnd_t *restrict c, mtx_t *restrict m, const struct timespec *restrict until)
{
    return word(pthread_cond_timedwait((pthread_cond_t *)c, (pthread_mutex_t *)m, until));
}

void call_once(once_flag *flag, void (*run)(void))
{
    pthread_once((pthread_once_t *)flag, run);
}

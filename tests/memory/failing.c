/*
 * failing.c - memory that is out at a chosen moment: preloaded into a program (LD_PRELOAD), it lets one allocation fail.
 *
 * FAIL_MALLOC=N is the N-th of the program and its libraries, all threads together; it fails, and so does each one after it.
 * None fails when it is 0. FAIL_MALLOC_COUNT is a file that is told at the program's end how many there were.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *of, size_t size);

static atomic_ulong count;
static unsigned long fails_at;

__attribute__((constructor)) static void begin(void)
{
    const char *at = getenv("FAIL_MALLOC");

    atomic_store(&count, 0); /* what is taken before that belongs to nobody */
    fails_at = at ? strtoul(at, NULL, 10) : 0;
}

__attribute__((destructor)) static void end(void)
{
    const char *path = getenv("FAIL_MALLOC_COUNT");
    int file = path ? open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644) : -1;

    if (file < 0)
        return;
    dprintf(file, "%lu\n", atomic_load(&count));
    close(file);
}

static bool fails(void)
{
    unsigned long n = atomic_fetch_add(&count, 1) + 1;

    if (!fails_at || n < fails_at)
        return false;
    errno = ENOMEM;
    return true;
}

void *malloc(size_t size)
{
    return fails() ? NULL : __libc_malloc(size);
}

void *calloc(size_t n, size_t size)
{
    return fails() ? NULL : __libc_calloc(n, size);
}

void *realloc(void *of, size_t size)
{
    return fails() ? NULL : __libc_realloc(of, size);
}

/*
 * captured.h - what a program under test says on its standard error, as far as a pipe holds it (64 KiB), unless a thread reads
 * capture_fd meanwhile.
 */
#ifndef SHELFWIRE_CAPTURED_H
#define SHELFWIRE_CAPTURED_H

#include <stdio.h>
#include <unistd.h>

static int capture_fd, capture_real;

static inline void capture(void)
{
    int fds[2];

    if (pipe(fds) < 0)
        _exit(1);
    capture_fd = fds[0];
    capture_real = dup(STDERR_FILENO);
    dup2(fds[1], STDERR_FILENO);
    close(fds[1]);
}

static inline void capture_end(void)
{
    dup2(capture_real, STDERR_FILENO);
    close(capture_real);
}

/* What was said since capture(); the caller closes it. */
static inline FILE *captured(void)
{
    capture_end();
    return fdopen(capture_fd, "r");
}

#endif

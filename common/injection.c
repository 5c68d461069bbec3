#include "common/injection.h"

#ifdef SHELFWIRE_INJECTION_POINTS

#include "common/log.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const names[] = {
#define POINT(name, about) #name,
    INJECTION_POINTS(POINT)
#undef POINT
};

enum { UNREAD = -2, NOWHERE = -1 };

/* From the environment: which point, and how many times it is still passed. A name that is none ends the program. */
static int read_where(long *ret_left)
{
    const char *said = getenv("INJECT_AT");

    if (!said || !*said)
        return NOWHERE;
    size_t len = strcspn(said, ":");
    *ret_left = said[len] ? strtol(said + len + 1, NULL, 10) : 1;
    for (int i = 0; i < (int)(sizeof names / sizeof *names); i++)
        if (strlen(names[i]) == len && !memcmp(names[i], said, len))
            return i;
    log_error("INJECT_AT=%s: there is no such point; common/injection.h has them", said);
    exit(100);
}

void injection_point(enum injection_point at)
{
    static int where = UNREAD;
    static long left;

    if (where == UNREAD)
        where = read_where(&left);
    if ((int)at != where || --left > 0)
        return;
    where = NOWHERE;
    log_warn("stopped at %s", names[at]);
    raise(SIGSTOP);
}

#else

typedef int injection_is_not_built; /* a file wants something in it */

#endif

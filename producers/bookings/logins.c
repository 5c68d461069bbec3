#include "producers/bookings/logins.h"

#include "common/scoped.h"
#include "common/settings.h"
#include "common/text.h"

enum { PAUSE_MS_MIN = 1000, PAUSE_MS_MAX = 30000 };

struct fault logins_may(struct logins *l, const struct loop *loop)
{
    if (l->as_of != settings_changes)
        *l = (struct logins){.as_of = settings_changes};
    return loop_now(loop) < l->at_us ? FAULT(RETRY, "%s", l->trouble) : FAULT_OK;
}

void logins_done(struct logins *l)
{
    l->pause_ms = 0;
}

static void pause_for(struct logins *l, const struct loop *loop, int64_t ms, const char *why)
{
    text_copy(l->trouble, sizeof l->trouble, why);
    l->at_us = loop_now(loop) + ms * 1000;
}

void logins_failed(struct logins *l, const struct loop *loop, const struct answer *a, const char *why)
{
    int64_t ms = l->pause_ms ? l->pause_ms : PAUSE_MS_MIN;

    if (a->cause == CAUSE_CREDENTIALS || ms > PAUSE_MS_MAX)
        ms = PAUSE_MS_MAX;
    l->pause_ms = 2 * ms;
    pause_for(l, loop, ms < a->wait_ms ? a->wait_ms : ms, why);
}

struct fault logins_in_vain(struct logins *l, const struct loop *loop, const char *why)
{
    pause_for(l, loop, PAUSE_MS_MAX, why);
    return FAULT(RETRY, "%s", l->trouble);
}

/*
 * logins.h - when a producer of bookings may log in again. One that was refused is not pressed; one that nobody answered is tried
 * again soon, and then less and less often.
 */
#ifndef SHELFWIRE_BOOKINGS_LOGINS_H
#define SHELFWIRE_BOOKINGS_LOGINS_H

#include "common/answer.h"
#include "common/loop.h"

struct logins { /* begins as zero */
    int64_t at_us, pause_ms; /* not before; after the next that nobody answers */
    char trouble[240];       /* of the last one */
    unsigned as_of;          /* settings_changes: with another secret it is tried at once */
};

/* RETRY, with the last one's trouble, while it is too early. */
struct fault logins_may(struct logins *l, const struct loop *loop);

void logins_done(struct logins *l);
void logins_failed(struct logins *l, const struct loop *loop, const struct answer *a, const char *why);

/* What it brought was refused at once, again and again; the fault to return. */
struct fault logins_in_vain(struct logins *l, const struct loop *loop, const char *why);

#endif

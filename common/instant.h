/*
 * instant.h - points in time as whole seconds since 1970-01-01T00:00:00Z.
 *
 * Only years 1970 to 9999 are read or written. A leap second (:60) is read as the second after it.
 */
#ifndef SHELFWIRE_INSTANT_H
#define SHELFWIRE_INSTANT_H

#include <stdbool.h>
#include <stdint.h>

enum { INSTANT_SIZE = sizeof "2026-10-12T14:00:00Z" };

/*
 * RFC 3339: `2026-10-12T10:00:00-04:00`, `...Z`; a fraction of a second is read and dropped; the offset may lack
 * its colon. ret_offset_seconds (may be NULL) is the offset east of UTC. False when it is not one.
 */
bool instant_read(const char *written, int64_t *ret, int *ret_offset_seconds);

void instant_write(int64_t instant, char ret[INSTANT_SIZE]); /* always `Z` */

/* Days since 1970-01-01 of the local date at an instant, where the clock is offset_seconds east of UTC. */
int64_t instant_local_day(int64_t instant, int offset_seconds);

#endif

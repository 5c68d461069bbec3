/*
 * decide.h - LibCal's rows as producers/bookings wants them: as a set, and as slots. Pure, but for the memory it takes.
 */
#ifndef SHELFWIRE_LIBCAL_BOOKINGS_DECIDE_H
#define SHELFWIRE_LIBCAL_BOOKINGS_DECIDE_H

#include "common/vendors/libcal.h"
#include "producers/bookings/survey.h"

struct fault pass_add(struct pass *p, const struct libcal_rows *rows, bool *ret_new);

/* lid: of these rows, only those of this location and those that name none; 0: all. */
struct fault sheet_fill(struct sheet *s, const struct pass *p, int64_t lid, const char *destination);

#endif

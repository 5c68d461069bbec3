/*
 * write.h - what a survey decided, as rows: bookings, appts, the desk. One transaction a location.
 */
#ifndef SHELFWIRE_LIBCAL_BOOKINGS_WRITE_H
#define SHELFWIRE_LIBCAL_BOOKINGS_WRITE_H

#include "common/producer.h"
#include "producers/libcal-bookings/decide.h"

/*
 * The windows that are wanted and not long over, into the survey, which borrows their texts from *ret: the location's, and
 * those which other locations with the same destination have of its bookIds. The survey's list is filled before.
 */
struct fault read_appts(struct producer *p, const char *location_id, struct survey *s, PGresult **ret);

/* Bookings the old script has seen and nothing was ever written of; free(*ret_taken), which borrows from *ret. */
struct fault read_taken(struct producer *p, PGresult **ret, struct taken **ret_taken);

struct fault write_survey(struct producer *p, const char *location_id, const struct survey *s, size_t *ret_bookings);

/* A visit that is over needs nobody any more. */
struct fault close_past(struct producer *p);

#endif

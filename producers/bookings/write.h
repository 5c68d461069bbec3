/*
 * write.h - what a survey decided, as rows: bookings, appts, the desk. One transaction a place.
 */
#ifndef SHELFWIRE_BOOKINGS_WRITE_H
#define SHELFWIRE_BOOKINGS_WRITE_H

#include "common/producer.h"
#include "producers/bookings/survey.h"

/* Gives the place to windows that have none: those which the survey's list shows, or, with `rest`, all of its destination. */
struct fault adopt_placeless(struct producer *p, const char *place_id, const struct survey *s, bool rest);

/*
 * Takes out of a sheet of the survey what is of people who were erased (schemas/sql, 009). Who is erased after that makes
 * write_survey fail: the place is to be read again.
 */
struct fault leave_out_erased(struct producer *p, struct survey *s, struct sheet *sheet);

/*
 * The windows that are wanted and not long over, into the survey, which borrows their texts from *ret: the place's, and
 * those which other places with the same destination have of its bookIds. The survey's list is filled before.
 */
struct fault read_appts(struct producer *p, const char *place_id, struct survey *s, PGresult **ret);

struct fault write_survey(struct producer *p, const char *place_id, const struct survey *s, size_t *ret_bookings);

/* A visit that is over needs nobody any more. */
struct fault close_past(struct producer *p);

#endif

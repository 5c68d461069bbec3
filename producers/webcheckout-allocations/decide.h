/*
 * decide.h - WebCheckout's allocations as producers/bookings wants them: as a set, and as slots, one an allocation. Pure, but
 * for the memory it takes.
 *
 * What a state means is the library's to say (WEBCHECKOUT_LIVE_STATES, WEBCHECKOUT_DEAD_STATES): no public source has a list.
 *   live      opens the gate
 *   dead      ends a window; but one that was handed over before (its realStartTime has passed, or its realEndTime lies behind
 *             its start) was given back: that starts no window and takes none back, as a check-out in LibCal, or the desk
 *             would be sent to the gate at every return
 *   any other is the desk's: it neither starts a window nor ends one
 *
 * The lists show only what is live, so that of a known allocation which is no longer in one WebCheckout is asked, by its oid.
 * What was given back will not change, and need not be asked about again: it is remembered here until it is over, and
 * stands in for the row that the lists do not show.
 */
#ifndef SHELFWIRE_WEBCHECKOUT_ALLOCATIONS_DECIDE_H
#define SHELFWIRE_WEBCHECKOUT_ALLOCATIONS_DECIDE_H

#include "common/vendors/webcheckout.h"
#include "producers/bookings/survey.h"

/* The settings that decide, besides `rules`, whose statuses are the live states. */
struct states {
    struct setting_list dead;
    bool by_barcode; /* the person's id is the patron's barcode, not the userid */
};
extern struct states states;

enum webcheckout_state state_of(const char *state);

/* Whether a row may open the gate within the days that are watched, so that its person must be known. */
bool is_watched(const struct webcheckout_allocation *a, int64_t now);

enum { BY_OID = -1 };

/*
 * Adds a centre's rows. search: of a list, its number, from 0 up: of two rows of one allocation, which has changed its state
 * between two searches, the later one is right; of a list, rows that are over or beyond the days watched are left out. Or
 * BY_OID. Rows of another centre are left out; so are dead ones that have lost their times, as if they were gone.
 */
struct fault pass_take(struct pass *p, const struct webcheckout_rows *rows, int64_t center, int search, int64_t now);

/* Adds what was given back at this centre and is not over. */
struct fault recall(struct pass *p, int64_t center, int64_t now);

/* As struct reader wants it (places.h). */
struct fault sheet_fill(struct sheet *s, const struct pass *p, int64_t center, const char *destination);

#endif

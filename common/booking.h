/*
 * booking.h - one access window of a booking, as the topics bookings.new, users.resolve and prereg.create carry it
 * (schemas/booking-window.schema.json).
 *
 * A message only triggers: what is wanted, sent and known of a window is in `appts`, what is known of the person in
 * `users`. Ids and texts are as the schema says: ids printable ASCII, the destination UTF-8 without control characters.
 */
#ifndef SHELFWIRE_BOOKING_H
#define SHELFWIRE_BOOKING_H

#include "common/fault.h"
#include "common/text.h"

#include <stddef.h>
#include <stdint.h>

struct booking {
    char source[16];       /* "libcal", "webcheckout": which service it was booked in */
    char booking_id[65];   /* LibCal's bookId, the oid of WebCheckout's allocation */
    char appt_id[37];      /* our own id of the window (UUID, lower case), key of `appts` */
    char asked_id[65];     /* who booked, as written there, normalised */
    char primary_id[65];   /* Alma's id of that person; "" in bookings.new, required after it */
    int64_t start, end;    /* instants, start < end; written as RFC 3339 in UTC */
    char destination[129]; /* the gate's name of the place */
};

/* Reads a message's value. REJECT says what is wrong with it. with_primary_id: the topics after bookings.new. */
struct fault booking_read(const char *value, size_t len, bool with_primary_id, struct booking *ret);

/* Appends the message's value. */
void booking_write(struct text *to, const struct booking *b);

#endif

/*
 * decide.h - what LibCal's rows mean for the gate: rows as a set, a row as a slot, and for one bookId at a time which
 * windows stay, are lost, are new, or must be asked about. Pure, but for the memory it takes.
 *
 * A survey is one read of one location and what came of it. It is filled in this order: `pass` (the rows), `list` (the
 * slots), `appts` and `made` (the windows that are wanted), then decide_all; then, when something is doubtful, `by_id`
 * and `answer` with what LibCal says of those bookIds, and decide_doubtful for each.
 *
 * Memory    slots borrow the pass's rows, windows borrow the slots' ids and the caller's texts; survey_free releases all.
 * Failure   FATAL when memory is out.
 */
#ifndef SHELFWIRE_LIBCAL_BOOKINGS_DECIDE_H
#define SHELFWIRE_LIBCAL_BOOKINGS_DECIDE_H

#include "common/settings.h"
#include "common/vendors/libcal.h"
#include "common/windows.h"

#include <uthash.h>

/* The settings that decide. */
struct rules {
    const char *id_question;
    regex_t *id_pattern;
    struct setting_list statuses;
    int64_t days_ahead, minutes_before, minutes_after;
};
extern struct rules rules;

/* ---- rows as a set ---- */

struct seen_row {
    struct libcal_row row; /* canonical: bytes that mean nothing are zero */
    UT_hash_handle hh;
};

struct seen_bad {
    struct libcal_bad bad;
    UT_hash_handle hh;
};

struct pass {
    struct seen_row *rows;
    struct seen_bad *bad;
    int pages; /* that brought something */
};

struct fault pass_add(struct pass *p, const struct libcal_rows *rows, bool *ret_new);
void pass_free(struct pass *p);
bool passes_agree(const struct pass *a, const struct pass *b);

/* Adds to the later pass the bookings only the earlier one has seen; of those both have seen the later pass is right. */
struct fault pass_merge(struct pass *later, const struct pass *earlier);

/* Whether "today" was another day, by any clock the rows were written by, when the read ended. */
bool over_midnight(const struct pass *p, int64_t first, int64_t last);

/* ---- a row as a slot ---- */

enum problem { FINE, UNKNOWN_STATUS, BLANK_ID, BAD_ID };

struct slot {
    const struct libcal_row *row;
    enum libcal_status status;
    enum problem problem; /* it neither starts a window nor ends one */
    char why[160];        /* the problem, for the desk */
    char asked[LIBCAL_ID_SIZE]; /* "" when it is not an id */
};

/* Rows of a list or of an answer by id, in the order of their bookIds; window rows beside them. */
struct sheet {
    struct slot *slots;
    struct window_row *rows;
    size_t count;
};

/* lid: of these rows, only those of this location and those that name none; 0: all. */
struct fault sheet_fill(struct sheet *s, const struct pass *p, int64_t lid, const char *destination);

/* Where a bookId's rows are: [*ret_from, +returned). */
size_t sheet_find(const struct sheet *s, const char *book_id, size_t *ret_from);

/* REJECT: no stage could read a message with these. */
struct fault sendable(const char *book_id, const char *asked_id, const char *destination);

/* ---- a location ---- */

/* A window that is wanted, of this location or, with the same bookId and destination, of another (window_made.elsewhere). */
struct appt { /* its struct window_made is beside it */
    const char *appt_id, *book_id;
    int offset_s;
    const char *lost; /* decided: why it is wanted no longer; NULL: it is */
};

struct wanted { /* decided: a new window */
    struct window_new w;
    const char *book_id, *email;
    int offset_s;
    const char *answer, *prereg_id; /* taken over; else NULL */
    char reason[160];
};

struct taken { /* the old script made a pre-registration for it, and no window of it was ever written */
    const char *book_id, *prereg_id; /* NULL: the old script lost it */
    int64_t at;
};

struct survey {
    const char *destination;
    int64_t lid, now;
    bool steady; /* the read may judge what is gone */
    struct pass pass, by_id;
    struct sheet list, answer;
    struct appt *appts; /* by book_id */
    struct window_made *made;
    size_t appt_count;
    const struct taken *taken; /* by book_id */
    size_t taken_count;

    struct wanted *wanted;
    size_t wanted_count, wanted_room, dropped;
    const char **doubtful; /* bookIds to ask about */
    size_t doubtful_count;
    const char **gone; /* confirmed: LibCal has no row of it any more */
    size_t gone_count;
    struct windows windows;
};

struct fault decide_all(struct survey *s);

/* One doubtful bookId: by the rows of `answer`, or, when it could not be had, by what the list made certain. */
struct fault decide_doubtful(struct survey *s, const char *book_id, bool answered);

void survey_free(struct survey *s);

#endif

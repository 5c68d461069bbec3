/*
 * survey.h - what a service's rows mean for the gate: a row as a slot, and for one bookId at a time which windows stay, are
 * lost, are new, or must be asked about. Pure, but for the memory it takes. What is a service's own (how its rows are read,
 * its words) is the program's: `source` and the functions that fill sheets.
 *
 * A survey is one read of one place (a location, a checkout centre) and what came of it. It is filled in this order: `pass`
 * (the rows), `list` (the slots), `appts` and `made` (the windows that are wanted), then decide_all; then, when something is
 * doubtful, `by_id` and `answer` with what the service says of those bookIds, and decide_doubtful for each.
 *
 * Memory    slots borrow the pass's rows, windows borrow the slots' ids and the caller's texts; survey_free releases all.
 * Failure   FATAL when memory is out.
 */
#ifndef SHELFWIRE_BOOKINGS_SURVEY_H
#define SHELFWIRE_BOOKINGS_SURVEY_H

#include "common/settings.h"
#include "common/windows.h"
#include "producers/bookings/pass.h"

#include <regex.h>

/* The settings that decide. */
struct rules {
    const char *id_question; /* where the person's id stands: the question on the form, the patron's property */
    regex_t *id_pattern;
    struct setting_list statuses; /* that open the gate */
    int64_t days_ahead, minutes_before, minutes_after;
};
extern struct rules rules;

/* ---- a row as a slot ---- */

enum problem { FINE, UNKNOWN_STATUS, BLANK_ID, BAD_ID };

/* Why a window is lost: the later, the more is known, and that is what is said. */
enum loss { GONE, MOVED, DESTINATION, PERSON, WAITS, DENIED, CANCELLED, LOSS_COUNT };

struct slot {
    const void *row; /* the program's */
    const char *book_id, *email, *first_name, *last_name; /* "" when unknown */
    int64_t start, end;
    int offset_s;
    bool live;            /* its status opens the gate */
    enum loss ended;      /* of one that is not: what its status means for a window it was made for */
    enum problem problem; /* it neither starts a window nor ends one */
    char why[200];        /* the problem, for the desk */
    char asked[BOOK_ID_SIZE]; /* "" when it is not an id */
};

/* Rows of a list or of an answer by id, in the order of their bookIds (strcmp); window rows beside them. */
struct sheet {
    struct slot *slots;
    struct window_row *rows;
    size_t count;
};

/* Room for so many. */
struct fault sheet_make(struct sheet *s, size_t room);

/* Without the slots whose places are given, in order. */
void sheet_leave_out(struct sheet *s, const size_t *places, size_t count);

/* Where a bookId's rows are: [*ret_from, +returned). */
size_t sheet_find(const struct sheet *s, const char *book_id, size_t *ret_from);

/* REJECT: no stage could read a message with these. */
struct fault sendable(const char *book_id, const char *asked_id, const char *destination);

/* ---- the service ---- */

struct json_object;

struct source { /* the program's: it defines `source` */
    const char *name;  /* as rows and messages name it: "libcal" */
    const char *place; /* what it is read by: "location" */
    const char *losses[LOSS_COUNT];
    bool shows_begun; /* a list also has what began on an earlier day and is not over */
    struct json_object *(*said)(const struct slot *slot); /* the row as `bookings.said` keeps it; a new reference */
};
extern const struct source source;

/* ---- a place ---- */

/* A window that is wanted, of this place or, with the same bookId and destination, of another (window_made.elsewhere). */
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

struct taken { /* an older program made a pre-registration for it, and no window of it was ever written */
    const char *book_id, *prereg_id; /* NULL: the older program lost it */
    int64_t at;
};

struct survey {
    const char *destination;
    int64_t lid, now; /* the place's number */
    bool steady; /* the read may judge what is gone */
    int64_t erased; /* the last booking of an erased person that was known when its rows were left out */
    struct pass pass, by_id;
    struct sheet list, answer;
    struct sheet listed; /* the list as it was, after survey_adopt */
    struct appt *appts; /* by book_id */
    struct window_made *made;
    size_t appt_count;
    const struct taken *taken; /* by book_id */
    size_t taken_count;

    struct wanted *wanted;
    size_t wanted_count, wanted_room, dropped;
    const char **doubtful; /* bookIds to ask about */
    size_t doubtful_count;
    const char **gone; /* confirmed: the service has no row of it any more */
    size_t gone_count;
    struct windows windows;
};

/* Whether a row of the list may be what a window was made for whose place nobody knows. *ret_offset_s: that row's clock. */
bool survey_shows(const struct survey *s, const char *book_id, int64_t start, int64_t end, int *ret_offset_s);

/* Whether a row that starts then is of the days that are watched. */
bool within_days(int64_t start, int offset_s, int64_t now);

struct fault decide_all(struct survey *s);

/* One doubtful bookId: by the rows of `answer`, or, when it could not be had, by what the list made certain. */
struct fault decide_doubtful(struct survey *s, const char *book_id, bool answered);

/*
 * For a service whose list shows only what is live: makes the answers by id part of the list, of bookIds it does not have,
 * so that what they say is written and the desk hears of it. After the decisions.
 */
struct fault survey_adopt(struct survey *s);

void survey_free(struct survey *s);

#endif

/*
 * windows.h - from the rows of one booking to its access windows, compared with those that exist already. Pure.
 *
 * A service lists a booking as rows: slots of one bookId, several a day or over days, several seats at one time, each
 * with its own status. The gate knows windows: from when to when a person may enter a destination. windows_compare
 * takes every row of ONE bookId that a read has shown and every live window of that bookId, and says which windows
 * stay, which have lost their reason, and which are to be made. Destination and person are compared byte for byte; a
 * window of one destination and person is never judged by the rows of another. A window made `elsewhere`, for rows that
 * are not among these, always stays: it covers what it covers, and nothing else is said of it.
 *
 * What is wanted   Slots widened by the margins, merged where they touch or overlap.
 * What stays       A window that lies within what is wanted, reckoned with the margins it was made with itself: other
 *                  margins in the settings disturb nothing that was made. Only what lies ahead of `now` is judged, so
 *                  slots gone by may leave the list, and a window that has ended always stays. A live row that is
 *                  checked in or out and overlaps a window (by that window's margins) keeps it: check-in rewrites the
 *                  row's times.
 * What is new      What is wanted by rows not checked in or out and no window that stays covers, piece by piece. A
 *                  piece that holds no booked time, only margin, or that has ended is not made. So an extension makes
 *                  one window for what it adds, and a shortened booking drops its window and makes a shorter one.
 * What is doubtful A DROP is `certain` when rows were seen for all of the window and those that are not live explain
 *                  it. Otherwise something has moved or vanished, which one read cannot prove: the caller asks for
 *                  the bookId, calls again with the rows of that answer, and acts on every DROP of that second call,
 *                  certain or not. Meanwhile it makes what is new at once, except what `waits`: that overlaps a
 *                  doubtful window of the same person and would be a duplicate if the window turns out to be right.
 * What to pass     Only windows that the read could show: a complete read of the window's location, over its days; and as
 *                  `elsewhere` those of other locations with the same destination.
 *
 * Units      instants as in instant.h, within its years; margins are seconds, 0 or more. A window is [start, end).
 * Memory     texts are borrowed and the result borrows them from `rows`. windows_free releases the result's memory;
 *            a zeroed struct windows is an empty one and may be used again for the next booking.
 * Cost       n log n in rows and windows. Any order of rows and windows, any duplicates.
 * Failure    FATAL when memory is out; nothing else.
 */
#ifndef SHELFWIRE_WINDOWS_H
#define SHELFWIRE_WINDOWS_H

#include "common/fault.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct window_row {
    int64_t start, end; /* as booked, without margins */
    bool live;          /* it gives access: its status does, and destination and person are known */
    bool checked_in;    /* checked in or out */
    const char *destination, *person; /* NULL where unknown: such a row explains no window's loss */
};

enum window_verdict { KEEP, DROP };

struct window_made {
    int64_t start, end;    /* as made, margins included */
    int before_s, after_s; /* the margins it was made with */
    const char *destination, *person; /* never NULL */
    bool elsewhere;        /* made for other rows than these */
    enum window_verdict verdict;      /* set by windows_compare */
    bool certain;                     /* set by windows_compare; of a DROP: no need to ask for the bookId */
};

struct window_new {
    int64_t start, end; /* margins included */
    const char *destination, *person;
    bool waits; /* for the answer to a doubtful DROP */
};

struct windows {
    struct window_new *at; /* by destination, person, start; those of one destination and person never overlap */
    size_t count, room;
    size_t unusable; /* rows that end no later than they start, and live rows without destination or person: ignored,
                        except that a checked-in one still keeps the window it lies in */
};

struct fault windows_compare(const struct window_row *rows, size_t n, struct window_made *made, size_t m, int before_s,
                             int after_s, int64_t now, struct windows *ret_new);

void windows_free(struct windows *w);

#endif

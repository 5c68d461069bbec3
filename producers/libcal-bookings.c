/*
 * libcal-bookings - the bookings of rooms and seats in LibCal, as windows in which a person may pass the gate.
 *   in    LibCal GET /1.1/space/bookings, every LIBCAL_POLL_SECONDS, location by location
 *   row   bookings(booking): what LibCal last said; appts(window): what is wanted, one row an access window
 *   out   bookings.new   key asked_id   schemas/bookings.new.schema.json
 *
 * A location is read page by page until a page brings nothing new; a list of several pages is read again until two passes
 * agree. The rows of one bookId are compared as a set with the windows that are wanted of it (windows.h). What is new
 * becomes a row, and is sent; what has lost its reason is no longer wanted, and the desk hears of it where the gate knows it
 * already. All of one location's changes are one transaction.
 *
 * What one read cannot prove (a booking that is not in the list, a slot that moved) is asked for by id. Nothing is judged gone
 *   - when the list never held still, or was read over midnight, when "today" becomes another day
 *   - when the question by id fails: the next poll asks again
 *   - where LibCal shows a row that we cannot make sense of: unreadable, of an unknown status, or without an id. Such a row
 *     goes to the desk; it neither starts a window nor ends one.
 *
 * The cut-over. The script this replaces made one pre-registration a bookId, for the bookings of its day, and left no times
 * behind: `taken_over` holds its bookIds. So when a booking in there is seen for the first time, its window of that day or
 * earlier is written as made already. Several windows of that day: the script made one of them, nobody knows which; they are
 * written as unknown, which is never sent, and a person says of each whether it is at the gate. Its windows of later days are
 * new as any.
 */
#include "common/booking.h"
#include "common/db.h"
#include "common/instant.h"
#include "common/json.h"
#include "common/log.h"
#include "common/metrics.h"
#include "common/producer.h"
#include "common/vendors/libcal.h"
#include "common/windows.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>
#include <time.h>
#include <uthash.h>

enum {
    PASSES_MAX = 4,
    PAGES_MAX = 1000,
    LOGINS_A_QUESTION = 2,
    LOGIN_PAUSE_S = 30,
    RATE_PAUSE_S = 60,
    WRITE_MAX = 1000, /* rows a statement */
    SEEN_AGAIN_S = 3600,
};

/* ---- settings ---- */

static const char *libcal_url, *client_id, *client_secret, *id_question;
static regex_t *id_pattern;
static struct setting_list location_ids, statuses;
static json_object *destinations;
static int64_t days_ahead, poll_seconds, timeout_ms, minutes_before, minutes_after;

static const struct setting settings[] = {
    {"LIBCAL_URL", SET_URL, NULL, .required = true, .to = &libcal_url, .help = "LibCal's address, as https://example.libcal.com"},
    {"LIBCAL_CLIENT_ID", SET_TEXT, NULL, .required = true, .to = &client_id,
     .help = "id of the application made in LibCal (Admin, API, API Authentication), with the scope sp_r"},
    {"LIBCAL_CLIENT_SECRET", SET_SECRET, NULL, .required = true, .to = &client_secret, .help = "and its secret"},
    {"LIBCAL_LOCATIONS", SET_LIST, NULL, .required = true, .to = &location_ids, .help = "ids of the locations to watch (lid), as 1234,1235"},
    {"LIBCAL_ID_QUESTION", SET_TEXT, NULL, .required = true, .to = &id_question,
     .help = "the question on the booking form that asks for the person's id, as q12505"},
    {"LIBCAL_ID_PATTERN", SET_REGEX, NULL, .to = &id_pattern,
     .help = "what such an id looks like, a POSIX extended regular expression for all of it, as G[0-9]{8}; any when not set"},
    {"LIBCAL_STATUSES", SET_LIST, "Confirmed,Mediated Approved", .to = &statuses, .help = "the statuses of a booking that open the gate"},
    {"LIBCAL_DAYS_AHEAD", SET_WHOLE, "2", .least = 0, .most = 365, .to = &days_ahead, .help = "how many days after today are watched"},
    {"LIBCAL_POLL_SECONDS", SET_WHOLE, "300", .least = 1, .most = 86400, .to = &poll_seconds,
     .help = "how often LibCal is looked at; be gentle: 60 or more"},
    {"LIBCAL_TIMEOUT_MS", SET_WHOLE, "15000", .least = 100, .most = 300000, .to = &timeout_ms, .help = "how long LibCal may take to answer, milliseconds"},
    {"PASSAGEPOINT_DESTINATIONS", SET_JSON, NULL, .required = true, .to = &destinations,
     .help = "the gate's destination for each location, as {\"1234\": \"Main Library\"}; \"*\" stands for the others"},
    {"PREREG_MINUTES_BEFORE", SET_WHOLE, "0", .least = 0, .most = 1440, .to = &minutes_before,
     .help = "how long before a booking the gate opens, minutes"},
    {"PREREG_MINUTES_AFTER", SET_WHOLE, "0", .least = 0, .most = 1440, .to = &minutes_after, .help = "and how long after it"},
    {0}};

/* ---- locations ---- */

struct noted { /* a row that could not be read and was logged */
    char why[120];
    bool still;
    UT_hash_handle hh;
};

struct place {
    const char *id, *destination;
    int64_t lid, good_at; /* last poll that succeeded; 0: none */
    char trouble[240];    /* of the last poll; "" */
    bool polled;
    struct noted *noted;
    struct metric *ok, *failed, *seen, *good;
};

static struct place *places;
static int place_count;
static struct metric *made_metric, *dropped_metric;

/* ---- reading: rows as a set ---- */

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

static void canonical(const struct libcal_row *from, struct libcal_row *ret)
{
#define NUMBER(name) ret->name = from->name
#define STRING(name) strcpy(ret->name, from->name)
    memset(ret, 0, sizeof *ret);
    STRING(book_id), STRING(status), STRING(first_name), STRING(last_name), STRING(email), STRING(account), STRING(answer);
    NUMBER(id), NUMBER(eid), NUMBER(cid), NUMBER(lid), NUMBER(seat_id), NUMBER(start), NUMBER(end), NUMBER(offset_seconds);
    NUMBER(answer_too_long), NUMBER(check_in), NUMBER(cancelled), NUMBER(is_event);
#undef NUMBER
#undef STRING
}

static struct fault pass_add_row(struct pass *p, const struct libcal_row *row, bool *ret_new)
{
    struct libcal_row key;
    struct seen_row *known;

    canonical(row, &key);
    HASH_FIND(hh, p->rows, &key, sizeof key, known);
    if (known)
        return FAULT_OK;
    known = malloc(sizeof *known);
    if (!known)
        return FAULT(FATAL, "out of memory");
    memcpy(&known->row, &key, sizeof key);
    HASH_ADD(hh, p->rows, row, sizeof key, known);
    *ret_new = true;
    return FAULT_OK;
}

static struct fault pass_add_bad(struct pass *p, const struct libcal_bad *bad, bool *ret_new)
{
    struct seen_bad *known;

    HASH_FIND_STR(p->bad, bad->why, known);
    if (known)
        return FAULT_OK;
    known = calloc(1, sizeof *known);
    if (!known)
        return FAULT(FATAL, "out of memory");
    known->bad = *bad;
    HASH_ADD_STR(p->bad, bad.why, known);
    *ret_new = true;
    return FAULT_OK;
}

static struct fault pass_add(struct pass *p, const struct libcal_rows *rows, bool *ret_new)
{
    *ret_new = false;
    for (size_t i = 0; i < rows->count; i++)
        TRY(pass_add_row(p, &rows->at[i], ret_new));
    for (size_t i = 0; i < rows->bad_count; i++)
        TRY(pass_add_bad(p, &rows->bad[i], ret_new));
    p->pages += *ret_new;
    return FAULT_OK;
}

static void pass_free(struct pass *p)
{
    struct seen_row *row, *next_row;
    struct seen_bad *bad, *next_bad;

    HASH_ITER(hh, p->rows, row, next_row)
    {
        HASH_DEL(p->rows, row);
        free(row);
    }
    HASH_ITER(hh, p->bad, bad, next_bad)
    {
        HASH_DEL(p->bad, bad);
        free(bad);
    }
    *p = (struct pass){0};
}

static bool passes_agree(const struct pass *a, const struct pass *b)
{
    struct seen_row *found;

    if (HASH_COUNT(a->rows) != HASH_COUNT(b->rows) || HASH_COUNT(a->bad) != HASH_COUNT(b->bad))
        return false;
    for (const struct seen_row *r = a->rows; r; r = r->hh.next) {
        HASH_FIND(hh, b->rows, &r->row, sizeof r->row, found);
        if (!found)
            return false;
    }
    return true;
}

struct named {
    const char *book_id;
    UT_hash_handle hh;
};

/* Adds to the later pass the bookings only the earlier one has seen; of those both have seen the later pass is right. */
static struct fault pass_merge(struct pass *later, const struct pass *earlier)
{
    struct named *known = NULL, *n, *next;
    struct fault f = FAULT_OK;
    bool is_new;

    for (struct seen_row *r = later->rows; r && !f.kind; r = r->hh.next) {
        HASH_FIND_STR(known, r->row.book_id, n);
        if (n)
            continue;
        if (!(n = malloc(sizeof *n))) {
            f = FAULT(FATAL, "out of memory");
            break;
        }
        n->book_id = r->row.book_id;
        HASH_ADD_KEYPTR(hh, known, n->book_id, (unsigned)strlen(n->book_id), n);
    }
    for (const struct seen_row *r = earlier->rows; r && !f.kind; r = r->hh.next) {
        HASH_FIND_STR(known, r->row.book_id, n);
        if (!n)
            f = pass_add_row(later, &r->row, &is_new);
    }
    for (const struct seen_bad *b = earlier->bad; b && !f.kind; b = b->hh.next)
        f = pass_add_bad(later, &b->bad, &is_new);
    HASH_ITER(hh, known, n, next)
    {
        HASH_DEL(known, n);
        free(n);
    }
    return f;
}

/* Whether "today" was another day, by any clock the rows were written by, when the read ended. */
static bool over_midnight(const struct pass *p, int64_t first, int64_t last)
{
    for (const struct seen_row *r = p->rows; r; r = r->hh.next)
        if (instant_local_day(first, r->row.offset_seconds) != instant_local_day(last, r->row.offset_seconds))
            return true;
    return false;
}

/* ---- reading: what a row means for the gate ---- */

enum problem { FINE, UNKNOWN_STATUS, BLANK_ID, BAD_ID };
static const char *const problem_kinds[] = {NULL, "unknown_status", "blank_id", "bad_id"};

struct slot {
    const struct libcal_row *row;
    enum libcal_status status;
    enum problem problem; /* its row neither starts a window nor ends one */
    char why[160];
    char asked[LIBCAL_ID_SIZE]; /* "" when it is not an id */
};

/* Rows of a list or of an answer by id, in the order of their bookIds; window rows beside them. */
struct sheet {
    struct slot *slots;
    struct window_row *rows;
    size_t count;
};

/* What no stage could read must not be sent. */
static struct fault sendable(const char *book_id, const char *asked_id, const char *destination)
{
    struct booking b = {.source = "libcal", .appt_id = "00000000-0000-0000-0000-000000000000", .start = 0, .end = 1};
    struct text value = {0};

    text_copy(b.booking_id, sizeof b.booking_id, book_id);
    text_copy(b.asked_id, sizeof b.asked_id, asked_id);
    text_copy(b.destination, sizeof b.destination, destination);
    if (strcmp(b.destination, destination) != 0)
        return FAULT(REJECT, "destination: longer than %zu bytes", sizeof b.destination - 1);
    booking_write(&value, &b);
    struct fault f = booking_read(text_str(&value), value.len, false, &b);
    text_free(&value);
    return f;
}

static bool concerns_a_patron(const struct libcal_row *row)
{
    return !row->is_event && strcmp(row->book_id, "exchange") != 0 &&
           libcal_status_of(row->status, (const char *const *)statuses.items, (size_t)statuses.count) != LIBCAL_NOT_A_PATRON;
}

static void slot_read(const struct libcal_row *row, const char *destination, struct slot *ret, struct window_row *ret_row)
{
    *ret = (struct slot){.row = row};
    ret->status = libcal_status_of(row->status, (const char *const *)statuses.items, (size_t)statuses.count);
    if (row->cancelled)
        ret->status = LIBCAL_DEAD;
    struct fault f = libcal_asked_id(row->answer, id_pattern, ret->asked, sizeof ret->asked);
    if (!f.kind && (f = sendable(row->book_id, ret->asked, destination)).kind)
        ret->asked[0] = '\0';
    if (ret->status == LIBCAL_UNKNOWN) {
        char said[48];
        answer_quote(said, sizeof said, row->status, strlen(row->status));
        ret->problem = UNKNOWN_STATUS;
        snprintf(ret->why, sizeof ret->why, "LibCal says \"%s\", a status nobody here knows: if it opens the gate, add it to LIBCAL_STATUSES", said);
    } else if (ret->status == LIBCAL_LIVE && !row->answer[0] && !row->answer_too_long) {
        ret->problem = BLANK_ID;
        snprintf(ret->why, sizeof ret->why, "the booking form has no answer to %s: nobody can be let in", id_question);
    } else if (ret->status == LIBCAL_LIVE && f.kind) {
        ret->problem = BAD_ID;
        snprintf(ret->why, sizeof ret->why, "%s: mend it in LibCal", row->answer_too_long ? "the id is too long" : f.what);
    }
    *ret_row = (struct window_row){.start = row->start, .end = row->end, .live = ret->status == LIBCAL_LIVE && !ret->problem,
                                   .checked_in = row->check_in != LIBCAL_NOT_CHECKED, .destination = destination};
}

static int order_rows(const void *left, const void *right)
{
    const struct libcal_row *a = *(const struct libcal_row *const *)left, *b = *(const struct libcal_row *const *)right;
    int c = strcmp(a->book_id, b->book_id);

    if (!c)
        c = (a->start > b->start) - (a->start < b->start);
    if (!c)
        c = (a->end > b->end) - (a->end < b->end);
    return c ? c : memcmp(a, b, sizeof *a);
}

static void sheet_free(struct sheet *s)
{
    free(s->slots);
    free(s->rows);
    *s = (struct sheet){0};
}

/* rows: canonical, borrowed by the sheet. lid 0: all of them; else those of this location, and those that say none. */
static struct fault sheet_fill(struct sheet *s, const struct pass *p, int64_t lid, const char *destination)
{
    size_t n = HASH_COUNT(p->rows), count = 0;
    const struct libcal_row **sorted = calloc(n + 1, sizeof *sorted);

    s->slots = calloc(n + 1, sizeof *s->slots);
    s->rows = calloc(n + 1, sizeof *s->rows);
    if (!sorted || !s->slots || !s->rows) {
        free(sorted);
        return FAULT(FATAL, "out of memory");
    }
    for (const struct seen_row *r = p->rows; r; r = r->hh.next)
        if (concerns_a_patron(&r->row) && (!lid || !r->row.lid || r->row.lid == lid))
            sorted[count++] = &r->row;
    qsort(sorted, count, sizeof *sorted, order_rows);
    for (size_t i = 0; i < count; i++) {
        slot_read(sorted[i], destination, &s->slots[i], &s->rows[i]);
        s->rows[i].person = s->slots[i].asked[0] ? s->slots[i].asked : NULL;
    }
    s->count = count;
    free(sorted);
    return FAULT_OK;
}

/* Where a bookId's rows are: [*ret_from, +returned). */
static size_t sheet_find(const struct sheet *s, const char *book_id, size_t *ret_from)
{
    size_t low = 0, high = s->count, n = 0;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (strcmp(s->slots[middle].row->book_id, book_id) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    while (low + n < s->count && !strcmp(s->slots[low + n].row->book_id, book_id))
        n++;
    *ret_from = low;
    return n;
}

/* ---- deciding: one bookId ---- */

struct appt { /* beside its struct window_made */
    const char *appt_id, *book_id;
    int offset_s;
    const char *lost; /* why it is no longer wanted; NULL: it is */
};

struct wanted {
    struct window_new w;
    const char *book_id, *email;
    int offset_s;
    const char *answer, *prereg_id; /* taken over; else NULL */
    char reason[160];
};

struct taken {
    const char *book_id, *prereg_id; /* NULL: the old script lost it */
    int64_t at;
};

enum how {
    AT_FIRST,  /* what is doubtful is to be asked about: then nothing of the booking is decided yet */
    IN_DOUBT,  /* it was not, or could not be: only what is certain counts */
    CONFIRMED, /* rows by id: every loss is one */
};

struct survey { /* one location's read and what came of it */
    struct place *place;
    struct pass pass, by_id;
    struct sheet list, answer;
    struct appt *appts;
    struct window_made *made;
    size_t appt_count;
    struct wanted *wanted;
    size_t wanted_count, wanted_room, dropped;
    const char **doubtful; /* bookIds to ask about */
    size_t doubtful_count;
    const char **gone; /* confirmed */
    size_t gone_count;
    const struct taken *taken;
    size_t taken_count;
    int64_t now;
    bool steady; /* the read may judge what is gone */
    struct windows windows;
};

static bool slot_touches(const struct slot *s, const struct window_made *w)
{
    return s->row->start - w->before_s < w->end && s->row->end + w->after_s > w->start;
}

/* Whether a row that makes no sense to us may be what this window was made for. */
static bool held(const struct slot *slots, size_t n, const struct window_made *w)
{
    for (size_t i = 0; i < n; i++)
        if (slots[i].problem && slot_touches(&slots[i], w))
            return true;
    return false;
}

enum loss { GONE, MOVED, DESTINATION, PERSON, WAITS, DENIED, CANCELLED };
static const char *const losses[] = {
    [GONE] = "no longer in LibCal",           [MOVED] = "moved or shortened in LibCal",
    [DESTINATION] = "the destination changed", [PERSON] = "the person changed",
    [WAITS] = "no longer confirmed in LibCal", [DENIED] = "denied in LibCal",
    [CANCELLED] = "cancelled in LibCal",
};

static enum loss loss_of_slot(const struct slot *s, const struct window_made *w, const char *destination)
{
    bool other = s->asked[0] && strcmp(s->asked, w->person) != 0;

    if (!slot_touches(s, w))
        return MOVED;
    if (s->status == LIBCAL_LIVE)
        return other ? PERSON : strcmp(destination, w->destination) != 0 ? DESTINATION : MOVED;
    if (other)
        return MOVED;
    if (s->status == LIBCAL_WAITING)
        return WAITS;
    return strcasestr(s->row->status, "denied") ? DENIED : CANCELLED;
}

static const char *why_lost(const struct window_made *w, const char *destination, const struct slot *slots, size_t n,
                            const struct slot *more, size_t m)
{
    enum loss worst = GONE;

    for (size_t i = 0; i < n + m; i++) {
        enum loss loss = loss_of_slot(i < n ? &slots[i] : &more[i - n], w, destination);
        worst = loss > worst ? loss : worst;
    }
    return losses[worst];
}

/* A new window that would lie over one which is kept only because nobody understands its rows. */
static bool over_held(const struct window_new *piece, const struct window_made *made, const struct appt *appts, size_t m)
{
    for (size_t i = 0; i < m; i++)
        if (made[i].verdict == DROP && !appts[i].lost && piece->start < made[i].end && made[i].start < piece->end &&
            !strcmp(piece->person, made[i].person) && !strcmp(piece->destination, made[i].destination))
            return true;
    return false;
}

static struct fault want(struct survey *s, const struct window_new *w, const char *book_id, const struct slot *slots, size_t n)
{
    if (s->wanted_count == s->wanted_room) {
        size_t room = s->wanted_room ? 2 * s->wanted_room : 64;
        struct wanted *at = realloc(s->wanted, room * sizeof *at);
        if (!at)
            return FAULT(FATAL, "out of memory");
        s->wanted = at;
        s->wanted_room = room;
    }
    struct wanted *ret = &s->wanted[s->wanted_count++];
    *ret = (struct wanted){.w = *w, .book_id = book_id};
    for (size_t i = n; i-- > 0;) /* the first row in it says whose e-mail and which clock */
        if (slots[i].status == LIBCAL_LIVE && !strcmp(slots[i].asked, w->person) && slots[i].row->start < w->end &&
            slots[i].row->end > w->start) {
            ret->email = slots[i].row->email;
            ret->offset_s = slots[i].row->offset_seconds;
        }
    return FAULT_OK;
}

static bool within_days(int64_t start, int offset_s, int64_t now)
{
    int64_t day = instant_local_day(start, offset_s), today = instant_local_day(now, offset_s);

    return day >= today && day <= today + days_ahead;
}

/* at: every new window of one booking that was taken over and never had one; see the top of this file. */
static void take_over(struct wanted *at, size_t n, const struct taken *t)
{
    size_t count = 0;

    for (size_t i = 0; i < n; i++) {
        bool old = instant_local_day(at[i].w.start + minutes_before * 60, at[i].offset_s) <= instant_local_day(t->at, at[i].offset_s);
        at[i].answer = old ? "made" : NULL;
        count += old;
    }
    for (size_t i = 0; i < n; i++) {
        if (!at[i].answer)
            continue;
        if (count == 1) {
            at[i].prereg_id = t->prereg_id;
            snprintf(at[i].reason, sizeof at[i].reason, "made by the old script%s", t->prereg_id ? "" : ", its id is unknown");
            continue;
        }
        at[i].answer = "unknown";
        snprintf(at[i].reason, sizeof at[i].reason, "the old script made one of this booking's windows, nobody knows which: %s%s",
                 t->prereg_id ? "pre-registration " : "its id is unknown", t->prereg_id ? t->prereg_id : "");
    }
}

static const struct taken *taken_of(const struct survey *s, const char *book_id)
{
    size_t low = 0, high = s->taken_count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int c = strcmp(s->taken[middle].book_id, book_id);
        if (!c)
            return &s->taken[middle];
        if (c < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

/* The rows of one bookId, [from, from + n) of a sheet, and its windows, [first, first + m). bad: has a row nobody can read. */
static struct fault decide(struct survey *s, const char *book_id, const struct sheet *sheet, size_t from, size_t n, size_t first,
                           size_t m, bool bad, enum how how)
{
    const struct slot *slots = sheet->slots + from;
    struct window_made *made = s->made + first;
    struct appt *appts = s->appts + first;
    size_t listed, list_from, wanted_from = s->wanted_count;

    TRY(windows_compare(sheet->rows + from, n, made, m, (int)minutes_before * 60, (int)minutes_after * 60, s->now, &s->windows));
    for (size_t i = 0; i < m && how == AT_FIRST; i++)
        if (made[i].verdict == DROP && !made[i].certain && !bad && !held(slots, n, &made[i])) {
            s->doubtful[s->doubtful_count++] = book_id;
            return FAULT_OK;
        }
    listed = sheet_find(&s->list, book_id, &list_from);
    for (size_t i = 0; i < m; i++) {
        if (made[i].verdict != DROP || bad || held(slots, n, &made[i]) || (how == IN_DOUBT && !made[i].certain))
            continue;
        appts[i].lost = why_lost(&made[i], s->place->destination, s->list.slots + list_from, listed, slots, n);
        s->dropped++;
    }
    for (size_t i = 0; i < s->windows.count; i++) {
        const struct window_new *w = &s->windows.at[i];
        if ((w->waits && how != CONFIRMED) || over_held(w, made, appts, m))
            continue;
        TRY(want(s, w, book_id, slots, n));
        const struct wanted *last = &s->wanted[s->wanted_count - 1];
        if (how == CONFIRMED && !within_days(w->start + minutes_before * 60, last->offset_s, s->now))
            s->wanted_count--; /* an answer by id also has the days to come: their turn will come */
    }
    const struct taken *taken = taken_of(s, book_id);
    if (taken)
        take_over(s->wanted + wanted_from, s->wanted_count - wanted_from, taken);
    return FAULT_OK;
}

static bool is_bad(const struct pass *p, const char *book_id)
{
    for (const struct seen_bad *b = p->bad; b; b = b->hh.next)
        if (!strcmp(b->bad.book_id, book_id))
            return true;
    return false;
}

static size_t appts_of(const struct survey *s, const char *book_id, size_t *ret_first)
{
    size_t low = 0, high = s->appt_count, m = 0;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (strcmp(s->appts[middle].book_id, book_id) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    while (low + m < s->appt_count && !strcmp(s->appts[low + m].book_id, book_id))
        m++;
    *ret_first = low;
    return m;
}

/* Windows whose bookId is not in the list: could the list have shown one of them? */
static bool list_should_show(const struct survey *s, size_t first, size_t m)
{
    for (size_t i = first; i < first + m; i++)
        if (s->made[i].end > s->now && within_days(s->made[i].start + s->made[i].before_s, s->appts[i].offset_s, s->now))
            return true;
    return false;
}

static struct fault decide_all(struct survey *s)
{
    size_t n, m, first, from;

    s->doubtful = calloc(s->list.count + s->appt_count + 1, sizeof *s->doubtful);
    s->gone = calloc(s->list.count + s->appt_count + 1, sizeof *s->gone);
    if (!s->doubtful || !s->gone)
        return FAULT(FATAL, "out of memory");
    for (from = 0; from < s->list.count; from += n) {
        const char *book_id = s->list.slots[from].row->book_id;
        n = sheet_find(&s->list, book_id, &from);
        m = appts_of(s, book_id, &first);
        TRY(decide(s, book_id, &s->list, from, n, first, m, s->pass.bad && is_bad(&s->pass, book_id),
                   s->steady ? AT_FIRST : IN_DOUBT));
    }
    for (first = 0; first < s->appt_count && s->steady; first += m) {
        const char *book_id = s->appts[first].book_id;
        m = appts_of(s, book_id, &first);
        if (!sheet_find(&s->list, book_id, &from) && list_should_show(s, first, m))
            TRY(decide(s, book_id, &s->list, 0, 0, first, m, s->pass.bad && is_bad(&s->pass, book_id), AT_FIRST));
    }
    return FAULT_OK;
}

/* One doubtful bookId: by the rows of the answer, or, without one, by what the list made certain. */
static struct fault decide_doubtful(struct survey *s, const char *book_id, bool answered)
{
    size_t first, from, m = appts_of(s, book_id, &first);
    const struct sheet *sheet = answered ? &s->answer : &s->list;
    size_t n = sheet_find(sheet, book_id, &from), listed_from;

    if (answered && !n && !is_bad(&s->by_id, book_id) && !sheet_find(&s->list, book_id, &listed_from))
        s->gone[s->gone_count++] = book_id;
    return decide(s, book_id, sheet, from, n, first, m, answered && is_bad(&s->by_id, book_id), answered ? CONFIRMED : IN_DOUBT);
}

/* ---- asking LibCal ---- */

static struct libcal_token token;
static bool token_proven; /* an answer other than a refusal came with it */
static int64_t token_until_us, login_at_us, paused_until_us;
static char login_trouble[240];

enum asked { ASK_TOKEN, ASK_LIST, ASK_BY_ID, ASK_LOCATIONS, ASK_FORM, ASK_QUESTION };
static const char *const call_names[] = {"token", "bookings", "booking", "locations", "form", "question"};

struct question {
    enum asked what;
    int64_t id; /* location or form */
    int page;
    const char *const *ids;
    size_t count;
    void *ret;
    struct answer answer;
};

static void on_answer(void *of, const struct http_response *res)
{
    struct question *q = of;

    switch (q->what) {
    case ASK_TOKEN: q->answer = libcal_token_answer(res, q->ret); break;
    case ASK_LIST:
    case ASK_BY_ID: q->answer = libcal_rows_answer(res, id_question, q->ret); break;
    case ASK_LOCATIONS: q->answer = libcal_locations_answer(res, q->ret); break;
    case ASK_FORM: q->answer = libcal_form_answer(res, id_question, q->ret); break;
    case ASK_QUESTION: q->answer = libcal_question_answer(res, id_question, q->ret); break;
    }
}

static struct fault exchange(struct producer *p, struct question *q)
{
    static struct http_request req;

    switch (q->what) {
    case ASK_TOKEN: libcal_token_request(&req, client_id, client_secret); break;
    case ASK_LIST: libcal_bookings_request(&req, token.token, q->id, (int)days_ahead, q->page); break;
    case ASK_BY_ID: libcal_by_id_request(&req, token.token, q->ids, q->count); break;
    case ASK_LOCATIONS: libcal_locations_request(&req, token.token); break;
    case ASK_FORM: libcal_form_request(&req, token.token, q->id); break;
    case ASK_QUESTION: libcal_question_request(&req, token.token, id_question); break;
    }
    TRY(producer_ask(p, libcal_url, &req, (int)timeout_ms, on_answer, q));
    metric_add(metric_make(METRIC_COUNTER, "shelfwire_vendor_calls_total", "Calls to a vendor, by what came of them.",
                           "vendor=\"libcal\",call=\"%s\",code=\"%s\"", call_names[q->what], q->answer.code), 1);
    log_debug("LibCal %s: %s", call_names[q->what], q->answer.reason);
    return FAULT_OK;
}

static struct fault refused(const struct answer *a)
{
    return a->cause == CAUSE_CREDENTIALS ? FAULT(MISUSE, "%s", a->reason) : FAULT(RETRY, "%s", a->reason);
}

static struct fault log_in(struct producer *p)
{
    struct question q = {.what = ASK_TOKEN, .ret = &token};
    int64_t now = loop_now(producer_loop(p));

    if (now < login_at_us) /* a vendor that refuses a log-in is not pressed */
        return FAULT(RETRY, "%s", login_trouble);
    TRY(exchange(p, &q));
    token_proven = false;
    if (q.answer.verdict == DONE) {
        int64_t lasts_s = token.expires_s > 120 ? token.expires_s - 60 : token.expires_s / 2;
        token_until_us = loop_now(producer_loop(p)) + lasts_s * 1000000;
        return FAULT_OK;
    }
    token.token[0] = '\0';
    snprintf(login_trouble, sizeof login_trouble, "%s", q.answer.reason);
    login_at_us = loop_now(producer_loop(p)) +
                  (q.answer.wait_ms > LOGIN_PAUSE_S * 1000 ? q.answer.wait_ms * 1000 : (int64_t)LOGIN_PAUSE_S * 1000000);
    return refused(&q.answer);
}

/* A refused token is asked for again, twice a question; a sick vendor is asked once more. */
static struct fault ask(struct producer *p, struct question *q)
{
    for (int logins = 0, tries = 0;;) {
        int64_t now = loop_now(producer_loop(p));
        if (now < paused_until_us)
            return FAULT(RETRY, "LibCal asked to slow down: waiting %" PRId64 " s", (paused_until_us - now) / 1000000 + 1);
        if (!token.token[0] || now >= token_until_us)
            TRY(log_in(p));
        TRY(exchange(p, q));
        if (q->answer.verdict == DONE) {
            token_proven = true;
            return FAULT_OK;
        }
        if (q->answer.cause == CAUSE_TOKEN) {
            token.token[0] = '\0';
            if (logins++ == LOGINS_A_QUESTION) {
                snprintf(login_trouble, sizeof login_trouble,
                         "LibCal refuses a token it has just given: is another program using this account (LIBCAL_CLIENT_ID)?");
                login_at_us = loop_now(producer_loop(p)) + (int64_t)LOGIN_PAUSE_S * 1000000;
                return FAULT(RETRY, "%s", login_trouble);
            }
            if (!token_proven)
                TRY(producer_pause(p, 2000));
            continue;
        }
        if (q->answer.cause == CAUSE_RATE) {
            int64_t wait_ms = q->answer.wait_ms > 0 ? q->answer.wait_ms : RATE_PAUSE_S * 1000;
            paused_until_us = loop_now(producer_loop(p)) + (wait_ms < 3600000 ? wait_ms : 3600000) * 1000;
        }
        if (q->answer.cause != CAUSE_VENDOR || tries++)
            return refused(&q->answer);
        TRY(producer_pause(p, 1000));
    }
}

static struct fault read_pass(struct producer *p, const struct place *place, struct pass *pass, struct libcal_rows *page)
{
    bool more = true;

    for (int number = 1; more; number++) {
        struct question q = {.what = ASK_LIST, .id = place->lid, .page = number, .ret = page};
        if (number > PAGES_MAX)
            return FAULT(RETRY, "LibCal's list has no end: page %d still brings new rows", PAGES_MAX);
        TRY(ask(p, &q));
        TRY(pass_add(pass, page, &more));
    }
    return FAULT_OK;
}

/* A list of several pages may shift while it is read: it is read until it holds still. */
static struct fault read_list(struct producer *p, struct survey *s, struct libcal_rows *page)
{
    struct fault f = FAULT_OK;
    int64_t first = time(NULL);

    TRY(read_pass(p, s->place, &s->pass, page));
    s->steady = s->pass.pages <= 1;
    for (int passes = 1; !s->steady && passes < PASSES_MAX && !f.kind; passes++) {
        struct pass again = {0};
        f = read_pass(p, s->place, &again, page);
        s->steady = !f.kind && passes_agree(&s->pass, &again);
        if (!f.kind && !s->steady)
            f = pass_merge(&again, &s->pass);
        pass_free(f.kind ? &again : &s->pass);
        if (!f.kind)
            s->pass = again;
    }
    if (f.kind)
        return f;
    if (!s->steady)
        log_warn("location %s: the list changed in each of %d passes; nothing is judged gone", s->place->id, PASSES_MAX);
    if (over_midnight(&s->pass, first, time(NULL))) {
        log_info("location %s: read over midnight; nothing is judged gone", s->place->id);
        s->steady = false;
    }
    return FAULT_OK;
}

/* All doubtful bookIds are asked for; what a failed question leaves open is left as it is. */
static struct fault settle_doubts(struct producer *p, struct survey *s, struct libcal_rows *page)
{
    size_t asked = 0;
    struct fault failed = FAULT_OK;
    bool more;

    while (asked < s->doubtful_count && !failed.kind) {
        size_t chunk = s->doubtful_count - asked < LIBCAL_IDS_MAX ? s->doubtful_count - asked : LIBCAL_IDS_MAX;
        struct question q = {.what = ASK_BY_ID, .ids = s->doubtful + asked, .count = chunk, .ret = page};
        failed = ask(p, &q);
        for (size_t i = 0; !failed.kind && i < page->bad_count; i++)
            if (!page->bad[i].book_id[0]) /* it might be any of them */
                failed = FAULT(RETRY, "a booking asked for by id cannot be read: %s", page->bad[i].why);
        if (failed.kind)
            break;
        TRY(pass_add(&s->by_id, page, &more));
        asked += chunk;
    }
    TRY(sheet_fill(&s->answer, &s->by_id, s->place->lid, s->place->destination));
    for (size_t i = 0; i < s->doubtful_count; i++)
        TRY(decide_doubtful(s, s->doubtful[i], i < asked));
    if (failed.kind)
        log_warn("location %s: %s; what is doubtful stays as it is", s->place->id, failed.what);
    return FAULT_OK;
}

/* ---- writing ---- */

struct batch {
    struct producer *p;
    const char *sql, *constants[4];
    int constant_count, column_count;
    struct db_columns columns;
};

static struct fault batch_send(struct batch *b)
{
    const char *values[24];
    SCOPED(PQclear) PGresult *res = NULL;

    if (!b->columns.rows)
        return FAULT_OK;
    for (int i = 0; i < b->constant_count; i++)
        values[i] = b->constants[i];
    db_columns_end(&b->columns, values + b->constant_count);
    for (int i = 0; i < b->column_count; i++)
        if (b->columns.at[i].failed)
            return FAULT(FATAL, "out of memory");
    struct fault f = producer_run(b->p, &res, b->sql, b->constant_count + b->column_count, values);
    db_columns_begin(&b->columns, b->column_count);
    return f;
}

static struct fault batch_row(struct batch *b)
{
    db_row_end(&b->columns);
    return b->columns.rows < WRITE_MAX ? FAULT_OK : batch_send(b);
}

/* The last rows; frees. */
static struct fault batch_end(struct batch *b, struct fault f)
{
    if (!f.kind)
        f = batch_send(b);
    db_columns_free(&b->columns);
    return f;
}

static struct fault write_drops(struct producer *p, const struct survey *s)
{
    struct batch b = {.p = p, .column_count = 2, .sql =
        "UPDATE appts a SET wanted = false, unwanted_reason = d.reason, unwanted_at = clock_timestamp()"
        " FROM unnest($1::uuid[], $2::text[]) AS d(id, reason) WHERE a.appt_id = d.id AND a.wanted"};
    struct fault f = FAULT_OK;

    db_columns_begin(&b.columns, b.column_count);
    for (size_t i = 0; !f.kind && i < s->appt_count; i++)
        if (s->appts[i].lost) {
            db_put(&b.columns, s->appts[i].appt_id);
            db_put(&b.columns, s->appts[i].lost);
            f = batch_row(&b);
        }
    return batch_end(&b, f);
}

static struct fault write_wanted(struct producer *p, const struct survey *s)
{
    char before[16], after[16], trace[33];
    struct batch b = {.p = p, .column_count = 11, .constant_count = 3, .constants = {s->place->id, before, after}, .sql =
        "INSERT INTO appts (source, location_id, before_s, after_s, booking_id, asked_id, destination, starts_at, ends_at, offset_s,"
        " email, trace_id, answer, reason, prereg_id, sent_at, answered_at)"
        " SELECT 'libcal', $1, $2::int, $3::int, b, p, d, to_timestamp(s), to_timestamp(e), o, m, t, a, r, i,"
        " CASE WHEN a IS NOT NULL THEN now() END, CASE WHEN a IS NOT NULL THEN now() END"
        " FROM unnest($4::text[], $5::text[], $6::text[], $7::bigint[], $8::bigint[], $9::int[], $10::text[], $11::text[],"
        " $12::text[], $13::text[], $14::text[]) AS w(b, p, d, s, e, o, m, t, a, r, i)"};
    struct fault f = FAULT_OK;

    snprintf(before, sizeof before, "%" PRId64, minutes_before * 60);
    snprintf(after, sizeof after, "%" PRId64, minutes_after * 60);
    db_columns_begin(&b.columns, b.column_count);
    for (size_t i = 0; !f.kind && i < s->wanted_count; i++) {
        const struct wanted *w = &s->wanted[i];
        uint64_t random[2] = {0};
        (void)!getrandom(random, sizeof random, 0);
        snprintf(trace, sizeof trace, "%016" PRIx64 "%016" PRIx64, random[0], random[1]);
        db_put(&b.columns, w->book_id);
        db_put(&b.columns, w->w.person);
        db_put(&b.columns, w->w.destination);
        db_put_int(&b.columns, w->w.start);
        db_put_int(&b.columns, w->w.end);
        db_put_int(&b.columns, w->offset_s);
        db_put_opt(&b.columns, w->email);
        db_put(&b.columns, trace);
        db_put(&b.columns, w->answer);
        db_put_opt(&b.columns, w->reason);
        db_put(&b.columns, w->prereg_id);
        f = batch_row(&b);
    }
    return batch_end(&b, f);
}

static void add_string(json_object *to, const char *key, const char *value)
{
    json_object_object_add(to, key, json_object_new_string(value));
}

/* What LibCal says of a booking, as `bookings.said` keeps it. */
static json_object *said_of(const struct slot *slots, size_t n)
{
    static const char *const checked[] = {"no", "in", "out"};
    json_object *said = json_object_new_array();
    char when[INSTANT_SIZE];

    for (size_t i = 0; i < n; i++) {
        const struct libcal_row *r = slots[i].row;
        json_object *row = json_object_new_object();
        instant_write(r->start, when);
        add_string(row, "start", when);
        instant_write(r->end, when);
        add_string(row, "end", when);
        add_string(row, "status", r->status);
        add_string(row, "check_in", checked[r->check_in]);
        json_object_object_add(row, "eid", json_object_new_int64(r->eid));
        if (r->seat_id)
            json_object_object_add(row, "seat", json_object_new_int64(r->seat_id));
        if (slots[i].asked[0])
            add_string(row, "asked_id", slots[i].asked);
        if (r->cancelled)
            json_object_object_add(row, "cancelled", json_object_new_boolean(true));
        json_object_array_add(said, row);
    }
    return said;
}

/* Is the row of `bookings` still what LibCal says? Columns: booking_id, said, first_name, last_name, email, fresh. */
static bool said_before(const PGresult *res, int row, json_object *said, const struct libcal_row *who)
{
    SCOPED(json_object_put) json_object *known = json_tokener_parse(PQgetvalue(res, row, 1));

    return PQgetvalue(res, row, 5)[0] == 't' && !strcmp(PQgetvalue(res, row, 2), who->first_name) &&
           !strcmp(PQgetvalue(res, row, 3), who->last_name) && !strcmp(PQgetvalue(res, row, 4), who->email) &&
           json_object_equal(known, said);
}

static struct fault put_booking(struct batch *b, const char *book_id, json_object *said, const struct slot *slots, size_t n)
{
    const struct libcal_row *first = slots[0].row;
    int64_t end = first->end;

    for (size_t i = 1; i < n; i++)
        end = slots[i].row->end > end ? slots[i].row->end : end;
    db_put(&b->columns, book_id);
    db_put(&b->columns, json_object_to_json_string_ext(said, JSON_C_TO_STRING_PLAIN));
    db_put_int(&b->columns, first->start);
    db_put_int(&b->columns, end);
    db_put_opt(&b->columns, first->first_name);
    db_put_opt(&b->columns, first->last_name);
    db_put_opt(&b->columns, first->email);
    return batch_row(b);
}

/* Only what is new, changed, or has not been marked as seen for an hour: an unchanged list writes nothing. */
static struct fault write_bookings(struct producer *p, const struct survey *s, size_t *ret_bookings)
{
    SCOPED(PQclear) PGresult *known = NULL;
    char again[16];
    struct batch b = {.p = p, .column_count = 7, .constant_count = 1, .constants = {s->place->id}, .sql =
        "INSERT INTO bookings AS k (source, location_id, booking_id, said, starts_at, ends_at, first_name, last_name, email)"
        " SELECT 'libcal', $1, b, s::jsonb, to_timestamp(f), to_timestamp(t), n, l, e"
        " FROM unnest($2::text[], $3::text[], $4::bigint[], $5::bigint[], $6::text[], $7::text[], $8::text[]) AS r(b, s, f, t, n, l, e)"
        " ON CONFLICT (source, location_id, booking_id) DO UPDATE SET said = excluded.said, starts_at = excluded.starts_at,"
        " ends_at = excluded.ends_at, first_name = excluded.first_name, last_name = excluded.last_name, email = excluded.email,"
        " last_seen = clock_timestamp(), gone_at = NULL"};
    struct fault f = FAULT_OK;
    int at = 0;

    snprintf(again, sizeof again, "%d", SEEN_AGAIN_S);
    TRY(producer_run(p, &known,
                     "SELECT booking_id, said, coalesce(first_name, ''), coalesce(last_name, ''), coalesce(email, ''),"
                     " gone_at IS NULL AND last_seen > now() - $2::int * interval '1 second' FROM bookings"
                     " WHERE source = 'libcal' AND location_id = $1 AND last_seen > now() - 2 * $2::int * interval '1 second'"
                     " ORDER BY booking_id COLLATE \"C\"", 2, (const char *const[]){s->place->id, again}));
    db_columns_begin(&b.columns, b.column_count);
    *ret_bookings = 0;
    for (size_t from = 0, n; !f.kind && from < s->list.count; from += n) {
        const char *book_id = s->list.slots[from].row->book_id;
        n = sheet_find(&s->list, book_id, &from);
        SCOPED(json_object_put) json_object *said = said_of(s->list.slots + from, n);
        ++*ret_bookings;
        while (at < PQntuples(known) && strcmp(PQgetvalue(known, at, 0), book_id) < 0)
            at++;
        if (at == PQntuples(known) || strcmp(PQgetvalue(known, at, 0), book_id) != 0 ||
            !said_before(known, at, said, s->list.slots[from].row))
            f = put_booking(&b, book_id, said, s->list.slots + from, n);
    }
    f = batch_end(&b, f);
    for (size_t i = 0; !f.kind && i < s->gone_count; i++)
        f = producer_do(p, "UPDATE bookings SET gone_at = clock_timestamp() WHERE source = 'libcal' AND location_id = $1"
                           " AND booking_id = $2 AND gone_at IS NULL", s->place->id, s->gone[i]);
    return f;
}

/* What needs a person at this location: said anew, and closed where it was mended, or is over. */
static struct fault write_desk(struct producer *p, const struct survey *s)
{
    struct batch b = {.p = p, .column_count = 5, .constant_count = 1, .constants = {s->place->id}, .sql =
        "WITH now_so AS (SELECT * FROM unnest($2::text[], $3::text[], $4::text[], $5::bigint[], $6::bool[]) AS n(kind, subject, reason, at, is_so)),"
        " mended AS (SELECT d.kind, d.subject FROM desk d JOIN bookings b ON b.booking_id = d.subject AND b.source = 'libcal' AND b.location_id = $1"
        " WHERE d.closed_at IS NULL AND d.kind IN ('unknown_status', 'blank_id', 'bad_id')"
        " AND NOT EXISTS (SELECT FROM now_so n WHERE n.is_so AND n.kind = d.kind AND n.subject = d.subject))"
        " SELECT desk_say(kind, subject, reason, to_timestamp(at)) FROM now_so n WHERE is_so AND NOT EXISTS (SELECT FROM desk d"
        " WHERE d.closed_at IS NULL AND d.kind = n.kind AND d.subject = n.subject AND d.reason = n.reason AND d.visit_at = to_timestamp(n.at))"
        " UNION ALL SELECT desk_clear(kind, subject) FROM mended"};
    const char *last = "";
    int kind = FINE;

    db_columns_begin(&b.columns, b.column_count);
    for (size_t i = 0; i <= s->list.count; i++) { /* one row more, that says nothing: an empty list mends all */
        const struct slot *slot = i < s->list.count ? &s->list.slots[i] : NULL;
        if (slot && (!slot->problem || slot->row->end <= s->now || (kind == (int)slot->problem && !strcmp(last, slot->row->book_id))))
            continue;
        db_put(&b.columns, slot ? problem_kinds[slot->problem] : "");
        db_put(&b.columns, slot ? slot->row->book_id : "");
        db_put(&b.columns, slot ? slot->why : "");
        db_put_int(&b.columns, slot ? slot->row->start : 0);
        db_put_bool(&b.columns, slot != NULL);
        db_row_end(&b.columns);
        if (slot) {
            last = slot->row->book_id;
            kind = (int)slot->problem;
        }
    }
    return batch_end(&b, FAULT_OK);
}

static struct fault write_all(struct producer *p, const struct survey *s, size_t *ret_bookings)
{
    TRY(producer_do_(p, "BEGIN", NULL, 0));
    struct fault f = write_bookings(p, s, ret_bookings);
    if (!f.kind)
        f = write_drops(p, s);
    if (!f.kind)
        f = write_wanted(p, s);
    if (!f.kind && s->steady)
        f = write_desk(p, s);
    if (!f.kind)
        return producer_do_(p, "COMMIT", NULL, 0);
    producer_do_(p, "ROLLBACK", NULL, 0);
    return f;
}

/* ---- the poll ---- */

/* Rows nobody can read are said once, not at every poll. */
static void note_bad(struct place *place, const struct pass *pass)
{
    struct noted *n, *next;

    for (const struct seen_bad *b = pass->bad; b; b = b->hh.next) {
        HASH_FIND_STR(place->noted, b->bad.why, n);
        if (!n && (n = calloc(1, sizeof *n))) {
            memcpy(n->why, b->bad.why, sizeof n->why);
            HASH_ADD_STR(place->noted, why, n);
            log_warn("location %s: a row cannot be read and is left out: %s", place->id, n->why);
        }
        if (n)
            n->still = true;
    }
    HASH_ITER(hh, place->noted, n, next)
    {
        if (!n->still) {
            HASH_DEL(place->noted, n);
            free(n);
        } else {
            n->still = false;
        }
    }
}

/* appts: the windows that are wanted and not over, which the survey borrows from the result. */
static struct fault read_appts(struct producer *p, struct survey *s, PGresult **ret)
{
    TRY(producer_run(p, ret,
                     "SELECT appt_id, booking_id, asked_id, destination, extract(epoch FROM starts_at)::bigint,"
                     " extract(epoch FROM ends_at)::bigint, before_s, after_s, offset_s FROM appts"
                     " WHERE source = 'libcal' AND location_id = $1 AND wanted AND ends_at > now() - interval '1 day'"
                     " ORDER BY booking_id COLLATE \"C\", starts_at", 1, (const char *const[]){s->place->id}));
    PGresult *res = *ret;
    s->appt_count = (size_t)PQntuples(res);
    s->appts = calloc(s->appt_count + 1, sizeof *s->appts);
    s->made = calloc(s->appt_count + 1, sizeof *s->made);
    if (!s->appts || !s->made)
        return FAULT(FATAL, "out of memory");
    for (int i = 0; i < PQntuples(res); i++) {
        s->appts[i] = (struct appt){.appt_id = PQgetvalue(res, i, 0), .book_id = PQgetvalue(res, i, 1),
                                    .offset_s = atoi(PQgetvalue(res, i, 8))};
        s->made[i] = (struct window_made){.person = PQgetvalue(res, i, 2), .destination = PQgetvalue(res, i, 3),
                                          .start = strtoll(PQgetvalue(res, i, 4), NULL, 10),
                                          .end = strtoll(PQgetvalue(res, i, 5), NULL, 10),
                                          .before_s = atoi(PQgetvalue(res, i, 6)), .after_s = atoi(PQgetvalue(res, i, 7))};
    }
    return FAULT_OK;
}

static struct fault survey_run(struct producer *p, struct survey *s, struct libcal_rows *page, PGresult **appts)
{
    struct place *place = s->place;
    size_t bookings;

    TRY(read_list(p, s, page));
    note_bad(place, &s->pass);
    s->now = time(NULL);
    TRY(sheet_fill(&s->list, &s->pass, 0, place->destination));
    TRY(read_appts(p, s, appts));
    TRY(decide_all(s));
    if (s->doubtful_count)
        TRY(settle_doubts(p, s, page));
    TRY(write_all(p, s, &bookings));
    metric_set(place->seen, (double)bookings);
    metric_add(made_metric, (double)s->wanted_count);
    metric_add(dropped_metric, (double)s->dropped);
    log_about(s->wanted_count || s->dropped ? LOG_INFO : LOG_DEBUG, NULL,
              "location %s: %zu rows of %zu bookings; %zu window%s made, %zu dropped, %zu booking%s asked for by id", place->id,
              s->list.count, bookings, s->wanted_count, s->wanted_count == 1 ? "" : "s", s->dropped, s->doubtful_count,
              s->doubtful_count == 1 ? "" : "s");
    return FAULT_OK;
}

static void survey_free(struct survey *s)
{
    pass_free(&s->pass);
    pass_free(&s->by_id);
    sheet_free(&s->list);
    sheet_free(&s->answer);
    windows_free(&s->windows);
    free(s->appts);
    free(s->made);
    free(s->wanted);
    free(s->doubtful);
    free(s->gone);
}

/* Bookings the old script has seen and we have no window of. */
static struct fault read_taken(struct producer *p, PGresult **ret, struct taken **ret_taken)
{
    TRY(producer_run(p, ret,
                     "SELECT booking_id, prereg_id, extract(epoch FROM taken_at)::bigint FROM taken_over t"
                     " WHERE NOT EXISTS (SELECT FROM appts a WHERE a.booking_id = t.booking_id) ORDER BY booking_id COLLATE \"C\"",
                     0, NULL));
    struct taken *taken = calloc((size_t)PQntuples(*ret) + 1, sizeof *taken);
    if (!taken)
        return FAULT(FATAL, "out of memory");
    for (int i = 0; i < PQntuples(*ret); i++)
        taken[i] = (struct taken){PQgetvalue(*ret, i, 0), PQgetisnull(*ret, i, 1) ? NULL : PQgetvalue(*ret, i, 1),
                                  strtoll(PQgetvalue(*ret, i, 2), NULL, 10)};
    *ret_taken = taken;
    return FAULT_OK;
}

static struct fault poll_place(struct producer *p, struct place *place, const struct taken *taken, size_t taken_count)
{
    SCOPED(PQclear) PGresult *appts = NULL;
    struct survey s = {.place = place, .taken = taken, .taken_count = taken_count};
    struct libcal_rows page = {0};
    struct fault f = survey_run(p, &s, &page, &appts);

    survey_free(&s);
    libcal_rows_free(&page);
    place->polled = true;
    if (f.kind && loop_stopping(producer_loop(p)))
        return f;
    snprintf(place->trouble, sizeof place->trouble, "%s", f.what);
    metric_add(f.kind ? place->failed : place->ok, 1);
    if (f.kind) {
        log_warn("location %s: %s", place->id, f.what);
        return f;
    }
    place->good_at = time(NULL);
    metric_set(place->good, (double)place->good_at);
    return FAULT_OK;
}

static struct fault poll(struct producer *p)
{
    SCOPED(PQclear) PGresult *res = NULL;
    struct taken *taken = NULL;
    struct fault first = FAULT_OK;
    int failed = 0;

    struct fault f = read_taken(p, &res, &taken);
    for (int i = 0; !f.kind && i < place_count && !loop_stopping(producer_loop(p)); i++) {
        struct fault one = poll_place(p, &places[i], taken, (size_t)PQntuples(res));
        failed += one.kind != FAULT_NONE;
        if (!first.kind)
            first = one;
    }
    free(taken);
    if (!f.kind) /* a visit that is over needs nobody any more */
        f = producer_do_(p, "UPDATE desk d SET closed_at = clock_timestamp(), closed_by = 'shelfwire', note = 'the visit is over'"
                            " FROM appts a WHERE d.closed_at IS NULL AND d.subject ~ '^[0-9a-f]{8}-[0-9a-f-]{27}$'"
                            " AND a.appt_id = CASE WHEN d.subject ~ '^[0-9a-f]{8}-[0-9a-f-]{27}$' THEN d.subject::uuid END AND a.ends_at < now()",
                         NULL, 0);
    if (f.kind)
        return f;
    return failed ? FAULT(RETRY, "%d of %d locations failed: %.180s", failed, place_count, first.what) : FAULT_OK;
}

static void trouble(struct text *why)
{
    char when[INSTANT_SIZE] = "never";

    for (int i = 0; i < place_count; i++) {
        if (!places[i].trouble[0])
            continue;
        if (places[i].good_at)
            instant_write(places[i].good_at, when);
        text_printf(why, "location %s: %s (last good poll: %s); ", places[i].id, places[i].trouble, when);
        return;
    }
    if (place_count && !places[place_count - 1].polled)
        text_puts(why, "the first poll is under way or has not begun; ");
}

/* ---- sending ---- */

/* A union, so that each half finds its own index. 'unknown' waits for a person, 'made' is made. */
static const char due_sql[] =
    "SELECT appt_id, retry_at, coalesce(trace_id, ''), booking_id, asked_id, destination, extract(epoch FROM starts_at)::bigint,"
    " extract(epoch FROM ends_at)::bigint FROM ("
    "SELECT * FROM appts WHERE wanted AND sent_at IS NULL AND answer IS NULL AND retry_at IS NULL"
    " UNION ALL SELECT * FROM appts WHERE wanted AND retry_at <= now()) AS due"
    " WHERE source = 'libcal' AND ends_at > now() AND prereg_id IS NULL AND (answer IS NULL OR answer NOT IN ('made', 'unknown'))"
    " ORDER BY created_at LIMIT $1::int";

static const char sent_sql[] =
    "UPDATE appts a SET sent_at = clock_timestamp(), retry_at = NULL FROM unnest($1::uuid[], $2::timestamptz[]) AS s(id, retry_at)"
    " WHERE a.appt_id = s.id AND a.retry_at IS NOT DISTINCT FROM s.retry_at";

/* Unanswered since it was sent. A row with an older answer is due by its time, the others by not being sent. */
static const char resend_sql[] =
    "UPDATE appts SET sent_at = CASE WHEN answer IS NOT NULL THEN sent_at END, retry_at = CASE WHEN answer IS NOT NULL THEN clock_timestamp() END"
    " WHERE source = 'libcal' AND wanted AND prereg_id IS NULL AND sent_at IS NOT NULL AND retry_at IS NULL AND ends_at > now()"
    " AND (answer IS NULL OR (answered_at < sent_at AND answer NOT IN ('made', 'unknown')))";

static struct fault message(const PGresult *due, int row, struct text *ret_key, struct text *ret_value)
{
    struct booking b = {.source = "libcal"};

    text_copy(b.appt_id, sizeof b.appt_id, PQgetvalue(due, row, 0));
    text_copy(b.booking_id, sizeof b.booking_id, PQgetvalue(due, row, 3));
    text_copy(b.asked_id, sizeof b.asked_id, PQgetvalue(due, row, 4));
    text_copy(b.destination, sizeof b.destination, PQgetvalue(due, row, 5));
    b.start = strtoll(PQgetvalue(due, row, 6), NULL, 10);
    b.end = strtoll(PQgetvalue(due, row, 7), NULL, 10);
    text_puts(ret_key, b.asked_id);
    booking_write(ret_value, &b);
    return booking_read(text_str(ret_value), ret_value->len, false, &b);
}

/* ---- the settings, checked ---- */

static struct fault settled(void)
{
    places = calloc((size_t)location_ids.count, sizeof *places);
    if (!places)
        return FAULT(FATAL, "out of memory");
    if (id_question[0] != 'q' || !id_question[1] || id_question[1 + strspn(id_question + 1, "0123456789")])
        return FAULT(MISUSE, "LIBCAL_ID_QUESTION: want q and a number, as q12505");
    for (int i = 0; i < location_ids.count; i++) {
        struct place *place = &places[place_count];
        place->id = location_ids.items[i];
        if (!place->id[0] || strlen(place->id) > 18 || place->id[strspn(place->id, "0123456789")] || place->id[0] == '0')
            return FAULT(MISUSE, "LIBCAL_LOCATIONS: %s is no location id: want a whole number, as 1234", place->id);
        place->lid = strtoll(place->id, NULL, 10);
        for (int k = 0; k < place_count; k++)
            if (places[k].lid == place->lid)
                return FAULT(MISUSE, "LIBCAL_LOCATIONS: %s is there twice", place->id);
        place->destination = settings_map(destinations, place->id);
        if (!place->destination)
            return FAULT(MISUSE, "PASSAGEPOINT_DESTINATIONS: no destination for location %s: add \"%s\" or \"*\"", place->id, place->id);
        struct fault f = sendable("b", "A", place->destination);
        if (f.kind)
            return FAULT(MISUSE, "PASSAGEPOINT_DESTINATIONS: for location %s: %s", place->id, f.what);
        place_count++;
    }
    return FAULT_OK;
}

static struct fault check_question(struct producer *p, const struct libcal_location *location, const struct place *place)
{
    struct libcal_question found = {0};
    struct question q = {.what = location && location->form_id ? ASK_FORM : ASK_QUESTION, .id = location ? location->form_id : 0, .ret = &found};

    TRY(ask(p, &q));
    if (!found.found)
        return FAULT(MISUSE, "LIBCAL_ID_QUESTION=%s: %s %s has no such question", id_question,
                     q.what == ASK_FORM ? "the booking form of location" : "LibCal, asked for location", place->id);
    printf("ok  LibCal: %s asks %s \"%s\"%s\n", q.what == ASK_FORM ? "its form" : "LibCal", id_question, found.label,
           found.required ? "" : ", which people may leave blank");
    return FAULT_OK;
}

static struct fault check(struct producer *p)
{
    static struct libcal_locations there;
    struct question q = {.what = ASK_LOCATIONS, .ret = &there};

    TRY(log_in(p));
    printf("ok  LibCal: the log-in works\n");
    TRY(ask(p, &q));
    for (int i = 0; i < place_count; i++) {
        const struct libcal_location *location = NULL;
        for (size_t k = 0; k < there.count && !location; k++)
            location = there.at[k].lid == places[i].lid ? &there.at[k] : NULL;
        if (!location && !there.more)
            return FAULT(MISUSE, "LIBCAL_LOCATIONS: LibCal has no location %s", places[i].id);
        printf("ok  LibCal: location %s is \"%s\", at the gate \"%s\"\n", places[i].id, location ? location->name : "one it does not list",
               places[i].destination);
        TRY(check_question(p, location, &places[i]));
    }
    return FAULT_OK;
}

static void begin(struct producer *p)
{
    (void)p;
    for (int i = 0; i < place_count; i++) {
        struct place *place = &places[i];
        place->ok = metric_make(METRIC_COUNTER, "shelfwire_polls_total", "Reads of a location, by how they ended.", "location=\"%s\",outcome=\"ok\"", place->id);
        place->failed = metric_make(METRIC_COUNTER, "shelfwire_polls_total", "", "location=\"%s\",outcome=\"failed\"", place->id);
        place->seen = metric_make(METRIC_GAUGE, "shelfwire_bookings_seen", "Bookings in the last read.", "location=\"%s\"", place->id);
        place->good = metric_make(METRIC_GAUGE, "shelfwire_last_good_poll_timestamp_seconds", "When a location was last read well.", "location=\"%s\"", place->id);
    }
    made_metric = metric_make(METRIC_COUNTER, "shelfwire_windows_total", "Windows, by what became of them.", "change=\"made\"");
    dropped_metric = metric_make(METRIC_COUNTER, "shelfwire_windows_total", "", "change=\"dropped\"");
}

static const struct producer_reader readers[] = {
    {"bookings-new", "bookings.new"}, {"users-resolve", "users.resolve"}, {"prereg-create", "prereg.create"}, {0}};

static const struct producer_plan plan = {
    .name = "libcal-bookings", .about = "turns bookings of rooms and seats in LibCal into work for the gate",
    .source = "libcal", .topic = "bookings.new", .settings = settings, .poll_seconds = &poll_seconds, .readers = readers,
    .settled = settled, .check = check, .begin = begin, .poll = poll, .trouble = trouble,
    .due_sql = due_sql, .sent_sql = sent_sql, .resend_sql = resend_sql, .message = message,
};

int main(int argc, char **argv)
{
    return producer_main(&plan, argc, argv);
}

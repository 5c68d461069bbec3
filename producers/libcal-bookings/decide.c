#include "producers/libcal-bookings/decide.h"

#include "common/answer.h"
#include "common/booking.h"
#include "common/instant.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct rules rules;

/* ---- rows as a set ---- */

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

struct fault pass_add(struct pass *p, const struct libcal_rows *rows, bool *ret_new)
{
    *ret_new = false;
    for (size_t i = 0; i < rows->count; i++)
        TRY(pass_add_row(p, &rows->at[i], ret_new));
    for (size_t i = 0; i < rows->bad_count; i++)
        TRY(pass_add_bad(p, &rows->bad[i], ret_new));
    p->pages += *ret_new;
    return FAULT_OK;
}

void pass_free(struct pass *p)
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

bool passes_agree(const struct pass *a, const struct pass *b)
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

struct fault pass_merge(struct pass *later, const struct pass *earlier)
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

bool over_midnight(const struct pass *p, int64_t first, int64_t last)
{
    for (const struct seen_row *r = p->rows; r; r = r->hh.next)
        if (instant_local_day(first, r->row.offset_seconds) != instant_local_day(last, r->row.offset_seconds))
            return true;
    return false;
}

/* ---- a row as a slot ---- */

struct fault sendable(const char *book_id, const char *asked_id, const char *destination)
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

static enum libcal_status status_of(const struct libcal_row *row)
{
    return libcal_status_of(row->status, (const char *const *)rules.statuses.items, (size_t)rules.statuses.count);
}

static bool concerns_a_patron(const struct libcal_row *row)
{
    return !row->is_event && strcmp(row->book_id, "exchange") != 0 && status_of(row) != LIBCAL_NOT_A_PATRON;
}

static void slot_read(const struct libcal_row *row, const char *destination, struct slot *ret, struct window_row *ret_row)
{
    *ret = (struct slot){.row = row};
    ret->status = status_of(row);
    if (row->cancelled)
        ret->status = LIBCAL_DEAD;
    struct fault f = libcal_asked_id(row->answer, rules.id_pattern, ret->asked, sizeof ret->asked);
    if (!f.kind && (f = sendable(row->book_id, ret->asked, destination)).kind)
        ret->asked[0] = '\0';
    if (ret->status == LIBCAL_UNKNOWN) {
        char said[48];
        answer_quote(said, sizeof said, row->status, strlen(row->status));
        ret->problem = UNKNOWN_STATUS;
        snprintf(ret->why, sizeof ret->why,
                 "LibCal says \"%s\", a status nobody here knows: if it opens the gate, add it to LIBCAL_STATUSES", said);
    } else if (ret->status == LIBCAL_LIVE && !row->answer[0] && !row->answer_too_long) {
        ret->problem = BLANK_ID;
        snprintf(ret->why, sizeof ret->why, "the booking form has no answer to %s: nobody can be let in", rules.id_question);
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

struct fault sheet_fill(struct sheet *s, const struct pass *p, int64_t lid, const char *destination)
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

size_t sheet_find(const struct sheet *s, const char *book_id, size_t *ret_from)
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

/* ---- one bookId ---- */

enum how {
    AT_FIRST,  /* what is doubtful is to be asked about: then nothing of the booking is decided yet */
    IN_DOUBT,  /* it was not, or could not be: only what is certain counts */
    CONFIRMED, /* rows by id: every loss is one */
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

static struct fault want(struct survey *s, const struct window_new *w, const char *book_id, const struct slot *slots,
                         size_t n)
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

    return day >= today && day <= today + rules.days_ahead;
}

/* at: every new window of one booking that was taken over and never had one; see the top of this file. */
static void take_over(struct wanted *at, size_t n, const struct taken *t)
{
    size_t count = 0;

    for (size_t i = 0; i < n; i++) {
        bool old = instant_local_day(at[i].w.start + rules.minutes_before * 60, at[i].offset_s) <=
                   instant_local_day(t->at, at[i].offset_s);
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

/* One bookId's rows are [from, from + n) of a sheet, its windows [first, first + m). bad: it has a row nobody can read. */
static struct fault decide(struct survey *s, const char *book_id, const struct sheet *sheet, size_t from, size_t n,
                           size_t first, size_t m, bool bad, enum how how)
{
    const struct slot *slots = sheet->slots + from;
    struct window_made *made = s->made + first;
    struct appt *appts = s->appts + first;
    size_t listed, list_from, wanted_from = s->wanted_count;

    TRY(windows_compare(sheet->rows + from, n, made, m, (int)rules.minutes_before * 60, (int)rules.minutes_after * 60, s->now,
                        &s->windows));
    for (size_t i = 0; i < m && how == AT_FIRST; i++)
        if (made[i].verdict == DROP && !made[i].certain && !bad && !held(slots, n, &made[i])) {
            s->doubtful[s->doubtful_count++] = book_id;
            return FAULT_OK;
        }
    listed = sheet_find(&s->list, book_id, &list_from);
    for (size_t i = 0; i < m; i++) {
        if (made[i].verdict != DROP || bad || held(slots, n, &made[i]) || (how == IN_DOUBT && !made[i].certain))
            continue;
        appts[i].lost = why_lost(&made[i], s->destination, s->list.slots + list_from, listed, slots, n);
        s->dropped++;
    }
    for (size_t i = 0; i < s->windows.count; i++) {
        const struct window_new *w = &s->windows.at[i];
        if ((w->waits && how != CONFIRMED) || over_held(w, made, appts, m))
            continue;
        TRY(want(s, w, book_id, slots, n));
        const struct wanted *last = &s->wanted[s->wanted_count - 1];
        if (how == CONFIRMED && !within_days(w->start + rules.minutes_before * 60, last->offset_s, s->now))
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
        if (!s->made[i].elsewhere && s->made[i].end > s->now &&
            within_days(s->made[i].start + s->made[i].before_s, s->appts[i].offset_s, s->now))
            return true;
    return false;
}

struct fault decide_all(struct survey *s)
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

struct fault decide_doubtful(struct survey *s, const char *book_id, bool answered)
{
    size_t first, from, m = appts_of(s, book_id, &first);
    const struct sheet *sheet = answered ? &s->answer : &s->list;
    size_t n = sheet_find(sheet, book_id, &from), listed_from;

    if (answered && !n && !is_bad(&s->by_id, book_id) && !sheet_find(&s->list, book_id, &listed_from))
        s->gone[s->gone_count++] = book_id;
    return decide(s, book_id, sheet, from, n, first, m, is_bad(answered ? &s->by_id : &s->pass, book_id),
                  answered ? CONFIRMED : IN_DOUBT);
}


void survey_free(struct survey *s)
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

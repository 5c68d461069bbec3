#include "producers/bookings/survey.h"

#include "common/booking.h"
#include "common/instant.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct rules rules;

/* ---- sheets ---- */

struct fault sendable(const char *book_id, const char *asked_id, const char *destination)
{
    struct booking b = {.appt_id = "00000000-0000-0000-0000-000000000000", .start = 0, .end = 1};
    struct text value = {0};

    text_copy(b.source, sizeof b.source, source.name);
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

struct fault sheet_make(struct sheet *s, size_t room)
{
    s->slots = calloc(room + 1, sizeof *s->slots);
    s->rows = calloc(room + 1, sizeof *s->rows);
    s->count = 0;
    return s->slots && s->rows ? FAULT_OK : FAULT(FATAL, "out of memory");
}

static void sheet_free(struct sheet *s)
{
    free(s->slots);
    free(s->rows);
    *s = (struct sheet){0};
}

void sheet_leave_out(struct sheet *s, const size_t *places, size_t count)
{
    size_t kept = 0, next = 0;

    for (size_t i = 0; i < s->count; i++) {
        if (next < count && places[next] == i) {
            next++;
            continue;
        }
        s->slots[kept] = s->slots[i];
        s->rows[kept] = s->rows[i];
        if (s->rows[kept].person)
            s->rows[kept].person = s->slots[kept].asked;
        kept++;
    }
    s->count = kept;
}

size_t sheet_find(const struct sheet *s, const char *book_id, size_t *ret_from)
{
    size_t low = 0, high = s->count, n = 0;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (strcmp(s->slots[middle].book_id, book_id) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    while (low + n < s->count && !strcmp(s->slots[low + n].book_id, book_id))
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
    return s->start - w->before_s < w->end && s->end + w->after_s > w->start;
}

/* Whether a row that makes no sense to us may be what this window was made for. */
static bool held(const struct slot *slots, size_t n, const struct window_made *w)
{
    for (size_t i = 0; i < n; i++)
        if (slots[i].problem && slot_touches(&slots[i], w))
            return true;
    return false;
}

bool survey_shows(const struct survey *s, const char *book_id, int64_t start, int64_t end, int *ret_offset_s)
{
    const struct window_made w = {.start = start, .end = end, .before_s = (int)rules.minutes_before * 60,
                                  .after_s = (int)rules.minutes_after * 60};
    size_t from, n = sheet_find(&s->list, book_id, &from);

    for (size_t i = from; i < from + n; i++) {
        *ret_offset_s = s->list.slots[i].offset_s;
        if (slot_touches(&s->list.slots[i], &w))
            return true;
    }
    return false;
}

static enum loss loss_of_slot(const struct slot *s, const struct window_made *w, const char *destination)
{
    bool other = s->asked[0] && strcmp(s->asked, w->person) != 0;

    if (!slot_touches(s, w))
        return MOVED;
    if (s->live)
        return other ? PERSON : strcmp(destination, w->destination) != 0 ? DESTINATION : MOVED;
    return other ? MOVED : s->ended;
}

static const char *why_lost(const struct window_made *w, const char *destination, const struct slot *slots, size_t n,
                            const struct slot *more, size_t m)
{
    enum loss worst = GONE;

    for (size_t i = 0; i < n + m; i++) {
        enum loss loss = loss_of_slot(i < n ? &slots[i] : &more[i - n], w, destination);
        worst = loss > worst ? loss : worst;
    }
    return source.losses[worst];
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
        if (slots[i].live && !strcmp(slots[i].asked, w->person) && slots[i].start < w->end && slots[i].end > w->start) {
            ret->email = slots[i].email;
            ret->offset_s = slots[i].offset_s;
        }
    return FAULT_OK;
}

bool within_days(int64_t start, int offset_s, int64_t now)
{
    int64_t day = instant_local_day(start, offset_s), today = instant_local_day(now, offset_s);

    return (source.shows_begun || day >= today) && day <= today + rules.days_ahead;
}

/* at: every new window of one booking that was taken over and never had one; see libcal-bookings.c. */
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
            snprintf(at[i].reason, sizeof at[i].reason, "made by the old script%s",
                     t->prereg_id ? "" : ", its id is unknown");
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
    for (from = 0; from < s->list.count; from += n) {
        const char *book_id = s->list.slots[from].book_id;
        n = sheet_find(&s->list, book_id, &from);
        m = appts_of(s, book_id, &first);
        TRY(decide(s, book_id, &s->list, from, n, first, m, s->pass.bad && pass_has_bad(&s->pass, book_id),
                   s->steady ? AT_FIRST : IN_DOUBT));
    }
    for (first = 0; first < s->appt_count && s->steady; first += m) {
        const char *book_id = s->appts[first].book_id;
        m = appts_of(s, book_id, &first);
        if (!sheet_find(&s->list, book_id, &from) && list_should_show(s, first, m))
            TRY(decide(s, book_id, &s->list, 0, 0, first, m, s->pass.bad && pass_has_bad(&s->pass, book_id), AT_FIRST));
    }
    return FAULT_OK;
}

struct fault decide_doubtful(struct survey *s, const char *book_id, bool answered)
{
    size_t first, from, m = appts_of(s, book_id, &first);
    const struct sheet *sheet = answered ? &s->answer : &s->list;
    size_t n = sheet_find(sheet, book_id, &from), listed_from;

    if (answered && !n && !pass_has_bad(&s->by_id, book_id) && !sheet_find(&s->list, book_id, &listed_from))
        s->gone[s->gone_count++] = book_id;
    return decide(s, book_id, sheet, from, n, first, m, pass_has_bad(answered ? &s->by_id : &s->pass, book_id),
                  answered ? CONFIRMED : IN_DOUBT);
}

struct fault survey_adopt(struct survey *s)
{
    struct sheet list = s->list, all = {0};
    struct fault f = FAULT_OK;
    bool is_new;
    size_t from;

    for (const struct seen_bad *b = s->by_id.bad; b && !f.kind; b = b->hh.next)
        f = pass_put_bad(&s->pass, b->book_id, b->why, &is_new);
    if (!f.kind)
        f = sheet_make(&all, list.count + s->answer.count);
    for (size_t l = 0, a = 0; !f.kind && (l < list.count || a < s->answer.count);) {
        bool listed = a == s->answer.count ||
                      (l < list.count && strcmp(list.slots[l].book_id, s->answer.slots[a].book_id) <= 0);
        const struct sheet *of = listed ? &list : &s->answer;
        size_t at = listed ? l++ : a++;
        if (!listed && sheet_find(&list, of->slots[at].book_id, &from))
            continue;
        all.rows[all.count] = of->rows[at];
        all.slots[all.count++] = of->slots[at];
    }
    if (f.kind) {
        sheet_free(&all);
        return f;
    }
    s->listed = list; /* windows borrow from it */
    s->list = all;
    return FAULT_OK;
}

void survey_free(struct survey *s)
{
    pass_free(&s->pass);
    pass_free(&s->by_id);
    sheet_free(&s->list);
    sheet_free(&s->listed);
    sheet_free(&s->answer);
    windows_free(&s->windows);
    free(s->appts);
    free(s->made);
    free(s->wanted);
    free(s->doubtful);
    free(s->gone);
}

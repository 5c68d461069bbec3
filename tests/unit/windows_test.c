/*
 * Situations are written as a person would say them. A row is "10:00-12:00", with words: `dead` (not live), `in`
 * (checked in or out), `bob`, `West` (else it is ann's at East), `nobody` (person unknown). A window is the same, with
 * its margins in minutes as "15/5", and `elsewhere` (made for other rows). Hours go past 24 for the days after. The
 * outcome is the verdict on every window in order (keep, drop: certain, ask: a drop that is not), then what is new.
 */
#include "common/windows.h"

#include "common/scoped.h"
#include "common/text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

enum { FEW = 12 };

static const int64_t midnight = 1791763200; /* 2026-10-12T00:00:00Z */

static const struct {
    const char *when;
    const char *rows, *made;
    int before_m, after_m;
    const char *now, *want;
    size_t unusable;
} situations[] = {
    {"a booking is new", "10:00-12:00", "", 0, 0, "08:00", "10:00-12:00", 0},
    {"a booking is known", "10:00-12:00", "10:00-12:00", 0, 0, "08:00", "keep", 0},
    {"nothing at all", "", "", 15, 15, "08:00", "", 0},
    {"margins", "10:00-12:00", "", 15, 5, "08:00", "09:45-12:05", 0},

    {"two slots that touch", "11:00-12:00, 10:00-11:00", "", 0, 0, "08:00", "10:00-12:00", 0},
    {"two slots that overlap", "10:00-11:30, 11:00-12:00", "", 0, 0, "08:00", "10:00-12:00", 0},
    {"a slot inside another", "10:00-14:00, 11:00-12:00, 13:00-13:30", "", 5, 5, "08:00", "09:55-14:05", 0},
    {"two slots apart", "10:00-11:00, 12:00-13:00", "", 0, 0, "08:00", "10:00-11:00, 12:00-13:00", 0},
    {"margins make two slots touch", "10:00-11:00, 11:30-12:30", "", 15, 15, "08:00", "09:45-12:45", 0},
    {"margins a minute short of it", "10:00-11:00, 11:31-12:30", "", 15, 15, "08:00", "09:45-11:15, 11:16-12:45", 0},
    {"the same row twice", "10:00-12:00, 10:00-12:00", "", 0, 0, "08:00", "10:00-12:00", 0},
    {"three seats at one time", "10:00-12:00, 10:00-12:00, 10:00-12:00", "10:00-12:00", 0, 0, "08:00", "keep", 0},
    {"over midnight", "23:00-24:00, 24:00-25:00", "", 0, 0, "08:00", "23:00-25:00", 0},
    {"several days", "10:00-11:00, 34:00-35:00, 58:00-59:00", "10:00-11:00", 0, 0, "12:00",
     "keep | 34:00-35:00, 58:00-59:00", 0},

    {"the booking was cancelled", "10:00-12:00 dead", "10:00-12:00", 0, 0, "08:00", "drop", 0},
    {"the booking was cancelled and had margins", "10:00-12:00 dead", "09:45-12:15 15/15", 0, 0, "08:00", "drop", 0},
    {"the booking vanished", "", "10:00-12:00", 0, 0, "08:00", "ask", 0},
    {"one slot of two was cancelled", "10:00-11:00 dead, 11:00-12:00", "10:00-12:00", 0, 0, "08:00",
     "drop | 11:00-12:00", 0},
    {"one slot was cancelled, the read missed the other", "10:00-11:00 dead", "10:00-12:00", 0, 0, "08:00", "ask", 0},
    {"the middle slot of three was cancelled", "10:00-11:00, 11:00-12:00 dead, 12:00-13:00", "09:45-13:15 15/15", 15,
     15, "08:00", "drop | 09:45-11:15, 11:45-13:15", 0},
    {"one seat of two was cancelled", "10:00-12:00, 10:00-12:00 dead", "10:00-12:00", 0, 0, "08:00", "keep", 0},
    {"a sibling elsewhere in the day was cancelled", "10:00-12:00, 15:00-16:00 dead", "10:00-12:00", 0, 0, "08:00",
     "keep", 0},
    {"the slot of a margin-merged window was cancelled", "10:00-11:00, 11:30-12:30 dead", "09:45-12:45 15/15", 15, 15,
     "08:00", "drop | 09:45-11:15", 0},
    {"cancelled, but only elsewhere in the day was it seen", "15:00-16:00 dead", "10:00-12:00", 0, 0, "08:00", "ask",
     0},
    {"cancelled and booked again", "10:00-12:00 dead, 10:00-12:00", "10:00-12:00", 0, 0, "08:00", "keep", 0},
    {"a cancelled row without an id explains nothing", "10:00-12:00 dead nobody", "10:00-12:00", 0, 0, "08:00", "ask",
     0},
    {"a booking cancelled before it was registered", "10:00-12:00 dead", "", 0, 0, "08:00", "", 0},

    {"extended", "10:00-13:00", "10:00-12:00", 0, 0, "08:00", "keep | 12:00-13:00", 0},
    {"extended by another slot", "10:00-12:00, 12:00-13:00", "10:00-12:00", 0, 0, "08:00", "keep | 12:00-13:00", 0},
    {"extended on both sides", "09:00-13:00", "10:00-12:00", 0, 0, "08:00", "keep | 09:00-10:00, 12:00-13:00", 0},
    {"extended with margins", "10:00-13:00", "09:45-12:15 15/15", 15, 15, "08:00", "keep | 12:15-13:15", 0},
    {"extended by less than the margin", "10:00-12:10", "09:45-12:15 15/15", 15, 15, "08:00", "keep", 0},
    {"the extension is known", "10:00-13:00", "09:45-12:15 15/15, 12:15-13:15 15/15", 15, 15, "08:00", "keep keep", 0},
    {"the extension was given back", "10:00-12:00", "09:45-12:15 15/15, 12:15-13:15 15/15", 15, 15, "08:00",
     "keep ask", 0},
    {"the extension's row was cancelled", "10:00-12:00, 12:00-13:00 dead", "10:00-12:00, 12:00-13:00", 0, 0, "08:00",
     "keep drop", 0},
    {"what was extended was cancelled", "10:00-12:00 dead, 12:00-13:00", "09:45-12:15 15/15, 12:15-13:15 15/15", 15,
     15, "08:00", "drop keep | 11:45-12:15", 0},
    {"extended while running", "10:00-13:00", "10:00-12:00", 0, 0, "11:00", "keep | 12:00-13:00", 0},
    {"two windows with a gap between them that is booked now", "10:00-14:00", "10:00-11:00, 12:00-14:00", 0, 0,
     "08:00", "keep keep | 11:00-12:00", 0},

    {"shortened from the front", "11:00-12:00", "10:00-12:00", 0, 0, "08:00", "ask | 11:00-12:00 waits", 0},
    {"shortened from the end", "10:00-11:00", "10:00-12:00", 0, 0, "08:00", "ask | 10:00-11:00 waits", 0},
    {"moved within reach", "11:00-13:00", "10:00-12:00", 0, 0, "08:00", "ask | 11:00-13:00 waits", 0},
    {"moved far", "15:00-17:00", "10:00-12:00", 0, 0, "08:00", "ask | 15:00-17:00", 0},
    {"moved to touch", "12:00-14:00", "10:00-12:00", 0, 0, "08:00", "ask | 12:00-14:00", 0},
    {"another person", "10:00-12:00 bob", "10:00-12:00", 0, 0, "08:00", "ask | 10:00-12:00 bob", 0},
    {"another place", "10:00-12:00 West", "10:00-12:00", 0, 0, "08:00", "ask | 10:00-12:00 West", 0},
    {"another's cancellation explains nothing", "10:00-12:00 dead bob", "10:00-12:00", 0, 0, "08:00", "ask", 0},
    {"two places at one time", "10:00-12:00, 10:00-12:00 West", "10:00-12:00 West", 0, 0, "08:00",
     "keep | 10:00-12:00", 0},
    {"two persons, each with their own", "10:00-12:00, 12:00-13:00 bob", "12:00-13:00 bob, 10:00-12:00", 0, 0, "08:00",
     "keep keep", 0},

    {"margins were raised", "10:00-12:00", "10:00-12:00", 15, 15, "08:00", "keep", 0},
    {"margins were lowered", "10:00-12:00", "09:45-12:15 15/15", 0, 0, "08:00", "keep", 0},
    {"raised margins make two windows touch", "10:00-11:00, 11:30-12:30", "10:00-11:00, 11:30-12:30", 15, 15, "08:00",
     "keep keep", 0},
    {"margins were raised, then extended", "10:00-13:00", "10:00-12:00", 15, 15, "08:00", "keep | 12:00-13:15", 0},
    {"margins were lowered, then extended", "10:00-13:00", "09:45-12:15 15/15", 0, 0, "08:00", "keep | 12:15-13:00", 0},
    {"margins were lowered, then cancelled", "10:00-12:00 dead", "09:45-12:15 15/15", 0, 0, "08:00", "drop", 0},

    {"checked in late", "10:07-12:00 in", "10:00-12:00", 0, 0, "10:08", "keep", 0},
    {"checked in early", "09:50-12:00 in", "10:00-12:00", 0, 0, "09:51", "keep", 0},
    {"checked out early", "10:07-10:50 in", "10:00-12:00", 0, 0, "10:51", "keep", 0},
    {"checked out in the minute of the check-in", "10:07-10:07 in", "10:00-12:00", 0, 0, "10:10", "keep", 1},
    {"checked in within the margin, after the end", "12:05-12:05 in", "09:45-12:15 15/15", 15, 15, "12:06", "keep", 1},
    {"checked in, no window", "10:07-12:00 in", "", 0, 0, "10:08", "", 0},
    {"checked in, one slot of two", "10:07-11:00 in, 11:00-12:00", "10:00-12:00", 0, 0, "10:08", "keep", 0},
    {"checked in, one slot of two, no window", "10:07-11:00 in, 11:00-12:00", "", 0, 0, "10:08", "11:00-12:00", 0},
    {"checked in to the first slot, the second was cancelled", "10:07-11:00 in, 11:00-12:00 dead", "10:00-12:00", 0, 0,
     "10:08", "keep", 0},
    {"checked in, and a slot was added", "10:07-12:00 in, 12:00-13:00", "10:00-12:00", 0, 0, "10:08",
     "keep | 12:00-13:00", 0},
    {"checked in elsewhere in the day", "10:07-11:00 in", "10:00-11:00, 15:00-16:00", 0, 0, "10:08", "keep ask", 0},
    {"another person checked in", "10:07-12:00 in bob", "10:00-12:00", 0, 0, "10:08", "ask", 0},
    {"checked in, then cancelled", "10:07-12:00 dead in", "10:00-12:00", 0, 0, "10:08", "drop", 0},
    {"checked in next to a window it only touches", "11:00-12:00 in", "10:00-11:00", 0, 0, "08:00", "ask", 0},

    {"the window has ended", "", "10:00-12:00", 0, 0, "12:00", "keep", 0},
    {"the window has ended and was cancelled", "10:00-12:00 dead", "10:00-12:00", 0, 0, "13:00", "keep", 0},
    {"the booking has ended", "10:00-12:00", "", 0, 0, "12:00", "", 0},
    {"the booking runs", "10:00-12:00", "", 0, 0, "11:00", "10:00-12:00", 0},
    {"a first slot has ended and left the list", "11:00-12:00", "10:00-12:00", 0, 0, "11:00", "keep", 0},
    {"yesterday's slot of a window over midnight left the list", "24:00-25:00", "23:00-25:00", 0, 0, "24:10", "keep",
     0},
    {"yesterday's row over midnight left the list", "", "23:00-25:00", 0, 0, "24:10", "ask", 0},
    {"the start was rewritten, no word of a check-in", "10:07-12:00", "10:00-12:00", 0, 0, "10:08", "keep", 0},
    {"shortened while running", "10:00-11:30", "10:00-12:00", 0, 0, "11:00", "ask | 10:00-11:30 waits", 0},
    {"an ended window covers what it covered", "10:00-13:00", "10:00-11:00", 0, 0, "11:30", "keep | 11:00-13:00", 0},

    {"made elsewhere at that time", "10:00-12:00", "10:00-12:00 elsewhere", 0, 0, "08:00", "keep", 0},
    {"made elsewhere for part of it", "10:00-13:00", "11:00-12:00 elsewhere", 0, 0, "08:00",
     "keep | 10:00-11:00, 12:00-13:00", 0},
    {"made elsewhere, with margins", "12:00-13:00", "09:45-12:15 15/15 elsewhere", 15, 15, "08:00", "keep | 12:15-13:15",
     0},
    {"made elsewhere for another person", "10:00-12:00", "10:00-12:00 bob elsewhere", 0, 0, "08:00",
     "keep | 10:00-12:00", 0},
    {"no rows here are no word on what was made elsewhere", "", "10:00-12:00 elsewhere", 0, 0, "08:00", "keep", 0},
    {"cancelled here, made elsewhere", "10:00-12:00 dead", "10:00-12:00 elsewhere", 0, 0, "08:00", "keep", 0},
    {"cancelled here, where it was made, and made elsewhere too", "10:00-12:00 dead",
     "10:00-12:00, 10:00-12:00 elsewhere", 0, 0, "08:00", "drop keep", 0},
    {"shortened here, and elsewhere covers the rest", "10:00-11:00", "10:00-12:00, 11:00-12:00 elsewhere", 0, 0, "08:00",
     "ask keep | 10:00-11:00 waits", 0},
    {"what elsewhere had is dropped there, and booked here still", "10:00-12:00", "11:00-12:00", 0, 0, "08:00",
     "keep | 10:00-11:00", 0},
    {"checked in here, made elsewhere", "10:07-12:00 in", "10:00-12:00 elsewhere", 0, 0, "10:08", "keep", 0},

    {"a row of no length", "10:00-10:00", "", 15, 15, "08:00", "", 1},
    {"a row that ends before it starts", "12:00-10:00", "", 0, 0, "08:00", "", 1},
    {"a live row without a person", "10:00-12:00 nobody, 14:00-15:00", "", 0, 0, "08:00", "14:00-15:00", 1},
    {"a row of no length does not join its neighbours", "10:00-11:00, 11:30-11:30, 12:00-13:00", "", 15, 15, "08:00",
     "09:45-11:15, 11:45-13:15", 1},
};

static int64_t at_clock(int hour, int minute)
{
    return midnight + hour * 3600 + minute * 60;
}

/* One row or window: its times, then words. Returns what follows it. */
static const char *read_one(const char *at, struct window_row *row, struct window_made *made)
{
    int h1, m1, h2, m2, used, before, after;
    char word[16];

    assert_int_equal(sscanf(at, " %d:%d-%d:%d%n", &h1, &m1, &h2, &m2, &used), 4);
    *row = (struct window_row){at_clock(h1, m1), at_clock(h2, m2), true, false, "East", "ann"};
    *made = (struct window_made){.start = row->start, .end = row->end};
    for (at += used; sscanf(at, " %15[^ ,]%n", word, &used) == 1; at += used) {
        if (!strcmp(word, "dead"))
            row->live = false;
        else if (!strcmp(word, "in"))
            row->checked_in = true;
        else if (!strcmp(word, "nobody"))
            row->person = NULL;
        else if (!strcmp(word, "bob"))
            row->person = "bob";
        else if (!strcmp(word, "West"))
            row->destination = "West";
        else if (!strcmp(word, "elsewhere"))
            made->elsewhere = true;
        else if (sscanf(word, "%d/%d", &before, &after) == 2)
            made->before_s = before * 60, made->after_s = after * 60;
        else
            fail_msg("the test itself: %s", word);
    }
    made->destination = row->destination;
    made->person = row->person;
    return *at == ',' ? at + 1 : at;
}

static void add_clock(struct text *t, int64_t instant)
{
    int64_t minute = (instant - midnight) / 60;

    text_printf(t, "%02d:%02d", (int)(minute / 60), (int)(minute % 60));
}

static void write_outcome(struct text *t, const struct window_made *made, size_t m, const struct windows *new)
{
    for (size_t i = 0; i < m; i++)
        text_printf(t, "%s%s", i ? " " : "", made[i].verdict == KEEP ? "keep" : made[i].certain ? "drop" : "ask");
    for (size_t i = 0; i < new->count; i++) {
        const struct window_new *w = &new->at[i];

        text_puts(t, i ? ", " : m ? " | " : "");
        add_clock(t, w->start);
        text_putc(t, '-');
        add_clock(t, w->end);
        text_printf(t, "%s%s%s", strcmp(w->destination, "East") ? " West" : "", strcmp(w->person, "ann") ? " bob" : "",
                    w->waits ? " waits" : "");
    }
}

static void test_situations(void **state)
{
    struct windows new = {0};
    struct text got = {0};
    (void)state;

    for (size_t i = 0; i < COUNT(situations); i++) {
        struct window_row rows[FEW], unused_row;
        struct window_made made[FEW], unused_made;
        int hour, minute;
        size_t n = 0, m = 0;

        for (const char *at = situations[i].rows; *at; n++)
            at = read_one(at, &rows[n], &unused_made);
        for (const char *at = situations[i].made; *at; m++)
            at = read_one(at, &unused_row, &made[m]);
        assert_int_equal(sscanf(situations[i].now, "%d:%d", &hour, &minute), 2);
        struct fault f = windows_compare(rows, n, made, m, situations[i].before_m * 60, situations[i].after_m * 60,
                                         at_clock(hour, minute), &new);
        text_clear(&got);
        write_outcome(&got, made, m, &new);
        if (f.kind || strcmp(text_str(&got), situations[i].want))
            fail_msg("%s: want \"%s\", got \"%s\" %s", situations[i].when, situations[i].want, text_str(&got), f.what);
        if (new.unusable != situations[i].unusable)
            fail_msg("%s: %zu rows unusable", situations[i].when, new.unusable);
    }
    windows_free(&new);
    text_free(&got);
}

/*
 * The same once more, minute by minute, for random rows and windows.
 */
enum { MINUTES = 48, PAD = 16, CELLS = MINUTES + 2 * PAD, GROUPS = 4 };

static const char *const destinations[] = {"East", "East", "West", "West"}, *const persons[] = {"ann", "bob", "ann", "bob"};

static uint64_t seed;

static int dice(int sides)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (int)((seed >> 33) % (unsigned)sides);
}

static int group_of(const char *destination, const char *person)
{
    return (strcmp(destination, "West") ? 0 : 2) + (strcmp(person, "bob") ? 0 : 1);
}

struct paper {
    bool cell[CELLS]; /* one a minute; [start, end) */
};

static void paint(struct paper *p, int64_t start, int64_t end)
{
    for (int64_t t = start; t < end; t += 60)
        p->cell[t / 60 + PAD] = true;
}

static bool any(const struct paper *p, int64_t start, int64_t end)
{
    for (int64_t t = start; t < end; t += 60)
        if (p->cell[t / 60 + PAD])
            return true;
    return false;
}

static bool all(const struct paper *p, int64_t start, int64_t end)
{
    for (int64_t t = start; t < end; t += 60)
        if (!p->cell[t / 60 + PAD])
            return false;
    return true;
}

struct deal {
    struct window_row rows[FEW];
    struct window_made made[2 * FEW + CELLS];
    size_t n, m;
    int before_s, after_s;
    int64_t now;
};

static void deal_out(struct deal *d)
{
    int groups = 1 + dice(GROUPS);

    *d = (struct deal){.n = (size_t)dice(9), .m = (size_t)dice(6), .before_s = 60 * dice(4), .after_s = 60 * dice(4)};
    d->now = 60 * (dice(3) ? dice(12) : dice(MINUTES));
    for (size_t i = 0; i < d->n; i++) {
        int g = dice(groups), start = 12 + dice(24);

        d->rows[i] = (struct window_row){60 * start, 60 * (start + dice(10) - (dice(12) ? 0 : 2)), dice(4) > 0,
                                         dice(5) == 0, destinations[g], persons[g]};
    }
    for (size_t i = 0; i < d->m; i++) {
        int g = dice(groups), start = 9 + dice(24);

        d->made[i] = (struct window_made){.start = 60 * start, .end = 60 * (start + 1 + dice(12)),
                                          .before_s = dice(2) ? d->before_s : 60 * dice(4),
                                          .after_s = dice(2) ? d->after_s : 60 * dice(4),
                                          .destination = destinations[g], .person = persons[g]};
        if (d->n && dice(2)) { /* more often than not a window has come from a row */
            const struct window_row *row = &d->rows[dice((int)d->n)];
            struct window_made *e = &d->made[i];

            if (row->start < row->end)
                *e = (struct window_made){.start = row->start - e->before_s, .end = row->end + e->after_s,
                                          .before_s = e->before_s, .after_s = e->after_s,
                                          .destination = row->destination, .person = row->person};
        }
        d->made[i].elsewhere = dice(6) == 0;
    }
}

static struct paper covered_by(const struct deal *d, int g, bool dead_too, int before_s, int after_s)
{
    struct paper p = {0};

    for (size_t i = 0; i < d->n; i++) {
        const struct window_row *row = &d->rows[i];

        if (group_of(row->destination, row->person) == g && (row->live || dead_too) && row->start < row->end)
            paint(&p, row->start - before_s, row->end + after_s);
    }
    return p;
}

static void expect_verdict(const struct deal *d, const struct window_made *e)
{
    int g = group_of(e->destination, e->person);
    int64_t ahead = e->start > d->now ? e->start : d->now;
    struct paper live = covered_by(d, g, false, e->before_s, e->after_s);
    struct paper seen = covered_by(d, g, true, e->before_s, e->after_s);
    bool keep = e->elsewhere || e->end <= d->now || all(&live, ahead, e->end);

    for (size_t i = 0; i < d->n && !keep; i++) {
        const struct window_row *row = &d->rows[i];
        int64_t end = row->start < row->end ? row->end : row->start + 1;

        keep = row->live && row->checked_in && group_of(row->destination, row->person) == g &&
               row->start - e->before_s < e->end && end + e->after_s > e->start;
    }
    assert_int_equal(e->verdict, keep ? KEEP : DROP);
    if (!keep)
        assert_int_equal(e->certain, all(&seen, ahead, e->end));
}

static void expect_new(const struct deal *d, int g, const struct windows *new)
{
    struct paper booked = {0}, wanted = {0}, kept = {0}, doubtful = {0}, got = {0};

    for (size_t i = 0; i < d->n; i++) {
        const struct window_row *row = &d->rows[i];

        if (group_of(row->destination, row->person) != g || !row->live || row->checked_in || row->start >= row->end)
            continue;
        paint(&booked, row->start, row->end);
        paint(&wanted, row->start - d->before_s, row->end + d->after_s);
    }
    for (size_t i = 0; i < d->m; i++) {
        const struct window_made *e = &d->made[i];

        if (group_of(e->destination, e->person) == g && (e->verdict == KEEP || !e->certain))
            paint(e->verdict == KEEP ? &kept : &doubtful, e->start, e->end);
    }
    for (size_t i = 0; i < new->count; i++) {
        const struct window_new *w = &new->at[i];

        if (group_of(w->destination, w->person) != g)
            continue;
        assert_true(w->start < w->end && w->end > d->now);
        assert_true(all(&wanted, w->start, w->end));
        assert_false(any(&kept, w->start, w->end));
        assert_false(any(&got, w->start, w->end));
        assert_true(any(&booked, w->start, w->end));
        assert_int_equal(w->waits, any(&doubtful, w->start, w->end));
        /* a whole piece: what borders on it is not wanted or is covered */
        assert_true(!all(&wanted, w->start - 60, w->start) || any(&kept, w->start - 60, w->start));
        assert_true(!all(&wanted, w->end, w->end + 60) || any(&kept, w->end, w->end + 60));
        paint(&got, w->start, w->end);
    }
    for (int64_t t = d->now; t < 60 * MINUTES; t += 60)
        assert_true(!any(&booked, t, t + 60) || any(&kept, t, t + 60) || any(&got, t, t + 60));
}

static void expect_settled(const struct deal *d, const struct windows *new, struct windows *again)
{
    struct deal after = *d;

    after.m = 0;
    for (size_t i = 0; i < d->m; i++)
        if (d->made[i].verdict == KEEP)
            after.made[after.m++] = d->made[i];
    for (size_t i = 0; i < new->count; i++)
        after.made[after.m++] = (struct window_made){.start = new->at[i].start, .end = new->at[i].end,
                                                     .before_s = d->before_s, .after_s = d->after_s,
                                                     .destination = new->at[i].destination,
                                                     .person = new->at[i].person, .verdict = DROP};
    assert_false(windows_compare(after.rows, after.n, after.made, after.m, d->before_s, d->after_s, d->now, again).kind);
    assert_int_equal(again->count, 0);
    for (size_t i = 0; i < after.m; i++)
        assert_int_equal(after.made[i].verdict, KEEP);
}

static void expect_same_in_any_order(const struct deal *d, const struct windows *new, struct windows *again)
{
    struct deal turned = *d;

    for (size_t i = 0; i < d->n; i++)
        turned.rows[i] = d->rows[d->n - 1 - i];
    for (size_t i = 0; i < d->m; i++)
        turned.made[i] = d->made[d->m - 1 - i];
    assert_false(windows_compare(turned.rows, d->n, turned.made, d->m, d->before_s, d->after_s, d->now, again).kind);
    assert_int_equal(again->count, new->count);
    for (size_t i = 0; i < new->count; i++)
        assert_true(again->at[i].start == new->at[i].start && again->at[i].end == new->at[i].end &&
                    again->at[i].waits == new->at[i].waits);
    for (size_t i = 0; i < d->m; i++)
        assert_int_equal(turned.made[i].verdict, d->made[d->m - 1 - i].verdict);
}

static void test_random_deals(void **state)
{
    struct windows new = {0}, again = {0};
    int kept = 0, dropped = 0, made = 0, elsewhere = 0;
    (void)state;

    for (uint64_t round = 1; round <= 60000; round++) {
        struct deal d;

        seed = round * 0x9E3779B97F4A7C15u;
        for (int i = 0; i < 4; i++)
            dice(2);
        deal_out(&d);
        assert_false(windows_compare(d.rows, d.n, d.made, d.m, d.before_s, d.after_s, d.now, &new).kind);
        for (size_t i = 0; i < d.m; i++) {
            expect_verdict(&d, &d.made[i]);
            kept += d.made[i].verdict == KEEP;
            dropped += d.made[i].verdict == DROP;
            elsewhere += d.made[i].elsewhere;
        }
        for (int g = 0; g < GROUPS; g++)
            expect_new(&d, g, &new);
        made += (int)new.count;
        expect_settled(&d, &new, &again);
        expect_same_in_any_order(&d, &new, &again);
    }
    /* or else the dice were loaded */
    assert_true(kept > 20000 && dropped > 20000 && made > 20000 && elsewhere > 20000);
    windows_free(&new);
    windows_free(&again);
}

static void test_ten_thousand_rows(void **state)
{
    enum { MANY = 10000 };
    struct window_row *rows = calloc(MANY, sizeof *rows);
    struct window_made *made = calloc(MANY, sizeof *made);
    struct windows new = {0};
    (void)state;

    assert_true(rows && made);
    for (int i = 0; i < MANY; i++) {
        int turned = (int)((i * 7919L) % MANY); /* in no order */

        rows[i] = (struct window_row){turned * 3600, turned * 3600 + 1800, true, false, "East", "ann"};
        made[i] = (struct window_made){.start = turned * 3600, .end = turned * 3600 + (i % 2 ? 1800 : 1200),
                                       .before_s = i, .after_s = 0, .destination = "East", .person = "ann"};
    }
    clock_t began = clock();
    assert_false(windows_compare(rows, MANY, made, MANY, 0, 0, 0, &new).kind);
    assert_true((double)(clock() - began) / CLOCKS_PER_SEC < 2);
    assert_int_equal(new.count, MANY / 2);
    for (int i = 0; i < MANY; i++)
        assert_int_equal(made[i].verdict, KEEP);
    windows_free(&new);
    free(rows);
    free(made);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_situations),
        cmocka_unit_test(test_random_deals),
        cmocka_unit_test(test_ten_thousand_rows),
    };

    return cmocka_run_group_tests_name("windows", tests, NULL, NULL);
}

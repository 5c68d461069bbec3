/*
 * What the producer makes of LibCal's rows. Situations are written as a person would say them.
 *
 * A row is "b 10:00-12:00": its bookId and local times, hours going past 24 for the days after; then words: `cancelled`,
 * `denied`, `waits`, `odd` (a status nobody knows), `calendar`, `event`, `in` (checked in), `blank`, `bad` (the id), `bob`
 * (else it is ANN's), `seat2`, `away` (another location), `unreadable`. A window is the same, an `away` one
 * behind our door. What LibCal says by id is a list of rows, "" for none, or "fails". The outcome is what became of every
 * window in order (kept, or why not), then the bookIds asked about, then what is new.
 */
#include "producers/bookings/pass.c"
#include "producers/bookings/survey.c"
#include "producers/libcal-bookings/decide.c"

#include "common/scoped.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

enum { FEW = 12, HERE = 1234 };

static const int64_t midnight = 1791777600; /* 2026-10-12T00:00:00-04:00 */
static const int offset_s = -4 * 3600;

static const struct {
    const char *when, *list, *made, *by_id, *now, *want;
    bool shaky; /* the list never held still, or was read over midnight */
} situations[] = {
    {"nothing at all", "", "", "", "08:00", "", false},
    {"a booking is new", "a 10:00-12:00", "", "", "08:00", "| a 10:00-12:00", false},
    {"a booking is known", "a 10:00-12:00", "a 10:00-12:00", "", "08:00", "kept", false},
    {"slots that touch are one window", "a 10:00-11:00, a 11:00-12:00, a 10:00-11:00 seat2", "", "", "08:00", "| a 10:00-12:00", false},
    {"two bookings stay two", "a 10:00-11:00, b 11:00-12:00", "", "", "08:00", "| a 10:00-11:00, b 11:00-12:00", false},
    {"it was cancelled", "a 10:00-12:00 cancelled", "a 10:00-12:00", "", "08:00", "cancelled in LibCal", false},
    {"it was denied", "a 10:00-12:00 denied", "a 10:00-12:00", "", "08:00", "denied in LibCal", false},
    {"it waits again", "a 10:00-12:00 waits", "a 10:00-12:00", "", "08:00", "no longer confirmed in LibCal", false},
    {"one of two slots was cancelled", "a 10:00-11:00, a 11:00-12:00 cancelled", "a 10:00-12:00", "a 10:00-11:00", "08:00",
     "cancelled in LibCal | a 10:00-11:00", false},
    {"one of two seats was cancelled", "a 10:00-12:00, a 10:00-12:00 seat2 cancelled", "a 10:00-12:00", "", "08:00", "kept", false},
    {"cancelled before it was seen", "a 10:00-12:00 cancelled", "", "", "08:00", "", false},
    {"not confirmed yet", "a 10:00-12:00 waits", "", "", "08:00", "", false},

    {"it vanished, and LibCal has it no more", "", "a 10:00-12:00", "", "08:00", "no longer in LibCal ? a gone", false},
    {"the list missed it, by id it is there", "", "a 10:00-12:00", "a 10:00-12:00", "08:00", "kept ? a", false},
    {"it vanished, and the question fails", "", "a 10:00-12:00", "fails", "08:00", "kept ? a", false},
    {"it went to another location", "", "a 10:00-12:00", "a 10:00-12:00 away", "08:00", "no longer in LibCal ? a gone", false},
    {"it vanished from a list that never held still", "", "a 10:00-12:00", "", "08:00", "kept", true},
    {"cancelled in a list that never held still", "a 10:00-12:00 cancelled", "a 10:00-12:00", "", "08:00", "cancelled in LibCal", true},
    {"new in a list that never held still", "a 10:00-12:00", "b 10:00-12:00", "", "08:00", "kept | a 10:00-12:00", true},
    {"it is over and left the list", "", "a 10:00-12:00", "", "12:00", "kept", false},
    {"beyond the days that are watched", "", "a 82:00-83:00", "", "08:00", "kept", false},
    {"on the last day that is watched", "", "a 70:00-71:00", "", "08:00", "no longer in LibCal ? a gone", false},
    {"yesterday's, over midnight", "", "a 23:00-25:00", "", "24:10", "kept", false},

    {"it moved", "a 14:00-16:00", "a 10:00-12:00", "a 14:00-16:00", "08:00", "moved or shortened in LibCal ? a | a 14:00-16:00", false},
    {"it moved, and the question fails: the new time is made, the old one kept", "a 14:00-16:00", "a 10:00-12:00", "fails", "08:00",
     "kept ? a | a 14:00-16:00", false},
    {"it moved a little, and the question fails: nothing is made over a window that may be right", "a 11:00-13:00",
     "a 10:00-12:00", "fails", "08:00", "kept ? a", false},
    {"it was shortened", "a 10:00-11:00", "a 10:00-12:00", "a 10:00-11:00", "08:00",
     "moved or shortened in LibCal ? a | a 10:00-11:00", false},
    {"it was extended", "a 10:00-13:00", "a 10:00-12:00", "", "08:00", "kept | a 12:00-13:00", false},
    {"a slot was seen by id only", "a 10:00-11:00", "a 10:00-12:00", "a 10:00-11:00, a 11:00-12:00", "08:00", "kept ? a", false},
    {"by id also shows days that are not watched yet", "a 14:00-15:00", "a 10:00-11:00", "a 14:00-15:00, a 110:00-111:00", "08:00",
     "moved or shortened in LibCal ? a | a 14:00-15:00", false},
    {"the person changed", "a 10:00-12:00 bob", "a 10:00-12:00", "a 10:00-12:00 bob", "08:00",
     "the person changed ? a | a 10:00-12:00 bob", false},

    {"checked in late", "a 10:07-12:00 in", "a 10:00-12:00", "", "10:08", "kept", false},
    {"checked in, never seen before", "a 10:07-12:00 in", "", "", "10:08", "", false},
    {"checked in, a slot was added", "a 10:07-12:00 in, a 12:00-13:00", "a 10:00-12:00", "", "10:08", "kept | a 12:00-13:00", false},

    {"another location behind this door has its window", "a 10:00-12:00", "a 10:00-12:00 away", "", "08:00", "kept", false},
    {"another location has a window of part of it", "a 10:00-13:00", "a 10:00-12:00 away", "", "08:00", "kept | a 12:00-13:00", false},
    {"another location has a window of another booking", "b 10:00-12:00", "a 10:00-12:00 away", "", "08:00",
     "kept | b 10:00-12:00", false},
    {"another location's window is not asked about here", "", "a 10:00-12:00 away", "", "08:00", "kept", false},
    {"cancelled here is not cancelled there", "a 10:00-12:00 cancelled", "a 10:00-12:00 away", "", "08:00", "kept", false},
    {"it vanished here, not there", "", "a 10:00-11:00, a 11:00-12:00 away", "", "08:00", "no longer in LibCal, kept ? a gone", false},
    {"by id it grew over a window from there", "", "a 10:00-11:00, a 11:00-12:00 away", "a 10:00-13:00", "08:00",
     "kept, kept ? a | a 12:00-13:00", false},

    {"its row cannot be read", "a unreadable", "a 10:00-12:00", "", "08:00", "kept", false},
    {"one of its rows cannot be read", "a 10:00-11:00, a unreadable", "a 10:00-12:00", "", "08:00", "kept", false},
    {"by id its row cannot be read", "", "a 10:00-12:00", "a unreadable", "08:00", "kept ? a", false},
    {"its status is unknown", "a 10:00-12:00 odd", "a 10:00-12:00", "", "08:00", "kept", false},
    {"a status unknown is no reason to let in", "a 10:00-12:00 odd", "", "", "08:00", "", false},
    {"a slot of unknown status beside a cancelled one", "a 10:00-11:00 cancelled, a 11:00-12:00 odd", "a 10:00-11:00, a 11:00-12:00",
     "", "08:00", "cancelled in LibCal, kept", false},
    {"the id was removed", "a 10:00-12:00 blank", "a 10:00-12:00", "", "08:00", "kept", false},
    {"the id was spoilt", "a 10:00-12:00 bad", "a 10:00-12:00", "", "08:00", "kept", false},
    {"the id was spoilt, on a cancelled row", "a 10:00-12:00 bad cancelled", "a 10:00-12:00", "", "08:00", "cancelled in LibCal ? a", false},
    {"no id, no window", "a 10:00-12:00 blank, b 10:00-12:00 bad", "", "", "08:00", "", false},
    {"an event", "a 10:00-12:00 event", "", "", "08:00", "", false},
    {"a calendar's entry", "a 10:00-12:00 calendar, exchange 10:00-12:00", "", "", "08:00", "", false},
    {"windows of a moved booking are not made over one that is held", "a 09:00-11:00, a 10:00-12:00 odd", "a 10:00-12:00", "", "08:00",
     "kept", false},
};

/* ---- reading the tables ---- */

struct world {
    struct libcal_row rows[FEW];
    struct libcal_bad bad[FEW];
    size_t count, bad_count;
};

static int64_t at_clock(const char *clock)
{
    int hour, minute;

    assert_int_equal(sscanf(clock, "%d:%d", &hour, &minute), 2);
    return midnight + hour * 3600 + minute * 60;
}

static void take_word(const char *word, struct libcal_row *row)
{
    static const char *const statuses[][2] = {{"cancelled", "Cancelled by User"}, {"denied", "Mediated Denied"},
                                              {"waits", "Tentative"}, {"odd", "Promised"},
                                              {"calendar", "Booked in Outlook/Exchange"}};

    for (size_t i = 0; i < COUNT(statuses); i++)
        if (!strcmp(word, statuses[i][0])) {
            strcpy(row->status, statuses[i][1]);
            return;
        }
    if (!strcmp(word, "event"))
        row->is_event = true;
    else if (!strcmp(word, "in"))
        row->check_in = LIBCAL_CHECKED_IN;
    else if (!strcmp(word, "blank"))
        row->answer[0] = '\0';
    else if (!strcmp(word, "bad"))
        strcpy(row->answer, "not an id");
    else if (!strcmp(word, "bob"))
        strcpy(row->answer, "bob ");
    else if (!strcmp(word, "seat2"))
        row->seat_id = 2;
    else if (!strcmp(word, "away"))
        row->lid = 99;
    else
        fail_msg("the test itself: %s", word);
}

static void read_world(const char *text, struct world *ret)
{
    char book_id[20], from[10], to[10], word[16];
    int used;

    *ret = (struct world){0};
    while (*text) {
        assert_int_equal(sscanf(text, " %19s%n", book_id, &used), 1);
        text += used;
        if (sscanf(text, " %9[0-9:]-%9[0-9:]%n", from, to, &used) != 2) {
            assert_int_equal(sscanf(text, " unreadable%n", &used), 0);
            text += used;
            strcpy(ret->bad[ret->bad_count].book_id, book_id);
            sprintf(ret->bad[ret->bad_count++].why, "booking %s", book_id);
        } else {
            struct libcal_row *row = &ret->rows[ret->count++];
            text += used;
            *row = (struct libcal_row){.lid = HERE, .eid = 1, .offset_seconds = offset_s, .start = at_clock(from), .end = at_clock(to)};
            strcpy(row->book_id, book_id);
            strcpy(row->status, "Confirmed");
            strcpy(row->answer, "ann");
            strcpy(row->email, "ann@example.edu");
            for (; sscanf(text, " %15[^ ,]%n", word, &used) == 1; text += used)
                take_word(word, row);
        }
        text += strspn(text, " ,");
    }
}

static void fill_pass(struct pass *p, const struct world *w)
{
    struct libcal_rows rows = {.at = (struct libcal_row *)(uintptr_t)w->rows, .count = w->count,
                               .bad = (struct libcal_bad *)(uintptr_t)w->bad, .bad_count = w->bad_count};
    bool more;

    assert_int_equal(pass_add(p, &rows, &more).kind, FAULT_NONE);
}

static void add_time(struct text *t, int64_t instant)
{
    text_printf(t, "%02d:%02d", (int)((instant - midnight) / 3600), (int)((instant - midnight) / 60 % 60));
}

static void write_outcome(struct text *t, const struct survey *s)
{
    for (size_t i = 0; i < s->appt_count; i++)
        text_printf(t, "%s%s", i ? ", " : "", s->appts[i].lost ? s->appts[i].lost : "kept");
    for (size_t i = 0; i < s->doubtful_count; i++)
        text_printf(t, " %s%s", i ? "" : "? ", s->doubtful[i]);
    if (s->gone_count)
        text_puts(t, " gone");
    for (size_t i = 0; i < s->wanted_count; i++) {
        const struct wanted *w = &s->wanted[i];
        text_printf(t, "%s%s ", i ? ", " : t->len ? " | " : "| ", w->book_id);
        add_time(t, w->w.start);
        text_putc(t, '-');
        add_time(t, w->w.end);
        text_puts(t, strcmp(w->w.person, "ANN") ? " bob" : "");
        assert_string_equal(w->email, "ann@example.edu");
        assert_int_equal(w->offset_s, offset_s);
    }
}

static void run_survey(struct survey *s, const struct world *list, const struct world *made, const char *by_id,
                       const char *now)
{
    static struct appt appts[FEW];
    static struct window_made windows[FEW];
    struct world answer;

    fill_pass(&s->pass, list);
    assert_int_equal(sheet_fill(&s->list, &s->pass, 0, s->destination).kind, FAULT_NONE);
    s->appt_count = made->count;
    s->appts = malloc(sizeof appts);
    s->made = malloc(sizeof windows);
    for (size_t i = 0; i < made->count; i++) {
        s->appts[i] = (struct appt){.appt_id = "x", .book_id = made->rows[i].book_id, .offset_s = offset_s};
        s->made[i] = (struct window_made){.start = made->rows[i].start, .end = made->rows[i].end, .destination = s->destination, .person = "ANN",
                                          .elsewhere = made->rows[i].lid != HERE};
    }
    s->now = at_clock(now);
    assert_int_equal(decide_all(s).kind, FAULT_NONE);
    if (strcmp(by_id, "fails") != 0) {
        read_world(by_id, &answer);
        fill_pass(&s->by_id, &answer);
    }
    assert_int_equal(sheet_fill(&s->answer, &s->by_id, HERE, s->destination).kind, FAULT_NONE);
    for (size_t i = 0; i < s->doubtful_count; i++)
        assert_int_equal(decide_doubtful(s, s->doubtful[i], strcmp(by_id, "fails") != 0).kind, FAULT_NONE);
}

static void test_situations(void **state)
{
    struct text got = {0};
    (void)state;

    for (size_t i = 0; i < COUNT(situations); i++) {
        struct survey s = {.destination = "East", .lid = HERE, .steady = !situations[i].shaky};
        struct world list, made;

        read_world(situations[i].list, &list);
        read_world(situations[i].made, &made);
        run_survey(&s, &list, &made, situations[i].by_id, situations[i].now);
        text_clear(&got);
        write_outcome(&got, &s);
        if (strcmp(text_str(&got), situations[i].want) != 0)
            fail_msg("%s: want \"%s\", got \"%s\"", situations[i].when, situations[i].want, text_str(&got));
        survey_free(&s);
    }
    text_free(&got);
}

/* ---- what goes to the desk ---- */

static void test_problems(void **state)
{
    static const struct {
        const char *row;
        enum problem want;
        const char *says;
    } rows[] = {
        {"a 10:00-12:00", FINE, ""},
        {"a 10:00-12:00 odd", UNKNOWN_STATUS, "\"Promised\""},
        {"a 10:00-12:00 odd blank", UNKNOWN_STATUS, "LIBCAL_STATUSES"},
        {"a 10:00-12:00 blank", BLANK_ID, "q12505"},
        {"a 10:00-12:00 bad", BAD_ID, "blank inside"},
        {"a 10:00-12:00 bad cancelled", FINE, ""},
        {"a 10:00-12:00 blank waits", FINE, ""},
    };
    (void)state;

    for (size_t i = 0; i < COUNT(rows); i++) {
        struct world w;
        struct pass p = {0};
        struct sheet sheet = {0};

        read_world(rows[i].row, &w);
        fill_pass(&p, &w);
        assert_int_equal(sheet_fill(&sheet, &p, 0, "East").kind, FAULT_NONE);
        assert_int_equal(sheet.count, 1);
        if (sheet.slots[0].problem != rows[i].want || !strstr(sheet.slots[0].why, rows[i].says) || strstr(sheet.slots[0].why, "not an id"))
            fail_msg("%s: problem %d, \"%s\"", rows[i].row, (int)sheet.slots[0].problem, sheet.slots[0].why);
        sheet_free(&sheet);
        pass_free(&p);
    }
}

/* ---- passes ---- */

static void test_passes(void **state)
{
    static const struct {
        const char *when, *first, *second;
        bool agree;
        int merged; /* rows of the second pass with what only the first one saw */
    } passes[] = {
        {"nothing changed", "a 10:00-11:00, b 10:00-11:00", "b 10:00-11:00, a 10:00-11:00", true, 2},
        {"a row twice is a row", "a 10:00-11:00, a 10:00-11:00", "a 10:00-11:00", true, 1},
        {"a row shifted out of sight", "a 10:00-11:00, b 10:00-11:00", "b 10:00-11:00", false, 2},
        {"a row moved", "a 10:00-11:00", "a 10:00-12:00", false, 1},
        {"a row was checked in", "a 10:00-11:00", "a 10:00-11:00 in", false, 1},
        {"one of two rows of a booking vanished: the later pass is right", "a 10:00-11:00, a 12:00-13:00", "a 10:00-11:00", false, 1},
        {"an unreadable row came", "a 10:00-11:00", "a 10:00-11:00, b unreadable", false, 1},
    };
    (void)state;

    for (size_t i = 0; i < COUNT(passes); i++) {
        struct world first, second;
        struct pass a = {0}, b = {0};

        read_world(passes[i].first, &first);
        read_world(passes[i].second, &second);
        fill_pass(&a, &first);
        fill_pass(&b, &second);
        bool agree = passes_agree(&a, &b);
        assert_int_equal(pass_merge(&b, &a).kind, FAULT_NONE);
        if (agree != passes[i].agree || (int)HASH_COUNT(b.rows) != passes[i].merged)
            fail_msg("%s: agree %d, merged %d", passes[i].when, agree, (int)HASH_COUNT(b.rows));
        pass_free(&a);
        pass_free(&b);
    }
}

static void test_pages(void **state)
{
    struct world w;
    struct pass p = {0};
    (void)state;

    read_world("a 10:00-11:00, b 10:00-11:00", &w);
    fill_pass(&p, &w);
    fill_pass(&p, &w); /* a server that ignores `page` */
    assert_int_equal(p.pages, 1);
    read_world("b 10:00-11:00, c 10:00-11:00", &w);
    fill_pass(&p, &w);
    assert_int_equal(p.pages, 2);
    assert_int_equal(HASH_COUNT(p.rows), 3);
    pass_free(&p);
}

/* ---- days ---- */

static void test_days(void **state)
{
    static const struct {
        const char *when;
        int64_t start;
        int offset_s;
        int64_t now;
        bool want;
    } days[] = {
        {"today", 1791813600, -14400, 1791800000, true},
        {"began a minute before midnight yesterday", 1791777540, -14400, 1791777660, false},
        {"the last minute of the last day", 1791777600 + 3 * 86400 - 60, -14400, 1791777660, true},
        {"the first minute after it", 1791777600 + 3 * 86400, -14400, 1791777660, false},
        {"east of Greenwich, already tomorrow in UTC+11", 1791777600, 39600, 1791777600, true},
        /* clocks go back on 2026-11-01; seen on 2026-10-31T12:00:00-04:00, the last day is Nov 2, at -05:00 */
        {"the last minute of a last day behind a clock change", 1793681940, -18000, 1793462400, true},
        {"the first minute after it", 1793682000, -18000, 1793462400, false},
    };
    (void)state;

    for (size_t i = 0; i < COUNT(days); i++)
        if (within_days(days[i].start, days[i].offset_s, days[i].now) != days[i].want)
            fail_msg("%s: want %d", days[i].when, days[i].want);
}

static void test_midnight(void **state)
{
    static const struct {
        const char *when;
        int offset_s;
        int64_t first, last;
        bool want;
    } reads[] = {
        {"within a day", -14400, 1791777600, 1791777600 + 86399, false},
        {"over midnight", -14400, 1791777599, 1791777600, true},
        {"over midnight in UTC, not there", -14400, 1791763199, 1791763200, false},
        {"before the clock change the same minute is another day", -18000, 1791777599, 1791777600, false},
    };
    (void)state;

    for (size_t i = 0; i < COUNT(reads); i++) {
        struct world w;
        struct pass p = {0};

        read_world("a 10:00-11:00", &w);
        w.rows[0].offset_seconds = reads[i].offset_s;
        fill_pass(&p, &w);
        if (over_midnight(&p, reads[i].first, reads[i].last) != reads[i].want)
            fail_msg("%s: want %d", reads[i].when, reads[i].want);
        pass_free(&p);
    }
}

/* A booking over a clock change keeps the offset its window begins with. */
static void test_clock_change(void **state)
{
    struct survey s = {.destination = "East", .lid = HERE, .steady = true, .now = 1793500000};
    struct world w;
    (void)state;

    read_world("a 10:00-11:00, a 12:00-13:00", &w);
    w.rows[0].start = 1793505600; /* 2026-11-01T00:00-04:00 */
    w.rows[0].end = w.rows[0].start + 3600;
    w.rows[1].start = w.rows[0].end;
    w.rows[1].end = w.rows[1].start + 2 * 3600; /* to 02:00-05:00 */
    w.rows[1].offset_seconds = -18000;
    fill_pass(&s.pass, &w);
    assert_int_equal(sheet_fill(&s.list, &s.pass, 0, "East").kind, FAULT_NONE);
    s.appts = calloc(1, sizeof *s.appts);
    s.made = calloc(1, sizeof *s.made);
    assert_int_equal(decide_all(&s).kind, FAULT_NONE);
    assert_int_equal(s.wanted_count, 1);
    assert_int_equal(s.wanted[0].w.end - s.wanted[0].w.start, 3 * 3600);
    assert_int_equal(s.wanted[0].offset_s, -14400);
    survey_free(&s);
}

/* ---- windows whose place nobody knows ---- */

static void test_placeless(void **state)
{
    static const struct {
        const char *when, *list, *window;
        bool shown;
    } windows[] = {
        {"its booking is here", "a 10:00-12:00", "a 10:00-12:00", true},
        {"its booking is another", "b 10:00-12:00", "a 10:00-12:00", false},
        {"nothing is here", "", "a 10:00-12:00", false},
        {"one of two slots", "a 08:00-09:00, a 10:00-12:00", "a 10:00-12:00", true},
        {"it was cancelled here", "a 10:00-12:00 cancelled", "a 10:00-12:00", true},
        {"it moved a little", "a 11:00-13:00", "a 10:00-12:00", true},
        {"it moved away", "a 14:00-16:00", "a 10:00-12:00", false},
        {"it ends where this one begins", "a 12:00-13:00", "a 10:00-12:00", false},
    };
    (void)state;

    for (size_t i = 0; i < COUNT(windows); i++) {
        struct survey s = {.destination = "East", .lid = HERE, .steady = true};
        struct world list, window, none = {0};
        int clock = 0;

        read_world(windows[i].list, &list);
        read_world(windows[i].window, &window);
        run_survey(&s, &list, &none, "", "07:00");
        if (survey_shows(&s, window.rows[0].book_id, window.rows[0].start, window.rows[0].end, &clock) != windows[i].shown)
            fail_msg("%s: want %s", windows[i].when, windows[i].shown ? "shown" : "not shown");
        assert_int_equal(clock, windows[i].shown ? offset_s : clock);
        survey_free(&s);
    }
}

/* ---- the cut-over ---- */

static void test_cut_over(void **state)
{
    static const struct {
        const char *when, *list, *prereg_id, *want;
    } bookings[] = {
        {"one window of that day", "a 10:00-12:00", "p1", "made p1"},
        {"its id was lost", "a 10:00-12:00", NULL, "made -"},
        {"slots that touch are one window", "a 10:00-11:00, a 11:00-12:00", "p1", "made p1"},
        {"two windows: which?", "a 10:00-11:00, a 14:00-15:00", "p1", "unknown -, unknown -"},
        {"one of that day, one of the next", "a 10:00-11:00, a 34:00-35:00", "p1", "made p1, new"},
        {"only of the next day", "a 34:00-35:00", "p1", "new"},
        {"another booking", "b 10:00-12:00", "p1", "new"},
    };
    struct text got = {0};
    (void)state;

    for (size_t i = 0; i < COUNT(bookings); i++) {
        const struct taken taken = {"a", bookings[i].prereg_id, midnight + 6 * 3600};
        struct survey s = {.destination = "East", .lid = HERE, .steady = true, .taken = &taken, .taken_count = 1};
        struct world list, none = {0};

        read_world(bookings[i].list, &list);
        run_survey(&s, &list, &none, "", "07:00");
        text_clear(&got);
        for (size_t k = 0; k < s.wanted_count; k++) {
            const struct wanted *w = &s.wanted[k];
            text_printf(&got, "%s%s", k ? ", " : "", w->answer ? w->answer : "new");
            if (w->answer)
                text_printf(&got, " %s", w->prereg_id ? w->prereg_id : "-");
            assert_int_equal(w->answer != NULL, w->reason[0] != '\0');
        }
        if (strcmp(text_str(&got), bookings[i].want) != 0)
            fail_msg("%s: want \"%s\", got \"%s\"", bookings[i].when, bookings[i].want, text_str(&got));
        survey_free(&s);
    }
    text_free(&got);
}

int main(void)
{
    static char *statuses[] = {"Confirmed", "Mediated Approved"};
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_situations), cmocka_unit_test(test_problems),     cmocka_unit_test(test_passes),
        cmocka_unit_test(test_pages),      cmocka_unit_test(test_days),         cmocka_unit_test(test_midnight),
        cmocka_unit_test(test_clock_change), cmocka_unit_test(test_cut_over), cmocka_unit_test(test_placeless),
    };

    rules = (struct rules){.id_question = "q12505", .statuses = {statuses, COUNT(statuses)}, .days_ahead = 2};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

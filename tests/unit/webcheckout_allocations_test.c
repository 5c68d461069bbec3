/*
 * What the producer makes of WebCheckout's allocations. Situations are written as a person would say them.
 *
 * An allocation is "7 10:00-12:00": its oid and local times, hours going past 24 for the days after; it is a RESERVATION of
 * ANN's, unless words say otherwise: `out` (CHECKOUT), `cancelled`, `back` (RETURNED, and handed over when it began), `ended`
 * (RETURNED a minute after it began, no word of a hand-over), `odd` (a state nobody knows), `blank`, `bad` (the id), `bob`,
 * `away` (another centre), `anywhere` (none), `untimed`, `later` (seen by the second search), `unreadable`. A window is the
 * same, an `away` one behind our door. What WebCheckout says by oid is a list of allocations, "" for none, or "fails". The
 * outcome is what became of every window in order (kept, or why not), then the oids asked about, then what is new, then what
 * the desk is told.
 */
#include "producers/bookings/pass.c"
#include "producers/bookings/survey.c"
#include "producers/webcheckout-allocations/decide.c"

#include "common/scoped.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

enum { FEW = 12, HERE = 53207831 };

static const int64_t midnight = 1791777600; /* 2026-10-12T00:00:00-04:00 */
static const int offset_s = -4 * 3600;

static const struct {
    const char *when, *list, *made, *by_oid, *now, *want;
    bool partial; /* the lists could not be had whole */
} situations[] = {
    {"nothing at all", "", "", "", "08:00", "", false},
    {"a reservation is new", "7 10:00-12:00", "", "", "08:00", "| 7 10:00-12:00", false},
    {"handed out without a reservation", "7 10:00-12:00 out", "", "", "10:01", "| 7 10:00-12:00", false},
    {"it is known", "7 10:00-12:00", "7 10:00-12:00", "", "08:00", "kept", false},
    {"it was handed out", "7 10:00-12:00 out", "7 10:00-12:00", "", "10:01", "kept", false},
    {"it was handed out between two searches", "7 10:00-12:00, 7 10:00-12:00 out later", "", "", "10:01", "| 7 10:00-12:00",
     false},
    {"between two searches it changed: the later is right", "7 10:00-12:00, 7 10:00-13:00 out later", "", "", "10:01",
     "| 7 10:00-13:00", false},
    {"picked up late, and its time with it", "7 10:07-12:00 out", "7 10:00-12:00", "", "10:08", "kept", false},
    {"two of one person stay two", "7 10:00-12:00, 8 10:00-12:00", "", "", "08:00", "| 7 10:00-12:00, 8 10:00-12:00", false},
    {"10 is another than 1", "1 10:00-12:00, 10 14:00-15:00", "1 10:00-12:00", "", "08:00", "kept | 10 14:00-15:00", false},

    {"cancelled", "", "7 10:00-12:00", "7 10:00-12:00 cancelled", "08:00", "cancelled in WebCheckout ? 7", false},
    {"cancelled, and without its times", "", "7 10:00-12:00", "7 untimed cancelled", "08:00",
     "no longer at this checkout centre ? 7 gone", false},
    {"cancelled before it was seen", "7 10:00-12:00 cancelled", "", "", "08:00", "", false},
    {"cancelled by another patron's hand", "", "7 10:00-12:00", "7 10:00-12:00 cancelled bob", "08:00",
     "moved or shortened in WebCheckout ? 7", false},
    {"given back before its time", "", "7 10:00-12:00", "7 10:00-12:00 back", "10:30", "kept ? 7", false},
    {"given back, and its end with it", "", "7 10:00-12:00", "7 10:00-10:20 back", "10:30", "kept ? 7", false},
    {"given back, and its hand-over is not sent", "", "7 10:00-12:00", "7 10:00-12:00 ended", "10:30", "kept ? 7", false},
    {"given back, seen for the first time", "7 10:00-12:00 back", "", "", "10:30", "", false},
    {"its hand-over lies ahead: it was cancelled", "", "7 10:00-12:00", "7 10:00-12:00 back", "08:00",
     "cancelled in WebCheckout ? 7",
     false},

    {"nobody has it any more", "", "7 10:00-12:00", "", "08:00", "no longer at this checkout centre ? 7 gone", false},
    {"the lists missed it, by oid it is there", "", "7 10:00-12:00", "7 10:00-12:00", "08:00", "kept ? 7", false},
    {"the question fails", "", "7 10:00-12:00", "fails", "08:00", "kept ? 7", false},
    {"it went to another centre", "", "7 10:00-12:00", "7 10:00-12:00 away", "08:00",
     "no longer at this checkout centre ? 7 gone", false},
    {"it says no centre", "7 10:00-12:00 anywhere", "", "", "08:00", "| 7 10:00-12:00", false},
    {"another centre's in our list", "7 10:00-12:00 away", "", "", "08:00", "", false},
    {"another centre behind this door has its window", "7 10:00-12:00", "7 10:00-12:00 away", "", "08:00", "kept", false},
    {"it vanished from lists that are not whole", "", "7 10:00-12:00", "", "08:00", "kept", true},
    {"new in a list that is not whole", "7 10:00-12:00", "8 10:00-12:00", "", "08:00", "kept | 7 10:00-12:00", true},
    {"it is over and left the lists", "", "7 10:00-12:00", "", "12:00", "kept", false},
    {"it is over and not given back", "7 10:00-12:00 out", "7 10:00-12:00", "", "12:30", "kept", false},
    {"since yesterday, cancelled today", "", "7 10:00-60:00", "7 10:00-60:00 cancelled", "34:00",
     "cancelled in WebCheckout ? 7", false},
    {"since yesterday, given back today", "", "7 10:00-60:00", "7 10:00-60:00 back", "34:00", "kept ? 7", false},
    {"since yesterday, new to us", "7 10:00-60:00 out", "", "", "34:00", "| 7 10:00-60:00", false},
    {"beyond the days that are watched", "7 82:00-83:00", "8 82:00-83:00", "", "08:00", "kept", false},
    {"on the last day that is watched", "7 70:00-71:00", "8 70:00-71:00", "", "08:00",
     "no longer at this checkout centre ? 8 gone"
     " | 7 70:00-71:00", false},

    {"it moved", "7 14:00-16:00", "7 10:00-12:00", "7 14:00-16:00", "08:00",
     "moved or shortened in WebCheckout ? 7 | 7 14:00-16:00",
     false},
    {"it moved beyond the days", "7 110:00-111:00", "7 10:00-12:00", "7 110:00-111:00", "08:00",
     "moved or shortened in WebCheckout ? 7", false},
    {"shortened", "7 10:00-11:00", "7 10:00-12:00", "7 10:00-11:00", "08:00",
     "moved or shortened in WebCheckout ? 7 | 7 10:00-11:00", false},
    {"renewed", "7 10:00-13:00 out", "7 10:00-12:00", "", "11:00", "kept | 7 12:00-13:00", false},
    {"the person changed", "7 10:00-12:00 bob", "7 10:00-12:00", "7 10:00-12:00 bob", "08:00",
     "the person changed ? 7 | 7 10:00-12:00 bob", false},

    {"it cannot be read", "7 unreadable", "7 10:00-12:00", "", "08:00", "kept", false},
    {"by oid it cannot be read", "", "7 10:00-12:00", "7 unreadable", "08:00", "kept ? 7", false},
    {"it has lost its times", "7 untimed", "7 10:00-12:00", "", "08:00", "kept", false},
    {"a state nobody knows", "", "7 10:00-12:00", "7 10:00-12:00 odd", "08:00", "kept ? 7 ! 7 unknown_status", false},
    {"a state nobody knows, and moved", "", "7 10:00-12:00", "7 14:00-16:00 odd", "08:00",
     "moved or shortened in WebCheckout ? 7 ! 7 unknown_status", false},
    {"a state nobody knows is no reason to let in", "7 10:00-12:00 odd", "", "", "08:00", "! 7 unknown_status", false},
    {"no id, no window", "7 10:00-12:00 blank, 8 10:00-12:00 bad", "", "", "08:00", "! 7 blank_id, 8 bad_id", false},
    {"the id was removed", "7 10:00-12:00 blank", "7 10:00-12:00", "", "08:00", "kept ! 7 blank_id", false},
    {"cancelled, and the id was removed", "", "7 10:00-12:00", "7 10:00-12:00 blank cancelled", "08:00",
     "cancelled in WebCheckout ? 7", false},
    {"one asked about, others listed: all are in order", "2 10:00-12:00, 9 10:00-12:00", "2 10:00-12:00, 5 10:00-12:00",
     "5 10:00-12:00 odd", "08:00", "kept, kept ? 5 | 9 10:00-12:00 ! 5 unknown_status", false},
};

/* ---- reading the tables ---- */

struct world {
    struct webcheckout_allocation rows[FEW], later[FEW];
    struct webcheckout_bad bad[FEW];
    size_t count, later_count, bad_count;
};

static int64_t at_clock(const char *clock)
{
    int hour, minute;

    assert_int_equal(sscanf(clock, "%d:%d", &hour, &minute), 2);
    return midnight + hour * 3600 + minute * 60;
}

static void take_word(const char *word, struct webcheckout_allocation *row)
{
    static const char *const words[][2] = {{"out", "checkout"}, {"cancelled", "Canceled"}, {"back", "RETURNED"},
                                           {"ended", "RETURNED"}, {"odd", "Promised"}};

    for (size_t i = 0; i < COUNT(words); i++)
        if (!strcmp(word, words[i][0]))
            strcpy(row->state, words[i][1]);
    if (!strcmp(word, "out") || !strcmp(word, "back"))
        row->real_start = row->start;
    else if (!strcmp(word, "ended"))
        row->real_end = row->start + 60;
    else if (!strcmp(word, "blank"))
        row->userid[0] = '\0';
    else if (!strcmp(word, "bad"))
        strcpy(row->userid, "not an id");
    else if (!strcmp(word, "bob"))
        strcpy(row->userid, "bob");
    else if (!strcmp(word, "away"))
        row->center.oid = 99;
    else if (!strcmp(word, "anywhere"))
        row->center.oid = 0;
    else if (strcmp(word, "cancelled") != 0 && strcmp(word, "odd") != 0 && strcmp(word, "later") != 0)
        fail_msg("the test itself: %s", word);
}

static void read_world(const char *text, struct world *ret)
{
    char from[10], to[10], word[16];
    int used;

    *ret = (struct world){0};
    while (*text) {
        struct webcheckout_allocation row = {.center.oid = HERE, .offset_seconds = offset_s, .patron_oid = 1};
        bool later = false, unreadable = false;
        assert_int_equal(sscanf(text, " %" SCNd64 "%n", &row.oid, &used), 1);
        text += used;
        strcpy(row.state, "RESERVATION");
        strcpy(row.unique_id, "CK-7");
        strcpy(row.userid, "ann");
        strcpy(row.barcode, "22");
        strcpy(row.email, "ann@example.edu");
        if (sscanf(text, " %9[0-9:]-%9[0-9:]%n", from, to, &used) == 2) {
            text += used;
            row.start = at_clock(from);
            row.end = at_clock(to);
        }
        for (; sscanf(text, " %15[^ ,]%n", word, &used) == 1; text += used) {
            later = later || !strcmp(word, "later");
            unreadable = unreadable || !strcmp(word, "unreadable");
            if (strcmp(word, "untimed") != 0 && !unreadable)
                take_word(word, &row);
        }
        if (unreadable) {
            ret->bad[ret->bad_count].oid = row.oid;
            sprintf(ret->bad[ret->bad_count++].why, "allocation %" PRId64, row.oid);
        } else if (later) {
            ret->later[ret->later_count++] = row;
        } else {
            ret->rows[ret->count++] = row;
        }
        text += strspn(text, " ,");
    }
}

static void take(struct pass *p, const struct world *w, int search, int64_t now)
{
    struct webcheckout_rows rows = {.at = (struct webcheckout_allocation *)(uintptr_t)w->rows, .count = w->count,
                                    .bad = (struct webcheckout_bad *)(uintptr_t)w->bad, .bad_count = w->bad_count};

    assert_int_equal(pass_take(p, &rows, HERE, search, now).kind, FAULT_NONE);
    rows = (struct webcheckout_rows){.at = (struct webcheckout_allocation *)(uintptr_t)w->later, .count = w->later_count};
    assert_int_equal(pass_take(p, &rows, HERE, search + 1, now).kind, FAULT_NONE);
}

static void add_time(struct text *t, int64_t instant)
{
    text_printf(t, "%02d:%02d", (int)((instant - midnight) / 3600), (int)((instant - midnight) / 60 % 60));
}

static void write_outcome(struct text *t, const struct survey *s)
{
    static const char *const kinds[] = {"", "unknown_status", "blank_id", "bad_id"};
    const char *before = "! ";

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
    for (size_t i = 0; i < s->list.count; i++)
        if (s->list.slots[i].problem) {
            text_printf(t, "%s%s%s %s", t->len && before[0] == '!' ? " " : "", before, s->list.slots[i].book_id,
                        kinds[s->list.slots[i].problem]);
            before = ", ";
        }
}

static void run_survey(struct survey *s, const struct world *list, const struct world *made, const char *by_oid)
{
    static struct appt appts[FEW];
    static struct window_made windows[FEW];
    static char ids[FEW][24];
    struct world answer = {0};
    bool fails = !strcmp(by_oid, "fails");

    take(&s->pass, list, 0, s->now);
    assert_int_equal(recall(&s->pass, HERE, s->now).kind, FAULT_NONE);
    assert_int_equal(sheet_fill(&s->list, &s->pass, 0, s->destination).kind, FAULT_NONE);
    s->appt_count = made->count;
    s->appts = malloc(sizeof appts);
    s->made = malloc(sizeof windows);
    for (size_t i = 0; i < made->count; i++) {
        sprintf(ids[i], "%" PRId64, made->rows[i].oid);
        s->appts[i] = (struct appt){.appt_id = "x", .book_id = ids[i], .offset_s = offset_s};
        s->made[i] = (struct window_made){.start = made->rows[i].start, .end = made->rows[i].end, .destination = s->destination,
                                          .person = "ANN", .elsewhere = made->rows[i].center.oid != HERE};
    }
    assert_int_equal(decide_all(s).kind, FAULT_NONE);
    if (!fails)
        read_world(by_oid, &answer);
    if (s->doubtful_count)
        take(&s->by_id, &answer, BY_OID, s->now);
    assert_int_equal(sheet_fill(&s->answer, &s->by_id, HERE, s->destination).kind, FAULT_NONE);
    for (size_t i = 0; i < s->doubtful_count; i++)
        assert_int_equal(decide_doubtful(s, s->doubtful[i], !fails).kind, FAULT_NONE);
    assert_int_equal(survey_adopt(s).kind, FAULT_NONE);
    for (size_t i = 1; i < s->list.count; i++)
        assert_true(strcmp(s->list.slots[i - 1].book_id, s->list.slots[i].book_id) < 0);
}

static void forget_all(void)
{
    while (returned)
        forget(returned->row.oid);
}

static void expect(const char *when, const char *list, const char *made, const char *by_oid, const char *now, bool steady,
                   const char *want)
{
    struct survey s = {.destination = "East", .lid = HERE, .steady = steady, .now = at_clock(now)};
    struct world listed, windows;
    struct text got = {0};

    read_world(list, &listed);
    read_world(made, &windows);
    run_survey(&s, &listed, &windows, by_oid);
    write_outcome(&got, &s);
    if (strcmp(text_str(&got), want) != 0)
        fail_msg("%s: want \"%s\", got \"%s\"", when, want, text_str(&got));
    survey_free(&s);
    text_free(&got);
}

static void test_situations(void **state)
{
    (void)state;

    for (size_t i = 0; i < COUNT(situations); i++) {
        expect(situations[i].when, situations[i].list, situations[i].made, situations[i].by_oid, situations[i].now,
               !situations[i].partial, situations[i].want);
        forget_all();
    }
}

/* ---- what was given back, poll after poll ---- */

static void test_given_back(void **state)
{
    static const char *const window = "7 10:00-14:00";
    (void)state;

    expect("it is asked for once", "", window, "7 10:00-14:00 back", "10:30", true, "kept ? 7");
    expect("and not again", "", window, "", "10:40", true, "kept");
    expect("whatever else is listed", "8 10:00-14:00", window, "", "10:50", true, "kept | 8 10:00-14:00");
    expect("handed out again", "7 10:00-14:00 out", window, "", "11:00", true, "kept");
    expect("so that it is asked for anew", "", window, "7 10:00-14:00 cancelled", "11:10", true,
           "cancelled in WebCheckout ? 7");

    expect("given back", "", window, "7 10:00-14:00 back", "11:20", true, "kept ? 7");
    expect("and over", "", "", "", "39:00", true, "");
    assert_null(returned);
}

/* ---- what goes to the desk ---- */

static void test_problems(void **state)
{
    static const struct {
        const char *row;
        enum problem want;
        const char *says;
    } rows[] = {
        {"7 10:00-12:00", FINE, ""},
        {"7 10:00-12:00 odd", UNKNOWN_STATUS, "\"Promised\" of CK-7"},
        {"7 10:00-12:00 odd blank", UNKNOWN_STATUS, "WEBCHECKOUT_DEAD_STATES"},
        {"7 10:00-12:00 blank", BLANK_ID, "the patron of CK-7 has no userid"},
        {"7 10:00-12:00 out blank", BLANK_ID, "the patron of CK-7 has no userid"},
        {"7 10:00-12:00 bad", BAD_ID, "blank inside"},
        {"7 10:00-12:00 bad cancelled", FINE, ""},
    };
    (void)state;

    for (size_t i = 0; i < COUNT(rows); i++) {
        struct world w;
        struct pass p = {0};
        struct sheet sheet = {0};

        read_world(rows[i].row, &w);
        take(&p, &w, 0, at_clock("08:00"));
        assert_int_equal(sheet_fill(&sheet, &p, 0, "East").kind, FAULT_NONE);
        assert_int_equal(sheet.count, 1);
        if (sheet.slots[0].problem != rows[i].want || !strstr(sheet.slots[0].why, rows[i].says) ||
            strstr(sheet.slots[0].why, "not an id"))
            fail_msg("%s: problem %d, \"%s\"", rows[i].row, (int)sheet.slots[0].problem, sheet.slots[0].why);
        sheet_free(&sheet);
        pass_free(&p);
    }
}

/* ---- the person's id ---- */

static void test_property(void **state)
{
    static const struct {
        const char *when, *userid, *barcode, *pattern, *want;
        bool by_barcode;
    } people[] = {
        {"the userid, in capitals", "ann", "22", NULL, "ANN", false},
        {"the barcode", "ann", "22", NULL, "22", true},
        {"a pattern it fits", "g00000001", "22", "G[0-9]{8}", "G00000001", false},
        {"a pattern it does not fit", "g00000001x", "22", "G[0-9]{8}", "", false},
        {"the other property is no substitute", "", "22", NULL, "", false},
        {"nor there", "ann", "", NULL, "", true},
    };
    (void)state;

    for (size_t i = 0; i < COUNT(people); i++) {
        struct world w;
        struct pass p = {0};
        struct sheet sheet = {0};
        regex_t pattern;

        read_world("7 10:00-12:00", &w);
        strcpy(w.rows[0].userid, people[i].userid);
        strcpy(w.rows[0].barcode, people[i].barcode);
        states.by_barcode = people[i].by_barcode;
        if (people[i].pattern)
            assert_int_equal(regcomp(&pattern, people[i].pattern, REG_EXTENDED | REG_ICASE), 0);
        rules.id_pattern = people[i].pattern ? &pattern : NULL;
        take(&p, &w, 0, at_clock("08:00"));
        assert_int_equal(sheet_fill(&sheet, &p, 0, "East").kind, FAULT_NONE);
        if (strcmp(sheet.slots[0].asked, people[i].want) != 0)
            fail_msg("%s: want \"%s\", got \"%s\"", people[i].when, people[i].want, sheet.slots[0].asked);
        assert_int_equal(sheet.rows[0].live, people[i].want[0] != '\0');
        if (people[i].pattern)
            regfree(&pattern);
        sheet_free(&sheet);
        pass_free(&p);
    }
    rules.id_pattern = NULL;
    states.by_barcode = false;
}

/* ---- days ---- */

static void test_days(void **state)
{
    static const struct {
        const char *when;
        int64_t start, end;
        int offset_s;
        bool want; /* at 08:00-04:00 */
    } days[] = {
        {"today", 10, 12, -14400, true},
        {"since last week", -170, 12, -14400, true},
        {"the last hour of the last day", 71, 73, -14400, true},
        {"the first hour after it", 72, 73, -14400, false},
        {"the same hour, by a clock further west", 72, 73, -18000, true},
        {"over for a day: no margin is wider", -20, -17, -14400, false},
        {"over for less", -20, -15, -14400, true},
        {"without an end", 10, 0, -14400, false},
    };
    (void)state;

    for (size_t i = 0; i < COUNT(days); i++) {
        struct webcheckout_allocation a = {.start = midnight + days[i].start * 3600, .offset_seconds = days[i].offset_s,
                                           .end = days[i].end ? midnight + days[i].end * 3600 : 0};
        if (is_watched(&a, midnight + 8 * 3600) != days[i].want)
            fail_msg("%s: want %d", days[i].when, days[i].want);
    }
}

/* ---- what is kept ---- */

static void test_said(void **state)
{
    static const struct {
        const char *row, *want;
    } rows[] = {
        {"7 10:00-12:00", "{\"start\":\"2026-10-12T14:00:00Z\",\"end\":\"2026-10-12T16:00:00Z\",\"status\":\"RESERVATION\","
                          "\"unique_id\":\"CK-7\",\"asked_id\":\"ANN\"}"},
        {"7 10:00-12:00 blank", "{\"start\":\"2026-10-12T14:00:00Z\",\"end\":\"2026-10-12T16:00:00Z\","
                                "\"status\":\"RESERVATION\",\"unique_id\":\"CK-7\"}"},
        {"7 06:00-12:00 back", "{\"start\":\"2026-10-12T10:00:00Z\",\"end\":\"2026-10-12T16:00:00Z\",\"status\":\"RETURNED\","
                               "\"unique_id\":\"CK-7\",\"asked_id\":\"ANN\",\"given_back\":true}"},
    };
    (void)state;

    for (size_t i = 0; i < COUNT(rows); i++) {
        struct world w;
        struct pass p = {0};
        struct sheet sheet = {0};

        read_world(rows[i].row, &w);
        take(&p, &w, 0, at_clock("08:00"));
        assert_int_equal(sheet_fill(&sheet, &p, 0, "East").kind, FAULT_NONE);
        json_object *said = source.said(&sheet.slots[0]);
        assert_string_equal(json_object_to_json_string_ext(said, JSON_C_TO_STRING_PLAIN), rows[i].want);
        json_object_put(said);
        sheet_free(&sheet);
        pass_free(&p);
    }
    forget_all();
}

int main(void)
{
    static char *live[] = {"RESERVATION", "CHECKOUT"}, *dead[] = {"CANCELED", "CANCELLED", "RETURNED"};
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_situations), cmocka_unit_test(test_given_back), cmocka_unit_test(test_problems),
        cmocka_unit_test(test_property),   cmocka_unit_test(test_days),       cmocka_unit_test(test_said),
    };

    rules = (struct rules){.id_question = "userid", .statuses = {live, COUNT(live)}, .days_ahead = 2};
    states = (struct states){.dead = {dead, COUNT(dead)}};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

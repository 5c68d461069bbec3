/*
 * libcal-bookings - the bookings of rooms and seats in LibCal, as windows in which a person may pass the gate.
 *   in    LibCal GET /1.1/space/bookings, every LIBCAL_POLL_SECONDS, location by location
 *   row   bookings(booking): what LibCal last said; appts(window): what is wanted, one row an access window
 *   out   bookings.new   key asked_id   schemas/bookings.new.schema.json
 *
 * A location is read page by page until a page brings nothing new; a list of several pages is read again until two passes
 * agree. The rows of one bookId are compared as a set with the windows that are wanted of it (windows.h); those of another
 * location with the same destination count too, since to the gate both are one place, but only its own rows judge them. What
 * is new becomes a row, and is sent; what has lost its reason is no longer wanted, and the desk hears of it where the gate
 * knows it already. All of one location's changes are one transaction.
 *
 * What one read cannot prove (a booking that is not in the list, a slot that moved) is asked for by id. Nothing is judged gone
 *   - when the list never held still, or was read over midnight, when "today" becomes another day
 *   - when the question by id fails: the next poll asks again
 *   - where LibCal shows a row that we cannot make sense of: unreadable (logged), of an unknown status or without an id (the
 *     desk is told). Such a row neither starts a window nor ends one.
 *
 * The cut-over. The script this replaces made one pre-registration a bookId, for the bookings of its day, and left no times
 * behind: `taken_over` holds its bookIds. So when a booking in there is seen for the first time, its window of that day or
 * earlier is written as made already. Several windows of that day: the script made one of them, nobody knows which; they are
 * written as unknown, which is never sent, and a person says of each whether it is at the gate. Its windows of later days are
 * new as any.
 */
#include "common/booking.h"
#include "common/instant.h"
#include "common/log.h"
#include "common/metrics.h"
#include "producers/libcal-bookings/ask.h"
#include "producers/libcal-bookings/decide.h"
#include "producers/libcal-bookings/write.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { PASSES_MAX = 4, PAGES_MAX = 1000 };

/* ---- settings ---- */

static struct setting_list location_ids;
static json_object *destinations;
static int64_t poll_seconds;

static const struct setting settings[] = {
    {"LIBCAL_URL", SET_URL, NULL, .required = true, .to = &reach.url,
     .help = "LibCal's address, as https://example.libcal.com"},
    {"LIBCAL_CLIENT_ID", SET_TEXT, NULL, .required = true, .to = &reach.client_id,
     .help = "id of the application made in LibCal (Admin, API, API Authentication), with the scope sp_r"},
    {"LIBCAL_CLIENT_SECRET", SET_SECRET, NULL, .required = true, .to = &reach.client_secret,
     .help = "and its secret"},
    {"LIBCAL_LOCATIONS", SET_LIST, NULL, .required = true, .to = &location_ids,
     .help = "ids of the locations to watch (lid), as 1234,1235"},
    {"LIBCAL_ID_QUESTION", SET_TEXT, NULL, .required = true, .to = &rules.id_question,
     .help = "the question on the booking form that asks for the person's id, as q12505"},
    {"LIBCAL_ID_PATTERN", SET_REGEX, NULL, .to = &rules.id_pattern,
     .help = "what such an id looks like, a POSIX extended regular expression for all of it, as G[0-9]{8}; any when not set"},
    {"LIBCAL_STATUSES", SET_LIST, "Confirmed,Mediated Approved", .to = &rules.statuses,
     .help = "the statuses of a booking that open the gate"},
    {"LIBCAL_DAYS_AHEAD", SET_WHOLE, "2", .least = 0, .most = 365, .to = &rules.days_ahead,
     .help = "how many days after today are watched"},
    {"LIBCAL_POLL_SECONDS", SET_WHOLE, "300", .least = 1, .most = 86400, .to = &poll_seconds,
     .help = "how often LibCal is looked at; be gentle: 60 or more"},
    {"LIBCAL_TIMEOUT_MS", SET_WHOLE, "15000", .least = 100, .most = 300000, .to = &reach.timeout_ms,
     .help = "how long LibCal may take to answer, milliseconds"},
    {"PASSAGEPOINT_DESTINATIONS", SET_JSON, NULL, .required = true, .to = &destinations,
     .help = "the gate's destination for each location, as {\"1234\": \"Main Library\"}; \"*\" stands for the others"},
    {"PREREG_MINUTES_BEFORE", SET_WHOLE, "0", .least = 0, .most = 1440, .to = &rules.minutes_before,
     .help = "how long before a booking the gate opens, minutes"},
    {"PREREG_MINUTES_AFTER", SET_WHOLE, "0", .least = 0, .most = 1440, .to = &rules.minutes_after,
     .help = "and how long after it"},
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

/* ---- the poll ---- */

static struct fault read_pass(struct producer *p, const struct place *place, struct pass *pass, struct libcal_rows *page)
{
    bool more = true;

    for (int number = 1; more; number++) {
        struct question q = {.what = ASK_LIST, .id = place->lid, .page = number, .days_ahead = (int)rules.days_ahead,
                             .id_question = rules.id_question, .ret = page};
        if (number > PAGES_MAX)
            return FAULT(RETRY, "LibCal's list has no end: page %d still brings new rows", PAGES_MAX);
        TRY(ask(p, &q));
        TRY(pass_add(pass, page, &more));
    }
    return FAULT_OK;
}

/* A list of several pages may shift while it is read: it is read until it holds still. */
static struct fault read_until_steady(struct producer *p, const struct place *place, struct survey *s,
                                      struct libcal_rows *page, struct pass *earlier)
{
    TRY(read_pass(p, place, &s->pass, page));
    s->steady = s->pass.pages <= 1;
    for (int passes = 1; !s->steady && passes < PASSES_MAX; passes++) {
        struct pass again = {0};
        struct fault f = read_pass(p, place, &again, page);
        s->steady = !f.kind && passes_agree(&s->pass, &again);
        if (!f.kind && !s->steady)
            f = pass_merge(&s->pass, earlier);
        if (f.kind) {
            pass_free(&again);
            return f;
        }
        pass_free(earlier);
        *earlier = s->pass;
        s->pass = again;
    }
    return s->steady ? FAULT_OK : pass_merge(&s->pass, earlier);
}

static struct fault read_list(struct producer *p, const struct place *place, struct survey *s, struct libcal_rows *page)
{
    struct pass earlier = {0};
    int64_t first = time(NULL);
    struct fault f = read_until_steady(p, place, s, page, &earlier);

    pass_free(&earlier);
    if (f.kind)
        return f;
    if (!s->steady)
        log_warn("location %s: the list changed in each of %d passes; nothing is judged gone", place->id, PASSES_MAX);
    if (over_midnight(&s->pass, first, time(NULL))) {
        log_info("location %s: read over midnight; nothing is judged gone", place->id);
        s->steady = false;
    }
    return FAULT_OK;
}

/* All doubtful bookIds are asked for; what a failed question leaves open is left as it is. */
static struct fault settle_doubts(struct producer *p, const struct place *place, struct survey *s,
                                  struct libcal_rows *page)
{
    size_t asked = 0;
    struct fault failed = FAULT_OK;
    bool more;

    while (asked < s->doubtful_count && !failed.kind) {
        size_t chunk = s->doubtful_count - asked < LIBCAL_IDS_MAX ? s->doubtful_count - asked : LIBCAL_IDS_MAX;
        struct question q = {.what = ASK_BY_ID, .ids = s->doubtful + asked, .count = chunk,
                             .id_question = rules.id_question, .ret = page};
        failed = ask(p, &q);
        for (size_t i = 0; !failed.kind && i < page->bad_count; i++)
            if (!page->bad[i].book_id[0]) /* it might be any of them */
                failed = FAULT(RETRY, "a booking asked for by id cannot be read: %s", page->bad[i].why);
        if (failed.kind)
            break;
        TRY(pass_add(&s->by_id, page, &more));
        asked += chunk;
    }
    TRY(sheet_fill(&s->answer, &s->by_id, place->lid, place->destination));
    for (size_t i = 0; i < s->doubtful_count; i++)
        TRY(decide_doubtful(s, s->doubtful[i], i < asked));
    if (failed.kind)
        log_warn("location %s: %s; what is doubtful stays as it is", place->id, failed.what);
    return FAULT_OK;
}

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

static struct fault survey_run(struct producer *p, struct place *place, struct survey *s, struct libcal_rows *page,
                               PGresult **appts)
{
    size_t bookings;

    TRY(read_list(p, place, s, page));
    note_bad(place, &s->pass);
    s->now = time(NULL);
    TRY(sheet_fill(&s->list, &s->pass, 0, place->destination));
    TRY(read_appts(p, place->id, s, appts));
    TRY(decide_all(s));
    if (s->doubtful_count)
        TRY(settle_doubts(p, place, s, page));
    TRY(write_survey(p, place->id, s, &bookings));
    metric_set(place->seen, (double)bookings);
    metric_add(made_metric, (double)s->wanted_count);
    metric_add(dropped_metric, (double)s->dropped);
    log_about(s->wanted_count || s->dropped ? LOG_INFO : LOG_DEBUG, NULL,
              "location %s: %zu rows of %zu bookings; %zu window%s made, %zu dropped, %zu booking%s asked for by id", place->id,
              s->list.count, bookings, s->wanted_count, s->wanted_count == 1 ? "" : "s", s->dropped, s->doubtful_count,
              s->doubtful_count == 1 ? "" : "s");
    return FAULT_OK;
}

static struct fault poll_place(struct producer *p, struct place *place, const struct taken *taken, size_t taken_count)
{
    SCOPED(PQclear) PGresult *appts = NULL;
    struct survey s = {.destination = place->destination, .lid = place->lid, .taken = taken, .taken_count = taken_count};
    struct libcal_rows page = {0};
    struct fault f = survey_run(p, place, &s, &page, &appts);

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
    if (!f.kind)
        f = close_past(p);
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
    "UPDATE appts SET sent_at = CASE WHEN answer IS NOT NULL THEN sent_at END,"
    " retry_at = CASE WHEN answer IS NOT NULL THEN clock_timestamp() END"
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
    const char *digits = rules.id_question + 1;
    if (rules.id_question[0] != 'q' || !*digits || digits[strspn(digits, "0123456789")])
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
            return FAULT(MISUSE, "PASSAGEPOINT_DESTINATIONS: no destination for location %s: add \"%s\" or \"*\"", place->id,
                         place->id);
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
    bool has_form = location && location->form_id;
    struct question q = {.what = has_form ? ASK_FORM : ASK_QUESTION, .id = has_form ? location->form_id : 0,
                         .id_question = rules.id_question, .ret = &found};

    TRY(ask(p, &q));
    if (!found.found)
        return FAULT(MISUSE, "LIBCAL_ID_QUESTION=%s: %s %s%s has no such question", rules.id_question,
                     has_form ? "the booking form of location" : "LibCal, asked for location", place->id, has_form ? "" : ",");
    printf("ok  LibCal: %s asks %s \"%s\"%s\n", has_form ? "its form" : "a form", rules.id_question, found.label,
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
        printf("ok  LibCal: location %s is \"%s\", at the gate \"%s\"\n", places[i].id,
               location ? location->name : "one it does not list", places[i].destination);
        TRY(check_question(p, location, &places[i]));
    }
    return FAULT_OK;
}

static void begin(struct producer *p)
{
    (void)p;
    for (int i = 0; i < place_count; i++) {
        struct place *place = &places[i];
        place->ok = metric_make(METRIC_COUNTER, "shelfwire_polls_total",
                                "Reads of a location, by how they ended.", "location=\"%s\",outcome=\"ok\"", place->id);
        place->failed = metric_make(METRIC_COUNTER, "shelfwire_polls_total",
                                    "", "location=\"%s\",outcome=\"failed\"", place->id);
        place->seen = metric_make(METRIC_GAUGE, "shelfwire_bookings_seen",
                                  "Bookings in the last read.", "location=\"%s\"", place->id);
        place->good = metric_make(METRIC_GAUGE, "shelfwire_last_good_poll_timestamp_seconds",
                                  "When a location was last read well.", "location=\"%s\"", place->id);
    }
    made_metric = metric_make(METRIC_COUNTER, "shelfwire_windows_total", "Windows, by what became of them.", "change=\"made\"");
    dropped_metric = metric_make(METRIC_COUNTER, "shelfwire_windows_total", "", "change=\"dropped\"");
}

static const struct producer_reader readers[] = {
    {"bookings-new", "bookings.new"}, {"users-resolve", "users.resolve"}, {"prereg-create", "prereg.create"}, {0}};

static const struct setting *const tables[] = {settings, NULL};

static const struct producer_plan plan = {
    .name = "libcal-bookings", .about = "turns bookings of rooms and seats in LibCal into work for the gate",
    .source = "libcal", .topic = "bookings.new", .tables = tables, .poll_seconds = &poll_seconds, .readers = readers,
    .settled = settled, .check = check, .begin = begin, .poll = poll, .trouble = trouble,
    .due_sql = due_sql, .sent_sql = sent_sql, .resend_sql = resend_sql, .message = message,
};

int main(int argc, char **argv)
{
    return producer_main(&plan, argc, argv);
}

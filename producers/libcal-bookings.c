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
#include "common/log.h"
#include "producers/bookings/places.h"
#include "producers/libcal-bookings/ask.h"
#include "producers/libcal-bookings/decide.h"

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

/* ---- the poll ---- */

static struct libcal_rows page; /* the last answer */

static struct fault read_pass(struct producer *p, const struct place *place, struct pass *pass)
{
    bool more = true;

    for (int number = 1; more; number++) {
        struct question q = {.what = ASK_LIST, .id = place->number, .page = number, .days_ahead = (int)rules.days_ahead,
                             .id_question = rules.id_question, .ret = &page};
        if (number > PAGES_MAX)
            return FAULT(RETRY, "LibCal's list has no end: page %d still brings new rows", PAGES_MAX);
        TRY(ask(p, &q));
        TRY(pass_add(pass, &page, &more));
    }
    return FAULT_OK;
}

/* A list of several pages may shift while it is read: it is read until it holds still. */
static struct fault read_until_steady(struct producer *p, const struct place *place, struct survey *s,
                                      struct pass *earlier)
{
    TRY(read_pass(p, place, &s->pass));
    s->steady = s->pass.pages <= 1;
    for (int passes = 1; !s->steady && passes < PASSES_MAX; passes++) {
        struct pass again = {0};
        struct fault f = read_pass(p, place, &again);
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

static struct fault read_list(struct producer *p, const struct place *place, struct survey *s)
{
    struct pass earlier = {0};
    int64_t first = time(NULL);
    struct fault f = read_until_steady(p, place, s, &earlier);

    pass_free(&earlier);
    if (f.kind)
        return f;
    if (!s->steady)
        log_warn("location %s: the list changed in each of %d passes; nothing is judged gone", place->id, PASSES_MAX);
    if (over_midnight(&s->pass, first, time(NULL))) {
        log_info("location %s: read over midnight; nothing is judged gone", place->id);
        s->steady = false;
    }
    s->now = time(NULL);
    return FAULT_OK;
}

static struct fault ask_by_id(struct producer *p, const struct place *place, const char *const *ids, size_t count,
                              struct pass *ret)
{
    struct question q = {.what = ASK_BY_ID, .ids = ids, .count = count, .id_question = rules.id_question, .ret = &page};
    bool more;

    (void)place;
    TRY(ask(p, &q));
    for (size_t i = 0; i < page.bad_count; i++)
        if (!page.bad[i].book_id[0]) /* it might be any of them */
            return FAULT(RETRY, "a booking asked for by id cannot be read: %s", page.bad[i].why);
    return pass_add(ret, &page, &more);
}

static const struct reader reader = {.read = read_list, .fill = sheet_fill, .ask = ask_by_id, .ids_max = LIBCAL_IDS_MAX};

/* Bookings the old script has seen and nothing was ever written of; free(*ret_taken), which borrows from *ret. */
static struct fault read_taken(struct producer *p, PGresult **ret, struct taken **ret_taken)
{
    TRY(producer_run(p, ret,
                     "SELECT booking_id, prereg_id, extract(epoch FROM taken_at)::bigint FROM taken_over t"
                     " WHERE NOT EXISTS (SELECT FROM appts a WHERE a.source = 'libcal' AND a.booking_id = t.booking_id)"
                     " ORDER BY booking_id COLLATE \"C\"",
                     0, NULL));
    struct taken *taken = calloc((size_t)PQntuples(*ret) + 1, sizeof *taken);
    for (int i = 0; i < PQntuples(*ret); i++)
        taken[i] = (struct taken){PQgetvalue(*ret, i, 0), PQgetisnull(*ret, i, 1) ? NULL : PQgetvalue(*ret, i, 1),
                                  strtoll(PQgetvalue(*ret, i, 2), NULL, 10)};
    *ret_taken = taken;
    return FAULT_OK;
}

static struct fault poll(struct producer *p)
{
    SCOPED(PQclear) PGresult *res = NULL;
    struct taken *taken = NULL;
    struct fault f = read_taken(p, &res, &taken);

    if (!f.kind)
        f = places_poll(p, &reader, taken, (size_t)PQntuples(res));
    free(taken);
    libcal_rows_free(&page);
    return f;
}

/* ---- the settings, checked ---- */

static struct fault settled(void)
{
    const char *digits = rules.id_question + 1;

    if (rules.id_question[0] != 'q' || !*digits || digits[strspn(digits, "0123456789")])
        return FAULT(MISUSE, "LIBCAL_ID_QUESTION: want q and a number, as q12505");
    return places_settle("LIBCAL_LOCATIONS", &location_ids, destinations);
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
            location = there.at[k].lid == places[i].number ? &there.at[k] : NULL;
        if (!location && !there.more)
            return FAULT(MISUSE, "LIBCAL_LOCATIONS: LibCal has no location %s", places[i].id);
        printf("ok  LibCal: location %s is \"%s\", at the gate \"%s\"\n", places[i].id,
               location ? location->name : "one it does not list", places[i].destination);
        TRY(check_question(p, location, &places[i]));
    }
    return FAULT_OK;
}

static const struct setting *const tables[] = {settings, NULL};

static const struct producer_plan plan = {
    .name = "libcal-bookings", .about = "turns bookings of rooms and seats in LibCal into work for the gate",
    .source = "libcal", .topic = "bookings.new", .tables = tables, .poll_seconds = &poll_seconds, .readers = places_readers,
    .renewing = true, .settled = settled, .check = check, .begin = places_begin, .poll = poll, .trouble = places_trouble,
    .paused = places_paused, .due_sql = PLACES_DUE_SQL("libcal"), .sent_sql = PLACES_SENT_SQL,
    .resend_sql = PLACES_RESEND_SQL("libcal"), .message = places_message,
};

int main(int argc, char **argv)
{
    return producer_main(&plan, argc, argv);
}

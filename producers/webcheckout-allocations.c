/*
 * webcheckout-allocations - what is reserved or handed out at WebCheckout's checkout centres (rooms, equipment), as windows in
 * which a person may pass the gate.
 *   in    WebCheckout POST /rest/allocation/search, every WEBCHECKOUT_POLL_SECONDS, centre by centre and state by state
 *   row   bookings(oid): what WebCheckout last said; appts(window): what is wanted, one row an access window
 *   out   bookings.new   key asked_id   schemas/bookings.new.schema.json
 *
 * An allocation is one booking, known by its oid, and one row. How rows become windows, and what becomes of windows, is
 * libcal-bookings' business too: producers/bookings.
 *
 * Each of WEBCHECKOUT_LIVE_STATES is searched for in their order, so that an allocation which goes from the first to the
 * second meanwhile is seen in one of the two. There is no way to ask for the rows behind others: where WebCheckout counts more
 * than it sent, it is asked again with twice the limit; a list that cannot be had whole proves nothing gone. Nor is there a
 * query for "what is not over yet", which is why states are asked for, and all else is not: an allocation that was never in a
 * live state is never seen. --check says which other states there are.
 *
 * What is in no list any more is asked for by its oid, as only that tells what became of it: cancelled, given back, at another
 * centre, or in a state nobody has listed, which the desk is told. "Refused" is what WebCheckout says of an oid nobody has,
 * and of much else, so that then it is asked for by its uniqueId too: an answer without it is what proves it gone. Nothing is
 * judged when a question fails; the next poll asks again. The lists are not those of a day, so that midnight is no matter.
 */
#include "common/log.h"
#include "common/values.h"
#include "producers/bookings/places.h"
#include "producers/webcheckout-allocations/ask.h"
#include "producers/webcheckout-allocations/decide.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    PERSON_BELIEVED_S = 900,
    SICK_MAX = 3, /* questions by oid in a row that WebCheckout fails at, before it is left in peace */
    STATES_MAX = 24,
};

/* ---- settings ---- */

static struct setting_list center_ids;
static json_object *destinations;
static int64_t poll_seconds, limit_setting;
static int id_property;
static const char *const properties[] = {"userid", "barcode"};

static const struct setting settings[] = {
    {"WEBCHECKOUT_URL", SET_URL, NULL, .required = true, .to = &reach.url,
     .help = "WebCheckout's address, before /rest, as https://example.webcheckout.net (before version 4.5.0, which had it below"
             " /webcheckout, with that behind it)"},
    {"WEBCHECKOUT_USERNAME", SET_TEXT, NULL, .required = true, .to = &reach.username,
     .help = "user id of an account that is an operator at the centres"},
    {"WEBCHECKOUT_PASSWORD", SET_SECRET, NULL, .required = true, .to = &reach.password,
     .help = "and its password"},
    {"WEBCHECKOUT_API", SET_CHOICE, "2.0", .choices = "1.1|2.0", .to = &reach.api,
     .help = "the generation of the API: 1.1 (or 1.0), or 2.0"},
    {"WEBCHECKOUT_CENTERS", SET_LIST, NULL, .required = true, .to = &center_ids,
     .help = "oids of the checkout centres to watch, as 53207831,53207832"},
    {"WEBCHECKOUT_ID_PROPERTY", SET_CHOICE, "userid", .choices = "userid|barcode", .to = &id_property,
     .help = "the patron's property that Alma knows the person by"},
    {"WEBCHECKOUT_ID_PATTERN", SET_REGEX, NULL, .to = &rules.id_pattern,
     .help = "what such an id looks like, a POSIX extended regular expression for all of it, as G[0-9]{8}; any when not set"},
    {"WEBCHECKOUT_LIVE_STATES", SET_LIST, "RESERVATION,CHECKOUT", .to = &rules.statuses,
     .help = "the states of an allocation that open the gate, in the order it goes through them"},
    {"WEBCHECKOUT_DEAD_STATES", SET_LIST, "CANCELED,CANCELLED,CLOSED,RETURNED,DELETED", .to = &states.dead,
     .help = "the states known not to; an allocation that goes into any other is reported, and changes nothing"},
    {"WEBCHECKOUT_DAYS_AHEAD", SET_WHOLE, "2", .least = 0, .most = 365, .to = &rules.days_ahead,
     .help = "how many days after today are watched"},
    {"WEBCHECKOUT_POLL_SECONDS", SET_WHOLE, "300", .least = 1, .most = 86400, .to = &poll_seconds,
     .help = "how often WebCheckout is looked at; be gentle: 60 or more"},
    {"WEBCHECKOUT_TIMEOUT_MS", SET_WHOLE, "30000", .least = 100, .most = 300000, .to = &reach.timeout_ms,
     .help = "how long WebCheckout may take to answer, milliseconds"},
    {"WEBCHECKOUT_LIMIT", SET_WHOLE, "500", .least = 1, .most = WEBCHECKOUT_ROWS_MAX, .to = &limit_setting,
     .help = "allocations of one centre and state to ask for at first; where there are more, it is doubled"},
    {"PASSAGEPOINT_DESTINATIONS", SET_JSON, NULL, .required = true, .to = &destinations,
     .help = "the gate's destination for each centre, as {\"53207831\": \"Main Library\"}; \"*\" stands for the others"},
    {"PREREG_MINUTES_BEFORE", SET_WHOLE, "0", .least = 0, .most = 1440, .to = &rules.minutes_before,
     .help = "how long before a booking the gate opens, minutes"},
    {"PREREG_MINUTES_AFTER", SET_WHOLE, "0", .least = 0, .most = 1440, .to = &rules.minutes_after,
     .help = "and how long after it"},
    {0}};

/* ---- people whose allocation came without their ids ---- */

struct patron {
    struct webcheckout_person person; /* by oid */
    int64_t at;
    UT_hash_handle hh;
};

static struct patron *patrons;

static struct fault find_patron(struct producer *p, int64_t oid, int64_t now, const struct webcheckout_person **ret)
{
    struct patron *known;

    HASH_FIND(hh, patrons, &oid, sizeof oid, known);
    if (!known) {
        known = calloc(1, sizeof *known);
        if (!known)
            return FAULT(FATAL, "out of memory");
        known->person.oid = oid;
        HASH_ADD(hh, patrons, person.oid, sizeof known->person.oid, known);
    }
    *ret = &known->person;
    if (known->at + PERSON_BELIEVED_S > now)
        return FAULT_OK;
    struct webcheckout_person found;
    struct question q = {.what = ASK_PERSON, .oid = oid, .ret = &found};
    struct fault f = ask(p, &q);
    if (f.kind && !would_not_say(&q))
        return f;
    if (!f.kind && found.oid == oid) {
        memcpy(known->person.userid, found.userid, sizeof found.userid);
        memcpy(known->person.barcode, found.barcode, sizeof found.barcode);
    }
    known->at = now;
    return FAULT_OK;
}

/* A server need not send what was asked of a property's own properties: then the person is asked for. */
static struct fault complete(struct producer *p, struct webcheckout_rows *rows, int64_t now)
{
    for (size_t i = 0; i < rows->count; i++) {
        struct webcheckout_allocation *a = &rows->at[i];
        const struct webcheckout_person *patron = NULL;
        if (!a->patron_oid || a->userid[0] || a->barcode[0] || state_of(a->state) != WEBCHECKOUT_LIVE || !is_watched(a, now))
            continue;
        TRY(find_patron(p, a->patron_oid, now, &patron));
        memcpy(a->userid, patron->userid, sizeof a->userid);
        memcpy(a->barcode, patron->barcode, sizeof a->barcode);
    }
    return FAULT_OK;
}

static void forget_patrons(int64_t now)
{
    struct patron *known, *next;

    HASH_ITER(hh, patrons, known, next)
    {
        if (known->at + PERSON_BELIEVED_S <= now) {
            HASH_DEL(patrons, known);
            free(known);
        }
    }
}

/* ---- the poll ---- */

static struct webcheckout_rows rows; /* the last answer */
static int enough;                   /* the limit that was, when last there were more */

/* All of a centre in one state, or *ret_whole is false. */
static struct fault search(struct producer *p, int64_t center, const char *state, bool *ret_whole)
{
    struct webcheckout_query query = {.state = state, .center_oid = center, .limit = enough};
    struct question q = {.what = ASK_SEARCH, .center = center, .query = &query, .ret = &rows};

    TRY(ask(p, &q));
    for (size_t last = 0; rows.more && query.limit < WEBCHECKOUT_ROWS_MAX && rows.count + rows.bad_count > last;) {
        last = rows.count + rows.bad_count;
        query.limit = 2 * query.limit < WEBCHECKOUT_ROWS_MAX ? 2 * query.limit : WEBCHECKOUT_ROWS_MAX;
        TRY(ask(p, &q));
    }
    *ret_whole = !rows.more;
    if (*ret_whole)
        enough = query.limit;
    return FAULT_OK;
}

static struct fault read_lists(struct producer *p, const struct place *place, struct survey *s)
{
    bool whole;

    s->steady = true;
    for (int i = 0; i < rules.statuses.count; i++) {
        TRY(search(p, place->number, rules.statuses.items[i], &whole));
        if (!whole)
            log_warn("checkout centre %s: WebCheckout counts more in state %s than the %zu it shows; nothing is judged gone",
                     place->id, rules.statuses.items[i], rows.count + rows.bad_count);
        s->steady = s->steady && whole;
        TRY(complete(p, &rows, s->now));
        TRY(pass_take(&s->pass, &rows, place->number, i, s->now));
    }
    return recall(&s->pass, place->number, s->now);
}

/* The uniqueId that was read with it, when it still was in a list; "" when there was none. */
static struct fault unique_id_of(struct producer *p, const struct place *place, const char *book_id, char *ret, size_t size)
{
    SCOPED(PQclear) PGresult *res = NULL;

    ret[0] = '\0';
    TRY(producer_run(p, &res, "SELECT said->0->>'unique_id' FROM bookings WHERE source = 'webcheckout' AND location_id = $1"
                              " AND booking_id = $2", 2, (const char *const[]){place->id, book_id}));
    if (PQntuples(res) && !text_copy(ret, size, PQgetvalue(res, 0, 0)))
        ret[0] = '\0';
    return FAULT_OK;
}

static struct fault undecided(struct pass *ret, const char *book_id, const char *why)
{
    char words[120];
    bool is_new;

    snprintf(words, sizeof words, "allocation %s: %s", book_id, why);
    return pass_put_bad(ret, book_id, words, &is_new);
}

/* The answer's rows of this allocation; a row that cannot be read may be it. */
static struct fault take_answer(struct producer *p, const struct place *place, const char *book_id, struct pass *ret)
{
    int64_t oid = strtoll(book_id, NULL, 10), now = time(NULL);
    size_t count = 0;
    bool is_new;

    if (rows.bad_count)
        return rows.bad[0].oid == oid ? pass_put_bad(ret, book_id, rows.bad[0].why, &is_new)
                                      : undecided(ret, book_id, rows.bad[0].why);
    for (size_t i = 0; i < rows.count; i++)
        if (rows.at[i].oid == oid)
            rows.at[count++] = rows.at[i];
    rows.count = count;
    TRY(complete(p, &rows, now));
    return pass_take(ret, &rows, place->number, BY_OID, now);
}

/* One that WebCheckout fails at must not keep the others from being asked about. */
static bool fails_at_this_one(const struct question *q)
{
    static int in_a_row;

    in_a_row = q->answer.verdict != DONE && q->answer.cause == CAUSE_VENDOR && !q->unanswered ? in_a_row + 1 : 0;
    return in_a_row > 0 && in_a_row < SICK_MAX;
}

static struct fault ask_by_unique_id(struct producer *p, const struct place *place, const char *book_id, struct pass *ret)
{
    char unique_id[WEBCHECKOUT_ID_SIZE];
    struct webcheckout_query query = {.unique_id = unique_id, .limit = (int)limit_setting};
    struct question q = {.what = ASK_SEARCH, .center = place->number, .query = &query, .ret = &rows};

    TRY(unique_id_of(p, place, book_id, unique_id, sizeof unique_id));
    if (!unique_id[0])
        return undecided(ret, book_id, "WebCheckout will not show it, and it has no uniqueId to look for it by");
    struct fault f = ask(p, &q);
    if (fails_at_this_one(&q))
        return undecided(ret, book_id, q.answer.reason);
    TRY(f);
    if (rows.more)
        return undecided(ret, book_id, "WebCheckout counts more with its uniqueId than it shows");
    return take_answer(p, place, book_id, ret);
}

static struct fault ask_by_oid(struct producer *p, const struct place *place, const char *const *ids, size_t count,
                               struct pass *ret)
{
    (void)count; /* one at a time: there is no question about several */
    struct question q = {.what = ASK_ALLOCATION, .center = place->number, .oid = strtoll(ids[0], NULL, 10), .ret = &rows};
    struct fault f = ask(p, &q);

    if (f.kind && would_not_say(&q))
        return ask_by_unique_id(p, place, ids[0], ret);
    if (fails_at_this_one(&q))
        return undecided(ret, ids[0], q.answer.reason);
    TRY(f);
    if (rows.count && rows.at[0].oid != q.oid)
        return undecided(ret, ids[0], "WebCheckout answers with another one");
    return take_answer(p, place, ids[0], ret);
}

static const struct reader reader = {.read = read_lists, .fill = sheet_fill, .ask = ask_by_oid, .ids_max = 1, .adopts = true};

static struct fault poll(struct producer *p)
{
    struct fault f = places_poll(p, &reader, NULL, 0);

    forget_patrons(time(NULL));
    webcheckout_rows_free(&rows);
    return f;
}

/* ---- the settings, checked ---- */

static struct fault settled(void)
{
    rules.id_question = properties[id_property];
    states.by_barcode = id_property == 1;
    enough = (int)limit_setting;
    for (int i = 0; i < rules.statuses.count; i++) {
        if (!rules.statuses.items[i][0])
            return FAULT(MISUSE, "WEBCHECKOUT_LIVE_STATES: holds an empty item");
        for (int k = 0; k < states.dead.count; k++)
            if (value_symbol_is(rules.statuses.items[i], states.dead.items[k]))
                return FAULT(MISUSE, "WEBCHECKOUT_LIVE_STATES: %s is in WEBCHECKOUT_DEAD_STATES too", rules.statuses.items[i]);
    }
    return places_settle("WEBCHECKOUT_CENTERS", &center_ids, destinations);
}

struct tally {
    char state[49];
    size_t count;
};

/* How many of the rows are in which state that nobody has listed. */
static size_t count_states(struct tally tallies[STATES_MAX], size_t *ret_live, size_t *ret_named)
{
    size_t n = 0;

    *ret_live = *ret_named = 0;
    for (size_t i = 0; i < rows.count; i++) {
        const struct webcheckout_allocation *a = &rows.at[i];
        char said[49];
        size_t k = 0;
        *ret_live += state_of(a->state) == WEBCHECKOUT_LIVE;
        *ret_named += (states.by_barcode ? a->barcode : a->userid)[0] != '\0';
        if (state_of(a->state) != WEBCHECKOUT_UNKNOWN)
            continue;
        answer_quote(said, sizeof said, a->state, strlen(a->state));
        while (k < n && strcmp(tallies[k].state, said) != 0)
            k++;
        if (k == n && n < STATES_MAX)
            tallies[n++] = (struct tally){0};
        if (k < n) {
            memcpy(tallies[k].state, said, sizeof said);
            tallies[k].count++;
        }
    }
    return n;
}

/* Some of the centre's allocations, in whatever state: what would the lists of states make of them? */
static struct fault check_states(struct producer *p, const struct place *place)
{
    struct webcheckout_query query = {.center_oid = place->number, .limit = (int)limit_setting};
    struct question q = {.what = ASK_SEARCH, .center = place->number, .query = &query, .ret = &rows};
    struct tally tallies[STATES_MAX];
    size_t live, named;

    struct fault f = ask(p, &q);
    if (f.kind && would_not_say(&q)) {
        printf("--  WebCheckout lists no allocations without a state: which others there are is not known\n");
        return FAULT_OK;
    }
    TRY(f);
    size_t n = count_states(tallies, &live, &named);
    printf("%s  WebCheckout: of %zu allocations there %zu are in a live state, and of %zu the patron has a %s\n",
           rows.count && (!live || !named) ? "--" : "ok", rows.count, live, named, rules.id_question);
    for (size_t i = 0; i < n; i++)
        printf("--  WebCheckout: %zu of them are in the state \"%s\", which is in neither list\n", tallies[i].count,
               tallies[i].state);
    return FAULT_OK;
}

static struct fault check_lists(struct producer *p, const struct place *place)
{
    bool whole;

    for (int i = 0; i < rules.statuses.count; i++) {
        TRY(search(p, place->number, rules.statuses.items[i], &whole));
        printf("%s  WebCheckout: %zu allocations in the state %s%s\n", whole ? "ok" : "--", rows.count, rules.statuses.items[i],
               whole ? "" : ", and it counts more");
    }
    return FAULT_OK;
}

static struct fault check_center(struct producer *p, const struct webcheckout_session *session, const struct place *place)
{
    const struct webcheckout_entity *center = NULL;

    for (size_t i = 0; i < session->center_count && !center; i++)
        center = session->centers[i].oid == place->number ? &session->centers[i] : NULL;
    if (!center && session->center_count && !session->more_centers)
        return FAULT(MISUSE, "WEBCHECKOUT_CENTERS: the account is no operator of checkout centre %s", place->id);
    printf("ok  WebCheckout: checkout centre %s is \"%s\", at the gate \"%s\"\n", place->id,
           center ? center->name : "one the log-in does not list", place->destination);
    TRY(check_lists(p, place));
    return check_states(p, place);
}

static struct fault check(struct producer *p)
{
    const struct webcheckout_session *session = NULL;
    char version[WEBCHECKOUT_ID_SIZE];
    struct question q = {.what = ASK_INFO, .ret = version};

    TRY(log_in(p, &session));
    printf("ok  WebCheckout: the log-in works\n");
    TRY(ask(p, &q));
    printf("ok  WebCheckout: version %s\n", version[0] ? version : "unknown");
    for (int i = 0; i < place_count; i++)
        TRY(check_center(p, session, &places[i]));
    return FAULT_OK;
}

static const struct setting *const tables[] = {settings, NULL};

static const struct producer_plan plan = {
    .name = "webcheckout-allocations", .about = "turns reservations and loans in WebCheckout into work for the gate",
    .source = "webcheckout", .topic = "bookings.new", .tables = tables, .poll_seconds = &poll_seconds,
    .readers = places_readers, .renewing = true, .settled = settled, .check = check, .begin = places_begin, .poll = poll,
    .trouble = places_trouble, .paused = places_paused, .due_sql = PLACES_DUE_SQL("webcheckout"), .sent_sql = PLACES_SENT_SQL,
    .resend_sql = PLACES_RESEND_SQL("webcheckout"), .message = places_message,
};

int main(int argc, char **argv)
{
    return producer_main(&plan, argc, argv);
}

#include "producers/bookings/places.h"

#include "common/booking.h"
#include "common/instant.h"
#include "common/log.h"
#include "producers/bookings/write.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct noted { /* a row that could not be read and was logged */
    char why[120];
    bool still;
    UT_hash_handle hh;
};

struct place *places;
int place_count;
static struct metric *made_metric, *dropped_metric;

/* ---- the poll ---- */

/* All doubtful bookIds are asked for; what a failed question leaves open is left as it is. */
static struct fault settle_doubts(struct producer *p, const struct place *place, const struct reader *reader, struct survey *s)
{
    size_t asked = 0;
    struct fault failed = FAULT_OK;

    while (asked < s->doubtful_count && !failed.kind) {
        size_t chunk = s->doubtful_count - asked < reader->ids_max ? s->doubtful_count - asked : reader->ids_max;
        failed = reader->ask(p, place, s->doubtful + asked, chunk, &s->by_id);
        if (!failed.kind)
            asked += chunk;
    }
    TRY(reader->fill(&s->answer, &s->by_id, place->number, place->destination));
    for (size_t i = 0; i < s->doubtful_count; i++)
        TRY(decide_doubtful(s, s->doubtful[i], i < asked));
    if (failed.kind)
        log_warn("%s %s: %s; what is doubtful stays as it is", source.place, place->id, failed.what);
    if (!reader->adopts)
        return FAULT_OK;
    s->steady = s->steady && !failed.kind; /* what was not answered may be on the desk with reason */
    return survey_adopt(s);
}

/* Rows nobody can read are said once, not at every poll. */
static void note_bad(struct place *place, const struct pass *pass)
{
    struct noted *n, *next;

    for (const struct seen_bad *b = pass->bad; b; b = b->hh.next) {
        HASH_FIND_STR(place->noted, b->why, n);
        if (!n && (n = calloc(1, sizeof *n))) {
            memcpy(n->why, b->why, sizeof n->why);
            HASH_ADD_STR(place->noted, why, n);
            log_warn("%s %s: a row cannot be read and is left out: %s", source.place, place->id, n->why);
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

/* No place behind this one has its destination, and those before it were read well: what they do not show, nobody shows. */
static bool takes_the_rest(const struct place *place, const struct survey *s)
{
    for (const struct place *other = places; other < places + place_count; other++)
        if (other != place && !strcmp(other->destination, place->destination) && (other > place || !other->steady))
            return false;
    return s->steady;
}

static struct fault survey_run(struct producer *p, struct place *place, const struct reader *reader, struct survey *s,
                               PGresult **appts)
{
    size_t bookings;

    s->now = time(NULL);
    place->steady = false;
    TRY(reader->read(p, place, s));
    TRY(reader->fill(&s->list, &s->pass, 0, place->destination));
    place->steady = s->steady;
    TRY(adopt_placeless(p, place->id, s, takes_the_rest(place, s)));
    TRY(read_appts(p, place->id, s, appts));
    TRY(decide_all(s));
    if (s->doubtful_count)
        TRY(settle_doubts(p, place, reader, s));
    note_bad(place, &s->pass);
    TRY(write_survey(p, place->id, s, &bookings));
    metric_set(place->seen, (double)bookings);
    metric_add(made_metric, (double)s->wanted_count);
    metric_add(dropped_metric, (double)s->dropped);
    log_about(s->wanted_count || s->dropped ? LOG_INFO : LOG_DEBUG, NULL,
              "%s %s: %zu rows of %zu bookings; %zu window%s made, %zu dropped, %zu booking%s asked for by id", source.place,
              place->id, s->list.count, bookings, s->wanted_count, s->wanted_count == 1 ? "" : "s", s->dropped,
              s->doubtful_count, s->doubtful_count == 1 ? "" : "s");
    return FAULT_OK;
}

static struct fault poll_place(struct producer *p, struct place *place, const struct reader *reader, const struct taken *taken,
                               size_t taken_count)
{
    SCOPED(PQclear) PGresult *appts = NULL;
    struct survey s = {.destination = place->destination, .lid = place->number, .taken = taken, .taken_count = taken_count};
    struct fault f = survey_run(p, place, reader, &s, &appts);

    survey_free(&s);
    place->polled = true;
    if (f.kind && loop_stopping(producer_loop(p)))
        return f;
    snprintf(place->trouble, sizeof place->trouble, "%s", f.what);
    metric_add(f.kind ? place->failed : place->ok, 1);
    if (f.kind) {
        log_warn("%s %s: %s", source.place, place->id, f.what);
        return f;
    }
    place->good_at = time(NULL);
    metric_set(place->good, (double)place->good_at);
    return FAULT_OK;
}

struct fault places_poll(struct producer *p, const struct reader *reader, const struct taken *taken, size_t taken_count)
{
    struct fault first = FAULT_OK;
    int failed = 0;

    for (int i = 0; i < place_count && !loop_stopping(producer_loop(p)); i++) {
        struct fault one = poll_place(p, &places[i], reader, taken, taken_count);
        failed += one.kind != FAULT_NONE;
        if (!first.kind)
            first = one;
    }
    TRY(close_past(p));
    return failed ? FAULT(RETRY, "%d of %d %ss failed: %.180s", failed, place_count, source.place, first.what) : FAULT_OK;
}

void places_paused(const PGresult *locations)
{
    for (int i = 0; i < place_count; i++) {
        bool was = *places[i].paused_since;
        places[i].paused_since[0] = '\0';
        for (int r = 0; r < PQntuples(locations); r++)
            if (!strcmp(PQgetvalue(locations, r, 0), places[i].id))
                text_copy(places[i].paused_since, sizeof places[i].paused_since, PQgetvalue(locations, r, 1));
        metric_set(places[i].paused, *places[i].paused_since != '\0');
        if (was != !!*places[i].paused_since)
            log_info("%s %s: %s by a person", source.place, places[i].id, was ? "resumed" : "paused");
    }
}

void places_trouble(struct text *why)
{
    char when[INSTANT_SIZE] = "never";

    for (int i = 0; i < place_count; i++)
        if (*places[i].paused_since)
            text_printf(why, "%s %s: paused since %s by a person: nothing of it is sent until one says SELECT resume('location', '%s',"
                             " 'name'); ", source.place, places[i].id, places[i].paused_since, places[i].id);
    for (int i = 0; i < place_count; i++) {
        if (!places[i].trouble[0])
            continue;
        if (places[i].good_at)
            instant_write(places[i].good_at, when);
        text_printf(why, "%s %s: %s (last good poll: %s); ", source.place, places[i].id, places[i].trouble, when);
        return;
    }
    if (place_count && !places[place_count - 1].polled)
        text_puts(why, "the first poll is under way or has not begun; ");
}

/* ---- beginning ---- */

struct fault places_settle(const char *name, const struct setting_list *ids, json_object *destinations)
{
    places = calloc((size_t)ids->count, sizeof *places);
    for (int i = 0; i < ids->count; i++) {
        struct place *place = &places[place_count];
        place->id = ids->items[i];
        if (!place->id[0] || strlen(place->id) > 18 || place->id[strspn(place->id, "0123456789")] || place->id[0] == '0')
            return FAULT(MISUSE, "%s: %s is no %s id: want a whole number, as 1234", name, place->id, source.place);
        place->number = strtoll(place->id, NULL, 10);
        for (int k = 0; k < place_count; k++)
            if (places[k].number == place->number)
                return FAULT(MISUSE, "%s: %s is there twice", name, place->id);
        place->destination = settings_map(destinations, place->id);
        if (!place->destination)
            return FAULT(MISUSE, "PASSAGEPOINT_DESTINATIONS: no destination for %s %s: add \"%s\" or \"*\"", source.place,
                         place->id, place->id);
        struct fault f = sendable("b", "A", place->destination);
        if (f.kind)
            return FAULT(MISUSE, "PASSAGEPOINT_DESTINATIONS: for %s %s: %s", source.place, place->id, f.what);
        place_count++;
    }
    return FAULT_OK;
}

void places_begin(struct producer *p)
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
        place->paused = metric_make(METRIC_GAUGE, "shelfwire_paused", "1: a person has paused it.", "location=\"%s\"", place->id);
    }
    made_metric = metric_make(METRIC_COUNTER, "shelfwire_windows_total", "Windows, by what became of them.", "change=\"made\"");
    dropped_metric = metric_make(METRIC_COUNTER, "shelfwire_windows_total", "", "change=\"dropped\"");
}

/* ---- sending ---- */

struct fault places_message(const PGresult *due, int row, struct text *ret_key, struct text *ret_value)
{
    struct booking b = {0};

    text_copy(b.source, sizeof b.source, source.name);
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

const struct producer_reader places_readers[] = {
    {"bookings-new", "bookings.new"}, {"users-resolve", "users.resolve"}, {"prereg-create", "prereg.create"}, {0}};

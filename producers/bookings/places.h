/*
 * places.h - the places a producer of bookings watches (LibCal's locations, WebCheckout's checkout centres): each is read,
 * compared with the windows that are wanted, and written, one after another; one that fails costs no other.
 *
 * After PostgreSQL was restored from a backup, prereg-create makes rows of the windows that are forgotten, which have no place (''),
 * for no message says it. The place whose list shows one takes it; what no list of that destination shows is taken by the last
 * place that has it, and judged there as any window which the list lacks. Until then it is not sent.
 *
 * Threads   as the producer's: everything on one, and a program's functions may wait with producer_ask.
 */
#ifndef SHELFWIRE_BOOKINGS_PLACES_H
#define SHELFWIRE_BOOKINGS_PLACES_H

#include "common/metrics.h"
#include "common/producer.h"
#include "producers/bookings/survey.h"

struct place {
    const char *id, *destination;
    int64_t number;    /* the id */
    int64_t good_at;   /* last poll that succeeded; 0: none */
    char trouble[240]; /* of the last poll; "" */
    bool polled, steady; /* steady: its last list proves what is gone */
    struct noted *noted;
    char paused_since[24]; /* by a person: nothing of it is sent; "" */
    struct metric *ok, *failed, *seen, *good, *paused;
};

extern struct place *places;
extern int place_count;

/* How a program reads a place. */
struct reader {
    /* Fills s->pass, and says in s->steady whether that proves what is gone. s->now is when it began. */
    struct fault (*read)(struct producer *p, const struct place *place, struct survey *s);
    /* Slots of a pass, by their bookIds; with a number, only those that are of that place or of none in particular. */
    struct fault (*fill)(struct sheet *ret, const struct pass *pass, int64_t number, const char *destination);
    /* What the service says of at most ids_max bookIds; a fault leaves them, and those that follow, as they are. */
    struct fault (*ask)(struct producer *p, const struct place *place, const char *const *ids, size_t count, struct pass *ret);
    size_t ids_max;
    bool adopts; /* see survey_adopt */
};

/* From settings: `ids`, read from the setting `name`, with a destination each. MISUSE names what is wrong. */
struct fault places_settle(const char *name, const struct setting_list *ids, json_object *destinations);

void places_begin(struct producer *p); /* their metrics; as producer_plan.begin */
void places_trouble(struct text *why); /* as producer_plan.trouble */
void places_paused(const PGresult *locations); /* as producer_plan.paused */

/* All of them, once; `taken` as in survey.h. The fault sums up what was logged. */
struct fault places_poll(struct producer *p, const struct reader *reader, const struct taken *taken, size_t taken_count);

/* ---- sending: producer_plan's statements and message, of a source (a literal) ---- */

/* A union, so that each half finds its own index. 'unknown' waits for a person, 'made' is made. */
#define PLACES_DUE_SQL(source)                                                                                               \
    "SELECT appt_id, retry_at, coalesce(trace_id, ''), booking_id, asked_id, destination,"                                   \
    " extract(epoch FROM starts_at)::bigint, extract(epoch FROM ends_at)::bigint FROM ("                                     \
    "SELECT * FROM appts WHERE wanted AND sent_at IS NULL AND answer IS NULL AND retry_at IS NULL"                           \
    " UNION ALL SELECT * FROM appts WHERE wanted AND retry_at <= now()) AS due"                                              \
    " WHERE source = '" source "' AND ends_at > now() AND prereg_id IS NULL AND location_id <> ''"                           \
    " AND (answer IS NULL OR answer NOT IN ('made', 'unknown')) AND NOT EXISTS (SELECT FROM pauses h"                        \
    " WHERE h.what = 'location' AND h.name = due.location_id AND h.ended_at IS NULL) ORDER BY created_at LIMIT $1::int"

#define PLACES_SENT_SQL                                                                                                      \
    "UPDATE appts a SET sent_at = clock_timestamp(), retry_at = NULL"                                                        \
    " FROM unnest($1::uuid[], $2::timestamptz[]) AS s(id, retry_at)"                                                         \
    " WHERE a.appt_id = s.id AND a.retry_at IS NOT DISTINCT FROM s.retry_at"

/* Unanswered since it was sent. A row with an older answer is due by its time, the others by not being sent. */
#define PLACES_RESEND_SQL(source)                                                                                            \
    "UPDATE appts SET sent_at = CASE WHEN answer IS NOT NULL THEN sent_at END,"                                              \
    " retry_at = CASE WHEN answer IS NOT NULL THEN clock_timestamp() END"                                                    \
    " WHERE source = '" source "' AND wanted AND prereg_id IS NULL AND sent_at IS NOT NULL AND retry_at IS NULL"             \
    " AND ends_at > now() AND (answer IS NULL OR (answered_at < sent_at AND answer NOT IN ('made', 'unknown')))"

struct fault places_message(const PGresult *due, int row, struct text *ret_key, struct text *ret_value);

/* Whose reading a booking's work depends on; as producer_plan.readers. */
extern const struct producer_reader places_readers[];

#endif

#include "producers/bookings/write.h"

#include "common/db.h"
#include "common/instant.h"

#include <inttypes.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

enum {
    WRITE_MAX = 1000,    /* rows a statement */
    SEEN_AGAIN_S = 3600, /* an unchanged booking is marked as seen no more often */
};

static const char *const problem_kinds[] = {NULL, "unknown_status", "blank_id", "bad_id"};

/* ---- reading ---- */

static const char appts_sql[] =
    "WITH live AS NOT MATERIALIZED ("
    "SELECT * FROM appts WHERE source = $4 AND wanted AND ends_at > now() - interval '1 day'),"
    " here AS (SELECT * FROM live WHERE location_id = $1)"
    " SELECT appt_id, booking_id, asked_id, destination, extract(epoch FROM starts_at)::bigint,"
    " extract(epoch FROM ends_at)::bigint, before_s, after_s, offset_s, location_id <> $1 FROM ("
    "SELECT * FROM here UNION ALL SELECT * FROM live WHERE location_id <> $1 AND destination = $2"
    " AND booking_id IN (SELECT unnest($3::text[]) UNION SELECT booking_id FROM here)) AS appts"
    " ORDER BY booking_id COLLATE \"C\", starts_at";

/* The bookIds of the list, as an array. */
static struct fault put_book_ids(const struct sheet *list, struct db_columns *ret)
{
    db_columns_begin(ret, 1);
    for (size_t from = 0, n; from < list->count; from += n) {
        const char *book_id = list->slots[from].book_id;
        n = sheet_find(list, book_id, &from);
        db_put(ret, book_id);
        db_row_end(ret);
    }
    return ret->at[0].failed ? FAULT(FATAL, "out of memory") : FAULT_OK;
}

static struct fault select_appts(struct producer *p, const char *place_id, const struct survey *s, PGresult **ret)
{
    struct db_columns book_ids = {0};
    const char *values[4] = {place_id, s->destination, NULL, source.name};
    struct fault f = put_book_ids(&s->list, &book_ids);

    db_columns_end(&book_ids, values + 2);
    if (!f.kind)
        f = producer_run(p, ret, appts_sql, 4, values);
    db_columns_free(&book_ids);
    return f;
}

struct fault read_appts(struct producer *p, const char *place_id, struct survey *s, PGresult **ret)
{
    TRY(select_appts(p, place_id, s, ret));
    PGresult *res = *ret;
    s->appt_count = (size_t)PQntuples(res);
    s->appts = calloc(s->appt_count + 1, sizeof *s->appts);
    s->made = calloc(s->appt_count + 1, sizeof *s->made);
    for (int i = 0; i < PQntuples(res); i++) {
        s->appts[i] = (struct appt){.appt_id = PQgetvalue(res, i, 0), .book_id = PQgetvalue(res, i, 1),
                                    .offset_s = atoi(PQgetvalue(res, i, 8))};
        s->made[i] = (struct window_made){.person = PQgetvalue(res, i, 2), .destination = PQgetvalue(res, i, 3),
                                          .start = strtoll(PQgetvalue(res, i, 4), NULL, 10),
                                          .end = strtoll(PQgetvalue(res, i, 5), NULL, 10),
                                          .before_s = atoi(PQgetvalue(res, i, 6)), .after_s = atoi(PQgetvalue(res, i, 7)),
                                          .elsewhere = PQgetvalue(res, i, 9)[0] == 't'};
    }
    return FAULT_OK;
}

/* ---- who was erased ---- */

static struct fault last_erased(struct producer *p, int64_t *ret)
{
    SCOPED(PQclear) PGresult *res = NULL;

    TRY(producer_run(p, &res, "SELECT coalesce(max(erased_id), 0) FROM erased_bookings WHERE source = $1", 1,
                     (const char *const[]){source.name}));
    *ret = strtoll(PQgetvalue(res, 0, 0), NULL, 10);
    return FAULT_OK;
}

static struct fault select_erased(struct producer *p, const struct sheet *sheet, PGresult **ret)
{
    struct db_columns slots = {0};
    const char *values[3] = {source.name};

    db_columns_begin(&slots, 2);
    for (size_t i = 0; i < sheet->count; i++) {
        db_put(&slots, sheet->slots[i].book_id);
        db_put(&slots, sheet->slots[i].asked);
        db_row_end(&slots);
    }
    db_columns_end(&slots, values + 1);
    struct fault f = slots.at[0].failed || slots.at[1].failed ? FAULT(FATAL, "out of memory") : FAULT_OK;
    if (!f.kind)
        f = producer_run(p, ret, "SELECT n.ord - 1 FROM unnest($2::text[], $3::text[]) WITH ORDINALITY AS n(booking_id, asked, ord)"
                                 " WHERE EXISTS (SELECT FROM erased_bookings e WHERE e.source = $1 AND e.booking_id = n.booking_id"
                                 " AND e.asked_sha256 = sha256(e.salt || convert_to(n.asked, 'UTF8'))) ORDER BY 1", 3, values);
    db_columns_free(&slots);
    return f;
}

struct fault leave_out_erased(struct producer *p, struct survey *s, struct sheet *sheet)
{
    SCOPED(PQclear) PGresult *res = NULL;
    int64_t last;

    TRY(last_erased(p, &last));
    if (sheet == &s->list)
        s->erased = last;
    if (!last)
        return FAULT_OK;
    TRY(select_erased(p, sheet, &res));
    size_t *places = calloc((size_t)PQntuples(res) + 1, sizeof *places);
    for (int i = 0; i < PQntuples(res); i++)
        places[i] = (size_t)strtoll(PQgetvalue(res, i, 0), NULL, 10);
    sheet_leave_out(sheet, places, (size_t)PQntuples(res));
    free(places);
    return FAULT_OK;
}

/* Nobody is erased from here to the end of the transaction. */
static struct fault still_the_same_erased(struct producer *p, const struct survey *s)
{
    int64_t last;

    TRY(producer_do_(p, "LOCK TABLE erased_bookings IN SHARE MODE", NULL, 0));
    TRY(last_erased(p, &last));
    return last <= s->erased ? FAULT_OK : FAULT(RETRY, "somebody was erased meanwhile: to be read again");
}

/* ---- windows without a place ---- */

static struct fault adopt(struct producer *p, const char *place_id, const char *appt_id, int offset_s)
{
    char before[16], after[16], offset[16];

    snprintf(before, sizeof before, "%" PRId64, rules.minutes_before * 60);
    snprintf(after, sizeof after, "%" PRId64, rules.minutes_after * 60);
    snprintf(offset, sizeof offset, "%d", offset_s);
    return producer_do(p, "UPDATE appts SET location_id = $1, before_s = $3::int, after_s = $4::int, offset_s = $5::int"
                          " WHERE appt_id = $2::uuid AND location_id = ''", place_id, appt_id, before, after, offset);
}

struct fault adopt_placeless(struct producer *p, const char *place_id, const struct survey *s, bool rest)
{
    SCOPED(PQclear) PGresult *res = NULL;

    TRY(producer_run(p, &res, "SELECT appt_id, booking_id, extract(epoch FROM starts_at)::bigint, extract(epoch FROM ends_at)::bigint"
                              " FROM appts WHERE source = $1 AND destination = $2 AND location_id = '' AND wanted AND ends_at > now()", 2,
                     (const char *const[]){source.name, s->destination}));
    for (int i = 0; i < PQntuples(res); i++) {
        int offset_s = s->list.count ? s->list.slots[0].offset_s : 0; /* as good as any: for its day */
        if (survey_shows(s, PQgetvalue(res, i, 1), strtoll(PQgetvalue(res, i, 2), NULL, 10), strtoll(PQgetvalue(res, i, 3), NULL, 10),
                         &offset_s) || rest)
            TRY(adopt(p, place_id, PQgetvalue(res, i, 0), offset_s));
    }
    return FAULT_OK;
}

/* ---- writing, many rows a statement ---- */

struct batch {
    struct producer *p;
    const char *sql, *constants[4];
    int constant_count, column_count;
    struct db_columns columns;
};

static struct fault batch_send(struct batch *b)
{
    const char *values[24];
    SCOPED(PQclear) PGresult *res = NULL;

    if (!b->columns.rows)
        return FAULT_OK;
    for (int i = 0; i < b->constant_count; i++)
        values[i] = b->constants[i];
    db_columns_end(&b->columns, values + b->constant_count);
    for (int i = 0; i < b->column_count; i++)
        if (b->columns.at[i].failed)
            return FAULT(FATAL, "out of memory");
    struct fault f = producer_run(b->p, &res, b->sql, b->constant_count + b->column_count, values);
    db_columns_begin(&b->columns, b->column_count);
    return f;
}

static struct fault batch_row(struct batch *b)
{
    db_row_end(&b->columns);
    return b->columns.rows < WRITE_MAX ? FAULT_OK : batch_send(b);
}

/* The last rows; frees. */
static struct fault batch_end(struct batch *b, struct fault f)
{
    if (!f.kind)
        f = batch_send(b);
    db_columns_free(&b->columns);
    return f;
}

static struct fault write_drops(struct producer *p, const struct survey *s)
{
    struct batch b = {.p = p, .column_count = 2, .sql =
        "UPDATE appts a SET wanted = false, unwanted_reason = d.reason, unwanted_at = clock_timestamp()"
        " FROM unnest($1::uuid[], $2::text[]) AS d(id, reason) WHERE a.appt_id = d.id AND a.wanted"};
    struct fault f = FAULT_OK;

    db_columns_begin(&b.columns, b.column_count);
    for (size_t i = 0; !f.kind && i < s->appt_count; i++)
        if (s->appts[i].lost) {
            db_put(&b.columns, s->appts[i].appt_id);
            db_put(&b.columns, s->appts[i].lost);
            f = batch_row(&b);
        }
    return batch_end(&b, f);
}

static struct fault write_wanted(struct producer *p, const char *place_id, const struct survey *s)
{
    char before[16], after[16], trace[33];
    struct batch b = {
        .p = p, .column_count = 11, .constant_count = 4, .constants = {source.name, place_id, before, after}, .sql =
        "INSERT INTO appts (source, location_id, before_s, after_s, booking_id, asked_id, destination, starts_at, ends_at,"
        " offset_s, email, trace_id, answer, reason, prereg_id, sent_at, answered_at)"
        " SELECT $1, $2, $3::int, $4::int, b, p, d, to_timestamp(s), to_timestamp(e), o, m, t, a, r, i,"
        " CASE WHEN a IS NOT NULL THEN now() END, CASE WHEN a IS NOT NULL THEN now() END"
        " FROM unnest($5::text[], $6::text[], $7::text[], $8::bigint[], $9::bigint[], $10::int[], $11::text[], $12::text[],"
        " $13::text[], $14::text[], $15::text[]) AS w(b, p, d, s, e, o, m, t, a, r, i)"};
    struct fault f = FAULT_OK;

    snprintf(before, sizeof before, "%" PRId64, rules.minutes_before * 60);
    snprintf(after, sizeof after, "%" PRId64, rules.minutes_after * 60);
    db_columns_begin(&b.columns, b.column_count);
    for (size_t i = 0; !f.kind && i < s->wanted_count; i++) {
        const struct wanted *w = &s->wanted[i];
        uint64_t random[2] = {0};
        (void)!getrandom(random, sizeof random, 0);
        snprintf(trace, sizeof trace, "%016" PRIx64 "%016" PRIx64, random[0], random[1]);
        db_put(&b.columns, w->book_id);
        db_put(&b.columns, w->w.person);
        db_put(&b.columns, w->w.destination);
        db_put_int(&b.columns, w->w.start);
        db_put_int(&b.columns, w->w.end);
        db_put_int(&b.columns, w->offset_s);
        db_put_opt(&b.columns, w->email);
        db_put(&b.columns, trace);
        db_put(&b.columns, w->answer);
        db_put_opt(&b.columns, w->reason);
        db_put(&b.columns, w->prereg_id);
        f = batch_row(&b);
    }
    return batch_end(&b, f);
}

/* What the service says of a booking, as `bookings.said` keeps it. */
static json_object *said_of(const struct slot *slots, size_t n)
{
    json_object *said = json_object_new_array();

    for (size_t i = 0; i < n; i++)
        json_object_array_add(said, source.said(&slots[i]));
    return said;
}

/* Is the row of `bookings` still what the service says? Columns: booking_id, said, first_name, last_name, email, fresh. */
static bool said_before(const PGresult *res, int row, json_object *said, const struct slot *who)
{
    SCOPED(json_object_put) json_object *known = json_tokener_parse(PQgetvalue(res, row, 1));

    return PQgetvalue(res, row, 5)[0] == 't' && !strcmp(PQgetvalue(res, row, 2), who->first_name) &&
           !strcmp(PQgetvalue(res, row, 3), who->last_name) && !strcmp(PQgetvalue(res, row, 4), who->email) &&
           json_object_equal(known, said);
}

static struct fault put_booking(struct batch *b, const char *book_id, json_object *said, const struct slot *slots, size_t n)
{
    const struct slot *first = slots;
    int64_t end = first->end;

    for (size_t i = 1; i < n; i++)
        end = slots[i].end > end ? slots[i].end : end;
    db_put(&b->columns, book_id);
    db_put(&b->columns, json_object_to_json_string_ext(said, JSON_C_TO_STRING_PLAIN));
    db_put_int(&b->columns, first->start);
    db_put_int(&b->columns, end);
    db_put_opt(&b->columns, first->first_name);
    db_put_opt(&b->columns, first->last_name);
    db_put_opt(&b->columns, first->email);
    return batch_row(b);
}

/* Only what is new, changed, or has not been marked as seen for an hour: an unchanged list writes nothing. */
static struct fault write_bookings(struct producer *p, const char *place_id, const struct survey *s, size_t *ret_bookings)
{
    SCOPED(PQclear) PGresult *known = NULL;
    char again[16];
    struct batch b = {.p = p, .column_count = 7, .constant_count = 2, .constants = {source.name, place_id}, .sql =
        "INSERT INTO bookings AS k (source, location_id, booking_id, said, starts_at, ends_at, first_name, last_name, email)"
        " SELECT $1, $2, b, s::jsonb, to_timestamp(f), to_timestamp(t), n, l, e"
        " FROM unnest($3::text[], $4::text[], $5::bigint[], $6::bigint[], $7::text[], $8::text[], $9::text[])"
        " AS r(b, s, f, t, n, l, e)"
        " ON CONFLICT (source, location_id, booking_id) DO UPDATE SET said = excluded.said, starts_at = excluded.starts_at,"
        " ends_at = excluded.ends_at, first_name = excluded.first_name, last_name = excluded.last_name, email = excluded.email,"
        " last_seen = clock_timestamp(), gone_at = NULL"};
    struct fault f = FAULT_OK;
    int at = 0;

    snprintf(again, sizeof again, "%d", SEEN_AGAIN_S);
    TRY(producer_run(p, &known,
                     "SELECT booking_id, said, coalesce(first_name, ''), coalesce(last_name, ''), coalesce(email, ''),"
                     " gone_at IS NULL AND last_seen > now() - $2::int * interval '1 second' FROM bookings"
                     " WHERE source = $3 AND location_id = $1 AND ends_at > now() - interval '1 day'"
                     " ORDER BY booking_id COLLATE \"C\"", 3, (const char *const[]){place_id, again, source.name}));
    db_columns_begin(&b.columns, b.column_count);
    *ret_bookings = 0;
    for (size_t from = 0, n; !f.kind && from < s->list.count; from += n) {
        const char *book_id = s->list.slots[from].book_id;
        n = sheet_find(&s->list, book_id, &from);
        SCOPED(json_object_put) json_object *said = said_of(s->list.slots + from, n);
        ++*ret_bookings;
        while (at < PQntuples(known) && strcmp(PQgetvalue(known, at, 0), book_id) < 0)
            at++;
        if (at == PQntuples(known) || strcmp(PQgetvalue(known, at, 0), book_id) != 0 ||
            !said_before(known, at, said, &s->list.slots[from]))
            f = put_booking(&b, book_id, said, s->list.slots + from, n);
    }
    f = batch_end(&b, f);
    for (size_t i = 0; !f.kind && i < s->gone_count; i++)
        f = producer_do(p, "UPDATE bookings SET gone_at = clock_timestamp() WHERE source = $1 AND location_id = $2"
                           " AND booking_id = $3 AND gone_at IS NULL", source.name, place_id, s->gone[i]);
    return f;
}

/* What needs a person at this place: said anew, and closed where it was mended, or is over. */
static struct fault write_desk(struct producer *p, const char *place_id, const struct survey *s)
{
    struct batch b = {.p = p, .column_count = 5, .constant_count = 2, .constants = {source.name, place_id}, .sql =
        "WITH now_so AS (SELECT * FROM unnest($3::text[], $4::text[], $5::text[], $6::bigint[], $7::bool[])"
        " AS n(kind, subject, reason, at, is_so)),"
        " mended AS (SELECT d.kind, d.subject FROM desk d JOIN bookings b ON b.booking_id = d.subject AND b.source = $1"
        " AND b.location_id = $2"
        " WHERE d.closed_at IS NULL AND d.kind IN ('unknown_status', 'blank_id', 'bad_id')"
        " AND NOT EXISTS (SELECT FROM now_so n WHERE n.subject = d.subject AND (NOT n.is_so OR n.kind = d.kind)))"
        " SELECT desk_say(kind, subject, reason, to_timestamp(at)) FROM now_so n WHERE is_so AND NOT EXISTS ("
        "SELECT FROM desk d WHERE d.closed_at IS NULL AND d.kind = n.kind AND d.subject = n.subject AND d.reason = n.reason"
        " AND d.visit_at = to_timestamp(n.at))"
        " UNION ALL SELECT desk_clear(kind, subject) FROM mended"};
    const char *last = "";
    int kind = FINE;

    db_columns_begin(&b.columns, b.column_count);
    for (size_t i = 0; i <= s->list.count; i++) { /* one row more, that says nothing: an empty list mends all */
        const struct slot *slot = i < s->list.count ? &s->list.slots[i] : NULL;
        if (slot && (!slot->problem || slot->end <= s->now))
            continue;
        if (slot && kind == (int)slot->problem && !strcmp(last, slot->book_id))
            continue; /* another row of it: once is enough */
        db_put(&b.columns, slot ? problem_kinds[slot->problem] : "");
        db_put(&b.columns, slot ? slot->book_id : "");
        db_put(&b.columns, slot ? slot->why : "");
        db_put_int(&b.columns, slot ? slot->start : 0);
        db_put_bool(&b.columns, slot != NULL);
        db_row_end(&b.columns);
        if (slot) {
            last = slot->book_id;
            kind = (int)slot->problem;
        }
    }
    for (const struct seen_bad *bad = s->by_id.bad; bad; bad = bad->hh.next) { /* nobody knows whether it is mended */
        db_put(&b.columns, "");
        db_put(&b.columns, bad->book_id);
        db_put(&b.columns, "");
        db_put_int(&b.columns, 0);
        db_put_bool(&b.columns, false);
        db_row_end(&b.columns);
    }
    return batch_end(&b, FAULT_OK);
}

struct fault write_survey(struct producer *p, const char *place_id, const struct survey *s, size_t *ret_bookings)
{
    TRY(producer_do_(p, "BEGIN", NULL, 0));
    struct fault f = still_the_same_erased(p, s);
    if (!f.kind)
        f = write_bookings(p, place_id, s, ret_bookings);
    if (!f.kind)
        f = write_drops(p, s);
    if (!f.kind)
        f = write_wanted(p, place_id, s);
    if (!f.kind && s->steady)
        f = write_desk(p, place_id, s);
    if (!f.kind)
        return producer_do_(p, "COMMIT", NULL, 0);
    producer_do_(p, "ROLLBACK", NULL, 0);
    return f;
}

struct fault close_past(struct producer *p)
{
    return producer_do_(p, "SELECT desk_close_past()", NULL, 0);
}

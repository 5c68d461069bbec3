#include "producers/libcal-bookings/decide.h"

#include "common/answer.h"
#include "common/instant.h"

#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- rows as a set ---- */

static void canonical(const struct libcal_row *from, struct libcal_row *ret)
{
#define NUMBER(name) ret->name = from->name
#define STRING(name) strcpy(ret->name, from->name)
    memset(ret, 0, sizeof *ret);
    STRING(book_id), STRING(status), STRING(first_name), STRING(last_name), STRING(email), STRING(account), STRING(answer);
    NUMBER(id), NUMBER(eid), NUMBER(cid), NUMBER(lid), NUMBER(seat_id), NUMBER(start), NUMBER(end), NUMBER(offset_seconds);
    NUMBER(answer_too_long), NUMBER(check_in), NUMBER(cancelled), NUMBER(is_event);
#undef NUMBER
#undef STRING
}

struct fault pass_add(struct pass *p, const struct libcal_rows *rows, bool *ret_new)
{
    struct libcal_row row;

    *ret_new = false;
    for (size_t i = 0; i < rows->count; i++) {
        canonical(&rows->at[i], &row);
        TRY(pass_put(p, row.book_id, row.offset_seconds, &row, sizeof row, ret_new));
    }
    for (size_t i = 0; i < rows->bad_count; i++)
        TRY(pass_put_bad(p, rows->bad[i].book_id, rows->bad[i].why, ret_new));
    p->pages += *ret_new;
    return FAULT_OK;
}

/* ---- a row as a slot ---- */

static enum libcal_status status_of(const struct libcal_row *row)
{
    return libcal_status_of(row->status, (const char *const *)rules.statuses.items, (size_t)rules.statuses.count);
}

static bool concerns_a_patron(const struct libcal_row *row)
{
    return !row->is_event && strcmp(row->book_id, "exchange") != 0 && status_of(row) != LIBCAL_NOT_A_PATRON;
}

static enum loss ended_by(const struct libcal_row *row, enum libcal_status status)
{
    if (status == LIBCAL_WAITING)
        return WAITS;
    return strcasestr(row->status, "denied") ? DENIED : CANCELLED;
}

static void slot_read(const struct libcal_row *row, const char *destination, struct slot *ret, struct window_row *ret_row)
{
    enum libcal_status status = row->cancelled ? LIBCAL_DEAD : status_of(row);

    *ret = (struct slot){.row = row, .book_id = row->book_id, .email = row->email, .first_name = row->first_name,
                         .last_name = row->last_name, .start = row->start, .end = row->end, .offset_s = row->offset_seconds,
                         .live = status == LIBCAL_LIVE, .ended = ended_by(row, status)};
    struct fault f = libcal_asked_id(row->answer, rules.id_pattern, ret->asked, sizeof ret->asked);
    if (!f.kind && (f = sendable(row->book_id, ret->asked, destination)).kind)
        ret->asked[0] = '\0';
    if (status == LIBCAL_UNKNOWN) {
        char said[48];
        answer_quote(said, sizeof said, row->status, strlen(row->status));
        ret->problem = UNKNOWN_STATUS;
        snprintf(ret->why, sizeof ret->why,
                 "LibCal says \"%s\", a status nobody here knows: if it opens the gate, add it to LIBCAL_STATUSES", said);
    } else if (ret->live && !row->answer[0] && !row->answer_too_long) {
        ret->problem = BLANK_ID;
        snprintf(ret->why, sizeof ret->why, "the booking form has no answer to %s: nobody can be let in", rules.id_question);
    } else if (ret->live && f.kind) {
        ret->problem = BAD_ID;
        snprintf(ret->why, sizeof ret->why, "%s: mend it in LibCal", row->answer_too_long ? "the id is too long" : f.what);
    }
    *ret_row = (struct window_row){.start = row->start, .end = row->end, .live = ret->live && !ret->problem,
                                   .checked_in = row->check_in != LIBCAL_NOT_CHECKED, .destination = destination};
}

static int order_rows(const void *left, const void *right)
{
    const struct libcal_row *a = *(const struct libcal_row *const *)left, *b = *(const struct libcal_row *const *)right;
    int c = strcmp(a->book_id, b->book_id);

    if (!c)
        c = (a->start > b->start) - (a->start < b->start);
    if (!c)
        c = (a->end > b->end) - (a->end < b->end);
    return c ? c : memcmp(a, b, sizeof *a);
}

struct fault sheet_fill(struct sheet *s, const struct pass *p, int64_t lid, const char *destination)
{
    size_t n = HASH_COUNT(p->rows), count = 0;
    const struct libcal_row **sorted = calloc(n + 1, sizeof *sorted);

    struct fault f = sorted ? sheet_make(s, n) : FAULT(FATAL, "out of memory");
    if (f.kind) {
        free(sorted);
        return f;
    }
    for (const struct seen_row *r = p->rows; r; r = r->hh.next) {
        const struct libcal_row *row = (const void *)r->row;
        if (concerns_a_patron(row) && (!lid || !row->lid || row->lid == lid))
            sorted[count++] = row;
    }
    qsort(sorted, count, sizeof *sorted, order_rows);
    for (size_t i = 0; i < count; i++) {
        slot_read(sorted[i], destination, &s->slots[i], &s->rows[i]);
        s->rows[i].person = s->slots[i].asked[0] ? s->slots[i].asked : NULL;
    }
    s->count = count;
    free(sorted);
    return FAULT_OK;
}

/* ---- the service ---- */

static void add_string(json_object *to, const char *key, const char *value)
{
    json_object_object_add(to, key, json_object_new_string(value));
}

static json_object *said_of(const struct slot *slot)
{
    static const char *const checked[] = {"no", "in", "out"};
    const struct libcal_row *r = slot->row;
    json_object *row = json_object_new_object();
    char when[INSTANT_SIZE];

    instant_write(r->start, when);
    add_string(row, "start", when);
    instant_write(r->end, when);
    add_string(row, "end", when);
    add_string(row, "status", r->status);
    add_string(row, "check_in", checked[r->check_in]);
    json_object_object_add(row, "eid", json_object_new_int64(r->eid));
    if (r->seat_id)
        json_object_object_add(row, "seat", json_object_new_int64(r->seat_id));
    if (slot->asked[0])
        add_string(row, "asked_id", slot->asked);
    if (r->cancelled)
        json_object_object_add(row, "cancelled", json_object_new_boolean(true));
    return row;
}

const struct source source = {
    .name = "libcal", .place = "location", .said = said_of,
    .losses = {
        [GONE] = "no longer in LibCal",           [MOVED] = "moved or shortened in LibCal",
        [DESTINATION] = "the destination changed", [PERSON] = "the person changed",
        [WAITS] = "no longer confirmed in LibCal", [DENIED] = "denied in LibCal",
        [CANCELLED] = "cancelled in LibCal",
    },
};

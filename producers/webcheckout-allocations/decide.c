#include "producers/webcheckout-allocations/decide.h"

#include "common/instant.h"
#include "common/text.h"
#include "common/vendors/reading.h"

#include <inttypes.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { REMEMBERED = -2, DAY_S = 86400 };

struct states states;

/* What is kept of an allocation; bytes that mean nothing are zero. */
struct row {
    int64_t oid, center, start, end;
    int32_t offset_s, search;
    uint32_t state; /* enum webcheckout_state */
    uint32_t given_back;
    char book_id[24], unique_id[WEBCHECKOUT_ID_SIZE], said[WEBCHECKOUT_ID_SIZE], person[WEBCHECKOUT_ID_SIZE], email[129];
};

enum webcheckout_state state_of(const char *state)
{
    return webcheckout_state_of(state, (const char *const *)rules.statuses.items, (size_t)rules.statuses.count,
                                (const char *const *)states.dead.items, (size_t)states.dead.count);
}

/* ---- what was given back ---- */

struct returned {
    struct row row;
    UT_hash_handle hh;
};

static struct returned *returned;

static void forget(int64_t oid)
{
    struct returned *r;

    HASH_FIND(hh, returned, &oid, sizeof oid, r);
    if (!r)
        return;
    HASH_DEL(returned, r);
    free(r);
}

static struct fault remember(const struct row *row)
{
    struct returned *r = malloc(sizeof *r);

    forget(row->oid);
    memcpy(&r->row, row, sizeof *row);
    r->row.search = REMEMBERED;
    HASH_ADD(hh, returned, row.oid, sizeof r->row.oid, r);
    return FAULT_OK;
}

static bool is_over(const struct row *row, int64_t now)
{
    return row->end + DAY_S < now; /* the widest margin there may be */
}

struct fault recall(struct pass *p, int64_t center, int64_t now)
{
    struct returned *r, *next;
    bool is_new;

    HASH_ITER(hh, returned, r, next)
    {
        if (is_over(&r->row, now)) {
            HASH_DEL(returned, r);
            free(r);
        } else if (r->row.center == center) {
            TRY(pass_put(p, r->row.book_id, r->row.offset_s, &r->row, sizeof r->row, &is_new));
        }
    }
    return FAULT_OK;
}

/* ---- rows as a set ---- */

/* By its realStartTime, or where that is not sent, by an end behind its start: one that was cancelled ended before it. */
static bool was_handed_over(const struct webcheckout_allocation *a, int64_t now)
{
    return a->real_start ? a->real_start <= now : a->start && a->real_end > a->start && a->real_end <= now;
}

static void row_make(const struct webcheckout_allocation *a, int64_t center, int search, int64_t now, struct row *ret)
{
    memset(ret, 0, sizeof *ret);
    ret->oid = a->oid;
    ret->center = center;
    ret->start = a->start;
    ret->end = a->end;
    ret->offset_s = a->offset_seconds;
    ret->search = search;
    ret->state = state_of(a->state);
    ret->given_back = ret->state == WEBCHECKOUT_DEAD && was_handed_over(a, now);
    snprintf(ret->book_id, sizeof ret->book_id, "%" PRId64, a->oid);
    text_copy(ret->unique_id, sizeof ret->unique_id, a->unique_id);
    text_copy(ret->said, sizeof ret->said, a->state);
    text_copy(ret->person, sizeof ret->person, states.by_barcode ? a->barcode : a->userid);
    text_copy(ret->email, sizeof ret->email, a->email);
}

bool is_watched(const struct webcheckout_allocation *a, int64_t now)
{
    return a->start && a->end && a->end + DAY_S >= now && within_days(a->start, a->offset_seconds, now);
}

static struct fault take_row(struct pass *p, const struct webcheckout_allocation *a, int64_t center, int search, int64_t now)
{
    struct row row;
    bool is_new;

    row_make(a, center, search, now, &row);
    if (!row.start || !row.end) {
        char why[120];
        if (row.state == WEBCHECKOUT_DEAD)
            return FAULT_OK;
        snprintf(why, sizeof why, "allocation %s: no time of pick-up or return", row.book_id);
        return pass_put_bad(p, row.book_id, why, &is_new);
    }
    if (search != BY_OID && !is_watched(a, now))
        return FAULT_OK;
    if (row.given_back)
        TRY(remember(&row));
    return pass_put(p, row.book_id, row.offset_s, &row, sizeof row, &is_new);
}

struct fault pass_take(struct pass *p, const struct webcheckout_rows *rows, int64_t center, int search, int64_t now)
{
    bool is_new;

    for (size_t i = 0; i < rows->count; i++)
        if (!rows->at[i].center.oid || rows->at[i].center.oid == center)
            TRY(take_row(p, &rows->at[i], center, search, now));
    for (size_t i = 0; i < rows->bad_count; i++) {
        char book_id[24] = "";
        if (rows->bad[i].oid)
            snprintf(book_id, sizeof book_id, "%" PRId64, rows->bad[i].oid);
        TRY(pass_put_bad(p, book_id, rows->bad[i].why, &is_new));
    }
    return FAULT_OK;
}

/* ---- a row as a slot ---- */

static void find_problem(const struct row *row, const struct fault *f, struct slot *ret)
{
    const char *name = row->unique_id[0] ? row->unique_id : row->book_id;
    char said[48];

    if (row->state == WEBCHECKOUT_UNKNOWN) {
        answer_quote(said, sizeof said, row->said, strlen(row->said));
        ret->problem = UNKNOWN_STATUS;
        snprintf(ret->why, sizeof ret->why,
                 "the state \"%s\" of %s is neither in WEBCHECKOUT_LIVE_STATES nor in WEBCHECKOUT_DEAD_STATES", said, name);
    } else if (!ret->live && !row->given_back) {
        return;
    } else if (!row->person[0]) {
        ret->problem = BLANK_ID;
        snprintf(ret->why, sizeof ret->why, "the patron of %s has no %s in WebCheckout: nobody can be let in", name,
                 rules.id_question);
    } else if (f->kind) {
        ret->problem = BAD_ID;
        snprintf(ret->why, sizeof ret->why, "%s: mend the %s of the patron of %s in WebCheckout", f->what, rules.id_question,
                 name);
    }
}

static void slot_read(const struct row *row, const char *destination, struct slot *ret, struct window_row *ret_row)
{
    *ret = (struct slot){.row = row, .book_id = row->book_id, .email = row->email, .first_name = "", .last_name = "",
                         .start = row->start, .end = row->end, .offset_s = row->offset_s,
                         .live = row->state == WEBCHECKOUT_LIVE, .ended = CANCELLED};
    struct fault f = reading_asked_id(row->person, rules.id_pattern, "WEBCHECKOUT_ID_PATTERN", ret->asked, sizeof ret->asked);
    if (!f.kind && (f = sendable(row->book_id, ret->asked, destination)).kind)
        ret->asked[0] = '\0';
    find_problem(row, &f, ret);
    bool live = (ret->live || row->given_back) && !ret->problem;
    *ret_row = (struct window_row){.start = row->start, .end = row->end, .live = live, .checked_in = row->given_back,
                                   .destination = destination};
}

static int order_rows(const void *left, const void *right)
{
    const struct row *a = *(const struct row *const *)left, *b = *(const struct row *const *)right;
    int c = strcmp(a->book_id, b->book_id);

    return c ? c : (a->search < b->search) - (a->search > b->search); /* the latest first */
}

struct fault sheet_fill(struct sheet *s, const struct pass *p, int64_t center, const char *destination)
{
    size_t n = HASH_COUNT(p->rows), count = 0;
    const struct row **sorted = calloc(n + 1, sizeof *sorted);

    (void)center; /* pass_take has seen to it */
    struct fault f = sorted ? sheet_make(s, n) : FAULT(FATAL, "out of memory");
    if (f.kind) {
        free(sorted);
        return f;
    }
    for (const struct seen_row *r = p->rows; r; r = r->hh.next)
        sorted[count++] = (const void *)r->row;
    qsort(sorted, count, sizeof *sorted, order_rows);
    for (size_t i = 0; i < count; i++) {
        if (i && sorted[i]->oid == sorted[i - 1]->oid) {
            if (sorted[i]->search == REMEMBERED)
                forget(sorted[i]->oid); /* it is out again */
            continue;
        }
        slot_read(sorted[i], destination, &s->slots[s->count], &s->rows[s->count]);
        s->rows[s->count].person = s->slots[s->count].asked[0] ? s->slots[s->count].asked : NULL;
        s->count++;
    }
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
    const struct row *r = slot->row;
    json_object *row = json_object_new_object();
    char when[INSTANT_SIZE];

    instant_write(r->start, when);
    add_string(row, "start", when);
    instant_write(r->end, when);
    add_string(row, "end", when);
    add_string(row, "status", r->said);
    add_string(row, "unique_id", r->unique_id);
    if (slot->asked[0])
        add_string(row, "asked_id", slot->asked);
    if (r->given_back)
        json_object_object_add(row, "given_back", json_object_new_boolean(true));
    return row;
}

const struct source source = {
    .name = "webcheckout", .place = "checkout centre", .shows_begun = true, .said = said_of,
    .losses = {
        [GONE] = "no longer at this checkout centre", [MOVED] = "moved or shortened in WebCheckout",
        [DESTINATION] = "the destination changed", [PERSON] = "the person changed",
        [WAITS] = "no longer confirmed in WebCheckout", [DENIED] = "denied in WebCheckout",
        [CANCELLED] = "cancelled in WebCheckout",
    },
};

/* availability.c - media/{type}/availability: what can be borrowed. Only what differs from the rows is sent. */
#include "producers/oneclick-catalog/feeds.h"
#include "producers/oneclick-catalog/isbn_set.h"

#include "common/db.h"
#include "common/log.h"
#include "common/oneclick.h"
#include "common/scoped.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { SENT_MAX = 1000 };

/* What the rows say: read once for all lists of a poll. */
static struct {
    bool read;
    struct isbn_set known; /* what we have, and whether it is available as far as was said */
    struct isbn_set quiet; /* what OneClick was asked for within a day and did not have */
} rows;

struct reading {
    struct producer *p;
    int64_t listed, sent, unreadable;
    struct isbn_set flips; /* sent, of titles whose availability had been said before */
    char flips_as_of[ONECLICK_INSTANT_SIZE]; /* a list has one time for all its rows */
};

/* ---- what the rows say ---- */

/* What was sent and is not read yet counts like what is in the row. */
static const char known_sql[] =
    "SELECT isbn, CASE WHEN sent_available_as_of > available_as_of THEN sent_available ELSE available END, owned FROM titles"
    " WHERE owned AND available IS NOT NULL OR NOT owned AND missed_at > clock_timestamp() - interval '1 day'";

static struct fault use_known(void *of, const PGresult *res, int row)
{
    bool owned = PQgetvalue(res, row, 2)[0] == 't';

    (void)of;
    if (!isbn_set_add(owned ? &rows.known : &rows.quiet, PQgetvalue(res, row, 0), PQgetvalue(res, row, 1)[0] == 't'))
        return FAULT(FATAL, "out of memory");
    return FAULT_OK;
}

static struct fault read_known(struct reading *r)
{
    if (rows.read)
        return FAULT_OK;
    TRY(each_row(r->p, known_sql, NULL, 0, use_known, NULL));
    isbn_set_sort(&rows.known);
    isbn_set_sort(&rows.quiet);
    rows.read = true;
    return FAULT_OK;
}

void availability_forget(void)
{
    isbn_set_free(&rows.known);
    isbn_set_free(&rows.quiet);
    rows.read = false;
}

/* ---- what OneClick says ---- */

static struct fault use_row(void *of, const char *name, json_object *element, const char *bytes, size_t len)
{
    struct reading *r = of;
    struct oneclick_availability said;
    struct catalog_change change = {.kind = CATALOG_AVAILABILITY};
    struct fault f = oneclick_availability_read(element, &said);

    (void)name;
    (void)bytes;
    (void)len;
    r->listed++;
    if (f.kind || !*said.at) {
        r->unreadable++;
        return FAULT_OK;
    }
    int known = isbn_set_find(&rows.known, said.isbn);
    if (known == said.available || (known < 0 && isbn_set_find(&rows.quiet, said.isbn) >= 0))
        return FAULT_OK;
    text_copy(change.isbn, sizeof change.isbn, said.isbn);
    text_copy(change.as_of, sizeof change.as_of, said.at);
    change.available = said.available;
    r->sent++;
    if (known >= 0) {
        if (!isbn_set_add(&r->flips, said.isbn, said.available))
            return FAULT(FATAL, "out of memory");
        text_copy(r->flips_as_of, sizeof r->flips_as_of, said.at);
        isbn_set_turn(&rows.known, said.isbn);
    }
    return send_change(r->p, &change, NULL, 0);
}

static void request(struct http_request *req, const void *media_type)
{
    oneclick_availability_request(req, oneclick_library, oneclick_token, media_type);
}

/*
 * After Kafka has it: a crash before this sends it again, which changes nothing. Nor does it wait for a row that the worker has
 * in hand, which may be about this very message: each would wait for a row of the other's.
 */
static struct fault note_sent(struct reading *r)
{
    struct db_columns columns = {0};
    const char *values[3] = {NULL, NULL, r->flips_as_of};
    struct fault f = FAULT_OK;
    char isbn[VALUES_ISBN_SIZE];

    for (size_t i = 0; i < r->flips.count && !f.kind;) {
        db_columns_begin(&columns, 2);
        for (; columns.rows < SENT_MAX && i < r->flips.count; i++) {
            bool available = isbn_set_at(&r->flips, i, isbn);
            db_put(&columns, isbn);
            db_put_bool(&columns, available);
            db_row_end(&columns);
        }
        db_columns_end(&columns, values);
        f = producer_do_(r->p, "WITH free AS MATERIALIZED (SELECT isbn FROM titles WHERE isbn = ANY ($1::text[]) FOR UPDATE SKIP LOCKED)"
                               " UPDATE titles t SET sent_available = s.available, sent_available_as_of = $3::timestamptz"
                               " FROM unnest($1::text[], $2::bool[]) AS s(isbn, available) JOIN free USING (isbn)"
                               " WHERE t.isbn = s.isbn AND t.isbn = ANY ($1)", values, 3);
    }
    db_columns_free(&columns);
    return f;
}

static struct fault read_all(struct reading *r, const char *media_type)
{
    struct list list = {.call = "availability", .shape = "[", .is_it = is_plain_list, .request = request, .question = media_type, .use = use_row, .of = r};
    const char *code;

    TRY(read_known(r));
    TRY(list_read(r->p, &list, &code));
    TRY(producer_settle(r->p));
    TRY(note_sent(r));
    if (r->unreadable)
        log_warn("availability of %s: %" PRId64 " of %" PRId64 " rows cannot be read and are left out", media_type, r->unreadable, r->listed);
    log_about(r->sent ? LOG_INFO : LOG_DEBUG, NULL, "availability of %s: %" PRId64 " titles, %" PRId64 " changed", media_type, r->listed, r->sent);
    return FAULT_OK;
}

struct fault availability_read(struct producer *p, const char *media_type)
{
    struct reading r = {.p = p};

    struct fault f = read_all(&r, media_type);
    isbn_set_free(&r.flips);
    if (f.kind)
        availability_forget(); /* of what was sent, nobody knows what arrived */
    return f;
}

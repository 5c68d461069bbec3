/*
 * catalog-delta - one thing OneClick said of one title becomes its row: no call where the message says all, else one.
 *   in    catalog.delta   key ISBN           schemas/catalog.delta.schema.json
 *   call  GET /v1/libraries/{library}/media/{isbn}   changes nothing
 *   row   titles(isbn): whichever fact is the newer one stays
 *   out   nothing
 *
 * A call is made where OneClick said that a title was added and not what it is (its holdings' delta), where it said two
 * things at once, and where it lists the availability of a title that we do not have. "Not in the library" is an answer: the
 * row says so.
 */
#include "common/catalog.h"
#include "common/oneclick.h"
#include "common/scoped.h"
#include "common/vendors/oneclick.h"

#include <string.h>

/* What a row of the outcome does to `titles`. */
enum outcome { NOTHING, TITLE, KEPT, GONE, MISSED, LENT, SET_ASIDE };
static const char *const outcomes[] = {"nothing", "title", "kept", "gone", "missed", "lent", "set_aside"};

struct job {
    struct catalog_change change;
    bool has_title, asked; /* asked: OneClick was, for the title */
    struct oneclick_title title;
    char as_of[CATALOG_INSTANT_SIZE]; /* of what OneClick answers: it was asked after this */
};

static struct fault decode(const char *value, size_t len, void *ret_job)
{
    SCOPED(json_object_put) json_object *record = NULL;
    struct job *job = ret_job;

    TRY(catalog_read(value, len, &job->change, &record));
    if (job->change.kind != CATALOG_ADDED || !record)
        return FAULT_OK;
    TRY(fault_under(oneclick_title_read(record, &job->title), "record"));
    job->has_title = true;
    if (strcmp(job->title.isbn, job->change.isbn) != 0)
        return FAULT(REJECT, "record: its isbn is another than the message's");
    return FAULT_OK;
}

static void release(void *of)
{
    oneclick_title_free(&((struct job *)of)->title);
}

static const char *key(const void *of) { return ((const struct job *)of)->change.isbn; }

static bool told(const void *of, struct answer *ret)
{
    const struct job *job = of;

    if (!job->has_title && job->change.kind != CATALOG_REMOVED)
        return false;
    *ret = answer_make(DONE, CAUSE_WORK, catalog_kind_name(job->change.kind), "%s", "");
    return true;
}

/* ---- what is known already ---- */

enum { L_ORD, L_NOW, L_OWNED, L_DESCRIBED, L_NEWER };

static const char look_sql[] =
    "SELECT a.ord, to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"'), t.owned, t.title IS NOT NULL,"
    " t.owned_as_of > a.as_of::timestamptz" /* of one moment are also the two facts that made somebody ask */
    " FROM asked a LEFT JOIN titles t ON t.isbn = a.isbn";

static void look_put(const void *of, struct db_columns *c)
{
    const struct job *job = of;

    db_put(c, job->change.isbn);
    db_put(c, job->change.as_of);
}

static enum look_end looked(void *of, const struct look_row *row, enum prior prior, struct answer *ret)
{
    struct job *job = of;
    bool owned = look_true(row, L_OWNED), newer = look_true(row, L_NEWER);

    (void)prior;
    text_copy(job->as_of, sizeof job->as_of, look_text(row, L_NOW));
    switch (job->change.kind) {
    case CATALOG_AVAILABILITY: /* its time is OneClick's: it says nothing of what is owned since when */
        if (!owned)
            return LOOK_CALL;
        break;
    case CATALOG_ADDED:
        if (!newer && !(owned && look_true(row, L_DESCRIBED)))
            return LOOK_CALL;
        break;
    default:
        if (!newer)
            return LOOK_CALL;
    }
    *ret = answer_make(DONE, CAUSE_WORK, catalog_kind_name(job->change.kind), "%s", "");
    return LOOK_RECORD;
}

/* ---- asking OneClick ---- */

static void request(const void *of, struct http_request *req, const char *token)
{
    const struct job *job = of;

    (void)token;
    oneclick_title_request(req, oneclick_library, oneclick_token, job->change.isbn);
}

static struct answer interpret(void *of, const struct http_response *res)
{
    struct job *job = of;

    oneclick_title_free(&job->title);
    struct answer a = oneclick_title_answer(res, job->change.isbn, &job->title);
    job->asked = a.verdict == DONE;
    job->has_title = job->asked && !strcmp(a.code, "found");
    return a;
}

/* ---- the outcome ---- */

#define FACTS "media_type, title, sort_title, series_name, series_position, series_total, authors, narrators, genres, primary_genres," \
    " audience, language, publisher, publication_date, description, digital_rights, images, title_id"

/*
 * Rows that are there are changed by INSERT … ON CONFLICT too, for it knows but one plan. An UPDATE that joins hundreds of rows
 * may be planned, while the table is empty, as a scan of any index whatever and each row of it compared with all of the batch.
 */
static const char record_sql[] =
    "WITH said AS MATERIALIZED (SELECT s.* FROM unnest($1::text[], $2::text[], $3::timestamptz[], $4::bool[], $5::timestamptz[], $6::text[],"
    " $7::text[], $8::text[], $9::text[], $10::text[], $11::int[], $12::int[], $13::text[], $14::text[], $15::text[], $16::text[],"
    " $17::text[], $18::text[], $19::text[], $20::date[], $21::text[], $22::bool[], $23::text[], $24::bigint[])"
    " AS s(isbn, outcome, as_of, available, available_as_of, reason, " FACTS ")),"
    "described AS (INSERT INTO titles AS t (isbn, owned, owned_as_of, available, available_as_of, " FACTS ")"
    " SELECT isbn, true, as_of, available, available_as_of, media_type, title, sort_title, series_name, series_position, series_total,"
    " authors::text[], narrators::text[], genres::text[], primary_genres::text[], audience, language, publisher, publication_date,"
    " description, digital_rights, images::jsonb, title_id FROM said WHERE outcome = 'title' ORDER BY isbn"
    " ON CONFLICT (isbn) DO UPDATE SET owned = true, owned_as_of = excluded.owned_as_of, removed_at = NULL,"
    " available = CASE WHEN excluded.available_as_of >= coalesce(t.available_as_of, '-infinity') THEN excluded.available ELSE t.available END,"
    " available_as_of = greatest(t.available_as_of, excluded.available_as_of),"
    " changed_at = CASE WHEN t.owned AND (t.media_type, t.title, t.sort_title, t.series_name, t.series_position, t.series_total, t.authors,"
    " t.narrators, t.genres, t.primary_genres, t.audience, t.language, t.publisher, t.publication_date, t.description, t.digital_rights,"
    " t.images, t.title_id) IS NOT DISTINCT FROM (excluded.media_type, excluded.title, excluded.sort_title, excluded.series_name,"
    " excluded.series_position, excluded.series_total, excluded.authors, excluded.narrators, excluded.genres, excluded.primary_genres,"
    " excluded.audience, excluded.language, excluded.publisher, excluded.publication_date, excluded.description, excluded.digital_rights,"
    " excluded.images, excluded.title_id) AND NOT coalesce(excluded.available_as_of >= coalesce(t.available_as_of, '-infinity')"
    " AND excluded.available IS DISTINCT FROM t.available, false) THEN t.changed_at ELSE clock_timestamp() END,"
    " media_type = excluded.media_type, title = excluded.title, sort_title = excluded.sort_title, series_name = excluded.series_name,"
    " series_position = excluded.series_position, series_total = excluded.series_total, authors = excluded.authors,"
    " narrators = excluded.narrators, genres = excluded.genres, primary_genres = excluded.primary_genres, audience = excluded.audience,"
    " language = excluded.language, publisher = excluded.publisher, publication_date = excluded.publication_date,"
    " description = excluded.description, digital_rights = excluded.digital_rights, images = excluded.images, title_id = excluded.title_id"
    " WHERE excluded.owned_as_of >= t.owned_as_of),"
    "gone AS (INSERT INTO titles AS t (isbn, owned, owned_as_of, available, removed_at, missed_at)"
    " SELECT isbn, false, as_of, false, CASE outcome WHEN 'gone' THEN as_of END, CASE outcome WHEN 'missed' THEN clock_timestamp() END"
    " FROM said WHERE outcome IN ('gone', 'missed') ORDER BY isbn"
    " ON CONFLICT (isbn) DO UPDATE SET owned = false, owned_as_of = excluded.owned_as_of, available = false,"
    " removed_at = CASE WHEN t.owned THEN excluded.owned_as_of ELSE t.removed_at END,"
    " missed_at = coalesce(excluded.missed_at, t.missed_at),"
    " changed_at = CASE WHEN t.owned THEN clock_timestamp() ELSE t.changed_at END"
    " WHERE excluded.owned_as_of >= t.owned_as_of),"
    "kept AS (INSERT INTO titles AS t (isbn, owned, owned_as_of) SELECT isbn, false, as_of FROM said"
    " WHERE outcome = 'kept' AND (SELECT true FROM titles k WHERE k.isbn = said.isbn) ORDER BY isbn"
    " ON CONFLICT (isbn) DO UPDATE SET owned_as_of = excluded.owned_as_of WHERE excluded.owned_as_of > t.owned_as_of),"
    "lent AS (INSERT INTO titles AS t (isbn, owned, owned_as_of, available, available_as_of)"
    " SELECT isbn, true, as_of, available, available_as_of FROM said"
    " WHERE outcome = 'lent' AND (SELECT k.owned FROM titles k WHERE k.isbn = said.isbn) ORDER BY isbn"
    " ON CONFLICT (isbn) DO UPDATE SET available = excluded.available, available_as_of = excluded.available_as_of,"
    " changed_at = CASE WHEN t.available IS DISTINCT FROM excluded.available THEN clock_timestamp() ELSE t.changed_at END"
    " WHERE t.owned AND excluded.available_as_of >= coalesce(t.available_as_of, '-infinity')),"
    "mended AS (UPDATE desk d SET closed_at = clock_timestamp(), closed_by = 'shelfwire' FROM said s"
    " WHERE d.kind = 'set_aside' AND d.subject = s.isbn AND d.subject = ANY ($1) AND d.closed_at IS NULL AND s.outcome IN ('title', 'gone', 'missed'))"
    "SELECT count(desk_say('set_aside', isbn, reason, NULL)) FROM said WHERE outcome = 'set_aside'";

static enum outcome outcome_of(const struct job *job, const struct answer *a)
{
    if (a->verdict == DEAD)
        return SET_ASIDE;
    if (a->verdict != DONE)
        return NOTHING;
    if (job->has_title)
        return TITLE;
    if (job->asked)
        return MISSED;
    if (job->change.kind == CATALOG_REMOVED)
        return GONE;
    return job->change.kind == CATALOG_AVAILABILITY ? LENT : KEPT;
}

/* Texts behind one another as a text[] literal inside a text: an array of arrays would want equal lengths. */
static const char *list_literal(const struct oneclick_list *list)
{
    static struct db_columns one;
    const char *literal, *item = list->at;

    db_columns_begin(&one, 1);
    for (size_t i = 0; i < list->count; i++, item += strlen(item) + 1) {
        db_put(&one, item);
        db_row_end(&one);
    }
    db_columns_end(&one, &literal);
    return literal;
}

static const char *images_json(const struct oneclick_list *images)
{
    static struct text json;
    const char *item = images->at;

    if (!images->count)
        return NULL;
    text_clear(&json);
    for (size_t i = 0; i < images->count; i++, item += strlen(item) + 1) {
        text_puts(&json, i % 2 ? ":" : i ? "," : "{");
        text_json(&json, item);
    }
    text_putc(&json, '}');
    return text_str(&json);
}

static void put_number(struct db_columns *c, int64_t n)
{
    if (n)
        db_put_int(c, n);
    else
        db_put(c, NULL);
}

static void record_put(const void *of, const struct answer *a, struct db_columns *c)
{
    static const struct oneclick_title nothing;
    const struct job *job = of;
    enum outcome outcome = outcome_of(job, a);
    const struct oneclick_title *t = outcome == TITLE ? &job->title : &nothing;
    bool lent = job->change.kind == CATALOG_AVAILABILITY && (outcome == TITLE || outcome == LENT);

    db_put(c, job->change.isbn);
    db_put(c, outcomes[outcome]);
    db_put(c, job->asked ? job->as_of : job->change.as_of);
    db_put_opt(c, !lent ? NULL : job->change.available ? "t" : "f");
    db_put_opt(c, lent ? job->change.as_of : NULL);
    db_put_opt(c, a->reason);
    db_put_opt(c, t->media_type);
    db_put_opt(c, t->title);
    db_put_opt(c, t->title ? t->title + t->title_prefix : NULL);
    db_put_opt(c, t->series);
    put_number(c, t->series_position);
    put_number(c, t->series_total);
    db_put(c, list_literal(&t->authors));
    db_put(c, list_literal(&t->narrators));
    db_put(c, list_literal(&t->genres));
    db_put(c, list_literal(&t->primary_genres));
    db_put_opt(c, t->audience);
    db_put_opt(c, t->language);
    db_put_opt(c, t->publisher);
    db_put_opt(c, t->publication_date);
    db_put_opt(c, t->description);
    db_put_opt(c, !t->has_rights_flag ? NULL : t->digital_rights ? "t" : "f");
    db_put_opt(c, images_json(&t->images));
    put_number(c, t->title_id);
}

static const struct setting *const tables[] = {oneclick_settings, oneclick_call_settings, NULL};
static const char *const call_names[] = {"getMedia"};

static const struct stage catalog_delta = {
    .name = "catalog-delta", .consumes = "catalog.delta",
    .about = "keeps the rows of OneClick's catalog as OneClick has it",
    .vendor = &oneclick, .tables = tables, .call = CALL_READS, .call_names = call_names, .job_size = sizeof(struct job),
    .concurrency = "4", .timeout_ms = &oneclick_timeout_ms, .batch = 500, .settled = oneclick_settled, .check = oneclick_check,
    .decode = decode, .release = release, .told = told, .key = key, .subject = key,
    .look_names = "isbn, as_of", .look_columns = 2, .look_sql = look_sql, .look_put = look_put, .looked = looked,
    .request = request, .answer = interpret,
    .record_columns = 24, .record_sql = record_sql, .record_put = record_put,
};

int main(int argc, char **argv)
{
    return stage_main(&catalog_delta, argc, argv);
}

/* delta.c - media/delta and book-holdings/delta: which titles came and went. */
#include "producers/oneclick-catalog/feeds.h"
#include "producers/oneclick-catalog/isbn_set.h"

#include "common/json.h"
#include "common/log.h"
#include "common/loop.h"
#include "common/oneclick.h"
#include "common/scoped.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

int delta_api;

/*
 * OneClick's days are the American East's (a loan ends at its midnight): its winter's day is never ahead of OneClick's. Whether
 * the first day of a span counts, nobody says: so one day more is read.
 */
enum { EAST_S = -5 * 3600, DAY_S = 86400, OVERLAP_DAYS = 1 };

static int64_t today(void)
{
    return ((int64_t)time(NULL) + EAST_S) / DAY_S;
}

/* ---- one answer ---- */

struct span {
    char begin[11], end[11];
};

static void media_request(struct http_request *req, const void *of)
{
    const struct span *span = of;

    oneclick_delta_request(req, oneclick_library, oneclick_token, span->begin, span->end);
}

static void holdings_request(struct http_request *req, const void *of)
{
    const struct span *span = of;

    oneclick_holdings_request(req, oneclick_library, oneclick_token, span->begin, span->end);
}

struct reading {
    struct producer *p;
    const char *added, *removed; /* the lists' names */
    struct catalog_change change;
    struct isbn_set seen; /* the first list's */
    char first[24];       /* whose name it is */
    bool sorted, with_records;
    int64_t counts[2];
};

/* A title in both lists was added and removed, and nobody says in which order: the worker asks for it. */
static struct fault note_seen(struct reading *r, const char *name)
{
    if (!*r->first)
        text_copy(r->first, sizeof r->first, name);
    if (!strcmp(r->first, name))
        return isbn_set_add(&r->seen, r->change.isbn, false) ? FAULT_OK : FAULT(FATAL, "out of memory");
    if (!r->sorted)
        isbn_set_sort(&r->seen);
    r->sorted = true;
    if (isbn_set_find(&r->seen, r->change.isbn) >= 0)
        r->change.kind = CATALOG_CHECK;
    return FAULT_OK;
}

static struct fault use_title(void *of, const char *name, json_object *record, const char *bytes, size_t len)
{
    struct reading *r = of;
    bool added = !strcmp(name, r->added);

    if (!added && strcmp(name, r->removed) != 0)
        return FAULT_OK; /* a list nobody has told us of */
    struct fault f = oneclick_isbn(record, r->change.isbn);
    if (f.kind) {
        bad_isbn(record, f.what);
        return FAULT_OK;
    }
    r->change.kind = added ? CATALOG_ADDED : CATALOG_REMOVED;
    TRY(note_seen(r, name));
    r->counts[added]++;
    return send_change(r->p, &r->change, bytes, r->change.kind == CATALOG_ADDED && r->with_records ? len : 0);
}

static struct fault read_span(struct reading *r, const struct list *list, const struct span *span, const char **ret_code)
{
    struct list asked = *list;

    asked.question = span;
    asked.use = use_title;
    asked.of = r;
    TRY(ask_now(r->p, r->change.as_of));
    TRY(list_read(r->p, &asked, ret_code));
    TRY(producer_settle(r->p));
    TRY(bad_isbns_say(r->p, false));
    log_about(r->counts[0] || r->counts[1] ? LOG_INFO : LOG_DEBUG, NULL, "%s, %s to %s: %" PRId64 " added, %" PRId64 " removed", list->call,
              span->begin, span->end, r->counts[1], r->counts[0]);
    return FAULT_OK;
}

/* A list that is not there stands for none; an answer that has no list and does not say of which days it is, is none of a delta. */
static bool is_delta(const struct json_stream *s)
{
    static const char *const names[] = {"addedTitles", "removedTitles", "addedBooks", "removedBooks", ""};
    bool has = json_get(json_stream_other(s), "beginDate") != NULL;

    for (size_t i = 0; i < COUNT(names); i++)
        has |= json_stream_has(s, names[i]);
    return has;
}

static const struct list media = {.call = "media/delta", .shape = "[{[", .is_it = is_delta, .request = media_request};
static const struct list holdings = {.call = "book-holdings/delta", .shape = "{[", .is_it = is_delta, .request = holdings_request};

static struct fault read_list(struct producer *p, const struct list *list, int64_t begin, int64_t end, const char **ret_code)
{
    bool is_media = list == &media;
    struct reading r = {.p = p, .with_records = is_media, .added = is_media ? "addedTitles" : "addedBooks",
                        .removed = is_media ? "removedTitles" : "removedBooks"};
    struct span span;

    oneclick_date(begin, span.begin);
    oneclick_date(end, span.end);
    struct fault f = read_span(&r, list, &span, ret_code);
    isbn_set_free(&r.seen);
    return f;
}

/* ---- from the last day taken in to today ---- */

static struct fault note_day(struct producer *p, int64_t day)
{
    char date[11];

    oneclick_date(day, date);
    return producer_remember(p, "delta day", date);
}

static struct fault say_import_needed(struct producer *p, int64_t done)
{
    char date[11];

    oneclick_date(done, date);
    TRY(producer_do(p, "SELECT desk_say('import_needed', 'oneclick', 'the deltas are taken in up to ' || $1::text || ', and OneClick no longer has those"
                       " that follow: run oneclick-catalog --import --again', NULL)", date));
    return FAULT(RETRY, "taken in up to %s, and OneClick no longer has the days that follow: run oneclick-catalog --import --again", date);
}

static struct fault read_media(struct producer *p, int64_t done, const char **ret_code)
{
    int64_t begin, end, until = today();

    do {
        if (!oneclick_window(done - OVERLAP_DAYS, until, &begin, &end))
            return say_import_needed(p, done);
        TRY(read_list(p, &media, begin, end, ret_code));
        TRY(note_day(p, end));
        done = end;
    } while (done < until);
    return FAULT_OK;
}

static struct fault read_between(struct producer *p, const struct oneclick_dates *dates, int64_t done, const char **ret_code)
{
    int64_t begin, end;

    if (dates->count && dates->days[0] > done)
        return say_import_needed(p, done);
    if (!oneclick_align(dates, done - OVERLAP_DAYS, today(), &begin, &end))
        return FAULT_OK; /* no snapshot since */
    TRY(read_list(p, &holdings, begin, end, ret_code));
    return note_day(p, end);
}

static struct fault read_holdings(struct producer *p, int64_t done, const char **ret_code)
{
    struct oneclick_dates dates = {0};

    TRY(ask_dates(p, &dates, ret_code));
    struct fault f = read_between(p, &dates, done, ret_code);
    oneclick_dates_free(&dates);
    return f;
}

/* ---- which of the two ---- */

static struct fault read_api(struct producer *p, enum delta_api api, int64_t done, bool *ret_not_spoken)
{
    const char *code = "";
    struct fault f = api == DELTA_MEDIA ? read_media(p, done, &code) : read_holdings(p, done, &code);

    *ret_not_spoken = !strcmp(code, "not_there");
    return f;
}

/* What answered last is asked first; the other one when it is not there. */
static struct fault read_either(struct producer *p, int64_t done)
{
    static const char *const names[] = {[DELTA_MEDIA] = "media", [DELTA_HOLDINGS] = "holdings"};
    enum delta_api first = DELTA_MEDIA, other = DELTA_HOLDINGS;
    char known[16];
    bool not_spoken;

    TRY(producer_recall(p, "delta api", known, sizeof known));
    if (!strcmp(known, names[DELTA_HOLDINGS])) {
        first = DELTA_HOLDINGS;
        other = DELTA_MEDIA;
    }
    struct fault f = read_api(p, first, done, &not_spoken);
    if (not_spoken) {
        struct fault second = read_api(p, other, done, &not_spoken);
        if (not_spoken)
            return f; /* neither: address or library is wrong */
        f = second;
        first = other;
    }
    return f.kind || !strcmp(known, names[first]) ? f : producer_remember(p, "delta api", names[first]);
}

struct fault delta_read(struct producer *p)
{
    char date[16];
    bool not_spoken;

    TRY(producer_recall(p, "delta day", date, sizeof date));
    int64_t done = oneclick_day(date);
    if (done < 0)
        return FAULT(RETRY, "the mark \"delta day\" of producer_marks is no date: run oneclick-catalog --import --again");
    return delta_api == DELTA_AUTO ? read_either(p, done) : read_api(p, (enum delta_api)delta_api, done, &not_spoken);
}

static struct fault ignore(void *of, const char *name, json_object *value, const char *bytes, size_t len)
{
    (void)of;
    (void)name;
    (void)value;
    (void)bytes;
    (void)len;
    return FAULT_OK;
}

struct fault delta_check(struct producer *p, const char **ret_api)
{
    struct oneclick_dates dates = {0};
    struct span span;
    struct list asked = media;
    const char *code = "";
    struct fault f = FAULT_OK;

    oneclick_date(today() - 1, span.begin);
    oneclick_date(today(), span.end);
    asked.question = &span;
    asked.use = ignore;
    *ret_api = media.call;
    if (delta_api != DELTA_HOLDINGS)
        f = list_read(p, &asked, &code);
    if (delta_api == DELTA_HOLDINGS || (delta_api == DELTA_AUTO && !strcmp(code, "not_there"))) {
        f = ask_dates(p, &dates, &code);
        oneclick_dates_free(&dates);
        *ret_api = holdings.call;
    }
    return f;
}

/* import.c - media/all: the whole catalog, as a stream. */
#include "producers/oneclick-catalog/feeds.h"
#include "producers/oneclick-catalog/isbn_set.h"

#include "common/instant.h"
#include "common/log.h"
#include "common/oneclick.h"
#include "common/scoped.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LOG_EVERY_US = 10000000, GONE_ALWAYS = 100 };

bool import_again, import_shrunk;

/* ---- progress ---- */

static int64_t titles_before;

/* 1234567 as 1,234,567 */
static const char *grouped(int64_t n, char ret[32])
{
    char digits[24];
    int len = snprintf(digits, sizeof digits, "%" PRId64, n), at = 0;

    for (int i = 0; i < len; i++) {
        ret[at++] = digits[i];
        if (i + 1 < len && (len - i - 1) % 3 == 0)
            ret[at++] = ',';
    }
    ret[at] = '\0';
    return ret;
}

void import_line(const struct list_progress *at, int64_t before, char *ret, size_t size)
{
    char titles[32], rate[32], of[40] = "", left[40] = "";
    double seconds = (double)at->seconds_us / 1e6;
    double part = at->whole_len > 0 ? (double)at->bytes / (double)at->whole_len : before > 0 ? (double)at->elements / (double)before : 0;

    if (at->whole_len > 0)
        snprintf(of, sizeof of, " of %" PRId64, at->whole_len / 1000000);
    if (part > 0 && part <= 1 && seconds > 1) {
        int64_t s = (int64_t)(seconds / part - seconds + 0.5);
        snprintf(left, sizeof left, ", %s%" PRId64 ":%02" PRId64 " left", at->whole_len > 0 ? "" : "about ", s / 60, s % 60);
    }
    snprintf(ret, size, "%s titles, %s a second, %" PRId64 "%s MB%s", grouped(at->elements, titles),
             grouped(seconds > 0 ? (int64_t)((double)at->elements / seconds) : 0, rate), at->bytes / 1000000, of, left);
}

/* On a terminal one line that changes; in a log a line now and then. */
static void progress(const struct list_progress *at)
{
    static int64_t logged_us;
    char line[160];

    import_line(at, titles_before, line, sizeof line);
    if (isatty(STDERR_FILENO)) {
        fprintf(stderr, "\r\033[K%s", line);
        return;
    }
    if (at->seconds_us - logged_us < LOG_EVERY_US)
        return;
    logged_us = at->seconds_us;
    log_info("importing: %s", line);
}

static void progress_end(void)
{
    if (isatty(STDERR_FILENO))
        fputs("\r\033[K", stderr);
}

/* ---- the list ---- */

struct importing {
    struct producer *p;
    struct catalog_change change;
    struct isbn_set seen, gone; /* gone: ours, and not in the list */
    int64_t owned_before;
};

static void all_request(struct http_request *req, const void *question)
{
    (void)question;
    oneclick_all_request(req, oneclick_library, oneclick_token);
}

static struct fault use_title(void *of, const char *name, json_object *record, const char *bytes, size_t len)
{
    struct importing *i = of;
    struct fault f = oneclick_isbn(record, i->change.isbn);

    (void)name;
    if (f.kind) {
        bad_isbn(record, f.what);
        return FAULT_OK;
    }
    if (!isbn_set_add(&i->seen, i->change.isbn, false))
        return FAULT(FATAL, "out of memory");
    return send_change(i->p, &i->change, bytes, len);
}

static int64_t count_distinct(struct isbn_set *set)
{
    size_t distinct = 0;

    isbn_set_sort(set);
    for (size_t i = 0; i < set->count; i++)
        if (!i || set->at[i] >> 1 != set->at[i - 1] >> 1)
            set->at[distinct++] = set->at[i];
    set->count = distinct;
    return (int64_t)distinct;
}

/* ---- what we have and the catalog lacks ---- */

bool import_believes(int64_t owned, int64_t gone)
{
    return gone <= GONE_ALWAYS || gone <= owned / 10;
}

static struct fault use_ours(void *of, const PGresult *res, int row)
{
    struct importing *i = of;
    const char *isbn = PQgetvalue(res, row, 0);

    if (isbn_set_find(&i->seen, isbn) < 0 && !isbn_set_add(&i->gone, isbn, false))
        return FAULT(FATAL, "out of memory");
    return FAULT_OK;
}

static struct fault send_gone(struct importing *i)
{
    i->change.kind = CATALOG_REMOVED;
    for (size_t at = 0; at < i->gone.count; at++) {
        isbn_set_at(&i->gone, at, i->change.isbn);
        if (producer_full(i->p))
            TRY(producer_settle(i->p));
        TRY(send_change(i->p, &i->change, NULL, 0));
    }
    log_info("%zu titles are no longer in OneClick's catalog", i->gone.count);
    return producer_settle(i->p);
}

/* A vendor that answers half a catalog must not empty ours. */
static struct fault remove_gone(struct importing *i)
{
    char count[24];

    TRY(each_row(i->p, "SELECT isbn FROM titles WHERE owned AND owned_as_of < $1::timestamptz", (const char *const[]){i->change.as_of}, 1,
                 use_ours, i));
    int64_t gone = (int64_t)i->gone.count;
    if (!import_believes(i->owned_before, gone) && !import_shrunk) {
        log_warn("%" PRId64 " of %" PRId64 " titles are missing in OneClick's catalog: not believed, they stay as they are; if it is so, "
                 "run oneclick-catalog --import --again --shrunk", gone, i->owned_before);
        snprintf(count, sizeof count, "%" PRId64, gone);
        return producer_do(i->p, "SELECT desk_say('catalog_shrunk', 'oneclick', $1::text || ' titles are missing in OneClick''s catalog, and were left"
                                 " as they are: if it is so, run oneclick-catalog --import --again --shrunk', NULL)", count);
    }
    TRY(producer_do_(i->p, "SELECT desk_clear('catalog_shrunk', 'oneclick')", NULL, 0));
    return gone ? send_gone(i) : FAULT_OK;
}

/* ---- how far it came ---- */

static struct fault know_before(struct importing *i)
{
    SCOPED(PQclear) PGresult *res = NULL;
    char as_of[ASK_NOW_SIZE], titles[24];

    TRY(producer_recall(i->p, "import as of", as_of, sizeof as_of));
    if (*as_of && !import_again)
        return FAULT(MISUSE, "the catalog was imported on %.10s: OneClick asks that this be done sparingly; if it must be, add --again", as_of);
    TRY(producer_recall(i->p, "import titles", titles, sizeof titles));
    titles_before = atoll(titles);
    TRY(producer_run(i->p, &res, "SELECT count(*) FROM titles WHERE owned", 0, NULL));
    i->owned_before = atoll(PQgetvalue(res, 0, 0));
    return ask_now(i->p, i->change.as_of);
}

/* All at once: the deltas go on from the day before, for whose midnight it is, nobody says. */
static struct fault note_import(struct importing *i, int64_t titles)
{
    char count[24];

    snprintf(count, sizeof count, "%" PRId64, titles);
    return producer_do(i->p, "WITH marks AS (INSERT INTO producer_marks (producer, mark, value) VALUES ('oneclick-catalog', 'import as of', $1),"
                             " ('oneclick-catalog', 'import titles', $2), ('oneclick-catalog', 'import arrived', 'no'),"
                             " ('oneclick-catalog', 'delta day', (($1::timestamptz AT TIME ZONE 'UTC')::date - 1)::text)"
                             " ON CONFLICT (producer, mark) DO UPDATE SET value = excluded.value, set_at = clock_timestamp())"
                             " SELECT desk_clear('import_needed', 'oneclick')", i->change.as_of, count);
}

/* A statement's connection may be lost while a gigabyte goes by: it is made again, and waited for. */
static struct fault await_pg(struct importing *i)
{
    char now[ASK_NOW_SIZE];
    struct fault f = FAULT_OK;

    for (int tries = 0; tries < 60 && (f = ask_now(i->p, now)).kind == FAULT_RETRY; tries++)
        TRY(producer_pause(i->p, 1000));
    return f;
}

static struct fault import_all(struct importing *i)
{
    struct list all = {.call = "media/all", .shape = "[", .is_it = is_plain_list, .request = all_request, .use = use_title, .of = i, .progress = progress};
    const char *code;

    TRY(know_before(i));
    struct fault f = list_read(i->p, &all, &code);
    progress_end();
    if (f.kind)
        return fault_under(f, "the import broke off after %zu titles; run it again", i->seen.count);
    log_info("%zu titles read; waiting for Kafka", i->seen.count);
    TRY(producer_settle(i->p));
    int64_t titles = count_distinct(&i->seen);
    TRY(await_pg(i));
    TRY(remove_gone(i));
    TRY(bad_isbns_say(i->p, true));
    TRY(note_import(i, titles));
    log_info("imported: %" PRId64 " titles sent to catalog-delta", titles);
    return FAULT_OK;
}

struct fault import_read(struct producer *p)
{
    struct importing i = {.p = p, .change = {.kind = CATALOG_ADDED}};
    struct fault f = import_all(&i);

    isbn_set_free(&i.seen);
    isbn_set_free(&i.gone);
    return f;
}

struct fault import_arrived(struct producer *p, bool *ret)
{
    SCOPED(PQclear) PGresult *res = NULL;
    char known[8];

    TRY(producer_recall(p, "import arrived", known, sizeof known));
    *ret = !strcmp(known, "yes");
    if (*ret)
        return FAULT_OK;
    TRY(producer_run(p, &res, "SELECT catalog_arrived()", 0, NULL));
    *ret = PQgetvalue(res, 0, 0)[0] == 't';
    return *ret ? producer_remember(p, "import arrived", "yes") : FAULT_OK;
}

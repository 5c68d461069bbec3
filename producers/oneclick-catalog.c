/*
 * oneclick-catalog - what changes in OneClick's catalog, as messages: titles added and removed, titles lent out and returned.
 *   in    OneClick media/delta or book-holdings/delta, media/{eBook|eAudio}/availability, each on its interval; with --import
 *         media/all, once
 *   row   none of its own: titles is the worker's; here only what was last sent of a title's availability
 *   out   catalog.delta   key ISBN   schemas/catalog.delta.schema.json
 *
 * Every message says as of when it is so, and of two the newer one stays: so a list may be read again, two may overlap, and the
 * import may run beside the service.
 *   import        the whole catalog; what we have and it lacks is removed. Interrupted, it is simply run again.
 *   delta         from the last day that is known to be taken in, that day included, for days are all OneClick tells them by.
 *   availability  compared with the rows, so that only changes are sent. It waits until the import has become rows.
 * How far each has come is a mark in PostgreSQL, set when Kafka has acknowledged everything before it: what failed or was
 * missed is made up for. A list that fails is asked for again after a minute, then after two, four …, at most its interval.
 */
#include "common/instant.h"
#include "common/log.h"
#include "common/loop.h"
#include "common/metrics.h"
#include "common/oneclick.h"
#include "common/scoped.h"
#include "producers/oneclick-catalog/feeds.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LOOK_SECONDS = 5, ARRIVING_SECONDS = 15, RETRY_SECONDS = 60, MEDIA_TYPES_MAX = 8 };

/* ---- settings ---- */

static int64_t delta_seconds, availability_seconds;
static const int64_t look_seconds = LOOK_SECONDS;
static struct setting_list media_types;

static const struct setting settings[] = {
    {"ONECLICK_DELTA", SET_CHOICE, "auto", .choices = "auto|media|holdings", .to = &delta_api,
     .help = "which delta OneClick speaks: media/delta (until 2020), book-holdings/delta (since), or auto: found out by asking"},
    {"ONECLICK_DELTA_SECONDS", SET_WHOLE, "86400", .least = 1, .most = 864000, .to = &delta_seconds,
     .help = "how often it is read"},
    {"ONECLICK_AVAILABILITY_SECONDS", SET_WHOLE, "14400", .least = 1, .most = 864000, .to = &availability_seconds,
     .help = "how often the availability of every title is read"},
    {"ONECLICK_MEDIA_TYPES", SET_LIST, "eBook,eAudio", .to = &media_types,
     .help = "whose availability is read"},
    {0}};

static const struct setting *const tables[] = {oneclick_settings, settings, ask_settings, NULL};

static struct fault settled(void)
{
    TRY(oneclick_settled());
    if (!media_types.count || media_types.count > MEDIA_TYPES_MAX)
        return FAULT(MISUSE, "ONECLICK_MEDIA_TYPES: want one to %d, as eBook,eAudio", MEDIA_TYPES_MAX);
    for (int i = 0; i < media_types.count; i++)
        if (media_types.items[i][strspn(media_types.items[i], "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")])
            return FAULT(MISUSE, "ONECLICK_MEDIA_TYPES: want letters alone, as eBook,eAudio, found \"%.40s\"", media_types.items[i]);
    return FAULT_OK;
}

/* ---- what is due ---- */

struct feed {
    char mark[64];
    const char *media_type; /* NULL: the delta */
    const int64_t *every_s;
    int64_t due_us;
    int failures;
    bool known; /* when it was last read well is known, from the mark */
    char trouble[240];
    struct metric *good;
};

static struct feed feeds[1 + MEDIA_TYPES_MAX];
static int feed_count;
static bool imported, arrived;
static char waits[120];

static void begin(struct producer *p)
{
    (void)p;
    for (int i = 0; i <= media_types.count; i++) {
        struct feed *f = &feeds[feed_count++];
        f->media_type = i ? media_types.items[i - 1] : NULL;
        f->every_s = i ? &availability_seconds : &delta_seconds;
        snprintf(f->mark, sizeof f->mark, i ? "availability %.40s" : "delta", f->media_type);
        f->good = metric_make(METRIC_GAUGE, "shelfwire_feed_last_success_timestamp_seconds", "When a list was last taken in.",
                              "feed=\"%s\"", f->mark);
    }
}

/* When a list was last read well, however long ago this program was started. */
static struct fault know_feed(struct producer *p, struct feed *f)
{
    SCOPED(PQclear) PGresult *res = NULL;

    TRY(producer_run(p, &res, "SELECT extract(epoch FROM clock_timestamp() - set_at)::bigint, extract(epoch FROM set_at)::bigint"
                              " FROM producer_marks WHERE producer = 'oneclick-catalog' AND mark = 'good ' || $1", 1,
                     (const char *const[]){f->mark}));
    f->known = true;
    f->due_us = 0;
    if (!PQntuples(res))
        return FAULT_OK;
    f->due_us = loop_now(producer_loop(p)) + (*f->every_s - atoll(PQgetvalue(res, 0, 0))) * 1000000;
    metric_set(f->good, atof(PQgetvalue(res, 0, 1)));
    return FAULT_OK;
}

static struct fault read_feed(struct producer *p, struct feed *f)
{
    char mark[80];

    TRY(f->media_type ? availability_read(p, f->media_type) : delta_read(p));
    snprintf(mark, sizeof mark, "good %s", f->mark);
    return producer_remember(p, mark, "");
}

static struct fault take_in(struct producer *p, struct feed *f)
{
    struct fault fault = read_feed(p, f);
    int64_t pause_s = *f->every_s;

    if (fault.kind && loop_stopping(producer_loop(p)))
        return fault;
    snprintf(f->trouble, sizeof f->trouble, "%s", fault.what);
    if (fault.kind) {
        int64_t sooner_s = (int64_t)RETRY_SECONDS << (f->failures < 10 ? f->failures : 10);
        f->failures++;
        if (sooner_s < pause_s)
            pause_s = sooner_s;
        log_warn("%s: %s; trying again in %" PRId64 " s", f->mark, fault.what, pause_s);
    } else {
        f->failures = 0;
        metric_set(f->good, (double)time(NULL));
    }
    f->due_us = loop_now(producer_loop(p)) + pause_s * 1000000;
    return fault;
}

/* Whether the import was made, and has become rows: before that every title would look new. */
static struct fault know_import(struct producer *p)
{
    SCOPED(PQclear) PGresult *res = NULL;

    TRY(producer_run(p, &res, "SELECT EXISTS (SELECT FROM producer_marks WHERE producer = 'oneclick-catalog' AND mark = 'import as of')", 0, NULL));
    imported = PQgetvalue(res, 0, 0)[0] == 't';
    if (imported)
        TRY(import_arrived(p, &arrived));
    const char *why = !imported ? "the catalog was never imported: run oneclick-catalog --import"
                      : !arrived ? "availability waits until catalog-delta has taken in the import" : "";
    if (*why && strcmp(why, waits) != 0)
        log_info("%s", why);
    snprintf(waits, sizeof waits, "%s", why);
    return FAULT_OK;
}

static int64_t next_look_s(const struct producer *p)
{
    int64_t soonest_us = INT64_MAX, now = loop_now(producer_loop(p));

    if (!imported)
        return LOOK_SECONDS;
    for (int i = 0; i < feed_count; i++)
        if (feeds[i].due_us < soonest_us && (arrived || !feeds[i].media_type))
            soonest_us = feeds[i].due_us;
    int64_t s = soonest_us <= now ? 1 : (soonest_us - now) / 1000000 + 1;
    return !arrived && s > ARRIVING_SECONDS ? ARRIVING_SECONDS : s;
}

static bool once; /* every list is due, whenever it was last read */

static struct fault poll_feeds(struct producer *p)
{
    struct fault first = FAULT_OK;

    TRY(know_import(p));
    if (!imported && once)
        return FAULT(MISUSE, "%s", waits);
    for (int i = 0; imported && i < feed_count && !loop_stopping(producer_loop(p)); i++) {
        struct feed *f = &feeds[i];
        struct fault one = FAULT_OK;
        if (!f->known && !once)
            TRY(know_feed(p, f));
        if (f->media_type && !arrived)
            one = FAULT(RETRY, "%s", waits);
        else if (loop_now(producer_loop(p)) >= f->due_us)
            one = take_in(p, f);
        if (!first.kind)
            first = one;
    }
    producer_poll_in(p, next_look_s(p));
    return first;
}

static struct fault poll(struct producer *p)
{
    struct fault f = poll_feeds(p);

    availability_forget();
    return f;
}

static void trouble(struct text *why)
{
    if (*waits)
        text_printf(why, "%s; ", waits);
    for (int i = 0; i < feed_count; i++)
        if (feeds[i].trouble[0])
            text_printf(why, "%s: %s; ", feeds[i].mark, feeds[i].trouble);
}

static struct fault check(struct producer *p)
{
    const char *api;

    TRY(delta_check(p, &api));
    printf("ok  OneClick takes the token for library %s, and answers %s\n", oneclick_library, api);
    return FAULT_OK;
}

/* ---- the two ways to run it ---- */

static const char arguments[] = "[--once | --import [--again] [--shrunk]]";
static const char options[] =
    "  --once     read the delta and the availability now, send what changed, and exit\n"
    "  --import   read the whole catalog (media/all), send it, and exit: once, before anything else\n"
    "  --again    with --import: although it was imported before; OneClick asks that this be done sparingly\n"
    "  --shrunk   with --import: believe a catalog that lacks more than a tenth of the titles that we have\n";

static struct fault argued(const char *const *rest, int count)
{
    bool import = false;

    for (int i = 0; i < count; i++)
        import |= !strcmp(rest[i], "--import");
    for (int i = 0; i < count; i++) {
        if (!strcmp(rest[i], "--again") && import)
            import_again = true;
        else if (!strcmp(rest[i], "--shrunk") && import)
            import_shrunk = true;
        else if (strcmp(rest[i], "--import") != 0)
            return FAULT(MISUSE, "argument %s: want %s", rest[i], arguments);
    }
    return FAULT_OK;
}

static const struct producer_reader readers[] = {{"catalog-delta", "catalog.delta"}, {NULL, NULL}};

static const struct producer_plan service = {
    .name = "oneclick-catalog", .about = "sends what changes in OneClick's catalog: titles, and whether they can be borrowed",
    .source = "oneclick", .topic = "catalog.delta", .arguments = arguments, .options = options, .tables = tables,
    .poll_seconds = &look_seconds, .readers = readers, .argued = argued, .settled = settled, .check = check, .begin = begin,
    .poll = poll, .trouble = trouble, .resend_sql = "SELECT catalog_again()",
};

static void no_trouble(struct text *why)
{
    (void)why;
}

/* Another lock: it may run beside the service. What may have been cut from the log is the service's to look after. */
static const struct producer_reader nobody[] = {{NULL, NULL}};
static void begin_import(struct producer *p)
{
    (void)p;
}

static const struct producer_plan import = {
    .name = "oneclick-catalog", .about = "sends what changes in OneClick's catalog: titles, and whether they can be borrowed",
    .source = "oneclick import", .topic = "catalog.delta", .once = true, .arguments = arguments, .options = options, .tables = tables,
    .poll_seconds = &look_seconds, .readers = nobody, .watched = readers, .argued = argued, .settled = settled, .check = check, .begin = begin_import,
    .poll = import_read, .trouble = no_trouble,
};

int main(int argc, char **argv)
{
    const struct producer_plan *plan = &service;

    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--import"))
            plan = &import;
        once |= !strcmp(argv[i], "--once");
    }
    return producer_main(plan, argc, argv);
}

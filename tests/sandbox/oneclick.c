/*
 * oneclick - OneClick digital (RBdigital): a library's catalog, who may borrow what now, and what came and went; its patrons
 * are in oneclick_patrons.c.
 *
 * What it answers is what was recorded of the vendor, whose service is gone: NYPL-Simplified/circulation api/rbdigital.py and
 * tests/files/rbdigital. Where nothing is known (a window that is too wide, a library that is not the token's), it
 * does what README.md says.
 */
#include "oneclick.h"
#include "settings.h"

#include <inttypes.h>
#include <stdlib.h>
#include <time.h>

#define DAY_S 86400
#define DAYS_KEPT 180            /* deltas are kept so long, and shown so wide: server_core oneclick.py, get_delta */
#define DAYS_WIDE 60
#define DAILY 60                 /* snapshots of holdings: daily so far back, then monthly for so many months */
#define MONTHLY 48

static struct vendor_state state;

static char *token, *library_name, *delta_kind, *window;
static int64_t library_id, denied_status, not_found_status, bad_dates_status, per_second;
static json_object *available_dates, *strays;
static struct moment now;
static bool content_length;

static int64_t second_ns;        /* which second is counted */
static int64_t calls_in_second;

const char *const media_names[] = { "eBook", "eAudio" };

#define PATRONS oneclick_patron_settings

static const struct setting settings[] = {
    { "latency_ms", SETTING_NUMBER, &state.latency_ms, "0", "every answer waits this long", NULL },
    { "jitter_ms", SETTING_NUMBER, &state.jitter_ms, "0", "and up to this much longer", NULL },
    { "token", SETTING_TEXT, &token, "\"sandbox-oneclick-token\"", "what stands behind Basic, as it is", NULL },
    { "library_id", SETTING_INT, &library_id, "1931", "the library the token is for", NULL },
    { "library_name", SETTING_TEXT, &library_name, "\"Sandbox Public Library\"", "as media/delta says it", NULL },
    { "denied_status", SETTING_INT, &denied_status, "401", "of a wrong token, library, or too many calls", NULL },
    { "per_second", SETTING_INT, &per_second, "0", "more calls are answered like a wrong token; 0: no limit", NULL },
    { "not_found_status", SETTING_INT, &not_found_status, "200", "of an ISBN that is unknown or none", NULL },
    { "bad_dates_status", SETTING_INT, &bad_dates_status, "500", "of dates a delta cannot be made of", NULL },
    { "now", SETTING_INSTANT, &now, "null", "an instant with offset; the time stands still there", NULL },
    { "delta", SETTING_TEXT, &delta_kind, "\"both\"", "which deltas exist: media, holdings, both", NULL },
    { "delta_window", SETTING_TEXT, &window, "\"refuse\"",
      "media/delta wider than 60 days or older than 180: refuse, answer or empty", NULL },
    { "available_dates", SETTING_JSON, &available_dates, "null", "days of snapshots; null: made from the day", NULL },
    { "stray_availability", SETTING_JSON, &strays, "null", "availability of titles that are not in the catalog", NULL },
    { "content_length", SETTING_BOOL, &content_length, "false", "long answers announce it, instead of chunks", NULL },
    { "nobody_status", SETTING_INT, &PATRONS.nobody_status, "200", "of a card, e-mail or name that nobody has", NULL },
    { "patron_exists_status", SETTING_INT, &PATRONS.patron_exists_status, "409", "of a patron that exists: 409 or 500", NULL },
    { "no_user_id", SETTING_BOOL, &PATRONS.no_user_id, "false", "a patron's look-up says only patronId, as before 2018", NULL },
    { "checkout_limit", SETTING_INT, &PATRONS.checkout_limit, "10", "loans of a patron at a time", NULL },
    { "hold_limit", SETTING_INT, &PATRONS.hold_limit, "20", "loans and holds together, from which no hold is taken", NULL },
    { "told_first", SETTING_TEXT, &PATRONS.told_first, "\"exists\"", "of two conflicts: exists, or limit", NULL },
    { "loan_days", SETTING_INT, &PATRONS.loan_days, "21", "of a loan; days can only shorten it", NULL },
    { "receipt_expiration", SETTING_BOOL, &PATRONS.receipt_expiration, "false", "a checkout says when it ends", NULL },
    { "renewals_max", SETTING_INT, &PATRONS.renewals_max, "2", "of a loan", NULL },
    { "renew_from_end", SETTING_BOOL, &PATRONS.renew_from_end, "true", "a renewal counts from the end, or from today", NULL },
    { "hold_seconds", SETTING_NUMBER, &PATRONS.hold_seconds, "3600", "until a hold on what is available is a loan", NULL },
    { "empty_success", SETTING_BOOL, &PATRONS.empty_success, "false", "no body where success is said", NULL },
    { "bearer_seconds", SETTING_NUMBER, &PATRONS.bearer_seconds, "86400", "how long a patron's bearer lives", NULL },
    { "link_root", SETTING_TEXT, &PATRONS.link_root, "\"http://api.rbdigital.com\"", "what files' links begin with", NULL },
    SETTING_END
};

static const char *const shapes[] = {
    "denied", "bad_request_html", "sql_exception", "message_in_200", "bare_string", "not_found", "invalid_token", "object",
    "empty_list", "half_list", "cut_short", "repeated_row", "missing_members", NULL
};

static bool has_shape(const struct exchange *x, const char *shape)
{
    return x->shape && !strcmp(x->shape, shape);
}

bool oneclick_announced(void)
{
    return content_length;
}

/* ---- time ---- */

int64_t oneclick_today(void)
{
    return floor_div(oneclick_now_ms() / 1000 - 5 * 3600, DAY_S);
}

int64_t oneclick_now_ms(void)
{
    return now.set ? now.at.epoch_s * 1000 : wall_ms();
}

const char *oneclick_day_print(int64_t day, char buf[32])
{
    instant_print((struct instant){ day * DAY_S, 0 }, buf);
    buf[10] = '\0';
    return buf;
}

/* Seven digits behind the second, as .NET writes them. */
static void stamp_print(struct text *out)
{
    struct timespec at;
    char buf[32];

    clock_gettime(CLOCK_REALTIME, &at);
    if (now.set)
        at = (struct timespec){ now.at.epoch_s, 588733300 };
    instant_print((struct instant){ at.tv_sec, 0 }, buf);
    text_fmt(out, "%.19s.%07ldZ", buf, at.tv_nsec / 100);
}

/* A day, or an instant of which only the day counts: clients sent 2018-07-20 03:00:01.123456 (rbdigital.py, get_delta). */
static bool query_day(struct slice query, const char *name, int64_t *ret_day)
{
    struct slice s;
    char buf[64];

    if (!query_get(query, name, buf, sizeof buf, &s))
        return false;
    if (s.len > 10 && (s.at[10] == ' ' || s.at[10] == 'T'))
        s.len = 10;
    return day_read(s, ret_day);
}

/* ---- errors ---- */

void oneclick_message(struct exchange *x, int status, const char *message)
{
    text_str(answer(x, status, "application/json; charset=utf-8"), "{\"message\":");
    text_json(&x->answer.body, slice_of(message));
    text_str(&x->answer.body, "}");
}

static void error(struct exchange *x, int status, const char *code, const char *message, enum error_form form)
{
    if (!strcmp(code, "UNAUTHORIZED") && !strcmp(message, "Unauthorized"))
        message = "Invalid Basic Token or permission denied";
    if (form == ERROR_XML) {
        text_str(answer(x, status, "application/xml; charset=utf-8"), "<Error><Message>");
        text_xml(&x->answer.body, slice_of(message));
        text_str(&x->answer.body, "</Message></Error>");
        return;
    }
    oneclick_message(x, status, message);
    if (form != ERROR_LIST)
        return;
    x->answer.body.len = 0;
    text_str(&x->answer.body, "[{\"message\":");
    text_json(&x->answer.body, slice_of(message));
    text_str(&x->answer.body, "}]");
}

static int status_of(const struct exchange *x, int64_t usual)
{
    return x->shape_status ? x->shape_status : (int)usual;
}

static void denied(struct exchange *x)
{
    oneclick_message(x, status_of(x, denied_status), "Invalid Basic Token or permission denied");
}

/* What the framework adds to a message: where it ran, on which server, with which procedure (response_isbn_notfound_1.json). */
static void message_details(struct text *out, const char *model, const char *procedure)
{
    struct text stamp = { 0 };

    stamp_print(&stamp);
    text_fmt(out, "\r\nIContext: Message<%s>.Getdomain.context.request.verb.action.get\r\ndomain.context.app.context.key."
             "partner.api\r\ndomain.context.app.context.user.RBUAT\\rbaccess\r\ndomain.context.app.context.uxculture.English "
             "(United States)\r\ndomain.context.app.context.zone.UAT\r\ndomain.context.app.context.instance.RBUAT-NA-PAPI\r\n"
             "domain.context.app.context.model.%s\r\ndomain.metrix.request.begin.%.*s\r\ndomain.metrix.data.source."
             "server:10.0.1.48;database:rb;\r\ndomain.metrix.metrics.database.type.sqlserver\r\ndomain.metrix.command.text."
             "%s\r\ndomain.metrix.metrics.resultset.count.0\r\n\r\n     errorId:5b9284da-17f1-4d9f-8092-7b03a20327d3", model,
             model, (int)stamp.len, stamp.at, procedure);
    text_release(&stamp);
}

static void message_text(struct exchange *x, int status, struct text *message)
{
    text_add(message, "", 1);
    oneclick_message(x, status, message->at);
    text_release(message);
}

static void not_found(struct exchange *x, struct slice isbn)
{
    struct text message = { 0 };

    text_fmt(&message, "eXtensible Framework was unable to locate the resource for RB.API.LibraryMedia.Get     details: "
             "ICriterion: [ accept-media<String> : complete;LibraryId<Int32> : %" PRId64 ";ImageUrl<String> : "
             "http://images.oneclickdigital.com/;Isbn<String> : %.*s]", library_id, (int)isbn.len, isbn.len ? isbn.at : "");
    message_details(&message, "RB.API.LibraryMedia", "[Holdings].[LibraryMedia_GetOne]");
    message_text(x, status_of(x, not_found_status), &message);
}

static void invalid_token(struct exchange *x, struct slice value)
{
    struct text message = { 0 };

    text_fmt(&message, "Invalid 'MediaType', 'TitleId' or 'ISBN' token value supplied: %.*s", (int)value.len,
             value.len ? value.at : "");
    message_text(x, status_of(x, not_found_status), &message);
}

/* Bad input, for all its length: a statement, a stack and a host that are nobody's business. */
static void sql_exception(struct exchange *x, int64_t status)
{
    struct text message = { 0 };

    text_str(&message, "eXtensible Framework encountered a SqlException executing against 10.0.1.48 "
             "(RBUAT-SQL01.corp.example): Conversion failed when converting date and/or time from character string.\r\n\r\n"
             "SELECT TOP (1000) lm.[Isbn], lm.[TitleId], lm.[MediaType], h.[AddedOn], h.[RemovedOn]\r\n"
             "  FROM [rb].[Holdings].[LibraryMedia] lm WITH (NOLOCK)\r\n  JOIN [rb].[Holdings].[Holding] h ON "
             "h.[TitleId] = lm.[TitleId]\r\n WHERE h.[LibraryId] = @LibraryId AND h.[AddedOn] >= CONVERT(datetime, @Begin) AND "
             "h.[AddedOn] < CONVERT(datetime, @End)\r\n\r\n");
    for (int i = 0; i < 24; i++)
        text_fmt(&message, "   at System.Data.SqlClient.SqlCommand.Frame%d(CommandBehavior cmdBehavior, RunBehavior "
                 "runBehavior, Boolean returnStream) in C:\\Builds\\RBUAT\\src\\Holdings.cs:line %d\r\n", i, 112 + i * 17);
    message_details(&message, "RB.API.HoldingsDelta", "[Holdings].[LibraryMedia_Delta]");
    message_text(x, status_of(x, status), &message);
}

static void bad_dates(struct exchange *x)
{
    if (bad_dates_status >= 500)
        sql_exception(x, bad_dates_status);
    else
        oneclick_message(x, (int)bad_dates_status, "The request is invalid.");
}

static void bad_request_html(struct exchange *x)
{
    text_str(answer(x, status_of(x, 400), "text/html; charset=us-ascii"),
             "<!DOCTYPE HTML PUBLIC \"-//W3C//DTD HTML 4.01//EN\"\"http://www.w3.org/TR/html4/strict.dtd\">\r\n<HTML><HEAD>"
             "<TITLE>Bad Request</TITLE>\r\n</HEAD><BODY><h2>Bad Request - Invalid URL</h2>\r\n<hr><p>HTTP Error 400. The "
             "request is badly formed.</p>\r\n</BODY></HTML>\r\n");
}

static void no_such_path(struct exchange *x)
{
    struct text message = { 0 };

    text_fmt(&message, "No HTTP resource was found that matches the request URI '%.*s'.", (int)x->req.path.len, x->req.path.at);
    message_text(x, 404, &message);
}

/* ---- who is admitted ---- */

static bool too_many(void)
{
    int64_t second = clock_ns() / NS_PER_S;

    if (second != second_ns)
        calls_in_second = 0;
    second_ns = second;
    return per_second && ++calls_in_second > per_second;
}

/* The answers a fault asked for that do not look at what was asked. */
static bool misanswered(struct exchange *x)
{
    const char *value = x->shape_value.len ? x->shape_value.at : "An error has occurred.";

    if (!x->shape)
        return false;
    if (has_shape(x, "denied"))
        denied(x);
    else if (has_shape(x, "bad_request_html"))
        bad_request_html(x);
    else if (has_shape(x, "sql_exception"))
        sql_exception(x, 500);
    else if (has_shape(x, "message_in_200"))
        oneclick_message(x, status_of(x, 200), value);
    else if (has_shape(x, "bare_string"))
        text_json(answer(x, status_of(x, 200), "application/json; charset=utf-8"), slice_of(value));
    else if (has_shape(x, "not_found"))
        not_found(x, x->req.arg);
    else if (has_shape(x, "invalid_token"))
        invalid_token(x, x->req.arg);
    else
        return false;
    return true;
}

bool oneclick_admitted(struct exchange *x)
{
    struct slice given = x->req.authorization;
    int64_t library;

    if (!slice_starts(given, "Basic ") || !slice_is((struct slice){ given.at + 6, given.len - 6 }, token)
        || !slice_int64(x->req.args[0], &library) || library != library_id || too_many()) {
        denied(x);
        return false;
    }
    return !misanswered(x);
}

/* ---- the catalog ---- */

static void isbn_key(struct exchange *x)
{
    struct slice isbn;

    if (percent_decode(x->req.arg, false, x->key_bytes, ISBN_MAX, &isbn))
        exchange_key(x, isbn);
}

static void dates_keys(struct exchange *x)
{
    exchange_key_query(x, "begin");
    exchange_key_query(x, "end");
}

static void media_key(struct exchange *x)
{
    for (size_t i = 0; i < COUNT(media_names); i++)
        if (slice_same_nocase(x->req.arg, slice_of(media_names[i])))
            exchange_key(x, slice_of(media_names[i]));
}

/* One list in brackets; as `object`, its first row alone. */
static void answer_list(struct exchange *x, struct listing *l)
{
    bool object = has_shape(x, "object");

    l->parts = 1;
    if (object && l->part[0].count > 1)
        l->part[0].count = 1;
    text_str(&l->lead[0], object ? "" : "[");
    text_str(&l->lead[1], object ? "" : "]");
    listing_answer(x, l, "application/json; charset=utf-8");
}

static void all(struct exchange *x)
{
    struct listing *l;

    if (!oneclick_admitted(x))
        return;
    l = listing_new(row_record);
    l->part[0] = titles_now(-1);
    answer_list(x, l);
}

const struct title *oneclick_title_asked(struct exchange *x, struct slice isbn)
{
    const struct title *t = title_with(isbn);

    if (!t && isbn_valid(isbn))
        not_found(x, isbn);
    else if (!t)
        invalid_token(x, isbn);
    return t;
}

static const struct title *asked_for(struct exchange *x)
{
    return oneclick_admitted(x) ? oneclick_title_asked(x, x->key_count ? x->keys[0] : SLICE("")) : NULL;
}

static void title(struct exchange *x)
{
    const struct title *t = asked_for(x);

    if (t)
        title_record(t, answer(x, 200, "application/json; charset=utf-8"));
}

/* ---- availability ---- */

static void row_availability(const struct listing *l, const struct title *t, bool available, struct text *out)
{
    struct slice isbn;
    char buf[ISBN_LEN];

    isbn = title_isbn(t, buf);
    text_reserve(out, 192);
    text_str(out, "{\"timeStamp\":\"");
    text_str(out, l->stamp);
    text_str(out, "\",\"isbn\":");
    text_json(out, isbn);
    text_str(out, ",\"mediaType\":\"");
    text_str(out, t->media < MEDIA_OTHER ? media_names[t->media] : "");
    text_str(out, available ? "\",\"availability\":true,\"titleId\":" : "\",\"availability\":false,\"titleId\":");
    text_fmt(out, "%" PRId64 "}", t->id);
}

static void stamp_set(struct listing *l)
{
    struct text stamp = { 0 };

    stamp_print(&stamp);
    memcpy(l->stamp, stamp.at, stamp.len);
    l->stamp[stamp.len] = '\0';
    text_release(&stamp);
}

/* ISBNs the catalog does not have, behind those it has. */
static void add_strays(struct listing *l, enum media media)
{
    const char *comma = l->part[0].count ? "," : "";

    if (!json_object_is_type(strays, json_type_object))
        return;
    json_object_object_foreach(strays, isbn, type) {
        if (!type || strcmp(json_object_get_string(type), media_names[media]) != 0)
            continue;
        text_fmt(&l->lead[1], "%s{\"timeStamp\":\"%s\",\"isbn\":", comma, l->stamp);
        text_json(&l->lead[1], slice_of(isbn));
        text_fmt(&l->lead[1], ",\"mediaType\":\"%s\",\"availability\":true,\"titleId\":0}", media_names[media]);
        comma = ",";
    }
}

static void availability(struct exchange *x)
{
    enum media media = slice_is(x->keys[0], media_names[MEDIA_EBOOK]) ? MEDIA_EBOOK : MEDIA_EAUDIO;
    struct listing *l;

    if (!oneclick_admitted(x))
        return;
    l = listing_new(row_availability);
    l->part[0] = titles_now((int)media);
    stamp_set(l);
    if (!x->shape)
        add_strays(l, media);
    answer_list(x, l);
}

static void title_availability(struct exchange *x)
{
    const struct title *t = asked_for(x);
    struct listing row = { .row = NULL };

    if (!t)
        return;
    stamp_set(&row);
    row_availability(&row, t, t->available, answer(x, 200, "application/json; charset=utf-8"));
}

/* ---- media/delta ---- */

static void delta_counts(const struct listing *l, struct text *out)
{
    size_t of[2][MEDIA_OTHER + 1] = { { 0 } };

    for (size_t i = 0; i < 2; i++)
        for (size_t j = 0; j < l->part[i].count; j++)
            of[i][title_at(l->part[i].at[j] >> 1)->media]++;
    text_fmt(out, "\"eBookAddedCount\":%zu,\"eBookRemovedCount\":%zu,\"eAudioAddedCount\":%zu,\"eAudioRemovedCount\":%zu,"
             "\"titleAddedCount\":%zu,\"titleRemovedCount\":%zu", of[0][MEDIA_EBOOK], of[1][MEDIA_EBOOK], of[0][MEDIA_EAUDIO],
             of[1][MEDIA_EAUDIO], l->part[0].count, l->part[1].count);
}

/* What the two dates may leave out is what the client's own defaults were: server_core oneclick.py, get_delta. */
static bool delta_dates(struct exchange *x, int64_t *ret_begin, int64_t *ret_end)
{
    int64_t today = oneclick_today();
    bool begins = query_day(x->req.query, "begin", ret_begin), ends = query_day(x->req.query, "end", ret_end);
    char buf[64];
    struct slice s;

    if ((!begins && query_get(x->req.query, "begin", buf, sizeof buf, &s))
        || (!ends && query_get(x->req.query, "end", buf, sizeof buf, &s)))
        return false;
    if (!begins)
        *ret_begin = (ends ? *ret_end : today) - DAYS_WIDE;
    if (!ends)
        *ret_end = begins && *ret_begin + DAYS_WIDE < today ? *ret_begin + DAYS_WIDE : today;
    return *ret_begin <= *ret_end;
}

static void delta_answer(struct exchange *x, int64_t begin, int64_t end)
{
    struct listing *l = listing_new(row_record);
    bool bare = has_shape(x, "missing_members"), object = has_shape(x, "object");
    char first[32], last[32];

    l->parts = 2;
    titles_between(begin, end, &l->part[0], &l->part[1]);
    text_fmt(&l->lead[0], "%s{\"libraryId\":%" PRId64 ",\"libraryName\":", object ? "" : "[", library_id);
    text_json(&l->lead[0], slice_of(library_name));
    text_fmt(&l->lead[0], ",\"beginDate\":\"%s\",\"endDate\":\"%s\"", oneclick_day_print(begin, first),
             oneclick_day_print(end, last));
    if (bare) {
        l->parts = 0;
        text_str(&l->lead[0], "}]");
    } else {
        text_str(&l->lead[0], ",\"addedTitles\":[");
        text_str(&l->lead[1], "],\"removedTitles\":[");
        text_str(&l->lead[2], "],");
        delta_counts(l, &l->lead[2]);
        text_str(&l->lead[2], object ? "}" : "}]");
    }
    listing_answer(x, l, "application/json; charset=utf-8");
}

static void delta(struct exchange *x)
{
    int64_t begin, end;

    if (!oneclick_admitted(x))
        return;
    if (!strcmp(delta_kind, "holdings")) {
        no_such_path(x);
        return;
    }
    if (!delta_dates(x, &begin, &end)) {
        bad_dates(x);
        return;
    }
    if (end - begin > DAYS_WIDE || begin < oneclick_today() - DAYS_KEPT) {
        if (!strcmp(window, "refuse")) {
            bad_dates(x);
            return;
        }
        if (!strcmp(window, "empty"))
            x->shape = "empty_list";
    }
    if (has_shape(x, "empty_list"))
        text_str(answer(x, 200, "application/json; charset=utf-8"), "[]");
    else
        delta_answer(x, begin, end);
}

/* ---- book-holdings/delta: between two snapshots, each as of the end of its day ---- */

struct days { int64_t *at; size_t count; };

static void day_add(struct days *d, int64_t day)
{
    d->at = memory(d->at, (d->count + 1) * sizeof *d->at);
    d->at[d->count++] = day;
}

/* Months back from a day, on the first: 1 is the first of its own month. */
static int64_t month_back(int64_t day, int back)
{
    time_t at = day * DAY_S;
    struct tm tm;
    int64_t months;

    gmtime_r(&at, &tm);
    months = (int64_t)(tm.tm_year + 1900) * 12 + tm.tm_mon - back + 1;
    return day_number(months / 12, (unsigned)(months % 12) + 1, 1);
}

/* Monthly, then daily with gaps, and one row out of its place, as in response_catalog_availability_dates_multi.json. */
static struct days snapshots_usual(void)
{
    int64_t today = oneclick_today(), moved;
    struct days d = { 0 };

    for (int i = MONTHLY; i > 0; i--)
        day_add(&d, month_back(today - DAILY, i));
    for (int64_t day = today - DAILY + 1; day <= today; day++)
        if (day == today || day % 9 != 4)
            day_add(&d, day);
    moved = d.at[30];
    memmove(&d.at[4], &d.at[3], 27 * sizeof *d.at);
    d.at[3] = moved;
    return d;
}

static struct days snapshots(void)
{
    struct days d = { 0 };
    size_t count;

    if (!json_object_is_type(available_dates, json_type_array))
        return snapshots_usual();
    count = json_object_array_length(available_dates);
    for (size_t i = 0; i < count; i++) {
        const char *text = json_object_get_string(json_object_array_get_idx(available_dates, i));
        int64_t day;

        if (day_read(slice_of(text), &day))
            day_add(&d, day);
    }
    return d;
}

/* Holdings deltas exist, and the caller may ask. */
static bool holdings_admitted(struct exchange *x)
{
    if (!oneclick_admitted(x))
        return false;
    if (strcmp(delta_kind, "media") != 0)
        return true;
    no_such_path(x);
    return false;
}

static void dates(struct exchange *x)
{
    struct text *out;
    struct days d;

    if (!holdings_admitted(x))
        return;
    d = snapshots();
    if (has_shape(x, "empty_list"))
        d.count = 0;
    else if (has_shape(x, "half_list"))
        d.count /= 2;
    out = answer(x, 200, "application/json; charset=utf-8");
    text_str(out, has_shape(x, "object") ? "" : "[");
    for (size_t i = 0; i < d.count; i++) {
        int64_t of[MEDIA_OTHER + 1];
        char day[32];

        titles_held(d.at[i], of);
        text_fmt(out, "%s{\"tenantId\":%" PRId64 ",\"asOf\":\"%s\",\"eBookCount\":%" PRId64 ",\"eAudioCount\":%" PRId64
                 ",\"totalCount\":%" PRId64 "}", i ? "," : "", library_id, oneclick_day_print(d.at[i], day), of[MEDIA_EBOOK],
                 of[MEDIA_EAUDIO], of[MEDIA_EBOOK] + of[MEDIA_EAUDIO]);
        if (has_shape(x, "object"))
            break;
    }
    text_str(out, has_shape(x, "object") ? "" : "]");
    free(d.at);
}

static bool is_snapshot(int64_t day)
{
    struct days d = snapshots();
    bool found = false;

    for (size_t i = 0; i < d.count; i++)
        found |= d.at[i] == day;
    free(d.at);
    return found;
}

static void row_holding(const struct listing *l, const struct title *t, bool available, struct text *out)
{
    struct slice isbn;
    char buf[ISBN_LEN];

    (void)l;
    (void)available;
    isbn = title_isbn(t, buf);
    text_fmt(out, "{\"id\":%" PRId64 ",\"isbn\":", t->id);
    text_json(out, isbn);
    text_fmt(out, ",\"mediaType\":\"%s\"}", t->media < MEDIA_OTHER ? media_names[t->media] : "");
}

static void holdings(struct exchange *x)
{
    char first[32], last[32];
    struct listing *l;
    int64_t begin, end;

    if (!holdings_admitted(x))
        return;
    if (!query_day(x->req.query, "begin", &begin) || !query_day(x->req.query, "end", &end) || begin >= end
        || !is_snapshot(begin) || !is_snapshot(end)) {
        bad_dates(x);
        return;
    }
    l = listing_new(row_holding);
    l->parts = 2;
    titles_between(begin + 1, end, &l->part[0], &l->part[1]);
    text_fmt(&l->lead[0], "{\"tenantId\":%" PRId64 ",\"beginDate\":\"%s\",\"endDate\":\"%s\"", library_id,
             oneclick_day_print(begin, first), oneclick_day_print(end, last));
    if (has_shape(x, "missing_members")) {
        l->parts = 0;
        text_str(&l->lead[0], "}");
    } else {
        text_str(&l->lead[0], ",\"addedBooks\":[");
        text_str(&l->lead[1], "],\"removedBooks\":[");
        text_fmt(&l->lead[2], "],\"booksAddedCount\":%zu,\"booksRemovedCount\":%zu}", l->part[0].count, l->part[1].count);
    }
    listing_answer(x, l, "application/json; charset=utf-8");
}

/* ---- the vendor ---- */

static void reset(unsigned what)
{
    if (what & RESET_DATA)
        titles_reset();
    patrons_reset(what);
    if (what & RESET_COUNTS)
        second_ns = calls_in_second = 0;
}

static void count(struct text *out)
{
    titles_count(out);
    patrons_count(out);
}

static const struct call calls[] = {
    { HTTP_GET,    "/libraries/{}/media/all",                            "all", NULL, all },
    { HTTP_GET,    "/libraries/{}/media/delta",                          "delta", dates_keys, delta },
    { HTTP_GET,    "/libraries/{}/media/{eBook|eAudio}/availability",    "availability", media_key, availability },
    { HTTP_GET,    "/libraries/{}/media/{}/availability",                "title_availability", isbn_key, title_availability },
    { HTTP_GET,    "/libraries/{}/media/{}",                             "title", isbn_key, title },
    { HTTP_GET,    "/libraries/{}/book-holdings/delta/available-dates",  "dates", NULL, dates },
    { HTTP_GET,    "/libraries/{}/book-holdings/delta",                  "holdings", dates_keys, holdings },
    { HTTP_GET,    "/rpc/libraries/{}/patrons/{}",                       "find", patron_key, patron_find },
    { HTTP_GET,    "/libraries/{}/patrons/{}",                           "patron", patron_key, patron_read },
    { HTTP_POST,   "/libraries/{}/patrons/",                             "create", create_key, patron_create },
    { HTTP_POST,   "/libraries/{}/tokens",                               "bearer", NULL, patron_bearer },
    { HTTP_GET,    "/libraries/{}/patrons/{}/checkouts/{|all}",          "loans", patron_key, patron_loans },
    { HTTP_POST,   "/libraries/{}/patrons/{}/checkouts/{}",              "checkout", item_keys, patron_checkout },
    { HTTP_PUT,    "/libraries/{}/patrons/{}/checkouts/{}",              "renew", item_keys, patron_renew },
    { HTTP_DELETE, "/libraries/{}/patrons/{}/checkouts/{}",              "return", item_keys, patron_return },
    { HTTP_GET,    "/libraries/{}/patrons/{}/holds/",                    "holds", patron_key, patron_holds },
    { HTTP_POST,   "/libraries/{}/patrons/{}/holds/{}",                  "hold", item_keys, patron_hold },
    { HTTP_DELETE, "/libraries/{}/patrons/{}/holds/{}",                  "cancel_hold", item_keys, patron_cancel },
    { HTTP_GET,    "/libraries/{}/patrons/{}/patron-magazines/history",  "history", patron_key, patron_history },
    { HTTP_POST,   "/libraries/{}/patrons/{}/patron-magazines/{}",       "magazine", item_keys, patron_magazine },
    { HTTP_DELETE, "/libraries/{}/patrons/{}/patron-magazines/{}",       "magazine_return", item_keys, patron_magazine_return },
    { HTTP_GET,    "/libraries/{}/search",                               "search", NULL, oneclick_search },
    { HTTP_GET,    "/libraries/{}/search/{ebook|eaudio}/{bestsellers|most-popular|newly-added}",
      "shelf", NULL, oneclick_shelf },
    { HTTP_GET,    "/media/{}/parts/{}/download-url",                    "download", download_key, patron_download },
    { HTTP_GET,    NULL,                                                 "other", NULL, no_such_path },
};

static const struct call admin[] = {
    { HTTP_POST,   "/generate",     "generate",     NULL, admin_generate },
    { HTTP_GET,    "/titles",       "titles",       NULL, admin_list_titles },
    { HTTP_POST,   "/titles",       "post",         NULL, admin_post_titles },
    { HTTP_GET,    "/titles/{}",    "title",        NULL, admin_one_title },
    { HTTP_PATCH,  "/titles/{}",    "patch",        NULL, admin_patch_title },
    { HTTP_DELETE, "/titles/{}",    "delete",       NULL, admin_delete_title },
    { HTTP_POST,   "/availability", "availability", NULL, admin_availability },
    { HTTP_GET,    "/count",        "count",        NULL, admin_count_titles },
    { HTTP_GET,    "/patrons",      "patrons",      NULL, admin_list_patrons },
    { HTTP_POST,   "/patrons",      "post_patrons", NULL, admin_post_patrons },
    { HTTP_DELETE, "/patrons/{}",   "forget",       NULL, admin_forget_patron },
    { HTTP_POST,   "/convert",      "convert",      NULL, admin_convert },
    { HTTP_POST,   "/bookmarks",    "bookmarks",    NULL, admin_bookmarks },
    { HTTP_GET,    NULL,            NULL,           NULL, NULL },
};

_Static_assert(COUNT(calls) <= CALLS_MAX, "every call is counted");

const struct vendor oneclick = {
    .name = "oneclick", .prefixes = { "/v1" }, .calls = calls, .admin = admin, .settings = settings, .shapes = shapes,
    .state = &state, .reset = reset, .error = error, .count = count,
    .answered = patrons_answered, .effects = patrons_effects,
};

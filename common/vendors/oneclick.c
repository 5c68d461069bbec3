#include "common/vendors/oneclick.h"

#include "common/instant.h"
#include "common/scoped.h"
#include "common/vendors/oneclick_answer.h"
#include "common/vendors/reading.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { DAY_S = 86400, DATE_SIZE = sizeof "2026-10-12", YEAR_MIN = 1000 };

/* ---- days ---- */

/* The date in front of an instant, or alone. 0001-01-01 is what .NET writes where there is none. */
static bool read_date(const char *written, char ret[DATE_SIZE])
{
    static const char shape[] = "0000-00-00";
    static const int month_days[] = {31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    int parts[3] = {0};

    ret[0] = '\0';
    for (int i = 0, part = 0; shape[i]; i++) {
        if (shape[i] == '-' ? written[i] != '-' : written[i] < '0' || written[i] > '9')
            return false;
        if (shape[i] == '-')
            part++;
        else
            parts[part] = parts[part] * 10 + (written[i] - '0');
    }
    bool leap = parts[0] % 4 == 0 && (parts[0] % 100 != 0 || parts[0] % 400 == 0);
    if (!strchr("Tt ", written[10]) || parts[0] < YEAR_MIN || parts[1] < 1 || parts[1] > 12 || parts[2] < 1 ||
        parts[2] > month_days[parts[1] - 1] || (parts[1] == 2 && parts[2] == 29 && !leap))
        return false;
    memcpy(ret, written, DATE_SIZE - 1);
    ret[DATE_SIZE - 1] = '\0';
    return true;
}

int64_t oneclick_day(const char *date)
{
    char midnight[INSTANT_SIZE];
    int64_t instant;

    if (strlen(date) != DATE_SIZE - 1)
        return -1;
    snprintf(midnight, sizeof midnight, "%sT00:00:00Z", date);
    return instant_read(midnight, &instant, NULL) ? instant / DAY_S : -1;
}

void oneclick_date(int64_t day, char ret[11])
{
    char midnight[INSTANT_SIZE];

    instant_write(day * DAY_S, midnight);
    memcpy(ret, midnight, DATE_SIZE - 1);
    ret[DATE_SIZE - 1] = '\0';
}

bool oneclick_window(int64_t done, int64_t today, int64_t *ret_begin, int64_t *ret_end)
{
    *ret_begin = done < today ? done : today;
    *ret_end = today - *ret_begin > ONECLICK_WINDOW_DAYS ? *ret_begin + ONECLICK_WINDOW_DAYS : today;
    return today - *ret_begin <= ONECLICK_DELTA_DAYS;
}

bool oneclick_align(const struct oneclick_dates *dates, int64_t begin, int64_t end, int64_t *ret_begin, int64_t *ret_end)
{
    size_t first = 0, last = 0;

    if (!dates->count)
        return false;
    while (first + 1 < dates->count && dates->days[first + 1] <= begin)
        first++;
    while (last + 1 < dates->count && dates->days[last] < end)
        last++;
    *ret_begin = dates->days[first];
    *ret_end = dates->days[last];
    return *ret_begin < *ret_end;
}

/* ---- a title ---- */

struct fault oneclick_isbn(json_object *element, char ret[VALUES_ISBN_SIZE])
{
    char written[40]; /* what is cut to this has too many digits, or something between them */

    ret[0] = '\0';
    if (!json_object_is_type(element, json_type_object))
        return FAULT(REJECT, "want an object, found %s", json_type_to_name(json_object_get_type(element)));
    reading_text(element, "isbn", written, sizeof written);
    if (!written[0])
        return FAULT(REJECT, "isbn: missing, or no text");
    struct fault f = values_isbn(written, ret);
    return written[strspn(written, "0123456789- Xx")] ? fault_under(f, "isbn") : fault_under(f, "isbn %s", written);
}

static size_t string_size(json_object *value)
{
    return json_object_is_type(value, json_type_string) ? (size_t)json_object_get_string_len(value) + 1 : 1;
}

/* A record's texts, each looked for once. */
enum member { TITLE, SERIES, PUBLISHER, DESCRIPTION, AUDIENCE, LANGUAGE, MEDIA_TYPE, AUTHORS, NARRATORS, GENRES, PRIMARY_GENRE, MEMBERS };
static const char *const members[MEMBERS] = {"title",     "seriesName", "publisher", "description", "audience",    "language",
                                             "mediaType", "authors",    "narrators", "genres",      "primaryGenre"};

/* What all texts need at most. Splitting a list needs no more: a separator's place is taken by a final zero. */
static size_t texts_size(json_object *const of[MEMBERS], json_object *images)
{
    size_t size = 0;

    for (int i = 0; i < MEMBERS; i++)
        size += string_size(of[i]);
    for (size_t i = 0; i < reading_count(images); i++)
        size += string_size(json_get(reading_at(images, i), "name")) + string_size(json_get(reading_at(images, i), "url"));
    return size;
}

/* Puts a text behind those before it; "" is one too. */
static char *put_text(char **at, json_object *value)
{
    char *text = *at;

    text[0] = '\0';
    if (json_object_is_type(value, json_type_string))
        reading_text_of(value, text, string_size(value));
    *at = text + strlen(text) + 1;
    return text;
}

static struct oneclick_list put_list(char **at, json_object *value, char separator)
{
    struct oneclick_list list = {.at = *at};
    char *item = put_text(at, value), *to = item, *next;

    for (; item; item = next) {
        const char *bytes = item;
        next = strchr(item, separator);
        size_t len = next ? (size_t)(next - item) : strlen(item);
        next = next ? next + 1 : NULL;
        reading_trim(&bytes, &len);
        if (!len)
            continue;
        memmove(to, bytes, len);
        to[len] = '\0';
        to += len + 1;
        list.count++;
    }
    return list;
}

static struct oneclick_list put_images(char **at, json_object *images)
{
    struct oneclick_list list = {.at = *at};

    for (size_t i = 0; i < reading_count(images); i++) {
        char *before = *at;
        put_text(at, json_get(reading_at(images, i), "name"));
        if (*put_text(at, json_get(reading_at(images, i), "url")))
            list.count += 2;
        else
            *at = before;
    }
    return list;
}

static int32_t small_number(json_object *record, const char *key)
{
    int64_t n = reading_int(record, key);

    return n <= INT32_MAX ? (int32_t)n : 0;
}

/* Without a series it is absent, or this; the numbers beside it then say nothing. */
static void read_series(json_object *record, struct oneclick_title *to)
{
    if (!strcasecmp(to->series, "Default Blank"))
        to->series = "";
    if (!*to->series)
        return;
    to->series_position = small_number(record, "seriesPosition");
    to->series_total = small_number(record, "seriesTotal");
}

static struct fault read_texts(json_object *record, struct oneclick_title *to)
{
    json_object *images = json_get(record, "images"), *of[MEMBERS];

    for (int i = 0; i < MEMBERS; i++)
        of[i] = json_get(record, members[i]);
    char *at = to->memory = malloc(texts_size(of, images));
    if (!at)
        return FAULT(FATAL, "out of memory");
    to->title = put_text(&at, of[TITLE]);
    to->publisher = put_text(&at, of[PUBLISHER]);
    to->description = put_text(&at, of[DESCRIPTION]);
    to->audience = put_text(&at, of[AUDIENCE]);
    to->language = put_text(&at, of[LANGUAGE]);
    to->media_type = put_text(&at, of[MEDIA_TYPE]);
    to->authors = put_list(&at, of[AUTHORS], ';');
    to->narrators = put_list(&at, of[NARRATORS], ';');
    to->genres = put_list(&at, of[GENRES], ';');
    to->primary_genres = put_list(&at, of[PRIMARY_GENRE], ',');
    to->images = put_images(&at, images);
    to->series = put_text(&at, of[SERIES]);
    read_series(record, to);
    return FAULT_OK;
}

struct fault oneclick_title_read(json_object *record, struct oneclick_title *ret)
{
    json_object *rights = json_get(record, "hasDigitalRights");
    char published[40];

    *ret = (struct oneclick_title){0};
    TRY(oneclick_isbn(record, ret->isbn));
    struct fault f = read_texts(record, ret);
    if (f.kind) {
        *ret = (struct oneclick_title){0};
        return f;
    }
    ret->title_prefix = values_collation(ret->title, ret->language);
    reading_text(record, "publicationDate", published, sizeof published);
    read_date(published, ret->publication_date);
    ret->title_id = reading_int(record, "titleId");
    ret->has_rights_flag = json_object_is_type(rights, json_type_boolean);
    ret->digital_rights = ret->has_rights_flag && json_object_get_boolean(rights);
    return FAULT_OK;
}

void oneclick_title_free(struct oneclick_title *title)
{
    free(title->memory);
    *title = (struct oneclick_title){0};
}

/* ---- availability ---- */

/* An instant in UTC, with the fraction it had, of which nine digits count. */
static void read_instant(const char *written, char ret[ONECLICK_INSTANT_SIZE])
{
    enum { FRACTION_MAX = 9 };
    const char *point = strchr(written, '.');
    char whole[INSTANT_SIZE];
    int64_t instant;

    ret[0] = '\0';
    if (!instant_read(written, &instant, NULL))
        return;
    instant_write(instant, whole);
    size_t digits = point ? strspn(point + 1, "0123456789") : 0;
    if (digits > FRACTION_MAX)
        digits = FRACTION_MAX;
    snprintf(ret, ONECLICK_INSTANT_SIZE, "%.*s%s%.*sZ", INSTANT_SIZE - 2, whole, digits ? "." : "", (int)digits,
             digits ? point + 1 : "");
}

struct fault oneclick_availability_read(json_object *element, struct oneclick_availability *ret)
{
    json_object *available = json_get(element, "availability");
    char written[64];

    *ret = (struct oneclick_availability){0};
    TRY(oneclick_isbn(element, ret->isbn));
    if (!json_object_is_type(available, json_type_boolean)) {
        *ret = (struct oneclick_availability){0};
        return FAULT(REJECT, "availability: want true or false, found %s", json_type_to_name(json_object_get_type(available)));
    }
    ret->available = json_object_get_boolean(available);
    if (reading_text(element, "timeStamp", written, sizeof written))
        read_instant(written, ret->at);
    return FAULT_OK;
}

/* ---- requests ---- */

static void begin_request(struct http_request *req, const char *library, const char *token)
{
    oneclick_begin(req, "GET", "/v1/libraries/", library, token);
}

static void span(struct http_request *req, const char *begin, const char *end)
{
    http_request_query(req, "begin", begin);
    http_request_query(req, "end", end);
}

void oneclick_all_request(struct http_request *req, const char *library, const char *token)
{
    begin_request(req, library, token);
    text_puts(&req->target, "/media/all");
}

void oneclick_title_request(struct http_request *req, const char *library, const char *token, const char *isbn)
{
    begin_request(req, library, token);
    text_puts(&req->target, "/media/");
    text_percent(&req->target, isbn);
}

void oneclick_delta_request(struct http_request *req, const char *library, const char *token, const char *begin,
                            const char *end)
{
    begin_request(req, library, token);
    text_puts(&req->target, "/media/delta");
    span(req, begin, end);
}

void oneclick_dates_request(struct http_request *req, const char *library, const char *token)
{
    begin_request(req, library, token);
    text_puts(&req->target, "/book-holdings/delta/available-dates");
}

void oneclick_holdings_request(struct http_request *req, const char *library, const char *token, const char *begin,
                               const char *end)
{
    begin_request(req, library, token);
    text_puts(&req->target, "/book-holdings/delta");
    span(req, begin, end);
}

void oneclick_availability_request(struct http_request *req, const char *library, const char *token, const char *media_type)
{
    begin_request(req, library, token);
    text_puts(&req->target, "/media/");
    text_percent(&req->target, media_type);
    text_puts(&req->target, "/availability");
}

/* ---- what an answer means ---- */

struct answer oneclick_title_answer(const struct http_response *res, const char *isbn, struct oneclick_title *ret)
{
    struct answer a;

    *ret = (struct oneclick_title){0};
    if (res->end != HTTP_ANSWERED)
        return reading_unanswered(res);
    SCOPED(json_object_put) json_object *body = reading_json(res);
    struct oneclick_message m = oneclick_message_of(res, body);
    if (oneclick_decided(res, &m, true, &a))
        return a;
    struct fault f = oneclick_title_read(body, ret);
    if (f.kind)
        return answer_make(LATER, CAUSE_VENDOR, "garbled", "OneClick answers HTTP %d, but no title: %s", res->status, f.what);
    if (strcmp(ret->isbn, isbn)) {
        oneclick_title_free(ret);
        return oneclick_garbled(res, "the record of another ISBN");
    }
    return answer_make(DONE, CAUSE_WORK, "found", "found");
}

struct answer oneclick_list_answer(const struct http_response *res, bool listed)
{
    struct answer a;

    if (res->end != HTTP_ANSWERED)
        return reading_unanswered(res);
    SCOPED(json_object_put) json_object *body = reading_json(res);
    struct oneclick_message m = oneclick_message_of(res, body);
    if (oneclick_decided(res, &m, false, &a))
        return a;
    if (!listed)
        return oneclick_garbled(res, "no whole list");
    return answer_make(DONE, CAUSE_WORK, "listed", "listed");
}

/* ---- snapshots ---- */

static int compare_days(const void *a, const void *b)
{
    int64_t one = *(const int64_t *)a, other = *(const int64_t *)b;

    return (one > other) - (one < other);
}

static void sort_days(struct oneclick_dates *dates)
{
    size_t kept = 0;

    qsort(dates->days, dates->count, sizeof *dates->days, compare_days);
    for (size_t i = 0; i < dates->count; i++)
        if (!kept || dates->days[kept - 1] != dates->days[i])
            dates->days[kept++] = dates->days[i];
    dates->count = kept;
}

static struct answer read_dates(const struct http_response *res, json_object *rows, struct oneclick_dates *ret)
{
    size_t count = json_object_array_length(rows);

    ret->days = malloc((count + 1) * sizeof *ret->days);
    if (!ret->days)
        return oneclick_garbled(res, "there is no memory for it");
    for (size_t i = 0; i < count; i++) {
        char written[40], date[DATE_SIZE];
        reading_text(json_object_array_get_idx(rows, i), "asOf", written, sizeof written);
        int64_t day = read_date(written, date) ? oneclick_day(date) : -1;
        if (day >= 0)
            ret->days[ret->count++] = day;
    }
    if (count && !ret->count) {
        oneclick_dates_free(ret);
        return oneclick_garbled(res, "no date in any row");
    }
    sort_days(ret);
    return answer_make(DONE, CAUSE_WORK, "listed", "%zu dates", ret->count);
}

struct answer oneclick_dates_answer(const struct http_response *res, struct oneclick_dates *ret)
{
    struct answer a;

    *ret = (struct oneclick_dates){0};
    if (res->end != HTTP_ANSWERED)
        return reading_unanswered(res);
    SCOPED(json_object_put) json_object *body = reading_json(res);
    struct oneclick_message m = oneclick_message_of(res, body);
    if (oneclick_decided(res, &m, false, &a))
        return a;
    return json_object_is_type(body, json_type_array) ? read_dates(res, body, ret) : oneclick_garbled(res, "no list of dates");
}

void oneclick_dates_free(struct oneclick_dates *dates)
{
    free(dates->days);
    *dates = (struct oneclick_dates){0};
}

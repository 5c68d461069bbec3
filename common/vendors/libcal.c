#include "common/vendors/libcal.h"

#include "common/instant.h"
#include "common/scoped.h"
#include "common/vendors/reading.h"

#include <inttypes.h>
#include <string.h>
#include <strings.h>

enum { HOUR_S = 3600, EXPIRES_MAX_S = 30 * 86400 };

/* ---- token ---- */

static bool is_number(const char *text)
{
    size_t len = strlen(text);

    return len && len <= 18 && strspn(text, "0123456789") == len && (text[0] != '0' || len == 1);
}

void libcal_token_request(struct http_request *req, const char *client_id, const char *client_secret)
{
    http_request_reset(req, "POST", "/1.1/oauth/token");
    http_request_header(req, "Content-Type", "application/json");
    http_request_header(req, "Accept", "application/json");
    text_puts(&req->body, "{\"client_id\":");
    if (is_number(client_id))
        text_puts(&req->body, client_id);
    else
        text_json(&req->body, client_id);
    text_puts(&req->body, ",\"client_secret\":");
    text_json(&req->body, client_secret);
    text_puts(&req->body, ",\"grant_type\":\"client_credentials\"}");
}

static struct answer quoted(enum verdict verdict, enum cause cause, const char *code, const char *what, int status,
                            const char *words, size_t len)
{
    char said[READING_WORDS_SIZE];

    reading_words(said, words, len, NULL, 0);
    return said[0] ? answer_make(verdict, cause, code, "%s (HTTP %d): %s", what, status, said)
                   : answer_make(verdict, cause, code, "%s (HTTP %d)", what, status);
}

/* What the status alone decides, with or without a token. */
static struct answer unwell(const struct http_response *res)
{
    struct answer a;

    if (res->status < 300)
        a = answer_make(LATER, CAUSE_VENDOR, "garbled", "LibCal answers HTTP %d, where 200 was expected", res->status);
    else if (res->status == 429)
        a = answer_make(LATER, CAUSE_RATE, "rate", "LibCal asks to slow down (HTTP 429)");
    else if (res->status >= 500)
        a = answer_make(LATER, CAUSE_VENDOR, "unwell", "LibCal is unwell (HTTP %d)", res->status);
    else if (res->status >= 400)
        a = answer_make(LATER, CAUSE_VENDOR, "refused", "LibCal, or something before it, refuses the call (HTTP %d)",
                        res->status);
    else
        a = answer_make(LATER, CAUSE_VENDOR, "redirected", "LibCal answers elsewhere (HTTP %d): is LIBCAL_URL right?",
                        res->status);
    return reading_wait(a, res, -1);
}

struct answer libcal_token_answer(const struct http_response *res, struct libcal_token *ret)
{
    static const char *const its_fault[] = {"server_error", "temporarily_unavailable", NULL};
    const char *words = "";
    size_t len = 0;

    *ret = (struct libcal_token){0};
    if (res->end != HTTP_ANSWERED)
        return reading_unanswered(res);
    SCOPED(json_object_put) json_object *body = reading_json(res);
    bool failed = reading_error(body, &words, &len);
    bool may_refuse = res->status == 200 || (res->status >= 400 && res->status < 500 && res->status != 429);
    if (failed && may_refuse && reading_says(words, len, its_fault))
        return quoted(LATER, CAUSE_VENDOR, "unwell", "LibCal gives no token", res->status, words, len);
    /* also as a 200 with {"error":"invalid_client"} (LibCal facts, 1.1) */
    if (res->status == 401 || res->status == 403 || (failed && may_refuse))
        return quoted(LATER, CAUSE_CREDENTIALS, "login_refused", "LibCal refuses the client id or secret", res->status,
                      words, len);
    if (res->status != 200)
        return unwell(res);
    if (!reading_token(body, "access_token", ret->token, sizeof ret->token))
        return answer_make(LATER, CAUSE_VENDOR, "garbled", "LibCal answers HTTP 200, but no token");
    ret->expires_s = reading_int(body, "expires_in");
    if (!ret->expires_s)
        ret->expires_s = HOUR_S;
    if (ret->expires_s > EXPIRES_MAX_S)
        ret->expires_s = EXPIRES_MAX_S;
    return answer_make(DONE, CAUSE_WORK, "token", "a token");
}

/* ---- questions with a token ---- */

static void common_parts(struct http_request *req, const char *token)
{
    struct text authorization = {0};

    text_puts(&authorization, "Bearer ");
    text_puts(&authorization, token);
    http_request_header(req, "Authorization", text_str(&authorization));
    http_request_header(req, "Accept", "application/json");
    text_free(&authorization);
}

static void query_int(struct http_request *req, const char *name, int64_t value)
{
    char digits[24];

    snprintf(digits, sizeof digits, "%" PRId64, value);
    http_request_query(req, name, digits);
}

/*
 * Reads a list. Errors are not uniform (LibCal facts, 1.0): by status first, then by kind of body, then by its shape.
 * DONE: *ret_list is an array, the caller's.
 */
static struct answer list_answer(const struct http_response *res, json_object **ret_list)
{
    static const char *const of_token[] = {"invalid token",  "invalid_token",  "expired",
                                           "access token",   "access_token",   "unauthorized", NULL};
    const char *words = "";
    size_t len = 0;

    *ret_list = NULL;
    if (res->end != HTTP_ANSWERED)
        return reading_unanswered(res);
    SCOPED(json_object_put) json_object *body = reading_json(res);
    bool failed = reading_error(body, &words, &len);
    bool told = failed && (res->status == 200 || res->status == 400);
    if (res->status == 401 || (told && reading_says(res->body, res->body_len, of_token)))
        return answer_make(LATER, CAUSE_TOKEN, "token_refused", "LibCal refuses the token (HTTP %d)", res->status);
    if (res->status == 403)
        return answer_make(LATER, CAUSE_CREDENTIALS, "scope",
                           "LibCal does not let this application read spaces (HTTP 403): grant it the scope sp_r");
    if (res->status == 400 && !reading_is_markup(res) && res->body_len) {
        if (body && !failed)
            len = 0;
        else if (!failed)
            words = res->body, len = res->body_len;
        return quoted(REJECTED, CAUSE_WORK, "bad_request", "LibCal refuses the question", res->status, words, len);
    }
    if (res->status != 200)
        return unwell(res);
    if (failed)
        return quoted(LATER, CAUSE_VENDOR, "garbled", "LibCal answers an error instead of a list", res->status, words,
                      len);
    if (!json_object_is_type(body, json_type_array))
        return answer_make(LATER, CAUSE_VENDOR, "garbled", "LibCal answers HTTP 200, but no %s", body ? "list" : "JSON");
    *ret_list = body;
    body = NULL;
    return answer_make(DONE, CAUSE_WORK, "listed", "%zu in the list", reading_count(*ret_list));
}

/* ---- bookings ---- */

void libcal_bookings_request(struct http_request *req, const char *token, int64_t lid, int days_ahead, int page)
{
    http_request_reset(req, "GET", "/1.1/space/bookings");
    query_int(req, "lid", lid);
    query_int(req, "days", days_ahead);
    query_int(req, "limit", LIBCAL_PAGE_ROWS);
    query_int(req, "page", page);
    query_int(req, "form_answers", 1);
    query_int(req, "check_in_status", 1);
    query_int(req, "include_cancel", 1);
    query_int(req, "include_denied", 1);
    query_int(req, "include_tentative", 1);
    common_parts(req, token);
}

void libcal_by_id_request(struct http_request *req, const char *token, const char *const *book_ids, size_t count)
{
    http_request_reset(req, "GET", "/1.1/space/booking/");
    for (size_t i = 0; i < count && i < LIBCAL_IDS_MAX; i++) {
        if (i)
            text_putc(&req->target, ',');
        text_percent(&req->target, book_ids[i]);
    }
    query_int(req, "form_answers", 1);
    query_int(req, "check_in_status", 1);
    common_parts(req, token);
}

void libcal_rows_free(struct libcal_rows *rows)
{
    free(rows->at);
    free(rows->bad);
    *rows = (struct libcal_rows){0};
}

/* Room for one more; false when memory is out. */
static bool grow(void **at, size_t count, size_t *room, size_t size)
{
    if (count < *room)
        return true;
    size_t want = *room ? *room * 2 : 64;
    void *more = realloc(*at, want * size);
    if (!more)
        return false;
    *at = more;
    *room = want;
    return true;
}

/* The answer as typed, for libcal_asked_id to judge: control characters stay, so that it refuses them. */
static bool copy_typed(json_object *value, char *ret, size_t size)
{
    ret[0] = '\0';
    if (!json_object_is_type(value, json_type_string))
        return reading_text_of(value, ret, size);
    const char *bytes = json_object_get_string(value);
    size_t len = (size_t)json_object_get_string_len(value);
    reading_trim(&bytes, &len);
    if (len >= size)
        return false;
    memcpy(ret, bytes, len);
    ret[len] = '\0';
    for (size_t i = 0; i < len; i++)
        if (!ret[i]) /* a zero byte is a control character too, and must not hide what follows it */
            ret[i] = '\x01';
    return true;
}

static void read_form_answer(json_object *entry, const char *question, struct libcal_row *row)
{
    json_object *choices = question ? json_get(entry, question) : NULL;

    for (size_t i = 0; i < reading_count(choices) && !row->answer[0] && !row->answer_too_long; i++)
        row->answer_too_long = !copy_typed(reading_at(choices, i), row->answer, sizeof row->answer);
    if (row->answer_too_long)
        row->answer[0] = '\0';
}

static bool read_time(json_object *entry, const char *key, int64_t *ret, int *ret_offset_seconds)
{
    char written[41];

    return reading_text(entry, key, written, sizeof written) && instant_read(written, ret, ret_offset_seconds);
}

static bool is_printable(const char *id)
{
    for (; *id; id++)
        if (*id < ' ' || *id > '~')
            return false;
    return true;
}

/* What is wrong with a row, or NULL. */
static const char *read_row(json_object *entry, const char *question, struct libcal_row *row)
{
    char check_in[5];

    *row = (struct libcal_row){0};
    if (!json_object_is_type(entry, json_type_object))
        return "it is no object";
    bool fits = copy_typed(json_get(entry, "bookId"), row->book_id, sizeof row->book_id);
    if (!fits || !is_printable(row->book_id)) { /* neither cut nor mended: it would name another booking, or none */
        row->book_id[0] = '\0';
        return fits ? "bookId: want printable ASCII" : "bookId: longer than 64 bytes";
    }
    if (!row->book_id[0])
        return "bookId: missing, empty or no text";
    if (!read_time(entry, "fromDate", &row->start, &row->offset_seconds))
        return "fromDate: want a time with an offset, as 2024-04-22T10:30:00+11:00";
    if (!read_time(entry, "toDate", &row->end, NULL))
        return "toDate: want a time with an offset, as 2024-04-22T12:30:00+11:00";
    if (row->end <= row->start)
        return "toDate: not after fromDate";
    row->id = reading_int(entry, "id");
    row->eid = reading_int(entry, "eid");
    row->cid = reading_int(entry, "cid");
    row->lid = reading_int(entry, "lid");
    row->seat_id = reading_int(entry, "seat_id");
    reading_text(entry, "status", row->status, sizeof row->status);
    reading_text(entry, "firstName", row->first_name, sizeof row->first_name);
    reading_text(entry, "lastName", row->last_name, sizeof row->last_name);
    reading_text(entry, "email", row->email, sizeof row->email);
    reading_lower(row->email);
    if (!reading_text(entry, "account", row->account, sizeof row->account))
        row->account[0] = '\0';
    read_form_answer(entry, question, row);
    reading_text(entry, "check_in_status", check_in, sizeof check_in);
    if (!strcasecmp(check_in, "in"))
        row->check_in = LIBCAL_CHECKED_IN;
    else if (!strcasecmp(check_in, "out"))
        row->check_in = LIBCAL_CHECKED_OUT;
    row->cancelled = reading_flag(entry, "cancelled"); /* a time, "" or absent (LibCal facts, 1.3) */
    row->is_event = json_object_is_type(json_get(entry, "event"), json_type_object);
    return NULL;
}

static void say_bad(struct libcal_bad *bad, size_t number, const char *book_id, const char *why)
{
    memcpy(bad->book_id, book_id, sizeof bad->book_id);
    if (book_id[0])
        snprintf(bad->why, sizeof bad->why, "booking %.40s: %s", book_id, why);
    else
        snprintf(bad->why, sizeof bad->why, "row %zu: %s", number, why);
}

struct answer libcal_rows_answer(const struct http_response *res, const char *question, struct libcal_rows *ret)
{
    SCOPED(json_object_put) json_object *list = NULL;
    struct answer a = list_answer(res, &list);

    ret->count = ret->bad_count = 0;
    if (a.verdict != DONE)
        return a;
    if (reading_count(list) > LIBCAL_ROWS_MAX)
        return answer_make(LATER, CAUSE_VENDOR, "garbled", "LibCal answers %zu rows, where at most %d were asked for",
                           reading_count(list), LIBCAL_PAGE_ROWS);
    for (size_t i = 0; i < reading_count(list); i++) {
        void *at = ret->at, *bad = ret->bad;
        bool room = grow(&at, ret->count, &ret->room, sizeof *ret->at);
        ret->at = at;
        room = grow(&bad, ret->bad_count, &ret->bad_room, sizeof *ret->bad) && room;
        ret->bad = bad;
        if (!room) {
            ret->count = ret->bad_count = 0;
            return answer_make(LATER, CAUSE_WORK, "no_memory", "out of memory reading LibCal's rows");
        }
        struct libcal_row *row = &ret->at[ret->count];
        const char *why = read_row(json_object_array_get_idx(list, i), question, row);
        if (why)
            say_bad(&ret->bad[ret->bad_count++], i + 1, row->book_id, why);
        else
            ret->count++;
    }
    return answer_make(DONE, CAUSE_WORK, "rows", "%zu rows, %zu unreadable", ret->count, ret->bad_count);
}

/* ---- what a status means ---- */

/* LibCal facts, 1.3. What only equipment has ("Checked Out") is unknown here. */
static const struct {
    const char *status;
    enum libcal_status means;
} statuses[] = {
    {"Confirmed", LIBCAL_LIVE},
    {"Mediated Approved", LIBCAL_LIVE},
    {"Tentative", LIBCAL_WAITING},
    {"Mediated Tentative", LIBCAL_WAITING},
    {"Confirmed (Payment Pending)", LIBCAL_WAITING},
    {"Mediated Approved (Payment Pending)", LIBCAL_WAITING},
    {"Cancelled by User", LIBCAL_DEAD},
    {"Cancelled by Admin", LIBCAL_DEAD},
    {"Cancelled by System", LIBCAL_DEAD},
    {"Cancelled", LIBCAL_DEAD},
    {"Mediated Denied", LIBCAL_DEAD},
    {"Booked in Outlook/Exchange", LIBCAL_NOT_A_PATRON},
};

enum libcal_status libcal_status_of(const char *status, const char *const *live, size_t live_count)
{
    for (size_t i = 0; i < live_count; i++)
        if (!strcasecmp(status, live[i]))
            return LIBCAL_LIVE;
    for (size_t i = 0; i < COUNT(statuses); i++)
        if (!strcasecmp(status, statuses[i].status))
            return statuses[i].means == LIBCAL_LIVE && live_count ? LIBCAL_WAITING : statuses[i].means;
    return LIBCAL_UNKNOWN;
}

/* ---- the id on the form ---- */

struct fault libcal_asked_id(const char *answer, const regex_t *pattern, char *ret, size_t size)
{
    return reading_asked_id(answer, pattern, "LIBCAL_ID_PATTERN", ret, size);
}

/* ---- what is configured there ---- */

void libcal_locations_request(struct http_request *req, const char *token)
{
    http_request_reset(req, "GET", "/1.1/space/locations");
    common_parts(req, token);
}

struct answer libcal_locations_answer(const struct http_response *res, struct libcal_locations *ret)
{
    SCOPED(json_object_put) json_object *list = NULL;
    struct answer a = list_answer(res, &list);

    ret->count = 0;
    ret->more = false;
    if (a.verdict != DONE)
        return a;
    for (size_t i = 0; i < reading_count(list); i++) {
        struct libcal_location location = {0};
        json_object *entry = reading_at(list, i);
        location.lid = reading_int(entry, "lid");
        location.form_id = reading_int(entry, "formid"); /* may be absent (LibCal facts, 1.2) */
        reading_text(entry, "name", location.name, sizeof location.name);
        if (!location.lid || ret->count == LIBCAL_LOCATIONS_MAX)
            ret->more = true;
        else
            ret->at[ret->count++] = location;
    }
    return a;
}

static void read_question(json_object *field, struct libcal_question *ret)
{
    ret->found = true;
    ret->required = reading_flag(field, "required");
    reading_text(field, "label", ret->label, sizeof ret->label);
    reading_text(field, "type", ret->type, sizeof ret->type);
}

static int64_t question_number(const char *question)
{
    const char *digits = question[0] == 'q' ? question + 1 : question;

    return is_number(digits) ? strtoll(digits, NULL, 10) : 0;
}

void libcal_form_request(struct http_request *req, const char *token, int64_t form_id)
{
    http_request_reset(req, "GET", "/1.1/space/form/");
    text_int(&req->target, form_id);
    common_parts(req, token);
}

struct answer libcal_form_answer(const struct http_response *res, const char *question, struct libcal_question *ret)
{
    SCOPED(json_object_put) json_object *list = NULL;
    struct answer a = list_answer(res, &list);

    *ret = (struct libcal_question){0};
    if (a.verdict != DONE)
        return a;
    for (size_t i = 0; i < reading_count(list) && !ret->found; i++) {
        json_object *fields = json_get(reading_at(list, i), "fields");
        /* a form without fields may have an empty list here; one with a list of fields knows them by number */
        if (json_object_is_type(fields, json_type_array)) {
            for (size_t f = 0; f < reading_count(fields) && !ret->found; f++)
                if (question_number(question) && reading_int(reading_at(fields, f), "id") == question_number(question))
                    read_question(reading_at(fields, f), ret);
        } else if (json_get(fields, question)) {
            read_question(json_get(fields, question), ret);
        }
    }
    return answer_make(DONE, CAUSE_WORK, "form", "the form %s the question", ret->found ? "has" : "lacks");
}

void libcal_question_request(struct http_request *req, const char *token, const char *question)
{
    http_request_reset(req, "GET", "/1.1/space/question/");
    text_percent(&req->target, question[0] == 'q' ? question + 1 : question);
    common_parts(req, token);
}

struct answer libcal_question_answer(const struct http_response *res, const char *question, struct libcal_question *ret)
{
    SCOPED(json_object_put) json_object *list = NULL;
    struct answer a = list_answer(res, &list);

    *ret = (struct libcal_question){0};
    if (a.verdict != DONE)
        return a;
    for (size_t i = 0; i < reading_count(list) && !ret->found; i++)
        if (question_number(question) && reading_int(reading_at(list, i), "id") == question_number(question))
            read_question(reading_at(list, i), ret);
    return answer_make(DONE, CAUSE_WORK, "question", "the question %s", ret->found ? "exists" : "does not exist");
}

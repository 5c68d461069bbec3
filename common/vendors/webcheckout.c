#include "common/vendors/webcheckout.h"

#include "common/instant.h"
#include "common/scoped.h"
#include "common/values.h"
#include "common/vendors/reading.h"

#include <inttypes.h>
#include <string.h>
#include <strings.h>

/* ---- requests ---- */

static void member(struct text *to, const char *name)
{
    if (to->len && to->at[to->len - 1] != '{')
        text_putc(to, ',');
    text_json(to, name);
    text_putc(to, ':');
}

static void member_text(struct text *to, const char *name, const char *value)
{
    member(to, name);
    text_json(to, value);
}

static void member_int(struct text *to, const char *name, int64_t value)
{
    member(to, name);
    text_int(to, value);
}

static void member_instant(struct text *to, const char *name, int64_t instant)
{
    struct value_timestamp t;

    if (!instant)
        return;
    value_timestamp_of(instant, 0, 0, &t);
    member(to, name);
    value_timestamp_write(to, &t);
}

/* Without its name, as a client may (WebCheckout facts, 4.1); the class as clients of each generation spell it. */
static void member_center(struct text *to, const char *name, enum webcheckout_api api, int64_t oid)
{
    member(to, name);
    text_putc(to, '{');
    member_text(to, "_class", api == WEBCHECKOUT_API_1_1 ? "checkoutCenter" : "checkout-center");
    member_int(to, "oid", oid);
    text_putc(to, '}');
}

/* Begins a call; its body is left open for more members. */
static void begin(struct http_request *req, const char *path, enum webcheckout_api api, const char *token)
{
    struct text authorization = {0};

    http_request_reset(req, "POST", path);
    http_request_header(req, "Content-Type", "application/json");
    http_request_header(req, "Accept", "application/json");
    text_putc(&req->body, '{');
    if (api == WEBCHECKOUT_API_1_1) {
        member_text(&req->body, "sessionid", token);
        return;
    }
    if (!token[0])
        return;
    text_puts(&authorization, "Bearer ");
    text_puts(&authorization, token);
    http_request_header(req, "Authorization", text_str(&authorization));
    text_free(&authorization);
}

static void end(struct http_request *req)
{
    text_putc(&req->body, '}');
}

/* ---- what every answer says ---- */

static struct answer quoted(enum cause cause, const char *code, const char *what, int status, json_object *body)
{
    json_object *payload = json_get(body, "payload");
    const char *words = json_str(payload, "message");
    char said[READING_WORDS_SIZE];

    if (!words && json_object_is_type(payload, json_type_string))
        words = json_object_get_string(payload);
    if (!words)
        words = json_str(body, "message");
    if (!words)
        words = json_str(body, "alert");
    if (!words)
        words = json_str(body, "status"); /* the word itself, where there is no sentence */
    words = words ? words : "";
    reading_words(said, words, strlen(words), NULL, 0);
    return said[0] ? answer_make(LATER, cause, code, "%s (HTTP %d): %s", what, status, said)
                   : answer_make(LATER, cause, code, "%s (HTTP %d)", what, status);
}

static bool has_status(json_object *body, const char *word)
{
    const char *status = json_str(body, "status");

    return status && !strcasecmp(status, word);
}

/* What the HTTP status alone decides. */
static struct answer unwell(const struct http_response *res, json_object *body)
{
    int status = res->status;

    if (status == 429)
        return answer_make(LATER, CAUSE_RATE, "rate", "WebCheckout asks to slow down (HTTP 429)");
    if (status == 403)
        return answer_make(LATER, CAUSE_VENDOR, "forbidden",
                           "the account may not do this at WebCheckout (HTTP 403): look at its rights there");
    if (status >= 500)
        return quoted(CAUSE_VENDOR, "unwell", "WebCheckout is unwell", status, body);
    if (status >= 400)
        return answer_make(LATER, CAUSE_VENDOR, "refused",
                           "a server or proxy answers for WebCheckout (HTTP %d): is WEBCHECKOUT_URL right?", status);
    if (status >= 300)
        return answer_make(LATER, CAUSE_VENDOR, "redirected",
                           "WebCheckout answers elsewhere (HTTP %d): is WEBCHECKOUT_URL right?", status);
    return answer_make(LATER, CAUSE_VENDOR, "garbled", "WebCheckout answers HTTP %d without a status", status);
}

/* Whether WebCheckout itself has spoken, and not a server before it: with 2xx, as a rule, also when it refuses. */
static bool has_spoken(const struct http_response *res, json_object *body)
{
    bool may = res->status / 100 == 2 || (res->status / 100 == 4 && res->status != 403 && res->status != 429);

    return may && json_str(body, "status");
}

/* DONE: the body is "ok", and what it says is its payload. */
static struct answer envelope(const struct http_response *res, json_object *body)
{
    if (res->end != HTTP_ANSWERED)
        return reading_unanswered(res);
    if (res->status == 401 || (res->status < 500 && has_status(body, "unauthenticated")))
        return answer_make(LATER, CAUSE_TOKEN, "token_refused", "WebCheckout refuses the session (HTTP %d)", res->status);
    if (!has_spoken(res, body) || (has_status(body, "ok") && res->status / 100 != 2))
        return reading_wait(unwell(res, body), res, -1);
    if (!has_status(body, "ok"))
        return quoted(CAUSE_VENDOR, "refused", "WebCheckout refuses to say", res->status, body);
    return answer_make(DONE, CAUSE_WORK, "ok", "ok");
}

static struct answer garbled(const char *what)
{
    return answer_make(LATER, CAUSE_VENDOR, "garbled", "WebCheckout answers \"ok\", but no %s", what);
}

/* ---- entities ---- */

/* Lisp has one nil: null, false and the empty list may be confused (WebCheckout facts, 4.2). */
static bool is_nil(json_object *value)
{
    return !value || (json_object_is_type(value, json_type_boolean) && !json_object_get_boolean(value)) ||
           (json_object_is_type(value, json_type_array) && !json_object_array_length(value));
}

static bool read_entity(json_object *from, struct webcheckout_entity *ret)
{
    *ret = (struct webcheckout_entity){.oid = reading_int(from, "oid")};
    reading_text(from, "name", ret->name, sizeof ret->name);
    return ret->oid > 0;
}

/* Ids name somebody, so that half of one is none. */
static void read_id(json_object *in, const char *key, char *ret, size_t size)
{
    if (!reading_text(in, key, ret, size))
        ret[0] = '\0';
}

/* ---- the session ---- */

void webcheckout_login_request(struct http_request *req, enum webcheckout_api api, const char *userid, const char *password)
{
    begin(req, "/rest/session/start", api, api == WEBCHECKOUT_API_1_1 ? "" : "Requested");
    member_text(&req->body, "userid", userid);
    member_text(&req->body, "password", password);
    end(req);
}

static bool read_token(json_object *body, enum webcheckout_api api, char ret[WEBCHECKOUT_TOKEN_SIZE])
{
    json_object *payload = json_get(body, "payload");

    if (api == WEBCHECKOUT_API_1_1)
        return reading_token(payload, "uuid", ret, WEBCHECKOUT_TOKEN_SIZE) ||
               reading_token(body, "sessionid", ret, WEBCHECKOUT_TOKEN_SIZE);
    return reading_token(body, "sessionToken", ret, WEBCHECKOUT_TOKEN_SIZE) ||
           reading_token(payload, "sessionToken", ret, WEBCHECKOUT_TOKEN_SIZE);
}

static void read_centers(json_object *list, struct webcheckout_session *ret)
{
    for (size_t i = 0; !is_nil(list) && i < reading_count(list); i++)
        if (ret->center_count < WEBCHECKOUT_CENTERS_MAX &&
            read_entity(reading_at(list, i), &ret->centers[ret->center_count]))
            ret->center_count++;
        else
            ret->more_centers = true;
}

struct answer webcheckout_login_answer(const struct http_response *res, enum webcheckout_api api,
                                       struct webcheckout_session *ret)
{
    *ret = (struct webcheckout_session){0};
    if (res->end != HTTP_ANSWERED)
        return reading_unanswered(res);
    SCOPED(json_object_put) json_object *body = reading_json(res);
    struct answer a = envelope(res, body);
    bool refused = has_spoken(res, body) && !has_status(body, "ok");
    if (refused || a.cause == CAUSE_TOKEN || res->status == 403)
        return quoted(CAUSE_CREDENTIALS, "login_refused", "WebCheckout refuses the user id or password", res->status, body);
    if (a.verdict != DONE)
        return a;
    if (!read_token(body, api, ret->token))
        return garbled("session");
    read_centers(json_get(json_get(json_get(body, "payload"), "roles"), "operator"), ret);
    return answer_make(DONE, CAUSE_WORK, "logged_in", "logged in");
}

void webcheckout_scope_request(struct http_request *req, enum webcheckout_api api, const char *token, int64_t center_oid)
{
    begin(req, "/rest/session/setSessionScope", api, token);
    member_center(&req->body, "checkoutCenter", api, center_oid);
    end(req);
}

struct answer webcheckout_scope_answer(const struct http_response *res)
{
    SCOPED(json_object_put) json_object *body = reading_json(res);
    struct answer a = envelope(res, body);

    return a.verdict == DONE ? answer_make(DONE, CAUSE_WORK, "scoped", "scoped") : a;
}

void webcheckout_info_request(struct http_request *req, enum webcheckout_api api)
{
    begin(req, "/rest/session/info", api, "");
    end(req);
}

struct answer webcheckout_info_answer(const struct http_response *res, char ret_version[WEBCHECKOUT_ID_SIZE])
{
    SCOPED(json_object_put) json_object *body = reading_json(res);
    struct answer a = envelope(res, body);

    ret_version[0] = '\0';
    if (a.verdict != DONE)
        return a;
    if (!json_object_is_type(json_get(body, "payload"), json_type_object))
        return garbled("information");
    reading_text(json_get(body, "payload"), "webcoVersion", ret_version, WEBCHECKOUT_ID_SIZE);
    return answer_make(DONE, CAUSE_WORK, "info", "info");
}

/* ---- asking for allocations ---- */

static const char properties[] =
    "[\"oid\",\"name\",\"uniqueId\",\"state\",{\"property\":\"patron\",\"subProperties\":[\"oid\",\"userid\",\"barcode\"]},"
    "\"patronPreferredEmail\",\"checkoutCenter\",\"pickupTime\",\"returnTime\",\"realStartTime\",\"scheduledEndTime\","
    "\"realEndTime\",{\"property\":\"allocationItems\",\"subProperties\":[\"quantity\",\"state\","
    "{\"property\":\"resource\",\"subProperties\":[\"oid\",\"name\"]}]}]";

void webcheckout_search_request(struct http_request *req, enum webcheckout_api api, const char *token,
                                const struct webcheckout_query *query)
{
    struct text *body = &req->body;

    begin(req, "/rest/allocation/search", api, token);
    member(body, "query");
    if (query->unique_id && query->unique_id[0]) {
        text_putc(body, '{');
        member_text(body, "uniqueId", query->unique_id);
        text_putc(body, '}');
    } else {
        text_puts(body, "{\"and\":{");
        if (query->state && query->state[0])
            member_text(body, "state", query->state);
        if (query->center_oid)
            member_center(body, "center", api, query->center_oid);
        member_instant(body, "latestScheduledEnd", query->latest_scheduled_end);
        member_instant(body, "earliestActualEnd", query->earliest_actual_end);
        member_instant(body, "latestActualEnd", query->latest_actual_end);
        text_puts(body, "}}");
    }
    member(body, "properties");
    text_puts(body, properties);
    member_text(body, "orderBy", "patronId"); /* the one order that a client asks for */
    member_int(body, "limit", query->limit);
    end(req);
}

void webcheckout_allocation_request(struct http_request *req, enum webcheckout_api api, const char *token, int64_t oid)
{
    begin(req, "/rest/allocation/get", api, token);
    member_int(&req->body, "oid", oid);
    member(&req->body, "properties");
    text_puts(&req->body, properties);
    end(req);
}

/* ---- reading allocations ---- */

/* The instant of the first of these members that is there; 0 when none is. False: the one named in ret_why is no time. */
static bool read_time(json_object *entry, const char *const names[2], int64_t *ret, int *ret_offset, const char **ret_why)
{
    struct value_timestamp t = {0};

    for (int i = 0; i < 2 && names[i] && !t.at; i++) {
        if (is_nil(json_get(entry, names[i])))
            continue;
        if (value_timestamp_read(json_get(entry, names[i]), &t).kind) {
            *ret_why = names[i];
            return false;
        }
    }
    *ret = t.at;
    if (t.at && ret_offset)
        *ret_offset = t.offset_seconds;
    return true;
}

static bool read_times(json_object *entry, struct webcheckout_allocation *row, const char **ret_why)
{
    static const char *const starts[] = {"pickupTime", "realStartTime"}, *const ends[] = {"returnTime", "scheduledEndTime"};
    static const char *const real_start[] = {"realStartTime", NULL}, *const real_end[] = {"realEndTime", NULL};

    /* the end first: the offset kept is the start's, where there is one */
    return read_time(entry, ends, &row->end, &row->offset_seconds, ret_why) &&
           read_time(entry, starts, &row->start, &row->offset_seconds, ret_why) &&
           read_time(entry, real_start, &row->real_start, NULL, ret_why) &&
           read_time(entry, real_end, &row->real_end, NULL, ret_why);
}

static bool has_resource(const struct webcheckout_allocation *row, int64_t oid)
{
    for (size_t i = 0; i < row->resource_count; i++)
        if (row->resources[i].oid == oid)
            return true;
    return false;
}

static void read_resources(json_object *items, struct webcheckout_allocation *row)
{
    for (size_t i = 0; !is_nil(items) && i < reading_count(items); i++) {
        json_object *resource = json_get(reading_at(items, i), "resource");
        struct webcheckout_entity found;

        if (!read_entity(resource, &found)) {
            row->more_resources = true;
        } else if (!has_resource(row, found.oid)) {
            if (row->resource_count < WEBCHECKOUT_RESOURCES_MAX)
                row->resources[row->resource_count++] = found;
            else
                row->more_resources = true;
        }
    }
}

static void read_ids(json_object *person, char userid[WEBCHECKOUT_ID_SIZE], char barcode[WEBCHECKOUT_ID_SIZE])
{
    read_id(person, "userid", userid, WEBCHECKOUT_ID_SIZE);
    read_id(person, "barcode", barcode, WEBCHECKOUT_ID_SIZE);
}

/* What is wrong with a row, in ret_bad, or false. */
static bool is_bad(json_object *entry, struct webcheckout_allocation *row, size_t number, struct webcheckout_bad *ret_bad)
{
    const char *why = NULL;

    *row = (struct webcheckout_allocation){.oid = reading_int(entry, "oid")};
    *ret_bad = (struct webcheckout_bad){.oid = row->oid};
    if (!json_object_is_type(entry, json_type_object))
        snprintf(ret_bad->why, sizeof ret_bad->why, "row %zu: it is no object", number);
    else if (!row->oid)
        snprintf(ret_bad->why, sizeof ret_bad->why, "row %zu: oid: want a whole number from 1 up", number);
    else if (!read_times(entry, row, &why))
        snprintf(ret_bad->why, sizeof ret_bad->why, "allocation %" PRId64 ": %s: want a time with an offset", row->oid, why);
    else if (row->start && row->end && row->end <= row->start)
        snprintf(ret_bad->why, sizeof ret_bad->why, "allocation %" PRId64 ": its end is not after its start", row->oid);
    if (ret_bad->why[0])
        return true;
    read_id(entry, "uniqueId", row->unique_id, sizeof row->unique_id);
    read_id(entry, "name", row->name, sizeof row->name);
    read_id(entry, "state", row->state, sizeof row->state);
    row->patron_oid = reading_int(json_get(entry, "patron"), "oid");
    read_ids(json_get(entry, "patron"), row->userid, row->barcode);
    reading_text(entry, "patronPreferredEmail", row->email, sizeof row->email);
    reading_lower(row->email);
    read_entity(json_get(entry, "checkoutCenter"), &row->center);
    read_resources(json_get(entry, "allocationItems"), row);
    return false;
}

void webcheckout_rows_free(struct webcheckout_rows *rows)
{
    free(rows->at);
    free(rows->bad);
    *rows = (struct webcheckout_rows){0};
}

static void rows_clear(struct webcheckout_rows *rows)
{
    rows->count = rows->bad_count = 0;
    rows->more = false;
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

static bool add_row(json_object *entry, struct webcheckout_rows *ret)
{
    void *at = ret->at, *bad = ret->bad;
    bool room = grow(&at, ret->count, &ret->room, sizeof *ret->at);

    ret->at = at;
    room = grow(&bad, ret->bad_count, &ret->bad_room, sizeof *ret->bad) && room;
    ret->bad = bad;
    if (!room)
        return false;
    if (is_bad(entry, &ret->at[ret->count], ret->count + ret->bad_count + 1, &ret->bad[ret->bad_count]))
        ret->bad_count++;
    else
        ret->count++;
    return true;
}

static struct answer no_memory(struct webcheckout_rows *ret)
{
    rows_clear(ret);
    return answer_make(LATER, CAUSE_WORK, "no_memory", "out of memory reading WebCheckout's allocations");
}

/* One {"result":[…],"count":n}. */
static struct answer read_result(json_object *found, int limit, struct webcheckout_rows *ret)
{
    json_object *result = NULL;
    int64_t count = reading_int(found, "count");

    if (!json_object_is_type(found, json_type_object) || !json_object_object_get_ex(found, "result", &result) ||
        !(is_nil(result) || json_object_is_type(result, json_type_array)))
        return garbled("list of allocations");
    size_t rows = is_nil(result) ? 0 : json_object_array_length(result);
    if (ret->count + ret->bad_count + rows > WEBCHECKOUT_ROWS_MAX)
        return answer_make(LATER, CAUSE_VENDOR, "garbled", "WebCheckout answers %zu rows, where at most %d were asked for",
                           rows, limit);
    for (size_t i = 0; i < rows; i++)
        if (!add_row(json_object_array_get_idx(result, i), ret))
            return no_memory(ret);
    ret->more = ret->more || count > (int64_t)rows || (rows && rows == (size_t)limit);
    return answer_make(DONE, CAUSE_WORK, "rows", "rows");
}

struct answer webcheckout_search_answer(const struct http_response *res, int limit, struct webcheckout_rows *ret)
{
    SCOPED(json_object_put) json_object *body = reading_json(res);
    struct answer a = envelope(res, body);
    json_object *payload = json_get(body, "payload");

    rows_clear(ret);
    if (a.verdict != DONE)
        return a;
    /* one result, or a list of them as a multiQuery has it; a client has met the list, and an empty one for "none" */
    for (size_t i = 0; !is_nil(payload) && i < reading_count(payload) && a.verdict == DONE; i++)
        a = read_result(reading_at(payload, i), limit, ret);
    if (a.verdict != DONE) {
        rows_clear(ret);
        return a;
    }
    return answer_make(DONE, CAUSE_WORK, "rows", "%zu rows, %zu unreadable%s", ret->count, ret->bad_count,
                       ret->more ? ", and there are more" : "");
}

struct answer webcheckout_allocation_answer(const struct http_response *res, struct webcheckout_rows *ret)
{
    SCOPED(json_object_put) json_object *body = reading_json(res);
    struct answer a = envelope(res, body);
    json_object *payload = json_get(body, "payload");

    rows_clear(ret);
    if (a.verdict != DONE)
        return a;
    if (!json_object_is_type(payload, json_type_object))
        return garbled("allocation");
    if (!add_row(payload, ret))
        return no_memory(ret);
    return answer_make(DONE, CAUSE_WORK, "rows", "%zu rows, %zu unreadable", ret->count, ret->bad_count);
}

/* ---- people ---- */

void webcheckout_person_request(struct http_request *req, enum webcheckout_api api, const char *token, int64_t oid)
{
    begin(req, "/rest/person/get", api, token);
    member_int(&req->body, "oid", oid);
    member(&req->body, "properties");
    text_puts(&req->body, "[\"oid\",\"userid\",\"barcode\"]");
    end(req);
}

struct answer webcheckout_person_answer(const struct http_response *res, struct webcheckout_person *ret)
{
    SCOPED(json_object_put) json_object *body = reading_json(res);
    struct answer a = envelope(res, body);
    json_object *person = json_get(body, "payload");

    *ret = (struct webcheckout_person){0};
    if (a.verdict != DONE)
        return a;
    if (!reading_int(person, "oid"))
        return garbled("person");
    ret->oid = reading_int(person, "oid");
    read_ids(person, ret->userid, ret->barcode);
    return answer_make(DONE, CAUSE_WORK, "found", "found");
}

/* ---- what a state means ---- */

static bool is_listed(const char *state, const char *const *list, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (value_symbol_is(state, list[i]))
            return true;
    return false;
}

enum webcheckout_state webcheckout_state_of(const char *state, const char *const *live, size_t live_count,
                                            const char *const *dead, size_t dead_count)
{
    static const char *const usual[] = {"CHECKOUT"};

    if (live_count ? is_listed(state, live, live_count) : is_listed(state, usual, COUNT(usual)))
        return WEBCHECKOUT_LIVE;
    return is_listed(state, dead, dead_count) ? WEBCHECKOUT_DEAD : WEBCHECKOUT_UNKNOWN;
}

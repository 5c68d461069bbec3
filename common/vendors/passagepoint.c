#include "common/vendors/passagepoint.h"

#include "common/scoped.h"
#include "common/vendors/reading.h"

#include <inttypes.h>
#include <string.h>

/* What a call is, as far as its answers differ. */
struct call {
    bool changes;               /* something at the gate: an unknown outcome stays unknown */
    enum passagepoint_500 on_500;
    const char *const *names;   /* a person's names, never to be repeated */
    size_t name_count;
};

static void common_parts(struct http_request *req, const char *token)
{
    http_request_header(req, "token", token); /* not Authorization (PassagePoint facts, 3.1) */
    http_request_header(req, "Content-Type", "application/json");
    http_request_header(req, "Accept", "application/json");
}

static void json_member(struct text *to, char before, const char *name, const char *value)
{
    text_putc(to, before);
    text_json(to, name);
    text_putc(to, ':');
    text_json(to, value);
}

static struct answer quoted(enum verdict verdict, enum cause cause, const char *code, const char *what, int status,
                            const char *words, size_t len, const struct call *call)
{
    char said[READING_WORDS_SIZE];

    reading_words(said, words, len, call->names, call->name_count);
    return said[0] ? answer_make(verdict, cause, code, "%s (HTTP %d): %s", what, status, said)
                   : answer_make(verdict, cause, code, "%s (HTTP %d)", what, status);
}

/* The gate's own refusal, in its own words, whatever their shape. */
static struct answer refused(const struct http_response *res, json_object *body, const struct call *call)
{
    const char *words = res->body;
    size_t len = res->body_len;

    if (reading_is_markup(res))
        len = 0;
    else if (body && !reading_error(body, &words, &len)) {
        words = json_str(body, "message");
        len = words ? strlen(words) : 0;
    }
    words = words ? words : "";
    /* a question refused says nothing about the person it was asked for */
    return call->changes
        ? quoted(REJECTED, CAUSE_WORK, "refused", "PassagePoint refuses it", res->status, words, len, call)
        : quoted(LATER, CAUSE_VENDOR, "refused", "PassagePoint refuses to say", res->status, words, len, call);
}

/* A page of the server or of a proxy, or nothing: the gate's program has not spoken, so it has refused nobody. */
static bool others_speak(const struct http_response *res, json_object *body)
{
    switch (res->status) {
    case 407: case 408: case 421: case 425: return true;
    case 404: case 405: return !body;
    default: return res->status >= 400 && res->status < 500 && reading_is_markup(res);
    }
}

/* What the status alone decides. False: it is a 2xx, and the body must be read. */
static bool status_decides(const struct http_response *res, json_object *body, const struct call *call,
                           struct answer *ret)
{
    int status = res->status;
    const char *code = "gateway";
    bool unknown = true;

    if (status >= 200 && status < 300)
        return false;
    if (status == 401) {
        *ret = answer_make(LATER, CAUSE_TOKEN, "token_refused", "PassagePoint refuses the token (HTTP 401)");
    } else if (status == 429) {
        *ret = answer_make(LATER, CAUSE_RATE, "rate", "PassagePoint asks to slow down (HTTP 429)");
    } else if (status == 403) {
        *ret = answer_make(LATER, CAUSE_VENDOR, "forbidden",
                           "the account may not do this at PassagePoint (HTTP 403): look at its rights there");
    } else if (others_speak(res, body)) {
        *ret = answer_make(LATER, CAUSE_VENDOR, "refused",
                           "a server or proxy answers for PassagePoint (HTTP %d): is PASSAGEPOINT_URL right?", status);
    } else if (status >= 400 && status < 500) {
        *ret = refused(res, body, call);
    } else if (status >= 300 && status < 400) {
        *ret = answer_make(LATER, CAUSE_VENDOR, "redirected",
                           "PassagePoint answers elsewhere (HTTP %d): is PASSAGEPOINT_URL right?", status);
    } else if (status == 503 || status == 501) {
        *ret = answer_make(LATER, CAUSE_VENDOR, "unwell", "PassagePoint is unwell (HTTP %d)", status);
    } else {
        if (status == 500) {
            code = "server_error";
            unknown = call->on_500 == PP_500_UNKNOWN;
        }
        unknown = unknown && call->changes;
        *ret = answer_make(unknown ? UNKNOWN : LATER, CAUSE_VENDOR, code, "PassagePoint failed (HTTP %d)%s", status,
                           unknown ? ": nobody knows whether it was done" : "");
    }
    if (ret->verdict == LATER)
        *ret = reading_wait(*ret, res, -1);
    return true;
}

/* An id, a number or digits in a string. One that is cut, signed, fractional or zero is none. */
static bool read_id(json_object *value, char ret[PASSAGEPOINT_ID_SIZE])
{
    bool not_zero = false;

    if (!reading_text_of(value, ret, PASSAGEPOINT_ID_SIZE) || !ret[0])
        return false;
    for (const char *c = ret; *c; c++) {
        if (*c < '0' || *c > '9')
            return false;
        not_zero = not_zero || *c != '0';
    }
    return not_zero;
}

struct ids {
    size_t elements, readable, distinct;
    char first[PASSAGEPOINT_ID_SIZE];
};

/* [{"id":1}], {"data":[{"id":1}]}, {"data":{"id":1}} and {"id":1} (PassagePoint facts, 3.2 to 3.4). */
static bool read_ids(json_object *body, struct ids *ret)
{
    json_object *list = body, *data = NULL;

    *ret = (struct ids){0};
    if (json_object_is_type(body, json_type_object) && json_object_object_get_ex(body, "data", &data))
        list = data;
    else if (json_object_is_type(body, json_type_object) && !json_get(body, "id"))
        return false;
    else if (!json_object_is_type(body, json_type_object) && !json_object_is_type(body, json_type_array))
        return false;
    ret->elements = reading_count(list);
    for (size_t i = 0; i < ret->elements; i++) {
        char id[PASSAGEPOINT_ID_SIZE];
        if (!read_id(json_get(reading_at(list, i), "id"), id))
            continue;
        ret->readable++;
        if (!ret->distinct) {
            memcpy(ret->first, id, sizeof id);
            ret->distinct = 1;
        } else if (strcmp(ret->first, id)) {
            ret->distinct++;
        }
    }
    return true;
}

/* A 2xx to a call that makes something. */
static struct answer made_answer(const struct http_response *res, json_object *body, const struct call *call,
                                 const char *code, char ret_id[PASSAGEPOINT_ID_SIZE])
{
    struct ids ids;
    bool failed = reading_error(body, NULL, NULL);

    read_ids(body, &ids);
    if (failed && !ids.readable)
        return refused(res, body, call);
    if (failed)
        return answer_make(UNKNOWN, CAUSE_VENDOR, "unclear", "PassagePoint answers an id and an error at once (HTTP %d)",
                           res->status);
    if (!ids.readable)
        return answer_make(UNKNOWN, CAUSE_VENDOR, "no_id", "PassagePoint answers HTTP %d without an id", res->status);
    if (ids.distinct > 1)
        return answer_make(UNKNOWN, CAUSE_VENDOR, "several_ids", "PassagePoint answers several ids (HTTP %d)",
                           res->status);
    memcpy(ret_id, ids.first, sizeof ids.first);
    return answer_make(DONE, CAUSE_WORK, code, "%s", code);
}

/* ---- log-in ---- */

void passagepoint_login_request(struct http_request *req, const char *username, const char *password)
{
    http_request_reset(req, "POST", "/pp/api/v2/auth/login");
    http_request_header(req, "Content-Type", "application/json");
    http_request_header(req, "Accept", "application/json");
    json_member(&req->body, '{', "username", username);
    json_member(&req->body, ',', "password", password);
    text_putc(&req->body, '}');
}

struct answer passagepoint_login_answer(const struct http_response *res, char ret_token[PASSAGEPOINT_TOKEN_SIZE])
{
    const struct call call = {0};
    const char *words = "";
    size_t len = 0;
    struct answer a;

    ret_token[0] = '\0';
    if (res->end != HTTP_ANSWERED)
        return reading_unanswered(res);
    SCOPED(json_object_put) json_object *body = reading_json(res);
    bool failed = reading_error(body, &words, &len);
    bool client_error = res->status >= 400 && res->status < 500 && res->status != 429;
    if (res->status == 401 || res->status == 403 || (failed && (client_error || res->status / 100 == 2)))
        return quoted(LATER, CAUSE_CREDENTIALS, "login_refused", "PassagePoint refuses the user name or password",
                      res->status, words, len, &call);
    if (status_decides(res, body, &call, &a))
        return a;
    if (!reading_token(body, "token", ret_token, PASSAGEPOINT_TOKEN_SIZE))
        return answer_make(LATER, CAUSE_VENDOR, "garbled", "PassagePoint answers a log-in with HTTP %d, but no token",
                           res->status);
    return answer_make(DONE, CAUSE_WORK, "logged_in", "logged in");
}

/* ---- visitors ---- */

void passagepoint_create_visitor_request(struct http_request *req, const char *token,
                                         const struct passagepoint_visitor *v)
{
    /* query parameters and an empty body (PassagePoint facts, 3.2) */
    http_request_reset(req, "POST", "/pp/api/v2/person/createVisitor");
    http_request_query(req, "category", v->category);
    http_request_query(req, "firstName", v->first_name);
    http_request_query(req, "lastName", v->last_name);
    if (v->email && v->email[0])
        http_request_query(req, "email", v->email);
    if (v->university_id && v->university_id[0])
        http_request_query(req, "mobilePhoneNo", v->university_id);
    http_request_query(req, "uniqueId", v->barcode);
    common_parts(req, token);
}

struct answer passagepoint_create_visitor_answer(const struct http_response *res, const struct passagepoint_visitor *v,
                                                 char ret_visitor_id[PASSAGEPOINT_ID_SIZE])
{
    static const char exists[] = "ALREADY_EXIST_UNIQUE_ID";
    const char *const names[] = {v->first_name, v->last_name};
    const struct call call = {.changes = true, .on_500 = PP_500_NOT_DONE, .names = names, .name_count = COUNT(names)};
    struct answer a;

    ret_visitor_id[0] = '\0';
    if (res->end != HTTP_ANSWERED)
        return answer_unanswered(res);
    SCOPED(json_object_put) json_object *body = reading_json(res);
    /* only the text is known, not the status it comes with, but that it is not 401 (PassagePoint facts, 3.2) */
    bool says_exists = memmem(res->body, res->body_len, exists, sizeof exists - 1);
    if (says_exists && res->status != 401 &&
        (res->status >= 400 || (res->status / 100 == 2 && reading_error(body, NULL, NULL))))
        return answer_make(AGAIN, CAUSE_WORK, "exists", "PassagePoint has a visitor with this card (HTTP %d)",
                           res->status);
    if (status_decides(res, body, &call, &a))
        return a;
    return made_answer(res, body, &call, "created", ret_visitor_id);
}

void passagepoint_by_unique_id_request(struct http_request *req, const char *token, const char *barcode)
{
    http_request_reset(req, "GET", "/pp/api/v2/person/byUniqueId");
    http_request_query(req, "uniqueId", barcode);
    common_parts(req, token);
}

/* How a miss is answered is not known: an empty list or an error (PassagePoint facts, 3.3). */
static bool says_not_found(const struct http_response *res, json_object *body)
{
    static const char *const phrases[] = {"not found",  "not_found",      "notfound", "not exist",
                                          "not_exist", "doesn't exist", "no such",  NULL};

    if (res->status == 404)
        return true;
    if (res->status == 401 || res->status == 403 || res->status == 429)
        return false;
    if (!reading_says(res->body, res->body_len, phrases))
        return false;
    if (res->status / 100 == 2)
        return reading_error(body, NULL, NULL);
    return res->status == 500 ? reading_error(body, NULL, NULL)
                              : res->status >= 400 && res->status < 500 && !reading_is_markup(res);
}

struct answer passagepoint_by_unique_id_answer(const struct http_response *res,
                                               char ret_visitor_id[PASSAGEPOINT_ID_SIZE])
{
    const struct call call = {0};
    struct ids ids;
    struct answer a;

    ret_visitor_id[0] = '\0';
    if (res->end != HTTP_ANSWERED)
        return reading_unanswered(res);
    SCOPED(json_object_put) json_object *body = reading_json(res);
    if (says_not_found(res, body))
        return answer_make(REJECTED, CAUSE_WORK, "not_found", "PassagePoint has no visitor with this card (HTTP %d)",
                           res->status);
    if (status_decides(res, body, &call, &a))
        return a;
    if (reading_error(body, NULL, NULL))
        return refused(res, body, &call);
    if (!read_ids(body, &ids) || ids.readable != ids.elements)
        return answer_make(LATER, CAUSE_VENDOR, "garbled", "PassagePoint answers HTTP %d, but no list of visitors",
                           res->status);
    if (!ids.elements)
        return answer_make(REJECTED, CAUSE_WORK, "not_found", "PassagePoint has no visitor with this card");
    if (ids.distinct > 1)
        return answer_make(REJECTED, CAUSE_WORK, "two_visitors", "PassagePoint has %zu visitors with this card",
                           ids.elements);
    memcpy(ret_visitor_id, ids.first, sizeof ids.first);
    return answer_make(DONE, CAUSE_WORK, "found", "found by card");
}

/* ---- pre-registrations ---- */

void passagepoint_create_prereg_request(struct http_request *req, const char *token, const char *visitor_id,
                                        int64_t start, int64_t end, const char *destination)
{
    char seconds[24];

    /* every value a string: integers did not work (PassagePoint facts, 3.4) */
    http_request_reset(req, "POST", "/pp/api/v2/visit/createPreReg");
    snprintf(seconds, sizeof seconds, "%" PRId64, start);
    json_member(&req->body, '{', "startTime", seconds);
    snprintf(seconds, sizeof seconds, "%" PRId64, end);
    json_member(&req->body, ',', "endTime", seconds);
    json_member(&req->body, ',', "visitorId", visitor_id);
    json_member(&req->body, ',', "destination", destination);
    text_putc(&req->body, '}');
    common_parts(req, token);
}

struct answer passagepoint_create_prereg_answer(const struct http_response *res, enum passagepoint_500 on_500,
                                                char ret_prereg_id[PASSAGEPOINT_ID_SIZE])
{
    const struct call call = {.changes = true, .on_500 = on_500};
    struct answer a;

    ret_prereg_id[0] = '\0';
    if (res->end != HTTP_ANSWERED)
        return answer_unanswered(res);
    SCOPED(json_object_put) json_object *body = reading_json(res);
    if (status_decides(res, body, &call, &a))
        return a;
    return made_answer(res, body, &call, "made", ret_prereg_id);
}

/* ---- destinations ---- */

void passagepoint_destinations_request(struct http_request *req, const char *token)
{
    http_request_reset(req, "GET", "/pp/api/v2/visit/getDestinations");
    common_parts(req, token);
}

static bool destination_name(json_object *entry, char *ret, size_t size)
{
    static const char *const keys[] = {"name", "destination", "description"};
    bool whole = true;

    if (json_object_is_type(entry, json_type_string))
        return reading_text_of(entry, ret, size);
    ret[0] = '\0';
    for (size_t i = 0; i < COUNT(keys) && !ret[0]; i++)
        if (json_str(entry, keys[i]))
            whole = reading_text(entry, keys[i], ret, size);
    return whole;
}

struct answer passagepoint_destinations_answer(const struct http_response *res, struct passagepoint_destinations *ret)
{
    const struct call call = {0};
    struct answer a;

    ret->count = 0;
    ret->more = false;
    if (res->end != HTTP_ANSWERED)
        return reading_unanswered(res);
    SCOPED(json_object_put) json_object *body = reading_json(res);
    json_object *list = json_object_is_type(body, json_type_array) ? body : json_get(body, "data");
    if (res->status != 404 && status_decides(res, body, &call, &a))
        return a;
    if (res->status != 404 && reading_error(body, NULL, NULL))
        return refused(res, body, &call);
    bool shaped = res->status != 404 && json_object_is_type(list, json_type_array);
    for (size_t i = 0; shaped && i < reading_count(list); i++) {
        char name[sizeof ret->names[0]];
        bool whole = destination_name(reading_at(list, i), name, sizeof name);
        shaped = name[0];
        if (!whole || ret->count == PASSAGEPOINT_DESTINATIONS_MAX)
            ret->more = true;
        else if (shaped)
            memcpy(ret->names[ret->count++], name, sizeof name);
    }
    if (!shaped) {
        ret->count = 0;
        return answer_make(REJECTED, CAUSE_WORK, "unknown_shape",
                           "PassagePoint's list of destinations cannot be read (HTTP %d): names are not checked",
                           res->status);
    }
    return answer_make(DONE, CAUSE_WORK, "listed", "%d destinations", ret->count);
}

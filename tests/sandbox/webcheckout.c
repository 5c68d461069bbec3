/*
 * webcheckout - checkout centres and what they have handed out: sessions, allocations by query, people by oid.
 *
 * Every call is a POST with JSON in its body, and nearly every answer is a 200 whose `status` says how it went. Of the three
 * generations one is spoken, by a setting. An allocation is kept as the JSON it was given as, and answered property by
 * property; a person is whoever is the patron of one.
 */
#include "settings.h"
#include "tokens.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define FIRST_ALLOCATION INT64_C(1000000)
#define FIRST_PERSON INT64_C(5000000)
#define FIRST_SESSION 21715

static struct vendor_state state;
static struct tokens tokens;
static json_object **rows;
static size_t row_count, row_cap;
static uint64_t logins;

static double session_seconds;
static int64_t most_rows;
static char *api, *userid, *password, *version, *count_form, *payload_form, *nil_form, *class_form;
static json_object *centers;

static const struct setting settings[] = {
    { "latency_ms", SETTING_NUMBER, &state.latency_ms, "0", "every answer waits this long", NULL },
    { "jitter_ms", SETTING_NUMBER, &state.jitter_ms, "0", "and up to this much longer", NULL },
    { "api", SETTING_TEXT, &api, "\"2.0\"", "the generation that is spoken: 1.0, 1.1 or 2.0", NULL },
    { "session_seconds", SETTING_NUMBER, &session_seconds, "300", "how long a session lasts", NULL },
    { "userid", SETTING_TEXT, &userid, "\"sandbox\"", "who may log in", NULL },
    { "password", SETTING_TEXT, &password, "\"sandbox-wco-password\"", "and with what", NULL },
    { "version", SETTING_TEXT, &version, "\"5.2.1\"", "what session/info says", NULL },
    { "centers", SETTING_JSON, &centers, "[{\"oid\":53207831,\"name\":\"College Library\"}]",
      "where the account is an operator", NULL },
    { "row_cap", SETTING_INT, &most_rows, "0", "never more allocations than this, whatever limit says; 0: no cap", NULL },
    { "count", SETTING_TEXT, &count_form, "\"found\"", "count is of what was found, or of what is sent: found or sent", NULL },
    { "payload", SETTING_TEXT, &payload_form, "\"object\"", "of a search: an object, or a list with one in it", NULL },
    { "nil", SETTING_TEXT, &nil_form, "\"null\"", "how an empty list is said: null, false or list", NULL },
    { "class", SETTING_TEXT, &class_form, "\"camel\"", "_class is checkoutCenter (camel) or checkout-center (hyphen)", NULL },
    SETTING_END
};

static const char *const shapes[] = { "status_error", "no_status", "no_token", "no_count", "nil_result", NULL };

static bool has_shape(const struct exchange *x, const char *shape)
{
    return x->shape && !strcmp(x->shape, shape);
}

static bool is_2_0(void)
{
    return !strcmp(api, "2.0");
}

static const char *nil(void)
{
    return !strcmp(nil_form, "list") ? "[]" : !strcmp(nil_form, "false") ? "false" : "null";
}

/* ---- JSON ---- */

static json_object *member(json_object *of, const char *name)
{
    json_object *value = NULL;

    if (json_object_is_type(of, json_type_object))
        json_object_object_get_ex(of, name, &value);
    return value;
}

static const char *member_text(json_object *of, const char *name)
{
    json_object *value = member(of, name);

    return json_object_is_type(value, json_type_string) ? json_object_get_string(value) : NULL;
}

static int64_t member_int(json_object *of, const char *name, int64_t usual)
{
    json_object *value = member(of, name);

    return value ? json_object_get_int64(value) : usual;
}

static void put(struct text *out, json_object *value)
{
    text_str(out, json_object_to_json_string_ext(value, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE));
}

/* The body as an object, or NULL. */
static json_object *body_object(const struct exchange *x)
{
    json_tokener *tokener = json_tokener_new();
    json_object *body = NULL;

    if (tokener && x->req.body.len && x->req.body.len < INT32_MAX)
        body = json_tokener_parse_ex(tokener, x->req.body.at, (int)x->req.body.len);
    json_tokener_free(tokener);
    if (json_object_is_type(body, json_type_object))
        return body;
    json_object_put(body);
    return NULL;
}

/* The oid of an entity, or the bare oid that is deprecated. */
static int64_t oid_of(json_object *entity)
{
    return json_object_is_type(entity, json_type_object) ? member_int(entity, "oid", 0) : json_object_get_int64(entity);
}

/* ---- the envelope ---- */

static void session_print(struct text *out, bool known)
{
    if (!known)
        text_str(out, "null");
    else if (is_2_0())
        text_fmt(out, "{\"id\":\"S-%d\",\"agent\":{\"_class\":\"person\",\"oid\":1,\"name\":\"Sandbox\"},"
                 "\"checkoutCenter\":null,\"organization\":null,\"focusAllocation\":null,\"editingAllocations\":%s}",
                 FIRST_SESSION, nil());
    else
        text_fmt(out, "\"S-%d\"", FIRST_SESSION);
}

/* Everything before the payload. The documentation of 1.1 has "1.0" in its examples, and so has this. */
static struct text *envelope(struct exchange *x, int http_status, const char *status, bool known)
{
    struct text *out = answer(x, http_status, "application/json;charset=UTF-8");

    text_fmt(out, "{\"apiVersion\":\"%s\",", is_2_0() ? "2.0" : "1.0");
    if (strcmp(api, "1.0") != 0) {
        text_str(out, "\"uri\":");
        text_json(out, x->req.path);
        text_str(out, ",\"alert\":null,");
    }
    text_str(out, "\"session\":");
    session_print(out, known);
    if (!has_shape(x, "no_status")) {
        text_str(out, ",\"status\":");
        text_json(out, slice_of(status));
    }
    text_fmt(out, ",\"notifications\":%s,\"payload\":", nil());
    return out;
}

static struct text *ok(struct exchange *x)
{
    return envelope(x, 200, "ok", true);
}

static void failed(struct exchange *x, int http_status, const char *status, const char *message)
{
    struct text *out = envelope(x, http_status, status, strcmp(status, "unauthenticated") != 0);

    text_str(out, "{\"message\":");
    text_json(out, slice_of(message));
    text_str(out, "}}");
}

static void refuse(struct exchange *x, const char *message)
{
    failed(x, 200, "error", message);
}

static void error(struct exchange *x, int status, const char *code, const char *message, enum error_form form)
{
    if (form == ERROR_XML) {
        text_fmt(answer(x, status, "application/xml"), "<error><code>%s</code><message>", code);
        text_xml(&x->answer.body, slice_of(message));
        text_str(&x->answer.body, "</message></error>");
    } else if (status == 401) {
        failed(x, 200, "unauthenticated", message);
    } else {
        failed(x, status, "error", message);
    }
}

/* ---- bearer tokens: base64 of {"type": "session", "value": "<uuid>"} ---- */

static const char digits64[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static void base64_put(struct text *out, struct slice s)
{
    for (size_t i = 0; i < s.len; i += 3) {
        unsigned n = 0, have = s.len - i < 3 ? (unsigned)(s.len - i) : 3;
        char four[4];

        for (unsigned j = 0; j < 3; j++)
            n = n << 8 | (j < have ? (unsigned char)s.at[i + j] : 0);
        for (unsigned j = 0; j < 4; j++)
            four[j] = j <= have ? digits64[n >> (18 - 6 * j) & 63] : '=';
        text_add(out, four, 4);
    }
}

/* Into buf, zero-terminated; false when it does not fit or is none. */
static bool base64_read(struct slice s, char *buf, size_t cap)
{
    unsigned n = 0, bits = 0;
    size_t len = 0;

    for (size_t i = 0; i < s.len && s.at[i] != '='; i++) {
        const char *digit = s.at[i] ? strchr(digits64, s.at[i]) : NULL;

        if (!digit || len + 1 >= cap)
            return false;
        n = (n << 6 | (unsigned)(digit - digits64)) & 0xFFFF;
        bits += 6;
        if (bits >= 8) {
            bits -= 8;
            buf[len++] = (char)(n >> bits & 0xFF);
        }
    }
    buf[len] = '\0';
    return true;
}

static void bearer_put(struct text *out, const char *uuid)
{
    struct text value = { 0 };

    text_fmt(&value, "{\"type\": \"session\", \"value\": \"%s\"}", uuid);
    base64_put(out, text_slice(&value));
    text_release(&value);
}

static bool bearer_valid(struct slice bearer)
{
    char value[256];
    json_object *of;
    const char *uuid;
    bool valid;

    if (!base64_read(bearer, value, sizeof value))
        return false;
    of = json_tokener_parse(value);
    uuid = member_text(of, "value");
    valid = uuid && tokens_valid(&tokens, slice_of(uuid));
    json_object_put(of);
    return valid;
}

/* ---- sessions ---- */

static bool session_valid(struct exchange *x, json_object *body)
{
    struct slice s = x->req.authorization;
    const char *sessionid = member_text(body, "sessionid");

    if (is_2_0()) {
        if (!slice_starts(s, "Bearer "))
            return false;
        s = (struct slice){ s.at + 7, s.len - 7 };
        x->credential = slice_hash(s);
        return bearer_valid(s);
    }
    if (!sessionid)
        return false;
    x->credential = slice_hash(slice_of(sessionid));
    return tokens_valid(&tokens, slice_of(sessionid));
}

/* Whether the call may go on; false: it is answered. Shapes that any call may have are here. */
static bool admitted(struct exchange *x, json_object *body)
{
    if (!body)
        refuse(x, "the body is not a JSON object");
    else if (!session_valid(x, body))
        failed(x, 200, "unauthenticated", "The session is not authenticated");
    else if (has_shape(x, "status_error"))
        failed(x, 200, x->shape_value.len ? x->shape_value.at : "error", "Something went wrong");
    else
        return true;
    return false;
}

static void centers_print(struct text *out)
{
    size_t count = json_object_is_type(centers, json_type_array) ? json_object_array_length(centers) : 0;
    const char *comma = "";

    if (!count) {
        text_str(out, nil());
        return;
    }
    text_str(out, "[");
    for (size_t i = 0; i < count; i++) {
        json_object *center = json_object_array_get_idx(centers, i);
        const char *name = member_text(center, "name");

        text_fmt(out, "%s{\"_class\":\"%s\",\"oid\":%" PRId64 ",\"name\":", comma,
                 !strcmp(class_form, "hyphen") ? "checkout-center" : "checkoutCenter", member_int(center, "oid", 0));
        text_json(out, slice_of(name ? name : ""));
        text_str(out, "}");
        comma = ",";
    }
    text_str(out, "]");
}

static bool center_known(int64_t oid)
{
    size_t count = json_object_is_type(centers, json_type_array) ? json_object_array_length(centers) : 0;

    for (size_t i = 0; i < count; i++)
        if (member_int(json_object_array_get_idx(centers, i), "oid", 0) == oid)
            return true;
    return false;
}

static void key_put(struct exchange *x, const char *key)
{
    size_t len = key ? strlen(key) : 0;
    char *to = x->key_bytes + x->key_len;

    if (!len || len > sizeof x->key_bytes - x->key_len)
        return;
    memcpy(to, key, len);
    x->key_len += len;
    exchange_key(x, (struct slice){ to, len });
}

static void key_put_oid(struct exchange *x, json_object *entity)
{
    char oid[24];

    if (!oid_of(entity))
        return;
    snprintf(oid, sizeof oid, "%" PRId64, oid_of(entity));
    key_put(x, oid);
}

static void start_keys(struct exchange *x)
{
    json_object *body = body_object(x);

    key_put(x, member_text(body, "userid"));
    json_object_put(body);
}

static void roles_print(struct text *out)
{
    bool old = !strcmp(api, "1.0");

    text_fmt(out, ",\"roles\":{\"%s\":%s,\"%s\":%s,\"operator\":", old ? "patron" : "circulatingPatron", nil(),
             old ? "staff" : "noncirculatingPatron", nil());
    centers_print(out);
    text_str(out, "}");
}

static void start_session(struct exchange *x, json_object *body)
{
    const char *who = member_text(body, "userid"), *with = member_text(body, "password");
    char uuid[TOKEN_LEN + 1];
    struct text token = { 0 }, *out;

    if (!who || !with || strcmp(who, userid) != 0 || strcmp(with, password) != 0) {
        failed(x, 200, "unauthenticated", "Invalid userid or password");
        return;
    }
    if (is_2_0() && !slice_is(x->req.authorization, "Bearer Requested")) {
        refuse(x, "a bearer token has to be requested");
        return;
    }
    tokens_issue(&tokens, session_seconds, uuid);
    bearer_put(&token, uuid);
    x->credential = slice_hash(is_2_0() ? text_slice(&token) : slice_of(uuid));
    out = ok(x);
    text_fmt(out, "{\"id\":\"S-%d\"", FIRST_SESSION);
    if (!has_shape(x, "no_token"))
        text_fmt(out, ",\"uuid\":\"%s\"", uuid);
    text_fmt(out, ",\"agent\":{\"_class\":\"person\",\"oid\":1,\"name\":\"Sandbox\",\"userid\":\"sandbox\"},"
             "\"capabilities\":%s", nil());
    roles_print(out);
    text_str(out, "}");
    if (!has_shape(x, "no_token"))
        text_fmt(out, is_2_0() ? ",\"sessionToken\":\"%.*s\"" : ",\"sessionid\":\"%.*s\"",
                 is_2_0() ? (int)token.len : TOKEN_LEN, is_2_0() ? token.at : uuid);
    text_str(out, "}");
    text_release(&token);
}

static void start(struct exchange *x)
{
    json_object *body = body_object(x);

    logins++;
    start_session(x, body);
    json_object_put(body);
}

static void info(struct exchange *x)
{
    struct instant now = { wall_ms() / 1000, 0 };
    struct text *out = ok(x);
    char time[32];

    instant_print(now, time);
    text_fmt(out, "{\"serverTime\":\"%.19s.%06d%s\",\"webcoVersion\":", time, (int)(wall_ms() % 1000) * 1000, time + 19);
    text_json(out, slice_of(version));
    text_str(out, ",\"features\":{\"attachmentLimit\":104857600}}}");
}

static void logout(struct exchange *x)
{
    json_object *body = body_object(x);
    struct slice bearer = x->req.authorization;
    char value[256];

    if (admitted(x, body)) {
        if (is_2_0()) {
            bearer = (struct slice){ bearer.at + 7, bearer.len - 7 };
            json_object *of = base64_read(bearer, value, sizeof value) ? json_tokener_parse(value) : NULL;

            tokens_end(&tokens, slice_of(member_text(of, "value")));
            json_object_put(of);
        } else {
            tokens_end(&tokens, slice_of(member_text(body, "sessionid")));
        }
        text_str(ok(x), "true}");
    }
    json_object_put(body);
}

static void scope_keys(struct exchange *x)
{
    json_object *body = body_object(x);

    key_put_oid(x, member(body, "checkoutCenter"));
    json_object_put(body);
}

static void scope(struct exchange *x)
{
    json_object *body = body_object(x);

    if (!admitted(x, body)) {
        /* answered */
    } else if (!center_known(oid_of(member(body, "checkoutCenter")))) {
        refuse(x, "there is no such checkout center");
    } else {
        text_fmt(ok(x), "{\"checkoutCenter\":{\"oid\":%" PRId64 "}}}", oid_of(member(body, "checkoutCenter")));
    }
    json_object_put(body);
}

/* ---- properties ---- */

static void value_print(struct text *out, json_object *value, json_object *wanted);

static void member_print(struct text *out, const char *name, json_object *value, json_object *wanted)
{
    if (out->at[out->len - 1] != '{')
        text_str(out, ",");
    text_json(out, slice_of(name));
    text_str(out, ":");
    value_print(out, value, wanted);
}

/* Of an entity its class, oid and name come in any case. */
static bool comes_anyway(const char *name)
{
    return !strcmp(name, "_class") || !strcmp(name, "oid") || !strcmp(name, "name");
}

/* wanted: a list of names and {property, subProperties}. What an object does not have is nil. */
static void properties_print(struct text *out, json_object *of, json_object *wanted)
{
    text_str(out, "{");
    for (size_t i = 0; i < 3; i++) {
        static const char *const always[] = { "_class", "oid", "name" };

        if (member(of, always[i]))
            member_print(out, always[i], member(of, always[i]), NULL);
    }
    for (size_t i = 0; i < json_object_array_length(wanted); i++) {
        json_object *one = json_object_array_get_idx(wanted, i), *inner = member(one, "subProperties");
        const char *name = inner ? member_text(one, "property") : json_object_get_string(one);

        if (name && !comes_anyway(name))
            member_print(out, name, member(of, name), inner);
    }
    text_str(out, "}");
}

/* wanted NULL: an entity within another is as short as can be, and anything else is whole. */
static void value_print(struct text *out, json_object *value, json_object *wanted)
{
    if (json_object_is_type(value, json_type_array) && json_object_array_length(value)) {
        text_str(out, "[");
        for (size_t i = 0; i < json_object_array_length(value); i++) {
            if (i)
                text_str(out, ",");
            value_print(out, json_object_array_get_idx(value, i), wanted);
        }
        text_str(out, "]");
    } else if (json_object_is_type(value, json_type_object) && json_object_is_type(wanted, json_type_array)) {
        properties_print(out, value, wanted);
    } else if (json_object_is_type(value, json_type_object) && member(value, "oid")) {
        json_object *none = json_object_new_array();

        properties_print(out, value, none);
        json_object_put(none);
    } else if (!value || json_object_is_type(value, json_type_array)) {
        text_str(out, nil());
    } else {
        put(out, value);
    }
}

static void row_print(struct text *out, json_object *row, json_object *wanted)
{
    json_object *raw;

    if (json_object_object_get_ex(row, "_raw", &raw)) {
        put(out, raw);
        return;
    }
    if (json_object_is_type(wanted, json_type_array)) {
        properties_print(out, row, wanted);
        return;
    }
    text_str(out, "{");
    json_object_object_foreach(row, name, value)
        member_print(out, name, value, NULL);
    text_str(out, "}");
}

/* ---- allocations ---- */

/* A timestamp with its fraction, which is left out. */
static bool time_read(const char *written, int64_t *ret_s)
{
    struct instant i;
    char whole[40];
    size_t digits;

    if (!written || strlen(written) < 20 || strlen(written) >= sizeof whole)
        return false;
    memcpy(whole, written, 19);
    digits = written[19] == '.' ? 1 + strspn(written + 20, "0123456789") : 0;
    snprintf(whole + 19, sizeof whole - 19, "%s", written + 19 + digits);
    if (!instant_read(slice_of(whole), &i))
        return false;
    *ret_s = i.epoch_s;
    return true;
}

/* Whether a row's time lies on the right side of the query's; one without that time does not. */
static bool time_fits(json_object *row, const char *name, const char *otherwise, int64_t bound, bool latest)
{
    const char *written = member_text(row, name);
    int64_t at;

    if (!written && otherwise)
        written = member_text(row, otherwise);
    return time_read(written, &at) && (latest ? at <= bound : at >= bound);
}

/* One member of a query. ret_why: it is none that is known, or cannot be read. */
static bool fits_one(json_object *row, const char *name, json_object *value, const char **ret_why)
{
    const char *text = json_object_is_type(value, json_type_string) ? json_object_get_string(value) : NULL, *own;
    int64_t bound;

    if (!strcmp(name, "state") || !strcmp(name, "uniqueId") || !strcmp(name, "name")) {
        own = member_text(row, name);
        return own && text && !strcmp(own, text);
    }
    if (!strcmp(name, "center"))
        return oid_of(member(row, "checkoutCenter")) == oid_of(value);
    if (strcmp(name, "latestScheduledEnd") != 0 && strcmp(name, "earliestActualEnd") != 0
        && strcmp(name, "latestActualEnd") != 0) {
        *ret_why = "there is no such query";
        return false;
    }
    if (!time_read(text, &bound)) {
        *ret_why = "a time has a zone";
        return false;
    }
    if (!strcmp(name, "latestScheduledEnd"))
        return time_fits(row, "scheduledEndTime", "returnTime", bound, true);
    return time_fits(row, "realEndTime", NULL, bound, name[0] == 'l');
}

static bool fits(json_object *row, json_object *query, const char **ret_why)
{
    json_object *members = member(query, "and") ? member(query, "and") : query;
    bool all = true, raw = json_object_object_get_ex(row, "_raw", NULL);

    if (!json_object_is_type(members, json_type_object))
        *ret_why = "a search needs a query";
    if (*ret_why)
        return false;
    json_object_object_foreach(members, name, value)
        all = (fits_one(row, name, value, ret_why) || (raw && !*ret_why)) && all;
    return all && !*ret_why;
}

struct found { json_object **at; size_t count; };

static int by_patron(const void *a, const void *b)
{
    json_object *first = *(json_object *const *)a, *second = *(json_object *const *)b;
    int64_t one = oid_of(member(first, "patron")), other = oid_of(member(second, "patron"));

    if (one == other) {
        one = member_int(first, "oid", 0);
        other = member_int(second, "oid", 0);
    }
    return (one > other) - (one < other);
}

/* Those that fit, in order, up to the limit. False: ret_why says what is wrong with the query. */
static bool find(json_object *asked, struct found *ret, size_t *ret_total, const char **ret_why)
{
    json_object *query = member(asked, "query"), *nothing = json_object_new_object();
    const char *order = member_text(asked, "orderBy");
    int64_t limit = member_int(asked, "limit", 0);

    *ret = (struct found){ memory(NULL, (row_count + 1) * sizeof *ret->at), 0 };
    fits(nothing, query, ret_why); /* a wrong query is wrong without rows too */
    json_object_put(nothing);
    if (order && strcmp(order, "patronId") != 0)
        *ret_why = "there is no such order";
    for (size_t i = 0; i < row_count && !*ret_why; i++)
        if (fits(rows[i], query, ret_why))
            ret->at[ret->count++] = rows[i];
    if (order)
        qsort(ret->at, ret->count, sizeof *ret->at, by_patron);
    *ret_total = ret->count;
    if (limit > 0 && (uint64_t)limit < ret->count)
        ret->count = (size_t)limit;
    if (most_rows > 0 && (uint64_t)most_rows < ret->count)
        ret->count = (size_t)most_rows;
    return !*ret_why;
}

/* One {"result":[…],"count":n} for one {"query":…}. */
static bool result_print(struct exchange *x, struct text *out, json_object *asked, json_object *wanted, const char **ret_why)
{
    struct found found;
    size_t total;
    bool good = find(asked, &found, &total, ret_why);

    if (has_shape(x, "nil_result"))
        found.count = total = 0;
    text_str(out, "{\"result\":");
    text_str(out, found.count ? "[" : has_shape(x, "nil_result") ? "null" : nil());
    for (size_t i = 0; i < found.count && good; i++) {
        if (i)
            text_str(out, ",");
        row_print(out, found.at[i], wanted);
    }
    if (found.count)
        text_str(out, "]");
    if (!has_shape(x, "no_count"))
        text_fmt(out, ",\"count\":%zu", !strcmp(count_form, "sent") ? found.count : total);
    text_str(out, "}");
    free(found.at);
    return good;
}

static bool results_print(struct exchange *x, struct text *out, json_object *body, const char **ret_why)
{
    json_object *several = member(body, "multiQuery"), *wanted = member(body, "properties");
    bool good = true;

    if (!json_object_is_type(several, json_type_array)) {
        bool list = !strcmp(payload_form, "list");

        text_str(out, list ? "[" : "");
        good = result_print(x, out, body, wanted, ret_why);
        text_str(out, list ? "]" : "");
        return good;
    }
    text_str(out, "[");
    for (size_t i = 0; i < json_object_array_length(several) && good; i++) {
        if (i)
            text_str(out, ",");
        good = result_print(x, out, json_object_array_get_idx(several, i), wanted, ret_why);
    }
    text_str(out, "]");
    return good;
}

static void search_keys(struct exchange *x)
{
    json_object *body = body_object(x), *query = member(body, "query"), *and = member(query, "and");

    key_put(x, member_text(and ? and : query, "uniqueId"));
    key_put(x, member_text(and, "state"));
    key_put_oid(x, member(and, "center"));
    json_object_put(body);
}

static void search(struct exchange *x)
{
    json_object *body = body_object(x);
    const char *why = NULL;

    if (admitted(x, body)) {
        struct text *out = ok(x);

        if (results_print(x, out, body, &why))
            text_str(out, "}");
        else
            refuse(x, why);
    }
    json_object_put(body);
}

static void oid_keys(struct exchange *x)
{
    json_object *body = body_object(x);

    key_put_oid(x, member(body, "oid"));
    json_object_put(body);
}

static json_object *row_with(int64_t oid)
{
    for (size_t i = 0; i < row_count; i++)
        if (oid && member_int(rows[i], "oid", 0) == oid)
            return rows[i];
    return NULL;
}

static json_object *person_with(int64_t oid)
{
    for (size_t i = 0; i < row_count; i++)
        if (oid && oid_of(member(rows[i], "patron")) == oid)
            return member(rows[i], "patron");
    return NULL;
}

static void get(struct exchange *x, json_object *(*with)(int64_t oid), const char *otherwise)
{
    json_object *body = body_object(x), *found;

    if (admitted(x, body)) {
        found = with(member_int(body, "oid", 0));
        if (found) {
            row_print(ok(x), found, member(body, "properties"));
            text_str(&x->answer.body, "}");
        } else {
            refuse(x, otherwise);
        }
    }
    json_object_put(body);
}

static void get_allocation(struct exchange *x)
{
    get(x, row_with, "there is no such allocation");
}

static void get_person(struct exchange *x)
{
    get(x, person_with, "there is no such person");
}

/* Every command is a POST, so that one nobody knows is one too. */
static void other(struct exchange *x)
{
    failed(x, 404, "error", "there is no such command");
}

/* ---- the admin side ---- */

static void row_add(json_object *row)
{
    if (row_count == row_cap) {
        row_cap = row_cap ? row_cap * 2 : 256;
        rows = memory(rows, row_cap * sizeof *rows);
    }
    rows[row_count++] = row;
}

static void rows_forget(void)
{
    for (size_t i = 0; i < row_count; i++)
        json_object_put(rows[i]);
    free(rows);
    rows = NULL;
    row_count = row_cap = 0;
}

static void append(struct exchange *x, bool replace)
{
    json_object *body = body_json(x);

    if (!body)
        return;
    if (!json_object_is_type(body, json_type_array)) {
        answer_json_error(x, 400, "allocations are an array of objects");
        json_object_put(body);
        return;
    }
    if (replace)
        rows_forget();
    for (size_t i = 0; i < json_object_array_length(body); i++) {
        json_object *of = json_object_array_get_idx(body, i);

        if (json_object_is_type(of, json_type_object))
            row_add(json_object_get(of));
    }
    json_object_put(body);
    text_fmt(answer(x, 200, "application/json"), "{\"rows\":%zu}\n", row_count);
}

static void admin_replace(struct exchange *x)
{
    append(x, true);
}

static void admin_append(struct exchange *x)
{
    append(x, false);
}

static void admin_rows(struct exchange *x)
{
    struct text *out = answer(x, 200, "application/json");

    text_str(out, "[");
    for (size_t i = 0; i < row_count; i++) {
        text_str(out, i ? ",\n" : "");
        put(out, rows[i]);
    }
    text_str(out, "]\n");
}

static void admin_patch(struct exchange *x)
{
    json_object *body = body_json(x);
    size_t changed = 0;
    int64_t oid;

    if (!body)
        return;
    if (!json_object_is_type(body, json_type_object) || !slice_int64(x->req.arg, &oid)) {
        answer_json_error(x, 400, "a patch is an object of members, of an oid");
        json_object_put(body);
        return;
    }
    for (size_t i = 0; i < row_count; i++) {
        if (member_int(rows[i], "oid", 0) != oid)
            continue;
        json_object_object_foreach(body, name, value)
            json_object_object_add(rows[i], name, json_object_get(value));
        changed++;
    }
    json_object_put(body);
    text_fmt(answer(x, changed ? 200 : 404, "application/json"), "{\"rows\":%zu}\n", changed);
}

static void admin_delete(struct exchange *x)
{
    size_t kept = 0, before = row_count;
    int64_t oid;

    for (size_t i = 0; i < row_count; i++) {
        if (slice_int64(x->req.arg, &oid) && member_int(rows[i], "oid", 0) == oid)
            json_object_put(rows[i]);
        else
            rows[kept++] = rows[i];
    }
    row_count = kept;
    text_fmt(answer(x, kept < before ? 200 : 404, "application/json"), "{\"rows\":%zu}\n", before - kept);
}

struct generated { const char *prefix, *state; int64_t center, minutes; };

/* As WebCheckout writes it, with six digits of a fraction. */
static void time_put(struct text *out, const char *name, struct instant at)
{
    char time[32];

    instant_print(at, time);
    text_fmt(out, ",\"%s\":\"%.19s.000000%s\"", name, time, time + 19);
}

static json_object *generate_row(int64_t number, int64_t person, struct instant from, const struct generated *g)
{
    struct instant to = { from.epoch_s + g->minutes * 60, from.offset_s };
    struct text of = { 0 };
    json_object *row;

    text_fmt(&of, "{\"_class\":\"allocation\",\"oid\":%" PRId64 ",\"name\":\"%s%" PRId64 "\",\"uniqueId\":\"%s%" PRId64
             "\",\"state\":", FIRST_ALLOCATION + number, g->prefix, number, g->prefix, number);
    text_json(&of, slice_of(g->state));
    text_fmt(&of, ",\"patron\":{\"_class\":\"person\",\"oid\":%" PRId64 ",\"name\":\"Person Number %" PRId64 "\",\"userid\":"
             "\"G%08" PRId64 "\",\"barcode\":\"2282%010" PRId64 "\"},\"patronPreferredEmail\":\"g%08" PRId64 "@example.edu\"",
             FIRST_PERSON + person, person, person, person, person);
    text_fmt(&of, ",\"checkoutCenter\":{\"_class\":\"checkoutCenter\",\"oid\":%" PRId64 ",\"name\":\"Center %" PRId64 "\"}",
             g->center, g->center);
    time_put(&of, "pickupTime", from);
    time_put(&of, "returnTime", to);
    time_put(&of, "scheduledEndTime", to);
    text_fmt(&of, ",\"realStartTime\":null,\"realEndTime\":null,\"allocationItems\":[{\"quantity\":1,\"state\":\"OUT\","
             "\"resource\":{\"_class\":\"resource\",\"oid\":%" PRId64 ",\"name\":\"Room %" PRId64 "\",\"barcode\":\"R%" PRId64
             "\"}}]}", number, number, number);
    text_add(&of, "", 1);
    row = json_tokener_parse(of.at);
    text_release(&of);
    return row;
}

/* As at LibCal: `slots` behind one another, then `days` in a row. */
static void admin_generate(struct exchange *x)
{
    json_object *of = body_json(x);
    const char *start_text = member_text(of, "start"), *prefix = member_text(of, "prefix"), *said = member_text(of, "state");
    struct generated g = { prefix ? prefix : "CK-", said ? said : "CHECKOUT", member_int(of, "center", 53207831),
                           member_int(of, "minutes", 60) };
    int64_t count = member_int(of, "count", 0), people = member_int(of, "people", count), first = member_int(of, "first", 1);
    int64_t person = member_int(of, "from", 1), slots = member_int(of, "slots", 1), days = member_int(of, "days", 1);
    struct instant from = { wall_ms() / 1000, 0 };

    if (!of)
        return;
    from.epoch_s += 3600 - from.epoch_s % 3600;
    if (count < 0 || count > 1000000 || people < 1 || slots < 1 || days < 1 || g.minutes < 1
        || (start_text && !instant_read(slice_of(start_text), &from)) || strpbrk(g.prefix, "\"\\") || strlen(g.prefix) > 32) {
        answer_json_error(x, 400, "count, people, slots, days and minutes are positive, start is an instant");
        json_object_put(of);
        return;
    }
    for (int64_t i = 0; i < count; i++) {
        struct instant at = from;

        at.epoch_s += i % slots * g.minutes * 60 + i / slots % days * 86400;
        row_add(generate_row(first + i, person + i % people, at, &g));
    }
    json_object_put(of);
    text_fmt(answer(x, 200, "application/json"), "{\"rows\":%zu}\n", row_count);
}

static void reset(unsigned what)
{
    if (what & RESET_DATA)
        rows_forget();
    if (what & RESET_COUNTS)
        logins = 0;
    if (what & RESET_TOKENS)
        tokens_revoke(&tokens);
}

static void count(struct text *out)
{
    text_fmt(out, ",\"logins\":%" PRIu64 ",\"max_logins_at_once\":%" PRIu64 ",\"rows\":%zu", logins,
             state.counts[0].max_in_flight, row_count);
}

static const struct call calls[] = {
    { HTTP_POST, "/session/start",           "start",           start_keys,  start },
    { HTTP_POST, "/session/info",            "info",            NULL,        info },
    { HTTP_POST, "/session/logout",          "logout",          NULL,        logout },
    { HTTP_POST, "/session/setSessionScope", "setSessionScope", scope_keys,  scope },
    { HTTP_POST, "/allocation/search",       "search",          search_keys, search },
    { HTTP_POST, "/allocation/get",          "get",             oid_keys,    get_allocation },
    { HTTP_POST, "/person/get",              "person",          oid_keys,    get_person },
    { HTTP_GET,  NULL,                       "other",           NULL,        other },
};

static const struct call admin[] = {
    { HTTP_PUT,    "/allocations",    "replace",  NULL, admin_replace },
    { HTTP_POST,   "/allocations",    "append",   NULL, admin_append },
    { HTTP_GET,    "/allocations",    "rows",     NULL, admin_rows },
    { HTTP_PATCH,  "/allocations/{}", "patch",    NULL, admin_patch },
    { HTTP_DELETE, "/allocations/{}", "delete",   NULL, admin_delete },
    { HTTP_POST,   "/generate",       "generate", NULL, admin_generate },
    { HTTP_GET,    NULL,              NULL,       NULL, NULL },
};

const struct vendor webcheckout = {
    .name = "webcheckout", .prefixes = { "/rest", "/webcheckout/rest" }, .calls = calls, .admin = admin, .settings = settings,
    .shapes = shapes, .state = &state, .reset = reset, .error = error, .count = count,
};

/*
 * folio - Okapi with mod-login and mod-patron behind it, 3.0 or later; or edge-patron before them.
 *
 * A call passes the gateway (tenant, token, permission), then mod-patron's framework (ids, headers, body), then the
 * circulation rules. Each of the three has errors of its own, in its own form; edge-patron turns all of them into its
 * own JSON. What another version does is a question of the setting `version`.
 */
#include "folio.h"

#include "settings.h"
#include "tokens.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define FOREVER_S 1e9
#define UUID_PATTERN "^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[1-5][0-9a-fA-F]{3}-[89abAB][0-9a-fA-F]{3}-[0-9a-fA-F]{12}$"

enum { DAY_S = 86400 };

struct refresh_token { char text[TOKEN_LEN + 1]; bool spent; };

static struct vendor_state state;
static struct tokens tokens, refresh_source;
static struct refresh_token *refresh_tokens;
static size_t refresh_count;
static uint64_t logins, refreshes, leaks;

static double version, token_seconds;
static bool edge, legacy_login, expiring_login, account_active, module_enabled, duplicate_holds, accept_all, hang_on_missing;
static int64_t renew_days, renewals_max;
static char *tenant, *username, *password, *api_key, *missing_call, *dates, *currency;
static struct names permissions, pickup_locations;

static const struct setting settings[] = {
    { "latency_ms", SETTING_NUMBER, &state.latency_ms, "0", "every answer waits this long", NULL },
    { "jitter_ms", SETTING_NUMBER, &state.jitter_ms, "0", "and up to this much longer", NULL },
    { "version", SETTING_NUMBER, &version, "3.0", "of mod-patron: 3.0, 4.0, 5.1, 5.4, 6.5", NULL },
    { "edge", SETTING_BOOL, &edge, "false", "edge-patron answers instead of Okapi", NULL },
    { "api_key", SETTING_TEXT, &api_key, "\"eyJzIjoic2FuZGJveCIsInQiOiJkaWt1IiwidSI6ImVkZ2UifQ==\"",
      "edge-patron's", NULL },
    { "tenant", SETTING_TEXT, &tenant, "\"diku\"", "the only one", NULL },
    { "username", SETTING_TEXT, &username, "\"sandbox\"", "who may log in", NULL },
    { "password", SETTING_TEXT, &password, "\"sandbox-folio-password\"", "and with what", NULL },
    { "expiring_login", SETTING_BOOL, &expiring_login, "true", "there is /authn/login-with-expiry", NULL },
    { "legacy_login", SETTING_BOOL, &legacy_login, "true", "there is /authn/login", NULL },
    { "token_seconds", SETTING_NUMBER, &token_seconds, "600", "how long an access token lives", NULL },
    { "account_active", SETTING_BOOL, &account_active, "true", "the user who logs in is active", NULL },
    { "permissions", SETTING_NAMES, &permissions, "null", "what that user may do; null: everything", NULL },
    { "module_enabled", SETTING_BOOL, &module_enabled, "true", "the tenant has mod-patron", NULL },
    { "missing_call", SETTING_TEXT, &missing_call, "\"okapi\"", "who answers a call that is not there: okapi, module", NULL },
    { "accept_all", SETTING_BOOL, &accept_all, "false", "every id is a user's, an item's, an instance's", NULL },
    { "duplicate_holds", SETTING_BOOL, &duplicate_holds, "true", "a second open hold on the same is made", NULL },
    { "hang_on_missing", SETTING_BOOL, &hang_on_missing, "false",
      "3.0: a hold on what does not exist is never answered", NULL },
    { "pickup_locations", SETTING_NAMES, &pickup_locations, "null", "service points that are; null: all", NULL },
    { "renew_days", SETTING_INT, &renew_days, "14", "by how much a renewal moves the due date", NULL },
    { "renewals_max", SETTING_INT, &renewals_max, "0", "of one loan; 0: no maximum", NULL },
    { "currency", SETTING_TEXT, &currency, "\"EUR\"", "the tenant's, from 5.4; before it is USD", NULL },
    { "dates", SETTING_TEXT, &dates, "\"usual\"", "how dates are written: usual, z, mixed", NULL },
    SETTING_END
};

static const char *const shapes[] = {
    "no_due_dates", "bare_holds", "hold_status", "charge_without_item", "includes_ignored", "mixed_dates",
    "inactive", "refused", "refused_in_500", "not_requestable", "edge_timeout", NULL
};

static bool has_shape(const struct exchange *x, const char *shape)
{
    return x->shape && !strcmp(x->shape, shape);
}

/* ---- what FOLIO says ---- */

static struct text *plain(struct exchange *x, int status)
{
    return answer(x, status, "text/plain");
}

/* {"errors":[{…}]}, with the one parameter it is about. */
static void errors_print(struct text *out, const char *message, const char *code, const char *key, const char *value)
{
    text_str(out, "{\"errors\":[{\"message\":");
    text_json(out, slice_of(message));
    if (code)
        text_fmt(out, ",\"code\":\"%s\"", code);
    text_str(out, ",\"parameters\":[");
    if (key) {
        text_fmt(out, "{\"key\":\"%s\",\"value\":", key);
        text_json(out, slice_of(value));
        text_str(out, "}");
    }
    text_str(out, "]}]}");
}

static void invalid(struct exchange *x, const char *message, const char *code, const char *key, const char *value)
{
    errors_print(answer(x, 422, "application/json"), message, code, key, value);
}

/* What circulation refuses: 3.0 hands the JSON on as the text of a 500. */
static void refused(struct exchange *x, const char *message, const char *key, const char *value)
{
    if (version < 4)
        errors_print(plain(x, 500), message, NULL, key, value);
    else
        invalid(x, message, NULL, key, value);
}

static void edge_error(struct exchange *x, int status, struct slice message)
{
    struct text *out = answer(x, status, "application/json");

    text_fmt(out, "{\"code\":%d,\"errorMessage\":", status);
    text_json(out, message);
    text_str(out, "}");
}

/* edge-patron's router, where it has no route. */
static void no_route(struct exchange *x)
{
    text_str(answer(x, 404, "text/html; charset=utf-8"), "<html><body><h1>Resource not found</h1></body></html>");
}

static void no_module(struct exchange *x)
{
    text_fmt(plain(x, 404), "No suitable module found for path %.*s for tenant %s", (int)x->req.path.len, x->req.path.at,
             tenant);
}

/* A call this version does not have, and one no version has. */
static void no_call(struct exchange *x, bool path_known)
{
    if (edge)
        no_route(x);
    else if (strcmp(missing_call, "module") != 0)
        no_module(x);
    else if (path_known)
        text_fmt(plain(x, 400), "API resource does not support this HTTP method (%s)", http_method_str(x->req.method));
    else
        text_fmt(plain(x, 400), "Invalid URL path requested %.*s", (int)x->req.path.len, x->req.path.at);
}

static void error(struct exchange *x, int status, const char *code, const char *message, enum error_form form)
{
    struct text *out;

    if (edge) {
        edge_error(x, status, slice_of(message));
    } else if (form == ERROR_XML) {
        out = answer(x, status, "application/xml");
        text_str(out, "<error>");
        text_xml(out, slice_of(message));
        text_str(out, "</error>");
    } else if (form == ERROR_USUAL) {
        text_str(plain(x, status), status == 401 ? "Invalid token" : message);
    } else {
        errors_print(answer(x, status, "application/json"), message, code, NULL, NULL);
    }
}

/* ---- log-in ---- */

static void login_keys(struct exchange *x)
{
    struct fields f;
    const struct field *user;

    if (!fields_read(&f, x->req.body) || !(user = fields_get(&f, "username")) || user->value.len > 200)
        return;
    memcpy(x->key_bytes, user->value.at, user->value.len);
    exchange_key(x, (struct slice){ x->key_bytes, user->value.len });
}

/* Okapi, before any module: false when it has answered. */
static bool tenant_fits(struct exchange *x)
{
    if (!x->req.okapi_tenant.len || slice_is(x->req.okapi_tenant, tenant))
        return true;
    text_fmt(plain(x, 400), "No such Tenant %.*s", (int)x->req.okapi_tenant.len, x->req.okapi_tenant.at);
    return false;
}

static bool credentials_fit(struct exchange *x)
{
    const struct field *user, *pass;
    struct fields f;

    if (!x->req.okapi_tenant.len) {
        text_str(plain(x, 400), "Unable to process request Tenant must be set");
        return false;
    }
    if (fields_read(&f, x->req.body) && (user = fields_get(&f, "username")) && (pass = fields_get(&f, "password"))
        && slice_is(user->value, username) && slice_is(pass->value, password) && account_active)
        return true;
    invalid(x, "Wrong username or wrong password or account blocked",
            "wrong.username.or.wrong.password.or.account.blocked", "username", username);
    return false;
}

static void refresh_issue(char ret_token[TOKEN_LEN + 1])
{
    struct refresh_token *t;

    refresh_tokens = memory(refresh_tokens, (refresh_count + 1) * sizeof *refresh_tokens);
    t = &refresh_tokens[refresh_count++];
    t->spent = false;
    tokens_issue(&refresh_source, 0, t->text);
    memcpy(ret_token, t->text, sizeof t->text);
}

static void refresh_revoke(void)
{
    for (size_t i = 0; i < refresh_count; i++)
        refresh_tokens[i].spent = true;
}

/* The order of the two cookies is nobody's promise: the wrong one is first here. */
static void tokens_answer(struct exchange *x)
{
    char access[TOKEN_LEN + 1], refresh[TOKEN_LEN + 1], until[32];
    struct text *out;

    tokens_issue(&tokens, token_seconds, access);
    refresh_issue(refresh);
    x->credential = slice_hash(slice_of(access));
    out = answer(x, 201, "application/json");
    text_fmt(&x->answer.headers,
             "Set-Cookie: folioRefreshToken=%s; Max-Age=604800; Path=/authn; Secure; HTTPOnly; SameSite=Strict\r\n"
             "Set-Cookie: folioAccessToken=%s; Max-Age=%" PRId64 "; Path=/; Secure; HTTPOnly; SameSite=Strict\r\n",
             refresh, access, (int64_t)(token_seconds + 0.999));
    instant_print((struct instant){ wall_ms() / 1000 + (int64_t)token_seconds, 0 }, until);
    text_fmt(out, "{\"accessTokenExpiration\":\"%.19sZ\",", until);
    instant_print((struct instant){ wall_ms() / 1000 + 7 * DAY_S, 0 }, until);
    text_fmt(out, "\"refreshTokenExpiration\":\"%.19sZ\"}", until);
}

static void login_expiring(struct exchange *x)
{
    logins++;
    if (!tenant_fits(x))
        return;
    if (edge || !expiring_login)
        no_call(x, false);
    else if (credentials_fit(x))
        tokens_answer(x);
}

static void login_legacy(struct exchange *x)
{
    char token[TOKEN_LEN + 1];

    logins++;
    if (!tenant_fits(x))
        return;
    if (edge || !legacy_login) {
        no_call(x, false);
    } else if (credentials_fit(x)) {
        tokens_issue(&tokens, FOREVER_S, token);
        x->credential = slice_hash(slice_of(token));
        text_fmt(answer(x, 201, "application/json"), "{\"okapiToken\":\"%s\"}", token);
        text_fmt(&x->answer.headers, "x-okapi-token: %s\r\n", token);
    }
}

static struct slice cookie_named(struct slice cookies, const char *name)
{
    size_t len = strlen(name);

    for (size_t i = 0; i + len < cookies.len; i++) {
        const char *at = cookies.at + i, *end;

        if (memcmp(at, name, len) != 0 || at[len] != '=' || (i && at[-1] != ' ' && at[-1] != ';'))
            continue;
        at += len + 1;
        end = memchr(at, ';', (size_t)(cookies.at + cookies.len - at));
        return (struct slice){ at, (size_t)((end ? end : cookies.at + cookies.len) - at) };
    }
    return (struct slice){ NULL, 0 };
}

/* One that was spent, or that nobody knows, takes all the others with it. */
static void refresh(struct exchange *x)
{
    struct slice token = cookie_named(x->req.cookie, "folioRefreshToken");
    struct refresh_token *found = NULL;

    refreshes++;
    for (size_t i = 0; i < refresh_count && token.len; i++)
        if (!refresh_tokens[i].spent && slice_is(token, refresh_tokens[i].text))
            found = &refresh_tokens[i];
    if (found) {
        found->spent = true;
        tokens_answer(x);
        return;
    }
    leaks++;
    refresh_revoke();
    invalid(x, "Unable to process token refresh request", "token.refresh.unprocessable", NULL, NULL);
}

/* An access token lives to its end whatever happens. */
static void logout(struct exchange *x)
{
    refresh_revoke();
    answer(x, 204, "text/plain");
}

/* ---- the gateway ---- */

static struct slice bearer(struct slice authorization)
{
    static const char word[] = "Bearer ";

    if (!slice_starts(authorization, word))
        return authorization;
    return (struct slice){ authorization.at + sizeof word - 1, authorization.len - (sizeof word - 1) };
}

static struct slice token_of(const struct exchange *x)
{
    if (x->req.okapi_token.len)
        return x->req.okapi_token;
    return x->req.authorization.len ? bearer(x->req.authorization) : cookie_named(x->req.cookie, "folioAccessToken");
}

/* False when Okapi has answered. */
static bool gateway(struct exchange *x, const char *permission)
{
    struct slice token = token_of(x);

    if (x->req.okapi_token.len && x->req.authorization.len && !slice_same(bearer(x->req.authorization), x->req.okapi_token)) {
        text_str(plain(x, 400), "Different tokens in Authentication and X-Okapi-Token. Use only one of them");
        return false;
    }
    if (!tenant_fits(x))
        return false;
    if (!module_enabled || (!x->req.okapi_tenant.len && !tokens_valid(&tokens, token))) {
        no_module(x);
        return false;
    }
    if (!token.len)
        text_fmt(plain(x, 400), "Token missing, access requires permission: %s", permission);
    else if (!tokens_valid(&tokens, token))
        text_str(plain(x, 401), "Invalid token");
    else if (!account_active)
        text_str(plain(x, 401), "Invalid token: user with id 10000000-0000-4000-8000-000000000000 is not active");
    else if (!names_has(&permissions, slice_of(permission)))
        text_fmt(plain(x, 403), "Access for user '%s' (10000000-0000-4000-8000-000000000000) requires permission: %s",
                 username, permission);
    else
        return true;
    return false;
}

/* ---- mod-patron's framework ---- */

static bool id_fits(struct exchange *x, const char *name, struct slice id)
{
    if (uuid_fits(id))
        return true;
    text_fmt(plain(x, 400), "\n '%s' parameter is incorrect. parameter value {%.*s} is not valid: must match \"%s\"", name,
             (int)id.len, id.at, UUID_PATTERN);
    return false;
}

static bool headers_fit(struct exchange *x)
{
    struct slice accept = x->req.accept;

    if (!slice_has(accept, "application/json") && !slice_has(accept, "text/plain") && !slice_has(accept, "*/*")) {
        text_fmt(plain(x, 400), "Accept header must be [\"application/json\",\"text/plain\"] for this request, but it is "
                 "\"%.*s\", can not send */*", (int)accept.len, accept.at);
        return false;
    }
    if (x->req.body.len && !slice_starts(x->req.content_type, "application/json")) {
        text_fmt(plain(x, 400), "Content-type header must be [\"application/json\"] but it is \"%.*s\"",
                 (int)x->req.content_type.len, x->req.content_type.at);
        return false;
    }
    return true;
}

static struct slice member(json_object *of, const char *name)
{
    json_object *value;

    return json_object_object_get_ex(of, name, &value) && value ? slice_of(json_object_get_string(value)) : SLICE("");
}

static json_object *body_read(struct slice body)
{
    json_tokener *tokener = json_tokener_new();
    json_object *of = NULL;

    if (tokener && body.len && body.len < INT32_MAX)
        of = json_tokener_parse_ex(tokener, body.at, (int)body.len);
    json_tokener_free(tokener);
    if (json_object_is_type(of, json_type_object))
        return of;
    json_object_put(of);
    return NULL;
}

static bool item_member_known(struct exchange *x, json_object *body)
{
    static const char *const known[] = { "instanceId", "itemId", "title", "author", "isbn" };
    json_object *item;

    if (!json_object_object_get_ex(body, "item", &item) || !json_object_is_type(item, json_type_object))
        return true;
    json_object_object_foreach(item, name, value) {
        bool found = false;

        (void)value;
        for (size_t i = 0; i < COUNT(known); i++)
            found |= !strcmp(name, known[i]);
        if (!found) {
            invalid(x, "Unrecognized field in item, not marked as ignorable", NULL, "", name);
            return false;
        }
    }
    return true;
}

static bool date_fits(struct exchange *x, json_object *body, const char *name, int64_t *ret_s)
{
    struct slice written = member(body, name);

    *ret_s = 0;
    if (!written.len || folio_date_read(written, ret_s))
        return true;
    text_fmt(plain(x, 400), "Json content error Cannot deserialize value of type `java.util.Date` from String: %s", name);
    return false;
}

/* A hold as the framework lets it pass, from its body. */
struct wish { int64_t requested_s, expires_s, cancelled_s; struct slice pickup_id; };

static bool hold_fits(struct exchange *x, json_object *body, struct wish *ret)
{
    if (!body) {
        text_str(plain(x, 400), "Json content error Unexpected end-of-input");
        return false;
    }
    if (!date_fits(x, body, "requestDate", &ret->requested_s) || !date_fits(x, body, "expirationDate", &ret->expires_s)
        || !date_fits(x, body, "canceledDate", &ret->cancelled_s) || !item_member_known(x, body))
        return false;
    ret->pickup_id = member(body, "pickupLocationId");
    if (!ret->requested_s || !ret->pickup_id.len) {
        struct text *out = answer(x, 422, "application/json");

        text_fmt(out, "{\"errors\":[{\"message\":\"may not be null\",\"type\":\"1\",\"code\":\"-1\",\"parameters\":"
                 "[{\"key\":\"%s\",\"value\":\"null\"}]}]}", ret->requested_s ? "pickupLocationId" : "requestDate");
        return false;
    }
    if (uuid_fits(ret->pickup_id))
        return true;
    invalid(x, "must match \"" UUID_PATTERN "\"", NULL, "pickupLocationId", "");
    return false;
}

/* ---- answers ---- */

static void date_print(const struct exchange *x, struct text *out, const char *name, int64_t at_s, const char *zone)
{
    bool mixed = !strcmp(dates, "mixed") || has_shape(x, "mixed_dates");
    char buf[32];

    if (!at_s)
        return;
    instant_print((struct instant){ at_s, 0 }, buf);
    if (!zone)
        zone = version < 4 ? ".000+0000" : ".000+00:00";
    if (!strcmp(dates, "z") || (mixed && (name[0] == 'd' || name[0] == 'e')))
        zone = "Z";
    text_fmt(out, ",\"%s\":\"%.19s%s\"", name, buf, zone);
}

static void item_print(const struct folio_item *i, struct text *out)
{
    text_fmt(out, "\"item\":{\"instanceId\":\"%s\",\"itemId\":\"%s\",\"title\":", i->instance_id, i->id);
    text_json(out, slice_of(i->title));
    if (i->author[0]) {
        text_str(out, ",\"author\":");
        text_json(out, slice_of(i->author));
    }
    text_str(out, "}");
}

static void loan_print(const struct exchange *x, const struct folio_loan *l, struct text *out)
{
    int64_t due_s = has_shape(x, "no_due_dates") ? 0 : l->due_s;

    text_fmt(out, "{\"id\":\"%s\",", l->id);
    item_print(&folio_data.items[l->item], out);
    date_print(x, out, "loanDate", l->loaned_s, NULL);
    date_print(x, out, "dueDate", due_s, NULL);
    text_fmt(out, ",\"overdue\":%s}", due_s && due_s < wall_ms() / 1000 ? "true" : "false");
}

/* Without its end, so that a cancelled one can say more. */
static void hold_print(const struct exchange *x, const struct folio_hold *h, struct text *out)
{
    text_fmt(out, "{\"requestId\":\"%s\",", h->id);
    item_print(&folio_data.items[h->item], out);
    text_fmt(out, ",\"queuePosition\":%zu,\"status\":", folio_queue_position(h));
    text_json(out, has_shape(x, "hold_status") ? x->shape_value : slice_of(h->status));
    date_print(x, out, "expirationDate", h->expires_s, NULL);
    if (has_shape(x, "bare_holds")) {
        text_str(out, ",\"fulfillmentPreference\":\"Hold Shelf\"");
        return;
    }
    date_print(x, out, "requestDate", h->requested_s, NULL);
    text_fmt(out, ",\"pickupLocationId\":\"%s\"", h->pickup_id);
}

static const char *currency_used(void)
{
    return version < 5.4 ? "USD" : currency;
}

static void charge_print(const struct exchange *x, const struct folio_charge *c, struct text *out)
{
    json_object *amount;

    text_str(out, "{");
    if (c->item != NONE && !has_shape(x, "charge_without_item")) {
        item_print(&folio_data.items[c->item], out);
        text_str(out, ",");
    }
    text_fmt(out, "\"chargeAmount\":{\"amount\":%s,\"isoCurrencyCode\":\"%s\"},\"state\":",
             json_object_object_get_ex(c->of, "amount", &amount) ? json_object_to_json_string(amount) : "0.0", currency_used());
    text_json(out, member(c->of, "state").len ? member(c->of, "state") : SLICE("Unknown"));
    if (member(c->of, "reason").len) {
        text_str(out, ",\"reason\":");
        text_json(out, member(c->of, "reason"));
    }
    if (member(c->of, "accrualDate").len) {
        text_str(out, ",\"accrualDate\":");
        text_json(out, member(c->of, "accrualDate"));
    }
    text_str(out, "}");
}

static bool included(const struct exchange *x, const char *name)
{
    struct slice s;
    char buf[8];

    return query_get(x->req.query, name, buf, sizeof buf, &s) && slice_same_nocase(s, SLICE("true"))
        && !has_shape(x, "includes_ignored");
}

/* Statuses the schema of this version knows; another is its own undoing. */
static bool status_known(struct slice status)
{
    static const char *const known[] = {
        "Open - Not yet filled", "Open - Awaiting pickup", "Open - In transit", "Closed - Filled", "Closed - Cancelled",
        "Open - Awaiting delivery", "New - Awaiting confirmation", "Closed - Unfilled", "Closed - Pickup expired",
    };
    size_t count = version < 4 ? 5 : COUNT(known);

    for (size_t i = 0; i < count; i++)
        if (slice_is(status, known[i]))
            return true;
    return false;
}

/* What the rows of this patron do to the answer as a whole: false when it is answered. */
static bool account_readable(struct exchange *x, const struct folio_user *u)
{
    for (uint32_t h = u->holds; h != NONE; h = folio_data.holds[h].next) {
        struct slice status = slice_of(folio_data.holds[h].status);

        if (!folio_hold_open(&folio_data.holds[h]) || status_known(status))
            continue;
        if (version < 4)
            text_slice_add(plain(x, 500), status);
        else
            invalid(x, "Invalid value of status", "INVALID_STATUS_VALUE", "status", folio_data.holds[h].status);
        return false;
    }
    for (uint32_t c = u->charges; c != NONE; c = folio_data.charges[c].next) {
        if (folio_data.charges[c].item != NONE || version >= 4)
            continue;
        text_str(plain(x, 500), "java.lang.NullPointerException");
        return false;
    }
    return true;
}

static void account(struct exchange *x, uint32_t user)
{
    bool loans_in = included(x, "includeLoans"), holds_in = included(x, "includeHolds");
    bool charges_in = included(x, "includeCharges");
    struct text loans = { 0 }, holds = { 0 }, charges = { 0 };
    size_t loan_count = 0, hold_count = 0, charge_count = 0;
    const struct folio_user *u;
    double owed = 0;

    if (user == NONE) {
        text_str(plain(x, 404), "User not found");
        return;
    }
    u = &folio_data.users[user];
    if ((u->inactive && version < 5.1) || has_shape(x, "inactive")) {
        text_str(plain(x, 400), "User is not active");
        return;
    }
    if (!account_readable(x, u))
        return;
    for (uint32_t l = u->loans; l != NONE; l = folio_data.loans[l].next) {
        if (folio_data.loans[l].ended)
            continue;
        if (loan_count++ && loans_in)
            text_str(&loans, ",");
        if (loans_in)
            loan_print(x, &folio_data.loans[l], &loans);
    }
    for (uint32_t h = u->holds; h != NONE; h = folio_data.holds[h].next) {
        if (!folio_hold_open(&folio_data.holds[h]))
            continue;
        if (hold_count++ && holds_in)
            text_str(&holds, ",");
        if (holds_in) {
            hold_print(x, &folio_data.holds[h], &holds);
            text_str(&holds, "}");
        }
    }
    for (uint32_t c = u->charges; c != NONE; c = folio_data.charges[c].next) {
        json_object *amount;

        if (json_object_object_get_ex(folio_data.charges[c].of, "amount", &amount))
            owed += json_object_get_double(amount);
        if (charge_count++ && charges_in)
            text_str(&charges, ",");
        if (charges_in)
            charge_print(x, &folio_data.charges[c], &charges);
    }
    /* as Java writes a double */
    text_fmt(answer(x, 200, "application/json"), owed == (double)(int64_t)owed ? "{\"totalCharges\":{\"amount\":%.1f" :
             "{\"totalCharges\":{\"amount\":%.15g", owed);
    text_fmt(&x->answer.body, ",\"isoCurrencyCode\":\"%s\"},\"totalChargesCount\":%zu,\"totalLoans\":%zu,\"totalHolds\":%zu",
             currency_used(), charge_count, loan_count, hold_count);
    text_str(&x->answer.body, ",\"charges\":[");
    text_slice_add(&x->answer.body, text_slice(&charges));
    text_str(&x->answer.body, "],\"holds\":[");
    text_slice_add(&x->answer.body, text_slice(&holds));
    text_str(&x->answer.body, "],\"loans\":[");
    text_slice_add(&x->answer.body, text_slice(&loans));
    text_str(&x->answer.body, "]}");
    text_release(&loans);
    text_release(&holds);
    text_release(&charges);
}

/* ---- renewing ---- */

/* Of an item that everybody's id is. */
static uint32_t item_of(struct slice id)
{
    uint32_t item = folio_item_by_id(id);

    return item == NONE && accept_all ? folio_item_add(id, SLICE("")) : item;
}

/* A shape that says no whatever circulation would; true: it has answered. */
static bool refused_by_shape(struct exchange *x)
{
    char message[256];
    bool in_500 = has_shape(x, "refused_in_500");

    if (!in_500 && !has_shape(x, "refused"))
        return false;
    snprintf(message, sizeof message, "%.*s", (int)x->shape_value.len, x->shape_value.at ? x->shape_value.at : "");
    errors_print(answer(x, in_500 ? 500 : 422, in_500 ? "text/plain" : "application/json"),
                 message[0] ? message : "no more of this today", NULL, NULL, NULL);
    return true;
}

static void renew(struct exchange *x, uint32_t user)
{
    struct slice id = x->req.args[1];
    uint32_t item, at = NONE;
    struct folio_effect *e;
    struct folio_loan *l;
    char item_id[UUID_SIZE], message[128];

    if (!id_fits(x, "itemId", id) || refused_by_shape(x))
        return;
    snprintf(item_id, sizeof item_id, "%.*s", (int)id.len, id.at);
    item = folio_item_by_id(id);
    if (item == NONE) {
        snprintf(message, sizeof message, "No item with ID %s exists", item_id);
        invalid(x, message, NULL, "itemId", item_id);
        return;
    }
    at = folio_loan_of_item(item);
    if (at == NONE) {
        invalid(x, "Item is not on loan", NULL, "itemId", item_id);
        return;
    }
    l = &folio_data.loans[at];
    if (l->user != user) {
        invalid(x, "Cannot renew item checked out to different user", NULL, "userId",
                user == NONE ? "" : folio_data.users[user].id);
        return;
    }
    if (renewals_max && l->renewals >= renewals_max) {
        invalid(x, "loan at maximum renewal number", NULL, "loanId", l->id);
        return;
    }
    x->effect = folio_effect_add(FOLIO_RENEWAL, at);
    e = &folio_data.effects[x->effect - 1];
    e->due_before_s = l->due_s;
    e->again = l->renewals++ > 0;
    folio_data.again[FOLIO_RENEWAL] += e->again;
    l->due_s = (l->due_s ? l->due_s : wall_ms() / 1000) + renew_days * DAY_S;
    e->due_s = l->due_s;
    loan_print(x, l, answer(x, 201, "application/json"));
}

/* ---- holding ---- */

/* Whether this user has an open hold on the item, or by instance on the instance. */
static bool has_hold(uint32_t user, uint32_t item, bool by_instance)
{
    for (uint32_t at = folio_data.users[user].holds; at != NONE; at = folio_data.holds[at].next) {
        const struct folio_hold *h = &folio_data.holds[at];

        if (!folio_hold_open(h))
            continue;
        if (h->item == item || (by_instance && h->by_instance
            && !strcmp(folio_data.items[h->item].instance_id, folio_data.items[item].instance_id)))
            return true;
    }
    return false;
}

/* No handler for the failed look-up of 3.0: nobody ever answers. */
static bool never_answered(struct exchange *x)
{
    if (!hang_on_missing || version >= 4)
        return false;
    x->wait_ns = WAIT_FOREVER;
    x->ending = END_CLOSE;
    return true;
}

/* False when circulation has refused it. */
static bool circulation_allows(struct exchange *x, uint32_t user, uint32_t item, bool by_instance, const struct wish *w)
{
    const struct folio_item *i = &folio_data.items[item];
    uint32_t loan = folio_loan_of_item(item);
    const char *blocked = folio_data.users[user].blocked;

    if (i->not_requestable || has_shape(x, "not_requestable"))
        invalid(x, "Cannot find a valid request type for this item",
                version < 6 ? NULL : "CANNOT_FIND_VALID_REQUEST_FOR_ITEM", "itemId", i->id);
    else if (folio_data.users[user].inactive)
        refused(x, "Inactive users cannot make requests.", "requesterId", folio_data.users[user].id);
    else if (blocked)
        refused(x, blocked, "requesterId", folio_data.users[user].id);
    else if (!names_has(&pickup_locations, w->pickup_id))
        refused(x, "Service point is not a Pickup location", "pickupServicePointId", "");
    else if (!by_instance && loan != NONE && folio_data.loans[loan].user == user)
        refused(x, "This requester already has this item on loan", "itemId", i->id);
    else if (!duplicate_holds && has_hold(user, item, by_instance))
        refused(x, by_instance ? "This requester already has an open request for this instance"
                               : "This requester already has an open request for this item", "itemId", i->id);
    else
        return true;
    return false;
}

static void hold_make(struct exchange *x, uint32_t user, uint32_t item, bool by_instance, const struct wish *w)
{
    bool again = has_hold(user, item, by_instance);
    uint32_t at = folio_hold_add(SLICE(""), user, item);
    struct folio_hold *h = &folio_data.holds[at];

    h->requested_s = w->requested_s;
    h->expires_s = w->expires_s;
    h->by_instance = by_instance;
    memcpy(h->pickup_id, w->pickup_id.at, w->pickup_id.len);
    x->effect = folio_effect_add(FOLIO_HOLD, at);
    folio_data.effects[x->effect - 1].again = again;
    folio_data.again[FOLIO_HOLD] += again;
    hold_print(x, h, answer(x, 201, "application/json"));
    text_str(&x->answer.body, "}");
}

static bool edge_date(struct slice s)
{
    int64_t at_s;

    return s.len == 28 && s.at[19] == '.' && (s.at[23] == '+' || s.at[23] == '-') && folio_date_read(s, &at_s);
}

/* edge-patron writes its own time over the request's, and leaves out an expiry in any form but its own. */
static void edge_dates(json_object *body)
{
    char now[40];

    instant_print((struct instant){ wall_ms() / 1000, 0 }, now);
    memcpy(now + 19, ".000+0000", sizeof ".000+0000");
    json_object_object_add(body, "requestDate", json_object_new_string(now));
    if (!edge_date(member(body, "expirationDate")))
        json_object_object_del(body, "expirationDate");
}

static void hold(struct exchange *x, uint32_t user, bool by_instance)
{
    struct slice id = x->req.args[1];
    json_object *body = body_read(x->req.body);
    struct wish w = { 0 };
    char text[UUID_SIZE], message[128];
    uint32_t item = NONE;

    if (edge && body)
        edge_dates(body);
    if (!id_fits(x, by_instance ? "instanceId" : "itemId", id) || !hold_fits(x, body, &w) || refused_by_shape(x)) {
        json_object_put(body);
        return;
    }
    snprintf(text, sizeof text, "%.*s", (int)id.len, id.at);
    if (by_instance && accept_all && !folio_instance_known(id))
        folio_item_add(SLICE(""), id);
    if (user != NONE)
        item = by_instance ? folio_item_of_instance(id, user) : item_of(id);
    if (item != NONE) {
        if (circulation_allows(x, user, item, by_instance, &w))
            hold_make(x, user, item, by_instance, &w);
    } else if (!never_answered(x)) {
        snprintf(message, sizeof message, by_instance ? "There are no items for this instance" : "No item with ID %s exists",
                 text);
        refused(x, user == NONE ? "A valid user is required" : message, by_instance ? "instanceId" : "itemId", text);
    }
    json_object_put(body);
}

static void hold_item(struct exchange *x, uint32_t user)
{
    hold(x, user, false);
}

static void hold_instance(struct exchange *x, uint32_t user)
{
    hold(x, user, true);
}

/* ---- cancelling ---- */

/* Nobody looks whose hold it is. */
static void cancelled(struct exchange *x, uint32_t at, uint32_t user)
{
    struct folio_effect *e;

    x->effect = folio_effect_add(FOLIO_CANCEL, at);
    e = &folio_data.effects[x->effect - 1];
    e->foreign = folio_data.holds[at].user != user;
    folio_data.foreign += e->foreign;
}

static void hold_delete(struct exchange *x, uint32_t user)
{
    struct slice id = x->req.args[2];
    uint32_t at;

    if (!id_fits(x, "itemId", x->req.args[1]) || !id_fits(x, "holdId", id) || refused_by_shape(x))
        return;
    at = folio_hold_by_id(id);
    if (at == NONE || folio_data.holds[at].gone) {
        text_str(plain(x, 404), "Not found");
        return;
    }
    folio_data.holds[at].gone = true;
    cancelled(x, at, user);
    answer(x, 204, "text/plain");
}

static bool cancel_fits(struct exchange *x, json_object *body, struct wish *ret)
{
    if (!edge)
        return hold_fits(x, body, ret);
    if (!member(body, "holdId").len || !member(body, "cancellationReasonId").len)
        invalid(x, "required fields for cancelling holds are missing (holdId, cancellationReasonId)", "422", NULL, NULL);
    else if (!uuid_fits(member(body, "holdId")) || !uuid_fits(member(body, "cancellationReasonId")))
        invalid(x, "invalid values for one of the required fields (holdId, cancellationReasonId)", "422", NULL, NULL);
    else
        return true;
    return false;
}

static void hold_cancel(struct exchange *x, uint32_t user)
{
    struct slice id = x->req.args[1];
    json_object *body = body_read(x->req.body);
    struct wish w = { 0 };
    uint32_t at;

    if (!id_fits(x, "holdId", id) || !cancel_fits(x, body, &w) || refused_by_shape(x)) {
        json_object_put(body);
        return;
    }
    at = folio_hold_by_id(id);
    if (edge && !w.cancelled_s)
        w.cancelled_s = wall_ms() / 1000;
    if (at == NONE || folio_data.holds[at].gone) {
        text_str(plain(x, 404), "Not found");
    } else if (!w.cancelled_s) {
        text_str(plain(x, 500), "java.lang.NullPointerException");
    } else if (!folio_hold_open(&folio_data.holds[at])) {
        invalid(x, "Cannot edit a closed request", NULL, "id", folio_data.holds[at].id);
    } else {
        struct folio_hold *h = &folio_data.holds[at];

        free(h->status);
        h->status = copy_of(SLICE("Closed - Cancelled"));
        cancelled(x, at, user);
        hold_print(x, h, answer(x, 200, "application/json"));
        text_str(&x->answer.body, ",\"cancellationReasonId\":");
        text_json(&x->answer.body, member(body, "cancellationReasonId"));
        date_print(x, &x->answer.body, "canceledDate", w.cancelled_s, ".000+0000"); /* whatever the others look like */
        text_str(&x->answer.body, "}");
    }
    json_object_put(body);
}

static void hold_put(struct exchange *x, uint32_t user)
{
    (void)user;
    plain(x, 501);
}

/* ---- one call ---- */

/* What edge-patron makes of an error from behind it. */
static void edge_wrap(struct exchange *x)
{
    struct text was = x->answer.body;
    int status = x->answer.status;
    struct slice message = text_slice(&was);
    json_object *body = status == 422 ? body_read(message) : NULL, *errors, *first;

    x->answer.body = (struct text){ 0 };
    if (json_object_object_get_ex(body, "errors", &errors) && (first = json_object_array_get_idx(errors, 0)))
        message = member(first, "message");
    edge_error(x, status, message);
    json_object_put(body);
    text_release(&was);
}

static bool api_key_fits(const struct exchange *x)
{
    static const char word[] = "apikey ";
    struct slice given = x->req.authorization;
    char buf[512];

    if (slice_starts(given, word)) {
        given = (struct slice){ given.at + sizeof word - 1, given.len - (sizeof word - 1) };
        return slice_is(given, api_key);
    }
    return query_get(x->req.query, "apiKey", buf, sizeof buf, &given) && slice_is(given, api_key);
}

static void edge_call(struct exchange *x, void (*then)(struct exchange *x, uint32_t user))
{
    struct text message = { 0 };
    struct slice patron;
    char buf[256];
    uint32_t user;

    if (!api_key_fits(x)) {
        edge_error(x, 401, SLICE("Access Denied"));
        return;
    }
    if ((then == hold_item || then == hold_instance) && !x->req.body.len) {
        edge_error(x, 400, SLICE("No hold data provided"));
        return;
    }
    if (!percent_decode(x->req.args[0], false, buf, sizeof buf, &patron))
        patron = SLICE("");
    user = folio_user_by_external_id(patron);
    if (user == NONE && accept_all && patron.len)
        user = folio_user_add(SLICE(""), patron);
    if (user == NONE) {
        text_fmt(&message, "Unable to find patron %.*s", (int)patron.len, patron.len ? patron.at : "");
        edge_error(x, 404, text_slice(&message));
        text_release(&message);
        return;
    }
    then(x, user);
    if (x->answer.status >= 400)
        edge_wrap(x);
    if (!has_shape(x, "edge_timeout"))
        return;
    edge_error(x, 408, SLICE("Request to FOLIO timed out"));
    x->genuine = false;
}

static void okapi_call(struct exchange *x, const char *permission, void (*then)(struct exchange *x, uint32_t user))
{
    struct slice id = x->req.args[0];
    uint32_t user;

    if (!gateway(x, permission) || !headers_fit(x) || !id_fits(x, "id", id))
        return;
    user = folio_user_by_id(id);
    if (user == NONE && accept_all)
        user = folio_user_add(id, SLICE(""));
    then(x, user);
}

static void call(struct exchange *x, const char *permission, void (*then)(struct exchange *x, uint32_t user))
{
    if (edge)
        edge_call(x, then);
    else
        okapi_call(x, permission, then);
}

static void get_account(struct exchange *x) { call(x, "patron.account.item.get", account); }
static void post_renew(struct exchange *x) { call(x, "patron.renew.item.post", renew); }
static void post_hold_item(struct exchange *x) { call(x, "patron.hold.item.post", hold_item); }
static void post_hold_instance(struct exchange *x) { call(x, "patron.hold.instance.item.post", hold_instance); }

/* DELETE and PUT went with 4.0, when cancel came. */
static void put_hold(struct exchange *x)
{
    if (version >= 4)
        no_call(x, false);
    else
        call(x, "patron.hold.item.put", hold_put);
}

static void delete_hold(struct exchange *x)
{
    if (version >= 4)
        no_call(x, true);
    else
        call(x, "patron.hold.item.delete", hold_delete);
}

static void post_cancel(struct exchange *x)
{
    if (version < 4)
        no_call(x, false);
    else
        call(x, "patron.hold.cancel.item.post", hold_cancel);
}

static void other(struct exchange *x)
{
    no_call(x, false);
}

static void segment_keys(struct exchange *x)
{
    struct slice decoded, token = edge ? x->req.authorization : token_of(x);
    size_t count = 0;

    x->credential = token.len ? slice_hash(token) : 0;
    for (const char *at = x->call->path; (at = strstr(at, "{}")); at += 2)
        count++;
    for (size_t i = 0; i < count; i++) {
        if (!percent_decode(x->req.args[i], false, x->key_bytes + x->key_len, sizeof x->key_bytes - x->key_len, &decoded))
            continue;
        x->key_len += decoded.len;
        exchange_key(x, decoded);
    }
}

static void reset(unsigned what)
{
    if (what & RESET_DATA)
        folio_forget();
    if (what & RESET_EFFECTS) {
        folio_data.effect_count = 0;
        folio_data.foreign = 0;
        memset(folio_data.done, 0, sizeof folio_data.done);
        memset(folio_data.again, 0, sizeof folio_data.again);
    }
    if (what & RESET_COUNTS)
        logins = refreshes = leaks = 0;
    if (what & RESET_TOKENS) {
        tokens_revoke(&tokens);
        tokens_revoke(&refresh_source);
        free(refresh_tokens);
        refresh_tokens = NULL;
        refresh_count = 0;
    }
}

static void count(struct text *out)
{
    size_t open = 0;

    for (size_t i = 0; i < folio_data.hold_count; i++)
        open += folio_hold_open(&folio_data.holds[i]);
    text_fmt(out, ",\"logins\":%" PRIu64 ",\"refreshes\":%" PRIu64 ",\"refresh_leaks\":%" PRIu64, logins, refreshes, leaks);
    text_fmt(out, ",\"users\":%zu,\"items\":%zu,\"loans\":%zu,\"open_holds\":%zu", folio_data.user_count,
             folio_data.item_count, folio_data.loan_count, open);
    text_fmt(out, ",\"renewals\":%" PRIu64 ",\"holds\":%" PRIu64 ",\"cancels\":%" PRIu64, folio_data.done[FOLIO_RENEWAL],
             folio_data.done[FOLIO_HOLD], folio_data.done[FOLIO_CANCEL]);
    text_fmt(out, ",\"repeated_renewals\":%" PRIu64 ",\"duplicate_holds\":%" PRIu64 ",\"foreign_cancels\":%" PRIu64,
             folio_data.again[FOLIO_RENEWAL], folio_data.again[FOLIO_HOLD], folio_data.foreign);
}

static const struct call calls[] = {
    { HTTP_POST,   "/login-with-expiry",               "loginWithExpiry", login_keys,   login_expiring },
    { HTTP_POST,   "/login",                           "login",           login_keys,   login_legacy },
    { HTTP_POST,   "/refresh",                         "refresh",         NULL,         refresh },
    { HTTP_POST,   "/logout",                          "logout",          NULL,         logout },
    { HTTP_GET,    "/account/{}",                      "account",         segment_keys, get_account },
    { HTTP_POST,   "/account/{}/item/{}/renew",        "renew",           segment_keys, post_renew },
    { HTTP_POST,   "/account/{}/item/{}/hold",         "holdItem",        segment_keys, post_hold_item },
    { HTTP_POST,   "/account/{}/instance/{}/hold",     "holdInstance",    segment_keys, post_hold_instance },
    { HTTP_PUT,    "/account/{}/item/{}/hold/{}",      "changeHold",      segment_keys, put_hold },
    { HTTP_DELETE, "/account/{}/item/{}/hold/{}",      "deleteHold",      segment_keys, delete_hold },
    { HTTP_POST,   "/account/{}/hold/{}/cancel",       "cancelHold",      segment_keys, post_cancel },
    { HTTP_GET,    NULL,                               "other",           NULL,         other },
};

const struct vendor folio = {
    .name = "folio", .prefixes = { "/authn", "/patron" }, .calls = calls, .admin = folio_admin, .settings = settings,
    .shapes = shapes, .state = &state, .reset = reset, .error = error, .answered = folio_answered, .count = count,
    .effects = folio_effects,
};

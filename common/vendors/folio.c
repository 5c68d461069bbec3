#include "common/vendors/folio.h"

#include "common/instant.h"
#include "common/scoped.h"
#include "common/vendors/reading.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

_Static_assert((int)FOLIO_WORDS_SIZE == (int)READING_WORDS_SIZE, "what reading_words fills");

enum { EXPIRING_S = 600, LEGACY_S = 86400, SAID_ERRORS_MAX = 5 };

/* What a call is, as far as its answers differ. */
enum call { ACCOUNT, RENEW, HOLD, CANCEL };

/* ---- ids ---- */

bool folio_uuid(const char *text)
{
    for (int i = 0; i < FOLIO_UUID_SIZE - 1; i++) {
        bool dash = i == 8 || i == 13 || i == 18 || i == 23;
        if (dash ? text[i] != '-' : !isxdigit((unsigned char)text[i]))
            return false;
    }
    return !text[FOLIO_UUID_SIZE - 1] && text[14] >= '1' && text[14] <= '5' && strchr("89abAB", text[19]);
}

static bool same(const char *a, const char *b)
{
    return a && b && a[0] && !strcasecmp(a, b);
}

/* ---- requests ---- */

static void member(struct text *to, const char *name, const char *value)
{
    text_putc(to, to->len ? ',' : '{');
    text_json(to, name);
    text_putc(to, ':');
    text_json(to, value);
}

static void member_instant(struct text *to, const char *name, int64_t instant)
{
    char written[INSTANT_SIZE];

    instant_write(instant, written);
    member(to, name, written);
}

static void common_parts(struct http_request *req, const struct folio_door *door)
{
    struct text authorization = {0};

    if (door->edge) {
        /* not ?apiKey=…: a URL stands in everybody's access log */
        text_puts(&authorization, "apikey ");
        text_puts(&authorization, door->secret);
        http_request_header(req, "Authorization", text_str(&authorization));
        text_free(&authorization);
    } else {
        http_request_header(req, "X-Okapi-Tenant", door->tenant);
        http_request_header(req, "X-Okapi-Token", door->secret);
    }
    http_request_header(req, "Accept", "application/json, text/plain"); /* errors are text (FOLIO facts, 2.2) */
    if (!strcmp(req->method, "POST"))
        http_request_header(req, "Content-Type", "application/json");
}

static void begin(struct http_request *req, const char *method, const char *patron_id)
{
    http_request_reset(req, method, "/patron/account/");
    text_percent(&req->target, patron_id);
}

static void segment(struct http_request *req, const char *name, const char *id)
{
    text_putc(&req->target, '/');
    text_puts(&req->target, name);
    text_putc(&req->target, '/');
    text_percent(&req->target, id);
}

/* ---- what FOLIO says that is no success ---- */

struct said {
    const char *words; /* of a sentence or of all messages, "" when there are none */
    size_t len;
    bool refusal; /* {"errors":[{"message":…}]}, wherever it was found */
    char code[65]; /* of the first error, upper case by FOLIO's habit; "" before 5.x */
    json_object *inner;
    char messages[600];
};

static void release_said(struct said *said)
{
    json_object_put(said->inner);
}

static bool says(const struct said *said, const char *phrase)
{
    const char *const phrases[] = {phrase, NULL};

    return reading_says(said->words, said->len, phrases);
}

static bool says_any(const struct said *said, const char *const *phrases)
{
    return reading_says(said->words, said->len, phrases);
}

/* {"errors":[{"message","type","code","parameters":[{"key","value"}]}],"total_records"} (FOLIO facts, 2.3) */
static bool read_errors(json_object *body, struct said *ret)
{
    json_object *errors = json_get(body, "errors");
    size_t at = 0, count = reading_count(errors);

    if (!json_object_is_type(errors, json_type_array))
        return false;
    for (size_t i = 0; i < count && i < SAID_ERRORS_MAX; i++) {
        char message[200];
        json_object *error = json_object_array_get_idx(errors, i);
        reading_text(error, "message", message, sizeof message);
        if (!ret->refusal && !reading_text(error, "code", ret->code, sizeof ret->code))
            ret->code[0] = '\0';
        if (!message[0] || at + strlen(message) + 3 > sizeof ret->messages)
            continue;
        at += (size_t)sprintf(ret->messages + at, "%s%s", at ? "; " : "", message);
        ret->refusal = true;
    }
    if (!ret->refusal)
        return false;
    ret->words = ret->messages;
    ret->len = at;
    return true;
}

/* JSON within a text: what Java puts before it names a class. */
static void read_inner(const char *bytes, size_t len, struct said *ret)
{
    const char *open = memchr(bytes, '{', len), *close = memrchr(bytes, '}', len);

    if (open && close && close > open && !json_read(open, (size_t)(close - open) + 1, &ret->inner).kind)
        read_errors(ret->inner, ret);
}

/*
 * Okapi and mod-patron: text, JSON for 422. Edge-patron: always {"code":404,"errorMessage":"…"}, where the message of
 * anything but 422 is what came from behind it, byte for byte, JSON included.
 */
static void read_said(const struct http_response *res, json_object *body, struct said *ret)
{
    json_object *message = json_get(body, "errorMessage");

    *ret = (struct said){.words = ""};
    if (read_errors(body, ret) || reading_is_markup(res))
        return;
    if (!message && json_object_is_type(body, json_type_string))
        message = body;
    if (json_object_is_type(message, json_type_string)) {
        ret->words = json_object_get_string(message);
        ret->len = (size_t)json_object_get_string_len(message);
    } else if (!body) {
        ret->words = res->body;
        ret->len = res->body_len;
    }
    reading_trim(&ret->words, &ret->len);
    read_inner(ret->words, ret->len, ret);
}

/* A host or a class: letters, a dot, letters. */
static bool names_a_host(const char *words)
{
    for (const char *c = words; *c; c++)
        if (*c == '.' && c > words && isalnum((unsigned char)c[-1]) && isalpha((unsigned char)c[1]))
            return true;
    return false;
}

/* What a patron may read of it. */
static void patron_words(const struct said *said, char ret[FOLIO_WORDS_SIZE])
{
    static const char *const of_programs[] = {
        "exception", "sql", "jsonb", "insert into", "java", "stack trace", "null", "must match", "json", "http", "://",
        "constraint", "parameter", "header", "internal", "error message", "required field", "administrator",
        "::", "{", "}", "<", NULL};

    ret[0] = '\0';
    if (!said->len || says_any(said, of_programs) || (says(said, "select ") && says(said, " from ")))
        return;
    reading_words(ret, said->words, said->len, NULL, 0);
    if (names_a_host(ret))
        ret[0] = '\0';
}

static struct answer quoted(enum verdict verdict, enum cause cause, const char *code, const char *what, int status,
                            const struct said *said)
{
    char words[READING_WORDS_SIZE];

    reading_words(words, said->words, said->len, NULL, 0);
    return words[0] ? answer_make(verdict, cause, code, "%s (HTTP %d): %s", what, status, words)
                    : answer_make(verdict, cause, code, "%s (HTTP %d)", what, status);
}

static struct answer gone(int status)
{
    return answer_make(DONE, CAUSE_WORK, "gone", "FOLIO has no such open hold (HTTP %d)", status);
}

/* A refusal in words, whatever its status. */
static struct answer refused(const struct http_response *res, enum call call, const struct said *said)
{
    static const char *const not_found[] = {"no item with id", "not found",       "does not exist", "could not be found",
                                            "could not find",  "no request with", NULL};
    static const char *const closed[] = {"closed request", "already been closed", "already closed", NULL};
    static const char *const inactive[] = {"user is not active", "inactive user", NULL};
    static const char *const exists[] = {"already has an open request", "already requested", NULL};

    if (call == CANCEL && (says_any(said, closed) || says_any(said, not_found)))
        return gone(res->status);
    if (call == HOLD && says_any(said, exists))
        return quoted(AGAIN, CAUSE_WORK, "exists", "FOLIO has such a hold of this patron's", res->status, said);
    if (says_any(said, inactive))
        return quoted(REJECTED, CAUSE_WORK, "inactive", "FOLIO says the patron is not active", res->status, said);
    if (call == HOLD && (!strcmp(said->code, "CANNOT_FIND_VALID_REQUEST_FOR_ITEM") || says(said, "valid request type")))
        return quoted(REJECTED, CAUSE_WORK, "not_requestable", "FOLIO allows no hold on this item", res->status, said);
    if (call == RENEW && says(said, "checked out to different user"))
        return quoted(REJECTED, CAUSE_WORK, "not_theirs", "FOLIO has lent this item to somebody else", res->status, said);
    if (says_any(said, not_found))
        return quoted(REJECTED, CAUSE_WORK, "not_found", "FOLIO does not know it", res->status, said);
    return quoted(REJECTED, CAUSE_WORK, "refused", "FOLIO refuses it", res->status, said);
}

static struct answer proxy_speaks(int status, const struct said *said)
{
    return quoted(LATER, CAUSE_VENDOR, "refused", "a gateway or proxy refuses the call: is FOLIO_URL right?", status, said);
}

static struct answer no_such_call(int status)
{
    return answer_make(LATER, CAUSE_VENDOR, "no_such_call",
                       "FOLIO has no such call (HTTP %d): is mod-patron enabled for this tenant, FOLIO_URL right?", status);
}

static bool says_no_such_call(const struct said *said)
{
    static const char *const phrases[] = {"no suitable module found", "does not support this http method",
                                          "invalid url path", NULL};

    return says_any(said, phrases);
}

static struct answer answer_400(const struct http_response *res, enum call call, const struct said *said)
{
    static const char *const token[] = {"token missing", "invalid token", NULL};
    static const char *const tenant[] = {"no such tenant", "tenant must be set", NULL};
    static const char *const plumbing[] = {"header must be", "different tokens", NULL};
    static const char *const of_id[] = {"parameter is incorrect", NULL};

    if (says_any(said, token))
        return answer_make(LATER, CAUSE_TOKEN, "token_refused", "FOLIO wants a token (HTTP 400)");
    if (says_any(said, tenant))
        return answer_make(LATER, CAUSE_CREDENTIALS, "no_tenant", "FOLIO does not know the tenant (HTTP 400)");
    if (says_no_such_call(said))
        return no_such_call(400);
    if (says(said, "user is not active"))
        return refused(res, call, said);
    if (says_any(said, of_id))
        return answer_make(REJECTED, CAUSE_WORK, "bad_id", "FOLIO takes no such id (HTTP 400): want a UUID, version 1 to 5");
    if (says_any(said, plumbing) || !said->len)
        return proxy_speaks(400, said);
    if (call == ACCOUNT)
        return quoted(LATER, CAUSE_VENDOR, "refused", "FOLIO refuses to say", 400, said);
    return refused(res, call, said);
}

static struct answer answer_401(const struct folio_door *door, const struct said *said)
{
    if (door->edge)
        return answer_make(LATER, CAUSE_CREDENTIALS, "key_refused", "edge-patron refuses the API key (HTTP 401)");
    if (says(said, "is not active"))
        return answer_make(LATER, CAUSE_CREDENTIALS, "account_inactive", "our own user is not active at FOLIO (HTTP 401)");
    return answer_make(LATER, CAUSE_TOKEN, "token_refused", "FOLIO refuses the token (HTTP 401)");
}

/* "Access for user 'x' (<uuid>) requires permission: patron.renew.item.post": the permission alone is repeated. */
static struct answer answer_403(const struct http_response *res, const struct said *said)
{
    static const char before[] = "requires permission: ";
    const char *at = memmem(said->words, said->len, before, sizeof before - 1);
    char permission[65] = "";

    if (reading_is_markup(res))
        return proxy_speaks(403, said);
    if (at) {
        at += sizeof before - 1;
        size_t left = said->len - (size_t)(at - said->words), n = 0;
        while (n < left && n < sizeof permission - 1 && (islower((unsigned char)at[n]) || strchr(".-", at[n])) && at[n])
            n++;
        memcpy(permission, at, n);
        permission[n] = '\0';
    }
    return answer_make(LATER, CAUSE_CREDENTIALS, "permission", "our user may not do this at FOLIO (HTTP 403)%s%s",
                       permission[0] ? ", it lacks " : "", permission);
}

static struct answer answer_404(const struct folio_door *door, enum call call, const struct said *said)
{
    if (says_no_such_call(said))
        return no_such_call(404);
    if (says(said, "unable to find patron"))
        return answer_make(REJECTED, CAUSE_WORK, "no_patron", "edge-patron finds no such patron (HTTP 404)");
    /* what edge-patron has no route for is answered by the server within it */
    if (door->edge && call == CANCEL && !said->len)
        return no_such_call(404);
    if (!said->len)
        return proxy_speaks(404, said);
    if (call == CANCEL)
        return gone(404);
    return quoted(REJECTED, CAUSE_WORK, "not_found", "FOLIO does not know it", 404, said);
}

/* The server, or what is before it, has failed: may it have been done all the same? */
static struct answer failed(const struct http_response *res, enum call call, const char *code)
{
    bool unknown = call != ACCOUNT;

    return answer_make(unknown ? UNKNOWN : LATER, CAUSE_VENDOR, code, "FOLIO failed (HTTP %d)%s", res->status,
                       unknown ? ": nobody knows whether it was done" : "");
}

static struct answer answer_4xx(const struct http_response *res, const struct folio_door *door, enum call call,
                                const struct said *said)
{
    switch (res->status) {
    case 400: return answer_400(res, call, said);
    case 401: return answer_401(door, said);
    case 403: return answer_403(res, said);
    case 404: return answer_404(door, call, said);
    case 405: return no_such_call(405);
    case 408: return failed(res, call, "no_answer");
    case 409: return answer_make(LATER, CAUSE_WORK, "conflict", "somebody else changed it at FOLIO just now (HTTP 409)");
    case 422: return reading_is_markup(res) ? proxy_speaks(422, said) : refused(res, call, said);
    case 429: return answer_make(LATER, CAUSE_RATE, "rate", "FOLIO asks to slow down (HTTP 429)");
    case 407: case 421: case 425: return proxy_speaks(res->status, said);
    default:
        if (!said->len)
            return proxy_speaks(res->status, said);
        return call == ACCOUNT ? quoted(LATER, CAUSE_VENDOR, "refused", "FOLIO refuses to say", res->status, said)
                               : refused(res, call, said);
    }
}

static struct answer by_status(const struct http_response *res, const struct folio_door *door, enum call call,
                               const struct said *said)
{
    if (res->status >= 400 && res->status < 500)
        return answer_4xx(res, door, call, said);
    if (res->status >= 300 && res->status < 400)
        return answer_make(LATER, CAUSE_VENDOR, "redirected", "FOLIO answers elsewhere (HTTP %d): is FOLIO_URL right?",
                           res->status);
    if (res->status == 501)
        return no_such_call(501);
    if (res->status == 503)
        return answer_make(LATER, CAUSE_VENDOR, "unwell", "FOLIO is unwell (HTTP 503)");
    if (res->status != 500)
        return failed(res, call, "gateway");
    /* 3.0 turns a refusal from behind it into a 500 whose text is that refusal (FOLIO facts, 2.4) */
    return said->refusal && call != ACCOUNT ? refused(res, call, said) : failed(res, call, "server_error");
}

/* What a whole exchange says that is no 2xx; false: it is one, and its body must be read. */
static bool trouble(const struct http_response *res, const struct folio_door *door, enum call call, json_object *body,
                    struct answer *ret, char ret_words[FOLIO_WORDS_SIZE])
{
    struct said said;

    if (res->status >= 200 && res->status < 300)
        return false;
    read_said(res, body, &said);
    *ret = by_status(res, door, call, &said);
    if (ret->verdict == REJECTED && strcmp(ret->code, "bad_id") != 0 && strcmp(ret->code, "no_patron") != 0)
        patron_words(&said, ret_words);
    if (ret->verdict == LATER)
        *ret = reading_wait(*ret, res, -1);
    release_said(&said);
    return true;
}

/* ---- log-in ---- */

void folio_login_request(struct http_request *req, enum folio_login how, const char *tenant, const char *username,
                         const char *password)
{
    http_request_reset(req, "POST", how == FOLIO_LOGIN_EXPIRING ? "/authn/login-with-expiry" : "/authn/login");
    http_request_header(req, "X-Okapi-Tenant", tenant);
    http_request_header(req, "Accept", "application/json, text/plain");
    http_request_header(req, "Content-Type", "application/json");
    member(&req->body, "username", username);
    member(&req->body, "password", password);
    text_putc(&req->body, '}');
    req->watch = how == FOLIO_LOGIN_EXPIRING ? "Set-Cookie" : "X-Okapi-Token";
}

static bool keep_token(const char *bytes, size_t len, char ret[FOLIO_TOKEN_SIZE])
{
    ret[0] = '\0';
    if (!len || len >= FOLIO_TOKEN_SIZE)
        return false;
    for (size_t i = 0; i < len; i++)
        if (bytes[i] <= ' ' || bytes[i] > '~')
            return false;
    memcpy(ret, bytes, len);
    ret[len] = '\0';
    return true;
}

/* folioAccessToken=…; Max-Age=600; Path=/; …, one of several cookies, a line each; their order is nobody's promise. */
static bool read_cookie(const char *cookies, struct folio_token *ret)
{
    static const char name[] = "folioAccessToken=", age[] = "Max-Age=";

    for (const char *line = cookies; *line; line += strcspn(line, "\n"), line += *line == '\n') {
        size_t line_len = strcspn(line, "\n");
        if (strncmp(line, name, sizeof name - 1) != 0)
            continue;
        size_t len = strcspn(line + sizeof name - 1, ";\n");
        if (!keep_token(line + sizeof name - 1, len, ret->token))
            return false;
        ret->lasts_s = EXPIRING_S;
        for (const char *at = line; (at = memchr(at, ';', line_len - (size_t)(at - line))); at++) {
            const char *attribute = at + 1 + strspn(at + 1, " ");
            char *end;
            if (strncasecmp(attribute, age, sizeof age - 1) != 0)
                continue;
            long long seconds = strtoll(attribute + sizeof age - 1, &end, 10);
            if (end > attribute + sizeof age - 1 && seconds > 0)
                ret->lasts_s = seconds < LEGACY_S ? seconds : LEGACY_S;
        }
        return true;
    }
    return false;
}

static bool read_token(const struct http_response *res, enum folio_login how, json_object *body, struct folio_token *ret)
{
    if (how == FOLIO_LOGIN_EXPIRING)
        return read_cookie(res->watched, ret);
    ret->lasts_s = LEGACY_S;
    return keep_token(res->watched, strlen(res->watched), ret->token) ||
           reading_token(body, "okapiToken", ret->token, sizeof ret->token);
}

static struct answer login_trouble(const struct http_response *res, enum folio_login how, const struct said *said)
{
    const struct folio_door door = {0};
    struct answer a;

    if (how == FOLIO_LOGIN_EXPIRING && res->status == 404)
        return answer_make(AGAIN, CAUSE_WORK, "legacy", "this FOLIO has no log-in with expiry (HTTP 404)");
    a = by_status(res, &door, RENEW, said);
    if (res->status == 401 || res->status == 422 || a.cause == CAUSE_TOKEN || !strcmp(a.code, "permission") ||
        (res->status == 400 && a.verdict == REJECTED))
        return quoted(LATER, CAUSE_CREDENTIALS, "login_refused", "FOLIO refuses the user name or password", res->status,
                      said);
    if (a.verdict == UNKNOWN || res->status == 500)
        return failed(res, ACCOUNT, res->status == 500 ? "server_error" : a.code);
    return a.verdict == LATER ? a : proxy_speaks(res->status, said);
}

struct answer folio_login_answer(const struct http_response *res, enum folio_login how, struct folio_token *ret)
{
    struct said said;

    *ret = (struct folio_token){0};
    if (res->end != HTTP_ANSWERED)
        return reading_unanswered(res);
    SCOPED(json_object_put) json_object *body = reading_json(res);
    if (res->status >= 200 && res->status < 300) {
        if (read_token(res, how, body, ret))
            return answer_make(DONE, CAUSE_WORK, "logged_in", "logged in");
        *ret = (struct folio_token){0};
        return answer_make(LATER, CAUSE_VENDOR, "garbled", "FOLIO answers a log-in with HTTP %d, but no token", res->status);
    }
    read_said(res, body, &said);
    struct answer a = login_trouble(res, how, &said);
    release_said(&said);
    return a.verdict == LATER ? reading_wait(a, res, -1) : a;
}

/* ---- reading what a patron has ---- */

/* 0 when it is absent or no instant. */
static int64_t read_instant(json_object *in, const char *key)
{
    char written[40];
    int64_t instant;

    return reading_text(in, key, written, sizeof written) && instant_read(written, &instant, NULL) ? instant : 0;
}

/* An id, "" when it is absent. False: there is one and it does not fit. */
static bool read_id(json_object *in, const char *key, char *ret, size_t size)
{
    if (reading_text(in, key, ret, size))
        return true;
    ret[0] = '\0';
    return false;
}

static bool read_item(json_object *of, struct folio_item *ret)
{
    json_object *item = json_get(of, "item");

    *ret = (struct folio_item){0};
    reading_text(item, "title", ret->title, sizeof ret->title);
    reading_text(item, "author", ret->author, sizeof ret->author);
    bool whole = read_id(item, "instanceId", ret->instance_id, sizeof ret->instance_id);
    return read_id(item, "itemId", ret->item_id, sizeof ret->item_id) && whole;
}

static void read_money(json_object *in, const char *key, struct folio_money *ret)
{
    json_object *money = json_get(in, key), *amount = json_get(money, "amount");
    enum json_type type = json_object_get_type(amount);
    int64_t n = type == json_type_int ? json_object_get_int64(amount) : 0;
    const char *written = "";

    *ret = (struct folio_money){0};
    /* beyond what an int64 holds json-c answers with the largest one, which nobody wrote */
    if ((type == json_type_int && n != INT64_MAX && n != INT64_MIN) || type == json_type_double)
        written = json_object_to_json_string(amount);
    else if (type == json_type_string) /* as the schema's own example has it */
        written = json_object_get_string(amount);
    if (!text_fit(ret->amount, sizeof ret->amount, written, strlen(written)) ||
        ret->amount[strspn(ret->amount, "0123456789.-+eE")])
        ret->amount[0] = '\0';
    if (!reading_text(money, "isoCurrencyCode", ret->currency, sizeof ret->currency))
        ret->currency[0] = '\0';
}

/* Each reads one entry; false: it is none, or a part that says which one it is could not be read. */
static bool read_loan(json_object *of, struct folio_loan *ret)
{
    *ret = (struct folio_loan){
        .loaned = read_instant(of, "loanDate"),
        .due = read_instant(of, "dueDate"),
        .overdue = reading_flag(of, "overdue"),
    };
    bool whole = read_item(of, &ret->item);
    return read_id(of, "id", ret->id, sizeof ret->id) && whole && (ret->item.item_id[0] || ret->item.instance_id[0]);
}

static enum folio_hold_state hold_state(const char *status)
{
    static const struct {
        const char *status;
        enum folio_hold_state state;
    } known[] = {
        {"Open - Not yet filled", FOLIO_HOLD_WAITING},     {"New - Awaiting confirmation", FOLIO_HOLD_WAITING},
        {"Open - In transit", FOLIO_HOLD_MOVING},          {"Open - Awaiting delivery", FOLIO_HOLD_MOVING},
        {"Open - Awaiting pickup", FOLIO_HOLD_READY},
    };

    for (size_t i = 0; i < COUNT(known); i++)
        if (!strcasecmp(status, known[i].status))
            return known[i].state;
    return strncasecmp(status, "Closed", 6) ? FOLIO_HOLD_OTHER : FOLIO_HOLD_CLOSED;
}

static bool read_hold(json_object *of, struct folio_hold *ret)
{
    *ret = (struct folio_hold){
        .requested = read_instant(of, "requestDate"),
        .expires = read_instant(of, "expirationDate"),
        .position = reading_int(of, "queuePosition"),
    };
    reading_text(of, "status", ret->status, sizeof ret->status);
    ret->state = hold_state(ret->status);
    read_id(of, "pickupLocationId", ret->pickup_id, sizeof ret->pickup_id);
    bool whole = read_item(of, &ret->item);
    return read_id(of, "requestId", ret->id, sizeof ret->id) && whole && ret->id[0];
}

static bool read_charge(json_object *of, struct folio_charge *ret)
{
    *ret = (struct folio_charge){.accrued = read_instant(of, "accrualDate")};
    read_money(of, "chargeAmount", &ret->money);
    reading_text(of, "state", ret->state, sizeof ret->state);
    reading_text(of, "reason", ret->reason, sizeof ret->reason);
    bool whole = read_item(of, &ret->item);
    return read_id(of, "feeFineId", ret->id, sizeof ret->id) && whole && json_object_is_type(of, json_type_object);
}

static bool read_loan_of(json_object *of, void *ret)
{
    return read_loan(of, ret);
}

static bool read_hold_of(json_object *of, void *ret)
{
    return read_hold(of, ret);
}

static bool read_charge_of(json_object *of, void *ret)
{
    return read_charge(of, ret);
}

static int64_t read_total(json_object *body, const char *key)
{
    json_object *total = json_get(body, key);

    return json_object_is_type(total, json_type_int) && json_object_get_int64(total) >= 0 ? json_object_get_int64(total) : -1;
}

/* A list of the account as it lies in struct folio_account. */
struct list {
    const char *key, *total_key;
    bool (*read)(json_object *of, void *ret);
    size_t size;
    void **at;
    size_t *count, *room;
    bool *whole;
    int64_t *total;
};

/* False: out of memory. */
static bool read_list(json_object *body, bool asked, const struct list *list)
{
    json_object *entries = json_get(body, list->key);
    size_t count = json_object_is_type(entries, json_type_array) ? json_object_array_length(entries) : 0;

    *list->total = read_total(body, list->total_key);
    *list->whole = asked && json_object_is_type(entries, json_type_array) && *list->total == (int64_t)count;
    if (count > *list->room) {
        void *more = realloc(*list->at, count * list->size);
        if (!more)
            return false;
        *list->at = more;
        *list->room = count;
    }
    for (size_t i = 0; i < count; i++) {
        bool readable = list->read(json_object_array_get_idx(entries, i), (char *)*list->at + *list->count * list->size);
        *list->count += readable;
        *list->whole = *list->whole && readable;
    }
    return true;
}

static struct answer read_account(json_object *body, int status, unsigned lists, struct folio_account *ret)
{
    void *loans = ret->loans, *holds = ret->holds, *charges = ret->charges;
    const struct list all[] = {
        {"loans", "totalLoans", read_loan_of, sizeof *ret->loans, &loans, &ret->loan_count, &ret->loan_room,
         &ret->loans_whole, &ret->total_loans},
        {"holds", "totalHolds", read_hold_of, sizeof *ret->holds, &holds, &ret->hold_count, &ret->hold_room,
         &ret->holds_whole, &ret->total_holds},
        {"charges", "totalChargesCount", read_charge_of, sizeof *ret->charges, &charges, &ret->charge_count,
         &ret->charge_room, &ret->charges_whole, &ret->total_charges},
    };
    static const unsigned asked[] = {FOLIO_LOANS, FOLIO_HOLDS, FOLIO_CHARGES};
    bool any = false, room = true;

    for (size_t i = 0; i < COUNT(all); i++) {
        json_object *entries = json_get(body, all[i].key);
        any = any || json_object_is_type(entries, json_type_array) || json_get(body, all[i].total_key);
        if (reading_count(entries) > FOLIO_ROWS_MAX)
            return answer_make(LATER, CAUSE_VENDOR, "garbled", "FOLIO answers %zu %s, at most %d are read",
                               reading_count(entries), all[i].key, FOLIO_ROWS_MAX);
    }
    if (!any)
        return answer_make(LATER, CAUSE_VENDOR, "garbled", "FOLIO answers HTTP %d, but no account", status);
    for (size_t i = 0; i < COUNT(all) && room; i++)
        room = read_list(body, lists & asked[i], &all[i]);
    ret->loans = loans;
    ret->holds = holds;
    ret->charges = charges;
    read_money(body, "totalCharges", &ret->owed);
    if (!room)
        return answer_make(LATER, CAUSE_WORK, "no_memory", "out of memory reading FOLIO's account");
    return answer_make(DONE, CAUSE_WORK, "account", "%zu loans, %zu holds, %zu charges", ret->loan_count, ret->hold_count,
                       ret->charge_count);
}

/* Empty, with the room it has. */
static void clear_account(struct folio_account *account)
{
    *account = (struct folio_account){
        .loans = account->loans,         .holds = account->holds,         .charges = account->charges,
        .loan_room = account->loan_room, .hold_room = account->hold_room, .charge_room = account->charge_room,
        .total_loans = -1,               .total_holds = -1,               .total_charges = -1,
    };
}

void folio_account_free(struct folio_account *account)
{
    free(account->loans);
    free(account->holds);
    free(account->charges);
    *account = (struct folio_account){0};
}

void folio_account_request(struct http_request *req, const struct folio_door *door, const char *patron_id, unsigned lists)
{
    begin(req, "GET", patron_id);
    /* nothing but the word `true` counts, and nothing is said about another (FOLIO facts, 2.2) */
    http_request_query(req, "includeLoans", lists & FOLIO_LOANS ? "true" : "false");
    http_request_query(req, "includeCharges", lists & FOLIO_CHARGES ? "true" : "false");
    http_request_query(req, "includeHolds", lists & FOLIO_HOLDS ? "true" : "false");
    common_parts(req, door);
}

struct answer folio_account_answer(const struct http_response *res, const struct folio_door *door, unsigned lists,
                                   struct folio_account *ret, char ret_words[FOLIO_WORDS_SIZE])
{
    struct answer a;

    clear_account(ret);
    ret_words[0] = '\0';
    if (res->end != HTTP_ANSWERED)
        return reading_unanswered(res);
    SCOPED(json_object_put) json_object *body = reading_json(res);
    if (trouble(res, door, ACCOUNT, body, &a, ret_words))
        return a;
    a = read_account(body, res->status, lists, ret);
    if (a.verdict != DONE)
        clear_account(ret);
    return a;
}

/* ---- renew ---- */

static struct answer unclear(int status, const char *what)
{
    return answer_make(UNKNOWN, CAUSE_VENDOR, "unclear", "FOLIO answers HTTP %d, but no %s", status, what);
}

void folio_renew_request(struct http_request *req, const struct folio_door *door, const char *patron_id, const char *item_id)
{
    begin(req, "POST", patron_id);
    segment(req, "item", item_id);
    text_puts(&req->target, "/renew");
    common_parts(req, door);
}

struct answer folio_renew_answer(const struct http_response *res, const struct folio_door *door, struct folio_loan *ret,
                                 char ret_words[FOLIO_WORDS_SIZE])
{
    struct answer a;

    *ret = (struct folio_loan){0};
    ret_words[0] = '\0';
    if (res->end != HTTP_ANSWERED)
        return answer_unanswered(res);
    SCOPED(json_object_put) json_object *body = reading_json(res);
    if (trouble(res, door, RENEW, body, &a, ret_words))
        return a;
    if (read_loan(body, ret))
        return answer_make(DONE, CAUSE_WORK, "renewed", "renewed");
    *ret = (struct folio_loan){0};
    return unclear(res->status, "loan");
}

/* ---- hold ---- */

/* Edge-patron drops a date of expiry in any other form, without a word (FOLIO facts, 2.6). */
static void member_expires(struct text *to, const struct folio_door *door, int64_t instant)
{
    char written[INSTANT_SIZE + sizeof ".000+0000"];

    instant_write(instant, written);
    if (door->edge)
        memcpy(written + INSTANT_SIZE - 2, ".000+0000", sizeof ".000+0000");
    member(to, "expirationDate", written);
}

void folio_hold_request(struct http_request *req, const struct folio_door *door, const char *patron_id,
                        const struct folio_wish *wish)
{
    begin(req, "POST", patron_id);
    segment(req, wish->item_id ? "item" : "instance", wish->item_id ? wish->item_id : wish->instance_id);
    text_puts(&req->target, "/hold");
    /* the other members of the document's example are not read (FOLIO facts, 2.4) */
    member_instant(&req->body, "requestDate", wish->requested);
    member(&req->body, "pickupLocationId", wish->pickup_id);
    if (wish->expires)
        member_expires(&req->body, door, wish->expires);
    text_putc(&req->body, '}');
    common_parts(req, door);
}

struct answer folio_hold_answer(const struct http_response *res, const struct folio_door *door, struct folio_hold *ret,
                                char ret_words[FOLIO_WORDS_SIZE])
{
    struct answer a;

    *ret = (struct folio_hold){0};
    ret_words[0] = '\0';
    if (res->end != HTTP_ANSWERED)
        return answer_unanswered(res);
    SCOPED(json_object_put) json_object *body = reading_json(res);
    if (trouble(res, door, HOLD, body, &a, ret_words))
        return a;
    if (read_hold(body, ret))
        return answer_make(DONE, CAUSE_WORK, "held", "held");
    *ret = (struct folio_hold){0};
    return unclear(res->status, "hold with an id");
}

/* ---- cancel ---- */

void folio_cancel_request(struct http_request *req, const struct folio_door *door, const char *patron_id,
                          enum folio_cancel_form form, const struct folio_cancel *cancel)
{
    bool has_item = cancel->item_id && cancel->item_id[0];

    begin(req, form == FOLIO_CANCEL_DELETE ? "DELETE" : "POST", patron_id);
    if (form == FOLIO_CANCEL_DELETE)
        segment(req, "item", has_item ? cancel->item_id : cancel->hold_id); /* any UUID will do (FOLIO facts, 2.4) */
    segment(req, "hold", cancel->hold_id);
    if (form == FOLIO_CANCEL_POST) {
        text_puts(&req->target, "/cancel");
        if (door->edge) {
            member(&req->body, "holdId", cancel->hold_id);
        } else {
            /* its schema is that of a hold and wants these two; only what is about cancelling is read */
            member_instant(&req->body, "requestDate", cancel->at);
            member(&req->body, "pickupLocationId",
                   cancel->pickup_id && cancel->pickup_id[0] ? cancel->pickup_id : cancel->hold_id);
            member(&req->body, "canceledByUserId", patron_id);
        }
        member(&req->body, "cancellationReasonId", cancel->reason_id);
        member_instant(&req->body, "canceledDate", cancel->at); /* without it 500 (FOLIO facts, 2.5) */
        text_putc(&req->body, '}');
    }
    common_parts(req, door);
}

struct answer folio_cancel_answer(const struct http_response *res, const struct folio_door *door,
                                  enum folio_cancel_form form, bool both_tried, char ret_words[FOLIO_WORDS_SIZE])
{
    struct answer a;

    ret_words[0] = '\0';
    if (res->end != HTTP_ANSWERED)
        return answer_unanswered(res);
    SCOPED(json_object_put) json_object *body = reading_json(res);
    if (trouble(res, door, CANCEL, body, &a, ret_words)) {
        if (!strcmp(a.code, "no_such_call") && !both_tried)
            return answer_make(AGAIN, CAUSE_WORK, "other_form", "this FOLIO cancels in the other form (HTTP %d)", res->status);
        return a;
    }
    char status[65];
    reading_text(body, "status", status, sizeof status);
    bool done = form == FOLIO_CANCEL_DELETE ? !res->body_len : hold_state(status) == FOLIO_HOLD_CLOSED;
    return done ? answer_make(DONE, CAUSE_WORK, "cancelled", "cancelled") : unclear(res->status, "cancelled hold");
}

/* ---- what became of it ---- */

enum folio_fate folio_renew_fate(const struct folio_account *account, const char *item_id, int64_t due_before,
                                 const struct folio_loan **ret)
{
    const struct folio_loan *loan = NULL;

    for (size_t i = 0; i < account->loan_count && !loan; i++)
        if (same(account->loans[i].item.item_id, item_id))
            loan = &account->loans[i];
    if (ret)
        *ret = loan;
    if (!loan)
        return account->loans_whole ? FOLIO_DID_NOT : FOLIO_UNCLEAR;
    if (!due_before || !loan->due)
        return FOLIO_UNCLEAR;
    return loan->due > due_before ? FOLIO_HAPPENED : FOLIO_DID_NOT;
}

static bool is_wished(const struct folio_hold *hold, const struct folio_door *door, const struct folio_wish *wish)
{
    int64_t skew = door->edge ? FOLIO_SKEW_S : 0;

    if (hold->state == FOLIO_HOLD_CLOSED)
        return false;
    if (wish->item_id ? !same(hold->item.item_id, wish->item_id) : !same(hold->item.instance_id, wish->instance_id))
        return false;
    return !wish->requested || !hold->requested || hold->requested >= wish->requested - skew;
}

enum folio_fate folio_hold_fate(const struct folio_account *account, const struct folio_door *door,
                                const struct folio_wish *wish, const struct folio_hold **ret, size_t *ret_count)
{
    const struct folio_hold *first = NULL;
    size_t count = 0;

    for (size_t i = 0; i < account->hold_count; i++)
        if (is_wished(&account->holds[i], door, wish)) {
            first = first ? first : &account->holds[i];
            count++;
        }
    if (ret)
        *ret = first;
    if (ret_count)
        *ret_count = count;
    if (first)
        return FOLIO_HAPPENED;
    return account->holds_whole ? FOLIO_DID_NOT : FOLIO_UNCLEAR;
}

enum folio_fate folio_cancel_fate(const struct folio_account *account, const char *hold_id)
{
    for (size_t i = 0; i < account->hold_count; i++)
        if (same(account->holds[i].id, hold_id))
            return account->holds[i].state == FOLIO_HOLD_CLOSED ? FOLIO_HAPPENED : FOLIO_DID_NOT;
    return account->holds_whole ? FOLIO_HAPPENED : FOLIO_UNCLEAR;
}

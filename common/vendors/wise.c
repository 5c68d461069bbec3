#include "common/vendors/wise.h"

#include "common/instant.h"
#include "common/scoped.h"
#include "common/vendors/reading.h"

#include <inttypes.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <string.h>
#include <strings.h>

enum {
    SPELLINGS = 4, API_ID_MAX = 180, APPLICATION_MAX = 200, DAY_SECONDS = 86400, DAY_LAST = 86399, ERRORS_SIZE = 512,
};

/* What a call is, as far as its answers differ. */
struct call {
    bool changes;        /* something at Wise: an unknown outcome stays unknown */
    bool cancels;        /* what is not there may be what it was to bring about */
    unsigned differs;    /* the spellings that make a difference to its path */
};

static const struct call login_call = {.differs = WISE_BARE};
static const struct call prepare_call = {.differs = WISE_BARE | WISE_PRINTED};
static const struct call place_call = {.changes = true, .differs = WISE_BARE};
static const struct call list_call = {.differs = WISE_BARE};
static const struct call cancel_call = {.changes = true, .cancels = true, .differs = WISE_BARE};

/* ---- keys, tokens, paths ---- */

static bool fits_header(const char *text)
{
    for (const char *c = text; *c; c++)
        if (*c <= ' ' || *c > '~')
            return false;
    return text[0];
}

bool wise_key(const char *api_id, const char *api_key, const char *application, int64_t now, char ret[WISE_KEY_SIZE])
{
    char message[APPLICATION_MAX + 32];
    unsigned char mac[EVP_MAX_MD_SIZE];
    unsigned mac_len = 0;

    ret[0] = '\0';
    if (!fits_header(api_id) || strlen(api_id) > API_ID_MAX || !api_key[0] || strlen(api_key) > INT32_MAX || !application[0] ||
        strlen(application) > APPLICATION_MAX)
        return false;
    int message_len = snprintf(message, sizeof message, "%" PRId64 "%s", instant_local_day(now, 0), application);
    if (!HMAC(EVP_sha256(), api_key, (int)strlen(api_key), (const unsigned char *)message, (size_t)message_len, mac, &mac_len))
        return false;
    int at = snprintf(ret, WISE_KEY_SIZE, "%s:", api_id);
    for (unsigned i = 0; i < mac_len; i++)
        at += snprintf(ret + at, (size_t)(WISE_KEY_SIZE - at), "%02x", mac[i]);
    return true;
}

int64_t wise_key_ends(int64_t now)
{
    return (instant_local_day(now, 0) + 1) * DAY_SECONDS;
}

int64_t wise_token_ends(int64_t now, int library_offset_seconds)
{
    int64_t utc = instant_local_day(now, 0) * DAY_SECONDS + DAY_LAST;
    int64_t local = instant_local_day(now, library_offset_seconds) * DAY_SECONDS + DAY_LAST - library_offset_seconds;

    return utc < local ? utc : local;
}

bool wise_id(const char *text)
{
    size_t len = strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_");

    return len && len < WISE_ID_SIZE && !text[len];
}

/* Moves on to the next spelling of this call's path. False: all have been tried, and it is back at the first. */
static bool move_on(struct wise_spelling *spelling, unsigned differs)
{
    for (unsigned next = ((spelling->first ^ spelling->now) & (SPELLINGS - 1)) + 1; next < SPELLINGS; next++)
        if (!(next & ~differs)) {
            spelling->now = spelling->first ^ next;
            return true;
        }
    spelling->now = spelling->first;
    return false;
}

static void request_begin(struct http_request *req, const char *method, const struct wise_session *s)
{
    http_request_reset(req, method, s->spelling & WISE_BARE ? "" : "/restapi");
    http_request_header(req, "WISE_KEY", s->key);
    if (s->token)
        http_request_header(req, "Authorization", s->token);
    http_request_header(req, "Accept", "application/json");
    if (strcmp(method, "GET") && strcmp(method, "DELETE"))
        http_request_header(req, "Content-Type", "application/json");
}

static void segment(struct http_request *req, const char *text)
{
    text_putc(&req->target, '/');
    text_percent(&req->target, text);
}

static void patron_begin(struct http_request *req, const char *method, const struct wise_session *s,
                         const char *patron_system_id)
{
    request_begin(req, method, s);
    segment(req, "patron");
    segment(req, patron_system_id);
}

static void library_begin(struct http_request *req, const char *method, const struct wise_session *s,
                          const char *patron_system_id, const char *library_id)
{
    patron_begin(req, method, s, patron_system_id);
    segment(req, "library");
    segment(req, library_id);
}

/* ---- writing bodies ---- */

static void member(struct text *to, char before, const char *name)
{
    text_putc(to, before);
    text_json(to, name);
    text_putc(to, ':');
}

static void member_text(struct text *to, char before, const char *name, const char *value)
{
    member(to, before, name);
    text_json(to, value);
}

/* As a number, which the document prints, where the title's id is one that survives being read as a double. */
static void put_title_number(struct text *to, const char *title)
{
    size_t len = strspn(title, "0123456789");

    if (len && len <= 15 && !title[len] && (title[0] != '0' || len == 1))
        text_puts(to, title);
    else
        text_json(to, title);
}

static const char *together_name(enum wise_together together)
{
    return together == WISE_ONE ? "ONE" : "ALL";
}

/* ---- reading bodies ---- */

/* The length of a typographic double quote, 0 where none begins. */
static size_t curly_quote(const char *c, size_t len)
{
    return len >= 3 && !memcmp(c, "\xE2\x80", 2) && ((unsigned char)c[2] == 0x9C || (unsigned char)c[2] == 0x9D) ? 3 : 0;
}

static size_t any_quote(const char *c, size_t len)
{
    return len && *c == '"' ? 1 : curly_quote(c, len);
}

static bool ends_value(char c)
{
    return c && (strchr("}]\"", c) || (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z'));
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static bool is_trailing_comma(const char *c, size_t len)
{
    size_t i = 1;

    while (i < len && is_blank(c[i]))
        i++;
    return *c == ',' && i < len && (c[i] == '}' || c[i] == ']');
}

/* Copies a string whose opening quote has been read; returns how many bytes were read, its closing quote included. */
static size_t mend_string(const char *c, size_t len, bool curly, struct text *out)
{
    size_t i = 0, quote;

    text_putc(out, '"');
    while (i < len) {
        quote = curly ? any_quote(c + i, len - i) : c[i] == '"';
        if (quote) {
            text_putc(out, '"');
            return i + quote;
        }
        size_t step = c[i] == '\\' && i + 1 < len ? 2 : 1;
        text_add(out, c + i, step);
        i += step;
    }
    return i;
}

/* See "Mends" in the header. */
static void mend(const char *in, size_t len, struct text *out)
{
    static const char strategy[] = "searchStrategy";
    char last = '\0'; /* of what was put out, blanks aside */

    for (size_t i = 0; i < len;) {
        size_t quote = any_quote(in + i, len - i);
        size_t name = i + quote + sizeof strategy - 1;
        bool names_it = name < len && !memcmp(in + i + quote, strategy, sizeof strategy - 1) &&
                        any_quote(in + name, len - name);
        if (names_it && ends_value(last))
            text_putc(out, ',');
        if (names_it || quote) {
            i += quote;
            i += mend_string(in + i, len - i, quote != 1, out);
            last = '"';
        } else {
            bool dropped = is_trailing_comma(in + i, len - i);
            if (!dropped)
                text_putc(out, in[i]);
            if (!dropped && !is_blank(in[i]))
                last = in[i];
            i++;
        }
    }
}

/* The body as JSON, mended where it is none, or NULL. */
static json_object *read_body(const struct http_response *res)
{
    json_object *body = reading_json(res);

    if (body || !res->body_len || reading_is_markup(res))
        return body;
    struct text mended = {0};
    struct http_response again = *res;
    mend(res->body, res->body_len, &mended);
    again.body = text_str(&mended);
    again.body_len = mended.len;
    if (!mended.failed)
        body = reading_json(&again);
    text_free(&mended);
    return body;
}

static bool is_said(json_object *value)
{
    switch (json_object_get_type(value)) {
    case json_type_null: return false;
    case json_type_boolean: return json_object_get_boolean(value);
    case json_type_array: return json_object_array_length(value) > 0;
    case json_type_object: return json_object_object_length(value) > 0;
    case json_type_string: return json_object_get_string_len(value) > 0;
    default: return true;
    }
}

/* An id: a number or text that can stand in a path; "" when it is missing, 0 or something else. */
static void read_id(json_object *in, const char *key, char ret[WISE_ID_SIZE])
{
    if (!reading_text(in, key, ret, WISE_ID_SIZE) || !wise_id(ret) || !strcmp(ret, "0"))
        ret[0] = '\0';
}

static void read_date(json_object *in, const char *key, char ret[WISE_DATE_SIZE])
{
    char written[40];

    ret[0] = '\0';
    if (!reading_text(in, key, written, sizeof written) || strlen(written) < WISE_DATE_SIZE - 1)
        return;
    for (size_t i = 0; i < WISE_DATE_SIZE - 1; i++)
        if (i == 4 || i == 7 ? written[i] != '-' : written[i] < '0' || written[i] > '9')
            return;
    if (!written[10] || written[10] == 'T')
        text_fit(ret, WISE_DATE_SIZE, written, WISE_DATE_SIZE - 1);
}

/* ---- what an answer means ---- */

/* What an entry of validationErrors says: its shape is not public. */
static const char *words_of(json_object *entry)
{
    static const char *const keys[] = {"message",        "description", "text", "errorMessage",
                                       "defaultMessage", "error",       "code", "key"};

    if (json_object_is_type(entry, json_type_string))
        return json_object_get_string(entry);
    for (size_t i = 0; i < COUNT(keys); i++)
        if (json_str(entry, keys[i]))
            return json_str(entry, keys[i]);
    return "";
}

static struct answer quoted(enum verdict verdict, enum cause cause, const char *code, const char *what, int status,
                            json_object *errors)
{
    char words[ERRORS_SIZE], said[READING_WORDS_SIZE];
    size_t at = 0;

    words[0] = '\0';
    for (size_t i = 0; i < reading_count(errors) && at < sizeof words - 1; i++) {
        const char *more = words_of(reading_at(errors, i));
        int n = snprintf(words + at, sizeof words - at, "%s%s", at && more[0] ? "; " : "", more);
        at += n > 0 && (size_t)n < sizeof words - at ? (size_t)n : strlen(words + at);
    }
    reading_words(said, words, strlen(words), NULL, 0);
    return said[0] ? answer_make(verdict, cause, code, "%s (HTTP %d): %s", what, status, said)
                   : answer_make(verdict, cause, code, "%s (HTTP %d)", what, status);
}

/* Nobody knows, where the call changes something; otherwise it can be made again. */
static struct answer unknown(const struct call *call, const char *code, const char *what, int status)
{
    return answer_make(call->changes ? UNKNOWN : LATER, CAUSE_VENDOR, code, "%s (HTTP %d)%s", what, status,
                       call->changes ? ": nobody knows whether it was done" : "");
}

static bool has_id(json_object *body)
{
    char id[WISE_ID_SIZE], group[WISE_ID_SIZE];

    read_id(body, "id", id);
    read_id(body, "groupHoldId", group);
    return id[0] || group[0];
}

static struct answer not_found(const struct call *call, int status)
{
    return call->cancels ? answer_make(UNKNOWN, CAUSE_WORK, "not_found",
                                       "Wise finds no such hold (HTTP %d): its list of holds says whether it is gone", status)
                         : answer_make(REJECTED, CAUSE_WORK, "not_found",
                                       "Wise does not know the patron, the title or the branch (HTTP %d)", status);
}

/* 404 and 405 of others than Wise's own program: the path is spelled wrong, or nothing is there. */
static struct answer no_such_path(int status, const struct call *call, struct wise_spelling *spelling)
{
    if (move_on(spelling, call->differs))
        return answer_make(AGAIN, CAUSE_WORK, "other_spelling", "Wise has no such path (HTTP %d): spelled otherwise next",
                           status);
    if (call->cancels && status == 404)
        return not_found(call, status);
    return answer_make(LATER, CAUSE_VENDOR, "no_such_path",
                       "Wise has no such path in any spelling (HTTP %d): is WISE_URL right?", status);
}

static struct answer client_error(int status, json_object *body, const struct call *call, struct wise_spelling *spelling)
{
    bool own = json_object_is_type(body, json_type_object) && json_object_object_get_ex(body, "validationErrors", NULL);

    if (status == 403)
        return answer_make(LATER, CAUSE_VENDOR, "forbidden",
                           "Wise forbids it (HTTP 403): look at the account's rights, the key and the address allowed for it");
    if (status == 404 && own)
        return not_found(call, status);
    if (status == 404 || status == 405)
        return no_such_path(status, call, spelling);
    if (!body || status == 407 || status == 408 || status == 421 || status == 425)
        return answer_make(LATER, CAUSE_VENDOR, "not_wise", "a server or proxy answers for Wise (HTTP %d): is WISE_URL right?",
                           status);
    return quoted(REJECTED, CAUSE_WORK, "refused", "Wise refuses it", status, body);
}

static struct answer server_error(int status, const struct call *call)
{
    if (status == 501 || status == 503)
        return answer_make(LATER, CAUSE_VENDOR, "unwell", "Wise is unwell (HTTP %d)", status);
    return unknown(call, status == 500 ? "server_error" : "gateway", "Wise failed", status);
}

/* What is decided before the body is. False: it is a 2xx without errors, and the call reads it. */
static bool decided(const struct http_response *res, json_object *body, const struct call *call,
                    struct wise_spelling *spelling, struct answer *ret)
{
    int status = res->status;
    json_object *errors = json_get(body, "validationErrors");

    if (status == 401)
        *ret = answer_make(LATER, CAUSE_TOKEN, "token_refused", "Wise refuses the token or the WISE_KEY (HTTP 401)");
    else if (status == 429)
        *ret = answer_make(LATER, CAUSE_RATE, "rate", "Wise asks to slow down (HTTP 429)");
    else if (is_said(errors) && call->changes && status / 100 == 2 && has_id(body))
        *ret = unknown(call, "unclear", "Wise answers an id and an error at once", status);
    else if (is_said(errors))
        *ret = quoted(REJECTED, CAUSE_WORK, "refused", "Wise refuses it", status, errors);
    else if (status / 100 == 2 && reading_error(body, NULL, NULL))
        *ret = unknown(call, "unclear", "Wise answers success and an error at once", status);
    else if (status / 100 == 2)
        return false;
    else if (status >= 400 && status < 500)
        *ret = client_error(status, body, call, spelling);
    else if (status >= 300 && status < 400)
        *ret = answer_make(LATER, CAUSE_VENDOR, "redirected", "Wise answers elsewhere (HTTP %d): is WISE_URL right?", status);
    else
        *ret = server_error(status, call);
    if (ret->verdict == LATER)
        *ret = reading_wait(*ret, res, -1);
    return true;
}

static struct answer garbled(const struct call *call, int status)
{
    return unknown(call, "garbled", "Wise answers what cannot be read", status);
}

/* ---- log-in ---- */

static void put_password(struct http_request *req, const char *username, const char *password)
{
    member_text(&req->body, '{', "username", username);
    member_text(&req->body, ',', "password", password);
    text_putc(&req->body, '}');
}

void wise_staff_login_request(struct http_request *req, const struct wise_session *s, const char *username,
                              const char *password)
{
    request_begin(req, "POST", s);
    segment(req, "login");
    put_password(req, username, password);
}

void wise_patron_login_request(struct http_request *req, const struct wise_session *s, const char *username,
                               const char *password)
{
    request_begin(req, "POST", s);
    segment(req, "patron");
    segment(req, "authentication");
    put_password(req, username, password);
}

void wise_proxy_login_request(struct http_request *req, const struct wise_session *s, const char *patron_system_id,
                              const char *library_id)
{
    library_begin(req, "POST", s, patron_system_id, library_id);
    segment(req, "proxyauthentication");
    text_puts(&req->body, "{}");
}

/* Whose log-in it is decides what a refusal means. */
enum who { STAFF, PATRON, PROXY };

static bool login_refused(int status, const struct answer *a, enum who who)
{
    bool words = a->verdict == REJECTED;

    switch (who) {
    case STAFF: return status == 401 || status == 403 || words;
    case PATRON: return status == 401 || words;
    default: return status == 403 && !words;
    }
}

static struct answer refused_login(int status, enum who who, json_object *body)
{
    json_object *errors = json_get(body, "validationErrors");

    if (!is_said(errors))
        errors = body;
    switch (who) {
    case STAFF:
        return quoted(LATER, CAUSE_CREDENTIALS, "login_refused", "Wise refuses the user, the password or the WISE_KEY", status,
                      errors);
    case PATRON:
        return quoted(REJECTED, CAUSE_WORK, "login_refused", "Wise refuses the patron's user name or password", status, errors);
    default:
        return quoted(LATER, CAUSE_CREDENTIALS, "proxy_refused",
                      "Wise does not let this account, key or address act for a patron", status, errors);
    }
}

static struct answer login_answer(const struct http_response *res, struct wise_spelling *spelling, enum who who,
                                  struct wise_login *ret)
{
    struct answer a = {.verdict = DONE};

    *ret = (struct wise_login){0};
    if (res->end != HTTP_ANSWERED)
        return reading_unanswered(res);
    SCOPED(json_object_put) json_object *body = read_body(res);
    bool over = decided(res, body, &login_call, spelling, &a);
    if (over && login_refused(res->status, &a, who))
        return refused_login(res->status, who, body);
    if (over)
        return a;
    read_id(body, "patronSystemId", ret->patron_system_id);
    read_id(body, "libraryId", ret->library_id);
    read_date(body, "membershipExpiryDate", ret->membership_expiry);
    bool whole = reading_token(body, "token", ret->token, sizeof ret->token) &&
                 (who != PATRON || (ret->patron_system_id[0] && ret->library_id[0]));
    if (!whole) {
        *ret = (struct wise_login){0};
        return answer_make(LATER, CAUSE_VENDOR, "garbled", "Wise answers a log-in with HTTP %d, but without %s", res->status,
                           who == PATRON ? "a token and the patron's ids" : "a token");
    }
    return answer_make(DONE, CAUSE_WORK, "logged_in", "logged in");
}

struct answer wise_staff_login_answer(const struct http_response *res, struct wise_spelling *spelling, struct wise_login *ret)
{
    return login_answer(res, spelling, STAFF, ret);
}

struct answer wise_patron_login_answer(const struct http_response *res, struct wise_spelling *spelling,
                                       struct wise_login *ret)
{
    return login_answer(res, spelling, PATRON, ret);
}

struct answer wise_proxy_login_answer(const struct http_response *res, struct wise_spelling *spelling, struct wise_login *ret)
{
    return login_answer(res, spelling, PROXY, ret);
}

/* ---- money ---- */

static void read_cost(json_object *in, const char *key, struct wise_cost *ret)
{
    json_object *value = json_get(in, key);
    bool whole = false;

    *ret = (struct wise_cost){0};
    if (!value || (json_object_is_type(value, json_type_string) && !json_object_get_string_len(value)))
        return;
    /* json-c hands a number with a point back in the words it was read in */
    if (json_object_is_type(value, json_type_double))
        whole = text_fit(ret->text, sizeof ret->text, json_object_get_string(value), strlen(json_object_get_string(value)));
    else
        whole = reading_text_of(value, ret->text, sizeof ret->text);
    if (!whole || !wise_hundredths(ret->text, &ret->hundredths) || ret->hundredths > WISE_COST_READ_MOST)
        ret->hundredths = -1;
}

static void read_costs(json_object *body, struct wise_costs *ret)
{
    json_object *details = json_get(body, "reservationCostDetails");
    struct wise_cost punches;

    read_cost(details, "placementCost", &ret->placement);
    read_cost(details, "pickupFee", &ret->pickup);
    read_cost(details, "lendingFee", &ret->lending);
    read_cost(body, "reservationCost", &ret->total);
    /* beside the details for one title, within them for several */
    read_cost(json_get(body, "punchCardPunches") ? body : details, "punchCardPunches", &punches);
    ret->punches = punches.hundredths < 0 ? -1 : (punches.hundredths + 99) / 100;
}

/* ---- branches ---- */

static void read_branch(json_object *in, struct wise_branch *ret)
{
    /* branchId where one title is prepared, locationNumber where several are */
    read_id(in, json_get(in, "branchId") ? "branchId" : "locationNumber", ret->id);
    reading_text(in, "locationType", ret->type, sizeof ret->type);
    reading_text(in, "description", ret->name, sizeof ret->name);
}

static void read_branches(json_object *list, struct wise_branches *ret)
{
    for (size_t i = 0; i < reading_count(list); i++) {
        struct wise_branch branch;
        read_branch(reading_at(list, i), &branch);
        if (ret->count == WISE_BRANCHES_MAX)
            ret->more = true;
        else if (branch.id[0])
            ret->at[ret->count++] = branch;
    }
}

/* ---- a single hold ---- */

void wise_prepare_request(struct http_request *req, const struct wise_session *s, const char *patron_system_id,
                          const char *library_id, const char *title, const char *branch)
{
    bool printed = s->spelling & WISE_PRINTED;

    patron_begin(req, "GET", s, patron_system_id);
    segment(req, printed ? "libraryId" : "library");
    segment(req, library_id);
    segment(req, printed ? "prepareHold" : "preparehold");
    segment(req, title);
    segment(req, "branch");
    segment(req, branch);
}

struct answer wise_prepare_answer(const struct http_response *res, struct wise_spelling *spelling, struct wise_offer *ret)
{
    struct answer a;

    *ret = (struct wise_offer){0};
    if (res->end != HTTP_ANSWERED)
        return reading_unanswered(res);
    SCOPED(json_object_put) json_object *body = read_body(res);
    if (decided(res, body, &prepare_call, spelling, &a))
        return a;
    ret->hold_possible = reading_flag(body, "holdPossible");
    ret->ill_allowed = reading_flag(body, "illAllowed");
    ret->choose_issue = reading_flag(body, "chooseIssueFirst");
    ret->queue_position = reading_int(body, "queuePosition");
    read_branch(json_get(body, "pickupLocation"), &ret->pickup);
    read_branches(json_get(body, "pickupLocations"), &ret->others);
    read_costs(body, &ret->costs);
    bool whole = !json_text_opt(body, "holdParameters", ret->hold_parameters, sizeof ret->hold_parameters).kind;
    bool possible = ret->hold_possible || ret->ill_allowed;
    if (!json_get(body, "holdPossible") || !whole || (possible && !ret->hold_parameters[0])) {
        *ret = (struct wise_offer){0};
        return garbled(&prepare_call, res->status);
    }
    return answer_make(DONE, CAUSE_WORK, "prepared", "prepared");
}

/* The hold parameters of an ILL begin with I (the document, "Creating an ILL request"). */
static void put_parameters(struct text *to, const struct wise_order *order)
{
    struct text parameters = {0};

    text_puts(&parameters, order->hold_parameters);
    if (order->ill && parameters.len)
        parameters.at[0] = 'I';
    member_text(to, ',', "holdParameters", text_str(&parameters));
    to->failed = to->failed || parameters.failed;
    text_free(&parameters);
}

void wise_place_request(struct http_request *req, const struct wise_session *s, const char *patron_system_id,
                        const char *library_id, const struct wise_order *order)
{
    library_begin(req, "POST", s, patron_system_id, library_id);
    segment(req, "hold");
    member(&req->body, '{', "bibliographicRecordId");
    put_title_number(&req->body, order->title);
    put_parameters(&req->body, order);
    member_text(&req->body, ',', "pickupLocationBranchId", order->pickup_branch);
    if (order->due && order->due[0])
        member_text(&req->body, ',', "requestDueDate", order->due);
    text_putc(&req->body, '}');
}

struct answer wise_place_answer(const struct http_response *res, struct wise_spelling *spelling, struct wise_placed *ret)
{
    struct answer a;

    *ret = (struct wise_placed){0};
    if (res->end != HTTP_ANSWERED)
        return answer_unanswered(res);
    SCOPED(json_object_put) json_object *body = read_body(res);
    if (decided(res, body, &place_call, spelling, &a))
        return a;
    if (!json_object_is_type(body, json_type_object))
        return garbled(&place_call, res->status);
    read_id(body, "id", ret->id);
    read_id(body, "holdNumber", ret->number);
    read_id(body, "groupHoldId", ret->group_id);
    return answer_make(DONE, CAUSE_WORK, "placed", "placed");
}

/* ---- several titles at once ---- */

void wise_options_request(struct http_request *req, const struct wise_session *s, const char *patron_system_id,
                          const char *const *titles, size_t count, enum wise_together together, const char *branch)
{
    patron_begin(req, "PUT", s, patron_system_id);
    segment(req, s->spelling & WISE_PRINTED ? "holdOption" : "holdoption");
    member(&req->body, '{', "titleHoldOptions");
    text_putc(&req->body, '[');
    for (size_t i = 0; i < count; i++) {
        text_puts(&req->body, i ? ",{" : "{");
        text_puts(&req->body, "\"bibliographicRecordId\":"); /* a string here (the document, "Prepare multiple holds") */
        text_json(&req->body, titles[i]);
        text_putc(&req->body, '}');
    }
    text_putc(&req->body, ']');
    member_text(&req->body, ',', "holdType", together_name(together));
    member_text(&req->body, ',', "pickupBranchId", branch);
    text_putc(&req->body, '}');
}

static void read_option(json_object *in, struct wise_option *ret)
{
    read_id(in, "bibliographicRecordId", ret->title);
    read_id(in, "issueId", ret->issue);
    ret->hold_allowed = reading_flag(in, "holdAllowed");
    ret->fast_allowed = reading_flag(in, "fastDeliveryAllowed");
    ret->ill_allowed = reading_flag(in, "illAllowed");
    ret->queue_position = reading_int(in, "queuePosition");
}

struct answer wise_options_answer(const struct http_response *res, struct wise_spelling *spelling, struct wise_options *ret)
{
    struct answer a;

    *ret = (struct wise_options){0};
    if (res->end != HTTP_ANSWERED)
        return reading_unanswered(res);
    SCOPED(json_object_put) json_object *body = read_body(res);
    if (decided(res, body, &prepare_call, spelling, &a))
        return a;
    json_object *titles = json_get(body, "titleHoldOptions");
    if (!titles)
        return garbled(&prepare_call, res->status);
    for (size_t i = 0; i < reading_count(titles) && ret->count < WISE_TITLES_MAX; i++) {
        read_option(reading_at(titles, i), &ret->titles[ret->count]);
        ret->count += ret->titles[ret->count].title[0] != '\0';
    }
    read_id(body, "pickupBranchId", ret->pickup_branch);
    read_branches(json_get(body, "altPickupBranches"), &ret->others);
    read_costs(body, &ret->costs);
    reading_text(body, "searchStrategy", ret->strategy, sizeof ret->strategy);
    return answer_make(DONE, CAUSE_WORK, "prepared", "prepared");
}

void wise_place_several_request(struct http_request *req, const struct wise_session *s, const char *patron_system_id,
                                const struct wise_group *group)
{
    patron_begin(req, "POST", s, patron_system_id); /* without the library (the document, "Multiple place holds") */
    segment(req, "hold");
    member(&req->body, '{', "holds");
    text_putc(&req->body, '[');
    for (size_t i = 0; i < group->count; i++) {
        text_puts(&req->body, i ? ",{" : "{");
        text_puts(&req->body, "\"bibliographicRecordId\":");
        put_title_number(&req->body, group->titles[i]);
        member_text(&req->body, ',', "fastDeliveryAllowed", group->fast_delivery ? "true" : "false");
        text_putc(&req->body, '}');
    }
    text_putc(&req->body, ']');
    member_text(&req->body, ',', "holdType", together_name(group->together));
    member_text(&req->body, ',', "pickupBranchId", group->pickup_branch);
    if (group->due && group->due[0])
        member_text(&req->body, ',', "requestDueDate", group->due);
    if (group->strategy && group->strategy[0])
        member_text(&req->body, ',', "searchStrategy", group->strategy);
    text_putc(&req->body, '}');
}

static bool all_allowed(json_object *list, const struct wise_group *group)
{
    for (size_t i = 0; i < group->count; i++) {
        bool allowed = false;
        for (size_t j = 0; j < reading_count(list) && j < WISE_HOLDS_MAX && !allowed; j++) {
            struct wise_option option;
            read_option(reading_at(list, j), &option);
            allowed = !strcmp(option.title, group->titles[i]) && (option.hold_allowed || option.ill_allowed);
        }
        if (!allowed)
            return false;
    }
    return true;
}

struct answer wise_place_several_answer(const struct http_response *res, struct wise_spelling *spelling,
                                        const struct wise_group *group, struct wise_placed *ret)
{
    struct answer a;

    *ret = (struct wise_placed){0};
    if (res->end != HTTP_ANSWERED)
        return answer_unanswered(res);
    SCOPED(json_object_put) json_object *body = read_body(res);
    if (decided(res, body, &place_call, spelling, &a))
        return a;
    if (!json_object_is_type(body, json_type_object))
        return garbled(&place_call, res->status);
    read_id(body, "groupHoldId", ret->group_id);
    if (!all_allowed(json_get(body, "holds"), group))
        return unknown(&place_call, "some_missing", "Wise does not confirm every title", res->status);
    return answer_make(DONE, CAUSE_WORK, "placed", "placed");
}

/* ---- the hold list ---- */

static const char *const status_names[] = {
    "UNKNOWN", "ACTIVE", "MESSAGE_SENT", "RECEIVED", "RETURNED_TO_BRANCH", "IN_TRANSPORT", "LOANED", "CLOSED",
};

const char *wise_status_name(enum wise_status status)
{
    return status_names[status];
}

static enum wise_status read_status(json_object *in)
{
    char name[32];

    reading_text(in, "holdStatus", name, sizeof name);
    if (!strcasecmp(name, "RECIEVED")) /* so it is written in the client */
        return WISE_RECEIVED;
    for (size_t i = 0; i < COUNT(status_names); i++)
        if (!strcasecmp(name, status_names[i]))
            return (enum wise_status)i;
    return WISE_STATUS_UNKNOWN;
}

static void read_hold(json_object *in, struct wise_hold *ret)
{
    *ret = (struct wise_hold){.status = read_status(in), .queue_position = reading_int(in, "queuePosition")};
    read_id(in, "id", ret->id);
    read_id(in, "holdNumber", ret->number);
    read_id(in, "groupHoldId", ret->group_id);
    read_id(in, "bibliographicRecordId", ret->title_id);
    reading_text(in, "title", ret->title, sizeof ret->title);
    reading_text(in, "author", ret->author, sizeof ret->author);
    ret->cancel_allowed = reading_flag(in, "cancelAllowed");
    ret->update_allowed = reading_flag(in, "updateAllowed");
    ret->awaiting_pickup = reading_flag(in, "awaitingPickup");
    read_id(in, "pickupLocationBranchId", ret->pickup_branch);
    reading_text(in, "pickupLocationName", ret->pickup_name, sizeof ret->pickup_name);
    read_date(in, "holdPlacedDate", ret->placed);
    read_date(in, "requestDueDate", ret->due);
    read_date(in, "holdDueDate", ret->pickup_until);
}

void wise_list_request(struct http_request *req, const struct wise_session *s, const char *patron_system_id,
                       const char *library_id, int64_t offset)
{
    char digits[24];

    library_begin(req, "GET", s, patron_system_id, library_id);
    segment(req, "hold");
    snprintf(digits, sizeof digits, "%" PRId64, offset);
    http_request_query(req, "offset", digits);
    snprintf(digits, sizeof digits, "%d", WISE_PAGE);
    http_request_query(req, "limit", digits);
}

/* Appends those that are not there yet; returns how many. False in *ret_whole: one did not fit or could not be read. */
static size_t append(struct wise_holds *holds, json_object *items, bool *ret_whole)
{
    size_t before = holds->count;

    for (size_t i = 0; i < reading_count(items); i++) {
        struct wise_hold hold;
        read_hold(reading_at(items, i), &hold);
        bool readable = hold.title_id[0] && (hold.id[0] || hold.number[0]);
        if (!readable || holds->count == WISE_HOLDS_MAX)
            *ret_whole = false;
        else if (!wise_hold_find(holds, hold.id, hold.id[0] ? NULL : hold.number))
            holds->at[holds->count++] = hold;
    }
    return holds->count - before;
}

struct answer wise_list_answer(const struct http_response *res, struct wise_spelling *spelling, struct wise_holds *holds)
{
    bool whole = true, first = holds->next == 0;
    struct answer a;

    holds->complete = false;
    if (res->end != HTTP_ANSWERED)
        return reading_unanswered(res);
    SCOPED(json_object_put) json_object *body = read_body(res);
    if (decided(res, body, &list_call, spelling, &a))
        return a;
    json_object *items = json_get(body, "items"), *total = json_get(body, "total");
    if (!json_object_is_type(items, json_type_array))
        return garbled(&list_call, res->status);
    int64_t said = total ? reading_int_of(total) : -1, read = (int64_t)reading_count(items);
    if (first)
        holds->total = said;
    size_t fresh = append(holds, items, &whole);
    holds->next += read;
    /* a page that brings nothing new is the last, or one of a server that does not page */
    bool more = said >= 0 ? (int64_t)holds->count < said : read >= WISE_PAGE;
    if (more && fresh && whole)
        return answer_make(AGAIN, CAUSE_WORK, "next_page", "%zu holds are read, and there are more", holds->count);
    holds->complete = whole && said == holds->total && (said < 0 ? !more : (int64_t)holds->count == said);
    return answer_make(DONE, CAUSE_WORK, "listed", "%zu holds%s", holds->count, holds->complete ? "" : ", perhaps not all");
}

/* ---- cancel ---- */

void wise_cancel_request(struct http_request *req, const struct wise_session *s, const char *patron_system_id,
                         const char *library_id, const char *hold_id)
{
    library_begin(req, "DELETE", s, patron_system_id, library_id);
    segment(req, "hold");
    segment(req, hold_id);
}

struct answer wise_cancel_answer(const struct http_response *res, struct wise_spelling *spelling)
{
    struct answer a;

    if (res->end != HTTP_ANSWERED)
        return answer_unanswered(res);
    SCOPED(json_object_put) json_object *body = read_body(res);
    if (decided(res, body, &cancel_call, spelling, &a))
        return a;
    if (res->body_len && !body)
        return garbled(&cancel_call, res->status);
    return answer_make(DONE, CAUSE_WORK, "cancelled", "cancelled");
}

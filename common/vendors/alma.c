#include "common/vendors/alma.h"

#include "common/scoped.h"
#include "common/vendors/reading.h"

#include <string.h>

enum { PER_SECOND_WAIT_MS = 1000 };

/* What Alma's error codes mean (Alma facts, 2.3). */
static const struct meaning {
    const char *code; /* Alma's */
    enum verdict verdict;
    enum cause cause;
    const char *word; /* ours */
    const char *why;
} meanings[] = {
    {"401861", REJECTED, CAUSE_WORK, "not_found", "Alma has no user with this id"},
    {"401890", REJECTED, CAUSE_WORK, "not_found", "Alma has no user with this id of this type"},
    {"4019990", REJECTED, CAUSE_WORK, "not_found", "Alma has no such source user"},
    {"4019998", REJECTED, CAUSE_WORK, "not_found", "Alma has no such linked user"},
    {"UNAUTHORIZED", LATER, CAUSE_CREDENTIALS, "key_refused", "Alma refuses the API key, or it may not read users"},
    {"FORBIDDEN", LATER, CAUSE_CREDENTIALS, "key_refused", "Alma refuses the API key, or it may not read users"},
    {"PER_SECOND_THRESHOLD", LATER, CAUSE_RATE, "rate", "more calls than the institution may make per second"},
    {"DAILY_THRESHOLD", LATER, CAUSE_DAY, "day", "the institution's calls of today are used up"},
    {"60101", LATER, CAUSE_VENDOR, "unwell", "Alma reports a general error"},
    {"402119", LATER, CAUSE_VENDOR, "unwell", "Alma reports a general error"},
    {"GENERAL_ERROR", LATER, CAUSE_VENDOR, "unwell", "Alma reports a general error"},
    {"ROUTING_ERROR", LATER, CAUSE_VENDOR, "unwell", "Alma cannot route the call just now"},
};

struct trouble {
    bool told; /* the body is an error, whatever the status */
    char code[33], tracking_id[65];
};

static void common_parts(struct http_request *req, const char *key)
{
    struct text authorization = {0};

    text_puts(&authorization, "apikey ");
    text_puts(&authorization, key);
    http_request_header(req, "Accept", "application/json"); /* the default is XML */
    http_request_header(req, "Authorization", text_str(&authorization));
    text_free(&authorization);
    req->watch = "X-Exl-Api-Remaining";
}

void alma_user_request(struct http_request *req, const char *user_id, const char *key)
{
    http_request_reset(req, "GET", "/almaws/v1/users/");
    text_percent(&req->target, user_id);
    common_parts(req, key);
}

void alma_test_request(struct http_request *req, const char *key)
{
    http_request_reset(req, "GET", "/almaws/v1/users/operation/test");
    common_parts(req, key);
}

int64_t alma_calls_left(const struct http_response *res)
{
    int64_t n = 0;
    const char *at = res->watched;

    if (!at || !*at)
        return -1;
    for (; *at; at++) {
        if (*at < '0' || *at > '9' || n > (INT64_MAX - 9) / 10)
            return -1;
        n = n * 10 + (*at - '0');
    }
    return n;
}

/* Codes and tracking ids go into reasons: only what looks like one is taken. */
static void take_word(char *ret, size_t size, const char *bytes, size_t len)
{
    reading_trim(&bytes, &len);
    if (ret[0] || !len || len >= size)
        return;
    for (size_t i = 0; i < len; i++)
        if (!strchr("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-.", bytes[i]) || !bytes[i])
            return;
    memcpy(ret, bytes, len);
    ret[len] = '\0';
}

static void take_member(json_object *error, const char *key, char *ret, size_t size)
{
    char text[65];

    if (reading_text(error, key, text, sizeof text))
        take_word(ret, size, text, strlen(text));
}

/* {"errorList":{"error":[…]}}, the same inside {"web_service_result":…}, `error` also as an object (Alma facts, 2.3). */
static void read_json_trouble(json_object *body, struct trouble *ret)
{
    json_object *inner = json_get(body, "web_service_result");
    json_object *result = inner ? inner : body;
    json_object *errors = json_get(json_get(result, "errorList"), "error");

    ret->told = inner || errors || reading_flag(result, "errorsExist");
    for (size_t i = 0; i < reading_count(errors); i++) {
        take_member(reading_at(errors, i), "errorCode", ret->code, sizeof ret->code);
        take_member(reading_at(errors, i), "trackingId", ret->tracking_id, sizeof ret->tracking_id);
    }
}

/* The gateway answers XML even when JSON was asked for. Its two texts are all that is wanted of it. */
static void take_element(const struct http_response *res, const char *name, char *ret, size_t size)
{
    const char *end = res->body + res->body_len;
    size_t name_len = strlen(name);

    for (const char *at = res->body; (at = memmem(at, (size_t)(end - at), name, name_len)); at += name_len) {
        const char *text = at + name_len;
        bool opens = at > res->body && (at[-1] == '<' || at[-1] == ':') && text < end && *text == '>';
        const char *close = opens ? memchr(text, '<', (size_t)(end - text)) : NULL;
        if (close)
            take_word(ret, size, text + 1, (size_t)(close - text - 1));
    }
}

static void read_trouble(const struct http_response *res, json_object *body, struct trouble *ret)
{
    *ret = (struct trouble){0};
    if (body) {
        read_json_trouble(body, ret);
    } else if (reading_is_markup(res)) {
        take_element(res, "errorCode", ret->code, sizeof ret->code);
        take_element(res, "trackingId", ret->tracking_id, sizeof ret->tracking_id);
        ret->told = ret->code[0];
    }
}

static const struct meaning *meaning_of(const struct http_response *res, const struct trouble *t)
{
    static const struct meaning rate = {"", LATER, CAUSE_RATE, "rate", "Alma asks to slow down"};
    static const struct meaning key = {"", LATER, CAUSE_CREDENTIALS, "key_refused", "Alma refuses the API key"};
    static const struct meaning unwell = {"", LATER, CAUSE_VENDOR, "unwell", "Alma is unwell"};
    static const struct meaning redirected = {"", LATER, CAUSE_VENDOR, "redirected",
                                              "Alma answers elsewhere: is ALMA_URL right?"};
    static const struct meaning garbled = {"", LATER, CAUSE_VENDOR, "garbled",
                                           "an error that is none of Alma's known ones"};
    static const struct meaning refused = {"", LATER, CAUSE_VENDOR, "refused",
                                           "Alma, or something before it, refuses the call"};
    const struct meaning *known = NULL;

    for (size_t i = 0; i < COUNT(meanings) && !known; i++)
        if (!strcmp(t->code, meanings[i].code))
            known = &meanings[i];
    if (res->status == 429)
        return known && (known->cause == CAUSE_DAY || known->cause == CAUSE_RATE) ? known : &rate;
    /* "not found" from a server that says it failed proves nothing */
    if (known && !(known->verdict == REJECTED && res->status >= 500))
        return known;
    if (res->status == 401)
        return &key;
    if (res->status >= 500)
        return &unwell;
    if (res->status >= 400)
        return &refused;
    return res->status >= 300 ? &redirected : &garbled;
}

static struct answer trouble_answer(const struct http_response *res, const struct trouble *t)
{
    const struct meaning *m = meaning_of(res, t);
    struct answer a = answer_make(m->verdict, m->cause, m->word, "%s (HTTP %d%s%s%s%s)", m->why, res->status,
                                  t->code[0] ? ", " : "", t->code, t->tracking_id[0] ? ", tracking id " : "",
                                  t->tracking_id);

    if (m->verdict != LATER)
        return a;
    return reading_wait(a, res, m->cause == CAUSE_RATE ? PER_SECOND_WAIT_MS : -1);
}

struct answer alma_test_answer(const struct http_response *res)
{
    struct trouble t;

    if (res->end != HTTP_ANSWERED)
        return reading_unanswered(res);
    SCOPED(json_object_put) json_object *body = reading_json(res);
    read_trouble(res, body, &t);
    if (res->status != 200 || t.told)
        return trouble_answer(res, &t);
    return answer_make(DONE, CAUSE_WORK, "found", "the key works");
}

/* {"value":"X","desc":"…"}, which some answers shorten to "X". */
static bool coded(json_object *in, const char *key, char *ret, size_t size)
{
    json_object *member = json_get(in, key);

    return json_object_is_type(member, json_type_object) ? reading_text(member, "value", ret, size)
                                                          : reading_text_of(member, ret, size);
}

static bool coded_is(json_object *in, const char *key, const char *value)
{
    char found[65];

    return coded(in, key, found, sizeof found) && !strcmp(found, value);
}

/* The first ACTIVE one: a person's replaced cards stay in the list, and often come first (Alma facts, 2.1). */
static bool read_barcode(json_object *user, char *ret, size_t size)
{
    json_object *ids = json_get(user, "user_identifier");

    ret[0] = '\0';
    for (size_t i = 0; i < reading_count(ids) && !ret[0]; i++) {
        json_object *id = reading_at(ids, i);
        if (coded_is(id, "id_type", "BARCODE") && coded_is(id, "status", "ACTIVE") &&
            !reading_text(id, "value", ret, size))
            return false;
    }
    return true;
}

static void add_email(json_object *entry, struct alma_user *to)
{
    char address[sizeof to->emails[0]];

    if (to->email_count == ALMA_EMAILS_MAX || !reading_text(entry, "email_address", address, sizeof address) ||
        !address[0])
        return;
    reading_lower(address);
    for (size_t i = 0; i < to->email_count; i++)
        if (!strcmp(to->emails[i], address))
            return;
    memcpy(to->emails[to->email_count++], address, sizeof address);
}

static void read_emails(json_object *user, struct alma_user *to)
{
    json_object *list = json_get(json_get(user, "contact_info"), "email");

    for (int preferred = 1; preferred >= 0; preferred--)
        for (size_t i = 0; i < reading_count(list); i++)
            if (reading_flag(reading_at(list, i), "preferred") == preferred)
                add_email(reading_at(list, i), to);
}

/* "2027-06-30Z": a date with a literal Z, not an instant (Alma facts, 2.0). */
static bool read_date(json_object *user, const char *key, char ret[11])
{
    static const char shape[] = "0000-00-00";
    static const int month_days[] = {31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    char written[33];
    int parts[3] = {0};

    ret[0] = '\0';
    if (!reading_text(user, key, written, sizeof written))
        return false;
    if (!written[0])
        return true;
    for (int i = 0, part = 0; shape[i]; i++) {
        if (shape[i] == '-' ? written[i] != '-' : written[i] < '0' || written[i] > '9')
            return false;
        if (shape[i] == '-')
            part++;
        else
            parts[part] = parts[part] * 10 + (written[i] - '0');
    }
    bool leap = parts[0] % 4 == 0 && (parts[0] % 100 != 0 || parts[0] % 400 == 0);
    if (!strchr("ZT+-", written[10]) || parts[0] < 1 || parts[1] < 1 || parts[1] > 12 || parts[2] < 1 ||
        parts[2] > month_days[parts[1] - 1] || (parts[1] == 2 && parts[2] == 29 && !leap))
        return false;
    memcpy(ret, written, 10);
    ret[10] = '\0';
    return true;
}

static bool is_blocked(json_object *user)
{
    json_object *blocks = json_get(user, "user_block");

    for (size_t i = 0; i < reading_count(blocks); i++) {
        char status[17];
        json_object *block = reading_at(blocks, i);
        bool whole = coded(block, "block_status", status, sizeof status);
        if (block && whole && (!status[0] || !strcmp(status, "ACTIVE")))
            return true;
    }
    return false;
}

static void read_name(json_object *user, const char *preferred_key, const char *key, char *ret, size_t size)
{
    reading_text(user, preferred_key, ret, size);
    if (!ret[0])
        reading_text(user, key, ret, size);
}

static struct answer garbled(const char *why)
{
    return answer_make(LATER, CAUSE_VENDOR, "garbled", "HTTP 200, but %s", why);
}

static struct answer too_long(const char *what)
{
    return answer_make(REJECTED, CAUSE_WORK, "id_too_long", "%s is longer than 64 bytes", what);
}

static struct answer read_user(json_object *body, struct alma_user *ret)
{
    *ret = (struct alma_user){0};
    if (!reading_text(body, "primary_id", ret->primary_id, sizeof ret->primary_id))
        return too_long("the user's primary id");
    if (!ret->primary_id[0])
        return garbled("no user: it has no primary_id");
    for (const char *c = ret->primary_id; *c; c++)
        if (*c < ' ' || *c > '~')
            return answer_make(REJECTED, CAUSE_WORK, "id_not_ascii", "the user's primary id is not printable ASCII");
    if (!read_barcode(body, ret->barcode, sizeof ret->barcode))
        return too_long("the user's active barcode");
    /* an expiry nobody can read must not pass for none: it would open the door */
    if (!read_date(body, "expiry_date", ret->expiry_date))
        return garbled("its expiry_date is not a date as 2027-06-30Z");
    coded(body, "user_group", ret->group, sizeof ret->group);
    reading_text(json_get(body, "user_group"), "desc", ret->group_desc, sizeof ret->group_desc);
    read_name(body, "pref_first_name", "first_name", ret->first_name, sizeof ret->first_name);
    read_name(body, "pref_last_name", "last_name", ret->last_name, sizeof ret->last_name);
    read_emails(body, ret);
    coded(body, "status", ret->status, sizeof ret->status);
    ret->blocked = is_blocked(body);
    return answer_make(DONE, CAUSE_WORK, "found", "%s",
                       ret->barcode[0] ? "found, with an active card" : "found, without an active card");
}

struct answer alma_user_answer(const struct http_response *res, struct alma_user *ret)
{
    struct trouble t;

    if (res->end != HTTP_ANSWERED)
        return reading_unanswered(res);
    SCOPED(json_object_put) json_object *body = reading_json(res);
    read_trouble(res, body, &t);
    if (res->status != 200 || t.told)
        return trouble_answer(res, &t);
    return body ? read_user(body, ret) : garbled("not JSON");
}

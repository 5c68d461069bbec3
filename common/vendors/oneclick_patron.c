#include "common/vendors/oneclick_patron.h"

#include "common/instant.h"
#include "common/scoped.h"
#include "common/vendors/oneclick.h"
#include "common/vendors/oneclick_answer.h"
#include "common/vendors/reading.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

_Static_assert((int)ONECLICK_WORDS_SIZE >= (int)READING_WORDS_SIZE, "what reading_words fills");

enum { DAY_S = 86400, HOUR_S = 3600 };

static const char never[] = "2050-12-31"; /* a hold's expiration */
static const char suffix_letters[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ";

/* What a call is, as far as its answers differ. */
enum call { CHECKOUT = 1, RENEW = 2, RETURN = 4, HOLD = 8, CANCEL = 16, MAGAZINE = 32, MAGAZINE_RETURN = 64, CREATE = 128 };

/* ---- days ---- */

static int64_t sunday_of(int64_t year, const char *month_day, int nth)
{
    char date[24];

    snprintf(date, sizeof date, "%04d-%s", (int)year, month_day);
    int64_t first = oneclick_day(date);
    return first + (7 - (first + 4) % 7) % 7 + 7 * (nth - 1); /* 1970-01-01 was a Thursday */
}

/* Daylight saving since 2007: from the second Sunday of March, 2:00 EST, to the first of November, 2:00 EDT. */
static int64_t eastern_offset(int64_t instant)
{
    char written[INSTANT_SIZE];
    int64_t year = 0;

    instant_write(instant, written);
    for (int i = 0; i < 4; i++)
        year = year * 10 + (written[i] - '0');
    bool summer = instant >= sunday_of(year, "03-01", 2) * DAY_S + 7 * HOUR_S &&
                  instant < sunday_of(year, "11-01", 1) * DAY_S + 6 * HOUR_S;
    return summer ? -4 * HOUR_S : -5 * HOUR_S;
}

int64_t oneclick_ends(const char *expiration)
{
    int64_t day = oneclick_day(expiration);

    if (day < 0 || !strcmp(expiration, never))
        return 0;
    int64_t noon_of_nobody = day * DAY_S + 5 * HOUR_S; /* within an hour of midnight there, and clocks change later */
    return day * DAY_S - eastern_offset(noon_of_nobody);
}

void oneclick_expires(int64_t now, int days, char ret[11])
{
    oneclick_date((now + eastern_offset(now)) / DAY_S + days, ret);
}

/* ---- requests ---- */

static void begin(struct http_request *req, const char *method, const struct oneclick_door *door)
{
    oneclick_begin(req, method, "/v1/libraries/", door->library, door->token);
    if (!strcmp(method, "PUT"))
        http_request_header(req, "Content-Length", "0"); /* a POST has it anyway (OneClick facts, 1.1) */
}

static void segment(struct http_request *req, const char *name, const char *id)
{
    text_putc(&req->target, '/');
    text_puts(&req->target, name);
    text_putc(&req->target, '/');
    text_percent(&req->target, id);
}

static void begin_patron(struct http_request *req, const char *method, const struct oneclick_door *door, const char *patron_id,
                         const char *name, const char *id)
{
    begin(req, method, door);
    segment(req, "patrons", patron_id);
    segment(req, name, id);
}

static void with_days(struct http_request *req, int days)
{
    char written[12];

    snprintf(written, sizeof written, "%d", days);
    if (days > 0)
        http_request_query(req, "days", written);
}

static void member(struct text *to, const char *name, const char *value)
{
    text_putc(to, to->len ? ',' : '{');
    text_json(to, name);
    text_putc(to, ':');
    text_json(to, value);
}

void oneclick_find_request(struct http_request *req, const struct oneclick_door *door, const char *who)
{
    oneclick_begin(req, "GET", "/v1/rpc/libraries/", door->library, door->token);
    segment(req, "patrons", who);
}

void oneclick_patron_request(struct http_request *req, const struct oneclick_door *door, const char *patron_id)
{
    begin(req, "GET", door);
    segment(req, "patrons", patron_id);
}

bool oneclick_made_email(const char *library_email, const char *card, char ret[ONECLICK_EMAIL_SIZE])
{
    const char *at = strchr(library_email, '@');
    struct text made = {0};

    ret[0] = '\0';
    if (!at || at == library_email || !at[1])
        return false;
    text_printf(&made, "%.*s+rbdigital-%s%s", (int)(at - library_email), library_email, card, at);
    bool fits = text_fit(ret, ONECLICK_EMAIL_SIZE, text_str(&made), made.len);
    text_free(&made);
    return fits;
}

bool oneclick_same_card(const char *on_record, const char *card)
{
    size_t len = strlen(card);

    if (!on_record[0])
        return true;
    if (strncasecmp(on_record, card, len) != 0)
        return false;
    const char *suffix = on_record + len;
    return !*suffix || (strlen(suffix) == ONECLICK_SUFFIX_SIZE - 1 && !suffix[strspn(suffix, suffix_letters)]);
}

void oneclick_create_request(struct http_request *req, const struct oneclick_door *door, const struct oneclick_newcomer *who)
{
    struct text card = {0};

    begin(req, "POST", door);
    text_puts(&req->target, "/patrons/");
    text_puts(&card, who->card);
    text_puts(&card, who->suffix);
    text_printf(&req->body, "{\"libraryId\":%s", door->library);
    member(&req->body, "libraryCard", text_str(&card));
    member(&req->body, "userName", text_str(&card));
    member(&req->body, "email", who->email);
    member(&req->body, "firstName", who->first_name);
    member(&req->body, "lastName", who->last_name);
    member(&req->body, "postalCode", who->postal_code);
    member(&req->body, "password", who->password);
    text_putc(&req->body, '}');
    text_free(&card);
}

void oneclick_checkout_request(struct http_request *req, const struct oneclick_door *door, const char *patron_id,
                               const char *isbn, int days)
{
    begin_patron(req, "POST", door, patron_id, "checkouts", isbn);
    with_days(req, days);
}

void oneclick_renew_request(struct http_request *req, const struct oneclick_door *door, const char *patron_id, const char *isbn,
                            int days)
{
    begin_patron(req, "PUT", door, patron_id, "checkouts", isbn);
    with_days(req, days);
}

void oneclick_return_request(struct http_request *req, const struct oneclick_door *door, const char *patron_id,
                             const char *isbn)
{
    begin_patron(req, "DELETE", door, patron_id, "checkouts", isbn);
}

void oneclick_loans_request(struct http_request *req, const struct oneclick_door *door, const char *patron_id)
{
    begin_patron(req, "GET", door, patron_id, "checkouts", "");
}

void oneclick_available_request(struct http_request *req, const struct oneclick_door *door, const char *isbn)
{
    begin(req, "GET", door);
    segment(req, "media", isbn);
    text_puts(&req->target, "/availability");
}

void oneclick_hold_request(struct http_request *req, const struct oneclick_door *door, const char *patron_id, const char *isbn)
{
    begin_patron(req, "POST", door, patron_id, "holds", isbn);
}

void oneclick_cancel_request(struct http_request *req, const struct oneclick_door *door, const char *patron_id,
                             const char *isbn)
{
    begin_patron(req, "DELETE", door, patron_id, "holds", isbn);
}

void oneclick_holds_request(struct http_request *req, const struct oneclick_door *door, const char *patron_id)
{
    begin_patron(req, "GET", door, patron_id, "holds", "");
}

void oneclick_magazine_request(struct http_request *req, const struct oneclick_door *door, const char *method,
                               const char *patron_id, const char *issue)
{
    begin_patron(req, method, door, patron_id, "patron-magazines", issue);
}

void oneclick_history_request(struct http_request *req, const struct oneclick_door *door, const char *patron_id, int page)
{
    char written[12];

    begin_patron(req, "GET", door, patron_id, "patron-magazines", "history");
    snprintf(written, sizeof written, "%d", page);
    http_request_query(req, "pageIndex", written);
    snprintf(written, sizeof written, "%d", (int)ONECLICK_HISTORY_PAGE);
    http_request_query(req, "pageSize", written);
}

void oneclick_bearer_request(struct http_request *req, const struct oneclick_door *door, const char *user_id)
{
    begin(req, "POST", door);
    text_puts(&req->target, "/tokens");
    member(&req->body, "userId", user_id);
    text_putc(&req->body, '}');
}

bool oneclick_link_target(const char *link, struct text *ret_target)
{
    const char *host = strstr(link, "://"), *path = host ? strchr(host + 3, '/') : NULL;

    text_clear(ret_target);
    if (!path || strncmp(path, "/v1/", 4) || (strncasecmp(link, "http://", 7) && strncasecmp(link, "https://", 8)))
        return false;
    for (const char *c = link; *c; c++)
        if (*c <= ' ' || *c > '~' || *c == '#')
            return false;
    text_puts(ret_target, path);
    return !strstr(path, "/../");
}

void oneclick_download_request(struct http_request *req, const char *target, const char *bearer)
{
    struct text authorization = {0};

    http_request_reset(req, "GET", target);
    text_puts(&authorization, "Bearer ");
    text_puts(&authorization, bearer);
    http_request_header(req, "Authorization", text_str(&authorization));
    http_request_header(req, "Accept", "application/json");
    text_free(&authorization);
}

static void asked(struct http_request *req, const char *name, const char *value)
{
    if (value && *value)
        http_request_query(req, name, value);
}

static void put_lower(struct http_request *req, const char *word)
{
    for (; *word; word++)
        text_putc(&req->target, (char)tolower((unsigned char)*word));
}

void oneclick_search_request(struct http_request *req, const struct oneclick_door *door, const struct oneclick_query *query)
{
    char written[12];

    begin(req, "GET", door);
    text_puts(&req->target, "/search");
    if (query->shelf && *query->shelf) {
        text_putc(&req->target, '/');
        put_lower(req, query->media_type ? query->media_type : "");
        text_putc(&req->target, '/');
        text_percent(&req->target, query->shelf);
    }
    text_puts(&req->target, "?page-index=");
    text_int(&req->target, query->page);
    snprintf(written, sizeof written, "%d", query->page_size);
    http_request_query(req, "page-size", written);
    if (query->media_type && *query->media_type && !(query->shelf && *query->shelf)) {
        text_puts(&req->target, "&media-type=");
        put_lower(req, query->media_type);
    }
    asked(req, "availability", query->availability);
    asked(req, "all", query->all);
    asked(req, "author", query->author);
    asked(req, "title", query->title);
    asked(req, "genre", query->genre);
    asked(req, "audience", query->audience);
    asked(req, "sort-by", query->sort_by);
    asked(req, "sort-order", query->sort_order);
}

/* ---- what an answer means ---- */

static bool says(const struct oneclick_message *m, const char *phrase)
{
    return reading_says(m->words, m->len, (const char *const[]){phrase, NULL});
}

static bool knows_no_patron(const struct oneclick_message *m)
{
    static const char not_located[] = "eXtensible Framework was unable to locate the resource for RB.API.OneClick.UserPatron";

    return m->told && (oneclick_begins(m, not_located) || oneclick_begins(m, "Patron not found") ||
                       oneclick_begins(m, "Patron does not exist"));
}

static struct answer no_patron(void)
{
    return answer_make(REJECTED, CAUSE_WORK, "no_patron", "OneClick does not know the patron");
}

static struct answer no_title(void)
{
    return answer_make(REJECTED, CAUSE_WORK, "not_in_library", "OneClick does not have the title for this library");
}

static struct answer as(struct answer a, enum verdict verdict)
{
    a.verdict = verdict;
    return a;
}

/* What was asked for by a call that changes nothing: LISTING, by ids of OneClick's own; OF_TITLE; TYPED, by somebody's text. */
enum reads { LISTING, OF_TITLE, TYPED };

/* False: a 200, with `m` a "success" at most. */
static bool read_decided(const struct http_response *res, const struct oneclick_message *m, enum reads what, struct answer *ret)
{
    if (oneclick_refuses_token(res) || res->status == 429)
        return oneclick_decided(res, m, false, ret);
    if (knows_no_patron(m))
        *ret = no_patron();
    else if (what == OF_TITLE && oneclick_knows_no_title(res, m))
        *ret = no_title();
    else if (what == TYPED && (res->status == 400 || oneclick_says_sql(res, m)))
        *ret = as(oneclick_quoted(CAUSE_WORK, "bad_input", "OneClick dislikes what it was asked", res, m), REJECTED);
    else if (oneclick_decided(res, m, false, ret))
        return true;
    else if (res->status == 200)
        return false;
    else
        *ret = oneclick_garbled(res, "200 was expected");
    return true;
}

/* OneClick facts, 1.7 and 1.8: a message of loans, a bare string of holds. */
static const struct conflict {
    const char *phrase;
    unsigned calls;
    enum verdict verdict;
    const char *code, *words;
} conflicts[] = {
    {"checkout item already exists", CHECKOUT, DONE, "already", ""},
    {"hold or checkout already exists", HOLD, DONE, "already", ""},
    {"checkout does not exist", RETURN, DONE, "not_on_loan", ""},
    {"checkout does not exist", RENEW, REJECTED, "not_on_loan",
     "Checkout does not exists or it is already terminated or expired."},
    {"maximum checkout count reached", CHECKOUT | HOLD | MAGAZINE, REJECTED, "limit", "Maximum checkout count reached."},
    {"you have reached your checkout limit", CHECKOUT | HOLD | MAGAZINE, REJECTED, "limit",
     "You have reached your checkout limit and therefore are unable to place additional holds."},
    {"title is not available for checkout", CHECKOUT | RENEW, REJECTED, "not_available", "Title is not available for checkout"},
};

static struct answer refused(const struct http_response *res, const struct oneclick_message *m, char *ret_words)
{
    if (m->told)
        reading_words(ret_words, m->words, m->len, NULL, 0);
    return as(oneclick_quoted(CAUSE_WORK, "refused", "OneClick refuses", res, m), REJECTED);
}

static struct answer conflict(enum call call, const struct http_response *res, const struct oneclick_message *m,
                              char *ret_words)
{
    for (size_t i = 0; i < COUNT(conflicts); i++) {
        const struct conflict *c = &conflicts[i];
        if (!(c->calls & call) || !says(m, c->phrase))
            continue;
        text_copy(ret_words, ONECLICK_WORDS_SIZE, c->words);
        return answer_make(c->verdict, CAUSE_WORK, c->code, "%s", c->verdict == DONE ? "it was so already" : c->words);
    }
    return refused(res, m, ret_words);
}

/* What OneClick also says after having done it. */
static struct answer doubtful(const char *code, const struct http_response *res, const struct oneclick_message *m,
                              char *ret_words)
{
    if (strcmp(code, "bad_input") && m->told)
        reading_words(ret_words, m->words, m->len, NULL, 0);
    return as(oneclick_quoted(CAUSE_WORK, code, "OneClick says no, perhaps having done it", res, m), UNKNOWN);
}

static struct answer unclear(const struct http_response *res)
{
    return as(oneclick_garbled(res, "not what was expected: nobody knows whether it was done"), UNKNOWN);
}

static bool is_duplicate(const struct oneclick_message *m)
{
    return says(m, "already exists for this library") || says(m, "patron account with the specified username");
}

/* A call that changes something. False: a 200 (of a new patron a 201) without a message, or with "success". */
static bool change_decided(enum call call, const struct http_response *res, const struct oneclick_message *m, char *ret_words,
                           struct answer *ret)
{
    bool takes_away = call == RETURN || call == CANCEL || call == MAGAZINE_RETURN;

    if (oneclick_refuses_token(res) || res->status == 429)
        return oneclick_decided(res, m, false, ret);
    if (call == CREATE && (res->status == 409 || res->status == 500) && is_duplicate(m))
        *ret = answer_make(AGAIN, CAUSE_WORK, "exists", "OneClick has somebody with this card or e-mail");
    else if (call != CREATE && knows_no_patron(m))
        *ret = no_patron();
    else if (call != CREATE && oneclick_knows_no_title(res, m))
        *ret = no_title();
    else if (res->status == 409)
        *ret = conflict(call, res, m, ret_words);
    else if (res->status == 400)
        *ret = as(oneclick_quoted(CAUSE_WORK, "bad_input", "OneClick dislikes what it was asked", res, m), REJECTED);
    else if (res->status == 404 && takes_away && m->told)
        *ret = refused(res, m, ret_words);
    else if (oneclick_says_sql(res, m))
        *ret = doubtful("bad_input", res, m, ret_words);
    else if (res->status / 100 == 2 && m->told && !oneclick_is_success(m))
        *ret = doubtful("refused", res, m, ret_words);
    else if (res->status == (call == CREATE ? 201 : 200))
        return false;
    else if (res->status / 100 == 2)
        *ret = unclear(res);
    else if (oneclick_decided(res, m, false, ret) && res->status >= 500)
        *ret = as(*ret, UNKNOWN);
    return true;
}

/* ---- reading ---- */

/* Digits, not 0. */
static bool read_id(json_object *in, const char *key, char ret[ONECLICK_ID_SIZE])
{
    if (!reading_text(in, key, ret, ONECLICK_ID_SIZE) || ret[strspn(ret, "0123456789")] || !ret[strspn(ret, "0")])
        ret[0] = '\0';
    return ret[0];
}

static void read_date(json_object *in, const char *key, char ret[11])
{
    reading_text(in, key, ret, 11); /* of an instant its day */
    if (oneclick_day(ret) < 0)
        ret[0] = '\0';
}

static json_object *number_of(json_object *in, const char *key)
{
    json_object *value = json_get(in, key);

    return json_object_is_type(value, json_type_int) || json_object_is_type(value, json_type_double) ? value : NULL;
}

static json_object *list_of(json_object *in, const char *key)
{
    json_object *value = json_get(in, key);

    return json_object_is_type(value, json_type_array) ? value : NULL;
}

static bool read_isbn(json_object *in, char ret[VALUES_ISBN_SIZE])
{
    char written[40];

    ret[0] = '\0';
    if (!reading_text(in, "isbn", written, sizeof written) || strlen(written) != VALUES_ISBN_SIZE - 1 ||
        written[strspn(written, "0123456789")])
        return false;
    memcpy(ret, written, VALUES_ISBN_SIZE);
    return true;
}

/* ---- who somebody is ---- */

struct answer oneclick_find_answer(const struct http_response *res, struct oneclick_person *ret)
{
    struct answer a;

    *ret = (struct oneclick_person){0};
    if (res->end != HTTP_ANSWERED)
        return reading_unanswered(res);
    SCOPED(json_object_put) json_object *body = reading_json(res);
    struct oneclick_message m = oneclick_message_of(res, body);
    if (read_decided(res, &m, TYPED, &a))
        return a;
    if (!read_id(body, "patronId", ret->patron_id))
        return oneclick_garbled(res, "no patronId");
    reading_token(body, "userId", ret->user_id, sizeof ret->user_id);
    return answer_make(DONE, CAUSE_WORK, "found", "found");
}

struct answer oneclick_patron_answer(const struct http_response *res, const char *patron_id, struct oneclick_patron *ret)
{
    struct answer a;

    *ret = (struct oneclick_patron){0};
    if (res->end != HTTP_ANSWERED)
        return reading_unanswered(res);
    SCOPED(json_object_put) json_object *body = reading_json(res);
    struct oneclick_message m = oneclick_message_of(res, body);
    if (read_decided(res, &m, LISTING, &a))
        return a;
    if (!read_id(body, "patronId", ret->patron_id) || strcmp(ret->patron_id, patron_id)) {
        ret->patron_id[0] = '\0';
        return oneclick_garbled(res, "not the patron that was asked for");
    }
    reading_text(body, "libraryCardNumber", ret->card, sizeof ret->card);
    reading_text(body, "userName", ret->user_name, sizeof ret->user_name);
    reading_text(body, "firstName", ret->first_name, sizeof ret->first_name);
    reading_text(body, "lastName", ret->last_name, sizeof ret->last_name);
    reading_text(body, "email", ret->email, sizeof ret->email);
    return answer_make(DONE, CAUSE_WORK, "read", "read");
}

struct answer oneclick_create_answer(const struct http_response *res, struct oneclick_person *ret)
{
    char words[ONECLICK_WORDS_SIZE] = "";
    struct answer a;

    *ret = (struct oneclick_person){0};
    if (res->end != HTTP_ANSWERED)
        return answer_unanswered(res);
    SCOPED(json_object_put) json_object *body = reading_json(res);
    struct oneclick_message m = oneclick_message_of(res, body);
    if (change_decided(CREATE, res, &m, words, &a))
        return a;
    if (!read_id(json_get(body, "patron"), "patronId", ret->patron_id))
        return unclear(res);
    return answer_make(DONE, CAUSE_WORK, "created", "created");
}

/* ---- loans ---- */

/* "SUCCESS" of a checkout, "success" of a renewal; where it is missing, a transaction is enough. */
static struct answer receipt(enum call call, const char *code, const struct http_response *res, struct oneclick_receipt *ret,
                             char *ret_words)
{
    struct answer a;
    char output[24];

    *ret = (struct oneclick_receipt){0};
    ret_words[0] = '\0';
    if (res->end != HTTP_ANSWERED)
        return answer_unanswered(res);
    SCOPED(json_object_put) json_object *body = reading_json(res);
    struct oneclick_message m = oneclick_message_of(res, body);
    if (change_decided(call, res, &m, ret_words, &a))
        return a;
    reading_text(body, "output", output, sizeof output);
    read_id(body, "transactionId", ret->transaction_id);
    read_date(body, "expiration", ret->expiration);
    if (strcasecmp(output, "success") && (output[0] || !ret->transaction_id[0]) && !m.told) {
        *ret = (struct oneclick_receipt){0};
        return unclear(res);
    }
    return answer_make(DONE, CAUSE_WORK, code, "%s", code);
}

struct answer oneclick_checkout_answer(const struct http_response *res, struct oneclick_receipt *ret,
                                       char ret_words[ONECLICK_WORDS_SIZE])
{
    return receipt(CHECKOUT, "borrowed", res, ret, ret_words);
}

struct answer oneclick_renew_answer(const struct http_response *res, struct oneclick_receipt *ret,
                                    char ret_words[ONECLICK_WORDS_SIZE])
{
    return receipt(RENEW, "renewed", res, ret, ret_words);
}

/* {"message":"success"}, or nothing at all; of magazines nobody says what, so any JSON. */
static struct answer acknowledged(enum call call, const char *code, const struct http_response *res, char *ret_words)
{
    struct answer a;

    ret_words[0] = '\0';
    if (res->end != HTTP_ANSWERED)
        return answer_unanswered(res);
    SCOPED(json_object_put) json_object *body = reading_json(res);
    struct oneclick_message m = oneclick_message_of(res, body);
    if (change_decided(call, res, &m, ret_words, &a))
        return a;
    bool any = call == MAGAZINE || call == MAGAZINE_RETURN;
    if (!m.told && res->body_len && !(any && body))
        return unclear(res);
    return answer_make(DONE, CAUSE_WORK, code, "%s", code);
}

struct answer oneclick_return_answer(const struct http_response *res, char ret_words[ONECLICK_WORDS_SIZE])
{
    return acknowledged(RETURN, "returned", res, ret_words);
}

struct answer oneclick_rows_answer(const struct http_response *res, json_object **ret_rows)
{
    struct answer a;

    *ret_rows = NULL;
    if (res->end != HTTP_ANSWERED)
        return reading_unanswered(res);
    SCOPED(json_object_put) json_object *body = reading_json(res);
    struct oneclick_message m = oneclick_message_of(res, body);
    if (read_decided(res, &m, LISTING, &a))
        return a;
    if (!json_object_is_type(body, json_type_array))
        return oneclick_garbled(res, "no list"); /* nothing at all says nothing of what is not there */
    *ret_rows = json_object_get(body);
    return answer_make(DONE, CAUSE_WORK, "listed", "%zu rows", json_object_array_length(body));
}

bool oneclick_row_read(json_object *row, struct oneclick_row *ret)
{
    *ret = (struct oneclick_row){0};
    if (!read_isbn(row, ret->isbn))
        return false;
    reading_text(row, "title", ret->title, sizeof ret->title);
    reading_text(row, "authors", ret->authors, sizeof ret->authors);
    reading_text(row, "narrators", ret->narrators, sizeof ret->narrators);
    reading_text(row, "publisher", ret->publisher, sizeof ret->publisher);
    reading_text(row, "mediaType", ret->media_type, sizeof ret->media_type);
    read_date(row, "expiration", ret->expiration);
    read_id(row, "transactionId", ret->transaction_id);
    ret->can_renew = !json_get(row, "canRenew") || reading_flag(row, "canRenew");
    ret->minutes = number_of(row, "minutes");
    ret->files = list_of(row, "files");
    ret->bookmarks = list_of(row, "bookmarks");
    return true;
}

bool oneclick_file_read(json_object *file, struct oneclick_file *ret)
{
    *ret = (struct oneclick_file){0};
    if (!json_object_is_type(file, json_type_object))
        return false;
    read_id(file, "id", ret->id);
    reading_text(file, "filename", ret->name, sizeof ret->name);
    reading_text(file, "display", ret->display, sizeof ret->display);
    reading_text(file, "fileFormat", ret->format, sizeof ret->format);
    if (!reading_text(file, "downloadUrl", ret->link, sizeof ret->link))
        ret->link[0] = '\0';
    ret->minutes = number_of(file, "minutes");
    ret->size = number_of(file, "size");
    return true;
}

enum oneclick_sight oneclick_row_find(json_object *rows, const char *isbn, struct oneclick_row *ret)
{
    enum oneclick_sight sight = ONECLICK_NOT_SEEN;

    for (size_t i = 0; i < json_object_array_length(rows); i++) {
        if (!oneclick_row_read(json_object_array_get_idx(rows, i), ret))
            sight = ONECLICK_UNCLEAR;
        else if (!strcmp(ret->isbn, isbn))
            return ONECLICK_SEEN;
    }
    *ret = (struct oneclick_row){0};
    return sight;
}

bool oneclick_renewed(const struct oneclick_row *before, const struct oneclick_row *now)
{
    bool another = before->transaction_id[0] && now->transaction_id[0] && strcmp(before->transaction_id, now->transaction_id);

    return another || (before->expiration[0] && strcmp(now->expiration, before->expiration) > 0);
}

/* ---- holds ---- */

struct answer oneclick_available_answer(const struct http_response *res, const char *isbn, bool *ret)
{
    struct oneclick_availability told;
    struct answer a;

    *ret = false;
    if (res->end != HTTP_ANSWERED)
        return reading_unanswered(res);
    SCOPED(json_object_put) json_object *body = reading_json(res);
    struct oneclick_message m = oneclick_message_of(res, body);
    if (read_decided(res, &m, OF_TITLE, &a))
        return a;
    struct fault f = oneclick_availability_read(body, &told);
    if (f.kind)
        return answer_make(LATER, CAUSE_VENDOR, "garbled", "OneClick answers HTTP %d, but no availability: %s", res->status,
                           f.what);
    if (strcmp(told.isbn, isbn))
        return oneclick_garbled(res, "the availability of another ISBN");
    *ret = told.available;
    return answer_make(DONE, CAUSE_WORK, "told", "%s", *ret ? "available" : "not available");
}

struct answer oneclick_hold_answer(const struct http_response *res, char ret_transaction_id[ONECLICK_ID_SIZE],
                                   char ret_words[ONECLICK_WORDS_SIZE])
{
    struct answer a;

    ret_transaction_id[0] = ret_words[0] = '\0';
    if (res->end != HTTP_ANSWERED)
        return answer_unanswered(res);
    SCOPED(json_object_put) json_object *body = reading_json(res);
    struct oneclick_message m = oneclick_message_of(res, body);
    if (change_decided(HOLD, res, &m, ret_words, &a))
        return a;
    bool number = json_object_is_type(body, json_type_int) && reading_text_of(body, ret_transaction_id, ONECLICK_ID_SIZE);
    if (!number && !read_id(body, "transactionId", ret_transaction_id))
        return unclear(res);
    if (ret_transaction_id[strspn(ret_transaction_id, "0123456789")] || !ret_transaction_id[strspn(ret_transaction_id, "0")]) {
        ret_transaction_id[0] = '\0';
        return unclear(res); /* 0, or less: of what? */
    }
    return answer_make(DONE, CAUSE_WORK, "held", "held");
}

struct answer oneclick_cancel_answer(const struct http_response *res, char ret_words[ONECLICK_WORDS_SIZE])
{
    return acknowledged(CANCEL, "cancelled", res, ret_words);
}

/* ---- magazines ---- */

struct answer oneclick_magazine_answer(const struct http_response *res, bool borrowing, char ret_words[ONECLICK_WORDS_SIZE])
{
    return borrowing ? acknowledged(MAGAZINE, "borrowed", res, ret_words)
                     : acknowledged(MAGAZINE_RETURN, "returned", res, ret_words);
}

struct answer oneclick_history_answer(const struct http_response *res, json_object **ret_rows, int64_t *ret_total)
{
    struct answer a;

    *ret_rows = NULL;
    *ret_total = -1;
    if (res->end != HTTP_ANSWERED)
        return reading_unanswered(res);
    SCOPED(json_object_put) json_object *body = reading_json(res);
    struct oneclick_message m = oneclick_message_of(res, body);
    if (read_decided(res, &m, LISTING, &a))
        return a;
    json_object *rows = list_of(body, "resultSet");
    if (!rows)
        return oneclick_garbled(res, "no list of issues");
    *ret_rows = json_object_get(rows);
    if (number_of(body, "resultSetCount"))
        *ret_total = reading_int(body, "resultSetCount");
    return answer_make(DONE, CAUSE_WORK, "listed", "%zu issues", json_object_array_length(rows));
}

bool oneclick_issue_read(json_object *row, struct oneclick_issue *ret)
{
    json_object *item = json_get(row, "item");

    *ret = (struct oneclick_issue){0};
    if (!read_id(item, "issueId", ret->issue_id))
        return false;
    read_id(item, "magazineId", ret->magazine_id);
    reading_text(item, "title", ret->title, sizeof ret->title);
    reading_text(item, "publisher", ret->publisher, sizeof ret->publisher);
    reading_text(item, "checkoutOn", ret->borrowed_on, sizeof ret->borrowed_on);
    reading_text(item, "publishedOn", ret->published_on, sizeof ret->published_on);
    return true;
}

/* ---- downloads ---- */

struct answer oneclick_bearer_answer(const struct http_response *res, char ret_bearer[ONECLICK_BEARER_SIZE])
{
    struct answer a;

    ret_bearer[0] = '\0';
    if (res->end != HTTP_ANSWERED)
        return reading_unanswered(res);
    SCOPED(json_object_put) json_object *body = reading_json(res);
    struct oneclick_message m = oneclick_message_of(res, body);
    if (read_decided(res, &m, LISTING, &a))
        return a;
    if (!reading_token(body, "bearer", ret_bearer, ONECLICK_BEARER_SIZE))
        return oneclick_garbled(res, "no bearer");
    return answer_make(DONE, CAUSE_WORK, "bearer", "bearer");
}

struct answer oneclick_download_answer(const struct http_response *res, struct oneclick_access *ret)
{
    struct answer a;

    *ret = (struct oneclick_access){0};
    if (res->end != HTTP_ANSWERED)
        return reading_unanswered(res);
    if (res->status == 401)
        return answer_make(AGAIN, CAUSE_WORK, "bearer_expired", "OneClick refuses the patron's bearer");
    SCOPED(json_object_put) json_object *body = reading_json(res);
    struct oneclick_message m = oneclick_message_of(res, body);
    if (read_decided(res, &m, LISTING, &a))
        return a;
    reading_text(body, "type", ret->type, sizeof ret->type);
    if (!reading_token(body, "url", ret->url, sizeof ret->url)) {
        *ret = (struct oneclick_access){0};
        return oneclick_garbled(res, "no access document");
    }
    return answer_make(DONE, CAUSE_WORK, "access", "access");
}

/* ---- search ---- */

struct answer oneclick_search_answer(const struct http_response *res, struct oneclick_result *ret)
{
    struct answer a;

    *ret = (struct oneclick_result){0};
    if (res->end != HTTP_ANSWERED)
        return reading_unanswered(res);
    SCOPED(json_object_put) json_object *body = reading_json(res);
    struct oneclick_message m = oneclick_message_of(res, body);
    if (read_decided(res, &m, TYPED, &a))
        return a;
    ret->items = list_of(body, "items");
    ret->filters = list_of(body, "filters");
    if (!ret->items || !number_of(body, "pageIndex") || !number_of(body, "pageCount")) {
        *ret = (struct oneclick_result){0};
        return oneclick_garbled(res, "no page of results");
    }
    ret->body = json_object_get(body);
    ret->page = reading_int(body, "pageIndex");
    ret->pages = reading_int(body, "pageCount");
    ret->page_size = reading_int(body, "pageSize");
    ret->total = reading_int(body, "resultSetCount");
    return answer_make(DONE, CAUSE_WORK, "found", "%zu items", json_object_array_length(ret->items));
}

/* {"facet","text","token","order"}, or the text alone. */
static void read_named(json_object *in, const char *key, char *ret, size_t size)
{
    json_object *value = json_get(in, key);

    if (json_object_is_type(value, json_type_object))
        reading_text(value, "text", ret, size);
    else
        reading_text_of(value, ret, size);
}

bool oneclick_item_read(json_object *element, struct oneclick_item *ret)
{
    json_object *item = json_get(element, "item");
    char interest[17];

    *ret = (struct oneclick_item){0};
    if (oneclick_isbn(item, ret->isbn).kind)
        return false;
    read_named(item, "title", ret->title, sizeof ret->title);
    read_named(item, "series", ret->series, sizeof ret->series);
    read_named(item, "publisher", ret->publisher, sizeof ret->publisher);
    reading_text(item, "mediaType", ret->media_type, sizeof ret->media_type);
    reading_text(item, "audience", ret->audience, sizeof ret->audience);
    reading_text(item, "language", ret->language, sizeof ret->language);
    reading_text(item, "shortDescription", ret->description, sizeof ret->description);
    read_date(item, "releasedDate", ret->released);
    reading_text(json_get(element, "interest"), "name", interest, sizeof interest);
    ret->owned = !strcasecmp(interest, "library");
    ret->authors = list_of(item, "authors");
    ret->genres = list_of(item, "genres");
    return true;
}

bool oneclick_facet_read(json_object *filter, struct oneclick_facet *ret)
{
    *ret = (struct oneclick_facet){0};
    bool whole = reading_text(filter, "tokenLabel", ret->facet, sizeof ret->facet) &&
                 reading_text(filter, "tokenValue", ret->value, sizeof ret->value);
    ret->count = reading_int(filter, "count");
    ret->selected = reading_flag(filter, "isSelected");
    if (whole && ret->facet[0] && ret->value[0])
        return true;
    *ret = (struct oneclick_facet){0};
    return false;
}

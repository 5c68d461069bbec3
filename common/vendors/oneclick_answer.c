#include "common/vendors/oneclick_answer.h"

#include "common/vendors/reading.h"

#include <string.h>
#include <strings.h>

void oneclick_begin(struct http_request *req, const char *method, const char *root, const char *library, const char *token)
{
    struct text authorization = {0};

    http_request_reset(req, method, root);
    text_percent(&req->target, library);
    text_puts(&authorization, "Basic ");
    text_puts(&authorization, token); /* as it is (OneClick facts, 1.1) */
    http_request_header(req, "Authorization", text_str(&authorization));
    http_request_header(req, "Content-Type", "application/json");
    http_request_header(req, "Accept", "application/json");
    http_request_header(req, "Accept-Media", "complete");
    text_free(&authorization);
}

struct oneclick_message oneclick_message_of(const struct http_response *res, json_object *body)
{
    bool object = json_object_is_type(body, json_type_object);
    json_object *told = object ? json_get(body, "message") : json_object_is_type(body, json_type_string) ? body : NULL;
    struct oneclick_message m = {.told = told != NULL, .words = ""};

    if (json_object_is_type(told, json_type_string)) {
        m.words = json_object_get_string(told);
        m.len = (size_t)json_object_get_string_len(told);
    } else if (!body && !reading_is_markup(res)) {
        m.words = res->body;
        m.len = res->body_len;
    }
    reading_trim(&m.words, &m.len);
    return m;
}

bool oneclick_begins(const struct oneclick_message *m, const char *phrase)
{
    return m->len >= strlen(phrase) && !strncasecmp(m->words, phrase, strlen(phrase));
}

bool oneclick_is_success(const struct oneclick_message *m)
{
    return m->len == strlen("success") && oneclick_begins(m, "success");
}

struct answer oneclick_quoted(enum cause cause, const char *code, const char *what, const struct http_response *res,
                              const struct oneclick_message *m)
{
    char said[READING_WORDS_SIZE];

    reading_words(said, m->words, m->len, NULL, 0);
    struct answer a = said[0] ? answer_make(LATER, cause, code, "%s (HTTP %d): %s", what, res->status, said)
                              : answer_make(LATER, cause, code, "%s (HTTP %d)", what, res->status);
    return reading_wait(a, res, -1);
}

struct answer oneclick_garbled(const struct http_response *res, const char *why)
{
    return answer_make(LATER, CAUSE_VENDOR, "garbled", "OneClick answers HTTP %d, but %s", res->status, why);
}

static bool is_2xx(const struct http_response *res)
{
    return res->status / 100 == 2;
}

bool oneclick_refuses_token(const struct http_response *res)
{
    static const char words[] = "Invalid Basic Token or permission denied"; /* OneClick facts, 1.1 */

    return res->status == 401 || res->status == 403 || memmem(res->body, res->body_len, words, sizeof words - 1);
}

bool oneclick_knows_no_title(const struct http_response *res, const struct oneclick_message *m)
{
    bool may_be = res->status == 200 || res->status == 400 || res->status == 404 || res->status == 500;

    return may_be && m->told &&
           (oneclick_begins(m, "eXtensible Framework was unable to locate the resource") ||
            oneclick_begins(m, "Invalid 'MediaType', 'TitleId' or 'ISBN' token value supplied"));
}

bool oneclick_says_sql(const struct http_response *res, const struct oneclick_message *m)
{
    return res->status == 500 && oneclick_begins(m, "eXtensible Framework encountered a SqlException");
}

/* What a status beyond 2xx means, whatever was asked for. */
static struct answer failed(const struct http_response *res, const struct oneclick_message *m)
{
    if (res->status == 400 || oneclick_says_sql(res, m))
        return oneclick_quoted(CAUSE_WORK, "bad_input", "OneClick dislikes what it was asked", res, m);
    if (res->status == 404)
        return oneclick_quoted(CAUSE_VENDOR, "not_there",
                               "OneClick does not know the path: are ONECLICK_URL and ONECLICK_LIBRARY_ID right?", res, m);
    if (res->status >= 500)
        return oneclick_quoted(CAUSE_VENDOR, "unwell", "OneClick is unwell", res, m);
    if (res->status >= 400)
        return oneclick_quoted(CAUSE_VENDOR, "refused", "OneClick, or something before it, refuses the call", res, m);
    if (res->status >= 300)
        return oneclick_quoted(CAUSE_VENDOR, "redirected", "OneClick answers elsewhere: is ONECLICK_URL right?", res, m);
    return answer_make(LATER, CAUSE_VENDOR, "garbled", "OneClick answers HTTP %d, where 200 was expected", res->status);
}

bool oneclick_decided(const struct http_response *res, const struct oneclick_message *m, bool of_title, struct answer *ret)
{
    if (oneclick_refuses_token(res))
        *ret = oneclick_quoted(CAUSE_CREDENTIALS, "token_refused", "OneClick says that the token is wrong, or that its rate limit "
                               "is reached: it has one text for both", res, m);
    else if (res->status == 429)
        *ret = oneclick_quoted(CAUSE_RATE, "rate", "OneClick asks to slow down", res, m);
    else if (of_title && oneclick_knows_no_title(res, m))
        *ret = answer_make(DONE, CAUSE_WORK, "not_in_library", "OneClick does not have it for this library");
    else if (!is_2xx(res))
        *ret = failed(res, m);
    else if (m->told && !oneclick_is_success(m))
        *ret = oneclick_quoted(CAUSE_VENDOR, "refused", "OneClick refuses to say", res, m);
    else
        return false;
    return true;
}

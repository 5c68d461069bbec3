/* Any bytes as an answer of OneClick's to a patron's call. Bytes: call and kind of exchange, status, type, body. */
#include "common/vendors/oneclick_patron.h"

#include "common/json.h"
#include "common/vendors/oneclick.h"
#include "tests/fuzz/fuzz.h"

/* Trimmed, without control characters. */
static void want_text(const char *text)
{
    size_t len = strlen(text);

    for (const unsigned char *c = (const unsigned char *)text; *c; c++)
        want(*c >= ' ' && *c != 0x7F && !(*c == 0xC2 && c[1] < 0xA0));
    want(!len || *text != ' ');
}

static void want_id(const char *id)
{
    want(!id[strspn(id, "0123456789")] && strlen(id) < ONECLICK_ID_SIZE);
}

static void want_rows(json_object *rows)
{
    struct oneclick_row row;
    struct oneclick_file file;
    struct oneclick_issue issue;
    struct text target = {0};

    for (size_t i = 0; rows && i < json_object_array_length(rows); i++) {
        if (oneclick_issue_read(json_object_array_get_idx(rows, i), &issue)) {
            want_id(issue.issue_id);
            want_text(issue.title);
        }
        if (!oneclick_row_read(json_object_array_get_idx(rows, i), &row))
            continue;
        want(strlen(row.isbn) == VALUES_ISBN_SIZE - 1);
        want_text(row.title);
        want_id(row.transaction_id);
        want(!row.expiration[0] || oneclick_day(row.expiration) >= 0);
        want(oneclick_ends(row.expiration) >= 0 && !oneclick_renewed(&row, &row));
        for (size_t f = 0; row.files && f < json_object_array_length(row.files); f++) {
            if (!oneclick_file_read(json_object_array_get_idx(row.files, f), &file))
                continue;
            want_text(file.name);
            if (oneclick_link_target(file.link, &target))
                want(!strncmp(text_str(&target), "/v1/", 4) && !strpbrk(text_str(&target), " \r\n\t"));
        }
        struct oneclick_row found;
        want(oneclick_row_find(rows, row.isbn, &found) == ONECLICK_SEEN && !strcmp(found.isbn, row.isbn));
    }
    text_free(&target);
}

static void want_result(struct oneclick_result *result)
{
    struct oneclick_item item;
    struct oneclick_facet facet;

    for (size_t i = 0; result->items && i < json_object_array_length(result->items); i++)
        if (oneclick_item_read(json_object_array_get_idx(result->items, i), &item)) {
            want(strlen(item.isbn) == VALUES_ISBN_SIZE - 1);
            want_text(item.title);
            want_text(item.description);
        }
    for (size_t i = 0; result->filters && i < json_object_array_length(result->filters); i++)
        if (oneclick_facet_read(json_object_array_get_idx(result->filters, i), &facet))
            want(facet.facet[0] && facet.value[0] && facet.count >= 0);
    json_object_put(result->body);
}

enum { FIND, PATRON, ROWS, AVAILABLE, HISTORY, BEARER, DOWNLOAD, SEARCH, READS,
       CREATE = READS, CHECKOUT, RENEW, RETURN, HOLD, CANCEL, MAGAZINE, CALLS };

static struct answer read_of(unsigned call, const struct http_response *res)
{
    SCOPED(json_object_put) json_object *rows = NULL;
    struct oneclick_person person;
    struct oneclick_patron patron;
    struct oneclick_access access;
    struct oneclick_result result;
    char bearer[ONECLICK_BEARER_SIZE];
    struct answer a;
    int64_t total;
    bool available;

    switch (call) {
    case FIND:
        a = oneclick_find_answer(res, &person);
        want_id(person.patron_id);
        want((a.verdict == DONE) == (person.patron_id[0] != '\0'));
        return a;
    case PATRON:
        a = oneclick_patron_answer(res, "939981", &patron);
        want_text(patron.card);
        want_text(patron.email);
        want((a.verdict == DONE) == (patron.patron_id[0] != '\0'));
        return a;
    case ROWS:
        a = oneclick_rows_answer(res, &rows);
        want((a.verdict == DONE) == (rows != NULL));
        want_rows(rows);
        return a;
    case AVAILABLE: return oneclick_available_answer(res, "9781441260468", &available);
    case HISTORY:
        a = oneclick_history_answer(res, &rows, &total);
        want((a.verdict == DONE) == (rows != NULL) && total >= -1);
        want_rows(rows);
        return a;
    case BEARER:
        a = oneclick_bearer_answer(res, bearer);
        want((a.verdict == DONE) == (bearer[0] != '\0') && !strpbrk(bearer, " \r\n\t"));
        return a;
    case DOWNLOAD:
        a = oneclick_download_answer(res, &access);
        want((a.verdict == DONE) == (access.url[0] != '\0'));
        want_text(access.type);
        return a;
    default:
        a = oneclick_search_answer(res, &result);
        want((a.verdict == DONE) == (result.body != NULL));
        want_result(&result);
        return a;
    }
}

static struct answer change_of(unsigned call, const struct http_response *res)
{
    char words[ONECLICK_WORDS_SIZE] = "", transaction[ONECLICK_ID_SIZE] = "";
    struct oneclick_receipt receipt = {0};
    struct oneclick_person person = {0};
    struct answer a;

    switch (call) {
    case CREATE:
        a = oneclick_create_answer(res, &person);
        want((a.verdict == DONE) == (person.patron_id[0] != '\0'));
        want(a.verdict != DONE || res->status == 201);
        return a;
    case CHECKOUT: a = oneclick_checkout_answer(res, &receipt, words); break;
    case RENEW: a = oneclick_renew_answer(res, &receipt, words); break;
    case RETURN: a = oneclick_return_answer(res, words); break;
    case HOLD: a = oneclick_hold_answer(res, transaction, words); break;
    case CANCEL: a = oneclick_cancel_answer(res, words); break;
    default: a = oneclick_magazine_answer(res, res->body_len & 1, words); break;
    }
    want_id(receipt.transaction_id);
    want_id(transaction);
    want(!words[0] || a.verdict == REJECTED || a.verdict == UNKNOWN);
    want(!strstr(words, "a@") && !strstr(words, "://"));
    want(a.verdict != DONE || res->status == 200 || res->status == 409);
    /* nothing that may have been done is called not done */
    want(a.verdict != LATER || res->end != HTTP_UNKNOWN);
    want(res->status < 500 || a.verdict == UNKNOWN || a.verdict == REJECTED || a.cause == CAUSE_CREDENTIALS);
    return a;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const int statuses[] = {200, 201, 204, 302, 400, 401, 403, 404, 409, 429, 500, 502, 503, 504};
    static const char *const types[] = {"", "application/json", "text/html", "text/plain"};

    struct http_response res;
    char *body = fuzz_exchange(data, size, statuses, types, &res);
    if (!body)
        return 0;
    unsigned call = data[0] % 16 % CALLS;
    struct answer a = call < READS ? read_of(call, &res) : change_of(call, &res);

    want(a.code && *a.code && a.wait_ms >= -1 && a.cause <= CAUSE_CREDENTIALS);
    want(call >= READS || a.verdict != UNKNOWN);
    want_discreet(a.reason, sizeof a.reason, 100);
    free(body);
    return 0;
}

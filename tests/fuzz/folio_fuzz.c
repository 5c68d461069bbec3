/* Any bytes as an answer of FOLIO's. Bytes: call, door and kind of exchange, status, content type, body. */
#include "common/vendors/folio.h"

#include "common/scoped.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#define ITEM "32e5757d-6566-466e-b69d-994eb33d2b62"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void want(bool holds)
{
    if (!holds)
        abort();
}

static void want_text(const char *text, size_t size)
{
    want(memchr(text, '\0', size) != NULL);
}

/* Printable ASCII and the mask, nothing that looks like an address, a URL or a number of somebody's. */
static void want_discreet(const char *reason, size_t size)
{
    int digits = 0;

    want_text(reason, size);
    for (const char *c = reason; *c; c++) {
        if (!strncmp(c, "…", strlen("…"))) {
            c += strlen("…") - 1;
            digits = 0;
            continue;
        }
        digits = isdigit((unsigned char)*c) ? digits + 1 : 0;
        want((unsigned char)*c >= ' ' && (unsigned char)*c <= '~' && digits < 4);
    }
    want(!strstr(reason, "a@") && !strstr(reason, "://"));
}

static void want_item(const struct folio_item *item)
{
    want_text(item->instance_id, sizeof item->instance_id);
    want_text(item->item_id, sizeof item->item_id);
    want_text(item->title, sizeof item->title);
    want_text(item->author, sizeof item->author);
}

static void want_loan(const struct folio_loan *loan)
{
    want_item(&loan->item);
    want_text(loan->id, sizeof loan->id);
    want(loan->due >= 0 && loan->loaned >= 0 && (loan->item.item_id[0] || loan->item.instance_id[0]));
}

static void want_hold(const struct folio_hold *hold)
{
    want_item(&hold->item);
    want_text(hold->id, sizeof hold->id);
    want_text(hold->status, sizeof hold->status);
    want(hold->id[0] && hold->requested >= 0 && hold->expires >= 0 && hold->position >= 0);
}

static void want_account(const struct folio_account *account, unsigned lists)
{
    const struct folio_wish wish = {.item_id = ITEM};
    const struct folio_door door = {.edge = true};

    for (size_t i = 0; i < account->loan_count; i++)
        want_loan(&account->loans[i]);
    for (size_t i = 0; i < account->hold_count; i++)
        want_hold(&account->holds[i]);
    for (size_t i = 0; i < account->charge_count; i++) {
        const struct folio_money *money = &account->charges[i].money;
        want_item(&account->charges[i].item);
        want(strnlen(money->amount, sizeof money->amount) < sizeof money->amount &&
             strspn(money->amount, "0123456789.-+eE") == strlen(money->amount));
    }
    want(!account->loans_whole || ((lists & FOLIO_LOANS) && account->total_loans == (int64_t)account->loan_count));
    want(!account->holds_whole || ((lists & FOLIO_HOLDS) && account->total_holds == (int64_t)account->hold_count));
    /* what is not there is known not to be there only from a whole list */
    const struct folio_hold *hold;
    size_t count;
    enum folio_fate fate = folio_hold_fate(account, &door, &wish, &hold, &count);
    want((fate == FOLIO_HAPPENED) == (count > 0) && (hold != NULL) == (count > 0));
    want(fate != FOLIO_DID_NOT || account->holds_whole);
    const struct folio_loan *loan;
    fate = folio_renew_fate(account, ITEM, 1000000000, &loan);
    want(fate != FOLIO_DID_NOT || loan || account->loans_whole);
    want(fate != FOLIO_HAPPENED || loan->due > 1000000000);
    if (account->hold_count && account->holds[0].state != FOLIO_HOLD_CLOSED)
        want(folio_cancel_fate(account, account->holds[0].id) == FOLIO_DID_NOT);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const int statuses[] = {200, 201, 204, 302, 400, 401, 403, 404, 405, 408, 409, 422, 429, 500, 501, 502, 503, 504};
    static const char *const types[] = {"", "application/json", "text/html", "text/plain"};
    static struct folio_account account;
    char words[FOLIO_WORDS_SIZE] = "";
    struct folio_loan loan;
    struct folio_hold hold;
    struct folio_token token;
    bool changes = true;
    struct answer a;

    if (size < 3)
        return 0;
    char *body = malloc(size - 3 + 1);
    want(body != NULL);
    memcpy(body, data + 3, size - 3);
    body[size - 3] = '\0';
    struct folio_door door = {.edge = data[0] & 0x10};
    struct http_response res = {
        .end = data[0] & 0x40 ? HTTP_UNKNOWN : HTTP_ANSWERED, .status = statuses[data[1] % COUNT(statuses)],
        .content_type = types[data[2] % COUNT(types)], .body = body, .body_len = size - 3, .watched = "",
        .retry_after_ms = data[0] & 0x20 ? 2000 : -1, .error = "time-out",
    };

    switch (data[0] & 7) {
    case 0:
    case 1:
        changes = false;
        res.watched = body;
        a = folio_login_answer(&res, data[0] & 1 ? FOLIO_LOGIN_LEGACY : FOLIO_LOGIN_EXPIRING, &token);
        want_text(token.token, sizeof token.token);
        want((a.verdict == DONE) == (token.token[0] != '\0') && (a.verdict == DONE) == (token.lasts_s > 0));
        for (const char *c = token.token; *c; c++)
            want(*c > ' ' && *c <= '~');
        want(a.verdict == DONE || a.verdict == LATER || (a.verdict == AGAIN && !strcmp(a.code, "legacy")));
        break;
    case 2:
        a = folio_renew_answer(&res, &door, &loan, words);
        if (a.verdict == DONE)
            want_loan(&loan);
        break;
    case 3:
        a = folio_hold_answer(&res, &door, &hold, words);
        if (a.verdict == DONE)
            want_hold(&hold);
        want(a.verdict != AGAIN || !strcmp(a.code, "exists"));
        break;
    case 4:
    case 5:
        a = folio_cancel_answer(&res, &door, data[0] & 1 ? FOLIO_CANCEL_POST : FOLIO_CANCEL_DELETE, data[0] & 8, words);
        want(a.verdict != AGAIN || (!strcmp(a.code, "other_form") && !(data[0] & 8)));
        break;
    default: {
        unsigned lists = data[2] >> 5;
        changes = false;
        a = folio_account_answer(&res, &door, lists, &account, words);
        want(a.verdict == DONE || account.loan_count + account.hold_count + account.charge_count == 0);
        want(a.verdict != AGAIN);
        want_account(&account, lists);
        folio_account_free(&account);
    }
    }
    want(a.verdict != DEAD && (changes || a.verdict != UNKNOWN));
    /* once it may have been done, no answer says that it was not */
    want(!changes || (res.end != HTTP_UNKNOWN && res.status != 408 && res.status != 502 && res.status != 504) ||
         a.verdict == UNKNOWN);
    want(a.cause <= CAUSE_CREDENTIALS && a.code && *a.code && a.wait_ms >= -1);
    want(!words[0] || a.verdict == REJECTED);
    want_discreet(a.reason, sizeof a.reason);
    want_discreet(words, sizeof words);
    free(body);
    return 0;
}

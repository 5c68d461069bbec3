/* Any bytes as an answer of FOLIO's. Bytes: call, door and kind of exchange, status, content type, body. */
#include "common/vendors/folio.h"

#include "tests/fuzz/fuzz.h"

#define ITEM "32e5757d-6566-466e-b69d-994eb33d2b62"

static void want_item(const struct folio_item *item)
{
    want_ended(item->instance_id, sizeof item->instance_id);
    want_ended(item->item_id, sizeof item->item_id);
    want_ended(item->title, sizeof item->title);
    want_ended(item->author, sizeof item->author);
}

static void want_loan(const struct folio_loan *loan)
{
    want_item(&loan->item);
    want_ended(loan->id, sizeof loan->id);
    want(loan->due >= 0 && loan->loaned >= 0 && (loan->item.item_id[0] || loan->item.instance_id[0]));
}

static void want_hold(const struct folio_hold *hold)
{
    want_item(&hold->item);
    want_ended(hold->id, sizeof hold->id);
    want_ended(hold->status, sizeof hold->status);
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

    struct http_response res;
    char *body = fuzz_exchange(data, size, statuses, types, &res);
    if (!body)
        return 0;
    struct folio_door door = {.edge = data[0] & 0x10};

    switch (data[0] & 7) {
    case 0:
    case 1:
        changes = false;
        res.watched = body;
        a = folio_login_answer(&res, data[0] & 1 ? FOLIO_LOGIN_LEGACY : FOLIO_LOGIN_EXPIRING, &token);
        want_ended(token.token, sizeof token.token);
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
    want_discreet(a.reason, sizeof a.reason, 4);
    want_discreet(words, sizeof words, 4);
    free(body);
    return 0;
}

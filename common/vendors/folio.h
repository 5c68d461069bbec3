/*
 * folio.h - FOLIO mod-patron ("Patron Services", 3.0 and later): what a patron has, renewing, holding, cancelling.
 *
 * Pure: builds requests and reads answers; sends nothing, keeps nothing. FOLIO facts: section 2 of the vendor's sheet.
 * Doors      Okapi (tenant, token) or edge-patron (an API key, and no token at all). Paths are the same, errors are not.
 * Token      a JWT, in the header X-Okapi-Token however it was got. There is no refresh here, on purpose: a refresh
 *            token serves once, and one that is presented a second time revokes all of the user's, everywhere. A lost
 *            answer would be enough. So: log in again.
 * Ids        UUIDs as text, compared without case. With Okapi a patron is FOLIO's own user id; with edge-patron the
 *            externalSystemId, any text. A hold's id is free text, and is never cut. What is given here is not empty.
 * Dates      instants; on the wire `Z`, `+0000` and `+00:00`, with and without a fraction, even mixed in one answer.
 * Money      is never a number here: the digits as FOLIO wrote them, and a currency (3.0 always says USD).
 * Words      what FOLIO tells a patron is handed out where it is fit for one: one line, whatever may be a secret or a
 *            number of somebody's masked (reading_words). What speaks of programs (Java, SQL, JSON, patterns, hosts)
 *            is not fit, and is "". A reason is for the desk and may quote more, masked in the same way.
 *
 * Every answer (`reads`: the account, which changes nothing; `changes`: renew, hold, cancel):
 *   answer                                   reads                        changes
 *   2xx in the expected shape                DONE                         DONE
 *   2xx in another                           LATER VENDOR "garbled"       UNKNOWN "unclear"     look at the account
 *   no connection                            LATER VENDOR "unreachable"   LATER VENDOR "unreachable"
 *   time-out, connection lost                LATER VENDOR "no_answer"     UNKNOWN "no_answer"
 *   408 (edge-patron waited in vain)         LATER VENDOR "no_answer"     UNKNOWN "no_answer"
 *   500 whose text holds {"errors":[…]}      LATER VENDOR "server_error"  as 422: at 3.0 a refusal comes like this
 *   any other 500                            LATER VENDOR "server_error"  UNKNOWN "server_error"
 *   502, 504, other 5xx                      LATER VENDOR "gateway"       UNKNOWN "gateway"
 *   503                                      LATER VENDOR "unwell"        the same
 *   429                                      LATER RATE "rate"            the same
 *   401, 400 "Token missing", "Invalid Token"  LATER TOKEN "token_refused"  the same
 *   401 of edge-patron                       LATER CREDENTIALS "key_refused"       (it believes a bad log-in for 30 s)
 *   401 "… is not active"                    LATER CREDENTIALS "account_inactive"  our own user
 *   403                                      LATER CREDENTIALS "permission"        names the permission
 *   400 "No such Tenant", "Tenant must be set"  LATER CREDENTIALS "no_tenant"
 *   400, 422 "User is not active"            REJECTED "inactive"          the same     the patron
 *   400 "parameter is incorrect"             REJECTED "bad_id"            the same     no UUID of version 1 to 5
 *   404 "Unable to find patron"              REJECTED "no_patron"         the same     edge-patron; also while users cannot
 *                                                                                     be asked, believed for 30 s
 *   404 in other words                       REJECTED "not_found"         the same     cancel: DONE "gone"
 *   422 that says "not found"                REJECTED "not_found"         the same     cancel: DONE "gone"
 *   422 "Cannot find a valid request type"   -                            REJECTED "not_requestable"
 *   422 "already has an open request"        -                            AGAIN "exists"  hold: look at the account
 *   422 "… checked out to different user"    -                            REJECTED "not_theirs"
 *   422 "Cannot edit a closed request"       -                            DONE "gone"     cancel
 *   any other 422                            REJECTED "refused"           the same
 *   any other 4xx in words                   LATER VENDOR "refused"       REJECTED "refused"
 *   409                                      LATER WORK "conflict"        the same     optimistic locking, not done
 *   404 "No suitable module found", 400 "does not support this HTTP method", "Invalid URL path", 405, 501
 *                                            LATER VENDOR "no_such_call"  the same     cancel: AGAIN "other_form"
 *   400 about Accept, Content-Type or two tokens; 407, 421, 425; any 4xx but 422 without words or as an HTML page
 *                                            LATER VENDOR "refused"       the same     a proxy speaks, or the URL is wrong
 *   3xx                                      LATER VENDOR "redirected"    the same
 * Nothing is DEAD: what nobody understands is UNKNOWN, and the account can be asked.
 *
 * May a call whose answer was lost be sent again? Not before the account was asked (see "what became of it"):
 *   account, log-in    yes.
 *   renew              no: it may renew twice.
 *   hold               no: FOLIO has no idempotency, its circulation rules may or may not refuse a second one.
 *   cancel             yes by its meaning: a second one is DONE "gone". Asking first costs no more.
 */
#ifndef SHELFWIRE_VENDORS_FOLIO_H
#define SHELFWIRE_VENDORS_FOLIO_H

#include "common/answer.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    FOLIO_TOKEN_SIZE = 2049,
    FOLIO_UUID_SIZE = 37,
    FOLIO_HOLD_ID_SIZE = 65,
    FOLIO_WORDS_SIZE = 84,
    FOLIO_ROWS_MAX = 10000, /* a longer list in an account is none of ours: "garbled" */
    FOLIO_SKEW_S = 120,     /* how far edge-patron's clock may be behind ours */
};

/* Borrowed by the functions it is given to. */
struct folio_door {
    bool edge;
    const char *tenant; /* Okapi only */
    const char *secret; /* the token; at edge-patron the API key */
};

/* Whether FOLIO takes it as an id: versions 1 to 5, the usual variant. Neither the nil UUID nor one of version 7. */
bool folio_uuid(const char *text);

/* ---- log-in, at Okapi ---- */

enum folio_login {
    FOLIO_LOGIN_EXPIRING, /* POST /authn/login-with-expiry, the token is a cookie */
    FOLIO_LOGIN_LEGACY,   /* POST /authn/login, the token is a header and never expires */
};

struct folio_token {
    char token[FOLIO_TOKEN_SIZE];
    int64_t lasts_s; /* FOLIO's own client uses it for half of that; a day for a legacy one, as that client does */
};

void folio_login_request(struct http_request *req, enum folio_login how, const char *tenant, const char *username,
                         const char *password);

/*
 * DONE "logged_in". AGAIN "legacy": this FOLIO has no expiring log-in (404), use the other. LATER, CAUSE_CREDENTIALS
 * "login_refused": 401, 403, 422, or 400 in words; one text for a wrong name, a wrong password and a blocked account.
 * "no_tenant". LATER, CAUSE_VENDOR "garbled": 2xx without a token that could be sent back.
 */
struct answer folio_login_answer(const struct http_response *res, enum folio_login how, struct folio_token *ret);

/* ---- account ---- */

struct folio_money {
    char amount[33];  /* a decimal number as FOLIO wrote it, "50.0"; "" when there is none */
    char currency[4]; /* ISO 4217; "" when FOLIO does not say */
};

struct folio_item { /* all "" when there is none; title and author are cut when longer */
    char instance_id[FOLIO_UUID_SIZE], item_id[FOLIO_UUID_SIZE];
    char title[257], author[257];
};

struct folio_loan {
    char id[FOLIO_UUID_SIZE]; /* "" when FOLIO does not say */
    struct folio_item item;
    int64_t loaned, due;      /* 0: FOLIO does not say, which happens although it promises to */
    bool overdue;             /* to the second, no calendar, no grace */
};

enum folio_hold_state {
    FOLIO_HOLD_WAITING, /* "Open - Not yet filled", "New - Awaiting confirmation" */
    FOLIO_HOLD_MOVING,  /* "Open - In transit", "Open - Awaiting delivery" */
    FOLIO_HOLD_READY,   /* "Open - Awaiting pickup" */
    FOLIO_HOLD_CLOSED,  /* "Closed - " and anything */
    FOLIO_HOLD_OTHER,   /* none of these: see the text */
};

struct folio_hold {
    char id[FOLIO_HOLD_ID_SIZE];
    struct folio_item item;
    int64_t requested, expires; /* 0: FOLIO does not say */
    int64_t position;           /* in the queue, from 1; 0: FOLIO does not say */
    char pickup_id[FOLIO_UUID_SIZE];
    char status[65];            /* as FOLIO says it; cut when longer */
    enum folio_hold_state state;
};

struct folio_charge {
    struct folio_item item;     /* also a charge without any is one */
    struct folio_money money;   /* what remains to be paid */
    int64_t accrued;            /* 0: FOLIO does not say */
    char state[65], reason[129]; /* free text; cut when longer */
    char id[FOLIO_UUID_SIZE];   /* 3.0 never says it */
};

/* Refilled by each answer; a zeroed one is empty; folio_account_free releases. */
struct folio_account {
    struct folio_loan *loans;
    struct folio_hold *holds;
    struct folio_charge *charges;
    size_t loan_count, hold_count, charge_count;
    size_t loan_room, hold_room, charge_room;
    /* The list was asked for, as long as its total says, and every entry was readable: so what is not in it, is not. */
    bool loans_whole, holds_whole, charges_whole;
    int64_t total_loans, total_holds, total_charges; /* FOLIO's own counts, also of lists not asked for; -1: not said */
    struct folio_money owed;
};

void folio_account_free(struct folio_account *account);

enum { FOLIO_LOANS = 1, FOLIO_HOLDS = 2, FOLIO_CHARGES = 4 };

/* lists: a set of the above. DONE "account". Out of memory is LATER, CAUSE_WORK "no_memory". */
void folio_account_request(struct http_request *req, const struct folio_door *door, const char *patron_id, unsigned lists);
struct answer folio_account_answer(const struct http_response *res, const struct folio_door *door, unsigned lists,
                                   struct folio_account *ret, char ret_words[FOLIO_WORDS_SIZE]);

/* ---- what changes something; ret_words is "" but for REJECTED ---- */

/* DONE "renewed" with the loan as it is now. */
void folio_renew_request(struct http_request *req, const struct folio_door *door, const char *patron_id,
                         const char *item_id);
struct answer folio_renew_answer(const struct http_response *res, const struct folio_door *door, struct folio_loan *ret,
                                 char ret_words[FOLIO_WORDS_SIZE]);

/* One item, or any item of an instance, which FOLIO then chooses: one of the two is NULL. */
struct folio_wish {
    const char *item_id, *instance_id;
    const char *pickup_id;
    int64_t requested; /* when we ask; at Okapi it becomes the hold's date, edge-patron writes its own time over it */
    int64_t expires;   /* 0: never */
};

/* DONE "held" with the hold, which has an id. AGAIN "exists": the patron has one already, it is in the account. */
void folio_hold_request(struct http_request *req, const struct folio_door *door, const char *patron_id,
                        const struct folio_wish *wish);
struct answer folio_hold_answer(const struct http_response *res, const struct folio_door *door, struct folio_hold *ret,
                                char ret_words[FOLIO_WORDS_SIZE]);

enum folio_cancel_form {
    FOLIO_CANCEL_DELETE, /* mod-patron 3.0: DELETE …/item/{itemId}/hold/{holdId} */
    FOLIO_CANCEL_POST,   /* from 4.0: POST …/hold/{holdId}/cancel */
};

struct folio_cancel {
    const char *hold_id;
    const char *item_id;   /* NULL or "": not known. DELETE has it in its path, and nobody looks at it */
    const char *reason_id; /* POST: one of the library's cancellation reasons, a UUID */
    const char *pickup_id; /* POST at Okapi: the hold's, as its schema wants one; NULL or "": not known */
    int64_t at;            /* now */
};

/*
 * FOLIO does not check whose hold it is: the caller must have seen it in this patron's account.
 * DONE "cancelled", or "gone" when there is no such hold (any more). AGAIN "other_form": this FOLIO cancels in the other
 * form; after both were tried (`both_tried`) that is LATER, CAUSE_VENDOR "no_such_call".
 */
void folio_cancel_request(struct http_request *req, const struct folio_door *door, const char *patron_id,
                          enum folio_cancel_form form, const struct folio_cancel *cancel);
struct answer folio_cancel_answer(const struct http_response *res, const struct folio_door *door,
                                  enum folio_cancel_form form, bool both_tried, char ret_words[FOLIO_WORDS_SIZE]);

/* ---- what became of it: decided from an account that was read after the lost call's deadline ---- */

enum folio_fate {
    FOLIO_HAPPENED,
    FOLIO_DID_NOT, /* it may be sent again */
    FOLIO_UNCLEAR, /* this account does not say */
};

/*
 * due_before: the loan's due date as it was before the call; 0: not known, which is UNCLEAR. A loan that is gone did not
 * get renewed as far as anybody can see: sent again, FOLIO refuses it in words. ret (may be NULL): the loan, borrowed.
 */
enum folio_fate folio_renew_fate(const struct folio_account *account, const char *item_id, int64_t due_before,
                                 const struct folio_loan **ret);

/*
 * The open hold on the wish's item or instance. requested 0: any, as after AGAIN "exists"; otherwise one whose date is
 * that or later (at edge-patron up to FOLIO_SKEW_S before it), or not known. ret (may be NULL): the first one, borrowed;
 * ret_count (may be NULL): how many there are, more than one is a duplicate.
 */
enum folio_fate folio_hold_fate(const struct folio_account *account, const struct folio_door *door,
                                const struct folio_wish *wish, const struct folio_hold **ret, size_t *ret_count);

/* Happened: the hold is no longer there, or closed. */
enum folio_fate folio_cancel_fate(const struct folio_account *account, const char *hold_id);

#endif

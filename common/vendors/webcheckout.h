/*
 * webcheckout.h - WebCheckout, API 1.1 and 2.0: who has what from which checkout centre, and until when.
 *
 * Pure: builds requests and reads answers; sends nothing, keeps nothing. Every call is POST /rest/<namespace>/<command> with
 * JSON in and out, and HTTP 200 also for failures: the member `status` says how it went (WebCheckout facts, 4.1). An instance
 * older than 4.5.0 has all of it under /webcheckout, which is then part of WEBCHECKOUT_URL.
 *
 * Session   a log-in's, until it is ended or times out (after how long, nobody says; one client assumes 300 s). API 1.1 wants
 *           its id inside the body, API 2.0 as a bearer token: here both are the token.
 * Entities  {_class, oid, name} at least; an oid is a positive whole number.
 * Time      instants in UTC; a time without an offset is none (values.h).
 * Rows      are what WebCheckout says, one by one. A row that cannot be read costs no other row.
 * Ids       (uniqueId, userid, barcode) are never cut: one that does not fit is "".
 * Privacy   requests and answers carry secrets and people's data in their bodies: never log them. Reasons quote WebCheckout's
 *           words with everything masked that may be a person's (see reading_words).
 *
 * The allocation's properties are documented only behind each instance's log-in (/api). Used here are those that public
 * clients ask for: oid, name, state, pickupTime, returnTime, allocationItems (booking-app of ITPNYU); uniqueId, patron,
 * patronPreferredEmail, realStartTime, scheduledEndTime, realEndTime, checkoutCenter, and of a person userid and barcode
 * (wco-automation). The only state they name is CHECKOUT: any other is handed up as the text it is (webcheckout_state_of).
 *
 * Every answer; none of these calls changes anything, so that none is UNKNOWN:
 *   status "unauthenticated", or HTTP 401      LATER, CAUSE_TOKEN   "token_refused"  log in again
 *   any other status but "ok" (none is public) LATER, CAUSE_VENDOR  "refused"        WebCheckout's words
 *   429                                        LATER, CAUSE_RATE    "rate"
 *   403                                        LATER, CAUSE_VENDOR  "forbidden"      the account may not do this
 *   other 4xx without a status                 LATER, CAUSE_VENDOR  "refused"        its server or a proxy speaks
 *   5xx                                        LATER, CAUSE_VENDOR  "unwell"
 *   3xx                                        LATER, CAUSE_VENDOR  "redirected"
 *   2xx without a status, or of another shape  LATER, CAUSE_VENDOR  "garbled"
 *   no answer                                  LATER, CAUSE_VENDOR  "unreachable", "no_answer"
 * What differs is said at each call.
 */
#ifndef SHELFWIRE_VENDORS_WEBCHECKOUT_H
#define SHELFWIRE_VENDORS_WEBCHECKOUT_H

#include "common/answer.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    WEBCHECKOUT_TOKEN_SIZE = 2049,
    WEBCHECKOUT_ID_SIZE = 65,
    WEBCHECKOUT_ROWS_MAX = 10000,   /* a longer list is no answer to a limit of ours: "garbled" */
    WEBCHECKOUT_RESOURCES_MAX = 8,
    WEBCHECKOUT_CENTERS_MAX = 128,
};

enum webcheckout_api { WEBCHECKOUT_API_1_1, WEBCHECKOUT_API_2_0 };

struct webcheckout_entity {
    int64_t oid;    /* 0: there is none */
    char name[129]; /* cut when longer */
};

/* ---- the session ---- */

struct webcheckout_session {
    char token[WEBCHECKOUT_TOKEN_SIZE];
    struct webcheckout_entity centers[WEBCHECKOUT_CENTERS_MAX]; /* where the account is an operator */
    size_t center_count;
    bool more_centers; /* some did not fit or could not be read, so that a missing one proves nothing */
};

/*
 * Log-in. DONE "logged_in" with the token: of API 1.1 the session's uuid (payload.uuid, repeated as sessionid), of API 2.0
 * the sessionToken. LATER, CAUSE_CREDENTIALS "login_refused": 401, 403, or any status but "ok". LATER, CAUSE_VENDOR
 * "garbled": "ok" without a token that could be sent back.
 */
void webcheckout_login_request(struct http_request *req, enum webcheckout_api api, const char *userid, const char *password);
struct answer webcheckout_login_answer(const struct http_response *res, enum webcheckout_api api,
                                       struct webcheckout_session *ret);

/* Acts for a checkout centre from here on, which work that is a centre's needs. May be repeated. DONE "scoped". */
void webcheckout_scope_request(struct http_request *req, enum webcheckout_api api, const char *token, int64_t center_oid);
struct answer webcheckout_scope_answer(const struct http_response *res);

/* What answers there, without a session, for --check. DONE "info" with its version, "" when it does not say. */
void webcheckout_info_request(struct http_request *req, enum webcheckout_api api);
struct answer webcheckout_info_answer(const struct http_response *res, char ret_version[WEBCHECKOUT_ID_SIZE]);

/* ---- allocations ---- */

/*
 * Which ones: all that fit every member that is not 0, NULL or "". There is no way to ask for the rows behind others: ask
 * with a limit, and where `more` says that some are missing, again with twice the limit, or for one centre or state at a time.
 */
struct webcheckout_query {
    const char *state;           /* "CHECKOUT" */
    int64_t center_oid;
    int64_t latest_scheduled_end, earliest_actual_end, latest_actual_end; /* instants */
    const char *unique_id;       /* this one alone; the other members are not sent */
    int limit;                   /* 1 to WEBCHECKOUT_ROWS_MAX */
};

struct webcheckout_allocation {
    int64_t oid;                          /* what it is known by */
    char unique_id[WEBCHECKOUT_ID_SIZE];  /* "CK-1234", as people know it */
    char name[WEBCHECKOUT_ID_SIZE];
    char state[WEBCHECKOUT_ID_SIZE];      /* as sent, "" when absent or longer */
    int64_t patron_oid;                   /* 0 when there is none */
    char userid[WEBCHECKOUT_ID_SIZE], barcode[WEBCHECKOUT_ID_SIZE]; /* the patron's; "" when absent */
    char email[129];                      /* preferred, lower case; cut when longer, so that it equals nobody's */
    struct webcheckout_entity center;     /* checkout centre */
    struct webcheckout_entity resources[WEBCHECKOUT_RESOURCES_MAX]; /* those its items name, each once */
    size_t resource_count;
    bool more_resources;                  /* some did not fit or had no oid */
    int64_t start;                        /* instant: pickupTime, or where that is not sent realStartTime; 0: neither is */
    int64_t end;                          /* returnTime, or where that is not sent scheduledEndTime; 0 */
    int offset_seconds;                   /* east of UTC, of the start as written, or else of the end */
    int64_t real_start, real_end;         /* handed over, given back; 0: not, or not sent */
};

/* A row that could not be read, so that its allocation is not taken for gone. */
struct webcheckout_bad {
    int64_t oid;   /* 0 when that is what could not be read */
    char why[120]; /* names the oid and the field, quotes no value */
};

/* Refilled by each answer; a zeroed one is empty; webcheckout_rows_free releases. */
struct webcheckout_rows {
    struct webcheckout_allocation *at;
    size_t count, room;
    struct webcheckout_bad *bad;
    size_t bad_count, bad_room;
    bool more; /* there are others: WebCheckout counts more than it sent, or sent as many as the limit */
};

void webcheckout_rows_free(struct webcheckout_rows *rows);

/*
 * DONE "rows": rows and bad rows, in WebCheckout's order (by patron). An allocation that is not there is no row, and no
 * error. A row whose end is not after its start is bad. Out of memory is LATER, CAUSE_WORK "no_memory".
 */
void webcheckout_search_request(struct http_request *req, enum webcheckout_api api, const char *token,
                                const struct webcheckout_query *query);
struct answer webcheckout_search_answer(const struct http_response *res, int limit, struct webcheckout_rows *ret);

/*
 * One by its oid. DONE "rows" with one row or one bad row. An oid nobody has is, as far as is known, "refused": whether it
 * is gone is asked with webcheckout_search_request and its unique_id.
 */
void webcheckout_allocation_request(struct http_request *req, enum webcheckout_api api, const char *token, int64_t oid);
struct answer webcheckout_allocation_answer(const struct http_response *res, struct webcheckout_rows *ret);

/* ---- people ---- */

struct webcheckout_person {
    int64_t oid;
    char userid[WEBCHECKOUT_ID_SIZE], barcode[WEBCHECKOUT_ID_SIZE]; /* "" when absent */
};

/* The ids of a patron whose allocation did not carry them. DONE "found". */
void webcheckout_person_request(struct http_request *req, enum webcheckout_api api, const char *token, int64_t oid);
struct answer webcheckout_person_answer(const struct http_response *res, struct webcheckout_person *ret);

/* ---- what a state means ---- */

enum webcheckout_state {
    WEBCHECKOUT_LIVE,    /* opens the door */
    WEBCHECKOUT_DEAD,    /* cancelled, returned */
    WEBCHECKOUT_UNKNOWN, /* in neither list: to be reported, not guessed */
};

/*
 * By the library's own lists, the live one first; upper and lower case and hyphens are alike. live_count 0: "CHECKOUT" alone
 * is live. Nothing is dead that dead does not name: no public source names such a state.
 */
enum webcheckout_state webcheckout_state_of(const char *state, const char *const *live, size_t live_count,
                                            const char *const *dead, size_t dead_count);

#endif

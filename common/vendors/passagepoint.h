/*
 * passagepoint.h - STOPware PassagePoint Global, API v2: visitors and their pre-registrations at the gate.
 *
 * Pure: builds requests and reads answers; sends nothing, keeps nothing. Little of this API is public: what the facts
 * leave open is decided here so that nothing is made twice and nobody's case is lost.
 * Token      opaque, travels in the header `token`; refused, it is fetched again by a log-in.
 * Ids        decimal digits, kept as text (15 digits today).
 * Privacy    the request that makes a visitor carries a person's data in its URL: never log it. Reasons quote the
 *            gate's words with everything masked that may be a person's (see reading_words).
 *
 * Every answer (for a call that changes nothing, REJECTED "refused" and UNKNOWN are LATER, CAUSE_VENDOR instead):
 *   401                                  LATER, CAUSE_TOKEN   "token_refused"
 *   429                                  LATER, CAUSE_RATE    "rate"
 *   403                                  LATER, CAUSE_VENDOR  "forbidden"      the account may not do this
 *   404 and 405 in no JSON, 407, 408, 421, 425, any 4xx as an HTML page
 *                                        LATER, CAUSE_VENDOR  "refused"        its server or a proxy speaks
 *   any other 4xx, or 200 with `error`   REJECTED             "refused"        the gate's own words
 *   503, 501                             LATER, CAUSE_VENDOR  "unwell"
 *   3xx                                  LATER, CAUSE_VENDOR  "redirected"
 *   502, 504, other 5xx, time-out        UNKNOWN              "gateway", "no_answer"
 *   200 without a readable id            UNKNOWN              "no_id"          "garbled" where nothing is changed
 * What differs is said at each call.
 */
#ifndef SHELFWIRE_VENDORS_PASSAGEPOINT_H
#define SHELFWIRE_VENDORS_PASSAGEPOINT_H

#include "common/answer.h"

#include <stdbool.h>
#include <stdint.h>

enum { PASSAGEPOINT_TOKEN_SIZE = 2049, PASSAGEPOINT_ID_SIZE = 24, PASSAGEPOINT_DESTINATIONS_MAX = 256 };

/* What HTTP 500 means for a call that changes something: nobody says. A setting decides. */
enum passagepoint_500 { PP_500_NOT_DONE, PP_500_UNKNOWN };

/*
 * Log-in. DONE "logged_in" with the token. LATER, CAUSE_CREDENTIALS "login_refused": 200 with `error`, 401, 403, or
 * another 4xx that says an error in JSON. LATER, CAUSE_VENDOR "garbled": 200 without a token that could be sent back.
 */
void passagepoint_login_request(struct http_request *req, const char *username, const char *password);
struct answer passagepoint_login_answer(const struct http_response *res, char ret_token[PASSAGEPOINT_TOKEN_SIZE]);

/* A person as the gate gets to know them. All but email and university_id must not be empty. */
struct passagepoint_visitor {
    const char *category;      /* must exist at the gate: "Student", "Faculty", "Staff", "Visitor" */
    const char *first_name, *last_name, *email;
    const char *barcode;       /* becomes uniqueId: the gate refuses a second visitor with it */
    const char *university_id; /* goes into mobilePhoneNo, the field that is free */
};

/*
 * Makes a visitor. DONE "created" with its id. AGAIN "exists": the gate has one with this barcode, look it up.
 * UNKNOWN: look it up too; as the gate refuses a second one, sending it again is harmless in any case. So 500 is LATER,
 * CAUSE_VENDOR "server_error". More than one id in the answer: UNKNOWN "several_ids".
 * v: whom it was made for, so that no reason repeats their names; only names are read.
 */
void passagepoint_create_visitor_request(struct http_request *req, const char *token,
                                         const struct passagepoint_visitor *v);
struct answer passagepoint_create_visitor_answer(const struct http_response *res, const struct passagepoint_visitor *v,
                                                 char ret_visitor_id[PASSAGEPOINT_ID_SIZE]);

/*
 * Looks a visitor up by barcode; changes nothing. DONE "found" with the id. REJECTED "not_found": an empty list, 404, or
 * words that say so. REJECTED "two_visitors": several ids, for the desk to sort out.
 */
void passagepoint_by_unique_id_request(struct http_request *req, const char *token, const char *barcode);
struct answer passagepoint_by_unique_id_answer(const struct http_response *res,
                                               char ret_visitor_id[PASSAGEPOINT_ID_SIZE]);

/*
 * Makes a pre-registration. start, end: instants. destination: the gate's name of a place it has.
 * DONE "made" with its id. There is no look-up and a repeat makes a second one, so anything unclear is UNKNOWN:
 * "no_id", "several_ids", "unclear" (an id and an error at once), and 500 as `on_500` says ("server_error").
 */
void passagepoint_create_prereg_request(struct http_request *req, const char *token, const char *visitor_id,
                                        int64_t start, int64_t end, const char *destination);
struct answer passagepoint_create_prereg_answer(const struct http_response *res, enum passagepoint_500 on_500,
                                                char ret_prereg_id[PASSAGEPOINT_ID_SIZE]);

struct passagepoint_destinations {
    int count;
    bool more; /* some did not fit, so that a missing name proves nothing */
    char names[PASSAGEPOINT_DESTINATIONS_MAX][129];
};

/*
 * The names of all destinations, for --check. DONE "listed". REJECTED "unknown_shape": 404, or a 200 in which no list
 * of names is to be found (its shape is not public): then nothing can be checked, which is no fault.
 */
void passagepoint_destinations_request(struct http_request *req, const char *token);
struct answer passagepoint_destinations_answer(const struct http_response *res, struct passagepoint_destinations *ret);

#endif

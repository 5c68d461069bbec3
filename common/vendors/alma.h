/*
 * alma.h - Ex Libris Alma, Users API: who is the person with this id, and which card is theirs.
 *
 * Pure: builds requests and reads answers; sends nothing, keeps nothing.
 * Key        one API key belongs to one institution zone; it travels in a header. After "not_found" the caller may
 *            ask again with another zone's key; after anything else it must not.
 * Texts      UTF-8 without control characters, trimmed. Names, group and description are cut where they are too long;
 *            an id never is.
 * Reasons    hold Alma's error code and tracking id (what its support asks for), never its message: it repeats the id.
 *
 * What an answer means, by error code where there is one, in JSON of either shape or the gateway's XML:
 *   found                                DONE                      "found"
 *   401861 401890 4019990 4019998        REJECTED                  "not_found"
 *   an id longer than its buffer         REJECTED                  "id_too_long"
 *   a primary id beyond printable ASCII  REJECTED                  "id_not_ascii"  it could not be a message's key
 *   UNAUTHORIZED, FORBIDDEN, HTTP 401    LATER, CAUSE_CREDENTIALS  "key_refused"
 *   PER_SECOND_THRESHOLD, any other 429  LATER, CAUSE_RATE         "rate"          waits 1000 ms by default
 *   DAILY_THRESHOLD                      LATER, CAUSE_DAY          "day"
 *   60101 402119 GENERAL_ERROR ROUTING_ERROR, 5xx, no answer
 *                                        LATER, CAUSE_VENDOR       "unwell", "unreachable", "no_answer"
 *   3xx                                  LATER, CAUSE_VENDOR       "redirected"
 *   any other 4xx                        LATER, CAUSE_VENDOR       "refused"
 *   200, but not a user                  LATER, CAUSE_VENDOR       "garbled"
 * A 403 without a known code is "refused", not "key_refused": a firewall that dislikes one id must not look like a
 * revoked key, which would stop everybody.
 */
#ifndef SHELFWIRE_VENDORS_ALMA_H
#define SHELFWIRE_VENDORS_ALMA_H

#include "common/answer.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { ALMA_EMAILS_MAX = 8 };

struct alma_user {
    char primary_id[65];       /* may differ from what was asked: any unique id finds a user */
    char barcode[65];          /* the first ACTIVE identifier of type BARCODE; "" when there is none */
    char group[65];            /* user_group.value, "UGRD" */
    char group_desc[129];      /* user_group.desc, "UGRD Undergraduate" */
    char first_name[129], last_name[129]; /* the preferred ones where Alma has them */
    size_t email_count;
    char emails[ALMA_EMAILS_MAX][129]; /* lower case, each once, the preferred one first; over-long ones are left out */
    char expiry_date[11];      /* "2027-06-30", a date without a zone; "" when there is none */
    char status[17];           /* "ACTIVE", "INACTIVE"; "" when Alma does not say */
    bool blocked;              /* a user_block that is ACTIVE, or does not say what it is */
};

/* user_id: not empty and not made of dots alone (see libcal_asked_id); it is percent-encoded here. */
void alma_user_request(struct http_request *req, const char *user_id, const char *key);
struct answer alma_user_answer(const struct http_response *res, struct alma_user *ret); /* ret: only on DONE */

/* Whether the key works at all (for --check). */
void alma_test_request(struct http_request *req, const char *key);
struct answer alma_test_answer(const struct http_response *res);

/* Calls left today for the whole institution, as the answer's header says; -1 when it does not. */
int64_t alma_calls_left(const struct http_response *res);

#endif

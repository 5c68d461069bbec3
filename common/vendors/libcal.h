/*
 * libcal.h - Springshare LibCal, API 1.1: the spaces people have booked.
 *
 * Pure: builds requests and reads answers; sends nothing, keeps nothing.
 * Token      an hour's, no refresh; asked for again when refused.
 * Time       instants in UTC; a row also keeps its own offset, which changes within one booking at a clock change.
 * Rows       are what LibCal says, one by one: which of them belong together, count, or are gone is the caller's (one
 *            bookId may have many rows with different statuses). A row that cannot be read costs no other row.
 * Ids        (bookId, account, the answer on the form) are never cut; a bookId is printable ASCII or its row is bad.
 *
 * Every answer to a question with a token:
 *   401, or an error that speaks of the token      LATER, CAUSE_TOKEN        "token_refused"
 *   403                                            LATER, CAUSE_CREDENTIALS  "scope"         sp_r must be granted
 *   400 in words                                   REJECTED                  "bad_request"   LibCal's sentence
 *   429                                            LATER, CAUSE_RATE         "rate"
 *   5xx                                            LATER, CAUSE_VENDOR       "unwell"
 *   3xx                                            LATER, CAUSE_VENDOR       "redirected"
 *   other 4xx, 400 as an HTML page                 LATER, CAUSE_VENDOR       "refused"
 *   200, but another shape or an error in it       LATER, CAUSE_VENDOR       "garbled"
 *   no answer                                      LATER, CAUSE_VENDOR       "unreachable", "no_answer"
 */
#ifndef SHELFWIRE_VENDORS_LIBCAL_H
#define SHELFWIRE_VENDORS_LIBCAL_H

#include "common/answer.h"

#include <regex.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    LIBCAL_PAGE_ROWS = 500,      /* asked for per page; the server may give fewer */
    LIBCAL_IDS_MAX = 80,         /* bookIds in one request */
    LIBCAL_ROWS_MAX = 10000,     /* a longer list is no page of ours: "garbled" */
    LIBCAL_LOCATIONS_MAX = 256,
    LIBCAL_ID_SIZE = 65,
};

/* ---- token ---- */

struct libcal_token {
    char token[513];
    int64_t expires_s; /* how long it lasts; an hour when LibCal does not say */
};

void libcal_token_request(struct http_request *req, const char *client_id, const char *client_secret);

/*
 * DONE "token". LATER, CAUSE_CREDENTIALS "login_refused": 401, 403, or an error in JSON with 200 or 4xx, but for
 * the two that say the server is at fault. LATER, CAUSE_VENDOR "garbled": 200 without a token that could be sent back.
 */
struct answer libcal_token_answer(const struct http_response *res, struct libcal_token *ret);

/* ---- bookings ---- */

enum libcal_check_in { LIBCAL_NOT_CHECKED, LIBCAL_CHECKED_IN, LIBCAL_CHECKED_OUT };

struct libcal_row {
    char book_id[LIBCAL_ID_SIZE];
    int64_t id;                /* the row's own number, when LibCal has one; 0 */
    int64_t eid, cid, lid;     /* space, category, location; 0 when absent */
    int64_t seat_id;           /* 0 unless a seat was booked */
    int64_t start, end;        /* instants, start < end. A check-in moves start to the minute of arrival */
    int offset_seconds;        /* east of UTC, of the start as written */
    char status[65];           /* free text, see libcal_status_of; cut when longer, which no known one is */
    char first_name[129], last_name[129]; /* cut when longer */
    char email[129];           /* lower case; cut when longer, so that it equals nobody's rather than being absent */
    char account[129];         /* the patron's log-in, often the e-mail; "" when longer */
    char answer[LIBCAL_ID_SIZE]; /* to the form's question: text, number or first non-empty choice; trimmed, as typed */
    bool answer_too_long;      /* it did not fit, and `answer` is "" */
    enum libcal_check_in check_in;
    bool cancelled;            /* has a time of cancellation, whatever the status says */
    bool is_event;             /* a LibCal event uses the room: no patron behind it */
};

/* A row that could not be read, so that its booking is not taken for gone. */
struct libcal_bad {
    char book_id[LIBCAL_ID_SIZE]; /* "" when that is what could not be read */
    char why[120];                /* names the bookId and the field, quotes no value */
};

/* Refilled by each answer; a zeroed one is empty; libcal_rows_free releases. */
struct libcal_rows {
    struct libcal_row *at;
    size_t count, room;
    struct libcal_bad *bad;
    size_t bad_count, bad_room;
};

void libcal_rows_free(struct libcal_rows *rows);

/*
 * A page (from 1) of the bookings at a location from today, LibCal's day, to days_ahead days later, cancelled and
 * denied ones included. No date is sent: today is then always LibCal's own. Read pages until one brings nothing new.
 */
void libcal_bookings_request(struct http_request *req, const char *token, int64_t lid, int days_ahead, int page);

/* 1 to LIBCAL_IDS_MAX bookings by id. A cancelled one is not in the answer, nor one that never was. */
void libcal_by_id_request(struct http_request *req, const char *token, const char *const *book_ids, size_t count);

/*
 * Either of the two. question: the form's field, "q12505", or NULL. DONE "rows": rows and bad rows, in LibCal's order.
 * Out of memory is LATER, CAUSE_WORK "no_memory".
 */
struct answer libcal_rows_answer(const struct http_response *res, const char *question, struct libcal_rows *ret);

/* ---- what a status means ---- */

enum libcal_status {
    LIBCAL_LIVE,         /* opens the door */
    LIBCAL_WAITING,      /* may yet: tentative, payment pending; or confirmed, but not in the library's own list */
    LIBCAL_DEAD,         /* cancelled or denied */
    LIBCAL_NOT_A_PATRON, /* a calendar's entry */
    LIBCAL_UNKNOWN,      /* none we know: to be reported, not guessed */
};

/*
 * The whole text decides, in upper or lower case, never a part of it: "Mediated Approved (Payment Pending)" waits.
 * live: the library's list (LIBCAL_STATUSES) of what opens the door, which wins; live_count 0: "Confirmed" and
 * "Mediated Approved".
 */
enum libcal_status libcal_status_of(const char *status, const char *const *live, size_t live_count);

/* ---- the id on the form ---- */

/* The answer as an id to ask Alma for, by LIBCAL_ID_PATTERN; see reading_asked_id. */
struct fault libcal_asked_id(const char *answer, const regex_t *pattern, char *ret, size_t size);

/* ---- what is configured there (for --check) ---- */

struct libcal_location {
    int64_t lid;
    int64_t form_id; /* 0 when the answer does not say */
    char name[129];
};

struct libcal_locations {
    size_t count;
    bool more; /* some did not fit or could not be read, so that a missing one proves nothing */
    struct libcal_location at[LIBCAL_LOCATIONS_MAX];
};

/* DONE "listed". */
void libcal_locations_request(struct http_request *req, const char *token);
struct answer libcal_locations_answer(const struct http_response *res, struct libcal_locations *ret);

struct libcal_question {
    bool found;
    bool required;
    char label[129]; /* as people see it */
    char type[33];   /* "string", "dropdown" */
};

/* Does a form have the question "q12505"? DONE "form" with `found` true or false. */
void libcal_form_request(struct http_request *req, const char *token, int64_t form_id);
struct answer libcal_form_answer(const struct http_response *res, const char *question, struct libcal_question *ret);

/* Does the question exist at all? question: "q12505" (the q may be left out). DONE "question", as above. */
void libcal_question_request(struct http_request *req, const char *token, const char *question);
struct answer libcal_question_answer(const struct http_response *res, const char *question, struct libcal_question *ret);

#endif

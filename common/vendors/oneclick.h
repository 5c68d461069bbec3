/*
 * oneclick.h - OneClick digital (RBdigital, Recorded Books): a library's catalog, what changed in it, what is available.
 *
 * Pure: builds requests and reads answers; sends nothing, keeps nothing. The facts are those of the vendor's clients
 * (NYPL's circulation, Evergreen, Aspen), for the vendor's own pages can no longer be reached.
 * Paths      /v1/libraries/{library}/… : document 000 leaves "/v1/libraries" out.
 * Token      `Authorization: Basic <token>`, the token as it is: it is no base64 of user and password.
 * Lists      media/all, media/delta, availability and book-holdings/delta may be of any size: they are read with
 *            json_stream, element by element; the readers here take one element, and oneclick_list_answer says what came
 *            instead.
 * Reasons    quote at most READING_WORDS_SIZE bytes of the vendor's message, masked (reading_words): it may hold SQL, host
 *            names, CR LF and several kB.
 *
 * What an answer means, the same for every call:
 *   "Invalid Basic Token or permission denied" anywhere in the body, any status; 401, 403
 *                              LATER, CAUSE_CREDENTIALS  "token_refused"  it may be the token or a rate limit: the vendor's
 *                                                                         answer is the same for both
 *   429                        LATER, CAUSE_RATE         "rate"
 *   {"message"} that begins (any case) "eXtensible Framework was unable to locate the resource", or
 *   "Invalid 'MediaType', 'TitleId' or 'ISBN' token value supplied", with 200, 400, 404 or 500, of a title's record
 *                              DONE                      "not_in_library"
 *   500 whose message begins "eXtensible Framework encountered a SqlException"; 400, also as HTML
 *                              LATER, CAUSE_WORK         "bad_input"      the vendor dislikes what was asked; counted against
 *                                                                         the title while others are answered
 *   any other 404              LATER, CAUSE_VENDOR       "not_there"      "are ONECLICK_URL and ONECLICK_LIBRARY_ID right?"
 *   200 with a message (an object, or a bare string) that is not "success"
 *                              LATER, CAUSE_VENDOR       "refused"
 *   200, empty or not what was asked for
 *                              LATER, CAUSE_VENDOR       "garbled"
 *   3xx                        LATER, CAUSE_VENDOR       "redirected"
 *   other 4xx                  LATER, CAUSE_VENDOR       "refused"
 *   5xx                        LATER, CAUSE_VENDOR       "unwell"
 *   no answer                  LATER, CAUSE_VENDOR       "unreachable", "no_answer" (reading_unanswered)
 */
#ifndef SHELFWIRE_VENDORS_ONECLICK_H
#define SHELFWIRE_VENDORS_ONECLICK_H

#include "common/answer.h"
#include "common/values.h"

#include <json-c/json.h>

enum {
    ONECLICK_INSTANT_SIZE = 36,
    ONECLICK_WINDOW_DAYS = 60,  /* a media/delta shows at most so many days */
    ONECLICK_DELTA_DAYS = 180,  /* and keeps them for so long */
};

/* ---- a title ---- */

/* Texts one behind the other, each with its final zero. */
struct oneclick_list {
    const char *at;
    size_t count;
};

/*
 * A record as OneClick has it. Texts are trimmed, without control characters, valid UTF-8 without zero bytes; "" when there is
 * none. They live in `memory`, which oneclick_title_free gives back.
 */
struct oneclick_title {
    char isbn[VALUES_ISBN_SIZE];
    char publication_date[11];      /* "2009-08-25": the date of what OneClick writes as an instant; "" when unreadable */
    int64_t title_id;               /* 0: none */
    int32_t series_position, series_total; /* of a series; 0 where there is none ("Default Blank", absent or empty) */
    bool has_rights_flag, digital_rights;
    const char *title, *series, *publisher, *description, *audience, *language, *media_type; /* "eBook", "eAudio" */
    size_t title_prefix;            /* values_collation of the title */
    struct oneclick_list authors, narrators; /* ';' separated there, empty items dropped: "Hopkins, Ellen" */
    struct oneclick_list genres;    /* ';' separated: "JUVENILE FICTION / Social Themes / Adolescence" */
    struct oneclick_list primary_genres; /* ',' separated slugs */
    struct oneclick_list images;    /* name, url, name, url, …: of count/2 cover images */
    char *memory;
};

/*
 * Reads a record. REJECT only where it is no object or has no valid ISBN ("isbn 9780307378102: check digit 2, want 1"); what
 * else is missing or of another type reads as nothing. ret is zeroed on a fault.
 */
struct fault oneclick_title_read(json_object *record, struct oneclick_title *ret);
void oneclick_title_free(struct oneclick_title *title); /* twice is fine */

/* Only the ISBN of a record, a holding or an availability row, verified. */
struct fault oneclick_isbn(json_object *element, char ret[VALUES_ISBN_SIZE]);

struct oneclick_availability {
    char isbn[VALUES_ISBN_SIZE];
    bool available;
    char at[ONECLICK_INSTANT_SIZE]; /* timeStamp, in UTC with Z, its fraction (7 digits there) kept up to 9; "" unreadable */
};

/* REJECT: no object, no valid ISBN, or `availability` is neither true nor false. */
struct fault oneclick_availability_read(json_object *element, struct oneclick_availability *ret);

/* ---- requests; library: the id, digits; begin, end: "YYYY-MM-DD" ---- */

void oneclick_all_request(struct http_request *req, const char *library, const char *token);
void oneclick_title_request(struct http_request *req, const char *library, const char *token, const char *isbn);
void oneclick_delta_request(struct http_request *req, const char *library, const char *token, const char *begin,
                            const char *end);
void oneclick_dates_request(struct http_request *req, const char *library, const char *token);
void oneclick_holdings_request(struct http_request *req, const char *library, const char *token, const char *begin,
                               const char *end);
void oneclick_availability_request(struct http_request *req, const char *library, const char *token, const char *media_type);

/* ---- answers ---- */

/* DONE "found" (ret filled, to be freed) or "not_in_library"; a record of another ISBN than asked for is "garbled". */
struct answer oneclick_title_answer(const struct http_response *res, const char *isbn, struct oneclick_title *ret);

/*
 * For a list read as a stream: res->body is what came instead of the list (json_stream_other as text), "" when nothing did;
 * listed: whether the stream was whole and of the shape foreseen. DONE "listed" only then, with a 2xx and no message. An
 * empty list is a list.
 */
struct answer oneclick_list_answer(const struct http_response *res, bool listed);

/* ---- snapshots (book-holdings), in days since 1970-01-01 ---- */

struct oneclick_dates {
    int64_t *days; /* ascending, each once */
    size_t count;
};

/* The available dates, sorted: they come unsorted and with gaps. Rows without a readable asOf are left out. */
struct answer oneclick_dates_answer(const struct http_response *res, struct oneclick_dates *ret); /* DONE "listed" */
void oneclick_dates_free(struct oneclick_dates *dates);

/*
 * Aligns a span with the snapshots: begin goes back to the last one on or before it (else the first), end forward to the first
 * on or after it (else the last). False: nothing lies between (they come out equal, or there are none).
 */
bool oneclick_align(const struct oneclick_dates *dates, int64_t begin, int64_t end, int64_t *ret_begin, int64_t *ret_end);

/* ---- days ---- */

int64_t oneclick_day(const char *date);              /* of "YYYY-MM-DD"; -1 when it is not one */
void oneclick_date(int64_t day, char ret[11]);

/*
 * The next window of media/delta for a catalog known up to and including `done`: begins there, ends at most
 * ONECLICK_WINDOW_DAYS later and not after `today`. False: `done` lies more than ONECLICK_DELTA_DAYS back, so
 * only an import helps.
 */
bool oneclick_window(int64_t done, int64_t today, int64_t *ret_begin, int64_t *ret_end);

#endif

/*
 * oneclick_patron.h - OneClick digital (RBdigital): patrons, loans, holds, magazines, downloads, and the search.
 *
 * Pure: builds requests and reads answers; sends nothing, keeps nothing. Sources: document 000 (loans, holds, bookmarks, the
 * conversion of a hold) and the vendor's clients (NYPL's circulation, Perl's WebService::ILS, Aspen, Evergreen), for the
 * vendor's own pages can no longer be reached. Wishlists are named in document 000, and no call for them is known.
 *
 * Paths      /v1/libraries/{library}/patrons/{patron id}/…; who a person is, is asked at /v1/rpc/libraries/{library}/patrons/….
 * Token      as in oneclick.h; a download alone carries the patron's own bearer.
 * Ids        a patron id is OneClick's number of a person, as digits. titleId is 0 in circulation: join titles on the ISBN.
 * Lists      `rows` is the list as JSON (json_object_put); an element is read by a function of its own and borrows from it.
 * Texts      trimmed, without control characters, valid UTF-8; cut where they are too long.
 * Days       an `expiration` is a day of US Eastern time, at whose first moment the loan ends. That is inferred: of the
 *            recorded download links each one's expDt is that moment (2016-10-14T04:00:00Z for 2016-10-14, 2016-11-19T05:00:00Z
 *            for 2016-11-19). 2050-12-31 means never.
 * Words      what OneClick tells a patron, handed out where it is fit for one: the sentences that are known, as OneClick writes
 *            them; others masked (reading_words), for they may hold SQL and host names; "" where it says none.
 *
 * Every answer (`reads` changes nothing, `changes` are checkout, renew, return, hold, cancel, magazines, a new patron):
 *   answer                                          reads                          changes
 *   200 in the expected shape                       DONE                           DONE; of a new patron only 201 is
 *   409, as {"message"} or as a bare string         LATER VENDOR "refused"         by its words, see "conflicts"
 *   another 409                                     -                              REJECTED "refused", words
 *   404 in words other than below, of a DELETE      -                              REJECTED "refused", words: is it gone?
 *   "Patron not found", "Patron does not exist", "… unable to locate the resource for RB.API.OneClick.UserPatron"
 *                                                   REJECTED "no_patron"           the same
 *   the same for a title, or "Invalid 'MediaType', 'TitleId' or 'ISBN' token value"
 *                                                   REJECTED "not_in_library" of   the same
 *                                                   a title's availability, else
 *                                                   LATER VENDOR "refused"
 *   400, also as HTML                               REJECTED "bad_input" of find and search, else LATER WORK
 *                                                                                  REJECTED "bad_input"
 *   500 "… encountered a SqlException"              the same                       UNKNOWN WORK "bad_input"
 *   200 with another message                        LATER VENDOR "refused"         UNKNOWN WORK "refused", words
 *   200 in another shape, 201, another 2xx          LATER VENDOR "garbled"         UNKNOWN VENDOR "garbled"
 *   other 5xx                                       LATER VENDOR "unwell"          UNKNOWN VENDOR "unwell"
 *   time-out, connection lost                       LATER VENDOR "no_answer"       UNKNOWN VENDOR "no_answer"
 *   no connection                                   LATER VENDOR "unreachable"     the same
 *   "Invalid Basic Token or permission denied", 401, 403; 429; 3xx; other 4xx
 *                                                   as in oneclick.h               the same: nothing was done
 * UNKNOWN WORK: OneClick says no in a way that it may also say after having done it. Look; if it was not done, that was it.
 *
 * Conflicts (409), in any case, also as a part of what is said:
 *   "Checkout item already exists" (checkout), "Hold or Checkout already exists" (hold)      DONE "already"
 *   "Checkout does not exists or it is already terminated or expired" (return)               DONE "not_on_loan"
 *                                                                     (renew)                REJECTED "not_on_loan"
 *   "Maximum checkout count reached", "You have reached your checkout limit and therefore …" REJECTED "limit"
 *   "Title is not available for checkout"                                                    REJECTED "not_available"
 *
 * May a call whose answer was lost be sent again?
 *   reads, bearer      yes.
 *   checkout, hold     yes by meaning: the second is "already"; but whether that or the limit, or "not available" (because it
 *                      is ours now), is said first, nobody knows: look at the list first.
 *   return             yes: the second is "not_on_loan".
 *   cancel             nobody says what the second answers: look at the list.
 *   renew              no: see oneclick_renew_fate.
 *   a new patron       no: find it by card and by e-mail.
 *   magazines          nobody says: look at the history.
 */
#ifndef SHELFWIRE_VENDORS_ONECLICK_PATRON_H
#define SHELFWIRE_VENDORS_ONECLICK_PATRON_H

#include "common/answer.h"
#include "common/text.h"
#include "common/values.h"

#include <json-c/json.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    ONECLICK_ID_SIZE = 21,       /* a number of OneClick's as digits */
    ONECLICK_USER_ID_SIZE = 65,
    ONECLICK_EMAIL_SIZE = 255,
    ONECLICK_SUFFIX_SIZE = 7,
    ONECLICK_BEARER_SIZE = 257,
    ONECLICK_WORDS_SIZE = 128,
    ONECLICK_LINK_SIZE = 2049,
};

/* Borrowed by the requests that are given it. */
struct oneclick_door {
    const char *library, *token;
};

/* ---- who somebody is ---- */

struct oneclick_person {
    char patron_id[ONECLICK_ID_SIZE];
    char user_id[ONECLICK_USER_ID_SIZE]; /* what a bearer is made of; "" where OneClick does not say, as before 2018 */
};

/* who: card, e-mail or user name. DONE "found"; REJECTED "no_patron". A card that OneClick cannot digest: "bad_input". */
void oneclick_find_request(struct http_request *req, const struct oneclick_door *door, const char *who);
struct answer oneclick_find_answer(const struct http_response *res, struct oneclick_person *ret);

struct oneclick_patron {
    char patron_id[ONECLICK_ID_SIZE];
    char card[129]; /* "" also for some who have one: a new patron's own answer leaves it empty */
    char user_name[129], first_name[129], last_name[129], email[ONECLICK_EMAIL_SIZE];
};

/* DONE "read"; REJECTED "no_patron". A record of another patron than asked for is "garbled". */
void oneclick_patron_request(struct http_request *req, const struct oneclick_door *door, const char *patron_id);
struct answer oneclick_patron_answer(const struct http_response *res, const char *patron_id, struct oneclick_patron *ret);

/* ---- a new patron ---- */

/*
 * Without an e-mail of the person's (`suffix` is not ""): the card and the user name get a suffix, so that the person may still
 * register with the card, and the e-mail is made of the library's (oneclick_made_email), so that the account is found again by
 * it. The password is nobody's: it is forgotten, and can be recovered by e-mail.
 */
struct oneclick_newcomer {
    const char *card, *email, *first_name, *last_name, *postal_code;
    const char *suffix;   /* "" or 6 of 0-9 A-Z, made at random */
    const char *password; /* made at random */
};

/* "library@example.edu" and card 123 make "library+rbdigital-123@example.edu". False: there is no @, or it does not fit. */
bool oneclick_made_email(const char *library_email, const char *card, char ret[ONECLICK_EMAIL_SIZE]);

/* Whether a card on record is this card, or this card with a suffix, or not said. */
bool oneclick_same_card(const char *on_record, const char *card);

/* DONE "created" (201 with a patron id); AGAIN "exists": someone has the card, the user name or the e-mail: find them by it. */
void oneclick_create_request(struct http_request *req, const struct oneclick_door *door, const struct oneclick_newcomer *who);
struct answer oneclick_create_answer(const struct http_response *res, struct oneclick_person *ret);

/* ---- loans ---- */

/* days 0: as the library has it. A number can only make a loan shorter. */
void oneclick_checkout_request(struct http_request *req, const struct oneclick_door *door, const char *patron_id,
                               const char *isbn, int days);
void oneclick_renew_request(struct http_request *req, const struct oneclick_door *door, const char *patron_id, const char *isbn,
                            int days);
void oneclick_return_request(struct http_request *req, const struct oneclick_door *door, const char *patron_id,
                             const char *isbn);

/* What a checkout or a renewal says; the recorded ones say no expiration, one client reads one. */
struct oneclick_receipt {
    char transaction_id[ONECLICK_ID_SIZE]; /* "": not said */
    char expiration[11];                   /* "": not said */
};

struct answer oneclick_checkout_answer(const struct http_response *res, struct oneclick_receipt *ret,
                                       char ret_words[ONECLICK_WORDS_SIZE]); /* DONE "borrowed", "already" */
struct answer oneclick_renew_answer(const struct http_response *res, struct oneclick_receipt *ret,
                                    char ret_words[ONECLICK_WORDS_SIZE]);    /* DONE "renewed" */
struct answer oneclick_return_answer(const struct http_response *res,
                                     char ret_words[ONECLICK_WORDS_SIZE]); /* DONE "returned" */

/* DONE "listed" with rows. Holds are listed in the same way. */
void oneclick_loans_request(struct http_request *req, const struct oneclick_door *door, const char *patron_id);
struct answer oneclick_rows_answer(const struct http_response *res, json_object **ret_rows);

/* Of a loan or a hold; of a hold the last line is empty. */
struct oneclick_row {
    char isbn[VALUES_ISBN_SIZE]; /* 13 digits; their check digit is not looked at */
    char title[257], authors[257], narrators[257], publisher[129];
    char media_type[9];          /* "eBook", "eAudio" */
    char expiration[11];         /* "" unreadable; a hold's is 2050-12-31 */
    char transaction_id[ONECLICK_ID_SIZE];
    bool can_renew;              /* false only where OneClick says so */
    json_object *minutes, *files, *bookmarks; /* borrowed or NULL: of an eAudio how long it is; lists, read with the below */
};

/* False: it is no object, or has no ISBN. */
bool oneclick_row_read(json_object *row, struct oneclick_row *ret);

struct oneclick_file {
    char id[ONECLICK_ID_SIZE]; /* "" none */
    char name[129], display[129];
    char format[17];                    /* of an eBook: "EPUB" */
    char link[ONECLICK_LINK_SIZE];      /* downloadUrl; "" none, or too long */
    json_object *minutes, *size;        /* numbers, borrowed, or NULL */
};

bool oneclick_file_read(json_object *file, struct oneclick_file *ret);

enum oneclick_sight {
    ONECLICK_SEEN,
    ONECLICK_NOT_SEEN, /* so it is not there */
    ONECLICK_UNCLEAR,  /* not seen, but some row cannot be read */
};

enum oneclick_sight oneclick_row_find(json_object *rows, const char *isbn, struct oneclick_row *ret);

/*
 * Whether a renewal whose answer was lost has happened, by the loan as it was before and as it is now: it ends later, or it
 * has become another transaction, or could be renewed and no longer can.
 */
bool oneclick_renewed(const struct oneclick_row *before, const struct oneclick_row *now);

/* ---- holds ---- */

/* Whether it can be borrowed now; a hold on such a title succeeds, and becomes a loan a bit later. DONE "told". */
void oneclick_available_request(struct http_request *req, const struct oneclick_door *door, const char *isbn);
struct answer oneclick_available_answer(const struct http_response *res, const char *isbn, bool *ret);

void oneclick_hold_request(struct http_request *req, const struct oneclick_door *door, const char *patron_id, const char *isbn);
struct answer oneclick_hold_answer(const struct http_response *res, char ret_transaction_id[ONECLICK_ID_SIZE],
                                   char ret_words[ONECLICK_WORDS_SIZE]); /* DONE "held" (a bare number), "already" */
void oneclick_cancel_request(struct http_request *req, const struct oneclick_door *door, const char *patron_id,
                             const char *isbn);
struct answer oneclick_cancel_answer(const struct http_response *res,
                                     char ret_words[ONECLICK_WORDS_SIZE]); /* DONE "cancelled" */
void oneclick_holds_request(struct http_request *req, const struct oneclick_door *door, const char *patron_id);

/* ---- magazines: an API of their own, by issue; they are never out ---- */

void oneclick_magazine_request(struct http_request *req, const struct oneclick_door *door, const char *method, /* POST,
                               DELETE */
                               const char *patron_id, const char *issue);
struct answer oneclick_magazine_answer(const struct http_response *res, bool borrowing, char ret_words[ONECLICK_WORDS_SIZE]);

enum { ONECLICK_HISTORY_PAGE = 100 };

struct oneclick_issue {
    char issue_id[ONECLICK_ID_SIZE], magazine_id[ONECLICK_ID_SIZE];
    char title[257], publisher[129], borrowed_on[41], published_on[41]; /* as OneClick writes them */
};

/* Issues that are checked out, a page from 0. DONE "listed": rows, and how many there are in all (-1: not said). */
void oneclick_history_request(struct http_request *req, const struct oneclick_door *door, const char *patron_id, int page);
struct answer oneclick_history_answer(const struct http_response *res, json_object **ret_rows, int64_t *ret_total);
bool oneclick_issue_read(json_object *row, struct oneclick_issue *ret); /* false: no issueId */

/* ---- downloads ---- */

/* DONE "bearer": 24 hours. */
void oneclick_bearer_request(struct http_request *req, const struct oneclick_door *door, const char *user_id);
struct answer oneclick_bearer_answer(const struct http_response *res, char ret_bearer[ONECLICK_BEARER_SIZE]);

/*
 * Where a file's link leads within OneClick's API: path and query of ".../v1/media/…/download-url?…", whichever host it
 * names: a bearer goes to the address that is configured, and nowhere else. False: it leads elsewhere.
 */
bool oneclick_link_target(const char *link, struct text *ret_target);

struct oneclick_access {
    char type[129]; /* "audio/mpeg", "application/vnd.adobe" */
    char url[ONECLICK_LINK_SIZE]; /* lives for about a quarter of an hour */
};

/* target: of oneclick_link_target. DONE "access"; AGAIN "bearer_expired" (401): get another, once. */
void oneclick_download_request(struct http_request *req, const char *target, const char *bearer);
struct answer oneclick_download_answer(const struct http_response *res, struct oneclick_access *ret);

/* ---- search ---- */

/* NULL or "": not asked for. */
struct oneclick_query {
    const char *shelf;      /* of a media type: "bestsellers", "most-popular", "newly-added" */
    const char *media_type; /* "eBook", "eAudio" */
    const char *availability; /* "available", "unavailable" */
    const char *all, *author, *title, *genre, *audience, *sort_by, *sort_order;
    int page, page_size;    /* page from 0 */
};

void oneclick_search_request(struct http_request *req, const struct oneclick_door *door, const struct oneclick_query *query);

struct oneclick_result {
    json_object *body;            /* json_object_put; the lists are borrowed from it */
    json_object *items, *filters; /* read with the below; filters may be NULL */
    int64_t page, pages, page_size, total;
};

/* DONE "found", also when nothing was. */
struct answer oneclick_search_answer(const struct http_response *res, struct oneclick_result *ret);

struct oneclick_item {
    char isbn[VALUES_ISBN_SIZE]; /* verified */
    char title[257], series[129], publisher[129], media_type[9], audience[33], language[33], released[11];
    char description[513];       /* shortDescription, which ends in "..." where it was cut */
    bool owned;                  /* by this library: some see others' titles */
    json_object *authors, *genres; /* borrowed or NULL: lists whose elements have a `text` */
};

bool oneclick_item_read(json_object *element, struct oneclick_item *ret);

struct oneclick_facet {
    char facet[33], value[65]; /* "genre", "mystery" */
    int64_t count;
    bool selected;
};

bool oneclick_facet_read(json_object *filter, struct oneclick_facet *ret);

/* ---- days ---- */

int64_t oneclick_ends(const char *expiration);                   /* instant; 0: never, or no day */
void oneclick_expires(int64_t now, int days, char ret[11]);      /* the day on which a loan of so many days, made now, ends */

#endif

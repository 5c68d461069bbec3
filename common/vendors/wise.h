/*
 * wise.h - OCLC Wise REST API: holds and requests at other libraries (ILL), for patrons of a library.
 *
 * Pure: builds requests and reads answers; sends nothing, keeps nothing. Sources: OCLC's page "Holds and ILL" (the document)
 * and the one public client (opacclient's Wise.kt). No status, no error body and no limit of this API is public: what they
 * leave open is decided here so that nothing is placed twice and a patron hears no "no" that Wise has not said.
 *
 * Two keys   every request carries WISE_KEY, which proves the application (wise_key), and all but a log-in a token in
 *            Authorization, bare, without "Bearer". Both end by the clock: wise_key_ends, wise_token_ends.
 * Spelling   the document and the client spell paths differently: see enum wise_spellings.
 * Ids        texts; Wise answers title numbers and group ids as numbers or as strings. An id in a path must satisfy wise_id.
 * Money      without a currency, as the number's own text and exactly in hundredths, rounded up; never a float.
 * Dates      "2021-06-10", of the library's own calendar, without a zone.
 * Mends      an answer that is no JSON is read once more as what the document's printed answers mean: a typographic quote
 *            around a name or text is a quote, a comma before } or ] is none, and before "searchStrategy" stand the comma and
 *            the opening quote that are missing there. Nothing else is mended, and what is JSON is read as it is.
 * Privacy    a log-in's request carries a password in its body. Reasons quote Wise's words with everything masked that may
 *            be a person's (reading_words), so that they may be shown to the patron.
 *
 * Every answer. "Changes": place, place several, cancel; for any other call UNKNOWN is LATER with the same code.
 *   not sent                             LATER, CAUSE_VENDOR  "unreachable"
 *   no whole answer                      UNKNOWN              "no_answer"
 *   401                                  LATER, CAUSE_TOKEN   "token_refused"  after a log-in with the key of the same day
 *   429                                  LATER, CAUSE_RATE    "rate"
 *   validationErrors not empty           REJECTED             "refused"        whatever other status; Wise's own words
 *     … and an id beside them            UNKNOWN              "unclear"
 *   403                                  LATER, CAUSE_VENDOR  "forbidden"      key, rights or address: a person must look
 *   404, 405, not Wise's own             AGAIN                "other_spelling" send it again: spelling->now has moved on
 *     … when all have been tried         LATER, CAUSE_VENDOR  "no_such_path"
 *   404, Wise's own (has validationErrors)  REJECTED          "not_found"      the patron, title or hold is unknown
 *   other 4xx in JSON                    REJECTED             "refused"
 *   other 4xx                            LATER, CAUSE_VENDOR  "not_wise"       a server or proxy speaks
 *   3xx                                  LATER, CAUSE_VENDOR  "redirected"
 *   501, 503                             LATER, CAUSE_VENDOR  "unwell"
 *   other 5xx                            UNKNOWN              "server_error"   500; "gateway" the others
 *   2xx that cannot be read              UNKNOWN              "garbled"
 *   2xx with `error` or `errors`         UNKNOWN              "unclear"
 * What differs is said at each call. After UNKNOWN the hold list decides: wise_became_placed, wise_became_cancelled. Nothing
 * is known of what Wise does with a hold that is sent twice, so neither placing is ever sent again before that.
 */
#ifndef SHELFWIRE_VENDORS_WISE_H
#define SHELFWIRE_VENDORS_WISE_H

#include "common/answer.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    WISE_KEY_SIZE = 256, WISE_TOKEN_SIZE = 2049, WISE_ID_SIZE = 41, WISE_DATE_SIZE = 11, WISE_PARAMETERS_SIZE = 4097,
    WISE_BRANCHES_MAX = 128, WISE_TITLES_MAX = 50, WISE_HOLDS_MAX = 200, WISE_PAGE = 50,
};

/* ---- keys, tokens, paths ---- */

/*
 * WISE_KEY of the UTC day of `now`: "<API-ID>:<HMAC-SHA256 of <day number><application>, keyed with API-KEY, in hex>".
 * False: one of the three is empty, the API-ID has more than 180 bytes or holds what a header cannot, or the application has
 * more than 200.
 */
bool wise_key(const char *api_id, const char *api_key, const char *application, int64_t now, char ret[WISE_KEY_SIZE]);

int64_t wise_key_ends(int64_t now); /* the next 00:00 UTC: from then on the key of before is another day's */

/*
 * From when on a token got at `now` is not to be used: 23:59:59 of the library's day, or of UTC's where that is sooner (whose
 * midnight it is, the document does not say). A token got in the last second of a day ends at once.
 */
int64_t wise_token_ends(int64_t now, int library_offset_seconds);

/* How a path is spelled: a set of these, 0 as the public client does. */
enum wise_spellings {
    WISE_PRINTED = 1, /* the document's words: libraryId, prepareHold, holdOption (else library, preparehold, holdoption) */
    WISE_BARE = 2,    /* without /restapi in front, as the document prints half of them */
};

/* `first` is what the caller began with, `now` what it has sent last. Both 0 at first; later the spelling that worked. */
struct wise_spelling {
    unsigned first, now;
};

/* Letters, digits, - and _ only, not empty, fits WISE_ID_SIZE. */
bool wise_id(const char *text);

/* What every request carries. Borrowed until the request is built. */
struct wise_session {
    const char *key;   /* wise_key of now */
    const char *token; /* NULL for staff's and a patron's own log-in */
    unsigned spelling; /* struct wise_spelling's now */
};

/* ---- log-in ---- */

struct wise_login {
    char token[WISE_TOKEN_SIZE];
    char patron_system_id[WISE_ID_SIZE], library_id[WISE_ID_SIZE]; /* of a patron; "" for staff */
    char membership_expiry[WISE_DATE_SIZE];                         /* "" when it is not said */
};

/*
 * Staff. DONE "logged_in". LATER, CAUSE_CREDENTIALS "login_refused": 401, 403, and whatever else would be
 * REJECTED: the user, the password or the WISE_KEY. 2xx without a token that could be sent back: "garbled".
 */
void wise_staff_login_request(struct http_request *req, const struct wise_session *s, const char *username,
                              const char *password);
struct answer wise_staff_login_answer(const struct http_response *res, struct wise_spelling *spelling, struct wise_login *ret);

/*
 * A patron. As above, but it is one patron's password that is wrong: REJECTED "login_refused". 403 stays "forbidden". Nobody
 * says how a wrong WISE_KEY is told from a wrong password; the staff log-in tells whether the key is right.
 * 2xx without patronSystemId and libraryId: "garbled".
 */
void wise_patron_login_request(struct http_request *req, const struct wise_session *s, const char *username,
                               const char *password);
struct answer wise_patron_login_answer(const struct http_response *res, struct wise_spelling *spelling,
                                       struct wise_login *ret);

/*
 * A patron's token for staff (s->token is staff's; right PROXY_AUTH, key enabled, address allowed). 403 is LATER,
 * CAUSE_CREDENTIALS "proxy_refused". The answer's shape is taken to be the patron log-in's, of which only the token must be
 * there; the method, which is not said, to be POST.
 */
void wise_proxy_login_request(struct http_request *req, const struct wise_session *s, const char *patron_system_id,
                              const char *library_id);
struct answer wise_proxy_login_answer(const struct http_response *res, struct wise_spelling *spelling,
                                      struct wise_login *ret);

/* ---- what it costs and where it may be fetched ---- */

enum { WISE_COST_READ_MOST = 10000000 }; /* hundredths; more is no price, but some other number in its place */

struct wise_cost {
    char text[24];      /* as Wise wrote it, "" when absent */
    int64_t hundredths; /* 0 when absent, -1 when it cannot be read, or is more than any hold costs */
};

struct wise_costs {
    struct wise_cost placement, pickup, lending; /* lending is not told for several titles */
    struct wise_cost total;                      /* reservationCost, of a single hold */
    int64_t punches;                             /* of the patron's strip card; -1 when it cannot be read */
};

/* Exact, rounded up; "0", "2.5", "0,50", "1e2". False: negative, beyond 10^13, or no number. */
bool wise_hundredths(const char *text, int64_t *ret);

/* The most it can cost by any reading: the total, or the sum of the parts if that is more. -1: it is not said or unreadable. */
int64_t wise_cost_at_most(const struct wise_costs *costs);

struct wise_branch {
    char id[WISE_ID_SIZE], type[9], name[65]; /* type "B"; name "" where it is not said */
};

struct wise_branches {
    size_t count;
    bool more; /* some did not fit */
    struct wise_branch at[WISE_BRANCHES_MAX];
};

/* What the patron has agreed to. */
enum wise_ill { WISE_ILL_NEVER, WISE_ILL_IF_NEEDED, WISE_ILL_ONLY };

struct wise_terms {
    const char *pickup_branch;   /* "" or NULL: wherever Wise proposes */
    enum wise_ill ill;
    bool fast_delivery;          /* several titles only */
    int64_t cost_max, punches_max; /* hundredths and punches; -1: any */
};

/* ---- a single hold ---- */

struct wise_offer {
    bool hold_possible, ill_allowed;
    bool choose_issue;                          /* an issue would have to be chosen first: how is not public */
    struct wise_branch pickup;                  /* the current one; not among the others */
    struct wise_branches others;
    struct wise_costs costs;
    char hold_parameters[WISE_PARAMETERS_SIZE]; /* opaque: goes back byte for byte */
    int64_t queue_position;                     /* 0: none is said */
};

/* branch: the patron's home branch, or the one wanted after AGAIN "other_branch". DONE "prepared". */
void wise_prepare_request(struct http_request *req, const struct wise_session *s, const char *patron_system_id,
                          const char *library_id, const char *title, const char *branch);
struct answer wise_prepare_answer(const struct http_response *res, struct wise_spelling *spelling, struct wise_offer *ret);

/*
 * What follows from an offer, asked for with `asked_branch`:
 *   DONE "hold", DONE "ill"          place it so; a hold where both can be had and ILL is only agreed to if needed
 *   AGAIN "other_branch"             prepare again with terms->pickup_branch: another branch has other hold parameters
 *   REJECTED "branch_not_offered", "not_possible", "choose_issue", "too_dear", "cost_unknown", "ill_unclear" (hold parameters
 *   that begin with none of B, N and I: how to make an ILL of them nobody says)
 */
struct answer wise_offer_decide(const struct wise_offer *offer, const struct wise_terms *terms, const char *asked_branch);

struct wise_order {
    const char *title;
    const char *hold_parameters; /* of the offer */
    bool ill;                    /* sends them with I in first place */
    const char *pickup_branch;   /* the offer's */
    const char *due;             /* after this date Wise cancels it unfilled; "" or NULL: as the library has configured */
};

struct wise_placed {
    char id[WISE_ID_SIZE], number[WISE_ID_SIZE], group_id[WISE_ID_SIZE]; /* "" where the answer does not say */
};

/* DONE "placed": a 2xx with a JSON object; that it holds an id is not said, so the list has it. */
void wise_place_request(struct http_request *req, const struct wise_session *s, const char *patron_system_id,
                        const char *library_id, const struct wise_order *order);
struct answer wise_place_answer(const struct http_response *res, struct wise_spelling *spelling, struct wise_placed *ret);

/* ---- several titles at once ---- */

enum wise_together {
    WISE_ONE, /* a group: once one title has an item, Wise cancels the others */
    WISE_ALL, /* holds of their own */
};

struct wise_option {
    char title[WISE_ID_SIZE], issue[WISE_ID_SIZE];
    bool hold_allowed, fast_allowed, ill_allowed;
    int64_t queue_position;
};

struct wise_options {
    size_t count;
    struct wise_option titles[WISE_TITLES_MAX]; /* as answered: look up by title; more than fit are left out */
    char pickup_branch[WISE_ID_SIZE];
    struct wise_branches others;
    struct wise_costs costs;
    char strategy[17];                          /* "BRANCH" */
};

/* titles[0 .. count), at most WISE_TITLES_MAX. A PUT that changes nothing. DONE "prepared". */
void wise_options_request(struct http_request *req, const struct wise_session *s, const char *patron_system_id,
                          const char *const *titles, size_t count, enum wise_together together, const char *branch);
struct answer wise_options_answer(const struct http_response *res, struct wise_spelling *spelling, struct wise_options *ret);

/*
 * What follows from it. DONE "holds": place those with ret_place[i]: all of them, but of WISE_ONE those that are possible. A
 * title is possible if holdAllowed, or by ILL if the terms say so and illAllowed. REJECTED "not_possible", "too_dear",
 * "cost_unknown", "branch_not_offered", "fast_not_possible" (fast delivery agreed to, and a title to place has none). The costs
 * are said once: for WISE_ALL they may be each title's, so that at most so many times as much is reckoned with.
 */
struct answer wise_options_decide(const struct wise_options *options, const struct wise_terms *terms,
                                  const char *const *titles, size_t count, enum wise_together together, bool ret_place[]);

struct wise_group {
    const char *const *titles;
    size_t count;
    enum wise_together together;
    bool fast_delivery;        /* sent as "true" or "false", strings, as the document prints them */
    const char *pickup_branch;
    const char *due, *strategy; /* "" or NULL: left out, whose default nobody says */
};

/*
 * DONE "placed" when every title is answered as allowed; ret: the group's id, where there is one. No hold ids come back: the
 * list has them. A title missing or not allowed: UNKNOWN "some_missing".
 */
void wise_place_several_request(struct http_request *req, const struct wise_session *s, const char *patron_system_id,
                                const struct wise_group *group);
struct answer wise_place_several_answer(const struct http_response *res, struct wise_spelling *spelling,
                                        const struct wise_group *group, struct wise_placed *ret);

/* ---- the hold list ---- */

enum wise_status {
    WISE_STATUS_UNKNOWN, WISE_ACTIVE, WISE_MESSAGE_SENT, WISE_RECEIVED, WISE_RETURNED_TO_BRANCH, WISE_IN_TRANSPORT, WISE_LOANED,
    WISE_CLOSED,
};

const char *wise_status_name(enum wise_status status); /* "ACTIVE", … */

struct wise_hold {
    char id[WISE_ID_SIZE];        /* what cancels it */
    char number[WISE_ID_SIZE];    /* holdNumber, what people know it by */
    char group_id[WISE_ID_SIZE];  /* "" when it is in no group */
    char title_id[WISE_ID_SIZE];  /* bibliographicRecordId */
    char title[129], author[129]; /* cut where they are too long */
    enum wise_status status;
    bool cancel_allowed, update_allowed, awaiting_pickup;
    char pickup_branch[WISE_ID_SIZE], pickup_name[65];
    char placed[WISE_DATE_SIZE], due[WISE_DATE_SIZE], pickup_until[WISE_DATE_SIZE]; /* "" when not said or not a date */
    int64_t queue_position;
};

struct wise_holds {
    size_t count;
    bool complete;    /* every hold of the patron is here: only then does one that is missing not exist */
    int64_t total;    /* as the first page says; -1: it does not */
    int64_t next;     /* the offset to ask for */
    struct wise_hold at[WISE_HOLDS_MAX];
};

/*
 * A patron's active holds. Begin with a zeroed struct wise_holds (some 140 kB); each answer appends its page.
 * AGAIN "next_page": ask again, from holds->next. DONE "listed": that was all; `complete` says whether nothing is missing (more
 * than WISE_HOLDS_MAX, a total that changed between pages, a server that does not page). The parameters offset and limit are
 * a guess from another call's.
 */
void wise_list_request(struct http_request *req, const struct wise_session *s, const char *patron_system_id,
                       const char *library_id, int64_t offset);
struct answer wise_list_answer(const struct http_response *res, struct wise_spelling *spelling, struct wise_holds *holds);

/* The hold with this id or holdNumber ("" or NULL: not asked for), or NULL. */
const struct wise_hold *wise_hold_find(const struct wise_holds *holds, const char *id, const char *number);

/* A placing whose outcome nobody knows. For a single hold: one title, WISE_ALL. */
struct wise_placing {
    const char *const *titles;
    size_t count;
    enum wise_together together;
    const char *group_id; /* where an answer said it; "" or NULL otherwise */
    const char *since;    /* the day it was asked for, by the earlier of the library's and UTC's calendar */
};

/*
 * What became of it, by title, group and placed date. What was placed on an earlier day is another request's; what the patron
 * placed by other means on the same day cannot be told from ours.
 *   DONE "placed"           each title has its hold; of WISE_ONE at least one, as Wise cancels the others
 *   DONE "maybe_twice"      and one has two, or there are two groups: for a person to look at
 *   AGAIN "not_placed"      none is there: it may be sent again, once its call can no longer arrive
 *   AGAIN "some_missing"    of WISE_ALL: send those again that were not found
 *   UNKNOWN "incomplete"    not found, but the list was not complete: read it again
 *   UNKNOWN "undated"       a hold for one of the titles does not say when it was placed
 * ret_at[i]: the position of titles[i]'s hold in the list, the latest where there are two, SIZE_MAX when there is none.
 */
struct answer wise_became_placed(const struct wise_holds *holds, const struct wise_placing *placing, size_t ret_at[]);

/* ---- cancel ---- */

/*
 * hold_id: struct wise_hold's id, not its number. DONE "cancelled": a 2xx with no body or some JSON. Not in the document; a
 * second one is taken to be harmless. 404, Wise's own, or in every spelling: UNKNOWN "not_found", as the list tells.
 */
void wise_cancel_request(struct http_request *req, const struct wise_session *s, const char *patron_system_id,
                         const char *library_id, const char *hold_id);
struct answer wise_cancel_answer(const struct http_response *res, struct wise_spelling *spelling);

/*
 * What became of a cancelling, by id or holdNumber:
 *   DONE "cancelled"        it is in the list no more (or as CLOSED); an item lent meanwhile looks the same
 *   AGAIN "not_cancelled"   it is: send it again
 *   REJECTED "not_allowed"  it is, and Wise does not let it be cancelled
 *   UNKNOWN "incomplete"    not found, but the list was not complete
 */
struct answer wise_became_cancelled(const struct wise_holds *holds, const char *id, const char *number);

#endif

/*
 * oneclick_request.h - what a patron asks of OneClick, and what the caller hears of it.
 *
 * Pure: reads the JSON of a row of `requests` and writes more of it; sends nothing.
 *
 * asked      schemas/request.oneclick.schema.json; read again here, because a row may be older than the schema.
 * Ownership  what is read is borrowed from the JSON it was read from; texts are appended to.
 * Dates      "expiration" is OneClick's own day, "ends_at" the instant it means (oneclick_patron.h, Days).
 *
 * A loan, as outcomes have it. Of one that was made just now only the first line, for OneClick does not say more:
 *   {"isbn","transaction_id","expiration":"2016-10-14","ends_at":"2016-10-14T04:00:00Z","computed":true,
 *    "title","authors","narrators","publisher","media_type","can_renew","minutes","positions":[…],"files":[…]}
 *   computed: the day was reckoned from the days asked for, as a checkout does not say it. false: it is OneClick's
 *   positions: bookmarks of an eAudio, where playing stopped; what an element holds is not public: numbers and texts are kept
 *   a file: {"id","name","display","format","minutes","size"}
 * A hold: {"isbn","transaction_id","title","authors","publisher","media_type"}. There is no place in a queue.
 * What OneClick does not say is left out.
 */
#ifndef SHELFWIRE_ONECLICK_REQUEST_H
#define SHELFWIRE_ONECLICK_REQUEST_H

#include "common/request.h"
#include "common/vendors/oneclick_patron.h"

/* ---- what is asked ---- */

enum { ONECLICK_DAYS_MOST = 365, ONECLICK_PAGE_MOST = 100, ONECLICK_PAGE_USUAL = 20 };

enum oneclick_action {
    ONECLICK_CHECKOUT,
    ONECLICK_RENEW,
    ONECLICK_RETURN,
    ONECLICK_LOANS,
    ONECLICK_HOLD,
    ONECLICK_CANCEL_HOLD,
    ONECLICK_HOLDS,
    ONECLICK_SEARCH,
    ONECLICK_MAGAZINE_CHECKOUT,
    ONECLICK_MAGAZINE_RETURN,
    ONECLICK_MAGAZINE_HISTORY,
    ONECLICK_DOWNLOAD,
};

/* Texts are "" and numbers 0 where they are not asked for. */
struct oneclick_asked {
    enum oneclick_action action;
    char isbn[VALUES_ISBN_SIZE];
    int days;
    bool create; /* a patron whom OneClick does not know is made one */
    const char *email, *first_name, *last_name; /* of such a patron */
    const char *issue, *file;
    struct oneclick_query query;
};

/* REJECT names the member and what is wanted of it: "days: want 1 to 365". */
struct fault oneclick_asked_read(const struct request *request, struct oneclick_asked *ret);

/* ---- what the caller hears: one JSON object each ---- */

void oneclick_put_borrowed(struct text *to, const char *isbn, const struct oneclick_receipt *receipt, int64_t now, int days);
void oneclick_put_loan(struct text *to, const struct oneclick_row *loan); /* {"loan":…} */
void oneclick_put_hold(struct text *to, const struct oneclick_row *hold); /* {"hold":…} */
void oneclick_put_loans(struct text *to, json_object *rows);  /* {"loans":[…]} */
void oneclick_put_holds(struct text *to, json_object *rows);  /* {"holds":[…]} */
void oneclick_put_files(struct text *to, const struct oneclick_row *loan); /* {"files":[…]} */

/* {"issues":[{"issue","magazine","title","publisher","borrowed","published"}]}; days as OneClick writes them */
void oneclick_put_issues(struct text *to, json_object *rows);

/*
 * {"page":0,"pages":1,"page_size":20,"total":5,"items":[…],"facets":[{"facet","value","count","selected"}]}; an item: {"isbn",
 * "title","authors":[…],"series","publisher","genres":[…],"media_type","audience","language","released","description","owned"}.
 * Facets without a title are left out.
 */
void oneclick_put_result(struct text *to, const struct oneclick_result *result);

/* until: an instant. {"isbn","file","type","url","until"} */
void oneclick_put_access(struct text *to, const char *isbn, const char *file, const struct oneclick_access *access,
                         int64_t until);

#endif

/*
 * folio_request.h - what a patron asks of FOLIO, what folio-requests learns on the way, and what the caller hears.
 *
 * Pure: reads the JSON of a row of `requests` and writes more of it; sends nothing.
 *
 * asked     schemas/request.folio.schema.json; read again here, because a row may be older than the schema.
 * known     each member written as a whole:
 *   before    what was read before the first changing call. A renewal: {"at","due"}, the loan's due date, null where FOLIO does
 *             not say. A hold: {"at","complete","holds"}, the ids of the holds the patron had on it; complete: all of them. A
 *             cancelling: {"at","hold"}, the hold as in an outcome.
 *   again     how often a call was sent again whose outcome nobody knew
 *   told      FOLIO's answer to a call that was sent again, before the account is looked at: {"code","words","hold"}
 * Instants  whole seconds; in `known` as numbers, in outcomes as "2026-10-12T14:00:00Z". What FOLIO does not say is null.
 * Money     {"amount":"12.50","currency":"USD"}, the digits as FOLIO wrote them.
 * Ownership what is read is borrowed from the JSON it was read from; texts are appended to.
 */
#ifndef SHELFWIRE_FOLIO_REQUEST_H
#define SHELFWIRE_FOLIO_REQUEST_H

#include "common/request.h"
#include "common/vendors/folio.h"

/* ---- what is asked ---- */

enum folio_action { FOLIO_ACCOUNT, FOLIO_RENEW, FOLIO_HOLD_ITEM, FOLIO_HOLD_INSTANCE, FOLIO_CANCEL_HOLD };

/* Texts are "" where they are not asked for. */
struct folio_asked {
    enum folio_action action;
    unsigned lists; /* an account's: FOLIO_LOANS, … */
    const char *item, *instance, *pickup, *hold;
    int64_t expires; /* 0: never */
};

/* REJECT names the member and what is wanted of it. edge: the patron is an externalSystemId, otherwise FOLIO's own id. */
struct fault folio_asked_read(const struct request *request, bool edge, struct folio_asked *ret);

/* ---- what is known ---- */

enum { FOLIO_FRESH_SECONDS = 900 }; /* so long what was read before a changing call is believed */

struct folio_known {
    bool begun;      /* there is a `before` */
    int64_t at, due; /* due 0: not known */
    bool complete;
    json_object *holds, *hold;
    int64_t again;
    json_object *told; /* NULL: nothing */
    const char *told_code, *told_words;
};

void folio_known_read(json_object *known, struct folio_known *ret);

/* {"before":…}. loan NULL: there is none. */
void folio_learn_due(struct text *to, int64_t at, const struct folio_loan *loan);
void folio_learn_holds(struct text *to, int64_t at, const struct folio_account *account, const struct folio_door *door,
                       const struct folio_wish *wish);
void folio_learn_hold(struct text *to, int64_t at, const struct folio_hold *hold);

void folio_learn_again(struct text *to, const struct folio_known *known); /* {"again":…}, one more */
void folio_learn_told(struct text *to, const char *code, const char *words, const struct folio_hold *hold); /* hold may be NULL */

/*
 * Takes the holds away that were there before. Where all of them were known, no date is needed to tell what is ours:
 * false is returned, and the wish's date is not to be asked for. True: it is.
 */
bool folio_only_new(struct folio_account *account, const struct folio_known *known);

/* ---- what the caller hears ---- */

/*
 * {"loans":[…],"holds":null,"charges":null,"total_loans":2,"total_holds":1,"total_charges":0,"owed":{…},"complete":true}: a list
 * that was not asked for is null; complete: FOLIO has shown all of those that were.
 *   loan    {"loan","item","instance","title","author","loaned","due","overdue":false}
 *   hold    {"hold","item","instance","title","author","status":"Open - Not yet filled","state":"waiting","position":1,
 *            "pickup","requested","expires"}; state: waiting, moving, ready, closed, other
 *   charge  {"charge","item","instance","title","author","money":{…},"state","reason","accrued"}
 */
void folio_put_account(struct text *to, const struct folio_account *account, unsigned lists);

/* {"loan":{…},"due_before":…}. */
void folio_put_renewed(struct text *to, const struct folio_loan *loan, int64_t due_before);

/*
 * {"hold":{…},"twice":[]}: the hold FOLIO told of (told NULL: the first of the account's that is wished), and in `twice` the
 * other ones the account has. How many those are is returned.
 */
size_t folio_put_held(struct text *to, json_object *told, const struct folio_account *account, const struct folio_door *door,
                      const struct folio_wish *wish);
void folio_put_hold_answered(struct text *to, const struct folio_hold *hold); /* the same, as FOLIO answered it */

/* {"hold":{…}}: as it was. */
void folio_put_cancelled(struct text *to, json_object *hold);

#endif

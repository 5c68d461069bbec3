/*
 * wise_request.h - what a patron asks of Wise, what its two stages tell one another about it, and what the caller hears.
 *
 * Pure: reads the JSON of a row of `requests` and writes more of it; sends nothing.
 *
 * asked     schemas/request.wise.schema.json; read again here, because a row may be older than the schema.
 * known     what the stages have learned, each member written by one of them as a whole:
 *   prepared    by wise-holds-prepare: {"at","offer"} and, of one title, {"ill","parameters"}, of several {"titles","strategy"}
 *   placing     by wise-holds-place before it places: {"at","since","complete","before","left","again"}: which holds the patron
 *               had on these titles, so that what is there afterwards is known to be ours; `again`: how often a placing was
 *               sent whose outcome nobody knew, `left`: the titles still to be placed then
 *   placed      Wise has answered it: {"whole","group","code"} and, where it refused, {"refused"}
 *   cancelling  the hold that is to be cancelled: {"id","number","title"}
 * Ownership  what is read is borrowed from the JSON it was read from; texts are appended to.
 * Money      in outcomes as "2.50", without a currency, rounded up; null where Wise does not say.
 */
#ifndef SHELFWIRE_WISE_REQUEST_H
#define SHELFWIRE_WISE_REQUEST_H

#include "common/request.h"
#include "common/vendors/wise.h"

/* ---- what is asked ---- */

enum { WISE_COST_MOST = 1000000 }; /* hundredths */

enum wise_action { WISE_HOLD, WISE_HOLDS, WISE_LIST, WISE_CANCEL_HOLD };

struct wise_titles {
    size_t count;
    const char *at[WISE_TITLES_MAX];
};

/* Texts are "" where they are not asked for. A single hold: one title, WISE_ALL. */
struct wise_asked {
    enum wise_action action;
    const char *library, *branch, *due, *hold;
    struct wise_titles titles;
    enum wise_together together;
    struct wise_terms terms; /* pickup_branch, ill, fast_delivery, cost_max */
};

/* REJECT names the member and what is wanted of it. */
struct fault wise_asked_read(const struct request *request, struct wise_asked *ret);

/* ---- may it be placed ---- */

/*
 * wise_offer_decide, wise_options_decide, and whether a REJECTED is one that the patron may answer (*ret_asks): it can be had,
 * but dearer ("too_dear", "cost_unknown"), elsewhere ("branch_not_offered"), slower ("fast_not_possible"), only from another
 * library ("only_ill") or only as a hold ("only_hold") than was asked.
 */
struct answer wise_judge_offer(const struct wise_offer *offer, const struct wise_asked *asked, const char *asked_branch,
                               bool *ret_asks);
struct answer wise_judge_options(const struct wise_options *options, const struct wise_asked *asked, bool ret_place[],
                                 bool *ret_asks);

/*
 * What would be possible, as the caller hears it:
 * {"hold":true,"ill":false,"cost":"2.50","punches":0,"queue":1,"pickup":"6490","pickups":[{"branch":"6491","name":"…"}]}, or
 * for several {"titles":[{"title":"4595","hold":true,"ill":false,"fast":false,"queue":1}],"cost",…}.
 * queue is null where it is not said; pickups are the other branches.
 */
void wise_put_offer(struct text *to, const struct wise_offer *offer, const char *asked_branch);
void wise_put_options(struct text *to, const struct wise_options *options);

/* {"prepared":…}; now: an instant. */
void wise_learn_offer(struct text *to, const struct wise_offer *offer, const char *asked_branch, bool ill, int64_t now);
void wise_learn_options(struct text *to, const struct wise_options *options, const struct wise_titles *titles,
                        const bool place[], int64_t now);

/* ---- placing ---- */

enum { WISE_FRESH_SECONDS = 900 }; /* so long what was read before a placing is believed */

struct wise_prepared {
    int64_t at;
    const char *pickup, *parameters, *strategy; /* "" where there is none */
    bool ill;
    struct wise_titles titles; /* those to be placed */
    json_object *offer;
};

/* False: nothing was prepared for this action. */
bool wise_prepared_read(json_object *known, const struct wise_asked *asked, struct wise_prepared *ret);

struct wise_placing_known {
    const char *since;
    bool complete;           /* `before` has every hold the patron had on the titles */
    int64_t again;
    struct wise_titles left; /* to be placed */
};

/* False: there is none. */
bool wise_placing_read(json_object *known, const struct wise_prepared *prepared, struct wise_placing_known *ret);
bool wise_placing_fresh(json_object *known, int64_t now);

/* {"placing":…}: of the patron's holds, those on the titles. offset_seconds: of the library's clock, east of UTC. */
void wise_learn_placing(struct text *to, const struct wise_holds *holds, const struct wise_titles *titles, int64_t now,
                        int offset_seconds);

/* {"placing":…} as it is known, one `again` more, with what is left. */
void wise_learn_again(struct text *to, json_object *known, const struct wise_titles *left);

/*
 * Takes the holds away that were there before the placing. Where all of them were known, no date is needed to tell what is
 * ours: what is left, and says another day or none, counts as placed on the day of the placing.
 */
void wise_only_new(struct wise_holds *holds, json_object *known);

/* ---- what came of it ---- */

/*
 * {"holds":[{"hold":"617985","number":"21061000002","group":"617984","title":"4595","name":"…","author":"…","status":"ACTIVE",
 * "pickup":"6490","pickup_name":"…","placed":"2021-06-10","due":"2022-06-10","pickup_until":null,"queue":1,
 * "cancel_allowed":true}],"complete":true}; what is not said is null.
 */
void wise_put_list(struct text *to, const struct wise_holds *holds);

/*
 * {"holds":[…],"missing":["4595"],"ill":false,"cost":"0.00"}: the holds on the titles placed since (after wise_only_new; of one
 * that is there twice, both), and the titles that have none. ill only of a single hold.
 */
void wise_put_placed(struct text *to, const struct wise_holds *holds, const struct wise_prepared *prepared, const char *since,
                     bool single);

#endif

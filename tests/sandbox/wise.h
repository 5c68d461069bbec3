/*
 * wise.h - what the files of the OCLC Wise vendor share.
 *
 * wise.c          the vendor: settings, keys and log-ins, paths in both spellings, what preparing, placing, listing and
 *                 cancelling answer
 * wise_store.c    titles, patrons and holds, and the test's side of them
 *
 * Units      a day is a number of days since 1970-01-01, of the library's own clock.
 * Ownership  everything belongs to the store; a pointer is good until the next call that adds one of its kind.
 */
#ifndef SANDBOX_WISE_H
#define SANDBOX_WISE_H

#include "exchange.h"

#define WISE_FIRST_HOLD INT64_C(617984)
#define WISE_DAY_SIZE 11

enum wise_status { WISE_ACTIVE, WISE_MESSAGE_SENT, WISE_RECEIVED, WISE_RETURNED_TO_BRANCH, WISE_IN_TRANSPORT, WISE_LOANED,
                   WISE_CLOSED, WISE_STATUSES };

struct wise_title {
    char *id;
    json_object *of;                 /* as posted; NULL: it can be held, and costs nothing */
    int64_t active;                  /* holds that wait for it */
};

struct wise_patron {
    char *id, *library, *username, *password, *branch, *expiry;
    uint32_t last_hold;              /* 1 + position of the newest; 0: none */
};

struct wise_hold {
    int64_t number, group;           /* group: the id of its first hold; 0: none */
    int64_t placed_day, due_day, at_ms;
    uint32_t patron, title;          /* positions */
    uint32_t previous;               /* 1 + position of the same patron's next older one */
    uint32_t call;                   /* holds of one call have the same */
    char branch[16];
    uint8_t status;                  /* enum wise_status */
    bool together;                   /* of a group of which only one is fulfilled */
    bool gone, cancelled;            /* not there any more; because its patron asked for it */
    bool cancel_allowed, ill, fast, loaded, answered, again;
};

struct wise_cancel { int64_t hold, at_ms; bool answered; };

/* ---- wise.c ---- */

int64_t wise_today(void);
const char *wise_library(void);      /* the settings' library and home branch, of who is posted without */
const char *wise_home_branch(void);
bool wise_accepts_titles(void);
bool wise_accepts_patrons(void);

/* ---- wise_store.c ---- */

extern const char *const wise_status_names[WISE_STATUSES];
extern const struct call wise_admin[];

struct wise_title *wise_title_with(struct slice id);         /* NULL: there is none */
struct wise_title *wise_title_at(uint32_t position);
/* A member of what was posted, as text; `usual` when there is none. */
const char *wise_title_text(const struct wise_title *t, const char *name, const char *usual);
bool wise_title_flag(const struct wise_title *t, const char *name, bool usual);

struct wise_patron *wise_patron_with(struct slice id);
struct wise_patron *wise_patron_named(struct slice username);
int64_t wise_patron_number(const struct wise_patron *patron);   /* from 0; it never changes */

/* A hold of that patron, to be filled in; its number and the day are. */
struct wise_hold *wise_hold_add(struct wise_patron *patron, struct wise_title *title);
struct wise_hold *wise_hold_with(struct slice id);           /* also one that is gone */
struct wise_hold *wise_hold_at(uint32_t position_1);         /* NULL for 0 */
int64_t wise_hold_id(const struct wise_hold *h);
struct wise_hold *wise_hold_of(const struct wise_patron *patron, const struct wise_title *title);   /* that is active */
const struct wise_patron *wise_hold_patron(const struct wise_hold *h);
void wise_hold_end(struct wise_hold *h);
/* By the patron. Returns what marks it as answered. */
int64_t wise_hold_cancel(struct wise_hold *h);
uint32_t wise_next_call(void);

void wise_day_print(int64_t day, char buf[WISE_DAY_SIZE]);
bool wise_day_read(struct slice s, int64_t *ret_day);        /* false also for a day that is none, as 2026-02-30 */

void wise_answered(int64_t effect);
void wise_effects(struct exchange *x);
void wise_store_forget(bool data);   /* the holds; with data, all */
void wise_store_count(struct text *out);

#endif

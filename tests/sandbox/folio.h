/*
 * folio.h - what FOLIO has: users, items of instances, loans, holds, charges; and what was done to them.
 *
 * Ids are UUIDs, found in any case; those made here carry their kind in front: 1 a user, 2 an item, 3 an instance, 4 a
 * loan, 5 a hold. Rows lie in arrays and are named by position; NONE is no row. What belongs to a user is a chain.
 * Nothing is ever taken out of an array: a loan ends, a hold is gone.
 */
#ifndef SANDBOX_FOLIO_H
#define SANDBOX_FOLIO_H

#include "exchange.h"

#define UUID_SIZE 37
#define NONE UINT32_MAX

struct folio_user {
    char id[UUID_SIZE];
    char *external_id, *blocked;         /* why circulation refuses this user a hold; NULL: it does not */
    bool inactive;
    uint32_t loans, holds, charges;      /* the newest of each */
};

struct folio_item {
    char id[UUID_SIZE], instance_id[UUID_SIZE];
    char *title, *author;
    bool not_requestable;
};

struct folio_loan {
    char id[UUID_SIZE];
    uint32_t user, item, next;
    int64_t loaned_s, due_s;             /* 0: none */
    int64_t renewals;
    bool ended;
};

struct folio_hold {
    char id[UUID_SIZE], pickup_id[UUID_SIZE];
    uint32_t user, item, next;
    int64_t requested_s, expires_s;      /* 0: none */
    char *status;
    bool by_instance, gone;
};

struct folio_charge { json_object *of; uint32_t user, item, next; };

enum folio_kind { FOLIO_RENEWAL, FOLIO_HOLD, FOLIO_CANCEL, FOLIO_KINDS };

struct folio_effect {
    enum folio_kind kind;
    uint32_t row;                        /* the loan or the hold */
    int64_t at_ms, due_before_s, due_s;
    bool answered;
    bool again;                          /* the loan was renewed before; the user had such a hold open */
    bool foreign;                        /* a hold that is another user's was cancelled */
};

struct folio_data {
    struct folio_user *users;
    struct folio_item *items;
    struct folio_loan *loans;
    struct folio_hold *holds;
    struct folio_charge *charges;
    struct folio_effect *effects;
    size_t user_count, item_count, loan_count, hold_count, charge_count, effect_count;
    uint64_t done[FOLIO_KINDS], again[FOLIO_KINDS], foreign;
};

extern struct folio_data folio_data;

bool uuid_fits(struct slice s);          /* what FOLIO's pattern lets pass: versions 1 to 5 */

/* Position, or NONE. */
uint32_t folio_user_by_id(struct slice id);
uint32_t folio_user_by_external_id(struct slice id);
uint32_t folio_item_by_id(struct slice id);
uint32_t folio_hold_by_id(struct slice id);
uint32_t folio_loan_of_item(uint32_t item);                      /* the one that has not ended */
uint32_t folio_item_of_instance(struct slice id, uint32_t user); /* one this user has no open hold on, if there is any */
bool folio_instance_known(struct slice id);

/* Makes it. An id that is empty is made as well. */
uint32_t folio_user_add(struct slice id, struct slice external_id);
uint32_t folio_item_add(struct slice id, struct slice instance_id);
uint32_t folio_hold_add(struct slice id, uint32_t user, uint32_t item);

bool folio_hold_open(const struct folio_hold *h);
size_t folio_queue_position(const struct folio_hold *h); /* among the open holds on its item, from 1 */

int64_t folio_effect_add(enum folio_kind kind, uint32_t row);    /* what struct exchange calls the effect */
void folio_answered(int64_t effect);

/* Seconds since 1970 of a date with or without a fraction; false when it is none. */
bool folio_date_read(struct slice s, int64_t *ret_s);

extern const struct call folio_admin[];
void folio_effects(struct exchange *x);
void folio_forget(void);

#endif

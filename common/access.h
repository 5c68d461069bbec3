/*
 * access.h - one worker's way to its vendor: the token, the quota's slots, the pauses, the vendor's health.
 *
 * It says whether a call may be made now, and why not; it makes the log-ins. What concerns every worker (pauses, slots)
 * is in PostgreSQL's `quotas`; the stage carries the statements, because it owns the connection.
 * Slots are leased a few at a time, the next before the last are used up, and used at their time: one that is more than
 * ACCESS_LATE_US late is dropped.
 * Their time is PostgreSQL's. What it is on our clock is known from when each lease was sent and answered: of the leases of some
 * ten seconds the quickest says it best. A slot is used no earlier than it may be by that, and where even the quickest leaves
 * more than ACCESS_LATE_US of doubt, as many are left out at a lease's end as pass meanwhile: so no second sees more calls than
 * it may, and a slow PostgreSQL makes calls fewer, not none.
 */
#ifndef SHELFWIRE_ACCESS_H
#define SHELFWIRE_ACCESS_H

#include "common/health.h"
#include "common/loop.h"
#include "common/stage.h"

enum { ACCESS_ACCOUNTS_MAX = 16, ACCESS_SLOTS_MAX = 64, ACCESS_LATE_US = 10000 };

struct access_account {
    char hash[17];           /* of the key, as `quotas` knows it */
    int64_t spacing_us;      /* between two calls; 0: not paced */
    int64_t slots[ACCESS_SLOTS_MAX];
    int slot_at, slot_count;
    int lost;                /* slots of the last lease that could not be used: so many more are asked for */
    int waiting;             /* jobs that were refused for want of a slot in this round */
    int64_t lease_at_us;     /* not before */
    bool leasing;
    int64_t paused_until_us;
    char paused_why[120];
    int64_t pause_to_write_us; /* to be told to the others; 0: nothing */
    int64_t calls_left;        /* -1: the vendor has not said */
    bool refused;              /* the key, when it was last used */
    bool paused_for_key;       /* and that is why */
};

/* By how much our clock is ahead of PostgreSQL's, at least and at most. */
struct access_clock {
    int64_t since_us, least_us, most_us;
};

struct access {
    const struct vendor *vendor;
    struct loop *loop;
    struct http *http;
    struct health health;
    void (*changed)(void *of); /* something that was waited for may have come */
    void *of;

    int account_count;
    struct access_account accounts[ACCESS_ACCOUNTS_MAX];
    struct access_clock clocks[2]; /* of these ten seconds, and of those before */
    int64_t day_pause_us;          /* without a call, when the day's are used up */

    char token[2049];
    uint32_t token_serial;  /* of the token in hand; 0: none */
    uint32_t next_serial;
    bool token_proven;      /* an answer other than 401 came with it */
    int64_t token_ends_us;  /* from then on it is not used; 0: nobody knows */
    bool logging_in;
    int64_t login_at_us;    /* not before */
    int64_t login_pause_us;
    char login_trouble[200];
    bool login_refused;     /* the user or the password, at the last log-in */
    struct http_request login;
    int timeout_ms;
    struct loop_timer timer;
};

struct fault access_open(struct access *a, const struct vendor *vendor, struct loop *loop, struct http *http,
                         int concurrency, bool blind, void (*changed)(void *of), void *of);
void access_close(struct access *a);

/* Starts the log-in, or the harmless call after sickness, when one is due. Call at every turn. */
void access_serve(struct access *a);

/* How many calls may be under way now; 0 while nothing may be sent at all. */
int access_limit(const struct access *a);

/* Before the jobs that are ready ask, one after the other: those who must wait are counted anew. */
void access_round(struct access *a);

/* May a call on this account be made now? On true its slot is used. */
bool access_take(struct access *a, int account);

/* What came of a call, key: its message's; blamed_before: it failed while others went well. */
void access_answered(struct access *a, int account, uint32_t key, bool blamed_before, uint32_t token_serial, const struct answer *answer,
                     const struct http_response *res);

/* The account that wants a lease now, or -1; its parameters. Then tell what the statement said, and at what time of PostgreSQL's. */
int access_wants_lease(struct access *a, int64_t *ret_spacing_us, int *ret_slots);
void access_leased(struct access *a, int account, int64_t sent_us, int64_t said_us, int64_t first_in_us, int given,
                   int64_t paused_us, const char *why);
void access_lease_failed(struct access *a, int account);

/* A pause another worker wrote. */
void access_paused(struct access *a, const char *hash, int64_t paused_us, const char *why);

/* Keys, passwords were read again: what was refused is tried at once, a key that is another one has nothing behind it. */
void access_renewed(struct access *a);

/* For how long no account may be called yet; 0: one may. */
int64_t access_paused_us(const struct access *a);

/* The vendor refuses a key, a user or a password of ours, as far as its last answers say. */
bool access_refused(const struct access *a);

/* Why nothing is sent, in words; "" when something is. */
void access_trouble(const struct access *a, struct text *to);

#endif

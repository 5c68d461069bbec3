/*
 * health.h - what the answers so far say about a vendor: how many calls it may get now, and whether a message that
 * keeps failing is itself to blame. Pure: times are given, nothing is read or slept.
 *
 * A vendor is taken for sick when several keys in a row failed, nothing went well in between (or at once, when no
 * connection could be made, or when a call's outcome is unknown and cannot be asked about). Sick: no calls; after a
 * pause that doubles, one try (a harmless one where the stage's own call may not be repeated); then one at a time,
 * two, four, … as long as it goes well. What was under way when it fell sick ends without being news about it.
 * Where a share of all messages fails whatever the vendor's health, chance brings such rows about: so a row counts only when it
 * is longer than chance would make one in a million, by the share of the last calls. Three keys where all has gone well so far,
 * twenty where every other call fails; and as many more tries fail before a pause is made longer.
 * A message that failed while others went well says nothing of the vendor when it fails again: so what is left when all
 * else is done may be nothing but such messages, and the next one that comes is called for at once.
 * A failed try counts against a message only when the same call was answered for HEALTH_OTHERS other keys since the
 * message's last try: so an outage never counts, however long it lasts.
 */
#ifndef SHELFWIRE_HEALTH_H
#define SHELFWIRE_HEALTH_H

#include <stdbool.h>
#include <stdint.h>

enum { HEALTH_ROW_MIN = 3, HEALTH_ROW_MAX = 24, HEALTH_OTHERS = 3, HEALTH_MEMORY = 16 };

struct health {
    int most;               /* calls at a time when all is well */
    int limit;              /* calls at a time now; 0: sick */
    bool harmless_first;    /* the first try after sickness is a harmless call */
    bool trying;            /* the try after the pause is under way */
    int64_t min_pause_us, max_pause_us, pause_us;
    int64_t try_at_us;      /* when sick: when to try again */
    uint32_t failed[HEALTH_ROW_MAX]; /* the keys of the row */
    int failed_count;
    int run;                /* calls that failed since one went well */
    double share;           /* of the calls before those: how many failed */
    uint64_t answers;       /* good answers so far */
    struct { uint32_t key; uint64_t at; } answered[HEALTH_MEMORY]; /* the last different keys, newest first */
    uint32_t random;
};

void health_begin(struct health *h, int most, bool harmless_first, int64_t min_pause_us, int64_t max_pause_us,
                  uint32_t seed);

/* A usable answer came (also "no": the vendor works). */
void health_answered(struct health *h, uint32_t key, int64_t now_us);

/* What a failure says: nothing, unless the vendor is sick and this was the try; something, in company; or all there is to know. */
enum health_weight { HEALTH_BLAMED_BEFORE, HEALTH_IN_COMPANY, HEALTH_AT_ONCE };

/*
 * A call failed for a reason that may lie with the vendor. wait_us: how long the vendor asked to wait, or -1. Returns true
 * when the vendor has just been taken for sick.
 */
bool health_failed(struct health *h, uint32_t key, enum health_weight weight, int64_t now_us, int64_t wait_us);

/* How many calls may be under way now. A harmless first try is not one of them: see health_wants_try. */
int health_limit(const struct health *h, int64_t now_us);

/* True when a harmless call should be made now; the caller makes it and reports with health_tried. */
bool health_wants_try(const struct health *h, int64_t now_us);
void health_trying(struct health *h);
void health_tried(struct health *h, bool well, int64_t now_us);

bool health_sick(const struct health *h);

/* Sick, or on the way up: who has not failed yet goes first, for he is the one to tell whether the vendor is well. */
bool health_recovering(const struct health *h);

/* Remembers "now" for a message, at a failed try; and later: did enough others go well since? */
uint64_t health_mark(const struct health *h);
bool health_blames(const struct health *h, uint64_t mark, uint32_t key);

/* A pause of min·2^tries, at most max, give or take a quarter. */
int64_t health_backoff_us(struct health *h, int tries, int64_t min_us, int64_t max_us);

#endif

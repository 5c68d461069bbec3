/*
 * picture.h - what is known of the whole at a moment, and what follows from it: how fast a stage is, when it will be done, what
 * holds it back and whether more workers would help. Plain data and pure functions; collect.h fills it in.
 *
 * Units   times end in _s or _ms, rates are messages a second. -1: not known.
 */
#ifndef SHELFWIRE_MONITOR_PICTURE_H
#define SHELFWIRE_MONITOR_PICTURE_H

#include "ops/monitor/chains.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    PARTITIONS_MAX = 1000,
    INSTANCES_MAX = 64, /* programs that answer */
    ANSWERS_MAX = 96,
    COUNTED_MAX = 64,
    RATE_SAMPLES = 64,
    DAY_POINTS = 288, /* of five minutes */
    DRAIN_WITHIN_S = 600, /* what a backlog is measured by: so long is a patient person's wait */
};

/* How far a stage was, at a moment. Offsets are sums over the partitions. */
struct sample {
    int64_t at_ms, read, end;
};

/* The last of a stage, newest last. */
struct rates {
    struct sample at[RATE_SAMPLES];
    int count;
};

void rates_add(struct rates *r, struct sample s);
/* In and out over the last `window_s` or what there is of it, at least two samples; false: not known. A topic made anew begins again. */
bool rates_of(const struct rates *r, int window_s, double *ret_in, double *ret_out);

/* One program that answered, and what it said. */
struct instance {
    char program[32];
    char address[64];
    bool ready, paused;
    char waits_for[200]; /* /readyz's words, "" when it is well */
    char refused_by[24]; /* the vendor that does not believe who we are; "" when none does */
    double in_hand, in_flight, parked, oldest_s, pause_s, calls_left, last_poll_at;
};

/* A vendor's answers of one kind in the last hour. */
struct answers {
    char vendor[24], call[32], code[40];
    double total;    /* as all programs together count it; -1: nobody has yet */
    double heard;    /* of it, while they are asked */
    double hour[60]; /* how many came in each minute */
    int minute;      /* which of them is now */
};

struct stage_picture {
    bool exists; /* its topic does */
    int partitions;
    int64_t read[PARTITIONS_MAX], end[PARTITIONS_MAX], begin[PARTITIONS_MAX];
    int32_t leader[PARTITIONS_MAX]; /* a broker's id; -1: there is none */
    int16_t replicas[PARTITIONS_MAX], in_sync[PARTITIONS_MAX];
    int64_t lag;
    int64_t seen_ms; /* when; 0: never */
    int64_t oldest_ms; /* when the oldest unfinished message was written; 0: there is none; -1: not known */
    int workers;
    char waits_for[200]; /* what a worker waits for */
    bool held;           /* it is the vendor, its quota or a person that holds it back, not a lack of workers */
    double in_flight, in_hand;
    struct rates rates;
    int32_t day[DAY_POINTS]; /* the most lag in each five minutes, oldest first; -1: nobody looked */
    int64_t dead; /* dead letters that are open */
};

/* What PostgreSQL knows, looked at each minute. -1: not known. */
struct facts {
    bool paused[STAGES_MAX];     /* by a person, now or within the last minutes */
    bool stuck[STAGES_MAX];      /* for ten minutes nothing was finished, and something waited all the time */
    double soonest_visit_s;      /* until the soonest visit whose window nobody has answered; 0: it has begun; -1: there is none */
    int64_t unknown;             /* open rows of the desk whose outcome is unknown */
    bool restored;               /* noticed, and nobody has said so */
    int64_t bookings, bookings_usual; /* messages to bookings.new since midnight UTC, and the least of the same time of the last three weeks */
};

#define FACTS_UNKNOWN {.soonest_visit_s = -1, .bookings = -1, .bookings_usual = -1}

/* So many of a thing: open dead letters by topic and reason, open rows of the desk by kind. */
struct counted {
    char name[80], word[64];
    int64_t n;
};

struct picture {
    int64_t at_ms;
    struct facts facts;
    struct counted dead[COUNTED_MAX], desk[COUNTED_MAX];
    int dead_count, desk_count;
    struct stage_picture stages[STAGES_MAX];
    struct instance instances[INSTANCES_MAX];
    int instance_count;
    struct answers answers[ANSWERS_MAX];
    int answer_count;
    int brokers; /* that Kafka counts */
    char missing[200]; /* of MONITOR_PROGRAMS, those where nobody answers: "host:port, host:port" */
    char kafka_trouble[200], database_trouble[200]; /* "" when all is well */
};

enum advice_kind {
    ADVICE_NOTHING,     /* nothing waits */
    ADVICE_KEEPS_UP,    /* what waits is done soon */
    ADVICE_NO_WORKER,   /* start one */
    ADVICE_HELD,        /* workers would not help: see waits_for */
    ADVICE_MORE,        /* so many more would */
    ADVICE_ALL_SHARED,  /* each partition has a worker already: no more can share the work */
    ADVICE_NOT_KNOWN,   /* nothing was measured yet */
};

struct advice {
    enum advice_kind kind;
    double in, out;   /* rates; -1 */
    double drain_s;   /* until nothing waits, as it goes now; -1: never, or not known */
    int more;         /* with ADVICE_MORE */
};

/* What to do about a stage, from its rates of the last minutes. */
struct advice picture_advice(const struct stage_picture *s);

/* The same in a sentence. */
void advice_say(const struct advice *a, const struct stage_picture *s, char *ret, size_t size);

/* "45 s", "12 min", "3 h", "2 days"; "" for -1. */
void say_seconds(double seconds, char ret[24]);

#endif

/*
 * chains.h - what flows where: the producers, topics and stages of Shelfwire, in the order of the data.
 *
 * A stage's consumer group is its program's name; what it cannot process is in its topic's `.dlq`. Names are without prefix.
 */
#ifndef SHELFWIRE_MONITOR_CHAINS_H
#define SHELFWIRE_MONITOR_CHAINS_H

enum { STAGES_MAX = 8, CHAIN_STAGES_MAX = 4 };

struct chain_stage {
    const char *program, *topic;
    const char *vendor; /* as its metrics call it, and as a person does; NULL: it calls none */
    const char *vendor_words;
};

struct chain {
    const char *title;
    const char *producers[3]; /* NULL-terminated */
    const struct chain_stage *stages[CHAIN_STAGES_MAX]; /* NULL-terminated */
};

extern const struct chain_stage chain_stages[STAGES_MAX];
extern const struct chain chains[];
extern const int chain_count;

/* Its place in chain_stages, or -1. */
int chain_stage_of(const char *program);

#endif

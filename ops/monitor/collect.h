/*
 * collect.h - looks at everything, all the time, on a thread of its own, so that no page waits for it: Kafka's offsets, the programs,
 * the dead letters; and writes the history and the alerts.
 *
 * Each second one stage is asked about (offsets.h), every five all programs, every minute a row a stage is written. Where PostgreSQL or
 * Kafka is away, the picture says so, and the rest goes on.
 *
 * Secrets whose files change are read again there, under the picture's lock: who uses one on the page's thread holds the picture.
 */
#ifndef SHELFWIRE_MONITOR_COLLECT_H
#define SHELFWIRE_MONITOR_COLLECT_H

#include "common/settings.h"
#include "ops/monitor/picture.h"

extern const struct setting collect_settings[];

/* Begins; the thread ends with collect_stop. */
struct fault collect_start(void);
void collect_stop(void);

/* A signal came to it, and not to the page's loop: the program is to stop. */
bool collect_stopping(void);

/* The picture, held still until collect_done: to be read at once. */
const struct picture *collect_look(void);
void collect_done(void);

/* Looks once at Kafka and the programs and returns the picture, without PostgreSQL, for the command line. The picture is static. */
struct fault collect_once(const struct picture **ret);

#endif

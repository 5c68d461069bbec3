/*
 * metrics.h - counters, gauges and histograms, written out in Prometheus' text format.
 *
 * A metric is made once, at start, and lives as long as the program. Names are base units (_seconds, _total). Labels
 * are a fixed text as `verdict="done"`; no person, booking or key is ever one. One thread.
 */
#ifndef SHELFWIRE_METRICS_H
#define SHELFWIRE_METRICS_H

#include "common/text.h"

enum metric_kind { METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM };

struct metric {
    double value;        /* counter, gauge; a histogram's sum */
    uint64_t buckets[16];
    uint64_t count;
};

/* `name` and `help` are static. Asked for again with the same name and labels, it is the same metric. */
struct metric *metric_make(enum metric_kind kind, const char *name, const char *help, const char *labels_format, ...)
    __attribute__((format(printf, 4, 5)));

/* Takes a series out of what is written (a partition that went away); making it again brings it back. */
void metric_hide(struct metric *m);

static inline void metric_add(struct metric *m, double n) { m->value += n; }
static inline void metric_set(struct metric *m, double n) { m->value = n; }
void metric_observe(struct metric *m, double seconds);

void metrics_write(struct text *to);

#endif

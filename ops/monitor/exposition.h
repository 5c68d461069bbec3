/*
 * exposition.h - reads what a program of ours serves under /metrics: Prometheus' text format, as common/metrics.c writes it.
 *
 * Pure. A line that is none of a series (a comment, a blank, anything odd) is passed over; a value that is no number is one.
 */
#ifndef SHELFWIRE_MONITOR_EXPOSITION_H
#define SHELFWIRE_MONITOR_EXPOSITION_H

#include <stdbool.h>
#include <stddef.h>

enum { EXPOSITION_NAME_SIZE = 96, EXPOSITION_LABELS_SIZE = 512 };

struct exposition {
    const char *at, *end; /* what is left */
};

struct series {
    char name[EXPOSITION_NAME_SIZE];
    char labels[EXPOSITION_LABELS_SIZE]; /* as written, without the braces */
    double value;
};

struct exposition exposition_of(const char *bytes, size_t len);

/* The next series; false at the end. One whose name or labels are too long is passed over. */
bool exposition_next(struct exposition *from, struct series *ret);

/* The value of a label, cut to size; false: it has none of that name. Escapes (\\ \" \n) are undone. */
bool series_label(const struct series *s, const char *label, char *ret, size_t size);

#endif

#include "common/metrics.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const double bounds[] = {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60};
enum { BOUNDS = sizeof bounds / sizeof bounds[0] };

struct series {
    struct metric metric; /* first: a struct metric * is a struct series * */
    enum metric_kind kind;
    const char *name, *help;
    char labels[200];
    bool hidden;
    struct series *next;
};

static struct series *all, **end = &all;

struct metric *metric_make(enum metric_kind kind, const char *name, const char *help, const char *labels_format, ...)
{
    char labels[sizeof all->labels];
    va_list args;

    va_start(args, labels_format);
    vsnprintf(labels, sizeof labels, labels_format, args);
    va_end(args);
    for (struct series *s = all; s; s = s->next)
        if (!strcmp(s->name, name) && !strcmp(s->labels, labels)) {
            s->hidden = false;
            return &s->metric;
        }
    struct series *s = calloc(1, sizeof *s);
    s->kind = kind;
    s->name = name;
    s->help = help;
    memcpy(s->labels, labels, sizeof labels);
    /* beside its family, which Prometheus wants in one piece */
    struct series **at = end;
    for (struct series **p = &all; *p; p = &(*p)->next)
        if (!strcmp((*p)->name, name) && (!(*p)->next || strcmp((*p)->next->name, name) != 0)) {
            at = &(*p)->next;
            break;
        }
    s->next = *at;
    *at = s;
    if (at == end)
        end = &s->next;
    return &s->metric;
}

void metric_hide(struct metric *m)
{
    ((struct series *)m)->hidden = true;
}

void metric_observe(struct metric *m, double seconds)
{
    int b = 0;

    while (b < BOUNDS && seconds > bounds[b])
        b++;
    m->buckets[b]++;
    m->count++;
    m->value += seconds;
}

static void write_histogram(struct text *to, const struct series *s)
{
    uint64_t below = 0;
    const char *comma = *s->labels ? "," : "";

    for (int b = 0; b <= BOUNDS; b++) {
        char le[16] = "+Inf";
        if (b < BOUNDS)
            snprintf(le, sizeof le, "%g", bounds[b]);
        below += s->metric.buckets[b];
        text_printf(to, "%s_bucket{%s%sle=\"%s\"} %llu\n", s->name, s->labels, comma, le, (unsigned long long)below);
    }
    text_printf(to, "%s_sum{%s} %.9g\n%s_count{%s} %llu\n", s->name, s->labels, s->metric.value, s->name, s->labels,
                (unsigned long long)s->metric.count);
}

static void write_value(struct text *to, const struct series *s)
{
    text_puts(to, s->name);
    if (*s->labels)
        text_printf(to, "{%s}", s->labels);
    if (isinf(s->metric.value))
        text_puts(to, s->metric.value > 0 ? " +Inf\n" : " -Inf\n"); /* the format's own spelling */
    else
        text_printf(to, " %.17g\n", s->metric.value);
}

void metrics_write(struct text *to)
{
    static const char *const types[] = {"counter", "gauge", "histogram"};
    const char *family = "";

    for (const struct series *s = all; s; s = s->next) {
        if (s->hidden)
            continue;
        if (strcmp(family, s->name) != 0)
            text_printf(to, "# HELP %s %s\n# TYPE %s %s\n", s->name, s->help, s->name, types[s->kind]);
        family = s->name;
        if (s->kind == METRIC_HISTOGRAM)
            write_histogram(to, s);
        else
            write_value(to, s);
    }
}

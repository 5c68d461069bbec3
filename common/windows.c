#include "common/windows.h"

#include <stdlib.h>
#include <string.h>

/*
 * Spans in the order of their starts. `reach` is the furthest end so far, so "does anything overlap this" and "how far
 * does this run go" need no list of merged windows, of which every pair of margins would want its own.
 */
struct span {
    int64_t start, reach;
};

struct line {
    struct span *at;
    size_t count;
};

/* The rows and windows of one destination and person. */
struct group {
    struct line live;     /* live rows */
    struct line seen;     /* live or not */
    struct line open;     /* live rows not checked in or out: the only ones that start a window */
    struct line kept;     /* windows that stay */
    struct line doubtful; /* windows that may have to go */
    struct line present;  /* live rows checked in or out */
};

static void line_add(struct line *l, int64_t start, int64_t end)
{
    int64_t reach = l->count ? l->at[l->count - 1].reach : end;

    l->at[l->count++] = (struct span){start, reach > end ? reach : end};
}

/* How many spans start before an instant. */
static size_t line_before(const struct line *l, int64_t instant)
{
    size_t low = 0, high = l->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (l->at[middle].start < instant)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static bool line_overlaps(const struct line *l, int64_t start, int64_t end)
{
    size_t n = line_before(l, end);

    return n && l->at[n - 1].reach > start;
}

/* The last span of the run that span `i` belongs to, once all are widened. */
static size_t line_run(const struct line *l, size_t i, int before_s, int after_s)
{
    while (i + 1 < l->count && l->at[i + 1].start - before_s <= l->at[i].reach + after_s)
        i++;
    return i;
}

/* Whether one run of the widened spans holds all of [start, end). */
static bool line_holds(const struct line *l, int64_t start, int64_t end, int before_s, int after_s)
{
    size_t n = line_before(l, start + before_s + 1);

    return n && l->at[line_run(l, n - 1, before_s, after_s)].reach + after_s >= end;
}

static int order(const char *a_destination, const char *a_person, const char *b_destination, const char *b_person)
{
    int c = strcmp(a_destination, b_destination);

    return c ? c : strcmp(a_person, b_person);
}

static int order_rows(const void *left, const void *right)
{
    const struct window_row *a = *(struct window_row *const *)left, *b = *(struct window_row *const *)right;
    int c = order(a->destination, a->person, b->destination, b->person);

    return c ? c : (a->start > b->start) - (a->start < b->start);
}

static int order_made(const void *left, const void *right)
{
    const struct window_made *a = *(struct window_made *const *)left, *b = *(struct window_made *const *)right;
    int c = order(a->destination, a->person, b->destination, b->person);

    return c ? c : (a->start > b->start) - (a->start < b->start);
}

static void take_row(struct group *g, const struct window_row *row)
{
    bool lasts = row->start < row->end;

    /* a check-out in the minute of the check-in leaves a row of no length: the person was there all the same */
    if (row->live && row->checked_in)
        line_add(&g->present, row->start, lasts ? row->end : row->start + 1);
    if (!lasts)
        return;
    line_add(&g->seen, row->start, row->end);
    if (row->live)
        line_add(&g->live, row->start, row->end);
    if (row->live && !row->checked_in)
        line_add(&g->open, row->start, row->end);
}

static void judge(struct group *g, struct window_made *e, int64_t now)
{
    int64_t ahead = e->start > now ? e->start : now;

    e->verdict = DROP;
    e->certain = false;
    if (e->elsewhere || e->end <= ahead || line_holds(&g->live, ahead, e->end, e->before_s, e->after_s) ||
        line_overlaps(&g->present, e->start - e->after_s, e->end + e->before_s))
        e->verdict = KEEP;
    else
        e->certain = line_holds(&g->seen, ahead, e->end, e->before_s, e->after_s);
    if (e->start >= e->end)
        return;
    if (e->verdict == KEEP)
        line_add(&g->kept, e->start, e->end);
    else if (!e->certain)
        line_add(&g->doubtful, e->start, e->end);
}

static struct fault add_piece(struct windows *ret, const struct group *g, struct window_new piece, int64_t now)
{
    if (piece.end <= now || !line_overlaps(&g->open, piece.start, piece.end))
        return FAULT_OK;
    if (ret->count == ret->room) {
        size_t room = ret->room ? 2 * ret->room : 8;
        struct window_new *at = realloc(ret->at, room * sizeof *at);

        if (!at)
            return FAULT(FATAL, "out of memory");
        ret->at = at;
        ret->room = room;
    }
    piece.waits = line_overlaps(&g->doubtful, piece.start, piece.end);
    ret->at[ret->count++] = piece;
    return FAULT_OK;
}

/* What the open rows want, less what the windows that stay cover. */
static struct fault add_new(struct windows *ret, const struct group *g, const struct window_row *who, int before_s,
                            int after_s, int64_t now)
{
    const struct line *open = &g->open, *kept = &g->kept;

    for (size_t i = 0; i < open->count; i++) {
        int64_t at = open->at[i].start - before_s;
        i = line_run(open, i, before_s, after_s);
        int64_t end = open->at[i].reach + after_s;
        size_t k = line_before(kept, at);

        if (k && kept->at[k - 1].reach > at)
            at = kept->at[k - 1].reach;
        for (; k < kept->count && kept->at[k].start < end; k++) {
            if (at < kept->at[k].start)
                TRY(add_piece(ret, g, (struct window_new){at, kept->at[k].start, who->destination, who->person, false},
                              now));
            at = kept->at[k].reach;
        }
        if (at < end)
            TRY(add_piece(ret, g, (struct window_new){at, end, who->destination, who->person, false}, now));
    }
    return FAULT_OK;
}

static struct fault compare_sorted(const struct window_row **rows, size_t n, struct window_made **made, size_t m,
                                   struct span *spans, int before_s, int after_s, int64_t now, struct windows *ret)
{
    for (size_t r = 0, e = 0; r < n || e < m;) {
        const struct window_row *row = r < n ? rows[r] : NULL;
        const struct window_made *first = e < m ? made[e] : NULL;
        bool by_row = !first || (row && order(row->destination, row->person, first->destination, first->person) <= 0);
        const char *destination = by_row ? row->destination : first->destination;
        const char *person = by_row ? row->person : first->person;
        struct group g = {{spans, 0},         {spans + n, 0},         {spans + 2 * n, 0},
                          {spans + 4 * n, 0}, {spans + 4 * n + m, 0}, {spans + 3 * n, 0}};

        for (; r < n && !order(rows[r]->destination, rows[r]->person, destination, person); r++)
            take_row(&g, rows[r]);
        for (; e < m && !order(made[e]->destination, made[e]->person, destination, person); e++)
            judge(&g, made[e], now);
        if (by_row)
            TRY(add_new(ret, &g, row, before_s, after_s, now));
    }
    return FAULT_OK;
}

struct fault windows_compare(const struct window_row *rows, size_t n, struct window_made *made, size_t m, int before_s,
                             int after_s, int64_t now, struct windows *ret_new)
{
    const struct window_row **by_row = calloc(n + 1, sizeof *by_row);
    struct window_made **by_made = calloc(m + 1, sizeof *by_made);
    struct span *spans = calloc(4 * n + 2 * m + 1, sizeof *spans);
    struct fault f = FAULT(FATAL, "out of memory");
    size_t known = 0;

    ret_new->count = ret_new->unusable = 0;
    if (by_row && by_made && spans) {
        for (size_t i = 0; i < n; i++) {
            bool named = rows[i].destination && rows[i].person;

            ret_new->unusable += rows[i].start >= rows[i].end || (rows[i].live && !named);
            if (named)
                by_row[known++] = &rows[i];
        }
        for (size_t i = 0; i < m; i++)
            by_made[i] = &made[i];
        qsort(by_row, known, sizeof *by_row, order_rows);
        qsort(by_made, m, sizeof *by_made, order_made);
        f = compare_sorted(by_row, known, by_made, m, spans, before_s, after_s, now, ret_new);
    }
    free(by_row);
    free(by_made);
    free(spans);
    return f;
}

void windows_free(struct windows *w)
{
    free(w->at);
    *w = (struct windows){0};
}

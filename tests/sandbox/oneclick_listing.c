/*
 * oneclick_listing - answers that are lists of titles, made piece by piece while they are sent.
 */
#include "oneclick.h"

#include <stdlib.h>

#define PIECE_LEN ((size_t)1 << 16)

struct listing *listing_new(void (*row)(const struct listing *, const struct title *, bool, struct text *))
{
    struct listing *l = memory(NULL, sizeof *l);

    *l = (struct listing){ .between = ",", .row = row, .era = titles_era() };
    return l;
}

static void release(void *state)
{
    struct listing *l = state;

    for (size_t i = 0; i < COUNT(l->part); i++)
        free(l->part[i].at);
    for (size_t i = 0; i < COUNT(l->lead); i++)
        text_release(&l->lead[i]);
    free(l);
}

void row_record(const struct listing *l, const struct title *t, bool available, struct text *out)
{
    (void)l;
    (void)available;
    title_record(t, out);
}

static enum piece next(void *state, struct text *out)
{
    struct listing *l = state;
    size_t end = out->len + PIECE_LEN;

    if (l->era != titles_era())
        return PIECE_BROKEN;
    while (out->len < end) {
        const struct picks *rows = &l->part[l->at_part < l->parts ? l->at_part : 0];

        if (!l->led) {
            text_slice_add(out, text_slice(&l->lead[l->at_part]));
            l->led = true;
        } else if (l->at_part == l->parts) {
            return PIECE_LAST;
        } else if (l->at_row == rows->count) {
            l->at_part++;
            l->at_row = 0;
            l->led = false;
        } else {
            uint32_t pick = rows->at[l->at_row];

            if (l->at_row++)
                text_str(out, l->between);
            l->row(l, title_at(pick >> 1), pick & 1, out);
        }
    }
    return PIECE_MORE;
}

static size_t length(void *state)
{
    const struct listing *l = state;
    struct text scratch = { 0 };
    size_t sum = 0;

    for (size_t i = 0; i <= l->parts; i++)
        sum += l->lead[i].len;
    for (size_t i = 0; i < l->parts && l->era == titles_era(); i++) {
        sum += l->part[i].count ? (l->part[i].count - 1) * strlen(l->between) : 0;
        for (size_t j = 0; j < l->part[i].count; j++) {
            uint32_t pick = l->part[i].at[j];

            scratch.len = 0;
            if (l->row == row_record)
                sum += title_length(pick >> 1);
            else
                l->row(l, title_at(pick >> 1), pick & 1, &scratch);
            sum += scratch.len;
        }
    }
    text_release(&scratch);
    return sum;
}

static void repeat_first(struct picks *rows)
{
    if (!rows->count)
        return;
    rows->at = memory(rows->at, (rows->count + 1) * sizeof *rows->at);
    rows->at[rows->count] = rows->at[0];
    rows->cap = ++rows->count;
}

/* Lists that are wrong in ways a client may not notice: HTTP has nothing against them. */
static void misshape(struct listing *l, const char *shape)
{
    bool cut = !strcmp(shape, "cut_short"), half = !strcmp(shape, "half_list");

    for (size_t i = 0; i < l->parts; i++) {
        if (cut || half)
            l->part[i].count /= 2;
        else if (!strcmp(shape, "empty_list"))
            l->part[i].count = 0;
        else if (!strcmp(shape, "repeated_row"))
            repeat_first(&l->part[i]);
    }
    if (cut) {
        l->lead[l->parts].len = 0;
        text_str(&l->lead[l->parts], ",{\"seriesPosition\":0,\"isbn\":\"978");
    }
}

void listing_answer(struct exchange *x, struct listing *l, const char *content_type)
{
    if (x->shape)
        misshape(l, x->shape);
    answer_pieces(x, 200, content_type, (struct pieces){ next, length, release, l, oneclick_announced() });
}

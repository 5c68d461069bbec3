/*
 * Bytes become rows and windows: now, two margins, then four bytes an item (what and whose, start, length, margins),
 * all in minutes. New windows must not overlap what stays nor one another, and once made nothing may be left to do.
 */
#include "common/windows.h"

#include "tests/fuzz/fuzz.h"

enum { ITEMS = 64 };

static const char *const names[] = {"a", "b", NULL};

static bool clash(const struct window_new *w, int64_t start, int64_t end, const char *destination, const char *person)
{
    return w->start < end && start < w->end && !strcmp(w->destination, destination) && !strcmp(w->person, person);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct windows new, again;
    static struct window_row rows[ITEMS];
    static struct window_made made[ITEMS + 4 * ITEMS];
    size_t n = 0, m = 0;

    if (size < 3)
        return 0;
    int64_t now = data[0] * 60;
    int before_s = (data[1] & 15) * 60, after_s = (data[2] & 15) * 60;

    for (data += 3, size -= 3; size >= 4 && n < ITEMS && m < ITEMS; data += 4, size -= 4) {
        int64_t start = data[1] * 60;

        if (data[0] & 1)
            rows[n++] = (struct window_row){start, start + (int8_t)data[2] * 60, data[0] & 2, data[0] & 4,
                                            names[(data[0] >> 3 & 3) % 3], names[(data[0] >> 5 & 3) % 3]};
        else
            made[m++] = (struct window_made){.start = start, .end = start + data[2] * 60,
                                             .before_s = (data[3] & 15) * 60, .after_s = (data[3] >> 4) * 60,
                                             .destination = names[data[0] >> 3 & 1], .person = names[data[0] >> 5 & 1]};
    }
    want(!windows_compare(rows, n, made, m, before_s, after_s, now, &new).kind && new.count <= 4 * ITEMS);
    for (size_t i = 0; i < new.count; i++) {
        const struct window_new *w = &new.at[i];

        want(w->start < w->end && w->end > now);
        for (size_t j = 0; j < i; j++)
            want(!clash(&new.at[j], w->start, w->end, w->destination, w->person));
        for (size_t j = 0; j < m; j++)
            want(made[j].verdict != KEEP || made[j].start >= made[j].end ||
                 !clash(w, made[j].start, made[j].end, made[j].destination, made[j].person));
    }
    size_t kept = 0;
    for (size_t i = 0; i < m; i++)
        if (made[i].verdict == KEEP)
            made[kept++] = made[i];
    for (size_t i = 0; i < new.count; i++)
        made[kept++] = (struct window_made){.start = new.at[i].start, .end = new.at[i].end, .before_s = before_s,
                                            .after_s = after_s, .destination = new.at[i].destination,
                                            .person = new.at[i].person};
    want(!windows_compare(rows, n, made, kept, before_s, after_s, now, &again).kind && !again.count);
    for (size_t i = 0; i < kept; i++)
        want(made[i].verdict == KEEP);
    return 0;
}

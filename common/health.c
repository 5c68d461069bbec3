#include "common/health.h"

#include <string.h>

enum { SHARE_OF = 32 }; /* calls */

static uint32_t next_random(struct health *h)
{
    h->random ^= h->random << 13; /* xorshift32: to spread tries, nothing more */
    h->random ^= h->random >> 17;
    h->random ^= h->random << 5;
    return h->random;
}

static int64_t jitter(struct health *h, int64_t us)
{
    return us - us / 4 + (int64_t)(next_random(h) % 1024) * (us / 2) / 1024;
}

void health_begin(struct health *h, int most, bool harmless_first, int64_t min_pause_us, int64_t max_pause_us,
                  uint32_t seed)
{
    *h = (struct health){.most = most, .limit = most, .harmless_first = harmless_first, .min_pause_us = min_pause_us,
                         .max_pause_us = max_pause_us, .random = seed ? seed : 1};
}

/* Fell sick with calls under way, whose ends say nothing new: the try has not been made yet, or is a harmless call. */
static bool no_news(const struct health *h, int64_t now_us)
{
    return !h->limit && (h->harmless_first || now_us < h->try_at_us);
}

/* The failures before it are judged now: while they last, an outage looks as they do. */
static void learn_share(struct health *h)
{
    for (; h->run; h->run--)
        h->share += (1 - h->share) / SHARE_OF;
    h->share -= h->share / SHARE_OF;
}

/* So many keys in a row fail by chance once in a million. */
static int row_by_chance(const struct health *h)
{
    int row = 0;

    for (double chance = 1; chance > 1e-6 && row < HEALTH_ROW_MAX; row++)
        chance *= h->share;
    return row > HEALTH_ROW_MIN ? row : HEALTH_ROW_MIN;
}

void health_answered(struct health *h, uint32_t key, int64_t now_us)
{
    int at = 0;

    h->answers++;
    learn_share(h);
    while (at < HEALTH_MEMORY - 1 && h->answered[at].key != key)
        at++;
    memmove(h->answered + 1, h->answered, (size_t)at * sizeof h->answered[0]);
    h->answered[0].key = key;
    h->answered[0].at = h->answers;
    if (no_news(h, now_us))
        return;
    h->failed_count = 0;
    h->limit = !h->limit ? 1 : h->limit > h->most / 2 ? h->most : h->limit * 2;
    if (h->limit == h->most)
        h->pause_us = 0;
}

static void fall_sick(struct health *h, int64_t now_us, int64_t wait_us)
{
    h->pause_us = h->pause_us ? h->pause_us * 2 : h->min_pause_us;
    if (h->pause_us > h->max_pause_us)
        h->pause_us = h->max_pause_us;
    int64_t pause = jitter(h, h->pause_us);
    h->limit = 0;
    h->failed_count = 0;
    h->try_at_us = now_us + (wait_us > pause ? wait_us : pause);
}

bool health_failed(struct health *h, uint32_t key, enum health_weight weight, int64_t now_us, int64_t wait_us)
{
    bool known = false;
    bool was_sick = !h->limit;
    int row = row_by_chance(h);

    if (weight == HEALTH_BLAMED_BEFORE && !was_sick)
        return false;
    h->run += h->run < SHARE_OF;
    if (no_news(h, now_us))
        return false;
    for (int i = 0; i < h->failed_count; i++)
        known |= h->failed[i] == key;
    if (!known && h->failed_count < HEALTH_ROW_MAX)
        h->failed[h->failed_count++] = key;
    if (was_sick || h->limit < h->most) /* on the way up, one is enough where failures are rare */
        row -= HEALTH_ROW_MIN - 1;
    if (weight != HEALTH_AT_ONCE && h->failed_count < row)
        return false;
    fall_sick(h, now_us, wait_us);
    return !was_sick;
}

int health_limit(const struct health *h, int64_t now_us)
{
    if (h->limit)
        return h->limit;
    return !h->harmless_first && now_us >= h->try_at_us ? 1 : 0;
}

bool health_wants_try(const struct health *h, int64_t now_us)
{
    return !h->limit && h->harmless_first && !h->trying && now_us >= h->try_at_us;
}

void health_trying(struct health *h)
{
    h->trying = true;
}

void health_tried(struct health *h, bool well, int64_t now_us)
{
    h->trying = false;
    if (!well)
        fall_sick(h, now_us, -1);
    else if (!h->limit)
        h->limit = 1;
}

bool health_sick(const struct health *h)
{
    return !h->limit;
}

bool health_recovering(const struct health *h)
{
    return h->limit < h->most;
}

uint64_t health_mark(const struct health *h)
{
    return h->answers;
}

bool health_blames(const struct health *h, uint64_t mark, uint32_t key)
{
    int others = 0;

    for (int i = 0; i < HEALTH_MEMORY; i++)
        others += h->answered[i].at > mark && h->answered[i].key != key;
    return others >= HEALTH_OTHERS;
}

int64_t health_backoff_us(struct health *h, int tries, int64_t min_us, int64_t max_us)
{
    int64_t us = min_us;

    for (int i = 0; i < tries && us < max_us; i++)
        us *= 2;
    return jitter(h, us < max_us ? us : max_us);
}

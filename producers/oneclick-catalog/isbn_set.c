#include "producers/oneclick-catalog/isbn_set.h"

#include <stdlib.h>

static uint32_t code_of(const char *isbn)
{
    uint32_t code = isbn[2] == '9';

    for (int i = 3; i < 12; i++)
        code = code * 10 + (uint32_t)(isbn[i] - '0');
    return code;
}

bool isbn_set_add(struct isbn_set *set, const char *isbn, bool flag)
{
    if (set->count == set->room) {
        size_t room = set->room ? set->room + set->room / 2 : 1024;
        uint32_t *at = realloc(set->at, room * sizeof *at);
        if (!at)
            return false;
        set->at = at;
        set->room = room;
    }
    set->at[set->count++] = code_of(isbn) << 1 | flag;
    return true;
}

static int compare(const void *a, const void *b)
{
    uint32_t left = *(const uint32_t *)a, right = *(const uint32_t *)b;

    return left < right ? -1 : left > right;
}

void isbn_set_sort(struct isbn_set *set)
{
    if (set->count)
        qsort(set->at, set->count, sizeof *set->at, compare);
}

/* NULL: it is not in the set. */
static uint32_t *find(const struct isbn_set *set, const char *isbn)
{
    uint32_t code = code_of(isbn);
    size_t low = 0, high = set->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (set->at[middle] >> 1 < code)
            low = middle + 1;
        else
            high = middle;
    }
    return low < set->count && set->at[low] >> 1 == code ? &set->at[low] : NULL;
}

int isbn_set_find(const struct isbn_set *set, const char *isbn)
{
    const uint32_t *found = find(set, isbn);

    return found ? (int)(*found & 1) : -1;
}

void isbn_set_turn(struct isbn_set *set, const char *isbn)
{
    uint32_t *found = find(set, isbn);

    if (found)
        *found ^= 1;
}

bool isbn_set_at(const struct isbn_set *set, size_t i, char ret[14])
{
    uint32_t code = set->at[i] >> 1;
    int sum = 0;

    for (int at = 11; at >= 3; at--, code /= 10)
        ret[at] = (char)('0' + code % 10);
    ret[0] = '9';
    ret[1] = '7';
    ret[2] = code ? '9' : '8';
    for (int at = 0; at < 12; at++)
        sum += (ret[at] - '0') * (at % 2 ? 3 : 1);
    ret[12] = (char)('0' + (10 - sum % 10) % 10);
    ret[13] = '\0';
    return set->at[i] & 1;
}

void isbn_set_free(struct isbn_set *set)
{
    free(set->at);
    *set = (struct isbn_set){0};
}

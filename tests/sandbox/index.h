/*
 * index.h - from a hash to positions in an array: open addressing, eight bytes a slot, never deleted from.
 *
 * The caller keeps the rows and compares them; several positions may share a hash.
 *     for (struct index_walk w = index_walk(&ix, hash); index_next(&w, &pos); ) if (row[pos] is it) ...
 */
#ifndef SANDBOX_INDEX_H
#define SANDBOX_INDEX_H

#include "text.h"

#include <stdlib.h>

struct index_slot { uint32_t hash, pos_1; };            /* position + 1; 0 is an empty slot */
struct index      { struct index_slot *slot; size_t size, used; };
struct index_walk { const struct index *index; size_t at; uint32_t hash; };

static inline void index_put(struct index *ix, struct index_slot slot)
{
    size_t at = (slot.hash * UINT32_C(2654435769)) & (ix->size - 1);

    while (ix->slot[at].pos_1)
        at = (at + 1) & (ix->size - 1);
    ix->slot[at] = slot;
    ix->used++;
}

static inline void index_add(struct index *ix, uint32_t hash, uint32_t pos)
{
    if (ix->used * 3 >= ix->size * 2) {
        struct index old = *ix;

        ix->size = old.size ? old.size * 2 : 1024;
        ix->used = 0;
        ix->slot = memory(NULL, ix->size * sizeof *ix->slot);
        memset(ix->slot, 0, ix->size * sizeof *ix->slot);
        for (size_t i = 0; i < old.size; i++)
            if (old.slot[i].pos_1)
                index_put(ix, old.slot[i]);
        free(old.slot);
    }
    index_put(ix, (struct index_slot){ hash, pos + 1 });
}

static inline struct index_walk index_walk(const struct index *ix, uint32_t hash)
{
    return (struct index_walk){ ix, ix->size ? (hash * UINT32_C(2654435769)) & (ix->size - 1) : 0, hash };
}

static inline bool index_next(struct index_walk *w, uint32_t *ret_pos)
{
    const struct index *ix = w->index;

    while (ix->size && ix->slot[w->at].pos_1) {
        const struct index_slot *slot = &ix->slot[w->at];

        w->at = (w->at + 1) & (ix->size - 1);
        if (slot->hash == w->hash) {
            *ret_pos = slot->pos_1 - 1;
            return true;
        }
    }
    return false;
}

static inline void index_release(struct index *ix)
{
    free(ix->slot);
    *ix = (struct index){ 0 };
}

#endif

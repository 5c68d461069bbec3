#include "producers/bookings/pass.h"

#include "common/instant.h"
#include "common/text.h"

#include <stdlib.h>
#include <string.h>

struct fault pass_put(struct pass *p, const char *book_id, int offset_s, const void *row, size_t len, bool *ret_new)
{
    struct seen_row *known;

    HASH_FIND(hh, p->rows, row, len, known);
    if (known)
        return FAULT_OK;
    known = calloc(1, sizeof *known + len);
    text_copy(known->book_id, sizeof known->book_id, book_id);
    known->offset_s = offset_s;
    known->len = len;
    memcpy(known->row, row, len);
    HASH_ADD_KEYPTR(hh, p->rows, known->row, len, known);
    *ret_new = true;
    return FAULT_OK;
}

struct fault pass_put_bad(struct pass *p, const char *book_id, const char *why, bool *ret_new)
{
    struct seen_bad *known;

    HASH_FIND_STR(p->bad, why, known);
    if (known)
        return FAULT_OK;
    known = calloc(1, sizeof *known);
    text_copy(known->book_id, sizeof known->book_id, book_id);
    text_copy(known->why, sizeof known->why, why);
    HASH_ADD_STR(p->bad, why, known);
    *ret_new = true;
    return FAULT_OK;
}

bool pass_has_bad(const struct pass *p, const char *book_id)
{
    for (const struct seen_bad *b = p->bad; b; b = b->hh.next)
        if (!strcmp(b->book_id, book_id))
            return true;
    return false;
}

void pass_free(struct pass *p)
{
    struct seen_row *row, *next_row;
    struct seen_bad *bad, *next_bad;

    HASH_ITER(hh, p->rows, row, next_row)
    {
        HASH_DEL(p->rows, row);
        free(row);
    }
    HASH_ITER(hh, p->bad, bad, next_bad)
    {
        HASH_DEL(p->bad, bad);
        free(bad);
    }
    *p = (struct pass){0};
}

bool passes_agree(const struct pass *a, const struct pass *b)
{
    struct seen_row *found;

    if (HASH_COUNT(a->rows) != HASH_COUNT(b->rows) || HASH_COUNT(a->bad) != HASH_COUNT(b->bad))
        return false;
    for (const struct seen_row *r = a->rows; r; r = r->hh.next) {
        HASH_FIND(hh, b->rows, r->row, r->len, found);
        if (!found)
            return false;
    }
    return true;
}

struct named {
    const char *book_id;
    UT_hash_handle hh;
};

struct fault pass_merge(struct pass *later, const struct pass *earlier)
{
    struct named *known = NULL, *n, *next;
    struct fault f = FAULT_OK;
    bool is_new;

    for (struct seen_row *r = later->rows; r && !f.kind; r = r->hh.next) {
        HASH_FIND_STR(known, r->book_id, n);
        if (n)
            continue;
        if (!(n = malloc(sizeof *n))) {
            f = FAULT(FATAL, "out of memory");
            break;
        }
        n->book_id = r->book_id;
        HASH_ADD_KEYPTR(hh, known, n->book_id, (unsigned)strlen(n->book_id), n);
    }
    for (const struct seen_row *r = earlier->rows; r && !f.kind; r = r->hh.next) {
        HASH_FIND_STR(known, r->book_id, n);
        if (!n)
            f = pass_put(later, r->book_id, r->offset_s, r->row, r->len, &is_new);
    }
    for (const struct seen_bad *b = earlier->bad; b && !f.kind; b = b->hh.next)
        f = pass_put_bad(later, b->book_id, b->why, &is_new);
    HASH_ITER(hh, known, n, next)
    {
        HASH_DEL(known, n);
        free(n);
    }
    return f;
}

bool over_midnight(const struct pass *p, int64_t first, int64_t last)
{
    for (const struct seen_row *r = p->rows; r; r = r->hh.next)
        if (instant_local_day(first, r->offset_s) != instant_local_day(last, r->offset_s))
            return true;
    return false;
}

/*
 * pass.h - rows as a set: what a service has shown while it was read once. Pure, but for the memory it takes.
 *
 * A row is the program's own struct, copied byte for byte: bytes that mean nothing must be zero, so that the same row is the
 * same bytes. Rows keep the order in which they were first seen.
 *
 * Memory    a pass owns its rows until pass_free; a zeroed one is empty.
 * Failure   FATAL when memory is out.
 */
#ifndef SHELFWIRE_BOOKINGS_PASS_H
#define SHELFWIRE_BOOKINGS_PASS_H

#include "common/fault.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uthash.h>

enum { BOOK_ID_SIZE = 65 };

struct seen_row {
    char book_id[BOOK_ID_SIZE];
    int offset_s; /* east of UTC, by the clock the row was written by */
    size_t len;
    UT_hash_handle hh;
    max_align_t row[]; /* the program's, len bytes */
};

struct seen_bad { /* a row that could not be read */
    char book_id[BOOK_ID_SIZE]; /* "" when that is what could not be read */
    char why[120];
    UT_hash_handle hh;
};

struct pass {
    struct seen_row *rows;
    struct seen_bad *bad;
    int pages; /* that brought something */
};

/* *ret_new becomes true when it was not there yet; else it is left as it is. */
struct fault pass_put(struct pass *p, const char *book_id, int offset_s, const void *row, size_t len, bool *ret_new);
struct fault pass_put_bad(struct pass *p, const char *book_id, const char *why, bool *ret_new);

bool pass_has_bad(const struct pass *p, const char *book_id);
void pass_free(struct pass *p);
bool passes_agree(const struct pass *a, const struct pass *b);

/* Adds to the later pass the bookings only the earlier one has seen; of those both have seen the later pass is right. */
struct fault pass_merge(struct pass *later, const struct pass *earlier);

/* Whether "today" was another day, by any clock the rows were written by, when the read ended. */
bool over_midnight(const struct pass *p, int64_t first, int64_t last);

#endif

/*
 * isbn_set.h - half a million ISBNs in two megabytes.
 *
 * An ISBN is four bytes: 978 or 979, nine digits (the check digit follows from them), and a flag of the caller's.
 * A set is filled, then sorted, then asked; adding to it again wants sorting again.
 */
#ifndef SHELFWIRE_ONECLICK_CATALOG_ISBN_SET_H
#define SHELFWIRE_ONECLICK_CATALOG_ISBN_SET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct isbn_set {
    uint32_t *at;
    size_t count, room;
};

bool isbn_set_add(struct isbn_set *set, const char *isbn, bool flag); /* isbn: a valid one, 13 digits. False: out of memory */
void isbn_set_sort(struct isbn_set *set);

/* -1: not in it; else its flag. */
int isbn_set_find(const struct isbn_set *set, const char *isbn);

void isbn_set_turn(struct isbn_set *set, const char *isbn); /* the other flag; nothing when it is not in the set */

/* The i-th, and its flag. */
bool isbn_set_at(const struct isbn_set *set, size_t i, char ret[14]);

void isbn_set_free(struct isbn_set *set); /* empties it; twice is fine */

#endif

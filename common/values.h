/*
 * values.h - the value types of document 001 (WebCheckout's "Non-entity Types"), wherever such values occur: one codec each.
 *
 *   isbnNumber      "A properly formatted ISBN": here always the 13 digits, without hyphens, its check digit verified.
 *   collatedString  A text with the point it is sorted from: "The " + "Wind in the Willows".
 *
 * Pure. Texts are UTF-8.
 */
#ifndef SHELFWIRE_VALUES_H
#define SHELFWIRE_VALUES_H

#include "common/fault.h"

#include <stddef.h>

enum { VALUES_ISBN_SIZE = 14 };

/*
 * An ISBN-13 (978 or 979), with or without hyphens or blanks between its groups; an ISBN-10 becomes its ISBN-13.
 * REJECT says what is wrong with it: "want 13 digits, found 12", "check digit 2, want 1". ret is "" then.
 */
struct fault values_isbn(const char *written, char ret[VALUES_ISBN_SIZE]);

/*
 * Where a title is sorted from: how many bytes of it are the article in front, its blank included ("The " is 4, "L'" is 2).
 * language: its English name as OneClick writes it ("English", "French"; any case), "" when unknown: English is taken.
 * 0 when there is no article, and where nothing would be left ("The").
 */
size_t values_collation(const char *title, const char *language);

#endif

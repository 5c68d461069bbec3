/*
 * catalog.h - the message of catalog.delta: one thing OneClick said of one title, and as of when.
 *
 *   {"isbn":"9781615730186","change":"added","as_of":"2026-11-24T16:00:00.123456Z","record":{…}}
 *
 *   added         the library has it; record: what OneClick says of it, as it said it
 *   removed       the library has it no more; record: where OneClick gave one
 *   availability  `available`, as of OneClick's own time stamp
 *   check         nobody knows, or only that it changed: ask OneClick for the title
 * Of two facts of a kind about one title the one with the later as_of stays, in whatever order they come.
 * Key: the ISBN. schemas/catalog.delta.schema.json says the same; catalog_read accepts exactly what it accepts
 * (and what a schema cannot say is said there).
 */
#ifndef SHELFWIRE_CATALOG_H
#define SHELFWIRE_CATALOG_H

#include "common/fault.h"
#include "common/text.h"
#include "common/values.h"

#include <json-c/json.h>

enum catalog_kind { CATALOG_ADDED, CATALOG_REMOVED, CATALOG_AVAILABILITY, CATALOG_CHECK };

enum { CATALOG_INSTANT_SIZE = 36 };

struct catalog_change {
    char isbn[VALUES_ISBN_SIZE];
    enum catalog_kind kind;
    char as_of[CATALOG_INSTANT_SIZE]; /* RFC 3339, UTC with Z, a fraction of up to 9 digits */
    bool available;
};

const char *catalog_kind_name(enum catalog_kind kind); /* "added", … */

/* record: JSON, an object, put in as it is; len 0: none. */
void catalog_write(struct text *to, const struct catalog_change *change, const char *record, size_t len);

/*
 * REJECT says what is wrong with it. ret_record: a reference (json_object_put), NULL where there is none, and always of
 * availability and check. The record's own ISBN is the caller's to compare.
 */
struct fault catalog_read(const char *value, size_t len, struct catalog_change *ret, json_object **ret_record);

#endif

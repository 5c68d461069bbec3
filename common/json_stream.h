/*
 * json_stream.h - a JSON text too large to be held, read as it arrives: the elements of its lists, one by one.
 *
 * shape    the way from the text's outermost value to the lists whose elements are wanted, each step a bracket:
 *            "["    the text is the list                                       [ E, E, … ]
 *            "{["   lists that are members of the outermost object             { "added": [E, …], "removed": [E, …] }
 *            "[{["  the same, within a list of such objects                    [ { "added": [E, …] }, … ]
 * other    What the shape does not foresee is kept whole, for it is what a vendor says instead: members of the objects on the
 *          way that are no lists, of one object (the last of one name counts), or, where a list or object on the way is of
 *          another kind, that value itself. At most JSON_STREAM_OTHER_MAX bytes; more is a fault.
 *          Once there is such a value, members are no longer kept.
 * Strict   every element and every other value is read by json_read (json.h), everything between them is checked here.
 *          A byte order mark in front is skipped. However the bytes are cut, the same elements come, and the same fault.
 * Memory   one element, at most element_max bytes (and less than TEXT_MAX, text.h); a longer one is a fault.
 * Faults   REJECT says where: "byte 1234: want , or ]". After a fault nothing more is taken.
 */
#ifndef SHELFWIRE_JSON_STREAM_H
#define SHELFWIRE_JSON_STREAM_H

#include "common/fault.h"

#include <json-c/json.h>
#include <stdbool.h>
#include <stddef.h>

enum { JSON_STREAM_OTHER_MAX = 64 * 1024 };

struct json_stream;

/*
 * list: the member whose list it is in, "" for the outermost list; bytes, len: the element as it was written. All are lent.
 * A fault ends the stream.
 */
typedef struct fault json_element(void *of, const char *list, json_object *value, const char *bytes, size_t len);

/* NULL: out of memory. shape must be one of those above. */
struct json_stream *json_stream_open(const char *shape, size_t element_max, json_element *use, void *of);
void json_stream_close(struct json_stream *s); /* NULL is fine */

struct fault json_stream_feed(struct json_stream *s, const char *bytes, size_t len);

/* After the last byte: REJECT when the text is not whole ("it ends within element 17"). */
struct fault json_stream_end(struct json_stream *s);

/* See above; NULL when there is nothing. Borrowed. */
json_object *json_stream_other(const struct json_stream *s);

/* Whether the list was there, even if nothing was in it: the name of a member, "" for the outermost list. */
bool json_stream_has(const struct json_stream *s, const char *list);

#endif

/*
 * json.h - strict reading of JSON from people we do not know, over json-c.
 *
 * json_read refuses: invalid UTF-8, more than JSON_DEPTH_MAX levels, anything after the value, a zero byte, and
 * whatever else RFC 8259 does not allow. Of two members with one name the last counts; an escaped half of a surrogate
 * pair becomes U+FFFD. The object is the caller's: json_object_put.
 *
 * The getters look a key up in an object and say, by its name and never by its value, what is wrong with it:
 * "start: missing", "start: want a string, found a number". A text longer than its buffer is refused, not cut.
 * The _opt forms take a missing key or null for "nothing" ("" or the default).
 */
#ifndef SHELFWIRE_JSON_H
#define SHELFWIRE_JSON_H

#include "common/fault.h"

#include <json-c/json.h>
#include <stddef.h>
#include <stdint.h>

enum { JSON_DEPTH_MAX = 32 };

struct fault json_read(const char *bytes, size_t len, json_object **ret_value);

/* What json_read keeps for a thread's next value: to be called where a thread ends and the program does not. */
void json_forget(void);

struct fault json_text(json_object *in, const char *key, char *ret, size_t size);
struct fault json_text_opt(json_object *in, const char *key, char *ret, size_t size);
struct fault json_int(json_object *in, const char *key, int64_t min, int64_t max, int64_t *ret);

/* An instant, RFC 3339 with `Z` or a numeric offset; whole seconds since 1970 UTC. */
struct fault json_instant(json_object *in, const char *key, int64_t *ret);

/* The member, or NULL when it is missing, null, or `in` is no object. Borrowed. */
json_object *json_get(json_object *in, const char *key);

/* A string member's bytes, or NULL. Borrowed. */
const char *json_str(json_object *in, const char *key);

#endif

/*
 * parts.h - what the codecs of values.h share.
 *
 * `what` names what is wanted, with its article: "a string". Nothing here quotes a value.
 */
#ifndef SHELFWIRE_VALUES_PARTS_H
#define SHELFWIRE_VALUES_PARTS_H

#include "common/json.h"
#include "common/values.h"

/* "want a string, found a number" */
struct fault values_want(const char *what, json_object *found);

/* A string without a zero byte, lent. The second one copies it, and refuses one that does not fit. */
struct fault values_text(json_object *from, const char *what, const char **ret);
struct fault values_short_text(json_object *from, const char *what, char *ret, size_t size);

/* An object with no integer anywhere that is not the one that was sent. */
struct fault values_object(json_object *from, const char *what);
struct fault values_whole(json_object *from);

/* JSON as it came. */
void values_put(struct text *to, json_object *value);

/* The members of an object other than `names` (NULL-terminated), each with a comma in front. as_sent may be NULL. */
void values_rest(struct text *to, json_object *as_sent, const char *const *names);

#endif

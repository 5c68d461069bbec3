/*
 * reading.h - what the vendor adapters share: taking texts and numbers out of answers of any shape, and repeating a
 * vendor's words to a person without repeating somebody's data.
 *
 * Nothing here fails: what is missing or of another type reads as "", 0 or false, and the adapter decides.
 * Texts   come out trimmed, with control characters (also zero bytes) turned into blanks, as valid UTF-8.
 * Memory  reading_json hands out a reference (json_object_put); everything else is borrowed or copied.
 */
#ifndef SHELFWIRE_VENDORS_READING_H
#define SHELFWIRE_VENDORS_READING_H

#include "common/answer.h"
#include "common/json.h"

#include <regex.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { READING_WORDS_SIZE = 84 }; /* of a vendor's words in a reason */

/* The body as JSON (a byte order mark is skipped), or NULL when it is not or is `null`. */
json_object *reading_json(const struct http_response *res);

/* Whether the body is markup: a proxy's or server's page, or XML. */
bool reading_is_markup(const struct http_response *res);

/* A member's text: a string, or a whole number as digits; "" otherwise. False: it did not fit and was cut. */
bool reading_text(json_object *in, const char *key, char *ret, size_t size);
bool reading_text_of(json_object *value, char *ret, size_t size);

/* A member's number: whole, from 0 up, as number or digits. 0 otherwise. */
int64_t reading_int(json_object *in, const char *key);
int64_t reading_int_of(json_object *value);

/* true, 1, or a string that is neither empty nor "0" nor "false". */
bool reading_flag(json_object *in, const char *key);

/* Members of a list that may be an array, a single value (vendors drop the brackets of a list of one) or absent. */
size_t reading_count(json_object *list);
json_object *reading_at(json_object *list, size_t i);

/*
 * Whether an object says that it is an error: a member `error` or `errors` that is not null, false, 0 or empty.
 * ret_words, ret_len (may be NULL): what it says, borrowed from the object; "" when it says nothing readable.
 */
bool reading_error(json_object *body, const char **ret_words, size_t *ret_len);

/*
 * A vendor's words, fit for a reason: one line, ASCII, no longer than the buffer. Every word that may be somebody's
 * data or a secret becomes `…`: one with four digits in a row, with any of @ = % & / \ beside something else, with a
 * byte beyond ASCII, of 28 bytes or more, or that holds a word of names[0 .. name_count), the person's, in upper or
 * lower case (a name of two or three letters must be the whole word).
 */
void reading_words(char ret[READING_WORDS_SIZE], const char *words, size_t len, const char *const *names,
                   size_t name_count);

/* Whether one of the phrases (NULL-terminated, lower case) occurs in the first 8 KiB, in upper or lower case. */
bool reading_says(const char *words, size_t len, const char *const *phrases);

/* Removes blanks at both ends: ASCII's, the no-break space, and the invisible ones that come with pasted text. */
void reading_trim(const char **bytes, size_t *len);

void reading_lower(char *text); /* ASCII only */

/* A string that can be sent back in a header: printable ASCII without blanks, not empty, within the buffer. */
bool reading_token(json_object *in, const char *key, char *ret, size_t size);

/*
 * An id as somebody wrote it, as one to ask Alma for: trimmed, in upper case (ASCII). REJECT, never quoting it: empty, with a
 * blank, a control character or anything beyond ASCII inside, without a letter or digit, too long for `size`, or not wholly
 * matching the pattern of that setting.
 * pattern: POSIX extended, compiled with REG_ICASE and without REG_NOSUB; NULL takes any.
 */
struct fault reading_asked_id(const char *written, const regex_t *pattern, const char *setting, char *ret, size_t size);

/* The same answer with the wait the vendor asked for (Retry-After), or `else_ms` when it did not say. */
struct answer reading_wait(struct answer a, const struct http_response *res, int64_t else_ms);

/* answer_unanswered for a call that changes nothing: nobody knows whether it was answered, so it may be made again. */
struct answer reading_unanswered(const struct http_response *res);

#endif

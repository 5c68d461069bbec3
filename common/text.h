/*
 * text.h - a growable, always zero-terminated string, kept and refilled rather than freed.
 *
 * Bounds   a text holds at most TEXT_MAX bytes; what would not fit sets `failed`, which stays set until text_clear. Ask
 *          once, at the end: appending to a failed text does nothing.
 * Memory   text_free releases; a zeroed struct text is an empty one.
 */
#ifndef SHELFWIRE_TEXT_H
#define SHELFWIRE_TEXT_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { TEXT_MAX = 16 << 20 };

struct text {
    char *at; /* never NULL after the first append; text_str is safe at any time */
    size_t len, room;
    bool failed;
};

void text_clear(struct text *t);
void text_free(struct text *t);
void text_add(struct text *t, const char *bytes, size_t len);
void text_puts(struct text *t, const char *string);
void text_putc(struct text *t, char c);
void text_int(struct text *t, int64_t n);
void text_printf(struct text *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
const char *text_str(const struct text *t);

/* Percent-encoded as RFC 3986 wants it in a path segment or a query value: all but A-Z a-z 0-9 - . _ ~ */
void text_percent(struct text *t, const char *string);

/* A JSON string, quotes included. The input must be valid UTF-8. */
void text_json(struct text *t, const char *string);

/* A UUID in lower case, as 0b8f3c1e-52d7-4f0a-9a64-6e1d2f9b7c35. */
bool text_is_uuid(const char *string);

/* Printable ASCII, no space at either end: what may be a key. */
bool text_is_id(const char *string);

/* How many bytes from `at` on are ASCII that needs no care: no control character, no quote, no backslash. Eight at a time. */
size_t text_plain(const char *at, size_t len);

/* Copies at most size-1 bytes, cuts at a character's boundary (UTF-8), terminates. Returns whether all fitted. */
bool text_copy(char *to, size_t size, const char *from);

/* The same for a fixed buffer; false when it did not fit (then `to` is an empty string). */
bool text_fit(char *to, size_t size, const char *from, size_t len);

#endif

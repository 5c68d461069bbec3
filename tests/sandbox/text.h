/*
 * text.h - the sandbox's strings: growable text, borrowed slices, and the small readers for what vendors' clients
 * send (queries, flat JSON, instants).
 *
 * Units      lengths are bytes, without a terminating zero.
 * Ownership  a text owns its bytes: text_release frees them, and may be called twice. A slice borrows.
 * Bounds     every reader is told how much it may fill, and says so when that is not enough.
 * Failure    running out of memory ends the program: this is a stand-in for tests, not a service.
 */
#ifndef SANDBOX_TEXT_H
#define SANDBOX_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof(array)[0])
#define NS_PER_MS INT64_C(1000000)
#define NS_PER_S  INT64_C(1000000000)

struct slice { const char *at; size_t len; };
struct text  { char *at; size_t len, cap; };

#define SLICE(literal) ((struct slice){ literal, sizeof(literal) - 1 })

static inline struct slice slice_of(const char *s) { return (struct slice){ s, s ? strlen(s) : 0 }; }
static inline struct slice text_slice(const struct text *t) { return (struct slice){ t->at, t->len }; }

bool slice_is(struct slice s, const char *word);
bool slice_same(struct slice a, struct slice b);
bool slice_same_nocase(struct slice a, struct slice b);
bool slice_has(struct slice s, const char *word);
bool slice_starts(struct slice s, const char *word);
bool slice_int64(struct slice s, int64_t *ret_n);       /* the whole slice, or false */
uint32_t slice_hash(struct slice s);
uint32_t slice_hash_nocase(struct slice s);

void *memory(void *old, size_t size);                   /* realloc that cannot fail; size 0 frees */
char *copy_of(struct slice s);                          /* zero-terminated; free() it */

void text_reserve(struct text *t, size_t more);
void text_add(struct text *t, const char *at, size_t len);
void text_str(struct text *t, const char *s);
void text_slice_add(struct text *t, struct slice s);
void text_fmt(struct text *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
void text_json(struct text *t, struct slice s);         /* quoted and escaped */
void text_xml(struct text *t, struct slice s);          /* escaped */
void text_release(struct text *t);

/* Percent-decoding; `plus` also turns + into a space. False when it does not fit or is malformed. */
bool percent_decode(struct slice s, bool plus, char *buf, size_t cap, struct slice *ret_s);
/* The named parameter of a query or form, decoded into buf. False when it is absent or does not fit. */
bool query_get(struct slice query, const char *name, char *buf, size_t cap, struct slice *ret_s);
/* The parameter is there and is 1 or true (or, with otherwise, is not there). */
bool query_flag(struct slice query, const char *name, bool otherwise);

struct field { struct slice name, value; bool is_text; };
struct fields { struct field at[16]; size_t count; char scratch[2048]; size_t scratch_len; };

/* The members of a flat JSON object, without building a tree. False for anything else, nesting included. */
bool fields_read(struct fields *f, struct slice json);
const struct field *fields_get(const struct fields *f, const char *name);

struct instant { int64_t epoch_s; int32_t offset_s; };

/* ISO 8601 with an offset (+HH:MM, +HHMM or Z). */
bool instant_read(struct slice s, struct instant *ret_i);
void instant_print(struct instant i, char buf[32]);
int64_t day_number(int64_t year, unsigned month, unsigned day);     /* days since 1970-01-01 */
bool day_read(struct slice s, int64_t *ret_day);                    /* YYYY-MM-DD */
static inline int64_t floor_div(int64_t a, int64_t b) { return a / b - (a % b != 0 && (a < 0) != (b < 0)); }

int64_t clock_ns(void);          /* monotonic */
int64_t wall_ms(void);           /* since 1970 */

struct prng { uint64_t state; };
uint64_t prng_next(struct prng *p);
double prng_unit(struct prng *p);        /* [0, 1) */

#endif

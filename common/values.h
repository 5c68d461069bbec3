/*
 * values.h - the value types of document 001 (WebCheckout's "Non-entity Types"), wherever such values occur: one codec each.
 *
 *   type in the document          as JSON          here
 *   integer                       number           value_integer: 64 bits, exact
 *   float                         number           value_float: the digits as sent
 *   boolean                       true, false      value_boolean
 *   string                        string           value_string: any bytes of UTF-8, a zero byte too
 *   keyword, symbol, tag          string           value_symbol
 *   array, cons, list, vector     array            value_list
 *   hashtable                     object           value_hashtable
 *   allocationItem                object           value_allocation_item: the document's list of its fields is empty
 *   collatedString                object           value_collated_string: a text with the point it is sorted from
 *   collatedStringList            array            value_collated_string_list
 *   isbnNumber                    string           value_isbn_number: as sent, and its 13 digits
 *   duration                      number           value_duration: whole seconds
 *   timestamp                     string           value_timestamp: as sent, with its offset and fraction, and its instant
 *   circulationPeriod             object           value_circulation_period
 *   money                         string           value_money: as sent, and its minor units
 *   simpleRate                    object           value_simple_rate
 *
 * Pure. Texts are UTF-8. No value ever passes through a floating-point number.
 *
 * Reading    value_x_read takes a value apart; REJECT says what is wrong with it, by its members' names and never by its
 *            value ("suffix: want a string, found a number"), and leaves nothing to free. What the document leaves open is
 *            refused rather than guessed; what it calls redundant (a period and its seconds) is kept side by side, and
 *            nothing is computed from the one that is rounded.
 * Writing    value_x_write appends the JSON that value_x_read reads as the same value. Texts marked "as sent" come out
 *            byte for byte; of an object, the members nobody here knows come out as they came, behind the others ("a moving
 *            target", says the document).
 * Ownership  what has a value_x_free holds a reference to the JSON it came from (as_sent), and its texts borrow from it. A
 *            value of our own has as_sent NULL and borrows from the caller. Free takes a zeroed value, and twice.
 * Bounds     an integer beyond 64 bits (Lisp has them, JSON's reader does not) is refused wherever it stands, so that no
 *            other number is written in its place.
 * Lisp       has one nil for false, null and the empty list (`"staff": null`, WebCheckout facts, 4.2): each of them is read
 *            as `false` where a boolean, and as an empty list where a list is wanted, and written as `false` and `[]`.
 */
#ifndef SHELFWIRE_VALUES_H
#define SHELFWIRE_VALUES_H

#include "common/fault.h"
#include "common/text.h"

#include <json-c/json.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { VALUES_ISBN_SIZE = 14, VALUES_NUMBER_SIZE = 65, VALUES_SYMBOL_SIZE = 129, VALUES_MONEY_SIZE = 49,
       VALUES_CURRENCY_SIZE = 17, VALUES_TIMESTAMP_SIZE = 49 };

/* ---- numbers, truths, texts ---- */

struct value_integer {
    int64_t n;
};

struct fault value_integer_read(json_object *from, struct value_integer *ret);
void value_integer_write(struct text *to, const struct value_integer *v);

struct value_float {
    char digits[VALUES_NUMBER_SIZE]; /* a JSON number: "0.000555555556", "2", "1E-7" */
};

struct fault value_float_read(json_object *from, struct value_float *ret);
void value_float_write(struct text *to, const struct value_float *v);

struct value_boolean {
    bool is;
};

struct fault value_boolean_read(json_object *from, struct value_boolean *ret);
void value_boolean_write(struct text *to, const struct value_boolean *v);

struct value_string {
    json_object *as_sent;
    const char *bytes; /* zero-terminated, may hold zero bytes within len */
    size_t len;
};

struct fault value_string_read(json_object *from, struct value_string *ret);
void value_string_write(struct text *to, const struct value_string *v);
void value_string_free(struct value_string *v);

struct value_symbol {
    char name[VALUES_SYMBOL_SIZE]; /* as sent: "CHECKOUT", "checkoutCenter" */
};

struct fault value_symbol_read(json_object *from, struct value_symbol *ret);
void value_symbol_write(struct text *to, const struct value_symbol *v);

/* Whether two names are one symbol: Lisp's has no case, so "checkout-center", "checkoutCenter" and "CHECKOUT-CENTER" are. */
bool value_symbol_is(const char *name, const char *other);

/* ---- lists and tables ---- */

struct value_list {
    json_object *members; /* an array, or NULL when the list is empty */
    size_t count;
};

struct fault value_list_read(json_object *from, struct value_list *ret);
void value_list_write(struct text *to, const struct value_list *v);
void value_list_free(struct value_list *v);

struct value_hashtable {
    json_object *members; /* an object; its order is kept. NULL: an empty one */
};

struct fault value_hashtable_read(json_object *from, struct value_hashtable *ret);
void value_hashtable_write(struct text *to, const struct value_hashtable *v);
void value_hashtable_free(struct value_hashtable *v);

/* One resource of an allocation, whole. Clients have seen quantity, state, action, rtype, resource, returnTime in it. */
struct value_allocation_item {
    json_object *members;
};

struct fault value_allocation_item_read(json_object *from, struct value_allocation_item *ret);
void value_allocation_item_write(struct text *to, const struct value_allocation_item *v);
void value_allocation_item_free(struct value_allocation_item *v);

/* ---- collatedString ---- */

/* "The " and "Wind in the Willows": sorted from the first character of the suffix. A missing prefix is "". */
struct value_collated_string {
    json_object *as_sent;
    const char *prefix, *suffix;
};

struct fault value_collated_string_read(json_object *from, struct value_collated_string *ret);
void value_collated_string_write(struct text *to, const struct value_collated_string *v);
void value_collated_string_text(struct text *to, const struct value_collated_string *v); /* as people read it */
void value_collated_string_free(struct value_collated_string *v);

struct value_collated_string_list {
    struct value_collated_string *at;
    size_t count;
};

struct fault value_collated_string_list_read(json_object *from, struct value_collated_string_list *ret);
void value_collated_string_list_write(struct text *to, const struct value_collated_string_list *v);
void value_collated_string_list_free(struct value_collated_string_list *v);

/*
 * Where a title is sorted from: how many bytes of it are the article in front, its blank included ("The " is 4, "L'" is 2).
 * language: its English name as OneClick writes it ("English", "French"; any case), "" when unknown: English is taken.
 * 0 when there is no article, and where nothing would be left ("The").
 */
size_t values_collation(const char *title, const char *language);

/* ---- isbnNumber ---- */

/* "A properly formatted ISBN as a string": as sent, hyphens and all, and as its 13 digits, its check digit verified. */
struct value_isbn_number {
    char written[33];
    char isbn[VALUES_ISBN_SIZE];
};

struct fault value_isbn_number_read(json_object *from, struct value_isbn_number *ret);
void value_isbn_number_write(struct text *to, const struct value_isbn_number *v);

/*
 * An ISBN-13 (978 or 979), with or without hyphens or blanks between its groups; an ISBN-10 becomes its ISBN-13.
 * REJECT says what is wrong with it: "want 13 digits, found 12", "check digit 2, want 1". ret is "" then.
 */
struct fault values_isbn(const char *written, char ret[VALUES_ISBN_SIZE]);

/* ---- time ---- */

/* Negative ones are read: the document does not say that there are none. */
struct value_duration {
    int64_t seconds;
};

struct fault value_duration_read(json_object *from, struct value_duration *ret);
void value_duration_write(struct text *to, const struct value_duration *v);

/*
 * ISO 8601, as 2019-07-03T10:17:15.910231-05:00. "Timezones are meaningful": one without an offset, or a date alone, is no
 * instant and is refused, never taken for UTC. A fraction of more than nine digits is refused.
 */
struct value_timestamp {
    char written[VALUES_TIMESTAMP_SIZE]; /* as sent */
    int64_t at;                          /* whole seconds since 1970 UTC */
    int32_t nanoseconds;                 /* behind them */
    int offset_seconds;                  /* east of UTC */
};

struct fault value_timestamp_read(json_object *from, struct value_timestamp *ret);
void value_timestamp_write(struct text *to, const struct value_timestamp *v);

/* One of our own, in WebCheckout's form: six digits of a fraction, an offset with a colon, of whole minutes. */
void value_timestamp_of(int64_t at, int32_t microseconds, int offset_seconds, struct value_timestamp *ret);

/* {"quantity": 14, "unit": "weeks"}: only weeks and hours have been seen. */
struct value_period {
    json_object *as_sent;
    int64_t quantity;
    const char *unit;
};

struct fault value_period_read(json_object *from, struct value_period *ret);
void value_period_write(struct text *to, const struct value_period *v);
void value_period_free(struct value_period *v);

/* How long it is, where its unit has one length: seconds, minutes, hours, days of 24 hours, weeks. False: months, or others. */
bool value_period_seconds(const struct value_period *v, int64_t *ret_seconds);

/*
 * How long an allocation may last. Of a type other than "duration" nothing is known: its members are read where they
 * are what they are in that one, and are kept in any case. That duration and period agree is not checked: which of them
 * wins, nobody says.
 */
struct value_circulation_period {
    json_object *as_sent;
    const char *type;
    bool has_duration, has_period;
    struct value_duration duration;
    struct value_period period;
};

struct fault value_circulation_period_read(json_object *from, struct value_circulation_period *ret);
void value_circulation_period_write(struct text *to, const struct value_circulation_period *v);
void value_circulation_period_free(struct value_circulation_period *v);

/* ---- money ---- */

/*
 * "A currency symbol, followed by zero or more digits, a decimal place, and two digits": "$2.15", "$.50". Signs, separators
 * of thousands, and a symbol behind are not in that rule and are refused. Which currency "$" is, nothing says.
 * Some calls (addCharge, aggregateValueOut; WebCheckout facts, 4.2) have a bare number instead, in a unit nobody names: it
 * is kept as sent, and no amount is made of it.
 */
struct value_money {
    char written[VALUES_MONEY_SIZE];       /* as sent */
    bool is_number;                        /* without a currency: then minor is 0 and the symbol is "" */
    int64_t minor;                         /* hundredths */
    char symbol[VALUES_CURRENCY_SIZE];     /* "$", "US$", "€" */
};

struct fault value_money_read(json_object *from, struct value_money *ret);
void value_money_write(struct text *to, const struct value_money *v);

/* One of our own: 215 and "$" are "$2.15". REJECT: a negative amount, or a symbol that could not be read back. */
struct fault value_money_of(int64_t minor, const char *symbol, struct value_money *ret);

/* A charge over time. per_sec is amount by seconds of the period, rounded: nothing may be computed from it. */
struct value_simple_rate {
    json_object *as_sent;
    struct value_money amount;
    struct value_period period;
    struct value_float per_sec; /* "" when it was not sent */
};

struct fault value_simple_rate_read(json_object *from, struct value_simple_rate *ret);
void value_simple_rate_write(struct text *to, const struct value_simple_rate *v);
void value_simple_rate_free(struct value_simple_rate *v);

#endif

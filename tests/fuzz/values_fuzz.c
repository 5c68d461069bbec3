/*
 * Any JSON as a value of each type: what is taken is written, and what was written is read as the same value. And the bytes
 * as an ISBN, and as a title, a zero byte and a language: an ISBN that is taken is one, and is taken again as it is; where a
 * title is sorted from lies within it.
 */
#include "common/values.h"

#include "common/json.h"
#include "tests/fuzz/fuzz.h"

/* ---- JSON ---- */

typedef struct fault codec(json_object *from, struct text *to);

#define CODEC_OF(type, release)                                       \
    static struct fault of_##type(json_object *from, struct text *to) \
    {                                                                 \
        struct value_##type v;                                        \
        TRY(value_##type##_read(from, &v));                           \
        value_##type##_write(to, &v);                                 \
        release;                                                      \
        return FAULT_OK;                                              \
    }

CODEC_OF(integer, )
CODEC_OF(float, )
CODEC_OF(boolean, )
CODEC_OF(string, value_string_free(&v))
CODEC_OF(symbol, )
CODEC_OF(list, value_list_free(&v))
CODEC_OF(hashtable, value_hashtable_free(&v))
CODEC_OF(allocation_item, value_allocation_item_free(&v))
CODEC_OF(collated_string, value_collated_string_free(&v))
CODEC_OF(collated_string_list, value_collated_string_list_free(&v))
CODEC_OF(isbn_number, )
CODEC_OF(duration, )
CODEC_OF(timestamp, )
CODEC_OF(period, value_period_free(&v))
CODEC_OF(circulation_period, value_circulation_period_free(&v))
CODEC_OF(money, )
CODEC_OF(simple_rate, value_simple_rate_free(&v))

static void try_codec(codec *of, json_object *from)
{
    SCOPED(json_object_put) json_object *again = NULL;
    struct text written = {0}, twice = {0};
    struct fault f = of(from, &written);

    if (f.kind) {
        want(f.kind == FAULT_REJECT && f.what[0]);
    } else {
        want(!written.failed && written.len && !json_read(text_str(&written), written.len, &again).kind);
        want(!of(again, &twice).kind && !twice.failed && written.len == twice.len);
        want(!memcmp(text_str(&written), text_str(&twice), written.len));
    }
    text_free(&written);
    text_free(&twice);
}

/* What the rows say of a value is what its text says. */
static void try_parts(json_object *from)
{
    struct value_timestamp t, t_again;
    struct value_money m, m_again;
    struct value_symbol s;

    if (!value_timestamp_read(from, &t).kind) {
        want(t.nanoseconds >= 0 && t.nanoseconds < 1000000000 && t.at >= 0);
        value_timestamp_of(t.at, t.nanoseconds / 1000, t.offset_seconds, &t_again);
        SCOPED(json_object_put) json_object *own = json_object_new_string(t_again.written);
        struct value_timestamp read;
        /* a local time before 1970 or after 9999 is no instant of ours */
        if (!value_timestamp_read(own, &read).kind)
            want(read.at == t.at && read.nanoseconds / 1000 == t.nanoseconds / 1000 &&
                 read.offset_seconds == t.offset_seconds);
    }
    if (!value_money_read(from, &m).kind && !m.is_number) {
        want(m.minor >= 0 && !value_money_of(m.minor, m.symbol, &m_again).kind);
        SCOPED(json_object_put) json_object *own = json_object_new_string(m_again.written);
        struct value_money read;
        want(!value_money_read(own, &read).kind && read.minor == m.minor && !strcmp(read.symbol, m.symbol));
    }
    if (!value_symbol_read(from, &s).kind)
        want(value_symbol_is(s.name, s.name));
}

static void try_json(const char *bytes, size_t size)
{
    static codec *const codecs[] = {
        of_integer, of_float, of_boolean, of_string, of_symbol, of_list, of_hashtable, of_allocation_item,
        of_collated_string, of_collated_string_list, of_isbn_number, of_duration, of_timestamp, of_period,
        of_circulation_period, of_money, of_simple_rate,
    };
    SCOPED(json_object_put) json_object *from = NULL;

    if (json_read(bytes, size, &from).kind)
        return;
    for (size_t i = 0; i < COUNT(codecs); i++)
        try_codec(codecs[i], from);
    try_parts(from);
}

/* ---- ISBNs and titles ---- */

static void try_text(const char *title, const char *language)
{
    char isbn[VALUES_ISBN_SIZE], again[VALUES_ISBN_SIZE];

    if (values_isbn(title, isbn).kind)
        want(!isbn[0]);
    else
        want(strspn(isbn, "0123456789") == 13 && !isbn[13] && !values_isbn(isbn, again).kind && !strcmp(isbn, again));

    size_t prefix = values_collation(title, language);
    want(!prefix || (prefix >= 2 && prefix < strlen(title) && title[prefix] != ' '));
    /* an article is no part of what is sorted, so it ends where a word does */
    want(!prefix || title[prefix - 1] == ' ' || title[prefix - 1] == '\'' || (unsigned char)title[prefix - 1] >= 0x80);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *bytes = malloc(size + 2);

    want(bytes != NULL);
    memcpy(bytes, data, size);
    bytes[size] = bytes[size + 1] = '\0';
    try_text(bytes, strlen(bytes) < size ? bytes + strlen(bytes) + 1 : "");
    try_json(bytes, size);
    free(bytes);
    return 0;
}

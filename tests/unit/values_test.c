#include "common/values.h"

#include "common/json.h"
#include "common/scoped.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void test_isbn(void **state)
{
    static const struct {
        const char *when, *written, *want; /* the 13 digits, or the fault */
    } rows[] = {
        {"as OneClick writes it", "9781615730186", "9781615730186"},
        {"with hyphens", "978-1-61573-018-6", "9781615730186"},
        {"with blanks", "978 1 61573 018 6", "9781615730186"},
        {"with both", "978-1 61573-018 6", "9781615730186"},
        {"979", "979-10-90636-07-1", "9791090636071"},
        {"a check digit of 0", "9780306406010", "9780306406010"},
        {"ten digits", "0306406152", "9780306406157"},
        {"ten digits with hyphens", "0-306-40615-2", "9780306406157"},
        {"ten, the last X", "080442957X", "9780804429573"},
        {"ten, the last x", "0-8044-2957-x", "9780804429573"},
        {"ten, the last 0", "0000000000", "9780000000002"},
        {"the one nobody has", "9780307378102", "check digit 2, want 1"},
        {"two digits changed about", "9781615730168", "check digit 8, want 2"},
        {"ten with another check digit", "0306406153", "check digit 3, want 2"},
        {"ten that should end in X", "0804429571", "check digit 1, want X"},
        {"ten that should not end in X", "030640615X", "check digit X, want 2"},
        {"no book's", "9771615730186", "want 978 or 979 in front, found 977"},
        {"thirteen zeros", "0000000000000", "want 978 or 979 in front, found 000"},
        {"nothing", "", "want 13 digits, found 0"},
        {"one digit", "9", "want 13 digits, found 1"},
        {"twelve", "978161573018", "want 13 digits, found 12"},
        {"fourteen", "97816157301860", "want 13 digits, found 14"},
        {"a hundred", "1234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890",
         "want 13 digits, found 100"},
        {"an X at the end of thirteen", "978161573018X", "want digits, found something else at byte 12"},
        {"an X in the middle", "08044X957X", "want digits, found something else at byte 5"},
        {"something after the X", "080442957X1", "want digits, found something else at byte 9"},
        {"a hyphen after the X", "080442957X-", "want digits, found something else at byte 9"},
        {"a hyphen in front", "-9781615730186", "want digits, found something else at byte 0"},
        {"a hyphen at the end", "9781615730186-", "want digits, found something else at byte 13"},
        {"two hyphens", "978--1615730186", "want digits, found something else at byte 4"},
        {"a blank in front", " 9781615730186", "want digits, found something else at byte 0"},
        {"a tab between", "978\t1615730186", "want digits, found something else at byte 3"},
        {"a word in front", "ISBN 9781615730186", "want digits, found something else at byte 0"},
        {"digits that are not ASCII", "\xd9\xa9\xd9\xa7\xd9\xa8", "want digits, found something else at byte 0"},
        {"a price code after it", "9781615730186 90000", "want 13 digits, found 18"},
    };
    (void)state;

    for (size_t i = 0; i < COUNT(rows); i++) {
        char isbn[VALUES_ISBN_SIZE] = "stale";
        struct fault f = values_isbn(rows[i].written, isbn);

        if (f.kind ? f.kind != FAULT_REJECT || strcmp(f.what, rows[i].want) || isbn[0] : strcmp(isbn, rows[i].want))
            fail_msg("%s: '%s' %s", rows[i].when, isbn, f.what);
    }
}

/* One digit wrong, or two neighbours changed about, is what a check digit is for. */
static void test_isbn_catches(void **state)
{
    static const char right[] = "9780306406157";
    char wrong[sizeof right], isbn[VALUES_ISBN_SIZE];
    (void)state;

    for (size_t at = 0; at < sizeof right - 1; at++)
        for (char digit = '0'; digit <= '9'; digit++) {
            memcpy(wrong, right, sizeof right);
            wrong[at] = digit;
            struct fault f = values_isbn(wrong, isbn);
            if (!f.kind != (digit == right[at]))
                fail_msg("%s: %s", wrong, f.kind ? f.what : "taken");
        }
}

static void test_collation(void **state)
{
    static const struct {
        const char *title, *language;
        size_t want;
    } rows[] = {
        {"The Wind in the Willows", "English", 4},
        {"THE WIND", "English", 4},
        {"the wind", "english", 4},
        {"A Tale of Two Cities", "English", 2},
        {"An Ideal Husband", "ENGLISH", 3},
        {"The Wind in the Willows", "", 4},
        {"Le Petit Prince", "", 0},
        {"Tricks", "English", 0},
        {"Theodore", "English", 0},
        {"Another Country", "English", 0},
        {"A-Z", "English", 0},
        {"The", "English", 0},
        {"The ", "English", 0},
        {"A", "", 0},
        {"", "English", 0},
        {" The Wind", "English", 0},
        {"The  Wind", "English", 5},
        {"The\xc2\xa0Wind", "English", 5},
        {"The\xc2\xa0", "English", 0},
        {"The\xc2\xa9 Wind", "English", 0},
        {"Die Hard", "English", 0},
        {"Die Verwandlung", "German", 4},
        {"Ein Sommernachtstraum", "German", 4},
        {"Einer flog \xc3\xbc" "ber das Kuckucksnest", "German", 6},
        {"Eine kurze Geschichte der Zeit", "German", 5},
        {"Des Teufels General", "German", 4},
        {"Diebe", "German", 0},
        {"Le Petit Prince", "French", 3},
        {"Les Mis\xc3\xa9rables", "French", 4},
        {"L'\xc3\xa9tranger", "French", 2},
        {"L\xe2\x80\x99\xc3\xa9tranger", "French", 4},
        {"l' avare", "French", 3},
        {"L'", "French", 0},
        {"L\xe2\x80\x99", "French", 0},
        {"L\xe2\x80", "French", 0},
        {"Une vie", "French", 4},
        {"Des fleurs", "French", 0},
        {"The End", "French", 0},
        {"L'Chaim", "English", 0},
        {"El ingenioso hidalgo", "Spanish", 3},
        {"La casa de los esp\xc3\xadritus", "Spanish", 3},
        {"Lo que el viento se llev\xc3\xb3", "Spanish", 3},
        {"Unos cuantos piquetitos", "Spanish", 0},
        {"Il nome della rosa", "Italian", 3},
        {"L'amica geniale", "Italian", 2},
        {"Un'estate", "Italian", 3},
        {"Un giorno", "Italian", 3},
        {"Gli indifferenti", "Italian", 4},
        {"Gl'innamorati", "Italian", 3},
        {"I promessi sposi", "Italian", 2},
        {"O Alquimista", "Portuguese", 2},
        {"As intermit\xc3\xaancias da morte", "Portuguese", 3},
        {"Uma ma\xc3\xa7\xc3\xa3 no escuro", "Portuguese", 4},
        {"De ontdekking van de hemel", "Dutch", 3},
        {"Het diner", "Dutch", 4},
        {"'t Hooge nest", "Dutch", 3},
        {"\xe2\x80\x99n Huis", "Dutch", 5},
        {"Een", "Dutch", 0},
        {"Den lille havfrue", "Danish", 4},
        {"Et dukkehjem", "Norwegian", 3},
        {"Ett drama", "Swedish", 4},
        {"Az ember trag\xc3\xa9" "di\xc3\xa1ja", "Hungarian", 3},
        {"Els miserables", "Catalan", 4},
        {"The Blue Fox", "Icelandic", 0},
        {"The Idiot", "Russian", 0},
        {"The Idiot", "Englis", 0},
        {"The Idiot", "English, Old", 0},
    };
    (void)state;

    for (size_t i = 0; i < COUNT(rows); i++) {
        size_t found = values_collation(rows[i].title, rows[i].language);

        if (found != rows[i].want)
            fail_msg("'%s' in '%s': %zu, want %zu", rows[i].title, rows[i].language, found, rows[i].want);
    }
}

/* ---- each type of the document: what is read, what is written for it ---- */

typedef struct fault codec(json_object *from, struct text *to);

#define CODEC_OF(type)                                             \
    static struct fault of_##type(json_object *from, struct text *to) \
    {                                                              \
        struct value_##type v;                                     \
        TRY(value_##type##_read(from, &v));                        \
        value_##type##_write(to, &v);                              \
        return FAULT_OK;                                           \
    }
#define CODEC_OF_FREED(type)                                       \
    static struct fault of_##type(json_object *from, struct text *to) \
    {                                                              \
        struct value_##type v;                                     \
        TRY(value_##type##_read(from, &v));                        \
        value_##type##_write(to, &v);                              \
        value_##type##_free(&v);                                   \
        value_##type##_free(&v);                                   \
        return FAULT_OK;                                           \
    }

CODEC_OF(integer)
CODEC_OF(float)
CODEC_OF(boolean)
CODEC_OF_FREED(string)
CODEC_OF(symbol)
CODEC_OF_FREED(list)
CODEC_OF_FREED(hashtable)
CODEC_OF_FREED(allocation_item)
CODEC_OF_FREED(collated_string)
CODEC_OF_FREED(collated_string_list)
CODEC_OF(isbn_number)
CODEC_OF(duration)
CODEC_OF(timestamp)
CODEC_OF_FREED(period)
CODEC_OF_FREED(circulation_period)
CODEC_OF(money)
CODEC_OF_FREED(simple_rate)

struct situation {
    const char *when, *json, *want; /* what is written for it, the fault, or NULL: what was read, as it stands */
};

static void check(codec *of, const struct situation *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const char *want = rows[i].want ? rows[i].want : rows[i].json;
        SCOPED(json_object_put) json_object *from = NULL, *again = NULL;
        struct text written = {0}, twice = {0};

        assert_int_equal(json_read(rows[i].json, strlen(rows[i].json), &from).kind, FAULT_NONE);
        struct fault f = of(from, &written);
        if (f.kind ? f.kind != FAULT_REJECT || strcmp(f.what, want) : strcmp(text_str(&written), want))
            fail_msg("%s: %s%s", rows[i].when, f.what, text_str(&written));
        if (!f.kind) { /* and what was written is the same value */
            assert_int_equal(json_read(text_str(&written), written.len, &again).kind, FAULT_NONE);
            assert_int_equal(of(again, &twice).kind, FAULT_NONE);
            assert_string_equal(text_str(&twice), text_str(&written));
        }
        text_free(&written);
        text_free(&twice);
    }
}

#define CHECK(of, rows) check(of, rows, COUNT(rows))

static void test_numbers(void **state)
{
    static const struct situation integers[] = {
        {"positive", "14", NULL},
        {"negative", "-14", NULL},
        {"nothing, which the document's words leave out", "0", NULL},
        {"beyond what a double holds", "9007199254740993", NULL},
        {"the largest", "9223372036854775807", NULL},
        {"the smallest", "-9223372036854775807", NULL},
        {"one more", "9223372036854775808", "want an integer up to 9223372036854775807, found a larger one"},
        {"one less", "-9223372036854775808", "holds an integer of more than 64 bits"},
        {"Lisp's own size", "123456789012345678901234567890", "holds an integer of more than 64 bits"},
        {"Lisp's own size, negative", "-123456789012345678901234567890", "holds an integer of more than 64 bits"},
        {"a fraction", "14.0", "want an integer, found a number"},
        {"a string", "\"14\"", "want an integer, found a string"},
        {"null", "null", "want an integer, found null"},
    };
    static const struct situation floats[] = {
        {"a rounded third", "0.000555555556", NULL},
        {"zeros at the end", "2.50", NULL},
        {"an exponent", "1E-7", NULL},
        {"minus nothing", "-0.0", NULL},
        {"more digits than a double has", "0.1000000000000000055511151231257827021181583404541015625", NULL},
        {"larger than a double", "1e400", NULL},
        {"whole", "2", NULL},
        {"whole and large", "9007199254740993", NULL},
        {"whole and too large", "18446744073709551616", "holds an integer of more than 64 bits"},
        {"a string", "\"2.5\"", "want a number, found a string"},
        {"65 digits", "0.00000000000000000000000000000000000000000000000000000000000000001",
         "want a number, found one of 67 digits, at most 64 fit"},
    };
    static const struct situation booleans[] = {
        {"true", "true", NULL},
        {"false", "false", NULL},
        {"nil as null", "null", "false"},
        {"nil as an empty list", "[]", "false"},
        {"a list", "[1]", "want true or false, found an array"},
        {"a word", "\"true\"", "want true or false, found a string"},
        {"a number", "1", "want true or false, found an integer"},
    };
    (void)state;

    CHECK(of_integer, integers);
    CHECK(of_float, floats);
    CHECK(of_boolean, booleans);
}

static void test_texts(void **state)
{
    static const struct situation strings[] = {
        {"a text", "\"Le Petit Prince\"", NULL},
        {"none", "\"\"", NULL},
        {"beyond ASCII", "\"\xc3\xa9\xf0\x9f\x93\x9a\"", NULL},
        {"escaped", "\"a\\\"b\\\\c/d\\n\"", NULL},
        {"a zero byte inside", "\"a\\u0000b\"", NULL},
        {"a number", "1", "want a string, found an integer"},
    };
    static const struct situation symbols[] = {
        {"a state", "\"CHECKOUT\"", NULL},
        {"a class", "\"checkout-center\"", NULL},
        {"empty", "\"\"", "want a symbol, found an empty string"},
        {"a zero byte inside", "\"a\\u0000b\"", "want a symbol, found one with a zero byte"},
        {"no string", "{}", "want a symbol, found an object"},
    };
    static const struct situation isbns[] = {
        {"with hyphens, as sent", "\"978-0-306-40615-7\"", NULL},
        {"ten digits, as sent", "\"0-8044-2957-x\"", NULL},
        {"a check digit that is wrong", "\"9780306406158\"", "check digit 8, want 7"},
        {"a number", "9780306406157", "want an ISBN as a string, found an integer"},
        {"far too long", "\"978-0-306-40615-7-978-0-306-40615-7\"",
         "want an ISBN as a string, found one of 35 bytes, at most 32 fit"},
    };
    static const struct situation collated[] = {
        {"the document's own", "{\"prefix\":\"The \",\"suffix\":\"Wind in the Willows\"}", NULL},
        {"no prefix", "{\"suffix\":\"Emma\"}", "{\"prefix\":\"\",\"suffix\":\"Emma\"}"},
        {"nil for one", "{\"prefix\":null,\"suffix\":\"Emma\"}", "{\"prefix\":\"\",\"suffix\":\"Emma\"}"},
        {"an empty one", "{\"prefix\":\"\",\"suffix\":\"Emma\"}", NULL},
        {"an empty suffix", "{\"prefix\":\"A\",\"suffix\":\"\"}", NULL},
        {"members nobody knows", "{\"prefix\":\"\",\"suffix\":\"Emma\",\"locale\":{\"a\":[null,1.50]},\"x/y\":true}", NULL},
        {"in another order", "{\"new\":1,\"suffix\":\"b\",\"prefix\":\"a\"}", "{\"prefix\":\"a\",\"suffix\":\"b\",\"new\":1}"},
        {"no suffix", "{\"prefix\":\"The \"}", "suffix: want a string, found null"},
        {"a prefix of another kind", "{\"prefix\":1,\"suffix\":\"a\"}", "prefix: want a string, found an integer"},
        {"a plain string", "\"Emma\"", "want a collatedString, found a string"},
        {"an integer that would not come out as it came", "{\"suffix\":\"a\",\"n\":[18446744073709551616]}",
         "holds an integer of more than 64 bits"},
    };
    static const struct situation collated_lists[] = {
        {"two", "[{\"prefix\":\"A \",\"suffix\":\"b\"},{\"prefix\":\"\",\"suffix\":\"c\",\"n\":1}]", NULL},
        {"none", "[]", NULL},
        {"nil", "null", "[]"},
        {"one that is none", "[{\"suffix\":\"b\"},\"c\"]", "element 1: want a collatedString, found a string"},
        {"no list", "{\"suffix\":\"b\"}", "want a list, found an object"},
    };
    (void)state;

    CHECK(of_string, strings);
    CHECK(of_symbol, symbols);
    CHECK(of_isbn_number, isbns);
    CHECK(of_collated_string, collated);
    CHECK(of_collated_string_list, collated_lists);
}

static void test_lists_and_tables(void **state)
{
    static const struct situation lists[] = {
        {"mixed", "[1,\"a\",null,[2.50],{\"a/b\":false}]", NULL},
        {"empty", "[]", NULL},
        {"nil as null", "null", "[]"},
        {"nil as false", "false", "[]"},
        {"true", "true", "want a list, found a boolean"},
        {"an object", "{}", "want a list, found an object"},
        {"an integer too large within", "[[18446744073709551616]]", "holds an integer of more than 64 bits"},
    };
    static const struct situation tables[] = {
        {"in its order", "{\"b\":1,\"a\":{\"c\":[]},\"\":null}", NULL},
        {"empty", "{}", NULL},
        {"null", "null", "want a hashtable, found null"},
        {"a list", "[]", "want a hashtable, found an array"},
    };
    static const struct situation items[] = {
        {"as clients have seen them",
         "{\"quantity\":1,\"state\":\"CHECKOUT\",\"resource\":{\"_class\":\"resource\",\"oid\":7,\"name\":\"Room 1\"}}", NULL},
        {"fields nobody knows", "{\"slots\":[{\"a\":1}]}", NULL},
        {"no object", "7", "want an allocationItem, found an integer"},
    };
    (void)state;

    CHECK(of_list, lists);
    CHECK(of_hashtable, tables);
    CHECK(of_allocation_item, items);
}

static void test_time(void **state)
{
    static const struct situation durations[] = {
        {"14 weeks", "8467200", NULL},
        {"negative", "-60", NULL},
        {"half a second", "0.5", "want an integer, found a number"},
    };
    static const struct situation timestamps[] = {
        {"as WebCheckout writes it", "\"2019-07-03T10:17:15.910231-05:00\"", NULL},
        {"without a fraction", "\"2019-07-03T10:17:15-05:00\"", NULL},
        {"in UTC", "\"2019-07-03T15:17:15.000001Z\"", NULL},
        {"an offset without a colon", "\"2019-07-03T10:17:15.9-0500\"", NULL},
        {"nine digits", "\"2019-07-03T10:17:15.910231999+00:00\"", NULL},
        {"ten digits", "\"2019-07-03T10:17:15.9102319990+00:00\"", "want a fraction of a second of at most nine digits"},
        {"no offset", "\"2019-07-03T10:17:15.910231\"",
         "want a time with an offset, as 2019-07-03T10:17:15.910231-05:00"},
        {"a date alone", "\"2019-07-03\"", "want a time with an offset, as 2019-07-03T10:17:15.910231-05:00"},
        {"seconds since 1970", "1562167035", "want a timestamp as a string, found an integer"},
        {"null", "null", "want a timestamp as a string, found null"},
    };
    static const struct situation periods[] = {
        {"weeks", "{\"quantity\":14,\"unit\":\"weeks\"}", NULL},
        {"a unit nobody has seen", "{\"quantity\":1,\"unit\":\"semesters\",\"calendar\":\"fall\"}", NULL},
        {"half of one", "{\"quantity\":0.5,\"unit\":\"hours\"}", "quantity: want an integer, found a number"},
        {"no unit", "{\"quantity\":1}", "unit: want a string, found null"},
    };
    static const struct situation circulation[] = {
        {"the document's own", "{\"type\":\"duration\",\"duration\":8467200,\"period\":{\"quantity\":14,\"unit\":\"weeks\"}}",
         NULL},
        {"two that disagree", "{\"type\":\"duration\",\"duration\":1,\"period\":{\"quantity\":14,\"unit\":\"weeks\"}}", NULL},
        {"without seconds", "{\"type\":\"duration\",\"period\":{\"quantity\":1,\"unit\":\"months\"}}", NULL},
        {"without a period", "{\"type\":\"duration\",\"duration\":60}", NULL},
        {"more members, at both levels",
         "{\"type\":\"duration\",\"duration\":60,\"period\":{\"quantity\":1,\"unit\":\"minutes\",\"x\":1},\"grace\":[]}", NULL},
        {"another type, in which anything may stand",
         "{\"type\":\"fixed-time\",\"duration\":\"17:00\",\"period\":[1],\"day\":\"next\"}", NULL},
        {"another type with seconds", "{\"type\":\"end-of-day\",\"duration\":60,\"period\":\"day\"}", NULL},
        {"no type", "{\"duration\":60}", "type: want a string, found null"},
        {"seconds as text", "{\"type\":\"duration\",\"duration\":\"60\"}", "duration: want an integer, found a string"},
        {"seconds as text beside a period",
         "{\"type\":\"Duration\",\"duration\":\"60\",\"period\":{\"quantity\":1,\"unit\":\"m\"}}",
         "duration: want an integer, found a string"},
        {"a period without a unit", "{\"type\":\"duration\",\"period\":{\"quantity\":1}}",
         "period: unit: want a string, found null"},
    };
    (void)state;

    CHECK(of_duration, durations);
    CHECK(of_timestamp, timestamps);
    CHECK(of_period, periods);
    CHECK(of_circulation_period, circulation);
}

static void test_money(void **state)
{
    static const struct situation money_rows[] = {
        {"the document's own", "\"$2.15\"", NULL},
        {"no digit before the point", "\"$.50\"", NULL},
        {"zeros in front", "\"$007.00\"", NULL},
        {"another currency", "\"\xe2\x82\xac" "12.00\"", NULL},
        {"letters for a symbol", "\"US$1.00\"", NULL},
        {"the largest", "\"$92233720368547758.07\"", NULL},
        {"more", "\"$92233720368547758.08\"", "want money of up to 9223372036854775807 hundredths, found more"},
        {"a bare number", "2000", NULL},
        {"a bare number with a fraction", "12.50", NULL},
        {"no symbol", "\"2.15\"", "want money as \"$2.15\", found no symbol in front"},
        {"no symbol and no digit", "\".15\"", "want money as \"$2.15\", found no symbol in front"},
        {"one digit behind", "\"$2.5\"", "want money as \"$2.15\": digits, a point and two digits behind the symbol"},
        {"three digits behind", "\"$2.150\"", "want money as \"$2.15\": digits, a point and two digits behind the symbol"},
        {"no point", "\"$215\"", "want money as \"$2.15\": digits, a point and two digits behind the symbol"},
        {"thousands", "\"$1,000.00\"", "want money as \"$2.15\": digits, a point and two digits behind the symbol"},
        {"a sign behind the symbol", "\"$-2.15\"", "want money as \"$2.15\": digits, a point and two digits behind the symbol"},
        {"a sign in front", "\"-$2.15\"", "want money as \"$2.15\", found no symbol in front"},
        {"a minus of printers", "\"\xe2\x88\x92$2.15\"", "want money as \"$2.15\", found no symbol in front"},
        {"in brackets", "\"($2.15)\"", "want money as \"$2.15\", found no symbol in front"},
        {"a blank behind the symbol",
         "\"$ 2.15\"", "want money as \"$2.15\": digits, a point and two digits behind the symbol"},
        {"the symbol behind", "\"2.15$\"", "want money as \"$2.15\", found no symbol in front"},
        {"a symbol alone", "\"$\"", "want money as \"$2.15\": digits, a point and two digits behind the symbol"},
        {"a long symbol", "\"abcdefghijklmnopq1.00\"", "want money as \"$2.15\", found a longer symbol"},
        {"a zero byte", "\"$2.15\\u0000\"", "want money as \"$2.15\", found one with a zero byte"},
        {"null", "null", "want money as \"$2.15\", found null"},
        {"nothing", "\"\"", "want money as \"$2.15\", found no symbol in front"},
    };
    static const struct situation rates[] = {
        {"the document's own",
         "{\"amount\":\"$2.00\",\"period\":{\"quantity\":1,\"unit\":\"hours\"},\"perSec\":0.000555555556}", NULL},
        {"the document's text", "{\"Amount\":\"$2.00\",\"period\":{\"quantity\":1,\"unit\":\"hours\"}}", NULL},
        {"both", "{\"amount\":\"$2.00\",\"period\":{\"quantity\":1,\"unit\":\"hours\"},\"perSec\":1,\"Amount\":\"?\"}", NULL},
        {"more members",
         "{\"amount\":\"$2.00\",\"period\":{\"quantity\":1,\"unit\":\"hours\"},\"perSec\":5.0E-4,\"cap\":\"$9.00\"}",
         NULL},
        {"no amount", "{\"period\":{\"quantity\":1,\"unit\":\"hours\"}}", "amount: want money as \"$2.15\", found null"},
        {"no period", "{\"amount\":\"$2.00\"}", "period: want a period, found null"},
        {"perSec as text", "{\"amount\":\"$2.00\",\"perSec\":\"x\",\"period\":{\"quantity\":1,\"unit\":\"hours\"}}",
         "perSec: want a number, found a string"},
    };
    (void)state;

    CHECK(of_money, money_rows);
    CHECK(of_simple_rate, rates);
}

static json_object *parsed(const char *json)
{
    json_object *from = NULL;

    assert_int_equal(json_read(json, strlen(json), &from).kind, FAULT_NONE);
    return from;
}

static void test_what_is_in_them(void **state)
{
    SCOPED(json_object_put) json_object *stamp = parsed("\"2019-07-03T10:17:15.91-05:00\"");
    SCOPED(json_object_put) json_object *half = parsed("\"$.50\"");
    SCOPED(json_object_put) json_object *isbn = parsed("\"0-306-40615-2\"");
    SCOPED(json_object_put) json_object *title = parsed("{\"prefix\":\"The \",\"suffix\":\"Idiot\"}");
    struct value_timestamp t, own;
    struct value_money m;
    struct value_isbn_number n;
    struct value_collated_string c;
    struct text text = {0};
    (void)state;

    assert_int_equal(value_timestamp_read(stamp, &t).kind, FAULT_NONE);
    assert_int_equal(t.at, 1562167035);
    assert_int_equal(t.nanoseconds, 910000000);
    assert_int_equal(t.offset_seconds, -18000);
    value_timestamp_of(1562167035, 910231, -18000, &own);
    assert_string_equal(own.written, "2019-07-03T10:17:15.910231-05:00");
    value_timestamp_of(1562167035, 1, 20700, &own);
    assert_string_equal(own.written, "2019-07-03T21:02:15.000001+05:45");

    assert_int_equal(value_money_read(half, &m).kind, FAULT_NONE);
    assert_int_equal(m.minor, 50);
    assert_string_equal(m.symbol, "$");
    assert_int_equal(value_money_of(215, "$", &m).kind, FAULT_NONE);
    assert_string_equal(m.written, "$2.15");
    assert_int_equal(value_money_of(5, "\xe2\x82\xac", &m).kind, FAULT_NONE);
    assert_string_equal(m.written, "\xe2\x82\xac" "0.05");
    assert_int_equal(value_money_of(-1, "$", &m).kind, FAULT_REJECT);
    assert_int_equal(value_money_of(1, "", &m).kind, FAULT_REJECT);
    assert_int_equal(value_money_of(1, "$ ", &m).kind, FAULT_REJECT);

    assert_int_equal(value_isbn_number_read(isbn, &n).kind, FAULT_NONE);
    assert_string_equal(n.isbn, "9780306406157");

    assert_int_equal(value_collated_string_read(title, &c).kind, FAULT_NONE);
    value_collated_string_text(&text, &c);
    assert_string_equal(text_str(&text), "The Idiot");
    value_collated_string_free(&c);
    text_clear(&text);
    value_collated_string_write(&text, &(struct value_collated_string){.prefix = "L'", .suffix = "Avare"});
    assert_string_equal(text_str(&text), "{\"prefix\":\"L'\",\"suffix\":\"Avare\"}");
    text_free(&text);
}

static void test_periods_in_seconds(void **state)
{
    static const struct {
        int64_t quantity;
        const char *unit;
        bool known;
        int64_t seconds;
    } rows[] = {
        {14, "weeks", true, 8467200}, {1, "hours", true, 3600}, {1, "hour", true, 3600}, {2, "DAYS", true, 172800},
        {90, "minutes", true, 5400}, {0, "seconds", true, 0}, {-1, "hours", true, -3600}, {1, "months", false, 0},
        {1, "", false, 0}, {INT64_MAX, "weeks", false, 0},
    };
    (void)state;

    for (size_t i = 0; i < COUNT(rows); i++) {
        int64_t seconds = 0;
        struct value_period period = {.quantity = rows[i].quantity, .unit = rows[i].unit};

        if (value_period_seconds(&period, &seconds) != rows[i].known || (rows[i].known && seconds != rows[i].seconds))
            fail_msg("%lld %s: %lld", (long long)rows[i].quantity, rows[i].unit, (long long)seconds);
    }
}

static void test_symbols_alike(void **state)
{
    static const struct {
        const char *one, *other;
        bool same;
    } rows[] = {
        {"checkoutCenter",
         "checkout-center", true}, {"CHECKOUT", "checkout", true}, {"CHECKOUT-CENTER", "checkoutcenter", true},
        {"CHECKOUT", "CHECKOUTS", false}, {"", "a", false}, {"", "", true}, {"a-", "a", true},
    };
    (void)state;

    for (size_t i = 0; i < COUNT(rows); i++)
        if (value_symbol_is(rows[i].one, rows[i].other) != rows[i].same ||
            value_symbol_is(rows[i].other, rows[i].one) != rows[i].same)
            fail_msg("%s, %s", rows[i].one, rows[i].other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_isbn),
        cmocka_unit_test(test_isbn_catches),
        cmocka_unit_test(test_collation),
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_texts),
        cmocka_unit_test(test_lists_and_tables),
        cmocka_unit_test(test_time),
        cmocka_unit_test(test_money),
        cmocka_unit_test(test_what_is_in_them),
        cmocka_unit_test(test_periods_in_seconds),
        cmocka_unit_test(test_symbols_alike),
    };

    return cmocka_run_group_tests_name("values", tests, NULL, NULL);
}

#include "common/json.h"

#include "common/scoped.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void test_read(void **state)
{
    static const struct {
        const char *when, *in, *want; /* what is part of the fault; NULL: lawful */
    } texts[] = {
        {"an object", "{\"a\":[1,2.5,-3e+7,true,false,null,\"x\"]}", NULL},
        {"space around", " \t\r\n{ } \t\r\n", NULL},
        {"a bare number", "12", NULL},
        {"a bare number and space", "12 ", NULL},
        {"a bare word", "null", NULL},
        {"zero", "[0,-0,0.0,0e1]", NULL},
        {"a number nobody can hold", "[1e999,123456789012345678901234567890]", NULL},
        {"every escape", "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9\"", NULL},
        {"a backslash before the last quote", "[\"a\\\\\",\"b\"]", NULL},
        {"a pair of surrogates", "\"\\ud83d\\ude00\"", NULL},
        {"half a pair becomes U+FFFD", "\"\\ud83d\"", NULL},
        {"letters of every language", "{\"\xc3\xa9\":\"\xd0\x94\xce\xb1\xe4\xb8\xad\"}", NULL},
        {"the widest UTF-8", "\"\xf4\x8f\xbf\xbf\xed\x9f\xbf\xee\x80\x80\xe0\xa0\x80\xc2\x80\"", NULL},
        {"DEL in a string", "\"\x7f\"", NULL},
        {"NaN and quotes in a string", "\"NaN 'x' 01\"", NULL},
        {"nothing", "", "empty"},
        {"only space", "  ", "unexpected end"},
        {"an array that does not end", "[1,2", "not JSON"},
        {"a string that does not end", "\"abc", "not JSON"},
        {"a string that ends in a backslash", "\"abc\\", "not JSON"},
        {"two values", "1 2", "not JSON"},
        {"something after it", "{} x", "not JSON"},
        {"a comma too many", "[1,]", "not JSON"},
        {"a comma too many in an object", "{\"a\":1,}", "not JSON"},
        {"a comma too many, and a space", "[true, ]", "a comma too many before byte 7"},
        {"two commas", "[1,,2]", "not JSON"},
        {"a comma alone", "[,1]", "not JSON"},
        {"no comma", "[1 2]", "not JSON"},
        {"no colon", "{\"a\" 1}", "not JSON"},
        {"no value", "{\"a\":}", "not JSON"},
        {"a bare key", "{a:1}", "not JSON"},
        {"a number as key", "{1:1}", "not JSON"},
        {"single quotes", "{'a':1}", "unexpected character at byte 1"},
        {"a comment", "/* x */ 1", "not JSON"},
        {"a comment within", "[1,// x\n2]", "not JSON"},
        {"a byte order mark", "\xef\xbb\xbf{}", "not JSON"},
        {"capitals", "TRUE", "not JSON"},
        {"capitals within", "[true,nUll]", "unexpected character at byte 6"},
        {"half a word", "tru", "not JSON"},
        {"a word and a half", "[trueish]", "not JSON"},
        {"two words", "[truefalse]", "not JSON"},
        {"NaN", "[NaN]", "unexpected character at byte 1"},
        {"Infinity", "Infinity", "unexpected character at byte 0"},
        {"minus Infinity", "-Infinity", "no number at byte 0"},
        {"a zero in front", "[01]", "no number at byte 1"},
        {"a minus and a zero in front", "[-01]", "no number at byte 1"},
        {"a zero in front of a fraction", "00.5", "no number"},
        {"no digit after the point", "[1.]", "no number"},
        {"no digit before the point", "[.5]", "not JSON"},
        {"no exponent", "[1e]", "no number"},
        {"no exponent after its sign", "[1e+", "no number"},
        {"only a minus", "-", "no number"},
        {"a plus", "+1", "not JSON"},
        {"hexadecimal", "0x10", "not JSON"},
        {"a tab in a string", "\"a\tb\"", "control character in a string at byte 2"},
        {"a line end in a key", "{\"a\nb\":1}", "control character"},
        {"a line end after a backslash", "\"a\\\nb\"", "control character"},
        {"a tab far into a string", "\"abcdefghijklmnopqrstu\tvwx\"", "control character in a string at byte 22"},
        {"bad UTF-8 far into a string", "\"abcdefghijklmnopqrstu\xc0\x80\"", "invalid UTF-8 at byte 22"},
        {"a quote far into a string", "\"abcdefghijk\\\"mnopqrstu\", 01", "no number at byte 26"},
        {"a form feed between values", "[1,\f2]", "not JSON"},
        {"an escape nobody knows", "\"\\x\"", "not JSON"},
        {"half an escape", "\"\\u12\"", "not JSON"},
        {"a byte that is no UTF-8", "\"\xff\"", "invalid UTF-8 at byte 1"},
        {"half a character at the end", "[\"\xe2\x82", "invalid UTF-8 at byte 2"},
        {"half a character in a string", "\"\xe2\x82\"", "invalid UTF-8"},
        {"a continuation alone", "\"\x80\"", "invalid UTF-8"},
        {"overlong, two bytes", "\"\xc0\x80\"", "invalid UTF-8"},
        {"overlong, two bytes, a letter", "\"\xc1\xbf\"", "invalid UTF-8"},
        {"overlong, three bytes", "\"\xe0\x9f\xbf\"", "invalid UTF-8"},
        {"overlong, four bytes", "\"\xf0\x8f\xbf\xbf\"", "invalid UTF-8"},
        {"a surrogate in UTF-8", "\"\xed\xa0\x80\"", "invalid UTF-8"},
        {"beyond U+10FFFF", "\"\xf4\x90\x80\x80\"", "invalid UTF-8"},
        {"bad UTF-8 in a key", "{\"\xc0\x80\":1}", "invalid UTF-8"},
        {"bad UTF-8 after the value", "{}\xff", "invalid UTF-8"},
    };
    (void)state;

    for (size_t i = 0; i < COUNT(texts); i++) {
        SCOPED(json_object_put) json_object *value = NULL;
        struct fault f = json_read(texts[i].in, strlen(texts[i].in), &value);

        if (texts[i].want ? f.kind != FAULT_REJECT || !strstr(f.what, texts[i].want) || value : f.kind != FAULT_NONE)
            fail_msg("%s: %s", texts[i].when, f.kind ? f.what : "accepted");
    }
}

static void test_bounds(void **state)
{
    char deep[2 * JSON_DEPTH_MAX + 3] = "";
    json_object *value;
    (void)state;

    memset(deep, '[', JSON_DEPTH_MAX);
    memset(deep + JSON_DEPTH_MAX, ']', JSON_DEPTH_MAX);
    struct fault f = json_read(deep, strlen(deep), &value);
    if (f.kind)
        fail_msg("as deep as may be: %s", f.what);
    json_object_put(value);
    memset(deep, '[', JSON_DEPTH_MAX + 1);
    memset(deep + JSON_DEPTH_MAX + 1, ']', JSON_DEPTH_MAX + 1);
    assert_int_equal(json_read(deep, strlen(deep), &value).kind, FAULT_REJECT);

    assert_int_equal(json_read("{}\0", 3, &value).kind, FAULT_REJECT);
    assert_int_equal(json_read("[1\0]", 4, &value).kind, FAULT_REJECT);
    assert_int_equal(json_read(NULL, 0, &value).kind, FAULT_REJECT);
    assert_null(value);

    /* the length counts, not a terminator; and a refusal leaves nothing behind for the next */
    f = json_read("[1]garbage", 3, &value);
    assert_false(f.kind);
    json_object_put(value);
}

static const char members[] =
    "{\"text\":\"abc\",\"empty\":\"\",\"null\":null,\"int\":42,\"big\":9223372036854775808,\"huge\":99999999999999999999,"
    "\"real\":1.5,\"list\":[],\"object\":{},\"true\":true,\"zero\":\"a\\u0000b\",\"twice\":\"x\",\"twice\":\"y\","
    "\"at\":\"2026-10-12T10:00:00-04:00\",\"never\":\"2026-02-30T10:00:00Z\"}";

static void test_text(void **state)
{
    static const struct {
        const char *key;
        size_t size;
        const char *want, *fault, *opt_fault;
    } gets[] = {
        {"text", 8, "abc", NULL, NULL},
        {"text", 4, "abc", NULL, NULL},
        {"text", 3, NULL, "text: 3 bytes, at most 2 fit", "text: 3 bytes, at most 2 fit"},
        {"twice", 8, "y", NULL, NULL},
        {"absent", 8, NULL, "absent: missing", NULL},
        {"null", 8, NULL, "null: missing", NULL},
        {"empty", 8, NULL, "empty: empty", NULL},
        {"zero", 8, NULL, "zero: holds a zero byte", "zero: holds a zero byte"},
        {"int", 8, NULL, "int: want a string, found an int", "int: want a string, found an int"},
        {"real", 8, NULL, "real: want a string, found a double", "real: want a string, found a double"},
        {"list", 8, NULL, "list: want a string, found an array", "list: want a string, found an array"},
        {"object", 8, NULL, "object: want a string, found an object", "object: want a string, found an object"},
        {"true", 8, NULL, "true: want a string, found a boolean", "true: want a string, found a boolean"},
    };
    SCOPED(json_object_put) json_object *in = NULL;
    (void)state;

    assert_false(json_read(members, strlen(members), &in).kind);
    for (size_t i = 0; i < COUNT(gets); i++) {
        char got[8] = "junk";
        struct fault f = json_text(in, gets[i].key, got, gets[i].size);

        if (gets[i].fault ? strcmp(f.what, gets[i].fault) : f.kind || strcmp(got, gets[i].want))
            fail_msg("%s: %s %s", gets[i].key, got, f.what);
        f = json_text_opt(in, gets[i].key, got, gets[i].size);
        if (gets[i].opt_fault ? strcmp(f.what, gets[i].opt_fault)
                              : f.kind || strcmp(got, gets[i].want ? gets[i].want : ""))
            fail_msg("%s, optional: %s %s", gets[i].key, got, f.what);
    }
    assert_string_equal(json_str(in, "text"), "abc");
    assert_null(json_str(in, "int"));
    assert_null(json_str(in, "absent"));
    assert_null(json_get(in, "null"));
    assert_null(json_get(NULL, "text"));
    assert_null(json_get(json_get(in, "list"), "text"));
}

static void test_int(void **state)
{
    static const struct {
        const char *key;
        int64_t min, max;
        const char *fault;
    } gets[] = {
        {"int", 0, 100, NULL},
        {"int", 42, 42, NULL},
        {"int", 43, 100, "int: out of range, want 43 to 100"},
        {"int", 0, 41, "int: out of range, want 0 to 41"},
        {"big", 0, INT64_MAX, "big: out of range"},
        {"huge", 0, INT64_MAX, "huge: out of range"},
        {"real", 0, 100, "real: want a whole number, found a double"},
        {"text", 0, 100, "text: want a whole number, found a string"},
        {"absent", 0, 100, "absent: missing"},
        {"null", 0, 100, "null: missing"},
    };
    SCOPED(json_object_put) json_object *in = NULL;
    (void)state;

    assert_false(json_read(members, strlen(members), &in).kind);
    for (size_t i = 0; i < COUNT(gets); i++) {
        int64_t got = 0;
        struct fault f = json_int(in, gets[i].key, gets[i].min, gets[i].max, &got);

        if (gets[i].fault ? f.kind != FAULT_REJECT || !strstr(f.what, gets[i].fault) : f.kind || got != 42)
            fail_msg("%s: %lld %s", gets[i].key, (long long)got, f.what);
    }
}

static void test_instant(void **state)
{
    SCOPED(json_object_put) json_object *in = NULL;
    int64_t got = 0;
    (void)state;

    assert_false(json_read(members, strlen(members), &in).kind);
    assert_false(json_instant(in, "at", &got).kind);
    assert_int_equal(got, 1791813600);
    assert_string_equal(json_instant(in, "never", &got).what, "never: want an instant as 2026-10-12T14:00:00Z");
    assert_string_equal(json_instant(in, "absent", &got).what, "absent: missing");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_read), cmocka_unit_test(test_bounds),  cmocka_unit_test(test_text),
        cmocka_unit_test(test_int),  cmocka_unit_test(test_instant),
    };

    return cmocka_run_group_tests_name("json", tests, NULL, NULL);
}

#include "common/text.h"

#include "common/scoped.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void test_percent(void **state)
{
    static const struct {
        const char *when, *in, *want;
    } texts[] = {
        {"nothing", "", ""},
        {"what stays", "AZaz09-._~", "AZaz09-._~"},
        {"a path's own signs", "a/b?c#d", "a%2Fb%3Fc%23d"},
        {"a query's own signs", "a=b&c+d e", "a%3Db%26c%2Bd%20e"},
        {"a per cent sign", "100%", "100%25"},
        {"UTF-8", "\xc3\xa9", "%C3%A9"},
        {"control characters", "a\r\n\x7f", "a%0D%0A%7F"},
    };
    struct text t = {0};
    (void)state;

    for (size_t i = 0; i < COUNT(texts); i++) {
        text_clear(&t);
        text_percent(&t, texts[i].in);
        if (strcmp(text_str(&t), texts[i].want))
            fail_msg("%s: %s", texts[i].when, text_str(&t));
    }
    text_free(&t);
}

static void test_json(void **state)
{
    static const struct {
        const char *when, *in, *want;
    } texts[] = {
        {"nothing", "", "\"\""},
        {"plain", "LibCal Gelman", "\"LibCal Gelman\""},
        {"quotes", "a \"b\"", "\"a \\\"b\\\"\""},
        {"a backslash at the end", "a\\", "\"a\\\\\""},
        {"line ends", "a\r\nb", "\"a\\u000d\\u000ab\""},
        {"the first and the last control character", "\x01\x1f", "\"\\u0001\\u001f\""},
        {"UTF-8 and DEL as they are", "\xf0\x9f\x98\x80\x7f", "\"\xf0\x9f\x98\x80\x7f\""},
    };
    struct text t = {0};
    (void)state;

    for (size_t i = 0; i < COUNT(texts); i++) {
        text_clear(&t);
        text_json(&t, texts[i].in);
        if (strcmp(text_str(&t), texts[i].want))
            fail_msg("%s: %s", texts[i].when, text_str(&t));
    }
    text_free(&t);
}

static void test_copy(void **state)
{
    static const struct {
        const char *when, *in;
        size_t size;
        bool fits;
        const char *cut, *fit;
    } texts[] = {
        {"it fits exactly", "abc", 4, true, "abc", "abc"},
        {"one byte too many", "abcd", 4, false, "abc", ""},
        {"nothing", "", 1, true, "", ""},
        {"no room at all", "a", 1, false, "", ""},
        {"two bytes, cut in the middle", "a\xc3\xa9", 3, false, "a", ""},
        {"four bytes, cut before the last", "\xf0\x9f\x98\x80", 4, false, "", ""},
        {"cut between two characters", "\xc3\xa9\xc3\xa9", 3, false, "\xc3\xa9", ""},
    };
    (void)state;

    for (size_t i = 0; i < COUNT(texts); i++) {
        char to[8] = "junk";
        bool fits = text_copy(to, texts[i].size, texts[i].in);

        if (fits != texts[i].fits || strcmp(to, texts[i].cut))
            fail_msg("copy: %s: \"%s\"", texts[i].when, to);
        strcpy(to, "junk");
        fits = text_fit(to, texts[i].size, texts[i].in, strlen(texts[i].in));
        if (fits != texts[i].fits || strcmp(to, texts[i].fit))
            fail_msg("fit: %s: \"%s\"", texts[i].when, to);
    }
}

static void test_numbers(void **state)
{
    struct text t = {0};
    (void)state;

    text_int(&t, 0);
    text_putc(&t, ' ');
    text_int(&t, INT64_MIN);
    text_putc(&t, ' ');
    text_int(&t, INT64_MAX);
    assert_string_equal(text_str(&t), "0 -9223372036854775808 9223372036854775807");
    text_free(&t);
}

static void test_growing(void **state)
{
    struct text t = {0};
    (void)state;

    assert_string_equal(text_str(&t), "");
    text_add(&t, "", 0);
    assert_string_equal(t.at, "");
    for (int i = 0; i < 1000; i++)
        text_puts(&t, "0123456789");
    text_printf(&t, "%0300d|%s", 7, "end");
    assert_int_equal(t.len, 10304);
    assert_int_equal(strlen(t.at), 10304);
    assert_string_equal(t.at + 10300, "|end");
    text_clear(&t);
    assert_string_equal(text_str(&t), "");
    text_puts(&t, "again");
    assert_string_equal(text_str(&t), "again");
    text_free(&t);
    assert_string_equal(text_str(&t), "");
}

static void test_too_long(void **state)
{
    struct text t = {0};
    char *much = calloc(1, TEXT_MAX);
    (void)state;

    assert_non_null(much);
    memset(much, 'x', TEXT_MAX - 1);
    text_puts(&t, much);
    assert_false(t.failed);
    text_putc(&t, 'y');
    assert_true(t.failed);
    text_add(&t, "", 0);
    text_printf(&t, "%s", much);
    assert_true(t.failed);
    assert_int_equal(t.len, TEXT_MAX - 1);
    text_clear(&t);
    text_add(&t, much, SIZE_MAX - 8);
    assert_true(t.failed);
    text_clear(&t);
    text_puts(&t, "fine");
    assert_false(t.failed);
    assert_string_equal(text_str(&t), "fine");
    text_free(&t);
    free(much);
}

static void test_ids(void **state)
{
    static const struct {
        const char *text;
        bool uuid, id;
    } rows[] = {
        {"0b8f3c1e-52d7-4f0a-9a64-6e1d2f9b7c35", true, true}, {"0B8F3C1E-52D7-4F0A-9A64-6E1D2F9B7C35", false, true},
        {"0b8f3c1e-52d7-4f0a-9a64-6e1d2f9b7c3", false, true}, {"0b8f3c1e-52d7-4f0a-9a64-6e1d2f9b7c355", false, true},
        {"0b8f3c1e52d74f0a9a646e1d2f9b7c35", false, true},    {"0b8f3c1e-52d7-4f0a-9a64-6e1d2f9b7c3g", false, true},
        {"", false, false},   {" ", false, false},  {"a", false, true},  {"a b", false, true}, {" a", false, false},
        {"a ", false, false}, {"a\tb", false, false}, {"\xc3\xa9", false, false}, {"a\x7f", false, false}, {"~!", false, true},
    };
    (void)state;

    for (size_t i = 0; i < COUNT(rows); i++)
        if (text_is_uuid(rows[i].text) != rows[i].uuid || text_is_id(rows[i].text) != rows[i].id)
            fail_msg("\"%s\"", rows[i].text);
}

/* Every byte, at every place of a few words, with others behind it: the first that needs care ends what is plain. */
static void test_plain(void **state)
{
    char bytes[27];
    (void)state;

    for (int c = 0; c < 256; c++) {
        bool plain = c >= ' ' && c < 0x7F && c != '"' && c != '\\';
        for (size_t at = 0; at < sizeof bytes; at++) {
            for (size_t i = 0; i < sizeof bytes; i++)
                bytes[i] = i < at ? "az ~!#[]"[i % 8] : i == at ? (char)c : "\x1f\"\\\x7f\x80"[i % 5];
            assert_int_equal(text_plain(bytes, at), at);
            assert_int_equal(text_plain(bytes, at + 1), at + plain);
            assert_int_equal(text_plain(bytes, sizeof bytes), at + plain);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_percent), cmocka_unit_test(test_json),    cmocka_unit_test(test_copy),
        cmocka_unit_test(test_numbers), cmocka_unit_test(test_growing), cmocka_unit_test(test_too_long), cmocka_unit_test(test_ids),
        cmocka_unit_test(test_plain),
    };

    return cmocka_run_group_tests_name("text", tests, NULL, NULL);
}

#include "common/answer.h"

#include "common/scoped.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void test_unanswered(void **state)
{
    static const struct {
        enum http_end end;
        enum verdict verdict;
        const char *code, *reason;
    } ends[] = {
        {HTTP_NOT_SENT, LATER, "unreachable", "no connection: it broke"},
        {HTTP_UNKNOWN, UNKNOWN, "no_answer", "sent, but no whole answer came: it broke"},
    };
    (void)state;

    for (size_t i = 0; i < COUNT(ends); i++) {
        struct answer a = answer_unanswered(&(struct http_response){.end = ends[i].end, .error = "it broke"});

        assert_int_equal(a.verdict, ends[i].verdict);
        assert_int_equal(a.cause, CAUSE_VENDOR);
        assert_string_equal(a.code, ends[i].code);
        assert_string_equal(a.reason, ends[i].reason);
        assert_int_equal(a.wait_ms, -1);
    }
}

static void test_long_reason(void **state)
{
    char much[1000];
    (void)state;

    memset(much, 'x', sizeof much - 1);
    much[sizeof much - 1] = '\0';
    struct answer a = answer_make(DEAD, CAUSE_WORK, "much", "%s", much);
    assert_int_equal(strlen(a.reason), sizeof a.reason - 1);
    assert_int_equal(a.wait_ms, -1);
}

static void test_quote(void **state)
{
    static const struct {
        const char *when, *words, *want; /* in 16 bytes */
    } quotes[] = {
        {"nothing", "", ""},
        {"blanks alone", " \r\n\t ", ""},
        {"plain", "User not found", "User not found"},
        {"exactly what fits", "123456789012345", "123456789012345"},
        {"more than fits", "1234567890123456", "123456789012345"},
        {"a blank where it is cut", "12345678901234 678", "12345678901234"},
        {"several lines", "one\r\n\r\n  two\n", "one two"},
        {"blanks around", "  one  ", "one"},
        {"escape sequences of a terminal", "\x1b[31mred\x7f", "[31mred"},
        {"not ASCII", "caf\xc3\xa9 au lait", "caf au lait"},
        {"not even UTF-8", "\xff\xfe" "a", "a"},
    };
    char got[16];
    (void)state;

    for (size_t i = 0; i < COUNT(quotes); i++) {
        memset(got, 'j', sizeof got);
        answer_quote(got, sizeof got, quotes[i].words, strlen(quotes[i].words));
        if (strcmp(got, quotes[i].want))
            fail_msg("%s: \"%s\"", quotes[i].when, got);
    }
    answer_quote(got, sizeof got, "a\0b", 3);
    assert_string_equal(got, "a b");
    answer_quote(got, sizeof got, "abc and more", 3); /* not terminated */
    assert_string_equal(got, "abc");
    answer_quote(got, 1, "abc", 3);
    assert_string_equal(got, "");
}

/* The words that `attempts` and the metrics know. */
static void test_names(void **state)
{
    (void)state;
    assert_string_equal(verdict_name(DONE), "done");
    assert_string_equal(verdict_name(AGAIN), "again");
    assert_string_equal(verdict_name(LATER), "later");
    assert_string_equal(verdict_name(REJECTED), "rejected");
    assert_string_equal(verdict_name(DEAD), "dead");
    assert_string_equal(verdict_name(UNKNOWN), "unknown");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_unanswered),
        cmocka_unit_test(test_long_reason),
        cmocka_unit_test(test_quote),
        cmocka_unit_test(test_names),
    };

    return cmocka_run_group_tests_name("answer", tests, NULL, NULL);
}

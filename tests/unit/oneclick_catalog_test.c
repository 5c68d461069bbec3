/* What oneclick-catalog decides without a vendor: which ISBNs it has seen, what it believes, what it says of its progress. */
#include "producers/oneclick-catalog/ask.c"
#include "producers/oneclick-catalog/import.c"
#include "producers/oneclick-catalog/isbn_set.c"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

static void test_isbn_set(void **state)
{
    static const struct {
        const char *isbn;
        bool flag;
    } rows[] = {{"9781615730186", true}, {"9780000000002", false}, {"9789999999991", true}, {"9790000000001", false},
                {"9799999999990", true}, {"9781441260468", false}};
    struct isbn_set set = {0};
    char back[14];
    (void)state;

    assert_int_equal(isbn_set_find(&set, "9781615730186"), -1); /* an empty one */
    isbn_set_sort(&set);
    for (size_t i = 0; i < COUNT(rows); i++) {
        assert_true(isbn_set_add(&set, rows[i].isbn, rows[i].flag));
        assert_int_equal(isbn_set_at(&set, i, back), rows[i].flag);
        assert_string_equal(back, rows[i].isbn);
    }
    isbn_set_sort(&set);
    for (size_t i = 0; i < COUNT(rows); i++)
        assert_int_equal(isbn_set_find(&set, rows[i].isbn), rows[i].flag);
    for (size_t i = 0; i < 2; i++)
        assert_int_equal(isbn_set_find(&set, (const char *[]){"9781934180723", "9791090724013"}[i]), -1);
    isbn_set_turn(&set, rows[0].isbn);
    isbn_set_turn(&set, "9781934180723");
    for (size_t i = 0; i < COUNT(rows); i++)
        assert_int_equal(isbn_set_find(&set, rows[i].isbn), i ? rows[i].flag : !rows[i].flag);
    isbn_set_free(&set);
    isbn_set_free(&set);
}

/* As many as a large catalog has: found, and no neighbour taken for another. */
static void test_isbn_set_many(void **state)
{
    struct isbn_set set = {0};
    char isbn[14];
    (void)state;

    for (int i = 0; i < 100000; i++) {
        snprintf(isbn, sizeof isbn, "978%09d0", (int)((int64_t)i * 7919 % 1000000));
        assert_true(isbn_set_add(&set, isbn, i % 3 == 0));
    }
    isbn_set_sort(&set);
    for (int i = 0; i < 100000; i++) {
        snprintf(isbn, sizeof isbn, "978%09d0", (int)((int64_t)i * 7919 % 1000000));
        assert_int_equal(isbn_set_find(&set, isbn), i % 3 == 0);
        isbn[2] = '9';
        assert_int_equal(isbn_set_find(&set, isbn), -1);
    }
    assert_int_equal(count_distinct(&set), 100000);
    assert_true(isbn_set_add(&set, "9780000000000", false));
    assert_int_equal(count_distinct(&set), 100000);
    isbn_set_free(&set);
}

static void test_believes(void **state)
{
    static const struct {
        const char *when;
        int64_t owned, gone;
        bool believed;
    } rows[] = {
        {"the first import", 0, 0, true},
        {"nothing is gone", 500000, 0, true},
        {"a tenth is gone", 500000, 50000, true},
        {"more than a tenth is gone", 500000, 50001, false},
        {"an empty catalog came", 500000, 500000, false},
        {"a small library weeds half its titles", 200, 100, true},
        {"a small library's catalog came empty", 200, 200, false},
    };
    (void)state;

    for (size_t i = 0; i < COUNT(rows); i++)
        if (import_believes(rows[i].owned, rows[i].gone) != rows[i].believed)
            fail_msg("%s", rows[i].when);
}

static void test_progress(void **state)
{
    static const struct {
        const char *when;
        struct list_progress at;
        int64_t before;
        const char *line;
    } rows[] = {
        {"it has just begun", {0, 0, -1, 0}, 0, "0 titles, 0 a second, 0 MB"},
        {"nobody knows how long it will be", {123456, 130000000, -1, 52600000}, 0, "123,456 titles, 2,347 a second, 130 MB"},
        {"OneClick says how long it is", {1000, 50000000, 200000000, 10000000}, 0, "1,000 titles, 100 a second, 50 of 200 MB, 0:30 left"},
        {"the last import tells", {250000, 1, -1, 60000000}, 500000, "250,000 titles, 4,166 a second, 0 MB, about 1:00 left"},
        {"there are more than last time", {600000, 1, -1, 60000000}, 500000, "600,000 titles, 10,000 a second, 0 MB"},
        {"more came than was said", {7, 30000000, 20000000, 2000000}, 0, "7 titles, 3 a second, 30 of 20 MB"},
    };
    char line[160];
    (void)state;

    for (size_t i = 0; i < COUNT(rows); i++) {
        import_line(&rows[i].at, rows[i].before, line, sizeof line);
        if (strcmp(line, rows[i].line) != 0)
            fail_msg("%s: \"%s\", want \"%s\"", rows[i].when, line, rows[i].line);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_isbn_set), cmocka_unit_test(test_isbn_set_many), cmocka_unit_test(test_believes),
        cmocka_unit_test(test_progress),
    };

    return cmocka_run_group_tests_name("oneclick-catalog", tests, NULL, NULL);
}

#include "common/metrics.h"

#include "common/scoped.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static struct text out;

static const char *written(void)
{
    text_clear(&out);
    metrics_write(&out);
    return text_str(&out);
}

static int times(const char *what, const char *in)
{
    int n = 0;

    for (const char *at = in; (at = strstr(at, what)); at += strlen(what))
        n++;
    return n;
}

/* First, because metrics live as long as the program: this is all there is. */
static void test_format(void **state)
{
    (void)state;
    assert_string_equal(written(), "");
    struct metric *calls = metric_make(METRIC_COUNTER, "t_calls_total", "Calls.", "code=\"%s\"", "done");
    struct metric *hand = metric_make(METRIC_GAUGE, "t_hand", "In hand.", "%s", "");
    metric_add(calls, 1);
    metric_add(calls, 2);
    metric_set(hand, 5);
    metric_set(hand, 0.25);
    assert_string_equal(written(), "# HELP t_calls_total Calls.\n# TYPE t_calls_total counter\nt_calls_total{code=\"done\"} 3\n"
                                   "# HELP t_hand In hand.\n# TYPE t_hand gauge\nt_hand 0.25\n");
    /* a family's series stand together, whenever they are made */
    metric_add(metric_make(METRIC_COUNTER, "t_calls_total", "Calls.", "code=\"%s\"", "later"), 1);
    assert_string_equal(written(), "# HELP t_calls_total Calls.\n# TYPE t_calls_total counter\nt_calls_total{code=\"done\"} 3\n"
                                   "t_calls_total{code=\"later\"} 1\n# HELP t_hand In hand.\n# TYPE t_hand gauge\nt_hand 0.25\n");
}

static void test_infinity(void **state)
{
    (void)state;
    metric_set(metric_make(METRIC_GAUGE, "t_for_ever", "How long.", "way=\"%s\"", "on"), INFINITY);
    metric_set(metric_make(METRIC_GAUGE, "t_for_ever", "How long.", "way=\"%s\"", "back"), -INFINITY);
    assert_non_null(strstr(written(), "\nt_for_ever{way=\"on\"} +Inf\nt_for_ever{way=\"back\"} -Inf\n"));
}

static void test_same_series(void **state)
{
    (void)state;
    struct metric *a = metric_make(METRIC_COUNTER, "t_same_total", "Same.", "n=\"%d\"", 1);
    assert_ptr_equal(metric_make(METRIC_COUNTER, "t_same_total", "Same.", "n=\"%d\"", 1), a);
    assert_ptr_not_equal(metric_make(METRIC_COUNTER, "t_same_total", "Same.", "n=\"%d\"", 2), a);
    assert_ptr_not_equal(metric_make(METRIC_COUNTER, "t_other_total", "Other.", "n=\"%d\"", 1), a);
}

static void test_families(void **state)
{
    static const char *const names[] = {"t_a", "t_b", "t_c", "t_ab"};
    (void)state;

    for (int i = 0; i < 40; i++)
        metric_make(METRIC_GAUGE, names[i * 7 % 4], "Mixed.", "n=\"%d\"", i);
    const char *text = written();
    for (size_t i = 0; i < COUNT(names); i++) {
        struct text type = {0}, series = {0};
        text_printf(&type, "# TYPE %s gauge\n", names[i]);
        text_printf(&series, "\n%s{", names[i]);
        assert_int_equal(times(text_str(&type), text), 1);
        assert_int_equal(times(text_str(&series), text), 10);
        /* from the first to the last of the family, nothing else */
        const char *at = strstr(text, text_str(&type)) + type.len;
        for (int n = 0; n < 10; n++) {
            assert_true(!strncmp(at, names[i], strlen(names[i])) && at[strlen(names[i])] == '{');
            at = strchr(at, '\n') + 1;
        }
        text_free(&type);
        text_free(&series);
    }
}

static void test_histogram(void **state)
{
    static const double seen[] = {0, 0.001, 0.0011, 0.3, 1, 59.9, 60, 61, 1000};
    double sum = 0;
    (void)state;

    struct metric *m = metric_make(METRIC_HISTOGRAM, "t_seconds", "Took.", "call=\"%s\"", "x");
    for (size_t i = 0; i < COUNT(seen); i++) {
        metric_observe(m, seen[i]);
        sum += seen[i];
    }
    const char *text = strstr(written(), "# HELP t_seconds");
    assert_non_null(text);
    assert_true(m->value == sum);
    assert_string_equal(text, "# HELP t_seconds Took.\n# TYPE t_seconds histogram\n"
                              "t_seconds_bucket{call=\"x\",le=\"0.001\"} 2\n"
                              "t_seconds_bucket{call=\"x\",le=\"0.0025\"} 3\n"
                              "t_seconds_bucket{call=\"x\",le=\"0.005\"} 3\n"
                              "t_seconds_bucket{call=\"x\",le=\"0.01\"} 3\n"
                              "t_seconds_bucket{call=\"x\",le=\"0.025\"} 3\n"
                              "t_seconds_bucket{call=\"x\",le=\"0.05\"} 3\n"
                              "t_seconds_bucket{call=\"x\",le=\"0.1\"} 3\n"
                              "t_seconds_bucket{call=\"x\",le=\"0.25\"} 3\n"
                              "t_seconds_bucket{call=\"x\",le=\"0.5\"} 4\n"
                              "t_seconds_bucket{call=\"x\",le=\"1\"} 5\n"
                              "t_seconds_bucket{call=\"x\",le=\"2.5\"} 5\n"
                              "t_seconds_bucket{call=\"x\",le=\"5\"} 5\n"
                              "t_seconds_bucket{call=\"x\",le=\"10\"} 5\n"
                              "t_seconds_bucket{call=\"x\",le=\"30\"} 5\n"
                              "t_seconds_bucket{call=\"x\",le=\"60\"} 7\n"
                              "t_seconds_bucket{call=\"x\",le=\"+Inf\"} 9\n"
                              "t_seconds_sum{call=\"x\"} 1182.2021\n"
                              "t_seconds_count{call=\"x\"} 9\n");
}

static void test_hidden(void **state)
{
    (void)state;
    struct metric *a = metric_make(METRIC_GAUGE, "t_lag", "Lag.", "partition=\"%d\"", 0);
    struct metric *b = metric_make(METRIC_GAUGE, "t_lag", "Lag.", "partition=\"%d\"", 1);
    metric_set(a, 7);
    metric_set(b, 8);
    metric_hide(a);
    assert_null(strstr(written(), "t_lag{partition=\"0\"}"));
    assert_non_null(strstr(written(), "# TYPE t_lag gauge\nt_lag{partition=\"1\"} 8\n"));
    metric_hide(b);
    assert_null(strstr(written(), "t_lag")); /* no head without a body */
    assert_ptr_equal(metric_make(METRIC_GAUGE, "t_lag", "Lag.", "partition=\"%d\"", 0), a);
    assert_non_null(strstr(written(), "# TYPE t_lag gauge\nt_lag{partition=\"0\"} 7\n"));
}

/* Counts of billions are written to the last digit. */
static void test_large(void **state)
{
    (void)state;
    metric_add(metric_make(METRIC_COUNTER, "t_large_total", "Large.", "%s", ""), 9007199254740991.0);
    assert_non_null(strstr(written(), "\nt_large_total 9007199254740991\n"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_format), cmocka_unit_test(test_infinity), cmocka_unit_test(test_same_series), cmocka_unit_test(test_families),
        cmocka_unit_test(test_histogram), cmocka_unit_test(test_hidden), cmocka_unit_test(test_large),
    };
    int failed = cmocka_run_group_tests_name("metrics", tests, NULL, NULL);

    text_free(&out);
    return failed;
}

/* The log: one event, one line, whoever writes it, whatever is in it. */
#include "common/log.h"

#include "captured.h"
#include "common/scoped.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { THREADS = 4, LINES = 500 };

static void *write_lines(void *of)
{
    for (int i = 0; i < LINES; i++)
        log_about(LOG_INFO, "kafka", "%s", (const char *)of);
    return NULL;
}

static void *read_lines(void *of)
{
    FILE *in = fdopen(capture_fd, "r");
    char line[2000];
    int *whole = of;

    while (*whole < THREADS * LINES && fgets(line, sizeof line, in)) {
        const char *said = strstr(line, "kafka: ");
        size_t len = said ? strlen(said + 7) : 0;
        if (len < 2 || strspn(said + 7, (char[]){said[7], '\0'}) != len - 1)
            break; /* two in one, or half of one */
        ++*whole;
    }
    fclose(in);
    return NULL;
}

/* librdkafka calls back from its own threads. */
static void test_threads(void **state)
{
    static char words[THREADS][300];
    pthread_t writers[THREADS], reader;
    int whole = 0;
    (void)state;

    log_open("log_test", LOG_INFO, LOG_TEXT);
    capture();
    pthread_create(&reader, NULL, read_lines, &whole);
    for (int i = 0; i < THREADS; i++) {
        memset(words[i], 'a' + i, (size_t)(290 - 70 * i));
        pthread_create(&writers[i], NULL, write_lines, words[i]);
    }
    for (int i = 0; i < THREADS; i++)
        pthread_join(writers[i], NULL);
    pthread_join(reader, NULL);
    capture_end();
    assert_int_equal(whole, THREADS * LINES);
}

static void test_lines(void **state)
{
    static const struct {
        enum log_format format;
        enum log_level level;
        const char *subject, *words, *want; /* what stands behind the time; "" nothing */
    } rows[] = {
        {LOG_TEXT, LOG_INFO, NULL, "well", "info  log_test: well\n"},
        {LOG_TEXT, LOG_ERROR, "bookings.new/3/4711", "broken", "error log_test: bookings.new/3/4711: broken\n"},
        {LOG_TEXT, LOG_DEBUG, NULL, "too much", ""},
        {LOG_TEXT, LOG_WARN, NULL, "two\r\nlines\x1b[31m", "warn  log_test: two  lines [31m\n"},
        {LOG_JSON, LOG_WARN, "a \"b\"", "c\\d", "\"level\":\"warn\",\"program\":\"log_test\",\"subject\":\"a \\\"b\\\"\",\"message\":\"c\\\\d\"}\n"},
    };
    char line[600];
    (void)state;

    for (size_t i = 0; i < COUNT(rows); i++) {
        log_open("log_test", LOG_INFO, rows[i].format);
        capture();
        log_about(rows[i].level, rows[i].subject, "%s", rows[i].words);
        FILE *in = captured();
        const char *got = fgets(line, sizeof line, in);
        if (!*rows[i].want ? got != NULL : !got || !strstr(line, rows[i].want))
            fail_msg("%zu: \"%s\", want \"%s\"", i, got ? line : "", rows[i].want);
        fclose(in);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_threads), cmocka_unit_test(test_lines)};

    return cmocka_run_group_tests_name("log", tests, NULL, NULL);
}

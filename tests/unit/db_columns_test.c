#include "common/db.h"

#include "common/log.h"
#include "common/scoped.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* What PostgreSQL reads as a text[] of one item. */
static void test_quoting(void **state)
{
    static const struct {
        const char *when, *value, *want;
    } values[] = {
        {"plain", "g12345678", "{\"g12345678\"}"},
        {"NULL", NULL, "{NULL}"},
        {"the word NULL", "NULL", "{\"NULL\"}"},
        {"the word null", "null", "{\"null\"}"},
        {"an empty text", "", "{\"\"}"},
        {"a blank", " ", "{\" \"}"},
        {"quotes", "say \"hi\"", "{\"say \\\"hi\\\"\"}"},
        {"a quote alone", "\"", "{\"\\\"\"}"},
        {"a single quote stays", "O'Brien", "{\"O'Brien\"}"},
        {"backslashes", "a\\b\\\\", "{\"a\\\\b\\\\\\\\\"}"},
        {"a backslash before a quote", "\\\"", "{\"\\\\\\\"\"}"},
        {"braces", "{a}", "{\"{a}\"}"},
        {"commas", "a,b", "{\"a,b\"}"},
        {"another array's literal", "{\"a\",NULL}", "{\"{\\\"a\\\",NULL}\"}"},
        {"line ends and tabs", "a\r\n\tb", "{\"a\r\n\tb\"}"},
        {"UTF-8", "\xc3\x89mile \xf0\x9f\x98\x80", "{\"\xc3\x89mile \xf0\x9f\x98\x80\"}"},
        {"a statement", "'); DROP TABLE users; --", "{\"'); DROP TABLE users; --\"}"},
        {"JSON", "{\"a\":\"\\u00e9\"}", "{\"{\\\"a\\\":\\\"\\\\u00e9\\\"}\"}"},
    };
    struct db_columns c = {0};
    const char *got;
    (void)state;

    for (size_t i = 0; i < COUNT(values); i++) {
        db_columns_begin(&c, 1);
        db_put(&c, values[i].value);
        db_row_end(&c);
        db_columns_end(&c, &got);
        if (strcmp(got, values[i].want))
            fail_msg("%s: %s", values[i].when, got);
    }
    db_columns_free(&c);
}

static void test_rows(void **state)
{
    struct db_columns c = {0};
    const char *got[4];
    (void)state;

    for (int again = 0; again < 3; again++) { /* the columns are kept and filled anew */
        db_columns_begin(&c, 4);
        db_columns_end(&c, got);
        for (int i = 0; i < 4; i++)
            assert_string_equal(got[i], "{}");
        db_columns_begin(&c, 4);
        for (int row = 0; row < 3; row++) {
            db_put(&c, row == 1 ? NULL : "a,b");
            db_put_int(&c, row ? INT64_MIN : INT64_MAX);
            db_put_bool(&c, row == 2);
            db_put_opt(&c, row == 0 ? "" : row == 1 ? NULL : "x");
            db_row_end(&c);
        }
        assert_int_equal(c.rows, 3);
        db_columns_end(&c, got);
        assert_string_equal(got[0], "{\"a,b\",NULL,\"a,b\"}");
        assert_string_equal(got[1], "{9223372036854775807,-9223372036854775808,-9223372036854775808}");
        assert_string_equal(got[2], "{f,f,t}");
        assert_string_equal(got[3], "{NULL,NULL,\"x\"}");
    }
    db_columns_free(&c);
}

static void test_much(void **state)
{
    struct db_columns c = {0};
    const char *got;
    (void)state;

    db_columns_begin(&c, 1);
    for (int row = 0; row < 20000; row++) {
        db_put(&c, "\"\"");
        db_row_end(&c);
    }
    db_columns_end(&c, &got);
    assert_int_equal(strlen(got), 2 + 20000 * 6 + 19999);
    assert_string_equal(got + strlen(got) - 8, ",\"\\\"\\\"\"}");
    db_columns_free(&c);
}

/* A value that does not fit is refused as a whole: nobody writes the beginning of it. */
static void test_too_much(void **state)
{
    static char half[TEXT_MAX / 2];
    struct db_columns c = {0};
    const char *got;
    (void)state;

    memset(half, 'a', sizeof half - 1);
    db_columns_begin(&c, 1);
    for (int row = 0; row < 3; row++) {
        db_put(&c, row < 2 ? half : "b");
        db_row_end(&c);
    }
    db_columns_end(&c, &got);
    assert_true(c.at[0].failed && got[strlen(got) - 1] != '}');
    db_columns_begin(&c, 1);
    db_put(&c, "b");
    db_row_end(&c);
    db_columns_end(&c, &got);
    assert_string_equal(got, "{\"b\"}");
    db_columns_free(&c);
}

/* ---- connecting, for which a listener that is no PostgreSQL will do ---- */

static struct loop *loop;
static int listener, accepted;
static struct loop_fd listening, talking;

static void on_byte(void *of, uint32_t events)
{
    char hello[64];

    (void)of;
    (void)events;
    if (read(talking.fd, hello, sizeof hello) > 0)
        assert_int_equal(write(talking.fd, "S", 1), 1); /* TLS it shall be; and then nothing more */
    int fd = talking.fd;
    loop_watch(loop, &talking, fd, 0, NULL, NULL);
    close(fd);
}

static void on_accept(void *of, uint32_t events)
{
    (void)of;
    (void)events;
    int fd = accept(listener, NULL, NULL);
    assert_true(fd >= 0);
    accepted++;
    if (accepted > 1)
        close(fd);
    else
        loop_watch(loop, &talking, fd, EPOLLIN, on_byte, NULL);
}

static void never_up(void *of)
{
    (void)of;
    fail_msg("connected to what is no PostgreSQL");
}

/*
 * libpq goes on to another connection by itself (here: TLS failed, so without), and the new socket often has the number
 * of the one it has closed: it must be watched all the same, or nothing happens until the time-out.
 */
static void test_next_connection(void **state)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof at;
    char port[8];
    struct db *d;
    (void)state;

    assert_int_equal(loop_open(&loop).kind, FAULT_NONE);
    listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(listener, (struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(listen(listener, 8), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&at, &len), 0);
    loop_watch(loop, &listening, listener, EPOLLIN, on_accept, NULL);
    snprintf(port, sizeof port, "%d", ntohs(at.sin_port));
    setenv("PGHOST", "127.0.0.1", 1);
    setenv("PGPORT", port, 1);
    setenv("PGUSER", "t", 1);
    setenv("PGDATABASE", "t", 1);
    setenv("PGSSLMODE", "prefer", 1);
    setenv("PGGSSENCMODE", "disable", 1);
    assert_int_equal(db_open(&d, loop, "t", NULL, 0, never_up, NULL).kind, FAULT_NONE);
    int64_t since = loop_now(loop);
    while (accepted < 2 && loop_now(loop) - since < 5000000)
        loop_turn(loop, 100);
    assert_true(accepted >= 2);
    for (int i = 0; i < 20 && !*db_trouble(d); i++)
        loop_turn(loop, 100);
    assert_non_null(strstr(db_trouble(d), "PGHOST"));
    assert_false(db_free(d));
    assert_false(db_connected(d));
    db_close(d);
    loop_watch(loop, &talking, -1, 0, NULL, NULL);
    loop_close(loop);
    close(listener);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_quoting),
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_much),
        cmocka_unit_test(test_too_much),
        cmocka_unit_test(test_next_connection),
    };

    log_open("db_columns_test", LOG_ERROR, LOG_TEXT);
    return cmocka_run_group_tests_name("db_columns", tests, NULL, NULL);
}

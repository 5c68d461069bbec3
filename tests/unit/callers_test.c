/* Whose token it is, and how many wrong ones an address may try. */
#include "producers/patron-requests/callers.c"

#include "common/scoped.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

/* What is asked of others, of which nothing is tested here. */
const char *const forms_services[] = {"folio", "wise", "oneclick", NULL};
void question_ask(struct question *q) { (void)q; }

static PGresult *table(void)
{
    static const char *const rows[2][4] = {
        /* SHA-256 of "sw_one" and of "sw_two", by sha256sum */
        {"one", "folio,oneclick", "secret", "7b4e8215f984725a9275a8a30f6b7d19d9a0c1854c63cb960fad73c2cc0c1d6e"},
        {"two", "wise", "", "73a2d426651b3e1823e2098de832df2219d240839645bf1421b3ccb28e102fac"},
    };
    static char name[] = "x";
    PGresAttDesc columns[4] = {{.name = name}, {.name = name}, {.name = name}, {.name = name}};
    PGresult *res = PQmakeEmptyPGresult(NULL, PGRES_TUPLES_OK);

    PQsetResultAttrs(res, 4, columns);
    for (int i = 0; i < 2; i++)
        for (int k = 0; k < 4; k++)
            PQsetvalue(res, i, k, (char *)(uintptr_t)rows[i][k], (int)strlen(rows[i][k]));
    return res;
}

static int open_loop(void **state)
{
    (void)state;
    return loop_open(&loop).kind != FAULT_NONE;
}

static int close_loop(void **state)
{
    (void)state;
    loop_timer_stop(loop, &timer);
    loop_close(loop);
    free(callers);
    return 0;
}

static void test_tokens(void **state)
{
    SCOPED(PQclear) PGresult *res = table();
    static const char *const nobodys[] = {"", "sw_", "sw_on", "sw_onee", "SW_ONE", "sw_one ", "one", "secret"};

    (void)state;
    assert_false(callers_known());
    answered(NULL);
    assert_false(callers_known());
    answered(res);
    assert_true(callers_known());
    assert_string_equal(caller_by_token("sw_one")->name, "one");
    assert_string_equal(caller_by_token("sw_two")->name, "two");
    for (size_t i = 0; i < COUNT(nobodys); i++)
        assert_null(caller_by_token(nobodys[i]));
    const struct caller *one = caller_by_name("one");
    assert_true(one->may[0] && !one->may[1] && one->may[2]);
    assert_string_equal(one->secret, "secret");
    assert_null(caller_by_name("on"));
    answered(NULL); /* PostgreSQL is away: those we know stay */
    assert_non_null(caller_by_token("sw_two"));
}

static struct sockaddr *address(const char *written)
{
    static struct sockaddr_in v4;
    static struct sockaddr_in6 v6;

    v4 = (struct sockaddr_in){.sin_family = AF_INET};
    v6 = (struct sockaddr_in6){.sin6_family = AF_INET6};
    if (inet_pton(AF_INET, written, &v4.sin_addr) == 1)
        return (struct sockaddr *)&v4;
    assert_int_equal(inet_pton(AF_INET6, written, &v6.sin6_addr), 1);
    return (struct sockaddr *)&v6;
}

static void test_wrong_ones(void **state)
{
    const int64_t now = 5000000000;

    (void)state;
    for (int i = 0; i < WRONG_MAX; i++)
        assert_int_equal(callers_wrong_token(address("192.0.2.1"), now + i), 0);
    assert_int_equal(callers_wrong_token(address("192.0.2.1"), now + 1000000), 60);
    assert_int_equal(callers_wrong_token(address("192.0.2.1"), now + 59000000), 2);
    assert_int_equal(callers_wrong_token(address("::ffff:192.0.2.1"), now + 59500000), 1); /* the same, by another way */
    assert_int_equal(callers_wrong_token(address("192.0.2.2"), now), 0);
    assert_int_equal(callers_wrong_token(address("192.0.2.1"), now + 60000000), 0);
    for (int i = 0; i < WRONG_MAX; i++) /* a network of IPv6 is one address: it has 2^64 of them */
        assert_int_equal(callers_wrong_token(address(i % 2 ? "2001:db8::1" : "2001:db8::ffff:2"), now), 0);
    assert_int_equal(callers_wrong_token(address("2001:db8::3"), now), 61);
    assert_int_equal(callers_wrong_token(address("2001:db8:0:1::3"), now), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_tokens), cmocka_unit_test(test_wrong_ones)};

    return cmocka_run_group_tests(tests, open_loop, close_loop);
}

#include "common/health.h"

#include "common/scoped.h"

#include <ctype.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

enum { SECOND = 1000000, MOST = 8 };

/*
 * A day at the vendor's, one letter an event, a second between two:
 *   a-e  the key's call was answered            A-E  it failed
 *   0-9  a key that was blamed before failed again
 *   !    a failure that needs no company        ?    a harmless try goes well    /  and this one does not
 *   .    the pause is over                      _    nothing happens
 */
static void live(struct health *h, const char *events, int64_t *now)
{
    for (; *events; events++) {
        *now += SECOND;
        if (*events == '!')
            health_failed(h, 'X', HEALTH_AT_ONCE, *now, -1);
        else if (*events == '.')
            *now = h->try_at_us > *now ? h->try_at_us : *now;
        else if (*events == '?' || *events == '/')
            health_tried(h, *events == '?', *now);
        else if (isdigit((unsigned char)*events))
            health_failed(h, (uint32_t)*events, HEALTH_BLAMED_BEFORE, *now, -1);
        else if (islower((unsigned char)*events))
            health_answered(h, (uint32_t)*events, *now);
        else if (isupper((unsigned char)*events))
            health_failed(h, (uint32_t)tolower((unsigned char)*events), HEALTH_IN_COMPANY, *now, -1);
    }
}

static void test_limits(void **state)
{
    static const struct {
        const char *when, *events;
        int limit; /* after them; of 8 */
    } days[] = {
        {"nothing has happened yet", "", MOST},
        {"all is well", "abcde", MOST},
        {"two keys failed", "AB", MOST},
        {"three keys failed in a row", "ABC", 0},
        {"one key failed, again and again", "AAAAAAAA", MOST},
        {"two keys failed in turn", "ABABABAB", MOST},
        {"something went well in between", "ABcAB", MOST},
        {"something went well in between, and then as many", "ABcABC", MOST},
        {"and then more than such a share would make", "ABcABCDEF", 0},
        {"no connection could be made", "!", 0},
        {"keys that were blamed before failed again, and nothing else is left", "a0123456789012345678901234567890", MOST},
        {"they are no company to those that fail for the first time", "A01B2345678901234567890123456789", MOST},
        {"but are to be waited for with all others", "A01B23C", 0},
        {"the pause is over and one of them is the try: another pause", "ABC.0", 0},
        {"on the way up one of them fails", "ABC.dd0", 2},
        {"the pause is over: one try", "ABC.", 1},
        {"the try failed", "ABC.D", 0},
        {"the try was answered", "ABC.d", 1},
        {"two answers: two at a time", "ABC.dd", 2},
        {"three: four", "ABC.ddd", 4},
        {"four: all", "ABC.dddd", MOST},
        {"many: no more than all", "ABC.dddddddd", MOST},
        {"a failure on the way up: as many failed before", "ABC.ddD", 2},
        {"several on the way up", "ABC.ddDEFG", 0},
        {"up again after them", "ABC.ddDEFG.dddd", MOST},
        {"back to all: one failure is nothing", "ABC.ddddA", MOST},
        {"the failures before it fell sick are forgotten", "ABC.ddddAB", MOST},
        {"a call that was under way fails", "ABCD", 0},
        {"a call that was under way is answered", "ABCdddd", 0},
        {"and then the pause is over", "ABCdddd.", 1},
    };
    (void)state;

    for (size_t i = 0; i < COUNT(days); i++) {
        struct health h;
        int64_t now = 1;

        health_begin(&h, MOST, false, 60 * SECOND, 600 * SECOND, 7);
        live(&h, days[i].events, &now);
        if (health_limit(&h, now) != days[i].limit)
            fail_msg("%s: %d", days[i].when, health_limit(&h, now));
    }
}

/* Where the stage's own call may not be repeated, a harmless one goes first. */
static void test_harmless_first(void **state)
{
    static const struct {
        const char *when, *events;
        int limit;
        bool wants_try;
    } days[] = {
        {"all is well", "ab", MOST, false},
        {"sick: nothing yet", "!", 0, false},
        {"the pause is over: a harmless call, not the stage's own", "!.", 0, true},
        {"it went well: one at a time", "!.?", 1, false},
        {"then two", "!.?a", 2, false},
        {"then all", "!.?aaa", MOST, false},
        {"it failed: another pause", "!./", 0, false},
        {"and another try", "!./.", 0, true},
        {"a call that was under way is answered", "!aaaa", 0, false},
        {"even after the pause", "!.aaaa", 0, true},
        {"a call that was under way fails after the pause", "!.A", 0, true},
        {"a failure on the way up", "!.?A", 0, false},
    };
    (void)state;

    for (size_t i = 0; i < COUNT(days); i++) {
        struct health h;
        int64_t now = 1;

        health_begin(&h, MOST, true, 60 * SECOND, 600 * SECOND, 7);
        live(&h, days[i].events, &now);
        if (health_limit(&h, now) != days[i].limit || health_wants_try(&h, now) != days[i].wants_try)
            fail_msg("%s: %d, %s", days[i].when, health_limit(&h, now), health_wants_try(&h, now) ? "a try" : "no try");
    }

    struct health h;
    health_begin(&h, MOST, true, SECOND, SECOND, 7);
    health_failed(&h, 1, HEALTH_AT_ONCE, 0, -1);
    assert_true(health_wants_try(&h, 2 * SECOND));
    health_trying(&h);
    assert_false(health_wants_try(&h, 2 * SECOND)); /* one at a time */
    health_answered(&h, 2, 2 * SECOND);
    assert_false(health_wants_try(&h, 2 * SECOND)); /* an old call's answer does not end it */
    health_tried(&h, true, 3 * SECOND);
    assert_int_equal(health_limit(&h, 3 * SECOND), 1);
}

static void test_pauses(void **state)
{
    (void)state;
    for (uint32_t seed = 0; seed < 500; seed++) {
        struct health h;
        int64_t now = 1, want = SECOND;

        health_begin(&h, MOST, false, SECOND, 20 * SECOND, seed);
        for (int falls = 0; falls < 10; falls++) {
            health_failed(&h, 1, HEALTH_AT_ONCE, now, -1);
            int64_t pause = h.try_at_us - now;
            if (pause < want - want / 4 || pause > want + want / 4)
                fail_msg("seed %u: pause %d is %lld", seed, falls, (long long)pause);
            assert_int_equal(health_limit(&h, h.try_at_us - 1), 0);
            now = h.try_at_us;
            want = want * 2 < 20 * SECOND ? want * 2 : 20 * SECOND;
        }
        while (h.limit < MOST)
            health_answered(&h, 1, now);
        health_failed(&h, 1, HEALTH_AT_ONCE, now, -1);
        assert_in_range(h.try_at_us - now, SECOND * 3 / 4, SECOND * 5 / 4); /* well again: from the start */
    }
}

static void test_pauses_differ(void **state)
{
    int64_t least = INT64_MAX, most = 0;
    (void)state;

    for (uint32_t seed = 1; seed <= 100; seed++) {
        struct health h;
        health_begin(&h, MOST, false, SECOND, SECOND, seed * 2654435761u);
        health_failed(&h, 1, HEALTH_AT_ONCE, 0, -1);
        least = h.try_at_us < least ? h.try_at_us : least;
        most = h.try_at_us > most ? h.try_at_us : most;
    }
    assert_true(most - least > SECOND / 4); /* a hundred workers do not come back together */
}

/* One call at a time is all there is: well again as soon as it is answered, also after a harmless try. */
static void test_one_at_a_time(void **state)
{
    (void)state;
    for (int harmless = 0; harmless < 2; harmless++) {
        struct health h;
        int64_t now = 1;

        health_begin(&h, 1, harmless, SECOND, 100 * SECOND, 7);
        for (int outages = 0; outages < 5; outages++) {
            health_failed(&h, 1, HEALTH_AT_ONCE, now, -1);
            assert_in_range(h.try_at_us - now, SECOND * 3 / 4, SECOND * 5 / 4);
            now = h.try_at_us;
            if (harmless)
                health_tried(&h, true, now);
            health_answered(&h, 1, now);
            assert_int_equal(health_limit(&h, now), 1);
        }
    }
}

static void test_asked_to_wait(void **state)
{
    struct health h;
    (void)state;

    health_begin(&h, MOST, false, SECOND, 30 * SECOND, 7);
    assert_true(health_failed(&h, 1, HEALTH_AT_ONCE, 0, 90 * SECOND)); /* longer than any pause of ours */
    assert_int_equal(h.try_at_us, 90 * SECOND);
    assert_int_equal(health_limit(&h, 90 * SECOND - 1), 0);
    assert_int_equal(health_limit(&h, 90 * SECOND), 1);
    health_begin(&h, MOST, false, SECOND, 30 * SECOND, 7);
    health_failed(&h, 1, HEALTH_AT_ONCE, 0, 1);
    assert_in_range(h.try_at_us, SECOND * 3 / 4, SECOND * 5 / 4); /* shorter: ours */
}

/* Told once when it falls sick; calls that were under way then neither tell again nor make the pause longer. */
static void test_no_news(void **state)
{
    struct health h;
    (void)state;

    health_begin(&h, MOST, false, SECOND, 100 * SECOND, 7);
    assert_false(health_failed(&h, 1, HEALTH_IN_COMPANY, 0, -1));
    assert_false(health_failed(&h, 2, HEALTH_IN_COMPANY, 0, -1));
    assert_true(health_failed(&h, 3, HEALTH_IN_COMPANY, 0, -1));
    int64_t try_at = h.try_at_us;
    for (uint32_t key = 0; key < 100; key++)
        assert_false(health_failed(&h, key, HEALTH_AT_ONCE, SECOND / 2, 50 * SECOND));
    assert_int_equal(h.try_at_us, try_at);
    assert_true(health_sick(&h));
    assert_false(health_failed(&h, 4, HEALTH_IN_COMPANY, try_at, -1)); /* the try: the pause doubles, but it was sick already */
    assert_in_range(h.try_at_us - try_at, SECOND * 3 / 2, SECOND * 5 / 2);
}

static bool poisoned(uint32_t *random, int percent)
{
    *random = *random * 1664525 + 1013904223;
    return *random >> 8 < (uint32_t)percent * 0x1000000u / 100;
}

/* A share of the messages fails, whatever the vendor's health: that is soon known, and an outage is noticed all the same. */
static void test_a_share_that_fails(void **state)
{
    static const struct {
        int percent, falls_most; /* until it is known; of 10,000 calls */
    } shares[] = {{0, 0}, {2, 1}, {10, 2}, {25, 3}, {50, 6}};
    (void)state;

    for (size_t i = 0; i < COUNT(shares); i++)
        for (uint32_t seed = 1; seed <= 50; seed++) {
            struct health h;
            uint32_t random = seed, key;
            int64_t now = 1;
            int falls = 0, calls;

            health_begin(&h, MOST, false, SECOND, 30 * SECOND, seed);
            for (key = 0; key < 10000; key++) {
                now = health_limit(&h, now) ? now + 1000 : h.try_at_us;
                if (poisoned(&random, shares[i].percent))
                    falls += health_failed(&h, key, HEALTH_IN_COMPANY, now, -1);
                else
                    health_answered(&h, key, now);
            }
            if (falls > shares[i].falls_most || now > 10000 * 1000 + 60 * (int64_t)SECOND)
                fail_msg("%d %%, seed %u: fell sick %d times, %lld s", shares[i].percent, seed, falls, (long long)now / SECOND);
            assert_int_equal(health_limit(&h, now), MOST);
            for (calls = 0; health_limit(&h, now) && calls < 100; calls++)
                health_failed(&h, ++key, HEALTH_IN_COMPANY, now, -1);
            assert_in_range(calls, HEALTH_ROW_MIN, HEALTH_ROW_MAX);
        }
}

static void test_blame(void **state)
{
    static const struct {
        const char *when, *since; /* the last try of key a */
        bool blamed;
    } days[] = {
        {"nothing happened", "", false},
        {"an outage, however long", "BCDEBCDE!.B.C.D.E.B.C.D.E", false},
        {"two others went well", "bc", false},
        {"two others, often", "bcbcbcbcbc", false},
        {"three others", "bcd", true},
        {"three others and an outage after them", "bcdBCD.E.B", true},
        {"two others and itself", "bca", false},
        {"three others and itself", "abcda", true},
        {"one before the outage, two after", "bBCD.cd", true},
        {"calls under way when it fell sick went well", "!bcd", true},
    };
    (void)state;

    for (size_t i = 0; i < COUNT(days); i++) {
        struct health h;
        int64_t now = 1;

        health_begin(&h, MOST, false, SECOND, 10 * SECOND, 7);
        live(&h, "bcdebcde", &now); /* what went well before the try says nothing about it */
        uint64_t mark = health_mark(&h);
        live(&h, days[i].since, &now);
        if (health_blames(&h, mark, 'a') != days[i].blamed)
            fail_msg("%s: %s", days[i].when, days[i].blamed ? "not blamed" : "blamed");
    }

    struct health h; /* more different keys than are remembered */
    health_begin(&h, MOST, false, SECOND, 10 * SECOND, 7);
    uint64_t mark = health_mark(&h);
    for (uint32_t key = 0; key < 1000; key++)
        health_answered(&h, key, 1);
    assert_true(health_blames(&h, mark, 5000));
    assert_true(health_blames(&h, mark, 999));
    assert_false(health_blames(&h, health_mark(&h), 5000));
}

static void test_backoff(void **state)
{
    static const struct {
        int tries;
        int64_t want;
    } pauses[] = {{0, SECOND}, {1, 2 * SECOND}, {2, 4 * SECOND}, {5, 32 * SECOND}, {6, 60 * SECOND}, {1000000, 60 * SECOND}};
    struct health h;
    (void)state;

    health_begin(&h, MOST, false, SECOND, SECOND, 0);
    for (size_t i = 0; i < COUNT(pauses); i++)
        for (int n = 0; n < 100; n++)
            assert_in_range(health_backoff_us(&h, pauses[i].tries, SECOND, 60 * SECOND), pauses[i].want * 3 / 4,
                            pauses[i].want * 5 / 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_limits),         cmocka_unit_test(test_harmless_first), cmocka_unit_test(test_pauses),
        cmocka_unit_test(test_pauses_differ),  cmocka_unit_test(test_one_at_a_time),  cmocka_unit_test(test_asked_to_wait),
        cmocka_unit_test(test_no_news),        cmocka_unit_test(test_blame),          cmocka_unit_test(test_backoff),
        cmocka_unit_test(test_a_share_that_fails),
    };

    return cmocka_run_group_tests_name("health", tests, NULL, NULL);
}

#include "common/instant.h"

#include "common/scoped.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

static void test_read(void **state)
{
    static const struct {
        const char *when, *in, *want; /* NULL: refused */
        int offset;
    } texts[] = {
        {"UTC", "2026-10-12T14:00:00Z", "2026-10-12T14:00:00Z", 0},
        {"an offset", "2026-10-12T10:00:00-04:00", "2026-10-12T14:00:00Z", -14400},
        {"an offset without its colon", "2026-10-12T10:00:00-0400", "2026-10-12T14:00:00Z", -14400},
        {"half an hour off, into the day before", "2026-01-01T04:00:00+05:30", "2025-12-31T22:30:00Z", 19800},
        {"minus zero", "2026-10-12T14:00:00-00:00", "2026-10-12T14:00:00Z", 0},
        {"small letters", "2026-10-12t14:00:00z", "2026-10-12T14:00:00Z", 0},
        {"a space between", "2026-10-12 14:00:00Z", "2026-10-12T14:00:00Z", 0},
        {"a fraction", "2026-10-12T14:00:00.999999999Z", "2026-10-12T14:00:00Z", 0},
        {"a leap second", "2016-12-31T23:59:60Z", "2017-01-01T00:00:00Z", 0},
        {"a leap day", "2028-02-29T00:00:00Z", "2028-02-29T00:00:00Z", 0},
        {"a leap day every 400 years", "2000-02-29T00:00:00Z", "2000-02-29T00:00:00Z", 0},
        {"the hour before clocks go back", "2026-11-01T01:30:00-04:00", "2026-11-01T05:30:00Z", -14400},
        {"the same hour after it", "2026-11-01T01:30:00-05:00", "2026-11-01T06:30:00Z", -18000},
        {"the first instant", "1970-01-01T00:00:00Z", "1970-01-01T00:00:00Z", 0},
        {"the last instant", "9999-12-31T23:59:59Z", "9999-12-31T23:59:59Z", 0},
        {"before the first", "1970-01-01T00:59:59+01:00", NULL, 0},
        {"after the last, by a leap second", "9999-12-31T23:59:60Z", NULL, 0},
        {"after the last, by its offset", "9999-12-31T23:59:59-00:01", NULL, 0},
        {"another century's leap day", "2100-02-29T00:00:00Z", NULL, 0},
        {"30 February", "2026-02-30T00:00:00Z", NULL, 0},
        {"31 April", "2026-04-31T00:00:00Z", NULL, 0},
        {"day 0", "2026-10-00T00:00:00Z", NULL, 0},
        {"month 0", "2026-00-12T00:00:00Z", NULL, 0},
        {"month 13", "2026-13-12T00:00:00Z", NULL, 0},
        {"24 o'clock", "2026-10-12T24:00:00Z", NULL, 0},
        {"minute 60", "2026-10-12T14:60:00Z", NULL, 0},
        {"second 61", "2026-10-12T14:00:61Z", NULL, 0},
        {"24 hours off", "2026-10-12T14:00:00+24:00", NULL, 0},
        {"60 minutes off", "2026-10-12T14:00:00+01:60", NULL, 0},
        {"hours alone as an offset", "2026-10-12T14:00:00+02", NULL, 0},
        {"no offset", "2026-10-12T14:00:00", NULL, 0},
        {"no seconds", "2026-10-12T14:00Z", NULL, 0},
        {"a date", "2026-10-12", NULL, 0},
        {"an empty fraction", "2026-10-12T14:00:00.Z", NULL, 0},
        {"a comma", "2026-10-12T14:00:00,5Z", NULL, 0},
        {"something after it", "2026-10-12T14:00:00Z ", NULL, 0},
        {"something before it", " 2026-10-12T14:00:00Z", NULL, 0},
        {"a year of five digits", "12026-10-12T14:00:00Z", NULL, 0},
        {"1969", "1969-12-31T23:59:59Z", NULL, 0},
        {"a sign in the year", "+026-10-12T14:00:00Z", NULL, 0},
        {"digits that are not ASCII", "\xd9\xa2\xd9\xa0-10-12T14:00:00Z", NULL, 0},
        {"nothing", "", NULL, 0},
    };
    (void)state;

    for (size_t i = 0; i < COUNT(texts); i++) {
        char got[INSTANT_SIZE] = "refused";
        int64_t instant;
        int offset = 0;

        if (instant_read(texts[i].in, &instant, &offset))
            instant_write(instant, got);
        if (strcmp(got, texts[i].want ? texts[i].want : "refused") || offset != texts[i].offset)
            fail_msg("%s: %s, offset %d", texts[i].when, got, offset);
    }
}

/* Every 35 days less 7 seconds, for 80 centuries. */
static void test_like_the_c_library(void **state)
{
    (void)state;
    for (int64_t instant = 0; instant <= 253402300799; instant += 3023993) {
        char got[INSTANT_SIZE], want[INSTANT_SIZE];
        time_t t = (time_t)instant;
        struct tm tm;
        int64_t back;

        gmtime_r(&t, &tm);
        strftime(want, sizeof want, "%Y-%m-%dT%H:%M:%SZ", &tm);
        instant_write(instant, got);
        assert_string_equal(got, want);
        assert_true(instant_read(got, &back, NULL));
        assert_int_equal(back, instant);
    }
}

static void test_local_day(void **state)
{
    static const struct {
        const char *when, *at;
        int offset;
        int64_t want;
    } days[] = {
        {"noon", "2026-10-12T12:00:00Z", 0, 20738},
        {"the last second", "2026-10-12T23:59:59Z", 0, 20738},
        {"midnight", "2026-10-13T00:00:00Z", 0, 20739},
        {"still the evening before in New York", "2026-10-13T03:59:59Z", -14400, 20738},
        {"midnight in New York", "2026-10-13T04:00:00Z", -14400, 20739},
        {"already the next morning in Sydney", "2026-10-12T13:00:00Z", 39600, 20739},
        {"before the first day", "1970-01-01T00:00:00Z", -1, -1},
        {"a whole day before the first", "1970-01-01T00:00:00Z", -86400, -1},
        {"a second more", "1970-01-01T00:00:00Z", -86401, -2},
    };
    (void)state;

    for (size_t i = 0; i < COUNT(days); i++) {
        int64_t instant;

        assert_true(instant_read(days[i].at, &instant, NULL));
        if (instant_local_day(instant, days[i].offset) != days[i].want)
            fail_msg("%s: %lld", days[i].when, (long long)instant_local_day(instant, days[i].offset));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_read),
        cmocka_unit_test(test_like_the_c_library),
        cmocka_unit_test(test_local_day),
    };

    return cmocka_run_group_tests_name("instant", tests, NULL, NULL);
}

/* What is valid and what is not stands in schemas_test.py, which asks the schemas too; here is the rest. */
#include "common/booking.h"

#include "common/scoped.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define HEAD "{\"source\":\"libcal\",\"booking_id\":\"cs_4WqXz0Kd\",\"appt_id\":\"0b8f3c1e-52d7-4f0a-9a64-6e1d2f9b7c35\","
#define WHO "\"asked_id\":\"G00000042\","
#define WHEN "\"start\":\"2026-10-12T14:00:00Z\",\"end\":\"2026-10-12T16:00:00Z\","

static const struct booking known = {
    .source = "libcal", .booking_id = "cs_4WqXz0Kd", .appt_id = "0b8f3c1e-52d7-4f0a-9a64-6e1d2f9b7c35",
    .asked_id = "G00000042", .primary_id = "jdoe", .start = 1791813600, .end = 1791820800, .destination = "LibCal Gelman",
};

static bool same(const struct booking *a, const struct booking *b)
{
    return !strcmp(a->source, b->source) && !strcmp(a->booking_id, b->booking_id) && !strcmp(a->appt_id, b->appt_id) &&
           !strcmp(a->asked_id, b->asked_id) && !strcmp(a->primary_id, b->primary_id) && a->start == b->start &&
           a->end == b->end && !strcmp(a->destination, b->destination);
}

static void test_read(void **state)
{
    static const struct {
        const char *when, *value;
        bool with_primary_id;
        const char *fault; /* NULL: read */
    } values[] = {
        {"without a primary id", HEAD WHO WHEN "\"destination\":\"LibCal Gelman\"}", false, NULL},
        {"with one", HEAD WHO "\"primary_id\":\"jdoe\"," WHEN "\"destination\":\"LibCal Gelman\"}", true, NULL},
        {"one that is not asked for", HEAD WHO "\"primary_id\":7," WHEN "\"destination\":\"LibCal Gelman\"}", false, NULL},
        {"one missing", HEAD WHO WHEN "\"destination\":\"LibCal Gelman\"}", true, "primary_id: missing"},
        {"no end", HEAD WHO "\"start\":\"2026-10-12T14:00:00Z\",\"destination\":\"East\"}", false, "end: missing"},
        {"end before start",
         HEAD WHO "\"start\":\"2026-10-12T16:00:00Z\",\"end\":\"2026-10-12T14:00:00Z\",\"destination\":\"East\"}", false,
         "end: not after start"},
        {"a destination too wide",
         HEAD WHO WHEN "\"destination\":\"\xc3\xa9" "4567890123456789012345678901234567890123456789012345678901234567\"}",
         false, "destination: 65 characters, at most 64 fit"},
        {"a tab in an id", HEAD "\"asked_id\":\"a\\tb\"}", false, "asked_id: want printable ASCII, without a space at either end"},
        {"a person's data is not quoted", HEAD "\"asked_id\":\" secret\"}", false, "asked_id: want printable ASCII, without a space at either end"},
        {"an array", "[]", false, "want an object, found array"},
        {"a number", "7", false, "want an object, found int"},
        {"null", "null", false, "want an object, found null"},
        {"nothing", "", false, "not JSON: it is empty"},
        {"no JSON", "{", false, "not JSON: unexpected end of data at byte 1"},
    };
    (void)state;

    for (size_t i = 0; i < COUNT(values); i++) {
        struct booking b, want = known;
        struct fault f = booking_read(values[i].value, strlen(values[i].value), values[i].with_primary_id, &b);

        if (f.kind != (values[i].fault ? FAULT_REJECT : FAULT_NONE) || strcmp(f.what, values[i].fault ? values[i].fault : ""))
            fail_msg("%s: %s", values[i].when, f.what);
        if (values[i].fault)
            continue;
        if (!values[i].with_primary_id)
            want.primary_id[0] = '\0';
        if (!same(&b, &want))
            fail_msg("%s: it was read as something else", values[i].when);
    }
    assert_int_equal(booking_read(NULL, 0, false, &(struct booking){0}).kind, FAULT_REJECT);
}

static void test_write(void **state)
{
    struct booking b = known;
    struct text t = {0};
    (void)state;

    booking_write(&t, &b);
    assert_string_equal(text_str(&t),
                        HEAD WHO "\"primary_id\":\"jdoe\"," WHEN "\"destination\":\"LibCal Gelman\"}");
    text_clear(&t);
    b.primary_id[0] = '\0';
    booking_write(&t, &b);
    assert_string_equal(text_str(&t), HEAD WHO WHEN "\"destination\":\"LibCal Gelman\"}");
    text_free(&t);
}

static void test_there_and_back(void **state)
{
    struct booking b = known, back;
    struct text t = {0};
    (void)state;

    memset(b.booking_id, '\\', sizeof b.booking_id - 1);
    memset(b.asked_id, '"', sizeof b.asked_id - 1);
    memset(b.primary_id, '~', sizeof b.primary_id - 1);
    for (size_t i = 0; i + 4 < sizeof b.destination; i += 4)
        memcpy(b.destination + i, "\xf0\x9f\x9a\xaa", 4);
    memset(b.source, 'z', sizeof b.source - 1);
    b.start = 0;
    b.end = 253402300799;
    booking_write(&t, &b);
    struct fault f = booking_read(t.at, t.len, true, &back);
    if (f.kind)
        fail_msg("the largest: %s", f.what);
    assert_true(same(&b, &back));
    text_free(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_read),
        cmocka_unit_test(test_write),
        cmocka_unit_test(test_there_and_back),
    };

    return cmocka_run_group_tests_name("booking", tests, NULL, NULL);
}

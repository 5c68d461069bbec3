/* What is valid and what is not stands in schemas_test.py, which asks the schema too; here is the rest. */
#include "common/catalog.h"

#include "common/scoped.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define ISBN "9781615730186"
#define AT "2026-11-24T16:00:00.123456Z"
#define OF(change) "{\"isbn\":\"" ISBN "\",\"change\":\"" change "\",\"as_of\":\"" AT "\""
#define RECORD "{ \"isbn\":\"" ISBN "\", \"title\":\"The \\\"Wind\\\"\\u00e9\" }"

static const struct catalog_change added = {.isbn = ISBN, .kind = CATALOG_ADDED, .as_of = AT};

static void test_write(void **state)
{
    static const struct {
        enum catalog_kind kind;
        bool available;
        const char *record, *want;
    } rows[] = {
        {CATALOG_ADDED, false, RECORD, OF("added") ",\"record\":" RECORD "}"},
        {CATALOG_ADDED, true, "", OF("added") "}"},
        {CATALOG_REMOVED, false, "{}", OF("removed") ",\"record\":{}}"},
        {CATALOG_REMOVED, false, "", OF("removed") "}"},
        {CATALOG_AVAILABILITY, true, "", OF("availability") ",\"available\":true}"},
        {CATALOG_AVAILABILITY, false, "", OF("availability") ",\"available\":false}"},
        {CATALOG_CHECK, false, "", OF("check") "}"},
    };
    struct text t = {0};
    (void)state;

    for (size_t i = 0; i < COUNT(rows); i++) {
        struct catalog_change change = added, back;
        SCOPED(json_object_put) json_object *record = NULL;

        change.kind = rows[i].kind;
        change.available = rows[i].available;
        text_clear(&t);
        catalog_write(&t, &change, rows[i].record, strlen(rows[i].record));
        assert_string_equal(text_str(&t), rows[i].want);

        struct fault f = catalog_read(t.at, t.len, &back, &record);
        if (f.kind)
            fail_msg("%s: %s", rows[i].want, f.what);
        assert_int_equal(back.kind, rows[i].kind);
        assert_string_equal(back.isbn, ISBN);
        assert_string_equal(back.as_of, AT);
        assert_int_equal(back.available, rows[i].kind == CATALOG_AVAILABILITY && rows[i].available);
        assert_int_equal(record != NULL, rows[i].record[0] != '\0');
    }
    text_free(&t);
}

static void test_read(void **state)
{
    static const struct {
        const char *when, *value, *fault, *record; /* "": read, NULL: none */
    } rows[] = {
        {"a record", OF("added") ",\"record\":{\"a\":[1]}}", "", "{\"a\":[1]}"},
        {"of availability it is ignored", OF("availability") ",\"available\":true,\"record\":{\"a\":1}}", "", NULL},
        {"of a check too", OF("check") ",\"record\":{\"a\":1}}", "", NULL},
        {"a record that is none", OF("removed") ",\"record\":7}", "record: want an object, found int", NULL},
        {"a record of null", OF("added") ",\"record\":null}", "record: want an object, found null", NULL},
        {"no availability", OF("availability") "}", "available: want true or false, found nothing", NULL},
        {"availability null", OF("availability") ",\"available\":null}", "available: want true or false, found null", NULL},
        {"availability in words", OF("availability") ",\"available\":\"yes\"}", "available: want true or false, found string",
         NULL},
        {"a change nobody knows", OF("renamed") "}", "change: want added, removed, availability or check", NULL},
        {"no change", "{\"isbn\":\"" ISBN "\"}", "change: missing", NULL},
        {"no ISBN", "{}", "isbn: missing", NULL},
        {"hyphens", "{\"isbn\":\"978-161573018\"}", "isbn: want 13 digits", NULL},
        {"a wrong check digit", "{\"isbn\":\"9780307378102\"}", "isbn: check digit 2, want 1", NULL},
        {"an instant elsewhere", "{\"isbn\":\"" ISBN "\",\"change\":\"check\",\"as_of\":\"2026-11-24T16:00:00+01:00\"}",
         "as_of: want an instant in UTC as 2026-11-24T16:00:00.123456Z", NULL},
        {"an array", "[]", "want an object, found array", NULL},
        {"null", "null", "want an object, found null", NULL},
        {"nothing", "", "not JSON: it is empty", NULL},
    };
    struct catalog_change got;
    json_object *record;
    (void)state;

    for (size_t i = 0; i < COUNT(rows); i++) {
        struct fault f = catalog_read(rows[i].value, strlen(rows[i].value), &got, &record);
        const char *found = record ? json_object_to_json_string_ext(record, JSON_C_TO_STRING_PLAIN) : "";

        if (strcmp(f.what, rows[i].fault) || f.kind != (*rows[i].fault ? FAULT_REJECT : FAULT_NONE) ||
            strcmp(found, rows[i].record ? rows[i].record : ""))
            fail_msg("%s: %s %s", rows[i].when, f.what, found);
        json_object_put(record);
    }
    assert_int_equal(catalog_read(NULL, 0, &got, &record).kind, FAULT_REJECT);
    assert_null(record);
}

static void test_names(void **state)
{
    (void)state;

    assert_string_equal(catalog_kind_name(CATALOG_ADDED), "added");
    assert_string_equal(catalog_kind_name(CATALOG_REMOVED), "removed");
    assert_string_equal(catalog_kind_name(CATALOG_AVAILABILITY), "availability");
    assert_string_equal(catalog_kind_name(CATALOG_CHECK), "check");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_write),
        cmocka_unit_test(test_read),
        cmocka_unit_test(test_names),
    };

    return cmocka_run_group_tests_name("catalog", tests, NULL, NULL);
}

/* What is read of a request to OneClick, and what the caller hears. The rules of `asked` are compared in schemas_test.py. */
#include "common/oneclick_request.h"

#include "common/json.h"
#include "common/scoped.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define ISBN "9781441260468"

static json_object *parse(const char *text)
{
    json_object *value;
    struct fault f = json_read(text, strlen(text), &value);

    if (f.kind)
        fail_msg("%s: %s", text, f.what);
    return value;
}

static struct fault read_asked(const char *action, const char *asked, struct oneclick_asked *ret, struct request *ret_request)
{
    *ret_request = (struct request){.asked = parse(asked)};
    text_copy(ret_request->action, sizeof ret_request->action, action);
    return oneclick_asked_read(ret_request, ret);
}

static void test_asked(void **state)
{
    struct oneclick_asked asked;
    struct request request;
    (void)state;

    assert_false(read_asked("checkout", "{\"isbn\":\"" ISBN "\",\"days\":14,\"create\":true,\"email\":\"a@b\","
                 "\"first_name\":\"Ada\"}",
                            &asked, &request).kind);
    assert_int_equal(asked.action, ONECLICK_CHECKOUT);
    assert_string_equal(asked.isbn, ISBN);
    assert_int_equal(asked.days, 14);
    assert_true(asked.create);
    assert_string_equal(asked.email, "a@b");
    assert_string_equal(asked.first_name, "Ada");
    assert_string_equal(asked.last_name, "");
    request_release(&request);

    assert_false(read_asked("search", "{\"all\":\"wind\",\"available\":false,\"page\":3}", &asked, &request).kind);
    assert_string_equal(asked.query.all, "wind");
    assert_string_equal(asked.query.availability, "unavailable");
    assert_string_equal(asked.query.author, "");
    assert_int_equal(asked.query.page, 3);
    assert_int_equal(asked.query.page_size, ONECLICK_PAGE_USUAL);
    request_release(&request);

    assert_false(read_asked("loans", "{}", &asked, &request).kind);
    assert_string_equal(asked.isbn, "");
    assert_int_equal(asked.query.page_size, 0);
    request_release(&request);
}

/* A fault names the member and never quotes it. */
static void test_asked_faults(void **state)
{
    static const struct {
        const char *action, *asked, *want;
    } rows[] = {
        {"checkout", "{}", "isbn: missing"},
        {"checkout", "{\"isbn\":\"" ISBN "\",\"days\":0}", "days: out of range, want 1 to 365"},
        {"checkout", "{\"isbn\":\"" ISBN "\",\"create\":\"secret\"}", "create: want true or false, found string"},
        {"checkout", "{\"isbn\":\"" ISBN "\",\"email\":\"secret\"}", "email: want an e-mail address"},
        {"hold", "{\"isbn\":\"" ISBN "\",\"last_name\":\"\"}", "last_name: want 1 to 100 characters, found 0"},
        {"return", "{\"isbn\":\"978144126046X\"}", "isbn: want 13 digits alone"},
        {"return", "{\"isbn\":\"978144126046\"}", "isbn: want 13 digits, found 12"},
        {"magazine_return", "{}", "issue: missing"},
        {"magazine_return", "{\"issue\":\"a b\"}", "issue: want letters, digits, - and _ only"},
        {"download", "{\"isbn\":\"" ISBN "\",\"file\":\" x\"}", "file: begins or ends with a space"},
        {"search", "{\"media_type\":\"paper\"}", "media_type: want eBook or eAudio"},
        {"search", "{\"all\":\"a\\nb\"}", "all: want one line, without control characters"},
        {"lend", "{}", "action: none of OneClick's"},
    };
    struct oneclick_asked asked;
    struct request request;
    (void)state;

    for (size_t i = 0; i < COUNT(rows); i++) {
        struct fault f = read_asked(rows[i].action, rows[i].asked, &asked, &request);
        if (f.kind != FAULT_REJECT || strcmp(f.what, rows[i].want))
            fail_msg("%s %s: %s", rows[i].action, rows[i].asked, f.what);
        request_release(&request);
    }
}

/* ---- outcomes ---- */

#define EAUDIO                                                                                                              \
    "{\"isbn\":\"9781456103859\",\"transactionId\":9828569,\"expiration\":\"2016-11-19\",\"title\":\"The Greatest\","        \
    "\"authors\":\"Walter Dean Myers\",\"narrators\":\"J.D. Jackson\",\"publisher\":\"\",\"mediaType\":\"eAudio\","          \
    "\"canRenew\":true,\"minutes\":225.95,\"bookmarks\":%s,\"files\":[{\"id\":1646766,\"display\":\"Introduction\","         \
    "\"filename\":\"78226_001_IN.mp3\",\"downloadUrl\":\"http://x/v1/secret\",\"minutes\":0.2,\"size\":73024},null]}"
#define EAUDIO_OUT                                                                                                          \
    "{\"isbn\":\"9781456103859\",\"transaction_id\":\"9828569\",\"expiration\":\"2016-11-19\","                             \
    "\"ends_at\":\"2016-11-19T05:00:00Z\",\"computed\":false,\"title\":\"The Greatest\",\"authors\":\"Walter Dean Myers\","  \
    "\"narrators\":\"J.D. Jackson\",\"media_type\":\"eAudio\",\"can_renew\":true,\"minutes\":225.95,\"positions\":%s,"       \
    "\"files\":[{\"id\":\"1646766\",\"name\":\"78226_001_IN.mp3\",\"display\":\"Introduction\",\"minutes\":0.2," \
    "\"size\":73024}]}"

/* Positions are what OneClick calls bookmarks; what PostgreSQL would not take is left out. */
static void test_loans(void **state)
{
    static const struct {
        const char *bookmarks, *positions;
    } rows[] = {
        {"[]", "[]"},
        {"[17,2.5,\"00:10:00\",null,true]", "[17,2.5,\"00:10:00\"]"},
        {"[{\"part\":1646766,\"seconds\":17.5,\"label\":\" a\\u0000b \",\"more\":{\"x\":1},\"\\u0000\":1}]",
         "[{\"part\":1646766,\"seconds\":17.5,\"label\":\"a b\"}]"},
    };
    struct text in = {0}, want = {0}, got = {0};
    (void)state;

    for (size_t i = 0; i < COUNT(rows); i++) {
        text_clear(&in);
        text_clear(&want);
        text_clear(&got);
        text_printf(&in, "[" EAUDIO ",{\"title\":\"no ISBN\"}]", rows[i].bookmarks);
        text_printf(&want, "{\"loans\":[" EAUDIO_OUT "]}", rows[i].positions);
        SCOPED(json_object_put) json_object *list = parse(text_str(&in));
        oneclick_put_loans(&got, list);
        assert_string_equal(text_str(&got), text_str(&want));
    }
    text_free(&in);
    text_free(&want);
    text_free(&got);
}

static void test_borrowed(void **state)
{
    static const struct {
        struct oneclick_receipt receipt;
        const char *want;
    } rows[] = {
        {{"9828517", ""}, "{\"loan\":{\"isbn\":\"" ISBN "\",\"transaction_id\":\"9828517\",\"expiration\":\"2016-10-20\","
                          "\"ends_at\":\"2016-10-20T04:00:00Z\",\"computed\":true}}"},
        {{"", "2016-10-14"}, "{\"loan\":{\"isbn\":\"" ISBN "\",\"expiration\":\"2016-10-14\","
         "\"ends_at\":\"2016-10-14T04:00:00Z\","
                             "\"computed\":false}}"},
    };
    struct text got = {0};
    (void)state;

    for (size_t i = 0; i < COUNT(rows); i++) {
        text_clear(&got);
        oneclick_put_borrowed(&got, ISBN, &rows[i].receipt, 1476403200, 7); /* the evening of the 13th there */
        assert_string_equal(text_str(&got), rows[i].want);
    }
    text_free(&got);
}

static void test_holds(void **state)
{
    SCOPED(json_object_put) json_object *rows =
        parse("[{\"isbn\":\"" ISBN "\",\"title\":\"All Things New\",\"authors\":\"Lynn Austin\",\"publisher\":\"Bethany\","
              "\"expiration\":\"2050-12-31\",\"transactionId\":9828560,\"mediaType\":\"eBook\",\"patronId\":939981}]");
    struct text got = {0};
    (void)state;

    oneclick_put_holds(&got, rows);
    assert_string_equal(text_str(&got), "{\"holds\":[{\"isbn\":\"" ISBN "\",\"transaction_id\":\"9828560\",\"title\":\"All "
                        "Things New\","
                                        "\"authors\":\"Lynn Austin\",\"publisher\":\"Bethany\",\"media_type\":\"eBook\"}]}");
    text_free(&got);
}

static void test_issues(void **state)
{
    SCOPED(json_object_put) json_object *rows = parse(
        "[{\"item\":{\"issueId\":4711,\"magazineId\":12,\"title\":\"The Week\",\"checkoutOn\":\"2019-03-01\"}},{\"item\":{}},"
        "null]");
    struct text got = {0};
    (void)state;

    oneclick_put_issues(&got, rows);
    assert_string_equal(text_str(&got), "{\"issues\":[{\"issue\":\"4711\",\"magazine\":\"12\",\"title\":\"The Week\","
                                        "\"borrowed\":\"2019-03-01\"}]}");
    text_free(&got);
}

static void test_result(void **state)
{
    SCOPED(json_object_put) json_object *items = parse(
        "[{\"interest\":{\"name\":\"library\"},\"item\":{\"isbn\":\"9780307378101\",\"title\":\"Tea Time\","
        "\"authors\":[{\"text\":\"A. "
        "McCall Smith\"},{}],\"genres\":[],\"mediaType\":\"eBook\"}},{\"item\":{\"isbn\":\"1\"}}]");
    SCOPED(json_object_put) json_object *filters = parse(
        "[{\"tokenLabel\":\"genre\",\"tokenValue\":\"mystery\",\"count\":1,\"isSelected\":false},"
        "{\"tokenLabel\":\"genre\",\"tokenValue\":\"horror\",\"count\":0,\"isSelected\":false},"
        "{\"tokenLabel\":\"mediatype\",\"tokenValue\":\"eaudio\",\"count\":0,\"isSelected\":true}]");
    struct oneclick_result result = {.items = items, .filters = filters, .page = 0, .pages = 1, .page_size = 20, .total = 2};
    struct text got = {0};
    (void)state;

    oneclick_put_result(&got, &result);
    assert_string_equal(text_str(&got),
                        "{\"page\":0,\"pages\":1,\"page_size\":20,\"total\":2,\"items\":[{\"isbn\":\"9780307378101\","
                        "\"title\":\"Tea "
                        "Time\",\"authors\":[\"A. McCall Smith\"],\"genres\":[],\"media_type\":\"eBook\",\"owned\":true}],"
                        "\"facets\":["
                        "{\"facet\":\"genre\",\"value\":\"mystery\",\"count\":1,\"selected\":false},"
                        "{\"facet\":\"mediatype\",\"value\":\"eaudio\",\"count\":0,\"selected\":true}]}");
    text_free(&got);
}

static void test_access(void **state)
{
    const struct oneclick_access access = {"audio/mpeg", "http://book/chapter1.mp3"};
    struct text got = {0};
    (void)state;

    oneclick_put_access(&got, ISBN, "1646766", &access, 1476417600);
    assert_string_equal(text_str(&got), "{\"isbn\":\"" ISBN "\",\"file\":\"1646766\",\"type\":\"audio/mpeg\","
                                        "\"url\":\"http://book/chapter1.mp3\",\"until\":\"2016-10-14T04:00:00Z\"}");
    text_free(&got);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_asked), cmocka_unit_test(test_asked_faults), cmocka_unit_test(test_loans),
        cmocka_unit_test(test_borrowed), cmocka_unit_test(test_holds), cmocka_unit_test(test_issues),
                         cmocka_unit_test(test_result),
        cmocka_unit_test(test_access),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

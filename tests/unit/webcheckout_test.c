#include "common/vendors/webcheckout.h"

#include "common/json.h"
#include "common/scoped.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define JSON "application/json"
#define HTML "text/html"
#define PAGE "<html><body>sorry</body></html>"
#define A8 "aaaaaaaa"
#define A64 A8 A8 A8 A8 A8 A8 A8 A8
#define UUID "53a6f8f4-c008-4de1-9ee0-2afd26999000"
#define OK(payload) "{\"apiVersion\":\"1.0\",\"session\":\"S-1\",\"status\":\"ok\",\"alert\":null,\"payload\":" payload "}"
#define TIMES "\"pickupTime\":\"2026-10-12T10:00:00.000000-04:00\",\"returnTime\":\"2026-10-12T11:00:00.000000-04:00\""

static struct http_response answered(int status, const char *content_type, const char *body)
{
    return (struct http_response){.end = HTTP_ANSWERED, .status = status, .content_type = content_type, .body = body,
                                  .body_len = strlen(body), .watched = "", .retry_after_ms = -1, .error = ""};
}

struct situation {
    const char *when;
    int status;
    const char *content_type, *body;
    enum verdict verdict;
    enum cause cause;
    const char *code;
};

static void check(const struct situation *s, struct answer a)
{
    if (a.verdict != s->verdict || a.cause != s->cause || strcmp(a.code, s->code))
        fail_msg("%s: %s, cause %d, %s: %s", s->when, verdict_name(a.verdict), a.cause, a.code, a.reason);
}

static void test_login(void **state)
{
    static const struct {
        struct situation s;
        enum webcheckout_api api;
        const char *token;
    } rows[] = {
        {{"1.1: the uuid is the session", 200, JSON,
          "{\"apiVersion\":\"1.0\",\"session\":\"S-21715\",\"status\":\"ok\",\"payload\":{\"id\":\"S-21715\",\"uuid\":\"" UUID
          "\"},\"sessionid\":\"" UUID "\"}",
          DONE, CAUSE_WORK, "logged_in"}, WEBCHECKOUT_API_1_1, UUID},
        {{"1.1: only repeated", 200, JSON, "{\"status\":\"ok\",\"payload\":null,\"sessionid\":\"" UUID "\"}", DONE, CAUSE_WORK,
          "logged_in"}, WEBCHECKOUT_API_1_1, UUID},
        {{"1.1: its number is no session", 200, JSON, OK("{\"id\":\"S-21715\"}"), LATER, CAUSE_VENDOR, "garbled"},
         WEBCHECKOUT_API_1_1, ""},
        {{"2.0: a bearer token", 200, JSON, "{\"status\":\"ok\",\"sessionToken\":\"eyJ0=\",\"session\":{\"id\":\"S-1\"},"
        "\"payload\":{}}",
          DONE, CAUSE_WORK, "logged_in"}, WEBCHECKOUT_API_2_0, "eyJ0="},
        {{"2.0: inside", 200, JSON, OK("{\"sessionToken\":\"eyJ0=\"}"), DONE, CAUSE_WORK, "logged_in"}, WEBCHECKOUT_API_2_0,
         "eyJ0="},
        {{"2.0: a uuid is no token", 200, JSON, OK("{\"uuid\":\"" UUID "\"}"), LATER, CAUSE_VENDOR, "garbled"},
         WEBCHECKOUT_API_2_0, ""},
        {{"a token that would break a header", 200, JSON, "{\"status\":\"ok\",\"sessionToken\":\"a\\nb\"}", LATER, CAUSE_VENDOR,
          "garbled"}, WEBCHECKOUT_API_2_0, ""},
        {{"refused", 200, JSON, "{\"status\":\"unauthenticated\",\"payload\":{\"message\":\"bad password\"}}", LATER,
          CAUSE_CREDENTIALS, "login_refused"}, WEBCHECKOUT_API_2_0, ""},
        {{"refused in another word", 200, JSON, "{\"status\":\"error\"}", LATER, CAUSE_CREDENTIALS, "login_refused"},
         WEBCHECKOUT_API_1_1, ""},
        {{"refused with 400", 400, JSON, "{\"status\":\"error\"}", LATER, CAUSE_CREDENTIALS, "login_refused"},
         WEBCHECKOUT_API_1_1, ""},
        {{"401", 401, "", "", LATER, CAUSE_CREDENTIALS, "login_refused"}, WEBCHECKOUT_API_2_0, ""},
        {{"403", 403, HTML, PAGE, LATER, CAUSE_CREDENTIALS, "login_refused"}, WEBCHECKOUT_API_2_0, ""},
        {{"404", 404, HTML, PAGE, LATER, CAUSE_VENDOR, "refused"}, WEBCHECKOUT_API_2_0, ""},
        {{"500", 500, JSON, "{\"status\":\"error\"}", LATER, CAUSE_VENDOR, "unwell"}, WEBCHECKOUT_API_2_0, ""},
        {{"429", 429, "", "", LATER, CAUSE_RATE, "rate"}, WEBCHECKOUT_API_2_0, ""},
        {{"its own log-in page", 200, HTML, PAGE, LATER, CAUSE_VENDOR, "garbled"}, WEBCHECKOUT_API_2_0, ""},
    };
    (void)state;

    for (size_t i = 0; i < COUNT(rows); i++) {
        static struct webcheckout_session session;
        struct http_response res = answered(rows[i].s.status, rows[i].s.content_type, rows[i].s.body);
        struct answer a = webcheckout_login_answer(&res, rows[i].api, &session);

        check(&rows[i].s, a);
        if (strcmp(session.token, rows[i].token))
            fail_msg("%s: token '%s'", rows[i].s.when, session.token);
    }
}

static void test_centers(void **state)
{
    static struct webcheckout_session session;
    struct http_response res = answered(
        200, JSON, "{\"status\":\"ok\",\"sessionid\":\"t\",\"payload\":{\"roles\":{\"operator\":["
                   "{\"_class\":\"checkoutCenter\",\"oid\":53207831,\"name\":\"College\"},{\"oid\":7,\"name\":\"Steenbock\"}],"
                   "\"circulatingPatron\":null}}}");
    (void)state;

    assert_int_equal(webcheckout_login_answer(&res, WEBCHECKOUT_API_1_1, &session).verdict, DONE);
    assert_int_equal(session.center_count, 2);
    assert_false(session.more_centers);
    assert_int_equal(session.centers[0].oid, 53207831);
    assert_string_equal(session.centers[1].name, "Steenbock");

    res = answered(200, JSON, "{\"status\":\"ok\",\"sessionid\":\"t\","
                              "\"payload\":{\"roles\":{\"operator\":[{\"oid\":\"x\"}]}}}");
    webcheckout_login_answer(&res, WEBCHECKOUT_API_1_1, &session);
    assert_int_equal(session.center_count, 0);
    assert_true(session.more_centers);

    res = answered(200, JSON, "{\"status\":\"ok\",\"sessionid\":\"t\",\"payload\":{\"roles\":{\"operator\":null}}}");
    webcheckout_login_answer(&res, WEBCHECKOUT_API_1_1, &session);
    assert_int_equal(session.center_count, 0);
    assert_false(session.more_centers);
}

static void test_what_every_answer_means(void **state)
{
    static const struct situation rows[] = {
        {"none", 200, JSON, OK("{\"result\":[],\"count\":0}"), DONE, CAUSE_WORK, "rows"},
        {"none, as Lisp has it", 200, JSON, OK("{\"result\":null,\"count\":0}"), DONE, CAUSE_WORK, "rows"},
        {"none, in an empty list", 200, JSON, OK("[]"), DONE, CAUSE_WORK, "rows"},
        {"none, without any payload", 200, JSON, OK("null"), DONE, CAUSE_WORK, "rows"},
        {"another case", 200, JSON, "{\"status\":\"OK\",\"payload\":{\"result\":[]}}", DONE, CAUSE_WORK, "rows"},
        {"the session has timed out, with 200", 200, JSON, "{\"status\":\"unauthenticated\"}", LATER, CAUSE_TOKEN,
         "token_refused"},
        {"401", 401, HTML, PAGE, LATER, CAUSE_TOKEN, "token_refused"},
        {"another status, with 200", 200, JSON, "{\"status\":\"error\",\"payload\":{\"message\":\"no such property\"}}", LATER,
         CAUSE_VENDOR, "refused"},
        {"another status, with 400", 400, JSON, "{\"status\":\"error\"}", LATER, CAUSE_VENDOR, "refused"},
        {"ok, with 404", 404, JSON, OK("{\"result\":[]}"), LATER, CAUSE_VENDOR, "refused"},
        {"a wrong address", 404, HTML, PAGE, LATER, CAUSE_VENDOR, "refused"},
        {"403", 403, JSON, "{\"status\":\"error\"}", LATER, CAUSE_VENDOR, "forbidden"},
        {"429", 429, JSON, "{\"status\":\"error\"}", LATER, CAUSE_RATE, "rate"},
        {"500 with words", 500, JSON, "{\"status\":\"error\"}", LATER, CAUSE_VENDOR, "unwell"},
        {"503", 503, HTML, PAGE, LATER, CAUSE_VENDOR, "unwell"},
        {"a redirect", 302, "", "", LATER, CAUSE_VENDOR, "redirected"},
        {"a page", 200, HTML, PAGE, LATER, CAUSE_VENDOR, "garbled"},
        {"nothing", 204, "", "", LATER, CAUSE_VENDOR, "garbled"},
        {"no status", 200, JSON, "{\"payload\":{\"result\":[]}}", LATER, CAUSE_VENDOR, "garbled"},
        {"no result", 200, JSON, OK("{\"count\":0}"), LATER, CAUSE_VENDOR, "garbled"},
        {"a result of another kind", 200, JSON, OK("{\"result\":{}}"), LATER, CAUSE_VENDOR, "garbled"},
        {"a sentence", 200, JSON, OK("\"none\""), LATER, CAUSE_VENDOR, "garbled"},
        {"no object", 200, JSON, "[]", LATER, CAUSE_VENDOR, "garbled"},
    };
    struct webcheckout_rows found = {0};
    (void)state;

    for (size_t i = 0; i < COUNT(rows); i++) {
        struct http_response res = answered(rows[i].status, rows[i].content_type, rows[i].body);

        check(&rows[i], webcheckout_search_answer(&res, 100, &found));
        assert_int_equal(found.count + found.bad_count, 0);
        assert_false(found.more);
    }
    webcheckout_rows_free(&found);
}

static void test_exchanges_without_an_answer(void **state)
{
    struct http_response res = {.end = HTTP_UNKNOWN, .content_type = "", .body = "", .watched = "", .retry_after_ms = -1,
                                .error = "time-out"};
    static struct webcheckout_session session;
    struct webcheckout_rows rows = {0};
    struct webcheckout_person person;
    char version[WEBCHECKOUT_ID_SIZE];
    (void)state;

    assert_int_equal(webcheckout_login_answer(&res, WEBCHECKOUT_API_2_0, &session).verdict, LATER);
    assert_int_equal(webcheckout_scope_answer(&res).verdict, LATER);
    assert_int_equal(webcheckout_info_answer(&res, version).verdict, LATER);
    assert_int_equal(webcheckout_search_answer(&res, 1, &rows).verdict, LATER);
    assert_int_equal(webcheckout_allocation_answer(&res, &rows).verdict, LATER);
    assert_int_equal(webcheckout_person_answer(&res, &person).verdict, LATER);

    res = answered(503, "", "");
    res.retry_after_ms = 7000;
    assert_int_equal(webcheckout_search_answer(&res, 1, &rows).wait_ms, 7000);
}

static void test_a_whole_allocation(void **state)
{
    static const char body[] = OK(
        "{\"count\":1,\"result\":[{\"_class\":\"allocation\",\"oid\":9007199254740993,\"name\":\"CK-1234\","
        "\"uniqueId\":\"CK-1234\","
        "\"state\":\"CHECKOUT\",\"patron\":{\"_class\":\"person\",\"oid\":55,\"name\":\"Ada Reader\",\"userid\":\"areader\","
        "\"barcode\":22822000000019},\"patronPreferredEmail\":\"Ada@Example.edu\","
        "\"checkoutCenter\":{\"_class\":\"checkout-center\","
        "\"oid\":53207831,\"name\":\"College\"},\"pickupTime\":\"2019-07-03T10:17:15.910231-05:00\","
        "\"returnTime\":\"2019-07-03T12:00:00.000000-05:00\",\"realStartTime\":\"2019-07-03T10:20:00.5-05:00\","
        "\"scheduledEndTime\":\"2019-07-03T13:00:00.000000-05:00\",\"realEndTime\":null,\"allocationItems\":["
        "{\"quantity\":1,\"state\":\"CHECKOUT\",\"resource\":{\"oid\":7,\"name\":\"Room 1\"}},"
        "{\"quantity\":1,\"resource\":{\"oid\":7,\"name\":\"Room 1\"}},{\"quantity\":1,\"resource\":{\"oid\":8,"
        "\"name\":\"Key\"}}],"
        "\"slots\":{\"moving\":\"target\"}}]}");
    struct http_response res = answered(200, JSON, body);
    struct webcheckout_rows rows = {0};
    (void)state;

    assert_int_equal(webcheckout_search_answer(&res, 100, &rows).verdict, DONE);
    assert_int_equal(rows.count, 1);
    assert_int_equal(rows.bad_count, 0);
    assert_false(rows.more);
    const struct webcheckout_allocation *row = rows.at;
    assert_int_equal(row->oid, 9007199254740993);
    assert_string_equal(row->unique_id, "CK-1234");
    assert_string_equal(row->name, "CK-1234");
    assert_string_equal(row->state, "CHECKOUT");
    assert_int_equal(row->patron_oid, 55);
    assert_string_equal(row->userid, "areader");
    assert_string_equal(row->barcode, "22822000000019");
    assert_string_equal(row->email, "ada@example.edu");
    assert_int_equal(row->center.oid, 53207831);
    assert_string_equal(row->center.name, "College");
    assert_int_equal(row->start, 1562167035);
    assert_int_equal(row->end, 1562173200);
    assert_int_equal(row->offset_seconds, -18000);
    assert_int_equal(row->real_start, 1562167200);
    assert_int_equal(row->real_end, 0);
    assert_int_equal(row->resource_count, 2);
    assert_false(row->more_resources);
    assert_int_equal(row->resources[1].oid, 8);
    assert_string_equal(row->resources[0].name, "Room 1");
    webcheckout_rows_free(&rows);
}

static void test_members_of_an_allocation(void **state)
{
    static const struct {
        const char *when, *members;
        int64_t start, end, real_start, real_end;
        const char *state, *userid, *barcode;
        int64_t center;
        size_t resources;
        bool more_resources;
    } rows[] = {
        {"nothing but its oid", "", 0, 0, 0, 0, "", "", "", 0, 0, false},
        {"the scheduled times where the others are not sent",
         ",\"realStartTime\":\"2026-10-12T14:00:00Z\",\"scheduledEndTime\":\"2026-10-12T15:00:00Z\"", 1791813600, 1791817200,
         1791813600, 0, "", "", "", 0, 0, false},
        {"nil for times", ",\"pickupTime\":null,\"returnTime\":false,\"scheduledEndTime\":\"2026-10-12T15:00:00Z\"", 0,
         1791817200, 0, 0, "", "", "", 0, 0, false},
        {"nil for times, as an empty list", ",\"pickupTime\":[],\"returnTime\":\"2026-10-12T15:00:00Z\",\"realEndTime\":[]", 0,
         1791817200, 0, 0, "", "", "", 0, 0, false},
        {"given back", "," TIMES ",\"realEndTime\":\"2026-10-12T14:30:00.123456Z\"", 1791813600, 1791817200, 0, 1791815400, "",
         "", "", 0, 0, false},
        {"a state nobody has named", ",\"state\":\"Pending Pickup\"", 0, 0, 0, 0, "Pending Pickup", "", "", 0, 0, false},
        {"a state too long to be one", ",\"state\":\"" A64 "a\"", 0, 0, 0, 0, "", "", "", 0, 0, false},
        {"a patron without ids", ",\"patron\":{\"_class\":\"person\",\"oid\":5,\"name\":\"Ada\"}", 0, 0, 0, 0, "", "", "",
         0, 0, false},
        {"an id is never cut", ",\"patron\":{\"oid\":5,\"userid\":\"" A64 "a\",\"barcode\":\"" A64 "\"}", 0, 0, 0, 0, "",
         "", A64, 0, 0, false},
        {"no patron", ",\"patron\":null,\"checkoutCenter\":null,\"allocationItems\":null", 0, 0, 0, 0, "", "", "", 0, 0, false},
        {"a centre by its bare oid is none", ",\"checkoutCenter\":7", 0, 0, 0, 0, "", "", "", 0, 0, false},
        {"an oid in a string", ",\"checkoutCenter\":{\"oid\":\"7\"}", 0, 0, 0, 0, "", "", "", 7, 0, false},
        {"an item without a resource", ",\"allocationItems\":[{\"quantity\":2},{\"resource\":{\"oid\":1}}]", 0, 0, 0, 0, "",
         "", "", 0, 1, true},
        {"more resources than fit",
         ",\"allocationItems\":[{\"resource\":{\"oid\":1}},{\"resource\":{\"oid\":2}},{\"resource\":{\"oid\":3}},"
         "{\"resource\":{\"oid\":4}},{\"resource\":{\"oid\":5}},{\"resource\":{\"oid\":6}},{\"resource\":{\"oid\":7}},"
         "{\"resource\":{\"oid\":8}},"
         "{\"resource\":{\"oid\":9}}]", 0, 0, 0, 0, "", "", "", 0, 8, true},
    };
    (void)state;

    for (size_t i = 0; i < COUNT(rows); i++) {
        char body[1024];
        struct webcheckout_rows found = {0};
        snprintf(body, sizeof body, "{\"status\":\"ok\",\"payload\":{\"oid\":1%s}}", rows[i].members);
        struct http_response res = answered(200, JSON, body);
        struct answer a = webcheckout_allocation_answer(&res, &found);
        const struct webcheckout_allocation *row = found.at;

        if (a.verdict != DONE || found.count != 1 || row->start != rows[i].start || row->end != rows[i].end ||
            row->real_start != rows[i].real_start || row->real_end != rows[i].real_end || strcmp(row->state, rows[i].state) ||
            strcmp(row->userid, rows[i].userid) || strcmp(row->barcode, rows[i].barcode) || row->center.oid != rows[i].center ||
            row->resource_count != rows[i].resources || row->more_resources != rows[i].more_resources)
            fail_msg("%s: %s %s", rows[i].when, a.reason, found.bad_count ? found.bad[0].why : "");
        webcheckout_rows_free(&found);
    }
}

static void test_one_bad_row_costs_no_other(void **state)
{
    static const struct {
        const char *when, *row;
        int64_t oid;
        const char *why;
    } bad[] = {
        {"no object", "7", 0, "row 2: it is no object"},
        {"null", "null", 0, "row 2: it is no object"},
        {"no oid", "{\"name\":\"CK-1\"}", 0, "row 2: oid: want a whole number from 1 up"},
        {"an oid of 0", "{\"oid\":0}", 0, "row 2: oid: want a whole number from 1 up"},
        {"an oid too large", "{\"oid\":99999999999999999999999}", 0, "row 2: oid: want a whole number from 1 up"},
        {"a fraction", "{\"oid\":1.5}", 0, "row 2: oid: want a whole number from 1 up"},
        {"a start without an offset", "{\"oid\":5,\"pickupTime\":\"2026-10-12T10:00:00.000000\"}", 5,
         "allocation 5: pickupTime: want a time with an offset"},
        {"a real start that is none", "{\"oid\":5," TIMES ",\"realStartTime\":\"noon\"}", 5,
         "allocation 5: realStartTime: want a time with an offset"},
        {"an end that is a date", "{\"oid\":5,\"returnTime\":\"2026-10-12\"}", 5,
         "allocation 5: returnTime: want a time with an offset"},
        {"an end in seconds", "{\"oid\":5,\"scheduledEndTime\":1791817200}", 5,
         "allocation 5: scheduledEndTime: want a time with an offset"},
        {"a real end that is none", "{\"oid\":5,"
         "\"realEndTime\":true}", 5, "allocation 5: realEndTime: want a time with an offset"},
        {"an end before the start", "{\"oid\":5,\"pickupTime\":\"2026-10-12T11:00:00Z\","
         "\"returnTime\":\"2026-10-12T11:00:00Z\"}", 5,
         "allocation 5: its end is not after its start"},
    };
    (void)state;

    for (size_t i = 0; i < COUNT(bad); i++) {
        char body[512];
        struct webcheckout_rows rows = {0};
        snprintf(body, sizeof body, "{\"status\":\"ok\",\"payload\":{\"result\":[{\"oid\":1," TIMES "},%s,{\"oid\":2,"
        "" TIMES "}]}}",
                 bad[i].row);
        struct http_response res = answered(200, JSON, body);
        struct answer a = webcheckout_search_answer(&res, 100, &rows);

        if (a.verdict != DONE || rows.count != 2 || rows.bad_count != 1 || rows.at[1].oid != 2 ||
            rows.bad[0].oid != bad[i].oid || strcmp(rows.bad[0].why, bad[i].why))
            fail_msg("%s: %zu rows,"
            " %zu bad: %s", bad[i].when, rows.count, rows.bad_count, rows.bad_count ? rows.bad[0].why : "");
        webcheckout_rows_free(&rows);
    }
}

static void test_whether_there_are_more(void **state)
{
    static const struct {
        const char *when, *payload;
        int limit;
        size_t count;
        bool more;
    } rows[] = {
        {"all", "{\"result\":[{\"oid\":1},{\"oid\":2}],\"count\":2}", 3, 2, false},
        {"as many as the limit", "{\"result\":[{\"oid\":1},{\"oid\":2}],\"count\":2}", 2, 2, true},
        {"a server that caps the list below it", "{\"result\":[{\"oid\":1},{\"oid\":2}],\"count\":9}", 100, 2, true},
        {"no count", "{\"result\":[{\"oid\":1},{\"oid\":2}]}", 3, 2, false},
        {"a limit that was ignored", "{\"result\":[{\"oid\":1},{\"oid\":2}],\"count\":2}", 1, 2, false},
        {"several results", "[{\"result\":[{\"oid\":1}],\"count\":1},{\"result\":[{\"oid\":2}],\"count\":5}]", 3, 2, true},
        {"several results, whole", "[{\"result\":[{\"oid\":1}]},{\"result\":null},{\"result\":[{\"oid\":2}]}]", 3, 2, false},
    };
    struct webcheckout_rows found = {0};
    (void)state;

    for (size_t i = 0; i < COUNT(rows); i++) {
        char body[256];
        snprintf(body, sizeof body, "{\"status\":\"ok\",\"payload\":%s}", rows[i].payload);
        struct http_response res = answered(200, JSON, body);
        struct answer a = webcheckout_search_answer(&res, rows[i].limit, &found);

        if (a.verdict != DONE || found.count != rows[i].count || found.more != rows[i].more)
            fail_msg("%s: %zu rows, more %d: %s", rows[i].when, found.count, found.more, a.reason);
    }
    webcheckout_rows_free(&found);
}

static void test_too_many_rows(void **state)
{
    struct text body = {0};
    struct webcheckout_rows rows = {0};
    (void)state;

    text_puts(&body, "{\"status\":\"ok\",\"payload\":{\"result\":[{\"oid\":1}");
    for (int i = 0; i < WEBCHECKOUT_ROWS_MAX; i++)
        text_puts(&body, ",{\"oid\":1}");
    text_puts(&body, "]}}");
    struct http_response res = answered(200, JSON, text_str(&body));
    struct answer a = webcheckout_search_answer(&res, 100, &rows);
    assert_string_equal(a.code, "garbled");
    assert_int_equal(rows.count, 0);
    text_free(&body);
    webcheckout_rows_free(&rows);
}

static void test_people_and_information(void **state)
{
    static const struct {
        const char *when, *payload;
        enum verdict verdict;
        int64_t oid;
        const char *userid, *barcode;
    } people[] = {
        {"whole", "{\"oid\":5,\"userid\":\"areader\",\"barcode\":\"22822000000019\"}", DONE, 5, "areader", "22822000000019"},
        {"without a card", "{\"oid\":5,\"userid\":\"areader\",\"barcode\":null}", DONE, 5, "areader", ""},
        {"nobody", "null", LATER, 0, "", ""},
        {"a list", "[{\"oid\":5}]", LATER, 0, "", ""},
    };
    (void)state;

    for (size_t i = 0; i < COUNT(people); i++) {
        char body[256];
        struct webcheckout_person person;
        snprintf(body, sizeof body, "{\"status\":\"ok\",\"payload\":%s}", people[i].payload);
        struct http_response res = answered(200, JSON, body);
        struct answer a = webcheckout_person_answer(&res, &person);

        if (a.verdict != people[i].verdict || person.oid != people[i].oid || strcmp(person.userid, people[i].userid) ||
            strcmp(person.barcode, people[i].barcode))
            fail_msg("%s: %s", people[i].when, a.reason);
    }

    char version[WEBCHECKOUT_ID_SIZE];
    struct http_response res = answered(200, JSON, OK("{\"serverTime\":\"2019-07-03T10:17:15.910231-05:00\","
    "\"webcoVersion\":\"5.1\"}"));
    assert_string_equal(webcheckout_info_answer(&res, version).code, "info");
    assert_string_equal(version, "5.1");
    res = answered(200, JSON, OK("null"));
    assert_string_equal(webcheckout_info_answer(&res, version).code, "garbled");
    res = answered(200, JSON, OK("{\"checkoutCenter\":{\"oid\":1}}"));
    assert_string_equal(webcheckout_scope_answer(&res).code, "scoped");
}

static void test_reasons_keep_people_out(void **state)
{
    static const struct {
        const char *body, *reason;
    } says[] = {
        {"{\"status\":\"error\",\"payload\":{\"message\":\"no person ada@example.edu with card 22822000000019\"}}",
         "WebCheckout refuses to say (HTTP 200): no person … with card …"},
        {"{\"status\":\"error\",\"payload\":\"unknown property\"}", "WebCheckout refuses to say (HTTP 200): unknown property"},
        {"{\"status\":\"error\",\"message\":\"busy\"}", "WebCheckout refuses to say (HTTP 200): busy"},
        {"{\"status\":\"error\",\"alert\":\"look out\"}", "WebCheckout refuses to say (HTTP 200): look out"},
        {"{\"status\":\"not-authorized\"}", "WebCheckout refuses to say (HTTP 200): not-authorized"},
        {"{\"status\":\"\"}", "WebCheckout refuses to say (HTTP 200)"},
    };
    struct webcheckout_rows rows = {0};
    (void)state;

    for (size_t i = 0; i < COUNT(says); i++) {
        struct http_response res = answered(200, JSON, says[i].body);

        assert_string_equal(webcheckout_search_answer(&res, 1, &rows).reason, says[i].reason);
    }
}

#define PROPERTIES                                                                                                    \
    "[\"oid\",\"name\",\"uniqueId\",\"state\",{\"property\":\"patron\",\"subProperties\":[\"oid\",\"userid\","               \
    "\"barcode\"]},\"patronPreferredEmail\",\"checkoutCenter\",\"pickupTime\",\"returnTime\",\"realStartTime\","            \
    "\"scheduledEndTime\",\"realEndTime\",{\"property\":\"allocationItems\",\"subProperties\":[\"quantity\",\"state\","     \
    "{\"property\":\"resource\",\"subProperties\":[\"oid\",\"name\"]}]}]"

static void want_request(const struct http_request *req, const char *target, const char *authorization, const char *body)
{
    SCOPED(json_object_put) json_object *json = NULL;

    assert_string_equal(req->method, "POST");
    assert_string_equal(text_str(&req->target), target);
    assert_string_equal(text_str(&req->body), body);
    assert_int_equal(json_read(text_str(&req->body), req->body.len, &json).kind, FAULT_NONE);
    assert_string_equal(text_str(&req->headers[0]), "Content-Type: application/json");
    assert_int_equal(req->header_count, authorization ? 3 : 2);
    if (authorization)
        assert_string_equal(text_str(&req->headers[2]), authorization);
}

static void test_requests(void **state)
{
    const struct webcheckout_query all = {.limit = 500};
    const struct webcheckout_query some = {.state = "CHECKOUT", .center_oid = 7, .latest_scheduled_end = 1791817200,
                                           .earliest_actual_end = 1791813600, .latest_actual_end = 1791817200, .limit = 500};
    const struct webcheckout_query one = {.unique_id = "CK-\"1", .state = "CHECKOUT", .limit = 2};
    struct http_request req = {0};
    (void)state;

    webcheckout_login_request(&req, WEBCHECKOUT_API_1_1, "lib\"rary", "p\\w");
    want_request(&req, "/rest/session/start", NULL, "{\"sessionid\":\"\",\"userid\":\"lib\\\"rary\",\"password\":\"p\\\\w\"}");
    webcheckout_login_request(&req, WEBCHECKOUT_API_2_0, "library", "pw");
    want_request(&req, "/rest/session/start", "Authorization: Bearer Requested", "{\"userid\":\"library\","
    "\"password\":\"pw\"}");

    webcheckout_info_request(&req, WEBCHECKOUT_API_1_1);
    want_request(&req, "/rest/session/info", NULL, "{\"sessionid\":\"\"}");
    webcheckout_info_request(&req, WEBCHECKOUT_API_2_0);
    want_request(&req, "/rest/session/info", NULL, "{}");

    webcheckout_scope_request(&req, WEBCHECKOUT_API_1_1, "t0", 7);
    want_request(&req, "/rest/session/setSessionScope", NULL,
                 "{\"sessionid\":\"t0\",\"checkoutCenter\":{\"_class\":\"checkoutCenter\",\"oid\":7}}");
    webcheckout_scope_request(&req, WEBCHECKOUT_API_2_0, "t0", 7);
    want_request(&req, "/rest/session/setSessionScope", "Authorization: Bearer t0",
                 "{\"checkoutCenter\":{\"_class\":\"checkout-center\",\"oid\":7}}");

    webcheckout_search_request(&req, WEBCHECKOUT_API_2_0, "t0", &some);
    want_request(&req, "/rest/allocation/search", "Authorization: Bearer t0",
                 "{\"query\":{\"and\":{\"state\":\"CHECKOUT\",\"center\":{\"_class\":\"checkout-center\",\"oid\":7},"
                 "\"latestScheduledEnd\":\"2026-10-12T15:00:00.000000+00:00\","
                 "\"earliestActualEnd\":\"2026-10-12T14:00:00.000000+00:00\","
                 "\"latestActualEnd\":\"2026-10-12T15:00:00.000000+00:00\"}},\"properties\":" PROPERTIES
                 ",\"orderBy\":\"patronId\",\"limit\":500}");
    webcheckout_search_request(&req, WEBCHECKOUT_API_1_1, "t0", &all);
    want_request(&req, "/rest/allocation/search", NULL,
                 "{\"sessionid\":\"t0\",\"query\":{\"and\":{}},\"properties\":" PROPERTIES ",\"orderBy\":\"patronId\","
                 "\"limit\":500}");
    webcheckout_search_request(&req, WEBCHECKOUT_API_2_0, "t0", &one);
    want_request(&req, "/rest/allocation/search", "Authorization: Bearer t0",
                 "{\"query\":{\"uniqueId\":\"CK-\\\"1\"},\"properties\":" PROPERTIES ",\"orderBy\":\"patronId\",\"limit\":2}");

    webcheckout_allocation_request(&req, WEBCHECKOUT_API_1_1, "t0", 5);
    want_request(&req, "/rest/allocation/get", NULL, "{\"sessionid\":\"t0\",\"oid\":5,\"properties\":" PROPERTIES "}");
    webcheckout_person_request(&req, WEBCHECKOUT_API_2_0, "t0", 5);
    want_request(&req, "/rest/person/get", "Authorization: Bearer t0",
                 "{\"oid\":5,\"properties\":[\"oid\",\"userid\",\"barcode\"]}");
    http_request_free(&req);
}

static void test_states(void **state)
{
    static const char *const live[] = {"CHECKOUT", "Reservation-Confirmed"}, *const dead[] = {"CANCELED", "CHECKOUT"};
    static const struct {
        const char *state;
        size_t live_count, dead_count;
        enum webcheckout_state means;
    } rows[] = {
        {"CHECKOUT", 0, 0, WEBCHECKOUT_LIVE},
        {"checkout", 0, 0, WEBCHECKOUT_LIVE},
        {"RESERVATION", 0, 0, WEBCHECKOUT_UNKNOWN},
        {"CANCELED", 0, 0, WEBCHECKOUT_UNKNOWN},
        {"", 0, 0, WEBCHECKOUT_UNKNOWN},
        {"reservationConfirmed", 2, 2, WEBCHECKOUT_LIVE},
        {"CHECKOUT", 2, 2, WEBCHECKOUT_LIVE},
        {"canceled", 2, 2, WEBCHECKOUT_DEAD},
        {"CANCELLED", 2, 2, WEBCHECKOUT_UNKNOWN},
    };
    (void)state;

    for (size_t i = 0; i < COUNT(rows); i++)
        if (webcheckout_state_of(rows[i].state, live, rows[i].live_count, dead, rows[i].dead_count) != rows[i].means)
            fail_msg("%s", rows[i].state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_login),
        cmocka_unit_test(test_centers),
        cmocka_unit_test(test_what_every_answer_means),
        cmocka_unit_test(test_exchanges_without_an_answer),
        cmocka_unit_test(test_a_whole_allocation),
        cmocka_unit_test(test_members_of_an_allocation),
        cmocka_unit_test(test_one_bad_row_costs_no_other),
        cmocka_unit_test(test_whether_there_are_more),
        cmocka_unit_test(test_too_many_rows),
        cmocka_unit_test(test_people_and_information),
        cmocka_unit_test(test_reasons_keep_people_out),
        cmocka_unit_test(test_requests),
        cmocka_unit_test(test_states),
    };

    return cmocka_run_group_tests_name("webcheckout", tests, NULL, NULL);
}

#include "common/vendors/alma.h"

#include "common/scoped.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define ID(type, status, value) "{\"value\":\"" value "\",\"id_type\":{\"value\":\"" type "\"},\"status\":\"" status "\"}"
#define CARD(value) ID("BARCODE", "ACTIVE", value)
#define OLD(value) ID("BARCODE", "INACTIVE", value)
#define IDS(list) "\"user_identifier\":[" list "]"
#define ERRORS(code) \
    "{\"errorsExist\":true,\"errorList\":{\"error\":[{\"errorCode\":\"" code "\"," \
    "\"errorMessage\":\"User with identifier ogrouch was not found.\"," \
    "\"trackingId\":\"E02-0101190932-VOBYO-AWAE1\"}]},\"result\":null}"
#define WRAPPED(error) "{\"web_service_result\":{\"errorsExist\":true,\"errorList\":{\"error\":" error "}}}"
#define XML(code) \
    "<?xml version=\"1.0\"?>\n<web_service_result xmlns=\"http://com/exlibris/urm/general/xmlbeans\"><errorsExist>true" \
    "</errorsExist><errorList><error><errorCode>" code "</errorCode><errorMessage>ogrouch</errorMessage></error>" \
    "</errorList></web_service_result>"
#define A8 "aaaaaaaa"
#define A64 A8 A8 A8 A8 A8 A8 A8 A8

static struct http_response answered(int status, const char *content_type, const char *body)
{
    return (struct http_response){.end = HTTP_ANSWERED, .status = status, .content_type = content_type, .body = body,
                                  .body_len = strlen(body), .watched = "", .retry_after_ms = -1, .error = ""};
}

static const char ada[] =
    "{\"record_type\":{\"value\":\"PUBLIC\",\"desc\":\"Public\"},"
    "\"primary_id\":\"G00000001\",\"first_name\":\"Ada\",\"middle_name\":\"\",\"last_name\":\"Reader\","
    "\"pref_first_name\":\"\",\"pref_last_name\":\"\",\"user_group\":{\"value\":\"UGRD\",\"desc\":\"UGRD Undergraduate\"},"
    "\"expiry_date\":\"2027-06-30Z\",\"purge_date\":\"2028-06-30Z\",\"status\":{\"value\":\"ACTIVE\",\"desc\":\"Active\"},"
    "\"contact_info\":{\"address\":[],\"email\":["
    "{\"email_address\":\"ada@home.example\",\"preferred\":false},"
    "{\"email_address\":\" Ada@Example.EDU \",\"preferred\":true,\"description\":null},"
    "{\"email_address\":\"ADA@home.example\",\"preferred\":false},{\"email_address\":null},null],\"phone\":[]},"
    "\"user_identifier\":[" ID("BARCODE", "INACTIVE", "22822000000001") "," ID("BARCODE", "ACTIVE", "22822000000019")
    ","
    ID("NETID", "ACTIVE", "areader") "],\"user_role\":[],\"user_block\":[],\"user_note\":[]}";

static void test_the_whole_record(void **state)
{
    struct alma_user user;
    struct http_response res = answered(200, "application/json;charset=UTF-8", ada);
    struct answer a = alma_user_answer(&res, &user);
    (void)state;

    assert_int_equal(a.verdict, DONE);
    assert_string_equal(a.code, "found");
    assert_string_equal(user.primary_id, "G00000001");
    assert_string_equal(user.barcode, "22822000000019");
    assert_string_equal(user.group, "UGRD");
    assert_string_equal(user.group_desc, "UGRD Undergraduate");
    assert_string_equal(user.first_name, "Ada");
    assert_string_equal(user.last_name, "Reader");
    assert_string_equal(user.expiry_date, "2027-06-30");
    assert_string_equal(user.status, "ACTIVE");
    assert_false(user.blocked);
    assert_int_equal(user.email_count, 2);
    assert_string_equal(user.emails[0], "ada@example.edu");
    assert_string_equal(user.emails[1], "ada@home.example");
}

static void test_records(void **state)
{
    static const struct {
        const char *when, *members; /* beside primary_id */
        const char *barcode, *first_name, *expiry_date;
        bool blocked;
    } users[] = {
        {"six barcodes, the third active",
         IDS(OLD("1") "," OLD("2") "," CARD("3") "," OLD("4") "," OLD("5") "," OLD("6")), "3", "", "", false},
        {"two active: the first", IDS(CARD("7") "," CARD("8")), "7", "", "", false},
        {"an active one without a value first", IDS(CARD("") "," CARD("8")), "8", "", "", false},
        {"only inactive ones", IDS(OLD("1")), "", "", "", false},
        {"another type that begins alike", IDS(ID("BARCODE_OLD", "ACTIVE", "1")), "", "", "", false},
        {"no identifiers", "\"user_identifier\":[]", "", "", "", false},
        {"identifiers null", "\"user_identifier\":null", "", "", "", false},
        {"one identifier without brackets", "\"user_identifier\":" ID("BARCODE", "ACTIVE", "9"), "9", "", "", false},
        {"a barcode as a number",
         "\"user_identifier\":[{\"value\":22822000000019,\"id_type\":{\"value\":\"BARCODE\"},\"status\":\"ACTIVE\"}]",
         "22822000000019", "", "", false},
        {"identifiers of odd shapes", IDS("1,null,\"x\",[],{\"id_type\":7}," CARD("5")), "5", "", "", false},
        {"a preferred name wins", "\"first_name\":\"Augusta\",\"pref_first_name\":\"Ada\"", "", "Ada", "", false},
        {"a blank preferred name does not", "\"first_name\":\"Augusta\",\"pref_first_name\":\" \"", "", "Augusta", "",
         false},
        {"a name with a tab and a zero byte", "\"first_name\":\"A\\tb\\u0000c\"", "", "A b c", "", false},
        {"a name too long is cut between characters",
         "\"first_name\":\"" A64 A8 A8 A8 A8 A8 A8 A8 "aaaaaaa" "\xc3\xa9" "\"", "", A64 A8 A8 A8 A8 A8 A8 A8
         "aaaaaaa", "", false},
        {"never expires", "\"expiry_date\":null", "", "", "", false},
        {"a leap day", "\"expiry_date\":\"2028-02-29Z\"", "", "", "2028-02-29", false},
        {"a date without Z", "\"expiry_date\":\"2027-06-30\"", "", "", "2027-06-30", false},
        {"an active block", "\"user_block\":[{\"block_status\":\"INACTIVE\"},{\"block_status\":\"ACTIVE\"}]", "", "",
         "", true},
        {"a block lifted", "\"user_block\":[{\"block_status\":\"INACTIVE\"}]", "", "", "", false},
        {"a block that says nothing", "\"user_block\":[{\"block_description\":{\"value\":\"X\"}}]", "", "", "", true},
        {"a block with its status as a code", "\"user_block\":{\"block_status\":{\"value\":\"ACTIVE\"}}", "", "", "",
         true},
        {"no block but null", "\"user_block\":[null]", "", "", "", false},
    };
    (void)state;

    for (size_t i = 0; i < COUNT(users); i++) {
        char body[2048];
        struct alma_user user;
        snprintf(body, sizeof body, "{\"primary_id\":\"jdoe\",%s}", users[i].members);
        struct http_response res = answered(200, "application/json", body);
        struct answer a = alma_user_answer(&res, &user);

        if (a.verdict != DONE || strcmp(user.primary_id, "jdoe") || strcmp(user.barcode, users[i].barcode) ||
            strcmp(user.first_name, users[i].first_name) || strcmp(user.expiry_date, users[i].expiry_date) ||
            user.blocked != users[i].blocked)
            fail_msg("%s: %s (%s), barcode %s, name %s, expires %s, blocked %d", users[i].when,
            verdict_name(a.verdict), a.reason,
                     user.barcode, user.first_name, user.expiry_date, user.blocked);
    }
}

static void test_answers(void **state)
{
    static const struct {
        const char *when;
        int status;
        const char *content_type, *body;
        enum verdict verdict;
        enum cause cause;
        const char *code;
        int64_t wait_ms;
    } answers[] = {
        {"no such user", 400, "application/json", ERRORS("401861"), REJECTED, CAUSE_WORK, "not_found", -1},
        {"no such user of this type", 400, "application/json", ERRORS("401890"), REJECTED, CAUSE_WORK, "not_found",
         -1},
        {"no such source id", 400, "application/json", ERRORS("4019990"), REJECTED, CAUSE_WORK, "not_found", -1},
        {"no such linking id", 400, "application/json", ERRORS("4019998"), REJECTED, CAUSE_WORK, "not_found", -1},
        {"the code as a number", 400, "application/json", "{\"errorList\":{\"error\":[{\"errorCode\":401861}]}}",
         REJECTED, CAUSE_WORK, "not_found", -1},
        {"wrapped, one error without brackets", 400, "application/json", WRAPPED("{\"errorCode\":\"401861\"}"),
         REJECTED, CAUSE_WORK, "not_found", -1},
        {"wrapped, in a list", 400, "application/json", WRAPPED("[{\"errorCode\":\"401861\"}]"), REJECTED, CAUSE_WORK,
         "not_found", -1},
        {"no such user, in XML", 400, "application/xml", XML("401861"), REJECTED, CAUSE_WORK, "not_found", -1},
        {"no such user, but with 200", 200, "application/json", ERRORS("401861"), REJECTED, CAUSE_WORK, "not_found",
         -1},
        {"not found, says a server that failed", 500, "application/json", ERRORS("401861"), LATER, CAUSE_VENDOR,
         "unwell", -1},
        {"key refused, in XML despite Accept", 400, "application/json", XML("UNAUTHORIZED"), LATER, CAUSE_CREDENTIALS,
         "key_refused", -1},
        {"key refused, prefixed XML", 403, "text/xml", "<e:error><e:errorCode>UNAUTHORIZED</e:errorCode></e:error>",
         LATER, CAUSE_CREDENTIALS, "key_refused", -1},
        {"key refused, JSON", 400, "application/json", ERRORS("UNAUTHORIZED"), LATER, CAUSE_CREDENTIALS,
         "key_refused", -1},
        {"forbidden", 403, "application/json", ERRORS("FORBIDDEN"), LATER, CAUSE_CREDENTIALS, "key_refused", -1},
        {"401 without a body", 401, "", "", LATER, CAUSE_CREDENTIALS, "key_refused", -1},
        {"a firewall's 403 for one id", 403, "text/html", "<html><title>Request Rejected</title></html>", LATER,
         CAUSE_VENDOR, "refused", -1},
        {"403 for one request", 403, "application/json", ERRORS("INVALID_REQUEST"), LATER, CAUSE_VENDOR, "refused",
         -1},
        {"request too large", 403, "application/json", ERRORS("REQUEST_TOO_LARGE"), LATER, CAUSE_VENDOR, "refused",
         -1},
        {"too fast", 429, "application/json", ERRORS("PER_SECOND_THRESHOLD"), LATER, CAUSE_RATE, "rate", 1000},
        {"too fast, in XML", 429, "application/xml", XML("PER_SECOND_THRESHOLD"), LATER, CAUSE_RATE, "rate", 1000},
        {"the day's calls used up", 429, "application/json", ERRORS("DAILY_THRESHOLD"), LATER, CAUSE_DAY, "day", -1},
        {"429 without a code", 429, "text/plain", "slow down", LATER, CAUSE_RATE, "rate", 1000},
        {"429 with another code", 429, "application/json", ERRORS("GENERAL_ERROR"), LATER, CAUSE_RATE, "rate", 1000},
        {"general error", 400, "application/json", ERRORS("60101"), LATER, CAUSE_VENDOR, "unwell", -1},
        {"general error, another", 400, "application/json", ERRORS("402119"), LATER, CAUSE_VENDOR, "unwell", -1},
        {"general error as an object", 500, "application/json", WRAPPED("{\"errorCode\":\"GENERAL_ERROR\"}"), LATER,
         CAUSE_VENDOR, "unwell", -1},
        {"general error with 400", 400, "application/json", ERRORS("GENERAL_ERROR"), LATER, CAUSE_VENDOR, "unwell",
         -1},
        {"routing error", 503, "application/json", ERRORS("ROUTING_ERROR"), LATER, CAUSE_VENDOR, "unwell", -1},
        {"503 page", 503, "text/html", "<html>Service Unavailable</html>", LATER, CAUSE_VENDOR, "unwell", -1},
        {"502 empty", 502, "", "", LATER, CAUSE_VENDOR, "unwell", -1},
        {"a code nobody knows", 400, "application/json", ERRORS("499999"), LATER, CAUSE_VENDOR, "refused", -1},
        {"404", 404, "text/html", "<html>", LATER, CAUSE_VENDOR, "refused", -1},
        {"a redirect", 302, "text/html", "", LATER, CAUSE_VENDOR, "redirected", -1},
        {"200 with XML", 200, "application/xml", "<user><primary_id>jdoe</primary_id></user>", LATER, CAUSE_VENDOR,
         "garbled", -1},
        {"200 empty", 200, "application/json", "", LATER, CAUSE_VENDOR, "garbled", -1},
        {"200 cut short", 200, "application/json", "{\"primary_id\":\"jd", LATER, CAUSE_VENDOR, "garbled", -1},
        {"200 without primary_id", 200, "application/json", "{\"first_name\":\"Ada\"}", LATER, CAUSE_VENDOR,
         "garbled", -1},
        {"200 with a list of users", 200, "application/json",
         "{\"user\":[{\"primary_id\":\"jdoe\"}],\"total_record_count\":1}", LATER, CAUSE_VENDOR, "garbled", -1},
        {"200 with an array", 200, "application/json", "[]", LATER, CAUSE_VENDOR, "garbled", -1},
        {"200 that is an error of no kind", 200, "application/json", "{\"errorsExist\":true}", LATER, CAUSE_VENDOR,
         "garbled", -1},
        {"an expiry nobody can read", 200, "application/json",
         "{\"primary_id\":\"jdoe\",\"expiry_date\":\"30/06/2027\"}", LATER, CAUSE_VENDOR, "garbled", -1},
        {"an expiry on no day", 200, "application/json", "{\"primary_id\":\"jdoe\",\"expiry_date\":\"2027-02-29Z\"}",
         LATER, CAUSE_VENDOR, "garbled", -1},
        {"a primary id that does not fit", 200, "application/json", "{\"primary_id\":\"" A64 "a\"}", REJECTED,
         CAUSE_WORK, "id_too_long", -1},
        {"one that just fits", 200, "application/json", "{\"primary_id\":\"" A64 "\"}", DONE, CAUSE_WORK, "found",
         -1},
        {"a primary id beyond ASCII", 200, "application/json", "{\"primary_id\":\"j\xc3\xb6\"}", REJECTED, CAUSE_WORK,
         "id_not_ascii", -1},
        {"an active barcode that does not fit", 200, "application/json",
         "{\"primary_id\":\"jdoe\",\"user_identifier\":[" ID("BARCODE", "ACTIVE", A64 "a") "]}", REJECTED, CAUSE_WORK,
         "id_too_long", -1},
        {"an inactive one that does not fit", 200, "application/json",
         "{\"primary_id\":\"jdoe\",\"user_identifier\":[" ID("BARCODE", "INACTIVE", A64 "a") "]}", DONE, CAUSE_WORK,
         "found", -1},
    };
    (void)state;

    for (size_t i = 0; i < COUNT(answers); i++) {
        struct alma_user user;
        struct http_response res = answered(answers[i].status, answers[i].content_type, answers[i].body);
        struct answer a = alma_user_answer(&res, &user);

        if (a.verdict != answers[i].verdict || a.cause != answers[i].cause || strcmp(a.code, answers[i].code) ||
            a.wait_ms != answers[i].wait_ms)
            fail_msg("%s: %s, cause %d, %s, wait %lld: %s", answers[i].when, verdict_name(a.verdict), a.cause, a.code,
                     (long long)a.wait_ms, a.reason);
        if (strstr(a.reason, "ogrouch"))
            fail_msg("%s: the reason repeats the id: %s", answers[i].when, a.reason);
        if (!strcmp(a.code, "not_found") && strstr(answers[i].body, "trackingId") &&
            !strstr(a.reason, "E02-0101190932-VOBYO-AWAE1"))
            fail_msg("%s: no tracking id: %s", answers[i].when, a.reason);
    }
}

static void test_exchanges_without_an_answer(void **state)
{
    struct http_response res = {.end = HTTP_NOT_SENT, .content_type = "", .body = "", .watched = "",
    .retry_after_ms = -1,
                                .error = "could not connect"};
    struct alma_user user;
    (void)state;

    struct answer a = alma_user_answer(&res, &user);
    assert_int_equal(a.verdict, LATER);
    assert_string_equal(a.code, "unreachable");
    res.end = HTTP_UNKNOWN;
    a = alma_user_answer(&res, &user);
    assert_int_equal(a.verdict, LATER); /* a read changes nothing */
    assert_int_equal(a.cause, CAUSE_VENDOR);
    a = alma_test_answer(&res);
    assert_int_equal(a.verdict, LATER);

    res = answered(503, "", "");
    res.retry_after_ms = 7000;
    assert_int_equal(alma_user_answer(&res, &user).wait_ms, 7000);
    res = answered(429, "application/json", ERRORS("PER_SECOND_THRESHOLD"));
    res.retry_after_ms = 3000;
    assert_int_equal(alma_user_answer(&res, &user).wait_ms, 3000);
}

static void test_test(void **state)
{
    struct http_response res = answered(200, "application/xml", "<test>ok</test>");
    (void)state;

    assert_int_equal(alma_test_answer(&res).verdict, DONE);
    res = answered(200, "application/xml", XML("UNAUTHORIZED"));
    assert_int_equal(alma_test_answer(&res).cause, CAUSE_CREDENTIALS);
    res = answered(403, "application/json", ERRORS("UNAUTHORIZED"));
    assert_int_equal(alma_test_answer(&res).cause, CAUSE_CREDENTIALS);
    res = answered(500, "", "");
    assert_int_equal(alma_test_answer(&res).cause, CAUSE_VENDOR);
}

static void test_calls_left(void **state)
{
    static const struct {
        const char *header;
        int64_t left;
    } headers[] = {{"299876", 299876}, {"0", 0}, {"", -1}, {"many", -1}, {"-3", -1}, {"1.5", -1},
    {"99999999999999999999", -1}};
    (void)state;

    for (size_t i = 0; i < COUNT(headers); i++) {
        struct http_response res = answered(200, "", "");
        res.watched = headers[i].header;
        assert_int_equal(alma_calls_left(&res), headers[i].left);
    }
}

static void test_requests(void **state)
{
    struct http_request req = {0};
    (void)state;

    alma_user_request(&req, "g 1/../\xc3\xa9?x", "l7abc");
    assert_string_equal(req.method, "GET");
    assert_string_equal(text_str(&req.target), "/almaws/v1/users/g%201%2F..%2F%C3%A9%3Fx");
    assert_int_equal(req.header_count, 2);
    assert_string_equal(text_str(&req.headers[0]), "Accept: application/json");
    assert_string_equal(text_str(&req.headers[1]), "Authorization: apikey l7abc");
    assert_string_equal(req.watch, "X-Exl-Api-Remaining");
    alma_test_request(&req, "k");
    assert_string_equal(text_str(&req.target), "/almaws/v1/users/operation/test");
    assert_string_equal(text_str(&req.headers[1]), "Authorization: apikey k");
    http_request_free(&req);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_whole_record), cmocka_unit_test(test_records),
        cmocka_unit_test(test_answers),          cmocka_unit_test(test_exchanges_without_an_answer),
        cmocka_unit_test(test_test),             cmocka_unit_test(test_calls_left),
        cmocka_unit_test(test_requests),
    };

    return cmocka_run_group_tests_name("alma", tests, NULL, NULL);
}

#include "common/vendors/passagepoint.h"

#include "common/scoped.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define JSON "application/json"
#define HTML "text/html;charset=utf-8"
#define PAGE "<html><body>HTTP Status</body></html>"
#define MADE "{\"data\":[{\"id\":137505764541148}]}"
#define A8 "aaaaaaaa"
#define A64 A8 A8 A8 A8 A8 A8 A8 A8
#define A512 A64 A64 A64 A64 A64 A64 A64 A64
#define A2048 A512 A512 A512 A512

static const struct passagepoint_visitor ada = {
    .category = "Student", .first_name = "Ada Mae", .last_name = "O'Reader", .email = "ada+x@example.edu",
    .barcode = "22822000000019", .university_id = "G00000001",
};

static struct http_response answered(int status, const char *content_type, const char *body)
{
    return (struct http_response){.end = HTTP_ANSWERED, .status = status, .content_type = content_type, .body = body,
                                  .body_len = strlen(body), .watched = "", .retry_after_ms = -1, .error = ""};
}

/* One situation of any call; `found` is the token or id handed out. */
struct situation {
    const char *when;
    int status;
    const char *content_type, *body;
    enum verdict verdict;
    enum cause cause;
    const char *code, *found;
};

static void check(const struct situation *s, struct answer a, const char *found)
{
    if (a.verdict != s->verdict || a.cause != s->cause || strcmp(a.code, s->code) || strcmp(found, s->found))
        fail_msg("%s: %s, cause %d, %s, found '%s': %s", s->when, verdict_name(a.verdict), a.cause, a.code, found,
        a.reason);
}

static void test_login(void **state)
{
    static const struct situation situations[] = {
        {"a token", 200, JSON, "{\"token\":\"eyJ1c2VyIjoibGliIn0=\"}", DONE, CAUSE_WORK, "logged_in",
         "eyJ1c2VyIjoibGliIn0="},
        {"a token and no error", 200, JSON, "{\"token\":\"t\",\"error\":null}", DONE, CAUSE_WORK, "logged_in", "t"},
        {"the longest token", 200, JSON, "{\"token\":\"" A2048 "\"}", DONE, CAUSE_WORK, "logged_in", A2048},
        {"one too long", 200, JSON, "{\"token\":\"" A2048 "a\"}", LATER, CAUSE_VENDOR, "garbled", ""},
        {"one that would break the header", 200, JSON, "{\"token\":\"a\\r\\nb\"}", LATER, CAUSE_VENDOR, "garbled",
         ""},
        {"an empty one", 200, JSON, "{\"token\":\"\"}", LATER, CAUSE_VENDOR, "garbled", ""},
        {"no token", 200, JSON, "{}", LATER, CAUSE_VENDOR, "garbled", ""},
        {"no JSON", 200, HTML, PAGE, LATER, CAUSE_VENDOR, "garbled", ""},
        {"an error in a 200", 200, JSON, "{\"error\":\"bad password\"}", LATER, CAUSE_CREDENTIALS, "login_refused",
         ""},
        {"an error beside a token", 200, JSON, "{\"token\":\"t\",\"error\":\"x\"}", LATER, CAUSE_CREDENTIALS,
         "login_refused", ""},
        {"401", 401, "", "", LATER, CAUSE_CREDENTIALS, "login_refused", ""},
        {"403", 403, HTML, PAGE, LATER, CAUSE_CREDENTIALS, "login_refused", ""},
        {"400 that says why", 400, JSON, "{\"error\":\"bad password\"}", LATER, CAUSE_CREDENTIALS, "login_refused",
         ""},
        {"400 that does not", 400, "text/plain", "no", LATER, CAUSE_VENDOR, "refused", ""},
        {"404: not deployed", 404, HTML, PAGE, LATER, CAUSE_VENDOR, "refused", ""},
        {"429", 429, JSON, "{\"error\":\"slow\"}", LATER, CAUSE_RATE, "rate", ""},
        {"500", 500, JSON, "{\"error\":\"x\"}", LATER, CAUSE_VENDOR, "server_error", ""},
        {"503", 503, "", "", LATER, CAUSE_VENDOR, "unwell", ""},
        {"504", 504, "", "", LATER, CAUSE_VENDOR, "gateway", ""},
        {"a redirect", 302, "", "", LATER, CAUSE_VENDOR, "redirected", ""},
    };
    (void)state;

    for (size_t i = 0; i < COUNT(situations); i++) {
        struct http_response res = answered(situations[i].status, situations[i].content_type, situations[i].body);
        char token[PASSAGEPOINT_TOKEN_SIZE] = "stale";
        struct answer a = passagepoint_login_answer(&res, token);

        check(&situations[i], a, token);
    }
}

static void test_create_visitor(void **state)
{
    static const struct situation situations[] = {
        {"created", 200, JSON, MADE, DONE, CAUSE_WORK, "created", "137505764541148"},
        {"created, the id a string", 201, JSON, "{\"data\":[{\"id\":\"137505764541148\"}]}", DONE, CAUSE_WORK,
         "created", "137505764541148"},
        {"created, data an object", 200, JSON, "{\"data\":{\"id\":7}}", DONE, CAUSE_WORK, "created", "7"},
        {"exists, 400", 400, JSON, "{\"error\":\"ALREADY_EXIST_UNIQUE_ID\"}", AGAIN, CAUSE_WORK, "exists", ""},
        {"exists, 409 in words", 409, "text/plain", "Error: ALREADY_EXIST_UNIQUE_ID 228", AGAIN, CAUSE_WORK, "exists",
         ""},
        {"exists, 500 as a page", 500, HTML, "<html>ALREADY_EXIST_UNIQUE_ID</html>", AGAIN, CAUSE_WORK, "exists", ""},
        {"exists, in a 200", 200, JSON, "{\"error\":\"ALREADY_EXIST_UNIQUE_ID\"}", AGAIN, CAUSE_WORK, "exists", ""},
        {"a person of that name", 200, JSON, "{\"data\":[{\"id\":7,\"firstName\":\"ALREADY_EXIST_UNIQUE_ID\"}]}",
         DONE, CAUSE_WORK, "created", "7"},
        {"token refused", 401, JSON, "{\"error\":\"x\"}", LATER, CAUSE_TOKEN, "token_refused", ""},
        {"token refused, whatever else it says", 401, JSON, "ALREADY_EXIST_UNIQUE_ID", LATER, CAUSE_TOKEN,
         "token_refused", ""},
        {"an unknown category", 400, JSON, "{\"error\":\"no such category\"}", REJECTED, CAUSE_WORK, "refused", ""},
        {"refused in a 200", 200, JSON, "{\"error\":{\"message\":\"no such category\"}}", REJECTED, CAUSE_WORK,
         "refused", ""},
        {"no rights", 403, HTML, PAGE, LATER, CAUSE_VENDOR, "forbidden", ""},
        {"not deployed", 404, HTML, PAGE, LATER, CAUSE_VENDOR, "refused", ""},
        {"too fast", 429, "", "", LATER, CAUSE_RATE, "rate", ""},
        {"500: may be sent again, a second one is refused", 500, HTML, PAGE, LATER, CAUSE_VENDOR, "server_error", ""},
        {"502", 502, HTML, PAGE, UNKNOWN, CAUSE_VENDOR, "gateway", ""},
        {"503", 503, HTML, PAGE, LATER, CAUSE_VENDOR, "unwell", ""},
        {"504", 504, HTML, PAGE, UNKNOWN, CAUSE_VENDOR, "gateway", ""},
        {"no id", 200, JSON, "{\"data\":[]}", UNKNOWN, CAUSE_VENDOR, "no_id", ""},
        {"two ids", 200, JSON, "{\"data\":[{\"id\":1},{\"id\":2}]}", UNKNOWN, CAUSE_VENDOR, "several_ids", ""},
    };
    (void)state;

    for (size_t i = 0; i < COUNT(situations); i++) {
        struct http_response res = answered(situations[i].status, situations[i].content_type, situations[i].body);
        char id[PASSAGEPOINT_ID_SIZE] = "1";
        struct answer a = passagepoint_create_visitor_answer(&res, &ada, id);

        check(&situations[i], a, id);
    }
}

static void test_by_unique_id(void **state)
{
    static const struct situation situations[] = {
        {"found", 200, JSON, "[{\"id\":137505764541148,\"firstName\":\"Ada\"}]", DONE, CAUSE_WORK, "found",
         "137505764541148"},
        {"found, in an envelope", 200, JSON, "{\"data\":[{\"id\":137505764541148}]}", DONE, CAUSE_WORK, "found",
         "137505764541148"},
        {"found, bare", 200, JSON, "{\"id\":\"42\"}", DONE, CAUSE_WORK, "found", "42"},
        {"the same one twice", 200, JSON, "[{\"id\":42},{\"id\":\"42\"}]", DONE, CAUSE_WORK, "found", "42"},
        {"two", 200, JSON, "[{\"id\":42},{\"id\":43}]", REJECTED, CAUSE_WORK, "two_visitors", ""},
        {"none", 200, JSON, "[]", REJECTED, CAUSE_WORK, "not_found", ""},
        {"none, in an envelope", 200, JSON, "{\"data\":[]}", REJECTED, CAUSE_WORK, "not_found", ""},
        {"none, null", 200, JSON, "{\"data\":null}", REJECTED, CAUSE_WORK, "not_found", ""},
        {"404", 404, HTML, PAGE, REJECTED, CAUSE_WORK, "not_found", ""},
        {"400 saying not found", 400, JSON, "{\"error\":\"PERSON_NOT_FOUND\"}", REJECTED, CAUSE_WORK, "not_found",
         ""},
        {"500 saying not found", 500, JSON, "{\"error\":\"Person does not exist\"}", REJECTED, CAUSE_WORK,
         "not_found", ""},
        {"200 saying not found", 200, JSON, "{\"error\":\"no such person\"}", REJECTED, CAUSE_WORK, "not_found", ""},
        {"500 page saying a class was not found", 500, HTML, "<html>class not found</html>", LATER, CAUSE_VENDOR,
         "server_error", ""},
        {"400 saying something else", 400, JSON, "{\"error\":\"bad\"}", LATER, CAUSE_VENDOR, "refused", ""},
        {"200 with an error", 200, JSON, "{\"error\":\"busy\"}", LATER, CAUSE_VENDOR, "refused", ""},
        {"token refused", 401, JSON, "{\"error\":\"token not found\"}", LATER, CAUSE_TOKEN, "token_refused", ""},
        {"one without an id", 200, JSON, "[{\"name\":\"x\"}]", LATER, CAUSE_VENDOR, "garbled", ""},
        {"one of two without an id", 200, JSON, "[{\"id\":1},{}]", LATER, CAUSE_VENDOR, "garbled", ""},
        {"an empty object", 200, JSON, "{}", LATER, CAUSE_VENDOR, "garbled", ""},
        {"no JSON", 200, HTML, PAGE, LATER, CAUSE_VENDOR, "garbled", ""},
        {"502", 502, "", "", LATER, CAUSE_VENDOR, "gateway", ""},
    };
    (void)state;

    for (size_t i = 0; i < COUNT(situations); i++) {
        struct http_response res = answered(situations[i].status, situations[i].content_type, situations[i].body);
        char id[PASSAGEPOINT_ID_SIZE] = "1";
        struct answer a = passagepoint_by_unique_id_answer(&res, id);

        check(&situations[i], a, id);
    }
}

static void test_create_prereg(void **state)
{
    static const struct {
        struct situation s;
        enum passagepoint_500 on_500;
    } rows[] = {
        {{"made", 200, JSON, "{\"data\":[{\"id\":137506834088671}]}", DONE, CAUSE_WORK, "made", "137506834088671"},
          0},
        {{"made, bare list", 200, JSON, "[{\"id\":5}]", DONE, CAUSE_WORK, "made", "5"}, 0},
        {{"made, and no error", 200, JSON, "{\"data\":[{\"id\":5}],\"error\":\"\"}", DONE, CAUSE_WORK, "made", "5"},
          0},
        {{"the longest id", 200, JSON, "{\"data\":[{\"id\":\"12345678901234567890123\"}]}", DONE, CAUSE_WORK, "made",
          "12345678901234567890123"}, 0},
        {{"one too long", 200, JSON, "{\"data\":[{\"id\":\"123456789012345678901234\"}]}", UNKNOWN, CAUSE_VENDOR,
          "no_id", ""}, 0},
        {{"a number too great", 200, JSON, "{\"data\":[{\"id\":99999999999999999999}]}", UNKNOWN, CAUSE_VENDOR,
          "no_id", ""}, 0},
        {{"a fraction", 200, JSON, "{\"data\":[{\"id\":1.5}]}", UNKNOWN, CAUSE_VENDOR, "no_id", ""}, 0},
        {{"zero", 200, JSON, "{\"data\":[{\"id\":0}]}", UNKNOWN, CAUSE_VENDOR, "no_id", ""}, 0},
        {{"negative", 200, JSON, "{\"data\":[{\"id\":-5}]}", UNKNOWN, CAUSE_VENDOR, "no_id", ""}, 0},
        {{"null", 200, JSON, "{\"data\":[{\"id\":null}]}", UNKNOWN, CAUSE_VENDOR, "no_id", ""}, 0},
        {{"an empty list", 200, JSON, "{\"data\":[]}", UNKNOWN, CAUSE_VENDOR, "no_id", ""}, 0},
        {{"an empty body", 200, "", "", UNKNOWN, CAUSE_VENDOR, "no_id", ""}, 0},
        {{"204", 204, "", "", UNKNOWN, CAUSE_VENDOR, "no_id", ""}, 0},
        {{"a login page with 200", 200, HTML, PAGE, UNKNOWN, CAUSE_VENDOR, "no_id", ""}, 0},
        {{"cut short", 200, JSON, "{\"data\":[{\"id\":1375", UNKNOWN, CAUSE_VENDOR, "no_id", ""}, 0},
        {{"two ids", 200, JSON, "{\"data\":[{\"id\":1},{\"id\":2}]}", UNKNOWN, CAUSE_VENDOR, "several_ids", ""}, 0},
        {{"an error in a 200", 200, JSON, "{\"error\":\"bad destination\"}", REJECTED, CAUSE_WORK, "refused", ""}, 0},
        {{"an error and an empty list", 200, JSON, "{\"data\":[],\"error\":\"x\"}", REJECTED, CAUSE_WORK, "refused",
          ""}, 0},
        {{"an error and an id", 200, JSON, "{\"data\":[{\"id\":5}],\"error\":\"x\"}", UNKNOWN, CAUSE_VENDOR,
          "unclear", ""}, 0},
        {{"token refused", 401, "", "", LATER, CAUSE_TOKEN, "token_refused", ""}, 0},
        {{"integers refused", 400, JSON, "{\"error\":\"startTime\"}", REJECTED, CAUSE_WORK, "refused", ""}, 0},
        {{"400 in words", 400, "text/plain", "destination not found", REJECTED, CAUSE_WORK, "refused", ""}, 0},
        {{"404 in JSON: the gate speaks", 404, JSON, "{\"error\":\"visitor\"}", REJECTED, CAUSE_WORK, "refused", ""},
          0},
        {{"404 as a page: its server does", 404, HTML, PAGE, LATER, CAUSE_VENDOR, "refused", ""}, 0},
        {{"404 empty", 404, "", "", LATER, CAUSE_VENDOR, "refused", ""}, 0},
        {{"400 as a page", 400, HTML, PAGE, LATER, CAUSE_VENDOR, "refused", ""}, 0},
        {{"request time-out: not taken", 408, "", "", LATER, CAUSE_VENDOR, "refused", ""}, 0},
        {{"forbidden", 403, JSON, "{\"error\":\"x\"}", LATER, CAUSE_VENDOR, "forbidden", ""}, 0},
        {{"too fast", 429, "", "", LATER, CAUSE_RATE, "rate", ""}, 0},
        {{"500 means not done", 500, HTML, PAGE, LATER, CAUSE_VENDOR, "server_error", ""}, PP_500_NOT_DONE},
        {{"500 means unknown", 500, HTML, PAGE, UNKNOWN, CAUSE_VENDOR, "server_error", ""}, PP_500_UNKNOWN},
        {{"501", 501, "", "", LATER, CAUSE_VENDOR, "unwell", ""}, PP_500_UNKNOWN},
        {{"502", 502, HTML, PAGE, UNKNOWN, CAUSE_VENDOR, "gateway", ""}, 0},
        {{"503", 503, HTML, PAGE, LATER, CAUSE_VENDOR, "unwell", ""}, PP_500_UNKNOWN},
        {{"504", 504, HTML, PAGE, UNKNOWN, CAUSE_VENDOR, "gateway", ""}, 0},
        {{"524", 524, HTML, PAGE, UNKNOWN, CAUSE_VENDOR, "gateway", ""}, 0},
        {{"a redirect", 302, "", "", LATER, CAUSE_VENDOR, "redirected", ""}, 0},
    };
    (void)state;

    for (size_t i = 0; i < COUNT(rows); i++) {
        struct http_response res = answered(rows[i].s.status, rows[i].s.content_type, rows[i].s.body);
        char id[PASSAGEPOINT_ID_SIZE] = "1";
        struct answer a = passagepoint_create_prereg_answer(&res, rows[i].on_500, id);

        check(&rows[i].s, a, id);
    }
}

static void test_exchanges_without_an_answer(void **state)
{
    struct http_response res = {.end = HTTP_NOT_SENT, .content_type = "", .body = "", .watched = "",
    .retry_after_ms = -1,
                                .error = "could not connect"};
    static struct passagepoint_destinations destinations;
    char id[PASSAGEPOINT_ID_SIZE], token[PASSAGEPOINT_TOKEN_SIZE];
    (void)state;

    assert_int_equal(passagepoint_create_prereg_answer(&res, PP_500_NOT_DONE, id).verdict, LATER);
    assert_int_equal(passagepoint_create_visitor_answer(&res, &ada, id).verdict, LATER);
    res.end = HTTP_UNKNOWN;
    res.error = "time-out";
    assert_int_equal(passagepoint_create_prereg_answer(&res, PP_500_NOT_DONE, id).verdict, UNKNOWN);
    assert_int_equal(passagepoint_create_visitor_answer(&res, &ada, id).verdict, UNKNOWN);
    assert_int_equal(passagepoint_by_unique_id_answer(&res, id).verdict, LATER);
    assert_int_equal(passagepoint_login_answer(&res, token).verdict, LATER);
    assert_int_equal(passagepoint_destinations_answer(&res, &destinations).verdict, LATER);

    res = answered(503, "", "");
    res.retry_after_ms = 7000;
    assert_int_equal(passagepoint_create_prereg_answer(&res, PP_500_NOT_DONE, id).wait_ms, 7000);
    res.status = 429;
    assert_int_equal(passagepoint_create_prereg_answer(&res, PP_500_NOT_DONE, id).wait_ms, 7000);
}

static void test_destinations(void **state)
{
    static const struct {
        const char *when;
        int status;
        const char *body;
        enum verdict verdict;
        const char *code;
        int count;
        bool more;
    } answers[] = {
        {"texts", 200, "[\"LibCal Gelman\",\"East\"]", DONE, "listed", 2, false},
        {"objects with a name", 200, "[{\"id\":1,\"name\":\"LibCal Gelman\"}]", DONE, "listed", 1, false},
        {"objects with a destination", 200, "[{\"destination\":\"LibCal Gelman\"}]", DONE, "listed", 1, false},
        {"objects with a description", 200, "[{\"name\":\"\",\"description\":\"LibCal Gelman\"}]", DONE, "listed", 1,
         false},
        {"in an envelope", 200, "{\"data\":[{\"name\":\"LibCal Gelman\"}]}", DONE, "listed", 1, false},
        {"one too long", 200, "[\"LibCal Gelman\",\"" A64 A64 "a\"]", DONE, "listed", 1, true},
        {"none", 200, "[]", DONE, "listed", 0, false},
        {"numbers", 200, "[1,2]", REJECTED, "unknown_shape", 0, false},
        {"objects without a name", 200, "[{\"name\":\"East\"},{\"id\":1}]", REJECTED, "unknown_shape", 0, false},
        {"an object", 200, "{\"destinations\":{}}", REJECTED, "unknown_shape", 0, false},
        {"no JSON", 200, "LibCal Gelman", REJECTED, "unknown_shape", 0, false},
        {"404", 404, "", REJECTED, "unknown_shape", 0, false},
        {"token refused", 401, "", LATER, "token_refused", 0, false},
        {"an error in a 200", 200, "{\"error\":\"x\"}", LATER, "refused", 0, false},
        {"500", 500, "", LATER, "server_error", 0, false},
    };
    (void)state;

    for (size_t i = 0; i < COUNT(answers); i++) {
        static struct passagepoint_destinations list;
        struct http_response res = answered(answers[i].status, "", answers[i].body);
        struct answer a = passagepoint_destinations_answer(&res, &list);

        if (a.verdict != answers[i].verdict || strcmp(a.code, answers[i].code) || list.count != answers[i].count ||
            list.more != answers[i].more || (list.count == 1 && strcmp(list.names[0], "LibCal Gelman")))
            fail_msg("%s: %s, %s, %d names, more %d: %s", answers[i].when, verdict_name(a.verdict), a.code,
            list.count,
                     list.more, a.reason);
    }
}

static void test_reasons_keep_people_out(void **state)
{
    static const struct {
        const char *words, *reason;
    } says[] = {
        {"category Student unknown", "category Student unknown"},
        {"visitor Ada reader: barred", "visitor … …: barred"},
        {"visitor 'ada' (MAE O'Reader) is barred.", "visitor '…' (… O'…) is barred."},
        {"mail ada@example.edu,id G00000001 card 22822000000019", "mail …,id … card …"},
        {"bad query firstName=Ada&lastName=X", "bad query …"},
        {"see https://gate.example/pp/api", "see https:…"},
        {"C:\\\\logs\\\\ada.txt", "C:…"}, /* as JSON writes it */
        {"token eyJ1c2VyIjoibGliIiwiZXhwIjoxNz", "token …"},
        {"code ALREADY_EXIST_UNIQUE 403", "code ALREADY_EXIST_UNIQUE 403"},
        {"Jos\xc3\xa9 is\\nbarred", "… is barred"},
        {"the quick brown fox jumps over the lazy dog and the quick brown fox jumps over it again",
         "the quick brown fox jumps over the lazy dog and the quick brown fox jumps over it"},
    };
    (void)state;

    for (size_t i = 0; i < COUNT(says); i++) {
        char body[256], id[PASSAGEPOINT_ID_SIZE], want[256];
        snprintf(body, sizeof body, "{\"error\":\"%s\"}", says[i].words);
        struct http_response res = answered(400, JSON, body);
        struct answer a = passagepoint_create_visitor_answer(&res, &ada, id);
        snprintf(want, sizeof want, "PassagePoint refuses it (HTTP 400): %s", says[i].reason);
        if (strcmp(a.reason, want))
            fail_msg("%s: %s", says[i].words, a.reason);
    }
}

static void test_requests(void **state)
{
    struct http_request req = {0};
    (void)state;

    passagepoint_login_request(&req, "lib\"cal", "p\\w");
    assert_string_equal(req.method, "POST");
    assert_string_equal(text_str(&req.target), "/pp/api/v2/auth/login");
    assert_string_equal(text_str(&req.body), "{\"username\":\"lib\\\"cal\",\"password\":\"p\\\\w\"}");
    assert_string_equal(text_str(&req.headers[0]), "Content-Type: application/json");

    passagepoint_create_visitor_request(&req, "t0", &ada);
    assert_string_equal(req.method, "POST");
    assert_string_equal(text_str(&req.target),
                        "/pp/api/v2/person/createVisitor?category=Student&firstName=Ada%20Mae&lastName=O%27Reader"
                        "&email=ada%2Bx%40example.edu&mobilePhoneNo=G00000001&uniqueId=22822000000019");
    assert_int_equal(req.body.len, 0);
    assert_string_equal(text_str(&req.headers[0]), "token: t0");
    assert_string_equal(text_str(&req.headers[1]), "Content-Type: application/json");

    passagepoint_by_unique_id_request(&req, "t0", "22 8");
    assert_string_equal(req.method, "GET");
    assert_string_equal(text_str(&req.target), "/pp/api/v2/person/byUniqueId?uniqueId=22%208");
    assert_string_equal(text_str(&req.headers[0]), "token: t0");

    passagepoint_create_prereg_request(&req, "t0", "137505764541148", 1791813600, 1791817200, "LibCal Gelman");
    assert_string_equal(req.method, "POST");
    assert_string_equal(text_str(&req.target), "/pp/api/v2/visit/createPreReg");
    assert_string_equal(text_str(&req.body), "{\"startTime\":\"1791813600\",\"endTime\":\"1791817200\","
                                             "\"visitorId\":\"137505764541148\",\"destination\":\"LibCal Gelman\"}");

    passagepoint_destinations_request(&req, "t0");
    assert_string_equal(text_str(&req.target), "/pp/api/v2/visit/getDestinations");
    http_request_free(&req);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_login),
        cmocka_unit_test(test_create_visitor),
        cmocka_unit_test(test_by_unique_id),
        cmocka_unit_test(test_create_prereg),
        cmocka_unit_test(test_exchanges_without_an_answer),
        cmocka_unit_test(test_destinations),
        cmocka_unit_test(test_reasons_keep_people_out),
        cmocka_unit_test(test_requests),
    };

    return cmocka_run_group_tests_name("passagepoint", tests, NULL, NULL);
}

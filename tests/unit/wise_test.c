#include "common/vendors/wise.h"

#include "common/scoped.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define JSON "application/json"
#define HTML "text/html;charset=utf-8"
#define PAGE "<html><body>HTTP Status</body></html>"
#define OWN "\"id\":\"\",\"validationErrors\":[]"
#define REFUSAL "{\"id\":\"\",\"validationErrors\":[{\"message\":\"Title is already on hold\"}]}"
#define PATRON "4be868c83ea2f8c03b3e052bb35cf0ff"

/* ---- the document's own examples, as they are printed ---- */

static const char printed_offer[] =
    "{\n\"id\": \"\",\n\"validationErrors\": [],\n\"holdPossible\": true,\n\"chooseIssueFirst\": false,\n"
    "\"pickupLocations\": [\n{\n\"branchId\": \"6491\",\n\"locationType\": \"B\"\n},\n{\n\"branchId\": \"6492\",\n"
    "\"locationType\": \"B\"\n},\n{\n\"branchId\": \"6493\",\n\"locationType\": \"B\"\n}\n],\n\"pickupLocation\": {\n"
    "\"branchId\": \"6490\",\n\"locationType\": \"B\"\n},\n\"reservationCostDetails\": {\n\"placementCost\": 0.0,\n"
    "\"pickupFee\": 0.0,\n\"lendingFee\": 0.0\n},\n\"punchCardPunches\": 0,\n"
    "\"holdParameters\": \"N;N649;BIEB;I649;6490;6490|6491|6492|6493|~~~~|\",\n\"queuePosition\": 1,\n"
    "\"messageParameters\": [],\n\"reservationCost\": 0.0,\n\"illAllowed\": false\n}";

/* not JSON: no comma and no opening quote before searchStrategy */
static const char printed_options[] =
    "{\n\"id\":\"\",\n\"validationErrors\":[\n],\n\"pickupBranchId\":\"6490\",\n\"titleHoldOptions\":[\n{\n"
    "\"bibliographicRecordId\":1137719,\n\"issueId\":\"\",\n\"holdAllowed\":true,\n\"fastDeliveryAllowed\":false,\n"
    "\"queuePosition\":1,\n\"illAllowed\":false\n},\n{\n\"bibliographicRecordId\":4595,\n\"issueId\":\"\",\n"
    "\"holdAllowed\":true,\n\"fastDeliveryAllowed\":false,\n\"queuePosition\":1,\n\"illAllowed\":true\n}\n],\n"
    "\"holdType\":\"ONE\",\n\"altPickupBranches\":[\n{\n\"locationNumber\":\"6491\",\n\"locationType\":\"B\",\n"
    "\"description\":\"Negenmanneke\"\n},\n{\n\"locationNumber\":\"6492\",\n\"locationType\":\"B\",\n"
    "\"description\":\"Ruisbroek\"\n},\n{\n\"locationNumber\":\"6493\",\n\"locationType\":\"B\",\n"
    "\"description\":\"Vlezenbeek\"\n}\n],\n\"reservationCostDetails\":{\n\"placementCost\":0,\n\"pickupFee\":0,\n"
    "\"punchCardPunches\":0\n}\nsearchStrategy\":\"BRANCH\"\n}";

static const char printed_group[] =
    "{\n\"id\":\"\",\n\"validationErrors\":[\n],\n\"groupHoldId\":617984,\n\"pickupBranchId\":\"6490\",\n\"holds\":[\n{\n"
    "\"bibliographicRecordId\":1137719,\n\"issueId\":\"\",\n\"holdAllowed\":true,\n\"fastDeliveryAllowed\":false,\n"
    "\"queuePosition\":1,\n\"illAllowed\":false\n},\n{\n\"bibliographicRecordId\":4595,\n\"issueId\":\"\",\n"
    "\"holdAllowed\":true,\n\"fastDeliveryAllowed\":false,\n\"queuePosition\":1,\n\"illAllowed\":true\n}\n],\n"
    "\"holdType\":\"ONE\",\n\"reservationCostDetails\":{\n\"placementCost\":0,\n\"pickupFee\":0,\n\"punchCardPunches\":0\n},\n"
    "\"searchStrategy\":\"BRANCH\"\n}";

static const char printed_list[] =
    "{\n\"id\":\"\",\n\"validationErrors\":[\n],\n\"offset\":0,\n\"limit\":50,\n\"total\":2,\n\"items\":[\n{\n"
    "\"id\":\"617985\",\n\"validationErrors\":[\n],\n\"libraryId\":\"\",\n\"itemId\":0,\n"
    "\"bibliographicRecordId\":\"4595\",\n\"holdStatus\":\"ACTIVE\",\n\"cancelAllowed\":true,\n\"updateAllowed\":true,\n"
    "\"awaitingPickup\":false,\n\"title\":\"Gebrandschilderd glas\",\n\"author\":\"Lee, Lawrence\",\n"
    "\"pickupLocationBranchId\":\"6490\",\n\"pickupLocationName\":\"libraryName\",\n\"requestDueDate\":\"2022-06-10\",\n"
    "\"holdPlacedDate\":\"2021-06-10\",\n\"queuePosition\":1,\n\"momkeys\":\"vlc=13388;isbn=9789027481108;key=4595;\",\n"
    "\"medium\":\"BOE\",\n\"holdNumber\":\"21061000002\",\n\"groupHoldId\":617984\n},\n{\n\"id\":\"617984\",\n"
    "\"validationErrors\":[\n],\n\"libraryId\":\"\",\n\"itemId\":0,\n\"bibliographicRecordId\":\"1137719\",\n"
    "\"holdStatus\":\"ACTIVE\",\n\"cancelAllowed\":true,\n\"updateAllowed\":true,\n\"awaitingPickup\":false,\n"
    "\"title\":\"Het grote boek van waar of niet waar?\",\n\"author\":\"Mills, Andrea\",\n"
    "\"pickupLocationBranchId\":\"6490\",\n\"pickupLocationName\":\"Sint-Pieters-Leeuw\",\n"
    "\"requestDueDate\":\"2022-06-10\",\n\"holdPlacedDate\":\"2021-06-10\",\n\"queuePosition\":1,\n"
    "\"momkeys\":\"vlc=9310024;isbn=9789002258008;key=1137719;\",\n\"medium\":\"BOE\",\n\"holdNumber\":\"21061000001\",\n"
    "\"groupHoldId\":617984\n}\n]\n}";

static const char *const two_titles[] = {"1137719", "4595"};

static struct http_response answered(int status, const char *content_type, const char *body)
{
    return (struct http_response){.end = HTTP_ANSWERED, .status = status, .content_type = content_type, .body = body,
                                  .body_len = strlen(body), .watched = "", .retry_after_ms = -1, .error = ""};
}

static struct wise_holds holds; /* too large for a stack */
static struct wise_offer offer;
static struct wise_options options;
static struct wise_login login;
static struct wise_placed placed;

static const struct wise_group printed_order = {
    .titles = two_titles, .count = 2, .together = WISE_ONE, .pickup_branch = "6490", .strategy = "BRANCH",
};

enum which { STAFF, PATRON_LOGIN, PROXY, PREPARE, OPTIONS, PLACE, SEVERAL, LIST, CANCEL };

static struct answer read_answer(enum which which, const struct http_response *res, struct wise_spelling *spelling)
{
    switch (which) {
    case STAFF: return wise_staff_login_answer(res, spelling, &login);
    case PATRON_LOGIN: return wise_patron_login_answer(res, spelling, &login);
    case PROXY: return wise_proxy_login_answer(res, spelling, &login);
    case PREPARE: return wise_prepare_answer(res, spelling, &offer);
    case OPTIONS: return wise_options_answer(res, spelling, &options);
    case PLACE: return wise_place_answer(res, spelling, &placed);
    case SEVERAL: return wise_place_several_answer(res, spelling, &printed_order, &placed);
    case LIST: memset(&holds, 0, sizeof holds); return wise_list_answer(res, spelling, &holds);
    default: return wise_cancel_answer(res, spelling);
    }
}

static void expect(const char *when, struct answer a, enum verdict verdict, enum cause cause, const char *code)
{
    if (a.verdict != verdict || a.cause != cause || strcmp(a.code, code))
        fail_msg("%s: %s, cause %d, %s: %s", when, verdict_name(a.verdict), a.cause, a.code, a.reason);
}

/* ---- keys, tokens, ids ---- */

static void test_key(void **state)
{
    static const struct {
        int64_t now;
        const char *key;
    } days[] = {
        {0, "app-1:ed5bdf367168485c636c941dfbee0740cab14c05ea982c1e78ecb1145401d6ce"},
        {1623283199, "app-1:b8383eadbf7d6e1e51e3c051aa70431ea09183eece288f4093dc49c1e1c27096"},
        {1623283200, "app-1:e644dc419aa16f4e02e329ec2953ab445445d77469a371ca083f3292a0c0c108"},
    };
    char key[WISE_KEY_SIZE], long_id[182];
    (void)state;

    for (size_t i = 0; i < COUNT(days); i++) {
        assert_true(wise_key("app-1", "s3cret-key", "Shelfwire", days[i].now, key));
        assert_string_equal(key, days[i].key);
        assert_true(wise_key_ends(days[i].now) > days[i].now && wise_key_ends(days[i].now) - days[i].now <= 86400);
        assert_int_equal(wise_key_ends(days[i].now) % 86400, 0);
    }
    memset(long_id, 'a', sizeof long_id - 1);
    long_id[181] = '\0';
    assert_false(wise_key(long_id, "k", "Shelfwire", 0, key));
    assert_false(wise_key("a\r\nb", "k", "Shelfwire", 0, key));
    assert_false(wise_key("", "k", "Shelfwire", 0, key));
    assert_false(wise_key("a", "", "Shelfwire", 0, key));
    assert_false(wise_key("a", "k", "", 0, key));
    assert_string_equal(key, "");
    assert_true(wise_key(long_id + 1, "k", "Shelfwire", 0, key));
}

static void test_token_ends(void **state)
{
    /* 1623283200 is 2021-06-10T00:00:00Z */
    static const struct {
        const char *when;
        int64_t now;
        int offset;
        int64_t ends;
    } days[] = {
        {"UTC, at noon", 1623283200 + 43200, 0, 1623283200 + 86399},
        {"in summer, at noon: the library's day ends first", 1623283200 + 43200, 7200, 1623283200 + 79199},
        {"in summer, after the library's midnight: UTC's day ends first", 1623283200 + 80000, 7200, 1623283200 + 86399},
        {"west of UTC, at noon: UTC's day ends first", 1623283200 + 43200, -18000, 1623283200 + 86399},
        {"got in the last second: of no use", 1623283200 + 86399, 0, 1623283200 + 86399},
    };
    (void)state;

    for (size_t i = 0; i < COUNT(days); i++)
        if (wise_token_ends(days[i].now, days[i].offset) != days[i].ends)
            fail_msg("%s: %lld", days[i].when, (long long)wise_token_ends(days[i].now, days[i].offset));
}

static void test_ids(void **state)
{
    static const char *const good[] = {PATRON, "I649", "6490", "a-b_c", "1234567890123456789012345678901234567890"};
    static const char *const bad[] = {"", ".", "..", "a/b", "a b", "a%2fb", "6490?",
    "12345678901234567890123456789012345678901"};
    (void)state;

    for (size_t i = 0; i < COUNT(good); i++)
        assert_true(wise_id(good[i]));
    for (size_t i = 0; i < COUNT(bad); i++)
        assert_false(wise_id(bad[i]));
}

/* ---- what every call has in common ---- */

static void test_common_answers(void **state)
{
    static const struct {
        const char *when;
        int status;
        const char *content_type, *body;
        struct {
            enum verdict verdict;
            enum cause cause;
            const char *code;
        } reading, changing;
    } rows[] = {
        {"token refused", 401, JSON, REFUSAL, {LATER, CAUSE_TOKEN, "token_refused"}, {LATER, CAUSE_TOKEN, "token_refused"}},
        {"too fast", 429, "", "", {LATER, CAUSE_RATE, "rate"}, {LATER, CAUSE_RATE, "rate"}},
        {"an error in a 200", 200, JSON, REFUSAL, {REJECTED, CAUSE_WORK, "refused"}, {REJECTED, CAUSE_WORK, "refused"}},
        {"an error in a 400", 400, JSON, REFUSAL, {REJECTED, CAUSE_WORK, "refused"}, {REJECTED, CAUSE_WORK, "refused"}},
        {"an error in a 403", 403, JSON, REFUSAL, {REJECTED, CAUSE_WORK, "refused"}, {REJECTED, CAUSE_WORK, "refused"}},
        {"an error in a 404", 404, JSON, REFUSAL, {REJECTED, CAUSE_WORK, "refused"}, {REJECTED, CAUSE_WORK, "refused"}},
        {"an error in a 409", 409, JSON, REFUSAL, {REJECTED, CAUSE_WORK, "refused"}, {REJECTED, CAUSE_WORK, "refused"}},
        {"an error in a 500", 500, JSON, REFUSAL, {REJECTED, CAUSE_WORK, "refused"}, {REJECTED, CAUSE_WORK, "refused"}},
        {"errors as texts", 400, JSON, "{\"validationErrors\":[\"x\"]}", {REJECTED, CAUSE_WORK, "refused"},
         {REJECTED, CAUSE_WORK, "refused"}},
        {"one error without a list", 400, JSON, "{\"validationErrors\":{\"code\":\"x\"}}", {REJECTED, CAUSE_WORK, "refused"},
         {REJECTED, CAUSE_WORK, "refused"}},
        {"an error and an id", 200, JSON, "{\"groupHoldId\":617984,\"validationErrors\":[\"x\"]}",
         {REJECTED, CAUSE_WORK, "refused"}, {UNKNOWN, CAUSE_VENDOR, "unclear"}},
        {"an error of another kind in a 200", 200, JSON, "{\"error\":\"x\"}", {LATER, CAUSE_VENDOR, "unclear"},
         {UNKNOWN, CAUSE_VENDOR, "unclear"}},
        {"forbidden", 403, HTML, PAGE, {LATER, CAUSE_VENDOR, "forbidden"}, {LATER, CAUSE_VENDOR, "forbidden"}},
        {"no such path", 404, HTML, PAGE, {AGAIN, CAUSE_WORK, "other_spelling"}, {AGAIN, CAUSE_WORK, "other_spelling"}},
        {"no such path, in a framework's JSON", 404, JSON, "{\"status\":404,\"error\":\"Not Found\",\"path\":\"/patron/x\"}",
         {AGAIN, CAUSE_WORK, "other_spelling"}, {AGAIN, CAUSE_WORK, "other_spelling"}},
        {"no such method", 405, "", "", {AGAIN, CAUSE_WORK, "other_spelling"}, {AGAIN, CAUSE_WORK, "other_spelling"}},
        {"Wise's own 404", 404, JSON, "{" OWN "}", {REJECTED, CAUSE_WORK, "not_found"}, {REJECTED, CAUSE_WORK, "not_found"}},
        {"another 4xx in JSON", 422, JSON, "{\"message\":\"pickup branch is closed\"}", {REJECTED, CAUSE_WORK, "refused"},
         {REJECTED, CAUSE_WORK, "refused"}},
        {"400 as a page", 400, HTML, PAGE, {LATER, CAUSE_VENDOR, "not_wise"}, {LATER, CAUSE_VENDOR, "not_wise"}},
        {"400 and nothing", 400, "", "", {LATER, CAUSE_VENDOR, "not_wise"}, {LATER, CAUSE_VENDOR, "not_wise"}},
        {"request time-out: not taken", 408, JSON, "{}", {LATER, CAUSE_VENDOR, "not_wise"}, {LATER, CAUSE_VENDOR, "not_wise"}},
        {"a redirect", 302, "", "", {LATER, CAUSE_VENDOR, "redirected"}, {LATER, CAUSE_VENDOR, "redirected"}},
        {"500", 500, HTML, PAGE, {LATER, CAUSE_VENDOR, "server_error"}, {UNKNOWN, CAUSE_VENDOR, "server_error"}},
        {"500 in JSON without errors", 500, JSON, "{" OWN "}", {LATER, CAUSE_VENDOR, "server_error"},
         {UNKNOWN, CAUSE_VENDOR, "server_error"}},
        {"502", 502, HTML, PAGE, {LATER, CAUSE_VENDOR, "gateway"}, {UNKNOWN, CAUSE_VENDOR, "gateway"}},
        {"503", 503, HTML, PAGE, {LATER, CAUSE_VENDOR, "unwell"}, {LATER, CAUSE_VENDOR, "unwell"}},
        {"504", 504, "", "", {LATER, CAUSE_VENDOR, "gateway"}, {UNKNOWN, CAUSE_VENDOR, "gateway"}},
        {"a login page with 200", 200, HTML, PAGE, {LATER, CAUSE_VENDOR, "garbled"}, {UNKNOWN, CAUSE_VENDOR, "garbled"}},
        {"cut short", 200, JSON, "{\"id\":\"\",\"holdPos", {LATER, CAUSE_VENDOR, "garbled"}, {UNKNOWN, CAUSE_VENDOR,
         "garbled"}},
    };
    static const enum which reading[] = {PREPARE, OPTIONS, LIST}, changing[] = {PLACE, SEVERAL};
    (void)state;

    for (size_t i = 0; i < COUNT(rows); i++) {
        struct http_response res = answered(rows[i].status, rows[i].content_type, rows[i].body);
        for (size_t j = 0; j < COUNT(reading); j++) {
            struct wise_spelling spelling = {0};
            expect(rows[i].when, read_answer(reading[j], &res, &spelling), rows[i].reading.verdict, rows[i].reading.cause,
                   rows[i].reading.code);
        }
        for (size_t j = 0; j < COUNT(changing); j++) {
            struct wise_spelling spelling = {0};
            expect(rows[i].when, read_answer(changing[j], &res, &spelling), rows[i].changing.verdict, rows[i].changing.cause,
                   rows[i].changing.code);
        }
    }
}

/* Section 7 of the facts: what may be sent again after a lost answer is decided by the list, never at once. */
static void test_exchanges_without_an_answer(void **state)
{
    struct http_response res = {.end = HTTP_NOT_SENT, .content_type = "", .body = "", .watched = "", .retry_after_ms = -1,
                                .error = "could not connect"};
    struct wise_spelling spelling = {0};
    (void)state;

    for (int which = STAFF; which <= CANCEL; which++)
        expect("not sent", read_answer((enum which)which, &res, &spelling), LATER, CAUSE_VENDOR, "unreachable");
    res.end = HTTP_UNKNOWN;
    res.error = "time-out";
    for (int which = STAFF; which <= CANCEL; which++)
        expect("lost", read_answer((enum which)which, &res, &spelling),
               which == PLACE || which == SEVERAL || which == CANCEL ? UNKNOWN : LATER, CAUSE_VENDOR, "no_answer");
    res = answered(503, "", "");
    res.retry_after_ms = 7000;
    assert_int_equal(read_answer(PLACE, &res, &spelling).wait_ms, 7000);
}

static void test_spellings(void **state)
{
    static const struct {
        const char *when;
        enum which which;
        unsigned first, nows[5];
        enum verdict last;
    } rows[] = {
        {"prepare has four", PREPARE, 0, {0, 1, 2, 3, 0}, LATER},
        {"whichever it begins with", OPTIONS, 2, {2, 3, 0, 1, 2}, LATER},
        {"a place has two", PLACE, 0, {0, 2, 0}, LATER},
        {"and keeps the words", LIST, 3, {3, 1, 3}, LATER},
        {"what cannot be cancelled anywhere may be gone", CANCEL, 0, {0, 2, 0}, UNKNOWN},
    };
    (void)state;

    for (size_t i = 0; i < COUNT(rows); i++) {
        struct wise_spelling spelling = {rows[i].first, rows[i].first};
        struct http_response res = answered(404, HTML, PAGE);
        struct answer a;
        size_t n = 0;
        do {
            if (spelling.now != rows[i].nows[n])
                fail_msg("%s: try %zu is spelled %u", rows[i].when, n, spelling.now);
            a = read_answer(rows[i].which, &res, &spelling);
            n++;
        } while (a.verdict == AGAIN && n < 5);
        expect(rows[i].when, a, rows[i].last, rows[i].last == LATER ? CAUSE_VENDOR : CAUSE_WORK,
               rows[i].last == LATER ? "no_such_path" : "not_found");
        if (spelling.now != rows[i].first || n != (rows[i].which <= OPTIONS ? 4 : 2))
            fail_msg("%s: %zu tries, then %u", rows[i].when, n, spelling.now);
    }
}

static void test_login(void **state)
{
#define LOGGED_IN "{\"token\":\"t0ken\",\"libraryId\":\"I649\",\"patronSystemId\":\"" PATRON "\"," \
                  "\"membershipExpiryDate\":\"2027-06-30\"}"
    static const struct {
        const char *when;
        enum which which;
        int status;
        const char *body;
        enum verdict verdict;
        enum cause cause;
        const char *code;
    } rows[] = {
        {"staff", STAFF, 200, "{\"token\":\"t0ken\"}", DONE, CAUSE_WORK, "logged_in"},
        {"staff, with a list of no errors", STAFF, 200, "{" OWN ",\"token\":\"t0ken\"}", DONE, CAUSE_WORK, "logged_in"},
        {"staff, 401", STAFF, 401, "", LATER, CAUSE_CREDENTIALS, "login_refused"},
        {"staff, 403", STAFF, 403, PAGE, LATER, CAUSE_CREDENTIALS, "login_refused"},
        {"staff, an error in a 200", STAFF, 200, REFUSAL, LATER, CAUSE_CREDENTIALS, "login_refused"},
        {"staff, 400 that says why", STAFF, 400, "{\"message\":\"bad\"}", LATER, CAUSE_CREDENTIALS, "login_refused"},
        {"staff, 500", STAFF, 500, "", LATER, CAUSE_VENDOR, "server_error"},
        {"staff, no token", STAFF, 200, "{}", LATER, CAUSE_VENDOR, "garbled"},
        {"staff, one that would break the header", STAFF, 200, "{\"token\":\"a\\r\\nb\"}", LATER, CAUSE_VENDOR, "garbled"},
        {"staff, a path that is not there", STAFF, 404, PAGE, AGAIN, CAUSE_WORK, "other_spelling"},
        {"a patron", PATRON_LOGIN, 200, LOGGED_IN, DONE, CAUSE_WORK, "logged_in"},
        {"a patron, 401", PATRON_LOGIN, 401, "", REJECTED, CAUSE_WORK, "login_refused"},
        {"a patron, an error in a 200", PATRON_LOGIN, 200, REFUSAL, REJECTED, CAUSE_WORK, "login_refused"},
        {"a patron, 403", PATRON_LOGIN, 403, "", LATER, CAUSE_VENDOR, "forbidden"},
        {"a patron without an id", PATRON_LOGIN, 200, "{\"token\":\"t0ken\",\"libraryId\":\"I649\"}", LATER, CAUSE_VENDOR,
         "garbled"},
        {"for a patron", PROXY, 200, "{\"token\":\"t0ken\"}", DONE, CAUSE_WORK, "logged_in"},
        {"for a patron, staff's token refused", PROXY, 401, "", LATER, CAUSE_TOKEN, "token_refused"},
        {"for a patron, without the right", PROXY, 403, "", LATER, CAUSE_CREDENTIALS, "proxy_refused"},
        {"for a patron, refused for this one", PROXY, 403, REFUSAL, REJECTED, CAUSE_WORK, "refused"},
    };
    struct wise_spelling spelling = {0};
    (void)state;

    for (size_t i = 0; i < COUNT(rows); i++) {
        struct http_response res = answered(rows[i].status, JSON, rows[i].body);
        spelling = (struct wise_spelling){0};
        expect(rows[i].when, read_answer(rows[i].which, &res, &spelling), rows[i].verdict, rows[i].cause, rows[i].code);
        if (strcmp(login.token, rows[i].verdict == DONE ? "t0ken" : ""))
            fail_msg("%s: the token is '%s'", rows[i].when, login.token);
    }
    struct http_response res = answered(200, JSON, LOGGED_IN);
    wise_patron_login_answer(&res, &spelling, &login);
    assert_string_equal(login.patron_system_id, PATRON);
    assert_string_equal(login.library_id, "I649");
    assert_string_equal(login.membership_expiry, "2027-06-30");
}

/* ---- money ---- */

static void test_hundredths(void **state)
{
    static const struct {
        const char *text;
        int64_t hundredths; /* -1: refused */
    } rows[] = {
        {"0", 0}, {"0.0", 0}, {"2", 200}, {"2.5", 250}, {"2.50", 250}, {"0.1", 10}, {"0.29", 29}, {"1.005", 101}, {"0.001", 1},
        {"0,50", 50}, {"1e2", 10000}, {"1E+2", 10000}, {"125e-2", 125}, {"0e99", 0}, {"1e-99", 1}, {"100000000000",
         10000000000000},
        {"100000000000.01", -1}, {"1e12", -1}, {"1e99", -1}, {"99999999999999999999", -1}, {"", -1}, {"-1", -1}, {"-0.0", -1},
        {"+1", -1}, {".5", -1}, {"5.", -1}, {"1.2.3", -1}, {"1,234.5", -1}, {"1e", -1}, {"1e+", -1}, {"1e1000", -1}, {"x", -1},
        {"2 ", -1}, {"NaN", -1}, {"0.1e1", 100}, {"123456.789", 12345679},
    };
    (void)state;

    for (size_t i = 0; i < COUNT(rows); i++) {
        int64_t n = -1;
        bool read = wise_hundredths(rows[i].text, &n);
        if (read != (rows[i].hundredths >= 0) || (read && n != rows[i].hundredths))
            fail_msg("'%s': %d, %lld", rows[i].text, read, (long long)n);
    }
}

/* ---- a single hold ---- */

static void test_printed_offer(void **state)
{
    struct http_response res = answered(200, JSON, printed_offer);
    struct wise_spelling spelling = {0};
    (void)state;

    expect("as printed", wise_prepare_answer(&res, &spelling, &offer), DONE, CAUSE_WORK, "prepared");
    assert_true(offer.hold_possible && !offer.ill_allowed && !offer.choose_issue);
    assert_string_equal(offer.pickup.id, "6490");
    assert_string_equal(offer.pickup.type, "B");
    assert_int_equal(offer.others.count, 3);
    assert_string_equal(offer.others.at[2].id, "6493");
    assert_string_equal(offer.hold_parameters, "N;N649;BIEB;I649;6490;6490|6491|6492|6493|~~~~|");
    assert_int_equal(offer.queue_position, 1);
    assert_string_equal(offer.costs.placement.text, "0.0");
    assert_string_equal(offer.costs.lending.text, "0.0");
    assert_int_equal(wise_cost_at_most(&offer.costs), 0);
    assert_int_equal(offer.costs.punches, 0);
}

static void test_offers(void **state)
{
    static const struct {
        const char *when, *body;
        enum verdict verdict;
        const char *code;
        int64_t at_most, queue;
        const char *name;
    } rows[] = {
        {"no queue, as the client has seen", "{\"holdPossible\":true,\"holdParameters\":\"B\",\"queuePosition\":\"\"}", DONE,
         "prepared", -1, 0, ""},
        {"the cost as a text", "{\"holdPossible\":true,\"holdParameters\":\"B\",\"reservationCost\":\"0.75\"}", DONE,
         "prepared", 75,
         0, ""},
        {"parts dearer than the total",
         "{\"holdPossible\":true,\"holdParameters\":\"B\",\"reservationCost\":1,"
         "\"reservationCostDetails\":{\"placementCost\":0.30,\"pickupFee\":0.30,\"lendingFee\":0.50}}", DONE, "prepared", 110,
         0,
         ""},
        {"a cost nobody can read", "{\"holdPossible\":true,\"holdParameters\":\"B\",\"reservationCost\":\"gratis\"}", DONE,
         "prepared", -1, 0, ""},
        {"a number that is no cost", "{\"holdPossible\":true,\"holdParameters\":\"B\",\"reservationCost\":1.25e8}", DONE,
         "prepared", -1, 0, ""},
        {"a cost longer than any", "{\"holdPossible\":true,\"holdParameters\":\"B\","
         "\"reservationCost\":0.000000000000000000000000001}", DONE, "prepared", -1, 0, ""},
        {"branches with names", "{\"holdPossible\":true,\"holdParameters\":\"B\",\"queuePosition\":7,"
         "\"pickupLocation\":{\"branchId\":6490,\"description\":\"Leeuw\"}}", DONE, "prepared", -1, 7, "Leeuw"},
        {"booleans as texts", "{\"holdPossible\":\"false\",\"illAllowed\":\"true\",\"holdParameters\":\"N\"}", DONE,
         "prepared", -1,
         0, ""},
        {"nothing is possible and nothing to send back", "{\"holdPossible\":false,\"illAllowed\":false}", DONE, "prepared", -1,
         0,
         ""},
        {"possible, and nothing to send back", "{\"holdPossible\":true}", LATER, "garbled", -1, 0, ""},
        {"it does not say whether it is possible", "{\"holdParameters\":\"B\"}", LATER, "garbled", -1, 0, ""},
    };
    struct wise_spelling spelling = {0};
    (void)state;

    for (size_t i = 0; i < COUNT(rows); i++) {
        struct http_response res = answered(200, JSON, rows[i].body);
        expect(rows[i].when, wise_prepare_answer(&res, &spelling, &offer), rows[i].verdict,
               rows[i].verdict == LATER ? CAUSE_VENDOR : CAUSE_WORK, rows[i].code);
        if (wise_cost_at_most(&offer.costs) != rows[i].at_most || offer.queue_position != rows[i].queue ||
            strcmp(offer.pickup.name, rows[i].name))
            fail_msg("%s: at most %lld, queue %lld, '%s'", rows[i].when, (long long)wise_cost_at_most(&offer.costs),
                     (long long)offer.queue_position, offer.pickup.name);
    }
}

static void test_offer_decide(void **state)
{
    static const struct {
        const char *when;
        bool hold_possible, ill_allowed, choose_issue;
        const char *parameters, *cost;
        struct wise_terms terms;
        const char *asked_branch;
        enum verdict verdict;
        const char *code;
    } rows[] = {
        {"a hold", true, false, false, "N;", "0", {.cost_max = 0}, "6490", DONE, "hold"},
        {"a hold where both are possible", true, true, false, "N;", "0", {.ill = WISE_ILL_IF_NEEDED}, "6490", DONE, "hold"},
        {"ILL where only that is", false, true, false, "N;", "0", {.ill = WISE_ILL_IF_NEEDED}, "6490", DONE, "ill"},
        {"ILL where that is wanted", true, true, false, "B;", "0", {.ill = WISE_ILL_ONLY}, "6490", DONE, "ill"},
        {"ILL that is one already", false, true, false, "I;", "0", {.ill = WISE_ILL_ONLY}, "6490", DONE, "ill"},
        {"ILL of parameters nobody knows", false, true, false, "X;", "0", {.ill = WISE_ILL_ONLY}, "6490", REJECTED,
         "ill_unclear"},
        {"ILL not agreed to", false, true, false, "N;", "0", {.ill = WISE_ILL_NEVER}, "6490", REJECTED, "not_possible"},
        {"ILL wanted and not possible", true, false, false, "N;", "0", {.ill = WISE_ILL_ONLY}, "6490", REJECTED,
         "not_possible"},
        {"nothing is possible", false, false, false, "", "0", {.ill = WISE_ILL_IF_NEEDED}, "6490", REJECTED, "not_possible"},
        {"an issue first", true, false, true, "N;", "0", {.cost_max = -1}, "6490", REJECTED, "choose_issue"},
        {"just what was agreed", true, false, false, "N;", "2.50", {.cost_max = 250}, "6490", DONE, "hold"},
        {"a cent more", true, false, false, "N;", "2.51", {.cost_max = 250}, "6490", REJECTED, "too_dear"},
        {"a part of a cent more", true, false, false, "N;", "2.501", {.cost_max = 250}, "6490", REJECTED, "too_dear"},
        {"any cost", true, false, false, "N;", "99", {.cost_max = -1}, "6490", DONE, "hold"},
        {"no cost said", true, false, false, "N;", "", {.cost_max = 250}, "6490", REJECTED, "cost_unknown"},
        {"no cost said and any agreed to", true, false, false, "N;", "", {.cost_max = -1}, "6490", DONE, "hold"},
        {"at the branch wanted", true, false, false, "N;", "0", {.pickup_branch = "6490"}, "6490", DONE, "hold"},
        {"at another branch", true, false, false, "N;", "0", {.pickup_branch = "6491"}, "6490", AGAIN, "other_branch"},
        {"possible only there, perhaps", false, false, false, "", "0", {.pickup_branch = "6491"}, "6490", AGAIN,
         "other_branch"},
        {"asked for there, and it stays elsewhere", true, false, false, "N;", "0", {.pickup_branch = "6491"}, "6491", REJECTED,
         "branch_not_offered"},
        {"at a branch that is not offered", true, false, false, "N;", "0", {.pickup_branch = "7000"}, "6490", REJECTED,
         "branch_not_offered"},
    };
    (void)state;

    for (size_t i = 0; i < COUNT(rows); i++) {
        static struct wise_offer of;
        of = (struct wise_offer){.hold_possible = rows[i].hold_possible, .ill_allowed = rows[i].ill_allowed,
                                 .choose_issue = rows[i].choose_issue, .pickup.id = "6490",
                                 .others = {.count = 1, .at = {{.id = "6491"}}}};
        strcpy(of.hold_parameters, rows[i].parameters);
        strcpy(of.costs.total.text, rows[i].cost);
        if (rows[i].cost[0])
            assert_true(wise_hundredths(rows[i].cost, &of.costs.total.hundredths));
        expect(rows[i].when, wise_offer_decide(&of, &rows[i].terms, rows[i].asked_branch), rows[i].verdict, CAUSE_WORK,
               rows[i].code);
    }
    struct wise_terms terms = {.cost_max = 250, .punches_max = 1};
    static struct wise_offer of = {.hold_possible = true, .hold_parameters = "N", .costs = {.total = {"3.5", 350},
    .punches = 2}};
    assert_string_equal(wise_offer_decide(&of, &terms, "6490").reason, "it may cost 3.50, agreed was at most 2.50");
    terms.cost_max = 350;
    expect("too many punches", wise_offer_decide(&of, &terms, "6490"), REJECTED, CAUSE_WORK, "too_dear");
}

static void test_place(void **state)
{
    static const struct {
        const char *when;
        int status;
        const char *body;
        enum verdict verdict;
        const char *code, *id;
    } rows[] = {
        {"the envelope alone", 200, "{" OWN "}", DONE, "placed", ""},
        {"an id", 201, "{\"id\":\"617985\",\"validationErrors\":[]}", DONE, "placed", "617985"},
        {"the client asks for JSON only", 200, "{}", DONE, "placed", ""},
        {"nothing", 200, "", UNKNOWN, "garbled", ""},
        {"204", 204, "", UNKNOWN, "garbled", ""},
        {"no object", 200, "true", UNKNOWN, "garbled", ""},
    };
    struct wise_spelling spelling = {0};
    (void)state;

    for (size_t i = 0; i < COUNT(rows); i++) {
        struct http_response res = answered(rows[i].status, JSON, rows[i].body);
        expect(rows[i].when, wise_place_answer(&res, &spelling, &placed), rows[i].verdict,
               rows[i].verdict == DONE ? CAUSE_WORK : CAUSE_VENDOR, rows[i].code);
        assert_string_equal(placed.id, rows[i].id);
    }
}

/* ---- several titles ---- */

static void test_printed_options(void **state)
{
    struct http_response res = answered(200, JSON, printed_options);
    struct wise_spelling spelling = {0};
    (void)state;

    expect("as printed, mended", wise_options_answer(&res, &spelling, &options), DONE, CAUSE_WORK, "prepared");
    assert_int_equal(options.count, 2);
    assert_string_equal(options.titles[0].title, "1137719");
    assert_true(options.titles[0].hold_allowed && !options.titles[0].ill_allowed && !options.titles[0].fast_allowed);
    assert_string_equal(options.titles[1].title, "4595");
    assert_true(options.titles[1].hold_allowed && options.titles[1].ill_allowed);
    assert_int_equal(options.titles[1].queue_position, 1);
    assert_string_equal(options.pickup_branch, "6490");
    assert_int_equal(options.others.count, 3);
    assert_string_equal(options.others.at[0].id, "6491");
    assert_string_equal(options.others.at[0].name, "Negenmanneke");
    assert_string_equal(options.strategy, "BRANCH");
    assert_string_equal(options.costs.placement.text, "0");
    assert_int_equal(wise_cost_at_most(&options.costs), 0);
}

static void test_mends(void **state)
{
    static const struct {
        const char *when, *body, *strategy; /* NULL: not read */
    } rows[] = {
        {"no comma before it", "{\"titleHoldOptions\":[] \"searchStrategy\":\"BRANCH\"}", "BRANCH"},
        {"nor the opening quote", "{\"titleHoldOptions\":[]\nsearchStrategy\":\"BRANCH\"}", "BRANCH"},
        {"the quote a typographic one", "{\"titleHoldOptions\":[],“searchStrategy\":\"BRANCH\"}", "BRANCH"},
        {"as the printed request has it",
         "{\"titleHoldOptions\":[{\"bibliographicRecordId\":4595,\n},\n],\"pickupBranchId\":\"6490\""
         "\n“searchStrategy\":\"BRANCH\"\n}", "BRANCH"},
        {"typographic quotes around all", "{“titleHoldOptions”:[],“searchStrategy”:“BRANCH”}", "BRANCH"},
        {"a trailing comma", "{\"titleHoldOptions\":[],\"searchStrategy\":\"BRANCH\" , }", "BRANCH"},
        {"a typographic quote within a text", "{\"titleHoldOptions\":[],\"searchStrategy\":\"a “b”\",}", "a “b”"},
        {"a comma and a brace within a text", "{\"titleHoldOptions\":[],\"searchStrategy\":\"a,}\",}", "a,}"},
        {"its own name as a value", "{\"titleHoldOptions\":[],\"searchStrategy\":\"searchStrategy\",}", "searchStrategy"},
        {"JSON is read as it is", "{\"titleHoldOptions\":[],\"searchStrategy\":\"a,]\"}", "a,]"},
        {"another missing comma", "{\"titleHoldOptions\":[] \"holdType\":\"ONE\"}", NULL},
        {"two trailing commas", "{\"titleHoldOptions\":[],,}", NULL},
        {"the author's note", "{\"titleHoldOptions\":[],\"searchStrategy\":\"BRANCH\" Is hier een Default?\n}", NULL},
        {"single quotes", "{'titleHoldOptions':[]}", NULL},
        {"no closing brace", "{\"titleHoldOptions\":[],", NULL},
        {"only commas", ",,,]", NULL},
    };
    struct wise_spelling spelling = {0};
    (void)state;

    for (size_t i = 0; i < COUNT(rows); i++) {
        struct http_response res = answered(200, JSON, rows[i].body);
        struct answer a = wise_options_answer(&res, &spelling, &options);
        if ((a.verdict == DONE) != (rows[i].strategy != NULL) || strcmp(options.strategy,
        rows[i].strategy ? rows[i].strategy : ""))
            fail_msg("%s: %s, '%s'", rows[i].when, a.code, options.strategy);
    }
}

static void test_options_decide(void **state)
{
    static const char *const titles[] = {"1", "2", "3"};
    static const struct {
        const char *when;
        enum wise_together together;
        struct wise_terms terms;
        const char *flags; /* a title each: h hold, i ILL, b both, n none; in capitals: fast */
        int64_t cost;
        enum verdict verdict;
        const char *code, *places;
    } rows[] = {
        {"all by hold", WISE_ALL, {0}, "hhb", 0, DONE, "holds", "111"},
        {"one of them not", WISE_ALL, {0}, "hnh", 0, REJECTED, "not_possible", "101"},
        {"of a group the others do", WISE_ONE, {0}, "hnh", 0, DONE, "holds", "101"},
        {"of a group none", WISE_ONE, {0}, "nnn", 0, REJECTED, "not_possible", "000"},
        {"ILL not agreed to", WISE_ALL, {0}, "hih", 0, REJECTED, "not_possible", "101"},
        {"ILL agreed to", WISE_ALL, {.ill = WISE_ILL_IF_NEEDED}, "hih", 0, DONE, "holds", "111"},
        {"ILL only", WISE_ONE, {.ill = WISE_ILL_ONLY}, "hib", 0, DONE, "holds", "011"},
        {"a title that is not answered", WISE_ALL, {0}, "hh", 0, REJECTED, "not_possible", "110"},
        {"a group is paid once", WISE_ONE, {.cost_max = 100}, "hhh", 100, DONE, "holds", "111"},
        {"holds of their own perhaps each", WISE_ALL, {.cost_max = 299}, "hhh", 100, REJECTED, "too_dear", "111"},
        {"which was agreed to", WISE_ALL, {.cost_max = 300}, "hhh", 100, DONE, "holds", "111"},
        {"elsewhere", WISE_ALL, {.pickup_branch = "6491"}, "hhh", 0, REJECTED, "branch_not_offered", "111"},
        {"there", WISE_ALL, {.pickup_branch = "6490"}, "hhh", 0, DONE, "holds", "111"},
        {"fast", WISE_ALL, {.fast_delivery = true}, "HHB", 0, DONE, "holds", "111"},
        {"fast, but for one", WISE_ALL, {.fast_delivery = true}, "HhB", 0, REJECTED, "fast_not_possible", "111"},
        {"fast, but for one that is not placed", WISE_ONE, {.fast_delivery = true}, "HnB", 0, DONE, "holds", "101"},
    };
    (void)state;

    for (size_t i = 0; i < COUNT(rows); i++) {
        bool place[3];
        memset(&options, 0, sizeof options);
        strcpy(options.pickup_branch, "6490");
        options.costs.placement = (struct wise_cost){.text = "x", .hundredths = rows[i].cost};
        for (const char *f = rows[i].flags; *f; f++) {
            struct wise_option *option = &options.titles[options.count];
            strcpy(option->title, titles[options.count++]);
            option->hold_allowed = strchr("hbHB", *f);
            option->ill_allowed = strchr("ibIB", *f);
            option->fast_allowed = *f < 'a';
        }
        expect(rows[i].when, wise_options_decide(&options, &rows[i].terms, titles, 3, rows[i].together, place), rows[i].verdict,
               CAUSE_WORK, rows[i].code);
        for (int t = 0; t < 3; t++)
            if (place[t] != (rows[i].places[t] == '1'))
                fail_msg("%s: title %d is placed: %d", rows[i].when, t + 1, place[t]);
    }
    struct wise_terms terms = {.pickup_branch = "6490", .cost_max = -1, .punches_max = 2};
    bool place[3];
    options.costs.punches = 1;
    for (size_t i = 0; i < 3; i++)
        options.titles[i].hold_allowed = true;
    expect("a punch each", wise_options_decide(&options, &terms, titles, 3, WISE_ALL, place), REJECTED, CAUSE_WORK, "too_dear");
    expect("a punch for all", wise_options_decide(&options, &terms, titles, 3, WISE_ONE, place), DONE, CAUSE_WORK, "holds");
}

static void test_place_several(void **state)
{
    struct http_response res = answered(200, JSON, printed_group);
    struct wise_spelling spelling = {0};
    (void)state;

    expect("as printed", wise_place_several_answer(&res, &spelling, &printed_order, &placed), DONE, CAUSE_WORK, "placed");
    assert_string_equal(placed.group_id, "617984");
    assert_string_equal(placed.id, "");
    res = answered(200, JSON, "{\"holds\":[{\"bibliographicRecordId\":\"4595\",\"holdAllowed\":true},"
                              "{\"bibliographicRecordId\":1137719,\"illAllowed\":true}]}");
    expect("without a group", wise_place_several_answer(&res, &spelling, &printed_order, &placed), DONE, CAUSE_WORK, "placed");
    assert_string_equal(placed.group_id, "");
    res = answered(200, JSON, "{\"holds\":[{\"bibliographicRecordId\":4595,\"holdAllowed\":true}]}");
    expect("a title missing", wise_place_several_answer(&res, &spelling, &printed_order, &placed), UNKNOWN, CAUSE_VENDOR,
           "some_missing");
    res = answered(200, JSON, "{\"holds\":[{\"bibliographicRecordId\":4595,\"holdAllowed\":true},"
                              "{\"bibliographicRecordId\":1137719,\"holdAllowed\":false}]}");
    expect("a title not allowed", wise_place_several_answer(&res, &spelling, &printed_order, &placed), UNKNOWN, CAUSE_VENDOR,
           "some_missing");
}

/* ---- the list ---- */

static void test_printed_list(void **state)
{
    struct http_response res = answered(200, JSON, printed_list);
    struct wise_spelling spelling = {0};
    (void)state;

    memset(&holds, 0, sizeof holds);
    expect("as printed", wise_list_answer(&res, &spelling, &holds), DONE, CAUSE_WORK, "listed");
    assert_true(holds.complete);
    assert_int_equal(holds.count, 2);
    const struct wise_hold *hold = wise_hold_find(&holds, NULL, "21061000002");
    assert_ptr_equal(hold, wise_hold_find(&holds, "617985", ""));
    assert_ptr_equal(hold, &holds.at[0]);
    assert_string_equal(hold->title_id, "4595");
    assert_string_equal(hold->group_id, "617984");
    assert_string_equal(hold->title, "Gebrandschilderd glas");
    assert_string_equal(hold->author, "Lee, Lawrence");
    assert_int_equal(hold->status, WISE_ACTIVE);
    assert_true(hold->cancel_allowed && hold->update_allowed && !hold->awaiting_pickup);
    assert_string_equal(hold->placed, "2021-06-10");
    assert_string_equal(hold->due, "2022-06-10");
    assert_string_equal(hold->pickup_until, "");
    assert_string_equal(hold->pickup_branch, "6490");
    assert_null(wise_hold_find(&holds, "617986", NULL));
    assert_null(wise_hold_find(&holds, "", ""));
}

static void test_statuses(void **state)
{
    static const struct {
        const char *word;
        enum wise_status status;
    } rows[] = {
        {"ACTIVE", WISE_ACTIVE}, {"active", WISE_ACTIVE}, {"MESSAGE_SENT", WISE_MESSAGE_SENT}, {"RECIEVED", WISE_RECEIVED},
        {"received", WISE_RECEIVED}, {"RETURNED_TO_BRANCH", WISE_RETURNED_TO_BRANCH}, {"IN_TRANSPORT", WISE_IN_TRANSPORT},
        {"LOANED", WISE_LOANED}, {"CLOSED", WISE_CLOSED}, {"UNKNOWN", WISE_STATUS_UNKNOWN}, {"A", WISE_STATUS_UNKNOWN},
        {"", WISE_STATUS_UNKNOWN},
    };
    struct wise_spelling spelling = {0};
    (void)state;

    for (size_t i = 0; i < COUNT(rows); i++) {
        char body[200];
        snprintf(body, sizeof body, "{\"total\":1,\"items\":[{\"id\":1,\"bibliographicRecordId\":2,\"holdStatus\":\"%s\","
                 "\"awaitingPickup\":true,\"holdDueDate\":\"2021-07-01T00:00:00\"}]}", rows[i].word);
        struct http_response res = answered(200, JSON, body);
        memset(&holds, 0, sizeof holds);
        expect(rows[i].word, wise_list_answer(&res, &spelling, &holds), DONE, CAUSE_WORK, "listed");
        assert_int_equal(holds.at[0].status, rows[i].status);
        assert_string_equal(holds.at[0].pickup_until, "2021-07-01");
        assert_string_equal(wise_status_name(WISE_RECEIVED), "RECEIVED");
    }
}

/* A page of holds first .. first+count-1. total -1: it is not said. */
static void page(struct text *to, int first, int count, int total)
{
    text_clear(to);
    text_puts(to, "{\"items\":[");
    for (int i = 0; i < count; i++)
        text_printf(to, "%s{\"id\":%d,\"bibliographicRecordId\":%d}", i ? "," : "", first + i, 1000 + first + i);
    text_puts(to, "]");
    if (total >= 0)
        text_printf(to, ",\"total\":%d", total);
    text_puts(to, "}");
}

static void test_pages(void **state)
{
    static const struct {
        const char *when;
        struct {
            int first, count, total;
        } pages[4];
        int page_count, holds;
        bool complete;
    } rows[] = {
        {"one page", {{1, 2, 2}}, 1, 2, true},
        {"none", {{1, 0, 0}}, 1, 0, true},
        {"three pages", {{1, 50, 110}, {51, 50, 110}, {101, 10, 110}}, 3, 110, true},
        {"a server with pages of its own length", {{1, 30, 40}, {31, 10, 40}}, 2, 40, true},
        {"all at once, whatever was asked", {{1, 70, 70}}, 1, 70, true},
        {"a server that does not page", {{1, 50, 60}, {1, 50, 60}}, 2, 50, false},
        {"fewer than it says", {{1, 2, 3}, {1, 0, 3}}, 2, 2, false},
        {"one cancelled between the pages", {{1, 50, 60}, {52, 9, 59}}, 2, 59, false},
        {"without a total", {{1, 50, -1}, {51, 3, -1}}, 2, 53, true},
        {"without a total, to the brim", {{1, 50, -1}, {51, 0, -1}}, 2, 50, true},
        {"without a total, the same again", {{1, 50, -1}, {1, 50, -1}}, 2, 50, false},
        {"more than fit", {{1, 201, 201}}, 1, 200, false},
    };
    struct wise_spelling spelling = {0};
    struct text body = {0};
    (void)state;

    for (size_t i = 0; i < COUNT(rows); i++) {
        struct answer a = {.verdict = AGAIN};
        int n = 0;
        memset(&holds, 0, sizeof holds);
        for (; a.verdict == AGAIN && n < rows[i].page_count; n++) {
            page(&body, rows[i].pages[n].first, rows[i].pages[n].count, rows[i].pages[n].total);
            struct http_response res = answered(200, JSON, text_str(&body));
            a = wise_list_answer(&res, &spelling, &holds);
        }
        if (a.verdict != DONE || n != rows[i].page_count || (int)holds.count != rows[i].holds ||
            holds.complete != rows[i].complete)
            fail_msg("%s: %s after %d pages, %zu holds, complete %d", rows[i].when, a.code, n, holds.count, holds.complete);
    }
    text_free(&body);
    struct http_response res = answered(200, JSON, "{\"total\":1,\"items\":[{\"title\":\"x\"}]}");
    memset(&holds, 0, sizeof holds);
    expect("a hold without ids", wise_list_answer(&res, &spelling, &holds), DONE, CAUSE_WORK, "listed");
    assert_false(holds.complete);
}

/* ---- what became of a call ---- */

struct listed {
    const char *id, *title, *placed, *group;
    enum wise_status status;
};

static void fill(const struct listed *list, bool complete)
{
    memset(&holds, 0, sizeof holds);
    holds.complete = complete;
    for (; list->id; list++) {
        struct wise_hold *hold = &holds.at[holds.count++];
        strcpy(hold->id, list->id);
        strcpy(hold->title_id, list->title);
        strcpy(hold->placed, list->placed);
        strcpy(hold->group_id, list->group);
        hold->status = list->status;
    }
}

static void test_became_placed(void **state)
{
    static const char *const titles[] = {"1", "2"};
    static const struct {
        const char *when;
        struct listed list[5];
        bool incomplete;
        size_t count;
        enum wise_together together;
        const char *group;
        enum verdict verdict;
        const char *code;
        size_t at[2];
    } rows[] = {
        {"there", {{"7", "1", "2021-06-10", "", 0}}, false, 1, WISE_ALL, "", DONE, "placed", {0}},
        {"there since a later day", {{"7", "1", "2021-06-11", "", 0}}, false, 1, WISE_ALL, "", DONE, "placed", {0}},
        {"there, in a list that is cut", {{"7", "1", "2021-06-10", "", 0}}, true, 1, WISE_ALL, "", DONE, "placed", {0}},
        {"an older one of that title", {{"7", "1", "2021-06-09", "", 0}}, false, 1, WISE_ALL, "", AGAIN, "not_placed",
         {SIZE_MAX}},
        {"another title", {{"7", "2", "2021-06-10", "", 0}}, false, 1, WISE_ALL, "", AGAIN, "not_placed", {SIZE_MAX}},
        {"closed", {{"7", "1", "2021-06-10", "", WISE_CLOSED}}, false, 1, WISE_ALL, "", AGAIN, "not_placed", {SIZE_MAX}},
        {"not there", {{0}}, false, 1, WISE_ALL, "", AGAIN, "not_placed", {SIZE_MAX}},
        {"not there, in a list that is cut", {{0}}, true, 1, WISE_ALL, "", UNKNOWN, "incomplete", {SIZE_MAX}},
        {"without a date", {{"7", "1", "", "", 0}}, false, 1, WISE_ALL, "", UNKNOWN, "undated", {SIZE_MAX}},
        {"twice", {{"7", "1", "2021-06-10", "", 0}, {"8", "1", "2021-06-10", "", 0}}, false, 1, WISE_ALL, "", DONE,
         "maybe_twice", {1}},
        {"twice, newest first", {{"10", "1", "2021-06-10", "", 0}, {"8", "1", "2021-06-10", "", 0}}, false, 1, WISE_ALL, "",
         DONE, "maybe_twice", {0}},
        {"both", {{"7", "2", "2021-06-10", "", 0}, {"8", "1", "2021-06-10", "", 0}}, false, 2, WISE_ALL, "", DONE, "placed",
         {1, 0}},
        {"one of two", {{"7", "2", "2021-06-10", "", 0}}, false, 2, WISE_ALL, "", AGAIN, "some_missing", {SIZE_MAX, 0}},
        {"one of two, in a list that is cut", {{"7", "2", "2021-06-10", "", 0}}, true, 2, WISE_ALL, "", UNKNOWN, "incomplete",
         {SIZE_MAX, 0}},
        {"a group", {{"7", "2", "2021-06-10", "7", 0}, {"8", "1", "2021-06-10", "7", 0}}, false, 2, WISE_ONE, "", DONE,
         "placed",
         {1, 0}},
        {"a group of which one is left", {{"7", "2", "2021-06-10", "6", 0}}, false, 2, WISE_ONE, "6", DONE, "placed",
         {SIZE_MAX, 0}},
        {"holds in no group", {{"7", "2", "2021-06-10", "", 0}}, false, 2, WISE_ONE, "", AGAIN, "not_placed",
         {SIZE_MAX, SIZE_MAX}},
        {"another group", {{"7", "2", "2021-06-10", "7", 0}, {"8", "1", "2021-06-10", "7", 0}}, false, 2, WISE_ONE, "6", AGAIN,
         "not_placed", {SIZE_MAX, SIZE_MAX}},
        {"two groups: the later", {{"9", "1", "2021-06-10", "9", 0}, {"10", "2", "2021-06-10", "9", 0},
                                   {"11", "1", "2021-06-10", "11", 0}, {"12", "2", "2021-06-10", "11", 0}},
         false, 2, WISE_ONE, "", DONE, "maybe_twice", {2, 3}},
    };
    (void)state;

    for (size_t i = 0; i < COUNT(rows); i++) {
        struct wise_placing placing = {.titles = titles, .count = rows[i].count, .together = rows[i].together,
                                       .group_id = rows[i].group, .since = "2021-06-10"};
        size_t at[2];
        fill(rows[i].list, !rows[i].incomplete);
        expect(rows[i].when, wise_became_placed(&holds, &placing, at), rows[i].verdict, CAUSE_WORK, rows[i].code);
        for (size_t t = 0; t < rows[i].count; t++)
            if (at[t] != rows[i].at[t])
                fail_msg("%s: title %zu is at %zu", rows[i].when, t + 1, at[t]);
    }
}

static void test_became_cancelled(void **state)
{
    static const struct {
        const char *when;
        bool there, closed, cancel_allowed, complete;
        const char *id, *number;
        enum verdict verdict;
        const char *code;
    } rows[] = {
        {"gone", false, false, false, true, "7", NULL, DONE, "cancelled"},
        {"gone, by its number", false, false, false, true, NULL, "21061000001", DONE, "cancelled"},
        {"gone from a list that is cut", false, false, false, false, "7", NULL, UNKNOWN, "incomplete"},
        {"there", true, false, true, true, "7", NULL, AGAIN, "not_cancelled"},
        {"there, by its number", true, false, true, true, "", "21061000001", AGAIN, "not_cancelled"},
        {"there, in a list that is cut", true, false, true, false, "7", NULL, AGAIN, "not_cancelled"},
        {"there to stay", true, false, false, true, "7", NULL, REJECTED, "not_allowed"},
        {"closed", true, true, false, true, "7", NULL, DONE, "cancelled"},
    };
    (void)state;

    for (size_t i = 0; i < COUNT(rows); i++) {
        memset(&holds, 0, sizeof holds);
        holds.complete = rows[i].complete;
        holds.count = rows[i].there;
        holds.at[0] = (struct wise_hold){.id = "7", .number = "21061000001", .cancel_allowed = rows[i].cancel_allowed,
                                         .status = rows[i].closed ? WISE_CLOSED : WISE_ACTIVE};
        expect(rows[i].when, wise_became_cancelled(&holds, rows[i].id, rows[i].number), rows[i].verdict, CAUSE_WORK,
        rows[i].code);
    }
}

static void test_cancel(void **state)
{
    static const struct {
        const char *when;
        int status;
        const char *body;
        enum verdict verdict;
        const char *code;
    } rows[] = {
        {"nothing", 204, "", DONE, "cancelled"},
        {"the envelope", 200, "{" OWN "}", DONE, "cancelled"},
        {"some JSON", 200, "true", DONE, "cancelled"},
        {"a page", 200, PAGE, UNKNOWN, "garbled"},
        {"refused", 200, REFUSAL, REJECTED, "refused"},
        {"Wise's own 404", 404, "{" OWN "}", UNKNOWN, "not_found"},
        {"500", 500, "", UNKNOWN, "server_error"},
    };
    (void)state;

    for (size_t i = 0; i < COUNT(rows); i++) {
        struct http_response res = answered(rows[i].status, JSON, rows[i].body);
        struct wise_spelling spelling = {0};
        struct answer a = wise_cancel_answer(&res, &spelling);
        expect(rows[i].when, a, rows[i].verdict, strcmp(a.code, "garbled") && strcmp(a.code, "server_error") ? CAUSE_WORK
                                                                                                             : CAUSE_VENDOR,
               rows[i].code);
    }
}

static void test_reasons_keep_people_out(void **state)
{
    static const struct {
        const char *errors, *reason;
    } says[] = {
        {"[\"Title is already on hold\"]", ": Title is already on hold"},
        {"[{\"message\":\"too many holds\"},{\"description\":\"limit is 10\"}]", ": too many holds; limit is 10"},
        {"[{\"field\":\"x\",\"code\":\"HOLD_LIMIT\"}]", ": HOLD_LIMIT"},
        {"[{\"message\":\"patron 4be868c83ea2f8c03b3e052bb35cf0ff ada@example.nl owes 12345\"}]", ": patron … … owes …"},
        {"[{\"shape\":{\"unknown\":true}}]", ""},
        {"true", ""},
        {"[\"the first of many words that go on and on without any end until nothing fits\",\"and then some more\"]",
         ": the first of many words that go on and on without any end until nothing fits; and"},
    };
    struct wise_spelling spelling = {0};
    (void)state;

    for (size_t i = 0; i < COUNT(says); i++) {
        char body[256], want[256];
        snprintf(body, sizeof body, "{\"validationErrors\":%s}", says[i].errors);
        snprintf(want, sizeof want, "Wise refuses it (HTTP 400)%s", says[i].reason);
        struct http_response res = answered(400, JSON, body);
        struct answer a = wise_place_answer(&res, &spelling, &placed);
        if (a.verdict != REJECTED || strcmp(a.reason, want))
            fail_msg("%s: %s", says[i].errors, a.reason);
    }
}

/* ---- requests ---- */

static void test_login_requests(void **state)
{
    struct wise_session s = {.key = "app:00ff"};
    struct http_request req = {0};
    (void)state;

    wise_staff_login_request(&req, &s, "lib\"wire", "p\\w");
    assert_string_equal(req.method, "POST");
    assert_string_equal(text_str(&req.target), "/restapi/login");
    assert_string_equal(text_str(&req.body), "{\"username\":\"lib\\\"wire\",\"password\":\"p\\\\w\"}");
    assert_int_equal(req.header_count, 3);
    assert_string_equal(text_str(&req.headers[0]), "WISE_KEY: app:00ff");

    s.spelling = WISE_BARE;
    wise_patron_login_request(&req, &s, "u", "p");
    assert_string_equal(text_str(&req.target), "/patron/authentication");

    s = (struct wise_session){.key = "app:00ff", .token = "t0"};
    wise_proxy_login_request(&req, &s, PATRON, "I649");
    assert_string_equal(req.method, "POST");
    assert_string_equal(text_str(&req.target), "/restapi/patron/" PATRON "/library/I649/proxyauthentication");
    assert_string_equal(text_str(&req.headers[1]), "Authorization: t0");
    http_request_free(&req);
}

static void test_requests(void **state)
{
    static const char *const prepared[] = {
        "/restapi/patron/" PATRON "/library/I649/preparehold/3407533/branch/6490",
        "/restapi/patron/" PATRON "/libraryId/I649/prepareHold/3407533/branch/6490",
        "/patron/" PATRON "/library/I649/preparehold/3407533/branch/6490",
        "/patron/" PATRON "/libraryId/I649/prepareHold/3407533/branch/6490",
    };
    static const char *const optioned[] = {
        "/restapi/patron/" PATRON "/holdoption", "/restapi/patron/" PATRON "/holdOption", "/patron/" PATRON "/holdoption",
        "/patron/" PATRON "/holdOption",
    };
    struct wise_order order = {.title = "3407533", .hold_parameters = "N;N649;BIEB;I649;6490;6490|6491|~~~~|",
                               .pickup_branch = "6490", .due = "2021-07-14"};
    struct wise_session s = {.key = "app:00ff", .token = "t0"};
    struct http_request req = {0};
    (void)state;

    for (s.spelling = 0; s.spelling < 4; s.spelling++) {
        wise_prepare_request(&req, &s, PATRON, "I649", "3407533", "6490");
        assert_string_equal(text_str(&req.target), prepared[s.spelling]);
        wise_options_request(&req, &s, PATRON, two_titles, 2, WISE_ONE, "6490");
        assert_string_equal(text_str(&req.target), optioned[s.spelling]);
    }
    assert_string_equal(req.method, "PUT");
    assert_string_equal(text_str(&req.body), "{\"titleHoldOptions\":[{\"bibliographicRecordId\":\"1137719\"},"
                        "{\"bibliographicRecordId\":\"4595\"}],\"holdType\":\"ONE\",\"pickupBranchId\":\"6490\"}");
    s.spelling = 0;
    wise_prepare_request(&req, &s, PATRON, "I649", "3407533", "6490");
    assert_string_equal(req.method, "GET");
    assert_int_equal(req.body.len, 0);
    assert_string_equal(text_str(&req.headers[0]), "WISE_KEY: app:00ff");
    assert_string_equal(text_str(&req.headers[1]), "Authorization: t0");

    wise_place_request(&req, &s, PATRON, "I649", &order);
    assert_string_equal(req.method, "POST");
    assert_string_equal(text_str(&req.target), "/restapi/patron/" PATRON "/library/I649/hold");
    assert_string_equal(text_str(&req.body), "{\"bibliographicRecordId\":3407533,\"holdParameters\":"
                        "\"N;N649;BIEB;I649;6490;6490|6491|~~~~|\",\"pickupLocationBranchId\":\"6490\","
                        "\"requestDueDate\":\"2021-07-14\"}");
    order = (struct wise_order){.title = "0x1", .hold_parameters = "B;\"6490", .ill = true, .pickup_branch = "6490"};
    wise_place_request(&req, &s, PATRON, "I649", &order);
    assert_string_equal(text_str(&req.body), "{\"bibliographicRecordId\":\"0x1\",\"holdParameters\":\"I;\\\"6490\","
                        "\"pickupLocationBranchId\":\"6490\"}");

    wise_place_several_request(&req, &s, PATRON, &printed_order);
    assert_string_equal(req.method, "POST");
    assert_string_equal(text_str(&req.target), "/restapi/patron/" PATRON "/hold");
    assert_string_equal(text_str(&req.body),
    "{\"holds\":[{\"bibliographicRecordId\":1137719,\"fastDeliveryAllowed\":\"false\"},"
                        "{\"bibliographicRecordId\":4595,\"fastDeliveryAllowed\":\"false\"}],\"holdType\":\"ONE\","
                        "\"pickupBranchId\":\"6490\",\"searchStrategy\":\"BRANCH\"}");

    wise_list_request(&req, &s, PATRON, "I649", 50);
    assert_string_equal(req.method, "GET");
    assert_string_equal(text_str(&req.target), "/restapi/patron/" PATRON "/library/I649/hold?offset=50&limit=50");

    wise_cancel_request(&req, &s, PATRON, "I649", "617985");
    assert_string_equal(req.method, "DELETE");
    assert_string_equal(text_str(&req.target), "/restapi/patron/" PATRON "/library/I649/hold/617985");
    assert_int_equal(req.body.len, 0);
    http_request_free(&req);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_key),
        cmocka_unit_test(test_token_ends),
        cmocka_unit_test(test_ids),
        cmocka_unit_test(test_common_answers),
        cmocka_unit_test(test_exchanges_without_an_answer),
        cmocka_unit_test(test_spellings),
        cmocka_unit_test(test_login),
        cmocka_unit_test(test_hundredths),
        cmocka_unit_test(test_printed_offer),
        cmocka_unit_test(test_offers),
        cmocka_unit_test(test_offer_decide),
        cmocka_unit_test(test_place),
        cmocka_unit_test(test_printed_options),
        cmocka_unit_test(test_mends),
        cmocka_unit_test(test_options_decide),
        cmocka_unit_test(test_place_several),
        cmocka_unit_test(test_printed_list),
        cmocka_unit_test(test_statuses),
        cmocka_unit_test(test_pages),
        cmocka_unit_test(test_became_placed),
        cmocka_unit_test(test_became_cancelled),
        cmocka_unit_test(test_cancel),
        cmocka_unit_test(test_reasons_keep_people_out),
        cmocka_unit_test(test_login_requests),
        cmocka_unit_test(test_requests),
    };

    return cmocka_run_group_tests_name("wise", tests, NULL, NULL);
}

#include "common/vendors/libcal.h"

#include "common/scoped.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define JSON "application/json"
#define PAGE "<html><body>sorry</body></html>"
#define TIMES "\"fromDate\":\"2026-10-12T10:00:00-04:00\",\"toDate\":\"2026-10-12T11:00:00-04:00\""
#define A8 "aaaaaaaa"
#define A64 A8 A8 A8 A8 A8 A8 A8 A8
#define A128 A64 A64
#define A512 A128 A128 A128 A128
#define NBSP "\xc2\xa0"

static struct http_response answered(int status, const char *content_type, const char *body)
{
    return (struct http_response){.end = HTTP_ANSWERED, .status = status, .content_type = content_type, .body = body,
                                  .body_len = strlen(body), .watched = "", .retry_after_ms = -1, .error = ""};
}

static void test_token(void **state)
{
    static const struct {
        const char *when;
        int status;
        const char *content_type, *body;
        enum verdict verdict;
        enum cause cause;
        const char *code, *token;
        int64_t expires_s;
    } answers[] = {
        {"a token", 200, JSON,
         "{\"access_token\":\"0123456789abcdef0123456789abcdef01234567\",\"expires_in\":3600,\"token_type\":\"Bearer\","
         "\"scope\":\"cal_r sp_r\"}",
         DONE, CAUSE_WORK, "token", "0123456789abcdef0123456789abcdef01234567", 3600},
        {"a short one", 200, JSON, "{\"access_token\":\"t\",\"expires_in\":60}", DONE, CAUSE_WORK, "token", "t", 60},
        {"a lifetime in a string", 200, JSON, "{\"access_token\":\"t\",\"expires_in\":\"60\"}", DONE, CAUSE_WORK,
         "token", "t", 60},
        {"no lifetime", 200, JSON, "{\"access_token\":\"t\"}", DONE, CAUSE_WORK, "token", "t", 3600},
        {"a negative lifetime", 200, JSON, "{\"access_token\":\"t\",\"expires_in\":-1}", DONE, CAUSE_WORK, "token",
         "t", 3600},
        {"a lifetime of ages", 200, JSON, "{\"access_token\":\"t\",\"expires_in\":99999999999}", DONE, CAUSE_WORK,
         "token", "t", 2592000},
        {"the longest token", 200, JSON, "{\"access_token\":\"" A512 "\"}", DONE, CAUSE_WORK, "token", A512, 3600},
        {"one too long", 200, JSON, "{\"access_token\":\"" A512 "a\"}", LATER, CAUSE_VENDOR, "garbled", "", 0},
        {"one that would break the header", 200, JSON, "{\"access_token\":\"a\\nb\"}", LATER, CAUSE_VENDOR, "garbled",
         "", 0},
        {"no JSON", 200, "text/html", PAGE, LATER, CAUSE_VENDOR, "garbled", "", 0},
        {"wrong credentials", 400, JSON, "{\"error\":\"The client credentials are invalid\"}", LATER,
         CAUSE_CREDENTIALS, "login_refused", "", 0},
        {"wrong credentials with 200", 200, JSON,
         "{\"error\":\"invalid_client\",\"error_description\":\"The client credentials are invalid\"}",
         LATER, CAUSE_CREDENTIALS, "login_refused", "", 0},
        {"401", 401, "", "", LATER, CAUSE_CREDENTIALS, "login_refused", "", 0},
        {"403", 403, "text/html", PAGE, LATER, CAUSE_CREDENTIALS, "login_refused", "", 0},
        {"a server at fault", 400, JSON, "{\"error\":\"temporarily_unavailable\"}", LATER, CAUSE_VENDOR, "unwell", "",
         0},
        {"400 as a page", 400, "text/html", PAGE, LATER, CAUSE_VENDOR, "refused", "", 0},
        {"404", 404, "text/html", PAGE, LATER, CAUSE_VENDOR, "refused", "", 0},
        {"429", 429, JSON, "{\"error\":\"slow down\"}", LATER, CAUSE_RATE, "rate", "", 0},
        {"500", 500, JSON, "{\"error\":\"x\"}", LATER, CAUSE_VENDOR, "unwell", "", 0},
        {"a redirect", 301, "", "", LATER, CAUSE_VENDOR, "redirected", "", 0},
    };
    (void)state;

    for (size_t i = 0; i < COUNT(answers); i++) {
        struct http_response res = answered(answers[i].status, answers[i].content_type, answers[i].body);
        struct libcal_token token;
        struct answer a = libcal_token_answer(&res, &token);

        if (a.verdict != answers[i].verdict || a.cause != answers[i].cause || strcmp(a.code, answers[i].code) ||
            strcmp(token.token, answers[i].token) || token.expires_s != answers[i].expires_s)
            fail_msg("%s: %s, cause %d, %s, %lld s: %s", answers[i].when, verdict_name(a.verdict), a.cause, a.code,
                     (long long)token.expires_s, a.reason);
    }
}

static void test_rows_of_both_ages(void **state)
{
    static const char body[] =
        "[{\"bookId\":\"cskEDUqA\",\"id\":26535,\"eid\":38,\"cid\":37,\"lid\":12,"
        "\"fromDate\":\"2024-04-22T10:30:00+11:00\",\"toDate\":\"2024-04-22T12:30:00+11:00\","
        "\"created\":\"2024-04-20T08:32:11+11:00\",\"firstName\":\"Gary\",\"lastName\":\"Student\","
        "\"email\":\"Gary.Student@Somewhere.com\",\"account\":\"gstudent\",\"status\":\"Confirmed\","
        "\"location_name\":\"Main Campus\",\"event\":null,\"nickname\":\"\",\"seat_id\":962,"
        "\"seat_name\":\"PC Computer Lab Seat 4\",\"check_in_code\":\"DEF\",\"q43\":\"patron answer\","
        "\"q45\":[\"Infinity War\",\"Endgame\"],\"check_in_status\":\"out\","
        "\"internal_notes\":[{\"name\":\"Jacob\",\"created\":\"2024-04-22\",\"note\":\"note\"}]},"
        "{\"bookId\":\"cs_lxjj123\",\"eid\":71489,\"cid\":18578,\"lid\":1234,"
        "\"fromDate\":\"2020-10-26T13:15:00-04:00\",\"toDate\":\"2020-10-26T13:30:00-04:00\","
        "\"firstName\":\"Person0\",\"lastName\":\"Name0\",\"email\":\"person0@gwu.edu\","
        "\"status\":\"Mediated Approved\",\"seat_id\":68160,\"q12505\":\"G00000000\"}]";
    struct http_response res = answered(200, JSON, body);
    struct libcal_rows rows = {0};
    (void)state;

    struct answer a = libcal_rows_answer(&res, "q43", &rows);
    assert_int_equal(a.verdict, DONE);
    assert_int_equal(rows.count, 2);
    assert_int_equal(rows.bad_count, 0);
    const struct libcal_row *row = &rows.at[0];
    assert_string_equal(row->book_id, "cskEDUqA");
    assert_int_equal(row->id, 26535);
    assert_int_equal(row->eid, 38);
    assert_int_equal(row->cid, 37);
    assert_int_equal(row->lid, 12);
    assert_int_equal(row->seat_id, 962);
    assert_int_equal(row->start, 1713742200); /* 2024-04-21T23:30:00Z */
    assert_int_equal(row->end, 1713749400);
    assert_int_equal(row->offset_seconds, 11 * 3600);
    assert_string_equal(row->first_name, "Gary");
    assert_string_equal(row->last_name, "Student");
    assert_string_equal(row->email, "gary.student@somewhere.com");
    assert_string_equal(row->account, "gstudent");
    assert_string_equal(row->status, "Confirmed");
    assert_string_equal(row->answer, "patron answer");
    assert_int_equal(row->check_in, LIBCAL_CHECKED_OUT);
    assert_false(row->cancelled);
    assert_false(row->is_event);
    row = &rows.at[1];
    assert_string_equal(row->book_id, "cs_lxjj123");
    assert_int_equal(row->id, 0);
    assert_int_equal(row->offset_seconds, -4 * 3600);
    assert_string_equal(row->account, "");
    assert_string_equal(row->answer, "");
    assert_int_equal(row->check_in, LIBCAL_NOT_CHECKED);

    libcal_rows_answer(&res, "q45", &rows);
    assert_string_equal(rows.at[0].answer, "Infinity War");
    libcal_rows_answer(&res, "q12505", &rows);
    assert_string_equal(rows.at[1].answer, "G00000000");
    libcal_rows_answer(&res, NULL, &rows);
    assert_string_equal(rows.at[1].answer, "");
    libcal_rows_free(&rows);
}

static void test_form_answers(void **state)
{
    static const struct {
        const char *when, *member, *answer;
        bool too_long;
    } answers[] = {
        {"as it should be", ",\"q1\":\"G00000001\"", "G00000001", false},
        {"no key at all", "", "", false},
        {"not answered", ",\"q1\":\"\"", "", false},
        {"null", ",\"q1\":null", "", false},
        {"blanks around it", ",\"q1\":\" \\tG00000001\\r\\n\"", "G00000001", false},
        {"pasted, with a no-break space and a byte order mark", ",\"q1\":\"\xef\xbb\xbf" NBSP "G00000001" NBSP " \"",
         "G00000001", false},
        {"as typed", ",\"q1\":\"g0 1\"", "g0 1", false},
        {"a number", ",\"q1\":12345678", "12345678", false},
        {"a number too great", ",\"q1\":99999999999999999999999", "", true},
        {"choices, the first empty", ",\"q1\":[\"\",\" \",\"G1\",\"G2\"]", "G1", false},
        {"no choice", ",\"q1\":[]", "", false},
        {"choices of odd kinds", ",\"q1\":[null,true,{},\"G1\"]", "G1", false},
        {"an object", ",\"q1\":{\"a\":\"G1\"}", "", false},
        {"just fitting", ",\"q1\":\"" A64 "\"", A64, false},
        {"too long", ",\"q1\":\"" A64 "a\"", "", true},
        {"a zero byte inside hides nothing", ",\"q1\":\"G1\\u0000G2\"", "G1\x01G2", false},
        {"another question", ",\"q12\":\"G1\"", "", false},
    };
    (void)state;

    for (size_t i = 0; i < COUNT(answers); i++) {
        char body[512];
        struct libcal_rows rows = {0};
        snprintf(body, sizeof body, "[{\"bookId\":\"a\"," TIMES "%s}]", answers[i].member);
        struct http_response res = answered(200, JSON, body);
        struct answer a = libcal_rows_answer(&res, "q1", &rows);

        if (a.verdict != DONE || rows.count != 1 || strcmp(rows.at[0].answer, answers[i].answer) ||
            rows.at[0].answer_too_long != answers[i].too_long)
            fail_msg("%s: %s, answer '%s', too long %d", answers[i].when, a.reason, rows.count ? rows.at[0].answer :
            "",
                     rows.count && rows.at[0].answer_too_long);
        libcal_rows_free(&rows);
    }
}

static void test_row_members(void **state)
{
    static const struct {
        const char *when, *members;
        enum libcal_check_in check_in;
        bool cancelled, is_event;
        const char *status, *account;
    } rows_said[] = {
        {"checked in", "\"check_in_status\":\"in\"", LIBCAL_CHECKED_IN, false, false, "", ""},
        {"checked out", "\"check_in_status\":\"out\"", LIBCAL_CHECKED_OUT, false, false, "", ""},
        {"not checked in", "\"check_in_status\":\"-\"", LIBCAL_NOT_CHECKED, false, false, "", ""},
        {"another word", "\"check_in_status\":\"into\"", LIBCAL_NOT_CHECKED, false, false, "", ""},
        {"cancelled", "\"cancelled\":\"2024-04-22T10:30:00+11:00\"", LIBCAL_NOT_CHECKED, true, false, "", ""},
        {"cancelled, empty", "\"cancelled\":\"\"", LIBCAL_NOT_CHECKED, false, false, "", ""},
        {"cancelled, null", "\"cancelled\":null", LIBCAL_NOT_CHECKED, false, false, "", ""},
        {"an event", "\"event\":{\"id\":4186095,\"title\":\"Study Session\"}", LIBCAL_NOT_CHECKED, false, true, "",
         ""},
        {"no event", "\"event\":\"\"", LIBCAL_NOT_CHECKED, false, false, "", ""},
        {"a status with blanks", "\"status\":\" Confirmed \"", LIBCAL_NOT_CHECKED, false, false, "Confirmed", ""},
        {"a status that is no text", "\"status\":[]", LIBCAL_NOT_CHECKED, false, false, "", ""},
        {"an account", "\"account\":\"22822000000019\"", LIBCAL_NOT_CHECKED, false, false, "", "22822000000019"},
        {"an account is never cut", "\"account\":\"" A128 "a\"", LIBCAL_NOT_CHECKED, false, false, "", ""},
        {"ids of odd kinds", "\"id\":\"x\",\"eid\":null,\"seat_id\":-3,\"lid\":1e3", LIBCAL_NOT_CHECKED, false, false,
         "", ""},
    };
    (void)state;

    for (size_t i = 0; i < COUNT(rows_said); i++) {
        char body[512];
        struct libcal_rows rows = {0};
        snprintf(body, sizeof body, "[{\"bookId\":\"a\"," TIMES ",%s}]", rows_said[i].members);
        struct http_response res = answered(200, JSON, body);
        struct answer a = libcal_rows_answer(&res, NULL, &rows);
        const struct libcal_row *row = rows.at;

        if (a.verdict != DONE || rows.count != 1 || row->check_in != rows_said[i].check_in || row->id || row->eid ||
            row->seat_id || row->cancelled != rows_said[i].cancelled || row->is_event != rows_said[i].is_event ||
            strcmp(row->status, rows_said[i].status) || strcmp(row->account, rows_said[i].account))
            fail_msg("%s: %s", rows_said[i].when, a.reason);
        libcal_rows_free(&rows);
    }
}

static void test_one_bad_row_costs_no_other(void **state)
{
    static const struct {
        const char *when, *row, *book_id, *why;
    } bad[] = {
        {"no object", "7", "", "row 2: it is no object"},
        {"null", "null", "", "row 2: it is no object"},
        {"no bookId", "{" TIMES "}", "", "row 2: bookId: missing, empty or no text"},
        {"an empty bookId", "{\"bookId\":\" \"," TIMES "}", "", "row 2: bookId: missing, empty or no text"},
        {"a bookId too long", "{\"bookId\":\"" A64 "a\"," TIMES "}", "", "row 2: bookId: longer than 64 bytes"},
        {"a bookId beyond ASCII", "{\"bookId\":\"b\xc3\xa9\"," TIMES "}", "", "row 2: bookId: want printable ASCII"},
        {"a bookId with a line break", "{\"bookId\":\"a\\nb\"," TIMES "}", "", "row 2: bookId: want printable ASCII"},
        {"no start", "{\"bookId\":\"b\",\"toDate\":\"2026-10-12T11:00:00-04:00\"}", "b",
         "booking b: fromDate: want a time with an offset, as 2024-04-22T10:30:00+11:00"},
        {"a start without an offset",
         "{\"bookId\":\"b\",\"fromDate\":\"2026-10-12T10:00:00\",\"toDate\":\"2026-10-12T11:00:00-04:00\"}",
         "b", "booking b: fromDate: want a time with an offset, as 2024-04-22T10:30:00+11:00"},
        {"an end that is no time",
         "{\"bookId\":\"b\",\"fromDate\":\"2026-10-12T10:00:00-04:00\",\"toDate\":\"noon\"}", "b",
         "booking b: toDate: want a time with an offset, as 2024-04-22T12:30:00+11:00"},
        {"an end before the start",
         "{\"bookId\":\"b\",\"fromDate\":\"2026-10-12T10:00:00-04:00\",\"toDate\":\"2026-10-12T10:00:00-04:00\"}",
         "b",
         "booking b: toDate: not after fromDate"},
    };
    (void)state;

    for (size_t i = 0; i < COUNT(bad); i++) {
        char body[512];
        struct libcal_rows rows = {0};
        snprintf(body, sizeof body, "[{\"bookId\":\"a\"," TIMES "},%s,{\"bookId\":\"c\"," TIMES "}]", bad[i].row);
        struct http_response res = answered(200, JSON, body);
        struct answer a = libcal_rows_answer(&res, "q1", &rows);

        if (a.verdict != DONE || rows.count != 2 || strcmp(rows.at[0].book_id, "a") || strcmp(rows.at[1].book_id,
        "c") ||
            rows.bad_count != 1 || strcmp(rows.bad[0].book_id, bad[i].book_id) || strcmp(rows.bad[0].why, bad[i].why))
            fail_msg("%s: %zu rows, %zu bad: %s", bad[i].when, rows.count, rows.bad_count,
                     rows.bad_count ? rows.bad[0].why : a.reason);
        libcal_rows_free(&rows);
    }
}

static void test_list_answers(void **state)
{
    static const struct {
        const char *when;
        int status;
        const char *content_type, *body;
        enum verdict verdict;
        enum cause cause;
        const char *code, *reason; /* NULL: any */
    } answers[] = {
        {"no bookings", 200, JSON, "[]", DONE, CAUSE_WORK, "rows", "0 rows, 0 unreadable"},
        {"with a byte order mark", 200, JSON, "\xef\xbb\xbf[]", DONE, CAUSE_WORK, "rows", NULL},
        {"token expired in mid-run", 401, "", "", LATER, CAUSE_TOKEN, "token_refused", NULL},
        {"token expired, in a 200", 200, JSON, "{\"error\":\"The access token provided has expired\"}", LATER,
         CAUSE_TOKEN, "token_refused", NULL},
        {"invalid token, in a 200", 200, JSON, "{\"error\":\"invalid_token\"}", LATER, CAUSE_TOKEN, "token_refused",
         NULL},
        {"invalid token, in a 400", 400, JSON, "{\"error\":\"x\",\"error_description\":\"Invalid token\"}", LATER,
         CAUSE_TOKEN, "token_refused", NULL},
        {"scope not granted", 403, "text/plain", "Forbidden", LATER, CAUSE_CREDENTIALS, "scope", NULL},
        {"400 in words", 400, "text/plain", "invalid \"page\" value, must be >= 1", REJECTED, CAUSE_WORK,
         "bad_request",
         "LibCal refuses the question (HTTP 400): invalid \"page\" value, must be >= 1"},
        {"400 in several lines", 400, "text/plain", "must supply a\nand b\n", REJECTED, CAUSE_WORK, "bad_request",
         "LibCal refuses the question (HTTP 400): must supply a and b"},
        {"400, a list of errors", 400, JSON, "{\"errors\":[\"Invalid ID.\",\"x\"]}", REJECTED, CAUSE_WORK,
         "bad_request",
         "LibCal refuses the question (HTTP 400): Invalid ID."},
        {"400, errors as a text", 400, JSON, "{\"errors\":\"Invalid ID.\"}", REJECTED, CAUSE_WORK, "bad_request",
         NULL},
        {"400 repeating an address", 400, "text/plain", "unknown email ada@example.edu", REJECTED, CAUSE_WORK,
         "bad_request",
         "LibCal refuses the question (HTTP 400): unknown email …"},
        {"400 as a page", 400, "text/html", PAGE, LATER, CAUSE_VENDOR, "refused", NULL},
        {"400 empty", 400, "", "", LATER, CAUSE_VENDOR, "refused", NULL},
        {"404", 404, "text/html", PAGE, LATER, CAUSE_VENDOR, "refused", NULL},
        {"429", 429, "", "", LATER, CAUSE_RATE, "rate", NULL},
        {"500", 500, "text/html", PAGE, LATER, CAUSE_VENDOR, "unwell", NULL},
        {"502", 502, "", "", LATER, CAUSE_VENDOR, "unwell", NULL},
        {"a redirect", 302, "", "", LATER, CAUSE_VENDOR, "redirected", NULL},
        {"204", 204, "", "", LATER, CAUSE_VENDOR, "garbled", NULL},
        {"an error where a list was expected", 200, JSON, "{\"error\":\"internal\"}", LATER, CAUSE_VENDOR, "garbled",
         "LibCal answers an error instead of a list (HTTP 200): internal"},
        {"an object where a list was expected", 200, JSON, "{\"bookings\":[]}", LATER, CAUSE_VENDOR, "garbled", NULL},
        {"a maintenance page", 200, "text/html", PAGE, LATER, CAUSE_VENDOR, "garbled", NULL},
        {"empty", 200, JSON, "", LATER, CAUSE_VENDOR, "garbled", NULL},
        {"null", 200, JSON, "null", LATER, CAUSE_VENDOR, "garbled", NULL},
        {"cut short", 200, JSON, "[{\"bookId\":\"a\"", LATER, CAUSE_VENDOR, "garbled", NULL},
    };
    (void)state;

    for (size_t i = 0; i < COUNT(answers); i++) {
        struct http_response res = answered(answers[i].status, answers[i].content_type, answers[i].body);
        struct libcal_rows rows = {0};
        struct answer a = libcal_rows_answer(&res, "q1", &rows);

        if (a.verdict != answers[i].verdict || a.cause != answers[i].cause || strcmp(a.code,
        answers[i].code) || rows.count ||
            (answers[i].reason && strcmp(a.reason, answers[i].reason)))
            fail_msg("%s: %s, cause %d, %s: %s", answers[i].when, verdict_name(a.verdict), a.cause, a.code, a.reason);
        libcal_rows_free(&rows);
    }
}

static void test_lists_of_any_length(void **state)
{
    struct text body = {0};
    struct libcal_rows rows = {0};
    (void)state;

    text_puts(&body, "[");
    for (int i = 0; i < LIBCAL_ROWS_MAX; i++)
        text_printf(&body, "%s{\"bookId\":\"b%d\"," TIMES "}", i ? "," : "", i);
    text_puts(&body, "]");
    struct http_response res = answered(200, JSON, text_str(&body));
    assert_int_equal(libcal_rows_answer(&res, "q1", &rows).verdict, DONE);
    assert_int_equal(rows.count, LIBCAL_ROWS_MAX);
    assert_string_equal(rows.at[9999].book_id, "b9999");
    body.at[body.len - 1] = ',';
    text_puts(&body, "1]");
    res = answered(200, JSON, text_str(&body));
    assert_string_equal(libcal_rows_answer(&res, "q1", &rows).code, "garbled");
    assert_int_equal(rows.count, 0); /* what was read before is gone */
    libcal_rows_free(&rows);
    text_free(&body);

    res = (struct http_response){.end = HTTP_UNKNOWN, .content_type = "", .body = "", .retry_after_ms = -1, .error =
    "time-out"};
    assert_int_equal(libcal_rows_answer(&res, "q1", &rows).verdict, LATER);
    res.end = HTTP_NOT_SENT;
    assert_int_equal(libcal_rows_answer(&res, "q1", &rows).verdict, LATER);
    res = answered(503, "", "");
    res.retry_after_ms = 5000;
    assert_int_equal(libcal_rows_answer(&res, "q1", &rows).wait_ms, 5000);
}

static void test_statuses(void **state)
{
    static const char *const both[] = {"Mediated Approved", "Staff Confirmed"};
    static const struct {
        const char *status;
        enum libcal_status by_default, with_own_list;
    } statuses[] = {
        {"Confirmed", LIBCAL_LIVE, LIBCAL_WAITING},
        {"Mediated Approved", LIBCAL_LIVE, LIBCAL_LIVE},
        {"mediated approved", LIBCAL_LIVE, LIBCAL_LIVE},
        {"Staff Confirmed", LIBCAL_UNKNOWN, LIBCAL_LIVE},
        {"Tentative", LIBCAL_WAITING, LIBCAL_WAITING},
        {"Mediated Tentative", LIBCAL_WAITING, LIBCAL_WAITING},
        {"Confirmed (Payment Pending)", LIBCAL_WAITING, LIBCAL_WAITING},
        {"Mediated Approved (Payment Pending)", LIBCAL_WAITING, LIBCAL_WAITING},
        {"Cancelled by User", LIBCAL_DEAD, LIBCAL_DEAD},
        {"Cancelled by Admin", LIBCAL_DEAD, LIBCAL_DEAD},
        {"Cancelled by System", LIBCAL_DEAD, LIBCAL_DEAD},
        {"Cancelled", LIBCAL_DEAD, LIBCAL_DEAD},
        {"Mediated Denied", LIBCAL_DEAD, LIBCAL_DEAD},
        {"Booked in Outlook/Exchange", LIBCAL_NOT_A_PATRON, LIBCAL_NOT_A_PATRON},
        {"Checked Out", LIBCAL_UNKNOWN, LIBCAL_UNKNOWN},
        {"Not Confirmed", LIBCAL_UNKNOWN, LIBCAL_UNKNOWN},
        {"Mediation Approved", LIBCAL_UNKNOWN, LIBCAL_UNKNOWN},
        {"", LIBCAL_UNKNOWN, LIBCAL_UNKNOWN},
    };
    (void)state;

    for (size_t i = 0; i < COUNT(statuses); i++)
        if (libcal_status_of(statuses[i].status, NULL, 0) != statuses[i].by_default ||
            libcal_status_of(statuses[i].status, both, COUNT(both)) != statuses[i].with_own_list)
            fail_msg("'%s': %d, %d", statuses[i].status, libcal_status_of(statuses[i].status, NULL, 0),
                     libcal_status_of(statuses[i].status, both, COUNT(both)));
}

static void test_asked_ids(void **state)
{
    static const struct {
        const char *when, *answer, *pattern, *id, *fault;
    } ids[] = {
        {"as it should be", "G00000001", "G[0-9]{8}", "G00000001", ""},
        {"in lower case, with a space before it", " g00000001", "G[0-9]{8}", "G00000001", ""},
        {"a no-break space after it", "G00000001" NBSP, "G[0-9]{8}", "G00000001", ""},
        {"a pattern in lower case", "G00000001", "g[0-9]{8}", "G00000001", ""},
        {"without a pattern", "jdoe-7", NULL, "JDOE-7", ""},
        {"more than the pattern", "G000000012345", "G[0-9]{8}", "",
         "the id does not look like one (LIBCAL_ID_PATTERN)"},
        {"something before it", "xG00000001", "G[0-9]{8}", "", "the id does not look like one (LIBCAL_ID_PATTERN)"},
        {"two patterns, the shorter first", "AB", "A|AB", "AB", ""},
        {"empty", "", NULL, "", "no id was given"},
        {"blank", " \t" NBSP, NULL, "", "no id was given"},
        {"a blank inside", "G0000 0001", NULL, "", "the id has a blank inside"},
        {"a no-break space inside", "G0000" NBSP "0001", NULL, "", "the id has a blank inside"},
        {"a sentence", "I forgot it", NULL, "", "the id has a blank inside"},
        {"a control character inside", "G0000\x01" "0001", NULL, "", "the id has a control character inside"},
        {"a letter beyond ASCII", "m\xc3\xbcller", NULL, "", "the id has a character beyond ASCII"},
        {"dots, which would climb out of the path", "..", NULL, "", "the id has neither a letter nor a digit"},
        {"a dash", "-", NULL, "", "the id has neither a letter nor a digit"},
        {"just fitting", A64, NULL, NULL, ""},
        {"too long", A64 "a", NULL, "", "the id has 65 bytes, at most 64 fit"},
    };
    (void)state;

    for (size_t i = 0; i < COUNT(ids); i++) {
        char id[LIBCAL_ID_SIZE];
        regex_t pattern;
        if (ids[i].pattern)
            assert_int_equal(regcomp(&pattern, ids[i].pattern, REG_EXTENDED | REG_ICASE), 0);
        struct fault f = libcal_asked_id(ids[i].answer, ids[i].pattern ? &pattern : NULL, id, sizeof id);
        if (ids[i].pattern)
            regfree(&pattern);

        if (strcmp(f.what, ids[i].fault) || f.kind != (ids[i].fault[0] ? FAULT_REJECT : FAULT_NONE) ||
            (ids[i].id && strcmp(id, ids[i].id)))
            fail_msg("%s: '%s' %s", ids[i].when, id, f.what);
    }
}

static void test_locations(void **state)
{
    static struct libcal_locations list;
    struct http_response res = answered(200, JSON,
    "[{\"lid\":33,\"name\":\"Main Campus\",\"public\":1,\"formid\":38,\"admin_only\":0},"
                                                   "{\"lid\":\"34\",\"name\":\"Annex\"}]");
    (void)state;

    assert_int_equal(libcal_locations_answer(&res, &list).verdict, DONE);
    assert_int_equal(list.count, 2);
    assert_false(list.more);
    assert_int_equal(list.at[0].lid, 33);
    assert_int_equal(list.at[0].form_id, 38);
    assert_string_equal(list.at[0].name, "Main Campus");
    assert_int_equal(list.at[1].lid, 34);
    assert_int_equal(list.at[1].form_id, 0);
    res = answered(200, JSON, "[{\"name\":\"Annex\"}]");
    libcal_locations_answer(&res, &list);
    assert_int_equal(list.count, 0);
    assert_true(list.more);
    res = answered(401, "", "");
    assert_int_equal(libcal_locations_answer(&res, &list).cause, CAUSE_TOKEN);
}

static void test_forms(void **state)
{
#define FORM(fields) "[{\"id\":38,\"name\":\"Room form\",\"fields\":" fields "}]"
#define Q43 "{\"id\":43,\"label\":\"GWID\",\"type\":\"string\",\"required\":true,\"options\":[]}"
    static const struct {
        const char *when, *question, *body;
        bool found, required;
        const char *label;
    } forms[] = {
        {"there", "q43", FORM("{\"fname\":{\"label\":\"First\",\"required\":true},\"q43\":" Q43 "}"), true, true,
         "GWID"},
        {"not required", "q43", FORM("{\"q43\":{\"label\":\"GWID\",\"required\":false}}"), true, false, "GWID"},
        {"required as a number", "q43", FORM("{\"q43\":{\"label\":\"GWID\",\"required\":1}}"), true, true, "GWID"},
        {"not there", "q44", FORM("{\"q43\":" Q43 "}"), false, false, ""},
        {"no fields", "q43", FORM("[]"), false, false, ""},
        {"fields in a list", "q43", FORM("[{\"id\":42}," Q43 "]"), true, true, "GWID"},
        {"no form", "q43", "[]", false, false, ""},
        {"in the second form", "q43", "[{\"id\":1,\"fields\":{}},{\"id\":2,\"fields\":{\"q43\":" Q43 "}}]", true,
         true, "GWID"},
    };
    struct libcal_question q;
    (void)state;

    for (size_t i = 0; i < COUNT(forms); i++) {
        struct http_response res = answered(200, JSON, forms[i].body);
        struct answer a = libcal_form_answer(&res, forms[i].question, &q);

        if (a.verdict != DONE || q.found != forms[i].found || q.required != forms[i].required || strcmp(q.label,
        forms[i].label))
            fail_msg("%s: %s, found %d, required %d, label %s", forms[i].when, a.reason, q.found, q.required,
            q.label);
    }
    struct http_response res = answered(400, "text/plain", "must supply at least 1 form id");
    assert_string_equal(libcal_form_answer(&res, "q43", &q).code, "bad_request");
    assert_false(q.found);

    res = answered(200, JSON, "[" Q43 "]");
    assert_int_equal(libcal_question_answer(&res, "q43", &q).verdict, DONE);
    assert_true(q.found && q.required);
    assert_string_equal(q.type, "string");
    libcal_question_answer(&res, "q44", &q);
    assert_false(q.found);
    libcal_question_answer(&res, "email", &q);
    assert_false(q.found);
}

static void test_requests(void **state)
{
    static const char *const ids[] = {"cskEDUqA", "_L4oMxm", "a/b,c"};
    const char *many[LIBCAL_IDS_MAX + 5];
    struct http_request req = {0};
    (void)state;

    libcal_token_request(&req, "123", "0123\"cdef");
    assert_string_equal(req.method, "POST");
    assert_string_equal(text_str(&req.target), "/1.1/oauth/token");
    assert_string_equal(text_str(&req.headers[0]), "Content-Type: application/json");
    assert_string_equal(text_str(&req.body),
                        "{\"client_id\":123,\"client_secret\":\"0123\\\"cdef\",\"grant_type\":\"client_credentials\"}");
    libcal_token_request(&req, "012x", "s");
    assert_string_equal(text_str(&req.body),
                        "{\"client_id\":\"012x\",\"client_secret\":\"s\",\"grant_type\":\"client_credentials\"}");

    libcal_bookings_request(&req, "t0", 1234, 7, 2);
    assert_string_equal(req.method, "GET");
    assert_string_equal(text_str(&req.target),
                        "/1.1/space/bookings?lid=1234&days=7&limit=500&page=2&form_answers=1&check_in_status=1"
                        "&include_cancel=1&include_denied=1&include_tentative=1");
    assert_string_equal(text_str(&req.headers[0]), "Authorization: Bearer t0");

    libcal_by_id_request(&req, "t0", ids, COUNT(ids));
    assert_string_equal(text_str(&req.target),
                        "/1.1/space/booking/cskEDUqA,_L4oMxm,a%2Fb%2Cc?form_answers=1&check_in_status=1");
    for (size_t i = 0; i < COUNT(many); i++)
        many[i] = "x";
    libcal_by_id_request(&req, "t0", many, COUNT(many));
    assert_int_equal(req.target.len,
    strlen("/1.1/space/booking/?form_answers=1&check_in_status=1") + 2 * LIBCAL_IDS_MAX - 1);

    libcal_locations_request(&req, "t0");
    assert_string_equal(text_str(&req.target), "/1.1/space/locations");
    libcal_form_request(&req, "t0", 38);
    assert_string_equal(text_str(&req.target), "/1.1/space/form/38");
    libcal_question_request(&req, "t0", "q12505");
    assert_string_equal(text_str(&req.target), "/1.1/space/question/12505");
    http_request_free(&req);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_token),
        cmocka_unit_test(test_rows_of_both_ages),
        cmocka_unit_test(test_form_answers),
        cmocka_unit_test(test_row_members),
        cmocka_unit_test(test_one_bad_row_costs_no_other),
        cmocka_unit_test(test_list_answers),
        cmocka_unit_test(test_lists_of_any_length),
        cmocka_unit_test(test_statuses),
        cmocka_unit_test(test_asked_ids),
        cmocka_unit_test(test_locations),
        cmocka_unit_test(test_forms),
        cmocka_unit_test(test_requests),
    };

    return cmocka_run_group_tests_name("libcal", tests, NULL, NULL);
}

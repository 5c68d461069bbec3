#include "common/vendors/oneclick.h"

#include "common/json.h"
#include "common/scoped.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define JSON "application/json"
#define HTML "text/html; charset=us-ascii"
#define ISBN "9781615730186"
#define NOT_HERE "eXtensible Framework was unable to locate the resource for RB.API.LibraryMedia.Get"
#define BAD_ISBN "Invalid 'MediaType', 'TitleId' or 'ISBN' token value supplied: "
#define SQL "eXtensible Framework encountered a SqlException"
#define SPACE_IN_URL "<HTML><BODY>HTTP Error 400. The request is badly formed.</BODY></HTML>"

/* As a library's catalog has it (OneClick facts, 1.3). */
#define TRICKS                                                                                                           \
    "{\"seriesPosition\":0,\"seriesTotal\":0,\"publicationDate\":\"2009-08-25T00:00:00Z\",\"hasDigitalRights\":true,"     \
    "\"description\":\"Five teens.\",\"publisher\":\"Highbridge Company\","                                               \
    "\"narrators\":\"Guskin, Laura Flanagan;jeremy; Campbell, Cassandra; Potter, Kirsten\",\"audience\":\"Adult\","       \
    "\"genres\":\"JUVENILE FICTION / Social Themes / Adolescence\",\"primaryGenre\":\"juvenile-fiction\","                \
    "\"isbn\":\"" ISBN "\",\"mediaType\":\"eAudio\",\"title\":\"Tricks\",\"authors\":\"Hopkins, Ellen\","                 \
    "\"language\":\"English\",\"images\":[{\"name\":\"small\",\"url\":\"http://i.example/s.jpg\"}],\"titleId\":14888}"

static json_object *parse(const char *text)
{
    json_object *value;
    struct fault f = json_read(text, strlen(text), &value);

    if (f.kind)
        fail_msg("%s: %s", text, f.what);
    return value;
}

static struct http_response answered(int status, const char *content_type, const char *body)
{
    return (struct http_response){.end = HTTP_ANSWERED, .status = status, .content_type = content_type, .body = body,
                                  .body_len = strlen(body), .watched = "", .retry_after_ms = -1, .error = ""};
}

/* A list as one text: "a|b|". */
static const char *joined(const struct oneclick_list *list)
{
    static struct text all;
    const char *at = list->at;

    text_clear(&all);
    for (size_t i = 0; i < list->count; i++, at += strlen(at) + 1)
        text_printf(&all, "%s|", at);
    return text_str(&all);
}

/* ---- titles ---- */

static void test_title(void **state)
{
    SCOPED(json_object_put) json_object *record = parse(TRICKS);
    struct oneclick_title t;
    (void)state;

    assert_false(oneclick_title_read(record, &t).kind);
    assert_string_equal(t.isbn, ISBN);
    assert_string_equal(t.publication_date, "2009-08-25");
    assert_int_equal(t.title_id, 14888);
    assert_int_equal(t.series_position, 0);
    assert_int_equal(t.series_total, 0);
    assert_true(t.has_rights_flag && t.digital_rights);
    assert_string_equal(t.title, "Tricks");
    assert_string_equal(t.series, "");
    assert_string_equal(t.publisher, "Highbridge Company");
    assert_string_equal(t.description, "Five teens.");
    assert_string_equal(t.audience, "Adult");
    assert_string_equal(t.language, "English");
    assert_string_equal(t.media_type, "eAudio");
    assert_int_equal(t.title_prefix, 0);
    assert_string_equal(joined(&t.authors), "Hopkins, Ellen|");
    assert_string_equal(joined(&t.narrators), "Guskin, Laura Flanagan|jeremy|Campbell, Cassandra|Potter, Kirsten|");
    assert_string_equal(joined(&t.genres), "JUVENILE FICTION / Social Themes / Adolescence|");
    assert_string_equal(joined(&t.primary_genres), "juvenile-fiction|");
    assert_string_equal(joined(&t.images), "small|http://i.example/s.jpg|");
    oneclick_title_free(&t);
    oneclick_title_free(&t);
    assert_null(t.memory);
}

/* What nothing is known of reads as nothing. */
static void test_title_of_an_isbn_alone(void **state)
{
    SCOPED(json_object_put) json_object *record = parse("{\"isbn\":\"" ISBN "\"}");
    struct oneclick_title t;
    (void)state;

    assert_false(oneclick_title_read(record, &t).kind);
    const char *const texts[] = {t.title, t.series, t.publisher, t.description, t.audience, t.language, t.media_type};
    for (size_t i = 0; i < COUNT(texts); i++)
        assert_string_equal(texts[i], "");
    const struct oneclick_list *const lists[] = {&t.authors, &t.narrators, &t.genres, &t.primary_genres, &t.images};
    for (size_t i = 0; i < COUNT(lists); i++)
        assert_int_equal(lists[i]->count, 0);
    assert_string_equal(t.publication_date, "");
    assert_int_equal(t.title_id, 0);
    assert_int_equal(t.title_prefix, 0);
    assert_false(t.has_rights_flag || t.digital_rights);
    oneclick_title_free(&t);
}

enum field { TITLE, SERIES, DATE, NARRATORS, GENRES, PRIMARY, IMAGES, NUMBERS };

static const char *field(const struct oneclick_title *t, enum field which)
{
    static char numbers[128];

    switch (which) {
    case TITLE: return t->title;
    case SERIES: return t->series;
    case DATE: return t->publication_date;
    case NARRATORS: return joined(&t->narrators);
    case GENRES: return joined(&t->genres);
    case PRIMARY: return joined(&t->primary_genres);
    case IMAGES: return joined(&t->images);
    default:
        snprintf(numbers, sizeof numbers, "%lld, %d of %d, prefix %zu, rights %d %d", (long long)t->title_id,
                 t->series_position, t->series_total, t->title_prefix, t->has_rights_flag, t->digital_rights);
        return numbers;
    }
}

static void test_title_fields(void **state)
{
    static const struct {
        const char *when, *members;
        enum field field;
        const char *want;
    } rows[] = {
        {"blanks and control characters", "\"title\":\" \\tA\\u0000b\\r\\nc\\u00a0\"", TITLE, "A b  c"},
        {"beyond ASCII", "\"title\":\"Les Mis\\u00e9rables \\ud83d\\ude00\"", TITLE, "Les Mis\xc3\xa9rables \xf0\x9f\x98\x80"},
        {"half a pair of surrogates", "\"title\":\"\\ud83d\"", TITLE, "\xef\xbf\xbd"},
        {"only blanks", "\"title\":\" \\n \"", TITLE, ""},
        {"a number", "\"title\":1984", TITLE, ""},
        {"null", "\"title\":null", TITLE, ""},
        {"an object, as search has it", "\"title\":{\"text\":\"x\"}", TITLE, ""},
        {"a series", "\"seriesName\":\"Tricks\"", SERIES, "Tricks"},
        {"no series", "\"seriesName\":\"Default Blank\"", SERIES, ""},
        {"no series, in other letters", "\"seriesName\":\" default blank\"", SERIES, ""},
        {"a series that begins so", "\"seriesName\":\"Default Blank Verse\"", SERIES, "Default Blank Verse"},
        {"an instant", "\"publicationDate\":\"2009-08-25T00:00:00Z\"", DATE, "2009-08-25"},
        {"an instant with an offset keeps its day", "\"publicationDate\":\"2009-08-25T23:00:00-05:00\"", DATE, "2009-08-25"},
        {"a date alone", "\"publicationDate\":\"2009-08-25\"", DATE, "2009-08-25"},
        {"before 1970", "\"publicationDate\":\"1925-04-10T00:00:00Z\"", DATE, "1925-04-10"},
        {"a leap day", "\"publicationDate\":\"2000-02-29T00:00:00Z\"", DATE, "2000-02-29"},
        {"no leap day", "\"publicationDate\":\"1900-02-29T00:00:00Z\"", DATE, ""},
        {"31 June", "\"publicationDate\":\"2009-06-31T00:00:00Z\"", DATE, ""},
        {"month 13", "\"publicationDate\":\"2009-13-01\"", DATE, ""},
        {"what .NET writes for none", "\"publicationDate\":\"0001-01-01T00:00:00Z\"", DATE, ""},
        {"a year alone", "\"publicationDate\":\"2009\"", DATE, ""},
        {"something behind it", "\"publicationDate\":\"2009-08-255\"", DATE, ""},
        {"as Americans write", "\"publicationDate\":\"08/25/2009\"", DATE, ""},
        {"a number of seconds", "\"publicationDate\":1251158400", DATE, ""},
        {"irregular separators", "\"narrators\":\";;a ;b; ; c;\"", NARRATORS, "a|b|c|"},
        {"only separators", "\"narrators\":\" ; ;\"", NARRATORS, ""},
        {"an empty list", "\"narrators\":\"\"", NARRATORS, ""},
        {"a list, as search has it", "\"narrators\":[\"a\"]", NARRATORS, ""},
        {"commas are in names", "\"narrators\":\"Guskin, Laura;jeremy\"", NARRATORS, "Guskin, Laura|jeremy|"},
        {"two genres", "\"genres\":\"A / B;C / D\"", GENRES, "A / B|C / D|"},
        {"two slugs", "\"primaryGenre\":\"juvenile-fiction, fantasy\"", PRIMARY, "juvenile-fiction|fantasy|"},
        {"two images", "\"images\":[{\"name\":\"small\",\"url\":\"a\"},{\"name\":\"large\",\"url\":\"b\"}]", IMAGES,
         "small|a|large|b|"},
        {"an image without a url", "\"images\":[{\"name\":\"small\"},{\"name\":\"large\",\"url\":\"b\"}]", IMAGES, "large|b|"},
        {"an image without a name", "\"images\":[{\"url\":\"a\"}]", IMAGES, "|a|"},
        {"an image without its list", "\"images\":{\"name\":\"small\",\"url\":\"a\"}", IMAGES, "small|a|"},
        {"no images", "\"images\":[]", IMAGES, ""},
        {"images of another type", "\"images\":[1,null,\"x\"]", IMAGES, ""},
        {"of a series", "\"seriesName\":\"S\",\"seriesPosition\":2,\"seriesTotal\":7", NUMBERS,
         "0, 2 of 7, prefix 0, rights 0 0"},
        {"numbers of no series", "\"seriesName\":\"Default Blank\",\"seriesPosition\":2,\"seriesTotal\":2015", NUMBERS,
         "0, 0 of 0, prefix 0, rights 0 0"},
        {"numbers without a series", "\"seriesPosition\":2,\"seriesTotal\":7", NUMBERS, "0, 0 of 0, prefix 0, rights 0 0"},
        {"a place too far", "\"seriesName\":\"S\",\"seriesPosition\":2147483648,\"seriesTotal\":-1", NUMBERS,
         "0, 0 of 0, prefix 0, rights 0 0"},
        {"a great id", "\"titleId\":\"9007199254740993\"", NUMBERS, "9007199254740993, 0 of 0, prefix 0, rights 0 0"},
        {"an id of another type", "\"titleId\":1.5", NUMBERS, "0, 0 of 0, prefix 0, rights 0 0"},
        {"an article", "\"title\":\"The Wind\",\"language\":\"English\"", NUMBERS, "0, 0 of 0, prefix 4, rights 0 0"},
        {"an article of another language", "\"title\":\"Die Welle\",\"language\":\"German\"", NUMBERS,
         "0, 0 of 0, prefix 4, rights 0 0"},
        {"no rights", "\"hasDigitalRights\":false", NUMBERS, "0, 0 of 0, prefix 0, rights 1 0"},
        {"rights of another type", "\"hasDigitalRights\":\"true\"", NUMBERS, "0, 0 of 0, prefix 0, rights 0 0"},
    };
    (void)state;

    for (size_t i = 0; i < COUNT(rows); i++) {
        struct text written = {0};
        struct oneclick_title t;

        text_printf(&written, "{\"isbn\":\"" ISBN "\",%s}", rows[i].members);
        SCOPED(json_object_put) json_object *record = parse(text_str(&written));
        struct fault f = oneclick_title_read(record, &t);
        if (f.kind || strcmp(field(&t, rows[i].field), rows[i].want))
            fail_msg("%s: '%s' %s", rows[i].when, f.kind ? "" : field(&t, rows[i].field), f.what);
        oneclick_title_free(&t);
        text_free(&written);
    }
}

static void test_isbn(void **state)
{
    static const struct {
        const char *element, *want; /* the ISBN, or the fault */
    } rows[] = {
        {"{\"isbn\":\"" ISBN "\"}", ISBN},
        {"{\"isbn\":\" " ISBN " \"}", ISBN},
        {"{\"isbn\":9781615730186}", ISBN},
        {"{\"isbn\":\"1-61573-018-4\"}", ISBN},
        {"{\"isbn\":\"9780307378102\"}", "isbn 9780307378102: check digit 2, want 1"},
        {"{\"isbn\":\"978161573018\"}", "isbn 978161573018: want 13 digits, found 12"},
        {"{\"isbn\":\"about 9781615730186 and more than forty bytes of words\"}",
         "isbn: want digits, found something else at byte 0"},
        {"{\"isbn\":\"" ISBN ISBN ISBN ISBN "\"}",
         "isbn " ISBN ISBN ISBN ": want 13 digits, found 39"},
        {"{\"isbn\":\"\"}", "isbn: missing, or no text"},
        {"{\"isbn\":null}", "isbn: missing, or no text"},
        {"{\"isbn\":[\"" ISBN "\"]}", "isbn: missing, or no text"},
        {"{}", "isbn: missing, or no text"},
        {"[]", "want an object, found array"},
        {"null", "want an object, found null"},
        {"\"" ISBN "\"", "want an object, found string"},
    };
    (void)state;

    for (size_t i = 0; i < COUNT(rows); i++) {
        SCOPED(json_object_put) json_object *element = parse(rows[i].element);
        char isbn[VALUES_ISBN_SIZE] = "stale";
        struct oneclick_title t = {.title_id = 1};
        struct fault f = oneclick_isbn(element, isbn), of_title = oneclick_title_read(element, &t);

        if (f.kind ? f.kind != FAULT_REJECT || strcmp(f.what, rows[i].want) || isbn[0] : strcmp(isbn, rows[i].want))
            fail_msg("%s: '%s' %s", rows[i].element, isbn, f.what);
        if (f.kind != of_title.kind || strcmp(f.what, of_title.what) || (f.kind && (t.memory || t.title_id || t.isbn[0])))
            fail_msg("%s: as a title: %s", rows[i].element, of_title.what);
        oneclick_title_free(&t);
    }
}

static void test_availability(void **state)
{
    static const struct {
        const char *when, *members, *want; /* "1 instant", or the fault */
    } rows[] = {
        {"as they write it", "\"timeStamp\":\"2016-10-07T16:11:52.5887333Z\",\"mediaType\":\"eBook\",\"availability\":true",
         "1 2016-10-07T16:11:52.5887333Z"},
        {"out", "\"timeStamp\":\"2016-10-07T16:11:52.5887333Z\",\"availability\":false", "0 2016-10-07T16:11:52.5887333Z"},
        {"no fraction", "\"timeStamp\":\"2016-10-07T16:11:52Z\",\"availability\":true", "1 2016-10-07T16:11:52Z"},
        {"nine digits", "\"timeStamp\":\"2016-10-07T16:11:52.123456789Z\",\"availability\":true",
         "1 2016-10-07T16:11:52.123456789Z"},
        {"more", "\"timeStamp\":\"2016-10-07T16:11:52.1234567899999Z\",\"availability\":true",
         "1 2016-10-07T16:11:52.123456789Z"},
        {"an offset", "\"timeStamp\":\"2016-10-07T23:11:52.5887333-05:00\",\"availability\":true",
         "1 2016-10-08T04:11:52.5887333Z"},
        {"an offset and no fraction", "\"timeStamp\":\"2016-10-07T23:11:52+02:00\",\"availability\":true",
         "1 2016-10-07T21:11:52Z"},
        {"no zone, so nobody knows when", "\"timeStamp\":\"2016-10-07T16:11:52.5887333\",\"availability\":true", "1 "},
        {"an empty fraction", "\"timeStamp\":\"2016-10-07T16:11:52.Z\",\"availability\":true", "1 "},
        {"no date", "\"timeStamp\":\"0001-01-01T00:00:00Z\",\"availability\":true", "1 "},
        {"no time stamp", "\"availability\":true", "1 "},
        {"a number", "\"timeStamp\":1475856712,\"availability\":true", "1 "},
        {"a fraction without end", "\"timeStamp\":\"2016-10-07T16:11:52.1234567890123456789012345678901234567890123456789Z\","
         "\"availability\":true", "1 "},
        {"a word", "\"availability\":\"true\"", "availability: want true or false, found string"},
        {"a number of copies", "\"availability\":1", "availability: want true or false, found int"},
        {"null", "\"availability\":null", "availability: want true or false, found null"},
        {"absent", "\"titleId\":42688", "availability: want true or false, found null"},
    };
    struct oneclick_availability got;
    (void)state;

    for (size_t i = 0; i < COUNT(rows); i++) {
        struct text written = {0};
        char line[64];

        text_printf(&written, "{\"isbn\":\"9781441260468\",%s}", rows[i].members);
        SCOPED(json_object_put) json_object *element = parse(text_str(&written));
        struct fault f = oneclick_availability_read(element, &got);
        snprintf(line, sizeof line, "%d %s", got.available, got.at);
        if (strcmp(f.kind ? f.what : line, rows[i].want) || strcmp(got.isbn, f.kind ? "" : "9781441260468"))
            fail_msg("%s: %s %s", rows[i].when, line, f.what);
        text_free(&written);
    }
    SCOPED(json_object_put) json_object *bad = parse("{\"isbn\":\"9780307378102\",\"availability\":true}");
    assert_int_equal(oneclick_availability_read(bad, &got).kind, FAULT_REJECT);
    assert_false(got.available);
}

/* ---- requests ---- */

static void test_requests(void **state)
{
    static const char *const headers[] = {"Authorization: Basic 1f1b2c3d-token==", "Content-Type: application/json",
                                          "Accept: application/json", "Accept-Media: complete"};
    static const char *const targets[] = {
        "/v1/libraries/1931/media/all",
        ("/v1/libraries/1931/media/" ISBN),
        "/v1/libraries/1931/media/delta?begin=2018-07-20&end=2018-08-20",
        "/v1/libraries/1931/book-holdings/delta/available-dates",
        "/v1/libraries/1931/book-holdings/delta?begin=2020-03-14&end=2020-04-14",
        "/v1/libraries/1931/media/eBook/availability",
    };
    struct http_request req = {0};
    (void)state;

    for (size_t i = 0; i < COUNT(targets); i++) {
        switch (i) {
        case 0: oneclick_all_request(&req, "1931", "1f1b2c3d-token=="); break;
        case 1: oneclick_title_request(&req, "1931", "1f1b2c3d-token==", ISBN); break;
        case 2: oneclick_delta_request(&req, "1931", "1f1b2c3d-token==", "2018-07-20", "2018-08-20"); break;
        case 3: oneclick_dates_request(&req, "1931", "1f1b2c3d-token=="); break;
        case 4: oneclick_holdings_request(&req, "1931", "1f1b2c3d-token==", "2020-03-14", "2020-04-14"); break;
        default: oneclick_availability_request(&req, "1931", "1f1b2c3d-token==", "eBook"); break;
        }
        assert_string_equal(req.method, "GET");
        assert_string_equal(text_str(&req.target), targets[i]);
        assert_int_equal(req.body.len, 0);
        assert_int_equal(req.header_count, COUNT(headers));
        for (size_t h = 0; h < COUNT(headers); h++)
            assert_string_equal(text_str(&req.headers[h]), headers[h]);
    }
    oneclick_title_request(&req, "1931", "t", "a/../b c"); /* a blank in a URL is answered 400, as HTML */
    assert_string_equal(text_str(&req.target), "/v1/libraries/1931/media/a%2F..%2Fb%20c");
    http_request_free(&req);
}

/* ---- answers ---- */

/* One situation of any call. */
struct situation {
    const char *when;
    int status;
    const char *content_type, *body;
    enum verdict verdict;
    enum cause cause;
    const char *code;
};

static void check(const char *call, const struct situation *s, struct answer a)
{
    if (a.verdict != s->verdict || a.cause != s->cause || strcmp(a.code, s->code))
        fail_msg("%s: %s: %s, cause %d, %s: %s", call, s->when, verdict_name(a.verdict), a.cause, a.code, a.reason);
}

/* Whatever was asked for. */
static const struct situation common[] = {
    {"a bad token, 200", 200, JSON, "{\"message\":\"Invalid Basic Token or permission denied\"}", LATER, CAUSE_CREDENTIALS,
     "token_refused"},
    {"a bad token, 500", 500, JSON, "{\"message\":\"Error: Invalid Basic Token or permission denied.\"}", LATER,
     CAUSE_CREDENTIALS,
     "token_refused"},
    {"a bad token, 404 in words", 404, "text/plain", "Invalid Basic Token or permission denied", LATER, CAUSE_CREDENTIALS,
     "token_refused"},
    {"a bad token, as a page", 400, HTML, "<html>Invalid Basic Token or permission denied</html>", LATER, CAUSE_CREDENTIALS,
     "token_refused"},
    {"401", 401, JSON,
     "{\"message\":\"This endpoint can be called by authorized trusted app, authenticated patron, and trusted "
     "partner only.\"}", LATER, CAUSE_CREDENTIALS, "token_refused"},
    {"403", 403, HTML, "", LATER, CAUSE_CREDENTIALS, "token_refused"},
    {"429", 429, JSON, "{\"message\":\"slow\"}", LATER, CAUSE_RATE, "rate"},
    {"the library is not known", 200, JSON, "{\"message\":\"eXtensible Framework is not amused\"}", LATER, CAUSE_VENDOR,
     "refused"},
    {"a bare string", 200, JSON, "\"Hold or Checkout already exists.\"", LATER, CAUSE_VENDOR, "refused"},
    {"a message that is no text", 200, JSON, "{\"message\":[1]}", LATER, CAUSE_VENDOR, "refused"},
    {"an empty message", 200, JSON, "{\"message\":\"\"}", LATER, CAUSE_VENDOR, "refused"},
    {"a message in a 201", 201, JSON, "{\"message\":\"no\"}", LATER, CAUSE_VENDOR, "refused"},
    {"SQL: bad input", 500, JSON, "{\"message\":\"" SQL " at SQLPROD7\\r\\nSELECT * FROM \"}", LATER, CAUSE_WORK, "bad_input"},
    {"SQL, in words", 500, "text/plain", SQL, LATER, CAUSE_WORK, "bad_input"},
    {"SQL, in other letters", 500, JSON, "{\"message\":\"extensible framework ENCOUNTERED a sqlexception\"}", LATER, CAUSE_WORK,
     "bad_input"},
    {"SQL later on", 500, JSON, "{\"message\":\"then " SQL "\"}", LATER, CAUSE_VENDOR, "unwell"},
    {"SQL with another status", 502, JSON, "{\"message\":\"" SQL "\"}", LATER, CAUSE_VENDOR, "unwell"},
    {"a blank in the URL", 400, HTML, SPACE_IN_URL, LATER, CAUSE_WORK, "bad_input"},
    {"400 in JSON", 400, JSON, "{\"message\":\"The request is invalid.\"}", LATER, CAUSE_WORK, "bad_input"},
    {"400 empty", 400, "", "", LATER, CAUSE_WORK, "bad_input"},
    {"404", 404, JSON, "{\"message\":\"Patron not found.\"}", LATER, CAUSE_VENDOR, "not_there"},
    {"404 as a page", 404, HTML, "<html>404</html>", LATER, CAUSE_VENDOR, "not_there"},
    {"409", 409, JSON, "\"no\"", LATER, CAUSE_VENDOR, "refused"},
    {"405", 405, "", "", LATER, CAUSE_VENDOR, "refused"},
    {"301", 301, HTML, "", LATER, CAUSE_VENDOR, "redirected"},
    {"302", 302, HTML, "<html>Object moved</html>", LATER, CAUSE_VENDOR, "redirected"},
    {"500", 500, JSON, "{\"message\":\"boom\"}", LATER, CAUSE_VENDOR, "unwell"},
    {"500 empty", 500, "", "", LATER, CAUSE_VENDOR, "unwell"},
    {"503 as a page", 503, HTML, "<html>busy</html>", LATER, CAUSE_VENDOR, "unwell"},
    {"504", 504, "", "", LATER, CAUSE_VENDOR, "unwell"},
    {"100", 100, "", "", LATER, CAUSE_VENDOR, "garbled"},
};

static void test_common_answers(void **state)
{
    (void)state;

    for (size_t i = 0; i < COUNT(common); i++) {
        struct http_response res = answered(common[i].status, common[i].content_type, common[i].body);
        struct oneclick_title title;
        struct oneclick_dates dates;

        check("title", &common[i], oneclick_title_answer(&res, ISBN, &title));
        assert_null(title.memory);
        check("dates", &common[i], oneclick_dates_answer(&res, &dates));
        assert_null(dates.days);
        check("list", &common[i], oneclick_list_answer(&res, false));
        check("whole list", &common[i], oneclick_list_answer(&res, true));
    }
}

static void test_title_answers(void **state)
{
    static const struct situation situations[] = {
        {"found", 200, JSON, TRICKS, DONE, CAUSE_WORK, "found"},
        {"found, a byte order mark in front", 200, JSON, "\xef\xbb\xbf" TRICKS, DONE, CAUSE_WORK, "found"},
        {"found, an ISBN alone", 200, "", "{\"isbn\":\"" ISBN "\",\"message\":null}", DONE, CAUSE_WORK, "found"},
        {"not found", 200, JSON, "{\"message\":\"" NOT_HERE " with ISBN\"}", DONE, CAUSE_WORK, "not_in_library"},
        {"not found, 400", 400, JSON, "{\"message\":\"" NOT_HERE "\"}", DONE, CAUSE_WORK, "not_in_library"},
        {"not found, 404", 404, JSON, "{\"message\":\"" NOT_HERE "\"}", DONE, CAUSE_WORK, "not_in_library"},
        {"not found, 500", 500, JSON, "{\"message\":\"" NOT_HERE "\"}", DONE, CAUSE_WORK, "not_in_library"},
        {"not found, in other letters", 200, JSON, "{\"message\":\"EXTENSIBLE framework was unable to locate the resource\"}",
         DONE,
         CAUSE_WORK, "not_in_library"},
        {"the other text", 200, JSON, "{\"message\":\"" BAD_ISBN "978\"}", DONE, CAUSE_WORK, "not_in_library"},
        {"the other text, 400", 400, JSON, "{\"message\":\"" BAD_ISBN "\"}", DONE, CAUSE_WORK, "not_in_library"},
        {"not found, 502", 502, JSON, "{\"message\":\"" NOT_HERE "\"}", LATER, CAUSE_VENDOR, "unwell"},
        {"not found, 429", 429, JSON, "{\"message\":\"" NOT_HERE "\"}", LATER, CAUSE_RATE, "rate"},
        {"not found, in a page", 404, HTML, "<html>" NOT_HERE "</html>", LATER, CAUSE_VENDOR, "not_there"},
        {"not found, but no JSON", 404, "text/plain", NOT_HERE, LATER, CAUSE_VENDOR, "not_there"},
        {"not found, later on", 200, JSON, "{\"message\":\"Sorry: " NOT_HERE "\"}", LATER, CAUSE_VENDOR, "refused"},
        {"another ISBN", 200, JSON, "{\"isbn\":\"9781441260468\"}", LATER, CAUSE_VENDOR, "garbled"},
        {"a bad ISBN", 200, JSON, "{\"isbn\":\"9780307378102\"}", LATER, CAUSE_VENDOR, "garbled"},
        {"success of what?", 200, JSON, "{\"message\":\"success\"}", LATER, CAUSE_VENDOR, "garbled"},
        {"empty", 200, JSON, "", LATER, CAUSE_VENDOR, "garbled"},
        {"204", 204, "", "", LATER, CAUSE_VENDOR, "garbled"},
        {"a page", 200, HTML, "<html></html>", LATER, CAUSE_VENDOR, "garbled"},
        {"cut short", 200, JSON, "{\"isbn\":\"" ISBN "\"", LATER, CAUSE_VENDOR, "garbled"},
        {"a list", 200, JSON, "[" TRICKS "]", LATER, CAUSE_VENDOR, "garbled"},
        {"a number", 200, JSON, "9828560", LATER, CAUSE_VENDOR, "garbled"},
        {"an empty object", 200, JSON, "{}", LATER, CAUSE_VENDOR, "garbled"},
        {"null", 200, JSON, "null", LATER, CAUSE_VENDOR, "garbled"},
    };
    (void)state;

    for (size_t i = 0; i < COUNT(situations); i++) {
        struct http_response res = answered(situations[i].status, situations[i].content_type, situations[i].body);
        struct oneclick_title title;
        struct answer a = oneclick_title_answer(&res, ISBN, &title);

        check("title", &situations[i], a);
        if (strcmp(a.code, "found") ? title.memory != NULL : strcmp(title.isbn, ISBN) != 0)
            fail_msg("%s: the title is not as it should be", situations[i].when);
        oneclick_title_free(&title);
    }
}

static void test_list_answers(void **state)
{
    static const struct {
        struct situation s;
        bool listed;
    } rows[] = {
        {{"a list", 200, JSON, "", DONE, CAUSE_WORK, "listed"}, true},
        {{"a list and members beside it", 200, JSON, "{\"tenantId\":1931,\"booksAddedCount\":1}", DONE, CAUSE_WORK, "listed"},
          true},
        {{"success", 200, JSON, "{\"message\":\"success\"}", DONE, CAUSE_WORK, "listed"}, true},
        {{"nothing", 200, JSON, "", LATER, CAUSE_VENDOR, "garbled"}, false},
        {{"204", 204, JSON, "", LATER, CAUSE_VENDOR, "garbled"}, false},
        {{"an object that is none", 200, JSON, "{\"tenantId\":1931}", LATER, CAUSE_VENDOR, "garbled"}, false},
        {{"a list that is not whole, with a message", 200, JSON, "{\"message\":\"Timeout expired\"}", LATER, CAUSE_VENDOR,
          "refused"},
         false},
        {{"not in the library: no answer to a list", 200, JSON, "{\"message\":\"" NOT_HERE "\"}", LATER, CAUSE_VENDOR,
          "refused"}, true},
        {{"a list with 500", 500, JSON, "", LATER, CAUSE_VENDOR, "unwell"}, true},
    };
    (void)state;

    for (size_t i = 0; i < COUNT(rows); i++) {
        struct http_response res = answered(rows[i].s.status, rows[i].s.content_type, rows[i].s.body);

        check("list", &rows[i].s, oneclick_list_answer(&res, rows[i].listed));
    }
}

static void test_exchanges_without_an_answer(void **state)
{
    struct http_response res = {.end = HTTP_NOT_SENT, .content_type = "", .body = "", .watched = "", .retry_after_ms = -1,
                                .error = "could not connect"};
    struct oneclick_title title;
    struct oneclick_dates dates;
    (void)state;

    for (res.end = HTTP_NOT_SENT;; res.end = HTTP_UNKNOWN) {
        const char *code = res.end == HTTP_UNKNOWN ? "no_answer" : "unreachable";
        struct situation s = {"no answer", 0, "", "", LATER, CAUSE_VENDOR, code};
        check("title", &s, oneclick_title_answer(&res, ISBN, &title));
        check("list", &s, oneclick_list_answer(&res, true));
        check("dates", &s, oneclick_dates_answer(&res, &dates));
        if (res.end == HTTP_UNKNOWN)
            break;
    }
    res = answered(429, "", "");
    res.retry_after_ms = 7000;
    assert_int_equal(oneclick_list_answer(&res, false).wait_ms, 7000);
    res.status = 503;
    assert_int_equal(oneclick_title_answer(&res, ISBN, &title).wait_ms, 7000);
    res.retry_after_ms = -1;
    assert_int_equal(oneclick_title_answer(&res, ISBN, &title).wait_ms, -1);
}

static void test_reasons_are_discreet(void **state)
{
    static const char leak[] = "{\"message\":\"" SQL ": Login failed for user rbdigital@SQLPROD7\\\\inst\\r\\n  SELECT barcode "
                               "FROM patrons WHERE pin = 4711 and name = 'x'; and so on and so on and so on and so on\"}";
    struct oneclick_title title;
    (void)state;

    struct http_response res = answered(500, JSON, leak);
    assert_string_equal(oneclick_title_answer(&res, ISBN, &title).reason,
                        "OneClick dislikes what it was asked (HTTP 500): eXtensible Framework encountered a SqlException: "
                        "Login failed for user … SELECT");
    res = answered(404, HTML, "<html>secret.internal.example</html>");
    assert_string_equal(oneclick_title_answer(&res, ISBN, &title).reason,
                        "OneClick does not know the path: are ONECLICK_URL and ONECLICK_LIBRARY_ID right? (HTTP 404)");
}

/* ---- snapshots and days ---- */

static void test_dates(void **state)
{
    static const struct {
        const char *when, *body, *want; /* "day|day|", or the code */
    } rows[] = {
        {"unsorted, one twice",
         "[{\"tenantId\":1931,\"asOf\":\"2020-04-14\",\"eBookCount\":1646,\"eAudioCount\":13468,\"totalCount\":15114},"
         "{\"asOf\":\"2016-04-01\"},{\"asOf\":\"2018-10-03\"},{\"asOf\":\"2016-05-01\"},{\"asOf\":\"2018-10-03\"}]",
         "2016-04-01|2016-05-01|2018-10-03|2020-04-14|"},
        {"as instants", "[{\"asOf\":\"2020-04-14T00:00:00Z\"}]", "2020-04-14|"},
        {"rows that cannot be read",
         "[{\"asOf\":\"2020-04-31\"},{\"asOf\":7},{},null,[],{\"asOf\":\"1969-12-31\"},"
         "{\"asOf\":\"0001-01-01\"},{\"asOf\":\"2020-04-14\"}]",
         "2020-04-14|"},
        {"none", "[]", ""},
        {"no row can be read", "[{\"date\":\"2020-04-14\"}]", "garbled"},
        {"an object", "{\"asOf\":\"2020-04-14\"}", "garbled"},
        {"empty", "", "garbled"},
        {"cut short", "[{\"asOf\":\"2020-04-14\"}", "garbled"},
        {"a message", "{\"message\":\"no\"}", "refused"},
    };
    (void)state;

    for (size_t i = 0; i < COUNT(rows); i++) {
        struct http_response res = answered(200, JSON, rows[i].body);
        struct oneclick_dates dates;
        struct text all = {0};
        struct answer a = oneclick_dates_answer(&res, &dates);

        for (size_t d = 0; d < dates.count; d++) {
            char date[11];
            oneclick_date(dates.days[d], date);
            text_printf(&all, "%s|", date);
        }
        if (strcmp(a.verdict == DONE ? text_str(&all) : a.code, rows[i].want) || (a.verdict == DONE && strcmp(a.code,
        "listed")))
            fail_msg("%s: %s %s %s", rows[i].when, text_str(&all), a.code, a.reason);
        oneclick_dates_free(&dates);
        oneclick_dates_free(&dates);
        text_free(&all);
    }
}

/* The snapshots of the vendor's clients' own tests, months apart, then days. */
static void test_align(void **state)
{
    static const char *const written[] = {"2016-04-01", "2016-05-01", "2016-06-01", "2016-07-01", "2016-09-01", "2016-10-01",
                                          "2018-10-03", "2020-03-14", "2020-03-22", "2020-04-14"};
    static const struct {
        const char *begin, *end, *want_begin, *want_end; /* NULL: nothing lies between */
    } rows[] = {
        {"2016-06-15", "2020-03-22", "2016-06-01", "2020-03-22"},
        {"2016-05-31", "2016-09-02", "2016-05-01", "2016-10-01"},
        {"1970-01-01", "2999-12-31", "2016-04-01", "2020-04-14"},
        {"2020-03-14", "2020-04-14", "2020-03-14", "2020-04-14"},
        {"2020-03-15", "2020-03-16", "2020-03-14", "2020-03-22"},
        {"2020-04-14", "2020-04-15", NULL, NULL},
        {"2020-05-01", "2020-06-01", NULL, NULL},
        {"2015-01-01", "2016-03-01", NULL, NULL},
        {"2020-03-14", "2020-03-14", NULL, NULL},
        {"2020-04-14", "2016-04-01", NULL, NULL},
    };
    int64_t days[COUNT(written)], begin, end;
    struct oneclick_dates dates = {.days = days, .count = COUNT(written)};
    (void)state;

    for (size_t i = 0; i < COUNT(written); i++)
        days[i] = oneclick_day(written[i]);
    for (size_t i = 0; i < COUNT(rows); i++) {
        bool between = oneclick_align(&dates, oneclick_day(rows[i].begin), oneclick_day(rows[i].end), &begin, &end);
        if (between != (rows[i].want_begin != NULL) ||
            (between && (begin != oneclick_day(rows[i].want_begin) || end != oneclick_day(rows[i].want_end))))
            fail_msg("%s to %s: %d, %lld to %lld", rows[i].begin, rows[i].end, between, (long long)begin, (long long)end);
    }
    /* 1960 is before the first day there is: -1 and what lies further back are before any snapshot */
    assert_true(oneclick_align(&dates, -3653, oneclick_day("2999-12-31"), &begin, &end));
    assert_true(begin == days[0] && end == days[COUNT(written) - 1]);
    dates.count = 1;
    assert_false(oneclick_align(&dates, 0, 99999, &begin, &end));
    dates.count = 0;
    assert_false(oneclick_align(&dates, 0, 99999, &begin, &end));
}

static void test_days(void **state)
{
    static const struct {
        const char *date;
        int64_t want;
    } rows[] = {
        {"1970-01-01", 0},   {"1970-01-02", 1},  {"2016-02-29", 16860}, {"2020-04-14", 18366}, {"9999-12-31", 2932896},
        {"1969-12-31", -1},  {"2017-02-29", -1}, {"2020-04-31", -1},    {"2020-4-14", -1},     {"2020-04-14T00:00:00Z", -1},
        {"2020-04-14 ", -1}, {"20200414", -1},   {"", -1},              {"yesterday!", -1},
    };
    char date[11];
    (void)state;

    for (size_t i = 0; i < COUNT(rows); i++) {
        if (oneclick_day(rows[i].date) != rows[i].want)
            fail_msg("%s: %lld", rows[i].date, (long long)oneclick_day(rows[i].date));
        if (rows[i].want < 0)
            continue;
        oneclick_date(rows[i].want, date);
        assert_string_equal(date, rows[i].date);
    }
}

static void test_windows(void **state)
{
    static const struct {
        const char *when;
        int64_t done, today, want_begin, want_end; /* want_end -1: only an import helps */
    } rows[] = {
        {"yesterday", 999, 1000, 999, 1000},
        {"today already", 1000, 1000, 1000, 1000},
        {"as wide as may be", 940, 1000, 940, 1000},
        {"wider", 939, 1000, 939, 999},
        {"as far back as may be", 820, 1000, 820, 880},
        {"further", 819, 1000, 0, -1},
        {"never", -1, 1000, 0, -1},
        {"a clock that went back", 1005, 1000, 1000, 1000},
    };
    (void)state;

    for (size_t i = 0; i < COUNT(rows); i++) {
        int64_t begin, end;
        bool helps = oneclick_window(rows[i].done, rows[i].today, &begin, &end);

        if (helps != (rows[i].want_end >= 0) || (helps && (begin != rows[i].want_begin || end != rows[i].want_end)))
            fail_msg("%s: %d, %lld to %lld", rows[i].when, helps, (long long)begin, (long long)end);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_title),
        cmocka_unit_test(test_title_of_an_isbn_alone),
        cmocka_unit_test(test_title_fields),
        cmocka_unit_test(test_isbn),
        cmocka_unit_test(test_availability),
        cmocka_unit_test(test_requests),
        cmocka_unit_test(test_common_answers),
        cmocka_unit_test(test_title_answers),
        cmocka_unit_test(test_list_answers),
        cmocka_unit_test(test_exchanges_without_an_answer),
        cmocka_unit_test(test_reasons_are_discreet),
        cmocka_unit_test(test_dates),
        cmocka_unit_test(test_align),
        cmocka_unit_test(test_days),
        cmocka_unit_test(test_windows),
    };

    return cmocka_run_group_tests_name("oneclick", tests, NULL, NULL);
}

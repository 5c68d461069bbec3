/* What oneclick-requests decides: which calls are made for a request, in which order, and what comes of it. */
#include "workers/oneclick-requests/actions.c"
#include "workers/oneclick-requests/person.c"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#pragma GCC diagnostic ignored "-Wmissing-field-initializers" /* a scene says what it has, and no more */

#define ISBN "9781441260468"
#define OTHER "9781426893483"
#define NOW INT64_C(1476403200) /* 2016-10-14T00:00Z, the evening of the 13th there */

/* Answers. */
#define FOUND 200, "{\"patronId\":939981,\"userId\":\"946b9b06\"}"
#define FOUND_BARE 200, "{\"patronId\":939981}"
#define NOBODY 200, "{\"message\":\"eXtensible Framework was unable to locate the resource for " \
    "RB.API.OneClick.UserPatron.Get\"}"
#define GONE_PATRON 404, "{\"message\":\"Patron not found.\"}"
#define PATRON_OF(card) 200, "{\"patronId\":939981,\"libraryCardNumber\":\"" card "\"}"
#define CREATED 201, "{\"patron\":{\"patronId\":940000,\"libraryCardNumber\":\"\"}}"
#define EXISTS 409, "{\"message\":\"A patron account with the specified username, email address, or card number already " \
    "exists for this library.\"}"
#define NONE 200, "[]"
#define LOAN_UNTIL(day, renew) 200, "[{\"isbn\":\"" ISBN "\",\"expiration\":\"" day "\",\"canRenew\":" renew "," \
    "\"transactionId\":7}]"
#define LOAN LOAN_UNTIL("2016-10-20", "true")
#define HELD_THERE 200, "[{\"isbn\":\"" ISBN "\",\"expiration\":\"2050-12-31\",\"transactionId\":8}]"
#define NOT_READABLE 200, "[{\"title\":\"?\"}]"
#define LENT 200, "{\"output\":\"SUCCESS\",\"transactionId\":7}"
#define RENEWED 200, "{\"output\":\"success\"}"
#define SUCCESS 200, "{\"message\":\"success\"}"
#define SHELVED 200, "{\"isbn\":\"" ISBN "\",\"availability\":true}"
#define OUT 200, "{\"isbn\":\"" ISBN "\",\"availability\":false}"
#define SQL 500, "{\"message\":\"eXtensible Framework encountered a SqlException\"}"
#define ERROR 200, "{\"message\":\"An error has occurred.\"}"
#define LOST 0, ""

#define IT "\"isbn\":\"" ISBN "\""
#define LOAN_OUT(day, at)                                                                                                  \
    "{\"loan\":{" IT ",\"transaction_id\":\"7\",\"expiration\":\"" day "\",\"ends_at\":\"" at "T04:00:00Z\"," \
    "\"computed\":false," \
    "\"can_renew\":true,\"files\":[]}}"
#define THE_LOAN LOAN_OUT("2016-10-20", "2016-10-20")
#define THE_HOLD "{\"hold\":{" IT ",\"transaction_id\":\"8\"}}"
#define REFUSAL "\"refused\":{\"code\":\"refused\",\"words\":\"An error has occurred.\"}"

struct scene {
    const char *when, *action, *asked;
    struct { enum step step; int status; const char *body; } calls[8]; /* up to the one without a body */
    const char *end;                      /* "verdict code", and the state where it is another than the verdict's */
    const char *outcome, *learned, *words; /* NULL: none */
    const char *known;                    /* NULL: nothing */
    bool doubt, stranger;                 /* stranger: who the patron is has yet to be found */
    const char *patron;                   /* NULL: a card */
};

static const struct terms usual = {.default_days = 7, .follow_seconds = 30, .follow_hours = 24, .email = "library@example.edu"};

static void begin_scene(const struct scene *s, struct job *job)
{
    struct fault f;

    *job = (struct job){.terms = &usual, .doubt = s->doubt, .remembered = !s->stranger};
    f = json_read(s->asked, strlen(s->asked), &job->request.asked);
    if (!f.kind)
        f = json_read(s->known ? s->known : "{}", strlen(s->known ? s->known : "{}"), &job->request.known);
    text_copy(job->request.action, sizeof job->request.action, s->action);
    text_copy(job->request.patron, sizeof job->request.patron, s->patron ? s->patron : "22334");
    job->request.now = NOW;
    if (!s->stranger)
        job->person = (struct oneclick_person){.patron_id = "900000", .user_id = "00000000"};
    if (!f.kind)
        f = oneclick_asked_read(&job->request, &job->asked);
    if (f.kind)
        fail_msg("%s: %s", s->when, f.what);
    person_begin(job);
}

static struct answer answer_scene(struct job *job, int status, const char *body)
{
    struct http_response res = {.end = status ? HTTP_ANSWERED : HTTP_UNKNOWN, .status = status,
    .content_type = "application/json",
                                .body = body, .body_len = strlen(body), .watched = "", .retry_after_ms = -1,
                                .error = "time-out"};

    return job->step <= CREATE ? person_answer(job, &res) : action_answer(job, &res);
}

static void compare(const struct scene *s, const char *what, const char *got, const char *want)
{
    if (strcmp(got, want ? want : ""))
        fail_msg("%s: %s: %s", s->when, what, got);
}

static void end_scene(struct job *job)
{
    json_object_put(job->rows);
    text_free(&job->target);
    request_release(job);
}

static void play(const struct scene *s)
{
    char end[80];
    struct job job;
    size_t at = 0;

    begin_scene(s, &job);
    struct answer a = person_ask(&job);
    for (; a.verdict == AGAIN && at < COUNT(s->calls) && s->calls[at].body; at++) {
        if (job.step != s->calls[at].step)
            fail_msg("%s: call %zu is %d, not %d", s->when, at, (int)job.step, (int)s->calls[at].step);
        a = answer_scene(&job, s->calls[at].status, s->calls[at].body);
    }
    if (a.verdict == AGAIN)
        snprintf(end, sizeof end, "again %d", (int)job.step);
    else
        snprintf(end, sizeof end, "%s %s%s%s", verdict_name(a.verdict), a.code, job.request.state ? " " : "",
                 job.request.state ? job.request.state : "");
    compare(s, "the end", end, s->end);
    if (at < COUNT(s->calls) && s->calls[at].body)
        fail_msg("%s: %zu calls", s->when, at);
    compare(s, "outcome", text_str(&job.request.outcome), s->outcome);
    compare(s, "learned", text_str(&job.request.learned), s->learned);
    compare(s, "words", job.request.words, s->words);
    end_scene(&job);
}

static void play_all(const struct scene *scenes, size_t count)
{
    for (size_t i = 0; i < count; i++)
        play(&scenes[i]);
}

/* ---- who the patron is ---- */

#define NEW "{" IT ",\"create\":true}"
#define NEW_WITH_EMAIL "{" IT ",\"create\":true,\"email\":\"ada@x.example\"}"

static void test_people(void **state)
{
    static const struct scene scenes[] = {
        {"found by card", "loans", "{}", {{FIND, FOUND}, {LOANS, NONE}}, "done listed", "{\"loans\":[]}", .stranger = true},
        {"by the e-mail that was made of the card", "loans", "{}", {{FIND, NOBODY}, {FIND_BY_EMAIL, FOUND}, {LOANS, NONE}},
         "done listed", "{\"loans\":[]}", .stranger = true},
        {"an e-mail that nobody has", "loans", "{}", {{FIND, NOBODY}}, "rejected no_patron", .stranger = true,
         .patron = "ada@x.example"},
        {"nobody", "loans", "{}", {{FIND, NOBODY}, {FIND_BY_EMAIL, NOBODY}}, "rejected no_patron", .stranger = true},
        {"nobody, and not to be made", "checkout", "{" IT ",\"create\":false}", {{FIND, NOBODY}, {FIND_BY_EMAIL, NOBODY}},
         "rejected no_patron", .stranger = true},
        {"a card that OneClick cannot digest", "loans", "{}", {{FIND, SQL}}, "rejected bad_input", .stranger = true},
        {"OneClick is unwell", "loans", "{}", {{FIND, 503, "x"}}, "later unwell", .stranger = true},
        {"remembered, and OneClick has another now", "loans", "{}", {{LOANS, GONE_PATRON}, {FIND, FOUND}, {LOANS, NONE}},
         "done listed", "{\"loans\":[]}"},
        {"remembered, and OneClick has none", "loans", "{}", {{LOANS, GONE_PATRON}, {FIND, NOBODY}, {FIND_BY_EMAIL, NOBODY}},
         "rejected no_patron"},
        {"found, and gone at once", "loans", "{}", {{FIND, FOUND}, {LOANS, GONE_PATRON}}, "rejected no_patron",
         .stranger = true},
        {"a search is nobody's", "search", "{}", {{SEARCH, 200, "{\"pageIndex\":0,\"pageCount\":0,\"items\":[]}"}},
         "done found",
         "{\"page\":0,\"pages\":0,\"page_size\":0,\"total\":0,\"items\":[],\"facets\":[]}", .stranger = true},

        {"made", "hold", NEW, {{FIND, NOBODY}, {FIND_BY_EMAIL, NOBODY}, {CREATE, CREATED}}, "again 6", .stranger = true},
        {"made, and the answer lost", "hold", NEW, {{FIND, NOBODY}, {FIND_BY_EMAIL, NOBODY}, {CREATE, LOST}},
         "unknown no_answer",
         .stranger = true},
        {"after that it is there", "hold", NEW, {{FIND, NOBODY}, {FIND_BY_EMAIL, FOUND}, {HOLDS, NONE}, {LOANS, NONE}},
         "step not_held", .stranger = true, .doubt = true},
        {"or it is not: it is made only when that is committed", "hold", NEW, {{FIND, NOBODY}, {FIND_BY_EMAIL, NOBODY}},
         "step not_created", .stranger = true, .doubt = true},
        {"500 to a creation", "hold", NEW, {{FIND, NOBODY}, {FIND_BY_EMAIL, NOBODY}, {CREATE, 500, ""}}, "unknown unwell",
         .stranger = true},
        {"200 is no creation", "hold", NEW, {{FIND, NOBODY}, {FIND_BY_EMAIL, NOBODY}, {CREATE, 200,
         "{\"patron\":{\"patronId\":1}}"}},
         "unknown garbled", .stranger = true},
        {"it exists after all", "hold", NEW, {{FIND, NOBODY}, {FIND_BY_EMAIL, NOBODY}, {CREATE, EXISTS}, {FIND_BY_EMAIL,
         FOUND}},
         "again 6", .stranger = true},
        {"it exists, and nobody finds it", "hold", NEW,
         {{FIND, NOBODY}, {FIND_BY_EMAIL, NOBODY}, {CREATE, EXISTS}, {FIND_BY_EMAIL, NOBODY}}, "rejected patron_exists",
         .words = "A patron account with the specified username, email address, or card number already exists for this "
         "library.",
         .stranger = true},
        {"an e-mail of the person's, whose card is this", "hold", NEW_WITH_EMAIL,
         {{FIND, NOBODY}, {FIND_BY_EMAIL, FOUND}, {READ_PATRON, PATRON_OF("22334")}}, "again 6", .stranger = true},
        {"whose card is not said", "hold", NEW_WITH_EMAIL, {{FIND, NOBODY}, {FIND_BY_EMAIL, FOUND}, {READ_PATRON,
         PATRON_OF("")}},
         "again 6", .stranger = true},
        {"whose card is another's", "hold", NEW_WITH_EMAIL,
         {{FIND, NOBODY}, {FIND_BY_EMAIL, FOUND}, {READ_PATRON, PATRON_OF("99999")}}, "rejected other_card", .stranger = true},
        {"it exists, with another card", "hold", NEW_WITH_EMAIL,
         {{FIND, NOBODY}, {FIND_BY_EMAIL, NOBODY}, {CREATE, EXISTS}, {FIND_BY_EMAIL, FOUND}, {READ_PATRON, PATRON_OF("99999")}},
         "rejected other_card", .stranger = true},
        {"no card to be made of", "hold", NEW, {{FIND, NOBODY}}, "rejected no_card", .stranger = true,
         .patron = "ada@x.example"},
    };
    (void)state;

    play_all(scenes, COUNT(scenes));
}

static void test_newcomers(void **state)
{
    static const struct scene plain = {.when = "no e-mail", .action = "hold", .asked = NEW, .stranger = true};
    static const struct scene told = {.when = "an e-mail", .action = "hold", .asked = NEW_WITH_EMAIL, .stranger = true};
    static const struct terms none = {.default_days = 7};
    struct job job, other;
    (void)state;

    begin_scene(&plain, &job);
    assert_string_equal(job.email, "library+rbdigital-22334@example.edu");
    make_up(&job);
    struct oneclick_newcomer who = person_newcomer(&job);
    assert_string_equal(who.card, "22334");
    assert_int_equal(strlen(who.suffix), ONECLICK_SUFFIX_SIZE - 1);
    assert_int_equal(strlen(who.password), 16);
    assert_string_equal(who.first_name, "Library");
    begin_scene(&plain, &other);
    make_up(&other);
    assert_string_not_equal(job.password, other.password);
    end_scene(&job);
    end_scene(&other);

    begin_scene(&told, &job);
    assert_string_equal(job.email, "ada@x.example");
    make_up(&job);
    assert_string_equal(person_newcomer(&job).suffix, "");
    end_scene(&job);

    begin_scene(&plain, &job);
    job.terms = &none;
    person_begin(&job);
    person_ask(&job);
    struct answer a = answer_scene(&job, NOBODY);
    assert_string_equal(a.code, "no_email");
    end_scene(&job);
}

/* ---- loans ---- */

#define BEFORE_IT "\"renew\":{\"expiration\":\"2016-10-20\",\"transaction_id\":\"7\"}"

static void test_loans(void **state)
{
    static const struct scene scenes[] = {
        {"lent", "checkout", "{" IT "}", {{CHECKOUT, LENT}}, "done borrowed",
         "{\"loan\":{" IT ",\"transaction_id\":\"7\",\"expiration\":\"2016-10-20\",\"ends_at\":\"2016-10-20T04:00:00Z\","
         "\"computed\":true}}"},
        {"lent for three days", "checkout", "{" IT ",\"days\":3}", {{CHECKOUT, LENT}}, "done borrowed",
         "{\"loan\":{" IT ",\"transaction_id\":\"7\",\"expiration\":\"2016-10-16\",\"ends_at\":\"2016-10-16T04:00:00Z\","
         "\"computed\":true}}"},
        {"lent already", "checkout", "{" IT "}", {{CHECKOUT, 409, "{\"message\":\"Checkout item already exists\"}"}, {LOANS,
         LOAN}},
         "done already", THE_LOAN},
        {"lent already, and not listed", "checkout", "{" IT "}",
         {{CHECKOUT, 409, "{\"message\":\"Checkout item already exists\"}"}, {LOANS, NONE}}, "later contradiction"},
        {"not available", "checkout", "{" IT "}", {{CHECKOUT, 409, "{\"message\":\"Title is not available for checkout\"}"}},
         "rejected not_available", "{\"offer\":\"hold\"}", .words = "Title is not available for checkout"},
        {"too many", "checkout", "{" IT "}", {{CHECKOUT, 409, "{\"message\":\"Maximum checkout count reached.\"}"}},
         "rejected limit", .words = "Maximum checkout count reached."},
        {"a lost answer", "checkout", "{" IT "}", {{CHECKOUT, LOST}}, "unknown no_answer"},
        {"after which it is there", "checkout", "{" IT "}", {{LOANS, LOAN}}, "done borrowed", THE_LOAN, .doubt = true},
        {"or not: sent again when that is committed", "checkout", "{" IT "}", {{LOANS, NONE}}, "step not_borrowed",
         .doubt = true},
        {"or nobody can tell", "checkout", "{" IT "}", {{LOANS, NOT_READABLE}}, "later garbled", .doubt = true},
        {"an error that may follow upon having done it", "checkout", "{" IT "}", {{CHECKOUT, ERROR}}, "unknown refused",
         .learned = "{" REFUSAL "}"},
        {"it had", "checkout", "{" IT "}", {{LOANS, LOAN}}, "done borrowed", THE_LOAN, .known = "{" REFUSAL "}", .doubt = true},
        {"it had not: it was a refusal", "checkout", "{" IT "}", {{LOANS, NONE}}, "rejected refused", .known = "{" REFUSAL "}",
         .words = "An error has occurred.", .doubt = true},
        {"SQL", "checkout", "{" IT "}", {{CHECKOUT, SQL}}, "unknown bad_input",
         .learned = "{\"refused\":{\"code\":\"bad_input\",\"words\":\"\"}}"},
        {"SQL, and not done", "checkout", "{" IT "}", {{LOANS, NONE}}, "rejected bad_input",
         .known = "{\"refused\":{\"code\":\"bad_input\",\"words\":\"\"}}", .doubt = true},
        {"400", "checkout", "{" IT "}", {{CHECKOUT, 400, "<HTML>"}}, "rejected bad_input"},

        {"a renewal looks first", "renew", "{" IT "}", {{LOANS, LOAN}}, "step read", .learned = "{" BEFORE_IT "}"},
        {"what is not lent", "renew", "{" IT "}", {{LOANS, NONE}}, "rejected not_on_loan"},
        {"what cannot be renewed", "renew", "{" IT "}", {{LOANS, LOAN_UNTIL("2016-10-20", "false")}}, "rejected not_renewable"},
        {"nobody can tell", "renew", "{" IT "}", {{LOANS, NOT_READABLE}}, "later garbled"},
        {"then it renews", "renew", "{" IT "}", {{RENEW, RENEWED}}, "step renewed", .learned = "{\"renewed\":true}",
         .known = "{" BEFORE_IT "}"},
        {"and looks until when", "renew", "{" IT "}", {{LOANS, LOAN_UNTIL("2016-10-27", "true")}}, "done renewed",
         LOAN_OUT("2016-10-27", "2016-10-27"), .known = "{" BEFORE_IT ",\"renewed\":true}"},
        {"which it may do twice", "renew", "{" IT "}", {{LOANS, 503, ""}}, "later unwell",
         .known = "{" BEFORE_IT ",\"renewed\":true}"},
        {"also in doubt", "renew", "{" IT "}", {{LOANS, LOAN}}, "done renewed", THE_LOAN,
         .known = "{" BEFORE_IT ",\"renewed\":true}", .doubt = true},
        {"it has ended meanwhile", "renew", "{" IT "}", {{LOANS, NONE}}, "done renewed", "{" IT "}",
         .known = "{" BEFORE_IT ",\"renewed\":true}"},
        {"a lost answer to a renewal", "renew", "{" IT "}", {{RENEW, 502, ""}}, "unknown unwell", .known = "{" BEFORE_IT "}"},
        {"after which it ends later", "renew", "{" IT "}", {{LOANS, LOAN_UNTIL("2016-10-27", "true")}}, "done renewed",
         LOAN_OUT("2016-10-27", "2016-10-27"), .known = "{" BEFORE_IT "}", .doubt = true},
        {"or does not", "renew", "{" IT "}", {{LOANS, LOAN}}, "step not_renewed", .known = "{" BEFORE_IT "}", .doubt = true},
        {"or has ended", "renew", "{" IT "}", {{LOANS, NONE}}, "rejected not_on_loan", .known = "{" BEFORE_IT "}",
         .doubt = true},
        {"a crash before anything was learned", "renew", "{" IT "}", {{LOANS, LOAN}}, "step read", .learned = "{" BEFORE_IT "}",
         .doubt = true},
        {"refused", "renew", "{" IT "}", {{RENEW, 409, "{\"message\":\"Not now.\"}"}}, "rejected refused", .words = "Not now.",
         .known = "{" BEFORE_IT "}"},

        {"returned", "return", "{" IT "}", {{RETURN, SUCCESS}}, "done returned", "{" IT "}"},
        {"not lent", "return", "{" IT "}", {{RETURN, 409, "{\"message\":\"Checkout does not exists or\"}"}}, "done not_on_loan",
         "{" IT "}"},
        {"a lost answer to a return is sent again", "return", "{" IT "}", {{RETURN, SUCCESS}}, "done returned", "{" IT "}",
         .doubt = true},
        {"an error to a return", "return", "{" IT "}", {{RETURN, ERROR}}, "unknown refused", .learned = "{" REFUSAL "}"},
        {"which was none", "return", "{" IT "}", {{LOANS, NONE}}, "done returned", "{" IT "}", .known = "{" REFUSAL "}",
         .doubt = true},
        {"or was", "return", "{" IT "}", {{LOANS, LOAN}}, "rejected refused", .words = "An error has occurred.",
         .known = "{" REFUSAL "}", .doubt = true},
        {"all loans", "loans", "{}", {{LOANS, LOAN}}, "done listed",
         "{\"loans\":[{" IT ",\"transaction_id\":\"7\",\"expiration\":\"2016-10-20\",\"ends_at\":\"2016-10-20T04:00:00Z\","
         "\"computed\":false,\"can_renew\":true,\"files\":[]}]}"},
    };
    (void)state;

    play_all(scenes, COUNT(scenes));
}

/* ---- holds ---- */

#define FOLLOWED(at) "{\"follow\":{\"at\":" at "}}"

static void test_holds(void **state)
{
    static const struct scene scenes[] = {
        {"held", "hold", "{" IT "}", {{AVAILABLE, OUT}, {HOLD, 200, "8"}}, "done held", THE_HOLD},
        {"of what is available: it will be a loan", "hold", "{" IT "}", {{AVAILABLE, SHELVED}, {HOLD, 200, "8"}},
         "done loan waiting",
         THE_HOLD, "{\"follow\":{\"at\":1476403200}}"},
        {"it is one", "hold", "{" IT "}", {{HOLDS, NONE}, {LOANS, LOAN}}, "done loan", THE_LOAN,
         .known = FOLLOWED("1476403000")},
        {"not yet", "hold", "{" IT "}", {{HOLDS, HELD_THERE}}, "done loan waiting", THE_HOLD, .known = FOLLOWED("1476403000")},
        {"not within a day", "hold", "{" IT "}", {{HOLDS, HELD_THERE}}, "done held", THE_HOLD, .known = FOLLOWED("1476316800")},
        {"neither", "hold", "{" IT "}", {{HOLDS, NONE}, {LOANS, NONE}}, "rejected hold_gone", .known = FOLLOWED("1476403000")},
        {"OneClick is unwell then", "hold", "{" IT "}", {{HOLDS, 503, ""}}, "later unwell", .known = FOLLOWED("1476403000")},
        {"followed in doubt", "hold", "{" IT "}", {{HOLDS, NONE}, {LOANS, LOAN}}, "done loan", THE_LOAN,
         .known = FOLLOWED("1476403000"), .doubt = true},
        {"not in the library", "hold", "{" IT "}",
         {{AVAILABLE, 200, "{\"message\":\"eXtensible Framework was unable to locate the resource for "
          "RB.API.LibraryMedia.Get\"}"}},
         "rejected not_in_library"},
        {"held already", "hold", "{" IT "}", {{AVAILABLE, OUT}, {HOLD, 409, "\"Hold or Checkout already exists.\""}, {HOLDS,
         HELD_THERE}},
         "done already", THE_HOLD},
        {"lent already", "hold", "{" IT "}",
         {{AVAILABLE, OUT}, {HOLD, 409, "\"Hold or Checkout already exists.\""}, {HOLDS, NONE}, {LOANS, LOAN}}, "done already",
          THE_LOAN},
        {"neither, says the list", "hold", "{" IT "}",
         {{AVAILABLE, OUT}, {HOLD, 409, "\"Hold or Checkout already exists.\""}, {HOLDS, NONE}, {LOANS, NONE}},
          "later contradiction"},
        {"too many", "hold", "{" IT "}",
         {{AVAILABLE, OUT}, {HOLD, 409, "\"You have reached your checkout limit and therefore are unable to place additional "
          "holds.\""}},
         "rejected limit", .words = "You have reached your checkout limit and therefore are unable to place additional holds."},
        {"a lost answer", "hold", "{" IT "}", {{AVAILABLE, SHELVED}, {HOLD, LOST}}, "unknown no_answer"},
        {"after which it is there, and will be a loan", "hold", "{" IT "}", {{HOLDS, HELD_THERE}, {AVAILABLE, SHELVED}},
         "done loan waiting", THE_HOLD, "{\"follow\":{\"at\":1476403200}}", .doubt = true},
        {"or stays a hold", "hold", "{" IT "}", {{HOLDS, HELD_THERE}, {AVAILABLE, OUT}}, "done held", THE_HOLD, .doubt = true},
        {"or is a loan", "hold", "{" IT "}", {{HOLDS, NONE}, {LOANS, LOAN}}, "done loan", THE_LOAN, .doubt = true},
        {"or is not", "hold", "{" IT "}", {{HOLDS, NONE}, {LOANS, NONE}}, "step not_held", .doubt = true},
        {"or nobody can tell", "hold", "{" IT "}", {{HOLDS, NOT_READABLE}}, "later garbled", .doubt = true},
        {"a refusal", "hold", "{" IT "}", {{HOLDS, NONE}, {LOANS, NONE}}, "rejected refused", .words = "An error has occurred.",
         .known = "{" REFUSAL "}", .doubt = true},

        {"cancelled", "cancel_hold", "{" IT "}", {{CANCEL, SUCCESS}}, "done cancelled", "{" IT "}"},
        {"not held", "cancel_hold", "{" IT "}", {{CANCEL, 409, "\"Hold does not exist.\""}, {HOLDS, NONE}}, "done not_held",
         "{" IT "}"},
        {"refused", "cancel_hold", "{" IT "}", {{CANCEL, 409, "\"Not this one.\""}, {HOLDS, HELD_THERE}}, "rejected refused",
         .words = "Not this one."},
        {"refused, and who knows", "cancel_hold", "{" IT "}", {{CANCEL, 409, "\"Not this one.\""}, {HOLDS, 503, ""}},
         "later unwell"},
        {"a lost answer to a cancelling", "cancel_hold", "{" IT "}", {{HOLDS, NONE}}, "done cancelled", "{" IT "}",
         .doubt = true},
        {"which has not arrived", "cancel_hold", "{" IT "}", {{HOLDS, HELD_THERE}}, "step not_cancelled", .doubt = true},
        {"all holds", "holds", "{}", {{HOLDS, HELD_THERE}}, "done listed", "{\"holds\":[{" IT ",\"transaction_id\":\"8\"}]}"},
    };
    (void)state;

    play_all(scenes, COUNT(scenes));
}

static void test_following(void **state)
{
    static const struct {
        int64_t age, retry_s; /* 0: no more */
    } rows[] = {{0, 30}, {29, 30}, {30, 30}, {31, 31}, {600, 600}, {3600, 3600}, {7200, 3600}, {86399, 3600}, {86400, 0}};
    (void)state;

    for (size_t i = 0; i < COUNT(rows); i++) {
        char known[64];
        struct job job;
        snprintf(known, sizeof known, "{\"follow\":{\"at\":%lld}}", (long long)(NOW - rows[i].age));
        struct scene s = {.when = "followed", .action = "hold", .asked = "{" IT "}", .known = known};
        begin_scene(&s, &job);
        person_ask(&job);
        answer_scene(&job, HELD_THERE);
        assert_int_equal(job.request.retry_s, rows[i].retry_s);
        end_scene(&job);
    }
}

/* ---- magazines, downloads ---- */

#define HAS_IT 200, "{\"resultSetCount\":1,\"resultSet\":[{\"item\":{\"issueId\":4711}}]}"
#define HAS_NONE 200, "{\"resultSetCount\":0,\"resultSet\":[]}"
#define THE_ISSUE "{\"issue\":\"4711\"}"
#define EPUB "{\"id\":1,\"filename\":\"a.epub\",\"downloadUrl\":\"http://x/v1/media/1/parts/1/download-url?f=a\"}"
#define CHAPTER "{\"id\":2,\"filename\":\"b.mp3\",\"downloadUrl\":\"http://x/v1/media/1/parts/2/download-url\"}"
#define LOAN_WITH(files) 200, "[{\"isbn\":\"" ISBN "\",\"files\":[" files "]}]"
#define ACCESS 200, "{\"type\":\"application/vnd.adobe\",\"url\":\"http://c/a.epub\"}"
#define ACCESS_OUT(file)                                                                                                   \
    "{" IT ",\"file\":\"" file "\",\"type\":\"application/vnd.adobe\",\"url\":\"http://c/a.epub\"," \
    "\"until\":\"2016-10-14T00:14:00Z\"}"
#define BEARER_OF 200, "{\"bearer\":\"b1\",\"result\":true}"

static void test_the_rest(void **state)
{
    static const struct scene scenes[] = {
        {"an issue", "magazine_checkout", THE_ISSUE, {{MAGAZINE, SUCCESS}}, "done borrowed", THE_ISSUE},
        {"had already", "magazine_checkout", THE_ISSUE, {{MAGAZINE, 409, "\"Already.\""}, {HISTORY, HAS_IT}}, "done already",
         THE_ISSUE},
        {"refused", "magazine_checkout", THE_ISSUE, {{MAGAZINE, 409, "\"No.\""}, {HISTORY, HAS_NONE}}, "rejected refused",
         .words = "No."},
        {"a lost answer", "magazine_checkout", THE_ISSUE, {{HISTORY, HAS_IT}}, "done borrowed", THE_ISSUE, .doubt = true},
        {"that has not arrived", "magazine_checkout", THE_ISSUE, {{HISTORY, HAS_NONE}}, "step not_borrowed", .doubt = true},
        {"returned", "magazine_return", THE_ISSUE, {{MAGAZINE_RETURN, SUCCESS}}, "done returned", THE_ISSUE},
        {"had not", "magazine_return", THE_ISSUE, {{MAGAZINE_RETURN, 404, "{\"message\":\"No.\"}"}, {HISTORY, HAS_NONE}},
         "done already",
         THE_ISSUE},
        {"a lost answer to a return", "magazine_return", THE_ISSUE, {{HISTORY, HAS_NONE}}, "done returned", THE_ISSUE,
         .doubt = true},
        {"which has not arrived", "magazine_return", THE_ISSUE, {{HISTORY, HAS_IT}}, "step not_returned", .doubt = true},
        {"all issues", "magazine_history", "{}", {{HISTORY, HAS_IT}}, "done listed", "{\"issues\":[{\"issue\":\"4711\"}]}"},

        {"the one file", "download", "{" IT "}", {{LOANS, LOAN_WITH(EPUB)}, {BEARER, BEARER_OF}, {DOWNLOAD, ACCESS}},
         "done access",
         ACCESS_OUT("1")},
        {"a file by its id", "download", "{" IT ",\"file\":\"2\"}",
         {{LOANS, LOAN_WITH(EPUB "," CHAPTER)}, {BEARER, BEARER_OF}, {DOWNLOAD, ACCESS}}, "done access", ACCESS_OUT("2")},
        {"a file by its name", "download", "{" IT ",\"file\":\"b.mp3\"}",
         {{LOANS, LOAN_WITH(EPUB "," CHAPTER)}, {BEARER, BEARER_OF}, {DOWNLOAD, ACCESS}}, "done access", ACCESS_OUT("2")},
        {"which one?", "download", "{" IT "}", {{LOANS, LOAN_WITH(EPUB "," CHAPTER)}}, "rejected which_file asks",
         "{\"files\":[{\"id\":\"1\",\"name\":\"a.epub\"},{\"id\":\"2\",\"name\":\"b.mp3\"}]}"},
        {"none of these", "download", "{" IT ",\"file\":\"3\"}", {{LOANS, LOAN_WITH(EPUB "," CHAPTER)}},
         "rejected no_such_file"},
        {"a loan without files", "download", "{" IT "}", {{LOANS, LOAN_WITH("")}}, "rejected no_such_file"},
        {"a file elsewhere", "download", "{" IT "}",
         {{LOANS, LOAN_WITH("{\"id\":1,\"downloadUrl\":\"http://elsewhere/a.epub\"}")}}, "rejected no_link"},
        {"not lent", "download", "{" IT "}", {{LOANS, NONE}}, "rejected not_on_loan"},
        {"a bearer that has ended", "download", "{" IT "}",
         {{LOANS, LOAN_WITH(EPUB)}, {BEARER, BEARER_OF}, {DOWNLOAD, 401, ""}, {BEARER, BEARER_OF}, {DOWNLOAD, ACCESS}},
          "done access",
         ACCESS_OUT("1")},
        {"and another", "download", "{" IT "}",
         {{LOANS, LOAN_WITH(EPUB)}, {BEARER, BEARER_OF}, {DOWNLOAD, 401, ""}, {BEARER, BEARER_OF}, {DOWNLOAD, 401, ""}},
         "later bearer_refused"},
        {"whose user id is not known", "download", "{" IT "}",
         {{FIND, FOUND_BARE}, {LOANS, LOAN_WITH(EPUB)}, {FIND, FOUND}, {LOANS, LOAN_WITH(EPUB)}, {BEARER, BEARER_OF},
          {DOWNLOAD, ACCESS}},
         "done access", ACCESS_OUT("1"), .stranger = true},
        {"nor ever", "download", "{" IT "}",
         {{FIND, FOUND_BARE}, {LOANS, LOAN_WITH(EPUB)}, {FIND, FOUND_BARE}, {LOANS, LOAN_WITH(EPUB)}}, "rejected no_bearer",
         .stranger = true},
    };
    (void)state;

    play_all(scenes, COUNT(scenes));
}

/* A page that is full is followed by another, until there are as many as OneClick says, or a thousand. */
static void test_history_pages(void **state)
{
    static const struct {
        int pages, last, total; /* full pages, issues of the one behind, what OneClick says (-1: nothing) */
        int calls;
    } rows[] = {{0, 0, 0, 1}, {0, 7, -1, 1}, {1, 0, 100, 1}, {1, 0, -1, 2}, {2, 3, 203, 3}, {12, 0, 1200, 10}, {12, 0, -1, 10}};
    static const struct scene s = {.when = "pages", .action = "magazine_history", .asked = "{}"};
    (void)state;

    for (size_t i = 0; i < COUNT(rows); i++) {
        struct text body = {0};
        struct job job;
        int calls = 0;
        begin_scene(&s, &job);
        struct answer a = person_ask(&job);
        for (; a.verdict == AGAIN; calls++) {
            text_clear(&body);
            if (rows[i].total < 0)
                text_puts(&body, "{\"resultSet\":[");
            else
                text_printf(&body, "{\"resultSetCount\":%d,\"resultSet\":[", rows[i].total);
            assert_int_equal(job.page, calls);
            for (int n = 0; n < (calls < rows[i].pages ? ONECLICK_HISTORY_PAGE : rows[i].last); n++)
                text_printf(&body, "%s{\"item\":{\"issueId\":%d}}", n ? "," : "", 1000 * calls + n + 1);
            text_puts(&body, "]}");
            a = answer_scene(&job, 200, text_str(&body));
        }
        assert_int_equal(a.verdict, DONE);
        assert_int_equal(calls, rows[i].calls);
        text_free(&body);
        end_scene(&job);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_people), cmocka_unit_test(test_newcomers), cmocka_unit_test(test_loans),
                         cmocka_unit_test(test_holds),
        cmocka_unit_test(test_following), cmocka_unit_test(test_the_rest), cmocka_unit_test(test_history_pages),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

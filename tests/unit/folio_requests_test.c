/* What folio-requests does with a row and with FOLIO's answers, through its callbacks; and the JSON it reads and writes. */
#define main folio_requests_main
#include "workers/folio-requests.c"
#undef main

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define PATRON "1ec54964-70f0-44cc-bd19-2a892ea0d336"
#define ITEM "3dda4eb9-a156-474c-829f-bd5a386f382c"
#define INSTANCE "f3482bf3-a7a4-4c9d-a2a4-1e9d3b0d1a10"
#define PICKUP "963396d7-c96f-4bb1-a24c-42e868a8823d"
#define HOLD_1 "8bbac557-d66f-4571-bbbf-47a107cc1589"
#define HOLD_2 "9bbac557-d66f-4571-bbbf-47a107cc1589"
#define REASON "75187e8d-e25a-47a7-89ad-23ba612338de"

static struct job job;

/* ---- a row, and an answer ---- */

static struct look_row row_of(const char *state, const char *asked, const char *known)
{
    static const char *const names[] = {"ord", "work_id", "wants", "state", "asked", "known", "accepted", "now"};
    const char *const values[] = {"1", "x", state && (!strcmp(state, "accepted") || !strcmp(state, "waiting")) ? "t" : "f",
                                  state, asked, known, "1795694300", "1795694400"};
    PGresult *res = PQmakeEmptyPGresult(NULL, PGRES_TUPLES_OK);
    PGresAttDesc columns[COUNT(names)] = {0};

    for (size_t i = 0; i < COUNT(names); i++)
        columns[i].name = (char *)(uintptr_t)names[i];
    assert_true(PQsetResultAttrs(res, (int)COUNT(names), columns));
    for (size_t i = 0; i < COUNT(names); i++)
        assert_true(PQsetvalue(res, 0, (int)i, (char *)(uintptr_t)values[i], values[i] ? (int)strlen(values[i]) : -1));
    return (struct look_row){res, 0};
}

static enum look_end look(const char *action, const char *asked, const char *known, enum prior prior, struct answer *ret)
{
    struct look_row row = row_of("accepted", asked, known);

    text_copy(job.request.action, sizeof job.request.action, action);
    text_copy(job.request.patron, sizeof job.request.patron, PATRON);
    enum look_end end = looked(&job, &row, prior, ret);
    PQclear((PGresult *)(uintptr_t)row.res);
    return end;
}

static struct answer answered(int status, const char *body)
{
    const struct http_response res = {.end = status ? HTTP_ANSWERED : HTTP_UNKNOWN, .status = status, .body = body,
                                      .body_len = strlen(body), .content_type = status == 500 ? "text/plain" : "application/json",
                                      .watched = "", .retry_after_ms = -1, .error = status ? "" : "time-out"};

    return interpret(&job, &res);
}

static int set_up(void **state)
{
    (void)state;
    memset(&job, 0, sizeof job);
    tenant = "diku";
    reason_id = REASON;
    api_key = NULL;
    cancel_form = FOLIO_CANCEL_POST;
    login_form = FOLIO_LOGIN_EXPIRING;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    release(&job);
    return 0;
}

/* ---- what comes first ---- */

#define ASKED_ITEM "{\"item\":\"" ITEM "\"}"
#define ASKED_HOLD "{\"item\":\"" ITEM "\",\"pickup\":\"" PICKUP "\"}"
#define ASKED_ANY "{\"instance\":\"" INSTANCE "\",\"pickup\":\"" PICKUP "\"}"
#define ASKED_CANCEL "{\"hold\":\"" HOLD_1 "\"}"
#define DUE "{\"before\":{\"at\":1795694390,\"due\":1795780800}}"
#define DUE_AGAIN "{\"before\":{\"at\":1795690000,\"due\":1795780800},\"again\":1}"
#define DUE_OLD "{\"before\":{\"at\":1795693500,\"due\":1795780800}}"
#define NO_HOLDS "{\"before\":{\"at\":1795694390,\"complete\":true,\"holds\":[]}}"
#define NO_HOLDS_AGAIN "{\"before\":{\"at\":1795694390,\"complete\":true,\"holds\":[]},\"again\":1}"
#define HOLD_1_BEFORE "{\"before\":{\"at\":1795694390,\"complete\":true,\"holds\":[\"" HOLD_1 "\"]}}"
#define SOME_BEFORE "{\"before\":{\"at\":1795694390,\"complete\":false,\"holds\":[]}}"
#define THIS_HOLD "{\"before\":{\"at\":1795694390,\"hold\":{\"hold\":\"" HOLD_1 "\",\"item\":\"" ITEM "\",\"pickup\":\"" PICKUP "\"}}}"
#define TOLD_HELD "{\"before\":{\"at\":1795694390,\"complete\":true,\"holds\":[]},\"again\":1,\"told\":{\"code\":\"held\",\"words\":null," \
                  "\"hold\":{\"hold\":\"" HOLD_2 "\"}}}"
#define TOLD_NO "{\"before\":{\"at\":1795694390,\"complete\":true,\"holds\":[]},\"again\":1,\"told\":{\"code\":\"not_requestable\"," \
                "\"words\":\"Not today\",\"hold\":null}}"
#define TOLD_DUE "{\"before\":{\"at\":1795690000,\"due\":1795780800},\"again\":1,\"told\":{\"code\":\"refused\",\"words\":\"At its maximum\"}}"

static const struct {
    const char *when, *action, *asked, *known;
    enum prior prior;
    enum step step;
    enum reading reading; /* of ACCOUNT */
} firsts[] = {
    {"an account", "account", "{}", "{}", PRIOR_NONE, ACCOUNT, SHOW},
    {"an account whose answer was lost", "account", "{}", "{}", PRIOR_UNFINISHED, ACCOUNT, SHOW},
    {"a renewal: when is it due", "renew", ASKED_ITEM, "{}", PRIOR_NONE, ACCOUNT, BEFORE},
    {"that was lost: nothing was changed", "renew", ASKED_ITEM, "{}", PRIOR_UNFINISHED, ACCOUNT, BEFORE},
    {"it is known: renew", "renew", ASKED_ITEM, DUE, PRIOR_NONE, RENEW, 0},
    {"a renewal that may have happened", "renew", ASKED_ITEM, DUE, PRIOR_UNFINISHED, ACCOUNT, BECAME},
    {"known too long ago", "renew", ASKED_ITEM, DUE_OLD, PRIOR_NONE, ACCOUNT, BEFORE},
    {"known long ago, and it may have happened", "renew", ASKED_ITEM, DUE_OLD, PRIOR_UNFINISHED, ACCOUNT, BECAME},
    {"sent before: what was there before the first counts", "renew", ASKED_ITEM, DUE_AGAIN, PRIOR_NONE, RENEW, 0},
    {"sent before, and refused", "renew", ASKED_ITEM, TOLD_DUE, PRIOR_NONE, ACCOUNT, AFTER},
    {"a hold: what is there", "hold_item", ASKED_HOLD, "{}", PRIOR_NONE, ACCOUNT, BEFORE},
    {"it is known", "hold_item", ASKED_HOLD, NO_HOLDS, PRIOR_NONE, HOLD_ITEM, 0},
    {"of an instance", "hold_instance", ASKED_ANY, NO_HOLDS, PRIOR_NONE, HOLD_INSTANCE, 0},
    {"a hold that may be there", "hold_item", ASKED_HOLD, NO_HOLDS, PRIOR_UNFINISHED, ACCOUNT, BECAME},
    {"FOLIO has answered the second", "hold_item", ASKED_HOLD, TOLD_HELD, PRIOR_NONE, ACCOUNT, AFTER},
    {"and the look after it was lost", "hold_item", ASKED_HOLD, TOLD_HELD, PRIOR_UNFINISHED, ACCOUNT, AFTER},
    {"a cancelling: whose is it", "cancel_hold", ASKED_CANCEL, "{}", PRIOR_NONE, ACCOUNT, BEFORE},
    {"the patron's", "cancel_hold", ASKED_CANCEL, THIS_HOLD, PRIOR_NONE, CANCEL, 0},
    {"it may be gone", "cancel_hold", ASKED_CANCEL, THIS_HOLD, PRIOR_UNFINISHED, ACCOUNT, BECAME},
    {"what is known is none of ours", "renew", ASKED_ITEM, "{\"before\":7,\"again\":\"x\"}", PRIOR_UNFINISHED, ACCOUNT, BEFORE},
};

static void test_what_comes_first(void **state)
{
    struct answer a;

    (void)state;
    for (size_t i = 0; i < COUNT(firsts); i++) {
        if (look(firsts[i].action, firsts[i].asked, firsts[i].known, firsts[i].prior, &a) != LOOK_CALL)
            fail_msg("%s: no call", firsts[i].when);
        if (job.step != firsts[i].step || (job.step == ACCOUNT && job.reading != firsts[i].reading))
            fail_msg("%s: step %d, reading %d", firsts[i].when, (int)job.step, (int)job.reading);
    }
}

static void test_what_needs_no_call(void **state)
{
    static const char *const states[] = {"done", "refused", "asks", "set_aside", NULL};
    struct answer a;

    (void)state;
    for (size_t i = 0; i < COUNT(states); i++) {
        struct look_row row = row_of(states[i], states[i] ? "{}" : NULL, states[i] ? "{}" : NULL);
        assert_int_equal(looked(&job, &row, PRIOR_NONE, &a), LOOK_DROP);
        PQclear((PGresult *)(uintptr_t)row.res);
    }
    assert_int_equal(look("renew", "{}", "{}", PRIOR_NONE, &a), LOOK_ANSWER);
    assert_int_equal(a.verdict, REJECTED);
    assert_string_equal(a.code, "bad_request");
    assert_string_equal(job.request.words, "item: missing");
    assert_int_equal(look("renew", "[]", "{}", PRIOR_NONE, &a), LOOK_ANSWER);
    api_key = "key"; /* any text is an externalSystemId */
    text_copy(job.request.patron, sizeof job.request.patron, "ada");
    assert_int_equal(look("account", "{}", "{}", PRIOR_NONE, &a), LOOK_CALL);
}

/* ---- what an answer means ---- */

#define LOAN(due) "{\"id\":\"40000000-0000-4000-8000-000000000001\",\"item\":{\"instanceId\":\"" INSTANCE "\",\"itemId\":\"" ITEM \
                  "\",\"title\":\"T\"},\"loanDate\":\"2026-11-01T00:00:00.000+0000\",\"dueDate\":" due ",\"overdue\":false}"
#define SAME_DUE "\"2026-11-27T12:00:00.000+0000\"" /* 1795780800 */
#define LATER_DUE "\"2026-12-11T12:00:00.000+0000\""
#define HOLD(id, at) "{\"requestId\":\"" id "\",\"item\":{\"instanceId\":\"" INSTANCE "\",\"itemId\":\"" ITEM "\"},\"requestDate\":" at \
                     ",\"pickupLocationId\":\"" PICKUP "\",\"status\":\"Open - Not yet filled\",\"queuePosition\":1}"
#define SINCE "\"2026-11-26T11:59:50.000+0000\"" /* 1795694390 */
#define EARLIER "\"2026-11-26T11:00:00.000+0000\""
#define ACCOUNT_OF(loans, n, holds, m) "{\"totalCharges\":{\"amount\":0.0,\"isoCurrencyCode\":\"USD\"},\"totalChargesCount\":0," \
    "\"totalLoans\":" #n ",\"totalHolds\":" #m ",\"charges\":[],\"loans\":[" loans "],\"holds\":[" holds "]}"
#define LOANS(loans, n) ACCOUNT_OF(loans, n, "", 0)
#define HOLDS(holds, m) ACCOUNT_OF("", 0, holds, m)
#define REFUSED "{\"errors\":[{\"message\":\"Not on a rainy day\"}]}"
#define EXISTS_ALREADY "{\"errors\":[{\"message\":\"This requester already has an open request for this item\"}]}"

static const struct {
    const char *when, *action, *asked, *known;
    enum prior prior;
    int status; /* 0: none */
    const char *body;
    enum verdict verdict;
    const char *code, *words, *learned, *outcome; /* words, learned, outcome: what is in them, "" nothing */
} answers[] = {
    {"the account", "account", "{\"loans\":true}", "{}", PRIOR_NONE, 200, LOANS(LOAN(SAME_DUE), 1), DONE, "account", "", "",
     "\"due\":\"2026-11-27T12:00:00Z\",\"overdue\":false}],\"holds\":null,\"charges\":null,\"total_loans\":1,\"total_holds\":0,"
     "\"total_charges\":0,\"owed\":{\"amount\":\"0.0\",\"currency\":\"USD\"},\"complete\":true}"},
    {"not all of it", "account", "{\"loans\":true}", "{}", PRIOR_NONE, 200, LOANS("", 1), DONE, "account", "", "", "\"complete\":false"},
    {"not all of what was not asked for", "account", "{\"holds\":true}", "{}", PRIOR_NONE, 200, LOANS("", 1), DONE, "account", "", "",
     "\"complete\":true"},
    {"no account", "account", "{}", "{}", PRIOR_NONE, 404, "\"user not found\"", REJECTED, "not_found", "user not found", "", ""},
    {"the account's answer is lost", "account", "{}", "{}", PRIOR_NONE, 0, "", LATER, "no_answer", "", "", ""},

    {"when it is due", "renew", ASKED_ITEM, "{}", PRIOR_NONE, 200, LOANS(LOAN(SAME_DUE), 1), STEP, "read", "",
     "{\"before\":{\"at\":1795694400,\"due\":1795780800}}", ""},
    {"FOLIO does not say when", "renew", ASKED_ITEM, "{}", PRIOR_NONE, 200, LOANS(LOAN("null"), 1), STEP, "read", "",
     "{\"before\":{\"at\":1795694400,\"due\":null}}", ""},
    {"no such loan: FOLIO will say so", "renew", ASKED_ITEM, "{}", PRIOR_NONE, 200, LOANS("", 0), STEP, "read", "",
     "{\"before\":{\"at\":1795694400,\"due\":null}}", ""},
    {"the patron may not be looked at", "renew", ASKED_ITEM, "{}", PRIOR_NONE, 400, "User is not active", REJECTED, "inactive",
     "User is not active", "", ""},
    {"renewed", "renew", ASKED_ITEM, DUE, PRIOR_NONE, 201, LOAN(LATER_DUE), DONE, "renewed", "", "",
     "\"due\":\"2026-12-11T12:00:00Z\",\"overdue\":false},\"due_before\":\"2026-11-27T12:00:00Z\"}"},
    {"refused", "renew", ASKED_ITEM, DUE, PRIOR_NONE, 422, REFUSED, REJECTED, "refused", "Not on a rainy day", "", ""},
    {"lost", "renew", ASKED_ITEM, DUE, PRIOR_NONE, 0, "", UNKNOWN, "no_answer", "", "", ""},
    {"it has become later", "renew", ASKED_ITEM, DUE, PRIOR_UNFINISHED, 200, LOANS(LOAN(LATER_DUE), 1), DONE, "renewed", "", "",
     "\"due_before\":\"2026-11-27T12:00:00Z\"}"},
    {"it has not", "renew", ASKED_ITEM, DUE, PRIOR_UNFINISHED, 200, LOANS(LOAN(SAME_DUE), 1), STEP, "not_done", "", "{\"again\":1}", ""},
    {"nor at the second try", "renew", ASKED_ITEM, DUE_AGAIN, PRIOR_UNFINISHED, 200, LOANS(LOAN(SAME_DUE), 1), STEP, "not_done", "",
     "{\"again\":2}", ""},
    {"nobody says when it is due", "renew", ASKED_ITEM, DUE, PRIOR_UNFINISHED, 200, LOANS(LOAN("null"), 1), UNKNOWN, "not_shown", "", "", ""},
    {"not all loans are shown", "renew", ASKED_ITEM, DUE, PRIOR_UNFINISHED, 200, LOANS("", 1), UNKNOWN, "not_shown", "", "", ""},
    {"a no to the question is none to the renewal", "renew", ASKED_ITEM, DUE, PRIOR_UNFINISHED, 400, "User is not active", UNKNOWN,
     "not_shown", "", "", ""},
    {"the second is refused: perhaps because of the first", "renew", ASKED_ITEM, DUE_AGAIN, PRIOR_NONE, 422, REFUSED, STEP, "refused", "",
     "{\"told\":{\"code\":\"refused\",\"words\":\"Not on a rainy day\",\"hold\":null}}", ""},
    {"it was", "renew", ASKED_ITEM, TOLD_DUE, PRIOR_NONE, 200, LOANS(LOAN(LATER_DUE), 1), DONE, "renewed", "", "", "\"due_before\""},
    {"it was not", "renew", ASKED_ITEM, TOLD_DUE, PRIOR_NONE, 200, LOANS(LOAN(SAME_DUE), 1), REJECTED, "refused", "At its maximum", "", ""},
    {"nobody can tell", "renew", ASKED_ITEM, TOLD_DUE, PRIOR_NONE, 200, LOANS("", 1), UNKNOWN, "not_shown", "", "", ""},

    {"no hold is there", "hold_item", ASKED_HOLD, "{}", PRIOR_NONE, 200, HOLDS("", 0), STEP, "read", "",
     "{\"before\":{\"at\":1795694400,\"complete\":true,\"holds\":[]}}", ""},
    {"two are", "hold_instance", ASKED_ANY, "{}", PRIOR_NONE, 200, HOLDS(HOLD(HOLD_1, EARLIER) "," HOLD(HOLD_2, "null"), 2), STEP, "read", "",
     "\"complete\":true,\"holds\":[\"" HOLD_1 "\",\"" HOLD_2 "\"]}}", ""},
    {"who knows", "hold_item", ASKED_HOLD, "{}", PRIOR_NONE, 200, HOLDS("", 1), STEP, "read", "", "\"complete\":false,\"holds\":[]}}", ""},
    {"held", "hold_item", ASKED_HOLD, NO_HOLDS, PRIOR_NONE, 201, HOLD(HOLD_1, SINCE), DONE, "held", "", "",
     "\"pickup\":\"" PICKUP "\",\"requested\":\"2026-11-26T11:59:50Z\",\"expires\":null},\"twice\":[]}"},
    {"not to be had", "hold_item", ASKED_HOLD, NO_HOLDS, PRIOR_NONE, 500, REFUSED, REJECTED, "refused", "Not on a rainy day", "", ""},
    {"an answer without a hold", "hold_item", ASKED_HOLD, NO_HOLDS, PRIOR_NONE, 201, "{}", UNKNOWN, "unclear", "", "", ""},
    {"there is a new one", "hold_item", ASKED_HOLD, HOLD_1_BEFORE, PRIOR_UNFINISHED, 200,
     HOLDS(HOLD(HOLD_1, SINCE) "," HOLD(HOLD_2, "null"), 2), DONE, "held", "", "", "{\"hold\":{\"hold\":\"" HOLD_2 "\""},
    {"there is only the old one, of the very second", "hold_item", ASKED_HOLD, HOLD_1_BEFORE, PRIOR_UNFINISHED, 200,
     HOLDS(HOLD(HOLD_1, SINCE), 1), STEP, "not_done", "", "{\"again\":1}", ""},
    {"there are two new ones", "hold_item", ASKED_HOLD, NO_HOLDS, PRIOR_UNFINISHED, 200,
     HOLDS(HOLD(HOLD_1, SINCE) "," HOLD(HOLD_2, SINCE), 2), DONE, "maybe_twice", "", "", "\"twice\":[{\"hold\":\"" HOLD_2 "\""},
    {"by a clock that runs behind", "hold_item", ASKED_HOLD, NO_HOLDS, PRIOR_UNFINISHED, 200, HOLDS(HOLD(HOLD_1, EARLIER), 1), DONE, "held",
     "", "", "{\"hold\":{\"hold\":\"" HOLD_1 "\""},
    {"not all were known: the date decides", "hold_item", ASKED_HOLD, SOME_BEFORE, PRIOR_UNFINISHED, 200, HOLDS(HOLD(HOLD_1, EARLIER), 1),
     STEP, "not_done", "", "{\"again\":1}", ""},
    {"and says yes", "hold_item", ASKED_HOLD, SOME_BEFORE, PRIOR_UNFINISHED, 200, HOLDS(HOLD(HOLD_1, SINCE), 1), DONE, "held", "", "",
     "{\"hold\":{\"hold\":\"" HOLD_1 "\""},
    {"not all holds are shown", "hold_item", ASKED_HOLD, NO_HOLDS, PRIOR_UNFINISHED, 200, HOLDS("", 1), UNKNOWN, "not_shown", "", "", ""},
    {"the second is held", "hold_item", ASKED_HOLD, NO_HOLDS_AGAIN, PRIOR_NONE, 201, HOLD(HOLD_2, SINCE), STEP, "held", "",
     "{\"told\":{\"code\":\"held\",\"words\":null,\"hold\":{\"hold\":\"" HOLD_2 "\"", ""},
    {"and is the only one", "hold_item", ASKED_HOLD, TOLD_HELD, PRIOR_NONE, 200, HOLDS(HOLD(HOLD_2, SINCE), 1), DONE, "held", "", "",
     "{\"hold\":{\"hold\":\"" HOLD_2 "\"},\"twice\":[]}"},
    {"and is one of two", "hold_item", ASKED_HOLD, TOLD_HELD, PRIOR_NONE, 200, HOLDS(HOLD(HOLD_1, SINCE) "," HOLD(HOLD_2, SINCE), 2), DONE,
     "maybe_twice", "", "", "{\"hold\":{\"hold\":\"" HOLD_2 "\"},\"twice\":[{\"hold\":\"" HOLD_1 "\""},
    {"and is not shown", "hold_item", ASKED_HOLD, TOLD_HELD, PRIOR_NONE, 200, HOLDS("", 1), DONE, "held", "", "",
     "{\"hold\":{\"hold\":\"" HOLD_2 "\"},\"twice\":[]}"},
    {"the second is refused, the first is not there", "hold_item", ASKED_HOLD, TOLD_NO, PRIOR_NONE, 200, HOLDS("", 0), REJECTED,
     "not_requestable", "Not today", "", ""},
    {"the second is refused, the first is there", "hold_item", ASKED_HOLD, TOLD_NO, PRIOR_NONE, 200, HOLDS(HOLD(HOLD_1, SINCE), 1), DONE,
     "held", "", "", "{\"hold\":{\"hold\":\"" HOLD_1 "\""},

    {"it is the patron's", "cancel_hold", ASKED_CANCEL, "{}", PRIOR_NONE, 200, HOLDS(HOLD(HOLD_2, SINCE) "," HOLD(HOLD_1, EARLIER), 2), STEP,
     "read", "", "{\"before\":{\"at\":1795694400,\"hold\":{\"hold\":\"" HOLD_1 "\",\"item\":\"" ITEM "\"", ""},
    {"it is not", "cancel_hold", ASKED_CANCEL, "{}", PRIOR_NONE, 200, HOLDS(HOLD(HOLD_2, SINCE), 1), REJECTED, "not_found",
     "the patron has no such hold", "", ""},
    {"nobody says whose it is", "cancel_hold", ASKED_CANCEL, "{}", PRIOR_NONE, 200, HOLDS("", 1), LATER, "not_shown", "", "", ""},
    {"cancelled", "cancel_hold", ASKED_CANCEL, THIS_HOLD, PRIOR_NONE, 200, "{\"status\":\"Closed - Cancelled\"}", DONE, "cancelled", "", "",
     "{\"hold\":{\"hold\":\"" HOLD_1 "\",\"item\":\"" ITEM "\",\"pickup\":\"" PICKUP "\"}}"},
    {"closed already", "cancel_hold", ASKED_CANCEL, THIS_HOLD, PRIOR_NONE, 422, "{\"errors\":[{\"message\":\"Cannot edit a closed request\"}]}",
     DONE, "gone", "", "", "{\"hold\":{\"hold\":\"" HOLD_1 "\""},
    {"refused", "cancel_hold", ASKED_CANCEL, THIS_HOLD, PRIOR_NONE, 422, REFUSED, REJECTED, "refused", "Not on a rainy day", "", ""},
    {"it has gone", "cancel_hold", ASKED_CANCEL, THIS_HOLD, PRIOR_UNFINISHED, 200, HOLDS(HOLD(HOLD_2, SINCE), 1), DONE, "cancelled", "", "",
     "{\"hold\":{\"hold\":\"" HOLD_1 "\""},
    {"it is still there", "cancel_hold", ASKED_CANCEL, THIS_HOLD, PRIOR_UNFINISHED, 200, HOLDS(HOLD(HOLD_1, SINCE), 1), STEP, "not_done", "",
     "{\"again\":1}", ""},
    {"not all holds are shown", "cancel_hold", ASKED_CANCEL, THIS_HOLD, PRIOR_UNFINISHED, 200, HOLDS("", 2), UNKNOWN, "not_shown", "", "", ""},
};

static void want_in(const char *when, const char *what, const char *seen, const char *wanted)
{
    if (wanted[0] ? !strstr(seen, wanted) : seen[0] != '\0')
        fail_msg("%s: %s is %s", when, what, seen);
}

static void want_answer(const char *when, const struct answer *a, enum verdict verdict, const char *code)
{
    if (a->verdict != verdict || strcmp(a->code, code) != 0)
        fail_msg("%s: %s \"%s\": %s", when, verdict_name(a->verdict), a->code, a->reason);
}

static void test_answers(void **state)
{
    struct answer a;

    (void)state;
    for (size_t i = 0; i < COUNT(answers); i++) {
        const char *when = answers[i].when;
        assert_int_equal(look(answers[i].action, answers[i].asked, answers[i].known, answers[i].prior, &a), LOOK_CALL);
        a = answered(answers[i].status, answers[i].body);
        want_answer(when, &a, answers[i].verdict, answers[i].code);
        want_in(when, "words", job.request.words, answers[i].words);
        want_in(when, "learned", text_str(&job.request.learned), answers[i].learned);
        want_in(when, "outcome", text_str(&job.request.outcome), answers[i].outcome);
        assert_null(job.account.holds); /* nothing large waits with it */
    }
}

static const struct {
    const char *when, *known, *body;
    enum verdict verdict;
    const char *code, *outcome;
} already[] = {
    {"the patron had it", HOLD_1_BEFORE, HOLDS(HOLD(HOLD_1, EARLIER), 1), DONE, "exists", "{\"hold\":{\"hold\":\"" HOLD_1 "\""},
    {"it is not shown", NO_HOLDS, HOLDS("", 0), REJECTED, "exists", ""},
    {"an earlier try was made", NO_HOLDS_AGAIN, HOLDS(HOLD(HOLD_2, SINCE), 1), DONE, "held", "{\"hold\":{\"hold\":\"" HOLD_2 "\""},
    {"nobody can tell", NO_HOLDS_AGAIN, HOLDS("", 1), UNKNOWN, "not_shown", ""},
};

static void test_a_hold_that_exists(void **state)
{
    struct answer a;

    (void)state;
    for (size_t i = 0; i < COUNT(already); i++) {
        assert_int_equal(look("hold_item", ASKED_HOLD, already[i].known, PRIOR_NONE, &a), LOOK_CALL);
        a = answered(422, EXISTS_ALREADY);
        want_answer(already[i].when, &a, AGAIN, "exists");
        assert_int_equal(step(&job), ACCOUNT);
        a = answered(200, already[i].body);
        want_answer(already[i].when, &a, already[i].verdict, already[i].code);
        want_in(already[i].when, "outcome", text_str(&job.request.outcome), already[i].outcome);
    }
}

/* ---- the calls ---- */

static const struct {
    const char *when, *action, *asked, *known, *method, *target, *body;
} calls[] = {
    {"an account", "account", "{\"charges\":true}", "{}", "GET",
     "/patron/account/" PATRON "?includeLoans=false&includeCharges=true&includeHolds=false", ""},
    {"before a renewal", "renew", ASKED_ITEM, "{}", "GET",
     "/patron/account/" PATRON "?includeLoans=true&includeCharges=false&includeHolds=false", ""},
    {"before a hold", "hold_item", ASKED_HOLD, "{}", "GET",
     "/patron/account/" PATRON "?includeLoans=false&includeCharges=false&includeHolds=true", ""},
    {"a renewal", "renew", ASKED_ITEM, DUE, "POST", "/patron/account/" PATRON "/item/" ITEM "/renew", ""},
    {"a hold, of the time that is known", "hold_item", ASKED_HOLD, NO_HOLDS, "POST", "/patron/account/" PATRON "/item/" ITEM "/hold",
     "{\"requestDate\":\"2026-11-26T11:59:50Z\",\"pickupLocationId\":\"" PICKUP "\"}"},
    {"a hold that ends", "hold_instance", "{\"instance\":\"" INSTANCE "\",\"pickup\":\"" PICKUP "\",\"expires\":\"2027-01-01T01:00:00+01:00\"}",
     NO_HOLDS, "POST", "/patron/account/" PATRON "/instance/" INSTANCE "/hold", "\"expirationDate\":\"2027-01-01T00:00:00Z\"}"},
    {"a cancelling", "cancel_hold", ASKED_CANCEL, THIS_HOLD, "POST", "/patron/account/" PATRON "/hold/" HOLD_1 "/cancel",
     "\"cancellationReasonId\":\"" REASON "\",\"canceledDate\":\"2026-11-26T12:00:00Z\"}"},
};

static void test_calls(void **state)
{
    struct http_request req = {0};
    struct answer a;

    (void)state;
    for (size_t i = 0; i < COUNT(calls); i++) {
        assert_int_equal(look(calls[i].action, calls[i].asked, calls[i].known, PRIOR_NONE, &a), LOOK_CALL);
        request(&job, &req, "token");
        assert_string_equal(req.method, calls[i].method);
        assert_string_equal(text_str(&req.target), calls[i].target);
        want_in(calls[i].when, "body", text_str(&req.body), calls[i].body);
        assert_string_equal(text_str(&req.headers[1]), "X-Okapi-Token: token");
    }
    http_request_free(&req);
}

#define NO_MODULE "No suitable module found for path /patron for tenant diku"

static void test_the_form_of_cancelling(void **state)
{
    struct http_request req = {0};
    struct answer a;

    (void)state;
    look("cancel_hold", ASKED_CANCEL, THIS_HOLD, PRIOR_NONE, &a);
    a = answered(404, NO_MODULE);
    want_answer("not by POST", &a, AGAIN, "other_form");
    request(&job, &req, "token");
    assert_string_equal(req.method, "DELETE");
    assert_string_equal(text_str(&req.target), "/patron/account/" PATRON "/item/" ITEM "/hold/" HOLD_1);
    a = answered(204, "");
    want_answer("by DELETE", &a, DONE, "cancelled");
    look("cancel_hold", ASKED_CANCEL, THIS_HOLD, PRIOR_NONE, &a);
    request(&job, &req, "token");
    assert_string_equal(req.method, "DELETE"); /* remembered */
    a = answered(404, NO_MODULE);
    want_answer("no more", &a, AGAIN, "other_form");
    a = answered(404, NO_MODULE);
    want_answer("neither", &a, LATER, "no_such_call");

    reason_id = NULL;
    look("cancel_hold", ASKED_CANCEL, THIS_HOLD, PRIOR_NONE, &a);
    request(&job, &req, "token");
    assert_string_equal(req.method, "DELETE"); /* the other one wants a reason */
    a = answered(404, NO_MODULE);
    want_answer("a reason is wanted", &a, LATER, "no_reason_id");
    http_request_free(&req);
}

/* ---- the log-in ---- */

static struct answer login_said(int status, const char *watched, const char *body)
{
    const struct http_response res = {.end = HTTP_ANSWERED, .status = status, .body = body, .body_len = strlen(body), .content_type = "",
                                      .watched = watched, .retry_after_ms = -1, .error = ""};
    char token[FOLIO_TOKEN_SIZE];

    return login_answer(&res, token, sizeof token);
}

static void test_the_log_in(void **state)
{
    struct answer a;

    (void)state;
    a = login_said(201, "folioAccessToken=abc; Max-Age=600; Path=/", "{}");
    want_answer("expiring", &a, DONE, "logged_in");
    assert_int_equal(token_lasts_s(), 300); /* half of its life */
    a = login_said(404, "", NO_MODULE);
    want_answer("there is none", &a, AGAIN, "legacy");
    a = login_said(201, "abc", "{}");
    want_answer("the old one", &a, DONE, "logged_in");
    assert_int_equal(token_lasts_s(), 43200);
    assert_int_equal(login_form, FOLIO_LOGIN_LEGACY); /* remembered */
    a = login_said(503, "", "");
    assert_int_equal(a.verdict, LATER);
    assert_int_equal(login_form, FOLIO_LOGIN_EXPIRING); /* perhaps FOLIO has learned the other one */
}

static const struct {
    const char *tenant, *username, *password, *key, *reason;
    const char *wrong; /* NULL: nothing */
} settled_with[] = {
    {"diku", "u", "p", NULL, NULL, NULL},
    {"diku", "u", "p", NULL, REASON, NULL},
    {NULL, NULL, NULL, "k", REASON, NULL},
    {NULL, NULL, NULL, NULL, NULL, "FOLIO_TENANT is not set"},
    {"diku", NULL, "p", NULL, NULL, "FOLIO_USERNAME is not set"},
    {"diku", "u", NULL, NULL, NULL, "FOLIO_PASSWORD is not set"},
    {"diku", NULL, NULL, "k", NULL, "set one or the others"},
    {"diku", "u", "p", NULL, "lost", "FOLIO_CANCEL_REASON_ID"},
};

static void test_settings(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(settled_with); i++) {
        tenant = settled_with[i].tenant;
        username = settled_with[i].username;
        password = settled_with[i].password;
        api_key = settled_with[i].key;
        reason_id = settled_with[i].reason;
        folio.login_request = login_request;
        struct fault f = settled();
        assert_int_equal(f.kind, settled_with[i].wrong ? FAULT_MISUSE : FAULT_NONE);
        want_in("settings", "the fault", f.what, settled_with[i].wrong ? settled_with[i].wrong : "");
        assert_int_equal(!folio.login_request, !f.kind && api_key != NULL);
    }
}

int main(void)
{
#define TEST(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_what_comes_first), TEST(test_what_needs_no_call), TEST(test_answers), TEST(test_a_hold_that_exists),
        TEST(test_calls), TEST(test_the_form_of_cancelling), TEST(test_the_log_in), TEST(test_settings),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

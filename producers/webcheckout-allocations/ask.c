#include "producers/webcheckout-allocations/ask.h"

#include "common/log.h"
#include "producers/bookings/logins.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { LOGINS_A_QUESTION = 2, RATE_PAUSE_S = 60 };

struct reach reach;

static struct webcheckout_session session;
static int64_t scope;       /* the centre the session acts for; 0: none in particular */
static bool session_proven; /* an answer other than a refusal came in it */
static int64_t paused_until_us;
static struct logins logins;

static const char *const call_names[] = {"start", "setSessionScope", "info", "search", "get", "person"};

static void on_answer(void *of, const struct http_response *res)
{
    struct question *q = of;

    q->unanswered = res->end != HTTP_ANSWERED;
    switch (q->what) {
    case ASK_LOGIN: q->answer = webcheckout_login_answer(res, (enum webcheckout_api)reach.api, q->ret); break;
    case ASK_SCOPE: q->answer = webcheckout_scope_answer(res); break;
    case ASK_INFO: q->answer = webcheckout_info_answer(res, q->ret); break;
    case ASK_SEARCH: q->answer = webcheckout_search_answer(res, q->query->limit, q->ret); break;
    case ASK_ALLOCATION: q->answer = webcheckout_allocation_answer(res, q->ret); break;
    case ASK_PERSON: q->answer = webcheckout_person_answer(res, q->ret); break;
    }
}

static struct fault exchange(struct producer *p, struct question *q)
{
    static struct http_request req;
    enum webcheckout_api api = (enum webcheckout_api)reach.api;

    switch (q->what) {
    case ASK_LOGIN: webcheckout_login_request(&req, api, reach.username, reach.password); break;
    case ASK_SCOPE: webcheckout_scope_request(&req, api, session.token, q->oid); break;
    case ASK_INFO: webcheckout_info_request(&req, api); break;
    case ASK_SEARCH: webcheckout_search_request(&req, api, session.token, q->query); break;
    case ASK_ALLOCATION: webcheckout_allocation_request(&req, api, session.token, q->oid); break;
    case ASK_PERSON: webcheckout_person_request(&req, api, session.token, q->oid); break;
    }
    TRY(producer_ask(p, reach.url, &req, (int)reach.timeout_ms, on_answer, q));
    producer_called("webcheckout", call_names[q->what], &q->answer);
    log_debug("WebCheckout %s: %s", call_names[q->what], q->answer.reason);
    return FAULT_OK;
}

/* WebCheckout's own words name it; where it said nothing, we do. */
static struct fault refused(const struct question *q)
{
    const char *who = q->unanswered ? "WebCheckout at WEBCHECKOUT_URL: " : "";

    return q->answer.cause == CAUSE_CREDENTIALS ? FAULT(MISUSE, "%s%s", who, q->answer.reason)
                                                : FAULT(RETRY, "%s%s", who, q->answer.reason);
}

static struct fault begin_session(struct producer *p)
{
    struct question q = {.what = ASK_LOGIN, .ret = &session};

    TRY(logins_may(&logins, producer_loop(p)));
    TRY(exchange(p, &q));
    session_proven = false;
    scope = 0;
    if (q.answer.verdict == DONE) {
        logins_done(&logins);
        return FAULT_OK;
    }
    session.token[0] = '\0';
    if (q.answer.cause == CAUSE_CREDENTIALS && settings_reread_now())
        return begin_session(p); /* it was another one by now */
    struct fault f = refused(&q);
    logins_failed(&logins, producer_loop(p), &q.answer, f.what);
    return f;
}

struct fault log_in(struct producer *p, const struct webcheckout_session **ret)
{
    *ret = &session;
    return begin_session(p);
}

/* The question, behind the one that makes the session act for its centre; the answer is of the last that was asked. */
static struct fault ask_once(struct producer *p, struct question *q)
{
    struct question to = {.what = ASK_SCOPE, .oid = q->center};

    if (!q->center || scope == q->center)
        return exchange(p, q);
    TRY(exchange(p, &to));
    q->answer = to.answer;
    q->unanswered = to.unanswered;
    if (to.answer.verdict != DONE)
        return FAULT_OK;
    scope = q->center;
    return exchange(p, q);
}

bool would_not_say(const struct question *q)
{
    return q->answer.code && !strcmp(q->answer.code, "refused");
}

/* An oid may be nobody's: that will not be otherwise in a second. */
static bool worth_another_try(const struct question *q)
{
    return q->answer.cause == CAUSE_VENDOR && !((q->what == ASK_ALLOCATION || q->what == ASK_PERSON) && would_not_say(q));
}

struct fault ask(struct producer *p, struct question *q)
{
    q->answer = (struct answer){.code = ""};
    for (int sessions = 0, tries = 0;;) {
        int64_t now = loop_now(producer_loop(p));
        if (now < paused_until_us)
            return FAULT(RETRY, "WebCheckout asked to slow down: waiting %" PRId64 " s", (paused_until_us - now) / 1000000 + 1);
        if (!session.token[0])
            TRY(begin_session(p));
        TRY(ask_once(p, q));
        if (q->answer.verdict == DONE) {
            session_proven = true;
            return FAULT_OK;
        }
        if (q->answer.cause == CAUSE_TOKEN) {
            session.token[0] = '\0';
            if (sessions++ == LOGINS_A_QUESTION)
                return logins_in_vain(&logins, producer_loop(p), "WebCheckout refuses a session it has just begun: is another program"
                                                                 " using this account (WEBCHECKOUT_USERNAME)?");
            if (!session_proven)
                TRY(producer_pause(p, 2000));
            continue;
        }
        if (q->answer.cause == CAUSE_RATE) {
            int64_t wait_ms = q->answer.wait_ms > 0 ? q->answer.wait_ms : RATE_PAUSE_S * 1000;
            paused_until_us = loop_now(producer_loop(p)) + (wait_ms < 3600000 ? wait_ms : 3600000) * 1000;
        }
        if (!worth_another_try(q) || tries++)
            return refused(q);
        TRY(producer_pause(p, 1000));
    }
}

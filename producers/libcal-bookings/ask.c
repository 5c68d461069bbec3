#include "producers/libcal-bookings/ask.h"

#include "common/log.h"
#include "producers/bookings/logins.h"

#include <inttypes.h>
#include <stdio.h>

enum { LOGINS_A_QUESTION = 2, RATE_PAUSE_S = 60 };

struct reach reach;

static struct libcal_token token;
static bool token_proven; /* an answer other than a refusal came with it */
static int64_t token_until_us, paused_until_us;
static struct logins logins;

static const char *const call_names[] = {"token", "bookings", "booking", "locations", "form", "question"};

static void on_answer(void *of, const struct http_response *res)
{
    struct question *q = of;

    q->unanswered = res->end != HTTP_ANSWERED;
    switch (q->what) {
    case ASK_TOKEN: q->answer = libcal_token_answer(res, q->ret); break;
    case ASK_LIST:
    case ASK_BY_ID: q->answer = libcal_rows_answer(res, q->id_question, q->ret); break;
    case ASK_LOCATIONS: q->answer = libcal_locations_answer(res, q->ret); break;
    case ASK_FORM: q->answer = libcal_form_answer(res, q->id_question, q->ret); break;
    case ASK_QUESTION: q->answer = libcal_question_answer(res, q->id_question, q->ret); break;
    }
}

static struct fault exchange(struct producer *p, struct question *q)
{
    static struct http_request req;

    switch (q->what) {
    case ASK_TOKEN: libcal_token_request(&req, reach.client_id, reach.client_secret); break;
    case ASK_LIST: libcal_bookings_request(&req, token.token, q->id, q->days_ahead, q->page); break;
    case ASK_BY_ID: libcal_by_id_request(&req, token.token, q->ids, q->count); break;
    case ASK_LOCATIONS: libcal_locations_request(&req, token.token); break;
    case ASK_FORM: libcal_form_request(&req, token.token, q->id); break;
    case ASK_QUESTION: libcal_question_request(&req, token.token, q->id_question); break;
    }
    TRY(producer_ask(p, reach.url, &req, (int)reach.timeout_ms, on_answer, q));
    producer_called("libcal", call_names[q->what], &q->answer);
    log_debug("LibCal %s: %s", call_names[q->what], q->answer.reason);
    return FAULT_OK;
}

/* LibCal's own words name it; where it said nothing, we do. */
static struct fault refused(const struct question *q)
{
    const char *who = q->unanswered ? "LibCal at LIBCAL_URL: " : "";

    return q->answer.cause == CAUSE_CREDENTIALS ? FAULT(MISUSE, "%s%s", who, q->answer.reason)
                                                : FAULT(RETRY, "%s%s", who, q->answer.reason);
}

struct fault log_in(struct producer *p)
{
    struct question q = {.what = ASK_TOKEN, .ret = &token};

    TRY(logins_may(&logins, producer_loop(p)));
    TRY(exchange(p, &q));
    token_proven = false;
    if (q.answer.verdict == DONE) {
        int64_t lasts_s = token.expires_s > 120 ? token.expires_s - 60 : token.expires_s / 2;
        token_until_us = loop_now(producer_loop(p)) + lasts_s * 1000000;
        logins_done(&logins);
        return FAULT_OK;
    }
    token.token[0] = '\0';
    if (q.answer.cause == CAUSE_CREDENTIALS && settings_reread_now())
        return log_in(p); /* it was another one by now */
    struct fault f = refused(&q);
    logins_failed(&logins, producer_loop(p), &q.answer, f.what);
    return f;
}

struct fault ask(struct producer *p, struct question *q)
{
    for (int tokens = 0, tries = 0;;) {
        int64_t now = loop_now(producer_loop(p));
        if (now < paused_until_us)
            return FAULT(RETRY, "LibCal asked to slow down: waiting %" PRId64 " s", (paused_until_us - now) / 1000000 + 1);
        if (!token.token[0] || now >= token_until_us)
            TRY(log_in(p));
        TRY(exchange(p, q));
        if (q->answer.verdict == DONE) {
            token_proven = true;
            return FAULT_OK;
        }
        if (q->answer.cause == CAUSE_TOKEN) {
            token.token[0] = '\0';
            if (tokens++ == LOGINS_A_QUESTION)
                return logins_in_vain(&logins, producer_loop(p), "LibCal refuses a token it has just given: is another program using"
                                                                 " this account (LIBCAL_CLIENT_ID)?");
            if (!token_proven)
                TRY(producer_pause(p, 2000));
            continue;
        }
        if (q->answer.cause == CAUSE_RATE) {
            int64_t wait_ms = q->answer.wait_ms > 0 ? q->answer.wait_ms : RATE_PAUSE_S * 1000;
            paused_until_us = loop_now(producer_loop(p)) + (wait_ms < 3600000 ? wait_ms : 3600000) * 1000;
        }
        if (q->answer.cause != CAUSE_VENDOR || tries++)
            return refused(q);
        TRY(producer_pause(p, 1000));
    }
}

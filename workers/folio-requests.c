/*
 * folio-requests - what patrons ask of FOLIO: their account, renewals, holds, cancellations.
 *   in    folio.requests  key patron   schemas/folio.requests.schema.json, and `asked` by schemas/request.folio.schema.json
 *   call  account         GET account
 *         renew           GET account: when is it due; POST renew
 *         hold_item,      GET account: which holds are there already; POST hold
 *         hold_instance
 *         cancel_hold     GET account: is it the patron's, for FOLIO does not look; DELETE hold, or POST cancel
 *   row   requests(request_id)
 *   out   nothing
 *
 * FOLIO has no idempotency: a renewal that is sent twice may be made twice, and so may a hold. So what the account says before is
 * committed as known before the one call that changes something, and after a lost answer the account is read again, once the
 * call's deadline has passed: a later due date, a hold that was not there, a hold that is gone. Only when it shows that nothing
 * was done is the call made again. Even then the first may still arrive: what FOLIO answers to a second hold is compared with
 * the account once more, so that a hold made twice is not silent; of a renewal nobody could tell. What the account said before
 * is lost when PostgreSQL is restored from a backup: renewals and holds that may have been made since are set aside.
 *
 * With Okapi the worker logs in, and the patron is FOLIO's id of the user. With edge-patron (FOLIO_API_KEY) there is no log-in,
 * and the patron is the externalSystemId.
 *
 * code and outcome (common/folio_request.h says what they look like) of
 *   account        account      folio_put_account
 *   renew          renewed      folio_put_renewed
 *   hold_…         held         folio_put_held
 *                  exists       the same: the patron had this hold already, and FOLIO takes no second one
 *                  maybe_twice  the same: an earlier try arrived after all, `twice` has the other hold; also for the desk
 *   cancel_hold    cancelled    folio_put_cancelled
 *                  gone         the same: it was closed already
 *   refused, with FOLIO's words where they are fit for a patron, and no outcome: refused, not_found, no_patron, inactive, bad_id,
 *   not_requestable, not_theirs, exists (FOLIO takes no second hold and does not show the first); bad_request names the member.
 */
#include "common/folio_request.h"
#include "common/json.h"
#include "common/scoped.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

/* ---- settings ---- */

static const char *url, *tenant, *username, *password, *api_key, *reason_id;
static int64_t timeout_ms;
static double calls_per_second;

static const struct setting settings[] = {
    {"FOLIO_URL", SET_URL, NULL, .required = true, .to = &url,
     .help = "root of Okapi or of edge-patron, before /patron: https://okapi.example.edu"},
    {"FOLIO_TENANT", SET_TEXT, NULL, .to = &tenant, .help = "Okapi: the library's tenant, as diku"},
    {"FOLIO_USERNAME", SET_TEXT, NULL, .to = &username, .help = "Okapi: a user with the permissions of patron.all"},
    {"FOLIO_PASSWORD", SET_SECRET, NULL, .to = &password, .help = "Okapi: its password"},
    {"FOLIO_API_KEY", SET_SECRET, NULL, .to = &api_key,
     .help = "edge-patron's API key, in place of the three; patrons are then known by their externalSystemId"},
    {"FOLIO_CANCEL_REASON_ID", SET_TEXT, NULL, .to = &reason_id,
     .help = "id of the library's cancellation reason for holds that patrons cancel, a UUID; mod-patron wants it from 4.0 on"},
    {"FOLIO_CALLS_PER_SECOND", SET_NUMBER, "0", .least = 0, .most = 10000, .to = &calls_per_second,
     .help = "calls a second of all workers together; 0: as many as CONCURRENCY allows"},
    {"FOLIO_TIMEOUT_MS", SET_WHOLE, "40000", .least = 100, .most = 600000, .to = &timeout_ms,
     .help = "how long an answer may take, milliseconds; edge-patron itself waits for 30000"},
    {0}};

/* ---- the vendor ---- */

static enum folio_login login_form;
static int64_t token_s;

static const char *root_of(void) { return url; }

static void login_request(struct http_request *req)
{
    folio_login_request(req, login_form, tenant, username, password);
}

/* The form that works is remembered; when it does no more, the other is tried again. */
static struct answer login_answer(const struct http_response *res, char *ret_token, size_t size)
{
    struct folio_token token;
    struct answer a = folio_login_answer(res, login_form, &token);

    login_form = a.verdict == AGAIN || (a.verdict == DONE && login_form == FOLIO_LOGIN_LEGACY) ? FOLIO_LOGIN_LEGACY
                                                                                                : FOLIO_LOGIN_EXPIRING;
    text_copy(ret_token, size, token.token);
    token_s = token.lasts_s > 1 ? token.lasts_s / 2 : token.lasts_s; /* as FOLIO's own client uses it */
    return a;
}

static int64_t token_lasts_s(void) { return token_s; }

/* The log-in is taken away where there is none. */
static struct vendor folio = {.name = "folio", .root = root_of, .login_request = login_request, .login_answer = login_answer,
                              .token_lasts_s = token_lasts_s, .calls_per_second = &calls_per_second};

static struct folio_door door_with(const char *token)
{
    return (struct folio_door){.edge = api_key != NULL, .tenant = tenant, .secret = api_key ? api_key : token};
}

static struct fault settled(void)
{
    if (api_key && (tenant || username || password))
        return FAULT(MISUSE, "FOLIO_API_KEY is edge-patron's; FOLIO_TENANT, FOLIO_USERNAME and FOLIO_PASSWORD are Okapi's: set one "
                             "or the others");
    if (!api_key && !(tenant && username && password))
        return FAULT(MISUSE, "%s is not set: Okapi wants FOLIO_TENANT, FOLIO_USERNAME and FOLIO_PASSWORD, edge-patron FOLIO_API_KEY",
                     !tenant ? "FOLIO_TENANT" : !username ? "FOLIO_USERNAME" : "FOLIO_PASSWORD");
    if (reason_id && !folio_uuid(reason_id))
        return FAULT(MISUSE, "FOLIO_CANCEL_REASON_ID: want a UUID of version 1 to 5");
    if (api_key)
        folio.login_request = NULL;
    return FAULT_OK;
}

/* ---- a job ---- */

enum step { ACCOUNT, RENEW, HOLD_ITEM, HOLD_INSTANCE, CANCEL };

/* What the account is read for. */
enum reading {
    SHOW,   /* it is what was asked for */
    BEFORE, /* what a later judgement needs */
    BECAME, /* nobody knows what became of the call */
    AFTER,  /* FOLIO has answered a call that was sent again: what of the first one? */
    EXISTS, /* FOLIO takes no second hold: where is the first? */
};

struct job {
    struct request request; /* first: see request.h */
    struct folio_asked asked;
    struct folio_known known;
    enum step step;
    enum reading reading;
    enum folio_cancel_form form;
    bool both_forms;
    struct folio_account account; /* empty but while an answer is read */
};

static enum folio_cancel_form cancel_form = FOLIO_CANCEL_POST; /* the one that worked last */

static int step(const void *job) { return (int)((const struct job *)job)->step; }

static struct fault decode(const char *value, size_t len, void *job)
{
    return request_read(value, len, "folio", &((struct job *)job)->request);
}

static void release(void *of)
{
    folio_account_free(&((struct job *)of)->account);
    request_release(of);
}

static bool is_hold(const struct job *job)
{
    return job->asked.action == FOLIO_HOLD_ITEM || job->asked.action == FOLIO_HOLD_INSTANCE;
}

static struct folio_wish wish_of(const struct job *job)
{
    return (struct folio_wish){.item_id = job->asked.action == FOLIO_HOLD_ITEM ? job->asked.item : NULL,
                               .instance_id = job->asked.action == FOLIO_HOLD_INSTANCE ? job->asked.instance : NULL,
                               .pickup_id = job->asked.pickup, .requested = job->known.at, .expires = job->asked.expires};
}

/* ---- what comes first ---- */

static void read_account(struct job *job, enum reading reading)
{
    job->step = ACCOUNT;
    job->reading = reading;
}

static void call(struct job *job)
{
    static const enum step steps[] = {[FOLIO_RENEW] = RENEW, [FOLIO_HOLD_ITEM] = HOLD_ITEM,
                                      [FOLIO_HOLD_INSTANCE] = HOLD_INSTANCE, [FOLIO_CANCEL_HOLD] = CANCEL};

    job->step = steps[job->asked.action];
    job->form = reason_id ? cancel_form : FOLIO_CANCEL_DELETE;
    job->both_forms = false;
}

static enum look_end looked(void *of, const struct look_row *row, enum prior prior, struct answer *ret)
{
    struct job *job = of;
    struct request *r = &job->request;

    if (request_looked(r, row, ret) == LOOK_DROP)
        return LOOK_DROP;
    struct fault f = folio_asked_read(r, api_key != NULL, &job->asked);
    if (f.kind) {
        text_copy(r->words, sizeof r->words, f.what);
        *ret = answer_make(REJECTED, CAUSE_WORK, "bad_request", "%s", f.what);
        return LOOK_ANSWER;
    }
    folio_known_read(r->known, &job->known);
    if (prior == PRIOR_FORGOTTEN && !job->known.begun && (job->asked.action == FOLIO_RENEW || is_hold(job))) {
        *ret = request_forgotten();
        return LOOK_ANSWER;
    }
    /* a call that was sent again is judged by what was there before the first */
    bool stale = !job->known.again && r->now - job->known.at >= FOLIO_FRESH_SECONDS;
    if (job->asked.action == FOLIO_ACCOUNT)
        read_account(job, SHOW);
    else if (job->known.told)
        read_account(job, AFTER);
    else if (job->known.begun && prior != PRIOR_NONE)
        read_account(job, BECAME);
    else if (!job->known.begun || stale)
        read_account(job, BEFORE);
    else
        call(job);
    return LOOK_CALL;
}

/* ---- the calls ---- */

static unsigned lists_of(const struct job *job)
{
    switch (job->asked.action) {
    case FOLIO_ACCOUNT: return job->asked.lists;
    case FOLIO_RENEW: return FOLIO_LOANS;
    default: return FOLIO_HOLDS;
    }
}

static const char *known_of_hold(const struct job *job, const char *member)
{
    const char *value = json_str(job->known.hold, member);

    return value ? value : "";
}

static void request_cancel(const struct job *job, struct http_request *req, const struct folio_door *door)
{
    const char *item = known_of_hold(job, "item");
    struct folio_cancel cancel = {.hold_id = known_of_hold(job, "hold"), .item_id = item[0] ? item : job->asked.item,
                                  .reason_id = reason_id, .pickup_id = known_of_hold(job, "pickup"), .at = job->request.now};

    folio_cancel_request(req, door, job->request.patron, job->form, &cancel);
}

static void request(const void *of, struct http_request *req, const char *token)
{
    const struct job *job = of;
    const struct folio_door door = door_with(token);
    const struct folio_wish wish = wish_of(job);

    switch (job->step) {
    case ACCOUNT: folio_account_request(req, &door, job->request.patron, lists_of(job)); break;
    case RENEW: folio_renew_request(req, &door, job->request.patron, job->asked.item); break;
    case HOLD_ITEM:
    case HOLD_INSTANCE: folio_hold_request(req, &door, job->request.patron, &wish); break;
    case CANCEL: request_cancel(job, req, &door); break;
    }
}

/* ---- what the account says ---- */

static struct answer stepped(const char *code)
{
    return answer_make(STEP, CAUSE_WORK, code, "%s", "");
}

static struct answer not_shown(const char *what)
{
    return answer_make(UNKNOWN, CAUSE_WORK, "not_shown", "FOLIO's account does not say whether %s", what);
}

static struct answer send_again(struct job *job)
{
    folio_learn_again(&job->request.learned, &job->known);
    return stepped("not_done");
}

static struct answer before_cancelling(struct job *job)
{
    struct request *r = &job->request;
    const struct folio_hold *hold = NULL;

    for (size_t i = 0; i < job->account.hold_count && !hold; i++)
        if (!strcasecmp(job->account.holds[i].id, job->asked.hold))
            hold = &job->account.holds[i];
    if (hold) { /* one that is closed FOLIO will say so of */
        folio_learn_hold(&r->learned, r->now, hold);
        return stepped("read");
    }
    if (!job->account.holds_whole)
        return answer_make(LATER, CAUSE_WORK, "not_shown", "FOLIO does not show all of the patron's holds");
    text_copy(r->words, sizeof r->words, "the patron has no such hold");
    return answer_make(REJECTED, CAUSE_WORK, "not_found", "the patron has no such hold");
}

static struct answer before(struct job *job)
{
    const struct folio_door door = door_with("");
    const struct folio_wish wish = wish_of(job);
    const struct folio_loan *loan;

    switch (job->asked.action) {
    case FOLIO_CANCEL_HOLD: return before_cancelling(job);
    case FOLIO_RENEW:
        folio_renew_fate(&job->account, job->asked.item, 0, &loan);
        folio_learn_due(&job->request.learned, job->request.now, loan);
        return stepped("read");
    default:
        folio_learn_holds(&job->request.learned, job->request.now, &job->account, &door, &wish);
        return stepped("read");
    }
}

static struct answer renewed(struct job *job, const struct folio_loan *loan)
{
    folio_put_renewed(&job->request.outcome, loan, job->known.due);
    return answer_make(DONE, CAUSE_WORK, "renewed", "%s", "");
}

static struct answer cancelled(struct job *job, const char *code)
{
    folio_put_cancelled(&job->request.outcome, job->known.hold);
    return answer_make(DONE, CAUSE_WORK, code, "%s", "");
}

/* told NULL: the hold is the account's. */
static struct answer held(struct job *job, json_object *told, const struct folio_wish *wish)
{
    const struct folio_door door = door_with("");

    if (folio_put_held(&job->request.outcome, told, &job->account, &door, wish))
        return answer_make(DONE, CAUSE_WORK, "maybe_twice", "FOLIO has this hold more than once: an earlier try arrived after all");
    return answer_make(DONE, CAUSE_WORK, "held", "%s", "");
}

/* Of the holds, only those that can be ours are left in the account. */
static enum folio_fate fate_of_hold(struct job *job, struct folio_wish *wish)
{
    const struct folio_door door = door_with("");

    *wish = wish_of(job);
    if (!folio_only_new(&job->account, &job->known))
        wish->requested = 0;
    return folio_hold_fate(&job->account, &door, wish, NULL, NULL);
}

static struct answer became(struct job *job)
{
    const struct folio_loan *loan;
    struct folio_wish wish;
    enum folio_fate fate;

    if (job->asked.action == FOLIO_RENEW) {
        fate = folio_renew_fate(&job->account, job->asked.item, job->known.due, &loan);
        if (fate == FOLIO_HAPPENED)
            return renewed(job, loan);
    } else if (is_hold(job)) {
        fate = fate_of_hold(job, &wish);
        if (fate == FOLIO_HAPPENED)
            return held(job, NULL, &wish);
    } else {
        fate = folio_cancel_fate(&job->account, known_of_hold(job, "hold"));
        if (fate == FOLIO_HAPPENED)
            return cancelled(job, "cancelled");
    }
    return fate == FOLIO_DID_NOT ? send_again(job) : not_shown("it was done");
}

static struct answer told_refusal(struct job *job)
{
    static const char *const codes[] = {"not_found", "no_patron", "inactive", "bad_id", "not_requestable", "not_theirs", "exists"};
    const char *code = "refused";

    for (size_t i = 0; i < COUNT(codes); i++)
        if (!strcmp(codes[i], job->known.told_code))
            code = codes[i]; /* static, as an answer wants it */
    text_copy(job->request.words, sizeof job->request.words, job->known.told_words);
    return answer_make(REJECTED, CAUSE_WORK, code, "FOLIO refuses it, and shows nothing of an earlier try");
}

static struct answer after(struct job *job)
{
    json_object *hold = json_get(job->known.told, "hold");
    const struct folio_loan *loan;
    struct folio_wish wish;
    enum folio_fate fate;

    if (job->asked.action == FOLIO_RENEW) {
        fate = folio_renew_fate(&job->account, job->asked.item, job->known.due, &loan);
        if (fate == FOLIO_HAPPENED)
            return renewed(job, loan);
    } else {
        fate = fate_of_hold(job, &wish);
        if (hold || fate == FOLIO_HAPPENED)
            return held(job, hold, &wish);
    }
    return fate == FOLIO_DID_NOT ? told_refusal(job) : not_shown("an earlier try was done");
}

/* FOLIO takes no second hold. An earlier try of ours may be the first; otherwise it is what the patron had before. */
static struct answer exists(struct job *job)
{
    const struct folio_door door = door_with("");
    struct request *r = &job->request;
    struct folio_wish any = wish_of(job), wish;

    any.requested = 0;
    bool there = folio_hold_fate(&job->account, &door, &any, NULL, NULL) == FOLIO_HAPPENED;
    if (there)
        folio_put_held(&r->outcome, NULL, &job->account, &door, &any);
    if (job->known.again) {
        enum folio_fate fate = fate_of_hold(job, &wish);
        if (fate != FOLIO_DID_NOT)
            text_clear(&r->outcome);
        if (fate == FOLIO_HAPPENED)
            return held(job, NULL, &wish);
        if (fate == FOLIO_UNCLEAR)
            return not_shown("an earlier try was done");
    }
    if (there)
        return answer_make(DONE, CAUSE_WORK, "exists", "the patron had this hold already");
    text_copy(r->words, sizeof r->words, "FOLIO has such a hold already, and does not show it");
    return answer_make(REJECTED, CAUSE_WORK, "exists", "FOLIO has such a hold already, and does not show it");
}

static struct answer shown(struct job *job, struct answer a)
{
    switch (job->reading) {
    case SHOW: folio_put_account(&job->request.outcome, &job->account, job->asked.lists); return a;
    case BEFORE: return before(job);
    case BECAME: return became(job);
    case AFTER: return after(job);
    default: return exists(job);
    }
}

/* A "no" to a question about something that may have been done is none to the request. */
static struct answer refused_to_show(struct job *job, struct answer a)
{
    if (a.verdict != REJECTED || job->reading == SHOW || job->reading == BEFORE)
        return a;
    job->request.words[0] = '\0';
    return answer_make(UNKNOWN, CAUSE_WORK, "not_shown", "%s", a.reason);
}

/* ---- what an answer means ---- */

static struct answer account_answer(struct job *job, const struct http_response *res)
{
    const struct folio_door door = door_with("");

    struct answer a = folio_account_answer(res, &door, lists_of(job), &job->account, job->request.words);
    a = a.verdict == DONE ? shown(job, a) : refused_to_show(job, a);
    folio_account_free(&job->account); /* it may be large, and the job may have to wait */
    return a;
}

/* The call was sent before: what FOLIO says of it is committed, and then compared with what the account shows. */
static struct answer told(struct job *job, const char *code, const struct folio_hold *hold)
{
    folio_learn_told(&job->request.learned, code, job->request.words, hold);
    job->request.words[0] = '\0';
    return stepped(code);
}

static struct answer renew_answer(struct job *job, const struct http_response *res)
{
    const struct folio_door door = door_with("");
    struct folio_loan loan;

    struct answer a = folio_renew_answer(res, &door, &loan, job->request.words);
    if (a.verdict == DONE)
        return renewed(job, &loan);
    return a.verdict == REJECTED && job->known.again ? told(job, a.code, NULL) : a;
}

static struct answer hold_answer(struct job *job, const struct http_response *res)
{
    const struct folio_door door = door_with("");
    struct folio_hold hold;

    struct answer a = folio_hold_answer(res, &door, &hold, job->request.words);
    if (a.verdict == AGAIN)
        read_account(job, EXISTS);
    if (job->known.again && (a.verdict == DONE || a.verdict == REJECTED))
        return told(job, a.code, a.verdict == DONE ? &hold : NULL);
    if (a.verdict == DONE)
        folio_put_hold_answered(&job->request.outcome, &hold);
    return a;
}

static struct answer cancel_answer(struct job *job, const struct http_response *res)
{
    const struct folio_door door = door_with("");

    struct answer a = folio_cancel_answer(res, &door, job->form, job->both_forms, job->request.words);
    if (a.verdict == DONE)
        return cancelled(job, a.code);
    if (a.verdict != AGAIN)
        return a;
    if (!reason_id)
        return answer_make(LATER, CAUSE_WORK, "no_reason_id", "this FOLIO wants a reason of every cancelling: set FOLIO_CANCEL_REASON_ID");
    cancel_form = job->form == FOLIO_CANCEL_POST ? FOLIO_CANCEL_DELETE : FOLIO_CANCEL_POST;
    job->form = cancel_form;
    job->both_forms = true;
    return a;
}

static struct answer interpret(void *of, const struct http_response *res)
{
    struct job *job = of;

    switch (job->step) {
    case ACCOUNT: return account_answer(job, res);
    case RENEW: return renew_answer(job, res);
    case CANCEL: return cancel_answer(job, res);
    default: return hold_answer(job, res);
    }
}

/* ---- --check ---- */

struct login {
    struct answer answer;
    char token[FOLIO_TOKEN_SIZE];
};

static void on_login(void *of, const struct http_response *res)
{
    struct login *login = of;

    login->answer = login_answer(res, login->token, sizeof login->token);
}

static struct fault trouble(const struct answer *a, const char *what, const char *which)
{
    return fault_make(a->cause == CAUSE_CREDENTIALS ? FAULT_MISUSE : FAULT_RETRY, "FOLIO %s: %s; see %s", what, a->reason, which);
}

static struct fault check_login(struct http *http, struct login *ret)
{
    struct http_request req = {0};

    do {
        login_request(&req);
        http_wait(http, url, &req, (int)timeout_ms, on_login, ret);
    } while (ret->answer.verdict == AGAIN);
    http_request_free(&req);
    if (ret->answer.verdict != DONE)
        return trouble(&ret->answer, "log-in", "FOLIO_URL, FOLIO_TENANT, FOLIO_USERNAME, FOLIO_PASSWORD");
    printf("ok  FOLIO log-in\n");
    return FAULT_OK;
}

static const char nobody[] = "00000000-0000-4000-8000-000000000000";

static void on_account(void *of, const struct http_response *res)
{
    const struct folio_door door = door_with("");
    struct folio_account account = {0};
    char words[FOLIO_WORDS_SIZE];

    *(struct answer *)of = folio_account_answer(res, &door, 0, &account, words);
    folio_account_free(&account);
}

/* Asks for the account of somebody there is not: FOLIO knows the call, and lets us make it. */
static struct fault check(struct http *http)
{
    struct http_request req = {0};
    struct login login = {0};
    struct answer a;

    if (!api_key)
        TRY(check_login(http, &login));
    const struct folio_door door = door_with(login.token);
    folio_account_request(&req, &door, nobody, 0);
    http_wait(http, url, &req, (int)timeout_ms, on_account, &a);
    http_request_free(&req);
    if (a.verdict != DONE && a.verdict != REJECTED)
        return trouble(&a, "patron accounts", api_key ? "FOLIO_URL, FOLIO_API_KEY" : "FOLIO_URL, FOLIO_TENANT, FOLIO_USERNAME");
    printf("ok  FOLIO patron accounts by %s\n", api_key ? "edge-patron" : "Okapi");
    return FAULT_OK;
}

static const struct setting *const tables[] = {settings, NULL};
static const char *const call_names[] = {[ACCOUNT] = "account", [RENEW] = "renew", [HOLD_ITEM] = "holdItem",
                                         [HOLD_INSTANCE] = "holdInstance", [CANCEL] = "cancelHold"};

static const struct stage folio_requests = {
    .name = "folio-requests", .consumes = "folio.requests",
    .about = "does at FOLIO what patrons ask for: accounts, renewals, holds, cancellations",
    .vendor = &folio, .tables = tables, .call = CALL_ASKABLE, .patient = true, .call_names = call_names,
    .changes = 1u << RENEW | 1u << HOLD_ITEM | 1u << HOLD_INSTANCE | 1u << CANCEL,
    .job_size = sizeof(struct job), .concurrency = "4", .timeout_ms = &timeout_ms, .settled = settled, .check = check,
    .decode = decode, .release = release, .key = request_key, .subject = request_subject, .step = step,
    .look_names = request_look_names, .look_columns = 1, .look_sql = request_look_sql, .look_put = request_look_put, .looked = looked,
    .request = request, .answer = interpret,
    .record_columns = REQUEST_RECORD_COLUMNS, .record_sql = request_record_sql, .record_put = request_record_put,
};

int main(int argc, char **argv)
{
    return stage_main(&folio_requests, argc, argv);
}

/*
 * wise-holds-prepare - may this title be put on hold, where, and at what cost? Every request to Wise enters here.
 *   in    wise.holds.prepare  key patron   schemas/wise.holds.prepare.schema.json
 *   call  GET preparehold of one title, again where it is to be fetched at another branch; PUT holdoption of several
 *   row   requests(request_id): what was learned, for the next stage; or why it is not placed
 *   out   wise.holds.place    key patron   schemas/wise.holds.place.schema.json
 *
 * Requests that need no preparing (list, cancel_hold) pass through without a call, so that nothing overtakes.
 *
 * What ends here, and nothing is placed; outcome says what would be possible (wise_put_offer, wise_put_options):
 *   refused  not_possible, choose_issue, ill_unclear; what Wise refuses; bad_request (no outcome)
 *   asks     too_dear, cost_unknown (cost_max was given, and Wise does not say), only_ill (without "ill": "if_needed"),
 *            only_hold, branch_not_offered, fast_not_possible
 */
#include "common/json.h"
#include "common/wise.h"

#include <string.h>

enum step { PREPARE = WISE_FIRST_STEP, OPTIONS };

struct job {
    struct wise_job wise; /* first: see wise.h */
    char branch[WISE_ID_SIZE]; /* it is prepared for */
};

static enum look_end looked(void *of, const struct look_row *row, enum prior prior, struct answer *ret)
{
    struct job *job = of;

    (void)prior;
    if (request_looked(&job->wise.request, row, ret) == LOOK_DROP)
        return LOOK_DROP;
    if (!wise_job_asked(&job->wise, ret))
        return LOOK_ANSWER;
    enum wise_action action = job->wise.asked.action;
    if ((action != WISE_HOLD && action != WISE_HOLDS) || json_get(job->wise.request.known, "prepared"))
        return LOOK_ON;
    text_copy(job->branch, sizeof job->branch, job->wise.asked.branch);
    wise_go(&job->wise, action == WISE_HOLD ? PREPARE : OPTIONS);
    return LOOK_CALL;
}

static void request(const void *of, struct http_request *req, const char *token)
{
    const struct job *job = of;
    const struct wise_asked *asked = &job->wise.asked;
    const char *patron = job->wise.request.patron;
    struct wise_session s;

    if (wise_job_request(&job->wise, req, token, &s))
        return;
    if (job->wise.step == PREPARE)
        wise_prepare_request(req, &s, patron, asked->library, asked->titles.at[0], job->branch);
    else
        wise_options_request(req, &s, patron, asked->titles.at, asked->titles.count, asked->together,
                             asked->terms.pickup_branch);
}

/* What ends the request here is for the patron to read. */
static struct answer ended(struct job *job, struct answer a, bool asks)
{
    if (a.verdict != REJECTED)
        return a;
    job->wise.request.state = asks ? "asks" : NULL;
    return wise_say(&job->wise, a);
}

static struct answer prepared(void)
{
    return answer_make(STEP, CAUSE_WORK, "prepared", "%s", "");
}

static struct answer offered(struct job *job, const struct http_response *res)
{
    struct request *r = &job->wise.request;
    struct wise_offer offer;
    bool asks;

    struct answer a = wise_job_answer(&job->wise, res, wise_prepare_answer(res, &job->wise.spelling, &offer));
    if (a.verdict != DONE)
        return ended(job, a, false);
    a = wise_judge_offer(&offer, &job->wise.asked, job->branch, &asks);
    if (a.verdict == AGAIN) {
        text_copy(job->branch, sizeof job->branch, job->wise.asked.terms.pickup_branch);
        wise_go(&job->wise, PREPARE);
        return a;
    }
    if (a.verdict == REJECTED) {
        wise_put_offer(&r->outcome, &offer, job->branch);
        return ended(job, a, asks);
    }
    wise_learn_offer(&r->learned, &offer, job->branch, !strcmp(a.code, "ill"), r->now);
    return prepared();
}

static struct answer options_offered(struct job *job, const struct http_response *res)
{
    const struct wise_titles *titles = &job->wise.asked.titles;
    struct request *r = &job->wise.request;
    struct wise_options options;
    bool place[WISE_TITLES_MAX], asks;

    struct answer a = wise_job_answer(&job->wise, res, wise_options_answer(res, &job->wise.spelling, &options));
    if (a.verdict != DONE)
        return ended(job, a, false);
    a = wise_judge_options(&options, &job->wise.asked, place, &asks);
    if (a.verdict == REJECTED) {
        wise_put_options(&r->outcome, &options);
        return ended(job, a, asks);
    }
    wise_learn_options(&r->learned, &options, titles, place, r->now);
    return prepared();
}

static struct answer interpret(void *of, const struct http_response *res)
{
    struct job *job = of;

    switch (job->wise.step) {
    case PREPARE: return offered(job, res);
    case OPTIONS: return options_offered(job, res);
    default: return ended(job, wise_token_answer(&job->wise, res), false);
    }
}

static void onward(const void *of, struct text *ret_key, struct text *ret_value)
{
    const struct request *r = of;

    text_puts(ret_key, r->patron);
    request_write(ret_value, r);
}

static const struct setting *const tables[] = {wise_settings, NULL};
static const char *const call_names[] = {[WISE_TOKEN] = "proxyauthentication", [PREPARE] = "preparehold",
                                         [OPTIONS] = "holdoption"};

static const struct stage wise_holds_prepare = {
    .name = "wise-holds-prepare", .consumes = "wise.holds.prepare", .produces = "wise.holds.place",
    .about = "asks Wise whether, where and at what cost a title can be put on hold",
    .vendor = &wise, .tables = tables, .call = CALL_READS, .call_names = call_names, .job_size = sizeof(struct job),
    .concurrency = "4", .timeout_ms = &wise_timeout_ms, .settled = wise_settled, .check = wise_check,
    .decode = wise_decode, .release = request_release, .key = request_key, .subject = request_subject, .step = wise_step,
    .look_names = request_look_names, .look_columns = 1, .look_sql = request_look_sql, .look_put = request_look_put,
    .looked = looked, .request = request, .answer = interpret,
    .record_columns = REQUEST_RECORD_COLUMNS, .record_sql = request_record_sql, .record_put = request_record_put,
    .onward = onward,
};

int main(int argc, char **argv)
{
    return stage_main(&wise_holds_prepare, argc, argv);
}

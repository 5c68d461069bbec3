/*
 * wise-holds-place - places a patron's holds at Wise, cancels one, lists them.
 *   in    wise.holds.place  key patron   schemas/wise.holds.place.schema.json
 *   call  hold, holds    GET hold: what the patron has already; POST hold; GET hold: what became of it
 *         cancel_hold    GET hold: is it there; DELETE hold
 *         list           GET hold
 *   row   requests(request_id)
 *   out   nothing
 *
 * Nobody knows what Wise does with a hold that is sent twice, and no answer brings a hold's id. So the patron's holds are read,
 * and committed as known, before the one call that places; whatever is there afterwards on the same titles, and was not before,
 * is ours. After a lost answer that list decides, once the call's deadline has passed; only when nothing is there is the
 * placing sent again. What was known is lost when PostgreSQL is restored from a backup: placings that may have been made since are
 * set aside.
 *
 * outcome of
 *   hold, holds    wise_put_placed: {"holds":[…],"missing":[],"ill":false,"cost":"0.00"}, with the code
 *                    placed       the titles are among the patron's holds (of type ONE at least one)
 *                    some_placed  of type ALL: Wise has placed some, `missing` says which it has not
 *                    maybe_twice  one is there twice, as an earlier try arrived after all: also for the desk
 *                    not_listed   Wise has said yes and does not list it
 *                  refused: not_placed (Wise says yes, and has placed none), refused, not_found; stale (what was prepared is
 *                  old or Wise names the parameters: asking again may help)
 *   cancel_hold    {"hold":"617985","number":"21061000002","title":"4595"}; `hold` in the request is either of the first two
 *                  refused: not_found, not_allowed
 *   list           wise_put_list: {"holds":[…],"complete":true}
 */
#include "common/json.h"
#include "common/scoped.h"
#include "common/vendors/reading.h"
#include "common/wise.h"

#include <stdlib.h>
#include <string.h>

enum step { LIST = WISE_FIRST_STEP, PLACE, PLACE_SEVERAL, CANCEL };

/* What the list of holds is read for. */
enum reading {
    SHOW,   /* it is what was asked for */
    BEFORE, /* what is there before a placing */
    BECAME, /* nobody knows what became of a placing */
    AFTER,  /* Wise has answered a placing: which holds are they? */
    FIND,   /* the hold to be cancelled */
    GONE,   /* nobody knows what became of a cancelling */
};

struct job {
    struct wise_job wise; /* first: see wise.h */
    enum reading reading;
    struct wise_prepared prepared;
    struct wise_placing_known placing;
    struct wise_holds *holds; /* as far as they are read */
};

static void forget_holds(struct job *job)
{
    free(job->holds);
    job->holds = NULL;
}

static void release(void *of)
{
    forget_holds(of);
    request_release(of);
}

/* ---- what comes first ---- */

static void read_holds(struct job *job, enum reading reading)
{
    forget_holds(job);
    job->reading = reading;
    wise_go(&job->wise, LIST);
}

static void look_at_placing(struct job *job, enum prior prior)
{
    const struct request *r = &job->wise.request;
    bool begun = wise_placing_read(r->known, &job->prepared, &job->placing);

    if (json_get(r->known, "placed"))
        read_holds(job, AFTER);
    else if (begun && prior != PRIOR_NONE)
        read_holds(job, BECAME);
    else if (!begun || (!job->placing.again && !wise_placing_fresh(r->known, r->now)))
        read_holds(job, BEFORE);
    else
        wise_go(&job->wise, job->wise.asked.action == WISE_HOLD ? PLACE : PLACE_SEVERAL);
}

static void look_at_cancelling(struct job *job, enum prior prior)
{
    if (!json_get(job->wise.request.known, "cancelling"))
        read_holds(job, FIND);
    else if (prior != PRIOR_NONE)
        read_holds(job, GONE);
    else
        wise_go(&job->wise, CANCEL);
}

static enum look_end looked(void *of, const struct look_row *row, enum prior prior, struct answer *ret)
{
    struct job *job = of;
    struct request *r = &job->wise.request;

    if (request_looked(r, row, ret) == LOOK_DROP)
        return LOOK_DROP;
    if (!wise_job_asked(&job->wise, ret))
        return LOOK_ANSWER;
    switch (job->wise.asked.action) {
    case WISE_LIST: read_holds(job, SHOW); return LOOK_CALL;
    case WISE_CANCEL_HOLD: look_at_cancelling(job, prior); return LOOK_CALL;
    default: break;
    }
    if (prior == PRIOR_FORGOTTEN && !json_get(r->known, "placing")) {
        *ret = request_forgotten();
        return LOOK_ANSWER;
    }
    if (!wise_prepared_read(r->known, &job->wise.asked, &job->prepared)) {
        *ret = wise_say(&job->wise, answer_make(REJECTED, CAUSE_WORK, "not_prepared",
                                                "it was not asked whether this is possible: send it to wise.holds.prepare"));
        return LOOK_ANSWER;
    }
    look_at_placing(job, prior);
    return LOOK_CALL;
}

/* ---- the calls ---- */

static struct wise_group group_of(const struct job *job)
{
    const struct wise_asked *asked = &job->wise.asked;

    /* the strategy it was prepared with: another could place on a level whose costs nobody has agreed to */
    return (struct wise_group){.titles = job->placing.left.at, .count = job->placing.left.count, .together = asked->together,
                               .fast_delivery = asked->terms.fast_delivery, .pickup_branch = job->prepared.pickup,
                               .due = asked->due, .strategy = job->prepared.strategy};
}

static const char *cancelling(const struct job *job, const char *member)
{
    const char *value = json_str(json_get(job->wise.request.known, "cancelling"), member);

    return value ? value : "";
}

static void request(const void *of, struct http_request *req, const char *token)
{
    const struct job *job = of;
    const struct wise_asked *asked = &job->wise.asked;
    const char *patron = job->wise.request.patron;
    struct wise_session s;

    if (wise_job_request(&job->wise, req, token, &s))
        return;
    if (job->wise.step == LIST) {
        wise_list_request(req, &s, patron, asked->library, job->holds ? job->holds->next : 0);
    } else if (job->wise.step == PLACE) {
        struct wise_order order = {.title = asked->titles.at[0], .hold_parameters = job->prepared.parameters,
                                   .ill = job->prepared.ill, .pickup_branch = job->prepared.pickup, .due = asked->due};
        wise_place_request(req, &s, patron, asked->library, &order);
    } else if (job->wise.step == PLACE_SEVERAL) {
        struct wise_group group = group_of(job);
        wise_place_several_request(req, &s, patron, &group);
    } else {
        wise_cancel_request(req, &s, patron, asked->library, cancelling(job, "id"));
    }
}

/* ---- what the list says ---- */

static struct answer step(const char *code)
{
    return answer_make(STEP, CAUSE_WORK, code, "%s", "");
}

static const char *since_of(const struct job *job) { return job->placing.since; }

static struct answer became(struct job *job, const struct wise_titles *titles, const char *group_id, size_t ret_at[])
{
    struct wise_placing placing = {.titles = titles->at, .count = titles->count, .together = job->wise.asked.together,
                                   .group_id = group_id, .since = since_of(job)};

    wise_only_new(job->holds, job->wise.request.known);
    return wise_became_placed(job->holds, &placing, ret_at);
}

/* It is placed, as far as it will be. */
static struct answer placed(struct job *job, struct answer a)
{
    struct request *r = &job->wise.request;

    a.verdict = DONE;
    wise_put_placed(&r->outcome, job->holds, &job->prepared, since_of(job), job->wise.asked.action == WISE_HOLD);
    return strcmp(a.code, "placed") ? wise_say(&job->wise, a) : a;
}

static struct answer after_doubt(struct job *job)
{
    const struct wise_titles *titles = &job->prepared.titles;
    struct wise_titles left = {0};
    size_t at[WISE_TITLES_MAX];

    struct answer a = became(job, titles, NULL, at);
    if (a.verdict == DONE)
        return placed(job, a);
    if (a.verdict != AGAIN)
        return a;
    for (size_t i = 0; i < titles->count; i++)
        if (at[i] == SIZE_MAX)
            left.at[left.count++] = titles->at[i];
    wise_learn_again(&job->wise.request.learned, job->wise.request.known, &left);
    return step(a.code); /* not there, and it can arrive no more: sent again */
}

static struct answer not_there(const char *code, const char *reason)
{
    return answer_make(DONE, CAUSE_WORK, code, "%s", reason);
}

static struct answer after_answer(struct job *job)
{
    json_object *told = json_get(job->wise.request.known, "placed");
    const char *refused = json_str(told, "refused"), *code = json_str(told, "code");
    bool stale = code && !strcmp(code, "stale");
    size_t at[WISE_TITLES_MAX];

    /* one that was sent before may have made a group of its own */
    struct answer a = became(job, &job->prepared.titles, job->placing.again ? NULL : json_str(told, "group"), at);
    bool none = a.verdict == AGAIN && !strcmp(a.code, "not_placed");
    if (a.verdict == DONE || (a.verdict == AGAIN && !none)) /* some_missing */
        return placed(job, a.verdict == DONE ? a : not_there("some_placed", a.reason));
    if (refused && none)
        return wise_say(&job->wise, answer_make(REJECTED, CAUSE_WORK, stale ? "stale" : "refused", "%s", refused));
    if (refused)
        return a;
    if (none && !reading_flag(told, "whole"))
        return wise_say(&job->wise, answer_make(REJECTED, CAUSE_WORK, "not_placed", "Wise has placed none of the titles"));
    return placed(job, not_there("not_listed", "Wise has taken it, and does not show it among the holds"));
}

static struct answer cancelled(struct job *job, struct answer a)
{
    struct text *to = &job->wise.request.outcome;

    text_puts(to, "{\"hold\":");
    text_json(to, cancelling(job, "id"));
    text_puts(to, ",\"number\":");
    text_json(to, cancelling(job, "number"));
    text_puts(to, ",\"title\":");
    text_json(to, cancelling(job, "title"));
    text_putc(to, '}');
    return a;
}

/* hold NULL: nobody can tell whether it is there; Wise will say. */
static struct answer to_be_cancelled(struct job *job, const struct wise_hold *hold)
{
    struct text *to = &job->wise.request.learned;

    text_puts(to, "{\"cancelling\":{\"id\":");
    text_json(to, hold ? hold->id : job->wise.asked.hold);
    text_puts(to, ",\"number\":");
    text_json(to, hold ? hold->number : "");
    text_puts(to, ",\"title\":");
    text_json(to, hold ? hold->title_id : "");
    text_puts(to, "}}");
    return step("found");
}

static struct answer found(struct job *job)
{
    const char *asked = job->wise.asked.hold;
    const struct wise_hold *hold = wise_hold_find(job->holds, asked, asked);

    struct answer a = wise_became_cancelled(job->holds, asked, asked);
    if (a.verdict == DONE)
        a = answer_make(REJECTED, CAUSE_WORK, "not_found", "the patron has no such hold");
    if (a.verdict == AGAIN && !hold->id[0])
        a = answer_make(REJECTED, CAUSE_WORK, "not_allowed", "Wise does not say how this hold would be cancelled");
    return a.verdict == REJECTED ? wise_say(&job->wise, a) : to_be_cancelled(job, hold);
}

static struct answer gone(struct job *job)
{
    struct answer a = wise_became_cancelled(job->holds, cancelling(job, "id"), cancelling(job, "number"));

    if (a.verdict == DONE)
        return cancelled(job, a);
    if (a.verdict == REJECTED)
        return wise_say(&job->wise, a);
    return a.verdict == AGAIN ? step(a.code) : a;
}

static struct answer listed(struct job *job, struct answer a)
{
    switch (job->reading) {
    case SHOW: wise_put_list(&job->wise.request.outcome, job->holds); return a;
    case BEFORE:
        wise_learn_placing(&job->wise.request.learned, job->holds, &job->prepared.titles, job->wise.request.now,
                           wise_library_offset(job->wise.request.now));
        return step("read");
    case BECAME: return after_doubt(job);
    case AFTER: return after_answer(job);
    case FIND: return found(job);
    default: return gone(job);
    }
}

/* ---- what an answer means ---- */

/* A "no" to a question about something that may have been done is none to the request. */
static struct answer refused(struct job *job, struct answer a)
{
    bool in_doubt = job->wise.then == LIST && (job->reading == BECAME || job->reading == AFTER || job->reading == GONE);

    if (a.verdict == REJECTED && in_doubt)
        return answer_make(UNKNOWN, CAUSE_WORK, "not_shown", "%s", a.reason);
    return a.verdict == REJECTED ? wise_say(&job->wise, a) : a;
}

static struct answer holds_answer(struct job *job, const struct http_response *res)
{
    if (!job->holds)
        job->holds = calloc(1, sizeof *job->holds);
    struct answer a = wise_list_answer(res, &job->wise.spelling, job->holds);
    a = wise_job_answer(&job->wise, res, a);
    a = a.verdict == DONE ? listed(job, a) : refused(job, a);
    if (a.verdict != AGAIN)
        forget_holds(job); /* they are large, and the job may have to wait */
    return a;
}

/* Wise has answered: what it did is to be found in the list, and the answer is committed before that is read. */
static struct answer told(struct job *job, bool whole, const char *group, const char *refusal, const char *code)
{
    struct text *to = &job->wise.request.learned;

    text_puts(to, whole ? "{\"placed\":{\"whole\":true,\"group\":" : "{\"placed\":{\"whole\":false,\"group\":");
    text_json(to, group);
    text_puts(to, ",\"code\":");
    text_json(to, code);
    if (refusal) {
        text_puts(to, ",\"refused\":");
        text_json(to, refusal);
    }
    text_puts(to, "}}");
    return step(code);
}

/* What Wise refuses may be what was prepared: nobody knows its words for that. */
static bool is_stale(const struct job *job, const struct answer *a)
{
    static const char *const words[] = {"parameter", NULL};

    return job->wise.request.now - job->prepared.at >= WISE_FRESH_SECONDS || reading_says(a->reason, strlen(a->reason), words);
}

static struct answer placing_refused(struct job *job, struct answer a)
{
    if (is_stale(job, &a))
        a = answer_make(REJECTED, CAUSE_WORK, "stale", "%s; what was prepared may no longer hold: ask again", a.reason);
    if (job->placing.again) /* an earlier try may have arrived after all, and be why */
        return told(job, false, "", a.reason, a.code);
    return wise_say(&job->wise, a);
}

static struct answer place_answer(struct job *job, const struct http_response *res)
{
    struct wise_placed done;
    struct answer a;

    if (job->wise.step == PLACE) {
        a = wise_place_answer(res, &job->wise.spelling, &done);
    } else {
        struct wise_group group = group_of(job);
        a = wise_place_several_answer(res, &job->wise.spelling, &group, &done);
    }
    a = wise_job_answer(&job->wise, res, a);
    if (a.verdict == REJECTED)
        return placing_refused(job, a);
    if (a.verdict == DONE)
        return told(job, true, done.group_id, NULL, "placed");
    if (a.verdict == UNKNOWN && !strcmp(a.code, "some_missing"))
        return told(job, false, done.group_id, NULL, "some_missing");
    return a;
}

static struct answer cancel_answer(struct job *job, const struct http_response *res)
{
    struct answer a = wise_job_answer(&job->wise, res, wise_cancel_answer(res, &job->wise.spelling));

    return a.verdict == DONE ? cancelled(job, a) : refused(job, a);
}

static struct answer interpret(void *of, const struct http_response *res)
{
    struct job *job = of;

    switch (job->wise.step) {
    case LIST: return holds_answer(job, res);
    case PLACE:
    case PLACE_SEVERAL: return place_answer(job, res);
    case CANCEL: return cancel_answer(job, res);
    default: return refused(job, wise_token_answer(&job->wise, res));
    }
}

static const struct setting *const tables[] = {wise_settings, NULL};
static const char *const call_names[] = {[WISE_TOKEN] = "proxyauthentication", [LIST] = "listHolds", [PLACE] = "placeHold",
                                         [PLACE_SEVERAL] = "placeHolds", [CANCEL] = "cancelHold"};

static const struct stage wise_holds_place = {
    .name = "wise-holds-place", .consumes = "wise.holds.place", .about = "places, cancels and lists patrons' holds at Wise",
    .vendor = &wise, .tables = tables, .call = CALL_ASKABLE, .patient = true, .call_names = call_names,
    .changes = 1u << PLACE | 1u << PLACE_SEVERAL | 1u << CANCEL,
    .job_size = sizeof(struct job), .concurrency = "4", .timeout_ms = &wise_timeout_ms, .settled = wise_settled,
    .check = wise_check,
    .decode = wise_decode, .release = release, .key = request_key, .subject = request_subject, .step = wise_step,
    .look_names = request_look_names, .look_columns = 1, .look_sql = request_look_sql, .look_put = request_look_put,
    .looked = looked, .request = request, .answer = interpret,
    .record_columns = REQUEST_RECORD_COLUMNS, .record_sql = request_record_sql, .record_put = request_record_put,
};

int main(int argc, char **argv)
{
    return stage_main(&wise_holds_place, argc, argv);
}

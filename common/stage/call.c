/* call.c - the vendor's call. */
#include "common/stage/worker.h"

#include "common/scoped.h"

static const char *call_name(const struct job *job)
{
    const struct stage *s = job->w->stage;

    return s->call_names[s->step ? s->step(job->of) : 0];
}

/* To look a series up by its name and labels costs as much as to parse an answer: both words are static, so their places do. */
static struct metric *call_metric(struct worker *w, const char *call, const char *code)
{
    for (int i = 0; i < w->call_metric_count; i++)
        if (w->call_metrics[i].call == call && w->call_metrics[i].code == code)
            return w->call_metrics[i].metric;
    struct metric *m = metric_make(METRIC_COUNTER, "shelfwire_vendor_calls_total", "Calls made at a vendor, by what came of them.",
                                   "vendor=\"%s\",call=\"%s\",code=\"%s\"", w->stage->vendor->name, call, code);
    if (w->call_metric_count < (int)COUNT(w->call_metrics))
        w->call_metrics[w->call_metric_count++] = (struct call_metric){call, code, m};
    return m;
}

static void note_call(struct job *job, const char *call, const struct answer *a, const struct http_response *res)
{
    struct worker *w = job->w;

    job_note_call(job, &(struct call_record){call, verdict_name(a->verdict), a->code, res->status, (int)(res->duration_us / 1000)});
    metric_add(call_metric(w, call, a->code), 1);
    metric_observe(w->m_seconds, (double)res->duration_us / 1e6);
}

static bool blamed(const struct job *job)
{
    return job->marked && health_blames(&job->w->access.health, job->mark, job->key_hash);
}

/* A failed try counts only while the same call goes well for others. */
static void count_try(struct job *job, struct answer *a)
{
    struct worker *w = job->w;
    struct health *h = &w->access.health;

    if (blamed(job))
        job->tries++;
    job->mark = health_mark(h);
    job->marked = true;
    if (job->tries >= stage_settings.tries_max) {
        struct answer dead = answer_make(DEAD, CAUSE_WORK, "tries_exhausted", "%lld tries failed while others went well; the last: %s",
                                         (long long)stage_settings.tries_max, a->reason);
        *a = dead;
    }
}

/* Nothing was done: it begins again from there, unless it is no longer ours. */
static void back(struct job *job, enum job_state to)
{
    struct worker *w = job->w;

    if (job_abandoned(job)) {
        job_give_up(job);
        worker_maybe_release(w);
    } else {
        job_move(job, to, true);
    }
}

static void on_answer(void *of, const struct http_response *res)
{
    struct job *job = of;
    struct worker *w = job->w;

    job->exchange = NULL;
    if (res->withheld) {
        back(job, J_LOOK); /* PostgreSQL knows by now whose it is */
        return;
    }
    const char *call = call_name(job);
    struct answer a = w->stage->answer(job->of, res);
    note_call(job, call, &a, res);
    access_answered(&w->access, job->account, job->key_hash, job->tries || blamed(job), job->token_serial, &a, res);
    if (res->end == HTTP_UNKNOWN || a.verdict == UNKNOWN)
        job->uncertain |= w->stage->call != CALL_READS;
    if (a.verdict == DONE || a.verdict == REJECTED || a.verdict == STEP)
        job->uncertain = job->forgotten = false, job->settled = true;
    if (a.verdict == AGAIN || (a.verdict == LATER && a.cause == CAUSE_TOKEN)) {
        back(job, J_READY);
        return;
    }
    if (a.verdict == LATER && (a.cause == CAUSE_VENDOR || a.cause == CAUSE_WORK))
        count_try(job, &a);
    if (a.verdict == UNKNOWN && w->stage->call == CALL_ASKABLE)
        count_try(job, &a);
    job_set_answer(job, &a);
}

static bool may_leave(void *of)
{
    return worker_heard(of);
}

static void call_those(struct worker *w, int limit, bool failed_too)
{
    int skipped = 0;

    for (struct job *job = TAILQ_FIRST(&w->ready), *next; job && w->calling_n < limit && skipped < 64; job = next) {
        next = TAILQ_NEXT(job, link);
        if ((job->part && !job->part->progress.known) || (job->marked && !failed_too))
            continue;
        if (worker_takes_intents(w) && loop_now(w->loop) > job->start_by_us) {
            job_move(job, J_LOOK, true); /* the intent's time is over: take it anew */
            continue;
        }
        if (dry_ends(job, call_name(job)))
            continue;
        job->account = w->stage->account ? w->stage->account(job->of) : 0;
        if (!access_take(&w->access, job->account)) {
            skipped++;
            continue;
        }
        w->stage->request(job->of, &w->request, w->access.token);
        job->token_serial = w->access.token_serial;
        w->request.may_leave = may_leave;
        w->request.may_leave_of = w;
        job->exchange = http_send(w->http, w->stage->vendor->root(), &w->request, w->timeout_ms, on_answer, job);
        if (!job->exchange) {
            job_free_intent(job);
            job_set_aside(job, "request_too_large", "the vendor's request cannot be built");
            continue;
        }
        job_move(job, J_CALLING, false);
    }
}

void worker_call(struct worker *w)
{
    int limit = access_limit(&w->access);

    access_round(&w->access);
    pause_call(w);
    if (w->suspect || pause_holds(w) || !worker_heard(w))
        return;
    if (health_recovering(&w->access.health))
        call_those(w, limit, false);
    call_those(w, limit, true);
}

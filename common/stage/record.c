/* record.c - the outcome, the history, the intent. */
#include "common/stage/worker.h"

#include "common/injection.h"
#include "common/log.h"

static const char *intent_state(const struct job *job)
{
    switch (job->answer.verdict) {
    case DONE: return "finished";
    case UNKNOWN: return "unsure";
    default: return job->uncertain ? "unsure" : "released";
    }
}

static void recorded(struct job *job)
{
    struct worker *w = job->w;
    int64_t pause;

    job->call_count = 0;
    job->has_intent = false;
    switch (job->answer.verdict) {
    case DONE:
        metric_add(w->m_done, 1);
        job_move(job, J_SEND, false);
        return;
    case DEAD: job_dead_letter(job); return;
    case REJECTED:
        metric_add(w->m_rejected, 1);
        job_finish(job);
        return;
    case STEP:
        if (!job->part)
            job_finish(job);
        else if (job_abandoned(job))
            job_give_up(job);
        else
            job_move(job, J_LOOK, true);
        return;
    case UNKNOWN:
        if (w->stage->call != CALL_ASKABLE) {
            metric_add(w->m_unknown, 1);
            job_finish(job);
            return;
        }
        break;
    default: break;
    }
    if (!job->part) {
        job_finish(job); /* somebody else's now */
        return;
    }
    pause = health_backoff_us(&w->access.health, job->laters, stage_settings.retry_ms_min * 1000, stage_settings.retry_ms_max * 1000);
    if (job->answer.cause == CAUSE_RATE || job->answer.cause == CAUSE_DAY || job->answer.cause == CAUSE_CREDENTIALS)
        pause = 0; /* the account's pause holds it */
    else
        job->laters += job->laters < 20;
    if (job->part->revoking)
        job_give_up(job);
    else
        job_park(job, pause);
}

/*
 * PostgreSQL will never take this outcome. What the vendor did is done, so the work counts as unsure; that is recorded in
 * its place, without the vendor's data, and the message is set aside.
 */
static void refused(struct job *job, const char *error)
{
    job->uncertain |= stage_has_intent(job->w->stage);
    if (job->record_refused) {
        job_free_intent(job);
        job_set_aside(job, "refused_by_database", error);
        return;
    }
    job->record_refused = true;
    job->answer = answer_make(DEAD, CAUSE_WORK, "refused_by_database", "PostgreSQL does not take the outcome: %s", error);
}

static void on_recorded(void *of, const struct db_outcome *out)
{
    struct worker *w = of;

    if (out->end == DB_DONE)
        INJECTION_POINT(record_committed);
    progress_noted(w, out);
    if (out->end == DB_DONE) {
        if (w->freed_sent)
            memmove(w->freed, w->freed + w->freed_sent, (size_t)(w->freed_n - w->freed_sent) * sizeof *w->freed);
        w->freed_n -= w->freed_sent;
        for (struct job *job; (job = TAILQ_FIRST(&w->recording));)
            recorded(job);
        if (w->record_batch_max < w->record_batch_most)
            w->record_batch_max = 2 * w->record_batch_max < w->record_batch_most ? 2 * w->record_batch_max : w->record_batch_most;
        INJECTION_POINT(record_done);
    } else {
        bool alone = w->recording_n == 1 && !w->freed_sent;
        bool its_data = out->end == DB_REFUSED && (!strncmp(out->sqlstate, "22", 2) || !strncmp(out->sqlstate, "23", 2));
        for (struct job *job; (job = TAILQ_LAST(&w->recording, job_list));) {
            job_move(job, J_RECORD, true);
            if (alone && its_data)
                refused(job, out->error);
        }
        if (out->end == DB_REFUSED) {
            log_warn("PostgreSQL refuses an outcome (%s): %s", out->sqlstate, out->error);
            if (w->record_batch_max == 1 && !its_data)
                w->record_retry_us = loop_now(w->loop) + 1000000;
            w->record_batch_max = w->record_batch_max > 1 ? w->record_batch_max / 2 : 1;
        }
    }
    w->freed_sent = 0;
}

static void add_pauses(struct worker *w)
{
    for (int i = 0; i < w->access.account_count; i++) {
        struct access_account *q = &w->access.accounts[i];
        char us[24];
        if (!q->pause_to_write_us)
            continue;
        snprintf(us, sizeof us, "%lld", (long long)q->pause_to_write_us);
        q->pause_to_write_us = 0;
        db_add(w->record_db, ST_PAUSE, (const char *const[]){w->stage->vendor->name, q->hash, us, q->paused_why});
        break; /* one a transaction is enough */
    }
}

static void put_calls(const struct job *job, struct db_columns *c)
{
    for (int i = 0; i < job->call_count; i++) {
        const struct call_record *call = &job->calls[i];
        bool last = i == job->call_count - 1;
        db_put(c, job->w->stage->subject(job->of));
        db_put(c, job_work_id(job));
        db_put(c, call->call);
        db_put(c, last && !job->not_called ? verdict_name(job->answer.verdict) : call->verdict);
        db_put(c, last ? job->answer.code : call->code);
        db_put_opt(c, last ? job->answer.reason : "");
        db_put_int(c, call->status);
        db_put_int(c, call->duration_ms);
        db_put(c, job->trace_id);
        db_row_end(c);
    }
}

static bool pauses_waiting(const struct worker *w)
{
    for (int i = 0; i < w->access.account_count; i++)
        if (w->access.accounts[i].pause_to_write_us)
            return true;
    return false;
}

void worker_record(struct worker *w)
{
    const struct stage *s = w->stage;
    const char *values[32];
    int n = 0;

    if (!db_free(w->record_db) || w->recording_n || w->record_retry_us > loop_now(w->loop))
        return;
    bool pauses = pauses_waiting(w);
    if (!w->freed_n && !pauses && !progress_must_note(w) &&
        (!w->record_n || !worker_worth_it(w, w->record_n, w->record_batch_max, w->recorded_us)))
        return;
    db_columns_begin(&w->columns, s->record_columns);
    db_columns_begin(&w->call_columns, 9);
    db_columns_begin(&w->intent_columns, 2);
    for (struct job *job; n < w->record_batch_max && (job = TAILQ_FIRST(&w->record)); n++) {
        if (dry_records(job)) {
            s->record_put(job->of, &job->answer, &w->columns);
            db_row_end(&w->columns);
        }
        put_calls(job, &w->call_columns);
        if (stage_has_intent(s) && !w->dry) {
            db_put(&w->intent_columns, job_work_id(job));
            db_put(&w->intent_columns, intent_state(job));
            db_row_end(&w->intent_columns);
        }
        job_move(job, J_RECORDING, false);
    }
    /* what PostgreSQL refuses is found by sending it alone */
    w->freed_sent = n && w->record_batch_max == 1 ? 0 : w->freed_n < 256 ? w->freed_n : 256;
    for (int i = 0; i < w->freed_sent; i++) {
        db_put(&w->intent_columns, w->freed[i].work);
        db_put(&w->intent_columns, w->freed[i].state);
        db_row_end(&w->intent_columns);
    }
    if (w->call_columns.rows) {
        values[0] = s->name;
        db_columns_end(&w->call_columns, values + 1);
        db_add(w->record_db, ST_ATTEMPTS, values);
    }
    if (w->intent_columns.rows) {
        values[0] = s->name;
        values[1] = w->owner;
        db_columns_end(&w->intent_columns, values + 2);
        db_add(w->record_db, ST_INTENTS, values);
    }
    if (pauses)
        add_pauses(w);
    if (w->columns.rows) {
        db_columns_end(&w->columns, values);
        db_add(w->record_db, ST_RECORD, values);
    }
    progress_add_note(w);
    w->recorded_us = loop_now(w->loop);
    metric_add(w->m_record_rows, n);
    metric_add(w->m_record_batches, 1);
    INJECTION_POINT(record_send);
    db_send(w->record_db, on_recorded, w);
    INJECTION_POINT(record_sent);
}

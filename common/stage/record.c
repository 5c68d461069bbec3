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
static void never_taken(struct job *job, const char *error)
{
    job->uncertain |= stage_has_intent(job->w->stage);
    if (job->record_refused) {
        job_free_intent(job);
        job_set_aside(job, "refused_by_database", error);
        return;
    }
    job->record_refused = true;
    job->answer = answer_make(DEAD, CAUSE_WORK, "refused_by_database", "PostgreSQL does not take the outcome: %s", error);
    job_move(job, J_RECORD, false);
}

/* Where the row is not to blame it is recorded a little later, and the others need not wait for it. */
static void refused(struct job *job, const struct db_refusal *why)
{
    if (db_refused_data(why->sqlstate)) {
        never_taken(job, why->error);
        return;
    }
    job_move(job, J_REFUSED, false);
    loop_timer_set(job->w->loop, &job->timer, loop_now(job->w->loop) + REFUSED_US);
}

static void wait_for_database(struct worker *w)
{
    w->record_retry_us = loop_now(w->loop) + REFUSED_US;
}

static void parts_recorded(struct worker *w, const struct db_refusal *parts)
{
    const struct db_refusal *why = NULL;
    int n = w->recording_n, later = 0;

    w->record_apart -= n;
    for (int i = 0; i < n; i++) {
        struct job *job = TAILQ_FIRST(&w->recording);
        if (!*parts[i].sqlstate) {
            recorded(job);
            continue;
        }
        refused(job, &parts[i]);
        if (w->record_apart < DB_PARTS_MAX)
            w->record_apart = DB_PARTS_MAX; /* where there is one there may be more */
        if (job->state == J_REFUSED && !later++)
            why = &parts[i];
    }
    if (!later)
        return;
    log_warn("PostgreSQL refuses %d of %d outcomes (%s): %s; trying again", later, n, why->sqlstate, why->error);
    if (later == n)
        wait_for_database(w); /* nor may it take any other */
}

/* One of them is to blame: each is sent in a part of its own next. Or none is. */
static void all_refused(struct worker *w, const struct db_outcome *out)
{
    if (!w->record_apart && w->recording_n) {
        w->record_apart = w->recording_n;
        return;
    }
    log_warn("PostgreSQL refuses to record anything (%s): %s; trying again", out->sqlstate, out->error);
    wait_for_database(w);
}

static void freed_recorded(struct worker *w)
{
    if (w->freed_sent)
        memmove(w->freed, w->freed + w->freed_sent, (size_t)(w->freed_n - w->freed_sent) * sizeof *w->freed);
    w->freed_n -= w->freed_sent;
}

/* What is left of it is to be told. */
static void pause_unrecorded(struct worker *w)
{
    struct access_account *q = w->pause_sent < 0 ? NULL : &w->access.accounts[w->pause_sent];

    if (q && q->paused_until_us > loop_now(w->loop))
        q->pause_to_write_us = q->paused_until_us - loop_now(w->loop);
}

static void on_recorded(void *of, const struct db_outcome *out)
{
    struct worker *w = of;

    if (out->end == DB_DONE) {
        INJECTION_POINT(record_committed);
        progress_noted(w, out);
        freed_recorded(w);
        if (w->record_apart)
            parts_recorded(w, out->parts);
        for (struct job *job; (job = TAILQ_FIRST(&w->recording));)
            recorded(job);
        INJECTION_POINT(record_done);
    } else {
        progress_noted(w, NULL);
        pause_unrecorded(w);
        if (out->end == DB_REFUSED)
            all_refused(w, out);
        for (struct job *job; (job = TAILQ_LAST(&w->recording, job_list));)
            job_move(job, J_RECORD, true);
    }
    w->freed_sent = 0;
    w->pause_sent = -1;
}

static bool pauses_waiting(const struct worker *w)
{
    for (int i = 0; i < w->access.account_count; i++)
        if (w->access.accounts[i].pause_to_write_us)
            return true;
    return false;
}

static void add_pause(struct worker *w)
{
    for (int i = 0; i < w->access.account_count; i++) {
        struct access_account *q = &w->access.accounts[i];
        char us[24];
        if (!q->pause_to_write_us)
            continue;
        snprintf(us, sizeof us, "%lld", (long long)q->pause_to_write_us);
        q->pause_to_write_us = 0;
        w->pause_sent = i;
        db_add(w->record_db, ST_PAUSE, (const char *const[]){w->stage->vendor->name, q->hash, us, q->paused_why});
        break; /* one a transaction is enough */
    }
}

static void add_intents(struct worker *w)
{
    const char *values[4] = {w->stage->name, w->owner};

    db_columns_end(&w->intent_columns, values + 2);
    db_add(w->record_db, ST_INTENTS, values);
}

static void add_freed(struct worker *w)
{
    w->freed_sent = w->freed_n < 256 ? w->freed_n : 256;
    if (!w->freed_sent)
        return;
    db_columns_begin(&w->intent_columns, 2);
    for (int i = 0; i < w->freed_sent; i++) {
        db_put(&w->intent_columns, w->freed[i].work);
        db_put(&w->intent_columns, w->freed[i].state);
        db_row_end(&w->intent_columns);
    }
    add_intents(w);
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

/* The next n outcomes, n > 0, with their history and their intents. */
static void add_outcomes(struct worker *w, int n)
{
    const struct stage *s = w->stage;
    const char *values[32];

    db_columns_begin(&w->columns, s->record_columns);
    db_columns_begin(&w->call_columns, 9);
    db_columns_begin(&w->intent_columns, 2);
    for (; n; n--) {
        struct job *job = TAILQ_FIRST(&w->record);
        if (dry_records(job)) {
            s->record_put(job->of, &job->answer, &w->columns);
            db_row_end(&w->columns);
        }
        put_calls(job, &w->call_columns);
        if (worker_takes_intents(w)) {
            db_put(&w->intent_columns, job_work_id(job));
            db_put(&w->intent_columns, intent_state(job));
            db_row_end(&w->intent_columns);
        }
        job_move(job, J_RECORDING, false);
    }
    if (w->call_columns.rows) {
        values[0] = s->name;
        db_columns_end(&w->call_columns, values + 1);
        db_add(w->record_db, ST_ATTEMPTS, values);
    }
    if (w->intent_columns.rows)
        add_intents(w);
    if (w->columns.rows) {
        db_columns_end(&w->columns, values);
        db_add(w->record_db, ST_RECORD, values);
    }
}

/* How many outcomes are worth a transaction now. */
static int outcomes_due(struct worker *w)
{
    int most = !w->record_apart ? w->record_batch_max : w->record_apart < DB_PARTS_MAX ? w->record_apart : DB_PARTS_MAX;
    int n = w->record_n < most ? w->record_n : most;

    return n && worker_worth_it(w, n, most, w->recorded_us) ? n : 0;
}

void worker_record(struct worker *w)
{
    if (!db_free(w->record_db) || w->recording_n || w->record_retry_us > loop_now(w->loop))
        return;
    int n = outcomes_due(w);
    if (!n && !w->freed_n && !pauses_waiting(w) && !progress_must_note(w))
        return;
    progress_add_note(w);
    add_pause(w);
    add_freed(w);
    for (int i = 0; w->record_apart && i < n; i++) {
        db_part(w->record_db);
        add_outcomes(w, 1);
    }
    if (n && !w->record_apart)
        add_outcomes(w, n);
    w->recorded_us = loop_now(w->loop);
    metric_add(w->m_record_rows, n);
    metric_add(w->m_record_batches, 1);
    INJECTION_POINT(record_send);
    db_send(w->record_db, on_recorded, w);
    INJECTION_POINT(record_sent);
}

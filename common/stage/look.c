/* look.c - is it true already? And the intent, before a call that changes something. */
#include "common/stage/worker.h"

#include "common/injection.h"
#include "common/log.h"

#include <stdlib.h>

const char *look_text(const struct look_row *r, int column)
{
    return PQgetvalue(r->res, r->row, column);
}

bool look_null(const struct look_row *r, int column)
{
    return PQgetisnull(r->res, r->row, column);
}

bool look_true(const struct look_row *r, int column)
{
    return PQgetvalue(r->res, r->row, column)[0] == 't';
}

void job_set_answer(struct job *job, const struct answer *a)
{
    job->answer = *a;
    job_move(job, J_RECORD, false);
}

static void looked(struct job *job, const struct look_row *row, enum prior prior)
{
    struct worker *w = job->w;
    struct answer a = {.verdict = DONE, .cause = CAUSE_WORK, .code = "true_already", .wait_ms = -1};

    switch (w->stage->looked(job->of, row, prior, &a)) {
    case LOOK_CALL: job_move(job, J_READY, false); break;
    case LOOK_ON:
        metric_add(w->m_on, 1);
        job->answer = a;
        job_move(job, J_SEND, false);
        break;
    case LOOK_DROP:
        metric_add(w->m_dropped, 1);
        job_free_intent(job);
        job_finish(job);
        break;
    case LOOK_ANSWER:
        job->calls[0] = (struct call_record){"look", verdict_name(a.verdict), a.code, 0, 0};
        job->call_count = 1;
        job_set_answer(job, &a);
        break;
    case LOOK_RECORD: job_set_answer(job, &a); break;
    case LOOK_WAIT: pause_hold(job); break;
    }
}

bool stage_has_intent(const struct stage *s)
{
    return s->call != CALL_READS;
}

bool worker_takes_intents(const struct worker *w)
{
    return stage_has_intent(w->stage) && !w->dry;
}

/* What the statement says of the intent: whether it is ours now, and whether a call was begun before. */
static void note_intent(struct job *job, const struct look_row *row)
{
    int last = PQnfields(row->res);
    const char *prior_state = look_text(row, last - 3);

    text_copy(job->work, sizeof job->work, look_text(row, 1));
    job->has_intent = look_true(row, last - 4);
    if (job->w->dry && job->settled)
        return;
    if (!strcmp(prior_state, "unsure"))
        job->uncertain = true;
    else if (!strcmp(prior_state, "taken")) /* by this very program: it knows what it has called */
        job->uncertain |= strcmp(look_text(row, last - 2), job->w->owner) != 0;
}

/* PostgreSQL says that the partition has another owner. The group decides: if it still knows us, the epoch is taken anew. */
void worker_doubt(struct worker *w, struct part *p)
{
    if (p)
        p->fenced = true;
    if (w->suspect || !w->consumer)
        return;
    log_warn("another worker took a partition of %s: asking the group whose it is", w->topic);
    worker_suspect(w);
}

static void look_row_done(struct job *job, const PGresult *res, int r)
{
    struct worker *w = job->w;
    struct look_row row = {res, r};
    enum prior prior = PRIOR_NONE;

    if (stage_has_intent(w->stage)) {
        bool fenced = look_true(&row, PQnfields(res) - 1);
        if (look_true(&row, 2) && !job->has_intent && !w->dry) {
            /* fenced: somebody else took the partition; otherwise somebody holds the intent, or has just finished it */
            job->reopen = !fenced;
            job->looks++;
            if (fenced)
                worker_doubt(w, job->part);
            job_park(job, fenced ? 1000000 : job->looks < 4 ? 50000 : 1000000);
            return;
        }
        prior = job->forgotten ? PRIOR_FORGOTTEN : (job->has_intent || w->dry) && job->uncertain ? PRIOR_UNFINISHED : PRIOR_NONE;
    }
    job->looks = 0;
    job->reopen = false;
    looked(job, &row, prior);
}

static void unlook(struct worker *w)
{
    for (struct job *job; (job = TAILQ_LAST(&w->looking, job_list));) {
        job_move(job, J_LOOK, true);
        if (job->drop_when_seen)
            job_give_up(job);
    }
}

/* What is asked for beside the messages. Returns the place of their results. */
static int others_looked(struct worker *w, const struct db_outcome *out, bool epochs, bool pulse, int lease)
{
    int at = 0;

    if (epochs) {
        const PGresult *res = out->results[at++];
        for (int r = 0; r < PQntuples(res); r++) {
            struct part *p = worker_part(w, atoi(PQgetvalue(res, r, 0)));
            if (p)
                p->epoch = atoll(PQgetvalue(res, r, 1));
        }
    }
    at = progress_looked(w, out, at);
    if (lease >= 0) {
        const PGresult *res = out->results[at++];
        access_leased(&w->access, lease, w->lease_sent_us, atoll(PQgetvalue(res, 0, 4)), atoll(PQgetvalue(res, 0, 0)),
                      atoi(PQgetvalue(res, 0, 1)), atoll(PQgetvalue(res, 0, 2)), PQgetvalue(res, 0, 3));
    }
    if (pulse) {
        const PGresult *res = out->results[at++];
        for (int r = 0; r < PQntuples(res); r++)
            access_paused(&w->access, PQgetvalue(res, r, 0), atoll(PQgetvalue(res, r, 1)), PQgetvalue(res, r, 2));
        pause_looked(w, out->results[at++]);
    }
    return at;
}

static void others_not_looked(struct worker *w, bool epochs, int lease)
{
    if (lease >= 0)
        access_lease_failed(&w->access, lease);
    progress_looked(w, NULL, 0);
    for (struct part *p = w->parts; epochs && p; p = p->next_part)
        p->epoch_wanted |= !p->epoch && stage_has_intent(w->stage);
}

/* The rows of one statement, for n jobs. */
static void rows_looked(struct worker *w, const PGresult *res, struct job *const *by_ord, int n)
{
    for (int r = 0; r < PQntuples(res); r++) {
        int ord = atoi(PQgetvalue(res, r, 0));
        ord = (stage_has_intent(w->stage) ? ord >> 2 : ord) - 1; /* see intent_look */
        if (ord < 0 || ord >= n || by_ord[ord]->state != J_LOOKING)
            continue;
        struct job *job = by_ord[ord];
        if (stage_has_intent(w->stage))
            note_intent(job, &(struct look_row){res, r});
        if (job->drop_when_seen) {
            job_give_up(job);
            worker_maybe_release(w);
            continue;
        }
        look_row_done(job, res, r);
    }
}

/* Where the row is not to blame it is looked up a little later, and the others need not wait for it. */
static void refused(struct job *job, const struct db_refusal *why)
{
    if (db_refused_data(why->sqlstate))
        job_set_aside(job, "refused_by_database", why->error);
    else if (!job->drop_when_seen)
        job_park(job, REFUSED_US);
}

static void parts_looked(struct worker *w, const struct db_outcome *out, int at, struct job **by_ord, int n)
{
    const struct db_refusal *why = NULL;
    int later = 0;

    w->look_apart -= n;
    for (int i = 0; i < n; i++) {
        const struct db_refusal *part = &out->parts[i];
        if (!*part->sqlstate) {
            rows_looked(w, out->results[at + i], by_ord + i, 1);
            continue;
        }
        refused(by_ord[i], part);
        if (w->look_apart < DB_PARTS_MAX)
            w->look_apart = DB_PARTS_MAX; /* where there is one there may be more */
        if (!db_refused_data(part->sqlstate) && !later++)
            why = part;
    }
    if (!later)
        return;
    log_warn("PostgreSQL refuses %d of %d look-ups (%s): %s; trying again", later, n, why->sqlstate, why->error);
    if (later == n) /* nor may it take any other */
        w->look_retry_us = loop_now(w->loop) + REFUSED_US;
}

/* One of them is to blame: each is looked up in a part of its own next. Or none is. */
static void all_refused(struct worker *w, const struct db_outcome *out)
{
    if (!w->look_apart && w->looking_n) {
        w->look_apart = w->looking_n;
        return;
    }
    log_warn("PostgreSQL refuses to look anything up (%s): %s; trying again", out->sqlstate, out->error);
    w->look_retry_us = loop_now(w->loop) + REFUSED_US;
}

static void on_looked(void *of, const struct db_outcome *out)
{
    struct worker *w = of;
    struct job *by_ord[STAGE_LOOK_MAX];
    bool epochs = w->epochs_sent, pulse = w->pulse_sent;
    int at = 0, n = 0, lease = w->lease_account;

    for (struct job *job = TAILQ_FIRST(&w->looking); job; job = TAILQ_NEXT(job, link))
        by_ord[n++] = job;
    w->epochs_sent = w->pulse_sent = false;
    w->lease_account = -1;
    if (out->end != DB_DONE) {
        others_not_looked(w, epochs, lease);
        if (out->end == DB_REFUSED)
            all_refused(w, out);
        unlook(w);
        return;
    }
    INJECTION_POINT(look_committed);
    at = others_looked(w, out, epochs, pulse, lease);
    if (w->look_apart)
        parts_looked(w, out, at, by_ord, n);
    else if (n)
        rows_looked(w, out->results[at], by_ord, n);
    unlook(w); /* rows that did not come: none, unless the statement is wrong */
    INJECTION_POINT(look_done);
}

static void add_epochs(struct worker *w)
{
    const char *values[3] = {w->topic, w->owner, NULL};
    bool wanted = false;

    text_clear(&w->text);
    text_putc(&w->text, '{');
    for (struct part *p = w->parts; p; p = p->next_part) {
        if (!p->epoch_wanted)
            continue;
        if (wanted)
            text_putc(&w->text, ',');
        text_int(&w->text, p->id);
        p->epoch_wanted = false;
        wanted = true;
    }
    text_putc(&w->text, '}');
    if (!wanted)
        return;
    values[2] = text_str(&w->text);
    db_add(w->look_db, ST_EPOCHS, values);
    w->epochs_sent = true;
}

static void add_lease(struct worker *w)
{
    char spacing[24], slots[12];
    int64_t spacing_us;
    int n;
    int account = access_wants_lease(&w->access, &spacing_us, &n);

    if (account < 0)
        return;
    snprintf(spacing, sizeof spacing, "%lld", (long long)spacing_us);
    snprintf(slots, sizeof slots, "%d", n);
    db_add(w->look_db, ST_LEASE,
           (const char *const[]){w->stage->vendor->name, w->access.accounts[account].hash, spacing, slots});
    w->lease_account = account;
    w->lease_sent_us = loop_now(w->loop);
}

/* How many are looked up ahead of a free slot. */
static int look_ahead(struct worker *w)
{
    int limit = access_limit(&w->access);

    /* of a blind call a slot is taken until the outcome is committed: a crash leaves no more than that in doubt */
    return w->stage->call == CALL_BLIND ? 0 : limit < AHEAD ? limit : AHEAD;
}

/* How many may be looked up now. */
static int look_room(struct worker *w)
{
    int limit = access_limit(&w->access);

    /* an intent that was given back is written before its work is looked up again, by whom Kafka brings it to so soon: its row still
     * says "taken", by us, who would believe that nothing was called; and the one would undo the other */
    if (!limit || w->suspect || w->freed_n || pause_holds(w))
        return 0;
    int under_way = w->calling_n + w->ready_n + w->looking_n;
    if (w->stage->call == CALL_BLIND)
        under_way += w->record_n + w->recording_n + w->refused_n;
    return limit + look_ahead(w) - under_way;
}

static void begin_look(struct worker *w)
{
    db_columns_begin(&w->columns, (worker_takes_intents(w) ? 4 : 1) + w->stage->look_columns);
}

static void send_look(struct worker *w)
{
    const struct stage *s = w->stage;
    const char *values[32] = {s->name, w->owner, NULL, w->topic, w->instance};
    char deadline[24];

    snprintf(deadline, sizeof deadline, "%lld", (long long)(w->timeout_ms + START_SLACK_US / 1000 + 1000));
    values[2] = deadline;
    db_columns_end(&w->columns, values + (w->dry ? 1 : worker_takes_intents(w) ? 5 : 0));
    db_add(w->look_db, ST_LOOK, values);
}

/* Returns how many are put, after the n that are already. */
static int look_those(struct worker *w, int n, int room, bool failed_too)
{
    const struct stage *s = w->stage;
    struct db_columns *c = &w->columns;

    for (struct job *job = TAILQ_FIRST(&w->look), *next; job && n < room; job = next) {
        next = TAILQ_NEXT(job, link);
        if (job->part && (!job->part->progress.known || (worker_takes_intents(w) && !job->part->epoch)))
            continue; /* nobody knows yet that the partition is ours, or what PostgreSQL knows of it */
        if (job->marked && !failed_too)
            continue;
        if (w->look_apart) {
            db_part(w->look_db);
            begin_look(w);
        }
        n++;
        db_put_int(c, c->rows + 1);
        if (worker_takes_intents(w)) {
            db_put_int(c, job->part ? job->part->id : -1);
            db_put_int(c, job->part ? job->part->epoch : -1);
            db_put_bool(c, job->reopen);
        }
        s->look_put(job->of, c);
        db_row_end(c);
        if (w->look_apart)
            send_look(w);
        job_move(job, J_LOOKING, false);
        job->start_by_us = loop_now(w->loop) + START_SLACK_US;
    }
    return n;
}

static void add_look(struct worker *w)
{
    int most = w->look_apart ? w->look_apart : STAGE_LOOK_MAX, room = look_room(w), n = 0;

    if (room > w->look_n)
        room = w->look_n;
    if (room > most)
        room = most;
    if (room <= 0 || (w->ready_n > look_ahead(w) / 2 && !worker_worth_it(w, room, most, w->looked_us)))
        return;
    w->looked_us = loop_now(w->loop);
    begin_look(w);
    if (health_recovering(&w->access.health))
        n = look_those(w, n, room, false);
    n = look_those(w, n, room, true);
    if (!n)
        return;
    if (!w->look_apart)
        send_look(w);
    metric_add(w->m_look_rows, n);
    metric_add(w->m_look_batches, 1);
}

void worker_look(struct worker *w)
{
    if (!db_free(w->look_db) || w->looking_n)
        return;
    if (w->look_retry_us > loop_now(w->loop)) {
        worker_wait(w, w->look_retry_us);
        return;
    }
    add_epochs(w);
    progress_add_look(w);
    add_lease(w);
    if (w->pulse_due) {
        db_add(w->look_db, ST_PULSE, (const char *const[]){w->stage->vendor->name});
        pause_add_look(w);
        w->pulse_due = false;
        w->pulse_sent = true;
    }
    add_look(w);
    if (!w->looking_n && !w->epochs_sent && !w->pulse_sent && w->lease_account < 0 && !progress_look_sent(w))
        return;
    INJECTION_POINT(look_send);
    db_send(w->look_db, on_looked, w);
    INJECTION_POINT(look_sent);
}

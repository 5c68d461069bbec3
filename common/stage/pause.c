/*
 * pause.c - what a person has paused (schemas/sql, 008): this stage, or locations whose windows it then does not call for.
 *
 * It is read with the pulse. While the stage is paused nothing is fetched, looked up or sent to the vendor, not even a log-in;
 * calls under way end, and what came of them is recorded and sent on. What was about to be called for gives its intent back: it
 * may be hours until it is, and whoever finds an intent that was taken takes the call for made.
 * A message whose look-up says that its location is paused is held (LOOK_WAIT) until somebody has paused or resumed anything:
 * then it is looked up again.
 */
#include "common/stage/worker.h"

#include "common/log.h"
#include "common/pg.h"

/* Since when the stage is paused, and a text that is another one after each pause and each resumption. */
const struct db_statement pause_statement = {
    "SELECT coalesce(to_char(min(since) FILTER (WHERE what = 'stage' AND name = $1 AND ended_at IS NULL) AT TIME ZONE 'UTC',"
    " 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'), ''), concat(max(pause_id), '/', count(ended_at)) FROM pauses", 1};
enum { C_SINCE, C_VERSION };

void pause_begin(struct worker *w)
{
    w->pause.m_paused = metric_make(METRIC_GAUGE, "shelfwire_paused", "1: a person has paused it.", "%s", "");
    w->pause.m_held = metric_make(METRIC_GAUGE, "shelfwire_held", "Messages that wait for their location to be resumed.", "%s", "");
}

static void give_back_ready(struct worker *w)
{
    for (struct job *job; (job = TAILQ_LAST(&w->ready, job_list));) {
        job_free_intent(job);
        job_move(job, J_LOOK, true);
    }
}

static void look_again(struct worker *w)
{
    for (struct job *job = TAILQ_FIRST(&w->parked), *next; job; job = next) {
        next = TAILQ_NEXT(job, link);
        if (job->held)
            job_move(job, J_LOOK, false);
    }
}

static void read_answer(struct worker *w, const PGresult *res)
{
    struct pause *p = &w->pause;
    const char *since = PQgetvalue(res, 0, C_SINCE), *version = PQgetvalue(res, 0, C_VERSION);
    bool was = *p->since, is = *since;

    if (is && !was)
        log_warn("paused by a person: no call is made until somebody says SELECT resume('stage', '%s', 'name')", w->stage->name);
    else if (was && !is)
        log_info("resumed by a person: going on");
    text_copy(p->since, sizeof p->since, since);
    metric_set(p->m_paused, is);
    if (!p->known || strcmp(p->version, version) != 0) {
        give_back_ready(w);
        look_again(w);
    }
    text_copy(p->version, sizeof p->version, version);
    p->known = true;
}

struct fault pause_read(struct worker *w, PGconn *conn)
{
    SCOPED(PQclear) PGresult *res = NULL;

    TRY(pg_run(conn, &res, pause_statement.sql, pause_statement.params, (const char *const[]){w->stage->name}));
    read_answer(w, res);
    return FAULT_OK;
}

/* What was paused or resumed while there was no connection is not known. */
void pause_doubt(struct worker *w)
{
    w->pause.known = false;
    w->pulse_due = true;
}

void pause_add_look(struct worker *w)
{
    db_add(w->look_db, ST_PAUSES, (const char *const[]){w->stage->name});
}

void pause_looked(struct worker *w, const PGresult *res)
{
    read_answer(w, res);
}

/* Nothing new is begun. */
bool pause_holds(const struct worker *w)
{
    return !w->pause.known || *w->pause.since;
}

void pause_call(struct worker *w)
{
    if (*w->pause.since && w->ready_n)
        give_back_ready(w);
}

void pause_hold(struct job *job)
{
    job_free_intent(job);
    job_move(job, J_PARKED, false);
    job->held = true;
    job->w->pause.held_n++;
}

void pause_trouble(const struct worker *w, struct text *why)
{
    if (*w->pause.since)
        text_printf(why, "paused since %s by a person, until one says SELECT resume('stage', '%s', 'name'); ", w->pause.since,
                    w->stage->name);
    if (w->pause.held_n)
        text_printf(why, "%d message%s of paused locations wait; ", w->pause.held_n, w->pause.held_n == 1 ? "" : "s");
}

/*
 * dry.c - a dry run (DRY_RUN=1): everything is read, decided and shown, and nothing is changed at a vendor.
 *
 * Log-ins and calls that read are made. In place of a call that would change something (stage.h, `changes`) it is logged, counted
 * and noted in the history (`attempts`, verdict dry_run) that it was not made, and the message is finished.
 *
 * So that a run in earnest does all of the work, whenever it comes, a stage that changes something
 *   - reads as a group of its own (its name and "-dry-run"): the offsets of the group that works stay where they are
 *   - takes no partition's epoch and no intent, so that it may run beside one that works; what became of calls that others have
 *     begun it asks the vendor as they would
 *   - records no answer: rows are as they were, but for what was read before a call (STEP), which is read anew when it has grown
 *     old. Nothing is set aside
 *   - sends on with the header shelfwire-dry-run: a dry run of the next stage goes on with it, and one in earnest leaves it
 *     out, for it gets another when the work was done
 * A stage that only reads (CALL_READS) works as ever: what it finds out is true.
 */
#include "common/stage/worker.h"

#include "common/event.h"
#include "common/log.h"

static const char header[] = "shelfwire-dry-run";

int64_t stage_dry_run;

void dry_begin(struct worker *w)
{
    w->dry = stage_dry_run && stage_has_intent(w->stage);
    metric_set(metric_make(METRIC_GAUGE, "shelfwire_dry_run", "1: nothing is changed at a vendor.", "%s", ""), (double)stage_dry_run);
    if (stage_dry_run)
        log_warn("dry run: nothing is changed at %s%s", w->stage->vendor->name,
                 w->dry ? "" : ", as ever; what is found out is written and sent on");
}

/* The look-up without the intent; the columns behind the stage's own are those of intent_look. */
void dry_compose_look(const struct stage *s, const char *parameters, struct text *ret)
{
    text_printf(ret, "WITH asked AS MATERIALIZED (SELECT a.ord * 4 + 1 AS ord, %s FROM unnest($2::int[]%s) AS a(ord, %s))"
                     " SELECT s.*, false AS taken, coalesce(i.state, '') AS prior_state, coalesce(i.owner, '') AS prior_owner, false AS fenced"
                     " FROM (%s) AS s LEFT JOIN intents i ON i.stage = $1 AND i.work_id = s.work_id AND i.state IN ('taken', 'unsure')",
                s->look_names, parameters, s->look_names, s->look_sql);
}

/* True: the job's next call would change something, and the job has ended instead. */
bool dry_ends(struct job *job, const char *call)
{
    struct worker *w = job->w;
    const struct stage *s = w->stage;
    char subject[120];

    if (!w->dry || !(s->changes >> (s->step ? s->step(job->of) : 0) & 1))
        return false;
    job_subject(job, subject);
    log_about(LOG_INFO, subject, "dry run: %s is not called for %s", call, s->subject(job->of));
    metric_add(metric_make(METRIC_COUNTER, "shelfwire_dry_run_calls_total", "Calls that a dry run has not made.",
                           "vendor=\"%s\",call=\"%s\"", s->vendor->name, call), 1);
    struct answer a = answer_make(DONE, CAUSE_WORK, "not_called", "%s", "");
    job->not_called = true;
    job_note_call(job, &(struct call_record){call, "dry_run", a.code, 0, 0});
    job_set_answer(job, &a);
    return true;
}

bool dry_records(const struct job *job)
{
    return !job->w->dry || job->answer.verdict == STEP;
}

void dry_mark(const struct worker *w, rd_kafka_headers_t *headers)
{
    if (w->dry)
        event_header(headers, header, "1");
}

/* A message that a dry run has sent on, and this is none. */
bool dry_leaves_out(const struct worker *w, const rd_kafka_message_t *m)
{
    rd_kafka_headers_t *headers;
    const void *value;
    size_t size;

    return worker_takes_intents(w) && !rd_kafka_message_headers(m, &headers) &&
           !rd_kafka_header_get_last(headers, header, &value, &size);
}

void dry_trouble(const struct worker *w, struct text *why)
{
    if (stage_dry_run)
        text_printf(why, "dry run: nothing is changed at %s; ", w->stage->vendor->name);
}

/* job.c - a message in hand. */
#include "common/stage/worker.h"

#include "common/injection.h"
#include "common/log.h"

static struct job_list *list_of(struct worker *w, enum job_state s, int **ret_count)
{
    switch (s) {
    case J_LOOK: *ret_count = &w->look_n; return &w->look;
    case J_LOOKING: *ret_count = &w->looking_n; return &w->looking;
    case J_READY: *ret_count = &w->ready_n; return &w->ready;
    case J_CALLING: *ret_count = &w->calling_n; return &w->calling;
    case J_RECORD: *ret_count = &w->record_n; return &w->record;
    case J_RECORDING: *ret_count = &w->recording_n; return &w->recording;
    case J_SEND: *ret_count = &w->send_n; return &w->send;
    case J_SENDING: *ret_count = &w->sending_n; return &w->sending;
    case J_PARKED: *ret_count = &w->parked_n; return &w->parked;
    case J_REFUSED: *ret_count = &w->refused_n; return &w->refused;
    case J_LANE: break;
    }
    return NULL;
}

static void leave(struct job *job)
{
    int *count = NULL;
    struct job_list *list = list_of(job->w, job->state, &count);

    if (list) {
        TAILQ_REMOVE(list, job, link);
        --*count;
    }
    job->w->pause.held_n -= job->held;
    job->held = false;
    if (job->state == J_PARKED && job->part)
        job->part->parked--;
}

void job_move(struct job *job, enum job_state to, bool first)
{
    int *count = NULL;

    leave(job);
    job->state = to;
    job->since_us = loop_now(job->w->loop);
    struct job_list *list = list_of(job->w, to, &count);
    if (first)
        TAILQ_INSERT_HEAD(list, job, link);
    else
        TAILQ_INSERT_TAIL(list, job, link);
    ++*count;
    if (to == J_PARKED && job->part)
        job->part->parked++;
}

void job_begin(struct job *job)
{
    const struct stage *s = job->w->stage;
    struct answer a;

    if (s->told && s->told(job->of, &a))
        job_set_answer(job, &a);
    else
        job_move(job, J_LOOK, false);
}

void job_free(struct job *job)
{
    if (job->w->stage->release)
        job->w->stage->release(job->of);
    free(job);
}

/* ---- partitions ---- */

struct part *worker_part(struct worker *w, int32_t id)
{
    for (struct part *p = w->parts; p; p = p->next_part)
        if (p->id == id)
            return p;
    return NULL;
}

void job_subject(const struct job *job, char ret[120])
{
    if (job->part)
        snprintf(ret, 120, "%s/%d/%lld", job->w->topic, job->part->id, (long long)job->offset);
    else
        snprintf(ret, 120, "%s", job->w->topic);
}

const char *job_work_id(const struct job *job)
{
    return job->work[0] ? job->work : job->w->stage->subject(job->of);
}

/* The next of the same key may begin. */
static void leave_lane(struct job *job)
{
    struct worker *w = job->w;

    if (!job->in_lane)
        return;
    job->in_lane = false;
    HASH_DEL(w->lanes, job);
    struct job *next = TAILQ_FIRST(&job->waiting);
    if (!next)
        return;
    TAILQ_REMOVE(&job->waiting, next, lane_link);
    TAILQ_INIT(&next->waiting);
    TAILQ_CONCAT(&next->waiting, &job->waiting, lane_link);
    HASH_ADD_KEYPTR(hh, w->lanes, next->key, (unsigned)next->key_len, next);
    next->key_hash = (uint32_t)next->hh.hashv;
    job_begin(next);
}

static void discard(struct job *job)
{
    struct worker *w = job->w;

    if (job->state == J_LANE && job->in_lane) {
        struct job *first;
        HASH_FIND(hh, w->lanes, job->key, job->key_len, first);
        if (first && first != job) {
            TAILQ_REMOVE(&first->waiting, job, lane_link);
            job->in_lane = false;
        }
    }
    leave(job);
    leave_lane(job);
    loop_timer_stop(w->loop, &job->timer);
    if (job->part) {
        TAILQ_REMOVE(&job->part->jobs, job, part_link);
        job->part->in_hand--;
        job->part->dirty = job->part->progress.due = true;
    }
    w->hand_n--;
    w->hand_bytes -= job->bytes;
    job_free(job);
}

void worker_store_offsets(struct worker *w)
{
    for (struct part *p = w->parts; p; p = p->next_part) {
        if (!p->dirty || p->next < 0)
            continue;
        p->dirty = false;
        struct job *oldest = TAILQ_FIRST(&p->jobs);
        int64_t offset = oldest ? oldest->offset : p->next;
        if (offset > p->dropped)
            offset = p->dropped;
        p->progress.finished = offset;
    }
    for (struct part *p = w->parts; p; p = p->next_part) {
        int64_t offset = p->progress.finished < p->progress.noted ? p->progress.finished : p->progress.noted;
        if (offset > p->stored) {
            INJECTION_POINT(offset_store);
            kafka_store(w->consumer, p->id, offset);
            INJECTION_POINT(offset_stored);
            p->stored = offset;
        }
    }
}

void job_free_intent(struct job *job)
{
    struct worker *w = job->w;

    if (!job->has_intent)
        return;
    job->has_intent = false;
    if (w->freed_n == w->freed_room) {
        int room = w->freed_room ? w->freed_room * 2 : 64;
        w->freed = realloc(w->freed, (size_t)room * sizeof *w->freed);
        w->freed_room = room;
    }
    struct freed *freed = &w->freed[w->freed_n++];
    text_copy(freed->work, sizeof freed->work, job_work_id(job));
    freed->state = job->uncertain ? "unsure" : "released";
}

/* Gives a job up unfinished: Kafka will deliver it again, to whoever owns the partition then. */
void job_give_up(struct job *job)
{
    if (job->part && job->offset < job->part->dropped)
        job->part->dropped = job->offset;
    job_free_intent(job);
    discard(job);
}

/* Nothing more is sent for it: its partition is somebody else's, or the program ends. */
bool job_abandoned(const struct job *job)
{
    return !job->part || job->part->revoking || job->w->draining;
}

void job_finish(struct job *job)
{
    struct worker *w = job->w;

    discard(job);
    worker_maybe_release(w);
}

void job_note_call(struct job *job, const struct call_record *call)
{
    if (job->call_count == CALLS_KEPT) {
        memmove(job->calls, job->calls + 1, sizeof job->calls - sizeof job->calls[0]);
        job->call_count--;
    }
    job->calls[job->call_count++] = *call;
}

void job_dead_letter(struct job *job)
{
    struct worker *w = job->w;
    char subject[120];

    job_subject(job, subject);
    log_about(LOG_WARN, subject, "%sset aside in %s: %s: %s", w->dry ? "dry run: it would be " : "", w->topic_dead, job->answer.code,
              job->answer.reason);
    if (w->dry) {
        job_finish(job);
        return;
    }
    job->dead_letter = true;
    job_move(job, J_SEND, false);
}

void job_set_aside(struct job *job, const char *code, const char *why)
{
    job->answer = answer_make(DEAD, CAUSE_WORK, code, "%s", why);
    job_dead_letter(job);
}

void job_unpark(void *of, uint32_t events)
{
    struct job *job = of;

    (void)events;
    job_move(job, job->state == J_PARKED ? J_LOOK : J_RECORD, false);
}

void job_park(struct job *job, int64_t us)
{
    job_move(job, J_PARKED, false);
    loop_timer_set(job->w->loop, &job->timer, loop_now(job->w->loop) + us);
}

/* intake.c - messages and partitions from Kafka. */
#include "common/stage/worker.h"

#include "common/event.h"
#include "common/injection.h"
#include "common/log.h"
#include "common/scoped.h"

#include <string.h>

/* A new trace where there is none. */
static void read_trace(struct job *job, const rd_kafka_message_t *m)
{
    rd_kafka_headers_t *headers;
    const void *value;
    size_t size;

    if (!rd_kafka_message_headers(m, &headers) && !rd_kafka_header_get_last(headers, "traceparent", &value, &size) &&
        event_read_trace(value, size, job->trace_id))
        return;
    event_new_trace(job->trace_id);
}

static void take_in(struct worker *w, struct part *p, rd_kafka_message_t *m)
{
    const struct stage *s = w->stage;
    size_t job_size = (s->job_size + 15) & ~(size_t)15;
    size_t bytes = sizeof(struct job) + job_size + m->key_len + m->len + 2;
    struct job *job = malloc(bytes);

    memset(job, 0, sizeof *job + job_size);
    char *copy = (char *)job->of + job_size;
    job->w = w;
    job->state = J_LANE;
    job->part = p;
    job->offset = m->offset;
    job->timestamp_ms = rd_kafka_message_timestamp(m, NULL);
    job->timer = (struct loop_timer){.call = job_unpark, .of = job};
    TAILQ_INIT(&job->waiting);
    job->key = copy;
    job->key_null = !m->key;
    job->value_null = !m->payload;
    job->key_len = m->key_len;
    if (m->key_len)
        memcpy(copy, m->key, m->key_len);
    copy[m->key_len] = '\0';
    job->value = copy + m->key_len + 1;
    job->value_len = m->len;
    if (m->len)
        memcpy(copy + m->key_len + 1, m->payload, m->len);
    copy[m->key_len + 1 + m->len] = '\0';
    job->bytes = bytes;
    job->forgotten = w->restore.said_ms && job->timestamp_ms < w->restore.said_ms; /* also one that says no time */
    read_trace(job, m);
    TAILQ_INSERT_TAIL(&p->jobs, job, part_link);
    p->in_hand++;
    p->next = m->offset + 1;
    p->dirty = true;
    w->hand_n++;
    w->hand_bytes += bytes;
    metric_add(w->m_fetched, 1);

    if (dry_leaves_out(w, m)) {
        metric_add(w->m_dropped, 1);
        job_finish(job);
        return;
    }
    if (m->len > MESSAGE_MAX) {
        char why[80];
        snprintf(why, sizeof why, "%zu bytes, at most %d", m->len, MESSAGE_MAX);
        job_set_aside(job, "too_large", why);
        return;
    }
    struct fault f = s->decode(job->value, job->value_len, job->of);
    if (f.kind) {
        job_set_aside(job, "unreadable", f.what);
        return;
    }
    const char *key = s->key(job->of);
    if (strlen(key) != job->key_len || memcmp(key, job->key, job->key_len) != 0) {
        job_set_aside(job, "wrong_key", job->key_len ? "the message's key is not the one its contents ask for"
                                                 : "the message has no key");
        return;
    }
    job->in_lane = true;
    struct job *first;
    HASH_FIND(hh, w->lanes, job->key, job->key_len, first);
    if (first) {
        TAILQ_INSERT_TAIL(&first->waiting, job, lane_link);
        return;
    }
    HASH_ADD_KEYPTR(hh, w->lanes, job->key, (unsigned)job->key_len, job);
    job->key_hash = (uint32_t)job->hh.hashv;
    job_begin(job);
}

void worker_fetch(struct worker *w)
{
    rd_kafka_message_t *messages[128];

    if (w->draining || w->suspect || !w->part_count || pause_holds(w))
        return;
    int share = w->hand_max / w->part_count + 1;
    for (struct part *p = w->parts; p; p = p->next_part) {
        while (!p->drained && !p->revoking && p->progress.known) {
            int room = w->hand_max - (w->hand_n - (w->parked_n < PARKED_MAX ? w->parked_n : PARKED_MAX));
            if (room > share - (p->in_hand - p->parked))
                room = share - (p->in_hand - p->parked);
            if (room > (int)COUNT(messages))
                room = COUNT(messages);
            if (room <= 0 || w->hand_bytes > HAND_BYTES_MAX)
                break;
            int n = kafka_fetch(w->consumer, p->id, messages, room);
            if (n)
                INJECTION_POINT(fetched);
            for (int i = 0; i < n; i++) {
                take_in(w, p, messages[i]);
                rd_kafka_message_destroy(messages[i]);
            }
            if (n)
                INJECTION_POINT(taken_in);
            p->drained = n < room;
        }
    }
}

/* ---- Kafka's callbacks ---- */

static void on_assigned(void *of, int32_t id)
{
    struct worker *w = of;
    struct part *p = calloc(1, sizeof *p);

    INJECTION_POINT(assigned);
    p->id = id;
    p->next = p->stored = -1;
    p->dropped = INT64_MAX;
    p->epoch_wanted = worker_takes_intents(w);
    p->drained = true;
    progress_assigned(w, p);
    TAILQ_INIT(&p->jobs);
    p->lag = metric_make(METRIC_GAUGE, "kafka_consumergroup_lag", "Messages of a partition that are not finished.",
                         "consumergroup=\"%s\",topic=\"%s\",partition=\"%d\"", w->group, w->topic, id);
    p->next_part = w->parts;
    w->parts = p;
    w->part_count++;
    w->suspect = false;
    INJECTION_POINT(assigned_done);
}

static void on_ready(void *of, int32_t id)
{
    struct worker *w = of;
    struct part *p = worker_part(w, id);

    if (p)
        p->drained = false;
}

static void on_message(void *of, rd_kafka_message_t *m)
{
    struct worker *w = of;
    struct part *p = worker_part(w, m->partition);

    if (p && m->offset >= p->next)
        take_in(w, p, m);
    rd_kafka_message_destroy(m);
}

void part_forget(struct worker *w, struct part *gone)
{
    struct part **at = &w->parts;

    for (struct job *job; (job = TAILQ_FIRST(&gone->jobs));) { /* still under way: it is finished, and nothing sent on */
        TAILQ_REMOVE(&gone->jobs, job, part_link);
        job->part = NULL;
        gone->in_hand--;
    }
    metric_hide(gone->lag);
    while (*at != gone)
        at = &(*at)->next_part;
    *at = gone->next_part;
    w->part_count--;
    free(gone);
}

void worker_release(void *of, uint32_t events)
{
    struct worker *w = of;

    (void)events;
    loop_timer_stop(w->loop, &w->release);
    INJECTION_POINT(release);
    worker_store_offsets(w);
    kafka_release(w->consumer); /* what is stored is committed on the way */
    INJECTION_POINT(released);
    for (struct part *p = w->parts, *next; p; p = next) {
        next = p->next_part;
        if (p->revoking)
            part_forget(w, p);
    }
}

void worker_maybe_release(struct worker *w)
{
    if (!w->release.place)
        return;
    for (struct part *p = w->parts; p; p = p->next_part)
        if (p->revoking && (p->in_hand || (progress_unnoted(p) && db_connected(w->record_db))))
            return;
    loop_timer_set(w->loop, &w->release, loop_now(w->loop)); /* from the loop, not from here */
}

/* What has not been sent to the vendor is given up; what has is finished. */
void part_give_up_unsent(struct part *p)
{
    for (struct job *job = TAILQ_FIRST(&p->jobs), *next; job; job = next) {
        next = TAILQ_NEXT(job, part_link);
        switch (job->state) {
        case J_LANE:
        case J_LOOK:
        case J_READY:
        case J_PARKED: job_give_up(job); break;
        case J_LOOKING: job->drop_when_seen = true; break;
        default: break;
        }
    }
}

static void on_revoked(void *of, int32_t id, bool lost)
{
    struct worker *w = of;
    struct part *p = worker_part(w, id);

    if (!p)
        return;
    INJECTION_POINT(revoked);
    p->revoking = true;
    /* last first, so that no lane hands on to a message that is given up next */
    part_give_up_unsent(p);
    INJECTION_POINT(revoked_done);
    if (lost) {
        INJECTION_POINT(lost);
        part_forget(w, p);
        return;
    }
    if (!w->release.place)
        loop_timer_set(w->loop, &w->release, loop_now(w->loop) + 3000000);
    worker_maybe_release(w);
}

void worker_trust(struct worker *w)
{
    log_info("the group still knows this worker: going on");
    w->suspect = false;
    for (struct part *p = w->parts; p; p = p->next_part) {
        p->epoch_wanted |= p->fenced;
        p->fenced = false;
    }
}

const struct kafka_consumer_calls worker_kafka_calls = {on_assigned, on_revoked, on_ready, on_message};

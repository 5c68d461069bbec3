#include "common/stage.h"

#include "common/access.h"
#include "common/instant.h"
#include "common/kafka.h"
#include "common/log.h"
#include "common/metrics.h"
#include "common/pg.h"
#include "common/program.h"
#include "common/status.h"

#include <arpa/inet.h>
#include <endian.h>
#include <malloc.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>
#include <uthash.h>

enum {
    BATCH_MAX = 64,             /* rows a statement; more adds latency and saves nothing */
    HAND_PER_SLOT = 12,         /* messages in hand for each call in flight: different keys are what fills the slots */
    AHEAD = 50,                 /* jobs looked up ahead of a free slot, so that a slot never waits for a commit */
    MESSAGE_MAX = 64 * 1024,    /* a longer one is none of ours */
    HAND_BYTES_MAX = 8 << 20,
    PARKED_MAX = 10000,         /* messages waiting for their next try do not take the room of others */
    START_SLACK_US = 5000000,   /* an intent not called upon within this is taken anew */
    LINGER_US = 2000,
    PULSE_US = 500000,
    CALLS_KEPT = 4,
};

/* ---- settings of every worker ---- */

static int64_t concurrency, drain_seconds, retry_ms_min, retry_ms_max, tries_max;
static const char *vendor_ca_file;

static struct setting worker_settings[] = {
    {"CONCURRENCY", SET_WHOLE, NULL, .least = 1, .most = 5000, .to = &concurrency,
     .help = "vendor calls in flight at a time, at most"},
    {"DRAIN_SECONDS", SET_WHOLE, "20", .least = 0, .most = 3600, .to = &drain_seconds,
     .help = "how long calls under way may take to finish after SIGTERM; shorter than what kills the program"},
    {"RETRY_MS_MIN", SET_WHOLE, "1000", .least = 10, .most = 60000, .to = &retry_ms_min,
     .help = "first pause before a message that could not be done is tried again, milliseconds; it doubles"},
    {"RETRY_MS_MAX", SET_WHOLE, "60000", .least = 10, .most = 3600000, .to = &retry_ms_max,
     .help = "longest such pause, milliseconds"},
    {"TRIES_MAX", SET_WHOLE, "6", .least = 1, .most = 1000, .to = &tries_max,
     .help = "failed tries after which a message is set aside, counted only while the vendor answers others"},
    {"VENDOR_CA_FILE", SET_TEXT, NULL, .to = &vendor_ca_file,
     .help = "file of a private certificate authority for the vendor (PEM); the system's when not set"},
    {0}};

/* ---- a message in hand ---- */

enum job_state { J_LANE, J_LOOK, J_LOOKING, J_READY, J_CALLING, J_RECORD, J_RECORDING, J_SEND, J_SENDING, J_PARKED };

struct call_record {
    const char *call, *verdict, *code;
    int status, duration_ms;
};

struct job;
TAILQ_HEAD(job_list, job);

struct part {
    int32_t id;
    int64_t epoch;      /* 0: not taken yet */
    int64_t next;       /* offset after the last one fetched; -1: none fetched */
    int64_t dropped;    /* lowest offset given up unfinished; INT64_MAX: none */
    int64_t stored;
    bool dirty, drained, revoking, epoch_wanted, fenced;
    int in_hand;
    struct job_list jobs; /* in offset order */
    struct metric *lag;
    struct part *next_part;
};

struct job {
    struct worker *w;
    enum job_state state;
    TAILQ_ENTRY(job) link;      /* in its state's list */
    TAILQ_ENTRY(job) part_link; /* in its partition */
    struct part *part;          /* NULL: the partition is gone, nothing is sent on */
    int64_t offset, timestamp_ms;
    UT_hash_handle hh;          /* of the key's lane; only its first job is in the table */
    struct job_list waiting;    /* behind the first one */
    TAILQ_ENTRY(job) lane_link;
    bool in_lane, has_intent, uncertain, reopen, dead_letter, marked, drop_when_seen;
    uint32_t key_hash;
    int tries, laters, looks;
    uint64_t mark;
    int64_t since_us;    /* in this state, or since when it waits to be batched */
    int64_t start_by_us; /* the intent's call must have begun by then */
    struct loop_timer timer;
    struct http_exchange *exchange;
    uint32_t token_serial;
    int account;
    struct call_record calls[CALLS_KEPT];
    int call_count;
    struct answer answer;
    char work[72]; /* the intent's id, as the look-up said */
    char trace_id[33];
    size_t key_len, value_len, bytes;
    const char *key, *value;
    max_align_t of[]; /* the stage's job, then key and value */
};

struct freed {
    char work[72];
    const char *state; /* what the intent is to become */
};

struct worker {
    const struct stage *stage;
    struct loop *loop;
    struct http *http;
    struct access access;
    struct db *look_db, *record_db;
    struct kafka_consumer *consumer;
    struct kafka_producer *producer;
    struct status *status;
    const char *topic, *topic_on, *topic_dead, *group;
    char owner[200], instance[160];
    int timeout_ms;

    struct part *parts;
    int part_count;
    struct job *lanes;
    struct job_list look, looking, ready, calling, record, recording, send, sending, parked;
    int look_n, looking_n, ready_n, calling_n, record_n, recording_n, send_n, sending_n, parked_n, hand_n;
    size_t hand_bytes;
    int hand_max, look_batch_max, record_batch_max;

    struct loop_timer linger, drain, release, pulse, prove;
    bool draining, ready_once, suspect;
    int64_t session_us;
    int64_t record_retry_us, look_retry_us;
    bool orphan_ready;

    struct freed *freed; /* intents that were taken and not used */
    int freed_n, freed_room, freed_sent;
    int lease_account;
    int64_t lease_sent_us;
    bool epochs_sent, pulse_due, pulse_sent;

    struct db_columns columns, call_columns, intent_columns;
    struct http_request request;
    struct text key, value, text;

    struct metric *m_fetched, *m_done, *m_rejected, *m_unknown, *m_dropped, *m_on, *m_dead, *m_hand, *m_flight, *m_turns,
        *m_parked, *m_look_rows, *m_look_batches, *m_record_rows, *m_record_batches, *m_seconds, *m_oldest, *m_left;
};

/* ---- lists ---- */

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
}

static void move(struct job *job, enum job_state to, bool first)
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
}

/* ---- partitions ---- */

static struct part *part_of(struct worker *w, int32_t id)
{
    for (struct part *p = w->parts; p; p = p->next_part)
        if (p->id == id)
            return p;
    return NULL;
}

static void subject_of(const struct job *job, char ret[120])
{
    if (job->part)
        snprintf(ret, 120, "%s/%d/%lld", job->w->topic, job->part->id, (long long)job->offset);
    else
        snprintf(ret, 120, "%s", job->w->topic);
}

static const char *work_id(const struct job *job)
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
    move(next, J_LOOK, false);
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
        job->part->dirty = true;
    }
    w->hand_n--;
    w->hand_bytes -= job->bytes;
    free(job);
}

static void store_offsets(struct worker *w)
{
    for (struct part *p = w->parts; p; p = p->next_part) {
        if (!p->dirty || p->next < 0)
            continue;
        p->dirty = false;
        struct job *oldest = TAILQ_FIRST(&p->jobs);
        int64_t offset = oldest ? oldest->offset : p->next;
        if (offset > p->dropped)
            offset = p->dropped;
        if (offset > p->stored) {
            kafka_store(w->consumer, p->id, offset);
            p->stored = offset;
        }
    }
}

static void free_intent(struct job *job)
{
    struct worker *w = job->w;

    if (!job->has_intent)
        return;
    job->has_intent = false;
    if (w->freed_n == w->freed_room) {
        int room = w->freed_room ? w->freed_room * 2 : 64;
        struct freed *freed = realloc(w->freed, (size_t)room * sizeof *freed);
        if (!freed)
            return; /* it stays taken: whoever finds it asks */
        w->freed = freed;
        w->freed_room = room;
    }
    struct freed *freed = &w->freed[w->freed_n++];
    text_copy(freed->work, sizeof freed->work, work_id(job));
    freed->state = job->uncertain ? "unsure" : "released";
}

/* Gives a job up unfinished: Kafka will deliver it again, to whoever owns the partition then. */
static void give_up(struct job *job)
{
    if (job->part && job->offset < job->part->dropped)
        job->part->dropped = job->offset;
    free_intent(job);
    discard(job);
}

/* Nothing more is sent for it: its partition is somebody else's, or the program ends. */
static bool abandoned(const struct job *job)
{
    return !job->part || job->part->revoking || job->w->draining;
}

static void maybe_release(struct worker *w);

static void finish(struct job *job)
{
    struct worker *w = job->w;

    discard(job);
    maybe_release(w);
}

/* ---- taking messages in ---- */

static void set_aside(struct job *job, const char *code, const char *why)
{
    char subject[120];

    subject_of(job, subject);
    log_about(LOG_WARN, subject, "set aside in %s: %s: %s", job->w->topic_dead, code, why);
    job->answer = answer_make(DEAD, CAUSE_WORK, code, "%s", why);
    job->dead_letter = true;
    move(job, J_SEND, false);
}

static void on_parked(void *of, uint32_t events)
{
    struct job *job = of;

    (void)events;
    move(job, J_LOOK, false);
}

static void park(struct job *job, int64_t us)
{
    move(job, J_PARKED, false);
    loop_timer_set(job->w->loop, &job->timer, loop_now(job->w->loop) + us);
}

/* Random bits for trace and span ids, from the kernel in pieces of a page: a system call for each message would show. */
static uint64_t random_id(void)
{
    static uint64_t pool[512];
    static size_t left;

    if (!left) {
        if (getrandom(pool, sizeof pool, 0) != sizeof pool)
            pool[0] = (uint64_t)time(NULL);
        left = COUNT(pool);
    }
    return pool[--left];
}

/* traceparent: 00-<32 hex>-<16 hex>-<2 hex>; a new trace where there is none. */
static void read_trace(struct job *job, const rd_kafka_message_t *m)
{
    rd_kafka_headers_t *headers;
    const void *value;
    size_t size;

    if (!rd_kafka_message_headers(m, &headers) && !rd_kafka_header_get_last(headers, "traceparent", &value, &size) &&
        size == 55 && strspn((const char *)value + 3, "0123456789abcdef") >= 32) {
        memcpy(job->trace_id, (const char *)value + 3, 32);
        return;
    }
    snprintf(job->trace_id, sizeof job->trace_id, "%016llx%016llx", (unsigned long long)random_id(),
             (unsigned long long)random_id());
}

static void take_in(struct worker *w, struct part *p, rd_kafka_message_t *m)
{
    const struct stage *s = w->stage;
    size_t job_size = (s->job_size + 15) & ~(size_t)15;
    size_t bytes = sizeof(struct job) + job_size + m->key_len + m->len + 2;
    struct job *job = calloc(1, bytes);

    if (!job)
        abort(); /* it is still in Kafka */
    char *copy = (char *)job->of + job_size;
    job->w = w;
    job->state = J_LANE;
    job->part = p;
    job->offset = m->offset;
    job->timestamp_ms = rd_kafka_message_timestamp(m, NULL);
    job->timer = (struct loop_timer){.call = on_parked, .of = job};
    TAILQ_INIT(&job->waiting);
    job->key = copy;
    job->key_len = m->key_len;
    if (m->key_len)
        memcpy(copy, m->key, m->key_len);
    job->value = copy + m->key_len + 1;
    job->value_len = m->len;
    if (m->len)
        memcpy(copy + m->key_len + 1, m->payload, m->len);
    job->bytes = bytes;
    read_trace(job, m);
    TAILQ_INSERT_TAIL(&p->jobs, job, part_link);
    p->in_hand++;
    p->next = m->offset + 1;
    p->dirty = true;
    w->hand_n++;
    w->hand_bytes += bytes;
    metric_add(w->m_fetched, 1);

    if (m->len > MESSAGE_MAX) {
        char why[80];
        snprintf(why, sizeof why, "%zu bytes, at most %d", m->len, MESSAGE_MAX);
        set_aside(job, "too_large", why);
        return;
    }
    struct fault f = s->decode(job->value, job->value_len, job->of);
    if (f.kind) {
        set_aside(job, "unreadable", f.what);
        return;
    }
    const char *key = s->key(job->of);
    if (strlen(key) != job->key_len || memcmp(key, job->key, job->key_len) != 0) {
        set_aside(job, "wrong_key", job->key_len ? "the message's key is not the one its contents ask for"
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
    move(job, J_LOOK, false);
}

static void fetch(struct worker *w)
{
    rd_kafka_message_t *messages[128];

    if (w->draining || w->suspect || !w->part_count)
        return;
    int share = w->hand_max / w->part_count + 1;
    for (struct part *p = w->parts; p; p = p->next_part) {
        while (!p->drained && !p->revoking) {
            int room = w->hand_max - (w->hand_n - (w->parked_n < PARKED_MAX ? w->parked_n : PARKED_MAX));
            if (room > share - p->in_hand)
                room = share - p->in_hand + (w->parked_n ? share / 2 : 0);
            if (room > (int)COUNT(messages))
                room = COUNT(messages);
            if (room <= 0 || w->hand_bytes > HAND_BYTES_MAX)
                break;
            int n = kafka_fetch(w->consumer, p->id, messages, room);
            for (int i = 0; i < n; i++) {
                take_in(w, p, messages[i]);
                rd_kafka_message_destroy(messages[i]);
            }
            p->drained = n < room;
        }
    }
}

/* ---- Kafka's callbacks ---- */

static void on_assigned(void *of, int32_t id)
{
    struct worker *w = of;
    struct part *p = calloc(1, sizeof *p);

    if (!p)
        abort();
    p->id = id;
    p->next = p->stored = -1;
    p->dropped = INT64_MAX;
    p->epoch_wanted = w->stage->call != CALL_READS;
    p->drained = true;
    TAILQ_INIT(&p->jobs);
    p->lag = metric_make(METRIC_GAUGE, "kafka_consumergroup_lag", "Messages of a partition that are not finished.",
                         "consumergroup=\"%s\",topic=\"%s\",partition=\"%d\"", w->group, w->topic, id);
    p->next_part = w->parts;
    w->parts = p;
    w->part_count++;
    w->suspect = false;
    w->ready_once = true;
}

static void on_ready(void *of, int32_t id)
{
    struct worker *w = of;
    struct part *p = part_of(w, id);

    if (p)
        p->drained = false;
}

static void on_message(void *of, rd_kafka_message_t *m)
{
    struct worker *w = of;
    struct part *p = part_of(w, m->partition);

    if (p && m->offset >= p->next)
        take_in(w, p, m);
    rd_kafka_message_destroy(m);
}

static void part_forget(struct worker *w, struct part *gone)
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

static void on_release(void *of, uint32_t events)
{
    struct worker *w = of;

    (void)events;
    loop_timer_stop(w->loop, &w->release);
    store_offsets(w);
    kafka_release(w->consumer); /* what is stored is committed on the way */
    for (struct part *p = w->parts, *next; p; p = next) {
        next = p->next_part;
        if (p->revoking)
            part_forget(w, p);
    }
}

static void maybe_release(struct worker *w)
{
    if (!w->release.place)
        return;
    for (struct part *p = w->parts; p; p = p->next_part)
        if (p->revoking && p->in_hand)
            return;
    loop_timer_set(w->loop, &w->release, loop_now(w->loop)); /* from the loop, not from here */
}

/* What has not been sent to the vendor is given up; what has is finished. */
static void give_up_unsent(struct part *p)
{
    for (struct job *job = TAILQ_FIRST(&p->jobs), *next; job; job = next) {
        next = TAILQ_NEXT(job, part_link);
        switch (job->state) {
        case J_LANE:
        case J_LOOK:
        case J_READY:
        case J_PARKED: give_up(job); break;
        case J_LOOKING: job->drop_when_seen = true; break;
        default: break;
        }
    }
}

static void on_revoked(void *of, int32_t id, bool lost)
{
    struct worker *w = of;
    struct part *p = part_of(w, id);

    if (!p)
        return;
    p->revoking = true;
    /* last first, so that no lane hands on to a message that is given up next */
    give_up_unsent(p);
    if (lost) {
        part_forget(w, p);
        return;
    }
    if (!w->release.place)
        loop_timer_set(w->loop, &w->release, loop_now(w->loop) + 3000000);
    maybe_release(w);
}

static void trust(struct worker *w)
{
    log_info("the group still knows this worker: going on");
    w->suspect = false;
    for (struct part *p = w->parts; p; p = p->next_part) {
        p->epoch_wanted |= p->fenced;
        p->fenced = false;
    }
}

static void on_committed(void *of, int32_t id, int64_t offset)
{
    struct worker *w = of;

    (void)id;
    (void)offset;
    if (w->suspect)
        trust(w);
}

/* ---- looking ---- */

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

static void set_answer(struct job *job, const struct answer *a)
{
    job->answer = *a;
    move(job, J_RECORD, false);
}

static void looked(struct job *job, const struct look_row *row, enum prior prior)
{
    struct worker *w = job->w;
    struct answer a = answer_make(DONE, CAUSE_WORK, "true_already", "%s", "");

    switch (w->stage->looked(job->of, row, prior, &a)) {
    case LOOK_CALL: move(job, J_READY, false); break;
    case LOOK_ON:
        metric_add(w->m_on, 1);
        job->answer = a;
        move(job, J_SEND, false);
        break;
    case LOOK_DROP:
        metric_add(w->m_dropped, 1);
        free_intent(job);
        finish(job);
        break;
    case LOOK_ANSWER:
        job->calls[0] = (struct call_record){"look", verdict_name(a.verdict), a.code, 0, 0};
        job->call_count = 1;
        set_answer(job, &a);
        break;
    }
}

static bool has_intent(const struct stage *s)
{
    return s->call != CALL_READS;
}

/* What the statement says of the intent: whether it is ours now, and whether a call was begun before. */
static void note_intent(struct job *job, const struct look_row *row)
{
    int last = PQnfields(row->res);
    const char *prior_state = look_text(row, last - 3);

    text_copy(job->work, sizeof job->work, look_text(row, 1));
    job->has_intent = look_true(row, last - 4);
    if (!strcmp(prior_state, "unsure"))
        job->uncertain = true;
    else if (!strcmp(prior_state, "taken")) /* by this very program: it knows what it has called */
        job->uncertain |= strcmp(look_text(row, last - 2), job->w->owner) != 0;
}

static void on_prove(void *of, uint32_t events);

/* PostgreSQL says that the partition has another owner. The group decides: if it still knows us, the epoch is taken anew. */
static void doubt(struct worker *w, struct part *p)
{
    if (p)
        p->fenced = true;
    if (w->suspect)
        return;
    log_warn("another worker took a partition of %s: asking the group whose it is", w->topic);
    w->suspect = true;
    on_prove(w, 0);
}

static void look_row_done(struct job *job, const PGresult *res, int r)
{
    struct worker *w = job->w;
    struct look_row row = {res, r};
    enum prior prior = PRIOR_NONE;

    if (has_intent(w->stage)) {
        bool fenced = look_true(&row, PQnfields(res) - 1);
        if (look_true(&row, 2) && !job->has_intent) {
            /* fenced: somebody else took the partition; otherwise somebody holds the intent, or has just finished it */
            job->reopen = !fenced;
            job->looks++;
            if (fenced)
                doubt(w, job->part);
            park(job, fenced ? 1000000 : job->looks < 4 ? 50000 : 1000000);
            return;
        }
        prior = job->has_intent && job->uncertain ? PRIOR_UNFINISHED : PRIOR_NONE;
    }
    job->looks = 0;
    job->reopen = false;
    looked(job, &row, prior);
}

static void unlook(struct worker *w)
{
    for (struct job *job; (job = TAILQ_LAST(&w->looking, job_list));) {
        move(job, J_LOOK, true);
        if (job->drop_when_seen)
            give_up(job);
    }
}

static void on_looked(void *of, const struct db_outcome *out)
{
    struct worker *w = of;
    int at = 0;
    bool epochs = w->epochs_sent, pulse = w->pulse_sent;
    int lease = w->lease_account;

    w->epochs_sent = w->pulse_sent = false;
    w->lease_account = -1;
    if (out->end != DB_DONE) {
        if (lease >= 0)
            access_lease_failed(&w->access, lease);
        for (struct part *p = w->parts; epochs && p; p = p->next_part)
            p->epoch_wanted |= !p->epoch && has_intent(w->stage);
        if (out->end == DB_REFUSED) {
            if (w->looking_n == 1 && (!strncmp(out->sqlstate, "22", 2) || !strncmp(out->sqlstate, "23", 2))) {
                struct job *job = TAILQ_FIRST(&w->looking);
                set_aside(job, "refused_by_database", out->error);
            } else {
                log_warn("PostgreSQL refuses a look-up (%s): %s", out->sqlstate, out->error);
                w->look_retry_us = loop_now(w->loop) + (w->looking_n > 1 ? 0 : 1000000);
            }
            w->look_batch_max = w->looking_n > 2 ? w->looking_n / 2 : 1;
        }
        unlook(w);
        return;
    }
    if (epochs) {
        const PGresult *res = out->results[at++];
        for (int r = 0; r < PQntuples(res); r++) {
            struct part *p = part_of(w, atoi(PQgetvalue(res, r, 0)));
            if (p)
                p->epoch = atoll(PQgetvalue(res, r, 1));
        }
    }
    if (lease >= 0) {
        const PGresult *res = out->results[at++];
        access_leased(&w->access, lease, w->lease_sent_us, atoll(PQgetvalue(res, 0, 0)), atoi(PQgetvalue(res, 0, 1)),
                      atoll(PQgetvalue(res, 0, 2)), PQgetvalue(res, 0, 3));
    }
    if (pulse) {
        const PGresult *res = out->results[at++];
        for (int r = 0; r < PQntuples(res); r++)
            access_paused(&w->access, PQgetvalue(res, r, 0), atoll(PQgetvalue(res, r, 1)), PQgetvalue(res, r, 2));
    }
    if (w->looking_n) {
        const PGresult *res = out->results[at];
        struct job *by_ord[BATCH_MAX];
        int n = 0;
        for (struct job *job = TAILQ_FIRST(&w->looking); job; job = TAILQ_NEXT(job, link))
            by_ord[n++] = job;
        for (int r = 0; r < PQntuples(res); r++) {
            int ord = atoi(PQgetvalue(res, r, 0)) - 1;
            if (ord < 0 || ord >= n || by_ord[ord]->state != J_LOOKING)
                continue;
            struct job *job = by_ord[ord];
            if (has_intent(w->stage))
                note_intent(job, &(struct look_row){res, r});
            if (job->drop_when_seen) {
                give_up(job);
                maybe_release(w);
                continue;
            }
            look_row_done(job, res, r);
        }
        if (w->look_batch_max < BATCH_MAX)
            w->look_batch_max *= 2;
        unlook(w); /* rows that did not come: none, unless the statement is wrong */
    }
}

enum { ST_EPOCHS, ST_LEASE, ST_PULSE, ST_LOOK };
enum { ST_ATTEMPTS, ST_INTENTS, ST_PAUSE, ST_RECORD };

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

/* How many may be looked up now. */
static int look_room(struct worker *w)
{
    int limit = access_limit(&w->access);

    if (!limit || w->suspect || w->look_retry_us > loop_now(w->loop))
        return 0;
    int ahead = w->stage->call == CALL_BLIND ? 0 : limit < AHEAD ? limit : AHEAD;
    return limit + ahead - w->calling_n - w->ready_n - w->looking_n;
}

static void wait_to_batch(struct worker *w, int64_t until_us)
{
    if (!w->linger.place || until_us < w->linger.at_us)
        loop_timer_set(w->loop, &w->linger, until_us);
}

/* Is a batch worth sending now? At once while the worker has slots to spare; when it is nearly full, with company. */
static bool worth_it(struct worker *w, const struct job_list *list, int n, int room)
{
    if (n >= room || n >= 24 || w->calling_n * 4 < w->access.health.limit * 3)
        return true;
    int64_t due = TAILQ_FIRST(list)->since_us + LINGER_US;
    if (due <= loop_now(w->loop))
        return true;
    wait_to_batch(w, due);
    return false;
}

static void add_look(struct worker *w)
{
    const struct stage *s = w->stage;
    struct db_columns *c = &w->columns;
    const char *values[32];
    int engine = 0, room = look_room(w), n = 0;
    char deadline[24];

    if (room > w->look_batch_max)
        room = w->look_batch_max;
    if (room <= 0 || !w->look_n || !worth_it(w, &w->look, w->look_n, room))
        return;
    if (has_intent(s)) {
        snprintf(deadline, sizeof deadline, "%lld", (long long)(w->timeout_ms + START_SLACK_US / 1000 + 1000));
        values[0] = s->name;
        values[1] = w->owner;
        values[2] = deadline;
        values[3] = w->topic;
        values[4] = w->instance;
        engine = 5;
    }
    db_columns_begin(c, (has_intent(s) ? 4 : 1) + s->look_columns);
    for (struct job *job = TAILQ_FIRST(&w->look), *next; job && n < room; job = next) {
        next = TAILQ_NEXT(job, link);
        if (has_intent(s) && job->part && !job->part->epoch)
            continue; /* nobody knows yet that the partition is ours */
        db_put_int(c, ++n);
        if (has_intent(s)) {
            db_put_int(c, job->part ? job->part->id : -1);
            db_put_int(c, job->part ? job->part->epoch : -1);
            db_put_bool(c, job->reopen);
        }
        s->look_put(job->of, c);
        db_row_end(c);
        move(job, J_LOOKING, false);
        job->start_by_us = loop_now(w->loop) + START_SLACK_US;
    }
    if (!n)
        return;
    db_columns_end(c, values + engine);
    db_add(w->look_db, ST_LOOK, values);
    metric_add(w->m_look_rows, n);
    metric_add(w->m_look_batches, 1);
}

static void look(struct worker *w)
{
    if (!db_free(w->look_db) || w->looking_n)
        return;
    add_epochs(w);
    add_lease(w);
    if (w->pulse_due) {
        db_add(w->look_db, ST_PULSE, (const char *const[]){w->stage->vendor->name});
        w->pulse_due = false;
        w->pulse_sent = true;
    }
    add_look(w);
    if (w->looking_n || w->epochs_sent || w->pulse_sent || w->lease_account >= 0)
        db_send(w->look_db, on_looked, w);
}

/* ---- calling ---- */

static const char *call_name(const struct job *job)
{
    const struct stage *s = job->w->stage;

    return s->call_names[s->step ? s->step(job->of) : 0];
}

static void note_call(struct job *job, const char *call, const struct answer *a, const struct http_response *res)
{
    struct worker *w = job->w;

    if (job->call_count == CALLS_KEPT) {
        memmove(job->calls, job->calls + 1, sizeof job->calls - sizeof job->calls[0]);
        job->call_count--;
    }
    job->calls[job->call_count++] = (struct call_record){call, verdict_name(a->verdict), a->code, res->status,
                                                         (int)(res->duration_us / 1000)};
    metric_add(metric_make(METRIC_COUNTER, "shelfwire_vendor_calls_total", "Calls made at a vendor, by what came of them.",
                           "vendor=\"%s\",call=\"%s\",code=\"%s\"", w->stage->vendor->name, call, a->code), 1);
    metric_observe(w->m_seconds, (double)res->duration_us / 1e6);
}

/* A failed try counts only while the same call goes well for others. */
static void count_try(struct job *job, struct answer *a)
{
    struct worker *w = job->w;
    struct health *h = &w->access.health;

    if (job->marked && health_blames(h, job->mark, job->key_hash))
        job->tries++;
    job->mark = health_mark(h);
    job->marked = true;
    if (job->tries >= tries_max) {
        struct answer dead = answer_make(DEAD, CAUSE_WORK, "tries_exhausted", "%lld tries failed while others went well; the last: %s",
                                         (long long)tries_max, a->reason);
        *a = dead;
    }
}

static void on_answer(void *of, const struct http_response *res)
{
    struct job *job = of;
    struct worker *w = job->w;

    job->exchange = NULL;
    const char *call = call_name(job);
    struct answer a = w->stage->answer(job->of, res);
    note_call(job, call, &a, res);
    access_answered(&w->access, job->account, job->key_hash, job->token_serial, &a, res);
    if (res->end == HTTP_UNKNOWN || a.verdict == UNKNOWN)
        job->uncertain |= w->stage->call != CALL_READS;
    if (a.verdict == DONE || a.verdict == REJECTED)
        job->uncertain = false;
    if (a.verdict == AGAIN || (a.verdict == LATER && a.cause == CAUSE_TOKEN)) {
        if (abandoned(job)) {
            give_up(job);
            maybe_release(w);
        } else {
            move(job, J_READY, true);
        }
        return;
    }
    if (a.verdict == LATER && (a.cause == CAUSE_VENDOR || a.cause == CAUSE_WORK))
        count_try(job, &a);
    if (a.verdict == UNKNOWN && w->stage->call == CALL_ASKABLE)
        count_try(job, &a);
    set_answer(job, &a);
}

static void call(struct worker *w)
{
    int limit = access_limit(&w->access);
    int skipped = 0;

    if (w->suspect)
        return;
    for (struct job *job = TAILQ_FIRST(&w->ready), *next; job && w->calling_n < limit && skipped < 64; job = next) {
        next = TAILQ_NEXT(job, link);
        if (has_intent(w->stage) && loop_now(w->loop) > job->start_by_us) {
            move(job, J_LOOK, true); /* the intent's time is over: take it anew */
            continue;
        }
        job->account = w->stage->account ? w->stage->account(job->of) : 0;
        if (!access_take(&w->access, job->account)) {
            skipped++;
            continue;
        }
        w->stage->request(job->of, &w->request, w->access.token);
        job->token_serial = w->access.token_serial;
        job->exchange = http_send(w->http, w->stage->vendor->root(), &w->request, w->timeout_ms, on_answer, job);
        if (!job->exchange) {
            free_intent(job);
            set_aside(job, "request_too_large", "the vendor's request cannot be built");
            continue;
        }
        move(job, J_CALLING, false);
    }
}

/* ---- recording ---- */

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
        move(job, J_SEND, false);
        return;
    case DEAD: {
        char subject[120];
        subject_of(job, subject);
        log_about(LOG_WARN, subject, "set aside in %s: %s: %s", w->topic_dead, job->answer.code, job->answer.reason);
        job->dead_letter = true;
        move(job, J_SEND, false);
        return;
    }
    case REJECTED:
        metric_add(w->m_rejected, 1);
        finish(job);
        return;
    case UNKNOWN:
        if (w->stage->call != CALL_ASKABLE) {
            metric_add(w->m_unknown, 1);
            finish(job);
            return;
        }
        break;
    default: break;
    }
    if (!job->part) {
        finish(job); /* somebody else's now */
        return;
    }
    pause = health_backoff_us(&w->access.health, job->laters, retry_ms_min * 1000, retry_ms_max * 1000);
    if (job->answer.cause == CAUSE_RATE || job->answer.cause == CAUSE_DAY || job->answer.cause == CAUSE_CREDENTIALS)
        pause = 0; /* the account's pause holds it */
    else
        job->laters += job->laters < 20;
    if (job->part->revoking)
        give_up(job);
    else
        park(job, pause);
}

static void on_recorded(void *of, const struct db_outcome *out)
{
    struct worker *w = of;

    if (out->end == DB_DONE) {
        memmove(w->freed, w->freed + w->freed_sent, (size_t)(w->freed_n - w->freed_sent) * sizeof *w->freed);
        w->freed_n -= w->freed_sent;
        for (struct job *job; (job = TAILQ_FIRST(&w->recording));)
            recorded(job);
        if (w->record_batch_max < BATCH_MAX)
            w->record_batch_max *= 2;
    } else {
        for (struct job *job; (job = TAILQ_LAST(&w->recording, job_list));) {
            if (out->end == DB_REFUSED && w->recording_n == 1 && w->freed_sent == 0 &&
                (!strncmp(out->sqlstate, "22", 2) || !strncmp(out->sqlstate, "23", 2))) {
                set_aside(job, "refused_by_database", out->error);
                break;
            }
            move(job, J_RECORD, true);
        }
        if (out->end == DB_REFUSED) {
            log_warn("PostgreSQL refuses an outcome (%s): %s", out->sqlstate, out->error);
            if (w->record_batch_max == 1)
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
        db_put(c, work_id(job));
        db_put(c, call->call);
        db_put(c, last ? verdict_name(job->answer.verdict) : call->verdict);
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

static void record(struct worker *w)
{
    const struct stage *s = w->stage;
    const char *values[32];
    int n = 0;

    if (!db_free(w->record_db) || w->recording_n || w->record_retry_us > loop_now(w->loop))
        return;
    bool pauses = pauses_waiting(w);
    if (!w->freed_n && !pauses && (!w->record_n || !worth_it(w, &w->record, w->record_n, w->record_batch_max)))
        return;
    db_columns_begin(&w->columns, s->record_columns);
    db_columns_begin(&w->call_columns, 9);
    db_columns_begin(&w->intent_columns, 2);
    for (struct job *job; n < w->record_batch_max && (job = TAILQ_FIRST(&w->record)); n++) {
        s->record_put(job->of, &job->answer, &w->columns);
        db_row_end(&w->columns);
        put_calls(job, &w->call_columns);
        if (has_intent(s)) {
            db_put(&w->intent_columns, work_id(job));
            db_put(&w->intent_columns, intent_state(job));
            db_row_end(&w->intent_columns);
        }
        move(job, J_RECORDING, false);
    }
    w->freed_sent = w->freed_n < 256 ? w->freed_n : 256;
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
    if (n) {
        db_columns_end(&w->columns, values);
        db_add(w->record_db, ST_RECORD, values);
    }
    metric_add(w->m_record_rows, n);
    metric_add(w->m_record_batches, 1);
    db_send(w->record_db, on_recorded, w);
}

/* ---- sending on ---- */

static void on_delivered(void *of, const char *error)
{
    struct job *job = of;
    struct worker *w = job->w;
    char subject[120];

    if (!error) {
        if (job->dead_letter)
            metric_add(w->m_dead, 1);
        finish(job);
        return;
    }
    subject_of(job, subject);
    log_about(LOG_WARN, subject, "Kafka did not take it for %s: %s; sending again",
              job->dead_letter ? w->topic_dead : w->topic_on, error);
    move(job, J_SEND, true);
    wait_to_batch(w, loop_now(w->loop) + 1000000);
}

static void header(rd_kafka_headers_t *h, const char *name, const char *value)
{
    rd_kafka_header_add(h, name, -1, value, -1);
}

static rd_kafka_headers_t *event_headers(struct job *job)
{
    struct worker *w = job->w;
    rd_kafka_headers_t *h = rd_kafka_headers_new(8);
    char text[120], when[INSTANT_SIZE];

    instant_write(time(NULL), when);
    header(h, "ce_specversion", "1.0");
    snprintf(text, sizeof text, "%s/%s", w->stage->name, w->stage->subject(job->of));
    header(h, "ce_id", text);
    snprintf(text, sizeof text, "/shelfwire/%s", w->stage->name);
    header(h, "ce_source", text);
    snprintf(text, sizeof text, "shelfwire.%s", w->stage->produces);
    header(h, "ce_type", text);
    header(h, "ce_time", when);
    header(h, "content-type", "application/json");
    snprintf(text, sizeof text, "00-%s-%016llx-01", job->trace_id, (unsigned long long)random_id());
    header(h, "traceparent", text);
    return h;
}

/* The names and the binary numbers that Spring Kafka's readers of dead letters expect. */
static rd_kafka_headers_t *dead_letter_headers(struct job *job)
{
    struct worker *w = job->w;
    rd_kafka_headers_t *h = rd_kafka_headers_new(10);
    uint32_t partition = htonl((uint32_t)(job->part ? job->part->id : -1));
    uint64_t offset = htobe64((uint64_t)job->offset), timestamp = htobe64((uint64_t)job->timestamp_ms);
    char text[80], why[320];

    header(h, "kafka_dlt-original-topic", w->topic);
    rd_kafka_header_add(h, "kafka_dlt-original-partition", -1, &partition, sizeof partition);
    rd_kafka_header_add(h, "kafka_dlt-original-offset", -1, &offset, sizeof offset);
    rd_kafka_header_add(h, "kafka_dlt-original-timestamp", -1, &timestamp, sizeof timestamp);
    header(h, "kafka_dlt-original-timestamp-type", "CREATE_TIME");
    header(h, "kafka_dlt-original-consumer-group", w->group);
    header(h, "kafka_dlt-exception-fqcn", job->answer.code);
    snprintf(why, sizeof why, "%s: %s", job->answer.code, job->answer.reason);
    header(h, "kafka_dlt-exception-message", why);
    snprintf(text, sizeof text, "00-%s-0000000000000001-01", job->trace_id);
    header(h, "traceparent", text);
    return h;
}

static void send_on(struct worker *w)
{
    if (!w->send_n || !worth_it(w, &w->send, w->send_n, w->hand_max))
        return; /* each time it is woken, Kafka's own thread costs as much as a message */
    for (struct job *job; (job = TAILQ_FIRST(&w->send));) {
        bool nowhere = !job->dead_letter && !w->topic_on;
        if (!job->part || nowhere) {
            finish(job); /* nobody is next; or the partition is somebody else's, who will send it on */
            continue;
        }
        struct kafka_message m = {.topic = w->topic_dead, .key = job->key, .key_len = job->key_len, .value = job->value,
                                  .len = job->value_len};
        if (job->dead_letter) {
            m.headers = dead_letter_headers(job);
        } else {
            text_clear(&w->key);
            text_clear(&w->value);
            w->stage->onward(job->of, &w->key, &w->value);
            m = (struct kafka_message){.topic = w->topic_on, .key = text_str(&w->key), .key_len = w->key.len,
                                       .value = text_str(&w->value), .len = w->value.len};
            m.headers = event_headers(job);
        }
        if (!kafka_produce(w->producer, &m, job)) {
            rd_kafka_headers_destroy(m.headers);
            wait_to_batch(w, loop_now(w->loop) + 100000);
            return;
        }
        move(job, J_SENDING, false);
    }
}

/* ---- the turn: callbacks change lists, and everything that follows from it is done once, at the end of the turn ---- */

static void on_changed(void *of)
{
    (void)of;
}

static void on_linger(void *of, uint32_t events)
{
    (void)of;
    (void)events;
}

static void on_pulse(void *of, uint32_t events)
{
    struct worker *w = of;

    (void)events;
    w->pulse_due = w->hand_n > 0;
    loop_timer_set(w->loop, &w->pulse, loop_now(w->loop) + PULSE_US);
}

static void on_prove(void *of, uint32_t events)
{
    struct worker *w = of;

    (void)events;
    if (!w->suspect)
        return;
    if (!kafka_prove_membership(w->consumer) && !w->hand_n) {
        trust(w); /* nothing was fetched yet: there is nothing that could be somebody else's */
        return;
    }
    loop_timer_set(w->loop, &w->prove, loop_now(w->loop) + 1000000);
}

/*
 * The program was not running for half a session: somebody else may own its keys by now. Nothing is sent to the vendor
 * until the group has answered; intents in hand are taken anew, which PostgreSQL refuses if the partition has moved.
 */
static void suspect(struct worker *w)
{
    log_warn("this program was stopped for %.1f s: asking the group whether its partitions are still its own",
             (double)loop_gap_us(w->loop) / 1e6);
    w->suspect = true;
    for (struct job *job; (job = TAILQ_LAST(&w->ready, job_list));)
        move(job, J_LOOK, true);
    on_prove(w, 0);
}

static void turn(struct worker *w)
{
    loop_turn(w->loop, 1000);
    if (loop_gap_us(w->loop) > w->session_us / 2)
        suspect(w);
    if (w->consumer)
        kafka_consumer_serve(w->consumer);
    access_serve(&w->access);
    if (w->consumer)
        fetch(w);
    call(w);
    record(w);
    look(w);
    call(w);
    send_on(w);
    if (w->consumer)
        store_offsets(w);
}

/* ---- status ---- */

static bool is_ready(void *of, struct text *why)
{
    struct worker *w = of;
    bool ready = true;

    if (w->draining) {
        text_puts(why, "draining; ");
        ready = false;
    }
    if (!db_connected(w->look_db) || !db_connected(w->record_db)) {
        const char *trouble = db_trouble(w->look_db);
        text_printf(why, "%s; ", *trouble ? trouble : "connecting to PostgreSQL");
        ready = false;
    }
    if (!w->consumer || !kafka_consumer_joined(w->consumer)) {
        text_printf(why, "%s; ", w->consumer ? kafka_consumer_trouble(w->consumer) : "no Kafka broker yet");
        ready = false;
    } else if (*kafka_consumer_trouble(w->consumer)) {
        text_printf(why, "%s; ", kafka_consumer_trouble(w->consumer));
    }
    if (w->suspect)
        text_puts(why, "asking the group whether the partitions are still ours; ");
    access_trouble(&w->access, why);
    return ready;
}

static void refresh(void *of)
{
    struct worker *w = of;
    int64_t oldest_ms = 0, now_ms = (int64_t)time(NULL) * 1000;

    for (struct part *p = w->parts; p; p = p->next_part) {
        int64_t lag = kafka_lag(w->consumer, p->id);
        if (lag >= 0)
            metric_set(p->lag, (double)lag);
        struct job *first = TAILQ_FIRST(&p->jobs);
        if (first && first->timestamp_ms > 0 && now_ms - first->timestamp_ms > oldest_ms)
            oldest_ms = now_ms - first->timestamp_ms;
    }
    metric_set(w->m_hand, w->hand_n);
    metric_set(w->m_flight, w->calling_n);
    metric_set(w->m_parked, w->parked_n);
    metric_set(w->m_turns, (double)loop_turns(w->loop));
    metric_set(w->m_oldest, (double)oldest_ms / 1000);
    if (w->access.accounts[0].calls_left >= 0)
        metric_set(metric_make(METRIC_GAUGE, "shelfwire_vendor_calls_left", "Calls left today, as the vendor last said.",
                               "vendor=\"%s\"", w->stage->vendor->name), (double)w->access.accounts[0].calls_left);
}

static struct metric *counter(const char *outcome)
{
    return metric_make(METRIC_COUNTER, "shelfwire_messages_total", "Messages finished, by how.", "outcome=\"%s\"", outcome);
}

static void make_metrics(struct worker *w)
{
    w->m_fetched = metric_make(METRIC_COUNTER, "shelfwire_fetched_total", "Messages taken from Kafka.", "%s", "");
    w->m_done = counter("done");
    w->m_on = counter("true_already");
    w->m_rejected = counter("rejected");
    w->m_unknown = counter("unknown");
    w->m_dropped = counter("not_wanted");
    w->m_dead = counter("dead_letter");
    w->m_hand = metric_make(METRIC_GAUGE, "shelfwire_in_hand", "Messages taken and not finished.", "%s", "");
    w->m_flight = metric_make(METRIC_GAUGE, "shelfwire_calls_in_flight", "Vendor calls under way.", "%s", "");
    w->m_parked = metric_make(METRIC_GAUGE, "shelfwire_parked", "Messages waiting for their next try.", "%s", "");
    w->m_turns = metric_make(METRIC_COUNTER, "shelfwire_loop_turns_total", "Turns of the loop.", "%s", "");
    w->m_look_rows = metric_make(METRIC_COUNTER, "shelfwire_look_rows_total", "Rows looked up.", "%s", "");
    w->m_look_batches = metric_make(METRIC_COUNTER, "shelfwire_look_batches_total", "Statements they took.", "%s", "");
    w->m_record_rows = metric_make(METRIC_COUNTER, "shelfwire_record_rows_total", "Outcomes written.", "%s", "");
    w->m_record_batches = metric_make(METRIC_COUNTER, "shelfwire_record_batches_total", "Transactions they took.", "%s", "");
    w->m_oldest = metric_make(METRIC_GAUGE, "shelfwire_oldest_message_seconds", "Age of the oldest unfinished message.", "%s", "");
    w->m_seconds = metric_make(METRIC_HISTOGRAM, "shelfwire_vendor_call_seconds", "How long the vendor's calls take.",
                               "vendor=\"%s\"", w->stage->vendor->name);
}

/* ---- beginning and end ---- */

static const char intent_look[] =
    "WITH asked AS MATERIALIZED (SELECT * FROM unnest($6::int[], $7::int[], $8::bigint[], $9::bool[]%s) AS a(ord, part, epoch, reopen, %s)), "
    "seen AS MATERIALIZED (%s), "
    "fence AS MATERIALIZED (SELECT a.ord, a.reopen, EXISTS (SELECT FROM partition_owners o WHERE o.topic = $4"
    " AND o.partition = a.part AND o.epoch = a.epoch) AS ours FROM asked a), "
    "picked AS MATERIALIZED (SELECT DISTINCT ON (s.work_id) s.work_id, s.ord, f.reopen FROM seen s JOIN fence f USING (ord)"
    " WHERE s.wants AND f.ours ORDER BY s.work_id, s.ord), "
    /* prior_past carries `reopen` in: what the conflict clause may see is only the row proposed */
    "taken AS (INSERT INTO intents AS i (stage, work_id, state, owner, deadline, prior_past)"
    " SELECT $1, p.work_id, 'taken', $2, clock_timestamp() + $3::bigint * interval '1 millisecond', p.reopen FROM picked p"
    " ON CONFLICT (stage, work_id) DO UPDATE SET state = 'taken', owner = excluded.owner, deadline = excluded.deadline,"
    " tries = i.tries + 1, changed_at = clock_timestamp(), prior_state = i.state, prior_owner = i.owner,"
    " prior_past = i.deadline < clock_timestamp()"
    " WHERE i.state = 'released' OR i.state = 'finished' AND excluded.prior_past"
    " OR i.state IN ('taken', 'unsure') AND (%s OR i.deadline < clock_timestamp() OR starts_with(i.owner, $5))"
    " RETURNING i.work_id, CASE WHEN i.tries > 1 THEN i.prior_state END AS prior_state, i.prior_owner) "
    "SELECT s.*, t.work_id IS NOT NULL AS taken, coalesce(t.prior_state, '') AS prior_state, coalesce(t.prior_owner, '') AS prior_owner,"
    " NOT f.ours AS fenced"
    " FROM seen s JOIN fence f USING (ord) LEFT JOIN picked p ON p.ord = s.ord LEFT JOIN taken t ON t.work_id = p.work_id";

static char *compose_look(const struct stage *s, int *ret_params)
{
    struct text params = {0}, sql = {0};
    int first = has_intent(s) ? 10 : 2;

    for (int i = 0; i < s->look_columns; i++)
        text_printf(&params, ", $%d::text[]", first + i);
    if (has_intent(s)) {
        text_printf(&sql, intent_look, text_str(&params), s->look_names, s->look_sql,
                    s->call == CALL_ASKABLE ? "true" : "false");
    } else {
        text_printf(&sql, "WITH asked AS MATERIALIZED (SELECT * FROM unnest($1::int[]%s) AS a(ord, %s)) %s",
                    text_str(&params), s->look_names, s->look_sql);
    }
    text_free(&params);
    *ret_params = first - 1 + s->look_columns;
    return sql.at;
}

static void on_db_up(void *of)
{
    (void)of;
}

static struct db_statement look_statements[] = {
    [ST_EPOCHS] = {"INSERT INTO partition_owners AS o (topic, partition, epoch, owner) SELECT $1, p, 1, $2 FROM unnest($3::int[]) AS p"
                   " ON CONFLICT (topic, partition) DO UPDATE SET epoch = o.epoch + 1, owner = excluded.owner, since = clock_timestamp()"
                   " RETURNING partition, epoch", 3},
    [ST_LEASE] = {"SELECT first_in_us, given, paused_us, coalesce(why, '') FROM quota_lease($1, $2, $3, $4)", 4},
    [ST_PULSE] = {"SELECT account, (extract(epoch FROM least(paused_until, clock_timestamp() + interval '1 day') - clock_timestamp()) * 1000000)::bigint,"
                  " coalesce(paused_why, '') FROM quotas WHERE vendor = $1 AND paused_until > clock_timestamp()", 1},
    [ST_LOOK] = {NULL, 0},
};

static struct db_statement record_statements[] = {
    [ST_ATTEMPTS] = {"INSERT INTO attempts (stage, subject, work_id, call, verdict, code, reason, http_status, duration_ms, trace_id)"
                     " SELECT $1, s, w, c, v, k, r, h, d, t FROM unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::text[],"
                     " $7::text[], $8::int[], $9::int[], $10::text[]) AS a(s, w, c, v, k, r, h, d, t)", 10},
    [ST_INTENTS] = {"UPDATE intents i SET state = r.state, changed_at = clock_timestamp()"
                    " FROM unnest($3::text[], $4::text[]) AS r(work_id, state)"
                    " WHERE i.stage = $1 AND i.work_id = r.work_id AND (i.owner = $2 OR r.state = 'finished')", 4},
    [ST_PAUSE] = {"SELECT quota_pause($1, $2, $3, $4)", 4},
    [ST_RECORD] = {NULL, 0},
};

static void name_owner(struct worker *w)
{
    const char *instance = kafka_instance();
    uint32_t random = (uint32_t)random_id();
    char host[80] = "?";

    gethostname(host, sizeof host - 1);
    if (instance) /* a name that only one living worker has: what its predecessor left may be asked about at once */
        snprintf(w->instance, sizeof w->instance, "%s@", instance);
    else
        snprintf(w->instance, sizeof w->instance, "%s-%d-%08x@", host, (int)getpid(), random);
    snprintf(w->owner, sizeof w->owner, "%s%s-%d-%08x", w->instance, host, (int)getpid(), random);
}

static const char *dead_topic(const char *topic)
{
    char *dead = NULL;

    if (asprintf(&dead, "%s.dlq", topic) < 0)
        abort();
    return dead;
}

static struct fault begin(struct worker *w, const struct stage *s, bool check)
{
    struct status_source source = {is_ready, refresh, w};

    w->stage = s;
    w->timeout_ms = (int)*s->timeout_ms;
    w->topic = kafka_topic(s->consumes);
    w->topic_dead = dead_topic(w->topic);
    w->topic_on = s->produces ? kafka_topic(s->produces) : NULL;
    w->group = kafka_topic(s->name);
    w->hand_max = concurrency * HAND_PER_SLOT > 300 ? (int)concurrency * HAND_PER_SLOT : 300;
    w->look_batch_max = w->record_batch_max = BATCH_MAX;
    w->session_us = (int64_t)kafka_session_ms() * 1000;
    w->lease_account = -1;
    w->linger = (struct loop_timer){.call = on_linger, .of = w};
    w->release = (struct loop_timer){.call = on_release, .of = w};
    w->pulse = (struct loop_timer){.call = on_pulse, .of = w};
    w->prove = (struct loop_timer){.call = on_prove, .of = w};
    TAILQ_INIT(&w->look);
    TAILQ_INIT(&w->looking);
    TAILQ_INIT(&w->ready);
    TAILQ_INIT(&w->calling);
    TAILQ_INIT(&w->record);
    TAILQ_INIT(&w->recording);
    TAILQ_INIT(&w->send);
    TAILQ_INIT(&w->sending);
    TAILQ_INIT(&w->parked);
    name_owner(w);
    TRY(loop_open(&w->loop));
    TRY(http_open(&w->http, w->loop, (int)concurrency, vendor_ca_file));
    TRY(access_open(&w->access, s->vendor, w->loop, w->http, (int)concurrency, s->call == CALL_BLIND, on_changed, w));
    if (check)
        return FAULT_OK;
    make_metrics(w);
    look_statements[ST_LOOK].sql = compose_look(s, &look_statements[ST_LOOK].params);
    record_statements[ST_RECORD] = (struct db_statement){s->record_sql, s->record_columns};
    return status_open(&w->status, w->loop, program_metrics_address, (int)program_metrics_port, &source);
}

/* Waits for PostgreSQL, saying so once; what waiting cannot mend is returned. */
static struct fault await_schema(struct worker *w)
{
    bool said = false;

    while (!loop_stopping(w->loop)) {
        PGconn *conn = NULL;
        struct fault f = pg_open(&conn, w->stage->name);
        if (!f.kind) {
            f = pg_check_schema(conn);
            PQfinish(conn);
            if (f.kind != FAULT_RETRY)
                return f;
        }
        if (f.kind != FAULT_RETRY)
            return f;
        if (!said)
            log_warn("%s; waiting for it", f.what);
        said = true;
        loop_turn(w->loop, 500);
    }
    return FAULT_OK;
}

static struct fault await_topics(struct worker *w)
{
    const struct kafka_topic_plan plans[] = {{w->topic, false}, {w->topic_dead, true}, {w->topic_on, false}};
    bool said = false;

    while (!loop_stopping(w->loop)) {
        struct fault f = kafka_ensure_topics(kafka_producer_handle(w->producer), plans, w->topic_on ? 3 : 2, 2000);
        if (f.kind != FAULT_RETRY)
            return f;
        if (!said)
            log_warn("%s; waiting for it", f.what);
        said = true;
        loop_turn(w->loop, 100);
    }
    return FAULT_OK;
}

static struct fault start(struct worker *w)
{
    static const struct kafka_consumer_calls calls = {on_assigned, on_revoked, on_ready, on_message, on_committed};

    TRY(kafka_producer_open(&w->producer, w->loop, w->stage->name, on_delivered));
    access_serve(&w->access); /* the log-in is under way while the rest comes up */
    TRY(await_schema(w));
    TRY(db_open(&w->look_db, w->loop, w->stage->name, look_statements, COUNT(look_statements), on_db_up, w));
    TRY(db_open(&w->record_db, w->loop, w->stage->name, record_statements, COUNT(record_statements), on_db_up, w));
    TRY(await_topics(w));
    if (loop_stopping(w->loop))
        return FAULT_OK;
    if (w->topic_on)
        kafka_prepare(w->producer, w->topic_on);
    loop_timer_set(w->loop, &w->pulse, loop_now(w->loop) + PULSE_US);
    return kafka_consumer_open(&w->consumer, w->loop, w->stage->name, w->group, w->topic, &calls, w);
}

/* What is in flight is finished, for as long as there is time; what has not begun is left to Kafka. */
static void drain(struct worker *w)
{
    int64_t until = loop_now(w->loop) + drain_seconds * 1000000;

    log_info("stopping: finishing %d call%s", w->calling_n, w->calling_n == 1 ? "" : "s");
    w->draining = true;
    for (struct part *p = w->parts; p; p = p->next_part)
        give_up_unsent(p);
    while (loop_now(w->loop) < until &&
           (w->looking_n || w->ready_n || w->calling_n || w->record_n || w->recording_n || w->send_n || w->sending_n || w->freed_n)) {
        /* what an answer or a look-up brings back is given up as well */
        for (struct part *p = w->parts; p; p = p->next_part)
            give_up_unsent(p);
        turn(w);
        if (!db_connected(w->record_db) && !w->calling_n)
            break; /* PostgreSQL is gone: what is not recorded is found as an unfinished intent */
    }
    store_offsets(w);
    if (w->calling_n)
        log_warn("%d call%s did not end in time: whoever comes next asks what became of them", w->calling_n,
                 w->calling_n == 1 ? "" : "s");
}

static void end(struct worker *w)
{
    if (w->consumer) {
        kafka_consumer_close(w->consumer);
        w->consumer = NULL;
    }
    while (w->parts)
        part_forget(w, w->parts);
    http_close(w->http);
    access_close(&w->access);
    kafka_producer_close(w->producer, 1000);
    db_close(w->look_db);
    db_close(w->record_db);
    status_close(w->status);
    struct job_list *lists[] = {&w->look, &w->looking, &w->ready, &w->calling, &w->record, &w->recording, &w->send, &w->sending, &w->parked};
    for (size_t i = 0; i < COUNT(lists); i++)
        for (struct job *job; (job = TAILQ_FIRST(lists[i]));) {
            TAILQ_REMOVE(lists[i], job, link);
            loop_timer_stop(w->loop, &job->timer);
            free(job);
        }
    http_request_free(&w->request);
    db_columns_free(&w->columns);
    db_columns_free(&w->call_columns);
    db_columns_free(&w->intent_columns);
    text_free(&w->key);
    text_free(&w->value);
    text_free(&w->text);
    free(w->freed);
    free((char *)(uintptr_t)look_statements[ST_LOOK].sql);
    loop_close(w->loop);
}

static struct fault check_all(struct worker *w)
{
    SCOPED(PQfinish) PGconn *conn = NULL;
    const struct kafka_topic_plan none[1];

    TRY(pg_open(&conn, w->stage->name));
    TRY(pg_check_schema(conn));
    printf("ok  PostgreSQL: database %s, schema %d\n", PQdb(conn), SCHEMA_VERSION);
    TRY(kafka_producer_open(&w->producer, w->loop, w->stage->name, on_delivered));
    TRY(kafka_ensure_topics(kafka_producer_handle(w->producer), none, 0, 5000));
    printf("ok  Kafka answers\n");
    if (w->stage->check)
        TRY(w->stage->check(w->http));
    printf("ok  %s is ready to run\n", w->stage->name);
    return FAULT_OK;
}

static struct fault run(const struct stage *s, const struct program *p, int argc, char **argv)
{
    static struct worker w;
    struct program_arguments arguments;

    mallopt(M_ARENA_MAX, 1); /* librdkafka's threads would each keep an arena of their own */
    worker_settings[0].fallback = s->concurrency;
    TRY(program_open(p, argc, argv, &arguments));
    if (arguments.ended)
        return FAULT_OK;
    TRY(kafka_check_settings());
    if (retry_ms_max < retry_ms_min)
        return FAULT(MISUSE, "RETRY_MS_MAX=%lld is less than RETRY_MS_MIN=%lld", (long long)retry_ms_max, (long long)retry_ms_min);
    if (s->settled)
        TRY(s->settled());
    struct fault f = begin(&w, s, arguments.check);
    if (!f.kind && arguments.check) {
        f = check_all(&w);
    } else if (!f.kind) {
        f = start(&w);
        if (!f.kind) {
            while (!loop_stopping(w.loop))
                turn(&w);
            if (w.consumer)
                drain(&w);
        }
    }
    if (w.loop)
        end(&w);
    if (!f.kind && !arguments.check)
        log_info("stopped");
    return f;
}

int stage_main(const struct stage *s, int argc, char **argv)
{
    const struct setting *tables[8] = {NULL};
    int n = 0;

    for (int i = 0; s->tables[i] && i < 5; i++)
        tables[n++] = s->tables[i];
    tables[n++] = worker_settings;
    tables[n++] = kafka_settings;
    const struct program p = {.name = s->name, .about = s->about, .arguments = "", .tables = tables};

    return program_exit(&p, run(s, &p, argc, argv));
}

/*
 * worker.h - the inside of the stage engine (stage.h is its outside): what a worker holds, and who does what with it.
 *
 *   job.c      a message in hand: the lists it moves through, its key's lane, its intent given back
 *   intake.c   from Kafka: messages taken in, partitions assigned and given back
 *   look.c     is it true already, and the intent: one transaction at a time
 *   call.c     the vendor's call and what its answer does to the job
 *   record.c   the outcome, the history, the intent: one transaction at a time
 *   send.c     the next topic's message, or the dead letter
 *   progress.c how far a partition's work is in PostgreSQL, and whether PostgreSQL has forgotten any of it
 *   pause.c    what a person has paused
 *   dry.c      a run that changes nothing at the vendor
 *   worker.c   the turn that drives them all, status, beginning and end
 *
 * A job is in one list at a time, by its state:
 *
 *   LANE ─▶ LOOK ─▶ LOOKING ─▶ READY ─▶ CALLING ─▶ RECORD ─▶ RECORDING ─▶ SEND ─▶ SENDING ─▶ finished
 *             ▲         │ already true: SEND                     │ not now: PARKED, then LOOK
 *             └─────────┴────────────────────────────────────────┘ not taken by PostgreSQL now: REFUSED, then RECORD
 *
 * Callbacks only move jobs; everything that follows is done once, at the end of the turn (worker.c).
 */
#ifndef SHELFWIRE_STAGE_WORKER_H
#define SHELFWIRE_STAGE_WORKER_H

#include "common/access.h"
#include "common/event.h"
#include "common/kafka.h"
#include "common/metrics.h"
#include "common/stage.h"
#include "common/status.h"

#include <stddef.h>
#include <sys/queue.h>
#include <uthash.h>

enum {
    HAND_PER_SLOT = 12,         /* messages in hand for each call in flight: different keys are what fills the slots */
    AHEAD = 50,                 /* jobs looked up ahead of a free slot, so that a slot never waits for a commit */
    MESSAGE_MAX = 512 * 1024,   /* a longer one is none of ours */
    HAND_BYTES_MAX = 8 << 20,
    PARKED_MAX = 10000,         /* messages waiting for their next try do not take the room of others */
    START_SLACK_US = 5000000,   /* an intent not called upon within this is taken anew */
    PACE_US = 1000,             /* see loop_pace */
    GATHER_US = 10000,          /* see worker_worth_it */
    GATHER_BLIND_US = 2000,
    SENDING_US = 1000000,       /* longer than a broker that is well takes to acknowledge */
    GATHER_ENOUGH = 32,         /* rows: more in one statement make each hardly cheaper */
    PULSE_US = 500000,
    REFUSED_US = 1000000, /* what PostgreSQL does not take now is sent again */
    CALLS_KEPT = 4,
};

struct stage_settings {
    int64_t concurrency, drain_seconds, retry_ms_min, retry_ms_max, tries_max, day_pause_seconds;
    const char *vendor_ca_file;
};
extern struct stage_settings stage_settings;

/* The statements of the two connections, by their place. */
enum { ST_EPOCHS, ST_PROGRESS, ST_NOTICE, ST_LEASE, ST_PULSE, ST_PAUSES, ST_LOOK };
enum { ST_ATTEMPTS, ST_INTENTS, ST_PAUSE, ST_RECORD, ST_NOTE };
extern const struct db_statement progress_statement, progress_notice_statement, progress_note_statement, pause_statement;

/* ---- a message in hand ---- */

enum job_state { J_LANE, J_LOOK, J_LOOKING, J_READY, J_CALLING, J_RECORD, J_RECORDING, J_SEND, J_SENDING, J_PARKED, J_REFUSED };

struct call_record {
    const char *call, *verdict, *code;
    int status, duration_ms;
};

struct job;
TAILQ_HEAD(job_list, job);

struct progress { /* of a partition; see progress.c */
    bool looked;      /* its row was read */
    bool known;       /* and it agrees with what Kafka remembers: work may go on */
    bool due;         /* to be noted, whether it has moved or not */
    int64_t next;     /* the offset in the row; 0 when there is none */
    int64_t notes;    /* the row's; 0: there is none */
    int64_t finished; /* everything below is finished */
    int64_t noted;    /* and PostgreSQL knows so: as far as Kafka may be told */
    int64_t noting;   /* as far as the transaction under way says; -1: it does not */
    int64_t ahead;    /* as far as Kafka was when it was ahead of the row; 0: it never was */
};

struct part {
    int32_t id;
    int64_t epoch;      /* 0: not taken yet */
    int64_t next;       /* offset after the last one fetched; -1: none fetched */
    int64_t dropped;    /* lowest offset given up unfinished; INT64_MAX: none */
    int64_t stored;
    bool dirty, drained, revoking, epoch_wanted, fenced;
    int in_hand, parked;
    struct progress progress;
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
    bool in_lane, has_intent, uncertain, forgotten, reopen, dead_letter, marked, drop_when_seen, record_refused, held,
        not_called, settled; /* by a dry run: the call it ends with; what became of an earlier one was found out */
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
    char trace_id[EVENT_TRACE_SIZE];
    size_t key_len, value_len, bytes;
    const char *key, *value;
    bool key_null, value_null; /* Kafka tells nothing from an empty one */
    max_align_t of[]; /* the stage's job, then key and value */
};

struct call_metric {
    const char *call, *code;
    struct metric *metric;
};

struct freed {
    char work[72];
    const char *state; /* what the intent is to become */
};

/* Whether PostgreSQL is older than Kafka. */
struct restore {
    bool wanted, sent;  /* what it says of restores, and of partitions that were not looked at, is asked for */
    bool older, held;   /* it is older: nothing is done until a person has said so */
    bool open, before;  /* the last answer: somebody is to say it; this stage worked before anything was noted */
    bool notice_due, notice_sent;
    int64_t said_ms;    /* when it was last said; what was sent before may have been done in a time that is forgotten */
    char said[48], held_said[48]; /* the same as PostgreSQL writes it, and as it was when the work was held; "" never */
    char why[160];
    int64_t look_us, ask_us, say_us, others_us; /* not before */
    int64_t noted_us, unnoted_us; /* the last note; since when there is something to note, 0: nothing */
    bool note_sent;
    struct db_columns columns;
    struct metric *m_held;
};

/* What a person has paused. */
struct pause {
    bool known;       /* since there is a connection */
    char since[24];   /* the stage; "" it is not */
    char version[48]; /* another one after each pause and each resumption */
    int held_n;       /* parked until it is another one */
    struct metric *m_paused, *m_held;
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
    struct job_list look, looking, ready, calling, record, recording, send, sending, parked, refused;
    int look_n, looking_n, ready_n, calling_n, record_n, recording_n, send_n, sending_n, parked_n, refused_n, hand_n;
    size_t hand_bytes;
    int hand_max, record_batch_max;
    int look_apart, record_apart; /* so many of the next go each in a part of its own, for PostgreSQL has refused one of them */

    struct loop_timer linger, drain, release, pulse, prove;
    bool draining, suspect;
    int64_t suspect_us, prove_us, unheard_us; /* since when; not asked again before; work waits for the group since (0: it does not) */
    char waits_for[240]; /* before it runs: what it cannot begin without */
    int64_t session_us;
    int64_t record_retry_us, look_retry_us;
    int64_t looked_us, recorded_us, sent_us; /* when the last batch went */

    struct freed *freed; /* intents that were taken and not used */
    int freed_n, freed_room, freed_sent;
    int pause_sent; /* the account whose pause is being written; -1: none */
    int lease_account;
    int64_t lease_sent_us;
    bool epochs_sent, pulse_due, pulse_sent;

    bool dry; /* see dry.c */
    struct restore restore;
    struct pause pause;
    struct db_columns columns, call_columns, intent_columns;
    struct http_request request;
    struct text key, value, text;

    struct metric *m_fetched, *m_done, *m_rejected, *m_unknown, *m_dropped, *m_on, *m_dead, *m_hand, *m_flight, *m_turns,
        *m_parked, *m_look_rows, *m_look_batches, *m_record_rows, *m_record_batches, *m_seconds, *m_oldest, *m_pause, *m_refused;
    struct call_metric call_metrics[16];
    int call_metric_count;
};

/* ---- job.c ---- */

void job_move(struct job *job, enum job_state to, bool first);
void job_begin(struct job *job); /* it is the first of its key now */
void job_free(struct job *job);
void job_subject(const struct job *job, char ret[120]);
const char *job_work_id(const struct job *job);
void job_free_intent(struct job *job);
void job_give_up(struct job *job);
bool job_abandoned(const struct job *job);
void job_finish(struct job *job);
void job_note_call(struct job *job, const struct call_record *call);
void job_set_aside(struct job *job, const char *code, const char *why);
void job_dead_letter(struct job *job); /* with its answer */
void job_park(struct job *job, int64_t us);
void job_unpark(void *of, uint32_t events);
struct part *worker_part(struct worker *w, int32_t id);
void worker_store_offsets(struct worker *w);

/* ---- intake.c ---- */

void worker_fetch(struct worker *w);
void worker_maybe_release(struct worker *w);
void worker_release(void *of, uint32_t events);
void part_forget(struct worker *w, struct part *gone);
void part_give_up_unsent(struct part *p);
void worker_trust(struct worker *w);

/* ---- look.c ---- */

void worker_look(struct worker *w);
void worker_doubt(struct worker *w, struct part *p);
void job_set_answer(struct job *job, const struct answer *a);
bool stage_has_intent(const struct stage *s);
bool worker_takes_intents(const struct worker *w); /* the same, but not in a dry run */

/* ---- call.c ---- */

void worker_call(struct worker *w);

/* ---- record.c ---- */

void worker_record(struct worker *w);

/* ---- send.c ---- */

void worker_send(struct worker *w);
void worker_delivered(void *of, const char *error);

/* ---- progress.c ---- */

void progress_begin(struct worker *w);
void progress_end(struct worker *w);
void progress_assigned(struct worker *w, struct part *p);
void progress_doubt(struct worker *w);
void progress_serve(struct worker *w);
bool progress_trouble(struct worker *w, struct text *why);

/* with the look-ups */
void progress_add_look(struct worker *w);
bool progress_look_sent(const struct worker *w);
int progress_looked(struct worker *w, const struct db_outcome *out, int at);

/* with the outcomes, before all else */
bool progress_must_note(struct worker *w);
bool progress_unnoted(const struct part *p);
void progress_add_note(struct worker *w);
void progress_noted(struct worker *w, const struct db_outcome *out); /* NULL: it was not committed */

/* ---- pause.c ---- */

void pause_begin(struct worker *w);
struct fault pause_read(struct worker *w, PGconn *conn); /* before there is a loop to wait on */
void pause_doubt(struct worker *w);
void pause_add_look(struct worker *w); /* with the pulse */
void pause_looked(struct worker *w, const PGresult *res);
bool pause_holds(const struct worker *w); /* nothing new is begun */
void pause_call(struct worker *w);
void pause_hold(struct job *job);
void pause_trouble(const struct worker *w, struct text *why);

/* ---- dry.c ---- */

void dry_begin(struct worker *w);
void dry_compose_look(const struct stage *s, const char *parameters, struct text *ret);
bool dry_ends(struct job *job, const char *call);
bool dry_records(const struct job *job);
void dry_mark(const struct worker *w, rd_kafka_headers_t *headers);
bool dry_leaves_out(const struct worker *w, const rd_kafka_message_t *m);
void dry_trouble(const struct worker *w, struct text *why);

/* ---- worker.c ---- */

extern const struct kafka_consumer_calls worker_kafka_calls;
struct fault worker_join(struct worker *w);
void worker_wait(struct worker *w, int64_t until_us);
bool worker_worth_it(struct worker *w, int n, int room, int64_t last_us);
void worker_push(struct worker *w);
void worker_suspect(struct worker *w);
bool worker_heard(struct worker *w);

#endif

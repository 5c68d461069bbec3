/*
 * stage.h - the stage engine: one topic in, one vendor call a message, one row out, the next topic.
 *
 * A worker is a declaration (struct stage) and `return stage_main(&it, argc, argv);`. The engine owns the loop,
 * Kafka, PostgreSQL, HTTP, retries, quotas, log-ins, logging, metrics and the drain; the worker is pure functions and SQL.
 *
 * The way of a message, in the order it happens:
 *   decode    bytes → the stage's job. A fault sets the message aside (`<topic>.dlq`).
 *   told      a message that brings the answer itself goes straight to `record`, also while the vendor is down.
 *   look      one SQL statement for a batch: is it true already? For a call that changes something the same statement
 *             takes the intent, and it is committed before the call.
 *   looked    what the row says: call, pass on, drop, or an answer without a call.
 *   request   the vendor's request for the job's step; answer: what came back means (answer.h).
 *   record    one SQL statement for a batch: the outcome. The history (`attempts`) and the intent go with it.
 *   onward    the next topic's message, acknowledged by every in-sync replica before the offset may be forgotten.
 * Messages with one key pass through this one after the other, in Kafka's order; different keys overtake freely.
 *
 * Callbacks run on the loop's thread and must not block. A job is a zeroed struct of job_size bytes, filled by decode; what it
 * holds besides is given back by `release`.
 */
#ifndef SHELFWIRE_STAGE_H
#define SHELFWIRE_STAGE_H

#include "common/answer.h"
#include "common/db.h"
#include "common/settings.h"

#include <stddef.h>

/* ---- the vendor ---- */

struct vendor {
    const char *name;        /* "alma": in quotas, metrics and logs */
    const char *(*root)(void); /* the URL setting */
    /* Log-in, where the vendor wants one: the token is kept in memory, one log-in is in flight at a time. AGAIN: another at once. */
    void (*login_request)(struct http_request *req);
    struct answer (*login_answer)(const struct http_response *res, char *ret_token, size_t size);
    int64_t (*token_lasts_s)(void); /* seconds the token in hand may be used; 0: nobody knows. NULL: never known */
    /* Quota, shared by all workers through PostgreSQL; *calls_per_second 0 or NULL: not paced. */
    const double *calls_per_second;
    const int64_t *calls_left_min;
    int64_t (*calls_left)(const struct http_response *res);
    /* Accounts with a quota of their own (API keys); NULL: one account. */
    int (*account_count)(void);
    const char *(*account_key)(int account);
};

/* ---- the stage ---- */

enum {
    STAGE_BATCH = 64, /* more adds latency, and saves little where each row follows a call */
    STAGE_LOOK_MAX = 64, /* rows a look-up */
};

enum stage_call {
    CALL_READS,   /* changes nothing: no intent, repeated at will */
    CALL_ASKABLE, /* changes something; after an unknown outcome the vendor can be asked, or refuses a second one */
    CALL_BLIND,   /* changes something, and cannot be asked about: no intent is written ahead of a free slot */
};

enum prior {
    PRIOR_NONE,       /* nobody has called for this work, or it is known not to have been done */
    PRIOR_UNFINISHED, /* a call was begun and nobody knows what came of it */
    /* The message is from a time that PostgreSQL may have forgotten (it was restored): so may be the call, what was learned before
     * it, and the row itself. Also where no intent is wanted. */
    PRIOR_FORGOTTEN,
};

enum look_end {
    LOOK_CALL,   /* make the call of the job's step */
    LOOK_ON,     /* it is true already: pass the work on */
    LOOK_DROP,   /* nothing to do, nothing to pass on: `ret` says why (code), for the metrics and the log */
    LOOK_ANSWER, /* `ret` is the answer, without a call: recorded, and passed on when it is DONE */
    LOOK_RECORD, /* the same, and no history of it: what is recorded says it all */
    LOOK_WAIT,   /* its location is paused: it waits, and nothing is recorded. With an intent `wants` must be false then */
};

/* A row of the look-up's result; columns are counted from 0 in the order of look_sql's SELECT. */
struct look_row {
    const PGresult *res;
    int row;
};
const char *look_text(const struct look_row *r, int column); /* "" for NULL */
bool look_null(const struct look_row *r, int column);
bool look_true(const struct look_row *r, int column);

struct stage {
    const char *name;     /* the program, the consumer group, the stage in `intents` and `attempts` */
    const char *consumes; /* topic, without prefix */
    const char *produces; /* topic, or NULL */
    const char *about;    /* one sentence, for --help */
    const struct vendor *vendor;
    const struct setting *const *tables; /* the settings: the stage's own and its vendor's; at most 5, NULL-terminated */
    enum stage_call call;
    unsigned changes;     /* the steps whose call changes something at the vendor, a bit each; none with CALL_READS */
    const char *const *call_names; /* by step: "createVisitor", …; as they stand in `attempts` and the metrics */
    size_t job_size;
    const char *concurrency; /* CONCURRENCY's default */
    const int64_t *timeout_ms;
    /*
     * CALL_ASKABLE: a vendor that does not show what was asked for may still be at it. So nobody asks what became of a call
     * before its deadline has passed by PostgreSQL's clock.
     */
    bool patient;
    int batch; /* rows a statement takes at most; 0: STAGE_BATCH. More: messages come by the thousand a second */

    struct fault (*settled)(void); /* after the settings are read: what they must agree on; may be NULL */
    /* --check: asks the vendor (http_wait) whether the settings are right, prints a line for each thing. */
    struct fault (*check)(struct http *http);

    struct fault (*decode)(const char *value, size_t len, void *job);
    void (*release)(void *job); /* also after a fault of decode; NULL: there is nothing to give back */
    bool (*told)(const void *job, struct answer *ret); /* true: `ret` is the answer, as with LOOK_RECORD; NULL: never */
    const char *(*key)(const void *job);     /* what Kafka's key must be */
    const char *(*subject)(const void *job); /* what a person looks for: in `attempts` */

    /*
     * look_sql: a SELECT over `asked (ord, <look_names>)`, all text, which yields ord first. With an intent it yields
     * ord, work_id, wants (boolean): the intent of work_id (at most 71 bytes) is taken where `wants` holds; then the
     * stage's own columns. Any that are called taken, prior_state, prior_owner or fenced would be the engine's.
     */
    const char *look_names;
    int look_columns;
    const char *look_sql;
    void (*look_put)(const void *job, struct db_columns *c);
    enum look_end (*looked)(void *job, const struct look_row *row, enum prior prior, struct answer *ret);

    int (*account)(const void *job); /* NULL: 0 */
    int (*step)(const void *job);    /* NULL: 0 */
    void (*request)(const void *job, struct http_request *req, const char *token);
    struct answer (*answer)(void *job, const struct http_response *res);

    /*
     * record_sql: a statement over record_columns parameters, each text[]; every answer of the batch is a row. It is planned
     * once, perhaps while the tables are empty, and joins by hashing: where it joins a table, it also names the keys
     * (`AND p.appt_id = ANY ($1…)`), so that no plan can read the whole table.
     */
    int record_columns;
    const char *record_sql;
    void (*record_put)(const void *job, const struct answer *a, struct db_columns *c);

    void (*onward)(const void *job, struct text *ret_key, struct text *ret_value);
};

int stage_main(const struct stage *stage, int argc, char **argv);

extern int64_t stage_dry_run; /* DRY_RUN: no call of `changes` is made, so what it would have brought is not there */

#endif

/*
 * producer.h - the engine of a producer: it looks at a vendor every so often, writes what it wants done into rows, and
 * sends those rows to a topic.
 *
 * A producer is a declaration (struct producer_plan) and `return producer_main(&it, argc, argv);`. The engine owns the
 * loop, --once, --check, the lock, PostgreSQL, Kafka, the sending, the purge, /metrics and /readyz; the program owns its
 * vendor and its rows.
 *
 *   lock    One producer a source: an advisory lock of the one connection every statement goes over. A lost connection
 *           is a lost lock: nothing is written until both are back. Such a lock needs a session of its own: no pooler
 *           that hands out transactions may stand between.
 *   poll    The program reads its vendor and commits what it found. Its waits (producer_ask, producer_pause) serve
 *           everything else meanwhile, so it must not wait inside a transaction.
 *   send    Rows (below), or messages as the poll finds them (producer_send): a feed that says everything again when asked
 *           again needs no rows. Its poll waits for the acknowledgements (producer_settle) before it marks how far it came.
 *   rows    The rows that are due, a round at a time: read, produced, acknowledged by every in-sync replica, and only then
 *           marked. A crash in between sends a row again, which every stage bears. Rows that Kafka has not acknowledged
 *           are never queued a second time, however long an outage lasts.
 *   serving A producer that is asked by others (`serves`) writes and sends its rows by itself, as they come (producer_post),
 *           and the rounds are for what that left undone: first, each time the lock is gained, what a predecessor left
 *           (left_sql), then what is due. The engine's statements are awaited on the loop, so that everybody is served
 *           meanwhile; nothing that the loop calls may run a statement of the engine's (producer_run).
 *   guard   Each time the lock is gained, before anything else: have the workers' groups read further than `progress` says? Then
 *           PostgreSQL was restored from a backup and has forgotten the rest (schemas/sql, 006): nothing is written or sent until
 *           a person has said so (database_restored), and by a plan that is `renewing`, until the workers have read again what
 *           is older than that: only then do the tables know what may exist already.
 *   log     At start and hourly: was a topic cut short (retention) before its group had read it, or made anew? Then what
 *           was sent and never answered is due again, once. A topic is decided when all its partitions have answered; if
 *           not, it is looked at again after a second, then less and less often, once a minute at least.
 *   purge   At start and daily.
 *
 * A plan with `once` runs as with --once, whatever is asked.
 * --once looks at the log (10 s for a broker that cannot say yet), polls once, sends what is due, waits for the
 * acknowledgements, and exits 0; 111 when anything failed.
 * Threads   everything runs on one thread; callbacks may block for a statement, not for a vendor. A look at the log blocks: a
 *           few milliseconds a partition, and where no broker answers a second a topic, or one in all of a serving producer.
 */
#ifndef SHELFWIRE_PRODUCER_H
#define SHELFWIRE_PRODUCER_H

#include "common/answer.h"
#include "common/http.h"
#include "common/kafka.h"
#include "common/pg.h"
#include "common/settings.h"

struct producer; /* opaque */

struct producer_reader {
    const char *group, *topic; /* without prefix */
};

struct producer_plan {
    const char *name;   /* the program */
    const char *about;  /* one sentence, for --help */
    const char *source; /* what it polls: one producer of it at a time */
    const char *topic;  /* without prefix */
    const char *const *topics; /* instead, where there are several; NULL-terminated, at most 8 */
    bool once;
    bool serves;
    bool renewing; /* its poll makes rows anew of what it sees, so it must not see what is only forgotten */
    const char *arguments, *options; /* as --help shows them, where there are more than --once; see program.h */
    const struct setting *const *tables; /* its own and its vendor's; at most 4, NULL-terminated */
    const int64_t *poll_seconds;
    const struct producer_reader *readers; /* whose reading its work depends on; ends with a NULL group */
    const struct producer_reader *watched; /* whose reading shows that PostgreSQL was restored; NULL: the same */

    struct fault (*argued)(const char *const *rest, int count); /* the arguments that are not the engine's; NULL: there are none */
    struct fault (*settled)(void); /* after the settings are read: what they must agree on; may be NULL */
    struct fault (*check)(struct producer *p); /* --check: asks the vendor, prints a line for each thing */
    void (*begin)(struct producer *p); /* its metrics; nothing is connected yet */
    struct fault (*open)(struct producer *p); /* what it serves, whatever is connected; a fault ends the program. May be NULL */
    /* At the end, also after a fault of open, all still there; it may turn the loop. Fates may follow. May be NULL. */
    void (*close)(struct producer *p);

    /* Looks once. It logs what fails; the fault it returns is only for --once. */
    struct fault (*poll)(struct producer *p);
    /* For /readyz: what its vendor makes it wait for. */
    void (*trouble)(struct text *why);
    /* Told before each round which locations are paused (name, since when), which its due_sql leaves out. NULL: it has none. */
    void (*paused)(const PGresult *locations);

    /*
     * due_sql: the rows to send, in order, at most $1; NULL: there are none: work id, retry_at (text), trace id, then what `message` wants.
     * sent_sql: marks those acknowledged: $1 text[] work ids, $2 text[] retry_at as it was read, so that a word said
     * meanwhile is not lost.
     * resend_sql: makes due what was sent and never answered; its rows are counted for the log. NULL: there is no such thing.
     */
    const char *due_sql, *sent_sql, *resend_sql;
    const char *left_sql; /* as due_sql: what a predecessor left unsent; NULL: due_sql does not tell it apart */
    struct fault (*message)(const PGresult *due, int row, struct text *ret_key, struct text *ret_value);
    int (*topic_of)(const PGresult *due, int row); /* a place in `topics`; NULL: the first */
    bool (*busy)(bool caught_up); /* a round waits: rows that are due by now may be on their way (producer_post). May be NULL */
};

int producer_main(const struct producer_plan *plan, int argc, char **argv);

/* ---- for the program's own steps ---- */

struct loop *producer_loop(const struct producer *p);

/* Sends a request and waits for its end, which `use` is told. RETRY when the program is to stop: `use` was not called. */
struct fault producer_ask(struct producer *p, const char *root, const struct http_request *req, int timeout_ms,
                          http_done *use, void *of);

/*
 * Sends a message that stands for no row. It counts as sent when Kafka has acknowledged it, which producer_settle waits for;
 * RETRY then when Kafka did not take one, or the program is to stop. So much may wait for Kafka at a time: a body that is
 * taken as it arrives (http.h) stops coming when producer_full, and goes on by itself.
 */
struct fault producer_send(struct producer *p, const char *key, const char *value, size_t len);
bool producer_full(const struct producer *p);
struct fault producer_settle(struct producer *p);

/*
 * A message of a row that the program marks itself. Embedded in whatever waits for it, and to outlive its fate, which is told
 * once: NULL when every in-sync replica has it. The texts are lent until producer_post returns; false: it was not taken, try
 * later, and no fate is told.
 */
struct producer_message {
    int topic; /* a place in the plan's topics */
    const char *subject, *trace_id, *key, *value;
    size_t len;
    void (*fate)(struct producer_message *m, const char *error);
};
bool producer_post(struct producer *p, struct producer_message *m);

/* The lock is ours; and what a predecessor left is sent. */
bool producer_locked(const struct producer *p);
bool producer_caught_up(const struct producer *p);
/* PostgreSQL is older than Kafka: what its rows say is not what was said to others. */
bool producer_held(const struct producer *p);
/* Another connection to PostgreSQL was made again: it may be another database. */
void producer_doubt(struct producer *p);
/* What keeps it from that, appended; nothing when nothing does. */
void producer_trouble(const struct producer *p, struct text *why);

/* The next poll comes then, not after poll_seconds. */
void producer_poll_in(struct producer *p, int64_t seconds);

/* What it remembers between runs; "" when nothing. value NULL forgets it. */
struct fault producer_recall(struct producer *p, const char *mark, char *ret, size_t size);
struct fault producer_remember(struct producer *p, const char *mark, const char *value);

/* Counts a call by what came of it, and remembers whether the vendor refuses our credentials: a call that it lets in ends that. */
void producer_called(const char *vendor, const char *call, const struct answer *a);

/* Waits. RETRY when the program is to stop. */
struct fault producer_pause(struct producer *p, int ms);

/* A statement on the connection that holds the lock; RETRY when that is gone. The result is the caller's. */
struct fault producer_run(struct producer *p, PGresult **ret, const char *sql, int params, const char *const *values);

#define producer_do(p, sql, ...) \
    producer_do_(p, sql, (const char *const[]){__VA_ARGS__}, COUNT(((const char *const[]){__VA_ARGS__})))
struct fault producer_do_(struct producer *p, const char *sql, const char *const *values, size_t count);

#endif

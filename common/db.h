/*
 * db.h - PostgreSQL on the loop: prepared statements in libpq's pipeline mode, one transaction at a time.
 *
 * A transaction is db_add (any number) and db_send; it is one round trip. Its outcome is known only when the server
 * has committed: `done` is then called with every result, or with none. There is one transaction under way per struct
 * db; ask db_free first.
 * It may be in parts (db_part), each of which is kept or refused by itself: still one round trip, and one commit for all. Row by row
 * costs the server several times what it does in one statement, so parts are for finding out which row is refused.
 * A lost connection is made again, for ever, with a growing pause; the transaction under way ends as DB_LOST: whether
 * it was committed is not known.
 * A connection may also listen to a channel (NOTIFY). What was said while there was none is not heard: ask when `up` is called.
 * Ownership: parameters are copied when added; results are lent to `done`.
 */
#ifndef SHELFWIRE_DB_H
#define SHELFWIRE_DB_H

#include "common/loop.h"
#include "common/text.h"

#include <libpq-fe.h>

enum { DB_PARTS_MAX = 64, DB_STATEMENTS_MAX = 16 + 3 * DB_PARTS_MAX };

struct db;

enum db_end {
    DB_DONE,    /* committed, but for parts that were refused */
    DB_REFUSED, /* rolled back: sqlstate and error say why */
    DB_LOST,    /* the connection broke: committed or not */
};

struct db_refusal {
    char sqlstate[6]; /* "": it was not */
    char error[160];
};

struct db_outcome {
    enum db_end end;
    PGresult *const *results; /* in the order added, when DB_DONE */
    int count;
    const struct db_refusal *parts; /* of each part, when DB_DONE */
    char sqlstate[6];
    const char *error; /* one line, without the row's contents */
};

typedef void db_done(void *of, const struct db_outcome *out);

struct db_statement {
    const char *sql;
    int params;
};

/* statements: prepared on every connection, known by their place. up: called each time a connection is ready. */
struct fault db_open(struct db **ret, struct loop *loop, const char *application_name,
                     const struct db_statement *statements, int count, void (*up)(void *of), void *of);
void db_close(struct db *d);

/* Listens to a channel from now on, to be called right after db_open. heard: what was said, lent; also within a transaction. */
typedef void db_heard(void *of, const char *said);
void db_listen(struct db *d, const char *channel, db_heard *heard, void *of);

/*
 * For statements that join the rows they bring to tables, each table bounded by those rows' keys (`p.appt_id = ANY ($1)`); to be
 * called right after db_open. They join as sets, by hashing: otherwise row by row, which where a table is bounded costs rows
 * times rows.
 */
void db_join_sets(struct db *d);

bool db_free(const struct db *d);      /* connected, and no transaction under way */
bool db_connected(const struct db *d);
const char *db_trouble(const struct db *d); /* why it is not connected; "" when it is */

void db_add(struct db *d, int statement, const char *const *values);
void db_part(struct db *d); /* what is added from here on is another part; without what was added before the first, none is kept */
void db_send(struct db *d, db_done *done, void *of);

/* Is it for what the rows say that they were refused? Then they will be again, and others need not be. */
bool db_refused_data(const char *sqlstate);

/*
 * ---- array parameters: the columns of a batch, as text[] literals ----
 *
 * A column that outgrew its text (text.h) has no closing brace: PostgreSQL refuses the statement, and no cut value is written.
 */

struct db_columns {
    struct text at[32];
    int count;
    int next; /* the column the next value goes to */
    int rows;
};

void db_columns_begin(struct db_columns *c, int count);
void db_columns_free(struct db_columns *c);
void db_put(struct db_columns *c, const char *value); /* NULL is NULL; the bytes must be UTF-8 */
void db_put_int(struct db_columns *c, int64_t value);
void db_put_bool(struct db_columns *c, bool value);
void db_put_opt(struct db_columns *c, const char *value); /* "" is NULL */
void db_row_end(struct db_columns *c);                    /* every column of the row must have been put */
void db_columns_end(struct db_columns *c, const char **ret_values); /* closes the literals; values are lent */

#endif

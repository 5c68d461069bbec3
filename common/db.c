#include "common/db.h"

#include "common/answer.h"
#include "common/log.h"
#include "common/pg.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum db_state { DB_DOWN, DB_CONNECTING, DB_PREPARING, DB_IDLE, DB_BUSY };

struct db {
    struct loop *loop;
    const char *application_name;
    const struct db_statement *statements;
    int statement_count;
    void (*up)(void *of);
    void *up_of;
    char listen_sql[80]; /* "" when it listens to nothing */
    bool joins_sets;
    db_heard *heard;
    void *heard_of;

    PGconn *conn;
    enum db_state state;
    struct loop_fd watch;
    struct loop_timer timer; /* the next try to connect, or the end of this one */
    int64_t pause_us;
    char trouble[240];

    db_done *done;
    void *done_of;
    PGresult *results[DB_STATEMENTS_MAX];
    int added;
    int parts;
    int begins[DB_PARTS_MAX + 3]; /* where the statements begin of what comes before the parts, of each of them, of the end */
    int at, seen;                 /* PostgreSQL has come to this of them, and to this result of its */
    bool refused, committed;
    struct db_refusal refusal, refusals[DB_PARTS_MAX];
};

static void connect_now(void *of, uint32_t events);
static void on_io(void *of, uint32_t events);

/* What a worker's session wants: short look-ups by key whose plan never changes, and commits that mean something. */
static const char session_sql[] =
    "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'";
static const char session_plan_sql[] =
    "SELECT set_config(name, value, false) FROM (VALUES ('plan_cache_mode', 'force_generic_plan'), "
    "('enable_seqscan', 'off'), ('enable_hashjoin', 'off'), ('enable_mergejoin', 'off'), ('jit', 'off'), "
    "('timezone', 'UTC'), ('client_min_messages', 'warning'), ('statement_timeout', '60s')) AS s(name, value)";
static const char session_sets_sql[] =
    "SELECT set_config(name, value, false) FROM (VALUES ('enable_hashjoin', 'on'), ('enable_nestloop', 'off')) AS s(name, value)";
enum { SESSION_STATEMENTS = 2 };

static void forget_results(struct db *d)
{
    for (int i = 0; i < d->added && i < DB_STATEMENTS_MAX; i++)
        PQclear(d->results[i]);
    memset(d->results, 0, sizeof d->results);
    d->added = d->parts = 0;
}

static void lost(struct db *d, struct fault why)
{
    enum db_state was = d->state;
    db_done *done = d->done;

    if (strcmp(d->trouble, why.what) != 0)
        log_warn("%s; trying again until it is", why.what);
    snprintf(d->trouble, sizeof d->trouble, "%s", why.what);
    loop_watch(d->loop, &d->watch, -1, 0, NULL, NULL);
    PQfinish(d->conn);
    d->conn = NULL;
    d->state = DB_DOWN;
    forget_results(d);
    d->pause_us = d->pause_us ? (d->pause_us < 1000000 ? d->pause_us * 2 : 1000000) : 50000;
    d->timer.call = connect_now;
    loop_timer_set(d->loop, &d->timer, loop_now(d->loop) + d->pause_us);
    if (was == DB_BUSY) {
        d->done = NULL;
        done(d->done_of, &(struct db_outcome){.end = DB_LOST, .error = d->trouble});
    }
}

static struct fault lost_words(struct db *d)
{
    char why[160];

    answer_quote(why, sizeof why, PQerrorMessage(d->conn), strlen(PQerrorMessage(d->conn)));
    return FAULT(RETRY, "lost PostgreSQL: %s", why);
}

/* Whether nobody is there or the door is shut: to ask that too would hold the loop up. */
static struct fault unconnected_words(struct db *d)
{
    char why[100];

    answer_quote(why, sizeof why, PQerrorMessage(d->conn), strlen(PQerrorMessage(d->conn)));
    const char *advice = pg_advice(why);
    return FAULT(RETRY, "no connection to PostgreSQL: %s; %s", why,
                 advice ? advice : "see PGHOST, PGPORT, PGUSER, PGPASSWORD(_FILE), PGDATABASE");
}

static void watch(struct db *d)
{
    int unsent = PQflush(d->conn);

    if (unsent < 0)
        return; /* shows itself when reading */
    loop_watch(d->loop, &d->watch, PQsocket(d->conn), unsent ? EPOLLIN | EPOLLOUT : EPOLLIN, on_io, d);
}

static void on_late(void *of, uint32_t events)
{
    (void)events;
    lost(of, FAULT(RETRY, "PostgreSQL does not answer; see PGHOST, PGPORT"));
}

static void connect_now(void *of, uint32_t events)
{
    struct db *d = of;
    const char *keywords[8], *values[8];

    (void)events;
    pg_parameters(d->application_name, keywords, values);
    d->conn = PQconnectStartParams(keywords, values, 0);
    if (!d->conn || PQstatus(d->conn) == CONNECTION_BAD) {
        lost(d, d->conn ? unconnected_words(d) : FAULT(FATAL, "out of memory"));
        return;
    }
    d->state = DB_CONNECTING;
    d->timer.call = on_late;
    loop_timer_set(d->loop, &d->timer, loop_now(d->loop) + 10000000);
    loop_watch(d->loop, &d->watch, PQsocket(d->conn), EPOLLOUT, on_io, d);
}

static void prepare(struct db *d)
{
    char name[16];

    PQsetnonblocking(d->conn, 1);
    PQenterPipelineMode(d->conn);
    PQsendQueryParams(d->conn, session_sql, 0, NULL, NULL, NULL, NULL, 0);
    PQsendQueryParams(d->conn, session_plan_sql, 0, NULL, NULL, NULL, NULL, 0);
    if (d->joins_sets)
        PQsendQueryParams(d->conn, session_sets_sql, 0, NULL, NULL, NULL, NULL, 0);
    for (int i = 0; i < d->statement_count; i++) {
        snprintf(name, sizeof name, "s%d", i);
        PQsendPrepare(d->conn, name, d->statements[i].sql, 0, NULL);
    }
    if (*d->listen_sql)
        PQsendQueryParams(d->conn, d->listen_sql, 0, NULL, NULL, NULL, NULL, 0);
    PQpipelineSync(d->conn);
    d->state = DB_PREPARING;
    d->at = 0;
    d->refused = false;
    watch(d);
}

static void refuse(struct db *d, const PGresult *res)
{
    const char *state = PQresultErrorField(res, PG_DIAG_SQLSTATE);
    const char *message = PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY);
    bool part = d->at && d->at <= d->parts;
    struct db_refusal *r = part ? &d->refusals[d->at - 1] : &d->refusal;

    if (part ? *r->sqlstate != '\0' : d->refused)
        return;
    d->refused |= !part;
    snprintf(r->sqlstate, sizeof r->sqlstate, "%s", state ? state : "XX000");
    answer_quote(r->error, sizeof r->error, message ? message : "?", message ? strlen(message) : 1);
}

/* A part begins with going back to where one had ended well and ends with marking that for the next (end_part): results, too. */
static void take(struct db *d, PGresult *res)
{
    int i = d->begins[d->at] + d->seen++ - (d->at > 0);

    d->committed = !strcmp(PQcmdStatus(res), "COMMIT");
    if (i >= d->begins[d->at] && i < d->begins[d->at + 1])
        d->results[i] = res;
    else
        PQclear(res);
}

static void finished(struct db *d)
{
    enum db_state was = d->state;

    loop_timer_stop(d->loop, &d->timer);
    d->state = DB_IDLE;
    if (was == DB_PREPARING) {
        if (d->refused) {
            lost(d, FAULT(FATAL, "PostgreSQL does not know our statements (%s): run `migrate`", d->refusal.error));
            return;
        }
        if (*d->trouble)
            log_info("PostgreSQL is there again");
        d->trouble[0] = '\0';
        d->pause_us = 0;
        forget_results(d);
        d->up(d->up_of);
        return;
    }
    PGresult *results[DB_STATEMENTS_MAX];
    int count = d->added;
    db_done *done = d->done;
    bool kept = !d->refused && (!d->parts || d->committed);
    struct db_outcome out = {.end = kept ? DB_DONE : DB_REFUSED, .results = results, .count = count, .parts = d->refusals,
                             .error = d->refusal.error};

    memcpy(results, d->results, (size_t)count * sizeof *results);
    memcpy(out.sqlstate, d->refusal.sqlstate, sizeof out.sqlstate);
    memset(d->results, 0, (size_t)count * sizeof *results);
    d->added = d->parts = 0;
    d->done = NULL;
    done(d->done_of, &out);
    for (int i = 0; i < count; i++)
        PQclear(results[i]);
}

static void hear(struct db *d)
{
    PGnotify *said;

    while (d->heard && d->state >= DB_PREPARING && (said = PQnotifies(d->conn))) {
        d->heard(d->heard_of, said->extra);
        PQfreemem(said);
    }
}

static void on_io(void *of, uint32_t events)
{
    struct db *d = of;

    if (d->state == DB_CONNECTING) {
        /* libpq goes on to the next address with a new socket, which often has the number of the one it closed */
        loop_forget(d->loop, &d->watch);
        switch (PQconnectPoll(d->conn)) {
        case PGRES_POLLING_READING: loop_watch(d->loop, &d->watch, PQsocket(d->conn), EPOLLIN, on_io, d); return;
        case PGRES_POLLING_WRITING: loop_watch(d->loop, &d->watch, PQsocket(d->conn), EPOLLOUT, on_io, d); return;
        case PGRES_POLLING_OK: prepare(d); return;
        default: lost(d, unconnected_words(d)); return;
        }
    }
    if (events & EPOLLOUT)
        watch(d);
    if (!PQconsumeInput(d->conn)) {
        lost(d, lost_words(d));
        return;
    }
    while (d->state >= DB_PREPARING && d->state != DB_IDLE && !PQisBusy(d->conn)) {
        PGresult *res = PQgetResult(d->conn);
        ExecStatusType status = res ? PQresultStatus(res) : PGRES_TUPLES_OK;
        if (!res)
            continue; /* the end of one statement's results */
        if (status == PGRES_PIPELINE_SYNC) {
            PQclear(res);
            d->seen = 0;
            if (d->parts && d->at++ <= d->parts)
                continue;
            finished(d);
            hear(d);
            return;
        }
        if (status == PGRES_FATAL_ERROR)
            refuse(d, res);
        if (d->state == DB_BUSY)
            take(d, res);
        else
            PQclear(res);
        if (PQstatus(d->conn) == CONNECTION_BAD) {
            lost(d, lost_words(d));
            return;
        }
    }
    if (d->state == DB_IDLE && PQstatus(d->conn) == CONNECTION_BAD)
        lost(d, lost_words(d));
    hear(d);
}

struct fault db_open(struct db **ret, struct loop *loop, const char *application_name,
                     const struct db_statement *statements, int count, void (*up)(void *of), void *of)
{
    struct db *d = calloc(1, sizeof *d);

    *ret = d;
    d->loop = loop;
    d->application_name = application_name;
    d->statements = statements;
    d->statement_count = count;
    d->up = up;
    d->up_of = of;
    d->timer = (struct loop_timer){.call = connect_now, .of = d};
    connect_now(d, 0);
    return FAULT_OK;
}

void db_listen(struct db *d, const char *channel, db_heard *heard, void *of)
{
    snprintf(d->listen_sql, sizeof d->listen_sql, "LISTEN %s", channel);
    d->heard = heard;
    d->heard_of = of;
}

void db_join_sets(struct db *d)
{
    d->joins_sets = true;
}

void db_close(struct db *d)
{
    if (!d)
        return;
    loop_timer_stop(d->loop, &d->timer);
    loop_watch(d->loop, &d->watch, -1, 0, NULL, NULL);
    forget_results(d);
    PQfinish(d->conn);
    free(d);
}

bool db_free(const struct db *d)
{
    return d->state == DB_IDLE && !d->added;
}

bool db_connected(const struct db *d)
{
    return d->state >= DB_IDLE;
}

const char *db_trouble(const struct db *d)
{
    return d->trouble;
}

void db_add(struct db *d, int statement, const char *const *values)
{
    char name[16];

    if (d->added == DB_STATEMENTS_MAX)
        abort(); /* a stage has a handful; more is a mistake in the code */
    snprintf(name, sizeof name, "s%d", statement);
    PQsendQueryPrepared(d->conn, name, d->statements[statement].params, values, NULL, NULL, 0);
    d->added++;
}

static void say(struct db *d, const char *sql)
{
    PQsendQueryParams(d->conn, sql, 0, NULL, NULL, NULL, NULL, 0);
}

/* A part that is refused does not come to its savepoint: what follows goes back to the last that was not. */
static void end_part(struct db *d)
{
    say(d, "SAVEPOINT part");
    PQpipelineSync(d->conn);
    say(d, "ROLLBACK TO SAVEPOINT part");
}

void db_part(struct db *d)
{
    if (d->parts == DB_PARTS_MAX)
        abort(); /* a mistake in the code */
    if (!d->parts) {
        say(d, "BEGIN"); /* what was added before is in it, too */
        say(d, "SAVEPOINT part");
        say(d, "SET CONSTRAINTS ALL IMMEDIATE"); /* the part that is to blame must be refused, and not the commit */
    }
    end_part(d);
    *d->refusals[d->parts].sqlstate = '\0';
    d->begins[++d->parts] = d->added;
}

void db_send(struct db *d, db_done *done, void *of)
{
    d->done = done;
    d->done_of = of;
    d->refused = d->committed = false;
    d->at = d->seen = 0;
    d->begins[d->parts + 1] = d->begins[d->parts + 2] = d->added;
    if (d->parts) {
        end_part(d);
        say(d, "COMMIT");
    }
    d->state = DB_BUSY;
    PQpipelineSync(d->conn);
    watch(d);
}

bool db_refused_data(const char *sqlstate)
{
    /* no such value, a constraint, the check of a view, too large for an index, a trigger's word */
    static const char *const states[] = {"22", "23", "44", "54", "P0001"};

    for (size_t i = 0; i < COUNT(states); i++)
        if (!strncmp(sqlstate, states[i], strlen(states[i])))
            return true;
    return false;
}

/* ---- array parameters ---- */

void db_columns_begin(struct db_columns *c, int count)
{
    c->count = count;
    c->next = c->rows = 0;
    for (int i = 0; i < count; i++) {
        text_clear(&c->at[i]);
        text_putc(&c->at[i], '{');
    }
}

void db_columns_free(struct db_columns *c)
{
    for (size_t i = 0; i < COUNT(c->at); i++)
        text_free(&c->at[i]);
}

static struct text *next_column(struct db_columns *c)
{
    struct text *t = &c->at[c->next++];

    if (c->rows)
        text_putc(t, ',');
    return t;
}

void db_put(struct db_columns *c, const char *value)
{
    struct text *t = next_column(c);

    if (!value) {
        text_add(t, "NULL", 4);
        return;
    }
    text_putc(t, '"');
    for (;;) {
        size_t plain = strcspn(value, "\"\\");
        text_add(t, value, plain);
        value += plain;
        if (!*value)
            break;
        text_add(t, (char[]){'\\', *value++}, 2);
    }
    text_putc(t, '"');
}

void db_put_opt(struct db_columns *c, const char *value)
{
    db_put(c, value && *value ? value : NULL);
}

void db_put_int(struct db_columns *c, int64_t value)
{
    text_int(next_column(c), value);
}

void db_put_bool(struct db_columns *c, bool value)
{
    text_putc(next_column(c), value ? 't' : 'f');
}

void db_row_end(struct db_columns *c)
{
    if (c->next != c->count)
        abort(); /* the row does not fit the statement: a mistake in the code */
    c->next = 0;
    c->rows++;
}

void db_columns_end(struct db_columns *c, const char **ret_values)
{
    for (int i = 0; i < c->count; i++) {
        text_putc(&c->at[i], '}');
        ret_values[i] = text_str(&c->at[i]);
    }
}

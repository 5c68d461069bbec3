/* database.c - PostgreSQL and the lock: one connection that every statement goes over; what the producer remembers between runs. */
#include "common/producer/engine.h"

#include "common/injection.h"
#include "common/log.h"
#include "common/scoped.h"

#include <stdio.h>
#include <string.h>

enum { PG_SILENT_S = 10 }; /* a serving producer: PostgreSQL says nothing for so long, it counts as lost */

void engine_disconnect(struct producer *p, const char *why)
{
    if (p->conn)
        PQfinish(p->conn);
    p->conn = NULL;
    p->locked = p->caught_up = false;
    producer_doubt(p);
    p->connect_at_us = loop_now(p->loop) + SECOND_US;
    if (!p->once && (!p->said_pg || strcmp(p->pg_trouble, why) != 0))
        log_warn("%s; waiting for it", why);
    snprintf(p->pg_trouble, sizeof p->pg_trouble, "%s", why);
    p->said_pg = true;
}

static void on_pg(void *of, uint32_t events)
{
    struct producer *p = of;

    (void)events;
    p->pg_spoke = true;
}

/* Turns the loop until the connection's socket is ready; RETRY: it was not for too long. */
static struct fault await_pg(struct producer *p, PGconn *conn, uint32_t events)
{
    int64_t until = loop_now(p->loop) + (int64_t)PG_SILENT_S * SECOND_US;

    p->pg_spoke = false;
    loop_watch(p->loop, &p->pg_watch, PQsocket(conn), events, on_pg, p);
    while (!p->pg_spoke && loop_now(p->loop) < until)
        loop_turn(p->loop, 1000);
    loop_watch(p->loop, &p->pg_watch, -1, 0, NULL, NULL);
    return p->pg_spoke ? FAULT_OK : FAULT(RETRY, "PostgreSQL has not answered for %d s", PG_SILENT_S);
}

/* A statement's results are awaited on the loop: others are served meanwhile. */
static struct fault run_on_loop(struct producer *p, PGresult **ret, const char *sql, int params, const char *const *values)
{
    PGresult *last = NULL, *res;

    if (!PQsendQueryParams(p->conn, sql, params, NULL, values, NULL, NULL, 0))
        return pg_result(p->conn, NULL, ret);
    do {
        while (PQisBusy(p->conn)) {
            struct fault f = await_pg(p, p->conn, EPOLLIN);
            if (f.kind) {
                PQclear(last);
                engine_disconnect(p, f.what);
                return f;
            }
            if (!PQconsumeInput(p->conn))
                break;
        }
        res = PQgetResult(p->conn);
        if (res) {
            PQclear(last);
            last = res;
        }
    } while (res);
    return pg_result(p->conn, last, ret);
}

static struct fault run_statement(struct producer *p, PGresult **ret, const char *sql, int params, const char *const *values)
{
    INJECTION_POINT(statement);
    struct fault f = p->plan->serves ? run_on_loop(p, ret, sql, params, values) : pg_run(p->conn, ret, sql, params, values);
    INJECTION_POINT(statement_done);
    return f;
}

struct fault producer_run(struct producer *p, PGresult **ret, const char *sql, int params, const char *const *values)
{
    *ret = NULL;
    if (!p->conn || !p->locked)
        return FAULT(RETRY, "PostgreSQL is not there");
    struct fault f = run_statement(p, ret, sql, params, values);
    if (f.kind && PQstatus(p->conn) != CONNECTION_OK)
        engine_disconnect(p, f.what);
    return f;
}

struct fault producer_do_(struct producer *p, const char *sql, const char *const *values, size_t count)
{
    SCOPED(PQclear) PGresult *res = NULL;

    return producer_run(p, &res, sql, (int)count, values);
}

struct loop *producer_loop(const struct producer *p)
{
    return p->loop;
}

static void on_notice(void *of, const char *words)
{
    (void)of;
    log_debug("PostgreSQL: %.*s", (int)strcspn(words, "\n"), words);
}

/* Connects on the loop; whom nobody refuses within PG_SILENT_S is not there. */
static struct fault open_on_loop(struct producer *p)
{
    PGconn *conn;
    PostgresPollingStatusType status = PGRES_POLLING_WRITING;

    TRY(pg_open_start(&conn, p->plan->name));
    while (status == PGRES_POLLING_WRITING || status == PGRES_POLLING_READING) {
        struct fault f = await_pg(p, conn, status == PGRES_POLLING_WRITING ? EPOLLOUT : EPOLLIN);
        if (f.kind || loop_stopping(p->loop)) {
            PQfinish(conn);
            return f.kind ? f : FAULT(RETRY, "told to stop");
        }
        status = PQconnectPoll(conn);
    }
    if (status == PGRES_POLLING_OK) {
        p->conn = conn;
        return FAULT_OK;
    }
    struct fault f = pg_connection_fault(conn, p->started);
    PQfinish(conn);
    return f;
}

static struct fault connect_pg(struct producer *p)
{
    TRY(p->plan->serves ? open_on_loop(p) : pg_open(&p->conn, p->plan->name));
    PQsetNoticeProcessor(p->conn, on_notice, NULL);
    struct fault f = pg_check_schema(p->conn);
    if (f.kind) {
        PQfinish(p->conn);
        p->conn = NULL;
        return f;
    }
    if (p->said_pg)
        log_info("PostgreSQL is there");
    p->said_pg = false;
    p->pg_trouble[0] = '\0';
    return FAULT_OK;
}

static struct fault take_lock(struct producer *p)
{
    SCOPED(PQclear) PGresult *res = NULL;
    struct fault f = run_statement(p, &res, "SELECT pg_try_advisory_lock(hashtextextended($1, 0))", 1,
                                   (const char *const[]){p->source});

    if (f.kind) {
        engine_disconnect(p, f.what);
        return f;
    }
    p->locked = PQgetvalue(res, 0, 0)[0] == 't';
    if (p->locked) {
        INJECTION_POINT(locked);
        if (p->said_lock)
            log_info("the lock is ours");
        p->said_lock = false;
        return FAULT_OK;
    }
    if (!p->said_lock && !p->once)
        log_info("another producer of %s is at work; waiting for it to end", p->plan->source);
    p->said_lock = true;
    return FAULT(RETRY, "another producer of %s is at work in database %s: it does what this one would", p->plan->source,
                 PQdb(p->conn));
}

/* Connection, schema, lock. MISUSE is for the start; later it is one more thing to wait for. */
struct fault engine_upkeep_pg(struct producer *p)
{
    if (p->conn && p->locked)
        return FAULT_OK;
    if (loop_now(p->loop) < p->connect_at_us)
        return FAULT(RETRY, "%s", *p->pg_trouble ? p->pg_trouble : "waiting for the lock");
    p->connect_at_us = loop_now(p->loop) + SECOND_US;
    if (!p->conn) {
        struct fault f = connect_pg(p);
        if (f.kind && (f.kind == FAULT_RETRY || p->started))
            engine_disconnect(p, f.what);
        if (f.kind)
            return f;
    }
    return take_lock(p);
}

struct fault producer_recall(struct producer *p, const char *mark, char *ret, size_t size)
{
    SCOPED(PQclear) PGresult *res = NULL;

    ret[0] = '\0';
    TRY(producer_run(p, &res, "SELECT value FROM producer_marks WHERE producer = $1 AND mark = $2", 2,
                     (const char *const[]){p->plan->name, mark}));
    if (PQntuples(res))
        snprintf(ret, size, "%s", PQgetvalue(res, 0, 0));
    return FAULT_OK;
}

struct fault producer_remember(struct producer *p, const char *mark, const char *value)
{
    if (!value)
        return producer_do(p, "DELETE FROM producer_marks WHERE producer = $1 AND mark = $2", p->plan->name, mark);
    return producer_do(p, "INSERT INTO producer_marks (producer, mark, value) VALUES ($1, $2, $3)"
                          " ON CONFLICT (producer, mark) DO UPDATE SET value = excluded.value, set_at = clock_timestamp()",
                       p->plan->name, mark, value);
}

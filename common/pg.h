/*
 * pg.h - PostgreSQL, one blocking statement at a time: for producers, migrate and --check. Workers use db.h.
 *
 * Where to connect is said by libpq's own PG* variables, a service file or a password file; PGPASSWORD_FILE is ours.
 */
#ifndef SHELFWIRE_PG_H
#define SHELFWIRE_PG_H

#include "common/fault.h"
#include "common/scoped.h"

#include <libpq-fe.h>
#include <stdint.h>

SCOPED_TYPE(PGconn, PQfinish)

/* RETRY: the server is not there. MISUSE: it is, and refuses us: wrong password, no such database or role. */
struct fault pg_open(PGconn **ret, const char *application_name);

/*
 * The schema must be the one this program was built with. MISUSE says to run `migrate`, or that the program is older
 * than the database.
 */
struct fault pg_check_schema(PGconn *conn);

/* Runs one statement with text parameters ("$1", NULL is NULL). The result is the caller's: PQclear. */
struct fault pg_run(PGconn *conn, PGresult **ret, const char *sql, int params, const char *const *values);

/* The same with the parameters written in place and no result wanted. */
#define pg_do(conn, sql, ...) pg_do_(conn, sql, (const char *const[]){__VA_ARGS__}, COUNT(((const char *const[]){__VA_ARGS__})))
struct fault pg_do_(PGconn *conn, const char *sql, const char *const *values, size_t count);

/* What a statement's result says: it is handed out, or released and its error told. res may be NULL. */
struct fault pg_result(PGconn *conn, PGresult *res, PGresult **ret);

/* Begins to connect: PQconnectPoll goes on. */
struct fault pg_open_start(PGconn **ret, const char *application_name);

/*
 * A failed connection as a fault: RETRY, or MISUSE where the server is there and refuses us, or its certificate will not do. The
 * former takes another connection to learn. Never MISUSE when it may only be `away`.
 */
struct fault pg_connection_fault(PGconn *conn, bool away);

/* What to do about libpq's words where TLS is what they are about, else NULL. */
const char *pg_advice(const char *why);

/* The keywords and values both kinds of connection are made with. */
void pg_parameters(const char *application_name, const char *keywords[8], const char *values[8]);

#endif

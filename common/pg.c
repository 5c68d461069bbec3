#include "common/pg.h"

#include "common/answer.h"
#include "common/settings.h"
#include "common/text.h"

#include <stdlib.h>
#include <string.h>

/*
 * PGPASSWORD or what the file holds that it is in: libpq knows only the first. The file is read for each connection, for the password
 * may be another one by now; while it cannot be, the old one stays. Of each thread, for monitor connects on two.
 */
static struct fault read_password(const char **ret)
{
    static _Thread_local char from_file[1024];
    const char *password;
    struct fault f = settings_value("PGPASSWORD", &password);

    *ret = f.kind ? from_file : password;
    if (f.kind)
        return *from_file ? FAULT_OK : f;
    if (!password || password == getenv("PGPASSWORD"))
        return FAULT_OK;
    bool fits = text_copy(from_file, sizeof from_file, password);
    explicit_bzero((char *)(uintptr_t)password, strlen(password));
    free((char *)(uintptr_t)password);
    *ret = from_file;
    return fits ? FAULT_OK : FAULT(MISUSE, "PGPASSWORD_FILE: longer than %zu bytes", sizeof from_file - 1);
}

void pg_parameters(const char *application_name, const char *keywords[8], const char *values[8])
{
    const char *password = NULL;
    int n = 0;

    read_password(&password);
    keywords[n] = "fallback_application_name", values[n++] = application_name;
    keywords[n] = "connect_timeout", values[n++] = "10";
    keywords[n] = "keepalives_idle", values[n++] = "10";
    keywords[n] = "tcp_user_timeout", values[n++] = "15000";
    if (password)
        keywords[n] = "password", values[n++] = password;
    keywords[n] = NULL;
    values[n] = NULL;
}

const char *pg_advice(const char *why)
{
    static const struct {
        const char *said, *advice;
    } refusals[] = {
        {"certificate verify failed", "its certificate has expired, or is of an authority that PGSSLROOTCERT does not hold"},
        {"does not match host name", "its certificate is for another name: see PGHOST"},
        {"root certificate file", "see PGSSLROOTCERT, PGSSLMODE"},
        {"does not support SSL", "it speaks no TLS: see PGSSLMODE, PGPORT"},
        {"no encryption", "perhaps it wants TLS: see PGSSLMODE, PGUSER, PGDATABASE"},
        {"client certificate", "see PGSSLCERT, PGSSLKEY"},
        {"certificate file", "see PGSSLCERT, PGSSLKEY"},
        {"private key file", "see PGSSLCERT, PGSSLKEY"},
    };

    for (size_t i = 0; i < COUNT(refusals); i++)
        if (strstr(why, refusals[i].said))
            return refusals[i].advice;
    return NULL;
}

struct fault pg_connection_fault(PGconn *conn, bool away)
{
    const char *keywords[8], *values[8];
    char why[160];

    answer_quote(why, sizeof why, PQerrorMessage(conn), strlen(PQerrorMessage(conn)));
    pg_parameters("shelfwire", keywords, values);
    /* it is there, and yet this may pass: no connection is free just now, or it is starting */
    bool busy = strstr(why, "too many") || strstr(why, "remaining connection slots") || strstr(why, "starting up") ||
                strstr(why, "shutting down") || strstr(why, "recovery");
    const char *advice = pg_advice(why);
    if (advice)
        return fault_make(away ? FAULT_RETRY : FAULT_MISUSE, "PostgreSQL and we do not agree: %s; %s", why, advice);
    PGPing ping = away || busy ? PQPING_NO_RESPONSE : PQpingParams(keywords, values, 0);
    if (ping == PQPING_NO_ATTEMPT)
        return FAULT(MISUSE, "PostgreSQL: %s; see the PG* variables", why);
    if (ping == PQPING_OK)
        return FAULT(MISUSE, "PostgreSQL refuses us: %s; see PGHOST, PGUSER, PGPASSWORD(_FILE), PGDATABASE", why);
    return FAULT(RETRY, "PostgreSQL is not there: %s; see PGHOST, PGPORT", why);
}

struct fault pg_open(PGconn **ret, const char *application_name)
{
    const char *keywords[8], *values[8];
    const char *password;

    *ret = NULL;
    TRY(read_password(&password));
    pg_parameters(application_name, keywords, values);
    PGconn *conn = PQconnectdbParams(keywords, values, 0);
    if (!conn)
        return FAULT(FATAL, "out of memory");
    if (PQstatus(conn) != CONNECTION_OK) {
        struct fault f = pg_connection_fault(conn, false);
        PQfinish(conn);
        return f;
    }
    *ret = conn;
    return FAULT_OK;
}

struct fault pg_open_start(PGconn **ret, const char *application_name)
{
    const char *keywords[8], *values[8];
    const char *password;

    *ret = NULL;
    TRY(read_password(&password));
    pg_parameters(application_name, keywords, values);
    PGconn *conn = PQconnectStartParams(keywords, values, 0);
    if (!conn)
        return FAULT(FATAL, "out of memory");
    if (PQstatus(conn) == CONNECTION_BAD) {
        struct fault f = pg_connection_fault(conn, false);
        PQfinish(conn);
        return f;
    }
    *ret = conn;
    return FAULT_OK;
}

struct fault pg_result(PGconn *conn, PGresult *res, PGresult **ret)
{
    ExecStatusType status = PQresultStatus(res);
    char why[160];

    *ret = NULL;
    if (status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK) {
        *ret = res;
        return FAULT_OK;
    }
    /* the primary message only: DETAIL and CONTEXT may quote a row */
    const char *message = PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY);
    if (!message)
        message = PQerrorMessage(conn);
    answer_quote(why, sizeof why, message, strlen(message));
    PQclear(res);
    return FAULT(RETRY, "PostgreSQL: %s", why);
}

struct fault pg_run(PGconn *conn, PGresult **ret, const char *sql, int params, const char *const *values)
{
    return pg_result(conn, PQexecParams(conn, sql, params, NULL, values, NULL, NULL, 0), ret);
}

struct fault pg_do_(PGconn *conn, const char *sql, const char *const *values, size_t count)
{
    SCOPED(PQclear) PGresult *res = NULL;

    return pg_run(conn, &res, sql, (int)count, values);
}

struct fault pg_check_schema(PGconn *conn)
{
    SCOPED(PQclear) PGresult *table = NULL;
    SCOPED(PQclear) PGresult *res = NULL;

    TRY(pg_run(conn, &table, "SELECT to_regclass('schema_migrations') IS NOT NULL", 0, NULL));
    if (PQgetvalue(table, 0, 0)[0] != 't')
        return FAULT(MISUSE, "database %s has no Shelfwire schema: run `migrate`", PQdb(conn));
    TRY(pg_run(conn, &res, "SELECT coalesce(max(version), 0) FROM schema_migrations", 0, NULL));
    int version = atoi(PQgetvalue(res, 0, 0));
    if (version < SCHEMA_VERSION)
        return FAULT(MISUSE, "the schema of database %s is version %d, this program needs %d: run `migrate`", PQdb(conn),
                     version, SCHEMA_VERSION);
    if (version > SCHEMA_VERSION)
        return FAULT(MISUSE, "the schema of database %s is version %d, this program knows only %d: upgrade the program",
                     PQdb(conn), version, SCHEMA_VERSION);
    return FAULT_OK;
}

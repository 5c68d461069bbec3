/*
 * migrate - brings the database to the schema the programs of this version need.
 *   reads   SQL_DIR/NNN_name.sql   numbered from 1 without a gap; each is applied once, in order
 *   keeps   schema_migrations      which were applied, and what they looked like then
 *
 * A file and its row are one transaction, so what fails leaves nothing behind. A lock in PostgreSQL makes two migrates
 * at once the same as one after the other.
 *
 *   --take-over FILE   what the script of before had registered (its SQLite file) becomes users and taken_over
 *   --purge DAYS       deletes what is past, by the database's own function purge()
 */
#include "common/log.h"
#include "common/pg.h"
#include "common/program.h"
#include "common/text.h"
#include "common/vendors/reading.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <sqlite3.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
    SERVER_LEAST = 130000, /* gen_random_uuid() is built in since then */
    RETRY_MS = 250,
    BUSY_MS = 5000,        /* the old script may be writing its file */
    BATCH_ROWS = 1000,
};

/* One lock for whatever changes the database: no other program takes this key. */
#define LOCK_KEY "8316008228189596018"

static const char *sql_dir;
static int64_t wait_s;

static const struct setting settings[] = {
    {"SQL_DIR", SET_TEXT, NULL, .to = &sql_dir,
     .help = "directory of the numbered SQL files; unless set, the installed one, or the one of the checkout"},
    {"MIGRATE_WAIT_SECONDS", SET_WHOLE, "30", .least = 0, .most = 3600, .to = &wait_s,
     .help = "how long to wait for PostgreSQL to be there"},
    {0}};

static const struct program migrate = {
    .name = "migrate",
    .about = "brings the database to the schema the programs of this version need",
    .arguments = "[--dry-run] [--take-over FILE [--even-so] | --purge DAYS]",
    .options = "Applies the SQL files that are pending; --check says which, and exits with 100 if there are any.\n\n"
               "  --dry-run  do all of it, say what came of it, and undo it\n"
               "  --take-over FILE\n"
               "             copy people and pre-registrations from the SQLite file of the script of before, ahead of the\n"
               "             first run of libcal-bookings; may be run again\n"
               "  --even-so  take over although bookings were read already: those already sent are not touched\n"
               "  --purge DAYS\n"
               "             delete windows, bookings, people and history that ended more than DAYS days ago\n",
    .tables = (const struct setting *const[]){settings, NULL},
};

SCOPED_TYPE(sqlite3, sqlite3_close)
SCOPED_TYPE(sqlite3_stmt, sqlite3_finalize)
SCOPED_TYPE(struct text, text_free)

/* ---- what is asked for ---- */

struct order {
    bool dry_run, even_so;
    const char *take_over; /* FILE or NULL */
    const char *purge;     /* DAYS or NULL */
};

static struct fault read_order(const struct program_arguments *args, struct order *ret)
{
    for (int i = 0; i < args->rest_count; i++) {
        const char *word = args->rest[i], *value = i + 1 < args->rest_count ? args->rest[i + 1] : NULL;
        const char **to = !strcmp(word, "--take-over") ? &ret->take_over : !strcmp(word, "--purge") ? &ret->purge : NULL;

        if (to && (!value || !strncmp(value, "--", 2)))
            return FAULT(MISUSE, "%s wants %s; see migrate --help", word, to == &ret->purge ? "a number of days" : "a file");
        if (to) {
            *to = value;
            i++;
        } else if (!strcmp(word, "--dry-run")) {
            ret->dry_run = true;
        } else if (!strcmp(word, "--even-so")) {
            ret->even_so = true;
        } else {
            return FAULT(MISUSE, "unknown argument %s; see migrate --help", word);
        }
    }
    if (!!ret->take_over + !!ret->purge + args->check > 1 || (args->check && ret->dry_run))
        return FAULT(MISUSE, "--check, --take-over and --purge are one run each");
    if (ret->even_so && !ret->take_over)
        return FAULT(MISUSE, "--even-so belongs to --take-over");
    if (ret->purge) {
        size_t len = strlen(ret->purge);
        if (strspn(ret->purge, "0123456789") != len || len > 5 || !atoi(ret->purge))
            return FAULT(MISUSE, "--purge %s: want a number of days, 1 to 99999", ret->purge);
    }
    return FAULT_OK;
}

/* ---- the SQL files ---- */

struct step {
    char name[80]; /* of the file */
    char *sql;
    bool applied;
};

static struct step steps[SCHEMA_VERSION];

static struct fault find_sql_dir(char ret[PATH_MAX])
{
    char exe[PATH_MAX - 32];

    if (sql_dir || !access(SHELFWIRE_SQL_DIR, F_OK)) {
        text_copy(ret, PATH_MAX, sql_dir ? sql_dir : SHELFWIRE_SQL_DIR);
        return FAULT_OK;
    }
    ssize_t n = readlink("/proc/self/exe", exe, sizeof exe - 1);
    exe[n < 0 ? 0 : n] = '\0';
    char *slash = strrchr(exe, '/');
    snprintf(ret, PATH_MAX, "%.*s/../../schemas/sql", slash ? (int)(slash - exe) : 0, exe);
    if (access(ret, F_OK))
        return FAULT(MISUSE, "%s is not there: install Shelfwire, or set SQL_DIR", SHELFWIRE_SQL_DIR);
    return FAULT_OK;
}

/* The number of NNN_name.sql, or 0. */
static int file_number(const char *name)
{
    size_t digits = strspn(name, "0123456789");
    size_t word = strspn(name + digits, "abcdefghijklmnopqrstuvwxyz0123456789_");

    if (digits != 3 || name[3] != '_' || word < 2 || strcmp(name + digits + word, ".sql") != 0)
        return 0;
    return atoi(name);
}

static struct fault read_file(const char *path, const char *name, char **ret)
{
    SCOPED(fclose) FILE *file = fopen(path, "r");
    SCOPED(text_free) struct text *sql = &(struct text){0};
    char piece[4096];
    size_t n;

    while (file && (n = fread(piece, 1, sizeof piece, file)) > 0)
        text_add(sql, piece, n);
    if (!file || ferror(file))
        return FAULT(MISUSE, "%s: cannot read it: %s", name, strerror(errno));
    if (sql->failed)
        return FAULT(MISUSE, "%s: longer than %d bytes", name, TEXT_MAX);
    if (!sql->len || strlen(sql->at) != sql->len)
        return FAULT(MISUSE, "%s: %s", name, sql->len ? "holds a zero byte" : "is empty");
    *ret = sql->at;
    *sql = (struct text){0};
    return FAULT_OK;
}

static int not_dots(const struct dirent *entry)
{
    return strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
}

static struct fault read_entry(const char *dir, int number, const char *name)
{
    char path[PATH_MAX + sizeof(((struct dirent *)NULL)->d_name)];

    if (file_number(name) != number)
        return FAULT(MISUSE, "%s: want number %03d before %s: numbers go up by one", dir, number, name);
    if (number > SCHEMA_VERSION || !text_copy(steps[number - 1].name, sizeof steps[0].name, name))
        return FAULT_OK; /* counted by the caller */
    snprintf(path, sizeof path, "%s/%s", dir, name);
    return read_file(path, name, &steps[number - 1].sql);
}

static struct fault read_steps(void)
{
    struct dirent **entries = NULL;
    struct fault f = FAULT_OK;
    char dir[PATH_MAX];

    TRY(find_sql_dir(dir));
    int count = scandir(dir, &entries, not_dots, alphasort);
    if (count < 0)
        return FAULT(MISUSE, "SQL_DIR %s: %s", dir, strerror(errno));
    for (int i = 0; i < count && !f.kind; i++) /* before the order, which a stray file would upset */
        if (!file_number(entries[i]->d_name))
            f = FAULT(MISUSE, "%s: %s does not belong there: want files named NNN_name.sql", dir, entries[i]->d_name);
    for (int i = 0; i < count; i++) {
        if (!f.kind)
            f = read_entry(dir, i + 1, entries[i]->d_name);
        free(entries[i]);
    }
    free(entries);
    if (!f.kind && count != SCHEMA_VERSION)
        return FAULT(MISUSE, "%s holds schema %d, this program was built for schema %d: want both of one version", dir,
                     count, SCHEMA_VERSION);
    return f;
}

static void free_steps(void)
{
    for (int i = 0; i < SCHEMA_VERSION; i++)
        free(steps[i].sql);
}

/* ---- the database ---- */

static struct fault just(PGconn *conn, const char *sql)
{
    return pg_do_(conn, sql, NULL, 0);
}

static int64_t now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static struct fault open_when_there(PGconn **ret)
{
    int64_t until_ms = now_ms() + wait_s * 1000;
    bool told = false;

    for (;;) {
        struct fault f = pg_open(ret, "migrate");
        if (f.kind != FAULT_RETRY || now_ms() >= until_ms)
            return f;
        if (!told)
            log_warn("%s; waiting up to %" PRId64 " s", f.what, wait_s);
        told = true;
        nanosleep(&(struct timespec){.tv_nsec = RETRY_MS * 1000000L}, NULL);
    }
}

static struct fault check_server(PGconn *conn)
{
    const char *encoding = PQparameterStatus(conn, "server_encoding");
    int version = PQserverVersion(conn);

    if (version < SERVER_LEAST)
        return FAULT(MISUSE, "PostgreSQL %s is too old: want %d or newer", PQparameterStatus(conn, "server_version"),
                     SERVER_LEAST / 10000);
    if (!encoding || strcmp(encoding, "UTF8") != 0)
        return FAULT(MISUSE, "database %s has the encoding %s: create it with ENCODING 'UTF8'", PQdb(conn),
                     encoding ? encoding : "?");
    if (PQsetClientEncoding(conn, "UTF8"))
        return FAULT(RETRY, "PostgreSQL: cannot set the client's encoding");
    TRY(just(conn, "SET client_min_messages = warning"));
    return just(conn, "SET statement_timeout = 0"); /* a role's own may be too short for an index */
}

static struct fault take_lock(PGconn *conn)
{
    SCOPED(PQclear) PGresult *res = NULL;

    TRY(pg_run(conn, &res, "SELECT pg_try_advisory_lock(" LOCK_KEY ")", 0, NULL));
    if (PQgetvalue(res, 0, 0)[0] == 't')
        return FAULT_OK;
    log_info("another migrate is at work: waiting for it");
    return just(conn, "SELECT pg_advisory_lock(" LOCK_KEY ")"); /* held until this connection ends */
}

/* ---- what was applied ---- */

static const char make_table[] =
    "CREATE TABLE IF NOT EXISTS schema_migrations (version integer PRIMARY KEY, name text NOT NULL, sha256 text NOT NULL,"
    " applied_at timestamptz NOT NULL DEFAULT clock_timestamp(), took_ms bigint NOT NULL)";

/* PostgreSQL computes the checksum: of the text as sent, which is UTF-8. */
#define SHA256_OF(parameter) "encode(sha256(convert_to(" parameter ", 'UTF8')), 'hex')"

static struct fault look_at_step(PGconn *conn, int number, bool print)
{
    SCOPED(PQclear) PGresult *res = NULL;
    struct step *step = &steps[number - 1];
    char version[12];

    snprintf(version, sizeof version, "%d", number);
    TRY(pg_run(conn, &res,
               "SELECT sha256 = " SHA256_OF("$2") ", to_char(applied_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI')"
               " FROM schema_migrations WHERE version = $1::int",
               2, (const char *const[]){version, step->sql}));
    step->applied = PQntuples(res) > 0;
    if (step->applied && PQgetvalue(res, 0, 0)[0] != 't')
        return FAULT(MISUSE, "%s was changed after it was applied: bring back the file as it was; a change is a new file",
                     step->name);
    if (step->applied && number > 1 && !steps[number - 2].applied)
        return FAULT(MISUSE, "schema_migrations has %s, but not %s before it", step->name, steps[number - 2].name);
    if (print && step->applied)
        printf("%s applied %s UTC\n", step->name, PQgetvalue(res, 0, 1));
    return FAULT_OK;
}

/* Fills steps[].applied. Refuses a database that is newer, or that other files made. */
static struct fault look(PGconn *conn, bool print, int *ret_applied)
{
    SCOPED(PQclear) PGresult *table = NULL;
    SCOPED(PQclear) PGresult *newest = NULL;

    *ret_applied = 0;
    TRY(pg_run(conn, &table, "SELECT to_regclass('schema_migrations') IS NOT NULL", 0, NULL));
    if (PQgetvalue(table, 0, 0)[0] == 't') {
        TRY(pg_run(conn, &newest, "SELECT coalesce(max(version), 0) FROM schema_migrations", 0, NULL));
        if (atoi(PQgetvalue(newest, 0, 0)) > SCHEMA_VERSION)
            return pg_check_schema(conn); /* says it as every program does */
        for (int number = 1; number <= SCHEMA_VERSION; number++) {
            TRY(look_at_step(conn, number, print));
            *ret_applied += steps[number - 1].applied;
        }
    }
    for (int number = *ret_applied + 1; print && number <= SCHEMA_VERSION; number++)
        printf("%s pending\n", steps[number - 1].name);
    return FAULT_OK;
}

static struct fault check(PGconn *conn)
{
    int applied;

    TRY(look(conn, true, &applied));
    printf("schema %d of %d\n", applied, SCHEMA_VERSION);
    if (applied < SCHEMA_VERSION)
        return FAULT(MISUSE, "the schema of database %s is version %d, this version needs %d: run `migrate`", PQdb(conn),
                     applied, SCHEMA_VERSION);
    return FAULT_OK;
}

/* ---- applying ---- */

/* PostgreSQL counts characters from 1. */
static int line_of(const char *sql, int position)
{
    int line = 1;

    for (; *sql; sql++) {
        if (((unsigned char)*sql & 0xC0) != 0x80 && --position <= 0)
            break;
        line += *sql == '\n';
    }
    return line;
}

static struct fault failed_statement(PGconn *conn, const struct step *step, const PGresult *res, int statement)
{
    const char *message = PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY);
    const char *position = PQresultErrorField(res, PG_DIAG_STATEMENT_POSITION);

    if (!message)
        message = PQstatus(conn) == CONNECTION_OK ? "a statement that no migration can hold" : "the connection was lost";
    if (position)
        return FAULT(FATAL, "%s, line %d: %s; nothing of this file was kept", step->name,
                     line_of(step->sql, atoi(position)), message);
    return FAULT(FATAL, "%s, statement %d: %s; nothing of this file was kept", step->name, statement, message);
}

/* All statements of a file at once, as psql would: PostgreSQL, not we, knows where one ends. */
static struct fault run_file(PGconn *conn, const struct step *step)
{
    struct fault f = FAULT_OK;
    int statement = 1;

    if (!PQsendQuery(conn, step->sql))
        return FAULT(FATAL, "%s: the connection was lost", step->name);
    for (PGresult *res; (res = PQgetResult(conn)); statement++) {
        ExecStatusType status = PQresultStatus(res);
        if (!f.kind && status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK && status != PGRES_EMPTY_QUERY)
            f = failed_statement(conn, step, res, statement);
        PQclear(res);
        if (status == PGRES_COPY_IN || status == PGRES_COPY_OUT)
            return f; /* the caller gives up the connection, and so the transaction */
    }
    if (!f.kind && PQtransactionStatus(conn) != PQTRANS_INTRANS)
        return FAULT(FATAL, "%s ends the transaction it runs in: mend the file, then the database", step->name);
    return f;
}

static struct fault apply(PGconn *conn, int number, bool dry_run)
{
    const struct step *step = &steps[number - 1];
    char version[12], took_ms[24];
    int64_t began_ms = now_ms();

    if (!dry_run)
        TRY(just(conn, "BEGIN"));
    TRY(run_file(conn, step)); /* on a failure the connection ends, and with it the transaction */
    snprintf(version, sizeof version, "%d", number);
    snprintf(took_ms, sizeof took_ms, "%" PRId64, now_ms() - began_ms);
    TRY(pg_do(conn, "INSERT INTO schema_migrations (version, name, sha256, took_ms)"
                    " VALUES ($1::int, $2, " SHA256_OF("$3") ", $4::bigint)",
              version, step->name, step->sql, took_ms));
    if (!dry_run)
        TRY(just(conn, "COMMIT"));
    printf("%s %s in %s ms\n", step->name, dry_run ? "would be applied" : "applied", took_ms);
    return FAULT_OK;
}

static struct fault bring_up(PGconn *conn, const struct order *order)
{
    int64_t began_ms = now_ms();
    int applied;

    if (order->dry_run)
        TRY(just(conn, "BEGIN"));
    TRY(look(conn, false, &applied));
    TRY(just(conn, make_table));
    for (int number = applied + 1; number <= SCHEMA_VERSION; number++)
        TRY(apply(conn, number, order->dry_run));
    TRY(just(conn, order->dry_run ? "ROLLBACK" : "SELECT attempts_make_partitions()"));
    if (applied == SCHEMA_VERSION)
        printf("schema %d, nothing to do\n", SCHEMA_VERSION);
    else if (order->dry_run)
        printf("schema %d, %d to apply; nothing was changed\n", applied, SCHEMA_VERSION - applied);
    else
        printf("schema %d, %d applied in %" PRId64 " ms\n", SCHEMA_VERSION, SCHEMA_VERSION - applied, now_ms() - began_ms);
    return FAULT_OK;
}

/* ---- taking over ---- */

/* A table of the old file: its first column is what a row is known by, its last is what PassagePoint called it. */
struct source {
    const char *table;
    const char *select; /* the rows that say more first: of two with one id, the first counts */
    int columns;
    bool upper; /* an id is written in capitals, as the producers do */
    const char *insert; /* $1: a JSON array of rows */
};

static const struct source people = {
    .table = "users", .columns = 3, .upper = true,
    .select = "SELECT primary_id, barcode, visitor_id FROM users ORDER BY visitor_id IS NULL, primary_id",
    .insert = "INSERT INTO users (primary_id, barcode, visitor_id, visitor_barcode, visitor_at)"
              " SELECT r->>0, r->>1, r->>2, CASE WHEN r->>2 IS NOT NULL THEN r->>1 END,"
              " CASE WHEN r->>2 IS NOT NULL THEN now() END"
              " FROM jsonb_array_elements($1::jsonb) AS r ON CONFLICT (primary_id) DO NOTHING",
};

static const struct source bookings = {
    .table = "appts", .columns = 2,
    .select = "SELECT appt_id, prereg_id FROM appts ORDER BY prereg_id IS NULL, appt_id",
    .insert = "INSERT INTO taken_over (booking_id, prereg_id) SELECT r->>0, r->>1"
              " FROM jsonb_array_elements($1::jsonb) AS r ON CONFLICT (booking_id) DO NOTHING",
};

struct taken {
    int64_t rows, added, bare, nameless; /* bare: without the last column; nameless: without the first, left out */
};

static struct fault sqlite_fault(sqlite3 *old, const char *path, const char *table)
{
    if (table)
        return FAULT(MISUSE, "%s, table %s: %s", path, table, sqlite3_errmsg(old));
    return FAULT(MISUSE, "%s: %s; want the SQLite file of the script of before", path, sqlite3_errmsg(old));
}

static struct fault open_old(sqlite3 **ret, const char *path)
{
    int error = sqlite3_open_v2(path, ret, SQLITE_OPEN_READONLY, NULL);

    if (!*ret)
        return FAULT(FATAL, "out of memory");
    sqlite3_busy_timeout(*ret, BUSY_MS);
    /* opening reads nothing; one transaction, so that both tables are of one moment */
    if (error || sqlite3_exec(*ret, "BEGIN; SELECT count(*) FROM sqlite_master", NULL, NULL, NULL))
        return sqlite_fault(*ret, path, NULL);
    return FAULT_OK;
}

/* Adds a row to the batch, as a JSON array of texts and nulls. False: it has no id. */
static bool add_row(struct text *batch, sqlite3_stmt *row, const struct source *source, struct taken *taken)
{
    size_t before = batch->len;

    for (int i = 0; i < source->columns; i++) {
        const char *bytes = (const char *)sqlite3_column_text(row, i); /* of a whole number: its digits */
        char value[256];
        size_t len = bytes ? strlen(bytes) : 0;

        if (bytes)
            reading_trim(&bytes, &len);
        if (!text_fit(value, sizeof value, bytes ? bytes : "", len))
            value[0] = '\0'; /* no id is that long */
        if (i == 0 && !value[0])
            return false;
        for (char *c = value; i == 0 && source->upper && *c; c++)
            *c = *c >= 'a' && *c <= 'z' ? (char)(*c - 'a' + 'A') : *c;
        text_puts(batch, i ? "," : before > 1 ? ",[" : "[");
        if (value[0])
            text_json(batch, value);
        else
            text_puts(batch, "null");
        taken->bare += i == source->columns - 1 && !value[0];
    }
    text_putc(batch, ']');
    return true;
}

static struct fault send_batch(PGconn *conn, const struct source *source, struct text *batch, struct taken *taken)
{
    SCOPED(PQclear) PGresult *res = NULL;

    text_putc(batch, ']');
    if (batch->failed)
        return FAULT(FATAL, "out of memory");
    TRY(fault_under(pg_run(conn, &res, source->insert, 1, (const char *const[]){text_str(batch)}), "table %s, rows to %" PRId64,
                    source->table, taken->rows + taken->nameless));
    taken->added += atoll(PQcmdTuples(res));
    text_clear(batch);
    text_putc(batch, '[');
    return FAULT_OK;
}

static struct fault take_table(PGconn *conn, sqlite3 *old, const char *path, const struct source *source, struct taken *ret)
{
    SCOPED(sqlite3_finalize) sqlite3_stmt *row = NULL;
    SCOPED(text_free) struct text *batch = &(struct text){0};
    int error;

    *ret = (struct taken){0};
    if (sqlite3_prepare_v2(old, source->select, -1, &row, NULL))
        return sqlite_fault(old, path, source->table);
    text_putc(batch, '[');
    while ((error = sqlite3_step(row)) == SQLITE_ROW) {
        bool named = add_row(batch, row, source, ret);
        ret->rows += named;
        ret->nameless += !named;
        if (named && ret->rows % BATCH_ROWS == 0)
            TRY(send_batch(conn, source, batch, ret));
    }
    if (error != SQLITE_DONE)
        return sqlite_fault(old, path, source->table);
    return send_batch(conn, source, batch, ret);
}

static struct fault take_over(PGconn *conn, const struct order *order)
{
    SCOPED(sqlite3_close) sqlite3 *old = NULL;
    SCOPED(PQclear) PGresult *res = NULL;
    struct taken users, appts;

    TRY(open_old(&old, order->take_over));
    TRY(pg_run(conn, &res, "SELECT EXISTS (SELECT FROM bookings WHERE source = 'libcal')", 0, NULL));
    if (PQgetvalue(res, 0, 0)[0] == 't' && !order->even_so)
        return FAULT(MISUSE, "libcal-bookings has read bookings already, and taking over does not touch those already sent:"
                             " if that is meant, say --even-so");
    TRY(just(conn, "BEGIN"));
    TRY(take_table(conn, old, order->take_over, &people, &users));
    TRY(take_table(conn, old, order->take_over, &bookings, &appts));
    TRY(just(conn, order->dry_run ? "ROLLBACK" : "COMMIT"));
    printf("%s %" PRId64 " people (%" PRId64 " known already) and %" PRId64 " bookings (%" PRId64 " known already)\n",
           order->dry_run ? "would take over" : "took over", users.added, users.rows - users.added, appts.added,
           appts.rows - appts.added);
    printf("people without a visitor id: %" PRId64 "; bookings without a pre-registration id: %" PRId64 "\n", users.bare,
           appts.bare);
    if (users.nameless + appts.nameless)
        printf("left out, without an id of their own: %" PRId64 "\n", users.nameless + appts.nameless);
    return FAULT_OK;
}

/* ---- purging ---- */

static struct fault purge(PGconn *conn, const struct order *order)
{
    SCOPED(PQclear) PGresult *res = NULL;

    TRY(just(conn, "BEGIN"));
    TRY(pg_run(conn, &res, "SELECT what, deleted FROM purge($1::int)", 1, (const char *const[]){order->purge}));
    TRY(just(conn, order->dry_run ? "ROLLBACK" : "COMMIT"));
    for (int i = 0; i < PQntuples(res); i++)
        printf("%s %s\n", PQgetvalue(res, i, 0), PQgetvalue(res, i, 1));
    printf("%s what ended more than %s days ago\n", order->dry_run ? "would delete" : "deleted", order->purge);
    return FAULT_OK;
}

/* ---- */

static struct fault run(const struct program_arguments *args)
{
    SCOPED(PQfinish) PGconn *conn = NULL;
    struct order order = {0};

    TRY(read_order(args, &order));
    if (!order.take_over && !order.purge)
        TRY(read_steps());
    TRY(open_when_there(&conn));
    TRY(check_server(conn));
    if (args->check)
        return check(conn);
    TRY(take_lock(conn));
    if (!order.take_over && !order.purge)
        return bring_up(conn, &order);
    TRY(pg_check_schema(conn));
    return order.purge ? purge(conn, &order) : take_over(conn, &order);
}

int main(int argc, char **argv)
{
    struct program_arguments args;

    setvbuf(stdout, NULL, _IOLBF, 0); /* what was applied is said when it is, also into a log */
    struct fault f = program_open(&migrate, argc, argv, &args);
    if (!f.kind && !args.ended)
        f = run(&args);
    free_steps();
    return program_exit(&migrate, f);
}

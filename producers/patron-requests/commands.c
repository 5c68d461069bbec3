#include "producers/patron-requests/callers.h"

#include "common/log.h"
#include "common/pg.h"
#include "common/program.h"
#include "common/text.h"
#include "producers/patron-requests/forms.h"

#include <errno.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

enum { SECRET_BYTES = 32, SECRET_SIZE = 3 + 2 * SECRET_BYTES + 1 };

static void write_hex(char *to, const unsigned char *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++)
        sprintf(to + 2 * i, "%02x", bytes[i]);
}

static struct fault make_secret(const char *prefix, char ret[SECRET_SIZE])
{
    unsigned char random[SECRET_BYTES];

    if (getrandom(random, sizeof random, 0) != sizeof random)
        return FAULT(FATAL, "no random bytes: %s", strerror(errno));
    strcpy(ret, prefix);
    write_hex(ret + strlen(prefix), random, sizeof random);
    return FAULT_OK;
}

static bool is_name(const char *name)
{
    static const char first[] = "abcdefghijklmnopqrstuvwxyz0123456789", rest[] = "abcdefghijklmnopqrstuvwxyz0123456789._-";

    return *name && strchr(first, *name) && !name[strspn(name, rest)] && strlen(name) < CALLER_SIZE;
}

/* "folio,wise" as PostgreSQL reads a list; all of them when nothing is said. */
static struct fault read_services(const char *words, char *ret, size_t size)
{
    char copy[200], *rest = copy;

    snprintf(copy, sizeof copy, "%s", words);
    for (char *word; (word = strsep(&rest, ","));) {
        int i = 0;
        while (forms_services[i] && strcmp(forms_services[i], word) != 0)
            i++;
        if (!forms_services[i])
            return FAULT(MISUSE, "--services %s: want some of folio,wise,oneclick", words);
    }
    snprintf(ret, size, "{%s}", words);
    return FAULT_OK;
}

/* One that was revoked may come back, with another token. */
static const char add_sql[] =
    "INSERT INTO callers AS c (caller, token_sha256, services, callback_secret) VALUES ($1, $2::bytea, $3::text[], $4)"
    " ON CONFLICT (caller) DO UPDATE SET token_sha256 = excluded.token_sha256, services = excluded.services,"
    " callback_secret = excluded.callback_secret, made_at = excluded.made_at, revoked_at = NULL"
    " WHERE c.revoked_at IS NOT NULL RETURNING 1";

static struct fault add(PGconn *conn, const char *name, const char *services)
{
    SCOPED(PQclear) PGresult *res = NULL;
    unsigned char hash[EVP_MAX_MD_SIZE];
    char token[SECRET_SIZE], secret[SECRET_SIZE], hex[2 * EVP_MAX_MD_SIZE + 3] = "\\x", list[210];
    unsigned len = 0;

    if (!is_name(name))
        return FAULT(MISUSE, "--add-caller: want a name of a-z, 0-9, '.', '_' and '-', a letter or digit in front, at most %d",
                     CALLER_SIZE - 1);
    TRY(read_services(services, list, sizeof list));
    TRY(make_secret("sw_", token));
    TRY(make_secret("", secret));
    if (!EVP_Digest(token, strlen(token), hash, &len, EVP_sha256(), NULL))
        return FAULT(FATAL, "libcrypto has no SHA-256");
    write_hex(hex + 2, hash, len);
    TRY(pg_run(conn, &res, add_sql, 4, (const char *const[]){name, hex, list, secret}));
    if (!PQntuples(res))
        return FAULT(MISUSE, "caller %s is there already: --revoke-caller %s takes its token away", name, name);
    printf("token            %s\ncallback secret  %s\n", token, secret);
    printf("They are shown this once. The service knows the token within three seconds.\n");
    return FAULT_OK;
}

/* Its callbacks end, too: whoever it was may not be who reads them. */
static const char revoke_sql[] =
    "WITH gone AS (UPDATE callers SET revoked_at = clock_timestamp() WHERE caller = $1 AND revoked_at IS NULL"
    " RETURNING caller), quiet AS (UPDATE requests r SET callback_at = NULL, callback_url = NULL FROM gone"
    " WHERE r.caller = gone.caller AND r.callback_url IS NOT NULL) SELECT FROM gone";

static struct fault revoke(PGconn *conn, const char *name)
{
    SCOPED(PQclear) PGresult *res = NULL;

    TRY(pg_run(conn, &res, revoke_sql, 1, (const char *const[]){name}));
    if (!PQntuples(res))
        return FAULT(MISUSE, "there is no caller %.62s: --callers lists them", name);
    printf("%s is revoked: the service knows within three seconds; its requests are carried out all the same\n", name);
    return FAULT_OK;
}

static const char list_sql[] =
    "SELECT format('%s %s made %s%s', rpad(caller, 24), rpad(array_to_string(services, ','), 22),"
    " to_char(made_at AT TIME ZONE 'UTC', 'YYYY-MM-DD'), ', revoked ' || to_char(revoked_at AT TIME ZONE 'UTC', 'YYYY-MM-DD'))"
    " FROM callers ORDER BY caller";

static struct fault list(PGconn *conn)
{
    SCOPED(PQclear) PGresult *res = NULL;

    TRY(pg_run(conn, &res, list_sql, 0, NULL));
    for (int i = 0; i < PQntuples(res); i++)
        puts(PQgetvalue(res, i, 0));
    return FAULT_OK;
}

bool callers_command(int argc, char **argv)
{
    static const char *const commands[] = {"--add-caller", "--revoke-caller", "--callers"};

    for (size_t i = 0; argc > 1 && i < COUNT(commands); i++)
        if (!strcmp(argv[1], commands[i]))
            return true;
    return false;
}

static struct fault run(const struct program *program, int argc, char **argv)
{
    SCOPED(PQfinish) PGconn *conn = NULL;
    struct program_arguments a;

    TRY(program_open(program, argc, argv, &a));
    if (a.ended)
        return FAULT_OK;
    bool adds = !strcmp(a.rest[0], "--add-caller"), lists = !strcmp(a.rest[0], "--callers");
    bool well = lists ? a.rest_count == 1 : adds && a.rest_count == 4 ? !strcmp(a.rest[2], "--services") : a.rest_count == 2;
    if (!well)
        return FAULT(MISUSE, "want --add-caller NAME [--services folio,wise], --revoke-caller NAME, or --callers alone");
    TRY(pg_open(&conn, program->name));
    TRY(pg_check_schema(conn));
    if (lists)
        return list(conn);
    return adds ? add(conn, a.rest[1], a.rest_count == 4 ? a.rest[3] : "folio,wise,oneclick") : revoke(conn, a.rest[1]);
}

int callers_main(const struct program *program, int argc, char **argv)
{
    return program_exit(program, run(program, argc, argv));
}

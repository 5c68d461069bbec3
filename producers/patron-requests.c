/*
 * patron-requests - takes what patrons ask of FOLIO, Wise and OneClick, over HTTP or from standard input, and promises it.
 *   in    POST /requests, from callers with a token; schemas/openapi.yaml, schemas/request.schema.json
 *   row   requests(caller, ref): the same ref is one request, however often it is sent
 *   out   folio.requests, wise.holds.prepare, oneclick.requests   key patron   schemas/patron-request.schema.json
 *
 * 202 means: the row is committed, and its message acknowledged by every in-sync replica (intake.h). What it cannot promise it
 * does not take: 503, and the same ref may be sent again at any time. What can be known to be wrong is refused at once, with
 * every mistake named (forms.h). What became of a request is told to whom asks, also when it changes (looks.h), and posted to
 * where the caller wants it (callbacks.h).
 * A crash in between: the next start sends what was committed and not sent before it takes anything new, so that two requests
 * of one patron stay in order. One at a time holds the lock; another that is started waits, and answers 503 meanwhile.
 */
#include "common/log.h"
#include "common/loop.h"
#include "common/producer.h"
#include "common/program.h"
#include "common/request.h"
#include "common/scoped.h"
#include "producers/patron-requests/api.h"
#include "producers/patron-requests/callbacks.h"
#include "producers/patron-requests/callers.h"
#include "producers/patron-requests/intake.h"
#include "producers/patron-requests/lines.h"
#include "producers/patron-requests/looks.h"
#include "producers/patron-requests/server.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { DRAIN_MS = 5000, FAR_SECONDS = 3600 };

static const int64_t poll_seconds = FAR_SECONDS; /* nobody is polled: whoever wants something comes */
static const struct setting *const tables[] = {server_settings, callback_settings, NULL};

static struct fault settled(void)
{
    TRY(callbacks_settled());
    return server_settled();
}

static void begin(struct producer *p)
{
    (void)p;
}

static struct fault poll_nobody(struct producer *p)
{
    (void)p;
    return FAULT_OK;
}

static struct fault check(struct producer *p)
{
    (void)p;
    printf("ok  %s\n", "the settings of the HTTP interface agree");
    return FAULT_OK;
}

static void trouble(struct text *why)
{
    intake_trouble(why);
}

/* ---- the service ---- */

static void on_up(void)
{
    looks_up();
}

static void on_heard(const char *id)
{
    looks_heard(id);
    callbacks_heard();
}

static struct fault open_service(struct producer *p)
{
    static struct question *const questions[] = {&callers_question, &looks_question, &callbacks_due, &callbacks_done, NULL};

    TRY(intake_open(p, false));
    TRY(questions_open(producer_loop(p), questions, on_up, on_heard));
    looks_open(producer_loop(p));
    callers_open(producer_loop(p));
    TRY(callbacks_open(p));
    api_open(p);
    return server_open(producer_loop(p), &api_calls);
}

/* Who waits is answered; what is in hand is finished. */
static void close_service(struct producer *p)
{
    (void)p;
    server_quiesce();
    looks_end();
    callbacks_close();
    intake_drain(DRAIN_MS);
    server_close();
    questions_close();
}

/* A row and what its message is made of. A retry is one that its stage has put off: a hold that is to become a loan. */
#define DUE_COLUMNS "request_id, retry_at, coalesce(trace_id, ''), service, action, patron"
#define OPEN "state IN ('accepted', 'waiting')"
#define UNSENT "SELECT * FROM requests WHERE sent_at IS NULL AND " OPEN

static const char left_sql[] = "SELECT " DUE_COLUMNS " FROM (" UNSENT ") AS left_ ORDER BY accepted_at LIMIT $1::integer";

/* Younger ones may be on their way, by us or by --stdin. */
static const char due_sql[] =
    "SELECT " DUE_COLUMNS " FROM (" UNSENT " AND accepted_at < clock_timestamp() - interval '30 seconds'"
    " UNION ALL SELECT * FROM requests WHERE retry_at <= clock_timestamp() AND sent_at IS NOT NULL AND " OPEN ")"
    " AS due ORDER BY accepted_at LIMIT $1::integer";

static const char sent_sql[] =
    "UPDATE requests r SET sent_at = clock_timestamp(),"
    " retry_at = CASE WHEN r.retry_at IS DISTINCT FROM s.retry_at THEN r.retry_at END"
    " FROM unnest($1::uuid[], $2::timestamptz[]) AS s(id, retry_at) WHERE r.request_id = s.id";

static const char resend_sql[] = "UPDATE requests SET sent_at = NULL WHERE sent_at IS NOT NULL AND " OPEN;

enum { C_ID, C_SERVICE = 3, C_ACTION, C_PATRON };

static struct fault message(const PGresult *due, int row, struct text *ret_key, struct text *ret_value)
{
    static struct request r;

    text_copy(r.request_id, sizeof r.request_id, PQgetvalue(due, row, C_ID));
    text_copy(r.service, sizeof r.service, PQgetvalue(due, row, C_SERVICE));
    text_copy(r.action, sizeof r.action, PQgetvalue(due, row, C_ACTION));
    text_copy(r.patron, sizeof r.patron, PQgetvalue(due, row, C_PATRON));
    text_puts(ret_key, r.patron);
    request_write(ret_value, &r);
    return FAULT_OK;
}

static int topic_of(const PGresult *due, int row)
{
    int i = 0;

    while (forms_services[i + 1] && strcmp(forms_services[i], PQgetvalue(due, row, C_SERVICE)) != 0)
        i++;
    return i;
}

static const struct producer_reader readers[] = {{"folio-requests", "folio.requests"},
                                                 {"wise-holds-prepare", "wise.holds.prepare"},
                                                 {"wise-holds-place", "wise.holds.place"},
                                                 {"oneclick-requests", "oneclick.requests"},
                                                 {NULL, NULL}};

#define NAME "patron-requests"
#define ABOUT "takes what patrons ask of FOLIO, Wise and OneClick, and sees that it is carried out"
static const char arguments[] = "[--stdin CALLER | --add-caller NAME [--services LIST] | --revoke-caller NAME | --callers]";
static const char options[] =
    "  --stdin CALLER        read requests from standard input, a JSON object a line; print one line for each, and exit 1 if\n"
    "                        any was refused\n"
    "  --add-caller NAME     print the token of a new caller, once\n"
    "  --services LIST       with --add-caller: which it may ask, as folio,wise; otherwise all\n"
    "  --revoke-caller NAME  its token is worth nothing any longer\n"
    "  --callers             list them\n";

static const struct producer_plan service = {
    .name = NAME, .about = ABOUT, .source = "requests", .topics = forms_topics, .serves = true, .arguments = arguments,
    .options = options, .tables = tables, .poll_seconds = &poll_seconds, .readers = readers, .settled = settled, .check = check,
    .begin = begin, .open = open_service, .close = close_service, .poll = poll_nobody, .trouble = trouble, .due_sql = due_sql,
    .left_sql = left_sql, .sent_sql = sent_sql, .resend_sql = resend_sql, .message = message, .topic_of = topic_of,
    .busy = intake_busy,
};

/* ---- standard input ---- */

static const char *caller;
static int refused;

static struct fault read_caller(const char *const *rest, int count)
{
    if (count != 2 || strcmp(rest[0], "--stdin") != 0)
        return FAULT(MISUSE, "want %s", arguments);
    caller = rest[1];
    return FAULT_OK;
}

static struct fault no_arguments(const char *const *rest, int count)
{
    return count ? FAULT(MISUSE, "argument %s: want %s", rest[0], arguments) : FAULT_OK;
}

static struct fault open_lines(struct producer *p)
{
    return intake_open(p, true);
}

static void close_lines(struct producer *p)
{
    (void)p;
    intake_drain(DRAIN_MS);
}

static struct fault read_lines(struct producer *p)
{
    return lines_run(p, caller, &refused);
}

static void no_trouble(struct text *why)
{
    (void)why;
}

int main(int argc, char **argv)
{
    static const struct producer_reader nobody[] = {{NULL, NULL}};
    static const struct setting *const no_tables[] = {NULL};
    static char source[40];
    struct producer_plan plan = service;

    if (callers_command(argc, argv)) {
        const struct program program = {
            .name = NAME, .about = ABOUT, .arguments = arguments, .options = options, .tables = no_tables};
        return callers_main(&program, argc, argv);
    }
    plan.argued = no_arguments;
    if (argc > 1 && !strcmp(argv[1], "--stdin")) { /* a source of its own: it runs beside the service, and others like it */
        snprintf(source, sizeof source, "requests, %s %d", "standard input", (int)getpid());
        plan = (struct producer_plan){
            .name = NAME, .about = ABOUT, .source = source, .topics = forms_topics, .once = true, .arguments = arguments,
            .options = options, .tables = tables, .poll_seconds = &poll_seconds, .readers = nobody, .watched = readers, .argued = read_caller,
            .settled = callbacks_settled, .check = check, .begin = begin, .open = open_lines, .close = close_lines,
            .poll = read_lines, .trouble = no_trouble,
        };
    }
    int code = producer_main(&plan, argc, argv);
    return code == 0 && refused ? 1 : code;
}

/*
 * monitor - shows what flows, what waits and what wants a person; and does what a person says.
 *   reads   Kafka's offsets, the dead letters, PostgreSQL, the programs' /metrics
 *   serves  one page and its JSON (monitor/pages.h)
 *   writes  lag_history, dead_letters, alerts, monitor_log; and what a verb says (monitor/verbs.h)
 *   tells   alerts and the digest of the day, by mail and by post (monitor/alerts.h)
 *
 * The page is on the main thread, everything it shows is gathered on another (monitor/collect.h). On the command line it says the
 * same, and has the same verbs.
 */
#include "common/kafka.h"
#include "common/log.h"
#include "common/loop.h"
#include "common/metrics.h"
#include "common/pg.h"
#include "common/program.h"
#include "common/status.h"
#include "ops/monitor/alerts.h"
#include "ops/monitor/collect.h"
#include "ops/monitor/offsets.h"
#include "ops/monitor/pages.h"
#include "ops/monitor/verbs.h"
#include "ops/monitor/web.h"

#include <ctype.h>
#include <inttypes.h>
#include <math.h>
#include <pwd.h>
#include <string.h>
#include <unistd.h>

static const struct setting *const tables[] = {web_settings, collect_settings, alerts_settings, kafka_settings, NULL};

static struct program monitor = {
    .name = "monitor",
    .about = "shows what flows, what waits and what wants a person; and does what a person says",
    .arguments = "[COMMAND …] [--dry-run]",
    .tables = tables,
};

/* ---- /metrics: the names that dashboards of kafka_exporter read, and what only monitor knows ---- */

static void gauge(const char *name, const char *help, double value, const char *labels)
{
    metric_set(metric_make(METRIC_GAUGE, name, help, "%s", labels), value);
}

static void stage_metrics(int i, const struct stage_picture *s, bool paused, int64_t now_ms)
{
    const char *group = offsets_group(i), *topic = offsets_topic(i);
    char labels[300];

    for (int p = 0; p < s->partitions; p++) {
        int64_t from = s->read[p] > s->begin[p] ? s->read[p] : s->begin[p];
        snprintf(labels, sizeof labels, "topic=\"%s\",partition=\"%d\"", topic, p);
        gauge("kafka_topic_partition_current_offset", "The end of a partition's log.", (double)s->end[p], labels);
        gauge("kafka_topic_partition_oldest_offset", "The begin of a partition's log.", (double)s->begin[p], labels);
        gauge("kafka_topic_partition_leader", "Id of the broker that leads a partition; -1: none does.", s->leader[p], labels);
        gauge("kafka_topic_partition_replicas", "Brokers that are to have a partition.", s->replicas[p], labels);
        gauge("kafka_topic_partition_in_sync_replica", "Brokers that have all of a partition.", s->in_sync[p], labels);
        gauge("kafka_topic_partition_under_replicated_partition", "1: a broker that is to have a partition lacks some of it.",
              s->in_sync[p] < s->replicas[p], labels);
        snprintf(labels, sizeof labels, "consumergroup=\"%s\",topic=\"%s\",partition=\"%d\"", group, topic, p);
        gauge("kafka_consumergroup_current_offset", "How far the group has committed.", (double)s->read[p], labels);
        gauge("kafka_consumergroup_lag", "Messages of a partition that are not finished.", (double)(s->end[p] > from ? s->end[p] - from : 0), labels);
    }
    snprintf(labels, sizeof labels, "topic=\"%s\"", topic);
    gauge("kafka_topic_partitions", "Partitions of a topic.", s->partitions, labels);
    snprintf(labels, sizeof labels, "consumergroup=\"%s\",topic=\"%s\"", group, topic);
    gauge("kafka_consumergroup_lag_sum", "Messages of a topic that are not finished.", (double)s->lag, labels);
    gauge("shelfwire_stage_paused", "1: a person has paused it, or had within the last minutes.", paused, labels);
    gauge("shelfwire_oldest_unfinished_seconds", "Age of the oldest message that a stage has not finished.",
          s->oldest_ms > 0 ? (double)(now_ms - s->oldest_ms) / 1000 : 0, labels);
    snprintf(labels, sizeof labels, "program=\"%s\"", chain_stages[i].program);
    gauge("shelfwire_workers_alive", "Workers of a stage that answer.", s->workers, labels);
}

static void counted_metrics(const struct counted *now, int count, const char *name, const char *help, const char *format)
{
    char labels[300];

    for (int i = 0; i < count; i++) {
        snprintf(labels, sizeof labels, format[0] == 't' ? "topic=\"%s\",reason=\"%s\"" : "kind=\"%s\"%s", now[i].name, now[i].word);
        for (char *c = labels; *c; c++) /* a code from a header of somebody else's */
            *c = *c == '\\' || *c == '\n' ? '?' : *c;
        gauge(name, help, (double)now[i].n, labels);
    }
}

/* Those that were counted before and are no more are 0, and not what they were. */
static struct { struct counted dead[COUNTED_MAX], desk[COUNTED_MAX]; int dead_count, desk_count; } before;

static void forget(struct counted *was, int *count, const struct counted *now, int now_count, const char *name, const char *help, const char *format)
{
    for (int i = 0; i < *count; i++)
        was[i].n = 0;
    counted_metrics(was, *count, name, help, format);
    memcpy(was, now, (size_t)now_count * sizeof *now);
    *count = now_count;
    counted_metrics(now, now_count, name, help, format);
}

static void refresh(void *unused)
{
    (void)unused;
    const struct picture *p = collect_look();
    double soonest = p->facts.soonest_visit_s;

    if (!p->at_ms) { /* nothing is known yet, which is not the same as nothing */
        collect_done();
        return;
    }
    for (int i = 0; i < STAGES_MAX; i++)
        if (p->stages[i].exists && p->stages[i].seen_ms)
            stage_metrics(i, &p->stages[i], p->facts.paused[i], p->at_ms);
    gauge("kafka_brokers", "Brokers of the cluster.", p->brokers, "");
    forget(before.dead, &before.dead_count, p->dead, p->dead_count, "shelfwire_dead_letters_open", "Dead letters nobody has dealt with.", "t");
    forget(before.desk, &before.desk_count, p->desk, p->desk_count, "shelfwire_desk_open", "Rows of the desk that are open.", "k");
    gauge("shelfwire_next_visit_waiting_seconds", "Until the soonest visit whose window nobody has answered.", soonest >= 0 ? soonest : INFINITY, "");
    gauge("shelfwire_outcomes_unknown", "Windows of which nobody knows whether they were made.", (double)p->facts.unknown, "");
    gauge("shelfwire_database_restored", "PostgreSQL is older than Kafka, and nobody has said that it was restored.", p->facts.restored, "");
    gauge("shelfwire_bookings_seen_today", "Windows sent since midnight UTC; -1: not known.", (double)p->facts.bookings, "");
    gauge("shelfwire_bookings_usual", "The least of it by this time on the last three such days; -1: not known.", (double)p->facts.bookings_usual, "");
    gauge("shelfwire_monitor_trouble", "Something monitor needs is away.", *p->kafka_trouble != 0, "of=\"kafka\"");
    gauge("shelfwire_monitor_trouble", "Something monitor needs is away.", *p->database_trouble != 0, "of=\"postgresql\"");
    collect_done();
}

static bool ready(void *unused, struct text *why)
{
    (void)unused;
    const struct picture *p = collect_look();
    bool well = p->at_ms && !*p->kafka_trouble && !*p->database_trouble;

    if (!p->at_ms)
        text_puts(why, "looking for the first time");
    if (*p->kafka_trouble)
        text_printf(why, "Kafka: %s; ", p->kafka_trouble);
    if (*p->database_trouble)
        text_printf(why, "PostgreSQL: %s", p->database_trouble);
    collect_done();
    return well;
}

/* ---- serving ---- */

static struct fault serve(void)
{
    const struct status_source source = {ready, refresh, NULL};
    struct status *status = NULL;
    struct loop *loop;

    TRY(loop_open(&loop));
    struct fault f = collect_start();
    if (f.kind) {
        loop_close(loop);
        return f;
    }
    f = web_open(loop, pages_answer);
    if (!f.kind)
        f = status_open(&status, loop, program_metrics_address, (int)program_metrics_port, &source);
    while (!f.kind && !loop_stopping(loop) && !collect_stopping())
        loop_turn(loop, 500);
    if (!f.kind)
        program_end_within(8, 0);
    status_close(status);
    web_close();
    collect_stop();
    loop_close(loop);
    return f;
}

/* ---- the command line ---- */

/* Who is recorded: whoever is logged in, also behind sudo. */
static const char *who(void)
{
    const char *name = getenv("SUDO_USER");
    const struct passwd *user = name && *name ? NULL : getpwuid(getuid());

    return user ? user->pw_name : name ? name : "?";
}

/* What comes from elsewhere must not speak to the terminal. */
static void print_value(const char *value)
{
    for (; *value; value++)
        if (iscntrl((unsigned char)*value))
            printf("\\x%02x", (unsigned char)*value);
        else
            putchar(*value);
}

static void print_rows(const PGresult *rows)
{
    for (int r = 0; r < PQntuples(rows); r++)
        for (int c = 0; c < PQnfields(rows); c++) {
            print_value(PQgetvalue(rows, r, c));
            putchar(c + 1 < PQnfields(rows) ? '\t' : '\n');
        }
}

static struct fault print_query(PGconn *conn, const char *sql, const char *value)
{
    SCOPED(PQclear) PGresult *rows = NULL;

    TRY(pg_run(conn, &rows, sql, value ? 1 : 0, (const char *const[]){value}));
    print_rows(rows);
    return FAULT_OK;
}

static struct fault print_lag(void)
{
    const struct picture *p;
    char words[300];

    TRY(collect_once(&p));
    for (int i = 0; i < STAGES_MAX; i++) {
        const struct stage_picture *s = &p->stages[i];
        struct advice a = picture_advice(s);
        if (!s->exists)
            continue;
        advice_say(&a, s, words, sizeof words);
        printf("%s\t%" PRId64 "\t%d workers\t%s\n", offsets_topic(i), s->lag, s->workers, words);
    }
    return FAULT_OK;
}

static const struct {
    const char *name, *argument, *sql, *help;
    bool noted; /* who looked is recorded */
} lists[] = {
    {"desk", NULL, "SELECT desk_id, kind, coalesce(to_char(visit_at, 'YYYY-MM-DD HH24:MI'), ''), subject, reason FROM desk WHERE closed_at IS NULL"
                   " ORDER BY visit_at NULLS LAST, desk_id", "what wants a person, soonest visit first", false},
    {"dead-letters", NULL, "SELECT dead_letter_id, topic, to_char(at, 'YYYY-MM-DD HH24:MI:SS'), coalesce(subject, ''), reason FROM dead_letters"
                           " WHERE state = 'open' ORDER BY at, dead_letter_id", "those that are open, the oldest first", false},
    {"alerts", NULL, "SELECT name, subject, to_char(since, 'YYYY-MM-DD HH24:MI'), summary FROM alerts WHERE ended_at IS NULL ORDER BY since",
     "those that last", false},
    {"find", "ID", page_find_sql, "the timeline of whatever the id is of", true},
    {"export", "ID", "SELECT jsonb_pretty(person_export($1))", "everything that is known of one person, as JSON", true},
};

static struct fault list(PGconn *conn, const char *name, const char *argument, bool *ret_known)
{
    for (size_t i = 0; i < COUNT(lists); i++) {
        if (strcmp(lists[i].name, name) != 0)
            continue;
        *ret_known = true;
        if (!!lists[i].argument != !!argument)
            return FAULT(MISUSE, argument ? "%s takes no more words; see monitor --help" : "%s wants an id; see monitor --help", name);
        if (lists[i].noted)
            TRY(verb_note(conn, who(), name, argument, "command line"));
        return print_query(conn, lists[i].sql, argument);
    }
    return FAULT_OK;
}

/* "1,2,3" as an array; "all" is no choice. */
static struct fault read_ids(const char *word, char *ret, size_t size)
{
    if (!word)
        return FAULT(MISUSE, "which? numbers as 1,2,3, or all; see monitor --help");
    if (strcmp(word, "all") != 0 && (strspn(word, "0123456789,") != strlen(word) || !isdigit((unsigned char)*word)))
        return FAULT(MISUSE, "\"%.40s\": want numbers as 1,2,3, or all", word);
    if (!strcmp(word, "all"))
        *ret = '\0';
    else if (snprintf(ret, size, "{%s}", word) >= (int)size)
        return FAULT(MISUSE, "too many numbers at once");
    return FAULT_OK;
}

static struct fault act(PGconn *conn, const struct verb *v, const char *const *words, int count, bool dry_run)
{
    const char *values[VERB_FIELDS] = {0};
    char ids[8000], said[200];

    for (int i = 0; i < count && i < VERB_FIELDS; i++)
        values[i] = words[i];
    if (count > VERB_FIELDS || (count && !v->fields[count - 1]))
        return FAULT(MISUSE, "%s: too many words; see monitor --help", v->name);
    if (v->fields[0] && !strcmp(v->fields[0], "?ids")) {
        TRY(read_ids(values[0], ids, sizeof ids));
        values[0] = ids;
    }
    struct fault f = verb_do(conn, v, values, who(), dry_run, said);
    if (f.kind == FAULT_REJECT)
        f.kind = FAULT_MISUSE;
    TRY(f);
    printf("%s%s\n", dry_run ? "it would be: " : "", said);
    return FAULT_OK;
}

static struct fault erase(PGconn *conn, const char *id, bool dry_run)
{
    SCOPED(PQclear) PGresult *rows = NULL;

    if (!id)
        return FAULT(MISUSE, "erase wants an id; see monitor --help");
    TRY(pg_do(conn, "BEGIN"));
    TRY(pg_run(conn, &rows, "SELECT what, CASE what WHEN 'kafka_until' THEN to_timestamp(erased)::text ELSE erased::text END"
                            " FROM person_erase($1, $2)", 2, (const char *const[]){id, who()}));
    print_rows(rows);
    return pg_do(conn, dry_run ? "ROLLBACK" : "COMMIT");
}

static struct fault command(const struct program_arguments *args)
{
    SCOPED(PQfinish) PGconn *conn = NULL;
    const char *words[8], *name;
    bool dry_run = false, known = false;
    int count = 0;

    for (int i = 0; i < args->rest_count; i++)
        if (!strcmp(args->rest[i], "--dry-run"))
            dry_run = true;
        else
            words[count++] = args->rest[i];
    name = count ? words[0] : "";
    if (!strcmp(name, "lag"))
        return print_lag();
    const struct verb *v = verb_of(name);
    bool is_erase = !strcmp(name, "erase");
    for (size_t i = 0; i < COUNT(lists); i++)
        known |= !strcmp(lists[i].name, name);
    if (!v && !is_erase && !known)
        return FAULT(MISUSE, "there is no command \"%.40s\"; see monitor --help", name);
    TRY(pg_open(&conn, "monitor"));
    TRY(pg_check_schema(conn));
    if (v)
        return act(conn, v, words + 1, count - 1, dry_run);
    if (is_erase)
        return erase(conn, count > 1 ? words[1] : NULL, dry_run);
    return list(conn, name, count > 1 ? words[1] : NULL, &known);
}

/* ---- --check, --help ---- */

static struct fault check(void)
{
    SCOPED(PQfinish) PGconn *conn = NULL;
    const struct picture *p;

    TRY(pg_open(&conn, "monitor"));
    TRY(pg_check_schema(conn));
    printf("ok  PostgreSQL has the schema this monitor wants\n");
    TRY(collect_once(&p));
    printf("ok  Kafka answers\n");
    if (*p->missing)
        printf("--  nobody answers at %s (MONITOR_PROGRAMS)\n", p->missing);
    return FAULT_OK;
}

static const char *help_of_commands(void)
{
    static struct text t;

    text_puts(&t, "Without a command it serves the page. Commands are recorded with who gave them (monitor_log).\n\n");
    text_puts(&t, "  lag        how much waits for each stage, and what would help\n");
    for (size_t i = 0; i < COUNT(lists); i++) {
        char line[200];
        snprintf(line, sizeof line, "%s%s%s", lists[i].name, lists[i].argument ? " " : "", lists[i].argument ? lists[i].argument : "");
        text_printf(&t, "  %-9s  %s\n", line, lists[i].help);
    }
    text_puts(&t, "  erase ID   deletes what is known of one person (--dry-run: says what it would)\n");
    for (int i = 0; i < verb_count; i++) {
        const char *words = strchr(verbs[i].help, ':');
        if (words)
            text_printf(&t, "  %s %.*s\n             %s\n", verbs[i].name, (int)(words - verbs[i].help), verbs[i].help, words + 2);
    }
    text_puts(&t, "  --dry-run  do it, say what came of it, and undo it\n");
    return text_str(&t);
}

static struct fault run(int argc, char **argv)
{
    struct program_arguments args;

    monitor.options = help_of_commands();
    TRY(program_open(&monitor, argc, argv, &args));
    if (args.ended)
        return FAULT_OK;
    TRY(kafka_check_settings());
    TRY(alerts_settled());
    if (args.rest_count)
        return command(&args);
    TRY(web_settled());
    return args.check ? check() : serve();
}

int main(int argc, char **argv)
{
    return program_exit(&monitor, run(argc, argv));
}

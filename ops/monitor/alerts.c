#include "ops/monitor/alerts.h"

#include "common/event.h"
#include "common/http.h"
#include "common/log.h"
#include "common/pg.h"
#include "common/scoped.h"
#include "ops/monitor/offsets.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static struct setting_list mail_to;
static const char *mail_from, *smtp_url, *smtp_username, *smtp_password, *post_url, *page_url, *digest_at;
static int64_t calls_left_low, visit_minutes, away_seconds;
static int digest_minute = -1;

const struct setting alerts_settings[] = {
    {"ALERT_MAIL_TO", SET_LIST, NULL, .to = &mail_to, .help = "who is mailed the alerts and the digest; empty: nobody"},
    {"ALERT_MAIL_FROM", SET_TEXT, NULL, .to = &mail_from, .help = "the address these mails come from"},
    {"SMTP_URL", SET_TEXT, NULL, .to = &smtp_url,
     .help = "mail server as smtp://host:port (with STARTTLS where it is offered) or smtps://host"},
    {"SMTP_USERNAME", SET_TEXT, NULL, .to = &smtp_username, .help = "its account, which demands TLS"},
    {"SMTP_PASSWORD", SET_SECRET, NULL, .to = &smtp_password, .help = "the account's password"},
    {"ALERT_POST_URL", SET_URL, NULL, .secret = true, .to = &post_url,
     .help = "where alerts are posted as JSON: {\"text\", \"name\", \"subject\", \"state\", \"since\"}, as chats take it"},
    {"MONITOR_URL", SET_URL, NULL, .to = &page_url, .help = "address of monitor's page, for links in mails and posts"},
    {"DIGEST_AT", SET_TEXT, NULL, .to = &digest_at, .help = "when the digest of the day is mailed, as 07:00 local time; empty: never"},
    {"ALERT_CALLS_LEFT", SET_WHOLE, "2000", .least = 0, .most = 1e9, .to = &calls_left_low,
     .help = "alert when a vendor says that fewer calls of today are left"},
    {"ALERT_VISIT_MINUTES", SET_WHOLE, "60", .least = 1, .most = 10080, .to = &visit_minutes,
     .help = "alert when a visit is so near and its window is not answered"},
    {"ALERT_AWAY_SECONDS", SET_WHOLE, "180", .least = 1, .most = 86400, .to = &away_seconds,
     .help = "alert when Kafka or PostgreSQL has been away for so long"},
    {0}};

/* How long each must last before it is told, in minutes, -1: ALERT_AWAY_SECONDS; and what to do. */
static const struct {
    const char *name;
    int minutes;
    const char *advice;
} known[] = {
    {"WorkWaits", 0, "Look at the stage on the page: it says what it waits for; start a worker if there is none."},
    {"VisitNear", 2, "Look at the stage that has it; if the vendor is down, register the visitor at the gate by hand."},
    {"CredentialsRefused", 2, "Mend the vendor's key or password in its file; the programs read it again by themselves."},
    {"QuotaNearEnd", 5, "Ask the vendor for more, or lower what else uses the account; the work waits for the new day by itself."},
    {"DeadLetters", 2, "Read the reason on the page, mend the cause, then replay or discard."},
    {"OutcomeUnknown", 2, "Look at the gate, then say made or not made on the desk list."},
    {"NoBookings", 30, "See whether LibCal's bookings are read: its producer says what it waits for."},
    {"ProgramGone", 3, "Start it again; its log says why it ended."},
    {"DatabaseRestored", 0, "If PostgreSQL was restored from a backup, say so on the page; else see what it is connected to."},
    {"UnderReplicated", 10, "Start the broker that is missing; with one more gone, nothing can be written."},
    {"DatabaseAway", -1, "Start PostgreSQL, or make room on its disk; nothing is lost, everything goes on by itself."},
    {"KafkaAway", -1, "Start the brokers; nothing is lost, everything goes on by itself."},
};

const char *alert_advice(const char *name)
{
    for (size_t i = 0; i < COUNT(known); i++)
        if (!strcmp(known[i].name, name))
            return known[i].advice;
    return "";
}

static int64_t seconds_of(const char *name)
{
    for (size_t i = 0; i < COUNT(known); i++)
        if (!strcmp(known[i].name, name))
            return known[i].minutes >= 0 ? known[i].minutes * 60 : away_seconds;
    return 0;
}

struct fault alerts_settled(void)
{
    int hour, minute, end = 0;

    if (mail_to.count && (!mail_from || !smtp_url))
        return FAULT(MISUSE, "%s is missing: ALERT_MAIL_TO wants it", mail_from ? "SMTP_URL" : "ALERT_MAIL_FROM");
    if (smtp_url && strncmp(smtp_url, "smtp://", 7) != 0 && strncmp(smtp_url, "smtps://", 8) != 0)
        return FAULT(MISUSE, "SMTP_URL: want smtp://host:port or smtps://host:port");
    for (int i = -1; i < mail_to.count; i++) {
        const char *address = i < 0 ? mail_from ? mail_from : "a@b" : mail_to.items[i];
        if (!strchr(address, '@') || strpbrk(address, "<>\r\n \t\""))
            return FAULT(MISUSE, "%s: want an address with an @, and nothing around it", i < 0 ? "ALERT_MAIL_FROM" : "ALERT_MAIL_TO");
    }
    if (!digest_at)
        return FAULT_OK;
    if (sscanf(digest_at, "%2d:%2d%n", &hour, &minute, &end) != 2 || digest_at[end] || hour < 0 || hour > 23 || minute < 0 || minute > 59)
        return FAULT(MISUSE, "DIGEST_AT=%s: want a time as 07:00", digest_at);
    digest_minute = hour * 60 + minute;
    return FAULT_OK;
}

/* ---- what there is ---- */

struct finding {
    struct alert *ret;
    int n;
};

static void add(struct finding *f, const char *name, const char *subject, const char *format, ...) __attribute__((format(printf, 4, 5)));
static void add(struct finding *f, const char *name, const char *subject, const char *format, ...)
{
    va_list args;

    if (f->n == ALERTS_MAX)
        return;
    struct alert *a = &f->ret[f->n++];
    a->name = name;
    text_copy(a->subject, sizeof a->subject, subject);
    va_start(args, format);
    vsnprintf(a->summary, sizeof a->summary, format, args);
    va_end(args);
}

static void find_in_stages(struct finding *f, const struct picture *p, const struct facts *facts)
{
    for (int i = 0; i < STAGES_MAX; i++) {
        const struct stage_picture *s = &p->stages[i];
        const char *program = chain_stages[i].program;
        if (facts->stuck[i] && !facts->paused[i] && s->lag > 0)
            add(f, "WorkWaits", program, "%lld messages wait in %s, and for ten minutes none was finished; %s", (long long)s->lag,
                chain_stages[i].topic, !s->workers ? "no worker answers" : *s->waits_for ? s->waits_for : "its workers say nothing");
        if (s->dead > 0)
            add(f, "DeadLetters", chain_stages[i].topic, "%lld message%s of %s %s set aside", (long long)s->dead, s->dead == 1 ? "" : "s",
                chain_stages[i].topic, s->dead == 1 ? "is" : "are");
    }
}

/* A broker that is missing is one alert, however many topics it had a part of. */
static void find_in_kafka(struct finding *f, const struct picture *p)
{
    int lacking = 0, partitions = 0;

    if (*p->kafka_trouble)
        add(f, "KafkaAway", "Kafka", "%s", p->kafka_trouble);
    for (int i = 0; i < STAGES_MAX; i++) {
        const struct stage_picture *s = &p->stages[i];
        partitions += s->partitions;
        for (int n = 0; n < s->partitions; n++)
            lacking += s->in_sync[n] < s->replicas[n];
    }
    if (lacking)
        add(f, "UnderReplicated", "Kafka", "%d of %d partitions lack a replica; %d broker%s there", lacking, partitions, p->brokers,
            p->brokers == 1 ? " is" : "s are");
}

static void find_in_vendors(struct finding *f, const struct picture *p)
{
    for (int i = 0; i < p->instance_count; i++) {
        const struct instance *it = &p->instances[i];
        if (*it->refused_by)
            add(f, "CredentialsRefused", it->refused_by, "%s refuses our key, user or password, says %s", it->refused_by, it->program);
        if (it->calls_left >= 0 && it->calls_left < (double)calls_left_low)
            add(f, "QuotaNearEnd", it->program, "%.0f calls of today are left, says the vendor of %s", it->calls_left, it->program);
    }
}

int alerts_find(const struct picture *p, const struct facts *facts, struct alert ret[ALERTS_MAX])
{
    struct finding f = {ret, 0};
    char left[24];

    find_in_kafka(&f, p);
    find_in_stages(&f, p, facts);
    find_in_vendors(&f, p);
    if (facts->soonest_visit_s >= 0 && facts->soonest_visit_s < (double)visit_minutes * 60) {
        say_seconds(facts->soonest_visit_s, left);
        if (facts->soonest_visit_s > 0)
            add(&f, "VisitNear", "visits", "a visit begins in %s, and its window is not answered", left);
        else
            add(&f, "VisitNear", "visits", "a visit has begun, and its window is not answered");
    }
    if (facts->unknown > 0)
        add(&f, "OutcomeUnknown", "desk", "of %lld window%s nobody knows whether the pre-registration was made", (long long)facts->unknown,
            facts->unknown == 1 ? "" : "s");
    if (facts->bookings == 0 && facts->bookings_usual > 0)
        add(&f, "NoBookings", "bookings.new", "no booking today, where by this time there were at least %lld on each of the last three such days",
            (long long)facts->bookings_usual);
    if (facts->restored)
        add(&f, "DatabaseRestored", "PostgreSQL", "PostgreSQL is older than Kafka: nothing is done until somebody says that it was restored");
    if (*p->missing)
        add(&f, "ProgramGone", "programs", "nobody answers at %s", p->missing);
    return f.n;
}

/* ---- what PostgreSQL knows ---- */

struct fault alerts_facts(PGconn *conn, struct facts *ret)
{
    static const char sql[] =
        "SELECT coalesce((SELECT extract(epoch FROM min(greatest(starts_at, now()) - now())) FROM appts WHERE wanted AND answer IS NULL"
        "  AND sent_at IS NOT NULL AND ends_at > now() AND starts_at < now() + interval '8 days'), -1),"
        " (SELECT count(*) FROM desk WHERE kind = 'unknown' AND closed_at IS NULL),"
        " EXISTS (SELECT FROM restores WHERE said_at IS NULL)";
    SCOPED(PQclear) PGresult *res = NULL;
    SCOPED(PQclear) PGresult *stuck = NULL;
    SCOPED(PQclear) PGresult *days = NULL;
    SCOPED(PQclear) PGresult *paused = NULL;
    struct facts facts = FACTS_UNKNOWN;
    int bookings = chain_stage_of("bookings-new");

    TRY(pg_run(conn, &res, sql, 0, NULL));
    facts.soonest_visit_s = atof(PQgetvalue(res, 0, 0));
    facts.unknown = atoll(PQgetvalue(res, 0, 1));
    facts.restored = PQgetvalue(res, 0, 2)[0] == 't';
    TRY(pg_run(conn, &stuck, "SELECT topic FROM lag_history WHERE at > now() - interval '11 minutes' GROUP BY topic"
               " HAVING count(*) >= 10 AND min(lag) > 0 AND min(read_offset) = max(read_offset)", 0, NULL));
    for (int r = 0; r < PQntuples(stuck); r++)
        for (int i = 0; i < STAGES_MAX; i++)
            facts.stuck[i] |= !strcmp(PQgetvalue(stuck, r, 0), offsets_topic(i));
    /* who goes on just now has not moved yet */
    TRY(pg_run(conn, &paused, "SELECT DISTINCT name FROM pauses WHERE what = 'stage' AND (ended_at IS NULL OR ended_at > now() - interval '11 minutes')",
               0, NULL));
    for (int r = 0; r < PQntuples(paused); r++) {
        int stage = chain_stage_of(PQgetvalue(paused, r, 0));
        if (stage >= 0)
            facts.paused[stage] = true;
    }
    /* messages between two moments: how far the topic's end moved */
    TRY(pg_run(conn, &days, "SELECT d, max(end_offset) - min(end_offset), count(*) FROM generate_series(0, 3) AS d JOIN lag_history h"
               " ON h.consumer = $1 AND h.topic = $2 AND h.at >= date_trunc('day', now()) - d * interval '7 days' AND h.at <= now() - d * interval '7 days'"
               " GROUP BY d HAVING count(*) > 30 ORDER BY d", 2, (const char *const[]){offsets_group(bookings), offsets_topic(bookings)}));
    if (PQntuples(days) == 4) {
        facts.bookings = atoll(PQgetvalue(days, 0, 1));
        facts.bookings_usual = INT64_MAX;
        for (int r = 1; r < 4; r++) {
            int64_t n = atoll(PQgetvalue(days, r, 1));
            facts.bookings_usual = n < facts.bookings_usual ? n : facts.bookings_usual;
        }
    }
    *ret = facts;
    return FAULT_OK;
}

struct fault alerts_judge(PGconn *conn, const struct picture *p)
{
    struct alert now[ALERTS_MAX];
    struct text names = {0}, subjects = {0};

    int n = alerts_find(p, &p->facts, now);
    struct fault f = FAULT_OK;
    text_putc(&names, '{');
    text_putc(&subjects, '{');
    for (int i = 0; i < n && !f.kind; i++) {
        text_printf(&names, "%s\"%s\"", i ? "," : "", now[i].name);
        text_printf(&subjects, "%s\"%s\"", i ? "," : "", now[i].subject); /* programs' and topics' names: nothing to escape */
        f = pg_do(conn, "INSERT INTO alerts AS a (name, subject, summary) VALUES ($1, $2, $3) ON CONFLICT (name, subject) WHERE ended_at IS NULL"
                  " DO UPDATE SET summary = excluded.summary WHERE a.summary <> excluded.summary", now[i].name, now[i].subject, now[i].summary);
    }
    text_putc(&names, '}');
    text_putc(&subjects, '}');
    if (!f.kind)
        f = pg_do(conn, "UPDATE alerts a SET ended_at = clock_timestamp(),"
                  " end_told_at = CASE WHEN coalesce(told_at, mailed_at, posted_at) IS NULL THEN clock_timestamp() END"
                  " WHERE ended_at IS NULL AND NOT EXISTS (SELECT FROM unnest($1::text[], $2::text[]) AS n(name, subject)"
                  " WHERE n.name = a.name AND n.subject = a.subject)", text_str(&names), text_str(&subjects));
    text_free(&names);
    text_free(&subjects);
    return f;
}

/* ---- telling ---- */

void alert_mail(struct text *to, const char *from, const struct setting_list *recipients, const char *subject, const char *body, int64_t now)
{
    char date[64], id[EVENT_TRACE_SIZE];
    time_t at = (time_t)now;
    struct tm utc;

    event_new_trace(id);
    strftime(date, sizeof date, "%a, %d %b %Y %H:%M:%S +0000", gmtime_r(&at, &utc));
    text_printf(to, "Date: %s\r\nFrom: Shelfwire <%s>\r\nTo: ", date, from);
    for (int i = 0; i < recipients->count; i++)
        text_printf(to, "%s%s", i ? ", " : "", recipients->items[i]);
    text_puts(to, "\r\nSubject: ");
    for (const char *c = subject; *c; c++) /* ASCII on one line: what is not would want an encoding */
        text_putc(to, *c < ' ' || *c > '~' ? '?' : *c);
    text_printf(to, "\r\nMessage-ID: <%s@shelfwire>\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n"
                    "Content-Transfer-Encoding: 8bit\r\nAuto-Submitted: auto-generated\r\n\r\n", id);
    for (const char *c = body; *c; c++) {
        if (*c == '\n')
            text_putc(to, '\r');
        text_putc(to, *c);
    }
}

struct upload {
    const char *at;
    size_t left;
};

static size_t on_upload(char *to, size_t size, size_t count, void *of)
{
    struct upload *u = of;
    size_t n = size * count < u->left ? size * count : u->left;

    memcpy(to, u->at, n);
    u->at += n;
    u->left -= n;
    return n;
}

static struct fault send_mail(const char *subject, const char *body)
{
    struct text mail = {0};
    struct curl_slist *to = NULL;
    CURL *curl = curl_easy_init();

    if (!curl)
        return FAULT(RETRY, "cannot start libcurl");
    alert_mail(&mail, mail_from, &mail_to, subject, body, time(NULL));
    struct upload upload = {text_str(&mail), mail.len};
    for (int i = 0; i < mail_to.count; i++)
        to = curl_slist_append(to, mail_to.items[i]);
    curl_easy_setopt(curl, CURLOPT_URL, smtp_url);
    /* a password never goes in the clear; without one, TLS is used where it is offered */
    curl_easy_setopt(curl, CURLOPT_USE_SSL, smtp_username ? (long)CURLUSESSL_ALL : (long)CURLUSESSL_TRY);
    if (smtp_username) {
        curl_easy_setopt(curl, CURLOPT_USERNAME, smtp_username);
        curl_easy_setopt(curl, CURLOPT_PASSWORD, smtp_password ? smtp_password : "");
    }
    curl_easy_setopt(curl, CURLOPT_MAIL_FROM, mail_from);
    curl_easy_setopt(curl, CURLOPT_MAIL_RCPT, to);
    curl_easy_setopt(curl, CURLOPT_READFUNCTION, on_upload);
    curl_easy_setopt(curl, CURLOPT_READDATA, &upload);
    curl_easy_setopt(curl, CURLOPT_UPLOAD, 1L);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT, 30L);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    CURLcode end = curl_easy_perform(curl);
    curl_slist_free_all(to);
    curl_easy_cleanup(curl);
    text_free(&mail);
    return end ? FAULT(RETRY, "a mail did not leave by SMTP_URL: %s", curl_easy_strerror(end)) : FAULT_OK;
}

static void on_posted(void *of, const struct http_response *res)
{
    struct fault *ret = of;

    if (res->end != HTTP_ANSWERED)
        *ret = FAULT(RETRY, "ALERT_POST_URL: %s", res->error);
    else if (res->status / 100 != 2)
        *ret = FAULT(RETRY, "ALERT_POST_URL: HTTP %d", res->status);
}

static struct fault post(struct loop *loop, const char *name, const char *subject, const char *state, const char *since, const char *words)
{
    static struct http *http;
    static struct http_request req;
    struct fault end = FAULT_OK;

    if (!http)
        TRY(http_open(&http, loop, 1, NULL));
    http_request_reset(&req, "POST", "");
    http_request_header(&req, "Content-Type", "application/json");
    text_puts(&req.body, "{\"text\":");
    text_json(&req.body, words);
    text_puts(&req.body, ",\"name\":");
    text_json(&req.body, name);
    text_puts(&req.body, ",\"subject\":");
    text_json(&req.body, subject);
    text_printf(&req.body, ",\"state\":\"%s\",\"since\":\"%s\"}", state, since);
    http_wait(http, post_url, &req, 15000, on_posted, &end);
    return end;
}

/* ---- the two ways by which it is told: each is tried by itself, so that one that is broken does not silence the other ---- */

enum { AGAIN_US = 60000000 };

static int64_t mail_again_us, post_again_us; /* before it nothing goes that way: something did not, just now */

/* Notes what became of it; true when it went. */
static bool went(int64_t *again_us, struct loop *loop, struct fault f)
{
    if (!f.kind)
        return true;
    log_about(LOG_WARN, "alerts", "%s; tried again in a minute", f.what);
    *again_us = loop_now(loop) + AGAIN_US;
    return false;
}

struct told {
    bool mailed, posted; /* or there is nobody to be told so */
};

static bool all_told(struct told t)
{
    return t.mailed && t.posted;
}

/* to: which ways it has gone before, and has gone then. */
static void tell(struct loop *loop, struct told *to, const char *name, const char *subject, const char *summary, const char *since, bool over)
{
    char words[160];
    struct text body = {0}, line = {0};

    snprintf(words, sizeof words, "Shelfwire: %s%s (%s)", over ? "over: " : "", name, subject);
    text_printf(&body, "%s\n\n%s\n%sSince %s.\n", summary, over ? "It is over." : alert_advice(name), over ? "" : "\n", since);
    if (page_url)
        text_printf(&body, "\n%s/\n", page_url);
    text_printf(&line, "%s: %s", words, summary);
    to->mailed |= !mail_to.count;
    to->posted |= !post_url;
    if (!to->posted && loop_now(loop) >= post_again_us)
        to->posted = went(&post_again_us, loop, post(loop, name, subject, over ? "over" : "firing", since, text_str(&line)));
    if (!to->mailed && loop_now(loop) >= mail_again_us)
        to->mailed = went(&mail_again_us, loop, send_mail(words, text_str(&body)));
    text_free(&body);
    text_free(&line);
}

/* The day's visits that want somebody, for a mail. */
static struct fault write_digest(PGconn *conn, struct text *to, int *ret_rows)
{
    SCOPED(PQclear) PGresult *rows = NULL;
    SCOPED(PQclear) PGresult *rest = NULL;

    TRY(pg_run(conn, &rows, "SELECT to_char(d.visit_at, 'HH24:MI'), d.kind, coalesce(a.booking_id, d.subject), coalesce(a.destination, ''), d.reason"
               " FROM desk d LEFT JOIN appts a"
               " ON a.appt_id = CASE WHEN d.subject ~ '^[0-9a-f]{8}-[0-9a-f-]{27}$' THEN d.subject::uuid END WHERE d.closed_at IS NULL"
               " AND d.visit_at >= date_trunc('day', now()) AND d.visit_at < date_trunc('day', now()) + interval '1 day' ORDER BY d.visit_at LIMIT 200",
               0, NULL));
    TRY(pg_run(conn, &rest, "SELECT (SELECT count(*) FROM desk WHERE closed_at IS NULL), (SELECT coalesce(sum(n), 0) FROM dead_letter_counts),"
               " (SELECT count(*) FROM appts WHERE wanted AND answer = 'made' AND starts_at >= date_trunc('day', now())"
               "  AND starts_at < date_trunc('day', now()) + interval '1 day')", 0, NULL));
    *ret_rows = PQntuples(rows);
    text_printf(to, "%s visits of today are registered at the gate; %d want somebody.\n\n", PQgetvalue(rest, 0, 2), *ret_rows);
    for (int r = 0; r < *ret_rows; r++)
        text_printf(to, "%s  %-14s booking %s, %s\n       %s\n", PQgetvalue(rows, r, 0), PQgetvalue(rows, r, 1), PQgetvalue(rows, r, 2),
                    PQgetvalue(rows, r, 3), PQgetvalue(rows, r, 4));
    text_printf(to, "\nThe desk list has %s rows in all; %s messages are set aside.\n", PQgetvalue(rest, 0, 0), PQgetvalue(rest, 0, 1));
    if (page_url)
        text_printf(to, "\n%s/desk\n", page_url);
    return FAULT_OK;
}

static struct fault tell_digest(PGconn *conn, struct loop *loop)
{
    static int last_day = -1; /* known to be told; PostgreSQL remembers it across a restart */
    SCOPED(PQclear) PGresult *res = NULL;
    time_t now = time(NULL);
    struct tm local;
    char day[16], subject[80];
    int rows = 0;

    localtime_r(&now, &local);
    if (digest_minute < 0 || !mail_to.count || loop_now(loop) < mail_again_us || local.tm_yday == last_day || local.tm_hour * 60 + local.tm_min < digest_minute)
        return FAULT_OK;
    strftime(day, sizeof day, "%Y-%m-%d", &local);
    TRY(pg_run(conn, &res, "SELECT 1 FROM producer_marks WHERE producer = 'monitor' AND mark = 'digest' AND value = $1", 1, (const char *const[]){day}));
    if (!PQntuples(res)) {
        struct text body = {0};
        struct fault f = write_digest(conn, &body, &rows);
        snprintf(subject, sizeof subject, "Shelfwire: today at the desk, %d", f.kind ? 0 : rows);
        bool mailed = !f.kind && went(&mail_again_us, loop, send_mail(subject, text_str(&body)));
        text_free(&body);
        if (!mailed)
            return f;
        TRY(pg_do(conn, "INSERT INTO producer_marks (producer, mark, value) VALUES ('monitor', 'digest', $1)"
                  " ON CONFLICT (producer, mark) DO UPDATE SET value = excluded.value, set_at = clock_timestamp()", day));
    }
    last_day = local.tm_yday;
    return FAULT_OK;
}

void alerts_of_database(struct loop *loop, const char *trouble)
{
    static int64_t since_us;
    static char since[32];
    static struct told begun, ended; /* of this absence */
    bool away = *trouble != '\0';

    if (away && !since_us) {
        time_t now = time(NULL);
        struct tm utc;
        strftime(since, sizeof since, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &utc));
        since_us = loop_now(loop);
        begun = ended = (struct told){0};
    }
    if (!since_us)
        return;
    if (away) {
        if (!all_told(begun) && loop_now(loop) - since_us >= seconds_of("DatabaseAway") * 1000000)
            tell(loop, &begun, "DatabaseAway", "PostgreSQL", trouble, since, false);
        return;
    }
    ended.mailed |= !begun.mailed; /* who has not heard of its beginning need not hear of its end */
    ended.posted |= !begun.posted;
    tell(loop, &ended, "DatabaseAway", "PostgreSQL", "PostgreSQL answers again", since, true);
    if (all_told(ended))
        since_us = 0;
}

/* $2, $3: whether it has been mailed, posted; $4: and so every way there is */
#define TOLD_SQL(end) \
    "UPDATE alerts SET " end "mailed_at = CASE WHEN $2::bool THEN coalesce(" end "mailed_at, clock_timestamp()) ELSE " end "mailed_at END," \
    " " end "posted_at = CASE WHEN $3::bool THEN coalesce(" end "posted_at, clock_timestamp()) ELSE " end "posted_at END," \
    " " end "told_at = CASE WHEN $4::bool THEN clock_timestamp() END WHERE alert_id = $1"

struct fault alerts_tell(PGconn *conn, struct loop *loop)
{
    SCOPED(PQclear) PGresult *rows = NULL;

    if (!(mail_to.count && loop_now(loop) >= mail_again_us) && !(post_url && loop_now(loop) >= post_again_us))
        return FAULT_OK;
    TRY(pg_run(conn, &rows, "SELECT alert_id, name, subject, summary, to_char(since AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'),"
               " ended_at IS NOT NULL, extract(epoch FROM clock_timestamp() - since)::bigint,"
               /* who has not heard of its beginning need not hear of its end */
               " CASE WHEN ended_at IS NULL THEN mailed_at IS NOT NULL ELSE end_mailed_at IS NOT NULL OR mailed_at IS NULL END,"
               " CASE WHEN ended_at IS NULL THEN posted_at IS NOT NULL ELSE end_posted_at IS NOT NULL OR posted_at IS NULL END FROM alerts"
               " WHERE (told_at IS NULL AND ended_at IS NULL) OR (ended_at IS NOT NULL AND end_told_at IS NULL) ORDER BY alert_id LIMIT 100", 0, NULL));
    for (int r = 0; r < PQntuples(rows); r++) {
        bool over = PQgetvalue(rows, r, 5)[0] == 't';
        struct told before = {PQgetvalue(rows, r, 7)[0] == 't', PQgetvalue(rows, r, 8)[0] == 't'}, now = before;
        SCOPED(PQclear) PGresult *done = NULL;
        if (!over && atoll(PQgetvalue(rows, r, 6)) < seconds_of(PQgetvalue(rows, r, 1)))
            continue;
        tell(loop, &now, PQgetvalue(rows, r, 1), PQgetvalue(rows, r, 2), PQgetvalue(rows, r, 3), PQgetvalue(rows, r, 4), over);
        if (now.mailed == before.mailed && now.posted == before.posted && !all_told(now))
            continue;
        const char *values[] = {PQgetvalue(rows, r, 0), now.mailed && mail_to.count ? "t" : "f",
                                now.posted && post_url ? "t" : "f", all_told(now) ? "t" : "f"};
        TRY(pg_run(conn, &done, over ? TOLD_SQL("end_") : TOLD_SQL(""), 4, values));
    }
    return tell_digest(conn, loop);
}

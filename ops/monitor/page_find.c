/* page_find.c - the timeline of whatever an id is of: a booking, a window, a request, a title, a person, a trace. */
#include "ops/monitor/pages.h"

#include "common/pg.h"
#include "common/scoped.h"
#include "ops/monitor/html.h"
#include "ops/monitor/verbs.h"

#include <string.h>

#define UUID_OF_Q "CASE WHEN $1 ~ '^[0-9a-fA-F]{8}-[0-9a-fA-F-]{27}$' THEN $1::uuid END"

/*
 * What the id is of: the subjects of its work. Each branch has an index, which is used because what is looked for is an array, and
 * of the database's own collation: an ISBN's is another, and would make it none of both.
 */
#define SUBJECTS                                                                                                                       \
    "people AS MATERIALIZED (SELECT primary_id FROM users WHERE primary_id = $1 UNION SELECT primary_id FROM users WHERE barcode = $1"      \
    " UNION SELECT primary_id FROM users WHERE emails @> ARRAY[lower($1)] UNION SELECT primary_id FROM asked_ids WHERE asked_id = upper($1)),"  \
    "asked AS MATERIALIZED (SELECT asked_id FROM asked_ids WHERE primary_id = ANY (ARRAY(SELECT primary_id FROM people)) UNION SELECT upper($1) UNION SELECT $1)," \
    "windows AS MATERIALIZED (SELECT appt_id FROM appts WHERE booking_id = $1 UNION SELECT appt_id FROM appts WHERE appt_id = " UUID_OF_Q        \
    " UNION SELECT appt_id FROM appts WHERE trace_id = lower($1) UNION SELECT appt_id FROM appts WHERE asked_id = ANY (ARRAY(SELECT asked_id FROM asked))" \
    " LIMIT 100),"                                                                                                                     \
    "asks AS MATERIALIZED (SELECT request_id FROM requests WHERE request_id = " UUID_OF_Q " UNION SELECT request_id FROM requests WHERE trace_id = lower($1)" \
    " UNION SELECT request_id FROM requests WHERE patron = $1 AND service IN ('folio', 'wise', 'oneclick') LIMIT 100),"                 \
    "subjects AS MATERIALIZED (SELECT appt_id::text AS subject FROM windows UNION SELECT request_id::text FROM asks"                    \
    " UNION SELECT isbn COLLATE \"default\" FROM titles WHERE isbn = replace($1, '-', '')"                                                                  \
    " UNION SELECT subject FROM dead_letters WHERE trace_id = lower($1) AND subject IS NOT NULL)"

const char page_find_sql[] =
    "WITH " SUBJECTS ", events AS ("
    "SELECT a.created_at AS at, 'wanted' AS what, a.appt_id::text AS subject, 'window' AS result,"
    " concat('from ', to_char(a.starts_at, 'YYYY-MM-DD HH24:MI'), ' to ', to_char(a.ends_at, 'HH24:MI'), ', ', a.destination, '; booking ', a.booking_id) AS words,"
    " NULL::int AS http_status, NULL::int AS duration_ms FROM appts a WHERE a.appt_id = ANY (ARRAY(SELECT appt_id FROM windows))"
    " UNION ALL SELECT a.unwanted_at, 'not wanted', a.appt_id::text, 'window', a.unwanted_reason, NULL, NULL FROM appts a"
    "  WHERE a.appt_id = ANY (ARRAY(SELECT appt_id FROM windows)) AND a.unwanted_at IS NOT NULL"
    " UNION ALL SELECT a.sent_at, 'sent to Kafka', a.appt_id::text, 'window', NULL, NULL, NULL FROM appts a"
    "  WHERE a.appt_id = ANY (ARRAY(SELECT appt_id FROM windows)) AND a.sent_at IS NOT NULL"
    " UNION ALL SELECT r.accepted_at, 'accepted', r.request_id::text, r.service || ' ' || r.action, 'asked by ' || r.caller, NULL, NULL FROM requests r"
    "  WHERE r.request_id = ANY (ARRAY(SELECT request_id FROM asks))"
    " UNION ALL SELECT r.answered_at, 'answered', r.request_id::text, r.state, concat_ws(': ', r.code, r.words), NULL, NULL FROM requests r"
    "  WHERE r.request_id = ANY (ARRAY(SELECT request_id FROM asks)) AND r.answered_at IS NOT NULL"
    " UNION ALL SELECT t.at, t.stage || ': ' || t.call, t.subject, t.verdict || ' ' || t.code, t.reason, t.http_status, t.duration_ms FROM attempts t"
    "  WHERE t.subject = ANY (ARRAY(SELECT subject FROM subjects))"
    " UNION ALL SELECT d.opened_at, 'on the desk', d.subject, d.kind, d.reason, NULL, NULL FROM desk d WHERE d.subject = ANY (ARRAY(SELECT subject FROM subjects))"
    " UNION ALL SELECT d.closed_at, 'off the desk', d.subject, d.kind, concat_ws(': ', 'by ' || d.closed_by, d.note), NULL, NULL FROM desk d"
    "  WHERE d.subject = ANY (ARRAY(SELECT subject FROM subjects)) AND d.closed_at IS NOT NULL"
    " UNION ALL SELECT l.at, 'set aside', l.subject, l.code, l.reason, NULL, NULL FROM dead_letters l WHERE l.subject = ANY (ARRAY(SELECT subject FROM subjects))"
    " UNION ALL SELECT t.changed_at, 'title', t.isbn, CASE WHEN t.owned THEN CASE WHEN t.available THEN 'available' WHEN t.available IS NULL THEN 'owned' ELSE 'not available' END ELSE 'not owned' END,"
    "  t.title, NULL, NULL FROM titles t WHERE t.isbn = replace($1, '-', ''))"
    "SELECT to_char(at, 'YYYY-MM-DD HH24:MI:SS.MS') AS at, what, subject, result, coalesce(words, '') AS words, http_status, duration_ms FROM events"
    " ORDER BY events.at, what LIMIT 1000";

static const char now_sql[] =
    "WITH " SUBJECTS " SELECT a.appt_id, a.booking_id, to_char(a.starts_at, 'YYYY-MM-DD HH24:MI') AS visit,"
    " a.destination, CASE WHEN NOT a.wanted THEN 'not wanted: ' || coalesce(a.unwanted_reason, '') WHEN a.answer IS NULL AND a.sent_at IS NULL THEN 'to be sent'"
    " WHEN a.answer IS NULL THEN 'under way' WHEN a.answer = 'made' THEN 'made: ' || coalesce(a.prereg_id, '') ELSE concat_ws(': ', a.answer, a.reason) END AS state,"
    " coalesce(a.trace_id, '') AS trace_id FROM appts a WHERE a.appt_id = ANY (ARRAY(SELECT appt_id FROM windows)) ORDER BY a.starts_at LIMIT 100";

static void show_now(struct web_request *r, const PGresult *rows)
{
    text_puts(r->out, "<h2>Windows</h2><table class=tall><thead><tr><th>visit<th>booking<th>destination<th>how it stands<th>window and trace</thead><tbody>");
    for (int i = 0; i < PQntuples(rows); i++) {
        text_puts(r->out, "<tr>");
        page_column(r, "t", "visit", rows, i, 2);
        page_column(r, "wrap", "booking", rows, i, 1);
        page_column(r, "", "destination", rows, i, 3);
        page_column(r, "wrap", "how it stands", rows, i, 4);
        text_puts(r->out, "<td class=\"wrap small\" data-of=\"window, trace\"><span><code>");
        page_cell(r, rows, i, 0);
        text_puts(r->out, "</code><br><code class=faint>");
        page_cell(r, rows, i, 5);
        text_puts(r->out, "</code></span>");
    }
    text_puts(r->out, "</table>");
}

static void show_events(struct web_request *r, const PGresult *rows)
{
    static const struct {
        int at;
        const char *class, *of;
    } columns[] = {{0, "t", "when"}, {1, "wrap", "what"}, {3, "wrap", "came of it"}, {4, "wrap", "in words"}, {5, "n", "HTTP"}, {6, "n", "ms"},
                   {2, "wrap small faint", "of"}};

    text_puts(r->out, "<h2>What happened</h2><table class=tall><thead><tr><th>when<th>what<th>came of it<th>in words<th class=n>HTTP<th class=n>ms<th>of</thead><tbody>");
    for (int i = 0; i < PQntuples(rows); i++) {
        text_puts(r->out, "<tr>");
        for (size_t c = 0; c < COUNT(columns); c++)
            page_column(r, columns[c].class, columns[c].of, rows, i, columns[c].at);
    }
    text_puts(r->out, "</table>");
}

void page_find(struct web_request *r)
{
    const char *q = web_field(r, "q");
    const char *const values[] = {q};

    if (*q && r->conn) { /* who looked for whom is remembered */
        struct fault f = verb_note(r->conn, *r->who ? r->who : "not said", "find", q, r->json ? "json" : "");
        if (f.kind) {
            page_trouble(r, 503, "nothing is shown that cannot be recorded: %s", f.what);
            return;
        }
    }
    if (r->json) {
        if (*q)
            page_json(r, "events", page_find_sql, 1, values);
        else
            page_trouble(r, 400, "q is missing: an id");
        return;
    }
    page_begin(r, "Find", "/find");
    text_puts(r->out, "<form class=wide action=/find role=search><label>booking, request, ISBN, person (id, card or e-mail), window or trace id <input name=q size=44 maxlength=200 required value=\"");
    html_text(r->out, q);
    text_puts(r->out, "\"></label><button>Find</button></form><p class=\"faint small\">Who looks for what is recorded.</p>");
    if (*q) {
        SCOPED(PQclear) PGresult *now = page_rows(r, false, now_sql, 1, values);
        SCOPED(PQclear) PGresult *rows = now ? page_rows(r, false, page_find_sql, 1, values) : NULL;
        if (now && PQntuples(now))
            show_now(r, now);
        if (rows && PQntuples(rows))
            show_events(r, rows);
        if (rows && !PQntuples(rows))
            text_puts(r->out, "<p>Nothing is known by that id: it was never seen, or it is older than what is kept.</p>");
    }
    page_end(r);
}

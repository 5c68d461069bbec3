/* page_dead_letters.c - what was set aside: how much of what, one by one, and one with its content. */
#include "ops/monitor/pages.h"

#include "common/pg.h"
#include "common/scoped.h"
#include "ops/monitor/html.h"
#include "ops/monitor/verbs.h"

#include <string.h>

enum { SHOWN_MAX = 16384 }; /* bytes of a content */

static const char list_sql[] =
    "SELECT dead_letter_id AS id, to_char(at, 'YYYY-MM-DD HH24:MI:SS') AS at, topic, code, reason, coalesce(subject, '') AS subject, state,"
    " coalesce(concat_ws(': ', decided_by, nullif(why, '')), '') AS decided FROM dead_letters"
    " WHERE (CASE WHEN $3 = 'decided' THEN state <> 'open' ELSE state = 'open' END) AND ($1 = '' OR topic = $1) AND ($2 = '' OR code = $2)"
    " AND ($4 = '' OR (at, dead_letter_id) < (SELECT at, dead_letter_id FROM dead_letters WHERE dead_letter_id = nullif($4, '')::bigint))"
    " ORDER BY dead_letters.at DESC, dead_letter_id DESC LIMIT 50";

/* Without OR, so that the index of the open ones is walked from its end, whatever the choice. */
static const char open_sql[] =
    "SELECT dead_letter_id AS id, to_char(at, 'YYYY-MM-DD HH24:MI:SS') AS at, topic, code, reason, coalesce(subject, '') AS subject, state,"
    " '' AS decided FROM dead_letters WHERE state = 'open' AND (at, dead_letter_id) < "
    "(coalesce((SELECT at FROM dead_letters WHERE dead_letter_id = nullif($1, '')::bigint), 'infinity'), coalesce(nullif($1, '')::bigint, 9223372036854775807))"
    " ORDER BY dead_letters.at DESC, dead_letter_id DESC LIMIT 50";

static void show_kinds(struct web_request *r)
{
    SCOPED(PQclear) PGresult *kinds = page_rows(r, false, "SELECT topic, code, n FROM dead_letter_counts WHERE n > 0 ORDER BY topic, n DESC", 0, NULL);
    SCOPED(PQclear) PGresult *left = page_rows(r, false, "SELECT count(*) FROM dead_letters WHERE state = 'replaying'", 0, NULL);

    if (!kinds || !left)
        return;
    if (strcmp(PQgetvalue(left, 0, 0), "0") != 0)
        text_printf(r->out, "<p class=said>%s wait to be sent again.</p>", PQgetvalue(left, 0, 0));
    if (!PQntuples(kinds)) {
        text_puts(r->out, "<p class=good>None is open.</p>");
        return;
    }
    text_puts(r->out, "<div class=scroll tabindex=0 role=region aria-label=\"By topic and reason\"><table><thead><tr><th>topic<th>reason<th class=n>open<th>all of them</thead><tbody>");
    for (int i = 0; i < PQntuples(kinds); i++) {
        text_puts(r->out, "<tr><td>");
        page_cell(r, kinds, i, 0);
        text_puts(r->out, "<td><a href=\"/dead-letters?topic=");
        html_query(r->out, PQgetvalue(kinds, i, 0));
        text_puts(r->out, "&amp;code=");
        html_query(r->out, PQgetvalue(kinds, i, 1));
        text_puts(r->out, "\">");
        page_cell(r, kinds, i, 1);
        text_printf(r->out, "</a><td class=n>%s<td>", PQgetvalue(kinds, i, 2));
        for (int v = 0; v < 2; v++) {
            page_question(r, v ? "discard" : "replay", "/dead-letters");
            text_puts(r->out, "<input type=hidden name=all value=1><input type=hidden name=topic value=\"");
            page_cell(r, kinds, i, 0);
            text_puts(r->out, "\"><input type=hidden name=code value=\"");
            page_cell(r, kinds, i, 1);
            text_printf(r->out, "\"><button>%s all…</button></form>", v ? "Discard" : "Replay");
        }
    }
    text_puts(r->out, "</table></div>");
}

static void show_rows(struct web_request *r, const PGresult *rows, bool open)
{
    static const char *const of[] = {"", "when", "topic", "why", "in words", "of", "state", "by"};

    if (open) {
        page_question(r, "replay", "/dead-letters");
        text_puts(r->out, "<label class=box><input type=checkbox id=all> all on this page</label><button>Replay the chosen…</button>"
                          "<button formaction=\"/do/discard\">Discard the chosen…</button>");
    }
    text_puts(r->out, "<table class=tall><thead><tr><th><span class=skip>chosen</span><th>when<th>topic<th>why<th>in words<th>of<th>state</thead><tbody>");
    for (int i = 0; i < PQntuples(rows); i++) {
        text_puts(r->out, "<tr><td>");
        if (open)
            text_printf(r->out, "<input type=checkbox name=id value=%s aria-label=\"dead letter %s\">", PQgetvalue(rows, i, 0), PQgetvalue(rows, i, 0));
        text_printf(r->out, "<td class=t data-of=when><a href=\"/dead-letters/%s\">%s</a>", PQgetvalue(rows, i, 0), PQgetvalue(rows, i, 1));
        for (int c = 2; c < 7; c++)
            page_column(r, "wrap", of[c], rows, i, c);
        if (!open) {
            text_puts(r->out, " ");
            page_cell(r, rows, i, 7);
        }
    }
    text_puts(r->out, open ? "</table></form>" : "</table>");
}

static void show_more(struct web_request *r, const PGresult *rows, const char *const values[4])
{
    if (PQntuples(rows) < 50)
        return;
    text_puts(r->out, "<p><a href=\"/dead-letters?topic=");
    html_query(r->out, values[0]);
    text_puts(r->out, "&amp;code=");
    html_query(r->out, values[1]);
    text_puts(r->out, "&amp;state=");
    html_query(r->out, values[2]);
    text_printf(r->out, "&amp;before=%s\">Older ones</a></p>", PQgetvalue(rows, 49, 0));
}

void page_dead_letters(struct web_request *r)
{
    const char *before = web_field(r, "before");
    bool decided = !strcmp(web_field(r, "state"), "decided");
    const char *const values[] = {web_field(r, "topic"), web_field(r, "code"), decided ? "decided" : "open", before};
    bool plain = !decided && !*values[0] && !*values[1];

    if (strspn(before, "0123456789") != strlen(before) || strlen(before) > 18) {
        page_trouble(r, 400, "before: want a number");
        return;
    }
    if (r->json) {
        page_json(r, "dead_letters", plain ? open_sql : list_sql, plain ? 1 : 4, plain ? values + 3 : values);
        return;
    }
    page_begin(r, decided ? "Dead letters, dealt with" : "Dead letters", "/dead-letters");
    text_puts(r->out, decided ? "<p><a href=/dead-letters>Those that are open</a></p>" : "<p><a href=\"/dead-letters?state=decided\">Those that were dealt with</a></p>");
    if (!decided)
        show_kinds(r);
    SCOPED(PQclear) PGresult *rows = page_rows(r, false, plain ? open_sql : list_sql, plain ? 1 : 4, plain ? values + 3 : values);
    if (rows && PQntuples(rows)) {
        text_puts(r->out, "<h2>One by one, the latest first</h2>");
        show_rows(r, rows, !decided);
        show_more(r, rows, values);
    }
    page_end(r);
}

static void show_content(struct web_request *r, const char *title, const PGresult *row, int column)
{
    size_t len = 0;

    text_printf(r->out, "<h2>%s</h2>", title);
    if (PQgetisnull(row, 0, column)) {
        text_puts(r->out, "<p class=faint>null</p>");
        return;
    }
    unsigned char *bytes = PQunescapeBytea((const unsigned char *)PQgetvalue(row, 0, column), &len);
    text_puts(r->out, "<pre tabindex=0>");
    html_bytes(r->out, (const char *)bytes, len < SHOWN_MAX ? len : SHOWN_MAX);
    text_puts(r->out, "</pre>");
    if (len > SHOWN_MAX)
        text_printf(r->out, "<p class=faint>the first %d of %zu bytes</p>", SHOWN_MAX, len);
    PQfreemem(bytes);
}

void page_dead_letter(struct web_request *r, const char *id)
{
    static const char sql[] =
        "SELECT dead_letter_id, dlq, dlq_partition, dlq_offset, topic, to_char(at, 'YYYY-MM-DD HH24:MI:SS'), reason, substr(key, 1, 17000),"
        " value, coalesce(trace_id, ''), coalesce(subject, ''), state, coalesce(decided_by, ''), coalesce(why, '') FROM dead_letters WHERE dead_letter_id = $1::bigint";

    if (!*id || strspn(id, "0123456789") != strlen(id) || strlen(id) > 18) {
        page_trouble(r, 404, "a dead letter has a number");
        return;
    }
    if (r->json) {
        page_json(r, "dead_letters", "SELECT dead_letter_id AS id, dlq, dlq_partition, dlq_offset, topic, at, code, reason, encode(key, 'base64') AS key,"
                  " encode(value, 'base64') AS value, trace_id, subject, state, decided_by, why FROM dead_letters WHERE dead_letter_id = $1::bigint", 1,
                  (const char *const[]){id});
        return;
    }
    SCOPED(PQclear) PGresult *row = page_rows(r, true, sql, 1, (const char *const[]){id});
    if (!row)
        return;
    if (!PQntuples(row)) {
        page_trouble(r, 404, "there is no such dead letter");
        return;
    }
    struct fault f = verb_note(r->conn, *r->who ? r->who : "not said", "dead letter", id, "");
    if (f.kind) {
        page_trouble(r, 503, "nothing is shown that cannot be recorded: %s", f.what);
        return;
    }
    page_begin(r, "A dead letter", "/dead-letters");
    static const char *const names[] = {"number", "dead letters", "partition", "offset", "topic", "set aside", "why", NULL, NULL, "trace", "of", "state", "by", "because"};
    text_puts(r->out, "<div class=card><dl>");
    for (int c = 0; c < (int)COUNT(names); c++)
        if (names[c] && *PQgetvalue(row, 0, c)) {
            text_printf(r->out, "<dt>%s<dd>", names[c]);
            page_cell(r, row, 0, c);
        }
    text_puts(r->out, "</dl></div>");
    if (!strcmp(PQgetvalue(row, 0, 11), "open"))
        for (int v = 0; v < 2; v++) {
            page_question(r, v ? "discard" : "replay", "/dead-letters");
            text_printf(r->out, "<input type=hidden name=id value=%s><button>%s…</button></form>", PQgetvalue(row, 0, 0), v ? "Discard" : "Replay");
        }
    show_content(r, "Key", row, 7);
    show_content(r, "Value", row, 8);
    page_end(r);
}

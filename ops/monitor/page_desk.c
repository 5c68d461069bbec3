/* page_desk.c - what wants a person, soonest visit first, with the verbs that fit each kind. */
#include "ops/monitor/pages.h"

#include "common/pg.h"
#include "common/scoped.h"
#include "ops/monitor/html.h"

#include <string.h>

#define SUBJECT_UUID "CASE WHEN d.subject ~ '^[0-9a-f]{8}-[0-9a-f-]{27}$' THEN d.subject::uuid END"

static const char desk_sql[] =
    "SELECT d.desk_id, d.kind, d.reason, to_char(d.visit_at, 'YYYY-MM-DD HH24:MI') AS visit_at, to_char(d.opened_at, 'YYYY-MM-DD HH24:MI') AS opened_at,"
    " d.subject, a.appt_id IS NOT NULL AS is_window, coalesce(a.booking_id, '') AS booking_id, coalesce(a.destination, '') AS destination,"
    " coalesce(a.answer, '') AS answer, coalesce(a.prereg_id, '') AS prereg_id"
    " FROM (SELECT * FROM desk WHERE closed_at IS NULL AND ($1 = '' OR kind = $1) ORDER BY visit_at NULLS LAST, desk_id LIMIT 200) AS d"
    " LEFT JOIN appts a ON a.appt_id = " SUBJECT_UUID " ORDER BY d.visit_at NULLS LAST, d.desk_id";

enum { D_ID, D_KIND, D_REASON, D_VISIT, D_OPENED, D_SUBJECT, D_WINDOW, D_BOOKING, D_DESTINATION, D_ANSWER, D_PREREG };

static bool is_kind(const PGresult *rows, int i, const char *const *kinds)
{
    for (; *kinds; kinds++)
        if (!strcmp(PQgetvalue(rows, i, D_KIND), *kinds))
            return true;
    return false;
}

static void hidden(struct web_request *r, const char *name, const PGresult *rows, int i, int column)
{
    text_printf(r->out, "<input type=hidden name=%s value=\"", name);
    page_cell(r, rows, i, column);
    text_puts(r->out, "\">");
}

/* extra: a field for the person to fill in, or "". */
static void act(struct web_request *r, const char *verb, const char *name, const PGresult *rows, int i, int column, const char *extra)
{
    page_form(r, verb, "/desk");
    if (name)
        hidden(r, name, rows, i, column);
    text_puts(r->out, extra);
    page_button(r, verb);
    text_puts(r->out, "</form>");
}

static void show_verbs(struct web_request *r, const PGresult *rows, int i)
{
    static const char *const asks[] = {"no_card", "unknown_id", "expired", "blocked", "email_differs", "two_visitors", "no_category", "refused", "set_aside", NULL};
    static const char *const refusable[] = {"no_card", "unknown_id", "expired", "blocked", "email_differs", NULL};
    static const char *const unknown[] = {"unknown", NULL};
    static const char *const requests[] = {"request_set_aside", NULL};
    static const char *const restored[] = {"restored", NULL};
    static const char note[] = "<label>note <input name=note maxlength=200></label>";
    bool window = PQgetvalue(rows, i, D_WINDOW)[0] == 't';

    text_puts(r->out, "<details id=\"desk-");
    page_cell(r, rows, i, D_ID);
    text_puts(r->out, "\"><summary>act</summary>");
    if (window && is_kind(rows, i, unknown)) {
        act(r, "made", "appt_id", rows, i, D_SUBJECT, "<label>its id at the gate <input name=prereg_id required maxlength=60></label>");
        act(r, "not-made", "appt_id", rows, i, D_SUBJECT, "");
    }
    if (window && is_kind(rows, i, asks))
        act(r, "ask-again", "appt_id", rows, i, D_SUBJECT, "");
    if (window && is_kind(rows, i, refusable))
        act(r, "refuse", "appt_id", rows, i, D_SUBJECT, note);
    if (is_kind(rows, i, requests))
        act(r, "request-again", "request_id", rows, i, D_SUBJECT, "");
    if (is_kind(rows, i, restored))
        act(r, "restored", NULL, rows, i, D_SUBJECT, "");
    act(r, "done", "desk_id", rows, i, D_ID, note);
    text_puts(r->out, "</details>");
}

static void show_rows(struct web_request *r, const PGresult *rows)
{
    text_puts(r->out, "<table class=tall><thead><tr><th>visit<th>kind<th>booking<th>what to know<th>on the list since<th>what to do</thead><tbody>");
    for (int i = 0; i < PQntuples(rows); i++) {
        text_puts(r->out, "<tr>");
        page_column(r, "t", "visit", rows, i, D_VISIT);
        page_column(r, "", "kind", rows, i, D_KIND);
        text_puts(r->out, "<td class=wrap data-of=booking><span><a href=\"/find?q=");
        html_query(r->out, *PQgetvalue(rows, i, D_BOOKING) ? PQgetvalue(rows, i, D_BOOKING) : PQgetvalue(rows, i, D_SUBJECT));
        text_puts(r->out, "\">");
        page_cell(r, rows, i, *PQgetvalue(rows, i, D_BOOKING) ? D_BOOKING : D_SUBJECT);
        text_puts(r->out, "</a> <span class=\"faint small\">");
        page_cell(r, rows, i, D_DESTINATION);
        text_puts(r->out, "</span></span>");
        page_column(r, "wrap", "to know", rows, i, D_REASON);
        page_column(r, "t faint", "since", rows, i, D_OPENED);
        text_puts(r->out, "<td data-of=\"to do\"><div>");
        show_verbs(r, rows, i);
        text_puts(r->out, "</div>");
    }
    text_puts(r->out, "</table>");
}

static void show_kinds(struct web_request *r)
{
    SCOPED(PQclear) PGresult *kinds =
        page_rows(r, false, "SELECT kind, count(*), sum(count(*)) OVER () FROM desk WHERE closed_at IS NULL GROUP BY kind ORDER BY 2 DESC, 1", 0, NULL);

    if (!kinds || !PQntuples(kinds))
        return;
    text_printf(r->out, "<p><a href=/desk>all %s</a>", PQgetvalue(kinds, 0, 2));
    for (int i = 0; i < PQntuples(kinds); i++) {
        text_puts(r->out, " · <a href=\"/desk?kind=");
        html_query(r->out, PQgetvalue(kinds, i, 0));
        text_puts(r->out, "\">");
        page_cell(r, kinds, i, 0);
        text_printf(r->out, " %s</a>", PQgetvalue(kinds, i, 1));
    }
    text_puts(r->out, "</p>");
}

void page_desk(struct web_request *r)
{
    const char *const kind[] = {web_field(r, "kind")};

    if (r->json) {
        page_json(r, "desk", desk_sql, 1, kind);
        return;
    }
    page_begin(r, "Desk", "/desk");
    show_kinds(r);
    SCOPED(PQclear) PGresult *rows = page_rows(r, false, desk_sql, 1, kind);
    if (rows && !PQntuples(rows))
        text_puts(r->out, "<p class=good>Nothing wants a person. Rows come here by themselves, and go when their cause is gone.</p>");
    else if (rows)
        show_rows(r, rows);
    if (rows && PQntuples(rows) == 200)
        text_puts(r->out, "<p class=faint>The soonest 200; the others come up as these are dealt with, or by their kind above.</p>");
    page_end(r);
}

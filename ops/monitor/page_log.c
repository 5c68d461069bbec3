/* page_log.c - who did what, and who looked for whom. */
#include "ops/monitor/pages.h"

#include "common/pg.h"
#include "common/scoped.h"

static const char log_sql[] =
    "SELECT to_char(at, 'YYYY-MM-DD HH24:MI:SS') AS at, who, verb, about, coalesce(note, '') AS note FROM monitor_log"
    " WHERE at < coalesce(nullif($1, '')::timestamptz, 'infinity') ORDER BY monitor_log.at DESC LIMIT 200";

void page_log(struct web_request *r)
{
    static const char *const of[] = {"when", "who", "what", "about", "note"};
    const char *const none[] = {""};

    if (r->json) {
        page_json(r, "log", log_sql, 1, none);
        return;
    }
    page_begin(r, "Log", "/log");
    text_puts(r->out, "<p class=faint>The last 200 things that somebody did or looked up here or on the command line.</p>");
    SCOPED(PQclear) PGresult *rows = page_rows(r, false, log_sql, 1, none);
    if (rows && PQntuples(rows)) {
        text_puts(r->out, "<table class=tall><thead><tr><th>when<th>who<th>what<th>about<th>note</thead><tbody>");
        for (int i = 0; i < PQntuples(rows); i++) {
            text_puts(r->out, "<tr>");
            for (int c = 0; c < 5; c++)
                page_column(r, c ? "wrap" : "t", of[c], rows, i, c);
        }
        text_puts(r->out, "</table>");
    }
    page_end(r);
}

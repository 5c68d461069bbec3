/* pages.c - what the pages share */
#include "ops/monitor/pages.h"

#include "common/pg.h"
#include "common/scoped.h"
#include "ops/monitor/html.h"
#include "ops/monitor/verbs.h"

#include <microhttpd.h>
#include <string.h>

void page_begin(struct web_request *r, const char *title, const char *current)
{
    static const char *const places[][2] = {
        {"/", "Overview"}, {"/desk", "Desk"}, {"/dead-letters", "Dead letters"}, {"/find", "Find"}, {"/log", "Log"}};

    text_clear(r->out);
    text_puts(r->out, "<!doctype html><html lang=en><head><meta charset=utf-8><meta name=viewport content=\"width=device-width, initial-scale=1\">"
                      "<meta name=color-scheme content=\"light dark\"><title>");
    html_text(r->out, title);
    text_puts(r->out, " · Shelfwire</title><link rel=icon href=/icon.svg><link rel=stylesheet href=/style.css><script src=/page.js defer></script>");
    if (!strcmp(current, "/"))
        text_puts(r->out, "<noscript><meta http-equiv=refresh content=15></noscript>");
    text_puts(r->out, "</head><body><a class=skip href=#main>To the content</a><header><b>Shelfwire</b><nav aria-label=Pages>");
    for (size_t i = 0; i < COUNT(places); i++)
        text_printf(r->out, "<a href=\"%s\"%s>%s</a>", places[i][0], strcmp(places[i][0], current) ? "" : " aria-current=page", places[i][1]);
    /* who looks at a list wants to see it change; who looks something up has found it (page.js) */
    bool again = !strcmp(r->method, "GET") && !strcmp(r->path, current) && strcmp(current, "/find") != 0;
    text_printf(r->out, "</nav></header><main id=main tabindex=-1%s><h1>", again ? " data-again" : "");
    html_text(r->out, title);
    text_puts(r->out, "</h1>");
    if (*web_field(r, "said")) {
        text_puts(r->out, "<p class=said role=status>");
        html_text(r->out, web_field(r, "said"));
        text_puts(r->out, "</p>");
    }
}

void page_end(struct web_request *r)
{
    const char *zone = r->conn ? PQparameterStatus(r->conn, "TimeZone") : NULL;

    text_puts(r->out, "</main><footer class=\"faint small\">");
    if (zone) {
        text_puts(r->out, "Times are those of ");
        html_text(r->out, zone);
        text_puts(r->out, " (TZ). ");
    }
    text_puts(r->out, "Shelfwire " SHELFWIRE_VERSION "</footer></body></html>");
}

void page_trouble(struct web_request *r, int status, const char *format, ...)
{
    char words[400];
    va_list args;

    va_start(args, format);
    vsnprintf(words, sizeof words, format, args);
    va_end(args);
    r->status = status;
    text_clear(r->out);
    if (r->json) {
        r->type = "application/json";
        text_puts(r->out, "{\"error\":");
        text_json(r->out, words);
        text_puts(r->out, "}\n");
        return;
    }
    page_begin(r, status == MHD_HTTP_NOT_FOUND ? "Not found" : "That did not go well", "");
    text_puts(r->out, "<p class=bad role=alert>");
    html_text(r->out, words);
    text_puts(r->out, "</p>");
    page_end(r);
}

PGresult *page_rows(struct web_request *r, bool alone, const char *sql, int params, const char *const *values)
{
    PGresult *res = NULL;
    struct fault f = r->conn ? pg_run(r->conn, &res, sql, params, values) : FAULT(RETRY, "%s", r->database_trouble);

    if (!f.kind)
        return res;
    if (alone) {
        page_trouble(r, MHD_HTTP_SERVICE_UNAVAILABLE, "PostgreSQL does not tell: %s", f.what);
    } else {
        text_puts(r->out, "<p class=bad role=alert>PostgreSQL does not tell: ");
        html_text(r->out, f.what);
        text_puts(r->out, "</p>");
    }
    return NULL;
}

void page_json(struct web_request *r, const char *name, const char *sql, int params, const char *const *values)
{
    struct text whole = {0};

    text_printf(&whole, "SELECT coalesce(json_agg(row_to_json(it)), '[]')::text FROM (%s) AS it", sql);
    SCOPED(PQclear) PGresult *res = page_rows(r, true, text_str(&whole), params, values);
    text_free(&whole);
    if (!res)
        return;
    r->type = "application/json";
    text_printf(r->out, "{\"%s\":", name);
    text_puts(r->out, PQgetvalue(res, 0, 0));
    text_puts(r->out, "}\n");
}

void page_question(struct web_request *r, const char *verb, const char *back)
{
    text_printf(r->out, "<form method=post action=\"/do/%s\"><input type=hidden name=token value=\"%s\"><input type=hidden name=back value=\"", verb,
                web_token());
    html_text(r->out, back);
    text_puts(r->out, "\">");
}

void page_form(struct web_request *r, const char *verb, const char *back)
{
    page_question(r, verb, back);
    if (r->who_known)
        return;
    text_puts(r->out, "<label>your name <input name=who required maxlength=60 autocomplete=name value=\"");
    html_text(r->out, r->who);
    text_puts(r->out, "\"></label>");
}

void page_cell(struct web_request *r, const PGresult *rows, int row, int column)
{
    html_bytes(r->out, PQgetvalue(rows, row, column), (size_t)PQgetlength(rows, row, column));
}

void page_column(struct web_request *r, const char *class, const char *of, const PGresult *rows, int row, int column)
{
    text_printf(r->out, "<td class=\"%s\" data-of=\"%s\">", class, of);
    page_cell(r, rows, row, column);
}

void page_button(struct web_request *r, const char *verb)
{
    text_printf(r->out, "<button>%s</button>", verb_of(verb)->label);
}

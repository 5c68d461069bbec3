#include "ops/monitor/pages.h"

#include "common/pg.h"
#include "common/scoped.h"
#include "ops/monitor/assets.h"
#include "ops/monitor/html.h"
#include "ops/monitor/verbs.h"

#include <microhttpd.h>
#include <string.h>

/* ---- what the pages share ---- */

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

/* ---- what each path is ---- */

static const struct {
    const char *path;
    web_page *page;
} routes[] = {
    {"/", page_overview}, {"/overview", page_overview}, {"/desk", page_desk}, {"/find", page_find}, {"/dead-letters", page_dead_letters},
    {"/log", page_log},
};

static const struct {
    const char *path, *type, *from, *end;
} assets[] = {
    {"/style.css", "text/css", asset_style, asset_style_end},
    {"/page.js", "text/javascript", asset_script, asset_script_end},
    {"/icon.svg", "image/svg+xml", asset_icon, asset_icon_end},
};

void pages_answer(struct web_request *r)
{
    bool post = !strcmp(r->method, "POST");

    if (post && !strncmp(r->path, "/do/", 4)) {
        page_do(r, r->path + 4);
        return;
    }
    if (post) {
        page_trouble(r, MHD_HTTP_METHOD_NOT_ALLOWED, "this page is only looked at");
        return;
    }
    for (size_t i = 0; i < COUNT(routes); i++)
        if (!strcmp(r->path, routes[i].path)) {
            routes[i].page(r);
            return;
        }
    for (size_t i = 0; i < COUNT(assets); i++)
        if (!strcmp(r->path, assets[i].path)) {
            r->type = assets[i].type;
            r->lasting = true;
            text_add(r->out, assets[i].from, (size_t)(assets[i].end - assets[i].from));
            return;
        }
    if (!strncmp(r->path, "/dead-letters/", 14))
        page_dead_letter(r, r->path + 14);
    else
        page_trouble(r, MHD_HTTP_NOT_FOUND, "there is nothing here; the pages are named above");
}

/* ---- verbs ---- */

/* Chosen rows, as an array literal of numbers; false: one is none. */
static bool read_ids(const struct web_request *r, struct text *to)
{
    text_putc(to, '{');
    for (int i = 0; i < r->field_count; i++) {
        const char *value = r->fields[i].value;
        if (strcmp(r->fields[i].name, "id") != 0)
            continue;
        if (!*value || strspn(value, "0123456789") != strlen(value) || strlen(value) > 18)
            return false;
        text_printf(to, "%s%s", to->len > 1 ? "," : "", value);
    }
    text_putc(to, '}');
    return true;
}

/* How many it would be, before it is done: of dead letters, where a click may mean a hundred thousand. */
static bool ask_first(struct web_request *r, const struct verb *v, const char *ids)
{
    bool of_letters = !strcmp(v->name, "replay") || !strcmp(v->name, "discard");
    const char *topic = web_field(r, "topic"), *code = web_field(r, "code");

    if (!of_letters || *web_field(r, "sure"))
        return false;
    SCOPED(PQclear) PGresult *res =
        page_rows(r, true, "SELECT count(*), to_char(min(at), 'YYYY-MM-DD HH24:MI'), to_char(max(at), 'YYYY-MM-DD HH24:MI') FROM dead_letters"
                  " WHERE state = 'open' AND ($1 = '' OR dead_letter_id = ANY (nullif($1, '')::bigint[])) AND ($2 = '' OR topic = $2)"
                  " AND ($3 = '' OR code = $3)", 3, (const char *const[]){ids, topic, code});
    if (!res)
        return true;
    page_begin(r, !strcmp(v->name, "replay") ? "Replay dead letters?" : "Discard dead letters?", "/dead-letters");
    text_printf(r->out, "<p><b>%s</b> dead letters", PQgetvalue(res, 0, 0));
    if (*topic) {
        text_puts(r->out, " of <code>");
        html_text(r->out, topic);
        text_puts(r->out, "</code>");
    }
    if (*code) {
        text_puts(r->out, ", for the reason <code>");
        html_text(r->out, code);
        text_puts(r->out, "</code>");
    }
    text_printf(r->out, ", set aside from %s to %s.</p>", PQgetvalue(res, 0, 1), PQgetvalue(res, 0, 2));
    text_puts(r->out, !strcmp(v->name, "replay")
                          ? "<p>They go to their topics again, at the rate of REPLAY_PER_SECOND. What was done meanwhile is not done again.</p>"
                          : "<p>They stay here, marked, and in Kafka; nothing is done about them any more.</p>");
    page_form(r, v->name, web_field(r, "back"));
    text_puts(r->out, "<input type=hidden name=sure value=1>");
    for (int i = 0; i < r->field_count; i++)
        if (!strcmp(r->fields[i].name, "id"))
            text_printf(r->out, "<input type=hidden name=id value=%s>", r->fields[i].value); /* digits: read_ids */
    for (int i = 0; i < 2; i++) {
        text_printf(r->out, "<input type=hidden name=%s value=\"", i ? "code" : "topic");
        html_text(r->out, i ? code : topic);
        text_puts(r->out, "\">");
    }
    text_printf(r->out, "<label>why <input name=why maxlength=200 required></label><button>%s</button> <a href=/dead-letters>no</a></form>", v->label);
    page_end(r);
    return true;
}

/* Back to where the form was, with what came of it. Only to a path of ours. */
static void go_back(struct web_request *r, const char *said)
{
    const char *back = web_field(r, "back");
    struct text to = {0};
    size_t len = strlen(back);

    if (*back != '/' || back[1] == '/' || back[1] == '\\' || len > 200 || strcspn(back, "\r\n\\ \"<>") != len)
        back = "/desk";
    text_puts(&to, back);
    text_puts(&to, strchr(back, '?') ? "&said=" : "?said=");
    text_percent(&to, said);
    text_copy(r->location, sizeof r->location, text_str(&to));
    text_free(&to);
    r->status = MHD_HTTP_SEE_OTHER;
    text_clear(r->out);
}

void page_do(struct web_request *r, const char *name)
{
    const struct verb *v = verb_of(name);
    const char *values[VERB_FIELDS] = {0};
    struct text ids = {0};
    char said[200] = "";

    if (!v) {
        page_trouble(r, MHD_HTTP_NOT_FOUND, "there is no such verb");
        return;
    }
    if (!r->conn) {
        page_trouble(r, MHD_HTTP_SERVICE_UNAVAILABLE, "PostgreSQL is not there, so nothing was done: %s", r->database_trouble);
        return;
    }
    struct fault f = read_ids(r, &ids) ? FAULT_OK : FAULT(REJECT, "id: want numbers");
    if (ids.len <= 2) /* none was chosen */
        text_clear(&ids);
    for (int i = 0; i < VERB_FIELDS && v->fields[i]; i++)
        values[i] = web_field(r, v->fields[i] + (*v->fields[i] == '?'));
    if (v->fields[0] && !strcmp(v->fields[0], "?ids")) {
        values[0] = text_str(&ids);
        if (!f.kind && !ids.len && !*web_field(r, "all"))
            f = FAULT(REJECT, "no dead letter was chosen");
    }
    if (!f.kind && ask_first(r, v, text_str(&ids))) {
        text_free(&ids);
        return;
    }
    if (!f.kind)
        f = verb_do(r->conn, v, values, r->who, false, said);
    text_free(&ids);
    if (f.kind)
        page_trouble(r, f.kind == FAULT_REJECT ? MHD_HTTP_BAD_REQUEST : MHD_HTTP_SERVICE_UNAVAILABLE, "%s", f.what);
    else
        go_back(r, said);
}

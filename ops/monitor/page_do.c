/* page_do.c - what is posted: a verb (verbs.h), with a question first where a click may mean a hundred thousand */
#include "ops/monitor/pages.h"

#include "common/scoped.h"
#include "ops/monitor/html.h"
#include "ops/monitor/verbs.h"

#include <microhttpd.h>
#include <string.h>

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

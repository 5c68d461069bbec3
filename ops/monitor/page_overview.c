/* page_overview.c - everything at a glance. */
#include "ops/monitor/pages.h"

#include "common/pg.h"
#include "common/scoped.h"
#include "ops/monitor/alerts.h"
#include "ops/monitor/collect.h"
#include "ops/monitor/html.h"

#include <inttypes.h>
#include <string.h>
#include <time.h>

static void say_rate(struct text *to, double rate)
{
    if (rate < 0)
        text_puts(to, "not known yet");
    else
        text_printf(to, rate > 0.05 && rate < 10 ? "%.1f/s" : "%.0f/s", rate);
}

/* ---- alerts ---- */

static const char alerts_sql[] =
    "SELECT name, subject, summary, to_char(since, 'YYYY-MM-DD HH24:MI') AS since FROM alerts WHERE ended_at IS NULL ORDER BY since";

static void show_alerts(struct web_request *r, const struct picture *p)
{
    struct text *to = r->out;
    SCOPED(PQclear) PGresult *rows = page_rows(r, false, alerts_sql, 0, NULL);
    int n = rows ? PQntuples(rows) : 0;
    bool kafka_said = false;

    text_puts(to, "<h2>What wants somebody</h2><ul class=alerts>");
    for (int i = 0; i < n; i++) {
        kafka_said |= !strcmp(PQgetvalue(rows, i, 0), "KafkaAway");
        text_puts(to, "<li class=alert><b>");
        page_cell(r, rows, i, 0);
        text_puts(to, "</b>");
        page_cell(r, rows, i, 2);
        text_puts(to, " <span class=\"faint small\">since ");
        page_cell(r, rows, i, 3);
        text_puts(to, "</span><br><span class=small>");
        html_text(to, alert_advice(PQgetvalue(rows, i, 0)));
        text_puts(to, "</span>");
        if (!strcmp(PQgetvalue(rows, i, 0), "DatabaseRestored")) {
            text_puts(to, "<br>");
            page_form(r, "restored", "/");
            page_button(r, "restored");
            text_puts(to, "</form>");
        }
        text_puts(to, "</li>");
    }
    if (*p->kafka_trouble && !kafka_said) {
        text_puts(to, "<li class=alert><b>Kafka</b>");
        html_text(to, p->kafka_trouble);
        text_puts(to, "</li>");
    }
    text_puts(to, "</ul>");
    if (rows && !n && !*p->kafka_trouble)
        text_puts(to, "<p class=good>Nothing: all is well.</p>");
}

/* ---- chains ---- */

static const struct instance *instance_of(const struct picture *p, const char *program)
{
    for (int i = 0; i < p->instance_count; i++)
        if (!strcmp(p->instances[i].program, program))
            return &p->instances[i];
    return NULL;
}

static void show_producers(struct text *to, const struct picture *p, const struct chain *c)
{
    char ago[24];

    text_puts(to, "<li class=from><div class=card>");
    for (int i = 0; c->producers[i]; i++) {
        const struct instance *it = instance_of(p, c->producers[i]);
        text_printf(to, "<h3 class=small>%s</h3><p class=\"small faint\">", c->producers[i]);
        if (!it) {
            text_puts(to, "does not answer</p>");
            continue;
        }
        if (it->last_poll_at > 0) {
            say_seconds((double)time(NULL) - it->last_poll_at, ago);
            text_printf(to, "looked %s ago", ago);
        } else {
            text_puts(to, "answers");
        }
        if (*it->waits_for) {
            text_puts(to, "; <span class=warn>");
            html_text(to, it->waits_for);
            text_puts(to, "</span>");
        }
        text_puts(to, "</p>");
    }
    text_puts(to, "</div></li>");
}

enum { P_WHAT, P_NAME, P_WHO, P_SINCE, P_WHY };

static const char pauses_sql[] = "SELECT what, name, who, to_char(since, 'YYYY-MM-DD HH24:MI'), why FROM pauses WHERE ended_at IS NULL ORDER BY what, since";

static void show_paused(struct web_request *r, const PGresult *pauses, int i)
{
    struct text *to = r->out;

    text_puts(to, "<p class=\"warn small\">");
    page_cell(r, pauses, i, P_NAME);
    text_puts(to, " is paused by ");
    page_cell(r, pauses, i, P_WHO);
    text_puts(to, " since ");
    page_cell(r, pauses, i, P_SINCE);
    text_puts(to, ": ");
    page_cell(r, pauses, i, P_WHY);
    text_puts(to, "</p>");
    page_form(r, "resume", "/");
    for (int c = P_WHAT; c <= P_NAME; c++) {
        text_printf(to, "<input type=hidden name=%s value=\"", c == P_WHAT ? "kind" : "name");
        page_cell(r, pauses, i, c);
        text_puts(to, "\">");
    }
    page_button(r, "resume");
    text_puts(to, "</form>");
}

/* name: a stage's; NULL: whoever pauses says which. */
static void offer_pause(struct web_request *r, const char *kind, const char *name, const char *summary)
{
    struct text *to = r->out;

    text_printf(to, "<details id=\"pause-%s\" class=small><summary>%s</summary>", name ? name : kind, summary);
    page_form(r, "pause", "/");
    text_printf(to, "<input type=hidden name=kind value=%s>", kind);
    if (name)
        text_printf(to, "<input type=hidden name=name value=\"%s\">", name);
    else
        text_puts(to, "<label>location id <input name=name required maxlength=60></label>");
    text_puts(to, "<label>why <input name=why maxlength=200></label>");
    page_button(r, "pause");
    text_puts(to, "</form></details>");
}

/* The pause of a stage; -1: there is none. */
static int pause_of(const char *program, const PGresult *pauses)
{
    for (int i = 0; pauses && i < PQntuples(pauses); i++)
        if (!strcmp(PQgetvalue(pauses, i, P_WHAT), "stage") && !strcmp(PQgetvalue(pauses, i, P_NAME), program))
            return i;
    return -1;
}

static const char *card_class(const struct stage_picture *s, const struct advice *a)
{
    if (a->kind == ADVICE_NO_WORKER)
        return "card bad";
    return s->dead || a->kind == ADVICE_HELD || a->kind == ADVICE_MORE || a->kind == ADVICE_ALL_SHARED ? "card warn" : "card";
}

static void show_stage(struct web_request *r, const struct picture *p, const struct chain_stage *c, const PGresult *pauses)
{
    const struct stage_picture *s = &p->stages[c - chain_stages];
    struct text *to = r->out;
    struct advice a = picture_advice(s);
    int paused = pause_of(c->program, pauses);
    char words[300], age[24] = "none waits";

    advice_say(&a, s, words, sizeof words);
    text_printf(to, "<li><section class=\"%s\"><h3>%s</h3>", card_class(s, &a), c->topic);
    if (!s->exists || !s->seen_ms) {
        text_printf(to, "<p class=faint>%s</p></section></li>", s->exists ? "not looked at yet" : "no such topic yet: its programs make it");
        return;
    }
    text_printf(to, "<p><span class=lag>%" PRId64 "</span> wait</p>", s->lag);
    snprintf(age, sizeof age, "lag of %s over the last day", c->topic);
    html_line(to, s->day, DAY_POINTS, age);
    say_seconds(s->oldest_ms > 0 ? (double)(p->at_ms - s->oldest_ms) / 1000 : -1, age);
    text_printf(to, "<dl><dt>oldest<dd>%s<dt>in<dd>", *age ? age : s->lag ? "not known yet" : "none waits");
    say_rate(to, a.in);
    text_puts(to, "<dt>done<dd>");
    say_rate(to, a.out);
    text_printf(to, "<dt>%s<dd>%d worker%s, %.0f call%s under way", c->program, s->workers, s->workers == 1 ? "" : "s", s->in_flight, s->in_flight == 1 ? "" : "s");
    if (c->vendor_words)
        text_printf(to, " at %s", c->vendor_words);
    if (*s->waits_for && paused < 0) {
        text_puts(to, "<dt>waits for<dd class=warn>");
        html_text(to, s->waits_for);
    }
    if (s->dead)
        text_printf(to, "<dt>set aside<dd><a href=\"/dead-letters?topic=%s\">%" PRId64 " dead letters</a>", c->topic, s->dead);
    text_puts(to, "</dl>");
    if (paused >= 0) { /* which is all there is to say, and the button beside it */
        show_paused(r, pauses, paused);
    } else {
        text_puts(to, "<p class=small>");
        html_text(to, words);
        text_puts(to, "</p>");
        offer_pause(r, "stage", c->program, "pause");
    }
    text_puts(to, "</section></li>");
}

static bool in_use(const struct picture *p, const struct chain *c)
{
    bool used = false;

    for (int i = 0; c->stages[i]; i++)
        used |= p->stages[c->stages[i] - chain_stages].exists || p->stages[c->stages[i] - chain_stages].workers;
    return used;
}

static void show_chains(struct web_request *r, const struct picture *p, const PGresult *pauses)
{
    int shown = 0;

    for (int i = 0; i < chain_count; i++) {
        const struct chain *c = &chains[i];
        if (!in_use(p, c))
            continue;
        shown++;
        text_printf(r->out, "<h2>%s</h2><ol class=chain>", c->title);
        show_producers(r->out, p, c);
        for (int n = 0; c->stages[n]; n++)
            show_stage(r, p, c->stages[n], pauses);
        text_puts(r->out, "</ol>");
    }
    if (!shown)
        text_printf(r->out, "<h2>Nothing flows yet</h2><p>%s</p>", p->at_ms ? "There is no topic of Shelfwire's on this cluster, or Kafka is away. "
                    "Start <code>migrate</code>, a producer and its workers; they make their topics." : "monitor has just been started; look again in a moment.");
}

static void show_locations(struct web_request *r, const PGresult *pauses)
{
    text_puts(r->out, "<h2>Locations</h2>");
    for (int i = 0; pauses && i < PQntuples(pauses); i++)
        if (!strcmp(PQgetvalue(pauses, i, P_WHAT), "location"))
            show_paused(r, pauses, i);
    offer_pause(r, "location", NULL, "pause a location: its windows wait");
}

/* ---- vendors and programs ---- */

static double last_hour(const struct answers *a)
{
    double n = 0;

    for (int i = 0; i < 60; i++)
        n += a->hour[i];
    return n;
}

static void show_vendors(struct web_request *r, const struct picture *p)
{
    struct text *to = r->out;
    SCOPED(PQclear) PGresult *quotas =
        r->conn ? page_rows(r, false, "SELECT vendor, to_char(max(paused_until), 'HH24:MI:SS'), max(paused_why) FROM quotas WHERE paused_until > now()"
                            " GROUP BY vendor", 0, NULL) : NULL;

    if (!p->answer_count)
        return;
    text_puts(to, "<h2>What the vendors answered in the last hour</h2><div class=scroll tabindex=0 role=region aria-label=\"Vendors\"><table><thead><tr><th>vendor<th>call<th>answer<th class=n>last hour"
                  "<th class=n>since their start</thead><tbody>");
    for (int i = 0; i < p->answer_count; i++) {
        const struct answers *a = &p->answers[i];
        text_puts(to, "<tr><td>");
        html_text(to, a->vendor);
        text_puts(to, "<td>");
        html_text(to, a->call);
        text_puts(to, "<td>");
        html_text(to, a->code);
        text_printf(to, "<td class=n>%.0f<td class=n>%.0f", last_hour(a), a->total > 0 ? a->total : 0);
    }
    text_puts(to, "</table></div>");
    for (int i = 0; quotas && i < PQntuples(quotas); i++) {
        text_puts(to, "<p class=warn>");
        page_cell(r, quotas, i, 0);
        text_puts(to, ": no calls until ");
        page_cell(r, quotas, i, 1);
        text_puts(to, ": ");
        page_cell(r, quotas, i, 2);
        text_puts(to, "</p>");
    }
    for (int i = 0; i < p->instance_count; i++)
        if (p->instances[i].calls_left >= 0) {
            text_printf(to, "<p>%.0f calls of today are left, as %s was told.</p>", p->instances[i].calls_left, p->instances[i].program);
        }
}

static void show_programs(struct text *to, const struct picture *p)
{
    text_puts(to, "<h2>Programs</h2>");
    if (*p->missing) {
        text_puts(to, "<p class=bad>Nobody answers at ");
        html_text(to, p->missing);
        text_puts(to, ".</p>");
    }
    if (!p->instance_count) {
        text_puts(to, "<p class=faint>None that MONITOR_PROGRAMS names has answered.</p>");
        return;
    }
    text_puts(to, "<div class=scroll tabindex=0 role=region aria-label=\"Programs\"><table><thead><tr><th>program<th>where<th>how it is<th class=n>in hand<th class=n>calls under way"
                  "<th class=n>waiting for a next try</thead><tbody>");
    for (int i = 0; i < p->instance_count; i++) {
        const struct instance *it = &p->instances[i];
        text_puts(to, "<tr><td>");
        html_text(to, *it->program ? it->program : "?");
        text_puts(to, "<td>");
        html_text(to, it->address);
        text_printf(to, "<td class=\"%s\">", it->ready && !*it->waits_for ? "good" : "warn");
        html_text(to, *it->waits_for ? it->waits_for : it->ready ? "well" : "not ready");
        text_printf(to, "<td class=n>%.0f<td class=n>%.0f<td class=n>%.0f", it->in_hand, it->in_flight, it->parked);
    }
    text_puts(to, "</table></div>");
}

/* ---- as JSON ---- */

static void json_number(struct text *to, const char *name, double n)
{
    if (n < 0)
        text_printf(to, "\"%s\":null,", name);
    else
        text_printf(to, "\"%s\":%.10g,", name, n);
}

static void show_json(struct web_request *r, const struct picture *p)
{
    struct text *to = r->out;
    char words[300];
    bool first = true;

    r->type = "application/json";
    text_printf(to, "{\"at\":%" PRId64 ",\"kafka_trouble\":", p->at_ms / 1000);
    text_json(to, p->kafka_trouble);
    text_puts(to, ",\"database_trouble\":");
    text_json(to, r->conn ? p->database_trouble : r->database_trouble);
    text_puts(to, ",\"missing\":");
    text_json(to, p->missing);
    text_puts(to, ",\"stages\":[");
    for (int i = 0; i < STAGES_MAX; i++) {
        const struct stage_picture *s = &p->stages[i];
        struct advice a = picture_advice(s);
        if (!s->exists || !s->seen_ms)
            continue;
        advice_say(&a, s, words, sizeof words);
        text_printf(to, "%s{\"program\":\"%s\",\"topic\":\"%s\",\"lag\":%" PRId64 ",\"workers\":%d,\"dead_letters\":%" PRId64 ",", first ? "" : ",",
                    chain_stages[i].program, chain_stages[i].topic, s->lag, s->workers, s->dead);
        json_number(to, "in_per_second", a.in);
        json_number(to, "out_per_second", a.out);
        json_number(to, "drain_seconds", a.drain_s);
        json_number(to, "oldest_seconds", s->oldest_ms > 0 ? (double)(p->at_ms - s->oldest_ms) / 1000 : s->lag ? -1 : 0);
        text_printf(to, "\"more_workers\":%d,\"advice\":", a.more);
        text_json(to, words);
        text_puts(to, ",\"waits_for\":");
        text_json(to, s->waits_for);
        text_puts(to, "}");
        first = false;
    }
    text_puts(to, "],\"programs\":[");
    for (int i = 0; i < p->instance_count; i++) {
        const struct instance *it = &p->instances[i];
        text_printf(to, "%s{\"program\":", i ? "," : "");
        text_json(to, it->program);
        text_printf(to, ",\"address\":\"%s\",\"ready\":%s,\"waits_for\":", it->address, it->ready ? "true" : "false");
        text_json(to, it->waits_for);
        text_puts(to, "}");
    }
    text_puts(to, "]}\n");
}

void page_overview(struct web_request *r)
{
    const struct picture *p = collect_look();

    if (r->json) {
        show_json(r, p);
    } else {
        page_begin(r, "Overview", "/");
        show_alerts(r, p);
        SCOPED(PQclear) PGresult *pauses = r->conn ? page_rows(r, false, pauses_sql, 0, NULL) : NULL; /* without, it is said above */
        show_chains(r, p, pauses);
        show_locations(r, pauses);
        show_vendors(r, p);
        show_programs(r->out, p);
        page_end(r);
    }
    collect_done();
}

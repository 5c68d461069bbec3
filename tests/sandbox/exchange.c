#include "exchange.h"
#include "faults.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#define LOG_SIZE 16384

struct logged {
    int64_t at_ms, took_ns;
    const struct vendor *vendor;
    const struct call *call;
    uint32_t credential, connection;
    int16_t status;                  /* 0: none was sent */
    uint8_t outcome, method, key_len, target_len;
    char key[48], target[160];
};

struct prng chance;
static struct logged call_log[LOG_SIZE];
static uint64_t logged;
static uint32_t era;

/* ---- who answers ---- */

const struct vendor *vendor_named(struct slice name)
{
    for (size_t i = 0; vendors[i]; i++)
        if (slice_is(name, vendors[i]->name))
            return vendors[i];
    return NULL;
}

const struct call *call_named(const struct vendor *v, struct slice name)
{
    for (const struct call *c = v->calls;; c++) {
        if (slice_is(name, c->name))
            return c;
        if (!c->path)
            return NULL;
    }
}

static bool segment_fits(struct slice segment, struct slice choice)
{
    const char *at = choice.at, *end = choice.at + choice.len;

    if (!choice.len)
        return true;
    while (at < end) {
        const char *bar = memchr(at, '|', (size_t)(end - at));

        if (!bar)
            bar = end;
        if (slice_same_nocase(segment, (struct slice){ at, (size_t)(bar - at) }))
            return true;
        at = bar + 1;
    }
    return false;
}

bool path_fits(struct slice path, const char *pattern, struct request *req)
{
    size_t count = 0;

    req->arg = (struct slice){ NULL, 0 };
    while (*pattern) {
        const char *close = *pattern == '{' ? strchr(pattern, '}') : NULL, *slash;
        size_t len = 1;

        if (close) {
            slash = path.len ? memchr(path.at, '/', path.len) : NULL;
            len = slash ? (size_t)(slash - path.at) : path.len;
            req->arg = (struct slice){ path.at, len };
            if (!segment_fits(req->arg, (struct slice){ pattern + 1, (size_t)(close - pattern - 1) }))
                return false;
            if (count < ARGS_MAX)
                req->args[count++] = req->arg;
            pattern = close;
        } else if (!path.len || *path.at != *pattern) {
            return false;
        }
        path = (struct slice){ path.at + len, path.len - len };
        pattern++;
    }
    return !path.len;
}

static bool find_call(struct exchange *x, const struct call *calls, struct slice path)
{
    const struct call *c = calls;

    while (c->path && (c->method != x->req.method || !path_fits(path, c->path, &x->req)))
        c++;
    x->call = c;
    return c->path;
}

static bool under(struct slice path, const char *prefix, struct slice *ret_rest)
{
    size_t len = strlen(prefix);

    if (path.len <= len || memcmp(path.at, prefix, len) != 0 || path.at[len] != '/')
        return false;
    *ret_rest = (struct slice){ path.at + len, path.len - len };
    return true;
}

static void route(struct exchange *x)
{
    struct slice rest, inner;

    x->vendor = NULL;
    if (under(x->req.path, "/admin", &rest)) {
        if (find_call(x, admin_calls, rest))
            return;
        for (size_t i = 0; vendors[i]; i++)
            if (rest.len > 1 && under((struct slice){ rest.at + 1, rest.len - 1 }, vendors[i]->name, &inner)
                && find_call(x, vendors[i]->admin, inner))
                return;
        x->call = NULL;
        return;
    }
    for (size_t i = 0; vendors[i]; i++) {
        if (!vendors[i]->route || !vendors[i]->route(x))
            continue;
        x->vendor = vendors[i];
        return;
    }
    for (size_t i = 0; vendors[i]; i++) {
        for (size_t j = 0; j < COUNT(vendors[i]->prefixes) && vendors[i]->prefixes[j]; j++) {
            if (!under(x->req.path, vendors[i]->prefixes[j], &rest))
                continue;
            x->vendor = vendors[i];
            find_call(x, vendors[i]->calls, rest);
            return;
        }
    }
    x->call = NULL;
}

void exchange_key(struct exchange *x, struct slice key)
{
    if (x->key_count < KEYS_MAX)
        x->keys[x->key_count++] = key;
}

void exchange_key_query(struct exchange *x, const char *name)
{
    struct slice s;

    if (!query_get(x->req.query, name, x->key_bytes + x->key_len, sizeof x->key_bytes - x->key_len, &s))
        return;
    x->key_len += s.len;
    exchange_key(x, s);
}

/* ---- one exchange ---- */

static void pieces_release(struct exchange *x)
{
    if (x->answer.pieces.next)
        x->answer.pieces.release(x->answer.pieces.state);
    x->answer.pieces = (struct pieces){ 0 };
}

static struct call_counts *counts_of(const struct exchange *x)
{
    return &x->vendor->state->counts[x->call - x->vendor->calls];
}

void exchange_serve(struct exchange *x)
{
    x->served = true;
    if (!x->call || !x->call->serve) {
        answer_json_error(x, 404, "no such path");
        return;
    }
    x->call->serve(x);
}

void exchange_start(struct exchange *x)
{
    struct vendor_state *state;
    struct call_counts *counts;
    struct fault *fault;
    double wait_ms;

    x->answer.status = 0;
    x->answer.reason = NULL;
    x->answer.headers.len = x->answer.body.len = 0;
    x->key_count = x->key_len = 0;
    x->shape = NULL;
    x->shape_status = 0;
    x->served = x->late = false;
    x->genuine = true;
    x->effect = 0;
    x->era = era;
    x->held_by = 0;
    x->wait_ns = 0;
    x->ending = END_ANSWER;
    x->credential = 0;
    if (x->req.token.len || x->req.authorization.len)
        x->credential = slice_hash(x->req.token.len ? x->req.token : x->req.authorization);
    route(x);
    if (!x->vendor) {
        exchange_serve(x);
        return;
    }
    state = x->vendor->state;
    counts = counts_of(x);
    counts->requests++;
    if (++counts->in_flight > counts->max_in_flight)
        counts->max_in_flight = counts->in_flight;
    if (++state->in_flight > state->max_in_flight)
        state->max_in_flight = state->in_flight;
    if (x->call->keys)
        x->call->keys(x);
    if (state->down) {
        x->ending = state->down_by_reset ? END_RESET : END_CLOSE;
        return;
    }
    fault = faults_pick(x, &wait_ms);
    wait_ms += state->latency_ms;
    if (state->jitter_ms > 0)
        wait_ms += state->jitter_ms * prng_unit(&chance);
    x->wait_ns = (int64_t)(wait_ms * (double)NS_PER_MS);
    if (fault)
        fault_apply(fault, x);
    if (!x->served && !x->held_by)
        exchange_serve(x);
}

void exchange_resume(struct exchange *x)
{
    x->held_by = 0;
    if (!x->served)
        exchange_serve(x);
}

static void log_call(const struct exchange *x, enum outcome outcome, int64_t took_ns)
{
    struct logged *l = &call_log[logged++ % LOG_SIZE];

    l->at_ms = wall_ms() - took_ns / NS_PER_MS;
    l->took_ns = took_ns;
    l->vendor = x->vendor;
    l->call = x->call;
    l->credential = x->credential;
    l->connection = x->connection;
    l->status = outcome == OUTCOME_ANSWERED ? (int16_t)x->answer.status : 0;
    l->outcome = (uint8_t)outcome;
    l->method = (uint8_t)x->req.method;
    l->key_len = l->target_len = 0;
    if (x->key_count) {
        l->key_len = (uint8_t)(x->keys[0].len < sizeof l->key ? x->keys[0].len : sizeof l->key);
        memcpy(l->key, x->keys[0].at, l->key_len);
    }
    l->target_len = (uint8_t)(x->req.target.len < sizeof l->target ? x->req.target.len : sizeof l->target);
    memcpy(l->target, x->req.target.at, l->target_len);
}

void exchange_done(struct exchange *x, enum outcome outcome)
{
    struct call_counts *counts;

    pieces_release(x);
    if (!x->vendor)
        return;
    counts = counts_of(x);
    counts->in_flight--;
    x->vendor->state->in_flight--;
    counts->effects += x->effect != 0;
    switch (outcome) {
    case OUTCOME_ANSWERED:
        counts->by_status[x->answer.status]++;
        if (x->effect && x->genuine && x->era == era && x->vendor->answered)
            x->vendor->answered(x->effect);
        break;
    case OUTCOME_DROPPED: counts->dropped++; break;
    case OUTCOME_LEFT: counts->left++; break;
    }
    log_call(x, outcome, clock_ns() - x->started_ns);
}

void exchange_release(struct exchange *x)
{
    pieces_release(x);
    text_release(&x->answer.headers);
    text_release(&x->answer.body);
}

/* ---- answers ---- */

struct text *answer(struct exchange *x, int status, const char *content_type)
{
    pieces_release(x);
    x->answer.status = status;
    x->answer.content_type = content_type;
    x->answer.headers.len = x->answer.body.len = 0;
    return &x->answer.body;
}

void answer_pieces(struct exchange *x, int status, const char *content_type, struct pieces pieces)
{
    answer(x, status, content_type);
    x->answer.pieces = pieces;
}

void answer_json_error(struct exchange *x, int status, const char *format, ...)
{
    char sentence[256];
    va_list args;

    va_start(args, format);
    vsnprintf(sentence, sizeof sentence, format, args);
    va_end(args);
    text_str(answer(x, status, "application/json"), "{\"error\":");
    text_json(&x->answer.body, slice_of(sentence));
    text_str(&x->answer.body, "}");
}

void answer_plain(struct exchange *x, int status, const char *sentence)
{
    text_str(answer(x, status, "text/plain; charset=utf-8"), sentence);
}

json_object *body_json(struct exchange *x)
{
    json_tokener *tokener = json_tokener_new();
    json_object *body = NULL;

    if (tokener && x->req.body.len && x->req.body.len < INT32_MAX)
        body = json_tokener_parse_ex(tokener, x->req.body.at, (int)x->req.body.len);
    if (!body)
        answer_json_error(x, 400, "the body is not JSON");
    json_tokener_free(tokener);
    return body;
}

/* ---- counts and the log ---- */

void effects_forgotten(void)
{
    era++;
}

void counts_reset(void)
{
    for (size_t i = 0; vendors[i]; i++) {
        struct vendor_state *state = vendors[i]->state;

        state->max_in_flight = state->in_flight;
        for (size_t j = 0; j < CALLS_MAX; j++) {
            uint64_t in_flight = state->counts[j].in_flight;

            state->counts[j] = (struct call_counts){ .in_flight = in_flight, .max_in_flight = in_flight };
        }
    }
    logged = 0;
}

static void call_counts_print(const struct call *c, const struct call_counts *n, struct text *out)
{
    const char *comma = "";

    text_fmt(out, "\"%s\":{\"requests\":%" PRIu64 ",\"in_flight\":%" PRIu64 ",\"max_in_flight\":%" PRIu64
             ",\"effects\":%" PRIu64 ",\"dropped\":%" PRIu64 ",\"left\":%" PRIu64 ",\"by_status\":{",
             c->name, n->requests, n->in_flight, n->max_in_flight, n->effects, n->dropped, n->left);
    for (size_t i = 0; i < COUNT(n->by_status); i++) {
        if (!n->by_status[i])
            continue;
        text_fmt(out, "%s\"%zu\":%" PRIu64, comma, i, n->by_status[i]);
        comma = ",";
    }
    text_str(out, "}}");
}

void counts_print(struct text *out)
{
    struct rusage usage;

    getrusage(RUSAGE_SELF, &usage);
    text_fmt(out, "{\"sandbox\":{\"cpu_us\":%lld,\"max_rss_kb\":%ld}",
             (long long)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000 + usage.ru_utime.tv_usec
             + usage.ru_stime.tv_usec, usage.ru_maxrss);
    for (size_t i = 0; vendors[i]; i++) {
        const struct vendor *v = vendors[i];

        text_fmt(out, ",\n\"%s\":{\"in_flight\":%" PRIu64 ",\"max_in_flight\":%" PRIu64 ",\"down\":%s", v->name,
                 v->state->in_flight, v->state->max_in_flight, v->state->down ? "true" : "false");
        v->count(out);
        text_str(out, ",\"calls\":{");
        for (const struct call *c = v->calls;; c++) {
            if (c != v->calls)
                text_str(out, ",\n ");
            call_counts_print(c, &v->state->counts[c - v->calls], out);
            if (!c->path)
                break;
        }
        text_str(out, "}}");
    }
    text_str(out, "}\n");
}

static void logged_print(const struct logged *l, struct text *out)
{
    static const char *const outcomes[] = { "answered", "dropped", "left" };

    text_fmt(out, "{\"at\":%" PRId64 ".%03d,\"vendor\":\"%s\",\"call\":\"%s\",\"method\":\"%s\",\"key\":",
             l->at_ms / 1000, (int)(l->at_ms % 1000), l->vendor->name, l->call->name,
             http_method_str(l->method));
    text_json(out, (struct slice){ l->key, l->key_len });
    text_str(out, ",\"target\":");
    text_json(out, (struct slice){ l->target, l->target_len });
    text_fmt(out, ",\"status\":%d,\"outcome\":\"%s\",\"ms\":%.3f,\"credential\":\"%08" PRIx32 "\",\"connection\":%"
             PRIu32 "}", l->status, outcomes[l->outcome], (double)l->took_ns / (double)NS_PER_MS, l->credential,
             l->connection);
}

static bool wanted(struct slice query, const char *name, struct slice is)
{
    struct slice want;
    char buf[64];

    return !query_get(query, name, buf, sizeof buf, &want) || slice_same(want, is);
}

void calls_print(struct text *out, struct slice query)
{
    uint64_t first = logged > LOG_SIZE ? logged - LOG_SIZE : 0, at = logged;
    struct slice last_text;
    int64_t last = 100;
    char buf[32];
    const char *comma = "";

    if (query_get(query, "last", buf, sizeof buf, &last_text))
        slice_int64(last_text, &last);
    /* Backwards for the newest that fit, then forwards to print them in order. */
    while (at > first && last > 0) {
        const struct logged *l = &call_log[--at % LOG_SIZE];

        last -= wanted(query, "vendor", slice_of(l->vendor->name)) && wanted(query, "call", slice_of(l->call->name))
            && wanted(query, "key", (struct slice){ l->key, l->key_len });
    }
    text_str(out, "[");
    for (; at < logged; at++) {
        const struct logged *l = &call_log[at % LOG_SIZE];

        if (!wanted(query, "vendor", slice_of(l->vendor->name)) || !wanted(query, "call", slice_of(l->call->name))
            || !wanted(query, "key", (struct slice){ l->key, l->key_len }))
            continue;
        text_str(out, comma);
        logged_print(l, out);
        comma = ",\n";
    }
    text_str(out, "]\n");
}

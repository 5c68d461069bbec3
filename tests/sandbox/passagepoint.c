/*
 * passagepoint - the gate: visitors by unique id, and pre-registrations nobody can look up or take back.
 *
 * Visitors and pre-registrations live in arrays; an id is a base plus a position. What a visitor is called lies in
 * one arena of strings, a destination is a number, so that a million pre-registrations take some 60 MB.
 */
#include "index.h"
#include "settings.h"
#include "tokens.h"

#include <inttypes.h>
#include <stdlib.h>

#define FIRST_VISITOR INT64_C(137505764541148)
#define FIRST_PREREG  INT64_C(137506834088671)
#define PARAM_MAX 256

enum { UNIQUE_ID, FIRST_NAME, LAST_NAME, EMAIL, CATEGORY, MOBILE, PARAMS };

static const char *const params[PARAMS] = {
    "uniqueId", "firstName", "lastName", "email", "category", "mobilePhoneNo"
};

struct visitor {
    int64_t at_ms;
    size_t strings;                  /* PARAMS strings in the arena, one behind the other */
    uint8_t len[PARAMS];
    bool gone, loaded, answered;
};

struct prereg {
    int64_t visitor_id, start_s, end_s, at_ms;
    uint32_t destination;
    bool answered, again, repeated;  /* again: the same was made before; repeated: it was made again later */
};

static struct vendor_state state;
static struct tokens tokens;

static struct text arena;
static struct visitor *visitors;
static size_t visitor_count, visitor_cap, visitors_made;
static struct index by_unique_id;

static struct prereg *preregs;
static size_t prereg_count, prereg_cap;
static struct index by_tuple;
static uint64_t duplicates, duplicate_preregs, logins;
static struct names destination_table;

static double token_seconds;
static bool one_token, accept_all_visitors;
static int64_t duplicate_status, duplicate_prereg_status;
static char *username, *password, *miss, *unique_id_form;
static struct names categories, destinations;
static bool destinations_404;

static const struct setting settings[] = {
    { "latency_ms", SETTING_NUMBER, &state.latency_ms, "0", "every answer waits this long", NULL },
    { "jitter_ms", SETTING_NUMBER, &state.jitter_ms, "0", "and up to this much longer", NULL },
    { "token_seconds", SETTING_NUMBER, &token_seconds, "28800", "how long a token lives", NULL },
    { "one_token", SETTING_BOOL, &one_token, "false", "a log-in makes older tokens stale", NULL },
    { "username", SETTING_TEXT, &username, "\"sandbox\"", "who may log in", NULL },
    { "password", SETTING_TEXT, &password, "\"sandbox-pp-password\"", "and with what", NULL },
    { "categories", SETTING_NAMES, &categories, "null", "categories that exist; null: all", NULL },
    { "destinations", SETTING_NAMES, &destinations, "null", "destinations that exist; null: all", NULL },
    { "destinations_404", SETTING_BOOL, &destinations_404, "false", "getDestinations does not exist", NULL },
    { "accept_all_visitors", SETTING_BOOL, &accept_all_visitors, "false", "createPreReg takes any visitorId", NULL },
    { "duplicate_status", SETTING_INT, &duplicate_status, "409", "createVisitor: the uniqueId exists", NULL },
    { "duplicate_prereg_status", SETTING_INT, &duplicate_prereg_status, "0",
      "createPreReg: the very same was made before; 0: it is made again", NULL },
    { "unique_id_miss", SETTING_TEXT, &miss, "\"empty\"", "byUniqueId finds nothing: empty, 404 or 400", NULL },
    { "unique_id_form", SETTING_TEXT, &unique_id_form, "\"list\"", "byUniqueId answers a list or a dict", NULL },
    SETTING_END
};

static const char *const shapes[] = {
    "two_ids", "dict", "not_found", "empty_list", "already_exists", "unknown_visitor", "missing_destination", NULL
};

static bool has_shape(const struct exchange *x, const char *shape)
{
    return x->shape && !strcmp(x->shape, shape);
}

static void error(struct exchange *x, int status, const char *code, const char *message, enum error_form form)
{
    struct text *out;

    if (form == ERROR_XML) {
        text_fmt(answer(x, status, "application/xml"), "<error><code>%s</code><message>", code);
        text_xml(&x->answer.body, slice_of(message));
        text_str(&x->answer.body, "</message></error>");
        return;
    }
    out = answer(x, status, "application/json");
    text_str(out, form == ERROR_LIST ? "{\"errors\":[" : "{\"error\":");
    text_json(out, slice_of(message));
    text_str(out, form == ERROR_LIST ? "]}" : "}");
}

static bool admitted(struct exchange *x)
{
    if (tokens_valid(&tokens, x->req.token))
        return true;
    answer_json_error(x, 401, "Unauthorized");
    return false;
}

static void answer_id(struct exchange *x, int64_t id)
{
    text_fmt(answer(x, 200, "application/json"), "{\"data\":[{\"id\":%" PRId64 "}]}", id);
}

/* ---- log-in ---- */

static void login_keys(struct exchange *x)
{
    struct fields f;
    const struct field *user;

    if (!fields_read(&f, x->req.body) || !(user = fields_get(&f, "username")) || user->value.len > 200)
        return;
    memcpy(x->key_bytes, user->value.at, user->value.len);
    exchange_key(x, (struct slice){ x->key_bytes, user->value.len });
}

static void login(struct exchange *x)
{
    const struct field *user, *pass;
    char token[TOKEN_LEN + 1];
    struct fields f;

    logins++;
    if (!fields_read(&f, x->req.body) || !(user = fields_get(&f, "username"))
        || !(pass = fields_get(&f, "password")) || !slice_is(user->value, username)
        || !slice_is(pass->value, password)) {
        answer_json_error(x, 200, "Invalid username or password");
        return;
    }
    if (one_token)
        tokens_revoke(&tokens);
    tokens_issue(&tokens, token_seconds, token);
    x->credential = slice_hash(slice_of(token));
    text_fmt(answer(x, 200, "application/json"), "{\"token\":\"%s\"}", token);
}

/* ---- visitors ---- */

static struct slice visitor_param(const struct visitor *v, size_t which)
{
    size_t at = v->strings;

    for (size_t i = 0; i < which; i++)
        at += v->len[i];
    return (struct slice){ arena.at + at, v->len[which] };
}

/* The first living visitor with that unique id, or NULL. */
static struct visitor *visitor_with(struct slice unique_id)
{
    struct index_walk w = index_walk(&by_unique_id, slice_hash(unique_id));
    uint32_t pos;

    while (index_next(&w, &pos))
        if (!visitors[pos].gone && slice_same(visitor_param(&visitors[pos], UNIQUE_ID), unique_id))
            return &visitors[pos];
    return NULL;
}

static int64_t visitor_id(const struct visitor *v)
{
    return FIRST_VISITOR + (v - visitors);
}

static struct visitor *visitor_add(const struct slice param[PARAMS])
{
    struct visitor *v;

    if (visitor_count == visitor_cap) {
        visitor_cap = visitor_cap ? visitor_cap * 2 : 1024;
        visitors = memory(visitors, visitor_cap * sizeof *visitors);
    }
    v = &visitors[visitor_count];
    *v = (struct visitor){ .at_ms = wall_ms(), .strings = arena.len };
    for (size_t i = 0; i < PARAMS; i++) {
        v->len[i] = (uint8_t)(param[i].len < 255 ? param[i].len : 255);
        text_add(&arena, param[i].at, v->len[i]);
    }
    if (v->len[UNIQUE_ID])
        index_add(&by_unique_id, slice_hash(visitor_param(v, UNIQUE_ID)), (uint32_t)visitor_count);
    visitor_count++;
    return v;
}

static void create_visitor_keys(struct exchange *x)
{
    exchange_key_query(x, "uniqueId");
    exchange_key_query(x, "mobilePhoneNo");
}

static void create_visitor(struct exchange *x)
{
    struct slice param[PARAMS];
    char buf[PARAMS][PARAM_MAX];
    struct visitor *v;

    if (!admitted(x))
        return;
    for (size_t i = 0; i < PARAMS; i++)
        if (!query_get(x->req.query, params[i], buf[i], sizeof buf[i], &param[i]))
            param[i] = SLICE("");
    if (!param[UNIQUE_ID].len || !param[LAST_NAME].len || !param[CATEGORY].len) {
        answer_json_error(x, 400, "uniqueId, lastName and category are required");
        return;
    }
    if (!names_has(&categories, param[CATEGORY])) {
        answer_json_error(x, 400, "category %.*s does not exist", (int)param[CATEGORY].len, param[CATEGORY].at);
        return;
    }
    if (visitor_with(param[UNIQUE_ID]) || has_shape(x, "already_exists")) {
        answer_json_error(x, (int)duplicate_status, "ALREADY_EXIST_UNIQUE_ID: %.*s", (int)param[UNIQUE_ID].len,
                          param[UNIQUE_ID].at);
        return;
    }
    v = visitor_add(param);
    visitors_made++;
    x->effect = visitor_id(v);
    answer_id(x, x->effect);
}

static void visitor_print(const struct visitor *v, struct text *out, bool admin)
{
    text_fmt(out, "{\"id\":%" PRId64, visitor_id(v));
    for (size_t i = 0; i < PARAMS; i++) {
        text_fmt(out, ",\"%s\":", params[i]);
        text_json(out, visitor_param(v, i));
    }
    if (admin)
        text_fmt(out, ",\"at\":%" PRId64 ".%03d,\"answered\":%s,\"loaded\":%s,\"deleted\":%s", v->at_ms / 1000,
                 (int)(v->at_ms % 1000), v->answered ? "true" : "false", v->loaded ? "true" : "false",
                 v->gone ? "true" : "false");
    text_str(out, "}");
}

/* Only loaded visitors can share a unique id. */
static void others_print(const struct visitor *first, struct slice unique_id, struct text *out)
{
    struct index_walk w = index_walk(&by_unique_id, slice_hash(unique_id));
    uint32_t pos;

    while (index_next(&w, &pos)) {
        const struct visitor *v = &visitors[pos];

        if (v == first || v->gone || !slice_same(visitor_param(v, UNIQUE_ID), unique_id))
            continue;
        text_str(out, ",");
        visitor_print(v, out, false);
    }
}

static void unique_id_keys(struct exchange *x)
{
    exchange_key_query(x, "uniqueId");
}

static void by_unique_id_serve(struct exchange *x)
{
    bool dict = has_shape(x, "dict") || (!x->shape && !strcmp(unique_id_form, "dict"));
    struct slice unique_id = SLICE("");
    const struct visitor *v;
    char buf[PARAM_MAX];
    struct text *out;

    if (!admitted(x))
        return;
    query_get(x->req.query, "uniqueId", buf, sizeof buf, &unique_id);
    v = visitor_with(unique_id);
    if (has_shape(x, "not_found") || (!v && !strcmp(miss, "404"))) {
        answer_json_error(x, 404, "person not found");
        return;
    }
    if (!v && !strcmp(miss, "400")) {
        answer_json_error(x, 400, "person not found");
        return;
    }
    if (has_shape(x, "empty_list"))
        v = NULL;
    out = answer(x, 200, "application/json");
    text_str(out, dict ? "{\"data\":[" : "[");
    if (v)
        visitor_print(v, out, false);
    if (v)
        others_print(v, unique_id, out);
    if (v && has_shape(x, "two_ids"))
        text_fmt(out, ",{\"id\":%" PRId64 ",\"uniqueId\":\"%.*s\"}", FIRST_VISITOR - 1, (int)unique_id.len,
                 unique_id.at);
    text_str(out, dict ? "]}" : "]");
}

/* ---- pre-registrations ---- */

static uint32_t destination_number(struct slice name)
{
    size_t count = destination_table.count;

    for (size_t i = 0; i < count; i++)
        if (slice_is(name, destination_table.at[i]))
            return (uint32_t)i;
    destination_table.at = memory(destination_table.at, (count + 1) * sizeof *destination_table.at);
    destination_table.at[count] = copy_of(name);
    return (uint32_t)destination_table.count++;
}

static uint32_t tuple_hash(const struct prereg *p)
{
    int64_t tuple[4] = { p->visitor_id, p->start_s, p->end_s, p->destination };

    return slice_hash((struct slice){ (const char *)tuple, sizeof tuple });
}

static struct prereg *prereg_same(const struct prereg *p, uint32_t hash)
{
    struct index_walk w = index_walk(&by_tuple, hash);
    uint32_t pos;

    while (index_next(&w, &pos)) {
        struct prereg *q = &preregs[pos];

        if (q->visitor_id == p->visitor_id && q->start_s == p->start_s && q->end_s == p->end_s
            && q->destination == p->destination)
            return q;
    }
    return NULL;
}

static void create_prereg_keys(struct exchange *x)
{
    static const char *const names[] = { "visitorId", "destination" };
    struct fields f;

    if (!fields_read(&f, x->req.body))
        return;
    for (size_t i = 0; i < COUNT(names); i++) {
        const struct field *field = fields_get(&f, names[i]);
        char *to = x->key_bytes + x->key_len;

        if (!field || field->value.len > sizeof x->key_bytes - x->key_len)
            continue;
        memcpy(to, field->value.at, field->value.len);
        x->key_len += field->value.len;
        exchange_key(x, (struct slice){ to, field->value.len });
    }
}

static bool prereg_text(struct exchange *x, const struct fields *f, const char *name, struct slice *ret_s)
{
    const struct field *field = fields_get(f, name);

    if (!field || !field->value.len) {
        answer_json_error(x, 400, "%s is missing", name);
        return false;
    }
    if (!field->is_text) {
        answer_json_error(x, 400, "%s must be a string", name);
        return false;
    }
    *ret_s = field->value;
    return true;
}

static bool prereg_number(struct exchange *x, const struct fields *f, const char *name, int64_t *ret_n)
{
    struct slice s;

    if (!prereg_text(x, f, name, &s))
        return false;
    if (slice_int64(s, ret_n))
        return true;
    answer_json_error(x, 400, "%s is not a number", name);
    return false;
}

static bool visitor_known(int64_t id)
{
    uint64_t at = (uint64_t)(id - FIRST_VISITOR);

    return accept_all_visitors || (id >= FIRST_VISITOR && at < visitor_count && !visitors[at].gone);
}

static void create_prereg(struct exchange *x)
{
    struct prereg p = { 0 }, *same;
    struct slice destination;
    struct fields f;
    uint32_t hash;

    if (!admitted(x))
        return;
    if (!fields_read(&f, x->req.body)) {
        answer_json_error(x, 400, "the body is not a flat JSON object");
        return;
    }
    if (!prereg_number(x, &f, "startTime", &p.start_s) || !prereg_number(x, &f, "endTime", &p.end_s)
        || !prereg_number(x, &f, "visitorId", &p.visitor_id) || !prereg_text(x, &f, "destination", &destination))
        return;
    if (!visitor_known(p.visitor_id) || has_shape(x, "unknown_visitor")) {
        answer_json_error(x, 400, "visitor %" PRId64 " does not exist", p.visitor_id);
        return;
    }
    if (!names_has(&destinations, destination) || has_shape(x, "missing_destination")) {
        answer_json_error(x, 400, "destination %.*s does not exist", (int)destination.len, destination.at);
        return;
    }
    if (p.end_s <= p.start_s) {
        answer_json_error(x, 400, "endTime is not behind startTime");
        return;
    }
    p.destination = destination_number(destination);
    p.at_ms = wall_ms();
    hash = tuple_hash(&p);
    same = prereg_same(&p, hash);
    if (same && duplicate_prereg_status) {
        answer_json_error(x, (int)duplicate_prereg_status, "such a visit exists");
        return;
    }
    if (same) {
        p.again = true;
        duplicates += !same->repeated;
        same->repeated = true;
        duplicate_preregs++;
    }
    if (prereg_count == prereg_cap) {
        prereg_cap = prereg_cap ? prereg_cap * 2 : 1024;
        preregs = memory(preregs, prereg_cap * sizeof *preregs);
    }
    preregs[prereg_count] = p;
    if (!same)
        index_add(&by_tuple, hash, (uint32_t)prereg_count);
    x->effect = FIRST_PREREG + (int64_t)prereg_count++;
    answer_id(x, x->effect);
}

static void prereg_print(const struct prereg *p, struct text *out)
{
    text_fmt(out, "{\"id\":%" PRId64 ",\"visitorId\":\"%" PRId64 "\",\"destination\":", FIRST_PREREG + (p - preregs),
             p->visitor_id);
    text_json(out, slice_of(destination_table.at[p->destination]));
    text_fmt(out, ",\"startTime\":\"%" PRId64 "\",\"endTime\":\"%" PRId64 "\",\"at\":%" PRId64
             ".%03d,\"answered\":%s,\"again\":%s}", p->start_s, p->end_s, p->at_ms / 1000, (int)(p->at_ms % 1000),
             p->answered ? "true" : "false", p->again ? "true" : "false");
}

static void answered(int64_t effect)
{
    uint64_t prereg = (uint64_t)(effect - FIRST_PREREG), visitor = (uint64_t)(effect - FIRST_VISITOR);

    if (effect >= FIRST_PREREG && prereg < prereg_count)
        preregs[prereg].answered = true;
    else if (effect < FIRST_PREREG && visitor < visitor_count)
        visitors[visitor].answered = true;
}

static void get_destinations(struct exchange *x)
{
    const struct names *names = destinations.any ? &destination_table : &destinations;
    struct text *out;

    if (!admitted(x))
        return;
    if (destinations_404) {
        answer_json_error(x, 404, "not found");
        return;
    }
    out = answer(x, 200, "application/json");
    text_str(out, "[");
    for (size_t i = 0; i < names->count; i++) {
        if (i)
            text_str(out, ",");
        text_json(out, slice_of(names->at[i]));
    }
    text_str(out, "]");
}

/* ---- the admin side ---- */

static struct slice member(json_object *of, const char *name)
{
    json_object *value;

    return json_object_object_get_ex(of, name, &value) && value ? slice_of(json_object_get_string(value)) : SLICE("");
}

static void admin_visitors(struct exchange *x)
{
    json_object *body = body_json(x);
    size_t count = body && json_object_is_type(body, json_type_array) ? json_object_array_length(body) : 0;
    struct text *out;

    if (!body)
        return;
    out = answer(x, 200, "application/json");
    text_str(out, "{\"ids\":[");
    for (size_t i = 0; i < count; i++) {
        json_object *of = json_object_array_get_idx(body, i);
        struct slice param[PARAMS];
        struct visitor *v;

        for (size_t j = 0; j < PARAMS; j++)
            param[j] = member(of, params[j]);
        v = visitor_add(param);
        v->loaded = true;
        text_fmt(out, "%s%" PRId64, i ? "," : "", visitor_id(v));
    }
    text_str(out, "]}\n");
    json_object_put(body);
}

static void admin_forget_visitor(struct exchange *x)
{
    int64_t id;

    if (!slice_int64(x->req.arg, &id) || id < FIRST_VISITOR || (uint64_t)(id - FIRST_VISITOR) >= visitor_count) {
        answer_json_error(x, 404, "no such visitor");
        return;
    }
    visitors[id - FIRST_VISITOR].gone = true;
    text_str(answer(x, 200, "application/json"), "{}\n");
}

/* A page of one list; ret_next is -1 when it was the last. */
static void effects_page(struct text *out, const char *kind, size_t from, size_t limit, size_t *ret_next, size_t total)
{
    bool only_again = !strcmp(kind, "duplicates"), are_visitors = !strcmp(kind, "visitors");
    const char *comma = "";

    text_fmt(out, "\"%s\":[", kind);
    while (from < total && limit) {
        size_t at = from++;

        if (only_again && !preregs[at].again)
            continue;
        text_str(out, comma);
        if (are_visitors)
            visitor_print(&visitors[at], out, true);
        else
            prereg_print(&preregs[at], out);
        comma = ",\n";
        limit--;
    }
    text_str(out, "]");
    *ret_next = from;
}

static size_t query_size(struct slice query, const char *name, size_t usual)
{
    struct slice s;
    int64_t n;
    char buf[24];

    if (!query_get(query, name, buf, sizeof buf, &s) || !slice_int64(s, &n) || n < 0)
        return usual;
    return (size_t)n;
}

static void effects(struct exchange *x)
{
    static const char *const kinds[] = { "visitors", "preregs", "duplicates" };
    size_t from = query_size(x->req.query, "from", 0), limit = query_size(x->req.query, "limit", 100000);
    struct text *out = answer(x, 200, "application/json");
    struct slice kind = SLICE("");
    char buf[16];

    query_get(x->req.query, "kind", buf, sizeof buf, &kind);
    text_fmt(out, "{\"visitors_total\":%zu,\"preregs_total\":%zu,\"duplicates_total\":%" PRIu64, visitor_count,
             prereg_count, duplicate_preregs);
    for (size_t i = 0; i < COUNT(kinds); i++) {
        size_t total = i ? prereg_count : visitor_count, next;

        if (kind.len ? !slice_is(kind, kinds[i]) : i == 2)
            continue;
        text_str(out, ",\n");
        effects_page(out, kinds[i], from, limit, &next, total);
        if (kind.len && next < total)
            text_fmt(out, ",\"next\":%zu", next);
        else if (kind.len)
            text_str(out, ",\"next\":null");
    }
    text_str(out, "}\n");
}

static void reset(unsigned what)
{
    if (what & (RESET_EFFECTS | RESET_DATA)) {
        text_release(&arena);
        index_release(&by_unique_id);
        index_release(&by_tuple);
        free(visitors);
        free(preregs);
        visitors = NULL;
        preregs = NULL;
        visitor_count = visitor_cap = prereg_count = prereg_cap = visitors_made = 0;
        duplicates = duplicate_preregs = 0;
        for (size_t i = 0; i < destination_table.count; i++)
            free(destination_table.at[i]);
        free(destination_table.at);
        destination_table = (struct names){ 0 };
    }
    if (what & RESET_COUNTS)
        logins = 0;
    if (what & RESET_TOKENS)
        tokens_revoke(&tokens);
}

static void count(struct text *out)
{
    text_fmt(out, ",\"logins\":%" PRIu64 ",\"max_logins_at_once\":%" PRIu64 ",\"visitors\":%zu,\"preregs\":%zu"
             ",\"duplicates\":%" PRIu64 ",\"duplicate_preregs\":%" PRIu64, logins, state.counts[0].max_in_flight,
             visitors_made, prereg_count, duplicates, duplicate_preregs);
}

static const struct call calls[] = {
    { HTTP_POST, "/auth/login",            "login",           login_keys,          login },
    { HTTP_POST, "/person/createVisitor",  "createVisitor",   create_visitor_keys, create_visitor },
    { HTTP_GET,  "/person/byUniqueId",     "byUniqueId",      unique_id_keys,      by_unique_id_serve },
    { HTTP_POST, "/visit/createPreReg",    "createPreReg",    create_prereg_keys,  create_prereg },
    { HTTP_GET,  "/visit/getDestinations", "getDestinations", NULL,                get_destinations },
    { HTTP_GET,  NULL,                     "other",           NULL,                NULL },
};

static const struct call admin[] = {
    { HTTP_POST,   "/visitors",    "visitors",       NULL, admin_visitors },
    { HTTP_DELETE, "/visitors/{}", "forget_visitor", NULL, admin_forget_visitor },
    { HTTP_GET,    NULL,           NULL,             NULL, NULL },
};

const struct vendor passagepoint = {
    .name = "passagepoint", .prefixes = { "/pp/api/v2" }, .calls = calls, .admin = admin, .settings = settings,
    .shapes = shapes, .state = &state, .reset = reset, .error = error, .answered = answered, .count = count,
    .effects = effects,
};

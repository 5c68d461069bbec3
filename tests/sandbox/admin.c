/*
 * admin - the test's side of the sandbox: settings, faults, vendors up and down, and what was seen.
 */
#include "faults.h"
#include "server.h"
#include "settings.h"

#include <inttypes.h>

static void ping(struct exchange *x)
{
    text_str(answer(x, 200, "application/json"), "{\"ok\":true}\n");
}

static void settings_get(struct exchange *x)
{
    settings_print(answer(x, 200, "application/json"));
}

static void settings_post(struct exchange *x)
{
    json_object *body = body_json(x);
    struct text why = { 0 };

    if (!body)
        return;
    if (settings_merge(body, &why))
        settings_get(x);
    else
        answer_json_error(x, 400, "%.*s", (int)why.len, why.at);
    text_release(&why);
    json_object_put(body);
}

static void faults_get(struct exchange *x)
{
    faults_print(answer(x, 200, "application/json"));
}

static void faults_post(struct exchange *x)
{
    json_object *body = body_json(x);
    bool one = !json_object_is_type(body, json_type_array);
    size_t count = one ? 1 : json_object_array_length(body);
    struct text ids = { 0 }, why = { 0 };

    if (!body)
        return;
    for (size_t i = 0; i < count && !why.len; i++) {
        uint32_t id = faults_add(one ? body : json_object_array_get_idx(body, i), &why);

        text_fmt(&ids, "%s%" PRIu32, i ? "," : "", id);
    }
    if (why.len)
        answer_json_error(x, 400, "%.*s", (int)why.len, why.at);
    else
        text_fmt(answer(x, 200, "application/json"), one ? "{\"id\":%.*s}\n" : "{\"ids\":[%.*s]}\n", (int)ids.len,
                 ids.len ? ids.at : "");
    text_release(&ids);
    text_release(&why);
    json_object_put(body);
}

static void faults_delete_all(struct exchange *x)
{
    faults_remove(0);
    server_release(0);
    text_str(answer(x, 200, "application/json"), "{}\n");
}

static void faults_delete(struct exchange *x)
{
    int64_t id;

    if (!slice_int64(x->req.arg, &id) || id < 1 || !faults_remove((uint32_t)id)) {
        answer_json_error(x, 404, "no such fault");
        return;
    }
    server_release((uint32_t)id);
    text_str(answer(x, 200, "application/json"), "{}\n");
}

static bool flag(json_object *of, const char *name)
{
    json_object *value;

    return json_object_object_get_ex(of, name, &value) && json_object_get_boolean(value);
}

static void vendor_change(struct exchange *x, const struct vendor *v, json_object *body)
{
    json_object *value;
    int port = server_door_port(v);

    if (json_object_object_get_ex(body, "port", &value) && (port = server_door(v, json_object_get_int(value))) < 0) {
        answer_json_error(x, 400, "cannot listen on that port");
        return;
    }
    if (flag(body, "revoke_tokens"))
        v->reset(RESET_TOKENS);
    if (json_object_object_get_ex(body, "down", &value)) {
        v->state->down = json_object_get_boolean(value);
        v->state->down_by_reset = flag(body, "by_reset");
        if (!server_vendor_down(v, v->state->down)) {
            answer_json_error(x, 500, "%s cannot listen again", v->name);
            return;
        }
    }
    text_fmt(answer(x, 200, "application/json"), "{\"vendor\":\"%s\",\"down\":%s,\"port\":%d}\n", v->name,
             v->state->down ? "true" : "false", port);
}

static void vendor_post(struct exchange *x)
{
    json_object *body = body_json(x), *name;
    const struct vendor *v = NULL;

    if (!body)
        return;
    if (json_object_object_get_ex(body, "vendor", &name) && name)
        v = vendor_named(slice_of(json_object_get_string(name)));
    if (v)
        vendor_change(x, v, body);
    else
        answer_json_error(x, 400, "vendor is one of the sandbox's vendors");
    json_object_put(body);
}

static void effects(struct exchange *x)
{
    const struct vendor *v = NULL;
    struct slice name;
    char buf[32];

    if (query_get(x->req.query, "vendor", buf, sizeof buf, &name))
        v = vendor_named(name);
    else
        for (size_t i = 0; vendors[i] && !v; i++)
            v = vendors[i]->effects ? vendors[i] : NULL;
    if (v && v->effects)
        v->effects(x);
    else
        answer_json_error(x, 404, "that vendor changes nothing");
}

static void counts(struct exchange *x)
{
    counts_print(answer(x, 200, "application/json"));
}

static void calls(struct exchange *x)
{
    calls_print(answer(x, 200, "application/json"), x->req.query);
}

void reset_what(unsigned what)
{
    if (what & RESET_FAULTS) {
        faults_remove(0);
        server_drop_held();
    }
    if (what & (RESET_EFFECTS | RESET_DATA))
        effects_forgotten();
    for (size_t i = 0; vendors[i]; i++) {
        vendors[i]->reset(what);
        if (what == RESET_ALL && vendors[i]->state->down) {
            vendors[i]->state->down = false;
            server_vendor_down(vendors[i], false);
        }
    }
    if (what & RESET_SETTINGS)
        settings_reset();
    if (what & RESET_COUNTS)
        counts_reset();
}

static unsigned part_named(const char *name)
{
    static const struct { const char *name; unsigned bit; } parts[] = {
        { "data", RESET_DATA }, { "effects", RESET_EFFECTS }, { "counts", RESET_COUNTS },
        { "tokens", RESET_TOKENS }, { "settings", RESET_SETTINGS }, { "faults", RESET_FAULTS },
    };

    for (size_t i = 0; i < COUNT(parts); i++)
        if (!strcmp(parts[i].name, name))
            return parts[i].bit;
    return 0;
}

static void reset_post(struct exchange *x)
{
    json_object *body = x->req.body.len ? body_json(x) : json_object_new_object(), *only;
    unsigned what = 0;
    bool bad = false;

    if (!body)
        return;
    if (json_object_object_get_ex(body, "only", &only) && json_object_is_type(only, json_type_array)) {
        size_t count = json_object_array_length(only);

        for (size_t i = 0; i < count; i++) {
            const char *name = json_object_get_string(json_object_array_get_idx(only, i));
            unsigned bit = name ? part_named(name) : 0;

            bad |= !bit;
            what |= bit;
        }
    } else {
        what = RESET_ALL;
    }
    json_object_put(body);
    if (bad) {
        answer_json_error(x, 400, "only: data, effects, counts, tokens, settings, faults");
        return;
    }
    reset_what(what);
    text_str(answer(x, 200, "application/json"), "{}\n");
}

const struct call admin_calls[] = {
    { HTTP_GET,    "/ping",      "ping",          NULL, ping },
    { HTTP_GET,    "/settings",  "settings",      NULL, settings_get },
    { HTTP_POST,   "/settings",  "set",           NULL, settings_post },
    { HTTP_GET,    "/faults",    "faults",        NULL, faults_get },
    { HTTP_POST,   "/faults",    "add_faults",    NULL, faults_post },
    { HTTP_DELETE, "/faults",    "clear_faults",  NULL, faults_delete_all },
    { HTTP_DELETE, "/faults/{}", "remove_fault",  NULL, faults_delete },
    { HTTP_POST,   "/vendor",    "vendor",        NULL, vendor_post },
    { HTTP_GET,    "/effects",   "effects",       NULL, effects },
    { HTTP_GET,    "/counts",    "counts",        NULL, counts },
    { HTTP_GET,    "/calls",     "calls",         NULL, calls },
    { HTTP_POST,   "/reset",     "reset",         NULL, reset_post },
    { HTTP_GET,    NULL,         NULL,            NULL, NULL },
};

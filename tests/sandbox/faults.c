#include "faults.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <uthash.h>

enum effect { EFFECT_NONE, EFFECT_BEFORE, EFFECT_AFTER, EFFECT_LATE };

struct kind {
    const char *name;
    void (*apply)(const struct fault *f, struct exchange *x);
    enum effect effect;
    int status;
};

struct fault {
    uint32_t id;
    const struct vendor *vendor;     /* NULL: any */
    const struct call *call;         /* NULL: any */
    const struct kind *kind;         /* NULL: a shape */
    const char *shape;
    json_object *of;                 /* all text below borrows from it */
    const char *key;                 /* NULL: any */
    const char *code, *message, *body, *content_type, *reason, *value;
    struct text headers;
    double share, ms;
    int64_t count, skip, bytes, retry_after_s;
    int status;
    enum effect effect;
    uint64_t seen, fired;
};

struct list { struct fault **at; size_t count, cap; };
struct keyed { struct list list; UT_hash_handle hh; char key[]; };

static struct list all, any_key;
static struct keyed *keyed;
static uint32_t last_id;

static void list_add(struct list *l, struct fault *f)
{
    if (l->count == l->cap) {
        l->cap = l->cap ? l->cap * 2 : 4;
        l->at = memory(l->at, l->cap * sizeof(struct fault *));
    }
    l->at[l->count++] = f;
}

static void list_remove(struct list *l, const struct fault *f)
{
    for (size_t i = 0; i < l->count; i++) {
        if (l->at[i] != f)
            continue;
        memmove(&l->at[i], &l->at[i + 1], (l->count - i - 1) * sizeof(struct fault *));
        l->count--;
        return;
    }
}

/* ---- what each kind does ---- */

static const char *or_else(const char *given, const char *usual)
{
    return given ? given : usual;
}

static void vendor_error(const struct fault *f, struct exchange *x, const char *code, const char *message,
                         enum error_form form)
{
    x->vendor->error(x, f->status, or_else(f->code, code), or_else(f->message, message), form);
}

static const char *keep(char *buf, size_t cap, const char *s)
{
    snprintf(buf, cap, "%s", s);
    return buf;
}

static struct text *own_answer(const struct fault *f, struct exchange *x, const char *content_type)
{
    return answer(x, f->status, f->content_type ? keep(x->answer.own_type, sizeof x->answer.own_type, f->content_type)
                                                : content_type);
}

static void apply_status(const struct fault *f, struct exchange *x)
{
    text_str(own_answer(f, x, "application/json"), or_else(f->body, ""));
}

static void apply_error_object(const struct fault *f, struct exchange *x)
{
    vendor_error(f, x, "GENERAL_ERROR", "General error", ERROR_OBJECT);
}

static void apply_error_list(const struct fault *f, struct exchange *x)
{
    vendor_error(f, x, "GENERAL_ERROR", "General error", ERROR_LIST);
}

static void apply_xml(const struct fault *f, struct exchange *x)
{
    vendor_error(f, x, "GENERAL_ERROR", "General error", ERROR_XML);
}

static void apply_error_in_200(const struct fault *f, struct exchange *x)
{
    struct text *out = answer(x, f->status, "application/json");

    text_str(out, "{\"error\":");
    text_json(out, slice_of(or_else(f->message, "something went wrong")));
    text_str(out, "}");
}

static void apply_stall(const struct fault *f, struct exchange *x)
{
    x->held_by = f->id;
    x->late = f->effect == EFFECT_LATE;
    x->wait_ns = f->ms < 0 ? WAIT_FOREVER : x->wait_ns + (int64_t)(f->ms * (double)NS_PER_MS);
}

static void apply_close(const struct fault *f, struct exchange *x)
{
    (void)f;
    x->ending = END_CLOSE;
}

static void apply_reset(const struct fault *f, struct exchange *x)
{
    (void)f;
    x->ending = END_RESET;
}

static void apply_refuse(const struct fault *f, struct exchange *x)
{
    apply_reset(f, x);
    x->wait_ns = 0;
}

static void apply_truncate(const struct fault *f, struct exchange *x)
{
    (void)f;
    x->ending = END_TRUNCATE;
}

static void apply_unauthorized(const struct fault *f, struct exchange *x)
{
    vendor_error(f, x, "UNAUTHORIZED", "Unauthorized", ERROR_USUAL);
}

static void apply_not_json(const struct fault *f, struct exchange *x)
{
    text_str(own_answer(f, x, "text/html; charset=utf-8"),
             or_else(f->body, "<html><body><h1>We will be back soon</h1></body></html>"));
}

static void apply_empty(const struct fault *f, struct exchange *x)
{
    own_answer(f, x, "application/json");
}

static void apply_huge(const struct fault *f, struct exchange *x)
{
    struct text *out = answer(x, f->status, "application/json");
    size_t len = f->bytes < 2 ? 2 : (size_t)f->bytes;

    text_reserve(out, len);
    memset(out->at, 'x', len);
    out->at[0] = out->at[len - 1] = '"';
    out->len = len;
}

static void apply_rate_limited(const struct fault *f, struct exchange *x)
{
    vendor_error(f, x, "PER_SECOND_THRESHOLD", "HTTP requests are more than allowed per second", ERROR_USUAL);
}

static const struct kind delay = { "delay", NULL, EFFECT_BEFORE, 0 };

static const struct kind kinds[] = {
    { "status",            apply_status,       EFFECT_NONE,   500 },
    { "json_error_object", apply_error_object, EFFECT_NONE,   400 },
    { "json_error_list",   apply_error_list,   EFFECT_NONE,   400 },
    { "xml_error",         apply_xml,          EFFECT_NONE,   400 },
    { "error_in_200",      apply_error_in_200, EFFECT_NONE,   200 },
    { "stall",             apply_stall,        EFFECT_AFTER,  0 },
    { "drop_before",       apply_close,        EFFECT_NONE,   0 },
    { "drop_after",        apply_close,        EFFECT_BEFORE, 0 },
    { "reset_after",       apply_reset,        EFFECT_BEFORE, 0 },
    { "refuse",            apply_refuse,       EFFECT_NONE,   0 },
    { "truncate",          apply_truncate,     EFFECT_BEFORE, 0 },
    { "unauthorized",      apply_unauthorized, EFFECT_NONE,   401 },
    { "not_json",          apply_not_json,     EFFECT_NONE,   200 },
    { "empty",             apply_empty,        EFFECT_NONE,   200 },
    { "huge",              apply_huge,         EFFECT_NONE,   200 },
    { "rate_limited",      apply_rate_limited, EFFECT_NONE,   429 },
};

void fault_apply(const struct fault *f, struct exchange *x)
{
    if (f->shape) {
        x->shape = f->shape;
        x->shape_value = slice_of(f->value);
        x->shape_status = f->status;
        return;                      /* an ordinary answer, in another shape */
    }
    if (f->effect == EFFECT_BEFORE)
        exchange_serve(x);
    f->kind->apply(f, x);
    if (x->held_by)
        return;
    x->served = true;
    x->genuine = false;
    if (x->ending == END_TRUNCATE)
        return;                      /* what is cut short is the vendor's own answer */
    if (f->reason)
        x->answer.reason = keep(x->answer.own_reason, sizeof x->answer.own_reason, f->reason);
    text_slice_add(&x->answer.headers, text_slice(&f->headers));
    if (f->retry_after_s >= 0)
        text_fmt(&x->answer.headers, "Retry-After: %" PRId64 "\r\n", f->retry_after_s);
}

/* ---- which one ---- */

static bool fires(struct fault *f, const struct exchange *x)
{
    if ((f->vendor && f->vendor != x->vendor) || (f->call && f->call != x->call))
        return false;
    f->seen++;
    if (f->seen <= (uint64_t)f->skip || (f->count >= 0 && f->fired >= (uint64_t)f->count))
        return false;
    if (f->share < 1 && prng_unit(&chance) >= f->share)
        return false;
    f->fired++;
    return true;
}

struct fault *faults_pick(const struct exchange *x, double *ret_delay_ms)
{
    const struct list *lists[KEYS_MAX + 1];
    size_t at[KEYS_MAX + 1] = { 0 }, count = 0;

    *ret_delay_ms = 0;
    if (!all.count)
        return NULL;
    if (any_key.count)
        lists[count++] = &any_key;
    for (size_t i = 0; keyed && i < x->key_count; i++) {
        struct keyed *k;

        HASH_FIND(hh, keyed, x->keys[i].at, x->keys[i].len, k);
        if (k && k->list.count)
            lists[count++] = &k->list;
    }
    for (;;) {
        struct fault *oldest = NULL;
        size_t from = 0;

        for (size_t i = 0; i < count; i++) {
            if (at[i] < lists[i]->count && (!oldest || lists[i]->at[at[i]]->id < oldest->id)) {
                oldest = lists[i]->at[at[i]];
                from = i;
            }
        }
        if (!oldest)
            return NULL;
        at[from]++;
        if (!fires(oldest, x))
            continue;
        if (oldest->kind != &delay)
            return oldest;
        *ret_delay_ms += oldest->ms < 0 ? 0 : oldest->ms;
    }
}

/* ---- adding, removing, listing ---- */

static const char *member_text(json_object *of, const char *name)
{
    json_object *value;

    return json_object_object_get_ex(of, name, &value) ? json_object_get_string(value) : NULL;
}

static double member_number(json_object *of, const char *name, double usual)
{
    json_object *value;

    return json_object_object_get_ex(of, name, &value) ? json_object_get_double(value) : usual;
}

static int64_t member_int(json_object *of, const char *name, int64_t usual)
{
    json_object *value;

    return json_object_object_get_ex(of, name, &value) ? json_object_get_int64(value) : usual;
}

static void add_header(struct fault *f, const char *name, const char *value)
{
    text_fmt(&f->headers, "%s: %s\r\n", name, value ? value : "");
}

static const char *shape_named(const struct vendor *v, const char *name)
{
    for (size_t i = 0; v->shapes[i]; i++)
        if (!strcmp(v->shapes[i], name))
            return v->shapes[i];
    return NULL;
}

static bool set_kind(struct fault *f, struct text *ret_why)
{
    const char *name = member_text(f->of, "kind");
    json_object *effect;

    if (!name) {
        text_str(ret_why, "a fault needs a kind");
        return false;
    }
    if (!strcmp(name, delay.name))
        f->kind = &delay;
    for (size_t i = 0; i < COUNT(kinds); i++)
        if (!strcmp(name, kinds[i].name))
            f->kind = &kinds[i];
    for (size_t i = 0; !f->kind && !f->shape && vendors[i]; i++)
        if (!f->vendor || f->vendor == vendors[i])
            f->shape = shape_named(vendors[i], name);
    if (!f->kind && !f->shape) {
        text_fmt(ret_why, "there is no kind of fault called %s", name);
        return false;
    }
    f->effect = f->kind ? f->kind->effect : EFFECT_BEFORE;
    f->status = (int)member_int(f->of, "status", f->kind ? f->kind->status : 0);
    if ((f->kind ? f->kind->status : f->status) && (f->status < 200 || f->status > 599)) {
        text_fmt(ret_why, "%d is no status", f->status);
        return false;
    }
    if (!json_object_object_get_ex(f->of, "effect", &effect))
        return true;
    if (json_object_is_type(effect, json_type_boolean))
        f->effect = json_object_get_boolean(effect) ? EFFECT_BEFORE : EFFECT_NONE;
    else if (effect && !strcmp(json_object_get_string(effect), "late") && f->kind && f->kind->apply == apply_stall)
        f->effect = EFFECT_LATE;
    else {
        text_str(ret_why, "effect is true or false, or \"late\" with stall");
        return false;
    }
    if (f->kind && f->kind->apply == apply_stall && f->effect == EFFECT_NONE)
        f->effect = EFFECT_AFTER;
    return true;
}

static bool set_scope(struct fault *f, struct text *ret_why)
{
    const char *vendor = member_text(f->of, "vendor"), *call = member_text(f->of, "call");

    if (vendor && strcmp(vendor, "*") != 0 && !(f->vendor = vendor_named(slice_of(vendor)))) {
        text_fmt(ret_why, "there is no vendor %s", vendor);
        return false;
    }
    if (call && strcmp(call, "*") != 0) {
        if (!f->vendor || !(f->call = call_named(f->vendor, slice_of(call)))) {
            text_fmt(ret_why, "%s has no call %s", vendor ? vendor : "*", call);
            return false;
        }
    }
    f->key = member_text(f->of, "key");
    if (f->key && !strcmp(f->key, "*"))
        f->key = NULL;
    return true;
}

static void fault_free(struct fault *f)
{
    text_release(&f->headers);
    json_object_put(f->of);
    free(f);
}

uint32_t faults_add(json_object *of, struct text *ret_why)
{
    struct fault *f = memory(NULL, sizeof *f);
    json_object *headers;

    *f = (struct fault){ .of = json_object_get(of) };
    if (!json_object_is_type(of, json_type_object)) {
        text_str(ret_why, "a fault is an object");
        fault_free(f);
        return 0;
    }
    if (!set_scope(f, ret_why) || !set_kind(f, ret_why)) {
        fault_free(f);
        return 0;
    }
    f->share = member_number(of, "share", 1);
    f->count = member_int(of, "count", -1);
    f->skip = member_int(of, "skip", 0);
    f->ms = member_number(of, "ms", f->kind == &delay ? 0 : -1);
    f->bytes = member_int(of, "bytes", INT64_C(10000000));
    f->retry_after_s = member_int(of, "retry_after", -1);
    f->code = member_text(of, "code");
    f->message = member_text(of, "message");
    f->body = member_text(of, "body");
    f->content_type = member_text(of, "content_type");
    f->reason = member_text(of, "reason");
    f->value = member_text(of, "value");
    if (f->bytes > INT64_C(1) << 30)
        f->bytes = INT64_C(1) << 30;
    if (json_object_object_get_ex(of, "headers", &headers) && json_object_is_type(headers, json_type_object)) {
        json_object_object_foreach(headers, name, value)
            add_header(f, name, json_object_get_string(value));
    }
    f->id = ++last_id;
    list_add(&all, f);
    if (!f->key) {
        list_add(&any_key, f);
    } else {
        size_t len = strlen(f->key);
        struct keyed *k;

        HASH_FIND(hh, keyed, f->key, len, k);
        if (!k) {
            k = memory(NULL, sizeof *k + len + 1);
            memset(k, 0, sizeof *k);
            memcpy(k->key, f->key, len + 1);
            HASH_ADD(hh, keyed, key, (unsigned)len, k);
        }
        list_add(&k->list, f);
    }
    return f->id;
}

static void keyed_forget(const struct fault *f)
{
    struct keyed *k;

    HASH_FIND(hh, keyed, f->key, strlen(f->key), k);
    if (!k)
        return;
    list_remove(&k->list, f);
    if (k->list.count)
        return;
    HASH_DEL(keyed, k);
    free(k->list.at);
    free(k);
}

bool faults_remove(uint32_t id)
{
    bool found = false;

    for (size_t i = all.count; i-- > 0;) {
        struct fault *f = all.at[i];

        if (id && f->id != id)
            continue;
        if (!id)
            all.count = i;
        else
            list_remove(&all, f);
        if (f->key)
            keyed_forget(f);
        else
            list_remove(&any_key, f);
        fault_free(f);
        found = true;
    }
    if (!id) {
        free(all.at);
        free(any_key.at);
        all = any_key = (struct list){ 0 };
    }
    return found;
}

void faults_print(struct text *out)
{
    text_str(out, "[");
    for (size_t i = 0; i < all.count; i++) {
        const struct fault *f = all.at[i];

        text_fmt(out, "%s{\"id\":%" PRIu32 ",\"fired\":%" PRIu64 ",\"seen\":%" PRIu64 ",\"fault\":", i ? ",\n" : "",
                 f->id, f->fired, f->seen);
        text_str(out, json_object_to_json_string_ext(f->of, JSON_C_TO_STRING_PLAIN));
        text_str(out, "}");
    }
    text_str(out, "]\n");
}

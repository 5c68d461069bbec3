/*
 * Fed whole, byte by byte and in parts, a text brings the same elements, the same rest and the same fault; and what json_read
 * takes as a whole, the stream takes too, element for element. Bytes: shape and bound, length of the parts (two), text.
 */
#include "common/json_stream.h"

#include "common/json.h"
#include "common/text.h"
#include "tests/fuzz/fuzz.h"

enum { SMALL = 24, LARGE = 1 << 20 };

struct outcome {
    struct text told;       /* everything that came, in order */
    json_object *elements;  /* the same as json-c would have it: one list, or an object of lists */
    struct fault fault;
};

static struct fault take(void *of, const char *list, json_object *value, const char *bytes, size_t len)
{
    struct outcome *o = of;
    json_object *to = o->elements, *again;

    text_printf(&o->told, "%s=%s;", list, json_object_to_json_string_ext(value, JSON_C_TO_STRING_PLAIN));
    want(!json_read(bytes, len, &again).kind && json_object_equal(value, again));
    json_object_put(again);
    if (json_object_is_type(to, json_type_object) && !json_object_object_get_ex(to, list, &to)) {
        to = json_object_new_array();
        json_object_object_add(o->elements, list, to);
    }
    json_object_array_add(to, json_object_get(value));
    return FAULT_OK;
}

/* part, part_after: how many bytes are fed at a time, in turn; 0: all. */
static void run(const char *shape, size_t element_max, const char *text, size_t len, size_t part, size_t part_after,
                struct outcome *ret)
{
    *ret = (struct outcome){.elements = strcmp(shape, "[") ? json_object_new_object() : json_object_new_array()};
    struct json_stream *s = json_stream_open(shape, element_max, take, ret);

    want(s != NULL);
    for (size_t at = 0, turn = 0, step; at < len; at += step, turn++) {
        step = turn % 2 ? part_after : part;
        if (!step || step > len - at)
            step = len - at;
        /* memory of its own length, so that reading beyond it is seen */
        char *copy = malloc(step);
        want(copy != NULL);
        memcpy(copy, text + at, step);
        json_stream_feed(s, copy, step);
        free(copy);
    }
    ret->fault = json_stream_end(s);
    text_printf(&ret->told, "other %s ", json_object_to_json_string_ext(json_stream_other(s), JSON_C_TO_STRING_PLAIN));
    text_printf(&ret->told, "%d %s", json_stream_has(s, ""), ret->fault.what);
    json_stream_close(s);
}

static void release(struct outcome *o)
{
    text_free(&o->told);
    json_object_put(o->elements);
}

static void want_same(const char *shape, size_t element_max, const char *text, size_t len, size_t part, size_t part_after,
                      const struct outcome *whole)
{
    struct outcome o;

    run(shape, element_max, text, len, part, part_after, &o);
    want(o.fault.kind == whole->fault.kind && !strcmp(text_str(&o.told), text_str(&whole->told)));
    release(&o);
}

/* The lists of the object that the shape foresees, added to `to` (an object of lists); empty ones are left out. */
static void lists_of(json_object *of, json_object *to)
{
    json_object_object_foreach(of, name, member)
    {
        if (!json_object_is_type(member, json_type_array) || !json_object_array_length(member))
            continue;
        json_object *list = NULL;
        if (!json_object_object_get_ex(to, name, &list))
            json_object_object_add(to, name, list = json_object_new_array());
        for (size_t i = 0; i < json_object_array_length(member); i++)
            json_object_array_add(list, json_object_get(json_object_array_get_idx(member, i)));
    }
}

/* What json-c says that a text of this shape holds. */
static json_object *expected(const char *shape, json_object *value)
{
    bool list = json_object_is_type(value, json_type_array);
    json_object *to;

    if (!strcmp(shape, "["))
        return list ? json_object_get(value) : json_object_new_array();
    to = json_object_new_object();
    if (!strcmp(shape, "{[") && json_object_is_type(value, json_type_object))
        lists_of(value, to);
    for (size_t i = 0; !strcmp(shape, "[{[") && list && i < json_object_array_length(value); i++)
        if (json_object_is_type(json_object_array_get_idx(value, i), json_type_object))
            lists_of(json_object_array_get_idx(value, i), to);
    return to;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const shapes[] = {"[", "{[", "[{["};
    struct outcome whole, again;
    json_object *value;

    if (size < 3)
        return 0;
    const char *shape = shapes[data[0] % COUNT(shapes)];
    size_t element_max = data[0] & 0x80 ? SMALL : LARGE, part = data[1], part_after = data[2];
    const char *text = (const char *)data + 3;
    size_t len = size - 3;

    run(shape, element_max, text, len, 0, 0, &whole);
    want_same(shape, element_max, text, len, 1, 1, &whole);
    want_same(shape, element_max, text, len, part, part_after, &whole);

    struct fault f = json_read(text, len, &value);
    bool deep = f.kind && strstr(f.what, "deep"); /* an element may be as deep as a text */
    bool marked = len >= 3 && !memcmp(text, "\xEF\xBB\xBF", 3);
    want(whole.fault.kind || !f.kind || deep || marked);
    if (!f.kind && element_max == LARGE && len < JSON_STREAM_OTHER_MAX) {
        want(!whole.fault.kind);
        /* written by json-c, where each name is there once */
        size_t written_len;
        const char *written = json_object_to_json_string_length(value, JSON_C_TO_STRING_PLAIN, &written_len);
        run(shape, element_max, written, written_len, part, part_after, &again);
        json_object *want_elements = expected(shape, value);
        want(!again.fault.kind && json_object_equal(again.elements, want_elements));
        json_object_put(want_elements);
        release(&again);
    }
    json_object_put(value);
    release(&whole);
    return 0;
}

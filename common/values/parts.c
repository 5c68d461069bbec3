#include "common/values/parts.h"

#include <string.h>

struct fault values_want(const char *what, json_object *found)
{
    static const char *const names[] = {
        [json_type_null] = "null",       [json_type_boolean] = "a boolean", [json_type_double] = "a number",
        [json_type_int] = "an integer",  [json_type_object] = "an object",  [json_type_array] = "an array",
        [json_type_string] = "a string",
    };

    return FAULT(REJECT, "want %s, found %s", what, names[json_object_get_type(found)]);
}

struct fault values_text(json_object *from, const char *what, const char **ret)
{
    if (!json_object_is_type(from, json_type_string))
        return values_want(what, from);
    *ret = json_object_get_string(from);
    if (memchr(*ret, '\0', (size_t)json_object_get_string_len(from)))
        return FAULT(REJECT, "want %s, found one with a zero byte", what);
    return FAULT_OK;
}

struct fault values_short_text(json_object *from, const char *what, char *ret, size_t size)
{
    const char *text = NULL;

    TRY(values_text(from, what, &text));
    if (!text_fit(ret, size, text, strlen(text)))
        return FAULT(REJECT, "want %s, found one of %zu bytes, at most %zu fit", what, strlen(text), size - 1);
    return FAULT_OK;
}

/* What json-c makes of an integer that it cannot hold, so that nobody can tell it from the number itself. */
static bool is_cut(json_object *value)
{
    return json_object_is_type(value, json_type_int) &&
           (json_object_get_int64(value) == INT64_MIN || json_object_get_uint64(value) == UINT64_MAX);
}

struct fault values_whole(json_object *from)
{
    if (is_cut(from))
        return FAULT(REJECT, "holds an integer of more than 64 bits");
    if (json_object_is_type(from, json_type_array))
        for (size_t i = 0; i < json_object_array_length(from); i++)
            TRY(values_whole(json_object_array_get_idx(from, i)));
    if (json_object_is_type(from, json_type_object)) {
        json_object_object_foreach(from, name, value) {
            (void)name;
            TRY(values_whole(value));
        }
    }
    return FAULT_OK;
}

struct fault values_object(json_object *from, const char *what)
{
    if (!json_object_is_type(from, json_type_object))
        return values_want(what, from);
    return values_whole(from);
}

void values_put(struct text *to, json_object *value)
{
    size_t len;
    const char *json = json_object_to_json_string_length(value, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE,
                                                         &len);

    if (json)
        text_add(to, json, len);
    else
        to->failed = true;
}

static bool is_one_of(const char *name, const char *const *names)
{
    while (*names && strcmp(*names, name))
        names++;
    return *names;
}

void values_rest(struct text *to, json_object *as_sent, const char *const *names)
{
    if (!as_sent)
        return;
    json_object_object_foreach(as_sent, name, value) {
        if (is_one_of(name, names))
            continue;
        text_putc(to, ',');
        text_json(to, name);
        text_putc(to, ':');
        values_put(to, value);
    }
}

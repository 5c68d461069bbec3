#include "settings.h"

#include <inttypes.h>
#include <stdlib.h>

static int64_t seed;

static void seed_changed(void)
{
    chance.state = (uint64_t)seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
}

static const struct setting own_settings[] = {
    { "seed", SETTING_INT, &seed, "1", "where the random shares of faults and jitter start", seed_changed },
    SETTING_END
};

bool names_has(const struct names *names, struct slice s)
{
    if (names->any)
        return true;
    for (size_t i = 0; i < names->count; i++)
        if (slice_is(s, names->at[i]))
            return true;
    return false;
}

static void names_release(struct names *names)
{
    for (size_t i = 0; i < names->count; i++)
        free(names->at[i]);
    free(names->at);
    *names = (struct names){ 0 };
}

static bool set_names(struct names *names, json_object *value)
{
    size_t count = value ? 0 : 1;

    if (value && !json_object_is_type(value, json_type_array))
        return false;
    if (value)
        count = json_object_array_length(value);
    for (size_t i = 0; value && i < count; i++)
        if (!json_object_is_type(json_object_array_get_idx(value, i), json_type_string))
            return false;
    names_release(names);
    if (!value) {
        names->any = true;
        return true;
    }
    names->at = memory(NULL, (count + 1) * sizeof *names->at);
    for (size_t i = 0; i < count; i++)
        names->at[i] = copy_of(slice_of(json_object_get_string(json_object_array_get_idx(value, i))));
    names->count = count;
    return true;
}

static bool set(const struct setting *s, json_object *value)
{
    bool number = json_object_is_type(value, json_type_int) || json_object_is_type(value, json_type_double);
    struct instant i;

    switch (s->type) {
    case SETTING_NUMBER:
        if (!number || json_object_get_double(value) < 0)
            return false;
        *(double *)s->at = json_object_get_double(value);
        break;
    case SETTING_INT:
        if (!json_object_is_type(value, json_type_int))
            return false;
        *(int64_t *)s->at = json_object_get_int64(value);
        break;
    case SETTING_BOOL:
        if (!json_object_is_type(value, json_type_boolean))
            return false;
        *(bool *)s->at = json_object_get_boolean(value);
        break;
    case SETTING_TEXT:
        if (!number && !json_object_is_type(value, json_type_string))
            return false;
        free(*(char **)s->at);
        *(char **)s->at = copy_of(slice_of(json_object_get_string(value)));
        break;
    case SETTING_INSTANT:
        if (!value) {
            *(struct moment *)s->at = (struct moment){ 0 };
            break;
        }
        if (!instant_read(slice_of(json_object_get_string(value)), &i))
            return false;
        *(struct moment *)s->at = (struct moment){ i, true };
        break;
    case SETTING_NAMES:
        if (!set_names(s->at, value))
            return false;
        break;
    case SETTING_JSON:
        json_object_put(*(json_object **)s->at);
        *(json_object **)s->at = json_object_get(value);
        break;
    }
    if (s->changed)
        s->changed();
    return true;
}

static void rows_reset(const struct setting *rows)
{
    for (const struct setting *s = rows; s->name; s++) {
        json_object *initial = json_tokener_parse(s->initial);

        if (!set(s, initial))
            abort();
        json_object_put(initial);
    }
}

static void rows_release(const struct setting *rows)
{
    for (const struct setting *s = rows; s->name; s++) {
        if (s->type == SETTING_TEXT) {
            free(*(char **)s->at);
            *(char **)s->at = NULL;
        } else if (s->type == SETTING_NAMES) {
            names_release(s->at);
        } else if (s->type == SETTING_JSON) {
            json_object_put(*(json_object **)s->at);
            *(json_object **)s->at = NULL;
        }
    }
}

void settings_reset(void)
{
    rows_reset(own_settings);
    for (size_t i = 0; vendors[i]; i++)
        rows_reset(vendors[i]->settings);
}

void settings_release(void)
{
    for (size_t i = 0; vendors[i]; i++)
        rows_release(vendors[i]->settings);
}

static bool rows_merge(const char *vendor, const struct setting *rows, json_object *of, struct text *ret_why)
{
    if (!json_object_is_type(of, json_type_object)) {
        text_fmt(ret_why, "%s is not an object", vendor);
        return false;
    }
    json_object_object_foreach(of, name, value) {
        const struct setting *s = rows;

        while (s->name && strcmp(s->name, name) != 0)
            s++;
        if (!s->name) {
            text_fmt(ret_why, "%s has no setting %s", vendor, name);
            return false;
        }
        if (!set(s, value)) {
            text_fmt(ret_why, "%s.%s cannot be %s", vendor, name, json_object_to_json_string(value));
            return false;
        }
    }
    return true;
}

bool settings_merge(json_object *of, struct text *ret_why)
{
    if (!json_object_is_type(of, json_type_object)) {
        text_str(ret_why, "settings are an object of vendors");
        return false;
    }
    json_object_object_foreach(of, name, rows) {
        const struct vendor *v = vendor_named(slice_of(name));

        if (!v && strcmp(name, "sandbox") != 0) {
            text_fmt(ret_why, "there is no vendor %s", name);
            return false;
        }
        if (!rows_merge(name, v ? v->settings : own_settings, rows, ret_why))
            return false;
    }
    return true;
}

static void value_print(const struct setting *s, struct text *out)
{
    const struct names *names = s->at;
    const struct moment *moment = s->at;
    char buf[32];

    switch (s->type) {
    case SETTING_NUMBER:
        text_fmt(out, "%g", *(double *)s->at);
        break;
    case SETTING_INT:
        text_fmt(out, "%" PRId64, *(int64_t *)s->at);
        break;
    case SETTING_BOOL:
        text_str(out, *(bool *)s->at ? "true" : "false");
        break;
    case SETTING_TEXT:
        text_json(out, slice_of(*(char **)s->at));
        break;
    case SETTING_INSTANT:
        if (moment->set)
            instant_print(moment->at, buf);
        text_fmt(out, moment->set ? "\"%s\"" : "null", buf);
        break;
    case SETTING_NAMES:
        if (names->any) {
            text_str(out, "null");
            break;
        }
        text_str(out, "[");
        for (size_t i = 0; i < names->count; i++) {
            if (i)
                text_str(out, ",");
            text_json(out, slice_of(names->at[i]));
        }
        text_str(out, "]");
        break;
    case SETTING_JSON:
        text_str(out, json_object_to_json_string_ext(*(json_object **)s->at, JSON_C_TO_STRING_PLAIN));
        break;
    }
}

static void rows_print(const char *name, const struct setting *rows, struct text *out)
{
    text_json(out, slice_of(name));
    text_str(out, ":{");
    for (const struct setting *s = rows; s->name; s++) {
        if (s != rows)
            text_str(out, ",");
        text_fmt(out, "\"%s\":", s->name);
        value_print(s, out);
    }
    text_str(out, "}");
}

void settings_print(struct text *out)
{
    text_str(out, "{");
    rows_print("sandbox", own_settings, out);
    for (size_t i = 0; vendors[i]; i++) {
        text_str(out, ",");
        rows_print(vendors[i]->name, vendors[i]->settings, out);
    }
    text_str(out, "}\n");
}

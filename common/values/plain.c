#include "common/values/parts.h"

#include <limits.h>
#include <string.h>

/* ---- integer, float, boolean ---- */

struct fault value_integer_read(json_object *from, struct value_integer *ret)
{
    *ret = (struct value_integer){0};
    if (!json_object_is_type(from, json_type_int))
        return values_want("an integer", from);
    TRY(values_whole(from));
    if (json_object_get_uint64(from) > INT64_MAX) /* a negative one is 0 as unsigned */
        return FAULT(REJECT, "want an integer up to %lld, found a larger one", (long long)INT64_MAX);
    ret->n = json_object_get_int64(from);
    return FAULT_OK;
}

void value_integer_write(struct text *to, const struct value_integer *v)
{
    text_int(to, v->n);
}

struct fault value_float_read(json_object *from, struct value_float *ret)
{
    *ret = (struct value_float){0};
    if (!json_object_is_type(from, json_type_double) && !json_object_is_type(from, json_type_int))
        return values_want("a number", from);
    TRY(values_whole(from));
    const char *digits = json_object_get_string(from); /* json-c keeps what a number was parsed from */
    if (!text_fit(ret->digits, sizeof ret->digits, digits, strlen(digits)))
        return FAULT(REJECT, "want a number, found one of %zu digits, at most %zu fit", strlen(digits),
                     sizeof ret->digits - 1);
    return FAULT_OK;
}

void value_float_write(struct text *to, const struct value_float *v)
{
    text_puts(to, v->digits);
}

static bool is_nil(json_object *value)
{
    return !value || (json_object_is_type(value, json_type_boolean) && !json_object_get_boolean(value)) ||
           (json_object_is_type(value, json_type_array) && !json_object_array_length(value));
}

struct fault value_boolean_read(json_object *from, struct value_boolean *ret)
{
    *ret = (struct value_boolean){0};
    if (is_nil(from))
        return FAULT_OK;
    if (!json_object_is_type(from, json_type_boolean))
        return values_want("true or false", from);
    ret->is = true;
    return FAULT_OK;
}

void value_boolean_write(struct text *to, const struct value_boolean *v)
{
    text_puts(to, v->is ? "true" : "false");
}

/* ---- string and symbol ---- */

struct fault value_string_read(json_object *from, struct value_string *ret)
{
    *ret = (struct value_string){.bytes = ""};
    if (!json_object_is_type(from, json_type_string))
        return values_want("a string", from);
    ret->as_sent = json_object_get(from);
    ret->bytes = json_object_get_string(from);
    ret->len = (size_t)json_object_get_string_len(from);
    return FAULT_OK;
}

void value_string_write(struct text *to, const struct value_string *v)
{
    /* json-c's writer, because ours ends at a zero byte */
    json_object *string = v->len <= INT_MAX ? json_object_new_string_len(v->bytes, (int)v->len) : NULL;

    if (string)
        values_put(to, string);
    else
        to->failed = true;
    json_object_put(string);
}

void value_string_free(struct value_string *v)
{
    json_object_put(v->as_sent);
    *v = (struct value_string){.bytes = ""};
}

struct fault value_symbol_read(json_object *from, struct value_symbol *ret)
{
    *ret = (struct value_symbol){0};
    TRY(values_short_text(from, "a symbol", ret->name, sizeof ret->name));
    return ret->name[0] ? FAULT_OK : FAULT(REJECT, "want a symbol, found an empty string");
}

void value_symbol_write(struct text *to, const struct value_symbol *v)
{
    text_json(to, v->name);
}

static char next_of_symbol(const char **at)
{
    while (**at == '-')
        (*at)++;
    char c = **at;
    *at += c != '\0';
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

bool value_symbol_is(const char *name, const char *other)
{
    char c;

    do {
        c = next_of_symbol(&name);
        if (c != next_of_symbol(&other))
            return false;
    } while (c);
    return true;
}

/* ---- list, hashtable, allocationItem ---- */

struct fault value_list_read(json_object *from, struct value_list *ret)
{
    *ret = (struct value_list){0};
    if (is_nil(from))
        return FAULT_OK;
    if (!json_object_is_type(from, json_type_array))
        return values_want("a list", from);
    TRY(values_whole(from));
    ret->members = json_object_get(from);
    ret->count = json_object_array_length(from);
    return FAULT_OK;
}

void value_list_write(struct text *to, const struct value_list *v)
{
    if (v->members)
        values_put(to, v->members);
    else
        text_puts(to, "[]");
}

void value_list_free(struct value_list *v)
{
    json_object_put(v->members);
    *v = (struct value_list){0};
}

static struct fault members_read(json_object *from, const char *what, json_object **ret)
{
    *ret = NULL;
    TRY(values_object(from, what));
    *ret = json_object_get(from);
    return FAULT_OK;
}

static void members_write(struct text *to, json_object *members)
{
    if (members)
        values_put(to, members);
    else
        text_puts(to, "{}");
}

struct fault value_hashtable_read(json_object *from, struct value_hashtable *ret)
{
    return members_read(from, "a hashtable", &ret->members);
}

void value_hashtable_write(struct text *to, const struct value_hashtable *v)
{
    members_write(to, v->members);
}

void value_hashtable_free(struct value_hashtable *v)
{
    json_object_put(v->members);
    *v = (struct value_hashtable){0};
}

struct fault value_allocation_item_read(json_object *from, struct value_allocation_item *ret)
{
    return members_read(from, "an allocationItem", &ret->members);
}

void value_allocation_item_write(struct text *to, const struct value_allocation_item *v)
{
    members_write(to, v->members);
}

void value_allocation_item_free(struct value_allocation_item *v)
{
    json_object_put(v->members);
    *v = (struct value_allocation_item){0};
}

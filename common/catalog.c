#include "common/catalog.h"

#include "common/instant.h"
#include "common/json.h"
#include "common/scoped.h"

#include <string.h>

/* The same rules as in schemas/catalog.delta.schema.json; a test compares the two. */

static const char *const kinds[] = {"added", "removed", "availability", "check"};

const char *catalog_kind_name(enum catalog_kind kind)
{
    return kinds[kind];
}

static bool has_record(enum catalog_kind kind)
{
    return kind == CATALOG_ADDED || kind == CATALOG_REMOVED;
}

/* ---- writing: half a million of them in an import ---- */

void catalog_write(struct text *to, const struct catalog_change *change, const char *record, size_t len)
{
    /* nothing of it needs escaping */
    text_puts(to, "{\"isbn\":\"");
    text_puts(to, change->isbn);
    text_puts(to, "\",\"change\":\"");
    text_puts(to, catalog_kind_name(change->kind));
    text_puts(to, "\",\"as_of\":\"");
    text_puts(to, change->as_of);
    text_putc(to, '"');
    if (change->kind == CATALOG_AVAILABILITY)
        text_puts(to, change->available ? ",\"available\":true" : ",\"available\":false");
    if (len) {
        text_puts(to, ",\"record\":");
        text_add(to, record, len);
    }
    text_putc(to, '}');
}

/* ---- reading ---- */

static struct fault read_isbn(json_object *in, char ret[VALUES_ISBN_SIZE])
{
    char written[VALUES_ISBN_SIZE];

    TRY(json_text(in, "isbn", written, sizeof written));
    if (strspn(written, "0123456789") != VALUES_ISBN_SIZE - 1)
        return FAULT(REJECT, "isbn: want 13 digits");
    return fault_under(values_isbn(written, ret), "isbn");
}

static struct fault read_kind(json_object *in, enum catalog_kind *ret)
{
    char written[16];
    size_t kind = 0;

    TRY(json_text(in, "change", written, sizeof written));
    while (kind < COUNT(kinds) && strcmp(written, kinds[kind]))
        kind++;
    if (kind == COUNT(kinds))
        return FAULT(REJECT, "change: want added, removed, availability or check");
    *ret = (enum catalog_kind)kind;
    return FAULT_OK;
}

/* 2026-11-24T16:00:00Z, with or without a fraction. */
static bool is_utc(const char *written)
{
    static const char shape[] = "0000-00-00T00:00:00";
    const char *at = written;
    int64_t instant;

    for (const char *s = shape; *s; s++, at++)
        if (*s == '0' ? *at < '0' || *at > '9' : *at != *s)
            return false;
    if (at[-2] == '6') /* a leap second: instant_read takes it for the second after it */
        return false;
    if (*at == '.') {
        size_t digits = strspn(at + 1, "0123456789");
        if (!digits || digits > 9)
            return false;
        at += 1 + digits;
    }
    return !strcmp(at, "Z") && instant_read(written, &instant, NULL);
}

static struct fault read_as_of(json_object *in, char ret[CATALOG_INSTANT_SIZE])
{
    TRY(json_text(in, "as_of", ret, CATALOG_INSTANT_SIZE));
    if (!is_utc(ret))
        return FAULT(REJECT, "as_of: want an instant in UTC as 2026-11-24T16:00:00.123456Z");
    return FAULT_OK;
}

static struct fault want(const char *key, const char *what, bool found, json_object *member)
{
    return FAULT(REJECT, "%s: want %s, found %s", key, what,
                 found ? json_type_to_name(json_object_get_type(member)) : "nothing");
}

/* What only some kinds carry; with others it is as if it were not there. */
static struct fault read_of_kind(json_object *in, struct catalog_change *ret, json_object **ret_record)
{
    json_object *member = NULL;
    bool found;

    if (has_record(ret->kind) && json_object_object_get_ex(in, "record", &member)) {
        if (!json_object_is_type(member, json_type_object))
            return want("record", "an object", true, member);
        *ret_record = json_object_get(member);
    }
    if (ret->kind == CATALOG_AVAILABILITY) {
        found = json_object_object_get_ex(in, "available", &member);
        if (!json_object_is_type(member, json_type_boolean))
            return want("available", "true or false", found, member);
        ret->available = json_object_get_boolean(member);
    }
    return FAULT_OK;
}

struct fault catalog_read(const char *value, size_t len, struct catalog_change *ret, json_object **ret_record)
{
    SCOPED(json_object_put) json_object *in = NULL;

    *ret = (struct catalog_change){0};
    *ret_record = NULL;
    TRY(json_read(value, len, &in));
    if (!json_object_is_type(in, json_type_object))
        return FAULT(REJECT, "want an object, found %s", json_type_to_name(json_object_get_type(in)));
    TRY(read_isbn(in, ret->isbn));
    TRY(read_kind(in, &ret->kind));
    TRY(read_as_of(in, ret->as_of));
    return read_of_kind(in, ret, ret_record);
}

#include "common/booking.h"

#include "common/instant.h"
#include "common/json.h"
#include "common/scoped.h"

#include <string.h>

/* The same rules as in schemas/booking-window.schema.json; a test compares the two. */

static struct fault check_source(const char *source)
{
    static const char rest[] = "abcdefghijklmnopqrstuvwxyz0123456789-";

    if (*source < 'a' || *source > 'z' || source[strspn(source, rest)])
        return FAULT(REJECT, "source: want a-z, then a-z, 0-9 and -");
    return FAULT_OK;
}

static struct fault check_id(const char *key, const char *id)
{
    return text_is_id(id) ? FAULT_OK : FAULT(REJECT, "%s: want printable ASCII, without a space at either end", key);
}

/* A schema counts characters, a buffer bytes: so a text is to fit even if all were as wide as the widest of them. */
static struct fault check_destination(const char *destination, size_t room)
{
    size_t count = 0, widest = 1;

    for (const unsigned char *c = (const unsigned char *)destination; *c; c++) {
        size_t width = *c < 0xC0 ? 1 : *c < 0xE0 ? 2 : *c < 0xF0 ? 3 : 4;

        if (*c < ' ' || *c == 0x7F || (*c == 0xC2 && c[1] < 0xA0))
            return FAULT(REJECT, "destination: holds a control character");
        count += (*c & 0xC0) != 0x80;
        widest = width > widest ? width : widest;
    }
    if (count * widest > room)
        return FAULT(REJECT, "destination: %zu characters, at most %zu fit", count, room / widest);
    return FAULT_OK;
}

static struct fault read_members(json_object *in, bool with_primary_id, struct booking *b)
{
    TRY(json_text(in, "source", b->source, sizeof b->source));
    TRY(check_source(b->source));
    TRY(json_text(in, "booking_id", b->booking_id, sizeof b->booking_id));
    TRY(check_id("booking_id", b->booking_id));
    TRY(json_text(in, "appt_id", b->appt_id, sizeof b->appt_id));
    if (!text_is_uuid(b->appt_id))
        return FAULT(REJECT, "appt_id: want a UUID in lower case");
    TRY(json_text(in, "asked_id", b->asked_id, sizeof b->asked_id));
    TRY(check_id("asked_id", b->asked_id));
    if (with_primary_id) {
        TRY(json_text(in, "primary_id", b->primary_id, sizeof b->primary_id));
        TRY(check_id("primary_id", b->primary_id));
    }
    TRY(json_instant(in, "start", &b->start));
    TRY(json_instant(in, "end", &b->end));
    if (b->start >= b->end)
        return FAULT(REJECT, "end: not after start");
    TRY(json_text(in, "destination", b->destination, sizeof b->destination));
    return check_destination(b->destination, sizeof b->destination - 1);
}

struct fault booking_read(const char *value, size_t len, bool with_primary_id, struct booking *ret)
{
    SCOPED(json_object_put) json_object *in = NULL;

    *ret = (struct booking){0};
    TRY(json_read(value, len, &in));
    if (!json_object_is_type(in, json_type_object))
        return FAULT(REJECT, "want an object, found %s", json_type_to_name(json_object_get_type(in)));
    return read_members(in, with_primary_id, ret);
}

static void put(struct text *to, const char *before, const char *string)
{
    text_puts(to, before);
    text_json(to, string);
}

void booking_write(struct text *to, const struct booking *b)
{
    char start[INSTANT_SIZE], end[INSTANT_SIZE];

    instant_write(b->start, start);
    instant_write(b->end, end);
    put(to, "{\"source\":", b->source);
    put(to, ",\"booking_id\":", b->booking_id);
    put(to, ",\"appt_id\":", b->appt_id);
    put(to, ",\"asked_id\":", b->asked_id);
    if (*b->primary_id)
        put(to, ",\"primary_id\":", b->primary_id);
    put(to, ",\"start\":", start);
    put(to, ",\"end\":", end);
    put(to, ",\"destination\":", b->destination);
    text_putc(to, '}');
}

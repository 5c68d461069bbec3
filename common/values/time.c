#include "common/values/parts.h"

#include "common/instant.h"
#include "common/scoped.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

/* ---- duration ---- */

struct fault value_duration_read(json_object *from, struct value_duration *ret)
{
    struct value_integer seconds;
    struct fault f = value_integer_read(from, &seconds);

    *ret = (struct value_duration){.seconds = seconds.n};
    return f;
}

void value_duration_write(struct text *to, const struct value_duration *v)
{
    text_int(to, v->seconds);
}

/* ---- timestamp ---- */

/* The digits of a fraction as nanoseconds; instant_read has seen that there are digits behind the point. */
static bool read_fraction(const char *written, int32_t *ret_nanoseconds)
{
    const char *point = strchr(written, '.');
    int count = 0;

    *ret_nanoseconds = 0;
    if (!point)
        return true;
    for (const char *c = point + 1; isdigit((unsigned char)*c); c++)
        if (++count <= 9)
            *ret_nanoseconds = *ret_nanoseconds * 10 + (*c - '0');
    for (int i = count; i < 9; i++)
        *ret_nanoseconds *= 10;
    return count <= 9;
}

struct fault value_timestamp_read(json_object *from, struct value_timestamp *ret)
{
    *ret = (struct value_timestamp){0};
    TRY(values_short_text(from, "a timestamp as a string", ret->written, sizeof ret->written));
    if (!instant_read(ret->written, &ret->at, &ret->offset_seconds))
        return FAULT(REJECT, "want a time with an offset, as 2019-07-03T10:17:15.910231-05:00");
    if (!read_fraction(ret->written, &ret->nanoseconds))
        return FAULT(REJECT, "want a fraction of a second of at most nine digits");
    return FAULT_OK;
}

void value_timestamp_write(struct text *to, const struct value_timestamp *v)
{
    text_json(to, v->written);
}

void value_timestamp_of(int64_t at, int32_t microseconds, int offset_seconds, struct value_timestamp *ret)
{
    int minutes = offset_seconds / 60, distance = minutes < 0 ? -minutes : minutes;
    char local[INSTANT_SIZE];

    *ret = (struct value_timestamp){.at = at, .nanoseconds = microseconds * 1000, .offset_seconds = minutes * 60};
    instant_write(at + ret->offset_seconds, local);
    local[INSTANT_SIZE - 2] = '\0'; /* its Z */
    snprintf(ret->written, sizeof ret->written, "%s.%06d%c%02d:%02d", local, (int)microseconds, minutes < 0 ? '-' : '+',
             distance / 60 % 100, distance % 60);
}

/* ---- period ---- */

static const char *const period_names[] = {"quantity", "unit", NULL};

struct fault value_period_read(json_object *from, struct value_period *ret)
{
    struct value_integer quantity;
    struct fault f;

    *ret = (struct value_period){.unit = ""};
    TRY(values_object(from, "a period"));
    if ((f = value_integer_read(json_get(from, "quantity"), &quantity)).kind)
        return fault_under(f, "quantity");
    if ((f = values_text(json_get(from, "unit"), "a string", &ret->unit)).kind)
        return fault_under(f, "unit");
    ret->quantity = quantity.n;
    ret->as_sent = json_object_get(from);
    return FAULT_OK;
}

void value_period_write(struct text *to, const struct value_period *v)
{
    text_puts(to, "{\"quantity\":");
    text_int(to, v->quantity);
    text_puts(to, ",\"unit\":");
    text_json(to, v->unit);
    values_rest(to, v->as_sent, period_names);
    text_putc(to, '}');
}

void value_period_free(struct value_period *v)
{
    json_object_put(v->as_sent);
    *v = (struct value_period){0};
}

bool value_period_seconds(const struct value_period *v, int64_t *ret_seconds)
{
    static const struct {
        const char *one, *many;
        int64_t seconds;
    } units[] = {
        {"second", "seconds", 1}, {"minute", "minutes", 60}, {"hour", "hours", 3600}, {"day", "days", 86400},
        {"week", "weeks", 604800},
    };

    for (size_t i = 0; i < COUNT(units); i++)
        if (value_symbol_is(v->unit, units[i].one) || value_symbol_is(v->unit, units[i].many))
            return !__builtin_mul_overflow(v->quantity, units[i].seconds, ret_seconds);
    return false;
}

/* ---- circulationPeriod ---- */

/* The members as those of type "duration" are. A missing one is none. */
static struct fault read_lengths(json_object *from, struct value_circulation_period *ret)
{
    json_object *duration = json_get(from, "duration"), *period = json_get(from, "period");
    struct fault f = duration ? value_duration_read(duration, &ret->duration) : FAULT_OK, g = FAULT_OK;

    ret->has_duration = duration && !f.kind;
    if (period)
        g = value_period_read(period, &ret->period);
    ret->has_period = period && !g.kind;
    if (f.kind)
        return fault_under(f, "duration");
    return g.kind ? fault_under(g, "period") : FAULT_OK;
}

struct fault value_circulation_period_read(json_object *from, struct value_circulation_period *ret)
{
    struct fault f;

    *ret = (struct value_circulation_period){.type = ""};
    TRY(values_object(from, "a circulationPeriod"));
    if ((f = values_text(json_get(from, "type"), "a string", &ret->type)).kind)
        return fault_under(f, "type");
    f = read_lengths(from, ret);
    if (f.kind && value_symbol_is(ret->type, "duration")) {
        value_circulation_period_free(ret);
        return f;
    }
    ret->as_sent = json_object_get(from);
    return FAULT_OK;
}

void value_circulation_period_write(struct text *to, const struct value_circulation_period *v)
{
    const char *known[4] = {"type"};
    size_t count = 1;

    text_puts(to, "{\"type\":");
    text_json(to, v->type);
    if (v->has_duration) {
        known[count++] = "duration";
        text_puts(to, ",\"duration\":");
        value_duration_write(to, &v->duration);
    }
    if (v->has_period) {
        known[count++] = "period";
        text_puts(to, ",\"period\":");
        value_period_write(to, &v->period);
    }
    values_rest(to, v->as_sent, known);
    text_putc(to, '}');
}

void value_circulation_period_free(struct value_circulation_period *v)
{
    value_period_free(&v->period);
    json_object_put(v->as_sent);
    *v = (struct value_circulation_period){0};
}

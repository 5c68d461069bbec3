#include "common/values/parts.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* ---- money ---- */

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* What may stand before the digits: no digit, sign, point, blank or separator, so that there is one way to read it. */
static size_t symbol_length(const char *written)
{
    static const char minus[] = "\xE2\x88\x92", no_break[] = "\xC2\xA0";
    size_t len = 0;

    while (written[len] && !strchr("0123456789.,+-()'\"\\", written[len]) && (unsigned char)written[len] > ' ' &&
           written[len] != 0x7F && strncmp(written + len, minus, 3) && strncmp(written + len, no_break, 2))
        len++;
    return len;
}

struct fault value_money_read(json_object *from, struct value_money *ret)
{
    int64_t minor = 0;
    struct value_float number;

    *ret = (struct value_money){0};
    if (!json_object_is_type(from, json_type_string)) {
        if (value_float_read(from, &number).kind || strlen(number.digits) >= sizeof ret->written)
            return values_want("money as \"$2.15\"", from);
        ret->is_number = true;
        memcpy(ret->written, number.digits, strlen(number.digits) + 1);
        return FAULT_OK;
    }
    TRY(values_short_text(from, "money as \"$2.15\"", ret->written, sizeof ret->written));
    size_t symbol = symbol_length(ret->written);
    if (!symbol || !text_fit(ret->symbol, sizeof ret->symbol, ret->written, symbol))
        return FAULT(REJECT, "want money as \"$2.15\", found %s", symbol ? "a longer symbol" : "no symbol in front");
    const char *c = ret->written + symbol, *point = c + strspn(c, "0123456789");
    if (*point != '.' || !is_digit(point[1]) || !is_digit(point[2]) || point[3])
        return FAULT(REJECT, "want money as \"$2.15\": digits, a point and two digits behind the symbol");
    for (; *c; c++)
        if (*c != '.' && (__builtin_mul_overflow(minor, 10, &minor) || __builtin_add_overflow(minor, *c - '0', &minor)))
            return FAULT(REJECT, "want money of up to %" PRId64 " hundredths, found more", INT64_MAX);
    ret->minor = minor;
    return FAULT_OK;
}

void value_money_write(struct text *to, const struct value_money *v)
{
    if (v->is_number)
        text_puts(to, v->written);
    else
        text_json(to, v->written);
}

struct fault value_money_of(int64_t minor, const char *symbol, struct value_money *ret)
{
    size_t len = symbol_length(symbol);

    *ret = (struct value_money){0};
    if (minor < 0)
        return FAULT(REJECT, "want money, found a negative amount: the document knows no sign");
    if (!len || symbol[len] || !text_fit(ret->symbol, sizeof ret->symbol, symbol, len))
        return FAULT(REJECT, "want a currency symbol of up to %zu bytes, without digits, blanks or signs",
                     sizeof ret->symbol - 1);
    ret->minor = minor;
    snprintf(ret->written, sizeof ret->written, "%s%" PRId64 ".%02d", ret->symbol, minor / 100, (int)(minor % 100));
    return FAULT_OK;
}

/* ---- simpleRate ---- */

/* The document's text says "Amount", its example "amount": what was sent is sent back. */
static const char *amount_name(json_object *as_sent)
{
    return json_get(as_sent, "Amount") && !json_get(as_sent, "amount") ? "Amount" : "amount";
}

static struct fault read_rate(json_object *from, struct value_simple_rate *ret)
{
    const char *name = amount_name(from);
    struct fault f;

    if ((f = value_money_read(json_get(from, name), &ret->amount)).kind)
        return fault_under(f, "%s", name);
    if (json_get(from, "perSec") && (f = value_float_read(json_get(from, "perSec"), &ret->per_sec)).kind)
        return fault_under(f, "perSec");
    if ((f = value_period_read(json_get(from, "period"), &ret->period)).kind)
        return fault_under(f, "period");
    return FAULT_OK;
}

struct fault value_simple_rate_read(json_object *from, struct value_simple_rate *ret)
{
    *ret = (struct value_simple_rate){0};
    TRY(values_object(from, "a simpleRate"));
    TRY(read_rate(from, ret));
    ret->as_sent = json_object_get(from);
    return FAULT_OK;
}

void value_simple_rate_write(struct text *to, const struct value_simple_rate *v)
{
    const char *name = amount_name(v->as_sent);
    const char *const known[] = {name, "period", "perSec", NULL};

    text_putc(to, '{');
    text_json(to, name);
    text_putc(to, ':');
    value_money_write(to, &v->amount);
    text_puts(to, ",\"period\":");
    value_period_write(to, &v->period);
    if (v->per_sec.digits[0]) {
        text_puts(to, ",\"perSec\":");
        value_float_write(to, &v->per_sec);
    }
    values_rest(to, v->as_sent, known);
    text_putc(to, '}');
}

void value_simple_rate_free(struct value_simple_rate *v)
{
    value_period_free(&v->period);
    json_object_put(v->as_sent);
    *v = (struct value_simple_rate){0};
}

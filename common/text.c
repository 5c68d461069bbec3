#include "common/text.h"

#include <endian.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void text_clear(struct text *t)
{
    t->len = 0;
    t->failed = false;
    if (t->at)
        t->at[0] = '\0';
}

void text_free(struct text *t)
{
    free(t->at);
    *t = (struct text){0};
}

static bool text_grow(struct text *t, size_t more)
{
    size_t want = t->len + more + 1;

    if (t->failed)
        return false;
    if (more >= TEXT_MAX || want > TEXT_MAX) { /* the first, because a sum can wrap */
        t->failed = true;
        return false;
    }
    if (want <= t->room)
        return true;
    size_t room = t->room ? t->room : 64;
    while (room < want)
        room *= 2;
    t->at = realloc(t->at, room);
    t->room = room;
    return true;
}

void text_add(struct text *t, const char *bytes, size_t len)
{
    if (!text_grow(t, len))
        return;
    if (len)
        memcpy(t->at + t->len, bytes, len);
    t->len += len;
    t->at[t->len] = '\0';
}

void text_puts(struct text *t, const char *string)
{
    text_add(t, string, strlen(string));
}

void text_putc(struct text *t, char c)
{
    if (t->len + 1 >= t->room || t->failed) {
        text_add(t, &c, 1);
        return;
    }
    t->at[t->len++] = c;
    t->at[t->len] = '\0';
}

void text_int(struct text *t, int64_t n)
{
    char digits[24];
    char *at = digits + sizeof digits;
    uint64_t rest = n < 0 ? 0 - (uint64_t)n : (uint64_t)n;

    do {
        *--at = (char)('0' + rest % 10);
        rest /= 10;
    } while (rest);
    if (n < 0)
        *--at = '-';
    text_add(t, at, (size_t)(digits + sizeof digits - at));
}

void text_printf(struct text *t, const char *format, ...)
{
    char small[256];
    va_list args;

    va_start(args, format);
    int n = vsnprintf(small, sizeof small, format, args);
    va_end(args);
    if (n < 0) {
        t->failed = true;
    } else if ((size_t)n < sizeof small) {
        text_add(t, small, (size_t)n);
    } else if (text_grow(t, (size_t)n)) {
        va_start(args, format);
        vsnprintf(t->at + t->len, (size_t)n + 1, format, args);
        va_end(args);
        t->len += (size_t)n;
    }
}

const char *text_str(const struct text *t)
{
    return t->at ? t->at : "";
}

void text_percent(struct text *t, const char *string)
{
    static const char hex[] = "0123456789ABCDEF";

    for (const unsigned char *c = (const unsigned char *)string; *c; c++) {
        bool plain = (*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') || (*c >= '0' && *c <= '9') || *c == '-' ||
                     *c == '.' || *c == '_' || *c == '~';
        if (plain)
            text_putc(t, (char)*c);
        else
            text_add(t, (char[]){'%', hex[*c >> 4], hex[*c & 15]}, 3);
    }
}

void text_json(struct text *t, const char *string)
{
    text_putc(t, '"');
    for (const char *c = string; *c;) {
        size_t plain = strcspn(c, "\"\\\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f\x10\x11\x12\x13\x14"
                                  "\x15\x16\x17\x18\x19\x1a\x1b\x1c\x1d\x1e\x1f");
        text_add(t, c, plain);
        c += plain;
        if (*c == '"' || *c == '\\')
            text_add(t, (char[]){'\\', *c}, 2);
        else if (*c)
            text_printf(t, "\\u%04x", (unsigned)(unsigned char)*c);
        if (*c)
            c++;
    }
    text_putc(t, '"');
}

/* Bytes that are `x` have their highest bit set in the result, and perhaps some behind the first one. */
static uint64_t is_byte(uint64_t word, unsigned char x)
{
    const uint64_t ones = 0x0101010101010101;
    uint64_t zero_where = word ^ ones * x;

    return (zero_where - ones) & ~zero_where;
}

size_t text_plain(const char *at, size_t len)
{
    const uint64_t ones = 0x0101010101010101, high = 0x8080808080808080;
    size_t i = 0;

    for (uint64_t word; i + 8 <= len; i += 8) {
        memcpy(&word, at + i, 8);
        word = le64toh(word); /* the first byte is the lowest */
        uint64_t below_blank = (word - ones * ' ') & ~word;
        uint64_t care = (word | below_blank | is_byte(word, '"') | is_byte(word, '\\') | is_byte(word, 0x7F)) & high;
        if (care)
            return i + (size_t)__builtin_ctzll(care) / 8;
    }
    while (i < len && at[i] >= ' ' && at[i] < 0x7F && at[i] != '"' && at[i] != '\\')
        i++;
    return i;
}

bool text_copy(char *to, size_t size, const char *from)
{
    size_t len = strlen(from);
    bool fits = len < size;

    if (!fits) {
        len = size - 1;
        while (len && ((unsigned char)from[len] & 0xC0) == 0x80)
            len--;
    }
    memcpy(to, from, len);
    to[len] = '\0';
    return fits;
}

bool text_fit(char *to, size_t size, const char *from, size_t len)
{
    if (len >= size) {
        to[0] = '\0';
        return false;
    }
    memcpy(to, from, len);
    to[len] = '\0';
    return true;
}

bool text_is_uuid(const char *string)
{
    static const char form[] = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx";
    size_t at = 0;

    while (form[at] && (form[at] == 'x' ? string[at] && strchr("0123456789abcdef", string[at]) : string[at] == '-'))
        at++;
    return !form[at] && !string[at];
}

bool text_is_id(const char *string)
{
    const char *c = string;

    while (*c >= ' ' && *c <= '~')
        c++;
    return !*c && *string && *string != ' ' && c[-1] != ' ';
}

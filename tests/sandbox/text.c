#include "text.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <time.h>

bool slice_is(struct slice s, const char *word)
{
    return slice_same(s, slice_of(word));
}

bool slice_same(struct slice a, struct slice b)
{
    return a.len == b.len && (!a.len || !memcmp(a.at, b.at, a.len));
}

bool slice_same_nocase(struct slice a, struct slice b)
{
    return a.len == b.len && (!a.len || !strncasecmp(a.at, b.at, a.len));
}

bool slice_has(struct slice s, const char *word)
{
    return s.len && memmem(s.at, s.len, word, strlen(word));
}

bool slice_starts(struct slice s, const char *word)
{
    size_t len = strlen(word);

    return s.len >= len && !memcmp(s.at, word, len);
}

bool slice_int64(struct slice s, int64_t *ret_n)
{
    bool minus = s.len && s.at[0] == '-';
    int64_t n = 0;

    if (s.len == (minus ? 1U : 0U) || s.len > 18)
        return false;
    for (size_t i = minus; i < s.len; i++) {
        if (s.at[i] < '0' || s.at[i] > '9')
            return false;
        n = n * 10 + (s.at[i] - '0');
    }
    *ret_n = minus ? -n : n;
    return true;
}

uint32_t slice_hash(struct slice s)
{
    uint32_t hash = 2166136261U;

    for (size_t i = 0; i < s.len; i++)
        hash = (hash ^ (unsigned char)s.at[i]) * 16777619U;
    return hash;
}

uint32_t slice_hash_nocase(struct slice s)
{
    uint32_t hash = 2166136261U;

    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.at[i];

        hash = (hash ^ (c >= 'A' && c <= 'Z' ? c + 32U : c)) * 16777619U;
    }
    return hash;
}

void *memory(void *old, size_t size)
{
    void *new;

    if (!size) {
        free(old);
        return NULL;
    }
    new = realloc(old, size);
    if (!new) {
        fputs("sandbox: out of memory\n", stderr);
        abort();
    }
    return new;
}

char *copy_of(struct slice s)
{
    char *copy = memory(NULL, s.len + 1);

    if (s.len)
        memcpy(copy, s.at, s.len);
    copy[s.len] = '\0';
    return copy;
}

void text_reserve(struct text *t, size_t more)
{
    size_t cap = t->cap ? t->cap : 512;

    if (t->cap - t->len >= more && t->cap)
        return;
    while (cap - t->len < more)
        cap *= 2;
    t->at = memory(t->at, cap);
    t->cap = cap;
}

void text_add(struct text *t, const char *at, size_t len)
{
    if (!len)
        return;
    text_reserve(t, len);
    memcpy(t->at + t->len, at, len);
    t->len += len;
}

void text_str(struct text *t, const char *s)
{
    text_add(t, s, strlen(s));
}

void text_slice_add(struct text *t, struct slice s)
{
    text_add(t, s.at, s.len);
}

void text_fmt(struct text *t, const char *format, ...)
{
    va_list args;
    int len;

    text_reserve(t, 256);
    va_start(args, format);
    len = vsnprintf(t->at + t->len, t->cap - t->len, format, args);
    va_end(args);
    if (len < 0)
        abort();
    if ((size_t)len >= t->cap - t->len) {
        text_reserve(t, (size_t)len + 1);
        va_start(args, format);
        len = vsnprintf(t->at + t->len, t->cap - t->len, format, args);
        va_end(args);
    }
    t->len += (size_t)len;
}

void text_json(struct text *t, struct slice s)
{
    text_reserve(t, s.len + 2);
    text_add(t, "\"", 1);
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.at[i];

        if (c == '"' || c == '\\')
            text_fmt(t, "\\%c", c);
        else if (c < 0x20)
            text_fmt(t, "\\u%04x", c);
        else
            text_add(t, &s.at[i], 1);
    }
    text_add(t, "\"", 1);
}

void text_xml(struct text *t, struct slice s)
{
    for (size_t i = 0; i < s.len; i++) {
        switch (s.at[i]) {
        case '<': text_str(t, "&lt;"); break;
        case '>': text_str(t, "&gt;"); break;
        case '&': text_str(t, "&amp;"); break;
        case '"': text_str(t, "&quot;"); break;
        default: text_add(t, &s.at[i], 1);
        }
    }
}

void text_release(struct text *t)
{
    free(t->at);
    *t = (struct text){ 0 };
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

bool percent_decode(struct slice s, bool plus, char *buf, size_t cap, struct slice *ret_s)
{
    size_t len = 0;

    for (size_t i = 0; i < s.len; i++) {
        char c = s.at[i];

        if (len >= cap)
            return false;
        if (c == '%') {
            int high = s.len - i > 2 ? hex_digit(s.at[i + 1]) : -1;
            int low = s.len - i > 2 ? hex_digit(s.at[i + 2]) : -1;

            if (high < 0 || low < 0)
                return false;
            c = (char)(high * 16 + low);
            i += 2;
        } else if (c == '+' && plus) {
            c = ' ';
        }
        buf[len++] = c;
    }
    *ret_s = (struct slice){ buf, len };
    return true;
}

bool query_get(struct slice query, const char *name, char *buf, size_t cap, struct slice *ret_s)
{
    const char *at = query.at, *end = query.at + query.len;
    size_t name_len = strlen(name);

    while (query.len && at < end) {
        const char *stop = memchr(at, '&', (size_t)(end - at));

        if (!stop)
            stop = end;
        if ((size_t)(stop - at) > name_len && at[name_len] == '=' && !memcmp(at, name, name_len)) {
            at += name_len + 1;
            return percent_decode((struct slice){ at, (size_t)(stop - at) }, true, buf, cap, ret_s);
        }
        at = stop + 1;
    }
    return false;
}

bool query_flag(struct slice query, const char *name, bool otherwise)
{
    struct slice s;
    char buf[8];

    if (!query_get(query, name, buf, sizeof buf, &s))
        return otherwise;
    return slice_is(s, "1") || slice_is(s, "true");
}

static const char *skip_space(const char *at, const char *end)
{
    while (at < end && (*at == ' ' || *at == '\t' || *at == '\n' || *at == '\r'))
        at++;
    return at;
}

static size_t utf8_put(char *to, unsigned code)
{
    if (code < 0x80) {
        to[0] = (char)code;
        return 1;
    }
    if (code < 0x800) {
        to[0] = (char)(0xC0 | code >> 6);
        to[1] = (char)(0x80 | (code & 0x3F));
        return 2;
    }
    if (code < 0x10000) {
        to[0] = (char)(0xE0 | code >> 12);
        to[1] = (char)(0x80 | (code >> 6 & 0x3F));
        to[2] = (char)(0x80 | (code & 0x3F));
        return 3;
    }
    to[0] = (char)(0xF0 | code >> 18);
    to[1] = (char)(0x80 | (code >> 12 & 0x3F));
    to[2] = (char)(0x80 | (code >> 6 & 0x3F));
    to[3] = (char)(0x80 | (code & 0x3F));
    return 4;
}

static bool read_u4(const char *at, const char *end, unsigned *ret_code)
{
    unsigned code = 0;

    if (end - at < 4)
        return false;
    for (int i = 0; i < 4; i++) {
        int digit = hex_digit(at[i]);

        if (digit < 0)
            return false;
        code = code * 16 + (unsigned)digit;
    }
    *ret_code = code;
    return true;
}

/* Reads the string that starts behind the opening quote; only one with escapes is copied. NULL when it is malformed. */
static const char *read_string(struct fields *f, const char *at, const char *end, struct slice *ret_s)
{
    const char *start = at;
    size_t from = f->scratch_len;

    while (at < end && *at != '"' && *at != '\\')
        at++;
    if (at < end && *at == '"') {
        *ret_s = (struct slice){ start, (size_t)(at - start) };
        return at + 1;
    }
    if ((size_t)(at - start) > sizeof f->scratch - f->scratch_len)
        return NULL;
    memcpy(f->scratch + f->scratch_len, start, (size_t)(at - start));
    f->scratch_len += (size_t)(at - start);
    while (at < end && *at != '"') {
        char *to = f->scratch + f->scratch_len;
        unsigned code, low;

        if (sizeof f->scratch - f->scratch_len < 4)
            return NULL;
        if (*at != '\\') {
            *to = *at++;
            f->scratch_len++;
            continue;
        }
        if (++at >= end)
            return NULL;
        switch (*at++) {
        case '"': case '\\': case '/': *to = at[-1]; f->scratch_len++; break;
        case 'b': *to = '\b'; f->scratch_len++; break;
        case 'f': *to = '\f'; f->scratch_len++; break;
        case 'n': *to = '\n'; f->scratch_len++; break;
        case 'r': *to = '\r'; f->scratch_len++; break;
        case 't': *to = '\t'; f->scratch_len++; break;
        case 'u':
            if (!read_u4(at, end, &code))
                return NULL;
            at += 4;
            if (code >= 0xD800 && code < 0xDC00 && end - at >= 6 && at[0] == '\\' && at[1] == 'u'
                && read_u4(at + 2, end, &low) && low >= 0xDC00 && low < 0xE000) {
                code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
                at += 6;
            }
            f->scratch_len += utf8_put(to, code);
            break;
        default:
            return NULL;
        }
    }
    if (at >= end)
        return NULL;
    *ret_s = (struct slice){ f->scratch + from, f->scratch_len - from };
    return at + 1;
}

bool fields_read(struct fields *f, struct slice json)
{
    const char *at = json.at, *end = json.at + json.len;

    f->count = 0;
    f->scratch_len = 0;
    if (!json.len)
        return false;
    at = skip_space(at, end);
    if (at >= end || *at++ != '{')
        return false;
    at = skip_space(at, end);
    if (at < end && *at == '}')
        return skip_space(at + 1, end) == end;
    while (f->count < COUNT(f->at)) {
        struct field *field = &f->at[f->count];

        if (at >= end || *at != '"' || !(at = read_string(f, at + 1, end, &field->name)))
            return false;
        at = skip_space(at, end);
        if (at >= end || *at++ != ':')
            return false;
        at = skip_space(at, end);
        field->is_text = at < end && *at == '"';
        if (field->is_text) {
            if (!(at = read_string(f, at + 1, end, &field->value)))
                return false;
        } else {
            const char *start = at;

            while (at < end && (isalnum((unsigned char)*at) || *at == '-' || *at == '+' || *at == '.'))
                at++;
            if (at == start)
                return false;
            field->value = (struct slice){ start, (size_t)(at - start) };
        }
        f->count++;
        at = skip_space(at, end);
        if (at < end && *at == '}')
            return skip_space(at + 1, end) == end;
        if (at >= end || *at++ != ',')
            return false;
        at = skip_space(at, end);
    }
    return false;
}

const struct field *fields_get(const struct fields *f, const char *name)
{
    for (size_t i = 0; i < f->count; i++)
        if (slice_is(f->at[i].name, name))
            return &f->at[i];
    return NULL;
}

int64_t day_number(int64_t year, unsigned month, unsigned day)
{
    int64_t era;
    unsigned of_era, of_year;

    year -= month <= 2;
    era = floor_div(year, 400);
    of_era = (unsigned)(year - era * 400);
    of_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;
    return era * 146097 + (int64_t)(of_era * 365 + of_era / 4 - of_era / 100 + of_year) - 719468;
}

static bool digits(struct slice s, size_t from, size_t len, unsigned *ret_n)
{
    unsigned n = 0;

    if (from + len > s.len)
        return false;
    for (size_t i = from; i < from + len; i++) {
        if (s.at[i] < '0' || s.at[i] > '9')
            return false;
        n = n * 10 + (unsigned)(s.at[i] - '0');
    }
    *ret_n = n;
    return true;
}

static bool day_prefix(struct slice s, int64_t *ret_day)
{
    unsigned year, month, day;

    if (!digits(s, 0, 4, &year) || s.at[4] != '-' || !digits(s, 5, 2, &month) || s.at[7] != '-'
        || !digits(s, 8, 2, &day) || month < 1 || month > 12 || day < 1 || day > 31)
        return false;
    *ret_day = day_number(year, month, day);
    return true;
}

bool day_read(struct slice s, int64_t *ret_day)
{
    return s.len == 10 && day_prefix(s, ret_day);
}

bool instant_read(struct slice s, struct instant *ret_i)
{
    unsigned hour, minute, second, offset_hour = 0, offset_minute = 0;
    int64_t day;
    int sign = 0;

    if (s.len < 20 || !day_prefix(s, &day) || (s.at[10] != 'T' && s.at[10] != ' ')
        || !digits(s, 11, 2, &hour) || s.at[13] != ':' || !digits(s, 14, 2, &minute) || s.at[16] != ':'
        || !digits(s, 17, 2, &second))
        return false;
    if (s.at[19] == '+' || s.at[19] == '-') {
        sign = s.at[19] == '-' ? -1 : 1;
        if (!digits(s, 20, 2, &offset_hour)
            || !digits(s, s.len == 25 && s.at[22] == ':' ? 23 : 22, 2, &offset_minute)
            || (s.len != 25 && s.len != 24))
            return false;
    } else if (s.at[19] != 'Z' || s.len != 20) {
        return false;
    }
    ret_i->offset_s = sign * (int32_t)(offset_hour * 3600 + offset_minute * 60);
    ret_i->epoch_s = day * 86400 + (int64_t)(hour * 3600 + minute * 60 + second) - ret_i->offset_s;
    return true;
}

void instant_print(struct instant i, char buf[32])
{
    time_t local = (time_t)(i.epoch_s + i.offset_s);
    unsigned offset = (unsigned)(i.offset_s < 0 ? -i.offset_s : i.offset_s);
    struct tm tm;
    size_t len;

    gmtime_r(&local, &tm);
    len = strftime(buf, 20, "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(buf + len, 32 - len, "%c%02u:%02u", i.offset_s < 0 ? '-' : '+', offset / 3600 % 100, offset / 60 % 60);
}

int64_t clock_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * NS_PER_S + now.tv_nsec;
}

int64_t wall_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return now.tv_sec * 1000 + now.tv_nsec / NS_PER_MS;
}

uint64_t prng_next(struct prng *p)
{
    p->state ^= p->state >> 12;
    p->state ^= p->state << 25;
    p->state ^= p->state >> 27;
    return p->state * UINT64_C(2685821657736338717);
}

double prng_unit(struct prng *p)
{
    return (double)(prng_next(p) >> 11) / 9007199254740992.0;
}

#include "ops/monitor/exposition.h"

#include <stdlib.h>
#include <string.h>

struct exposition exposition_of(const char *bytes, size_t len)
{
    return (struct exposition){bytes, bytes + len};
}

static bool copy(char *to, size_t size, const char *from, const char *end)
{
    size_t len = (size_t)(end - from);

    if (!len || len >= size || memchr(from, '\0', len))
        return false;
    memcpy(to, from, len);
    to[len] = '\0';
    return true;
}

/* Where the labels end: at the first brace that is not within quotes. */
static const char *labels_end(const char *at, const char *end)
{
    bool quoted = false;

    for (; at < end; at++) {
        if (quoted && *at == '\\' && at + 1 < end)
            at++;
        else if (*at == '"')
            quoted = !quoted;
        else if (*at == '}' && !quoted)
            return at;
    }
    return NULL;
}

static bool read_line(const char *at, const char *end, struct series *ret)
{
    char number[64];
    const char *after = at;

    if (at == end || *at == '#')
        return false;
    while (after < end && *after != '{' && *after != ' ')
        after++;
    if (after == end || !copy(ret->name, sizeof ret->name, at, after))
        return false;
    ret->labels[0] = '\0';
    if (*after == '{') {
        const char *close = labels_end(after + 1, end);
        if (!close || (close > after + 1 && !copy(ret->labels, sizeof ret->labels, after + 1, close)))
            return false;
        after = close + 1;
    }
    while (after < end && *after == ' ')
        after++;
    const char *blank = after;
    while (blank < end && *blank != ' ')
        blank++; /* a time-stamp may follow */
    if (!copy(number, sizeof number, after, blank))
        return false;
    char *rest;
    ret->value = strtod(number, &rest);
    return rest != number && !*rest;
}

bool exposition_next(struct exposition *from, struct series *ret)
{
    while (from->at < from->end) {
        const char *at = from->at, *end = memchr(at, '\n', (size_t)(from->end - at));

        end = end ? end : from->end;
        from->at = end < from->end ? end + 1 : end;
        if (read_line(at, end, ret))
            return true;
    }
    return false;
}

static const char *read_value(const char *at, char *ret, size_t size)
{
    size_t n = 0;

    for (; *at && *at != '"'; at++) {
        char c = *at;
        if (c == '\\' && at[1])
            c = *++at == 'n' ? '\n' : *at;
        if (ret && n + 1 < size)
            ret[n++] = c;
    }
    if (ret)
        ret[n] = '\0';
    return *at ? at + 1 : at;
}

bool series_label(const struct series *s, const char *label, char *ret, size_t size)
{
    size_t len = strlen(label);

    for (const char *at = s->labels; *at;) {
        const char *equals = strchr(at, '=');
        if (!equals || equals[1] != '"')
            return false;
        bool it = (size_t)(equals - at) == len && !memcmp(at, label, len);
        at = read_value(equals + 2, it ? ret : NULL, size);
        if (it)
            return true;
        while (*at == ',' || *at == ' ')
            at++;
    }
    return false;
}

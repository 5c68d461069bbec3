#include "common/json.h"

#include "common/instant.h"
#include "common/scoped.h"
#include "common/text.h"

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <string.h>

static const char BLANKS[] = " \t\r\n";

/* The length of the character at `c`, 0 where RFC 3629 knows none: no overlong form, no surrogate. */
static size_t utf8_length(const unsigned char *c, size_t left)
{
    size_t len = *c < 0x80 ? 1 : *c < 0xC2 ? 0 : *c < 0xE0 ? 2 : *c < 0xF0 ? 3 : *c < 0xF5 ? 4 : 0;

    if (len > left)
        return 0;
    for (size_t i = 1; i < len; i++)
        if ((c[i] & 0xC0) != 0x80)
            return 0;
    if ((*c == 0xE0 && c[1] < 0xA0) || (*c == 0xED && c[1] >= 0xA0) || (*c == 0xF0 && c[1] < 0x90) ||
        (*c == 0xF4 && c[1] >= 0x90))
        return 0;
    return len;
}

static size_t digits_length(const char *at, const char *end)
{
    const char *c = at;

    while (c < end && *c >= '0' && *c <= '9')
        c++;
    return (size_t)(c - at);
}

/* The length of the number at `at`, 0 where RFC 8259 knows none: `01`, `1.` and `.5` are not numbers. */
static size_t number_length(const char *at, const char *end)
{
    const char *c = at + (*at == '-');
    size_t whole = digits_length(c, end), more;

    if (!whole || (whole > 1 && *c == '0'))
        return 0;
    c += whole;
    if (c < end && *c == '.') {
        if (!(more = digits_length(c + 1, end)))
            return 0;
        c += 1 + more;
    }
    if (c < end && (*c == 'e' || *c == 'E')) {
        c++;
        if (c < end && (*c == '+' || *c == '-'))
            c++;
        if (!(more = digits_length(c, end)))
            return 0;
        c += more;
    }
    return (size_t)(c - at);
}

/* The length of the word at `at`, 0 for any but JSON's three. */
static size_t word_length(const char *at, size_t left)
{
    static const char *const words[] = {"true", "false", "null"};

    for (size_t i = 0; i < COUNT(words); i++) {
        size_t len = strlen(words[i]);
        if (len <= left && !memcmp(at, words[i], len))
            return len;
    }
    return 0;
}

/*
 * What json-c lets pass: NaN and Infinity, 'text', TRUE, comments, -01 and 1., a comma behind the last member, control characters
 * in strings, and UTF-8 that PostgreSQL would refuse (overlong forms, surrogates). Its own JSON_TOKENER_STRICT is of no use: it
 * lets pass half of these, and from 0.18 on it refuses every letter beyond ASCII, and numbers too large for it.
 */
static struct fault check_bytes(const char *bytes, size_t len)
{
    bool in_string = false, comma = false;

    for (size_t i = 0, step; i < len; i += step) {
        unsigned char c = (unsigned char)bytes[i];

        step = 1;
        if (c >= 0x80) {
            step = utf8_length((const unsigned char *)bytes + i, len - i);
            if (!step)
                return FAULT(REJECT, "not JSON: invalid UTF-8 at byte %zu", i);
            if (!in_string)
                return FAULT(REJECT, "not JSON: unexpected character at byte %zu", i);
        } else if (c == '"') {
            in_string = !in_string;
            comma = false;
        } else if (in_string) {
            if (c < ' ')
                return FAULT(REJECT, "not JSON: a control character in a string at byte %zu", i);
            if (c == '\\')
                step += i + 1 < len && (bytes[i + 1] == '"' || bytes[i + 1] == '\\');
            else
                step += text_plain(bytes + i + 1, len - i - 1);
        } else if (c == '-' || (c >= '0' && c <= '9')) {
            step = number_length(bytes + i, bytes + len);
            if (!step)
                return FAULT(REJECT, "not JSON: no number at byte %zu", i);
            comma = false;
        } else if (strchr("{[:,]}", c)) {
            if (comma && strchr(",]}", c))
                return FAULT(REJECT, "not JSON: a comma too many before byte %zu", i);
            comma = c == ',';
        } else if (!strchr(BLANKS, c)) {
            step = word_length(bytes + i, len - i);
            if (!step)
                return FAULT(REJECT, "not JSON: unexpected character at byte %zu", i);
            comma = false;
        }
    }
    return FAULT_OK;
}

/* One for a thread: it is what costs when every message makes its own. */
static __thread json_tokener *tokener;

void json_forget(void)
{
    if (tokener)
        json_tokener_free(tokener);
    tokener = NULL;
}

struct fault json_read(const char *bytes, size_t len, json_object **ret_value)
{
    *ret_value = NULL;
    if (!tokener) {
        tokener = json_tokener_new_ex(JSON_DEPTH_MAX);
        if (!tokener)
            return FAULT(FATAL, "out of memory");
    }
    if (!len)
        return FAULT(REJECT, "not JSON: it is empty");
    if (len > INT_MAX)
        return FAULT(REJECT, "not JSON: %zu bytes are too many", len);
    if (memchr(bytes, '\0', len))
        return FAULT(REJECT, "not JSON: it holds a zero byte");
    TRY(check_bytes(bytes, len));
    json_tokener_reset(tokener);
    json_object *value = json_tokener_parse_ex(tokener, bytes, (int)len);
    enum json_tokener_error error = json_tokener_get_error(tokener);
    size_t end = json_tokener_get_parse_end(tokener);

    if (error == json_tokener_continue && !value) {
        /* a bare number or literal at the very end is complete only once something follows it */
        value = json_tokener_parse_ex(tokener, "\0", 1);
        error = json_tokener_get_error(tokener);
        end = len;
    }
    if (error != json_tokener_success) {
        json_object_put(value);
        json_tokener_reset(tokener);
        return FAULT(REJECT, "not JSON: %s at byte %zu", json_tokener_error_desc(error), end);
    }
    for (; end < len; end++)
        if (!strchr(BLANKS, bytes[end])) {
            json_object_put(value);
            return FAULT(REJECT, "not JSON: something follows the value at byte %zu", end);
        }
    *ret_value = value;
    return FAULT_OK;
}

json_object *json_get(json_object *in, const char *key)
{
    json_object *member = NULL;

    if (!json_object_is_type(in, json_type_object) || !json_object_object_get_ex(in, key, &member))
        return NULL;
    return member;
}

const char *json_str(json_object *in, const char *key)
{
    json_object *member = json_get(in, key);

    return json_object_is_type(member, json_type_string) ? json_object_get_string(member) : NULL;
}

static struct fault want(const char *key, const char *what, json_object *found)
{
    return FAULT(REJECT, "%s: want %s, found %s %s", key, what,
                 strchr("aeio", json_type_to_name(json_object_get_type(found))[0]) ? "an" : "a",
                 json_type_to_name(json_object_get_type(found)));
}

struct fault json_text(json_object *in, const char *key, char *ret, size_t size)
{
    json_object *member = json_get(in, key);

    if (!member)
        return FAULT(REJECT, "%s: missing", key);
    if (!json_object_is_type(member, json_type_string))
        return want(key, "a string", member);
    size_t len = (size_t)json_object_get_string_len(member);
    const char *bytes = json_object_get_string(member);
    if (!len)
        return FAULT(REJECT, "%s: empty", key);
    if (memchr(bytes, '\0', len))
        return FAULT(REJECT, "%s: holds a zero byte", key);
    if (!text_fit(ret, size, bytes, len))
        return FAULT(REJECT, "%s: %zu bytes, at most %zu fit", key, len, size - 1);
    return FAULT_OK;
}

struct fault json_text_opt(json_object *in, const char *key, char *ret, size_t size)
{
    json_object *member = json_get(in, key);

    ret[0] = '\0';
    if (!member || (json_object_is_type(member, json_type_string) && !json_object_get_string_len(member)))
        return FAULT_OK;
    return json_text(in, key, ret, size);
}

struct fault json_int(json_object *in, const char *key, int64_t min, int64_t max, int64_t *ret)
{
    json_object *member = json_get(in, key);

    if (!member)
        return FAULT(REJECT, "%s: missing", key);
    if (!json_object_is_type(member, json_type_int))
        return want(key, "a whole number", member);
    errno = 0;
    int64_t n = json_object_get_int64(member);
    /* beyond what an int64 holds, json-c answers with the largest one */
    if (errno || json_object_get_uint64(member) > INT64_MAX || n < min || n > max)
        return FAULT(REJECT, "%s: out of range, want %lld to %lld", key, (long long)min, (long long)max);
    *ret = n;
    return FAULT_OK;
}

struct fault json_instant(json_object *in, const char *key, int64_t *ret)
{
    char written[40];

    TRY(json_text(in, key, written, sizeof written));
    if (!instant_read(written, ret, NULL))
        return FAULT(REJECT, "%s: want an instant as 2026-10-12T14:00:00Z", key);
    return FAULT_OK;
}

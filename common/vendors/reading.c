#include "common/vendors/reading.h"

#include <ctype.h>
#include <limits.h>
#include <string.h>
#include <strings.h>

enum { SAYS_MAX = 8192, WORD_MAX = 28, DIGITS_MAX = 3, NAME_INSIDE_MIN = 4 };

json_object *reading_json(const struct http_response *res)
{
    const char *body = res->body;
    size_t len = res->body_len;
    json_object *value = NULL;

    if (len >= 3 && !memcmp(body, "\xEF\xBB\xBF", 3)) {
        body += 3;
        len -= 3;
    }
    if (!len || json_read(body, len, &value).kind)
        return NULL;
    return value;
}

bool reading_is_markup(const struct http_response *res)
{
    size_t at = 0;

    if (strcasestr(res->content_type, "html") || strcasestr(res->content_type, "xml"))
        return true;
    if (res->body_len >= 3 && !memcmp(res->body, "\xEF\xBB\xBF", 3))
        at = 3;
    while (at < res->body_len && isspace((unsigned char)res->body[at]))
        at++;
    return at < res->body_len && res->body[at] == '<';
}

/* The length of the blank that begins here, 0 when none does. */
static size_t blank_first(const unsigned char *c, size_t len)
{
    if (len && (*c <= ' ' || *c == 0x7F))
        return 1;
    if (len >= 2 && c[0] == 0xC2 && c[1] >= 0x80 && c[1] <= 0xA0) /* C1 controls, no-break space */
        return 2;
    if (len >= 3) {
        bool general = c[0] == 0xE2 && c[1] == 0x80 && c[2] >= 0x80 && c[2] <= 0xAF && (c[2] <= 0x8F || c[2] >= 0xA8);
        bool joiner = c[0] == 0xE2 && c[1] == 0x81 && c[2] == 0xA0;
        bool wide = c[0] == 0xE3 && c[1] == 0x80 && c[2] == 0x80;
        bool mark = c[0] == 0xEF && c[1] == 0xBB && c[2] == 0xBF;
        if (general || joiner || wide || mark)
            return 3;
    }
    return 0;
}

static size_t blank_last(const unsigned char *bytes, size_t len)
{
    for (size_t n = 1; n <= 3 && n <= len; n++)
        if (blank_first(bytes + len - n, n) == n)
            return n;
    return 0;
}

void reading_trim(const char **bytes, size_t *len)
{
    size_t n;

    while ((n = blank_first((const unsigned char *)*bytes, *len))) {
        *bytes += n;
        *len -= n;
    }
    while ((n = blank_last((const unsigned char *)*bytes, *len)))
        *len -= n;
}

static bool copy_clean(char *ret, size_t size, const char *bytes, size_t len)
{
    bool fits;

    reading_trim(&bytes, &len);
    fits = len < size;
    if (!fits) {
        len = size - 1;
        while (len && ((unsigned char)bytes[len] & 0xC0) == 0x80)
            len--;
    }
    memcpy(ret, bytes, len);
    ret[len] = '\0';
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)ret[i];
        if (c < ' ' || c == 0x7F) {
            ret[i] = ' ';
        } else if (c < 0x80) {
            i += text_plain(ret + i + 1, len - i - 1);
        } else if (c == 0xC2 && (unsigned char)ret[i + 1] >= 0x80 && (unsigned char)ret[i + 1] < 0xA0) {
            ret[i] = ' ';
            ret[i + 1] = ' ';
        }
    }
    return fits;
}

bool reading_text_of(json_object *value, char *ret, size_t size)
{
    ret[0] = '\0';
    if (json_object_is_type(value, json_type_string))
        return copy_clean(ret, size, json_object_get_string(value), (size_t)json_object_get_string_len(value));
    if (json_object_is_type(value, json_type_int)) {
        int64_t n = json_object_get_int64(value);
        if (n == INT64_MAX || n == INT64_MIN) /* json-c's answer to numbers that do not fit */
            return false;
        const char *digits = json_object_get_string(value);
        return copy_clean(ret, size, digits, strlen(digits));
    }
    return true;
}

bool reading_text(json_object *in, const char *key, char *ret, size_t size)
{
    return reading_text_of(json_get(in, key), ret, size);
}

int64_t reading_int_of(json_object *value)
{
    char digits[24];
    int64_t n = 0;

    if (json_object_is_type(value, json_type_int)) {
        n = json_object_get_int64(value);
        return n < 0 || n == INT64_MAX ? 0 : n; /* json-c's answer to numbers that do not fit */
    }
    if (!reading_text_of(value, digits, sizeof digits) || !digits[0])
        return 0;
    for (const char *c = digits; *c; c++) {
        if (*c < '0' || *c > '9' || n > (INT64_MAX - 9) / 10)
            return 0;
        n = n * 10 + (*c - '0');
    }
    return n;
}

int64_t reading_int(json_object *in, const char *key)
{
    return reading_int_of(json_get(in, key));
}

bool reading_flag(json_object *in, const char *key)
{
    json_object *value = json_get(in, key);
    char word[8];

    if (json_object_is_type(value, json_type_boolean))
        return json_object_get_boolean(value);
    bool whole = reading_text_of(value, word, sizeof word);
    return !whole || (word[0] && strcmp(word, "0") && strcasecmp(word, "false"));
}

size_t reading_count(json_object *list)
{
    if (json_object_is_type(list, json_type_array))
        return json_object_array_length(list);
    return list ? 1 : 0;
}

json_object *reading_at(json_object *list, size_t i)
{
    return json_object_is_type(list, json_type_array) ? json_object_array_get_idx(list, i) : list;
}

static bool is_empty(json_object *value)
{
    switch (json_object_get_type(value)) {
    case json_type_null: return true;
    case json_type_boolean: return !json_object_get_boolean(value);
    case json_type_int: return json_object_get_int64(value) == 0;
    case json_type_string: return json_object_get_string_len(value) == 0;
    case json_type_array: return json_object_array_length(value) == 0;
    case json_type_object: return json_object_object_length(value) == 0;
    default: return false;
    }
}

bool reading_error(json_object *body, const char **ret_words, size_t *ret_len)
{
    static const char *const inner[] = {"message", "error", "description", "code"};
    json_object *error = json_get(body, "error"), *words;

    if (is_empty(error))
        error = json_get(body, "errors");
    if (is_empty(error))
        return false;
    words = reading_at(error, 0);
    for (size_t i = 0; i < 4 && !json_object_is_type(words, json_type_string); i++)
        if (json_str(words, inner[i]))
            words = json_get(words, inner[i]);
    if (!json_object_is_type(words, json_type_string))
        words = NULL;
    if (ret_words)
        *ret_words = words ? json_object_get_string(words) : "";
    if (ret_len)
        *ret_len = words ? (size_t)json_object_get_string_len(words) : 0;
    return true;
}

static bool is_blank(char c)
{
    return (unsigned char)c <= ' ' || (unsigned char)c == 0x7F;
}

static bool ends_word(char c)
{
    return is_blank(c) || strchr("\"'`<>()[]{},;:", c);
}

static bool contains(const char *word, size_t len, const char *part, size_t part_len)
{
    for (size_t i = 0; i + part_len <= len; i++)
        if (!strncasecmp(word + i, part, part_len))
            return true;
    return false;
}

/* Whether a word holds one of these names, or is it where the name is so short that many words hold it. */
static bool is_name(const char *word, size_t len, const char *const *names, size_t name_count)
{
    while (len && strchr(".!?", word[len - 1]))
        len--;
    for (size_t i = 0; i < name_count; i++)
        for (const char *at = names[i]; at && *at;) {
            size_t n = 0;
            while (at[n] && !ends_word(at[n]))
                n++;
            if (n >= NAME_INSIDE_MIN ? contains(word, len, at, n) : n > 1 && n == len && !strncasecmp(at, word, n))
                return true;
            at += n ? n : 1;
        }
    return false;
}

static bool is_private(const char *word, size_t len)
{
    int digits = 0;

    if (len >= WORD_MAX)
        return true;
    for (size_t i = 0; i < len; i++) {
        digits = isdigit((unsigned char)word[i]) ? digits + 1 : 0;
        if (digits > DIGITS_MAX || (unsigned char)word[i] > '~' || (len > 1 && strchr("@=%&/\\", word[i])))
            return true;
    }
    return false;
}

void reading_words(char ret[READING_WORDS_SIZE], const char *words, size_t len, const char *const *names,
                   size_t name_count)
{
    size_t at = 0;

    for (size_t i = 0; i < len;) {
        size_t n = 0;
        while (i + n < len && !ends_word(words[i + n]))
            n++;
        bool masked = n && (is_private(words + i, n) || is_name(words + i, n, names, name_count));
        const char *put = masked ? "…" : words + i;
        size_t put_len = masked ? strlen("…") : n;
        if (!n) {
            n = put_len = 1;
            if (is_blank(*put))
                put = " ";
            if (*put == ' ' && (!at || ret[at - 1] == ' '))
                put_len = 0;
        }
        if (at + put_len >= READING_WORDS_SIZE)
            break;
        memcpy(ret + at, put, put_len);
        at += put_len;
        i += n;
    }
    while (at && ret[at - 1] == ' ')
        at--;
    ret[at] = '\0';
}

bool reading_says(const char *words, size_t len, const char *const *phrases)
{
    if (len > SAYS_MAX)
        len = SAYS_MAX;
    for (; *phrases; phrases++) {
        size_t n = strlen(*phrases);
        for (size_t i = 0; i + n <= len; i++)
            if (!strncasecmp(words + i, *phrases, n))
                return true;
    }
    return false;
}

void reading_lower(char *text)
{
    for (; *text; text++)
        if (*text >= 'A' && *text <= 'Z')
            *text = (char)(*text - 'A' + 'a');
}

bool reading_token(json_object *in, const char *key, char *ret, size_t size)
{
    json_object *value = json_get(in, key);

    ret[0] = '\0';
    if (!json_object_is_type(value, json_type_string))
        return false;
    const char *bytes = json_object_get_string(value);
    size_t len = (size_t)json_object_get_string_len(value);
    if (!len || len >= size)
        return false;
    for (size_t i = 0; i < len; i++)
        if (bytes[i] <= ' ' || bytes[i] > '~')
            return false;
    memcpy(ret, bytes, len + 1);
    return true;
}

struct answer reading_wait(struct answer a, const struct http_response *res, int64_t else_ms)
{
    a.wait_ms = res->retry_after_ms >= 0 ? res->retry_after_ms : else_ms;
    return a;
}

struct answer reading_unanswered(const struct http_response *res)
{
    struct answer a = answer_unanswered(res);

    if (a.verdict == UNKNOWN)
        a.verdict = LATER;
    return a;
}

struct fault reading_asked_id(const char *written, const regex_t *pattern, const char *setting, char *ret, size_t size)
{
    size_t len = strlen(written);
    bool tells = false;

    ret[0] = '\0';
    reading_trim(&written, &len);
    if (!len)
        return FAULT(REJECT, "no id was given");
    if (len >= size)
        return FAULT(REJECT, "the id has %zu bytes, at most %zu fit", len, size - 1);
    for (size_t i = 0; i < len; i++) {
        const char *rest = written + i;
        size_t rest_len = len - i;
        unsigned char c = (unsigned char)*rest;
        reading_trim(&rest, &rest_len); /* moves only where a blank begins */
        if (rest != written + i)
            return c < ' ' || c == 0x7F ? FAULT(REJECT, "the id has a control character inside")
                                        : FAULT(REJECT, "the id has a blank inside");
        if (c > '~')
            return FAULT(REJECT, "the id has a character beyond ASCII");
        tells = tells || (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
    }
    if (!tells)
        return FAULT(REJECT, "the id has neither a letter nor a digit");
    for (size_t i = 0; i < len; i++)
        ret[i] = written[i] >= 'a' && written[i] <= 'z' ? (char)(written[i] - 'a' + 'A') : written[i];
    ret[len] = '\0';
    regmatch_t match = {.rm_so = -1, .rm_eo = -1};
    if (pattern && (regexec(pattern, ret, 1, &match, 0) || match.rm_so != 0 || match.rm_eo != (regoff_t)len)) {
        ret[0] = '\0';
        return FAULT(REJECT, "the id does not look like one (%s)", setting);
    }
    return FAULT_OK;
}

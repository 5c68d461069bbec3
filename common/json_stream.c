#include "common/json_stream.h"

#include "common/json.h"
#include "common/scoped.h"
#include "common/text.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* What may come next, blanks aside. */
enum state {
    MARK,         /* a byte order mark, or the outermost value */
    FIRST_VALUE,  /* right behind [ */
    FIRST_NAME,   /* right behind { */
    VALUE,
    NAME,
    COLON,
    NEXT,         /* behind a value: a comma, or the end of what it is in */
    WITHIN,       /* a value or name that is taken whole */
    DONE,
};

enum purpose { ELEMENT, MEMBER_NAME, OTHER };

struct json_stream {
    const char *shape;
    size_t levels;       /* brackets in it */
    size_t level;        /* how many of them are open */
    size_t element_max;
    json_element *use;
    void *of;
    struct fault fault;  /* the first one */
    enum state state;
    uint64_t taken;      /* bytes fed before this feed */
    size_t mark;         /* bytes of a byte order mark that were there */

    /* what is taken whole just now */
    enum purpose purpose;
    uint64_t from;       /* its first byte */
    struct text part;    /* what earlier feeds had of it */
    bool bare;           /* a number or word: it ends before what follows it */
    bool in_string, escaped;
    size_t depth;

    uint64_t elements;
    json_object *name;   /* of the member, a string; NULL before the first */
    json_object *other;
    bool other_is_value; /* it is no object of members, but what came instead of a list or object */
    json_object *lists;  /* an object whose members are the names of the lists that were there */
    size_t kept;         /* bytes of `other` and `lists` */
};

struct json_stream *json_stream_open(const char *shape, size_t element_max, json_element *use, void *of)
{
    struct json_stream *s = calloc(1, sizeof *s);

    if (!s)
        return NULL;
    *s = (struct json_stream){.shape = shape, .levels = strlen(shape), .use = use, .of = of};
    s->element_max = element_max < TEXT_MAX ? element_max : TEXT_MAX - 1;
    s->lists = json_object_new_object();
    if (!s->lists) {
        json_stream_close(s);
        return NULL;
    }
    return s;
}

void json_stream_close(struct json_stream *s)
{
    if (!s)
        return;
    text_free(&s->part);
    json_object_put(s->name);
    json_object_put(s->other);
    json_object_put(s->lists);
    free(s);
}

json_object *json_stream_other(const struct json_stream *s)
{
    return s->other;
}

bool json_stream_has(const struct json_stream *s, const char *list)
{
    return json_object_object_get_ex(s->lists, list, NULL);
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

static bool in_list(const struct json_stream *s)
{
    return s->level && s->shape[s->level - 1] == '[';
}

/* ---- the values, whole ---- */

static struct fault out_of_memory(void)
{
    return FAULT(FATAL, "out of memory");
}

static struct fault too_much(const struct json_stream *s)
{
    if (s->purpose == ELEMENT)
        return FAULT(REJECT, "byte %" PRIu64 ": element %" PRIu64 " is longer than %zu bytes", s->from, s->elements,
                     s->element_max);
    return FAULT(REJECT, "byte %" PRIu64 ": more than %d bytes that are in no list", s->from, JSON_STREAM_OTHER_MAX);
}

static size_t written_length(json_object *value)
{
    size_t len;

    json_object_to_json_string_length(value, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE, &len);
    return len;
}

static const char *name_of(const struct json_stream *s)
{
    return s->name ? json_object_get_string(s->name) : "";
}

/* Puts a member into `other` or `lists`; takes over the value. */
static struct fault keep(struct json_stream *s, json_object *in, json_object *value)
{
    const char *name = name_of(s);
    json_object *old;
    bool replaces = json_object_object_get_ex(in, name, &old);

    /* the last of one name counts, so a list of many objects with the same members costs no more than one */
    s->kept += written_length(value) + strlen(name);
    if (replaces)
        s->kept -= written_length(old) + strlen(name);
    if (json_object_object_add(in, name, value)) {
        json_object_put(value);
        return out_of_memory();
    }
    return s->kept > JSON_STREAM_OTHER_MAX ? too_much(s) : FAULT_OK;
}

static struct fault keep_other(struct json_stream *s, json_object *value)
{
    if (!s->level || in_list(s)) {
        json_object_put(s->other);
        s->other = value;
        s->other_is_value = true;
        return FAULT_OK;
    }
    if (s->other_is_value) {
        json_object_put(value);
        return FAULT_OK;
    }
    if (!s->other && !(s->other = json_object_new_object())) {
        json_object_put(value);
        return out_of_memory();
    }
    return keep(s, s->other, value);
}

static struct fault use_element(struct json_stream *s, const char *bytes, size_t len)
{
    SCOPED(json_object_put) json_object *value = NULL;
    struct fault f = json_read(bytes, len, &value);

    if (f.kind)
        return fault_under(f, "byte %" PRIu64 ": element %" PRIu64, s->from, s->elements);
    return s->use(s->of, name_of(s), value, bytes, len);
}

static struct fault use_value(struct json_stream *s, const char *bytes, size_t len)
{
    json_object *value = NULL;
    struct fault f;

    s->state = s->level ? NEXT : DONE;
    if (s->purpose == ELEMENT)
        return use_element(s, bytes, len);
    f = json_read(bytes, len, &value);
    if (f.kind)
        return fault_under(f, "byte %" PRIu64, s->from);
    if (s->purpose == OTHER)
        return keep_other(s, value);
    json_object_put(s->name);
    s->name = value;
    s->state = COLON;
    return FAULT_OK;
}

/* ---- where a value ends ---- */

/* Behind the quote that ends the string `c` is in, or `end`. Each byte is looked at once, by memchr. */
static const char *string_end(struct json_stream *s, const char *c, const char *end)
{
    const char *quote = NULL, *backslash;

    while (c < end) {
        if (s->escaped) {
            s->escaped = false;
            c++;
            continue;
        }
        if (!quote || quote < c)
            quote = memchr(c, '"', (size_t)(end - c));
        if (!quote)
            quote = end;
        backslash = memchr(c, '\\', (size_t)(quote - c));
        if (!backslash) {
            s->in_string = quote == end;
            return s->in_string ? end : quote + 1;
        }
        s->escaped = true;
        c = backslash + 1;
    }
    return c;
}

/* Behind the string, list or object `c` is in (brackets are counted, not matched: json_read does that), or `end`. */
static const char *bracket_end(struct json_stream *s, const char *c, const char *end, bool *ret_whole)
{
    static const signed char steps[256] = {['"'] = 2, ['['] = 1, ['{'] = 1, [']'] = -1, ['}'] = -1};

    while (c < end) {
        if (s->in_string) {
            c = string_end(s, c, end);
            if (s->in_string)
                break;
        } else {
            int step = steps[(unsigned char)*c++];
            if (!step)
                continue;
            if (step == 2) {
                s->in_string = true;
                continue;
            }
            s->depth += (size_t)step;
        }
        if (!s->depth) {
            *ret_whole = true;
            break;
        }
    }
    return c;
}

static const char *bare_end(const char *c, const char *end, bool *ret_whole)
{
    while (c < end && !is_blank(*c) && *c != ',' && *c != ']' && *c != '}')
        c++;
    *ret_whole = c < end;
    return c;
}

/* Goes on with the value that *at is in; at its end it is used, from where it lies unless an earlier feed had some of it. */
static struct fault take_value(struct json_stream *s, const char **at, const char *end)
{
    size_t max = s->purpose == ELEMENT ? s->element_max : JSON_STREAM_OTHER_MAX;
    const char *begin = *at;
    bool whole = false;

    *at = s->bare ? bare_end(begin, end, &whole) : bracket_end(s, begin, end, &whole);
    size_t len = (size_t)(*at - begin);
    if (len > max || s->part.len + len > max)
        return too_much(s);
    if (whole && !s->part.len)
        return use_value(s, begin, len);
    text_add(&s->part, begin, len);
    if (s->part.failed)
        return out_of_memory();
    if (!whole)
        return FAULT_OK;
    struct fault f = use_value(s, s->part.at, s->part.len);
    text_clear(&s->part);
    return f;
}

/* ---- between them ---- */

static const char *wanted(const struct json_stream *s)
{
    switch (s->state) {
    case FIRST_VALUE: return "a value or ]";
    case FIRST_NAME: return "a name or }";
    case MARK:
    case VALUE: return "a value";
    case NAME: return "a name";
    case COLON: return ":";
    case NEXT: return in_list(s) ? ", or ]" : ", or }";
    default: return "nothing more";
    }
}

static struct fault unexpected(const struct json_stream *s, uint64_t at)
{
    return FAULT(REJECT, "byte %" PRIu64 ": want %s", at, wanted(s));
}

static void begin_whole(struct json_stream *s, enum purpose purpose, char c, uint64_t at)
{
    s->state = WITHIN;
    s->purpose = purpose;
    s->from = at;
    s->bare = c != '"' && c != '[' && c != '{';
    s->in_string = s->escaped = false;
    s->depth = 0;
    s->elements += purpose == ELEMENT;
}

static struct fault begin_list_or_object(struct json_stream *s, char c, uint64_t at)
{
    s->level++;
    s->state = c == '[' ? FIRST_VALUE : FIRST_NAME;
    if (c == '{')
        return FAULT_OK;
    s->from = at;
    s->purpose = OTHER;
    return keep(s, s->lists, NULL);
}

static struct fault begin_value(struct json_stream *s, char c, uint64_t at, bool *ret_taken)
{
    if (c == ']' && s->state == FIRST_VALUE) {
        s->state = --s->level ? NEXT : DONE;
        return FAULT_OK;
    }
    if (strchr(",:]}", c) && c)
        return unexpected(s, at);
    if (s->level < s->levels && c == s->shape[s->level])
        return begin_list_or_object(s, c, at);
    *ret_taken = false;
    begin_whole(s, s->level == s->levels ? ELEMENT : OTHER, c, at);
    return FAULT_OK;
}

static struct fault begin_name(struct json_stream *s, char c, uint64_t at, bool *ret_taken)
{
    if (c == '}' && s->state == FIRST_NAME) {
        s->state = --s->level ? NEXT : DONE;
        return FAULT_OK;
    }
    if (c != '"')
        return unexpected(s, at);
    *ret_taken = false;
    begin_whole(s, MEMBER_NAME, c, at);
    return FAULT_OK;
}

static struct fault behind_value(struct json_stream *s, char c, uint64_t at)
{
    if (c == ',')
        s->state = in_list(s) ? VALUE : NAME;
    else if (c == (in_list(s) ? ']' : '}'))
        s->state = --s->level ? NEXT : DONE;
    else
        return unexpected(s, at);
    return FAULT_OK;
}

static struct fault mark_or_value(struct json_stream *s, char c, uint64_t at, bool *ret_taken)
{
    static const char mark[] = "\xEF\xBB\xBF";

    if (c == mark[s->mark]) {
        s->mark++;
    } else if (s->mark) {
        return unexpected(s, at);
    } else {
        s->state = VALUE;
        *ret_taken = false;
    }
    if (s->mark == sizeof mark - 1)
        s->state = VALUE;
    return FAULT_OK;
}

static struct fault colon(struct json_stream *s, char c, uint64_t at)
{
    if (c != ':')
        return unexpected(s, at);
    s->state = VALUE;
    return FAULT_OK;
}

/* One byte that is in no value. ret_taken false: it is to be read again, in another state. */
static struct fault take_byte(struct json_stream *s, char c, uint64_t at, bool *ret_taken)
{
    switch (s->state) {
    case MARK: return mark_or_value(s, c, at, ret_taken);
    case FIRST_VALUE:
    case VALUE: return begin_value(s, c, at, ret_taken);
    case FIRST_NAME:
    case NAME: return begin_name(s, c, at, ret_taken);
    case COLON: return colon(s, c, at);
    case NEXT: return behind_value(s, c, at);
    default: return unexpected(s, at);
    }
}

static struct fault feed(struct json_stream *s, const char *bytes, const char *end)
{
    for (const char *c = bytes; c < end;) {
        bool taken = true;

        if (s->state == WITHIN) {
            TRY(take_value(s, &c, end));
        } else if (is_blank(*c) && s->state != MARK) {
            c++;
        } else {
            TRY(take_byte(s, *c, s->taken + (uint64_t)(c - bytes), &taken));
            c += taken;
        }
    }
    return FAULT_OK;
}

struct fault json_stream_feed(struct json_stream *s, const char *bytes, size_t len)
{
    if (s->fault.kind || !len)
        return s->fault;
    s->fault = feed(s, bytes, bytes + len);
    s->taken += len;
    return s->fault;
}

static struct fault end(struct json_stream *s)
{
    if (s->state == WITHIN && s->bare && !s->level) { /* only now is a number or word known to be whole */
        struct fault f = use_value(s, s->part.at, s->part.len);
        text_clear(&s->part);
        return f;
    }
    if (s->state == WITHIN && s->purpose == ELEMENT)
        return FAULT(REJECT, "byte %" PRIu64 ": it ends within element %" PRIu64, s->taken, s->elements);
    if (s->state == WITHIN)
        return FAULT(REJECT, "byte %" PRIu64 ": it ends within a value", s->taken);
    return s->state == DONE ? FAULT_OK : FAULT(REJECT, "byte %" PRIu64 ": it ends, want %s", s->taken, wanted(s));
}

struct fault json_stream_end(struct json_stream *s)
{
    if (!s->fault.kind)
        s->fault = end(s);
    return s->fault;
}

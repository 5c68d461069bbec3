#include "producers/patron-requests/forms.h"

#include "common/instant.h"
#include "common/json.h"
#include "common/scoped.h"
#include "common/values.h"

#include <math.h>
#include <string.h>

/* ---- the tables ---- */

enum kind {
    TRUTH,   /* true or false */
    WHOLE,   /* a whole number, least to most */
    AMOUNT,  /* a number, least to most */
    UUID,    /* as FOLIO takes it: versions 1 to 5, the usual variant */
    ID,      /* letters, digits, - and _; least to most */
    PRINTED, /* printable ASCII, no space at either end; least to most */
    SOLID,   /* printable ASCII, no space; least to most */
    URL,     /* the same, http or https */
    EMAIL,   /* the same, with an @ within */
    WORDS,   /* any text of one line; least to most characters */
    ISBN,    /* 13 digits */
    DAY,     /* 2026-10-12, not past */
    INSTANT, /* 2026-10-12T14:00:00Z, not past */
    CHOICE,  /* one of `choices` */
    IDS,     /* a list of ID, each another; least to most of them */
};

struct member {
    const char *name;
    enum kind kind;
    bool required;
    int least, most;
    const char *choices; /* "a|b" */
};

struct form {
    const char *action;
    const struct member *members; /* ends with a NULL name */
};

struct service {
    const char *name;
    struct member patron;
    const struct member *always; /* members of each of its actions */
    const struct form *forms;    /* ends with a NULL action */
};

#define MUST(name, kind) {name, kind, true, 0, 0, NULL}
#define MAY(name, kind) {name, kind, false, 0, 0, NULL}
#define MUST_FIT(name, kind, least, most) {name, kind, true, least, most, NULL}
#define MAY_FIT(name, kind, least, most) {name, kind, false, least, most, NULL}
#define MUST_BE(name, choices) {name, CHOICE, true, 0, 0, choices}
#define MAY_BE(name, choices) {name, CHOICE, false, 0, 0, choices}
#define END {NULL, TRUTH, false, 0, 0, NULL}
#define MEMBERS(...) (const struct member[]){__VA_ARGS__, END}
#define NO_MEMBERS (const struct member[]){END}
enum { WISE_ID = 40, WISE_TITLES = 50, LOAN_DAYS = 365, AMOUNT_MOST = 10000 };

static const struct form folio[] = {
    {"account", MEMBERS(MAY("loans", TRUTH), MAY("charges", TRUTH), MAY("holds", TRUTH))},
    {"renew", MEMBERS(MUST("item", UUID))},
    {"hold_item", MEMBERS(MUST("item", UUID), MUST("pickup", UUID), MAY("expires", INSTANT))},
    {"hold_instance", MEMBERS(MUST("instance", UUID), MUST("pickup", UUID), MAY("expires", INSTANT))},
    {"cancel_hold", MEMBERS(MUST_FIT("hold", PRINTED, 1, 64), MAY("item", UUID))},
    {NULL, NULL},
};

#define WISE_TERMS MAY("due", DAY), MAY_FIT("cost_max", AMOUNT, 0, AMOUNT_MOST), MAY_BE("ill", "never|if_needed|only")
static const struct form wise[] = {
    {"hold", MEMBERS(MUST_FIT("title", ID, 1, WISE_ID), MUST_FIT("branch", ID, 1, WISE_ID), MAY_FIT("pickup", ID, 1, WISE_ID),
                     WISE_TERMS)},
    {"holds", MEMBERS(MUST_FIT("titles", IDS, 1, WISE_TITLES), MUST_BE("type", "ONE|ALL"), MUST_FIT("pickup", ID, 1, WISE_ID),
                      MAY("fast", TRUTH), WISE_TERMS)},
    {"list", NO_MEMBERS},
    {"cancel_hold", MEMBERS(MUST_FIT("hold", ID, 1, WISE_ID))},
    {NULL, NULL},
};

#define ONECLICK_PERSON MAY("create", TRUTH), MAY_FIT("email", EMAIL, 1, 254), MAY_FIT("first_name", WORDS, 1, 100), \
    MAY_FIT("last_name", WORDS, 1, 100)
static const struct form oneclick[] = {
    {"checkout", MEMBERS(MUST("isbn", ISBN), MAY_FIT("days", WHOLE, 1, LOAN_DAYS), ONECLICK_PERSON)},
    {"renew", MEMBERS(MUST("isbn", ISBN), MAY_FIT("days", WHOLE, 1, LOAN_DAYS))},
    {"return", MEMBERS(MUST("isbn", ISBN))},
    {"loans", NO_MEMBERS},
    {"hold", MEMBERS(MUST("isbn", ISBN), ONECLICK_PERSON)},
    {"cancel_hold", MEMBERS(MUST("isbn", ISBN))},
    {"holds", NO_MEMBERS},
    {"search", MEMBERS(MAY_FIT("all", WORDS, 1, 200), MAY_FIT("title", WORDS, 1, 200), MAY_FIT("author", WORDS, 1, 200),
                       MAY_FIT("genre", WORDS, 1, 100), MAY_FIT("audience", WORDS, 1, 100),
                       MAY_BE("media_type", "eBook|eAudio"), MAY("available", TRUTH),
                       MAY_FIT("page", WHOLE, 0, 10000), MAY_FIT("page_size", WHOLE, 1, 100))},
    {"magazine_checkout", MEMBERS(MUST_FIT("issue", ID, 1, 40))},
    {"magazine_return", MEMBERS(MUST_FIT("issue", ID, 1, 40))},
    {"magazine_history", NO_MEMBERS},
    {"download", MEMBERS(MUST("isbn", ISBN), MAY_FIT("file", PRINTED, 1, 200))},
    {NULL, NULL},
};

static const struct service services[] = {
    {"folio", MUST_FIT("patron", PRINTED, 1, 128), NO_MEMBERS, folio},
    {"wise", MUST_FIT("patron", ID, 1, WISE_ID), MEMBERS(MUST_FIT("library", ID, 1, WISE_ID)), wise},
    {"oneclick", MUST_FIT("patron", PRINTED, 1, 128), NO_MEMBERS, oneclick},
};

/* one a service, in their order */
const char *const forms_topics[] = {"folio.requests", "wise.holds.prepare", "oneclick.requests", NULL};
const char *const forms_services[] = {"folio", "wise", "oneclick", NULL};

/* What every request has besides: it stands in columns. */
enum { REF_MOST = 128, CALLBACK_MOST = 500 };
static const struct member ref_member = MUST_FIT("ref", SOLID, 1, REF_MOST);
static const struct member callback_member = MAY_FIT("callback", URL, 1, CALLBACK_MOST);
static const char *const columns[] = {"ref", "service", "action", "patron", "callback"};

static bool is_column(const char *name)
{
    for (size_t i = 0; i < COUNT(columns); i++)
        if (!strcmp(name, columns[i]))
            return true;
    return false;
}

/* ---- mistakes ---- */

void mistake(struct mistakes *to, const char *pointer, const char *format, ...)
{
    char detail[200];
    va_list args;

    if (to->count++ >= FORMS_MISTAKES_MAX)
        return;
    va_start(args, format);
    vsnprintf(detail, sizeof detail, format, args);
    va_end(args);
    text_puts(&to->json, to->count > 1 ? ",{\"pointer\":" : "{\"pointer\":");
    text_json(&to->json, pointer);
    text_puts(&to->json, ",\"detail\":");
    text_json(&to->json, detail);
    text_putc(&to->json, '}');
}

enum { POINTER_SIZE = 200, NAME_MOST = 64, VALUES_MAX = 20000 };

/* A member's place; its name as RFC 6901 escapes it. */
static void point(char ret[POINTER_SIZE], const char *at, const char *name)
{
    size_t n = (size_t)snprintf(ret, POINTER_SIZE, "%.20s/", at);

    for (; *name && n + 2 < POINTER_SIZE; name++) {
        if (*name == '~' || *name == '/') {
            ret[n++] = '~';
            ret[n++] = *name == '~' ? '0' : '1';
        } else {
            ret[n++] = *name;
        }
    }
    ret[n] = '\0';
}

/* ---- one value ---- */

static bool only(const char *text, const char *allowed)
{
    return !text[strspn(text, allowed)];
}

static bool is_uuid(const char *text)
{
    static const char form[] = "xxxxxxxx-xxxx-vxxx-yxxx-xxxxxxxxxxxx";
    size_t at = 0;

    for (; form[at]; at++) {
        const char *allowed = form[at] == '-'   ? "-"
                              : form[at] == 'v' ? "12345"
                              : form[at] == 'y' ? "89abAB"
                                                : "0123456789abcdefABCDEF";
        if (!text[at] || !strchr(allowed, text[at]))
            return false;
    }
    return !text[at];
}

static struct fault check_printed(const char *text)
{
    for (const char *c = text; *c; c++)
        if (*c < ' ' || *c > '~')
            return FAULT(REJECT, "want printable ASCII");
    return *text == ' ' || text[strlen(text) - 1] == ' ' ? FAULT(REJECT, "begins or ends with a space") : FAULT_OK;
}

static struct fault check_solid(const char *text)
{
    return strchr(text, ' ') ? FAULT(REJECT, "want no space in it") : check_printed(text);
}

static struct fault check_url(const char *text)
{
    const char *host = !strncmp(text, "https://", 8) ? text + 8 : !strncmp(text, "http://", 7) ? text + 7 : "";

    return *host ? check_solid(text) : FAULT(REJECT, "want a URL of http or https");
}

/* Control characters of Latin-1 are U+0080 to U+009F: C2 80 to C2 9F. */
static struct fault check_words(const char *text)
{
    for (const unsigned char *c = (const unsigned char *)text; *c; c++)
        if (*c < ' ' || *c == 0x7F || (*c == 0xC2 && c[1] < 0xA0))
            return FAULT(REJECT, "want text of one line, without control characters");
    return FAULT_OK;
}

static int characters(const char *text)
{
    int n = 0;

    for (; *text; text++)
        n += ((unsigned char)*text & 0xC0) != 0x80;
    return n;
}

/* A day is past only when it is so everywhere on earth: twelve hours after its end in UTC. */
static struct fault check_day(const char *text, int64_t now)
{
    char noon[40];
    int64_t at;

    if (strlen(text) != 10 || !only(text, "0123456789-"))
        return FAULT(REJECT, "want a day as 2026-10-12");
    snprintf(noon, sizeof noon, "%sT00:00:00Z", text);
    if (!instant_read(noon, &at, NULL))
        return FAULT(REJECT, "want a day as 2026-10-12, that the calendar has");
    return at + 36 * 3600 <= now ? FAULT(REJECT, "the day is past") : FAULT_OK;
}

static struct fault check_instant(const char *text, int64_t now)
{
    int64_t at;

    if (strlen(text) > 39 || !instant_read(text, &at, NULL))
        return FAULT(REJECT, "want an instant as 2026-10-12T14:00:00Z");
    return at <= now ? FAULT(REJECT, "the instant is past") : FAULT_OK;
}

static struct fault check_isbn(const char *text)
{
    char isbn[VALUES_ISBN_SIZE];

    if (strlen(text) != 13 || !only(text, "0123456789"))
        return FAULT(REJECT, "want an ISBN of 13 digits, without hyphens");
    return values_isbn(text, isbn);
}

static struct fault check_choice(const struct member *m, const char *text)
{
    size_t len = strlen(text);

    for (const char *at = m->choices;; at++) {
        size_t n = strcspn(at, "|");
        if (n == len && !memcmp(at, text, len))
            return FAULT_OK;
        at += n;
        if (!*at)
            return FAULT(REJECT, "want one of %s", m->choices);
    }
}

static struct fault check_id(const char *text)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-";

    return only(text, allowed) ? FAULT_OK : FAULT(REJECT, "want letters, digits, - and _ alone");
}

static struct fault check_email(const char *text)
{
    const char *at = strchr(text, '@');

    return at && at != text && at[1] ? check_solid(text) : FAULT(REJECT, "want an e-mail address");
}

static struct fault check_form(const struct member *m, const char *text, int64_t now)
{
    switch (m->kind) {
    case UUID: return is_uuid(text) ? FAULT_OK : FAULT(REJECT, "want a UUID of version 1 to 5, as FOLIO takes them");
    case ID: return check_id(text);
    case PRINTED: return check_printed(text);
    case SOLID: return check_solid(text);
    case URL: return check_url(text);
    case EMAIL: return check_email(text);
    case WORDS: return check_words(text);
    case ISBN: return check_isbn(text);
    case DAY: return check_day(text, now);
    case INSTANT: return check_instant(text, now);
    default: return check_choice(m, text);
    }
}

static struct fault check_text(const struct member *m, json_object *value, int64_t now)
{
    if (!json_object_is_type(value, json_type_string))
        return FAULT(REJECT, "want a string");
    const char *text = json_object_get_string(value);
    size_t len = (size_t)json_object_get_string_len(value);
    if (!len)
        return FAULT(REJECT, "empty");
    if (strlen(text) != len)
        return FAULT(REJECT, "holds a zero byte");
    if (m->most && characters(text) > m->most)
        return FAULT(REJECT, "%d characters, at most %d fit", characters(text), m->most);
    return check_form(m, text, now);
}

static struct fault check_number(const struct member *m, json_object *value)
{
    bool whole = json_object_is_type(value, json_type_int);

    if (!whole && (m->kind == WHOLE || !json_object_is_type(value, json_type_double)))
        return FAULT(REJECT, m->kind == WHOLE ? "want a whole number" : "want a number");
    double n = json_object_get_double(value);
    if (!isfinite(n) || n < m->least || n > m->most)
        return FAULT(REJECT, "out of range, want %d to %d", m->least, m->most);
    return FAULT_OK;
}

static void check_value(const struct member *m, json_object *value, const char *pointer, int64_t now, struct mistakes *to);

static void check_ids(const struct member *m, json_object *value, const char *pointer, int64_t now, struct mistakes *to)
{
    const struct member one = MUST_FIT(m->name, ID, 1, WISE_ID);
    char place[POINTER_SIZE + 24];
    size_t count = json_object_is_type(value, json_type_array) ? json_object_array_length(value) : 0;

    if (!json_object_is_type(value, json_type_array)) {
        mistake(to, pointer, "want a list");
        return;
    }
    if (count < (size_t)m->least || count > (size_t)m->most) {
        mistake(to, pointer, "%zu in the list, want %d to %d", count, m->least, m->most);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        json_object *item = json_object_array_get_idx(value, i);
        snprintf(place, sizeof place, "%s/%zu", pointer, i);
        check_value(&one, item, place, now, to);
        for (size_t k = 0; k < i; k++)
            if (json_object_equal(item, json_object_array_get_idx(value, k))) {
                mistake(to, place, "the same as %zu", k);
                break;
            }
    }
}

static void check_value(const struct member *m, json_object *value, const char *pointer, int64_t now, struct mistakes *to)
{
    struct fault f = FAULT_OK;

    if (m->kind == IDS)
        check_ids(m, value, pointer, now, to);
    else if (m->kind == TRUTH)
        f = json_object_is_type(value, json_type_boolean) ? FAULT_OK : FAULT(REJECT, "want true or false");
    else if (m->kind == WHOLE || m->kind == AMOUNT)
        f = check_number(m, value);
    else
        f = check_text(m, value, now);
    if (f.kind)
        mistake(to, pointer, "%s", f.what);
}

/* ---- one request ---- */

/* The member's text, or NULL when it is not there or not right, which is said. */
static const char *check_member(const struct member *m, json_object *in, const char *at, int64_t now, struct mistakes *to)
{
    char pointer[POINTER_SIZE];
    json_object *value;
    int before = to->count;

    point(pointer, at, m->name);
    if (!json_object_object_get_ex(in, m->name, &value)) {
        if (m->required)
            mistake(to, pointer, "missing");
        return NULL;
    }
    check_value(m, value, pointer, now, to);
    return to->count == before && json_object_is_type(value, json_type_string) ? json_object_get_string(value) : NULL;
}

static const struct member *find_member(const struct member *members, const char *name)
{
    for (; members->name; members++)
        if (!strcmp(members->name, name))
            return members;
    return NULL;
}

static void check_unknown(const struct service *s, const struct form *form, json_object *in, const char *at,
                          struct mistakes *to)
{
    char pointer[POINTER_SIZE];

    json_object_object_foreach(in, name, value)
    {
        (void)value;
        if (is_column(name) || find_member(s->always, name) || find_member(form->members, name))
            continue;
        if (characters(name) > NAME_MOST) {
            mistake(to, at, "a member whose name has %d characters is none of %s %s", characters(name), s->name, form->action);
            continue;
        }
        point(pointer, at, name);
        mistake(to, pointer, "no member of %s %s", s->name, form->action);
    }
}

/* A word that the tables are to know; NULL, which is said, when there is none. */
static const char *word_of(json_object *in, const char *name, const char *at, struct mistakes *to)
{
    char pointer[POINTER_SIZE];
    json_object *value;

    point(pointer, at, name);
    if (!json_object_object_get_ex(in, name, &value))
        mistake(to, pointer, "missing");
    else if (!json_object_is_type(value, json_type_string))
        mistake(to, pointer, "want a string");
    else
        return json_object_get_string(value);
    return NULL;
}

static const struct service *find_service(json_object *in, const char *at, struct mistakes *to)
{
    const char *word = word_of(in, "service", at, to);
    char pointer[POINTER_SIZE];

    for (size_t i = 0; word && i < COUNT(services); i++)
        if (!strcmp(services[i].name, word))
            return &services[i];
    point(pointer, at, "service");
    if (word)
        mistake(to, pointer, "want one of folio, wise, oneclick");
    return NULL;
}

static const struct form *find_form(json_object *in, const struct service *s, const char *at, struct mistakes *to)
{
    const char *word = word_of(in, "action", at, to);
    char pointer[POINTER_SIZE], known[200] = "";

    if (!word)
        return NULL;
    for (const struct form *form = s->forms; form->action; form++)
        if (!strcmp(form->action, word))
            return form;
    for (const struct form *form = s->forms; form->action; form++)
        snprintf(known + strlen(known), sizeof known - strlen(known), "%s%s", *known ? ", " : "", form->action);
    point(pointer, at, "action");
    mistake(to, pointer, "want one of %s", known);
    return NULL;
}

void form_check(json_object *in, const char *at, int64_t now, struct mistakes *to, struct wish *ret)
{
    *ret = (struct wish){0};
    if (!json_object_is_type(in, json_type_object)) {
        mistake(to, at, "want an object");
        return;
    }
    ret->ref = check_member(&ref_member, in, at, now, to);
    ret->callback = check_member(&callback_member, in, at, now, to);
    const struct service *s = find_service(in, at, to);
    if (!s)
        return;
    ret->service = s->name;
    ret->topic = (int)(s - services);
    ret->patron = check_member(&s->patron, in, at, now, to);
    for (const struct member *m = s->always; m->name; m++)
        check_member(m, in, at, now, to);
    const struct form *form = find_form(in, s, at, to);
    if (!form)
        return;
    ret->action = form->action;
    for (const struct member *m = form->members; m->name; m++)
        check_member(m, in, at, now, to);
    check_unknown(s, form, in, at, to);
}

void form_asked(json_object *request, struct text *to)
{
    bool first = true;

    text_putc(to, '{');
    json_object_object_foreach(request, name, value)
    {
        if (is_column(name))
            continue;
        text_puts(to, first ? "" : ",");
        first = false;
        text_json(to, name);
        text_putc(to, ':');
        text_puts(to, json_object_to_json_string_ext(value, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE));
    }
    text_putc(to, '}');
}

struct fault forms_room(const char *bytes, size_t len)
{
    int values = 0;

    for (size_t i = 0; i < len; i++)
        values += bytes[i] == ',' || bytes[i] == '[' || bytes[i] == '{';
    return values > VALUES_MAX ? FAULT(REJECT, "more than %d values", VALUES_MAX) : FAULT_OK;
}

/* ---- members given twice: there are more colons than members ---- */

static int members_in(json_object *value)
{
    int n = 0;

    if (json_object_is_type(value, json_type_object)) {
        json_object_object_foreach(value, name, member)
        {
            (void)name;
            n += 1 + members_in(member);
        }
    } else if (json_object_is_type(value, json_type_array)) {
        for (size_t i = 0; i < json_object_array_length(value); i++)
            n += members_in(json_object_array_get_idx(value, i));
    }
    return n;
}

/* The text was read: it is JSON. */
static const char *string_end(const char *c, bool *zero)
{
    for (c++; *c != '"'; c++)
        if (*c == '\\') {
            *zero = *zero || !strncmp(c, "\\u0000", 6);
            c++;
        }
    return c;
}

static void scan(const char *c, bool array, struct oddities *ret, int ret_colons[FORMS_ITEMS_MAX])
{
    int depth = 0, item = 0;

    for (; *c; c++) {
        if (*c == '"')
            c = string_end(c, &ret->zero[item]);
        else if (*c == ':')
            ret_colons[item]++;
        else if (*c == '{' || *c == '[')
            depth++;
        else if (*c == '}' || *c == ']')
            depth--;
        else if (*c == ',' && depth == 1 && array && item + 1 < FORMS_ITEMS_MAX)
            item++;
    }
}

void forms_oddities(const char *bytes, json_object *value, struct oddities *ret)
{
    bool array = json_object_is_type(value, json_type_array);
    size_t count = array ? json_object_array_length(value) : 1;
    int colons[FORMS_ITEMS_MAX] = {0};

    *ret = (struct oddities){0};
    scan(bytes, array, ret, colons);
    for (size_t i = 0; i < count && i < FORMS_ITEMS_MAX; i++)
        ret->twice[i] = colons[i] != members_in(array ? json_object_array_get_idx(value, i) : value);
}

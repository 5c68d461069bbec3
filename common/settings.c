#include "common/settings.h"

#include "common/json.h"
#include "common/scoped.h"
#include "common/text.h"

#include <errno.h>
#include <math.h>
#include <regex.h>
#include <string.h>
#include <sys/stat.h>

static struct fault read_file(const char *name, const char *path, const char **ret)
{
    SCOPED(fclose) FILE *file = fopen(path, "r");
    struct text value = {0};
    char piece[4096];
    size_t n;

    if (!file)
        return FAULT(MISUSE, "%s_FILE: cannot read %s: %s", name, path, strerror(errno));
    while (!value.failed && (n = fread(piece, 1, sizeof piece, file)) > 0)
        text_add(&value, piece, n);
    if (value.failed || ferror(file)) {
        struct fault f = FAULT(MISUSE, "%s_FILE: cannot read %s: %s", name, path, strerror(value.failed ? EFBIG : errno));
        text_free(&value);
        return f;
    }
    if (value.len && value.at[value.len - 1] == '\n')
        value.at[--value.len] = '\0';
    if (value.len && value.at[value.len - 1] == '\r')
        value.at[--value.len] = '\0';
    if (!value.len || strlen(value.at) != value.len) {
        bool empty = !value.len;
        text_free(&value);
        return FAULT(MISUSE, "%s_FILE: %s %s", name, path, empty ? "is empty" : "holds a zero byte");
    }
    *ret = value.at;
    return FAULT_OK;
}

/* A lone line break is none: systemd wants a default of a credential that need not be there, and takes no empty one. */
static struct fault read_credential(const char *name, const char **ret)
{
    const char *folder = getenv("CREDENTIALS_DIRECTORY");
    char path[4096];
    struct stat found;

    if (!folder || (size_t)snprintf(path, sizeof path, "%s/%s", folder, name) >= sizeof path || stat(path, &found) || found.st_size < 2)
        return FAULT_OK;
    return read_file(name, path, ret);
}

struct fault settings_value(const char *name, const char **ret)
{
    char with_file[96];
    const char *value = getenv(name);

    snprintf(with_file, sizeof with_file, "%s_FILE", name);
    const char *path = getenv(with_file);
    if (value && !*value)
        value = NULL;
    *ret = value;
    if (!path || !*path)
        return value ? FAULT_OK : read_credential(name, ret);
    if (value)
        return FAULT(MISUSE, "%s and %s_FILE are both set: unset one", name, name);
    return read_file(name, path, ret);
}

static struct fault read_list(const struct setting *s, const char *value)
{
    struct setting_list *list = s->to;
    char *copy = strdup(value + strspn(value, " \t\r\n")), *rest = copy; /* the first item begins where the copy does */

    *list = (struct setting_list){0};
    for (char *item; copy && (item = strsep(&rest, ","));) {
        item += strspn(item, " \t\r\n");
        for (char *end = item + strlen(item); end > item && strchr(" \t\r\n", end[-1]);)
            *--end = '\0';
        if (!*item) {
            free(list->items);
            free(copy);
            *list = (struct setting_list){0};
            return FAULT(MISUSE, "%s: an item of the comma list is empty", s->name);
        }
        char **items = realloc(list->items, (size_t)(list->count + 1) * sizeof *items);
        if (!items)
            return FAULT(FATAL, "out of memory");
        list->items = items;
        list->items[list->count++] = item;
    }
    return copy ? FAULT_OK : FAULT(FATAL, "out of memory");
}

static struct fault read_json_map(const struct setting *s, const char *value)
{
    json_object *map = NULL;
    struct fault f = json_read(value, strlen(value), &map);

    if (f.kind)
        return FAULT(MISUSE, "%s: %s; want a JSON object as %s", s->name, f.what, "{\"a\": \"b\"}");
    if (!json_object_is_type(map, json_type_object)) {
        json_object_put(map);
        return FAULT(MISUSE, "%s: want a JSON object, found another JSON value", s->name);
    }
    json_object_object_foreach(map, key, member)
    {
        if (!json_object_is_type(member, json_type_string) || !json_object_get_string_len(member)) {
            f = FAULT(MISUSE, "%s: \"%s\" wants a string that is not empty", s->name, key);
            json_object_put(map);
            return f;
        }
    }
    *(json_object **)s->to = map;
    return FAULT_OK;
}

static struct fault read_number(const struct setting *s, const char *value)
{
    char *end = NULL;

    errno = 0;
    double n = s->type == SET_WHOLE ? (double)strtoll(value, &end, 10) : strtod(value, &end);
    if (errno || end == value || *end || !isfinite(n))
        return FAULT(MISUSE, "%s=%s: want a %snumber", s->name, value, s->type == SET_WHOLE ? "whole " : "");
    if (n < s->least || n > s->most)
        return FAULT(MISUSE, "%s=%s: want %.15g to %.15g", s->name, value, s->least, s->most);
    if (s->type == SET_WHOLE)
        *(int64_t *)s->to = strtoll(value, NULL, 10);
    else
        *(double *)s->to = n;
    return FAULT_OK;
}

static struct fault read_choice(const struct setting *s, const char *value)
{
    int place = 0;

    for (const char *at = s->choices;; at++, place++) {
        size_t len = strcspn(at, "|");
        if (strlen(value) == len && !memcmp(at, value, len)) {
            *(int *)s->to = place;
            return FAULT_OK;
        }
        at += len;
        if (!*at)
            return FAULT(MISUSE, "%s=%s: want one of %s", s->name, value, s->choices);
    }
}

static struct fault read_url(const struct setting *s, const char *value)
{
    const char *host = !strncmp(value, "https://", 8) ? value + 8 : !strncmp(value, "http://", 7) ? value + 7 : NULL;

    if (!host || !*host || *host == '/' || *host == ':' || strpbrk(value, " \t\r\n?#"))
        return FAULT(MISUSE, "%s: want a URL as https://host[:port][/path]", s->name);
    if (memchr(host, '@', strcspn(host, "/")))
        return FAULT(MISUSE, "%s: a user or password does not belong into a URL", s->name);
    char *url = strdup(value);
    for (size_t len = strlen(url); len && url[len - 1] == '/'; len--)
        url[len - 1] = '\0';
    *(const char **)s->to = url;
    return FAULT_OK;
}

static struct fault read_regex(const struct setting *s, const char *value)
{
    regex_t *regex = malloc(sizeof *regex);
    char why[120];

    int error = regcomp(regex, value, REG_EXTENDED | REG_ICASE);
    if (error) {
        regerror(error, regex, why, sizeof why);
        free(regex);
        return FAULT(MISUSE, "%s=%s: not a POSIX extended regular expression: %s", s->name, value, why);
    }
    *(regex_t **)s->to = regex;
    return FAULT_OK;
}

static struct fault read_value(const struct setting *s, const char *value)
{
    switch (s->type) {
    case SET_TEXT:
    case SET_SECRET:
        if (strpbrk(value, "\r\n"))
            return FAULT(MISUSE, "%s: holds a line break", s->name);
        *(const char **)s->to = value;
        return FAULT_OK;
    case SET_URL: return read_url(s, value);
    case SET_CHOICE: return read_choice(s, value);
    case SET_WHOLE:
    case SET_NUMBER: return read_number(s, value);
    case SET_LIST: return read_list(s, value);
    case SET_JSON: return read_json_map(s, value);
    case SET_REGEX: return read_regex(s, value);
    }
    return FAULT_OK;
}

static struct fault load(const struct setting *s)
{
    const char *value;

    TRY(settings_value(s->name, &value));
    bool from_file = value && value != getenv(s->name);
    if (!value)
        value = s->fallback;
    if (!value) {
        if (s->required)
            return FAULT(MISUSE, "%s is not set: %s (or name a file that holds it in %s_FILE)", s->name, s->help, s->name);
        return FAULT_OK;
    }
    struct fault f = read_value(s, value);
    bool kept = !f.kind && (s->type == SET_TEXT || s->type == SET_SECRET);
    if (from_file && !kept)
        free((void *)(uintptr_t)value);
    return f;
}

struct fault settings_load(const struct setting *const *tables)
{
    for (; *tables; tables++)
        for (const struct setting *s = *tables; s->name; s++)
            TRY(load(s));
    return FAULT_OK;
}

void settings_help(FILE *to, const struct setting *const *tables)
{
    for (; *tables; tables++)
        for (const struct setting *s = *tables; s->name; s++) {
            fprintf(to, "  %s", s->name);
            if (s->choices)
                fprintf(to, "  (%s)", s->choices);
            if (s->fallback)
                fprintf(to, "  [%s]", s->fallback);
            bool secret = s->type == SET_SECRET || s->secret;
            if (s->required || secret)
                fprintf(to, "  (%s%s%s)", s->required ? "required" : "", s->required && secret ? ", " : "", secret ? "secret" : "");
            fprintf(to, "\n      %s\n", s->help);
        }
}

const char *settings_map(struct json_object *map, const char *key)
{
    const char *value = json_str(map, key);

    return value ? value : json_str(map, "*");
}

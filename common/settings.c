#include "common/settings.h"

#include "common/json.h"
#include "common/log.h"
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

enum { PATH_SIZE = 4096 };

/*
 * The file a setting's value is in; "" when it is in none. A credential that is a lone line break is none: systemd wants a default
 * of one that need not be there, and takes no empty one.
 */
static void find_file(const char *name, char ret[PATH_SIZE])
{
    const char *value = getenv(name), *folder = getenv("CREDENTIALS_DIRECTORY");
    char with_file[96];
    struct stat found;

    snprintf(with_file, sizeof with_file, "%s_FILE", name);
    const char *path = getenv(with_file);
    ret[0] = '\0';
    if (path && *path) {
        if ((size_t)snprintf(ret, PATH_SIZE, "%s", path) >= PATH_SIZE)
            ret[PATH_SIZE - 1] = '\0'; /* there is no such file */
    } else if (!value || !*value) {
        if (!folder || (size_t)snprintf(ret, PATH_SIZE, "%s/%s", folder, name) >= PATH_SIZE || stat(ret, &found) || found.st_size < 2)
            ret[0] = '\0';
    }
}

struct fault settings_value(const char *name, const char **ret)
{
    const char *value = getenv(name);
    char path[PATH_SIZE];

    find_file(name, path);
    *ret = value && *value ? value : NULL;
    if (!*path)
        return FAULT_OK;
    if (*ret)
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
        if (s->most > 0 && list->count >= s->most) {
            free(list->items);
            free(copy);
            *list = (struct setting_list){0};
            return FAULT(MISUSE, "%s: more than %.0f items", s->name, s->most);
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
        if (s->type == SET_SECRET && (double)strlen(value) < s->least)
            return FAULT(MISUSE, "%s: want at least %.0f characters", s->name, s->least);
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

/* ---- secrets whose files change ---- */

enum { LOOK_US = 1000000 };

/* A file as it was when it was read. */
struct followed {
    char name[80], path[PATH_SIZE];
    struct stat seen;
    bool said; /* that it cannot be read */
    struct setting setting; /* or, when it has no name, `changed` */
    settings_changed *changed;
    void *of;
    struct followed *next;
};

static struct followed *followed;
static int64_t looked_us;
unsigned settings_changes;

/* Before it is read: what changes in between is read once more. */
static struct followed *follow(const char *name)
{
    char path[PATH_SIZE];
    struct followed *f;

    find_file(name, path);
    for (f = followed; f; f = f->next)
        if (!strcmp(f->name, name))
            break;
    if (!f && *path && (f = calloc(1, sizeof *f))) {
        f->next = followed;
        followed = f;
    }
    if (!f)
        return NULL;
    text_copy(f->name, sizeof f->name, name);
    text_copy(f->path, sizeof f->path, path);
    if (stat(path, &f->seen))
        f->seen = (struct stat){0};
    return f;
}

void settings_follow(const char *name, settings_changed *changed, void *of)
{
    struct followed *f = follow(name);

    if (f) {
        f->changed = changed;
        f->of = of;
    }
}

static void wipe(char *text)
{
    if (text)
        explicit_bzero(text, strlen(text));
}

static void list_free(struct setting_list *list)
{
    for (int i = 0; i < list->count; i++)
        wipe(list->items[i]);
    if (list->count)
        free(list->items[0]); /* it begins where the copy does */
    free(list->items);
}

/* value: ours, or in the setting's place from here on. */
static struct fault renew(const struct setting *s, char *value)
{
    struct setting_list list = {0};
    const char *text = NULL;
    struct setting fresh = *s;

    fresh.to = s->type == SET_LIST ? (void *)&list : (void *)&text;
    struct fault f = read_value(&fresh, value);
    if (f.kind || s->type == SET_LIST) {
        wipe(value);
        free(value);
    }
    if (f.kind)
        return f;
    if (s->type == SET_LIST) {
        list_free(s->to);
        *(struct setting_list *)s->to = list;
    } else {
        char *old = *(char **)s->to;
        *(const char **)s->to = text;
        wipe(old);
        free(old);
    }
    return FAULT_OK;
}

static bool same_file(const struct stat *a, const struct stat *b)
{
    return a->st_ino == b->st_ino && a->st_dev == b->st_dev && a->st_size == b->st_size && a->st_mtim.tv_sec == b->st_mtim.tv_sec &&
           a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

/* What cannot be read, or makes no sense, is looked at again next time: somebody may be writing it. */
static bool reread(struct followed *at)
{
    struct stat now = {0};
    const char *value = NULL;

    if ((!at->setting.name && !at->changed) || (!stat(at->path, &now) && same_file(&now, &at->seen)))
        return false;
    struct fault f = read_file(at->name, at->path, &value);
    if (!f.kind && at->setting.name)
        f = renew(&at->setting, (char *)(uintptr_t)value);
    else if (!f.kind)
        at->changed(at->of, at->name, (char *)(uintptr_t)value);
    if (f.kind) {
        if (!at->said)
            log_error("%s; the value it had stays", f.what);
        at->said = true;
        return false;
    }
    at->seen = now;
    at->said = false;
    log_info("%s was read again", at->name);
    return true;
}

bool settings_reread_now(void)
{
    bool any = false;

    for (struct followed *f = followed; f; f = f->next)
        any |= reread(f);
    settings_changes += any;
    return any;
}

bool settings_reread(int64_t now_us)
{
    if (now_us - looked_us < LOOK_US && looked_us)
        return false;
    looked_us = now_us;
    return settings_reread_now();
}

static struct fault load(const struct setting *s)
{
    struct followed *file = s->type == SET_SECRET || (s->secret && s->type == SET_LIST) ? follow(s->name) : NULL;
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
    if (file && from_file && !f.kind)
        file->setting = *s;
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

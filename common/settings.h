/*
 * settings.h - a setting is a row: its environment variable, type, default and one sentence. `--help` and the README
 * are made from the rows.
 *
 * Every setting NAME may also be given as NAME_FILE: the path of a file that holds the value (a secret), of which one
 * final line break is dropped. Both at once is an error. An empty value counts as not set. One that is neither, and has a file of
 * its name among systemd's credentials ($CREDENTIALS_DIRECTORY, LoadCredential=), is that file's.
 *
 * Secrets (SET_SECRET, .secret) that are files' are read again when their file has changed, without a restart: settings_reread,
 * which every loop calls. What was read then takes the old value's place, which is wiped and freed: nobody keeps a pointer to one.
 * A file that is gone, empty or wrong just now is logged once, and the old value stays.
 *
 * The first thing wrong is returned as a MISUSE fault that names the setting, what was expected, and what to do; the
 * value of a SECRET is never shown.
 */
#ifndef SHELFWIRE_SETTINGS_H
#define SHELFWIRE_SETTINGS_H

#include "common/fault.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

enum setting_type {
    SET_TEXT,   /* to: const char * */
    SET_SECRET, /* to: const char *; never printed */
    SET_URL,    /* to: const char *; http or https, a trailing '/' is dropped */
    SET_CHOICE, /* to: int; choices "a|b|c", the place of the one chosen */
    SET_WHOLE,  /* to: int64_t; least..most */
    SET_NUMBER, /* to: double; least..most */
    SET_LIST,   /* to: struct setting_list; comma separated, blanks around items dropped */
    SET_JSON,   /* to: json_object *; an object of strings */
    SET_REGEX,  /* to: regex_t *, NULL when not set; POSIX extended, capitals and small letters alike */
};

struct setting_list {
    char **items;
    int count;
};

struct setting {
    const char *name;
    enum setting_type type;
    const char *fallback; /* as it would be written; NULL: none */
    bool required, secret; /* secret: of another type than SET_SECRET, and no less one */
    double least, most; /* of a SET_LIST: how many items at most; 0: any number; of a SET_SECRET, least: its characters */
    const char *choices;
    const char *help;
    void *to;
};

/* Tables end with a row without a name; the list of tables ends with NULL. */
struct fault settings_load(const struct setting *const *tables);

/* The value of an environment variable, of the file it names, or of the credential of that name; NULL when none is set. Kept for ever. */
struct fault settings_value(const char *name, const char **ret);

/*
 * Looks for changed files, at most once a second of `now_us`, or at once: when a vendor has refused what we have. True: something
 * was read again, and settings_changes is another number.
 */
bool settings_reread(int64_t now_us);
bool settings_reread_now(void);
extern unsigned settings_changes;

/* The same for a value that is in no table: `changed` is told the new one, which is then its own. Nothing when it is no file's. */
typedef void settings_changed(void *of, const char *name, char *value);
void settings_follow(const char *name, settings_changed *changed, void *of);

void settings_help(FILE *to, const struct setting *const *tables);

/* A SET_JSON object's member as a string, or its "*" member, or NULL. */
struct json_object;
const char *settings_map(struct json_object *map, const char *key);

#endif

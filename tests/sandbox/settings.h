/*
 * settings.h - a setting is a row: name, type, where it lives, its default as JSON, one sentence.
 *
 * A merge changes what it names and nothing else; a list or an object is replaced as a whole.
 */
#ifndef SANDBOX_SETTINGS_H
#define SANDBOX_SETTINGS_H

#include "exchange.h"

enum setting_type {
    SETTING_NUMBER,      /* double */
    SETTING_INT,         /* int64_t */
    SETTING_BOOL,        /* bool */
    SETTING_TEXT,        /* char *, never NULL */
    SETTING_INSTANT,     /* struct moment */
    SETTING_NAMES,       /* struct names */
    SETTING_JSON,        /* json_object *, or NULL */
};

struct names  { char **at; size_t count; bool any; };
struct moment { struct instant at; bool set; };

struct setting {
    const char *name;
    enum setting_type type;
    void *at;
    const char *initial;
    const char *what;
    void (*changed)(void);
};

#define SETTING_END { NULL, SETTING_BOOL, NULL, NULL, NULL, NULL }

bool names_has(const struct names *names, struct slice s);

void settings_reset(void);
void settings_release(void);
bool settings_merge(json_object *of, struct text *ret_why);
void settings_print(struct text *out);

#endif

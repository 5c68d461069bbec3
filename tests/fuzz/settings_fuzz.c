/* Whatever a setting holds: it is read, or refused by its name; and a secret is never in the words. */
#include "common/settings.h"

#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static union {
        const char *text;
        char *url;
        int choice;
        int64_t whole;
        double number;
        struct setting_list list;
        json_object *map;
    } it;
    char value[200];

    if (!size || size > sizeof value)
        return 0;
    memcpy(value, data + 1, size - 1);
    value[size - 1] = '\0';
    /* but patterns, the last type: the C library reads them, takes memory without end for some, and whoever sets one is trusted */
    enum setting_type type = data[0] % SET_REGEX;
    const struct setting rows[] = {{"FUZZED", type, .least = -1e15, .most = 1e15, .choices = "a|bc|d", .to = &it}, {0}};
    const struct setting *const tables[] = {rows, NULL};

    memset(&it, 0, sizeof it);
    setenv("FUZZED", value, 1);
    struct fault f = settings_load(tables);
    if (f.kind) {
        want(!strncmp(f.what, "FUZZED", 6));
        want(type != SET_SECRET || strlen(value) <= 20 || !strstr(f.what, value));
        return 0;
    }
    switch (type) {
    case SET_URL:
        if (it.url) {
            want(!strncmp(it.url, "http", 4) && it.url[strlen(it.url) - 1] != '/');
            free(it.url);
        }
        break;
    case SET_LIST:
        for (int i = 0; i < it.list.count; i++)
            want(*it.list.items[i] && !strchr(it.list.items[i], ','));
        if (it.list.count)
            free(it.list.items[0]); /* the others are pieces of the same text */
        free(it.list.items);
        break;
    case SET_JSON: json_object_put(it.map); break;
    case SET_WHOLE:
        want(!*value || (it.whole >= -1000000000000000 && it.whole <= 1000000000000000));
        break;
    default: break;
    }
    return 0;
}

#include "common/settings.h"

#include "common/json.h"
#include "common/scoped.h"
#include "common/text.h"

#include <regex.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static char folder[] = "/tmp/settings_test.XXXXXX";

/* Where a setting goes to, whatever its type. */
static union {
    const char *text;
    int choice;
    int64_t whole;
    double number;
    struct setting_list list;
    json_object *map;
    regex_t *regex;
} it;

/* Values are kept for as long as the program runs; so are these. */
static void *volatile kept[1000]; /* volatile: or nobody keeps what nobody reads */
static size_t kept_count;

static void keep(const void *value)
{
    assert_true(kept_count < COUNT(kept));
    kept[kept_count++] = (void *)(uintptr_t)value;
}

/* The value as a text. */
static void write_it(enum setting_type type, struct text *to)
{
    text_clear(to);
    switch (type) {
    case SET_TEXT:
    case SET_SECRET:
    case SET_URL:
        text_puts(to, it.text ? it.text : "(none)");
        keep(it.text);
        break;
    case SET_CHOICE: text_int(to, it.choice); break;
    case SET_WHOLE: text_int(to, it.whole); break;
    case SET_NUMBER: text_printf(to, "%.17g", it.number); break;
    case SET_LIST:
        for (int i = 0; i < it.list.count; i++)
            text_printf(to, "[%s]", it.list.items[i]);
        keep(it.list.items);
        keep(it.list.count ? (void *)it.list.items[0] : NULL);
        break;
    case SET_JSON:
        text_puts(to, it.map ? json_object_to_json_string_ext(it.map, JSON_C_TO_STRING_PLAIN) : "(none)");
        keep(it.map);
        break;
    case SET_REGEX:
        text_puts(to, !it.regex ? "(none)" : regexec(it.regex, "g12345678", 0, NULL, 0) ? "other" : "match");
        keep(it.regex);
        break;
    }
}

static struct fault load_one(struct setting s)
{
    const struct setting rows[] = {s, {0}};
    const struct setting *const tables[] = {rows, NULL};

    return settings_load(tables);
}

static void test_values(void **state)
{
    static const struct {
        const char *when;
        struct setting is;
        const char *value; /* NULL: not set */
        const char *want;  /* the value, or after '!' what the message holds beside the name */
    } rows[] = {
        {"a text", {.type = SET_TEXT}, "Gelman Library", "Gelman Library"},
        {"a text that is not set", {.type = SET_TEXT}, NULL, "(none)"},
        {"a text's default", {.type = SET_TEXT, .fallback = "here"}, NULL, "here"},
        {"empty counts as not set", {.type = SET_TEXT, .fallback = "here"}, "", "here"},
        {"required, and not set", {.type = SET_TEXT, .required = true, .help = "the root of the service"}, NULL,
         "!the root of the service"},
        {"required, and empty", {.type = SET_TEXT, .required = true, .help = "the root"}, "", "!is not set"},
        {"how to give it is said", {.type = SET_TEXT, .required = true, .help = "the root"}, NULL, "!T_SETTING_FILE"},
        {"a text of two lines", {.type = SET_TEXT}, "a\nb", "!line break"},
        {"a text that ends with a line break", {.type = SET_TEXT}, "a\r", "!line break"},
        {"a secret", {.type = SET_SECRET}, "s3cret,%s=", "s3cret,%s="},

        {"a URL", {.type = SET_URL}, "https://api.example.org", "https://api.example.org"},
        {"a URL with a port and a path", {.type = SET_URL}, "http://127.0.0.1:8080/base", "http://127.0.0.1:8080/base"},
        {"a URL with a '/' at its end", {.type = SET_URL}, "https://api.example.org/", "https://api.example.org"},
        {"a URL with more of them", {.type = SET_URL}, "https://api.example.org/v1///", "https://api.example.org/v1"},
        {"an IPv6 URL", {.type = SET_URL}, "http://[::1]:80", "http://[::1]:80"},
        {"an '@' in a URL's path", {.type = SET_URL}, "https://api.example.org/@v1", "https://api.example.org/@v1"},
        {"no scheme", {.type = SET_URL}, "api.example.org", "!want a URL"},
        {"another scheme", {.type = SET_URL}, "ftp://api.example.org", "!want a URL"},
        {"a scheme alone", {.type = SET_URL}, "https://", "!want a URL"},
        {"no host", {.type = SET_URL}, "https:///v1", "!want a URL"},
        {"a port without a host", {.type = SET_URL}, "https://:443", "!want a URL"},
        {"a URL with a query", {.type = SET_URL}, "https://api.example.org?a=b", "!want a URL"},
        {"a URL with a fragment", {.type = SET_URL}, "https://api.example.org/#a", "!want a URL"},
        {"a URL with a blank", {.type = SET_URL}, "https://api.example.org ", "!want a URL"},
        {"a URL with a password", {.type = SET_URL}, "https://me:s3cret@api.example.org", "!does not belong into a URL"},

        {"the first choice", {.type = SET_CHOICE, .choices = "text|json|te"}, "text", "0"},
        {"another choice", {.type = SET_CHOICE, .choices = "text|json|te"}, "json", "1"},
        {"a choice that begins another", {.type = SET_CHOICE, .choices = "text|json|te"}, "te", "2"},
        {"a choice's default", {.type = SET_CHOICE, .choices = "text|json", .fallback = "json"}, NULL, "1"},
        {"no choice", {.type = SET_CHOICE, .choices = "text|json"}, "xml", "!want one of text|json"},
        {"half a choice", {.type = SET_CHOICE, .choices = "text|json"}, "tex", "!want one of"},
        {"two choices", {.type = SET_CHOICE, .choices = "text|json"}, "text|json", "!want one of"},
        {"a choice in capitals", {.type = SET_CHOICE, .choices = "text|json"}, "TEXT", "!want one of"},

        {"a whole number", {.type = SET_WHOLE, .least = 1, .most = 100}, "42", "42"},
        {"the least", {.type = SET_WHOLE, .least = -1, .most = 100}, "-1", "-1"},
        {"the most", {.type = SET_WHOLE, .least = 1, .most = 100}, "100", "100"},
        {"less than the least", {.type = SET_WHOLE, .least = 1, .most = 100}, "0", "!want 1 to 100"},
        {"more than the most", {.type = SET_WHOLE, .least = 1, .most = 100}, "101", "!want 1 to 100"},
        {"a large most", {.type = SET_WHOLE, .most = 86400000}, "-1", "!want 0 to 86400000"},
        {"a fraction", {.type = SET_WHOLE, .most = 100}, "1.5", "!whole number"},
        {"a unit behind it", {.type = SET_WHOLE, .most = 100}, "15s", "!whole number"},
        {"words", {.type = SET_WHOLE, .most = 100}, "ten", "!whole number"},
        {"more than there are", {.type = SET_WHOLE, .most = 1e18}, "99999999999999999999", "!whole number"},
        {"a number", {.type = SET_NUMBER, .most = 100}, "2.5", "2.5"},
        {"a number's most", {.type = SET_NUMBER, .least = 0.5, .most = 2.5}, "2.6", "!want 0.5 to 2.5"},
        {"infinity", {.type = SET_NUMBER, .most = 1e300}, "inf", "!number"},
        {"not a number", {.type = SET_NUMBER, .most = 1e300}, "nan", "!number"},
        {"a comma in a number", {.type = SET_NUMBER, .most = 100}, "2,5", "!number"},

        {"a list", {.type = SET_LIST}, "8577,8578", "[8577][8578]"},
        {"a list of one", {.type = SET_LIST}, "8577", "[8577]"},
        {"blanks around items", {.type = SET_LIST}, " a b ,\tc\n, d", "[a b][c][d]"},
        {"no list", {.type = SET_LIST}, NULL, ""},
        {"an empty item", {.type = SET_LIST}, "a,,b", "!item"},
        {"an empty item first", {.type = SET_LIST}, ",a", "!item"},
        {"an empty item last", {.type = SET_LIST}, "a,", "!item"},
        {"a blank item", {.type = SET_LIST}, "a, ,b", "!item"},
        {"nothing but a blank", {.type = SET_LIST}, " ", "!item"},

        {"a map", {.type = SET_JSON}, "{\"8577\": \"Gelman\", \"*\": \"other\"}", "{\"8577\":\"Gelman\",\"*\":\"other\"}"},
        {"an empty map", {.type = SET_JSON}, "{}", "{}"},
        {"no map", {.type = SET_JSON}, NULL, "(none)"},
        {"not JSON", {.type = SET_JSON}, "8577=Gelman", "!want a JSON object"},
        {"half a map", {.type = SET_JSON}, "{\"a\": \"b\"", "!want a JSON object"},
        {"a JSON array", {.type = SET_JSON}, "[\"a\"]", "!want a JSON object"},
        {"a number in a map", {.type = SET_JSON}, "{\"8577\": 1}", "!\"8577\" wants a string"},
        {"an empty text in a map", {.type = SET_JSON}, "{\"8577\": \"\"}", "!\"8577\" wants a string"},
        {"null in a map", {.type = SET_JSON}, "{\"a\": \"b\", \"8577\": null}", "!\"8577\" wants a string"},

        {"a pattern", {.type = SET_REGEX}, "^g[0-9]{8}$", "match"},
        {"a pattern in capitals", {.type = SET_REGEX}, "^G[0-9]{8}$", "match"},
        {"a pattern of something else", {.type = SET_REGEX}, "^n", "other"},
        {"no pattern", {.type = SET_REGEX}, NULL, "(none)"},
        {"not a pattern", {.type = SET_REGEX}, "(", "!regular expression"},
    };
    struct text got = {0};
    (void)state;

    for (size_t i = 0; i < COUNT(rows); i++) {
        struct setting s = rows[i].is;

        memset(&it, 0, sizeof it);
        s.name = "T_SETTING";
        s.to = &it;
        if (rows[i].value)
            setenv(s.name, rows[i].value, 1);
        else
            unsetenv(s.name);
        struct fault f = load_one(s);
        if (*rows[i].want != '!') {
            if (f.kind)
                fail_msg("%s: %s", rows[i].when, f.what);
            write_it(s.type, &got);
            if (strcmp(text_str(&got), rows[i].want))
                fail_msg("%s: %s", rows[i].when, text_str(&got));
        } else {
            if (f.kind != FAULT_MISUSE || strncmp(f.what, s.name, strlen(s.name)) || !strstr(f.what, rows[i].want + 1))
                fail_msg("%s: \"%s\"", rows[i].when, f.what);
            if (strstr(f.what, "s3cret"))
                fail_msg("%s: shows a password: %s", rows[i].when, f.what);
        }
    }
    unsetenv("T_SETTING");
    text_free(&got);
}

static void test_files(void **state)
{
    static const struct {
        const char *when, *value, *content; /* NULL: no value; no such file */
        size_t len;                         /* of the content, when it holds a zero byte */
        const char *want;
    } rows[] = {
        {"a value alone", NULL, "s3cret", 0, "s3cret"},
        {"a line", NULL, "s3cret\n", 0, "s3cret"},
        {"a line of another system", NULL, "s3cret\r\n", 0, "s3cret"},
        {"blanks are part of it", NULL, " s3cret \n", 0, " s3cret "},
        {"empty and a file: the file", "", "s3cret", 0, "s3cret"},
        {"two lines", NULL, "s3cret\nmore\n", 0, "!line break"},
        {"an empty line after it", NULL, "s3cret\n\n", 0, "!line break"},
        {"an empty file", NULL, "", 0, "!is empty"},
        {"a line break alone", NULL, "\n", 0, "!is empty"},
        {"a zero byte", NULL, "s3cret\0more", 11, "!zero byte"},
        {"no such file", NULL, NULL, 0, "!No such file"},
        {"both at once", "s3cret", "s3cret", 0, "!unset one"},
        {"both at once, and no such file", "s3cret", NULL, 0, "!unset one"},
    };
    static const enum setting_type types[] = {SET_SECRET, SET_TEXT};
    char path[sizeof folder + 10];
    (void)state;

    snprintf(path, sizeof path, "%s/value", folder);
    for (size_t i = 0; i < COUNT(rows) * COUNT(types); i++) {
        size_t r = i / COUNT(types);

        it.text = NULL;
        unlink(path);
        if (rows[r].content) {
            FILE *file = fopen(path, "w");
            assert_non_null(file);
            fwrite(rows[r].content, 1, rows[r].len ? rows[r].len : strlen(rows[r].content), file);
            fclose(file);
        }
        if (rows[r].value)
            setenv("T_SETTING", rows[r].value, 1);
        else
            unsetenv("T_SETTING");
        setenv("T_SETTING_FILE", path, 1);
        struct fault f = load_one((struct setting){.name = "T_SETTING", .type = types[i % COUNT(types)], .to = &it});
        keep(it.text);
        if (*rows[r].want != '!') {
            if (f.kind || strcmp(it.text, rows[r].want))
                fail_msg("%s: %s%s", rows[r].when, f.what, it.text ? it.text : "");
        } else {
            if (f.kind != FAULT_MISUSE || strncmp(f.what, "T_SETTING", 9) || !strstr(f.what, rows[r].want + 1))
                fail_msg("%s: \"%s\"", rows[r].when, f.what);
            if (strstr(f.what, "s3cret"))
                fail_msg("%s: shows the secret: %s", rows[r].when, f.what);
        }
    }
    unsetenv("T_SETTING");
    setenv("T_SETTING_FILE", folder, 1); /* a directory can be opened, but not read */
    struct fault f = load_one((struct setting){.name = "T_SETTING", .type = SET_TEXT, .to = &it});
    assert_int_equal(f.kind, FAULT_MISUSE);
    assert_non_null(strstr(f.what, "T_SETTING_FILE: cannot read"));
    setenv("T_SETTING_FILE", "/dev/zero", 1); /* and this one has no end */
    assert_int_equal(load_one((struct setting){.name = "T_SETTING", .type = SET_TEXT, .to = &it}).kind, FAULT_MISUSE);
    setenv("T_SETTING_FILE", "", 1); /* empty counts as not set */
    assert_int_equal(load_one((struct setting){.name = "T_SETTING", .type = SET_TEXT, .to = &it}).kind, FAULT_NONE);
    unsetenv("T_SETTING_FILE");
    unlink(path);
}

/* Every type may come from a file, and a file may hold as much as a list or a map needs. */
static void test_long_file(void **state)
{
    char path[sizeof folder + 10];
    (void)state;

    snprintf(path, sizeof path, "%s/list", folder);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    for (int i = 0; i < 5000; i++)
        fprintf(file, "%sitem %d", i ? ",\n" : "", i);
    fputs("\n", file);
    fclose(file);
    setenv("T_LIST_FILE", path, 1);
    assert_int_equal(load_one((struct setting){.name = "T_LIST", .type = SET_LIST, .to = &it}).kind, FAULT_NONE);
    assert_int_equal(it.list.count, 5000);
    assert_string_equal(it.list.items[4999], "item 4999");
    keep(it.list.items);
    keep(it.list.items[0]);
    unsetenv("T_LIST_FILE");
    unlink(path);
}

static void put_credential(const char *folder, const char *contents)
{
    char path[200];
    snprintf(path, sizeof path, "%s/T_SETTING", folder);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(contents, file);
    fclose(file);
}

/* systemd's credentials come last: after the variable, and after the file that a variable names. */
static void test_credentials(void **state)
{
    static const struct {
        const char *credential, *variable, *file, *want; /* file: what T_SETTING_FILE's holds */
    } rows[] = {
        {"from systemd", NULL, NULL, "from systemd"},
        {"from systemd\n", NULL, NULL, "from systemd"},
        {"from systemd", "", NULL, "from systemd"},
        {"from systemd", "from a variable", NULL, "from a variable"},
        {"from systemd", NULL, "from a file", "from a file"},
        {"\n", NULL, NULL, NULL}, /* the default of one that need not be there */
        {"", NULL, NULL, NULL},
    };
    char folder[] = "/tmp/shelfwire-credentials-XXXXXX", file_path[80];
    (void)state;

    assert_non_null(mkdtemp(folder));
    snprintf(file_path, sizeof file_path, "%s/file", folder);
    setenv("CREDENTIALS_DIRECTORY", folder, 1);
    for (size_t i = 0; i < COUNT(rows); i++) {
        const char *value = "before";
        put_credential(folder, rows[i].credential);
        unsetenv("T_SETTING");
        unsetenv("T_SETTING_FILE");
        if (rows[i].variable)
            setenv("T_SETTING", rows[i].variable, 1);
        if (rows[i].file) {
            FILE *file = fopen(file_path, "w");
            assert_non_null(file);
            fputs(rows[i].file, file);
            fclose(file);
            setenv("T_SETTING_FILE", file_path, 1);
        }
        assert_int_equal(settings_value("T_SETTING", &value).kind, FAULT_NONE);
        if (!rows[i].want) {
            assert_null(value);
            continue;
        }
        assert_string_equal(value, rows[i].want);
        if (!rows[i].variable || !*rows[i].variable)
            keep((void *)(uintptr_t)value);
    }
    unsetenv("T_SETTING");
    unsetenv("T_SETTING_FILE");
    const char *absent = "before";
    assert_int_equal(settings_value("T_ABSENT", &absent).kind, FAULT_NONE);
    assert_null(absent);
    unsetenv("CREDENTIALS_DIRECTORY");
    unlink(file_path);
    snprintf(file_path, sizeof file_path, "%s/T_SETTING", folder);
    unlink(file_path);
    rmdir(folder);
}

/* The first thing wrong is what is returned; settings before it are set. */
static void test_tables(void **state)
{
    static int64_t first, second;
    static const struct setting one[] = {{"T_FIRST", SET_WHOLE, "1", .most = 9, .to = &first}, {0}};
    static const struct setting two[] = {{"T_SECOND", SET_WHOLE, "2", .most = 9, .to = &second, .help = "The second."}, {0}};
    const struct setting *const tables[] = {one, two, NULL};
    (void)state;

    assert_int_equal(settings_load(tables).kind, FAULT_NONE);
    assert_int_equal(first + second, 3);
    setenv("T_FIRST", "5", 1);
    setenv("T_SECOND", "50", 1);
    struct fault f = settings_load(tables);
    assert_int_equal(f.kind, FAULT_MISUSE);
    assert_string_equal(f.what, "T_SECOND=50: want 0 to 9");
    assert_int_equal(fault_exit_code(f), 100);
    assert_int_equal(first, 5);
    assert_int_equal(second, 2);
    unsetenv("T_FIRST");
    unsetenv("T_SECOND");
}

static void test_help(void **state)
{
    static const struct setting rows[] = {
        {"T_URL", SET_URL, .required = true, .help = "the root"},
        {"T_HOW", SET_CHOICE, "b", .choices = "a|b", .help = "how"},
        {"T_KEY", SET_SECRET, .help = "the key"},
        {"T_KEYS", SET_LIST, .required = true, .secret = true, .help = "the keys"},
        {0}};
    const struct setting *const tables[] = {rows, NULL};
    char *text = NULL;
    size_t len;
    (void)state;

    setenv("T_KEY", "s3cret", 1);
    FILE *to = open_memstream(&text, &len);
    assert_non_null(to);
    settings_help(to, tables);
    fclose(to);
    assert_string_equal(text, "  T_URL  (required)\n      the root\n  T_HOW  (a|b)  [b]\n      how\n  T_KEY  (secret)\n      the key\n"
                              "  T_KEYS  (required, secret)\n      the keys\n");
    free(text);
    unsetenv("T_KEY");
}

static void test_map(void **state)
{
    static const char with[] = "{\"8577\":\"Gelman\",\"*\":\"other\"}", without[] = "{\"8577\":\"Gelman\"}";
    SCOPED(json_object_put) json_object *any = NULL;
    SCOPED(json_object_put) json_object *known = NULL;
    (void)state;

    assert_int_equal(json_read(with, strlen(with), &any).kind, FAULT_NONE);
    assert_int_equal(json_read(without, strlen(without), &known).kind, FAULT_NONE);
    assert_string_equal(settings_map(any, "8577"), "Gelman");
    assert_string_equal(settings_map(any, "1"), "other");
    assert_string_equal(settings_map(known, "8577"), "Gelman");
    assert_null(settings_map(known, "1"));
    assert_null(settings_map(known, "*"));
    assert_null(settings_map(NULL, "1"));
}

/* ---- secrets whose files change ---- */

static void put_file(const char *path, const char *content, bool in_place)
{
    char fresh[sizeof folder + 20];

    snprintf(fresh, sizeof fresh, "%s/fresh", folder);
    FILE *file = fopen(in_place ? path : fresh, "w");
    assert_non_null(file);
    fputs(content, file);
    fclose(file);
    if (!in_place)
        assert_int_equal(rename(fresh, path), 0);
}

static const char *secret, *paced, *credential;
static struct setting_list keys;
static const char *told;

static void on_told(void *of, const char *name, char *value)
{
    assert_ptr_equal(of, &told);
    assert_string_equal(name, "T_TOLD");
    free((char *)(uintptr_t)told);
    told = value;
}

static void test_secrets_are_read_again(void **state)
{
    static const struct setting rows[] = {{"T_SECRET", SET_SECRET, .to = &secret}, {"T_KEYS", SET_LIST, .secret = true, .most = 2, .to = &keys},
                                          {"T_TEXT", SET_TEXT, .to = &it}, {0}};
    const struct setting *const tables[] = {rows, NULL};
    char path[3][sizeof folder + 20];
    static const char *const names[] = {"T_SECRET", "T_KEYS", "T_TOLD"};
    (void)state;

    for (int i = 0; i < 3; i++) {
        char with_file[20];
        snprintf(path[i], sizeof path[i], "%s/%s", folder, names[i]);
        snprintf(with_file, sizeof with_file, "%s_FILE", names[i]);
        put_file(path[i], "first\n", true);
        setenv(with_file, path[i], 1);
    }
    assert_int_equal(settings_load(tables).kind, FAULT_NONE);
    settings_follow("T_TOLD", on_told, &told);
    settings_follow("T_NO_FILE", on_told, &told);
    assert_false(settings_reread_now());

    put_file(path[0], "a second one\n", false); /* as who turns a secret should do it, */
    put_file(path[1], "a,b\n", true);           /* and as many do it */
    put_file(path[2], "third\n", true);
    unsigned before = settings_changes;
    assert_true(settings_reread_now());
    assert_string_equal(secret, "a second one");
    assert_int_equal(keys.count, 2);
    assert_string_equal(keys.items[1], "b");
    assert_string_equal(told, "third");
    assert_int_equal(settings_changes, before + 1);
    assert_false(settings_reread_now());

    static const struct {
        int which;
        const char *content; /* NULL: no such file */
    } wrong[] = {{0, ""}, {0, "two\nlines\n"}, {0, NULL}, {1, "a,,b"}, {1, "a,b,c"}, {1, "\n"}, {2, NULL}};
    for (size_t i = 0; i < COUNT(wrong); i++) {
        if (wrong[i].content)
            put_file(path[wrong[i].which], wrong[i].content, i & 1);
        else
            unlink(path[wrong[i].which]);
        assert_false(settings_reread_now());
        assert_string_equal(secret, "a second one");
        assert_int_equal(keys.count, 2);
        assert_string_equal(told, "third");
    }
    put_file(path[0], "mended", true);
    put_file(path[1], "c", true);
    put_file(path[2], "mended", true);
    assert_true(settings_reread_now());
    assert_string_equal(secret, "mended");
    assert_int_equal(keys.count, 1);
    assert_string_equal(keys.items[0], "c");
    assert_string_equal(told, "mended");
    for (int i = 0; i < 3; i++)
        unlink(path[i]);
    unsetenv("T_SECRET_FILE");
    unsetenv("T_KEYS_FILE");
    unsetenv("T_TOLD_FILE");
}

/* The test before has left files that are gone: they are looked at again, and stay as they were. */
static void test_files_are_looked_at_once_a_second(void **state)
{
    static const struct setting rows[] = {{"T_PACED", SET_SECRET, .to = &paced}, {0}};
    const struct setting *const tables[] = {rows, NULL};
    char path[sizeof folder + 20];
    (void)state;

    snprintf(path, sizeof path, "%s/paced", folder);
    put_file(path, "1", true);
    setenv("T_PACED_FILE", path, 1);
    assert_int_equal(settings_load(tables).kind, FAULT_NONE);
    assert_false(settings_reread(10000000));
    put_file(path, "2", false);
    assert_false(settings_reread(10999999));
    assert_string_equal(paced, "1");
    assert_true(settings_reread(11000000));
    assert_string_equal(paced, "2");
    put_file(path, "3", false);
    assert_true(settings_reread_now());
    assert_string_equal(paced, "3");
    unlink(path);
    unsetenv("T_PACED_FILE");
}

static void test_a_credential_of_systemd_is_read_again(void **state)
{
    static const struct setting rows[] = {{"T_CREDENTIAL", SET_SECRET, .to = &credential}, {0}};
    const struct setting *const tables[] = {rows, NULL};
    char path[sizeof folder + 20];
    (void)state;

    snprintf(path, sizeof path, "%s/T_CREDENTIAL", folder);
    put_file(path, "first", true);
    setenv("CREDENTIALS_DIRECTORY", folder, 1);
    assert_int_equal(settings_load(tables).kind, FAULT_NONE);
    assert_string_equal(credential, "first");
    put_file(path, "other", false);
    assert_true(settings_reread_now());
    assert_string_equal(credential, "other");
    unlink(path);
    unsetenv("CREDENTIALS_DIRECTORY");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values), cmocka_unit_test(test_files), cmocka_unit_test(test_long_file),
        cmocka_unit_test(test_credentials),
        cmocka_unit_test(test_tables), cmocka_unit_test(test_help),  cmocka_unit_test(test_map),
        cmocka_unit_test(test_secrets_are_read_again), cmocka_unit_test(test_files_are_looked_at_once_a_second),
        cmocka_unit_test(test_a_credential_of_systemd_is_read_again),
    };

    if (!mkdtemp(folder))
        return 1;
    int failed = cmocka_run_group_tests_name("settings", tests, NULL, NULL);
    rmdir(folder);
    return failed;
}

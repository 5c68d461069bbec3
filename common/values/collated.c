#include "common/scoped.h"
#include "common/values/parts.h"

#include <string.h>
#include <strings.h>

/*
 * The articles that catalogs pass over: MARC 21, Appendix F (plural indefinites, as "des" and "unos", are kept there). One
 * that ends in an apostrophe stands right before its word.
 */
static const struct {
    const char *language;
    const char *articles[14];
} languages[] = {
    {"English", {"the", "a", "an"}},
    {"Afrikaans", {"die", "'n"}},
    {"Catalan", {"el", "els", "en", "l'", "la", "les", "un", "una"}},
    {"Danish", {"de", "den", "det", "en", "et"}},
    {"Dutch", {"de", "het", "een", "eene", "'n", "'t"}},
    {"Esperanto", {"la"}},
    {"French", {"le", "la", "les", "l'", "un", "une"}},
    {"Galician", {"o", "a", "os", "as", "un", "unha"}},
    {"German", {"der", "die", "das", "dem", "den", "des", "ein", "eine", "einem", "einen", "einer", "eines"}},
    {"Hungarian", {"a", "az", "egy"}},
    {"Irish", {"an", "na"}},
    {"Italian", {"il", "lo", "la", "l'", "i", "gli", "gl'", "le", "li", "un", "uno", "una", "un'"}},
    {"Norwegian", {"de", "dei", "den", "det", "ei", "ein", "eit", "en", "et"}},
    {"Portuguese", {"o", "a", "os", "as", "um", "uma"}},
    {"Romanian", {"un", "o"}},
    {"Spanish", {"el", "la", "lo", "los", "las", "un", "una"}},
    {"Swedish", {"de", "den", "det", "en", "ett"}},
    {"Welsh", {"y", "yr"}},
};

/* The length of the apostrophe at `at`, as a typewriter or as a printer writes it (U+2019); 0 when there is none. */
static size_t apostrophe(const char *at)
{
    return *at == '\'' ? 1 : strncmp(at, "\xE2\x80\x99", 3) ? 0 : 3;
}

static size_t blanks(const char *at)
{
    size_t len = 0, step;

    while ((step = at[len] == ' ' ? 1 : strncmp(at + len, "\xC2\xA0", 2) ? 0 : 2)) /* also the no-break space */
        len += step;
    return len;
}

/* How many bytes of the title are this article and what parts it from its word; 0: it is not there. */
static size_t article_length(const char *title, const char *article)
{
    const char *at = title;
    size_t step = 0;

    for (const char *c = article; *c; c++, at += step) {
        step = *c == '\'' ? apostrophe(at) : !strncasecmp(at, c, 1);
        if (!step)
            return 0;
    }
    step = blanks(at);
    if (!step && article[strlen(article) - 1] != '\'')
        return 0;
    return at[step] ? (size_t)(at - title) + step : 0;
}

size_t values_collation(const char *title, const char *language)
{
    size_t in = 0, len = 0;

    while (*language && in < COUNT(languages) && strcasecmp(language, languages[in].language))
        in++;
    if (in == COUNT(languages))
        return 0;
    for (const char *const *article = languages[in].articles; *article && !len; article++)
        len = article_length(title, *article);
    return len;
}

/* ---- collatedString ---- */

static const char *const collated_names[] = {"prefix", "suffix", NULL};

struct fault value_collated_string_read(json_object *from, struct value_collated_string *ret)
{
    struct fault f;

    *ret = (struct value_collated_string){.prefix = ""};
    TRY(values_object(from, "a collatedString"));
    if (json_get(from, "prefix") && (f = values_text(json_get(from, "prefix"), "a string", &ret->prefix)).kind)
        return fault_under(f, "prefix");
    if ((f = values_text(json_get(from, "suffix"), "a string", &ret->suffix)).kind)
        return fault_under(f, "suffix");
    ret->as_sent = json_object_get(from);
    return FAULT_OK;
}

void value_collated_string_write(struct text *to, const struct value_collated_string *v)
{
    text_puts(to, "{\"prefix\":");
    text_json(to, v->prefix);
    text_puts(to, ",\"suffix\":");
    text_json(to, v->suffix);
    values_rest(to, v->as_sent, collated_names);
    text_putc(to, '}');
}

void value_collated_string_text(struct text *to, const struct value_collated_string *v)
{
    text_puts(to, v->prefix);
    text_puts(to, v->suffix);
}

void value_collated_string_free(struct value_collated_string *v)
{
    json_object_put(v->as_sent);
    *v = (struct value_collated_string){0};
}

/* ---- collatedStringList ---- */

struct fault value_collated_string_list_read(json_object *from, struct value_collated_string_list *ret)
{
    struct value_list list;
    struct fault f;

    *ret = (struct value_collated_string_list){0};
    TRY(value_list_read(from, &list));
    ret->at = calloc(list.count + 1, sizeof *ret->at);
    f = ret->at ? FAULT_OK : FAULT(FATAL, "out of memory");
    while (!f.kind && ret->count < list.count) {
        f = value_collated_string_read(json_object_array_get_idx(list.members, ret->count), &ret->at[ret->count]);
        if (f.kind)
            f = fault_under(f, "element %zu", ret->count);
        else
            ret->count++;
    }
    value_list_free(&list);
    if (f.kind)
        value_collated_string_list_free(ret);
    return f;
}

void value_collated_string_list_write(struct text *to, const struct value_collated_string_list *v)
{
    text_putc(to, '[');
    for (size_t i = 0; i < v->count; i++) {
        if (i)
            text_putc(to, ',');
        value_collated_string_write(to, &v->at[i]);
    }
    text_putc(to, ']');
}

void value_collated_string_list_free(struct value_collated_string_list *v)
{
    for (size_t i = 0; i < v->count; i++)
        value_collated_string_free(&v->at[i]);
    free(v->at);
    *v = (struct value_collated_string_list){0};
}

#include "common/values.h"

#include "common/scoped.h"

#include <stdbool.h>
#include <string.h>
#include <strings.h>

/* ---- isbnNumber ---- */

/* Takes the digits out of their groups; an X is taken as the tenth only. ret has room for 13 and a zero. */
static struct fault isbn_digits(const char *written, char ret[VALUES_ISBN_SIZE], size_t *ret_count)
{
    size_t count = 0;
    bool after_digit = false;

    for (const char *c = written; *c; c++) {
        bool digit = (*c >= '0' && *c <= '9') || ((*c == 'X' || *c == 'x') && count == 9 && !c[1]);

        if (!digit && !((*c == '-' || *c == ' ') && after_digit && c[1]))
            return FAULT(REJECT, "want digits, found something else at byte %zu", (size_t)(c - written));
        if (digit && count < VALUES_ISBN_SIZE - 1)
            ret[count] = *c == 'x' ? 'X' : *c;
        count += digit;
        after_digit = digit;
    }
    *ret_count = count;
    return FAULT_OK;
}

static char check_digit_10(const char *digits)
{
    int sum = 0;

    for (int i = 0; i < 9; i++)
        sum += (digits[i] - '0') * (10 - i);
    return "0123456789X"[(11 - sum % 11) % 11];
}

static char check_digit_13(const char *digits)
{
    int sum = 0;

    for (int i = 0; i < 12; i++)
        sum += (digits[i] - '0') * (i % 2 ? 3 : 1);
    return (char)('0' + (10 - sum % 10) % 10);
}

static struct fault want_check_digit(char found, char want)
{
    return found == want ? FAULT_OK : FAULT(REJECT, "check digit %c, want %c", found, want);
}

struct fault values_isbn(const char *written, char ret[VALUES_ISBN_SIZE])
{
    char digits[VALUES_ISBN_SIZE] = "";
    size_t count = 0;

    ret[0] = '\0';
    TRY(isbn_digits(written, digits, &count));
    if (count == 10) {
        TRY(want_check_digit(digits[9], check_digit_10(digits)));
        memmove(digits + 3, digits, 9);
        memcpy(digits, "978", 3);
        digits[12] = check_digit_13(digits);
    } else if (count != 13) {
        return FAULT(REJECT, "want 13 digits, found %zu", count);
    } else if (memcmp(digits, "978", 3) && memcmp(digits, "979", 3)) {
        return FAULT(REJECT, "want 978 or 979 in front, found %.3s", digits);
    } else {
        TRY(want_check_digit(digits[12], check_digit_13(digits)));
    }
    memcpy(ret, digits, sizeof digits);
    return FAULT_OK;
}

/* ---- collatedString ---- */

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

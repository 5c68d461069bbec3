#include "ops/monitor/html.h"

#include <string.h>

enum { WIDTH = 288, HEIGHT = 40 };

/* How many bytes the UTF-8 character at `at` has, or 0 when it is none: too long, a surrogate, beyond U+10FFFF, cut. */
static size_t character(const unsigned char *at, size_t left)
{
    unsigned char c = *at;
    size_t n = c < 0x80 ? 1 : c >= 0xc2 && c < 0xe0 ? 2 : c >= 0xe0 && c < 0xf0 ? 3 : c >= 0xf0 && c < 0xf5 ? 4 : 0;

    if (!n || n > left)
        return 0;
    for (size_t i = 1; i < n; i++)
        if ((at[i] & 0xc0) != 0x80)
            return 0;
    if ((c == 0xe0 && at[1] < 0xa0) || (c == 0xed && at[1] > 0x9f) || (c == 0xf0 && at[1] < 0x90) || (c == 0xf4 && at[1] > 0x8f))
        return 0;
    /* marks that turn the direction of what follows: a name could make a page read as something else */
    if (n == 3 && c == 0xe2 && ((at[1] == 0x80 && at[2] >= 0xaa && at[2] <= 0xae) || (at[1] == 0x81 && at[2] >= 0xa6 && at[2] <= 0xa9)))
        return 0;
    return n;
}

void html_bytes(struct text *to, const char *bytes, size_t len)
{
    const unsigned char *at = (const unsigned char *)bytes, *end = at + len;

    while (at < end) {
        size_t n = character(at, (size_t)(end - at));
        if (!n || (*at < ' ' && *at != '\n' && *at != '\t') || *at == 0x7f) {
            text_printf(to, "\\x%02x", *at);
            at++;
            continue;
        }
        switch (*at) {
        case '<': text_puts(to, "&lt;"); break;
        case '>': text_puts(to, "&gt;"); break;
        case '&': text_puts(to, "&amp;"); break;
        case '"': text_puts(to, "&quot;"); break;
        case '\'': text_puts(to, "&#39;"); break;
        default: text_add(to, (const char *)at, n);
        }
        at += n;
    }
}

void html_text(struct text *to, const char *string)
{
    html_bytes(to, string, strlen(string));
}

void html_query(struct text *to, const char *string)
{
    text_percent(to, string); /* leaves nothing that HTML minds */
}

void html_line(struct text *to, const int32_t *points, int count, const char *label)
{
    int32_t most = 0;
    bool pen = false;

    for (int i = 0; i < count; i++)
        most = points[i] > most ? points[i] : most;
    text_printf(to, "<svg class=line viewBox=\"0 0 %d %d\" preserveAspectRatio=none role=img aria-label=\"", WIDTH, HEIGHT + 2);
    html_text(to, label);
    text_printf(to, ", at most %d\"><path d=\"", most);
    for (int i = 0; i < count; i++) {
        if (points[i] < 0) {
            pen = false;
            continue;
        }
        double y = most ? HEIGHT - (double)points[i] * HEIGHT / most : HEIGHT;
        text_printf(to, "%s%d %.1f", pen ? "L" : "M", i * WIDTH / (count - 1), y + 1);
        if (!pen && (i + 1 == count || points[i + 1] < 0))
            text_puts(to, "h1"); /* one alone would not be seen */
        pen = true;
    }
    text_puts(to, "\"/></svg>");
}

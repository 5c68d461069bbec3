/*
 * An ISBN that is taken is one, and is taken again as it is. Where a title is sorted from lies within it. Bytes: an ISBN or
 * title, a zero byte, a language.
 */
#include "common/values.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void want(int holds)
{
    if (!holds)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *title = malloc(size + 2), isbn[VALUES_ISBN_SIZE], again[VALUES_ISBN_SIZE];

    want(title != NULL);
    memcpy(title, data, size);
    title[size] = title[size + 1] = '\0';
    const char *language = strlen(title) < size ? title + strlen(title) + 1 : "";

    if (values_isbn(title, isbn).kind)
        want(!isbn[0]);
    else
        want(strspn(isbn, "0123456789") == 13 && !isbn[13] && !values_isbn(isbn, again).kind && !strcmp(isbn, again));

    size_t prefix = values_collation(title, language);
    want(!prefix || (prefix >= 2 && prefix < strlen(title) && title[prefix] != ' '));
    /* an article is no part of what is sorted, so it ends where a word does */
    want(!prefix || title[prefix - 1] == ' ' || title[prefix - 1] == '\'' || (unsigned char)title[prefix - 1] >= 0x80);
    free(title);
    return 0;
}

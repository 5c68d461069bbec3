#include "common/values/parts.h"

#include <string.h>

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

struct fault value_isbn_number_read(json_object *from, struct value_isbn_number *ret)
{
    *ret = (struct value_isbn_number){0};
    TRY(values_short_text(from, "an ISBN as a string", ret->written, sizeof ret->written));
    return values_isbn(ret->written, ret->isbn);
}

void value_isbn_number_write(struct text *to, const struct value_isbn_number *v)
{
    text_json(to, v->written);
}

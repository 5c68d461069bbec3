/*
 * fuzz.h - what every fuzz target begins with: the sentence that must hold, texts that are read to their end and no further, and
 * an exchange with a vendor made of any bytes.
 */
#ifndef SHELFWIRE_FUZZ_H
#define SHELFWIRE_FUZZ_H

#include "common/http.h"
#include "common/scoped.h"

#include <ctype.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A finding, when it does not. */
static inline void want(bool holds)
{
    if (!holds)
        abort();
}

static inline void want_ended(const char *text, size_t size)
{
    want(memchr(text, '\0', size) != NULL);
}

/* Printable ASCII and the mask; nothing that looks like an address, a URL or a number of somebody's: of digits_max digits or more. */
static inline void want_discreet(const char *reason, size_t size, int digits_max)
{
    int digits = 0;

    want_ended(reason, size);
    for (const char *c = reason; *c; c++) {
        if (!strncmp(c, "…", strlen("…"))) {
            c += strlen("…") - 1;
            digits = 0;
            continue;
        }
        digits = isdigit((unsigned char)*c) ? digits + 1 : 0;
        want((unsigned char)*c >= ' ' && (unsigned char)*c <= '~' && digits < digits_max);
    }
    want(!strstr(reason, "a@") && !strstr(reason, "://"));
}

/* The bytes and a zero behind them, in a block of their own, so that whoever reads on is caught. The caller's. */
static inline char *fuzz_text(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1);

    want(text != NULL);
    if (size)
        memcpy(text, data, size);
    text[size] = '\0';
    return text;
}

/*
 * The second byte is the status, the third the content type, of these; the rest the body, to be freed. Of the first byte 0x40
 * is a time-out and 0x20 a Retry-After; what else it says is the target's. NULL: too short for that.
 */
#define fuzz_exchange(data, size, statuses, types, ret_res) \
    fuzz_exchange_(data, size, statuses, COUNT(statuses), types, COUNT(types), ret_res)
static inline char *fuzz_exchange_(const uint8_t *data, size_t size, const int *statuses, size_t status_count,
                                   const char *const *types, size_t type_count, struct http_response *ret_res)
{
    if (size < 3)
        return NULL;
    char *body = fuzz_text(data + 3, size - 3);
    *ret_res = (struct http_response){
        .end = data[0] & 0x40 ? HTTP_UNKNOWN : HTTP_ANSWERED, .status = statuses[data[1] % status_count],
        .content_type = types[data[2] % type_count], .body = body, .body_len = size - 3, .watched = "",
        .retry_after_ms = data[0] & 0x20 ? 2000 : -1, .error = "time-out",
    };
    return body;
}

#endif

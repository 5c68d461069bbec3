#include "common/fault.h"

#include <stdio.h>
#include <string.h>

struct fault fault_make(enum fault_kind kind, const char *format, ...)
{
    struct fault f = {.kind = kind};
    va_list args;

    va_start(args, format);
    vsnprintf(f.what, sizeof f.what, format, args);
    va_end(args);
    return f;
}

struct fault fault_under(struct fault f, const char *format, ...)
{
    struct fault under = {.kind = f.kind};
    va_list args;

    if (!f.kind)
        return f;
    va_start(args, format);
    int n = vsnprintf(under.what, sizeof under.what, format, args);
    va_end(args);
    if (n >= 0 && (size_t)n < sizeof under.what)
        snprintf(under.what + n, sizeof under.what - (size_t)n, ": %s", f.what);
    return under;
}

int fault_exit_code(struct fault f)
{
    switch (f.kind) {
    case FAULT_NONE: return 0;
    case FAULT_MISUSE: return 100;
    default: return 111;
    }
}

#include "common/answer.h"

#include <stdio.h>
#include <string.h>

struct answer answer_make(enum verdict verdict, enum cause cause, const char *code, const char *format, ...)
{
    struct answer a = {.verdict = verdict, .cause = cause, .code = code, .wait_ms = -1};
    va_list args;

    va_start(args, format);
    vsnprintf(a.reason, sizeof a.reason, format, args);
    va_end(args);
    return a;
}

struct answer answer_unanswered(const struct http_response *res)
{
    if (res->end == HTTP_NOT_SENT)
        return answer_make(LATER, CAUSE_VENDOR, "unreachable", "no connection: %s", res->error);
    return answer_make(UNKNOWN, CAUSE_VENDOR, "no_answer", "sent, but no whole answer came: %s", res->error);
}

void answer_quote(char *ret, size_t size, const char *words, size_t len)
{
    size_t at = 0;

    for (size_t i = 0; i < len && at + 1 < size; i++) {
        unsigned char c = (unsigned char)words[i];
        bool blank = c <= ' ' || c >= 0x7F;
        if (blank && (!at || ret[at - 1] == ' '))
            continue;
        ret[at++] = blank ? ' ' : (char)c;
    }
    while (at && ret[at - 1] == ' ')
        at--;
    ret[at] = '\0';
}

const char *verdict_name(enum verdict v)
{
    static const char *const names[] = {"done", "again", "step", "later", "rejected", "dead", "unknown"};

    return names[v];
}

/* Any bytes as a header: a message's traceparent, a vendor's Retry-After (libcurl's lines hold no zero byte). */
#include "common/event.h"

#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = fuzz_text(data, size), trace[EVENT_TRACE_SIZE];

    if (event_read_trace(text, size, trace)) {
        want(strlen(trace) == EVENT_TRACE_SIZE - 1 && strspn(trace, "0123456789abcdef") == EVENT_TRACE_SIZE - 1);
        want(size == 55 && !memcmp(trace, text + 3, EVENT_TRACE_SIZE - 1));
    }
    int64_t ms = http_retry_after_ms(text, 1795694400);
    want(ms >= -1 && ms <= 86400000 && (ms == -1 || ms % 1000 == 0));
    want(!size || strlen(text) != size || strspn(text, "0123456789") != size || ms >= 0);
    free(text);
    return 0;
}

#include "common/event.h"

#include "common/instant.h"
#include "common/scoped.h"

#include <inttypes.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

/* From the kernel in pieces of a page: a system call for each message would show. */
uint64_t event_random(void)
{
    static uint64_t pool[512];
    static size_t left;

    if (!left) {
        if (getrandom(pool, sizeof pool, GRND_NONBLOCK) != sizeof pool)
            pool[0] = (uint64_t)time(NULL);
        left = COUNT(pool);
    }
    return pool[--left];
}

void event_new_trace(char ret[EVENT_TRACE_SIZE])
{
    snprintf(ret, EVENT_TRACE_SIZE, "%016" PRIx64 "%016" PRIx64, event_random(), event_random());
}

void event_header(rd_kafka_headers_t *h, const char *name, const char *value)
{
    rd_kafka_header_add(h, name, -1, value, -1);
}

rd_kafka_headers_t *event_headers(const char *program, const char *subject, const char *type, const char *trace_id)
{
    static char when[INSTANT_SIZE];
    static time_t when_written;
    rd_kafka_headers_t *h = rd_kafka_headers_new(8);
    char text[160], fresh[EVENT_TRACE_SIZE];
    time_t now = time(NULL);

    if (now != when_written) {
        instant_write(now, when);
        when_written = now;
    }
    if (strlen(trace_id) != EVENT_TRACE_SIZE - 1) {
        event_new_trace(fresh);
        trace_id = fresh;
    }
    event_header(h, "ce_specversion", "1.0");
    snprintf(text, sizeof text, "%s/%s", program, subject);
    event_header(h, "ce_id", text);
    snprintf(text, sizeof text, "/shelfwire/%s", program);
    event_header(h, "ce_source", text);
    snprintf(text, sizeof text, "shelfwire.%s", type);
    event_header(h, "ce_type", text);
    event_header(h, "ce_time", when);
    event_header(h, "content-type", "application/json");
    snprintf(text, sizeof text, "00-%s-%016" PRIx64 "-01", trace_id, event_random());
    event_header(h, "traceparent", text);
    return h;
}

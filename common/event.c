#include "common/event.h"

#include "common/instant.h"
#include "common/log.h"
#include "common/scoped.h"

#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

enum { EVENT_SPAN_SIZE = 17 }; /* 16 hex digits */

/* From the kernel in pieces, each thread its own: a system call for each message would show. */
uint64_t event_random(void)
{
    static _Thread_local uint64_t pool[32];
    static _Thread_local size_t left;

    if (!left) {
        if (getentropy(pool, sizeof pool)) {
            log_last_words("the kernel gives no random numbers (getentropy)");
            _exit(111);
        }
        left = COUNT(pool);
    }
    return pool[--left];
}

static void write_hex(uint64_t bits, char ret[EVENT_SPAN_SIZE])
{
    for (int i = EVENT_SPAN_SIZE - 2; i >= 0; i--, bits >>= 4)
        ret[i] = "0123456789abcdef"[bits & 15];
    ret[EVENT_SPAN_SIZE - 1] = '\0';
}

void event_new_trace(char ret[EVENT_TRACE_SIZE])
{
    write_hex(event_random(), ret);
    write_hex(event_random(), ret + EVENT_SPAN_SIZE - 1);
}

bool event_read_trace(const char *header, size_t len, char ret[EVENT_TRACE_SIZE])
{
    enum { VERSION = 3, HEX = EVENT_TRACE_SIZE - 1, ALL = 55 };

    if (len != ALL || strspn(header + VERSION, "0123456789abcdef") < HEX)
        return false;
    memcpy(ret, header + VERSION, HEX);
    ret[HEX] = '\0';
    return true;
}

void event_header(rd_kafka_headers_t *h, const char *name, const char *value)
{
    rd_kafka_header_add(h, name, -1, value, -1);
}

/* The parts of a header behind one another; what does not fit is cut. */
static void header_of(rd_kafka_headers_t *h, const char *name, const char *const *parts, size_t count)
{
    char value[160];
    size_t len = 0;

    for (size_t i = 0; i < count; i++) {
        size_t part = strlen(parts[i]);
        if (part > sizeof value - len)
            part = sizeof value - len;
        memcpy(value + len, parts[i], part);
        len += part;
    }
    rd_kafka_header_add(h, name, -1, value, (ssize_t)len);
}
#define HEADER(h, name, ...) \
    header_of(h, name, (const char *const[]){__VA_ARGS__}, COUNT(((const char *const[]){__VA_ARGS__})))

/* These seven are for every message: printf would show. */
rd_kafka_headers_t *event_headers(const char *program, const char *subject, const char *type, const char *trace_id)
{
    static char when[INSTANT_SIZE];
    static time_t when_written;
    rd_kafka_headers_t *h = rd_kafka_headers_new(7);
    char fresh[EVENT_TRACE_SIZE], span[EVENT_SPAN_SIZE];
    time_t now = time(NULL);

    if (now != when_written) {
        instant_write(now, when);
        when_written = now;
    }
    if (strlen(trace_id) != EVENT_TRACE_SIZE - 1) {
        event_new_trace(fresh);
        trace_id = fresh;
    }
    write_hex(event_random(), span);
    event_header(h, "ce_specversion", "1.0");
    HEADER(h, "ce_id", program, "/", subject);
    HEADER(h, "ce_source", "/shelfwire/", program);
    HEADER(h, "ce_type", "shelfwire.", type);
    event_header(h, "ce_time", when);
    event_header(h, "content-type", "application/json");
    HEADER(h, "traceparent", "00-", trace_id, "-", span, "-01");
    return h;
}

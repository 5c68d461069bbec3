/*
 * event.h - what goes with a message: CloudEvents in Kafka's binary mode, and W3C Trace Context.
 *
 * A trace id is 32 hex digits; one booking keeps its own from the service to the gate. Random bits come from the kernel, in
 * pieces of a page. One thread.
 */
#ifndef SHELFWIRE_EVENT_H
#define SHELFWIRE_EVENT_H

#include <librdkafka/rdkafka.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { EVENT_TRACE_SIZE = 33 };

/*
 * The headers of a message that `program` writes about `subject` to the topic `type` (without prefix). trace_id: "" or
 * unreadable begins a new trace. They are the caller's, to be given to Kafka or destroyed.
 */
rd_kafka_headers_t *event_headers(const char *program, const char *subject, const char *type, const char *trace_id);

/* The trace id of a traceparent, 00-<32 hex>-<16 hex>-<2 hex>; false when it is none. The bytes end in a zero (librdkafka's do). */
bool event_read_trace(const char *header, size_t len, char ret[EVENT_TRACE_SIZE]);

/* A header of text. */
void event_header(rd_kafka_headers_t *h, const char *name, const char *value);

void event_new_trace(char ret[EVENT_TRACE_SIZE]);
uint64_t event_random(void);

#endif

/*
 * lines.h - requests from standard input: one JSON object a line, the same checks and the same way, one JSON line out for each,
 * in their order: {"line":1,"status":202,"request":{…}}, or {"line":2,"status":422,"errors":[…]}.
 *
 * It waits as long as it takes, and ends at the end of the input: run again with the same lines, those that were taken are
 * known (200), and none is done twice. It may run beside the service.
 * Bounds     a line has 64 KiB; LINES_MAX are under way at a time.
 */
#ifndef SHELFWIRE_PATRON_REQUESTS_LINES_H
#define SHELFWIRE_PATRON_REQUESTS_LINES_H

#include "common/producer.h"

enum { LINE_BYTES = 64 * 1024, LINES_MAX = 1000 };

/* RETRY: told to stop before the end. MISUSE: nobody's name. */
struct fault lines_run(struct producer *p, const char *caller, int *ret_refused);

#endif

/*
 * programs.h - asks the programs of MONITOR_PROGRAMS how they are: /metrics and /readyz of every address behind each host and port.
 *
 * A name that stands for several addresses (a scaled service) is as many programs. What does not answer within two seconds is not there.
 * Threads  one; it turns the loop it was given until all have answered.
 */
#ifndef SHELFWIRE_MONITOR_PROGRAMS_H
#define SHELFWIRE_MONITOR_PROGRAMS_H

#include "common/http.h"
#include "common/settings.h"
#include "ops/monitor/picture.h"

struct programs;

/* list: host:port, as MONITOR_PROGRAMS has it. MISUSE: one that is none. */
struct fault programs_open(struct programs **ret, struct loop *loop, const struct setting_list *list);
void programs_close(struct programs *p);

/* Fills in `instances`, `answers`, and of each stage how many workers there are and what they wait for. */
void programs_ask(struct programs *p, struct picture *picture);

/* What a program's /metrics say, taken into its place; and of the vendors' answers, into the table. Pure. */
void programs_read(const char *bytes, size_t len, struct instance *ret, struct picture *picture);

#endif

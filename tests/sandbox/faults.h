/*
 * faults.h - what a vendor is told to do wrong, to which calls, how often.
 *
 * The oldest fault that matches a call wins; `delay` adds its time and lets the next one decide. A fault with an
 * exact key costs other keys nothing, so thousands of them are fine.
 *
 * Ownership  faults keep a reference to the JSON they came from. A struct fault is valid until it is removed.
 */
#ifndef SANDBOX_FAULTS_H
#define SANDBOX_FAULTS_H

#include "exchange.h"

struct fault;

uint32_t faults_add(json_object *of, struct text *ret_why);     /* its id, or 0 and why not */
bool faults_remove(uint32_t id);                                /* 0: all of them */
void faults_print(struct text *out);

/* The fault that decides this call, or NULL; what the delays before it add up to. */
struct fault *faults_pick(const struct exchange *x, double *ret_delay_ms);
/* Makes the answer wrong, doing the effect first where the fault says so. May set wait, ending and held_by. */
void fault_apply(const struct fault *f, struct exchange *x);

#endif

/*
 * gate.h - PassagePoint as users-resolve and prereg-create share it: its settings, its log-in, its --check.
 */
#ifndef SHELFWIRE_GATE_H
#define SHELFWIRE_GATE_H

#include "common/stage.h"

extern const struct setting gate_settings[];
extern const struct vendor gate;

/* Logs in, prints a line, and hands the token to the caller, who asks on with it. */
struct fault gate_check_login(struct http *http, char *ret_token, size_t size);

#endif

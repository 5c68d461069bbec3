/*
 * gate.h - PassagePoint as users-resolve and prereg-create share it: its settings, its log-in, its --check.
 */
#ifndef SHELFWIRE_GATE_H
#define SHELFWIRE_GATE_H

#include "common/stage.h"

extern const struct setting gate_settings[];
extern const struct vendor gate;

/*
 * What both stages read and how they look it up. A job of theirs begins with a struct booking, which these are given.
 * The look-up is asked for the columns appt_id, primary_id.
 */
struct fault gate_decode(const char *value, size_t len, void *ret_booking);
const char *gate_key(const void *booking);
const char *gate_subject(const void *booking);
void gate_look_put(const void *booking, struct db_columns *c);

/* Logs in, prints a line, and hands the token to the caller, who asks on with it. */
struct fault gate_check_login(struct http *http, char *ret_token, size_t size);

#endif

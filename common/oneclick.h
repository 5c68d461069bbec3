/*
 * oneclick.h - OneClick digital as its programs share it: the settings, the vendor, its --check.
 */
#ifndef SHELFWIRE_ONECLICK_H
#define SHELFWIRE_ONECLICK_H

#include "common/stage.h"

extern const struct setting oneclick_settings[]; /* where it is, and who we are */
extern const struct setting oneclick_call_settings[]; /* of a worker's calls: how many, how long */
extern const struct vendor oneclick;

extern const char *oneclick_url, *oneclick_library, *oneclick_token;
extern int64_t oneclick_timeout_ms;

/* After the settings are read: is the library's id one? */
struct fault oneclick_settled(void);

/* Asks for a title that nobody has, and prints a line: address, library and token are right. */
struct fault oneclick_check(struct http *http);

#endif

/*
 * feeds.h - the three lists that are read: the whole catalog, what changed in it, what can be borrowed.
 *
 * Each reads, sends, waits until Kafka has acknowledged all, and only then notes how far it came. RETRY and MISUSE as in ask.h;
 * after either nothing is lost by reading again.
 */
#ifndef SHELFWIRE_ONECLICK_CATALOG_FEEDS_H
#define SHELFWIRE_ONECLICK_CATALOG_FEEDS_H

#include "producers/oneclick-catalog/ask.h"

enum delta_api { DELTA_AUTO, DELTA_MEDIA, DELTA_HOLDINGS };
extern int delta_api;

extern bool import_again, import_shrunk;

struct fault import_read(struct producer *p);

/* Whether what the last import sent has become rows. */
struct fault import_arrived(struct producer *p, bool *ret);

struct fault delta_read(struct producer *p);

/* For --check: which delta is answered. */
struct fault delta_check(struct producer *p, const char **ret_api);

/* What our rows say is read once and kept for the other media types, until availability_forget. */
struct fault availability_read(struct producer *p, const char *media_type);
void availability_forget(void);

/* ---- pure ---- */

/* One line of progress: "123,456 titles, 2,345 a second, 61 of 215 MB, 1:04 left". titles_before: of the last import; 0: unknown. */
void import_line(const struct list_progress *at, int64_t titles_before, char *ret, size_t size);

/* Whether so many of our titles may be gone: not more than a tenth of them, nor a hundred. */
bool import_believes(int64_t owned, int64_t gone);

#endif

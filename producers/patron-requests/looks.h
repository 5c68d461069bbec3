/*
 * looks.h - what became of a request: read for whom asks, at once or when its state changes.
 *
 * Many are read with one statement. Whoever waits is told as soon as the state is another than it was when they asked
 * (PostgreSQL notifies; after a lost connection everything is read again), at once where it is final, and at the latest when
 * their time is over. More than LOOKS_WAITING do not wait. LOOK_FAILED: PostgreSQL did not say, within ten seconds.
 */
#ifndef SHELFWIRE_PATRON_REQUESTS_LOOKS_H
#define SHELFWIRE_PATRON_REQUESTS_LOOKS_H

#include "producers/patron-requests/questions.h"

enum look_result { LOOK_FOUND, LOOK_NOT_FOUND, LOOK_FAILED };
enum { LOOKS_WAITING = 1000 };

struct look;
typedef void look_told(void *of, enum look_result result, const char *row); /* row: JSON (rows.h), lent */

extern struct question looks_question;
void looks_open(struct loop *loop);
void looks_up(void);                /* the connection is (again) there */
void looks_heard(const char *id);   /* its state has changed */
void looks_end(void);               /* nobody waits any longer */

/*
 * A caller's request by its id or, where that is NULL, by the caller's own ref. Told once, later; NULL: memory is out.
 * A look that is left is not told.
 */
struct look *look_make(const char *caller, const char *id, const char *ref, int wait_s, look_told *told, void *of);
void look_leave(struct look *look);

#endif

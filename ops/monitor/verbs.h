/*
 * verbs.h - what a person can do, on the page (POST /do/VERB) and on the command line (`monitor VERB …`): one table for both.
 *
 * Each is one statement of SQL, most of them a documented verb of schemas/sql, and is recorded in monitor_log with who did it.
 */
#ifndef SHELFWIRE_MONITOR_VERBS_H
#define SHELFWIRE_MONITOR_VERBS_H

#include "common/fault.h"

#include <libpq-fe.h>
#include <stdbool.h>

enum { VERB_FIELDS = 4 };

struct verb {
    const char *name;
    const char *fields[VERB_FIELDS]; /* in the order of $1, $2, …; after them comes who. "?" in front: may be empty */
    const char *sql;   /* returns one row, one column: true or a number above 0 when something was done */
    const char *label; /* of the button */
    const char *done, *nothing; /* what is said when it was done, and when there was nothing to do */
    const char *help;  /* a line for the command line */
    bool noted;        /* its statement records it itself */
};

extern const struct verb verbs[];
extern const int verb_count;

const struct verb *verb_of(const char *name);

/*
 * Does it: values are those of its fields, in order. dry_run: and undoes it. ret_said: what to tell the person. REJECT: a field is
 * missing or wrong.
 */
struct fault verb_do(PGconn *conn, const struct verb *v, const char *const values[VERB_FIELDS], const char *who, bool dry_run, char ret_said[200]);

/* Records who did or looked up what. */
struct fault verb_note(PGconn *conn, const char *who, const char *what, const char *about, const char *note);

#endif

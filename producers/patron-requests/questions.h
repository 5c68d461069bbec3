/*
 * questions.h - PostgreSQL asked beside the intake, over one connection: who may call, what became of a request, which
 * callbacks are due. What is wanted gathers while the last transaction is under way, and goes with the next.
 *
 * The connection listens to what changes in `requests`.
 */
#ifndef SHELFWIRE_PATRON_REQUESTS_QUESTIONS_H
#define SHELFWIRE_PATRON_REQUESTS_QUESTIONS_H

#include "common/db.h"

enum { QUESTION_VALUES_MAX = 8 };

/* Static, and filled before questions_open. */
struct question {
    const char *sql;
    int params;
    bool (*put)(const char *values[QUESTION_VALUES_MAX]); /* lent until the loop turns; false: nothing to ask after all */
    void (*answered)(const PGresult *res);                /* NULL: it failed; it may be wanted again at once */

    bool wanted, asked;
    int statement;
};

/* up: the connection is (again) there. heard: a request's id, whose state has changed. */
struct fault questions_open(struct loop *loop, struct question *const *questions, void (*up)(void),
                            void (*heard)(const char *id));
void questions_close(void);
bool questions_up(void);

void question_ask(struct question *q);

#endif

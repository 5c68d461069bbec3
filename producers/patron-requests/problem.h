/*
 * problem.h - what is wrong with a request, as RFC 9457 has it: {"title","status","detail","errors":[{"pointer","detail"}]}.
 */
#ifndef SHELFWIRE_PATRON_REQUESTS_PROBLEM_H
#define SHELFWIRE_PATRON_REQUESTS_PROBLEM_H

#include "producers/patron-requests/forms.h"

extern const char problem_type[]; /* application/problem+json */

const char *problem_title(int status);

/* errors may be NULL. Its count beyond what is written is said. */
void problem_write(struct text *to, int status, const char *detail, const struct mistakes *errors);

#endif

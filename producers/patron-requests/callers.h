/*
 * callers.h - who may send requests: the table `callers`, read again every other second, and the tokens that prove it.
 *
 * A token is "sw_" and 64 hex digits of random; the table has its SHA-256 alone. It is compared with each caller's in a time
 * that does not depend on either. Wrong tokens are limited by address (IPv6: by its /64): ten a minute, then they are told to
 * wait; right ones are always taken, so that nobody is locked out by others at the same address.
 */
#ifndef SHELFWIRE_PATRON_REQUESTS_CALLERS_H
#define SHELFWIRE_PATRON_REQUESTS_CALLERS_H

#include "common/loop.h"
#include "producers/patron-requests/questions.h"

#include <sys/socket.h>

enum { CALLER_SIZE = 64, CALLER_SERVICES = 3, CALLER_SECRET_SIZE = 129 };

struct caller {
    char name[CALLER_SIZE];
    unsigned char token_sha256[32];
    bool may[CALLER_SERVICES]; /* in the order of forms_services */
    char secret[CALLER_SECRET_SIZE]; /* of its callbacks; "": it gets none */
};

extern struct question callers_question;
void callers_open(struct loop *loop); /* from now on it is asked */
bool callers_known(void);             /* it was answered once */

/* Both are lent until the loop turns. NULL: nobody's. */
const struct caller *caller_by_token(const char *token);
const struct caller *caller_by_name(const char *name);
int callers_count(void);
const struct caller *caller_at(int place);

/* Seconds until another wrong token from there is judged; 0: this one is. It counts. */
int callers_wrong_token(const struct sockaddr *from, int64_t now_us);

/* Fills a caller from the columns caller, services, secret, and, where there is a fourth, the token's hash in hex. */
void caller_read(const PGresult *res, int row, struct caller *ret);

/* The commands --add-caller, --revoke-caller, --callers; see patron-requests --help. Returns the exit code. */
struct program;
bool callers_command(int argc, char **argv);
int callers_main(const struct program *program, int argc, char **argv);

#endif

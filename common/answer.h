/*
 * answer.h - what an ended exchange means for the work it was made for. Decided once per vendor and call, purely.
 *
 * `code` is a word that rows, metrics and tests know the answer by (static storage: "no_card", "not_found");
 * `reason` is for a person: it quotes no URL, no secret and no person's data.
 */
#ifndef SHELFWIRE_ANSWER_H
#define SHELFWIRE_ANSWER_H

#include "common/http.h"

#include <stdint.h>

enum verdict {
    DONE,     /* it is true now */
    AGAIN,    /* another request for the same work, at once: the job's step says which */
    STEP,     /* a step is done, and what changes something is known not to be: recorded, then looked up again */
    LATER,    /* not done; the vendor is unwell or asks to slow down: `cause` says which */
    REJECTED, /* an answer for the desk: recorded, no failure */
    DEAD,     /* nobody here understands this: set aside */
    UNKNOWN,  /* nobody knows whether the vendor did it */
};

enum cause {
    CAUSE_WORK,        /* nothing about the vendor as a whole */
    CAUSE_VENDOR,      /* unwell: down, slow, 5xx */
    CAUSE_RATE,        /* too many calls just now: pauses every worker of this account */
    CAUSE_DAY,         /* the day's quota is used up: pauses every worker of this account for long */
    CAUSE_TOKEN,       /* the token was refused: log in again */
    CAUSE_CREDENTIALS, /* key, user or password refused: nothing will work until a person mends it */
};

struct answer {
    enum verdict verdict;
    enum cause cause;
    const char *code;  /* static */
    int64_t wait_ms;   /* how long the vendor asked to wait; -1: it did not say */
    char reason[200];
};

struct answer answer_make(enum verdict verdict, enum cause cause, const char *code, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/*
 * The verdict on an exchange that brought no usable answer, the same for every vendor:
 * not sent → LATER (vendor); unknown → UNKNOWN (the caller turns it into LATER where the call changes nothing).
 */
struct answer answer_unanswered(const struct http_response *res);

/* Copies a vendor's words into a reason: one line, printable, at most `max` characters, no more than fits. */
void answer_quote(char *ret, size_t size, const char *words, size_t len);

const char *verdict_name(enum verdict v); /* "done", "later", … */

#endif

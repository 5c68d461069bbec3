/*
 * ask.h - questions to LibCal: the token, kept in memory; the second try; the pauses it asks for.
 */
#ifndef SHELFWIRE_LIBCAL_BOOKINGS_ASK_H
#define SHELFWIRE_LIBCAL_BOOKINGS_ASK_H

#include "common/producer.h"
#include "common/vendors/libcal.h"

/* How to reach it. */
struct reach {
    const char *url, *client_id, *client_secret;
    int64_t timeout_ms;
};
extern struct reach reach;

enum asked { ASK_TOKEN, ASK_LIST, ASK_BY_ID, ASK_LOCATIONS, ASK_FORM, ASK_QUESTION };

struct question {
    enum asked what;
    int64_t id; /* location or form */
    int page, days_ahead;
    const char *const *ids;
    size_t count;
    const char *id_question;
    void *ret; /* what the call's answer function fills (libcal.h) */
    struct answer answer;
    bool unanswered; /* no connection, or no whole answer */
};

/*
 * Waits for the answer. A refused token is asked for again, twice a question; a sick vendor is asked once more. RETRY: no
 * answer, in words. MISUSE: id, secret or scope are refused, which a person must mend.
 */
struct fault ask(struct producer *p, struct question *q);

/* A token, for --check; others need not ask for one. */
struct fault log_in(struct producer *p);

#endif

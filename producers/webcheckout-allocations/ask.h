/*
 * ask.h - questions to WebCheckout: the session, kept in memory; the checkout centre it acts for; the second try.
 */
#ifndef SHELFWIRE_WEBCHECKOUT_ALLOCATIONS_ASK_H
#define SHELFWIRE_WEBCHECKOUT_ALLOCATIONS_ASK_H

#include "common/producer.h"
#include "common/vendors/webcheckout.h"

/* How to reach it. */
struct reach {
    const char *url, *username, *password;
    int api; /* enum webcheckout_api */
    int64_t timeout_ms;
};
extern struct reach reach;

enum asked { ASK_LOGIN, ASK_SCOPE, ASK_INFO, ASK_SEARCH, ASK_ALLOCATION, ASK_PERSON };

struct question {
    enum asked what;
    int64_t center; /* to act for while it is asked; 0: any */
    int64_t oid;    /* of an allocation or person */
    const struct webcheckout_query *query;
    void *ret; /* what the call's answer function fills (webcheckout.h) */
    struct answer answer;
    bool unanswered; /* no connection, or no whole answer */
};

/*
 * Waits for the answer. A session that has ended is begun anew, twice a question; a sick vendor is asked once more. RETRY: no
 * answer, in words. MISUSE: user id or password are refused, which a person must mend.
 */
struct fault ask(struct producer *p, struct question *q);

/* After ask: WebCheckout has answered, and will not say. It is all that is known of an oid nobody has. */
bool would_not_say(const struct question *q);

/* A session, for --check; others need not begin one. It is lent. */
struct fault log_in(struct producer *p, const struct webcheckout_session **ret);

#endif

/*
 * callbacks.h - answers posted to where their caller wants them: the row as GET tells it, when its request is finished.
 *
 *   POST  Content-Type: application/json, and Shelfwire-Signature: t=SECONDS,v1=HEX: HMAC-SHA256 under the caller's secret of
 *         SECONDS, a dot and the body. Any 2xx takes it. It may come twice: request_id and state tell.
 *   again after 10 s, 20 s, 40 s …, an hour at most, for a day since the answer; then it is given up, and on the desk
 *         (callback_failed).
 * A try is claimed in the row before it is made, so that a crash in between repeats it two minutes later.
 * Only URLs that begin with one of CALLBACK_URL_PREFIXES are posted to: https, or http to the loopback. Redirects are not
 * followed. So many are under way at a time: 32, of one caller 8.
 */
#ifndef SHELFWIRE_PATRON_REQUESTS_CALLBACKS_H
#define SHELFWIRE_PATRON_REQUESTS_CALLBACKS_H

#include "common/producer.h"
#include "producers/patron-requests/questions.h"

extern const struct setting callback_settings[];
extern struct question callbacks_due, callbacks_done;

struct fault callbacks_settled(void);
struct fault callbacks_open(struct producer *p);
void callbacks_close(void);
void callbacks_heard(void); /* a state has changed: one may be due */

/* Why a URL may not be posted to, in words; NULL when it may. */
const char *callback_refused(const char *url);

#endif

/*
 * alerts.h - what a person must know now: found each minute, told once when it begins and once when it ends, by mail and by a post
 * to a URL; and the digest of the morning. For those who have no Prometheus: its rules (ops/prometheus) have the same names.
 *
 * An alert is told when it has lasted as long as its kind must (ALERTS), so what mends itself is not told at all. What is told
 * names stages, vendors and numbers, never a person; the page has the rest.
 * A mail or post that fails is tried again each minute; meanwhile the other way goes on by itself.
 */
#ifndef SHELFWIRE_MONITOR_ALERTS_H
#define SHELFWIRE_MONITOR_ALERTS_H

#include "common/fault.h"
#include "common/loop.h"
#include "common/settings.h"
#include "common/text.h"
#include "ops/monitor/picture.h"

#include <libpq-fe.h>

extern const struct setting alerts_settings[];

/* What the settings of this file must agree on. */
struct fault alerts_settled(void);

enum { ALERTS_MAX = 64 };

struct alert {
    const char *name; /* static */
    char subject[80];
    char summary[240];
};

/* The alerts there are now; pure. Returns how many. */
int alerts_find(const struct picture *p, const struct facts *facts, struct alert ret[ALERTS_MAX]);

/* What to do about one, in a sentence; "" for a name that is none. */
const char *alert_advice(const char *name);

/* What PostgreSQL knows of it; after a fault it is what it was. */
struct fault alerts_facts(PGconn *conn, struct facts *ret);

/* Compares what there is with what there was. */
struct fault alerts_judge(PGconn *conn, const struct picture *p);

/* Tells what is not told yet, and the digest when its time has come; each mail is waited for half a minute at most, each post half of that. */
struct fault alerts_tell(PGconn *conn, struct loop *loop);

/*
 * PostgreSQL's own absence (trouble: what is wrong, "" when nothing is), to be called each second: there is nowhere to write that
 * it was told, so a monitor that is started meanwhile tells it again.
 */
void alerts_of_database(struct loop *loop, const char *trouble);

/* The mail, with its head, as it is sent; pure. */
void alert_mail(struct text *to, const char *from, const struct setting_list *recipients, const char *subject, const char *body, int64_t now);

#endif

/*
 * intake.h - from a checked request to a promise: its row committed in PostgreSQL, its message acknowledged by every in-sync
 * replica, and only then told as accepted.
 *
 *   gather   while a transaction is under way, what comes waits; then it goes as one batch, one INSERT. The first goes at once.
 *   commit   (caller, ref) decides: what is there already is told as known, with its row, or as another where its content
 *            differs. A lost connection: whether the batch was committed nobody knows, so it is sent again under the same ids.
 *   send     in the order of the rows, so that two requests of one patron stay in order.
 *   mark     that it was sent, in batches behind, together with the next rows. Until then the request is in hand, and whoever
 *            sends it a second time waits for the first.
 *
 * What is in hand is bounded (INTAKE_ROOM), and nothing is taken while the lock is not ours, PostgreSQL or Kafka is silent, or
 * a predecessor's rows are not sent: intake_trouble says so. A row that nobody waits for any more, not committed yet, is
 * dropped; one that was committed and could not be sent is the engine's (producer.h), half a minute later or at the next start.
 */
#ifndef SHELFWIRE_PATRON_REQUESTS_INTAKE_H
#define SHELFWIRE_PATRON_REQUESTS_INTAKE_H

#include "common/producer.h"
#include "common/request.h"
#include "producers/patron-requests/forms.h"

#include <sys/queue.h>
#include <uthash.h>

enum intake_end {
    INTAKE_UNDER_WAY,
    INTAKE_ACCEPTED, /* it is new */
    INTAKE_KNOWN,    /* it was here before: `row` is its row (rows.h) */
    INTAKE_OTHER,    /* another request was here before under this ref */
    INTAKE_FAILED,   /* PostgreSQL refuses its row: a mistake of ours */
};

struct intake_item;
typedef void intake_told(struct intake_item *item);

struct intake_item {
    char id[37];
    const char *service, *action; /* the tables' own */
    char *caller, *ref, *patron, *asked, *callback; /* callback may be NULL */
    enum intake_end end;
    char *row;         /* JSON, of INTAKE_KNOWN */
    intake_told *told; /* once; NULL: nobody waits */
    void *of;

    /* the intake's own */
    struct producer_message message;
    TAILQ_ENTRY(intake_item) at;
    UT_hash_handle by_id;
    struct intake_item *followers; /* known ones that wait for it */
    bool in_hand, acknowledged;
    bool gone, held;               /* gone: nothing of it is left to do; held: by whom waits, or waited */
    int topic;
    int64_t since_us;              /* when it was taken in hand */
    char trace_id[33];
};

enum { INTAKE_ROOM = 4000 };

/* patient: those who wait do so however long it takes, and the lock is not asked for (--stdin). */
struct fault intake_open(struct producer *p, bool patient);
/* Waits at most ms for what is in hand, the loop turning. */
void intake_drain(int ms);

/* NULL: memory is out. It is held until intake_leave, which may come before it was told, and then it is not. */
struct intake_item *intake_put(const struct wish *wish, const char *caller, const char *asked, intake_told *told, void *of);
void intake_leave(struct intake_item *item);

int intake_in_hand(void);

/* Why nothing can be taken now, appended; nothing when it can. */
void intake_trouble(struct text *why);

/* For the engine's rounds (producer.h). */
bool intake_busy(bool caught_up);

#endif

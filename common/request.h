/*
 * request.h - what a patron asks of FOLIO, Wise or OneClick, as its stages share it: the message, the row, the outcome.
 *
 * Message   {"request_id":"…","service":"folio","action":"renew","patron":"…"} (schemas/patron-request.schema.json), key: patron.
 *           It only triggers; what is asked and what is known of it stands in `requests`.
 * Row       read by request_look_sql when it is looked up: `asked` (the request's own members), `known` (what earlier steps
 *           learned), and when it was accepted.
 * Outcome   written by request_record_sql. The verdict says the state: DONE → done, REJECTED → refused, DEAD → set_aside,
 *           LATER and UNKNOWN → waiting, STEP → as it is; `state` in struct request says another.
 *           The code "maybe_twice" (it is done, and perhaps twice) also goes to the desk, with the reason.
 * A stage's job begins with a struct request, which these functions are given; request_release gives its memory back.
 *
 * A call that changes something and cannot be judged by asking alone (a renewal: is the due date a later one?) is made in two
 * steps: the first reads, and answers STEP with what it learned in `learned`; only when that is committed comes the second.
 */
#ifndef SHELFWIRE_REQUEST_H
#define SHELFWIRE_REQUEST_H

#include "common/stage.h"

#include <json-c/json.h>

enum { REQUEST_PATRON_SIZE = 129, REQUEST_WORDS_SIZE = 201 };

struct request {
    char request_id[37], service[16], action[33], patron[REQUEST_PATRON_SIZE];

    /* of the row, since it was looked up */
    json_object *asked, *known; /* objects; known is empty at first */
    int64_t accepted, now;      /* instants, by PostgreSQL's clock */

    /* for the row */
    const char *state;               /* NULL: as the verdict says; static */
    struct text learned, outcome;    /* JSON objects; empty: nothing new. learned is merged into `known` */
    char words[REQUEST_WORDS_SIZE];  /* the service's own, fit for the patron; "" none */
    int64_t retry_s;                 /* > 0: the message is sent again so much later */
};

/* The message. REJECT says what is wrong with it; another service than the one given is. */
struct fault request_read(const char *value, size_t len, const char *service, struct request *ret);
void request_write(struct text *to, const struct request *request);

const char *request_key(const void *request);     /* patron */
const char *request_subject(const void *request); /* request_id */
void request_release(void *request);

/* ---- the row ---- */

extern const char request_look_names[]; /* one column */
extern const char request_look_sql[];
void request_look_put(const void *request, struct db_columns *c);

/*
 * Reads the row into the request, and forgets what an earlier try had for the row. LOOK_DROP when nothing is wanted (any more);
 * `ret` says why. Otherwise LOOK_CALL, and the stage decides what comes first.
 */
enum look_end request_looked(struct request *request, const struct look_row *row, struct answer *ret);

/*
 * For a call that may have been made in a time that PostgreSQL has forgotten (PRIOR_FORGOTTEN), with what was learned before it, so
 * that nobody can find out: set aside for a person.
 */
struct answer request_forgotten(void);

/* ---- the outcome ---- */

enum { REQUEST_RECORD_COLUMNS = 8 };
extern const char request_record_sql[];
void request_record_put(const void *request, const struct answer *a, struct db_columns *c);

#endif

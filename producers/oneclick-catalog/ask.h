/*
 * ask.h - questions to OneClick, and the messages that become of its answers.
 *
 * A list may hold a gigabyte: it is taken element by element while it arrives, and no faster than Kafka takes the messages.
 */
#ifndef SHELFWIRE_ONECLICK_CATALOG_ASK_H
#define SHELFWIRE_ONECLICK_CATALOG_ASK_H

#include "common/catalog.h"
#include "common/json_stream.h"
#include "common/producer.h"
#include "common/vendors/oneclick.h"

extern const struct setting ask_settings[];

enum { ASK_NOW_SIZE = CATALOG_INSTANT_SIZE };

struct list_progress {
    int64_t elements, bytes, whole_len; /* -1: OneClick did not say */
    int64_t seconds_us;                 /* since it was asked */
};

struct list {
    const char *call;  /* for metrics and words: "media/all" */
    const char *shape; /* json_stream.h */
    bool (*is_it)(const struct json_stream *s); /* whether what came whole is the list that was asked for */
    void (*request)(struct http_request *req, const void *question);
    const void *question;
    json_element *use; /* a fault of it ends the list, and is what list_read returns */
    void *of;
    void (*progress)(const struct list_progress *at); /* now and then; NULL: nobody looks */
};

/*
 * Reads a list to its end. RETRY: OneClick did not give it, in words. MISUSE: it refuses the token (or says that it does). Its
 * code, as oneclick.h has it ("listed", "not_there", …), is in *ret_code.
 */
struct fault list_read(struct producer *p, const struct list *list, const char **ret_code);

/* For is_it: a list that is the whole answer. */
bool is_plain_list(const struct json_stream *s);

/* The snapshots of the holdings. */
struct fault ask_dates(struct producer *p, struct oneclick_dates *ret, const char **ret_code);

/* This moment by PostgreSQL's clock, which is the one that facts are ordered by. */
struct fault ask_now(struct producer *p, char ret[ASK_NOW_SIZE]);

/*
 * Calls `use` for each row of a query, as they come: only some are in memory at a time, and the table is read once. `use` must
 * not ask PostgreSQL, nor wait.
 */
typedef struct fault row_use(void *of, const PGresult *res, int row);
struct fault each_row(struct producer *p, const char *query, const char *const *values, int count, row_use *use, void *of);

/* Sends one change. A record that is too long for a message becomes a question: the worker asks for the title. */
struct fault send_change(struct producer *p, const struct catalog_change *change, const char *record, size_t len);

/*
 * Elements without a valid ISBN: the first hundred of a list are kept, and told the desk by bad_isbns_say. whole: the list was
 * the whole catalog, so what it does not hold is mended.
 */
void bad_isbn(json_object *element, const char *why);
struct fault bad_isbns_say(struct producer *p, bool whole);

#endif

/*
 * forms.h - what can be asked: for each service and action its members, as tables, and the check of a request against them.
 *
 * A request is {"ref","service","action","patron", the action's own members, "callback"?}; schemas/request.schema.json says the
 * same, and a test compares the two. What a schema cannot say and is refused here besides: an ISBN with a wrong check digit, a
 * day or an instant that the calendar does not have or that is past (a day: wherever on earth), a member given twice.
 *
 * Every mistake is found, each as {"pointer","detail"} (RFC 6901, RFC 9457). A detail describes a value and never quotes it; a
 * pointer may name a member as the caller wrote it.
 * Pure. Texts are UTF-8.
 */
#ifndef SHELFWIRE_PATRON_REQUESTS_FORMS_H
#define SHELFWIRE_PATRON_REQUESTS_FORMS_H

#include "common/fault.h"
#include "common/text.h"

#include <json-c/json.h>
#include <stdint.h>

enum { FORMS_ITEMS_MAX = 100, FORMS_MISTAKES_MAX = 1000 };

struct mistakes {
    struct text json; /* those found so far, with commas between */
    int count;        /* of them; more than FORMS_MISTAKES_MAX are counted and not written */
};

void mistake(struct mistakes *to, const char *pointer, const char *format, ...) __attribute__((format(printf, 3, 4)));

struct wish {
    const char *service, *action;          /* the tables' own */
    int topic;                             /* a place in forms_topics */
    const char *ref, *patron, *callback;   /* lent by the request; callback may be NULL */
};

extern const char *const forms_topics[];   /* one a service, without prefix; NULL-terminated */
extern const char *const forms_services[]; /* in the same order */

/*
 * Checks one request. at: where it stands in what came, "" or "/3". now: an instant. The wish is filled where its members are
 * right; it is meant when the count of mistakes stayed as it was.
 */
void form_check(json_object *request, const char *at, int64_t now, struct mistakes *to, struct wish *ret);

/* The request without what stands in columns of its own, as a JSON object. */
void form_asked(json_object *request, struct text *to);

/* Whether bytes that claim to be JSON hold no more values than any request may have. It costs less than to read them. */
struct fault forms_room(const char *bytes, size_t len);

/*
 * What json-c does not tell, of the bytes that became `value`, by item of an array (of anything else the first): a member given
 * twice, of which it keeps the last; a zero character, at which it ends a name.
 */
struct oddities {
    bool twice[FORMS_ITEMS_MAX], zero[FORMS_ITEMS_MAX];
};
void forms_oddities(const char *bytes, json_object *value, struct oddities *ret);

#endif

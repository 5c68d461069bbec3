/*
 * api.h - what the HTTP interface does: POST /requests, GET /requests/{id}, GET /requests?ref=…; schemas/openapi.yaml says
 * what its answers are.
 */
#ifndef SHELFWIRE_PATRON_REQUESTS_API_H
#define SHELFWIRE_PATRON_REQUESTS_API_H

#include "common/producer.h"
#include "producers/patron-requests/callers.h"
#include "producers/patron-requests/forms.h"
#include "producers/patron-requests/server.h"

enum { API_ACCEPT_S = 10, API_WAIT_S = 30 };

extern const struct server_calls api_calls;
void api_open(struct producer *p);

/* What keeps it from taking requests, appended; nothing when nothing does. */
void api_trouble(struct text *why);

/*
 * What came, as the requests in it: one, or the items of an array. Their count; -1: something else, or too many, or none, which
 * is said. Each item is checked against the forms and against what the caller may.
 */
int api_items(json_object *in, struct mistakes *to);
void api_check(json_object *in, const char *bytes, const struct caller *caller, int64_t now, struct mistakes *to,
               struct wish wishes[FORMS_ITEMS_MAX]);

#endif

/*
 * oneclick_answer.h - what OneClick's calls share, the catalog's (oneclick.h) and the patrons' (oneclick_patron.h): how a
 * request begins, and what an answer says beside, or instead of, what was asked for. For these two adapters alone.
 *
 * Pure. A message's words are borrowed from the answer or from its JSON.
 */
#ifndef SHELFWIRE_VENDORS_ONECLICK_ANSWER_H
#define SHELFWIRE_VENDORS_ONECLICK_ANSWER_H

#include "common/answer.h"

#include <json-c/json.h>

/* root: "/v1/libraries/" or "/v1/rpc/libraries/", in front of the library; token: the partner's, sent as it is. */
void oneclick_begin(struct http_request *req, const char *method, const char *root, const char *library, const char *token);

/* What OneClick says instead of what was asked for: {"message":"…"}, or a bare string. */
struct oneclick_message {
    bool told;         /* a message of JSON; false where the words are a body that is none */
    const char *words; /* "" when it is nothing readable */
    size_t len;
};

struct oneclick_message oneclick_message_of(const struct http_response *res, json_object *body);
bool oneclick_begins(const struct oneclick_message *m, const char *phrase); /* in any case */
bool oneclick_is_success(const struct oneclick_message *m);                 /* "success", which is no news */

/* The token is wrong, or the calls are too many: the answer is the same. Any status, 401 and 403. */
bool oneclick_refuses_token(const struct http_response *res);

/* A title nobody has is told with any of these (OneClick facts, 1.2 and 1.3). */
bool oneclick_knows_no_title(const struct http_response *res, const struct oneclick_message *m);

/* Not a server that failed: it dislikes what it was asked. */
bool oneclick_says_sql(const struct http_response *res, const struct oneclick_message *m); /* 500, "… SqlException" */

/* LATER, with the vendor's words, masked, and the wait it asked for. */
struct answer oneclick_quoted(enum cause cause, const char *code, const char *what, const struct http_response *res,
                              const struct oneclick_message *m);
struct answer oneclick_garbled(const struct http_response *res, const char *why);

/*
 * What decides whatever was asked for (the table of oneclick.h); of_title: a title may be unknown. False: a 2xx without a
 * message other than "success".
 */
bool oneclick_decided(const struct http_response *res, const struct oneclick_message *m, bool of_title, struct answer *ret);

#endif

/*
 * web.h - monitor's HTTP server (libmicrohttpd, on the loop, no thread): who may come in, and what a page is given.
 *
 * Access   On the loopback everybody on this machine may look and act; the Host must then be a loopback's name, so that no page of
 *          elsewhere can be made to speak to it. On any other address MONITOR_PASSWORD is demanded (HTTP Basic; the user's name is
 *          what is recorded), or the header MONITOR_USER_HEADER of a proxy at MONITOR_PROXY. Passwords are compared in constant
 *          time; after five wrong ones an address waits, longer each time.
 * Changes  are POSTs with a token that only a page of this process knows, and none that a browser says comes from another site.
 * Bounds   a body has at most 256 KiB, a form 1,100 fields, an answer TEXT_MAX.
 * Nothing from outside is ever loaded: the Content-Security-Policy forbids it.
 */
#ifndef SHELFWIRE_MONITOR_WEB_H
#define SHELFWIRE_MONITOR_WEB_H

#include "common/loop.h"
#include "common/settings.h"
#include "common/text.h"

#include <libpq-fe.h>

extern const struct setting web_settings[];

enum { WEB_FIELDS_MAX = 1100 };

struct web_request {
    const char *method, *path; /* without ".json" */
    bool json;                 /* the path ended in ".json" */
    char who[64];              /* who asks: the name of the log-in, of the form, or of the cookie; "" when nobody said */
    bool who_known;            /* by a log-in: a form need not ask */
    struct {
        const char *name, *value;
    } fields[WEB_FIELDS_MAX]; /* of the query or the form; UTF-8 */
    int field_count;
    PGconn *conn; /* NULL: PostgreSQL is not there, and `database_trouble` says why */
    const char *database_trouble;

    /* the answer */
    int status;
    const char *type; /* static */
    bool lasting;     /* a browser may keep it an hour */
    char location[400]; /* with 303 */
    struct text *out;
};

/* The first value of a field, or "". */
const char *web_field(const struct web_request *r, const char *name);

/* What a form must send back (hidden, "token"). */
const char *web_token(void);

/* Answers: the routes of pages.h. */
typedef void web_page(struct web_request *r);

/* MISUSE: an address that would be open to others without a password. */
struct fault web_settled(void);
struct fault web_open(struct loop *loop, web_page *page);
void web_close(void);

#endif

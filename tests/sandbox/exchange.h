/*
 * exchange.h - one request and its answer, and what a vendor is made of.
 *
 * A vendor is one file with one `struct vendor`, and one row in the table in sandbox.c. Its calls are rows: method,
 * path, name, the keys a fault can name, and the function that fills in the answer. Routing, latency, faults,
 * counting and the log of calls are done here, once for all.
 *
 * Order      start (route, count, pick a fault, do the effect) - wait - resume (only after a stall) - done.
 * Ownership  a request borrows from the connection's buffer until done. An answer's texts are reused; what makes its
 *            pieces is released when it is done, or when another answer takes its place.
 * Threads    one.
 */
#ifndef SANDBOX_EXCHANGE_H
#define SANDBOX_EXCHANGE_H

#include "text.h"

#include <http_parser.h>
#include <json-c/json.h>

#define WAIT_FOREVER INT64_MAX
#define CALLS_MAX 32
#define ARGS_MAX 4
#define KEYS_MAX 96

struct request {
    enum http_method method;
    struct slice target, path, query, body;
    struct slice authorization, token, accept, content_type, wise_key;
    struct slice okapi_tenant, okapi_token, cookie;
    struct slice args[ARGS_MAX];     /* what stood for each {} in the call's path, percent-encoded as it came */
    struct slice arg;                /* the last of them */
};

/* A body that is made while it is sent, because it is too long to be in memory as a whole. */
enum piece { PIECE_MORE, PIECE_LAST, PIECE_BROKEN };
struct pieces {
    enum piece (*next)(void *state, struct text *out);      /* appends some 64 kB; NULL: there are no pieces */
    size_t (*length)(void *state);   /* of all pieces together; it may take its time */
    void (*release)(void *state);
    void *state;
    bool announced;                  /* by a Content-Length; otherwise chunked */
};

struct answer {
    int status;
    const char *reason;              /* NULL: the usual one */
    const char *content_type;
    struct text headers, body;       /* headers are whole lines */
    struct pieces pieces;
    char own_reason[64], own_type[96];       /* for what a fault says, which may go before the answer does */
};

enum ending { END_ANSWER, END_TRUNCATE, END_CLOSE, END_RESET };
enum outcome { OUTCOME_ANSWERED, OUTCOME_DROPPED, OUTCOME_LEFT };

struct exchange {
    struct request req;
    struct answer answer;
    const struct vendor *vendor;     /* NULL for the admin side */
    const struct call *call;
    struct slice keys[KEYS_MAX];     /* the first one is the subject, as the log of calls shows it */
    size_t key_count;
    char key_bytes[1536];
    size_t key_len;
    uint32_t credential;             /* a hash of the token or key that came along */
    const char *shape;               /* a shape fault the vendor's function should follow */
    struct slice shape_value;
    int shape_status;                /* 0: the shape's usual one */
    bool served, genuine;            /* the effect is done; the answer is the vendor's own */
    bool late;                       /* do the effect even if the client has left */
    int64_t effect;                  /* 1 + position of what was made; 0 for none */
    uint32_t era;                    /* of the effects; a reset begins another */
    uint32_t held_by;                /* id of the fault that stalls it */
    int64_t started_ns, wait_ns;
    enum ending ending;
    uint32_t connection;
};

struct call {
    enum http_method method;
    const char *path;                /* behind the vendor's prefix; {} stands for one segment, {a|b} for a or b, in any case */
    const char *name;
    void (*keys)(struct exchange *x);
    void (*serve)(struct exchange *x);
};

struct call_counts {
    uint64_t requests, effects, dropped, left, by_status[600];
    uint64_t in_flight, max_in_flight;
};

struct vendor_state {
    double latency_ms, jitter_ms;
    bool down, down_by_reset;
    uint64_t in_flight, max_in_flight;
    struct call_counts counts[CALLS_MAX];
};

enum reset { RESET_DATA = 1, RESET_EFFECTS = 2, RESET_COUNTS = 4, RESET_TOKENS = 8, RESET_SETTINGS = 16,
             RESET_FAULTS = 32, RESET_ALL = 63 };

enum error_form { ERROR_USUAL, ERROR_OBJECT, ERROR_LIST, ERROR_XML };

struct vendor {
    const char *name;
    const char *prefixes[3];
    const struct call *calls;        /* the last row has no path and stands for every other request */
    const struct call *admin;        /* under /admin/<name>; ends the same way */
    const struct setting *settings;  /* ends with a row without a name */
    const char *const *shapes;       /* fault kinds only this vendor knows; ends with NULL */
    struct vendor_state *state;
    bool (*route)(struct exchange *x);       /* sets the call, where the prefix and the path alone do not; may be NULL */
    void (*reset)(unsigned what);
    void (*error)(struct exchange *x, int status, const char *code, const char *message, enum error_form form);
    void (*answered)(int64_t effect);
    void (*effects)(struct exchange *x);     /* answers GET /admin/effects; NULL: it changes nothing */
    void (*count)(struct text *out); /* its own members of /admin/counts, each with a comma in front */
};

extern const struct vendor *const vendors[];    /* ends with NULL; sandbox.c */
extern const struct call admin_calls[];         /* admin.c */

void exchange_start(struct exchange *x);
void exchange_serve(struct exchange *x);         /* the vendor's own answer, and the effect */
void exchange_resume(struct exchange *x);
void exchange_done(struct exchange *x, enum outcome outcome);
void exchange_release(struct exchange *x);

void exchange_key(struct exchange *x, struct slice key);
void exchange_key_query(struct exchange *x, const char *name);

/* The answer's status, type and an empty body to write to. */
struct text *answer(struct exchange *x, int status, const char *content_type);
/* The same, but the body comes in pieces, which the answer owns from now on. */
void answer_pieces(struct exchange *x, int status, const char *content_type, struct pieces pieces);
void answer_json_error(struct exchange *x, int status, const char *format, ...) __attribute__((format(printf, 3, 4)));
void answer_plain(struct exchange *x, int status, const char *sentence);

/* Whether a path is this one (see struct call); sets the request's args. */
bool path_fits(struct slice path, const char *pattern, struct request *req);

const struct vendor *vendor_named(struct slice name);
const struct call *call_named(const struct vendor *v, struct slice name);
void counts_print(struct text *out);
void counts_reset(void);
void effects_forgotten(void);                   /* what is in flight no longer has an effect to mark */
void calls_print(struct text *out, struct slice query);

void reset_what(unsigned what);                 /* admin.c; a set of enum reset */

json_object *body_json(struct exchange *x);     /* NULL, and the answer is a 400, when it is not JSON */

/* What is left of a random share, seeded by {"sandbox":{"seed":N}}. */
extern struct prng chance;

#endif

/*
 * wise.h - OCLC Wise as its stages share it: the settings, the log-in of staff, patrons' tokens, what their jobs begin with.
 *
 * Two log-ins   staff's is the vendor's (one token a program); with it a patron's own token is asked for (right PROXY_AUTH),
 *               which every call for a patron carries. It is the first step of a job, WISE_TOKEN, where none is in memory.
 * Both end      at 23:59:59 of the library's day, which is that of the program's time zone (TZ), or of UTC's if that is sooner.
 *               WISE_KEY is computed for each request, as another day's is refused.
 * Memory        at most WISE_TOKENS_MAX patrons' tokens; the oldest goes first. They are nowhere else.
 */
#ifndef SHELFWIRE_WISE_H
#define SHELFWIRE_WISE_H

#include "common/wise_request.h"

extern const struct setting wise_settings[];
extern const struct vendor wise;
extern int64_t wise_timeout_ms;

/* After the settings are read: can a WISE_KEY be made of them? */
struct fault wise_settled(void);

/* Logs in as staff, and prints a line. */
struct fault wise_check(struct http *http);

int wise_library_offset(int64_t now); /* of the library's clock at an instant, seconds east of UTC */

/* ---- patrons' tokens ---- */

enum { WISE_TOKENS_MAX = 4096 };

/* The token in memory that may still be used at `now`, or "". Borrowed until the next is kept. */
const char *wise_tokens_find(const char *patron, const char *library, int64_t now);
void wise_tokens_keep(const char *patron, const char *library, const char *token, int64_t now, int64_t ends);
void wise_tokens_forget(const char *patron, const char *library, const char *token); /* unless another has taken its place */
size_t wise_tokens_count(void);

/* ---- a job ---- */

enum { WISE_TOKEN, WISE_FIRST_STEP }; /* step 0 of both stages; their own begin behind it */

struct wise_job {
    struct request request; /* first: see request.h */
    struct wise_asked asked;
    int step, then;         /* then: what follows WISE_TOKEN */
    struct wise_spelling spelling;
    char token[WISE_TOKEN_SIZE];
    bool fresh;             /* the token was got for this very work */
};

struct fault wise_decode(const char *value, size_t len, void *job);
int wise_step(const void *job);

/* Reads what is asked. False: ret is the answer, REJECTED "bad_request". */
bool wise_job_asked(struct wise_job *job, struct answer *ret);

/* The job's next call is that of the step, or the one that gets the patron's token before it. */
void wise_go(struct wise_job *job, int step);

/* staff_token: the vendor's. True: the request is that of WISE_TOKEN; false: the stage builds its own, of ret_session. */
bool wise_job_request(const struct wise_job *job, struct http_request *req, const char *staff_token,
                      struct wise_session *ret_session);

/* The answer to WISE_TOKEN: AGAIN "patron_logged_in", at the step that follows. */
struct answer wise_token_answer(struct wise_job *job, const struct http_response *res);

/*
 * Every answer to a call for the patron goes through this. A token that is refused is forgotten and another one asked for
 * (AGAIN); a fresh one that is refused: LATER, CAUSE_VENDOR "token_refused".
 */
struct answer wise_job_answer(struct wise_job *job, const struct http_response *res, struct answer a);

/* The same answer; its reason is for the patron too. */
struct answer wise_say(struct wise_job *job, struct answer a);

#endif

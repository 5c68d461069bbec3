/*
 * job.h - the inside of oneclick-requests: a patron's request in hand, and who decides what.
 *
 *   person.c    who the patron is at OneClick: found, or made
 *   actions.c   what is asked: which call comes first, and what an answer leads to
 *   ../oneclick-requests.c   the stage: settings, SQL, and which call is which
 *
 * Decisions are pure: they set the step that comes next and return AGAIN, or return what came of the request. Nothing is
 * changed while `doubt` holds: somebody has called for this request, and nobody knows what came of it.
 */
#ifndef SHELFWIRE_ONECLICK_REQUESTS_JOB_H
#define SHELFWIRE_ONECLICK_REQUESTS_JOB_H

#include "common/oneclick_request.h"

enum { DOWNLOAD_LINK_SECONDS = 14 * 60 }; /* NYPL's client trusts a link so long (OneClick facts, 1.7) */

enum step {
    /* who the patron is */
    FIND, FIND_BY_EMAIL, READ_PATRON, CREATE,
    /* what is asked */
    LOANS, HOLDS, AVAILABLE, CHECKOUT, RENEW, RETURN, HOLD, CANCEL, MAGAZINE, MAGAZINE_RETURN, HISTORY, BEARER, DOWNLOAD,
    SEARCH,
};

/* What a list is read for. */
enum reading {
    SHOW,    /* it is what was asked for */
    BEFORE,  /* what is there before a renewal */
    BECAME,  /* nobody knows what came of a call */
    AFTER,   /* until when is it renewed? */
    ALREADY, /* OneClick says it is so already: since when, until when? */
    CHECK,   /* OneClick refuses to take it away: is it gone already? */
    FOLLOW,  /* has the hold become a loan? */
    FILES,   /* what is there to be downloaded? */
};

/* Of the settings. */
struct terms {
    int64_t default_days, follow_seconds, follow_hours;
    const char *email; /* the library's, or NULL */
};

struct job {
    struct request request; /* first: see request.h */
    const struct terms *terms;
    struct oneclick_asked asked;
    enum step step;
    enum reading reading;
    bool doubt;

    struct oneclick_person person;
    bool remembered;    /* it was found for an earlier request; OneClick may have another by now */
    bool forget;        /* it has */
    bool wants_user_id; /* the person is asked for again, for the user id alone */
    bool exists;        /* a new patron was refused: there is somebody with that card or e-mail */
    char email[ONECLICK_EMAIL_SIZE]; /* of a new patron: the person's, or made of the library's; "" none */
    char suffix[ONECLICK_SUFFIX_SIZE], password[17];

    bool available; /* the title, before it is put on hold */
    bool lent_out;  /* OneClick has just said that it is not available */
    json_object *rows; /* issues, as far as they are read */
    int page;
    char bearer[ONECLICK_BEARER_SIZE], file[201];
    bool bearer_again;
    struct text target;
};

/* The call that comes next. */
struct answer job_go(struct job *job, enum step step);
struct answer job_read(struct job *job, enum step list, enum reading reading);

/* REJECTED; words: the service's own, "" or NULL when it has none. */
struct answer job_refuse(struct job *job, const char *code, const char *reason, const char *words);

/* ---- person.c ---- */

void person_begin(struct job *job);        /* before the first call */
struct answer person_ask(struct job *job); /* sets the first step */
struct answer person_answer(struct job *job, const struct http_response *res); /* of steps up to CREATE */
/* Whether OneClick does not know a patron that was remembered: `ret` goes to find them again. */
bool person_is_gone(struct job *job, const struct answer *a, struct answer *ret);
struct oneclick_newcomer person_newcomer(const struct job *job);

/* ---- actions.c ---- */

struct answer action_begin(struct job *job); /* once the person is known: sets the step */
struct answer action_answer(struct job *job, const struct http_response *res);

#endif

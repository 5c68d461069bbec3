/* person.c - who the patron is at OneClick. */
#include "workers/oneclick-requests/job.h"

#include "common/event.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

struct answer job_go(struct job *job, enum step step)
{
    job->step = step;
    return answer_make(AGAIN, CAUSE_WORK, "next", "%s", "");
}

struct answer job_read(struct job *job, enum step list, enum reading reading)
{
    job->reading = reading;
    json_object_put(job->rows);
    job->rows = NULL;
    job->page = 0;
    return job_go(job, list);
}

struct answer job_refuse(struct job *job, const char *code, const char *reason, const char *words)
{
    if (words)
        text_copy(job->request.words, sizeof job->request.words, words);
    return answer_make(REJECTED, CAUSE_WORK, code, "%s", reason);
}

/* What an account may be made for, and an e-mail be made of: neither an e-mail nor a name with blanks. */
static bool is_card(const char *patron)
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";

    return !patron[strspn(patron, letters)];
}

void person_begin(struct job *job)
{
    const char *card = job->request.patron;

    job->email[0] = '\0';
    if (*job->asked.email)
        text_copy(job->email, sizeof job->email, job->asked.email);
    else if (job->terms->email && is_card(card))
        oneclick_made_email(job->terms->email, card, job->email);
}

struct answer person_ask(struct job *job)
{
    if (job->asked.action == ONECLICK_SEARCH)
        return job_go(job, SEARCH); /* the library's, not a patron's */
    return job->person.patron_id[0] ? action_begin(job) : job_go(job, FIND);
}

/* Random, and kept until the answer: it is nobody's secret, for nobody is told it. */
static void make_up(struct job *job)
{
    static const char letters[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ";
    uint64_t random = event_random();

    job->suffix[0] = '\0';
    for (int i = 0; !*job->asked.email && i < ONECLICK_SUFFIX_SIZE - 1; i++, random /= 36) {
        job->suffix[i] = letters[random % 36];
        job->suffix[i + 1] = '\0';
    }
    snprintf(job->password, sizeof job->password, "%016" PRIx64, event_random());
}

struct oneclick_newcomer person_newcomer(const struct job *job)
{
    const struct oneclick_asked *asked = &job->asked;

    /* names and a postal code must be there; those that are not known are as NYPL's client sends them (OneClick facts, 1.6) */
    return (struct oneclick_newcomer){.card = job->request.patron, .email = job->email, .suffix = job->suffix,
                                      .first_name = *asked->first_name ? asked->first_name : "Library",
                                      .last_name = *asked->last_name ? asked->last_name : "Patron", .postal_code = "11111",
                                      .password = job->password};
}

/* OneClick has nobody by this card, nor by the e-mail. */
static struct answer nobody(struct job *job)
{
    if (!job->asked.create)
        return job_refuse(job, "no_patron", "OneClick knows nobody by this card, e-mail or name", NULL);
    if (job->exists)
        return job_refuse(job, "patron_exists", "OneClick has somebody with this card or e-mail, and does not find them",
                          "A patron account with the specified username, email address, or card number already exists for "
                          "this library.");
    if (!is_card(job->request.patron))
        return job_refuse(job, "no_card", "a patron is made for a card: of letters, digits, . _ and - only", NULL);
    if (!job->email[0])
        return job_refuse(job, "no_email", "the patron has no e-mail, and ONECLICK_EMAIL is not set", NULL);
    if (job->doubt) /* an earlier creation can arrive no more, and has not */
        return answer_make(STEP, CAUSE_WORK, "not_created", "%s", "");
    make_up(job);
    return job_go(job, CREATE);
}

static struct answer go_on(struct job *job)
{
    job->remembered = false;
    return action_begin(job);
}

static struct answer found(struct job *job, struct answer a)
{
    if (a.verdict == DONE)
        return job->step == FIND_BY_EMAIL && *job->asked.email ? job_go(job, READ_PATRON) : go_on(job);
    if (a.verdict != REJECTED || strcmp(a.code, "no_patron") != 0)
        return a;
    return job->step == FIND && job->email[0] ? job_go(job, FIND_BY_EMAIL) : nobody(job);
}

/*
 * Somebody has the e-mail. It is this person if the card is the same or none is said: what a creation that was lost leaves
 * behind. Another card is another person's: families share an address, and nobody is to see the loans of another.
 */
static struct answer recognised(struct job *job, const struct http_response *res)
{
    struct oneclick_patron patron;

    struct answer a = oneclick_patron_answer(res, job->person.patron_id, &patron);
    if (a.verdict != DONE)
        return a;
    if (oneclick_same_card(patron.card, job->request.patron))
        return go_on(job);
    job->person = (struct oneclick_person){0};
    return job_refuse(job, "other_card", "the e-mail is that of an account with another card", NULL);
}

static struct answer created(struct job *job, struct answer a)
{
    if (a.verdict == DONE)
        return go_on(job);
    if (a.verdict != AGAIN)
        return a;
    job->exists = true;
    return job_go(job, FIND_BY_EMAIL);
}

struct answer person_answer(struct job *job, const struct http_response *res)
{
    switch (job->step) {
    case FIND:
    case FIND_BY_EMAIL: return found(job, oneclick_find_answer(res, &job->person));
    case READ_PATRON: return recognised(job, res);
    default: return created(job, oneclick_create_answer(res, &job->person));
    }
}

bool person_is_gone(struct job *job, const struct answer *a, struct answer *ret)
{
    if (a->verdict != REJECTED || strcmp(a->code, "no_patron") != 0 || !job->remembered)
        return false;
    job->person = (struct oneclick_person){0};
    job->remembered = false;
    job->forget = true;
    job->request.words[0] = '\0';
    *ret = job_go(job, FIND);
    return true;
}

/* actions.c - what is asked of OneClick: which call comes first, and what an answer leads to. */
#include "workers/oneclick-requests/job.h"

#include "common/json.h"
#include "common/scoped.h"
#include "common/vendors/reading.h"

#include <string.h>

enum { HISTORY_PAGES_MOST = 10, FOLLOW_SECONDS_MOST = 3600 };

/* ---- what earlier steps have learned; each member is written as a whole ---- */

static json_object *known(const struct job *job, const char *member) { return json_get(job->request.known, member); }

static void learn(struct job *job, const char *member, json_object *value)
{
    SCOPED(json_object_put) json_object *outer = json_object_new_object();

    json_object_object_add(outer, member, value);
    text_puts(&job->request.learned, json_object_to_json_string_ext(outer, JSON_C_TO_STRING_PLAIN));
}

static struct answer step(const char *code)
{
    return answer_make(STEP, CAUSE_WORK, code, "%s", "");
}

static struct answer unreadable(void)
{
    return answer_make(LATER, CAUSE_VENDOR, "garbled", "OneClick lists something without an ISBN: who knows what is not there");
}

/* Not done, as the list shows. Sent again, unless OneClick had said no in a way that it may also say after having done it. */
static struct answer not_done(struct job *job, const char *code)
{
    json_object *refusal = known(job, "refused");

    if (!refusal)
        return step(code);
    bool disliked = !strcmp(json_str(refusal, "code") ? json_str(refusal, "code") : "", "bad_input");
    return job_refuse(job, disliked ? "bad_input" : "refused", "OneClick has said no, and has not done it",
                      json_str(refusal, "words"));
}

/* ---- which call comes first ---- */

static struct answer begin_renewal(struct job *job)
{
    if (known(job, "renewed"))
        return job_read(job, LOANS, AFTER);
    if (!known(job, "renew"))
        return job_read(job, LOANS, BEFORE);
    return job->doubt ? job_read(job, LOANS, BECAME) : job_go(job, RENEW);
}

static struct answer begin_hold(struct job *job)
{
    if (known(job, "follow"))
        return job_read(job, HOLDS, FOLLOW);
    return job->doubt ? job_read(job, HOLDS, BECAME) : job_go(job, AVAILABLE);
}

struct answer action_begin(struct job *job)
{
    switch (job->asked.action) {
    case ONECLICK_CHECKOUT: return job->doubt ? job_read(job, LOANS, BECAME) : job_go(job, CHECKOUT);
    case ONECLICK_RENEW: return begin_renewal(job);
    case ONECLICK_RETURN: /* a second is refused, and means that it is returned */
        return job->doubt && known(job, "refused") ? job_read(job, LOANS, BECAME) : job_go(job, RETURN);
    case ONECLICK_LOANS: return job_read(job, LOANS, SHOW);
    case ONECLICK_HOLD: return begin_hold(job);
    case ONECLICK_CANCEL_HOLD: return job->doubt ? job_read(job, HOLDS, BECAME) : job_go(job, CANCEL);
    case ONECLICK_HOLDS: return job_read(job, HOLDS, SHOW);
    case ONECLICK_MAGAZINE_CHECKOUT: return job->doubt ? job_read(job, HISTORY, BECAME) : job_go(job, MAGAZINE);
    case ONECLICK_MAGAZINE_RETURN: return job->doubt ? job_read(job, HISTORY, BECAME) : job_go(job, MAGAZINE_RETURN);
    case ONECLICK_MAGAZINE_HISTORY: return job_read(job, HISTORY, SHOW);
    case ONECLICK_DOWNLOAD: return job_read(job, LOANS, FILES);
    default: return job_go(job, SEARCH);
    }
}

/* ---- outcomes ---- */

static void put_text(struct job *job, const char *member, const char *value)
{
    struct text *to = &job->request.outcome;

    text_printf(to, "{\"%s\":", member);
    text_json(to, value);
    text_putc(to, '}');
}

static struct answer done(const char *code)
{
    return answer_make(DONE, CAUSE_WORK, code, "%s", code);
}

static struct answer done_with_isbn(struct job *job, const char *code)
{
    put_text(job, "isbn", job->asked.isbn);
    return done(code);
}

static struct answer done_with_loan(struct job *job, const char *code, const struct oneclick_row *loan)
{
    oneclick_put_loan(&job->request.outcome, loan);
    return done(code);
}

static struct answer contradiction(void)
{
    return answer_make(LATER, CAUSE_VENDOR, "contradiction", "OneClick says that the patron has it, and does not list it");
}

/* ---- a hold that is to become a loan ---- */

static int64_t follow_age(const struct job *job)
{
    int64_t at = reading_int(known(job, "follow"), "at");

    return at && at < job->request.now ? job->request.now - at : 0;
}

static struct answer follow(struct job *job)
{
    int64_t age = follow_age(job), least = job->terms->follow_seconds;

    job->request.state = "waiting";
    job->request.retry_s = age < least ? least : age > FOLLOW_SECONDS_MOST ? FOLLOW_SECONDS_MOST : age;
    return answer_make(DONE, CAUSE_WORK, "loan", "on hold, and available: it will become a loan");
}

/* It is put on hold. On what is available the hold becomes a loan, "a bit later": so long it is followed. NULL: it is told. */
static struct answer held(struct job *job, const struct oneclick_row *hold)
{
    if (hold)
        oneclick_put_hold(&job->request.outcome, hold);
    if (!job->available)
        return done("held");
    json_object *since = json_object_new_object();
    json_object_object_add(since, "at", json_object_new_int64(job->request.now));
    learn(job, "follow", since);
    return follow(job);
}

static struct answer still_held(struct job *job, const struct oneclick_row *hold)
{
    oneclick_put_hold(&job->request.outcome, hold);
    return follow_age(job) >= job->terms->follow_hours * 3600 ? done("held") : follow(job);
}

/* ---- loans ---- */

static struct answer before_renewal(struct job *job, const struct oneclick_row *loan)
{
    if (!loan->can_renew)
        return job_refuse(job, "not_renewable", "OneClick says that the loan cannot be renewed", NULL);
    json_object *before = json_object_new_object();
    json_object_object_add(before, "expiration", json_object_new_string(loan->expiration));
    json_object_object_add(before, "transaction_id", json_object_new_string(loan->transaction_id));
    learn(job, "renew", before);
    return step("read");
}

static bool is_renewed(const struct job *job, const struct oneclick_row *loan)
{
    struct oneclick_row before = {0};

    reading_text(known(job, "renew"), "expiration", before.expiration, sizeof before.expiration);
    reading_text(known(job, "renew"), "transaction_id", before.transaction_id, sizeof before.transaction_id);
    return oneclick_renewed(&before, loan);
}

/* Nobody knew what came of a call; the loan is there. */
static struct answer loan_became(struct job *job, const struct oneclick_row *loan)
{
    switch (job->asked.action) {
    case ONECLICK_RENEW: return is_renewed(job, loan) ? done_with_loan(job, "renewed", loan) : not_done(job, "not_renewed");
    case ONECLICK_RETURN: return not_done(job, "not_returned");
    default: return done_with_loan(job, job->asked.action == ONECLICK_HOLD ? "loan" : "borrowed", loan);
    }
}

static struct answer no_loan_became(struct job *job)
{
    switch (job->asked.action) {
    case ONECLICK_RENEW: return job_refuse(job, "not_on_loan", "the patron no longer has it", NULL);
    case ONECLICK_RETURN: return done_with_isbn(job, "returned");
    case ONECLICK_HOLD: return not_done(job, "not_held");
    default: return not_done(job, "not_borrowed");
    }
}

static struct answer files_of(struct job *job, const struct oneclick_row *loan);

static struct answer loan_seen(struct job *job, const struct oneclick_row *loan)
{
    switch (job->reading) {
    case BEFORE: return before_renewal(job, loan);
    case AFTER: return done_with_loan(job, "renewed", loan);
    case ALREADY: return done_with_loan(job, "already", loan);
    case FOLLOW: return done_with_loan(job, "loan", loan);
    case FILES: return files_of(job, loan);
    default: return loan_became(job, loan);
    }
}

static struct answer loan_not_seen(struct job *job)
{
    switch (job->reading) {
    case BEFORE:
    case FILES: return job_refuse(job, "not_on_loan", "the patron does not have it", NULL);
    case AFTER: return done_with_isbn(job, "renewed");
    case ALREADY: return contradiction();
    case FOLLOW: return job_refuse(job, "hold_gone", "the hold is gone, and has not become a loan", NULL);
    default: return no_loan_became(job);
    }
}

static struct answer loans_answer(struct job *job, const struct http_response *res)
{
    SCOPED(json_object_put) json_object *rows = NULL;
    struct oneclick_row loan;

    struct answer a = oneclick_rows_answer(res, &rows);
    if (a.verdict != DONE)
        return a;
    if (job->reading == SHOW) {
        oneclick_put_loans(&job->request.outcome, rows);
        return a;
    }
    enum oneclick_sight sight = oneclick_row_find(rows, job->asked.isbn, &loan);
    if (sight == ONECLICK_UNCLEAR)
        return unreadable();
    return sight == ONECLICK_SEEN ? loan_seen(job, &loan) : loan_not_seen(job);
}

/* ---- holds: read before the loans, as a hold becomes a loan and never the other way round ---- */

static struct answer hold_seen(struct job *job, const struct oneclick_row *hold)
{
    if (job->asked.action == ONECLICK_CANCEL_HOLD) /* its words are those of the refusal */
        return job->reading == CHECK ? job_refuse(job, "refused", "OneClick does not cancel the hold", NULL)
                                     : not_done(job, "not_cancelled");
    if (job->reading == FOLLOW)
        return still_held(job, hold);
    oneclick_put_hold(&job->request.outcome, hold);
    if (job->reading == BECAME) /* ours; whether it is to become a loan, OneClick knows */
        return job_go(job, AVAILABLE);
    return done("already");
}

static struct answer hold_not_seen(struct job *job)
{
    job->request.words[0] = '\0';
    if (job->asked.action == ONECLICK_CANCEL_HOLD)
        return done_with_isbn(job, job->reading == CHECK ? "not_held" : "cancelled");
    return job_go(job, LOANS);
}

static struct answer holds_answer(struct job *job, const struct http_response *res)
{
    SCOPED(json_object_put) json_object *rows = NULL;
    struct oneclick_row hold;

    struct answer a = oneclick_rows_answer(res, &rows);
    if (a.verdict != DONE)
        return a;
    if (job->reading == SHOW) {
        oneclick_put_holds(&job->request.outcome, rows);
        return a;
    }
    enum oneclick_sight sight = oneclick_row_find(rows, job->asked.isbn, &hold);
    if (sight == ONECLICK_UNCLEAR)
        return unreadable();
    return sight == ONECLICK_SEEN ? hold_seen(job, &hold) : hold_not_seen(job);
}

static struct answer available_answer(struct job *job, const struct http_response *res)
{
    struct answer a = oneclick_available_answer(res, job->asked.isbn, &job->available);
    bool gone = job->doubt && a.verdict == REJECTED && !strcmp(a.code, "not_in_library"); /* but it is on hold */

    if (a.verdict != DONE && !gone)
        return a;
    return job->doubt ? held(job, NULL) : job_go(job, HOLD);
}

static struct answer hold_answer(struct job *job, const struct http_response *res)
{
    char words[ONECLICK_WORDS_SIZE];
    struct oneclick_row hold = {0};

    struct answer a = oneclick_hold_answer(res, hold.transaction_id, words);
    text_copy(job->request.words, sizeof job->request.words, words);
    if (a.verdict != DONE)
        return a;
    if (!strcmp(a.code, "already"))
        return job_read(job, HOLDS, ALREADY);
    text_copy(hold.isbn, sizeof hold.isbn, job->asked.isbn);
    return held(job, &hold);
}

/* ---- what is lent, renewed, returned ---- */

static struct answer checkout_answer(struct job *job, const struct http_response *res)
{
    int days = job->asked.days ? job->asked.days : (int)job->terms->default_days;
    char words[ONECLICK_WORDS_SIZE];
    struct oneclick_receipt receipt;

    struct answer a = oneclick_checkout_answer(res, &receipt, words);
    text_copy(job->request.words, sizeof job->request.words, words);
    if (a.verdict == REJECTED && !strcmp(a.code, "not_available")) {
        job->lent_out = true;
        put_text(job, "offer", "hold");
    }
    if (a.verdict != DONE)
        return a;
    if (!strcmp(a.code, "already"))
        return job_read(job, LOANS, ALREADY);
    oneclick_put_borrowed(&job->request.outcome, job->asked.isbn, &receipt, job->request.now, days);
    return a;
}

/* A renewal is committed before it is looked at: whoever looks must not renew again. */
static struct answer renew_answer(struct job *job, const struct http_response *res)
{
    char words[ONECLICK_WORDS_SIZE];
    struct oneclick_receipt receipt;

    struct answer a = oneclick_renew_answer(res, &receipt, words);
    text_copy(job->request.words, sizeof job->request.words, words);
    if (a.verdict != DONE)
        return a;
    learn(job, "renewed", json_object_new_boolean(true));
    return step("renewed");
}

static struct answer return_answer(struct job *job, const struct http_response *res)
{
    char words[ONECLICK_WORDS_SIZE];

    struct answer a = oneclick_return_answer(res, words);
    text_copy(job->request.words, sizeof job->request.words, words);
    return a.verdict == DONE ? done_with_isbn(job, a.code) : a;
}

static struct answer cancel_answer(struct job *job, const struct http_response *res)
{
    char words[ONECLICK_WORDS_SIZE];

    struct answer a = oneclick_cancel_answer(res, words);
    text_copy(job->request.words, sizeof job->request.words, words);
    if (a.verdict == REJECTED && !strcmp(a.code, "refused"))
        return job_read(job, HOLDS, CHECK);
    return a.verdict == DONE ? done_with_isbn(job, a.code) : a;
}

/* ---- magazines ---- */

static struct answer done_with_issue(struct job *job, const char *code)
{
    put_text(job, "issue", job->asked.issue);
    return done(code);
}

static struct answer magazine_answer(struct job *job, const struct http_response *res)
{
    char words[ONECLICK_WORDS_SIZE];

    struct answer a = oneclick_magazine_answer(res, job->step == MAGAZINE, words);
    text_copy(job->request.words, sizeof job->request.words, words);
    if (a.verdict == REJECTED && !strcmp(a.code, "refused"))
        return job_read(job, HISTORY, CHECK);
    return a.verdict == DONE ? done_with_issue(job, a.code) : a;
}

static bool has_issue(const struct job *job)
{
    struct oneclick_issue issue;

    for (size_t i = 0; i < reading_count(job->rows); i++)
        if (oneclick_issue_read(reading_at(job->rows, i), &issue) && !strcmp(issue.issue_id, job->asked.issue))
            return true;
    return false;
}

static struct answer history_read(struct job *job)
{
    bool borrows = job->asked.action == ONECLICK_MAGAZINE_CHECKOUT, there = has_issue(job);

    if (job->reading == SHOW) {
        oneclick_put_issues(&job->request.outcome, job->rows);
        return done("listed");
    }
    if (there == borrows) {
        job->request.words[0] = '\0';
        return done_with_issue(job, job->reading == CHECK ? "already" : borrows ? "borrowed" : "returned");
    }
    return job->reading == CHECK ? job_refuse(job, "refused", "OneClick refuses", NULL)
                                 : not_done(job, borrows ? "not_borrowed" : "not_returned");
}

/* Page by page, until one is not full or there are as many as OneClick says. */
static struct answer history_answer(struct job *job, const struct http_response *res)
{
    SCOPED(json_object_put) json_object *rows = NULL;
    int64_t total;

    struct answer a = oneclick_history_answer(res, &rows, &total);
    if (a.verdict != DONE)
        return a;
    if (!job->rows)
        job->rows = json_object_new_array();
    for (size_t i = 0; i < reading_count(rows); i++)
        json_object_array_add(job->rows, json_object_get(reading_at(rows, i)));
    bool last = reading_count(rows) < ONECLICK_HISTORY_PAGE || ++job->page == HISTORY_PAGES_MOST ||
                (total >= 0 && (int64_t)reading_count(job->rows) >= total);
    return last ? history_read(job) : job_go(job, HISTORY);
}

/* ---- downloads ---- */

static bool is_asked_for(const struct job *job, const struct oneclick_file *file)
{
    return !*job->asked.file || !strcmp(job->asked.file, file->id) || !strcmp(job->asked.file, file->name);
}

static struct answer fetch(struct job *job)
{
    if (!job->person.user_id[0] && !job->wants_user_id) {
        job->wants_user_id = true; /* a new patron's answer does not say it */
        return job_go(job, FIND);
    }
    if (!job->person.user_id[0])
        return job_refuse(job, "no_bearer", "OneClick does not say the user id that a download needs", NULL);
    return job_go(job, BEARER);
}

static struct answer files_of(struct job *job, const struct oneclick_row *loan)
{
    struct oneclick_file file, one = {0};
    size_t fit = 0;

    for (size_t i = 0; i < reading_count(loan->files); i++)
        if (oneclick_file_read(reading_at(loan->files, i), &file) && is_asked_for(job, &file)) {
            one = fit ? one : file;
            fit++;
        }
    if (fit > 1 && !*job->asked.file) {
        job->request.state = "asks";
        oneclick_put_files(&job->request.outcome, loan);
        return job_refuse(job, "which_file", "there are several files: one is to be asked for", NULL);
    }
    if (!fit)
        return job_refuse(job, "no_such_file", "the loan has no such file", NULL);
    text_copy(job->file, sizeof job->file, one.id[0] ? one.id : one.name);
    if (!oneclick_link_target(one.link, &job->target))
        return job_refuse(job, "no_link", "OneClick does not say where the file is, or says a place that is not its own", NULL);
    return fetch(job);
}

static struct answer download_answer(struct job *job, const struct http_response *res)
{
    struct oneclick_access access;

    struct answer a = oneclick_download_answer(res, &access);
    if (a.verdict == AGAIN && job->bearer_again)
        return answer_make(LATER, CAUSE_VENDOR, "bearer_refused", "OneClick refuses a fresh bearer");
    if (a.verdict == AGAIN) {
        job->bearer_again = true;
        return job_go(job, BEARER);
    }
    if (a.verdict == DONE)
        oneclick_put_access(&job->request.outcome, job->asked.isbn, job->file, &access,
                            job->request.now + DOWNLOAD_LINK_SECONDS);
    return a;
}

static struct answer search_answer(struct job *job, const struct http_response *res)
{
    struct oneclick_result result;

    struct answer a = oneclick_search_answer(res, &result);
    if (a.verdict == DONE)
        oneclick_put_result(&job->request.outcome, &result);
    json_object_put(result.body);
    return a;
}

/* ---- what an answer leads to ---- */

static struct answer answered(struct job *job, const struct http_response *res)
{
    struct answer a;

    switch (job->step) {
    case LOANS: return loans_answer(job, res);
    case HOLDS: return holds_answer(job, res);
    case AVAILABLE: return available_answer(job, res);
    case CHECKOUT: return checkout_answer(job, res);
    case RENEW: return renew_answer(job, res);
    case RETURN: return return_answer(job, res);
    case HOLD: return hold_answer(job, res);
    case CANCEL: return cancel_answer(job, res);
    case MAGAZINE:
    case MAGAZINE_RETURN: return magazine_answer(job, res);
    case HISTORY: return history_answer(job, res);
    case BEARER:
        a = oneclick_bearer_answer(res, job->bearer);
        return a.verdict == DONE ? job_go(job, DOWNLOAD) : a;
    case DOWNLOAD: return download_answer(job, res);
    default: return search_answer(job, res);
    }
}

/* A refusal that OneClick may also say after having done it is kept: the list tells whether it was one. */
static void keep_refusal(struct job *job, const struct answer *a)
{
    json_object *refusal = json_object_new_object();

    json_object_object_add(refusal, "code", json_object_new_string(a->code));
    json_object_object_add(refusal, "words", json_object_new_string(job->request.words));
    learn(job, "refused", refusal);
}

struct answer action_answer(struct job *job, const struct http_response *res)
{
    struct answer a = answered(job, res), instead;

    if (person_is_gone(job, &a, &instead))
        return instead;
    if (a.verdict == UNKNOWN && a.cause == CAUSE_WORK)
        keep_refusal(job, &a);
    if (a.verdict == UNKNOWN || a.verdict == LATER)
        job->request.words[0] = '\0'; /* they are those of an answer that is not the last */
    return a;
}

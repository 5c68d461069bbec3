#include "common/wise.h"

#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <uthash.h>

static const char *url, *api_id, *api_key, *application, *username, *password;
static double calls_per_second;
static int paths;
int64_t wise_timeout_ms;

const struct setting wise_settings[] = {
    {"WISE_URL", SET_URL, NULL, .required = true, .to = &url,
     .help = "root of Wise, before /restapi: https://library.hostedwise.nl"},
    {"WISE_API_ID", SET_TEXT, NULL, .required = true, .to = &api_id, .help = "the application's API-ID, as OCLC gave it"},
    {"WISE_API_KEY", SET_SECRET, NULL, .required = true, .to = &api_key,
     .help = "its API-KEY of this very system; production and test have different ones"},
    {"WISE_APPLICATION_NAME", SET_TEXT, NULL, .required = true, .to = &application,
     .help = "the application's name, to which the API-ID is tied"},
    {"WISE_USERNAME", SET_TEXT, NULL, .required = true, .to = &username,
     .help = "an account of staff that may act for patrons (PROXY_AUTH) and that no other program uses"},
    {"WISE_PASSWORD", SET_SECRET, NULL, .required = true, .to = &password, .help = "its password"},
    {"WISE_PATHS", SET_CHOICE, "auto", .choices = "auto|restapi|plain|restapi-document|plain-document", .to = &paths,
     .help = "how paths are spelled: behind /restapi or plain, in the words of Wise's document or of its known client; auto: as Wise"
             " answers"},
    {"WISE_CALLS_PER_SECOND", SET_NUMBER, "10", .least = 0, .most = 1000, .to = &calls_per_second,
     .help = "calls a second of all workers together; Wise's limit is not public; 0: not paced"},
    {"WISE_TIMEOUT_MS", SET_WHOLE, "20000", .least = 100, .most = 600000, .to = &wise_timeout_ms,
     .help = "how long an answer may take, milliseconds"},
    {0}};

/* ---- spelling ---- */

static unsigned spelled; /* as Wise last understood it */

static void spelling_begin(struct wise_spelling *s)
{
    static const unsigned fixed[] = {0, 0, WISE_BARE, WISE_PRINTED, WISE_PRINTED | WISE_BARE};
    unsigned now = paths ? fixed[paths] : spelled;

    /* a first one that is all but this: as if the others had been tried already */
    *s = (struct wise_spelling){.first = paths ? now ^ (WISE_PRINTED | WISE_BARE) : now, .now = now};
}

static void spelling_learn(const struct wise_spelling *s, const struct http_response *res)
{
    if (!paths && res->end == HTTP_ANSWERED && res->status / 100 == 2)
        spelled = s->now;
}

/* ---- staff ---- */

static struct wise_spelling login_spelling;
static bool login_respelled;
static int64_t token_ends;

static const char *root_of(void) { return url; }

static struct wise_session session_with(const char *token, unsigned spelling)
{
    static char key[WISE_KEY_SIZE];

    wise_key(api_id, api_key, application, time(NULL), key);
    return (struct wise_session){.key = key, .token = token, .spelling = spelling};
}

int wise_library_offset(int64_t now)
{
    time_t at = (time_t)now;
    struct tm local;

    return localtime_r(&at, &local) ? (int)local.tm_gmtoff : 0;
}

/* The end of a token whose log-in was answered just now: what counts is the day it was asked for. */
static int64_t ends_of(const struct http_response *res)
{
    int64_t asked_at = time(NULL) - res->duration_us / 1000000 - 1;

    return wise_token_ends(asked_at, wise_library_offset(asked_at));
}

/* A token that was got in the last second of a day: it would be refused. */
static struct answer day_ends(void)
{
    return answer_make(LATER, CAUSE_WORK, "day_ends", "a day ends, and every token with it: a second later there is a new one");
}

static void login_request(struct http_request *req)
{
    if (!login_respelled)
        spelling_begin(&login_spelling);
    struct wise_session s = session_with(NULL, login_spelling.now);
    wise_staff_login_request(req, &s, username, password);
}

static struct answer login_answer(const struct http_response *res, char *ret_token, size_t size)
{
    struct wise_login login;
    struct answer a = wise_staff_login_answer(res, &login_spelling, &login);

    login_respelled = a.verdict == AGAIN;
    spelling_learn(&login_spelling, res);
    token_ends = ends_of(res);
    if (a.verdict == DONE && token_ends <= time(NULL))
        a = day_ends();
    if (a.verdict == DONE)
        text_copy(ret_token, size, login.token);
    OPENSSL_cleanse(&login, sizeof login);
    return a;
}

static int64_t token_lasts_s(void)
{
    int64_t left = token_ends - time(NULL);

    return left > 1 ? left : 1; /* 0 would be: nobody knows */
}

const struct vendor wise = {.name = "wise", .root = root_of, .login_request = login_request, .login_answer = login_answer,
                            .token_lasts_s = token_lasts_s, .calls_per_second = &calls_per_second};

struct fault wise_settled(void)
{
    char key[WISE_KEY_SIZE];

    if (!wise_key(api_id, api_key, application, time(NULL), key))
        return FAULT(MISUSE, "WISE_API_ID, WISE_API_KEY, WISE_APPLICATION_NAME: no WISE_KEY can be made of them; want an API-ID"
                             " without blanks of at most 180 characters, and a name of at most 200");
    return FAULT_OK;
}

struct login {
    struct answer answer;
    char token[WISE_TOKEN_SIZE];
};

static void on_login(void *of, const struct http_response *res)
{
    struct login *login = of;

    login->answer = login_answer(res, login->token, sizeof login->token);
    OPENSSL_cleanse(login->token, sizeof login->token);
}

struct fault wise_check(struct http *http)
{
    struct http_request req = {0};
    struct login login = {0};

    do {
        login_request(&req);
        http_wait(http, url, &req, 15000, on_login, &login);
    } while (login.answer.verdict == AGAIN);
    http_request_free(&req);
    if (login.answer.verdict != DONE)
        return fault_make(login.answer.cause == CAUSE_CREDENTIALS ? FAULT_MISUSE : FAULT_RETRY,
                          "Wise log-in: %s; see WISE_URL, WISE_API_ID, WISE_API_KEY, WISE_APPLICATION_NAME, WISE_USERNAME,"
                          " WISE_PASSWORD",
                          login.answer.reason);
    printf("ok  Wise log-in of staff\n");
    return FAULT_OK;
}

/* ---- patrons' tokens ---- */

struct kept {
    UT_hash_handle hh; /* in the order they were kept */
    int64_t ends;
    char who[2 * WISE_ID_SIZE];
    char token[];
};

static struct kept *tokens;

static struct kept *kept_of(const char *patron, const char *library)
{
    char who[2 * WISE_ID_SIZE];
    struct kept *found;

    snprintf(who, sizeof who, "%s/%s", patron, library);
    HASH_FIND_STR(tokens, who, found);
    return found;
}

static void drop(struct kept *kept)
{
    HASH_DEL(tokens, kept);
    OPENSSL_cleanse(kept->token, strlen(kept->token));
    free(kept);
}

const char *wise_tokens_find(const char *patron, const char *library, int64_t now)
{
    struct kept *kept = kept_of(patron, library);

    if (kept && kept->ends <= now) {
        drop(kept);
        return "";
    }
    return kept ? kept->token : "";
}

void wise_tokens_keep(const char *patron, const char *library, const char *token, int64_t now, int64_t ends)
{
    struct kept *old = kept_of(patron, library);
    size_t size = strlen(token) + 1;

    if (old)
        drop(old);
    while (tokens && (tokens->ends <= now || HASH_COUNT(tokens) >= WISE_TOKENS_MAX))
        drop(tokens);
    struct kept *kept = malloc(sizeof *kept + size);
    if (!kept)
        return; /* it is asked for again */
    kept->ends = ends;
    snprintf(kept->who, sizeof kept->who, "%s/%s", patron, library);
    memcpy(kept->token, token, size);
    HASH_ADD_KEYPTR(hh, tokens, kept->who, (unsigned)strlen(kept->who), kept);
}

void wise_tokens_forget(const char *patron, const char *library, const char *token)
{
    struct kept *kept = kept_of(patron, library);

    if (kept && !strcmp(kept->token, token))
        drop(kept);
}

size_t wise_tokens_count(void)
{
    return HASH_COUNT(tokens);
}

/* ---- a job ---- */

struct fault wise_decode(const char *value, size_t len, void *job)
{
    return request_read(value, len, "wise", &((struct wise_job *)job)->request);
}

int wise_step(const void *job) { return ((const struct wise_job *)job)->step; }

bool wise_job_asked(struct wise_job *job, struct answer *ret)
{
    struct fault f = wise_asked_read(&job->request, &job->asked);

    if (!f.kind)
        return true;
    *ret = wise_say(job, answer_make(REJECTED, CAUSE_WORK, "bad_request", "%s", f.what));
    return false;
}

void wise_go(struct wise_job *job, int step)
{
    text_copy(job->token, sizeof job->token, wise_tokens_find(job->request.patron, job->asked.library, time(NULL)));
    job->fresh = false;
    job->then = step;
    job->step = job->token[0] ? step : WISE_TOKEN;
    spelling_begin(&job->spelling);
}

bool wise_job_request(const struct wise_job *job, struct http_request *req, const char *staff_token,
                      struct wise_session *ret_session)
{
    *ret_session = session_with(job->step == WISE_TOKEN ? staff_token : job->token, job->spelling.now);
    if (job->step != WISE_TOKEN)
        return false;
    wise_proxy_login_request(req, ret_session, job->request.patron, job->asked.library);
    return true;
}

struct answer wise_token_answer(struct wise_job *job, const struct http_response *res)
{
    static bool may_act; /* Wise has let us act for somebody */
    struct wise_login login;
    struct answer a = wise_proxy_login_answer(res, &job->spelling, &login);

    may_act = may_act || a.verdict == DONE;
    spelling_learn(&job->spelling, res);
    if (a.verdict == DONE && ends_of(res) <= time(NULL)) {
        a = day_ends();
    } else if (a.verdict == DONE) {
        wise_tokens_keep(job->request.patron, job->asked.library, login.token, time(NULL), ends_of(res));
        spelling_begin(&job->spelling);
        text_copy(job->token, sizeof job->token, login.token);
        job->step = job->then;
        job->fresh = true;
        a = answer_make(AGAIN, CAUSE_WORK, "patron_logged_in", "%s", "");
    } else if (a.cause == CAUSE_CREDENTIALS && may_act) {
        a.cause = CAUSE_VENDOR; /* it is this patron's: the others need not wait */
    }
    OPENSSL_cleanse(&login, sizeof login);
    return a;
}

struct answer wise_job_answer(struct wise_job *job, const struct http_response *res, struct answer a)
{
    spelling_learn(&job->spelling, res);
    if (a.cause != CAUSE_TOKEN)
        return a;
    bool fresh = job->fresh;
    wise_tokens_forget(job->request.patron, job->asked.library, job->token);
    wise_go(job, job->step);
    if (fresh)
        return answer_make(LATER, CAUSE_VENDOR, "token_refused",
                           "Wise refuses a token it has just given: is this computer's clock right?");
    return answer_make(AGAIN, CAUSE_WORK, "token_refused", "%s", a.reason);
}

struct answer wise_say(struct wise_job *job, struct answer a)
{
    text_copy(job->request.words, sizeof job->request.words, a.reason);
    return a;
}

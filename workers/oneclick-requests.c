/*
 * oneclick-requests - what a patron asks of OneClick: loans, holds, magazines, downloads, the search.
 *   in    oneclick.requests  key patron   schemas/oneclick.requests.schema.json
 *   call  who the patron is     GET rpc/…/patrons/{card}, by e-mail; where the request says `create`: POST patrons
 *         checkout              POST   …/checkouts/{isbn}
 *         renew                 GET …/checkouts, PUT …/checkouts/{isbn}, GET …/checkouts
 *         return                DELETE …/checkouts/{isbn}
 *         hold                  GET media/{isbn}/availability, POST …/holds/{isbn}, later GET …/holds and …/checkouts
 *         cancel_hold           DELETE …/holds/{isbn}
 *         loans, holds, magazine_checkout, magazine_return, magazine_history, search    one call each
 *         download              GET …/checkouts, POST tokens, GET the file's link
 *   row   requests(request_id), oneclick_patrons(library, card), titles(isbn).available
 *   out   nothing
 *
 * A patron is named by library card, e-mail or OneClick's user name. OneClick's own number is found first and remembered.
 *
 * After a call of which nobody knows what came of it, lists decide, once its deadline has passed: a loan, a hold, an issue is
 * there or is not, a renewed loan ends later. Only what is not done is sent again; a return at once, as a second one is refused
 * and means the same. A patron whose creation was lost is found by card or e-mail. A renewal that OneClick counts from today,
 * and that ends on the same day as before, cannot be seen: it is sent again.
 *
 * A hold on what is available becomes a loan, "a bit later" (document 000): the request is `waiting` for "loan" meanwhile, its
 * outcome says {"hold":…}, and both lists are looked at: first after ONECLICK_FOLLOW_SECONDS, then whenever it is twice as old,
 * hourly at last. After ONECLICK_FOLLOW_HOURS it is done as a hold.
 *
 * outcome (oneclick_request.h has what is in a loan and a hold) and codes of
 *   checkout           {"loan":…}: borrowed, already (the patron had it, with OneClick's own day)
 *                      refused: not_available, {"offer":"hold"} (and titles.available is false from then on), limit
 *   renew              {"loan":…}: renewed; {"isbn"} where it has ended meanwhile. refused: not_on_loan, not_renewable
 *   return             {"isbn"}: returned, not_on_loan (it was not)
 *   loans, holds       {"loans":[…]}, {"holds":[…]}: listed
 *   hold               {"hold":…}: held, already; {"loan":…}: loan (of a hold that became one), already
 *                      refused: limit, hold_gone (no hold any more, and no loan)
 *   cancel_hold        {"isbn"}: cancelled, not_held (it was not)
 *   search             oneclick_put_result: found
 *   magazine_checkout, magazine_return   {"issue"}: borrowed, returned, already
 *   magazine_history   {"issues":[…]}: listed, those checked out, 1,000 at most
 *   download           {"isbn","file","type","url","until"}: access; the link lives for a quarter of an hour
 *                      asks: which_file, {"files":[…]}. refused: not_on_loan, no_such_file, no_link, no_bearer
 *   all                refused: no_patron, not_in_library, bad_input, bad_request (words name the member), refused (OneClick's
 *                      words), and of a patron to be made: no_card, no_email, other_card, patron_exists
 */
#include "common/json.h"
#include "common/oneclick.h"
#include "common/scoped.h"
#include "workers/oneclick-requests/job.h"

#include <string.h>

static struct terms terms;

static const struct setting settings[] = {
    {"ONECLICK_DEFAULT_DAYS", SET_WHOLE, "7", .least = 1, .most = ONECLICK_DAYS_MOST, .to = &terms.default_days,
     .help = "days of a loan for which a request does not say; no number makes a loan longer than the library's own"},
    {"ONECLICK_EMAIL", SET_TEXT, NULL, .to = &terms.email,
     .help = "an address of the library, of which patrons without an e-mail get one: library@example.edu makes "
             "library+rbdigital-CARD@example.edu; without it they are not made"},
    {"ONECLICK_FOLLOW_SECONDS", SET_WHOLE, "30", .least = 1, .most = 3600, .to = &terms.follow_seconds,
     .help = "how soon a hold on an available title is first looked at: has it become a loan?"},
    {"ONECLICK_FOLLOW_HOURS", SET_WHOLE, "24", .least = 1, .most = 720, .to = &terms.follow_hours,
     .help = "how long it is looked at; then it is a hold like others"},
    {0}};

static struct fault settled(void)
{
    char made[ONECLICK_EMAIL_SIZE];

    TRY(oneclick_settled());
    if (terms.email && !oneclick_made_email(terms.email, "23333000123456", made))
        return FAULT(MISUSE, "ONECLICK_EMAIL: want an e-mail address");
    return FAULT_OK;
}

static struct fault decode(const char *value, size_t len, void *ret_job)
{
    return request_read(value, len, "oneclick", &((struct job *)ret_job)->request);
}

static void release(void *of)
{
    struct job *job = of;

    json_object_put(job->rows);
    text_free(&job->target);
    request_release(of);
}

static int step(const void *job) { return (int)((const struct job *)job)->step; }

/* ---- what is known already ---- */

enum { L_PATRON_ID = 8, L_USER_ID }; /* behind request_look_sql's */

static char look_sql[1024];

static void compose_look(void)
{
    snprintf(look_sql, sizeof look_sql,
             "SELECT l.*, p.patron_id, p.user_id FROM (%s) AS l JOIN asked b ON b.ord = l.ord"
             " LEFT JOIN requests q ON q.request_id = b.request_id::uuid"
             " LEFT JOIN oneclick_patrons p ON p.library = b.library AND p.card = q.patron", request_look_sql);
}

static void look_put(const void *of, struct db_columns *c)
{
    request_look_put(of, c);
    db_put(c, oneclick_library);
}

/* What an earlier try had in hand is not this one's. */
static void begin(struct job *job, const struct look_row *row, enum prior prior)
{
    json_object_put(job->rows);
    job->rows = NULL;
    job->terms = &terms;
    job->doubt = prior != PRIOR_NONE;
    job->person = (struct oneclick_person){0};
    text_copy(job->person.patron_id, sizeof job->person.patron_id, look_text(row, L_PATRON_ID));
    text_copy(job->person.user_id, sizeof job->person.user_id, look_text(row, L_USER_ID));
    job->remembered = job->person.patron_id[0];
    job->forget = job->wants_user_id = job->exists = job->available = job->lent_out = job->bearer_again = false;
    job->bearer[0] = job->file[0] = '\0';
}

static enum look_end looked(void *of, const struct look_row *row, enum prior prior, struct answer *ret)
{
    struct job *job = of;

    if (request_looked(&job->request, row, ret) == LOOK_DROP)
        return LOOK_DROP;
    struct fault f = oneclick_asked_read(&job->request, &job->asked);
    if (f.kind) {
        *ret = job_refuse(job, "bad_request", f.what, f.what);
        return LOOK_ANSWER;
    }
    if (prior == PRIOR_FORGOTTEN && job->asked.action == ONECLICK_RENEW && !json_get(job->request.known, "renew")) {
        *ret = request_forgotten(); /* until when the loan was, nobody knows any more */
        return LOOK_ANSWER;
    }
    begin(job, row, prior);
    person_begin(job);
    person_ask(job);
    return LOOK_CALL;
}

/* ---- the calls ---- */

static const char *const call_names[] = {
    [FIND] = "findPatron", [FIND_BY_EMAIL] = "findPatronByEmail", [READ_PATRON] = "readPatron", [CREATE] = "createPatron",
    [LOANS] = "listLoans", [HOLDS] = "listHolds", [AVAILABLE] = "availability", [CHECKOUT] = "checkout", [RENEW] = "renew",
    [RETURN] = "return", [HOLD] = "hold", [CANCEL] = "cancelHold", [MAGAZINE] = "magazineCheckout",
    [MAGAZINE_RETURN] = "magazineReturn", [HISTORY] = "magazineHistory", [BEARER] = "patronBearer", [DOWNLOAD] = "download",
    [SEARCH] = "search",
};

static void request(const void *of, struct http_request *req, const char *token)
{
    const struct job *job = of;
    const struct oneclick_door door = {oneclick_library, oneclick_token};
    const char *patron = job->person.patron_id, *isbn = job->asked.isbn;
    int days = job->asked.days ? job->asked.days : (int)terms.default_days;
    struct oneclick_newcomer newcomer = person_newcomer(job);

    (void)token;
    switch (job->step) {
    case FIND: oneclick_find_request(req, &door, job->request.patron); break;
    case FIND_BY_EMAIL: oneclick_find_request(req, &door, job->email); break;
    case READ_PATRON: oneclick_patron_request(req, &door, patron); break;
    case CREATE: oneclick_create_request(req, &door, &newcomer); break;
    case LOANS: oneclick_loans_request(req, &door, patron); break;
    case HOLDS: oneclick_holds_request(req, &door, patron); break;
    case AVAILABLE: oneclick_available_request(req, &door, isbn); break;
    case CHECKOUT: oneclick_checkout_request(req, &door, patron, isbn, days); break;
    case RENEW: oneclick_renew_request(req, &door, patron, isbn, days); break;
    case RETURN: oneclick_return_request(req, &door, patron, isbn); break;
    case HOLD: oneclick_hold_request(req, &door, patron, isbn); break;
    case CANCEL: oneclick_cancel_request(req, &door, patron, isbn); break;
    case MAGAZINE: oneclick_magazine_request(req, &door, "POST", patron, job->asked.issue); break;
    case MAGAZINE_RETURN: oneclick_magazine_request(req, &door, "DELETE", patron, job->asked.issue); break;
    case HISTORY: oneclick_history_request(req, &door, patron, job->page); break;
    case BEARER: oneclick_bearer_request(req, &door, job->person.user_id); break;
    case DOWNLOAD: oneclick_download_request(req, text_str(&job->target), job->bearer); break;
    default: oneclick_search_request(req, &door, &job->asked.query); break;
    }
}

static struct answer interpret(void *of, const struct http_response *res)
{
    struct job *job = of;

    return job->step <= CREATE ? person_answer(job, res) : action_answer(job, res);
}

/* ---- the outcome ---- */

enum { RECORD_COLUMNS = REQUEST_RECORD_COLUMNS + 6 };

/* Behind request_record_sql's parameters. Who somebody is changes hardly ever: it is written once, and once a day of use. */
static const char record_more[] =
    "WITH mine AS MATERIALIZED (SELECT s.* FROM unnest($9::text[], $10::text[], $11::text[], $12::text[], $13::bool[], $14::text[])"
    " AS s(library, card, patron_id, user_id, forget, isbn)),"
    "people AS (INSERT INTO oneclick_patrons AS p (library, card, patron_id, user_id)"
    " SELECT DISTINCT ON (library, card) library, card, patron_id, user_id FROM mine WHERE patron_id IS NOT NULL ORDER BY library, card"
    " ON CONFLICT (library, card) DO UPDATE SET patron_id = excluded.patron_id, used_at = clock_timestamp(),"
    " user_id = coalesce(excluded.user_id, CASE WHEN p.patron_id = excluded.patron_id THEN p.user_id END),"
    " found_at = CASE WHEN p.patron_id = excluded.patron_id THEN p.found_at ELSE clock_timestamp() END"
    " WHERE p.patron_id <> excluded.patron_id OR excluded.user_id IS DISTINCT FROM p.user_id"
    " OR p.used_at < clock_timestamp() - interval '1 day'),"
    "forgotten AS (DELETE FROM oneclick_patrons p USING mine m WHERE p.library = m.library AND p.card = m.card AND m.forget),"
    "lent AS (UPDATE titles t SET available = false, available_as_of = greatest(t.available_as_of, clock_timestamp()),"
    " changed_at = clock_timestamp() FROM mine m WHERE t.isbn = m.isbn AND t.isbn = ANY ($14::text[]) AND t.owned"
    " AND t.available IS DISTINCT FROM false),";

static char record_sql[4096];

/* request_record_sql begins with a WITH of its own, which goes on with ours. */
static void compose_record(void)
{
    snprintf(record_sql, sizeof record_sql, "%s%s", record_more, request_record_sql + strlen("WITH "));
}

static void record_put(const void *of, const struct answer *a, struct db_columns *c)
{
    const struct job *job = of;

    request_record_put(of, a, c);
    db_put(c, oneclick_library);
    db_put(c, job->request.patron);
    db_put_opt(c, job->person.patron_id);
    db_put_opt(c, job->person.user_id);
    db_put_bool(c, job->forget && !job->person.patron_id[0]);
    db_put_opt(c, job->lent_out ? job->asked.isbn : "");
}

static const struct setting *const tables[] = {oneclick_settings, oneclick_call_settings, settings, NULL};

static const struct stage oneclick_requests = {
    .name = "oneclick-requests", .consumes = "oneclick.requests",
    .about = "carries out what patrons ask of OneClick: loans, holds, magazines, downloads, the search",
    .vendor = &oneclick, .tables = tables, .call = CALL_ASKABLE, .patient = true, .call_names = call_names,
    .changes = 1u << CREATE | 1u << CHECKOUT | 1u << RENEW | 1u << RETURN | 1u << HOLD | 1u << CANCEL | 1u << MAGAZINE |
               1u << MAGAZINE_RETURN,
    .job_size = sizeof(struct job), .concurrency = "4", .timeout_ms = &oneclick_timeout_ms, .settled = settled,
    .check = oneclick_check,
    .decode = decode, .release = release, .key = request_key, .subject = request_subject, .step = step,
    .look_names = "request_id, library", .look_columns = 2, .look_sql = look_sql, .look_put = look_put, .looked = looked,
    .request = request, .answer = interpret,
    .record_columns = RECORD_COLUMNS, .record_sql = record_sql, .record_put = record_put,
};

int main(int argc, char **argv)
{
    compose_look();
    compose_record();
    return stage_main(&oneclick_requests, argc, argv);
}

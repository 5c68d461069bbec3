/*
 * bookings-new - find out in Alma who booked: one vendor call a person and day, or none.
 *   in    bookings.new   key asked id     schemas/bookings.new.schema.json
 *   call  GET /almaws/v1/users/{id}       changes nothing; with the next key only after "not found here"
 *   row   asked_ids(asked_id), users(primary_id); appts(appt_id) when the person may not enter
 *   out   users.resolve  key primary id   schemas/users.resolve.schema.json
 *
 * "No active card", "no such person", "expired" are answers: they stand in `appts` and on the desk, and the producer
 * sends the window again when its time has come (ALMA_RECHECK_MINUTES).
 */
#include "common/booking.h"
#include "common/access.h"
#include "common/person.h"
#include "common/scoped.h"
#include "common/stage.h"
#include "common/vendors/alma.h"

#include <stdio.h>
#include <string.h>

static const char *alma_url;
static struct setting_list alma_keys;
static double calls_per_second;
static int64_t calls_left_min, timeout_ms, remember_hours, recheck_minutes;

static const struct setting settings[] = {
    {"ALMA_URL", SET_URL, NULL, .required = true, .to = &alma_url,
     .help = "root of Alma's API, before /almaws/v1: https://api-na.hosted.exlibrisgroup.com"},
    {"ALMA_API_KEYS", SET_LIST, NULL, .required = true, .secret = true, .most = ACCESS_ACCOUNTS_MAX, .to = &alma_keys,
     .help = "API keys with read access to users, comma separated: one institution zone each, asked in this order"},
    {"ALMA_CALLS_PER_SECOND", SET_NUMBER, "10", .least = 0.01, .most = 1000, .to = &calls_per_second,
     .help = "share of the institution's 25 calls a second that all workers together may use, per key"},
    {"ALMA_CALLS_LEFT_MIN", SET_WHOLE, "1000", .least = 0, .most = 1e9, .to = &calls_left_min,
     .help = "calls of the day to leave to other programs"},
    {"ALMA_TIMEOUT_MS", SET_WHOLE, "20000", .least = 100, .most = 600000, .to = &timeout_ms,
     .help = "how long an answer may take, milliseconds; Alma has been seen to take 8 s"},
    {"ALMA_REMEMBER_HOURS", SET_WHOLE, "12", .least = 0, .most = 8760, .to = &remember_hours,
     .help = "how long what Alma said of a person with a card is believed without asking again"},
    {"ALMA_RECHECK_MINUTES", SET_WHOLE, "60", .least = 1, .most = 10080, .to = &recheck_minutes,
     .help = "when a person without a card, unknown, expired or blocked is asked for again"},
    {0}};

enum { NO_CARD_BELIEVED_S = 60 }; /* several windows of one person without a card come together: Alma is asked once */

static const char *root_of(void) { return alma_url; }
static int key_count(void) { return alma_keys.count; }
static const char *key_at(int account) { return alma_keys.items[account]; }

static const struct vendor alma = {
    .name = "alma", .root = root_of, .calls_per_second = &calls_per_second, .calls_left_min = &calls_left_min,
    .calls_left = alma_calls_left, .account_count = key_count, .account_key = key_at,
};

struct job {
    struct booking booking;
    int key;            /* which of ALMA_API_KEYS is being asked */
    unsigned keys_as_of; /* settings_changes: of other keys the first is asked again */
    char day[11];       /* of the visit, local */
    char email[129];    /* of the booking, lower case; "" */
    struct alma_user user;
    bool asked;         /* Alma was: what it said is to be written */
    struct person_flags flags;
};

static struct fault decode(const char *value, size_t len, void *ret_job)
{
    struct job *job = ret_job;

    return booking_read(value, len, false, &job->booking);
}

static const char *key(const void *job) { return ((const struct job *)job)->booking.asked_id; }
static const char *subject(const void *job) { return ((const struct job *)job)->booking.appt_id; }

/* There may be fewer than when it was looked up. */
static int account(const void *of)
{
    const struct job *job = of;

    return job->key < alma_keys.count ? job->key : 0;
}

/* ---- what is known already ---- */

enum { L_ORD, L_KNOWN, L_LIVE, L_ANSWERED, L_DAY, L_EMAIL, L_PRIMARY, L_AGE, L_BARCODE, L_EXPIRY, L_STATUS, L_BLOCKED, L_EMAILS, L_MATCHES,
       L_PAUSED };

static const char look_sql[] =
    "SELECT a.ord, p.appt_id IS NOT NULL,"
    " p.wanted AND p.prereg_id IS NULL AND p.ends_at > clock_timestamp() AND p.answer IS DISTINCT FROM 'unknown' AND p.answer IS DISTINCT FROM 'refused_by_desk',"
    " p.answer IS NOT NULL, to_char(p.starts_at + p.offset_s * interval '1 second', 'YYYY-MM-DD'), p.email,"
    " u.primary_id, extract(epoch FROM clock_timestamp() - u.checked_at)::bigint, u.barcode, u.expiry_date, u.status, u.blocked,"
    " cardinality(u.emails) > 0, p.email = ANY (u.emails), h.pause_id IS NOT NULL"
    " FROM asked a LEFT JOIN appts p ON p.appt_id = a.appt_id::uuid"
    " LEFT JOIN pauses h ON h.what = 'location' AND h.name = p.location_id AND h.ended_at IS NULL"
    " LEFT JOIN asked_ids i ON i.asked_id = a.asked_id LEFT JOIN users u ON u.primary_id = i.primary_id";

static void look_put(const void *of, struct db_columns *c)
{
    const struct job *job = of;

    db_put(c, job->booking.appt_id);
    db_put(c, job->booking.asked_id);
}

static enum look_end looked(void *of, const struct look_row *row, enum prior prior, struct answer *ret)
{
    struct job *job = of;

    (void)prior;
    if (!look_true(row, L_LIVE)) {
        *ret = answer_make(DONE, CAUSE_WORK, look_true(row, L_KNOWN) ? "not_wanted" : "no_row", "%s", "");
        return LOOK_DROP;
    }
    if (look_true(row, L_PAUSED))
        return LOOK_WAIT;
    job->key = 0;
    job->keys_as_of = settings_changes;
    job->asked = false;
    text_copy(job->day, sizeof job->day, look_text(row, L_DAY));
    text_copy(job->email, sizeof job->email, look_text(row, L_EMAIL));
    if (look_null(row, L_PRIMARY) || look_null(row, L_AGE))
        return LOOK_CALL;
    int64_t age_s = atoll(look_text(row, L_AGE));
    if (age_s > (look_null(row, L_BARCODE) ? NO_CARD_BELIEVED_S : remember_hours * 3600))
        return LOOK_CALL;
    struct person person = {.barcode = look_text(row, L_BARCODE), .expiry_date = look_text(row, L_EXPIRY),
                            .status = look_text(row, L_STATUS), .blocked = look_true(row, L_BLOCKED),
                            .email_known = *job->email && look_true(row, L_EMAILS), .email_matches = look_true(row, L_MATCHES)};
    *ret = person_may_enter_by_settings(&person, job->day, &job->flags);
    text_copy(job->booking.primary_id, sizeof job->booking.primary_id, look_text(row, L_PRIMARY));
    bool quiet = ret->verdict == DONE && !look_true(row, L_ANSWERED) && !job->flags.email && !job->flags.expired && !job->flags.blocked;
    return quiet ? LOOK_ON : LOOK_ANSWER;
}

/* ---- asking Alma ---- */

static void request(const void *of, struct http_request *req, const char *token)
{
    const struct job *job = of;

    (void)token;
    alma_user_request(req, job->booking.asked_id, alma_keys.items[account(job)]);
}

static struct answer judge(struct job *job)
{
    struct person person = {.barcode = job->user.barcode, .expiry_date = job->user.expiry_date, .status = job->user.status,
                            .blocked = job->user.blocked, .email_known = *job->email && job->user.email_count};
    static struct text written;
    struct booking again;

    for (size_t i = 0; i < job->user.email_count; i++)
        person.email_matches |= !strcmp(job->user.emails[i], job->email);
    text_copy(job->booking.primary_id, sizeof job->booking.primary_id, job->user.primary_id);
    text_clear(&written);
    booking_write(&written, &job->booking);
    struct fault f = booking_read(text_str(&written), written.len, true, &again);
    if (f.kind) /* the next stage would not read it */
        return answer_make(REJECTED, CAUSE_WORK, "bad_primary_id", "Alma's primary id of this person cannot be used: %.100s", f.what);
    job->asked = true;
    return person_may_enter_by_settings(&person, job->day, &job->flags);
}

static struct answer interpret(void *of, const struct http_response *res)
{
    struct job *job = of;
    struct answer a = alma_user_answer(res, &job->user);

    if (a.verdict == DONE)
        return judge(job);
    if (a.verdict == REJECTED && !strcmp(a.code, "not_found")) {
        bool others = job->keys_as_of != settings_changes;
        if (others || job->key + 1 < alma_keys.count) {
            job->key = others ? 0 : job->key + 1;
            job->keys_as_of = settings_changes;
            a.verdict = AGAIN;
            return a;
        }
        return answer_make(REJECTED, CAUSE_WORK, "unknown_id", "Alma knows nobody with the id on the form; asked again later");
    }
    return a;
}

/* ---- the outcome ---- */

static const char record_sql[] =
    "WITH said AS MATERIALIZED (SELECT s.* FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::bool[], $7::text[],"
    " $8::text[], $9::text[], $10::text[], $11::text[], $12::text[], $13::text[], $14::text[], $15::text[], $16::bool[], $17::text[], $18::int[])"
    " AS s(appt_id, asked_id, verdict, code, reason, asked, primary_id, barcode, user_group, group_desc, first_name, last_name,"
    " emails, expiry, status, blocked, flags, retry_s)),"
    /* who was erased while Alma was asked does not come back */
    "kept AS MATERIALIZED (SELECT appt_id FROM appts WHERE appt_id = ANY ($1::text[]::uuid[]) AND erased_at IS NULL),"
    "people AS (INSERT INTO users AS u (primary_id, barcode, user_group, group_desc, first_name, last_name, emails, expiry_date, status, blocked, checked_at)"
    " SELECT DISTINCT ON (primary_id) primary_id, barcode, user_group, group_desc, first_name, last_name, emails::text[], expiry::date, status, blocked, clock_timestamp()"
    " FROM said WHERE asked AND appt_id::uuid IN (SELECT appt_id FROM kept) ORDER BY primary_id"
    " ON CONFLICT (primary_id) DO UPDATE SET barcode = excluded.barcode, user_group = excluded.user_group, group_desc = excluded.group_desc,"
    " first_name = excluded.first_name, last_name = excluded.last_name, emails = excluded.emails, expiry_date = excluded.expiry_date,"
    " status = excluded.status, blocked = excluded.blocked, checked_at = excluded.checked_at),"
    "ids AS (INSERT INTO asked_ids (asked_id, primary_id) SELECT DISTINCT ON (asked_id) asked_id, primary_id FROM said WHERE asked"
    " AND appt_id::uuid IN (SELECT appt_id FROM kept) ORDER BY asked_id"
    " ON CONFLICT (asked_id) DO UPDATE SET primary_id = excluded.primary_id, checked_at = clock_timestamp()),"
    "windows AS (UPDATE appts p SET answer = CASE s.verdict WHEN 'done' THEN NULL WHEN 'dead' THEN 'set_aside' ELSE s.code END,"
    " reason = CASE s.verdict WHEN 'done' THEN NULL ELSE s.reason END, answered_at = clock_timestamp(),"
    " retry_at = CASE s.verdict WHEN 'rejected' THEN clock_timestamp() + s.retry_s * interval '1 second' END"
    " FROM said s WHERE p.appt_id = s.appt_id::uuid AND p.appt_id = ANY ($1::text[]::uuid[]) AND p.prereg_id IS NULL AND p.answer IS DISTINCT FROM 'unknown'"
    " AND (s.verdict IN ('rejected', 'dead') OR s.verdict = 'done' AND p.answer IS NOT NULL)),"
    "mended AS (UPDATE desk d SET closed_at = clock_timestamp(), closed_by = 'shelfwire' FROM said s"
    " WHERE d.subject = s.appt_id AND d.subject = ANY ($1::text[]) AND d.closed_at IS NULL AND s.verdict = 'done' AND d.kind IN ('email_differs', 'expired', 'blocked')"
    " AND d.kind <> ALL (string_to_array(s.flags, ',')))"
    "SELECT count(desk_say(f.kind, s.appt_id, CASE f.kind WHEN 'email_differs' THEN 'the booking''s e-mail is none of this person''s in Alma'"
    " WHEN 'blocked' THEN 'the account in Alma has an active block' ELSE 'the account in Alma has expired by the day of the visit, or is not active' END, p.starts_at))"
    " FROM said s CROSS JOIN LATERAL unnest(string_to_array(s.flags, ',')) AS f(kind) JOIN appts p ON p.appt_id = s.appt_id::uuid AND p.appt_id = ANY ($1::text[]::uuid[])"
    " WHERE s.verdict = 'done' AND f.kind <> ''";

/* A text[] literal inside a text: an array of arrays would want equal lengths. */
static const char *emails_literal(const struct alma_user *user)
{
    static struct text literal;

    text_clear(&literal);
    text_putc(&literal, '{');
    for (size_t i = 0; i < user->email_count; i++) {
        text_puts(&literal, i ? ",\"" : "\"");
        for (const char *c = user->emails[i]; *c; c++) {
            if (*c == '"' || *c == '\\')
                text_putc(&literal, '\\');
            text_putc(&literal, *c);
        }
        text_putc(&literal, '"');
    }
    text_putc(&literal, '}');
    return text_str(&literal);
}

static void record_put(const void *of, const struct answer *a, struct db_columns *c)
{
    const struct job *job = of;
    const struct alma_user *user = &job->user;
    char flags[64];

    snprintf(flags, sizeof flags, "%s,%s,%s", job->flags.email ? "email_differs" : "", job->flags.expired ? "expired" : "",
             job->flags.blocked ? "blocked" : "");
    db_put(c, job->booking.appt_id);
    db_put(c, job->booking.asked_id);
    db_put(c, verdict_name(a->verdict));
    db_put(c, a->code);
    db_put(c, a->reason);
    db_put_bool(c, job->asked);
    db_put_opt(c, job->asked ? user->primary_id : "");
    db_put_opt(c, user->barcode);
    db_put_opt(c, user->group);
    db_put_opt(c, user->group_desc);
    db_put_opt(c, user->first_name);
    db_put_opt(c, user->last_name);
    db_put(c, emails_literal(user));
    db_put_opt(c, user->expiry_date);
    db_put_opt(c, user->status);
    db_put_bool(c, user->blocked);
    db_put(c, flags);
    db_put_int(c, recheck_minutes * 60);
}

static void onward(const void *of, struct text *ret_key, struct text *ret_value)
{
    const struct job *job = of;

    text_puts(ret_key, job->booking.primary_id);
    booking_write(ret_value, &job->booking);
}

/* ---- --check ---- */

static void on_test(void *of, const struct http_response *res)
{
    *(struct answer *)of = alma_test_answer(res);
}

static struct fault check(struct http *http)
{
    struct http_request req = {0};
    struct fault f = FAULT_OK;

    for (int i = 0; i < alma_keys.count && !f.kind; i++) {
        struct answer a;
        alma_test_request(&req, alma_keys.items[i]);
        http_wait(http, alma_url, &req, (int)timeout_ms, on_test, &a);
        if (a.verdict == DONE)
            printf("ok  Alma takes key %d of ALMA_API_KEYS\n", i + 1);
        else
            f = fault_make(a.cause == CAUSE_CREDENTIALS ? FAULT_MISUSE : FAULT_RETRY, "key %d of ALMA_API_KEYS: %s; see ALMA_URL",
                           i + 1, a.reason);
    }
    http_request_free(&req);
    return f;
}

static const struct setting *const tables[] = {settings, person_settings, NULL};
static const char *const call_names[] = {"getUser"};

static const struct stage bookings_new = {
    .name = "bookings-new", .consumes = "bookings.new", .produces = "users.resolve",
    .about = "asks Alma who booked, and whether they may enter",
    .vendor = &alma, .tables = tables, .call = CALL_READS, .call_names = call_names, .job_size = sizeof(struct job),
    .concurrency = "10", .timeout_ms = &timeout_ms, .check = check,
    .decode = decode, .key = key, .subject = subject,
    .look_names = "appt_id, asked_id", .look_columns = 2, .look_sql = look_sql, .look_put = look_put, .looked = looked,
    .account = account, .request = request, .answer = interpret,
    .record_columns = 18, .record_sql = record_sql, .record_put = record_put, .onward = onward,
};

int main(int argc, char **argv)
{
    return stage_main(&bookings_new, argc, argv);
}

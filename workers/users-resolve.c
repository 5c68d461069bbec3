/*
 * users-resolve - make sure the gate knows the person: a PassagePoint visitor for the active card.
 *   in    users.resolve  key primary id   schemas/users.resolve.schema.json
 *   call  POST person/createVisitor       the gate refuses a second one with the same card; then, and after a lost
 *         GET  person/byUniqueId          answer, the visitor is looked up by the card
 *   row   users(primary_id).visitor_id
 *   out   prereg.create  key primary id   schemas/prereg.create.schema.json
 *
 * A new card is a new visitor, and so is one the gate has forgotten: windows that were made for the old one go to the desk
 * to be withdrawn, and are made again.
 * Names and e-mail are Alma's, not the form's, which anybody can fill in.
 */
#include "common/booking.h"
#include "common/gate.h"
#include "common/json.h"
#include "common/scoped.h"
#include "common/vendors/passagepoint.h"

#include <string.h>

static struct json_object *categories;
static int64_t timeout_ms;

static const struct setting settings[] = {
    {"PASSAGEPOINT_CATEGORIES", SET_JSON, NULL, .required = true, .to = &categories,
     .help = "JSON object: Alma's user group (value or description) to visitor category, \"*\" for the rest: {\"UGRD\": \"Student\", \"*\": \"Visitor\"}"},
    {"PASSAGEPOINT_TIMEOUT_MS", SET_WHOLE, "20000", .least = 100, .most = 600000, .to = &timeout_ms,
     .help = "how long an answer may take, milliseconds"},
    {0}};

enum step { CREATE, ASK };

struct job {
    struct booking booking; /* first: see gate.h */
    enum step step;
    bool refused_second; /* the gate says it has one with this card */
    char barcode[65], first_name[129], last_name[129], email[129];
    const char *category; /* in the settings */
    char visitor_id[PASSAGEPOINT_ID_SIZE];
};

static int step(const void *job) { return (int)((const struct job *)job)->step; }

enum { L_ORD, L_WORK, L_WANTS, L_KNOWN, L_LIVE, L_BARCODE, L_THERE, L_FIRST, L_LAST, L_EMAIL, L_GROUP, L_DESC, L_PAUSED };

static const char look_sql[] =
    /* the card names the work, and is not to be read in the history */
    "SELECT a.ord, encode(sha256(convert_to(coalesce(u.barcode, a.primary_id), 'UTF8')), 'hex') AS work_id,"
    " coalesce(p.wanted AND p.prereg_id IS NULL AND p.ends_at > clock_timestamp() AND p.answer IS DISTINCT FROM 'unknown' AND p.answer IS DISTINCT FROM 'refused_by_desk'"
    " AND u.barcode IS NOT NULL AND (u.visitor_id IS NULL OR u.visitor_barcode IS DISTINCT FROM u.barcode) AND h.pause_id IS NULL, false) AS wants,"
    " p.appt_id IS NOT NULL AS known,"
    " p.wanted AND p.prereg_id IS NULL AND p.ends_at > clock_timestamp() AND p.answer IS DISTINCT FROM 'unknown' AND p.answer IS DISTINCT FROM 'refused_by_desk' AS live,"
    " u.barcode, u.visitor_id IS NOT NULL AND u.visitor_barcode = u.barcode AS there, u.first_name, u.last_name,"
    " coalesce(u.emails[1], p.email) AS email, u.user_group, u.group_desc, h.pause_id IS NOT NULL AS paused"
    " FROM asked a LEFT JOIN appts p ON p.appt_id = a.appt_id::uuid"
    " LEFT JOIN pauses h ON h.what = 'location' AND h.name = p.location_id AND h.ended_at IS NULL LEFT JOIN users u ON u.primary_id = a.primary_id";

static enum look_end looked(void *of, const struct look_row *row, enum prior prior, struct answer *ret)
{
    struct job *job = of;

    if (!look_true(row, L_LIVE)) {
        *ret = answer_make(DONE, CAUSE_WORK, look_true(row, L_KNOWN) ? "not_wanted" : "no_row", "%s", "");
        return LOOK_DROP;
    }
    if (look_true(row, L_PAUSED))
        return LOOK_WAIT;
    if (look_true(row, L_THERE))
        return LOOK_ON;
    if (look_null(row, L_BARCODE)) {
        *ret = answer_make(REJECTED, CAUSE_WORK, "no_card", "no active card in Alma any more; asked again later");
        return LOOK_ANSWER;
    }
    text_copy(job->barcode, sizeof job->barcode, look_text(row, L_BARCODE));
    text_copy(job->first_name, sizeof job->first_name, look_text(row, L_FIRST));
    text_copy(job->last_name, sizeof job->last_name, look_text(row, L_LAST));
    text_copy(job->email, sizeof job->email, look_text(row, L_EMAIL));
    job->category = json_str(categories, look_text(row, L_GROUP));
    if (!job->category)
        job->category = settings_map(categories, look_text(row, L_DESC));
    if (!job->category) {
        *ret = answer_make(REJECTED, CAUSE_WORK, "no_category", "Alma's group \"%.60s\" has no category: add it, or \"*\", to PASSAGEPOINT_CATEGORIES",
                           look_text(row, L_GROUP));
        return LOOK_ANSWER;
    }
    if (!*job->last_name || !*job->first_name) /* the gate wants both */
        text_copy(*job->last_name ? job->first_name : job->last_name, sizeof job->last_name, "-");
    job->step = prior != PRIOR_NONE ? ASK : CREATE;
    job->refused_second = false;
    return LOOK_CALL;
}

static struct passagepoint_visitor visitor_of(const struct job *job)
{
    return (struct passagepoint_visitor){.category = job->category, .first_name = job->first_name, .last_name = job->last_name,
                                         .email = job->email, .barcode = job->barcode, .university_id = job->booking.primary_id};
}

static void request(const void *of, struct http_request *req, const char *token)
{
    const struct job *job = of;
    struct passagepoint_visitor visitor = visitor_of(job);

    if (job->step == ASK)
        passagepoint_by_unique_id_request(req, token, job->barcode);
    else
        passagepoint_create_visitor_request(req, token, &visitor);
}

static struct answer interpret(void *of, const struct http_response *res)
{
    struct job *job = of;
    struct passagepoint_visitor visitor = visitor_of(job);
    struct answer a;

    if (job->step == CREATE) {
        a = passagepoint_create_visitor_answer(res, &visitor, job->visitor_id);
        if (a.verdict == AGAIN) {
            job->step = ASK;
            job->refused_second = true;
        }
        return a;
    }
    a = passagepoint_by_unique_id_answer(res, job->visitor_id);
    if (a.verdict != REJECTED || strcmp(a.code, "not_found") != 0)
        return a;
    if (job->refused_second) /* it refuses a second one and does not find the first: no call of ours helps */
        return answer_make(LATER, CAUSE_VENDOR, "contradiction", "the gate has a visitor with this card, and does not find it");
    job->step = CREATE; /* not there; sending it again is harmless, the gate would refuse a second one */
    a.verdict = AGAIN;
    return a;
}

static const char record_sql[] =
    "WITH said AS MATERIALIZED (SELECT s.* FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[])"
    " AS s(appt_id, primary_id, verdict, code, reason, visitor_id, barcode)),"
    "done AS MATERIALIZED (SELECT DISTINCT ON (primary_id) * FROM said WHERE verdict = 'done' AND visitor_id IS NOT NULL ORDER BY primary_id),"
    "people AS (UPDATE users u SET visitor_id = d.visitor_id, visitor_barcode = d.barcode, visitor_at = clock_timestamp()"
    " FROM done d WHERE u.primary_id = d.primary_id AND u.primary_id = ANY ($2::text[])),"
    "left_behind AS (UPDATE appts p SET wanted = false, unwanted_at = clock_timestamp(),"
    " unwanted_reason = 'it is of a visitor the person no longer is (a new card, or the gate forgot the old one); it is made again'"
    " FROM done d WHERE p.primary_id = d.primary_id AND p.primary_id = ANY ($2::text[]) AND p.visitor_id <> d.visitor_id AND p.wanted AND p.prereg_id IS NOT NULL"
    " AND p.ends_at > clock_timestamp() RETURNING p.*),"
    "again AS (INSERT INTO appts (source, location_id, booking_id, asked_id, destination, starts_at, ends_at, before_s, after_s, offset_s, email, trace_id)"
    " SELECT source, location_id, booking_id, asked_id, destination, starts_at, ends_at, before_s, after_s, offset_s, email, trace_id FROM left_behind)"
    "UPDATE appts p SET answer = CASE s.verdict WHEN 'dead' THEN 'set_aside' ELSE s.code END, reason = s.reason, answered_at = clock_timestamp(),"
    " retry_at = CASE s.verdict WHEN 'rejected' THEN clock_timestamp() + interval '1 hour' END"
    " FROM said s WHERE p.appt_id = s.appt_id::uuid AND p.appt_id = ANY ($1::text[]::uuid[]) AND p.prereg_id IS NULL AND p.answer IS DISTINCT FROM 'unknown' AND s.verdict IN ('rejected', 'dead')";

static void record_put(const void *of, const struct answer *a, struct db_columns *c)
{
    const struct job *job = of;

    db_put(c, job->booking.appt_id);
    db_put(c, job->booking.primary_id);
    db_put(c, verdict_name(a->verdict));
    db_put(c, a->code);
    db_put(c, a->reason);
    db_put_opt(c, job->visitor_id);
    db_put_opt(c, job->barcode);
}

static void onward(const void *of, struct text *ret_key, struct text *ret_value)
{
    const struct job *job = of;

    text_puts(ret_key, job->booking.primary_id);
    booking_write(ret_value, &job->booking);
}

static struct fault check(struct http *http)
{
    char token[PASSAGEPOINT_TOKEN_SIZE];

    return gate_check_login(http, token, sizeof token);
}

static const struct setting *const tables[] = {gate_settings, settings, NULL};
static const char *const call_names[] = {[CREATE] = "createVisitor", [ASK] = "byUniqueId"};

static const struct stage users_resolve = {
    .name = "users-resolve", .consumes = "users.resolve", .produces = "prereg.create",
    .about = "makes sure PassagePoint has a visitor for the person's card",
    .vendor = &gate, .tables = tables, .call = CALL_ASKABLE, .changes = 1u << CREATE, .call_names = call_names, .job_size = sizeof(struct job),
    .concurrency = "8", .timeout_ms = &timeout_ms, .check = check,
    .decode = gate_decode, .key = gate_key, .subject = gate_subject, .step = step,
    .look_names = "appt_id, primary_id", .look_columns = 2, .look_sql = look_sql, .look_put = gate_look_put, .looked = looked,
    .request = request, .answer = interpret,
    .record_columns = 7, .record_sql = record_sql, .record_put = record_put, .onward = onward,
};

int main(int argc, char **argv)
{
    return stage_main(&users_resolve, argc, argv);
}

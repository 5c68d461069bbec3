/*
 * prereg-create - make the pre-registration of an access window at the gate, once.
 *   in    prereg.create  key primary id   schemas/prereg.create.schema.json
 *   call  POST visit/createPreReg         cannot be asked about: PASSAGEPOINT_ON_UNKNOWN decides after a lost answer
 *         GET  person/byUniqueId          after a refusal: does the gate still know the visitor?
 *   row   appts(appt_id).prereg_id
 *
 * What is sent is what the row says, not the message: a window that was cancelled, made or handed to a person meanwhile
 * is not made. A window nobody knows of is marked 'unknown' and stands on the desk (hold), or is sent again and marked
 * maybe_made (repeat). After PostgreSQL was restored from a backup, every window whose message is from the time that is forgotten
 * may have been made: it is held, whatever the setting says; one that has no row any more gets one, made of its message, for the
 * producer that reads its place to find (producers/bookings/places.h).
 */
#include "common/booking.h"
#include "common/gate.h"
#include "common/json.h"
#include "common/scoped.h"
#include "common/vendors/passagepoint.h"

#include <string.h>
#include <time.h>

static struct json_object *destinations;
static int64_t timeout_ms;
static int on_unknown, on_500;

enum { ON_UNKNOWN_REPEAT, ON_UNKNOWN_HOLD };

static const struct setting settings[] = {
    {"PASSAGEPOINT_ON_UNKNOWN", SET_CHOICE, "hold", .choices = "repeat|hold", .to = &on_unknown,
     .help = "a pre-registration whose outcome nobody can know: hold it for a person, or repeat it and mark that there may be two"},
    {"PASSAGEPOINT_ON_500", SET_CHOICE, "not_done", .choices = "not_done|unknown", .to = &on_500,
     .help = "what HTTP 500 from createPreReg means; nobody says. A repeat after it is marked"},
    {"PASSAGEPOINT_PREREG_TIMEOUT_MS", SET_WHOLE, "60000", .least = 100, .most = 600000, .to = &timeout_ms,
     .help = "how long createPreReg may take, milliseconds; each that takes longer is one for a person, so not below 60000 in earnest"},
    {"PASSAGEPOINT_DESTINATIONS", SET_JSON, NULL, .to = &destinations,
     .help = "JSON object: LibCal location or WebCheckout centre to the gate's destination; here only --check reads it, and asks for them"},
    {0}};

enum step { CREATE, CHECK_VISITOR };

struct job {
    struct booking booking; /* first: see gate.h */
    enum step step;
    char visitor_id[PASSAGEPOINT_ID_SIZE], barcode[65];
    bool maybe_made;  /* an earlier try may have made one */
    bool visitor_gone;
    bool lost; /* it had a row, which PostgreSQL has forgotten */
    char prereg_id[PASSAGEPOINT_ID_SIZE];
    struct answer refusal;
};

static int step(const void *job) { return (int)((const struct job *)job)->step; }

enum { L_ORD, L_WORK, L_WANTS, L_KNOWN, L_LIVE, L_VISITOR, L_BARCODE, L_START, L_END, L_DESTINATION, L_MAYBE, L_PAUSED };

static const char look_sql[] =
    "SELECT a.ord, a.appt_id AS work_id,"
    " coalesce(p.wanted AND p.prereg_id IS NULL AND p.ends_at > clock_timestamp() AND p.answer IS DISTINCT FROM 'unknown' AND p.answer IS DISTINCT FROM 'refused_by_desk' AND p.answer IS DISTINCT FROM 'made'"
    " AND u.visitor_id IS NOT NULL AND u.visitor_barcode = u.barcode AND h.pause_id IS NULL, false) AS wants,"
    " p.appt_id IS NOT NULL AS known,"
    " p.wanted AND p.prereg_id IS NULL AND p.ends_at > clock_timestamp() AND p.answer IS DISTINCT FROM 'unknown' AND p.answer IS DISTINCT FROM 'refused_by_desk' AND p.answer IS DISTINCT FROM 'made' AS live,"
    " CASE WHEN u.visitor_barcode = u.barcode THEN u.visitor_id END, u.barcode,"
    " extract(epoch FROM p.starts_at)::bigint, extract(epoch FROM p.ends_at)::bigint, p.destination, p.maybe_made, h.pause_id IS NOT NULL AS paused"
    " FROM asked a LEFT JOIN appts p ON p.appt_id = a.appt_id::uuid"
    " LEFT JOIN pauses h ON h.what = 'location' AND h.name = p.location_id AND h.ended_at IS NULL LEFT JOIN users u ON u.primary_id = a.primary_id";

static enum look_end looked(void *of, const struct look_row *row, enum prior prior, struct answer *ret)
{
    struct job *job = of;

    job->lost = prior == PRIOR_FORGOTTEN && !look_true(row, L_KNOWN) && job->booking.end > time(NULL);
    if (job->lost) {
        *ret = answer_make(UNKNOWN, CAUSE_WORK, "forgotten", "PostgreSQL was restored from a backup and has forgotten it");
        return LOOK_ANSWER;
    }
    if (!look_true(row, L_LIVE)) {
        *ret = answer_make(DONE, CAUSE_WORK, look_true(row, L_KNOWN) ? "not_wanted" : "no_row", "%s", "");
        return LOOK_DROP;
    }
    job->maybe_made = look_true(row, L_MAYBE);
    job->visitor_gone = false;
    if (prior == PRIOR_FORGOTTEN) {
        *ret = answer_make(UNKNOWN, CAUSE_WORK, "forgotten", "PostgreSQL was restored from a backup and has forgotten what came of it");
        return LOOK_ANSWER;
    }
    if (look_true(row, L_PAUSED))
        return LOOK_WAIT;
    if (look_null(row, L_VISITOR) && !stage_dry_run) {
        *ret = answer_make(REJECTED, CAUSE_WORK, "visitor_gone", "the gate's visitor for this person is not known; found out again");
        return LOOK_ANSWER;
    }
    text_copy(job->visitor_id, sizeof job->visitor_id, look_text(row, L_VISITOR));
    text_copy(job->barcode, sizeof job->barcode, look_text(row, L_BARCODE));
    text_copy(job->booking.destination, sizeof job->booking.destination, look_text(row, L_DESTINATION));
    job->booking.start = atoll(look_text(row, L_START));
    job->booking.end = atoll(look_text(row, L_END));
    if (prior == PRIOR_UNFINISHED && on_unknown == ON_UNKNOWN_HOLD) {
        *ret = answer_make(UNKNOWN, CAUSE_WORK, "unknown", "a call was begun and its answer was lost");
        return LOOK_ANSWER;
    }
    job->maybe_made |= prior == PRIOR_UNFINISHED;
    job->step = CREATE;
    return LOOK_CALL;
}

static void request(const void *of, struct http_request *req, const char *token)
{
    const struct job *job = of;

    if (job->step == CHECK_VISITOR)
        passagepoint_by_unique_id_request(req, token, job->barcode);
    else
        passagepoint_create_prereg_request(req, token, job->visitor_id, job->booking.start, job->booking.end,
                                           job->booking.destination);
}

static struct answer interpret(void *of, const struct http_response *res)
{
    struct job *job = of;
    struct answer a;

    if (job->step == CHECK_VISITOR) {
        char found[PASSAGEPOINT_ID_SIZE] = "";
        a = passagepoint_by_unique_id_answer(res, found);
        if (a.verdict == DONE && !strcmp(found, job->visitor_id))
            return job->refusal; /* it knows the visitor: the refusal is about something else */
        if (a.verdict == DONE || (a.verdict == REJECTED && !strcmp(a.code, "not_found"))) {
            job->visitor_gone = true;
            return answer_make(REJECTED, CAUSE_WORK, "visitor_gone", "the gate no longer knows this visitor; found out again");
        }
        return a;
    }
    a = passagepoint_create_prereg_answer(res, on_500 ? PP_500_UNKNOWN : PP_500_NOT_DONE, job->prereg_id);
    if (a.verdict == REJECTED) {
        job->refusal = a;
        job->step = CHECK_VISITOR;
        a.verdict = AGAIN;
    } else if (a.verdict == UNKNOWN && on_unknown == ON_UNKNOWN_REPEAT) {
        job->maybe_made = true;
        a.verdict = LATER;
    } else if (a.verdict == LATER && !strcmp(a.code, "server_error")) {
        job->maybe_made = true;
    }
    return a;
}

static const char record_sql[] =
    "WITH said AS MATERIALIZED (SELECT s.* FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::bool[], $10::bool[],"
    " $11::jsonb[]) AS s(appt_id, primary_id, verdict, code, reason, visitor_id, barcode, prereg_id, maybe_made, visitor_gone, lost)),"
    "lost AS (INSERT INTO appts (appt_id, source, location_id, booking_id, asked_id, destination, starts_at, ends_at, sent_at, primary_id,"
    " answer, reason, answered_at)"
    " SELECT s.appt_id::uuid, l.source, '', l.booking_id, l.asked_id, l.destination, l.start, l.\"end\", clock_timestamp(), s.primary_id,"
    " 'unknown', s.reason, clock_timestamp() FROM said s, jsonb_to_record(s.lost) AS l(source text, booking_id text, asked_id text,"
    " destination text, start timestamptz, \"end\" timestamptz) WHERE s.lost IS NOT NULL ON CONFLICT (appt_id) DO NOTHING),"
    "people AS (UPDATE users u SET visitor_id = NULL, visitor_barcode = NULL FROM said s"
    " WHERE s.visitor_gone AND s.verdict = 'rejected' AND u.primary_id = s.primary_id AND u.primary_id = ANY ($2::text[]) AND u.visitor_id = s.visitor_id)"
    "UPDATE appts p SET answer = CASE s.verdict WHEN 'done' THEN 'made' WHEN 'unknown' THEN 'unknown' WHEN 'dead' THEN 'set_aside'"
    " WHEN 'rejected' THEN s.code ELSE p.answer END,"
    " reason = CASE WHEN s.verdict = 'done' THEN NULL WHEN s.verdict = 'later' THEN p.reason ELSE s.reason END, answered_at = clock_timestamp(),"
    " prereg_id = coalesce(s.prereg_id, p.prereg_id), primary_id = s.primary_id, visitor_id = s.visitor_id, barcode = s.barcode,"
    " maybe_made = p.maybe_made OR s.maybe_made,"
    " retry_at = CASE WHEN s.verdict <> 'rejected' THEN p.retry_at WHEN s.code = 'visitor_gone' THEN clock_timestamp()"
    " ELSE clock_timestamp() + interval '1 hour' END"
    " FROM said s WHERE p.appt_id = s.appt_id::uuid AND p.appt_id = ANY ($1::text[]::uuid[]) AND p.prereg_id IS NULL AND (s.verdict <> 'later' OR s.maybe_made)";

/* The message, for the row that is made of it. */
static void put_lost(const struct job *job, struct db_columns *c)
{
    static struct text message;

    text_clear(&message);
    if (job->lost)
        booking_write(&message, &job->booking);
    db_put_opt(c, text_str(&message));
}

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
    db_put_opt(c, a->verdict == DONE ? job->prereg_id : "");
    db_put_bool(c, job->maybe_made);
    db_put_bool(c, job->visitor_gone);
    put_lost(job, c);
}

/* ---- --check ---- */

struct listed {
    struct answer answer;
    struct passagepoint_destinations destinations;
};

static void on_listed(void *of, const struct http_response *res)
{
    struct listed *listed = of;

    listed->answer = passagepoint_destinations_answer(res, &listed->destinations);
}

static struct fault check_destinations(const struct passagepoint_destinations *known)
{
    json_object_object_foreach(destinations, location, name)
    {
        bool found = false;
        for (int i = 0; i < known->count; i++)
            found |= !strcmp(known->names[i], json_object_get_string(name));
        if (!found)
            return FAULT(MISUSE, "PASSAGEPOINT_DESTINATIONS: the gate has no destination \"%s\" (location %s)",
                         json_object_get_string(name), location);
    }
    printf("ok  PassagePoint has every destination\n");
    return FAULT_OK;
}

static struct fault check(struct http *http)
{
    static struct listed listed;
    struct http_request req = {0};
    char token[PASSAGEPOINT_TOKEN_SIZE];

    TRY(gate_check_login(http, token, sizeof token));
    if (!destinations)
        return FAULT_OK;
    passagepoint_destinations_request(&req, token);
    http_wait(http, gate.root(), &req, 15000, on_listed, &listed);
    http_request_free(&req);
    if (listed.answer.verdict != DONE || listed.destinations.more) {
        printf("--  PassagePoint does not say which destinations it has: not checked\n");
        return FAULT_OK;
    }
    return check_destinations(&listed.destinations);
}

static const struct setting *const tables[] = {gate_settings, settings, NULL};
static const char *const call_names[] = {[CREATE] = "createPreReg", [CHECK_VISITOR] = "byUniqueId"};

static const struct stage prereg_create = {
    .name = "prereg-create", .consumes = "prereg.create",
    .about = "makes the pre-registration of an access window at PassagePoint, once",
    .vendor = &gate, .tables = tables, .call = CALL_BLIND, .changes = 1u << CREATE, .call_names = call_names, .job_size = sizeof(struct job),
    .concurrency = "4", .timeout_ms = &timeout_ms, .check = check,
    .decode = gate_decode, .key = gate_key, .subject = gate_subject, .step = step,
    .look_names = "appt_id, primary_id", .look_columns = 2, .look_sql = look_sql, .look_put = gate_look_put, .looked = looked,
    .request = request, .answer = interpret,
    .record_columns = 11, .record_sql = record_sql, .record_put = record_put,
};

int main(int argc, char **argv)
{
    return stage_main(&prereg_create, argc, argv);
}

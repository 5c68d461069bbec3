#include "common/request.h"

#include "common/json.h"
#include "common/scoped.h"

#include <stdlib.h>
#include <string.h>

/* ---- the message; the same rules as in schemas/patron-request.schema.json, a test compares the two ---- */

static struct fault check_word(const char *key, const char *word)
{
    static const char rest[] = "abcdefghijklmnopqrstuvwxyz0123456789_";

    if (*word < 'a' || *word > 'z' || word[strspn(word, rest)])
        return FAULT(REJECT, "%s: want a-z, then a-z, 0-9 and _", key);
    return FAULT_OK;
}

static struct fault read_members(json_object *in, const char *service, struct request *r)
{
    TRY(json_text(in, "request_id", r->request_id, sizeof r->request_id));
    if (!text_is_uuid(r->request_id))
        return FAULT(REJECT, "request_id: want a UUID in lower case");
    TRY(json_text(in, "service", r->service, sizeof r->service));
    if (strcmp(r->service, service) != 0)
        return FAULT(REJECT, "service: want %s, found another", service);
    TRY(json_text(in, "action", r->action, sizeof r->action));
    TRY(check_word("action", r->action));
    TRY(json_text(in, "patron", r->patron, sizeof r->patron));
    return text_is_id(r->patron) ? FAULT_OK : FAULT(REJECT, "patron: want printable ASCII, without a space at either end");
}

struct fault request_read(const char *value, size_t len, const char *service, struct request *ret)
{
    SCOPED(json_object_put) json_object *in = NULL;

    TRY(json_read(value, len, &in));
    if (!json_object_is_type(in, json_type_object))
        return FAULT(REJECT, "want an object, found %s", json_type_to_name(json_object_get_type(in)));
    return read_members(in, service, ret);
}

void request_write(struct text *to, const struct request *r)
{
    text_puts(to, "{\"request_id\":");
    text_json(to, r->request_id);
    text_puts(to, ",\"service\":");
    text_json(to, r->service);
    text_puts(to, ",\"action\":");
    text_json(to, r->action);
    text_puts(to, ",\"patron\":");
    text_json(to, r->patron);
    text_putc(to, '}');
}

const char *request_key(const void *of) { return ((const struct request *)of)->patron; }
const char *request_subject(const void *of) { return ((const struct request *)of)->request_id; }

static void forget(struct request *r)
{
    json_object_put(r->asked);
    json_object_put(r->known);
    r->asked = r->known = NULL;
    r->state = NULL;
    r->words[0] = '\0';
    r->retry_s = 0;
    text_clear(&r->learned);
    text_clear(&r->outcome);
}

void request_release(void *of)
{
    struct request *r = of;

    forget(r);
    text_free(&r->learned);
    text_free(&r->outcome);
}

/* ---- the row ---- */

enum { L_ORD, L_WORK, L_WANTS, L_STATE, L_ASKED, L_KNOWN, L_ACCEPTED, L_NOW };

const char request_look_names[] = "request_id";
const char request_look_sql[] =
    "SELECT a.ord, a.request_id AS work_id, coalesce(r.state IN ('accepted', 'waiting'), false) AS wants, r.state, r.asked,"
    " coalesce(r.known, '{}'), extract(epoch FROM r.accepted_at)::bigint, extract(epoch FROM clock_timestamp())::bigint"
    " FROM asked a LEFT JOIN requests r ON r.request_id = a.request_id::uuid";

void request_look_put(const void *of, struct db_columns *c)
{
    db_put(c, ((const struct request *)of)->request_id);
}

static json_object *object_of(const struct look_row *row, int column)
{
    json_object *found = NULL;
    struct fault f = json_read(look_text(row, column), strlen(look_text(row, column)), &found);

    if (!f.kind && json_object_is_type(found, json_type_object))
        return found;
    json_object_put(found);
    return json_object_new_object();
}

enum look_end request_looked(struct request *r, const struct look_row *row, struct answer *ret)
{
    forget(r);
    if (!look_true(row, L_WANTS)) {
        *ret = answer_make(DONE, CAUSE_WORK, look_null(row, L_STATE) ? "no_row" : "answered", "%s", "");
        return LOOK_DROP;
    }
    r->asked = object_of(row, L_ASKED);
    r->known = object_of(row, L_KNOWN);
    r->accepted = strtoll(look_text(row, L_ACCEPTED), NULL, 10);
    r->now = strtoll(look_text(row, L_NOW), NULL, 10);
    return LOOK_CALL;
}

struct answer request_forgotten(void)
{
    return answer_make(DEAD, CAUSE_WORK, "forgotten", "PostgreSQL was restored from a backup: nobody knows whether it was done");
}

/* ---- the outcome ---- */

const char request_record_sql[] =
    "WITH said AS MATERIALIZED (SELECT s.* FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[],"
    " $8::bigint[]) AS s(request_id, state, code, reason, words, learned, outcome, retry_s)),"
    "twice AS (INSERT INTO desk AS d (kind, subject, reason) SELECT 'maybe_twice', request_id, reason FROM said WHERE code = 'maybe_twice'"
    " ON CONFLICT (kind, subject) WHERE closed_at IS NULL DO UPDATE SET reason = excluded.reason) "
    "UPDATE requests r SET state = coalesce(s.state, r.state), known = CASE WHEN s.learned IS NULL THEN r.known ELSE coalesce(r.known, '{}') || s.learned::jsonb END,"
    " code = CASE WHEN s.state IS NULL OR s.state = 'waiting' THEN r.code ELSE s.code END, words = coalesce(s.words, r.words),"
    " outcome = coalesce(s.outcome::jsonb, r.outcome),"
    " waits_for = CASE WHEN s.state = 'waiting' THEN s.code WHEN s.state IS NOT NULL THEN NULL ELSE r.waits_for END,"
    " waits_since = CASE WHEN s.state = 'waiting' THEN coalesce(r.waits_since, clock_timestamp()) WHEN s.state IS NOT NULL THEN NULL ELSE r.waits_since END,"
    " retry_at = CASE WHEN s.retry_s > 0 THEN clock_timestamp() + s.retry_s * interval '1 second' END,"
    " answered_at = CASE WHEN s.state IS NOT NULL AND s.state <> 'waiting' THEN clock_timestamp() ELSE r.answered_at END"
    " FROM said s WHERE r.request_id = s.request_id::uuid AND r.request_id = ANY ($1::text[]::uuid[]) AND r.state IN ('accepted', 'waiting')";

static const char *state_of(const struct request *r, const struct answer *a)
{
    if (r->state)
        return r->state;
    switch (a->verdict) {
    case DONE: return "done";
    case REJECTED: return "refused";
    case DEAD: return "set_aside";
    case LATER:
    case UNKNOWN: return "waiting";
    default: return NULL;
    }
}

void request_record_put(const void *of, const struct answer *a, struct db_columns *c)
{
    const struct request *r = of;

    db_put(c, r->request_id);
    db_put(c, state_of(r, a));
    db_put(c, a->code);
    db_put(c, a->reason);
    db_put_opt(c, r->words);
    db_put_opt(c, text_str(&r->learned));
    db_put_opt(c, text_str(&r->outcome));
    db_put_int(c, r->retry_s);
}

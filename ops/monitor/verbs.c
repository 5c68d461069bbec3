#include "ops/monitor/verbs.h"

#include "common/pg.h"
#include "common/text.h"

#include <stdlib.h>
#include <string.h>

const struct verb verbs[] = {
    {"done", {"desk_id", "?note"}, "SELECT desk_done($1::bigint, $3, $2)", "Done", "it is off the list", "it was off the list already",
     "DESK_ID [NOTE]: a row of the desk is dealt with", false},
    {"made", {"appt_id", "prereg_id"}, "SELECT appt_made($1::uuid, $2, $3)", "It is made, with this id", "it stands as made",
     "nothing to do: it has an id already", "APPT_ID PREREG_ID: a window of unknown outcome is at the gate, with this id", false},
    {"not-made", {"appt_id"}, "SELECT appt_not_made($1::uuid, $2)", "It is not: make it", "it is made now",
     "nothing to do: its outcome is known by now", "APPT_ID: a window of unknown outcome is not at the gate: it is made now", false},
    {"ask-again", {"appt_id"}, "SELECT appt_ask_again($1::uuid, $2)", "Ask again now", "it is asked for again now",
     "nothing to do: it is made, not wanted any more, or its outcome is unknown", "APPT_ID: Alma and the gate are asked again now", false},
    {"refuse", {"appt_id", "?note"}, "SELECT appt_refuse($1::uuid, $3, $2)", "Refuse this person", "the person's windows are refused",
     "nothing to do: none of the person's windows is open", "APPT_ID [NOTE]: every window of this person that is not made is refused", false},
    {"request-again", {"request_id"}, "SELECT request_again($1::uuid, $2)", "Try again", "it is tried again", "nothing to do: it is not set aside",
     "REQUEST_ID: a patron's request that was set aside is tried again", false},
    {"restored", {NULL}, "SELECT database_restored($1)", "PostgreSQL was restored: go on", "everything goes on", "nothing to do",
     "PostgreSQL was restored from a backup: go on", false},
    {"pause", {"kind", "name", "?why"}, "SELECT pause($1, $2, $4, $3)", "Pause", "it is paused: what is under way is finished, nothing else is begun",
     "it was paused already", "stage|location NAME [WHY]: nothing is called for, until resume", true},
    {"resume", {"kind", "name"}, "SELECT resume($1, $2, $3)", "Resume", "it goes on", "it was not paused", "stage|location NAME: it goes on", true},
    {"replay", {"?ids", "?topic", "?code", "?why"},
     "SELECT dead_letters_decide('replaying', nullif($1, '')::bigint[], nullif($2, ''), nullif($3, ''), NULL, $5, $4)", "Replay",
     "are sent again", "no dead letter matches", "IDS|all [TOPIC [CODE [WHY]]]: dead letters go to their topics again", false},
    {"discard", {"?ids", "?topic", "?code", "?why"},
     "SELECT dead_letters_decide('discarded', nullif($1, '')::bigint[], nullif($2, ''), nullif($3, ''), NULL, $5, $4)", "Discard",
     "are discarded", "no dead letter matches", "IDS|all [TOPIC [CODE [WHY]]]: dead letters are not needed", false},
};
const int verb_count = (int)(sizeof verbs / sizeof verbs[0]);

const struct verb *verb_of(const char *name)
{
    for (int i = 0; i < verb_count; i++)
        if (!strcmp(verbs[i].name, name))
            return &verbs[i];
    return NULL;
}

struct fault verb_note(PGconn *conn, const char *who, const char *what, const char *about, const char *note)
{
    return pg_do(conn, "INSERT INTO monitor_log (who, verb, about, note) VALUES ($1, $2, $3, nullif($4, ''))", who, what, about, note);
}

static struct fault check_fields(const struct verb *v, const char *const values[VERB_FIELDS])
{
    for (int i = 0; i < VERB_FIELDS && v->fields[i]; i++) {
        const char *name = v->fields[i];
        if (*name != '?' && (!values[i] || !*values[i]))
            return FAULT(REJECT, "%s is missing", name);
        if (!strcmp(name, "desk_id") && strspn(values[i], "0123456789") != strlen(values[i]))
            return FAULT(REJECT, "desk_id: want a number");
        if (!strcmp(name, "kind") && strcmp(values[i], "stage") != 0 && strcmp(values[i], "location") != 0)
            return FAULT(REJECT, "kind: want stage or location");
        if ((!strcmp(name, "appt_id") || !strcmp(name, "request_id")) && !text_is_uuid(values[i]))
            return FAULT(REJECT, "%s: want one as 0b8f3c1e-52d7-4f0a-9a64-6e1d2f9b7c35", name);
    }
    return FAULT_OK;
}

struct fault verb_do(PGconn *conn, const struct verb *v, const char *const values[VERB_FIELDS], const char *who, bool dry_run, char ret_said[200])
{
    SCOPED(PQclear) PGresult *res = NULL;
    const char *params[VERB_FIELDS + 1];
    int n = 0;

    if (!*who)
        return FAULT(REJECT, "your name is missing: what is done is recorded under it");
    TRY(check_fields(v, values));
    for (; n < VERB_FIELDS && v->fields[n]; n++)
        params[n] = values[n] ? values[n] : "";
    params[n] = who;
    TRY(pg_do(conn, "BEGIN"));
    struct fault f = pg_run(conn, &res, v->sql, n + 1, params);
    if (!f.kind && !v->noted)
        f = verb_note(conn, who, v->name, n ? params[0] : "", n > 1 ? params[n - 1] : "");
    struct fault end = pg_do(conn, f.kind || dry_run ? "ROLLBACK" : "COMMIT");
    TRY(f);
    TRY(end);
    const char *said = PQgetvalue(res, 0, 0);
    if (*said == 'f' || !strcmp(said, "0"))
        snprintf(ret_said, 200, "%s", v->nothing);
    else if (*said == 't')
        snprintf(ret_said, 200, "%s", v->done);
    else
        snprintf(ret_said, 200, "%s %s", said, v->done);
    return FAULT_OK;
}

/* Any bytes as an answer of WebCheckout's. First byte: call and kind of exchange; second: status; third: content type. */
#include "common/vendors/webcheckout.h"

#include "tests/fuzz/fuzz.h"

static void want_sound(struct answer a)
{
    want(a.verdict == DONE || a.verdict == LATER);
    want(a.cause <= CAUSE_CREDENTIALS && a.code && *a.code && a.wait_ms >= -1);
    want_discreet(a.reason, sizeof a.reason, 6); /* counts of rows have up to five */
}

static void want_row(const struct webcheckout_allocation *row)
{
    want(row->oid > 0 && row->patron_oid >= 0 && row->center.oid >= 0);
    want(row->start >= 0 && row->end >= 0 && row->real_start >= 0 && row->real_end >= 0);
    want(!row->start || !row->end || row->start < row->end);
    want(row->offset_seconds > -86400 && row->offset_seconds < 86400);
    want_ended(row->unique_id, sizeof row->unique_id);
    want_ended(row->name, sizeof row->name);
    want_ended(row->state, sizeof row->state);
    want_ended(row->userid, sizeof row->userid);
    want_ended(row->barcode, sizeof row->barcode);
    want_ended(row->email, sizeof row->email);
    want_ended(row->center.name, sizeof row->center.name);
    want(row->resource_count <= WEBCHECKOUT_RESOURCES_MAX);
    for (size_t i = 0; i < row->resource_count; i++) {
        want(row->resources[i].oid > 0);
        want_ended(row->resources[i].name, sizeof row->resources[i].name);
        for (size_t j = 0; j < i; j++)
            want(row->resources[i].oid != row->resources[j].oid);
    }
    want(webcheckout_state_of(row->state, NULL, 0, NULL, 0) != WEBCHECKOUT_DEAD);
}

static void want_rows(const struct webcheckout_rows *rows, struct answer a)
{
    want(rows->count + rows->bad_count <= WEBCHECKOUT_ROWS_MAX);
    want(a.verdict == DONE || (!rows->count && !rows->bad_count && !rows->more));
    for (size_t i = 0; i < rows->count; i++)
        want_row(&rows->at[i]);
    for (size_t i = 0; i < rows->bad_count; i++) {
        want(rows->bad[i].oid >= 0 && rows->bad[i].why[0]);
        want_ended(rows->bad[i].why, sizeof rows->bad[i].why);
    }
}

static void want_session(const struct webcheckout_session *session, struct answer a)
{
    want_ended(session->token, sizeof session->token);
    want((a.verdict == DONE) == (session->token[0] != '\0') && session->center_count <= WEBCHECKOUT_CENTERS_MAX);
    for (const char *c = session->token; *c; c++)
        want(*c > ' ' && *c <= '~');
    for (size_t i = 0; i < session->center_count; i++) {
        want(session->centers[i].oid > 0);
        want_ended(session->centers[i].name, sizeof session->centers[i].name);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const int statuses[] = {200, 204, 302, 400, 401, 403, 404, 429, 500, 502, 503};
    static const char *const types[] = {"", "application/json", "text/html", "text/plain"};
    static struct webcheckout_session session;
    static struct webcheckout_rows rows;
    struct webcheckout_person person;
    char version[WEBCHECKOUT_ID_SIZE];
    struct answer a;

    struct http_response res;
    char *body = fuzz_exchange(data, size, statuses, types, &res);
    if (!body)
        return 0;

    switch (data[0] & 7) {
    case 0:
    case 1:
        a = webcheckout_login_answer(&res, data[0] & 1 ? WEBCHECKOUT_API_2_0 : WEBCHECKOUT_API_1_1, &session);
        want_session(&session, a);
        break;
    case 2:
        a = webcheckout_info_answer(&res, version);
        want_ended(version, sizeof version);
        break;
    case 3:
        a = webcheckout_person_answer(&res, &person);
        want((a.verdict == DONE) == (person.oid > 0));
        want_ended(person.userid, sizeof person.userid);
        want_ended(person.barcode, sizeof person.barcode);
        break;
    case 4:
        a = webcheckout_allocation_answer(&res, &rows);
        want_rows(&rows, a);
        want((a.verdict == DONE) == (rows.count + rows.bad_count == 1));
        break;
    case 5:
        a = webcheckout_scope_answer(&res);
        break;
    default:
        a = webcheckout_search_answer(&res, 2, &rows);
        want_rows(&rows, a);
        break;
    }
    want_sound(a);
    /* nobody has said that the password is wrong but to a log-in */
    want((data[0] & 7) < 2 || a.cause != CAUSE_CREDENTIALS);
    free(body);
    return 0;
}

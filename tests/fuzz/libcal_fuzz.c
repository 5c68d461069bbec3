/* Any bytes as an answer of LibCal's, or as an id on a form. First byte: call and kind of exchange; second: status. */
#include "common/vendors/libcal.h"

#include "tests/fuzz/fuzz.h"

static void want_sound(struct answer a)
{
    want(a.verdict == DONE || a.verdict == LATER || a.verdict == REJECTED);
    want(a.cause <= CAUSE_CREDENTIALS && a.code && *a.code && a.wait_ms >= -1);
    want_discreet(a.reason, sizeof a.reason, 100);
}

static void want_rows(const struct libcal_rows *rows)
{
    want(rows->count + rows->bad_count <= LIBCAL_ROWS_MAX);
    for (size_t i = 0; i < rows->count; i++) {
        const struct libcal_row *row = &rows->at[i];
        char id[LIBCAL_ID_SIZE];
        want_ended(row->book_id, sizeof row->book_id);
        want(row->book_id[0] && row->start < row->end && row->id >= 0 && row->seat_id >= 0);
        want(row->offset_seconds > -86400 && row->offset_seconds < 86400);
        want_ended(row->status, sizeof row->status);
        want_ended(row->first_name, sizeof row->first_name);
        want_ended(row->last_name, sizeof row->last_name);
        want_ended(row->email, sizeof row->email);
        want_ended(row->account, sizeof row->account);
        want_ended(row->answer, sizeof row->answer);
        want(!row->answer_too_long || !row->answer[0]);
        want(libcal_status_of(row->status, NULL, 0) <= LIBCAL_UNKNOWN);
        libcal_asked_id(row->answer, NULL, id, sizeof id);
    }
    for (size_t i = 0; i < rows->bad_count; i++) {
        want_ended(rows->bad[i].book_id, sizeof rows->bad[i].book_id);
        want_ended(rows->bad[i].why, sizeof rows->bad[i].why);
        want(rows->bad[i].why[0] != '\0');
    }
}

static void try_id(const char *typed)
{
    char id[LIBCAL_ID_SIZE];
    bool tells = false;
    struct fault f = libcal_asked_id(typed, NULL, id, sizeof id);

    want_ended(id, sizeof id);
    want(!f.kind == (id[0] != '\0'));
    for (const char *c = id; *c; c++) {
        want(*c > ' ' && *c <= '~' && (*c < 'a' || *c > 'z'));
        tells = tells || (*c >= '0' && *c <= '9') || (*c >= 'A' && *c <= 'Z');
    }
    want(f.kind || tells);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const int statuses[] = {200, 204, 302, 400, 401, 403, 404, 429, 500, 502, 503};
    static const char *const types[] = {"", "application/json", "text/html", "text/plain"};
    static struct libcal_locations locations;
    static struct libcal_rows rows;
    struct libcal_token token;
    struct libcal_question question;
    struct answer a;

    struct http_response res;
    char *body = fuzz_exchange(data, size, statuses, types, &res);
    if (!body)
        return 0;

    switch (data[0] & 7) {
    case 0:
        a = libcal_token_answer(&res, &token);
        want_ended(token.token, sizeof token.token);
        want((a.verdict == DONE) == (token.token[0] != '\0') && (a.verdict == DONE) == (token.expires_s > 0));
        break;
    case 1:
        a = libcal_locations_answer(&res, &locations);
        want(locations.count <= LIBCAL_LOCATIONS_MAX && (a.verdict == DONE || !locations.count));
        for (size_t i = 0; i < locations.count; i++) {
            want(locations.at[i].lid > 0 && locations.at[i].form_id >= 0);
            want_ended(locations.at[i].name, sizeof locations.at[i].name);
        }
        break;
    case 2:
    case 3:
        a = data[0] & 1 ? libcal_form_answer(&res, "q12505", &question)
                        : libcal_question_answer(&res, "q12505", &question);
        want_ended(question.label, sizeof question.label);
        want_ended(question.type, sizeof question.type);
        want(a.verdict == DONE || !question.found);
        break;
    default:
        try_id(body);
        a = libcal_rows_answer(&res, "q12505", &rows);
        want(a.verdict == DONE || (!rows.count && !rows.bad_count));
        want_rows(&rows);
        break;
    }
    want_sound(a);
    free(body);
    return 0;
}

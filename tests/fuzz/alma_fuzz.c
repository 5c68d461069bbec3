/* Any bytes as an answer of Alma's. First byte: call and kind of exchange; second: status; third: content type. */
#include "common/vendors/alma.h"

#include "tests/fuzz/fuzz.h"

static void want_text(const char *text, size_t size)
{
    want(memchr(text, '\0', size) != NULL);
    for (; *text; text++)
        want((unsigned char)*text >= ' ' && *text != 0x7F);
}

static void want_sound(struct answer a)
{
    want(a.verdict == DONE || a.verdict == LATER || a.verdict == REJECTED);
    want(a.cause <= CAUSE_CREDENTIALS && a.code && *a.code && a.wait_ms >= -1);
    want((a.verdict == LATER) == (a.cause != CAUSE_WORK));
    want_text(a.reason, sizeof a.reason);
    for (const char *c = a.reason; *c; c++)
        want((unsigned char)*c <= '~');
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const int statuses[] = {200, 204, 302, 400, 401, 403, 404, 429, 500, 502, 503, 504};
    static const char *const types[] = {"", "application/json", "application/xml", "text/html", "text/plain"};
    struct alma_user user;

    struct http_response res;
    char *body = fuzz_exchange(data, size, statuses, types, &res);
    if (!body)
        return 0;
    res.watched = body;

    want(alma_calls_left(&res) >= -1);
    want_sound(alma_test_answer(&res));
    struct answer a = alma_user_answer(&res, &user);
    want_sound(a);
    if (a.verdict == DONE) {
        want(res.status == 200 && user.primary_id[0] && user.email_count <= ALMA_EMAILS_MAX);
        want_text(user.primary_id, sizeof user.primary_id);
        want_text(user.barcode, sizeof user.barcode);
        want_text(user.group, sizeof user.group);
        want_text(user.group_desc, sizeof user.group_desc);
        want_text(user.first_name, sizeof user.first_name);
        want_text(user.last_name, sizeof user.last_name);
        want_text(user.status, sizeof user.status);
        want_text(user.expiry_date, sizeof user.expiry_date);
        want(!user.expiry_date[0] || strlen(user.expiry_date) == 10);
        for (size_t i = 0; i < user.email_count; i++) {
            want_text(user.emails[i], sizeof user.emails[i]);
            want(user.emails[i][0] != '\0');
        }
    }
    free(body);
    return 0;
}

/* Any bytes as an answer of PassagePoint's. Bytes: call and kind of exchange, status, content type, body. */
#include "common/vendors/passagepoint.h"

#include "tests/fuzz/fuzz.h"

static void want_id(const struct answer *a, const char *id, size_t size)
{
    size_t len = strnlen(id, size);

    want(len < size && (a->verdict == DONE) == (len > 0) && strspn(id, "0123456789") == len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const int statuses[] = {200, 201, 204, 302, 400, 401, 403, 404, 409, 429, 500, 502, 503, 504};
    static const char *const types[] = {"", "application/json", "text/html", "text/plain"};
    static const struct passagepoint_visitor visitor = {
        .category = "Student", .first_name = "Zuleika", .last_name = "Quartermain", .email = "zuleika@example.edu",
        .barcode = "22822000000019", .university_id = "G00000001",
    };
    static struct passagepoint_destinations destinations;
    char token[PASSAGEPOINT_TOKEN_SIZE], id[PASSAGEPOINT_ID_SIZE];
    bool changes = false;
    struct answer a;

    struct http_response res;
    char *body = fuzz_exchange(data, size, statuses, types, &res);
    if (!body)
        return 0;

    switch (data[0] & 7) {
    case 0:
        a = passagepoint_login_answer(&res, token);
        want(strnlen(token, sizeof token) < sizeof token && (a.verdict == DONE) == (token[0] != '\0'));
        for (const char *c = token; *c; c++)
            want(*c > ' ' && *c <= '~');
        want(a.verdict == DONE || a.verdict == LATER);
        break;
    case 1:
        changes = true;
        a = passagepoint_create_visitor_answer(&res, &visitor, id);
        want_id(&a, id, sizeof id);
        want(!strcasestr(a.reason, visitor.first_name) && !strcasestr(a.reason, visitor.last_name));
        break;
    case 2:
        a = passagepoint_by_unique_id_answer(&res, id);
        want_id(&a, id, sizeof id);
        break;
    case 3:
        a = passagepoint_destinations_answer(&res, &destinations);
        want(destinations.count >= 0 && destinations.count <= PASSAGEPOINT_DESTINATIONS_MAX);
        want(a.verdict == DONE || destinations.count == 0);
        for (int i = 0; i < destinations.count; i++)
            want(destinations.names[i][0] && strnlen(destinations.names[i], 129) < 129);
        break;
    default:
        changes = true;
        a = passagepoint_create_prereg_answer(&res, data[0] & 1 ? PP_500_UNKNOWN : PP_500_NOT_DONE, id);
        want_id(&a, id, sizeof id);
        want(a.verdict != AGAIN);
        /* once it may have been made, no answer says that it was not */
        want(!(res.end == HTTP_UNKNOWN || res.status == 502 || res.status == 504) || a.verdict == UNKNOWN);
        break;
    }
    want(a.verdict != DEAD && (changes || (a.verdict != UNKNOWN && a.verdict != AGAIN)));
    want(a.cause <= CAUSE_CREDENTIALS && a.code && *a.code && a.wait_ms >= -1);
    want_discreet(a.reason, sizeof a.reason, 4);
    free(body);
    return 0;
}

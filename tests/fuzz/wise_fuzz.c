/* Any bytes as an answer of Wise's. Bytes: call and kind of exchange, status, content type, body. */
#include "common/vendors/wise.h"

#include "common/vendors/reading.h"
#include "tests/fuzz/fuzz.h"

enum { CALLS = 9 };

static void want_id(const char *id)
{
    want(strnlen(id, WISE_ID_SIZE) < WISE_ID_SIZE && (!id[0] || wise_id(id)));
}

static void want_date(const char *date)
{
    want(!date[0] || (strlen(date) == 10 && date[4] == '-' && date[7] == '-' && strspn(date, "0123456789-") == 10));
}

static void want_costs(const struct wise_costs *costs)
{
    const struct wise_cost *const all[] = {&costs->placement, &costs->pickup, &costs->lending, &costs->total};
    int64_t most = wise_cost_at_most(costs);

    want(most >= -1 && costs->punches >= -1);
    for (size_t i = 0; i < COUNT(all); i++) {
        want(strnlen(all[i]->text, sizeof all[i]->text) < sizeof all[i]->text);
        want(all[i]->hundredths >= -1 && (most < 0 || all[i]->hundredths <= most));
    }
}

static void want_login(const struct wise_login *login, const struct answer *a, bool patron)
{
    want(strnlen(login->token, sizeof login->token) < sizeof login->token && (a->verdict == DONE) == (login->token[0] != '\0'));
    for (const char *c = login->token; *c; c++)
        want(*c > ' ' && *c <= '~');
    want_id(login->patron_system_id);
    want_id(login->library_id);
    want_date(login->membership_expiry);
    want(!patron || a->verdict != DONE || (login->patron_system_id[0] && login->library_id[0]));
}

static void want_branches(const struct wise_branches *branches)
{
    want(branches->count <= WISE_BRANCHES_MAX);
    for (size_t i = 0; i < branches->count; i++)
        want(branches->at[i].id[0] && wise_id(branches->at[i].id));
}

/* What follows from an offer: nothing is placed that is not offered or dearer than agreed. */
static void want_offer(const struct wise_offer *offer)
{
    struct wise_terms terms = {.ill = WISE_ILL_IF_NEEDED, .cost_max = 250, .punches_max = 2};
    struct answer a = wise_offer_decide(offer, &terms, "6490");
    struct http_request req = {0};

    want_id(offer->pickup.id);
    want_branches(&offer->others);
    want_costs(&offer->costs);
    want_discreet(a.reason, sizeof a.reason, 9); /* it may name a price */
    if (a.verdict == DONE) {
        bool ill = !strcmp(a.code, "ill");
        struct wise_order order = {.title = "1", .hold_parameters = offer->hold_parameters, .ill = ill,
                                   .pickup_branch = "6490"};
        want((ill ? offer->ill_allowed : offer->hold_possible) && wise_cost_at_most(&offer->costs) >= 0 &&
             wise_cost_at_most(&offer->costs) <= 250 && offer->hold_parameters[0]);
        wise_place_request(&req, &(struct wise_session){.key = "k", .token = "t"}, "p", "I649", &order);
        json_object *sent = NULL;
        want(!json_read(text_str(&req.body), req.body.len, &sent).kind);
        want(!strcmp(json_str(sent, "holdParameters") + 1, offer->hold_parameters + 1));
        json_object_put(sent);
    }
    http_request_free(&req);
}

static void want_options(const struct wise_options *options)
{
    static const char *const titles[] = {"1137719", "4595"};
    struct wise_terms terms = {.ill = WISE_ILL_NEVER, .cost_max = 250, .punches_max = -1};
    bool place[2];
    struct answer a = wise_options_decide(options, &terms, titles, 2, WISE_ONE, place);

    want(options->count <= WISE_TITLES_MAX);
    for (size_t i = 0; i < options->count; i++)
        want(options->titles[i].title[0] && wise_id(options->titles[i].title));
    want_branches(&options->others);
    want_costs(&options->costs);
    want(a.verdict != DONE || place[0] || place[1]);
}

static void want_holds(const struct wise_holds *holds, const struct answer *a)
{
    static const char *const titles[] = {"1137719", "4595"};
    size_t at[2];
    struct wise_placing placing = {.titles = titles, .count = 2, .together = WISE_ONE, .since = "2021-06-10"};
    struct answer became = wise_became_placed(holds, &placing, at);

    want(holds->count <= WISE_HOLDS_MAX && (!holds->complete || a->verdict == DONE) && holds->next >= 0);
    for (size_t i = 0; i < holds->count; i++) {
        const struct wise_hold *hold = &holds->at[i];
        want_id(hold->id);
        want_id(hold->number);
        want(hold->title_id[0] && (hold->id[0] || hold->number[0]) && hold->status <= WISE_CLOSED);
        want_date(hold->placed);
        want_date(hold->due);
        want(wise_hold_find(holds, hold->id, hold->number) != NULL);
    }
    want(became.verdict == DONE ? at[0] != SIZE_MAX || at[1] != SIZE_MAX : at[0] == SIZE_MAX && at[1] == SIZE_MAX);
    /* only a whole list says that something is not there */
    want(became.verdict != AGAIN || holds->complete);
    want(wise_became_cancelled(holds, "999", NULL).verdict != DONE || holds->complete || wise_hold_find(holds, "999", NULL));
}

static struct answer call(unsigned which, const struct http_response *res, struct wise_spelling *spelling)
{
    static const char *const titles[] = {"1137719", "4595"};
    static const struct wise_group group = {.titles = titles, .count = 2, .together = WISE_ONE, .pickup_branch = "6490"};
    static struct wise_offer offer;
    static struct wise_options options;
    static struct wise_holds holds;
    static struct wise_login login;
    struct wise_placed placed = {0};
    struct answer a;

    switch (which) {
    case 0: a = wise_staff_login_answer(res, spelling, &login); want_login(&login, &a, false); return a;
    case 1: a = wise_patron_login_answer(res, spelling, &login); want_login(&login, &a, true); return a;
    case 2: a = wise_proxy_login_answer(res, spelling, &login); want_login(&login, &a, false); return a;
    case 3: a = wise_prepare_answer(res, spelling, &offer); want_offer(&offer); return a;
    case 4: a = wise_options_answer(res, spelling, &options); want_options(&options); return a;
    case 5: a = wise_place_answer(res, spelling, &placed); break;
    case 6: a = wise_place_several_answer(res, spelling, &group, &placed); break;
    case 7:
        memset(&holds, 0, sizeof holds);
        a = wise_list_answer(res, spelling, &holds);
        want_holds(&holds, &a);
        return a;
    default: return wise_cancel_answer(res, spelling);
    }
    want_id(placed.id);
    want_id(placed.number);
    want_id(placed.group_id);
    return a;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const int statuses[] = {200, 201, 204, 302, 400, 401, 403, 404, 405, 409, 422, 429, 500, 502, 503, 504};
    static const char *const types[] = {"", "application/json", "text/html", "text/plain"};
    struct wise_spelling spelling = {0};
    int64_t n = -1;

    struct http_response res;
    char *body = fuzz_exchange(data, size, statuses, types, &res);
    if (!body)
        return 0;
    want(!wise_hundredths(body, &n) || n >= 0);
    unsigned which = (data[0] & 0x1F) % CALLS;
    bool changes = which == 5 || which == 6 || which == 8;
    struct answer a = call(which, &res, &spelling);

    want(a.verdict != DEAD && (changes || a.verdict != UNKNOWN));
    want(spelling.now < 4 && (a.verdict == AGAIN && !strcmp(a.code, "other_spelling")) == (spelling.now != 0));
    /* a call that changes something and may have been carried out is never simply sent again */
    want(!changes || !(res.end == HTTP_UNKNOWN || (res.status >= 500 && res.status != 503)) || a.verdict == UNKNOWN ||
         a.verdict == REJECTED);
    want(a.cause <= CAUSE_CREDENTIALS && a.code && *a.code && a.wait_ms >= -1);
    want_discreet(a.reason, sizeof a.reason, 4);
    free(body);
    return 0;
}

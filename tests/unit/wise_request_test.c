#include "common/wise.h"

#include "common/json.h"
#include "common/scoped.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define PATRON "4be868c83ea2f8c03b3e052bb35cf0ff"
#define LIBRARY "\"library\":\"I649\""
#define HOLD LIBRARY ",\"title\":\"4595\",\"branch\":\"6490\""
#define HOLDS LIBRARY ",\"titles\":[\"1137719\",\"4595\"],\"type\":\"ONE\",\"pickup\":\"6490\""

static struct wise_holds holds; /* too large for a stack */
static struct wise_offer offer;
static struct wise_options options;
static struct text text;
static const int64_t now = 1795694400; /* 2026-11-26T12:00:00Z */

static json_object *parse(const char *json)
{
    json_object *value = NULL;
    struct fault f = json_read(json, strlen(json), &value);

    if (f.kind)
        fail_msg("%s: %s", f.what, json);
    return value;
}

/* ---- what is asked ---- */

static const struct {
    const char *action, *members, *wrong; /* wrong: what the fault begins with; NULL: nothing */
} asked_for[] = {
    {"hold", HOLD, NULL},
    {"hold", HOLD ",\"pickup\":\"6491\",\"due\":\"2026-12-31\",\"cost_max\":2.5,\"ill\":\"if_needed\"", NULL},
    {"hold", HOLD ",\"pickup\":null,\"due\":null,\"cost_max\":null,\"ill\":null", NULL},
    {"hold", HOLD ",\"colour\":\"green\"", NULL},
    {"hold", "\"library\":7,\"title\":\"1\",\"branch\":\"1\"", "library: want a string"},
    {"hold", "\"library\":\"\",\"title\":\"1\",\"branch\":\"1\"", "library:"},
    {"hold", "\"library\":\"I 649\",\"title\":\"1\",\"branch\":\"1\"", "library: want letters, digits"},
    {"hold", "\"title\":\"1\",\"branch\":\"1\"", "library: missing"},
    {"hold", LIBRARY ",\"branch\":\"1\"", "title: missing"},
    {"hold", LIBRARY ",\"title\":4595,\"branch\":\"1\"", "title: want a string"},
    {"hold", LIBRARY ",\"title\":\"01234567890123456789012345678901234567890\",\"branch\":\"1\"", "title:"},
    {"hold", LIBRARY ",\"title\":\"4595\"", "branch: missing"},
    {"hold", HOLD ",\"pickup\":\"\"", "pickup: want letters"},
    {"hold", HOLD ",\"due\":\"31-12-2026\"", "due: want a day"},
    {"hold", HOLD ",\"due\":\"2026-02-30\"", "due: want a day"},
    {"hold", HOLD ",\"due\":\"\"", "due: want a day"},
    {"hold", HOLD ",\"due\":\"2026-12-31T00:00:00Z\"", "due:"},
    {"hold", HOLD ",\"cost_max\":0", NULL},
    {"hold", HOLD ",\"cost_max\":10000", NULL},
    {"hold", HOLD ",\"cost_max\":10000.01", "cost_max: want an amount"},
    {"hold", HOLD ",\"cost_max\":-1", "cost_max: want an amount"},
    {"hold", HOLD ",\"cost_max\":1e2", "cost_max: want an amount"},
    {"hold", HOLD ",\"cost_max\":\"2.50\"", "cost_max: want an amount"},
    {"hold", HOLD ",\"cost_max\":true", "cost_max: want an amount"},
    {"hold", HOLD ",\"ill\":\"only\"", NULL},
    {"hold", HOLD ",\"ill\":\"yes\"", "ill: want"},
    {"hold", HOLD ",\"ill\":1", "ill: want"},
    {"holds", HOLDS, NULL},
    {"holds", HOLDS ",\"fast\":true", NULL},
    {"holds", HOLDS ",\"fast\":\"true\"", "fast: want true or false"},
    {"holds", LIBRARY ",\"titles\":[\"1\"],\"type\":\"ALL\"", "pickup: missing"},
    {"holds", LIBRARY ",\"titles\":[\"1\"],\"type\":\"SOME\",\"pickup\":\"1\"", "type: want ONE or ALL"},
    {"holds", LIBRARY ",\"titles\":[\"1\"],\"type\":\"all\",\"pickup\":\"1\"", "type: want ONE or ALL"},
    {"holds", LIBRARY ",\"titles\":[\"1\"],\"pickup\":\"1\"", "type: want ONE or ALL"},
    {"holds", LIBRARY ",\"titles\":[],\"type\":\"ALL\",\"pickup\":\"1\"", "titles: want a list of 1 to 50"},
    {"holds", LIBRARY ",\"titles\":\"1\",\"type\":\"ALL\",\"pickup\":\"1\"", "titles: want a list of 1 to 50"},
    {"holds", LIBRARY ",\"titles\":[1],\"type\":\"ALL\",\"pickup\":\"1\"", "titles: want strings"},
    {"holds", LIBRARY ",\"titles\":[\"1\",\"1\"],\"type\":\"ALL\",\"pickup\":\"1\"", "titles: want strings"},
    {"holds", LIBRARY ",\"titles\":[\"1/2\"],\"type\":\"ALL\",\"pickup\":\"1\"", "titles: want strings"},
    {"list", LIBRARY, NULL},
    {"list", "", "library: missing"},
    {"cancel_hold", LIBRARY ",\"hold\":\"617985\"", NULL},
    {"cancel_hold", LIBRARY, "hold: missing"},
    {"renew", LIBRARY, "action: want"},
    {"", LIBRARY, "action: want"},
};

static struct fault ask(struct request *request, const char *action, const char *members, struct wise_asked *ret)
{
    char json[2000];

    snprintf(json, sizeof json, "{%s}", members);
    json_object_put(request->asked);
    request->asked = parse(json);
    text_copy(request->action, sizeof request->action, action);
    text_copy(request->patron, sizeof request->patron, PATRON);
    return wise_asked_read(request, ret);
}

static void test_asked(void **state)
{
    struct request request = {0};
    struct wise_asked asked;

    (void)state;
    for (size_t i = 0; i < COUNT(asked_for); i++) {
        struct fault f = ask(&request, asked_for[i].action, asked_for[i].members, &asked);
        const char *wrong = asked_for[i].wrong;
        if (wrong ? !f.kind || strncmp(f.what, wrong, strlen(wrong)) : f.kind)
            fail_msg("%s %s: %s", asked_for[i].action, asked_for[i].members, f.what);
    }
    assert_int_equal(ask(&request, "list", LIBRARY, &asked).kind, FAULT_NONE);
    text_copy(request.patron, sizeof request.patron, "not one/of Wise's");
    assert_int_equal(wise_asked_read(&request, &asked).kind, FAULT_REJECT);
    request_release(&request);
}

static void test_asked_values(void **state)
{
    static const struct {
        const char *json;
        int64_t hundredths;
    } costs[] = {{"0", 0}, {"2", 200}, {"2.5", 250}, {"2.50", 250}, {"2.509", 250}, {"0.009", 0}, {"10000", 1000000}};
    static const struct {
        const char *json;
        enum wise_ill ill;
    } ills[] = {{"\"never\"", WISE_ILL_NEVER}, {"\"if_needed\"", WISE_ILL_IF_NEEDED}, {"\"only\"", WISE_ILL_ONLY}};
    struct request request = {0};
    struct wise_asked asked;
    char members[300];

    (void)state;
    assert_int_equal(ask(&request, "hold", HOLD, &asked).kind, FAULT_NONE);
    assert_int_equal(asked.terms.cost_max, -1);
    assert_int_equal(asked.terms.punches_max, -1);
    assert_int_equal(asked.terms.ill, WISE_ILL_NEVER);
    assert_int_equal(asked.together, WISE_ALL);
    assert_int_equal(asked.titles.count, 1);
    assert_string_equal(asked.titles.at[0], "4595");
    assert_string_equal(asked.terms.pickup_branch, "");
    for (size_t i = 0; i < COUNT(costs); i++) {
        snprintf(members, sizeof members, HOLD ",\"cost_max\":%s", costs[i].json);
        assert_int_equal(ask(&request, "hold", members, &asked).kind, FAULT_NONE);
        assert_int_equal(asked.terms.cost_max, costs[i].hundredths);
    }
    for (size_t i = 0; i < COUNT(ills); i++) {
        snprintf(members, sizeof members, HOLD ",\"ill\":%s", ills[i].json);
        assert_int_equal(ask(&request, "hold", members, &asked).kind, FAULT_NONE);
        assert_int_equal(asked.terms.ill, ills[i].ill);
    }
    assert_int_equal(ask(&request, "holds", HOLDS ",\"fast\":true,\"due\":\"2026-12-31\"", &asked).kind, FAULT_NONE);
    assert_int_equal(asked.together, WISE_ONE);
    assert_int_equal(asked.titles.count, 2);
    assert_true(asked.terms.fast_delivery);
    assert_string_equal(asked.due, "2026-12-31");
    request_release(&request);
}

/* ---- may it be placed ---- */

static const struct {
    const char *when, *terms;
    bool hold, ill, choose;
    int64_t cost; /* hundredths; -1: not said */
    const char *code;
    bool asks;
} offers[] = {
    {"it can be had", "", true, false, false, 0, "hold", false},
    {"from another library, agreed", ",\"ill\":\"if_needed\"", false, true, false, 0, "ill", false},
    {"both, agreed if needed", ",\"ill\":\"if_needed\"", true, true, false, 0, "hold", false},
    {"both, and only that is wanted", ",\"ill\":\"only\"", true, true, false, 0, "ill", false},
    {"only from another library", "", false, true, false, 0, "only_ill", true},
    {"the same, and too dear", ",\"cost_max\":1", false, true, false, 200, "only_ill", true},
    {"only as a hold", ",\"ill\":\"only\"", true, false, false, 0, "only_hold", true},
    {"not at all", "", false, false, false, 0, "not_possible", false},
    {"not at all, ILL agreed", ",\"ill\":\"if_needed\"", false, false, false, 0, "not_possible", false},
    {"not at all, only ILL wanted", ",\"ill\":\"only\"", false, false, false, 0, "not_possible", false},
    {"too dear", ",\"cost_max\":1.99", true, false, false, 200, "too_dear", true},
    {"just cheap enough", ",\"cost_max\":2", true, false, false, 200, "hold", false},
    {"nobody says the cost", ",\"cost_max\":2", true, false, false, -1, "cost_unknown", true},
    {"nobody says the cost, any is agreed to", "", true, false, false, -1, "hold", false},
    {"an issue is to be chosen", "", true, false, true, 0, "choose_issue", false},
    {"another branch", ",\"pickup\":\"6491\"", true, false, false, 0, "other_branch", false},
    {"a branch that is none", ",\"pickup\":\"9999\"", true, false, false, 0, "branch_not_offered", true},
    {"only from another library, for another branch", ",\"pickup\":\"6491\"", false, true, false, 0, "other_branch", false},
};

static void make_offer(bool hold, bool ill, int64_t cost)
{
    offer = (struct wise_offer){.hold_possible = hold, .ill_allowed = ill, .pickup = {.id = "6490", .type = "B"},
                                .hold_parameters = "N;N649;BIEB;I649;6490;6490|6491|~~~~|", .queue_position = 3};
    offer.others.count = 1;
    offer.others.at[0] = (struct wise_branch){.id = "6491", .type = "B", .name = "Negenmanneke"};
    if (cost >= 0) {
        offer.costs.total.hundredths = cost;
        snprintf(offer.costs.total.text, sizeof offer.costs.total.text, "%d", (int)cost);
    }
}

static void test_offers(void **state)
{
    struct request request = {0};
    struct wise_asked asked;
    char members[300];

    (void)state;
    for (size_t i = 0; i < COUNT(offers); i++) {
        bool asks = !offers[i].asks;
        snprintf(members, sizeof members, HOLD "%s", offers[i].terms);
        assert_int_equal(ask(&request, "hold", members, &asked).kind, FAULT_NONE);
        make_offer(offers[i].hold, offers[i].ill, offers[i].cost);
        offer.choose_issue = offers[i].choose;
        struct answer a = wise_judge_offer(&offer, &asked, "6490", &asks);
        if (strcmp(a.code, offers[i].code) || asks != offers[i].asks)
            fail_msg("%s: %s, asks %d", offers[i].when, a.code, asks);
        bool possible = !strcmp(a.code, "hold") || !strcmp(a.code, "ill");
        assert_int_equal(a.verdict, possible ? DONE : strcmp(a.code, "other_branch") ? REJECTED : AGAIN);
    }
    request_release(&request);
}

static const struct {
    const char *when, *type, *terms;
    bool hold[2], ill[2];
    int64_t cost;
    const char *code;
    bool asks, place[2]; /* place: where it is "holds" */
} several[] = {
    {"both can be had", "ALL", "", {1, 1}, {0, 0}, 0, "holds", false, {1, 1}},
    {"one of them is enough", "ONE", "", {0, 1}, {0, 0}, 0, "holds", false, {0, 1}},
    {"one is missing", "ALL", "", {0, 1}, {0, 0}, 0, "not_possible", false, {0}},
    {"one only from another library", "ALL", "", {0, 1}, {1, 0}, 0, "only_ill", true, {0}},
    {"the same, agreed", "ALL", ",\"ill\":\"if_needed\"", {0, 1}, {1, 0}, 0, "holds", false, {1, 1}},
    {"one of them, only from another library", "ONE", "", {0, 0}, {1, 0}, 0, "only_ill", true, {0}},
    {"each may cost it", "ALL", ",\"cost_max\":1.5", {1, 1}, {0, 0}, 100, "too_dear", true, {0}},
    {"one costs it", "ONE", ",\"cost_max\":1.5", {1, 1}, {0, 0}, 100, "holds", false, {1, 1}},
    {"not fast", "ALL", ",\"fast\":true", {1, 1}, {0, 0}, 0, "fast_not_possible", true, {0}},
    {"only ILL, and there is none", "ALL", ",\"ill\":\"only\"", {1, 1}, {1, 0}, 0, "only_hold", true, {0}},
};

static void test_several(void **state)
{
    struct request request = {0};
    struct wise_asked asked;
    char members[300];

    (void)state;
    for (size_t i = 0; i < COUNT(several); i++) {
        bool asks = !several[i].asks, place[WISE_TITLES_MAX];
        snprintf(members, sizeof members, LIBRARY ",\"titles\":[\"1\",\"2\"],\"pickup\":\"6490\",\"type\":\"%s\"%s",
                 several[i].type, several[i].terms);
        assert_int_equal(ask(&request, "holds", members, &asked).kind, FAULT_NONE);
        options = (struct wise_options){.count = 2, .pickup_branch = "6490", .strategy = "BRANCH"};
        options.costs.placement = (struct wise_cost){.text = "0", .hundredths = several[i].cost};
        for (size_t j = 0; j < 2; j++) {
            snprintf(options.titles[j].title, WISE_ID_SIZE, "%zu", j + 1);
            options.titles[j].hold_allowed = several[i].hold[j];
            options.titles[j].ill_allowed = several[i].ill[j];
        }
        struct answer a = wise_judge_options(&options, &asked, place, &asks);
        if (strcmp(a.code, several[i].code) || asks != several[i].asks)
            fail_msg("%s: %s, asks %d", several[i].when, a.code, asks);
        if (a.verdict == DONE)
            assert_true(place[0] == several[i].place[0] && place[1] == several[i].place[1]);
    }
    request_release(&request);
}

/* ---- what is learned comes back ---- */

static json_object *written(void)
{
    json_object *value;

    assert_false(text.failed);
    value = parse(text_str(&text));
    text_clear(&text);
    return value;
}

static void test_prepared(void **state)
{
    static const bool place[] = {true, false};
    struct request request = {0};
    struct wise_prepared prepared;
    struct wise_asked asked;

    (void)state;
    assert_int_equal(ask(&request, "hold", HOLD, &asked).kind, FAULT_NONE);
    assert_false(wise_prepared_read(NULL, &asked, &prepared));
    make_offer(false, true, 250);
    wise_learn_offer(&text, &offer, "6490", true, now);
    SCOPED(json_object_put) json_object *known = written();
    assert_true(wise_prepared_read(known, &asked, &prepared));
    assert_true(prepared.ill && prepared.at == now);
    assert_string_equal(prepared.parameters, offer.hold_parameters);
    assert_string_equal(prepared.pickup, "6490");
    assert_string_equal(json_str(prepared.offer, "cost"), "2.50");
    assert_string_equal(prepared.titles.at[0], "4595");

    assert_int_equal(ask(&request, "holds", HOLDS, &asked).kind, FAULT_NONE);
    assert_false(wise_prepared_read(known, &asked, &prepared)); /* it is another's */
    options = (struct wise_options){.strategy = "BRANCH"}; /* the branch is not said */
    wise_learn_options(&text, &options, &asked.titles, place, now);
    SCOPED(json_object_put) json_object *of_several = written();
    assert_true(wise_prepared_read(of_several, &asked, &prepared));
    assert_int_equal(prepared.titles.count, 1);
    assert_string_equal(prepared.titles.at[0], "1137719");
    assert_string_equal(prepared.strategy, "BRANCH");
    assert_string_equal(prepared.pickup, "6490");
    assert_null(json_str(prepared.offer, "cost")); /* not said is not free */
    request_release(&request);
}

static void put_offer(const char *want)
{
    wise_put_offer(&text, &offer, "6490");
    assert_string_equal(text_str(&text), want);
    text_clear(&text);
}

static void test_offer_in_words(void **state)
{
    (void)state;
    make_offer(true, false, 250);
    put_offer("{\"hold\":true,\"ill\":false,\"cost\":\"2.50\",\"punches\":0,\"queue\":3,\"pickup\":\"6490\","
              "\"pickups\":[{\"branch\":\"6491\",\"name\":\"Negenmanneke\"}]}");
    offer = (struct wise_offer){.costs = {.punches = -1}};
    put_offer("{\"hold\":false,\"ill\":false,\"cost\":null,\"punches\":null,\"queue\":null,\"pickup\":\"6490\","
              "\"pickups\":[]}");
}

/* ---- what was there before ---- */

static void hold(size_t at, const char *id, const char *title, const char *placed)
{
    struct wise_hold *h = &holds.at[at];

    *h = (struct wise_hold){.status = WISE_ACTIVE, .cancel_allowed = true};
    text_copy(h->id, sizeof h->id, id);
    text_copy(h->title_id, sizeof h->title_id, title);
    text_copy(h->placed, sizeof h->placed, placed);
    if (holds.count <= at)
        holds.count = at + 1;
}

static void test_before(void **state)
{
    struct request request = {0};
    struct wise_prepared prepared;
    struct wise_placing_known placing;
    struct wise_asked asked;

    (void)state;
    assert_int_equal(ask(&request, "hold", HOLD, &asked).kind, FAULT_NONE);
    prepared.titles = asked.titles;
    holds = (struct wise_holds){.complete = true};
    hold(0, "1", "4595", "2026-11-26");
    hold(1, "2", "7", "2026-11-26");
    hold(2, "", "4595", "2021-01-01");
    text_copy(holds.at[2].number, WISE_ID_SIZE, "21010100001"); /* it has no id */
    assert_false(wise_placing_read(NULL, &prepared, &placing));
    assert_false(wise_placing_fresh(NULL, now));
    wise_learn_placing(&text, &holds, &asked.titles, now, 0);
    SCOPED(json_object_put) json_object *known = written();
    assert_true(wise_placing_read(known, &prepared, &placing));
    assert_string_equal(placing.since, "2026-11-26");
    assert_true(placing.complete && placing.again == 0);
    assert_string_equal(placing.left.at[0], "4595");
    assert_true(wise_placing_fresh(known, now + WISE_FRESH_SECONDS - 1));
    assert_false(wise_placing_fresh(known, now + WISE_FRESH_SECONDS));

    /* what is new is ours, whatever day it says */
    hold(3, "3", "4595", "");
    hold(4, "4", "4595", "2020-01-01");
    wise_only_new(&holds, known);
    assert_int_equal(holds.count, 3);
    assert_string_equal(holds.at[0].id, "2");
    assert_string_equal(holds.at[1].id, "3");
    assert_string_equal(holds.at[1].placed, "2026-11-26");
    assert_string_equal(holds.at[2].placed, "2026-11-26");

    /* unless not all were known */
    holds = (struct wise_holds){.complete = false};
    hold(0, "1", "4595", "2026-11-26");
    wise_learn_placing(&text, &holds, &asked.titles, now, 0);
    SCOPED(json_object_put) json_object *vague = written();
    hold(1, "2", "4595", "2020-01-01");
    wise_only_new(&holds, vague);
    assert_int_equal(holds.count, 1);
    assert_string_equal(holds.at[0].placed, "2020-01-01");
    request_release(&request);
}

static void test_since_is_the_earlier_day(void **state)
{
    static const struct {
        int64_t now;
        int offset;
        const char *since;
    } days[] = {{now, 0, "2026-11-26"}, {now, -5 * 3600, "2026-11-26"}, {now - 10 * 3600, -5 * 3600, "2026-11-25"},
                {now + 11 * 3600, 2 * 3600, "2026-11-26"}};
    struct wise_titles none = {0};

    (void)state;
    holds = (struct wise_holds){0};
    for (size_t i = 0; i < COUNT(days); i++) {
        wise_learn_placing(&text, &holds, &none, days[i].now, days[i].offset);
        SCOPED(json_object_put) json_object *known = written();
        assert_string_equal(json_str(json_get(known, "placing"), "since"), days[i].since);
    }
}

static void test_again(void **state)
{
    struct request request = {0};
    struct wise_prepared prepared;
    struct wise_placing_known placing;
    struct wise_asked asked;
    struct wise_titles left = {.count = 1, .at = {"4595"}};

    (void)state;
    assert_int_equal(ask(&request, "holds", HOLDS, &asked).kind, FAULT_NONE);
    prepared.titles = asked.titles;
    holds = (struct wise_holds){.complete = true};
    hold(0, "1", "4595", "2026-11-26");
    wise_learn_placing(&text, &holds, &asked.titles, now, 0);
    SCOPED(json_object_put) json_object *known = written();
    assert_true(wise_placing_read(known, &prepared, &placing));
    assert_int_equal(placing.left.count, 2);
    for (int64_t again = 1; again < 3; again++) {
        wise_learn_again(&text, known, &left);
        SCOPED(json_object_put) json_object *more = written();
        assert_true(wise_placing_read(more, &prepared, &placing));
        assert_int_equal(placing.again, again);
        assert_int_equal(placing.left.count, 1);
        assert_string_equal(placing.left.at[0], "4595");
        wise_only_new(&holds, more); /* what was there is still known */
        assert_int_equal(holds.count, 0);
        hold(0, "1", "4595", "2026-11-26");
    }
    request_release(&request);
}

static void test_placed(void **state)
{
    struct wise_prepared prepared = {.titles = {.count = 2, .at = {"1", "2"}}};
    SCOPED(json_object_put) json_object *free_of_charge = parse("{\"cost\":\"0.00\"}");

    (void)state;
    prepared.offer = free_of_charge;
    holds = (struct wise_holds){.complete = true};
    hold(0, "10", "1", "2026-11-26");
    hold(1, "11", "1", "2026-11-26"); /* twice: both are shown */
    hold(2, "12", "3", "2026-11-26");
    hold(3, "13", "2", "2026-11-25");
    hold(4, "14", "2", "2026-11-26");
    holds.at[4].status = WISE_CLOSED;
    wise_put_placed(&text, &holds, &prepared, "2026-11-26", false);
    SCOPED(json_object_put) json_object *outcome = written();
    json_object *shown = json_get(outcome, "holds"), *missing = json_get(outcome, "missing");
    assert_int_equal(json_object_array_length(shown), 2);
    assert_string_equal(json_str(json_object_array_get_idx(shown, 1), "hold"), "11");
    assert_string_equal(json_str(json_object_array_get_idx(shown, 0), "status"), "ACTIVE");
    assert_null(json_get(json_object_array_get_idx(shown, 0), "group"));
    assert_int_equal(json_object_array_length(missing), 1);
    assert_string_equal(json_object_get_string(json_object_array_get_idx(missing, 0)), "2");
    assert_string_equal(json_str(outcome, "cost"), "0.00");
    assert_null(json_get(outcome, "ill"));
}

/* ---- patrons' tokens ---- */

static void test_tokens(void **state)
{
    char patron[WISE_ID_SIZE];

    (void)state;
    assert_string_equal(wise_tokens_find("a", "I649", now), "");
    wise_tokens_keep("a", "I649", "first", now, now + 100);
    wise_tokens_keep("a", "I650", "elsewhere", now, now + 100);
    wise_tokens_keep("a", "I649", "second", now, now + 100);
    assert_string_equal(wise_tokens_find("a", "I649", now + 99), "second");
    assert_string_equal(wise_tokens_find("a", "I650", now + 99), "elsewhere");
    wise_tokens_forget("a", "I649", "first"); /* another has taken its place */
    assert_string_equal(wise_tokens_find("a", "I649", now), "second");
    wise_tokens_forget("a", "I649", "second");
    assert_string_equal(wise_tokens_find("a", "I649", now), "");
    assert_string_equal(wise_tokens_find("a", "I650", now + 100), ""); /* its day is over */
    assert_int_equal(wise_tokens_count(), 0);

    for (int i = 0; i < WISE_TOKENS_MAX + 10; i++) {
        snprintf(patron, sizeof patron, "p%d", i);
        wise_tokens_keep(patron, "I649", patron, now, now + 100);
    }
    assert_int_equal(wise_tokens_count(), WISE_TOKENS_MAX);
    assert_string_equal(wise_tokens_find("p9", "I649", now), ""); /* the oldest went first */
    assert_string_equal(wise_tokens_find("p10", "I649", now), "p10");
    wise_tokens_keep("new", "I649", "token", now + 100, now + 200); /* and a day's all at its end */
    assert_int_equal(wise_tokens_count(), 1);
}

static int clean(void **state)
{
    (void)state;
    text_free(&text);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_asked), cmocka_unit_test(test_asked_values), cmocka_unit_test(test_offers),
        cmocka_unit_test(test_several), cmocka_unit_test(test_prepared), cmocka_unit_test(test_offer_in_words),
        cmocka_unit_test(test_before), cmocka_unit_test(test_since_is_the_earlier_day), cmocka_unit_test(test_again),
        cmocka_unit_test(test_placed), cmocka_unit_test(test_tokens),
    };

    return cmocka_run_group_tests(tests, NULL, clean);
}

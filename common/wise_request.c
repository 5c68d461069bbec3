#include "common/wise_request.h"

#include "common/instant.h"
#include "common/json.h"
#include "common/scoped.h"
#include "common/vendors/reading.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* ---- what is asked ---- */

static struct fault read_id(json_object *in, const char *key, bool wanted, const char **ret)
{
    char id[WISE_ID_SIZE];

    TRY(wanted ? json_text(in, key, id, sizeof id) : json_text_opt(in, key, id, sizeof id));
    if (id[0] ? !wise_id(id) : json_get(in, key) != NULL)
        return FAULT(REJECT, "%s: want letters, digits, - and _, at most %d", key, WISE_ID_SIZE - 1);
    *ret = id[0] ? json_str(in, key) : "";
    return FAULT_OK;
}

static struct fault read_flag(json_object *in, const char *key, bool *ret)
{
    json_object *value = json_get(in, key);

    if (value && !json_object_is_type(value, json_type_boolean))
        return FAULT(REJECT, "%s: want true or false", key);
    *ret = value && json_object_get_boolean(value);
    return FAULT_OK;
}

static struct fault read_due(json_object *in, const char **ret)
{
    char day[WISE_DATE_SIZE], instant[INSTANT_SIZE + WISE_DATE_SIZE];
    int64_t ignored;

    TRY(json_text_opt(in, "due", day, sizeof day));
    snprintf(instant, sizeof instant, "%sT00:00:00Z", day);
    if (day[0] ? !instant_read(instant, &ignored, NULL) : json_get(in, "due") != NULL)
        return FAULT(REJECT, "due: want a day as 2026-12-31");
    *ret = day[0] ? json_str(in, "due") : "";
    return FAULT_OK;
}

/* In hundredths, rounded down: no more is agreed to. -1: any cost is. */
static struct fault read_cost_max(json_object *in, int64_t *ret)
{
    json_object *value = json_get(in, "cost_max");
    bool number = json_object_is_type(value, json_type_int) || json_object_is_type(value, json_type_double);
    char cost[32] = "";

    *ret = -1;
    if (!value)
        return FAULT_OK;
    if (number) /* in the words it was read in */
        text_copy(cost, sizeof cost, json_object_get_string(value));
    char *point = strchr(cost, '.');
    bool plain = cost[0] && !cost[strspn(cost, "0123456789.")];
    if (plain && point && strlen(point) > 3)
        point[3] = '\0';
    if (!plain || !wise_hundredths(cost, ret) || *ret > WISE_COST_MOST)
        return FAULT(REJECT, "cost_max: want an amount of 0 to %d", WISE_COST_MOST / 100);
    return FAULT_OK;
}

static struct fault read_ill(json_object *in, enum wise_ill *ret)
{
    static const char *const choices[] = {"never", "if_needed", "only"};
    const char *word = json_str(in, "ill");

    *ret = WISE_ILL_NEVER;
    if (!json_get(in, "ill"))
        return FAULT_OK;
    for (size_t i = 0; word && i < COUNT(choices); i++)
        if (!strcmp(word, choices[i])) {
            *ret = (enum wise_ill)i;
            return FAULT_OK;
        }
    return FAULT(REJECT, "ill: want never, if_needed or only");
}

static bool is_among(const struct wise_titles *titles, const char *title)
{
    for (size_t i = 0; i < titles->count; i++)
        if (!strcmp(titles->at[i], title))
            return true;
    return false;
}

static struct fault read_titles(json_object *in, struct wise_titles *ret)
{
    json_object *list = json_get(in, "titles");
    size_t count = json_object_is_type(list, json_type_array) ? json_object_array_length(list) : 0;

    if (!count || count > WISE_TITLES_MAX)
        return FAULT(REJECT, "titles: want a list of 1 to %d title numbers in strings", WISE_TITLES_MAX);
    for (ret->count = 0; ret->count < count; ret->count++) {
        json_object *item = json_object_array_get_idx(list, ret->count);
        const char *title = json_object_is_type(item, json_type_string) ? json_object_get_string(item) : "";
        if (!wise_id(title) || strlen(title) != (size_t)json_object_get_string_len(item) || is_among(ret, title))
            return FAULT(REJECT, "titles: want strings of letters, digits, - and _, each once");
        ret->at[ret->count] = title;
    }
    return FAULT_OK;
}

/* What one title and several have in common. */
static struct fault read_wish(json_object *in, bool pickup_wanted, struct wise_asked *ret)
{
    TRY(read_id(in, "pickup", pickup_wanted, &ret->terms.pickup_branch));
    TRY(read_due(in, &ret->due));
    TRY(read_cost_max(in, &ret->terms.cost_max));
    TRY(read_ill(in, &ret->terms.ill));
    ret->terms.punches_max = -1;
    return FAULT_OK;
}

static struct fault read_hold(json_object *in, struct wise_asked *ret)
{
    ret->together = WISE_ALL;
    ret->titles.count = 1;
    TRY(read_id(in, "title", true, &ret->titles.at[0]));
    TRY(read_id(in, "branch", true, &ret->branch));
    return read_wish(in, false, ret);
}

static struct fault read_holds(json_object *in, struct wise_asked *ret)
{
    char type[4];

    TRY(read_titles(in, &ret->titles));
    struct fault f = json_text(in, "type", type, sizeof type);
    if (f.kind || (strcmp(type, "ONE") && strcmp(type, "ALL")))
        return FAULT(REJECT, "type: want ONE or ALL");
    ret->together = strcmp(type, "ONE") ? WISE_ALL : WISE_ONE;
    TRY(read_flag(in, "fast", &ret->terms.fast_delivery));
    return read_wish(in, true, ret);
}

struct fault wise_asked_read(const struct request *request, struct wise_asked *ret)
{
    static const char *const actions[] = {"hold", "holds", "list", "cancel_hold"};
    size_t action = 0;

    while (action < COUNT(actions) && strcmp(actions[action], request->action))
        action++;
    *ret = (struct wise_asked){.action = (enum wise_action)action, .library = "", .branch = "", .due = "", .hold = "",
                               .terms = {.pickup_branch = ""}};
    if (action == COUNT(actions))
        return FAULT(REJECT, "action: want hold, holds, list or cancel_hold");
    if (!wise_id(request->patron))
        return FAULT(REJECT, "patron: want Wise's patronSystemId");
    TRY(read_id(request->asked, "library", true, &ret->library));
    switch (ret->action) {
    case WISE_HOLD: return read_hold(request->asked, ret);
    case WISE_HOLDS: return read_holds(request->asked, ret);
    case WISE_CANCEL_HOLD: return read_id(request->asked, "hold", true, &ret->hold);
    default: return FAULT_OK;
    }
}

/* ---- may it be placed ---- */

static bool is_code(const struct answer *a, const char *code)
{
    return !strcmp(a->code, code);
}

/* A "no" to the terms rather than to the title. */
static bool is_terms(const struct answer *a)
{
    static const char *const codes[] = {"too_dear", "cost_unknown", "branch_not_offered", "fast_not_possible"};

    for (size_t i = 0; a->verdict == REJECTED && i < COUNT(codes); i++)
        if (is_code(a, codes[i]))
            return true;
    return false;
}

/* The other way to have it. */
static struct wise_terms otherwise(const struct wise_terms *terms)
{
    struct wise_terms other = *terms;

    other.ill = terms->ill == WISE_ILL_ONLY ? WISE_ILL_NEVER : WISE_ILL_IF_NEEDED;
    return other;
}

/* other: what would be said if the other way were agreed to. */
static struct answer judge(struct answer a, struct answer other, const struct wise_terms *terms, bool *ret_asks)
{
    *ret_asks = is_terms(&a);
    if (a.verdict != REJECTED || !is_code(&a, "not_possible") || (other.verdict != DONE && !is_terms(&other)))
        return a;
    *ret_asks = true;
    return terms->ill == WISE_ILL_ONLY
               ? answer_make(REJECTED, CAUSE_WORK, "only_hold", "it can only be put on hold, not be had from another library")
               : answer_make(REJECTED, CAUSE_WORK, "only_ill", "it can only be had from another library");
}

struct answer wise_judge_offer(const struct wise_offer *offer, const struct wise_asked *asked, const char *asked_branch,
                               bool *ret_asks)
{
    struct wise_terms other = otherwise(&asked->terms);

    return judge(wise_offer_decide(offer, &asked->terms, asked_branch), wise_offer_decide(offer, &other, asked_branch),
                 &asked->terms, ret_asks);
}

struct answer wise_judge_options(const struct wise_options *options, const struct wise_asked *asked, bool ret_place[],
                                 bool *ret_asks)
{
    const struct wise_titles *titles = &asked->titles;
    struct wise_terms other = otherwise(&asked->terms);
    bool ignored[WISE_TITLES_MAX];

    return judge(wise_options_decide(options, &asked->terms, titles->at, titles->count, asked->together, ret_place),
                 wise_options_decide(options, &other, titles->at, titles->count, asked->together, ignored), &asked->terms,
                 ret_asks);
}

/* ---- writing ---- */

static void put_name(struct text *to, char before, const char *name)
{
    text_putc(to, before);
    text_json(to, name);
    text_putc(to, ':');
}

static void put_text(struct text *to, char before, const char *name, const char *value)
{
    put_name(to, before, name);
    if (value[0])
        text_json(to, value);
    else
        text_puts(to, "null");
}

static void put_flag(struct text *to, char before, const char *name, bool value)
{
    put_name(to, before, name);
    text_puts(to, value ? "true" : "false");
}

/* null where it is not more than `none`. */
static void put_number(struct text *to, char before, const char *name, int64_t value, int64_t none)
{
    put_name(to, before, name);
    if (value > none)
        text_int(to, value);
    else
        text_puts(to, "null");
}

static void put_costs(struct text *to, char before, const struct wise_costs *costs)
{
    int64_t most = wise_cost_at_most(costs);

    put_name(to, before, "cost");
    if (most < 0)
        text_puts(to, "null");
    else
        text_printf(to, "\"%" PRId64 ".%02" PRId64 "\"", most / 100, most % 100);
    put_number(to, ',', "punches", costs->punches, -1);
}

static void put_branches(struct text *to, const struct wise_branches *branches)
{
    put_name(to, ',', "pickups");
    text_putc(to, '[');
    for (size_t i = 0; i < branches->count; i++) {
        text_puts(to, i ? "," : "");
        put_text(to, '{', "branch", branches->at[i].id);
        put_text(to, ',', "name", branches->at[i].name);
        text_putc(to, '}');
    }
    text_putc(to, ']');
}

static void put_list(struct text *to, char before, const char *name, const struct wise_titles *titles)
{
    put_name(to, before, name);
    text_putc(to, '[');
    for (size_t i = 0; i < titles->count; i++) {
        text_puts(to, i ? "," : "");
        text_json(to, titles->at[i]);
    }
    text_putc(to, ']');
}

void wise_put_offer(struct text *to, const struct wise_offer *offer, const char *asked_branch)
{
    put_flag(to, '{', "hold", offer->hold_possible);
    put_flag(to, ',', "ill", offer->ill_allowed);
    put_costs(to, ',', &offer->costs);
    put_number(to, ',', "queue", offer->queue_position, 0);
    put_text(to, ',', "pickup", offer->pickup.id[0] ? offer->pickup.id : asked_branch);
    put_branches(to, &offer->others);
    text_putc(to, '}');
}

void wise_put_options(struct text *to, const struct wise_options *options)
{
    put_name(to, '{', "titles");
    text_putc(to, '[');
    for (size_t i = 0; i < options->count; i++) {
        const struct wise_option *option = &options->titles[i];
        text_puts(to, i ? "," : "");
        put_text(to, '{', "title", option->title);
        put_flag(to, ',', "hold", option->hold_allowed);
        put_flag(to, ',', "ill", option->ill_allowed);
        put_flag(to, ',', "fast", option->fast_allowed);
        put_number(to, ',', "queue", option->queue_position, 0);
        text_putc(to, '}');
    }
    text_putc(to, ']');
    put_costs(to, ',', &options->costs);
    put_text(to, ',', "pickup", options->pickup_branch);
    put_branches(to, &options->others);
    text_putc(to, '}');
}

void wise_learn_offer(struct text *to, const struct wise_offer *offer, const char *asked_branch, bool ill, int64_t now)
{
    text_puts(to, "{\"prepared\":");
    put_number(to, '{', "at", now, 0);
    put_flag(to, ',', "ill", ill);
    put_text(to, ',', "parameters", offer->hold_parameters);
    put_name(to, ',', "offer");
    wise_put_offer(to, offer, asked_branch);
    text_puts(to, "}}");
}

void wise_learn_options(struct text *to, const struct wise_options *options, const struct wise_titles *titles,
                        const bool place[], int64_t now)
{
    struct wise_titles placed = {0};

    for (size_t i = 0; i < titles->count; i++)
        if (place[i])
            placed.at[placed.count++] = titles->at[i];
    text_puts(to, "{\"prepared\":");
    put_number(to, '{', "at", now, 0);
    put_list(to, ',', "titles", &placed);
    put_text(to, ',', "strategy", options->strategy);
    put_name(to, ',', "offer");
    wise_put_options(to, options);
    text_puts(to, "}}");
}

/* ---- placing ---- */

static const char *str_or_empty(json_object *in, const char *key)
{
    const char *value = json_str(in, key);

    return value ? value : "";
}

static void titles_of(json_object *list, struct wise_titles *ret)
{
    ret->count = 0;
    for (size_t i = 0; i < reading_count(list) && ret->count < WISE_TITLES_MAX; i++)
        if (json_object_is_type(reading_at(list, i), json_type_string))
            ret->at[ret->count++] = json_object_get_string(reading_at(list, i));
}

bool wise_prepared_read(json_object *known, const struct wise_asked *asked, struct wise_prepared *ret)
{
    json_object *prepared = json_get(known, "prepared");
    bool single = asked->action == WISE_HOLD;

    *ret = (struct wise_prepared){
        .at = reading_int(prepared, "at"), .parameters = str_or_empty(prepared, "parameters"),
        .strategy = str_or_empty(prepared, "strategy"), .ill = reading_flag(prepared, "ill"),
        .offer = json_get(prepared, "offer"),
    };
    ret->pickup = str_or_empty(ret->offer, "pickup");
    if (!ret->pickup[0]) /* of several titles it need not be said */
        ret->pickup = asked->terms.pickup_branch;
    if (single)
        ret->titles = asked->titles;
    else
        titles_of(json_get(prepared, "titles"), &ret->titles);
    return ret->offer && ret->titles.count && ret->pickup[0] && (!single || ret->parameters[0]);
}

bool wise_placing_read(json_object *known, const struct wise_prepared *prepared, struct wise_placing_known *ret)
{
    json_object *placing = json_get(known, "placing");

    *ret = (struct wise_placing_known){.since = str_or_empty(placing, "since"), .complete = reading_flag(placing, "complete"),
                                       .again = reading_int(placing, "again")};
    titles_of(json_get(placing, "left"), &ret->left);
    if (!ret->left.count)
        ret->left = prepared->titles;
    return placing != NULL;
}

bool wise_placing_fresh(json_object *known, int64_t now)
{
    json_object *placing = json_get(known, "placing");

    return placing && now - reading_int(placing, "at") < WISE_FRESH_SECONDS;
}

/* What a hold is told by. */
static const char *name_of(const struct wise_hold *hold)
{
    return hold->id[0] ? hold->id : hold->number;
}

/* The day it is now, by the earlier of the library's and UTC's calendar. */
static void put_since(struct text *to, int64_t now, int offset_seconds)
{
    char day[INSTANT_SIZE];

    instant_write(offset_seconds < 0 ? now + offset_seconds : now, day);
    day[WISE_DATE_SIZE - 1] = '\0';
    put_text(to, ',', "since", day);
}

void wise_learn_placing(struct text *to, const struct wise_holds *holds, const struct wise_titles *titles, int64_t now,
                        int offset_seconds)
{
    bool first = true;

    text_puts(to, "{\"placing\":");
    put_number(to, '{', "at", now, 0);
    put_since(to, now, offset_seconds);
    put_flag(to, ',', "complete", holds->complete);
    put_name(to, ',', "before");
    text_putc(to, '[');
    for (size_t i = 0; i < holds->count; i++) {
        if (!is_among(titles, holds->at[i].title_id))
            continue;
        text_puts(to, first ? "" : ",");
        text_json(to, name_of(&holds->at[i]));
        first = false;
    }
    text_puts(to, "]}}");
}

void wise_learn_again(struct text *to, json_object *known, const struct wise_titles *left)
{
    json_object *placing = json_get(known, "placing"), *list = json_object_new_array();

    for (size_t i = 0; i < left->count; i++)
        json_object_array_add(list, json_object_new_string(left->at[i]));
    json_object_object_add(placing, "again", json_object_new_int64(reading_int(placing, "again") + 1));
    json_object_object_add(placing, "left", list);
    text_puts(to, "{\"placing\":");
    text_puts(to, json_object_to_json_string_ext(placing, JSON_C_TO_STRING_PLAIN));
    text_putc(to, '}');
}

static bool was_before(json_object *before, const char *name)
{
    for (size_t i = 0; i < reading_count(before); i++)
        if (json_object_is_type(reading_at(before, i), json_type_string) &&
            !strcmp(json_object_get_string(reading_at(before, i)), name))
            return true;
    return false;
}

void wise_only_new(struct wise_holds *holds, json_object *known)
{
    json_object *placing = json_get(known, "placing"), *before = json_get(placing, "before");
    const char *since = str_or_empty(placing, "since");
    bool complete = reading_flag(placing, "complete");
    size_t kept = 0;

    for (size_t i = 0; i < holds->count; i++) {
        if (was_before(before, name_of(&holds->at[i])))
            continue;
        holds->at[kept] = holds->at[i];
        if (complete && strcmp(holds->at[kept].placed, since) < 0)
            text_copy(holds->at[kept].placed, WISE_DATE_SIZE, since);
        kept++;
    }
    holds->count = kept;
}

/* ---- what came of it ---- */

static void put_hold(struct text *to, const struct wise_hold *hold)
{
    put_text(to, '{', "hold", hold->id);
    put_text(to, ',', "number", hold->number);
    put_text(to, ',', "group", hold->group_id);
    put_text(to, ',', "title", hold->title_id);
    put_text(to, ',', "name", hold->title);
    put_text(to, ',', "author", hold->author);
    put_text(to, ',', "status", wise_status_name(hold->status));
    put_text(to, ',', "pickup", hold->pickup_branch);
    put_text(to, ',', "pickup_name", hold->pickup_name);
    put_text(to, ',', "placed", hold->placed);
    put_text(to, ',', "due", hold->due);
    put_text(to, ',', "pickup_until", hold->pickup_until);
    put_number(to, ',', "queue", hold->queue_position, 0);
    put_flag(to, ',', "cancel_allowed", hold->cancel_allowed);
    text_putc(to, '}');
}

void wise_put_list(struct text *to, const struct wise_holds *holds)
{
    put_name(to, '{', "holds");
    text_putc(to, '[');
    for (size_t i = 0; i < holds->count; i++) {
        text_puts(to, i ? "," : "");
        put_hold(to, &holds->at[i]);
    }
    text_putc(to, ']');
    put_flag(to, ',', "complete", holds->complete);
    text_putc(to, '}');
}

void wise_put_placed(struct text *to, const struct wise_holds *holds, const struct wise_prepared *prepared, const char *since,
                     bool single)
{
    struct wise_titles found = {0}, missing = {0};

    put_name(to, '{', "holds");
    text_putc(to, '[');
    for (size_t i = 0; i < holds->count; i++) {
        const struct wise_hold *hold = &holds->at[i];
        if (hold->status == WISE_CLOSED || strcmp(hold->placed, since) < 0 || !is_among(&prepared->titles, hold->title_id))
            continue;
        text_puts(to, found.count ? "," : "");
        put_hold(to, hold);
        if (!is_among(&found, hold->title_id))
            found.at[found.count++] = hold->title_id;
    }
    for (size_t i = 0; i < prepared->titles.count; i++)
        if (!is_among(&found, prepared->titles.at[i]))
            missing.at[missing.count++] = prepared->titles.at[i];
    text_putc(to, ']');
    put_list(to, ',', "missing", &missing);
    if (single)
        put_flag(to, ',', "ill", prepared->ill);
    put_text(to, ',', "cost", str_or_empty(prepared->offer, "cost"));
    text_putc(to, '}');
}

/* What follows from what Wise has answered: no bytes are read or written here, see wise.c. */
#include "common/vendors/wise.h"

#include "common/scoped.h"

#include <inttypes.h>
#include <string.h>

static const int64_t HUNDREDTHS_MAX = INT64_C(10000000000000);

static bool is_given(const char *text)
{
    return text && text[0];
}

/* ---- money ---- */

/* n times ten to the power, rounded up; false beyond HUNDREDTHS_MAX. */
static bool scale(int64_t n, int power, int64_t *ret)
{
    bool rest = false;

    for (; power < 0 && n; power++) {
        rest = rest || n % 10;
        n /= 10;
    }
    n += rest;
    for (; power > 0 && n; power--) {
        if (n > HUNDREDTHS_MAX)
            return false;
        n *= 10;
    }
    *ret = n;
    return n <= HUNDREDTHS_MAX;
}

static bool read_exponent(const char *c, int *ret)
{
    bool negative = *c == '-';
    int n = 0;

    c += *c == '-' || *c == '+';
    if (!*c || strlen(c) > 3)
        return false;
    for (; *c; c++) {
        if (*c < '0' || *c > '9')
            return false;
        n = n * 10 + (*c - '0');
    }
    *ret = negative ? -n : n;
    return true;
}

bool wise_hundredths(const char *text, int64_t *ret)
{
    const char *c = text;
    int64_t n = 0;
    int power = 2, exponent = 0;
    bool point = false, digits = false;

    for (; (*c >= '0' && *c <= '9') || ((*c == '.' || *c == ',') && digits && !point); c++) {
        if (*c == '.' || *c == ',') {
            point = true;
            continue;
        }
        if (n > (INT64_MAX - 9) / 10)
            return false;
        n = n * 10 + (*c - '0');
        power -= point;
        digits = true;
    }
    if (!digits || c[-1] == '.' || c[-1] == ',')
        return false;
    if (*c && ((*c != 'e' && *c != 'E') || !read_exponent(c + 1, &exponent)))
        return false;
    return scale(n, power + exponent, ret);
}

int64_t wise_cost_at_most(const struct wise_costs *costs)
{
    const struct wise_cost *const all[] = {&costs->placement, &costs->pickup, &costs->lending, &costs->total};
    int64_t parts = 0;
    bool said = false;

    for (size_t i = 0; i < COUNT(all); i++) {
        if (all[i]->hundredths < 0)
            return -1;
        said = said || all[i]->text[0];
        parts += all[i] == &costs->total ? 0 : all[i]->hundredths;
    }
    if (!said)
        return -1;
    return parts > costs->total.hundredths ? parts : costs->total.hundredths;
}

/* DONE, or why the patron has not agreed to it. times: how often it may have to be paid. */
static struct answer afford(const struct wise_costs *costs, const struct wise_terms *terms, int64_t times)
{
    int64_t most = wise_cost_at_most(costs);

    if ((terms->cost_max >= 0 && most < 0) || (terms->punches_max >= 0 && costs->punches < 0))
        return answer_make(REJECTED, CAUSE_WORK, "cost_unknown", "Wise does not say what it costs");
    most *= most < 0 ? 1 : times;
    if (terms->cost_max >= 0 && most > terms->cost_max)
        return answer_make(REJECTED, CAUSE_WORK, "too_dear",
                           "it may cost %" PRId64 ".%02" PRId64 ", agreed was at most %" PRId64 ".%02" PRId64, most / 100,
                           most % 100, terms->cost_max / 100, terms->cost_max % 100);
    if (terms->punches_max >= 0 && costs->punches > terms->punches_max / times)
        return answer_make(REJECTED, CAUSE_WORK, "too_dear", "it may cost more punches of the strip card than were agreed to");
    return answer_make(DONE, CAUSE_WORK, "agreed", "agreed");
}

/* ---- may it be placed ---- */

static bool offers(const struct wise_branches *branches, const char *id)
{
    for (size_t i = 0; i < branches->count; i++)
        if (!strcmp(branches->at[i].id, id))
            return true;
    return branches->more;
}

static struct answer no_branch(void)
{
    return answer_make(REJECTED, CAUSE_WORK, "branch_not_offered",
                       "the title cannot be fetched at the branch that was asked for");
}

/* Where it can be fetched: DONE, AGAIN or REJECTED. */
static struct answer offer_branch(const struct wise_offer *offer, const struct wise_terms *terms, const char *asked_branch)
{
    const char *wanted = terms->pickup_branch;

    if (!is_given(wanted) || !strcmp(offer->pickup.id, wanted) || (!offer->pickup.id[0] && !strcmp(asked_branch, wanted)))
        return answer_make(DONE, CAUSE_WORK, "branch", "branch");
    if (strcmp(asked_branch, wanted) && offers(&offer->others, wanted))
        return answer_make(AGAIN, CAUSE_WORK, "other_branch", "prepared again for the branch that was asked for");
    return no_branch();
}

struct answer wise_offer_decide(const struct wise_offer *offer, const struct wise_terms *terms, const char *asked_branch)
{
    bool ill = terms->ill == WISE_ILL_ONLY || (terms->ill == WISE_ILL_IF_NEEDED && !offer->hold_possible);
    char level = offer->hold_parameters[0];

    struct answer a = offer_branch(offer, terms, asked_branch);
    if (a.verdict == AGAIN)
        return a;
    if (!(ill ? offer->ill_allowed : offer->hold_possible))
        return answer_make(REJECTED, CAUSE_WORK, "not_possible", "the title cannot be %s just now",
                           ill ? "had from another library" : "put on hold");
    if (a.verdict != DONE)
        return a;
    if (offer->choose_issue)
        return answer_make(REJECTED, CAUSE_WORK, "choose_issue", "an issue of the title would have to be chosen first");
    a = afford(&offer->costs, terms, 1);
    if (a.verdict != DONE)
        return a;
    if (ill && level != 'B' && level != 'N' && level != 'I')
        return answer_make(REJECTED, CAUSE_WORK, "ill_unclear", "Wise does not say how to have the title from another library");
    return answer_make(DONE, CAUSE_WORK, ill ? "ill" : "hold", "possible");
}

static const struct wise_option *option_of(const struct wise_options *options, const char *title)
{
    for (size_t i = 0; i < options->count; i++)
        if (!strcmp(options->titles[i].title, title))
            return &options->titles[i];
    return NULL;
}

static bool is_possible(const struct wise_option *option, enum wise_ill ill)
{
    if (!option)
        return false;
    return (ill != WISE_ILL_ONLY && option->hold_allowed) || (ill != WISE_ILL_NEVER && option->ill_allowed);
}

struct answer wise_options_decide(const struct wise_options *options, const struct wise_terms *terms,
                                  const char *const *titles, size_t count, enum wise_together together, bool ret_place[])
{
    const char *wanted = terms->pickup_branch;
    size_t possible = 0;
    bool slow = false;

    for (size_t i = 0; i < count; i++) {
        const struct wise_option *option = option_of(options, titles[i]);
        ret_place[i] = is_possible(option, terms->ill);
        possible += ret_place[i];
        slow = slow || (ret_place[i] && !option->fast_allowed);
    }
    if (!possible || (together == WISE_ALL && possible < count))
        return answer_make(REJECTED, CAUSE_WORK, "not_possible", "%zu of %zu titles cannot be had just now", count - possible,
                           count);
    if (is_given(wanted) && is_given(options->pickup_branch) && strcmp(options->pickup_branch, wanted))
        return no_branch();
    if (terms->fast_delivery && slow)
        return answer_make(REJECTED, CAUSE_WORK, "fast_not_possible", "not every title can be delivered fast");
    struct answer a = afford(&options->costs, terms, together == WISE_ALL ? (int64_t)count : 1);
    return a.verdict == DONE ? answer_make(DONE, CAUSE_WORK, "holds", "possible") : a;
}

/* ---- what became of a call ---- */

const struct wise_hold *wise_hold_find(const struct wise_holds *holds, const char *id, const char *number)
{
    for (size_t i = 0; i < holds->count; i++)
        if ((is_given(id) && !strcmp(holds->at[i].id, id)) || (is_given(number) && !strcmp(holds->at[i].number, number)))
            return &holds->at[i];
    return NULL;
}

static bool later_id(const char *a, const char *b)
{
    size_t a_len = strlen(a), b_len = strlen(b);

    return a_len != b_len ? a_len > b_len : strcmp(a, b) > 0;
}

/* Whether a hold can be what was asked for one of the titles; whether it would be if it said when it was placed. */
static bool fits(const struct wise_hold *hold, const struct wise_placing *placing, const char *group_id, bool *ret_undated)
{
    bool grouped = placing->together == WISE_ONE && placing->count > 1;
    bool asked = false;

    for (size_t i = 0; i < placing->count && !asked; i++)
        asked = !strcmp(hold->title_id, placing->titles[i]);
    if (!asked || hold->status == WISE_CLOSED || (grouped && !hold->group_id[0]) ||
        (grouped && is_given(group_id) && strcmp(hold->group_id, group_id)))
        return false;
    *ret_undated = *ret_undated || !hold->placed[0];
    return hold->placed[0] && strcmp(hold->placed, placing->since) >= 0;
}

/* The group a placing made, where its answer did not say: the latest that fits. */
static const char *latest_group(const struct wise_holds *holds, const struct wise_placing *placing, bool *ret_several)
{
    const char *latest = "";
    bool undated = false;

    for (size_t i = 0; i < holds->count; i++) {
        const char *group_id = holds->at[i].group_id;
        if (!fits(&holds->at[i], placing, NULL, &undated) || !strcmp(group_id, latest))
            continue;
        *ret_several = *ret_several || latest[0];
        if (later_id(group_id, latest))
            latest = group_id;
    }
    return latest;
}

struct answer wise_became_placed(const struct wise_holds *holds, const struct wise_placing *placing, size_t ret_at[])
{
    bool grouped = placing->together == WISE_ONE && placing->count > 1, twice = false, undated = false;
    const char *group_id = placing->group_id;
    size_t found = 0;

    if (grouped && !is_given(group_id))
        group_id = latest_group(holds, placing, &twice);
    for (size_t i = 0; i < placing->count; i++) {
        ret_at[i] = SIZE_MAX;
        for (size_t j = 0; j < holds->count; j++) {
            if (strcmp(holds->at[j].title_id, placing->titles[i]) || !fits(&holds->at[j], placing, group_id, &undated))
                continue;
            bool first = ret_at[i] == SIZE_MAX;
            twice = twice || !first;
            if (first || later_id(holds->at[j].id, holds->at[ret_at[i]].id))
                ret_at[i] = j;
        }
        found += ret_at[i] != SIZE_MAX;
    }
    if (found == placing->count || (found && placing->together == WISE_ONE))
        return answer_make(DONE, CAUSE_WORK, twice ? "maybe_twice" : "placed", "%zu of %zu titles are among the holds%s", found,
                           placing->count, twice ? ", perhaps twice" : "");
    if (undated)
        return answer_make(UNKNOWN, CAUSE_WORK, "undated", "a hold for the title does not say when it was placed");
    if (!holds->complete)
        return answer_make(UNKNOWN, CAUSE_WORK, "incomplete", "not among the holds that could be read");
    if (!found)
        return answer_make(AGAIN, CAUSE_WORK, "not_placed", "no such hold was placed");
    return answer_make(AGAIN, CAUSE_WORK, "some_missing", "%zu of %zu titles are among the holds", found, placing->count);
}

struct answer wise_became_cancelled(const struct wise_holds *holds, const char *id, const char *number)
{
    const struct wise_hold *hold = wise_hold_find(holds, id, number);

    bool there = hold && hold->status != WISE_CLOSED;

    if (there && hold->cancel_allowed)
        return answer_make(AGAIN, CAUSE_WORK, "not_cancelled", "the hold is still there");
    if (there)
        return answer_make(REJECTED, CAUSE_WORK, "not_allowed", "Wise does not let the hold be cancelled");
    if (!hold && !holds->complete)
        return answer_make(UNKNOWN, CAUSE_WORK, "incomplete", "not among the holds that could be read");
    return answer_make(DONE, CAUSE_WORK, "cancelled", "the hold is active no more");
}

#include "common/folio_request.h"

#include "common/instant.h"
#include "common/json.h"
#include "common/scoped.h"

#include <string.h>
#include <strings.h>

/* ---- what is asked ---- */

static const char *const actions[] = {
    [FOLIO_ACCOUNT] = "account", [FOLIO_RENEW] = "renew", [FOLIO_HOLD_ITEM] = "hold_item",
    [FOLIO_HOLD_INSTANCE] = "hold_instance", [FOLIO_CANCEL_HOLD] = "cancel_hold"};

static struct fault read_uuid(json_object *in, const char *key, bool wanted, const char **ret)
{
    char id[FOLIO_UUID_SIZE];

    *ret = "";
    if (!wanted && !json_get(in, key))
        return FAULT_OK;
    TRY(json_text(in, key, id, sizeof id));
    if (!folio_uuid(id))
        return FAULT(REJECT, "%s: want a UUID of version 1 to 5", key);
    *ret = json_str(in, key);
    return FAULT_OK;
}

static struct fault read_hold_id(json_object *in, const char **ret)
{
    char id[FOLIO_HOLD_ID_SIZE];

    TRY(json_text(in, "hold", id, sizeof id));
    if (!text_is_id(id))
        return FAULT(REJECT, "hold: want printable ASCII, no space at either end");
    *ret = json_str(in, "hold");
    return FAULT_OK;
}

static struct fault read_expires(json_object *in, int64_t *ret)
{
    return json_get(in, "expires") ? json_instant(in, "expires", ret) : FAULT_OK;
}

static struct fault read_lists(json_object *in, unsigned *ret)
{
    static const struct {
        const char *key;
        unsigned list;
    } lists[] = {{"loans", FOLIO_LOANS}, {"holds", FOLIO_HOLDS}, {"charges", FOLIO_CHARGES}};

    for (size_t i = 0; i < COUNT(lists); i++) {
        json_object *value = json_get(in, lists[i].key);
        if (value && !json_object_is_type(value, json_type_boolean))
            return FAULT(REJECT, "%s: want true or false", lists[i].key);
        if (json_object_get_boolean(value))
            *ret |= lists[i].list;
    }
    return FAULT_OK;
}

static struct fault read_action(const char *action, enum folio_action *ret)
{
    for (size_t i = 0; i < COUNT(actions); i++)
        if (!strcmp(action, actions[i])) {
            *ret = (enum folio_action)i;
            return FAULT_OK;
        }
    return FAULT(REJECT, "action: want account, renew, hold_item, hold_instance or cancel_hold");
}

struct fault folio_asked_read(const struct request *request, bool edge, struct folio_asked *ret)
{
    json_object *in = request->asked;

    *ret = (struct folio_asked){.item = "", .instance = "", .pickup = "", .hold = ""};
    TRY(read_action(request->action, &ret->action));
    if (!edge && !folio_uuid(request->patron))
        return FAULT(REJECT, "patron: want FOLIO's id of the user, a UUID");
    switch (ret->action) {
    case FOLIO_ACCOUNT: return read_lists(in, &ret->lists);
    case FOLIO_RENEW: return read_uuid(in, "item", true, &ret->item);
    case FOLIO_CANCEL_HOLD:
        TRY(read_hold_id(in, &ret->hold));
        return read_uuid(in, "item", false, &ret->item);
    default:
        TRY(ret->action == FOLIO_HOLD_ITEM ? read_uuid(in, "item", true, &ret->item)
                                           : read_uuid(in, "instance", true, &ret->instance));
        TRY(read_uuid(in, "pickup", true, &ret->pickup));
        return read_expires(in, &ret->expires);
    }
}

/* ---- JSON ---- */

static void add_text(json_object *to, const char *key, const char *value)
{
    json_object_object_add(to, key, value[0] ? json_object_new_string(value) : NULL);
}

static void add_instant(json_object *to, const char *key, int64_t instant)
{
    char written[INSTANT_SIZE] = "";

    if (instant)
        instant_write(instant, written);
    add_text(to, key, written);
}

/* least: what is less is not said. */
static void add_count(json_object *to, const char *key, int64_t n, int64_t least)
{
    json_object_object_add(to, key, n >= least ? json_object_new_int64(n) : NULL);
}

static void add_item(json_object *to, const struct folio_item *item)
{
    add_text(to, "item", item->item_id);
    add_text(to, "instance", item->instance_id);
    add_text(to, "title", item->title);
    add_text(to, "author", item->author);
}

static void add_money(json_object *to, const char *key, const struct folio_money *money)
{
    json_object *value = money->amount[0] ? json_object_new_object() : NULL;

    if (value) {
        add_text(value, "amount", money->amount);
        add_text(value, "currency", money->currency);
    }
    json_object_object_add(to, key, value);
}

static json_object *loan_json(const struct folio_loan *loan)
{
    json_object *to = json_object_new_object();

    add_text(to, "loan", loan->id);
    add_item(to, &loan->item);
    add_instant(to, "loaned", loan->loaned);
    add_instant(to, "due", loan->due);
    json_object_object_add(to, "overdue", json_object_new_boolean(loan->overdue));
    return to;
}

static json_object *hold_json(const struct folio_hold *hold)
{
    static const char *const states[] = {
        [FOLIO_HOLD_WAITING] = "waiting", [FOLIO_HOLD_MOVING] = "moving", [FOLIO_HOLD_READY] = "ready",
        [FOLIO_HOLD_CLOSED] = "closed", [FOLIO_HOLD_OTHER] = "other"};
    json_object *to = json_object_new_object();

    add_text(to, "hold", hold->id);
    add_item(to, &hold->item);
    add_text(to, "status", hold->status);
    add_text(to, "state", states[hold->state]);
    add_count(to, "position", hold->position, 1);
    add_text(to, "pickup", hold->pickup_id);
    add_instant(to, "requested", hold->requested);
    add_instant(to, "expires", hold->expires);
    return to;
}

static json_object *charge_json(const struct folio_charge *charge)
{
    json_object *to = json_object_new_object();

    add_text(to, "charge", charge->id);
    add_item(to, &charge->item);
    add_money(to, "money", &charge->money);
    add_text(to, "state", charge->state);
    add_text(to, "reason", charge->reason);
    add_instant(to, "accrued", charge->accrued);
    return to;
}

static const char *written(json_object *value)
{
    return json_object_to_json_string_ext(value, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE);
}

/* What a member is, and gives the value back. */
static void put_member(struct text *to, const char *key, json_object *value)
{
    SCOPED(json_object_put) json_object *whole = json_object_new_object();

    json_object_object_add(whole, key, value);
    text_puts(to, written(whole));
}

/* ---- what is known ---- */

void folio_known_read(json_object *known, struct folio_known *ret)
{
    json_object *before = json_get(known, "before");

    *ret = (struct folio_known){
        .begun = json_object_is_type(before, json_type_object),
        .at = json_object_get_int64(json_get(before, "at")),
        .due = json_object_get_int64(json_get(before, "due")),
        .complete = json_object_get_boolean(json_get(before, "complete")),
        .holds = json_get(before, "holds"),
        .hold = json_get(before, "hold"),
        .again = json_object_get_int64(json_get(known, "again")),
        .told = json_get(known, "told"),
        .told_code = "",
        .told_words = "",
    };
    if (json_str(ret->told, "code"))
        ret->told_code = json_str(ret->told, "code");
    if (json_str(ret->told, "words"))
        ret->told_words = json_str(ret->told, "words");
}

static json_object *begun(int64_t at)
{
    json_object *before = json_object_new_object();

    json_object_object_add(before, "at", json_object_new_int64(at));
    return before;
}

void folio_learn_due(struct text *to, int64_t at, const struct folio_loan *loan)
{
    json_object *before = begun(at);

    add_count(before, "due", loan ? loan->due : 0, 1);
    put_member(to, "before", before);
}

/* The next hold of the account that is wished, from *at on; NULL: there is none more. */
static const struct folio_hold *next_wished(const struct folio_account *account, const struct folio_door *door,
                                            const struct folio_wish *wish, size_t *at)
{
    struct folio_account rest = *account;
    const struct folio_hold *hold = NULL;

    if (*at >= account->hold_count)
        return NULL;
    rest.holds += *at;
    rest.hold_count -= *at;
    if (folio_hold_fate(&rest, door, wish, &hold, NULL) != FOLIO_HAPPENED)
        return NULL;
    *at = (size_t)(hold - account->holds) + 1;
    return hold;
}

void folio_learn_holds(struct text *to, int64_t at, const struct folio_account *account, const struct folio_door *door,
                       const struct folio_wish *wish)
{
    struct folio_wish any = *wish;
    json_object *before = begun(at), *ids = json_object_new_array();
    const struct folio_hold *hold;

    any.requested = 0;
    for (size_t next = 0; (hold = next_wished(account, door, &any, &next));)
        json_object_array_add(ids, json_object_new_string(hold->id));
    json_object_object_add(before, "complete", json_object_new_boolean(account->holds_whole));
    json_object_object_add(before, "holds", ids);
    put_member(to, "before", before);
}

void folio_learn_hold(struct text *to, int64_t at, const struct folio_hold *hold)
{
    json_object *before = begun(at);

    json_object_object_add(before, "hold", hold_json(hold));
    put_member(to, "before", before);
}

void folio_learn_again(struct text *to, const struct folio_known *known)
{
    put_member(to, "again", json_object_new_int64(known->again + 1));
}

void folio_learn_told(struct text *to, const char *code, const char *words, const struct folio_hold *hold)
{
    json_object *told = json_object_new_object();

    add_text(told, "code", code);
    add_text(told, "words", words);
    json_object_object_add(told, "hold", hold ? hold_json(hold) : NULL);
    put_member(to, "told", told);
}

static bool was_there(const struct folio_known *known, const char *id)
{
    size_t count = json_object_is_type(known->holds, json_type_array) ? json_object_array_length(known->holds) : 0;

    for (size_t i = 0; i < count; i++) {
        const char *before = json_object_get_string(json_object_array_get_idx(known->holds, i));
        if (before && !strcasecmp(before, id))
            return true;
    }
    return false;
}

bool folio_only_new(struct folio_account *account, const struct folio_known *known)
{
    size_t kept = 0;

    for (size_t i = 0; i < account->hold_count; i++)
        if (!was_there(known, account->holds[i].id))
            account->holds[kept++] = account->holds[i];
    account->hold_count = kept;
    return !known->complete;
}

/* ---- what the caller hears ---- */

static json_object *loans_json(const struct folio_account *account)
{
    json_object *list = json_object_new_array();

    for (size_t i = 0; i < account->loan_count; i++)
        json_object_array_add(list, loan_json(&account->loans[i]));
    return list;
}

static json_object *holds_json(const struct folio_account *account)
{
    json_object *list = json_object_new_array();

    for (size_t i = 0; i < account->hold_count; i++)
        json_object_array_add(list, hold_json(&account->holds[i]));
    return list;
}

static json_object *charges_json(const struct folio_account *account)
{
    json_object *list = json_object_new_array();

    for (size_t i = 0; i < account->charge_count; i++)
        json_object_array_add(list, charge_json(&account->charges[i]));
    return list;
}

void folio_put_account(struct text *to, const struct folio_account *account, unsigned lists)
{
    SCOPED(json_object_put) json_object *whole = json_object_new_object();
    bool complete = (account->loans_whole || !(lists & FOLIO_LOANS)) && (account->holds_whole || !(lists & FOLIO_HOLDS)) &&
                    (account->charges_whole || !(lists & FOLIO_CHARGES));

    json_object_object_add(whole, "loans", lists & FOLIO_LOANS ? loans_json(account) : NULL);
    json_object_object_add(whole, "holds", lists & FOLIO_HOLDS ? holds_json(account) : NULL);
    json_object_object_add(whole, "charges", lists & FOLIO_CHARGES ? charges_json(account) : NULL);
    add_count(whole, "total_loans", account->total_loans, 0);
    add_count(whole, "total_holds", account->total_holds, 0);
    add_count(whole, "total_charges", account->total_charges, 0);
    add_money(whole, "owed", &account->owed);
    json_object_object_add(whole, "complete", json_object_new_boolean(complete));
    text_puts(to, written(whole));
}

void folio_put_renewed(struct text *to, const struct folio_loan *loan, int64_t due_before)
{
    SCOPED(json_object_put) json_object *whole = json_object_new_object();

    json_object_object_add(whole, "loan", loan_json(loan));
    add_instant(whole, "due_before", due_before);
    text_puts(to, written(whole));
}

size_t folio_put_held(struct text *to, json_object *told, const struct folio_account *account, const struct folio_door *door,
                      const struct folio_wish *wish)
{
    SCOPED(json_object_put) json_object *whole = json_object_new_object();
    json_object *twice = json_object_new_array();
    const char *told_id = json_str(told, "hold");
    const struct folio_hold *hold;
    size_t at = 0;

    json_object *first = told ? json_object_get(told) : (hold = next_wished(account, door, wish, &at)) ? hold_json(hold) : NULL;
    while ((hold = next_wished(account, door, wish, &at)))
        if (!told_id || strcasecmp(told_id, hold->id) != 0)
            json_object_array_add(twice, hold_json(hold));
    size_t count = json_object_array_length(twice);
    json_object_object_add(whole, "hold", first);
    json_object_object_add(whole, "twice", twice);
    text_puts(to, written(whole));
    return count;
}

void folio_put_hold_answered(struct text *to, const struct folio_hold *hold)
{
    SCOPED(json_object_put) json_object *whole = json_object_new_object();

    json_object_object_add(whole, "hold", hold_json(hold));
    json_object_object_add(whole, "twice", json_object_new_array());
    text_puts(to, written(whole));
}

void folio_put_cancelled(struct text *to, json_object *hold)
{
    put_member(to, "hold", json_object_get(hold));
}

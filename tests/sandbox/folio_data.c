/*
 * folio_data - FOLIO's rows, the test's way to them (/admin/folio/...) and what was done (/admin/effects?vendor=folio).
 */
#include "folio.h"

#include "index.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>

enum { DAY_S = 86400 };

struct folio_data folio_data;

static size_t user_cap, item_cap, loan_cap, hold_cap, charge_cap, effect_cap;
static struct index by_user, by_external, by_item, by_instance, by_hold, by_loan, by_loaned_item, by_held_item;

static void *room(void *rows, size_t count, size_t *cap, size_t size)
{
    if (count < *cap)
        return rows;
    *cap = *cap ? *cap * 2 : 256;
    return memory(rows, *cap * size);
}

/* ---- ids ---- */

bool uuid_fits(struct slice s)
{
    if (s.len != UUID_SIZE - 1)
        return false;
    for (size_t i = 0; i < s.len; i++) {
        bool dash = i == 8 || i == 13 || i == 18 || i == 23;

        if (dash ? s.at[i] != '-' : !isxdigit((unsigned char)s.at[i]))
            return false;
    }
    return s.at[14] >= '1' && s.at[14] <= '5' && strchr("89abAB", s.at[19]);
}

static void id_set(char to[UUID_SIZE], struct slice id, int kind, size_t number)
{
    if (id.len && id.len < UUID_SIZE) {
        memcpy(to, id.at, id.len);
        to[id.len] = '\0';
        return;
    }
    snprintf(to, UUID_SIZE, "%d0000000-0000-4000-8000-%012zu", kind, number % 1000000000000);
}

static bool id_is(const char *id, struct slice s)
{
    return slice_same_nocase(slice_of(id), s);
}

#define FIND(rows, member)                                                                                            \
    struct index_walk w;                                                                                              \
    uint32_t pos;                                                                                                     \
    for (w = index_walk(&by_##rows, slice_hash_nocase(id)); index_next(&w, &pos);)                                    \
        if (id_is(folio_data.rows##s[pos].member, id))                                                                \
            return pos;                                                                                               \
    return NONE

uint32_t folio_user_by_id(struct slice id) { FIND(user, id); }
uint32_t folio_item_by_id(struct slice id) { FIND(item, id); }
uint32_t folio_hold_by_id(struct slice id) { FIND(hold, id); }
static uint32_t loan_by_id(struct slice id) { FIND(loan, id); }

uint32_t folio_user_by_external_id(struct slice id)
{
    struct index_walk w = index_walk(&by_external, slice_hash(id));
    uint32_t pos;

    while (index_next(&w, &pos))
        if (slice_is(id, folio_data.users[pos].external_id))
            return pos;
    return NONE;
}

uint32_t folio_loan_of_item(uint32_t item)
{
    struct index_walk w = index_walk(&by_loaned_item, item);
    uint32_t pos;

    while (index_next(&w, &pos))
        if (folio_data.loans[pos].item == item && !folio_data.loans[pos].ended)
            return pos;
    return NONE;
}

bool folio_instance_known(struct slice id)
{
    struct index_walk w = index_walk(&by_instance, slice_hash_nocase(id));
    uint32_t pos;

    while (index_next(&w, &pos))
        if (id_is(folio_data.items[pos].instance_id, id))
            return true;
    return false;
}

static bool holds_item(uint32_t user, uint32_t item)
{
    for (uint32_t h = folio_data.users[user].holds; h != NONE; h = folio_data.holds[h].next)
        if (folio_data.holds[h].item == item && folio_hold_open(&folio_data.holds[h]))
            return true;
    return false;
}

uint32_t folio_item_of_instance(struct slice id, uint32_t user)
{
    struct index_walk w = index_walk(&by_instance, slice_hash_nocase(id));
    uint32_t pos, any = NONE;

    while (index_next(&w, &pos)) {
        if (!id_is(folio_data.items[pos].instance_id, id) || folio_data.items[pos].not_requestable)
            continue;
        any = any == NONE ? pos : any;
        if (!holds_item(user, pos))
            return pos;
    }
    return any;
}

/* ---- making rows ---- */

static void text_set(char **to, struct slice s)
{
    free(*to);
    *to = copy_of(s);
}

uint32_t folio_user_add(struct slice id, struct slice external_id)
{
    uint32_t at = (uint32_t)folio_data.user_count;
    struct folio_user *u;
    char buf[32];

    folio_data.users = room(folio_data.users, at, &user_cap, sizeof *folio_data.users);
    u = &folio_data.users[at];
    *u = (struct folio_user){ .loans = NONE, .holds = NONE, .charges = NONE };
    id_set(u->id, id, 1, at + 1);
    snprintf(buf, sizeof buf, "P%08u", at + 1);
    u->external_id = copy_of(external_id.len ? external_id : slice_of(buf));
    index_add(&by_user, slice_hash_nocase(slice_of(u->id)), at);
    index_add(&by_external, slice_hash(slice_of(u->external_id)), at);
    folio_data.user_count++;
    return at;
}

uint32_t folio_item_add(struct slice id, struct slice instance_id)
{
    uint32_t at = (uint32_t)folio_data.item_count;
    struct folio_item *i;
    char buf[48];

    folio_data.items = room(folio_data.items, at, &item_cap, sizeof *folio_data.items);
    i = &folio_data.items[at];
    *i = (struct folio_item){ 0 };
    id_set(i->id, id, 2, at + 1);
    id_set(i->instance_id, instance_id, 3, at + 1);
    snprintf(buf, sizeof buf, "Book %u", at + 1);
    i->title = copy_of(slice_of(buf));
    i->author = copy_of(SLICE("Some Guy; Another Guy"));
    index_add(&by_item, slice_hash_nocase(slice_of(i->id)), at);
    index_add(&by_instance, slice_hash_nocase(slice_of(i->instance_id)), at);
    folio_data.item_count++;
    return at;
}

static uint32_t loan_add(struct slice id, uint32_t user, uint32_t item)
{
    uint32_t at = (uint32_t)folio_data.loan_count;
    int64_t now_s = wall_ms() / 1000;
    struct folio_loan *l;

    folio_data.loans = room(folio_data.loans, at, &loan_cap, sizeof *folio_data.loans);
    l = &folio_data.loans[at];
    *l = (struct folio_loan){ .user = user, .item = item, .loaned_s = now_s, .due_s = now_s + 14 * DAY_S,
                              .next = folio_data.users[user].loans };
    id_set(l->id, id, 4, at + 1);
    folio_data.users[user].loans = at;
    index_add(&by_loan, slice_hash_nocase(slice_of(l->id)), at);
    index_add(&by_loaned_item, item, at);
    folio_data.loan_count++;
    return at;
}

uint32_t folio_hold_add(struct slice id, uint32_t user, uint32_t item)
{
    uint32_t at = (uint32_t)folio_data.hold_count;
    struct folio_hold *h;

    folio_data.holds = room(folio_data.holds, at, &hold_cap, sizeof *folio_data.holds);
    h = &folio_data.holds[at];
    *h = (struct folio_hold){ .user = user, .item = item, .requested_s = wall_ms() / 1000,
                              .next = folio_data.users[user].holds,
                              .status = copy_of(SLICE("Open - Not yet filled")),
                              .pickup_id = "60000000-0000-4000-8000-000000000001" };
    id_set(h->id, id, 5, at + 1);
    folio_data.users[user].holds = at;
    index_add(&by_hold, slice_hash_nocase(slice_of(h->id)), at);
    index_add(&by_held_item, item, at);
    folio_data.hold_count++;
    return at;
}

bool folio_hold_open(const struct folio_hold *h)
{
    return !h->gone && !slice_starts(slice_of(h->status), "Closed");
}

size_t folio_queue_position(const struct folio_hold *h)
{
    uint32_t at = (uint32_t)(h - folio_data.holds), pos;
    struct index_walk w = index_walk(&by_held_item, h->item);
    size_t before = 0;

    while (index_next(&w, &pos))
        before += pos < at && folio_data.holds[pos].item == h->item && folio_hold_open(&folio_data.holds[pos]);
    return before + 1;
}

/* ---- dates ---- */

bool folio_date_read(struct slice s, int64_t *ret_s)
{
    struct instant i;
    char buf[40];
    size_t skip = 0;

    if (s.len >= sizeof buf || s.len < 20)
        return false;
    if (s.at[19] == '.')
        for (skip = 1; 19 + skip < s.len && isdigit((unsigned char)s.at[19 + skip]);)
            skip++;
    memcpy(buf, s.at, 19);
    memcpy(buf + 19, s.at + 19 + skip, s.len - 19 - skip);
    if (skip == 1 || !instant_read((struct slice){ buf, s.len - skip }, &i))
        return false;
    *ret_s = i.epoch_s;
    return true;
}

/* ---- effects ---- */

int64_t folio_effect_add(enum folio_kind kind, uint32_t row)
{
    struct folio_effect *e;

    folio_data.effects = room(folio_data.effects, folio_data.effect_count, &effect_cap, sizeof *folio_data.effects);
    e = &folio_data.effects[folio_data.effect_count++];
    *e = (struct folio_effect){ .kind = kind, .row = row, .at_ms = wall_ms() };
    folio_data.done[kind]++;
    return (int64_t)folio_data.effect_count;
}

void folio_answered(int64_t effect)
{
    if (effect > 0 && (uint64_t)effect <= folio_data.effect_count)
        folio_data.effects[effect - 1].answered = true;
}

static void second_print(struct text *out, const char *name, int64_t at_s)
{
    char buf[32];

    if (!at_s)
        return;
    instant_print((struct instant){ at_s, 0 }, buf);
    text_fmt(out, ",\"%s\":\"%s\"", name, buf);
}

static void effect_print(const struct folio_effect *e, struct text *out)
{
    static const char *const kinds[FOLIO_KINDS] = { "renewal", "hold", "cancel" };
    const struct folio_loan *l = e->kind == FOLIO_RENEWAL ? &folio_data.loans[e->row] : NULL;
    const struct folio_hold *h = l ? NULL : &folio_data.holds[e->row];
    const struct folio_item *i = &folio_data.items[l ? l->item : h->item];

    text_fmt(out, "{\"kind\":\"%s\",\"id\":\"%s\",\"userId\":\"%s\",\"itemId\":\"%s\",\"instanceId\":\"%s\"", kinds[e->kind],
             l ? l->id : h->id, folio_data.users[l ? l->user : h->user].id, i->id, i->instance_id);
    if (h) {
        text_fmt(out, ",\"by\":\"%s\",\"pickupLocationId\":\"%s\"", h->by_instance ? "instance" : "item", h->pickup_id);
        second_print(out, "requestDate", h->requested_s);
        second_print(out, "expirationDate", h->expires_s);
    }
    second_print(out, "dueBefore", e->due_before_s);
    second_print(out, "dueDate", e->due_s);
    text_fmt(out, ",\"at\":%" PRId64 ".%03d,\"answered\":%s,\"again\":%s,\"foreign\":%s}", e->at_ms / 1000,
             (int)(e->at_ms % 1000), e->answered ? "true" : "false", e->again ? "true" : "false",
             e->foreign ? "true" : "false");
}

/* One page of a kind, or of what was done again; ret_next is where the next begins. */
static void effects_page(struct text *out, enum folio_kind kind, bool only_again, size_t from, size_t limit, size_t *ret_next)
{
    const char *comma = "";

    for (; from < folio_data.effect_count && limit; from++) {
        const struct folio_effect *e = &folio_data.effects[from];

        if (only_again ? !e->again : e->kind != kind)
            continue;
        text_str(out, comma);
        effect_print(e, out);
        comma = ",\n";
        limit--;
    }
    *ret_next = from;
}

static size_t query_size(struct slice query, const char *name, size_t usual)
{
    struct slice s;
    int64_t n;
    char buf[24];

    if (!query_get(query, name, buf, sizeof buf, &s) || !slice_int64(s, &n) || n < 0)
        return usual;
    return (size_t)n;
}

void folio_effects(struct exchange *x)
{
    static const char *const lists[] = { "renewals", "holds", "cancels", "duplicates" };
    size_t from = query_size(x->req.query, "from", 0), limit = query_size(x->req.query, "limit", 100000), next;
    struct text *out = answer(x, 200, "application/json");
    struct slice kind = SLICE("");
    char buf[16];

    query_get(x->req.query, "kind", buf, sizeof buf, &kind);
    text_fmt(out, "{\"renewals_total\":%" PRIu64 ",\"holds_total\":%" PRIu64 ",\"cancels_total\":%" PRIu64
             ",\"duplicates_total\":%" PRIu64, folio_data.done[FOLIO_RENEWAL], folio_data.done[FOLIO_HOLD],
             folio_data.done[FOLIO_CANCEL], folio_data.again[FOLIO_RENEWAL] + folio_data.again[FOLIO_HOLD]);
    for (size_t i = 0; i < COUNT(lists); i++) {
        if (kind.len ? !slice_is(kind, lists[i]) : i == FOLIO_KINDS)
            continue;
        text_fmt(out, ",\n\"%s\":[", lists[i]);
        effects_page(out, (enum folio_kind)i, i == FOLIO_KINDS, from, limit, &next);
        text_str(out, "]");
        if (kind.len && next < folio_data.effect_count)
            text_fmt(out, ",\"next\":%zu", next);
        else if (kind.len)
            text_str(out, ",\"next\":null");
    }
    text_str(out, "}\n");
}

/* ---- /admin/folio ---- */

static struct slice member(json_object *of, const char *name)
{
    json_object *value;

    return json_object_object_get_ex(of, name, &value) && value ? slice_of(json_object_get_string(value)) : SLICE("");
}

static bool has(json_object *of, const char *name)
{
    return json_object_object_get_ex(of, name, NULL);
}

static bool flag(json_object *of, const char *name)
{
    json_object *value;

    return json_object_object_get_ex(of, name, &value) && json_object_get_boolean(value);
}

static int64_t number(json_object *of, const char *name, int64_t usual)
{
    json_object *value;

    return json_object_object_get_ex(of, name, &value) ? json_object_get_int64(value) : usual;
}

/* A date of the row: absent leaves it, null or what is no date takes it away. */
static void date_set(json_object *of, const char *name, int64_t *to)
{
    if (has(of, name) && !folio_date_read(member(of, name), to))
        *to = 0;
}

static uint32_t user_named(json_object *of)
{
    struct slice id = member(of, "userId");
    uint32_t user = folio_user_by_id(id);

    if (user == NONE)
        user = folio_user_by_external_id(id);
    return user == NONE ? folio_user_add(uuid_fits(id) ? id : SLICE(""), uuid_fits(id) ? SLICE("") : id) : user;
}

static uint32_t item_named(json_object *of)
{
    uint32_t item = folio_item_by_id(member(of, "itemId"));

    return item == NONE ? folio_item_add(member(of, "itemId"), member(of, "instanceId")) : item;
}

static const char *user_put(json_object *of)
{
    struct slice id = member(of, "id"), external_id = member(of, "externalSystemId");
    uint32_t at = id.len ? folio_user_by_id(id) : external_id.len ? folio_user_by_external_id(external_id) : NONE;
    struct folio_user *u;

    if (at == NONE)
        at = folio_user_add(id, external_id);
    u = &folio_data.users[at];
    if (has(of, "active"))
        u->inactive = !flag(of, "active");
    if (has(of, "blocked")) {
        free(u->blocked);
        u->blocked = member(of, "blocked").len ? copy_of(member(of, "blocked")) : NULL;
    }
    return u->id;
}

static const char *item_put(json_object *of)
{
    struct folio_item *i = &folio_data.items[item_named(of)];

    if (has(of, "title"))
        text_set(&i->title, member(of, "title"));
    if (has(of, "author"))
        text_set(&i->author, member(of, "author"));
    if (has(of, "requestable"))
        i->not_requestable = !flag(of, "requestable");
    return i->id;
}

static const char *loan_put(json_object *of)
{
    uint32_t user = user_named(of), item = item_named(of), at = folio_loan_of_item(item);
    struct folio_loan *l;

    if (member(of, "id").len)
        at = loan_by_id(member(of, "id"));
    if (at == NONE)
        at = loan_add(member(of, "id"), user, item);
    l = &folio_data.loans[at];
    date_set(of, "loanDate", &l->loaned_s);
    date_set(of, "dueDate", &l->due_s);
    l->ended = flag(of, "returned");
    return l->id;
}

static const char *hold_put(json_object *of)
{
    uint32_t at = member(of, "requestId").len ? folio_hold_by_id(member(of, "requestId")) : NONE;
    struct folio_hold *h;

    if (at == NONE)
        at = folio_hold_add(member(of, "requestId"), user_named(of), item_named(of));
    h = &folio_data.holds[at];
    date_set(of, "requestDate", &h->requested_s);
    date_set(of, "expirationDate", &h->expires_s);
    if (has(of, "status"))
        text_set(&h->status, member(of, "status"));
    if (uuid_fits(member(of, "pickupLocationId")))
        id_set(h->pickup_id, member(of, "pickupLocationId"), 6, 1);
    return h->id;
}

static const char *charge_put(json_object *of)
{
    uint32_t at = (uint32_t)folio_data.charge_count, user = user_named(of);
    struct folio_charge *c;

    folio_data.charges = room(folio_data.charges, at, &charge_cap, sizeof *folio_data.charges);
    c = &folio_data.charges[at];
    *c = (struct folio_charge){ .of = json_object_get(of), .user = user, .item = has(of, "itemId") ? item_named(of) : NONE,
                                .next = folio_data.users[user].charges };
    folio_data.users[user].charges = at;
    folio_data.charge_count++;
    return folio_data.users[user].id;
}

static void put_all(struct exchange *x, const char *(*put)(json_object *of))
{
    json_object *body = body_json(x);
    size_t count = body && json_object_is_type(body, json_type_array) ? json_object_array_length(body) : 0;
    const char *comma = "";
    struct text *out;

    if (!body)
        return;
    out = answer(x, 200, "application/json");
    text_str(out, "{\"ids\":[");
    for (size_t i = 0; i < count; i++) {
        json_object *of = json_object_array_get_idx(body, i);

        if (!json_object_is_type(of, json_type_object))
            continue;
        text_fmt(out, "%s\"%s\"", comma, put(of));
        comma = ",";
    }
    text_str(out, "]}\n");
    json_object_put(body);
}

static void admin_users(struct exchange *x) { put_all(x, user_put); }
static void admin_items(struct exchange *x) { put_all(x, item_put); }
static void admin_loans(struct exchange *x) { put_all(x, loan_put); }
static void admin_holds(struct exchange *x) { put_all(x, hold_put); }
static void admin_charges(struct exchange *x) { put_all(x, charge_put); }

static void admin_generate(struct exchange *x)
{
    json_object *body = body_json(x);
    int64_t users = number(body, "users", 0), items = number(body, "items", 0), per = number(body, "items_per_instance", 1);
    size_t first_user = folio_data.user_count, first_item = folio_data.item_count;

    if (!body)
        return;
    if (!json_object_is_type(body, json_type_object) || users < 0 || items < 0 || per < 1 || users + items > 10000000) {
        answer_json_error(x, 400, "users, items: 0 to ten million together; items_per_instance: from 1");
        json_object_put(body);
        return;
    }
    for (int64_t i = 0; i < users; i++)
        folio_user_add(SLICE(""), SLICE(""));
    for (int64_t i = 0; i < items; i++) {
        char instance_id[UUID_SIZE];

        id_set(instance_id, SLICE(""), 3, first_item + (size_t)(i / per * per) + 1);
        folio_item_add(SLICE(""), slice_of(instance_id));
    }
    for (int64_t i = 0; flag(body, "lent") && i < items && users; i++)
        loan_add(SLICE(""), (uint32_t)(first_user + (size_t)(i % users)), (uint32_t)(first_item + (size_t)i));
    json_object_put(body);
    text_fmt(answer(x, 200, "application/json"), "{\"users\":%zu,\"items\":%zu,\"loans\":%zu}\n", folio_data.user_count,
             folio_data.item_count, folio_data.loan_count);
}

const struct call folio_admin[] = {
    { HTTP_POST, "/users",    "users",    NULL, admin_users },
    { HTTP_POST, "/items",    "items",    NULL, admin_items },
    { HTTP_POST, "/loans",    "loans",    NULL, admin_loans },
    { HTTP_POST, "/holds",    "holds",    NULL, admin_holds },
    { HTTP_POST, "/charges",  "charges",  NULL, admin_charges },
    { HTTP_POST, "/generate", "generate", NULL, admin_generate },
    { HTTP_GET,  NULL,        NULL,       NULL, NULL },
};

void folio_forget(void)
{
    struct index *const all[] = { &by_user, &by_external, &by_item, &by_instance, &by_hold, &by_loan, &by_loaned_item,
                                  &by_held_item };

    for (size_t i = 0; i < folio_data.user_count; i++) {
        free(folio_data.users[i].external_id);
        free(folio_data.users[i].blocked);
    }
    for (size_t i = 0; i < folio_data.item_count; i++) {
        free(folio_data.items[i].title);
        free(folio_data.items[i].author);
    }
    for (size_t i = 0; i < folio_data.hold_count; i++)
        free(folio_data.holds[i].status);
    for (size_t i = 0; i < folio_data.charge_count; i++)
        json_object_put(folio_data.charges[i].of);
    free(folio_data.users);
    free(folio_data.items);
    free(folio_data.loans);
    free(folio_data.holds);
    free(folio_data.charges);
    free(folio_data.effects);
    folio_data = (struct folio_data){ 0 };
    user_cap = item_cap = loan_cap = hold_cap = charge_cap = effect_cap = 0;
    for (size_t i = 0; i < COUNT(all); i++)
        index_release(all[i]);
}

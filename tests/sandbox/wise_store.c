/*
 * wise_store - the titles, patrons and holds of OCLC Wise.
 *
 * Holds lie in an array; an id is a base plus a position, and each knows the one before it of the same patron.
 */
#include "wise.h"
#include "index.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* A cancelling is told from a hold by where its number lies. */
#define FIRST_CANCEL (INT64_C(1) << 40)

const char *const wise_status_names[WISE_STATUSES] = {
    "ACTIVE", "MESSAGE_SENT", "RECEIVED", "RETURNED_TO_BRANCH", "IN_TRANSPORT", "LOANED", "CLOSED"
};

static struct wise_title *titles;
static struct wise_patron *patrons;
static struct wise_hold *holds;
static struct wise_cancel *cancels;
static size_t title_count, title_cap, patron_count, patron_cap, hold_count, hold_cap, cancel_count, cancel_cap;
static struct index titles_by_id, patrons_by_id, patrons_by_name;
static uint64_t placed_total, duplicate_total, ill_total;
static uint32_t last_call;
static int64_t serial_day, serial;

static void *grown(void *at, size_t count, size_t *cap, size_t size)
{
    if (count < *cap)
        return at;
    *cap = *cap ? *cap * 2 : 256;
    return memory(at, *cap * size);
}

static const char *member_text(json_object *of, const char *name, const char *usual)
{
    json_object *value;

    return json_object_object_get_ex(of, name, &value) && value ? json_object_get_string(value) : usual;
}

static bool member_flag(json_object *of, const char *name, bool usual)
{
    json_object *value;

    return json_object_object_get_ex(of, name, &value) && value ? json_object_get_boolean(value) : usual;
}

/* ---- days ---- */

void wise_day_print(int64_t day, char buf[WISE_DAY_SIZE])
{
    char whole[32];

    instant_print((struct instant){ day * 86400, 0 }, whole);
    memcpy(buf, whole, WISE_DAY_SIZE - 1);
    buf[WISE_DAY_SIZE - 1] = '\0';
}

bool wise_day_read(struct slice s, int64_t *ret_day)
{
    char again[WISE_DAY_SIZE];

    if (!day_read(s, ret_day))
        return false;
    wise_day_print(*ret_day, again);
    return slice_is(s, again);
}

/* ---- titles ---- */

static struct wise_title *title_add(struct slice id, json_object *of)
{
    titles = grown(titles, title_count, &title_cap, sizeof *titles);
    titles[title_count] = (struct wise_title){ .id = copy_of(id), .of = of };
    index_add(&titles_by_id, slice_hash(id), (uint32_t)title_count);
    return &titles[title_count++];
}

static bool is_number(struct slice s)
{
    for (size_t i = 0; i < s.len; i++)
        if (s.at[i] < '0' || s.at[i] > '9')
            return false;
    return s.len > 0 && s.len < 16;
}

struct wise_title *wise_title_with(struct slice id)
{
    struct index_walk w = index_walk(&titles_by_id, slice_hash(id));
    uint32_t pos;

    while (index_next(&w, &pos))
        if (slice_is(id, titles[pos].id))
            return &titles[pos];
    return wise_accepts_titles() && is_number(id) ? title_add(id, NULL) : NULL;
}

struct wise_title *wise_title_at(uint32_t position)
{
    return &titles[position];
}

const char *wise_title_text(const struct wise_title *t, const char *name, const char *usual)
{
    return member_text(t->of, name, usual);
}

bool wise_title_flag(const struct wise_title *t, const char *name, bool usual)
{
    return member_flag(t->of, name, usual);
}

static void admin_titles(struct exchange *x)
{
    json_object *body = body_json(x);
    size_t count = json_object_is_type(body, json_type_array) ? json_object_array_length(body) : 0, put = 0;

    if (!body)
        return;
    for (size_t i = 0; i < count; i++) {
        json_object *of = json_object_array_get_idx(body, i);
        struct slice id = slice_of(member_text(of, "id", ""));
        struct wise_title *t;

        if (!id.len)
            continue;
        t = wise_title_with(id);
        if (!t)
            t = title_add(id, NULL);
        json_object_put(t->of);
        t->of = json_object_get(of);
        put++;
    }
    json_object_put(body);
    text_fmt(answer(x, 200, "application/json"), "{\"titles\":%zu}\n", put);
}

/* ---- patrons ---- */

static char *member_copy(json_object *of, const char *name, const char *usual)
{
    return copy_of(slice_of(member_text(of, name, usual)));
}

static void patron_release(struct wise_patron *p)
{
    char *const texts[] = { p->id, p->library, p->username, p->password, p->branch, p->expiry };

    for (size_t i = 0; i < COUNT(texts); i++)
        free(texts[i]);
}

static void patron_fill(struct wise_patron *p, const char *id, json_object *of)
{
    uint32_t last_hold = p->last_hold;

    *p = (struct wise_patron){
        .id = copy_of(slice_of(id)), .library = member_copy(of, "libraryId", wise_library()),
        .username = member_copy(of, "username", id), .password = member_copy(of, "password", "sandbox"),
        .branch = member_copy(of, "branch", wise_home_branch()), .expiry = member_copy(of, "expiry", "2099-06-30"),
        .last_hold = last_hold,
    };
}

static struct wise_patron *patron_put(const char *id, json_object *of)
{
    struct index_walk w = index_walk(&patrons_by_id, slice_hash(slice_of(id)));
    struct wise_patron *p = NULL;
    uint32_t pos;

    while (!p && index_next(&w, &pos))
        p = strcmp(patrons[pos].id, id) ? NULL : &patrons[pos];
    if (p) {
        struct wise_patron old = *p;

        patron_fill(p, id, of);
        patron_release(&old);
    } else {
        patrons = grown(patrons, patron_count, &patron_cap, sizeof *patrons);
        p = &patrons[patron_count++];
        *p = (struct wise_patron){ 0 };
        patron_fill(p, id, of);
        index_add(&patrons_by_id, slice_hash(slice_of(id)), (uint32_t)(p - patrons));
    }
    index_add(&patrons_by_name, slice_hash(slice_of(p->username)), (uint32_t)(p - patrons));
    return p;
}

struct wise_patron *wise_patron_with(struct slice id)
{
    struct index_walk w = index_walk(&patrons_by_id, slice_hash(id));
    struct wise_patron *p;
    uint32_t pos;
    char *text;

    while (index_next(&w, &pos))
        if (slice_is(id, patrons[pos].id))
            return &patrons[pos];
    if (!wise_accepts_patrons() || !id.len || id.len > 40)
        return NULL;
    text = copy_of(id);
    p = patron_put(text, NULL);
    free(text);
    return p;
}

struct wise_patron *wise_patron_named(struct slice username)
{
    struct index_walk w = index_walk(&patrons_by_name, slice_hash(username));
    uint32_t pos;

    while (index_next(&w, &pos))
        if (slice_is(username, patrons[pos].username))
            return &patrons[pos];
    return wise_accepts_patrons() ? wise_patron_with(username) : NULL;
}

int64_t wise_patron_number(const struct wise_patron *patron)
{
    return patron - patrons;
}

static void admin_patrons(struct exchange *x)
{
    json_object *body = body_json(x);
    size_t count = json_object_is_type(body, json_type_array) ? json_object_array_length(body) : 0, put = 0;

    if (!body)
        return;
    for (size_t i = 0; i < count; i++) {
        json_object *of = json_object_array_get_idx(body, i);
        const char *id = member_text(of, "patronSystemId", NULL);

        if (!id)
            continue;
        patron_put(id, of);
        put++;
    }
    json_object_put(body);
    text_fmt(answer(x, 200, "application/json"), "{\"patrons\":%zu}\n", put);
}

/* ---- holds ---- */

/* yymmdd and five digits, as the document's examples have it. */
static int64_t next_number(int64_t day)
{
    char text[WISE_DAY_SIZE];
    int64_t year, month, date;

    if (day != serial_day)
        serial = 0;
    serial_day = day;
    wise_day_print(day, text);
    slice_int64((struct slice){ text + 2, 2 }, &year);
    slice_int64((struct slice){ text + 5, 2 }, &month);
    slice_int64((struct slice){ text + 8, 2 }, &date);
    return ((year * 100 + month) * 100 + date) * 100000 + ++serial;
}

struct wise_hold *wise_hold_add(struct wise_patron *patron, struct wise_title *title)
{
    int64_t today = wise_today();
    struct wise_hold *h;

    holds = grown(holds, hold_count, &hold_cap, sizeof *holds);
    h = &holds[hold_count++];
    *h = (struct wise_hold){
        .number = next_number(today), .placed_day = today, .due_day = today + 365, .at_ms = wall_ms(),
        .patron = (uint32_t)(patron - patrons), .title = (uint32_t)(title - titles), .previous = patron->last_hold,
        .cancel_allowed = true,
    };
    snprintf(h->branch, sizeof h->branch, "%s", patron->branch);
    h->again = wise_hold_of(patron, title) != NULL;
    patron->last_hold = (uint32_t)hold_count;
    title->active++;
    return h;
}

struct wise_hold *wise_hold_with(struct slice id)
{
    int64_t n;

    if (!slice_int64(id, &n) || n < WISE_FIRST_HOLD || (uint64_t)(n - WISE_FIRST_HOLD) >= hold_count)
        return NULL;
    return &holds[n - WISE_FIRST_HOLD];
}

struct wise_hold *wise_hold_at(uint32_t position_1)
{
    return position_1 ? &holds[position_1 - 1] : NULL;
}

int64_t wise_hold_id(const struct wise_hold *h)
{
    return WISE_FIRST_HOLD + (h - holds);
}

struct wise_hold *wise_hold_of(const struct wise_patron *patron, const struct wise_title *title)
{
    for (struct wise_hold *h = wise_hold_at(patron->last_hold); h; h = wise_hold_at(h->previous))
        if (!h->gone && &titles[h->title] == title)
            return h;
    return NULL;
}

const struct wise_patron *wise_hold_patron(const struct wise_hold *h)
{
    return &patrons[h->patron];
}

void wise_hold_end(struct wise_hold *h)
{
    if (!h->gone)
        titles[h->title].active--;
    h->gone = true;
}

int64_t wise_hold_cancel(struct wise_hold *h)
{
    wise_hold_end(h);
    h->cancelled = true;
    cancels = grown(cancels, cancel_count, &cancel_cap, sizeof *cancels);
    cancels[cancel_count++] = (struct wise_cancel){ .hold = wise_hold_id(h), .at_ms = wall_ms() };
    return FIRST_CANCEL + (int64_t)cancel_count;
}

uint32_t wise_next_call(void)
{
    return ++last_call;
}

/* Once one of a group has an item, Wise cancels the others. */
static void link_item(const struct wise_hold *linked)
{
    for (struct wise_hold *h = wise_hold_at(wise_hold_patron(linked)->last_hold); h; h = wise_hold_at(h->previous))
        if (h != linked && h->together && h->group == linked->group)
            wise_hold_end(h);
}

static bool status_named(const char *name, uint8_t *ret)
{
    for (uint8_t i = 0; i < WISE_STATUSES; i++)
        if (name && !strcmp(name, wise_status_names[i])) {
            *ret = i;
            return true;
        }
    return false;
}

/* What the test says of a hold: {"holdStatus","cancelAllowed","holdPlacedDate"}. */
static bool hold_change(struct wise_hold *h, json_object *of)
{
    const char *status = member_text(of, "holdStatus", NULL), *day = member_text(of, "holdPlacedDate", NULL);

    if ((status && !status_named(status, &h->status)) || (day && !wise_day_read(slice_of(day), &h->placed_day)))
        return false;
    h->cancel_allowed = member_flag(of, "cancelAllowed", h->status == WISE_ACTIVE && h->cancel_allowed);
    if (h->together && h->status != WISE_ACTIVE)
        link_item(h);
    if (h->status == WISE_CLOSED)
        wise_hold_end(h);
    return true;
}

static void admin_holds(struct exchange *x)
{
    json_object *body = body_json(x);
    size_t count = json_object_is_type(body, json_type_array) ? json_object_array_length(body) : 0, put = 0;
    struct text ids = { 0 };

    if (!body)
        return;
    for (size_t i = 0; i < count; i++) {
        json_object *of = json_object_array_get_idx(body, i);
        struct wise_patron *patron = wise_patron_with(slice_of(member_text(of, "patronSystemId", "")));
        struct wise_title *title = wise_title_with(slice_of(member_text(of, "bibliographicRecordId", "")));
        struct wise_hold *h;

        if (!patron || !title)
            continue;
        h = wise_hold_add(patron, title);
        h->loaded = true;
        h->again = false;
        if (!hold_change(h, of))
            wise_hold_end(h);
        text_fmt(&ids, "%s\"%" PRId64 "\"", put++ ? "," : "", wise_hold_id(h));
    }
    json_object_put(body);
    text_fmt(answer(x, put == count ? 200 : 400, "application/json"), "{\"ids\":[%.*s]}\n", (int)ids.len,
             ids.len ? ids.at : "");
    text_release(&ids);
}

static void admin_change_hold(struct exchange *x)
{
    struct wise_hold *h = wise_hold_with(x->req.arg);
    json_object *body = h && !h->gone ? body_json(x) : NULL;

    if (!h || h->gone) {
        answer_json_error(x, 404, "no such hold");
        return;
    }
    if (!body)
        return;
    if (hold_change(h, body))
        text_str(answer(x, 200, "application/json"), "{}\n");
    else
        answer_json_error(x, 400, "holdStatus or holdPlacedDate is none");
    json_object_put(body);
}

static void admin_end_hold(struct exchange *x)
{
    struct wise_hold *h = wise_hold_with(x->req.arg);

    if (!h || h->gone) {
        answer_json_error(x, 404, "no such hold");
        return;
    }
    wise_hold_end(h);
    text_str(answer(x, 200, "application/json"), "{}\n");
}

const struct call wise_admin[] = {
    { HTTP_POST,   "/titles",   "titles",      NULL, admin_titles },
    { HTTP_POST,   "/patrons",  "patrons",     NULL, admin_patrons },
    { HTTP_POST,   "/holds",    "holds",       NULL, admin_holds },
    { HTTP_PATCH,  "/holds/{}", "change_hold", NULL, admin_change_hold },
    { HTTP_DELETE, "/holds/{}", "end_hold",    NULL, admin_end_hold },
    { HTTP_GET,    NULL,        NULL,          NULL, NULL },
};

/* ---- what was done ---- */

void wise_answered(int64_t effect)
{
    size_t first = (size_t)(effect - 1);

    if (effect > FIRST_CANCEL) {
        if ((uint64_t)(effect - FIRST_CANCEL - 1) < cancel_count)
            cancels[effect - FIRST_CANCEL - 1].answered = true;
        return;
    }
    for (size_t i = first; i < hold_count && holds[i].call == holds[first].call; i++)
        holds[i].answered = true;
}

static void hold_print(const struct wise_hold *h, struct text *out)
{
    char day[WISE_DAY_SIZE];

    wise_day_print(h->placed_day, day);
    text_fmt(out, "{\"id\":\"%" PRId64 "\",\"holdNumber\":\"%" PRId64 "\",\"groupHoldId\":%" PRId64 ",\"patronSystemId\":",
             wise_hold_id(h), h->number, h->group);
    text_json(out, slice_of(patrons[h->patron].id));
    text_str(out, ",\"bibliographicRecordId\":");
    text_json(out, slice_of(titles[h->title].id));
    text_fmt(out, ",\"branch\":\"%s\",\"holdPlacedDate\":\"%s\",\"holdStatus\":\"%s\",\"ill\":%s,\"fast\":%s,\"gone\":%s,"
             "\"cancelled\":%s,\"at\":%" PRId64 ".%03d,\"answered\":%s,\"again\":%s}", h->branch, day,
             wise_status_names[h->status], h->ill ? "true" : "false", h->fast ? "true" : "false", h->gone ? "true" : "false",
             h->cancelled ? "true" : "false", h->at_ms / 1000, (int)(h->at_ms % 1000), h->answered ? "true" : "false",
             h->again ? "true" : "false");
}

static void cancel_print(const struct wise_cancel *c, struct text *out)
{
    text_fmt(out, "{\"id\":\"%" PRId64 "\",\"at\":%" PRId64 ".%03d,\"answered\":%s}", c->hold, c->at_ms / 1000,
             (int)(c->at_ms % 1000), c->answered ? "true" : "false");
}

/* A page of one list; returns where the next begins. */
static size_t page(struct text *out, const char *kind, size_t from, size_t limit)
{
    bool are_cancels = !strcmp(kind, "cancels"), only_again = !strcmp(kind, "duplicates");
    size_t total = are_cancels ? cancel_count : hold_count;
    const char *comma = "";

    text_fmt(out, ",\n\"%s\":[", kind);
    while (from < total && limit) {
        size_t at = from++;

        if (!are_cancels && (holds[at].loaded || (only_again && !holds[at].again)))
            continue;
        text_str(out, comma);
        if (are_cancels)
            cancel_print(&cancels[at], out);
        else
            hold_print(&holds[at], out);
        comma = ",\n";
        limit--;
    }
    text_str(out, "]");
    return from < total ? from : 0;
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

static void totals(void)
{
    placed_total = duplicate_total = ill_total = 0;
    for (size_t i = 0; i < hold_count; i++) {
        placed_total += !holds[i].loaded;
        duplicate_total += holds[i].again;
        ill_total += holds[i].ill;
    }
}

void wise_effects(struct exchange *x)
{
    static const char *const kinds[] = { "holds", "cancels", "duplicates" };
    size_t from = query_size(x->req.query, "from", 0), limit = query_size(x->req.query, "limit", 100000);
    struct text *out = answer(x, 200, "application/json");
    struct slice kind = SLICE("");
    char buf[16];

    query_get(x->req.query, "kind", buf, sizeof buf, &kind);
    totals();
    text_fmt(out, "{\"holds_total\":%" PRIu64 ",\"cancels_total\":%zu,\"duplicates_total\":%" PRIu64, placed_total,
             cancel_count, duplicate_total);
    for (size_t i = 0; i < COUNT(kinds); i++) {
        size_t next;

        if (kind.len ? !slice_is(kind, kinds[i]) : i == 2)
            continue;
        next = page(out, kinds[i], from, limit);
        if (kind.len && next)
            text_fmt(out, ",\"next\":%zu", next);
        else if (kind.len)
            text_str(out, ",\"next\":null");
    }
    text_str(out, "}\n");
}

void wise_store_count(struct text *out)
{
    size_t active = 0;

    for (size_t i = 0; i < hold_count; i++)
        active += !holds[i].gone;
    totals();
    text_fmt(out, ",\"titles\":%zu,\"patrons\":%zu,\"holds\":%" PRIu64 ",\"active\":%zu,\"cancels\":%zu,\"duplicates\":%" PRIu64
             ",\"ill\":%" PRIu64, title_count, patron_count, placed_total, active, cancel_count, duplicate_total, ill_total);
}

static void holds_forget(void)
{
    free(holds);
    free(cancels);
    holds = NULL;
    cancels = NULL;
    hold_count = hold_cap = cancel_count = cancel_cap = 0;
    serial = 0;
    for (size_t i = 0; i < patron_count; i++)
        patrons[i].last_hold = 0;
    for (size_t i = 0; i < title_count; i++)
        titles[i].active = 0;
}

void wise_store_forget(bool data)
{
    holds_forget();
    if (!data)
        return;
    for (size_t i = 0; i < title_count; i++) {
        free(titles[i].id);
        json_object_put(titles[i].of);
    }
    for (size_t i = 0; i < patron_count; i++)
        patron_release(&patrons[i]);
    free(titles);
    free(patrons);
    titles = NULL;
    patrons = NULL;
    title_count = title_cap = patron_count = patron_cap = 0;
    index_release(&titles_by_id);
    index_release(&patrons_by_id);
    index_release(&patrons_by_name);
}

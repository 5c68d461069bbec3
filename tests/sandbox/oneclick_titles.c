/*
 * oneclick_titles - what OneClick has: titles made from a number (some 60 bytes each, with the index) and titles as a test
 * posted them, which are available, and what came and went on which day.
 */
#include "index.h"
#include "oneclick.h"

#include <inttypes.h>
#include <stdlib.h>

#define COUNT_MAX INT64_C(5000000)

struct event { uint32_t title; int32_t day; bool removed; };

static struct title *titles;
static size_t title_count, title_cap, live_count, event_count, event_cap;
static struct index by_isbn;
static struct event *events;
static uint32_t era;

/* ---- finding ---- */

const struct title *title_at(size_t position)
{
    return &titles[position];
}

struct slice title_isbn(const struct title *t, char buf[ISBN_LEN])
{
    if (t->record)
        return slice_of(t->isbn);
    record_isbn(t->number, buf);
    return (struct slice){ buf, ISBN_LEN };
}

/* Also one that is gone. */
static struct title *find(struct slice isbn)
{
    struct index_walk w = index_walk(&by_isbn, slice_hash(isbn));
    char buf[ISBN_LEN];
    uint32_t pos;

    while (isbn.len && index_next(&w, &pos))
        if (slice_same(title_isbn(&titles[pos], buf), isbn))
            return &titles[pos];
    return NULL;
}

const struct title *title_with(struct slice isbn)
{
    const struct title *t = find(isbn);

    return t && !t->gone ? t : NULL;
}

void title_record(const struct title *t, struct text *out)
{
    if (t->record)
        text_add(out, t->record, t->record_len);
    else
        record_write(t->number, t->seed, out);
}

size_t title_length(size_t position)
{
    struct title *t = &titles[position];
    struct text scratch = { 0 };

    if (!t->length) {
        title_record(t, &scratch);
        t->length = (uint32_t)scratch.len;
        text_release(&scratch);
    }
    return t->length;
}

uint32_t titles_era(void)
{
    return era;
}

static void pick(struct picks *p, size_t position)
{
    if (p->count == p->cap) {
        p->cap = p->cap ? p->cap * 2 : 1024;
        p->at = memory(p->at, p->cap * sizeof *p->at);
    }
    p->at[p->count++] = (uint32_t)(position << 1 | titles[position].available);
}

struct picks titles_now(int media)
{
    struct picks p = { 0 };

    for (size_t i = 0; i < title_count; i++)
        if (!titles[i].gone && (media < 0 || titles[i].media == media))
            pick(&p, i);
    return p;
}

void titles_between(int64_t first, int64_t last, struct picks *ret_added, struct picks *ret_removed)
{
    char *seen = memory(NULL, title_count + 1);

    memset(seen, 0, title_count + 1);
    *ret_added = *ret_removed = (struct picks){ 0 };
    for (size_t i = 0; i < event_count; i++) {
        const struct event *e = &events[i];
        char bit = e->removed ? 2 : 1;

        if (e->day < first || e->day > last || seen[e->title] & bit)
            continue;
        seen[e->title] = (char)(seen[e->title] | bit);
        pick(e->removed ? ret_removed : ret_added, e->title);
    }
    free(seen);
}

void titles_held(int64_t day, int64_t ret_count[MEDIA_OTHER + 1])
{
    memset(ret_count, 0, (MEDIA_OTHER + 1) * sizeof *ret_count);
    for (size_t i = 0; i < title_count; i++)
        ret_count[titles[i].media] += !titles[i].gone;
    for (size_t i = 0; i < event_count; i++)
        if (events[i].day > day)
            ret_count[titles[events[i].title].media] += events[i].removed ? 1 : -1;
}

/* ---- changing ---- */

static void happened(const struct title *t, int64_t day, bool removed)
{
    if (event_count == event_cap) {
        event_cap = event_cap ? event_cap * 2 : 1024;
        events = memory(events, event_cap * sizeof *events);
    }
    events[event_count++] = (struct event){ (uint32_t)(t - titles), (int32_t)day, removed };
}

static void record_drop(struct title *t)
{
    free(t->record);
    free(t->isbn);
    t->record = t->isbn = NULL;
    t->length = 0;
}

/* A place for that ISBN: the one it had, or a new one, which is gone as yet. */
static struct title *place_for(struct slice isbn)
{
    struct title *t = find(isbn);

    if (t)
        return t;
    if (title_count == title_cap) {
        title_cap = title_cap ? title_cap * 2 : 1024;
        titles = memory(titles, title_cap * sizeof *titles);
    }
    t = &titles[title_count];
    *t = (struct title){ .gone = true };
    if (isbn.len)
        index_add(&by_isbn, slice_hash(isbn), (uint32_t)title_count);
    title_count++;
    return t;
}

/* One that was there all the while was neither added nor removed. */
static void arrive(struct title *t, int64_t day)
{
    if (!t->gone)
        return;
    t->gone = false;
    live_count++;
    happened(t, day, false);
}

static void generate(uint32_t number, uint32_t seed, bool always_there, int64_t day)
{
    char isbn[ISBN_LEN];
    size_t before = title_count;
    struct title *t;
    enum media media;

    record_isbn(number, isbn);
    t = place_for((struct slice){ isbn, ISBN_LEN });
    record_drop(t);
    t->number = number;
    t->seed = seed;
    t->id = record_id(number);
    record_traits(number, seed, &media, &t->available);
    t->media = (uint8_t)media;
    if (title_count > before && always_there) {
        t->gone = false;
        live_count++;
    }
    arrive(t, day);
}

static const char *member_text(json_object *of, const char *name)
{
    json_object *value;

    return json_object_object_get_ex(of, name, &value) ? json_object_get_string(value) : NULL;
}

static int64_t member_int(json_object *of, const char *name, int64_t usual)
{
    json_object *value;

    return json_object_object_get_ex(of, name, &value) ? json_object_get_int64(value) : usual;
}

static void record_set(struct title *t, json_object *of)
{
    const char *isbn = member_text(of, "isbn"), *media = member_text(of, "mediaType"), *json;
    char *own_isbn = isbn ? copy_of(slice_of(isbn)) : NULL;
    json_object *record = of, *value;
    size_t len;

    record_drop(t);
    t->isbn = own_isbn;
    t->id = member_int(of, "titleId", 0);
    t->media = MEDIA_OTHER;
    for (uint8_t i = 0; media && i < MEDIA_OTHER; i++)
        if (!strcmp(media, media_names[i]))
            t->media = i;
    if (json_object_object_get_ex(of, "_availability", &value)) {
        t->available = json_object_get_boolean(value);
        json_object_object_del(of, "_availability");
    }
    if (json_object_object_get_ex(of, "_raw", &value))
        record = value;
    json = json_object_to_json_string_length(record, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE, &len);
    t->record = copy_of((struct slice){ json, len });
    t->record_len = (uint32_t)len;
}

static void post(json_object *of, int64_t day)
{
    struct title *t = place_for(slice_of(member_text(of, "isbn")));

    if (t->gone)
        t->available = true;
    record_set(t, of);
    arrive(t, day);
}

void title_lend(const struct title *t, bool available)
{
    titles[t - titles].available = available;
}

void titles_reset(void)
{
    for (size_t i = 0; i < title_count; i++)
        record_drop(&titles[i]);
    free(titles);
    free(events);
    index_release(&by_isbn);
    titles = NULL;
    events = NULL;
    title_count = title_cap = live_count = event_count = event_cap = 0;
    era++;
}

static void counts_of(size_t ret_of[MEDIA_OTHER + 1], size_t *ret_available)
{
    memset(ret_of, 0, (MEDIA_OTHER + 1) * sizeof *ret_of);
    *ret_available = 0;
    for (size_t i = 0; i < title_count; i++) {
        ret_of[titles[i].media] += !titles[i].gone;
        *ret_available += !titles[i].gone && titles[i].available;
    }
}

void titles_count(struct text *out)
{
    size_t of[MEDIA_OTHER + 1], available;

    counts_of(of, &available);
    text_fmt(out, ",\"titles\":%zu,\"ebooks\":%zu,\"eaudios\":%zu,\"available\":%zu,\"removed\":%zu", live_count,
             of[MEDIA_EBOOK], of[MEDIA_EAUDIO], available, title_count - live_count);
}

/* ---- the test's side ---- */

/* The day a change is dated: the body's, the query's, or today. False: it is none, and the answer says so. */
static bool day_of(struct exchange *x, json_object *body, int64_t *ret_day, bool *ret_given)
{
    const char *given = json_object_is_type(body, json_type_object) ? member_text(body, "day") : NULL;
    struct slice day = slice_of(given);
    char buf[16];

    *ret_day = oneclick_today();
    *ret_given = day.len || query_get(x->req.query, "day", buf, sizeof buf, &day);
    if (!*ret_given || day_read(day, ret_day))
        return true;
    answer_json_error(x, 400, "day is YYYY-MM-DD");
    return false;
}

void admin_generate(struct exchange *x)
{
    json_object *body = body_json(x);
    int64_t count, from, seed, day;
    bool dated;

    if (!body)
        return;
    count = member_int(body, "count", 1);
    from = member_int(body, "from", 1);
    seed = member_int(body, "seed", 1);
    if (!json_object_is_type(body, json_type_object) || count < 0 || count > COUNT_MAX || from < 1
        || from > NUMBER_MAX - count || seed < 0 || seed > UINT32_MAX)
        answer_json_error(x, 400, "count is up to %" PRId64 ", from 1 to %d, seed 32 bits", COUNT_MAX, NUMBER_MAX);
    else if (day_of(x, body, &day, &dated)) {
        for (int64_t i = 0; i < count; i++)
            generate((uint32_t)(from + i), (uint32_t)seed, !dated, day);
        text_fmt(answer(x, 200, "application/json"), "{\"titles\":%zu}\n", live_count);
    }
    json_object_put(body);
}

static json_object *item(json_object *list, size_t i)
{
    return json_object_is_type(list, json_type_array) ? json_object_array_get_idx(list, i) : list;
}

/* One record, a list of them, or {"day","titles"}. */
void admin_post_titles(struct exchange *x)
{
    json_object *body = body_json(x), *list = body, *inner;
    size_t count, bad = 0;
    int64_t day;
    bool dated;

    if (!body)
        return;
    if (json_object_is_type(body, json_type_object) && json_object_object_get_ex(body, "titles", &inner))
        list = inner;
    count = json_object_is_type(list, json_type_array) ? json_object_array_length(list) : 1;
    for (size_t i = 0; i < count; i++)
        bad += !json_object_is_type(item(list, i), json_type_object);
    if (bad)
        answer_json_error(x, 400, "a title is an object; {\"isbn\":…,\"_raw\":…} makes one that is not");
    else if (day_of(x, body, &day, &dated)) {
        for (size_t i = 0; i < count; i++)
            post(item(list, i), day);
        text_fmt(answer(x, 200, "application/json"), "{\"titles\":%zu}\n", live_count);
    }
    json_object_put(body);
}

/* The title the path names, or NULL and a 404. */
static struct title *named(struct exchange *x)
{
    const struct title *t = NULL;
    struct slice isbn;
    char buf[ISBN_MAX];

    if (percent_decode(x->req.arg, false, buf, sizeof buf, &isbn))
        t = title_with(isbn);
    if (!t)
        answer_json_error(x, 404, "no such title");
    return t ? &titles[t - titles] : NULL;
}

void admin_delete_title(struct exchange *x)
{
    struct title *t = named(x);
    int64_t day;
    bool dated;

    if (!t || !day_of(x, NULL, &day, &dated))
        return;
    t->gone = true;
    live_count--;
    happened(t, day, true);
    text_fmt(answer(x, 200, "application/json"), "{\"titles\":%zu}\n", live_count);
}

void admin_patch_title(struct exchange *x)
{
    json_object *body = body_json(x), *record, *isbn;
    struct text json = { 0 };
    char buf[ISBN_LEN];
    struct title *t;

    if (!body || !(t = named(x))) {
        json_object_put(body);
        return;
    }
    title_record(t, &json);
    text_add(&json, "", 1);
    record = json_tokener_parse(json.at);
    text_release(&json);
    if (!json_object_is_type(body, json_type_object) || json_object_object_get_ex(body, "isbn", &isbn)
        || !slice_same(slice_of(member_text(record, "isbn")), title_isbn(t, buf)))
        answer_json_error(x, 400, "a patch is an object without isbn, for a record that has one");
    else {
        json_object_object_foreach(body, name, value)
            json_object_object_add(record, name, json_object_get(value));
        record_set(t, record);
        text_str(answer(x, 200, "application/json"), "{}\n");
    }
    json_object_put(record);
    json_object_put(body);
}

/* A random few, each once: the front of a shuffle. */
static size_t flip(int64_t count, int64_t seed)
{
    struct picks rows = titles_now(-1);
    struct prng random = { (uint64_t)seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407) };
    size_t want = (uint64_t)count < rows.count ? (size_t)count : rows.count;

    for (size_t i = 0; i < want; i++) {
        size_t other = i + (size_t)(prng_next(&random) % (rows.count - i));
        uint32_t chosen = rows.at[other];

        rows.at[other] = rows.at[i];
        titles[chosen >> 1].available = !(chosen & 1);
    }
    free(rows.at);
    return want;
}

static bool make_available(json_object *of)
{
    json_object *available;
    struct title *t = json_object_is_type(of, json_type_object) ? find(slice_of(member_text(of, "isbn"))) : NULL;

    if (!t || t->gone || !json_object_object_get_ex(of, "availability", &available))
        return false;
    t->available = json_object_get_boolean(available);
    return true;
}

/* {"isbn","availability"}, a list of those, or {"flip","seed"}. */
void admin_availability(struct exchange *x)
{
    json_object *body = body_json(x), *value;
    bool list = json_object_is_type(body, json_type_array);
    size_t count = list ? json_object_array_length(body) : 1, changed = 0;

    if (!body)
        return;
    if (!list && json_object_is_type(body, json_type_object) && json_object_object_get_ex(body, "flip", &value)) {
        changed = count = flip(json_object_get_int64(value), member_int(body, "seed", 1));
    } else {
        for (size_t i = 0; i < count; i++)
            changed += make_available(item(body, i));
    }
    if (changed == count)
        text_fmt(answer(x, 200, "application/json"), "{\"changed\":%zu}\n", changed);
    else
        answer_json_error(x, 404, "%zu of %zu: no such title, or no availability", count - changed, count);
    json_object_put(body);
}

static void row_admin(const struct listing *l, const struct title *t, bool available, struct text *out)
{
    struct slice isbn;
    char buf[ISBN_LEN];

    (void)l;
    isbn = title_isbn(t, buf);
    text_str(out, "{\"isbn\":");
    if (isbn.at)
        text_json(out, isbn);
    else
        text_str(out, "null");
    text_str(out, t->media < MEDIA_OTHER ? ",\"mediaType\":\"" : ",\"mediaType\":null");
    if (t->media < MEDIA_OTHER) {
        text_str(out, media_names[t->media]);
        text_str(out, "\"");
    }
    text_str(out, available ? ",\"availability\":true" : ",\"availability\":false");
    text_str(out, t->gone ? ",\"removed\":true,\"title\":" : ",\"removed\":false,\"title\":");
    title_record(t, out);
    text_str(out, "}");
}

void admin_one_title(struct exchange *x)
{
    const struct title *t = named(x);

    if (!t)
        return;
    row_admin(NULL, t, t->available, answer(x, 200, "application/json"));
    text_str(&x->answer.body, "\n");
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

/* One a line. */
void admin_list_titles(struct exchange *x)
{
    size_t skip = query_size(x->req.query, "from", 0), limit = query_size(x->req.query, "limit", SIZE_MAX);
    bool removed = query_flag(x->req.query, "removed", false);
    struct listing *l = listing_new(row_admin);

    for (size_t i = 0; i < title_count && l->part[0].count < limit; i++) {
        if (titles[i].gone && !removed)
            continue;
        if (skip)
            skip--;
        else
            pick(&l->part[0], i);
    }
    l->parts = 1;
    l->between = "\n";
    if (l->part[0].count)
        text_str(&l->lead[1], "\n");
    listing_answer(x, l, "application/x-ndjson");
}

void admin_count_titles(struct exchange *x)
{
    struct text members = { 0 };

    titles_count(&members);
    text_fmt(answer(x, 200, "application/json"), "{%.*s}\n", (int)members.len - 1, members.at + 1);
    text_release(&members);
}

/*
 * libcal - bookings of rooms and seats: a token, a list in pages, single bookings, and what a location asks.
 *
 * A row is kept as the text it is answered with, cut in four, since three parts are only shown when asked for; beside
 * it lies what the list filters by. Anything may be in a row: what cannot be read does not filter.
 */
#include "settings.h"
#include "tokens.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define LIDS_MAX 32

enum part { PART_BASE, PART_ANSWERS, PART_CHECK_IN, PART_NOTES, PARTS };
enum class { CLASS_LIVE, CLASS_CANCELLED, CLASS_DENIED, CLASS_TENTATIVE, CLASS_REMOTE };

struct row {
    char *part[PARTS];               /* members without braces, or the whole row when it is raw */
    char *book_id;
    int64_t lid, day;                /* local day of fromDate */
    int32_t offset_s;
    bool has_day, raw;
    enum class class;
};

static struct vendor_state state;
static struct tokens tokens;
static struct row *rows;
static size_t row_count, row_cap;
static uint64_t logins;

static double token_seconds, booking_every_seconds;
static int64_t page_cap, booked, next_booking_ms;
static char *client_id, *client_secret, *past_dates;
static struct moment now_override;
static json_object *locations, *forms, *questions;

static void booking_every_changed(void);

static const struct setting settings[] = {
    { "latency_ms", SETTING_NUMBER, &state.latency_ms, "0", "every answer waits this long", NULL },
    { "jitter_ms", SETTING_NUMBER, &state.jitter_ms, "0", "and up to this much longer", NULL },
    { "token_seconds", SETTING_NUMBER, &token_seconds, "3600", "how long a token lives", NULL },
    { "client_id", SETTING_TEXT, &client_id, "\"123\"", "who may have a token", NULL },
    { "client_secret", SETTING_TEXT, &client_secret, "\"sandbox-libcal-secret\"", "and with what", NULL },
    { "page_cap", SETTING_INT, &page_cap, "500", "never more rows than this in a page", NULL },
    { "now", SETTING_INSTANT, &now_override, "null", "what time it is; null: the clock's", NULL },
    { "past_dates", SETTING_TEXT, &past_dates, "\"ignored\"", "date before today: ignored or honoured", NULL },
    { "booking_every_seconds", SETTING_NUMBER, &booking_every_seconds, "0", "from now on somebody books so often; 0: nobody",
      booking_every_changed },
    { "locations", SETTING_JSON, &locations, "null", "the answer to space/locations; null: from the rows", NULL },
    { "forms", SETTING_JSON, &forms, "null", "an object of forms by id; null: one with q12505", NULL },
    { "questions", SETTING_JSON, &questions, "null", "an object of questions by id; null: any id", NULL },
    SETTING_END
};

static const char *const shapes[] = { "empty_list", "page_one", NULL };

static void error(struct exchange *x, int status, const char *code, const char *message, enum error_form form)
{
    struct text *out;

    if (form == ERROR_XML) {
        text_fmt(answer(x, status, "application/xml"), "<error><code>%s</code><message>", code);
        text_xml(&x->answer.body, slice_of(message));
        text_str(&x->answer.body, "</message></error>");
        return;
    }
    out = answer(x, status, "application/json");
    text_str(out, form == ERROR_LIST ? "{\"errors\":[" : "{\"error\":");
    text_json(out, slice_of(message));
    text_str(out, form == ERROR_LIST ? "]}" : "}");
}

/* ---- the token ---- */

struct client { struct slice id, secret, grant; char bytes[3][128]; };

/* Clients send the same three members as JSON or as a form. */
static bool read_client(struct exchange *x, struct fields *f, struct client *ret_client)
{
    static const char *const names[] = { "client_id", "client_secret", "grant_type" };
    struct slice *const to[] = { &ret_client->id, &ret_client->secret, &ret_client->grant };

    if (fields_read(f, x->req.body)) {
        for (size_t i = 0; i < COUNT(names); i++) {
            const struct field *field = fields_get(f, names[i]);

            *to[i] = field ? field->value : SLICE("");
        }
        return true;
    }
    for (size_t i = 0; i < COUNT(names); i++)
        if (!query_get(x->req.body, names[i], ret_client->bytes[i], sizeof ret_client->bytes[i], to[i]))
            *to[i] = SLICE("");
    return ret_client->id.len;
}

static void token_keys(struct exchange *x)
{
    struct client client;
    struct fields f;

    if (!read_client(x, &f, &client) || client.id.len > sizeof x->key_bytes)
        return;
    memcpy(x->key_bytes, client.id.at, client.id.len);
    exchange_key(x, (struct slice){ x->key_bytes, client.id.len });
}

static void token(struct exchange *x)
{
    char issued[TOKEN_LEN + 1];
    struct client client;
    struct fields f;

    logins++;
    if (!read_client(x, &f, &client) || !slice_is(client.id, client_id) || !slice_is(client.secret, client_secret)) {
        answer_json_error(x, 400, "The client credentials are invalid");
        return;
    }
    if (!slice_is(client.grant, "client_credentials")) {
        answer_json_error(x, 400, "Grant type not supported");
        return;
    }
    tokens_issue(&tokens, token_seconds, issued);
    x->credential = slice_hash(slice_of(issued));
    text_fmt(answer(x, 200, "application/json"), "{\"access_token\":\"%s\",\"expires_in\":%.0f,"
             "\"token_type\":\"Bearer\",\"scope\":\"cal_r ev_r ms_r rm_r eq_r sp_r h_r\"}", issued, token_seconds);
}

static bool admitted(struct exchange *x)
{
    struct slice s = x->req.authorization;

    if (slice_starts(s, "Bearer ")) {
        s = (struct slice){ s.at + 7, s.len - 7 };
        x->credential = slice_hash(s);
        if (tokens_valid(&tokens, s))
            return true;
    }
    answer_json_error(x, 401, "Unauthorized");
    return false;
}

/* ---- rows ---- */

static struct instant now(void)
{
    if (now_override.set)
        return now_override.at;
    return (struct instant){ wall_ms() / 1000, 0 };
}

static int64_t today(const struct row *r)
{
    struct instant i = now();

    return floor_div(i.epoch_s + (r->has_day ? r->offset_s : i.offset_s), 86400);
}

static bool shown(const struct row *r, struct slice query)
{
    switch (r->class) {
    case CLASS_CANCELLED: return query_flag(query, "include_cancel", true);
    case CLASS_DENIED: return query_flag(query, "include_denied", false);
    case CLASS_TENTATIVE: return query_flag(query, "include_tentative", true);
    case CLASS_REMOTE: return query_flag(query, "include_remote", false);
    case CLASS_LIVE: break;
    }
    return true;
}

static enum class class_of(const char *status)
{
    if (!status)
        return CLASS_LIVE;
    if (!strncmp(status, "Cancelled", 9))
        return CLASS_CANCELLED;
    if (strstr(status, "Denied"))
        return CLASS_DENIED;
    if (!strcmp(status, "Tentative") || !strcmp(status, "Mediated Tentative"))
        return CLASS_TENTATIVE;
    if (!strncmp(status, "Booked in Outlook", 17))
        return CLASS_REMOTE;
    return CLASS_LIVE;
}

static void row_release(struct row *r)
{
    for (size_t i = 0; i < PARTS; i++)
        free(r->part[i]);
    free(r->book_id);
    *r = (struct row){ 0 };
}

static const char *member_text(json_object *of, const char *name)
{
    json_object *value;

    return json_object_object_get_ex(of, name, &value) && json_object_is_type(value, json_type_string)
        ? json_object_get_string(value) : NULL;
}

static int64_t member_int(json_object *of, const char *name, int64_t usual)
{
    json_object *value;

    return json_object_object_get_ex(of, name, &value) ? json_object_get_int64(value) : usual;
}

static enum part part_of(const char *name)
{
    if (name[0] == 'q' && name[1] >= '0' && name[1] <= '9')
        return PART_ANSWERS;
    if (!strcmp(name, "check_in_status"))
        return PART_CHECK_IN;
    return strcmp(name, "internal_notes") ? PART_BASE : PART_NOTES;
}

static void row_fill(struct row *r, json_object *of)
{
    struct text part[PARTS] = { 0 };
    struct instant from;
    json_object *raw;
    const char *s;

    *r = (struct row){ .lid = member_int(of, "lid", 0) };
    if (json_object_object_get_ex(of, "_raw", &raw)) {
        r->raw = true;
        r->part[PART_BASE] = copy_of(slice_of(json_object_to_json_string_ext(raw, JSON_C_TO_STRING_PLAIN)));
        return;
    }
    json_object_object_foreach(of, name, value) {
        struct text *to = &part[part_of(name)];

        if (to->len)
            text_str(to, ",");
        text_json(to, slice_of(name));
        text_str(to, ":");
        text_str(to, json_object_to_json_string_ext(value, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE));
    }
    for (size_t i = 0; i < PARTS; i++) {
        if (part[i].len)
            r->part[i] = copy_of(text_slice(&part[i]));
        text_release(&part[i]);
    }
    s = member_text(of, "bookId");
    r->book_id = s ? copy_of(slice_of(s)) : NULL;
    r->class = class_of(member_text(of, "status"));
    s = member_text(of, "fromDate");
    if (s && instant_read(slice_of(s), &from)) {
        r->has_day = true;
        r->offset_s = from.offset_s;
        r->day = floor_div(from.epoch_s + from.offset_s, 86400);
    }
}

static struct row *row_new(void)
{
    if (row_count == row_cap) {
        row_cap = row_cap ? row_cap * 2 : 256;
        rows = memory(rows, row_cap * sizeof *rows);
    }
    return &rows[row_count++];
}

static void rows_forget(void)
{
    for (size_t i = 0; i < row_count; i++)
        row_release(&rows[i]);
    free(rows);
    rows = NULL;
    row_count = row_cap = 0;
}

static void row_print(const struct row *r, bool part[PARTS], struct text *out)
{
    const char *comma = "";

    if (r->raw) {
        text_str(out, r->part[PART_BASE]);
        return;
    }
    text_str(out, "{");
    for (size_t i = 0; i < PARTS; i++) {
        if (!part[i] || !r->part[i])
            continue;
        text_str(out, comma);
        text_str(out, r->part[i]);
        comma = ",";
    }
    text_str(out, "}");
}

/* ---- bookings ---- */

static void generate_row(struct row *r, int64_t number, int64_t person, int64_t eid, int64_t lid, struct instant from,
                         int64_t minutes, const char *prefix, const char *status, const char *question_name)
{
    struct instant to = { from.epoch_s + minutes * 60, from.offset_s };
    char start[32], end[32], id[64];
    struct text base = { 0 }, answers = { 0 };

    instant_print(from, start);
    instant_print(to, end);
    snprintf(id, sizeof id, "%s%08" PRId64, prefix, number);
    text_fmt(&base, "\"bookId\":\"%s\",\"id\":%" PRId64 ",\"eid\":%" PRId64 ",\"cid\":18578,\"lid\":%" PRId64
             ",\"fromDate\":\"%s\",\"toDate\":\"%s\",\"created\":\"%s\",\"firstName\":\"Person\","
             "\"lastName\":\"Number %" PRId64 "\",\"email\":\"g%08" PRId64 "@example.edu\",\"account\":\"g%08" PRId64
             "\",\"status\":", id, number, eid, lid, start, end, start, person, person, person);
    text_json(&base, slice_of(status));
    text_fmt(&base, ",\"location_name\":\"Location %" PRId64 "\",\"category_name\":\"Rooms\",\"item_name\":\"Room %"
             PRId64 "\",\"event\":null,\"nickname\":\"\",\"check_in_code\":\"ABC\"", lid, eid);
    text_fmt(&answers, "\"%s\":\"G%08" PRId64 "\"", question_name, person);
    *r = (struct row){ .lid = lid, .has_day = true, .offset_s = from.offset_s, .class = class_of(status) };
    r->day = floor_div(from.epoch_s + from.offset_s, 86400);
    r->book_id = copy_of(slice_of(id));
    r->part[PART_BASE] = copy_of(text_slice(&base));
    r->part[PART_ANSWERS] = copy_of(text_slice(&answers));
    r->part[PART_CHECK_IN] = copy_of(SLICE("\"check_in_status\":\"-\""));
    text_release(&base);
    text_release(&answers);
}

struct filter { int64_t lid[LIDS_MAX], day, days, limit, page; size_t lids; bool has_day, part[PARTS]; };

static bool number_within(struct exchange *x, const char *name, int64_t low, int64_t high, const char *sentence,
                          int64_t *n)
{
    struct slice s;
    char buf[32];

    if (!query_get(x->req.query, name, buf, sizeof buf, &s))
        return true;
    if (slice_int64(s, n) && *n >= low && *n <= high)
        return true;
    answer_plain(x, 400, sentence);
    return false;
}

static void read_parts(struct slice query, bool part[PARTS])
{
    part[PART_BASE] = true;
    part[PART_ANSWERS] = query_flag(query, "form_answers", false) || query_flag(query, "formAnswers", false);
    part[PART_CHECK_IN] = query_flag(query, "check_in_status", false);
    part[PART_NOTES] = query_flag(query, "internal_notes", false);
}

static bool next_of_list(struct slice *list, struct slice *ret_item)
{
    const char *comma;

    if (!list->len)
        return false;
    comma = memchr(list->at, ',', list->len);
    *ret_item = (struct slice){ list->at, comma ? (size_t)(comma - list->at) : list->len };
    list->at += ret_item->len + (comma != NULL);
    list->len -= ret_item->len + (comma != NULL);
    return true;
}

static bool read_filter(struct exchange *x, struct filter *f)
{
    struct slice list, item, date;
    char buf[512];

    *f = (struct filter){ .limit = 20, .page = 1 };
    read_parts(x->req.query, f->part);
    if (!number_within(x, "days", 0, 365, "invalid \"days\" value", &f->days)
        || !number_within(x, "limit", 1, 500, "invalid \"limit\" value", &f->limit)
        || !number_within(x, "page", 1, INT32_MAX, "invalid \"page\" value, must be >= 1", &f->page))
        return false;
    if (query_get(x->req.query, "date", buf, sizeof buf, &date)) {
        f->has_day = day_read(date, &f->day);
        if (!f->has_day) {
            answer_plain(x, 400, "invalid \"date\" value");
            return false;
        }
    }
    if (query_get(x->req.query, "lid", buf, sizeof buf, &list))
        while (f->lids < LIDS_MAX && next_of_list(&list, &item))
            f->lids += slice_int64(item, &f->lid[f->lids]);
    if (!f->lids) {
        answer_plain(x, 400, "must supply at least 1 location id");
        return false;
    }
    if (f->limit > page_cap)
        f->limit = page_cap;
    if (x->shape && !strcmp(x->shape, "page_one"))
        f->page = 1;
    return true;
}

static bool fits(const struct row *r, const struct filter *f)
{
    int64_t first, from;
    size_t i = 0;

    while (i < f->lids && f->lid[i] != r->lid)
        i++;
    if (i == f->lids)
        return false;
    if (!r->has_day)
        return true;
    from = first = today(r);
    if (f->has_day && (f->day >= first || strcmp(past_dates, "ignored") != 0))
        from = f->day;
    return r->day >= from && r->day <= from + f->days;
}

static void bookings_keys(struct exchange *x)
{
    exchange_key_query(x, "lid");
}

/* A library at work. Seen when somebody looks, as far as the client can tell at its time. */
static void book(void)
{
    while (booking_every_seconds > 0 && next_booking_ms <= wall_ms()) {
        struct instant at = now();

        at.epoch_s = (floor_div(at.epoch_s + at.offset_s, 86400) + 1) * 86400 - at.offset_s + (8 + booked % 12) * 3600;
        booked++;
        generate_row(row_new(), booked, booked, 71489 + booked / 12, 1234, at, 60, "new_", "Confirmed", "q12505");
        next_booking_ms += 1 + (int64_t)(booking_every_seconds * 1000);
    }
}

static void bookings(struct exchange *x)
{
    int64_t skip, left;
    struct filter f;
    struct text *out;
    const char *comma = "";

    if (!admitted(x) || !read_filter(x, &f))
        return;
    book();
    skip = (f.page - 1) * f.limit;
    left = x->shape && !strcmp(x->shape, "empty_list") ? 0 : f.limit;
    out = answer(x, 200, "application/json");
    text_str(out, "[");
    for (size_t i = 0; i < row_count && left > 0; i++) {
        if (!fits(&rows[i], &f) || !shown(&rows[i], x->req.query) || skip-- > 0)
            continue;
        text_str(out, comma);
        row_print(&rows[i], f.part, out);
        comma = ",";
        left--;
    }
    text_str(out, "]");
}

/* The ids of a path, as keys of the call: a fault may name any one of them. */
static void list_keys(struct exchange *x)
{
    struct slice list, item;

    if (!percent_decode(x->req.arg, false, x->key_bytes, sizeof x->key_bytes, &list))
        return;
    while (next_of_list(&list, &item))
        exchange_key(x, item);
}

static void booking(struct exchange *x)
{
    const char *comma = "";
    bool part[PARTS];
    struct text *out;

    if (!admitted(x))
        return;
    if (!x->key_count) {
        answer_plain(x, 400, "must supply at least 1 booking id");
        return;
    }
    read_parts(x->req.query, part);
    out = answer(x, 200, "application/json");
    text_str(out, "[");
    for (size_t i = 0; i < row_count && !(x->shape && !strcmp(x->shape, "empty_list")); i++) {
        const struct row *r = &rows[i];
        bool asked = false;

        for (size_t j = 0; j < x->key_count && r->book_id && !asked; j++)
            asked = slice_is(x->keys[j], r->book_id);
        if (!asked || r->class == CLASS_CANCELLED)
            continue;
        text_str(out, comma);
        row_print(r, part, out);
        comma = ",";
    }
    text_str(out, "]");
}

/* ---- what a location is and asks ---- */

static void locations_serve(struct exchange *x)
{
    int64_t lid[LIDS_MAX];
    size_t lids = 0;
    struct text *out;

    if (!admitted(x))
        return;
    out = answer(x, 200, "application/json");
    if (locations) {
        text_str(out, json_object_to_json_string_ext(locations, JSON_C_TO_STRING_PLAIN));
        return;
    }
    text_str(out, "[");
    for (size_t i = 0; i < row_count && lids < LIDS_MAX; i++) {
        size_t j = 0;

        while (j < lids && lid[j] != rows[i].lid)
            j++;
        if (j < lids || !rows[i].lid)
            continue;
        lid[lids++] = rows[i].lid;
        text_fmt(out, "%s{\"lid\":%" PRId64 ",\"name\":\"Location %" PRId64 "\",\"public\":1,\"formid\":38,"
                 "\"admin_only\":0}", j ? "," : "", rows[i].lid, rows[i].lid);
    }
    text_str(out, "]");
}

/* The configured ones of the ids asked for, or for each id what `otherwise` prints. */
static void content(struct exchange *x, json_object *configured, const char *sentence,
                    void (*otherwise)(struct slice id, struct text *out))
{
    const char *comma = "";
    struct text *out;

    if (!admitted(x))
        return;
    if (!x->key_count) {
        answer_plain(x, 400, sentence);
        return;
    }
    out = answer(x, 200, "application/json");
    text_str(out, "[");
    for (size_t i = 0; i < x->key_count; i++) {
        json_object *value = NULL;
        int64_t number;
        char id[32];

        if (!slice_int64(x->keys[i], &number))
            continue;
        snprintf(id, sizeof id, "%.*s", (int)x->keys[i].len, x->keys[i].at);
        if (configured && !json_object_object_get_ex(configured, id, &value))
            continue;
        text_str(out, comma);
        if (configured)
            text_str(out, json_object_to_json_string_ext(value, JSON_C_TO_STRING_PLAIN));
        else
            otherwise(slice_of(id), out);
        comma = ",";
    }
    text_str(out, "]");
}

static void usual_form(struct slice id, struct text *out)
{
    text_str(out, "{\"id\":");
    text_slice_add(out, id);
    text_str(out, ",\"name\":\"Booking form\",\"fields\":{"
             "\"fname\":{\"label\":\"First Name\",\"type\":\"string\",\"required\":true},"
             "\"lname\":{\"label\":\"Last Name\",\"type\":\"string\",\"required\":true},"
             "\"email\":{\"label\":\"Email\",\"type\":\"string\",\"required\":true},"
             "\"q12505\":{\"id\":12505,\"label\":\"University ID\",\"type\":\"string\",\"required\":true,"
             "\"options\":[]}}}");
}

static void usual_question(struct slice id, struct text *out)
{
    text_str(out, "{\"id\":");
    text_slice_add(out, id);
    text_str(out, ",\"label\":\"University ID\",\"type\":\"string\",\"required\":true,\"options\":[]}");
}

static void form(struct exchange *x)
{
    content(x, forms, "must supply at least 1 form id", usual_form);
}

static void question(struct exchange *x)
{
    content(x, questions, "must supply at least 1 question id", usual_question);
}

/* ---- the admin side ---- */

static void append(struct exchange *x, bool replace)
{
    json_object *body = body_json(x);
    size_t count;

    if (!body)
        return;
    if (!json_object_is_type(body, json_type_array)) {
        answer_json_error(x, 400, "bookings are an array of rows");
        json_object_put(body);
        return;
    }
    if (replace)
        rows_forget();
    count = json_object_array_length(body);
    for (size_t i = 0; i < count; i++) {
        json_object *of = json_object_array_get_idx(body, i);

        if (json_object_is_type(of, json_type_object))
            row_fill(row_new(), of);
    }
    json_object_put(body);
    text_fmt(answer(x, 200, "application/json"), "{\"rows\":%zu}\n", row_count);
}

static void admin_replace(struct exchange *x)
{
    append(x, true);
}

static void admin_append(struct exchange *x)
{
    append(x, false);
}

static bool admin_id(struct exchange *x, char buf[128], struct slice *ret_id)
{
    if (percent_decode(x->req.arg, false, buf, 128, ret_id))
        return true;
    answer_json_error(x, 400, "bad id");
    return false;
}

static void admin_delete(struct exchange *x)
{
    size_t kept = 0, before = row_count;
    struct slice id;
    char buf[128];

    if (!admin_id(x, buf, &id))
        return;
    for (size_t i = 0; i < row_count; i++) {
        if (rows[i].book_id && slice_is(id, rows[i].book_id))
            row_release(&rows[i]);
        else
            rows[kept++] = rows[i];
    }
    row_count = kept;
    text_fmt(answer(x, kept < before ? 200 : 404, "application/json"), "{\"rows\":%zu}\n", before - kept);
}

static json_object *row_json(const struct row *r)
{
    bool part[PARTS] = { true, true, true, true };
    struct text whole = { 0 };
    json_object *of;

    row_print(r, part, &whole);
    text_add(&whole, "", 1);
    of = json_tokener_parse(whole.at);
    text_release(&whole);
    return of;
}

static void admin_patch(struct exchange *x)
{
    json_object *body = body_json(x);
    size_t changed = 0;
    struct slice id;
    char buf[128];

    if (!body)
        return;
    if (!json_object_is_type(body, json_type_object) || !admin_id(x, buf, &id)) {
        answer_json_error(x, 400, "a patch is an object of members");
        json_object_put(body);
        return;
    }
    for (size_t i = 0; i < row_count; i++) {
        json_object *of;

        if (!rows[i].book_id || rows[i].raw || !slice_is(id, rows[i].book_id))
            continue;
        of = row_json(&rows[i]);
        json_object_object_foreach(body, name, value)
            json_object_object_add(of, name, json_object_get(value));
        row_release(&rows[i]);
        row_fill(&rows[i], of);
        json_object_put(of);
        changed++;
    }
    json_object_put(body);
    text_fmt(answer(x, changed ? 200 : 404, "application/json"), "{\"rows\":%zu}\n", changed);
}

static void admin_rows(struct exchange *x)
{
    bool part[PARTS] = { true, true, true, true };
    struct text *out = answer(x, 200, "application/json");

    text_str(out, "[");
    for (size_t i = 0; i < row_count; i++) {
        if (i)
            text_str(out, ",\n");
        row_print(&rows[i], part, out);
    }
    text_str(out, "]\n");
}

/* Rooms are filled one after the other: `slots` bookings behind one another, then the next room. */
static void admin_generate(struct exchange *x)
{
    json_object *of = body_json(x);
    const char *prefix, *status, *question_name, *start;
    int64_t count, lid, people, minutes, first, from_person, slots, days;
    struct instant from = now();

    if (!of)
        return;
    prefix = member_text(of, "prefix");
    status = member_text(of, "status");
    question_name = member_text(of, "question");
    start = member_text(of, "start");
    count = member_int(of, "count", 0);
    lid = member_int(of, "lid", 1234);
    people = member_int(of, "people", count);
    minutes = member_int(of, "minutes", 60);
    first = member_int(of, "first", 1);
    from_person = member_int(of, "from", 1);
    slots = member_int(of, "slots", 1);
    days = member_int(of, "days", 1);
    from.epoch_s += 3600 - from.epoch_s % 3600;
    if (count < 0 || count > 10000000 || people < 1 || slots < 1 || days < 1 || minutes < 1
        || (start && !instant_read(slice_of(start), &from)) || (prefix && strlen(prefix) > 32)) {
        answer_json_error(x, 400, "count, people, slots, days and minutes are positive, start is an instant");
        json_object_put(of);
        return;
    }
    for (int64_t i = 0; i < count; i++) {
        struct instant at = from;

        at.epoch_s += i % slots * minutes * 60 + i / slots % days * 86400;
        generate_row(row_new(), first + i, from_person + i % people, 71489 + i / slots / days, lid, at, minutes,
                     prefix ? prefix : "cs_", status ? status : "Confirmed",
                     question_name ? question_name : "q12505");
    }
    json_object_put(of);
    text_fmt(answer(x, 200, "application/json"), "{\"rows\":%zu}\n", row_count);
}

static void booking_every_changed(void)
{
    next_booking_ms = wall_ms();
}

static void reset(unsigned what)
{
    if (what & RESET_DATA) {
        rows_forget();
        booked = 0;
    }
    if (what & RESET_COUNTS)
        logins = 0;
    if (what & RESET_TOKENS)
        tokens_revoke(&tokens);
}

static void count(struct text *out)
{
    text_fmt(out, ",\"logins\":%" PRIu64 ",\"max_logins_at_once\":%" PRIu64 ",\"rows\":%zu", logins,
             state.counts[0].max_in_flight, row_count);
}

static const struct call calls[] = {
    { HTTP_POST, "/oauth/token",       "token",     token_keys,    token },
    { HTTP_GET,  "/space/bookings",    "bookings",  bookings_keys, bookings },
    { HTTP_GET,  "/space/booking/{}",  "booking",   list_keys,     booking },
    { HTTP_GET,  "/space/locations",   "locations", NULL,          locations_serve },
    { HTTP_GET,  "/space/form/{}",     "form",      list_keys,     form },
    { HTTP_GET,  "/space/question/{}", "question",  list_keys,     question },
    { HTTP_GET,  NULL,                 "other",     NULL,          NULL },
};

static const struct call admin[] = {
    { HTTP_PUT,    "/bookings",    "replace",  NULL, admin_replace },
    { HTTP_POST,   "/bookings",    "append",   NULL, admin_append },
    { HTTP_GET,    "/bookings",    "rows",     NULL, admin_rows },
    { HTTP_DELETE, "/bookings/{}", "delete",   NULL, admin_delete },
    { HTTP_PATCH,  "/bookings/{}", "patch",    NULL, admin_patch },
    { HTTP_POST,   "/generate",    "generate", NULL, admin_generate },
    { HTTP_GET,    NULL,           NULL,       NULL, NULL },
};

const struct vendor libcal = {
    .name = "libcal", .prefixes = { "/1.1", "/api/1.1" }, .calls = calls, .admin = admin, .settings = settings,
    .shapes = shapes, .state = &state, .reset = reset, .error = error, .count = count,
};

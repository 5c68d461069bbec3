/*
 * alma - users by any identifier, one institution zone (IZ) a key, and the two thresholds everybody shares.
 *
 * A user that was posted is kept as the JSON it is answered with. Users that were generated, or that exist because of
 * accept_all, are only a range of numbers: person n is G%08d, with the barcode 2282%010d.
 */
#include "index.h"
#include "settings.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define NOMINAL_QUOTA 1000000

/* What happened within the last second: a queue of times in a ring. */
struct window { int64_t *at_ns; size_t first, count, cap; };

struct zone {
    char *name;
    struct window admitted, all;
    uint64_t used_today, max_in_second;
    int64_t day;
};

struct key  { char *text; uint32_t zone; };
struct user { char *json, *primary_id; json_object *identifiers; uint32_t zone; bool gone; };
struct range { int64_t from, count; uint32_t zone; };

static struct vendor_state state;
static struct zone *zones;
static struct key *keys;
static struct user *users;
static struct range *ranges;
static size_t zone_count, key_count, user_count, user_cap, range_count;
static struct index by_identifier;
static struct window all_zones;
static uint64_t max_in_second;
static uint32_t tracking;

static int64_t per_second, per_day;
static bool accept_all;
static json_object *key_zones, *group;

static void keys_changed(void);

static const struct setting settings[] = {
    { "latency_ms", SETTING_NUMBER, &state.latency_ms, "0", "every answer waits this long", NULL },
    { "jitter_ms", SETTING_NUMBER, &state.jitter_ms, "0", "and up to this much longer", NULL },
    { "per_second", SETTING_INT, &per_second, "0", "calls in any second of one IZ; 0: no threshold", NULL },
    { "per_day", SETTING_INT, &per_day, "0", "calls a day (UTC) of one IZ; 0: no threshold", NULL },
    { "keys", SETTING_JSON, &key_zones, "{\"sandbox-alma-key\":\"1\"}", "the API keys and their IZ", keys_changed },
    { "accept_all", SETTING_BOOL, &accept_all, "false", "every G00000000 to G99999999 is a user", NULL },
    { "group", SETTING_JSON, &group, "{\"value\":\"UGRD\",\"desc\":\"UGRD Undergraduate\"}",
      "the group of users that were not posted", NULL },
    SETTING_END
};

static const char *const shapes[] = {
    "not_found", "not_found_typed", "no_identifiers", "six_barcodes", "other_primary_id", NULL
};

/* ---- errors ---- */

static void error(struct exchange *x, int status, const char *code, const char *message, enum error_form form)
{
    static const char *const head[] = {
        [ERROR_USUAL] = "{\"errorsExist\":true,\"errorList\":{\"error\":[{\"errorCode\":",
        [ERROR_LIST] = "{\"errorsExist\":true,\"errorList\":{\"error\":[{\"errorCode\":",
        [ERROR_OBJECT] = "{\"web_service_result\":{\"errorsExist\":true,\"errorList\":{\"error\":{\"errorCode\":",
    };
    struct text *out;

    if (form == ERROR_XML) {
        out = answer(x, status, "application/xml;charset=UTF-8");
        text_str(out, "<?xml version=\"1.0\" encoding=\"UTF-8\" standalone=\"yes\"?>\n<web_service_result "
                 "xmlns=\"http://com/exlibris/urm/general/xmlbeans\"><errorsExist>true</errorsExist>"
                 "<errorList><error><errorCode>");
        text_xml(out, slice_of(code));
        text_str(out, "</errorCode><errorMessage>");
        text_xml(out, slice_of(message));
        text_str(out, "</errorMessage></error></errorList></web_service_result>");
        return;
    }
    out = answer(x, status, "application/json;charset=UTF-8");
    text_str(out, head[form]);
    text_json(out, slice_of(code));
    text_str(out, ",\"errorMessage\":");
    text_json(out, slice_of(message));
    text_fmt(out, ",\"trackingId\":\"E01-%010" PRIu32 "-SANDB-AWAE0000000000\"}", ++tracking);
    text_str(out, form == ERROR_OBJECT ? "}}}" : "]},\"result\":null}");
}

static bool wants_json(const struct request *req)
{
    struct slice format;
    char buf[16];

    if (query_get(req->query, "format", buf, sizeof buf, &format))
        return slice_is(format, "json");
    return slice_has(req->accept, "application/json");
}

static void usual_error(struct exchange *x, int status, const char *code, const char *message)
{
    error(x, status, code, message, wants_json(&x->req) ? ERROR_USUAL : ERROR_XML);
}

/* ---- keys, zones, thresholds ---- */

static uint32_t zone_number(struct slice name)
{
    for (size_t i = 0; i < zone_count; i++)
        if (slice_is(name, zones[i].name))
            return (uint32_t)i;
    zones = memory(zones, (zone_count + 1) * sizeof *zones);
    zones[zone_count] = (struct zone){ .name = copy_of(name) };
    return (uint32_t)zone_count++;
}

static void keys_forget(void)
{
    for (size_t i = 0; i < key_count; i++)
        free(keys[i].text);
    free(keys);
    keys = NULL;
    key_count = 0;
}

static void keys_changed(void)
{
    keys_forget();
    if (!json_object_is_type(key_zones, json_type_object))
        return;
    json_object_object_foreach(key_zones, name, value) {
        keys = memory(keys, (key_count + 1) * sizeof *keys);
        keys[key_count].zone = zone_number(slice_of(json_object_get_string(value)));
        keys[key_count++].text = copy_of(slice_of(name));
    }
}

static void window_expire(struct window *w, int64_t now_ns)
{
    while (w->count && w->at_ns[w->first] <= now_ns - NS_PER_S) {
        w->first = (w->first + 1) % w->cap;
        w->count--;
    }
}

static void window_add(struct window *w, int64_t now_ns)
{
    if (w->count == w->cap) {
        size_t cap = w->cap ? w->cap * 2 : 64;
        int64_t *at_ns = memory(NULL, cap * sizeof *at_ns);

        for (size_t i = 0; i < w->count; i++)
            at_ns[i] = w->at_ns[(w->first + i) % w->cap];
        free(w->at_ns);
        *w = (struct window){ at_ns, 0, w->count, cap };
    }
    w->at_ns[(w->first + w->count++) % w->cap] = now_ns;
}

static void window_release(struct window *w)
{
    free(w->at_ns);
    *w = (struct window){ 0 };
}

/* The zone of the request's key if the request may go on, or NULL with the answer made. */
static struct zone *admitted(struct exchange *x)
{
    struct slice key = { NULL, 0 };
    int64_t now_ns = x->started_ns, day = wall_ms() / 86400000;
    struct zone *zone = NULL;
    char buf[128];

    if (slice_starts(x->req.authorization, "apikey "))
        key = (struct slice){ x->req.authorization.at + 7, x->req.authorization.len - 7 };
    else
        query_get(x->req.query, "apikey", buf, sizeof buf, &key);
    x->credential = slice_hash(key);
    for (size_t i = 0; i < key_count && !zone; i++)
        if (slice_is(key, keys[i].text))
            zone = &zones[keys[i].zone];
    if (!zone) {
        error(x, 400, "UNAUTHORIZED", "API-key not defined or not configured to allow this API.", ERROR_XML);
        return NULL;
    }
    window_expire(&zone->all, now_ns);
    window_add(&zone->all, now_ns);
    if (zone->all.count > zone->max_in_second)
        zone->max_in_second = zone->all.count;
    if (zone->day != day) {
        zone->day = day;
        zone->used_today = 0;
    }
    if (per_day && zone->used_today >= (uint64_t)per_day) {
        usual_error(x, 429, "DAILY_THRESHOLD", "HTTP requests are more than allowed per day");
        return NULL;
    }
    window_expire(&zone->admitted, now_ns);
    if (per_second && zone->admitted.count >= (uint64_t)per_second) {
        usual_error(x, 429, "PER_SECOND_THRESHOLD", "HTTP requests are more than allowed per second");
        return NULL;
    }
    window_add(&zone->admitted, now_ns);
    zone->used_today++;
    return zone;
}

static void remaining(struct exchange *x, const struct zone *zone)
{
    int64_t left = (per_day ? per_day : NOMINAL_QUOTA) - (int64_t)zone->used_today;

    text_fmt(&x->answer.headers, "X-Exl-Api-Remaining: %" PRId64 "\r\n", left < 0 ? 0 : left);
}

/* Every call counts for what is measured, those that a fault answers too. */
static void measure(struct exchange *x)
{
    window_expire(&all_zones, x->started_ns);
    window_add(&all_zones, x->started_ns);
    if (all_zones.count > max_in_second)
        max_in_second = all_zones.count;
}

/* ---- users ---- */

static const char *member_text(json_object *of, const char *name)
{
    json_object *value;

    return json_object_object_get_ex(of, name, &value) ? json_object_get_string(value) : NULL;
}

static uint32_t identifier_hash(uint32_t zone, struct slice id)
{
    return slice_hash_nocase(id) + zone * UINT32_C(40503);
}

static struct slice identifier_type(json_object *identifier)
{
    json_object *type;

    if (!json_object_object_get_ex(identifier, "id_type", &type))
        return SLICE("");
    return slice_of(member_text(type, "value") ? member_text(type, "value") : "");
}

static bool any_type(struct slice type)
{
    return !type.len || slice_is(type, "all_unique");
}

static bool user_has(const struct user *u, struct slice id, struct slice type)
{
    size_t count = json_object_array_length(u->identifiers);

    if ((any_type(type) || slice_is(type, "PRIMARYIDENTIFIER")) && slice_same_nocase(id, slice_of(u->primary_id)))
        return true;
    for (size_t i = 0; i < count; i++) {
        json_object *identifier = json_object_array_get_idx(u->identifiers, i);
        const char *value = member_text(identifier, "value");

        if (value && slice_same_nocase(id, slice_of(value))
            && (any_type(type) || slice_same(type, identifier_type(identifier))))
            return true;
    }
    return false;
}

static struct user *user_find(uint32_t zone, struct slice id, struct slice type)
{
    struct index_walk w = index_walk(&by_identifier, identifier_hash(zone, id));
    uint32_t pos;

    while (index_next(&w, &pos))
        if (!users[pos].gone && users[pos].zone == zone && user_has(&users[pos], id, type))
            return &users[pos];
    return NULL;
}

static struct user *user_primary(uint32_t zone, struct slice primary_id)
{
    return user_find(zone, primary_id, SLICE("PRIMARYIDENTIFIER"));
}

/* The number of a user nobody posted, by G%08d, by barcode or by e-mail; -1 when it is none. */
static int64_t implied_number(uint32_t zone, struct slice id, struct slice type)
{
    struct slice digits;
    char primary_id[16];
    int64_t n;

    if (id.len == 9 && (id.at[0] == 'G' || id.at[0] == 'g')
        && (any_type(type) || slice_is(type, "PRIMARYIDENTIFIER")))
        digits = (struct slice){ id.at + 1, 8 };
    else if (id.len == 14 && slice_starts(id, "2282") && (any_type(type) || slice_is(type, "BARCODE")))
        digits = (struct slice){ id.at + 4, 10 };
    else
        return -1;
    if (!slice_int64(digits, &n) || n < 0 || n > 99999999)
        return -1;
    snprintf(primary_id, sizeof primary_id, "G%08d", (int)n);
    if (user_primary(zone, slice_of(primary_id)))
        return -1;                   /* posted or deleted: that record alone counts */
    if (accept_all)
        return n;
    for (size_t i = 0; i < range_count; i++)
        if (ranges[i].zone == zone && n >= ranges[i].from && n - ranges[i].from < ranges[i].count)
            return n;
    return -1;
}

static void implied_print(int64_t n, struct text *out)
{
    const char *value = member_text(group, "value"), *desc = member_text(group, "desc");

    text_fmt(out,
        "{\"record_type\":{\"value\":\"PUBLIC\",\"desc\":\"Public\"},\"primary_id\":\"G%08d\","
        "\"first_name\":\"Person\",\"middle_name\":\"\","
        "\"last_name\":\"Number %d\",\"full_name\":\"Person Number %d\",\"pref_first_name\":\"\","
        "\"pref_last_name\":\"\",\"user_group\":{\"value\":\"%s\",\"desc\":\"%s\"},\"expiry_date\":\"2099-06-30Z\","
        "\"purge_date\":\"2099-12-31Z\",\"account_type\":{\"value\":\"EXTERNAL\",\"desc\":\"External\"},"
        "\"status\":{\"value\":\"ACTIVE\",\"desc\":\"Active\"},\"status_date\":\"2021-07-25Z\","
        "\"contact_info\":{\"address\":[],\"email\":[{\"email_address\":\"g%08d@example.edu\",\"preferred\":true,"
        "\"description\":null,\"email_type\":[],\"segment_type\":\"External\"}],\"phone\":[]},"
        "\"user_identifier\":[{\"segment_type\":\"Internal\",\"value\":\"2282%010d\","
        "\"id_type\":{\"value\":\"BARCODE\",\"desc\":\"Barcode\"},"
        "\"note\":null,\"status\":\"ACTIVE\"}],\"user_role\":[],\"user_block\":[],"
        "\"user_note\":[],\"user_statistic\":[],\"proxy_for_user\":[]}",
        (int)n, (int)n, (int)n, value ? value : "", desc ? desc : "", (int)n, (int)n);
}

/* ---- the answer, when it is not the plain record ---- */

static json_object *identifier_new(const char *type, const char *desc, const char *value, const char *status)
{
    json_object *of = json_object_new_object(), *id_type = json_object_new_object();

    json_object_object_add(id_type, "value", json_object_new_string(type));
    json_object_object_add(id_type, "desc", json_object_new_string(desc));
    json_object_object_add(of, "segment_type", json_object_new_string("Internal"));
    json_object_object_add(of, "value", json_object_new_string(value));
    json_object_object_add(of, "id_type", id_type);
    json_object_object_add(of, "note", NULL);
    json_object_object_add(of, "status", json_object_new_string(status));
    return of;
}

/* Six barcodes of which only the third is active, as in a captured record; it keeps the one the user has. */
static json_object *six_barcodes(json_object *of)
{
    json_object *list = json_object_new_array(), *had;
    const char *active = "22820000000000";
    size_t count = 0;

    if (json_object_object_get_ex(of, "user_identifier", &had) && json_object_is_type(had, json_type_array))
        count = json_object_array_length(had);
    for (size_t i = 0; i < count; i++) {
        json_object *identifier = json_object_array_get_idx(had, i);

        if (slice_is(identifier_type(identifier), "BARCODE") && member_text(identifier, "value"))
            active = member_text(identifier, "value");
    }
    for (int i = 0; i < 6; i++) {
        char old[16];

        snprintf(old, sizeof old, "2282999999%04d", i);
        json_object_array_add(list, identifier_new("BARCODE", "Barcode", i == 2 ? active : old,
                                                   i == 2 ? "ACTIVE" : "INACTIVE"));
    }
    return list;
}

static void reshape(struct exchange *x)
{
    struct text *out = &x->answer.body;
    json_object *of;

    text_add(out, "", 1);
    of = json_tokener_parse(out->at);
    out->len = 0;
    if (!strcmp(x->shape, "no_identifiers"))
        json_object_object_add(of, "user_identifier", json_object_new_array());
    else if (!strcmp(x->shape, "six_barcodes"))
        json_object_object_add(of, "user_identifier", six_barcodes(of));
    else if (!strcmp(x->shape, "other_primary_id"))
        json_object_object_add(of, "primary_id", json_object_new_string_len(
            x->shape_value.len ? x->shape_value.at : "G99999999",
            x->shape_value.len ? (int)x->shape_value.len : 9));
    text_str(out, json_object_to_json_string_ext(of, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE));
    json_object_put(of);
}

static void xml_print(const char *name, json_object *of, struct text *out)
{
    const char *value, *desc;

    if (json_object_is_type(of, json_type_array)) {
        bool is_list = !strncmp(name, "user_", 5);
        size_t count = json_object_array_length(of);

        text_fmt(out, is_list ? "<%ss>" : "<%s_list>", name);
        for (size_t i = 0; i < count; i++)
            xml_print(name, json_object_array_get_idx(of, i), out);
        text_fmt(out, is_list ? "</%ss>" : "</%s_list>", name);
        return;
    }
    if (!json_object_is_type(of, json_type_object)) {
        text_fmt(out, "<%s>", name);
        text_xml(out, of ? slice_of(json_object_get_string(of)) : SLICE(""));
        text_fmt(out, "</%s>", name);
        return;
    }
    value = member_text(of, "value");
    desc = member_text(of, "desc");
    if (value && desc && json_object_object_length(of) == 2) {
        text_fmt(out, "<%s desc=\"", name);
        text_xml(out, slice_of(desc));
        text_str(out, "\">");
        text_xml(out, slice_of(value));
        text_fmt(out, "</%s>", name);
        return;
    }
    text_fmt(out, "<%s>", name);
    json_object_object_foreach(of, member, inner)
        xml_print(member, inner, out);
    text_fmt(out, "</%s>", name);
}

static void to_xml(struct exchange *x)
{
    struct text *out = &x->answer.body;
    json_object *of;

    text_add(out, "", 1);
    of = json_tokener_parse(out->at);
    out->len = 0;
    x->answer.content_type = "application/xml;charset=UTF-8";
    text_str(out, "<?xml version=\"1.0\" encoding=\"UTF-8\" standalone=\"yes\"?>\n");
    xml_print("user", of, out);
    json_object_put(of);
}

/* ---- calls ---- */

static void user_keys(struct exchange *x)
{
    struct slice id;

    measure(x);
    if (!percent_decode(x->req.arg, false, x->key_bytes, sizeof x->key_bytes, &id))
        return;
    x->key_len = id.len;
    exchange_key(x, id);
}

static void not_found(struct exchange *x, struct slice id, struct slice type)
{
    char sentence[256];

    if (type.len)
        snprintf(sentence, sizeof sentence, "User with identifier %.*s of type %.*s was not found.", (int)id.len,
                 id.at, (int)type.len, type.at);
    else
        snprintf(sentence, sizeof sentence, "User with identifier %.*s was not found.", (int)id.len, id.at);
    usual_error(x, 400, type.len ? "401890" : "401861", sentence);
}

static void user(struct exchange *x)
{
    struct slice id, type = { NULL, 0 };
    const struct user *u;
    struct zone *zone;
    struct text *out;
    int64_t n = -1;
    char buf[64];

    if (!(zone = admitted(x)))
        return;
    id = x->key_count ? x->keys[0] : SLICE("");
    query_get(x->req.query, "user_id_type", buf, sizeof buf, &type);
    if (x->shape && !strcmp(x->shape, "not_found_typed") && !type.len)
        type = SLICE("BARCODE");
    u = user_find((uint32_t)(zone - zones), id, type);
    if (!u)
        n = implied_number((uint32_t)(zone - zones), id, type);
    if ((u ? !u->json : n < 0) || (x->shape && !strncmp(x->shape, "not_found", 9))) {
        not_found(x, id, any_type(type) ? (struct slice){ NULL, 0 } : type);
        remaining(x, zone);
        return;
    }
    out = answer(x, 200, "application/json;charset=UTF-8");
    if (u)
        text_str(out, u->json);
    else
        implied_print(n, out);
    if (x->shape)
        reshape(x);
    if (!wants_json(&x->req))
        to_xml(x);
    remaining(x, zone);
}

static void measure_keys(struct exchange *x)
{
    measure(x);
}

static void key_test(struct exchange *x)
{
    struct zone *zone = admitted(x);

    if (!zone)
        return;
    if (wants_json(&x->req))
        text_str(answer(x, 200, "application/json;charset=UTF-8"), "{\"result\":\"OK\"}");
    else
        text_str(answer(x, 200, "application/xml;charset=UTF-8"), "<test>OK</test>");
    remaining(x, zone);
}

/* ---- the admin side ---- */

static json_object *pair(const char *value, const char *desc)
{
    json_object *of = json_object_new_object();

    json_object_object_add(of, "value", json_object_new_string(value));
    json_object_object_add(of, "desc", json_object_new_string(desc));
    return of;
}

static void add_text(json_object *of, const char *name, const char *value)
{
    json_object_object_add(of, name, json_object_new_string(value ? value : ""));
}

static json_object *member(json_object *of, const char *name)
{
    json_object *value;

    return json_object_object_get_ex(of, name, &value) ? json_object_get(value) : NULL;
}

static json_object *contact_info(const char *email)
{
    json_object *of = json_object_new_object(), *emails = json_object_new_array();

    json_object_object_add(of, "address", json_object_new_array());
    if (email) {
        json_object *one = json_object_new_object();

        add_text(one, "email_address", email);
        json_object_object_add(one, "preferred", json_object_new_boolean(true));
        json_object_object_add(one, "description", NULL);
        json_object_object_add(one, "email_type", json_object_new_array());
        add_text(one, "segment_type", "External");
        json_object_array_add(emails, one);
    }
    json_object_object_add(of, "email", emails);
    json_object_object_add(of, "phone", json_object_new_array());
    return of;
}

static json_object *identifiers_of(json_object *given)
{
    json_object *list = json_object_new_array(), *more;
    const char *barcode = member_text(given, "barcode");

    if (barcode)
        json_object_array_add(list, identifier_new("BARCODE", "Barcode", barcode, "ACTIVE"));
    if (json_object_object_get_ex(given, "identifiers", &more) && json_object_is_type(more, json_type_array)) {
        size_t count = json_object_array_length(more);

        for (size_t i = 0; i < count; i++)
            json_object_array_add(list, json_object_get(json_object_array_get_idx(more, i)));
    }
    return list;
}

static json_object *status_of(json_object *given)
{
    const char *status = member_text(given, "status");

    if (json_object_is_type(json_object_object_get(given, "status"), json_type_object))
        return member(given, "status");
    return status && !strcmp(status, "INACTIVE") ? pair("INACTIVE", "Inactive")
        : pair(status ? status : "ACTIVE", status ? status : "Active");
}

static json_object *or_empty(json_object *list)
{
    return list ? list : json_object_new_array();
}

/* From the short form to what Alma answers; members it does not know are kept as they are. */
static json_object *expand(json_object *given)
{
    static const char *const short_names[] = { "group", "barcode", "identifiers", "blocks", "email", "iz", "status" };
    const char *first = member_text(given, "first_name"), *last = member_text(given, "last_name");
    json_object *of = json_object_new_object();
    char full[256];

    snprintf(full, sizeof full, "%s %s", first ? first : "", last ? last : "");
    json_object_object_add(of, "record_type", pair("PUBLIC", "Public"));
    add_text(of, "primary_id", member_text(given, "primary_id"));
    add_text(of, "first_name", first);
    add_text(of, "middle_name", "");
    add_text(of, "last_name", last);
    add_text(of, "full_name", full);
    add_text(of, "pref_first_name", "");
    add_text(of, "pref_last_name", "");
    json_object_object_add(of, "user_group", json_object_object_get(given, "group") ? member(given, "group")
                                                                                    : json_object_get(group));
    add_text(of, "expiry_date", "2099-06-30Z");
    add_text(of, "purge_date", "2099-12-31Z");
    json_object_object_add(of, "account_type", pair("EXTERNAL", "External"));
    json_object_object_add(of, "status", status_of(given));
    add_text(of, "status_date", "2021-07-25Z");
    json_object_object_add(of, "contact_info", contact_info(member_text(given, "email")));
    json_object_object_add(of, "user_identifier", identifiers_of(given));
    json_object_object_add(of, "user_role", json_object_new_array());
    json_object_object_add(of, "user_block", or_empty(member(given, "blocks")));
    json_object_object_add(of, "user_note", json_object_new_array());
    json_object_object_add(of, "user_statistic", json_object_new_array());
    json_object_object_add(of, "proxy_for_user", json_object_new_array());
    json_object_object_foreach(given, name, value) {
        bool is_short = false;

        for (size_t i = 0; i < COUNT(short_names); i++)
            is_short |= !strcmp(name, short_names[i]);
        if (!is_short)
            json_object_object_add(of, name, json_object_get(value));
    }
    return of;
}

static void user_release(struct user *u)
{
    free(u->json);
    free(u->primary_id);
    json_object_put(u->identifiers);
    u->json = u->primary_id = NULL;
    u->identifiers = NULL;
    u->gone = true;
}

static void user_index(uint32_t zone, const char *value, uint32_t pos)
{
    index_add(&by_identifier, identifier_hash(zone, slice_of(value)), pos);
}

/* A user without a record is one that is known not to exist. */
static void user_put(uint32_t zone, const char *primary_id, json_object *record)
{
    struct user *old = user_primary(zone, slice_of(primary_id)), *u;
    size_t count;

    if (old)
        user_release(old);
    if (user_count == user_cap) {
        user_cap = user_cap ? user_cap * 2 : 256;
        users = memory(users, user_cap * sizeof *users);
    }
    u = &users[user_count];
    *u = (struct user){ .primary_id = copy_of(slice_of(primary_id)), .zone = zone };
    u->identifiers = record ? or_empty(member(record, "user_identifier")) : json_object_new_array();
    if (!json_object_is_type(u->identifiers, json_type_array)) {
        json_object_put(u->identifiers);
        u->identifiers = json_object_new_array();
    }
    if (record)
        u->json = copy_of(slice_of(json_object_to_json_string_ext(record, JSON_C_TO_STRING_PLAIN
                                                                  | JSON_C_TO_STRING_NOSLASHESCAPE)));
    user_index(zone, primary_id, (uint32_t)user_count);
    count = json_object_array_length(u->identifiers);
    for (size_t i = 0; i < count; i++) {
        const char *value = member_text(json_object_array_get_idx(u->identifiers, i), "value");

        if (value)
            user_index(zone, value, (uint32_t)user_count);
    }
    user_count++;
}

static uint32_t zone_of(json_object *of)
{
    const char *name = member_text(of, "iz");

    return zone_number(slice_of(name ? name : "1"));
}

static void admin_users(struct exchange *x)
{
    json_object *body = body_json(x);
    size_t count = 0;

    if (!body)
        return;
    if (json_object_is_type(body, json_type_array))
        count = json_object_array_length(body);
    for (size_t i = 0; i < count; i++) {
        json_object *given = json_object_array_get_idx(body, i), *record;

        if (!member_text(given, "primary_id"))
            continue;
        record = expand(given);
        user_put(zone_of(given), member_text(given, "primary_id"), record);
        json_object_put(record);
    }
    json_object_put(body);
    text_fmt(answer(x, 200, "application/json"), "{\"users\":%zu}\n", count);
}

static void admin_delete(struct exchange *x)
{
    struct slice id, iz = SLICE("1");
    char buf[128], iz_buf[64], *primary_id;

    if (!percent_decode(x->req.arg, false, buf, sizeof buf, &id) || !id.len) {
        answer_json_error(x, 400, "bad id");
        return;
    }
    query_get(x->req.query, "iz", iz_buf, sizeof iz_buf, &iz);
    primary_id = copy_of(id);
    user_put(zone_number(iz), primary_id, NULL);
    free(primary_id);
    text_str(answer(x, 200, "application/json"), "{}\n");
}

static void admin_generate(struct exchange *x)
{
    json_object *body = body_json(x), *value;
    struct range r = { .from = 1 };

    if (!body)
        return;
    if (json_object_object_get_ex(body, "from", &value))
        r.from = json_object_get_int64(value);
    if (json_object_object_get_ex(body, "count", &value))
        r.count = json_object_get_int64(value);
    r.zone = zone_of(body);
    json_object_put(body);
    ranges = memory(ranges, (range_count + 1) * sizeof *ranges);
    ranges[range_count++] = r;
    text_fmt(answer(x, 200, "application/json"), "{\"users\":%" PRId64 "}\n", r.count);
}

static void data_forget(void)
{
    for (size_t i = 0; i < user_count; i++)
        user_release(&users[i]);
    free(users);
    free(ranges);
    users = NULL;
    ranges = NULL;
    user_count = user_cap = range_count = 0;
    index_release(&by_identifier);
}

static void counts_forget(void)
{
    for (size_t i = 0; i < zone_count; i++) {
        window_release(&zones[i].all);
        window_release(&zones[i].admitted);
        zones[i].used_today = zones[i].max_in_second = 0;
    }
    window_release(&all_zones);
    max_in_second = 0;
}

static void reset(unsigned what)
{
    if (what & RESET_DATA)
        data_forget();
    if (what & RESET_COUNTS)
        counts_forget();
    if ((what & RESET_ALL) != RESET_ALL)
        return;
    keys_forget();
    for (size_t i = 0; i < zone_count; i++)
        free(zones[i].name);
    free(zones);
    zones = NULL;
    zone_count = 0;
}

static void count(struct text *out)
{
    size_t alive = 0;

    for (size_t i = 0; i < user_count; i++)
        alive += users[i].json != NULL;
    text_fmt(out, ",\"max_calls_in_a_second\":%" PRIu64 ",\"users\":%zu,\"zones\":{", max_in_second, alive);
    for (size_t i = 0; i < zone_count; i++) {
        text_str(out, i ? "," : "");
        text_json(out, slice_of(zones[i].name));
        text_fmt(out, ":{\"used_today\":%" PRIu64 ",\"max_calls_in_a_second\":%" PRIu64 "}", zones[i].used_today,
                 zones[i].max_in_second);
    }
    text_str(out, "}");
}

static const struct call calls[] = {
    { HTTP_GET, "/users/operation/test", "test",  measure_keys, key_test },
    { HTTP_GET, "/users/{}",             "user",  user_keys,    user },
    { HTTP_GET, NULL,                    "other", NULL,         NULL },
};

static const struct call admin[] = {
    { HTTP_POST,   "/users",    "users",    NULL, admin_users },
    { HTTP_DELETE, "/users/{}", "delete",   NULL, admin_delete },
    { HTTP_POST,   "/generate", "generate", NULL, admin_generate },
    { HTTP_GET,    NULL,        NULL,       NULL, NULL },
};

const struct vendor alma = {
    .name = "alma", .prefixes = { "/almaws/v1" }, .calls = calls, .admin = admin, .settings = settings,
    .shapes = shapes, .state = &state, .reset = reset, .error = error, .count = count,
};

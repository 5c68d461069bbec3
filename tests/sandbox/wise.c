/*
 * wise - OCLC Wise: single holds, holds on several titles and ILL, for patrons who have logged in.
 *
 * What no document says (status codes, what a refusal looks like, whether a second hold on a title is refused) is a setting.
 */
#include "wise.h"
#include "index.h"
#include "settings.h"
#include "tokens.h"

#include <inttypes.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <stdlib.h>

#define TITLES_MAX 50

static struct vendor_state state;
static uint64_t logins;

static char *api_id, *api_key, *application, *username, *password;
static char *root, *words, *ids, *place_answer;
static char *library_id, *network_id, *home_branch;
static json_object *branches;
static struct moment now_override;
static int64_t utc_offset, bad_key_status, bad_token_status, bad_login_status, refusal_status, duplicate_status, miss_status,
    place_status, holds_max, page_max;
static bool fast_delivery, accept_titles, accept_patrons, proxy_auth, paging, group_of_all;

static const struct setting settings[] = {
    { "latency_ms", SETTING_NUMBER, &state.latency_ms, "0", "every answer waits this long", NULL },
    { "jitter_ms", SETTING_NUMBER, &state.jitter_ms, "0", "and up to this much longer", NULL },
    { "api_id", SETTING_TEXT, &api_id, "\"sandbox-app\"", "what WISE_KEY begins with", NULL },
    { "api_key", SETTING_TEXT, &api_key, "\"sandbox-wise-key\"", "what it is keyed with", NULL },
    { "application", SETTING_TEXT, &application, "\"Shelfwire\"", "and what is signed, behind the UTC day", NULL },
    { "username", SETTING_TEXT, &username, "\"sandbox\"", "staff who may log in", NULL },
    { "password", SETTING_TEXT, &password, "\"sandbox-wise-password\"", "and with what", NULL },
    { "proxy_auth", SETTING_BOOL, &proxy_auth, "true", "staff gets patrons' tokens", NULL },
    { "now", SETTING_INSTANT, &now_override, "null", "what time it is; null: the clock's", NULL },
    { "utc_offset", SETTING_INT, &utc_offset, "0", "of the library's clock, seconds; now brings its own", NULL },
    { "root", SETTING_TEXT, &root, "\"restapi\"", "paths begin with /restapi: restapi, bare (they do not) or both", NULL },
    { "words", SETTING_TEXT, &words, "\"client\"", "paths are spelled as by the client, the document, or both", NULL },
    { "ids", SETTING_TEXT, &ids, "\"document\"", "title numbers are as in the document, numbers or strings", NULL },
    { "place_answer", SETTING_TEXT, &place_answer, "\"envelope\"", "to a single hold: envelope, hold (with ids) or empty",
      NULL },
    { "place_status", SETTING_INT, &place_status, "200", "of a hold that was placed", NULL },
    { "bad_key_status", SETTING_INT, &bad_key_status, "403", "WISE_KEY is wrong, or another day's", NULL },
    { "bad_token_status", SETTING_INT, &bad_token_status, "401", "the token is wrong, or yesterday's", NULL },
    { "bad_login_status", SETTING_INT, &bad_login_status, "401", "user or password is wrong", NULL },
    { "refusal_status", SETTING_INT, &refusal_status, "200", "of an answer with validationErrors", NULL },
    { "duplicate_status", SETTING_INT, &duplicate_status, "0", "a second hold on a title; 0: it is placed", NULL },
    { "miss_status", SETTING_INT, &miss_status, "404", "no such patron, title or hold; it has the envelope", NULL },
    { "holds_max", SETTING_INT, &holds_max, "0", "holds of a patron; 0: any number", NULL },
    { "page_max", SETTING_INT, &page_max, "50", "holds in a page, whatever limit asks for", NULL },
    { "paging", SETTING_BOOL, &paging, "true", "the list knows offset and limit", NULL },
    { "group_of_all", SETTING_BOOL, &group_of_all, "false", "holdType ALL has a groupHoldId too", NULL },
    { "fast_delivery", SETTING_BOOL, &fast_delivery, "false", "option FASTDEL: titles may have fast delivery", NULL },
    { "accept_all_titles", SETTING_BOOL, &accept_titles, "false", "any number is a title that can be held", NULL },
    { "accept_all_patrons", SETTING_BOOL, &accept_patrons, "false", "any id is a patron, password sandbox", NULL },
    { "library", SETTING_TEXT, &library_id, "\"I649\"", "libraryId of who is posted without", NULL },
    { "network", SETTING_TEXT, &network_id, "\"N649\"", "the holds network", NULL },
    { "home_branch", SETTING_TEXT, &home_branch, "\"6490\"", "of who is posted without", NULL },
    { "branches", SETTING_JSON, &branches,
      "{\"6490\":\"Sint-Pieters-Leeuw\",\"6491\":\"Negenmanneke\",\"6492\":\"Ruisbroek\",\"6493\":\"Vlezenbeek\"}",
      "where holds can be fetched: names by id", NULL },
    SETTING_END
};

static const char *const shapes[] = {
    "printed", "refused", "refused_in_words", "no_queue", "cost_text", "some_missing", "undated", "misspelled_status",
    "own_404", "not_possible", NULL
};

static bool has_shape(const struct exchange *x, const char *shape)
{
    return x->shape && !strcmp(x->shape, shape);
}

bool wise_accepts_titles(void)
{
    return accept_titles;
}

bool wise_accepts_patrons(void)
{
    return accept_patrons;
}

const char *wise_library(void)
{
    return library_id;
}

const char *wise_home_branch(void)
{
    return home_branch;
}

/* ---- time ---- */

static struct instant now(void)
{
    if (now_override.set)
        return now_override.at;
    return (struct instant){ wall_ms() / 1000, (int32_t)utc_offset };
}

int64_t wise_today(void)
{
    struct instant i = now();

    return floor_div(i.epoch_s + i.offset_s, 86400);
}

/* ---- tokens: to the end of the library's day ---- */

struct token { char text[TOKEN_LEN + 1]; int64_t ends_s; int64_t patron; };   /* patron: 1 + number; 0: staff */

static struct token *tokens;
static size_t token_count, token_cap;
static struct index by_token;

static void tokens_forget(void)
{
    free(tokens);
    tokens = NULL;
    token_count = token_cap = 0;
    index_release(&by_token);
}

/* The number of a patron never changes; its position in the store is it. */
static const char *token_issue(const struct wise_patron *patron)
{
    static struct prng source;
    struct instant i = now();
    struct token *t;

    if (!source.state)
        source.state = (uint64_t)wall_ms() * 2 + 1;
    if (token_count == token_cap) {
        token_cap = token_cap ? token_cap * 2 : 64;
        tokens = memory(tokens, token_cap * sizeof *tokens);
    }
    t = &tokens[token_count];
    snprintf(t->text, sizeof t->text, "%016" PRIx64 "%016" PRIx64 "%08" PRIx64, prng_next(&source), prng_next(&source),
             prng_next(&source) >> 32);
    t->ends_s = (wise_today() + 1) * 86400 - 1 - i.offset_s;
    t->patron = patron ? wise_patron_number(patron) + 1 : 0;
    index_add(&by_token, slice_hash(slice_of(t->text)), (uint32_t)token_count++);
    return t->text;
}

static const struct token *token_valid(struct slice text)
{
    struct index_walk w = index_walk(&by_token, slice_hash(text));
    uint32_t pos;

    while (index_next(&w, &pos))
        if (slice_is(text, tokens[pos].text))
            return now().epoch_s < tokens[pos].ends_s ? &tokens[pos] : NULL;
    return NULL;
}

/* ---- answers ---- */

static struct text *open_answer(struct exchange *x, int status)
{
    struct text *out = answer(x, status, "application/json");

    text_str(out, "{\"id\":\"\",\"validationErrors\":[");
    return out;
}

/* The envelope with one error; what its entries look like is not public. */
static void refuse(struct exchange *x, int64_t status, const char *code, const char *message)
{
    struct text *out = open_answer(x, (int)status);

    if (has_shape(x, "refused_in_words")) {
        text_json(out, slice_of(message));
    } else {
        text_fmt(out, "{\"code\":\"%s\",\"message\":", code);
        text_json(out, slice_of(message));
        text_str(out, "}");
    }
    text_str(out, "]}");
}

static void miss(struct exchange *x)
{
    text_str(open_answer(x, (int)miss_status), "]}");
}

static void error(struct exchange *x, int status, const char *code, const char *message, enum error_form form)
{
    struct text *out;

    if (form == ERROR_XML) {
        text_fmt(answer(x, status, "application/xml"), "<error><code>%s</code><message>", code);
        text_xml(&x->answer.body, slice_of(message));
        text_str(&x->answer.body, "</message></error>");
    } else if (form == ERROR_OBJECT) {
        out = answer(x, status, "application/json");
        text_fmt(out, "{\"error\":{\"code\":\"%s\",\"message\":", code);
        text_json(out, slice_of(message));
        text_str(out, "}}");
    } else {
        refuse(x, status, code, message);
    }
}

static const char *truth(bool b)
{
    return b ? "true" : "false";
}

/* A title's number, which the document prints as a number here and as a string there. */
static void title_print(struct text *out, const struct wise_title *t, bool as_text)
{
    if (!strcmp(ids, "numbers"))
        as_text = false;
    else if (!strcmp(ids, "strings"))
        as_text = true;
    if (as_text)
        text_json(out, slice_of(t->id));
    else
        text_str(out, t->id);
}

static void cost_print(struct text *out, const struct wise_title *t, const char *name, const char *usual)
{
    text_fmt(out, "\"%s\":%s", name, wise_title_text(t, name, usual));
}

/* ---- who is admitted ---- */

static bool key_right(struct slice key)
{
    unsigned char mac[EVP_MAX_MD_SIZE];
    unsigned mac_len = 0;
    struct text message = { 0 }, want = { 0 };
    bool right;

    text_fmt(&message, "%" PRId64 "%s", floor_div(now().epoch_s, 86400), application);
    HMAC(EVP_sha256(), api_key, (int)strlen(api_key), (const unsigned char *)message.at, message.len, mac, &mac_len);
    text_fmt(&want, "%s:", api_id);
    for (unsigned i = 0; i < mac_len; i++)
        text_fmt(&want, "%02x", mac[i]);
    right = slice_same(key, text_slice(&want));
    text_release(&message);
    text_release(&want);
    return right;
}

static bool key_admitted(struct exchange *x)
{
    if (key_right(x->req.wise_key))
        return true;
    answer_json_error(x, (int)bad_key_status, "WISE_KEY");
    return false;
}

/* A patron's token, for the patron of the path; NULL, and the answer is the refusal. */
static struct wise_patron *patron_admitted(struct exchange *x, bool with_library)
{
    const struct token *token;
    struct wise_patron *patron;

    if (!key_admitted(x))
        return NULL;
    token = token_valid(x->req.authorization);
    if (!token) {
        text_str(open_answer(x, (int)bad_token_status), "]}");
        return NULL;
    }
    patron = wise_patron_with(x->req.args[0]);
    if (!patron || has_shape(x, "own_404") || (with_library && !slice_is(x->req.args[1], patron->library))) {
        miss(x);
        return NULL;
    }
    if (token->patron != wise_patron_number(patron) + 1) {
        answer_json_error(x, 403, "not this patron");
        return NULL;
    }
    if (has_shape(x, "refused") || has_shape(x, "refused_in_words")) {
        refuse(x, refusal_status, "REFUSED", "This is not possible for you just now");
        return NULL;
    }
    return patron;
}

/* ---- log-in ---- */

static bool name_and_password(struct exchange *x, struct fields *f, struct slice *ret_name, struct slice *ret_password)
{
    const struct field *name, *pass;

    if (!fields_read(f, x->req.body) || !(name = fields_get(f, "username")) || !(pass = fields_get(f, "password")))
        return false;
    *ret_name = name->value;
    *ret_password = pass->value;
    return true;
}

static void login_keys(struct exchange *x)
{
    struct slice name, pass;
    struct fields f;

    if (!name_and_password(x, &f, &name, &pass) || name.len > 200)
        return;
    memcpy(x->key_bytes, name.at, name.len);
    exchange_key(x, (struct slice){ x->key_bytes, name.len });
}

static void token_print(struct exchange *x, const struct wise_patron *patron)
{
    const char *token = token_issue(patron);
    struct text *out = open_answer(x, 200);

    x->credential = slice_hash(slice_of(token));
    text_fmt(out, "],\"token\":\"%s\"", token);
    if (patron) {
        text_str(out, ",\"libraryId\":");
        text_json(out, slice_of(patron->library));
        text_str(out, ",\"patronSystemId\":");
        text_json(out, slice_of(patron->id));
        text_str(out, ",\"membershipExpiryDate\":");
        text_json(out, slice_of(patron->expiry));
    }
    text_str(out, "}");
}

static void staff_login(struct exchange *x)
{
    struct slice name, pass;
    struct fields f;

    logins++;
    if (!key_admitted(x))
        return;
    if (!name_and_password(x, &f, &name, &pass) || !slice_is(name, username) || !slice_is(pass, password))
        refuse(x, bad_login_status, "LOGIN", "Wrong user name or password");
    else
        token_print(x, NULL);
}

static void patron_login(struct exchange *x)
{
    const struct wise_patron *patron = NULL;
    struct slice name, pass;
    struct fields f;

    logins++;
    if (!key_admitted(x))
        return;
    if (name_and_password(x, &f, &name, &pass))
        patron = wise_patron_named(name);
    if (!patron || !slice_is(pass, patron->password))
        refuse(x, bad_login_status, "LOGIN", "Wrong user name or password");
    else
        token_print(x, patron);
}

static void proxy_login(struct exchange *x)
{
    const struct wise_patron *patron;
    const struct token *token;

    logins++;
    if (!key_admitted(x))
        return;
    token = token_valid(x->req.authorization);
    patron = wise_patron_with(x->req.args[0]);
    if (!token)
        text_str(open_answer(x, (int)bad_token_status), "]}");
    else if (token->patron || !proxy_auth)
        answer_json_error(x, 403, "PROXY_AUTH");
    else if (!patron || !slice_is(x->req.args[1], patron->library))
        miss(x);
    else
        token_print(x, patron);
}

/* ---- where it can be fetched ---- */

static bool branch_known(const char *id)
{
    return json_object_is_type(branches, json_type_object) && json_object_object_get_ex(branches, id, NULL);
}

/* Every branch but that one, in one of the two forms. */
static void branches_print(struct text *out, const char *but, const char *id_name)
{
    const char *comma = "";

    if (!json_object_is_type(branches, json_type_object))
        return;
    json_object_object_foreach(branches, id, name) {
        if (!strcmp(id, but))
            continue;
        text_fmt(out, "%s{\"%s\":\"%s\",\"locationType\":\"B\",\"description\":", comma, id_name, id);
        text_json(out, slice_of(json_object_get_string(name)));
        text_str(out, "}");
        comma = ",";
    }
}

static void parameters_print(struct text *out, const struct wise_title *t, const struct wise_patron *patron,
                             const char *branch)
{
    text_fmt(out, "%s;%s;BIEB;%s;%s;", wise_title_text(t, "level", "N"), network_id, patron->library, branch);
    if (json_object_is_type(branches, json_type_object)) {
        json_object_object_foreach(branches, id, name) {
            (void)name;
            text_fmt(out, "%s|", id);
        }
    }
    text_str(out, "~~~~|");
}

static bool hold_possible(const struct exchange *x, const struct wise_title *t)
{
    return wise_title_flag(t, "hold", true) && !has_shape(x, "not_possible");
}

static bool ill_possible(const struct exchange *x, const struct wise_title *t)
{
    return wise_title_flag(t, "ill", false) && !has_shape(x, "not_possible");
}

static bool fast_possible(const struct wise_title *t)
{
    return fast_delivery && wise_title_flag(t, "fast", false);
}

static int64_t queue_of(const struct wise_title *t)
{
    int64_t waiting = 0;

    slice_int64(slice_of(wise_title_text(t, "queue", "0")), &waiting);
    return waiting + t->active + 1;
}

/* ---- prepare a single hold ---- */

static void patron_keys(struct exchange *x)
{
    exchange_key(x, x->req.args[0]);
    for (size_t i = 2; i < ARGS_MAX; i++)
        if (x->req.args[i].len)
            exchange_key(x, x->req.args[i]);
}

static void prepare(struct exchange *x)
{
    struct wise_patron *patron = patron_admitted(x, true);
    const struct wise_title *t;
    char branch[16];
    struct text *out;

    if (!patron)
        return;
    t = wise_title_with(x->req.args[2]);
    snprintf(branch, sizeof branch, "%.*s", (int)x->req.args[3].len, x->req.args[3].at);
    if (!t || !branch_known(branch)) {
        miss(x);
        return;
    }
    out = open_answer(x, 200);
    text_fmt(out, "],\"holdPossible\":%s,\"chooseIssueFirst\":%s,\"pickupLocations\":[", truth(hold_possible(x, t)),
             truth(wise_title_flag(t, "chooseIssueFirst", false)));
    branches_print(out, branch, "branchId");
    text_fmt(out, "],\"pickupLocation\":{\"branchId\":\"%s\",\"locationType\":\"B\"},\"reservationCostDetails\":{", branch);
    cost_print(out, t, "placementCost", "0.0");
    text_str(out, ",");
    cost_print(out, t, "pickupFee", "0.0");
    text_str(out, ",");
    cost_print(out, t, "lendingFee", "0.0");
    text_str(out, "},");
    cost_print(out, t, "punchCardPunches", "0");
    text_str(out, ",\"holdParameters\":\"");
    parameters_print(out, t, patron, branch);
    text_fmt(out, has_shape(x, "no_queue") ? "\",\"queuePosition\":\"\"" : "\",\"queuePosition\":%" PRId64, queue_of(t));
    text_fmt(out, has_shape(x, "cost_text") ? ",\"messageParameters\":[],\"reservationCost\":\"%s\""
                                            : ",\"messageParameters\":[],\"reservationCost\":%s",
             wise_title_text(t, "reservationCost", "0.0"));
    text_fmt(out, ",\"illAllowed\":%s}", truth(ill_possible(x, t)));
}

/* ---- prepare several ---- */

struct wish { struct wise_title *title; bool fast; };

static const char *body_text(json_object *body, const char *name)
{
    json_object *value = NULL;

    return json_object_object_get_ex(body, name, &value) && value ? json_object_get_string(value) : "";
}

/* What a body asks for: an array of objects with a title number each, under `list`. False: the answer is the refusal. */
static bool read_wishes(struct exchange *x, json_object *body, const char *list, struct wish wishes[TITLES_MAX],
                        size_t *ret_count)
{
    json_object *array = NULL;

    json_object_object_get_ex(body, list, &array);
    *ret_count = json_object_is_type(array, json_type_array) ? json_object_array_length(array) : 0;
    if (!*ret_count || *ret_count > TITLES_MAX) {
        refuse(x, refusal_status, "TITLES", "A request needs 1 to 50 titles");
        return false;
    }
    /* twice: a title that is made up on the way moves those before it */
    for (size_t i = 0; i < 2 * *ret_count; i++) {
        json_object *of = json_object_array_get_idx(array, i % *ret_count);
        struct wish *wish = &wishes[i % *ret_count];

        wish->title = wise_title_with(slice_of(body_text(of, "bibliographicRecordId")));
        wish->fast = !strcmp(body_text(of, "fastDeliveryAllowed"), "true");   /* a boolean, or one in quotes */
        if (!wish->title) {
            miss(x);
            return false;
        }
    }
    return true;
}

static bool group_right(struct exchange *x, json_object *body)
{
    static const char *const strategies[] = { "", "BRANCH", "NETWORK", "REGION", "SYSTEM" };
    const char *type = body_text(body, "holdType"), *strategy = body_text(body, "searchStrategy");
    bool known = false;

    for (size_t i = 0; i < COUNT(strategies); i++)
        known |= !strcmp(strategy, strategies[i]);
    if (known && (!strcmp(type, "ONE") || !strcmp(type, "ALL")) && branch_known(body_text(body, "pickupBranchId")))
        return true;
    refuse(x, refusal_status, "REQUEST", "holdType, pickupBranchId or searchStrategy is none");
    return false;
}

static void option_print(struct exchange *x, const struct wise_title *t, struct text *out)
{
    text_str(out, "{\"bibliographicRecordId\":");
    title_print(out, t, false);
    text_fmt(out, ",\"issueId\":\"\",\"holdAllowed\":%s,\"fastDeliveryAllowed\":%s,\"queuePosition\":%" PRId64
             ",\"illAllowed\":%s}", truth(hold_possible(x, t)), truth(fast_possible(t)), queue_of(t),
             truth(ill_possible(x, t)));
}

/* The costs of the first title; those of fast delivery instead of the usual, where it has that. */
static void group_costs_print(struct text *out, const struct wise_title *t)
{
    const char *placement = wise_title_text(t, "placementCost", "0");

    if (fast_possible(t))
        placement = wise_title_text(t, "fastCost", placement);
    text_fmt(out, "\"reservationCostDetails\":{\"placementCost\":%s,", placement);
    cost_print(out, t, "pickupFee", "0");
    text_str(out, ",");
    cost_print(out, t, "punchCardPunches", "0");
    text_str(out, "}");
}

static void options_print(struct exchange *x, json_object *body, const struct wish *wishes, size_t count)
{
    const char *branch = body_text(body, "pickupBranchId");
    struct text *out = open_answer(x, 200);

    text_fmt(out, "],\"pickupBranchId\":\"%s\",\"titleHoldOptions\":[", branch);
    for (size_t i = 0; i < count; i++) {
        if (i)
            text_str(out, ",");
        option_print(x, wishes[i].title, out);
    }
    text_fmt(out, "],\"holdType\":\"%s\",\"altPickupBranches\":[", body_text(body, "holdType"));
    branches_print(out, branch, "locationNumber");
    text_str(out, "],");
    group_costs_print(out, wishes[0].title);
    /* the document's answer lacks a comma and a quote here */
    text_str(out, has_shape(x, "printed") ? "\nsearchStrategy\":\"BRANCH\"\n}" : ",\"searchStrategy\":\"BRANCH\"}");
}

static void options(struct exchange *x)
{
    struct wish wishes[TITLES_MAX];
    json_object *body;
    size_t count;

    if (!patron_admitted(x, false) || !(body = body_json(x)))
        return;
    if (group_right(x, body) && read_wishes(x, body, "titleHoldOptions", wishes, &count))
        options_print(x, body, wishes, count);
    json_object_put(body);
}

/* ---- place ---- */

static void key_copy(struct exchange *x, struct slice key)
{
    char *to = x->key_bytes + x->key_len;

    if (!key.len || key.len > sizeof x->key_bytes - x->key_len)
        return;
    memcpy(to, key.at, key.len);
    x->key_len += key.len;
    exchange_key(x, (struct slice){ to, key.len });
}

static json_object *body_quietly(struct slice body)
{
    json_tokener *tokener = json_tokener_new();
    json_object *of = NULL;

    if (tokener && body.len && body.len < INT32_MAX)
        of = json_tokener_parse_ex(tokener, body.at, (int)body.len);
    json_tokener_free(tokener);
    return of;
}

/* The patron of the path, and every title the body names. */
static void title_keys(struct exchange *x)
{
    static const char *const lists[] = { "holds", "titleHoldOptions" };
    json_object *body = body_quietly(x->req.body), *list;

    exchange_key(x, x->req.args[0]);
    key_copy(x, slice_of(body_text(body, "bibliographicRecordId")));
    for (size_t i = 0; i < COUNT(lists); i++) {
        if (!json_object_object_get_ex(body, lists[i], &list) || !json_object_is_type(list, json_type_array))
            continue;
        for (size_t j = 0; j < json_object_array_length(list) && j < TITLES_MAX; j++)
            key_copy(x, slice_of(body_text(json_object_array_get_idx(list, j), "bibliographicRecordId")));
    }
    json_object_put(body);
}

static int64_t active_holds(const struct wise_patron *patron)
{
    int64_t count = 0;

    for (const struct wise_hold *h = wise_hold_at(patron->last_hold); h; h = wise_hold_at(h->previous))
        count += !h->gone;
    return count;
}

/* Whether the patron may have so many more, until that day. False: the answer is the refusal. */
static bool may_have(struct exchange *x, const struct wise_patron *patron, size_t more, json_object *body, int64_t *ret_due)
{
    const char *due = body_text(body, "requestDueDate");

    *ret_due = wise_today() + 365;
    if (holds_max && active_holds(patron) + (int64_t)more > holds_max) {
        refuse(x, refusal_status, "HOLD_LIMIT", "You have as many holds as you may have");
        return false;
    }
    if (*due && (!wise_day_read(slice_of(due), ret_due) || *ret_due < wise_today())) {
        refuse(x, refusal_status, "DUE_DATE", "requestDueDate is no day to come");
        return false;
    }
    return true;
}

static bool may_have_title(struct exchange *x, const struct wise_patron *patron, const struct wise_title *t)
{
    if (!duplicate_status || !wise_hold_of(patron, t))
        return true;
    refuse(x, duplicate_status, "DUPLICATE", "You have this title on hold");
    return false;
}

/* I in first place makes an ILL of what was prepared; everything else must have come back as it was. */
static bool parameters_right(struct exchange *x, const struct wise_patron *patron, const struct wise_title *t,
                             json_object *body, bool *ret_ill)
{
    const char *given = body_text(body, "holdParameters"), *branch = body_text(body, "pickupLocationBranchId");
    struct text want = { 0 };
    bool same;

    parameters_print(&want, t, patron, branch);
    same = want.len == strlen(given) && want.len > 1 && !memcmp(given + 1, want.at + 1, want.len - 1);
    *ret_ill = *given == 'I';
    same = same && (*ret_ill || *given == *want.at) && branch_known(branch);
    text_release(&want);
    if (!same)
        refuse(x, refusal_status, "PARAMETERS", "holdParameters are not those of this title and branch");
    else if (*ret_ill ? !ill_possible(x, t) : !hold_possible(x, t))
        refuse(x, refusal_status, "NOT_POSSIBLE", "This title cannot be had");
    else
        return true;
    return false;
}

static void placed_print(struct exchange *x, const struct wise_hold *h)
{
    struct text *out;

    if (!strcmp(place_answer, "empty")) {
        answer(x, (int)place_status, "application/json");
        return;
    }
    if (strcmp(place_answer, "hold") != 0) {
        text_str(open_answer(x, (int)place_status), "]}");
        return;
    }
    out = answer(x, (int)place_status, "application/json");
    text_fmt(out, "{\"id\":\"%" PRId64 "\",\"validationErrors\":[],\"holdNumber\":\"%" PRId64 "\"}", wise_hold_id(h),
             h->number);
}

static void place_single(struct exchange *x, struct wise_patron *patron, json_object *body)
{
    struct wise_title *t = wise_title_with(slice_of(body_text(body, "bibliographicRecordId")));
    struct wise_hold *h;
    int64_t due;
    bool ill;

    if (!t) {
        miss(x);
        return;
    }
    if (!parameters_right(x, patron, t, body, &ill) || !may_have(x, patron, 1, body, &due) || !may_have_title(x, patron, t))
        return;
    h = wise_hold_add(patron, t);
    h->ill = ill;
    h->due_day = due;
    h->call = wise_next_call();
    snprintf(h->branch, sizeof h->branch, "%s", body_text(body, "pickupLocationBranchId"));
    x->effect = 1 + wise_hold_id(h) - WISE_FIRST_HOLD;
    placed_print(x, h);
}

static void place(struct exchange *x)
{
    struct wise_patron *patron = patron_admitted(x, true);
    json_object *body = patron ? body_json(x) : NULL;

    if (!body)
        return;
    place_single(x, patron, body);
    json_object_put(body);
}

/* Places what can be placed. Returns the first one's id, 0 when there is none. */
static int64_t place_group(struct exchange *x, struct wise_patron *patron, json_object *body, const struct wish *wishes,
                           size_t count, int64_t due)
{
    bool one = !strcmp(body_text(body, "holdType"), "ONE");
    uint32_t call = wise_next_call();
    int64_t first = 0;

    for (size_t i = 0; i < count; i++) {
        struct wise_hold *h;

        if (!hold_possible(x, wishes[i].title) && !ill_possible(x, wishes[i].title))
            continue;
        h = wise_hold_add(patron, wishes[i].title);
        first = first ? first : wise_hold_id(h);
        h->call = call;
        h->group = one || group_of_all ? first : 0;
        h->together = one;
        h->ill = ill_possible(x, wishes[i].title);   /* region and system come before branch and network */
        h->fast = wishes[i].fast;
        h->due_day = due;
        snprintf(h->branch, sizeof h->branch, "%s", body_text(body, "pickupBranchId"));
    }
    return first;
}

static void group_print(struct exchange *x, json_object *body, const struct wish *wishes, size_t count, int64_t group)
{
    size_t shown = has_shape(x, "some_missing") ? count - 1 : count;
    struct text *out = open_answer(x, (int)place_status);

    text_str(out, "],");
    if (group)
        text_fmt(out, "\"groupHoldId\":%" PRId64 ",", group);
    text_fmt(out, "\"pickupBranchId\":\"%s\",\"holds\":[", body_text(body, "pickupBranchId"));
    for (size_t i = 0; i < shown; i++) {
        if (i)
            text_str(out, ",");
        option_print(x, wishes[i].title, out);
    }
    text_fmt(out, has_shape(x, "printed") ? ",],\"holdType\":\"%s\"," : "],\"holdType\":\"%s\",", body_text(body, "holdType"));
    group_costs_print(out, wishes[0].title);
    text_str(out, ",\"searchStrategy\":\"BRANCH\"}");
}

static bool wishes_right(struct exchange *x, const struct wise_patron *patron, const struct wish *wishes, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (wishes[i].fast && !fast_possible(wishes[i].title)) {
            refuse(x, refusal_status, "FAST", "This title cannot be delivered fast");
            return false;
        }
        if (!may_have_title(x, patron, wishes[i].title))
            return false;
    }
    return true;
}

static void place_several(struct exchange *x)
{
    struct wise_patron *patron = patron_admitted(x, false);
    json_object *body = patron ? body_json(x) : NULL;
    struct wish wishes[TITLES_MAX];
    int64_t due, first;
    size_t count;

    if (!body)
        return;
    if (group_right(x, body) && read_wishes(x, body, "holds", wishes, &count) && may_have(x, patron, count, body, &due)
        && wishes_right(x, patron, wishes, count)) {
        first = place_group(x, patron, body, wishes, count, due);
        if (first)
            x->effect = 1 + first - WISE_FIRST_HOLD;
        group_print(x, body, wishes, count, !strcmp(body_text(body, "holdType"), "ONE") || group_of_all ? first : 0);
    }
    json_object_put(body);
}

/* ---- list and cancel ---- */

static void hold_print(struct exchange *x, const struct wise_hold *h, struct text *out)
{
    const struct wise_title *t = wise_title_at(h->title);
    char placed[WISE_DAY_SIZE], due[WISE_DAY_SIZE];
    bool received = h->status == WISE_RECEIVED, waits = h->status == WISE_MESSAGE_SENT || received;
    json_object *name = NULL;

    json_object_object_get_ex(branches, h->branch, &name);
    wise_day_print(h->placed_day, placed);
    wise_day_print(h->due_day, due);
    text_fmt(out, "{\"id\":\"%" PRId64 "\",\"validationErrors\":[],\"libraryId\":\"\",\"itemId\":0,", wise_hold_id(h));
    text_str(out, "\"bibliographicRecordId\":");
    title_print(out, t, true);
    text_fmt(out, ",\"holdStatus\":\"%s\",\"cancelAllowed\":%s,\"updateAllowed\":%s,\"awaitingPickup\":%s,\"title\":",
             received && has_shape(x, "misspelled_status") ? "RECIEVED" : wise_status_names[h->status],
             truth(h->cancel_allowed), truth(h->status == WISE_ACTIVE), truth(waits));
    text_json(out, slice_of(wise_title_text(t, "title", "")));
    text_str(out, ",\"author\":");
    text_json(out, slice_of(wise_title_text(t, "author", "")));
    text_fmt(out, ",\"pickupLocationBranchId\":\"%s\",\"pickupLocationName\":", h->branch);
    text_json(out, slice_of(name ? json_object_get_string(name) : ""));
    text_fmt(out, ",\"requestDueDate\":\"%s\"", due);
    if (!has_shape(x, "undated"))
        text_fmt(out, ",\"holdPlacedDate\":\"%s\"", placed);
    if (waits)
        text_fmt(out, ",\"holdDueDate\":\"%s\"", due);
    text_fmt(out, ",\"queuePosition\":1,\"momkeys\":\"key=%s;\",\"medium\":\"%s\",\"holdNumber\":\"%" PRId64 "\"", t->id,
             wise_title_text(t, "medium", "BOE"), h->number);
    if (h->group)
        text_fmt(out, ",\"groupHoldId\":%" PRId64, h->group);
    text_str(out, "}");
}

static int64_t query_number(struct slice query, const char *name, int64_t usual)
{
    struct slice s;
    int64_t n;
    char buf[24];

    return query_get(query, name, buf, sizeof buf, &s) && slice_int64(s, &n) && n >= 0 ? n : usual;
}

static void list(struct exchange *x)
{
    const struct wise_patron *patron = patron_admitted(x, true);
    int64_t offset = paging ? query_number(x->req.query, "offset", 0) : 0, at = 0, shown = 0;
    int64_t limit = paging ? query_number(x->req.query, "limit", 50) : page_max;
    struct text *out;

    if (!patron)
        return;
    if (limit > page_max)
        limit = page_max;
    out = open_answer(x, 200);
    text_fmt(out, "],\"offset\":%" PRId64 ",\"limit\":%" PRId64 ",\"total\":%" PRId64 ",\"items\":[", offset, limit,
             active_holds(patron));
    for (const struct wise_hold *h = wise_hold_at(patron->last_hold); h; h = wise_hold_at(h->previous)) {
        if (h->gone || at++ < offset || shown == limit)
            continue;
        if (shown++)
            text_str(out, ",");
        hold_print(x, h, out);
    }
    text_str(out, "]}");
}

static void cancel(struct exchange *x)
{
    const struct wise_patron *patron = patron_admitted(x, true);
    struct wise_hold *h = patron ? wise_hold_with(x->req.args[2]) : NULL;

    if (!patron)
        return;
    if (!h || h->gone || wise_hold_patron(h) != patron) {
        miss(x);
        return;
    }
    if (!h->cancel_allowed) {
        refuse(x, refusal_status, "CANCEL", "This hold cannot be cancelled");
        return;
    }
    x->effect = wise_hold_cancel(h);
    text_str(open_answer(x, 200), "]}");
}

/* ---- the vendor ---- */

static const struct call calls[] = {
    { HTTP_POST,   "/login",                                            "login",          login_keys,  staff_login },
    { HTTP_POST,   "/patron/authentication",                            "authentication", login_keys,  patron_login },
    { HTTP_POST,   "/patron/{}/library/{}/proxyauthentication",         "proxy",          patron_keys, proxy_login },
    { HTTP_GET,    "/patron/{}/library/{}/preparehold/{}/branch/{}",    "preparehold",    patron_keys, prepare },
    { HTTP_PUT,    "/patron/{}/holdoption",                             "holdoption",     title_keys,  options },
    { HTTP_POST,   "/patron/{}/library/{}/hold",                        "place",          title_keys,  place },
    { HTTP_POST,   "/patron/{}/hold",                                   "place_several",  title_keys,  place_several },
    { HTTP_GET,    "/patron/{}/library/{}/hold",                        "list",           patron_keys, list },
    { HTTP_DELETE, "/patron/{}/library/{}/hold/{}",                     "cancel",         patron_keys, cancel },
    { HTTP_GET,    NULL,                                                "other",          NULL,        NULL },
};

/* What the document calls them, where that is something else. */
static const struct { const char *call, *path; } printed[] = {
    { "preparehold", "/patron/{}/libraryId/{}/prepareHold/{}/branch/{}" },
    { "holdoption",  "/patron/{}/holdOption" },
};

static bool setting_allows(const char *setting, const char *spelling)
{
    return !strcmp(setting, "both") || !strcmp(setting, spelling);
}

static bool spelled(struct exchange *x, const struct call *c, struct slice path)
{
    memset(x->req.args, 0, sizeof x->req.args);
    if (path_fits(path, c->path, &x->req)) {
        for (size_t i = 0; i < COUNT(printed); i++)
            if (!strcmp(printed[i].call, c->name))
                return setting_allows(words, "client");
        return true;
    }
    for (size_t i = 0; i < COUNT(printed); i++)
        if (!strcmp(printed[i].call, c->name) && path_fits(path, printed[i].path, &x->req))
            return setting_allows(words, "document");
    return false;
}

/* A path without /restapi is ours only if it is one of Wise's calls: other vendors have patrons too. */
static bool route(struct exchange *x)
{
    struct slice path = x->req.path;
    bool bare = !slice_starts(path, "/restapi/");
    const struct call *c = calls;

    if (!bare)
        path = (struct slice){ path.at + 8, path.len - 8 };
    while (c->path && (c->method != x->req.method || !spelled(x, c, path)))
        c++;
    if (bare && (!c->path || strcmp(root, "restapi") == 0))
        return false;
    x->call = setting_allows(root, bare ? "bare" : "restapi") ? c : &calls[COUNT(calls) - 1];
    return true;
}

static void reset(unsigned what)
{
    if (what & (RESET_EFFECTS | RESET_DATA))
        wise_store_forget(what & RESET_DATA);
    if (what & (RESET_TOKENS | RESET_DATA))
        tokens_forget();
    if (what & RESET_COUNTS)
        logins = 0;
}

static void count(struct text *out)
{
    text_fmt(out, ",\"logins\":%" PRIu64, logins);
    wise_store_count(out);
}

const struct vendor wise = {
    .name = "wise", .calls = calls, .admin = wise_admin, .settings = settings, .shapes = shapes, .state = &state,
    .route = route, .reset = reset, .error = error, .answered = wise_answered, .effects = wise_effects, .count = count,
};

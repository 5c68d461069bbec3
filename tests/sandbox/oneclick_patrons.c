/*
 * oneclick_patrons - OneClick's patrons: who they are, what they have borrowed and hold, their magazines and downloads, and
 * the search of the catalog.
 *
 * What it answers is what was recorded of the vendor (NYPL-Simplified/circulation tests/files/rbdigital); what is known of no
 * client is in README.md. A hold on a title that can be borrowed becomes a loan by itself, looked at when somebody calls.
 */
#include "index.h"
#include "oneclick.h"
#include "settings.h"
#include "tokens.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define FIRST_PATRON INT64_C(939981)
#define FIRST_TRANSACTION INT64_C(9828494)
#define HOUR_S 3600
#define DAY_S 86400
#define FIELD_MAX 256
#define PAGE_MAX 100

enum { CARD, USER_NAME, EMAIL, FIRST_NAME, LAST_NAME, FIELDS };

static const char *const admin_fields[FIELDS] = { "card", "user_name", "email", "first_name", "last_name" };

struct patron {
    char *field[FIELDS];             /* never NULL */
    uint32_t last_item;              /* 1 + position of the newest item; 0: none */
    bool gone, loaded;
};

enum kind { LOAN, HOLDING, ISSUE };

/* Something a patron has, or had: a loan, a hold, or an issue of a magazine. */
struct item {
    int64_t transaction, made_ms, ends_day;          /* of a loan: over at the first moment of that day */
    char *bookmarks;                 /* JSON, of a loan; NULL: [] */
    uint32_t patron, before;         /* before: 1 + position of the patron's next older item */
    char id[32];                     /* ISBN, or the number of an issue */
    uint8_t kind;                    /* enum kind */
    uint16_t renewals;
    bool over;
};

/* What was done at somebody's request. */
enum deed_kind { DEED_PATRON, DEED_LOAN, DEED_RENEWAL, DEED_RETURN, DEED_HOLD, DEED_CANCEL, DEED_MAGAZINE, DEED_MAGAZINE_RETURN,
                 DEEDS };

static const char *const deed_names[DEEDS] = {
    "patrons", "loans", "renewals", "returns", "holds", "cancels", "magazines", "magazine_returns"
};

struct deed {
    int64_t at_ms, transaction, days;
    uint32_t patron;
    char id[32];
    uint8_t kind;
    bool answered, again;            /* again: the same was done before, by the same patron with the same thing */
};

static struct patron *patrons;
static size_t patron_count, patron_cap;
static struct index by_name;         /* cards, user names and e-mails, in any case */
static struct item *items;
static size_t item_count, item_cap;
static struct deed *deeds;
static size_t deed_count, deed_cap, deed_totals[DEEDS], duplicates;
static struct tokens bearers;

struct oneclick_patron_settings oneclick_patron_settings;
#define SET oneclick_patron_settings

static bool has_shape(const struct exchange *x, const char *shape)
{
    return x->shape && !strcmp(x->shape, shape);
}

/* ---- days of US Eastern time ---- */

/* Its rules stand in the zone's own name, so that no database of zones is needed. */
static struct tm eastern(int64_t instant)
{
    time_t at = instant;
    struct tm tm;

    setenv("TZ", "EST5EDT,M3.2.0,M11.1.0", 1);
    tzset();
    localtime_r(&at, &tm);
    return tm;
}

static int64_t eastern_today(void)
{
    struct tm tm = eastern(oneclick_now_ms() / 1000);

    return day_number(tm.tm_year + 1900, (unsigned)tm.tm_mon + 1, (unsigned)tm.tm_mday);
}

static int64_t eastern_midnight(int64_t day)
{
    int64_t at = day * DAY_S + 4 * HOUR_S;
    struct tm tm = eastern(at);

    return tm.tm_hour == 0 ? at : at + HOUR_S;
}

/* ---- patrons ---- */

static struct patron *named(struct slice name)
{
    struct index_walk w = index_walk(&by_name, slice_hash_nocase(name));
    uint32_t pos;

    while (name.len && index_next(&w, &pos)) {
        for (size_t i = CARD; i <= EMAIL; i++)
            if (!patrons[pos].gone && slice_same_nocase(slice_of(patrons[pos].field[i]), name))
                return &patrons[pos];
    }
    return NULL;
}

static struct patron *numbered(int64_t id)
{
    if (id < FIRST_PATRON || (uint64_t)(id - FIRST_PATRON) >= patron_count || patrons[id - FIRST_PATRON].gone)
        return NULL;
    return &patrons[id - FIRST_PATRON];
}

static int64_t patron_id(const struct patron *p)
{
    return FIRST_PATRON + (p - patrons);
}

static void user_id(const struct patron *p, char buf[40])
{
    snprintf(buf, 40, "946b9b06-10e3-4b11-9e3d-%012" PRIx64, (uint64_t)patron_id(p));
}

static struct patron *patron_add(const struct slice field[FIELDS])
{
    struct patron *p;

    if (patron_count == patron_cap) {
        patron_cap = patron_cap ? patron_cap * 2 : 256;
        patrons = memory(patrons, patron_cap * sizeof *patrons);
    }
    p = &patrons[patron_count];
    *p = (struct patron){ .last_item = 0 };
    for (size_t i = 0; i < FIELDS; i++)
        p->field[i] = copy_of(field[i].at ? field[i] : SLICE(""));
    for (size_t i = CARD; i <= EMAIL; i++)
        if (*p->field[i])
            index_add(&by_name, slice_hash_nocase(slice_of(p->field[i])), (uint32_t)patron_count);
    patron_count++;
    return p;
}

/* ---- what was done ---- */

static void done(struct exchange *x, enum deed_kind kind, const struct patron *p, const char *id, int64_t transaction,
                 int64_t days)
{
    struct deed *d;
    bool again = false;

    for (size_t i = 0; i < deed_count; i++)
        again |= deeds[i].kind == kind && deeds[i].patron == (uint32_t)(p - patrons) && !strcmp(deeds[i].id, id);
    if (deed_count == deed_cap) {
        deed_cap = deed_cap ? deed_cap * 2 : 256;
        deeds = memory(deeds, deed_cap * sizeof *deeds);
    }
    d = &deeds[deed_count++];
    *d = (struct deed){ .at_ms = wall_ms(), .transaction = transaction, .days = days, .patron = (uint32_t)(p - patrons),
                        .kind = (uint8_t)kind, .again = again };
    snprintf(d->id, sizeof d->id, "%s", id);
    deed_totals[kind]++;
    duplicates += again;
    x->effect = (int64_t)deed_count;
}

void patrons_answered(int64_t effect)
{
    deeds[effect - 1].answered = true;
}

static void deed_print(const struct deed *d, struct text *out)
{
    text_fmt(out, "{\"kind\":\"%s\",\"patronId\":%" PRId64 ",\"card\":", deed_names[d->kind], FIRST_PATRON + d->patron);
    text_json(out, slice_of(patrons[d->patron].field[CARD]));
    text_fmt(out, ",\"email\":");
    text_json(out, slice_of(patrons[d->patron].field[EMAIL]));
    text_str(out, ",\"id\":");
    text_json(out, slice_of(d->id));
    text_fmt(out, ",\"transactionId\":%" PRId64 ",\"days\":%" PRId64 ",\"at\":%" PRId64 ".%03d,\"answered\":%s,\"again\":%s}",
             d->transaction, d->days, d->at_ms / 1000, (int)(d->at_ms % 1000), d->answered ? "true" : "false",
             d->again ? "true" : "false");
}

/* GET /admin/effects?vendor=oneclick[&kind=]: the deeds, oldest first; of one kind, or only those done again. */
void patrons_effects(struct exchange *x)
{
    struct text *out = answer(x, 200, "application/json");
    struct slice kind = SLICE("");
    const char *comma = "";
    char buf[32];

    query_get(x->req.query, "kind", buf, sizeof buf, &kind);
    text_str(out, "{");
    for (size_t i = 0; i < DEEDS; i++)
        text_fmt(out, "\"%s_total\":%zu,", deed_names[i], deed_totals[i]);
    text_fmt(out, "\"duplicates_total\":%zu,\n\"deeds\":[", duplicates);
    for (size_t i = 0; i < deed_count; i++) {
        if (kind.len && !slice_is(kind, deed_names[deeds[i].kind]) && !(slice_is(kind, "duplicates") && deeds[i].again))
            continue;
        text_str(out, comma);
        deed_print(&deeds[i], out);
        comma = ",\n";
    }
    text_str(out, "]}\n");
}

void patrons_count(struct text *out)
{
    size_t living = 0;

    for (size_t i = 0; i < patron_count; i++)
        living += !patrons[i].gone;
    text_fmt(out, ",\"patrons\":%zu,\"patrons_made\":%zu", living, deed_totals[DEED_PATRON]);
    for (size_t i = DEED_LOAN; i < DEEDS; i++)
        text_fmt(out, ",\"%s\":%zu", deed_names[i], deed_totals[i]);
    text_fmt(out, ",\"duplicates\":%zu", duplicates);
}

void patrons_reset(unsigned what)
{
    if (what & RESET_TOKENS)
        tokens_revoke(&bearers);
    if (!(what & (RESET_EFFECTS | RESET_DATA)))
        return;
    for (size_t i = 0; i < patron_count; i++)
        for (size_t j = 0; j < FIELDS; j++)
            free(patrons[i].field[j]);
    for (size_t i = 0; i < item_count; i++)
        free(items[i].bookmarks);
    free(patrons);
    free(items);
    free(deeds);
    index_release(&by_name);
    patrons = NULL;
    items = NULL;
    deeds = NULL;
    patron_count = patron_cap = item_count = item_cap = deed_count = deed_cap = duplicates = 0;
    memset(deed_totals, 0, sizeof deed_totals);
}

/* ---- what patrons have ---- */

static struct item *item_add(struct patron *p, enum kind kind, struct slice id)
{
    struct item *it;
    char own[sizeof it->id];         /* it may lie among the items, which move */

    snprintf(own, sizeof own, "%.*s", (int)id.len, id.at);
    if (item_count == item_cap) {
        item_cap = item_cap ? item_cap * 2 : 256;
        items = memory(items, item_cap * sizeof *items);
    }
    it = &items[item_count];
    *it = (struct item){ .transaction = FIRST_TRANSACTION + (int64_t)item_count, .made_ms = oneclick_now_ms(),
                         .patron = (uint32_t)(p - patrons), .before = p->last_item, .kind = (uint8_t)kind };
    memcpy(it->id, own, sizeof own);
    p->last_item = (uint32_t)++item_count;
    return it;
}

static struct item *item_of(const struct patron *p, enum kind kind, struct slice id)
{
    for (uint32_t at = p->last_item; at; at = items[at - 1].before)
        if (items[at - 1].kind == kind && !items[at - 1].over && slice_is(id, items[at - 1].id))
            return &items[at - 1];
    return NULL;
}

static int64_t count_of(const struct patron *p, enum kind kind)
{
    int64_t n = 0;

    for (uint32_t at = p->last_item; at; at = items[at - 1].before)
        n += items[at - 1].kind == kind && !items[at - 1].over;
    return n;
}

/* An eBook is one copy: with who has it, or on the shelf. Audio is for any number of listeners at a time. */
static void shelve(const char *isbn, bool available)
{
    const struct title *t = title_with(slice_of(isbn));

    if (t && t->media == MEDIA_EBOOK)
        title_lend(t, available);
}

static struct item *lend(struct patron *p, struct slice isbn, int64_t days)
{
    struct item *hold = item_of(p, HOLDING, isbn), *loan;

    if (hold)
        hold->over = true;
    loan = item_add(p, LOAN, isbn);
    loan->ends_day = eastern_today() + days;
    shelve(loan->id, false);
    return loan;
}

static int64_t days_of(const struct exchange *x)
{
    struct slice s;
    char buf[24];
    int64_t days;

    if (!query_get(x->req.query, "days", buf, sizeof buf, &s))
        return SET.loan_days;
    if (!slice_int64(s, &days) || days < 1)
        return -1;
    return days < SET.loan_days ? days : SET.loan_days;
}

/* The daemon that makes loans of holds, and ends what is over. `id` NULL: any title; force: also before their time. */
static size_t sweep(const char *id, bool force)
{
    int64_t now = oneclick_now_ms(), today = eastern_today();
    size_t made = 0, count = item_count;

    for (size_t i = 0; i < count; i++) {
        const struct title *t;

        if (items[i].over)
            continue;
        if (items[i].kind == LOAN && items[i].ends_day <= today) {
            items[i].over = true;
            shelve(items[i].id, true);
        }
        if (items[i].kind != HOLDING || (id && strcmp(items[i].id, id)))
            continue;
        t = title_with(slice_of(items[i].id));
        if (!t || !t->available || (!force && now - items[i].made_ms < (int64_t)(SET.hold_seconds * 1000)))
            continue;
        lend(&patrons[items[i].patron], slice_of(items[i].id), SET.loan_days); /* moves items */
        made++;
    }
    return made;
}

/* ---- requests ---- */

static void key_segment(struct exchange *x, struct slice segment)
{
    struct slice key;

    if (!percent_decode(segment, false, x->key_bytes + x->key_len, sizeof x->key_bytes - x->key_len, &key))
        return;
    x->key_len += key.len;
    exchange_key(x, key);
}

void patron_key(struct exchange *x)
{
    key_segment(x, x->req.args[1]);
}

/* What it is about, then whose it is. */
void item_keys(struct exchange *x)
{
    key_segment(x, x->req.arg);
    patron_key(x);
}

void create_key(struct exchange *x)
{
    struct fields f;
    const struct field *email = fields_read(&f, x->req.body) ? fields_get(&f, "email") : NULL;

    if (!email || email->value.len > FIELD_MAX)
        return;
    memcpy(x->key_bytes, email->value.at, email->value.len);
    exchange_key(x, (struct slice){ x->key_bytes, email->value.len });
}

void download_key(struct exchange *x)
{
    key_segment(x, x->req.args[0]);
}

static void json_number(struct exchange *x, int64_t n)
{
    text_fmt(answer(x, 200, "application/json; charset=utf-8"), "%" PRId64, n);
}

static void bare_conflict(struct exchange *x, const char *sentence)
{
    text_json(answer(x, 409, "application/json; charset=utf-8"), slice_of(sentence));
}

static void succeeded(struct exchange *x)
{
    if (SET.empty_success)
        answer(x, 200, "application/json; charset=utf-8");
    else
        oneclick_message(x, 200, "success");
}

static void nobody(struct exchange *x, struct slice who)
{
    struct text message = { 0 };

    text_fmt(&message, "eXtensible Framework was unable to locate the resource for RB.API.OneClick.UserPatron.Get     details: "
             "ICriterion: [ xf.strategy.key<String> : librarycard;librarycard<String> : %.*s;LibraryId<Int32> : 1931]\r\n"
             "IContext: Message<RB.API.OneClick.UserPatron>.Getdomain.context.request.verb.action.get\r\ndomain.metrix.data."
             "source.server:10.0.1.48;database:OneClick;\r\ndomain.metrix.command.text. SELECT u.UserId AS AspNetUserId, "
             "p.FirstName, pl.Sip2UserPassword as Sip2Secret, p.[Email] FROM dbo.aspnet_Users u (NOLOCK)",
             (int)who.len, who.len ? who.at : "");
    text_add(&message, "", 1);
    oneclick_message(x, (int)SET.nobody_status, message.at);
    text_release(&message);
}

/* The patron the path names, of a call that is admitted; or NULL and the vendor's answer. */
static struct patron *patron_asked(struct exchange *x)
{
    struct patron *p;
    int64_t id;

    if (!oneclick_admitted(x))
        return NULL;
    sweep(NULL, false);
    p = slice_int64(x->req.args[1], &id) ? numbered(id) : NULL;
    if (!p)
        oneclick_message(x, 404, "Patron not found.");
    return p;
}

/* The same, and the title; *ret_isbn lies in the keys. */
static struct patron *patron_with_title(struct exchange *x, struct slice *ret_isbn)
{
    struct patron *p = patron_asked(x);

    *ret_isbn = x->key_count ? x->keys[0] : SLICE("");
    return p && oneclick_title_asked(x, *ret_isbn) ? p : NULL;
}

/* ---- who somebody is ---- */

void patron_find(struct exchange *x)
{
    struct slice who = x->key_count ? x->keys[0] : SLICE("");
    struct patron *p;
    char id[40];

    if (!oneclick_admitted(x))
        return;
    p = named(who);
    if (!p) {
        nobody(x, who);
        return;
    }
    text_fmt(answer(x, 200, "application/json; charset=utf-8"), "{\"patronId\":%" PRId64, patron_id(p));
    user_id(p, id);
    if (!SET.no_user_id)
        text_fmt(&x->answer.body, ",\"oneClickPatronId\":%" PRId64 ",\"userId\":\"%s\"", patron_id(p) * 10, id);
    text_str(&x->answer.body, "}");
}

void patron_read(struct exchange *x)
{
    struct patron *p = patron_asked(x);
    struct text *out;

    if (!p)
        return;
    out = answer(x, 200, "application/json; charset=utf-8");
    text_str(out, "{\"preferences\":[{\"id\":1,\"name\":\"DEFAULT_DEVICE\",\"value\":\"EMP3\"}],\"libraryCardNumber\":");
    text_json(out, slice_of(p->field[CARD]));
    text_str(out, ",\"libraryPin\":\"****\",\"firstName\":");
    text_json(out, slice_of(p->field[FIRST_NAME]));
    text_str(out, ",\"lastName\":");
    text_json(out, slice_of(p->field[LAST_NAME]));
    text_str(out, ",\"userName\":");
    text_json(out, slice_of(p->field[USER_NAME]));
    text_str(out, ",\"password\":\"******\",\"email\":");
    text_json(out, slice_of(p->field[EMAIL]));
    text_fmt(out, ",\"patronId\":%" PRId64 ",\"libraryId\":%.*s}", patron_id(p), (int)x->req.args[0].len, x->req.args[0].at);
}

static struct slice field_of(const struct fields *f, const char *name)
{
    const struct field *found = fields_get(f, name);

    return found && found->value.len < FIELD_MAX ? found->value : SLICE("");
}

static void answer_created(struct exchange *x, const struct patron *p)
{
    struct text *out = answer(x, 201, "application/json; charset=utf-8");
    char bearer[TOKEN_LEN + 1];

    tokens_issue(&bearers, SET.bearer_seconds, bearer);
    text_fmt(out, "{\"authState\":\"auth_complete\",\"libraries\":[{\"libraryId\":%.*s,\"name\":\"SOME LIBRARY\","
             "\"regionId\":1,\"gatewayLibraryId\":1291,\"oneClickLibraryId\":291,\"subdomain\":\"testlibrary\"}],"
             "\"authStatus\":\"Success\","
             "\"bearer\":\"%s\",\"patron\":{\"firstName\":", (int)x->req.args[0].len, x->req.args[0].at, bearer);
    text_json(out, slice_of(p->field[FIRST_NAME]));
    text_fmt(out, ",\"libraryCardNumber\":\"\",\"patronId\":%" PRId64 ",\"oneClickPatronId\":%" PRId64 ",\"lastName\":",
             patron_id(p), patron_id(p) * 10);
    text_json(out, slice_of(p->field[LAST_NAME]));
    text_fmt(out, ",\"gatewayPatronId\":%" PRId64 ",\"communicationEmail\":", patron_id(p) * 3);
    text_json(out, slice_of(p->field[EMAIL]));
    text_str(out, "}}");
}

void patron_create(struct exchange *x)
{
    static const char *const members[FIELDS] = { "libraryCard", "userName", "email", "firstName", "lastName" };
    struct slice field[FIELDS];
    struct patron *p;
    struct fields f;

    if (!oneclick_admitted(x))
        return;
    if (!fields_read(&f, x->req.body)) {
        oneclick_message(x, 400, "The request is invalid.");
        return;
    }
    for (size_t i = 0; i < FIELDS; i++)
        field[i] = field_of(&f, members[i]);
    if (!field[CARD].len || !field[EMAIL].len || !field_of(&f, "password").len || !field_of(&f, "postalCode").len) {
        oneclick_message(x, 400, "The request is invalid.");
        return;
    }
    if (named(field[CARD]) || named(field[USER_NAME]) || named(field[EMAIL])) {
        oneclick_message(x, (int)SET.patron_exists_status, "A patron account with the specified username, email address, or "
                         "card number already exists for this library.");
        return;
    }
    p = patron_add(field);
    done(x, DEED_PATRON, p, "", patron_id(p), 0);
    answer_created(x, p);
}

void patron_bearer(struct exchange *x)
{
    char bearer[TOKEN_LEN + 1], id[40];
    const struct field *user;
    struct fields f;
    bool known = false;

    if (!oneclick_admitted(x))
        return;
    user = fields_read(&f, x->req.body) ? fields_get(&f, "userId") : NULL;
    for (size_t i = 0; user && i < patron_count && !known; i++) {
        user_id(&patrons[i], id);
        known = !patrons[i].gone && slice_is(user->value, id);
    }
    if (!known) {
        oneclick_message(x, 404, "Patron not found.");
        return;
    }
    tokens_issue(&bearers, SET.bearer_seconds, bearer);
    x->credential = slice_hash(slice_of(bearer));
    text_fmt(answer(x, 200, "application/json; charset=utf-8"), "{\"bearer\":\"%s\",\"result\":true}", bearer);
}

/* ---- loans ---- */

static bool renewable(const struct item *loan)
{
    return loan->renewals < SET.renewals_max;
}

static void answer_receipt(struct exchange *x, const struct item *loan, const char *output)
{
    struct text *out = answer(x, 200, "application/json; charset=utf-8");
    char day[32];

    text_fmt(out, "{\"titleId\":0,\"isbn\":\"%s\",\"output\":\"%s\",\"canRenew\":false,\"transactionId\":%" PRId64
             ",\"patronId\":%" PRId64 ",\"libraryId\":%.*s", loan->id, output, loan->transaction, FIRST_PATRON + loan->patron,
             (int)x->req.args[0].len, x->req.args[0].at);
    if (SET.receipt_expiration)
        text_fmt(out, ",\"expiration\":\"%s\"", oneclick_day_print(loan->ends_day, day));
    text_str(out, "}");
}

/* Two conflicts may hold at once: after a checkout that reached the limit both do. Which is told first nobody knows. */
static bool loan_conflict(struct exchange *x, const struct patron *p, struct slice isbn)
{
    bool exists = item_of(p, LOAN, isbn), limit = count_of(p, LOAN) >= SET.checkout_limit;
    bool out = !title_with(isbn)->available, exists_first = !strcmp(SET.told_first, "exists");

    if (exists && exists_first)
        oneclick_message(x, 409, "Checkout item already exists");
    else if (limit)
        oneclick_message(x, 409, "Maximum checkout count reached.");
    else if (out)
        oneclick_message(x, 409, "Title is not available for checkout");
    else if (exists)
        oneclick_message(x, 409, "Checkout item already exists");
    else
        return false;
    return true;
}

void patron_checkout(struct exchange *x)
{
    struct slice isbn;
    struct patron *p = patron_with_title(x, &isbn);
    int64_t days = days_of(x);
    struct item *loan;

    if (!p || loan_conflict(x, p, isbn))
        return;
    if (days < 0) {
        oneclick_message(x, 400, "The request is invalid.");
        return;
    }
    loan = lend(p, isbn, days);
    done(x, DEED_LOAN, p, loan->id, loan->transaction, days);
    answer_receipt(x, loan, "SUCCESS");
}

void patron_renew(struct exchange *x)
{
    struct slice isbn;
    struct patron *p = patron_with_title(x, &isbn);
    struct item *loan = p ? item_of(p, LOAN, isbn) : NULL;
    int64_t days = days_of(x);

    if (!p)
        return;
    if (!loan) {
        oneclick_message(x, 409, "Checkout does not exists or it is already terminated or expired.");
        return;
    }
    if (days < 0 || !renewable(loan)) {
        oneclick_message(x, days < 0 ? 400 : 409, days < 0 ? "The request is invalid." : "Checkout item cannot be renewed.");
        return;
    }
    loan->ends_day = (SET.renew_from_end ? loan->ends_day : eastern_today()) + days;
    loan->renewals++;
    done(x, DEED_RENEWAL, p, loan->id, loan->transaction, days);
    answer_receipt(x, loan, "success");
}

void patron_return(struct exchange *x)
{
    struct slice isbn;
    struct patron *p = patron_with_title(x, &isbn);
    struct item *loan = p ? item_of(p, LOAN, isbn) : NULL;

    if (!p)
        return;
    if (!loan) {
        oneclick_message(x, 409, "Checkout does not exists or it is already terminated or expired.");
        return;
    }
    loan->over = true;
    shelve(loan->id, true);
    done(x, DEED_RETURN, p, loan->id, loan->transaction, 0);
    succeeded(x);
}

/* A member of the catalog's record, as JSON; "" where it has none. */
static const char *record_text(json_object *record, const char *name)
{
    json_object *value;
    const char *text = json_object_object_get_ex(record, name, &value) && json_object_is_type(value, json_type_string)
        ? json_object_get_string(value) : NULL;

    return text ? text : "";
}

static json_object *record_of(const struct title *t)
{
    struct text json = { 0 };
    json_object *record;

    title_record(t, &json);
    text_add(&json, "", 1);
    record = json_tokener_parse(json.at);
    text_release(&json);
    return record;
}

/* "Hopkins, Ellen" as "Ellen Hopkins". */
static void put_name(struct text *out, struct slice name)
{
    const char *comma;

    while (name.len && isspace((unsigned char)*name.at))
        name = (struct slice){ name.at + 1, name.len - 1 };
    while (name.len && isspace((unsigned char)name.at[name.len - 1]))
        name.len--;
    comma = name.len ? memchr(name.at, ',', name.len) : NULL;
    if (!comma) {
        text_slice_add(out, name);
        return;
    }
    struct slice first = { comma + 1, (size_t)(name.at + name.len - comma - 1) };
    while (first.len && *first.at == ' ')
        first = (struct slice){ first.at + 1, first.len - 1 };
    text_slice_add(out, first);
    text_str(out, " ");
    text_add(out, name.at, (size_t)(comma - name.at));
}

static struct slice next_name(struct slice *rest)
{
    const char *end = rest->len ? memchr(rest->at, ';', rest->len) : NULL;
    struct slice name = { rest->at, end ? (size_t)(end - rest->at) : rest->len };

    *rest = end ? (struct slice){ end + 1, rest->len - name.len - 1 } : (struct slice){ NULL, 0 };
    return name;
}

static void put_names(struct text *out, const char *list)
{
    struct slice rest = slice_of(list);
    struct text names = { 0 };

    while (rest.len) {
        struct slice name = next_name(&rest);

        if (names.len)
            text_str(&names, ", ");
        put_name(&names, name);
    }
    text_json(out, text_slice(&names));
    text_release(&names);
}

static void put_member(struct text *out, const char *name, const char *value)
{
    text_fmt(out, ",\"%s\":", name);
    text_json(out, slice_of(value));
}

/* Numbers of parts, from the transaction: each loan's links are its own. */
static int64_t part_id(const struct item *loan, int part)
{
    return loan->transaction * 10 % 100000000 + part;
}

static void put_epub(struct text *out, const struct item *loan)
{
    int64_t id = part_id(loan, 0);

    text_fmt(out, "\"files\":[{\"id\":%" PRId64 ",\"filename\":\"EB%08" PRId64 ".epub\",\"fileFormat\":\"EPUB\",", id, id);
    text_fmt(out, "\"downloadUrl\":\"%s/v1/media/%" PRId64 "/parts/%" PRId64 "/download-url?f=EB%08" PRId64 ".epub&ff=EPUB"
             "&acsRId=urn%%3Auuid%%3A76fca044-0b31-47f7-8ac5-ee0befbda698&tId=%" PRId64 "&expDt=%" PRId64 "\",",
             SET.link_root, id, id, id, loan->transaction, eastern_midnight(loan->ends_day));
    text_str(out, "\"fileFormatId\":0,\"acsResourceId\":\"urn:uuid:76fca044-0b31-47f7-8ac5-ee0befbda698\","
             "\"textFormatType\":0}]");
}

static void put_chapters(struct text *out, const struct item *loan)
{
    static const char *const names[] = { "Introduction", "Part 1", "Part 2" };

    text_str(out, "\"minutes\":225.95,\"downloadUrl\":\"\",\"encryptionKey\":\"49a1bcf6-388e-4fd0-8389-eaa7cd62b080\","
             "\"files\":[");
    for (int i = 0; i < (int)COUNT(names); i++) {
        text_fmt(out, "%s{\"id\":%" PRId64 ",\"display\":\"%s\",\"filename\":\"78226_%03d.mp3\",", i ? "," : "",
                 part_id(loan, i), names[i], i + 1);
        text_fmt(out, "\"downloadUrl\":\"%s/v1/media/%s/parts/%" PRId64 "/download-url?s3=78226&f=78226_%03d\","
                 "\"minutes\":%d.2,\"size\":%d}", SET.link_root, loan->id, part_id(loan, i), i + 1, 5 * i, 73024 + i);
    }
    text_fmt(out, "],\"size\":81342904,\"bookmarks\":%s,\"hasBookmark\":%s", loan->bookmarks ? loan->bookmarks : "[]",
             loan->bookmarks ? "true" : "false");
}

static void put_item(struct text *out, const struct item *it)
{
    const struct title *t = title_with(slice_of(it->id));
    json_object *record = t ? record_of(t) : NULL;
    bool audio = t && t->media == MEDIA_EAUDIO, loan = it->kind == LOAN;
    char day[32];

    text_str(out, "{");
    if (loan && audio)
        put_chapters(out, it);
    else if (loan)
        put_epub(out, it);
    text_fmt(out, "%s\"titleId\":0,\"isbn\":\"%s\"", loan ? ",\"dateAdded\":\"2014-01-07\",\"hasDrm\":true," : "", it->id);
    put_member(out, "title", record_text(record, "title"));
    put_member(out, "publisher", record_text(record, "publisher"));
    text_fmt(out, ",\"expiration\":\"%s\",\"authors\":", loan ? oneclick_day_print(it->ends_day, day) : "2050-12-31");
    put_names(out, record_text(record, "authors"));
    if (loan && audio) {
        text_str(out, ",\"narrators\":");
        put_names(out, record_text(record, "narrators"));
    }
    if (loan)
        text_fmt(out, ",\"canRenew\":%s", renewable(it) ? "true" : "false");
    text_fmt(out, ",\"transactionId\":%" PRId64 ",\"mediaType\":\"%s\",\"patronId\":%" PRId64 ",\"libraryId\":1931}",
             it->transaction, media_names[audio ? MEDIA_EAUDIO : MEDIA_EBOOK], FIRST_PATRON + it->patron);
    json_object_put(record);
}

static void answer_items(struct exchange *x, enum kind kind)
{
    struct patron *p = patron_asked(x);
    const char *comma = "";
    struct text *out;

    if (!p)
        return;
    out = answer(x, 200, "application/json; charset=utf-8");
    text_str(out, "[");
    for (uint32_t at = has_shape(x, "empty_list") ? 0 : p->last_item; at; at = items[at - 1].before) {
        if (items[at - 1].kind != kind || items[at - 1].over)
            continue;
        text_str(out, comma);
        put_item(out, &items[at - 1]);
        comma = ",";
    }
    text_str(out, "]");
}

void patron_loans(struct exchange *x)
{
    answer_items(x, LOAN);
}

/* ---- holds ---- */

void patron_hold(struct exchange *x)
{
    struct slice isbn;
    struct patron *p = patron_with_title(x, &isbn);
    bool exists, limit;
    struct item *hold;

    if (!p)
        return;
    exists = item_of(p, LOAN, isbn) || item_of(p, HOLDING, isbn);
    limit = count_of(p, LOAN) + count_of(p, HOLDING) >= SET.hold_limit;
    if (exists && (!limit || !strcmp(SET.told_first, "exists"))) {
        bare_conflict(x, "Hold or Checkout already exists.");
    } else if (limit) {
        bare_conflict(x, "You have reached your checkout limit and therefore are unable to place additional holds.");
    } else {
        hold = item_add(p, HOLDING, isbn);
        done(x, DEED_HOLD, p, hold->id, hold->transaction, 0);
        json_number(x, hold->transaction);
    }
}

void patron_cancel(struct exchange *x)
{
    struct slice isbn;
    struct patron *p = patron_with_title(x, &isbn);
    struct item *hold = p ? item_of(p, HOLDING, isbn) : NULL;

    if (!p)
        return;
    if (!hold) {
        bare_conflict(x, "Hold does not exist.");
        return;
    }
    hold->over = true;
    done(x, DEED_CANCEL, p, hold->id, hold->transaction, 0);
    succeeded(x);
}

void patron_holds(struct exchange *x)
{
    answer_items(x, HOLDING);
}

/* ---- magazines ---- */

void patron_magazine(struct exchange *x)
{
    struct patron *p = patron_asked(x);
    struct slice issue = x->key_count ? x->keys[0] : SLICE("");
    struct item *it = p ? item_of(p, ISSUE, issue) : NULL;
    int64_t number;

    if (!p)
        return;
    if (!slice_int64(issue, &number) || number < 1) {
        oneclick_message(x, 400, "The request is invalid.");
    } else if (it) {
        oneclick_message(x, 409, "Magazine is already checked out.");
    } else {
        it = item_add(p, ISSUE, issue);
        done(x, DEED_MAGAZINE, p, it->id, it->transaction, 0);
        succeeded(x);
    }
}

void patron_magazine_return(struct exchange *x)
{
    struct patron *p = patron_asked(x);
    struct item *it = p && x->key_count ? item_of(p, ISSUE, x->keys[0]) : NULL;

    if (!p)
        return;
    if (!it) {
        oneclick_message(x, 404, "Magazine is not checked out.");
        return;
    }
    it->over = true;
    done(x, DEED_MAGAZINE_RETURN, p, it->id, it->transaction, 0);
    succeeded(x);
}

static int64_t query_int(const struct exchange *x, const char *name, int64_t usual)
{
    struct slice s;
    char buf[24];
    int64_t n;

    return query_get(x->req.query, name, buf, sizeof buf, &s) && slice_int64(s, &n) && n >= 0 ? n : usual;
}

void patron_history(struct exchange *x)
{
    struct patron *p = patron_asked(x);
    int64_t size = query_int(x, "pageSize", PAGE_MAX), skip = query_int(x, "pageIndex", 0) * size;
    const char *comma = "";
    struct text *out;

    if (!p)
        return;
    out = answer(x, 200, "application/json; charset=utf-8");
    text_fmt(out, "{\"resultSetCount\":%" PRId64 ",\"resultSet\":[", count_of(p, ISSUE));
    for (uint32_t at = p->last_item; at && size; at = items[at - 1].before) {
        const struct item *it = &items[at - 1];
        char day[32];

        if (it->kind != ISSUE || it->over || skip-- > 0)
            continue;
        text_fmt(out, "%s{\"item\":{\"issueId\":%s,\"magazineId\":12,\"title\":\"The Sandbox Weekly\",", comma, it->id);
        text_fmt(out, "\"publisher\":\"Sandbox\",\"checkoutOn\":\"%sT00:00:00Z\",\"publishedOn\":\"2019-02-22\","
                 "\"mediaType\":\"eMagazine\",\"images\":[]}}", oneclick_day_print(it->made_ms / 1000 / DAY_S, day));
        comma = ",";
        size--;
    }
    text_str(out, "]}");
}

/* ---- downloads ---- */

void patron_download(struct exchange *x)
{
    struct slice given = x->req.authorization;
    bool ebook = slice_same(x->req.args[0], x->req.args[1]);

    if (!slice_starts(given, "Bearer ") || !tokens_valid(&bearers, (struct slice){ given.at + 7, given.len - 7 })) {
        oneclick_message(x, 401, "This endpoint can be called by authorized trusted app, authenticated patron, and trusted "
                         "partner only.");
        return;
    }
    text_fmt(answer(x, 200, "application/json; charset=utf-8"),
             "{\"type\":\"%s\",\"url\":\"http://content.example/%.*s?Expires=900\"}",
             ebook ? "application/vnd.adobe" : "audio/mpeg", (int)x->req.args[1].len, x->req.args[1].at);
}

/* ---- search ---- */

struct query {
    struct slice media, availability, all, title, author, genre, audience;
    char buf[7][FIELD_MAX];
};

static void query_read(const struct exchange *x, struct query *q)
{
    static const char *const names[] = { "media-type", "availability", "all", "title", "author", "genre", "audience" };
    struct slice *const to[] = { &q->media, &q->availability, &q->all, &q->title, &q->author, &q->genre, &q->audience };

    for (size_t i = 0; i < COUNT(names); i++)
        if (!query_get(x->req.query, names[i], q->buf[i], FIELD_MAX, to[i]))
            *to[i] = SLICE("");
}

static bool holds_words(const char *text, struct slice words)
{
    for (; words.len && *text; text++)
        if (!strncasecmp(text, words.at, words.len))
            return true;
    return !words.len;
}

/* "Juvenile Fiction" as "juvenile-fiction". */
static void put_slug(struct text *out, struct slice name)
{
    size_t from = out->len;

    for (size_t i = 0; i < name.len; i++) {
        unsigned char c = (unsigned char)name.at[i], low = (unsigned char)tolower(c);

        if (isalnum(c) || c >= 0x80)
            text_add(out, (const char *)&low, 1);
        else if (out->len > from && out->at[out->len - 1] != '-')
            text_str(out, "-");
    }
    while (out->len > from && out->at[out->len - 1] == '-')
        out->len--;
}

static bool fits(json_object *record, uint32_t picked, const struct query *q)
{
    const struct title *t = title_at(picked >> 1);
    bool available = picked & 1;
    struct text both = { 0 }, slug = { 0 };
    bool fit;

    text_fmt(&both, "%s %s %s", record_text(record, "title"), record_text(record, "authors"), record_text(record, "narrators"));
    text_add(&both, "", 1);
    put_slug(&slug, slice_of(record_text(record, "audience")));
    fit = (!q->media.len || (t->media < MEDIA_OTHER && slice_same_nocase(q->media, slice_of(media_names[t->media]))))
        && (!q->availability.len || slice_is(q->availability, available ? "available" : "unavailable"))
        && holds_words(both.at, q->all) && holds_words(record_text(record, "title"), q->title)
        && holds_words(record_text(record, "authors"), q->author) && holds_words(record_text(record, "primaryGenre"), q->genre)
        && (!q->audience.len || slice_same_nocase(text_slice(&slug), q->audience));
    text_release(&both);
    text_release(&slug);
    return fit;
}

static void put_token(struct text *out, const char *facet, struct slice name)
{
    struct text slug = { 0 }, plain = { 0 };

    put_name(&plain, name);
    put_slug(&slug, text_slice(&plain));
    text_fmt(out, "{\"facet\":\"%s\",\"text\":", facet);
    text_json(out, text_slice(&plain));
    text_str(out, ",\"token\":");
    text_json(out, text_slice(&slug));
    text_str(out, ",\"order\":0}");
    text_release(&slug);
    text_release(&plain);
}

static void put_tokens(struct text *out, const char *name, const char *facet, const char *list)
{
    struct slice rest = slice_of(list);
    const char *comma = "";

    text_fmt(out, ",\"%s\":[", name);
    while (rest.len) {
        text_str(out, comma);
        put_token(out, facet, next_name(&rest));
        comma = ",";
    }
    text_str(out, "]");
}

/* As search has it: unlike the catalog's record in nearly every member. */
static void put_result(struct text *out, json_object *record)
{
    const char *description = record_text(record, "description"), *series = record_text(record, "seriesName");

    text_fmt(out, "{\"interest\":{\"stateId\":3,\"name\":\"library\"},\"item\":{\"id\":\"57f38060091c38309cb5097e\","
             "\"isbn\":\"%s\"", record_text(record, "isbn"));
    put_tokens(out, "authors", "author", record_text(record, "authors"));
    put_tokens(out, "genres", "genre", record_text(record, "genres"));
    text_str(out, ",\"publisher\":");
    put_token(out, "publisher", slice_of(record_text(record, "publisher")));
    if (*series && strcmp(series, "Default Blank")) {
        text_str(out, ",\"series\":");
        put_token(out, "series", slice_of(series));
    }
    put_member(out, "language", record_text(record, "language"));
    put_member(out, "audience", record_text(record, "audience"));
    put_member(out, "mediaType", record_text(record, "mediaType"));
    put_member(out, "title", record_text(record, "title"));
    put_member(out, "releasedDate", record_text(record, "publicationDate"));
    size_t len = strlen(description) < 160 ? strlen(description) : 160;
    while (len && ((unsigned char)description[len] & 0xC0) == 0x80)
        len--;
    text_str(out, ",\"shortDescription\":");
    text_json(out, (struct slice){ description, len });
    text_str(out, ",\"isFiction\":true,\"hasDrm\":true,\"isPreRelease\":false}}");
}

static void put_filter(struct text *out, const char **comma, const char *label, const char *value, size_t count,
                       struct slice asked)
{
    text_fmt(out, "%s{\"tokenLabel\":\"%s\",\"tokenValue\":\"%s\",\"count\":%zu,\"isSelected\":%s}", *comma, label, value,
             count, slice_same_nocase(asked, slice_of(value)) ? "true" : "false");
    *comma = ",";
}

/* POSTed or generated records have whatever they have; counted are the vocabularies every library has. */
static void put_filters(struct text *out, const struct query *q, const size_t counts[4])
{
    const char *comma = "";

    put_filter(out, &comma, "mediatype", "eaudio", counts[0], q->media);
    put_filter(out, &comma, "mediatype", "ebook", counts[1], q->media);
    put_filter(out, &comma, "availability", "available", counts[2], q->availability);
    put_filter(out, &comma, "availability", "unavailable", counts[3], q->availability);
}

static void answer_search(struct exchange *x, const struct query *q)
{
    int64_t size = query_int(x, "page-size", PAGE_MAX), page = query_int(x, "page-index", 0), total = 0;
    struct picks rows = titles_now(-1);
    struct text *out, found = { 0 };
    size_t counts[4] = { 0 };

    size = size < 1 || size > PAGE_MAX ? PAGE_MAX : size;
    for (size_t i = 0; i < rows.count; i++) {
        json_object *record = record_of(title_at(rows.at[i] >> 1));

        if (json_object_is_type(record, json_type_object) && fits(record, rows.at[i], q)) {
            counts[title_at(rows.at[i] >> 1)->media == MEDIA_EBOOK]++;
            counts[rows.at[i] & 1 ? 2 : 3]++;
            if (total >= page * size && total < (page + 1) * size) {
                text_str(&found, found.len ? "," : "");
                put_result(&found, record);
            }
            total++;
        }
        json_object_put(record);
    }
    out = answer(x, 200, "application/json; charset=utf-8");
    text_fmt(out, "{\"scopeId\":1931,\"pageIndex\":%" PRId64 ",\"pageSize\":%" PRId64 ",\"pageCount\":%" PRId64, page, size,
             (total + size - 1) / size);
    text_fmt(out, ",\"resultSetCount\":%" PRId64 ",\"isSortByDesc\":false,\"filters\":[", total);
    put_filters(out, q, counts);
    text_str(out, "],\"acceptMediaType\":\"complete\",\"items\":[");
    text_slice_add(out, text_slice(&found));
    text_str(out, "]}");
    text_release(&found);
    free(rows.at);
}

void oneclick_search(struct exchange *x)
{
    struct query q;

    if (!oneclick_admitted(x))
        return;
    query_read(x, &q);
    answer_search(x, &q);
}

void oneclick_shelf(struct exchange *x)
{
    struct query q;

    if (!oneclick_admitted(x))
        return;
    query_read(x, &q);
    q.media = x->req.args[1];
    answer_search(x, &q);
}

/* ---- the test's side ---- */

static json_object *element(json_object *list, size_t i)
{
    return json_object_is_type(list, json_type_array) ? json_object_array_get_idx(list, i) : list;
}

/* One patron or a list of them; "loaded", not made: they are no deeds. */
void admin_post_patrons(struct exchange *x)
{
    json_object *body = body_json(x);
    size_t count = json_object_is_type(body, json_type_array) ? json_object_array_length(body) : 1;
    struct text *out;

    if (!body)
        return;
    out = answer(x, 200, "application/json");
    text_str(out, "{\"ids\":[");
    for (size_t i = 0; i < count; i++) {
        struct slice field[FIELDS];
        struct patron *p;

        for (size_t j = 0; j < FIELDS; j++)
            field[j] = slice_of(record_text(element(body, i), admin_fields[j]));
        p = patron_add(field);
        p->loaded = true;
        text_fmt(out, "%s%" PRId64, i ? "," : "", patron_id(p));
    }
    text_str(out, "]}\n");
    json_object_put(body);
}

void admin_list_patrons(struct exchange *x)
{
    struct text *out = answer(x, 200, "application/json");
    const char *comma = "";

    text_str(out, "[");
    for (size_t i = 0; i < patron_count; i++) {
        if (patrons[i].gone)
            continue;
        text_fmt(out, "%s{\"patronId\":%" PRId64 ",\"loaded\":%s", comma, FIRST_PATRON + (int64_t)i,
                 patrons[i].loaded ? "true" : "false");
        for (size_t j = 0; j < FIELDS; j++)
            put_member(out, admin_fields[j], patrons[i].field[j]);
        text_str(out, "}");
        comma = ",\n";
    }
    text_str(out, "]\n");
}

void admin_forget_patron(struct exchange *x)
{
    int64_t id;
    struct patron *p = slice_int64(x->req.arg, &id) ? numbered(id) : NULL;

    if (!p) {
        answer_json_error(x, 404, "no such patron");
        return;
    }
    p->gone = true;
    text_str(answer(x, 200, "application/json"), "{}\n");
}

/* {"isbn":"…"} or {}: holds on what can be borrowed become loans now. */
void admin_convert(struct exchange *x)
{
    json_object *body = x->req.body.len ? body_json(x) : json_object_new_object();
    const char *isbn;

    if (!body)
        return;
    isbn = record_text(body, "isbn");
    text_fmt(answer(x, 200, "application/json"), "{\"loans\":%zu}\n", sweep(*isbn ? isbn : NULL, true));
    json_object_put(body);
}

/* {"patron_id","isbn","bookmarks"}: what a loan's list of bookmarks is. */
void admin_bookmarks(struct exchange *x)
{
    json_object *body = body_json(x), *id, *list;
    struct item *loan = NULL;
    struct patron *p;

    if (!body)
        return;
    if (json_object_object_get_ex(body, "patron_id", &id) && (p = numbered(json_object_get_int64(id))))
        loan = item_of(p, LOAN, slice_of(record_text(body, "isbn")));
    if (!loan || !json_object_object_get_ex(body, "bookmarks", &list)) {
        answer_json_error(x, 404, "no such loan, or no bookmarks");
    } else {
        free(loan->bookmarks);
        loan->bookmarks = copy_of(slice_of(json_object_to_json_string_ext(list, JSON_C_TO_STRING_PLAIN)));
        text_str(answer(x, 200, "application/json"), "{}\n");
    }
    json_object_put(body);
}

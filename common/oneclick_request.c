#include "common/oneclick_request.h"

#include "common/instant.h"
#include "common/json.h"
#include "common/scoped.h"
#include "common/vendors/reading.h"

#include <string.h>

enum { WORDS_MOST = 200, EMAIL_MOST = 254, NAME_MOST = 100, ISSUE_MOST = 40, FILE_MOST = 200, PAGES_MOST = 10000,
       POSITIONS_MOST = 100, POSITION_MEMBERS_MOST = 10 };

/* ---- what is asked; the same rules as in schemas/request.oneclick.schema.json, a test compares the two ---- */

static const struct {
    const char *name;
    enum oneclick_action action;
} actions[] = {
    {"checkout", ONECLICK_CHECKOUT}, {"renew", ONECLICK_RENEW}, {"return", ONECLICK_RETURN}, {"loans", ONECLICK_LOANS},
    {"hold", ONECLICK_HOLD}, {"cancel_hold", ONECLICK_CANCEL_HOLD}, {"holds", ONECLICK_HOLDS}, {"search", ONECLICK_SEARCH},
    {"magazine_checkout", ONECLICK_MAGAZINE_CHECKOUT}, {"magazine_return", ONECLICK_MAGAZINE_RETURN},
    {"magazine_history", ONECLICK_MAGAZINE_HISTORY}, {"download", ONECLICK_DOWNLOAD},
};

/* Text of one line, of 1 to `most` characters. "" when it is not there. */
static struct fault read_line(json_object *in, const char *key, int most, const char **ret)
{
    json_object *value = json_get(in, key);
    int characters = 0;

    *ret = "";
    if (!value)
        return FAULT_OK;
    if (!json_object_is_type(value, json_type_string))
        return FAULT(REJECT, "%s: want a string, found %s", key, json_type_to_name(json_object_get_type(value)));
    const char *text = json_object_get_string(value);
    size_t len = (size_t)json_object_get_string_len(value);
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c < ' ' || c == 0x7F || (c == 0xC2 && (unsigned char)text[i + 1] < 0xA0))
            return FAULT(REJECT, "%s: want one line, without control characters", key);
        characters += (c & 0xC0) != 0x80;
    }
    if (!len || characters > most)
        return FAULT(REJECT, "%s: want 1 to %d characters, found %d", key, most, characters);
    *ret = text;
    return FAULT_OK;
}

static struct fault read_printed(json_object *in, const char *key, int most, const char **ret)
{
    TRY(read_line(in, key, most, ret));
    for (const char *c = *ret; *c; c++)
        if (*c > '~' || *c < ' ')
            return FAULT(REJECT, "%s: want printable ASCII", key);
    if (**ret == ' ' || (**ret && (*ret)[strlen(*ret) - 1] == ' '))
        return FAULT(REJECT, "%s: begins or ends with a space", key);
    return FAULT_OK;
}

static struct fault read_number(json_object *in, const char *key, int least, int most, int *ret)
{
    int64_t n;

    if (!json_get(in, key))
        return FAULT_OK;
    TRY(json_int(in, key, least, most, &n));
    *ret = (int)n;
    return FAULT_OK;
}

static struct fault read_truth(json_object *in, const char *key, bool *ret_there, bool *ret)
{
    json_object *value = json_get(in, key);

    *ret_there = value != NULL;
    if (value && !json_object_is_type(value, json_type_boolean))
        return FAULT(REJECT, "%s: want true or false, found %s", key, json_type_to_name(json_object_get_type(value)));
    *ret = value && json_object_get_boolean(value);
    return FAULT_OK;
}

static struct fault read_isbn(json_object *in, char ret[VALUES_ISBN_SIZE])
{
    char written[VALUES_ISBN_SIZE];

    TRY(json_text(in, "isbn", written, sizeof written));
    if (written[strspn(written, "0123456789")])
        return FAULT(REJECT, "isbn: want 13 digits alone");
    if (strlen(written) != VALUES_ISBN_SIZE - 1)
        return FAULT(REJECT, "isbn: want 13 digits, found %zu", strlen(written));
    return fault_under(values_isbn(written, ret), "isbn");
}

static struct fault read_issue(json_object *in, const char **ret)
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-";

    TRY(read_line(in, "issue", ISSUE_MOST, ret));
    if (!**ret)
        return FAULT(REJECT, "issue: missing");
    if ((*ret)[strspn(*ret, letters)])
        return FAULT(REJECT, "issue: want letters, digits, - and _ only");
    return FAULT_OK;
}

static struct fault read_newcomer(json_object *in, struct oneclick_asked *to)
{
    bool there;

    TRY(read_truth(in, "create", &there, &to->create));
    TRY(read_printed(in, "email", EMAIL_MOST, &to->email));
    if (*to->email && (*to->email == '@' || !strchr(to->email, '@') || !strchr(to->email, '@')[1] || strchr(to->email, ' ')))
        return FAULT(REJECT, "email: want an e-mail address");
    TRY(read_line(in, "first_name", NAME_MOST, &to->first_name));
    return read_line(in, "last_name", NAME_MOST, &to->last_name);
}

static struct fault read_query(json_object *in, struct oneclick_query *to)
{
    bool there, available;

    TRY(read_line(in, "all", WORDS_MOST, &to->all));
    TRY(read_line(in, "title", WORDS_MOST, &to->title));
    TRY(read_line(in, "author", WORDS_MOST, &to->author));
    TRY(read_line(in, "genre", NAME_MOST, &to->genre));
    TRY(read_line(in, "audience", NAME_MOST, &to->audience));
    TRY(read_line(in, "media_type", NAME_MOST, &to->media_type));
    if (*to->media_type && strcmp(to->media_type, "eBook") && strcmp(to->media_type, "eAudio"))
        return FAULT(REJECT, "media_type: want eBook or eAudio");
    TRY(read_truth(in, "available", &there, &available));
    to->availability = !there ? "" : available ? "available" : "unavailable";
    TRY(read_number(in, "page", 0, PAGES_MOST, &to->page));
    to->page_size = ONECLICK_PAGE_USUAL;
    return read_number(in, "page_size", 1, ONECLICK_PAGE_MOST, &to->page_size);
}

struct fault oneclick_asked_read(const struct request *request, struct oneclick_asked *ret)
{
    json_object *in = request->asked;
    size_t at = 0;

    *ret = (struct oneclick_asked){.email = "", .first_name = "", .last_name = "", .issue = "", .file = ""};
    while (at < COUNT(actions) && strcmp(actions[at].name, request->action))
        at++;
    if (at == COUNT(actions))
        return FAULT(REJECT, "action: none of OneClick's");
    ret->action = actions[at].action;
    switch (ret->action) {
    case ONECLICK_CHECKOUT:
    case ONECLICK_HOLD:
        TRY(read_isbn(in, ret->isbn));
        TRY(ret->action == ONECLICK_HOLD ? FAULT_OK : read_number(in, "days", 1, ONECLICK_DAYS_MOST, &ret->days));
        return read_newcomer(in, ret);
    case ONECLICK_RENEW: TRY(read_number(in, "days", 1, ONECLICK_DAYS_MOST, &ret->days)); return read_isbn(in, ret->isbn);
    case ONECLICK_RETURN:
    case ONECLICK_CANCEL_HOLD: return read_isbn(in, ret->isbn);
    case ONECLICK_SEARCH: return read_query(in, &ret->query);
    case ONECLICK_MAGAZINE_CHECKOUT:
    case ONECLICK_MAGAZINE_RETURN: return read_issue(in, &ret->issue);
    case ONECLICK_DOWNLOAD: TRY(read_printed(in, "file", FILE_MOST, &ret->file)); return read_isbn(in, ret->isbn);
    default: return FAULT_OK;
    }
}

/* ---- what the caller hears ---- */

static void add_text(json_object *to, const char *key, const char *value)
{
    if (value[0])
        json_object_object_add(to, key, json_object_new_string(value));
}

static void add_borrowed(json_object *to, const char *key, json_object *value)
{
    if (value)
        json_object_object_add(to, key, json_object_get(value));
}

static void add_ends(json_object *to, const char *expiration, bool computed)
{
    char written[INSTANT_SIZE];
    int64_t ends = oneclick_ends(expiration);

    if (!ends)
        return;
    instant_write(ends, written);
    add_text(to, "expiration", expiration);
    add_text(to, "ends_at", written);
    json_object_object_add(to, "computed", json_object_new_boolean(computed));
}

static void write_out(struct text *to, json_object *value)
{
    text_puts(to, json_object_to_json_string_ext(value, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE));
    json_object_put(value);
}

static void write_under(struct text *to, const char *key, json_object *value)
{
    json_object *outer = json_object_new_object();

    json_object_object_add(outer, key, value);
    write_out(to, outer);
}

static void add_common(json_object *to, const struct oneclick_row *row)
{
    add_text(to, "title", row->title);
    add_text(to, "authors", row->authors);
    add_text(to, "narrators", row->narrators);
    add_text(to, "publisher", row->publisher);
    add_text(to, "media_type", row->media_type);
}

static bool is_number(json_object *value)
{
    return json_object_is_type(value, json_type_int) || json_object_is_type(value, json_type_double);
}

/* A number or a text of theirs, as PostgreSQL takes it; NULL: it is neither. */
static json_object *plain(json_object *value)
{
    char text[129];

    if (is_number(value))
        return json_object_get(value);
    reading_text_of(value, text, sizeof text);
    return text[0] ? json_object_new_string(text) : NULL;
}

static bool is_name(const char *key)
{
    return *key && !key[strspn(key, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_")];
}

static json_object *position_of(json_object *bookmark)
{
    if (!json_object_is_type(bookmark, json_type_object))
        return plain(bookmark);
    json_object *position = json_object_new_object();
    json_object_object_foreach(bookmark, key, value) {
        json_object *kept = is_name(key) && json_object_object_length(position) < POSITION_MEMBERS_MOST ? plain(value) : NULL;
        if (kept)
            json_object_object_add(position, key, kept);
    }
    return position;
}

static json_object *positions_of(json_object *bookmarks)
{
    json_object *positions = json_object_new_array();

    for (size_t i = 0; i < reading_count(bookmarks) && json_object_array_length(positions) < POSITIONS_MOST; i++) {
        json_object *position = position_of(reading_at(bookmarks, i));
        if (position)
            json_object_array_add(positions, position);
    }
    return positions;
}

static json_object *file_of(const struct oneclick_file *file)
{
    json_object *to = json_object_new_object();

    add_text(to, "id", file->id);
    add_text(to, "name", file->name);
    add_text(to, "display", file->display);
    add_text(to, "format", file->format);
    add_borrowed(to, "minutes", file->minutes);
    add_borrowed(to, "size", file->size);
    return to;
}

static json_object *files_of(const struct oneclick_row *loan)
{
    json_object *to = json_object_new_array();
    struct oneclick_file file;

    for (size_t i = 0; i < reading_count(loan->files); i++)
        if (oneclick_file_read(reading_at(loan->files, i), &file))
            json_object_array_add(to, file_of(&file));
    return to;
}

static json_object *loan_of(const struct oneclick_row *loan)
{
    json_object *to = json_object_new_object();

    add_text(to, "isbn", loan->isbn);
    add_text(to, "transaction_id", loan->transaction_id);
    add_ends(to, loan->expiration, false);
    add_common(to, loan);
    json_object_object_add(to, "can_renew", json_object_new_boolean(loan->can_renew));
    add_borrowed(to, "minutes", loan->minutes);
    if (loan->bookmarks)
        json_object_object_add(to, "positions", positions_of(loan->bookmarks));
    json_object_object_add(to, "files", files_of(loan));
    return to;
}

static json_object *hold_of(const struct oneclick_row *hold)
{
    json_object *to = json_object_new_object();

    add_text(to, "isbn", hold->isbn);
    add_text(to, "transaction_id", hold->transaction_id);
    add_common(to, hold);
    return to;
}

void oneclick_put_borrowed(struct text *to, const char *isbn, const struct oneclick_receipt *receipt, int64_t now, int days)
{
    json_object *loan = json_object_new_object();
    char expiration[11];

    add_text(loan, "isbn", isbn);
    add_text(loan, "transaction_id", receipt->transaction_id);
    oneclick_expires(now, days, expiration);
    if (receipt->expiration[0])
        add_ends(loan, receipt->expiration, false);
    else
        add_ends(loan, expiration, true);
    write_under(to, "loan", loan);
}

void oneclick_put_loan(struct text *to, const struct oneclick_row *loan)
{
    write_under(to, "loan", loan_of(loan));
}

void oneclick_put_hold(struct text *to, const struct oneclick_row *hold)
{
    write_under(to, "hold", hold_of(hold));
}

static void put_rows(struct text *to, const char *key, json_object *rows, json_object *(*as)(const struct oneclick_row *))
{
    json_object *list = json_object_new_array();
    struct oneclick_row row;

    for (size_t i = 0; i < reading_count(rows); i++)
        if (oneclick_row_read(reading_at(rows, i), &row))
            json_object_array_add(list, as(&row));
    write_under(to, key, list);
}

void oneclick_put_loans(struct text *to, json_object *rows)
{
    put_rows(to, "loans", rows, loan_of);
}

void oneclick_put_holds(struct text *to, json_object *rows)
{
    put_rows(to, "holds", rows, hold_of);
}

void oneclick_put_files(struct text *to, const struct oneclick_row *loan)
{
    write_under(to, "files", files_of(loan));
}

void oneclick_put_issues(struct text *to, json_object *rows)
{
    json_object *list = json_object_new_array();
    struct oneclick_issue issue;

    for (size_t i = 0; i < reading_count(rows); i++) {
        if (!oneclick_issue_read(reading_at(rows, i), &issue))
            continue;
        json_object *one = json_object_new_object();
        add_text(one, "issue", issue.issue_id);
        add_text(one, "magazine", issue.magazine_id);
        add_text(one, "title", issue.title);
        add_text(one, "publisher", issue.publisher);
        add_text(one, "borrowed", issue.borrowed_on);
        add_text(one, "published", issue.published_on);
        json_object_array_add(list, one);
    }
    write_under(to, "issues", list);
}

static void add_names(json_object *to, const char *key, json_object *tokens)
{
    json_object *names = json_object_new_array();
    char name[129];

    for (size_t i = 0; i < reading_count(tokens); i++) {
        reading_text(reading_at(tokens, i), "text", name, sizeof name);
        if (name[0])
            json_object_array_add(names, json_object_new_string(name));
    }
    json_object_object_add(to, key, names);
}

static json_object *item_of(const struct oneclick_item *item)
{
    json_object *to = json_object_new_object();

    add_text(to, "isbn", item->isbn);
    add_text(to, "title", item->title);
    add_names(to, "authors", item->authors);
    add_text(to, "series", item->series);
    add_text(to, "publisher", item->publisher);
    add_names(to, "genres", item->genres);
    add_text(to, "media_type", item->media_type);
    add_text(to, "audience", item->audience);
    add_text(to, "language", item->language);
    add_text(to, "released", item->released);
    add_text(to, "description", item->description);
    json_object_object_add(to, "owned", json_object_new_boolean(item->owned));
    return to;
}

static json_object *facets_of(json_object *filters)
{
    json_object *to = json_object_new_array();
    struct oneclick_facet facet;

    for (size_t i = 0; i < reading_count(filters); i++) {
        if (!oneclick_facet_read(reading_at(filters, i), &facet) || (!facet.count && !facet.selected))
            continue;
        json_object *one = json_object_new_object();
        add_text(one, "facet", facet.facet);
        add_text(one, "value", facet.value);
        json_object_object_add(one, "count", json_object_new_int64(facet.count));
        json_object_object_add(one, "selected", json_object_new_boolean(facet.selected));
        json_object_array_add(to, one);
    }
    return to;
}

void oneclick_put_result(struct text *to, const struct oneclick_result *result)
{
    json_object *out = json_object_new_object(), *items = json_object_new_array();
    struct oneclick_item item;

    for (size_t i = 0; i < reading_count(result->items) && i < ONECLICK_PAGE_MOST; i++)
        if (oneclick_item_read(reading_at(result->items, i), &item))
            json_object_array_add(items, item_of(&item));
    json_object_object_add(out, "page", json_object_new_int64(result->page));
    json_object_object_add(out, "pages", json_object_new_int64(result->pages));
    json_object_object_add(out, "page_size", json_object_new_int64(result->page_size));
    json_object_object_add(out, "total", json_object_new_int64(result->total));
    json_object_object_add(out, "items", items);
    json_object_object_add(out, "facets", facets_of(result->filters));
    write_out(to, out);
}

void oneclick_put_access(struct text *to, const char *isbn, const char *file, const struct oneclick_access *access,
                         int64_t until)
{
    json_object *out = json_object_new_object();
    char written[INSTANT_SIZE];

    instant_write(until, written);
    add_text(out, "isbn", isbn);
    add_text(out, "file", file);
    add_text(out, "type", access->type);
    add_text(out, "url", access->url);
    add_text(out, "until", written);
    write_out(to, out);
}

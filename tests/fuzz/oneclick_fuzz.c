/* Any bytes as an answer of OneClick's, or as an element of its lists. Bytes: call and kind of exchange, status, type, body. */
#include "common/vendors/oneclick.h"

#include "common/json.h"
#include "tests/fuzz/fuzz.h"

/* Trimmed, without control characters. */
static size_t want_text(const char *text)
{
    size_t len = strlen(text);

    for (const unsigned char *c = (const unsigned char *)text; *c; c++)
        want(*c >= ' ' && *c != 0x7F && !(*c == 0xC2 && c[1] < 0xA0));
    want(!len || (*text != ' ' && text[len - 1] != ' '));
    return len;
}

static void want_list(const struct oneclick_list *list, const char *separator)
{
    const char *at = list->at;

    for (size_t i = 0; i < list->count; i++) {
        size_t len = want_text(at);
        want(!separator || (len && !strpbrk(at, separator)));
        at += len + 1;
    }
}

static void want_title(const struct oneclick_title *t)
{
    const char *const texts[] = {t->title, t->series, t->publisher, t->description, t->audience, t->language, t->media_type};

    want(strspn(t->isbn, "0123456789") == 13 && t->memory);
    for (size_t i = 0; i < COUNT(texts); i++)
        want_text(texts[i]);
    want_list(&t->authors, ";");
    want_list(&t->narrators, ";");
    want_list(&t->genres, ";");
    want_list(&t->primary_genres, ",");
    want_list(&t->images, NULL);
    want(t->images.count % 2 == 0 && (!t->title_prefix || t->title_prefix < strlen(t->title)));
    want(t->title_id >= 0 && t->series_position >= 0 && t->series_total >= 0);
    want(*t->series || (!t->series_position && !t->series_total));
    want(!*t->publication_date || strlen(t->publication_date) == 10);
}

static void try_element(const char *bytes, size_t len)
{
    json_object *element;
    struct oneclick_availability availability;
    struct oneclick_title title;
    char isbn[VALUES_ISBN_SIZE];

    if (json_read(bytes, len, &element).kind)
        return;
    bool has_isbn = !oneclick_isbn(element, isbn).kind;
    want(has_isbn == !oneclick_title_read(element, &title).kind);
    if (has_isbn)
        want_title(&title);
    else
        want(!title.memory && !title.isbn[0]);
    oneclick_title_free(&title);
    if (!oneclick_availability_read(element, &availability).kind)
        want(has_isbn && !strcmp(availability.isbn, isbn) &&
             (!*availability.at || strchr(availability.at, '\0')[-1] == 'Z'));
    json_object_put(element);
}

static void want_dates(const struct oneclick_dates *dates)
{
    int64_t begin, end;
    char date[11];

    for (size_t i = 0; i < dates->count; i++) {
        want(!i || dates->days[i - 1] < dates->days[i]);
        oneclick_date(dates->days[i], date);
        want(oneclick_day(date) == dates->days[i]);
    }
    if (oneclick_align(dates, 17000, 18000, &begin, &end))
        want(begin < end && begin >= dates->days[0] && end <= dates->days[dates->count - 1]);
    else
        want(dates->count < 2 || dates->days[0] >= 18000 || dates->days[dates->count - 1] <= 17000);
}

static struct answer answer_of(uint8_t call, const struct http_response *res)
{
    struct oneclick_title title;
    struct oneclick_dates dates;
    struct answer a;

    if (call % 4 == 0) {
        a = oneclick_title_answer(res, "9781615730186", &title);
        want((title.memory != NULL) == !strcmp(a.code, "found"));
        if (title.memory)
            want_title(&title);
        oneclick_title_free(&title);
    } else if (call % 4 == 1) {
        a = oneclick_dates_answer(res, &dates);
        want((dates.days != NULL) == (a.verdict == DONE));
        want_dates(&dates);
        oneclick_dates_free(&dates);
    } else {
        a = oneclick_list_answer(res, call % 4 == 2);
        want(a.verdict != DONE || (call % 4 == 2 && res->status / 100 == 2));
    }
    want(a.verdict == LATER || a.verdict == DONE);
    return a;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const int statuses[] = {200, 201, 204, 302, 400, 401, 403, 404, 409, 429, 500, 502, 503, 504};
    static const char *const types[] = {"", "application/json", "text/html", "text/plain"};

    struct http_response res;
    char *body = fuzz_exchange(data, size, statuses, types, &res);
    if (!body)
        return 0;

    try_element(body, size - 3);
    struct answer a = answer_of(data[0], &res);
    want(a.code && *a.code && a.wait_ms >= -1 && a.cause <= CAUSE_CREDENTIALS);
    /* a vendor's words are masked, and no reason is cut off within a character */
    want_discreet(a.reason, sizeof a.reason, 100);
    free(body);
    return 0;
}

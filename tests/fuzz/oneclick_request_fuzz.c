/* Any JSON as what is asked of OneClick, and as lists of OneClick's that become outcomes. Bytes: the action, JSON. */
#include "common/oneclick_request.h"

#include "common/json.h"
#include "tests/fuzz/fuzz.h"

static void want_asked(const char *action, json_object *in)
{
    struct request request = {.asked = in};
    struct oneclick_asked asked;

    text_copy(request.action, sizeof request.action, action);
    struct fault f = oneclick_asked_read(&request, &asked);
    want(!f.kind || f.kind == FAULT_REJECT);
    if (f.kind)
        return;
    want(asked.days >= 0 && asked.days <= ONECLICK_DAYS_MOST && asked.query.page_size <= ONECLICK_PAGE_MOST);
    want(!asked.isbn[0] || strlen(asked.isbn) == VALUES_ISBN_SIZE - 1);
    want(!asked.email[0] || strchr(asked.email + 1, '@'));
    want(!asked.issue[strcspn(asked.issue, "/ \n")]);
}

/* As PostgreSQL takes it: JSON, and no zero character. */
static void want_outcome(struct text *out)
{
    json_object *again = NULL;

    want(!out->failed && !json_read(text_str(out), out->len, &again).kind && json_object_is_type(again, json_type_object));
    for (const char *c = text_str(out); (c = strchr(c, '\\')); c += 2) /* an escape, and the character that it is of */
        want(strncmp(c, "\\u0000", strlen("\\u0000")) != 0);
    json_object_put(again);
    text_clear(out);
}

static void want_outcomes(json_object *in)
{
    struct oneclick_result result = {.items = json_get(in, "items"), .filters = json_get(in, "filters")};
    struct oneclick_row row;
    struct text out = {0};

    oneclick_put_loans(&out, in);
    want_outcome(&out);
    oneclick_put_holds(&out, in);
    want_outcome(&out);
    oneclick_put_issues(&out, in);
    want_outcome(&out);
    oneclick_put_result(&out, &result);
    want_outcome(&out);
    if (oneclick_row_read(in, &row)) {
        oneclick_put_loan(&out, &row);
        want_outcome(&out);
        oneclick_put_files(&out, &row);
        want_outcome(&out);
    }
    text_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const actions[] = {"checkout", "renew", "hold", "search", "magazine_return", "download", "loans", "x"};
    SCOPED(json_object_put) json_object *in = NULL;

    if (size < 2 || json_read((const char *)data + 1, size - 1, &in).kind)
        return 0;
    if (json_object_is_type(in, json_type_object))
        want_asked(actions[data[0] % COUNT(actions)], in);
    want_outcomes(in);
    return 0;
}

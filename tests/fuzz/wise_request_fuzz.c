/* Any `asked` and `known` of a row: what is read holds what the header says, and what is learned from it can be read again. */
#include "common/wise_request.h"

#include "common/json.h"
#include "tests/fuzz/fuzz.h"

static struct wise_holds holds; /* too large for a stack */
static struct text text;

/* What was written is JSON. */
static json_object *written(void)
{
    json_object *value = NULL;

    want(!text.failed && !json_read(text_str(&text), text.len, &value).kind);
    text_clear(&text);
    return value;
}

static void want_titles(const struct wise_titles *titles)
{
    want(titles->count && titles->count <= WISE_TITLES_MAX);
    for (size_t i = 0; i < titles->count; i++)
        want(wise_id(titles->at[i]));
}

static void some_holds(const struct wise_prepared *prepared)
{
    memset(&holds, 0, sizeof holds);
    for (holds.count = 0; holds.count < prepared->titles.count; holds.count++) {
        struct wise_hold *h = &holds.at[holds.count];
        text_copy(h->title_id, sizeof h->title_id, prepared->titles.at[holds.count]);
        text_copy(h->id, sizeof h->id, holds.count ? "617985" : "617984");
    }
}

static void place(json_object *known, const struct wise_prepared *prepared)
{
    struct wise_placing_known placing;

    if (!wise_placing_read(known, prepared, &placing))
        return;
    some_holds(prepared);
    wise_only_new(&holds, known);
    want(holds.count <= prepared->titles.count);
    wise_put_placed(&text, &holds, prepared, placing.since, true);
    json_object_put(written());
    if (!json_object_is_type(json_get(known, "placing"), json_type_object))
        return;
    wise_learn_again(&text, known, &prepared->titles);
    json_object *again = written();
    want(wise_placing_read(again, prepared, &placing) && placing.again > 0 && placing.left.count == prepared->titles.count);
    json_object_put(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const actions[] = {"hold", "holds", "list", "cancel_hold", "renew"};
    struct request request = {.patron = "4be868c83ea2f8c03b3e052bb35cf0ff"};
    struct wise_prepared prepared;
    struct wise_asked asked;
    json_object *row = NULL;

    if (!size || json_read((const char *)data + 1, size - 1, &row).kind)
        return 0;
    text_copy(request.action, sizeof request.action, actions[*data % 5]);
    request.asked = json_object_get(json_get(row, "asked"));
    request.known = json_object_get(json_get(row, "known"));
    struct fault f = wise_asked_read(&request, &asked);
    if (!f.kind) {
        bool places = asked.action == WISE_HOLD || asked.action == WISE_HOLDS;
        want(wise_id(asked.library) && (asked.action != WISE_CANCEL_HOLD || wise_id(asked.hold)));
        want(!asked.due[0] || strlen(asked.due) == WISE_DATE_SIZE - 1);
        want(asked.terms.cost_max >= -1 && asked.terms.cost_max <= WISE_COST_MOST);
        if (places) {
            want_titles(&asked.titles);
            if (wise_prepared_read(request.known, &asked, &prepared))
                place(request.known, &prepared);
        }
    }
    text_clear(&text);
    json_object_put(row);
    request_release(&request);
    return 0;
}

/* Any `asked` and `known` of a row: what is read holds what the header says, and what is learned from it can be read again. */
#include "common/folio_request.h"

#include "common/json.h"
#include "tests/fuzz/fuzz.h"

static struct text text;

/* What was written is JSON. */
static json_object *written(void)
{
    json_object *value = NULL;

    want(!text.failed && !json_read(text_str(&text), text.len, &value).kind);
    text_clear(&text);
    return value;
}

static void hold(const struct folio_asked *asked, const struct folio_known *known)
{
    const struct folio_door door = {0};
    const struct folio_wish wish = {.item_id = asked->item, .pickup_id = asked->pickup};
    struct folio_hold holds[3] = {{.id = "1", .requested = 1795694400}, {.id = "2"}, {.id = "3", .state = FOLIO_HOLD_CLOSED}};
    struct folio_account account = {.holds = holds, .hold_count = 3};
    struct folio_known again;

    for (size_t i = 0; i < account.hold_count; i++)
        text_copy(holds[i].item.item_id, sizeof holds[i].item.item_id, asked->item);
    folio_learn_holds(&text, 1795694400, &account, &door, &wish);
    json_object *learned = written();
    folio_known_read(learned, &again);
    want(again.begun && !again.complete && json_object_array_length(again.holds) == 2);
    json_object_put(learned);
    folio_only_new(&account, known);
    want(account.hold_count <= 3);
    want(folio_put_held(&text, known->told ? json_get(known->told, "hold") : NULL, &account, &door, &wish) <= 2);
    json_object_put(written());
}

static void cancel(const struct folio_known *known)
{
    folio_put_cancelled(&text, known->hold);
    json_object_put(written());
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const actions[] = {"account", "renew", "hold_item", "hold_instance", "cancel_hold", "hold"};
    struct request request = {.patron = "1ec54964-70f0-44cc-bd19-2a892ea0d336"};
    struct folio_asked asked;
    struct folio_known known, again;
    json_object *row = NULL;

    if (!size || json_read((const char *)data + 1, size - 1, &row).kind)
        return 0;
    text_copy(request.action, sizeof request.action, actions[*data % 6]);
    request.asked = json_object_get(json_get(row, "asked"));
    request.known = json_object_get(json_get(row, "known"));
    folio_known_read(request.known, &known);
    want(known.told_code && known.told_words);
    if (!folio_asked_read(&request, false, &asked).kind) {
        want(!asked.item[0] || folio_uuid(asked.item));
        want(asked.action != FOLIO_CANCEL_HOLD || text_is_id(asked.hold));
        if (asked.action == FOLIO_HOLD_ITEM)
            hold(&asked, &known);
        if (asked.action == FOLIO_CANCEL_HOLD)
            cancel(&known);
    }
    known.again = known.again < 0 || known.again > 1000 ? 0 : known.again;
    folio_learn_again(&text, &known);
    json_object *learned = written();
    folio_known_read(learned, &again);
    want(again.again == known.again + 1);
    json_object_put(learned);
    json_object_put(row);
    request_release(&request);
    return 0;
}

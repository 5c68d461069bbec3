/*
 * Requests as callers send them. Whatever comes, it is refused in words or it is one that the tables know; then what is stored
 * of it is JSON that PostgreSQL takes, without what stands in columns.
 */
#include "producers/patron-requests/forms.c"

#include "tests/fuzz/fuzz.h"

static void check_asked(json_object *request)
{
    SCOPED(json_object_put) json_object *again = NULL;
    struct text asked = {0};

    form_asked(request, &asked);
    want(!asked.failed && !json_read(text_str(&asked), asked.len, &again).kind);
    want(json_object_is_type(again, json_type_object));
    for (size_t i = 0; i < COUNT(columns); i++)
        want(!json_get(again, columns[i]));
    text_free(&asked);
}

static void check_wish(const struct wish *w)
{
    want(w->service && w->action && w->ref && w->patron && forms_topics[w->topic]);
    want(*w->ref && strlen(w->ref) <= REF_MOST && *w->patron && strlen(w->patron) <= 128);
    want(!w->callback || strlen(w->callback) <= CALLBACK_MOST);
    want(!strcmp(w->service, forms_services[w->topic]));
}

static void check_one(json_object *request, const struct oddities *odd, int item)
{
    struct mistakes mistakes = {0};
    SCOPED(json_object_put) json_object *list = NULL;
    struct text whole = {0};
    struct wish wish;

    form_check(request, item ? "/1" : "", 1791777600, &mistakes, &wish);
    text_printf(&whole, "[%s]", text_str(&mistakes.json));
    want(whole.failed || !json_read(text_str(&whole), whole.len, &list).kind);
    if (!mistakes.count && !odd->zero[item] && !odd->twice[item]) {
        check_wish(&wish);
        check_asked(request);
    }
    text_free(&mistakes.json);
    text_free(&whole);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    SCOPED(json_object_put) json_object *in = NULL;
    char *bytes = fuzz_text(data, size);
    struct oddities odd;

    if (!forms_room(bytes, size).kind && !json_read(bytes, size, &in).kind) {
        bool array = json_object_is_type(in, json_type_array);
        size_t count = array ? json_object_array_length(in) : 1;
        forms_oddities(bytes, in, &odd);
        for (size_t i = 0; i < count && i < 2; i++)
            check_one(array ? json_object_array_get_idx(in, i) : in, &odd, (int)i);
    }
    free(bytes);
    return 0;
}

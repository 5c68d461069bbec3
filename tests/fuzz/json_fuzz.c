/* Whatever json_read accepts, it accepts again once written, and the getters survive. */
#include "common/json.h"

#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    json_object *value, *again = NULL;
    char text[32];
    int64_t n;

    if (json_read((const char *)data, size, &value).kind)
        return 0;
    json_text(value, "text", text, sizeof text);
    json_text_opt(value, "text", text, sizeof text);
    json_int(value, "int", -1, INT64_MAX, &n);
    json_instant(value, "at", &n);

    size_t len;
    const char *written = json_object_to_json_string_length(value, JSON_C_TO_STRING_PLAIN, &len);
    want(written && !json_read(written, len, &again).kind);
    json_object_put(again);
    json_object_put(value);
    return 0;
}

/* Whatever catalog_read accepts comes back the same once written, the record with it. */
#include "common/catalog.h"

#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct text written;
    struct catalog_change change, back;
    json_object *record, *record_back = NULL;
    const char *bytes = "";
    size_t len = 0;

    if (catalog_read((const char *)data, size, &change, &record).kind) {
        want(!record);
        return 0;
    }
    want(strlen(change.isbn) == 13 && strchr(change.as_of, '\0')[-1] == 'Z');
    want(!record || change.kind == CATALOG_ADDED || change.kind == CATALOG_REMOVED);
    want(!change.available || change.kind == CATALOG_AVAILABILITY);
    if (record)
        bytes = json_object_to_json_string_length(record, JSON_C_TO_STRING_PLAIN, &len);
    text_clear(&written);
    catalog_write(&written, &change, bytes, len);
    want(!written.failed && !catalog_read(written.at, written.len, &back, &record_back).kind);
    want(!strcmp(change.isbn, back.isbn) && !strcmp(change.as_of, back.as_of) && change.kind == back.kind &&
         change.available == back.available && !record == !record_back &&
         (!record || json_object_equal(record, record_back)));
    json_object_put(record);
    json_object_put(record_back);
    return 0;
}

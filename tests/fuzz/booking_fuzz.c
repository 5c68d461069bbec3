/* Whatever booking_read accepts comes back the same once written. The first byte: is primary_id asked for? */
#include "common/booking.h"

#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct text written;
    struct booking b, back;

    if (!size)
        return 0;
    if (booking_read((const char *)data + 1, size - 1, data[0] & 1, &b).kind)
        return 0;
    want(b.start < b.end && *b.source && *b.booking_id && *b.asked_id && *b.destination && !*b.primary_id == !(data[0] & 1));
    text_clear(&written);
    booking_write(&written, &b);
    want(!booking_read(written.at, written.len, data[0] & 1, &back).kind && b.start == back.start && b.end == back.end);
    want(!strcmp(b.source, back.source) && !strcmp(b.booking_id, back.booking_id) && !strcmp(b.appt_id, back.appt_id) &&
         !strcmp(b.asked_id, back.asked_id) && !strcmp(b.primary_id, back.primary_id) &&
         !strcmp(b.destination, back.destination));
    return 0;
}

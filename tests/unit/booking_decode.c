/*
 * booking_decode - the decoder's verdict on values given line by line: "ok", or what is wrong.
 * Usage: booking_decode [--primary-id] < values
 */
#include "common/booking.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

int main(int argc, char **argv)
{
    bool with_primary_id = argc > 1 && !strcmp(argv[1], "--primary-id");
    char *line = NULL;
    size_t room = 0;
    ssize_t len;

    while ((len = getline(&line, &room, stdin)) > 0) {
        struct booking b;
        struct fault f = booking_read(line, (size_t)len - (line[len - 1] == '\n'), with_primary_id, &b);

        puts(f.kind ? f.what : "ok");
    }
    free(line);
    return 0;
}

/*
 * message_decode - a topic's decoder's verdict on values given line by line: "ok", or what is wrong. Besides topics: request, as
 * callers send it; request.folio, request.wise, request.oneclick, what is asked of them, an action and its members.
 * Usage: message_decode TOPIC < values
 */
#include "common/booking.h"
#include "common/catalog.h"
#include "common/folio_request.h"
#include "common/json.h"
#include "common/oneclick_request.h"
#include "common/wise_request.h"
#include "producers/patron-requests/forms.c"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <time.h>

static struct fault of_catalog(const char *value, size_t len)
{
    struct catalog_change change;
    json_object *record;
    struct fault f = catalog_read(value, len, &change, &record);

    json_object_put(record);
    return f;
}

static struct fault of_bookings_new(const char *value, size_t len)
{
    return booking_read(value, len, false, &(struct booking){0});
}

static struct fault of_later_bookings(const char *value, size_t len)
{
    return booking_read(value, len, true, &(struct booking){0});
}

static struct fault of_folio(const char *value, size_t len)
{
    return request_read(value, len, "folio", &(struct request){0});
}

static struct fault of_wise(const char *value, size_t len)
{
    return request_read(value, len, "wise", &(struct request){0});
}

static struct fault of_oneclick(const char *value, size_t len)
{
    return request_read(value, len, "oneclick", &(struct request){0});
}

/* The action and its members, as they stand in a row. */
static struct fault read_asked(const char *value, size_t len, const char *patron, struct request *ret)
{
    *ret = (struct request){0};
    text_copy(ret->patron, sizeof ret->patron, patron);
    TRY(json_read(value, len, &ret->asked));
    return json_text_opt(ret->asked, "action", ret->action, sizeof ret->action);
}

static struct fault of_folio_asked(const char *value, size_t len)
{
    struct request request;
    struct folio_asked asked;
    struct fault f = read_asked(value, len, "1ec54964-70f0-44cc-bd19-2a892ea0d336", &request);

    if (!f.kind)
        f = folio_asked_read(&request, false, &asked);
    request_release(&request);
    return f;
}

static struct fault of_wise_asked(const char *value, size_t len)
{
    struct request request;
    struct wise_asked asked;
    struct fault f = read_asked(value, len, "4be868c83ea2f8c03b3e052bb35cf0ff", &request);

    if (!f.kind)
        f = wise_asked_read(&request, &asked);
    request_release(&request);
    return f;
}

static struct fault of_oneclick_asked(const char *value, size_t len)
{
    struct request request;
    struct oneclick_asked asked;
    struct fault f = read_asked(value, len, "23333000123456", &request);

    if (!f.kind)
        f = oneclick_asked_read(&request, &asked);
    request_release(&request);
    return f;
}

/* A request as callers send it: the first of its mistakes, as JSON. */
static struct fault of_request(const char *value, size_t len)
{
    SCOPED(json_object_put) json_object *in = NULL;
    struct mistakes mistakes = {0};
    struct oddities odd;
    struct wish wish;

    TRY(json_read(value, len, &in));
    forms_oddities(value, in, &odd);
    form_check(in, "", time(NULL), &mistakes, &wish);
    if (odd.twice[0] || odd.zero[0])
        mistake(&mistakes, "", odd.zero[0] ? "holds a zero character" : "a member is given twice");
    struct fault f = mistakes.count ? FAULT(REJECT, "%.200s", text_str(&mistakes.json)) : FAULT_OK;
    text_free(&mistakes.json);
    return f;
}

static const struct {
    const char *topic;
    struct fault (*decode)(const char *value, size_t len);
} decoders[] = {
    {"bookings.new", of_bookings_new},
    {"users.resolve", of_later_bookings},
    {"prereg.create", of_later_bookings},
    {"catalog.delta", of_catalog},
    {"request", of_request},
    {"folio.requests", of_folio},
    {"wise.holds.prepare", of_wise},
    {"wise.holds.place", of_wise},
    {"oneclick.requests", of_oneclick},
    {"request.folio", of_folio_asked},
    {"request.wise", of_wise_asked},
    {"request.oneclick", of_oneclick_asked},
};

int main(int argc, char **argv)
{
    size_t count = sizeof decoders / sizeof decoders[0], of = 0, room = 0;
    char *line = NULL;
    ssize_t len;

    while (argc == 2 && of < count && strcmp(argv[1], decoders[of].topic))
        of++;
    if (argc != 2 || of == count) {
        fputs("usage: message_decode TOPIC < values\n", stderr);
        return 100;
    }
    while ((len = getline(&line, &room, stdin)) > 0) {
        struct fault f = decoders[of].decode(line, (size_t)len - (line[len - 1] == '\n'));

        puts(f.kind ? f.what : "ok");
    }
    free(line);
    return 0;
}

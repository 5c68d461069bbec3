#include "ops/monitor/programs.h"

#include "common/log.h"
#include "common/loop.h"
#include "common/scoped.h"
#include "ops/monitor/exposition.h"

#include <math.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

enum { TARGETS_MAX = 48, TIMEOUT_MS = 2000 };

struct target { /* as the setting has it */
    char host[200], port[8];
};

struct asked { /* one address */
    struct programs *p;
    struct instance instance;
    char root[120];
    int target;
    bool answered;
    int left; /* exchanges under way */
};

struct programs {
    struct loop *loop;
    struct http *http;
    struct target targets[TARGETS_MAX];
    int target_count, left;
    struct asked asked[INSTANCES_MAX];
    int asked_count;
    struct picture *picture;
    struct http_request request;
};

static struct fault read_target(const char *item, struct target *ret)
{
    const char *colon = strrchr(item, ':');
    char *end;
    long port = colon ? strtol(colon + 1, &end, 10) : 0;

    if (!colon || colon == item || *end || port < 1 || port > 65535 || (size_t)(colon - item) >= sizeof ret->host)
        return FAULT(MISUSE, "MONITOR_PROGRAMS: \"%s\" is none of host:port,host:port", item);
    bool bracketed = *item == '[' && colon[-1] == ']';
    snprintf(ret->host, sizeof ret->host, "%.*s", (int)(colon - item) - (bracketed ? 2 : 0), item + bracketed);
    snprintf(ret->port, sizeof ret->port, "%ld", port);
    return FAULT_OK;
}

struct fault programs_open(struct programs **ret, struct loop *loop, const struct setting_list *list)
{
    struct programs *p = calloc(1, sizeof *p);
    struct fault f = list->count > TARGETS_MAX ? FAULT(MISUSE, "MONITOR_PROGRAMS: at most %d", TARGETS_MAX) : FAULT_OK;

    for (int i = 0; !f.kind && i < list->count; i++)
        f = read_target(list->items[i], &p->targets[p->target_count++]);
    if (!f.kind)
        f = http_open(&p->http, loop, 16, NULL);
    if (f.kind) {
        free(p); /* http_open has let go of its own */
        return f;
    }
    p->loop = loop;
    *ret = p;
    return FAULT_OK;
}

void programs_close(struct programs *p)
{
    if (!p)
        return;
    http_close(p->http);
    http_request_free(&p->request);
    free(p);
}

/* ---- what they say ---- */

static struct answers *answers_of(struct picture *picture, const struct series *s)
{
    struct answers it = {0};

    series_label(s, "vendor", it.vendor, sizeof it.vendor);
    series_label(s, "call", it.call, sizeof it.call);
    series_label(s, "code", it.code, sizeof it.code);
    for (int i = 0; i < picture->answer_count; i++) {
        struct answers *a = &picture->answers[i];
        if (!strcmp(a->vendor, it.vendor) && !strcmp(a->call, it.call) && !strcmp(a->code, it.code))
            return a;
    }
    if (picture->answer_count == ANSWERS_MAX)
        return NULL;
    it.total = -1;
    picture->answers[picture->answer_count] = it;
    return &picture->answers[picture->answer_count++];
}

void programs_read(const char *bytes, size_t len, struct instance *ret, struct picture *picture)
{
    static const struct {
        const char *name;
        size_t at;
    } gauges[] = {
        {"shelfwire_in_hand", offsetof(struct instance, in_hand)},
        {"shelfwire_calls_in_flight", offsetof(struct instance, in_flight)},
        {"shelfwire_parked", offsetof(struct instance, parked)},
        {"shelfwire_oldest_message_seconds", offsetof(struct instance, oldest_s)},
        {"shelfwire_vendor_pause_seconds", offsetof(struct instance, pause_s)},
        {"shelfwire_last_good_poll_timestamp_seconds", offsetof(struct instance, last_poll_at)},
    };
    struct exposition from = exposition_of(bytes, len);
    struct series s;

    ret->calls_left = -1;
    while (exposition_next(&from, &s)) {
        for (size_t i = 0; i < COUNT(gauges); i++)
            if (!strcmp(s.name, gauges[i].name))
                memcpy((char *)ret + gauges[i].at, &s.value, sizeof s.value);
        if (!strcmp(s.name, "shelfwire_build_info"))
            series_label(&s, "program", ret->program, sizeof ret->program);
        else if (!strcmp(s.name, "shelfwire_paused"))
            ret->paused |= s.value > 0;
        else if (!strcmp(s.name, "shelfwire_vendor_calls_left")) /* of the key that has the fewest */
            ret->calls_left = ret->calls_left < 0 || s.value < ret->calls_left ? s.value : ret->calls_left;
        else if (!strcmp(s.name, "shelfwire_vendor_credentials_refused") && s.value > 0)
            series_label(&s, "vendor", ret->refused_by, sizeof ret->refused_by);
        else if (!strcmp(s.name, "shelfwire_vendor_calls_total") && isfinite(s.value)) {
            struct answers *a = answers_of(picture, &s);
            if (a)
                a->heard += s.value;
        }
    }
}

static void on_metrics(void *of, const struct http_response *res)
{
    struct asked *a = of;

    a->left--;
    a->p->left--;
    if (res->end != HTTP_ANSWERED || res->status != 200)
        return;
    a->answered = true;
    programs_read(res->body, res->body_len, &a->instance, a->p->picture);
}

static void on_ready(void *of, const struct http_response *res)
{
    struct asked *a = of;

    a->left--;
    a->p->left--;
    if (res->end != HTTP_ANSWERED)
        return;
    a->instance.ready = res->status == 200;
    size_t len = strcspn(res->body, "\n");
    if (strncmp(res->body, "ok", 2) != 0)
        snprintf(a->instance.waits_for, sizeof a->instance.waits_for, "%.*s", (int)(len < 199 ? len : 199), res->body);
}

/* ---- asking ---- */

static void ask(struct asked *a, const char *path, http_done *done)
{
    http_request_reset(&a->p->request, "GET", path);
    if (http_send(a->p->http, a->root, &a->p->request, TIMEOUT_MS, done, a)) {
        a->left++;
        a->p->left++;
    }
}

static void ask_target(struct programs *p, int target)
{
    const struct target *t = &p->targets[target];
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_family = AF_UNSPEC}, *found = NULL;

    if (getaddrinfo(t->host, t->port, &hints, &found))
        return;
    for (struct addrinfo *it = found; it && p->asked_count < INSTANCES_MAX; it = it->ai_next) {
        struct asked *a = &p->asked[p->asked_count];
        char host[100];
        if (getnameinfo(it->ai_addr, it->ai_addrlen, host, sizeof host, NULL, 0, NI_NUMERICHOST))
            continue;
        *a = (struct asked){.p = p, .target = target};
        char address[64];
        snprintf(address, sizeof address, it->ai_family == AF_INET6 ? "[%.48s]:%s" : "%.48s:%s", host, t->port);
        text_copy(a->instance.address, sizeof a->instance.address, address);
        snprintf(a->root, sizeof a->root, "http://%s", address);
        bool again = false; /* localhost may be there twice */
        for (int i = 0; i < p->asked_count; i++)
            again |= !strcmp(p->asked[i].root, a->root);
        if (!again)
            p->asked_count++;
    }
    freeaddrinfo(found);
}

/* What all say together becomes what came in this minute. A program that started anew counts from nothing: then a total has fallen. */
static void count_answers(struct picture *picture, int minute)
{
    for (int i = 0; i < picture->answer_count; i++) {
        struct answers *a = &picture->answers[i];
        while (a->minute != minute) {
            a->minute = (a->minute + 1) % 60;
            a->hour[a->minute] = 0;
        }
        if (a->total >= 0 && a->heard > a->total)
            a->hour[minute] += a->heard - a->total;
        a->total = a->heard;
        a->heard = 0;
    }
}

static void note_missing(const struct programs *p, struct picture *picture)
{
    size_t len = 0;

    picture->missing[0] = '\0';
    for (int t = 0; t < p->target_count; t++) {
        bool there = false;
        for (int i = 0; i < p->asked_count; i++)
            there |= p->asked[i].target == t && p->asked[i].answered;
        if (!there && len < sizeof picture->missing)
            len += (size_t)snprintf(picture->missing + len, sizeof picture->missing - len, "%s%s:%s", len ? ", " : "", p->targets[t].host,
                                    p->targets[t].port);
    }
}

static void take_stage(struct stage_picture *s, const struct instance *it)
{
    bool vendor_waits = it->pause_s > 0.5 || strstr(it->waits_for, "unwell") || strstr(it->waits_for, "no calls for") ||
                        strstr(it->waits_for, "not logged in") || it->paused;

    s->workers++;
    s->in_flight += it->in_flight;
    s->in_hand += it->in_hand;
    s->held |= vendor_waits || (!it->ready && *it->waits_for);
    if (*it->waits_for && !*s->waits_for)
        memcpy(s->waits_for, it->waits_for, sizeof s->waits_for);
}

void programs_ask(struct programs *p, struct picture *picture)
{
    p->picture = picture;
    p->asked_count = p->left = 0;
    for (int i = 0; i < p->target_count; i++)
        ask_target(p, i);
    for (int i = 0; i < p->asked_count; i++) {
        ask(&p->asked[i], "/metrics", on_metrics);
        ask(&p->asked[i], "/readyz", on_ready);
    }
    while (p->left)
        loop_turn(p->loop, TIMEOUT_MS);
    note_missing(p, picture);
    count_answers(picture, (int)(time(NULL) / 60 % 60));
    picture->instance_count = 0;
    for (int i = 0; i < STAGES_MAX; i++) {
        struct stage_picture *s = &picture->stages[i];
        s->workers = 0;
        s->in_flight = s->in_hand = 0;
        s->held = false;
        s->waits_for[0] = '\0';
    }
    for (int i = 0; i < p->asked_count; i++) {
        const struct instance *it = &p->asked[i].instance;
        int stage = chain_stage_of(it->program);
        if (!p->asked[i].answered)
            continue;
        picture->instances[picture->instance_count++] = *it;
        if (stage >= 0)
            take_stage(&picture->stages[stage], it);
    }
}

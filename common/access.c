#include "common/access.h"

#include "common/log.h"
#include "common/metrics.h"
#include "common/scoped.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { DAY_PAUSE_US = 900 * 1000000, CREDENTIALS_PAUSE_US = 30 * 1000000, LOGIN_PAUSE_MAX_US = 60 * 1000000 };
enum {
    LEASE_US = 200000, /* a lease's slots take that long */
    AHEAD_US = 100000, /* the next lease is asked for so long before the last slot, for it takes its time too */
    CLOCK_US = 10000000,
};

/* FNV-1a, 64 bit: enough to tell accounts apart in a table without keeping their keys there. */
static void hash_key(const char *key, char ret[17])
{
    uint64_t h = 14695981039346656037u;

    for (; *key; key++)
        h = (h ^ (unsigned char)*key) * 1099511628211u;
    snprintf(ret, 17, "%016llx", (unsigned long long)h);
}

static void on_timer(void *of, uint32_t events)
{
    struct access *a = of;

    (void)events;
    a->changed(a->of);
}

static void wake_at(struct access *a, int64_t at_us)
{
    if (!a->timer.place || at_us < a->timer.at_us)
        loop_timer_set(a->loop, &a->timer, at_us);
}

static void forget_clock(struct access *a)
{
    for (size_t i = 0; i < COUNT(a->clocks); i++)
        a->clocks[i] = (struct access_clock){loop_now(a->loop), INT64_MIN, INT64_MAX};
}

static struct access_account new_account(const struct vendor *vendor, int place)
{
    struct access_account account = {.calls_left = -1};

    hash_key(vendor->account_key ? vendor->account_key(place) : vendor->root(), account.hash);
    /* 2 % apart from the even spacing: room for ACCESS_LATE_US and the way to PostgreSQL, so that no second sees more */
    if (vendor->calls_per_second && *vendor->calls_per_second > 0)
        account.spacing_us = (int64_t)(1020000.0 / *vendor->calls_per_second);
    return account;
}

struct fault access_open(struct access *a, const struct vendor *vendor, struct loop *loop, struct http *http,
                         int concurrency, bool blind, void (*changed)(void *of), void *of)
{
    *a = (struct access){.vendor = vendor, .loop = loop, .http = http, .changed = changed, .of = of, .timeout_ms = 15000,
                         .day_pause_us = DAY_PAUSE_US};
    forget_clock(a);
    a->timer = (struct loop_timer){.call = on_timer, .of = a};
    health_begin(&a->health, concurrency, blind && vendor->login_request, 500000, 30000000,
                 (uint32_t)getpid() * 2654435761u ^ (uint32_t)loop_now(loop));
    a->account_count = vendor->account_count ? vendor->account_count() : 1;
    if (a->account_count > ACCESS_ACCOUNTS_MAX)
        return FAULT(FATAL, "%s: %d accounts, at most %d", vendor->name, a->account_count, ACCESS_ACCOUNTS_MAX);
    for (int i = 0; i < a->account_count; i++)
        a->accounts[i] = new_account(vendor, i);
    a->next_serial = 1;
    return FAULT_OK;
}

void access_renewed(struct access *a)
{
    int64_t now = loop_now(a->loop);
    int count = a->vendor->account_count ? a->vendor->account_count() : 1;

    a->account_count = count < ACCESS_ACCOUNTS_MAX ? count : ACCESS_ACCOUNTS_MAX;
    for (int i = 0; i < a->account_count; i++) {
        struct access_account *q = &a->accounts[i], fresh = new_account(a->vendor, i);
        fresh.leasing = q->leasing; /* under the old key; its slots are used, or lost */
        if (strcmp(q->hash, fresh.hash) != 0)
            *q = fresh;
        else if (q->paused_for_key)
            q->paused_until_us = now;
    }
    if (*a->login_trouble)
        a->login_at_us = now;
    a->login_pause_us = 0;
    a->changed(a->of);
}

void access_close(struct access *a)
{
    if (!a->loop)
        return;
    loop_timer_stop(a->loop, &a->timer);
    http_request_free(&a->login);
    memset(a->token, 0, sizeof a->token);
}

/* ---- log-in ---- */

static void login_failed(struct access *a, const struct answer *answer)
{
    if (strcmp(a->login_trouble, answer->reason) != 0)
        log_about(answer->cause == CAUSE_CREDENTIALS ? LOG_ERROR : LOG_WARN, a->vendor->name, "log-in: %s; trying again",
                  answer->reason);
    snprintf(a->login_trouble, sizeof a->login_trouble, "%s", answer->reason);
    a->login_refused |= answer->cause == CAUSE_CREDENTIALS;
    if (answer->cause == CAUSE_CREDENTIALS && settings_reread_now()) {
        access_renewed(a);
        return;
    }
    a->login_pause_us = a->login_pause_us ? a->login_pause_us * 2 : 500000;
    if (a->login_pause_us > LOGIN_PAUSE_MAX_US)
        a->login_pause_us = LOGIN_PAUSE_MAX_US;
    int64_t pause = answer->wait_ms * 1000 > a->login_pause_us ? answer->wait_ms * 1000 : a->login_pause_us;
    a->login_at_us = loop_now(a->loop) + pause;
    wake_at(a, a->login_at_us);
}

static void log_in(struct access *a);

static void on_login(void *of, const struct http_response *res)
{
    struct access *a = of;
    struct answer answer = a->vendor->login_answer(res, a->token, sizeof a->token);
    bool was_try = a->health.trying && !a->health.limit;

    a->logging_in = false;
    metric_add(metric_make(METRIC_COUNTER, "shelfwire_vendor_calls_total", "Calls made at a vendor, by what came of them.",
                           "vendor=\"%s\",call=\"login\",code=\"%s\"", a->vendor->name, answer.code), 1);
    if (answer.verdict == AGAIN) { /* in another form, which the vendor remembers */
        log_in(a);
        if (a->logging_in)
            return;
    }
    if (answer.verdict == DONE) {
        if (*a->login_trouble)
            log_about(LOG_INFO, a->vendor->name, "logged in");
        a->login_trouble[0] = '\0';
        a->login_refused = false;
        a->token_serial = a->next_serial++;
        a->token_proven = false;
        a->login_at_us = loop_now(a->loop) + 1000000; /* never two log-ins within a second */
        int64_t lasts_s = a->vendor->token_lasts_s ? a->vendor->token_lasts_s() : 0;
        a->token_ends_us = lasts_s > 0 ? loop_now(a->loop) + lasts_s * 1000000 : 0;
    } else {
        a->token_serial = 0;
        memset(a->token, 0, sizeof a->token);
        login_failed(a, &answer);
    }
    if (was_try) {
        health_tried(&a->health, answer.verdict == DONE, loop_now(a->loop));
        if (!health_sick(&a->health))
            log_about(LOG_INFO, a->vendor->name, "answers again");
        wake_at(a, a->health.try_at_us);
    }
    a->changed(a->of);
}

static void log_in(struct access *a)
{
    a->vendor->login_request(&a->login);
    a->logging_in = http_send(a->http, a->vendor->root(), &a->login, a->timeout_ms, on_login, a) != NULL;
}

/* A token that has ended is not sent: the vendor would refuse it, and a call that changes something would be made twice. */
static void end_token(struct access *a)
{
    if (!a->token_serial || !a->token_ends_us)
        return;
    if (loop_now(a->loop) < a->token_ends_us) {
        wake_at(a, a->token_ends_us);
        return;
    }
    a->token_serial = 0;
    memset(a->token, 0, sizeof a->token);
}

void access_serve(struct access *a)
{
    int64_t now = loop_now(a->loop);

    end_token(a);
    if (a->vendor->login_request && !a->logging_in) {
        bool wants_token = !a->token_serial && now >= a->login_at_us;
        bool wants_try = health_wants_try(&a->health, now) && now >= a->login_at_us;
        if (wants_token || wants_try) {
            log_in(a);
            if (wants_try && a->logging_in)
                health_trying(&a->health);
        } else if (a->login_at_us > now && (!a->token_serial || health_sick(&a->health))) {
            wake_at(a, a->login_at_us);
        }
    }
    if (health_sick(&a->health) && a->health.try_at_us > now)
        wake_at(a, a->health.try_at_us);
    for (int i = 0; i < a->account_count; i++) /* the one timer may have gone off for something else in between */
        if (a->accounts[i].paused_until_us > now)
            wake_at(a, a->accounts[i].paused_until_us);
}

static void token_refused(struct access *a, uint32_t serial)
{
    if (serial != a->token_serial || !serial)
        return; /* an older token: another call has dealt with it */
    if (!a->token_proven) {
        struct answer answer = answer_make(LATER, CAUSE_TOKEN, "token_refused",
                                           "a fresh token was refused: is another program using this account?");
        login_failed(a, &answer);
    }
    a->token_serial = 0;
    memset(a->token, 0, sizeof a->token);
}

/* ---- calls ---- */

int access_limit(const struct access *a)
{
    bool open = false;
    int64_t now = loop_now(a->loop);

    if (a->vendor->login_request && !a->token_serial)
        return 0;
    for (int i = 0; i < a->account_count; i++)
        open |= a->accounts[i].paused_until_us <= now;
    return open ? health_limit(&a->health, now) : 0;
}

void access_round(struct access *a)
{
    for (int i = 0; i < a->account_count; i++)
        a->accounts[i].waiting = 0;
}

static void count_slots(const struct access *a, const char *outcome, int count)
{
    metric_add(metric_make(METRIC_COUNTER, "shelfwire_quota_slots_total", "Slots of the vendor's quota that were leased, by what came of them.",
                           "vendor=\"%s\",outcome=\"%s\"", a->vendor->name, outcome), count);
}

bool access_take(struct access *a, int account)
{
    struct access_account *q = &a->accounts[account];
    int64_t now = loop_now(a->loop);

    if (a->vendor->login_request && !a->token_serial)
        return false;
    if (q->paused_until_us > now) {
        wake_at(a, q->paused_until_us);
        return false;
    }
    if (!q->spacing_us)
        return true;
    while (q->slot_count && q->slots[q->slot_at] + ACCESS_LATE_US < now) {
        q->slot_at++;
        q->slot_count--;
        count_slots(a, "late", 1);
    }
    if (q->slot_count && q->slots[q->slot_at] <= now) {
        q->slot_at++;
        q->slot_count--;
        count_slots(a, "used", 1);
        return true;
    }
    if (q->slot_count)
        wake_at(a, q->slots[q->slot_at]);
    q->waiting++;
    return false;
}

/* Has it slots for all who wait, or for long enough? */
static bool is_provided(const struct access_account *q, int64_t now)
{
    return q->waiting <= q->slot_count || (q->slot_count && q->slots[q->slot_at + q->slot_count - 1] > now + AHEAD_US);
}

int access_wants_lease(struct access *a, int64_t *ret_spacing_us, int *ret_slots)
{
    int64_t now = loop_now(a->loop);

    for (int i = 0; i < a->account_count; i++) {
        struct access_account *q = &a->accounts[i];
        if (!q->spacing_us || q->leasing || q->paused_until_us > now || is_provided(q, now))
            continue;
        if (q->lease_at_us > now) {
            wake_at(a, q->lease_at_us);
            continue;
        }
        int64_t slots = LEASE_US / q->spacing_us, room = ACCESS_SLOTS_MAX - q->slot_count;
        if (slots > q->waiting - q->slot_count)
            slots = q->waiting - q->slot_count;
        slots = (slots < 1 ? 1 : slots) + q->lost;
        if (room <= 0)
            continue;
        *ret_slots = (int)(slots > room ? room : slots);
        *ret_spacing_us = q->spacing_us;
        q->leasing = true;
        return i;
    }
    return -1;
}

/* A time of PostgreSQL's on our clock, no earlier than it can be; ret_doubt_us: it may be so much earlier in truth. */
static int64_t on_our_clock(struct access *a, int64_t sent_us, int64_t said_us, int64_t *ret_doubt_us)
{
    int64_t now = loop_now(a->loop), least = sent_us - said_us, most = now - said_us;
    struct access_clock *c = a->clocks;

    if (now - c[0].since_us > CLOCK_US) {
        c[1] = c[0];
        c[0] = (struct access_clock){now, INT64_MIN, INT64_MAX};
    }
    for (int i = 0; i < 2; i++)
        if (least > c[i].most_us || most < c[i].least_us)
            forget_clock(a); /* one of them was set */
    c[0].least_us = least > c[0].least_us ? least : c[0].least_us;
    c[0].most_us = most < c[0].most_us ? most : c[0].most_us;
    least = c[1].least_us > c[0].least_us ? c[1].least_us : c[0].least_us;
    most = c[1].most_us < c[0].most_us ? c[1].most_us : c[0].most_us;
    *ret_doubt_us = most - least;
    return said_us + most;
}

static void add_slots(struct access_account *q, int64_t first_us, int count)
{
    if (q->slot_at + q->slot_count + count > ACCESS_SLOTS_MAX) {
        memmove(q->slots, q->slots + q->slot_at, (size_t)q->slot_count * sizeof *q->slots);
        q->slot_at = 0;
    }
    for (int i = 0; i < count; i++)
        q->slots[q->slot_at + q->slot_count++] = first_us + i * q->spacing_us;
}

void access_leased(struct access *a, int account, int64_t sent_us, int64_t said_us, int64_t first_in_us, int given,
                   int64_t paused_us, const char *why)
{
    struct access_account *q = &a->accounts[account];
    int64_t doubt, at = on_our_clock(a, sent_us, said_us, &doubt);

    q->leasing = false;
    if (paused_us > 0) {
        access_paused(a, q->hash, paused_us, why);
    } else if (!given) {
        q->lease_at_us = loop_now(a->loop) + first_in_us;
        wake_at(a, q->lease_at_us);
    } else {
        int64_t lost = doubt > ACCESS_LATE_US ? (doubt + q->spacing_us - 1) / q->spacing_us : 0;
        q->lost = lost < ACCESS_SLOTS_MAX ? (int)lost : ACCESS_SLOTS_MAX - 1;
        add_slots(q, at + first_in_us, given > q->lost ? given - q->lost : 0);
        count_slots(a, "doubtful", given < q->lost ? given : q->lost);
    }
    a->changed(a->of);
}

void access_lease_failed(struct access *a, int account)
{
    a->accounts[account].leasing = false;
}

static void pause_account(struct access *a, struct access_account *q, int64_t us, const char *why, bool tell)
{
    int64_t until = loop_now(a->loop) + us;

    if (until <= q->paused_until_us)
        return;
    if (q->paused_until_us < loop_now(a->loop))
        log_about(LOG_WARN, a->vendor->name, "no calls for %.1f s: %s", (double)us / 1e6, why);
    q->paused_until_us = until;
    q->paused_for_key = false;
    q->slot_count = 0;
    snprintf(q->paused_why, sizeof q->paused_why, "%s", why);
    if (tell)
        q->pause_to_write_us = us;
    wake_at(a, until);
}

void access_paused(struct access *a, const char *hash, int64_t paused_us, const char *why)
{
    for (int i = 0; i < a->account_count; i++)
        if (!strcmp(a->accounts[i].hash, hash) && paused_us > 0)
            pause_account(a, &a->accounts[i], paused_us, why, false);
}

/* What the failure of a call says of the vendor. */
static enum health_weight weight_of(const struct access *a, bool blamed_before, const struct answer *answer, const struct http_response *res)
{
    if (res->end == HTTP_NOT_SENT || (a->health.harmless_first && answer->verdict == UNKNOWN))
        return HEALTH_AT_ONCE;
    return blamed_before ? HEALTH_BLAMED_BEFORE : HEALTH_IN_COMPANY;
}

void access_answered(struct access *a, int account, uint32_t key, bool blamed_before, uint32_t token_serial, const struct answer *answer,
                     const struct http_response *res)
{
    struct access_account *q = &a->accounts[account];
    int64_t now = loop_now(a->loop);
    int64_t wait_us = answer->wait_ms >= 0 ? answer->wait_ms * 1000 : -1;
    bool was_sick = health_sick(&a->health);

    if (res->end == HTTP_ANSWERED && answer->cause != CAUSE_TOKEN && token_serial && token_serial == a->token_serial &&
        !a->token_proven) {
        a->token_proven = true;
        a->login_pause_us = 0;
        a->login_trouble[0] = '\0';
    }
    if (a->vendor->calls_left) {
        int64_t left = a->vendor->calls_left(res);
        if (left >= 0)
            q->calls_left = left;
        if (left >= 0 && a->vendor->calls_left_min && left <= *a->vendor->calls_left_min)
            pause_account(a, q, a->day_pause_us, "the day's calls that are not ours to use are reached", true);
    }
    switch (answer->verdict) {
    case DONE:
    case AGAIN:
    case STEP:
    case REJECTED:
    case DEAD:
        q->refused = false;
        health_answered(&a->health, key, now);
        if (was_sick && !health_sick(&a->health))
            log_about(LOG_INFO, a->vendor->name, "answers again");
        break;
    case UNKNOWN:
    case LATER:
        switch (answer->cause) {
        case CAUSE_TOKEN: token_refused(a, token_serial); break;
        case CAUSE_RATE: pause_account(a, q, wait_us > 0 ? wait_us : 1000000, answer->reason, true); break;
        case CAUSE_DAY: pause_account(a, q, wait_us > 0 ? wait_us : a->day_pause_us, answer->reason, true); break;
        case CAUSE_CREDENTIALS:
            log_about(LOG_ERROR, a->vendor->name, "%s", answer->reason);
            q->refused = true;
            if (settings_reread_now()) {
                access_renewed(a);
                break;
            }
            pause_account(a, q, CREDENTIALS_PAUSE_US, answer->reason, false);
            q->paused_for_key = q->paused_until_us <= now + CREDENTIALS_PAUSE_US;
            break;
        case CAUSE_VENDOR:
        case CAUSE_WORK:
            if (wait_us > 0)
                pause_account(a, q, wait_us, "the vendor asked to wait", true);
            if (health_failed(&a->health, key, weight_of(a, blamed_before, answer, res), now, wait_us))
                log_about(LOG_WARN, a->vendor->name, "unwell, waiting: %s", answer->reason);
            if (health_sick(&a->health))
                wake_at(a, a->health.try_at_us > now ? a->health.try_at_us : now);
            break;
        }
    }
}

int64_t access_paused_us(const struct access *a)
{
    int64_t now = loop_now(a->loop), least = INT64_MAX;

    for (int i = 0; i < a->account_count; i++) {
        int64_t left = a->accounts[i].paused_until_us - now;
        least = left < least ? left : least;
    }
    return least > 0 ? least : 0;
}

bool access_refused(const struct access *a)
{
    bool refused = a->login_refused;

    for (int i = 0; i < a->account_count; i++)
        refused |= a->accounts[i].refused;
    return refused;
}

void access_trouble(const struct access *a, struct text *to)
{
    int64_t now = loop_now(a->loop);

    if (a->vendor->login_request && !a->token_serial)
        text_printf(to, "%s: not logged in%s%s; ", a->vendor->name, *a->login_trouble ? ": " : "", a->login_trouble);
    if (health_sick(&a->health))
        text_printf(to, "%s: unwell, next try in %.0f s; ", a->vendor->name,
                    (double)(a->health.try_at_us > now ? a->health.try_at_us - now : 0) / 1e6);
    for (int i = 0; i < a->account_count; i++)
        if (a->accounts[i].paused_until_us > now)
            text_printf(to, "%s: no calls for %.0f s: %s; ", a->vendor->name,
                        (double)(a->accounts[i].paused_until_us - now) / 1e6, a->accounts[i].paused_why);
}

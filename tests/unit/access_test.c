#include "common/access.h"

#include "captured.h"
#include "common/log.h"
#include "common/scoped.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { MS = 1000, SECOND = 1000000, MOST = 8 };

static struct loop *loop;
static struct http *http;
static struct access a;
static int changes;

/* ---- the vendor: a log-in on the very loop, which says what it is told to, and answers that are made up ---- */

static struct {
    int fd, talk, logins;
    struct loop_fd watch, talk_watch;
    const char *says; /* the token; or "503", "401" */
    char root[40];
} server;

static void on_talk(void *of, uint32_t events)
{
    char request[2000], answer[200];

    (void)of;
    (void)events;
    if (recv(server.talk, request, sizeof request, 0) > 0) {
        bool refused = server.says[0] == '4' || server.says[0] == '5';
        server.logins++;
        snprintf(answer, sizeof answer, "HTTP/1.1 %s Said\r\nConnection: close\r\nContent-Length: %zu\r\n\r\n%s",
                 refused ? server.says : "200", strlen(server.says), server.says);
        send(server.talk, answer, strlen(answer), MSG_NOSIGNAL);
    }
    int fd = server.talk;
    loop_watch(loop, &server.talk_watch, fd, 0, NULL, NULL);
    close(fd);
}

static void on_connection(void *of, uint32_t events)
{
    (void)of;
    (void)events;
    assert_int_equal(server.talk_watch.events, 0); /* one log-in is in flight at a time */
    server.talk = accept(server.fd, NULL, NULL);
    loop_watch(loop, &server.talk_watch, server.talk, EPOLLIN, on_talk, NULL);
}

static const char *root(void)
{
    return server.root;
}

static void login_request(struct http_request *req)
{
    http_request_reset(req, "POST", "/login");
}

static struct answer login_answer(const struct http_response *res, char *ret_token, size_t size)
{
    if (res->end != HTTP_ANSWERED)
        return answer_unanswered(res);
    if (res->status == 401)
        return answer_make(LATER, CAUSE_CREDENTIALS, "credentials", "the password is wrong");
    if (res->status != 200)
        return answer_make(LATER, CAUSE_VENDOR, "unwell", "HTTP %d", res->status);
    text_copy(ret_token, size, res->body);
    return answer_make(DONE, CAUSE_WORK, "logged_in", "%s", "");
}

/* There are two forms, and the server says that the first is not for it. */
static struct answer login_answer_of_two(const struct http_response *res, char *ret_token, size_t size)
{
    struct answer a = login_answer(res, ret_token, size);

    return a.verdict == DONE && server.logins == 1 ? answer_make(AGAIN, CAUSE_WORK, "other_form", "%s", "") : a;
}

static double per_second;
static int64_t left_min = 100, left;

static int64_t calls_left(const struct http_response *res)
{
    (void)res;
    return left;
}

static int two(void)
{
    return 2;
}

static const char *key_of(int account)
{
    return account ? "l8xx-second" : "l8xx-first";
}

static const struct vendor plain = {.name = "plain", .root = root};
static const struct vendor with_login = {.name = "gate", .root = root, .login_request = login_request,
                                         .login_answer = login_answer};
static const struct vendor with_two_forms = {.name = "two", .root = root, .login_request = login_request,
                                             .login_answer = login_answer_of_two};
static int64_t lasts_s;

static int64_t token_lasts_s(void)
{
    return lasts_s;
}

static const struct vendor with_end = {.name = "day", .root = root, .login_request = login_request,
                                       .login_answer = login_answer, .token_lasts_s = token_lasts_s};
static const struct vendor with_keys = {.name = "keys", .root = root, .calls_per_second = &per_second,
                                        .calls_left_min = &left_min, .calls_left = calls_left, .account_count = two,
                                        .account_key = key_of};
static const struct vendor paced = {.name = "paced", .root = root, .calls_per_second = &per_second};

static void on_changed(void *of)
{
    (void)of;
    changes++;
}

static void begin(const struct vendor *vendor, bool blind)
{
    changes = 0;
    assert_int_equal(access_open(&a, vendor, loop, http, MOST, blind, on_changed, NULL).kind, FAULT_NONE);
}

static int set_up(void **state)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof at;

    (void)state;
    if (loop_open(&loop).kind || http_open(&http, loop, 4, NULL).kind)
        return 1;
    memset(&server, 0, sizeof server);
    server.says = "token-1";
    server.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (bind(server.fd, (struct sockaddr *)&at, sizeof at) < 0 || listen(server.fd, 8) < 0 ||
        getsockname(server.fd, (struct sockaddr *)&at, &len) < 0)
        return 1;
    snprintf(server.root, sizeof server.root, "http://127.0.0.1:%d", ntohs(at.sin_port));
    loop_watch(loop, &server.watch, server.fd, EPOLLIN, on_connection, NULL);
    per_second = 0;
    left = -1;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    access_close(&a);
    http_close(http);
    close(server.fd);
    loop_close(loop);
    return 0;
}

/* Turns the loop as a stage does, until `logins` were made or the time is over. */
static void serve(int logins, int ms)
{
    loop_turn(loop, 0);
    int64_t until = loop_now(loop) + ms * MS;
    while (loop_now(loop) < until && (server.logins < logins || a.logging_in)) {
        access_serve(&a);
        loop_turn(loop, 10);
    }
}

static void log_in(int logins)
{
    serve(logins, 10000);
    assert_int_equal(server.logins, logins);
    assert_false(a.logging_in);
}

static const char *trouble(void)
{
    static struct text why;

    text_clear(&why);
    access_trouble(&a, &why);
    return text_str(&why);
}

/* What came of a call with the token of that serial. */
static void came(enum verdict verdict, enum cause cause, int64_t wait_ms, uint32_t key, uint32_t serial, enum http_end end)
{
    struct http_response res = {.end = end, .status = end == HTTP_ANSWERED ? 500 : 0, .body = "", .error = ""};
    struct answer answer = answer_make(verdict, cause, "said", "the reason");

    answer.wait_ms = wait_ms;
    access_answered(&a, 0, key, false, serial, &answer, &res);
}

static void refused(uint32_t serial)
{
    came(LATER, CAUSE_TOKEN, -1, 1, serial, HTTP_ANSWERED);
}

static void went_well(uint32_t serial)
{
    came(DONE, CAUSE_WORK, -1, 1, serial, HTTP_ANSWERED);
}

/* How often it was said since capture(). */
static int said(const char *words)
{
    char line[500];
    int times = 0;
    FILE *in = captured();

    while (fgets(line, sizeof line, in))
        times += strstr(line, words) != NULL;
    fclose(in);
    return times;
}

/* ---- the token ---- */

static void test_login(void **state)
{
    (void)state;
    begin(&with_login, false);
    assert_int_equal(access_limit(&a), 0);
    assert_false(access_take(&a, 0));
    assert_non_null(strstr(trouble(), "not logged in"));
    log_in(1);
    assert_string_equal(a.token, "token-1");
    assert_int_equal(access_limit(&a), MOST);
    assert_true(access_take(&a, 0));
    assert_string_equal(trouble(), "");
    assert_true(changes > 0);
    serve(2, 100); /* no more than one is needed */
    assert_int_equal(server.logins, 1);
    access_close(&a);
    assert_string_equal(a.token, "");
}

static void test_login_fails(void **state)
{
    static const char *const says[] = {"503", "401"}, *const words[] = {"HTTP 503", "the password is wrong"};
    (void)state;

    for (size_t i = 0; i < COUNT(says); i++) {
        server.says = says[i];
        server.logins = 0;
        begin(&with_login, false);
        log_in(1);
        assert_int_equal(access_limit(&a), 0);
        assert_non_null(strstr(trouble(), words[i]));
        assert_in_range(a.login_at_us - loop_now(loop), 400 * MS, 500 * MS);
        serve(2, 100);
        assert_int_equal(server.logins, 1); /* it waits */
        int64_t pauses[] = {1, 2, 4, 8, 16, 32, 60, 60};
        for (size_t n = 0; n < COUNT(pauses); n++) {
            a.login_at_us = 0; /* as if the pause were over */
            log_in((int)n + 2);
            assert_in_range(a.login_at_us - loop_now(loop), pauses[n] * SECOND - 100 * MS, pauses[n] * SECOND);
        }
        server.says = "token-2";
        a.login_at_us = 0;
        log_in(10);
        assert_string_equal(trouble(), "");
        assert_int_equal(access_limit(&a), MOST);
        access_close(&a);
    }
}

/* The other form is tried at once: it is no failure. */
static void test_login_in_another_form(void **state)
{
    (void)state;
    begin(&with_two_forms, false);
    loop_turn(loop, 0);
    int64_t since = loop_now(loop);
    access_serve(&a);
    while (a.logging_in && loop_now(loop) - since < 10 * SECOND) {
        assert_int_equal(access_limit(&a), 0);
        loop_turn(loop, 100);
    }
    assert_int_equal(server.logins, 2);
    assert_string_equal(a.token, "token-1");
    assert_int_equal(a.token_serial, 1);
    assert_int_equal(a.login_pause_us, 0);
    assert_string_equal(a.login_trouble, "");
    assert_int_equal(access_limit(&a), MOST);
}

/* It comes by itself when the pause is over, though nothing else happens on the loop. */
static void test_login_again_by_itself(void **state)
{
    (void)state;
    server.says = "503";
    begin(&with_login, false);
    log_in(1);
    server.says = "token";
    loop_turn(loop, 0);
    int64_t since = loop_now(loop);
    while (!a.token_serial && loop_now(loop) - since < 10 * SECOND) {
        access_serve(&a);
        loop_turn(loop, 10000);
    }
    assert_in_range(loop_now(loop) - since, 300 * MS, 3 * SECOND);
    /* neither does a token that ran out wait for anything but the second between two log-ins */
    went_well(1);
    refused(1);
    assert_int_equal(a.token_serial, 0);
    since = loop_now(loop);
    while (!a.token_serial && loop_now(loop) - since < 10 * SECOND) {
        access_serve(&a);
        loop_turn(loop, 10000);
    }
    assert_in_range(loop_now(loop) - since, 500 * MS, 5 * SECOND);
}

static void test_token_runs_out(void **state)
{
    (void)state;
    begin(&with_login, false);
    log_in(1);
    assert_int_equal(a.token_serial, 1);
    went_well(1);
    refused(1); /* it worked before: it ran out */
    assert_int_equal(access_limit(&a), 0);
    assert_false(access_take(&a, 0));
    assert_string_equal(a.token, "");
    assert_null(strstr(trouble(), "another program"));
    assert_true(a.login_at_us - loop_now(loop) <= SECOND); /* never two log-ins within a second */
    serve(2, 100);
    assert_int_equal(server.logins, 1);
    server.says = "token-2";
    a.login_at_us = 0;
    log_in(2);
    assert_string_equal(a.token, "token-2");
    assert_int_equal(a.token_serial, 2);
    for (int i = 0; i < 20; i++)
        refused(1); /* calls that were sent with the old one: the new one stays */
    refused(0);
    assert_string_equal(a.token, "token-2");
    assert_int_equal(access_limit(&a), MOST);
    went_well(1); /* nor does an answer to the old one prove the new one */
    assert_false(a.token_proven);
    assert_false(health_sick(&a.health)); /* a refused token says nothing about the vendor's health */
}

/* It is not used a moment longer than the vendor said, and the next one is there without a call being refused first. */
static void test_token_ends(void **state)
{
    (void)state;
    lasts_s = 2;
    begin(&with_end, false);
    log_in(1);
    uint32_t serial = a.token_serial;
    int64_t until = loop_now(loop) + 10 * SECOND;
    while (a.token_serial == serial && loop_now(loop) < until) {
        access_serve(&a);
        loop_turn(loop, 10000); /* nothing else happens: it wakes by itself */
    }
    assert_in_range(until - loop_now(loop), 7500 * MS, 8100 * MS);
    assert_int_equal(a.token_serial, 0);
    assert_string_equal(a.token, "");
    assert_int_equal(access_limit(&a), 0);
    lasts_s = 0;
    log_in(2);
    assert_int_equal(access_limit(&a), MOST);
    assert_int_equal(a.token_ends_us, 0);
}

/* Two programs that use one account take the token from one another: said, and paced. */
static void test_fresh_token_refused(void **state)
{
    int64_t pauses_ms[] = {500, 1000, 2000, 4000};
    (void)state;

    begin(&with_login, false);
    for (size_t i = 0; i < COUNT(pauses_ms); i++) {
        a.login_at_us = 0;
        log_in((int)i + 1);
        uint32_t serial = a.token_serial;
        for (int calls = 0; calls < 5; calls++)
            refused(serial); /* of all its calls under way: once is enough */
        assert_int_equal(a.token_serial, 0);
        assert_non_null(strstr(trouble(), "is another program using this account?"));
        assert_in_range(a.login_at_us - loop_now(loop), (pauses_ms[i] - 1) * MS, pauses_ms[i] * MS);
    }
    a.login_at_us = 0;
    log_in(5);
    went_well(a.token_serial); /* at last */
    refused(a.token_serial);
    assert_true(a.login_at_us - loop_now(loop) <= SECOND);
}

/* ---- health ---- */

static void test_no_connection(void **state)
{
    (void)state;
    begin(&plain, false);
    assert_int_equal(access_limit(&a), MOST);
    came(LATER, CAUSE_VENDOR, -1, 1, 0, HTTP_NOT_SENT);
    assert_int_equal(access_limit(&a), 0);
    assert_non_null(strstr(trouble(), "unwell"));
    int64_t since = loop_now(loop);
    changes = 0;
    while (!changes && loop_now(loop) - since < 10 * SECOND) {
        access_serve(&a);
        loop_turn(loop, 10000); /* it wakes the loop when the pause is over */
    }
    assert_int_equal(access_limit(&a), 1);
    assert_in_range(loop_now(loop) - since, 350 * MS, 5 * SECOND);
    went_well(0);
    assert_int_equal(access_limit(&a), 1);
    went_well(0);
    assert_int_equal(access_limit(&a), 2);
    assert_string_equal(trouble(), "");
}

static void test_what_is_no_failure(void **state)
{
    static const struct {
        const char *when;
        enum verdict verdict;
        enum cause cause;
        bool sick;
    } answers[] = {
        {"done", DONE, CAUSE_WORK, false},
        {"an answer for the desk", REJECTED, CAUSE_WORK, false},
        {"nobody understands it", DEAD, CAUSE_WORK, false},
        {"another step", AGAIN, CAUSE_WORK, false},
        {"the token", LATER, CAUSE_TOKEN, false},
        {"the rate", LATER, CAUSE_RATE, false},
        {"the day", LATER, CAUSE_DAY, false},
        {"the key", LATER, CAUSE_CREDENTIALS, false},
        {"unwell", LATER, CAUSE_VENDOR, true},
        {"nobody knows", UNKNOWN, CAUSE_VENDOR, true},
    };
    (void)state;

    for (size_t i = 0; i < COUNT(answers); i++) {
        begin(&plain, false);
        for (uint32_t key = 1; key <= 5; key++)
            came(answers[i].verdict, answers[i].cause, -1, key, 0, HTTP_ANSWERED);
        if (health_sick(&a.health) != answers[i].sick)
            fail_msg("%s: %s", answers[i].when, answers[i].sick ? "well" : "sick");
        access_close(&a);
    }
}

/* After the first unknown of a call that cannot be asked about, nothing is sent until a log-in has gone well. */
static void test_blind(void **state)
{
    (void)state;
    begin(&with_login, true);
    log_in(1);
    went_well(1);
    came(LATER, CAUSE_VENDOR, -1, 1, 1, HTTP_ANSWERED);
    assert_int_equal(access_limit(&a), MOST);
    came(UNKNOWN, CAUSE_VENDOR, -1, 1, 1, HTTP_UNKNOWN);
    assert_int_equal(access_limit(&a), 0);
    log_open("access_test", LOG_INFO, LOG_TEXT);
    capture();
    went_well(1); /* one that was under way */
    assert_int_equal(said("answers again"), 0);
    assert_int_equal(access_limit(&a), 0);
    server.says = "503";
    a.health.try_at_us = a.login_at_us = 0;
    log_in(2);
    assert_int_equal(access_limit(&a), 0);
    assert_true(a.health.try_at_us > loop_now(loop));
    server.says = "token-3";
    a.login_at_us = 0;
    serve(3, 100); /* the log-in it needs anyhow is not yet the try */
    a.health.try_at_us = a.login_at_us = 0;
    capture();
    log_in(server.logins + 1);
    int limit = access_limit(&a);
    went_well(a.token_serial);
    assert_int_equal(said("answers again"), 1);
    assert_int_equal(limit, 1);
    log_open("access_test", LOG_ERROR + 1, LOG_TEXT);
    assert_int_equal(access_limit(&a), 2);
}

/* Where nothing can be asked without a log-in, a blind call is its own try. */
static void test_blind_without_login(void **state)
{
    (void)state;
    begin(&plain, true);
    came(LATER, CAUSE_VENDOR, -1, 1, 0, HTTP_NOT_SENT);
    a.health.try_at_us = 0;
    assert_int_equal(access_limit(&a), 1);
}

/* ---- pauses ---- */

static void test_pauses(void **state)
{
    static const struct {
        const char *when;
        enum cause cause;
        int64_t wait_ms, paused_ms;
        bool told; /* to the other workers */
    } answers[] = {
        {"too fast", CAUSE_RATE, -1, 1000, true},
        {"too fast, for so long", CAUSE_RATE, 7000, 7000, true},
        {"the day is used up", CAUSE_DAY, -1, 900000, true},
        {"the day is used up, for so long", CAUSE_DAY, 3600000, 3600000, true},
        {"the key is refused", CAUSE_CREDENTIALS, -1, 30000, false},
        {"unwell, for so long", CAUSE_VENDOR, 5000, 5000, true},
        {"unwell", CAUSE_VENDOR, -1, 0, false},
        {"the token is refused", CAUSE_TOKEN, -1, 0, false},
    };
    (void)state;

    for (size_t i = 0; i < COUNT(answers); i++) {
        begin(&plain, false);
        came(LATER, answers[i].cause, answers[i].wait_ms, 1, 0, HTTP_ANSWERED);
        int64_t paused = a.accounts[0].paused_until_us - loop_now(loop);
        if (paused != answers[i].paused_ms * MS && (answers[i].paused_ms || a.accounts[0].paused_until_us))
            fail_msg("%s: paused for %lld us", answers[i].when, (long long)paused);
        if ((a.accounts[0].pause_to_write_us > 0) != answers[i].told)
            fail_msg("%s: %s", answers[i].when, answers[i].told ? "not told" : "told");
        if (access_take(&a, 0) != !answers[i].paused_ms || (access_limit(&a) > 0) != !answers[i].paused_ms)
            fail_msg("%s: limit %d", answers[i].when, access_limit(&a));
        if (answers[i].paused_ms && !strstr(trouble(), "no calls for"))
            fail_msg("%s: \"%s\"", answers[i].when, trouble());
        access_close(&a);
    }
}

static void test_longer_pause_stays(void **state)
{
    (void)state;
    begin(&plain, false);
    came(LATER, CAUSE_RATE, 60000, 1, 0, HTTP_ANSWERED);
    int64_t until = a.accounts[0].paused_until_us;
    came(LATER, CAUSE_RATE, 1000, 1, 0, HTTP_ANSWERED);
    access_paused(&a, a.accounts[0].hash, 2 * SECOND, "another worker");
    assert_int_equal(a.accounts[0].paused_until_us, until);
    access_paused(&a, a.accounts[0].hash, 120 * SECOND, "another worker");
    assert_int_equal(a.accounts[0].paused_until_us, loop_now(loop) + 120 * SECOND);
    assert_non_null(strstr(trouble(), "another worker"));
}

static void test_accounts(void **state)
{
    (void)state;
    begin(&with_keys, false);
    assert_int_equal(a.account_count, 2);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(strlen(a.accounts[i].hash), 16);
        assert_int_equal(strspn(a.accounts[i].hash, "0123456789abcdef"), 16);
    }
    assert_string_not_equal(a.accounts[0].hash, a.accounts[1].hash);
    came(LATER, CAUSE_RATE, 1000, 1, 0, HTTP_ANSWERED);
    assert_false(access_take(&a, 0));
    assert_true(access_take(&a, 1)); /* each key has a quota of its own */
    assert_int_equal(access_limit(&a), MOST);
    access_paused(&a, "0000000000000000", SECOND, "nobody's");
    assert_int_equal(access_limit(&a), MOST);
    access_paused(&a, a.accounts[1].hash, 0, "over");
    assert_int_equal(access_limit(&a), MOST);
    access_paused(&a, a.accounts[1].hash, 50 * MS, "another worker");
    assert_int_equal(a.accounts[1].pause_to_write_us, 0); /* it was told, it does not tell */
    assert_int_equal(access_limit(&a), 0);
    int64_t since = loop_now(loop);
    changes = 0;
    while (!access_limit(&a) && loop_now(loop) - since < 5 * SECOND) {
        access_serve(&a);
        loop_turn(loop, 10000); /* the end of a pause wakes the loop */
    }
    assert_in_range(loop_now(loop) - since, 50 * MS, 900 * MS);
    assert_true(access_take(&a, 1));
    assert_false(access_take(&a, 0));
}

/* One timer serves all that is waited for: what comes first must not swallow what comes later. */
static void test_two_waits(void **state)
{
    (void)state;
    begin(&plain, false);
    came(LATER, CAUSE_RATE, 150, 1, 0, HTTP_ANSWERED);
    loop_timer_set(loop, &a.timer, loop_now(loop) + 10 * MS); /* for something else */
    int64_t since = loop_now(loop);
    while (!access_limit(&a) && loop_now(loop) - since < 10 * SECOND) {
        access_serve(&a);
        loop_turn(loop, 10000);
    }
    assert_in_range(loop_now(loop) - since, 150 * MS, 5 * SECOND);
}

static void test_reserve(void **state)
{
    static const struct {
        int64_t left;
        bool paused;
    } answers[] = {{-1, false}, {5000, false}, {101, false}, {100, true}, {0, true}};
    (void)state;

    for (size_t i = 0; i < COUNT(answers); i++) {
        begin(&with_keys, false);
        left = answers[i].left;
        went_well(0);
        assert_int_equal(a.accounts[0].calls_left, answers[i].left);
        assert_int_equal(a.accounts[0].paused_until_us > 0, answers[i].paused);
        assert_int_equal(a.accounts[1].paused_until_us, 0);
        access_close(&a);
    }
}

/* ---- refused ---- */

/* A log-in that fails otherwise does not say that the password is right. */
static void test_password_refused(void **state)
{
    (void)state;
    begin(&with_login, false);
    assert_false(access_refused(&a));
    server.says = "401";
    log_in(1);
    assert_true(access_refused(&a));
    server.says = "503";
    a.login_at_us = 0;
    log_in(2);
    assert_true(access_refused(&a));
    server.says = "token-1";
    a.login_at_us = 0;
    log_in(3);
    assert_false(access_refused(&a));
}

static void answered_on(int account, enum verdict verdict, enum cause cause)
{
    struct http_response res = {.end = HTTP_ANSWERED, .status = 200, .body = "", .error = ""};
    struct answer answer = answer_make(verdict, cause, "said", "the reason");

    access_answered(&a, account, 1, false, 0, &answer, &res);
}

/* One key of several: what the others are told does not end it, nor does an answer that is about something else. */
static void test_key_refused(void **state)
{
    (void)state;
    begin(&with_keys, false);
    answered_on(1, LATER, CAUSE_CREDENTIALS);
    assert_true(access_refused(&a));
    answered_on(0, DONE, CAUSE_WORK);
    assert_true(access_refused(&a));
    answered_on(1, LATER, CAUSE_VENDOR);
    assert_true(access_refused(&a));
    answered_on(1, REJECTED, CAUSE_WORK);
    assert_false(access_refused(&a));
}

/* ---- keys and passwords that were read again ---- */

static bool may_call(int account)
{
    bool taken;

    access_round(&a);
    taken = access_take(&a, account);
    return taken;
}

static void test_password_renewed(void **state)
{
    (void)state;
    begin(&with_login, false);
    server.says = "401";
    log_in(1);
    a.login_at_us = loop_now(loop) + 60000 * MS; /* after many in vain */
    access_serve(&a);
    assert_false(a.logging_in);
    server.says = "token-2";
    access_renewed(&a);
    log_in(2);
    assert_string_equal(a.token, "token-2");
    access_renewed(&a); /* a token that works is kept, and no log-in is made for nothing */
    access_serve(&a);
    assert_false(a.logging_in);
    assert_string_equal(a.token, "token-2");
}

static const char *renewed_keys[] = {"first", "second", "third"};
static int renewed_count;

static int count_of_renewed(void)
{
    return renewed_count;
}

static const char *renewed_key(int account)
{
    return renewed_keys[account];
}

static const struct vendor with_renewed_keys = {.name = "keys", .root = root, .account_count = count_of_renewed, .account_key = renewed_key};

static void test_keys_renewed(void **state)
{
    (void)state;
    renewed_count = 2;
    begin(&with_renewed_keys, false);
    answered_on(0, LATER, CAUSE_CREDENTIALS); /* refused */
    answered_on(1, LATER, CAUSE_DAY);         /* its day is over */
    assert_false(may_call(0) || may_call(1));
    access_renewed(&a); /* the same keys: perhaps it is let in now; the day of the other is no longer for that */
    assert_true(may_call(0));
    assert_false(may_call(1));
    answered_on(0, LATER, CAUSE_CREDENTIALS);
    answered_on(0, LATER, CAUSE_RATE); /* and that is shorter */
    access_renewed(&a);
    assert_true(may_call(0));
    renewed_keys[1] = "another";
    access_renewed(&a);
    assert_true(may_call(1));
    renewed_count = 3;
    access_renewed(&a);
    assert_int_equal(a.account_count, 3);
    assert_true(may_call(2));
    renewed_count = 1;
    access_renewed(&a);
    assert_int_equal(a.account_count, 1);
    assert_true(access_limit(&a) > 0);
}

/* ---- slots ---- */

/* PostgreSQL's clock: microseconds since 1970. */
static int64_t clock_ahead = 1795000000LL * SECOND;

static void leased(int64_t under_way_us, int64_t first_in_us, int given, int64_t paused_us, const char *why)
{
    access_leased(&a, 0, loop_now(loop) - under_way_us, loop_now(loop) + clock_ahead, first_in_us, given, paused_us, why);
}

static void test_lease(void **state)
{
    static const struct {
        double per_second;
        int waiting, slots;
    } leases[] = {
        {25, 1, 1},    /* no more than are wanted */
        {25, 100, 4},  /* nor than a fifth of a second takes */
        {1000, 500, 64},
        {1, 50, 1},    /* at least one */
        {0.1, 50, 1},
    };
    int64_t spacing_us;
    int slots;
    (void)state;

    for (size_t i = 0; i < COUNT(leases); i++) {
        per_second = leases[i].per_second;
        begin(&paced, false);
        assert_int_equal(access_wants_lease(&a, &spacing_us, &slots), -1); /* nobody waits */
        for (int n = 0; n < leases[i].waiting; n++)
            assert_false(access_take(&a, 0));
        assert_int_equal(access_wants_lease(&a, &spacing_us, &slots), 0);
        assert_int_equal(slots, leases[i].slots);
        assert_true((double)spacing_us * leases[i].per_second > 1e6); /* a little apart from the even spacing */
        assert_true((double)spacing_us * leases[i].per_second < 1.05e6);
        assert_int_equal(access_wants_lease(&a, &spacing_us, &slots), -1); /* one at a time */
        access_lease_failed(&a, 0);
        assert_int_equal(access_wants_lease(&a, &spacing_us, &slots), 0); /* again */
        access_close(&a);
    }
}

static void test_slots(void **state)
{
    int64_t spacing_us, now;
    int slots;
    (void)state;

    per_second = 20;
    begin(&paced, false);
    for (int i = 0; i < 10; i++)
        access_take(&a, 0);
    assert_int_equal(access_wants_lease(&a, &spacing_us, &slots), 0);
    now = loop_now(loop);
    leased(0, 0, 3, 0, "");
    assert_true(access_take(&a, 0));  /* the first is now */
    assert_false(access_take(&a, 0)); /* none before its time */
    assert_int_equal(access_wants_lease(&a, &spacing_us, &slots), -1); /* there are some left */
    /* a slot is good for 10 ms; so that a busy machine does not decide, time stands still and the slots move */
    static const struct {
        const char *when;
        int64_t at_ms[3]; /* from now */
        int good;
    } slot_rows[] = {
        {"all lie ahead", {1, 50, 100}, 0},
        {"one is now", {0, 50, 100}, 1},
        {"one is a little late", {-10, 50, 100}, 1},
        {"one is too late: dropped", {-11, 50, 100}, 0},
        {"two are too late, the third is good", {-110, -60, -10}, 1},
        {"all are too late: not saved up", {-200, -150, -100}, 0},
    };
    for (size_t i = 0; i < COUNT(slot_rows); i++) {
        int good = 0;
        struct access_account *q = &a.accounts[0];
        q->slot_at = 0;
        q->slot_count = 3;
        for (int n = 0; n < 3; n++)
            q->slots[n] = now + slot_rows[i].at_ms[n] * MS;
        while (access_take(&a, 0))
            good++;
        if (good != slot_rows[i].good)
            fail_msg("%s: %d", slot_rows[i].when, good);
    }
}

/* The loop is woken for each slot. */
static void test_slots_come(void **state)
{
    int64_t spacing_us, since, next, taken = 0;
    int slots;
    (void)state;

    per_second = 100;
    begin(&paced, false);
    since = next = loop_now(loop);
    while (loop_now(loop) - since < 500 * MS) {
        if (access_wants_lease(&a, &spacing_us, &slots) >= 0) { /* as quota_lease() does */
            next = next > loop_now(loop) ? next : loop_now(loop);
            leased(0, next - loop_now(loop), slots, 0, "");
            next += slots * spacing_us;
        }
        access_round(&a);
        for (int n = 0; n < 30; n++)
            taken += access_take(&a, 0);
        loop_turn(loop, a.timer.place ? 10000 : 0);
    }
    assert_in_range(taken, 5, 50); /* a busy machine misses some; there are never more */
}

static void test_lease_answers(void **state)
{
    static const struct {
        const char *when;
        int64_t under_way_ms, first_in_ms;
        int given, slots; /* that can be used */
        int asked_next;   /* of ten that wait; 0: not yet */
    } leases[] = {
        {"at once", 0, 0, 4, 4, -1},
        {"as late as is good", 10, 0, 4, 4, -1},
        {"later: what passes meanwhile is left out at the end", 15, 0, 4, 3, -1},
        {"much later", 60, 0, 4, 2, -1},
        {"too late for any: more are asked for", 170, 0, 4, 0, 9},
        {"ages later", 100000, 0, 4, 0, 64},
        {"others have them: later", 0, 100, 0, 0, 0},
    };
    int64_t spacing_us;
    int slots;
    (void)state;

    per_second = 25;
    for (size_t i = 0; i < COUNT(leases); i++) {
        begin(&paced, false);
        for (int n = 0; n < 10; n++)
            access_take(&a, 0);
        assert_int_equal(access_wants_lease(&a, &spacing_us, &slots), 0);
        int64_t now = loop_now(loop);
        leased(leases[i].under_way_ms * MS, leases[i].first_in_ms * MS, leases[i].given, 0, "");
        const struct access_account *q = &a.accounts[0];
        if (q->slot_count != leases[i].slots)
            fail_msg("%s: %d slots", leases[i].when, q->slot_count);
        for (int n = 0; n < q->slot_count; n++) /* never before their time, wherever between sending and now that is */
            assert_true(q->slots[n] >= now + leases[i].first_in_ms * MS + n * spacing_us);
        assert_true(changes > 0);
        if (leases[i].asked_next >= 0) {
            for (int n = 0; n < 10; n++)
                access_take(&a, 0);
            int account = access_wants_lease(&a, &spacing_us, &slots);
            if ((account < 0) != !leases[i].asked_next || (!account && slots != leases[i].asked_next))
                fail_msg("%s: account %d, %d slots", leases[i].when, account, slots);
        }
        access_close(&a);
    }
    begin(&paced, false);
    access_take(&a, 0);
    assert_int_equal(access_wants_lease(&a, &spacing_us, &slots), 0);
    leased(0, 0, 0, 5 * SECOND, "the day is used up");
    assert_int_equal(access_limit(&a), 0);
    assert_non_null(strstr(trouble(), "the day is used up"));
    assert_int_equal(a.accounts[0].pause_to_write_us, 0);
    assert_int_equal(access_wants_lease(&a, &spacing_us, &slots), -1);
}

/* However slow PostgreSQL is, a call a while is made; and a quick one makes it as it was. */
static void test_slow_leases(void **state)
{
    int64_t spacing_us;
    int slots, made = 0;
    (void)state;

    per_second = 2; /* one slot a lease */
    begin(&paced, false);
    for (int i = 0; i < 10; i++) {
        if (access_take(&a, 0))
            made++;
        if (access_wants_lease(&a, &spacing_us, &slots) >= 0)
            leased(40 * MS, 0, slots, 0, "");
    }
    assert_in_range(made, 2, 9);
    a.accounts[0].slot_count = 0;
    access_take(&a, 0);
    assert_int_equal(access_wants_lease(&a, &spacing_us, &slots), 0);
    leased(0, 0, slots, 0, "");
    a.accounts[0].slot_count = 0;
    access_take(&a, 0);
    assert_int_equal(access_wants_lease(&a, &spacing_us, &slots), 0);
    assert_int_equal(slots, 1);
}

/* What a quick answer has shown of PostgreSQL's clock serves the slow ones too, until one of the clocks is set. */
static void test_clock(void **state)
{
    static const struct {
        const char *when;
        int64_t under_way_ms, said_ms, set_ms; /* the statement ran so long ago; PostgreSQL's clock is ahead by so much more */
        int slots;
        int64_t first_ms; /* from now */
    } answers[] = {
        {"the first, and slow", 60, 30, 0, 2, 100},
        {"quick", 0, 0, 0, 4, 100},
        {"slow, and not knowing when in between", 60, 30, 0, 4, 70},
        {"slow on the way there", 60, 0, 0, 4, 100},
        {"slow on the way back", 60, 60, 0, 4, 40},
        {"the clock was set forward", 60, 30, 500, 2, 100},
        {"quick", 5, 0, 500, 4, 100},
        {"set back", 60, 30, -500, 2, 100},
    };
    int64_t spacing_us;
    int slots;
    (void)state;

    per_second = 25;
    begin(&paced, false);
    for (size_t i = 0; i < COUNT(answers); i++) {
        struct access_account *q = &a.accounts[0];
        q->slot_count = 0;
        for (int n = 0; n < 4; n++)
            access_take(&a, 0);
        assert_int_equal(access_wants_lease(&a, &spacing_us, &slots), 0);
        int64_t now = loop_now(loop);
        access_leased(&a, 0, now - answers[i].under_way_ms * MS, now + clock_ahead + (answers[i].set_ms - answers[i].said_ms) * MS,
                      100 * MS, 4, 0, "");
        if (q->slot_count != answers[i].slots || q->slots[q->slot_at] != now + answers[i].first_ms * MS)
            fail_msg("%s: %d slots, the first in %lld ms", answers[i].when, q->slot_count,
                     (long long)(q->slots[q->slot_at] - now) / MS);
    }
}

/* The next are asked for before those in hand are used up; as many as more jobs wait for, and no more than there is room for. */
static void test_ahead(void **state)
{
    int64_t spacing_us;
    int slots;
    (void)state;

    per_second = 25;
    begin(&paced, false);
    for (int i = 0; i < 3; i++)
        access_take(&a, 0);
    assert_int_equal(access_wants_lease(&a, &spacing_us, &slots), 0);
    leased(0, 10 * MS, 3, 0, "");
    access_round(&a);
    for (int i = 0; i < 3; i++)
        assert_false(access_take(&a, 0));
    assert_int_equal(access_wants_lease(&a, &spacing_us, &slots), -1); /* there is one for each */
    assert_false(access_take(&a, 0));
    assert_int_equal(access_wants_lease(&a, &spacing_us, &slots), 0);
    assert_int_equal(slots, 1);
    leased(0, 132 * MS, 60, 0, "");
    assert_int_equal(a.accounts[0].slot_count, 63);
    for (int i = 0; i < 100; i++)
        access_take(&a, 0);
    assert_int_equal(access_wants_lease(&a, &spacing_us, &slots), -1); /* they last for long */
    for (int i = 0; i < 63; i++)
        a.accounts[0].slots[a.accounts[0].slot_at + i] = loop_now(loop) + MS;
    assert_int_equal(access_wants_lease(&a, &spacing_us, &slots), 0);
    assert_int_equal(slots, 1); /* as many as there is room for */
    leased(0, 10 * MS, 1, 0, "");
    assert_int_equal(access_wants_lease(&a, &spacing_us, &slots), -1);
}

/* A pause makes the slots in hand worthless. */
static void test_pause_takes_slots(void **state)
{
    int64_t spacing_us;
    int slots;
    (void)state;

    per_second = 25;
    begin(&paced, false);
    access_take(&a, 0);
    assert_int_equal(access_wants_lease(&a, &spacing_us, &slots), 0);
    leased(0, 0, 4, 0, "");
    came(LATER, CAUSE_RATE, 30, 1, 0, HTTP_ANSWERED);
    assert_int_equal(a.accounts[0].slot_count, 0);
    assert_false(access_take(&a, 0));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_login),
        TEST(test_login_fails),
        TEST(test_login_in_another_form),
        TEST(test_login_again_by_itself),
        TEST(test_token_runs_out),
        TEST(test_token_ends),
        TEST(test_fresh_token_refused),
        TEST(test_no_connection),
        TEST(test_what_is_no_failure),
        TEST(test_blind),
        TEST(test_blind_without_login),
        TEST(test_pauses),
        TEST(test_longer_pause_stays),
        TEST(test_accounts),
        TEST(test_two_waits),
        TEST(test_reserve),
        TEST(test_password_refused),
        TEST(test_key_refused),
        TEST(test_password_renewed),
        TEST(test_keys_renewed),
        TEST(test_lease),
        TEST(test_slots),
        TEST(test_slots_come),
        TEST(test_lease_answers),
        TEST(test_slow_leases),
        TEST(test_clock),
        TEST(test_ahead),
        TEST(test_pause_takes_slots),
    };

    unsetenv("http_proxy");
    unsetenv("all_proxy");
    unsetenv("ALL_PROXY");
    log_open("access_test", LOG_ERROR + 1, LOG_TEXT);
    return cmocka_run_group_tests_name("access", tests, NULL, NULL);
}

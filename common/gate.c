#include "common/gate.h"

#include "common/booking.h"
#include "common/vendors/passagepoint.h"

#include <string.h>

static const char *url, *username, *password;
static double calls_per_second;

const struct setting gate_settings[] = {
    {"PASSAGEPOINT_URL", SET_URL, NULL, .required = true, .to = &url,
     .help = "root of PassagePoint, before /pp/api/v2: https://gate.example.edu:2444"},
    {"PASSAGEPOINT_USERNAME", SET_TEXT, NULL, .required = true, .to = &username,
     .help = "an account of PassagePoint that no other program uses"},
    {"PASSAGEPOINT_PASSWORD", SET_SECRET, NULL, .required = true, .to = &password, .help = "its password"},
    {"PASSAGEPOINT_CALLS_PER_SECOND", SET_NUMBER, "0", .least = 0, .most = 10000, .to = &calls_per_second,
     .help = "calls a second of all workers together; 0: as many as CONCURRENCY allows"},
    {0}};

static const char *root_of(void) { return url; }

static void login_request(struct http_request *req)
{
    passagepoint_login_request(req, username, password);
}

static struct answer login_answer(const struct http_response *res, char *ret_token, size_t size)
{
    char token[PASSAGEPOINT_TOKEN_SIZE] = "";
    struct answer a = passagepoint_login_answer(res, token);

    text_copy(ret_token, size, token);
    return a;
}

const struct vendor gate = {.name = "passagepoint", .root = root_of, .login_request = login_request,
                            .login_answer = login_answer, .calls_per_second = &calls_per_second};

struct fault gate_decode(const char *value, size_t len, void *ret_booking)
{
    return booking_read(value, len, true, ret_booking);
}

const char *gate_key(const void *booking) { return ((const struct booking *)booking)->primary_id; }
const char *gate_subject(const void *booking) { return ((const struct booking *)booking)->appt_id; }

void gate_look_put(const void *of, struct db_columns *c)
{
    const struct booking *booking = of;

    db_put(c, booking->appt_id);
    db_put(c, booking->primary_id);
}

struct login {
    struct answer answer;
    char token[PASSAGEPOINT_TOKEN_SIZE];
};

static void on_login(void *of, const struct http_response *res)
{
    struct login *login = of;

    login->answer = passagepoint_login_answer(res, login->token);
}

struct fault gate_check_login(struct http *http, char *ret_token, size_t size)
{
    struct http_request req = {0};
    struct login login = {0};

    login_request(&req);
    http_wait(http, url, &req, 15000, on_login, &login);
    http_request_free(&req);
    if (login.answer.verdict != DONE)
        return fault_make(login.answer.cause == CAUSE_CREDENTIALS ? FAULT_MISUSE : FAULT_RETRY,
                          "PassagePoint log-in: %s; see PASSAGEPOINT_URL, PASSAGEPOINT_USERNAME, PASSAGEPOINT_PASSWORD",
                          login.answer.reason);
    text_copy(ret_token, size, login.token);
    printf("ok  PassagePoint log-in\n");
    return FAULT_OK;
}

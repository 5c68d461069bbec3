#include "common/oneclick.h"

#include "common/vendors/oneclick.h"

#include <stdio.h>
#include <string.h>

const char *oneclick_url, *oneclick_library, *oneclick_token;
int64_t oneclick_timeout_ms;
static double calls_per_second;

const struct setting oneclick_settings[] = {
    {"ONECLICK_URL", SET_URL, NULL, .required = true, .to = &oneclick_url,
     .help = "root of OneClick's API, before /v1: https://api.rbdigital.com"},
    {"ONECLICK_LIBRARY_ID", SET_TEXT, NULL, .required = true, .to = &oneclick_library,
     .help = "OneClick's number of the library, as 1931"},
    {"ONECLICK_TOKEN", SET_SECRET, NULL, .required = true, .to = &oneclick_token,
     .help = "the library's partner token; it is sent as it is, without a user's name or base64"},
    {0}};

const struct setting oneclick_call_settings[] = {
    {"ONECLICK_CALLS_PER_SECOND", SET_NUMBER, "10", .least = 0, .most = 1000, .to = &calls_per_second,
     .help = "calls a second of all workers together; OneClick has a limit and does not say which; 0: not paced"},
    {"ONECLICK_TIMEOUT_MS", SET_WHOLE, "20000", .least = 100, .most = 600000, .to = &oneclick_timeout_ms,
     .help = "how long an answer may take, milliseconds"},
    {0}};

static const char *root_of(void) { return oneclick_url; }

const struct vendor oneclick = {.name = "oneclick", .root = root_of, .calls_per_second = &calls_per_second};

struct fault oneclick_settled(void)
{
    if (oneclick_library[strspn(oneclick_library, "0123456789")])
        return FAULT(MISUSE, "ONECLICK_LIBRARY_ID: want OneClick's number of the library, as 1931, found \"%.40s\"", oneclick_library);
    return FAULT_OK;
}

static const char nobody_has[] = "9780000000002"; /* a valid ISBN, of no publisher */

static void on_answer(void *of, const struct http_response *res)
{
    struct oneclick_title title;
    struct answer *a = of;

    *a = oneclick_title_answer(res, nobody_has, &title);
    if (a->verdict == DONE)
        oneclick_title_free(&title);
}

struct fault oneclick_check(struct http *http)
{
    struct http_request req = {0};
    struct answer a;

    oneclick_title_request(&req, oneclick_library, oneclick_token, nobody_has);
    http_wait(http, oneclick_url, &req, 20000, on_answer, &a);
    http_request_free(&req);
    if (a.verdict != DONE)
        return fault_make(a.cause == CAUSE_CREDENTIALS ? FAULT_MISUSE : FAULT_RETRY,
                          "OneClick: %s; see ONECLICK_URL, ONECLICK_LIBRARY_ID, ONECLICK_TOKEN", a.reason);
    printf("ok  OneClick takes the token for library %s\n", oneclick_library);
    return FAULT_OK;
}

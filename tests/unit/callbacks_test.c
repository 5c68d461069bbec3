/*
 * Where callbacks may go. A receiver is trusted by what a URL begins with, so none may mean another place than it seems to.
 */
#include "producers/patron-requests/callbacks.c"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

/* What is asked of others, of which nothing is tested here. */
int callers_count(void) { return 0; }
const struct caller *caller_at(int place) { (void)place; return NULL; }
const struct caller *caller_by_name(const char *name) { (void)name; return NULL; }
void question_ask(struct question *q) { (void)q; }
struct loop *producer_loop(const struct producer *p) { (void)p; return NULL; }

static void set_prefixes(const char *one)
{
    static char *items[1];

    items[0] = (char *)(uintptr_t)one;
    prefixes = (struct setting_list){items, one ? 1 : 0};
}

static void test_prefixes(void **state)
{
    static const struct {
        const char *when, *prefix;
        bool good;
    } situations[] = {
        {"a host", "https://hooks.example.edu/", true},
        {"a path", "https://hooks.example.edu/shelfwire/", true},
        {"a port", "https://hooks.example.edu:8443/", true},
        {"the loopback", "http://127.0.0.1:8080/", true},
        {"the loopback's name", "http://localhost/", true},
        {"the loopback's name and a port", "http://localhost:3000/", true},
        {"the loopback of IPv6", "http://[::1]:3000/", true},
        {"http elsewhere", "http://hooks.example.edu/", false},
        {"a host that begins like the loopback", "http://127.0.0.1.example.edu/", false},
        {"a host that begins like its name", "http://localhost.example.edu/", false},
        {"no / behind the host: any other host would begin like it", "https://hooks.example.edu", false},
        {"a user", "https://hooks.example.edu@evil.example/", false},
        {"no host", "https:///x", false},
        {"another scheme", "ftp://hooks.example.edu/", false},
        {"no scheme", "hooks.example.edu/", false},
        {"nothing", "", false},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(situations); i++) {
        set_prefixes(situations[i].prefix);
        if ((callbacks_settled().kind == FAULT_NONE) != situations[i].good)
            fail_msg("%s: %s", situations[i].when, situations[i].prefix);
    }
}

static void test_urls(void **state)
{
    static const struct {
        const char *when, *url;
        bool good;
    } situations[] = {
        {"below it", "https://hooks.example.edu/a/b", true},
        {"a question", "https://hooks.example.edu/a/b?c=d&e=%20", true},
        {"itself", "https://hooks.example.edu/a/", true},
        {"a name with dots", "https://hooks.example.edu/a/.b/c..d", true},
        {"three dots", "https://hooks.example.edu/a/...", true},
        {"above it", "https://hooks.example.edu/", false},
        {"beside it", "https://hooks.example.edu/ab", false},
        {"another host", "https://hooks.example.edu.evil.example/a/", false},
        {"in capitals", "HTTPS://hooks.example.edu/a/", false},
        {"up", "https://hooks.example.edu/a/../admin", false},
        {"up at the end", "https://hooks.example.edu/a/..", false},
        {"up before a question", "https://hooks.example.edu/a/..?x", false},
        {"up, escaped", "https://hooks.example.edu/a/%2E%2e/admin", false},
        {"up by an escaped slash", "https://hooks.example.edu/a/..%2fadmin", false},
        {"up by backslashes", "https://hooks.example.edu/a/..\\admin", false},
        {"a step of one dot", "https://hooks.example.edu/a/./b", false},
        {"a fragment", "https://hooks.example.edu/a/#b", false},
        {"a user in the path", "https://hooks.example.edu/a/@evil.example", false},
        {"a space", "https://hooks.example.edu/a/ b", false},
        {"nothing", "", false},
    };

    (void)state;
    set_prefixes("https://hooks.example.edu/a/");
    for (size_t i = 0; i < COUNT(situations); i++)
        if (!callback_refused(situations[i].url) != situations[i].good)
            fail_msg("%s: %s", situations[i].when, situations[i].url);
    set_prefixes(NULL);
    assert_non_null(callback_refused("https://hooks.example.edu/a/b"));
}

/* What is signed, and how it is written. */
static void test_signature(void **state)
{
    char signature[128], want[65];
    unsigned char mac[32];
    unsigned len = sizeof mac;
    long long t;

    (void)state;
    sign("a secret", "{\"state\":\"done\"}", signature, sizeof signature);
    assert_int_equal(sscanf(signature, "t=%lld,v1=", &t), 1);
    char text[80];
    snprintf(text, sizeof text, "%lld.{\"state\":\"done\"}", t);
    assert_non_null(HMAC(EVP_sha256(), "a secret", 8, (const unsigned char *)text, strlen(text), mac, &len));
    for (int i = 0; i < 32; i++)
        sprintf(want + 2 * i, "%02x", mac[i]);
    assert_string_equal(strchr(signature, ',') + 4, want);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_prefixes), cmocka_unit_test(test_urls),
                                       cmocka_unit_test(test_signature)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}

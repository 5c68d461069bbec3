#include "producers/patron-requests/callers.h"

#include "common/log.h"
#include "common/text.h"
#include "producers/patron-requests/forms.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

enum { READ_EVERY_US = 2000000, ADDRESSES = 1024, WRONG_MAX = 10, WRONG_WINDOW_US = 60000000 };

static struct loop *loop;
static struct loop_timer timer;
static struct caller *callers;
static int caller_count;
static bool known;

/* ---- the table ---- */

static bool put(const char *values[QUESTION_VALUES_MAX])
{
    (void)values;
    return true;
}

static void read_hex(const char *hex, unsigned char *ret, size_t len)
{
    for (size_t i = 0; i < len && hex[2 * i] && hex[2 * i + 1]; i++)
        ret[i] = (unsigned char)strtoul((const char[]){hex[2 * i], hex[2 * i + 1], '\0'}, NULL, 16);
}

void caller_read(const PGresult *res, int row, struct caller *ret)
{
    char services[200];

    *ret = (struct caller){0};
    text_copy(ret->name, sizeof ret->name, PQgetvalue(res, row, 0));
    snprintf(services, sizeof services, ",%s,", PQgetvalue(res, row, 1));
    for (int i = 0; i < CALLER_SERVICES; i++) {
        char word[32];
        snprintf(word, sizeof word, ",%s,", forms_services[i]);
        ret->may[i] = strstr(services, word) != NULL;
    }
    text_copy(ret->secret, sizeof ret->secret, PQgetvalue(res, row, 2));
    if (PQnfields(res) > 3)
        read_hex(PQgetvalue(res, row, 3), ret->token_sha256, sizeof ret->token_sha256);
}

static void answered(const PGresult *res)
{
    int count = res ? PQntuples(res) : 0;
    struct caller *read = calloc((size_t)count + 1, sizeof *read);

    loop_timer_set(loop, &timer, loop_now(loop) + READ_EVERY_US);
    if (!res || !read) { /* those we know stay as they were */
        free(read);
        return;
    }
    for (int i = 0; i < count; i++)
        caller_read(res, i, &read[i]);
    if (!known && !count)
        log_warn("there are no callers: patron-requests --add-caller NAME makes one");
    free(callers);
    callers = read;
    caller_count = count;
    known = true;
}

struct question callers_question = {
    .sql = "SELECT caller, array_to_string(services, ','), coalesce(callback_secret, ''), encode(token_sha256, 'hex')"
           " FROM callers WHERE revoked_at IS NULL",
    .put = put, .answered = answered,
};

static void on_time(void *of, uint32_t events)
{
    (void)of;
    (void)events;
    question_ask(&callers_question);
}

void callers_open(struct loop *on)
{
    loop = on;
    timer = (struct loop_timer){.call = on_time};
    question_ask(&callers_question);
}

bool callers_known(void)
{
    return known;
}

/* ---- tokens ---- */

static bool sha256(const char *text, unsigned char ret[32])
{
    static EVP_MD_CTX *context;
    static EVP_MD *kind;

    if (!context) {
        context = EVP_MD_CTX_new();
        kind = EVP_MD_fetch(NULL, "SHA256", NULL); /* once: to look it up costs more than to compute it */
    }
    return context && kind && EVP_DigestInit_ex(context, kind, NULL) && EVP_DigestUpdate(context, text, strlen(text)) &&
           EVP_DigestFinal_ex(context, ret, NULL);
}

const struct caller *caller_by_token(const char *token)
{
    unsigned char hash[32];
    const struct caller *found = NULL;

    if (!sha256(token, hash))
        return NULL;
    for (int i = 0; i < caller_count; i++) /* all of them, whoever it is */
        if (!CRYPTO_memcmp(hash, callers[i].token_sha256, sizeof hash))
            found = &callers[i];
    return found;
}

const struct caller *caller_by_name(const char *name)
{
    for (int i = 0; i < caller_count; i++)
        if (!strcmp(callers[i].name, name))
            return &callers[i];
    return NULL;
}

int callers_count(void)
{
    return caller_count;
}

const struct caller *caller_at(int place)
{
    return &callers[place];
}

/* ---- wrong ones: a table of fixed size, where an address may push another one out ---- */

static struct address {
    unsigned char bytes[8]; /* IPv4, or the network of IPv6 */
    int64_t since_us;
    int wrong;
} addresses[ADDRESSES];

static void read_address(const struct sockaddr *from, unsigned char ret[8])
{
    memset(ret, 0, 8);
    if (from->sa_family == AF_INET6) {
        const struct in6_addr *a = &((const struct sockaddr_in6 *)(const void *)from)->sin6_addr;
        if (IN6_IS_ADDR_V4MAPPED(a))
            memcpy(ret, a->s6_addr + 12, 4);
        else
            memcpy(ret, a->s6_addr, 8);
    } else if (from->sa_family == AF_INET) {
        memcpy(ret, &((const struct sockaddr_in *)(const void *)from)->sin_addr, 4);
    }
}

/* FNV-1a, begun with what nobody outside knows: whose place is whose cannot be chosen. */
static struct address *place_of(const unsigned char bytes[8])
{
    static uint64_t begin;

    if (!begin && getrandom(&begin, sizeof begin, 0) != sizeof begin)
        begin = 14695981039346656037u;
    uint64_t hash = begin;
    for (int i = 0; i < 8; i++)
        hash = (hash ^ bytes[i]) * 1099511628211u;
    return &addresses[(hash >> 20) % ADDRESSES];
}

int callers_wrong_token(const struct sockaddr *from, int64_t now_us)
{
    unsigned char bytes[8];

    read_address(from, bytes);
    struct address *a = place_of(bytes);
    if (memcmp(a->bytes, bytes, sizeof bytes) != 0 || now_us - a->since_us >= WRONG_WINDOW_US) {
        memcpy(a->bytes, bytes, sizeof bytes);
        a->since_us = now_us;
        a->wrong = 0;
    }
    if (a->wrong++ < WRONG_MAX)
        return 0;
    return (int)((a->since_us + WRONG_WINDOW_US - now_us) / 1000000) + 1;
}

/*
 * gap.c - how wide the gap is that a stopped worker can fall into: from the last moment at which a call can still be withheld
 * (http.h, may_leave) until the kernel has its bytes. A program that is stopped within, for longer than its session, sends what
 * somebody else may have sent when it wakes; nothing in it can know.
 *
 *   build/bin/sandbox --port 18080 & build/bin/gap http://127.0.0.1:18080/admin/ping 20000
 *
 * It asks libcurl as common/http.c does, and prints microseconds: median, 99th percentile, most; one request at a time.
 */
#include <curl/curl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static int64_t leaving_ns, left_ns;

static int64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static int on_leaving(void *of, char *a, char *b, int c, int d)
{
    (void)of;
    (void)a;
    (void)b;
    (void)c;
    (void)d;
    leaving_ns = now_ns();
    return CURL_PREREQFUNC_OK;
}

static int on_said(CURL *easy, curl_infotype what, char *bytes, size_t len, void *of)
{
    (void)easy;
    (void)bytes;
    (void)len;
    (void)of;
    if (what == CURLINFO_HEADER_OUT)
        left_ns = now_ns();
    return 0;
}

static size_t on_body(char *bytes, size_t size, size_t count, void *of)
{
    (void)bytes;
    (void)of;
    return size * count;
}

static int by_size(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

    return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
    int count = argc == 3 ? atoi(argv[2]) : 0;
    int64_t *gap = count > 0 ? calloc((size_t)count, sizeof *gap) : NULL;
    CURL *easy = curl_easy_init();

    if (!gap || !easy) {
        fprintf(stderr, "usage: gap URL COUNT\n");
        return 100;
    }
    curl_easy_setopt(easy, CURLOPT_URL, argv[1]);
    curl_easy_setopt(easy, CURLOPT_POST, 1L);
    curl_easy_setopt(easy, CURLOPT_POSTFIELDS, "");
    curl_easy_setopt(easy, CURLOPT_PREREQFUNCTION, on_leaving);
    curl_easy_setopt(easy, CURLOPT_VERBOSE, 1L);
    curl_easy_setopt(easy, CURLOPT_DEBUGFUNCTION, on_said);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
    for (int i = 0; i < count; i++) {
        leaving_ns = left_ns = 0;
        CURLcode code = curl_easy_perform(easy);
        if (code != CURLE_OK || left_ns < leaving_ns || !leaving_ns) {
            fprintf(stderr, "request %d: %s\n", i + 1, curl_easy_strerror(code));
            return 111;
        }
        gap[i] = left_ns - leaving_ns;
    }
    qsort(gap, (size_t)count, sizeof *gap, by_size);
    printf("%d requests: median %.1f us, 99 %% within %.1f us, at most %.1f us\n", count, (double)gap[count / 2] / 1e3,
           (double)gap[count * 99 / 100] / 1e3, (double)gap[count - 1] / 1e3);
    curl_easy_cleanup(easy);
    free(gap);
    return 0;
}

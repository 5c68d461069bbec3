/*
 * sandbox - stands in for the vendors in tests, in the demo and in benchmarks.
 *   sandbox [--port N] [--port-file FILE] [--bind ADDRESS] [--post 'PATH JSON']...
 * README.md is its manual page.
 */
#include "server.h"
#include "settings.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

#define POSTS_MAX 16

extern const struct vendor libcal, alma, passagepoint, oneclick, folio, wise, webcheckout;

const struct vendor *const vendors[] = { &libcal, &alma, &passagepoint, &oneclick, &folio, &wise, &webcheckout, NULL };

static const char usage[] =
    "usage: sandbox [--port N] [--port-file FILE] [--bind ADDRESS] [--post 'PATH JSON']...\n"
    "  --port N          listen there (default 0: any free port)\n"
    "  --port-file FILE  write the port to FILE once it listens\n"
    "  --bind ADDRESS    an IPv4 address (default 127.0.0.1)\n"
    "  --post PATH JSON  begin as if that had been posted to /admin/PATH\n";

/* Under another name first, so that whoever waits for the file never reads half of it. */
static bool write_port(const char *path, int port)
{
    struct text partial = { 0 };
    FILE *file;
    bool ok;

    text_fmt(&partial, "%s.partial", path);
    text_add(&partial, "", 1);
    file = fopen(partial.at, "w");
    ok = file && fprintf(file, "%d\n", port) > 0;
    ok = file && !fclose(file) && ok && !rename(partial.at, path);
    if (!ok)
        perror(path);
    text_release(&partial);
    return ok;
}

static bool post(const char *what)
{
    size_t path_len = strcspn(what, " ");
    struct exchange x = { 0 };
    struct text path = { 0 };
    bool ok;

    text_str(&path, "/admin/");
    text_add(&path, what, path_len);
    x.req = (struct request){ .method = HTTP_POST, .target = text_slice(&path), .path = text_slice(&path),
                              .body = slice_of(what + path_len) };
    exchange_start(&x);
    ok = x.answer.status == 200;
    if (!ok)
        fprintf(stderr, "sandbox: --post %s: %.*s\n", what, (int)x.answer.body.len, x.answer.body.at);
    exchange_release(&x);
    text_release(&path);
    return ok;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        { "port", required_argument, NULL, 'p' }, { "port-file", required_argument, NULL, 'f' },
        { "bind", required_argument, NULL, 'b' }, { "post", required_argument, NULL, 'd' },
        { "help", no_argument, NULL, 'h' }, { NULL, 0, NULL, 0 },
    };
    const char *address = "127.0.0.1", *port_file = NULL;
    const char *posts[POSTS_MAX];
    int port = 0, option, post_count = 0;

    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (option) {
        case 'p': port = atoi(optarg); break;
        case 'f': port_file = optarg; break;
        case 'b': address = optarg; break;
        case 'd':
            if (post_count < POSTS_MAX)
                posts[post_count] = optarg;
            post_count++;
            break;
        case 'h': fputs(usage, stdout); return 0;
        default: fputs(usage, stderr); return 100;
        }
    }
    if (optind < argc || port < 0 || port > 65535 || post_count > POSTS_MAX) {
        fputs(usage, stderr);
        return 100;
    }
    if (!server_open(address, port))
        return 111;
    settings_reset();
    for (int i = 0; i < post_count; i++)
        if (!post(posts[i]))
            return 100;
    if (port_file && !write_port(port_file, server_port()))
        return 111;
    printf("sandbox: listening on http://%s:%d\n", address, server_port());
    fflush(stdout);
    server_run();
    server_close();
    reset_what(RESET_ALL);
    reset_what(RESET_DATA | RESET_TOKENS);
    settings_release();
    for (size_t i = 0; vendors[i]; i++)
        vendors[i]->reset(RESET_ALL);
    return 0;
}

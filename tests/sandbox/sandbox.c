/*
 * sandbox - stands in for the vendors in tests, in the demo and in benchmarks.
 *   sandbox [--port N] [--port-file FILE] [--bind ADDRESS]
 * README.md is its manual page.
 */
#include "server.h"
#include "settings.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

extern const struct vendor libcal, alma, passagepoint, oneclick, folio, wise, webcheckout;

const struct vendor *const vendors[] = { &libcal, &alma, &passagepoint, &oneclick, &folio, &wise, &webcheckout, NULL };

static const char usage[] =
    "usage: sandbox [--port N] [--port-file FILE] [--bind ADDRESS]\n"
    "  --port N          listen there (default 0: any free port)\n"
    "  --port-file FILE  write the port to FILE once it listens\n"
    "  --bind ADDRESS    an IPv4 address (default 127.0.0.1)\n";

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

int main(int argc, char **argv)
{
    static const struct option options[] = {
        { "port", required_argument, NULL, 'p' }, { "port-file", required_argument, NULL, 'f' },
        { "bind", required_argument, NULL, 'b' }, { "help", no_argument, NULL, 'h' }, { NULL, 0, NULL, 0 },
    };
    const char *address = "127.0.0.1", *port_file = NULL;
    int port = 0, option;

    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (option) {
        case 'p': port = atoi(optarg); break;
        case 'f': port_file = optarg; break;
        case 'b': address = optarg; break;
        case 'h': fputs(usage, stdout); return 0;
        default: fputs(usage, stderr); return 100;
        }
    }
    if (optind < argc || port < 0 || port > 65535) {
        fputs(usage, stderr);
        return 100;
    }
    if (!server_open(address, port))
        return 111;
    settings_reset();
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

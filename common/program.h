/*
 * program.h - what every program has in common: its settings, --help, --check, --healthz, --version, its log.
 *
 * --healthz asks the program that runs with the same METRICS_ADDRESS and METRICS_PORT, beside this one, for its /healthz, and
 * needs no other setting: a container's health check, in an image that has neither a shell nor curl.
 */
#ifndef SHELFWIRE_PROGRAM_H
#define SHELFWIRE_PROGRAM_H

#include "common/settings.h"

struct program {
    const char *name;
    const char *about;     /* one sentence */
    const char *arguments; /* besides --help, --version, --check, --healthz: "[--once]" */
    const char *options;   /* what these do, lines for --help; NULL: nothing to say */
    const struct setting *const *tables; /* NULL-terminated; without the common ones */
};

struct program_arguments {
    bool check;
    bool once;
    const char *rest[8]; /* what is left, in order */
    int rest_count;
    bool ended; /* --help, --version or --healthz: answered, nothing more to do */
};

extern int64_t program_metrics_port;
extern const char *program_metrics_address;

/* Reads arguments and settings and opens the log. MISUSE: one line says what is wrong. */
struct fault program_open(const struct program *p, int argc, char **argv, struct program_arguments *ret);

/*
 * From here on there is nothing left to lose: the program ends within so many seconds, with that exit code, whatever a library still
 * waits for. (librdkafka waits a minute for a broker that is silent; who stops us kills us after half of one.)
 */
void program_end_within(unsigned seconds, int exit_code);

/* Prints the fault, if it is one, and returns the exit code: 0; 100 mend the settings; 111 failed. */
int program_exit(const struct program *p, struct fault f);

#endif

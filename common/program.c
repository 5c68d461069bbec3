#include "common/program.h"

#include "common/log.h"
#include "common/metrics.h"
#include "common/scoped.h"

#include <signal.h>
#include <string.h>
#include <unistd.h>

enum { HEALTHZ_MS = 5000 };

int64_t program_metrics_port;
const char *program_metrics_address;
static int log_level, log_format;

static const struct setting common_settings[] = {
    {"METRICS_PORT", SET_WHOLE, "-1", .least = -1, .most = 65535, .to = &program_metrics_port,
     .help = "port of /metrics, /healthz, /readyz; 0: any free one, which is logged; -1: none"},
    {"METRICS_ADDRESS", SET_TEXT, "127.0.0.1", .to = &program_metrics_address,
     .help = "IPv4 address these are served on"},
    {"LOG_FORMAT", SET_CHOICE, NULL, .choices = "text|json", .to = &log_format,
     .help = "text on a terminal, json elsewhere, unless set"},
    {"LOG_LEVEL", SET_CHOICE, "info", .choices = "debug|info|warn|error", .to = &log_level,
     .help = "the least important lines to write"},
    {0}};

static void help(const struct program *p)
{
    const struct setting *const tail[] = {common_settings, NULL};

    /* in the form that help2man makes the manual page of */
    printf("%s - %s\n\nUsage: %s %s%s[--check] [--healthz] [--help] [--version]\n\n%s"
           "  --check    check the settings and what they name, say what is wrong, and exit\n"
           "  --healthz  ask the one that runs with these settings for its /healthz, and exit\n"
           "  --help     print this, and exit\n"
           "  --version  print the version and the schema it wants, and exit\n\n"
           "Settings are environment variables; each may also be given as NAME_FILE, the path of a file that holds it.\n\n",
           p->name, p->about, p->name, p->arguments, *p->arguments ? " " : "",
           p->options ? p->options : "");
    settings_help(stdout, p->tables);
    settings_help(stdout, tail);
    printf("\nExit status: 0 done; 100 a setting or argument is wrong; 111 something needed failed.\n");
}

static size_t discard(char *piece, size_t size, size_t count, void *of)
{
    (void)piece;
    (void)of;
    return size * count;
}

/* The address it listens on is also one to reach it by: 0.0.0.0 leads to this machine. */
static struct fault ask_healthz(void)
{
    SCOPED(curl_easy_cleanup) CURL *curl = curl_easy_init();
    char url[128], why[CURL_ERROR_SIZE] = "";

    if (program_metrics_port <= 0)
        return FAULT(MISUSE, "METRICS_PORT is not set to a port: there is nobody to ask for /healthz");
    snprintf(url, sizeof url, "http://%s:%d/healthz", program_metrics_address, (int)program_metrics_port);
    if (!curl || curl_easy_setopt(curl, CURLOPT_URL, url))
        return FAULT(FATAL, "out of memory");
    curl_easy_setopt(curl, CURLOPT_NOPROXY, "*");
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)HEALTHZ_MS);
    curl_easy_setopt(curl, CURLOPT_FAILONERROR, 1L);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, discard);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, why);
    CURLcode code = curl_easy_perform(curl);
    return code ? FAULT(FATAL, "%s: %s", url, *why ? why : curl_easy_strerror(code)) : FAULT_OK;
}

struct fault program_open(const struct program *p, int argc, char **argv, struct program_arguments *ret)
{
    const struct setting *const tail[] = {common_settings, NULL};

    *ret = (struct program_arguments){0};
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--help")) {
            help(p);
            ret->ended = true;
            return FAULT_OK;
        }
        if (!strcmp(argv[i], "--version")) {
            printf("%s (Shelfwire) %s\nschema %d\n", p->name, SHELFWIRE_VERSION, SCHEMA_VERSION);
            ret->ended = true;
            return FAULT_OK;
        }
        if (!strcmp(argv[i], "--healthz"))
            ret->ended = true;
        else if (!strcmp(argv[i], "--check"))
            ret->check = true;
        else if (!strcmp(argv[i], "--once") && strstr(p->arguments, "--once"))
            ret->once = true;
        else if (ret->rest_count < (int)COUNT(ret->rest) && *p->arguments && strcmp(p->arguments, "[--once]") != 0)
            ret->rest[ret->rest_count++] = argv[i];
        else
            return FAULT(MISUSE, "unknown argument %s; see %s --help", argv[i], p->name);
    }
    log_format = isatty(STDERR_FILENO) ? LOG_TEXT : LOG_JSON;
    TRY(settings_load(tail));
    if (ret->ended)
        return ask_healthz();
    log_open(p->name, (enum log_level)log_level, (enum log_format)log_format);
    metric_set(metric_make(METRIC_GAUGE, "shelfwire_build_info", "Which program this is, and of which version.",
                           "program=\"%s\",version=\"%s\"", p->name, SHELFWIRE_VERSION), 1);
    return settings_load(p->tables);
}

static volatile sig_atomic_t alarm_code;

static void on_alarm(int signal)
{
    (void)signal;
    log_last_words("not everything let go in time; nothing is lost by it");
    _exit(alarm_code);
}

void program_end_within(unsigned seconds, int exit_code)
{
    alarm_code = exit_code;
    signal(SIGALRM, on_alarm);
    alarm(seconds);
}

int program_exit(const struct program *p, struct fault f)
{
    if (f.kind)
        fprintf(stderr, "%s: %s\n", p->name, f.what);
    return fault_exit_code(f);
}

#include "common/log.h"

#include "common/scoped.h"
#include "common/text.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const char *log_program = "";
static enum log_level log_least = LOG_INFO;
static enum log_format log_format = LOG_TEXT;

void log_open(const char *program, enum log_level least, enum log_format format)
{
    log_program = program;
    log_least = least;
    log_format = format;
}

void log_about(enum log_level level, const char *subject, const char *format, ...)
{
    static const char *const names[] = {"debug", "info", "warn", "error"};
    struct text line = {0}; /* of its own: librdkafka logs from its threads too */
    char what[512];
    struct timespec now;
    struct tm utc;
    char when[32];
    va_list args;

    if (level < log_least)
        return;
    va_start(args, format);
    vsnprintf(what, sizeof what, format, args);
    va_end(args);
    for (char *c = what; *c; c++) /* one event, one line, whatever a vendor put into it */
        if ((unsigned char)*c < ' ' || *c == 0x7F)
            *c = ' ';
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &utc);
    strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%S", &utc);
    if (log_format == LOG_JSON) {
        text_printf(&line, "{\"time\":\"%s.%03ldZ\",\"level\":\"%s\",\"program\":\"%s\",", when, now.tv_nsec / 1000000,
                    names[level], log_program);
        if (subject) {
            text_puts(&line, "\"subject\":");
            text_json(&line, subject);
            text_putc(&line, ',');
        }
        text_puts(&line, "\"message\":");
        text_json(&line, what);
        text_puts(&line, "}\n");
    } else {
        text_printf(&line, "%s.%03ldZ %-5s %s: %s%s%s\n", when, now.tv_nsec / 1000000, names[level], log_program,
                    subject ? subject : "", subject ? ": " : "", what);
    }
    ssize_t written = write(STDERR_FILENO, text_str(&line), line.len);
    (void)written; /* nobody reads the log: there is nowhere to say so */
    text_free(&line);
}

void log_last_words(const char *words)
{
    const char *const parts[] = {program_invocation_short_name, ": ", words, "\n"};

    for (size_t i = 0; i < COUNT(parts); i++)
        if (write(STDERR_FILENO, parts[i], strlen(parts[i])) < 0)
            return; /* there is nowhere to say so */
}

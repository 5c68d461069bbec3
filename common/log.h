/*
 * log.h - one line an event, on standard error: for a person on a terminal (LOG_FORMAT=text), for a machine elsewhere
 * (json). Never a secret or a person's data: callers describe, they do not quote. Any thread may log.
 */
#ifndef SHELFWIRE_LOG_H
#define SHELFWIRE_LOG_H

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };
enum log_format { LOG_TEXT, LOG_JSON };

void log_open(const char *program, enum log_level least, enum log_format format);

/* subject: what the line is about, as "bookings.new/3/4711" (topic, partition, offset), or NULL. */
void log_about(enum log_level level, const char *subject, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#define log_debug(...) log_about(LOG_DEBUG, NULL, __VA_ARGS__)
#define log_info(...) log_about(LOG_INFO, NULL, __VA_ARGS__)
#define log_warn(...) log_about(LOG_WARN, NULL, __VA_ARGS__)
#define log_error(...) log_about(LOG_ERROR, NULL, __VA_ARGS__)

/* "PROGRAM: words" by write alone: for one who may hold any lock, or be in a signal's handler, and ends the program now. */
void log_last_words(const char *words);

#endif

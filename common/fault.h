/*
 * fault.h - a failure is a value that says what went wrong in one line.
 *
 * Functions that can fail return a struct fault; `kind` 0 is success. Library code returns, programs print.
 * A text names the thing, what was expected and what to do; it never holds a secret or a person's data, so the
 * value of a field is described (its type, its length), not quoted.
 */
#ifndef SHELFWIRE_FAULT_H
#define SHELFWIRE_FAULT_H

#include <stdarg.h>
#include <stdbool.h>

enum fault_kind {
    FAULT_NONE,
    FAULT_RETRY,  /* may go well later: something needed is not there */
    FAULT_REJECT, /* this input will never do */
    FAULT_MISUSE, /* a setting or the command line is wrong: exit 100 */
    FAULT_FATAL,  /* this program cannot go on: exit 111 */
};

struct fault {
    enum fault_kind kind;
    char what[240];
};

struct fault fault_make(enum fault_kind kind, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The same fault with words put in front: "words: what". */
struct fault fault_under(struct fault f, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The exit code a program ends with: 0, 100 (misuse: mend the settings), 111 (failed: try again). */
int fault_exit_code(struct fault f);

#define FAULT(kind, ...) fault_make(FAULT_##kind, __VA_ARGS__)
#define FAULT_OK ((struct fault){0})
#define TRY(call)              \
    do {                       \
        struct fault f_ = (call); \
        if (f_.kind)           \
            return f_;         \
    } while (0)

#endif

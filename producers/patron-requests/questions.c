#include "producers/patron-requests/questions.h"

#include "common/log.h"

#include <stdlib.h>

enum { QUESTIONS_MAX = 8, PAUSE_US = 1000000 };

static struct loop *loop;
static struct db *db;
static struct question *all[QUESTIONS_MAX], *asked[QUESTIONS_MAX];
static int count, asked_count;
static struct loop_timer timer;
static void (*tell_up)(void);
static void (*tell_heard)(const char *id);

static void go(void *of, uint32_t events);

static void on_done(void *of, const struct db_outcome *out)
{
    (void)of;
    int n = asked_count;
    struct question *of_this[QUESTIONS_MAX];

    for (int i = 0; i < n; i++)
        of_this[i] = asked[i];
    asked_count = 0;
    if (out->end == DB_REFUSED)
        log_warn("PostgreSQL refuses a question (%s): %s", out->sqlstate, out->error);
    for (int i = 0; i < n; i++) {
        of_this[i]->asked = false;
        of_this[i]->answered(out->end == DB_DONE ? out->results[i] : NULL);
    }
    loop_timer_set(loop, &timer, loop_now(loop) + (out->end == DB_DONE ? 0 : PAUSE_US));
}

static void go(void *of, uint32_t events)
{
    (void)of;
    (void)events;
    if (!db || !db_free(db))
        return; /* the end of the transaction, or the connection, calls again */
    for (int i = 0; i < count; i++) {
        const char *values[QUESTION_VALUES_MAX];
        if (!all[i]->wanted)
            continue;
        all[i]->wanted = false;
        if (!all[i]->put(values))
            continue;
        all[i]->asked = true;
        db_add(db, all[i]->statement, values);
        asked[asked_count++] = all[i];
    }
    if (asked_count)
        db_send(db, on_done, NULL);
}

static void on_up(void *of)
{
    (void)of;
    tell_up();
    loop_timer_set(loop, &timer, loop_now(loop));
}

static void on_heard(void *of, const char *said)
{
    (void)of;
    tell_heard(said);
}

struct fault questions_open(struct loop *on, struct question *const *questions, void (*up)(void), void (*heard)(const char *id))
{
    static struct db_statement statements[QUESTIONS_MAX];

    loop = on;
    tell_up = up;
    tell_heard = heard;
    timer = (struct loop_timer){.call = go};
    for (; questions[count]; count++) {
        all[count] = questions[count];
        all[count]->statement = count;
        statements[count] = (struct db_statement){all[count]->sql, all[count]->params};
    }
    TRY(db_open(&db, loop, "patron-requests", statements, count, on_up, NULL));
    db_listen(db, "requests", on_heard, NULL);
    return FAULT_OK;
}

void questions_close(void)
{
    if (loop)
        loop_timer_stop(loop, &timer);
    db_close(db);
    db = NULL;
}

bool questions_up(void)
{
    return db && db_connected(db);
}

void question_ask(struct question *q)
{
    q->wanted = true;
    if (!timer.place && !q->asked)
        loop_timer_set(loop, &timer, loop_now(loop));
}

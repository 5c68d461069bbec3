#include "producers/patron-requests/looks.h"

#include "common/metrics.h"
#include "producers/patron-requests/rows.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

enum { BATCH_MAX = 200, COLUMNS = 4, SILENT_US = 10000000 };
enum { C_PLACE, C_ID, C_STATE, C_ROW };

struct look {
    TAILQ_ENTRY(look) at;
    char id[37], state[16]; /* "" until it was read */
    char *caller, *ref;     /* ref NULL: by its id */
    look_told *told;        /* NULL: it was left */
    void *of;
    int64_t until_us;
    struct loop_timer timer;
    bool waiting;
};

TAILQ_HEAD(looks, look);

static struct looks wanted, reading, waiting;
static int waiting_count;
static struct loop *loop;
static struct db_columns columns;
static struct metric *waits;

static void free_look(struct look *l)
{
    loop_timer_stop(loop, &l->timer);
    free(l->caller);
    free(l->ref);
    free(l);
}

static void move(struct look *l, struct looks *from, struct looks *to)
{
    TAILQ_REMOVE(from, l, at);
    if (to)
        TAILQ_INSERT_TAIL(to, l, at);
    waiting_count += (to == &waiting) - (from == &waiting);
    l->waiting = to == &waiting;
    metric_set(waits, waiting_count);
    if (to == &wanted)
        question_ask(&looks_question);
}

static void tell(struct look *l, enum look_result result, const char *row)
{
    look_told *told = l->told;
    void *of = l->of;

    free_look(l);
    if (told)
        told(of, result, row);
}

/* Its time is over: read once more, and told whatever it is; or PostgreSQL says nothing. */
static void on_time(void *of, uint32_t events)
{
    struct look *l = of;
    look_told *told = l->told;

    (void)events;
    if (l->until_us) {
        l->until_us = 0;
        loop_timer_set(loop, &l->timer, loop_now(loop) + SILENT_US);
        if (l->waiting)
            move(l, &waiting, &wanted);
        return;
    }
    l->told = NULL;
    if (told)
        told(l->of, LOOK_FAILED, NULL);
}

static bool put(const char *values[QUESTION_VALUES_MAX])
{
    struct look *l;
    int place = 0;

    db_columns_begin(&columns, COLUMNS);
    while (place < BATCH_MAX && (l = TAILQ_FIRST(&wanted))) {
        if (!l->told) {
            TAILQ_REMOVE(&wanted, l, at);
            free_look(l);
            continue;
        }
        move(l, &wanted, &reading);
        db_put_int(&columns, place++);
        db_put(&columns, l->caller);
        db_put_opt(&columns, l->ref ? NULL : l->id);
        db_put(&columns, l->ref);
        db_row_end(&columns);
    }
    db_columns_end(&columns, values);
    return place > 0;
}

static bool is_final(const char *state)
{
    return strcmp(state, "accepted") != 0 && strcmp(state, "waiting") != 0;
}

/* What was read the first time is read again once: it may have changed before we knew whom to listen for. */
static void found(struct look *l, const PGresult *res, int row)
{
    const char *state = PQgetvalue(res, row, C_STATE);
    bool first = !*l->state, changed = !first && strcmp(state, l->state) != 0;

    if (l->until_us <= loop_now(loop) || changed || is_final(state) || (!first && waiting_count >= LOOKS_WAITING)) {
        tell(l, LOOK_FOUND, PQgetvalue(res, row, C_ROW));
        return;
    }
    snprintf(l->state, sizeof l->state, "%s", state);
    snprintf(l->id, sizeof l->id, "%s", PQgetvalue(res, row, C_ID));
    TAILQ_INSERT_TAIL(first ? &wanted : &waiting, l, at);
    l->waiting = !first;
    waiting_count += !first;
    metric_set(waits, waiting_count);
    if (first)
        question_ask(&looks_question);
}

static void answered(const PGresult *res)
{
    struct looks batch = TAILQ_HEAD_INITIALIZER(batch);
    struct look *l;
    int row = 0;

    TAILQ_CONCAT(&batch, &reading, at);
    for (int place = 0; (l = TAILQ_FIRST(&batch)); place++) {
        TAILQ_REMOVE(&batch, l, at);
        bool is = res && row < PQntuples(res) && atoi(PQgetvalue(res, row, C_PLACE)) == place;
        if (!l->told)
            free_look(l);
        else if (is)
            found(l, res, row);
        else
            tell(l, res ? LOOK_NOT_FOUND : LOOK_FAILED, NULL);
        row += is;
    }
    if (!TAILQ_EMPTY(&wanted))
        question_ask(&looks_question);
}

struct question looks_question = {
    .sql = "SELECT n.place, r.request_id, r.state, " ROW_JSON
           " FROM unnest($1::integer[], $2::text[], $3::uuid[], $4::text[]) AS n(place, caller, id, ref) CROSS JOIN LATERAL ("
           "SELECT * FROM requests a WHERE a.request_id = n.id AND a.caller = n.caller"
           " UNION ALL SELECT * FROM requests b WHERE n.id IS NULL AND b.caller = n.caller AND b.ref = n.ref) AS r"
           " ORDER BY n.place",
    .params = COLUMNS, .put = put, .answered = answered,
};

void looks_open(struct loop *on)
{
    loop = on;
    TAILQ_INIT(&wanted);
    TAILQ_INIT(&reading);
    TAILQ_INIT(&waiting);
    waits = metric_make(METRIC_GAUGE, "shelfwire_looks_waiting", "Who waits for a request's state to change.", "%s", "");
}

void looks_up(void)
{
    struct look *l;

    while ((l = TAILQ_FIRST(&waiting)))
        move(l, &waiting, &wanted);
}

void looks_heard(const char *id)
{
    struct look *l, *next;

    for (l = TAILQ_FIRST(&waiting); l; l = next) {
        next = TAILQ_NEXT(l, at);
        if (!strcmp(l->id, id))
            move(l, &waiting, &wanted);
    }
}

void looks_end(void)
{
    struct look *l;

    while ((l = TAILQ_FIRST(&waiting)))
        on_time(l, 0);
}

struct look *look_make(const char *caller, const char *id, const char *ref, int wait_s, look_told *told, void *of)
{
    struct look *l = calloc(1, sizeof *l);

    if (!l)
        return NULL;
    *l = (struct look){.caller = strdup(caller), .ref = id ? NULL : strdup(ref), .told = told, .of = of,
                       .until_us = wait_s ? loop_now(loop) + (int64_t)wait_s * 1000000 : 0,
                       .timer = {.call = on_time, .of = l}};
    snprintf(l->id, sizeof l->id, "%s", id ? id : "");
    if (!l->caller || (!id && !l->ref)) {
        free_look(l);
        return NULL;
    }
    loop_timer_set(loop, &l->timer, wait_s ? l->until_us : loop_now(loop) + SILENT_US);
    TAILQ_INSERT_TAIL(&wanted, l, at);
    question_ask(&looks_question);
    return l;
}

void look_leave(struct look *l)
{
    l->told = NULL;
    if (!l->waiting)
        return; /* it is dropped when its turn comes */
    TAILQ_REMOVE(&waiting, l, at);
    metric_set(waits, --waiting_count);
    free_look(l);
}

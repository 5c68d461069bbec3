#include "producers/patron-requests/intake.h"

#include "common/db.h"
#include "common/event.h"
#include "common/injection.h"
#include "common/log.h"
#include "common/loop.h"
#include "common/metrics.h"
#include "producers/patron-requests/rows.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    BATCH_MAX = 500,
    SILENT_US = 3000000,     /* PostgreSQL or Kafka: nothing more is taken */
    STUCK_US = 5000000,      /* Kafka: the engine's rounds wait, too */
    MARK_LINGER_US = 10000,  /* for another batch to go with */
    RETRY_US = 50000,
};

static const struct db_statement statements[] = {
    {"WITH n AS MATERIALIZED (SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[],"
     " $7::jsonb[], $8::text[], $9::text[]) WITH ORDINALITY"
     " AS n(id, caller, ref, service, action, patron, asked, callback, trace, place)),"
     " made AS (INSERT INTO requests (request_id, caller, ref, service, action, patron, asked, callback_url, trace_id)"
     " SELECT id, caller, ref, service, action, patron, asked, callback, trace FROM n ORDER BY place"
     " ON CONFLICT (caller, ref) DO NOTHING RETURNING request_id)"
     "SELECT n.place, r.request_id, (r.service, r.action, r.patron, r.asked, r.callback_url)"
     " IS NOT DISTINCT FROM (n.service, n.action, n.patron, n.asked, n.callback),"
     " r.sent_at IS NULL AND r.state IN ('accepted', 'waiting'), CASE WHEN r.request_id IS NOT NULL THEN " ROW_JSON " END"
     " FROM n LEFT JOIN requests r ON r.caller = n.caller AND r.ref = n.ref"
     " WHERE n.id NOT IN (SELECT request_id FROM made) ORDER BY n.place", 9},
    {"UPDATE requests SET sent_at = clock_timestamp() WHERE request_id = ANY ($1::uuid[]) AND sent_at IS NULL", 1},
};
enum { INSERT, MARK, INSERT_COLUMNS = 9 };
enum { C_PLACE, C_ID, C_SAME, C_UNSENT, C_ROW };

TAILQ_HEAD(items, intake_item);

static struct producer *producer;
static struct loop *loop;
static struct db *db;
static bool patient;
static struct items queued, committing, unsent, sending, sent, marking;
static struct intake_item *in_hand; /* by id: committed, and not marked as sent */
static int count, batch_count, mark_count;
static int apart; /* so many go in a part of their own each: PostgreSQL has refused a row, and it may be any of them */
static char refusal[160]; /* why PostgreSQL takes nothing at all; "" */
static int64_t batch_us; /* when the transaction under way began; 0: there is none */
static struct loop_timer timer;
static struct db_columns columns, marks;
static struct text value;
static struct metric *waiting, *outcomes[5];

static void go(void *of, uint32_t events);

static void go_in(int64_t us)
{
    int64_t at = loop_now(loop) + us;

    if (!timer.place || timer.at_us > at)
        loop_timer_set(loop, &timer, at);
}

/* ---- items ---- */

/* UUIDs of version 7: those of one moment lie together in the index. */
static void new_id(char ret[37])
{
    struct timespec now;
    uint64_t a = event_random(), b = event_random();

    clock_gettime(CLOCK_REALTIME, &now);
    uint64_t ms = (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
    snprintf(ret, 37, "%08" PRIx64 "-%04" PRIx64 "-7%03" PRIx64 "-%04" PRIx64 "-%012" PRIx64, ms >> 16 & 0xFFFFFFFF,
             ms & 0xFFFF, a & 0xFFF, (a >> 12 & 0x3FFF) | 0x8000, b & 0xFFFFFFFFFFFF);
}

static char *append(char **to, const char *text)
{
    char *at = *to;

    if (!text)
        return NULL;
    size_t len = strlen(text) + 1;
    memcpy(at, text, len);
    *to += len;
    return at;
}

struct intake_item *intake_put(const struct wish *w, const char *caller, const char *asked, intake_told *told, void *of)
{
    size_t len = strlen(caller) + strlen(w->ref) + strlen(w->patron) + strlen(asked) + 4 +
                 (w->callback ? strlen(w->callback) + 1 : 0);
    struct intake_item *item = malloc(sizeof *item + len);

    if (!item)
        return NULL;
    *item = (struct intake_item){.told = told, .of = of, .held = true, .topic = w->topic, .service = w->service,
                                  .action = w->action};
    char *at = (char *)(item + 1);
    item->caller = append(&at, caller);
    item->ref = append(&at, w->ref);
    item->patron = append(&at, w->patron);
    item->asked = append(&at, asked);
    item->callback = append(&at, w->callback);
    new_id(item->id);
    event_new_trace(item->trace_id);
    TAILQ_INSERT_TAIL(&queued, item, at);
    metric_set(waiting, ++count);
    go_in(0); /* with all that comes in this turn */
    return item;
}

static void free_item(struct intake_item *item)
{
    free(item->row);
    free(item);
}

/* It is in none of the lists any more. */
static void let_go(struct intake_item *item)
{
    if (item->in_hand)
        HASH_DELETE(by_id, in_hand, item);
    item->in_hand = false;
    item->gone = true;
    metric_set(waiting, --count);
    if (!item->held)
        free_item(item);
}

void intake_leave(struct intake_item *item)
{
    item->held = false;
    item->told = NULL;
    if (item->gone)
        free_item(item);
}

static void tell(struct intake_item *item, enum intake_end end)
{
    intake_told *told = item->told;

    item->end = end;
    item->told = NULL;
    metric_add(outcomes[end], 1);
    if (told)
        told(item);
}

int intake_in_hand(void)
{
    return count;
}

/* ---- sending ---- */

static void on_fate(struct producer_message *m, const char *error);

static bool send_item(struct intake_item *item)
{
    static struct request r;

    text_copy(r.request_id, sizeof r.request_id, item->id);
    text_copy(r.service, sizeof r.service, item->service);
    text_copy(r.action, sizeof r.action, item->action);
    text_copy(r.patron, sizeof r.patron, item->patron);
    text_clear(&value);
    request_write(&value, &r);
    item->message = (struct producer_message){.topic = item->topic, .subject = item->id, .trace_id = item->trace_id,
                                              .key = item->patron, .value = text_str(&value), .len = value.len,
                                              .fate = on_fate};
    return !value.failed && producer_post(producer, &item->message);
}

/* In their order: where one is not taken, those behind it wait. */
static void send_unsent(void)
{
    struct intake_item *item;

    while ((item = TAILQ_FIRST(&unsent))) {
        if (!send_item(item)) {
            go_in(RETRY_US);
            return;
        }
        TAILQ_REMOVE(&unsent, item, at);
        TAILQ_INSERT_TAIL(&sending, item, at);
    }
}

static void on_fate(struct producer_message *m, const char *error)
{
    struct intake_item *item = (struct intake_item *)((char *)m - offsetof(struct intake_item, message));

    TAILQ_REMOVE(&sending, item, at);
    if (error) {
        TAILQ_INSERT_TAIL(&unsent, item, at);
        go_in(RETRY_US);
        return;
    }
    TAILQ_INSERT_TAIL(&sent, item, at);
    item->acknowledged = true;
    go_in(MARK_LINGER_US);
    struct intake_item *follower = item->followers;
    item->followers = NULL;
    tell(item, item->row ? INTAKE_KNOWN : INTAKE_ACCEPTED);
    while (follower) {
        struct intake_item *next = follower->followers;
        tell(follower, INTAKE_KNOWN);
        let_go(follower);
        follower = next;
    }
}

/* Committed, and to be sent under its row's id. */
static void take_in_hand(struct intake_item *item)
{
    item->in_hand = true;
    item->since_us = loop_now(loop);
    HASH_ADD(by_id, in_hand, id, sizeof item->id - 1, item);
    TAILQ_INSERT_TAIL(&unsent, item, at);
}

/* ---- committing ---- */

/* What was here before and is not sent yet is promised only when it is. */
static void known_unsent(struct intake_item *item)
{
    struct intake_item *first;

    HASH_FIND(by_id, in_hand, item->id, sizeof item->id - 1, first);
    if (!first) { /* lost between commit and send: we send it */
        take_in_hand(item);
        return;
    }
    if (first->acknowledged) { /* only the mark is not there yet */
        tell(item, INTAKE_KNOWN);
        let_go(item);
        return;
    }
    item->followers = first->followers;
    first->followers = item;
}

/* The batch's rows that were not made: of earlier ones what they are, of those of the same moment nothing yet. */
static void not_made(struct intake_item *item, const PGresult *res, int row)
{
    TAILQ_REMOVE(&committing, item, at);
    if (PQgetisnull(res, row, C_ID)) {
        TAILQ_INSERT_TAIL(&queued, item, at);
        return;
    }
    const char *id = PQgetvalue(res, row, C_ID);
    bool is_unsent = PQgetvalue(res, row, C_UNSENT)[0] == 't';
    if (!strcmp(id, item->id)) { /* the commit whose outcome was lost was made */
        if (is_unsent) {
            take_in_hand(item);
        } else {
            tell(item, INTAKE_ACCEPTED);
            let_go(item);
        }
        return;
    }
    if (PQgetvalue(res, row, C_SAME)[0] != 't') {
        tell(item, INTAKE_OTHER);
        let_go(item);
        return;
    }
    text_copy(item->id, sizeof item->id, id);
    item->row = strdup(PQgetvalue(res, row, C_ROW));
    if (is_unsent && item->row) {
        known_unsent(item);
        return;
    }
    tell(item, item->row ? INTAKE_KNOWN : INTAKE_FAILED);
    let_go(item);
}

/* The next n that are being committed: in their order, of which `res` has a row where one was not made. */
static void committed(const PGresult *res, int n)
{
    struct intake_item *item = TAILQ_FIRST(&committing), *next;
    int row = 0;

    for (int place = 1; place <= n; place++, item = next) {
        next = TAILQ_NEXT(item, at);
        if (row < PQntuples(res) && atoi(PQgetvalue(res, row, C_PLACE)) == place) {
            not_made(item, res, row++);
        } else {
            TAILQ_REMOVE(&committing, item, at);
            take_in_hand(item);
        }
    }
}

/* Back to where they came from, in their order; what nobody waits for is not tried again. */
static void put_back(void)
{
    struct intake_item *item;

    while ((item = TAILQ_LAST(&committing, items))) {
        TAILQ_REMOVE(&committing, item, at);
        if (item->told)
            TAILQ_INSERT_HEAD(&queued, item, at);
        else
            let_go(item);
    }
    while ((item = TAILQ_LAST(&marking, items))) {
        TAILQ_REMOVE(&marking, item, at);
        TAILQ_INSERT_HEAD(&sent, item, at);
    }
}

static void wait_for_database(const char *sqlstate, const char *error)
{
    if (strcmp(refusal, error) != 0)
        log_warn("PostgreSQL refuses requests (%s): %s", sqlstate, error);
    snprintf(refusal, sizeof refusal, "%s", error);
    go_in(SILENT_US);
}

/* What is refused for what it says has failed; the rest of what is refused is put back: why, or NULL. */
static const struct db_refusal *parts_committed(const struct db_outcome *out)
{
    const struct db_refusal *later = NULL;
    struct items again = TAILQ_HEAD_INITIALIZER(again);
    struct intake_item *item;

    apart -= batch_count;
    for (int i = 0; i < batch_count; i++) {
        const struct db_refusal *why = &out->parts[i];
        item = TAILQ_FIRST(&committing);
        if (!*why->sqlstate) {
            committed(out->results[(mark_count > 0) + i], 1);
            continue;
        }
        TAILQ_REMOVE(&committing, item, at);
        if (db_refused_data(why->sqlstate)) {
            log_warn("PostgreSQL refuses a request (%s): %s", why->sqlstate, why->error);
            tell(item, INTAKE_FAILED);
            let_go(item);
        } else {
            TAILQ_INSERT_TAIL(&again, item, at);
            later = why;
        }
    }
    TAILQ_CONCAT(&again, &queued, at);
    TAILQ_CONCAT(&queued, &again, at);
    return later;
}

/* A row that PostgreSQL does not take must not take its batch with it: each goes in a part of its own next. Or none is to blame. */
static void refused(const struct db_outcome *out)
{
    bool any_row = !apart && batch_count;

    put_back();
    if (any_row) {
        apart = batch_count;
        go_in(0);
        return;
    }
    wait_for_database(out->sqlstate, out->error);
}

static void on_done(void *of, const struct db_outcome *out)
{
    struct intake_item *item;

    (void)of;
    batch_us = 0;
    if (out->end == DB_DONE) {
        const struct db_refusal *later = NULL;
        INJECTION_POINT(rows_committed);
        if (apart)
            later = parts_committed(out);
        else if (batch_count)
            committed(out->results[mark_count > 0], batch_count);
        if (later)
            wait_for_database(later->sqlstate, later->error);
        else
            refusal[0] = '\0';
        while ((item = TAILQ_FIRST(&marking))) {
            TAILQ_REMOVE(&marking, item, at);
            let_go(item);
        }
        INJECTION_POINT(rows_done);
        send_unsent();
    } else if (out->end == DB_REFUSED) {
        refused(out);
    } else {
        put_back();
    }
    if (!TAILQ_EMPTY(&queued) && out->end != DB_REFUSED && !*refusal)
        go_in(0);
    else if (!TAILQ_EMPTY(&sent))
        go_in(MARK_LINGER_US);
}

static void put_item(const struct intake_item *item)
{
    db_put(&columns, item->id);
    db_put(&columns, item->caller);
    db_put(&columns, item->ref);
    db_put(&columns, item->service);
    db_put(&columns, item->action);
    db_put(&columns, item->patron);
    db_put(&columns, item->asked);
    db_put(&columns, item->callback);
    db_put(&columns, item->trace_id);
    db_row_end(&columns);
}

static void add_rows(void)
{
    const char *values[INSERT_COLUMNS];

    db_columns_end(&columns, values);
    db_add(db, INSERT, values);
}

/* Those who left before their turn came are not made. */
static void add_batch(void)
{
    int most = !apart ? BATCH_MAX : apart < DB_PARTS_MAX ? apart : DB_PARTS_MAX;
    struct intake_item *item;

    db_columns_begin(&columns, INSERT_COLUMNS);
    while (batch_count < most && (item = TAILQ_FIRST(&queued))) {
        TAILQ_REMOVE(&queued, item, at);
        if (!item->told) {
            let_go(item);
            continue;
        }
        put_item(item);
        TAILQ_INSERT_TAIL(&committing, item, at);
        batch_count++;
        if (apart) {
            db_part(db);
            add_rows();
            db_columns_begin(&columns, INSERT_COLUMNS);
        }
    }
    if (!apart && batch_count)
        add_rows();
    if (TAILQ_EMPTY(&queued) && apart > batch_count)
        apart = batch_count; /* the others have left */
}

static void add_marks(void)
{
    struct intake_item *item;
    const char *values[1];

    mark_count = 0;
    db_columns_begin(&marks, 1);
    while (mark_count < 2 * BATCH_MAX && (item = TAILQ_FIRST(&sent))) {
        TAILQ_REMOVE(&sent, item, at);
        TAILQ_INSERT_TAIL(&marking, item, at);
        db_put(&marks, item->id);
        db_row_end(&marks);
        mark_count++;
    }
    if (mark_count) {
        db_columns_end(&marks, values);
        db_add(db, MARK, values);
    }
}

static bool may_write(void)
{
    return patient || producer_caught_up(producer);
}

static void go(void *of, uint32_t events)
{
    (void)of;
    (void)events;
    send_unsent();
    if (!db_free(db))
        return; /* the end of the transaction, or the connection, calls again */
    batch_count = 0;
    add_marks();
    if (may_write())
        add_batch();
    else if (!TAILQ_EMPTY(&queued))
        go_in(RETRY_US);
    if (!batch_count && !mark_count)
        return;
    batch_us = loop_now(loop);
    INJECTION_POINT(rows_send);
    db_send(db, on_done, NULL);
    INJECTION_POINT(rows_sent);
}

static void on_up(void *of)
{
    (void)of;
    producer_doubt(producer);
    go_in(0);
}

/* ---- the whole ---- */

static int64_t oldest_sent_us(void)
{
    const struct intake_item *a = TAILQ_FIRST(&unsent), *b = TAILQ_FIRST(&sending);

    return a && (!b || a->since_us < b->since_us) ? a->since_us : b ? b->since_us : INT64_MAX;
}

static bool older(int64_t since_us, int64_t than_us)
{
    return since_us < loop_now(loop) - than_us;
}

void intake_trouble(struct text *why)
{
    if (!db_connected(db))
        text_printf(why, "%s; ", *db_trouble(db) ? db_trouble(db) : "connecting to PostgreSQL");
    else if (batch_us && older(batch_us, SILENT_US))
        text_puts(why, "PostgreSQL does not answer; ");
    else if (*refusal)
        text_printf(why, "PostgreSQL refuses requests: %s; ", refusal);
    if (older(oldest_sent_us(), SILENT_US))
        text_puts(why, "Kafka has not acknowledged messages for seconds; ");
    if (count >= INTAKE_ROOM)
        text_puts(why, "too many requests at a time; ");
}

bool intake_busy(bool caught_up)
{
    if (caught_up)
        return older(oldest_sent_us(), STUCK_US);
    return !TAILQ_EMPTY(&unsent) || !TAILQ_EMPTY(&sending) || !TAILQ_EMPTY(&committing);
}

struct fault intake_open(struct producer *p, bool is_patient)
{
    static const char *const names[] = {"", "accepted", "known", "other", "failed"};
    struct items *const lists[] = {&queued, &committing, &unsent, &sending, &sent, &marking};

    producer = p;
    loop = producer_loop(p);
    patient = is_patient;
    timer = (struct loop_timer){.call = go};
    for (size_t i = 0; i < COUNT(lists); i++)
        TAILQ_INIT(lists[i]);
    for (int i = 1; i < 5; i++)
        outcomes[i] = metric_make(METRIC_COUNTER, "shelfwire_requests_total", "Requests taken, by what became of them.",
                                  "outcome=\"%s\"", names[i]);
    waiting = metric_make(METRIC_GAUGE, "shelfwire_requests_in_hand", "Requests being committed, sent and marked.", "%s", "");
    return db_open(&db, loop, "patron-requests", statements, COUNT(statements), on_up, NULL);
}

void intake_drain(int ms)
{
    int64_t until = loop_now(loop) + (int64_t)ms * 1000;

    while (count && loop_now(loop) < until)
        loop_turn(loop, 50);
    loop_timer_stop(loop, &timer);
    db_close(db);
    db = NULL;
}

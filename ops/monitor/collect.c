#include "ops/monitor/collect.h"

#include "common/json.h"
#include "common/log.h"
#include "common/loop.h"
#include "common/pg.h"
#include "ops/monitor/alerts.h"
#include "ops/monitor/dead_letters.h"
#include "ops/monitor/offsets.h"
#include "ops/monitor/programs.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { TOPICS_EVERY = 30, PROGRAMS_EVERY = 5, OLDEST_EVERY = 10, HISTORY_EVERY = 60, CONNECT_EVERY = 5 }; /* seconds */

static struct setting_list programs_list;
static int64_t replay_per_second;

const struct setting collect_settings[] = {
    {"MONITOR_PROGRAMS", SET_LIST, NULL, .to = &programs_list,
     .help = "where the programs serve /metrics, as host:port,host:port; a name with several addresses is several programs"},
    {"REPLAY_PER_SECOND", SET_WHOLE, "20", .least = 1, .most = 500, .to = &replay_per_second,
     .help = "how many dead letters a second are sent to their topics again, once somebody says so"},
    {0}};

static pthread_t thread;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct picture shown; /* under the lock */
static atomic_bool stop, signalled;

static struct { /* the thread's own */
    struct loop *loop;
    struct offsets *offsets;
    struct programs *programs;
    struct dead_letters *dead_letters;
    PGconn *conn;
    struct picture picture; /* begins as not known */
    int dlq_partitions[STAGES_MAX];
    int next_stage;
    int64_t second, topics_at, programs_at, oldest_at, history_at, connect_at;
    int64_t replayed_us;
} at = {.picture.facts = FACTS_UNKNOWN};

static int64_t now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static bool due(int64_t *last, int every)
{
    if (*last && at.second - *last < every)
        return false;
    *last = at.second;
    return true;
}

static void show(void)
{
    at.picture.at_ms = now_ms();
    pthread_mutex_lock(&lock);
    shown = at.picture;
    pthread_mutex_unlock(&lock);
}

static void kafka_says(struct fault f)
{
    if (f.kind && strcmp(at.picture.kafka_trouble, f.what) != 0)
        log_about(LOG_WARN, "kafka", "%s", f.what);
    snprintf(at.picture.kafka_trouble, sizeof at.picture.kafka_trouble, "%s", f.what);
}

static void database_says(struct fault f)
{
    if (f.kind && strcmp(at.picture.database_trouble, f.what) != 0)
        log_about(LOG_WARN, "PostgreSQL", "%s", f.what);
    snprintf(at.picture.database_trouble, sizeof at.picture.database_trouble, "%s", f.what);
    if (f.kind && at.conn && PQstatus(at.conn) != CONNECTION_OK) {
        PQfinish(at.conn);
        at.conn = NULL;
    }
}

/* ---- Kafka ---- */

static void look_at_a_stage(void)
{
    struct picture *p = &at.picture;

    for (int i = 0; i < STAGES_MAX; i++) {
        int stage = at.next_stage;
        struct stage_picture *s = &p->stages[stage];
        at.next_stage = (at.next_stage + 1) % STAGES_MAX;
        if (!s->exists)
            continue;
        struct fault f = offsets_look(at.offsets, stage, s);
        kafka_says(f);
        if (f.kind) { /* who leads may be another one now */
            at.topics_at = 0;
            return;
        }
        struct sample it = {.at_ms = now_ms()};
        for (int n = 0; n < s->partitions; n++) {
            it.read += s->read[n] > s->begin[n] ? s->read[n] : s->begin[n];
            it.end += s->end[n];
        }
        rates_add(&s->rates, it);
        s->seen_ms = it.at_ms;
        if (!s->lag)
            s->oldest_ms = 0;
        else if (s->oldest_ms <= 0 || due(&at.oldest_at, OLDEST_EVERY))
            offsets_oldest(at.offsets, stage, s);
        return;
    }
}

static void look_at_kafka(void)
{
    if (due(&at.topics_at, TOPICS_EVERY)) {
        struct fault f = offsets_topics(at.offsets, &at.picture, at.dlq_partitions);
        kafka_says(f);
        if (f.kind) {
            at.topics_at = at.second - TOPICS_EVERY + 2;
            return;
        }
    }
    look_at_a_stage();
}

/* ---- PostgreSQL ---- */

static int day_point(int64_t seconds)
{
    return (int)(seconds / (86400 / DAY_POINTS));
}

/* The day so far, from what was written: the picture survives a restart. */
static struct fault read_day(void)
{
    SCOPED(PQclear) PGresult *res = NULL;
    int64_t now = now_ms() / 1000;

    for (int i = 0; i < STAGES_MAX; i++)
        memset(at.picture.stages[i].day, 0xff, sizeof at.picture.stages[i].day);
    TRY(pg_run(at.conn, &res, "SELECT consumer, extract(epoch FROM at)::bigint / 300, max(lag) FROM lag_history"
               " WHERE at > now() - interval '1 day' GROUP BY 1, 2", 0, NULL));
    for (int r = 0; r < PQntuples(res); r++) {
        int point = DAY_POINTS - 1 - (day_point(now) - (int)atoll(PQgetvalue(res, r, 1)));
        for (int i = 0; i < STAGES_MAX && point >= 0 && point < DAY_POINTS; i++)
            if (!strcmp(offsets_group(i), PQgetvalue(res, r, 0)))
                at.picture.stages[i].day[point] = (int32_t)atoll(PQgetvalue(res, r, 2));
    }
    return FAULT_OK;
}

static struct fault write_history(void)
{
    int64_t now = now_ms();

    for (int i = 0; i < STAGES_MAX; i++) {
        const struct stage_picture *s = &at.picture.stages[i];
        const struct sample *last = s->rates.count ? &s->rates.at[s->rates.count - 1] : NULL;
        if (!s->exists || !s->seen_ms || !last || now - s->seen_ms > HISTORY_EVERY * 1000)
            continue; /* nobody knows */
        char numbers[5][24];
        snprintf(numbers[0], 24, "%lld", (long long)s->lag);
        snprintf(numbers[1], 24, "%lld", (long long)last->read);
        snprintf(numbers[2], 24, "%lld", (long long)last->end);
        snprintf(numbers[3], 24, "%lld", s->oldest_ms > 0 && now > s->oldest_ms ? (long long)(now - s->oldest_ms) / 1000 : 0ll);
        snprintf(numbers[4], 24, "%d", s->workers);
        TRY(pg_do(at.conn, "INSERT INTO lag_history (consumer, topic, at, lag, read_offset, end_offset, oldest_s, workers)"
                  " VALUES ($1, $2, date_trunc('minute', clock_timestamp()), $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING",
                  offsets_group(i), offsets_topic(i), numbers[0], numbers[1], numbers[2], numbers[3], numbers[4]));
    }
    return read_day();
}

static int take_counts(const PGresult *res, struct counted ret[COUNTED_MAX])
{
    int n = PQntuples(res) < COUNTED_MAX ? PQntuples(res) : COUNTED_MAX;

    for (int r = 0; r < n; r++) {
        text_copy(ret[r].name, sizeof ret[r].name, PQgetvalue(res, r, 0));
        text_copy(ret[r].word, sizeof ret[r].word, PQgetvalue(res, r, 1));
        ret[r].n = atoll(PQgetvalue(res, r, 2));
    }
    return n;
}

static struct fault count_dead(void)
{
    SCOPED(PQclear) PGresult *res = NULL;
    struct picture *p = &at.picture;

    TRY(pg_run(at.conn, &res, "SELECT topic, code, n FROM dead_letter_counts WHERE n > 0 ORDER BY n DESC, topic, code", 0, NULL));
    p->dead_count = take_counts(res, p->dead);
    for (int i = 0; i < STAGES_MAX; i++) {
        p->stages[i].dead = 0;
        for (int r = 0; r < PQntuples(res); r++)
            if (!strcmp(offsets_topic(i), PQgetvalue(res, r, 0)))
                p->stages[i].dead += atoll(PQgetvalue(res, r, 2));
    }
    return FAULT_OK;
}

static struct fault count_desk(void)
{
    SCOPED(PQclear) PGresult *res = NULL;

    TRY(pg_run(at.conn, &res, "SELECT kind, '', count(*) FROM desk WHERE closed_at IS NULL GROUP BY kind ORDER BY 3 DESC, 1", 0, NULL));
    at.picture.desk_count = take_counts(res, at.picture.desk);
    return FAULT_OK;
}

static struct fault use_database(void)
{
    int64_t now_us = loop_now(at.loop);
    double since = at.replayed_us ? (double)(now_us - at.replayed_us) / 1e6 : 0;

    if (!*at.picture.kafka_trouble) {
        TRY(dead_letters_assign(at.dead_letters, at.conn, at.dlq_partitions));
        TRY(dead_letters_read(at.dead_letters, at.conn));
        at.replayed_us = now_us;
        TRY(dead_letters_replay(at.dead_letters, at.conn, since));
    }
    TRY(count_dead());
    if (due(&at.history_at, HISTORY_EVERY)) {
        TRY(write_history());
        TRY(count_desk());
        TRY(alerts_facts(at.conn, &at.picture.facts));
        TRY(alerts_judge(at.conn, &at.picture));
    }
    return alerts_tell(at.conn, at.loop);
}

static struct fault connect_database(void)
{
    TRY(pg_open(&at.conn, "monitor"));
    TRY(pg_check_schema(at.conn));
    TRY(pg_do(at.conn, "SET statement_timeout = '30s'"));
    return read_day();
}

static void look_at_database(void)
{
    if (!at.conn) {
        if (!due(&at.connect_at, CONNECT_EVERY))
            return;
        struct fault f = connect_database();
        database_says(f);
        if (f.kind) {
            PQfinish(at.conn);
            at.conn = NULL;
            return;
        }
    }
    database_says(use_database());
}

/* ---- the thread ---- */

static void look(void)
{
    at.second = loop_now(at.loop) / 1000000;
    pthread_mutex_lock(&lock);
    settings_reread(loop_now(at.loop));
    pthread_mutex_unlock(&lock);
    look_at_kafka();
    if (due(&at.programs_at, PROGRAMS_EVERY))
        programs_ask(at.programs, &at.picture);
    show();
    look_at_database();
    show();
    alerts_of_database(at.loop, at.picture.database_trouble);
}

static void *run(void *unused)
{
    (void)unused;
    while (!stop) {
        int64_t begun_us = loop_now(at.loop);
        look();
        do {
            int64_t left_us = begun_us + 1000000 - loop_now(at.loop);
            loop_turn(at.loop, left_us > 0 ? (int)(left_us / 1000) + 1 : 0);
        } while (!stop && !loop_stopping(at.loop) && loop_now(at.loop) < begun_us + 1000000);
        if (loop_stopping(at.loop)) {
            signalled = true;
            break;
        }
    }
    json_forget();
    return NULL;
}

static struct fault open_all(void)
{
    TRY(loop_open(&at.loop));
    TRY(programs_open(&at.programs, at.loop, &programs_list));
    TRY(offsets_open(&at.offsets));
    for (int i = 0; i < STAGES_MAX; i++)
        memset(at.picture.stages[i].day, 0xff, sizeof at.picture.stages[i].day);
    return FAULT_OK;
}

static void close_all(void)
{
    dead_letters_close(at.dead_letters);
    offsets_close(at.offsets);
    programs_close(at.programs);
    PQfinish(at.conn);
    loop_close(at.loop);
}

struct fault collect_start(void)
{
    struct fault f = open_all();

    if (!f.kind)
        f = dead_letters_open(&at.dead_letters, at.loop, replay_per_second);
    if (!f.kind && pthread_create(&thread, NULL, run, NULL))
        f = FAULT(FATAL, "cannot start a thread");
    if (f.kind)
        close_all();
    return f;
}

void collect_stop(void)
{
    stop = true;
    pthread_join(thread, NULL);
    close_all();
}

bool collect_stopping(void)
{
    return signalled;
}

const struct picture *collect_look(void)
{
    pthread_mutex_lock(&lock);
    return &shown;
}

void collect_done(void)
{
    pthread_mutex_unlock(&lock);
}

static struct fault look_once(void)
{
    TRY(open_all());
    TRY(offsets_topics(at.offsets, &at.picture, at.dlq_partitions));
    for (int round = 0; round < 2; round++) /* rates want two looks */
        for (int i = 0; i < STAGES_MAX; i++)
            if (at.picture.stages[i].exists) {
                at.next_stage = i;
                look_at_a_stage();
            }
    programs_ask(at.programs, &at.picture);
    return *at.picture.kafka_trouble ? FAULT(RETRY, "%s", at.picture.kafka_trouble) : FAULT_OK;
}

struct fault collect_once(const struct picture **ret)
{
    struct fault f = look_once();

    close_all();
    *ret = &at.picture;
    return f;
}

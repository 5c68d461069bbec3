#include "ops/monitor/dead_letters.h"

#include "common/db.h"
#include "common/event.h"
#include "common/json.h"
#include "common/kafka/client.h"
#include "common/log.h"
#include "common/pg.h"
#include "common/text.h"
#include "ops/monitor/offsets.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* KEPT_MAX: ours are smaller (message.max.bytes); what others put there and is larger is named, and left in Kafka */
enum { KEPT_MAX = 4 << 20, BATCH = 500, BATCH_BYTES = 2 << 20, ROUND_US = 500000, REPLAY_MAX = 500, FLUSH_MS = 1000, COLUMNS = 13 };

struct dead_letters {
    rd_kafka_t *rk;
    rd_kafka_message_t *first; /* a message that found no room in the last batch */
    struct kafka_producer *producer;
    struct loop *loop;
    struct db_columns columns;
    int partitions[STAGES_MAX];
    bool begun;
    double per_second, allowance;
};

struct replay { /* of one row */
    char id[24];
    bool sent, failed;
};

static void delivered(void *of, const char *error)
{
    struct replay *r = of;

    r->sent = !error;
    r->failed = error != NULL;
}

struct fault dead_letters_open(struct dead_letters **ret, struct loop *loop, int64_t replay_per_second)
{
    rd_kafka_t *rk;

    TRY(offsets_consumer(&rk, NULL, "262144", "1024"));
    struct dead_letters *d = calloc(1, sizeof *d);
    d->rk = rk;
    d->loop = loop;
    d->per_second = (double)replay_per_second;
    *ret = d;
    return FAULT_OK;
}

void dead_letters_close(struct dead_letters *d)
{
    if (!d)
        return;
    if (d->first)
        rd_kafka_message_destroy(d->first);
    rd_kafka_destroy_flags(d->rk, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
    if (d->producer)
        kafka_producer_close(d->producer, FLUSH_MS);
    db_columns_free(&d->columns);
    free(d);
}

/* ---- where to begin ---- */

struct fault dead_letters_assign(struct dead_letters *d, PGconn *conn, const int partitions[STAGES_MAX])
{
    SCOPED(PQclear) PGresult *res = NULL;

    if (d->begun && !memcmp(d->partitions, partitions, sizeof d->partitions))
        return FAULT_OK;
    TRY(pg_run(conn, &res, "SELECT dlq, partition, next_offset FROM dead_letter_reads", 0, NULL));
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(16);
    for (int i = 0; i < STAGES_MAX; i++)
        for (int p = 0; p < partitions[i]; p++)
            rd_kafka_topic_partition_list_add(list, offsets_dlq(i), p)->offset = RD_KAFKA_OFFSET_BEGINNING;
    for (int r = 0; r < PQntuples(res); r++) {
        rd_kafka_topic_partition_t *it =
            rd_kafka_topic_partition_list_find(list, PQgetvalue(res, r, 0), atoi(PQgetvalue(res, r, 1)));
        if (it)
            it->offset = atoll(PQgetvalue(res, r, 2));
    }
    if (d->first)
        rd_kafka_message_destroy(d->first);
    d->first = NULL;
    rd_kafka_resp_err_t err = rd_kafka_assign(d->rk, list);
    rd_kafka_topic_partition_list_destroy(list);
    if (err)
        return FAULT(RETRY, "the dead letters cannot be read: %s", rd_kafka_err2str(err));
    memcpy(d->partitions, partitions, sizeof d->partitions);
    d->begun = true;
    return FAULT_OK;
}

/* ---- a message as a row ---- */

/* Valid UTF-8 without control characters: what is not becomes "?". */
static void fit_text(char *to, size_t size, const char *bytes, size_t len)
{
    char raw[1024];
    size_t n = 0;

    for (size_t i = 0; i < len && n + 1 < sizeof raw; i++)
        raw[n++] = (unsigned char)bytes[i] < ' ' || (unsigned char)bytes[i] > '~' ? '?' : bytes[i];
    raw[n] = '\0';
    text_copy(to, size, raw);
}

static bool header(const rd_kafka_headers_t *headers, const char *name, char *ret, size_t size)
{
    const void *bytes;
    size_t len;

    if (!headers || rd_kafka_header_get_last(headers, name, &bytes, &len) || !bytes)
        return false;
    fit_text(ret, size, bytes, len);
    return true;
}

static void read_subject(const char *value, size_t len, char *ret, size_t size)
{
    static const char *const names[] = {"appt_id", "request_id", "isbn"};
    SCOPED(json_object_put) json_object *body = NULL;

    ret[0] = '\0';
    if (!value || json_read(value, len, &body).kind)
        return;
    for (size_t i = 0; i < COUNT(names) && !*ret; i++) {
        const char *said = json_str(body, names[i]);
        if (said)
            fit_text(ret, size, said, strlen(said));
    }
}

/* A number as Spring Kafka writes it: so many bytes, the highest first. */
static bool number(const rd_kafka_headers_t *headers, const char *name, size_t size, int64_t *ret)
{
    const void *bytes;
    uint64_t n = 0;
    size_t len;

    if (!headers || rd_kafka_header_get_last(headers, name, &bytes, &len) || !bytes || len != size)
        return false;
    for (size_t i = 0; i < size; i++)
        n = n << 8 | ((const unsigned char *)bytes)[i];
    *ret = size == sizeof(uint32_t) ? (int32_t)n : (int64_t)n;
    return true;
}

static void read_origin(const rd_kafka_headers_t *headers, char *ret, size_t size)
{
    int64_t partition, offset, at_ms;

    if (number(headers, "kafka_dlt-original-partition", sizeof(uint32_t), &partition) &&
        number(headers, "kafka_dlt-original-offset", sizeof(uint64_t), &offset) &&
        number(headers, "kafka_dlt-original-timestamp", sizeof(uint64_t), &at_ms) && partition >= 0 && offset >= 0)
        snprintf(ret, size, "%" PRId64 "/%" PRId64 "/%" PRId64, partition, offset, at_ms);
}

void dead_letter_read(const char *dlq, const rd_kafka_headers_t *headers, const char *value, size_t len, struct dead_letter *ret)
{
    char trace[80];
    size_t dlq_len = strlen(dlq);

    *ret = (struct dead_letter){0};
    if (!header(headers, "kafka_dlt-original-topic", ret->topic, sizeof ret->topic))
        snprintf(ret->topic, sizeof ret->topic, "%.*s", (int)(dlq_len > 4 ? dlq_len - 4 : dlq_len), dlq);
    if (!header(headers, "kafka_dlt-exception-fqcn", ret->code, sizeof ret->code))
        text_copy(ret->code, sizeof ret->code, "not_said");
    if (!header(headers, "kafka_dlt-exception-message", ret->reason, sizeof ret->reason))
        text_copy(ret->reason, sizeof ret->reason, "not said: it was put there by something else");
    if (header(headers, "traceparent", trace, sizeof trace))
        event_read_trace(trace, strlen(trace), ret->trace_id);
    read_origin(headers, ret->origin, sizeof ret->origin);
    read_subject(value, len, ret->subject, sizeof ret->subject);
}

static void put_bytes(struct db_columns *c, const void *bytes, size_t len)
{
    static const char digits[] = "0123456789abcdef";
    static struct text hex;

    if (!bytes) {
        db_put(c, NULL);
        return;
    }
    text_clear(&hex);
    text_puts(&hex, "\\x");
    for (size_t i = 0; i < len; i++) {
        unsigned char b = ((const unsigned char *)bytes)[i];
        char pair[2] = {digits[b >> 4], digits[b & 15]};
        text_add(&hex, pair, 2);
    }
    db_put(c, text_str(&hex));
    if (hex.room > BATCH_BYTES)
        text_free(&hex);
}

static void put_row(struct dead_letters *d, const rd_kafka_message_t *m)
{
    struct db_columns *c = &d->columns;
    struct dead_letter it;
    rd_kafka_headers_t *headers = NULL;
    const char *dlq = rd_kafka_topic_name(m->rkt);
    int64_t at_ms = rd_kafka_message_timestamp(m, NULL);

    rd_kafka_message_headers(m, &headers);
    dead_letter_read(dlq, headers, m->payload, m->len, &it);
    db_put(c, dlq);
    db_put_int(c, m->partition);
    db_put_int(c, m->offset);
    db_put(c, it.topic);
    db_put_int(c, at_ms > 0 ? at_ms : 0);
    db_put(c, it.code);
    db_put(c, it.reason);
    put_bytes(c, m->key, m->key_len);
    put_bytes(c, m->len > KEPT_MAX ? NULL : m->payload, m->len);
    db_put_opt(c, it.trace_id);
    db_put_opt(c, it.subject);
    db_put_bool(c, m->len > KEPT_MAX);
    db_put_opt(c, it.origin);
    db_row_end(c);
}

/* ---- reading ---- */

static rd_kafka_message_t *next(struct dead_letters *d, int wait_ms)
{
    rd_kafka_message_t *m = d->first ? d->first : rd_kafka_consumer_poll(d->rk, wait_ms);

    d->first = NULL;
    return m;
}

/* Returns how many rows it holds. */
static int gather(struct dead_letters *d)
{
    size_t bytes = 0;
    int n = 0;

    db_columns_begin(&d->columns, COLUMNS);
    for (rd_kafka_message_t *m; n < BATCH && (m = next(d, n ? 0 : 20));) {
        if (m->err) {
            rd_kafka_message_destroy(m);
            continue;
        }
        if (n && bytes + m->len > BATCH_BYTES) {
            d->first = m;
            break;
        }
        bytes += m->len;
        put_row(d, m);
        n++;
        rd_kafka_message_destroy(m);
    }
    return n;
}

static struct fault write_rows(struct dead_letters *d, PGconn *conn)
{
    static const char sql[] =
        "WITH came AS MATERIALIZED (SELECT * FROM unnest($1::text[], $2::int[], $3::bigint[], $4::text[], $5::bigint[], $6::text[], $7::text[],"
        " $8::bytea[], $9::bytea[], $10::text[], $11::text[], $12::bool[], $13::text[])"
        " AS c(dlq, p, o, topic, at_ms, code, reason, key, value, trace_id, subject, large, origin)),"
        "judged AS (SELECT c.*, CASE WHEN large THEN 'larger than is kept here: it is in Kafka'"
        " WHEN origin IS NOT NULL AND (d.there OR row_number() OVER (PARTITION BY topic, dlq, origin ORDER BY p, o) > 1)"
        " THEN 'it came before: a crash was between the dead letter and the offset' END AS why"
        " FROM came c LEFT JOIN LATERAL (SELECT true AS there FROM dead_letters d"
        " WHERE d.topic = c.topic AND d.dlq = c.dlq AND d.origin = c.origin LIMIT 1) d ON true),"
        "rows AS (INSERT INTO dead_letters (dlq, dlq_partition, dlq_offset, topic, at, code, reason, key, value, trace_id, subject, origin,"
        " state, decided_at, decided_by, why)"
        " SELECT dlq, p, o, topic, to_timestamp(at_ms / 1000.0), code, reason, key, value, trace_id, subject, origin,"
        " CASE WHEN why IS NULL THEN 'open' ELSE 'discarded' END, CASE WHEN why IS NOT NULL THEN clock_timestamp() END,"
        " CASE WHEN why IS NOT NULL THEN 'monitor' END, why FROM judged"
        " ON CONFLICT (dlq, dlq_partition, dlq_offset) DO NOTHING)"
        "INSERT INTO dead_letter_reads AS r (dlq, partition, next_offset) SELECT dlq, p, max(o) + 1 FROM came GROUP BY dlq, p"
        " ON CONFLICT (dlq, partition) DO UPDATE SET next_offset = excluded.next_offset";
    const char *values[COLUMNS];
    SCOPED(PQclear) PGresult *res = NULL;

    db_columns_end(&d->columns, values);
    struct fault f = pg_run(conn, &res, sql, COLUMNS, values);
    if (f.kind)
        d->begun = false; /* what was fetched comes again */
    return f;
}

struct fault dead_letters_read(struct dead_letters *d, PGconn *conn)
{
    int64_t begun_us = loop_now(d->loop);

    if (!d->begun)
        return FAULT_OK;
    while (gather(d)) {
        TRY(write_rows(d, conn));
        if (loop_now(d->loop) + loop_lapse_us(d->loop) - begun_us > ROUND_US)
            break;
    }
    return FAULT_OK;
}

/* ---- sending again ---- */

static struct fault send_rows(struct dead_letters *d, const PGresult *rows, struct replay *replays)
{
    for (int r = 0; r < PQntuples(rows); r++) {
        size_t key_len = 0, len = 0;
        unsigned char *key = PQgetisnull(rows, r, 2) ? NULL : PQunescapeBytea((const unsigned char *)PQgetvalue(rows, r, 2), &key_len);
        unsigned char *value = PQgetisnull(rows, r, 3) ? NULL : PQunescapeBytea((const unsigned char *)PQgetvalue(rows, r, 3), &len);
        struct kafka_message m = {.topic = PQgetvalue(rows, r, 1), .key = (const char *)key, .key_len = key_len,
                                  .value = (const char *)value, .len = len};

        text_copy(replays[r].id, sizeof replays[r].id, PQgetvalue(rows, r, 0));
        m.headers = event_headers("monitor", PQgetvalue(rows, r, 5), m.topic, PQgetvalue(rows, r, 4));
        if (!kafka_produce(d->producer, &m, &replays[r])) {
            rd_kafka_headers_destroy(m.headers);
            replays[r].failed = true;
        }
        PQfreemem(key);
        PQfreemem(value);
    }
    /* no replay outlives this: what is not acknowledged by then is still `replaying`, and its fate must find memory */
    while (!kafka_flush(d->producer, FLUSH_MS))
        if (loop_stopping(d->loop))
            return FAULT(RETRY, "Kafka does not take the dead letters that are to be sent again");
    return FAULT_OK;
}

struct fault dead_letters_replay(struct dead_letters *d, PGconn *conn, double seconds_since_last)
{
    SCOPED(PQclear) PGresult *rows = NULL;
    SCOPED(PQclear) PGresult *marked = NULL;
    static struct replay replays[REPLAY_MAX];
    char limit[16];
    const char *values[1];

    d->allowance += seconds_since_last * d->per_second;
    d->allowance = d->allowance > REPLAY_MAX ? REPLAY_MAX : d->allowance;
    if (d->allowance < 1)
        return FAULT_OK;
    snprintf(limit, sizeof limit, "%d", (int)d->allowance);
    TRY(pg_run(conn, &rows, "SELECT dead_letter_id, topic, key, value, coalesce(trace_id, ''), coalesce(subject, '') FROM dead_letters"
               " WHERE state = 'replaying' ORDER BY decided_at, dead_letter_id LIMIT $1::int", 1, (const char *const[]){limit}));
    if (!PQntuples(rows)) {
        d->allowance = d->allowance > 1 ? 1 : d->allowance; /* not saved up */
        return FAULT_OK;
    }
    if (!d->producer)
        TRY(kafka_producer_open(&d->producer, d->loop, "monitor", delivered));
    memset(replays, 0, sizeof replays);
    TRY(send_rows(d, rows, replays));
    d->allowance -= PQntuples(rows);
    db_columns_begin(&d->columns, 1);
    for (int r = 0; r < PQntuples(rows); r++)
        if (replays[r].sent) {
            db_put(&d->columns, replays[r].id);
            db_row_end(&d->columns);
        }
    db_columns_end(&d->columns, values);
    return pg_run(conn, &marked, "UPDATE dead_letters SET state = 'replayed' WHERE state = 'replaying'"
                  " AND dead_letter_id = ANY ($1::bigint[])", 1, values);
}

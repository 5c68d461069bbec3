/*
 * floors_catalog - what the libraries alone cost for the catalog's work (see floors.c).
 *
 *   floors_catalog parse   file=                        json-c, its own defaults, one tokener: each record once
 *   floors_catalog produce servers= topic= file=        librdkafka, acks=all, no headers: each record, the ISBN its key
 *   floors_catalog consume servers= topic= count=       librdkafka: take them, do nothing
 *   floors_catalog upsert  file= [batch=1000]           libpq: rows of `titles`, each batch one statement over arrays
 *   floors_catalog list    token= URL...                libcurl and json-c: each list, parsed as its bytes arrive
 *
 * parse and produce read lines of ISBN and record, upsert what COPY wrote. The whole process is what counts for list.
 */
#include "floors.h"

#include <curl/curl.h>
#include <json-c/json.h>
#include <libpq-fe.h>
#include <stdbool.h>
#include <unistd.h>

static void ready(void)
{
    fputs("ready\n", stdout);
    fflush(stdout);
}

static int report(int count, int64_t cpu, int64_t wall)
{
    printf("{\"count\": %d, \"cpu_s\": %.6f, \"wall_s\": %.6f}\n", count, (double)(cpu_us() - cpu) / 1e6,
           (double)(now_us() - wall) / 1e6);
    fflush(stdout);
    return 0;
}

/* ---- json-c ---- */

static int parse_main(void)
{
    struct lines l = lines_read(arg("file", NULL));
    json_tokener *tokener = need(json_tokener_new());
    int64_t cpu = cpu_us(), wall = now_us();

    for (int i = 0; i < l.count; i++) {
        const char *record = strchr(l.at[i], '\t') + 1;
        json_object *parsed = json_tokener_parse_ex(tokener, record, (int)strlen(record));
        if (!parsed)
            die("record %d is not JSON", i);
        json_object_put(parsed);
    }
    return report(l.count, cpu, wall);
}

/* ---- Kafka ---- */

static int produce_main(void)
{
    struct lines l = lines_read(arg("file", NULL));
    rd_kafka_t *rk = producer_open("1", "10000");
    rd_kafka_topic_t *topic = topic_open(rk, arg("topic", NULL));

    ready();
    int64_t cpu = cpu_us(), wall = now_us();
    for (int i = 0; i < l.count; i++) {
        const char *f[2];
        fields(l.at[i], f, 2);
        produce(rk, topic, f[0], strlen(f[0]), f[1], strlen(f[1]));
        if (i % 64 == 0)
            rd_kafka_poll(rk, 0);
    }
    rd_kafka_flush(rk, 60000);
    if (delivered != l.count)
        die("%d of %d delivered", delivered, l.count);
    return report(l.count, cpu, wall);
}

static int consume_main(void)
{
    rd_kafka_queue_t *queue = subscribe(arg("topic", NULL));
    int count = atoi(arg("count", NULL)), taken = 0;
    int64_t cpu = 0, wall = 0;

    ready();
    while (taken < count) {
        rd_kafka_message_t *messages[128];
        ssize_t n = rd_kafka_consume_batch_queue(queue, 1000, messages, COUNT(messages));
        for (ssize_t i = 0; i < n; i++) {
            if (!messages[i]->err && !taken++) {
                cpu = cpu_us();
                wall = now_us();
            }
            rd_kafka_message_destroy(messages[i]);
        }
    }
    report(count, cpu, wall);
    _exit(0); /* no leave-taking: nothing of it is measured */
}

/* ---- PostgreSQL ---- */

#define FACTS "media_type, title, sort_title, series_name, series_position, series_total, authors, narrators, genres, primary_genres," \
    " audience, language, publisher, publication_date, description, digital_rights, images, title_id"
enum { COLUMNS = 20 };

static const char upsert_sql[] =
    "INSERT INTO titles (isbn, owned, owned_as_of, " FACTS ") SELECT isbn, true, as_of, media_type, title, sort_title, series_name,"
    " series_position, series_total, authors::text[], narrators::text[], genres::text[], primary_genres::text[], audience, language,"
    " publisher, publication_date, description, digital_rights, images::jsonb, title_id"
    " FROM unnest($1::text[], $2::timestamptz[], $3::text[], $4::text[], $5::text[], $6::text[], $7::int[], $8::int[], $9::text[],"
    " $10::text[], $11::text[], $12::text[], $13::text[], $14::text[], $15::text[], $16::date[], $17::text[], $18::bool[], $19::text[],"
    " $20::bigint[]) AS s(isbn, as_of, " FACTS ")"
    " ON CONFLICT (isbn) DO UPDATE SET owned = true, owned_as_of = excluded.owned_as_of, media_type = excluded.media_type,"
    " title = excluded.title, sort_title = excluded.sort_title, series_name = excluded.series_name,"
    " series_position = excluded.series_position, series_total = excluded.series_total, authors = excluded.authors,"
    " narrators = excluded.narrators, genres = excluded.genres, primary_genres = excluded.primary_genres, audience = excluded.audience,"
    " language = excluded.language, publisher = excluded.publisher, publication_date = excluded.publication_date,"
    " description = excluded.description, digital_rights = excluded.digital_rights, images = excluded.images, title_id = excluded.title_id";

/* In place, as COPY's text format writes it; NULL for \N. */
static const char *unescape(char *field)
{
    static const char from[] = "bfnrtv", to[] = "\b\f\n\r\t\v";
    char *out = field;

    if (!strcmp(field, "\\N"))
        return NULL;
    for (const char *c = field; *c; c++) {
        const char *known = *c == '\\' ? strchr(from, *++c) : NULL;
        *out++ = known ? to[known - from] : *c;
    }
    *out = '\0';
    return field;
}

/* One column of n rows as an array; `to` has room for it. */
static void array_of(char *to, const char *(*rows)[COLUMNS], int n, int column)
{
    *to++ = '{';
    for (int i = 0; i < n; i++) {
        const char *value = rows[i][column];
        if (i)
            *to++ = ',';
        if (!value) {
            to = stpcpy(to, "NULL");
            continue;
        }
        *to++ = '"';
        for (size_t plain; *value; value += plain) {
            plain = strcspn(value, "\"\\");
            to = mempcpy(to, value, plain);
            if (!plain) {
                *to++ = '\\';
                *to++ = *value;
                plain = 1;
            }
        }
        *to++ = '"';
    }
    strcpy(to, "}");
}

static size_t longest_batch(const char *(*rows)[COLUMNS], int count, int batch, int column)
{
    size_t longest = 0, len = 0;

    for (int i = 0; i < count; i++) {
        if (i % batch == 0)
            len = 3;
        len += rows[i][column] ? 2 * strlen(rows[i][column]) + 3 : 5;
        longest = len > longest ? len : longest;
    }
    return longest;
}

static int upsert_main(void)
{
    struct lines l = lines_read(arg("file", NULL));
    const char *(*rows)[COLUMNS] = need(calloc((size_t)l.count, sizeof *rows));
    char *arrays[COLUMNS];
    int batch = atoi(arg("batch", "1000"));
    PGconn *conn = PQconnectdb(""); /* PG* */

    if (batch < 1)
        die("batch= is not 1 or more");
    for (int i = 0; i < l.count; i++) {
        fields(l.at[i], rows[i], COLUMNS);
        for (int c = 0; c < COLUMNS; c++)
            rows[i][c] = unescape((char *)(uintptr_t)rows[i][c]);
    }
    for (int c = 0; c < COLUMNS; c++)
        arrays[c] = need(malloc(longest_batch(rows, l.count, batch, c)));
    if (PQstatus(conn) != CONNECTION_OK)
        die("PostgreSQL: %s", PQerrorMessage(conn));
    PQclear(PQexec(conn, session_sql));
    PGresult *res = PQprepare(conn, "upsert", upsert_sql, 0, NULL);
    if (PQresultStatus(res) != PGRES_COMMAND_OK)
        die("PostgreSQL: %s", PQerrorMessage(conn));
    PQclear(res);
    ready();
    int64_t cpu = cpu_us(), wall = now_us();
    for (int done = 0; done < l.count; done += batch) {
        int n = l.count - done < batch ? l.count - done : batch;
        for (int c = 0; c < COLUMNS; c++)
            array_of(arrays[c], rows + done, n, c);
        res = PQexecPrepared(conn, "upsert", COLUMNS, (const char *const *)arrays, NULL, NULL, 0);
        if (PQresultStatus(res) != PGRES_COMMAND_OK)
            die("PostgreSQL: %s", PQerrorMessage(conn));
        PQclear(res);
    }
    report(l.count, cpu, wall);
    PQfinish(conn);
    return 0;
}

/* ---- a list ---- */

static size_t on_bytes(char *bytes, size_t size, size_t count, void *of)
{
    json_object **ret_list = of;
    static json_tokener *tokener;

    if (!tokener)
        tokener = need(json_tokener_new());
    if (!*ret_list)
        *ret_list = json_tokener_parse_ex(tokener, bytes, (int)(size * count));
    enum json_tokener_error error = json_tokener_get_error(tokener);
    return error == json_tokener_success || error == json_tokener_continue ? size * count : 0;
}

static int list_main(void)
{
    CURL *easy = need(curl_easy_init());
    int64_t wall = now_us();
    size_t count = 0;
    char token[300];

    snprintf(token, sizeof token, "Authorization: Basic %s", arg("token", NULL));
    struct curl_slist *headers = curl_slist_append(NULL, token);
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_bytes);
    curl_easy_setopt(easy, CURLOPT_PROXY, "");
    curl_easy_setopt(easy, CURLOPT_FAILONERROR, 1L);
    for (char **url = args; *url; url++) {
        json_object *list = NULL;
        if (strncmp(*url, "http", 4))
            continue;
        curl_easy_setopt(easy, CURLOPT_URL, *url);
        curl_easy_setopt(easy, CURLOPT_WRITEDATA, &list);
        CURLcode code = curl_easy_perform(easy);
        if (code || !json_object_is_type(list, json_type_array))
            die("%s: %s", *url, code ? curl_easy_strerror(code) : "no list");
        count += json_object_array_length(list);
        json_object_put(list);
    }
    curl_slist_free_all(headers);
    curl_easy_cleanup(easy);
    return report((int)count, 0, wall);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        int (*main)(void);
    } modes[] = {{"parse", parse_main}, {"produce", produce_main}, {"consume", consume_main}, {"upsert", upsert_main},
                 {"list", list_main}};

    args = argv + (argc > 1 ? 2 : 1);
    curl_global_init(CURL_GLOBAL_DEFAULT);
    for (size_t i = 0; argc > 1 && i < COUNT(modes); i++)
        if (!strcmp(argv[1], modes[i].name))
            return modes[i].main();
    fputs("usage: floors_catalog parse|produce|consume|upsert|list NAME=VALUE...\n", stderr);
    return 100;
}

/*
 * floors - what the libraries alone cost: the least a worker could spend on a message. And the benchmark's load.
 *
 *   floors kafka   servers= from= to= count=            consume each message, produce it onward, acks=all
 *   floors http    root= headers= file= [ca=] [in_flight=100] [rate=0]   one request a line on kept connections; then its answer
 *                                                       parsed as often, with nothing else around it
 *   floors pg      stage= file= [batch=20] [rate=0]     the rows of a message in pipelined batches
 *   floors produce servers= topic= file= [rate=0] [times=]       the load: the lines of a file, evenly or at once
 *   floors exec    times= -- PROGRAM...                 note the time, become the program
 *
 * rate: a second, evenly; 0: as fast as it goes. The settings of librdkafka are common/kafka.c's, but it may fetch ahead
 * as much as it likes; those of a PostgreSQL session are common/db.c's. The last line on standard output is a JSON object;
 * CPU is user and system time of this process, without its start.
 */
#include "floors.h"

#include <curl/curl.h>
#include <json-c/json.h>
#include <libpq-fe.h>
#include <stdbool.h>
#include <sys/epoll.h>
#include <unistd.h>

/* ---- Kafka ---- */

static int kafka_main(void)
{
    rd_kafka_t *producer = producer_open("1", "10000");
    rd_kafka_topic_t *to = topic_open(producer, arg("to", NULL));
    int count = atoi(arg("count", NULL)), taken = 0;
    int64_t cpu = 0, wall = 0;
    rd_kafka_queue_t *queue = subscribe(arg("from", NULL));

    fputs("ready\n", stdout);
    fflush(stdout);
    while (delivered < count) {
        rd_kafka_message_t *messages[128];
        ssize_t n = rd_kafka_consume_batch_queue(queue, taken < count ? 100 : 1, messages, COUNT(messages));
        for (ssize_t i = 0; i < n; i++) {
            rd_kafka_message_t *m = messages[i];
            if (!m->err && !taken++) {
                cpu = cpu_us();
                wall = now_us();
            }
            if (!m->err)
                produce(producer, to, m->key, m->key_len, m->payload, m->len);
            rd_kafka_message_destroy(m);
        }
        rd_kafka_poll(producer, 0);
    }
    printf("{\"count\": %d, \"cpu_s\": %.6f, \"wall_s\": %.6f}\n", count, (double)(cpu_us() - cpu) / 1e6,
           (double)(now_us() - wall) / 1e6);
    fflush(stdout);
    _exit(0); /* no leave-taking: nothing of it is measured */
}

/* It does one thing and ends: what it holds then ends with it, and is no leak. */
int __lsan_is_turned_off(void);
int __lsan_is_turned_off(void)
{
    return 1;
}

static int produce_main(void)
{
    struct lines l = lines_read(arg("file", NULL));
    double rate = atof(arg("rate", "0"));
    const char *times = arg("times", "");
    rd_kafka_t *rk = producer_open(rate > 0 ? "0" : "20", "16"); /* as the stage before would have sent them */
    rd_kafka_topic_t *topic = topic_open(rk, arg("topic", NULL));
    FILE *out = *times ? fopen(times, "w") : NULL;
    int64_t *sent = need(calloc((size_t)l.count, sizeof *sent));
    int64_t begin, worst = 0;

    if (*times && !out)
        die("cannot write %s", times);
    begin = now_us() + 1000;
    for (int i = 0; i < l.count; i++) {
        const char *f[2];
        fields(l.at[i], f, 2);
        if (rate > 0) {
            int64_t due = begin + (int64_t)(i * 1e6 / rate);
            sleep_until(due);
            int64_t late = now_us() - due;
            worst = late > worst ? late : worst;
        }
        sent[i] = clock_us(CLOCK_REALTIME);
        produce(rk, topic, f[0], strlen(f[0]), f[1], strlen(f[1]));
        if (i % 64 == 0 || rate > 0)
            rd_kafka_poll(rk, 0);
    }
    rd_kafka_flush(rk, 60000);
    if (delivered != l.count)
        die("%d of %d delivered", delivered, l.count);
    for (int i = 0; out && i < l.count; i++)
        fprintf(out, "%lld\n", (long long)sent[i]);
    if (out && fclose(out))
        die("cannot write %s", times);
    printf("{\"count\": %d, \"cpu_s\": %.6f, \"wall_s\": %.6f, \"late_ms\": %.3f}\n", l.count, (double)cpu_us() / 1e6,
           (double)(now_us() - begin) / 1e6, (double)worst / 1e3);
    return 0;
}

/* ---- HTTP ---- */

enum { SLOTS_MAX = 512, SOCKETS_MAX = 1024 };

struct slot {
    CURL *easy;
    size_t len;
    char body[16384];
};

static int epoll_fd;
static uint32_t registered[SOCKETS_MAX];
static int64_t curl_due_us = -1;

/* An idle socket stays registered, unless it would be ready for ever. */
static int on_socket(CURL *easy, curl_socket_t fd, int what, void *of, void *per_socket)
{
    uint32_t events = what == CURL_POLL_IN ? EPOLLIN : what == CURL_POLL_OUT ? EPOLLOUT : EPOLLIN | EPOLLOUT;
    struct epoll_event e = {.data.fd = fd};

    (void)easy;
    (void)of;
    (void)per_socket;
    if (fd >= SOCKETS_MAX)
        return -1;
    if (what == CURL_POLL_REMOVE) {
        if (registered[fd] & EPOLLOUT) {
            epoll_ctl(epoll_fd, EPOLL_CTL_DEL, fd, NULL);
            registered[fd] = 0;
        }
        return 0;
    }
    e.events = events;
    if (registered[fd] != events)
        epoll_ctl(epoll_fd, registered[fd] ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &e);
    registered[fd] = events;
    return 0;
}

static int on_close(void *of, curl_socket_t fd)
{
    (void)of;
    registered[fd] = 0;
    return close(fd);
}

static int on_timer(CURLM *multi, long timeout_ms, void *of)
{
    (void)multi;
    (void)of;
    curl_due_us = timeout_ms < 0 ? -1 : now_us() + timeout_ms * 1000;
    return 0;
}

static size_t on_body(char *bytes, size_t size, size_t count, void *of)
{
    struct slot *s = of;
    size_t len = size * count;

    if (s->len + len >= sizeof s->body)
        return 0;
    memcpy(s->body + s->len, bytes, len);
    s->len += len;
    return len;
}

/* As common/http.c has it: libcurl, given the whole URL each time, costs half as much again. */
static void slot_open(struct slot *s, CURLU *root, struct curl_slist *headers)
{
    s->easy = need(curl_easy_init());
    curl_easy_setopt(s->easy, CURLOPT_PRIVATE, s);
    curl_easy_setopt(s->easy, CURLOPT_CURLU, root);
    curl_easy_setopt(s->easy, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(s->easy, CURLOPT_WRITEDATA, s);
    curl_easy_setopt(s->easy, CURLOPT_CLOSESOCKETFUNCTION, on_close);
    curl_easy_setopt(s->easy, CURLOPT_HTTPHEADER, headers);
    if (*arg("ca", ""))
        curl_easy_setopt(s->easy, CURLOPT_CAINFO, arg("ca", ""));
    curl_easy_setopt(s->easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(s->easy, CURLOPT_PROXY, "");
    curl_easy_setopt(s->easy, CURLOPT_NOPROXY, "");
    curl_easy_setopt(s->easy, CURLOPT_TIMEOUT_MS, 20000L);
}

static void slot_send(CURLM *multi, struct slot *s, char *line)
{
    const char *f[3]; /* method, target, body */

    fields(line, f, 3);
    s->len = 0;
    curl_easy_setopt(s->easy, CURLOPT_REQUEST_TARGET, f[1]);
    if (!strcmp(f[0], "POST")) {
        curl_easy_setopt(s->easy, CURLOPT_POST, 1L);
        curl_easy_setopt(s->easy, CURLOPT_POSTFIELDSIZE, (long)strlen(f[2]));
        curl_easy_setopt(s->easy, CURLOPT_POSTFIELDS, f[2]); /* borrowed: the line stays */
    } else {
        curl_easy_setopt(s->easy, CURLOPT_HTTPGET, 1L);
    }
    curl_multi_add_handle(multi, s->easy);
}

static double parse_cpu_s(const char *body, size_t len, int count)
{
    int64_t cpu = cpu_us();

    for (int i = 0; i < count; i++) {
        json_tokener *tokener = need(json_tokener_new());
        json_object *parsed = json_tokener_parse_ex(tokener, body, (int)len);
        if (!parsed)
            die("the answer is not JSON: %.*s", (int)len, body);
        json_object_put(parsed);
        json_tokener_free(tokener);
    }
    return (double)(cpu_us() - cpu) / 1e6;
}

static int http_main(void)
{
    static struct slot slots[SLOTS_MAX];
    static struct slot *idle[SLOTS_MAX];
    struct lines l = lines_read(arg("file", NULL));
    CURLU *root = need(curl_url());
    double rate = atof(arg("rate", "0"));
    int in_flight = atoi(arg("in_flight", "100")), idle_count = 0, next = 0, done = 0, running;
    int warm = 2 * in_flight < l.count ? 2 * in_flight : 0; /* while connections are made, nothing counts */
    struct lines headers_in = lines_read(arg("headers", NULL));
    struct curl_slist *headers = curl_slist_append(NULL, "Expect:");
    struct slot *last = NULL;
    CURLM *multi = need(curl_multi_init());
    int64_t cpu = cpu_us(), wall = now_us();

    if (in_flight < 1 || in_flight > SLOTS_MAX)
        die("in_flight= must be 1 to %d", SLOTS_MAX);
    if (curl_url_set(root, CURLUPART_URL, arg("root", NULL), 0))
        die("root= is no URL");
    for (int i = 0; i < headers_in.count; i++)
        headers = curl_slist_append(headers, headers_in.at[i]);
    epoll_fd = epoll_create1(0);
    curl_multi_setopt(multi, CURLMOPT_SOCKETFUNCTION, on_socket);
    curl_multi_setopt(multi, CURLMOPT_TIMERFUNCTION, on_timer);
    curl_multi_setopt(multi, CURLMOPT_MAXCONNECTS, (long)in_flight + 4);
    for (int i = 0; i < in_flight; i++) {
        slot_open(&slots[i], root, headers);
        idle[idle_count++] = &slots[i];
    }
    while (done < l.count) {
        int64_t now = now_us(), wait = 1000000;
        while (next < l.count && idle_count) {
            int64_t due = rate > 0 ? wall + (int64_t)(next * 1e6 / rate) : now;
            if (due > now) {
                wait = due - now;
                break;
            }
            slot_send(multi, idle[--idle_count], l.at[next++]);
        }
        if (curl_due_us >= 0 && curl_due_us - now < wait)
            wait = curl_due_us > now ? curl_due_us - now : 0;
        struct epoll_event events[256];
        struct timespec t = {.tv_sec = wait / 1000000, .tv_nsec = (long)(wait % 1000000) * 1000};
        int n = epoll_pwait2(epoll_fd, events, COUNT(events), &t, NULL);
        for (int i = 0; i < n; i++)
            curl_multi_socket_action(multi, events[i].data.fd,
                                     (events[i].events & EPOLLIN ? CURL_CSELECT_IN : 0) | (events[i].events & EPOLLOUT ? CURL_CSELECT_OUT : 0),
                                     &running);
        if (curl_due_us >= 0 && curl_due_us <= now_us()) {
            curl_due_us = -1;
            curl_multi_socket_action(multi, CURL_SOCKET_TIMEOUT, 0, &running);
        }
        for (CURLMsg *m; (m = curl_multi_info_read(multi, &running));) {
            struct slot *s = NULL;
            long status = 0;
            curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, (char **)&s);
            curl_easy_getinfo(m->easy_handle, CURLINFO_RESPONSE_CODE, &status);
            if (m->data.result || status / 100 != 2)
                die("a request failed: %s, HTTP %ld: %.*s", curl_easy_strerror(m->data.result), status, (int)s->len, s->body);
            curl_multi_remove_handle(multi, s->easy);
            idle[idle_count++] = last = s;
            if (++done == warm) {
                cpu = cpu_us();
                wall = rate > 0 ? wall : now_us();
            }
        }
    }
    double cpu_s = (double)(cpu_us() - cpu) / 1e6, wall_s = (double)(now_us() - wall) / 1e6;
    printf("{\"count\": %d, \"cpu_s\": %.6f, \"wall_s\": %.6f, \"parse_cpu_s\": %.6f, \"answer\": \"%zu bytes\"}\n", l.count - warm,
           cpu_s, wall_s, parse_cpu_s(last->body, last->len, l.count - warm), last->len);
    return 0;
}

/* ---- PostgreSQL ---- */

enum { FIELDS = 4, P_MAX = 2, STATEMENTS = 6 };
enum { F_APPT, F_PRIMARY, F_BARCODE, F_VISITOR }; /* of a booking; a title has its ISBN, a request its id and its patron */

struct statement {
    const char *sql;
    int columns[P_MAX]; /* which fields are its parameters, each text[] */
    int count;
};

/*
 * What a message reads and writes, in the plainest words; the first `looks` are one transaction, the others another. The last
 * of those that have intents is an upsert for its plan alone: it finds its rows by the whole key whatever the planner thinks of an
 * empty table.
 */
#define INTEND(stage, seconds, field) \
    {"INSERT INTO intents (stage, work_id, state, owner, deadline) SELECT '" stage "', w, 'taken', 'floors'," \
     " clock_timestamp() + interval '" seconds " seconds' FROM unnest($1::text[]) AS w", {field}, 1}
#define FINISH(stage, field) \
    {"INSERT INTO intents (stage, work_id, state, owner, deadline) SELECT '" stage "', w, 'taken', 'floors', clock_timestamp()" \
     " FROM unnest($1::text[]) AS w ON CONFLICT (stage, work_id) DO UPDATE SET state = 'finished', changed_at = clock_timestamp()", \
     {field}, 1}
#define ATTEMPT(stage, call, work) \
    {"INSERT INTO attempts (stage, subject, work_id, call, verdict, code, http_status, duration_ms, trace_id)" \
     " SELECT '" stage "', s, w, '" call "', 'done', 'done', 200, 50, md5(s) FROM unnest($1::text[], $2::text[]) AS a(s, w)", \
     {0, work}, 2}
static const struct floor_stage {
    const char *name;
    int looks;
    struct statement statements[STATEMENTS];
} floor_stages[] = {
    {"bookings-new", 1,
     {{"SELECT a.ord, p.wanted, p.prereg_id, p.starts_at, p.ends_at, p.answer, p.email, u.primary_id, u.barcode, u.checked_at"
       " FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS a(appt_id, asked_id, ord) LEFT JOIN appts p ON p.appt_id = a.appt_id::uuid"
       " LEFT JOIN asked_ids i ON i.asked_id = a.asked_id LEFT JOIN users u ON u.primary_id = i.primary_id", {F_APPT, F_PRIMARY}, 2},
      {"INSERT INTO users (primary_id, barcode, user_group, group_desc, first_name, last_name, emails, checked_at)"
       " SELECT p, b, 'UGRD', 'Undergraduate', 'Ada', 'Reader', ARRAY[p || '@example.edu'], clock_timestamp()"
       " FROM unnest($1::text[], $2::text[]) AS a(p, b)", {F_PRIMARY, F_BARCODE}, 2},
      {"INSERT INTO asked_ids (asked_id, primary_id) SELECT p, p FROM unnest($1::text[]) AS p", {F_PRIMARY}, 1},
      ATTEMPT("bookings-new", "getUser", F_APPT)}},
    {"users-resolve", 2,
     {{"SELECT a.ord, p.wanted, p.prereg_id, p.ends_at, p.answer, p.email, u.barcode, u.visitor_id, u.visitor_barcode, u.first_name,"
       " u.last_name, u.user_group, u.group_desc FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS a(appt_id, primary_id, ord)"
       " LEFT JOIN appts p ON p.appt_id = a.appt_id::uuid LEFT JOIN users u ON u.primary_id = a.primary_id", {F_APPT, F_PRIMARY}, 2},
      INTEND("users-resolve", "26", F_BARCODE),
      {"UPDATE users u SET visitor_id = a.b, visitor_barcode = a.b, visitor_at = clock_timestamp()"
       " FROM unnest($1::text[], $2::text[]) AS a(p, b) WHERE u.primary_id = a.p", {F_PRIMARY, F_BARCODE}, 2},
      ATTEMPT("users-resolve", "createVisitor", F_BARCODE), FINISH("users-resolve", F_BARCODE)}},
    {"prereg-create", 2,
     {{"SELECT a.ord, p.wanted, p.prereg_id, p.starts_at, p.ends_at, p.answer, p.destination, p.maybe_made, u.barcode, u.visitor_id,"
       " u.visitor_barcode FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS a(appt_id, primary_id, ord)"
       " LEFT JOIN appts p ON p.appt_id = a.appt_id::uuid LEFT JOIN users u ON u.primary_id = a.primary_id", {F_APPT, F_PRIMARY}, 2},
      INTEND("prereg-create", "66", F_APPT),
      {"UPDATE appts p SET answer = 'made', prereg_id = '137506834088671', primary_id = u, visitor_id = '137505764541148',"
       " answered_at = clock_timestamp() FROM unnest($1::text[], $2::text[]) AS a(i, u) WHERE p.appt_id = i::uuid",
       {F_APPT, F_PRIMARY}, 2},
      ATTEMPT("prereg-create", "createPreReg", F_APPT), FINISH("prereg-create", F_APPT)}},
    {"catalog-delta", 1,
     {{"SELECT a.ord, t.owned, t.title, t.owned_as_of FROM unnest($1::text[]) WITH ORDINALITY AS a(isbn, ord)"
       " LEFT JOIN titles t ON t.isbn = a.isbn", {0}, 1},
      {"INSERT INTO titles (isbn, owned, owned_as_of, available, available_as_of, media_type, title, sort_title, authors, genres, language,"
       " publisher, description, title_id) SELECT i, true, clock_timestamp(), true, clock_timestamp(), 'eBook', 'The title of ' || i,"
       " 'title of ' || i, ARRAY['Hopkins, Ellen'], ARRAY['JUVENILE FICTION / Social Themes'], 'English', 'Recorded Books',"
       " repeat('A description of some length. ', 20), 14888 FROM unnest($1::text[]) AS i", {0}, 1},
      ATTEMPT("catalog-delta", "getMedia", 0)}},
    {"requests", 2,
     {{"SELECT a.ord, r.state, r.asked, r.known, r.accepted_at FROM unnest($1::text[]) WITH ORDINALITY AS a(id, ord)"
       " LEFT JOIN requests r ON r.request_id = a.id::uuid", {0}, 1},
      INTEND("requests", "26", 0),
      {"UPDATE requests r SET state = 'done', code = 'done', outcome = '{\"loan\": {\"due\": \"2026-12-10T21:00:00Z\"}}',"
       " answered_at = clock_timestamp() FROM unnest($1::text[]) AS i WHERE r.request_id = i::uuid", {0}, 1},
      ATTEMPT("requests", "call", 0), FINISH("requests", 0)}},
};

/* None of the values needs quoting. */
static const char *array_of(char *to, size_t room, const char *(*rows)[FIELDS], int n, int field)
{
    size_t len = 0;

    for (int i = 0; i < n; i++)
        len += (size_t)snprintf(to + len, room - len, "%c%s", i ? ',' : '{', rows[i][field]);
    snprintf(to + len, room - len, "}");
    return to;
}

/* Statements first to last for n rows as one transaction, in one exchange. */
static void transact(PGconn *conn, const struct floor_stage *stage, int first, int last, const char *(*rows)[FIELDS], int n)
{
    static char arrays[P_MAX][16384];

    for (int s = first; s < last && stage->statements[s].sql; s++) {
        const struct statement *st = &stage->statements[s];
        const char *values[P_MAX];
        char name[8];
        snprintf(name, sizeof name, "s%d", s);
        for (int i = 0; i < st->count; i++)
            values[i] = array_of(arrays[i], sizeof arrays[i], rows, n, st->columns[i]);
        PQsendQueryPrepared(conn, name, st->count, values, NULL, NULL, 0);
    }
    PQpipelineSync(conn);
    for (bool synced = false; !synced;) {
        PGresult *res = PQgetResult(conn);
        ExecStatusType status = res ? PQresultStatus(res) : PGRES_TUPLES_OK;
        if (res && status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK && status != PGRES_PIPELINE_SYNC)
            die("PostgreSQL: %s", PQerrorMessage(conn));
        synced = status == PGRES_PIPELINE_SYNC;
        PQclear(res);
    }
}

static int pg_main(void)
{
    struct lines l = lines_read(arg("file", NULL));
    const char *(*rows)[FIELDS] = need(calloc((size_t)l.count, sizeof *rows));
    int batch = atoi(arg("batch", "20")), done = 0, commits = 0;
    double rate = atof(arg("rate", "0"));
    const struct floor_stage *stage = NULL;
    PGconn *conn = PQconnectdb(""); /* PG* */

    for (size_t i = 0; i < COUNT(floor_stages); i++)
        if (!strcmp(floor_stages[i].name, arg("stage", NULL)))
            stage = &floor_stages[i];
    if (!stage || batch < 1 || batch > 64)
        die("stage= names no stage, or batch= is not 1 to 64");
    for (int i = 0; i < l.count; i++)
        fields(l.at[i], rows[i], FIELDS);
    if (PQstatus(conn) != CONNECTION_OK)
        die("PostgreSQL: %s", PQerrorMessage(conn));
    PQclear(PQexec(conn, session_sql));
    for (int s = 0; s < STATEMENTS && stage->statements[s].sql; s++) {
        char name[8];
        snprintf(name, sizeof name, "s%d", s);
        PGresult *res = PQprepare(conn, name, stage->statements[s].sql, 0, NULL);
        if (PQresultStatus(res) != PGRES_COMMAND_OK)
            die("PostgreSQL: %s", PQerrorMessage(conn));
        PQclear(res);
    }
    PQenterPipelineMode(conn);
    fputs("ready\n", stdout);
    fflush(stdout);
    int64_t begin = now_us(), cpu = cpu_us();
    while (done < l.count) {
        int n = batch;
        if (rate > 0) { /* what has come meanwhile, as a worker would take it */
            sleep_until(begin + (int64_t)(done * 1e6 / rate));
            int due = (int)((double)(now_us() - begin) * rate / 1e6) + 1 - done;
            n = due < 1 ? 1 : due < 64 ? due : 64;
        }
        if (n > l.count - done)
            n = l.count - done;
        transact(conn, stage, 0, stage->looks, rows + done, n);
        transact(conn, stage, stage->looks, STATEMENTS, rows + done, n);
        done += n;
        commits += 2;
    }
    printf("{\"count\": %d, \"cpu_s\": %.6f, \"wall_s\": %.6f, \"rows_a_commit\": %.1f}\n", l.count, (double)(cpu_us() - cpu) / 1e6,
           (double)(now_us() - begin) / 1e6, 2.0 * l.count / commits);
    PQfinish(conn);
    return 0;
}

/* ---- */

static int exec_main(void)
{
    char **program = args;
    FILE *out = fopen(arg("times", NULL), "w");

    while (*program && strcmp(*program, "--") != 0)
        program++;
    if (!out || !*program)
        die("usage: floors exec times=FILE -- PROGRAM...");
    fprintf(out, "%lld\n", (long long)clock_us(CLOCK_REALTIME));
    fclose(out);
    execv(program[1], program + 1);
    die("%s: %s", program[1], strerror(errno));
    return 111;
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        int (*main)(void);
    } modes[] = {{"kafka", kafka_main}, {"http", http_main}, {"pg", pg_main}, {"produce", produce_main}, {"exec", exec_main}};

    args = argv + (argc > 1 ? 2 : 1);
    curl_global_init(CURL_GLOBAL_DEFAULT);
    for (size_t i = 0; argc > 1 && i < COUNT(modes); i++)
        if (!strcmp(argv[1], modes[i].name))
            return modes[i].main();
    fputs("usage: floors kafka|http|pg|produce|exec NAME=VALUE...\n", stderr);
    return 100;
}

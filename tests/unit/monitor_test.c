#include "ops/monitor/alerts.h"
#include "ops/monitor/dead_letters.h"
#include "ops/monitor/exposition.h"
#include "ops/monitor/html.h"
#include "ops/monitor/picture.h"
#include "ops/monitor/programs.h"

#include "common/scoped.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

/* ---- exposition ---- */

static void test_exposition(void **state)
{
    static const struct {
        const char *written, *name, *labels;
        double value;
    } lines[] = {
        {"up 1", "up", "", 1},
        {"a_total{code=\"done\"} 12.5", "a_total", "code=\"done\"", 12.5},
        {"a{} 0", "a", "", 0},
        {"a{x=\"}\",y=\"\\\"\"} -3", "a", "x=\"}\",y=\"\\\"\"", -3},
        {"a 1e3 1700000000", "a", "", 1000},
        {"# HELP a b\n# TYPE a gauge\n\na 7", "a", "", 7},
        {"a{ 1\nb 2", "b", "", 2},
        {"a x\nb 2", "b", "", 2},
        {"a\nb 2", "b", "", 2},
        {"{x=\"y\"} 1\nb 2", "b", "", 2},
        {"", NULL, NULL, 0},
        {"a", NULL, NULL, 0},
        {"a{x=\"", NULL, NULL, 0},
    };
    (void)state;

    for (size_t i = 0; i < COUNT(lines); i++) {
        struct exposition from = exposition_of(lines[i].written, strlen(lines[i].written));
        struct series s;
        bool found = exposition_next(&from, &s);
        if (found != (lines[i].name != NULL))
            fail_msg("%s: %s", lines[i].written, found ? "found" : "not found");
        if (!found)
            continue;
        assert_string_equal(s.name, lines[i].name);
        assert_string_equal(s.labels, lines[i].labels);
        assert_true(s.value >= lines[i].value && s.value <= lines[i].value);
        assert_false(exposition_next(&from, &s));
    }
}

static void test_labels(void **state)
{
    static const struct {
        const char *labels, *label, *value;
    } table[] = {
        {"a=\"1\",b=\"2\"", "b", "2"}, {"a=\"1\", b=\"2\"", "b", "2"}, {"a=\"1\"", "b", NULL}, {"ab=\"1\",b=\"2\"", "b", "2"},
        {"a=\"x\\\"\\\\\\n,b=\",b=\"2\"", "a", "x\"\\\n,b="}, {"a=\"x\\\"\\\\\\n,b=\",b=\"2\"", "b", "2"}, {"", "a", NULL}, {"a", "a", NULL},
        {"a=1", "a", NULL}, {"a=\"unended", "a", "unended"}, {"a=\"\"", "a", ""},
    };
    (void)state;

    for (size_t i = 0; i < COUNT(table); i++) {
        struct series s = {.name = "x"};
        char value[40] = "";
        snprintf(s.labels, sizeof s.labels, "%s", table[i].labels);
        bool found = series_label(&s, table[i].label, value, sizeof value);
        if (found != (table[i].value != NULL) || (found && strcmp(value, table[i].value) != 0))
            fail_msg("%s of %s: %s", table[i].label, table[i].labels, found ? value : "none");
    }
    struct series s = {.labels = "a=\"12345678\""};
    char cut[4];
    assert_true(series_label(&s, "a", cut, sizeof cut));
    assert_string_equal(cut, "123");
}

static void test_a_program_is_read(void **state)
{
    static const char said[] = "shelfwire_build_info{program=\"users-resolve\",version=\"0.1.0\"} 1\nshelfwire_in_hand 12\nshelfwire_calls_in_flight 7\n"
                               "shelfwire_vendor_pause_seconds{vendor=\"passagepoint\"} 2.5\nshelfwire_paused 1\n"
                               "shelfwire_vendor_credentials_refused{vendor=\"passagepoint\"} 1\n"
                               "shelfwire_vendor_credentials_refused{vendor=\"alma\"} 0\n"
                               "shelfwire_vendor_calls_total{vendor=\"passagepoint\",call=\"createVisitor\",code=\"done\"} 30\n"
                               "shelfwire_vendor_calls_total{vendor=\"passagepoint\",call=\"createVisitor\",code=\"done\"} NaN\n";
    static struct picture p;
    struct instance it = {0};
    (void)state;

    programs_read(said, sizeof said - 1, &it, &p);
    assert_string_equal(it.program, "users-resolve");
    assert_true(it.in_hand > 11 && it.in_flight > 6 && it.pause_s > 2 && it.calls_left < 0 && it.paused);
    assert_string_equal(it.refused_by, "passagepoint");
    assert_int_equal(p.answer_count, 1);
    assert_string_equal(p.answers[0].call, "createVisitor");
    assert_true(p.answers[0].heard > 29 && p.answers[0].heard < 31);
}

/* ---- what follows from the picture ---- */

static void test_rates(void **state)
{
    struct rates r = {0};
    double in, out;
    (void)state;

    assert_false(rates_of(&r, 60, &in, &out));
    rates_add(&r, (struct sample){1000, 10, 20});
    assert_false(rates_of(&r, 60, &in, &out));
    for (int i = 1; i <= 200; i++)
        rates_add(&r, (struct sample){1000 + i * 5000, 10 + i * 10, 20 + i * 5});
    assert_int_equal(r.count, RATE_SAMPLES);
    assert_true(rates_of(&r, 60, &in, &out));
    assert_true(in > 0.99 && in < 1.01 && out > 1.99 && out < 2.01);
    rates_add(&r, (struct sample){2000000, 0, 0}); /* made anew */
    assert_int_equal(r.count, 1);
    assert_false(rates_of(&r, 60, &in, &out));
}

static void test_advice(void **state)
{
    static const struct {
        const char *when;
        int64_t lag;
        int workers, partitions;
        bool held;
        int in, out; /* in 60 s; -1: nothing measured */
        enum advice_kind kind;
        int more;
        const char *says;
    } table[] = {
        {"nothing waits", 0, 1, 10, false, 0, 0, ADVICE_NOTHING, 0, "nothing waits"},
        {"nothing waits and nobody is there", 0, 0, 10, false, 0, 0, ADVICE_NOTHING, 0, "nothing waits"},
        {"nobody is there", 50, 0, 10, false, 60, 0, ADVICE_NO_WORKER, 0, "no worker answers: start one"},
        {"nobody is named, and yet it is done", 50, 0, 10, false, 60, 120, ADVICE_KEEPS_UP, 0, "done in 50 s at this rate; more workers are not needed"},
        {"it is done soon", 60, 2, 10, false, 60, 120, ADVICE_KEEPS_UP, 0, "done in 60 s at this rate; more workers are not needed"},
        {"the vendor holds it back", 60000, 2, 10, true, 60, 120, ADVICE_HELD, 0, "more workers would not help: the quota"},
        {"the vendor holds all back", 60000, 2, 10, true, 60, 0, ADVICE_HELD, 0, "more workers would not help: the quota"},
        {"one is too few", 6000, 1, 10, false, 600, 120, ADVICE_MORE, 9, "it grows faster than it is done; 9 more workers would help"},
        {"two are too few by one", 1100, 2, 10, false, 300, 360, ADVICE_MORE, 1, "done in 18 min; 1 more worker would help"},
        {"all partitions are taken", 60000, 10, 10, false, 600, 120, ADVICE_ALL_SHARED, 0,
         "it grows faster than it is done; each of the 10 partitions has a worker: more would not help, a higher CONCURRENCY might"},
        {"just begun", 60, 1, 10, false, -1, -1, ADVICE_NOT_KNOWN, 0, "nothing has moved yet since this was watched"},
        {"nothing moves", 60, 1, 10, false, 0, 0, ADVICE_NOT_KNOWN, 0, "nothing has moved yet since this was watched"},
    };
    static struct stage_picture s;
    (void)state;

    for (size_t i = 0; i < COUNT(table); i++) {
        char words[300];
        memset(&s, 0, sizeof s);
        s.lag = table[i].lag;
        s.workers = table[i].workers;
        s.partitions = table[i].partitions;
        s.held = table[i].held;
        snprintf(s.waits_for, sizeof s.waits_for, "%s", s.held ? "the quota" : "");
        rates_add(&s.rates, (struct sample){1000, 0, s.lag});
        if (table[i].in >= 0)
            rates_add(&s.rates, (struct sample){61000, table[i].out, s.lag + table[i].in});
        struct advice a = picture_advice(&s);
        advice_say(&a, &s, words, sizeof words);
        if (a.kind != table[i].kind || a.more != table[i].more || strcmp(words, table[i].says) != 0)
            fail_msg("%s: kind %d, %d more, \"%s\"", table[i].when, a.kind, a.more, words);
    }
}

static void test_seconds(void **state)
{
    static const struct {
        double s;
        const char *said;
    } table[] = {{-1, ""}, {0, "0 s"}, {59, "59 s"}, {600, "10 min"}, {7200, "2 h"}, {200000, "2 days"}, {1e12, "more than a year"}};
    char said[24];
    (void)state;

    for (size_t i = 0; i < COUNT(table); i++) {
        say_seconds(table[i].s, said);
        assert_string_equal(said, table[i].said);
    }
}

/* ---- HTML ---- */

static void test_html(void **state)
{
    static const struct {
        const char *bytes;
        size_t len;
        const char *shown;
    } table[] = {
        {"plain", 5, "plain"},
        {"<script>alert('x')</script>&\"", 29, "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;&amp;&quot;"},
        {"a\0b\x01\x7f", 5, "a\\x00b\\x01\\x7f"},
        {"line\nand\ttab\r", 13, "line\nand\ttab\\x0d"},
        {"Zo\xc3\xab \xe2\x82\xac \xf0\x9f\x93\x9a", 13, "Zo\xc3\xab \xe2\x82\xac \xf0\x9f\x93\x9a"},
        {"\xff\xc3", 2, "\\xff\\xc3"},
        {"\xc0\xbc\xe0\x80\xbc", 5, "\\xc0\\xbc\\xe0\\x80\\xbc"}, /* "<", written too long */
        {"\xed\xa0\x80\xf4\x90\x80\x80", 7, "\\xed\\xa0\\x80\\xf4\\x90\\x80\\x80"},
        {"a\xe2\x80\xae" "b", 5, "a\\xe2\\x80\\xaeb"}, /* right to left from here */
    };
    struct text t = {0};
    (void)state;

    for (size_t i = 0; i < COUNT(table); i++) {
        text_clear(&t);
        html_bytes(&t, table[i].bytes, table[i].len);
        assert_string_equal(text_str(&t), table[i].shown);
    }
    text_clear(&t);
    html_query(&t, "a b\"<&>'");
    assert_null(strpbrk(text_str(&t), "\"<&>' "));
    int32_t points[] = {0, 10, -1, 5};
    text_clear(&t);
    html_line(&t, points, 4, "lag <b>");
    assert_non_null(strstr(text_str(&t), "aria-label=\"lag &lt;b&gt;, at most 10\""));
    assert_non_null(strstr(text_str(&t), "d=\"M0 41.0L96 1.0M288 21.0h1\""));
    text_free(&t);
}

/* A program has several keys: it is the one with the fewest calls left that ends first. */
static void test_calls_left_of_several_keys(void **state)
{
    static const char said[] = "shelfwire_vendor_calls_left{vendor=\"alma\",account=\"1\"} 5000\n"
                               "shelfwire_vendor_calls_left{vendor=\"alma\",account=\"2\"} 40\n"
                               "shelfwire_vendor_calls_left{vendor=\"alma\",account=\"3\"} 9000\n"
                               "shelfwire_vendor_calls_left_min{vendor=\"alma\",account=\"3\"} 10\n";
    static struct picture p;
    struct instance it = {0};
    (void)state;

    programs_read(said, sizeof said - 1, &it, &p);
    assert_true(it.calls_left > 39 && it.calls_left < 41);
}

/* ---- alerts ---- */

static void nothing(struct picture *p) { (void)p; }
static void stuck(struct picture *p) { p->facts.stuck[1] = true; p->stages[1].lag = 5; }
static void stuck_and_empty(struct picture *p) { p->facts.stuck[1] = true; }
static void stuck_and_paused(struct picture *p) { stuck(p); p->facts.paused[1] = true; }
static void lacks_replica(struct picture *p) { p->stages[0].partitions = 2; p->stages[0].replicas[1] = 3; p->stages[0].in_sync[1] = 2; }
static void lack_replicas(struct picture *p) { lacks_replica(p); p->stages[2].partitions = 1; p->stages[2].replicas[0] = 3; }
static void has_replicas(struct picture *p) { lacks_replica(p); p->stages[0].in_sync[1] = 3; }
static void near_visit(struct picture *p) { p->facts.soonest_visit_s = 600; }
static void far_visit(struct picture *p) { p->facts.soonest_visit_s = 90000; }
static void dead(struct picture *p) { p->stages[2].dead = 3; }
static void unknown(struct picture *p) { p->facts.unknown = 1; }
static void restored(struct picture *p) { p->facts.restored = true; }
static void kafka(struct picture *p) { strcpy(p->kafka_trouble, "no broker"); }
static void missing(struct picture *p) { strcpy(p->missing, "prereg-create:9100"); }
static void no_bookings(struct picture *p) { p->facts.bookings = 0; p->facts.bookings_usual = 4; }
static void never_bookings(struct picture *p) { p->facts.bookings = 0; p->facts.bookings_usual = 0; }
static void few_calls(struct picture *p) { p->instance_count = 1; p->instances[0].calls_left = 12; strcpy(p->instances[0].program, "bookings-new"); }
static void refused(struct picture *p) { p->instance_count = 1; p->instances[0] = (struct instance){.calls_left = -1, .refused_by = "alma"}; }
static void begun_visit(struct picture *p) { p->facts.soonest_visit_s = 0; }

static void test_alerts(void **state)
{
    static const struct {
        void (*happens)(struct picture *p);
        const char *name, *subject;
    } table[] = {
        {nothing, NULL, NULL}, {stuck, "WorkWaits", "users-resolve"}, {stuck_and_empty, NULL, NULL},
        {stuck_and_paused, NULL, NULL}, {lacks_replica, "UnderReplicated", "Kafka"}, {lack_replicas, "UnderReplicated", "Kafka"}, {has_replicas, NULL, NULL}, {near_visit, "VisitNear", "visits"},
        {far_visit, NULL, NULL}, {dead, "DeadLetters", "prereg.create"}, {unknown, "OutcomeUnknown", "desk"}, {restored, "DatabaseRestored", "PostgreSQL"},
        {kafka, "KafkaAway", "Kafka"}, {missing, "ProgramGone", "programs"}, {no_bookings, "NoBookings", "bookings.new"}, {never_bookings, NULL, NULL},
        {few_calls, "QuotaNearEnd", "bookings-new"}, {refused, "CredentialsRefused", "alma"}, {begun_visit, "VisitNear", "visits"},
    };
    static struct picture p;
    static const struct setting *const tables[] = {alerts_settings, NULL};
    struct alert found[ALERTS_MAX];
    (void)state;

    assert_int_equal(settings_load(tables).kind, FAULT_NONE);
    for (size_t i = 0; i < COUNT(table); i++) {
        memset(&p, 0, sizeof p);
        p.facts = (struct facts){.soonest_visit_s = -1, .bookings = -1, .bookings_usual = -1};
        table[i].happens(&p);
        int n = alerts_find(&p, &p.facts, found);
        if (n != (table[i].name != NULL))
            fail_msg("row %zu: %d alerts, the first %s", i, n, n ? found[0].name : "none");
        if (!n)
            continue;
        assert_string_equal(found[0].name, table[i].name);
        assert_string_equal(found[0].subject, table[i].subject);
        assert_true(*found[0].summary && *alert_advice(found[0].name));
    }
}

static void test_mail(void **state)
{
    char *addresses[] = {(char *)(uintptr_t)"a@x.edu", (char *)(uintptr_t)"b@x.edu"};
    struct setting_list to = {addresses, 2};
    struct text t = {0};
    (void)state;

    alert_mail(&t, "shelf@x.edu", &to, "WorkWaits\r\nBcc: evil@x.edu", "one\ntwo\n", 0);
    const char *mail = text_str(&t);
    assert_non_null(strstr(mail, "Date: Thu, 01 Jan 1970 00:00:00 +0000\r\n"));
    assert_non_null(strstr(mail, "\r\nTo: a@x.edu, b@x.edu\r\n"));
    assert_non_null(strstr(mail, "\r\nSubject: WorkWaits??Bcc: evil@x.edu\r\n"));
    assert_non_null(strstr(mail, "\r\n\r\none\r\ntwo\r\n"));
    text_free(&t);
}

/* ---- dead letters ---- */

static void test_dead_letter(void **state)
{
    rd_kafka_headers_t *h = rd_kafka_headers_new(4);
    struct dead_letter it;
    static const char value[] = "{\"appt_id\": \"0b8f3c1e-52d7-4f0a-9a64-6e1d2f9b7c35\"}";
    (void)state;

    dead_letter_read("lib.bookings.new.dlq", NULL, NULL, 0, &it);
    assert_string_equal(it.topic, "lib.bookings.new");
    assert_string_equal(it.code, "not_said");
    assert_string_equal(it.subject, "");
    assert_string_equal(it.origin, "");
    rd_kafka_header_add(h, "kafka_dlt-original-topic", -1, "bookings.new", -1);
    rd_kafka_header_add(h, "kafka_dlt-exception-fqcn", -1, "unreadable", -1);
    rd_kafka_header_add(h, "kafka_dlt-exception-message", -1, "unreadable:\n<b>\xff", -1);
    rd_kafka_header_add(h, "traceparent", -1, "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", -1);
    dead_letter_read("x.dlq", h, value, sizeof value - 1, &it);
    assert_string_equal(it.topic, "bookings.new");
    assert_string_equal(it.code, "unreadable");
    assert_string_equal(it.reason, "unreadable:?<b>?");
    assert_string_equal(it.trace_id, "0af7651916cd43dd8448eb211c80319c");
    assert_string_equal(it.subject, "0b8f3c1e-52d7-4f0a-9a64-6e1d2f9b7c35");
    rd_kafka_headers_destroy(h);
}

static void test_origin(void **state)
{
    static const struct {
        const char *what, *partition, *offset, *timestamp, *want;
        int lens[3];
    } rows[] = {
        {"all of it", "\0\0\1\2", "\0\0\0\0\0\1\0\0", "\0\0\1\x9b\x12\x34\x56\x78", "258/65536/1765536978552", {4, 8, 8}},
        {"a time that nobody knows", "\0\0\0\0", "\0\0\0\0\0\0\0\0", "\xff\xff\xff\xff\xff\xff\xff\xff", "0/0/-1", {4, 8, 8}},
        {"no partition", "\xff\xff\xff\xff", "\0\0\0\0\0\0\0\0", "\0\0\0\0\0\0\0\0", "", {4, 8, 8}},
        {"in words", "0003", "12", "1765536978552", "", {4, 2, 13}},
        {"no offset", "\0\0\0\0", "", "\0\0\0\0\0\0\0\0", "", {4, 0, 8}},
    };
    static const char *const names[] = {"kafka_dlt-original-partition", "kafka_dlt-original-offset", "kafka_dlt-original-timestamp"};
    (void)state;

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        rd_kafka_headers_t *h = rd_kafka_headers_new(4);
        const char *bytes[] = {rows[i].partition, rows[i].offset, rows[i].timestamp};
        struct dead_letter it;
        for (int n = 0; n < 3; n++)
            rd_kafka_header_add(h, names[n], -1, bytes[n], rows[i].lens[n]);
        dead_letter_read("x.dlq", h, NULL, 0, &it);
        if (strcmp(it.origin, rows[i].want) != 0)
            fail_msg("%s: \"%s\", want \"%s\"", rows[i].what, it.origin, rows[i].want);
        rd_kafka_headers_destroy(h);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_exposition), cmocka_unit_test(test_labels), cmocka_unit_test(test_a_program_is_read), cmocka_unit_test(test_rates),
        cmocka_unit_test(test_advice), cmocka_unit_test(test_seconds), cmocka_unit_test(test_html), cmocka_unit_test(test_alerts),
        cmocka_unit_test(test_mail), cmocka_unit_test(test_dead_letter), cmocka_unit_test(test_origin), cmocka_unit_test(test_calls_left_of_several_keys),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

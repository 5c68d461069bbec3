/* A member of a group whom the brokers refuse; the brokers are librdkafka's own, in this process. */
#include "common/kafka.h"

#include "common/log.h"
#include "common/settings.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <librdkafka/rdkafka_mock.h>

#include <cmocka.h>

enum { SYNC_GROUP = 14, PATIENCE_US = 30000000 };

static int assigned;

static void on_assigned(void *of, int32_t partition)
{
    (void)of;
    (void)partition;
    assigned++;
}

static void on_revoked(void *of, int32_t partition, bool lost)
{
    (void)of;
    (void)partition;
    (void)lost;
}

static void on_ready(void *of, int32_t partition)
{
    (void)of;
    (void)partition;
}

static void on_message(void *of, rd_kafka_message_t *m)
{
    (void)of;
    rd_kafka_message_destroy(m);
}

static const struct kafka_consumer_calls calls = {on_assigned, on_revoked, on_ready, on_message};

/*
 * Another has taken its name between the answer to its joining and its first assignment: librdkafka before 2.3.0 aborts when such
 * a client is destroyed (issue 4312).
 */
static void test_fenced_while_joining(void **state)
{
    static const struct setting *const tables[] = {kafka_settings, NULL};
    struct kafka_consumer *c;
    struct loop *loop;
    char why[200];
    (void)state;

    rd_kafka_t *rk = rd_kafka_new(RD_KAFKA_PRODUCER, rd_kafka_conf_new(), why, sizeof why);
    rd_kafka_mock_cluster_t *cluster = rd_kafka_mock_cluster_new(rk, 1);
    assert_int_equal(rd_kafka_mock_topic_create(cluster, "some.topic", 2, 1), RD_KAFKA_RESP_ERR_NO_ERROR);
    setenv("KAFKA_BOOTSTRAP_SERVERS", rd_kafka_mock_cluster_bootstraps(cluster), 1);
    setenv("KAFKA_GROUP_INSTANCE_ID", "one", 1);
    setenv("KAFKA_SESSION_TIMEOUT_MS", "6000", 1);
    assert_int_equal(settings_load(tables).kind, FAULT_NONE);
    assert_int_equal(kafka_poll_ms(), 60000);
    assert_int_equal(loop_open(&loop).kind, FAULT_NONE);
    rd_kafka_mock_push_request_errors(cluster, SYNC_GROUP, 1, RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID);
    assert_int_equal(kafka_consumer_open(&c, loop, "test", "group", "some.topic", "some.topic.dlq", false, &calls, NULL).kind, FAULT_NONE);
    loop_turn(loop, 0);
    for (int64_t until = loop_now(loop) + PATIENCE_US; !assigned && loop_now(loop) < until;) {
        kafka_consumer_serve(c);
        loop_turn(loop, 50000);
    }
    assert_int_equal(assigned, 2); /* the new one that was made has them */
    kafka_consumer_close(c);
    loop_close(loop);
    rd_kafka_mock_cluster_destroy(cluster);
    rd_kafka_destroy(rk);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_fenced_while_joining)};

    log_open("kafka_consumer_test", LOG_ERROR + 1, LOG_TEXT);
    return cmocka_run_group_tests_name("kafka_consumer", tests, NULL, NULL);
}

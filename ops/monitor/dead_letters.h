/*
 * dead_letters.h - the dead letters of every topic: read from Kafka into PostgreSQL's dead_letters, each once, and sent again from
 * there when a person says so.
 *
 * Read     every `.dlq` from where dead_letter_reads says, whatever comes back after a crash: the rows and the place are one transaction.
 *          One that stands there twice, since its stage crashed between the dead letter and the offset, is `discarded` as it comes.
 * Replay   rows that are `replaying` go to their topic with the key and the bytes they had, as many a second as REPLAY_PER_SECOND
 *          allows, and are `replayed` when every in-sync replica has them. After a crash in between one is sent twice, which
 *          every stage bears.
 * Threads  one; it waits for PostgreSQL, and for Kafka a second at most.
 */
#ifndef SHELFWIRE_MONITOR_DEAD_LETTERS_H
#define SHELFWIRE_MONITOR_DEAD_LETTERS_H

#include "common/fault.h"
#include "common/loop.h"
#include "ops/monitor/chains.h"

#include <libpq-fe.h>
#include <librdkafka/rdkafka.h>

struct dead_letters;

struct fault dead_letters_open(struct dead_letters **ret, struct loop *loop, int64_t replay_per_second);
void dead_letters_close(struct dead_letters *d);

/* The partitions there are now (offsets_topics); when they have changed, or nothing is known yet, it begins where PostgreSQL says. */
struct fault dead_letters_assign(struct dead_letters *d, PGconn *conn, const int partitions[STAGES_MAX]);

/* Takes in what there is, for half a second at most. */
struct fault dead_letters_read(struct dead_letters *d, PGconn *conn);

/* Sends the next of those to be replayed. ret_left: how many still wait. */
struct fault dead_letters_replay(struct dead_letters *d, PGconn *conn, double seconds_since_last);

/*
 * What a message in a `.dlq` says of itself, for its row; pure. headers may be NULL. Texts are cut, and valid UTF-8.
 * origin: where it stood in its topic, as partition/offset/milliseconds; "" where it does not say.
 */
struct dead_letter {
    char topic[256], code[64], reason[512], trace_id[40], subject[80], origin[64];
};
void dead_letter_read(const char *dlq, const rd_kafka_headers_t *headers, const char *value, size_t len, struct dead_letter *ret);

#endif

/*
 * orphans.h - partitions that a consumer group has left to nobody, and how they find an owner.
 *
 * Under cooperative assignment a partition changes hands in two rebalances: the first takes it from its owner, who asks for the
 * second when it has let go. An owner with a name of its own (a static member) that dies in between comes back to what the
 * first has left it, without a rebalance; so nobody asks for the second, and the partition has no owner until the group
 * changes for some other reason. It is no error to anybody: only its lag grows.
 *
 * So a member with a name, some seconds after it was given partitions, asks the group whether each has an owner. If twice in a
 * row one has none, a member without a name joins and leaves, which makes the group assign anew. It subscribes to the dead
 * letters, so that nothing moves to it and nobody stops working.
 *
 * Threads   everything runs on the loop; nothing is waited for, but a broker that has just answered, for its metadata.
 * Failure   is logged; the next assignment is looked at again.
 */
#ifndef SHELFWIRE_ORPHANS_H
#define SHELFWIRE_ORPHANS_H

#include "common/fault.h"
#include "common/loop.h"

#include <librdkafka/rdkafka.h>

struct orphans; /* opaque */

/* conf: makes what a member of the group without a name is configured with; the rest is set here. */
typedef struct fault orphans_conf(void *of, rd_kafka_conf_t **ret);

/* topic: the group's; beside: one of which nobody in the group has partitions. All are borrowed. NULL when there is no descriptor left. */
struct orphans *orphans_new(struct loop *loop, const char *group, const char *topic, const char *beside, orphans_conf *conf, void *of);
void orphans_free(struct orphans *o);

/* Partitions were assigned: looks when that has settled. */
void orphans_look(struct orphans *o);

#endif

/*
 * injection.h - named points at which a test stops a program, as PostgreSQL's injection points do.
 *
 * INJECT_AT=POINT or POINT:N stops the program (SIGSTOP) when it comes to that point, the N-th time (the first when not
 * given), once. What happens then is the test's: it kills it, wakes it when somebody else has its work, or takes PostgreSQL,
 * Kafka or the vendor's answer away before it goes on. tests/fire does so at every point of every program.
 *
 * Only builds with SHELFWIRE_INJECTION_POINTS (the presets asan, tsan and debug) have them; in others nothing is left of a point.
 * A point is where the outside world changes, or has just changed: before and after each read, statement, request, message, commit
 * and step of a rebalance. Whoever adds such a step adds its points here.
 */
#ifndef SHELFWIRE_INJECTION_H
#define SHELFWIRE_INJECTION_H

#define INJECTION_POINTS(POINT)                                                        \
    /* a worker's messages and partitions */                                           \
    POINT(fetched, "messages were taken from Kafka, and are not yet in hand")          \
    POINT(taken_in, "they are in hand")                                                \
    POINT(assigned, "a partition was assigned, and not yet taken")                     \
    POINT(assigned_done, "it was taken")                                               \
    POINT(revoked, "a partition is to be given back")                                  \
    POINT(revoked_done, "what had not begun of it was given up")                       \
    POINT(release, "what had begun is finished, and the partition not yet let go")     \
    POINT(released, "it was let go")                                                   \
    POINT(lost, "a partition was lost")                                                \
    POINT(offset_store, "an offset is to be stored for the next commit")               \
    POINT(offset_stored, "it was stored")                                              \
    POINT(offset_committed, "Kafka has committed offsets")                             \
    POINT(drain, "the program was told to stop")                                       \
    POINT(drained, "nothing is in hand, and Kafka not yet left")                       \
    /* a worker's transactions */                                                      \
    POINT(look_send, "a look-up, with its intents, is to be sent to PostgreSQL")       \
    POINT(look_sent, "it was sent")                                                    \
    POINT(look_committed, "it was committed, and nothing followed from it yet")        \
    POINT(look_done, "what it said was noted")                                         \
    POINT(record_send, "outcomes are to be sent to PostgreSQL")                        \
    POINT(record_sent, "they were sent")                                               \
    POINT(record_committed, "they were committed, and nothing followed from it yet")   \
    POINT(record_done, "what follows was noted")                                       \
    /* a vendor's call, of workers and producers */                                    \
    POINT(call, "a request is given to libcurl")                                       \
    POINT(call_leaving, "there is a connection, and no byte has left")                 \
    POINT(call_left, "the request has left")                                           \
    POINT(call_answered, "the answer is here, and nobody has read it")                 \
    POINT(call_done, "the answer was read")                                            \
    /* Kafka's messages, of workers and producers */                                   \
    POINT(produce, "a message is given to librdkafka")                                 \
    POINT(produced, "it was given")                                                    \
    POINT(delivered, "every replica has it, and nobody was told")                      \
    POINT(delivered_done, "who waited for that was told")                              \
    /* a producer */                                                                   \
    POINT(statement, "a statement is to be sent to PostgreSQL")                        \
    POINT(statement_done, "it was carried out")                                        \
    POINT(locked, "the lock is ours")                                                  \
    POINT(poll, "a poll begins")                                                       \
    POINT(polled, "it has ended")                                                      \
    POINT(round_read, "the rows that are due were read")                               \
    POINT(round_mark, "they were acknowledged, and not yet marked as sent")            \
    POINT(round_marked, "they were marked")                                            \
    /* patron-requests */                                                              \
    POINT(rows_send, "requests are to be written to PostgreSQL")                       \
    POINT(rows_sent, "they were sent")                                                 \
    POINT(rows_committed, "they were committed, and nobody was told")                  \
    POINT(rows_done, "their callers were told, and they were given to Kafka")

#ifdef SHELFWIRE_INJECTION_POINTS

enum injection_point {
#define POINT(name, about) INJECTION_##name,
    INJECTION_POINTS(POINT)
#undef POINT
};
void injection_point(enum injection_point at);
#define INJECTION_POINT(name) injection_point(INJECTION_##name)

#else

#define INJECTION_POINT(name) ((void)0)

#endif
#endif

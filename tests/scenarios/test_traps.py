"""Traps that were fallen into once: each would come back unnoticed."""
from shelfwire import wait_for


def test_a_plan_made_on_empty_tables_never_reads_a_whole_one(world):
    """Statements are planned once, on a database as empty as a new library's; then the tables grow."""
    world.start_all(CONCURRENCY=20)
    world.make_windows(1000, 1000)
    world.await_no_lag(timeout=120)  # which asks Kafka: whoever counts the rows that are made reads them all, each time
    read = dict(world.db.rows("SELECT relname, (coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0)) / 1000 FROM pg_stat_user_tables"
                              " WHERE relname IN ('intents', 'users', 'appts', 'partition_owners')"))
    # a dozen look-ups by key, and a batch's own; a plan that reads the table for each batch reads hundreds for each window
    assert len(read) == 4 and max(read.values()) < 120, f"rows read for each window: {read}"
    assert world.made() == 1000


def test_a_worker_that_can_do_nothing_for_long_keeps_its_partitions_and_does_not_spin(world):
    """A vendor that is down, a full hand, and more than max.poll.interval.ms: the group must not lose the worker."""
    world.own_door("passagepoint")
    world.sandbox.vendor("passagepoint", down=True)
    world.make_windows(300, 300)
    world.start("bookings-new", CONCURRENCY=20)
    worker = world.start("users-resolve", CONCURRENCY=2, KAFKA_MAX_POLL_INTERVAL_MS=6000,
                         KAFKA_SESSION_TIMEOUT_MS=6000)
    world.start("prereg-create")
    turns = worker.metric("shelfwire_loop_turns_total")
    wait_for(lambda: world.db.one("SELECT clock_timestamp() > min(since) + interval '8 s' FROM partition_owners"
                                  " WHERE topic = %s", world.topic("users.resolve")), "longer than max.poll.interval.ms", 30)
    turned = worker.metric("shelfwire_loop_turns_total") - turns
    assert turned < 8000, f"{turned:.0f} turns of the loop while there was nothing to do"
    assert "users-resolve: lost " not in worker.log() and worker.log().count(": assigned ") == 1, worker.tail()
    world.sandbox.vendor("passagepoint", down=False)
    world.await_made(300, timeout=60)
    world.assert_exactly_once()

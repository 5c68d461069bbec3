"""Who watches Kafka from outside, with Burrow or kcat, sees our groups and the lag that we say; and it is the true one."""
import contextlib
import tempfile

import pytest
from shelfwire import PARTITIONS, Servers, wait_for
from watchers import Burrow, kcat_lags, see_the_same, true_lags


@pytest.fixture(scope="session")
def servers():
    """Debian's Burrow asks for offsets in a way that Kafka 4 has forgotten; ours asks both."""
    with tempfile.TemporaryDirectory(prefix="scenarios-") as folder:
        it = Servers(folder, lines=0, KAFKA_VERSION="3.9.1")
        yield it
        it.stop()


@pytest.fixture
def start_burrow(world):
    with contextlib.ExitStack() as stack:
        def start():
            it = Burrow(world.servers, world.folder)
            stack.callback(it.stop)
            return it
        yield start


def test_burrow_and_kcat_see_the_lag_that_we_say_and_it_is_the_true_one(world, start_burrow):
    """Also while messages are finished out of order: what is done behind one that is not, Kafka cannot forget, and so it counts."""
    group, topic = world.topic("users-resolve"), world.topic("users.resolve")
    world.make_windows(40, 40, topic="users.resolve")
    worker = world.start("users-resolve", CONCURRENCY=20, PASSAGEPOINT_TIMEOUT_MS=120000)

    monitor = world.begin("monitor", MONITOR_PORT=0)

    def said_by(program):
        lags = program.metrics().get("kafka_consumergroup_lag", {})
        return {p: int(lags.get(f'consumergroup="{group}",topic="{topic}",partition="{p}"', -1)) for p in range(PARTITIONS)}

    def finished():
        return {row[0] for row in world.db.rows("SELECT primary_id FROM users WHERE visitor_id IS NOT NULL")}

    def true():
        return true_lags(world.read_topic("users.resolve"), finished(), PARTITIONS)

    world.await_no_lag("users-resolve")
    burrow = start_burrow()  # it does not start before Kafka has its topic of offsets
    watchers = {"the worker": lambda: said_by(worker), "monitor": lambda: said_by(monitor), "Burrow": lambda: burrow.lags(group, topic),
                "kcat": lambda: kcat_lags(world.servers, group, topic, PARTITIONS)}
    none = dict.fromkeys(range(PARTITIONS), 0)
    assert true() == none
    see_the_same(watchers, none)
    assert group in burrow.groups()

    people = world.make_people(60, "users.resolve", first=len(world.people) + 1)
    held = people[5:30:5]
    faults = [world.sandbox.fault("passagepoint", "createVisitor", "stall", key=p.barcode) for p in held]
    world.make_windows(60, people, topic="users.resolve")
    wait_for(lambda: len(finished()) == 95, lambda: f"{len(finished())} of 95 are finished" + worker.tail())
    want = true()
    assert sum(want.values()) > len(held), f"{want}: nobody was overtaken, so nothing is shown"
    see_the_same(watchers, want)
    for i, fault in enumerate(faults):
        world.sandbox.heal(fault)
        wait_for(lambda: len(finished()) == 96 + i, lambda: f"{len(finished())} of {96 + i} are finished" + worker.tail())
    see_the_same(watchers, none)

"""Workers come, go, drain, freeze and wake: each key has one owner at a time, and nothing is lost, repeated or overtaken."""
import time

import confluent_kafka
import pytest
from shelfwire import PARTITIONS, wait_for

GATE = {"users-resolve": ("users.resolve", "createVisitor"), "prereg-create": ("prereg.create", "createPreReg")}
TIMEOUTS = {"PASSAGEPOINT_TIMEOUT_MS": 1000, "PASSAGEPOINT_PREREG_TIMEOUT_MS": 1000}


def partitions(program):
    """Those it owns, by its metrics."""
    return {labels.split('partition="')[1].split('"')[0] for labels in program.metrics().get("kafka_consumergroup_lag", {})}


def at_gate(world, name, what="requests"):
    return world.sandbox.count("passagepoint", GATE[name][1], what)


@pytest.mark.slow
def test_a_second_worker_joins_and_leaves_while_the_work_flows(world):
    world.sandbox.settings(passagepoint={"latency_ms": 30})
    world.make_windows(1000, 250, topic="users.resolve")
    first = {name: world.begin(name, CONCURRENCY=8) for name in GATE}
    wait_for(lambda: world.made() >= 100, "the first do not get going")
    second = {name: world.begin(name, CONCURRENCY=8) for name in GATE}
    for name in GATE:
        wait_for(lambda: len(partitions(second[name])) == PARTITIONS // 2, lambda: "no half for the second" + second[name].tail())
        wait_for(lambda: len(partitions(first[name])) == PARTITIONS // 2, lambda: "the first keeps all" + first[name].tail())
    left = world.made()
    wait_for(lambda: world.made() >= left + 100, "together they do not get going")
    assert world.made() < 1000, "all was done before the second left: this shows nothing"
    for name in GATE:
        second[name].stop()
    world.await_made(1000)
    world.await_no_lag("users-resolve", "prereg-create")
    world.assert_exactly_once()
    world.assert_in_order()
    world.assert_no_dead_letters()
    assert not any(" lost " in p.log() for p in world.programs), "an assignment was lost in a rebalance"
    assert world.desk() == [] and not world.db.one("SELECT count(*) FROM appts WHERE maybe_made")


@pytest.mark.parametrize("name", GATE)
def test_sigterm_finishes_what_is_under_way_and_no_more(world, name):
    topic, call = GATE[name]
    world.sandbox.settings(passagepoint={"latency_ms": 1000})
    world.make_windows(40, 40, topic=topic)
    worker = world.start(name, CONCURRENCY=4)
    wait_for(lambda: at_gate(world, name, "in_flight") == 4, "no calls under way")
    worker.stop(timeout=5)
    done = at_gate(world, name, "effects")
    assert 4 <= done <= 8
    recorded = world.db.one("SELECT count(*) FROM users WHERE visitor_id IS NOT NULL" if name == "users-resolve" else
                            "SELECT count(*) FROM appts WHERE answer = 'made'")
    assert recorded == done, "an effect nobody wrote down"
    assert world.db.one("SELECT count(*) FROM intents WHERE state IN ('taken', 'unsure')") == 0
    assert world.lag(name) == 40 - done
    world.sandbox.settings(passagepoint={"latency_ms": 0})
    for each in GATE:
        world.start(each)
    world.await_made(40)
    world.assert_exactly_once()
    assert world.desk() == []


@pytest.mark.parametrize("name", GATE)
def test_a_call_that_does_not_end_is_left_to_its_intent_when_the_time_is_over(world, name):
    topic, call = GATE[name]
    world.make_windows(12, 12, topic=topic)
    world.sandbox.fault("passagepoint", call, "stall", effect=True)
    worker = world.start(name, CONCURRENCY=3, DRAIN_SECONDS=1, KAFKA_GROUP_INSTANCE_ID="one")
    wait_for(lambda: at_gate(world, name, "in_flight") == 3, "no calls under way")
    worker.stop(timeout=8)
    world.sandbox.heal()
    world.start(name, CONCURRENCY=3, KAFKA_GROUP_INSTANCE_ID="one", **TIMEOUTS)
    world.await_no_lag(name)
    world.assert_never_twice()
    if name == "users-resolve":
        world.start("prereg-create")
        world.await_made(12)
        world.assert_exactly_once()
    else:
        assert world.answers() == {"made": 9, "unknown": 3} and len(world.desk()) == 3


def test_a_worker_with_a_name_restarts_without_its_neighbour_noticing(world):
    a, b = [world.begin("prereg-create", KAFKA_GROUP_INSTANCE_ID=i) for i in ("a", "b")]
    wait_for(lambda: len(partitions(a)) == len(partitions(b)) == PARTITIONS // 2, lambda: "not half and half" + a.tail() + b.tail())
    theirs, noticed = partitions(a), b.log().count("partition")
    for end in (a.kill9, lambda: a.stop()):
        end()
        a = world.start("prereg-create", KAFKA_GROUP_INSTANCE_ID="a")
        assert partitions(a) == theirs
    world.make_windows(30, 30, topic="prereg.create")
    world.await_made(30)
    assert b.log().count("partition") == noticed, b.tail()
    world.assert_exactly_once()


@pytest.mark.slow
@pytest.mark.parametrize("name, waiting", [("users-resolve", "for_slots"), ("prereg-create", "for_slots"), ("prereg-create", "for_answers")])
def test_a_worker_that_slept_while_another_took_over_does_nothing_twice(world, name, waiting):
    """Stopped for longer than its session, with intents taken; it wakes in the middle of the other's work."""
    topic, call = GATE[name]
    pace = {"PASSAGEPOINT_CALLS_PER_SECOND": 25, "KAFKA_SESSION_TIMEOUT_MS": 3000, "KAFKA_HEARTBEAT_INTERVAL_MS": 500}
    windows = world.make_windows(150, 150, topic=topic)
    sleeper = world.begin(name, CONCURRENCY=4, **TIMEOUTS, **pace)
    wait_for(lambda: at_gate(world, name, "200") >= 8, "it does not get going")
    if waiting == "for_answers":
        stalled = world.sandbox.fault("passagepoint", call, "stall", effect=True)
        wait_for(lambda: at_gate(world, name, "in_flight") == 4, "no calls under way")
    sleeper.sigstop()
    if waiting == "for_answers":
        world.sandbox.heal(stalled)
    other = world.begin(name, CONCURRENCY=4, **TIMEOUTS, **pace)
    wait_for(lambda: len(partitions(other)) == PARTITIONS, "the other does not take over")
    before = at_gate(world, name)
    wait_for(lambda: at_gate(world, name) >= before + 12, "the other does not get going")
    assert at_gate(world, name) < 140, "all was done before it woke: this shows nothing"
    sleeper.sigcont()
    wait_for(lambda: partitions(sleeper), lambda: "it does not come back" + sleeper.tail())
    world.await_no_lag(name, timeout=40)
    world.assert_never_twice()
    world.assert_no_dead_letters()
    if name == "users-resolve":
        world.start("prereg-create")
        world.await_made(150)
        world.assert_exactly_once()
        assert world.desk() == []
    else:
        unknown = world.answers().get("unknown", 0)
        assert unknown <= 4 and world.made() == len(windows) - unknown, world.answers()
        assert len(world.desk()) == unknown


@pytest.mark.slow
def test_two_workers_by_mistake_under_one_name_do_nothing_twice(world):
    """Kafka fences one of them for good, again and again; a row of each call in doubt goes to the desk, none is repeated."""
    world.sandbox.settings(passagepoint={"latency_ms": 20})
    world.make_windows(300, 300, topic="prereg.create", send=False)
    both = [world.start("prereg-create", KAFKA_GROUP_INSTANCE_ID="one", CONCURRENCY=4, **TIMEOUTS) for _ in range(2)]
    world.send("prereg.create", world.windows_made)
    wait_for(lambda: world.made() >= 50, lambda: "nothing is done" + both[0].tail() + both[1].tail())
    assert all(p.running() for p in both)
    both[0].stop()
    world.await_no_lag("prereg-create", timeout=40)
    world.assert_never_twice()
    world.assert_no_dead_letters()
    unknown = world.answers().get("unknown", 0)
    assert world.made() + unknown == 300 and len(world.desk()) == unknown


def test_a_worker_that_is_told_to_stop_while_it_joins_ends_well(world):
    """At whatever moment: between the group's answer and the first assignment, librdkafka 2.0.2 aborts when it is closed."""
    world.make_topics("prereg.create", "prereg.create.dlq")
    for moment in range(12):
        worker = world.begin("prereg-create")
        worker.url
        deadline = time.monotonic() + moment * 0.01
        wait_for(lambda: time.monotonic() >= deadline, "time stands still", every=0.001)
        worker.stop()


def test_a_worker_that_kafka_fenced_for_good_begins_anew(world):
    """Another took its name for a moment. Of a consumer, librdkafka's fatal error is one message among others."""
    worker = world.start("prereg-create", KAFKA_GROUP_INSTANCE_ID="one")
    world.make_windows(5, 5, topic="prereg.create")
    world.await_made(5)
    other = confluent_kafka.Consumer({
        "bootstrap.servers": world.servers.bootstrap, "group.id": world.topic("prereg-create"), "group.instance.id": "one",
        "partition.assignment.strategy": "cooperative-sticky", "session.timeout.ms": 6000, "enable.auto.commit": False, "log_level": 0})
    other.subscribe([world.topic("prereg.create")])
    wait_for(lambda: other.poll(0.1) or other.assignment(), "the other is not let in")
    other.close()
    worker.await_log("making a new one")
    world.make_windows(5, 5, topic="prereg.create")
    world.await_made(10)
    world.await_no_lag("prereg-create")
    world.assert_exactly_once()


def test_a_worker_whose_partitions_another_has_taken_calls_nobody_until_they_are_its_own_again(world):
    worker = world.start("prereg-create")
    world.make_windows(3, 3, topic="prereg.create")
    world.await_made(3)
    world.db.rows("UPDATE partition_owners SET epoch = epoch + 1, owner = 'another'")
    world.make_windows(10, 10, topic="prereg.create")
    wait_for(lambda: worker.metric("shelfwire_parked") == 10 or world.made() == 13, lambda: worker.metrics())
    assert world.db.one("SELECT count(*) FROM intents WHERE state = 'taken' AND owner <> 'another'") == 0
    assert world.sandbox.count("passagepoint", "createPreReg") == 3, "it called for keys that may be another's"
    world.await_made(13)
    assert world.db.one("SELECT count(*) FROM partition_owners WHERE owner = 'another'") < PARTITIONS
    world.assert_exactly_once()


def test_one_worker_shares_its_room_among_partitions(world):
    """A partition with a long backlog does not starve the others."""
    crowd = world.make_people(1, "prereg.create")
    world.sandbox.settings(passagepoint={"latency_ms": 20})
    world.make_windows(2500, crowd, topic="prereg.create")
    worker = world.start("prereg-create", CONCURRENCY=4)
    wait_for(lambda: world.made() >= 5, "it does not get going" + worker.tail())
    few = world.make_windows(40, world.make_people(40, "prereg.create", first=100), topic="prereg.create")
    elsewhere = [w for w in few if w.person.primary_id != crowd[0].primary_id]
    wait_for(lambda: world.db.one("SELECT count(*) FROM appts WHERE prereg_id IS NOT NULL AND asked_id = ANY (%s)",
                                  [w.person.asked_id for w in elsewhere]) >= 20, "the other partitions starve", 10)
    world.assert_in_order()

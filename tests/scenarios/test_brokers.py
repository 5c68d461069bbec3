"""Three brokers, of which one after another is killed under load: the two that are left are enough, and nothing is lost."""
import re
import tempfile

import confluent_kafka.admin
import pytest
from shelfwire import STAGES, Servers, wait_for

BROKERS = 3


@pytest.fixture(scope="module")
def servers():
    """A broker that is dead is missed after 3 s, not after the 9 that are the default; one replica in sync is enough for them."""
    settings = ("broker.session.timeout.ms=3000", "broker.heartbeat.interval.ms=500", "min.insync.replicas=1")
    with tempfile.TemporaryDirectory(prefix="brokers-") as folder:
        it = Servers(folder, "--brokers", str(BROKERS), *(word for s in settings for word in ("--set", s)), lines=0, FAST="1")
        yield it
        it.stop()


def listed(world):
    return world.servers.admin.list_topics(timeout=30)


def whole(world):
    """Every partition is on all brokers, and in sync on all."""
    meta = listed(world)
    return len(meta.brokers) == BROKERS and all(
        len(p.replicas) == len(p.isrs) == BROKERS for t in meta.topics.values() for p in t.partitions.values())


def java_hash(text):
    value = 0
    for c in text:
        value = (31 * value + ord(c)) & 0xFFFFFFFF
    return value if value < 0x80000000 else value - 0x100000000


def coordinator(world, program):
    """Whoever leads the partition that has the group's offsets."""
    offsets = listed(world).topics["__consumer_offsets"].partitions
    return offsets[abs(java_hash(world.prefix + program)) % len(offsets)].leader


def quorum_leader(world):
    said = world.servers.kafka.script("tool", "org.apache.kafka.tools.MetadataQuorumCommand", "describe", "--status")
    return int(re.search(r"LeaderId:\s+(\d+)", said)[1])


def topic_setting(world, topic, name):
    at = confluent_kafka.admin.ConfigResource(confluent_kafka.admin.ConfigResource.Type.TOPIC, world.topic(topic))
    (found,) = world.servers.admin.describe_configs([at]).values()
    return found.result(30)[name].value


def begin_all(world, **changed):
    """Two of each stage, one with a name of its own and one without; they make the topics, and sessions are as long as usual."""
    for name in STAGES:
        for instance in (f"{name}-one", None):
            world.begin(name, CONCURRENCY=3, KAFKA_SESSION_TIMEOUT_MS=None, KAFKA_GROUP_INSTANCE_ID=instance, **changed)
    for p in world.programs:
        p.ready()


def victims(world):
    """All of them, the quorum's leader and then a group's coordinator first."""
    killed = [quorum_leader(world)]
    yield killed[0]
    killed.append(coordinator(world, "prereg-create"))
    yield killed[1]
    yield from {1, 2, 3} - set(killed)


@pytest.mark.slow
def test_one_broker_after_another_is_killed_and_nothing_is_lost(world):
    world.sandbox.settings(passagepoint={"latency_ms": 30}, alma={"latency_ms": 10})
    begin_all(world, TOPIC_REPLICAS=BROKERS)
    monitor, lacking = world.begin("monitor", MONITOR_PORT=0), "kafka_topic_partition_under_replicated_partition"
    people = world.make_people(60, "bookings.new")
    for victim in victims(world):
        before = len(world.windows_made)
        world.make_windows(180, people)
        world.await_made(before + 20)
        world.servers.kafka.script("kill", str(victim))
        world.make_windows(60, people)
        world.await_made(before + 240, timeout=60)  # two brokers are enough
        wait_for(lambda: monitor.metric(lacking) > 0 and monitor.metric("kafka_brokers") == BROKERS - 1, "monitor misses no broker", 60, 1)
        world.make_windows(60, people)
        world.servers.kafka.script("restart-broker", str(victim))
        wait_for(lambda: whole(world), f"broker {victim} does not catch up", 60, 0.2)
    world.await_made(len(world.windows_made), timeout=60)
    world.await_no_lag(timeout=60)
    wait_for(lambda: monitor.metric(lacking) == 0 and monitor.metric("kafka_brokers") == BROKERS, "monitor still misses a broker", 60, 1)
    world.assert_exactly_once()
    world.assert_in_order()
    world.assert_no_dead_letters()
    assert world.desk() == [] and not world.db.one("SELECT count(*) FROM appts WHERE maybe_made")
    assert all(p.running() for p in world.programs)
    said = [p.get("/readyz").text for p in world.programs]
    assert not any("broker" in words for words in said), f"all is well again, and they say {said}"


@pytest.mark.parametrize("replicas, in_sync", [(BROKERS, "2"), (2, "1"), (None, "1")])
def test_topics_of_three_replicas_want_two_in_sync(world, replicas, in_sync):
    """Two replicas that both had to be there would stop with either; what the brokers' default is decides the rest."""
    world.begin("users-resolve", TOPIC_REPLICAS=replicas).ready()
    for topic in ("users.resolve", "users.resolve.dlq", "prereg.create"):
        partitions = listed(world).topics[world.topic(topic)].partitions.values()
        assert {len(p.replicas) for p in partitions} == {replicas or BROKERS}
        assert topic_setting(world, topic, "min.insync.replicas") == in_sync

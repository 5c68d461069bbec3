"""PostgreSQL and Kafka go away in the middle of the work and come back: the programs go on by themselves."""
import contextlib

import pytest
from shelfwire import keeps_true, wait_for


def in_the_middle(world, **settings):
    world.sandbox.settings(passagepoint={"latency_ms": 30}, alma={"latency_ms": 10})
    world.make_windows(600, 300)
    world.start_all(CONCURRENCY=6, **settings)
    wait_for(lambda: world.made() >= 60, "it does not get going")


def finished(world):
    world.await_made(600, timeout=60)
    world.await_no_lag(timeout=60)
    world.assert_exactly_once()
    world.assert_in_order()
    world.assert_no_dead_letters()
    assert world.desk() == [] and not world.db.one("SELECT count(*) FROM appts WHERE maybe_made")


@pytest.mark.slow
def test_postgresql_crashes_twice_in_the_middle(world):
    in_the_middle(world)
    for more in (200, 400):
        world.servers.postgres.kill()
        try:
            wait_for(lambda: all(p.get("/readyz").status_code == 503 for p in world.programs), "nobody notices")
            assert all(p.get("/healthz").status_code == 200 for p in world.programs)
        finally:
            world.servers.postgres.start()
        wait_for(lambda: world.made() >= more, lambda: f"it does not go on: {world.made()}" + world.programs[2].tail())
    assert all(p.running() for p in world.programs)
    finished(world)


@pytest.mark.slow
def test_kafka_crashes_in_the_middle(world):
    in_the_middle(world)
    world.servers.kafka.kill()
    world.servers.kafka.start()
    assert all(p.running() for p in world.programs)
    finished(world)


@pytest.mark.slow
def test_kafka_is_silent_for_longer_than_a_session(world):
    """As behind a cut network: connections stay, nothing comes; then the group has forgotten its members."""
    in_the_middle(world, KAFKA_SESSION_TIMEOUT_MS=3000, KAFKA_HEARTBEAT_INTERVAL_MS=500)
    with world.servers.kafka_frozen():
        keeps_true(lambda: all(p.get("/healthz").status_code == 200 for p in world.programs), "a program is stuck", 5)
    finished(world)


def test_an_idle_worker_says_that_kafka_is_back(world):
    """librdkafka tells when the last broker goes, and nothing when one is there again; no partition is assigned anew."""
    world.make_windows(3, topic="prereg.create")
    worker = world.start("prereg-create", KAFKA_SESSION_TIMEOUT_MS=60000)
    world.await_made(3)
    world.await_no_lag("prereg-create")
    world.servers.kafka.kill()
    try:
        wait_for(lambda: "Kafka" in worker.get("/readyz").text, "nobody notices")
    finally:
        world.servers.kafka.start()
    wait_for(lambda: worker.get("/readyz").text.strip() == "ok", lambda: worker.get("/readyz").text + worker.tail())
    worker.await_log("Kafka is there again")


@pytest.mark.parametrize("away", ["killed", "frozen"])
def test_who_is_told_to_stop_while_kafka_is_away_ends_in_time(world, away):
    """Although what it has done since cannot be committed: who stops it kills it after half a minute."""
    world.sandbox.settings(passagepoint={"latency_ms": 1500})
    world.make_windows(3, 3, topic="prereg.create")
    worker = world.start("prereg-create")
    wait_for(lambda: world.sandbox.count("passagepoint", "createPreReg", "in_flight") == 3, "no calls under way")
    with contextlib.ExitStack() as stack:
        if away == "killed":
            world.servers.kafka.kill()
            stack.callback(world.servers.kafka.start)
        else:
            stack.enter_context(world.servers.kafka_frozen())
        world.await_made(3)
        wait_for(lambda: worker.metric("shelfwire_in_hand") == 0, lambda: worker.metrics())
        worker.stop(timeout=20, lets_go=False)
    world.start("prereg-create")
    world.await_no_lag("prereg-create")
    world.assert_exactly_once()


FULL_DISK = """
    CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN RAISE EXCEPTION 'could not extend the file' USING ERRCODE = 'disk_full'; END $$;
    CREATE TRIGGER full_disk BEFORE INSERT ON attempts FOR EACH ROW EXECUTE FUNCTION full_disk()"""


@pytest.mark.parametrize("name, topic", [("users-resolve", "users.resolve"), ("prereg-create", "prereg.create")])
def test_postgresql_that_takes_no_outcome_is_waited_for(world, name, topic):
    world.make_windows(10, 10, topic=topic, send=False)
    worker = world.start(name)
    world.db.rows(FULL_DISK)
    world.send(topic, world.windows_made)
    worker.await_log("PostgreSQL refuses")
    keeps_true(lambda: worker.get("/healthz").status_code == 200, "it is stuck", 2)
    assert worker.log().count("PostgreSQL refuses") <= 20, "it floods the log"
    assert world.lag(name) == 10
    world.db.rows("DROP TRIGGER full_disk ON attempts")
    world.await_no_lag(name)
    world.start({"users-resolve": "prereg-create", "prereg-create": "users-resolve"}[name])
    world.await_made(10)
    world.assert_exactly_once()
    world.assert_no_dead_letters()
    assert world.desk() == []


def refuse_outcome_of(world, window):
    world.db.rows(f"ALTER TABLE appts ADD CONSTRAINT odd CHECK (asked_id <> '{window.person.asked_id}' OR prereg_id IS NULL) NOT VALID")


def test_one_outcome_the_database_refuses_is_set_aside_and_costs_no_other(world):
    windows = world.make_windows(40, 40, topic="prereg.create", send=False)
    odd = windows[20]
    world.start("prereg-create", CONCURRENCY=20)
    refuse_outcome_of(world, odd)
    world.send("prereg.create", windows)
    world.await_no_lag("prereg-create")
    assert [m.json()["appt_id"] for m in world.dead_letters("prereg.create")] == [odd.appt_id]
    assert world.answers() == {"made": 39, "set_aside": 1}
    world.assert_never_twice()


def test_an_outcome_the_database_refused_is_not_made_again_in_silence(world):
    """The gate has made it, and its row could not be written. Put back, nobody knows what came of it: a person is asked."""
    (odd,) = world.make_windows(1, topic="prereg.create", send=False)
    worker = world.start("prereg-create", PASSAGEPOINT_PREREG_TIMEOUT_MS=1000)
    refuse_outcome_of(world, odd)
    world.send("prereg.create", [odd])
    dead = wait_for(lambda: world.dead_letters("prereg.create"), "it is not set aside")[0]
    world.db.rows("ALTER TABLE appts DROP CONSTRAINT odd")
    world.produce_raw("prereg.create", dead.key, dead.value)
    wait_for(lambda: world.appt(odd)["answer"] not in (None, "set_aside"), lambda: "nothing comes of it" + worker.tail())
    world.assert_never_twice()
    assert world.appt(odd)["answer"] == "unknown" and world.desk() == [("unknown", odd.appt_id)]

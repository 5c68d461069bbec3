"""/metrics, /healthz and /readyz: what a dashboard, a supervisor and a person read."""
import json
import re

import pytest
import requests
from shelfwire import STAGES, keeps_true, wait_for

SAMPLE = re.compile(r'([a-zA-Z_:][a-zA-Z0-9_:]*)(\{([a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\[\\n"])*",?)*\})? (-?[0-9.e+-]+|NaN|[+-]Inf)')


def assert_prometheus(text):
    """The text format 0.0.4: each family in one piece behind its HELP and TYPE, no series twice, histograms that add up."""
    families, family, series, buckets = set(), None, set(), {}
    for line in text.splitlines():
        if line.startswith("# HELP "):
            family = line.split()[2]
            assert family not in families, f"{family} is in two pieces"
            families.add(family)
        elif line.startswith("# TYPE "):
            _, _, name, kind = line.split()
            assert name == family and kind in ("counter", "gauge", "histogram")
            assert (kind == "counter") == name.endswith("_total"), name
        else:
            assert SAMPLE.fullmatch(line), line
            key, value = line.rsplit(" ", 1)
            name = re.match(r"[\w:]+", key)[0]
            assert key not in series, key
            series.add(key)
            assert name == family or re.fullmatch(family + "_(bucket|sum|count)", name), line
            if name.endswith("_bucket"):
                assert float(value) >= buckets.get(family, 0)
                buckets[family] = float(value) if 'le="+Inf"' not in key else 0
    assert text.endswith("\n")


def test_metrics_tell_the_true_lag_and_nobodys_name(world):
    failing = world.sandbox.fault("alma", "user", "status", status=503)
    world.make_windows(40, 25)
    started = world.start_all()
    first = started[0]
    wait_for(lambda: first.metric("shelfwire_in_hand") == 40, lambda: first.metrics())
    wait_for(lambda: first.metric("kafka_consumergroup_lag") == 40, lambda: first.metrics().get("kafka_consumergroup_lag"), 10)
    true = world.lags("bookings-new")
    assert first.metrics()["kafka_consumergroup_lag"] == {
        f'consumergroup="{world.topic("bookings-new")}",topic="{world.topic("bookings.new")}",partition="{p}"': lag
        for p, lag in true.items()}
    assert first.metric("shelfwire_oldest_message_seconds") > 0
    world.sandbox.heal(failing)
    world.await_made(40)
    world.await_no_lag()
    for p in started:
        wait_for(lambda: p.metric("kafka_consumergroup_lag") == 0, lambda: p.metrics()["kafka_consumergroup_lag"], 5)
        answer = p.get("/metrics")
        assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        assert_prometheus(answer.text)
        assert not re.search(r"G0\d{7}|2282\d|cs_0|Vorname|leser", answer.text), "a person or a booking in a label"
        assert p.metric("shelfwire_messages_total", 'outcome="done"') + p.metric("shelfwire_messages_total", 'outcome="true_already"') == 40
        assert p.metric("shelfwire_in_hand") == p.metric("shelfwire_calls_in_flight") == 0
    assert started[2].metric("shelfwire_vendor_calls_total", 'call="createPreReg",code="made"') == 40
    assert started[2].metric("shelfwire_vendor_call_seconds_count") >= 40


def test_a_worker_that_was_restarted_with_nothing_to_do_lags_by_nothing(world):
    """What the topic still holds is no lag: the group has committed all of it, though this member never did."""
    world.make_windows(12, topic="prereg.create")
    worker = world.start("prereg-create")
    world.await_made(12)
    world.await_no_lag("prereg-create")
    worker.stop()
    worker = world.start("prereg-create")
    keeps_true(lambda: worker.metric("kafka_consumergroup_lag") == 0, lambda: worker.metrics()["kafka_consumergroup_lag"], 2)
    worker.stop()
    world.make_windows(4, topic="prereg.create")
    world.sandbox.fault("passagepoint", "login", "status", status=503)
    worker = world.start("prereg-create")
    wait_for(lambda: worker.metric("kafka_consumergroup_lag") == 4, lambda: worker.metrics()["kafka_consumergroup_lag"])


def turns(worker):
    """Turns of the loop in a second, beside those that asking makes."""
    before, asked = worker.metric("shelfwire_loop_turns_total"), 10
    keeps_true(lambda: True, "", 1)
    return worker.metric("shelfwire_loop_turns_total") - before - asked


def nothing_to_do(world):
    world.make_windows(5, 5, topic="users.resolve")
    world.start("users-resolve")
    world.await_no_lag("users-resolve")


def a_vendor_is_down(world):
    world.sandbox.fault("passagepoint", "createVisitor", "status", status=503)
    world.make_windows(300, 300, topic="users.resolve")
    world.start("users-resolve").await_log("unwell")


def no_token(world):
    world.sandbox.settings(passagepoint={"password": "changed"})
    world.make_windows(300, 300, topic="users.resolve")
    world.start("users-resolve").await_log("refuses the user name")


def slots_are_rare(world):
    world.make_windows(300, 300, topic="users.resolve")
    world.start("users-resolve", PASSAGEPOINT_CALLS_PER_SECOND=2)
    wait_for(lambda: world.sandbox.count("passagepoint", "createVisitor") >= 2, "no calls")


def calls_take_their_time(world):
    world.sandbox.settings(passagepoint={"latency_ms": 3000})
    world.make_windows(300, 300, topic="users.resolve")
    world.start("users-resolve", CONCURRENCY=50)
    wait_for(lambda: world.sandbox.count("passagepoint", "createVisitor", "in_flight") == 50, "no calls")


def messages_wait_for_their_next_try(world):
    world.make_windows(1, 1, topic="users.resolve")
    world.sandbox.fault("passagepoint", "createVisitor", "status", status=500, body="{}")
    worker = world.start("users-resolve", RETRY_MS_MIN=5000, RETRY_MS_MAX=5000)
    wait_for(lambda: worker.metric("shelfwire_parked") == 1, "it is not waiting")


@pytest.mark.parametrize("situation", [nothing_to_do, a_vendor_is_down, no_token, slots_are_rare, calls_take_their_time,
                                       messages_wait_for_their_next_try])
def test_a_worker_that_waits_does_not_spin(world, situation):
    """A timer that lies in the past would make the loop turn for nothing."""
    situation(world)
    assert turns(world.programs[0]) < 150


def test_a_worker_that_waits_for_postgresql_or_kafka_does_not_spin(world):
    world.make_windows(50, 50, topic="users.resolve", send=False)
    worker = world.start("users-resolve")
    with world.db.locked("appts", "SHARE"):
        world.send("users.resolve", world.windows_made[:25])
        wait_for(world.db.waiting, "no statement waits")
        assert turns(worker) < 150
    world.await_no_lag("users-resolve")
    world.sandbox.settings(passagepoint={"latency_ms": 300})
    world.send("users.resolve", world.windows_made[25:])
    wait_for(lambda: worker.metric("shelfwire_in_hand") == 25, "no messages in hand")
    with world.servers.kafka_frozen():
        wait_for(lambda: world.db.one("SELECT count(*) FROM users WHERE visitor_id IS NULL") == 0, "nothing is recorded")
        assert turns(worker) < 200
    world.await_no_lag("users-resolve")


def test_other_paths_and_methods_are_refused(world):
    worker = world.start("prereg-create")
    assert worker.get("/").status_code == 404 and "/metrics" in worker.get("/").text
    assert requests.post(worker.url + "/metrics", data="x", timeout=5).status_code == 405
    assert worker.get("/readyz").text == "ok\n" and worker.get("/healthz").text == "ok\n"


@pytest.mark.parametrize("name, missing, words", [
    ("prereg-create", {"KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1"}, "Kafka"),
    *[(name, {"PGHOST": "127.0.0.1", "PGPORT": "1"}, "PostgreSQL") for name in STAGES]])
def test_while_something_is_missing_it_is_healthy_and_not_ready_and_says_why(world, name, missing, words):
    worker = world.begin(name, **missing)
    wait_for(lambda: worker.get("/readyz").status_code == 503 and words in worker.get("/readyz").text,
             lambda: worker.get("/readyz").text, 10)
    answer = worker.get("/healthz")
    assert answer.status_code == 200 and worker.running()
    assert answer.elapsed.total_seconds() < 1, f"a supervisor gives up: /healthz took {answer.elapsed.total_seconds():.1f} s"
    worker.stop()


def test_while_it_drains_it_is_not_ready(world):
    world.make_windows(4, 4, topic="prereg.create")
    world.sandbox.fault("passagepoint", "createPreReg", "stall")
    worker = world.start("prereg-create")
    wait_for(lambda: world.sandbox.count("passagepoint", "createPreReg", "in_flight") == 4, "no calls under way")
    worker.process.terminate()
    wait_for(lambda: worker.get("/readyz").status_code == 503, "still ready")
    assert "draining" in worker.get("/readyz").text and worker.get("/healthz").status_code == 200
    world.sandbox.heal()
    worker.stop()
    world.start("prereg-create")
    world.await_no_lag("prereg-create")
    world.assert_exactly_once()


def test_logs_are_one_json_object_a_line(world):
    windows = world.make_windows(5, 5, send=False)
    world.produce_raw("bookings.new", "k", "poison")
    worker = world.start("bookings-new", LOG_FORMAT="json")
    world.send("bookings.new", windows)
    worker.await_log("set aside")
    for line in worker.log().splitlines():
        said = json.loads(line)
        assert {"time", "level", "program", "message"} <= set(said) and said["program"] == "bookings-new"

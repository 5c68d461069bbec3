"""A vendor's quota belongs to the whole institution: all workers together keep it, and a pause seen by one is everybody's."""
import pytest
from shelfwire import keeps_true, wait_for


def alma_calls(world):
    return sorted(world.sandbox.calls("alma", "user"), key=lambda c: c["at"])


@pytest.mark.slow
def test_four_workers_together_keep_the_calls_a_second_and_use_them(world):
    world.make_windows(180, 180, send=False)
    for _ in range(4):
        world.begin("bookings-new", ALMA_CALLS_PER_SECOND=25)
    for p in world.programs:
        p.ready()
    wait_for(lambda: all(p.metric("kafka_consumergroup_lag") >= 0 and "kafka_consumergroup_lag" in p.metrics()
                         for p in world.programs), "not every worker has a partition")
    world.send("bookings.new", world.windows_made)
    wait_for(lambda: world.sandbox.count("alma", "user") >= 180, lambda: "too slow: " + world.programs[0].tail(), 40)
    assert world.sandbox.counts("alma")["max_calls_in_a_second"] <= 25
    at = [c["at"] for c in alma_calls(world)]
    rate = 130 / (at[140] - at[10])
    assert rate >= 22.5, f"{rate:.1f} calls a second of 25"
    assert len(at) == 180
    assert all(p.metric("shelfwire_vendor_calls_total") > 0 for p in world.programs)


def test_too_many_calls_a_second_seen_by_one_pauses_all(world):
    world.make_windows(150, 150, send=False)
    for _ in range(2):
        world.begin("bookings-new", ALMA_CALLS_PER_SECOND=50)
    for p in world.programs:
        p.ready()
    world.sandbox.fault("alma", "user", "rate_limited", skip=20, count=1, retry_after=3)
    world.send("bookings.new", world.windows_made)
    wait_for(lambda: world.lag("bookings-new") == 0, "it does not go on", 30, 0.2)
    calls = alma_calls(world)
    (seen,) = [c["at"] for c in calls if c["status"] == 429]
    early = [round(c["at"] - seen, 2) for c in calls if seen + 0.8 < c["at"] < seen + 2.9]
    assert not early, f"calls {early} s after Alma asked to wait 3 s"
    assert sum(seen < c["at"] for c in calls) >= 100, "most of the work was to come after the pause"
    assert all("no calls for" in p.log() for p in world.programs), "only one of them paused"
    world.assert_no_dead_letters()
    assert len({c["key"] for c in calls}) == 150 and len(calls) == 151


def test_too_many_calls_a_second_without_retry_after_slow_down(world):
    world.make_windows(60, 60)
    world.sandbox.settings(alma={"per_second": 10})
    world.start("bookings-new", ALMA_CALLS_PER_SECOND=100)
    wait_for(lambda: world.lag("bookings-new") == 0, "it does not go on", 60, 0.2)
    assert world.sandbox.count("alma", "user", "429") > 0
    world.assert_no_dead_letters()
    assert len(world.read_topic("users.resolve")) == 60


def test_the_days_threshold_pauses_everybody_and_blames_no_message(world):
    world.make_windows(40, 40)
    world.sandbox.fault("alma", "user", "rate_limited", code="DAILY_THRESHOLD")
    workers = [world.start("bookings-new", TRIES_MAX=1, CONCURRENCY=4, ALMA_CALLS_PER_SECOND=20) for _ in range(2)]
    wait_for(lambda: all("today are used up" in p.get("/readyz").text for p in workers),
             lambda: [p.get("/readyz").text for p in workers])
    calls = world.sandbox.count("alma", "user")
    keeps_true(lambda: world.sandbox.count("alma", "user") == calls, "it calls on", 2)
    assert calls <= 8
    assert all(p.get("/healthz").status_code == 200 for p in workers)
    assert world.lag("bookings-new") == 40
    world.assert_no_dead_letters()
    # a quarter of an hour later
    world.sandbox.heal()
    for p in workers:
        p.stop()
    world.db.rows("UPDATE quotas SET paused_until = now()")
    world.start("bookings-new")
    wait_for(lambda: world.lag("bookings-new") == 0, "it does not go on", 30, 0.2)
    assert len(world.read_topic("users.resolve")) == 40
    world.assert_no_dead_letters()


def test_the_calls_left_to_others_are_left_to_them(world):
    world.sandbox.settings(alma={"per_day": 100})
    world.make_windows(80, 80)
    worker = world.start("bookings-new", ALMA_CALLS_LEFT_MIN=60, CONCURRENCY=4)
    wait_for(lambda: "not ours to use" in worker.get("/readyz").text, lambda: worker.get("/readyz").text)
    used = world.sandbox.count("alma", "user")
    keeps_true(lambda: world.sandbox.count("alma", "user") == used, "it calls on", 1.5)
    assert 40 <= used <= 44
    assert 56 <= worker.metric("shelfwire_vendor_calls_left") <= 60
    wait_for(lambda: world.lag("bookings-new") == 80 - used, "what was answered is not finished")
    world.assert_no_dead_letters()


def test_a_gate_has_a_pace_too(world):
    world.make_windows(30, 30, topic="users.resolve")
    world.start("users-resolve", PASSAGEPOINT_CALLS_PER_SECOND=20)
    world.start("prereg-create", PASSAGEPOINT_CALLS_PER_SECOND=20)
    world.await_made(30)
    world.assert_exactly_once()
    at = sorted(c["at"] for call in ("createVisitor", "createPreReg") for c in world.sandbox.calls("passagepoint", call))
    assert len(at) == 60
    most = max(sum(t <= u < t + 1 for u in at) for t in at)
    assert most <= 20, f"{most} calls in a second"

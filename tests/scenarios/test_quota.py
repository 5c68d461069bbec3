"""A vendor's quota belongs to the whole institution: all workers together keep it, and a pause seen by one is everybody's."""
import threading
import time

import pytest
import requests
from shelfwire import keeps_true, wait_for


def alma_calls(world):
    return sorted(world.sandbox.calls("alma", "user"), key=lambda c: c["at"])


class Stalls(threading.Thread):
    """How long an answer of the sandbox took at the most: so much later than it was sent a call may have been seen."""

    def __init__(self, sandbox):
        super().__init__(daemon=True)
        self.url, self.worst, self.over = sandbox.url + "/admin/faults", 0.0, threading.Event()

    def run(self):
        session = requests.Session()
        while not self.over.wait(0.02):
            since = time.monotonic()
            session.get(self.url, timeout=60)
            self.worst = max(self.worst, time.monotonic() - since)

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.join()


def assert_never_more(at, a_second, stalls):
    """Two calls are seen later than they are made, each by a time of its own."""
    at = sorted(at)
    closest = min(later - first for first, later in zip(at, at[a_second:]))
    assert closest >= 1 - 2 * stalls.worst, (f"{a_second + 1} calls in {closest:.3f} s, and no answer took longer than"
                                             f" {stalls.worst:.3f} s")


@pytest.mark.slow
@pytest.mark.parametrize("workers, calls", [(1, 100), (4, 180)])
def test_workers_together_keep_the_calls_a_second(world, workers, calls):
    """How much of them they use is a figure, not a promise: tests/bench/quota.py."""
    world.make_windows(calls, calls, send=False)
    for _ in range(workers):
        world.begin("bookings-new", ALMA_CALLS_PER_SECOND=25)
    for p in world.programs:
        p.ready()
    wait_for(lambda: all("kafka_consumergroup_lag" in p.metrics() for p in world.programs), "not every worker has a partition")
    with Stalls(world.sandbox) as stalls:
        world.send("bookings.new", world.windows_made)
        wait_for(lambda: world.sandbox.count("alma", "user") >= calls, lambda: "too slow: " + world.programs[0].tail(), 120)
    at = [c["at"] for c in alma_calls(world)]
    assert len(at) == calls
    assert_never_more(at, 25, stalls)
    assert all(p.metric("shelfwire_vendor_calls_total") > 0 for p in world.programs)
    assert sum(p.metric("shelfwire_quota_slots_total", 'outcome="used"') for p in world.programs) == calls


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
    """They try again every so often, a call or a few each time; and go on by themselves when the day is over."""
    world.make_windows(40, 40)
    world.sandbox.fault("alma", "user", "rate_limited", code="DAILY_THRESHOLD")
    workers = [world.start("bookings-new", TRIES_MAX=1, CONCURRENCY=4, ALMA_CALLS_PER_SECOND=20, DAY_PAUSE_SECONDS=4) for _ in range(2)]
    wait_for(lambda: all("today are used up" in p.get("/readyz").text for p in workers),
             lambda: [p.get("/readyz").text for p in workers])
    assert all(0 < p.metric("shelfwire_vendor_pause_seconds") <= 4 for p in workers)
    assert all(p.get("/healthz").status_code == 200 for p in workers)
    calls = wait_for(lambda: world.sandbox.count("alma", "user"), "none was made")
    wait_for(lambda: world.sandbox.count("alma", "user") > calls, "nobody tries again")
    at = [c["at"] for c in alma_calls(world)]
    bursts = [at[0]] + [later for earlier, later in zip(at, at[1:]) if later - earlier > 2]
    assert len(at) <= 8 * len(bursts), f"{len(at)} calls in {len(bursts)} rounds: each has 4 in flight at most"
    assert world.lag("bookings-new") == 40
    world.assert_no_dead_letters()
    world.sandbox.heal()
    world.await_no_lag("bookings-new", timeout=60)
    assert all("no calls for" in p.log() and "no calls" not in p.get("/readyz").text for p in workers)
    assert all(p.metric("shelfwire_vendor_pause_seconds") == 0 for p in workers)
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
    assert worker.metric("shelfwire_vendor_pause_seconds") > 800  # a quarter of an hour
    world.assert_no_dead_letters()


def test_a_gate_has_a_pace_too(world):
    """One for both its stages."""
    world.make_windows(30, 30, topic="users.resolve", send=False)
    world.start("users-resolve", PASSAGEPOINT_CALLS_PER_SECOND=20)
    world.start("prereg-create", PASSAGEPOINT_CALLS_PER_SECOND=20)
    with Stalls(world.sandbox) as stalls:
        world.send("users.resolve", world.windows_made)
        world.await_made(30)
    world.assert_exactly_once()
    at = [c["at"] for call in ("createVisitor", "createPreReg") for c in world.sandbox.calls("passagepoint", call)]
    assert len(at) == 60
    assert_never_more(at, 20, stalls)

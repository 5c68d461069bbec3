"""A sample of `tests/fire matrix`, with every program and everything that can happen to one; and what the matrix has found."""
import pathlib

import pytest
from fires.lines import Line, Sluggish
from fires.matrix import WORKER_ACTIONS, all_cases, is_stopped, run_cases
from fires.works import WORKS
from shelfwire import PARTITIONS, wait_for
from test_folio import Folio

LANES = 4
SAMPLE = [  # each program, each action; where the outside world has just changed, and where it is about to
    ("bookings-new", "look_sent", "kill"), ("bookings-new", "produced", "broker"),
    ("users-resolve", "call_left", "kill"), ("users-resolve", "call", "zombie"), ("users-resolve", "delivered", "kill-new"),
    ("users-resolve", "released", "cut"),
    ("prereg-create", "call_left", "kill"), ("prereg-create", "call_leaving", "zombie"), ("prereg-create", "record_sent", "postgres"),
    ("catalog-delta", "record_committed", "kill"), ("catalog-delta", "fetched", "broker"),
    ("folio-requests", "call_leaving", "zombie"), ("folio-requests", "released", "kill"),
    ("folio-requests", "call_answered", "answer"),
    ("wise-holds-prepare", "drain", "kill"), ("wise-holds-place", "look_committed", "zombie"),
    ("wise-holds-place", "call_done", "postgres"), ("oneclick-requests", "call_left", "answer"), ("oneclick-requests", "lost", "kill-new"),
    ("libcal-bookings", "round_mark", "kill"), ("libcal-bookings", "statement", "postgres"),
    ("webcheckout-allocations", "call_answered", "zombie"), ("oneclick-catalog", "produce", "broker"),
    ("patron-requests", "rows_committed", "kill"), ("patron-requests", "call_left", "answer"),
]


def test_whatever_happens_wherever_it_comes_out_as_if_nothing_had_been(servers, tmp_path_factory):
    known = {(c.program, c.point, c.action): c for c in reversed(all_cases()) if not c.repeat}
    cases = [known[one] for one in SAMPLE]
    assert {c.program for c in cases} == set(WORKS) and {c.action for c in cases} == set(WORKER_ACTIONS)
    results = run_cases(cases, servers, pathlib.Path(tmp_path_factory.mktemp("fire")), LANES)
    assert len(results) == len(cases)
    wrong = [f"{r.case.name()}: " + ("\n".join(r.wrong) or "it does not come to that point")
             for r in results if r.wrong or not r.reached]
    assert not wrong, "\n".join(wrong)


def partitions(program):
    return program.metrics().get("kafka_consumergroup_lag", {})


@pytest.mark.slow
@pytest.mark.parametrize("name, call", [("users-resolve", "createVisitor"), ("prereg-create", "createPreReg")])
def test_who_is_cut_off_from_its_group_sends_nothing_that_its_successor_may_have_sent(world, name, call):
    """It reaches the vendor and PostgreSQL, has much in hand, and hears nothing of losing its partitions."""
    topic, pace = {"users-resolve": "users.resolve", "prereg-create": "prereg.create"}[name], {
        "PASSAGEPOINT_CALLS_PER_SECOND": 8, "KAFKA_SESSION_TIMEOUT_MS": 6000, "KAFKA_HEARTBEAT_INTERVAL_MS": 500, "CONCURRENCY": 4}
    line = Line(world.servers, 0)
    try:
        windows = world.make_windows(150, 150, topic=topic)
        first = world.begin(name, **pace, **line.env)

        def calls(of=first):
            return of.metric("shelfwire_vendor_calls_total", f'call="{call}"')
        wait_for(lambda: calls() >= 8, lambda: "it does not get going" + first.tail())
        line.kafka.silence()
        assert first.metric("shelfwire_in_hand") > 50, "it has too little left that it could send"
        other = world.begin(name, **pace)
        wait_for(lambda: len(partitions(other)) == PARTITIONS, lambda: "the other does not take over" + other.tail())
        before = calls()
        wait_for(lambda: calls(other) >= 20, lambda: "the other does not get going" + other.tail())
        assert calls() <= before + 4, "it goes on, though its group has not heard of it for a session"
        line.kafka.speak()
        world.await_no_lag(name, timeout=60)
        of_the_other, log = set(), world.sandbox.calls("passagepoint", call)
        for made in log:
            if made["credential"] != log[0]["credential"]:
                of_the_other.add(made["key"])
            assert made["key"] not in of_the_other or made["credential"] != log[0]["credential"], "sent after its successor had sent it"
        assert len(of_the_other) >= 20
        world.assert_never_twice()
        world.assert_no_dead_letters()
        if name == "prereg-create":
            unknown = world.answers().get("unknown", 0)
            assert unknown <= 4 and world.made() == len(windows) - unknown and len(world.desk()) == unknown, world.answers()
        else:
            assert len(world.sandbox.visitors()) == len(windows)
        first.stop()
    finally:
        line.close()


def test_who_dies_while_giving_partitions_back_leaves_none_without_an_owner(world):
    """It has a name, so the group believes nothing has changed when it is back; and who was to have them waits for word."""
    first = world.start("prereg-create", KAFKA_GROUP_INSTANCE_ID="a", INJECT_AT="release")
    second = world.begin("prereg-create", KAFKA_GROUP_INSTANCE_ID="b")
    wait_for(lambda: is_stopped(first), lambda: "it has nothing to give back" + first.tail() + second.tail())
    first.kill9()
    first = world.start("prereg-create", KAFKA_GROUP_INSTANCE_ID="a")
    wait_for(lambda: len(partitions(first)) + len(partitions(second)) == PARTITIONS,
             lambda: f"{list(partitions(first))} {list(partitions(second))}" + first.tail() + second.tail(), 40, 0.2)
    world.make_windows(30, 30, topic="prereg.create")
    world.await_made(30)
    world.await_no_lag("prereg-create")
    world.assert_exactly_once()


def test_a_broker_that_is_slow_is_waited_for(world):
    """Each of its answers takes longer than a program that starts would wait at first."""
    line = Line(world.servers, 0)
    line.kafka.cut()
    try:
        with Sluggish(line.kafka.port, line.kafka.to, 0.4):
            world.make_topics("bookings.new", "bookings.new.dlq", "users.resolve")
            world.begin("bookings-new", **line.env).ready().stop()
    finally:
        line.close()


def test_a_hold_in_doubt_that_comes_back_before_it_is_written_is_not_made_twice(world):
    """
    The hold's answer is lost. As it is about to be asked about, the worker is stopped for longer than its session, wakes, gives it
    up, and gets it again at once; and PostgreSQL takes no outcome meanwhile, so the row still says that the intent is taken.
    """
    folio = Folio(world)
    who, other = folio.someone(), folio.someone()
    folio.fault("holdItem", "drop_after", key=who, count=1)
    (worker,) = folio.start(KAFKA_SESSION_TIMEOUT_MS=6000, KAFKA_HEARTBEAT_INTERVAL_MS=500, RETRY_MS_MIN=4000, RETRY_MS_MAX=4000,
                            INJECT_AT="call:5")  # log-in, account, hold, the other's account; then it asks
    request_id = folio.one("hold_item", who)
    wait_for(lambda: folio.done(who) == ["holds"], "the hold is not made")
    wait_for(lambda: world.db.one("SELECT count(*) FROM attempts WHERE subject = %s AND call = 'holdItem'", request_id) == 1, "it is not recorded")
    with world.servers.connect(world.db.name) as blocking:
        blocking.autocommit = False
        blocking.cursor().execute("LOCK TABLE attempts IN SHARE MODE")
        folio.one("account", other)  # what came of it cannot be written
        wait_for(lambda: is_stopped(worker), lambda: "it does not ask" + worker.tail(), 40)
        wait_for(lambda: world.db.one("SELECT clock_timestamp() > max(changed_at) + interval '8 s' FROM intents"), "its session is over", 20)
        worker.sigcont()
        wait_for(lambda: worker.log().count(": assigned ") >= 2, lambda: "it does not come back" + worker.tail(), 40)
        assert world.db.one("SELECT count(*) FROM pg_locks WHERE NOT granted") > 0, "nothing waits to be written"
        wait_for(lambda: world.db.one("SELECT clock_timestamp() > max(since) + interval '2 s' FROM partition_owners"), "it has had its time", 20)
        blocking.rollback()
    folio.await_all()
    assert folio.done(who) == ["holds"], folio.row(request_id)

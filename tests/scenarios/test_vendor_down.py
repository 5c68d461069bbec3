"""A vendor that is down, slow or out of its mind stops only its own stages, loses nothing and blames no message."""
import struct

import pytest
from shelfwire import STAGES, keeps_true, wait_for

VENDOR = {"bookings-new": "alma", "users-resolve": "passagepoint", "prereg-create": "passagepoint"}
CALL = {"bookings-new": "user", "users-resolve": "createVisitor", "prereg-create": "createPreReg"}


def quiet(world):
    """Nothing is set aside, nothing answered, nothing for the desk."""
    return not world.db.one("SELECT count(*) FROM appts WHERE answer IS NOT NULL") and world.desk() == []


@pytest.mark.parametrize("vendor", ["alma", "passagepoint"])
def test_a_vendor_that_refuses_connections_is_waited_for(world, vendor):
    world.own_door(vendor)
    world.sandbox.vendor(vendor, down=True)
    world.make_windows(40, 40)
    started = world.start_all(TRIES_MAX=1)
    lagging = started[0] if vendor == "alma" else started[1]
    wait_for(lambda: vendor in lagging.get("/readyz").text, lambda: "readyz does not say it: " + lagging.get("/readyz").text)
    assert lagging.get("/healthz").status_code == 200
    keeps_true(lambda: quiet(world), "something was given up", 2)
    assert world.lag(lagging.name) == 40
    world.sandbox.vendor(vendor, down=False)
    world.await_made(40)
    world.assert_exactly_once()
    world.assert_no_dead_letters()
    assert world.desk() == []


@pytest.mark.parametrize("name", STAGES)
def test_a_vendor_that_answers_500_to_everything_is_waited_for(world, name):
    failing = world.sandbox.fault(VENDOR[name], CALL[name], "status", status=500, body="{}")
    world.make_windows(40, 40)
    started = world.start_all(TRIES_MAX=1)
    stage = started[list(STAGES).index(name)]
    stage.await_log("unwell")
    keeps_true(lambda: quiet(world), "something was given up", 2)
    fired = world.sandbox.fired(failing)
    assert fired <= 20, f"{fired} calls in 2 s to a vendor that fails each"
    world.sandbox.heal()
    world.await_made(40)
    world.await_no_lag()
    world.assert_exactly_once()
    world.assert_no_dead_letters()
    marked = world.db.one("SELECT count(*) FROM appts WHERE maybe_made")
    assert marked <= fired if name == "prereg-create" else marked == 0, "500 says not done; a repeat after it is marked"


@pytest.mark.parametrize("name, kind", [
    ("bookings-new", "stall"), ("bookings-new", "not_json"), ("bookings-new", "xml_error"),
    ("users-resolve", "stall"), ("users-resolve", "empty"), ("users-resolve", "drop_before")])
def test_a_vendor_out_of_its_mind_is_waited_for(world, name, kind):
    members = {"status": 502} if kind in ("not_json", "empty", "xml_error") else {}
    world.sandbox.fault(VENDOR[name], CALL[name], kind, **members)
    if name == "users-resolve":
        world.sandbox.fault(VENDOR[name], "byUniqueId", kind, **members)
    world.make_windows(20, 20)
    started = world.start_all(TRIES_MAX=1, ALMA_TIMEOUT_MS=300, PASSAGEPOINT_TIMEOUT_MS=300)
    started[list(STAGES).index(name)].await_log("unwell")
    keeps_true(lambda: quiet(world), "something was given up", 1)
    world.sandbox.heal()
    world.await_made(20)
    world.assert_exactly_once()
    world.assert_no_dead_letters()
    assert world.desk() == []


@pytest.mark.slow
@pytest.mark.parametrize("stalling", [["createPreReg"], ["createPreReg", "login", "byUniqueId"]], ids=["calls", "log_ins_too"])
def test_a_gate_that_stalls_leaves_a_handful_for_the_desk_not_a_hundred(world, stalling):
    world.make_windows(300, 300, topic="prereg.create", send=False)
    worker = world.start("prereg-create", CONCURRENCY=4, PASSAGEPOINT_PREREG_TIMEOUT_MS=1000)
    for call in stalling:
        world.sandbox.fault("passagepoint", call, "stall")
    world.send("prereg.create", world.windows_made)
    worker.await_log("unwell")
    keeps_true(lambda: world.answers().get("unknown", 0) <= 12, lambda: f"in doubt: {world.answers()}", 7)
    world.sandbox.heal()
    world.await_no_lag("prereg-create", timeout=60)
    unknown = world.answers().get("unknown", 0)
    assert 0 < unknown <= 12 and world.made() == 300 - unknown
    assert len(world.desk()) == unknown
    world.assert_never_twice()
    world.assert_no_dead_letters()


@pytest.mark.parametrize("name", STAGES)
def test_one_person_the_vendor_fails_on_is_set_aside_and_delays_nobody(world, name):
    topic = STAGES[name]
    windows = world.make_windows(31, 31, topic=topic, send=False)
    sick, others = windows[0], windows[1:]
    key = {"bookings-new": sick.person.asked_id, "users-resolve": sick.person.barcode, "prereg-create": sick.person.visitor_id}
    world.sandbox.fault(VENDOR[name], CALL[name], "status", status=500, body="{}", key=key[name])
    world.start_all(TRIES_MAX=3)
    world.send(topic, [sick])
    tried = 0
    for i in range(0, len(others), 5):
        wait_for(lambda: world.sandbox.count(VENDOR[name], CALL[name], "500") > tried or world.answers().get("set_aside"),
                 "it is not tried again")
        tried = world.sandbox.count(VENDOR[name], CALL[name], "500")
        world.send(topic, others[i:i + 5])
        world.await_made(i + 5, timeout=5)
    wait_for(lambda: world.dead_letters(topic), lambda: f"not set aside after {tried} tries: {world.answers()}")
    assert 3 <= world.sandbox.count(VENDOR[name], CALL[name], "500") <= 5
    world.await_no_lag()

    (dead,) = world.dead_letters(topic)
    (original,) = [m for m in world.read_topic(topic) if m.json()["appt_id"] == sick.appt_id]
    assert (dead.key, dead.value) == (original.key, original.value)
    assert dead.headers["kafka_dlt-original-topic"].decode() == world.topic(topic)
    assert struct.unpack(">i", dead.headers["kafka_dlt-original-partition"]) == (original.partition,)
    assert struct.unpack(">q", dead.headers["kafka_dlt-original-offset"]) == (original.offset,)
    assert struct.unpack(">q", dead.headers["kafka_dlt-original-timestamp"])[0] > 1.7e12
    assert dead.headers["kafka_dlt-original-consumer-group"].decode() == world.topic(name)
    assert "500" in dead.headers["kafka_dlt-exception-message"].decode()
    assert sick.trace_id in dead.headers["traceparent"].decode()
    assert world.appt(sick)["answer"] == "set_aside"
    assert world.desk() == [("set_aside", sick.appt_id)]
    world.assert_exactly_once(others)

    # mended, and the dead letter put back: it comes right, and leaves the desk
    world.sandbox.heal()
    world.produce_raw(topic, dead.key, dead.value)
    world.await_made(31)
    assert [kind for kind, _ in world.desk()] in ([], ["maybe_twice"] if name == "prereg-create" else [])
    world.assert_exactly_once()


def test_a_sick_alma_does_not_stop_the_gate(world):
    known = world.make_windows(20, 20, topic="users.resolve", send=False)
    waiting = world.make_windows(10, 10, topic="bookings.new")
    world.sandbox.fault("alma", "user", "status", status=503)
    world.start_all()
    world.send("users.resolve", known)
    world.await_made(20)
    assert world.lag("bookings-new") == 10
    world.sandbox.heal()
    world.await_made(30)
    world.assert_exactly_once()
    assert all(world.appt(w)["answer"] == "made" for w in waiting)

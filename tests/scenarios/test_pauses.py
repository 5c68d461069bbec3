"""A person pauses a stage or a location, and resumes it: no call meanwhile, nothing lost, nothing twice, order kept."""
import json

import pytest
from shelfwire import STAGES, keeps_true, local, booked, wait_for

CALLS = {"bookings-new": ("alma", "user"), "users-resolve": ("passagepoint", "createVisitor"),
         "prereg-create": ("passagepoint", "createPreReg")}
ELSEWHERE = {"1234": "LibCal Gelman", "1235": "Second Door"}


def pause(world, kind, name):
    assert world.db.one("SELECT pause(%s, %s, 'the desk', 'the gate is serviced')", kind, name)


def resume(world, kind, name):
    assert world.db.one("SELECT resume(%s, %s, 'the desk')", kind, name)


def says_paused(program, is_so=True):
    wait_for(lambda: program.metric("shelfwire_paused") == is_so, lambda: "the metric does not say it" + program.tail())
    ready, healthy = program.get("/readyz"), program.get("/healthz")
    assert (ready.status_code, healthy.status_code) == (200, 200), ready.text
    assert ("paused since" in ready.text) == is_so, ready.text


def calls(world, name):
    """Of its vendor, log-ins too: nobody else is at it."""
    return sum(call["requests"] for call in world.sandbox.counts(CALLS[name][0])["calls"].values())


@pytest.mark.parametrize("name", STAGES)
def test_a_paused_stage_finishes_what_is_under_way_and_makes_no_call(world, name):
    vendor, call = CALLS[name]
    world.sandbox.settings(**{vendor: {"latency_ms": 300}})
    world.make_windows(60, 20, topic=STAGES[name])
    worker = world.start(name, CONCURRENCY=4)
    wait_for(lambda: world.sandbox.count(vendor, call, "in_flight") == 4, "no calls under way")
    pause(world, "stage", name)
    says_paused(worker)
    wait_for(lambda: not world.sandbox.count(vendor, call, "in_flight"), "calls under way do not end")
    made = calls(world, name)
    written = world.db.one("SELECT count(*) FROM attempts WHERE stage = %s AND call <> 'look'", name)
    wait_for(lambda: world.db.one("SELECT count(*) FROM attempts WHERE stage = %s AND call <> 'look'", name)
             == world.sandbox.count(vendor, call), lambda: f"what was under way is not written: {written}")
    keeps_true(lambda: calls(world, name) == made, "it calls", 2)
    assert world.db.one("SELECT count(*) FROM intents WHERE state = 'taken'") == 0, "an intent is held as if a call were under way"
    assert world.lag(name) > 30, "there is nothing left to be done: this shows nothing"

    worker.kill9() if name == "prereg-create" else worker.stop()  # and another one, which begins while it is paused
    worker = world.start(name)
    says_paused(worker)
    keeps_true(lambda: calls(world, name) == made, "it calls as it starts", 2)
    world.sandbox.settings(**{vendor: {"latency_ms": 0}})
    resume(world, "stage", name)
    says_paused(worker, False)
    world.await_no_lag(name)
    rest = [world.start(n) for n in list(STAGES)[list(STAGES).index(name) + 1:]]
    world.await_no_lag(*[p.name for p in rest])
    world.await_made(60)
    world.assert_exactly_once()
    world.assert_in_order()
    world.assert_no_dead_letters()
    assert world.desk() == []
    assert world.db.rows("SELECT who, verb, about FROM monitor_log ORDER BY at") == [
        ("the desk", "pause", f"stage {name}"), ("the desk", "resume", f"stage {name}")]


def test_a_stage_without_work_notices_a_pause_before_work_comes(world):
    worker = world.start("prereg-create")
    pause(world, "stage", "prereg-create")
    says_paused(worker)
    world.make_windows(5, topic="prereg.create")
    keeps_true(lambda: not world.sandbox.count("passagepoint", "createPreReg"), "it calls", 2)
    assert world.lag("prereg-create") == 5
    resume(world, "stage", "prereg-create")
    world.await_made(5)
    world.assert_exactly_once()


@pytest.mark.parametrize("name", STAGES)
def test_windows_of_a_paused_location_wait_where_they_are_and_others_go_on(world, name):
    """Each person has one window; every other is of the paused location."""
    vendor, call = CALLS[name]
    windows = world.make_windows(40, topic=STAGES[name], send=False)
    waiting, going = windows[::2], windows[1::2]
    world.db.rows("UPDATE appts SET location_id = '1235' WHERE appt_id = ANY (%s::uuid[])", [w.appt_id for w in going])
    pause(world, "location", "1234")
    workers = {n: world.start(n) for n in list(STAGES)[list(STAGES).index(name):]}
    world.send(STAGES[name], windows)
    world.await_made(len(going))
    wait_for(lambda: workers[name].metric("shelfwire_held") == len(waiting), "they do not wait")
    assert "of paused locations wait" in workers[name].get("/readyz").text
    keeps_true(lambda: world.sandbox.count(vendor, call) == len(going), "the paused location's are called for", 2)
    assert world.db.one("SELECT count(*) FROM appts WHERE location_id = '1234' AND answer IS NOT NULL") == 0
    assert world.lag(name) >= len(waiting), "a message that waits is unfinished"

    workers[name].stop()  # whoever comes next has them, too
    workers[name] = world.start(name)
    wait_for(lambda: workers[name].metric("shelfwire_held") == len(waiting), "they do not wait for the next one")
    resume(world, "location", "1234")
    world.await_made(len(windows))
    world.await_no_lag(*workers)
    assert workers[name].metric("shelfwire_held") == 0
    world.assert_exactly_once()
    world.assert_no_dead_letters()
    assert world.desk() == []


def test_order_holds_for_a_person_one_of_whose_locations_is_paused(world):
    windows = world.make_windows(12, 3, topic="prereg.create", send=False)
    world.db.rows("UPDATE appts SET location_id = '1235' WHERE appt_id = ANY (%s::uuid[])", [w.appt_id for w in windows[3:]])
    pause(world, "location", "1234")
    worker = world.start("prereg-create")
    world.send("prereg.create", windows)
    wait_for(lambda: worker.metric("shelfwire_held") == 3, "each one's first does not wait")
    keeps_true(lambda: world.made() == 0, "a later one overtook", 1)
    resume(world, "location", "1234")
    world.await_made(12)
    world.assert_exactly_once()
    world.assert_in_order()


def test_a_paused_locations_windows_are_not_sent_until_it_is_resumed(world):
    people = world.make_people(2)
    world.make_topics("bookings.new")
    world.sandbox.admin("PUT", "/libcal/bookings", [
        booked("cs_a", people[0], local("10:00"), local("11:00")), booked("cs_b", people[1], local("10:00"), local("11:00"), lid=1235)])
    pause(world, "location", "1234")
    producer = world.start("libcal-bookings", LIBCAL_LOCATIONS="1234,1235", PASSAGEPOINT_DESTINATIONS=json.dumps(ELSEWHERE))

    def sent():
        return sorted(m.json()["booking_id"] for m in world.read_topic("bookings.new"))
    wait_for(lambda: world.db.one("SELECT count(*) FROM appts") == 2, "the paused location is not read")
    wait_for(lambda: sent() == ["cs_b"], lambda: f"sent: {sent()}")
    says_paused(producer)
    assert producer.metric("shelfwire_paused", 'location="1234"') == 1 and producer.metric("shelfwire_paused", 'location="1235"') == 0
    world.sandbox.admin("PATCH", "/libcal/bookings/cs_a", {"status": "Cancelled by User"})
    wait_for(lambda: not world.db.one("SELECT wanted FROM appts WHERE booking_id = 'cs_a'"), "what changes meanwhile is not noticed")
    world.sandbox.admin("POST", "/libcal/bookings", [booked("cs_c", people[0], local("12:00"), local("13:00"))])
    wait_for(lambda: world.db.one("SELECT count(*) FROM appts") == 3, "what comes meanwhile is not noticed")
    assert sent() == ["cs_b"]
    resume(world, "location", "1234")
    wait_for(lambda: sent() == ["cs_b", "cs_c"], lambda: f"sent: {sent()}")
    says_paused(producer, False)

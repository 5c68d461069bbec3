"""The vendor did it, or did not, and its answer never came; and what a person can say then."""
import datetime

from shelfwire import person, wait_for


def test_a_lost_answer_of_create_visitor_is_asked_about(world):
    world.make_windows(40, 40, topic="users.resolve")
    lost = world.sandbox.fault("passagepoint", "createVisitor", "drop_after", share=0.3)
    world.start_all()
    world.await_made(40)
    world.await_no_lag()
    fired = world.sandbox.fired(lost)
    assert fired >= 5 and world.sandbox.count("passagepoint", "byUniqueId", "200") >= fired
    world.assert_exactly_once()
    assert world.desk() == []


def test_a_request_that_never_arrived_is_asked_about_and_sent_again(world):
    world.make_windows(20, 20, topic="users.resolve")
    lost = world.sandbox.fault("passagepoint", "createVisitor", "drop_before", share=0.3)
    world.start_all()
    world.await_made(20)
    assert world.sandbox.fired(lost) >= 2
    world.assert_exactly_once()


def test_two_visitors_with_one_card_are_for_a_person_to_sort_out(world):
    p = person(7)
    twins = world.sandbox.admin("POST", "/passagepoint/visitors", [
        {"uniqueId": p.barcode, "firstName": p.first_name, "lastName": p.last_name}] * 2)["ids"]
    windows = world.make_windows(12, 12, topic="users.resolve")
    sick = next(w for w in windows if w.person.barcode == p.barcode)
    world.start_all()
    world.await_made(11)
    world.await_no_lag()
    appt = world.appt(sick)
    assert appt["answer"] == "two_visitors" and appt["retry_at"]
    assert world.desk() == [("two_visitors", sick.appt_id)]

    # sorted out at the gate, and sent again as the producer would
    world.sandbox.admin("DELETE", f"/passagepoint/visitors/{twins[0]}")
    world.send("bookings.new", [sick])
    world.await_made(12)
    assert world.appt(sick)["visitor_id"] == str(twins[1])
    assert world.desk() == []
    world.assert_never_twice()


def hold_some(world, windows, kind, **fault):
    """So many windows while a share of createPreReg's answers is lost; returns the windows that nobody knows about."""
    made = world.make_windows(windows, windows, topic="prereg.create")
    lost = world.sandbox.fault("passagepoint", "createPreReg", kind, **fault)
    world.start("prereg-create", RETRY_MS_MAX=100)
    world.await_no_lag("prereg-create", timeout=60)
    fired = world.sandbox.fired(lost)
    world.sandbox.heal()
    held = {r for r, in world.db.rows("SELECT appt_id::text FROM appts WHERE answer = 'unknown'")}
    assert fired >= 2 and len(held) == fired, (fired, world.answers())
    assert world.made() == windows - fired
    return [w for w in made if w.appt_id in held]


def test_a_lost_answer_of_create_prereg_is_held_and_never_sent_again(world):
    held = hold_some(world, 60, "drop_after", share=0.1)
    assert len(world.sandbox.preregs()) == 60
    assert sorted(world.desk()) == sorted(("unknown", w.appt_id) for w in held)
    before = world.sandbox.count("passagepoint", "createPreReg")
    for _ in range(2):
        world.send("prereg.create", world.windows_made)
    world.await_no_lag("prereg-create")
    assert world.sandbox.count("passagepoint", "createPreReg") == before
    world.assert_never_twice()
    assert len(world.desk()) == len(held)


def test_a_person_says_it_was_made(world):
    held = hold_some(world, 12, "drop_after", count=2)
    at_gate = {(p["visitorId"], int(p["startTime"])): str(p["id"]) for p in world.sandbox.preregs()}
    for w in held:
        found = at_gate[w.person.visitor_id, int(w.start.timestamp())]
        assert world.db.one("SELECT appt_made(%s, %s, 'the desk')", w.appt_id, found)
    assert world.desk() == []
    world.send("prereg.create", held)
    world.await_no_lag("prereg-create")
    world.assert_exactly_once()
    assert not world.db.one("SELECT appt_made(%s, '1', 'the desk')", held[0].appt_id), "a second word changes nothing"


def test_a_person_says_it_was_not_made_and_then_it_is_made_once(world):
    held = hold_some(world, 12, "drop_before", count=2)
    assert len(world.sandbox.preregs()) == 10
    for w in held:
        assert world.db.one("SELECT appt_not_made(%s, 'the desk')", w.appt_id)
        assert world.appt(w)["retry_at"], "the producer would not send it again"
    assert world.desk() == []
    world.send("prereg.create", held)
    world.await_made(12)
    world.send("prereg.create", held)
    world.await_no_lag("prereg-create")
    world.assert_exactly_once()
    assert world.desk() == []
    assert world.db.one("SELECT count(*) FROM attempts WHERE stage = 'desk' AND call = 'not made'") == 2


def test_where_the_setting_says_repeat_the_row_admits_it(world):
    windows = world.make_windows(30, 30, topic="prereg.create")
    lost = world.sandbox.fault("passagepoint", "createPreReg", "drop_after", count=4, skip=5)
    world.start("prereg-create", PASSAGEPOINT_ON_UNKNOWN="repeat", CONCURRENCY=1)
    world.await_made(30)
    world.await_no_lag("prereg-create")
    assert world.sandbox.fired(lost) == 4
    twice = {p["visitorId"] for p in world.sandbox.preregs() if p["again"]}
    marked = dict(world.db.rows("SELECT visitor_id, appt_id::text FROM appts WHERE maybe_made"))
    assert set(marked) == twice and twice
    assert sorted(world.desk()) == sorted(("maybe_twice", appt_id) for appt_id in marked.values())
    assert world.answers() == {"made": len(windows)}


def test_a_booking_cancelled_during_its_call_is_for_the_desk_to_withdraw(world):
    (window,) = world.make_windows(1, topic="prereg.create")
    world.sandbox.fault("passagepoint", "createPreReg", "stall")
    world.start("prereg-create")
    wait_for(lambda: world.sandbox.count("passagepoint", "createPreReg", "in_flight") == 1, "no call under way")
    world.db.rows("UPDATE appts SET wanted = false, unwanted_reason = 'cancelled in LibCal', unwanted_at = now()")
    world.sandbox.heal()
    world.await_made(1)
    world.await_no_lag("prereg-create")
    assert world.desk() == [("withdraw", window.appt_id)]
    said = world.db.one("SELECT reason FROM desk")
    assert "cancelled in LibCal" in said and world.appt(window)["prereg_id"] in said


def test_a_visitor_the_gate_has_forgotten_is_made_again(world):
    windows = world.make_windows(10, 10, topic="prereg.create", send=False)
    lost = windows[3]
    world.sandbox.admin("DELETE", f"/passagepoint/visitors/{lost.person.visitor_id}")
    world.send("prereg.create", windows)
    world.start_all()
    world.await_made(9)
    wait_for(lambda: world.appt(lost)["answer"] == "visitor_gone", lambda: f"answered {world.appt(lost)}")
    assert world.appt(lost)["retry_at"]
    assert world.db.one("SELECT visitor_id FROM users WHERE primary_id = %s", lost.person.primary_id) is None
    assert world.desk() == [], "it mends itself: nobody is to be asked"
    world.send("bookings.new", [lost])  # as the producer would, at retry_at
    world.await_made(10)
    world.assert_never_twice()
    assert world.appt(lost)["visitor_id"] != lost.person.visitor_id


def test_a_new_card_is_a_new_visitor_and_its_windows_are_made_again(world):
    p = world.make_people(1)[0]
    (old,) = world.make_windows(1, [p])
    world.start_all(ALMA_REMEMBER_HOURS=0)
    world.await_made(1)
    world.sandbox.admin("POST", "/alma/users", [p.alma(barcode="22829999999999")])
    world.db.rows("UPDATE users SET checked_at = checked_at - interval '1 min'")
    later = world.make_windows(1, [p], send=False)
    world.db.rows("UPDATE appts SET starts_at = starts_at + interval '1 day', ends_at = ends_at + interval '1 day'"
                  " WHERE appt_id = %s", later[0].appt_id)
    later[0].start += datetime.timedelta(days=1)
    later[0].end += datetime.timedelta(days=1)
    world.send("bookings.new", later)
    world.await_made(2)
    cards = dict(world.db.rows("SELECT appt_id::text, barcode FROM appts WHERE prereg_id IS NOT NULL"))
    assert cards == {old.appt_id: p.barcode, later[0].appt_id: "22829999999999"}
    assert [v["uniqueId"] for v in world.sandbox.visitors()] == [p.barcode, "22829999999999"]
    # the window made for the old card: for the desk to withdraw, and wanted again as a row the producer will send
    assert world.desk() == [("withdraw", old.appt_id)]
    again = world.db.rows("SELECT appt_id::text FROM appts WHERE wanted AND prereg_id IS NULL AND sent_at IS NULL"
                          " AND booking_id = %s AND starts_at = %s AND ends_at = %s", old.booking_id, old.start, old.end)
    assert len(again) == 1

"""Who the person is: what Alma's answers mean for a booking."""
import datetime

import pytest
from shelfwire import person, wait_for

DAY = datetime.timedelta(days=1)


def settled(world):
    wait_for(lambda: world.lag("bookings-new") == 0, lambda: f"lag {world.lags('bookings-new')}" + world.programs[0].tail(), 30, 0.1)


def book(world, *people, known=True, send=True):
    """One window for each person, who is posted to Alma as they are if known."""
    world.people += people
    if known:
        world.sandbox.admin("POST", "/alma/users", [p.alma() for p in people])
    return world.make_windows(len(people), list(people), send=send)


def barcode(value, status):
    return {"value": value, "id_type": {"value": "BARCODE"}, "status": status}


def user(world, primary_id):
    rows = world.db.rows("SELECT row_to_json(u) FROM users u WHERE primary_id = %s", primary_id)
    return rows[0][0] if rows else None


def test_odd_ids_reach_alma_as_they_were_written(world):
    odd = ["a b", "o'neil", "50%", "a/b", "a?b=c&d", "a#b", "x+y", "%41", "\"q\"", "~`^|\\", "x" * 64]
    book(world, *[person(900 + i, asked_id=o, primary_id=o) for i, o in enumerate(odd)])
    world.start_all()
    world.await_made(len(odd))
    assert {c["key"] for c in world.sandbox.calls("alma", "user")} == {o[:48] for o in odd}
    assert {m.key.decode() for m in world.read_topic("prereg.create")} == set(odd)
    world.assert_exactly_once()


def test_an_id_of_dots_is_asked_for_as_it_is(world):
    """Also if nobody has it: what is asked for must be that id, not another path of Alma's."""
    dots = [".", "..", "../users", "a/../b"]
    windows = book(world, *[person(i, asked_id=it) for i, it in enumerate(dots)], known=False)
    world.start("bookings-new")
    wait_for(lambda: len(world.desk()) == len(dots), lambda: world.sandbox.admin("GET", "/calls", vendor="alma", last=3), 6)
    assert sorted(world.desk()) == sorted(("unknown_id", w.appt_id) for w in windows)
    assert sorted(c["key"] for c in world.sandbox.calls("alma", "user")) == sorted(dots)


def test_only_the_active_one_of_six_cards_is_used(world):
    p = person(1)
    book(world, p, known=False)
    world.sandbox.admin("POST", "/alma/users", [p.alma(barcode="", user_identifier=[
        barcode("22820000009001", "INACTIVE"), barcode("22820000009002", "INACTIVE"), barcode(p.barcode, "ACTIVE"),
        barcode("22820000009004", "INACTIVE"), {"value": "areader", "id_type": {"value": "NETID"}, "status": "ACTIVE"},
        barcode("22820000009005", "INACTIVE"), barcode("22820000009006", "INACTIVE")])])
    world.start_all()
    world.await_made(1)
    assert [v["uniqueId"] for v in world.sandbox.visitors()] == [p.barcode]
    world.assert_exactly_once()


def test_a_person_without_a_card_is_an_answer_and_goes_on_when_the_card_is_there(world):
    p = person(1)
    world.people.append(p)
    world.sandbox.admin("POST", "/alma/users", [p.alma(barcode="", user_identifier=[barcode("22820000009001", "INACTIVE")])])
    windows = world.make_windows(3, [p])
    world.start_all(ALMA_RECHECK_MINUTES=30)
    settled(world)
    assert world.answers() == {"no_card": 3}
    assert sorted(world.desk()) == sorted(("no_card", w.appt_id) for w in windows)
    assert world.sandbox.count("alma", "user") == 1, "remembered for a while"
    minutes = world.db.one("SELECT extract(epoch FROM retry_at - now()) / 60 FROM appts LIMIT 1")
    assert 29 <= minutes <= 30
    world.assert_no_dead_letters()
    assert world.read_topic("users.resolve") == []

    # half an hour later there is a card, and the producer sends the windows again
    world.sandbox.admin("POST", "/alma/users", [p.alma()])
    world.db.rows("UPDATE users SET checked_at = checked_at - interval '30 min'")
    world.send("bookings.new", windows)
    world.await_made(3)
    world.assert_exactly_once()
    assert world.desk() == [] and len(world.desk(open_only=False)) == 3
    assert world.db.one("SELECT count(*) FROM appts WHERE retry_at IS NOT NULL") == 0


def test_not_found_is_an_answer_whatever_its_shape(world):
    shapes = [("json_error_list", {"code": "401861"}), ("json_error_object", {"code": "401861"}), ("xml_error", {"code": "401861"}),
              ("not_found", {}), ("not_found_typed", {})]
    windows = book(world, *[person(n) for n in range(1, len(shapes) + 2)], known=False)
    world.sandbox.admin("POST", "/alma/users", [w.person.alma() for w in windows])
    for w, (kind, members) in zip(windows, shapes):
        world.sandbox.fault("alma", "user", kind, key=w.person.asked_id, **members)
    world.start_all()
    world.await_made(1)
    settled(world)
    assert [world.appt(w)["answer"] for w in windows] == ["unknown_id"] * len(shapes) + ["made"]
    assert all(world.appt(w)["retry_at"] for w in windows[:-1])
    assert sorted(world.desk()) == sorted(("unknown_id", w.appt_id) for w in windows[:-1])
    assert world.sandbox.count("alma", "user") == len(windows), "an answer is not asked for twice"
    world.assert_no_dead_letters()
    world.sandbox.heal()
    world.send("bookings.new", windows)
    world.await_made(len(windows))
    world.assert_exactly_once()
    assert world.desk() == []


def test_an_error_is_not_taken_for_not_found(world):
    """Each of these people's first two answers is an error of another kind."""
    shapes = [("json_error_list", {}), ("json_error_object", {}), ("xml_error", {}),
              ("json_error_list", {"code": "ROUTING_ERROR", "status": 503}), ("xml_error", {"code": "60101"}), ("error_in_200", {}),
              ("not_json", {}), ("empty", {}), ("truncate", {}), ("drop_after", {}), ("huge", {"bytes": 3_000_000}),
              ("json_error_list", {"code": "401861", "status": 500})]
    windows = book(world, *[person(n) for n in range(1, len(shapes) + 1)], send=False)
    world.start_all(RETRY_MS_MAX=100)
    for i, (w, (kind, members)) in enumerate(zip(windows, shapes)):  # one by one: all failing at once would be an outage
        fault = world.sandbox.fault("alma", "user", kind, count=2, **members)
        world.send("bookings.new", [w])
        world.await_made(i + 1)
        assert world.sandbox.fired(fault) == 2, kind
    world.assert_exactly_once()
    world.assert_no_dead_letters()
    assert world.desk(open_only=False) == []


def test_a_user_without_identifiers_has_no_card(world):
    windows = book(world, person(1))
    world.sandbox.fault("alma", "user", "no_identifiers")
    world.start("bookings-new")
    settled(world)
    assert world.desk() == [("no_card", windows[0].appt_id)]


def zones(world):
    world.sandbox.settings(alma={"keys": {"key-of-zone-one": "1", "key-of-zone-two": "2"}})
    world.secrets |= {"key-of-zone-one", "key-of-zone-two"}
    return {"ALMA_API_KEYS": "key-of-zone-one,key-of-zone-two"}


def asked(world):
    """Which keys each id was asked with, in order: {id: [0, 1]}"""
    order, found = [], {}
    for c in world.sandbox.calls("alma", "user"):
        if c["credential"] not in order:
            order.append(c["credential"])
        found.setdefault(c["key"], []).append(order.index(c["credential"]))
    return found


def test_another_key_is_asked_only_after_not_found(world):
    keys = zones(world)
    one, two, nowhere = person(1), person(2), person(3)
    world.people += [one, two, nowhere]
    world.sandbox.admin("POST", "/alma/users", [one.alma(iz="1"), one.alma(iz="2", barcode="22829999999999"), two.alma(iz="2")])
    first = world.make_windows(1, [one])
    world.start_all(**keys)
    world.await_made(1)
    windows = world.make_windows(2, [two, nowhere])
    world.await_made(2)
    settled(world)
    assert asked(world) == {one.asked_id: [0], two.asked_id: [0, 1], nowhere.asked_id: [0, 1]}
    world.assert_exactly_once([*first, windows[0]])
    assert world.desk() == [("unknown_id", windows[1].appt_id)]


def test_another_key_is_never_asked_after_an_error(world):
    keys = zones(world)
    shapes = [("json_error_list", {}), ("status", {"status": 503}), ("drop_after", {}), ("rate_limited", {}), ("not_json", {})]
    people = [person(n) for n in range(1, len(shapes) + 1)]
    world.people += people
    world.sandbox.admin("POST", "/alma/users", [p.alma(iz="1") for p in people]
                        + [p.alma(iz="2", barcode=f"2282999999999{p.number}") for p in people])
    world.start_all(RETRY_MS_MAX=100, **keys)
    for i, (p, (kind, members)) in enumerate(zip(people, shapes)):  # with an effect, so that the log of calls has the key
        world.sandbox.fault("alma", "user", kind, key=p.asked_id, count=2, effect=True, **members)
        world.make_windows(1, [p])
        world.await_made(i + 1)
    assert asked(world) == {p.asked_id: [0, 0, 0] for p in people}
    world.assert_exactly_once()


def test_a_refused_key_is_said_and_no_message_is_blamed(world):
    world.secrets.add("wrong-key-of-alma")
    book(world, person(1))
    worker = world.start("bookings-new", ALMA_API_KEYS="wrong-key-of-alma", TRIES_MAX=1)
    worker.await_log("Alma refuses the API key")
    assert "Alma refuses the API key" in worker.get("/readyz").text and worker.get("/healthz").status_code == 200
    assert world.answers() == {"-": 1}
    world.assert_no_dead_letters()


def test_who_it_is_decides_the_key_from_then_on(world):
    """Asked for by card, in small letters: Alma answers with its own primary id."""
    p = person(1)
    by_card = person(1, asked_id=p.barcode)
    small = person(2, asked_id="g00000002")
    windows = book(world, by_card, small)
    world.start_all()
    world.await_made(2)
    assert {m.key.decode() for m in world.read_topic("users.resolve")} == {"G00000001", "G00000002"}
    assert dict(world.db.rows("SELECT asked_id, primary_id FROM asked_ids")) == {p.barcode: "G00000001", "g00000002": "G00000002"}
    assert {world.appt(w)["primary_id"] for w in windows} == {"G00000001", "G00000002"}
    world.assert_exactly_once()


def test_alma_is_not_asked_again_for_a_person_it_has_just_told_about(world):
    p = person(1)
    book(world, p)
    world.start_all()
    world.await_made(1)
    world.make_windows(5, [p])
    world.await_made(6)
    assert world.sandbox.count("alma", "user") == 1
    world.db.rows("UPDATE users SET checked_at = checked_at - interval '13 h'")
    world.make_windows(1, [p])
    world.await_made(7)
    assert world.sandbox.count("alma", "user") == 2
    assert world.sandbox.count("passagepoint", "createVisitor") == 1
    world.assert_exactly_once()


@pytest.mark.parametrize("policy", ["ignore", "flag", "refuse"])
def test_expired_blocked_and_anothers_email_are_as_the_settings_say(world, policy):
    fine, expired, inactive, blocked, other = [person(n) for n in range(1, 6)]
    world.people += [fine, expired, inactive, blocked, other]
    today = datetime.date.today()
    world.sandbox.admin("POST", "/alma/users", [
        fine.alma(expiry_date=f"{today + 3 * DAY}Z", email=fine.email.upper()),
        expired.alma(expiry_date=f"{today - DAY}Z"), inactive.alma(status="INACTIVE"),
        blocked.alma(blocks=[{"block_type": {"value": "LOAN"}, "block_status": "ACTIVE"}]),
        other.alma(email="somebody.else@example.edu")])
    windows = world.make_windows(5, world.people)
    world.start_all(ALMA_ON_EMAIL=policy, ALMA_ON_EXPIRED=policy, ALMA_ON_BLOCKED=policy)
    settled(world)
    kinds = ["expired", "expired", "blocked", "email_differs"]
    marked = sorted((k, w.appt_id) for k, w in zip(kinds, windows[1:]))
    if policy == "refuse":
        world.await_made(1)
        assert [world.appt(w)["answer"] for w in windows[1:]] == kinds
        world.assert_exactly_once(windows[:1])
    else:
        world.await_made(5)
        world.assert_exactly_once()
    assert sorted(world.desk()) == ([] if policy == "ignore" else marked)
    world.assert_no_dead_letters()


def test_an_account_must_last_until_the_day_of_the_visit(world):
    p = person(1)
    world.people.append(p)
    soon, late = world.make_windows(2, [p], send=False)
    world.db.rows("UPDATE appts SET starts_at = starts_at + interval '9 days', ends_at = ends_at + interval '9 days'"
                  " WHERE appt_id = %s", late.appt_id)
    world.sandbox.admin("POST", "/alma/users", [p.alma(expiry_date=f"{datetime.date.today() + 5 * DAY}Z")])
    world.send("bookings.new", [soon, late])
    world.start_all()
    world.await_made(1)
    settled(world)
    assert world.appt(soon)["answer"] == "made" and world.appt(late)["answer"] == "expired"
    assert world.desk() == [("expired", late.appt_id)]


def test_two_people_with_one_card_share_one_visitor(world):
    one, two = person(1), person(2, barcode=person(1).barcode)
    book(world, one, two)
    world.start_all()
    world.await_made(2)
    assert len(world.sandbox.visitors()) == 1 and len(world.sandbox.preregs()) == 2
    assert world.desk() == []


def test_a_group_without_a_category_is_for_the_desk(world):
    windows = book(world, person(1))
    started = world.start_all(PASSAGEPOINT_CATEGORIES='{"FACULTY": "Staff"}')
    wait_for(lambda: world.desk(), lambda: started[1].tail())
    assert world.desk() == [("no_category", windows[0].appt_id)]
    assert world.appt(windows[0])["retry_at"]


def test_what_the_gate_refuses_is_for_the_desk_in_its_words(world):
    world.sandbox.settings(passagepoint={"destinations": ["Somewhere else"]})
    windows = world.make_windows(2, 2, topic="prereg.create")
    world.start("prereg-create")
    world.await_no_lag("prereg-create")
    assert [world.appt(w)["answer"] for w in windows] == ["refused", "refused"]
    assert "does not exist" in world.appt(windows[0])["reason"] and len(world.desk()) == 2
    world.assert_no_dead_letters()

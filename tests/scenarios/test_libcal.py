"""libcal-bookings: from what LibCal says, again and again, to the windows a person would expect, each sent once."""
import collections
import contextlib
import dataclasses
import datetime
import json
import pathlib
import re

import pytest
from shelfwire import DESTINATION, LIBCAL_SECRET, NEW_YORK, Server, World, assert_valid, booked, local, person, wait_for

SUMMER = datetime.timezone(-datetime.timedelta(hours=4))


def at(clock, day=2, zone=NEW_YORK):
    """The same day and wall clock in either zone, also around midnight."""
    return local(clock, day).replace(tzinfo=zone)


def put(world, *rows):
    world.sandbox.admin("PUT", "/libcal/bookings", list(rows))


def add(world, *rows):
    world.sandbox.admin("POST", "/libcal/bookings", list(rows))


def change(world, booking_id, **members):
    world.sandbox.admin("PATCH", f"/libcal/bookings/{booking_id}", members)


def poll(world, code=0, **changed):
    """One run of the producer to its end."""
    it = world.run("libcal-bookings", "--once", **changed)
    assert it.process.returncode == code, f"ended with {it.process.returncode}, not {code}" + it.tail()
    return it


def wanted(world):
    """{(booking, start, end)} of the rows that are wanted."""
    found = world.db.rows("SELECT booking_id, starts_at, ends_at FROM appts WHERE wanted")
    assert len(set(found)) == len(found), "a window has two rows"
    return set(found)


def bookings_of(world):
    return {b for b, _, _ in wanted(world)}


def sent(world):
    """{appt_id: how often it was sent}."""
    return collections.Counter(m.json()["appt_id"] for m in world.read_topic("bookings.new"))


def polls(world, what="requests"):
    return world.sandbox.count("libcal", "bookings", what)


def await_polls(world, producer, count=2, outcome="ok"):
    def done():
        return producer.metric("shelfwire_polls_total", f'outcome="{outcome}"')
    before = done()
    wait_for(lambda: done() >= before + count, lambda: "it does not poll" + producer.tail(), 15 + 3 * count)


@contextlib.contextmanager
def shared_world(servers, tmp_path_factory):
    it = World(servers, pathlib.Path(tmp_path_factory.mktemp("world")))
    yield it
    faults = it.stop()
    assert not faults, "\n".join(faults)


# ---- one bookId, many rows ----

PLACES = {1234: DESTINATION, 1235: "Second Door", 1236: DESTINATION}


@dataclasses.dataclass
class Slot:
    start: datetime.datetime
    end: datetime.datetime
    more: dict

    def row(self, booking_id, who):
        more = dict(self.more)
        return booked(booking_id, more.pop("who", who), self.start, self.end, **more)


def s(start, end, day=2, zone=NEW_YORK, end_zone=None, **more):
    return Slot(at(start, day, zone), at(end, day, end_zone or zone), more)


def w(start, end, day=2, zone=NEW_YORK, end_zone=None, door=DESTINATION, who=None):
    return at(start, day, zone), at(end, day, end_zone or zone), door, who


@dataclasses.dataclass
class Case:
    rows: list
    windows: list
    after: list = None    # the rows of the second poll; None: the same
    then: list = None     # the windows then; None: the same
    lost: str = None      # why those that are not there any more are not
    made: bool = True     # the first windows are at the gate when the second poll comes
    desk: tuple = ()      # of the booking, after the second poll


SEATS = {"seat_id": 962, "seat_name": "Seat 4"}
CANCELLED = "Cancelled by User"
CASES = {
    # what is wanted
    "one slot": Case([s("10:00", "11:00")], [w("10:00", "11:00")]),
    "slots that touch": Case([s("10:00", "11:00"), s("11:00", "11:30"), s("11:30", "12:00")], [w("10:00", "12:00")]),
    "slots that overlap in two rooms": Case([s("10:00", "11:00", eid=1), s("10:30", "12:00", eid=2)], [w("10:00", "12:00")]),
    "a slot within another": Case([s("10:00", "13:00"), s("11:00", "12:00", eid=2)], [w("10:00", "13:00")]),
    "a minute between": Case([s("10:00", "10:59"), s("11:00", "12:00")], [w("10:00", "10:59"), w("11:00", "12:00")]),
    "listed backwards": Case([s("14:00", "15:00"), s("11:00", "12:00"), s("10:00", "11:00")],
                             [w("10:00", "12:00"), w("14:00", "15:00")]),
    "exact duplicates": Case([s("10:00", "11:00")] * 3, [w("10:00", "11:00")]),
    "several seats at one time": Case([s("10:00", "11:00", seat_id=n, id=n) for n in (1, 2, 3)], [w("10:00", "11:00")]),
    "seats with one row id for all": Case([s("10:00", "11:00", seat_id=n, id=7) for n in (1, 2, 3)], [w("10:00", "11:00")]),
    "without row ids, with seats": Case([s("10:00", "11:00", **SEATS), s("11:00", "12:00", **SEATS)], [w("10:00", "12:00")]),
    "a cancelled sibling": Case([s("10:00", "11:00"), s("11:00", "12:00", status=CANCELLED)], [w("10:00", "11:00")]),
    "the same slot cancelled and live": Case([s("10:00", "11:00", status=CANCELLED, seat_id=1), s("10:00", "11:00", seat_id=2)],
                                             [w("10:00", "11:00")]),
    "every status at once": Case(
        [s("08:00", "09:00", status="Tentative"), s("09:00", "10:00", status="Mediated Denied"),
         s("10:00", "11:00", status="Mediated Approved"), s("11:00", "12:00", status="Cancelled by System"),
         s("12:00", "13:00", status="confirmed"), s("13:00", "14:00", status="Confirmed (Payment Pending)")],
        [w("10:00", "11:00"), w("12:00", "13:00")]),
    "cancelled by its time, whatever the status": Case(
        [s("10:00", "11:00", cancelled="2026-01-01T10:00:00-05:00"), s("12:00", "13:00", cancelled="")], [w("12:00", "13:00")]),
    "several days": Case([s("10:00", "11:00", day=d) for d in (2, 3, 5)], [w("10:00", "11:00", day=d) for d in (2, 3, 5)]),
    "over midnight": Case([s("23:00", "24:00"), s("00:00", "01:00", day=3)], [w("23:00", "25:00")]),
    "a day beyond those asked for": Case([s("10:00", "11:00"), s("10:00", "11:00", day=25)], [w("10:00", "11:00")]),
    "the hour that spring leaves out": Case(
        [s("01:00", "02:00"), s("03:00", "04:00", zone=SUMMER)], [w("01:00", "04:00", end_zone=SUMMER)]),
    "the hour that autumn has twice": Case(
        [s("01:00", "02:00", zone=SUMMER), s("01:00", "02:00")], [w("01:00", "02:00", zone=SUMMER, end_zone=NEW_YORK)]),
    "one slot over the change": Case([s("00:30", "01:30", zone=SUMMER, end_zone=NEW_YORK)],
                                     [w("00:30", "01:30", zone=SUMMER, end_zone=NEW_YORK)]),
    "weekly over the change": Case([s("10:00", "11:00", day=2, zone=SUMMER), s("10:00", "11:00", day=9)],
                                   [w("10:00", "11:00", day=2, zone=SUMMER), w("10:00", "11:00", day=9)]),
    "two locations": Case([s("10:00", "11:00"), s("10:30", "11:30", lid=1235)],
                          [w("10:00", "11:00"), w("10:30", "11:30", door="Second Door")]),
    "two people": Case([s("10:00", "11:00"), s("11:00", "12:00", who=person(9001))],
                       [w("10:00", "11:00"), w("11:00", "12:00", who=person(9001))]),
    "not a patron": Case([s("10:00", "11:00", event={"id": 4186095, "title": "Study Session"}),
                          s("12:00", "13:00", status="Booked in Outlook/Exchange")], []),
    "the answer in a list": Case([s("10:00", "11:00", q12505=["", "g00009002 "], who=person(9002))],
                                 [w("10:00", "11:00", who=person(9002))]),
    "checked in before it was ever seen": Case([s("10:07", "11:00", check_in_status="in")], []),

    # what a change makes of it
    "check-in, later": Case([s("10:00", "11:00")], [w("10:00", "11:00")], [s("10:07", "11:00", check_in_status="in")]),
    "check-in, earlier": Case([s("10:00", "11:00")], [w("10:00", "11:00")], [s("09:50", "11:00", check_in_status="in")]),
    "check-out, early": Case([s("10:00", "11:00")], [w("10:00", "11:00")], [s("10:07", "10:20", check_in_status="out")]),
    "check-in of one of two": Case([s("10:00", "11:00"), s("11:00", "12:00")], [w("10:00", "12:00")],
                                   [s("10:04", "11:00", check_in_status="in"), s("11:00", "12:00", check_in_status="-")]),
    "extended": Case([s("10:00", "11:00")], [w("10:00", "11:00")], [s("10:00", "12:00")],
                     [w("10:00", "11:00"), w("11:00", "12:00")]),
    "extended in front": Case([s("10:00", "11:00")], [w("10:00", "11:00")], [s("09:00", "11:00")],
                              [w("09:00", "10:00"), w("10:00", "11:00")]),
    "extended by a slot after check-in": Case([s("10:00", "11:00")], [w("10:00", "11:00")],
                                              [s("10:05", "11:00", check_in_status="in"), s("11:00", "12:00")],
                                              [w("10:00", "11:00"), w("11:00", "12:00")]),
    "shortened": Case([s("10:00", "12:00")], [w("10:00", "12:00")], [s("10:00", "11:00")], [w("10:00", "11:00")],
                      "moved or shortened", desk=("withdraw",)),
    "moved": Case([s("10:00", "11:00")], [w("10:00", "11:00")], [s("14:00", "15:00")], [w("14:00", "15:00")],
                  "moved or shortened", desk=("withdraw",)),
    "moved by half an hour": Case([s("10:00", "11:00")], [w("10:00", "11:00")], [s("10:30", "11:30")], [w("10:30", "11:30")],
                                  "moved or shortened", desk=("withdraw",)),
    "moved to another day": Case([s("10:00", "11:00")], [w("10:00", "11:00")], [s("10:00", "11:00", day=4)],
                                 [w("10:00", "11:00", day=4)], "moved or shortened", desk=("withdraw",)),
    "moved beyond the days": Case([s("10:00", "11:00")], [w("10:00", "11:00")], [s("10:00", "11:00", day=25)], [],
                                  "moved or shortened", desk=("withdraw",)),
    "moved to another location": Case([s("10:00", "11:00")], [w("10:00", "11:00")], [s("10:00", "11:00", lid=1235)],
                                      [w("10:00", "11:00", door="Second Door")], "LibCal", desk=("withdraw",)),
    "moved before it was made": Case([s("10:00", "11:00")], [w("10:00", "11:00")], [s("14:00", "15:00")],
                                     [w("14:00", "15:00")], "moved or shortened", made=False),
    "cancelled": Case([s("10:00", "11:00")], [w("10:00", "11:00")], [s("10:00", "11:00", status=CANCELLED)], [],
                      "cancelled in LibCal", desk=("withdraw",)),
    "cancelled before it was made": Case([s("10:00", "11:00")], [w("10:00", "11:00")],
                                         [s("10:00", "11:00", status=CANCELLED)], [], "cancelled in LibCal", made=False),
    "one of two slots cancelled": Case([s("10:00", "11:00"), s("14:00", "15:00")], [w("10:00", "11:00"), w("14:00", "15:00")],
                                       [s("10:00", "11:00"), s("14:00", "15:00", status=CANCELLED)], [w("10:00", "11:00")],
                                       "cancelled in LibCal", desk=("withdraw",)),
    "denied": Case([s("10:00", "11:00")], [w("10:00", "11:00")], [s("10:00", "11:00", status="Mediated Denied")], [],
                   "denied in LibCal", desk=("withdraw",)),
    "back to tentative": Case([s("10:00", "11:00")], [w("10:00", "11:00")], [s("10:00", "11:00", status="Mediated Tentative")],
                              [], "no longer confirmed", desk=("withdraw",)),
    "approved at last": Case([s("10:00", "11:00", status="Mediated Tentative")], [], [s("10:00", "11:00",
                             status="Mediated Approved")], [w("10:00", "11:00")]),
    "vanished": Case([s("10:00", "11:00")], [w("10:00", "11:00")], [], [], "no longer in LibCal", desk=("withdraw",)),
    "vanished before it was made": Case([s("10:00", "11:00")], [w("10:00", "11:00")], [], [], "no longer in LibCal", made=False),
    "one of two rows vanished": Case([s("10:00", "11:00"), s("14:00", "15:00")], [w("10:00", "11:00"), w("14:00", "15:00")],
                                     [s("10:00", "11:00")], [w("10:00", "11:00")], "LibCal", desk=("withdraw",)),
    "another person's id": Case([s("10:00", "11:00", who=person(9003))], [w("10:00", "11:00", who=person(9003))],
                                [s("10:00", "11:00", who=person(9004))], [w("10:00", "11:00", who=person(9004))],
                                "the person changed", desk=("withdraw",)),
    "a status nobody knows": Case([s("10:00", "11:00")], [w("10:00", "11:00")], [s("10:00", "11:00", status="Reborn")],
                                  desk=("unknown_status",)),
    "its id is blank now": Case([s("10:00", "11:00")], [w("10:00", "11:00")], [s("10:00", "11:00", q12505="")],
                                desk=("blank_id",)),
    "its row cannot be read now": Case([s("10:00", "11:00")], [w("10:00", "11:00")], [s("10:00", "11:00", toDate="soon")]),
    "another seat": Case([s("10:00", "11:00", seat_id=1)], [w("10:00", "11:00")], [s("10:00", "11:00", seat_id=2)]),
    "its rows are cut otherwise": Case([s("10:00", "12:00")], [w("10:00", "12:00")],
                                       [s("10:00", "11:00"), s("11:00", "12:00"), s("10:30", "11:30", eid=2)]),

    # two locations behind one door are one place to the gate
    "two locations behind one door, at one time": Case([s("10:00", "11:00"), s("10:00", "11:00", lid=1236)], [w("10:00", "11:00")]),
}


class Table:
    """All cases in one run of two polls."""

    def __init__(self, world):
        self.world, self.snapshots = world, []
        self.who = {name: person(i + 1) for i, name in enumerate(CASES)}
        self.booking = {name: f"cs_{i + 1:03d}" for i, name in enumerate(CASES)}
        self.take({name: case.rows for name, case in CASES.items()})
        for name, case in CASES.items():
            if case.made:
                world.db.rows("UPDATE appts SET answer = 'made', prereg_id = '13750683' || appt_id, primary_id = asked_id,"
                              " answered_at = now() WHERE booking_id = %s", self.booking[name])
        self.take({name: case.rows if case.after is None else case.after for name, case in CASES.items()})

    def take(self, slots):
        put(self.world, *[slot.row(self.booking[name], self.who[name]) for name in slots for slot in slots[name]])
        poll(self.world, LIBCAL_LOCATIONS=",".join(map(str, PLACES)), LIBCAL_DAYS_AHEAD=20,
             PASSAGEPOINT_DESTINATIONS=json.dumps({str(lid): door for lid, door in PLACES.items()}))
        found = collections.defaultdict(list)
        for booking_id, *rest in self.world.db.rows("SELECT booking_id, starts_at, ends_at, destination, asked_id, wanted,"
                                                    " unwanted_reason FROM appts"):
            found[booking_id].append(tuple(rest))
        desk = collections.defaultdict(list)
        for booking_id, kind in self.world.db.rows("SELECT coalesce(a.booking_id, d.subject), kind FROM desk d LEFT JOIN appts a"
                                                   " ON a.appt_id::text = d.subject WHERE closed_at IS NULL"):
            desk[booking_id].append(kind)
        self.snapshots.append((found, desk))

    def windows(self, name, number):
        return sorted(r[:4] for r in self.snapshots[number][0][self.booking[name]] if r[4])

    def expected(self, name, windows):
        return sorted((start, end, door, (who or self.who[name]).asked_id) for start, end, door, who in windows)


@pytest.fixture(scope="module")
def table(servers, tmp_path_factory):
    with shared_world(servers, tmp_path_factory) as world:
        yield Table(world)


@pytest.mark.parametrize("name", CASES)
def test_one_book_id_many_rows(table, name):
    case = CASES[name]
    assert table.windows(name, 0) == table.expected(name, case.windows)
    assert table.windows(name, 1) == table.expected(name, case.windows if case.then is None else case.then)
    found, desk = table.snapshots[1]
    reasons = [reason for *_, is_wanted, reason in found[table.booking[name]] if not is_wanted]
    assert len(reasons) == (case.lost is not None) and all(case.lost in r for r in reasons), reasons
    assert desk[table.booking[name]] == list(case.desk)


def test_every_window_of_the_table_was_sent_once(table):
    messages = table.world.read_topic("bookings.new")
    rows = {a: (asked, trace) for a, asked, trace in table.world.db.rows("SELECT appt_id::text, asked_id, trace_id FROM appts")}
    assert collections.Counter(m.json()["appt_id"] for m in messages) == collections.Counter(list(rows))
    for m in messages:
        assert_valid("bookings.new", m)
        asked, trace = rows[m.json()["appt_id"]]
        assert m.key.decode() == asked == m.json()["asked_id"]
        assert m.headers["traceparent"].decode().split("-")[1] == trace
    assert table.world.db.one("SELECT count(*) FROM appts WHERE sent_at IS NULL") == 0


# ---- reading ----

@pytest.mark.parametrize("count, cap", [(40, 7), (1200, 500), (500, 500)])
def test_all_pages_are_read_also_when_the_server_gives_fewer_rows_than_asked_for(world, count, cap):
    world.sandbox.settings(libcal={"page_cap": cap})
    world.sandbox.admin("POST", "/libcal/generate", {"count": count, "lid": 1234, "people": count, "start": at("10:00").isoformat(),
                                                     "minutes": 60, "prefix": "cs_"})
    poll(world)
    assert len(wanted(world)) == count
    assert len(sent(world)) == count and set(sent(world).values()) == {1}
    poll(world)
    assert len(wanted(world)) == count and set(sent(world).values()) == {1}


def test_a_page_that_shifts_in_mid_read_loses_nothing(world):
    world.sandbox.settings(libcal={"page_cap": 10})
    put(world, *[booked(f"cs_{i:03d}", person(i), at("10:00"), at("11:00")) for i in range(1, 31)])
    poll(world)
    second_page = world.sandbox.fault("libcal", "bookings", "stall", skip=1, count=1)
    add(world, *[booked(f"cs_{i:03d}", person(i), at("10:00"), at("11:00")) for i in range(31, 41)])
    run = world.begin("libcal-bookings", "--once")
    wait_for(lambda: world.sandbox.fired(second_page), "page 2 is not asked for")
    world.sandbox.admin("DELETE", "/libcal/bookings/cs_001")  # what was the first row of page 2 is the last of page 1 now
    # the answer to page 2 is made up when the stall ends
    world.sandbox.heal()
    assert run.process.wait(30) == 0, run.tail()
    run.ended = True
    assert bookings_of(world) >= {f"cs_{i:03d}" for i in range(2, 41)}
    assert "nothing is judged gone" not in run.log(), "the list held still from the second pass on" + run.tail()
    poll(world)
    assert bookings_of(world) == {f"cs_{i:03d}" for i in range(2, 41)}
    assert all(n == 1 for n in sent(world).values())


def test_a_bad_row_costs_no_other_row(world):
    good = booked("cs_good", person(1), at("10:00"), at("11:00"))
    put(world, {"lid": 1234, "_raw": None}, {"lid": 1234, "_raw": [1]}, {"lid": 1234, "_raw": "a"}, good,
        {**good, "bookId": None}, {k: v for k, v in good.items() if k != "bookId"}, {**good, "bookId": "cs_a", "fromDate": "soon"},
        {**good, "bookId": "cs_b", "fromDate": None}, {**good, "bookId": "cs_c", "toDate": good["fromDate"]},
        {**good, "bookId": "x" * 100}, {**good, "bookId": "cs_\u00e9"}, {**good, "bookId": "cs_d", "fromDate": "2026-02-30T10:00:00-05:00"},
        booked("cs_also", person(2), at("10:00"), at("11:00")), {**good, "bookId": "cs_e", "q12505": {"a": 1}},
        {**good, "bookId": "cs_f", "status": 5})
    run = poll(world)
    assert bookings_of(world) == {"cs_good", "cs_also"}
    assert run.log().count("cannot be read and is left out") >= 8
    assert set(world.desk()) == {("blank_id", "cs_e"), ("unknown_status", "cs_f")}


@pytest.mark.parametrize("kind, members", [
    ("status", {"status": 500}), ("error_in_200", {"message": "no"}), ("not_json", {}),
    ("status", {"status": 400, "body": "must supply at least 1 location id", "content_type": "text/plain"}),
    ("truncate", {}), ("status", {"status": 403})], ids=["500", "error_in_200", "html", "400_in_words", "cut_off", "403"])
def test_a_failing_location_costs_no_other(world, kind, members):
    both = {"LIBCAL_LOCATIONS": "1233,1234", "PASSAGEPOINT_DESTINATIONS": '{"*": "%s"}' % DESTINATION}
    put(world, booked("cs_1", person(1), at("10:00"), at("11:00"), lid=1233),
        booked("cs_2", person(2), at("10:00"), at("11:00"), lid=1234))
    poll(world, **both)
    world.sandbox.fault("libcal", "bookings", kind, key="1233", **members)
    add(world, booked("cs_3", person(3), at("10:00"), at("11:00"), lid=1233),
        booked("cs_4", person(4), at("10:00"), at("11:00"), lid=1234))
    failed = poll(world, 111, **both)
    assert "1 of 2 locations failed" in failed.log().splitlines()[-1]
    assert bookings_of(world) == {"cs_1", "cs_2", "cs_4"}
    world.sandbox.heal()
    poll(world, **both)
    assert bookings_of(world) == {"cs_1", "cs_2", "cs_3", "cs_4"}
    assert all(n == 1 for n in sent(world).values())


@pytest.mark.parametrize("kind, wrong, right", [
    ("unknown_status", {"status": "Half Approved"}, {"status": "Confirmed"}),
    ("blank_id", {"q12505": ""}, {"q12505": "G00000001"}),
    ("bad_id", {"q12505": "G000000001"}, {"q12505": "G00000001"})])
def test_what_is_wrong_with_a_booking_is_on_the_desk_until_it_is_mended(world, kind, wrong, right):
    put(world, {**booked("cs_1", person(1), at("10:00"), at("11:00")), **wrong})
    for _ in range(2):
        poll(world, LIBCAL_ID_PATTERN="G[0-9]{8}")
        assert world.desk(open_only=False) == [(kind, "cs_1")] and wanted(world) == set()
    assert world.db.one("SELECT visit_at FROM desk") == at("10:00")
    change(world, "cs_1", **right)
    poll(world, LIBCAL_ID_PATTERN="G[0-9]{8}")
    assert world.desk() == [] and bookings_of(world) == {"cs_1"}


@pytest.mark.parametrize("call, kind", [("bookings", "empty_list"), ("bookings", "page_one")])
def test_what_vanished_from_the_list_but_is_there_by_id_is_kept(world, call, kind):
    world.sandbox.settings(libcal={"page_cap": 5})
    put(world, *[booked(f"cs_{i}", person(i), at("10:00"), at("11:00")) for i in range(1, 9)])
    poll(world)
    before = world.db.rows("SELECT * FROM appts ORDER BY appt_id")
    world.sandbox.fault("libcal", call, kind)
    poll(world)
    assert world.db.rows("SELECT * FROM appts ORDER BY appt_id") == before
    assert world.sandbox.count("libcal", "booking") == 1


@pytest.mark.parametrize("kind, members", [("status", {"status": 500}), ("drop_before", {}), ("not_json", {})])
def test_what_cannot_be_confirmed_by_id_is_kept_until_it_can(world, kind, members):
    put(world, *[booked(f"cs_{i}", person(i), at("10:00"), at("11:00")) for i in (1, 2)])
    poll(world)
    put(world, booked("cs_2", person(2), at("10:00"), at("11:00")))
    world.sandbox.fault("libcal", "booking", kind, **members)
    poll(world)
    assert bookings_of(world) == {"cs_1", "cs_2"}
    world.sandbox.heal()
    poll(world)
    assert bookings_of(world) == {"cs_2"}
    assert world.db.one("SELECT gone_at FROM bookings WHERE booking_id = 'cs_1'")


def test_margins_and_changed_margins(world):
    put(world, booked("cs_1", person(1), at("10:00"), at("11:00")), booked("cs_1", person(1), at("11:20"), at("12:00")))
    poll(world, PREREG_MINUTES_BEFORE=15, PREREG_MINUTES_AFTER=10)
    first = wanted(world)
    assert first == {("cs_1", at("09:45"), at("12:10"))}, "they touch, with the margins"
    add(world, booked("cs_2", person(2), at("10:00"), at("11:00")))
    for before, after in ((30, 30), (0, 0)):
        poll(world, PREREG_MINUTES_BEFORE=before, PREREG_MINUTES_AFTER=after)
        assert wanted(world) == first | {("cs_2", at("09:30"), at("11:30"))}, "what exists stays as it was made"
    change(world, "cs_2", fromDate=at("14:00").isoformat(), toDate=at("15:00").isoformat())
    poll(world, PREREG_MINUTES_BEFORE=5)
    assert wanted(world) == first | {("cs_2", at("13:55"), at("15:00"))}


# ---- LibCal's token, and LibCal away ----

def test_the_token_expires_in_the_middle_of_a_read(world):
    world.sandbox.settings(libcal={"page_cap": 5})
    put(world, *[booked(f"cs_{i}", person(i), at("10:00"), at("11:00")) for i in range(1, 21)])
    world.sandbox.fault("libcal", "bookings", "unauthorized", skip=2, count=1)
    poll(world)
    assert len(wanted(world)) == 20
    assert world.sandbox.count("libcal", "token") == 2


def test_tokens_that_last_for_two_pages(world):
    world.sandbox.settings(libcal={"page_cap": 5, "token_seconds": 0.25, "latency_ms": 100})
    put(world, *[booked(f"cs_{i}", person(i), at("10:00"), at("11:00")) for i in range(1, 21)])
    poll(world)
    assert len(wanted(world)) == 20


@pytest.mark.parametrize("call, kind, words", [("bookings", "unauthorized", "another program using this account"),
                                               ("token", "error_in_200", "refuses the client id or secret"),
                                               ("token", "unauthorized", "refuses the client id or secret")])
def test_a_log_in_that_does_not_help_is_not_repeated_for_ever(world, call, kind, words):
    put(world, booked("cs_1", person(1), at("10:00"), at("11:00")))
    world.sandbox.fault("libcal", call, kind)
    run = poll(world, 111)
    assert words in run.log()
    assert world.sandbox.count("libcal", "token") <= 3
    world.sandbox.heal()
    poll(world)
    assert bookings_of(world) == {"cs_1"}


def test_a_log_in_whose_answer_is_lost_is_made_again_soon(world):
    lost = world.sandbox.fault("libcal", "token", "drop_after", count=3)
    put(world, booked("cs_1", person(1), at("10:00"), at("11:00")))
    producer = world.start("libcal-bookings")
    wait_for(lambda: bookings_of(world) == {"cs_1"}, lambda: "not seen" + producer.tail(), 25)
    assert world.sandbox.fired(lost) == 3 and world.sandbox.count("libcal", "token") == 4


def test_libcal_is_down_for_a_while(world):
    world.own_door("libcal")
    put(world, booked("cs_1", person(1), at("10:00"), at("11:00")))
    producer = world.start("libcal-bookings")
    wait_for(lambda: bookings_of(world) == {"cs_1"}, "not seen")
    world.sandbox.vendor("libcal", down=True)
    await_polls(world, producer, 1, "failed")
    answer = producer.get("/readyz")
    assert "location 1234" in answer.text and "last good poll" in answer.text
    assert producer.get("/healthz").status_code == 200
    add(world, booked("cs_2", person(2), at("10:00"), at("11:00")))
    assert bookings_of(world) == {"cs_1"}
    world.sandbox.vendor("libcal", down=False)
    wait_for(lambda: bookings_of(world) == {"cs_1", "cs_2"}, lambda: "not seen" + producer.tail(), 20)
    producer.ready()
    assert world.db.one("SELECT count(*) FROM appts") == 2


# ---- sending ----

@pytest.mark.slow
def test_a_long_outage_of_the_gate_queues_nothing_twice(world):
    """Twenty polls, each as good as five minutes of an outage, and a restart of the producer in the middle."""
    world.own_door("passagepoint")
    world.sandbox.vendor("passagepoint", down=True)
    people = world.make_people(30)
    put(world, *[booked(f"cs_{p.number}", p, at("10:00"), at("11:00")) for p in people])
    producer = world.start("libcal-bookings")
    world.start_all()
    world.await_no_lag("bookings-new")
    await_polls(world, producer, 10)
    producer.kill9()
    producer = world.start("libcal-bookings")
    await_polls(world, producer, 10)
    for topic in ("bookings.new", "users.resolve"):
        assert sorted(m.json()["booking_id"] for m in world.read_topic(topic)) == sorted(f"cs_{p.number}" for p in people)
    assert world.desk() == []
    world.sandbox.vendor("passagepoint", down=False)
    world.await_made(30)
    world.await_no_lag()
    assert len(world.sandbox.preregs()) == 30 and set(sent(world).values()) == {1}
    world.assert_no_dead_letters()


def test_a_person_without_a_card_is_asked_for_again_and_made_when_the_card_is_there(world):
    p = person(1)
    card = p.alma()
    world.sandbox.admin("POST", "/alma/users", [{k: v for k, v in card.items() if k != "barcode"}])
    put(world, booked("cs_1", p, at("10:00"), at("11:00")))
    world.start("libcal-bookings")
    world.start_all(ALMA_RECHECK_MINUTES=1)
    wait_for(lambda: [k for k, _ in world.desk()] == ["no_card"], lambda: f"{world.answers()}")
    due = world.db.one("SELECT extract(epoch FROM retry_at - answered_at)::float FROM appts")
    assert due == pytest.approx(60, abs=1)
    assert world.db.one("SELECT visit_at FROM desk") == at("10:00")

    def its_time_has_come():
        world.db.rows("UPDATE users SET checked_at = checked_at - interval '1 hour'")
        world.db.rows("UPDATE appts SET retry_at = now()")
    its_time_has_come()  # and there is still none
    wait_for(lambda: world.sandbox.count("alma", "user") == 2 and world.db.one("SELECT retry_at > now() FROM appts"),
             lambda: f"{world.answers()}")
    assert [k for k, _ in world.desk()] == ["no_card"]
    world.sandbox.admin("POST", "/alma/users", [card])
    its_time_has_come()
    world.await_made(1)
    wait_for(lambda: world.desk() == [], lambda: f"{world.desk()}")
    assert len(world.desk(open_only=False)) == 1
    world.await_no_lag()
    assert list(sent(world).values()) == [3] and len(world.sandbox.preregs()) == 1


def test_cancelled_before_a_worker_came_to_it_nothing_is_made(world):
    people = world.make_people(4)
    put(world, *[booked(f"cs_{p.number}", p, at("10:00"), at("11:00")) for p in people])
    poll(world)
    change(world, "cs_1", status="Cancelled by Admin")
    change(world, "cs_2", status="Mediated Denied")
    world.sandbox.admin("DELETE", "/libcal/bookings/cs_3")
    poll(world)
    world.start_all()
    world.await_made(1)
    world.await_no_lag()
    assert len(world.sandbox.preregs()) == 1 and len(world.sandbox.visitors()) == 1 and world.desk() == []
    assert world.answers() == {"made": 1, "-": 3}


def test_killed_between_the_row_and_kafkas_word_it_is_sent_after_the_restart(world):
    (p, q) = world.make_people(2)
    put(world, booked("cs_1", p, at("10:00"), at("11:00")))
    producer = world.start("libcal-bookings")
    wait_for(lambda: world.db.one("SELECT count(*) FROM appts WHERE sent_at IS NOT NULL"), "not sent")
    with world.servers.kafka_frozen():
        add(world, booked("cs_2", q, at("10:00"), at("11:00")))
        wait_for(lambda: world.db.one("SELECT count(*) FROM appts WHERE sent_at IS NULL") == 1, "no row" + producer.tail())
        producer.kill9()
    world.start("libcal-bookings")
    wait_for(lambda: world.db.one("SELECT count(*) FROM appts WHERE sent_at IS NULL") == 0, "not sent again")
    # what was on its way when it died may have arrived too; that is one message more, never a window more
    counted = sent(world)
    assert len(counted) == 2 and sum(counted.values()) <= 3
    world.start_all()
    world.await_made(2)
    world.await_no_lag()
    assert len(world.sandbox.preregs()) == 2


def test_a_kafka_that_says_nothing_is_waited_for_and_nothing_is_queued_twice(world):
    put(world, booked("cs_1", person(1), at("10:00"), at("11:00")))
    producer = world.start("libcal-bookings")
    wait_for(lambda: world.db.one("SELECT count(*) FROM appts WHERE sent_at IS NOT NULL"), "not sent")
    with world.servers.kafka_frozen():
        add(world, *[booked(f"cs_{i}", person(i), at("10:00"), at("11:00")) for i in range(2, 22)])
        wait_for(lambda: len(wanted(world)) == 21, "no rows" + producer.tail())
        await_polls(world, producer, 4)
        assert world.db.one("SELECT count(*) FROM appts WHERE sent_at IS NULL") == 20
    wait_for(lambda: world.db.one("SELECT count(*) FROM appts WHERE sent_at IS NULL") == 0, "not sent" + producer.tail(), 60)
    assert len(sent(world)) == 21 and set(sent(world).values()) == {1}


def test_of_two_producers_one_waits(world):
    put(world, *[booked(f"cs_{i}", person(i), at("10:00"), at("11:00")) for i in range(1, 6)])
    first = world.start("libcal-bookings")
    second = world.begin("libcal-bookings")
    second.await_log("another producer of libcal is at work")
    assert second.get("/readyz").status_code == 503 and "another producer" in second.get("/readyz").text
    once = poll(world, 111)
    assert "another producer of libcal is at work" in once.log().splitlines()[-1]
    await_polls(world, first)
    first.kill9()
    second.ready()
    add(world, booked("cs_6", person(6), at("10:00"), at("11:00")))
    wait_for(lambda: len(bookings_of(world)) == 6 and world.db.one("SELECT bool_and(sent_at IS NOT NULL) FROM appts"),
             lambda: "not taken over" + second.tail())
    assert len(sent(world)) == 6 and set(sent(world).values()) == {1}


def test_once_says_how_it_ended(world):
    put(world, booked("cs_1", person(1), at("10:00"), at("11:00")))
    poll(world)
    poll(world, 111, PGPORT=1, PGHOST="127.0.0.1")
    world.sandbox.fault("libcal", "bookings", "status", status=502)
    poll(world, 111)
    world.sandbox.heal()
    poll(world, 100, LIBCAL_DAYS_AHEAD=366)
    poll(world)
    assert list(sent(world).values()) == [1]


def test_a_kafka_that_nobody_has_read_from_yet(world, tmp_path):
    """Its coordinator of groups is only being set up: "not coordinator" is an answer as any."""
    new = Server("kafka.sh", tmp_path / "kafka", FAST="1")
    try:
        put(world, booked("cs_1", person(1), at("10:00"), at("11:00")))
        poll(world, KAFKA_BOOTSTRAP_SERVERS=new.env["KAFKA_BOOTSTRAP_SERVERS"])
        assert world.db.one("SELECT sent_at IS NOT NULL FROM appts")
    finally:
        new.kill()


def cut_short(world):
    listed = world.servers.admin.list_topics(timeout=20).topics[world.topic("bookings.new")]
    plan = world.folder / "cut.json"
    plan.write_text(json.dumps({"version": 1, "partitions": [
        {"topic": world.topic("bookings.new"), "partition": p, "offset": -1} for p in listed.partitions]}))
    world.servers.kafka.script("tool", "org.apache.kafka.tools.DeleteRecordsCommand", "--offset-json-file", str(plan))


def made_anew(world):
    world.servers.admin.delete_topics([world.topic("bookings.new")], operation_timeout=20)[world.topic("bookings.new")].result()
    wait_for(lambda: "bookings.new" not in world.topics(), "the topic is still there")


@pytest.mark.parametrize("lose", [cut_short, made_anew])
def test_what_was_lost_from_the_log_is_sent_again_once(world, lose):
    put(world, *[booked(f"cs_{i}", person(i), at("10:00"), at("11:00")) for i in range(1, 9)])
    poll(world)
    poll(world)  # which sees how long the log has become
    assert len(sent(world)) == 8
    world.db.rows("UPDATE appts SET answer = 'made', prereg_id = '1' WHERE booking_id = 'cs_1'")
    world.db.rows("UPDATE appts SET answer = 'unknown' WHERE booking_id = 'cs_2'")
    lose(world)
    run = poll(world)
    assert "cut short or made anew" in run.log()
    again = {a for a, in world.db.rows("SELECT appt_id::text FROM appts WHERE booking_id NOT IN ('cs_1', 'cs_2')")}
    assert sent(world) == collections.Counter(list(again))
    poll(world)
    assert sent(world) == collections.Counter(list(again)), "once"


def test_what_is_past_is_deleted(world):
    put(world, *[booked(f"cs_{i}", person(i), at("10:00"), at("11:00")) for i in (1, 2)])
    world.make_people(2)
    poll(world)
    world.start_all()
    world.await_made(2)
    world.await_no_lag()
    put(world, booked("cs_2", person(2), at("10:00"), at("11:00")))
    world.db.rows("UPDATE appts SET starts_at = now() - interval '80 hours', ends_at = now() - interval '79 hours'"
                  " WHERE booking_id = 'cs_1'")
    world.db.rows("UPDATE bookings SET ends_at = now() - interval '79 hours', last_seen = now() - interval '79 hours'"
                  " WHERE booking_id = 'cs_1'")
    for table, column in (("users", "checked_at"), ("users", "visitor_at"), ("asked_ids", "checked_at")):
        world.db.rows(f"UPDATE {table} SET {column} = now() - interval '100 hours'")

    def next_day(days):
        world.db.rows("DELETE FROM producer_marks WHERE mark = 'purged'")  # it is done once a day
        return poll(world, PURGE_AFTER_DAYS=days)
    next_day(0)
    assert world.db.one("SELECT count(*) FROM appts") == 2, "0 is never"
    next_day(4)
    assert world.db.one("SELECT count(*) FROM appts") == 2, "not yet"
    run = next_day(3)
    assert "purged appts: 1" in run.log()
    for table, column, left in (("appts", "booking_id", "cs_2"), ("bookings", "booking_id", "cs_2"),
                                ("users", "primary_id", person(2).primary_id), ("asked_ids", "asked_id", person(2).asked_id)):
        assert world.db.rows(f"SELECT {column} FROM {table}") == [(left,)], table


# ---- --check and the settings ----

@pytest.fixture(scope="module")
def still(servers, tmp_path_factory):
    """A world in which nothing may happen."""
    with shared_world(servers, tmp_path_factory) as world:
        put(world, booked("cs_1", person(1), at("10:00"), at("11:00")))
        yield world
        assert world.topics() == set()
        assert world.db.one("SELECT count(*) FROM appts") == 0 and world.db.one("SELECT count(*) FROM bookings") == 0


def says_one_line(run, words):
    lines = run.log().splitlines()
    said = [line for line in lines if not line.startswith(("ok  ", "--  "))]
    assert len(said) == 1 and said[0].startswith("libcal-bookings: ") and words in said[0], run.tail()


def test_check_says_what_is_right(still):
    run = still.run("libcal-bookings", "--check")
    assert run.process.returncode == 0, run.tail()
    for words in ("PostgreSQL", "Kafka answers", "the log-in works", 'location 1234 is "Location 1234"', DESTINATION, "University ID",
                  "ready to run"):
        assert words in run.log()


@pytest.mark.parametrize("sandbox, changed, code, words", [
    ({"forms": {"38": {"id": 38, "fields": {"fname": {"label": "x"}}}}}, {}, 100, "LIBCAL_ID_QUESTION"),
    ({"locations": [{"lid": 1234, "name": "Main"}], "questions": {"7": {"id": 7, "label": "x"}}}, {}, 100, "LIBCAL_ID_QUESTION"),
    ({"locations": [{"lid": 99, "name": "Main", "formid": 38}]}, {}, 100, "LIBCAL_LOCATIONS"),
    ({"client_secret": "another"}, {}, 100, "LibCal refuses the client id or secret"),
    ({}, {"PASSAGEPOINT_DESTINATIONS": '{"1235": "x"}'}, 100, "PASSAGEPOINT_DESTINATIONS"),
    ({}, {"LIBCAL_URL": "http://127.0.0.1:1"}, 111, "LIBCAL_URL"),
    ({}, {"PGDATABASE": "nobodys"}, 100, "PostgreSQL"),
    ({}, {"KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1"}, 111, "127.0.0.1:1"),
], ids=["no_such_question", "no_such_question_without_form", "no_such_location", "wrong_secret", "no_destination", "no_libcal",
        "no_database", "no_kafka"])
def test_check_names_what_is_wrong(still, sandbox, changed, code, words):
    usual = {"forms": None, "questions": None, "locations": None, "client_secret": LIBCAL_SECRET}
    still.sandbox.settings(libcal=sandbox)
    try:
        run = still.run("libcal-bookings", "--check", **changed)
    finally:
        still.sandbox.settings(libcal=usual)
    assert run.process.returncode == code, run.tail()
    (said,) = [line for line in run.log().splitlines() if line.startswith("libcal-bookings: ")]
    assert words in said, run.tail()


def test_check_asks_where_the_question_stands_without_a_form(still):
    still.sandbox.settings(libcal={"locations": [{"lid": 1234, "name": "Main"}]})
    run = still.run("libcal-bookings", "--check")
    still.sandbox.settings(libcal={"locations": None})
    assert run.process.returncode == 0 and "University ID" in run.log(), run.tail()


BAD = {
    "LIBCAL_URL": [None, "", "libcal.example", "ftp://libcal.example", "https://"],
    "LIBCAL_CLIENT_ID": [None, ""],
    "LIBCAL_CLIENT_SECRET": [None, ""],
    "LIBCAL_LOCATIONS": [None, "", "12a", "-1", "1234,1234", "1234 1235", "0", "99999999999999999999"],
    "LIBCAL_ID_QUESTION": [None, "", "12505", "q", "q12a", "question"],
    "LIBCAL_ID_PATTERN": ["G[0-9", "(a"],
    "LIBCAL_DAYS_AHEAD": ["-1", "366", "two", "1.5"],
    "LIBCAL_POLL_SECONDS": ["0", "-5", "five minutes", "86401"],
    "LIBCAL_TIMEOUT_MS": ["99", "x"],
    "PASSAGEPOINT_DESTINATIONS": [None, "", "{", "[]", '"Main"', '{"1235": "x"}', '{"1234": ""}', '{"1234": 5}',
                                  json.dumps({"1234": "x" * 300})],
    "PREREG_MINUTES_BEFORE": ["-1", "1441"],
    "PREREG_MINUTES_AFTER": ["-1", "x"],
    "RESEND_SECONDS": ["0", "x"],
    "PURGE_AFTER_DAYS": ["-1", "soon"],
    "VENDOR_CA_FILE": ["/nowhere/ca.pem"],
    "KAFKA_BOOTSTRAP_SERVERS": [None, ""],
    "KAFKA_ACKS": ["1"],
    "KAFKA_PARTITIONER": ["random"],
    "KAFKA_NO_SUCH_PROPERTY": ["1"],
    "TOPIC_PARTITIONS": ["0", "x"],
    "METRICS_PORT": ["x", "70000"],
    "LOG_LEVEL": ["loud"],
}


@pytest.mark.parametrize("name, value", [(name, value) for name in BAD for value in BAD[name]],
                         ids=lambda v: "not set" if v is None else v[:20] or "empty")
def test_a_bad_setting_is_named_in_one_line(still, name, value):
    before = still.sandbox.count("libcal", "token")
    run = still.run("libcal-bookings", "--once", **{name: value})
    assert run.process.returncode == 100, run.tail()
    says_one_line(run, name)
    assert still.sandbox.count("libcal", "token") == before


def test_settings_that_contradict_each_other(still, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text(LIBCAL_SECRET + "\n")
    run = still.run("libcal-bookings", "--once", LIBCAL_CLIENT_SECRET_FILE=secret)
    assert run.process.returncode == 100, run.tail()
    says_one_line(run, "LIBCAL_CLIENT_SECRET")
    run = still.run("libcal-bookings", "--check", LIBCAL_CLIENT_SECRET=None, LIBCAL_CLIENT_SECRET_FILE=secret)
    assert run.process.returncode == 0, run.tail()
    run = still.run("libcal-bookings", "--check", LIBCAL_CLIENT_SECRET=None, LIBCAL_CLIENT_SECRET_FILE="/nowhere/secret")
    assert run.process.returncode == 100
    says_one_line(run, "LIBCAL_CLIENT_SECRET_FILE")


def test_a_schema_too_old(world):
    put(world, booked("cs_1", person(1), at("10:00"), at("11:00")))
    world.db.rows("DELETE FROM schema_migrations WHERE version = (SELECT max(version) FROM schema_migrations)")
    for arguments in (["--once"], ["--check"], []):
        run = world.run("libcal-bookings", *arguments)
        assert run.process.returncode == 100, run.tail()
        assert re.search(r"^libcal-bookings: the schema of database .* run `migrate`", run.log(), re.M), run.tail()
    assert world.sandbox.count("libcal", "bookings") == 0

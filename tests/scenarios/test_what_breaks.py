"""
The table "What breaks" of the script this replaces, row for row: the same trigger, and what comes out right here.

One run of the four programs serves all rows; each row has a location, a destination and people of its own.
"""
import contextlib
import json
import pathlib

import pytest
from shelfwire import STAGES, World, booked, local, person, wait_for

ROWS = {}
SECOND = {14: 1114}  # a row that needs another location


def row(number, trigger, right):
    """A row of the table: its number, what triggers it, and what comes out right."""
    def keep(scenario):
        ROWS[number] = pytest.param(scenario, number, id=f"{number}: {trigger}: {right}")
        return scenario
    return keep


class Line:
    """The running pipeline, seen from one row of the table."""

    def __init__(self, world):
        locations = {**{n: 1000 + n for n in range(1, 20)}, **{n + 100: lid for n, lid in SECOND.items()}}
        doors = {str(lid): f"Door {n}" for n, lid in locations.items()}
        self.world, self.sandbox, self.db = world, world.sandbox, world.db
        self.settings = {"LIBCAL_LOCATIONS": ",".join(doors), "PASSAGEPOINT_DESTINATIONS": json.dumps(doors),
                         "LIBCAL_ID_PATTERN": "G[0-9]{8}", "ALMA_REMEMBER_HOURS": 0}
        self.sandbox.settings(libcal={"page_cap": 100})
        self.programs = {name: self.begin(name) for name in ("libcal-bookings", *STAGES)}
        for p in self.programs.values():
            p.ready()

    def begin(self, name):
        # a name of its own: after a crash a worker knows at once what was its own
        return self.world.begin(name, **self.settings, KAFKA_GROUP_INSTANCE_ID=name if name in STAGES else None)

    def restart(self, name):
        self.programs[name] = self.begin(name).ready()

    def people(self, number, count=1, **alma):
        made = [person(number * 100 + i) for i in range(count)]
        self.sandbox.admin("POST", "/alma/users", [p.alma(**alma) for p in made])
        return made

    def book(self, number, *rows):
        self.sandbox.admin("POST", "/libcal/bookings", [{**r, "lid": 1000 + number if r["lid"] == 1234 else r["lid"]}
                                                        for r in rows])

    def change(self, booking_id, **members):
        self.sandbox.admin("PATCH", f"/libcal/bookings/{booking_id}", members)

    def polls(self, number):
        return self.programs["libcal-bookings"].metric("shelfwire_polls_total", f'location="{1000 + number}",outcome="ok"')

    def await_polls(self, number, count=2):
        """Two good ones: the second began after what was done before."""
        before = self.polls(number)
        wait_for(lambda: self.polls(number) >= before + count, lambda: f"location {1000 + number} is not read" + self.tails())

    def gate(self, door):
        """[(visitor, start, end)] of the pre-registrations that were made there."""
        return sorted((p["visitorId"], int(p["startTime"]), int(p["endTime"]))
                      for p in self.sandbox.preregs() if p["destination"] == f"Door {door}")

    def appts(self, door):
        return self.db.rows("SELECT asked_id, starts_at, ends_at, wanted, answer, prereg_id, visitor_id, appt_id::text, booking_id"
                            " FROM appts WHERE destination = %s ORDER BY starts_at", f"Door {door}")

    def tails(self):
        return "".join(p.tail(8) for p in self.programs.values())

    def await_made(self, door, windows):
        """
        [(person, start, end)]: each has one row that is wanted and made, and one pre-registration; no other row is
        wanted, and none was made.
        """
        want = sorted((p.asked_id, start, end) for p, start, end in windows)

        def made():
            return sorted(r[:3] for r in self.appts(door) if r[3] and r[4] == "made") == want
        wait_for(made, lambda: f"door {door}: {self.appts(door)}" + self.tails(), 20)
        assert len([r for r in self.appts(door) if r[3]]) == len(want), self.appts(door)
        self.assert_at_gate(door, windows)

    def assert_at_gate(self, door, windows):
        visitor_of = {v["uniqueId"]: str(v["id"]) for v in self.sandbox.visitors()}
        assert self.gate(door) == sorted((visitor_of.get(p.barcode), int(start.timestamp()), int(end.timestamp()))
                                         for p, start, end in windows)

    def desk(self, number, door=None):
        """Kinds on the desk about this row's bookings."""
        return sorted(k for k, in self.db.rows(
            "SELECT kind FROM desk WHERE closed_at IS NULL AND (subject LIKE %s OR subject IN"
            " (SELECT appt_id::text FROM appts WHERE destination = %s))", f"cs_{number:02d}%", f"Door {door or number}"))

    def await_desk(self, number, kinds):
        wait_for(lambda: self.desk(number) == sorted(kinds), lambda: f"desk: {self.desk(number)}" + self.tails())

    @contextlib.contextmanager
    def fault(self, vendor, call, kind, **members):
        number = self.sandbox.fault(vendor, call, kind, **members)
        try:
            yield number
        finally:
            self.sandbox.heal(number)

    def await_fired(self, fault, times=1):
        wait_for(lambda: self.sandbox.fired(fault) >= times,
                 lambda: f"the fault fired {self.sandbox.fired(fault)} times, not {times}" + self.tails(), 40)


@pytest.fixture(scope="module")
def world(servers, tmp_path_factory):
    it = World(servers, pathlib.Path(tmp_path_factory.mktemp("world")))
    yield it
    faults = it.stop()
    assert not faults, "\n".join(faults)


@pytest.fixture(scope="module")
def line(world):
    return Line(world)


TEN, ELEVEN, NOON, ONE = local("10:00"), local("11:00"), local("12:00"), local("13:00")


@row(1, "two slots under one bookId", "each window is made")
def two_slots(line):
    (p,) = line.people(1)
    line.book(1, booked("cs_01", p, TEN, ELEVEN), booked("cs_01", p, NOON, ONE))
    line.await_made(1, [(p, TEN, ELEVEN), (p, NOON, ONE)])


@row(2, "a row without the form answer", "it is on the desk, every other one is made")
def no_answer(line):
    people = line.people(2, 3)
    line.book(2, booked("cs_02a", people[0], TEN, ELEVEN), booked("cs_02b", None, TEN, ELEVEN),
              booked("cs_02c", people[1], TEN, ELEVEN), booked("cs_02d", people[2], TEN, ELEVEN))
    line.await_made(2, [(p, TEN, ELEVEN) for p in people])
    assert line.desk(2) == ["blank_id"]


@row(3, "Alma answers 429, or an error, for one person", "the others pass, these when Alma is well")
def one_error(line):
    slow, ill, *well = people = line.people(3, 5)
    with line.fault("alma", "user", "rate_limited", key=slow.asked_id, count=2) as first, \
            line.fault("alma", "user", "json_error_list", key=ill.asked_id, code="60101", message="General Error") as second:
        line.book(3, *[booked(f"cs_03{i}", p, TEN, ELEVEN) for i, p in enumerate(people)])
        line.await_fired(second)
        wait_for(lambda: {p.asked_id for p in well} <= {r[0] for r in line.appts(3) if r[4] == "made"},
                 lambda: f"{line.appts(3)}" + line.tails())
        line.await_fired(first, 2)
    line.await_made(3, [(p, TEN, ELEVEN) for p in people])


@row(4, "Alma's primary id differs from what was typed", "made for the person Alma names")
def other_primary_id(line):
    (p,) = line.people(4, identifiers=[{"value": "G00000400", "id_type": {"value": "UNIV_ID"}, "status": "ACTIVE"}],
                       primary_id="areader4")
    line.book(4, booked("cs_04", p, TEN, ELEVEN))
    line.await_made(4, [(p, TEN, ELEVEN)])
    assert line.db.rows("SELECT primary_id FROM users WHERE barcode = %s", p.barcode) == [("areader4",)]
    assert all(program.running() for program in line.programs.values())


@row(5, "the gate's token expires at createPreReg", "made once, and its id is known")
def token_at_prereg(line):
    (p,) = line.people(5)
    with line.fault("passagepoint", "createPreReg", "unauthorized", key="Door 5", count=1) as fault:
        line.book(5, booked("cs_05", p, TEN, ELEVEN))
        line.await_fired(fault)
        line.await_made(5, [(p, TEN, ELEVEN)])
    assert line.db.one("SELECT prereg_id FROM appts WHERE destination = 'Door 5'") in {str(g["id"]) for g in line.sandbox.preregs()}


@row(6, "the gate's token expires at createVisitor", "the visitor is made once, and the window")
def token_at_visitor(line):
    (p,) = line.people(6)
    with line.fault("passagepoint", "createVisitor", "unauthorized", key=p.barcode, count=1) as fault:
        line.book(6, booked("cs_06", p, TEN, ELEVEN))
        line.await_fired(fault)
        line.await_made(6, [(p, TEN, ELEVEN)])
    assert line.db.one("SELECT visitor_id FROM users WHERE barcode = %s", p.barcode)


@row(7, "a crash between the vendor's call and our row", "nothing is made again; a person is told of the one in doubt")
def crash(line):
    people = line.people(7, 2)
    with line.fault("passagepoint", "createPreReg", "stall", key="Door 7", effect=True, count=1):
        line.book(7, *[booked(f"cs_07{i}", p, TEN, ELEVEN) for i, p in enumerate(people)])
        wait_for(lambda: len(line.gate(7)) == 2, lambda: "both calls are not at the gate" + line.tails())
        line.programs["prereg-create"].kill9()
    line.restart("prereg-create")
    line.await_desk(7, ["unknown"])
    line.await_polls(7)
    line.assert_at_gate(7, [(p, TEN, ELEVEN) for p in people])
    ((appt_id, visitor_id),) = line.db.rows("SELECT appt_id::text, visitor_id FROM appts WHERE answer = 'unknown' AND destination = 'Door 7'")
    found = next(str(g["id"]) for g in line.sandbox.preregs() if g["destination"] == "Door 7" and not g["answered"])
    assert line.db.one("SELECT appt_made(%s, %s, 'the desk')", appt_id, found)
    line.await_made(7, [(p, TEN, ELEVEN) for p in people])
    assert line.desk(7) == []


@row(8, "a booking is cancelled or moved after its pre-registration", "the desk is told to withdraw, the new time is made")
def cancelled_or_moved(line):
    gone, moved = line.people(8, 2)
    line.book(8, booked("cs_08a", gone, TEN, ELEVEN), booked("cs_08b", moved, TEN, ELEVEN))
    line.await_made(8, [(gone, TEN, ELEVEN), (moved, TEN, ELEVEN)])
    line.change("cs_08a", status="Cancelled by User")
    line.change("cs_08b", fromDate=local("15:00").isoformat(), toDate=local("16:00").isoformat())
    wait_for(lambda: [r[0] for r in line.appts(8) if r[3] and r[4] == "made"] == [moved.asked_id]
             and len(line.gate(8)) == 3, lambda: f"{line.appts(8)}" + line.tails())
    line.await_desk(8, ["withdraw", "withdraw"])
    line.assert_at_gate(8, [(gone, TEN, ELEVEN), (moved, TEN, ELEVEN), (moved, local("15:00"), local("16:00"))])
    reasons = {r for r, in line.db.rows("SELECT d.reason FROM desk d JOIN appts a ON a.appt_id::text = d.subject"
                                        " WHERE a.destination = 'Door 8' AND d.closed_at IS NULL")}
    assert any("cancelled in LibCal" in r for r in reasons) and any("moved" in r for r in reasons), reasons
    for _, _, _, wanted, _, prereg_id, *_ in line.appts(8):
        assert wanted or any(prereg_id in r for r in reasons), "the desk must know which pre-registration"


@row(9, "130 bookings in one day, 100 a page", "all 130 are made")
def many(line):
    line.sandbox.admin("POST", "/alma/generate", {"count": 130, "from": 5000})
    line.sandbox.admin("POST", "/libcal/generate", {"count": 130, "lid": 1009, "people": 130, "from": 5000, "minutes": 60,
                                                    "start": TEN.isoformat(), "prefix": "cs_09"})
    wait_for(lambda: len(line.gate(9)) >= 130, lambda: f"{len(line.gate(9))} of 130" + line.tails(), 30)
    wait_for(lambda: sum(r[4] == "made" for r in line.appts(9)) == 130, lambda: f"{line.appts(9)}")
    assert len({visitor for visitor, _, _ in line.gate(9)}) == len(line.gate(9)) == 130


@row(10, "a blank in front of the id; an id too long", "the one is made, the other is on the desk and Alma is not asked")
def typed(line):
    p, q = line.people(10, 2)
    asked = line.sandbox.count("alma", "user")
    line.book(10, booked("cs_10a", f" {p.asked_id.lower()}\t", TEN, ELEVEN), booked("cs_10b", q.asked_id + "45", TEN, ELEVEN))
    line.await_made(10, [(p, TEN, ELEVEN)])
    line.await_desk(10, ["bad_id"] + ["email_differs"])  # what was typed is no Person: its e-mail is somebody's
    assert line.sandbox.count("alma", "user") == asked + 1


@row(11, "an inactive barcode is listed first", "the active one is at the gate")
def inactive_first(line):
    (p,) = line.people(11, identifiers=[
        {"value": "22829999999999", "id_type": {"value": "BARCODE"}, "status": "INACTIVE"},
        {"value": person(1100).barcode, "id_type": {"value": "BARCODE"}, "status": "ACTIVE"}], barcode=None)
    line.book(11, booked("cs_11", p, TEN, ELEVEN))
    line.await_made(11, [(p, TEN, ELEVEN)])
    assert "22829999999999" not in {v["uniqueId"] for v in line.sandbox.visitors()}


@row(12, "the gate answers 401 for ever", "few log-ins, nothing given up; made when it relents")
def unauthorized(line):
    (p,) = line.people(12)
    logins = line.sandbox.counts("passagepoint")["logins"]
    with line.fault("passagepoint", "createPreReg", "unauthorized", key="Door 12") as fault:
        line.book(12, booked("cs_12", p, TEN, ELEVEN))
        line.await_fired(fault, 3)
        wait_for(lambda: "is another program using this account?" in line.programs["prereg-create"].get("/readyz").text,
                 lambda: "readyz does not say it: " + line.programs["prereg-create"].get("/readyz").text)
        assert line.sandbox.counts("passagepoint")["logins"] - logins <= line.sandbox.fired(fault) + 1
        assert line.programs["prereg-create"].get("/healthz").status_code == 200
        assert line.gate(12) == [] and line.desk(12) == []
    line.await_made(12, [(p, TEN, ELEVEN)])


@row(13, "midnight comes while bookings are live, and a restart", "nothing is registered again")
def midnight(line):
    (p,) = line.people(13)
    line.book(13, booked("cs_13", p, TEN, ELEVEN), booked("cs_13", p, NOON, ONE))
    line.await_made(13, [(p, TEN, ELEVEN), (p, NOON, ONE)])
    preregs, visitors = len(line.sandbox.preregs()), len(line.sandbox.visitors())
    try:
        for now in (local("0:00"), local("0:05"), local("11:30")):
            line.sandbox.settings(libcal={"now": now.isoformat()})
            line.await_polls(13)
        line.programs["libcal-bookings"].stop()
        line.restart("libcal-bookings")
        for name in STAGES:
            line.programs[name].kill9()
            line.restart(name)
        line.await_polls(13)
    finally:
        line.sandbox.settings(libcal={"now": None})
    line.world.await_no_lag()
    assert (len(line.sandbox.preregs()), len(line.sandbox.visitors())) == (preregs, visitors)
    assert line.desk(13) == []


@row(14, "one bookId in two locations", "made once in each, and never again")
def two_locations(line):
    (p,) = line.people(14)
    line.book(14, booked("cs_14", p, TEN, ELEVEN), booked("cs_14", p, TEN, ELEVEN, lid=SECOND[14]))
    line.await_made(14, [(p, TEN, ELEVEN)])
    line.await_made(114, [(p, TEN, ELEVEN)])
    line.await_polls(14, 3)
    line.await_made(14, [(p, TEN, ELEVEN)])
    line.await_made(114, [(p, TEN, ELEVEN)])


@row(15, "statuses", "Confirmed opens the door, Payment Pending does not, an unknown one is on the desk")
def statuses(line):
    people = line.people(15, 4)
    line.book(15, *[booked(f"cs_15{i}", p, TEN, ELEVEN, status) for i, (p, status) in enumerate(zip(people, (
        "Confirmed", "Mediated Approved", "Mediated Approved (Payment Pending)", "Half Approved")))])
    line.await_made(15, [(p, TEN, ELEVEN) for p in people[:2]])
    line.await_desk(15, ["unknown_status"])
    assert "Half Approved" in line.db.one("SELECT reason FROM desk WHERE subject = 'cs_153'")


@row(16, "LibCal answers 200 with an error", "its words are said, the other locations are read, this one when it is well")
def error_in_200(line):
    p, other = line.people(16, 2)
    producer = line.programs["libcal-bookings"]
    with line.fault("libcal", "bookings", "error_in_200", key="1016", message="the cat sat on the server"):
        line.book(16, booked("cs_16", p, TEN, ELEVEN), booked("cs_16b", other, local("17:00"), local("18:00"), lid=1001))
        wait_for(lambda: "the cat sat on the server" in producer.log(), lambda: "its words are not said" + line.tails())
        wait_for(lambda: "location 1016" in producer.get("/readyz").text, lambda: producer.get("/readyz").text)
        wait_for(lambda: (other.asked_id, "made") in [(r[0], r[4]) for r in line.appts(1)], lambda: f"{line.appts(1)}" + line.tails())
        assert line.appts(16) == []
    line.await_made(16, [(p, TEN, ELEVEN)])


@row(17, "a blank id", "it is on the desk until it is filled in, then made")
def blank(line):
    (p,) = line.people(17)
    line.book(17, booked("cs_17", "  ", TEN, ELEVEN))
    line.await_desk(17, ["blank_id"])
    line.change("cs_17", q12505=p.asked_id, email=p.email)
    line.await_made(17, [(p, TEN, ELEVEN)])
    line.await_desk(17, [])


@row(18, "an error of the gateway before Alma, in XML", "that person waits for it as for any outage, the others pass")
def xml(line):
    ill, *well = people = line.people(18, 4)
    with line.fault("alma", "user", "xml_error", key=ill.asked_id, status=503, code="ROUTING_ERROR", message="Routing") as fault:
        line.book(18, *[booked(f"cs_18{i}", p, TEN, ELEVEN) for i, p in enumerate(people)])
        line.await_fired(fault)
        wait_for(lambda: {p.asked_id for p in well} <= {r[0] for r in line.appts(18) if r[4] == "made"},
                 lambda: f"{line.appts(18)}" + line.tails())
        assert line.desk(18) == []
    line.await_made(18, [(p, TEN, ELEVEN) for p in people])


@row(19, "a card is replaced; a visitor is deleted at the gate", "future windows are made for who is there now")
def stale(line):
    lost_card, deleted = line.people(19, 2)
    line.book(19, booked("cs_19a", lost_card, TEN, ELEVEN), booked("cs_19b", deleted, TEN, ELEVEN))
    line.await_made(19, [(lost_card, TEN, ELEVEN), (deleted, TEN, ELEVEN)])
    visitor_of = {v["uniqueId"]: v["id"] for v in line.sandbox.visitors()}
    before = line.gate(19)

    new = person(1900, barcode="22821900190019")
    line.sandbox.admin("POST", "/alma/users", [new.alma()])
    line.sandbox.admin("DELETE", f"/passagepoint/visitors/{visitor_of[deleted.barcode]}")
    line.book(19, booked("cs_19c", new, NOON, ONE), booked("cs_19d", deleted, NOON, ONE))

    def made():
        return {(r[8], r[6]) for r in line.appts(19) if r[3] and r[4] == "made" and r[0] == new.asked_id}

    def visitors(card):
        return {str(v["id"]) for v in line.sandbox.visitors() if v["uniqueId"] == card}
    wait_for(lambda: {"cs_19a", "cs_19c"} == {b for b, _ in made()} and {v for _, v in made()} <= visitors(new.barcode),
             lambda: f"{line.appts(19)}" + line.tails())
    wait_for(lambda: [r for r in line.appts(19) if r[8] == "cs_19d" and r[4] == "made"
                      and r[6] in visitors(deleted.barcode) - {str(visitor_of[deleted.barcode])}],
             lambda: f"{line.appts(19)}" + line.tails())
    line.await_desk(19, ["withdraw", "withdraw"])
    old = sorted((r[8], r[6]) for r in line.appts(19) if not r[3])
    assert old == [("cs_19a", str(visitor_of[lost_card.barcode])), ("cs_19b", str(visitor_of[deleted.barcode]))]
    wait_for(lambda: len(line.gate(19)) == len(before) + 4, "the two earlier windows again, and the two new ones")


def test_the_table_is_whole():
    assert sorted(ROWS) == list(range(1, 20))


@pytest.mark.parametrize("scenario, number", [ROWS[n] for n in sorted(ROWS)])
def test_what_breaks(line, scenario, number):
    try:
        scenario(line)
    finally:
        line.sandbox.heal()
    line.world.assert_no_dead_letters()
    assert line.sandbox.counts("passagepoint")["duplicate_preregs"] == 0
    assert all(p.running() for p in line.programs.values())

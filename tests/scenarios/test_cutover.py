"""The first days after the old script: `migrate --take-over` of its SQLite file, and nobody is registered twice."""
import datetime
import sqlite3

import pytest
from shelfwire import SCHEMAS, booked, local, person, wait_for

OLD_PREREG = 137506834080000


def old_script(path, people, bookings):
    """The file as the script leaves it: `appts` are those of its day, its numbers are numbers."""
    with sqlite3.connect(path) as old:
        old.execute("CREATE TABLE users (primary_id TEXT PRIMARY KEY, barcode TEXT, visitor_id INTEGER)")
        old.execute("CREATE TABLE appts (appt_id TEXT PRIMARY KEY, prereg_id INTEGER)")
        old.executemany("INSERT INTO users VALUES (?, ?, ?)", people)
        old.executemany("INSERT INTO appts VALUES (?, ?)", bookings)
    old.close()


def today():
    """
    The zone in which it is noon now or a little before: what the script registered this morning is this afternoon, and
    the next day is a day away, whenever the test runs.
    """
    now = datetime.datetime.now(datetime.timezone.utc)
    hours = 11 - now.hour
    return datetime.timezone(datetime.timedelta(hours=hours))


class FirstDay:
    """LibCal and the gate as they were when the old script was stopped, and the two commands."""

    def __init__(self, world, path):
        self.world, self.zone = world, today()
        self.people = people = [person(n) for n in range(1, 7)]
        world.sandbox.admin("POST", "/alma/users", [p.alma() for p in people])
        # the gate knows the first four; the script has forgotten the visitor of the fourth
        ids = world.sandbox.admin("POST", "/passagepoint/visitors", [
            {"uniqueId": p.barcode, "firstName": p.first_name, "lastName": p.last_name, "category": "Student"}
            for p in people[:4]])["ids"]
        for p, visitor in zip(people, ids):
            p.visitor_id = str(visitor)
        self.rows = [
            self.row("cs_one", people[0], "14:00", "15:00"),
            self.row("cs_merged", people[1], "14:00", "15:00"), self.row("cs_merged", people[1], "15:00", "16:00"),
            self.row("cs_two", people[2], "14:00", "15:00"), self.row("cs_two", people[2], "17:00", "18:00"),
            self.row("cs_lost", people[3], "14:00", "15:00"),
            self.row("cs_week", people[0], "19:00", "20:00"), self.row("cs_week", people[0], "19:00", "20:00", day=1),
            self.row("cs_gone", people[1], "20:00", "21:00", status="Cancelled by User")]
        world.sandbox.admin("PUT", "/libcal/bookings", self.rows)
        old_script(path, [(p.asked_id, p.barcode, p.visitor_id and int(p.visitor_id)) for p in people[:3]]
                   + [(people[3].asked_id, people[3].barcode, None)],
                   [("cs_one", OLD_PREREG + 1), ("cs_merged", OLD_PREREG + 2), ("cs_two", OLD_PREREG + 3), ("cs_lost", None),
                    ("cs_week", OLD_PREREG + 5), ("cs_gone", OLD_PREREG + 6)])
        assert world.run("migrate", SQL_DIR=SCHEMAS / "sql").process.returncode == 0
        taken = world.run("migrate", "--take-over", str(path))
        assert taken.process.returncode == 0 and "took over 4 people" in taken.log() and "6 bookings" in taken.log(), taken.tail()
        assert "people without a visitor id: 1; bookings without a pre-registration id: 1" in taken.log()

    def at(self, clock, day=0):
        return local(clock, day, self.zone)

    def row(self, booking_id, who, start, end, status="Confirmed", day=0):
        return booked(booking_id, who, self.at(start, day), self.at(end, day), status)

    def add(self, *rows):
        self.world.sandbox.admin("POST", "/libcal/bookings", list(rows))

    def start(self):
        self.producer = self.world.start("libcal-bookings")
        self.world.start_all()

    def made(self, *booking_ids):
        wait_for(lambda: self.world.db.one("SELECT count(*) FROM appts WHERE booking_id = ANY (%s) AND prereg_id IS NOT NULL",
                                           list(booking_ids)) == len(booking_ids),
                 lambda: f"{self.appts()}" + "".join(p.tail(8) for p in self.world.programs if p.running()))
        self.world.await_no_lag()

    def appts(self):
        return self.world.db.rows("SELECT booking_id, starts_at, answer, prereg_id FROM appts WHERE wanted ORDER BY 1, 2")

    def gate(self):
        return sorted((p["visitorId"], int(p["startTime"])) for p in self.world.sandbox.preregs())


@pytest.fixture
def first_day(world, tmp_path):
    return FirstDay(world, tmp_path / "cache.db")


def test_nobody_is_registered_twice_on_the_first_day(first_day):
    d, (p1, p2, p3, p4, p5, p6) = first_day, first_day.people
    d.start()
    d.made("cs_one", "cs_merged", "cs_week", "cs_week")
    wait_for(lambda: d.world.db.one("SELECT count(*) FROM appts") == 7, lambda: f"{d.appts()}")
    assert d.appts() == [
        ("cs_lost", d.at("14:00"), "made", None),
        ("cs_merged", d.at("14:00"), "made", str(OLD_PREREG + 2)),
        ("cs_one", d.at("14:00"), "made", str(OLD_PREREG + 1)),
        ("cs_two", d.at("14:00"), "unknown", None),
        ("cs_two", d.at("17:00"), "unknown", None),
        ("cs_week", d.at("19:00"), "made", str(OLD_PREREG + 5)),
        ("cs_week", d.at("19:00", 1), "made", d.world.db.one("SELECT prereg_id FROM appts WHERE booking_id = 'cs_week' AND starts_at = %s",
                                                           d.at("19:00", 1)))]
    # the one window that is new is made, for the visitor that the script had made
    assert d.gate() == [(p1.visitor_id, int(d.at("19:00", 1).timestamp()))]
    assert d.world.sandbox.visitors() == [] and d.world.sandbox.count("passagepoint", "createVisitor") == 0
    # the script made one of two, nobody knows which: a person looks
    assert [k for k, _ in d.world.desk()] == ["unknown", "unknown"]
    assert all(str(OLD_PREREG + 3) in r for r, in d.world.db.rows("SELECT reason FROM appts WHERE booking_id = 'cs_two'"))
    for clock, verb in (("14:00", "appt_made(appt_id, '%d', 'the desk')" % (OLD_PREREG + 3)), ("17:00", "appt_not_made(appt_id, 'the desk')")):
        assert d.world.db.rows(f"SELECT {verb} FROM appts WHERE booking_id = 'cs_two' AND starts_at = %s", d.at(clock)) == [(True,)]
    d.made("cs_two", "cs_two")
    assert d.world.desk() == []
    assert d.gate() == sorted([(p1.visitor_id, int(d.at("19:00", 1).timestamp())), (p3.visitor_id, int(d.at("17:00").timestamp()))])

    # new bookings of the day, and of the next, are made: for the visitors there are, and for those there are not yet
    d.add(d.row("cs_new1", p2, "21:00", "22:00"), d.row("cs_new2", p3, "10:00", "11:00", day=1),
          d.row("cs_new3", p4, "10:00", "11:00", day=1), d.row("cs_new4", p5, "10:00", "11:00", day=1))
    d.made("cs_new1", "cs_new2", "cs_new3", "cs_new4")
    (fifth,) = d.world.sandbox.visitors()
    assert fifth["uniqueId"] == p5.barcode
    new = {(v, s) for v, s in d.gate()} - {(p1.visitor_id, int(d.at("19:00", 1).timestamp())), (p3.visitor_id, int(d.at("17:00").timestamp()))}
    assert new == {(p2.visitor_id, int(d.at("21:00").timestamp())), (p3.visitor_id, int(d.at("10:00", 1).timestamp())),
                   (p4.visitor_id, int(d.at("10:00", 1).timestamp())), (str(fifth["id"]), int(d.at("10:00", 1).timestamp()))}
    d.world.assert_no_dead_letters()


def test_what_was_taken_over_is_withdrawn_and_extended_as_anything_else(first_day):
    d = first_day
    d.start()
    d.made("cs_one", "cs_merged")
    d.world.sandbox.admin("PATCH", "/libcal/bookings/cs_one", {"status": "Cancelled by User"})
    d.add(d.row("cs_merged", d.people[1], "16:00", "17:00"))
    wait_for(lambda: (d.people[1].visitor_id, int(d.at("16:00").timestamp())) in d.gate(), lambda: f"{d.gate()}")
    wait_for(lambda: "withdraw" in [k for k, _ in d.world.desk()], lambda: f"{d.world.desk()}")
    assert str(OLD_PREREG + 1) in d.world.db.one("SELECT reason FROM desk WHERE kind = 'withdraw'")


def test_a_restart_and_a_second_take_over_change_nothing(first_day, tmp_path):
    d = first_day
    d.start()
    d.made("cs_one", "cs_merged", "cs_week", "cs_week")
    before, gate = d.appts(), d.gate()
    d.producer.kill9()
    refused = d.world.run("migrate", "--take-over", str(tmp_path / "cache.db"))
    assert refused.process.returncode == 100 and "--even-so" in refused.log(), refused.tail()
    again = d.world.run("migrate", "--take-over", str(tmp_path / "cache.db"), "--even-so")
    assert again.process.returncode == 0 and "and 0 bookings (6 known already)" in again.log(), again.tail()
    assert d.world.run("libcal-bookings", "--once").process.returncode == 0
    d.world.await_no_lag()
    assert (d.appts(), d.gate()) == (before, gate)

"""PostgreSQL is one from yesterday, or a new one: the programs notice, make nothing that may exist, and go on when a person says so."""
import collections
import json
import os
import pathlib
import shutil
import subprocess

import pytest
from fires.matrix import is_stopped
from patrons import Requests
from shelfwire import STAGES, TOPICS, booked, keeps_true, local, person, wait_for
from test_requests import Caller, add_caller, url_of

NEWEST = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin"), key=lambda p: int(p.parent.name))[-1]


# ---- backups ----

def tool(world, name, *arguments):
    done = subprocess.run([NEWEST / name, *arguments], env={**world.servers.postgres.env, "PATH": os.environ["PATH"]},
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert done.returncode == 0, done.stdout


class Dump:
    """pg_dump, restored into a database of the same name."""

    def __init__(self, world):
        self.world, self.path = world, world.folder / "dump"
        tool(world, "pg_dump", "-Fc", "-f", self.path, world.db.name)

    def restore(self):
        world = self.world
        empty(world)
        tool(world, "pg_restore", "--single-transaction", "-d", world.db.name, self.path)


class Files:
    """The server's files, copied while it is stopped, and put back."""

    def __init__(self, world):
        self.postgres = world.servers.postgres
        self.data = self.postgres.folder / "data"
        self.copy = world.folder / "data"
        self.postgres.stop()
        subprocess.run(["cp", "-a", self.data, self.copy], check=True)
        self.postgres.start()

    def restore(self):
        self.postgres.kill()
        shutil.rmtree(self.data)
        subprocess.run(["cp", "-a", self.copy, self.data], check=True)
        self.postgres.start()


def empty(world):
    """Nothing is left of the database but its name."""
    with world.servers.connect(world.servers.postgres.env["PGDATABASE"]) as c:
        c.cursor().execute(f"DROP DATABASE {world.db.name} WITH (FORCE)")
        c.cursor().execute(f"CREATE DATABASE {world.db.name}")
    world.db.connection = None


class Lost:
    """No backup at all: a new database."""

    def __init__(self, world):
        self.world = world

    def restore(self):
        empty(self.world)
        self.world.servers.migrate(self.world.db.name)


# ---- the bookings' chain ----

PROGRAMS = ["libcal-bookings", *STAGES]


def book(world, first, last, clock="10:00"):
    """A booking each of the people first to last."""
    hour = int(clock[:2])
    known = len(world.people)
    if last > known:
        world.make_people(last - known, first=known + 1)
    rows = [booked(f"cs_{n}{clock[:2]}", person(n), local(clock), local(f"{hour + 1:02}:00")) for n in range(first, last + 1)]
    world.sandbox.admin("POST", "/libcal/bookings", rows)
    return {row["bookId"] for row in rows}


def start(world, **changed):
    world.make_topics(*TOPICS, *(t + ".dlq" for t in TOPICS))
    return [world.begin(name, **changed) for name in PROGRAMS]


def stop(programs):
    for p in programs:
        p.stop()


def by_answer(world):
    found = collections.defaultdict(set)
    for booking, answer in world.db.rows("SELECT booking_id, answer FROM appts WHERE wanted"):
        assert booking not in found[answer], "a window has two rows"
        found[answer].add(booking)
    return dict(found)


def await_answers(world, **wanted):
    wait_for(lambda: by_answer(world) == wanted, lambda: f"{by_answer(world)}, not {wanted}" + "".join(p.tail() for p in world.programs), 40)


def gate(world):
    """How often the gate has which window."""
    return collections.Counter((p["visitorId"], p["startTime"]) for p in world.sandbox.preregs())


def refused(p):
    return p.get("/readyz").status_code == 503 and "older than Kafka" in p.get("/readyz").text


def await_held(world, programs):
    for p in programs:
        wait_for(lambda: refused(p), lambda: p.get("/readyz").text + p.tail())
        assert p.get("/healthz").status_code == 200
        assert p.metric("shelfwire_database_older") == 1
        assert p.log().count("PostgreSQL is older than Kafka") == 1
    assert [kind for kind, _ in world.desk() if kind == "restored"] == ["restored"]


def say_so(world):
    world.knows_of_restores = True
    assert world.db.one("SELECT database_restored('somebody')")


def await_going_on(world, programs):
    for p in programs:
        wait_for(lambda: p.get("/readyz").status_code == 200, lambda: p.get("/readyz").text + p.tail())
        assert p.metric("shelfwire_database_older") == 0
    assert "restored" not in [kind for kind, _ in world.desk()]


@pytest.mark.slow
@pytest.mark.parametrize("backup", [Dump, Lost])
def test_a_database_that_was_restored_while_everything_was_stopped(world, backup):
    known = book(world, 1, 4)
    programs = start(world)
    await_answers(world, made=known)
    backup = backup(world)
    forgotten = book(world, 3, 7, "14:00")
    await_answers(world, made=known | forgotten)
    world.await_no_lag()
    stop(programs)
    backup.restore()
    if isinstance(backup, Lost):
        known, forgotten = set(), known | forgotten

    programs = start(world)
    await_held(world, programs)
    new = book(world, 7, 9, "16:00")
    before = gate(world), world.sandbox.count("alma", "user"), len(world.read_topic("bookings.new"))
    keeps_true(lambda: (gate(world), world.sandbox.count("alma", "user"), len(world.read_topic("bookings.new"))) == before,
               "something was done", 3)
    assert by_answer(world) == ({"made": known} if known else {})

    vanished = sorted(forgotten)[0]  # it is in no list any more; what the gate may have of it is for the desk
    world.sandbox.admin("DELETE", f"/libcal/bookings/{vanished}")
    forgotten -= {vanished}
    say_so(world)
    await_answers(world, unknown=forgotten, made=known | new)
    assert world.db.rows("SELECT desk_kind FROM appts WHERE booking_id = %s", vanished) == [("withdraw",)]
    await_going_on(world, programs)
    world.await_no_lag()
    assert sum(gate(world).values()) == 12 and max(gate(world).values()) == 1
    assert len([1 for kind, _ in world.desk() if kind == "unknown"]) == len(forgotten)
    assert world.db.one("SELECT count(*) FROM appts WHERE location_id = ''") == 0
    world.assert_no_dead_letters()
    assert all("PostgreSQL is older" not in p.tail(3) for p in programs)

    # what is cancelled is taken off the gate, what a person has looked up is known, and what was not there is made
    first, second, third = sorted(forgotten)[-3:]
    world.sandbox.admin("PATCH", f"/libcal/bookings/{first}", {"status": "Cancelled by User"})
    wait_for(lambda: world.db.one("SELECT desk_kind FROM appts WHERE booking_id = %s", first) == "withdraw", "not for the desk")
    for verb, booking in (("appt_made(appt_id, '4711', 'somebody')", second), ("appt_not_made(appt_id, 'somebody')", third)):
        assert world.db.one(f"SELECT {verb} FROM appts WHERE booking_id = %s", booking)
    wait_for(lambda: sum(gate(world).values()) == 13, lambda: f"{gate(world)}")
    await_answers(world, made=known | new | {second, third}, **({"unknown": forgotten - {first, second, third}}))
    # and a start finds nothing to say
    stop(programs)
    programs = start(world)
    await_going_on(world, programs)
    keeps_true(lambda: sum(gate(world).values()) == 13, "something was made again", 2)


@pytest.mark.slow
@pytest.mark.parametrize("backup", [Dump, Files])
def test_a_database_that_is_restored_under_running_programs(world, backup):
    """In the middle of the work: calls are under way, and messages in every queue."""
    world.sandbox.settings(passagepoint={"latency_ms": 100})
    book(world, 1, 40)
    programs = start(world, CONCURRENCY=4)
    wait_for(lambda: world.made() >= 10, lambda: f"{by_answer(world)}")
    backup = backup(world)
    known = world.made()
    book(world, 20, 60, "14:00")
    wait_for(lambda: world.made() >= known + 25, lambda: f"{by_answer(world)}")
    backup.restore()
    await_held(world, programs)
    at_gate = gate(world)
    keeps_true(lambda: gate(world) == at_gate, "something was made", 2)
    say_so(world)
    await_going_on(world, programs)
    wait_for(lambda: sum(len(b) for b in by_answer(world).values()) == 81 and set(by_answer(world)) <= {"made", "unknown"},
             lambda: f"{by_answer(world)}" + "".join(p.tail() for p in programs), 60)
    world.await_no_lag()
    assert max(gate(world).values()) == 1, "a window was made twice"
    rows = world.db.rows("SELECT answer, count(*), count(prereg_id) FROM appts WHERE wanted GROUP BY 1")
    made = {answer: (all_, ids) for answer, all_, ids in rows}
    assert made["made"][0] == made["made"][1]
    assert made["made"][0] <= len(gate(world)) <= 81, "what is at the gate is made, or unknown"
    world.assert_no_dead_letters()


@pytest.mark.slow
def test_a_person_who_says_so_first_is_not_asked(world):
    known = book(world, 1, 2)
    programs = start(world)
    await_answers(world, made=known)
    backup = Dump(world)
    forgotten = book(world, 2, 4, "14:00")
    await_answers(world, made=known | forgotten)
    world.await_no_lag()
    stop(programs)
    backup.restore()
    say_so(world)
    programs = start(world)
    await_answers(world, made=known, unknown=forgotten)
    await_going_on(world, programs)
    assert not any("PostgreSQL is older" in p.log() for p in programs)
    world.await_no_lag()

    # a second time is another time: what was said covers only what is older
    stop(programs)
    backup.restore()
    programs = start(world)
    await_held(world, programs)
    say_so(world)
    await_answers(world, made=known, unknown=forgotten)
    assert sum(gate(world).values()) == 5 and max(gate(world).values()) == 1


def test_once_fails_and_says_why(world):
    known = book(world, 1, 2)
    backup = Dump(world)
    programs = start(world)
    await_answers(world, made=known)
    world.await_no_lag()
    stop(programs)
    backup.restore()
    run = world.run("libcal-bookings", "--once")
    assert run.process.returncode == 111 and "older than Kafka" in run.log().splitlines()[-1]
    world.knows_of_restores = True
    assert world.db.one("SELECT count(*) FROM appts") == 0


def test_stages_that_worked_before_anything_was_noted(world):
    """As after an upgrade from a schema without `progress`: that is no restore."""
    known = book(world, 1, 16)  # enough for every partition
    programs = start(world)
    await_answers(world, made=known)
    world.await_no_lag()
    stop(programs)
    world.db.rows("TRUNCATE progress")
    world.db.rows("INSERT INTO progress_before VALUES ('bookings-new'), ('users-resolve'), ('prereg-create')")
    new = book(world, 1, 4, "14:00")
    programs = start(world)
    await_answers(world, made=known | new)
    wait_for(lambda: world.db.one("SELECT count(*) FROM progress") == 12, "not every partition is noted")
    stop(programs)
    # from then on it is noticed
    world.db.rows("UPDATE progress SET next_offset = 0 WHERE consumer LIKE '%prereg-create'")
    it = world.begin("prereg-create")
    wait_for(lambda: refused(it), it.tail)
    world.knows_of_restores = True


# ---- what patrons ask for ----

PATRON = "10000000-0000-4000-8000-000000000001"


def item(number):
    return f"20000000-0000-4000-8000-{number:012d}"


@pytest.mark.slow
def test_requests_are_not_taken_until_somebody_has_said_so(world):
    asked = Requests(world, "folio.requests")
    world.sandbox.settings(folio={"version": 6.5})
    world.sandbox.admin("POST", "/folio/generate", {"users": 0, "items": 20, "items_per_instance": 1})
    world.sandbox.admin("POST", "/folio/users", [{"id": PATRON, "externalSystemId": "reader-1"}])
    world.sandbox.admin("POST", "/folio/loans", [{"userId": PATRON, "itemId": item(n)} for n in (1, 2, 3)])
    world.secrets |= {PATRON, "reader-1"}
    token, _ = add_caller(world)
    world.make_topics("wise.holds.prepare", "oneclick.requests")

    def want(ref, number):
        return {"ref": ref, "service": "folio", "action": "renew", "patron": PATRON, "item": item(number)}

    taker, worker = world.start("patron-requests"), world.start("folio-requests", FOLIO_TIMEOUT_MS=1000)
    caller = Caller(url_of(taker), token)
    assert caller.post(want("first", 1)).status_code == 202
    asked.await_all()
    worker.stop()
    assert caller.post(want("second", 2)).status_code == 202
    wait_for(lambda: not world.db.one("SELECT count(*) FROM requests WHERE sent_at IS NULL"), "not marked")
    backup = Dump(world)
    worker = world.start("folio-requests", FOLIO_TIMEOUT_MS=1000)
    asked.await_all()
    assert caller.post(want("third", 3)).status_code == 202
    asked.await_all()
    world.await_no_lag("folio-requests")
    renewals = world.sandbox.count("folio", "renew", "effects")
    assert renewals == 3
    backup.restore()

    for p in (taker, worker):
        wait_for(lambda: refused(p), p.tail)
    for answer in (caller.post(want("fourth", 1)), caller.get("?ref=third")):
        assert answer.status_code == 503 and "restored from a backup" in answer.json()["detail"], answer.text
    assert world.run("patron-requests", "--stdin", "discovery").process.returncode == 111
    say_so(world)
    wait_for(lambda: caller.get("?ref=third").status_code == 404, "not going on")
    assert caller.get("?ref=first").json()["state"] == "done"
    # nobody knows any more until when the second one's loan was: a person decides
    wait_for(lambda: caller.get("?ref=second").json()["state"] == "set_aside", lambda: caller.get("?ref=second").text)
    assert caller.get("?ref=second").json()["code"] == "forgotten"
    assert [kind for kind, _ in world.desk()] == ["request_set_aside"]
    assert world.sandbox.count("folio", "renew", "effects") == renewals
    assert caller.until_taken(want("fourth", 1)).status_code == 202
    world.await_no_lag("folio-requests")
    assert world.sandbox.count("folio", "renew", "effects") == renewals + 1
    assert world.db.one("SELECT request_again(request_id, 'somebody') FROM requests WHERE ref = 'second'")
    wait_for(lambda: caller.get("?ref=second").json()["state"] == "done", lambda: caller.get("?ref=second").text)


def test_who_looks_while_others_work_takes_nothing_for_a_restore(world):
    """A producer compares the table with Kafka as it starts. Here the group gets on between any two of its looks."""
    world.make_topics(*TOPICS, *(t + ".dlq" for t in TOPICS))
    worker = world.start("bookings-new")
    for nth in range(1, 9):
        producer = world.begin("libcal-bookings", INJECT_AT=f"statement_done:{nth}")
        wait_for(lambda: is_stopped(producer), lambda: "libcal-bookings to stop at its statement" + producer.tail())
        world.make_windows(6)
        world.await_no_lag("bookings-new")
        producer.sigcont()
        wait_for(lambda: producer.get("/readyz").status_code == 200, lambda: producer.get("/readyz").text + producer.tail())
        assert producer.metric("shelfwire_database_older") == 0
        producer.stop()
    assert worker.metric("shelfwire_database_older") == 0 and not world.db.rows("SELECT why FROM restores")


@pytest.mark.parametrize("point", ["look_committed", "look_done"])
def test_who_sleeps_between_the_table_and_kafka_takes_nothing_for_a_restore(world, point):
    """A worker is stopped when it has read the table, and its successor gets on before it asks Kafka."""
    world.make_topics("catalog.delta", "catalog.delta.dlq")

    def feed(count):
        for n in range(count):
            world.produce_raw("catalog.delta", str(n), "{")
    feed(20)
    for nth in range(1, 20):  # the first look of those that come when it has partitions
        sleeper = world.begin("catalog-delta", INJECT_AT=f"{point}:{nth}")
        wait_for(lambda: is_stopped(sleeper), lambda: "catalog-delta to stop" + sleeper.tail())
        if "assigned" in sleeper.log():
            break
        sleeper.kill9()
    assert "assigned" in sleeper.log()
    successor = world.begin("catalog-delta").ready()
    world.await_no_lag("catalog-delta")
    sleeper.sigcont()
    feed(20)
    world.await_no_lag("catalog-delta")
    for worker in (sleeper, successor):
        worker.ready()
        assert worker.metric("shelfwire_database_older") == 0, worker.tail()
    assert not world.db.rows("SELECT why FROM restores")

"""
Memory that is out: whichever allocation of a program or its libraries fails, the program says so in one line and ends with 111;
the next one finds everything as after a kill, and nothing is lost or done twice.

MEMORY_POINTS: how many allocations of each program fail, one a run, spread over all that it makes (3).
"""
import json
import os
import random
import re

import pytest
import requests
import shelfwire
from shelfwire import DESTINATION, ROOT, booked, local, wait_for
from test_catalog import Catalog
from test_folio import Folio
from test_oneclick import Changes, OneClick
from test_requests import TOPICS, Caller, add_caller, ids, renew, sent_ids, url_of
from test_webcheckout import put, reserved
from test_wise import Wise

RELEASE = ROOT / "build/bin"  # a sanitizer brings an allocator of its own
FAILING = ROOT / "build/lib/failing.so"
POINTS = int(os.environ.get("MEMORY_POINTS", 3))
PATIENCE_S = 8
NAMED = {"KAFKA_GROUP_INSTANCE_ID": "one"}


class Memory:
    """Programs whose memory runs out, at moments spread over what they do."""

    def __init__(self, world):
        self.world, self.totals, self.met = world, {}, 0
        self.rng = random.Random(11)

    def begin(self, name, *arguments, at=0, **changed):
        return self.world.begin(name, *arguments, LD_PRELOAD=FAILING, FAIL_MALLOC=at,
                                FAIL_MALLOC_COUNT=self.world.folder / f"{name}.allocations", **changed)

    def count(self, *names):
        """Of programs that ended well, how many allocations they made."""
        for name in names:
            self.totals[name] = int((self.world.folder / f"{name}.allocations").read_text())

    def rounds(self):
        """{program: the allocation that fails}, a round."""
        for i in range(POINTS):
            yield {name: max(1, int(total * (i + self.rng.random()) / POINTS)) for name, total in self.totals.items()}

    def ended(self, program, at):
        """It has ended: by itself with the words, or well, having done with fewer."""
        program.process.wait()
        program.ended = True
        if program.process.returncode == 0:
            return
        self.met += 1
        lines = program.log().splitlines()
        assert program.process.returncode == 111, f"allocation {at} fails: ends with {program.process.returncode}" + program.tail()
        assert [line for line in lines if "out of memory" in line] == [f"{program.name}: out of memory"], program.tail()
        assert lines[-1] == f"{program.name}: out of memory", program.tail()

    def await_end(self, program, at, done=lambda: False):
        """Of one that serves for ever: it goes on allocating, but may well not come so far when it has nothing to do."""
        try:
            wait_for(lambda: not program.running() or done(), "it goes on", PATIENCE_S)
        except AssertionError:
            pass
        program.process.terminate()
        self.ended(program, at)


@pytest.fixture
def memory(world, monkeypatch):
    if not FAILING.exists():
        pytest.skip("there is no release build")
    monkeypatch.setattr(shelfwire, "BUILD", RELEASE)
    return Memory(world)


def ended_well(programs):
    for program in programs:
        program.stop()


def test_from_a_booking_to_the_gate(memory):
    world, timeouts = memory.world, {"PASSAGEPOINT_TIMEOUT_MS": 1000, "PASSAGEPOINT_PREREG_TIMEOUT_MS": 1000}
    names, booked_for = ["libcal-bookings", *shelfwire.STAGES], []

    def book(count):
        people = world.make_people(count, first=len(world.people) + 1)
        booked_for.extend(people)
        world.sandbox.admin("POST", "/libcal/bookings", [
            booked(f"cs_{p.number}", p, local("10:00"), local("11:00")) for p in people])

    def start(begin, ats):
        return {name: begin(name, **ats.get(name, {}), **timeouts, **({} if name == "libcal-bookings" else NAMED)) for name in names}

    world.make_topics(*shelfwire.TOPICS, *(t + ".dlq" for t in shelfwire.TOPICS))
    book(3)
    well = start(memory.begin, {})
    world.await_made(3)
    ended_well(well.values())
    memory.count(*names)
    for ats in memory.rounds():
        book(3)
        for name, program in start(memory.begin, {name: {"at": at} for name, at in ats.items()}).items():
            memory.await_end(program, ats[name])
    assert memory.met > 2 * POINTS
    start(world.begin, {})
    wait_for(lambda: world.answers().get("made", 0) + world.answers().get("unknown", 0) == len(booked_for),
             lambda: f"{world.answers()} of {len(booked_for)}" + "".join(p.tail() for p in world.programs if p.running()), 60)
    world.await_no_lag()
    world.assert_no_dead_letters()
    cards = [v["uniqueId"] for v in world.sandbox.visitors()]
    assert sorted(cards) == sorted(p.barcode for p in booked_for)
    made = {r for r, in world.db.rows("SELECT prereg_id FROM appts WHERE prereg_id IS NOT NULL")}
    at_gate = world.sandbox.preregs()
    assert made <= {str(p["id"]) for p in at_gate} and len({p["visitorId"] for p in at_gate}) == len(at_gate)
    assert all(p["destination"] == DESTINATION for p in at_gate)
    unknown = sorted(("unknown", r) for r, in world.db.rows("SELECT appt_id::text FROM appts WHERE answer = 'unknown'"))
    assert sorted(world.desk()) == unknown and len(unknown) <= POINTS * 4, "more are in doubt than were in flight"


def test_what_patrons_ask_for(memory):
    world = memory.world
    folio, wise, oneclick = Folio(world), Wise(world), OneClick(world)
    changes, at_folio, at_wise = Changes(oneclick), {}, {}
    settings = {"folio-requests": {"FOLIO_TIMEOUT_MS": 500}, "wise-holds-prepare": {"WISE_TIMEOUT_MS": 500},
                "wise-holds-place": {"WISE_TIMEOUT_MS": 500},
                "oneclick-requests": {"ONECLICK_TIMEOUT_MS": 500, "ONECLICK_EMAIL": "library@example.edu"}}

    def ask():
        for action in ("account", "renew", "hold_item"):
            who = folio.someone()
            at_folio[folio.one(action, who, len(at_folio) + 1)] = action, who
        for _ in range(3):
            who = wise.someone()
            at_wise[wise.hold(who)] = who
        for action in ("checkout", "renew", "magazine_checkout"):
            changes.ask(action)

    ask()
    well = [memory.begin(name, **NAMED, **changed) for name, changed in settings.items()]
    folio.await_all()
    ended_well(well)
    memory.count(*settings)
    for ats in memory.rounds():
        ask()
        failing = [memory.begin(name, at=ats[name], **NAMED, **changed) for name, changed in settings.items()]
        for program in failing:
            memory.await_end(program, ats[program.name])
    assert memory.met > 2 * POINTS
    for name, changed in settings.items():
        world.begin(name, **NAMED, **changed)
    folio.await_all()
    world.await_no_lag(*settings)
    folio.assert_once(at_folio)
    assert {r: wise.placed(who) for r, who in at_wise.items()} == dict.fromkeys(at_wise, ["4595"])
    changes.assert_done_once()


def test_what_patrons_ask_for_is_taken_once(memory):
    world = memory.world
    world.make_topics(*TOPICS)
    token, _ = add_caller(world)
    refs = [f"m{i}" for i in range(20 * (POINTS + 1))]

    def post(program, some):
        """As a caller does it, until the program is gone; it is told of which that they are taken."""
        try:
            caller = Caller(url_of(program), token)
            return [ref for ref in some if caller.post(renew(ref)).status_code == 202]
        except (requests.RequestException, AssertionError):
            return []

    program = memory.begin("patron-requests").ready()
    taken = post(program, refs[:20])
    assert taken == refs[:20]
    program.stop()
    memory.count("patron-requests")
    for i, ats in enumerate(memory.rounds()):
        program = memory.begin("patron-requests", at=ats["patron-requests"])
        wait_for(lambda: "requests on http" in program.log() or not program.running(), "it does not start")
        taken += post(program, refs[20 * (i + 1):20 * (i + 2)]) if program.running() else []
        memory.await_end(program, ats["patron-requests"], lambda: True)
    assert memory.met > POINTS / 2
    program = world.begin("patron-requests").ready()
    have = {ref for ref, in world.db.rows("SELECT ref FROM requests")}
    assert set(taken) <= have, "what was told as taken is not there"
    caller = Caller(url_of(program), token)
    for ref in refs:
        caller.until_taken(renew(ref))
    assert sorted(ref for ref, in world.db.rows("SELECT ref FROM requests")) == sorted(refs)
    wait_for(lambda: not world.db.one("SELECT count(*) FROM requests WHERE sent_at IS NULL"), "not all are sent")
    assert set(sent_ids(world)) == set(ids(world))


def test_the_catalog(memory):
    world, catalog = memory.world, Catalog(memory.world)
    catalog.generate(200)

    def run(*arguments, at=0, **changed):
        it = memory.begin("oneclick-catalog", *arguments, at=at, **changed)
        memory.ended(it, at)
        return it.process.returncode

    assert run("--import") == 0
    memory.count("oneclick-catalog")
    worker = memory.begin("catalog-delta", **NAMED)
    catalog.settle()
    worker.stop()
    memory.count("catalog-delta")
    for ats in memory.rounds():
        catalog.generate(40, **{"from": 9001 + memory.met * 100})
        worker = memory.begin("catalog-delta", at=ats["catalog-delta"], **NAMED)
        run("--import", "--again", at=ats["oneclick-catalog"])
        memory.await_end(worker, ats["catalog-delta"])
    assert memory.met > POINTS
    catalog.worker(**NAMED)
    for arguments in (("--import", "--again"), ("--once",)):
        assert run(*arguments) == 0
        catalog.settle()
    catalog.assert_equal()


def test_an_allocation_of_webcheckout(memory):
    world = memory.world
    people = world.make_people(6)
    put(world, *(reserved(p.number, p, local("10:00"), local("12:00")) for p in people))

    def run(at=0):
        it = memory.begin("webcheckout-allocations", "--once", at=at)
        memory.ended(it, at)
        return it.process.returncode

    assert run() == 0
    memory.count("webcheckout-allocations")
    world.db.rows("TRUNCATE appts, bookings CASCADE")
    for ats in memory.rounds():
        run(ats["webcheckout-allocations"])
    assert memory.met > POINTS / 2
    assert run() == 0
    sent = {m.json()["appt_id"] for m in world.read_topic("bookings.new")}
    rows = world.db.rows("SELECT appt_id::text, booking_id, sent_at IS NOT NULL FROM appts WHERE wanted")
    assert sorted(b for _, b, _ in rows) == sorted(str(p.number) for p in people)
    assert all(was_sent and appt_id in sent for appt_id, _, was_sent in rows)


def test_migrate(memory):
    world = memory.world
    name, sql = f"{world.db.name}_empty", {"SQL_DIR": shelfwire.SCHEMAS / "sql"}

    def anew():
        world.db.rows(f"DROP DATABASE IF EXISTS {name}")
        world.db.rows(f"CREATE DATABASE {name}")

    def run(at=0):
        it = memory.begin("migrate", at=at, PGDATABASE=name, **sql)
        memory.ended(it, at)
        return it.process.returncode

    anew()
    assert run() == 0
    memory.count("migrate")
    anew()
    for ats in memory.rounds():
        run(ats["migrate"])
    assert memory.met > POINTS / 2 and run() == 0
    with world.servers.connect(name) as c, world.servers.connect(world.db.name) as whole:
        for sql in ("SELECT max(version) FROM schema_migrations",
                    "SELECT json_agg(c ORDER BY table_name, column_name) FROM (SELECT table_name, column_name, data_type"
                    " FROM information_schema.columns WHERE table_schema = 'public') AS c"):
            found = []
            for connection in (c, whole):
                cursor = connection.cursor()
                cursor.execute(sql)
                found.append(json.dumps(cursor.fetchone()))
            assert found[0] == found[1] and not re.fullmatch(r"\[null\]", found[0])
    world.db.rows(f"DROP DATABASE {name}")

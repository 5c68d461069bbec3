"""A message nobody can process goes to <topic>.dlq with the reason, as it was; everything else goes on."""
import json

import pytest
from fires.matrix import is_stopped
from shelfwire import STAGES, wait_for

ABSENT = "00000000-0000-4000-8000-000000000000"


def poison(topic, window):
    """(what, key, value, a word of the reason)"""
    good, key = window.json(topic), window.key(topic)

    def with_(**members):
        return json.dumps({**good, **members})

    def without(name):
        return json.dumps({k: v for k, v in good.items() if k != name})

    keyed_by = "asked_id" if topic == "bookings.new" else "primary_id"
    return [
        ("not JSON", key, "appt " + good["appt_id"], "unreadable"),
        ("half of it", key, json.dumps(good)[:100], "unreadable"),
        ("nothing", key, b"", "unreadable"),
        ("no value", key, None, "unreadable"),
        ("a list", key, json.dumps([good]), "unreadable"),
        ("two documents", key, json.dumps(good) * 2, "unreadable"),
        ("a number for a text", key, with_(booking_id=42), "booking_id"),
        ("null for a text", key, with_(destination=None), "destination"),
        ("a text for an object", key, json.dumps(json.dumps(good)), "unreadable"),
        ("no instant", key, with_(start="tomorrow"), "start"),
        ("an end before the start", key, with_(end="2000-01-01T00:00:00Z"), "end"),
        ("no UUID", key, with_(appt_id="1; DROP TABLE appts"), "appt_id"),
        ("a member missing", key, without("appt_id"), "appt_id"),
        ("the key's member missing", key, without(keyed_by), keyed_by),
        ("invalid UTF-8", key, json.dumps(good).encode().replace(b"LibCal Gelman", b"LibCal \xff\xfe"), "unreadable"),
        ("a zero byte", key, json.dumps(good).replace("LibCal Gelman", "\\u0000"), "unreadable"),
        ("almost 1 MiB", key, with_(note="x" * 1_047_000), "too_large"),
        ("almost 1 MiB of brackets", key, "[" * 1_047_000, "too_large"),
        ("10,000 levels deep", key, "[" * 10_000 + "]" * 10_000, "unreadable"),
        ("10,000 levels deep in a member", key, with_(note=0).replace('"note": 0', '"note": ' + '{"a":' * 10_000 + "1" + "}" * 10_000),
         "unreadable"),
        ("no key", None, json.dumps(good), "wrong_key"),
        ("an empty key", "", json.dumps(good), "wrong_key"),
        ("another's key", "G99999999", json.dumps(good), "wrong_key"),
        ("the key in lower case", key.lower(), json.dumps(good), "wrong_key"),
        ("a key of 100,000 bytes", "k" * 100_000, json.dumps(good), "wrong_key"),
        ("a key that is no text", b"\x00\xff\x01", json.dumps(good), "wrong_key"),
    ]


def as_bytes(it):
    return it.encode() if isinstance(it, str) else it or b""


@pytest.mark.parametrize("name", STAGES)
def test_what_cannot_be_read_is_set_aside_as_it_was_and_all_else_goes_on(world, name):
    topic = STAGES[name]
    windows = world.make_windows(21, 21, topic=topic, send=False)
    bad = poison(topic, windows[0])
    world.start_all()
    for i, (_what, key, value, _reason) in enumerate(bad):
        world.produce_raw(topic, key, value, [("traceparent", f"00-{i:032x}-0000000000000001-01")])
        if i % 2:
            world.send(topic, [windows[1 + i // 2]])
    rest = [w for w in windows[1:] if w not in windows[1:1 + len(bad) // 2]]
    world.send(topic, rest)
    world.await_made(20)
    wait_for(lambda: world.lag(name) == 0, lambda: world.lags(name))
    world.assert_exactly_once(windows[1:])

    dead = {int(m.headers["traceparent"].decode().split("-")[1], 16): m for m in world.dead_letters(topic)}
    missing = [bad[i][0] for i in range(len(bad)) if i not in dead]
    assert not missing and len(world.dead_letters(topic)) == len(bad), missing
    wrong = []
    for i, (what, key, value, reason) in enumerate(bad):
        said = dead[i].headers["kafka_dlt-exception-message"].decode()
        if reason not in said:
            wrong.append(f"{what}: the reason is {said}")
        if (dead[i].key or b"", dead[i].value or b"") != (as_bytes(key), as_bytes(value)):
            wrong.append(f"{what}: key {dead[i].key!r:.40}, value {dead[i].value!r:.40}, not as it was")
        assert dead[i].headers["kafka_dlt-original-topic"].decode() == world.topic(topic)
    assert not wrong, "\n".join(wrong)
    assert world.appt(windows[0])["answer"] is None


def test_what_was_null_is_null_in_the_dead_letters(world):
    world.produce_raw("prereg.create", "a key", None)
    world.produce_raw("prereg.create", None, "a value")
    world.start("prereg-create")
    world.await_no_lag("prereg-create")
    assert {(m.key, m.value) for m in world.dead_letters("prereg.create")} == {(b"a key", None), (None, b"a value")}


def test_a_window_nobody_knows_is_dropped_not_dead(world):
    windows = world.make_windows(3, 3, send=False)
    world.start_all()
    for topic in STAGES.values():
        stranger = {**windows[0].json(topic), "appt_id": ABSENT}
        world.produce_raw(topic, windows[0].key(topic), json.dumps(stranger))
    world.send("bookings.new", windows)
    world.await_made(3)
    world.await_no_lag()
    world.assert_exactly_once()
    world.assert_no_dead_letters()
    assert sum(p.metric("shelfwire_messages_total", 'outcome="not_wanted"') for p in world.programs) == 3


def test_no_number_of_bad_messages_stalls_a_worker(world):
    windows = world.make_windows(60, 60, topic="prereg.create", send=False)
    world.make_topics("prereg.create")
    for i in range(3000):
        world._produce("prereg.create", f"k{i}", "{" * 500, None)
    world._flush()
    world.send("prereg.create", windows)
    world.start("prereg-create")
    world.await_made(60, timeout=10)
    world.await_no_lag("prereg-create")
    assert len(world.dead_letters("prereg.create")) == 3000
    world.assert_exactly_once()


def test_no_number_of_messages_that_wait_for_their_next_try_takes_the_room_of_others(world):
    windows = world.make_windows(1200, 1200, topic="prereg.create", send=False)
    world.sandbox.admin("POST", "/faults", [{"vendor": "passagepoint", "kind": "status", "status": 500, "call": "createPreReg",
                                             "key": w.person.visitor_id} for w in windows[::2]])
    world.send("prereg.create", windows)
    worker = world.start("prereg-create", CONCURRENCY=20, RETRY_MS_MIN=60000, RETRY_MS_MAX=60000)
    world.await_made(600)
    assert worker.metric("shelfwire_parked") > 500
    world.assert_no_dead_letters()


def spoil(world, name, windows):
    """Each in one of four ways, and sent; returns what its dead letter says, by booking."""
    topic, kinds = STAGES[name], {}
    failing, refused = windows[2::4], windows[3::4]
    world.sandbox.admin("POST", "/faults", [
        {"vendor": "passagepoint", "kind": "status", "status": 500, "call": "createPreReg" if topic == "prereg.create" else "createVisitor",
         "key": w.person.visitor_id or w.person.barcode} for w in failing])
    ids = ", ".join(f"'{w.person.primary_id}'" for w in refused)
    world.db.rows(f"ALTER TABLE appts ADD CONSTRAINT odd CHECK (asked_id NOT IN ({ids}) OR prereg_id IS NULL) NOT VALID;"
                  f"ALTER TABLE users ADD CONSTRAINT odd CHECK (primary_id NOT IN ({ids}) OR visitor_id IS NULL) NOT VALID"
                  if topic == "users.resolve" else
                  f"ALTER TABLE appts ADD CONSTRAINT odd CHECK (asked_id NOT IN ({ids}) OR prereg_id IS NULL) NOT VALID")
    for i, w in enumerate(windows):
        kinds[w.booking_id] = ("unreadable", "wrong_key", "tries_exhausted", "refused_by_database")[i % 4]
    return kinds


@pytest.mark.slow
@pytest.mark.parametrize("name", ["users-resolve", "prereg-create"])
def test_half_of_all_messages_is_poison(world, name):
    """Those nobody can read, of a wrong key, that fail as often as they may, whose outcome PostgreSQL refuses: in turn with good ones."""
    topic = STAGES[name]
    windows = world.make_windows(320, 320, topic=topic, send=False)
    good, bad = windows[::2], windows[1::2]
    kinds = spoil(world, name, bad)
    world.make_topics(topic)
    for window in windows:
        key, value = window.key(topic), window.value(topic)
        kind = kinds.get(window.booking_id)
        world._produce(topic, "G99999999" if kind == "wrong_key" else key, value[:-1] if kind == "unreadable" else value,
                       window.headers(topic))
    world._flush()
    # a session that ends would bring what is not committed again, and with it its dead letters
    worker = world.start(name, CONCURRENCY=10, TRIES_MAX=3, KAFKA_SESSION_TIMEOUT_MS=60000)

    def more():
        """A failed try counts only while others are answered, so the gate must have others to answer."""
        if len(world.dead_letters(topic)) >= len(bad):
            return True
        people = world.make_people(8, topic, first=len(world.people) + 1)
        good.extend(world.make_windows(8, people, topic=topic))
        return False
    wait_for(more, lambda: f"{len(world.dead_letters(topic))} of {len(bad)} are set aside" + worker.tail(), 120, 0.5)
    world.await_no_lag(name, timeout=60)

    dead = world.dead_letters(topic)
    said = {m.value.decode().split('"booking_id": "')[1].split('"')[0]: m.headers["kafka_dlt-exception-message"].decode() for m in dead}
    assert len(dead) == len(bad), f"{len(dead)} dead letters of {len(bad)} bad messages"
    wrong = [f"{booking}: {said.get(booking)}, not {kind}" for booking, kind in kinds.items() if not said.get(booking, "").startswith(kind)]
    assert not wrong, wrong
    set_aside = sum(kind in ("tries_exhausted", "refused_by_database") for kind in kinds.values())
    assert worker.metric("shelfwire_messages_total", 'outcome="dead_letter"') == len(bad)
    assert sorted(kind for kind, _subject in world.desk()) == ["set_aside"] * set_aside
    if name == "users-resolve":
        assert sorted(m.json()["booking_id"] for m in world.read_topic("prereg.create")) == sorted(w.booking_id for w in good)
        world.start("prereg-create")
        world.await_made(len(good))
    assert world.answers()["made"] == len(good)
    world.assert_never_twice()
    at_gate = {p["visitorId"] for p in world.sandbox.preregs()}
    known = dict(world.db.rows("SELECT primary_id, visitor_id FROM users"))
    assert {known[w.person.primary_id] for w in good} <= at_gate


# ---- what PostgreSQL refuses ----

REFUSE = """
    CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN IF {which} THEN RAISE EXCEPTION 'not this one' USING ERRCODE = '{error}'; END IF; RETURN NEW; END $$;
    CREATE {trigger} FOR EACH ROW EXECUTE FUNCTION refuse()"""
REFUSED = {  # the trigger, and when it speaks
    "look-up": ("TRIGGER refuse BEFORE INSERT ON intents", "NEW.state = 'taken' AND NEW.work_id = ANY ('{{{ids}}}')"),
    "outcome": ("TRIGGER refuse BEFORE UPDATE ON appts", "NEW.prereg_id IS NOT NULL AND NEW.appt_id = ANY ('{{{ids}}}'::uuid[])"),
    "commit": ("CONSTRAINT TRIGGER refuse AFTER UPDATE ON appts DEFERRABLE INITIALLY DEFERRED",
               "NEW.prereg_id IS NOT NULL AND NEW.appt_id = ANY ('{{{ids}}}'::uuid[])"),
}


def refuse(world, what, windows, error):
    trigger, which = REFUSED[what]
    world.db.rows(REFUSE.format(trigger=trigger, which=which.format(ids=",".join(w.appt_id for w in windows)), error=error))


@pytest.mark.parametrize("every", [1, 2, 20])
@pytest.mark.parametrize("what", REFUSED)
def test_what_postgresql_refuses_is_set_aside_and_only_that(world, what, every):
    windows = world.make_windows(80, 80, topic="prereg.create", send=False)
    refused, good = windows[every // 2::every], [w for i, w in enumerate(windows) if i % every != every // 2]
    refuse(world, what, refused, "check_violation")
    world.send("prereg.create", windows)
    worker = world.start("prereg-create", CONCURRENCY=70)
    world.await_no_lag("prereg-create")
    dead = world.dead_letters("prereg.create")
    assert sorted(m.json()["appt_id"] for m in dead) == sorted(w.appt_id for w in refused), worker.tail()
    assert {m.headers["kafka_dlt-exception-fqcn"] for m in dead} == {b"refused_by_database"}
    assert world.answers().get("made", 0) == len(good)
    if what == "look-up":
        world.assert_exactly_once(good)
    else:
        world.assert_never_twice()
        assert world.answers() == {k: n for k, n in {"made": len(good), "set_aside": len(refused)}.items() if n}
        assert sorted(world.desk()) == sorted(("set_aside", w.appt_id) for w in refused)


@pytest.mark.parametrize("what", REFUSED)
def test_what_postgresql_cannot_take_yet_keeps_nobody_else_waiting(world, what):
    """As when one index is broken: no fault of the message, which is done when it can be."""
    windows = world.make_windows(60, 60, topic="prereg.create", send=False)
    refuse(world, what, windows[7:8], "index_corrupted")
    world.send("prereg.create", windows)
    worker = world.start("prereg-create", CONCURRENCY=20)
    worker.await_log("not this one")
    world.await_made(59)
    assert worker.log().count("not this one") <= 20, "it floods the log"
    world.db.rows("DROP FUNCTION refuse CASCADE")
    world.await_made(60)
    world.await_no_lag("prereg-create")
    world.assert_exactly_once()
    world.assert_no_dead_letters()
    assert world.desk() == []


def test_a_pause_is_told_to_all_although_an_outcome_beside_it_is_refused(world):
    first, odd, limited = windows = world.make_windows(3, 3, send=False)
    world.db.rows(f"ALTER TABLE users ADD CONSTRAINT odd CHECK (primary_id <> '{odd.person.primary_id}')")
    world.sandbox.fault("alma", "user", "rate_limited", key=limited.person.asked_id, retry_after=300)
    worker = world.start("bookings-new", CONCURRENCY=3)

    def answered():
        return worker.metric("shelfwire_vendor_calls_total")
    with world.db.locked("attempts"):
        world.send("bookings.new", [first])
        wait_for(lambda: answered() == 1 and world.db.waiting(), lambda: "no outcome waits" + worker.tail())
        world.send("bookings.new", [odd])
        wait_for(lambda: answered() == 2, lambda: "it is not asked about" + worker.tail())
        world.send("bookings.new", [limited])
        wait_for(lambda: answered() == 3, lambda: "it is not asked about" + worker.tail())
    wait_for(lambda: world.dead_letters("bookings.new"), lambda: "it is not set aside" + worker.tail())
    assert world.db.one("SELECT count(*) FROM quotas WHERE vendor = 'alma' AND paused_until > clock_timestamp() + interval '1 minute'")
    assert [m.key for m in world.dead_letters("bookings.new")] == [windows[1].key("bookings.new").encode()]


def spoil_outcomes(world, windows):
    ids = ", ".join(f"'{w.person.primary_id}'" for w in windows)
    world.db.rows(f"ALTER TABLE users ADD CONSTRAINT odd CHECK (primary_id NOT IN ({ids}) OR visitor_id IS NULL) NOT VALID")
    return {w.appt_id for w in windows}


@pytest.mark.parametrize("point", ["look_sent:8", "look_committed:8", "record_sent:3", "record_committed:2"])
def test_who_dies_while_half_of_all_is_refused_does_nothing_twice(world, point):
    windows = world.make_windows(80, 80, topic="users.resolve", send=False)
    refused = spoil_outcomes(world, windows[::2])
    world.send("users.resolve", windows)
    worker = world.start("users-resolve", CONCURRENCY=20, INJECT_AT=point, KAFKA_GROUP_INSTANCE_ID="one")
    wait_for(lambda: is_stopped(worker), lambda: "it does not come to that point" + worker.tail())
    worker.kill9()
    world.start("users-resolve", CONCURRENCY=20, KAFKA_GROUP_INSTANCE_ID="one")
    world.await_no_lag("users-resolve")
    world.assert_never_twice()
    assert {m.json()["appt_id"] for m in world.dead_letters("users.resolve")} == refused
    assert {m.json()["appt_id"] for m in world.read_topic("prereg.create")} == {w.appt_id for w in windows} - refused

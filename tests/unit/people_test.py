"""What of a person is shown and erased by the verbs of schemas/sql/009_people.sql, on a throw-away PostgreSQL."""
import json
import threading

import psycopg2
import pytest
from sql_test import SQL, desk, window

ANNA = {"primary_id": "P00004711", "asked_id": "G00004711", "card": "22820000004711", "old_card": "22820000004700",
        "mail": "anna.reader@example.edu", "first": "Annabella", "last": "Readerova", "visitor": "137505764541148",
        "oneclick": "8844551", "user": "aabbcc-4711"}
BERT = {"primary_id": "P00004712", "asked_id": "G00004712", "card": "22820000004712", "old_card": "22820000004701",
        "mail": "bert.reader@example.edu", "first": "Bertolino", "last": "Bookman", "visitor": "137505764541149",
        "oneclick": "8844552", "user": "aabbcc-4712"}


@pytest.fixture
def db(database):
    for path in sorted(SQL.glob("*.sql")):
        database.rows(path.read_text())
    return database


def insert(db, table, **columns):
    db.rows(f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join(['%s'] * len(columns))})", *columns.values())


def live(db, who, mark):
    """A person who has left something everywhere; {what: id} of what the tests want to find again."""
    insert(db, "users", primary_id=who["primary_id"], barcode=who["card"], visitor_barcode=who["old_card"], first_name=who["first"],
           last_name=who["last"], emails=[who["mail"]], visitor_id=who["visitor"], checked_at="2026-11-26")
    insert(db, "asked_ids", asked_id=who["asked_id"], primary_id=who["primary_id"])
    known = {"asked_id": who["asked_id"], "email": who["mail"], "source": "libcal", "trace_id": "f" * 32}
    made = {**known, "primary_id": who["primary_id"], "visitor_id": who["visitor"], "barcode": who["card"], "answer": "made"}
    at = {"past": {"starts_at": db.one("SELECT now() - interval '2 days'")}, "over": {"starts_at": db.one("SELECT now() - interval '2 hours'")}}
    of = {"made": window(db, booking_id=f"cs_{mark}1", prereg_id=f"prereg {mark}", **made),
          "waiting": window(db, booking_id=f"cs_{mark}2", **known),
          "unknown": window(db, booking_id=f"cs_{mark}3", **{**made, "answer": "unknown", "reason": f"{who['last']} at {who['card']}"}),
          "withdrawn": window(db, booking_id=f"cs_{mark}4", wanted=False, unwanted_reason="cancelled in LibCal",
                              prereg_id=f"withdrawn {mark}", **{**made, "reason": who["last"]}),
          "cancelled": window(db, booking_id=f"cs_{mark}5", wanted=False, unwanted_reason="cancelled in LibCal",
                              prereg_id=f"cancelled {mark}", **{**made, "reason": who["last"]}),
          "no card": window(db, booking_id=f"cs_{mark}6", **{**known, "answer": "no_card", "reason": f"{who['asked_id']} has none"}),
          "past": window(db, booking_id=f"cs_{mark}7", prereg_id=f"past {mark}", **made, **at["past"]),
          "over": window(db, booking_id=f"cs_{mark}8", **known, **at["over"])}
    db.rows("UPDATE desk SET note = %s WHERE subject = ANY (%s)", f"called {who['last']}", list(of.values()))
    db.rows("SELECT desk_done(desk_id, 'anna', %s) FROM desk WHERE subject = %s", f"{who['last']} was told", of["withdrawn"])
    for n in range(1, 10):  # the ninth has no id on its form
        said = [{"start": "s", "status": "Confirmed", **({"asked_id": who["asked_id"]} if n < 9 else {})}]
        insert(db, "bookings", source="libcal", location_id="1", booking_id=f"cs_{mark}{n}", said=json.dumps(said),
               first_name=who["first"], last_name=who["last"], email=who["mail"].title(), ends_at="2030-01-01")
    db.rows("SELECT desk_say('blank_id', %s, %s, now() + interval '1 day')", f"cs_{mark}9", f"{who['first']} left it blank")
    requests = {"service": "folio", "patron": who["primary_id"], "caller": "c", "words": who["last"],
                "asked": json.dumps({"email": who["mail"]}), "callback_url": f"https://caller.example/{who['asked_id']}"}
    for n, (state, more) in enumerate({
            "done": {"outcome": json.dumps({"name": who["last"]}), "callback_at": "2026-11-26"}, "accepted": {}, "waiting": {"patron": who["card"]},
            "set_aside": {"service": "oneclick", "patron": who["mail"]}, "asks": {"known": json.dumps({"card": who["card"]})}}.items()):
        insert(db, "requests", ref=f"order-{mark}-{n}", action="renew", state=state, **{**requests, **more})
    insert(db, "requests", ref=f"for {who['asked_id']}", action="renew", state="done", **requests)
    of["requests"] = [r for r, in db.rows("SELECT request_id::text FROM requests WHERE words = %s", who["last"])]
    db.rows("SELECT desk_say('request_set_aside', %s, %s, NULL)", of["requests"][3], f"{who['last']}: renew")
    insert(db, "oneclick_patrons", library="1931", card=who["card"], patron_id=who["oneclick"], user_id=who["user"])
    for subject in (*of["requests"], *(v for v in of.values() if isinstance(v, str))):
        insert(db, "attempts", stage="prereg-create", subject=subject, work_id=subject, call="createPreReg", verdict="rejected", code="refused",
               reason=f"the gate has {who['card']} already", trace_id="f" * 32)
    insert(db, "attempts", stage="users-resolve", subject="of a window that was purged", work_id=who["card"], call="createVisitor",
           verdict="done", code="made")
    for name in (who["card"], who["primary_id"]):
        db.rows("INSERT INTO intents (stage, work_id, state, owner, deadline)"
                " VALUES ('users-resolve', encode(sha256(%s::bytea), 'hex'), 'finished', 'w', now())", name)
    insert(db, "intents", stage="prereg-create", work_id=of["unknown"], state="unsure", owner="w", deadline="2026-11-26")
    letters = {"of a window": (of["made"], b"k", b"{}"), "keyed": (None, who["asked_id"].encode(), b"\xff\x00garbage"),
               "holding an id": (None, b"k", json.dumps({"patron": who["primary_id"]}).encode()),
               "garbage holding a card": (None, None, b"\xfe" + who["card"].encode() + b"\x00")}
    for n, (subject, key, value) in enumerate(letters.values()):
        insert(db, "dead_letters", dlq="prereg.create.dlq", dlq_partition=ord(mark), dlq_offset=n, topic="prereg.create", at="2026-11-26",
               code="unreadable", reason="r", key=key, value=value, subject=subject)
    for about, note in ((who["mail"], None), (who["visitor"], "n"), (of["made"], None), ("somebody", f"it was {who['card']}")):
        insert(db, "monitor_log", who="carl", verb="timeline", about=about, note=note)
    return of


def everything(db):
    """{table: [row as a text]}, bytes as what they spell."""
    found = {}
    for table, in db.rows("SELECT c.oid::regclass::text FROM pg_class c WHERE relkind IN ('r', 'p') AND NOT relispartition"
                          " AND relnamespace = 'public'::regnamespace"):
        columns = db.rows("SELECT attname, atttypid::regtype::text FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0"
                          " AND NOT attisdropped", table)
        texts = ", ".join(f"encode({name}, 'escape')" if kind == "bytea" else f"{name}::text" for name, kind in columns)
        found[table] = sorted(str(row) for row in db.rows(f"SELECT {texts} FROM {table}"))
    return found


def tables_with(db, who):
    return {table: sum(any(value.lower() in row.lower() for value in who.values()) for row in rows)
            for table, rows in everything(db).items() if any(value.lower() in row.lower() for row in rows for value in who.values())}


@pytest.fixture
def both(db):
    return live(db, ANNA, "a"), live(db, BERT, "b")


PLACES = {"users", "asked_ids", "appts", "bookings", "requests", "oneclick_patrons", "desk", "attempts", "dead_letters", "monitor_log"}


def test_the_two_people_of_these_tests_are_everywhere(db, both):
    """Else the scans below would find nothing because there is nothing to find."""
    assert set(tables_with(db, ANNA)) == set(tables_with(db, BERT)) == PLACES


# ---- export ----

@pytest.mark.parametrize("by", ["primary_id", "asked_id", "card", "old_card", "mail"])
def test_a_person_is_found_by_whatever_names_them(db, both, by):
    given = ANNA[by].upper() if by == "mail" else f" {ANNA[by]} "
    shown = db.one("SELECT person_export(%s)", given)
    assert {what: len(rows) for what, rows in shown.items() if isinstance(rows, list)} == {
        "known_by": 6 if by == "mail" else 5, "users": 1, "asked_ids": 1, "bookings": 9, "appts": 8, "requests": 6, "oneclick_patrons": 1, "desk": 6,
        "attempts": 14, "intents": 3, "dead_letters": 4, "monitor_log": 3}
    words = json.dumps(shown)
    assert not [value for value in BERT.values() if value in words], "somebody else is shown"
    assert {"cs_a9", "prereg a", ANNA["visitor"], ANNA["oneclick"]} <= set(words.replace('"', ",").split(","))
    assert sorted(d["value"][:7] for d in shown["dead_letters"]) == ["base64:", "base64:", "{", '{"patro'] or words.count("base64:") == 2


def test_who_is_nobody_here(db, both):
    shown = db.one("SELECT person_export('G99999999')")
    assert shown.pop("known_by") == ["G99999999"] and shown.pop("kafka_until") is None
    assert set(map(str, shown.values())) == {"[]"}
    for nothing in ("", "  ", None):
        with pytest.raises(psycopg2.errors.RaiseException):
            db.rows("SELECT person_export(%s)", nothing)


def test_what_two_people_share_shows_neither(db, both):
    db.rows("UPDATE users SET emails = emails || 'family@example.edu'::text")
    for verb in ("person_export('family@example.edu')", "person_erase('family@example.edu', 'carl')"):
        with pytest.raises(psycopg2.errors.RaiseException) as refused:
            db.rows("SELECT " + verb)
        assert "2 people" in str(refused.value) and not any(value in str(refused.value) for who in (ANNA, BERT) for value in who.values())
    db.rows("SELECT person_erase(%s, 'carl')", ANNA["primary_id"])
    assert db.one("SELECT emails FROM users") == [BERT["mail"], "family@example.edu"]


def test_a_window_with_anothers_e_mail_is_of_whom_its_id_names(db, both):
    window(db, booking_id="cs_shared", asked_id=BERT["asked_id"], email=ANNA["mail"])
    insert(db, "bookings", source="libcal", location_id="1", booking_id="cs_shared", said=json.dumps([{"asked_id": BERT["asked_id"]}]),
           email=ANNA["mail"])
    shown = json.dumps(db.one("SELECT person_export(%s)", ANNA["primary_id"]))
    assert "cs_shared" not in shown
    assert "cs_shared" in json.dumps(db.one("SELECT person_export(%s)", BERT["primary_id"]))


# ---- erase ----

def test_no_byte_of_an_erased_person_stays_and_nobody_else_is_touched(db, both):
    bert = {table: [row for row in rows if any(v in row for v in BERT.values())] for table, rows in everything(db).items()}
    told = dict(db.rows("SELECT * FROM person_erase(%s, 'carl')", ANNA["mail"]))
    assert tables_with(db, ANNA) == {}
    assert {table: [row for row in rows if any(v in row for v in BERT.values())] for table, rows in everything(db).items()} == bert
    assert told == {"users": 1, "asked_ids": 1, "bookings": 9, "appts": 8, "requests": 6, "oneclick_patrons": 1, "desk": 6, "attempts": 15,
                    "intents": 2, "dead_letters": 4, "dead letters in Kafka": 4, "monitor_log": 4, "to be withdrawn": 3, "kafka_until": None}
    ((who, verb, about, note),) = db.rows("SELECT who, verb, about, note FROM monitor_log WHERE verb = 'erase'")
    assert (who, verb, about) == ("carl", "erase", "a person") and "appts 8" in note
    assert db.one("SELECT sum(n) FROM dead_letter_counts") == 4
    again = dict(db.rows("SELECT * FROM person_erase(%s, 'carl')", ANNA["mail"]))
    assert {what for what, n in again.items() if n} == set()


def test_what_the_gate_has_made_is_to_be_withdrawn_and_is_no_bodys(db, both):
    anna, bert = both
    db.rows("SELECT person_erase(%s, 'carl')", BERT["primary_id"])
    db.rows("SELECT person_erase(%s, 'carl')", ANNA["primary_id"])
    erased = "the person was erased"
    assert {(subject, reason, note) for subject, reason, note in db.rows(
        "SELECT subject, reason, note FROM desk WHERE closed_at IS NULL AND subject = ANY (%s)", [v for v in anna.values() if isinstance(v, str)])} == {
        (anna["made"], f"withdraw at the gate: {erased}; pre-registration prereg a", None),
        (anna["unknown"], f"withdraw at the gate: {erased}; nobody knows whether it was made: look for it", None),
        (anna["cancelled"], "withdraw at the gate: cancelled in LibCal; pre-registration cancelled a", None)}
    assert db.one("SELECT count(*) FROM desk WHERE subject = %s", anna["withdrawn"]) == 0, "somebody has dealt with it"
    rows = dict(db.rows("SELECT appt_id::text, (wanted, asked_id, prereg_id)::text FROM appts WHERE appt_id = ANY (%s::uuid[])",
                        [v for v in anna.values() if isinstance(v, str)]))
    assert rows[anna["made"]] == '(f,erased,"prereg a")' and rows[anna["waiting"]] == "(f,erased,)"
    assert anna["past"] not in rows and anna["over"] not in rows, "what is over needs no row"
    assert db.one("SELECT state FROM intents WHERE work_id = %s", anna["unknown"]) == "unsure"


# when, what a program that had the work in hand writes after the erase, the row's prereg_id and answer then, the desk's kinds
LATE = [
    ("it was made", "answer = 'made', prereg_id = 'p7', primary_id = 'P00004711', visitor_id = '137505764541148', barcode = '22820000004711'",
     ("p7", "made"), ["withdraw"]),
    ("nobody knows", "answer = 'unknown', reason = 'no answer for Readerova', primary_id = 'P00004711'", (None, "unknown"), ["withdraw"]),
    ("no card", "answer = 'no_card', reason = 'G00004711 has none', retry_at = now()", (None, "no_card"), []),
    ("wanted after all", "wanted = true, email = 'anna.reader@example.edu', asked_id = 'G00004711', trace_id = 'f'", (None, None), []),
]


@pytest.mark.parametrize("columns, row, kinds", [row[1:] for row in LATE], ids=[row[0] for row in LATE])
def test_what_is_written_late_brings_nobody_back(db, columns, row, kinds):
    appt = window(db, asked_id=ANNA["asked_id"], email=ANNA["mail"])
    db.rows("SELECT person_erase(%s, 'carl')", ANNA["asked_id"])
    db.rows(f"UPDATE appts SET {columns} WHERE appt_id = %s", appt)
    assert db.rows("SELECT prereg_id, answer FROM appts") == [row]
    assert [kind for kind, _ in desk(db)] == kinds
    assert tables_with(db, ANNA) == {}
    assert db.one("SELECT wanted FROM appts") is False


def test_requests_end_and_are_not_done_again(db, both):
    db.rows("SELECT person_erase(%s, 'carl')", ANNA["primary_id"])
    found = dict((ref, (state, code)) for ref, state, code in db.rows("SELECT ref, state, code FROM requests WHERE patron = 'erased'"))
    assert {ref: value for ref, value in found.items() if ref.startswith("order-a")} == {
        "order-a-0": ("done", None), "order-a-1": ("refused", "erased"), "order-a-2": ("refused", "erased"),
        "order-a-3": ("refused", "erased"), "order-a-4": ("asks", None)}
    assert len(found) == 6
    with pytest.raises(psycopg2.errors.UniqueViolation):
        insert(db, "requests", caller="c", ref="order-a-0", service="folio", action="renew", patron="p", asked="{}")
    assert db.one("SELECT count(*) FROM requests WHERE patron = 'erased' AND (callback_at IS NOT NULL OR callback_url IS NOT NULL)") == 0


@pytest.mark.parametrize("stage", ["prereg-create", "users-resolve", "folio-requests"])
def test_while_a_call_is_under_way_nothing_is_erased(db, both, stage):
    anna, _ = both
    work = {"prereg-create": anna["waiting"], "folio-requests": anna["requests"][1],
            "users-resolve": db.one("SELECT encode(sha256(%s::bytea), 'hex')", ANNA["card"])}[stage]
    db.rows("INSERT INTO intents (stage, work_id, state, owner, deadline) VALUES (%s, %s, 'taken', 'w', now() + interval '30 seconds')"
            " ON CONFLICT (stage, work_id) DO UPDATE SET state = 'taken', deadline = excluded.deadline", stage, work)
    before = everything(db)
    with pytest.raises(psycopg2.errors.ObjectInUse) as refused:
        db.rows("SELECT person_erase(%s, 'carl')", ANNA["primary_id"])
    assert "ask again in 30 s" in str(refused.value)
    assert everything(db) == before
    db.rows("UPDATE intents SET deadline = now() WHERE work_id = %s", work)
    db.rows("SELECT person_erase(%s, 'carl')", ANNA["primary_id"])
    assert tables_with(db, ANNA) == {}


def test_an_erase_waits_for_what_is_being_written(db, both):
    other = db.cluster.connect(db.name)
    other.autocommit = False
    other.cursor().execute("INSERT INTO asked_ids (asked_id, primary_id) VALUES ('anna', %s)", (ANNA["primary_id"],))
    erase = threading.Thread(target=lambda: db.cluster.connect(db.name).cursor().execute(
        "SELECT person_erase(%s, 'carl')", (ANNA["primary_id"],)))
    erase.start()
    while not db.one("SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND wait_event_type = 'Lock'", db.name):
        assert erase.is_alive()
    other.commit()
    erase.join()
    other.close()
    assert db.one("SELECT count(*) FROM asked_ids WHERE primary_id = %s", ANNA["primary_id"]) == 0


# ---- what a producer is shown again ----

def left_out(db, source, booking, asked):
    return db.one("SELECT EXISTS (SELECT FROM erased_bookings e WHERE e.source = %s AND e.booking_id = %s"
                  " AND e.asked_sha256 = sha256(e.salt || convert_to(%s, 'UTF8')))", source, booking, asked)


def test_bookings_of_an_erased_person_are_known_again_without_the_person(db, both):
    db.rows("SELECT person_erase(%s, 'carl')", ANNA["primary_id"])
    for n in range(1, 9):
        assert left_out(db, "libcal", f"cs_a{n}", ANNA["asked_id"]), n
    assert left_out(db, "libcal", "cs_a9", "") and left_out(db, "libcal", "cs_a1", "")
    assert not left_out(db, "libcal", "cs_a1", BERT["asked_id"]), "another's rows of the same booking"
    assert not left_out(db, "libcal", "cs_a10", ANNA["asked_id"]), "a new booking"
    assert not left_out(db, "webcheckout", "cs_a1", ANNA["asked_id"]) and not left_out(db, "libcal", "cs_b1", BERT["asked_id"])
    assert db.one("SELECT min(until) > now() + interval '29 days' FROM erased_bookings")
    db.rows("UPDATE erased_bookings SET until = now() - interval '1 second' WHERE booking_id = 'cs_a1'")
    assert dict(db.rows("SELECT * FROM purge(30)"))["erased_bookings"] == 2


# what producers have seen of Kafka's topics (ms), seconds until it has forgotten; None: without end, or nobody knows
KEEPS = [
    ("nobody has looked", {}, None),
    ("days", {"bookings.new": 3000_000, "prereg.create": 1000_000}, 3000),
    ("without end", {"bookings.new": 3000_000, "prereg.create": -1}, None),
]


@pytest.mark.parametrize("marks, seconds", [row[1:] for row in KEEPS], ids=[row[0] for row in KEEPS])
def test_when_kafka_has_forgotten(db, marks, seconds):
    for topic, ms in marks.items():
        insert(db, "producer_marks", producer="kafka", mark=f"keeps {topic}", value=str(ms))
    db.rows("INSERT INTO producer_marks (producer, mark, value) VALUES ('libcal-bookings', 'keeps x', '99999999999')")
    until = dict(db.rows("SELECT * FROM person_erase('G1', 'carl')"))["kafka_until"]
    assert (until and round((until - db.one("SELECT extract(epoch FROM now())::float")) / 10)) == (seconds and seconds / 10)


def test_an_older_versions_intents_are_found_by_their_new_name(database):
    for path in sorted(SQL.glob("*.sql")):
        if path.name.startswith("009"):
            database.rows("INSERT INTO intents (stage, work_id, state, owner, deadline) VALUES ('users-resolve', '2282', 'unsure', 'w', now()),"
                          " ('prereg-create', '2282', 'unsure', 'w', now())")
        database.rows(path.read_text())
    assert dict(database.rows("SELECT stage, work_id = encode(sha256('2282'), 'hex') FROM intents")) == {
        "users-resolve": True, "prereg-create": False}

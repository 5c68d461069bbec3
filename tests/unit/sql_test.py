"""What the functions and triggers of schemas/sql do, on a throw-away PostgreSQL."""
import datetime
import pathlib
import uuid

import psycopg2
import pytest

SQL = pathlib.Path(__file__).resolve().parents[2] / "schemas/sql"
NOBODY = str(uuid.UUID(int=0))


@pytest.fixture
def db(database):
    for path in sorted(SQL.glob("*.sql")):
        database.rows(path.read_text())
    return database


def window(db, **columns):
    """A wanted window of tomorrow, with other columns as given; its appt_id."""
    columns = {"source": "libcal", "location_id": "1", "booking_id": "cs_1", "asked_id": "G1", "destination": "d", **columns}
    columns.setdefault("starts_at", db.one("SELECT now() + interval '1 day'"))
    columns.setdefault("ends_at", db.one("SELECT %s + interval '1 hour'", columns["starts_at"]))
    return db.one(f"INSERT INTO appts ({', '.join(columns)}) VALUES ({', '.join(['%s'] * len(columns))}) RETURNING appt_id::text",
                  *columns.values())


def change(db, appt_id, **columns):
    db.rows(f"UPDATE appts SET {', '.join(name + ' = %s' for name in columns)} WHERE appt_id = %s", *columns.values(), appt_id)


def desk(db):
    return db.rows("SELECT kind, reason FROM desk WHERE closed_at IS NULL ORDER BY desk_id")


# ---- ids ----

def test_windows_are_numbered_in_the_order_they_come(db):
    """A UUID of version 7: its first 48 bits are the time in milliseconds, the rest is random."""
    ids = []
    for _ in range(50):
        before = db.one("SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint")
        ids.append(uuid.UUID(window(db)))
        after = db.one("SELECT ceil(extract(epoch FROM clock_timestamp()) * 1000)::bigint")
        assert before <= ids[-1].int >> 80 <= after, ids[-1]
        db.rows("DELETE FROM appts")
    assert {(i.version, i.variant) for i in ids} == {(7, uuid.RFC_4122)}
    assert len({i.int & ((1 << 74) - 1) for i in ids}) == 50


# ---- the desk ----

FIRST_SEEN = "withdraw at the gate: "
UNKNOWN = "nobody knows whether the pre-registration was made: look at the gate, then say made or not made"
LOOK = "; nobody knows whether it was made: look for it"

# when, the window's columns, what the desk says of it
DESK = [
    ("nothing was answered", {}, []),
    ("made", {"answer": "made", "prereg_id": "p1"}, []),
    ("made, perhaps twice", {"answer": "made", "prereg_id": "p1", "maybe_made": True},
     [("maybe_twice", "an earlier try may have made a second pre-registration: look for it beside p1")]),
    ("made, perhaps twice, and the gate gave no id", {"answer": "made", "maybe_made": True},
     [("maybe_twice", "an earlier try may have made a second pre-registration: look for it beside ")]),
    ("unknown", {"answer": "unknown", "reason": "no answer in 60 s"}, [("unknown", UNKNOWN + "; no answer in 60 s")]),
    ("no card", {"answer": "no_card", "reason": "Alma knows no active card"}, [("no_card", "Alma knows no active card")]),
    ("no reason", {"answer": "expired"}, [("expired", "expired")]),
    ("set aside", {"answer": "set_aside", "reason": "r"}, [("set_aside", "r")]),
    ("the visitor is gone: asked again from the left", {"answer": "visitor_gone"}, []),
    ("not wanted, nothing was made", {"wanted": False}, []),
    ("not wanted, no card", {"wanted": False, "answer": "no_card"}, []),
    ("not wanted, made", {"wanted": False, "unwanted_reason": "cancelled", "answer": "made", "prereg_id": "p1"},
     [("withdraw", FIRST_SEEN + "cancelled; pre-registration p1")]),
    ("not wanted, made perhaps twice",
     {"wanted": False, "unwanted_reason": "cancelled", "answer": "made", "prereg_id": "p1", "maybe_made": True},
     [("withdraw", FIRST_SEEN + "cancelled; pre-registration p1; there may be a second one")]),
    ("not wanted, unknown", {"wanted": False, "unwanted_reason": "gone", "answer": "unknown"}, [("withdraw", FIRST_SEEN + "gone" + LOOK)]),
    ("not wanted, made by the old script, its id is not known", {"wanted": False, "unwanted_reason": "gone", "answer": "made"},
     [("withdraw", FIRST_SEEN + "gone")]),
    ("not wanted, nobody said why", {"wanted": False, "answer": "unknown"}, [("withdraw", FIRST_SEEN + LOOK)]),
    ("not wanted, perhaps made", {"wanted": False, "unwanted_reason": "gone", "maybe_made": True}, [("withdraw", FIRST_SEEN + "gone")]),
]


@pytest.mark.parametrize("columns, said", [row[1:] for row in DESK], ids=[row[0] for row in DESK])
def test_desk(db, columns, said):
    appt = window(db, **columns)
    assert desk(db) == said
    change(db, appt, wanted=True, answer="made", prereg_id="p", maybe_made=False)
    assert desk(db) == []  # it closes itself when its cause is gone
    change(db, appt, **{"prereg_id": None, "answer": None, **columns})
    assert desk(db) == said
    assert db.one("SELECT count(*) FROM desk") == 2 * len(said)


@pytest.mark.parametrize("columns, said", [row[1:] for row in DESK], ids=[row[0] for row in DESK])
def test_desk_is_silent_about_a_visit_that_is_over(db, columns, said):
    window(db, starts_at=db.one("SELECT now() - interval '3 hours'"), **columns)
    assert desk(db) == []


def test_desk_one_kind_after_another(db):
    appt = window(db, answer="no_card", reason="a")
    change(db, appt, reason="b")
    assert desk(db) == [("no_card", "b")]
    change(db, appt, answer="unknown")
    assert desk(db) == [("unknown", UNKNOWN + "; b")]
    change(db, appt, wanted=False, unwanted_reason="cancelled")
    assert desk(db) == [("withdraw", FIRST_SEEN + "cancelled" + LOOK)]
    change(db, appt, answer="made", prereg_id="p1")  # the answer came after all; its kind stays
    assert desk(db) == [("withdraw", FIRST_SEEN + "cancelled; pre-registration p1")]
    change(db, appt, unwanted_reason="gone")
    assert desk(db) == [("withdraw", FIRST_SEEN + "gone; pre-registration p1")]
    assert db.one("SELECT count(*) FROM desk") == 3


def test_desk_follows_a_visit_that_moves(db):
    appt = window(db, answer="no_card")
    change(db, appt, starts_at=db.one("SELECT ends_at - interval '1 minute' FROM appts"))
    assert db.one("SELECT d.visit_at = a.starts_at FROM desk d, appts a")


def test_desk_what_a_person_closed_stays_closed(db):
    appt = window(db, answer="no_card", reason="r")
    number = db.one("SELECT desk_id FROM desk")
    assert db.one("SELECT desk_done(%s, 'anna', 'called')", number) is True
    assert db.one("SELECT desk_done(%s, 'bert')", number) is False
    assert db.rows("SELECT closed_by, note FROM desk") == [("anna", "called")]
    change(db, appt, answer="no_card", reason="r", retry_at=db.one("SELECT now()"), sent_at=db.one("SELECT now()"))
    assert desk(db) == []
    change(db, appt, reason="another")
    assert desk(db) == [("no_card", "another")]
    assert db.one("SELECT desk_done(-1, 'anna')") is False


def test_desk_say_and_clear(db):
    for reason in ("a", "a", "b"):
        db.rows("SELECT desk_say('blank_id', 'cs_1', %s, NULL)", reason)
    db.rows("SELECT desk_say('blank_id', 'cs_2', 'c', now())")
    db.rows("SELECT desk_say('other', 'cs_1', 'd', now())")
    assert desk(db) == [("blank_id", "b"), ("blank_id", "c"), ("other", "d")]
    db.rows("SELECT desk_clear('blank_id', 'cs_1')")
    db.rows("SELECT desk_clear('blank_id', 'nothing')")
    assert desk(db) == [("blank_id", "c"), ("other", "d")]
    assert db.one("SELECT closed_by FROM desk WHERE closed_at IS NOT NULL") == "shelfwire"


# ---- the verbs ----

# when, the window's columns, the verb, whether it does something, the row afterwards, kinds on the desk afterwards
ROW = "answer, prereg_id, maybe_made, retry_at IS NOT NULL"
VERBS = [
    ("made: nobody knew", {"answer": "unknown"}, "appt_made(%s, 'p7', 'anna')", True, ("made", "p7", False, False), []),
    ("made: perhaps twice, and one was found", {"answer": "unknown", "maybe_made": True}, "appt_made(%s, 'p7', 'anna')", True,
     ("made", "p7", False, False), []),
    ("made: not wanted any more", {"answer": "unknown", "wanted": False}, "appt_made(%s, 'p7', 'anna')", True,
     ("made", "p7", False, False), ["withdraw"]),
    ("made: known already", {"answer": "made", "prereg_id": "p1"}, "appt_made(%s, 'p7', 'anna')", False,
     ("made", "p1", False, False), []),
    ("made: without its id", {"answer": "unknown"}, "appt_made(%s, '', 'anna')", False, ("unknown", None, False, False), ["unknown"]),
    ("made: with no id", {"answer": "unknown"}, "appt_made(%s, NULL, 'anna')", False, ("unknown", None, False, False), ["unknown"]),
    ("not made: nobody knew", {"answer": "unknown"}, "appt_not_made(%s, 'anna')", True, (None, None, False, True), []),
    ("not made: not wanted any more", {"answer": "unknown", "wanted": False}, "appt_not_made(%s, 'anna')", True,
     (None, None, False, True), []),
    ("not made: it was", {"answer": "made", "prereg_id": "p1"}, "appt_not_made(%s, 'anna')", False, ("made", "p1", False, False), []),
    ("not made: no card", {"answer": "no_card"}, "appt_not_made(%s, 'anna')", False, ("no_card", None, False, False), ["no_card"]),
    ("ask again: no card", {"answer": "no_card"}, "appt_ask_again(%s, 'anna')", True, ("no_card", None, False, True), ["no_card"]),
    ("ask again: nobody knows", {"answer": "unknown"}, "appt_ask_again(%s, 'anna')", False, ("unknown", None, False, False), ["unknown"]),
    ("ask again: it was made", {"answer": "made", "prereg_id": "p1"}, "appt_ask_again(%s, 'anna')", False,
     ("made", "p1", False, False), []),
    ("ask again: not wanted", {"answer": "no_card", "wanted": False}, "appt_ask_again(%s, 'anna')", False,
     ("no_card", None, False, False), []),
]


@pytest.mark.parametrize("columns, verb, does, row, kinds", [row[1:] for row in VERBS], ids=[row[0] for row in VERBS])
def test_verb(db, columns, verb, does, row, kinds):
    appt = window(db, **columns)
    assert db.one("SELECT " + verb, appt) is does
    assert db.rows(f"SELECT {ROW} FROM appts") == [row]
    assert [kind for kind, _ in desk(db)] == kinds
    assert db.rows("SELECT stage, subject, reason FROM attempts") == ([("desk", appt, "by anna")] if does else [])
    assert db.one("SELECT " + verb, NOBODY) is False


# when, the intent's state, its deadline from now, its state after "not made"
INTENTS = [
    ("nobody knows", "unsure", "-1 minute", "released"),
    ("a worker that died", "taken", "-1 minute", "released"),
    ("a try under way", "taken", "1 minute", "taken"),
]


@pytest.mark.parametrize("state, deadline, after", [row[1:] for row in INTENTS], ids=[row[0] for row in INTENTS])
def test_not_made_frees_the_intent(db, state, deadline, after):
    appt, other = window(db, answer="unknown"), window(db, answer="unknown", booking_id="cs_2")
    for work in (appt, other):
        db.rows("INSERT INTO intents (stage, work_id, state, owner, deadline) VALUES ('prereg-create', %s, %s, 'w', now() + %s::interval)",
                work, state, deadline)
    db.rows("SELECT appt_not_made(%s, 'anna')", appt)
    assert dict(db.rows("SELECT work_id, state FROM intents")) == {appt: after, other: state}


def test_ask_again_forgets_who_it_was(db):
    db.rows("INSERT INTO asked_ids (asked_id, primary_id) VALUES ('G1', 'g1'), ('G2', 'g2')")
    db.rows("SELECT appt_ask_again(%s, 'anna')", window(db, answer="unknown_id"))
    assert db.rows("SELECT asked_id FROM asked_ids") == [("G2",)]


# ---- the quota ----

def lease(db, spacing_us, slots):
    return db.rows("SELECT first_in_us, given, paused_us, why FROM quota_lease('alma', 'k', %s, %s)", spacing_us, slots)[0]


def test_quota_is_given_in_a_row(db):
    assert lease(db, 100_000, 2) == (0, 2, 0, None)
    first, given, paused, why = lease(db, 100_000, 1)
    assert 0 < first <= 200_000 and (given, paused, why) == (1, 0, None)
    assert db.rows("SELECT given FROM quota_lease('alma', 'other', 100000, 5)") == [(5,)]  # another key has its own


def test_quota_beyond_a_quarter_of_a_second_is_asked_for_later(db):
    assert lease(db, 100_000, 10)[1] == 10
    first, given, paused, why = lease(db, 100_000, 1)
    assert given == 0 and 300_000 < first <= 800_000 and (paused, why) == (0, None)
    before = db.one("SELECT next_at FROM quotas")
    lease(db, 100_000, 1)
    assert db.one("SELECT next_at FROM quotas") == before  # asking costs nothing


def test_a_slow_vendor_is_leased_one_slot_ahead(db):
    assert lease(db, 3_000_000, 1)[:2] == (0, 1)
    first, given, _, _ = lease(db, 3_000_000, 1)
    assert given == 1 and 2_000_000 < first <= 3_000_000
    assert lease(db, 3_000_000, 1)[1] == 0


def test_slots_nobody_used_are_lost(db):
    lease(db, 100_000, 1)
    db.rows("UPDATE quotas SET next_at = now() - interval '1 hour'")
    assert lease(db, 100_000, 2)[:2] == (0, 2)
    assert db.one("SELECT next_at > clock_timestamp() FROM quotas")


def test_quota_keeps_the_pace(db):
    db.rows("SELECT quota_lease('alma', 'k', 1000, 3) FROM generate_series(1, 40)")
    assert db.one("SELECT next_at <= clock_timestamp() + interval '253 milliseconds' FROM quotas")


def test_quota_pause(db):
    lease(db, 1000, 1)
    db.rows("SELECT quota_pause('alma', 'k', 60000000, 'asked to slow down')")
    first, given, paused, why = lease(db, 1000, 5)
    assert given == 0 and first == paused and 50_000_000 < paused <= 60_000_000 and why == "asked to slow down"
    db.rows("SELECT quota_pause('alma', 'k', 1000000, 'shorter')")
    assert lease(db, 1000, 5)[3] == "asked to slow down"
    db.rows("SELECT quota_pause('alma', 'k', 90000000, 'longer')")
    assert lease(db, 1000, 5)[3] == "longer"
    db.rows("SELECT quota_pause('alma', 'never leased', 1000, 'x')")
    db.rows("UPDATE quotas SET paused_until = 'infinity' WHERE account = 'k'")
    assert lease(db, 1000, 1)[2] == 86_400_000_000
    db.rows("UPDATE quotas SET paused_until = now() - interval '1 second' WHERE account = 'k'")
    assert lease(db, 1000, 1)[1] == 1


# ---- the history ----

@pytest.mark.parametrize("zone, style", [("UTC", "ISO, YMD"), ("Asia/Tokyo", "SQL, DMY"), ("America/New_York", "German"),
                                         ("Australia/Sydney", "Postgres, MDY")])
def test_attempts_go_into_their_month(database, zone, style):
    database.rows("SELECT set_config('timezone', %s, false), set_config('datestyle', %s, false)", zone, style)
    for path in sorted(SQL.glob("*.sql")):
        database.rows(path.read_text())
    database.rows("SET datestyle = 'ISO'")  # which psycopg2 can read
    months = database.rows("SELECT to_char(date_trunc('month', now() AT TIME ZONE 'UTC') + n * interval '1 month', 'YYYY_MM'),"
                           " (date_trunc('month', now() AT TIME ZONE 'UTC') + n * interval '1 month') AT TIME ZONE 'UTC'"
                           " FROM generate_series(-1, 2) AS n")
    for _, at in months:
        database.rows("INSERT INTO attempts (at, stage, subject, work_id, call, verdict, code) VALUES (%s, 's', 'x', 'x', 'c', 'done', 'k')", at)
    assert database.rows("SELECT tableoid::regclass::text, count(*) FROM attempts GROUP BY 1 ORDER BY 1") == (
        [(f"attempts_{name}", 1) for name, _ in months[1:]] + [("attempts_rest", 1)])
    database.rows("SELECT attempts_make_partitions()")


def test_attempts_of_a_month_without_a_partition_are_kept(db):
    last = db.one("SELECT max(c.relname) FROM pg_inherits JOIN pg_class c ON c.oid = inhrelid WHERE c.relname ~ '^attempts_\\d{4}_\\d\\d$'")
    db.rows(f"DROP TABLE {last}")
    db.rows("INSERT INTO attempts (at, stage, subject, work_id, call, verdict, code)"
            " SELECT to_date(right(%s, 7), 'YYYY_MM') + interval '10 days', 's', 'x', 'x', 'c', 'done', 'k'", last)
    db.rows("SELECT attempts_make_partitions()")
    assert db.one("SELECT tableoid::regclass::text FROM attempts") == "attempts_rest"


# ---- purging ----

# when, what is put there (statements), what purge(30) says it deleted
PURGE = [
    ("nothing", [], {}),
    ("a window of long ago", ["INSERT INTO appts (source, location_id, booking_id, asked_id, destination, starts_at, ends_at)"
                              " VALUES ('l', '1', 'b', 'G1', 'd', {-41}, {-40})"], {"appts": 1}),
    ("windows of late", ["INSERT INTO appts (source, location_id, booking_id, asked_id, destination, starts_at, ends_at)"
                         " VALUES ('l', '1', 'b', 'G1', 'd', {-21}, {-20}), ('l', '1', 'b', 'G1', 'd', {20}, {21})"], {}),
    ("bookings", ["INSERT INTO bookings (source, location_id, booking_id, said, ends_at, last_seen) VALUES"
                  " ('l', '1', 'old', '[]', {-40}, {-40}), ('l', '1', 'still there', '[]', {-40}, {0}),"
                  " ('l', '1', 'ahead', '[]', {9}, {-40}), ('l', '1', 'never dated', '[]', NULL, {-40})"], {"bookings": 2}),
    ("people", ["INSERT INTO users (primary_id, checked_at, visitor_at) VALUES ('old', {-40}, {-3}), ('known', {-40}, NULL),"
                " ('late', {-3}, NULL), ('taken over', NULL, {-3}), ('taken over long ago', NULL, {-40}), ('coming', {-40}, NULL),"
                " ('COMING', {-40}, NULL), ('asked', {-40}, NULL)",
                "INSERT INTO asked_ids VALUES ('K', 'known', {-3}), ('O', 'old', {-40}), ('A', 'asked', {-40})",
                "INSERT INTO appts (source, location_id, booking_id, asked_id, primary_id, destination, starts_at, ends_at)"
                " VALUES ('l', '1', 'b', 'COMING', 'coming', 'd', {1}, {2}), ('l', '1', 'b', 'A', NULL, 'd', {1}, {2})"],
     {"asked_ids": 1, "users": 2}),
    ("the desk", ["INSERT INTO desk (kind, subject, reason, visit_at, opened_at, closed_at) VALUES"
                  " ('k', 'closed', 'r', NULL, {-50}, {-40}), ('k', 'closed of late', 'r', {-60}, {-50}, {-3}),"
                  " ('k', 'open, over', 'r', {-40}, {-50}, NULL), ('k', 'open', 'r', {3}, {-50}, NULL),"
                  " ('k', 'open, without a visit', 'r', NULL, {-50}, NULL)"], {"desk": 2}),
    ("intents", ["INSERT INTO appts (appt_id, source, location_id, booking_id, asked_id, destination, starts_at, ends_at)"
                 f" VALUES ('{NOBODY}', 'l', '1', 'b', 'G1', 'd', {{1}}, {{2}})",
                 "INSERT INTO intents (stage, work_id, state, owner, deadline, changed_at) VALUES"
                 " ('s', '1', 'finished', 'w', {-40}, {-40}), ('s', '2', 'finished', 'w', {-3}, {-3}),"
                 " ('s', '3', 'released', 'w', {-40}, {-40}), ('s', '4', 'unsure', 'w', {-40}, {-40}),"
                 f" ('s', '{NOBODY}', 'unsure', 'w', {{-40}}, {{-40}})"], {"intents": 3}),
    ("requests", ["INSERT INTO requests (caller, ref, service, action, patron, asked, state, accepted_at, answered_at) VALUES"
                  " ('c', '1', 'folio', 'renew', 'p', '{}', 'done', {-41}, {-40}), ('c', '2', 'folio', 'renew', 'p', '{}', 'refused', {-41}, {-3}),"
                  " ('c', '3', 'folio', 'renew', 'p', '{}', 'waiting', {-41}, NULL), ('c', '4', 'folio', 'renew', 'p', '{}', 'asks', {-41}, {-40})"],
     {"requests": 2}),
    ("whom OneClick knows", ["INSERT INTO oneclick_patrons (library, card, patron_id, used_at) VALUES ('1931', 'a', '1', {-40}),"
                             " ('1931', 'b', '2', {-3}), ('1931', 'asks', '3', {-40})",
                             "INSERT INTO requests (caller, ref, service, action, patron, asked, state) VALUES"
                             " ('c', '1', 'oneclick', 'loans', 'asks', '{}', 'waiting'), ('c', '2', 'folio', 'account', 'a', '{}', 'waiting')"],
     {"oneclick_patrons": 1}),
    ("what was taken over", ["INSERT INTO taken_over VALUES ('a', 'p', {-40}), ('b', NULL, {-3})"], {"taken_over": 1}),
    ("bookings of erased people", ["INSERT INTO erased_bookings (source, booking_id, salt, asked_sha256, until) VALUES"
                                   " ('l', 'over', '', '', {-1}), ('l', 'ahead', '', '', {1})"], {"erased_bookings": 1}),
    ("pauses", ["INSERT INTO pauses (what, name, who, why, since, ended_at) VALUES ('location', '1', 'w', 'y', {-50}, {-40}),"
                " ('location', '1', 'w', 'y', {-50}, {-3}), ('location', '1', 'w', 'y', {-50}, NULL)"], {"pauses": 1}),
    ("history", ["CREATE TABLE attempts_2020_05 PARTITION OF attempts FOR VALUES FROM ('2020-05-01 00:00+00') TO ('2020-06-01 00:00+00')",
                 "INSERT INTO attempts (at, stage, subject, work_id, call, verdict, code) SELECT at, 's', 'x', 'x', 'c', 'done', 'k'"
                 " FROM unnest(ARRAY['2020-05-01 00:00+00', '2020-05-31 23:59+00', '2020-07-01 00:00+00', now()]::timestamptz[]) AS at"],
     {"attempts": 3}),
    ("how it was", ["INSERT INTO lag_history VALUES ('g', 't', {-40}, 0, 0, 0, 0, 0), ('g', 't', {-3}, 0, 0, 0, 0, 0)"], {"lag_history": 1}),
    ("dead letters", ["INSERT INTO dead_letters (dlq, dlq_partition, dlq_offset, topic, at, code, reason, state, decided_at) VALUES"
                      " ('d', 0, 0, 't', {-50}, 'c', 'r', 'open', NULL), ('d', 0, 1, 't', {-50}, 'c', 'r', 'replaying', {-40}),"
                      " ('d', 0, 2, 't', {-50}, 'c', 'r', 'replayed', {-40}), ('d', 0, 3, 't', {-50}, 'c', 'r', 'discarded', {-3})"], {"dead_letters": 1}),
    ("alerts", ["INSERT INTO alerts (name, subject, summary, since, ended_at) VALUES ('a', 'lasts', 's', {-40}, NULL), ('a', 'b', 's', {-50}, {-40}),"
                " ('a', 'c', 's', {-50}, {-3})"], {"alerts": 1}),
    ("who did what", ["INSERT INTO monitor_log (at, who, verb, about) VALUES ({-40}, 'w', 'v', 'a'), ({-3}, 'w', 'v', 'a')"], {"monitor_log": 1}),
]

# verb, of what, how many then are in which state
DECIDED = [
    ("one", ("discarded", [1], None, None), 1), ("several", ("replaying", [1, 3], None, None), 2), ("all", ("replaying", None, None, None), 6),
    ("a topic", ("discarded", None, "t1", None), 3), ("a reason", ("discarded", None, None, "c1"), 3),
    ("a reason of a topic", ("discarded", None, "t1", "c1"), 1), ("none", ("discarded", [77], None, None), 0),
]


@pytest.mark.parametrize("what, n", [row[1:] for row in DECIDED], ids=[row[0] for row in DECIDED])
def test_dead_letters_are_decided_and_counted(db, what, n):
    db.rows("INSERT INTO dead_letters (dlq, dlq_partition, dlq_offset, topic, at, code, reason, subject)"
            " SELECT 'd', 0, i, 't' || i % 2, now(), 'c' || i % 3 % 2, 'r', 's' || i FROM generate_series(1, 6) AS i")
    topics = dict(db.rows("SELECT 't' || i % 2, count(*) FROM generate_series(1, 6) AS i GROUP BY 1"))
    assert dict(db.rows("SELECT topic, sum(n)::int FROM dead_letter_counts GROUP BY 1")) == topics
    matching = "SELECT count(*) FROM dead_letters WHERE (%s::bigint[] IS NULL OR dead_letter_id = ANY (%s)) AND (%s IS NULL OR topic = %s) AND (%s IS NULL OR code = %s)"
    n = db.one(matching, what[1], what[1], what[2], what[2], what[3], what[3]) if what[1:] != (None, None, None) else n
    assert db.one("SELECT dead_letters_decide(%s, %s, %s, %s, NULL, 'ada', 'why')", *what) == n
    assert db.one("SELECT count(*) FROM dead_letters WHERE state = %s AND decided_by = 'ada' AND why = 'why'", what[0]) == n
    assert (db.one("SELECT coalesce(sum(n), 0)::int FROM dead_letter_counts"), db.one("SELECT count(*) FROM dead_letters WHERE state = 'open'")) == (6 - n, 6 - n)
    assert db.one("SELECT dead_letters_decide(%s, %s, %s, %s, NULL, 'ben', 'why')", *what) == 0, "what is decided stays so"
    assert db.one("SELECT count(*) FROM attempts WHERE call IN ('discard', 'replay')") == (n if what[1] else 0)
    db.rows("DELETE FROM dead_letters")
    assert db.one("SELECT sum(n)::int FROM dead_letter_counts") == 0


REFUSED = [("no card", {"answer": "no_card"}, True), ("not answered", {}, True), ("made", {"answer": "made", "prereg_id": "1"}, False),
           ("unknown", {"answer": "unknown"}, False), ("not wanted", {"wanted": False}, False), ("over", {"over": True}, False)]


@pytest.mark.parametrize("columns, refused", [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
def test_a_person_is_refused(db, columns, refused):
    over = columns.get("over")
    it = window(db, booking_id="cs_2", **{k: v for k, v in columns.items() if k != "over"})
    if over:
        change(db, it, starts_at=db.one("SELECT now() - interval '2 hours'"), ends_at=db.one("SELECT now() - interval '1 hour'"))
    other = window(db, asked_id="G2", answer="no_card")
    asked = window(db, booking_id="cs_3", answer="expired", retry_at=db.one("SELECT now()"))
    assert db.one("SELECT appt_refuse(%s, 'ada', 'no')", asked) == 1 + refused
    assert db.one("SELECT answer FROM appts WHERE appt_id = %s", asked) == "refused_by_desk"
    assert db.one("SELECT retry_at FROM appts WHERE appt_id = %s", asked) is None
    assert (db.one("SELECT answer FROM appts WHERE appt_id = %s", it) == "refused_by_desk") == refused
    assert db.one("SELECT answer FROM appts WHERE appt_id = %s", other) == "no_card"
    assert not [kind for kind, _ in desk(db) if kind in ("refused_by_desk", "expired")]
    assert db.one("SELECT appt_refuse(%s, 'ada')", asked) == 0
    assert db.one("SELECT appt_ask_again(%s, 'ada')", asked)
    assert db.one("SELECT answer IS NULL AND retry_at IS NOT NULL FROM appts WHERE appt_id = %s", asked)



@pytest.mark.parametrize("there, deleted", [row[1:] for row in PURGE], ids=[row[0] for row in PURGE])
def test_purge(db, there, deleted):
    tables = ["appts", "bookings", "asked_ids", "users", "requests", "oneclick_patrons", "desk", "intents", "taken_over", "attempts",
              "lag_history", "dead_letters", "alerts", "monitor_log", "erased_bookings", "pauses"]
    for statement in there:
        for days in range(-60, 61):
            statement = statement.replace(f"{{{days}}}", f"now() + {days} * interval '1 day'")
        db.rows(statement)
    before = {table: db.one(f"SELECT count(*) FROM {table}") for table in tables}
    assert db.rows("SELECT * FROM purge(30)") == [(table, deleted.get(table, 0)) for table in tables]
    assert {table: db.one(f"SELECT count(*) FROM {table}") for table in tables} == (
        {table: before[table] - deleted.get(table, 0) for table in tables})
    assert db.rows("SELECT * FROM purge(30)") == [(table, 0) for table in tables]


def test_purge_closes_what_is_over(db):
    appt = window(db, answer="no_card")
    change(db, appt, starts_at=db.one("SELECT now() - interval '2 hours'"), ends_at=db.one("SELECT now() - interval '1 hour'"))
    assert [kind for kind, _ in desk(db)] == ["no_card"]
    db.rows("SELECT purge(30)")
    assert db.rows("SELECT closed_by, note FROM desk") == [("shelfwire", "the visit is over")]


def test_purge_is_quick_with_many_people(db):
    db.rows("INSERT INTO users (primary_id, checked_at) SELECT 'G' || n, now() - interval '1 year' FROM generate_series(1, 40000) n")
    db.rows("INSERT INTO appts (source, location_id, booking_id, asked_id, primary_id, destination, starts_at, ends_at)"
            " SELECT 'l', '1', 'b' || n, 'G' || n, 'G' || n, 'd', now(), now() + interval '1 hour' FROM generate_series(20001, 60000) n")
    db.rows("SET statement_timeout = '20s'")
    assert dict(db.rows("SELECT * FROM purge(30)"))["users"] == 20000


# ---- the catalog ----

def title(db, isbn, **columns):
    columns = {"isbn": isbn, "owned": True, "owned_as_of": "2026-11-20 10:00Z", **columns}
    db.rows(f"INSERT INTO titles ({', '.join(columns)}) VALUES ({', '.join(['%s'] * len(columns))})", *columns.values())


def mark(db, **marks):
    for name, value in marks.items():
        db.rows("INSERT INTO producer_marks (producer, mark, value) VALUES ('oneclick-catalog', %s, %s)", name.replace("_", " "), value)


ARRIVED = [
    ("never imported", {}, 0, None),
    ("nothing was in it", {"import_as_of": "2026-11-20T10:00:00Z", "import_titles": "0"}, 0, True),
    ("nothing has come", {"import_as_of": "2026-11-20T10:00:00Z", "import_titles": "200"}, 0, False),
    ("one in a hundred is late", {"import_as_of": "2026-11-20T10:00:00Z", "import_titles": "200"}, 198, True),
    ("two in a hundred are late", {"import_as_of": "2026-11-20T10:00:00Z", "import_titles": "200"}, 196, False),
    ("they are of an earlier import", {"import_as_of": "2026-11-20T10:00:01Z", "import_titles": "200"}, 200, False),
]


@pytest.mark.parametrize("marks, count, arrived", [row[1:] for row in ARRIVED], ids=[row[0] for row in ARRIVED])
def test_catalog_arrived(db, marks, count, arrived):
    mark(db, **marks)
    for i in range(count):
        title(db, f"978{i:010d}")
    assert db.one("SELECT catalog_arrived()") is arrived


def test_catalog_again(db):
    """What was sent and never read: compared again, read again, said."""
    today = db.one("SELECT current_date")
    mark(db, import_as_of=f"{today}T00:00:00Z", import_titles="1000", delta_day=f"{today}")
    title(db, "9780000000001", available=True, available_as_of="2026-11-20 10:00Z", sent_available=False, sent_available_as_of="2026-11-21 10:00Z")
    title(db, "9780000000002", available=True, available_as_of="2026-11-22 10:00Z", sent_available=True, sent_available_as_of="2026-11-21 10:00Z")
    assert [row[0] for row in db.rows("SELECT catalog_again()")] == ["availability", "deltas", "import"]
    assert db.rows("SELECT isbn, sent_available FROM titles ORDER BY 1") == [("9780000000001", None), ("9780000000002", True)]
    assert db.one("SELECT value FROM producer_marks WHERE mark = 'delta day'") == str(today - datetime.timedelta(days=1))
    assert [kind for kind, _ in desk(db)] == ["import_needed"]
    db.rows("UPDATE producer_marks SET value = '2026-01-01T00:00:00Z' WHERE mark = 'import as of'")
    db.rows("UPDATE producer_marks SET value = '2' WHERE mark = 'import titles'")
    assert [row[0] for row in db.rows("SELECT catalog_again()")] == ["deltas"]
    oldest = str(today - datetime.timedelta(days=179))  # OneClick keeps no more
    assert db.one("SELECT value FROM producer_marks WHERE mark = 'delta day'") == max("2025-12-31", oldest)
    assert db.rows("SELECT catalog_again()") == []


def test_a_title_that_is_not_owned_is_not_available(db):
    with pytest.raises(psycopg2.errors.CheckViolation):
        title(db, "9780000000001", owned=False, available=True)


# ---- what patrons ask for ----

def request(db, **columns):
    columns = {"caller": "c", "ref": "1", "service": "folio", "action": "renew", "patron": "p", "asked": "{}", **columns}
    return db.one(f"INSERT INTO requests ({', '.join(columns)}) VALUES ({', '.join(['%s'] * len(columns))}) RETURNING request_id::text",
                  *columns.values())


def test_what_follows_from_a_requests_state(db):
    plain, called = request(db), request(db, ref="2", callback_url="https://caller.example/done")
    db.rows("UPDATE requests SET state = 'waiting'")
    assert db.rows("SELECT callback_at FROM requests WHERE callback_at IS NOT NULL") == []
    db.rows("UPDATE requests SET state = 'set_aside', code = 'tries_exhausted'")
    assert db.one("SELECT array_agg(request_id::text) FROM requests WHERE callback_at IS NOT NULL") == [called]
    assert desk(db) == [("request_set_aside", "folio renew: tries_exhausted")] * 2
    assert db.one("SELECT request_again(%s, 'the desk')", plain) is True
    assert db.one("SELECT request_again(%s, 'the desk')", plain) is False
    assert db.rows("SELECT state, sent_at FROM requests WHERE request_id = %s", plain) == [("accepted", None)]
    assert db.rows("SELECT subject FROM desk WHERE closed_at IS NULL") == [(called,)]


def test_a_callers_ref_is_one_request(db):
    request(db)
    with pytest.raises(psycopg2.errors.UniqueViolation):
        request(db)


# ---- a database from yesterday ----

def noticed(db):
    """(by whom, why) of what nobody has said yet."""
    return db.rows("SELECT noticed_by, why FROM restores WHERE said_at IS NULL")


def notice(db, program="prereg-create", why="w", seen=None):
    db.rows("SELECT restore_noticed(%s, %s, %s::timestamptz)", program, why, seen)


def test_a_restore_is_noticed_once_and_said_once(db):
    db.rows("INSERT INTO partition_owners (topic, partition, epoch, owner) VALUES ('t', 0, 3, 'o')")
    notice(db)
    notice(db, "users-resolve", "another why")
    assert noticed(db) == [("prereg-create", "w")]
    ((kind, reason),) = desk(db)
    assert kind == "restored" and "w; nothing is done until" in reason
    assert db.one("SELECT database_restored('the desk')") is True
    assert noticed(db) == [] and desk(db) == []
    assert db.rows("SELECT said_by FROM restores") == [("the desk",)]
    assert db.rows("SELECT closed_by FROM desk") == [("the desk",)]
    assert db.one("SELECT epoch FROM partition_owners") > 1000, "an epoch of the forgotten time is never current again"


def test_who_notices_late_looks_again(db):
    """A person has spoken between a program's look and its notice."""
    notice(db)
    db.rows("SELECT database_restored('the desk')")
    notice(db, seen=None)
    assert noticed(db) == [] and desk(db) == []
    said = db.one("SELECT max(said_at)::text FROM restores")
    notice(db, "users-resolve", "again", said)
    assert noticed(db) == [("users-resolve", "again")] and len(desk(db)) == 1


def test_it_may_be_said_before_anybody_notices(db):
    assert db.one("SELECT database_restored('the desk')") is True
    assert db.one("SELECT database_restored('the desk')") is True
    assert db.one("SELECT count(*) FROM restores WHERE said_by = 'the desk' AND noticed_at IS NULL") == 2


WORKED = [
    ("a new database", None, 0),
    ("a worker has taken a partition", "INSERT INTO partition_owners (topic, partition, epoch, owner) VALUES ('t', 0, 1, 'o')", 8),
    ("a call was made", "INSERT INTO attempts (stage, subject, work_id, call, verdict, code) VALUES ('s', 's', 'w', 'c', 'done', 'd')", 8),
    ("there is a catalog", "INSERT INTO titles (isbn, owned, owned_as_of) VALUES ('9780000000001', true, now())", 8),
]


@pytest.mark.parametrize("work, stages", [row[1:] for row in WORKED], ids=[row[0] for row in WORKED])
def test_stages_that_worked_before_anything_was_noted(database, work, stages):
    """Their groups are ahead of `progress` when the schema is upgraded, and that is no restore."""
    for path in sorted(SQL.glob("*.sql")):
        if path.name == "006_progress.sql" and work:
            database.rows(work)
        database.rows(path.read_text())
    assert database.one("SELECT count(*) FROM progress_before") == stages
    workers = {path.stem for path in (SQL.parents[1] / "workers").glob("*.c")}
    assert {s for s, in database.rows("SELECT stage FROM progress_before")} == (workers if work else set())


# ---- pauses ----

def test_a_pause_begins_once_and_ends_once(db):
    assert db.one("SELECT pause('stage', 'prereg-create', 'anna', 'the gate is serviced')") is True
    assert db.one("SELECT pause('stage', 'prereg-create', 'bert', 'again')") is False
    assert db.one("SELECT pause('location', '1234', 'bert', '')") is True
    assert db.one("SELECT resume('stage', '1234', 'anna')") is False  # that is a location
    assert db.one("SELECT resume('stage', 'prereg-create', 'carl')") is True
    assert db.one("SELECT resume('stage', 'prereg-create', 'carl')") is False
    assert db.one("SELECT pause('stage', 'prereg-create', 'dora', 'once more')") is True
    assert db.rows("SELECT what, name, who, why, ended_at IS NULL, ended_by FROM pauses ORDER BY pause_id") == [
        ("stage", "prereg-create", "anna", "the gate is serviced", False, "carl"), ("location", "1234", "bert", "", True, None),
        ("stage", "prereg-create", "dora", "once more", True, None)]
    assert db.rows("SELECT who, verb, about, note FROM monitor_log ORDER BY at") == [
        ("anna", "pause", "stage prereg-create", "the gate is serviced"), ("bert", "pause", "location 1234", None),
        ("carl", "resume", "stage prereg-create", None), ("dora", "pause", "stage prereg-create", "once more")]


def test_what_can_be_paused(db):
    for worker in (SQL.parents[1] / "workers").glob("*.c"):
        assert db.one("SELECT pause('stage', %s, 'anna', 'w')", worker.stem) is True
    for kind, name in [("stage", "prereg_create"), ("stage", "libcal-bookings"), ("place", "1234"), ("location", "")]:
        with pytest.raises((psycopg2.errors.RaiseException, psycopg2.errors.CheckViolation)):
            db.rows("SELECT pause(%s, %s, 'anna', 'w')", kind, name)


# ---- what the tables refuse ----

@pytest.mark.parametrize("statement", [
    "INSERT INTO appts (source, location_id, booking_id, asked_id, destination, starts_at, ends_at) VALUES ('l', '1', 'b', 'G', 'd', now(), now())",
    "INSERT INTO intents (stage, work_id, state, owner, deadline) VALUES ('s', 'w', 'lost', 'o', now())",
])
def test_refused(db, statement):
    with pytest.raises(psycopg2.errors.CheckViolation):
        db.rows(statement)

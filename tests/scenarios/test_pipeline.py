"""The three workers together: from bookings.new to the gate."""
import collections

from shelfwire import TOPICS, assert_valid, wait_for


def test_every_window_becomes_one_pre_registration_in_order(world):
    windows = world.make_windows(200, 150)
    world.start_all(CONCURRENCY=20)
    world.await_made(200)
    world.await_no_lag()
    world.assert_exactly_once()
    world.assert_in_order()
    world.assert_no_dead_letters()
    assert world.desk() == []

    # what was written between them: valid, keyed by the primary id, and one trace a booking
    traces = {w.appt_id: w.trace_id for w in windows}
    for topic in TOPICS:
        messages = world.read_topic(topic)
        assert collections.Counter(m.json()["appt_id"] for m in messages) == collections.Counter(list(traces))
        for m in messages:
            assert_valid(topic, m)
            body = m.json()
            assert m.key.decode() == body["asked_id" if topic == "bookings.new" else "primary_id"]
            assert m.headers["traceparent"].decode().split("-")[1] == traces[body["appt_id"]]
            assert m.headers["ce_type"].decode() == f"shelfwire.{topic}"
            assert {"ce_id", "ce_source", "ce_time", "ce_specversion", "content-type"} <= set(m.headers)
    calls = world.db.rows("SELECT subject, array_agg(DISTINCT trace_id) FROM attempts GROUP BY subject")
    assert all(found == [traces[subject]] for subject, found in calls)


def test_a_second_delivery_of_everything_changes_nothing(world):
    windows = world.make_windows(60, 30)
    world.start_all()
    world.await_made(60)
    before = {call: world.sandbox.count("passagepoint", call) for call in ("createVisitor", "createPreReg")}
    rows = world.db.rows("SELECT * FROM appts ORDER BY appt_id")
    for topic in TOPICS:
        world.send(topic, windows)
    world.await_no_lag()
    assert {call: world.sandbox.count("passagepoint", call) for call in before} == before
    assert world.db.rows("SELECT * FROM appts ORDER BY appt_id") == rows
    world.assert_exactly_once()


def test_order_holds_for_a_key_though_calls_overlap(world):
    """Five people with forty windows each, and answers that take their time at random: never two of one person at once."""
    world.sandbox.settings(passagepoint={"latency_ms": 5, "jitter_ms": 20})
    world.make_windows(200, 5, topic="prereg.create")
    world.start("prereg-create", CONCURRENCY=20)
    world.await_made(200)
    world.assert_exactly_once()
    world.assert_in_order()
    assert world.sandbox.count("passagepoint", "createPreReg", "max_in_flight") > 1
    ended = {}
    for c in sorted(world.sandbox.calls("passagepoint", "createPreReg"), key=lambda c: c["at"]):
        assert c["at"] >= ended.get(c["key"], 0) - 0.002, "two calls for one person at once"
        ended[c["key"]] = c["at"] + c["ms"] / 1000
    assert len(ended) == 5


def test_topics_are_made_by_whoever_needs_them_first(world):
    assert world.topics() == set()
    world.start_all(make_topics=False, TOPIC_PARTITIONS=3)
    wanted = {t + end for t in TOPICS for end in ("", ".dlq")}
    wait_for(lambda: world.topics() == wanted, lambda: f"{world.topics()}")  # a broker lists a topic a moment after it was made
    listed = world.servers.admin.list_topics(timeout=20).topics
    assert {len(listed[world.topic(t)].partitions) for t in TOPICS} == {3}


def test_what_nobody_wants_any_more_is_not_made(world):
    windows = world.make_windows(30, send=False)
    cancelled, past, gone, rest = windows[:5], windows[5:10], windows[10:15], windows[15:]
    world.db.rows("UPDATE appts SET wanted = false WHERE appt_id = ANY (%s::uuid[])", [w.appt_id for w in cancelled])
    world.db.rows("UPDATE appts SET starts_at = now() - interval '2 h', ends_at = now() - interval '1 h'"
                  " WHERE appt_id = ANY (%s::uuid[])", [w.appt_id for w in past])
    world.db.rows("DELETE FROM appts WHERE appt_id = ANY (%s::uuid[])", [w.appt_id for w in gone])
    world.start_all()
    for topic in TOPICS:
        world.send(topic, windows if topic == "bookings.new" else cancelled + past + gone)
    world.await_made(len(rest))
    world.await_no_lag()
    world.assert_exactly_once(rest)
    world.assert_no_dead_letters()
    assert world.answers() == {"made": 15, "-": 10}
    assert world.sandbox.count("alma", "user") == 15

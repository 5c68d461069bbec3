"""monitor: what it shows is so, what it is told is done, and nobody else may look."""
import dataclasses
import json
import re
import time

import pytest
import requests
from confluent_kafka import Producer
from confluent_kafka.admin import NewTopic
from shelfwire import STAGES, wait_for

HOSTILE = "<script>alert(1)</script>\"'&\u202e"


class Page:
    """monitor's page, as a browser without JavaScript sees it."""

    def __init__(self, world, programs=(), **changed):
        self.world = world
        listed = ",".join(p.url.removeprefix("http://") for p in programs)
        self.program = world.begin("monitor", MONITOR_PORT=0, MONITOR_PROGRAMS=listed or None, **changed)
        wait_for(lambda: "the page is at" in self.program.log() or not self.program.running(), lambda: self.program.tail())
        self.url = re.search(r"the page is at (http://\S+)", self.program.log())[1]
        self.http = requests.Session()

    def get(self, path, **changed):
        return self.http.get(self.url + path, timeout=20, **changed)

    def html(self, path):
        answer = self.get(path)
        assert answer.status_code == 200, answer.text
        return answer.text

    def json(self, path, **query):
        answer = self.get(path, params=query)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def token(self):
        return re.search(r'name=token value="(\w+)"', self.html("/"))[1]

    def do(self, verb, who="Ada", token=None, **fields):
        return self.http.post(f"{self.url}/do/{verb}", data={"token": token or self.token(), "who": who, **fields}, timeout=30, allow_redirects=False)

    def stages(self):
        return {s["program"]: s for s in self.json("/overview.json")["stages"]}


def said(answer):
    """What a verb came to: in the address it leads back to."""
    assert answer.status_code == 303, answer.text
    return requests.utils.unquote(answer.headers["Location"].split("said=")[1])


def test_lag_is_what_kafka_says_and_a_dead_stage_is_named(world):
    world.make_windows(50)
    worker = world.start("bookings-new", CONCURRENCY=4)
    world.await_no_lag("bookings-new")
    world.make_topics("users.resolve.dlq", "prereg.create", "prereg.create.dlq")
    page = Page(world, [worker])
    wait_for(lambda: page.stages().get("users-resolve", {}).get("lag") == 50, lambda: f"{page.stages()}", 40)
    seen = page.stages()
    assert seen["bookings-new"]["lag"] == 0 and seen["bookings-new"]["workers"] == 1
    assert seen["users-resolve"]["workers"] == 0 and "no worker answers" in seen["users-resolve"]["advice"]
    html = page.html("/")
    assert "users.resolve" in html and "start one" in html and "Alma" in html
    wait_for(lambda: page.stages()["users-resolve"]["oldest_seconds"], "the age of the oldest is not known")
    assert 0 < page.stages()["users-resolve"]["oldest_seconds"] < 600
    # the names that dashboards read
    metrics = page.program.metrics()
    assert sum(v for k, v in metrics["kafka_consumergroup_lag"].items() if "users-resolve" in k) == 50
    assert sum(v for k, v in metrics["kafka_topic_partition_current_offset"].items() if "users.resolve" in k) == 50
    assert metrics["shelfwire_workers_alive"]['program="bookings-new"'] == 1
    page.program.stop()


def test_a_vendor_that_waits_is_said_and_more_workers_are_not_advised(world):
    world.make_windows(30)
    world.sandbox.fault("alma", "user", "status", status=503, retry_after=120)
    worker = world.start("bookings-new")
    page = Page(world, [worker])
    wait_for(lambda: page.stages().get("bookings-new", {}).get("waits_for"), lambda: f"{page.stages()}", 40)
    stage = page.stages()["bookings-new"]
    assert stage["more_workers"] == 0 and "would not help" in stage["advice"], stage


def test_the_desk_and_its_verbs(world):
    windows = world.make_windows(4, send=False)
    for window, answer in zip(windows, ("unknown", "unknown", "no_card", "expired")):
        world.db.rows("UPDATE appts SET answer = %s, reason = %s WHERE appt_id = %s", answer, HOSTILE, window.appt_id)
    page = Page(world)
    desk = page.json("/desk.json")["desk"]
    assert sorted(row["kind"] for row in desk) == ["expired", "no_card", "unknown", "unknown"]
    html = page.html("/desk")
    assert "<script>alert" not in html and "&lt;script&gt;alert(1)" in html and "\u202e" not in html

    assert said(page.do("made", appt_id=windows[0].appt_id, prereg_id="4711")) == "it stands as made"
    assert world.appt(windows[0])["answer"] == "made" and world.appt(windows[0])["prereg_id"] == "4711"
    assert "nothing to do" in said(page.do("made", appt_id=windows[0].appt_id, prereg_id="4712"))
    assert said(page.do("not-made", appt_id=windows[1].appt_id)) == "it is made now"
    assert world.appt(windows[1])["answer"] is None
    assert said(page.do("refuse", appt_id=windows[2].appt_id, note="no")) == "1 the person's windows are refused"
    assert world.appt(windows[2])["answer"] == "refused_by_desk"
    assert said(page.do("ask-again", appt_id=windows[3].appt_id)) == "it is asked for again now"
    left = page.json("/desk.json")["desk"]
    assert [row["kind"] for row in left] == ["expired"]
    assert said(page.do("done", desk_id=left[0]["desk_id"], note=HOSTILE)) == "it is off the list"
    assert page.json("/desk.json")["desk"] == []
    assert "Nothing wants a person" in page.html("/desk")
    log = page.json("/log.json")["log"]
    assert {row["verb"] for row in log} == {"made", "not-made", "refuse", "ask-again", "done"} and {row["who"] for row in log} == {"Ada"}
    assert "<script>" not in page.html("/log").replace("<script src=/page.js", "")

    for verb, fields, status, words in [
            ("made", {"appt_id": "x", "prereg_id": "1"}, 400, "appt_id"), ("made", {"appt_id": windows[0].appt_id}, 400, "prereg_id is missing"),
            ("done", {"desk_id": "1; DROP TABLE desk"}, 400, "desk_id"), ("sing", {}, 404, "no such verb"),
            ("done", {"desk_id": "1", "who": ""}, 400, "your name is missing")]:
        page.http.cookies.clear()
        answer = page.do(verb, **{"who": "Ada", **fields})
        assert answer.status_code == status and words in answer.text, (verb, answer.status_code, answer.text)
    # where a form leads back to is a path of ours, whatever it says
    for back in ("https://evil.example/", "//evil.example", "/\\evil.example", "/x\r\nSet-Cookie: a=b"):
        assert page.do("done", desk_id="1", back=back).headers["Location"].startswith("/desk?said=")


def test_a_refused_person_is_not_called_for_and_may_be_asked_again(world):
    windows = world.make_windows(2, 2, send=False)
    page = Page(world)
    page.do("refuse", appt_id=windows[0].appt_id)
    world.send("bookings.new", windows)
    world.start_all()
    world.await_made(1)
    world.await_no_lag()
    assert [p["visitorId"] for p in world.sandbox.preregs()] and world.appt(windows[0])["prereg_id"] is None
    page.do("ask-again", appt_id=windows[0].appt_id)
    assert world.appt(windows[0])["answer"] is None
    world.send("bookings.new", [windows[0]])
    world.await_made(2)


def test_the_timeline_tells_a_booking_from_its_row_to_the_gate(world):
    windows = world.make_windows(2)
    world.start_all()
    world.await_made(2)
    page = Page(world)
    w = windows[0]
    for q in (w.booking_id, w.appt_id, w.trace_id, w.person.primary_id, w.person.barcode, w.person.email):
        events = page.json("/find.json", q=q)["events"]
        assert {"wanted", "sent to Kafka", "users-resolve: createVisitor", "prereg-create: createPreReg"} <= {e["what"] for e in events}, (q, events)
        assert {e["subject"] for e in events} == {w.appt_id}
    assert "made: " in page.html(f"/find?q={w.booking_id}")
    assert "Nothing is known" in page.html("/find?q=nobody")
    assert page.html(f"/find?q={HOSTILE}").count("<script") == 1
    assert world.db.one("SELECT count(*) FROM monitor_log WHERE verb = 'find' AND about = %s", w.booking_id) == 2


def test_no_timeline_reads_a_whole_table(world):
    windows = world.make_windows(3, send=False)
    world.db.rows("INSERT INTO attempts (stage, subject, work_id, call, verdict, code) SELECT 's', gen_random_uuid()::text, 'w', 'c', 'done', 'k'"
                  " FROM generate_series(1, 20000)")
    world.db.rows("INSERT INTO desk (kind, subject, reason) SELECT 'k', gen_random_uuid()::text, 'r' FROM generate_series(1, 20000)")
    world.db.rows("INSERT INTO dead_letters (dlq, dlq_partition, dlq_offset, topic, at, code, reason, subject)"
                  " SELECT 'd', 0, n, 't', now(), 'c', 'r', gen_random_uuid()::text FROM generate_series(1, 20000) AS n")
    world.db.rows("ANALYZE")
    world.db.insert("INSERT INTO attempts (stage, subject, work_id, call, verdict, code) VALUES %s",
                    [("prereg-create", windows[0].appt_id, "w", "createPreReg", "done", "made")])
    page = Page(world)

    def scans(kind):
        return dict(world.db.rows(f"SELECT relname, {kind} FROM pg_stat_user_tables WHERE n_live_tup >= 20000"))
    wait_for(lambda: len(scans("seq_scan")) == 3, lambda: f"{scans('seq_scan')}")
    whole, by_index = scans("seq_scan"), scans("idx_scan")
    for q in (windows[0].booking_id, windows[1].appt_id, windows[2].trace_id, "9781615730186"):
        page.json("/find.json", q=q)
    assert "prereg-create: createPreReg" in {e["what"] for e in page.json("/find.json", q=windows[0].booking_id)["events"]}
    page.program.stop()  # what it has counted is written when it ends
    wait_for(lambda: all(scans("idx_scan")[t] > by_index[t] for t in whole), lambda: f"not by an index: {scans('idx_scan')}, before {by_index}")
    now = scans("seq_scan")
    # the desk's open rows are counted each minute, whatever is looked for
    assert {t: now[t] for t in whole if t != "desk"} == {t: whole[t] for t in whole if t != "desk"}


@pytest.fixture
def set_aside(world):
    """Sixty unreadable messages in the dead letters of bookings.new; two of them hostile."""
    world.make_topics("bookings.new", "bookings.new.dlq", "users.resolve")
    for i in range(58):
        world.produce_raw("bookings.new", f"G{i:08d}", "{" * (i + 1))
    world.produce_raw("bookings.new", HOSTILE, HOSTILE)
    world.produce_raw("bookings.new", b"\xff\x00", None)
    worker = world.start("bookings-new")
    world.await_no_lag("bookings-new")
    worker.stop()
    assert len(world.dead_letters("bookings.new")) == 60
    return world


def test_dead_letters_are_shown_replayed_and_discarded(set_aside):
    world = set_aside
    page = Page(world, REPLAY_PER_SECOND=100)
    wait_for(lambda: world.db.one("SELECT count(*) FROM dead_letters") == 60, "the dead letters are not read", 40)
    listed = page.json("/dead-letters.json")["dead_letters"]
    assert len(listed) == 50 and {d["topic"] for d in listed} == {world.topic("bookings.new")}
    older = page.json("/dead-letters.json", before=listed[-1]["id"])["dead_letters"]
    assert len(older) == 10 and not {d["id"] for d in listed} & {d["id"] for d in older}
    assert "Older ones" in page.html("/dead-letters")
    hostile = world.db.one("SELECT dead_letter_id FROM dead_letters WHERE value = %s", HOSTILE.encode())
    html = page.html(f"/dead-letters/{hostile}")
    assert "<script>alert" not in html and "&lt;script&gt;alert(1)" in html
    assert "\\xff\\x00" in page.html("/dead-letters/%d" % world.db.one("SELECT dead_letter_id FROM dead_letters WHERE value IS NULL"))

    # first a question, which does nothing; then one, several, and all that match
    asked = page.do("replay", id=listed[0]["id"])
    assert asked.status_code == 200 and "<b>1</b> dead letters" in asked.text
    assert world.db.one("SELECT count(*) FROM dead_letters WHERE state <> 'open'") == 0
    assert page.do("replay").status_code == 400
    before = world.written("bookings.new")
    assert said(page.do("replay", id=listed[0]["id"], sure=1, why="mended")) == "1 are sent again"
    wait_for(lambda: world.written("bookings.new") - before == 1, "it is not sent again")
    assert said(page.do("discard", id=[d["id"] for d in listed[1:4]], sure=1, why="never")) == "3 are discarded"
    everything = page.do("replay", all=1, topic=world.topic("bookings.new"), code="unreadable", sure=1, why="again")
    assert int(said(everything).split()[0]) == world.db.one("SELECT count(*) FROM dead_letters WHERE why = 'again'")
    wait_for(lambda: world.db.one("SELECT count(*) FROM dead_letters WHERE state IN ('open', 'replaying')") ==
             world.db.one("SELECT count(*) FROM dead_letters WHERE state = 'open'"), "they are not all sent again")
    replayed = world.db.one("SELECT count(*) FROM dead_letters WHERE state = 'replayed'")
    assert world.written("bookings.new") - before == replayed
    sent = {(m.key, m.value) for m in world.read_topic("bookings.new")}
    assert (HOSTILE.encode(), HOSTILE.encode()) in sent and len(sent) == 60, "what is sent again is as it was"
    # what was replayed and fails again is a dead letter again, and not the old one
    world.start("bookings-new")
    wait_for(lambda: world.db.one("SELECT count(*) FROM dead_letters") == 60 + replayed, "the new dead letters are not read", 40)
    counted = dict(world.db.rows("SELECT code, sum(n)::int FROM dead_letter_counts WHERE n > 0 GROUP BY code"))
    assert counted == dict(world.db.rows("SELECT code, count(*)::int FROM dead_letters WHERE state = 'open' GROUP BY code"))
    assert "Discard all" in page.html("/dead-letters") and "mended" in page.html("/dead-letters?state=decided")


def test_a_replay_is_not_lost_or_repeated_when_monitor_is_killed(set_aside):
    world = set_aside
    page = Page(world, REPLAY_PER_SECOND=10)
    wait_for(lambda: world.db.one("SELECT count(*) FROM dead_letters") == 60, "the dead letters are not read", 40)
    before = world.written("bookings.new")
    page.do("replay", all=1, sure=1, why="again")
    wait_for(lambda: 10 <= world.db.one("SELECT count(*) FROM dead_letters WHERE state = 'replayed'") < 50, "nothing is sent again", 20, 0.05)
    page.program.kill9()
    Page(world, REPLAY_PER_SECOND=100)
    wait_for(lambda: world.db.one("SELECT count(*) FROM dead_letters WHERE state = 'replayed'") == 60, "they are not all sent again", 40)
    assert 60 <= world.written("bookings.new") - before <= 80, "but what was under way at the kill"
    assert world.db.one("SELECT count(*) FROM dead_letters") == 60


def test_a_dead_letter_that_stands_there_twice_is_shown_once(set_aside):
    """A worker that dies between the dead letter and the offset brings it again."""
    world = set_aside
    dlq = world.topic("bookings.new.dlq")
    letters = world.dead_letters("bookings.new")

    def again(letters):
        for m in letters:
            world.servers.producer.produce(dlq, m.value, m.key, headers=list(m.headers.items()))
        world.servers.producer.flush(30)
    again(letters[:3])
    page = Page(world)
    rows = "SELECT count(*) FROM dead_letters WHERE state = %s"
    wait_for(lambda: world.db.one("SELECT count(*) FROM dead_letters") == 63, "the dead letters are not read", 40)
    assert world.db.one(rows, "open") == 60 and world.db.one("SELECT sum(n) FROM dead_letter_counts") == 60
    again(letters[:5])  # later, when the first ones have long been read
    wait_for(lambda: world.db.one("SELECT count(*) FROM dead_letters") == 68, "the dead letters are not read", 40)
    assert world.db.one(rows, "open") == 60 and world.db.one(rows, "discarded") == 8
    assert page.html("/dead-letters?state=decided").count("it came before") == 8
    again([dataclasses.replace(letters[0], headers={})])  # nobody says where it was
    wait_for(lambda: world.db.one(rows, "open") == 61, "it is not read", 40)


def test_a_dead_letter_larger_than_is_kept_is_named_and_left_in_kafka(world):
    dlq = world.topic("bookings.new.dlq")
    made = world.servers.admin.create_topics([NewTopic(dlq, 1, 1, config={"max.message.bytes": "8388608"})])
    made[dlq].result(20)
    producer = Producer({"bootstrap.servers": world.servers.bootstrap, "message.max.bytes": 8000000})
    for size in (10, 5 << 20, 4 << 20, 20):
        producer.produce(dlq, b"x" * size)
    producer.flush(30)
    Page(world)
    wait_for(lambda: world.db.one("SELECT count(*) FROM dead_letters") == 4, "they are not all read", 60)
    assert world.db.rows("SELECT octet_length(value), state, decided_by FROM dead_letters ORDER BY dlq_offset") == [
        (10, "open", None), (None, "discarded", "monitor"), (4 << 20, "open", None), (20, "open", None)]


def test_a_stage_is_paused_and_resumed(world):
    worker = world.start("bookings-new")
    page = Page(world, [worker])
    assert "it is paused" in said(page.do("pause", kind="stage", name="bookings-new", why="tests"))
    assert said(page.do("pause", kind="stage", name="bookings-new")) == "it was paused already"
    wait_for(lambda: worker.metric("shelfwire_paused") == 1, lambda: "the worker does not pause" + worker.tail())
    world.make_windows(5)
    wait_for(lambda: page.stages().get("bookings-new", {}).get("lag") == 5, "the lag is not seen", 40)
    assert "paused by Ada" in page.html("/")
    assert said(page.do("resume", kind="stage", name="bookings-new")) == "it goes on"
    world.await_no_lag("bookings-new")
    assert page.do("pause", kind="stage", name="nobody").status_code == 503
    assert page.do("pause", kind="planet", name="earth").status_code == 400


def test_a_paused_stage_is_not_said_to_wait(world):
    """Beside one that has stood as long, and one that goes on again just now."""
    waiting = {"bookings-new": "bookings.new", "users-resolve": "users.resolve", "prereg-create": "prereg.create"}
    for program, topic in waiting.items():
        world.make_windows(2, topic=topic)
        world.db.rows("INSERT INTO lag_history (consumer, topic, at, lag, read_offset, end_offset, oldest_s, workers)"
                      " SELECT %s, %s, date_trunc('minute', now()) - n * interval '1 minute', 2, 0, 2, 600, 0 FROM generate_series(0, 10) AS n",
                      world.topic(program), world.topic(topic))
    for program in ("users-resolve", "prereg-create"):
        world.db.rows("SELECT pause('stage', %s, 'ada', 'tests')", program)
    world.db.rows("SELECT resume('stage', 'prereg-create', 'ada')")
    page = Page(world)
    wait_for(lambda: world.db.one("SELECT count(*) FROM alerts WHERE name = 'WorkWaits'"), lambda: "no alert" + page.program.tail(), 120)
    assert world.db.rows("SELECT subject FROM alerts WHERE name = 'WorkWaits'") == [("bookings-new",)]

    def paused():
        return {program for program, topic in waiting.items() if page.program.metric("shelfwire_stage_paused", f'"{world.topic(topic)}"')}
    wait_for(lambda: paused() == {"users-resolve", "prereg-create"}, paused, 20)


# ---- who may look, and act ----

def test_what_a_page_links_to_is_there(world):
    page = Page(world)
    html = page.html("/")
    linked = set(re.findall(r"(?:href|src)=\"?(/[\w./-]*)", html))
    assert {"/style.css", "/page.js", "/icon.svg"} < linked
    for path in linked:
        assert page.get(path).status_code == 200, path
    icon = page.get("/icon.svg").headers
    assert icon["Content-Type"].startswith("image/svg+xml") and icon["Cache-Control"] == "max-age=3600"


def test_who_may_look(world):
    page = Page(world)
    token, form = page.token(), {"Content-Type": "application/x-www-form-urlencoded"}
    assert page.do("done", token="0" * len(token), desk_id=1).status_code == 403
    assert page.do("done", token=token[:-1], desk_id=1).status_code == 403
    assert page.http.post(page.url + "/do/done", data={"token": token, "who": "A", "desk_id": 1}, headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403
    assert page.get("/", headers={"Host": "evil.example"}).status_code == 403
    assert page.get("/", headers={"Host": "127.0.0.1.evil.example"}).status_code == 403
    assert page.get("/", headers={"Host": "localhost:8480"}).status_code == 200
    assert page.get("/nothing").status_code == 404 and page.get("/../etc/passwd").status_code == 404
    assert page.http.put(page.url + "/", data="x").status_code == 405
    assert page.http.post(page.url + "/desk", data={"token": token}).status_code == 405
    assert page.http.post(page.url + "/do/done", data="x=" + "x" * 300000, headers=form).status_code == 413
    assert page.http.post(page.url + "/do/done", data="x" * 200000, headers=form).status_code == 400
    assert page.http.post(page.url + "/do/done", data="token=" + token + "&who=a%00b&desk_id=1", headers=form).status_code == 400
    headers = page.get("/").headers
    assert "default-src 'none'" in headers["Content-Security-Policy"] and headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cache-Control"] == "no-store"
    for path in ("/", "/desk", "/find", "/dead-letters", "/log"):
        assert not re.findall(r"""(?:src|href|action)=["']?(?:https?:)?//""", page.html(path)), "something is loaded from elsewhere"
        assert " style=" not in page.html(path) and "onclick" not in page.html(path)


def test_a_password(world):
    page = Page(world, MONITOR_PASSWORD="a good password", MONITOR_ADDRESS="0.0.0.0")
    page.url = page.url.replace("0.0.0.0", "127.0.0.1")
    assert page.get("/").status_code == 401
    assert "Basic" in page.get("/").headers["WWW-Authenticate"]
    page.http.auth = ("ada", "a good password")
    assert page.get("/").status_code == 200
    assert said(page.do("done", who="somebody else", desk_id=1))
    assert world.db.rows("SELECT DISTINCT who FROM monitor_log") == [("ada",)]
    page.http.auth = ("ada", "a good passwore")
    seen = [page.get("/").status_code for _ in range(8)]
    assert seen[0] == 401 and seen[-1] == 429, seen
    page.http.auth = ("ada", "a good password")
    assert page.get("/").status_code == 429, "the right one must wait too, or it could be tried on"
    wait_for(lambda: page.get("/").status_code == 200, "it never may again", 30, 0.5)
    assert "a good" not in page.program.log()


def test_the_password_is_turned_under_it(world):
    file = world.folder / "page_password"
    file.write_text("the old password\n")
    page = Page(world, MONITOR_PASSWORD_FILE=file)
    page.http.auth = ("ada", "the old password")
    assert page.get("/").status_code == 200
    file.write_text("short\n")
    page.program.await_log("MONITOR_PASSWORD: want at least 8 characters; the value it had stays")
    assert page.get("/").status_code == 200
    file.write_text("the new password\n")
    wait_for(lambda: page.get("/", auth=("ada", "the new password")).status_code == 200, "the new one is not taken", 20, 1)
    assert page.get("/").status_code == 401
    assert "password\n" not in page.program.log() and "the new" not in page.program.log()


def test_a_proxy_says_who(world):
    page = Page(world, MONITOR_PROXY="127.0.0.1", MONITOR_USER_HEADER="X-Forwarded-User")
    assert page.get("/").status_code == 403
    page.http.headers["X-Forwarded-User"] = "ben"
    assert said(page.do("done", who="eve", desk_id=1))
    assert world.db.rows("SELECT DISTINCT who FROM monitor_log") == [("ben",)]


@pytest.mark.parametrize("changed, words", [
    ({"MONITOR_ADDRESS": "0.0.0.0"}, "MONITOR_PASSWORD"), ({"MONITOR_ADDRESS": "::"}, "MONITOR_PASSWORD"),
    ({"MONITOR_ADDRESS": "localhost"}, "MONITOR_ADDRESS=localhost"), ({"MONITOR_PASSWORD": "short"}, "at least 8"),
    ({"MONITOR_PROXY": "10.0.0.1"}, "MONITOR_USER_HEADER is missing"), ({"MONITOR_PROGRAMS": "nowhere"}, "host:port"),
    ({"ALERT_MAIL_TO": "a@b.c"}, "ALERT_MAIL_FROM is missing"), ({"DIGEST_AT": "7"}, "07:00"),
    ({"ALERT_MAIL_TO": "a@b.c", "ALERT_MAIL_FROM": "x", "SMTP_URL": "smtp://h"}, "ALERT_MAIL_FROM"),
])
def test_settings_that_will_not_do(world, changed, words):
    program = world.run("monitor", **changed)
    assert program.process.returncode == 100 and words in program.log(), program.log()


# ---- when something is away ----

def test_kafka_or_postgresql_away(world):
    world.make_topics("bookings.new")
    page = Page(world)
    wait_for(lambda: page.stages(), "nothing is seen", 40)
    world.servers.postgres.stop()
    wait_for(lambda: page.json("/overview.json")["database_trouble"], "PostgreSQL's absence is not seen", 40)
    assert "PostgreSQL does not tell" in page.html("/")
    assert page.do("done", desk_id=1, token=re.search(r"\w{64}", "0" * 64)[0]).status_code == 403
    world.servers.postgres.start()
    wait_for(lambda: not page.json("/overview.json")["database_trouble"], "PostgreSQL's return is not seen", 40)
    with world.servers.kafka_frozen():
        wait_for(lambda: page.json("/overview.json")["kafka_trouble"], "Kafka's silence is not seen", 60)
        begun = time.monotonic()
        html = page.html("/")
        assert time.monotonic() - begun < 5 and "Kafka" in html
    wait_for(lambda: not page.json("/overview.json")["kafka_trouble"], "Kafka's return is not seen", 60)


# ---- the command line ----

def test_the_command_line_says_the_same(world):
    windows = world.make_windows(3, send=False)
    world.send("bookings.new", windows)
    world.db.rows("UPDATE appts SET answer = 'no_card', reason = %s WHERE appt_id = %s", "a\x1b[2Jb", windows[0].appt_id)
    assert f"{world.topic('bookings.new')}\t3\t0 workers" in world.run("monitor", "lag").log()
    desk = world.run("monitor", "desk").log()
    assert "no_card" in desk and "\x1b" not in desk and "a\\x1b[2Jb" in desk
    number = desk.split("\t")[0]
    assert "it would be: it is off the list" in world.run("monitor", "done", number, "--dry-run").log()
    assert world.desk()
    assert "it is off the list" in world.run("monitor", "done", number, "by hand").log()
    assert not world.desk()
    assert "wanted" in world.run("monitor", "find", windows[1].booking_id).log()
    assert world.db.one("SELECT count(*) FROM monitor_log WHERE verb IN ('find', 'done')") == 2
    for words, code, says in [(("sing",), 100, "no command"), (("done",), 100, "desk_id"), (("find",), 100, "wants an id"),
                              (("replay",), 100, "1,2,3"), (("replay", "x"), 100, "1,2,3"), (("--check",), 0, "ok  Kafka answers")]:
        program = world.run("monitor", *words)
        assert program.process.returncode == code and says in program.log(), (words, program.log())

"""patron-requests: what patrons ask for is taken once, or not at all, and never lost."""
import collections
import concurrent.futures
import contextlib
import datetime
import hashlib
import hmac
import http.server
import json
import random
import re
import resource
import socket
import subprocess
import threading
import time
import uuid

import pytest
import requests
from shelfwire import BUILD, UTC, keeps_true, wait_for

FOLIO, WISE, ONECLICK = "folio.requests", "wise.holds.prepare", "oneclick.requests"
TOPICS = [FOLIO, WISE, ONECLICK]
ITEM = "1ec54964-70f0-44cc-bd19-2a892ea0d336"
ISBN = "9781615730186"
CARD = "22821234567890"  # no log may hold one


# ---- callers ----

class Caller:
    """One who has a token, on kept connections."""

    def __init__(self, url, token):
        self.url, self.token = url, token
        self.http = requests.Session()
        self.http.headers["Authorization"] = f"Bearer {token}"

    def post(self, what, **more):
        return self.http.post(f"{self.url}/requests", json=what, timeout=60, **more)

    def get(self, path, **more):
        return self.http.get(f"{self.url}/requests{path}", timeout=60, **more)

    def until_taken(self, what, timeout=40):
        """As a caller does it: again and again under the same ref, until it is known to be taken."""
        def tried():
            try:
                answer = self.post(what)
            except requests.RequestException:
                return None
            assert answer.status_code != 503 or int(answer.headers["Retry-After"]) > 0
            return [answer] if answer.status_code != 503 else None
        return wait_for(tried, "never taken", timeout, 0.1)[0]


def until(status, ask, timeout=20):
    """Until it is answered so (or, a tuple, as one of these); the answer."""
    seen = []
    wanted = status if isinstance(status, tuple) else (status,)

    def asked():
        seen[:] = [ask()]
        return seen[0].status_code in wanted
    wait_for(asked, lambda: f"{status}, but {seen[0].status_code}: {seen[0].text}", timeout, 0.1)
    return seen[0]


def add_caller(world, name="discovery", *more):
    made = world.run("patron-requests", "--add-caller", name, *more)
    assert made.process.returncode == 0, made.log()
    token, secret = re.search(r"token +(\S+)\ncallback secret +(\S+)\n", made.log()).groups()
    made.log_path.write_text("")  # it was shown once
    world.secrets |= {token, secret}
    return token, secret


def url_of(program):
    return wait_for(lambda: re.search(r"requests on (https?://\S+)", program.log()), lambda: "no port" + program.tail())[1]


def start(world, **changed):
    world.make_topics(*TOPICS)
    return world.start("patron-requests", **changed)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def renew(ref, patron=CARD, **changed):
    return {"ref": ref, "service": "folio", "action": "renew", "patron": patron, "item": ITEM, **changed}


def ids(world, **having):
    return [r[0] for r in world.db.rows("SELECT request_id::text FROM requests ORDER BY accepted_at")]


def sent_ids(world, topic=FOLIO):
    return [m.json()["request_id"] for m in world.read_topic(topic)]


def all_marked(world):
    wait_for(lambda: not world.db.one("SELECT count(*) FROM requests WHERE sent_at IS NULL"), "not marked as sent", 10)


@pytest.fixture
def program(world):
    return start(world)


@pytest.fixture
def discovery(world):
    token, _ = add_caller(world)
    return Caller(url_of(start(world)), token)


# ---- what is taken ----

def test_taken_is_a_row_and_a_message(world, discovery):
    answer = discovery.post(renew("r1"))
    assert answer.status_code == 202, answer.text
    made = answer.json()
    assert (made["state"], made["ref"]) == ("accepted", "r1")
    assert answer.headers["Location"] == f"/requests/{made['request_id']}"
    (message,) = world.read_topic(FOLIO)
    assert message.key == CARD.encode()
    assert message.json() == {"request_id": made["request_id"], "service": "folio", "action": "renew", "patron": CARD}
    assert message.headers["ce_type"] == b"shelfwire.folio.requests"
    again = discovery.post(renew("r1"))
    assert (again.status_code, again.json()["request_id"]) == (200, made["request_id"])
    for other in (renew("r1", patron="reader-2"), renew("r1", item=ITEM[:-1] + "7"), {**renew("r1"), "service": "oneclick", "action": "loans"}):
        other.pop("item", None) if other["service"] == "oneclick" else None
        answer = discovery.post(other)
        assert (answer.status_code, answer.headers["Content-Type"]) == (409, "application/problem+json"), answer.text
        assert answer.json()["errors"][0]["pointer"] == "/ref"
    assert sent_ids(world) == ids(world) == [made["request_id"]]
    all_marked(world)
    seen = discovery.get(f"/{made['request_id']}").json()
    assert (seen["state"], seen["patron"], seen["timeline"]) == ("accepted", CARD, [])
    assert discovery.get("?ref=r1").json() == seen


def test_many_at_once_go_to_their_topics_and_each_mistake_is_named(world, discovery):
    many = [renew(f"f{i}") for i in range(40)]
    many += [{"ref": f"w{i}", "service": "wise", "action": "list", "patron": "4be868c8", "library": "I649"} for i in range(30)]
    many += [{"ref": f"o{i}", "service": "oneclick", "action": "return", "patron": CARD, "isbn": ISBN} for i in range(30)]
    answer = discovery.post(many)
    assert answer.status_code == 202, answer.text
    assert [(one["status"], one["request"]["ref"]) for one in answer.json()] == [(202, one["ref"]) for one in many]
    assert [len(world.read_topic(t)) for t in TOPICS] == [40, 30, 30]
    assert discovery.post(many).status_code == 200
    mixed = discovery.post([many[0], renew("new"), renew("f1", patron="another")])
    assert mixed.status_code == 409
    assert [one["status"] for one in mixed.json()["results"]] == [200, 202, 409]
    assert [e["pointer"] for e in mixed.json()["errors"]] == ["/2/ref"]
    wrong = [renew("x", item="1"), renew("x", patron=" "), {"ref": "y", "service": "oneclick", "action": "renew", "patron": CARD, "isbn": "9780307378102"},
             7, {"service": "alma"}, {**renew("z"), "pickup": "no", "callback": "https://evil.example/"}]
    answer = discovery.post(wrong)
    assert answer.status_code == 422
    assert {e["pointer"] for e in answer.json()["errors"]} == {
        "/0/item", "/1/patron", "/1/ref", "/2/isbn", "/3", "/4/ref", "/4/service", "/5/pickup", "/5/callback"}, answer.text
    assert discovery.post([renew(f"m{i}") for i in range(101)]).status_code == 422
    assert discovery.post([]).status_code == 422
    assert world.db.one("SELECT count(*) FROM requests") == 101, "what has a mistake is not taken"


def test_one_ref_from_many_at_once_is_one_request(world, discovery):
    def send(_):
        return Caller(discovery.url, discovery.token).post(renew("same"))
    with concurrent.futures.ThreadPoolExecutor(30) as pool:
        answers = list(pool.map(send, range(30)))
    assert collections.Counter(a.status_code for a in answers) == {202: 1, 200: 29}
    assert len({a.json()["request_id"] for a in answers}) == 1
    assert sent_ids(world) == ids(world)


def test_a_caller_sees_and_asks_only_what_it_may(world, discovery):
    limited = Caller(discovery.url, add_caller(world, "selfcheck", "--services", "folio")[0])
    mine = until(200, lambda: limited.post(renew("r1")), 5).json()["request_id"]
    theirs = discovery.post(renew("r1")).json()["request_id"]
    assert mine != theirs, "a ref is a caller's own"
    assert discovery.get(f"/{mine}").status_code == limited.get(f"/{theirs}").status_code == 404
    assert limited.get("?ref=r1").json()["request_id"] == mine
    answer = limited.post({"ref": "o", "service": "oneclick", "action": "loans", "patron": CARD})
    assert answer.status_code == 422 and answer.json()["errors"] == [{"pointer": "/service", "detail": "this caller may not ask it"}]
    listed = world.run("patron-requests", "--callers").log()
    assert re.search(r"selfcheck +folio ", listed) and "discovery" in listed
    assert world.run("patron-requests", "--add-caller", "selfcheck").process.returncode == 100
    assert world.run("patron-requests", "--revoke-caller", "selfcheck").process.returncode == 0
    until((401, 429), lambda: limited.get(f"/{mine}"), 5)
    assert world.run("patron-requests", "--revoke-caller", "selfcheck").process.returncode == 100


# ---- crashes and outages ----

class Readers(threading.Thread):
    """Readers who each send one request after the other, whatever happens, until all are taken; every other ref is sent twice."""

    def __init__(self, url, token, number, count):
        super().__init__(daemon=True)
        self.caller, self.number, self.count = Caller(url, token), number, count
        self.taken, self.fault = [], None

    def run(self):
        try:
            for i in range(self.count):
                what = renew(f"{self.number}-{i}", patron=f"reader-{self.number}")
                answer = self.caller.until_taken(what)
                assert answer.status_code in (200, 202), answer.text
                self.taken.append(answer.json()["request_id"])
                if i % 2:
                    again = self.caller.until_taken(what)
                    assert (again.status_code, again.json()["request_id"]) == (200, self.taken[-1]), again.text
        except AssertionError as e:
            self.fault = e


@contextlib.contextmanager
def readers(world, url, token, count, each):
    them = [Readers(url, token, n, each) for n in range(count)]
    for one in them:
        one.start()
    yield them
    for one in them:
        one.join(60)
        assert not one.is_alive() and not one.fault, one.fault
    all_marked(world)


def assert_kept(world, them):
    """Every promise has its row and its message; one reader's come in their order."""
    promised = [i for one in them for i in one.taken]
    assert sorted(ids(world)) == sorted(promised)
    first = list(dict.fromkeys(sent_ids(world)))
    assert sorted(first) == sorted(promised), f"{len(set(promised) - set(first))} messages are missing"
    for one in them:
        assert [i for i in first if i in set(one.taken)] == one.taken, "out of order"


def test_killed_at_any_point_keeps_what_it_promised(world):
    token, _ = add_caller(world)
    port = free_port()
    program = start(world, REQUESTS_PORT=port)
    dice = random.Random(1)
    with readers(world, f"http://127.0.0.1:{port}", token, 12, 60) as them:
        for _ in range(6):
            time.sleep(dice.uniform(0.05, 0.4))  # the point in time is the situation
            program.kill9()
            program = start(world, REQUESTS_PORT=port)
        wait_for(lambda: all(len(one.taken) == 60 or one.fault for one in them), lambda: [len(one.taken) for one in them], 60)
    assert_kept(world, them)
    extra = len(sent_ids(world)) - len(ids(world))
    assert extra <= 6 * 12, "what was sent is sent again only where a crash came in between"


def test_what_a_crash_left_is_sent_first_and_a_retry_when_its_time_has_come(world):
    token, _ = add_caller(world)
    left = [str(uuid.uuid4()) for _ in range(2500)]
    world.db.insert("INSERT INTO requests (request_id, caller, ref, service, action, patron, asked, accepted_at) VALUES %s",
                    [(i, "discovery", i, "folio", "renew", "reader-1", "{}", datetime.datetime.now(UTC) - datetime.timedelta(seconds=100 - n / 100))
                     for n, i in enumerate(left)])
    discovery = Caller(url_of(start(world)), token)
    new = discovery.until_taken(renew("new", patron="reader-1")).json()["request_id"]
    assert sent_ids(world) == [*left, new]
    all_marked(world)
    world.db.rows("UPDATE requests SET state = 'waiting', retry_at = now() + interval '1 second' WHERE request_id = %s", new)
    wait_for(lambda: world.db.one("SELECT retry_at IS NULL FROM requests WHERE request_id = %s", new), "not sent again", 10)
    assert sent_ids(world) == [*left, new, new]
    world.db.rows("UPDATE requests SET sent_at = NULL, accepted_at = now() - interval '1 minute' WHERE request_id = %s", new)
    wait_for(lambda: world.db.one("SELECT sent_at IS NOT NULL FROM requests WHERE request_id = %s", new), "not sent again", 10)
    assert discovery.post(renew("new", patron="reader-1")).status_code == 200
    assert len(sent_ids(world)) == 2503


def test_postgresql_away_takes_nothing_and_loses_nothing(world, discovery):
    with readers(world, discovery.url, discovery.token, 8, 40) as them:
        for _ in range(2):
            before = sum(len(one.taken) for one in them)
            wait_for(lambda: sum(len(one.taken) for one in them) >= before + 20, "nothing is taken")
            world.servers.postgres.kill()
            answer = until(503, lambda: discovery.post(renew("away")))
            assert answer.headers["Retry-After"] and answer.headers["Content-Type"] == "application/problem+json"
            assert discovery.get("?ref=away").status_code == 503
            assert discovery.http.get(discovery.url + "/requests", headers={"Authorization": "Bearer sw_no"}).status_code == 401
            world.servers.postgres.start()
    world.db.rows("DELETE FROM requests WHERE ref = 'away'")
    assert_kept(world, them)
    world.programs[-1].await_log("PostgreSQL is there")


def test_a_silent_postgresql_stops_nothing_but_promises(world, discovery):
    program = world.programs[-1]
    with world.db.locked("requests"), concurrent.futures.ThreadPoolExecutor(4) as pool:
        first = pool.submit(Caller(discovery.url, discovery.token).post, renew("first"))
        until(503, lambda: discovery.post(renew("later")))
        began = time.monotonic()
        assert discovery.post(renew("later")).status_code == 503
        assert discovery.http.get(discovery.url + "/requests").status_code == 400
        assert program.get("/healthz").status_code == 200 and time.monotonic() - began < 2, "the loop is held up"
        look = pool.submit(Caller(discovery.url, discovery.token).get, "?ref=first")
        assert first.result(20).status_code == look.result(20).status_code == 503
    assert discovery.until_taken(renew("first")).status_code in (200, 202)
    assert discovery.until_taken(renew("later")).status_code in (200, 202)
    all_marked(world)
    assert sorted(sent_ids(world)) == sorted(ids(world)) and len(ids(world)) == 2


def test_kafka_away_takes_nothing_and_sends_nothing_twice(world, discovery):
    with readers(world, discovery.url, discovery.token, 8, 30) as them:
        wait_for(lambda: sum(len(one.taken) for one in them) >= 40, "nothing is taken")
        with world.servers.kafka_frozen():
            answer = until(503, lambda: discovery.post(renew("away")))
            assert answer.headers["Retry-After"]
            before = time.monotonic()
            assert discovery.post(renew("away")).status_code == 503 and time.monotonic() - before < 2, "told at once, by now"
            assert discovery.get(f"/{them[0].taken[0]}").status_code == 200, "who asks needs no Kafka"
            rows = world.db.one("SELECT count(*) FROM requests")
            keeps_true(lambda: world.db.one("SELECT count(*) FROM requests") == rows, "rows are taken that cannot be promised", 1)
    away = discovery.until_taken(renew("away")).json()["request_id"]
    sent = sent_ids(world)
    assert len(sent) == len(set(sent)), "sent twice"
    them[0].taken.append(away)
    assert sorted(sent) == sorted(i for one in them for i in one.taken) == sorted(ids(world))


def test_one_is_at_work_and_the_next_takes_over(world, discovery):
    first = world.programs[-1]
    taken = discovery.post(renew("r1")).json()["request_id"]
    second = world.begin("patron-requests")
    other = Caller(url_of(second), discovery.token)
    answer = until(503, lambda: other.post(renew("r2")))
    assert answer.status_code == other.get(f"/{taken}").status_code == 503
    assert int(answer.headers["Retry-After"]) > 0
    assert second.get("/readyz").status_code == 503 and "another producer" in second.get("/readyz").text
    assert discovery.post(renew("r2")).status_code == 202
    first.stop()
    assert other.until_taken(renew("r2")).status_code == 200
    assert other.until_taken(renew("r3")).status_code == 202
    assert sent_ids(world) == ids(world) and len(ids(world)) == 3


# ---- what became of it ----

def finish(world, request_id, state="done", code="renewed", **outcome):
    world.db.rows("UPDATE requests SET state = %s, code = %s, outcome = %s, answered_at = clock_timestamp() WHERE request_id = %s",
                  state, code, json.dumps(outcome) if outcome else None, request_id)


def test_a_wait_ends_when_the_state_changes_or_its_time_is_over(world, discovery):
    made = [discovery.post(renew(f"r{i}")).json()["request_id"] for i in range(3)]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        waits = [pool.submit(Caller(discovery.url, discovery.token).get, path + "?wait=30") for path in (f"/{made[0]}", f"/{made[0]}")]
        waits += [pool.submit(Caller(discovery.url, discovery.token).get, "?ref=r1&wait=30")]
        wait_for(lambda: world.programs[-1].metric("shelfwire_looks_waiting") == 3, "nobody waits")
        began = time.monotonic()
        world.db.rows("UPDATE requests SET words = 'still' WHERE request_id = %s", made[0])  # no other state
        world.db.rows("INSERT INTO attempts (stage, subject, work_id, call, verdict, code) VALUES ('folio-requests', %s, %s, 'renew', 'done', 'renewed')",
                      made[0], made[0])
        finish(world, made[0], due="2026-12-01T00:00:00Z")
        for wait in waits[:2]:
            seen = wait.result(10).json()
            assert (seen["state"], seen["code"], seen["words"], seen["outcome"]) == ("done", "renewed", "still", {"due": "2026-12-01T00:00:00Z"})
            assert [(t["stage"], t["call"], t["verdict"], t["code"]) for t in seen["timeline"]] == [("folio-requests", "renew", "done", "renewed")]
        assert time.monotonic() - began < 3 and not waits[2].done(), "another's change is not mine"
        world.db.rows("UPDATE requests SET state = 'waiting', waits_for = 'unreachable', waits_since = now() WHERE request_id = %s", made[1])
        seen = waits[2].result(10).json()
        assert (seen["state"], seen["waits_for"]) == ("waiting", "unreachable") and seen["waits_since"]
        began = time.monotonic()
        assert discovery.get(f"/{made[0]}?wait=30").json()["state"] == "done" and time.monotonic() - began < 2, "it is final"
        assert discovery.get(f"/{made[2]}?wait=1").json()["state"] == "accepted" and 0.9 < time.monotonic() - began < 4
        # a lost connection is asked again what it did not hear
        wait = pool.submit(Caller(discovery.url, discovery.token).get, f"/{made[2]}?wait=30")
        wait_for(lambda: world.programs[-1].metric("shelfwire_looks_waiting") == 1, "nobody waits")
        world.db.rows("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s AND application_name = 'patron-requests'", world.db.name)
        finish(world, made[2], "refused", "not_theirs")
        assert wait.result(15).json()["state"] == "refused"


class Hooks(http.server.ThreadingHTTPServer):
    """Where callbacks arrive: answers by path what is planned for it, 204 otherwise."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            self.server.got.append((self.path, dict(self.headers), body))
            plan = self.server.plan.get(self.path, [])
            self.send_response(plan.pop(0) if plan else 204)
            self.send_header("Location", "/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    def __init__(self):
        super().__init__(("127.0.0.1", 0), self.Handler)
        self.got, self.plan = [], {}
        self.url = f"http://127.0.0.1:{self.server_port}"
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def __exit__(self, *_):
        self.shutdown()
        self.server_close()


def test_an_answer_is_posted_where_the_caller_wants_it(world):
    token, secret = add_caller(world)
    with Hooks() as hooks:
        discovery = Caller(url_of(start(world, CALLBACK_URL_PREFIXES=hooks.url + "/hooks/")), token)
        for wrong in ("https://elsewhere.example/hooks/", hooks.url + "/other", hooks.url + "/hooks/../admin", hooks.url + "/hooks/%2e%2e/admin",
                      hooks.url + "/hooks/#", hooks.url + "/hooks/..?x"):
            answer = discovery.post(renew("w", callback=wrong))
            assert answer.status_code == 422 and answer.json()["errors"][0]["pointer"] == "/callback", wrong
        hooks.plan["/hooks/b"] = [500, 302]
        made = {n: discovery.post(renew(n, callback=f"{hooks.url}/hooks/{n}")).json()["request_id"] for n in "abc"}
        keeps_true(lambda: not hooks.got, "posted before there is an answer", 1)
        world.db.rows("UPDATE requests SET state = 'waiting', waits_for = 'rate' WHERE request_id = %s", made["a"])
        for n in made:
            finish(world, made[n], loan={"isbn": ISBN})
        wait_for(lambda: len(hooks.got) >= 3, "not posted", 10)
        path, headers, body = next(g for g in hooks.got if g[0] == "/hooks/a")
        stamp, signature = re.fullmatch(r"t=(\d+),v1=([0-9a-f]{64})", headers["Shelfwire-Signature"]).groups()
        assert hmac.new(secret.encode(), f"{stamp}.".encode() + body, hashlib.sha256).hexdigest() == signature
        assert abs(int(stamp) - time.time()) < 10
        seen = discovery.get(f"/{made['a']}").json()
        assert json.loads(body) == seen and seen["outcome"] == {"loan": {"isbn": ISBN}}
        wait_for(lambda: world.db.one("SELECT callback_at IS NULL FROM requests WHERE request_id = %s", made["a"]), "not marked", 5)
        # what fails is posted again, later and later; its time is moved here so that nobody waits
        for tries, pause in ((1, 10), (2, 20)):
            wait_for(lambda: world.db.rows("SELECT 1 FROM requests WHERE request_id = %s AND callback_tries = %s AND callback_at"
                                           " BETWEEN now() + %s * interval '1 second' AND now() + %s * interval '1 second'",
                                           made["b"], tries, pause - 5, pause + 1), lambda: world.db.rows("SELECT callback_tries, callback_at - now() FROM requests"), 10)
            world.db.rows("UPDATE requests SET callback_at = now() WHERE request_id = %s", made["b"])
        wait_for(lambda: world.db.one("SELECT callback_at IS NULL FROM requests WHERE request_id = %s", made["b"]), "not marked", 10)
        assert [g[0] for g in hooks.got].count("/hooks/b") == 3 and "/elsewhere" not in [g[0] for g in hooks.got]
        # a day later it is given up, and on the desk
        hooks.plan["/hooks/c"] = [500, 500]
        world.db.rows("UPDATE requests SET callback_at = now(), answered_at = now() - interval '25 hours' WHERE request_id = %s", made["c"])
        wait_for(lambda: world.desk() == [("callback_failed", made["c"])], world.desk, 10)
        assert world.db.one("SELECT callback_at IS NULL FROM requests WHERE request_id = %s", made["c"])
        finish(world, made["c"], "set_aside", "dead")  # and a new answer is a new callback
        hooks.plan["/hooks/c"] = []
        wait_for(lambda: [g[0] for g in hooks.got].count("/hooks/c") == 3, "not posted again", 10)
        wait_for(lambda: ("callback_failed", made["c"]) not in world.desk(), world.desk, 10)


# ---- standard input ----

def stdin(world, lines, *, caller="discovery", kill_after=None, **changed):
    env = world.env("patron-requests", **changed)
    process = subprocess.Popen([BUILD / "patron-requests", "--stdin", caller], env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True)
    if kill_after is not None:
        for line in lines:
            process.stdin.write(line + "\n")
        process.stdin.flush()
        wait_for(lambda: world.db.one("SELECT count(*) FROM requests") >= kill_after, "nothing is taken")
        process.kill()
        process.communicate()
        return None
    out, err = process.communicate("\n".join(lines) + "\n", timeout=60)
    assert CARD not in err and "Sanitizer" not in err, err
    return process.returncode, [json.loads(line) for line in out.splitlines()], err


def test_lines_of_standard_input_are_taken_beside_the_service(world, discovery):
    lines = [json.dumps(renew(f"s{i}")) for i in range(1500)]
    stdin(world, lines, kill_after=100)
    code, out, _ = stdin(world, lines)
    assert code == 0 and [one["line"] for one in out] == list(range(1, 1501))
    assert {one["status"] for one in out} <= {200, 202} and out[-1]["status"] == 202
    assert [one["request"]["ref"] for one in out] == [f"s{i}" for i in range(1500)]
    all_marked(world)
    assert sorted(set(sent_ids(world))) == sorted(ids(world)) and len(ids(world)) == 1500
    wrong = [lines[0], "", "no JSON", '{"ref":"a"}', "[]", json.dumps(renew("s1", patron="another")), json.dumps(renew("new"))]
    code, out, _ = stdin(world, wrong)
    assert code == 1 and [(one["line"], one["status"]) for one in out] == [(1, 200), (3, 400), (4, 422), (5, 422), (6, 409), (7, 202)]
    assert {e["pointer"] for e in out[2]["errors"]} == {"/service"}
    assert stdin(world, [], caller="nobody")[0] == 100
    assert discovery.post(renew("new")).status_code == 200, "a caller's refs are the same by either way"
    code, out, _ = stdin(world, [lines[2], "x" * 70000, lines[3]])
    assert code == 1 and [one["status"] for one in out] == [200, 413, 200]


def test_a_row_that_postgresql_refuses_takes_no_other_with_it(world, discovery):
    """Fifty of a thousand, one right behind another and alone; one that comes twice at once is still taken once."""
    bad = {f"s{i}" for i in (*range(0, 1000, 40), *range(500, 525))}
    world.db.rows("CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE check_violation USING MESSAGE = 'no ' || NEW.ref; END $$;"
                  f" CREATE TRIGGER refuse BEFORE INSERT ON requests FOR EACH ROW WHEN (NEW.ref IN ({', '.join(repr(b) for b in bad)}))"
                  " EXECUTE FUNCTION refuse()")
    refs = [f"s{i}" for i in range(1000)]
    refs[701:701] = ["s700"]
    code, out, err = stdin(world, [json.dumps(renew(ref)) for ref in refs])
    assert code == 1 and [one["line"] for one in out] == list(range(1, 1002))
    assert [one["status"] for one in out] == [500 if ref in bad else 200 if n == 701 else 202 for n, ref in enumerate(refs)]
    assert len(ids(world)) == 1000 - len(bad) and out[701]["request"]["request_id"] == out[700]["request"]["request_id"]
    all_marked(world)
    first = list(dict.fromkeys(sent_ids(world)))
    assert first == [one["request"]["request_id"] for n, one in enumerate(out) if one["status"] == 202], "out of order"
    assert err.count("PostgreSQL refuses a request (23514)") == len(bad)
    world.db.rows("DROP TRIGGER refuse ON requests")
    assert discovery.post(renew("s0")).status_code == 202, "nothing of it is left behind"


def test_a_database_that_refuses_every_row_is_waited_for(world, discovery):
    """Its disk is full, say: nobody is told that his request is wrong."""
    world.db.rows("CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE disk_full; END $$;"
                  " CREATE TRIGGER refuse BEFORE INSERT ON requests FOR EACH ROW EXECUTE FUNCTION refuse()")
    with concurrent.futures.ThreadPoolExecutor() as pool:
        answers = [pool.submit(discovery.until_taken, renew(f"w{i}")) for i in range(20)]
        wait_for(lambda: "PostgreSQL refuses requests" in world.programs[-1].get("/readyz").text, "it does not say so", 20, 0.1)
        world.db.rows("DROP TRIGGER refuse ON requests")
        assert {a.result(60).status_code for a in answers} <= {200, 202}
    assert len(ids(world)) == 20
    all_marked(world)


# ---- what the world sends ----

def raw(url, data, wait=5, parts=None):
    """Bytes as they are; what comes back until the connection ends or a whole answer is there."""
    host, port = re.match(r"http://([\d.]+):(\d+)", url).groups()
    with socket.create_connection((host, int(port)), timeout=wait) as s:
        got = b""
        try:
            for part in [data] if parts is None else parts:
                s.sendall(part)
            while True:
                more = s.recv(65536)
                if not more:
                    break
                got += more
                head, _, body = got.partition(b"\r\n\r\n")
                length = re.search(rb"Content-Length: (\d+)", head)
                if length and len(body) >= int(length[1]):
                    break
        except (ConnectionError, socket.timeout):
            pass
        return got


def status(answer):
    found = re.match(rb"HTTP/1\.[01] (\d{3}) ", answer)
    return int(found[1]) if found else None


def test_hostile_requests_get_a_clear_answer(world, discovery):
    url, auth = discovery.url, f"Authorization: Bearer {discovery.token}\r\n"

    def send(head, body=b"", path="/requests", method="POST"):
        return raw(url, f"{method} {path} HTTP/1.1\r\nHost: x\r\n{auth}{head}\r\n".encode() + body)
    body = json.dumps(renew("h")).encode()
    ok = "Content-Type: application/json\r\n"
    length = f"Content-Length: {len(body)}\r\n"
    situations = [
        ("two lengths", send(ok + length + length, body), {400}),
        ("two different lengths", send(ok + length + "Content-Length: 5\r\n", body), {400}),
        ("a length beside chunks", send(ok + length + "Transfer-Encoding: chunked\r\n", b"5\r\nhello\r\n0\r\n\r\n"), {400}),
        ("a length below zero", send(ok + "Content-Length: -5\r\n", body), {400}),
        ("a length that is no number", send(ok + "Content-Length: 0x10\r\n", body), {400}),
        ("a length of 40 digits", send(ok + f"Content-Length: {'9' * 40}\r\n", body), {400, 413}),
        ("two tokens", send(ok + length + auth, body), {400}),
        ("two types", send(ok + ok + length, body), {400}),
        ("another type", send("Content-Type: text/xml\r\n" + length, body), {415}),
        ("a type that only begins so", send("Content-Type: application/jsonp\r\n" + length, body), {415}),
        ("no type", send(length, body), {415}),
        ("too long by its length", send(ok + f"Content-Length: {(1 << 20) + 1}\r\n", b"x" * ((1 << 20) + 1)), {413}),
        ("much too long by its length", send(ok + f"Content-Length: {1 << 40}\r\n"), {413}),
        ("too long in chunks", send(ok + "Transfer-Encoding: chunked\r\n", b"100000\r\n" + b"x" * (1 << 20) + b"\r\n100000\r\n"
                                    + b"x" * (1 << 20) + b"\r\n0\r\n\r\n"), {413}),
        ("who would send more waits for 100", send(ok + "Content-Length: 2000000\r\nExpect: 100-continue\r\n"), {413}),
        ("chunks that are none", send(ok + "Transfer-Encoding: chunked\r\n", b"zz\r\nhello\r\n"), {400, None}),
        ("a head of 20 KiB", send(ok + f"X-Long: {'x' * 20000}\r\n" + length, body), {431, 413, 414, 400}),
        ("10,000 headers", send("".join(f"X-{i}: 1\r\n" for i in range(10000))), {431, 413, None}),
        ("a path of 20 KiB", send("", path="/" + "x" * 20000, method="GET"), {414, 431, 400}),
        ("no version", raw(url, b"GET /requests\r\n\r\n"), {400, 401, 505, None}),
        ("version 9", raw(url, b"GET /requests HTTP/9.9\r\n\r\n"), {400, 505, None}),
        ("no host", raw(url, b"GET /requests HTTP/1.1\r\n\r\n"), {400}),
        ("not HTTP", raw(url, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 200 + b"\r\n\r\n"), {400, None}),
        ("zero bytes", raw(url, b"\0" * 5000 + b"\r\n\r\n"), {400, 414, 431, None}),
        ("a path with a zero", send("", path="/requests%00", method="GET"), {404}),
        ("a path with dots", send("", path="/x/../requests", method="GET"), {404}),
        ("a path twice", send("", path="//requests", method="GET"), {404}),
        ("a slash behind", send("", path="/requests/", method="GET"), {404}),
        ("a path escaped", send("", path="/%72equests", method="GET"), {404}),
        ("an id that is none", send("", path="/requests/1%27%20OR%201=1", method="GET"), {404}),
        ("an id too long", send("", path=f"/requests/{ITEM}0", method="GET"), {404}),
        ("an id of nobody", send("", path=f"/requests/{ITEM}", method="GET"), {404}),
        ("no ref", send("", path="/requests", method="GET"), {400}),
        ("an empty ref", send("", path="/requests?ref=", method="GET"), {400}),
        ("two refs", send("", path="/requests?ref=a&ref=b", method="GET"), {400}),
        ("a ref with a zero", send("", path="/requests?ref=a%00b", method="GET"), {400}),
        ("a ref half escaped", send("", path="/requests?ref=%4", method="GET"), {400}),
        ("a ref with a quote", send("", path="/requests?ref=%27%3B--", method="GET"), {404}),
        ("a wait of 31", send("", path=f"/requests/{ITEM}?wait=31", method="GET"), {400}),
        ("a wait of no number", send("", path=f"/requests/{ITEM}?wait=1e1", method="GET"), {400}),
        ("a method nobody knows", send("", method="BREW"), {405}),
        ("a method that changes", send("", path=f"/requests/{ITEM}", method="DELETE"), {405}),
        ("a body in a GET", send(ok + length, body, path=f"/requests/{ITEM}", method="GET"), {404, 400}),
        ("no body", send(ok + "Content-Length: 0\r\n"), {400}),
        ("invalid UTF-8", discovery.post(None, data=b'{"ref":"\xff\xfe"}', headers={"Content-Type": "application/json"}), {400}),
        ("half a pair of surrogates", discovery.post(None, data=b'{"ref":"\\ud800"}', headers={"Content-Type": "application/json"}), {422}),
        ("deep JSON", discovery.post(None, data=b"[" * 100000, headers={"Content-Type": "application/json"}), {400}),
        ("deep JSON that closes", discovery.post(None, data=b"[" * 1000 + b"]" * 1000, headers={"Content-Type": "application/json"}), {400}),
        ("many values", discovery.post(None, data=b"[" + b"1," * 500000 + b"1]", headers={"Content-Type": "application/json"}), {400}),
        ("many members", discovery.post(None, data=json.dumps({f"m{i}": 1 for i in range(15000)}).encode(), headers={"Content-Type": "application/json"}), {422}),
        ("a member twice", discovery.post(None, data=body[:-1] + b',"ref":"other"}', headers={"Content-Type": "application/json"}), {422}),
        ("a number too big", discovery.post(None, data=body[:-1] + b',"days":1e999}', headers={"Content-Type": "application/json"}), {422}),
        ("two values", discovery.post(None, data=body + body, headers={"Content-Type": "application/json"}), {400}),
        ("two requests in one piece", raw(url, 2 * f"GET /requests?ref=z HTTP/1.1\r\nHost: x\r\n{auth}\r\n".encode()), {404}),
    ]
    wrong = [f"{when}: {got if isinstance(got, bytes) else got.text[:200]}" for when, got, want in situations
             if (status(got) if isinstance(got, bytes) else got.status_code) not in want]
    assert not wrong, "\n".join(wrong)
    assert not ids(world)
    assert discovery.post(renew("after")).status_code == 202, "it goes on"
    for _, got, _ in situations:
        text = got.decode(errors="replace") if isinstance(got, bytes) else got.text
        assert discovery.token not in text and "postgres" not in text.lower()


def test_wrong_tokens_are_limited_and_lock_nobody_out(world, discovery):
    def wrong(token="sw_" + "0" * 64):
        return requests.get(discovery.url + "/requests?ref=a", headers={"Authorization": f"Bearer {token}"}, timeout=10)
    assert requests.get(discovery.url + "/requests", timeout=10).status_code == 401
    answers = [wrong() for _ in range(12)]
    assert [a.status_code for a in answers] == [401] * 10 + [429] * 2
    assert answers[0].headers["WWW-Authenticate"] == "Bearer" and 0 < int(answers[-1].headers["Retry-After"]) <= 60
    assert discovery.post(renew("r1")).status_code == 202
    for token in (discovery.token[:-1], discovery.token + "0", discovery.token.upper(), "", "x" * 5000):
        assert wrong(token).status_code in (401, 429)
    elsewhere = socket.create_connection(("127.0.0.1", int(discovery.url.rsplit(":", 1)[1])), source_address=("127.0.0.9", 0))
    elsewhere.sendall(b"GET /requests HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer sw_no\r\n\r\n")
    assert elsewhere.recv(4096).startswith(b"HTTP/1.1 401"), "another address has its own tries"
    elsewhere.close()


def port_of(caller):
    return int(caller.url.rsplit(":", 1)[1])


def connect(caller, source="127.0.0.1"):
    return socket.create_connection(("127.0.0.1", port_of(caller)), timeout=20, source_address=(source, 0))


def ends(s):
    """What came until the other side ended it; None while it has not."""
    s.settimeout(0.01)
    try:
        return s.recv(4096)
    except socket.timeout:
        return None
    except OSError:
        return b""


def test_who_is_slow_is_sent_away(world):
    token, _ = add_caller(world)
    discovery = Caller(url_of(start(world, REQUESTS_SLOW_SECONDS=2)), token)
    head = f"POST /requests HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\nContent-Length: 500\r\n\r\n"
    situations = {"nothing": b"", "half a head": b"POST /requests HTTP/1.1\r\nHo", "half a body": head.encode() + b'{"ref"',
                  "a head, a byte at a time": b"G", "a body, a byte at a time": head.encode()}
    slow = {when: connect(discovery) for when in situations}
    for when, s in slow.items():
        s.sendall(situations[when])
    began, got = time.monotonic(), {}
    while len(got) < len(slow):
        assert time.monotonic() - began < 8, f"still there: {set(slow) - set(got)}"
        for when in set(slow) - set(got):
            if "at a time" in when:
                with contextlib.suppress(OSError):
                    slow[when].sendall(b" " if "body" in when else b"E")
            said = ends(slow[when])
            if said is not None:
                got[when] = said
        assert discovery.post(renew("r1")).status_code in (200, 202)
    assert all(got[when].startswith(b"HTTP/1.1 408 ") for when in got if "body" in when), got
    assert time.monotonic() - began > 2
    assert discovery.get("?ref=r1&wait=4").status_code == 200, "who waits is not slow"


def test_thousands_of_connections_hold_nobody_up(world):
    token, _ = add_caller(world)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 16384)), hard))
    program = start(world, REQUESTS_CONNECTIONS=800, REQUESTS_CONNECTIONS_PER_ADDRESS=700)
    discovery = Caller(url_of(program), token)
    assert discovery.post(renew("r0")).status_code == 202
    mine = [connect(discovery, "127.0.0.3") for _ in range(1000)]  # one address has its share
    wait_for(lambda: sum(ends(s) is not None for s in mine) == 300, lambda: sum(ends(s) is not None for s in mine))
    assert discovery.post(renew("r1")).status_code == 202
    for s in mine:
        s.close()
    crowd = []  # all together have theirs, and the oldest give way
    for i in range(5000):
        crowd.append(connect(discovery, f"127.0.1.{i % 250 + 1}"))
        if i % 3 == 0:
            crowd[-1].sendall(b"GET /requests HTTP/1.1\r\nX: ")
        if i % 250 == 0:
            assert Caller(discovery.url, token).post(renew(f"c{i}")).status_code == 202, "who has something to say is heard"
    assert program.metric("shelfwire_http_connections") <= 800 + 64
    assert program.metric("shelfwire_http_connections_cut_total") > 4000
    assert Caller(discovery.url, token).post(renew("r2")).status_code == 202
    for s in crowd:
        s.close()
    wait_for(lambda: program.metric("shelfwire_http_connections") < 10, lambda: program.metric("shelfwire_http_connections"))


def test_elsewhere_is_reached_by_https_alone(world, tmp_path):
    token, _ = add_caller(world)
    refused = world.run("patron-requests", REQUESTS_ADDRESS="0.0.0.0")
    assert refused.process.returncode == 100 and "REQUESTS_TLS_CERT_FILE" in refused.log()
    assert world.run("patron-requests", REQUESTS_ADDRESS="everywhere").process.returncode == 100
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost", "-addext",
                    "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate], check=True, capture_output=True)
    assert world.run("patron-requests", REQUESTS_TLS_CERT_FILE=certificate).process.returncode == 100
    assert world.run("patron-requests", REQUESTS_TLS_CERT_FILE=key, REQUESTS_TLS_KEY_FILE=certificate).process.returncode == 100
    program = start(world, REQUESTS_ADDRESS="0.0.0.0", REQUESTS_TLS_CERT_FILE=certificate, REQUESTS_TLS_KEY_FILE=key)
    caller = Caller(url_of(program).replace("0.0.0.0", "127.0.0.1"), token)
    caller.http.verify, caller.http.trust_env = str(certificate), False
    assert caller.url.startswith("https://")
    answers = [caller.post(renew(f"r{i}")) for i in range(20)]
    assert {a.status_code for a in answers} == {202}
    assert len(sent_ids(world)) == 20
    program.stop()
    behind = start(world, REQUESTS_ADDRESS="0.0.0.0", REQUESTS_PLAIN_HTTP="anywhere")
    assert Caller(url_of(behind).replace("0.0.0.0", "127.0.0.1"), token).post(renew("r20")).status_code == 202

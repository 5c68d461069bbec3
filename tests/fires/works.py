"""What each program is given to do while it is under fire, and how it is counted what became of it.

Work comes in pieces, several of one key; feed() gives more at any time. settled() when each piece has its outcome and nothing is
left in Kafka; tally() then compares what was asked for with what the vendors were made to do, with the rows and the messages.
"""
import collections
import dataclasses
import itertools
import json
import threading
import time

import confluent_kafka
import requests
import test_catalog
import test_folio
import test_libcal
import test_oneclick
import test_requests
import test_webcheckout
import test_wise
from fires.lines import free_port
from shelfwire import READS, booked, local

CONCURRENCY = 4
POISON = b"this is no message"


@dataclasses.dataclass
class Tally:
    lost: int = 0      # asked for, and not there
    repeated: int = 0  # an effect that was there already, and that no row admits
    disorder: int = 0  # of one key, done before what was asked for earlier
    marked: int = 0    # rows that say that nobody knows, or that it may be there twice
    said: list = dataclasses.field(default_factory=list)

    def lose(self, what, because):
        if what:
            self.lost += len(what) if hasattr(what, "__len__") else what
            self.said.append(f"lost, {because}: {what}")


def inversions(got, want):
    """How often one came before its predecessor; only first comings count."""
    rank = {one: n for n, one in enumerate(want)}
    ranks = [rank[one] for one in dict.fromkeys(got) if one in rank]
    return sum(a > b for a, b in zip(ranks, ranks[1:]))


class Work:
    program = None
    vendor, calls = None, ()  # whose answers are lost, and of which calls
    settings, repeat = {}, False
    topics, behind = (), ()   # besides its own; healthy programs that the work needs

    def __init__(self, world):
        self.world, self.db, self.sandbox, self.fed, self.group = world, world.db, world.sandbox, 0, None
        self.faults = []
        if self.program in READS:
            topic = READS[self.program]
            world.make_topics(topic, topic + ".dlq", *self.topics)
        self.prepare()

    def prepare(self):
        pass

    def begin(self, line=None, **changed):
        """Starts the program; line: its own way to the servers."""
        return self.world.begin(self.program, **{**self.settings, **(line.env if line else {}), **changed})

    def begin_behind(self):
        for name in self.behind:
            self.world.begin(name, **self.settings)

    def feed(self, keys, each):
        raise NotImplementedError

    def nudge(self):
        """What the world does meanwhile; called again and again."""

    def poison(self):
        self.world.produce_raw(READS[self.program], "poison", POISON)

    def lose_answers(self, skip=0, count=2):
        """The next answers do not come, though what they answer was done."""
        for call in self.calls:
            self.faults.append(self.sandbox.fault(self.vendor, call, "drop_after", skip=skip, count=count))

    def answers_lost(self):
        return sum(self.sandbox.fired(f) for f in self.faults)

    def lag(self):
        topic = self.world.topic(READS[self.program])
        if not self.group:
            self.group = confluent_kafka.Consumer({
                "bootstrap.servers": self.world.servers.bootstrap, "group.id": self.world.prefix + self.program, "log_level": 0})
            self.at = [confluent_kafka.TopicPartition(topic, p) for p in self.group.list_topics(topic, timeout=20).topics[topic].partitions]
        lag = 0
        for tp in self.group.committed(self.at, timeout=20):
            low, high = self.group.get_watermark_offsets(tp, timeout=20)
            lag += high - (tp.offset if tp.offset >= 0 else low)
        return lag

    def answered(self):
        return True

    def settled(self):
        self.nudge()
        return self.answered() and (self.program not in READS or self.lag() == 0)

    def state(self):
        """For whom it does not settle."""
        return f"lag {self.lag()}" if self.program in READS else "not all is answered"

    def tally(self):
        it = Tally()
        self.count(it)
        if self.program in READS:
            dead = [m.value for m in self.world.read_topic(READS[self.program] + ".dlq")]
            it.lose([d for d in dead if d != POISON], "set aside")
            it.lose(int(POISON not in dead), "the poison is not among the dead letters")
        return it

    def count(self, it):
        raise NotImplementedError

    def close(self):
        if self.group:
            self.group.close()


# ---- bookings ----

class Windows(Work):
    onward = None
    settings = {"CONCURRENCY": CONCURRENCY, "ALMA_TIMEOUT_MS": 1000, "PASSAGEPOINT_TIMEOUT_MS": 1000,
                "PASSAGEPOINT_PREREG_TIMEOUT_MS": 1000}

    def prepare(self):
        self.sandbox.settings(alma={"latency_ms": 20}, passagepoint={"latency_ms": 20})

    def feed(self, keys, each):
        self.world.make_windows(keys * each, keys, topic=READS[self.program])
        self.fed or self.poison()
        self.fed += keys * each

    def count_onward(self, it):
        """Each window was passed on, and each person's in their order."""
        got, want = collections.defaultdict(list), collections.defaultdict(list)
        for m in self.world.read_topic(self.onward):
            got[m.key.decode()].append(m.json()["appt_id"])
        for w in self.world.windows_made:
            want[w.key(self.onward)].append(w.appt_id)
        for key in want:
            it.lose([w for w in want[key] if w not in got[key]], f"not in {self.onward}")
            it.disorder += inversions(got[key], want[key])


class BookingsNew(Windows):
    program, topics, onward = "bookings-new", ("users.resolve",), "users.resolve"
    vendor, calls = "alma", ("user",)

    def count(self, it):
        cards = dict(self.db.rows("SELECT primary_id, barcode FROM users"))
        it.lose([p.number for p in self.world.people if cards.get(p.primary_id) != p.barcode], "no card")
        self.count_onward(it)


class UsersResolve(Windows):
    program, topics, onward = "users-resolve", ("prereg.create",), "prereg.create"
    vendor, calls = "passagepoint", ("createVisitor",)

    def count(self, it):
        at_gate = collections.defaultdict(list)
        for v in self.sandbox.visitors():
            at_gate[v["uniqueId"]].append(str(v["id"]))
        known = dict(self.db.rows("SELECT visitor_barcode, visitor_id FROM users"))
        it.lose([p.number for p in self.world.people if known.get(p.barcode) not in at_gate[p.barcode]], "no visitor")
        it.repeated += sum(len(ids) - 1 for ids in at_gate.values() if ids)
        self.count_onward(it)


class PreregCreate(Windows):
    program = "prereg-create"
    vendor, calls = "passagepoint", ("createPreReg",)

    def answered(self):
        return not self.db.one("SELECT count(*) FROM appts WHERE answer IS NULL")

    def count(self, it):
        def what(visitor, start):
            return visitor, int(start)
        rows = {what(v, s.timestamp()): (a, i, maybe) for v, s, a, i, maybe in self.db.rows(
            "SELECT u.visitor_id, a.starts_at, a.answer, a.prereg_id, a.maybe_made FROM appts a JOIN users u"
            " ON u.primary_id = a.asked_id")}
        gate = collections.defaultdict(list)
        for p in self.sandbox.preregs():
            gate[what(p["visitorId"], p["startTime"])].append(str(p["id"]))
        marked = {w for w, (answer, _, maybe) in rows.items() if answer == "unknown" or maybe}
        it.marked = len(marked)
        it.lose([w for w, (answer, prereg_id, _) in rows.items()
                 if not (answer == "made" and prereg_id in gate[w] or answer == "unknown" and not self.repeat)], "not made")
        it.repeated = sum(len(ids) - 1 for w, ids in gate.items() if ids and (w not in marked or not self.repeat))
        for visitor in {v for v, _ in rows}:
            made = [w for w in gate if w[0] == visitor and w not in marked and gate[w]]
            it.disorder += inversions(made, sorted(made))
        desk = self.world.desk()
        kinds = {"maybe_twice" if self.repeat else "unknown"}
        if len(desk) != len(marked) or {kind for kind, _ in desk} - kinds:
            it.lose(1, f"{len(marked)} rows are marked, and on the desk are {desk}")


class PreregRepeat(PreregCreate):
    repeat = True
    settings = {**Windows.settings, "PASSAGEPOINT_ON_UNKNOWN": "repeat"}


# ---- patrons ----

class Asked(Work):
    """Requests of patrons: each key a patron, who wants several things, one after the other."""

    def prepare(self):
        self.ours = self.make(self.world)
        self.patrons = {}
        self.sandbox.settings(**{self.vendor: {"latency_ms": 20}})

    def feed(self, keys, each):
        for _ in range(keys):
            self.ask(each)
        self.fed or self.poison()
        self.fed += 1

    def answered(self):
        return not self.db.one("SELECT count(*) FROM requests WHERE state IN ('accepted', 'waiting')")

    def state(self):
        return f"{self.ours.states()}, " + super().state()

    def count(self, it):
        rows = self.db.rows("SELECT request_id::text, state, code FROM requests")
        it.lose([r for r in rows if r[1] != "done"], "not done")
        it.marked = sum(code in ("maybe_twice", "unknown") or state == "set_aside" for _, state, code in rows)
        for who, want in self.patrons.items():
            got = self.done_for(who)
            it.lose([w for w in want if w not in got], "not done there")
            it.repeated += len(got) - len(set(got))
            it.disorder += inversions(got, want)
        desk = self.world.desk()
        it.marked = max(it.marked, len(desk))
        if it.marked:
            it.said.append(f"on the desk: {desk}")

    def done_for(self, who):
        raise NotImplementedError


class FolioRequests(Asked):
    program, vendor = "folio-requests", "folio"
    calls = ("renew", "holdItem", "holdInstance")
    settings = {"CONCURRENCY": CONCURRENCY, "FOLIO_TIMEOUT_MS": 1000}
    make = test_folio.Folio

    def ask(self, each):
        who, base = self.ours.someone(), 10 * self.ours.numbers
        actions = ("hold_item", "renew", "hold_instance", "hold_item", "account")[:each]
        for n, action in enumerate(actions):
            self.ours.one(action, who, base + n)
        self.patrons[who] = [base + n for n, action in enumerate(actions) if action != "account"]

    def done_for(self, who):
        done = [e for kind in ("holds", "renewals") for e in self.ours.effects(kind, who)]
        return [int((e.get("itemId") or e["instanceId"])[-12:]) for e in sorted(done, key=lambda e: e["at"])]


class WisePrepare(Asked):
    program, vendor, calls = "wise-holds-prepare", "wise", ("preparehold", "proxy")
    topics, onward = ("wise.holds.place", "wise.holds.place.dlq"), "wise.holds.place"
    settings = {"CONCURRENCY": CONCURRENCY, "WISE_TIMEOUT_MS": 1000}
    make = test_wise.Wise

    def ask(self, each):
        who = self.ours.someone()
        self.patrons[who] = [self.ours.hold(who, str(n + 1)) for n in range(each)]

    def answered(self):
        return True

    def count(self, it):
        got = collections.defaultdict(list)
        for m in self.world.read_topic(self.onward):
            got[m.key.decode()].append(m.json()["request_id"])
        for who, want in self.patrons.items():
            it.lose([w for w in want if w not in got[who]], f"not in {self.onward}")
            it.disorder += inversions(got[who], want)
        it.lose(self.db.one("SELECT count(*) FROM requests WHERE known -> 'prepared' IS NULL OR state NOT IN ('accepted', 'waiting')"),
                "not prepared")


class WisePlace(Asked):
    program, vendor, calls = "wise-holds-place", "wise", ("place", "place_several")
    behind = ("wise-holds-prepare",)
    settings = WisePrepare.settings
    make = test_wise.Wise

    def ask(self, each):
        who, titles = self.ours.someone(), []
        for n in range(each):
            if n == 1:
                self.ours.holds(who, ["20", "21"])
                titles += ["20", "21"]
            elif n == 3:
                self.ours.list(who)
            else:
                self.ours.hold(who, str(n + 1))
                titles.append(str(n + 1))
        self.patrons[who] = titles

    def done_for(self, who):
        return self.ours.placed(who)


class OneClickRequests(Asked):
    program, vendor = "oneclick-requests", "oneclick"
    calls = ("checkout", "renew", "hold", "cancel_hold")
    settings = {"CONCURRENCY": CONCURRENCY, "ONECLICK_TIMEOUT_MS": 1000}
    make = test_oneclick.OneClick
    wants = (("checkout", "loans"), ("hold", "holds"), ("renew", "renewals"), ("cancel_hold", "cancels"), ("return", "returns"))

    def prepare(self):
        super().prepare()
        self.out = self.ours.ebooks[0]
        self.ours.lend(self.ours.someone()[1], self.out)

    def ask(self, each):
        card, number = self.ours.someone()
        for action, _ in self.wants[:each]:
            self.ours.want(action, card, isbn=self.out if "hold" in action else self.ours.a,
                           **({"days": 7} if action in ("checkout", "renew") else {}))
        self.patrons[number] = [deed for _, deed in self.wants[:each]]

    def done_for(self, who):
        deeds = self.sandbox.admin("GET", "/effects", vendor="oneclick", limit=100000)["deeds"]
        return [d["kind"] for d in sorted(deeds, key=lambda d: d["at"]) if d["patronId"] == who]


# ---- the catalog ----

class CatalogDelta(Work):
    program, vendor, calls = "catalog-delta", "oneclick", ("title",)
    settings = {"CONCURRENCY": CONCURRENCY, "ONECLICK_TIMEOUT_MS": 1000}

    def prepare(self):
        self.ours = test_catalog.Catalog(self.world)
        self.sandbox.settings(oneclick={"latency_ms": 20})
        self.count_fed = 0

    def feed(self, keys, each):
        """Of each title what is no longer so, and then what is: by its record, by asking, and whether it can be borrowed."""
        before = set(self.ours.isbns())
        self.ours.generate(keys, **{"from": 1 + len(before)})
        for line in self.ours.lines():
            isbn = line["isbn"]
            if isbn in before or line["removed"]:
                continue
            now = test_catalog.datetime.datetime.now(test_catalog.UTC)
            stale = (now - test_catalog.datetime.timedelta(days=2)).strftime("%Y-%m-%dT%H:%M:%SZ")
            fresh = now.strftime("%Y-%m-%dT%H:%M:%SZ")
            old = {**line["title"], "title": "What it was called before"}
            for change in ({"change": "added", "as_of": stale, "record": old},
                           {"change": "availability", "as_of": stale, "available": not line["availability"]},
                           {"change": "check", "as_of": fresh},
                           {"change": "availability", "as_of": fresh, "available": line["availability"]})[-max(each, 2):]:
                self.world.produce_raw("catalog.delta", isbn, json.dumps({"isbn": isbn, **change}))
        self.fed or self.poison()
        self.fed += keys

    def count(self, it):
        have = self.ours.rows()
        it.lose([isbn for isbn in self.ours.isbns() if isbn not in have], "not in titles")
        wrong = [d for d in self.ours.differences() if d[0] in have]
        it.disorder = len(wrong)
        if wrong:
            it.said.append(f"ours, OneClick's: {wrong[:2]}")


class OneClickCatalog(Work):
    program, vendor, calls = "oneclick-catalog", "oneclick", ("delta", "availability")
    behind = ("catalog-delta",)
    settings = {"ONECLICK_DELTA_SECONDS": 1, "ONECLICK_AVAILABILITY_SECONDS": 1}

    def prepare(self):
        self.ours = test_catalog.Catalog(self.world)
        self.ours.generate(40)
        self.ours.run("--import")
        self.dice = itertools.count(1)

    def begin_behind(self):
        self.world.begin("catalog-delta", CONCURRENCY=CONCURRENCY)

    def feed(self, keys, each):
        known = self.ours.isbns()
        self.ours.generate(keys, **{"from": 1001 + 100 * self.fed})
        self.ours.remove(known[self.fed])
        self.ours.admin("POST", "/availability", {"flip": keys, "seed": next(self.dice)})
        self.fed += 1

    def answered(self):
        return not self.ours.differences()

    def state(self):
        return f"ours, OneClick's: {self.ours.differences()[:2]}"

    def count(self, it):
        it.lose([d[0] for d in self.ours.differences()], "not as OneClick has it")


# ---- LibCal, WebCheckout ----

class Polled(Work):
    def prepare(self):
        self.world.make_topics("bookings.new", "bookings.new.dlq")
        self.booked = []

    def feed(self, keys, each):
        for who in self.world.make_people(keys, first=len(self.world.people) + 1):
            for n in range(each):
                self.fed += 1
                self.add(self.fed, who, local(f"{8 + 2 * n}:00"), local(f"{9 + 2 * n}:00"))

    def answered(self):
        sent = {r for r, in self.db.rows("SELECT booking_id FROM appts WHERE wanted AND sent_at IS NOT NULL")}
        return sent >= set(self.booked)

    def state(self):
        return f"{len(self.booked)} booked, windows: " + str(self.db.rows("SELECT wanted, sent_at IS NULL, count(*) FROM appts GROUP BY 1, 2"))

    def count(self, it):
        rows = self.db.rows("SELECT booking_id, appt_id::text, starts_at FROM appts WHERE wanted")
        sent = collections.Counter(m.json()["appt_id"] for m in self.world.read_topic("bookings.new"))
        it.lose(sorted(set(self.booked) - {r[0] for r in rows}), "no window")
        it.lose([r for r in rows if r[1] not in sent], "not sent")
        it.repeated = len(rows) - len({(b, s) for b, _, s in rows}) + len(set(sent) - {r[1] for r in rows})


class LibCal(Polled):
    program, vendor, calls = "libcal-bookings", "libcal", ("bookings", "token")

    def add(self, number, who, start, end):
        test_libcal.add(self.world, booked(f"cs_{number:08d}", who, start, end))
        self.booked.append(f"cs_{number:08d}")


class WebCheckout(Polled):
    program, vendor, calls = "webcheckout-allocations", "webcheckout", ("search", "get")

    def add(self, number, who, start, end):
        test_webcheckout.add(self.world, test_webcheckout.reserved(number, who, start, end))
        self.booked.append(str(number))


# ---- patron-requests ----

class Reader(threading.Thread):
    """Sends one request after the other, each again and again under its ref until it is taken by whoever answers."""

    def __init__(self, work, number, each):
        super().__init__(daemon=True)
        self.work, self.number, self.each = work, number, each
        self.taken, self.fault, self.ended = [], None, False

    def run(self):
        for i in range(self.each):
            ref = f"{self.number}-{i}"
            what = test_requests.renew(ref, patron=f"reader-{self.number}", callback=f"{self.work.hooks.url}/hooks/{ref}")
            while not self.ended:
                answer = self.post(what)
                if answer is not None and answer.status_code in (200, 202):
                    self.taken.append(answer.json()["request_id"])
                    break
                if answer is not None and answer.status_code not in (503, 429):
                    self.fault = f"{answer.status_code}: {answer.text}"
                    return
                time.sleep(0.05)

    def post(self, what):
        for url in self.work.urls[-2:]:
            try:
                answer = requests.post(f"{url}/requests", json=what, timeout=3,
                                       headers={"Authorization": f"Bearer {self.work.token}"})
                if answer.status_code != 503:
                    return answer
            except requests.RequestException:
                pass
        return None


class Hooks(test_requests.Hooks):
    """Where callbacks arrive; `silent` of them are heard, and the answer is lost."""

    class Handler(test_requests.Hooks.Handler):
        def do_POST(self):
            if self.server.silent > 0:
                self.server.silent -= 1
                self.server.got.append((self.path, dict(self.headers), self.rfile.read(int(self.headers["Content-Length"]))))
                self.close_connection = True
                return
            super().do_POST()

    def __init__(self):
        super().__init__()
        self.RequestHandlerClass, self.silent = self.Handler, 0


class PatronRequests(Work):
    program = "patron-requests"

    def prepare(self):
        self.world.make_topics(*test_requests.TOPICS)
        self.token, _ = test_requests.add_caller(self.world)
        self.hooks, self.urls, self.readers = Hooks(), [], []
        self.lost_answers = 0

    def begin(self, line=None, **changed):
        port = free_port()
        self.urls.append(f"http://127.0.0.1:{port}")
        return super().begin(line, REQUESTS_PORT=port, CALLBACK_URL_PREFIXES=self.hooks.url + "/hooks/", **changed)

    def feed(self, keys, each):
        for _ in range(keys):
            self.readers.append(Reader(self, len(self.readers), each))
            self.readers[-1].start()

    def lose_answers(self, skip=0, count=2):
        self.hooks.silent += count
        self.lost_answers += count

    def answers_lost(self):
        return self.lost_answers - self.hooks.silent

    def nudge(self):
        """As the workers would answer; and a callback that is to be tried again need not wait for its time."""
        self.db.rows("UPDATE requests SET state = 'done', code = 'renewed', answered_at = clock_timestamp()"
                     " WHERE state = 'accepted' AND sent_at IS NOT NULL")
        self.db.rows("UPDATE requests SET callback_at = now() WHERE callback_tries > 0 AND callback_at > now() + interval '2 seconds'")

    def answered(self):
        return (all(len(r.taken) == r.each or r.fault for r in self.readers)
                and not self.db.one("SELECT count(*) FROM requests WHERE sent_at IS NULL OR state = 'accepted' OR callback_at IS NOT NULL"))

    def state(self):
        return f"taken {[len(r.taken) for r in self.readers]}, " + str(self.db.rows(
            "SELECT state, sent_at IS NULL, callback_at IS NULL, count(*) FROM requests GROUP BY 1, 2, 3"))

    def count(self, it):
        ids, sent = test_requests.ids(self.world), test_requests.sent_ids(self.world)
        posted = {path.rsplit("/", 1)[1] for path, _, _ in self.hooks.got}
        for r in self.readers:
            it.lose([r.fault] if r.fault else [], "refused")
            it.lose([i for i in r.taken if i not in ids], "no row")
            it.lose([i for i in r.taken if i not in sent], "not sent")
            it.lose([n for n in range(len(r.taken)) if f"{r.number}-{n}" not in posted], "no callback")
            it.disorder += inversions(sent, r.taken)
        it.repeated = len(set(ids) - {i for r in self.readers for i in r.taken})

    def close(self):
        for r in self.readers:
            r.ended = True
        for r in self.readers:
            r.join(20)
        self.hooks.__exit__(None, None, None)
        super().close()


WORKS = {w.program: w for w in (BookingsNew, UsersResolve, PreregCreate, CatalogDelta, FolioRequests, WisePrepare, WisePlace,
                                OneClickRequests, LibCal, WebCheckout, OneClickCatalog, PatronRequests)}
REPEATING = {"prereg-create (repeat)": PreregRepeat}

"""What a soak asks for: bookings and allocations that come, move and go, a catalog that changes, patrons who ask again, poison."""
import dataclasses
import datetime
import hashlib
import heapq
import json
import random
import threading

import requests
from shelfwire import READS, UTC, Person, booked, local, person, stamp
from test_catalog import Catalog
from test_webcheckout import reserved, written

HOUR = datetime.timedelta(hours=1)
DAYS_AHEAD = 30
LIDS_FROM = 2000
CENTER = "53207831"
PICKUP = "963396d7-c96f-4bb1-a24c-42e868a8823d"
LIBRARY, HOME = "I649", "6490"


def share(count, of, least):
    return max(least, count // of)


# ---- the vendors' standing faults ----

def faults(vendor, call="*", lost=0.1, sick=0.045, slow=0.02):
    """A tenth of the answers is lost after the effect, a twentieth is 5xx or 429, some are slow."""
    of = {"vendor": vendor, "call": call}
    return [{**of, "kind": "delay", "ms": 400, "share": slow}, {**of, "kind": "drop_after", "share": lost},
            {**of, "kind": "status", "status": 500, "share": sick / 3}, {**of, "kind": "status", "status": 502, "share": sick / 3},
            {**of, "kind": "status", "status": 503, "share": sick / 3},
            {**of, "kind": "rate_limited", "retry_after": 1, "share": 0.005}]


def all_faults():
    """LibCal and WebCheckout are read by the page, and one page in ten is too many for a list that is read to its end."""
    found = faults("alma") + faults("oneclick") + faults("folio") + faults("wise")
    for call in ("login", "createVisitor", "byUniqueId", "createPreReg"):
        found += faults("passagepoint", call)
    return found + faults("libcal", lost=0.03, sick=0.02) + faults("webcheckout", lost=0.03, sick=0.02)


UNKNOWN_AFTER = ("drop_after", 502)  # what leaves a createPreReg in doubt


# ---- LibCal ----

@dataclasses.dataclass
class Booking:
    number: int
    person: Person
    lid: int
    start: datetime.datetime
    end: datetime.datetime
    gone: bool = False

    @property
    def booking_id(self):
        return f"cs_{self.number:08d}"


class Bookings:
    """
    Bookings of rooms, a location after the other: one that is full and settled is watched no more, so that a poll does not grow
    with the soak. A few are cancelled, deleted, moved or extended a moment after they came.
    """

    def __init__(self, world, count, seed):
        self.world, self.count, self.dice = world, count, random.Random(seed)
        self.people = [person(n) for n in range(1, share(count, 8, 20) + 1)]
        self.strangers = {p.asked_id for p in self.people if p.number % 200 == 7}  # Alma does not know them
        self.size = min(800, share(count, 4, 25))
        self.bookings, self.changes, self.closed, self.tally = [], [], 0, {}
        self.begin = local("06:00")
        known = [p.alma() for p in self.people if p.asked_id not in self.strangers]
        for at in range(0, len(known), 1000):
            world.sandbox.admin("POST", "/alma/users", known[at:at + 1000])

    # ---- locations ----

    def lid(self, number):
        return LIDS_FROM + number // self.size

    def lids(self):
        return range(LIDS_FROM, self.lid(self.count - 1) + 1)

    def open_lids(self):
        """Those to be watched now: from the first that is not settled to some that are still empty."""
        return [lid for lid in self.lids() if self.closed <= lid - LIDS_FROM <= len(self.bookings) // self.size + 8]

    def of(self, lid):
        at = (lid - LIDS_FROM) * self.size
        return self.bookings[at:at + self.size]

    def close(self, rows):
        """Closes the first open location when it is full, will not change, and came out right. rows: of its wanted windows."""
        at = (self.closed + 1) * self.size
        if len(self.bookings) < at or any(n < at for _, n, _ in self.changes):
            return
        if all(answer for *_, answer in rows) and not differences(self.of(LIDS_FROM + self.closed), rows):
            self.closed += 1

    # ---- what comes, and what becomes of it ----

    def feed(self, limit, watched):
        """As many as there may be by now, in locations that are watched. True: a location that is not is to be watched first."""
        rows = []
        while len(self.bookings) < min(limit, self.count) and len(rows) < 200:
            lid = self.lid(len(self.bookings))
            if lid not in watched:
                self._add(rows)
                return True
            rows.append(self._book(lid))
        self._add(rows)
        while self.changes and (self.changes[0][0] <= len(self.bookings) or len(self.bookings) == self.count):
            self._change(*heapq.heappop(self.changes)[1:])
        return False

    def _add(self, rows):
        if rows:
            self.world.sandbox.admin("POST", "/libcal/bookings", rows)

    def _book(self, lid):
        n = len(self.bookings)
        p, slot = self.people[n % len(self.people)], n // len(self.people)
        start = self.begin + slot * 3 * HOUR
        it = Booking(n, p, lid, start, start + HOUR)
        self.bookings.append(it)
        luck = self.dice.random()
        for less, what in ((0.03, "cancelled"), (0.04, "deleted"), (0.06, "moved"), (0.08, "extended")):
            if luck < less:
                heapq.heappush(self.changes, (n + self.dice.randrange(self.size), n, what))
                break
        return booked(it.booking_id, p, it.start, it.end, lid=lid, firstName=p.first_name, lastName=p.last_name)

    def _change(self, number, what):
        it, path = self.bookings[number], f"/libcal/bookings/{self.bookings[number].booking_id}"
        self.tally[what] = self.tally.get(what, 0) + 1
        if what == "cancelled":
            it.gone = True
            self.world.sandbox.admin("PATCH", path, {"status": "Cancelled by User"})
        elif what == "deleted":
            it.gone = True
            self.world.sandbox.admin("DELETE", path)
        else:
            it.start += 1.5 * HOUR if what == "moved" else 0 * HOUR
            it.end += 1.5 * HOUR if what == "moved" else 0.5 * HOUR
            self.world.sandbox.admin("PATCH", path, {"fromDate": it.start.isoformat(timespec="seconds"),
                                                     "toDate": it.end.isoformat(timespec="seconds")})


class Allocations:
    """A few windows of WebCheckout's, of people who have none in LibCal."""

    def __init__(self, world, count, seed):
        self.world, self.count, self.dice, self.bookings, self.changes = world, count, random.Random(seed), [], []
        self.people = [person(n) for n in range(500001, 500001 + count)]
        if count:
            world.sandbox.admin("POST", "/alma/users", [p.alma() for p in self.people])

    def feed(self, limit):
        rows = []
        while len(self.bookings) < min(limit, self.count):
            n = len(self.bookings)
            start = local("08:00") + n % 20 * 3 * HOUR
            it = Booking(n + 1, self.people[n], CENTER, start, start + HOUR)
            self.bookings.append(it)
            rows.append(reserved(it.number, it.person, it.start, it.end))
            if self.dice.random() < 0.1:
                self.changes.append(it)
        if rows:
            self.world.sandbox.admin("POST", "/webcheckout/allocations", rows)
        for it in self.changes if len(self.bookings) == self.count else []:
            it.gone = self.dice.random() < 0.5
            it.end += 0 * HOUR if it.gone else HOUR
            self.world.sandbox.admin("PATCH", f"/webcheckout/allocations/{it.number}",
                                     {"state": "CANCELED"} if it.gone else {"returnTime": written(it.end)})
        if len(self.bookings) == self.count:
            self.changes = []


def differences(bookings, rows):
    """What is wrong with the wanted windows of bookings. rows: (booking_id, asked_id, start, end, …)"""
    pieces, wrong = {}, []
    for booking_id, asked_id, start, end, *_ in rows:
        pieces.setdefault(booking_id, []).append((start, end, asked_id))
    for it in bookings:
        name = it.booking_id if isinstance(it.lid, int) else str(it.number)
        found = sorted(pieces.pop(name, []))
        if it.gone:
            wrong += [f"{name} is gone, and {len(found)} windows of it are wanted"] if found else []
            continue
        covers = found and found[0][0] == it.start and found[-1][1] == it.end and all(a[1] == b[0] for a, b in zip(found, found[1:]))
        if not covers or any(asked_id != it.person.asked_id for *_, asked_id in found):
            wrong.append(f"{name} is from {stamp(it.start)} to {stamp(it.end)}, and wanted are "
                         + (", ".join(f"{stamp(a)} to {stamp(b)}" for a, b, _ in found) or "no windows"))
    return wrong + [f"{name} has {len(found)} wanted windows, and was never booked" for name, found in pieces.items()]


# ---- OneClick's catalog ----

class Changes:
    """The catalog changes: titles come and go, and are lent. Only eBooks: what patrons borrow is audio."""

    def __init__(self, world, titles, seed):
        self.catalog, self.dice, self.step, self.steps, self.titles = Catalog(world), random.Random(seed), 0, 20, titles
        self.catalog.generate(titles)
        lines = [line for line in self.catalog.lines() if not line["removed"]]
        self.ebooks = [line["isbn"] for line in lines if line["mediaType"] == "eBook"]
        self.audio = [line["isbn"] for line in lines if line["mediaType"] == "eAudio" and line["availability"]]
        self.tally = {"added": 0, "removed": 0, "lent or returned": 0}

    def feed(self, done):
        """done: the share of the work."""
        while self.step < self.steps and self.step / self.steps <= done:
            some = share(self.titles, 200, 2)
            self.catalog.generate(some, **{"from": 1000001 + self.step * some})
            for isbn in [self.ebooks.pop(self.dice.randrange(len(self.ebooks))) for _ in range(min(some, len(self.ebooks) // 4))]:
                self.catalog.remove(isbn)
                self.tally["removed"] += 1
            for isbn in self.dice.sample(self.ebooks, min(3 * some, len(self.ebooks))):
                self.catalog.lend(isbn, self.dice.random() < 0.5)
                self.tally["lent or returned"] += 1
            self.tally["added"] += some
            self.step += 1


# ---- what patrons ask for ----

def wise_patron(number):
    return hashlib.md5(b"patron %d" % number).hexdigest()


def folio_id(kind, number):
    return f"{kind}0000000-0000-4000-8000-{number:012d}"


class Patrons:
    """
    Patrons of three services, who each ask for three things one after the other; who asks does so again under the same ref until
    it is taken, and sometimes hangs up before the answer or asks once more behind it.
    """

    def __init__(self, world, count, audio, seed):
        self.world, self.seed, self.allowed, self.stopped = world, seed, 0, False
        self.each = {"folio": [], "wise": [], "oneclick": []}
        number = share(count, 9, 1)
        self._folio(number)
        self._wise(number)
        self._oneclick(number, audio)
        self.total = 3 * 3 * number
        self.taken, self.faults, self.again, self.hung_up, self.lock = {}, [], 0, 0, threading.Lock()

    def _folio(self, number):
        self.world.sandbox.settings(folio={"version": 6.5})
        self.world.sandbox.admin("POST", "/folio/generate", {"users": number, "items": 2 * number, "items_per_instance": 1})
        for at in range(1, number + 1, 500):
            self.world.sandbox.admin("POST", "/folio/loans", [
                {"userId": folio_id(1, n), "itemId": folio_id(2, n), "loanDate": stamp(datetime.datetime.now(UTC) - 200 * HOUR),
                 "dueDate": stamp(datetime.datetime.now(UTC) + 200 * HOUR)} for n in range(at, min(at + 500, number + 1))])
        for n in range(1, number + 1):
            self.each["folio"].append((folio_id(1, n), [
                ("renew", {"item": folio_id(2, n)}), ("hold_item", {"item": folio_id(2, number + n), "pickup": PICKUP}),
                ("account", {"loans": True, "holds": True})]))

    def _wise(self, number):
        self.world.sandbox.settings(wise={"accept_all_titles": True, "accept_all_patrons": True})
        for n in range(1, number + 1):
            self.each["wise"].append((wise_patron(n), [
                ("hold", {"library": LIBRARY, "title": str(100000 + n), "branch": HOME}),
                ("holds", {"library": LIBRARY, "titles": [str(300000 + n), str(500000 + n)], "type": "ALL", "pickup": HOME}),
                ("list", {"library": LIBRARY})]))

    def _oneclick(self, number, audio):
        cards = [person(700000 + n) for n in range(1, number + 1)]
        for at in range(0, number, 500):
            self.world.sandbox.admin("POST", "/oneclick/patrons", [{"card": p.barcode, "email": p.email} for p in cards[at:at + 500]])
        for n, p in enumerate(cards):
            isbn = {"isbn": audio[n % len(audio)]}
            self.each["oneclick"].append((p.barcode, [("checkout", {**isbn, "days": 14}), ("renew", {**isbn, "days": 7}), ("return", isbn)]))

    def names(self):
        """What tells who they are."""
        return {patron for several in self.each.values() for patron, _ in several}

    def refs(self):
        """{ref: (service, patron, action, asked)}"""
        return {f"{service}-{n}-{k}": (service, patron, action, asked) for service, several in self.each.items()
                for n, (patron, wants) in enumerate(several) for k, (action, asked) in enumerate(wants)}

    # ---- asking ----

    def start(self, url, token):
        everyone = [(service, n) for n in range(len(self.each["folio"])) for service in self.each]
        self.threads = [threading.Thread(target=self._ask, args=(url, token, everyone[k::4], 4), daemon=True) for k in range(4)]
        for one in self.threads:
            one.start()

    def _ask(self, url, token, mine, stride):
        http = requests.Session()
        http.headers["Authorization"] = f"Bearer {token}"
        for at, (service, n) in enumerate(mine):
            while 3 * stride * at >= self.allowed and not self.stopped:
                threading.Event().wait(0.1)
            patron, wants = self.each[service][n]
            for k, (action, asked) in enumerate(wants):
                what = {"ref": f"{service}-{n}-{k}", "service": service, "action": action, "patron": patron, **asked}
                if self.stopped or not self._until_taken(http, url, what):
                    return

    def _until_taken(self, http, url, what):
        dice = random.Random(f"{self.seed} {what['ref']}")
        while not self.stopped:
            hangs_up = dice.random() < 0.05
            try:
                answer = http.post(f"{url}/requests", json=what, timeout=(3, 0.004) if hangs_up else 30)
            except requests.RequestException:
                with self.lock:
                    self.again += 1
                    self.hung_up += hangs_up
                threading.Event().wait(dice.uniform(0.05, 0.2))
                continue
            if answer.status_code in (200, 202) and not self._note(what["ref"], answer.json()["request_id"], dice):
                return True
            if answer.status_code not in (200, 202, 503):
                self._fault(f"{what['ref']}: {answer.status_code} {answer.text[:200]}")
                return False
            if answer.status_code == 503:
                threading.Event().wait(0.1)
        return False

    def _note(self, ref, request_id, dice):
        """Notes that it is taken; true when it is to be asked once more."""
        known = self.taken.setdefault(ref, request_id)
        if known != request_id:
            self._fault(f"{ref} is request {known} and then {request_id}")
        return dice.random() < 0.1

    def _fault(self, what):
        with self.lock:
            self.faults.append(what)

    def done(self):
        return len(self.taken) == self.total or not any(t.is_alive() for t in self.threads)


# ---- poison ----

class Poison:
    """Messages that nobody can process, in every topic, between the good ones; some are keyed as a person's good ones are."""

    def __init__(self, world, each, people, seed):
        self.world, self.sent, self.plan, dice = world, {topic: set() for topic in READS.values()}, [], random.Random(seed)
        for topic in READS.values():
            for n in range(each):
                self.plan.append((round(dice.uniform(0, 0.95), 5), topic, n, dice.choice(people)))
        self.plan.sort(key=lambda p: p[:3])

    def feed(self, done):
        while self.plan and self.plan[0][0] <= done:
            _, topic, n, p = self.plan.pop(0)
            value = self.value(topic, n, p)
            self.sent[topic].add(value)
            self.world._produce(topic, p.primary_id if n % 2 else f"poison-{n}", value, None)
        self.world.servers.producer.poll(0)

    @staticmethod
    def value(topic, n, p):
        mark = f"poison {topic} {n}"
        return [f"{mark} of {p.first_name} {p.last_name}".encode(), f'{{"mark": "{mark}", "email": "{p.email}'.encode(),
                json.dumps([mark, p.barcode]).encode(), json.dumps({"mark": mark, "appt_id": p.email, "request_id": 7, "isbn": p.barcode}).encode(),
                b"\xff\xfe" + mark.encode()][n % 5]

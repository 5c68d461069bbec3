"""stages.py - what the benchmarks have to know of each stage: what there is at its vendor and in the tables before, what it is
asked, which calls of the vendor that takes, and how its floors are measured.

A stage fills four files in the benchmark's folder, a line a message or more:
  messages  key, value
  rows      up to four texts that floors.c puts into the plainest statements for the same work (`floors pg stage=`)
  requests  method, target, body: what `floors http` sends, as many lines a message as the stage makes calls
  headers   those of each such request
"""

import datetime
import hashlib
import hmac
import json
import uuid

import requests

DESTINATION = "Gelman Library, Level 4, Group Study Room 402 (eight seats, with a screen)"
LIBRARY = "I649"
HOLD_PARAMETERS = "N;N649;BIEB;I649;6490;6490|6491|6492|6493|~~~~|"
PICKUP = "963396d7-c96f-4bb1-a24c-42e868a8823d"


def dense(value):
    return json.dumps(value, separators=(",", ":"))


class Stage:
    consumes = produces = None
    vendor = call = None     # as the sandbox has them: the call that each message needs once
    calls = 1                # of the vendor, a message; log-ins of the program are none
    logins = ()
    most = None              # messages a second, where the vendor's quota ends it
    keys_repeat = False      # a backlog is of 1,000 people with as many messages as it takes: the order of a key is at work
    floor = None             # the statements of floors.c, where they are not its own name's

    def settings(self, bench):
        return {}

    def write(self, bench, messages, rows, calls, headers=()):
        for name, lines in (("messages", messages), ("rows", rows), ("requests", calls), ("headers", headers)):
            with open(bench.dir / name, "w") as file:
                file.writelines(line + "\n" for line in lines)
        bench.message_bytes = len(messages[-1].partition("\t")[2])

    def index(self, subjects, keys):
        """What came out is found by the message's subject, or, in the next topic, by its key."""
        self.subjects = {s: i for i, s in enumerate(subjects)}
        self.keys = {k: i for i, k in enumerate(keys)}


# ---- bookings ----

class Bookings(Stage):
    """Windows of people, known to the gate or not."""
    known_to_alma = known_to_gate = False
    with_primary_id = True

    def fill(self, bench, count, people):
        first_day = datetime.datetime.now(datetime.timezone.utc).replace(hour=9, minute=0, second=0, microsecond=0)
        windows = -(-count // people)
        persons = [(bench.person(i), f"2282{bench.round:04d}{i + 1:06d}", f"13750576{i + 1:07d}") for i in range(people)]
        appts, messages, rows, calls, ids = [], [], [], [], []
        for i in range(count):
            primary, barcode, visitor = persons[i % people]
            start = first_day + datetime.timedelta(days=1 + i // people % windows, minutes=30 * (i % 16))
            end = start + datetime.timedelta(hours=1)
            appt, booking = str(uuid.UUID(int=bench.random.getrandbits(128), version=4)), f"cs_{bench.round:04d}{i:06d}"
            ids.append(appt)
            appts.append("\t".join((appt, "libcal", "1234", booking, primary, DESTINATION, start.isoformat(), end.isoformat(),
                                    primary.lower() + "@example.edu", "now")))
            value = {"source": "libcal", "booking_id": booking, "appt_id": appt, "asked_id": primary, "primary_id": primary,
                     "start": start.strftime("%Y-%m-%dT%H:%M:%SZ"), "end": end.strftime("%Y-%m-%dT%H:%M:%SZ"),
                     "destination": DESTINATION}
            if not self.with_primary_id:
                del value["primary_id"]
            messages.append(f"{primary}\t{dense(value)}")
            rows.append(f"{appt}\t{primary}\t{barcode}\t{visitor}")
            calls.append(self.request(primary, barcode, visitor, start, end))
        if self.known_to_alma:
            bench.upsert("users", "primary_id", "primary_id, barcode, user_group, group_desc, first_name, last_name, emails, checked_at,"
                         " visitor_id, visitor_barcode",
                         ("\t".join((primary, barcode, "UGRD", "Undergraduate", "Ada", "Reader", "{%s@example.edu}" % primary.lower(), "now",
                                     visitor if self.known_to_gate else "\\N", barcode if self.known_to_gate else "\\N"))
                          for primary, barcode, visitor in persons))
        bench.copy("appts (appt_id, source, location_id, booking_id, asked_id, destination, starts_at, ends_at, email, sent_at)", appts)
        self.index(ids, [p[0] for p in persons])
        self.write(bench, messages, rows, calls, self.headers(bench))


class BookingsNew(Bookings):
    consumes, produces = "bookings.new", "users.resolve"
    vendor, call = "alma", "user"
    most = 1000 / 1.02  # ALMA_CALLS_PER_SECOND's largest, with the room that its pace leaves
    with_primary_id = False

    def settings(self, bench):
        return {"ALMA_URL": bench.vendor_url, "ALMA_API_KEYS": "sandbox-alma-key", "ALMA_CALLS_PER_SECOND": "1000", "ALMA_CALLS_LEFT_MIN": "0"}

    def fill(self, bench, count, people):
        bench.admin("POST", "/settings", json={"alma": {"accept_all": True}})
        super().fill(bench, count, people)

    def request(self, primary, *_):
        return f"GET\t/almaws/v1/users/{primary}?view=full&expand=none\t"

    def headers(self, bench):
        return ["Authorization: apikey sandbox-alma-key", "Accept: application/json"]


class Gate(Bookings):
    vendor, logins = "passagepoint", ("login",)
    known_to_alma = True

    def settings(self, bench):
        return {"PASSAGEPOINT_URL": bench.vendor_url, "PASSAGEPOINT_USERNAME": "sandbox", "PASSAGEPOINT_PASSWORD": "sandbox-pp-password",
                "PASSAGEPOINT_CATEGORIES": '{"*": "Student"}'}

    def fill(self, bench, count, people):
        bench.admin("POST", "/settings", json={"passagepoint": {"accept_all_visitors": True}})
        super().fill(bench, count, people)

    def headers(self, bench):
        login = {"username": "sandbox", "password": "sandbox-pp-password"}
        token = requests.post(bench.url + "/pp/api/v2/auth/login", json=login, timeout=10).json()["token"]
        return [f"token: {token}", "Content-Type: application/json", "Accept: application/json"]


class UsersResolve(Gate):
    consumes, produces, call = "users.resolve", "prereg.create", "createVisitor"

    def request(self, primary, barcode, *_):
        return ("POST\t/pp/api/v2/person/createVisitor?category=Student&firstName=Ada&lastName=Reader&email="
                f"{primary.lower()}%40example.edu&mobilePhoneNo={primary}&uniqueId={barcode}\t")


class PreregCreate(Gate):
    consumes, call = "prereg.create", "createPreReg"
    known_to_gate = keys_repeat = True

    def request(self, _primary, _barcode, visitor, start, end):
        return "POST\t/pp/api/v2/visit/createPreReg\t" + json.dumps(
            {"startTime": str(int(start.timestamp())), "endTime": str(int(end.timestamp())), "visitorId": visitor,
             "destination": DESTINATION})


# ---- the catalog ----

class CatalogDelta(Stage):
    """Changes that do not bring the title's record, so that each is asked for. (catalog.py measures those that do.)"""
    consumes, vendor, call = "catalog.delta", "oneclick", "title"

    def settings(self, bench):
        return {"ONECLICK_URL": bench.vendor_url, "ONECLICK_LIBRARY_ID": "1931", "ONECLICK_TOKEN": "sandbox-oneclick-token",
                "ONECLICK_CALLS_PER_SECOND": "0"}

    def fill(self, bench, count, _people):
        bench.admin("POST", "/oneclick/generate", json={"count": count})
        isbns = bench.titles(count)
        self.index(isbns, isbns)
        self.write(bench, [f'{isbn}\t{{"isbn":"{isbn}","change":"check","as_of":"2026-11-24T16:00:00Z"}}' for isbn in isbns], isbns,
                   [f"GET\t/v1/libraries/1931/media/{isbn}\t" for isbn in isbns],
                   ["Authorization: Basic sandbox-oneclick-token", "Accept-Media: complete"])


# ---- what patrons ask for ----

class Requests(Stage):
    service = action = None
    floor = "requests"

    def patron(self, i):
        raise NotImplementedError

    def asked(self, i):
        return {}

    def fill(self, bench, count, _people):
        ids = [str(uuid.UUID(int=bench.random.getrandbits(128), version=4)) for _ in range(count)]
        patrons = [self.patron(i) for i in range(count)]
        bench.copy("requests (request_id, caller, ref, service, action, patron, asked, sent_at)",
                   ("\t".join((r, "bench", r, self.service, self.action, p, dense(self.asked(i)), "now"))
                    for i, (r, p) in enumerate(zip(ids, patrons))))
        self.index(ids, patrons)
        self.write(bench,
                   [f"{p}\t" + dense({"request_id": r, "service": self.service, "action": self.action, "patron": p})
                    for r, p in zip(ids, patrons)],
                   [f"{r}\t{p}" for r, p in zip(ids, patrons)], [line for i in range(count) for line in self.requests(i)],
                   self.headers(bench))


class FolioRequests(Requests):
    """Renewals: the patron's loans are read, then the loan is renewed."""
    consumes, vendor, call, calls = "folio.requests", "folio", "renew", 2
    logins = ("loginWithExpiry", "login", "refresh")
    service, action = "folio", "renew"

    def settings(self, bench):
        return {"FOLIO_URL": bench.vendor_url, "FOLIO_TENANT": "diku", "FOLIO_USERNAME": "sandbox", "FOLIO_PASSWORD": "sandbox-folio-password"}

    def fill(self, bench, count, people):
        bench.admin("POST", "/settings", json={"folio": {"version": 6.5}})
        bench.admin("POST", "/folio/generate", json={"users": count, "items": count, "items_per_instance": 1, "lent": True})
        super().fill(bench, count, people)

    def patron(self, i):
        return f"10000000-0000-4000-8000-{i + 1:012d}"

    def item(self, i):
        return f"20000000-0000-4000-8000-{i + 1:012d}"

    def asked(self, i):
        return {"item": self.item(i)}

    def requests(self, i):
        account = f"/patron/account/{self.patron(i)}"
        return [f"GET\t{account}?includeLoans=true&includeCharges=false&includeHolds=false\t",
                f"POST\t{account}/item/{self.item(i)}/renew\t"]

    def headers(self, bench):
        login = requests.post(bench.url + "/authn/login", json={"username": "sandbox", "password": "sandbox-folio-password"},
                              headers={"X-Okapi-Tenant": "diku"}, timeout=10)
        return ["X-Okapi-Tenant: diku", "X-Okapi-Token: " + login.headers["x-okapi-token"], "Accept: application/json",
                "Content-Type: application/json"]


class Wise(Requests):
    """Holds, each of another patron, for whom staff gets a token first."""
    vendor, service, action = "wise", "wise", "hold"
    logins = ("login",)

    def settings(self, bench):
        return {"WISE_URL": bench.vendor_url, "WISE_API_ID": "sandbox-app", "WISE_API_KEY": "sandbox-wise-key", "WISE_USERNAME": "sandbox",
                "WISE_APPLICATION_NAME": "Shelfwire", "WISE_PASSWORD": "sandbox-wise-password", "WISE_CALLS_PER_SECOND": "0"}

    def fill(self, bench, count, people):
        bench.admin("POST", "/settings", json={"wise": {"accept_all_titles": True, "accept_all_patrons": True}})
        super().fill(bench, count, people)

    def patron(self, i):
        return hashlib.md5(b"patron %d" % i).hexdigest()

    def asked(self, i):
        return {"library": LIBRARY, "title": str(4000 + i % 9000), "branch": "6490"}

    def headers(self, bench):
        """The floor's requests are one patron's, whose token serves for all."""
        day = datetime.datetime.now(datetime.timezone.utc).timestamp() // 86400
        signed = hmac.new(b"sandbox-wise-key", f"{int(day)}Shelfwire".encode(), "sha256").hexdigest()
        key = f"sandbox-app:{signed}"
        said = requests.post(bench.url + "/restapi/patron/authentication", headers={"WISE_KEY": key}, timeout=10,
                             json={"username": self.patron(0), "password": "sandbox"})
        return [f"WISE_KEY: {key}", f"Authorization: {said.headers.get('Authorization') or said.json()['token']}",
                "Accept: application/json", "Content-Type: application/json"]

    def prepare_request(self, i):
        asked = self.asked(i)
        return f"GET\t/restapi/patron/{self.patron(0)}/library/{LIBRARY}/preparehold/{asked['title']}/branch/6490\t"

    def list_request(self, _i):
        return f"GET\t/restapi/patron/{self.patron(0)}/library/{LIBRARY}/hold?offset=0&limit=50\t"


class WiseHoldsPrepare(Wise):
    consumes, produces, call, calls = "wise.holds.prepare", "wise.holds.place", "preparehold", 2

    def requests(self, i):
        return [self.prepare_request(i)] * 2  # one stands for the patron's token


class WiseHoldsPlace(Wise):
    """What the stage before has prepared: the patron's holds are read, the hold is placed, the holds are read again."""
    consumes, call, calls = "wise.holds.place", "place", 4

    def requests(self, i):
        return [self.prepare_request(i)] + [self.list_request(i)] * 3

    def fill(self, bench, count, people):
        super().fill(bench, count, people)
        before = BY_NAME["wise-holds-prepare"]
        bench.admin("POST", "/settings", json={"wise": {"latency_ms": 0}})
        prefix = bench.make_topics(before.consumes, before.consumes + ".dlq", before.produces)
        bench.produce(prefix + before.consumes)
        worker = bench.worker(before.name, prefix)
        bench.await_messages(count, worker)
        bench.kill(worker)
        bench.admin("POST", "/settings", json={"wise": {"latency_ms": bench.latency_ms}})
        with bench.db.cursor() as sql:
            sql.execute("TRUNCATE intents, attempts, partition_owners")


class OneclickRequests(Requests):
    """Checkouts, each by another patron, whose number is found first."""
    consumes, vendor, call, calls = "oneclick.requests", "oneclick", "checkout", 2
    service, action = "oneclick", "checkout"

    def settings(self, bench):
        return BY_NAME["catalog-delta"].settings(bench)

    def fill(self, bench, count, people):
        bench.admin("POST", "/oneclick/generate", json={"count": 300})
        self.title = bench.titles(1, "eAudio")[0]
        self.numbers = []
        for first in range(0, count, 5000):
            some = range(first, min(first + 5000, count))
            self.numbers += bench.admin("POST", "/oneclick/patrons", json=[
                {"card": self.patron(i), "email": f"leser{i:06d}@example.edu"} for i in some])["ids"]
        super().fill(bench, count, people)

    def patron(self, i):
        return f"2282{i + 1:010d}"

    def asked(self, _i):
        return {"isbn": self.title}

    def requests(self, i):
        return [f"GET\t/v1/rpc/libraries/1931/patrons/{self.patron(i)}\t",
                f"POST\t/v1/libraries/1931/patrons/{self.numbers[i]}/checkouts/{self.title}\t"]

    def headers(self, bench):
        return ["Authorization: Basic sandbox-oneclick-token", "Content-Type: application/json", "Accept: application/json"]


BY_NAME = {"bookings-new": BookingsNew(), "users-resolve": UsersResolve(), "prereg-create": PreregCreate(),
           "catalog-delta": CatalogDelta(), "folio-requests": FolioRequests(), "wise-holds-prepare": WiseHoldsPrepare(),
           "wise-holds-place": WiseHoldsPlace(), "oneclick-requests": OneclickRequests()}
for _name, _stage in BY_NAME.items():
    _stage.name = _name

"""What the scenarios are written in: servers, one library's world a test, programs that run and die, and the counting.

SHELFWIRE_BUILD names the directory with the programs (build/bin of the checkout, unless set), SHELFWIRE_UNDER a command that runs
them, as valgrind; SHELFWIRE_PATIENCE is how many times slower they are then.
Nothing here sleeps for time to pass: it waits for something that can be seen.
"""
import contextlib
import copy
import dataclasses
import datetime
import functools
import itertools
import json
import os
import pathlib
import re
import secrets
import shlex
import signal
import subprocess
import time
import uuid

import confluent_kafka
import jsonschema
import psycopg2
import psycopg2.extras
import requests
from confluent_kafka.admin import AdminClient, NewTopic
from leaks import Scan

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("SHELFWIRE_BUILD", ROOT / "build/bin"))
PATIENCE = float(os.environ.get("SHELFWIRE_PATIENCE", 1))  # times as long is waited for everything
UNDER = shlex.split(os.environ.get("SHELFWIRE_UNDER", ""))  # what the programs are run by: valgrind
SCHEMAS = ROOT / "schemas"
STAGES = {"bookings-new": "bookings.new", "users-resolve": "users.resolve", "prereg-create": "prereg.create"}
TOPICS = list(STAGES.values())
READS = {**STAGES, "catalog-delta": "catalog.delta", "folio-requests": "folio.requests",
         "wise-holds-prepare": "wise.holds.prepare", "wise-holds-place": "wise.holds.place",
         "oneclick-requests": "oneclick.requests"}  # every worker's topic; the stages are the bookings' chain
ALMA_KEY, GATE_PASSWORD = "sandbox-alma-key", "sandbox-pp-password"
LIBCAL_SECRET = "sandbox-libcal-secret"
ONECLICK_TOKEN = "sandbox-oneclick-token"
FOLIO_PASSWORD, FOLIO_REASON = "sandbox-folio-password", "75187e8d-e25a-47a7-89ad-23ba612338de"
WEBCHECKOUT_PASSWORD = "sandbox-wco-password"
WISE_KEY, WISE_PASSWORD = "sandbox-wise-key", "sandbox-wise-password"
SECRETS = (ALMA_KEY, GATE_PASSWORD, LIBCAL_SECRET, ONECLICK_TOKEN, FOLIO_PASSWORD, WEBCHECKOUT_PASSWORD, WISE_KEY, WISE_PASSWORD)
DESTINATION = "LibCal Gelman"
PARTITIONS = 4
UTC = datetime.timezone.utc


def wait_for(predicate, what, timeout=30.0, every=0.02):
    """Until predicate() is true (what it returned is returned); `what` says what did not come, or is called to say it."""
    timeout *= PATIENCE
    deadline = time.monotonic() + timeout
    while True:
        seen = predicate()
        if seen:
            return seen
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout:g} s: {what() if callable(what) else what}")
        time.sleep(every)


def keeps_true(predicate, what, seconds):
    """For what must not happen: predicate() holds the whole time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        assert predicate(), what() if callable(what) else what
        time.sleep(0.05)


# ---- the servers ----

class Server:
    """PostgreSQL or Apache Kafka, by the script that starts and kills it; first: what only its first start is told."""

    def __init__(self, script, folder, *first, **env):
        self.path, self.folder, self.extra = ROOT / "tests/services" / script, folder, env
        self.script("start", *first)
        words = shlex.split(self.script("env"))
        self.env = dict(word.split("=", 1) for word in words if "=" in word)

    def script(self, *words):
        done = subprocess.run([self.path, words[0], self.folder, *words[1:]], env={**os.environ, **self.extra},
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        assert done.returncode == 0, done.stdout
        return done.stdout

    def start(self):
        self.script("start")

    def stop(self):
        self.script("stop")

    def kill(self):
        self.script("kill")


class Servers:
    def __init__(self, folder, *kafka_arguments, lines=4, **kafka_env):
        """lines: how many ways of their own to Kafka there are, for programs that are cut off; see fires/lines.py."""
        os.chmod(folder, 0o711)  # PostgreSQL's user must reach what lies in it
        self.folder = pathlib.Path(folder)
        self.postgres = Server("postgres.sh", self.folder / "pg")
        ways = ("--lines", str(lines)) if lines else ()
        self.kafka = Server("kafka.sh", self.folder / "kafka", *ways, *kafka_arguments, **kafka_env)
        self.bootstrap = self.kafka.env["KAFKA_BOOTSTRAP_SERVERS"]
        self.numbers = itertools.count(1)
        self.producer = self.make_producer()
        self.admin = AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 0})
        with self.connect(self.postgres.env["PGDATABASE"]) as c:
            c.cursor().execute("CREATE DATABASE template_of_tests")
        self.migrate("template_of_tests")

    def make_producer(self):
        return confluent_kafka.Producer({
            "bootstrap.servers": self.bootstrap, "partitioner": "murmur2_random", "linger.ms": 5, "acks": "all",
            "message.max.bytes": 4000000, "enable.idempotence": True, "log_level": 0})  # a retry must not overtake

    def with_own_producer(self):
        """The same servers, for a thread of its own: whoever flushes a producer waits for all that is in it."""
        it = copy.copy(self)
        it.producer = self.make_producer()
        return it

    @contextlib.contextmanager
    def connect(self, database):
        env = self.postgres.env
        connection = psycopg2.connect(host=env["PGHOST"], port=env["PGPORT"], user=env["PGUSER"],
                                      password=env["PGPASSWORD"], dbname=database)
        connection.autocommit = True
        try:
            yield connection
        finally:
            connection.close()

    def migrate(self, database):
        done = subprocess.run([BUILD / "migrate"], env={**self.postgres.env, "PATH": os.environ["PATH"],
                                                        "PGDATABASE": database, "SQL_DIR": str(SCHEMAS / "sql")},
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        assert done.returncode == 0, done.stdout

    def kafka_pid(self):
        return int((self.folder / "kafka/broker-1/pid").read_text().split()[0])

    @contextlib.contextmanager
    def kafka_frozen(self):
        """The broker says nothing, as behind a cut network; connections stay open."""
        os.kill(self.kafka_pid(), signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self.kafka_pid(), signal.SIGCONT)

    def stop(self):
        self.kafka.kill()
        self.postgres.stop()


# ---- PostgreSQL ----

class Database:
    def __init__(self, servers, name):
        self.servers, self.name, self.connection = servers, name, None

    def open(self):
        env = self.servers.postgres.env
        c = psycopg2.connect(host=env["PGHOST"], port=env["PGPORT"], user=env["PGUSER"], password=env["PGPASSWORD"],
                             dbname=self.name, application_name="scenario")
        return c

    def rows(self, sql, *values):
        for last in (False, True):
            try:
                if not self.connection:
                    self.connection = self.open()
                    self.connection.autocommit = True
                cursor = self.connection.cursor()
                cursor.execute(sql, values or None)
                return cursor.fetchall() if cursor.description else []
            except (psycopg2.OperationalError, psycopg2.InterfaceError):
                self.connection = None  # the server was restarted
                if last:
                    raise

    def one(self, sql, *values):
        (row,) = self.rows(sql, *values)
        return row[0]

    def insert(self, sql, rows):
        self.rows("SELECT 1")
        psycopg2.extras.execute_values(self.connection.cursor(), sql, rows, page_size=1000)

    @contextlib.contextmanager
    def locked(self, table, mode="ACCESS EXCLUSIVE"):
        """Whoever needs that table waits; SHARE lets it be read."""
        holder = self.open()
        holder.cursor().execute(f"LOCK TABLE {table} IN {mode} MODE")
        try:
            yield
        finally:
            holder.rollback()
            holder.close()

    def waiting(self):
        """How many statements wait for a lock."""
        return self.one("SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND wait_event_type = 'Lock'", self.name)

    def end_sessions(self):
        """What a dead program left behind in the server must not go on: its statements wait for a lock."""
        self.rows("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s AND application_name <> 'scenario'",
                  self.name)
        wait_for(lambda: not self.one("SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND application_name <> 'scenario'",
                                      self.name), "the sessions of a dead program are still there")

    def close(self):
        if self.connection:
            self.connection.close()


# ---- the vendors ----

class Sandbox:
    def __init__(self, folder):
        port_file = folder / "sandbox.port"
        self.process = subprocess.Popen([BUILD / "sandbox", "--port", "0", "--port-file", port_file],
                                        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        wait_for(lambda: port_file.exists() and port_file.read_text(), "the sandbox does not start", 10, 0.005)
        self.url = f"http://127.0.0.1:{int(port_file.read_text())}"
        self.http = requests.Session()

    def admin(self, method, path, body=None, **query):
        answer = self.http.request(method, f"{self.url}/admin{path}", json=body, params=query, timeout=20)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def settings(self, **vendors):
        return self.admin("POST", "/settings", vendors)

    def fault(self, vendor, call, kind, **members):
        """Adds a fault and returns its number, to be taken away with heal()."""
        return self.admin("POST", "/faults", {"vendor": vendor, "call": call, "kind": kind, **members})["id"]

    def fired(self, fault):
        return next(f["fired"] for f in self.faults() if f["id"] == fault)

    def faults(self):
        got = self.admin("GET", "/faults")
        return got["faults"] if isinstance(got, dict) else got

    def heal(self, fault=None):
        self.admin("DELETE", f"/faults/{fault}" if fault else "/faults")

    def vendor(self, vendor, **members):
        return self.admin("POST", "/vendor", {"vendor": vendor, **members})

    def counts(self, vendor="passagepoint"):
        return self.admin("GET", "/counts")[vendor]

    def count(self, vendor, call, what="requests"):
        """Requests, effects, in_flight or max_in_flight of a call; or how often it answered a status, as "401"."""
        found = self.counts(vendor)["calls"].get(call, {})
        return found.get("by_status", {}).get(what, 0) if what.isdigit() else found.get(what, 0)

    def preregs(self):
        return self.admin("GET", "/effects", kind="preregs")["preregs"]

    def visitors(self):
        return [v for v in self.admin("GET", "/effects", kind="visitors")["visitors"] if not v["loaded"]]

    def calls(self, vendor, call, **query):
        got = self.admin("GET", "/calls", vendor=vendor, call=call, last=16384, **query)
        return got["calls"] if isinstance(got, dict) else got

    def stop(self):
        self.process.terminate()
        self.process.wait(10)


# ---- programs ----

class Program:
    """A program under test: started with nothing but what it is given, its log in a file."""

    def __init__(self, world, name, env, arguments=()):
        self.world, self.name = world, name
        number = sum(p.name == name for p in world.programs) + 1
        self.log_path = world.folder / f"{name}-{number}.log"
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen([*UNDER, BUILD / name, *arguments], env=env, stdin=subprocess.DEVNULL, stdout=log,
                                            stderr=log, cwd=world.folder)
        self.ended = False

    def log(self):
        return self.log_path.read_text(errors="replace")

    def tail(self, lines=25):
        return f"\n--- {self.log_path.name}\n" + "\n".join(self.log().splitlines()[-lines:])

    def running(self):
        return self.process.poll() is None

    @functools.cached_property
    def url(self):
        found = wait_for(lambda: re.search(r"metrics and health on (http://\S+:\d+)", self.log()) or not self.running(),
                         lambda: "no metrics port" + self.tail())
        assert found is not True, f"{self.name} ended ({self.process.returncode})" + self.tail()
        return found[1]

    def get(self, path):
        return requests.get(self.url + path, timeout=10 * PATIENCE)

    def ready(self):
        """Until it has joined its group and reached PostgreSQL."""
        self.url

        def is_ready():
            assert self.running(), f"{self.name} ended ({self.process.returncode})" + self.tail()
            return self.get("/readyz").status_code == 200
        wait_for(is_ready, lambda: f"{self.name} is not ready: {self.get('/readyz').text}" + self.tail())
        return self

    def metrics(self):
        """{name: {labels as written: value}}"""
        found = {}
        for line in self.get("/metrics").text.splitlines():
            if line and not line.startswith("#"):
                name, labels, value = re.fullmatch(r"([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)", line).groups()
                found.setdefault(name, {})[labels or ""] = float(value)
        return found

    def metric(self, name, having=""):
        return sum(v for labels, v in self.metrics().get(name, {}).items() if having in labels)

    def kill9(self):
        self.process.kill()
        self.process.wait()
        self.ended = True

    def stop(self, timeout=30, lets_go=True):
        """SIGTERM: it drains and ends well; lets_go: by itself, and not because its time was over."""
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(timeout * PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"{self.name} does not end within {timeout} s of SIGTERM" + self.tail()) from None
        self.ended = True
        assert self.process.returncode == 0, f"{self.name} ended with {self.process.returncode}" + self.tail()
        assert not lets_go or "not everything let go in time" not in self.log(), self.tail()

    def sigstop(self):
        self.process.send_signal(signal.SIGSTOP)

    def sigcont(self):
        self.process.send_signal(signal.SIGCONT)

    def await_log(self, words, timeout=30):
        wait_for(lambda: words in self.log(), lambda: f"{self.name} does not say \"{words}\"" + self.tail(), timeout)


# ---- people and windows ----

@dataclasses.dataclass
class Person:
    number: int
    asked_id: str
    primary_id: str
    barcode: str
    first_name: str
    last_name: str
    email: str
    visitor_id: str = None

    def alma(self, **changed):
        return {"primary_id": self.primary_id, "first_name": self.first_name, "last_name": self.last_name,
                "email": self.email, "barcode": self.barcode, "group": {"value": "UGRD", "desc": "gw und"}, **changed}


def person(number, **changed):
    it = Person(number, f"G{number:08d}", f"G{number:08d}", f"2282{number:010d}", f"Vorname{number:05d}",
                f"Nachname{number:05d}", f"leser{number:05d}@example.edu")
    return dataclasses.replace(it, **changed)


def stamp(at):
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclasses.dataclass
class Window:
    person: Person
    booking_id: str
    start: datetime.datetime
    end: datetime.datetime
    destination: str = DESTINATION
    appt_id: str = dataclasses.field(default_factory=lambda: str(uuid.uuid4()))
    trace_id: str = dataclasses.field(default_factory=lambda: secrets.token_hex(16))

    def key(self, topic):
        return self.person.asked_id if topic == "bookings.new" else self.person.primary_id

    def json(self, topic):
        members = {"source": "libcal", "booking_id": self.booking_id, "appt_id": self.appt_id, "asked_id": self.person.asked_id}
        if topic != "bookings.new":
            members["primary_id"] = self.person.primary_id
        return {**members, "start": stamp(self.start), "end": stamp(self.end), "destination": self.destination}

    def value(self, topic):
        return json.dumps(self.json(topic))

    def headers(self, topic):
        return [("ce_specversion", "1.0"), ("ce_id", f"scenario/{self.appt_id}"), ("ce_source", "/shelfwire/scenario"),
                ("ce_type", f"shelfwire.{topic}"), ("ce_time", stamp(datetime.datetime.now(UTC))),
                ("content-type", "application/json"), ("traceparent", f"00-{self.trace_id}-{secrets.token_hex(8)}-01")]


@dataclasses.dataclass
class Message:
    partition: int
    offset: int
    key: bytes
    value: bytes
    headers: dict

    def json(self):
        return json.loads(self.value)


TOMORROW = (datetime.datetime.now(UTC) + datetime.timedelta(days=1)).replace(hour=6, minute=0, second=0, microsecond=0)


class World:
    """One library: a database, a prefix for topics and groups, the vendors, and the programs a test starts."""

    def __init__(self, servers, folder):
        self.servers, self.folder, self.programs = servers, folder, []
        self.people, self.windows_made = [], []
        self.secrets, self.logs_may_say = set(), set()
        self.knows_of_restores = False  # what else happens must never look like one
        number = next(servers.numbers)
        self.prefix = f"t{number}-"
        self.made_topics = set()
        name = f"world_{number}"
        with servers.connect(servers.postgres.env["PGDATABASE"]) as c:
            c.cursor().execute(f"CREATE DATABASE {name} TEMPLATE template_of_tests")
        self.db = Database(servers, name)
        self.sandbox = Sandbox(folder)
        self.urls = dict.fromkeys(("alma", "passagepoint", "oneclick", "folio", "wise"), self.sandbox.url)

    # ---- programs ----

    def env(self, name, **changed):
        env = {
            "PATH": os.environ["PATH"], "KAFKA_BOOTSTRAP_SERVERS": self.servers.bootstrap, **self.servers.postgres.env,
            "PGDATABASE": self.db.name, "TOPIC_PREFIX": self.prefix, "TOPIC_PARTITIONS": str(PARTITIONS),
            "METRICS_PORT": "0", "LOG_FORMAT": "text", "LOG_LEVEL": "debug", "RETRY_MS_MIN": "50", "RETRY_MS_MAX": "500",
            "KAFKA_SESSION_TIMEOUT_MS": "6000",
        }
        if name == "bookings-new":
            env.update(ALMA_URL=self.urls["alma"], ALMA_API_KEYS=ALMA_KEY, ALMA_CALLS_PER_SECOND="1000")
        elif name == "libcal-bookings":
            env.update(LIBCAL_URL=self.urls.get("libcal", self.sandbox.url), LIBCAL_CLIENT_ID="123",
                       LIBCAL_CLIENT_SECRET=LIBCAL_SECRET, LIBCAL_LOCATIONS="1234", LIBCAL_ID_QUESTION="q12505",
                       LIBCAL_POLL_SECONDS="1", RESEND_SECONDS="1",
                       PASSAGEPOINT_DESTINATIONS=json.dumps({"1234": DESTINATION}))
        elif name == "webcheckout-allocations":
            env.update(WEBCHECKOUT_URL=self.urls.get("webcheckout", self.sandbox.url), WEBCHECKOUT_USERNAME="sandbox",
                       WEBCHECKOUT_PASSWORD=WEBCHECKOUT_PASSWORD, WEBCHECKOUT_CENTERS="53207831",
                       WEBCHECKOUT_POLL_SECONDS="1", RESEND_SECONDS="1",
                       PASSAGEPOINT_DESTINATIONS=json.dumps({"53207831": DESTINATION}))
        elif name in ("oneclick-catalog", "catalog-delta", "oneclick-requests"):
            env.update(ONECLICK_URL=self.urls["oneclick"], ONECLICK_LIBRARY_ID="1931", ONECLICK_TOKEN=ONECLICK_TOKEN)
            env.update(**({} if name == "oneclick-catalog" else {"ONECLICK_CALLS_PER_SECOND": "0"}))
        elif name == "folio-requests":
            env.update(FOLIO_URL=self.urls["folio"], FOLIO_TENANT="diku", FOLIO_USERNAME="sandbox", FOLIO_PASSWORD=FOLIO_PASSWORD,
                       FOLIO_CANCEL_REASON_ID=FOLIO_REASON)
        elif name.startswith("wise-"):
            env.update(WISE_URL=self.urls["wise"], WISE_API_ID="sandbox-app", WISE_API_KEY=WISE_KEY, WISE_USERNAME="sandbox",
                       WISE_APPLICATION_NAME="Shelfwire", WISE_PASSWORD=WISE_PASSWORD, WISE_CALLS_PER_SECOND="0")
        elif name == "patron-requests":
            env.update(REQUESTS_PORT="0", RESEND_SECONDS="1")
        else:
            env.update(PASSAGEPOINT_URL=self.urls["passagepoint"], PASSAGEPOINT_USERNAME="sandbox",
                       PASSAGEPOINT_PASSWORD=GATE_PASSWORD)
        if name == "users-resolve":
            env.update(PASSAGEPOINT_CATEGORIES='{"UGRD": "Student", "*": "Visitor"}')
        if name == "prereg-create":
            env.update(PASSAGEPOINT_DESTINATIONS=json.dumps({"1234": DESTINATION}))
        for sanitizer in ("ASAN_OPTIONS", "UBSAN_OPTIONS", "TSAN_OPTIONS", "LSAN_OPTIONS"):
            if sanitizer in os.environ:
                env[sanitizer] = os.environ[sanitizer]
        env.update({k: str(v) for k, v in changed.items() if v is not None})
        return {k: v for k, v in env.items() if k not in changed or changed[k] is not None}

    def start(self, name, **changed):
        """Starts a program and waits until it has partitions or a place in the group; see begin()."""
        if name in READS:
            topic = READS[name]
            onward = TOPICS[TOPICS.index(topic) + 1:][:1] if topic in TOPICS else []
            self.make_topics(topic, topic + ".dlq", *onward)
        return self.begin(name, **changed).ready()

    def begin(self, name, *arguments, **changed):
        it = Program(self, name, self.env(name, **changed), arguments)
        self.programs.append(it)
        return it

    def run(self, name, *arguments, timeout=60, **changed):
        """Runs a program to its end, whatever that is; its exit status is .process.returncode."""
        it = self.begin(name, *arguments, **changed)
        try:
            it.process.wait(timeout * PATIENCE)
        except subprocess.TimeoutExpired:
            it.kill9()
            raise AssertionError(f"{name} {arguments} does not end" + it.tail()) from None
        it.ended = True
        return it

    def start_all(self, make_topics=True, **changed):
        if make_topics:  # a topic that is a moment old keeps a group waiting for a second
            self.make_topics(*TOPICS, *(t + ".dlq" for t in TOPICS))
        started = [self.begin(name, **changed) for name in STAGES]
        return [p.ready() for p in started]

    def own_door(self, vendor):
        """The vendor gets a port of its own, which is closed while it is down: "connection refused"."""
        port = self.sandbox.vendor(vendor, port=0)["port"]
        self.urls[vendor] = f"http://127.0.0.1:{port}"

    # ---- people and windows ----

    def make_people(self, count, known_to=None, first=1):
        """
        Persons that the vendors and the database know as far as `known_to` wants it: the topic whose stage is to work.
        Before bookings.new they are Alma's; at users.resolve our row has their card, at prereg.create their visitor too.
        """
        people = [person(n) for n in range(first, first + count)]
        self.sandbox.admin("POST", "/alma/users", [p.alma() for p in people])
        if known_to == "prereg.create":
            loaded = [{"uniqueId": p.barcode, "firstName": p.first_name, "lastName": p.last_name, "category": "Student"}
                      for p in people]
            for p, visitor in zip(people, self.sandbox.admin("POST", "/passagepoint/visitors", loaded)["ids"]):
                p.visitor_id = str(visitor)
        if known_to in ("users.resolve", "prereg.create"):
            self.db.insert(
                "INSERT INTO users (primary_id, barcode, user_group, group_desc, first_name, last_name, emails, status, checked_at,"
                " visitor_id, visitor_barcode) VALUES %s",
                [(p.primary_id, p.barcode, "UGRD", "gw und", p.first_name, p.last_name, [p.email], "ACTIVE",
                  datetime.datetime.now(UTC), p.visitor_id, p.visitor_id and p.barcode) for p in people])
        self.people += people
        return people

    def add_windows(self, windows):
        self.db.insert(
            "INSERT INTO appts (appt_id, source, location_id, booking_id, asked_id, destination, starts_at, ends_at, email,"
            " sent_at, trace_id) VALUES %s",
            [(w.appt_id, "libcal", "1234", w.booking_id, w.person.asked_id, w.destination, w.start, w.end, w.person.email,
              datetime.datetime.now(UTC), w.trace_id) for w in windows])
        self.windows_made += windows
        return windows

    def make_windows(self, count, people=None, topic="bookings.new", send=True):
        """
        Rows in `appts`, and the messages a producer would send: window i is of person i mod `people`, so that each one's
        windows come in the order of their time. Returns the windows.
        """
        if people is None:
            people = count
        if isinstance(people, int):
            people = self.make_people(people, topic, first=len(self.people) + 1)
        done = {p.primary_id: sum(w.person is p for w in self.windows_made) for p in people} if self.windows_made else {}
        windows = []
        for i in range(count):
            p, slot = people[i % len(people)], i // len(people) + done.get(people[i % len(people)].primary_id, 0)
            start = TOMORROW + datetime.timedelta(hours=2 * slot)
            windows.append(Window(p, f"cs_{len(self.windows_made) + i:08d}", start, start + datetime.timedelta(hours=1)))
        self.add_windows(windows)
        if send:
            self.send(topic, windows)
        return windows

    # ---- Kafka ----

    def topic(self, name):
        return self.prefix + name

    def make_topics(self, *names, partitions=PARTITIONS):
        missing = [n for n in names if n not in self.made_topics]
        if not missing:
            return
        made = self.servers.admin.create_topics([NewTopic(self.topic(n), partitions, 1) for n in missing])
        for n in missing:
            try:
                made[self.topic(n)].result(20)
            except confluent_kafka.KafkaException as e:
                if e.args[0].code() != confluent_kafka.KafkaError.TOPIC_ALREADY_EXISTS:
                    raise
            self.made_topics.add(n)

    def topics(self):
        """The names of this world's topics, without the prefix."""
        listed = self.servers.admin.list_topics(timeout=20).topics
        return {name[len(self.prefix):] for name in listed if name.startswith(self.prefix)}

    def send(self, topic, windows):
        self.make_topics(topic)
        for w in windows:
            self._produce(topic, w.key(topic), w.value(topic), w.headers(topic))
        self._flush()

    def produce_raw(self, topic, key, value, headers=None):
        self.make_topics(topic)
        self._produce(topic, key, value, headers)
        self._flush()

    def _produce(self, topic, key, value, headers):
        while True:
            try:
                self.servers.producer.produce(self.topic(topic), value=value, key=key, headers=headers or [],
                                              on_delivery=self._delivered)
                return
            except BufferError:
                self.servers.producer.poll(0.1)

    @staticmethod
    def _delivered(error, _message):
        assert not error, error

    def _flush(self):
        assert self.servers.producer.flush(30) == 0, "Kafka does not take the messages"

    @contextlib.contextmanager
    def consumer(self, group):
        c = confluent_kafka.Consumer({"bootstrap.servers": self.servers.bootstrap, "group.id": group, "log_level": 0,
                                      "enable.auto.commit": False, "auto.offset.reset": "earliest", "fetch.wait.max.ms": 10,
                                      "fetch.message.max.bytes": 8000000, "enable.partition.eof": True})
        try:
            yield c
        finally:
            c.close()

    def _partitions(self, c, topic):
        listed = c.list_topics(self.topic(topic), timeout=20).topics[self.topic(topic)]
        return sorted(listed.partitions) if not listed.error else []

    def read_topic(self, topic):
        """All its messages, each partition's in order."""
        found = []
        with self.consumer(self.prefix + "reader") as c:
            ids = self._partitions(c, topic)
            if not ids:
                return []
            c.assign([confluent_kafka.TopicPartition(self.topic(topic), p, confluent_kafka.OFFSET_BEGINNING) for p in ids])
            open_ids, deadline = set(ids), time.monotonic() + 30
            while open_ids:
                assert time.monotonic() < deadline, f"{topic} cannot be read to its end"
                m = c.poll(1)
                if m is None:
                    continue
                if m.error():
                    if m.error().code() == confluent_kafka.KafkaError._PARTITION_EOF:
                        open_ids.discard(m.partition())
                    continue
                found.append(Message(m.partition(), m.offset(), m.key(), m.value(), dict(m.headers() or [])))
        return sorted(found, key=lambda m: (m.partition, m.offset))

    def lags(self, program):
        """Committed offset against the end, per partition of the topic that the program reads."""
        topic = READS[program]
        with self.consumer(self.prefix + program) as c:
            at = [confluent_kafka.TopicPartition(self.topic(topic), p) for p in self._partitions(c, topic)]
            found = {}
            for tp in c.committed(at, timeout=20) if at else []:
                low, high = c.get_watermark_offsets(tp, timeout=20)
                found[tp.partition] = high - (tp.offset if tp.offset >= 0 else low)
            return found

    def written(self, topic):
        """How many messages a topic was ever given."""
        with self.consumer(self.prefix + "reader") as c:
            return sum(c.get_watermark_offsets(confluent_kafka.TopicPartition(self.topic(topic), p), timeout=20)[1]
                       for p in self._partitions(c, topic))

    def lag(self, program):
        return sum(self.lags(program).values())

    def await_no_lag(self, *programs, timeout=30):
        """Everything that was sent is finished and committed; stage by stage, in the order of the pipeline."""
        for program in programs or STAGES:
            wait_for(lambda: self.lag(program) == 0,
                     lambda: f"{program} lags by {self.lag(program)}" + "".join(p.tail() for p in self.programs if p.running()),
                     timeout, 0.15)

    # ---- what came of it ----

    def answers(self):
        """How many windows have which answer."""
        return dict(self.db.rows("SELECT coalesce(answer, '-'), count(*) FROM appts GROUP BY 1"))

    def made(self):
        return self.db.one("SELECT count(*) FROM appts WHERE prereg_id IS NOT NULL")

    def await_made(self, count, timeout=30):
        wait_for(lambda: self.made() >= count,
                 lambda: f"{self.made()} of {count} windows were made: {self.answers()}"
                         + "".join(p.tail() for p in self.programs if p.running()), timeout, 0.05)

    def appt(self, window):
        cursor = self.db.rows("SELECT row_to_json(a) FROM appts a WHERE appt_id = %s", window.appt_id)
        return cursor[0][0]

    def desk(self, open_only=True):
        """[(kind, subject)], soonest visit first."""
        return self.db.rows("SELECT kind, subject FROM desk" + (" WHERE closed_at IS NULL" if open_only else "")
                            + " ORDER BY visit_at, desk_id")

    def dead_letters(self, topic):
        return self.read_topic(topic + ".dlq") if topic + ".dlq" in self.topics() else []

    def assert_no_dead_letters(self):
        for topic in TOPICS:
            assert not self.dead_letters(topic), f"dead letters in {topic}.dlq: {self.dead_letters(topic)[:3]}"

    def assert_exactly_once(self, windows=None):
        """Every window has one pre-registration and every person one visitor at the gate, and the rows know which."""
        windows = self.windows_made if windows is None else windows
        self.assert_never_twice(windows)
        preregs = {str(p["id"]): p for p in self.sandbox.preregs()}
        rows = {r[0]: r[1:] for r in self.db.rows("SELECT appt_id::text, answer, prereg_id, visitor_id, barcode FROM appts")}
        for w in windows:
            answer, prereg_id, visitor_id, barcode = rows[w.appt_id]
            assert answer == "made" and prereg_id, f"{w.booking_id} of {w.person.asked_id} is {answer}: {self.answers()}"
            at_gate = preregs.pop(prereg_id, None)
            assert at_gate, f"{w.booking_id}: the gate has no pre-registration {prereg_id}, or two rows share it"
            assert (at_gate["visitorId"], at_gate["destination"], int(at_gate["startTime"]), int(at_gate["endTime"])) == (
                visitor_id, w.destination, int(w.start.timestamp()), int(w.end.timestamp())), w
            assert barcode == w.person.barcode
        assert not preregs, f"pre-registrations that no window knows: {list(preregs.values())[:5]}"
        visitor_of = dict(self.db.rows("SELECT visitor_barcode, visitor_id FROM users WHERE visitor_id IS NOT NULL"))
        made = {v["uniqueId"]: str(v["id"]) for v in self.sandbox.visitors()}
        for barcode in {w.person.barcode for w in windows}:
            loaded = next((p.visitor_id for p in self.people if p.barcode == barcode), None)
            assert visitor_of.get(barcode) == made.get(barcode, loaded), f"card {barcode}"

    def assert_never_twice(self, windows=None):
        windows = self.windows_made if windows is None else windows
        preregs = [(p["visitorId"], p["destination"], p["startTime"], p["endTime"]) for p in self.sandbox.preregs()]
        assert len(set(preregs)) == len(preregs), f"{len(preregs) - len(set(preregs))} pre-registrations were made twice"
        cards = [v["uniqueId"] for v in self.sandbox.visitors()]
        assert len(set(cards)) == len(cards), "a visitor was made twice"
        assert set(cards) <= {w.person.barcode for w in windows}

    def assert_in_order(self):
        """At the gate each person's windows were made in the order of their messages, which is the order of their time."""
        last = {}
        for p in self.sandbox.preregs():
            start = int(p["startTime"])
            assert last.get(p["visitorId"], 0) < start, f"visitor {p['visitorId']}: out of order"
            last[p["visitorId"]] = start

    # ---- the end ----

    def stop(self, keep=False):
        """Stops what still runs, and reads every log for what must never be in one. keep: the database and the topics stay."""
        faults = []
        for p in self.programs:
            if p.running():
                p.sigcont()
                try:
                    p.stop()
                except AssertionError as e:
                    faults.append(str(e))
            elif not p.ended:
                faults.append(f"{p.name} ended by itself ({p.process.returncode})" + p.tail())
        for p in self.programs:
            faults += self.read_log(p)
        self.sandbox.stop()
        if not self.knows_of_restores:
            faults += [f"taken for a restore by {who}: {why}" for who, why in self.db.rows("SELECT noticed_by, why FROM restores")]
        self.db.close()
        if keep:
            return faults
        with self.servers.connect(self.servers.postgres.env["PGDATABASE"]) as c:
            c.cursor().execute(f"DROP DATABASE {self.db.name} WITH (FORCE)")
        mine = [self.topic(t) for t in self.topics()]
        if mine:
            self.servers.admin.delete_topics(mine)  # not waited for; operation_timeout=0 would delete nothing
        return faults

    def read_log(self, program):
        log, faults = program.log(), []
        for report in ("AddressSanitizer", "LeakSanitizer", "ThreadSanitizer", "runtime error:", "== Invalid ", "uninitialised"):
            if report in log:
                faults.append(f"{program.log_path.name}: {report}" + program.tail(60))
        forbidden = {*SECRETS, self.servers.postgres.env["PGPASSWORD"], *self.secrets} - self.logs_may_say
        return faults + Scan(forbidden).read(program.log_path.name, log)


# ---- LibCal's rows ----

NEW_YORK = datetime.timezone(-datetime.timedelta(hours=5))


def local(clock, day=1, zone=NEW_YORK):
    """A time of day, `day` days after today there: local("10:30")."""
    hour, minute = clock.split(":")
    today = datetime.datetime.now(zone).replace(hour=0, minute=0, second=0, microsecond=0)
    return today + datetime.timedelta(days=day, hours=int(hour), minutes=int(minute))


def booked(booking_id, who, start, end, status="Confirmed", lid=1234, **more):
    """A row as LibCal lists it. who: a Person, or what was typed on the form, or None; a member given as None is left out."""
    typed, email = (who.asked_id, who.email) if isinstance(who, Person) else (who, "somebody@example.edu")
    row = {"bookId": booking_id, "eid": 71489, "cid": 18578, "lid": lid, "fromDate": start.isoformat(timespec="seconds"),
           "toDate": end.isoformat(timespec="seconds"), "firstName": "Vorname0", "lastName": "Nachname0", "email": email,
           "status": status, "q12505": typed, **more}
    return {member: value for member, value in row.items() if value is not None}


# ---- schemas ----

@functools.lru_cache(None)
def validator(topic):
    stored = {}
    for path in SCHEMAS.glob("*.schema.json"):
        schema = json.loads(path.read_text())
        stored[schema["$id"]] = schema
    schema = stored[f"{topic}.schema.json"]
    return jsonschema.Draft202012Validator(schema, resolver=jsonschema.RefResolver(schema["$id"], schema, stored))


def assert_valid(topic, message):
    faults = sorted(str(e.message) for e in validator(topic).iter_errors(message.json()))
    assert not faults, f"{topic}: {faults}"


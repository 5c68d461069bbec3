"""
fire soak: random deaths and outages of everything, under load, and afterwards the counting.

A seed makes the plan (who dies, which server or vendor is away, at which share of the work, for how long). Meanwhile a tenth of
the vendors' answers is lost after the effect, a twentieth is 5xx or 429, some are slow, tokens end early, and every topic gets
messages that nobody can process. Then everything is healed, a person at the desk looks at the gate for each window in doubt, and
what the vendors were made to do is compared with what was asked for. Logs, metrics, process lists, environments and the headers
of dead letters are searched for every secret and every person there was; tables and topics for secrets.
"""
import argparse
import collections
import concurrent.futures
import json
import os
import pathlib
import re
import shutil
import signal
import sys
import tempfile
import time

import confluent_kafka
import psycopg2
import requests

GAP_S = 0.4         # between two events at least
SILENT_S = 15       # a program that waits for Kafka's answer answers nobody meanwhile
STUCK_S = 90        # without progress, while nothing is away
SECRET_SETTINGS = {"PGPASSWORD", "ALMA_API_KEYS", "LIBCAL_CLIENT_SECRET", "PASSAGEPOINT_PASSWORD", "ONECLICK_TOKEN", "FOLIO_PASSWORD",
                   "WEBCHECKOUT_PASSWORD", "WISE_API_KEY", "WISE_PASSWORD"}


def arguments(argv):
    it = argparse.ArgumentParser(prog="fire soak", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    it.add_argument("--bookings", type=int, default=300, metavar="N", help="bookings in LibCal (300)")
    it.add_argument("--kills", type=int, default=12, metavar="N", help="kill -9 of programs (12); everything else in proportion")
    it.add_argument("--seed", type=int, default=1, metavar="S", help="of the plan and of the input (1)")
    it.add_argument("--titles", type=int, metavar="N", help="titles of OneClick's catalog (bookings / 50, at least 100)")
    it.add_argument("--requests", type=int, metavar="N", help="what patrons ask for (bookings / 10, at least 90)")
    it.add_argument("--on-unknown", choices=("hold", "repeat"), default="hold", help="PASSAGEPOINT_ON_UNKNOWN (hold)")
    it.add_argument("--session", type=float, default=6, metavar="SECONDS", help="of members of a group (6)")
    it.add_argument("--gates", type=int, default=3, metavar="N",
                    help="how many prereg-create: after each lost answer one waits for about a second (3)")
    it.add_argument("--concurrency", type=int, default=4, metavar="N", help="CONCURRENCY of every worker (4)")
    it.add_argument("--minutes", type=float, metavar="M", help="after so long no more is begun, and what was begun is counted")
    it.add_argument("--build", metavar="DIR", help="the directory with the programs (SHELFWIRE_BUILD, or build/bin)")
    it.add_argument("--folder", metavar="DIR", help="a new folder for logs and servers, which is kept (otherwise: kept if it fails)")
    it.add_argument("--plan", action="store_true", help="only print the plan")
    args = it.parse_args(argv)
    args.titles = args.titles or max(100, args.bookings // 50)
    args.requests = args.requests or max(90, args.bookings // 10)
    return args


class Copy:
    """One program of the crew: what runs now, and what is to become of it."""

    def __init__(self, soak, name, number, named):
        self.soak, self.name, self.number = soak, name, number
        self.instance = f"{name}-{number}" if named else None
        self.program, self.back_at, self.leaving_since, self.stays_away, self.asleep_until = None, 0.0, None, False, None
        self.watched = None  # the locations it was started with

    def __str__(self):
        return f"{self.name}/{self.number}"

    def begin(self):
        self.program, self.watched = self.soak.begin(self)

    def alive(self):
        return self.program is not None and self.program.running()

    def kill(self, away):
        if self.alive():
            self.wake()
            self.program.kill9()
        self.program, self.leaving_since, self.back_at = None, None, time.monotonic() + away

    def term(self, for_good=False):
        self.stays_away |= for_good
        if self.alive() and self.leaving_since is None:
            self.wake()
            self.leaving_since = time.monotonic()
            self.program.process.send_signal(signal.SIGTERM)

    def freeze(self, seconds):
        if self.alive() and self.leaving_since is None:
            self.program.sigstop()
            self.asleep_until = time.monotonic() + seconds

    def wake(self):
        if self.asleep_until is not None:
            self.asleep_until = None
            self.program.sigcont()

    def tick(self):
        now = time.monotonic()
        if self.asleep_until is not None and now >= self.asleep_until:
            self.wake()
        if self.program and not self.program.running():
            self._ended(now)
        elif self.leaving_since is not None and now - self.leaving_since > 60:
            self.soak.wrong(f"{self.program.log_path.name} does not end within 60 s of SIGTERM{self.program.tail(5)}")
            self.kill(0)
        if self.program is None and not self.stays_away and now >= self.back_at:
            self.begin()

    def _ended(self, now):
        code, told = self.program.process.returncode, self.leaving_since is not None
        self.program.ended = True
        unborn = code == -signal.SIGTERM and not self.program.log()  # told before it could listen: it had done nothing
        if not told or code and not unborn:
            self.soak.wrong(f"{self.program.log_path.name} ended by itself, {code}{self.program.tail(30)}")
        self.program, self.leaving_since, self.back_at = None, None, now + (0 if told else 1)


class Watch:
    """What anybody may see while it runs: metrics, health, process lists, environments; searched as it comes."""

    EVERY_S = 4

    def __init__(self, soak):
        self.soak, self.next, self.found, self.texts, self.http = soak, 0.0, collections.Counter(), 0, requests.Session()

    def tick(self):
        if time.monotonic() < self.next:
            return
        for copy in self.soak.crew:
            if copy.alive() and copy.asleep_until is None and copy.leaving_since is None:
                self.look(copy)
        for pid, title in self.servers():
            self.read(f"the title of process {pid}", title)
        self.next = time.monotonic() + self.EVERY_S

    def look(self, copy):
        program = copy.program
        self.read(f"the command line of {copy}", self.proc(program.process.pid, "cmdline"))
        self.read(f"the environment of {copy}", self.proc(program.process.pid, "environ"))
        found = re.search(r"metrics and health on (http://\S+:\d+)", program.log_head())
        for path in ("/metrics", "/healthz", "/readyz") if found else ():
            try:
                answer = self.http.get(found[1] + path, timeout=SILENT_S)
            except requests.RequestException:
                if program.running():
                    self.found[f"{copy} does not answer {path} within {SILENT_S} s"] += 1
                return
            self.read(f"{path} of {copy}", answer.text)
            if path == "/healthz" and answer.status_code != 200:
                self.found[f"{copy} says that it is stuck: {answer.text}"] += 1

    def read(self, where, text):
        self.texts += 1
        for finding in self.soak.scan.read(where, text):
            self.soak.leak(finding)

    @staticmethod
    def proc(pid, what):
        try:
            return pathlib.Path(f"/proc/{pid}/{what}").read_bytes().replace(b"\0", b"\n").decode(errors="replace")
        except OSError:
            return ""

    def servers(self):
        """PostgreSQL's processes say in their titles what they do; and the broker's command line."""
        roots = [self.soak.servers.kafka_pid()] if "kafka" not in self.soak.out else []
        if "postgres" not in self.soak.out:
            roots += [int(self.proc_file("pg/data/postmaster.pid").split()[0])] if self.proc_file("pg/data/postmaster.pid") else []
        for root in roots:
            children = self.proc(root, f"task/{root}/children").split()
            for pid in [root, *map(int, children)]:
                yield pid, self.proc(pid, "cmdline")

    def proc_file(self, name):
        try:
            return (self.soak.servers.folder / name).read_text()
        except OSError:
            return ""


class Soak:
    def __init__(self, servers, folder, args):
        from fires import soak_input, soak_plan
        from leaks import Scan
        from shelfwire import PARTITIONS, READS, SECRETS, World
        from test_requests import add_caller, free_port
        self.servers, self.args, self.reads, self.folder = servers, args, READS, folder
        self.violations, self.leaks, self.out, self.spoken = [], {}, {}, set()
        self.repeats, self.slept_s, self.interruptions, self.tally = args.on_unknown == "repeat", 0.0, 0, collections.Counter()
        self.events = soak_plan.make(args.seed, args.kills, args.session, args.gates)
        (folder / "plan").write_text("".join(f"{e}\n" for e in self.events))
        self.done_log = open(folder / "events", "w")
        self.world = world = World(servers, folder)
        for vendor in soak_plan.VENDORS:
            world.own_door(vendor)
        self.pool, self.jobs = concurrent.futures.ThreadPoolExecutor(2), {}
        every = [t for topic in READS.values() for t in (topic, topic + ".dlq")]
        world.make_topics(*every, partitions=max(PARTITIONS, args.gates))
        self.changes = soak_input.Changes(world, args.titles, args.seed)
        self.bookings = soak_input.Bookings(world, args.bookings, args.seed)
        self.allocations = soak_input.Allocations(world, max(5, args.bookings // 50), args.seed)
        self.patrons = soak_input.Patrons(world, args.requests, self.changes.audio, args.seed)
        self.poison = soak_input.Poison(world, max(3, args.bookings // 1000), self.bookings.people, args.seed)
        self.token, secret = add_caller(world)
        self.port = free_port()
        self.wanted = args.bookings + self.allocations.count
        people = self.bookings.people + self.allocations.people
        words = {word for p in people for word in (p.asked_id, p.barcode, p.email, p.email.split("@")[0], p.first_name, p.last_name)}
        self.secrets = {*SECRETS, servers.postgres.env["PGPASSWORD"], self.token, secret}
        self.scan = Scan(self.secrets, words | self.patrons.names())
        self.settings = self.secret_files()
        self.crew = [Copy(self, name, n + 1, n < named) for name, (named, nameless) in soak_plan.crew(args.gates).items() for n in range(named + nameless)]
        self.by_name = {str(copy): copy for copy in self.crew}
        self.watch = Watch(self)
        self.settled_at, self.settled, self.moved = 0.0, 0, time.monotonic()
        self.phases, self.since = [], time.monotonic()

    # ---- programs ----

    def secret_files(self):
        """Every secret is given in a file, so that no environment holds one."""
        found = {}
        for name in ("libcal-bookings", "webcheckout-allocations", "oneclick-catalog", "patron-requests", *self.reads):
            env = self.world.env(name)
            for setting in SECRET_SETTINGS & env.keys():
                path = self.folder / f"{setting.lower()}.secret"
                path.write_text(env[setting])
                path.chmod(0o600)
                found.setdefault(name, {}).update({setting: None, f"{setting}_FILE": path})
        return found

    def begin(self, copy):
        name, world, watched = copy.name, self.world, None
        more = {"KAFKA_SESSION_TIMEOUT_MS": int(self.args.session * 1000), "KAFKA_HEARTBEAT_INTERVAL_MS": 500,
                "LOG_LEVEL": "debug" if self.args.bookings <= 5000 or copy.number == 2 else "info",
                "PASSAGEPOINT_DESTINATIONS": json.dumps({"*": "LibCal Gelman"})}
        if name in self.reads:
            more.update(CONCURRENCY=self.args.concurrency, TRIES_MAX=50, KAFKA_GROUP_INSTANCE_ID=copy.instance, RETRY_MS_MAX=1000)
        if name == "libcal-bookings":
            watched = frozenset(self.bookings.open_lids())
            more.update(LIBCAL_LOCATIONS=",".join(map(str, sorted(watched))), LIBCAL_DAYS_AHEAD=30)
        elif name == "webcheckout-allocations":
            more.update(WEBCHECKOUT_DAYS_AHEAD=30)
        elif name == "oneclick-catalog":
            more.update(ONECLICK_DELTA_SECONDS=3, ONECLICK_AVAILABILITY_SECONDS=3)
        elif name == "patron-requests":
            more.update(REQUESTS_PORT=self.port)
        elif name == "prereg-create":
            more.update(PASSAGEPOINT_ON_UNKNOWN=self.args.on_unknown)
        program = world.begin(name, **{**self.settings[name], **more})
        program.log_head = lambda: program.log_path.open(errors="replace").read(20000)
        return program, watched

    def copies(self, name):
        return [copy for copy in self.crew if copy.name == name]

    # ---- what is seen ----

    def wrong(self, what):
        self.violations.append(what)
        print(f"! {what}", flush=True)

    def leak(self, finding):
        where, _, line = finding.partition(": ")
        self.leaks.setdefault(re.sub(r"\d+", "N", where), finding)

    def rows(self, sql, *values):
        """None while PostgreSQL is away."""
        if "postgres" in self.out:
            return None
        try:
            return self.world.db.rows(sql, *values)
        except (psycopg2.OperationalError, psycopg2.InterfaceError):
            return None

    def progress(self):
        """How many windows are answered or no longer wanted."""
        if time.monotonic() - self.settled_at < 0.4:
            return self.settled
        self.settled_at = time.monotonic()
        found = self.rows("SELECT count(*) FROM appts WHERE answer IS NOT NULL OR NOT wanted")
        if found:
            if found[0][0] != self.settled or self.out or self.jobs:
                self.moved = time.monotonic()
            self.settled = found[0][0]
        return self.settled

    # ---- what happens ----

    def server(self, name, how, seconds):
        """Runs in a thread: the server is away, and comes back."""
        it = getattr(self.servers, name)
        if how == "freeze":
            with self.servers.kafka_frozen():
                time.sleep(seconds)
            return
        it.kill() if how == "kill" else it.stop()
        time.sleep(seconds)
        it.start()

    def fire(self, event):
        """Makes it happen. False: not now, a server that it is about is away already."""
        kind, whom = event.kind, event.whom
        if kind.split()[0] in ("postgres", "kafka"):
            name, how = kind.split()
            if self.out.keys() & {"postgres", "kafka"}:
                return False
            self.out[name] = True
            self.jobs[name] = self.pool.submit(self.server, name, how, event.seconds)
            self.interruptions += len(self.copies("prereg-create"))
        elif kind.startswith("vendor"):
            if f"vendor {whom}" in self.out:
                return False
            self.out[f"vendor {whom}"] = time.monotonic() + event.seconds
            self.world.sandbox.vendor(whom, down=True, by_reset=kind == "vendor reset")
            self.interruptions += len(self.copies("prereg-create")) if whom == "passagepoint" else 0
        elif kind == "revoke":
            self.world.sandbox.vendor(whom, revoke_tokens=True)
        elif kind == "add":
            number = max((c.number for c in self.copies(whom)), default=0) + 1
            copy = Copy(self, whom, number, False)
            self.crew.append(copy)
            copy.begin()
        else:
            self.to_copy(event)
        self.tally[kind] += 1
        self.done_log.write(f"{time.strftime('%H:%M:%S')} {self.settled:7} {event}\n")
        self.done_log.flush()
        return True

    def to_copy(self, event):
        if event.kind == "remove":
            self.copies(event.whom)[-1].term(for_good=True)
        else:
            copy = self.by_name[event.whom]
            {"kill": lambda: copy.kill(event.seconds), "term": copy.term, "freeze": lambda: copy.freeze(event.seconds)}[event.kind]()
        if event.kind == "freeze":
            self.slept_s = max(self.slept_s, event.seconds)
        self.interruptions += event.whom.split("/")[0] == "prereg-create"

    def tick(self):
        for name, job in list(self.jobs.items()):
            if job.done():
                job.result()
                del self.jobs[name], self.out[name]
        for what, until in list(self.out.items()):
            if what.startswith("vendor") and time.monotonic() >= until:
                self.world.sandbox.vendor(what.split()[1], down=False)
                del self.out[what]
        for copy in self.crew:
            copy.tick()
        self.crew = [c for c in self.crew if not (c.stays_away and c.program is None)]
        self.watch.tick()

    def feed(self, settled):
        """As much as the pipeline takes, and never far ahead of the next event."""
        slack = max(40, self.wanted // 50)
        limit = settled + min(2000, slack)
        if self.events:
            limit = min(limit, int(self.events[0].at * self.wanted) + slack)
        (libcal,) = self.copies("libcal-bookings")
        if libcal.watched is not None and self.bookings.feed(limit, libcal.watched) and libcal.leaving_since is None:
            libcal.term()  # its settings have changed: it is to watch more locations
        share = settled / self.wanted
        self.allocations.feed(int(self.allocations.count * share) + 2)
        self.changes.feed(share)
        self.poison.feed(share)
        self.patrons.allowed = int(self.patrons.total * share) + 30
        self.close_location()

    def close_location(self):
        from fires.soak_count import WINDOWS
        from fires.soak_input import LIDS_FROM
        if (self.bookings.closed + 1) * self.bookings.size <= len(self.bookings.bookings) and time.monotonic() >= getattr(self, "close_at", 0):
            self.close_at = time.monotonic() + 2
            rows = self.rows(WINDOWS, "libcal", str(LIDS_FROM + self.bookings.closed))
            if rows is not None:
                self.bookings.close(rows)

    # ---- the phases ----

    def phase(self, name):
        now = time.monotonic()
        self.phases.append((name, now - self.since))
        print(f"  {name}: {now - self.since:.0f} s", flush=True)
        self.since = now

    def until(self, predicate, what, seconds):
        """As wait_for, while the crew is kept going; a state that does not come is a violation, and the soak goes on to the count."""
        deadline, seen = time.monotonic() + seconds, None
        while time.monotonic() < deadline:
            self.tick()
            try:
                seen = predicate()
            except (psycopg2.OperationalError, psycopg2.InterfaceError, requests.RequestException, confluent_kafka.KafkaException):
                seen = False
            if seen is True:
                return True
            time.sleep(0.1)
        self.wrong(f"not within {seconds} s: {what}: {seen}\n" + self.readiness())
        return False

    def readiness(self):
        out = []
        for copy in self.crew:
            if copy.alive() and copy.asleep_until is None:
                try:
                    out.append(f"  {copy}: {copy.program.get('/readyz').text.strip()}")
                except (requests.RequestException, AssertionError) as e:
                    out.append(f"  {copy}: {type(e).__name__}")
        return "\n".join(out)

    def begin_all(self):
        self.world.sandbox.settings(
            sandbox={"seed": self.args.seed}, passagepoint={"latency_ms": 3, "jitter_ms": 4, "token_seconds": 20}, alma={"latency_ms": 3},
            folio={"token_seconds": 15, "latency_ms": 3}, libcal={"token_seconds": 60}, oneclick={"latency_ms": 2, "bearer_seconds": 20},
            wise={"latency_ms": 2}, webcheckout={"session_seconds": 20})
        for copy in self.crew:
            copy.begin()
        imported = self.world.run("oneclick-catalog", "--import", timeout=600, **self.settings["oneclick-catalog"])
        if imported.process.returncode:
            self.wrong("the catalog is not imported" + imported.tail())
        self.until(lambda: all(c.alive() and c.program.get("/readyz").status_code == 200 for c in self.crew if c.name != "oneclick-catalog"),
                   "the programs are ready", 60)
        self.faults = dict(zip(self.fault_list(), [self.world.sandbox.admin("POST", "/faults", f)["id"] for f in self.fault_list().values()]))
        self.patrons.start(f"http://127.0.0.1:{self.port}", self.token)
        self.phase("beginning")

    @staticmethod
    def fault_list():
        from fires.soak_input import all_faults
        return {f"{f['vendor']} {f['call']} {f.get('status') or f['kind']}": f for f in all_faults()}

    def burn(self):
        fired_at, told, deadline = 0.0, 0, time.monotonic() + (self.args.minutes or 1e6) * 60
        self.moved = time.monotonic()
        while True:
            self.tick()
            settled = self.progress()
            self.feed(settled)
            now = time.monotonic()
            if self.events and settled >= self.events[0].at * self.wanted and now - fired_at >= GAP_S and self.fire(self.events[0]):
                self.events.pop(0)
                fired_at = now
            if settled >= told + max(100, self.wanted // 20):
                told = settled
                print(f"  {settled:,} windows, {self.tally['kill']} kills, {now - self.since:.0f} s", flush=True)
            if not self.events and len(self.bookings.bookings) == self.args.bookings:
                break
            if now >= deadline:
                print("  the time is over: what was begun is finished and counted", flush=True)
                self.stopped_early = True
                break
            if now - self.moved > STUCK_S and not self.out and self.coordinator_is_lost():
                self.restart_kafka()
            elif now - self.moved > STUCK_S and not self.out:
                self.wrong(f"no progress for {STUCK_S} s at {settled} windows, {len(self.bookings.bookings)} booked\n" + self.readiness())
                break
            time.sleep(0.03)
        self.phase("under fire")

    def coordinator_is_lost(self):
        """
        A broker of Kafka 4.1 that comes back from a crash slowly may lose group coordinators for good: its log says that one is "out
        of sync with the underlying log", and it answers NOT_COORDINATOR, or not at all. Its operator restarts it.
        """
        for program in self.reads:
            try:
                self.world.lag(program)
            except confluent_kafka.KafkaException as e:
                if e.args[0].code() == confluent_kafka.KafkaError.NOT_COORDINATOR:
                    return self.tally["kafka restart, for it had lost a coordinator"] < 5
        return False

    def restart_kafka(self):
        from fires import soak_plan
        self.tally["kafka restart, for it had lost a coordinator"] += 1
        print(f"  Kafka has lost a group's coordinator and is restarted, at {self.settled:,} windows", flush=True)
        self.fire(soak_plan.Event(0, "kafka restart"))
        self.moved = time.monotonic()

    def heal(self):
        self.fired = {name: self.world.sandbox.fired(number) for name, number in self.faults.items()}
        self.world.sandbox.heal()
        for copy in self.crew:
            copy.wake()
            copy.back_at = min(copy.back_at, time.monotonic())
        self.until(lambda: not self.out, "the servers are back", 90)
        if self.stopped_early:
            self.patrons.stopped = True
        self.allocations.feed(self.allocations.count)
        self.patrons.allowed = self.patrons.total + 99
        self.poison.feed(1)
        self.changes.feed(1)
        while self.bookings.changes:
            self.bookings.feed(0, ())
            self.bookings.count = len(self.bookings.bookings)
        if self.world.servers.producer.flush(60):
            self.wrong("the poison could not be sent")
        self.rest()
        self.phase("healing")

    def rest(self):
        """Until everything that was asked for has an answer."""
        self.watch_all()
        self.until(self.patrons.done, "every request is taken", 120)
        self.until(lambda: self.left() or True, "", 300)
        for program in self.reads:
            self.until(lambda: self.world.lag(program) == 0 or self.world.lag(program), f"{program} has no lag", 120)
        self.until(lambda: self.left() or True, "", 60)
        self.until(lambda: self.changes.catalog.differences()[:3] or True, "the catalog is as OneClick has it", 120)

    def left(self):
        """What still has no answer; empty at rest."""
        found = {
            "windows": "SELECT count(*) FROM appts WHERE wanted AND (answer IS NULL OR answer IN ('visitor_gone', 'two_visitors'))",
            "unsent": "SELECT count(*) FROM appts WHERE wanted AND (sent_at IS NULL AND answer IS NULL OR retry_at < now())",
            "requests": "SELECT count(*) FROM requests WHERE state IN ('accepted', 'waiting')",
        }
        counts = {what: self.world.db.one(sql) for what, sql in found.items()}
        return {what: n for what, n in counts.items() if n}

    def watch_all(self):
        """Every location is watched once more: nothing may come of it."""
        self.bookings.closed = 0
        self.bookings.open_lids = self.bookings.lids
        (libcal,) = self.copies("libcal-bookings")
        libcal.term()
        self.until(lambda: libcal.alive() and libcal.watched == frozenset(self.bookings.lids()), "LibCal's locations are watched", 60)

        def polled():
            ok = libcal.program.metrics().get("shelfwire_polls_total", {})
            good = [labels for labels, n in ok.items() if 'outcome="ok"' in labels and n >= 2]
            return len(good) == len(self.bookings.lids()) or f"{len(good)} of {len(self.bookings.lids())} locations"
        self.until(polled, "every location is read twice", 300)
        webcheckout = self.copies("webcheckout-allocations")[0]
        before = webcheckout.program.metric("shelfwire_polls_total", 'outcome="ok"')
        self.until(lambda: webcheckout.program.metric("shelfwire_polls_total", 'outcome="ok"') >= before + 2, "WebCheckout is read twice", 60)

    def desk(self):
        """A person looks at the gate for each window in doubt, and says what is there."""
        from fires.soak_count import Count
        count = Count(self)
        count.read_gate()
        doubts = [r for r in count.rows if r[9] == "unknown" and r[8]]
        bound = sum(n for name, n in self.fired.items() if name in ("passagepoint createPreReg drop_after", "passagepoint createPreReg 502"))
        most = bound + self.args.concurrency * self.interruptions
        there = 0
        for appt_id, _, _, _, _, destination, start, end, *_, visitor_id, _maybe, _at in doubts:
            found = count.at_gate.get((visitor_id, destination, start, end), [])
            there += bool(found)
            said = self.world.db.one("SELECT appt_made(%s, %s, 'the desk')", appt_id, str(found[0]["id"])) if found else \
                self.world.db.one("SELECT appt_not_made(%s, 'the desk')", appt_id)
            self.spoken.add(appt_id)
            if not said:
                self.wrong(f"the desk's word about {appt_id} was not taken")
        not_marked = [r[0] for r in doubts if "unknown" not in count.desk[r[0]]]
        if not_marked:
            self.wrong(f"in doubt, and not on the desk: {not_marked[:8]}")
        if len(doubts) > most:
            self.wrong(f"{len(doubts)} windows in doubt are more than {most}")
        self.doubts = (f"windows in doubt: {len(doubts):,}, of which {there:,} were at the gate; at most {most:,}: {bound:,} answers lost,"
                       f" and {self.args.concurrency} for each of {self.interruptions:,} interruptions")
        self.until(lambda: self.left() or True, "what the desk said is done", 180)
        for program in self.reads:
            self.until(lambda: self.world.lag(program) == 0 or self.world.lag(program), f"{program} has no lag", 60)
        self.phase("the desk")

    def count(self):
        from fires.soak_count import Count
        count = Count(self)
        self.dead = {topic: self.world.dead_letters(topic) for topic in self.reads.values()}
        count.all()
        self.phase("counting")
        return count

    # ---- secrets and people ----

    def search(self):
        """Logs of programs and servers, headers of dead letters; tables and topics for secrets."""
        from leaks import TOKENS, Scan
        size = 0
        for path in [*self.folder.glob("*.log"), self.servers.folder / "pg/log", *self.servers.folder.glob("kafka/broker-*/log")]:
            with path.open(errors="replace") as log:
                while True:
                    text = log.read(4 << 20) + log.readline()
                    if not text:
                        break
                    size += len(text)
                    for finding in self.scan.read(path.name, text):
                        self.leak(finding)
        self.searched_mb = size / 1e6
        headers = 0
        for topic, messages in self.dead.items():
            for m in messages:
                headers += len(m.headers)
                for name, value in m.headers.items():
                    for finding in self.scan.read(f"header {name} in {topic}.dlq", (value or b"").decode(errors="replace")):
                        self.leak(finding)
        only_secrets = Scan(self.secrets - {self.callback_secret()}, shapes=TOKENS)
        for table, in self.rows("SELECT relname FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace AND nspname = 'public'"
                                " WHERE relkind = 'r'"):
            text = "\n".join(r for r, in self.rows(f"SELECT t::text FROM {table} t"))
            for finding in only_secrets.read(f"table {table}", text):
                self.leak(finding)
        for topic in sorted(self.world.topics()):
            text = b"\n".join(b"%s %s %s" % (m.key or b"", m.value or b"", str(m.headers).encode()) for m in self.world.read_topic(topic))
            for finding in only_secrets.read(f"topic {topic}", text.decode(errors="replace")):
                self.leak(finding)
        for path in self.folder.glob("core*"):
            self.leak(f"{path.name} holds a program's memory")
        self.headers = headers
        self.phase("searching")

    def callback_secret(self):
        """Callbacks are signed with it, so its table has it."""
        return self.world.db.one("SELECT callback_secret FROM callers")

    # ---- all of it ----

    def run(self):
        self.stopped_early = False
        self.begin_all()
        self.burn()
        self.heal()
        self.desk()
        count = self.count()
        self.search()
        for one in count.wrong:
            self.wrong(one)
        for finding in self.leaks.values():
            self.wrong(finding)
        for what, times in self.watch.found.items():
            self.wrong(f"{what} ({times} times)")
        self.stop()
        self.report(count)
        return not self.violations

    def stop(self):
        self.patrons.stopped = True
        if self.violations:
            for vendor, kind in (("folio", "renewals"), ("folio", "holds"), ("wise", "holds"), ("oneclick", "loans")):
                found = self.world.sandbox.admin("GET", "/effects", vendor=vendor, kind=kind, limit=1000000)
                (self.folder / f"effects-{vendor}-{kind}.json").write_text(json.dumps(found, indent=1))
        for fault in self.world.stop(keep=bool(self.violations)):
            self.wrong(fault)
        self.phase("stopping")

    def leave_nothing(self):
        """Whatever has happened: no program of ours runs on."""
        self.patrons.stopped = True
        for job in self.jobs.values():
            concurrent.futures.wait([job], 60)
        for program in self.world.programs:
            if program.running():
                program.sigcont()
                program.kill9()
        if self.world.sandbox.process.poll() is None:
            self.world.sandbox.stop()

    def report(self, count):
        print()
        print(count.table())
        print()
        print(self.doubts)
        for fact in count.facts:
            print(fact)
        print(f"bookings changed meanwhile: {self.bookings.tally}; catalog: {self.changes.tally}; requests asked again after a lost"
              f" connection: {self.patrons.again}, of which the patron hung up {self.patrons.hung_up}")
        print("done: " + ", ".join(f"{n} {kind}" for kind, n in sorted(self.tally.items(), key=lambda it: -it[1])))
        print("faults: " + ", ".join(f"{n:,} {name}" for name, n in self.fired.items() if n and ("drop_after" in name or "createPreReg" in name)))
        print(f"searched for {len(self.secrets)} secrets and {len(self.scan.people):,} words that tell a person: {self.searched_mb:.0f} MB of logs,"
              f" {self.watch.texts:,} metrics, health, process lists and environments, {self.headers:,} headers of dead letters, all tables and"
              f" topics; found {len(self.leaks)}")
        print("time: " + ", ".join(f"{name} {seconds:.0f} s" for name, seconds in self.phases))
        if self.violations:
            print("how to look: tests/services/postgres.sh start FOLDER/servers/pg (database world_1); SELECT * FROM appts WHERE appt_id = …;"
                  " SELECT at, stage, call, verdict, code FROM attempts WHERE subject = … ORDER BY at; FOLDER/world has every log, the plan,"
                  " the events with their time, and what was done at FOLIO, Wise and OneClick")
        print(f"{len(self.violations)} violations" if self.violations else "as promised")


def main(argv):
    args = arguments(argv)
    from fires import soak_plan
    events = soak_plan.make(args.seed, args.kills, args.session, args.gates)
    print(f"seed {args.seed}: {args.bookings:,} bookings, {args.titles:,} titles, {args.requests:,} requests, {len(events):,} events")
    print(soak_plan.summary(events))
    if args.plan or len(events) <= 60:
        print("".join(f"  {e}\n" for e in events), end="")
    if args.plan:
        return 0
    if args.build:
        os.environ["SHELFWIRE_BUILD"] = str(pathlib.Path(args.build).resolve())
    folder = pathlib.Path(args.folder or tempfile.mkdtemp(prefix="soak-"))
    folder.mkdir(exist_ok=True)
    folder.chmod(0o711)
    from shelfwire import Servers
    (folder / "servers").mkdir()
    servers = Servers(folder / "servers")
    soak, good = None, False
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("told to stop"))
    try:
        (folder / "world").mkdir()
        soak = Soak(servers, folder / "world", args)
        good = soak.run()
    finally:
        if soak:
            soak.leave_nothing()
        servers.stop()
        if good and not args.folder:
            shutil.rmtree(folder, ignore_errors=True)
        else:
            print(f"logs, plan and events are in {folder}", file=sys.stderr)
    return 0 if good else 1

#!/usr/bin/python3
"""limits.py - how much of a vendor's quota the workers use, and what messages cost others that nobody can process.

  quota    bookings-new, 1, 4 and 8 workers on one quota of 25 calls a second; 10 partitions, an Alma that answers in 50 ms. The
           rate is that of the calls between 10 % and 90 %, the most in a second that of any sliding second of the sandbox's log.
           Then four workers on a quota of the day, which runs out: how many calls Alma refused until the new day, and that the
           rest was done. To reach: 95 % of 25, and never more; only a quiet machine can show it, for a slot that a worker slept
           through, and a call that the sandbox saw late, are the machine's
  poison   prereg-create, CONCURRENCY=100, a gate that answers in 50 ms: good messages alone, and as many among as many bad ones, in
           turn. `read`: a backlog, whose bad ones are unreadable or of a wrong key. `all`: 400 good ones a second, and 400 bad
           ones: those, ones that fail six times at the gate, and ones whose outcome PostgreSQL refuses. What fails at the gate
           costs its calls, which nobody knows before, so it is measured at a load that it has calls for. The rate is that of the
           good ones between 10 % and 90 %. To reach: 0.9
"""
import argparse
import contextlib
import datetime
import json
import os
import statistics
import sys
import time
import uuid

import confluent_kafka

from common import ROOT, Failed, Services, aligned, free_port, main_of, say

CALLS_A_SECOND, CALLS = 25, 750
DAY_CALLS, DAY_MESSAGES, DAY_PAUSE_S = 200, 300, 5
RATE, RATED_S = 400, 20
TABLES = "users, appts, intents, attempts, asked_ids, desk, partition_owners, quotas, bookings"
COLUMNS = "appt_id, source, location_id, booking_id, asked_id, destination, starts_at, ends_at, email, sent_at"


class Bench(Services):
    def __init__(self, options):
        super().__init__(options, ("bookings-new", "prereg-create"), "sandbox")

    def begin(self, topics, **settings):
        prefix = self.make_topics(*topics)
        self.admin("POST", "/reset")
        self.admin("POST", "/settings", json=settings)
        with self.db.cursor() as sql:
            sql.execute(f"TRUNCATE {TABLES}; ALTER TABLE appts DROP CONSTRAINT IF EXISTS odd")
        return prefix

    def windows(self, count, topic, visitors=False):
        """One of each person; their rows, and (key, value) as the stage before would send it."""
        hour = datetime.datetime.now(datetime.timezone.utc).replace(minute=0, second=0, microsecond=0)
        start = hour + datetime.timedelta(days=1)
        end, made, sent = start + datetime.timedelta(hours=1), [], []
        with open(self.dir / "appts", "w") as appts, open(self.dir / "users", "w") as users:
            for i in range(count):
                who, appt = f"G{i + 1:08d}", str(uuid.uuid4())
                appts.write("\t".join((appt, "libcal", "1234", f"cs_{i:08d}", who, "Room", start.isoformat(), end.isoformat(),
                                       f"{who.lower()}@example.edu", "now")) + "\n")
                users.write("\t".join((who, f"2282{i + 1:010d}", "UGRD", "Ada", "Reader", "now", f"{137505760000000 + i}",
                                       f"2282{i + 1:010d}")) + "\n")
                value = {"source": "libcal", "booking_id": f"cs_{i:08d}", "appt_id": appt, "asked_id": who,
                         "start": start.strftime("%Y-%m-%dT%H:%M:%SZ"), "end": end.strftime("%Y-%m-%dT%H:%M:%SZ"),
                         "destination": "Room"}
                if topic != "bookings.new":
                    value["primary_id"] = who
                made.append(appt)
                sent.append((who, json.dumps(value)))
        with self.db.cursor() as sql:
            with open(self.dir / "appts") as file:
                sql.copy_expert(f"COPY appts ({COLUMNS}) FROM STDIN", file)
            if visitors:
                with open(self.dir / "users") as file:
                    sql.copy_expert("COPY users (primary_id, barcode, user_group, first_name, last_name, checked_at, visitor_id,"
                                    " visitor_barcode) FROM STDIN", file)
        return made, sent

    def send(self, topic, messages, rate=0):
        producer = confluent_kafka.Producer({"bootstrap.servers": self.kafka, "partitioner": "murmur2_random", "linger.ms": 2,
                                             "queue.buffering.max.messages": 1000000})
        since = time.monotonic()
        for i, (key, value) in enumerate(messages):
            if rate and since + i / rate > time.monotonic():
                producer.poll(0)
                time.sleep(max(0, since + i / rate - time.monotonic()))
            producer.produce(topic, key=key, value=value)
        if producer.flush(60):
            raise Failed("Kafka does not take the messages")

    @contextlib.contextmanager
    def workers(self, name, count, prefix, **settings):
        begun, ports = [], []
        try:
            for _ in range(count):
                ports.append(free_port())
                env = {**os.environ, **self.pg, "KAFKA_BOOTSTRAP_SERVERS": self.kafka, "TOPIC_PREFIX": prefix, "LOG_FORMAT": "text",
                       "METRICS_PORT": str(ports[-1]), "ALMA_URL": self.url, "ALMA_API_KEYS": "sandbox-alma-key",
                       "PASSAGEPOINT_URL": self.url, "PASSAGEPOINT_USERNAME": "sandbox", "PASSAGEPOINT_PASSWORD": "sandbox-pp-password",
                       **{key: str(value) for key, value in settings.items()}}
                begun.append(self.spawn([self.bin / name], "worker.log", env=env))
            for worker, port in zip(begun, ports):
                self.await_worker(worker, port)
            self.await_(lambda: all(any(k.startswith("kafka_consumergroup_lag{") for k in self.metrics(p)) for p in ports), 60)
            yield ports
        finally:
            for worker in begun:
                self.kill(worker)

    def await_(self, predicate, seconds):
        deadline = time.monotonic() + seconds
        while not predicate():
            if time.monotonic() > deadline:
                raise Failed("nothing comes of it: " + self.tail("worker.log"))
            time.sleep(0.1)

    def alma(self):
        return self.admin("GET", "/counts")["alma"]["calls"].get("user", {})

    # ---- the quota ----

    def quota(self, workers):
        prefix = self.begin(("bookings.new", "bookings.new.dlq", "users.resolve"), alma={"latency_ms": 50})
        self.admin("POST", "/alma/generate", json={"count": CALLS, "from": 1, "iz": "1"})
        _made, sent = self.windows(CALLS, "bookings.new")
        with self.workers("bookings-new", workers, prefix, ALMA_CALLS_PER_SECOND=CALLS_A_SECOND) as ports:
            self.send(prefix + "bookings.new", sent)
            self.await_(lambda: self.alma().get("requests", 0) >= CALLS, 4 * CALLS / CALLS_A_SECOND)
            slots = [self.metrics(port) for port in ports]
        at = sorted(c["at"] for c in self.admin("GET", "/calls?vendor=alma&call=user&last=16384"))
        first, last = len(at) // 10, len(at) * 9 // 10
        rate = (last - first) / (at[last] - at[first])
        closest = min(later - earlier for earlier, later in zip(at, at[CALLS_A_SECOND:]))
        late = sum(v for found in slots for k, v in found.items() if "quota_slots_total" in k and 'outcome="used"' not in k)
        return {"rate": rate, "share": rate / CALLS_A_SECOND, "most": most_in_a_second(at), "closest": closest, "late": late}

    def day(self, workers):
        prefix = self.begin(("bookings.new", "bookings.new.dlq", "users.resolve"), alma={"latency_ms": 50, "per_day": DAY_CALLS})
        self.admin("POST", "/alma/generate", json={"count": DAY_MESSAGES, "from": 1, "iz": "1"})
        _made, sent = self.windows(DAY_MESSAGES, "bookings.new")
        with self.workers("bookings-new", workers, prefix, ALMA_CALLS_PER_SECOND=CALLS_A_SECOND, ALMA_CALLS_LEFT_MIN=0,
                          DAY_PAUSE_SECONDS=DAY_PAUSE_S):
            self.send(prefix + "bookings.new", sent)
            self.await_(lambda: self.alma().get("by_status", {}).get("429"), 120)
            time.sleep(3 * DAY_PAUSE_S)  # it is tried again a few times
            before = self.alma()["by_status"]
            self.admin("POST", "/settings", json={"alma": {"per_day": 0}})
            since = time.monotonic()
            self.await_(lambda: self.alma()["by_status"].get("200", 0) >= DAY_MESSAGES, 120)
        return {"answered": before.get("200", 0), "refused": sum(v for k, v in before.items() if k != "200"),
                "rest_s": time.monotonic() - since}

    # ---- poison ----

    def spoil(self, windows, kinds):
        """Every other one, in one of these ways in turn."""
        made, sent = windows
        messages, good, marked = [], [], []
        for i, (key, value) in enumerate(sent):
            kind = kinds[i // 2 % len(kinds)] if kinds and i % 2 else None
            if not kind:
                good.append(made[i])
            if kind == "fails":
                value = value.replace('"Room"', '"Broken"')
            if kind in ("fails", "refused"):
                marked.append((made[i], "Broken" if kind == "fails" else "Odd"))
            messages.append(("G99999999" if kind == "wrong_key" else key, value[:-1] if kind == "unreadable" else value))
        with self.db.cursor() as sql:
            sql.execute("UPDATE appts SET destination = d FROM unnest(%s::uuid[], %s::text[]) AS m(id, d) WHERE appt_id = id",
                        ([made for made, _ in marked], [destination for _, destination in marked]))
            sql.execute("ALTER TABLE appts ADD CONSTRAINT odd CHECK (prereg_id IS NULL OR destination <> 'Odd')")
        return messages, good

    def poison(self, kinds, count, rate):
        """How many good ones a second were made; kinds: of the bad ones among them, where there are any; rate 0: a backlog."""
        prefix = self.begin(("prereg.create", "prereg.create.dlq"), passagepoint={"latency_ms": 50, "accept_all_visitors": True})
        self.admin("POST", "/faults", json={"vendor": "passagepoint", "call": "createPreReg", "key": "Broken", "kind": "status"})
        messages, good = self.spoil(self.windows(2 * count if kinds else count, "prereg.create", visitors=True), kinds)
        if not rate:
            self.send(prefix + "prereg.create", messages)
        with self.workers("prereg-create", 1, prefix, CONCURRENCY=100):
            if rate:
                self.send(prefix + "prereg.create", messages, rate * (2 if kinds else 1))
            self.await_(lambda: self.done(good) >= len(good), 300)
        with self.db.cursor() as sql:
            sql.execute("SELECT extract(epoch FROM answered_at)::float8 FROM appts WHERE appt_id = ANY (%s::uuid[])", (good,))
            at = sorted(row[0] for row in sql.fetchall())
        first, last = len(at) // 10, len(at) * 9 // 10
        return (last - first) / (at[last] - at[first])

    def done(self, good):
        with self.db.cursor() as sql:
            sql.execute("SELECT count(*) FROM appts WHERE prereg_id IS NOT NULL AND appt_id = ANY (%s::uuid[])", (good,))
            return sql.fetchone()[0]


def most_in_a_second(at):
    most = first = 0
    for last, when in enumerate(at):
        while when - at[first] >= 1:
            first += 1
        most = max(most, last - first + 1)
    return most


def run_quota(bench, options):
    lines = [("workers", "calls/s", "of 25", "", "most in a second", "26 calls took at least, s", "slots not used")]
    for workers in options.workers:
        say(f"quota: {workers} workers")
        runs = [bench.quota(workers) for _ in range(options.repeat)]
        best = {name: statistics.median(run[name] for run in runs) for name in runs[0]}
        lines.append((str(workers), f"{best['rate']:.2f}", f"{best['share']:.1%}", "yes" if best["share"] >= 0.95 else "NO",
                      str(max(run["most"] for run in runs)), f"{min(run['closest'] for run in runs):.3f}", f"{best['late']:.0f}"))
    print("\n" + aligned(lines) + "\n")
    say("a quota of the day: 4 workers")
    print("{answered} of the {} calls of the day were answered; {refused} were refused while it was over ({} s, tried again every {} s);"
          " the other {} messages were done {rest_s:.1f} s after the new day began\n".format(
              DAY_CALLS, 3 * DAY_PAUSE_S, DAY_PAUSE_S, DAY_MESSAGES - DAY_CALLS, **bench.day(4)))


def run_poison(bench, options):
    lines = [("load", "messages", "alone/s", "among poison/s", "ratio", "")]
    loads = [("read", ("unreadable", "wrong_key"), options.messages, 0),
             ("all", ("unreadable", "wrong_key", "fails", "refused"), RATE * RATED_S, RATE)]
    for name, kinds, count, rate in loads:
        pairs = []
        for n in range(options.repeat):
            say(f"poison: {name}, {n + 1} of {options.repeat}")
            turns = ((), kinds) if n % 2 == 0 else (kinds, ())
            rates = {bool(turn): bench.poison(turn, count, rate) for turn in turns}
            pairs.append((rates[False], rates[True]))
        ratio = statistics.median(among / alone for alone, among in pairs)
        lines.append((name, f"{count:,}", f"{statistics.median(p[0] for p in pairs):,.0f}", f"{statistics.median(p[1] for p in pairs):,.0f}",
                      f"{ratio:.2f}", "yes" if ratio >= 0.9 else "NO"))
    print("\n" + aligned(lines) + "\n")


def run(options):
    with Bench(options) as bench:
        load = os.getloadavg()[0]
        for name, what in (("quota", run_quota), ("poison", run_poison)):
            if options.what in (name, "both"):
                what(bench, options)
        print(f"{os.cpu_count()} cores, load average {load:.2f} before and {os.getloadavg()[0]:.2f} after")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="?", choices=("quota", "poison", "both"), default="both")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 4, 8], help="of the quota (1 4 8)")
    parser.add_argument("--messages", type=int, default=10000, help="good ones in a backlog (10000)")
    parser.add_argument("--repeat", type=int, default=1, help="measure so often, show the medians")
    parser.add_argument("--bin", default=ROOT / "build" / "bin", help="where the programs are (build/bin)")
    parser.add_argument("--dir", help="where the databases lie meanwhile: a disk like the real one's")
    parser.add_argument("--keep", action="store_true", help="leave logs and data behind")
    options = parser.parse_args()
    return main_of("limits.py", run, options)


if __name__ == "__main__":
    sys.exit(main())

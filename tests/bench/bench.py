#!/usr/bin/python3
"""bench.py - how fast the workers are, what they cost, and how far that is from what the libraries alone would cost.

Starts PostgreSQL (fsync on), Apache Kafka and the sandbox, whose vendors answer in 50 ms, measures every stage in the same way
(stages.py says what each is asked), and ends them. CONCURRENCY is 100, topics have 10 partitions, a message has 100 to 300 bytes.

  backlog    all messages wait in Kafka, in batches of 16 as a stage before would have sent them, before the worker starts. What
             is between 10 % and 90 % done counts. Every message is another person's, but prereg-create's: 1,000 people with as
             many windows as it takes, so the order of a key is at work. The ideal is CONCURRENCY / 50 ms / calls a message
  half       not quite half the ideal, evenly, each another person; the first 3 s do not count. Added latency: from when the
             message was given to Kafka to the onward message's own time, or to when its outcome was recorded where nothing
             follows, less the vendor's 50 ms a call. The load's own cost for Kafka's broker is in the broker's figure
  restart    kill -9 in the middle of a backlog, then the same static member again: from its exec to the vendor's first
             call other than the log-in, and to the log-in, which itself takes the vendor's 50 ms; and how many messages a kill
             makes the worker send onward a second time
  floors     floors.c, over the same messages, as many requests and the plainest statements for the same work; see there. A ratio
             says how often the floor fits in

CPU is user and system time of all of a program's processes. `others` is what ran on the machine besides, in cores: with
much of it the figures say little.
"""

import argparse
import collections
import contextlib
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import time

import confluent_kafka
import requests

from common import (PARTITIONS, Failed, Sampler, Services, add_options, aligned, free_port, fsync_ms, main_of, median_of,
                    quantile, reached, say)
from stages import BY_NAME

VENDOR_MS = 50
CONCURRENCY = 100
HALF_SHARE, HALF_WARM_S, HALF_S = 0.475, 3, 10
CALLS = {name: stage.call for name, stage in BY_NAME.items()}
TOPICS = {name: (stage.consumes, stage.produces) for name, stage in BY_NAME.items()}
TABLES = ("users, appts, intents, attempts, asked_ids, desk, partition_owners, quotas, bookings, requests, titles,"
          " oneclick_patrons")


def ideal_of(stage):
    """Messages a second that the vendor's latency and quota allow."""
    rate = CONCURRENCY * 1000 / VENDOR_MS / BY_NAME[stage].calls
    return min(rate, BY_NAME[stage].most or rate)


def half_of(stage):
    return round(HALF_SHARE * ideal_of(stage))


# ---- the data ----

class Bench(Services):
    def __init__(self, options):
        super().__init__(options, options.stages, "floors")
        self.random = random.Random(1)
        self.ca_file = None

    def start(self):
        super().start()
        self.vendor_url = self.url
        if getattr(self.options, "tls", False):
            self.encrypt()

    def encrypt(self):
        """The vendors behind TLS 1.3, with a certificate of our own; socat carries a connection each."""
        self.ca_file, port = self.dir / "vendor.pem", free_port()
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj",
                        "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", self.dir / "vendor.key", "-out", self.ca_file],
                       check=True, capture_output=True)
        both = self.dir / "vendor.both"
        both.write_bytes((self.dir / "vendor.key").read_bytes() + self.ca_file.read_bytes())
        self.spawn(["socat", f"OPENSSL-LISTEN:{port},bind=127.0.0.1,fork,reuseaddr,backlog=1024,cert={both},verify=0",
                    "TCP:" + self.url.removeprefix("http://") + ",nodelay"], "socat.log")
        self.vendor_url = f"https://127.0.0.1:{port}"

    def prepare(self, stage, count, people):
        """Fresh topics, rows and vendors; the files of messages, rows and requests. Returns the topics' prefix."""
        of = BY_NAME[stage]
        self.admin("POST", "/reset")
        self.latency_ms = 0 if self.options.no_latency else VENDOR_MS
        self.admin("POST", "/settings", json={of.vendor: {"latency_ms": self.latency_ms}})
        with self.db.cursor() as sql:
            self.empty_tables(sql)
        prefix = self.make_topics(*(t for t in (of.consumes, of.produces, of.consumes + ".dlq", "floor") if t))
        of.fill(self, count, people)
        with self.db.cursor() as sql:
            sql.execute("VACUUM ANALYZE users, appts, requests")  # the engine's tables are as on the first day: empty, never counted
            sql.execute("CHECKPOINT")
        return prefix

    @staticmethod
    def empty_tables(sql):
        sql.execute(f"TRUNCATE {TABLES}")

    @staticmethod
    def person(i):
        return f"G{i + 1:08d}"

    def upsert(self, table, key, columns, lines):
        """Rows that may be there already."""
        with self.db.cursor() as sql:
            sql.execute(f"CREATE TEMP TABLE brought AS SELECT {columns} FROM {table} WHERE false")
            self.copy(f"brought ({columns})", lines)
            sql.execute(f"INSERT INTO {table} ({columns}) SELECT {columns} FROM brought ON CONFLICT ({key}) DO UPDATE SET "
                        + ", ".join(f"{c} = excluded.{c}" for c in columns.replace(" ", "").split(",") if c != key))
            sql.execute("DROP TABLE brought")

    def copy(self, table, lines):
        with open(self.dir / "copy", "w+") as file, self.db.cursor() as sql:
            file.writelines(line + "\n" for line in lines)
            file.seek(0)
            sql.copy_expert(f"COPY {table} FROM STDIN", file)

    def titles(self, count, media_type=None):
        """ISBNs of the sandbox's catalog that can be borrowed."""
        lines = self.session.get(self.url + "/admin/oneclick/titles", timeout=60).content.decode().split("\n")
        there = (json.loads(line) for line in lines if line)
        return [t["isbn"] for t in there if media_type in (None, t["mediaType"]) and (t["availability"] or not media_type)][:count]

    def produce(self, topic, **more):
        return self.floors("produce", servers=self.kafka, topic=topic, file=self.dir / "messages", **more)

    # ---- the worker ----

    def worker(self, stage, prefix, instance=None, stamp=None, concurrency=CONCURRENCY, **changed):
        self.metrics_port = free_port()
        env = {**os.environ, **self.pg, "KAFKA_BOOTSTRAP_SERVERS": self.kafka, "TOPIC_PREFIX": prefix,
               "CONCURRENCY": str(concurrency), "METRICS_PORT": str(self.metrics_port), "LOG_FORMAT": "text",
               **BY_NAME[stage].settings(self), **({"VENDOR_CA_FILE": str(self.ca_file)} if self.ca_file else {}), **changed}
        if instance:
            env["KAFKA_GROUP_INSTANCE_ID"] = instance
        command = [self.bin / stage]
        if stamp:
            command = [self.bin / "floors", "exec", f"times={stamp}", "--", *command]
        return self.spawn(command, "worker.log", env=env)

    def effects(self, stage):
        """The sandbox's count of the call that every message needs once."""
        return self.admin("GET", "/counts")[BY_NAME[stage].vendor]["calls"][CALLS[stage]]

    def await_count(self, count, worker, what, now, still_s=30):
        seen, since = -1, time.time()
        while seen < count:
            at = now()
            if at != seen:
                seen, since = at, time.time()
            if worker and worker.poll() is not None:
                raise Failed("the worker ended: " + self.tail("worker.log"))
            if time.time() - since > still_s:
                raise Failed(f"nothing happens any more: {seen} of {count} {what}; {self.tail('worker.log')}")
            time.sleep(0.1)

    def await_effects(self, stage, count, worker, still_s=30):
        """Until so many calls have come to the vendor, whoever makes them."""
        self.await_count(count, worker, "calls made", lambda: self.effects(stage)["requests"], still_s)

    def await_messages(self, count, worker):
        """Until the worker has finished so many messages since its start."""
        def finished():
            with contextlib.suppress(requests.RequestException):
                return sum(v for k, v in self.metrics(self.metrics_port).items() if k.startswith("shelfwire_messages_total"))
            return 0
        self.await_count(count, worker, "messages finished", finished)

    def onward(self, stage, prefix, until):
        """The next topic's messages, (index, seconds since 1970), until `until` of them is true, or for half a minute."""
        found, deadline = [], time.time() + 30
        consumer = confluent_kafka.Consumer({"bootstrap.servers": self.kafka, "group.id": "bench", "enable.auto.commit": False})
        consumer.assign([confluent_kafka.TopicPartition(prefix + BY_NAME[stage].produces, p, 0) for p in range(self.partitions)])
        keys = BY_NAME[stage].keys
        while not until(found) and time.time() < deadline:
            for message in consumer.consume(1000, 0.5):
                if not message.error():  # a time of whole milliseconds: its middle is the best guess
                    found.append((keys[message.key().decode()], message.timestamp()[1] / 1000 + 0.0005))
        consumer.close()
        return found

    def recorded(self, stage, count):
        """When the last outcome of each message was."""
        deadline, found = time.time() + 30, {}
        while len(found) < count and time.time() < deadline:
            with self.db.cursor() as sql:
                sql.execute("SELECT subject, extract(epoch FROM max(at))::float8 FROM attempts WHERE stage = %s AND subject = ANY (%s)"
                            " GROUP BY 1", (stage, list(BY_NAME[stage].subjects)))
                found = {BY_NAME[stage].subjects[subject]: at for subject, at in sql}
        return found

    def done_times(self, stage, prefix, count):
        """By message: when it was sent on, or its outcome recorded; seconds since 1970."""
        if BY_NAME[stage].produces:
            found = {}
            for i, at in self.onward(stage, prefix, lambda found: len(found) >= count):
                found.setdefault(i, at)
        else:
            found = self.recorded(stage, count)
        if len(found) != count:
            raise Failed(f"{len(found)} of {count} messages came out; {self.tail('worker.log')}")
        return found

    def groups(self, worker=None):
        groups = {"broker": [self.broker], "postgres": [self.postmaster], "sandbox": [self.sandbox.pid], "bench": [os.getpid()]}
        if worker:
            groups["worker"] = [worker.pid]
        return groups

    def vendor_figures(self, stage):
        """The sandbox's own view: how long it took, how many at once."""
        calls = [c["ms"] for c in self.admin("GET", f"/calls?vendor={BY_NAME[stage].vendor}&call={CALLS[stage]}&last=16384")]
        vendor = self.admin("GET", "/counts")[BY_NAME[stage].vendor]
        made = sum(c["requests"] for name, c in vendor["calls"].items() if name not in BY_NAME[stage].logins)
        return {"vendor_p50_ms": quantile(calls, 0.5), "vendor_p99_ms": quantile(calls, 0.99), "vendor_mean_ms": statistics.fmean(calls),
                "max_in_flight": vendor["max_in_flight"], "requests": made}

    def worker_figures(self, before, after, count):
        def grown(name):
            return after.get(name, 0) - before.get(name, 0)

        looks, records = grown("shelfwire_look_batches_total"), grown("shelfwire_record_batches_total")
        seconds = {k: v for k, v in after.items() if k.startswith("shelfwire_vendor_call_seconds")}
        total = sum(v - before.get(k, 0) for k, v in seconds.items() if "_sum" in k)
        calls = sum(v - before.get(k, 0) for k, v in seconds.items() if "_count" in k)
        return {"turns_per_message": grown("shelfwire_loop_turns_total") / count,
                "look_rows": grown("shelfwire_look_rows_total") / looks if looks else 0,
                "record_rows": grown("shelfwire_record_rows_total") / records if records else 0,
                "look_rows_per_message": grown("shelfwire_look_rows_total") / count,
                "seen_by_worker_ms": 1000 * total / calls if calls else 0}

    # ---- what is measured ----

    @staticmethod
    def people(stage, count):
        return min(1000, count) if BY_NAME[stage].keys_repeat else count

    def backlog(self, stage):
        count = self.options.count
        prefix = self.prepare(stage, count, self.people(stage, count))
        self.produce(prefix + TOPICS[stage][0])
        self.admin("POST", "/reset", json={"only": ["counts"]})
        worker = self.worker(stage, prefix)
        perf = None
        with Sampler(self.groups(worker), ["worker"]) as sampler:
            if self.options.perf:
                self.await_effects(stage, count // 10, worker)
                perf = self.perf_start(worker.pid, max(1, min(8, int(count * 0.7 / ideal_of(stage)))))
            self.await_messages(count, worker)
            done = self.done_times(stage, prefix, count)
        after = self.metrics(self.metrics_port)
        self.perf_report(perf, stage, f"{stage}, backlog")
        self.kill(worker, signal.SIGTERM)
        times = sorted(done.values())
        begin, end = times[count // 10], times[count * 9 // 10]
        window = count * 9 // 10 - count // 10
        return {"rate": window / (end - begin), "ideal": ideal_of(stage), "calls": BY_NAME[stage].calls, "anon_mb": sampler.anon_kb["worker"] / 1024, "rss_mb": sampler.rss_kb["worker"] / 1024,
                "anon_early_mb": sampler.at("worker anon_kb", begin) / 1024, "anon_late_mb": sampler.at("worker anon_kb", end) / 1024,
                **self.window_figures(sampler, begin, end, window), **self.vendor_figures(stage),
                **self.worker_figures({}, after, count)}

    def half(self, stage):
        rate = half_of(stage)
        count, warm = rate * (HALF_WARM_S + HALF_S), rate * HALF_WARM_S
        prefix = self.prepare(stage, count, count)
        worker = self.worker(stage, prefix)
        self.await_worker(worker, self.metrics_port)
        self.admin("POST", "/reset", json={"only": ["counts"]})
        perf, after = None, None
        with Sampler(self.groups(worker), ["worker"]) as sampler:
            load = self.floors("produce", wait=False, servers=self.kafka, topic=prefix + TOPICS[stage][0],
                               file=self.dir / "messages", rate=rate, times=self.dir / "times")
            time.sleep(HALF_WARM_S)
            before = self.metrics(self.metrics_port)
            if self.options.perf:
                perf = self.perf_start(worker.pid, HALF_S - 2)
            time.sleep(HALF_S - 0.5)
            after = self.metrics(self.metrics_port)
            load = self.result_of(load)
            self.await_messages(count, worker)
            done = self.done_times(stage, prefix, count)
        self.perf_report(perf, stage, f"{stage}, half load")
        self.kill(worker, signal.SIGTERM)
        sent = [int(line) / 1e6 for line in (self.dir / "times").read_text().split()]
        added = [1000 * (done[i] - sent[i]) - VENDOR_MS * BY_NAME[stage].calls for i in range(warm, count)]
        between = sum(v - before.get(k, 0) for k, v in after.items() if k.startswith("shelfwire_messages_total"))
        vendor = self.vendor_figures(stage)
        return {"p50_ms": quantile(added, 0.5), "p90_ms": quantile(added, 0.9), "p99_ms": quantile(added, 0.99), "worst_ms": max(added),
                "load_late_ms": load["late_ms"], "load_cpu": 1000 * load["cpu_s"] / count,
                **self.window_figures(sampler, sent[warm], sent[-1], count - warm), **vendor,
                **self.worker_figures(before, after, between or 1)}

    def restart(self, stage):
        tries, each = 7, int(0.75 * ideal_of(stage))
        count = int(tries * 1.5 * ideal_of(stage))
        prefix = self.prepare(stage, count, self.people(stage, count))
        self.produce(prefix + TOPICS[stage][0])
        worker = self.worker(stage, prefix, "bench-1")
        self.await_effects(stage, each, worker)
        to_login, to_call, floor = [], [], []
        for _ in range(tries):
            self.kill(worker)
            while self.effects(stage)["in_flight"]:
                time.sleep(0.01)
            time.sleep(0.2)
            self.admin("POST", "/reset", json={"only": ["counts"]})
            stamp = self.dir / "stamp"
            stamp.unlink(missing_ok=True)
            worker = self.worker(stage, prefix, "bench-1", stamp)
            self.await_effects(stage, each // 2, worker)
            began = int(stamp.read_text()) / 1e6
            calls = self.admin("GET", f"/calls?vendor={BY_NAME[stage].vendor}&last=16384")
            login = min((c["at"] for c in calls if c["call"] in BY_NAME[stage].logins), default=began)
            first = min(c["at"] for c in calls if c["call"] not in BY_NAME[stage].logins)
            to_login.append(1000 * (login - began))
            to_call.append(1000 * (first - began))
            floor.append(1000 * (first - login))
        found = {"login_ms": statistics.median(to_login), "call_ms": statistics.median(to_call), "call_worst_ms": max(to_call),
                 "call_best_ms": min(to_call), "after_login_ms": statistics.median(floor)}
        if BY_NAME[stage].produces:
            found["resent"] = self.resent(stage, prefix) / tries
        self.kill(worker)
        return found

    def resent(self, stage, prefix):
        """Messages that came more than once, after all have come."""
        count = len(BY_NAME[stage].subjects)
        found = self.onward(stage, prefix, lambda found: len({i for i, _ in found}) == count)
        return len(found) - len({i for i, _ in found})

    def floors_of(self, stage, rate):
        """What the libraries alone cost, in CPU-s per 1,000, at this rate a second; 0: as fast as it goes."""
        if rate:
            count = rate * (HALF_WARM_S + HALF_S)
        else:
            count = self.options.count
        prefix = self.prepare(stage, count, count if rate else self.people(stage, count))
        source, cost = prefix + TOPICS[stage][0], {}
        # Kafka; the first run in a while is slower in the broker, so the order of these three matters little
        if not rate:
            self.produce(source)
        time.sleep(0.3)
        kafka = self.floors("kafka", wait=False, servers=self.kafka, **{"from": source, "to": prefix + "floor"}, count=count)
        self.await_ready(kafka)
        if rate:
            time.sleep(2)
        with Sampler(self.groups()) as sampler:
            begin = time.time()
            if rate:
                self.produce(source, rate=rate)
            result = self.result_of(kafka)
        end = time.time()
        cost["kafka"] = 1000 * result["cpu_s"] / count
        cost["broker"] = 1000 * sampler.cpu_s("broker", begin, end) / count
        cost["kafka_rate"] = count / result["wall_s"]
        # HTTP, and what is in the answer: as many requests a message as it takes
        calls = BY_NAME[stage].calls
        result = self.floors("http", root=self.vendor_url, ca=self.ca_file or "", headers=self.dir / "headers", file=self.dir / "requests", in_flight=CONCURRENCY,
                             rate=rate * calls)
        cost["http"] = 1000 * result["cpu_s"] / result["count"] * calls
        cost["http_rate"] = result["count"] / result["wall_s"]
        cost["json"] = 1000 * result["parse_cpu_s"] / result["count"] * calls
        # PostgreSQL
        pg = self.floors("pg", wait=False, stage=BY_NAME[stage].floor or stage, file=self.dir / "rows", batch=20, rate=rate)
        self.await_ready(pg)
        with Sampler(self.groups()) as sampler:
            begin = time.time()
            result = self.result_of(pg)
        end = time.time()
        cost["pg"] = 1000 * result["cpu_s"] / count
        cost["postgres"] = 1000 * sampler.cpu_s("postgres", begin, end) / count
        cost["pg_rows_a_commit"] = result["rows_a_commit"]
        cost["pg_rate"] = count / result["wall_s"]
        cost["worker"] = cost["kafka"] + cost["http"] + cost["json"] + cost["pg"]
        return cost


# ---- the table ----

# heading, load, figure, of the floor and how often that fits in, what is to be reached
COLUMNS = [
    ("messages/s", "backlog", "rate", False, None), ("of ideal", "backlog", "share", False, "≥ 0.95"),
    ("CPU-s per 1,000: worker", "backlog", "worker", True, "≤ 0.05"), ("PostgreSQL", "backlog", "postgres", True, None),
    ("broker", "backlog", "broker", True, None), ("own MB", "backlog", "anon_mb", False, "≤ 8"),
    ("RSS MB", "backlog", "rss_mb", False, "≤ 20"), ("half load: worker", "half", "worker", True, "≤ 0.10"),
    ("PostgreSQL", "half", "postgres", True, None), ("broker", "half", "broker", True, None),
    ("added ms p50", "half", "p50_ms", False, "≤ 4"), ("p99", "half", "p99_ms", False, "≤ 8"),
    ("restart ms", "restart", "call_ms", False, "≤ 100"), ("sent again", "restart", "resent", False, "≤ 200"),
]


def shown(value, figure):
    if figure in ("rate", "resent", "call_ms"):
        return f"{value:,.0f}"
    if figure.endswith("_ms") or figure.endswith("_mb"):
        return f"{value:.1f}"
    return f"{value:.2f}" if figure == "share" else f"{value:.3f}"


def cell(runs, load, figure, with_floor):
    run = runs.get(load, {})
    value = run["rate"] / run["ideal"] if figure == "share" and run else run.get(figure)
    if value is None:
        return None, ""
    floor = runs.get("floors_" + load, {}).get(figure) if with_floor else None
    return value, shown(value, figure) + (f" ({shown(floor, figure)}, {value / floor:.1f} x)" if floor else "")


def table(results):
    """A stage a line; in parentheses the floor, and how often it fits in."""
    columns = [c for c in COLUMNS if any(c[1] in runs for runs in results.values())]
    lines = [("stage", *(c[0] for c in columns)), ("to reach", *(c[4] or "" for c in columns))]
    missed = []
    for stage, runs in results.items():
        line = [stage]
        for heading, load, figure, with_floor, target in columns:
            value, words = cell(runs, load, figure, with_floor)
            if value is not None and reached(value, target) == "NO":
                missed.append(f"{stage}, {load}, {heading}: {words} ({target})")
            line.append(words)
        lines.append(line)
    return aligned(lines) + "\n\n" + ("not reached:\n  " + "\n  ".join(missed) if missed else "everything is reached")


def details(results):
    out = []
    for stage, runs in results.items():
        for load, run in runs.items():
            if load.startswith("floors"):
                out.append("{}, {}: CPU-s per 1,000: Kafka {kafka:.3f} (at {kafka_rate:,.0f}/s), HTTP {http:.3f} (at {http_rate:,.0f}/s),"
                           " json-c {json:.4f}, libpq {pg:.3f} (at {pg_rate:,.0f}/s, {pg_rows_a_commit:.1f} rows a commit); broker"
                           " {broker:.3f}; PostgreSQL {postgres:.3f}".format(stage, load.replace("_", " of the "), **run))
            elif load == "restart":
                out.append("{}, restart: best {call_best_ms:.0f} ms, worst {call_worst_ms:.0f} ms; from the log-in's request to the first"
                           " call {after_login_ms:.0f} ms".format(stage, **run))
            else:
                out.append("{}, {}: {turns_per_message:.2f} loop turns a message; {look_rows:.1f} rows a look-up ({look_rows_per_message:.2f}"
                           " looks a message), {record_rows:.1f} rows a record; vendor's answer p50 {vendor_p50_ms:.2f} p99 {vendor_p99_ms:.2f}"
                           " ms at the sandbox, mean {seen_by_worker_ms:.2f} ms at the worker; at most {max_in_flight:.0f} calls at once,"
                           " {requests:.0f} calls in all; sandbox {sandbox:.3f}, bench {bench:.3f} CPU-s per 1,000; others {others:.2f} cores; window"
                           " {window_s:.1f} s".format(stage, load, **run))
                if "anon_early_mb" in run:
                    out.append("    RssAnon {anon_early_mb:.1f} MB at 10 %, {anon_late_mb:.1f} MB at 90 %: memory that grows with what"
                               " was done would be a leak".format(**run))
                if "p90_ms" in run:
                    out.append("    added latency p50 {p50_ms:.1f}, p90 {p90_ms:.1f}, p99 {p99_ms:.1f}, worst {worst_ms:.1f} ms; the load was"
                               " at most {load_late_ms:.1f} ms late and cost {load_cpu:.3f} CPU-s per 1,000".format(**run))
    return "\n".join(out)


def run(options):
    results, sizes = collections.defaultdict(dict), set()
    loads = options.loads
    with Bench(options) as bench:
        about = {"loadavg": os.getloadavg()[0], "cores": os.cpu_count(), "fsync_ms": fsync_ms(bench.dir), "messages": options.count}
        say("a broker that has just started is slow: warming it up")
        for _ in range(1 if options.quick else 2):
            prefix = bench.prepare("users-resolve", 20000, 20000)
            bench.produce(prefix + "users.resolve")
            bench.floors("kafka", servers=bench.kafka, **{"from": prefix + "users.resolve", "to": prefix + "floor"}, count=20000)
            bench.produce(prefix + "prereg.create", rate=3000 if options.quick else 2000)
        for stage in options.stages:
            for load in loads:
                say(f"{stage}: {load}" + (f", {options.repeat} times" if options.repeat > 1 else ""))
                results[stage][load] = median_of([getattr(bench, load)(stage) for _ in range(options.repeat)])
                sizes.add(bench.message_bytes)
                if load != "restart" and not options.no_floors:
                    results[stage]["floors_" + load] = median_of(
                        [bench.floors_of(stage, half_of(stage) if load == "half" else 0) for _ in range(options.repeat)])
        about["loadavg_after"] = os.getloadavg()[0]
        about["message_bytes"] = sorted(sizes)
    print(f"\n{about['messages']:,} messages of {min(sizes)} to {max(sizes)} bytes, CONCURRENCY={CONCURRENCY}, {PARTITIONS} partitions, a vendor"
          f" of {VENDOR_MS} ms{' behind TLS' if options.tls else ''}, {about['cores']} cores, load average {about['loadavg']:.2f} before and {about['loadavg_after']:.2f} after,"
          f" fdatasync {about['fsync_ms']:.2f} ms\n")
    print(table(results) + "\n\n" + details(results))
    if options.json:
        with open(options.json, "w") as file:
            json.dump({"about": about, "results": results}, file, indent=2)
            file.write("\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--quick", action="store_true", help="5,000 messages")
    size.add_argument("--full", action="store_true", help="100,000 messages: what memory is measured with")
    size.add_argument("--messages", type=int, default=20000, help="a backlog of so many (20000)")
    parser.add_argument("--stage", action="append", choices=list(BY_NAME), help="only this one, and others so named")
    parser.add_argument("--load", choices=("backlog", "half", "restart"), help="only this")
    parser.add_argument("--perf", action="store_true", help="show where the worker's time goes (perf, as root)")
    parser.add_argument("--tls", action="store_true", help="the vendors behind TLS: what it adds to a worker")
    parser.add_argument("--no-latency", action="store_true", help="a vendor that answers at once: the most the worker can do")
    add_options(parser)
    options = parser.parse_args()
    options.count = 5000 if options.quick else 100000 if options.full else options.messages
    options.stages = options.stage or list(BY_NAME)
    options.loads = [options.load] if options.load else ["backlog", "half", "restart"]
    return main_of("bench.py", run, options)


if __name__ == "__main__":
    sys.exit(main())

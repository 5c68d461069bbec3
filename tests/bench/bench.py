#!/usr/bin/python3
"""bench.py - how fast the workers are, what they cost, and how far that is from what the libraries alone would cost.

Starts PostgreSQL (fsync on), Apache Kafka and the sandbox, whose vendors answer in 50 ms, measures users-resolve and
prereg-create, and ends them. CONCURRENCY is 100, topics have 10 partitions, a message has 300 bytes.

  backlog    all messages wait in Kafka, in batches of 16 as a stage before would have sent them, before the worker starts. What is between 10 % and 90 % done counts. users-resolve:
             every message another person, since a person needs one visitor; prereg-create: 1,000 people with as many
             windows as it takes, so the order of a key is at work
  half       950 messages a second, evenly, each another person; the first 3 s do not count. Added latency: from when the
             message was given to Kafka to the onward message's own time (users-resolve) or the row's answered_at
             (prereg-create), less the vendor's 50 ms. The load's own cost for Kafka's broker is in the broker's figure
  restart    kill -9 in the middle of a backlog, then the same static member again: from its exec to the vendor's first
             call other than the log-in, and to the log-in, which itself takes the vendor's 50 ms
  floors     floors.c, over the same messages, requests and rows; see there. A ratio says how often the floor fits in

CPU is user and system time of all of a program's processes. `others` is what ran on the machine besides, in cores: with
much of it the figures say little.
"""

import argparse
import collections
import contextlib
import datetime
import json
import os
import random
import signal
import statistics
import sys
import time
import uuid

import confluent_kafka
import requests

from common import (PARTITIONS, Failed, Sampler, Services, add_options, aligned, free_port, fsync_ms, main_of, median_of,
                    quantile, reached, say)

VENDOR_MS = 50
CONCURRENCY = 100
HALF_RATE, HALF_WARM_S, HALF_S = 950, 3, 10
CALLS = {"users-resolve": "createVisitor", "prereg-create": "createPreReg"}
TOPICS = {"users-resolve": ("users.resolve", "prereg.create"), "prereg-create": ("prereg.create", None)}
DESTINATION = "Gelman Library, Level 4, Group Study Room 402 (eight seats, with a screen)"

# stage, scenario, figure: what it is called, the prototype's, the target, smaller is better
FIGURES = [
    ("users-resolve", "backlog", "rate", "messages/s, keys in order", "1,930", "≥ 1930"),
    ("users-resolve", "backlog", "worker", "CPU-s of the worker per 1,000", "0.06", "≤ 0.06"),
    ("users-resolve", "backlog", "broker", "CPU-s of the broker per 1,000", "0.04", "≤ 0.04"),
    ("users-resolve", "backlog", "postgres", "CPU-s of PostgreSQL per 1,000", "0.10", "≤ 0.10"),
    ("users-resolve", "backlog", "sandbox", "CPU-s of the sandbox per 1,000", "", ""),
    ("users-resolve", "backlog", "anon_mb", "memory, its own (RssAnon), MB", "6.9", "≤ 8"),
    ("users-resolve", "backlog", "rss_mb", "memory, all (RSS), MB", "19.8", "≤ 20"),
    ("users-resolve", "half", "worker", "CPU-s of the worker per 1,000", "0.19-0.30", "≤ 0.15"),
    ("users-resolve", "half", "broker", "CPU-s of the broker per 1,000", "0.4-0.7", ""),
    ("users-resolve", "half", "postgres", "CPU-s of PostgreSQL per 1,000", "0.23-0.5", ""),
    ("users-resolve", "half", "p50_ms", "added latency, p50, ms", "3.6", "≤ 4"),
    ("users-resolve", "half", "p99_ms", "added latency, p99, ms", "", "≤ 10"),
    ("users-resolve", "restart", "call_ms", "kill -9 and restart to the first call, ms", "32-49", "≤ 100"),
    ("users-resolve", "restart", "login_ms", "… to the log-in, ms", "", ""),
    ("prereg-create", "backlog", "rate", "messages/s, keys in order", "1,790", "≥ 1790"),
    ("prereg-create", "backlog", "worker", "CPU-s of the worker per 1,000", "0.06", "≤ 0.06"),
    ("prereg-create", "backlog", "broker", "CPU-s of the broker per 1,000", "0.04", "≤ 0.04"),
    ("prereg-create", "backlog", "postgres", "CPU-s of PostgreSQL per 1,000", "0.10", "≤ 0.10"),
    ("prereg-create", "backlog", "sandbox", "CPU-s of the sandbox per 1,000", "", ""),
    ("prereg-create", "backlog", "anon_mb", "memory, its own (RssAnon), MB", "6.9", "≤ 8"),
    ("prereg-create", "backlog", "rss_mb", "memory, all (RSS), MB", "19.8", "≤ 20"),
    ("prereg-create", "half", "worker", "CPU-s of the worker per 1,000", "0.19-0.30", "≤ 0.15"),
    ("prereg-create", "half", "broker", "CPU-s of the broker per 1,000", "0.4-0.7", ""),
    ("prereg-create", "half", "postgres", "CPU-s of PostgreSQL per 1,000", "0.23-0.5", ""),
    ("prereg-create", "half", "p50_ms", "added latency, p50, ms", "3.6", "≤ 4"),
    ("prereg-create", "half", "p99_ms", "added latency, p99, ms", "", "≤ 10"),
    ("prereg-create", "restart", "call_ms", "kill -9 and restart to the first call, ms", "32-49", "≤ 100"),
    ("prereg-create", "restart", "login_ms", "… to the log-in, ms", "", ""),
]


# ---- the data ----

class Bench(Services):
    def __init__(self, options):
        super().__init__(options, options.stages, "floors")
        self.random = random.Random(1)

    def prepare(self, stage, count, people):
        """Fresh topics, rows and vendors; the files of messages, rows and requests. Returns the topics' prefix."""
        prefix = self.make_topics(*(t for t in (*TOPICS[stage], TOPICS[stage][0] + ".dlq", "floor") if t))
        self.admin("POST", "/reset")
        latency = 0 if self.options.no_latency else VENDOR_MS
        self.admin("POST", "/settings", json={"passagepoint": {"latency_ms": latency, "accept_all_visitors": True}})
        first_day = datetime.datetime.now(datetime.timezone.utc).replace(hour=9, minute=0, second=0, microsecond=0)
        windows = -(-count // people)
        known = stage == "prereg-create"
        persons = [(f"G{i + 1:08d}", f"2282{self.round:04d}{i + 1:06d}", f"13750576{i + 1:07d}") for i in range(people)]
        with open(self.dir / "users", "w") as users:
            for primary, barcode, visitor in persons:
                users.write("\t".join((primary, barcode, "UGRD", "Undergraduate", "Ada", "Reader", "{%s@example.edu}" % primary.lower(),
                                       "now", visitor if known else "\\N", barcode if known else "\\N")) + "\n")
        with open(self.dir / "appts", "w") as appts, open(self.dir / "messages", "w") as messages, \
             open(self.dir / "rows", "w") as rows, open(self.dir / "requests", "w") as calls:
            for i in range(count):
                primary, barcode, visitor = persons[i % people]
                start = first_day + datetime.timedelta(days=1 + i // people % windows, minutes=30 * (i % 16))
                end = start + datetime.timedelta(hours=1)
                appt = str(uuid.UUID(int=self.random.getrandbits(128), version=4))
                booking = f"cs_{i:08d}"
                appts.write("\t".join((appt, "libcal", "1234", booking, primary, DESTINATION, start.isoformat(), end.isoformat(),
                                       primary.lower() + "@example.edu", "now")) + "\n")
                value = json.dumps({"source": "libcal", "booking_id": booking, "appt_id": appt, "asked_id": primary,
                                    "primary_id": primary, "start": start.strftime("%Y-%m-%dT%H:%M:%SZ"),
                                    "end": end.strftime("%Y-%m-%dT%H:%M:%SZ"), "destination": DESTINATION},
                                   separators=(",", ":"))
                messages.write(f"{primary}\t{value}\n")
                rows.write(f"{appt}\t{primary}\t{barcode}\t{visitor}\n")
                if stage == "users-resolve":
                    calls.write("/pp/api/v2/person/createVisitor?category=Student&firstName=Ada&lastName=Reader&email="
                                f"{primary.lower()}%40example.edu&mobilePhoneNo={primary}&uniqueId={barcode}\t\n")
                else:
                    calls.write("/pp/api/v2/visit/createPreReg\t" + json.dumps(
                        {"startTime": str(int(start.timestamp())), "endTime": str(int(end.timestamp())), "visitorId": visitor,
                         "destination": DESTINATION}) + "\n")
        self.message_bytes = len(value)
        with self.db.cursor() as sql:
            sql.execute("TRUNCATE users, appts, intents, attempts, asked_ids, desk, partition_owners, quotas, bookings")
            with open(self.dir / "users") as users:
                sql.copy_expert("COPY users (primary_id, barcode, user_group, group_desc, first_name, last_name, emails, checked_at,"
                                " visitor_id, visitor_barcode) FROM STDIN", users)
            with open(self.dir / "appts") as appts:
                sql.copy_expert("COPY appts (appt_id, source, location_id, booking_id, asked_id, destination, starts_at, ends_at,"
                                " email, sent_at) FROM STDIN", appts)
            sql.execute("VACUUM ANALYZE users, appts")  # the engine's tables are as on the first day: empty, never counted
            sql.execute("CHECKPOINT")
        return prefix

    def produce(self, topic, **more):
        return self.floors("produce", servers=self.kafka, topic=topic, file=self.dir / "messages", **more)

    # ---- the worker ----

    def worker(self, stage, prefix, instance=None, stamp=None, concurrency=CONCURRENCY):
        self.metrics_port = free_port()
        env = {**os.environ, **self.pg, "KAFKA_BOOTSTRAP_SERVERS": self.kafka, "TOPIC_PREFIX": prefix,
               "PASSAGEPOINT_URL": self.url, "PASSAGEPOINT_USERNAME": "sandbox", "PASSAGEPOINT_PASSWORD": "sandbox-pp-password",
               "CONCURRENCY": str(concurrency), "METRICS_PORT": str(self.metrics_port), "LOG_FORMAT": "text"}
        if stage == "users-resolve":
            env["PASSAGEPOINT_CATEGORIES"] = '{"*": "Student"}'
        if instance:
            env["KAFKA_GROUP_INSTANCE_ID"] = instance
        command = [self.bin / stage]
        if stamp:
            command = [self.bin / "floors", "exec", f"times={stamp}", "--", *command]
        return self.spawn(command, "worker.log", env=env)

    def effects(self, stage):
        return self.admin("GET", "/counts")["passagepoint"]["calls"][CALLS[stage]]

    def await_effects(self, stage, count, worker, still_s=30):
        seen, since = -1, time.time()
        while seen < count:
            at = self.effects(stage)["effects"]
            if at != seen:
                seen, since = at, time.time()
            if worker and worker.poll() is not None:
                raise Failed("the worker ended: " + self.tail("worker.log"))
            if time.time() - since > still_s:
                raise Failed(f"nothing happens any more: {seen} of {count} calls made; {self.tail('worker.log')}")
            time.sleep(0.1)

    def done_times(self, stage, prefix, count):
        """By message: when it was sent on, or its row written; seconds since 1970."""
        deadline = time.time() + 30
        if stage == "users-resolve":
            topic = prefix + TOPICS[stage][1]
            found = {}
            consumer = confluent_kafka.Consumer({"bootstrap.servers": self.kafka, "group.id": "bench", "enable.auto.commit": False})
            consumer.assign([confluent_kafka.TopicPartition(topic, p, 0) for p in range(PARTITIONS)])
            while len(found) < count and time.time() < deadline:
                for message in consumer.consume(1000, 0.5):
                    if not message.error():  # a time of whole milliseconds: its middle is the best guess
                        found.setdefault(int(message.key()[1:]) - 1, message.timestamp()[1] / 1000 + 0.0005)
            consumer.close()
        else:
            while True:
                with self.db.cursor() as sql:
                    sql.execute("SELECT substr(booking_id, 4)::int, extract(epoch FROM answered_at)::float8 FROM appts"
                                " WHERE prereg_id IS NOT NULL")
                    found = dict(sql.fetchall())
                if len(found) >= count or time.time() > deadline:
                    break
                time.sleep(0.1)
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
        calls = [c["ms"] for c in self.admin("GET", f"/calls?vendor=passagepoint&call={CALLS[stage]}&last=16384")]
        counts = self.effects(stage)
        return {"vendor_p50_ms": quantile(calls, 0.5), "vendor_p99_ms": quantile(calls, 0.99), "vendor_mean_ms": statistics.fmean(calls),
                "max_in_flight": counts["max_in_flight"], "requests": counts["requests"]}

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

    def backlog(self, stage):
        count = self.options.count
        people = count if stage == "users-resolve" else min(1000, count)
        prefix = self.prepare(stage, count, people)
        self.produce(prefix + TOPICS[stage][0])
        self.admin("POST", "/reset", json={"only": ["counts"]})
        worker = self.worker(stage, prefix)
        perf = None
        with Sampler(self.groups(worker), ["worker"]) as sampler:
            if self.options.perf:
                self.await_effects(stage, count // 10, worker)
                perf = self.perf_start(worker.pid, max(1, min(8, int(count * 0.7 / 1900))))
            self.await_effects(stage, count, worker)
            done = self.done_times(stage, prefix, count)
        after = self.metrics(self.metrics_port)
        self.perf_report(perf, stage, f"{stage}, backlog")
        self.kill(worker, signal.SIGTERM)
        times = sorted(done.values())
        begin, end = times[count // 10], times[count * 9 // 10]
        window = count * 9 // 10 - count // 10
        return {"rate": window / (end - begin), "anon_mb": sampler.anon_kb["worker"] / 1024, "rss_mb": sampler.rss_kb["worker"] / 1024,
                "anon_early_mb": sampler.at("worker anon_kb", begin) / 1024, "anon_late_mb": sampler.at("worker anon_kb", end) / 1024,
                **self.window_figures(sampler, begin, end, window), **self.vendor_figures(stage),
                **self.worker_figures({}, after, count)}

    def half(self, stage):
        count, warm = HALF_RATE * (HALF_WARM_S + HALF_S), HALF_RATE * HALF_WARM_S
        prefix = self.prepare(stage, count, count)
        worker = self.worker(stage, prefix)
        self.await_worker(worker, self.metrics_port)
        self.admin("POST", "/reset", json={"only": ["counts"]})
        perf, after = None, None
        with Sampler(self.groups(worker), ["worker"]) as sampler:
            load = self.floors("produce", wait=False, servers=self.kafka, topic=prefix + TOPICS[stage][0],
                               file=self.dir / "messages", rate=HALF_RATE, times=self.dir / "times")
            time.sleep(HALF_WARM_S)
            before = self.metrics(self.metrics_port)
            if self.options.perf:
                perf = self.perf_start(worker.pid, HALF_S - 2)
            time.sleep(HALF_S - 0.5)
            after = self.metrics(self.metrics_port)
            load = self.result_of(load)
            self.await_effects(stage, count, worker)
            done = self.done_times(stage, prefix, count)
        self.perf_report(perf, stage, f"{stage}, half load")
        self.kill(worker, signal.SIGTERM)
        sent = [int(line) / 1e6 for line in (self.dir / "times").read_text().split()]
        added = [1000 * (done[i] - sent[i]) - VENDOR_MS for i in range(warm, count)]
        between = sum(v - before.get(k, 0) for k, v in after.items() if k.startswith("shelfwire_messages_total"))
        vendor = self.vendor_figures(stage)
        return {"p50_ms": quantile(added, 0.5), "p90_ms": quantile(added, 0.9), "p99_ms": quantile(added, 0.99), "worst_ms": max(added),
                "load_late_ms": load["late_ms"], "load_cpu": 1000 * load["cpu_s"] / count,
                **self.window_figures(sampler, sent[warm], sent[-1], count - warm), **vendor,
                **self.worker_figures(before, after, between or 1)}

    def restart(self, stage):
        tries, each = 7, 1500
        count = min(max(self.options.count, 20000), 30000)
        prefix = self.prepare(stage, count, count if stage == "users-resolve" else 1000)
        self.produce(prefix + TOPICS[stage][0])
        worker = self.worker(stage, prefix, "bench-1")
        self.await_effects(stage, each, worker)
        to_login, to_call, floor = [], [], []
        for _ in range(tries):
            self.kill(worker)
            while self.effects(stage)["in_flight"]:
                time.sleep(0.01)
            time.sleep(0.2)
            already = self.effects(stage)["effects"]
            self.admin("POST", "/reset", json={"only": ["counts"]})
            stamp = self.dir / "stamp"
            stamp.unlink(missing_ok=True)
            worker = self.worker(stage, prefix, "bench-1", stamp)
            self.await_effects(stage, 300, worker)
            began = int(stamp.read_text()) / 1e6
            calls = self.admin("GET", "/calls?vendor=passagepoint&last=16384")
            login = min(c["at"] for c in calls if c["call"] == "login")
            first = min(c["at"] for c in calls if c["call"] != "login")
            to_login.append(1000 * (login - began))
            to_call.append(1000 * (first - began))
            floor.append(1000 * (first - login))
        self.kill(worker)
        return {"login_ms": statistics.median(to_login), "call_ms": statistics.median(to_call), "call_worst_ms": max(to_call),
                "call_best_ms": min(to_call), "after_login_ms": statistics.median(floor)}

    def floors_of(self, stage, rate):
        """What the libraries alone cost, in CPU-s per 1,000, at this rate a second; 0: as fast as it goes."""
        if rate:
            count = rate * (HALF_WARM_S + HALF_S)
        else:
            count = self.options.count
        prefix = self.prepare(stage, count, count if rate or stage == "users-resolve" else min(1000, count))
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
        # HTTP, and what is in the answer
        token = requests.post(self.url + "/pp/api/v2/auth/login", timeout=10,
                              json={"username": "sandbox", "password": "sandbox-pp-password"}).json()["token"]
        result = self.floors("http", root=self.url, token=token, file=self.dir / "requests", in_flight=CONCURRENCY, rate=rate)
        cost["http"] = 1000 * result["cpu_s"] / result["count"]
        cost["http_rate"] = result["count"] / result["wall_s"]
        cost["json"] = 1000 * result["parse_cpu_s"] / result["count"]
        # PostgreSQL
        pg = self.floors("pg", wait=False, stage=stage, file=self.dir / "rows", batch=20, rate=rate)
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

    # ---- where the time goes ----

# ---- the table ----

def shown(value, figure):
    if figure in ("rate",):
        return f"{value:,.0f}"
    if figure.endswith("_ms") or figure.endswith("_mb"):
        return f"{value:.1f}"
    return f"{value:.3f}"


def table(results):
    lines = [("stage", "load", "figure", "prototype", "to reach", "measured", "", "floor", "ratio")]
    for stage, load, figure, name, prototype, target in FIGURES:
        run = results.get(stage, {}).get(load)
        if not run or figure not in run:
            continue
        floor = results[stage].get("floors_" + load, {}).get(figure)
        if figure == "rate":
            floor = CONCURRENCY * 1000 / VENDOR_MS
        ratio = run[figure] / floor if floor else None
        lines.append((stage, load, name, prototype, target, shown(run[figure], figure), reached(run[figure], target),
                      shown(floor, figure) if floor else "", f"{ratio:.2f}" if ratio else ""))
    return aligned(lines)


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
                           " {requests:.0f} calls; sandbox {sandbox:.3f}, bench {bench:.3f} CPU-s per 1,000; others {others:.2f} cores; window"
                           " {window_s:.1f} s".format(stage, load, **run))
                if "anon_early_mb" in run:
                    out.append("    RssAnon {anon_early_mb:.1f} MB at 10 %, {anon_late_mb:.1f} MB at 90 %: memory that grows with what"
                               " was done would be a leak".format(**run))
                if "p90_ms" in run:
                    out.append("    added latency p50 {p50_ms:.1f}, p90 {p90_ms:.1f}, p99 {p99_ms:.1f}, worst {worst_ms:.1f} ms; the load was"
                               " at most {load_late_ms:.1f} ms late and cost {load_cpu:.3f} CPU-s per 1,000".format(**run))
    return "\n".join(out)


def run(options):
    results = collections.defaultdict(dict)
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
                if load != "restart" and not options.no_floors:
                    results[stage]["floors_" + load] = median_of(
                        [bench.floors_of(stage, HALF_RATE if load == "half" else 0) for _ in range(options.repeat)])
        about["loadavg_after"] = os.getloadavg()[0]
        about["message_bytes"] = bench.message_bytes
    print(f"\n{about['messages']:,} messages of {about['message_bytes']} bytes, CONCURRENCY={CONCURRENCY}, {PARTITIONS} partitions, a vendor"
          f" of {VENDOR_MS} ms, {about['cores']} cores, load average {about['loadavg']:.2f} before and {about['loadavg_after']:.2f} after,"
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
    parser.add_argument("--stage", choices=sorted(CALLS), help="only this one")
    parser.add_argument("--load", choices=("backlog", "half", "restart"), help="only this")
    parser.add_argument("--perf", action="store_true", help="show where the worker's time goes (perf, as root)")
    parser.add_argument("--no-latency", action="store_true", help="a vendor that answers at once: the most the worker can do")
    add_options(parser)
    options = parser.parse_args()
    options.count = 5000 if options.quick else 100000 if options.full else options.messages
    options.stages = [options.stage] if options.stage else ["users-resolve", "prereg-create"]
    options.loads = [options.load] if options.load else ["backlog", "half", "restart"]
    return main_of("bench.py", run, options)


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/python3
"""bench_requests.py - how many requests patron-requests takes, what they cost, and how far that is from what the libraries alone cost.

Starts PostgreSQL (fsync on) and Apache Kafka, measures, and ends them. A request has 200 bytes; each is another, of 20,000 patrons;
connections are kept. Every request is answered 202: its row is committed and its message acknowledged.

  full       as fast as each is answered, over so many connections; the last 80 % of the time count
  arrays     the same, 100 requests a post over 16 connections
  half       half the rate of the first, evenly; times are from when a post should have been sent
  hostile    200 connections send a mebibyte of brackets, numbers and names at a time: what memory is at most then
  floors     request_floors.c: libmicrohttpd alone answering the same posts, libpq alone writing the same rows in batches as large,
             librdkafka alone producing the same messages. Their sum is the least that a request could cost

CPU is user and system time. What one core could take is a second by the program's CPU for a request: the machine's cores are
shared with PostgreSQL, Kafka and the load itself, which all have their own.
"""
import argparse
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import threading
import time

from common import (PARTITIONS, TICK, Failed, Services, add_options, aligned, free_port, fsync_ms, machine_ticks, main_of, median_of,
                    memory_kb, reached, say, stat_ticks)

TOPICS = ("folio.requests", "wise.holds.prepare", "oneclick.requests")


class Bench(Services):
    def __init__(self, options):
        super().__init__(options, ["patron-requests"], "request_floors")
        self.runs = 0

    def start(self):
        super().start()
        self.prefix = self.make_topics(*TOPICS, "floor")
        env = {**os.environ, **self.pg, "KAFKA_BOOTSTRAP_SERVERS": self.kafka, "TOPIC_PREFIX": self.prefix, "LOG_FORMAT": "text"}
        said = subprocess.run([self.bin / "patron-requests", "--add-caller", "bench"], env=env, check=True, capture_output=True, text=True)
        self.token = re.search(r"token +(\S+)", said.stdout)[1]
        self.port, metrics = free_port(), free_port()
        self.program = self.spawn([self.bin / "patron-requests"], "worker.log",
                                  env={**env, "REQUESTS_PORT": str(self.port), "METRICS_PORT": str(metrics)})
        self.await_worker(self.program, metrics)

    def ticks(self):
        children = pathlib.Path(f"/proc/{self.postmaster}/task/{self.postmaster}/children").read_text().split()
        postgres = stat_ticks(self.postmaster, True) + sum(stat_ticks(c) for c in children)
        return {"program": stat_ticks(self.program.pid), "broker": stat_ticks(self.broker), "postgres": postgres, "machine": machine_ticks()}

    def batches(self):
        with self.db.cursor() as sql:
            sql.execute("SELECT count(*), count(DISTINCT xmin::text) FROM requests WHERE ref LIKE %s", (f"r{self.runs}-%",))
            return sql.fetchone()

    def load(self, **how):
        self.runs += 1
        before, peak, over = self.ticks(), [0, 0], threading.Event()

        def watch():
            while not over.wait(0.05):
                for i, kb in enumerate(memory_kb(self.program.pid)):
                    peak[i] = max(peak[i], kb)
        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            got = self.floors("load", port=self.port, token=self.token, prefix=f"r{self.runs}", **how)
        finally:
            over.set()
            watcher.join()
        time.sleep(0.3)
        after = self.ticks()
        if got["others"]:
            raise Failed(f"{got['others']} requests were not taken")
        for who in ("program", "broker", "postgres"):
            got[who] = (after[who] - before[who]) / TICK * 1000 / got["accepted"]
        ours = sum(after[w] - before[w] for w in ("program", "broker", "postgres"))
        got["others_cores"] = ((after["machine"] - before["machine"] - ours) / TICK - got["cpu_s"]) / how["seconds"]
        got["one_core"] = 1000 / got["program"]
        got["anon_mb"], got["rss_mb"] = peak[0] / 1024, peak[1] / 1024
        rows, transactions = self.batches()
        got["rows_a_commit"] = rows / max(transactions, 1)
        return got

    def floor(self, batch):
        http = self.floors("http", wait=False)
        port = int(http.stdout.readline())
        load = self.floors("load", port=port, token=self.token, connections=64, seconds=3)
        http.send_signal(signal.SIGTERM)
        alone = self.result_of(http)
        count = 50000
        pg = self.floors("pg", count=count, batch=max(1, round(batch)))
        kafka = self.floors("kafka", servers=self.kafka, topic=self.prefix + "floor", count=count)
        return {"http": alone["cpu_s"] * 1000 / alone["served"], "http_rate": load["requests_per_s"], "pg": pg["cpu_s"] * 1000 / count,
                "pg_rate": pg["rows_per_s"], "kafka": kafka["cpu_s"] * 1000 / count, "kafka_rate": kafka["messages_per_s"]}

    def hostile(self):
        """The largest RssAnon while 200 connections send what costs most to read."""
        bodies = [b"[" * (1 << 20), b"[" + b"1," * ((1 << 19) - 2) + b"1]", b"{" + b",".join(b'"%07d":1' % i for i in range(85000)) + b"}",
                  b"[" + b",".join(b'{"a":[1,{}]}' for _ in range(4900)) + b"]", b'{"ref":"' + b"x" * ((1 << 20) - 20) + b'"}']
        peak = 0

        def send(i):
            body = bodies[i % len(bodies)]
            with socket.create_connection(("127.0.0.1", self.port), timeout=30) as s:
                s.sendall(f"POST /requests HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {self.token}\r\nContent-Type: application/json\r\n"
                          f"Content-Length: {len(body)}\r\n\r\n".encode() + body)
                answers.append(s.recv(12)[9:12])
        answers = []
        threads = [threading.Thread(target=send, args=(i,)) for i in range(200)]
        for t in threads:
            t.start()
        while any(t.is_alive() for t in threads):
            peak = max(peak, memory_kb(self.program.pid)[0])
            time.sleep(0.002)
        if set(answers) - {b"400", b"422", b"503"} or len(answers) < 200:
            raise Failed(f"hostile requests were answered {set(answers)}")
        time.sleep(2)
        return {"peak_mb": peak / 1024, "after_mb": memory_kb(self.program.pid)[0] / 1024}


COLUMNS = [("requests/s", "requests_per_s", "{:,.0f}"), ("a core", "one_core", "{:,.0f}"), ("p50 ms", "p50_ms", "{:.1f}"),
           ("p99 ms", "p99_ms", "{:.1f}"), ("CPU-s per 1,000", "program", "{:.3f}"), ("PostgreSQL's", "postgres", "{:.3f}"),
           ("broker's", "broker", "{:.3f}"), ("rows a commit", "rows_a_commit", "{:.1f}"), ("RssAnon MB", "anon_mb", "{:.1f}"),
           ("RSS MB", "rss_mb", "{:.1f}"), ("others, cores", "others_cores", "{:.2f}")]


def measure(bench, options):
    loads = {f"full, {n} connections": {"connections": n} for n in options.connections}
    loads["arrays of 100, 16 connections"] = {"connections": 16, "items": 100}
    results = {}
    say("a broker that has just started is slow: warming it up")
    bench.load(connections=64, seconds=5)
    for name, how in loads.items():
        say(name)
        results[name] = median_of([bench.load(seconds=options.seconds, **how) for _ in range(options.repeat)])
    best = max(run["requests_per_s"] for name, run in results.items() if name.startswith("full"))
    say("half load")
    results["half load, 256 connections"] = median_of(
        [bench.load(connections=256, seconds=options.seconds, rate=round(best / 2)) for _ in range(options.repeat)])
    rows = max(run["rows_a_commit"] for name, run in results.items() if name.startswith("full"))
    say("floors, hostile")
    floor = None if options.no_floors else median_of([bench.floor(rows) for _ in range(options.repeat)])
    return results, floor, bench.hostile()


def show(results, floor, hostile):
    print(aligned([("load", *(c[0] for c in COLUMNS))] + [(name, *(form.format(run[figure]) for _, figure, form in COLUMNS))
                                                         for name, run in results.items()]))
    full = [run for name, run in results.items() if name.startswith("full")]
    core, memory = max(run["one_core"] for run in full), max(run["anon_mb"] for run in results.values())
    print(f"\nto reach: ≥ 10,000/s on one core: {core:,.0f}, {reached(core, '≥ 10000')}; ≤ 8 MB of its own: {memory:.1f},"
          f" {reached(memory, '≤ 8')}")
    if floor:
        least = floor["http"] + floor["pg"] + floor["kafka"]
        cost = min(run["program"] for run in full)
        print(f"floors, CPU-s per 1,000: libmicrohttpd {floor['http']:.3f} (at {floor['http_rate']:,.0f}/s), libpq {floor['pg']:.3f} (at"
              f" {floor['pg_rate']:,.0f} rows/s), librdkafka {floor['kafka']:.3f} (at {floor['kafka_rate']:,.0f}/s); together {least:.3f};"
              f" ours is {cost / least:.1f} times that")
    print(f"hostile: RssAnon {hostile['peak_mb']:.1f} MB at most, {hostile['after_mb']:.1f} MB after")


def run(options):
    with Bench(options) as bench:
        about = {"loadavg": os.getloadavg()[0], "cores": os.cpu_count(), "fsync_ms": fsync_ms(bench.dir)}
        results, floor, hostile = measure(bench, options)
        about["loadavg_after"] = os.getloadavg()[0]
    print(f"\n{PARTITIONS} partitions, {about['cores']} cores, load average {about['loadavg']:.2f} before and {about['loadavg_after']:.2f}"
          f" after, fdatasync {about['fsync_ms']:.2f} ms\n")
    show(results, floor, hostile)
    if options.json:
        pathlib.Path(options.json).write_text(json.dumps({"about": about, "results": results, "floor": floor, "hostile": hostile}, indent=2) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=8, help="of each load (8)")
    parser.add_argument("--connections", type=int, nargs="*", default=[64, 256], help="64 256")
    add_options(parser)
    return main_of("bench_requests.py", run, parser.parse_args())


if __name__ == "__main__":
    sys.exit(main())

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
import shlex
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time

import confluent_kafka.admin
import psycopg2

from bench import ROOT, SERVICES, TICK, Failed, free_port, fsync_ms, machine_ticks, memory_kb, say, stat_ticks

TOPICS = ("folio.requests", "wise.holds.prepare", "oneclick.requests")
PARTITIONS = 10


class Bench:
    def __init__(self, options):
        self.options, self.processes = options, []
        self.bin = pathlib.Path(options.bin).resolve()
        for name in ("patron-requests", "migrate", "request_floors"):
            if not (self.bin / name).exists():
                raise Failed(f"{self.bin / name} is missing: cmake --preset release && cmake --build build")
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="shelfwire-bench-", dir=options.dir))
        self.dir.chmod(0o755)
        self.runs = 0

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for process in self.processes:
            if process.poll() is None:
                process.kill()
                process.wait()
        for script, folder in (("kafka.sh", "kafka"), ("postgres.sh", "postgres")):
            if (self.dir / folder).exists():
                subprocess.run([SERVICES / script, "kill", self.dir / folder], capture_output=True, check=False)
        shutil.rmtree(self.dir, ignore_errors=True)

    def service(self, script, *args):
        done = subprocess.run([SERVICES / script, *args], capture_output=True, text=True, env={**os.environ, "FSYNC": "on"}, check=False)
        if done.returncode:
            raise Failed(done.stderr.strip() or f"{script} failed")
        return done.stdout

    def settings_of(self, script, folder):
        return dict(word.split("=", 1) for word in shlex.split(self.service(script, "env", folder)) if "=" in word)

    def start(self):
        say(self.service("postgres.sh", "start", self.dir / "postgres").strip())
        say(self.service("kafka.sh", "start", self.dir / "kafka").strip())
        self.pg = self.settings_of("postgres.sh", self.dir / "postgres")
        self.kafka = self.settings_of("kafka.sh", self.dir / "kafka")["KAFKA_BOOTSTRAP_SERVERS"]
        self.postmaster = int((self.dir / "postgres/data/postmaster.pid").read_text().split()[0])
        self.broker = int((self.dir / "kafka/broker-1/pid").read_text().split()[0])
        self.env = {**os.environ, **self.pg, "KAFKA_BOOTSTRAP_SERVERS": self.kafka, "SQL_DIR": str(ROOT / "schemas/sql"), "LOG_FORMAT": "text"}
        subprocess.run([self.bin / "migrate"], check=True, env=self.env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        admin = confluent_kafka.admin.AdminClient({"bootstrap.servers": self.kafka})
        for future in admin.create_topics([confluent_kafka.admin.NewTopic(t, PARTITIONS, 1) for t in (*TOPICS, "floor")]).values():
            future.result(30)
        said = subprocess.run([self.bin / "patron-requests", "--add-caller", "bench"], env=self.env, check=True, capture_output=True, text=True)
        self.token = re.search(r"token +(\S+)", said.stdout)[1]
        self.port, metrics = free_port(), free_port()
        self.program = self.spawn([self.bin / "patron-requests"], env={**self.env, "REQUESTS_PORT": str(self.port), "METRICS_PORT": str(metrics)})
        for _ in range(200):
            with socket.socket() as s:
                if not s.connect_ex(("127.0.0.1", metrics)):
                    s.sendall(b"GET /readyz HTTP/1.0\r\n\r\n")
                    if b" 200 " in s.recv(100):
                        return
            time.sleep(0.1)
        raise Failed("patron-requests is not ready: " + (self.dir / "log").read_text()[-500:])

    def spawn(self, command, **more):
        with open(self.dir / "log", "ab") as log:
            process = subprocess.Popen(list(map(str, command)), stderr=log, stdin=subprocess.DEVNULL, **more)
        self.processes.append(process)
        return process

    def floors(self, mode, **named):
        command = [self.bin / "request_floors", mode, *(f"{k}={v}" for k, v in named.items())]
        done = subprocess.run(list(map(str, command)), env=self.env, capture_output=True, text=True, check=False)
        if done.returncode:
            raise Failed(done.stderr.strip())
        return json.loads(done.stdout.splitlines()[-1])

    def ticks(self):
        children = pathlib.Path(f"/proc/{self.postmaster}/task/{self.postmaster}/children").read_text().split()
        postgres = stat_ticks(self.postmaster, True) + sum(stat_ticks(c) for c in children)
        return {"program": stat_ticks(self.program.pid), "broker": stat_ticks(self.broker), "postgres": postgres, "machine": machine_ticks()}

    def batches(self):
        with psycopg2.connect(host=self.pg["PGHOST"], port=self.pg["PGPORT"], user="postgres", dbname="shelfwire") as db, db.cursor() as sql:
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
        http = self.spawn([self.bin / "request_floors", "http"], stdout=subprocess.PIPE, text=True)
        port = int(http.stdout.readline())
        load = self.floors("load", port=port, token=self.token, connections=64, seconds=3)
        http.send_signal(signal.SIGTERM)
        alone = json.loads(http.communicate(timeout=10)[0])
        count = 50000
        pg = self.floors("pg", count=count, batch=max(1, round(batch)))
        kafka = self.floors("kafka", servers=self.kafka, topic="floor", count=count)
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


def median_of(runs):
    return {name: statistics.median(run[name] for run in runs) for name in runs[0]}


def show(name, run):
    print(f"{name:<28} {run['requests_per_s']:>8,.0f}/s  {run['one_core']:>8,.0f}/s a core  p50 {run['p50_ms']:6.1f}  p99 {run['p99_ms']:6.1f} ms"
          f"  CPU-s per 1,000: {run['program']:.3f}, PostgreSQL {run['postgres']:.3f}, broker {run['broker']:.3f}"
          f"  {run['rows_a_commit']:5.1f} rows a commit  RssAnon {run['anon_mb']:.1f}, RSS {run['rss_mb']:.1f} MB  others {run['others_cores']:.2f} cores")


def measure(bench, options):
    seconds, results = options.seconds, {}
    bench.load(connections=64, seconds=5)  # a broker that has just started is slow
    for connections in options.connections:
        results[f"full, {connections} connections"] = median_of([bench.load(connections=connections, seconds=seconds) for _ in range(options.repeat)])
    best = max(run["requests_per_s"] for run in results.values())
    rows = max(run["rows_a_commit"] for run in results.values())
    results["arrays of 100, 16 connections"] = median_of([bench.load(connections=16, items=100, seconds=seconds) for _ in range(options.repeat)])
    results["half load, 256 connections"] = median_of([bench.load(connections=256, seconds=seconds, rate=round(best / 2)) for _ in range(options.repeat)])
    floor = median_of([bench.floor(rows) for _ in range(options.repeat)])
    return results, floor, bench.hostile()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=8, help="of each load (8)")
    parser.add_argument("--repeat", type=int, default=3, help="measure so often, show the medians (3)")
    parser.add_argument("--connections", type=int, nargs="*", default=[64, 256], help="64 256")
    parser.add_argument("--json", metavar="FILE", help="write all figures there too")
    parser.add_argument("--bin", default=ROOT / "build" / "bin", help="where the programs are (build/bin)")
    parser.add_argument("--dir", help="where the databases lie meanwhile: a disk like the real one's")
    options = parser.parse_args()
    try:
        with Bench(options) as bench:
            about = {"loadavg": os.getloadavg()[0], "cores": os.cpu_count(), "fsync_ms": fsync_ms(bench.dir)}
            results, floor, hostile = measure(bench, options)
    except Failed as failure:
        sys.exit(f"bench_requests.py: {failure}")
    print(f"\n{about['cores']} cores, load average {about['loadavg']:.2f} before, fdatasync {about['fsync_ms']:.2f} ms\n")
    for name, run in results.items():
        show(name, run)
    least = floor["http"] + floor["pg"] + floor["kafka"]
    full = min(run["program"] for name, run in results.items() if name.startswith("full"))
    print(f"\nfloors, CPU-s per 1,000: libmicrohttpd {floor['http']:.3f} (at {floor['http_rate']:,.0f}/s), libpq {floor['pg']:.3f} (at"
          f" {floor['pg_rate']:,.0f} rows/s), librdkafka {floor['kafka']:.3f} (at {floor['kafka_rate']:,.0f}/s); together {least:.3f},"
          f" that is {1000 / least:,.0f}/s a core; ratio {full / least:.2f}")
    print(f"hostile: RssAnon {hostile['peak_mb']:.1f} MB at most, {hostile['after_mb']:.1f} MB after")
    if options.json:
        pathlib.Path(options.json).write_text(json.dumps({"about": about, "results": results, "floor": floor, "hostile": hostile}, indent=2) + "\n")


if __name__ == "__main__":
    main()

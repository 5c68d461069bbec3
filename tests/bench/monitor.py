#!/usr/bin/env python3
"""monitor.py - what looking costs: monitor's page with much behind it, its memory, what it asks of the brokers, and what an open page
costs the pipeline.

Starts PostgreSQL (fsync on), Apache Kafka and the sandbox, and ends them.

  page      100,000 dead letters, ten million rows of `attempts`, ten thousand of the desk and a day of history; each page is asked for
            a hundred times, one after the other, as a browser that looks again would. To reach: 50 ms at the 99th percentile, 20 MB
  brokers   what monitor asks of Kafka in half a minute, without a page and with twenty that look again each second, as librdkafka counts it (statistics):
            requests of each kind a second. To reach: 1, however many pages are open
  pipeline  a backlog of users-resolve, one run after the other without a monitor, with one, and with one whose page is looked at
            each second: the rates. To reach: less than 1 % less, which one run does not show: --repeat
"""
import argparse
import pathlib
import re
import statistics
import sys
import tempfile
import threading
import time

import requests

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "scenarios"))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
import shelfwire  # noqa: E402
from shelfwire import Servers, World, wait_for  # noqa: E402

PAGES = ["/", "/desk", "/dead-letters", "/dead-letters?topic={topic}&code=unreadable", "/find?q={booking}", "/overview.json", "/desk.json",
         "/dead-letters.json", "/log"]


def quantile(values, q):
    values = sorted(values)
    return values[min(len(values) - 1, int(q * len(values)))]


def rss_mb(pid):
    return int(re.search(r"VmRSS:\s+(\d+)", pathlib.Path(f"/proc/{pid}/status").read_text())[1]) / 1024


def start_monitor(world, programs=(), **changed):
    listed = ",".join(p.url.removeprefix("http://") for p in programs) or None
    it = world.begin("monitor", **{"MONITOR_PORT": 0, "LOG_LEVEL": "info", "MONITOR_PROGRAMS": listed, **changed})
    wait_for(lambda: "the page is at" in it.log(), lambda: it.tail())
    return it, re.search(r"the page is at (http://\S+)", it.log())[1]


def fill(world, attempts, letters, desk):
    db = world.db
    topic = world.topic("bookings.new")
    db.rows(f"""INSERT INTO dead_letters (dlq, dlq_partition, dlq_offset, topic, at, code, reason, key, value, trace_id, subject)
        SELECT '{topic}.dlq', n % 10, n / 10, '{topic}', now() - n * interval '1 second', (ARRAY['unreadable', 'wrong_key', 'tries_exhausted'])[1 + n % 3],
               'unreadable: not JSON', convert_to('G' || n, 'UTF8'), convert_to(repeat('x', 300), 'UTF8'), md5(n::text), gen_random_uuid()::text
          FROM generate_series(1, {letters}) AS n""")
    db.rows(f"""INSERT INTO attempts (at, stage, subject, work_id, call, verdict, code, http_status, duration_ms, trace_id)
        SELECT now() - n * interval '1 millisecond', 'prereg-create', md5((n / 4)::text)::uuid::text, 'w' || n, 'createPreReg', 'done', 'done', 200, 50, md5(n::text)
          FROM generate_series(1, {attempts}) AS n""")
    db.rows(f"""INSERT INTO desk (kind, subject, reason, visit_at) SELECT (ARRAY['no_card', 'unknown', 'withdraw'])[1 + n % 3], gen_random_uuid()::text,
        'Alma knows no active card', now() + n * interval '1 minute' FROM generate_series(1, {desk}) AS n""")
    for stage, name in shelfwire.STAGES.items():
        db.rows(f"""INSERT INTO lag_history (consumer, topic, at, lag, read_offset, end_offset, oldest_s, workers)
            SELECT '{world.prefix}{stage}', '{world.topic(name)}', now() - n * interval '1 minute', n % 100, n, n, 1, 1 FROM generate_series(1, 1440) AS n""")
    db.rows("VACUUM ANALYZE")


def page(world, args):
    windows = world.make_windows(20, send=False)
    world.make_topics(*shelfwire.TOPICS, *(t + ".dlq" for t in shelfwire.TOPICS))
    print(f"filling: {args.attempts:,} attempts …", file=sys.stderr)
    fill(world, args.attempts, args.letters, 10000)
    monitor, url = start_monitor(world)
    wait_for(lambda: requests.get(url + "/overview.json", timeout=20).json()["stages"], "it sees nothing", 60)
    http = requests.Session()
    print(f"{args.letters:,} dead letters, {args.attempts:,} attempts, 10,000 rows of the desk, a day of history; ms a page, of {args.times}\n")
    print(f"{'page':<52} {'kB':>6} {'p50':>7} {'p99':>7} {'worst':>7}")
    for path in PAGES:
        path = path.format(topic=world.topic("bookings.new"), booking=windows[0].booking_id)
        took = []
        for _ in range(args.times):
            begun = time.perf_counter()
            answer = http.get(url + path, timeout=20)
            took.append((time.perf_counter() - begun) * 1000)
            assert answer.status_code == 200, answer.text
        print(f"{re.sub(world.prefix, '', path):<52} {len(answer.content) / 1000:6.1f} {statistics.median(took):7.1f} {quantile(took, .99):7.1f} {max(took):7.1f}"
              f"{'' if quantile(took, .99) <= 50 else '   not reached: 50 ms'}")
    print(f"\nmonitor's memory: {rss_mb(monitor.process.pid):.1f} MB resident (to reach: 20)\n")
    monitor.stop()


class Lookers:
    """So many pages that look again each second."""

    def __init__(self, url, count):
        self.stop = threading.Event()
        self.threads = [threading.Thread(target=self.look, args=(url,), daemon=True) for _ in range(count)]
        for t in self.threads:
            t.start()

    def look(self, url):
        http = requests.Session()
        while not self.stop.wait(1):
            http.get(url + "/", timeout=20)

    def end(self):
        self.stop.set()
        for t in self.threads:
            t.join()


def brokers(world, args):
    world.make_topics(*shelfwire.TOPICS, *(t + ".dlq" for t in shelfwire.TOPICS))
    print("requests a second to Kafka, of each kind, as librdkafka says that it sends them\n")
    for lookers in (0, 20):
        monitor, url = start_monitor(world, LOG_LEVEL="debug", KAFKA_DEBUG="protocol")
        wait_for(lambda: requests.get(url + "/overview.json", timeout=20).json()["stages"], "it sees nothing", 60)
        crowd = Lookers(url, lookers)
        time.sleep(15)  # at its start it finds out where everything begins
        before, begun = monitor.log().count("\n"), time.monotonic()
        time.sleep(30)
        seconds = time.monotonic() - begun
        crowd.end()
        sent = re.findall(r"Sent (\w+)Request", "\n".join(monitor.log().splitlines()[before:]))
        print(f"{lookers:>3} pages: " + ", ".join(f"{kind} {sent.count(kind) / seconds:.2f}" for kind in sorted(set(sent))))
        monitor.stop()
    print()


def run_backlog(world, messages, with_monitor, looked_at):
    world.sandbox.settings(passagepoint={"latency_ms": 50})
    windows = world.make_windows(messages, topic="users.resolve")
    world.make_topics("prereg.create", "users.resolve.dlq")
    crowd = None
    if with_monitor:
        monitor, url = start_monitor(world)
        crowd = Lookers(url, 1) if looked_at else None
    worker = world.begin("users-resolve", CONCURRENCY=100, LOG_LEVEL="info", KAFKA_SESSION_TIMEOUT_MS=15000)
    at = {}
    while len(at) < 2:
        done = worker.metric("shelfwire_messages_total", 'outcome="done"') if "metrics and health" in worker.log() else 0
        for share in (.1, .9):
            if done >= share * messages and share not in at:
                at[share] = (time.monotonic(), done)
        time.sleep(0.05)
    if crowd:
        crowd.end()
    assert len(windows) == messages
    (t0, n0), (t1, n1) = at[.1], at[.9]
    return (n1 - n0) / (t1 - t0)


def pipeline(servers, args):
    rates = {}
    for _ in range(args.repeat):
        for name, with_monitor, looked_at in (("no monitor", False, False), ("monitor", True, False), ("an open page", True, True)):
            with tempfile.TemporaryDirectory() as folder:
                world = World(servers, pathlib.Path(folder))
                rates.setdefault(name, []).append(run_backlog(world, args.messages, with_monitor, looked_at))
                world.stop()
    least = statistics.median(rates["no monitor"])
    print(f"users-resolve, {args.messages:,} messages, a gate of 50 ms, median of {args.repeat}")
    for name, found in rates.items():
        print(f"{name:<14} {statistics.median(found):8.0f}/s   {statistics.median(found) / least:.3f}   ({min(found):.0f} to {max(found):.0f})")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="?", choices=["page", "brokers", "pipeline", "all"], default="all")
    parser.add_argument("--attempts", type=int, default=10_000_000, help="rows of history (10,000,000)")
    parser.add_argument("--letters", type=int, default=100_000, help="dead letters (100,000)")
    parser.add_argument("--times", type=int, default=100, help="each page is asked for so often (100)")
    parser.add_argument("--messages", type=int, default=10_000, help="of a backlog (10,000)")
    parser.add_argument("--repeat", type=int, default=3, help="runs of each kind (3)")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-monitor-") as folder:
        servers = Servers(folder, lines=0)
        try:
            for name, run in (("page", page), ("brokers", brokers)):
                if args.what in (name, "all"):
                    with tempfile.TemporaryDirectory() as own:
                        world = World(servers, pathlib.Path(own))
                        run(world, args)
                        world.stop()
            if args.what in ("pipeline", "all"):
                pipeline(servers, args)
        finally:
            servers.stop()


if __name__ == "__main__":
    main()

#!/usr/bin/python3
"""catalog.py - what OneClick's catalog costs, and how far that is from what the libraries alone would cost.

Starts PostgreSQL (fsync on), Apache Kafka and the sandbox, whose OneClick answers at once, measures oneclick-catalog and
catalog-delta, and ends them. Titles are the sandbox's, of some 1,000 bytes; the topic has 10 partitions.

  import        `oneclick-catalog --import`, a catalog-delta beside it, until every title is a row. CPU is that of the whole of
                it: the importer's start and end included, the worker's waiting too
  workers       the same messages wait in Kafka; one catalog-delta, then two, each alone in its process; then two that hold as
                much ready as they like. What is between 10 % and 90 % done counts. The sessions of PostgreSQL that
                write are looked at ten times a second
  availability  the whole list is known, ten titles turned: `oneclick-catalog --once`, several times; ten messages each
  floors        floors_catalog.c, over the same records, messages and rows; see there. Of an import: each record parsed once,
                produced, consumed, and upserted into the same table, 1,000 a statement; of availability: the same two lists
                fetched and parsed. A ratio says how often the floor fits in
"""

import argparse
import collections
import json
import os
import signal
import statistics
import sys
import threading
import time

import confluent_kafka
import confluent_kafka.admin
import psycopg2

from common import (PARTITIONS, TICK, Failed, Sampler, Services, add_options, aligned, free_port, fsync_ms, machine_ticks,
                    main_of, median_of, reached, say)

TOKEN = "sandbox-oneclick-token"
LIBRARY = "1931"
TURNED, TURNS = 10, 5
COLUMNS = ("isbn, owned_as_of, media_type, title, sort_title, series_name, series_position, series_total, authors, narrators,"
           " genres, primary_genres, audience, language, publisher, publication_date, description, digital_rights, images, title_id")

# How many workers, and what they are told besides.
BACKLOGS = {"one worker": (1, {}), "two workers": (2, {}),
            "two, much ready": (2, {"KAFKA_QUEUED_MIN_MESSAGES": "10000", "KAFKA_QUEUED_MAX_MESSAGES_KBYTES": "16384"})}

# scenario, figure: what it is called, the floor it is compared with, the goal (a ratio where there is a floor)
FIGURES = [
    ("import", "ours", "CPU-s per 1,000 titles: importer and worker", "libraries", "≤ 2.0"),
    ("import", "importer", "… of the importer", None, ""),
    ("import", "worker", "… of the worker", None, ""),
    ("import", "postgres", "CPU-s per 1,000 titles: PostgreSQL", "postgres", ""),
    ("import", "broker", "CPU-s per 1,000 titles: broker", "broker", ""),
    ("import", "sandbox", "CPU-s per 1,000 titles: sandbox", None, ""),
    ("import", "rate", "titles/s, until all are rows", None, ""),
    ("import", "importer_rate", "titles/s of the importer", None, ""),
    ("import", "importer_anon_mb", "memory of the importer, its own (RssAnon), MB", None, ""),
    ("import", "importer_rss_mb", "memory of the importer, all (RSS), MB", None, "≤ 20"),
    ("import", "worker_anon_mb", "memory of a worker, its own (RssAnon), MB", None, ""),
    ("import", "worker_rss_mb", "memory of a worker, all (RSS), MB", None, ""),
    ("one worker", "rate", "titles/s", None, ""),
    ("one worker", "worker", "CPU-s per 1,000 titles: the worker", None, ""),
    ("one worker", "postgres", "CPU-s per 1,000 titles: PostgreSQL", "postgres", ""),
    ("two workers", "rate", "titles/s", None, ""),
    ("two workers", "worker", "CPU-s per 1,000 titles: both workers", None, ""),
    ("two workers", "postgres", "CPU-s per 1,000 titles: PostgreSQL", "postgres", ""),
    ("two, much ready", "rate", "titles/s", None, ""),
    ("two, much ready", "worker", "CPU-s per 1,000 titles: both workers", None, ""),
    ("two, much ready", "postgres", "CPU-s per 1,000 titles: PostgreSQL", "postgres", ""),
    ("availability", "wall_s", "seconds until --once has ended", "wall_s", "≤ 1.5"),
    ("availability", "cpu_s", "CPU-s of --once", "cpu_s", "≤ 1.5"),
    ("availability", "messages", "messages it sent", None, f"= {TURNED}"),
    ("availability", "rss_mb", "memory, all (RSS), MB", None, "≤ 20"),
]


class Watch(threading.Thread):
    """What the sessions that write titles do, ten times a second."""

    def __init__(self, settings):
        super().__init__(daemon=True)
        self.db = psycopg2.connect(host=settings["PGHOST"], port=settings["PGPORT"], user="postgres", dbname="shelfwire")
        self.db.autocommit = True
        self.writers, self.seen = set(), []  # (when, what)
        self.over = threading.Event()

    @staticmethod
    def called(state, kind, event):
        if kind == "Client":
            return "waits for the worker"
        if kind in ("IO", "LWLock") and event.startswith("WAL"):
            return "waits for the WAL"
        if kind == "IO":
            return "reads or writes data"
        if kind in ("LWLock", "Lock", "BufferPin"):
            return "waits for a lock"
        return "works" if state == "active" else "waits for the worker"

    def run(self):
        with self.db.cursor() as sql:
            while not self.over.wait(0.1):
                sql.execute("SELECT pid, query LIKE '%described AS (INSERT%', state, coalesce(wait_event_type, ''),"
                            " coalesce(wait_event, '') FROM pg_stat_activity WHERE application_name = 'catalog-delta'")
                for pid, writes, *rest in sql.fetchall():
                    if writes:
                        self.writers.add(pid)
                    if pid in self.writers:
                        self.seen.append((time.time(), self.called(*rest), rest[2]))
        self.db.close()

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.join()

    def shares(self, begin, end):
        seen = [(what, event) for when, what, event in self.seen if begin <= when <= end]
        total = max(1, len(seen))
        return ({what: n / total for what, n in collections.Counter(w for w, _ in seen).items()},
                {event: n / total for event, n in collections.Counter(e for _, e in seen if e).items()})


class Bench(Services):
    def __init__(self, options):
        super().__init__(options, ("oneclick-catalog", "catalog-delta"), "floors_catalog")
        self.count = options.count
        self.source = None  # the topic of an import, of which the records are made

    def groups(self, **programs):
        groups = {"broker": [self.broker], "postgres": [self.postmaster], "sandbox": [self.sandbox.pid], "bench": [os.getpid()]}
        return {**groups, **{name: [p.pid for p in processes] for name, processes in programs.items()}}

    def empty(self, *tables):
        with self.db.cursor() as sql:
            sql.execute("TRUNCATE " + ", ".join(("titles", "attempts", *tables)))
            sql.execute("VACUUM titles")
            sql.execute("CHECKPOINT")

    def prepare(self):
        """Fresh topics, rows and a fresh catalog. Returns the topics' prefix."""
        prefix = self.make_topics("catalog.delta", "catalog.delta.dlq", "floor")
        self.admin("POST", "/reset")
        self.admin("POST", "/oneclick/generate", json={"count": self.count, "from": 1, "seed": 1})
        self.empty("producer_marks", "desk", "intents")
        return prefix

    # ---- the programs ----

    def environment(self, prefix, **more):
        return {**os.environ, **self.pg, "KAFKA_BOOTSTRAP_SERVERS": self.kafka, "TOPIC_PREFIX": prefix,
                "ONECLICK_URL": self.url, "ONECLICK_LIBRARY_ID": LIBRARY, "ONECLICK_TOKEN": TOKEN, "LOG_FORMAT": "text", **more}

    def worker(self, prefix, **more):
        port = free_port()
        env = self.environment(prefix, METRICS_PORT=str(port), **more)
        worker = self.spawn([self.bin / "catalog-delta"], "worker.log", env=env)
        worker.port = port
        return worker

    def catalog(self, prefix, *arguments):
        return self.spawn([self.bin / "oneclick-catalog", *arguments], "catalog.log", env=self.environment(prefix))

    def end_of(self, process):
        """Waits for a program; its CPU, start and end included, and when it ended."""
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise Failed("oneclick-catalog failed: " + self.tail("catalog.log"))
        return usage.ru_utime + usage.ru_stime, time.time()

    def done_by(self, *workers):
        return sum(self.metrics(w.port).get('shelfwire_messages_total{outcome="done"}', 0) for w in workers)

    def await_done(self, workers, count, still_s=30):
        """Until so many messages are rows. Returns what was done when: [(time, count)]."""
        seen = [(time.time(), self.done_by(*workers))]
        moved = time.time()
        while seen[-1][1] < count:
            time.sleep(0.1)
            if any(w.poll() is not None for w in workers):
                raise Failed("a worker ended: " + self.tail("worker.log"))
            seen.append((time.time(), self.done_by(*workers)))
            if seen[-1][1] > seen[-2][1]:
                moved = time.time()
            if time.time() - moved > still_s:
                raise Failed(f"nothing happens any more: {seen[-1][1]:.0f} of {count} messages done; {self.tail('worker.log')}")
        return seen

    def messages_in(self, topic):
        consumer = confluent_kafka.Consumer({"bootstrap.servers": self.kafka, "group.id": "bench"})
        total = sum(consumer.get_watermark_offsets(confluent_kafka.TopicPartition(topic, p), timeout=10)[1]
                    for p in range(PARTITIONS))
        consumer.close()
        return total

    def assert_rows(self, condition="title IS NOT NULL"):
        with self.db.cursor() as sql:
            sql.execute(f"SELECT count(*) FROM titles WHERE {condition}")
            rows = sql.fetchone()[0]
        if rows != self.count:
            raise Failed(f"{rows} of {self.count} titles are as they should be; {self.tail('worker.log')}")

    # ---- what is measured ----

    def imported(self):
        """An import with a worker beside it. What it leaves is what `available` begins with, and the floors' data."""
        prefix = self.prepare()
        worker = self.worker(prefix)
        self.await_worker(worker, worker.port)
        perf, looked_at = None, self.options.perf
        begin = time.time()
        importer = self.catalog(prefix, "--import")
        with Sampler(self.groups(worker=[worker], importer=[importer]), ["worker", "importer"]) as sampler:
            if looked_at in ("importer", "worker"):
                perf = self.perf_start({"importer": importer, "worker": worker}[looked_at].pid, max(1, self.count // 20000))
            ended = []
            thread = threading.Thread(target=lambda: ended.extend(self.end_of(importer)))
            thread.start()
            seen = self.await_done([worker], self.count)
            thread.join()
            if not ended:
                raise Failed("the import failed: " + self.tail("catalog.log"))
        end = seen[-1][0]
        self.perf_report(perf, "oneclick-catalog" if looked_at == "importer" else "catalog-delta", f"import, {looked_at}")
        after = self.metrics(worker.port)
        self.assert_rows()
        self.source, self.kept = prefix, worker
        figures = self.window_figures(sampler, begin, end, self.count)
        figures["importer"] = 1000 * ended[0] / self.count
        batches = after["shelfwire_record_batches_total"]
        return {**figures, "ours": figures["importer"] + figures["worker"], "rate": self.count / (end - begin),
                "importer_rate": self.count / (ended[1] - begin),
                "rows_a_record": after["shelfwire_record_rows_total"] / batches,
                **{f"{who}_{what}_mb": kb[who] / 1024 for who in ("importer", "worker")
                   for what, kb in (("anon", sampler.anon_kb), ("rss", sampler.rss_kb))}}

    def backlog(self, load):
        how_many, more = BACKLOGS[load]
        prefix = self.prepare()
        begin = time.time()
        alone = self.end_of(self.catalog(prefix, "--import"))
        alone_s = alone[1] - begin
        perf = None
        with Watch(self.pg) as watch:
            workers = [self.worker(prefix, **more) for _ in range(how_many)]
            for worker in workers:
                self.await_worker(worker, worker.port)
            with Sampler(self.groups(worker=workers), ["worker"]) as sampler:
                if self.options.perf == "backlog" and how_many == 1:
                    perf = self.perf_start(workers[0].pid, max(1, self.count // 20000))
                seen = self.await_done(workers, self.count)
        self.perf_report(perf, "catalog-delta", "backlog, one worker")
        rows, statements = (sum(self.metrics(w.port)[f"shelfwire_record_{what}_total"] for w in workers)
                            for what in ("rows", "batches"))
        for worker in workers:
            self.kill(worker, signal.SIGTERM)
        self.assert_rows()
        at = next(i for i, (_, n) in enumerate(seen) if n >= self.count / 10)
        to = next(i for i, (_, n) in enumerate(seen) if n >= self.count * 9 / 10)
        if at == to:
            raise Failed(f"{self.count} titles are too few to see anything")
        (begin, already), (end, done) = seen[at], seen[to]
        cores = {name: sampler.cpu_s(name, begin, end) / (end - begin) for name in (*sampler.groups, "others")}
        shares, events = watch.shares(begin, end)
        return {"rate": (done - already) / (end - begin), **self.window_figures(sampler, begin, end, done - already),
                **{"cores " + name: n for name, n in cores.items()}, "cores idle": os.cpu_count() - sum(cores.values()),
                **{"does " + name: n for name, n in shares.items()}, **{"event " + name: n for name, n in events.items()},
                "rss_mb": sampler.rss_kb["worker"] / 1024, "rows_a_record": rows / statements,
                "importer_rate": self.count / alone_s, "importer": 1000 * alone[0] / self.count}

    def available(self):
        """After `imported`, with its worker. The first reading sends every title, the next ones what turned."""
        prefix, worker = self.source, self.kept
        sent = self.done_by(worker)
        with Sampler(self.groups(worker=[worker])) as sampler:
            begin = time.time()
            first = self.end_of(self.catalog(prefix, "--once"))
            end = self.await_done([worker], sent + self.count)[-1][0]
        self.assert_rows("available IS NOT NULL")
        first_figures = self.window_figures(sampler, begin, end, self.count)
        runs = []
        for turn in range(TURNS):
            self.admin("POST", "/oneclick/availability", json={"flip": TURNED, "seed": 100 + turn})
            before, done = self.messages_in(prefix + "catalog.delta"), self.done_by(worker)
            others = machine_ticks()
            begin = time.time()
            once = self.catalog(prefix, "--once")
            with Sampler(self.groups(once=[once]), ["once"]) as sampler:
                cpu_s, end = self.end_of(once)
            asked = [c for c in self.admin("GET", "/calls?vendor=oneclick&last=100") if c["at"] >= begin]
            at = {c["call"]: c["at"] for c in reversed(asked)}
            runs.append({"cpu_s": cpu_s, "wall_s": end - begin, "messages": self.messages_in(prefix + "catalog.delta") - before,
                         "start_s": at["delta"] - begin, "first_list_s": at["availability"] - at["delta"],
                         "lists_s": end - at["availability"],
                         "rss_mb": sampler.rss_kb["once"] / 1024, "anon_mb": sampler.anon_kb["once"] / 1024,
                         "postgres_s": sampler.cpu_s("postgres", begin, end), "sandbox_s": sampler.cpu_s("sandbox", begin, end),
                         "busy": (machine_ticks() - others) / TICK / (end - begin)})
            self.await_done([worker], done + TURNED)
        self.kill(worker, signal.SIGTERM)
        wrong = {run["messages"] for run in runs} - {TURNED}
        if wrong:
            raise Failed(f"{TURNED} titles turned, {wrong} messages were sent")
        return {**median_of(runs), "first_cpu_s": first[0], **{"first " + name: n for name, n in first_figures.items()}}

    # ---- the floors ----

    def keep_records(self):
        """The records as OneClick wrote them, out of the messages; the rows as they are in the table."""
        consumer = confluent_kafka.Consumer({"bootstrap.servers": self.kafka, "group.id": "bench", "enable.auto.commit": False})
        consumer.assign([confluent_kafka.TopicPartition(self.source + "catalog.delta", p, 0) for p in range(PARTITIONS)])
        kept = 0
        with open(self.dir / "records", "wb") as file:
            while kept < self.count:
                messages = consumer.consume(5000, 10)
                if not messages:
                    raise Failed(f"{kept} of {self.count} messages are in the topic")
                for message in messages:
                    _, found, record = (message.value() or b"").partition(b'"record":')
                    if found and kept < self.count:
                        file.write(message.key() + b"\t" + record[:-1] + b"\n")
                        kept += 1
        consumer.close()
        with open(self.dir / "rows", "wb") as file, self.db.cursor() as sql:
            sql.copy_expert(f"COPY (SELECT {COLUMNS} FROM titles) TO STDOUT", file)

    def import_floors(self):
        prefix, cost = self.make_topics("floor"), {}

        def measured(mode, **named):
            process = self.floors(mode, wait=False, **named)
            self.await_ready(process)
            with Sampler(self.groups()) as sampler:
                begin = time.time()
                result = self.result_of(process)
                end = time.time()
            cost[mode], cost[mode + "_rate"] = 1000 * result["cpu_s"] / self.count, self.count / result["wall_s"]
            return {name: 1000 * sampler.cpu_s(name, begin, end) / self.count for name in ("broker", "postgres")}

        cost["parse"] = 1000 * self.floors("parse", file=self.dir / "records")["cpu_s"] / self.count
        broker = measured("produce", servers=self.kafka, topic=prefix + "floor", file=self.dir / "records")["broker"]
        broker += measured("consume", servers=self.kafka, topic=prefix + "floor", count=self.count)["broker"]
        self.empty()
        postgres = measured("upsert", file=self.dir / "rows")["postgres"]
        self.assert_rows()
        return {**cost, "broker": broker, "postgres": postgres,
                "libraries": cost["parse"] + cost["produce"] + cost["consume"] + cost["upsert"]}

    def availability_floors(self):
        runs = []
        for _ in range(TURNS):
            begin = time.time()
            urls = [f"{self.url}/v1/libraries/{LIBRARY}/media/{media}/availability" for media in ("eBook", "eAudio")]
            process = self.spawn([self.bin / "floors_catalog", "list", f"token={TOKEN}", *urls], "floors.log")
            cpu_s, end = self.end_of(process)
            runs.append({"cpu_s": cpu_s, "wall_s": end - begin})
        return median_of(runs)


# ---- the table ----

def shown(value, figure):
    if figure.endswith("rate") or figure == "messages":
        return f"{value:,.0f}"
    return f"{value:.1f}" if figure.endswith("_mb") else f"{value:.4f}"


def verdict(value, goal):
    if goal.startswith("="):
        return "yes" if value == float(goal.split()[1]) else "NO"
    return reached(value, goal)


def table(results):
    lines = [("load", "figure", "measured", "floor", "ratio", "goal", "")]
    for load, figure, name, floor_name, goal in FIGURES:
        run = results.get(load)
        if not run:
            continue
        floor = results.get("floors of availability" if load == "availability" else "floors of import", {}).get(floor_name)
        ratio = run[figure] / floor if floor else None
        if floor_name and not floor:
            goal = ""
        lines.append((load, name, shown(run[figure], figure), shown(floor, figure) if floor else "",
                      f"{ratio:.2f}" if ratio else "", goal, verdict(ratio or run[figure], goal)))
    return aligned(lines)


def listed(run, prefix, form):
    found = sorted(((n, name[len(prefix):]) for name, n in run.items() if name.startswith(prefix)), reverse=True)
    return ", ".join(f"{name} {form(n)}" for n, name in found if n >= 0.005)


def details(results):
    out = []
    for load in BACKLOGS:
        if load in results:
            run = results[load]
            out.append("{}: cores: {}; a writing session {}; its waits: {}; {:.0f} rows a statement; a worker's RSS {:.0f} MB;"
                       " window {:.1f} s".format(
                load, listed(run, "cores ", lambda n: f"{n:.2f}"), listed(run, "does ", lambda n: f"{n:.0%}"),
                listed(run, "event ", lambda n: f"{n:.0%}") or "none", run["rows_a_record"], run["rss_mb"], run["window_s"]))
            out.append("    the import before it, alone: {importer_rate:,.0f} titles/s, {importer:.4f} CPU-s per 1,000"
                       .format(**run))
    if "import" in results:
        out.append("import: {rows_a_record:.0f} rows a statement; others {others:.2f} cores; {window_s:.1f} s"
                   .format(**results["import"]))
    if "floors of import" in results:
        out.append("floors of an import, CPU-s per 1,000: json-c {parse:.4f}, producing {produce:.4f} ({produce_rate:,.0f}/s),"
                   " consuming {consume:.4f} ({consume_rate:,.0f}/s), libpq {upsert:.4f} ({upsert_rate:,.0f}/s)"
                   .format(**results["floors of import"]))
    if "availability" in results:
        out.append("availability: {start_s:.3f} s until OneClick is asked, {first_list_s:.3f} s from the delta to the first list"
                   " (what the rows say is read meanwhile), {lists_s:.3f} s for the lists and the end; RssAnon {anon_mb:.1f} MB;"
                   " CPU-s beside it: sandbox {sandbox_s:.2f}, PostgreSQL {postgres_s:.2f}; {busy:.2f} cores busy"
                   .format(**results["availability"]))
        out.append("    the first reading, every title a message: {first_cpu_s:.2f} CPU-s; CPU-s per 1,000: worker"
                   " {first worker:.4f}, PostgreSQL {first postgres:.4f}; {first window_s:.1f} s".format(**results["availability"]))
    return "\n".join(out)


def median_of_any(runs):
    """As median_of, but what was not seen in one of them was 0 there."""
    names = {name for run in runs for name in run}
    return {name: statistics.median([run.get(name, 0) for run in runs]) for name in names}


def run(options):
    runs = collections.defaultdict(list)
    with Bench(options) as bench:
        about = {"loadavg": os.getloadavg()[0], "cores": os.cpu_count(), "fsync_ms": fsync_ms(bench.dir)}
        say("a broker that has just started is slow: warming it up")
        bench.count, perf, options.perf = 20000, options.perf, None
        for _ in range(1 if options.quick else 3):
            bench.imported()
            bench.kill(bench.kept, signal.SIGTERM)
        bench.count, options.perf = options.count, perf
        for number in range(options.repeat):
            say("import" + (f", {number + 1} of {options.repeat}" if options.repeat > 1 else ""))
            runs["import"].append(bench.imported())
            if not options.no_floors:
                bench.keep_records()
            if "availability" in options.loads:
                say("availability")
                runs["availability"].append(bench.available())
                if not options.no_floors:
                    runs["floors of availability"].append(bench.availability_floors())
            bench.kill(bench.kept, signal.SIGTERM)
            if not options.no_floors:
                say("floors")
                runs["floors of import"].append(bench.import_floors())
            for load in BACKLOGS if "workers" in options.loads else ():
                say(load)
                runs[load].append(bench.backlog(load))
        record_bytes = (bench.dir / "records").stat().st_size // options.count if not options.no_floors else 0
        about["loadavg_after"] = os.getloadavg()[0]
    results = {load: median_of_any(each) for load, each in runs.items()}
    print(f"\n{options.count:,} titles" + (f" of {record_bytes:,} bytes" if record_bytes else "") + f", {PARTITIONS} partitions,"
          f" {about['cores']} cores, load average {about['loadavg']:.2f} before and {about['loadavg_after']:.2f} after, fdatasync"
          f" {about['fsync_ms']:.2f} ms"
          + (f"; medians of {options.repeat}" if options.repeat > 1 else "") + "\n")
    print(table(results) + "\n\n" + details(results))
    if options.json:
        with open(options.json, "w") as file:
            json.dump({"about": {**about, "titles": options.count}, "results": results, "runs": runs}, file, indent=2)
            file.write("\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--quick", action="store_true", help="20,000 titles")
    size.add_argument("--full", action="store_true", help="500,000 titles")
    size.add_argument("--titles", type=int, default=100000, help="so many (100000)")
    parser.add_argument("--load", choices=("import", "availability", "workers"), help="only this, and the import all begin with")
    parser.add_argument("--perf", choices=("importer", "worker", "backlog"), help="show where its time goes (perf, as root)")
    add_options(parser)
    options = parser.parse_args()
    options.count = 20000 if options.quick else 500000 if options.full else options.titles
    options.loads = [options.load] if options.load else ["import", "availability", "workers"]
    return main_of("catalog.py", run, options)


if __name__ == "__main__":
    sys.exit(main())

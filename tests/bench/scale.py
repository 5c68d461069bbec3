#!/usr/bin/python3
"""scale.py - whether more workers do more, and whether a message costs more where ten million were before it.

  workers   1, 2, 4 and 8 workers of users-resolve with CONCURRENCY=10, so that the vendor's 50 ms are what they wait for and
            two cores are enough for all of them. 16 partitions. Each run is of as many messages a worker; the window in which
            all are at work counts. To reach: 7.5 times as much with 8
  full      8 workers with CONCURRENCY=100, and one with 1,000: as fast as this machine can
  rows      the same backlog of users-resolve and of prereg-create, one run after the other on two databases of one PostgreSQL:
            one is empty, the other holds so many people, windows, attempts and intents, and the messages are of people spread
            over all of them. To reach: 1.2 times the cost. Then libcal-bookings and `migrate --purge 29` once on each. Statements that
            took more than 100 ms there are shown with their plans (auto_explain)
"""

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import time

import psycopg2

import bench
from common import Failed, Sampler, add_options, aligned, main_of, median_of, say
from stages import BY_NAME

STAGE = "users-resolve"
STAGES = ("users-resolve", "prereg-create")
SLOW_MS = 100


# ---- workers ----

class Workers(bench.Bench):
    partitions = 16

    def at_work(self, count, concurrency, seconds):
        """Messages a second of so many workers, and what they and everybody else use."""
        messages = int(count * concurrency * 1000 / bench.VENDOR_MS * seconds)
        prefix = self.prepare(STAGE, messages, messages)
        ports, workers = [], []
        for _ in range(count):
            workers.append(self.worker(STAGE, prefix, concurrency=concurrency))
            ports.append(self.metrics_port)
        for worker, port in zip(workers, ports):
            self.await_worker(worker, port)
        self.admin("POST", "/reset", json={"only": ["counts"]})
        groups = {**self.groups(), "workers": [w.pid for w in workers]}
        with Sampler(groups) as sampler:
            self.produce(prefix + BY_NAME[STAGE].consumes)
            self.await_effects(STAGE, messages, None)
            done = self.done_times(STAGE, prefix, messages)
        for worker in workers:
            self.kill(worker, signal.SIGTERM)
        times = sorted(done.values())
        begin, end = times[messages // 10], times[messages * 7 // 10]
        window = messages * 7 // 10 - messages // 10
        return {"rate": window / (end - begin), "ideal": count * concurrency * 1000 / bench.VENDOR_MS,
                **self.window_figures(sampler, begin, end, window)}


def show_runs(runs):
    lines = [("workers", "CONCURRENCY", "messages/s", "times one", "of ideal", "CPU-s per 1,000: workers", "PostgreSQL", "broker",
              "sandbox", "others, cores")]
    first = next(iter(runs.values()))["rate"]
    for (count, concurrency), run in runs.items():
        lines.append((str(count), str(concurrency), f"{run['rate']:,.0f}", f"{run['rate'] / first:.2f}",
                      f"{run['rate'] / run['ideal']:.2f}", *(f"{run[who]:.3f}" for who in ("workers", "postgres", "broker", "sandbox")),
                      f"{run['others']:.2f}"))
    print(aligned(lines))


def measure(options, wanted):
    options.no_latency = options.perf = False
    with Workers(options) as b:
        say("a broker that has just started is slow: warming it up")
        b.at_work(1, 100, 5)
        runs = {}
        for count, concurrency, seconds in wanted:
            say(f"{count} of CONCURRENCY={concurrency}")
            runs[count, concurrency] = median_of([b.at_work(count, concurrency, seconds) for _ in range(options.repeat)])
    show_runs(runs)
    return [{"workers": w, "concurrency": c, **run} for (w, c), run in runs.items()]


def workers_main(options):
    return measure(options, [(count, 10, options.seconds) for count in (1, 2, 4, 8)])


def full_main(options):
    return measure(options, [(8, 100, 5), (1, 1000, 5)])


# ---- rows ----

# What was there before: people the gate knows and does not know, their windows, all over, and what came of them this month.
FILL = {
    "users": "INSERT INTO users (primary_id, barcode, user_group, group_desc, first_name, last_name, emails, checked_at, visitor_id,"
             " visitor_barcode, visitor_at) SELECT 'X' || lpad(i::text, 8, '0'), '2181' || lpad(i::text, 10, '0'), 'UGRD',"
             " 'Undergraduate', 'Ada', 'Reader', ARRAY['x' || i || '@example.edu'], now(), '13750' || i, '2181' || lpad(i::text, 10, '0'),"
             " now() FROM generate_series(1, {n}) AS i",
    "appts": "INSERT INTO appts (source, location_id, booking_id, asked_id, destination, starts_at, ends_at, email, created_at, sent_at,"
             " primary_id, answer, answered_at, visitor_id, barcode, prereg_id)"
             " SELECT 'libcal', '1234', 'old_' || i, 'X' || lpad((i % {n} + 1)::text, 8, '0'), 'LibCal Gelman', at, at + interval '1 hour',"
             " 'x' || i || '@example.edu', at, at, 'X' || lpad((i % {n} + 1)::text, 8, '0'), 'made', at, '13750' || i,"
             " '2181' || lpad(i::text, 10, '0'), '1375068' || i"
             " FROM (SELECT i, now() - interval '1 hour' - i * (interval '29 days' / {n}) AS at FROM generate_series(1, {n}) AS i) AS old",
    "attempts": "INSERT INTO attempts (at, stage, subject, work_id, call, verdict, code, http_status, duration_ms, trace_id)"
                " SELECT date_trunc('month', now()) + i * ((now() - date_trunc('month', now())) / {n}), 'prereg-create',"
                " gen_random_uuid()::text, i::text, 'createPreReg', 'done', 'made', 200, 50, md5(i::text) FROM generate_series(1, {n}) AS i",
    "intents": "INSERT INTO intents (stage, work_id, state, owner, deadline) SELECT 'users-resolve',"
               " encode(sha256(convert_to('2181' || lpad(i::text, 10, '0'), 'UTF8')), 'hex'), 'finished', 'bench', now()"
               " FROM generate_series(1, {n}) AS i",
}


class Rows(bench.Bench):
    many = None  # rows of the database that is used now; 0: the small one

    def start(self):
        super().start()
        self.db.close()
        self.small = dict(self.pg)
        conn = psycopg2.connect(host=self.pg["PGHOST"], port=self.pg["PGPORT"], user="postgres", dbname="postgres")
        conn.autocommit = True
        with conn.cursor() as sql:
            sql.execute(f"CREATE DATABASE large TEMPLATE shelfwire OWNER {self.small['PGUSER']}")
            for name in ("shelfwire", "large"):
                for setting in ("session_preload_libraries = 'auto_explain'", f"auto_explain.log_min_duration = {SLOW_MS}"):
                    sql.execute(f"ALTER DATABASE {name} SET {setting}")
        conn.close()
        self.use(self.options.rows)
        self.fill()

    def use(self, many):
        self.many = many
        self.pg = {**self.small, **({"PGDATABASE": "large"} if many else {})}
        self.db = psycopg2.connect(host=self.pg["PGHOST"], port=self.pg["PGPORT"], user="postgres",
                                   dbname=self.pg.get("PGDATABASE", "shelfwire"))
        self.db.autocommit = True

    def fill(self):
        """Without the indexes, which are made afterwards: the same tables, hours earlier."""
        with self.db.cursor() as sql:
            sql.execute("SET session_replication_role = replica; SET maintenance_work_mem = '1GB'; SET synchronous_commit = off;"
                        " SET auto_explain.log_min_duration = -1")
            sql.execute("SELECT indexrelid::regclass::text, pg_get_indexdef(indexrelid), c.conname, c.conrelid::regclass::text,"
                        " pg_get_constraintdef(c.oid) FROM pg_index LEFT JOIN pg_constraint c ON c.conindid = indexrelid AND c.contype = 'p'"
                        " WHERE indrelid IN ('users'::regclass, 'appts'::regclass, 'intents'::regclass)")
            indexes = sql.fetchall()
            for name, _, constraint, table, _ in indexes:
                sql.execute(f"ALTER TABLE {table} DROP CONSTRAINT {constraint}" if constraint else f"DROP INDEX {name}")
            for table, statement in FILL.items():
                since = time.time()
                sql.execute(statement.format(n=self.options.rows))
                say(f"{table}: {self.options.rows:,} rows in {time.time() - since:.0f} s")
            for _, index, constraint, table, definition in indexes:
                sql.execute(f"ALTER TABLE {table} ADD CONSTRAINT {constraint} {definition}" if constraint else index)
            sql.execute("VACUUM ANALYZE users, appts, attempts, intents")
            sql.execute("CHECKPOINT")
            sql.execute("SELECT pg_size_pretty(pg_database_size(current_database()))")
            say(f"the large database has {sql.fetchone()[0]}")

    # what Bench.prepare asks for: nothing is emptied, and people are spread over those who are there

    def empty_tables(self, sql):
        sql.execute("DELETE FROM partition_owners; DELETE FROM quotas")

    def person(self, i):
        return f"X{i * 7919 % max(self.options.rows, 1) + 1:08d}"

    def await_quiet(self):
        """Until what PostgreSQL does behind its back after a fill is over."""
        with self.db.cursor() as sql:
            while True:
                sql.execute("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'autovacuum worker'")
                if not sql.fetchone()[0]:
                    return
                time.sleep(1)

    def cost(self, stage, many):
        self.use(many)
        self.await_quiet()
        run = self.backlog(stage)
        return {name: run[name] for name in ("rate", "worker", "postgres", "broker", "others")}

    def once(self, program, many, *args, **env):
        """What a program costs that runs once: seconds, and PostgreSQL's CPU."""
        self.use(many)
        with Sampler(self.groups()) as sampler:
            begin = time.time()
            done = subprocess.run([self.bin / program, *args], env={**os.environ, **self.pg, **env}, capture_output=True, text=True,
                                  check=False)
            end = time.time()
        if done.returncode:
            raise Failed(f"{program}: {done.stderr[-500:]}")
        return {"s": end - begin, "postgres": sampler.cpu_s("postgres", begin, end)}

    def poll(self, many):
        prefix = self.make_topics("bookings.new", "bookings.new.dlq")
        self.admin("POST", "/reset")
        start = time.strftime("%Y-%m-%dT10:00:00-04:00", time.gmtime(time.time() + 86400))
        self.admin("POST", "/libcal/generate", json={"count": 3000, "lid": 1234, "people": 3000, "start": start, "minutes": 60,
                                                     "prefix": f"cs_{self.round}_"})
        return self.once("libcal-bookings", many, "--once", KAFKA_BOOTSTRAP_SERVERS=self.kafka, TOPIC_PREFIX=prefix,
                         LIBCAL_URL=self.url, LIBCAL_CLIENT_ID="123", LIBCAL_CLIENT_SECRET="sandbox-libcal-secret",
                         LIBCAL_LOCATIONS="1234", LIBCAL_ID_QUESTION="q12505", LOG_FORMAT="text",
                         PASSAGEPOINT_DESTINATIONS='{"1234": "LibCal Gelman"}')

    def slow(self):
        """Statements that took long, and how; the benchmark's own are none of them."""
        found = {}
        for entry in re.split(r"\n(?=\d{4}-\d\d-\d\d )", (self.pg_dir / "log").read_text(errors="replace")):
            said = re.search(r"duration: ([\d.]+) ms  plan:\s*Query Text: (.*)", entry, re.S)
            if said and not re.match(r"(DELETE FROM partition_owners|INSERT INTO users|COPY|SELECT subject|CREATE|VACUUM)", said[2]):
                found.setdefault(said[2][:70], []).append((float(said[1]), said[2]))
        return found


def rows_main(options):
    options.no_latency = options.perf = False
    options.stages = list(STAGES)
    lines, said = [("stage", "figure", "empty", f"{options.rows:,} rows", "ratio", "to reach")], {}
    with Rows(options) as b:
        say("a broker that has just started is slow: warming it up")
        b.cost(STAGE, 0)
        for stage in STAGES:
            runs = {0: [], options.rows: []}
            for _ in range(options.repeat):
                for many, into in runs.items():
                    say(f"{stage}, {many:,} rows")
                    into.append(b.cost(stage, many))
            small, large = median_of(runs[0]), median_of(runs[options.rows])
            said[stage] = {"small": small, "large": large}
            for name, words, target in (("rate", "messages/s", ""), ("worker", "CPU-s of the worker per 1,000", "≤ 1.2"),
                                        ("postgres", "CPU-s of PostgreSQL per 1,000", "≤ 1.2"), ("others", "others, cores", "")):
                lines.append((stage, words, f"{small[name]:,.3f}", f"{large[name]:,.3f}", f"{large[name] / small[name]:.2f}", target))
        for name, run in (("libcal-bookings --once", b.poll), ("migrate --purge 29", lambda many: b.once("migrate", many, "--purge", "29"))):
            small, large = run(0), run(options.rows)
            said[name] = {"small": small, "large": large}
            for figure, words in (("s", "seconds"), ("postgres", "CPU-s of PostgreSQL")):
                lines.append((name, words, f"{small[figure]:.2f}", f"{large[figure]:.2f}", f"{large[figure] / max(small[figure], 0.01):.2f}", ""))
        print(aligned(lines))
        for entries in b.slow().values():
            print(f"\n{len(entries)} times more than {SLOW_MS} ms, at most {max(e[0] for e in entries):,.0f}: "
                  + max(entries)[1][:3000])
    return said


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("workers", "full", "rows"))
    parser.add_argument("--rows", type=int, default=10_000_000, help="of each table (10,000,000)")
    parser.add_argument("--messages", type=int, default=20000, help="a backlog of so many (20000)")
    parser.add_argument("--seconds", type=float, default=10, help="how long a run of workers is to last (10)")
    add_options(parser, floors=False)
    options = parser.parse_args()
    options.count, options.stages = options.messages, [STAGE]

    def run(options):
        said = {"workers": workers_main, "full": full_main, "rows": rows_main}[options.what](options)
        if options.json:
            with open(options.json, "w") as file:
                json.dump(said, file, indent=2)
                file.write("\n")
    return main_of("scale.py", run, options)


if __name__ == "__main__":
    sys.exit(main())

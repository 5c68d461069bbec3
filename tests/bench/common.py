"""common.py - what the benchmarks share: PostgreSQL (fsync on), Apache Kafka and the sandbox, what processes use, tables.

CPU is user and system time. Whoever measures says which processes make a group; those of PostgreSQL are found by their
postmaster. `others` is what ran on the machine besides, in cores: with much of it the figures say little.
"""

import collections
import contextlib
import json
import os
import pathlib
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

import confluent_kafka
import confluent_kafka.admin
import psycopg2
import requests

ROOT = pathlib.Path(__file__).resolve().parents[2]
SERVICES = ROOT / "tests" / "services"
TICK = os.sysconf("SC_CLK_TCK")
PARTITIONS = 10


class Failed(Exception):
    pass


def say(words):
    print(words, file=sys.stderr, flush=True)


def quantile(values, q):
    values = sorted(values)
    return values[min(len(values) - 1, int(q * len(values)))] if values else float("nan")


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


# ---- what processes use ----

def stat_ticks(pid, with_children=False):
    """User and system ticks; 0 for a process that is gone."""
    try:
        fields = pathlib.Path(f"/proc/{pid}/stat").read_bytes().rsplit(b") ", 1)[1].split()
    except (OSError, IndexError):
        return 0
    return sum(map(int, fields[11:15 if with_children else 13]))


def memory_kb(pid):
    found = {}
    try:
        with open(f"/proc/{pid}/status") as status:
            for line in status:
                name, _, value = line.partition(":")
                if name in ("VmRSS", "RssAnon"):
                    found[name] = int(value.split()[0])
    except OSError:
        pass
    return found.get("RssAnon", 0), found.get("VmRSS", 0)


def machine_ticks():
    with open("/proc/stat") as stat:
        user, nice, system, _idle, _iowait, irq, softirq = map(int, stat.readline().split()[1:8])
    return user + nice + system + irq + softirq


class Sampler(threading.Thread):
    """Ten times a second: the CPU each group has used so far, and the memory of the groups in `memory_of`, each one process."""

    def __init__(self, groups, memory_of=()):
        super().__init__(daemon=True)
        self.groups, self.memory_of = groups, memory_of
        self.times, self.ticks = [], collections.defaultdict(list)  # and "… anon_kb" beside the ticks
        self.anon_kb, self.rss_kb = collections.Counter(), collections.Counter()  # at their most
        self.over = threading.Event()

    def sample(self):
        self.times.append(time.time())
        ours = 0
        for name, pids in self.groups.items():
            if name == "postgres":  # those that ended are in the postmaster's account
                total = stat_ticks(pids[0], True)
                with contextlib.suppress(OSError):
                    children = pathlib.Path(f"/proc/{pids[0]}/task/{pids[0]}/children").read_text().split()
                    total += sum(stat_ticks(child) for child in children)
            else:
                total = sum(stat_ticks(pid) for pid in pids)
            if self.ticks[name]:  # one that ends between two readings is missed for a moment
                total = max(total, self.ticks[name][-1])
            self.ticks[name].append(total)
            ours += total
        self.ticks["others"].append(machine_ticks() - ours)
        for name in self.memory_of:
            anon, rss = memory_kb(self.groups[name][0])
            self.anon_kb[name], self.rss_kb[name] = max(self.anon_kb[name], anon), max(self.rss_kb[name], rss)
            self.ticks[name + " anon_kb"].append(anon)

    def run(self):
        while not self.over.wait(0.1):
            self.sample()

    def __enter__(self):
        self.sample()
        self.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.join()
        time.sleep(0.2)
        self.sample()

    def at(self, name, when):
        times, ticks = self.times, self.ticks[name]
        if when <= times[0]:
            return ticks[0]
        for i in range(1, len(times)):
            if when <= times[i]:
                share = (when - times[i - 1]) / (times[i] - times[i - 1])
                return ticks[i - 1] + share * (ticks[i] - ticks[i - 1])
        return ticks[-1]

    def cpu_s(self, name, begin, end):
        return (self.at(name, end) - self.at(name, begin)) / TICK


# ---- the services ----

class Services:
    """Those a benchmark runs on, in a folder of their own, which goes with them. `floors`: the program that measures these."""

    partitions = PARTITIONS

    def __init__(self, options, programs, floors):
        self.options = options
        self.bin = pathlib.Path(options.bin).resolve()
        self.floors_program = floors
        self.processes = []
        self.round = 0
        for name in ("sandbox", "migrate", floors, *programs):
            if not (self.bin / name).exists():
                raise Failed(f"{self.bin / name} is missing: cmake --preset release && cmake --build build")
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="shelfwire-bench-", dir=options.dir))
        self.dir.chmod(0o755)
        self.session = requests.Session()

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_):
        self.close()

    def service(self, script, *args):
        done = subprocess.run([SERVICES / script, *args], capture_output=True, text=True,
                              env={**os.environ, "FSYNC": "on"}, check=False)
        if done.returncode:
            raise Failed(done.stderr.strip() or f"{script} failed")
        return done.stdout

    def settings_of(self, script, folder):
        words = shlex.split(self.service(script, "env", folder))
        return dict(word.split("=", 1) for word in words if "=" in word)

    def start(self):
        self.pg_dir, self.kafka_dir = self.dir / "postgres", self.dir / "kafka"
        say(self.service("postgres.sh", "start", self.pg_dir).strip())
        say(self.service("kafka.sh", "start", self.kafka_dir).strip())
        self.pg = self.settings_of("postgres.sh", self.pg_dir)
        self.kafka = self.settings_of("kafka.sh", self.kafka_dir)["KAFKA_BOOTSTRAP_SERVERS"]
        self.postmaster = int((self.pg_dir / "data" / "postmaster.pid").read_text().split()[0])
        self.broker = int((self.kafka_dir / "broker-1" / "pid").read_text().split()[0])
        self.sandbox = self.spawn([self.bin / "sandbox", "--port-file", self.dir / "port"], "sandbox.log")
        while not (self.dir / "port").exists() or not (self.dir / "port").read_text().strip():
            if self.sandbox.poll() is not None:
                raise Failed("the sandbox ended: " + self.tail("sandbox.log"))
            time.sleep(0.01)
        self.url = "http://127.0.0.1:" + (self.dir / "port").read_text().strip()
        subprocess.run([self.bin / "migrate"], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                       env={**os.environ, **self.pg, "SQL_DIR": os.environ.get("SQL_DIR", str(ROOT / "schemas" / "sql"))})
        self.db = psycopg2.connect(host=self.pg["PGHOST"], port=self.pg["PGPORT"], user="postgres", dbname="shelfwire")
        self.db.autocommit = True

    def close(self):
        for process in self.processes:
            self.kill(process)
        for script, folder in (("kafka.sh", "kafka"), ("postgres.sh", "postgres")):
            if (self.dir / folder).exists():
                subprocess.run([SERVICES / script, "kill", self.dir / folder], capture_output=True, check=False)
        if not self.options.keep:
            shutil.rmtree(self.dir, ignore_errors=True)

    def spawn(self, command, log, **more):
        with open(self.dir / log, "ab") as out:
            process = subprocess.Popen(list(map(str, command)), stdout=out, stderr=out, stdin=subprocess.DEVNULL, **more)
        self.processes.append(process)
        return process

    @staticmethod
    def kill(process, how=signal.SIGKILL):
        if process.poll() is None:
            process.send_signal(how)
            process.wait()

    def tail(self, log):
        return "\n".join((self.dir / log).read_text(errors="replace").splitlines()[-5:])

    def admin(self, method, path, **more):
        answer = self.session.request(method, self.url + "/admin" + path, timeout=30, **more)
        answer.raise_for_status()
        return answer.json()

    def floors(self, mode, *args, wait=True, **named):
        command = [self.bin / self.floors_program, mode, *(f"{name}={value}" for name, value in named.items()), *args]
        process = subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                   env={**os.environ, **self.pg})
        self.processes.append(process)
        return self.result_of(process) if wait else process

    @staticmethod
    def result_of(process):
        out, err = process.communicate(timeout=600)
        if process.returncode:
            raise Failed(err.strip() or "a floor failed")
        return json.loads(out.strip().splitlines()[-1])

    @staticmethod
    def await_ready(process):
        if process.stdout.readline() != "ready\n":
            raise Failed(process.stderr.read().strip() or "floors ended")

    def make_topics(self, *names):
        """Under a prefix of their own, which is returned."""
        self.round += 1
        prefix = f"b{self.round}."
        admin = confluent_kafka.admin.AdminClient({"bootstrap.servers": self.kafka, "log_level": 3})
        made = admin.create_topics([confluent_kafka.admin.NewTopic(prefix + t, self.partitions, 1) for t in names])
        for future in made.values():
            future.result(30)
        return prefix

    def metrics(self, port):
        found = {}
        for line in self.session.get(f"http://127.0.0.1:{port}/metrics", timeout=10).text.splitlines():
            if not line.startswith("#"):
                name, _, value = line.rpartition(" ")
                found[name] = float(value)
        return found

    def await_worker(self, worker, port):
        deadline = time.time() + 60
        while time.time() < deadline:
            if worker.poll() is not None:
                break
            with contextlib.suppress(requests.RequestException):
                if requests.get(f"http://127.0.0.1:{port}/readyz", timeout=5).status_code == 200:
                    return
            time.sleep(0.05)
        raise Failed("the worker is not ready: " + self.tail("worker.log"))

    def window_figures(self, sampler, begin, end, count):
        per_1000 = {name: 1000 * sampler.cpu_s(name, begin, end) / count for name in sampler.groups}
        return {**per_1000, "others": sampler.cpu_s("others", begin, end) / (end - begin), "window_s": end - begin}

    # ---- where the time goes ----

    def perf_start(self, pid, seconds):
        """Looks at a process for so long; None without perf."""
        if not shutil.which("perf"):
            say("perf is not there (Debian: linux-perf): no profile")
            return None
        path = self.dir / "perf.data"
        path.unlink(missing_ok=True)
        perf = self.spawn(["perf", "record", "-q", "-F", "999", "--call-graph", "dwarf,8192", "-o", path, "-p", pid, "--", "sleep",
                           seconds], "perf.log")
        return perf, path

    def perf_report(self, perf, program, title):
        if not perf:
            return
        perf, path = perf
        perf.wait()
        if not path.exists() or not path.stat().st_size:
            say("perf does not work here: " + self.tail("perf.log"))
            return
        for what, lines, words in (("by library", 12, ("--no-children", "--sort", "dso")),
                                   ("by thread", 6, ("--no-children", "--sort", "comm")),
                                   ("by symbol", 25, ("--no-children", "--sort", "dso,symbol")),
                                   ("in our own functions and all they call", 45, ("--children", "--sort", "symbol", "--dsos", program))):
            out = subprocess.run(["perf", "report", "-i", path, "--stdio", "-g", "none", "-q", *words],
                                 capture_output=True, text=True, check=False).stdout
            lines_out = [" ".join(line.split()) for line in out.splitlines() if "%" in line]
            print(f"\n{title}: its CPU {what}\n" + "\n".join("  " + line for line in lines_out[:lines]), flush=True)


# ---- tables, options ----

def median_of(runs):
    return {name: statistics.median([run[name] for run in runs]) for name in runs[0]}


def aligned(lines):
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip() for line in lines)


def reached(value, target):
    if not target:
        return ""
    sign, number = target.split()
    good = value >= float(number) if sign == "≥" else value <= float(number) + 0.0005
    return "yes" if good else "NO"


def fsync_ms(folder):
    """What a commit waits for on this disk, at the least."""
    times = []
    with open(folder / "fsync", "wb") as file:
        for _ in range(100):
            file.write(b"x" * 8192)
            file.flush()
            begin = time.perf_counter()
            os.fdatasync(file.fileno())
            times.append(1000 * (time.perf_counter() - begin))
    return statistics.median(times)


def add_options(parser, floors=True):
    parser.add_argument("--repeat", type=int, default=1, help="measure so often, show the medians")
    parser.add_argument("--json", metavar="FILE", help="write all figures there too")
    if floors:
        parser.add_argument("--no-floors", action="store_true", help="only our own programs")
    parser.add_argument("--bin", default=ROOT / "build" / "bin", help="where the programs are (build/bin)")
    parser.add_argument("--dir", help="where the databases lie meanwhile: a disk like the real one's")
    parser.add_argument("--keep", action="store_true", help="leave logs and data behind")


def main_of(name, run, options):
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(111))  # on the way out everything is ended
    try:
        run(options)
    except Failed as why:
        say(f"{name}: {why}")
        return 111
    return 0

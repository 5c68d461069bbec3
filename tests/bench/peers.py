#!/usr/bin/python3
"""peers.py - the same work done by what a library would run instead of Shelfwire, on the same servers, in the same run.

Starts PostgreSQL (fsync on), Apache Kafka and the sandbox, whose gate answers in 50 ms, lets each peer do the same messages,
and ends them. 10 partitions, 100 calls in flight, keys in order.

  shelfwire           users-resolve and prereg-create, CONCURRENCY=100
  python              peers/worker.py: confluent-kafka, requests, psycopg2, 100 threads, a key always on the same thread
  python-one          the same, one message at a time, its offset committed before the next; fewer messages
  parallel-consumer   peers/ParallelConsumer.java: Confluent's parallel-consumer with Vert.x, a heap of 256 MB at most; wants
                      Maven and a JDK (Debian: maven, openjdk-17-jdk-headless), and fetches its libraries once

  speed      the messages of users.resolve wait in Kafka; each is looked up in PostgreSQL, a visitor is made at the gate, the
             outcome is written, the message sent on to prereg.create, the offset committed. What is between half and 90 %
             done counts, so that a virtual machine has warmed up
  --kills    3,000 windows of prereg.create for 1,000 people. The gate makes a pre-registration again when it is asked again,
             and cannot be asked which it has: what is done twice can be counted.
             kill -9 at a quarter, a half and three quarters, and a start at once behind each; back at work: from the kill to
             the first call, at worst. All have a name of their own (group.instance.id) and commit offsets each 100 ms, as
             Shelfwire does by itself. A peer looks first whether the row says that it is done, or it only reads the row
             One kill without such a name, with the library's own session: 45 s, Shelfwire's is 15 s
             No kill, but 10 % of the answers lost behind the effect, of 1,000 windows
             Counted at the gate: windows made again, windows never made, out of order (made for the first time before an
             earlier one of that person). Unmarked: those of which no row says so. Shelfwire marks what nobody can know and
             puts it on the desk, for a person to look at
"""

import argparse
import collections
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import confluent_kafka

from bench import CALLS, CONCURRENCY, TOPICS, VENDOR_MS, Bench
from common import PARTITIONS, Failed, Sampler, add_options, aligned, fsync_ms, main_of, median_of, say

HERE = pathlib.Path(__file__).resolve().parent / "peers"
KILLED, LOST = 3000, 1000  # windows, at most; the sandbox's log of calls holds them and all repeats
DEFAULT = 4  # prereg-create's own CONCURRENCY
STILL_S = 100  # longer than any session: nothing comes any more
SPEED, WORK = "users-resolve", "prereg-create"

# name: what part of the messages it gets of a speed, and of a run with kills
PEERS = {"shelfwire": (1, 1), "python": (1, 1), "python-one": (1 / 40, 1 / 10), "parallel-consumer": (1, 1)}

SPEEDS = [
    ("rate", "messages/s", "{:,.0f}"), ("worker", "CPU-s per 1,000: the process", "{:.3f}"),
    ("broker", "… the broker", "{:.3f}"), ("postgres", "… PostgreSQL", "{:.3f}"),
    ("anon_mb", "memory of its own (RssAnon), MB", "{:.0f}"), ("rss_mb", "all (RSS), MB", "{:.0f}"),
    ("first_s", "start to the first call, s", "{:.2f}")]
OUTCOMES = [
    ("windows", "windows"), ("calls", "calls"), ("twice", "made again"), ("twice_silent", "… unmarked"),
    ("never", "never made"), ("never_silent", "… unmarked"), ("desk", "on the desk"), ("unordered", "out of order"),
    ("back_s", "back at work, s"), ("whole_s", "all of it, s")]


class Peers(Bench):
    def __init__(self, options):
        options.stages, options.no_latency = [SPEED, WORK], False
        super().__init__(options)
        self.java = []

    def start(self):
        super().start()
        self.pg["PGHOST"] = "127.0.0.1"  # the way all of them know
        if "parallel-consumer" in self.options.peers:
            self.java = java_command(self.bin.parent / "peers")

    # ---- a peer ----

    def group(self, peer, stage, prefix):
        return prefix + (stage if peer == "shelfwire" else "peer")

    def begin(self, peer, stage, prefix, instance=None, looks_first=True, concurrency=CONCURRENCY):
        if peer == "shelfwire":
            return self.worker(stage, prefix, instance, concurrency=concurrency)
        source, to = TOPICS[stage]
        env = {**os.environ, **self.pg, "KAFKA_BOOTSTRAP_SERVERS": self.kafka, "PASSAGEPOINT_URL": self.url,
               "PASSAGEPOINT_USERNAME": "sandbox", "PASSAGEPOINT_PASSWORD": "sandbox-pp-password", "CALL": CALLS[stage],
               "FROM": prefix + source, "GROUP": self.group(peer, stage, prefix), "LOOKS_FIRST": str(int(looks_first)),
               "THREADS": "1" if peer == "python-one" else str(CONCURRENCY)}
        if to:
            env["TO"] = prefix + to
        if instance:
            env["KAFKA_GROUP_INSTANCE_ID"] = instance
        command = self.java if peer == "parallel-consumer" else ["/usr/bin/python3", HERE / "worker.py"]
        return self.spawn(command, "worker.log", env=env)

    def calls(self, stage, since=0):
        """When the gate was called: log-ins, and the stage's own call; by its clock, which is ours."""
        found = self.admin("GET", "/calls?vendor=passagepoint&last=16384")
        return tuple([c["at"] for c in found if c["call"] == call and c["at"] >= since] for call in ("login", CALLS[stage]))

    def lag(self, group, topic):
        consumer = confluent_kafka.Consumer({"bootstrap.servers": self.kafka, "group.id": group, "log_level": 0})
        try:
            at = consumer.committed([confluent_kafka.TopicPartition(topic, p) for p in range(PARTITIONS)], timeout=20)
            return sum(consumer.get_watermark_offsets(tp, timeout=20)[1] - max(tp.offset, 0) for tp in at)
        finally:
            consumer.close()

    # ---- what is measured ----

    def warm_up(self):
        say("a broker that has just started is slow: warming it up")
        prefix = self.prepare(SPEED, 20000, 20000)
        source = prefix + TOPICS[SPEED][0]
        self.produce(source)
        self.floors("kafka", servers=self.kafka, **{"from": source, "to": prefix + "floor"}, count=20000)

    def speed(self, peer):
        count = max(50, int(self.options.messages * PEERS[peer][0]))
        prefix = self.prepare(SPEED, count, count)
        self.produce(prefix + TOPICS[SPEED][0])
        self.admin("POST", "/reset", json={"only": ["counts"]})
        began = time.time()
        worker = self.begin(peer, SPEED, prefix)
        with Sampler(self.groups(worker), ["worker"]) as sampler:
            self.await_effects(SPEED, min(50, count), worker, STILL_S)
            first = min(self.calls(SPEED)[1])
            self.await_effects(SPEED, count, worker, STILL_S)
            times = sorted(self.done_times(SPEED, prefix, count).values())
        self.kill(worker, signal.SIGTERM)
        begin, end = times[count // 2], times[count * 9 // 10]
        window = count * 9 // 10 - count // 2
        return {"rate": window / (end - begin), "first_s": first - began, "anon_mb": sampler.anon_kb["worker"] / 1024,
                "rss_mb": sampler.rss_kb["worker"] / 1024, **self.window_figures(sampler, begin, end, window)}

    def waiting_windows(self, peer, most=KILLED):
        count = max(30, int(min(most, self.options.messages) * PEERS[peer][1]))
        prefix = self.prepare(WORK, count, -(-count // 3))
        self.produce(prefix + TOPICS[WORK][0])
        self.admin("POST", "/reset", json={"only": ["counts", "faults"]})
        return count, prefix

    def await_made(self, count, worker):
        """So many different windows at the gate."""
        made, since = -1, time.time()
        while made < count:
            gate = self.admin("GET", "/counts")["passagepoint"]
            if gate["preregs"] - gate["duplicate_preregs"] != made:
                made, since = gate["preregs"] - gate["duplicate_preregs"], time.time()
            if worker.poll() is not None or time.time() - since > STILL_S:
                raise Failed(f"{made} of {count} windows were made; {self.tail('worker.log')}")
            time.sleep(0.02)

    def await_end(self, peer, prefix, worker):
        """Until every offset is committed, or nothing comes any more: then what is missing stays missing."""
        seen, since = None, time.time()
        while time.time() - since < STILL_S:
            now = self.effects(WORK)["requests"], self.lag(self.group(peer, WORK, prefix), prefix + TOPICS[WORK][0])
            if now[1] == 0 and not self.effects(WORK)["in_flight"]:
                break
            if now != seen:
                seen, since = now, time.time()
            if worker.poll() is not None:
                raise Failed("the worker ended: " + self.tail("worker.log"))
            time.sleep(0.2)
        self.kill(worker, signal.SIGTERM)

    def back(self, killed):
        """From a kill to the first call of the process after it, which logs in first."""
        logins, calls = self.calls(WORK, since=killed)
        after = min(logins, default=float("inf"))
        return min((at for at in calls if at >= after), default=float("nan")) - killed

    def killed(self, peer, **how):
        count, prefix = self.waiting_windows(peer)
        began, kills = time.time(), []
        worker = self.begin(peer, WORK, prefix, "peer-1", **how)
        for part in (0.25, 0.5, 0.75):
            self.await_made(count * part, worker)
            self.kill(worker)
            kills.append(time.time())
            worker = self.begin(peer, WORK, prefix, "peer-1", **how)
        self.await_end(peer, prefix, worker)
        return {**self.outcome(count), "back_s": max(self.back(at) for at in kills), "whole_s": time.time() - began}

    def nameless(self, peer):
        count, prefix = self.waiting_windows(peer)
        worker = self.begin(peer, WORK, prefix)
        self.await_made(count / 3, worker)
        self.kill(worker)
        killed = time.time()
        worker = self.begin(peer, WORK, prefix)
        self.await_end(peer, prefix, worker)
        return {**self.outcome(count), "back_s": self.back(killed), "whole_s": None}

    def lost_answers(self, peer):
        count, prefix = self.waiting_windows(peer, LOST)
        self.admin("POST", "/faults", json={"vendor": "passagepoint", "call": CALLS[WORK], "kind": "drop_after", "share": 0.1})
        began = time.time()
        worker = self.begin(peer, WORK, prefix, "peer-1")
        self.await_end(peer, prefix, worker)
        return {**self.outcome(count), "back_s": None, "whole_s": time.time() - began}

    def outcome(self, count):
        """What the gate was made to do, against what was asked for and what the rows say of it."""
        gate = self.admin("GET", "/effects?kind=preregs&limit=100000")["preregs"]
        made = collections.Counter((p["visitorId"], int(p["startTime"])) for p in gate)
        latest, unordered = collections.defaultdict(int), 0
        for visitor, start in made:  # in the order in which each was made for the first time
            unordered += start < latest[visitor]
            latest[visitor] = max(latest[visitor], start)
        with self.db.cursor() as sql:
            sql.execute("SELECT u.visitor_id, extract(epoch FROM p.starts_at)::bigint,"
                        " coalesce(p.answer = 'unknown', false) OR p.maybe_made"
                        " FROM appts p JOIN users u ON u.primary_id = p.asked_id")
            marked = {(visitor, int(start)): mark for visitor, start, mark in sql.fetchall()}
        never = [window for window in marked if window not in made]
        return {"windows": count, "calls": self.effects(WORK)["requests"],
                "twice": sum(n - 1 for n in made.values()),
                "twice_silent": sum(n - 1 for window, n in made.items() if not marked[window]),
                "never": len(never), "never_silent": sum(not marked[w] for w in never),
                "desk": sum(marked.values()), "unordered": unordered}


def java_command(folder):
    """Fetches and compiles what is not there yet."""
    for tool, package in (("mvn", "maven"), ("javac", "openjdk-17-jdk-headless")):
        if not shutil.which(tool):
            raise Failed(f"{tool} is missing (Debian: {package}); --peers python,python-one does without")
    jars, classes = folder / "jars", folder / "classes"
    if not jars.exists():
        say("parallel-consumer: fetching it, once")
        fetch = ["mvn", "-q", "-B", "-f", HERE / "pom.xml", "dependency:copy-dependencies", "-DincludeScope=runtime",
                 f"-DoutputDirectory={folder / 'fetched'}"]
        run_tool(fetch, "Maven could not fetch parallel-consumer")
        (folder / "fetched").rename(jars)
    run_tool(["javac", "-nowarn", "-cp", f"{jars}/*", "-d", classes, HERE / "ParallelConsumer.java"], "javac failed")
    return ["java", "-Xmx256m", "-Dorg.slf4j.simpleLogger.defaultLogLevel=error", "-cp", f"{classes}:{jars}/*",
            "ParallelConsumer"]


def run_tool(command, fault):
    done = subprocess.run(list(map(str, command)), stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Failed(f"{fault}: {(done.stdout + done.stderr).strip()[-1000:]}")


# ---- the tables ----

def speed_table(speeds):
    lines = [("", *speeds)]
    for figure, words, form in SPEEDS:
        ours = speeds.get("shelfwire", {}).get(figure)
        cells = [form.format(run[figure]) + (f" (×{run[figure] / ours:.2f})" if ours and peer != "shelfwire" else "")
                 for peer, run in speeds.items()]
        lines.append((words, *cells))
    return aligned(lines)


def spread(runs, figure):
    """One run's figure, or the least and the most of several."""
    values = sorted({round(run[figure], 1) for run in runs if run[figure] is not None})
    return " to ".join(f"{v:,.10g}" for v in values[:1] + values[1:][-1:])


def outcome_table(outcomes):
    lines = [("", *(words for _, words in OUTCOMES))]
    for (peer, what), runs in outcomes.items():
        lines.append((f"{peer}, {what}", *(spread(runs, figure) for figure, _ in OUTCOMES)))
    return aligned(lines)


def trials(peer, peers, quick):
    """What is lost and repeated, and when: (what happens, the run)."""
    if peer == "shelfwire":  # it always looks first
        yield "three kills", lambda: peers.killed(peer)
        if not quick:
            yield f"three kills, {DEFAULT} in flight, its default", lambda: peers.killed(peer, concurrency=DEFAULT)
    else:
        yield "three kills, looks first", lambda: peers.killed(peer)
        if not quick:
            yield "three kills, only reads", lambda: peers.killed(peer, looks_first=False)
    if not quick:
        yield "no name of its own, one kill", lambda: peers.nameless(peer)
        yield "10 % of answers lost", lambda: peers.lost_answers(peer)


def run(options):
    speeds, outcomes = {}, {}
    with Peers(options) as peers:
        about = {"messages": options.messages, "cores": os.cpu_count(), "loadavg": os.getloadavg()[0],
                 "fsync_ms": fsync_ms(peers.dir)}
        if not options.quick and options.kills != "only":
            peers.warm_up()
        for peer in options.peers if options.kills != "only" else ():
            say(f"{peer}: speed")
            speeds[peer] = median_of([peers.speed(peer) for _ in range(options.repeat)])
        for peer in options.peers if options.kills else ():
            for what, trial in trials(peer, peers, options.quick):
                say(f"{peer}: {what}")
                outcomes[peer, what] = [trial() for _ in range(options.repeat)]
        about["loadavg_after"] = os.getloadavg()[0]
        if speeds:
            about["others"] = max(speed["others"] for speed in speeds.values())
    others = ", of which others used {others:.1f} at most" if speeds else ""
    print(f"\n{CONCURRENCY} calls in flight, {PARTITIONS} partitions, a gate of {VENDOR_MS} ms" + (
        "; {messages:,} messages, {cores} cores" + others + ", load average {loadavg:.2f} before and {loadavg_after:.2f} after,"
        " fdatasync {fsync_ms:.2f} ms\n").format(**about))
    print("\n\n".join(table(found) for table, found in ((speed_table, speeds), (outcome_table, outcomes)) if found))
    if options.json:
        with open(options.json, "w") as file:
            named = {f"{peer}, {what}": runs for (peer, what), runs in outcomes.items()}
            json.dump({"about": about, "speeds": speeds, "outcomes": named}, file, indent=2)
            file.write("\n")


def peers_named(text):
    names = text.split(",")
    for name in names:
        if name not in PEERS:
            raise argparse.ArgumentTypeError(f"no peer is called {name}: {', '.join(PEERS)}")
    return ["shelfwire"] + [name for name in names if name != "shelfwire"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=20000, help="a backlog of so many (20000)")
    parser.add_argument("--peers", type=peers_named, default=list(PEERS), metavar="A,B", help="only these beside Shelfwire")
    parser.add_argument("--kills", nargs="?", const="too", choices=("too", "only"), help="also, or only, what is lost and repeated")
    parser.add_argument("--quick", action="store_true", help="400 messages, python only: shows that it works")
    add_options(parser, floors=False)
    options = parser.parse_args()
    if options.quick:
        options.messages, options.peers, options.kills = 400, ["shelfwire", "python"], "too"
    options.count = options.messages
    return main_of("peers.py", run, options)


if __name__ == "__main__":
    sys.exit(main())

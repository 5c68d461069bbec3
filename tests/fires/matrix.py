"""The matrix: every point of every program, and everything that can happen there.

A program is started so that it stops itself at a point (common/injection.h), in the middle of its work. Then

  kill      it is killed, and started again: a member of its group with a name of its own
  kill-new  the same without a name, so that its successor waits for the session to run out
  zombie    it stays stopped until its session has run out and another worker has done its work; then it wakes
  cut       its way to Kafka falls silent and it goes on; another worker takes over and does the work; then Kafka is back
  postgres  its connections to PostgreSQL are reset and refused as it goes on, until it has noticed
  broker    the same with Kafka
  answer    answers of its vendor are lost, though the vendor did what was asked

and in each case the work has to come out as if nothing had been: counted at the vendor, in PostgreSQL and in Kafka.
"""
import argparse
import collections
import dataclasses
import os
import pathlib
import queue
import random
import re
import shutil
import signal
import statistics
import sys
import tempfile
import threading
import time
import traceback

from fires.lines import Line
from fires.works import CONCURRENCY, REPEATING, WORKS
from shelfwire import PARTITIONS, READS, ROOT, Servers, World, wait_for

EVERY = 0.1  # seconds between two looks at what is waited for
REACH_S, RECOVER_S = 20, 90
SESSION = {"KAFKA_SESSION_TIMEOUT_MS": 6000, "KAFKA_HEARTBEAT_INTERVAL_MS": 500}
NAMED = {"KAFKA_GROUP_INSTANCE_ID": "one"}

WORKERS, PRODUCERS = [p for p in WORKS if p in READS], [p for p in WORKS if p not in READS]
WORKER_ACTIONS = ("kill", "kill-new", "zombie", "cut", "postgres", "broker", "answer")
PRODUCER_ACTIONS = ("kill", "zombie", "postgres", "broker", "answer")
REPEATING_ACTIONS = ("kill", "zombie", "cut", "answer")  # where it matters what is done about what nobody knows
GIVING_BACK = ("revoked", "revoked_done", "release", "released")
STOPPING = ("drain", "drained")

# which time a point is passed is in the middle of the work; 1 where not said
NTH = {"fetched": 2, "taken_in": 2, "assigned": 2, "assigned_done": 2, "revoked": 2, "revoked_done": 2, "offset_store": 2,
       "offset_stored": 3, "offset_committed": 2, "look_send": 3, "look_sent": 3, "look_committed": 3, "look_done": 3,
       "record_send": 2, "record_sent": 2, "record_committed": 2, "record_done": 2, "call": 4, "call_leaving": 4, "call_left": 4,
       "call_answered": 4, "call_done": 4, "poll": 2, "polled": 2, "rows_send": 3, "rows_sent": 3, "rows_committed": 3,
       "rows_done": 3}
# what a program does often, and each time something else; statements of producers above all
SEVERAL = {"statement": (1, 3, 5, 8), "statement_done": (1, 3, 5, 8)}
LAST_STAGES = ("prereg-create", "catalog-delta", "folio-requests", "wise-holds-place", "oneclick-requests")  # only dead letters


def points():
    """{whose: [points]}, as common/injection.h groups them."""
    found, whose = collections.defaultdict(list), None
    for line in (ROOT / "common/injection.h").read_text().splitlines():
        heading = re.match(r" +/\* (.*?) +\*/", line)
        point = re.match(r" +POINT\((\w+),", line)
        if heading:
            whose = heading[1]
        if point:
            found[whose].append(point[1])
    return found


def points_of(program):
    found = points()
    mine = {"a worker's messages and partitions", "a worker's transactions"} if program in READS else {"a producer"}
    if program == "patron-requests":
        mine.add("patron-requests")
    return [p for whose, them in found.items() if whose in mine or "workers and producers" in whose for p in them]


@dataclasses.dataclass(frozen=True)
class Case:
    program: str
    point: str
    action: str
    nth: int
    repeat: bool = False

    def name(self):
        again = " --on-unknown repeat" if self.repeat else ""
        return f"tests/fire matrix --program {self.program}{again} --point {self.point} --action {self.action} --nth {self.nth}"


def nths(program, point):
    if point in ("produce", "produced", "delivered", "delivered_done"):
        return (1,) if program in LAST_STAGES else (3,)
    return SEVERAL.get(point, (NTH.get(point, 1),))


def all_cases():
    cases = []
    for program in WORKS:
        for point in points_of(program):
            for action in WORKER_ACTIONS if program in READS else PRODUCER_ACTIONS:
                for nth in nths(program, point):
                    cases.append(Case(program, point, action, nth))
                    if program == "prereg-create" and action in REPEATING_ACTIONS:
                        cases.append(Case(program, point, action, nth, True))
    return cases


@dataclasses.dataclass
class Result:
    case: Case
    reached: bool = False
    tally: object = None
    seconds: float = None
    wrong: list = dataclasses.field(default_factory=list)


def is_stopped(program):
    try:
        return pathlib.Path(f"/proc/{program.process.pid}/stat").read_text().rsplit(") ", 1)[1][0] == "T"
    except FileNotFoundError:
        return False


class Run:
    """One case in a world of its own."""

    def __init__(self, case, world, line, as_in_use=False):
        self.case, self.world, self.line = case, world, line
        self.session = {"KAFKA_SESSION_TIMEOUT_MS": None} if as_in_use else SESSION
        self.work = (REPEATING["prereg-create (repeat)"] if case.repeat else WORKS[case.program])(world)
        self.is_worker = case.program in READS
        self.settings = {**self.session, **(NAMED if case.action == "kill" and self.is_worker else {})}
        self.program, self.other, self.reached = None, None, False

    def begin(self, **changed):
        return self.work.begin(self.line, **{**self.settings, **changed})

    def begin_other(self):
        """A second one, on the usual way to the servers."""
        if not self.other:
            self.other = self.work.begin(**{**self.session, **({"KAFKA_GROUP_INSTANCE_ID": "two"} if self.settings is NAMED else {})})
        return self.other

    def await_(self, predicate, what, seconds=RECOVER_S):
        def seen():
            self.work.nudge()
            return predicate()
        return wait_for(seen, what, seconds, EVERY)

    def await_settled(self):
        self.await_(self.work.settled, lambda: "not all is done: " + self.work.state() + self.tails())

    def tails(self):
        return "".join(p.tail(12) for p in self.world.programs[-3:])

    # ---- to the point ----

    def reach(self):
        """Starts the program and leads it to its point; False when it does not come there."""
        case = self.case
        inject = {"INJECT_AT": f"{case.point}:{case.nth}"}
        self.work.begin_behind()
        if case.action == "answer":
            self.work.lose_answers(skip=1)
        if case.point in GIVING_BACK or case.point in STOPPING or case.point == "lost":
            self.program = self.begin(**inject).ready()
            self.work.feed(5, 3)
            if case.point == "lost":
                self.outlive()
            elif case.point in STOPPING:
                self.program.process.terminate()
            else:
                self.begin_other()
        else:
            self.work.feed(5, 3)
            self.program = self.begin(**inject)

        def there():
            return is_stopped(self.program) or not self.program.running()
        try:
            self.await_(there, "", REACH_S)
        except AssertionError:
            return False
        assert self.program.running() or "stopped at" in self.program.log(), "it ended by itself" + self.program.tail()
        self.reached = self.program.running()
        return self.reached

    def give_up(self):
        """It may still come to its point, and stop there for good."""
        if self.program and not self.reached and self.program.running():
            self.program.kill9()

    def outlive(self):
        """Its session runs out while it is stopped, and another has its partitions."""
        self.program.sigstop()
        other = self.begin_other()
        self.await_(lambda: len(other.ready().metrics().get("kafka_consumergroup_lag", {})) == PARTITIONS,
                    lambda: "the other does not take over" + other.tail())
        self.program.sigcont()

    # ---- what happens there ----

    def kill(self):
        self.program.kill9()
        self.recovers_from()
        self.program = self.begin()

    kill_new = kill

    def zombie(self):
        if not self.is_worker:
            self.world.db.end_sessions()  # as the server does when nobody answers any more: its lock is free
        self.begin_other()
        self.work.feed(2, 2)
        self.await_settled()
        assert is_stopped(self.program)
        self.recovers_from()
        self.program.sigcont()

    def cut(self):
        self.line.kafka.silence()
        self.program.sigcont()
        self.begin_other()
        self.work.feed(2, 2)
        self.await_settled()
        self.recovers_from()
        self.line.kafka.speak()

    def without(self, forwarder, words):
        seen = len(self.program.log())
        forwarder.cut()
        self.program.sigcont()
        try:
            self.await_(lambda: re.search(words, self.program.log()[seen:]) or not self.program.running(), "", 5)
        except AssertionError:
            pass  # it had nothing to say to it
        self.recovers_from()
        forwarder.join()

    def postgres(self):
        self.without(self.line.postgres, r"PostgreSQL")

    def broker(self):
        self.without(self.line.kafka, r"Disconnected|refused|brokers")

    def answer(self):
        self.work.lose_answers()
        self.recovers_from()
        self.program.sigcont()

    def recovers_from(self):
        self.since = time.monotonic()

    # ---- and what came of it ----

    def recover(self):
        """More work comes, and all of it is done; whoever was to stop has stopped, and is started again."""
        self.work.feed(2, 2)
        if self.case.point in STOPPING and not self.case.action.startswith("kill"):
            self.await_(lambda: not self.program.running(), "it does not end" + self.program.tail(), 40)
            self.program.ended = True
            assert self.program.process.returncode == 0, f"it ended with {self.program.process.returncode}" + self.program.tail()
            self.program = self.begin()
        self.await_settled()
        seconds = time.monotonic() - self.since
        self.awake()
        self.await_settled()
        return seconds

    def awake(self):
        """The program is itself again, whoever did the work."""
        if self.is_worker or not self.other:
            self.program.ready()

    def allowed_to_mark(self):
        if self.case.program != "prereg-create":
            return 0
        lost = self.work.answers_lost() if self.case.action == "answer" else 0
        stopped = self.case.action != "answer" or self.case.point == "lost"  # which it is led to by a stop for a session
        return lost + (CONCURRENCY if stopped else 0)

    def judge(self):
        tally, wrong = self.work.tally(), []
        for what, many in (("lost", tally.lost), ("repeated", tally.repeated), ("out of order", tally.disorder)):
            if many:
                wrong.append(f"{many} {what}")
        if tally.marked > self.allowed_to_mark():
            wrong.append(f"{tally.marked} marked for the desk, at most {self.allowed_to_mark()}")
        return tally, wrong + (tally.said if wrong else [])


def run_case(case, servers, folder, line, as_in_use=False, worlds=None):
    """Never raises: what went wrong is in the result. worlds: shows those that are at work."""
    result, world, run = Result(case), None, None
    worlds = set() if worlds is None else worlds
    try:
        line.whole()
        world = World(servers, folder)
        worlds.add(world)
        run = Run(case, world, line, as_in_use)
        result.reached = run.reach()
        if result.reached:
            getattr(run, case.action.replace("-", "_"))()
            result.seconds = run.recover()
            result.tally, result.wrong = run.judge()
    except Exception as e:  # a case that cannot be run is a case that failed
        result.wrong.append(str(e) if isinstance(e, AssertionError) else traceback.format_exc())
    try:
        line.whole()
        if run:
            run.work.close()
            run.give_up()
        if world:
            result.wrong += world.stop()
            worlds.discard(world)
    except Exception:
        result.wrong.append(traceback.format_exc())
    return result


def run_cases(cases, servers, folder, lanes, as_in_use=False, tell=None):
    """
    The results, in the order of the cases; of those that there are, when it is interrupted. servers: with that many lines at
    least. as_in_use: Kafka's sessions are.
    """
    todo, results, lines, worlds = queue.SimpleQueue(), {}, [], set()
    for case in cases:
        todo.put(case)

    def lane(number):
        line, mine = Line(servers, number), servers.with_own_producer()
        lines.append(line)
        try:
            while True:
                try:
                    case = todo.get_nowait()
                except queue.Empty:
                    return
                own = pathlib.Path(tempfile.mkdtemp(prefix="case-", dir=folder))
                results[case] = run_case(case, mine, own, line, as_in_use, worlds)
                if not results[case].wrong:
                    shutil.rmtree(own, ignore_errors=True)
                if tell:
                    tell(results[case], own, len(results), len(cases))
        finally:
            line.close()
    threads = [threading.Thread(target=lane, args=(n,), daemon=True) for n in range(min(lanes, len(cases)))]
    for t in threads:
        t.start()
    try:
        for t in threads:
            t.join()
    except (KeyboardInterrupt, SystemExit):  # nothing goes on running
        done = dict(results)
        while not todo.empty():
            todo.get()
        for program in [p.process for world in worlds for p in (*world.programs, world.sandbox)]:
            program.kill()
        for line in lines:
            line.close()
        results = done
    return [results[case] for case in cases if case in results]


def sample(cases, seed, count):
    """So many of them: each program and each action as often as any other, as far as that goes."""
    dice = random.Random(seed)
    left, taken, seen = list(cases), [], collections.Counter()
    dice.shuffle(left)
    while left and len(taken) < count:
        case = min(left, key=lambda c: (seen[c.program] + seen[c.action], seen[c.point]))
        left.remove(case)
        taken.append(case)
        seen.update([case.program, case.action, case.point])
    return taken


# ---- the table ----

def table(results):
    groups = collections.defaultdict(list)
    for r in sorted(results, key=lambda r: (list(WORKS).index(r.case.program), r.case.repeat, WORKER_ACTIONS.index(r.case.action))):
        groups[r.case.program + (" (repeat)" if r.case.repeat else ""), r.case.action].append(r)
    head = ("program", "action", "cases", "not reached", "lost", "repeated", "out of order", "marked", "recovered after", "wrong")
    rows = [head]
    for (program, action), them in groups.items():
        tallies = [r.tally for r in them if r.tally]
        seconds = sorted(r.seconds for r in them if r.seconds is not None)
        rows.append((program, action, len(them), sum(not r.reached for r in them), sum(t.lost for t in tallies),
                     sum(t.repeated for t in tallies), sum(t.disorder for t in tallies), sum(t.marked for t in tallies),
                     f"{statistics.median(seconds):.1f} s, at most {seconds[-1]:.1f}" if seconds else "-", sum(bool(r.wrong) for r in them)))
    sums = [sum(row[i] for row in rows[1:]) for i in (2, 3, 4, 5, 6, 7, 9)]
    rows.append(("all", "", *sums[:6], "", sums[6]))
    widths = [max(len(str(row[i])) for row in rows) for i in range(len(head))]
    return "\n".join("  ".join(str(cell).ljust(w) if i < 2 or i == 8 else str(cell).rjust(w)
                               for i, (cell, w) in enumerate(zip(row, widths))).rstrip() for row in rows)


def not_reached(results):
    missed = collections.defaultdict(set)
    for r in results:
        if not r.reached and not r.wrong:
            missed[r.case.program].add(f"{r.case.point} ({r.case.action})")
    return "\n".join(f"not reached by {program}: {', '.join(sorted(them))}" for program, them in missed.items())


def main(argv):
    parser = argparse.ArgumentParser(prog="tests/fire matrix", description=__doc__.split("\n")[0],
                                     epilog=__doc__.split("\n", 2)[2], formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", action="append", choices=list(WORKS), help="only this one; may be given again, as may be")
    parser.add_argument("--point", action="append", choices=sorted({p for them in points().values() for p in them}))
    parser.add_argument("--action", action="append", choices=WORKER_ACTIONS)
    parser.add_argument("--nth", type=int, help="when it comes there for the N-th time")
    parser.add_argument("--on-unknown", choices=("hold", "repeat"), help="only these of prereg-create's cases")
    parser.add_argument("--sample", metavar="SEED:N", help="N of the cases, each program and action among them")
    parser.add_argument("--lanes", type=int, default=4, help="cases at a time (4)")
    parser.add_argument("--session", action="store_true", help="Kafka's sessions as long as in use: 15 s, with a name 30 s")
    parser.add_argument("--list", action="store_true", help="only names the cases")
    args = parser.parse_args(argv)
    cases = [c for c in all_cases() if (not args.program or c.program in args.program) and (not args.point or c.point in args.point)
             and (not args.action or c.action in args.action)
             and (not args.on_unknown or c.program == "prereg-create" and c.repeat == (args.on_unknown == "repeat"))]
    if args.nth:
        cases = list(dict.fromkeys(dataclasses.replace(c, nth=args.nth) for c in cases))
    if args.sample:
        seed, count = args.sample.split(":")
        cases = sample(cases, int(seed), int(count))
    if args.list or not cases:
        print("\n".join(c.name() for c in cases) or "no such case")
        return 0 if cases else 100
    random.Random(1).shuffle(cases)  # those that wait for a session beside those that compute
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    began = time.monotonic()
    folder = tempfile.mkdtemp(prefix="matrix-")
    lanes = min(args.lanes, len(cases))
    os.environ.setdefault("FAST", "1")     # the servers live for a while, and only programs die:
    os.environ.setdefault("FSYNC", "off")  # Java is compiled lightly, and PostgreSQL waits for no disk
    servers = Servers(folder, lines=lanes)

    def tell(result, own, done, of):
        if result.wrong:
            print(f"WRONG {result.case.name()}\n      " + "\n      ".join("\n".join(result.wrong).splitlines()[:60]) + f"\n      logs are in {own}", flush=True)
        elif sys.stderr.isatty() or done % 25 == 0:
            print(f"{done} of {of}, {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    try:
        results = run_cases(cases, servers, folder, lanes, args.session, tell)
    finally:
        servers.stop()
    print(table(results))
    missed = not_reached(results)
    print((missed + "\n" if missed else "") + f"{len(results)} cases in {time.monotonic() - began:.0f} s, {lanes} at a time")
    wrong = [r for r in results if r.wrong]
    if len(results) < len(cases):
        print(f"interrupted: {len(cases) - len(results)} cases were not run")
    for r in wrong:
        print(f"WRONG {r.case.name()}: {r.wrong[0].splitlines()[0]}")
    if not wrong:
        shutil.rmtree(folder, ignore_errors=True)
    return 1 if wrong or len(results) < len(cases) else 0

"""
The plan of a soak: what happens to whom, at which moment of the work. A seed gives the same plan each time; what the machine
makes of it (which message is in hand just then) it does not repeat.
"""
import collections
import dataclasses
import random

# Copies with a name of their own (static members of their group), and copies without.
CREW = {
    "libcal-bookings": (0, 1), "webcheckout-allocations": (0, 1), "oneclick-catalog": (0, 1), "patron-requests": (0, 1),
    "bookings-new": (2, 0), "users-resolve": (2, 1), "prereg-create": (2, 1), "catalog-delta": (1, 0), "folio-requests": (1, 1),
    "wise-holds-prepare": (1, 0), "wise-holds-place": (2, 0), "oneclick-requests": (1, 1),
}
WEIGHTS = {"libcal-bookings": 2, "patron-requests": 2, "bookings-new": 2, "users-resolve": 2, "prereg-create": 3}
WORKERS = [name for name in CREW if name not in ("libcal-bookings", "webcheckout-allocations", "oneclick-catalog", "patron-requests")]
VENDORS = ("libcal", "alma", "passagepoint", "oneclick", "folio", "wise", "webcheckout")
HAVE_TOKENS = ("libcal", "passagepoint", "oneclick", "folio", "wise", "webcheckout")


@dataclasses.dataclass(frozen=True)
class Event:
    at: float       # share of the work that is done then
    kind: str
    whom: str = ""  # a copy as "prereg-create/1", a program, a vendor
    seconds: float = 0.0

    def __str__(self):
        return f"{self.at:7.3%}  {self.kind:17} {self.whom:26} {f'{self.seconds:.1f} s' if self.seconds else ''}".rstrip()


KINDS = {  # what it does; seconds
    "kill": "kill -9, started again after so long",
    "term": "SIGTERM, started again when it has ended",
    "freeze": "SIGSTOP, woken after so long, which is more than its session",
    "add": "one more copy of a worker joins",
    "remove": "it leaves (SIGTERM)",
    "postgres kill": "PostgreSQL crashes, back after so long",
    "postgres restart": "PostgreSQL is stopped cleanly, back after so long",
    "kafka kill": "the broker crashes, back after so long",
    "kafka restart": "the broker is stopped cleanly, back after so long",
    "kafka freeze": "the broker says nothing for so long",
    "vendor down": "a vendor refuses connections for so long",
    "vendor reset": "a vendor resets its connections, and refuses more for so long",
    "revoke": "all tokens of a vendor are worth nothing",
}


def crew(gates):
    """Who is there at the beginning; gates: how many prereg-create, the last of them without a name."""
    return {**CREW, "prereg-create": (gates - 1, 1)}


def copies(gates):
    return [f"{name}/{n + 1}" for name, (named, nameless) in crew(gates).items() for n in range(named + nameless)]


def make(seed, kills, session, gates):
    """The events in order: `kills` kill -9 of programs, and all else in proportion."""
    dice, events = random.Random(seed), []
    everyone = copies(gates)
    weights = [WEIGHTS.get(copy.split("/")[0], 1) for copy in everyone]

    def when(first=0.01, last=0.95):
        return round(dice.uniform(first, last), 5)

    def one(kind, whom="", seconds=0.0, at=None):
        events.append(Event(when() if at is None else at, kind, whom, round(seconds, 1)))

    for copy in dice.choices(everyone, weights, k=kills):
        luck = dice.random()
        one("kill", copy, 0 if luck < 0.7 else dice.uniform(0.2, 2) if luck < 0.96 else session + dice.uniform(0.5, 2))
    for copy in dice.choices(everyone, weights, k=max(2, kills // 5)):
        one("term", copy)
    for worker in dice.choices(WORKERS, k=max(2, kills // 10)):
        came = when(0.01, 0.85)
        one("add", worker, at=came)
        one("remove", worker, at=round(came + dice.uniform(0.02, 0.1), 5))
    workers = [copy for copy in everyone if copy.split("/")[0] in WORKERS]
    for copy in dice.choices(workers, k=max(1, kills // 60)):
        one("freeze", copy, session + dice.uniform(1, 4))
    for n in range(max(2, kills // 50)):
        one(("postgres kill", "postgres restart")[n % 2], seconds=dice.uniform(0, 2))
    for n in range(max(3, kills // 100)):
        one(("kafka kill", "kafka freeze", "kafka restart")[n % 3], seconds=dice.uniform(1, session + 3) if n % 3 == 1 else dice.uniform(0, 1))
    for n in range(max(3, kills // 40)):
        one(("vendor down", "vendor reset")[n % 2], dice.choice(VENDORS), dice.uniform(0.5, 5))
    for vendor in dice.choices(HAVE_TOKENS, k=max(2, kills // 20)):
        one("revoke", vendor)
    return sorted(events, key=lambda e: e.at)


def summary(events):
    """What is planned, a line a kind."""
    counts = collections.Counter(e.kind for e in events)
    return "\n".join(f"  {counts[kind]:5}  {kind:17} {what}" for kind, what in KINDS.items() if counts[kind])

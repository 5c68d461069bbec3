"""After a soak: what the sandbox was made to do, what PostgreSQL, the dead letters and the lag say, against what was asked for."""
import collections

from fires.soak_input import CENTER, LIDS_FROM, differences, folio_id
from shelfwire import DESTINATION, READS, UTC, stamp

SHOWN = 8
COLUMNS = ("asked for", "done", "lost", "repeated", "disorder", "marked")
WINDOWS = ("SELECT booking_id, asked_id, starts_at, ends_at, answer FROM appts WHERE source = %s AND location_id = %s AND wanted")
# Until a taken intent must have led to a call (START_SLACK_US), and some for the clock's grain.
LATE_S = 6


class Count:
    """Lines of a table, each with its violations; a violation names who, and `looks` says where to look."""

    def __init__(self, soak):
        self.soak, self.world, self.db = soak, soak.world, soak.world.db
        self.lines, self.wrong, self.facts = [], [], []

    def line(self, what, asked, done, lost=(), repeated=(), disorder=(), marked=0, more=()):
        self.lines.append((what, asked, done, len(lost), len(repeated), len(disorder), marked))
        for kind, several in (("lost", lost), ("repeated", repeated), ("out of order", disorder), ("wrong", more)):
            several = list(several)
            self.wrong += [f"{what}, {kind}: {one}" for one in several[:SHOWN]]
            if len(several) > SHOWN:
                self.wrong.append(f"{what}, {kind}: and {len(several) - SHOWN} more")

    def all(self):
        self.gate()
        self.titles()
        self.patrons()
        self.poison()
        self.lag()

    # ---- the gate ----

    def read_gate(self):
        self.preregs = self.world.sandbox.preregs()
        self.at_gate = collections.defaultdict(list)
        for p in self.preregs:
            self.at_gate[p["visitorId"], p["destination"], int(p["startTime"]), int(p["endTime"])].append(p)
        self.rows = self.db.rows(
            "SELECT a.appt_id::text, a.source, a.location_id, a.booking_id, a.asked_id, a.destination, extract(epoch FROM starts_at)::bigint,"
            " extract(epoch FROM ends_at)::bigint, wanted, answer, prereg_id, coalesce(a.visitor_id, u.visitor_id), maybe_made,"
            " extract(epoch FROM unwanted_at)::float FROM appts a LEFT JOIN users u ON u.primary_id = a.primary_id")
        self.desk = collections.defaultdict(set)
        for kind, subject in self.world.desk():
            self.desk[subject].add(kind)

    def gate(self):
        self.read_gate()
        lost, repeated, more, late = [], [], [], []
        ids = {str(p["id"]): p for p in self.preregs}
        claimed, made, wanted, strangers = set(), 0, 0, 0
        for (appt_id, source, _lid, booking_id, asked_id, destination, start, end, is_wanted, answer, prereg_id, visitor_id, maybe_made,
             unwanted_at) in self.rows:
            there = self.at_gate.get((visitor_id, destination, start, end), [])
            name = f"{source} {booking_id}, appt_id {appt_id}, {answer}"
            claimed |= {str(p["id"]) for p in there}
            wanted += is_wanted
            marks = self.desk[appt_id]
            if is_wanted and asked_id in self.soak.bookings.strangers:
                strangers += 1
                if there or answer != "unknown_id" or "unknown_id" not in marks:
                    more.append(f"{name}: a person Alma does not know")
            elif is_wanted:
                made += answer == "made" and len(there) >= 1
                if answer != "made" or not there:
                    lost.append(f"{name}: {len(there)} at the gate")
                elif prereg_id not in {str(p["id"]) for p in there}:
                    more.append(f"{name}: its pre-registration {prereg_id} is not at the gate as the row says")
            elif there or prereg_id or answer in ("made", "unknown") or maybe_made:
                if "withdraw" not in marks:
                    more.append(f"{name}: cancelled, at the gate, and not on the desk to be withdrawn")
                late += [f"{name}: cancelled at {unwanted_at:.1f}, made at {p['at']:.1f}" for p in there
                         if unwanted_at and p["at"] > unwanted_at + LATE_S + self.soak.slept_s]
            if len(there) > 1 and not (self.soak.repeats and maybe_made and marks & {"maybe_twice", "withdraw"}):
                repeated.append(f"{name}: {len(there)} at the gate, marked {sorted(marks) or 'nowhere'}")
            if maybe_made and is_wanted and answer == "made" and "maybe_twice" not in marks:
                more.append(f"{name}: may be there twice, and the desk does not know")
        more += [f"pre-registration {p}: no row knows it" for p in sorted(ids.keys() - claimed)]
        for source, bookings in (("libcal", self.soak.bookings.bookings), ("webcheckout", self.soak.allocations.bookings)):
            more += self.wanted_differences(source, bookings)
        marked = sum(bool(kinds & {"maybe_twice", "withdraw"}) for kinds in self.desk.values())
        self.line("windows at the gate", wanted - strangers, made, lost, repeated, self.disorder(), marked,
                  more + [f"{one}" for one in late])
        cards = collections.Counter(v["uniqueId"] for v in self.world.sandbox.visitors())
        people = {r[4] for r in self.rows if r[11]}
        self.line("visitors", len(people), len(cards), repeated=[f"card of visitor {c}: {n} visitors" for c, n in cards.items() if n > 1])
        if strangers:
            self.line("people Alma does not know", strangers, 0, marked=strangers)

    def wanted_differences(self, source, bookings):
        lids = self.soak.bookings.lids() if source == "libcal" else [CENTER]
        found = []
        for lid in lids:
            rows = self.db.rows(WINDOWS, source, str(lid))
            of = self.soak.bookings.of(lid) if source == "libcal" else bookings
            found += differences(of, rows)
        return found

    def disorder(self):
        """One person's windows were made in the order of their messages, but for those that a person spoke of in between."""
        first, by_key = {}, collections.defaultdict(list)
        spoken = self.soak.spoken | {r[0] for r in self.db.rows(
            "SELECT DISTINCT subject FROM attempts WHERE stage = 'prereg-create' AND code = 'visitor_gone'")}
        for m in self.world.read_topic("prereg.create"):
            if m.value in self.soak.poison.sent["prereg.create"]:
                continue
            appt_id = m.json()["appt_id"]
            if appt_id not in first:
                first[appt_id] = m.offset
                by_key[m.key].append(appt_id)
        made_at = {}
        for r in self.rows:
            there = self.at_gate.get((r[11], r[5], r[6], r[7]))
            if there and r[0] not in spoken:
                made_at[r[0]] = min(p["id"] for p in there)
        found = []
        for appts in by_key.values():
            order = [(made_at[a], a) for a in appts if a in made_at]
            found += [f"appt_id {b} was made before {a}, which came first" for (at, a), (then, b) in zip(order, order[1:]) if then < at]
        return found

    # ---- the catalog ----

    def titles(self):
        found = self.soak.changes.catalog.differences()
        counts = self.world.sandbox.counts("oneclick")
        self.line("titles as OneClick has them", counts["titles"], counts["titles"] - len(found),
                  [f"{isbn} (ours, OneClick's): {what}" for isbn, what in found])

    # ---- patrons ----

    def patrons(self):
        patrons, refs = self.soak.patrons, self.soak.patrons.refs()
        rows = {ref: row for ref, *row in self.db.rows("SELECT ref, request_id::text, state, code FROM requests")}
        folio = {kind: collections.Counter((e["userId"], e["itemId"]) for e in self.effects("folio", kind)) for kind in ("renewals", "holds")}
        wise = collections.Counter((e["patronSystemId"], str(e["bibliographicRecordId"])) for e in self.effects("wise", "holds"))
        deeds = {kind: self.effects("oneclick", kind) for kind in ("loans", "renewals", "returns")}
        at = {kind: {(d["card"], d["id"]): d["at"] for d in found} for kind, found in deeds.items()}
        deeds = {kind: collections.Counter((d["card"], d["id"]) for d in found) for kind, found in deeds.items()}
        for service, several in patrons.each.items():
            lost, repeated, disorder, done = [], [], [], 0
            mine = [ref for ref in refs if refs[ref][0] == service and ref in patrons.taken]
            for ref in mine:
                _, patron, action, asked = refs[ref]
                request_id, state, code = rows.get(ref, (None, "absent", None))
                name = f"ref {ref}, request {request_id}, {action}, {state} {code}"
                effects = {
                    "renew": lambda: [folio["renewals"].pop((patron, asked["item"]), 0) if service == "folio"
                                      else deeds["renewals"].pop((patron, asked["isbn"]), 0)],
                    "hold_item": lambda: [folio["holds"].pop((patron, asked["item"]), 0)],
                    "hold": lambda: [wise.pop((patron, asked["title"]), 0)],
                    "holds": lambda: [wise.pop((patron, title), 0) for title in asked["titles"]],
                    "checkout": lambda: [deeds["loans"].pop((patron, asked["isbn"]), 0)],
                    "return": lambda: [deeds["returns"].pop((patron, asked["isbn"]), 0)],
                }.get(action, lambda: [1])()
                done += state == "done" and effects == [1] * len(effects)
                if state != "done" or 0 in effects or request_id != patrons.taken[ref]:
                    lost.append(f"{name}: done {effects} times")
                if max(effects) > 1:
                    repeated.append(f"{name}: done {effects} times")
                if action == "return":
                    when = [at[kind].get((patron, asked["isbn"]), 0) for kind in ("loans", "renewals", "returns")]
                    disorder += [f"{name}: borrowed, renewed, returned at {when}"] if when != sorted(when) else []
            left = {"folio": [folio["renewals"], folio["holds"]], "wise": [wise], "oneclick": list(deeds.values())}[service]
            more = [f"an effect nobody asked for: {key}" for counter in left for key in counter]
            self.line(f"requests to {service}", len(mine), done, lost, repeated, disorder, more=more)
        unknown = rows.keys() - patrons.taken.keys()
        self.wrong += patrons.faults + [f"requests that were never answered as taken, and have not ended: {unknown}"
                                        for unknown in [[r for r in unknown if rows[r][1] in ("accepted", "waiting")]] if unknown]

    def effects(self, vendor, kind):
        found = self.world.sandbox.admin("GET", "/effects", vendor=vendor, kind=kind, limit=1000000)
        return found["deeds"] if vendor == "oneclick" else found[kind]

    # ---- Kafka ----

    def poison(self):
        asked = done = again = 0
        lost, more = [], []
        for topic, sent in self.soak.poison.sent.items():
            dead = collections.Counter(m.value for m in self.soak.dead[topic])
            asked, done = asked + len(sent), done + len(sent & dead.keys())
            again += sum(n - 1 for n in dead.values())
            lost += [f"{value[:60]} is not in {topic}.dlq" for value in sent - dead.keys()]
            more += [f"{topic}.dlq has {value[:200]}" for value in dead.keys() - sent]
        self.line("poison in the dead letters", asked, done, lost, more=more)
        self.facts.append(f"dead letters that stand there twice, since a crash came between their acknowledgement and the offset: {again}")

    def lag(self):
        lags = {program: self.world.lag(program) for program in READS}
        self.line("messages left in Kafka (lag)", 0, 0, [f"{program} lags by {lag}" for program, lag in lags.items() if lag])

    # ---- the table ----

    def table(self):
        wide = max(len(line[0]) for line in self.lines)
        out = [" " * wide + "".join(f"{c:>11}" for c in COLUMNS)]
        for what, *figures in self.lines:
            out.append(f"{what:{wide}}" + "".join(f"{figure:>11,}" for figure in figures))
        return "\n".join(out)

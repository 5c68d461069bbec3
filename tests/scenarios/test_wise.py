"""Patrons' holds at OCLC Wise: prepared, placed once, cancelled, listed; whatever happens on the way."""
import datetime
import hashlib
import json

import jsonschema
import pytest
from patrons import Requests
from shelfwire import SCHEMAS, UTC, keeps_true, wait_for

LIBRARY, HOME = "I649", "6490"
NAMED = {"KAFKA_GROUP_INSTANCE_ID": "one"}
DAY = datetime.timedelta(days=1)


def patron(number):
    """A patronSystemId, which is a person's."""
    return hashlib.md5(b"patron %d" % number).hexdigest()


def due(days=90):
    return (datetime.datetime.now(UTC) + days * DAY).strftime("%Y-%m-%d")


class Wise(Requests):
    """Wise's side of a world, and ours."""

    schema = json.loads((SCHEMAS / "request.wise.schema.json").read_text())

    def __init__(self, world):
        super().__init__(world, "wise.holds.prepare", "wise.holds.place")
        self.sandbox, self.numbers = world.sandbox, 0
        self.sandbox.settings(wise={"accept_all_titles": True, "accept_all_patrons": True})

    def someone(self):
        self.numbers += 1
        self.world.secrets.add(patron(self.numbers))  # no log may name one
        return patron(self.numbers)

    def start(self, *names, **changed):
        changed = {"WISE_TIMEOUT_MS": 1000, **changed}
        started = [self.world.begin(name, **changed) for name in names or ("wise-holds-prepare", "wise-holds-place")]
        return [p.ready() for p in started]

    def want(self, action, who, **asked):
        """A request as a caller would write it."""
        asked = {"library": LIBRARY, **asked}
        jsonschema.validate({"action": action, **asked}, self.schema, jsonschema.Draft202012Validator)
        return self.ask("wise", action, who, **asked)

    def hold(self, who, title="4595", **more):
        return self.want("hold", who, title=title, branch=HOME, **more)

    def holds(self, who, titles=("1137719", "4595"), type="ALL", **more):
        return self.want("holds", who, titles=list(titles), type=type, **{"pickup": HOME, **more})

    def list(self, who):
        return self.want("list", who)

    def titles(self, *titles):
        self.sandbox.admin("POST", "/wise/titles", list(titles))

    def loaded(self, who, title, **more):
        """A hold the patron has had before; its id."""
        self.sandbox.settings(wise={"accept_all_patrons": True})
        self.sandbox.admin("POST", "/wise/patrons", [{"patronSystemId": who}])
        hold = {"patronSystemId": who, "bibliographicRecordId": title, **more}
        return self.sandbox.admin("POST", "/wise/holds", [hold])["ids"][0]

    # ---- what was done there ----

    def effects(self, kind, who=None):
        return [e for e in self.sandbox.admin("GET", "/effects", vendor="wise", kind=kind, limit=100000)[kind]
                if who in (None, e.get("patronSystemId"))]

    def placed(self, who=None):
        """The titles put on hold, in order."""
        return [h["bibliographicRecordId"] for h in self.effects("holds", who)]

    def cancels(self):
        return [str(c["id"]) for c in self.effects("cancels")]

    def calls(self, call, who=None):
        return [c for c in self.sandbox.calls("wise", call) if who is None or who in c["target"]]

    def fault(self, call, kind, **members):
        return self.sandbox.fault("wise", call, kind, **members)

    def assert_quiet(self):
        """Nothing for a person to do."""
        assert self.world.desk() == []
        for topic in ("wise.holds.prepare", "wise.holds.place"):
            assert not self.world.dead_letters(topic)

    def settle(self, timeout=60):
        self.await_all(timeout)
        self.world.await_no_lag("wise-holds-prepare", "wise-holds-place")


@pytest.fixture
def wise(world):
    return Wise(world)


# ---- what is done ----

def test_every_kind_of_request_is_done(wise):
    a, b, c, d = (wise.someone() for _ in range(4))
    wise.titles({"id": "3407533", "title": "Gebrandschilderd glas", "author": "Lee, Lawrence", "placementCost": 0.5,
                 "queue": 2})
    wise.start()
    until = due()
    single = wise.hold(a, "3407533", pickup="6491", due=until, cost_max=0.50)
    one, all_ = wise.holds(b, type="ONE", due=until), wise.holds(c)
    row = wise.await_state(single, "done")
    assert (row["code"], row["words"]) == ("placed", None) and row["answered_at"]
    (hold,) = row["outcome"]["holds"]
    (there,) = wise.effects("holds", a)
    assert (hold["hold"], hold["number"], hold["title"]) == (str(there["id"]), str(there["holdNumber"]), "3407533")
    assert (hold["pickup"], hold["pickup_name"], hold["due"], hold["status"]) == ("6491", "Negenmanneke", until, "ACTIVE")
    assert (hold["name"], hold["author"]) == ("Gebrandschilderd glas", "Lee, Lawrence")
    assert {m: row["outcome"][m] for m in ("missing", "ill", "cost")} == {"missing": [], "ill": False, "cost": "0.50"}
    asked = [c["target"].rsplit("/", 1)[1] for c in wise.calls("preparehold", a)]
    assert asked == ["6490", "6491"], "it is prepared for the patron's branch, and again for the one it is to be fetched at"
    known = row["known"]["prepared"]
    assert known["offer"]["queue"] == 3 and known["offer"]["pickup"] == "6491" and known["parameters"]
    assert {"branch": "6492", "name": "Ruisbroek"} in known["offer"]["pickups"]

    grouped = wise.await_state(one, "done")["outcome"]["holds"]
    assert [h["title"] for h in grouped] == ["4595", "1137719"]
    assert grouped[0]["group"] and grouped[0]["group"] == grouped[1]["group"]
    apart = wise.await_state(all_, "done")["outcome"]
    assert {h["title"] for h in apart["holds"]} == {"1137719", "4595"} and not apart["holds"][0]["group"]

    listed = wise.await_state(wise.list(c), "done")["outcome"]
    assert listed == {"holds": apart["holds"], "complete": True}
    assert wise.await_state(wise.list(d), "done")["outcome"] == {"holds": [], "complete": True}
    first, second = apart["holds"]
    by_id = wise.want("cancel_hold", c, hold=first["hold"])
    by_number = wise.want("cancel_hold", c, hold=second["number"])
    assert wise.await_state(by_id, "done")["outcome"] == {m: first[m] for m in ("hold", "number", "title")}
    assert wise.await_state(by_number, "done")["outcome"] == {m: second[m] for m in ("hold", "number", "title")}
    assert wise.cancels() == [first["hold"], second["hold"]]
    wise.settle()
    assert sorted(wise.placed()) == ["1137719", "1137719", "3407533", "4595", "4595"]
    assert wise.sandbox.count("wise", "proxy") == 7, "a patron's token is asked for once by each program, and kept"
    wise.assert_quiet()


# what is asked, what Wise has, state, code, what the outcome says besides
ASKED = [
    ("dearer than agreed", {"cost_max": 2.49}, {"placementCost": 2.5}, "asks", "too_dear", {"cost": "2.50", "hold": True}),
    ("as dear as agreed", {"cost_max": 2.50}, {"placementCost": 2.5}, "done", "placed", {"cost": "2.50", "ill": False}),
    ("any cost is agreed to", {}, {"placementCost": 2.5}, "done", "placed", {"cost": "2.50"}),
    ("only from another library", {}, {"hold": False, "ill": True}, "asks", "only_ill", {"hold": False, "ill": True}),
    ("only from another library, and dear", {"cost_max": 1}, {"hold": False, "ill": True, "lendingFee": 3}, "asks", "only_ill",
     {"cost": "3.00"}),
    ("from another library, as agreed", {"ill": "if_needed"}, {"hold": False, "ill": True}, "done", "placed", {"ill": True}),
    ("from another library and nothing else", {"ill": "only"}, {"ill": True}, "done", "placed", {"ill": True}),
    ("from another library and nothing else, only a hold", {"ill": "only"}, {}, "asks", "only_hold",
     {"hold": True, "ill": False}),
    ("from another library, not needed", {"ill": "if_needed"}, {"ill": True}, "done", "placed", {"ill": False}),
    ("not at that branch", {"pickup": "9999"}, {}, "asks", "branch_not_offered", {"pickup": HOME}),
    ("not at all", {"ill": "if_needed"}, {"hold": False}, "refused", "not_possible", {"hold": False, "ill": False}),
    ("an issue is to be chosen", {}, {"chooseIssueFirst": True}, "refused", "choose_issue", {}),
]


def test_what_is_not_as_it_was_asked_is_not_placed(wise):
    """And the caller hears what would be possible, in words and figures."""
    asked = {}
    for number, (when, members, title, *want) in enumerate(ASKED):
        wise.titles({"id": str(1000 + number), **title})
        asked[wise.hold(wise.someone(), str(1000 + number), **members)] = when, *want
    several = {
        wise.holds(wise.someone(), ["1000", "7777"], cost_max=2.49): ("asks", "too_dear"),  # it may be each one's cost
        wise.holds(wise.someone(), ["7777", "7778"], fast=True): ("asks", "fast_not_possible"),
        wise.holds(wise.someone(), ["7777", "1003"]): ("asks", "only_ill"),
        wise.holds(wise.someone(), ["7777", "1010"]): ("refused", "not_possible"),
        wise.holds(wise.someone(), ["7777", "1010"], "ONE"): ("done", "placed"),
    }
    wise.start()
    wise.await_all()
    for request_id, (when, state, code, outcome) in asked.items():
        row = wise.row(request_id)
        assert (row["state"], row["code"]) == (state, code), f"{when}: {row}"
        assert {m: row["outcome"][m] for m in outcome} == outcome, when
        assert bool(row["words"]) == (state != "done"), when
    for request_id, want in several.items():
        row = wise.row(request_id)
        assert (row["state"], row["code"]) == want, row
        assert {t["title"] for t in row["outcome"]["titles"]} == set(row["asked"]["titles"]) if want[0] != "done" else True
    done = [when for when, state, *_ in asked.values() if state == "done"]
    assert len(wise.placed()) == len(done) + 1 and wise.sandbox.counts("wise")["ill"] == 2
    wise.assert_quiet()


def test_a_title_that_cannot_be_fetched_at_the_branch_says_where_it_can(wise):
    wise.start("wise-holds-prepare")
    row = wise.await_state(wise.hold(wise.someone(), pickup="9999"), "asks")
    assert {b["branch"] for b in row["outcome"]["pickups"]} == {"6491", "6492", "6493"}


# ---- refusals ----

def test_a_refusal_is_told_in_wises_words_and_not_repeated(wise):
    told = "not possible for you just now"
    where = {"preparehold": wise.hold, "holdoption": wise.holds, "place": wise.hold, "place_several": wise.holds,
             "list": wise.list, "proxy": wise.hold}
    asked, refused = {}, {}
    for call, want in where.items():
        who = wise.someone()
        if call == "proxy":
            refused[call] = wise.want("hold", who, title="4595", branch=HOME, library="I000")  # not the patron's
            asked[call] = who
            continue
        for shape in ("refused", "refused_in_words"):
            who = wise.someone()
            wise.fault(call, shape, key=who)
            refused[call, shape], asked[call, shape] = want(who), who
    gone = wise.someone()
    refused["cancel_gone"] = wise.want("cancel_hold", gone, hold="617984999")
    keeps = wise.someone()
    kept = wise.loaded(keeps, "4595", cancelAllowed=False)
    refused["cancel_kept"] = wise.want("cancel_hold", keeps, hold=kept)
    wise.sandbox.settings(wise={"holds_max": 1})
    full = wise.someone()
    wise.loaded(full, "7")
    refused["too_many"] = wise.hold(full)
    bad = {"no title": ("hold", {"branch": HOME}), "no action": ("renew", {}),
           "bad cost": ("hold", {"title": "1", "branch": HOME, "cost_max": "2.5"}),
           "a title twice": ("holds", {"titles": ["1", "1"], "type": "ONE", "pickup": HOME})}
    for when, (action, members) in bad.items():
        refused[when] = wise.ask("wise", action, wise.someone(), library=LIBRARY, **members)
    wise.start()
    wise.await_all()
    for when, request_id in refused.items():
        row = wise.row(request_id)
        assert row["state"] == "refused" and row["words"], f"{when}: {row}"
        if isinstance(when, tuple):
            assert row["code"] == "refused" and told in row["words"], f"{when}: {row}"
        elif when in bad:
            assert row["code"] == "bad_request", f"{when}: {row}"
    codes = {when: wise.row(request_id)["code"] for when, request_id in refused.items()}
    assert (codes["proxy"], codes["cancel_gone"], codes["cancel_kept"], codes["too_many"]) == (
        "not_found", "not_found", "not_allowed", "refused")
    assert "as many holds as you may have" in wise.row(refused["too_many"])["words"]
    assert wise.placed() == [] and wise.cancels() == []
    before = {call: wise.sandbox.count("wise", call) for call in (*where, "cancel")}
    wise.send(*refused.values())
    wise.settle()
    assert {call: wise.sandbox.count("wise", call) for call in (*where, "cancel")} == before, "a refused request was sent again"
    wise.assert_quiet()


def test_what_was_prepared_may_be_stale(wise):
    """Wise refuses what it no longer knows: the caller hears that asking again may help."""
    old, changed = wise.someone(), wise.someone()
    wise.fault("place", "refused", key=old)
    wise.start("wise-holds-prepare")
    requests = [wise.hold(old), wise.hold(changed)]
    for request_id in requests:
        wait_for(lambda: (wise.row(request_id)["known"] or {}).get("prepared"), lambda: wise.row(request_id))
    for who, member, value in ((old, "at", 1700000000), (changed, "parameters", "N;N649;X")):
        wise.db.rows("UPDATE requests SET known = jsonb_set(known, %s, %s) WHERE patron = %s", ["prepared", member],
                     json.dumps(value), who)
    wise.start("wise-holds-place")
    for request_id, words in zip(requests, ("not possible for you", "holdParameters are not those")):
        row = wise.await_state(request_id, "refused")
        assert row["code"] == "stale" and words in row["words"] and "ask again" in row["words"], row
    assert wise.placed() == []


# ---- answers that do not come ----

CODES = {"place": "placed", "place_several": "placed", "cancel": "cancelled", "list": "listed"}

LOST = [
    ("drop_after", {}), ("drop_before", {}), ("reset_after", {}), ("truncate", {}), ("not_json", {"effect": True}),
    ("status", {"status": 500, "effect": True}), ("status", {"status": 500}), ("status", {"status": 502, "effect": True}),
    ("status", {"status": 503}), ("stall", {"effect": True, "ms": 1500}), ("stall", {"effect": "late", "ms": 3000}),
    ("unauthorized", {}), ("rate_limited", {"retry_after": 1}), ("status", {"status": 403, "body": "{}"}),
]


def test_a_request_whose_answer_is_lost_is_done_once(wise):
    """Every kind of request times everything that can become of its one call, a patron each; others are well meanwhile."""
    want = {}
    wise.start(CONCURRENCY=8, RETRY_MS_MAX=200, TRIES_MAX=50)
    for kind, members in LOST:
        faults = []
        for call in ("place", "place_several", "cancel", "list"):
            who, well = wise.someone(), wise.someone()
            members_of = {m: v for m, v in members.items() if call != "list" or m != "effect"}
            faults.append(wise.fault(call, kind, key=who, count=1, **members_of))
            if call == "cancel":
                request_id = wise.want("cancel_hold", who, hold=wise.loaded(who, "4595"))
            else:
                request_id = {"place": wise.hold, "place_several": wise.holds, "list": wise.list}[call](who)
            want[request_id] = call, who, f"{call} {kind} {members}"
            wise.list(well)
        wait_for(lambda: all(wise.sandbox.fired(f) for f in faults), lambda: f"{kind}: {wise.states()}" + wise.tails())
    wise.settle(90)
    for request_id, (call, who, when) in want.items():
        row = wise.row(request_id)
        assert (row["state"], row["code"]) == ("done", CODES[call]), f"{when}: {row}"
        titles = {"place": ["4595"], "place_several": ["1137719", "4595"]}.get(call, [])
        assert wise.placed(who) == titles, f"{when}: {row}"
        if titles:
            assert sorted(h["title"] for h in row["outcome"]["holds"]) == titles and not row["outcome"]["missing"], when
    assert all(f["fired"] == 1 for f in wise.sandbox.faults()), [f for f in wise.sandbox.faults() if f["fired"] != 1]
    cancelled = [row["outcome"]["hold"] for row in map(wise.row, want) if row["action"] == "cancel_hold"]
    assert sorted(wise.cancels()) == sorted(cancelled)
    assert wise.effects("duplicates") == []
    wise.assert_quiet()


def test_reading_calls_that_fail_are_made_again(wise):
    want = {}
    wise.start(CONCURRENCY=8, RETRY_MS_MAX=200, TRIES_MAX=50)
    faults = ("drop_after", {}), ("status", {"status": 500}), ("not_json", {}), ("unauthorized", {}), ("empty", {})
    for kind, members in faults:
        for call in ("preparehold", "holdoption", "proxy"):
            who = wise.someone()
            wise.fault(call, kind, key=who, count=1, **members)
            want[wise.holds(who) if call == "holdoption" else wise.hold(who)] = call, kind
            wise.hold(wise.someone())
    wise.settle()
    assert wise.states() == {"done": 2 * len(want)}
    assert all(f["fired"] == 1 for f in wise.sandbox.faults())
    assert len(wise.placed()) == len(want) + sum(2 if call == "holdoption" else 1 for call, _ in want.values())
    assert wise.effects("duplicates") == []
    wise.assert_quiet()


def late(wise, who, call):
    """A placing that arrives only after it was given up, and sent again: at Wise it is there twice."""
    stalled = wise.fault(call, "stall", key=who, count=1, effect="late")
    listing = wise.fault("list", "stall", key=who, skip=2, count=1)  # before, became; then after
    return stalled, listing


def test_the_list_of_holds_decides_by_what_was_there_before(wise):
    mine, half, one, two = (wise.someone() for _ in range(4))
    earlier = wise.loaded(mine, "4595")  # placed today by the patron, not by us
    wise.fault("place", "drop_before", key=mine, count=1)
    lost = wise.fault("place_several", "drop_before", key=half, count=1)
    faults = [late(wise, one, "place"), late(wise, two, "place_several")]
    requests = [wise.hold(mine), wise.holds(half, ["1", "2", "3"]), wise.hold(one), wise.holds(two, type="ONE")]
    wise.start(WISE_TIMEOUT_MS=2000)
    wait_for(lambda: wise.sandbox.fired(lost), "nothing was sent")
    there = wise.loaded(half, "2")  # Wise stopped half way, and nobody heard of it
    wait_for(lambda: sum(wise.sandbox.fired(listing) for _, listing in faults) == 2, lambda: f"{wise.states()}" + wise.tails())
    for stalled, _ in faults:
        wise.sandbox.heal(stalled)
    wait_for(lambda: len(wise.placed(one) + wise.placed(two)) == 2 * 3, wise.placed)
    for _, listing in faults:
        wise.sandbox.heal(listing)
    rows = [wise.await_state(r, "done") for r in requests]
    assert [row["code"] for row in rows] == ["placed", "placed", "maybe_twice", "maybe_twice"]

    (hold,) = rows[0]["outcome"]["holds"]
    assert hold["hold"] != earlier and wise.placed(mine) == ["4595"]
    found = {h["title"]: h["hold"] for h in rows[1]["outcome"]["holds"]}
    assert set(found) == {"1", "2", "3"} and found["2"] == there
    assert wise.placed(half) == ["1", "3"], "only what is missing is sent again"
    # what is placed twice is never silent
    assert [len(row["outcome"]["holds"]) for row in rows[2:]] == [2, 4], "the outcome shows both"
    assert sorted(wise.world.desk()) == sorted(("maybe_twice", r) for r in requests[2:])


def test_a_second_placing_that_is_refused_finds_the_first(wise):
    """Wise takes no second hold on a title, and the first call arrived after all."""
    who = wise.someone()
    wise.sandbox.settings(wise={"duplicate_status": 200})
    stalled = wise.fault("place", "stall", key=who, count=1, effect="late")
    listing = wise.fault("place", "stall", key=who, skip=0, count=1)
    request_id = wise.hold(who)
    wise.start(WISE_TIMEOUT_MS=2000)
    wait_for(lambda: wise.sandbox.fired(listing), lambda: f"{wise.states()}" + wise.tails(), 40)
    wise.sandbox.heal(stalled)
    wait_for(lambda: wise.placed(who) == ["4595"], lambda: wise.placed(who))
    wise.sandbox.heal(listing)
    row = wise.await_state(request_id, "done")
    assert row["code"] == "placed" and wise.placed(who) == ["4595"], row
    assert len(wise.calls("place", who)) == 2
    wise.assert_quiet()


# ---- kill -9 ----

def test_kill_9_in_mid_call(wise):
    """Of each changing call one has arrived, and one never does."""
    want = {}
    for effect in (False, True):
        for call in ("place", "place_several", "cancel", "list"):
            who = wise.someone()
            held = wise.loaded(who, "7") if call == "cancel" else None
            wise.fault(call, "stall", key=who, effect=effect and call != "list")
            request_id = (wise.want("cancel_hold", who, hold=held) if held else
                          {"place": wise.hold, "place_several": wise.holds, "list": wise.list}[call](who))
            want[request_id] = call, who, held
    _, worker = wise.start(WISE_TIMEOUT_MS=4000, CONCURRENCY=8, **NAMED)

    def under_way():
        return sum(wise.sandbox.count("wise", call, "in_flight") for call in ("place", "place_several", "cancel", "list")) == 8
    wait_for(under_way, lambda: f"not all calls are under way: {wise.states()}" + wise.tails())
    worker.kill9()
    wise.sandbox.heal()
    assert len(wise.placed()) == 3 and len(wise.cancels()) == 1
    assert wise.states() == {"accepted": 8}
    wise.start("wise-holds-place", WISE_TIMEOUT_MS=500, **NAMED)
    wise.settle()
    for request_id, (call, who, held) in want.items():
        row = wise.row(request_id)
        assert (row["state"], row["code"]) == ("done", CODES[call]), row
        assert wise.placed(who) == {"place": ["4595"], "place_several": ["1137719", "4595"]}.get(call, []), row
    assert sorted(wise.cancels()) == sorted(held for *_, held in want.values() if held)
    wise.assert_quiet()


def test_kill_9_between_the_answer_and_the_commit(wise):
    """Wise has said yes, and nobody has written it down."""
    a, b, c = (wise.someone() for _ in range(3))
    held = wise.loaded(c, "4595")
    stalls = [wise.fault(call, "stall", effect=True) for call in ("place", "place_several", "cancel")]
    requests = [wise.hold(a), wise.holds(b), wise.want("cancel_hold", c, hold=held)]
    _, worker = wise.start(WISE_TIMEOUT_MS=4000, **NAMED)
    wait_for(lambda: len(wise.placed()) == 3 and len(wise.cancels()) == 1, lambda: f"{wise.states()}" + wise.tails())
    with wise.db.locked("requests", "SHARE"):
        for stalled in stalls:
            wise.sandbox.heal(stalled)
        wait_for(lambda: wise.sandbox.count("wise", "place", "200") and wise.db.waiting(), "no outcome waits for the lock")
        worker.kill9()
        wise.db.end_sessions()
    assert wise.states() == {"accepted": 3}
    wise.start("wise-holds-place", WISE_TIMEOUT_MS=500, **NAMED)
    wise.settle()
    assert [wise.row(r)["code"] for r in requests] == ["placed", "placed", "cancelled"]
    assert (wise.placed(a), wise.placed(b), wise.cancels()) == (["4595"], ["1137719", "4595"], [held])
    wise.assert_quiet()


def test_kill_9_of_wise_holds_prepare_loses_nothing(wise):
    people = [wise.someone() for _ in range(6)]
    stalled = wise.fault("preparehold", "stall")
    requests = [wise.hold(who) for who in people]
    worker, _ = wise.start(WISE_TIMEOUT_MS=10000, **NAMED)
    wait_for(lambda: wise.sandbox.count("wise", "preparehold", "in_flight") == 4, "no calls under way")
    worker.kill9()
    wise.sandbox.heal(stalled)
    wise.start("wise-holds-prepare", **NAMED)
    wise.settle()
    assert wise.states() == {"done": 6} and len(wise.placed()) == 6 and requests
    wise.assert_quiet()


# ---- order, repetition, several workers ----

def test_two_workers_and_every_message_twice(wise):
    people = [wise.someone() for _ in range(8)]
    asked = {}
    for who in people:
        asked[who] = wise.hold(who, "1"), wise.holds(who, ["2", "3"]), wise.list(who), wise.hold(who, "4")
    wise.send(*wise.asked)
    wise.start("wise-holds-prepare", "wise-holds-place", "wise-holds-prepare", "wise-holds-place")
    wise.send(*wise.asked)
    wise.settle()
    wise.send(*wise.asked)
    wise.send(*wise.asked, topic="wise.holds.place")
    wise.settle()
    assert wise.states() == {"done": 32}
    for who, (_, _, listed, _) in asked.items():
        assert wise.placed(who) == ["1", "2", "3", "4"], "a patron's requests are done in order, each once"
        assert {h["title"] for h in wise.row(listed)["outcome"]["holds"]} == {"1", "2", "3"}
    assert wise.effects("duplicates") == []
    wise.assert_quiet()


def test_one_patron_waits_for_themselves_alone(wise):
    slow, other = wise.someone(), wise.someone()
    stalled = wise.fault("place", "stall", key=slow, count=1)
    wise.start(WISE_TIMEOUT_MS=30000)
    first, second = wise.hold(slow, "1"), wise.hold(slow, "2")
    wait_for(lambda: wise.sandbox.count("wise", "place", "in_flight") == 1, "no call under way")
    wise.await_state(wise.hold(other, "3"), "done")
    assert [wise.row(r)["state"] for r in (first, second)] == ["accepted", "accepted"]
    wise.sandbox.heal(stalled)
    wise.await_state(second, "done")
    assert wise.row(first)["state"] == "done" and wise.placed(slow) == ["1", "2"]


def test_what_needs_no_preparing_does_not_overtake(wise):
    """A list that is asked for behind a hold shows it, although the hold is still being prepared."""
    who = wise.someone()
    stalled = wise.fault("preparehold", "stall", count=1)
    wise.start(WISE_TIMEOUT_MS=30000)
    hold, listed = wise.hold(who), wise.list(who)
    wait_for(lambda: wise.sandbox.count("wise", "preparehold", "in_flight") == 1, "no call under way")
    keeps_true(lambda: wise.row(listed)["state"] == "accepted", "it has overtaken", 0.5)
    wise.sandbox.heal(stalled)
    assert [h["title"] for h in wise.await_state(listed, "done")["outcome"]["holds"]] == ["4595"]
    assert wise.row(hold)["state"] == "done"


# ---- Wise is down, or refuses us ----

def test_an_outage_loses_nothing(wise):
    wise.world.own_door("wise")
    people = [wise.someone() for _ in range(10)]
    wise.sandbox.vendor("wise", down=True)
    wise.start(TRIES_MAX=1)
    requests = [wise.hold(who) if n % 2 else wise.list(who) for n, who in enumerate(people)]
    keeps_true(lambda: set(wise.states()) <= {"accepted", "waiting"}, lambda: wise.states(), 3)
    wise.sandbox.vendor("wise", down=False)
    wait_for(lambda: len(wise.placed()) >= 2, lambda: f"{wise.states()}" + wise.tails())
    wise.sandbox.vendor("wise", down=True)
    keeps_true(lambda: set(wise.states()) <= {"accepted", "waiting", "done"}, lambda: wise.states(), 1)  # with calls under way
    wise.sandbox.vendor("wise", down=False)
    wise.settle()
    assert wise.states() == {"done": 10} and len(wise.placed()) == 5 and requests
    assert wise.effects("duplicates") == []
    wise.assert_quiet()


def test_a_row_says_what_it_waits_for(wise):
    who = wise.someone()
    wise.fault("place", "status", status=503)
    wise.start(TRIES_MAX=1)
    request_id = wise.hold(who)
    row = wise.await_state(request_id, "waiting")
    assert row["waits_for"] == "unwell" and row["waits_since"]
    wise.sandbox.heal()
    row = wise.await_state(request_id, "done")
    assert row["waits_for"] is None and wise.placed(who) == ["4595"]


# ---- tokens ----

def test_tokens_that_are_revoked_are_asked_for_again(wise):
    people = [wise.someone() for _ in range(6)]
    wise.start()
    for who in people:
        wise.hold(who, "1")
    wise.await_all()
    wise.sandbox.vendor("wise", revoke_tokens=True)
    for who in people:
        wise.hold(who, "2")
    wise.settle()
    assert wise.states() == {"done": 12} and sorted(wise.placed()) == ["1"] * 6 + ["2"] * 6
    refused = sum(wise.sandbox.count("wise", call, "401") for call in ("preparehold", "list", "proxy"))
    assert 4 <= refused <= 20, "an old token is refused, and a new one asked for"
    wise.assert_quiet()


def test_a_token_is_not_used_beyond_its_day(wise):
    """The library's midnight is near: at 23:59:59 there every token ends, and nobody has to be refused to know."""
    now = datetime.datetime.now(UTC)
    left = 86400 - 8 - (now.hour * 3600 + now.minute * 60 + now.second)  # of UTC's day, but for 8 s
    offset = left if left < 43200 else left - 86400
    wise.sandbox.settings(wise={"utc_offset": offset})
    sign, hours = "-" if offset > 0 else "+", abs(offset)
    zone = f"WISE{sign}{hours // 3600}:{hours // 60 % 60:02d}:{hours % 60:02d}"
    who = wise.someone()
    wise.start(TZ=zone)
    wise.await_state(wise.hold(who, "1"), "done")
    logins = wise.sandbox.count("wise", "login")
    assert logins == 2
    wait_for(lambda: (datetime.datetime.now(UTC) + datetime.timedelta(seconds=offset)).hour == 0, "no midnight", 20)
    wait_for(lambda: wise.sandbox.count("wise", "login") >= 4, "no new log-ins at midnight", 20)
    wise.await_state(wise.hold(who, "2"), "done")
    assert wise.placed(who) == ["1", "2"]
    counts = wise.sandbox.counts("wise")["calls"]
    assert not {call: c for call, c in counts.items() if c.get("by_status", {}).get("401")}, counts


def test_a_patrons_token_refused_for_ever_holds_up_nobody_else(wise):
    sick, well = wise.someone(), [wise.someone() for _ in range(6)]
    wise.fault("preparehold", "unauthorized", key=sick)
    wise.start()
    refused = wise.hold(sick)
    for who in well:
        wise.hold(who)
    wait_for(lambda: wise.states().get("done") == 6, lambda: f"{wise.states()}" + wise.tails())
    assert wise.row(refused)["waits_for"] == "token_refused"
    wise.sandbox.heal()
    wise.await_state(refused, "done")
    wise.assert_quiet()


def test_staff_that_may_not_act_for_patrons_is_said(wise):
    wise.sandbox.settings(wise={"proxy_auth": False})
    worker, _ = wise.start()
    request_id = wise.hold(wise.someone())
    worker.await_log("does not let this account, key or address act for a patron")
    assert wise.await_state(request_id, "waiting")["waits_for"] == "proxy_refused"
    wise.assert_quiet()


# ---- settings ----

def test_check_says_what_is_wrong(wise):
    for program in ("wise-holds-prepare", "wise-holds-place"):
        it = wise.world.run(program, "--check")
        assert it.process.returncode == 0 and "ok  Wise log-in of staff" in it.log(), it.tail()
        for changed, code, words in (({"WISE_PASSWORD": "wrong"}, 100, "Wise refuses the user, the password or the WISE_KEY"),
                                     ({"WISE_API_KEY": "wrong"}, 100, "Wise refuses the user, the password or the WISE_KEY"),
                                     ({"WISE_API_ID": "a b"}, 100, "no WISE_KEY can be made"),
                                     ({"WISE_PATHS": "plain"}, 111, "no such path"),
                                     ({"WISE_URL": "http://127.0.0.1:1"}, 111, "no connection")):
            it = wise.world.run(program, "--check", **changed)
            assert it.process.returncode == code and words in it.log(), it.tail()


@pytest.mark.parametrize("root, words, paths", [("bare", "document", "auto"), ("bare", "client", "plain"),
                                                ("restapi", "document", "restapi-document")])
def test_paths_are_spelled_as_wise_understands_them(wise, root, words, paths):
    wise.sandbox.settings(wise={"root": root, "words": words})
    wise.start(WISE_PATHS=paths)
    who = wise.someone()
    wise.hold(who, "1")
    wise.holds(who, ["2", "3"], "ONE")
    wise.settle()
    assert wise.states() == {"done": 2} and wise.placed(who) == ["1", "2", "3"]
    unknown = wise.sandbox.count("wise", "other", "404")
    assert unknown == 0 if paths != "auto" else unknown < 10, "what worked is remembered"


@pytest.mark.parametrize("settings", [{"place_answer": "hold", "place_status": 201, "ids": "numbers"},
                                      {"place_answer": "empty", "ids": "strings"}, {"group_of_all": True, "page_max": 1}])
def test_wises_answers_may_look_otherwise(wise, settings):
    wise.sandbox.settings(wise=settings)
    who = wise.someone()
    for call, shape in (("preparehold", "no_queue"), ("holdoption", "printed"), ("place_several", "printed"),
                        ("list", "misspelled_status")):
        wise.fault(call, shape)
    wise.start(WISE_TIMEOUT_MS=500)
    hold, holds = wise.hold(who, "1"), wise.holds(who, ["2", "3"])
    wise.settle()
    assert wise.placed(who) == ["1", "2", "3"]
    for request_id, titles in ((hold, {"1"}), (holds, {"2", "3"})):
        row = wise.row(request_id)
        assert row["code"] == "placed" and {h["title"] for h in row["outcome"]["holds"]} == titles, row


def test_titles_that_wise_does_not_confirm_are_looked_for(wise):
    """Its answer names fewer titles than were sent: the list says which are there, and nothing is sent again."""
    all_there, some, none = wise.someone(), wise.someone(), wise.someone()
    wise.fault("place_several", "some_missing", key=all_there)
    wise.start("wise-holds-prepare")
    requests = [wise.holds(who, titles) for who, titles in ((all_there, ["1", "2"]), (some, ["1", "9001"]), (none, ["9001"]))]
    for request_id in requests:
        wait_for(lambda: (wise.row(request_id)["known"] or {}).get("prepared"), lambda: wise.row(request_id))
    wise.titles({"id": "9001", "hold": False})  # since it was prepared
    wise.start("wise-holds-place")
    rows = [wise.await_state(r, "done", "refused") for r in requests]
    assert [(row["state"], row["code"]) for row in rows] == [
        ("done", "placed"), ("done", "some_placed"), ("refused", "not_placed")]
    assert [row["outcome"] and row["outcome"]["missing"] for row in rows] == [[], ["9001"], None]
    assert wise.sandbox.count("wise", "place_several") == 3
    wise.assert_quiet()

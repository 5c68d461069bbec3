"""What patrons ask of FOLIO: seen, renewed, held, cancelled, once each; whatever happens on the way."""
import datetime
import json

import jsonschema
import pytest
from patrons import Requests
from shelfwire import SCHEMAS, UTC, keeps_true, stamp, wait_for

PICKUP = "963396d7-c96f-4bb1-a24c-42e868a8823d"
NAMED = {"KAFKA_GROUP_INSTANCE_ID": "one"}
API_KEY = "eyJzIjoic2FuZGJveCIsInQiOiJkaWt1IiwidSI6ImVkZ2UifQ=="
EDGE = {"FOLIO_API_KEY": API_KEY, "FOLIO_TENANT": None, "FOLIO_USERNAME": None, "FOLIO_PASSWORD": None}
HOLD_CALLS = {"hold_item": "holdItem", "hold_instance": "holdInstance"}
CHANGES = {"renew": "renew", **HOLD_CALLS, "cancel_hold": "cancelHold"}
CODES = {"account": "account", "renew": "renewed", "hold_item": "held", "hold_instance": "held", "cancel_hold": "cancelled"}


def uuid_of(kind, number):
    return f"{kind}0000000-0000-4000-8000-{number:012d}"


def item(number):
    return uuid_of(2, number)


def instance(number):
    return uuid_of(3, number)


def instant(days=0):
    return stamp(datetime.datetime.now(UTC) + datetime.timedelta(days=days))


class Folio(Requests):
    """FOLIO's side of a world, and ours."""

    schema = json.loads((SCHEMAS / "request.folio.schema.json").read_text())

    def __init__(self, world, edge=False, **settings):
        super().__init__(world, "folio.requests")
        self.sandbox, self.numbers, self.edge, self.user = world.sandbox, 0, edge, {}
        world.secrets.add(API_KEY)
        self.sandbox.settings(folio={"version": 6.5, "edge": edge, **settings})
        self.sandbox.admin("POST", "/folio/generate", {"users": 0, "items": 1000, "items_per_instance": 1})

    def someone(self):
        """Whom FOLIO knows, by the id that requests have."""
        self.numbers += 1
        user, name = uuid_of(1, self.numbers), f"reader-{self.numbers:05d}"
        self.sandbox.admin("POST", "/folio/users", [{"id": user, "externalSystemId": name}])
        self.world.secrets.update((user, name))  # no log may name one
        patron = name if self.edge else user
        self.user[patron] = user
        return patron

    def start(self, count=1, **changed):
        changed = {"FOLIO_TIMEOUT_MS": 1000, **(EDGE if self.edge else {}), **changed}
        started = [self.world.begin("folio-requests", **changed) for _ in range(count)]
        return [p.ready() for p in started]

    def want(self, action, who, **asked):
        """A request as a caller would write it."""
        jsonschema.validate({"action": action, **asked}, self.schema, jsonschema.Draft202012Validator)
        return self.ask("folio", action, who, **asked)

    def one(self, action, who, number=1):
        """A request of that action that FOLIO can do, of item `number`."""
        if action == "account":
            return self.want(action, who, loans=True, holds=True, charges=True)
        if action == "renew":
            self.lent(who, number)
            return self.want(action, who, item=item(number))
        if action == "cancel_hold":
            return self.want(action, who, hold=self.held(who, number))
        of = {"item": item(number)} if action == "hold_item" else {"instance": instance(number)}
        return self.want(action, who, pickup=PICKUP, **of)

    # ---- what there is ----

    def row_of(self, kind, **members):
        (made,) = self.sandbox.admin("POST", f"/folio/{kind}", [members])["ids"]
        return made

    def lent(self, who, number, due=7):
        return self.row_of("loans", userId=self.user[who], itemId=item(number), loanDate=instant(-7), dueDate=due and instant(due))

    def held(self, who, number, **more):
        return self.row_of("holds", userId=self.user[who], itemId=item(number),
                           **{"requestDate": instant(-3), "pickupLocationId": PICKUP, **more})

    # ---- what was done there ----

    def effects(self, kind, who=None):
        return [e for e in self.sandbox.admin("GET", "/effects", vendor="folio", kind=kind, limit=100000)[kind]
                if who is None or e["userId"] == self.user[who]]

    def done(self, who):
        """[kind] of all that was done for somebody."""
        return [kind for kind in ("renewals", "holds", "cancels") for _ in self.effects(kind, who)]

    def calls(self, call, who=None):
        return [c for c in self.sandbox.calls("folio", call) if who is None or f"/{who}" in c["target"]]

    def fault(self, call, kind, **members):
        return self.sandbox.fault("folio", call, kind, **members)

    def assert_quiet(self):
        """Nothing for a person to do."""
        assert self.world.desk() == []
        assert not self.world.dead_letters("folio.requests")

    def assert_once(self, done):
        """done: {request id: (action, patron)}: each is done, and was done at FOLIO once."""
        kinds = {"renew": ["renewals"], "hold_item": ["holds"], "hold_instance": ["holds"], "cancel_hold": ["cancels"]}
        for request_id, (action, who, *when) in done.items():
            row = self.row(request_id)
            assert (row["state"], row["code"]) == ("done", CODES[action]), f"{when}: {row}"
            assert self.done(who) == kinds.get(action, []), f"{when}: {row}"
            self.assert_outcome(row, who)
        counts = self.sandbox.counts("folio")
        assert (counts["repeated_renewals"], counts["duplicate_holds"], counts["foreign_cancels"]) == (0, 0, 0)

    def assert_outcome(self, row, who):
        outcome, action = row["outcome"], row["action"]
        if action == "renew":
            (there,) = self.effects("renewals", who)
            assert outcome["loan"]["due"][:19] == there["dueDate"][:19] > outcome["due_before"][:19] == there["dueBefore"][:19], row
            assert outcome["loan"]["item"] == row["asked"]["item"]
        elif action in HOLD_CALLS:
            (there,) = self.effects("holds", who)
            assert outcome["hold"]["hold"] == there["id"] and outcome["twice"] == [], row
            assert outcome["hold"]["item"] == there["itemId"] and outcome["hold"]["pickup"] in (PICKUP, None)
        elif action == "cancel_hold":
            assert outcome["hold"]["hold"] == row["asked"]["hold"]
        else:
            assert outcome["complete"], row

    def settle(self, timeout=60):
        self.await_all(timeout)
        self.world.await_no_lag("folio-requests")


@pytest.fixture
def folio(world):
    return Folio(world)


DOORS = {"3.0": {"version": 3.0}, "4.0": {"version": 4.0, "missing_call": "module"}, "6.5": {},
         "edge 3.0": {"edge": True, "version": 3.0}, "edge": {"edge": True}}


# ---- what is done ----

@pytest.mark.parametrize("door", DOORS)
def test_every_kind_of_request_is_done(world, door):
    folio = Folio(world, **DOORS[door])
    a, b = folio.someone(), folio.someone()
    folio.sandbox.admin("POST", "/folio/items", [{"itemId": item(1), "title": "Türkçe & more", "author": "Hopkins, Ellen; Ürün, A."}])
    folio.lent(a, 1, due=-1)
    folio.lent(a, 2)
    folio.row_of("charges", userId=folio.user[a], itemId=item(1), amount=12.5, state="Outstanding", reason="damage")
    ready = folio.held(a, 3, status="Open - Awaiting pickup")
    folio.start()

    account = folio.await_state(folio.one("account", a), "done")
    outcome = account["outcome"]
    assert account["code"] == "account" and outcome["complete"] and account["words"] is None
    assert [outcome[f"total_{what}"] for what in ("loans", "holds", "charges")] == [2, 1, 1]
    loan = next(loan for loan in outcome["loans"] if loan["item"] == item(1))
    assert (loan["title"], loan["author"], loan["overdue"]) == ("Türkçe & more", "Hopkins, Ellen; Ürün, A.", True)
    assert loan["instance"] == instance(1) and loan["due"] < instant() and loan["loaned"] < loan["due"]
    (hold,), (charge,) = outcome["holds"], outcome["charges"]
    assert (hold["hold"], hold["state"], hold["status"], hold["pickup"]) == (ready, "ready", "Open - Awaiting pickup", PICKUP)
    currency = "USD" if DOORS[door].get("version", 6.5) < 5.4 else "EUR"
    money = {"amount": "12.5", "currency": currency}
    assert (charge["money"], charge["state"], charge["reason"]) == (money, "Outstanding", "damage") and outcome["owed"] == money
    some = folio.await_state(folio.want("account", a, holds=True), "done")["outcome"]
    assert (some["loans"], some["charges"], some["holds"], some["complete"]) == (None, None, outcome["holds"], True)
    none = folio.await_state(folio.want("account", a), "done")["outcome"]
    assert none["loans"] is none["holds"] is none["charges"] is None and none["total_loans"] == 2 and none["complete"]

    until = instant(400)
    requests = [folio.want("renew", a, item=item(2).upper()), folio.want("hold_item", b, item=item(4), pickup=PICKUP, expires=until),
                folio.one("hold_instance", b, 5), folio.want("cancel_hold", a, hold=ready.upper(), item=item(3))]
    rows = [folio.await_state(r, "done") for r in requests]
    assert [row["code"] for row in rows] == ["renewed", "held", "held", "cancelled"]
    assert rows[0]["outcome"]["due_before"] < rows[0]["outcome"]["loan"]["due"]
    placed = rows[1]["outcome"]["hold"]
    assert (placed["item"], placed["instance"], placed["expires"], placed["position"]) == (item(4), instance(4), until, 1)
    assert abs(datetime.datetime.fromisoformat(placed["requested"].replace("Z", "+00:00")) - datetime.datetime.now(UTC)
               ) < datetime.timedelta(minutes=1)
    assert rows[2]["outcome"]["hold"]["item"] == item(5) and rows[2]["outcome"]["twice"] == []
    assert rows[3]["outcome"]["hold"]["hold"] == ready and rows[3]["outcome"]["hold"]["state"] == "ready"
    assert (folio.done(a), folio.done(b)) == (["renewals", "cancels"], ["holds", "holds"])
    assert folio.sandbox.counts("folio")["logins"] == (0 if folio.edge else 1), "a token is asked for once"
    folio.settle()
    folio.assert_quiet()


def test_the_form_of_a_cancelling_is_found_out_once(world):
    folio = Folio(world, version=3.0)
    folio.start()
    for number in range(4):
        folio.await_state(folio.one("cancel_hold", folio.someone(), number + 1), "done")
    assert (folio.sandbox.count("folio", "cancelHold"), folio.sandbox.count("folio", "deleteHold")) == (1, 4)
    folio.sandbox.settings(folio={"version": 4.0})  # FOLIO is upgraded meanwhile
    for number in range(4):
        folio.await_state(folio.one("cancel_hold", folio.someone(), number + 10), "done")
    assert (folio.sandbox.count("folio", "cancelHold"), folio.sandbox.count("folio", "deleteHold")) == (5, 5)
    assert len(folio.effects("cancels")) == 8


def test_a_cancelling_without_a_reason_says_what_is_missing(folio):
    folio.start(FOLIO_CANCEL_REASON_ID=None)
    who = folio.someone()
    request_id = folio.one("cancel_hold", who)
    assert folio.await_state(request_id, "waiting")["waits_for"] == "no_reason_id"
    folio.await_state(folio.one("account", who := folio.someone()), "done")
    folio.sandbox.settings(folio={"version": 3.0})  # which wants none
    folio.await_state(request_id, "done")
    folio.assert_quiet()


def test_a_hold_that_is_gone_already_is_told(folio):
    """Between our look and our call the library closes it."""
    who = folio.someone()
    folio.fault("cancelHold", "stall", count=1)
    (worker,) = folio.start(FOLIO_TIMEOUT_MS=20000)
    request_id = folio.one("cancel_hold", who)
    wait_for(lambda: folio.sandbox.count("folio", "cancelHold", "in_flight") == 1, lambda: worker.tail())
    folio.sandbox.admin("POST", "/folio/holds", [{"requestId": folio.row(request_id)["asked"]["hold"], "status": "Closed - Filled"}])
    folio.sandbox.heal()
    row = folio.await_state(request_id, "done")
    assert row["code"] == "gone" and folio.effects("cancels") == [], row


def test_a_hold_that_is_there_already_is_told(world):
    """Where FOLIO takes no second one, the first is the outcome; where it does, each request makes its own."""
    folio = Folio(world, duplicate_holds=False)
    who, other = folio.someone(), folio.someone()
    before, _ = folio.held(who, 1), folio.held(other, 1)
    folio.start()
    rows = [folio.await_state(folio.one(action, who), "done") for action in HOLD_CALLS]
    assert [(row["code"], row["outcome"]["hold"]["hold"], row["outcome"]["twice"]) for row in rows] == [("exists", before, [])] * 2
    assert folio.effects("holds") == []
    folio.sandbox.settings(folio={"duplicate_holds": True})
    row = folio.await_state(folio.one("hold_item", who), "done")
    assert row["code"] == "held" and row["outcome"]["hold"]["hold"] not in (None, before) and row["outcome"]["twice"] == []
    folio.assert_quiet()


# ---- refusals ----

@pytest.mark.parametrize("door", ["3.0", "6.5", "edge"])
def test_a_refusal_is_told_in_folios_words_and_not_repeated(world, door):
    folio = Folio(world, **DOORS[door], renewals_max=1)
    refused = {}

    def expect(code, words, request_id):
        refused[request_id] = code, words
    for action, call in CHANGES.items():
        if action == "cancel_hold" and door == "3.0":
            call = "deleteHold"
        for shape in ("refused", "refused_in_500"):
            who = folio.someone()
            folio.fault(call, shape, key=who, **({"value": "Not on a rainy day"} if shape == "refused" else {}))
            expect("refused", "Not on a rainy day" if shape == "refused" else "no more of this today", folio.one(action, who))
    who = folio.someone()
    folio.fault("holdItem", "not_requestable", key=who)
    expect("not_requestable", "Cannot find a valid request type for this item", folio.one("hold_item", who))
    blocked = folio.someone()
    folio.sandbox.admin("POST", "/folio/users", [{"id": folio.user[blocked], "blocked": "Patron has too many books"}])
    expect("refused", "Patron has too many books", folio.one("hold_item", blocked))
    missing = uuid_of(2, 99999)
    expect("not_found", "No item with ID", folio.want("renew", folio.someone(), item=missing))
    expect("not_found", "No item with ID", folio.want("hold_item", folio.someone(), item=missing, pickup=PICKUP))
    owner, thief = folio.someone(), folio.someone()
    folio.lent(owner, 50)
    expect("not_theirs", "Cannot renew item checked out to different user", folio.want("renew", thief, item=item(50)))
    stolen = folio.held(owner, 51)
    expect("not_found", "the patron has no such hold", folio.want("cancel_hold", thief, hold=stolen))
    expect("not_found", "the patron has no such hold", folio.want("cancel_hold", owner, hold="x y"))
    twice = folio.someone()
    folio.lent(twice, 52)
    first = folio.want("renew", twice, item=item(52))
    expect("refused", "renew", folio.want("renew", twice, item=item(52)))
    nobody = "nobody" if folio.edge else uuid_of(1, 99999)
    expect("no_patron" if folio.edge else "not_found", None, folio.want("account", nobody))
    folio.start(CONCURRENCY=8)
    folio.settle()
    for request_id, (code, words) in refused.items():
        row = folio.row(request_id)
        assert (row["state"], row["code"], row["outcome"]) == ("refused", code, None), row
        assert words is None or words.lower() in (row["words"] or "").lower(), row
    assert folio.row(first)["state"] == "done"
    assert folio.effects("cancels") == folio.effects("holds") == [] and len(folio.effects("renewals")) == 1
    calls = {call: folio.sandbox.count("folio", call) for call in ("account", *CHANGES.values(), "deleteHold")}
    folio.send(*refused)
    folio.settle()
    assert {call: folio.sandbox.count("folio", call) for call in calls} == calls, "a refused request was sent again"
    folio.assert_quiet()


def test_what_is_not_as_it_is_to_be_asked_is_refused(folio):
    bad = {"item": [("renew", {}), ("renew", {"item": 7}), ("renew", {"item": "00000000-0000-0000-0000-000000000000"}),
                    ("hold_item", {"pickup": PICKUP}), ("cancel_hold", {"hold": "1", "item": "x"})],
           "instance": [("hold_instance", {"pickup": PICKUP, "item": item(1)})], "pickup": [("hold_item", {"item": item(1)})],
           "expires": [("hold_item", {"item": item(1), "pickup": PICKUP, "expires": "soon"})],
           "hold": [("cancel_hold", {}), ("cancel_hold", {"hold": " 1"}), ("cancel_hold", {"hold": "x" * 65})],
           "loans": [("account", {"loans": "true"})], "action": [("checkout", {"item": item(1)})]}
    refused = {folio.ask("folio", action, folio.someone(), **asked): member for member, several in bad.items() for action, asked in several}
    refused[folio.ask("folio", "account", "P00000001")] = "patron"
    folio.start()
    folio.settle()
    for request_id, member in refused.items():
        row = folio.row(request_id)
        assert (row["state"], row["code"]) == ("refused", "bad_request") and row["words"].startswith(f"{member}: "), row
    assert folio.sandbox.counts("folio")["calls"].get("account", {}).get("requests", 0) == 0
    folio.assert_quiet()


def test_an_inactive_patron_is_told(world):
    folio = Folio(world, version=3.0)
    who = folio.someone()
    folio.sandbox.admin("POST", "/folio/users", [{"id": folio.user[who], "active": False}])
    folio.start()
    row = folio.await_state(folio.want("account", who), "refused")
    assert (row["code"], row["words"]) == ("inactive", "User is not active")
    folio.sandbox.settings(folio={"version": 5.1})  # from there on they may look
    folio.await_state(folio.want("account", who), "done")


# ---- answers that do not come ----

LOST = [
    ("drop_after", {}), ("drop_before", {}), ("reset_after", {}), ("truncate", {}), ("not_json", {"effect": True}),
    ("status", {"status": 500, "effect": True}), ("status", {"status": 500}), ("status", {"status": 502, "effect": True}),
    ("status", {"status": 504}), ("status", {"status": 503}), ("stall", {"effect": True, "ms": 1500}), ("unauthorized", {}),
    ("rate_limited", {"retry_after": 1}), ("status", {"status": 409, "body": "version conflict"}),
]


EDGE_LOST = [("drop_after", {}), ("drop_before", {}), ("status", {"status": 500, "effect": True}), ("edge_timeout", {}),
             ("status", {"status": 408, "body": '{"code":408,"errorMessage":"Request to FOLIO timed out"}'})]


@pytest.mark.parametrize("door, lost", [("6.5", LOST), ("edge", EDGE_LOST)], ids=["6.5", "edge"])
def test_a_request_whose_answer_is_lost_is_done_once(world, door, lost):
    """Every kind of request times everything that can become of its one call, a patron each; others are well meanwhile."""
    folio, want, every = Folio(world, **DOORS[door]), {}, []
    folio.start(CONCURRENCY=8, RETRY_MS_MAX=200, TRIES_MAX=50)
    for kind, members in lost:
        faults = []
        for action in CODES:
            if action == "account" and kind in ("edge_timeout", "stall"):
                continue
            who = folio.someone()
            members_of = {m: v for m, v in members.items() if action != "account" or m != "effect"}
            faults.append(folio.fault(CHANGES.get(action, action), kind, key=who, count=1, **members_of))
            if folio.edge and action in HOLD_CALLS:  # it writes its own time over ours, and here does not even say it
                folio.fault("account", "bare_holds", key=who)
            want[folio.one(action, who, len(want) + 1)] = action, who, f"{action} {kind} {members}"
            folio.want("account", folio.someone())
        wait_for(lambda: all(folio.sandbox.fired(f) for f in faults), lambda: f"{kind}: {folio.states()}" + folio.tails())
        every += faults
    folio.settle(90)
    folio.assert_once(want)
    assert [folio.sandbox.fired(f) for f in every] == [1] * len(every)
    folio.assert_quiet()


def test_what_a_call_that_is_lost_is_judged_by_is_read_again(folio):
    """The reading calls fail too: the one before the change (skip 0), and the one after the doubt."""
    kinds = [(0, "drop_after"), (0, "status"), (0, "unauthorized"), (1, "drop_before"), (1, "status"), (1, "unauthorized"),
             (1, "includes_ignored"), (1, "inactive")]
    want, actions = {}, list(CHANGES)
    folio.start(CONCURRENCY=8, RETRY_MS_MAX=200, TRIES_MAX=50)
    for n, (skip, kind) in enumerate(kinds):
        who, action = folio.someone(), actions[n % 4]
        reading = folio.fault("account", kind, key=who, skip=skip, count=1)
        lost = folio.fault(CHANGES[action], ("drop_after", "drop_before")[n // 4 % 2], key=who, count=1)
        want[folio.one(action, who, n + 1)] = action, who, f"{action} {kind} {skip}"
        wait_for(lambda: folio.sandbox.fired(lost if skip else reading), lambda: f"{kind}: {folio.states()}" + folio.tails())
        folio.await_state(folio.want("account", folio.someone()), "done")  # others are well

    def all_done():
        folio.want("account", folio.someone())
        return all(folio.row(request_id)["state"] == "done" for request_id in want)
    wait_for(all_done, lambda: f"{folio.states()}" + folio.tails(), 60, 0.1)
    folio.settle()
    folio.assert_once(want)
    assert all(f["fired"] == 1 for f in folio.sandbox.faults()), [f for f in folio.sandbox.faults() if f["fired"] != 1]
    folio.assert_quiet()


def late(folio, who, call):
    """A call that arrives only after it was given up and made again: (what holds the first, what holds the second)."""
    return folio.fault(call, "stall", key=who, count=1, effect="late"), folio.fault(call, "stall", key=who, count=1)


def test_a_first_try_that_arrives_after_the_second_was_sent_is_not_silent(folio):
    twice, taken, renewed, had = (folio.someone() for _ in range(4))
    faults = {who: late(folio, who, call) for who, call in ((twice, "holdItem"), (taken, "holdInstance"), (renewed, "renew"))}
    # what was there before is not taken for what was asked, neither one made a moment ago nor one by a clock that runs ahead
    earlier = [folio.held(had, 9, requestDate=instant(day)) for day in (0, 2)]
    folio.fault("holdItem", "drop_before", key=had, count=1)
    folio.start(FOLIO_TIMEOUT_MS=3000)
    another = folio.one("hold_item", had, 9)
    requests = {who: folio.one(action, who, n + 1) for n, (who, action) in
                enumerate(((twice, "hold_item"), (taken, "hold_instance"), (renewed, "renew")))}
    while faults:
        who = wait_for(lambda: next((who for who, (_, second) in faults.items() if folio.sandbox.fired(second)), None),
                       lambda: f"{folio.states()}" + folio.tails())
        first, second = faults.pop(who)
        folio.sandbox.settings(folio={"duplicate_holds": who == twice, "renewals_max": 1})
        folio.sandbox.heal(first)
        wait_for(lambda: len(folio.done(who)) == 1, lambda: folio.done(who))
        folio.sandbox.heal(second)
        folio.await_state(requests[who], "done")
    rows = {who: folio.await_state(request_id, "done") for who, request_id in requests.items()}
    assert [row["code"] for row in rows.values()] == ["maybe_twice", "held", "renewed"], rows
    first, second = folio.effects("holds", twice)
    outcome = rows[twice]["outcome"]
    assert {outcome["hold"]["hold"], *(h["hold"] for h in outcome["twice"])} == {first["id"], second["id"]}, "both are told"
    (hold,), (renewal,) = folio.effects("holds", taken), folio.effects("renewals", renewed)
    assert rows[taken]["outcome"]["hold"]["hold"] == hold["id"] and rows[taken]["outcome"]["twice"] == []
    assert rows[renewed]["outcome"]["loan"]["due"][:19] == renewal["dueDate"][:19]
    assert folio.world.desk() == [("maybe_twice", requests[twice])]
    row = folio.await_state(another, "done")
    (made,) = folio.effects("holds", had)
    assert row["outcome"]["hold"]["hold"] == made["id"] not in earlier and row["outcome"]["twice"] == []


def test_a_renewal_that_nobody_can_judge_is_for_a_person(folio):
    """FOLIO does not say when the loan is due: it is never renewed again to be sure."""
    who = folio.someone()
    folio.lent(who, 1, due=None)
    folio.fault("account", "no_due_dates", key=who)
    folio.fault("renew", "drop_after", key=who, count=1)
    folio.start(TRIES_MAX=1, RETRY_MS_MAX=200, FOLIO_TIMEOUT_MS=300)
    request_id = folio.want("renew", who, item=item(1))
    assert folio.await_state(request_id, "waiting")["waits_for"] == "no_answer"

    def is_set_aside():
        folio.want("account", folio.someone())
        return folio.row(request_id)["state"] == "set_aside"
    wait_for(is_set_aside, lambda: f"{folio.row(request_id)}" + folio.tails(), 60, 0.3)
    assert len(folio.calls("renew", who)) == 1 and folio.world.desk() == [("request_set_aside", request_id)]
    wait_for(lambda: folio.world.dead_letters("folio.requests"), "no dead letter")


# ---- kill -9 ----

def test_kill_9_in_mid_call(world):
    """Of each changing call one has arrived, and one never does. With the oldest FOLIO, which cancels by DELETE."""
    folio, want, number = Folio(world, version=3.0), {}, 0
    calls = {"account": "account", **CHANGES, "cancel_hold": "deleteHold"}
    for effect in (False, True):
        for action in CODES:
            who, number = folio.someone(), number + 1
            folio.fault(calls[action], "stall", key=who, count=1, effect=effect and action != "account")
            want[folio.one(action, who, number)] = action, who, effect
    (worker,) = folio.start(FOLIO_TIMEOUT_MS=3000, CONCURRENCY=10, **NAMED)

    def under_way():
        return sum(folio.sandbox.count("folio", call, "in_flight") for call in calls.values()) == 10
    wait_for(under_way, lambda: f"not all calls are under way: {folio.states()}" + folio.tails())
    worker.kill9()
    folio.sandbox.heal()
    assert folio.states() == {"accepted": 10}
    folio.start(FOLIO_TIMEOUT_MS=500, CONCURRENCY=10, **NAMED)
    folio.settle()
    folio.assert_once(want)
    folio.assert_quiet()


def test_kill_9_between_the_answer_and_the_commit(folio):
    """FOLIO has said yes, and nobody has written it down."""
    want = {folio.one(action, who := folio.someone(), number + 1): (action, who) for number, action in enumerate(CHANGES)}
    stalls = [folio.fault(call, "stall", effect=True) for call in CHANGES.values()]
    (worker,) = folio.start(FOLIO_TIMEOUT_MS=3000, **NAMED)
    wait_for(lambda: sum(len(folio.done(who)) for _, who in want.values()) == 4, lambda: f"{folio.states()}" + folio.tails())
    with folio.db.locked("requests", "SHARE"):
        for stalled in stalls:
            folio.sandbox.heal(stalled)
        wait_for(lambda: folio.sandbox.count("folio", "renew", "201") and folio.db.waiting(), "no outcome waits for the lock")
        worker.kill9()
        folio.db.end_sessions()
    assert folio.states() == {"accepted": 4}
    folio.start(FOLIO_TIMEOUT_MS=500, **NAMED)
    folio.settle()
    folio.assert_once(want)
    folio.assert_quiet()


# ---- order, repetition, several workers ----

def test_two_workers_and_every_message_twice(folio):
    people = [folio.someone() for _ in range(8)]
    asked = {}
    for n, who in enumerate(people):
        folio.lent(who, 10 * n + 1)
        asked[who] = [folio.one("hold_item", who, 10 * n + 2), folio.want("renew", who, item=item(10 * n + 1)),
                      folio.one("account", who), folio.one("hold_instance", who, 10 * n + 3), folio.one("account", who)]
    folio.send(*folio.asked)
    folio.start(2)
    folio.send(*folio.asked)
    folio.settle()
    folio.send(*folio.asked)
    folio.settle()
    assert folio.states() == {"done": 40}
    for n, who in enumerate(people):
        assert [h["itemId"] for h in folio.effects("holds", who)] == [item(10 * n + 2), item(10 * n + 3)]
        (renewal,) = folio.effects("renewals", who)
        first, last = (folio.row(asked[who][at])["outcome"] for at in (2, 4))
        assert [h["item"] for h in first["holds"]] == [item(10 * n + 2)], "a patron's requests are done in order"
        assert first["loans"][0]["due"][:19] == renewal["dueDate"][:19] and len(last["holds"]) == 2
    assert folio.sandbox.counts("folio")["logins"] == 2
    folio.assert_quiet()


def test_one_patron_waits_for_themselves_alone(folio):
    slow, other = folio.someone(), folio.someone()
    stalled = folio.fault("holdItem", "stall", key=slow, count=1)
    folio.start(FOLIO_TIMEOUT_MS=30000)
    first, second = folio.one("hold_item", slow, 1), folio.one("hold_item", slow, 2)
    wait_for(lambda: folio.sandbox.count("folio", "holdItem", "in_flight") == 1, "no call under way")
    folio.await_state(folio.one("hold_item", other, 3), "done")
    assert [folio.row(r)["state"] for r in (first, second)] == ["accepted", "accepted"]
    folio.sandbox.heal(stalled)
    folio.await_state(second, "done")
    assert folio.row(first)["state"] == "done" and [h["itemId"] for h in folio.effects("holds", slow)] == [item(1), item(2)]


# ---- FOLIO is down, or refuses us ----

def test_an_outage_loses_nothing(folio):
    folio.world.own_door("folio")
    people = [folio.someone() for _ in range(10)]
    folio.sandbox.vendor("folio", down=True)
    folio.start(TRIES_MAX=1)
    actions = list(CODES) * 2
    want = {folio.one(action, who, n + 1): (action, who) for n, (action, who) in enumerate(zip(actions, people))}
    keeps_true(lambda: set(folio.states()) <= {"accepted", "waiting"}, lambda: folio.states(), 2)
    folio.sandbox.vendor("folio", down=False)
    wait_for(lambda: sum(len(folio.done(who)) for who in people) >= 2, lambda: f"{folio.states()}" + folio.tails())
    folio.sandbox.vendor("folio", down=True)
    keeps_true(lambda: set(folio.states()) <= {"accepted", "waiting", "done"}, lambda: folio.states(), 1)  # with calls under way
    folio.sandbox.vendor("folio", down=False)
    folio.settle()
    folio.assert_once(want)
    folio.assert_quiet()


def test_a_row_says_what_it_waits_for(folio):
    who = folio.someone()
    folio.fault("holdItem", "status", status=503)
    folio.start(TRIES_MAX=1)
    request_id = folio.one("hold_item", who)
    row = folio.await_state(request_id, "waiting")
    assert row["waits_for"] == "unwell" and row["waits_since"]
    folio.sandbox.heal()
    row = folio.await_state(request_id, "done")
    assert row["waits_for"] is None and folio.done(who) == ["holds"]


def test_what_we_may_not_do_is_said(folio):
    folio.sandbox.settings(folio={"permissions": ["patron.account.item.get"]})
    (worker,) = folio.start()
    request_id = folio.one("hold_item", folio.someone())
    assert folio.await_state(request_id, "waiting")["waits_for"] == "permission"
    worker.await_log("it lacks patron.hold.item.post")
    folio.assert_quiet()


# ---- tokens ----

def test_a_token_that_is_revoked_in_mid_work_is_asked_for_again(folio):
    people = [folio.someone() for _ in range(6)]
    folio.start()
    for n, who in enumerate(people):
        folio.one("hold_item", who, n + 1)
    folio.settle()
    folio.sandbox.vendor("folio", revoke_tokens=True)
    want = {folio.one("renew", who, 50 + n): ("renew", who) for n, who in enumerate(people)}
    folio.settle()
    assert folio.states() == {"done": 12} and want
    assert [len(folio.effects("renewals", who)) for who in people] == [1] * 6
    assert folio.sandbox.counts("folio")["logins"] == 2 and 1 <= folio.sandbox.count("folio", "account", "401") <= 6
    folio.assert_quiet()


def test_a_token_is_not_used_to_its_end(world):
    """A new one is asked for in time, by logging in: a refresh token is never used."""
    folio = Folio(world, token_seconds=4)
    folio.start()
    who = folio.someone()
    for n in range(20):
        folio.await_state(folio.one("hold_item", who, n + 1), "done")
        logins = folio.sandbox.counts("folio")["logins"]
        if logins >= 4:
            break
        wait_for(lambda: folio.sandbox.counts("folio")["logins"] > logins, "no new token", 10)
    counts = folio.sandbox.counts("folio")
    assert counts["logins"] >= 4 and counts["refreshes"] == counts["refresh_leaks"] == 0
    assert not {call: c for call, c in counts["calls"].items() if c.get("by_status", {}).get("401")}, counts


def test_a_folio_with_the_old_log_in_is_asked_in_that_way(world):
    folio = Folio(world, version=3.0, expiring_login=False)
    (worker,) = folio.start()
    who = folio.someone()
    folio.await_state(folio.one("hold_item", who, 1), "done")
    folio.sandbox.vendor("folio", revoke_tokens=True)
    folio.await_state(folio.one("hold_item", who, 2), "done")
    assert (folio.sandbox.count("folio", "loginWithExpiry"), folio.sandbox.count("folio", "login")) == (1, 2), "it is remembered"
    assert " warn " not in worker.log(), worker.tail()
    folio.sandbox.settings(folio={"expiring_login": True, "legacy_login": False, "version": 6.5})  # FOLIO is upgraded
    folio.sandbox.vendor("folio", revoke_tokens=True)
    folio.await_state(folio.one("hold_item", who, 3), "done")
    assert len(folio.effects("holds", who)) == 3


# ---- settings ----

def test_check_says_what_is_wrong(folio):
    it = folio.world.run("folio-requests", "--check")
    assert it.process.returncode == 0 and "ok  FOLIO log-in" in it.log() and "ok  FOLIO patron accounts by Okapi" in it.log(), it.tail()
    for changed, code, words in (({"FOLIO_PASSWORD": "wrong"}, 100, "refuses the user name or password"),
                                 ({"FOLIO_TENANT": "nobody"}, 100, "does not know the tenant"),
                                 ({"FOLIO_PASSWORD": None}, 100, "FOLIO_PASSWORD is not set"),
                                 ({"FOLIO_API_KEY": API_KEY}, 100, "set one or the others"),
                                 ({"FOLIO_CANCEL_REASON_ID": "x"}, 100, "FOLIO_CANCEL_REASON_ID: want a UUID"),
                                 ({"FOLIO_URL": "http://127.0.0.1:1"}, 111, "no connection")):
        it = folio.world.run("folio-requests", "--check", **changed)
        assert it.process.returncode == code and words in it.log(), it.tail()
    folio.sandbox.settings(folio={"module_enabled": False})
    it = folio.world.run("folio-requests", "--check")
    assert it.process.returncode == 111 and "is mod-patron enabled for this tenant" in it.log(), it.tail()
    folio.sandbox.settings(folio={"module_enabled": True, "expiring_login": False})
    it = folio.world.run("folio-requests", "--check")
    assert it.process.returncode == 0 and "ok  FOLIO log-in" in it.log(), it.tail()
    folio.sandbox.settings(folio={"edge": True})
    it = folio.world.run("folio-requests", "--check", **EDGE)
    assert it.process.returncode == 0 and "ok  FOLIO patron accounts by edge-patron" in it.log() and "log-in" not in it.log(), it.tail()
    it = folio.world.run("folio-requests", "--check", **{**EDGE, "FOLIO_API_KEY": "wrong"})
    assert it.process.returncode == 100 and "refuses the API key" in it.log(), it.tail()


# ---- FOLIO's answers may look otherwise ----

def test_an_account_of_any_shape_is_told(world):
    folio = Folio(world, dates="mixed")
    shapes = ("no_due_dates", "bare_holds", "hold_status", "charge_without_item", "includes_ignored", "mixed_dates")
    asked = {}
    for n, shape in enumerate(shapes):
        who = folio.someone()
        folio.lent(who, 10 * n + 1)
        folio.held(who, 10 * n + 2)
        folio.row_of("charges", userId=folio.user[who], itemId=item(10 * n + 3), amount=1, state="Paid Partially", reason="lost")
        folio.fault("account", shape, key=who, **({"value": "Open - Odd"} if shape == "hold_status" else {}))
        asked[shape] = folio.one("account", who)
    folio.start()
    folio.settle()
    outcomes = {shape: folio.row(request_id)["outcome"] for shape, request_id in asked.items()}
    assert folio.states() == {"done": len(shapes)}
    assert outcomes["no_due_dates"]["loans"][0]["due"] is None and outcomes["no_due_dates"]["complete"]
    hold = outcomes["bare_holds"]["holds"][0]
    assert hold["requested"] is hold["pickup"] is None and hold["hold"]
    assert [outcomes["hold_status"]["holds"][0][m] for m in ("status", "state")] == ["Open - Odd", "other"]
    charge = outcomes["charge_without_item"]["charges"][0]
    assert charge["item"] is charge["title"] is None and charge["money"]["amount"] in ("1", "1.0")
    ignored = outcomes["includes_ignored"]
    assert (ignored["loans"], ignored["total_loans"], ignored["complete"]) == ([], 1, False), "what is not shown is not denied"
    loan = outcomes["mixed_dates"]["loans"][0]
    assert loan["loaned"] and loan["due"]

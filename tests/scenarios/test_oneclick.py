"""What patrons ask of OneClick: lent, renewed, returned, held, downloaded, found; each once, whatever happens on the way."""
import datetime
import json
import zoneinfo

import jsonschema
import pytest
import requests
from patrons import Requests
from shelfwire import ONECLICK_TOKEN, SCHEMAS, UTC, keeps_true, person, wait_for

NAMED = {"KAFKA_GROUP_INSTANCE_ID": "one"}
TOPIC = "oneclick.requests"
LIBRARY_EMAIL = "library@example.edu"


class OneClick(Requests):
    """OneClick's side of a world, and ours."""

    schema = json.loads((SCHEMAS / "request.oneclick.schema.json").read_text())

    def __init__(self, world):
        super().__init__(world, TOPIC)
        self.sandbox, self.numbers = world.sandbox, 0
        self.admin("POST", "/generate", {"count": 300})
        lines = self.sandbox.http.get(f"{self.sandbox.url}/admin/oneclick/titles").content.decode().split("\n")
        there = [line for line in map(json.loads, filter(None, lines)) if line["availability"]]
        self.audio = [line["isbn"] for line in there if line["mediaType"] == "eAudio"]  # for any number of listeners
        self.ebooks = [line["isbn"] for line in there if line["mediaType"] == "eBook"]  # one copy each
        self.a, self.b, self.c, self.d = self.audio[:4]

    # ---- OneClick's side ----

    def admin(self, method, path, body=None):
        return self.sandbox.admin(method, "/oneclick" + path, body)

    def settings(self, **changed):
        self.sandbox.settings(oneclick=changed)

    def card(self):
        """Of somebody OneClick does not know. No log may name it."""
        self.numbers += 1
        card = person(self.numbers).barcode
        self.world.secrets.add(card)
        return card

    def someone(self, **more):
        """A patron: card and OneClick's own number."""
        card = self.card()
        (number,) = self.admin("POST", "/patrons", [{"card": card, "email": f"leser{self.numbers:05d}@example.edu",
         **more}])["ids"]
        return card, number

    def app(self, method, number, path, **query):
        """What a patron does without us."""
        return requests.request(method, f"{self.sandbox.url}/v1/libraries/1931/patrons/{number}{path}", params=query,
                                timeout=20,
                                headers={"Authorization": f"Basic {ONECLICK_TOKEN}"})

    def lend(self, number, isbn, **query):
        assert self.app("POST", number, f"/checkouts/{isbn}", **query).status_code == 200

    def hold(self, number, isbn):
        assert self.app("POST", number, f"/holds/{isbn}").status_code == 200

    def loans(self, number):
        return {loan["isbn"]: loan for loan in self.app("GET", number, "/checkouts/").json()}

    def holds(self, number):
        return [hold["isbn"] for hold in self.app("GET", number, "/holds/").json()]

    def deeds(self, kind, number=None):
        """What was done there, in order: ISBNs or issues; of patrons their e-mails."""
        found = self.sandbox.admin("GET", "/effects", vendor="oneclick", kind=kind)["deeds"]
        return [d["email"] if kind == "patrons" else d["id"] for d in found if number in (None, d["patronId"])]

    def fault(self, call, kind, **members):
        return self.sandbox.fault("oneclick", call, kind, **members)

    def calls(self, call, about=None):
        return [c for c in self.sandbox.calls("oneclick", call) if about is None or str(about) in c["target"]]

    # ---- ours ----

    def start(self, **changed):
        changed = {"ONECLICK_TIMEOUT_MS": 1000, "ONECLICK_EMAIL": LIBRARY_EMAIL, "ONECLICK_FOLLOW_SECONDS": 1, **changed}
        return self.world.start("oneclick-requests", **changed)

    def want(self, action, who, **asked):
        """A request as a caller would write it."""
        jsonschema.validate({"action": action, **asked}, self.schema, jsonschema.Draft202012Validator)
        return self.ask("oneclick", action, who, **asked)

    def done(self, action, who, **asked):
        return self.await_state(self.want(action, who, **asked), "done")

    def refused(self, action, who, **asked):
        return self.await_state(self.want(action, who, **asked), "refused")

    def known(self):
        """Whom we know as whom."""
        return dict(self.db.rows("SELECT card, patron_id::bigint FROM oneclick_patrons WHERE library = '1931'"))

    def settle(self, timeout=60):
        self.await_all(timeout)
        self.world.await_no_lag("oneclick-requests")

    def assert_quiet(self):
        """Nothing for a person to do."""
        assert self.world.desk() == []
        assert not self.world.dead_letters(TOPIC)


@pytest.fixture
def oneclick(world):
    return OneClick(world)


def code(row):
    return row["state"], row["code"]


def day(ahead):
    """So many days from today, US Eastern."""
    return (datetime.datetime.now(zoneinfo.ZoneInfo("America/New_York")) + datetime.timedelta(days=ahead)).strftime("%Y-%m-%d")


# ---- what is done ----

def test_every_kind_of_request_is_done(oneclick):
    card, number = oneclick.someone()
    other, _ = oneclick.someone()
    out, shelved = oneclick.ebooks[:2]
    oneclick.lend(oneclick.someone()[1], out)
    oneclick.start()

    row = oneclick.done("checkout", card, isbn=oneclick.a, days=14)
    there = oneclick.loans(number)[oneclick.a]
    loan = row["outcome"]["loan"]
    assert code(row) == ("done", "borrowed") and row["words"] is None and row["answered_at"]
    assert (loan["isbn"], loan["expiration"], loan["computed"]) == (oneclick.a, there["expiration"], True)
    assert (loan["transaction_id"], loan["expiration"]) == (str(there["transactionId"]), day(14))
    assert oneclick.done("checkout", card, isbn=shelved)["outcome"]["loan"]["expiration"] == day(7)
    again = oneclick.done("checkout", card, isbn=oneclick.a)
    assert again["code"] == "already" and not again["outcome"]["loan"]["computed"]
    assert again["outcome"]["loan"]["expiration"] == there["expiration"]

    oneclick.admin("POST", "/bookmarks", {"patron_id": number, "isbn": oneclick.a, "bookmarks": [{"part": 1, "seconds": 17.5}]})
    row = oneclick.done("loans", card)
    listed = {loan["isbn"]: loan for loan in row["outcome"]["loans"]}
    assert set(listed) == {oneclick.a, shelved}
    assert listed[oneclick.a]["positions"] == [{"part": 1, "seconds": 17.5}] and listed[oneclick.a]["minutes"] == 225.95
    assert len(listed[oneclick.a]["files"]) == 3 and [f["format"] for f in listed[shelved]["files"]] == ["EPUB"]
    assert not any("link" in f or "downloadUrl" in f for loan in listed.values() for f in loan["files"])
    ends = datetime.datetime.fromisoformat(listed[shelved]["ends_at"].replace("Z", "+00:00")).timestamp()
    assert f"expDt={int(ends)}" in oneclick.loans(number)[shelved]["files"][0]["downloadUrl"], "as OneClick reckons it"

    row = oneclick.done("renew", card, isbn=oneclick.a, days=7)
    assert row["code"] == "renewed" and row["outcome"]["loan"]["expiration"] == day(21)
    assert row["known"]["renew"]["expiration"] == day(14), "the day before was committed before the call"
    row = oneclick.done("return", card, isbn=oneclick.a)
    assert (row["code"], row["outcome"]) == ("returned", {"isbn": oneclick.a})
    assert oneclick.done("return", card, isbn=oneclick.a)["code"] == "not_on_loan"

    row = oneclick.done("hold", card, isbn=out)
    assert row["code"] == "held" and row["outcome"]["hold"]["isbn"] == out and row["outcome"]["hold"]["transaction_id"]
    assert oneclick.done("hold", card, isbn=out)["code"] == "already"
    assert oneclick.done("hold", card, isbn=shelved)["outcome"]["loan"]["isbn"] == shelved, "it is lent already"
    (hold,) = oneclick.done("holds", card)["outcome"]["holds"]
    assert (hold["isbn"], hold["media_type"]) == (out, "eBook")
    assert oneclick.done("cancel_hold", card, isbn=out)["code"] == "cancelled" and oneclick.holds(number) == []
    assert oneclick.done("cancel_hold", card, isbn=out)["code"] == "not_held"

    assert oneclick.done("magazine_checkout", card, issue="4711")["code"] == "borrowed"
    assert oneclick.done("magazine_checkout", card, issue="4711")["code"] == "already"
    (issue,) = oneclick.done("magazine_history", card)["outcome"]["issues"]
    assert (issue["issue"], issue["title"]) == ("4711", "The Sandbox Weekly")
    assert oneclick.done("magazine_return", card, issue="4711")["code"] == "returned"
    assert oneclick.done("magazine_return", card, issue="4711")["code"] == "already"
    assert oneclick.done("loans", other)["outcome"] == {"loans": []}

    assert len(oneclick.calls("find")) == 2, "who a patron is, is asked once"
    assert oneclick.known() == {card: number, other: number + 1}
    assert oneclick.sandbox.counts("oneclick")["duplicates"] == 0
    oneclick.assert_quiet()


def test_downloads(oneclick):
    card, number = oneclick.someone()
    ebook, audio = oneclick.ebooks[0], oneclick.a
    oneclick.lend(number, ebook)
    oneclick.lend(number, audio)
    oneclick.settings(link_root="https://elsewhere.example")  # a bearer goes to ONECLICK_URL, whichever host a link names
    oneclick.start()
    row = oneclick.done("download", card, isbn=ebook)
    assert (row["code"], row["outcome"]["type"]) == ("access", "application/vnd.adobe")
    assert row["outcome"]["url"].startswith("http://content.example/") and row["outcome"]["file"]
    until = datetime.datetime.fromisoformat(row["outcome"]["until"].replace("Z", "+00:00"))
    assert 780 < (until - datetime.datetime.now(UTC)).total_seconds() < 842
    row = oneclick.await_state(oneclick.want("download", card, isbn=audio), "asks")
    assert row["code"] == "which_file" and len(row["outcome"]["files"]) == 3
    part = row["outcome"]["files"][1]
    assert oneclick.done("download", card, isbn=audio, file=part["id"])["outcome"]["type"] == "audio/mpeg"
    assert oneclick.done("download", card, isbn=audio, file=part["name"])["outcome"]["file"] == part["id"]
    assert oneclick.refused("download", card, isbn=audio, file="x")["code"] == "no_such_file"
    assert oneclick.refused("download", card, isbn=oneclick.b)["code"] == "not_on_loan"
    bearers = len(oneclick.calls("bearer"))
    oneclick.fault("download", "unauthorized", count=1)  # it has ended in between
    assert oneclick.done("download", card, isbn=ebook)["code"] == "access"
    assert len(oneclick.calls("bearer")) == bearers + 2, "another is got, once"
    oneclick.assert_quiet()


def test_search(oneclick):
    card = oneclick.card()
    oneclick.start()
    first = oneclick.done("search", card, page_size=100)["outcome"]
    assert (first["total"], first["pages"], first["page"], len(first["items"])) == (300, 3, 0, 100)
    isbns = [item["isbn"] for page in range(3)
             for item in oneclick.done("search", card, page_size=100, page=page)["outcome"]["items"]]
    assert len(set(isbns)) == 300
    audio = oneclick.done("search", card, media_type="eAudio", available=True)["outcome"]
    assert audio["total"] == len(oneclick.audio) and audio["page_size"] == 20
    assert all(item["media_type"] == "eAudio" and item["owned"] for item in audio["items"])
    assert {"facet": "mediatype", "value": "eaudio", "count": audio["total"], "selected": True} in audio["facets"]
    assert oneclick.done("search", card, all="nobody has written this")["outcome"]["items"] == []
    assert not oneclick.calls("find") and not oneclick.known(), "a search is nobody's"


# ---- who the patron is ----

def test_patrons_are_found_and_made(oneclick):
    card, number = oneclick.someone(user_name="vorname00001")
    oneclick.start()
    oneclick.hold(number, oneclick.ebooks[0])
    for who in (card, "leser00001@example.edu", "vorname00001"):
        assert len(oneclick.done("holds", who)["outcome"]["holds"]) == 1, who
    oneclick.sandbox.admin("DELETE", f"/oneclick/patrons/{number}")
    (new,) = oneclick.admin("POST", "/patrons", [{"card": card}])["ids"]
    assert oneclick.done("holds", card)["outcome"]["holds"] == [] and oneclick.known()[card] == new
    oneclick.sandbox.admin("DELETE", f"/oneclick/patrons/{new}")
    row = oneclick.refused("holds", card)
    assert (row["code"], row["words"]) == ("no_patron", None)
    assert card not in oneclick.known(), "what OneClick no longer knows is forgotten"

    plain, told = oneclick.card(), oneclick.card()
    oneclick.settings(patron_exists_status=500)
    assert oneclick.refused("checkout", plain, isbn=oneclick.a)["code"] == "no_patron"
    assert oneclick.done("checkout", plain, isbn=oneclick.a, create=True)["code"] == "borrowed"
    asked = {"create": True, "email": "leser00777@example.edu", "first_name": "Vorname0", "last_name": "Nachname0"}
    assert oneclick.done("checkout", told, isbn=oneclick.b, **asked)["code"] == "borrowed"
    assert oneclick.deeds("patrons") == [f"library+rbdigital-{plain}@example.edu", "leser00777@example.edu"]
    made = {p["email"]: p for p in oneclick.admin("GET", "/patrons")}
    dummy = made[f"library+rbdigital-{plain}@example.edu"]
    assert dummy["card"].startswith(plain) and len(dummy["card"]) == len(plain) + 6, \
        "the person may still register with the card"
    assert made["leser00777@example.edu"]["card"] == told and made["leser00777@example.edu"]["first_name"] == "Vorname0"
    assert oneclick.done("loans", plain)["outcome"]["loans"][0]["isbn"] == oneclick.a
    oneclick.db.rows("DELETE FROM oneclick_patrons")
    assert oneclick.done("loans", plain)["outcome"]["loans"][0]["isbn"] == oneclick.a, "found again by the e-mail"
    row = oneclick.await_state(oneclick.want("download", plain, isbn=oneclick.a), "asks")
    assert oneclick.done("download", plain, isbn=oneclick.a, file=row["outcome"]["files"][0]["id"])["code"] == "access"

    family = oneclick.card()
    row = oneclick.refused("checkout", family, isbn=oneclick.a, create=True, email="leser00777@example.edu")
    assert row["code"] == "other_card", "an e-mail is no proof of who somebody is"
    assert oneclick.refused("checkout", "leser00888@example.edu", isbn=oneclick.a, create=True)["code"] == "no_card"
    assert len(oneclick.deeds("patrons")) == 2
    oneclick.assert_quiet()


def test_a_patron_is_made_once(oneclick):
    """The answer to a creation is lost, refused or late; the second message asks, by card and by e-mail."""
    want = {}
    faults = [("drop_after", {}), ("drop_before", {}), ("status", {"status": 500, "effect": True}), ("status", {"status": 502}),
              ("truncate", {}), ("stall", {"effect": True, "ms": 1500}), ("not_json", {"status": 201, "effect": True})]
    oneclick.start(CONCURRENCY=8, RETRY_MS_MAX=200, TRIES_MAX=50)
    for number, (kind, members) in enumerate(faults):
        for email in (None, f"leser{900 + number:05d}@example.edu"):
            card = oneclick.card()
            oneclick.fault("create", kind, key=email or f"library+rbdigital-{card}@example.edu", count=1, **members)
            asked = {"email": email} if email else {}
            want[oneclick.want("checkout", card, isbn=oneclick.a, create=True, **asked)] = kind, members, email
            oneclick.want("search", card)
    oneclick.settle(90)
    for request_id, when in want.items():
        assert code(oneclick.row(request_id)) == ("done", "borrowed"), f"{when}: {oneclick.row(request_id)}"
    assert all(f["fired"] == 1 for f in oneclick.sandbox.faults())
    assert len(oneclick.deeds("patrons")) == len(set(oneclick.deeds("patrons"))) == len(want)
    assert len(oneclick.deeds("loans")) == len(want)
    oneclick.assert_quiet()


# ---- what is refused ----

def test_a_refusal_is_told_in_oneclicks_words_and_not_repeated(oneclick):
    card, number = oneclick.someone()
    full, full_number = oneclick.someone()
    oneclick.settings(checkout_limit=2, hold_limit=2, renewals_max=0)
    out, lent = oneclick.ebooks[:2]
    oneclick.lend(oneclick.someone()[1], out)
    for isbn in (oneclick.a, lent):
        oneclick.lend(full_number, isbn)
    oneclick.db.rows("INSERT INTO titles (isbn, owned, owned_as_of, available, available_as_of) VALUES"
                     " (%s, true, now(), true, now() - interval '4 hours'), (%s, true, now(), true, now())", out, oneclick.b)
    oneclick.start()
    no_title = "9780000000002"
    refusals = [
        ("checkout", card, {"isbn": out}, "not_available", "Title is not available for checkout"),
        ("checkout", full, {"isbn": oneclick.b}, "limit", "Maximum checkout count reached."),
        ("hold", full, {"isbn": oneclick.b}, "limit",
         "You have reached your checkout limit and therefore are unable to place additional holds."),
        ("checkout", card, {"isbn": no_title}, "not_in_library", None),
        ("hold", card, {"isbn": no_title}, "not_in_library", None),
        ("renew", full, {"isbn": oneclick.a}, "not_renewable", None),
        ("renew", card, {"isbn": oneclick.a}, "not_on_loan", None),
        ("loans", oneclick.card(), {}, "no_patron", None),
    ]
    rows = [oneclick.refused(action, who, **asked) for action, who, asked, *_ in refusals]
    assert [(row["code"], row["words"]) for row in rows] == [tuple(r[3:]) for r in refusals]
    assert rows[0]["outcome"] == {"offer": "hold"} and not any(row["outcome"] for row in rows[1:])
    assert oneclick.db.rows("SELECT isbn, available, available_as_of > now() - interval '1 minute' FROM titles ORDER BY isbn = %s",
                            oneclick.b) == [(out, False, True), (oneclick.b, True, True)], "what is out is known to be at once"

    odd = [("bare_string", {"status": 409, "value": "Not this week."}, "refused", "Not this week."),
           ("message_in_200", {"status": 409, "value": "Blocked at db01.corp.example: card 22334455667788"}, "refused",
            "Blocked at db01.corp.example: card …"),
           ("bad_request_html", {}, "bad_input", None), ("sql_exception", {}, "bad_input", None),
           ("message_in_200", {"value": "An error has occurred."}, "refused", "An error has occurred.")]
    said = {}
    for kind, members, want_code, words in odd:
        who, key = oneclick.someone()
        oneclick.fault("checkout", kind, key=str(key), **members)
        said[oneclick.want("checkout", who, isbn=oneclick.c)] = want_code, words
    for request_id, (want_code, words) in said.items():
        row = oneclick.await_state(request_id, "refused")
        assert (row["code"], row["words"]) == (want_code, words), row

    bad = [("checkout", {"isbn": "9780307378102"}, "isbn: check digit 2, want 1"), ("checkout", {"isbn": out, "days": "7"},
            "days: want"),
           ("renew", {}, "isbn: missing"), ("lend", {}, "action: none of OneClick's"), ("magazine_return", {"issue": "1/2"},
            "issue: want"),
           ("search", {"media_type": "paper"}, "media_type: want eBook or eAudio")]
    for action, asked, words in bad:
        row = oneclick.await_state(oneclick.ask("oneclick", action, card, **asked), "refused")
        assert row["code"] == "bad_request" and row["words"].startswith(words), row

    oneclick.settle()
    before = {c: oneclick.sandbox.count("oneclick", c) for c in ("find", "checkout", "hold", "loans", "availability")}
    oneclick.send(*oneclick.asked)
    oneclick.settle()
    assert {c: oneclick.sandbox.count("oneclick", c) for c in before} == before, "a refused request was sent again"
    assert oneclick.loans(number) == {} and oneclick.deeds("loans", number) == []
    oneclick.assert_quiet()


def test_a_refusal_that_was_none(oneclick):
    """OneClick says no after having done it: the list is believed."""
    want = {}
    oneclick.start(CONCURRENCY=8, RETRY_MS_MAX=200)
    sql = json.dumps({"message": "eXtensible Framework encountered a SqlException executing against 10.0.1.48"})
    error = json.dumps({"message": "An error has occurred."})
    for status, body in ((500, sql), (200, error)):
        for call, action in (("checkout", "checkout"), ("renew", "renew"), ("return", "return"), ("hold", "hold")):
            card, number = oneclick.someone()
            if action in ("renew", "return"):
                oneclick.lend(number, oneclick.a, days=7)
            oneclick.fault(call, "status", key=str(number), count=1, status=status, body=body, effect=True)
            want[oneclick.want(action, card, isbn=oneclick.a)] = action, number
    wait_for(lambda: sum(oneclick.states().get(s, 0) for s in ("done", "refused")) + oneclick.db.one(
        "SELECT count(*) FROM requests WHERE waits_for = 'loan'") == len(want),
                      lambda: f"{oneclick.states()}" + oneclick.tails(), 60)
    codes = {"checkout": "borrowed", "renew": "renewed", "return": "returned"}
    for request_id, (action, number) in want.items():
        row = oneclick.row(request_id)
        if action == "hold":
            assert (row["state"], row["waits_for"]) == ("waiting", "loan"), row
        else:
            assert code(row) == ("done", codes[action]), row
    counts = oneclick.sandbox.counts("oneclick")
    assert {k: counts[k] for k in ("loans", "renewals", "returns", "holds", "duplicates")} == {
        "loans": 2 + 4, "renewals": 2, "returns": 2, "holds": 2, "duplicates": 0}


# ---- a hold that becomes a loan ----

def test_a_hold_on_what_is_available_is_followed_until_it_is_a_loan(oneclick):
    card, number = oneclick.someone()
    gone, gone_number = oneclick.someone()
    shelved, other, late = oneclick.ebooks[:3]
    oneclick.start(ONECLICK_FOLLOW_HOURS=1)
    first, second, third = (oneclick.want("hold", who, isbn=isbn) for who, isbn in ((card, shelved), (gone, other), (card,
                            late)))

    def waits(request_id):
        row = oneclick.await_state(request_id, "waiting")
        assert (row["waits_for"], row["code"], row["answered_at"]) == ("loan", None, None), row
        return row
    row = waits(first)
    assert row["outcome"]["hold"]["isbn"] == shelved and row["known"]["follow"]["at"]
    soon = oneclick.db.one("SELECT extract(epoch FROM retry_at - now()) FROM requests WHERE request_id = %s", first)
    assert 0 < soon <= 2, "patron-requests is told when to send it again"
    assert oneclick.done("loans", card)["outcome"] == {"loans": []}, "what the patron asks next is not held up"
    waits(second), waits(third)

    def looked_at(request_id):
        """Sends it again, as patron-requests does, until it has been looked at."""
        oneclick.db.rows("UPDATE requests SET retry_at = NULL WHERE request_id = %s", request_id)
        oneclick.send(request_id)
        wait_for(lambda: oneclick.row(request_id)["retry_at"] or oneclick.row(request_id)["state"] != "waiting",
                 lambda: f"{oneclick.row(request_id)}" + oneclick.tails())
        return oneclick.row(request_id)
    row = looked_at(first)
    assert (row["state"], row["waits_for"]) == ("waiting", "loan")
    assert oneclick.admin("POST", "/convert", {"isbn": shelved}) == {"loans": 1}
    oneclick.app("DELETE", gone_number, f"/holds/{other}")
    row = looked_at(first)
    assert code(row) == ("done", "loan") and row["outcome"]["loan"]["isbn"] == shelved and row["waits_for"] is None
    assert row["outcome"]["loan"]["expiration"] == oneclick.loans(number)[shelved]["expiration"]
    assert code(looked_at(second)) == ("refused", "hold_gone")
    oneclick.db.rows("UPDATE requests SET known = jsonb_set(known, '{follow,at}', to_jsonb(extract(epoch FROM now())::bigint - 3600))"
                     " WHERE request_id = %s", third)
    row = looked_at(third)
    assert code(row) == ("done", "held") and row["outcome"]["hold"]["isbn"] == late, "a hold like others, after a while"
    assert sorted(oneclick.deeds("holds")) == sorted([shelved, other, late])
    oneclick.assert_quiet()


# ---- answers that do not come ----

LOST = [
    ("drop_after", {}), ("drop_before", {}), ("reset_after", {}), ("truncate", {}), ("not_json", {"effect": True}),
    ("empty", {"effect": True, "status": 201}), ("status", {"status": 500, "effect": True}), ("status", {"status": 500}),
    ("status", {"status": 502, "effect": True}), ("status", {"status": 503}), ("stall", {"effect": True, "ms": 1500}),
    ("stall", {"effect": "late", "ms": 3000}), ("rate_limited", {"retry_after": 1}),
]
KINDS = {  # action: the call, what is asked besides the ISBN, the deed, the code
    "checkout": ("checkout", {"days": 7}, "loans", "borrowed"),
    "renew": ("renew", {"days": 7}, "renewals", "renewed"),
    "return": ("return", {}, "returns", ("returned", "not_on_loan")),
    "hold": ("hold", {}, "holds", "held"),
    "cancel_hold": ("cancel_hold", {}, "cancels", ("cancelled", "not_held")),
    "magazine_checkout": ("magazine", {"issue": "4711"}, "magazines", "borrowed"),
    "magazine_return": ("magazine_return", {"issue": "4711"}, "magazine_returns", "returned"),
}


class Changes:
    """One request of every kind that changes something, for a patron each, and what must have come of it."""

    def __init__(self, oneclick):
        self.oneclick, self.want = oneclick, {}
        self.out = oneclick.ebooks[0]  # held by those who wait for it
        oneclick.lend(oneclick.someone()[1], self.out)

    def ask(self, action, prepare=lambda number: None):
        """prepare: is told the patron's number before the request is sent."""
        call, asked, deed, codes = KINDS[action]
        card, number = self.oneclick.someone()
        isbn = self.out if "hold" in action else self.oneclick.a
        if action in ("renew", "return"):
            self.oneclick.lend(number, isbn, days=7)
        elif action == "cancel_hold":
            self.oneclick.hold(number, isbn)
        elif action == "magazine_return":
            self.oneclick.app("POST", number, "/patron-magazines/4711")
        if "magazine" not in action:
            asked = {"isbn": isbn, **asked}
        prepare(number)
        request_id = self.oneclick.want(action, card, **asked)
        self.want[request_id] = action, number
        return request_id

    def assert_done_once(self):
        for request_id, (action, number) in self.want.items():
            _, asked, deed, codes = KINDS[action]
            row = self.oneclick.row(request_id)
            assert row["state"] == "done" and row["code"] in ([codes] if isinstance(codes, str) else codes), row
            done = self.oneclick.deeds(deed, number)
            assert len(done) == 1, f"{action} was done {len(done)} times: {row} {self.oneclick.attempts(request_id)}"
        self.oneclick.assert_quiet()


def test_a_request_whose_answer_is_lost_is_done_once(oneclick):
    """Every kind of request times everything that can become of its one call, a patron each; others are well meanwhile."""
    changes = Changes(oneclick)
    oneclick.settings(renewals_max=1, told_first="limit")
    oneclick.start(CONCURRENCY=10, RETRY_MS_MAX=200, TRIES_MAX=50)
    for kind, members in LOST:
        faults = []
        for action, (call, *_) in KINDS.items():
            changes.ask(action, lambda number: faults.append(oneclick.fault(call, kind, key=str(number), count=1, **members)))
            oneclick.want("search", oneclick.card())
        wait_for(lambda: all(oneclick.sandbox.fired(f) for f in faults),
                 lambda: f"{kind}: {oneclick.states()}" + oneclick.tails())
    oneclick.settle(90)
    changes.assert_done_once()
    assert all(f["fired"] == 1 for f in oneclick.sandbox.faults())


def test_what_is_ours_by_a_lost_call_is_no_refusal(oneclick):
    """The loan whose answer was lost reached the limit, or took the only copy: OneClick says that first, and is not believed."""
    oneclick.settings(checkout_limit=1, hold_limit=1, told_first="limit")
    want = {}
    ebook, out = oneclick.ebooks[:2]
    oneclick.lend(oneclick.someone()[1], out)
    for action, isbn in (("checkout", oneclick.a), ("checkout", ebook), ("hold", out)):
        card, number = oneclick.someone()
        oneclick.fault(action, "drop_after", key=str(number), count=1)
        want[oneclick.want(action, card, isbn=isbn)] = {"checkout": "borrowed", "hold": "held"}[action]
    oneclick.start()
    oneclick.settle()
    assert {r: oneclick.row(r)["code"] for r in want} == want
    assert sorted(oneclick.deeds("loans")) == sorted([out, oneclick.a, ebook]) and oneclick.deeds("holds") == [out]
    oneclick.assert_quiet()


def test_reading_calls_that_fail_are_made_again(oneclick):
    changes, others = Changes(oneclick), []
    faults = ("drop_after", {}), ("status", {"status": 500}), ("not_json", {})
    oneclick.start(CONCURRENCY=10, RETRY_MS_MAX=200, TRIES_MAX=50)
    for kind, members in faults:
        for call in ("title_availability", "bearer", "download"):  # whoever comes first
            oneclick.fault(call, kind, count=1, **members)
        changes.ask("renew", lambda number: oneclick.fault("loans", kind, key=str(number), count=1, **members))
        changes.ask("hold")
        (card, number), (lender, lender_number) = oneclick.someone(), oneclick.someone()
        oneclick.fault("find", kind, key=card, count=1, **members)
        oneclick.fault("holds", kind, key=str(number), count=1, **members)
        ebook = oneclick.ebooks[len(others) + 1]
        oneclick.lend(lender_number, ebook)
        others += [oneclick.want("holds", card), oneclick.want("download", lender, isbn=ebook)]
    oneclick.settle(90)
    changes.assert_done_once()
    assert [oneclick.row(r)["code"] for r in others] == ["listed", "access"] * len(faults)
    assert all(f["fired"] == 1 for f in oneclick.sandbox.faults()), oneclick.sandbox.faults()


# ---- kill -9 ----

def test_kill_9_in_mid_call(oneclick):
    """Of each changing call one has arrived, and one never does; and so of a creation."""
    changes, made = Changes(oneclick), []
    for effect in (False, True):
        for action, (call, *_) in KINDS.items():
            changes.ask(action, lambda number: oneclick.fault(call, "stall", key=str(number), effect=effect))
        card = oneclick.card()
        oneclick.fault("create", "stall", key=f"library+rbdigital-{card}@example.edu", effect=effect)
        made.append(oneclick.want("hold", card, isbn=changes.out, create=True))
    count = len(changes.want) + len(made)
    worker = oneclick.start(ONECLICK_TIMEOUT_MS=3500, CONCURRENCY=count, **NAMED)
    calls = [call for call, *_ in KINDS.values()] + ["create"]
    wait_for(lambda: sum(oneclick.sandbox.count("oneclick", call, "in_flight") for call in calls) == count,
             lambda: f"not all calls are under way: {oneclick.states()}" + oneclick.tails())
    worker.kill9()
    oneclick.sandbox.heal()
    assert oneclick.states() == {"accepted": count} and len(oneclick.deeds("patrons")) == 1
    oneclick.start(ONECLICK_TIMEOUT_MS=500, **NAMED)
    oneclick.settle()
    changes.assert_done_once()
    assert [oneclick.row(r)["code"] for r in made] == ["held", "held"]
    assert len(oneclick.deeds("patrons")) == 2 and len(set(oneclick.deeds("patrons"))) == 2


def test_kill_9_between_the_answer_and_the_commit(oneclick):
    """OneClick has said yes, and nobody has written it down."""
    changes, stalls = Changes(oneclick), []
    for action, (call, *_) in KINDS.items():
        changes.ask(action, lambda number: stalls.append(oneclick.fault(call, "stall", key=str(number), effect=True)))
    worker = oneclick.start(ONECLICK_TIMEOUT_MS=3500, CONCURRENCY=8, **NAMED)
    calls = [call for call, *_ in KINDS.values()]
    wait_for(lambda: sum(oneclick.sandbox.count("oneclick", call, "in_flight") for call in calls) == len(calls),
             lambda: f"{oneclick.states()}" + oneclick.tails())
    with oneclick.db.locked("requests", "SHARE"):
        for stalled in stalls:
            oneclick.sandbox.heal(stalled)
        wait_for(lambda: oneclick.sandbox.count("oneclick", "renew", "200") and oneclick.db.waiting(),
                 "no outcome waits for the lock")
        worker.kill9()
        oneclick.db.end_sessions()
    assert oneclick.states() == {"accepted": len(calls)}
    oneclick.start(ONECLICK_TIMEOUT_MS=500, **NAMED)
    oneclick.settle()
    changes.assert_done_once()


# ---- order, repetition, several workers ----

def test_two_workers_and_every_message_twice(oneclick):
    out = oneclick.ebooks[0]
    oneclick.lend(oneclick.someone()[1], out)
    asked = {}
    for _ in range(8):
        card, number = oneclick.someone()
        asked[number] = [oneclick.want("checkout", card, isbn=oneclick.a, days=7), oneclick.want("renew", card,
                                       isbn=oneclick.a),
                         oneclick.want("hold", card, isbn=out), oneclick.want("cancel_hold", card, isbn=out),
                         oneclick.want("loans", card), oneclick.want("return", card, isbn=oneclick.a), oneclick.want("loans",
                                       card)]
    oneclick.send(*oneclick.asked)
    oneclick.start(), oneclick.start()
    oneclick.send(*oneclick.asked)
    oneclick.settle()
    oneclick.send(*oneclick.asked)
    oneclick.settle()
    assert oneclick.states() == {"done": 7 * 8}
    for number, requests_ in asked.items():
        rows = [oneclick.row(r) for r in requests_]
        assert [row["code"] for row in rows] == ["borrowed", "renewed", "held", "cancelled", "listed", "returned", "listed"]
        assert len(rows[4]["outcome"]["loans"]) == 1 and rows[6]["outcome"]["loans"] == [], \
            "a patron's requests are done in order"
    assert oneclick.sandbox.counts("oneclick")["duplicates"] == 0
    oneclick.assert_quiet()


def test_one_patron_waits_for_themselves_alone(oneclick):
    (slow, number), (other, _) = oneclick.someone(), oneclick.someone()
    stalled = oneclick.fault("checkout", "stall", key=str(number), count=1)
    oneclick.start(ONECLICK_TIMEOUT_MS=30000)
    first, second = oneclick.want("checkout", slow, isbn=oneclick.a), oneclick.want("checkout", slow, isbn=oneclick.b)
    wait_for(lambda: oneclick.sandbox.count("oneclick", "checkout", "in_flight") == 1, "no call under way")
    oneclick.done("checkout", other, isbn=oneclick.c)
    assert [oneclick.row(r)["state"] for r in (first, second)] == ["accepted", "accepted"]
    oneclick.sandbox.heal(stalled)
    oneclick.await_state(second, "done")
    assert oneclick.row(first)["state"] == "done" and oneclick.deeds("loans", number) == [oneclick.a, oneclick.b]


# ---- OneClick is down, or refuses us ----

def test_an_outage_loses_nothing(oneclick):
    oneclick.world.own_door("oneclick")
    people = [oneclick.someone() for _ in range(10)]
    oneclick.sandbox.vendor("oneclick", down=True)
    oneclick.start(TRIES_MAX=3)  # it comes and goes once: so often may a message fail while others are answered
    for n, (card, _) in enumerate(people):
        oneclick.want("checkout", card, isbn=oneclick.a) if n % 2 else oneclick.want("loans", card)
    keeps_true(lambda: set(oneclick.states()) <= {"accepted", "waiting"}, lambda: oneclick.states(), 3)
    oneclick.sandbox.vendor("oneclick", down=False)
    wait_for(lambda: len(oneclick.deeds("loans")) >= 2, lambda: f"{oneclick.states()}" + oneclick.tails())
    oneclick.sandbox.vendor("oneclick", down=True)
    keeps_true(lambda: set(oneclick.states()) <= {"accepted", "waiting", "done"}, lambda: oneclick.states(), 1)
    oneclick.sandbox.vendor("oneclick", down=False)
    oneclick.settle()
    assert oneclick.states() == {"done": 10} and len(oneclick.deeds("loans")) == 5
    assert oneclick.sandbox.counts("oneclick")["duplicates"] == 0
    oneclick.assert_quiet()


def test_a_token_that_is_refused_in_mid_call(oneclick):
    """Wrong, or too many calls: OneClick says the same. Nothing was done; the row says what it waits for, and it goes on."""
    card, number = oneclick.someone()
    oneclick.fault("checkout", "denied", key=str(number), count=1)
    worker = oneclick.start(TRIES_MAX=1)
    request_id = oneclick.want("checkout", card, isbn=oneclick.a)
    row = oneclick.await_state(request_id, "waiting")
    assert row["waits_for"] == "token_refused" and row["waits_since"]
    assert "the token is wrong, or" in worker.get("/readyz").text
    worker.stop()  # it would ask again in half a minute
    oneclick.start()
    row = oneclick.await_state(request_id, "done")
    assert row["waits_for"] is None and oneclick.deeds("loans", number) == [oneclick.a]
    oneclick.assert_quiet()


# ---- messages and settings ----

def test_what_is_no_request_is_set_aside(oneclick):
    oneclick.start()
    oneclick.world.produce_raw(TOPIC, "x", "{")
    oneclick.world.produce_raw(TOPIC, "x", json.dumps({"request_id": "0b8f3c1e-52d7-4f0a-9a64-6e1d2f9b7c35", "service": "wise",
                                                       "action": "hold", "patron": "x"}))
    wait_for(lambda: len(oneclick.world.dead_letters(TOPIC)) == 2, "no dead letters")
    card, _ = oneclick.someone()
    oneclick.fault("loans", "status", status=500)
    request_id = oneclick.want("loans", card)

    def given_up():
        oneclick.done("search", oneclick.card())  # OneClick answers others: so it is the message
        return oneclick.row(request_id)["state"] == "set_aside"
    wait_for(given_up, lambda: f"{oneclick.row(request_id)}" + oneclick.tails())
    row = oneclick.row(request_id)
    assert row["code"] == "tries_exhausted" and ("request_set_aside", request_id) in oneclick.world.desk()
    oneclick.sandbox.heal()
    assert oneclick.db.one("SELECT request_again(%s, 'the desk')", request_id)
    oneclick.send(request_id)
    assert oneclick.await_state(request_id, "done")["outcome"] == {"loans": []} and oneclick.world.desk() == []


def test_check_says_what_is_wrong(oneclick):
    it = oneclick.world.run("oneclick-requests", "--check")
    assert it.process.returncode == 0 and "ok  OneClick takes the token for library 1931" in it.log(), it.tail()
    for changed, status, words in (({"ONECLICK_TOKEN": "wrong"}, 100, "the token is wrong"), ({"ONECLICK_EMAIL": "library"},
                                   100, "ONECLICK_EMAIL"),
                                   ({"ONECLICK_LIBRARY_ID": "x"}, 100, "ONECLICK_LIBRARY_ID"), ({"ONECLICK_DEFAULT_DAYS": "0"},
                                    100, "ONECLICK_DEFAULT_DAYS"),
                                   ({"ONECLICK_URL": "http://127.0.0.1:1"}, 111, "no connection")):
        it = oneclick.world.run("oneclick-requests", "--check", **changed)
        assert it.process.returncode == status and words in it.log(), it.tail()

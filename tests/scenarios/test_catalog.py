"""The OneClick catalog: imported, kept current, available or not; and `titles` equals what OneClick has, row for row."""
import contextlib
import datetime
import itertools
import json
import random
import re
import signal

import pytest
import shelfwire
from shelfwire import ROOT, UTC, assert_valid, keeps_true, wait_for

RELEASE = ROOT / "build/bin"
ISBN_OF_NOBODY = "9780000000002"


class Catalog:
    """OneClick's side of a world, and ours."""

    def __init__(self, world):
        self.world, self.sandbox, self.db = world, world.sandbox, world.db
        world.make_topics("catalog.delta", "catalog.delta.dlq")

    # ---- OneClick's side ----

    def admin(self, method, path, body=None, **query):
        return self.sandbox.admin(method, "/oneclick" + path, body, **query)

    def generate(self, count, **more):
        self.admin("POST", "/generate", {"count": count, **more})

    def post(self, *titles, **query):
        self.admin("POST", "/titles", list(titles), **query)

    def remove(self, isbn, **query):
        self.admin("DELETE", f"/titles/{isbn}", **query)

    def lend(self, isbn, available=False):
        self.admin("POST", "/availability", {"isbn": isbn, "availability": available})

    def lines(self, **query):
        """What OneClick has, a dict a title."""
        answer = self.sandbox.http.get(f"{self.sandbox.url}/admin/oneclick/titles", params=query, timeout=60)
        assert answer.status_code == 200, answer.text
        return [json.loads(line) for line in answer.content.decode().split("\n") if line.strip().strip("[],")]

    def isbns(self):
        return [line["isbn"] for line in self.lines() if not line["removed"]]

    # ---- ours ----

    def run(self, *arguments, code=0, **changed):
        it = self.world.run("oneclick-catalog", *arguments, **changed)
        assert it.process.returncode == code, it.tail()
        return it

    def worker(self, **changed):
        return self.world.start("catalog-delta", **changed)

    def service(self, **changed):
        changed = {"ONECLICK_DELTA_SECONDS": 1, "ONECLICK_AVAILABILITY_SECONDS": 1, **changed}
        return self.world.begin("oneclick-catalog", **changed)

    def settle(self, timeout=60):
        self.world.await_no_lag("catalog-delta", timeout=timeout)

    def title(self, isbn):
        found = self.db.rows("SELECT row_to_json(t) FROM titles t WHERE isbn = %s", isbn)
        return found[0][0] if found else None

    def rows(self):
        return {isbn: row for isbn, row in self.db.rows(
            "SELECT isbn, row_to_json(t)::jsonb - '{owned_as_of,available_as_of,first_seen,changed_at,removed_at,missed_at,"
            "sent_available,sent_available_as_of,words,isbn}'::text[] FROM titles t WHERE owned")}

    def differences(self, availability=True):
        """Row for row: what OneClick has against what we have."""
        want = {line["isbn"]: as_row(line) for line in self.lines() if not line["removed"]}
        have, found = self.rows(), []
        for isbn in sorted(want.keys() | have.keys()):
            mine, theirs = dict(have.get(isbn) or {}), dict(want.get(isbn) or {})
            if not availability:
                mine.pop("available", None), theirs.pop("available", None)
            if mine != theirs:
                found.append((isbn, {k: (mine.get(k), theirs.get(k)) for k in mine.keys() | theirs.keys() if mine.get(k) != theirs.get(k)}))
        return found

    def assert_equal(self, availability=True):
        found = self.differences(availability)
        assert not found, f"{len(found)} titles differ (ours, OneClick's): {found[:3]}"

    def sent(self):
        return [m.json() for m in self.world.read_topic("catalog.delta")]


def cleaned(text):
    """As the adapter's header says: trimmed, without control characters."""
    if not isinstance(text, str):
        return None
    return re.sub(r"[\x00-\x1f\x7f-\x9f]", " ", text).strip() or None


def items(text, sep):
    return [c for c in (cleaned(part) for part in (text if isinstance(text, str) else "").split(sep)) if c]


def as_row(line):
    """A record of OneClick as a row, by the facts alone."""
    t = line["title"]
    series = cleaned(t.get("seriesName"))
    series = None if series == "Default Blank" else series
    number = (lambda key: t.get(key) or None if series and isinstance(t.get(key), int) else None)
    published = re.match(r"\d{4}-\d\d-\d\d", t.get("publicationDate") or "")
    images = {i["name"]: i["url"] for i in t.get("images") or [] if i.get("name") and i.get("url")}
    return {
        "owned": True, "media_type": cleaned(t.get("mediaType")), "title": cleaned(t.get("title")),
        "sort_title": sort_title(cleaned(t.get("title")), cleaned(t.get("language"))),
        "series_name": series, "series_position": number("seriesPosition"), "series_total": number("seriesTotal"),
        "authors": items(t.get("authors"), ";"), "narrators": items(t.get("narrators"), ";"),
        "genres": items(t.get("genres"), ";"), "primary_genres": items(t.get("primaryGenre"), ","),
        "audience": cleaned(t.get("audience")), "language": cleaned(t.get("language")), "publisher": cleaned(t.get("publisher")),
        "publication_date": published and published[0], "description": cleaned(t.get("description")),
        "digital_rights": t.get("hasDigitalRights"), "images": images or None, "title_id": t.get("titleId"),
        "available": line["availability"],
    }


ARTICLES = {  # the languages the sandbox makes titles in, after MARC 21, appendix F
    "english": "the a an", "french": "le la les l' l’ un une", "german": "der die das dem den des ein eine einem einen einer eines",
    "spanish": "el la lo los las un una", "italian": "il lo la l' l’ i gli gl' gl’ le li un uno una un' un’",
    "dutch": "de het een eene 'n ’n 't ’t",
}


def sort_title(title, language):
    """Where the article ends, for the languages the sandbox makes titles in."""
    if not title:
        return None
    for article in ARTICLES.get((language or "english").lower(), "").split():
        ahead = article if article[-1] in "'’" else article + " "  # elided ones stand without a blank
        if title.lower().startswith(ahead) and title[len(ahead):].strip():
            return title[len(ahead):].lstrip()
    return title


def isbn_of(number):
    digits = f"978{number:09d}"
    return digits + str(-sum(int(d) * (3 if i % 2 else 1) for i, d in enumerate(digits)) % 10)


def record(isbn, **changed):
    return {"isbn": isbn, "mediaType": "eAudio", "title": "The Tricks", "titleId": 14888, "authors": "Hopkins, Ellen",
            "narrators": "Guskin, Laura Flanagan;jeremy; Potter, Kirsten", "genres": "JUVENILE FICTION / Social Themes / Adolescence",
            "primaryGenre": "juvenile-fiction,drama", "language": "English", "publicationDate": "2009-08-25T00:00:00Z",
            "hasDigitalRights": True, "images": [{"name": "small", "url": "http://images.example/1_71x108.jpg"}], **changed}


@pytest.fixture
def catalog(world):
    return Catalog(world)


# ---- import, delta, availability ----

def test_import_delta_and_availability_end_in_what_oneclick_has(catalog):
    catalog.generate(3000)
    catalog.worker()
    done = catalog.run("--import")
    assert "imported: 3000 titles" in done.log()
    catalog.settle()
    catalog.assert_equal(availability=False)
    for message in catalog.world.read_topic("catalog.delta")[:50]:
        assert_valid("catalog.delta", message)
    catalog.run("--once")  # the first availability: every title
    catalog.settle()
    catalog.assert_equal()

    known = catalog.isbns()
    catalog.generate(20, **{"from": 5001})
    for isbn in known[:7]:
        catalog.remove(isbn)
    catalog.admin("POST", "/availability", {"flip": 25, "seed": 7})
    before = len(catalog.sent())
    catalog.run("--once")
    catalog.settle()
    catalog.assert_equal(availability=False)
    catalog.run("--once")  # what is available of the new titles
    catalog.settle()
    catalog.assert_equal()
    gone = catalog.title(known[0])
    assert not gone["owned"] and gone["available"] is False and gone["removed_at"] and gone["title"]
    # 20 added and 7 removed, each perhaps twice for the day overlaps, 25 turned, 20 availabilities: not the whole catalog again
    assert len(catalog.sent()) - before <= 2 * 27 + 27 + 25 + 20


def test_ten_changes_cost_ten_messages(catalog):
    catalog.generate(2000)
    catalog.worker()
    catalog.run("--import")
    catalog.settle()
    catalog.run("--once", ONECLICK_DELTA="media")
    catalog.settle()
    catalog.admin("POST", "/availability", {"flip": 10, "seed": 3})
    before = catalog.sent()
    catalog.run("--once")
    new = [m for m in catalog.sent() if m not in before]
    assert [m["change"] for m in new] == ["availability"] * 10
    catalog.settle()
    catalog.assert_equal()
    before = len(catalog.sent())
    catalog.run("--once")
    assert len(catalog.sent()) == before


def test_what_is_still_in_kafka_is_not_sent_again_nor_overlooked(catalog):
    """The worker is away while titles turn, and turn back: the rows are old, and what was sent counts."""
    catalog.generate(50)
    worker = catalog.worker()
    catalog.run("--import")
    catalog.settle()
    catalog.run("--once")
    catalog.settle()
    isbn = catalog.isbns()[0]
    now = catalog.title(isbn)["available"]
    worker.stop()
    catalog.lend(isbn, not now)
    catalog.run("--once")
    before = len(catalog.sent())
    catalog.run("--once")
    assert len(catalog.sent()) == before, "sent again although Kafka has it"
    catalog.lend(isbn, now)
    catalog.run("--once")
    assert len(catalog.sent()) == before + 1, "the row looks right, but what is in Kafka would turn it wrong"
    catalog.worker()
    catalog.settle()
    catalog.assert_equal()


def test_what_was_sent_is_noted_without_waiting_for_the_worker(catalog):
    """The worker writes rows while the producer notes them as sent: whoever waited could wait for the other for ever."""
    catalog.generate(30)
    catalog.worker()
    catalog.run("--import")
    catalog.settle()
    catalog.run("--once")
    catalog.settle()
    for isbn in catalog.isbns()[:3]:
        catalog.lend(isbn, not catalog.title(isbn)["available"])
    holder = catalog.db.open()
    holder.cursor().execute("SELECT FROM titles WHERE isbn = %s FOR UPDATE", (catalog.isbns()[1],))
    try:
        catalog.run("--once")
        assert catalog.db.one("SELECT count(*) FROM titles WHERE sent_available_as_of IS NOT NULL") < 3  # the worker may have others in hand
    finally:
        holder.rollback()
        holder.close()
    catalog.settle()
    catalog.assert_equal()


def test_the_service_waits_for_an_import_and_keeps_the_catalog_current(catalog):
    catalog.generate(300)
    service = catalog.service()
    service.await_log("never imported")
    assert "never imported" in service.get("/readyz").text
    worker = catalog.worker()
    catalog.run("--import")
    wait_for(lambda: catalog.rows() and not catalog.differences(), lambda: f"{catalog.differences()[:3]}" + service.tail(), 60, 0.2)
    known = catalog.isbns()
    catalog.remove(known[3])
    catalog.post(record(isbn_of(700000001)))
    catalog.lend(known[5], not catalog.title(known[5])["available"])
    wait_for(lambda: not catalog.differences(), lambda: f"{catalog.differences()[:3]}" + service.tail() + worker.tail(), 60, 0.2)
    assert "waits" not in service.get("/readyz").text


# ---- killed at any point ----

KILLS = ["import", "import, and the worker", "delta", "availability", "availability, and the worker"]


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("when", KILLS)
def test_killed_at_any_point_and_run_again(catalog, when, seed):
    rng = random.Random(f"{when} {seed}")
    catalog.generate(1500)
    catalog.sandbox.settings(oneclick={"content_length": True})
    worker = catalog.worker(KAFKA_GROUP_INSTANCE_ID="one")

    def kill_in(*arguments, feed):
        """Somewhere between the first message and the last: the list is made slow, and the program killed in it."""
        before = catalog.world.lag("catalog-delta")
        it = catalog.world.begin("oneclick-catalog", *arguments)
        wait_for(lambda: catalog.sandbox.count("oneclick", feed) or not it.running(), "nothing was asked", 20, 0.001)
        keeps_true(lambda: True, "", rng.random() * 0.3)
        it.kill9() if it.running() else setattr(it, "ended", True)
        return before

    if when.startswith("import"):
        for _ in range(2):
            kill_in("--import", feed="all")
            if "worker" in when:
                worker.kill9()
                worker = catalog.worker(KAFKA_GROUP_INSTANCE_ID="one")
    again = catalog.world.run("oneclick-catalog", "--import", *(["--again"] if catalog.db.rows(
        "SELECT 1 FROM producer_marks WHERE mark = 'import as of'") else []))
    assert again.process.returncode == 0, again.tail()
    catalog.settle()
    catalog.assert_equal(availability=False)
    for isbn in rng.sample(catalog.isbns(), 30):
        catalog.remove(isbn)
    catalog.generate(40, **{"from": 9001})
    if when.startswith(("delta", "availability")):
        for _ in range(3):
            kill_in("--once", feed="delta" if when == "delta" else "availability")
            if "worker" in when:
                worker.kill9()
                worker = catalog.worker(KAFKA_GROUP_INSTANCE_ID="one")
    for _ in range(2):
        catalog.run("--once")
        catalog.settle()
    catalog.assert_equal()


def test_an_import_that_breaks_off_is_simply_run_again(catalog):
    catalog.generate(2000)
    catalog.worker()
    fault = catalog.sandbox.fault("oneclick", "all", "truncate", count=1)
    broken = catalog.run("--import", code=111)
    assert re.search(r"broke off after \d+ titles; run it again", broken.log())
    assert catalog.sandbox.fired(fault)
    for shape in ("cut_short", "bare_string", "message_in_200", "sql_exception", "bad_request_html"):
        catalog.sandbox.fault("oneclick", "all", shape, count=1)
        broken = catalog.run("--import", code=111)
        assert "run it again" in broken.log()
        assert len(broken.log().splitlines()[-1]) < 600 and "SELECT" not in broken.log()
    catalog.run("--import")
    catalog.settle()
    catalog.assert_equal(availability=False)


def test_titles_that_postgresql_refuses_cost_no_other(catalog):
    """Of a backlog hundreds are written at a time."""
    catalog.generate(2000)
    known = sorted(catalog.isbns())
    odd = known[::97]
    catalog.run("--import")
    listed = ", ".join(f"'{isbn}'" for isbn in odd)
    catalog.db.rows(f"ALTER TABLE titles ADD CONSTRAINT odd CHECK (isbn NOT IN ({listed}) OR title IS NULL)")
    catalog.worker()
    catalog.settle()
    assert sorted(m.key.decode() for m in catalog.world.dead_letters("catalog.delta")) == odd
    assert sorted(catalog.rows()) == sorted(set(known) - set(odd))


def test_a_second_import_wants_to_be_asked_for(catalog):
    catalog.generate(20)
    catalog.run("--import")
    refused = catalog.run("--import", code=100)
    assert "sparingly" in refused.log() and "--again" in refused.log()
    assert catalog.sandbox.count("oneclick", "all") == 1
    catalog.run("--import", "--again")
    assert catalog.run("--again", code=100)


def test_half_a_catalog_empties_nothing(catalog):
    catalog.generate(1000)
    catalog.worker()
    catalog.run("--import")
    catalog.settle()
    for shape in ("half_list", "empty_list"):
        catalog.sandbox.fault("oneclick", "all", shape, count=1)
        said = catalog.run("--import", "--again")
        assert "not believed" in said.log()
        catalog.settle()
        assert len(catalog.rows()) == 1000
        assert ("catalog_shrunk", "oneclick") in catalog.world.desk()
    for isbn in catalog.isbns()[:300]:
        catalog.remove(isbn)
    catalog.run("--import", "--again", "--shrunk")
    catalog.settle()
    catalog.assert_equal(availability=False)
    assert not catalog.world.desk()


@pytest.mark.skipif(not (RELEASE / "oneclick-catalog").exists(), reason="a sanitizer keeps what was freed: it wants build/bin too")
def test_the_import_is_a_stream_and_memory_stays_small(catalog, monkeypatch):
    """Sixty thousand titles, some 65 MB: what grows with the list would show."""
    monkeypatch.setattr(shelfwire, "BUILD", RELEASE)
    catalog.generate(60000)
    it = catalog.world.begin("oneclick-catalog", "--import")
    most = [0]

    def ended():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            most[0] = max(most[0], *(int(kb) for kb in re.findall(r"RssAnon:\s+(\d+) kB", open(f"/proc/{it.process.pid}/status").read())), 0)
        return it.process.poll() is not None
    wait_for(ended, lambda: "the import does not end" + it.tail(), 120, 0.02)
    it.ended = True
    assert it.process.returncode == 0, it.tail()
    assert 1000 < most[0] < 20_000, f"{most[0]} kB of its own"


# ---- which fact stays ----

def change(isbn, kind, as_of, **more):
    return {"isbn": isbn, "change": kind, "as_of": as_of, **more}


def facts(isbn):
    yield "removed before added", [change(isbn, "removed", "2026-01-01T00:00:00Z"),
                                   change(isbn, "added", "2026-01-02T00:00:00Z", record=record(isbn))], (True, "The Tricks")
    yield "removed after added", [change(isbn, "added", "2026-01-01T00:00:00Z", record=record(isbn)),
                                  change(isbn, "removed", "2026-01-02T00:00:00Z")], (False, None)
    yield "two records", [change(isbn, "added", "2026-01-01T00:00:00Z", record=record(isbn, title="Old")),
                          change(isbn, "added", "2026-01-02T00:00:00Z", record=record(isbn, title="New"))], (True, "New")
    yield "added again, without its record, since the library had it", [
        change(isbn, "added", "2026-01-01T00:00:00Z", record=record(isbn)),
        change(isbn, "removed", "2026-01-02T00:00:00Z"),
        change(isbn, "added", "2026-01-03T00:00:00Z", record=record(isbn, title="New"))], (True, "New")


@pytest.mark.parametrize("number", range(4))
def test_messages_out_of_date_order_and_two_workers(catalog, number):
    """All orders of the same facts end in the same row: the newer one stays, whoever reads them."""
    name, messages, (owned, title) = list(facts("9781615730186"))[number]
    workers = [catalog.worker(), catalog.worker()]
    isbns = []
    for i, order in enumerate(itertools.permutations(messages)):
        isbn = isbn_of(100 + i)
        isbns.append((isbn, order))
        for m in order:
            mine = {**m, "isbn": isbn, **({"record": {**m["record"], "isbn": isbn}} if "record" in m else {})}
            catalog.world.produce_raw("catalog.delta", isbn, json.dumps(mine))
    catalog.settle()
    for isbn, order in isbns:
        row = catalog.title(isbn)
        assert row["owned"] == owned, (name, [m["as_of"] for m in order])
        assert not owned or row["title"] == title, (name, [m["as_of"] for m in order])
    assert all(w.running() for w in workers)


def test_availability_out_of_date_order(catalog):
    catalog.worker()
    for i, order in enumerate(itertools.permutations([("2026-01-01T00:00:00.5887333Z", True), ("2026-01-01T00:00:00.7Z", False),
                                                      ("2026-01-01T00:00:00.9999999Z", True)])):
        isbn = isbn_of(200 + i)
        catalog.world.produce_raw("catalog.delta", isbn, json.dumps(change(isbn, "added", "2026-01-01T00:00:00Z", record=record(isbn))))
        for as_of, available in order:
            catalog.world.produce_raw("catalog.delta", isbn, json.dumps(change(isbn, "availability", as_of, available=available)))
    catalog.settle()
    for i in range(6):
        assert catalog.title(isbn_of(200 + i))["available"] is True
    assert catalog.db.one("SELECT count(*) FROM titles WHERE available_as_of = '2026-01-01T00:00:01Z'") == 6


# ---- deltas of every kind ----

@pytest.mark.parametrize("api", ["media", "holdings"])
def test_a_delta_of_nothing_and_one_without_its_lists(catalog, api):
    catalog.generate(30)
    catalog.worker()
    catalog.run("--import")
    catalog.settle()
    sent = catalog.sent()
    catalog.run("--once", ONECLICK_DELTA=api, ONECLICK_MEDIA_TYPES="eBook")
    catalog.sandbox.fault("oneclick", "delta" if api == "media" else "holdings", "missing_members")
    catalog.run("--once", ONECLICK_DELTA=api, ONECLICK_MEDIA_TYPES="eBook")
    assert {m["change"] for m in catalog.sent() if m not in sent} <= {"availability"}


def now_is(catalog, day):
    """OneClick's day; ours is the machine's, so only deltas that lie in the past are tried with it."""
    catalog.sandbox.settings(oneclick={"now": f"{day.isoformat()}T12:00:00Z"})


def days_ago(days):
    return (datetime.datetime.now(UTC) - datetime.timedelta(hours=5)).date() - datetime.timedelta(days=days)


def mark_day(catalog, day):
    catalog.db.rows("UPDATE producer_marks SET value = %s WHERE mark = 'delta day'", day.isoformat())


@pytest.mark.parametrize("api", ["media", "holdings"])
def test_an_absence_is_made_up_for(catalog, api):
    catalog.generate(100)
    catalog.worker()
    catalog.run("--import")
    catalog.settle()
    known = catalog.isbns()
    mark_day(catalog, days_ago(150))
    catalog.sandbox.settings(oneclick={"available_dates": [days_ago(d).isoformat() for d in (151, 3, 90, 155, 30, 0)]})
    for i, day in enumerate((140, 88, 61, 60, 59, 20, 1)):
        catalog.remove(known[i], day=days_ago(day).isoformat())
    catalog.post(record(isbn_of(700000003)), day=days_ago(77).isoformat())
    catalog.run("--once", ONECLICK_DELTA=api)
    catalog.settle()
    catalog.assert_equal(availability=False)
    asked = [c for c in catalog.sandbox.calls("oneclick", "delta" if api == "media" else "holdings")]
    assert len(asked) == (3 if api == "media" else 1)


def test_an_absence_too_long_says_that_an_import_is_needed(catalog):
    catalog.generate(10)
    catalog.worker()
    catalog.run("--import")
    catalog.settle()
    mark_day(catalog, days_ago(200))
    said = catalog.run("--once", code=111, ONECLICK_DELTA="media")
    assert "--import --again" in said.log()
    assert ("import_needed", "oneclick") in catalog.world.desk()
    catalog.run("--import", "--again")
    assert not catalog.world.desk()
    catalog.run("--once", ONECLICK_DELTA="media", ONECLICK_MEDIA_TYPES="eBook")


@pytest.mark.parametrize("spoken", ["media", "holdings"])
def test_which_delta_is_spoken_is_found_out_once(catalog, spoken):
    catalog.sandbox.settings(oneclick={"delta": spoken})
    catalog.generate(10)
    catalog.worker()
    catalog.run("--import")
    catalog.settle()
    mark_day(catalog, days_ago(40))
    catalog.remove(catalog.isbns()[0], day=days_ago(20).isoformat())
    for _ in range(2):
        catalog.run("--once")
    catalog.settle()
    catalog.assert_equal(availability=False)
    assert catalog.sandbox.count("oneclick", "delta", "404") == (1 if spoken == "holdings" else 0)
    assert catalog.sandbox.count("oneclick", "dates", "404") == 0
    other = "holdings" if spoken == "media" else "media"
    assert "ONECLICK_URL" in catalog.run("--once", code=111, ONECLICK_DELTA=other).log()


@pytest.mark.parametrize("spoken", ["media", "holdings"])
@pytest.mark.parametrize("owned", [True, False])
def test_the_same_title_added_and_removed(catalog, spoken, owned):
    """Which came last, nobody says: the worker asks."""
    catalog.generate(10)
    catalog.worker()
    catalog.run("--import")
    catalog.settle()
    mark_day(catalog, days_ago(40))
    isbn = isbn_of(700000004)
    catalog.post(record(isbn), day=days_ago(30).isoformat())
    catalog.remove(isbn, day=days_ago(29).isoformat())
    if owned:
        catalog.post(record(isbn), day=days_ago(28).isoformat())
    catalog.run("--once", ONECLICK_DELTA=spoken)
    catalog.settle()
    assert "check" in {m["change"] for m in catalog.sent() if m["isbn"] == isbn}
    assert catalog.title(isbn)["owned"] is owned
    assert catalog.sandbox.count("oneclick", "title") >= 1


def test_holdings_tell_isbns_alone_and_the_worker_asks_once_for_each(catalog):
    catalog.generate(20)
    catalog.worker()
    catalog.run("--import")
    catalog.settle()
    mark_day(catalog, days_ago(10))
    catalog.generate(15, **{"from": 3001, "day": days_ago(5).isoformat()})
    for _ in range(2):
        catalog.run("--once", ONECLICK_DELTA="holdings")
        mark_day(catalog, days_ago(10))
    catalog.settle()
    catalog.assert_equal(availability=False)
    assert catalog.sandbox.count("oneclick", "title") == 15


# ---- titles of every kind ----

def test_a_title_without_a_valid_isbn_is_the_desks(catalog):
    catalog.generate(10)
    catalog.post(record("9780307378102", titleId=4711))
    worker = catalog.worker()
    said = catalog.run("--import")
    assert "without a valid ISBN" in said.log()
    assert ("bad_isbn", "titleId 4711") in catalog.world.desk()
    catalog.settle()
    assert len(catalog.rows()) == 10
    catalog.remove("9780307378102")
    catalog.run("--import", "--again")
    assert not catalog.world.desk(), "mended, and still on the desk"
    catalog.world.produce_raw("catalog.delta", "9780307378102", json.dumps(change("9780307378102", "check", "2026-01-01T00:00:00Z")))
    wait_for(lambda: catalog.world.dead_letters("catalog.delta"), "no dead letter" + worker.tail())


def test_a_title_of_100_kb_and_one_too_large_for_a_message(catalog):
    catalog.generate(5)
    catalog.post(record(isbn_of(700000005), description="Ü" * 50_000), record(isbn_of(700000006), description="x" * 600_000))
    catalog.worker()
    catalog.run("--import")
    catalog.settle()
    catalog.assert_equal(availability=False)
    assert catalog.sandbox.count("oneclick", "title") == 1  # for the larger one


def test_availability_of_a_title_that_is_not_in_the_catalog(catalog):
    catalog.generate(40)
    catalog.worker()
    catalog.run("--import")
    catalog.settle()
    catalog.sandbox.settings(oneclick={"stray_availability": {ISBN_OF_NOBODY: "eBook"}})
    late = isbn_of(700000007)
    catalog.post(record(late), day=days_ago(100).isoformat())  # no delta of ours tells of it
    for _ in range(3):
        catalog.run("--once")
        catalog.settle()
    catalog.assert_equal()
    assert catalog.sandbox.count("oneclick", "title") == 2, "asked for once a day"
    nobody = catalog.title(ISBN_OF_NOBODY)
    assert nobody["owned"] is False and nobody["title"] is None and nobody["missed_at"]


@pytest.mark.parametrize("shape", ["not_found", "invalid_token"])
def test_both_texts_of_not_in_the_library(catalog, shape):
    catalog.worker()
    catalog.sandbox.fault("oneclick", "title", shape)
    isbn = isbn_of(300)
    catalog.world.produce_raw("catalog.delta", isbn, json.dumps(change(isbn, "check", "2026-01-01T00:00:00Z")))
    catalog.settle()
    assert catalog.title(isbn)["owned"] is False


# ---- a vendor that is unwell ----

def test_a_wrong_token_may_be_a_rate_limit_and_says_so(catalog):
    catalog.generate(10)
    worker = catalog.worker()
    catalog.sandbox.fault("oneclick", "*", "denied", status=500)
    said = catalog.run("--import", code=100)
    assert "token" in said.log() and "rate limit" in said.log()
    isbn = catalog.isbns()[0]
    catalog.world.produce_raw("catalog.delta", isbn, json.dumps(change(isbn, "check", "2026-01-01T00:00:00Z")))
    worker.await_log("rate limit")
    catalog.sandbox.heal()
    wait_for(lambda: catalog.title(isbn), "the worker does not go on" + worker.tail(), 90)
    catalog.world.assert_no_dead_letters()


def test_messages_that_bring_the_record_need_no_vendor(catalog):
    catalog.world.own_door("oneclick")
    worker = catalog.worker()
    catalog.sandbox.vendor("oneclick", down=True)
    asked = isbn_of(400)
    catalog.world.produce_raw("catalog.delta", asked, json.dumps(change(asked, "check", "2026-01-01T00:00:00Z")))
    worker.await_log("unwell")
    for i in range(401, 421):
        isbn = isbn_of(i)
        catalog.world.produce_raw("catalog.delta", isbn, json.dumps(change(isbn, "added", "2026-01-01T00:00:00Z", record=record(isbn))))
    wait_for(lambda: len(catalog.rows()) == 20, "the sick vendor stops what needs no vendor" + worker.tail())
    catalog.sandbox.vendor("oneclick", down=False)
    wait_for(lambda: catalog.title(asked), "and the other goes on by itself" + worker.tail())


def test_a_failed_list_is_read_again_and_the_service_says_why(catalog):
    catalog.generate(30)
    catalog.worker()
    catalog.run("--import")
    catalog.settle()
    fault = catalog.sandbox.fault("oneclick", "availability", "object")
    service = catalog.service()
    service.await_log("trying again in 1 s")
    assert "availability" in service.get("/readyz").text
    catalog.sandbox.heal(fault)
    wait_for(lambda: not catalog.differences(), lambda: f"{catalog.differences()[:2]}" + service.tail(), 30, 0.2)


def test_messages_lost_in_kafka_are_made_up_for(catalog):
    """The topic is made anew before the worker has read it."""
    catalog.generate(200)
    worker = catalog.worker()
    catalog.run("--import")
    catalog.settle()
    catalog.run("--once")
    catalog.settle()
    worker.stop()
    known = catalog.isbns()
    catalog.remove(known[0])
    catalog.lend(known[1], not catalog.title(known[1])["available"])
    catalog.run("--once")
    topic = catalog.world.topic("catalog.delta")
    catalog.world.servers.admin.delete_topics([topic], operation_timeout=10)[topic].result()
    wait_for(lambda: "catalog.delta" not in catalog.world.topics(), "the topic is still there")
    catalog.world.made_topics.discard("catalog.delta")
    catalog.world.make_topics("catalog.delta")
    catalog.worker()
    wait_for(lambda: (catalog.run("--once"), catalog.settle(), not catalog.differences())[2],
             lambda: f"{catalog.differences()[:3]}", 60, 0.5)


# ---- settings ----

def test_check_says_what_is_wrong(catalog):
    catalog.generate(3)
    assert "answers media/delta" in catalog.run("--check").log()
    catalog.sandbox.settings(oneclick={"delta": "holdings"})
    assert "answers book-holdings/delta" in catalog.run("--check").log()
    assert "OneClick takes the token" in catalog.world.run("catalog-delta", "--check").log()
    for changed, words in (({"ONECLICK_TOKEN": "wrong"}, "rate limit"), ({"ONECLICK_LIBRARY_ID": "x1"}, "ONECLICK_LIBRARY_ID"),
                           ({"ONECLICK_MEDIA_TYPES": "e-Book"}, "ONECLICK_MEDIA_TYPES"), ({"ONECLICK_DELTA": "both"}, "auto|media|holdings")):
        said = catalog.world.run("oneclick-catalog", "--check", **changed)
        assert said.process.returncode == 100 and words in said.log(), said.tail()


def test_interrupted_by_a_signal_it_says_so(catalog):
    catalog.generate(20000)
    it = catalog.world.begin("oneclick-catalog", "--import")
    wait_for(lambda: catalog.sandbox.count("oneclick", "all"), "nothing was asked", 20, 0.002)
    it.process.send_signal(signal.SIGTERM)
    it.process.wait(20)
    it.ended = True
    assert it.process.returncode in (0, 111), it.tail()
    assert it.process.returncode == 0 or "run it again" in it.log()

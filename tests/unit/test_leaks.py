"""The scan for secrets and people: what it must find, and what it must leave alone."""
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "scenarios"))

from leaks import Scan  # noqa: E402

TOKEN = "0123456789abcdef0123456789abcdef01234567"
SCAN = Scan({"gate-password", "key"}, {"4be868c83ea2f8c03b3e052bb35cf0ff", "reader-00001", "10000000-0000-4000-8000-000000000001", "Ada"})
FOUND = {
    "a secret within a word": ("url=https://me:gate-password@host/", "a secret"),
    "a token of a vendor": (f"Bearer {TOKEN}", "a token"),
    "a token of ours": ("sw_" + "0a" * 32, "a caller's token"),
    "a name": ("made for Vorname00012", "a name"),
    "an e-mail": ("leser00012@example.edu", "an e-mail"),
    "an e-mail in a URL": ("email=somebody%40example.edu", "an e-mail"),
    "a card": ("uniqueId=22820000000012&", "a card"),
    "an id": ("user G00000012: 404", "an id"),
    "an id in lower case": ("/users/g00000012?", "an id"),
    "a patron in a path": ("GET /patron/4be868c83ea2f8c03b3e052bb35cf0ff/library", "what tells a person"),
    "a patron at the end of a sentence": ("refused reader-00001.", "what tells a person"),
    "a UUID in quotes": ('"userId":"10000000-0000-4000-8000-000000000001"', "what tells a person"),
}
LEFT = {
    "a trace": "trace 4be868c83ea2f8c03b3e052bb35cf0fe",
    "an appointment": "appt_id 20000000-0000-4000-8000-000000000001",
    "a booking": "cs_00000012 is cancelled", "an ISBN": "9781615730186",
    "a commit of git, shorter": TOKEN[:39], "part of a word": "Adage",
}


@pytest.mark.parametrize("case", FOUND)
def test_it_is_found(case):
    text, what = FOUND[case]
    (finding,) = SCAN.read("some.log", f"a line before\ninfo: {text}\na line behind")
    assert finding.startswith(f"some.log holds {what}: info: ") and "before" not in finding and "behind" not in finding


@pytest.mark.parametrize("case", LEFT)
def test_it_is_left_alone(case):
    assert SCAN.read("some.log", LEFT[case]) == []


def test_each_kind_once_and_no_secret_is_repeated():
    findings = SCAN.read("some.log", "gate-password of Vorname1\nkey of Vorname2\n")
    assert sorted(f.split(":")[0] for f in findings) == ["some.log holds a name", "some.log holds a secret"]
    assert not any("gate-password" in f or "key" in f for f in findings)


def test_nothing_to_look_for_finds_nothing():
    assert Scan(shapes=()).read("some.log", "gate-password") == []

"""patron-requests: what patrons ask for is taken once, or not at all, and never lost."""
import concurrent.futures
import functools
import json
import re
import uuid

import pytest
import requests
from shelfwire import wait_for

FOLIO, WISE, ONECLICK = "folio.requests", "wise.holds.prepare", "oneclick.requests"
TOPICS = [FOLIO, WISE, ONECLICK]
ITEM = "1ec54964-70f0-44cc-bd19-2a892ea0d336"


class Caller:
    """One who has a token, on kept connections."""

    def __init__(self, program, token):
        self.program, self.token = program, token
        self.http = requests.Session()
        self.http.headers["Authorization"] = f"Bearer {token}"

    @functools.cached_property
    def url(self):
        return wait_for(lambda: re.search(r"requests on (https?://\S+)", self.program.log()), "no port")[1]

    def post(self, what, **more):
        return self.http.post(f"{self.url}/requests", json=what, timeout=60, **more)

    def get(self, path, **more):
        return self.http.get(f"{self.url}/requests{path}", timeout=60, **more)

    def until_taken(self, what, timeout=30):
        """As a caller does it: again and again under the same ref, until it is known to be taken."""
        def tried():
            try:
                answer = self.post(what)
            except requests.RequestException:
                return None
            return answer if answer.status_code != 503 else None
        return wait_for(tried, "never taken", timeout, 0.2)


def add_caller(world, name="discovery", *more):
    made = world.run("patron-requests", "--add-caller", name, *more)
    assert made.process.returncode == 0, made.log()
    token, secret = re.search(r"token +(\S+)\ncallback secret +(\S+)\n", made.log()).groups()
    made.log_path.write_text("")
    world.secrets |= {token, secret}
    return token, secret


def start(world, **changed):
    world.make_topics(*TOPICS)
    return world.start("patron-requests", **changed)


def renew(ref, patron="reader-1", **changed):
    return {"ref": ref, "service": "folio", "action": "renew", "patron": patron, "item": ITEM, **changed}


def rows(world):
    return world.db.rows("SELECT request_id::text, caller, ref, sent_at IS NOT NULL FROM requests")


@pytest.fixture
def discovery(world):
    token, _ = add_caller(world)
    return Caller(start(world), token)


def test_taken_is_a_row_and_a_message(world, discovery):
    answer = discovery.post(renew("r1"))
    assert answer.status_code == 202, answer.text
    made = answer.json()
    assert made["state"] == "accepted" and made["ref"] == "r1"
    assert answer.headers["Location"] == f"/requests/{made['request_id']}"
    (message,) = world.read_topic(FOLIO)
    assert message.key == b"reader-1"
    assert message.json() == {"request_id": made["request_id"], "service": "folio", "action": "renew", "patron": "reader-1"}
    again = discovery.post(renew("r1"))
    assert again.status_code == 200 and again.json()["request_id"] == made["request_id"]
    other = discovery.post(renew("r1", patron="reader-2"))
    assert other.status_code == 409 and other.headers["Content-Type"] == "application/problem+json"
    assert len(world.read_topic(FOLIO)) == len(rows(world)) == 1
    wait_for(lambda: rows(world)[0][3], "not marked as sent", 5)
    seen = discovery.get(f"/{made['request_id']}")
    assert seen.status_code == 200, seen.text
    assert seen.json()["state"] == "accepted" and seen.json()["timeline"] == []

"""What patrons ask for, as patron-requests would take it in: a row in `requests`, and the message that triggers it."""
import datetime
import json
import secrets
import uuid

from shelfwire import UTC, stamp, wait_for

TOPICS = {"folio": "folio.requests", "wise": "wise.holds.prepare", "oneclick": "oneclick.requests"}
ENDS = ("done", "refused", "asks", "set_aside")


class Requests:
    def __init__(self, world, *topics):
        """topics: those the programs of the test read."""
        self.world, self.db, self.asked = world, world.db, []
        world.make_topics(*topics, *(t + ".dlq" for t in topics))

    def ask(self, service, action, patron, **asked):
        """Takes a request in and sends it; its id."""
        request_id = self.take_in(service, action, patron, **asked)
        self.send(request_id)
        return request_id

    def take_in(self, service, action, patron, **asked):
        request_id = str(uuid.uuid4())
        self.asked.append(request_id)
        self.db.rows("INSERT INTO requests (request_id, caller, ref, service, action, patron, asked, sent_at)"
                     " VALUES (%s, 'scenario', %s, %s, %s, %s, %s, clock_timestamp())", request_id, request_id, service, action,
                     patron, json.dumps(asked))
        return request_id

    def send(self, *request_ids, topic=None):
        """Sends their messages, or sends them again."""
        for request_id in request_ids:
            row = self.row(request_id)
            value = {"request_id": request_id, **{member: row[member] for member in ("service", "action", "patron")}}
            to = topic or TOPICS[row["service"]]
            self.world.produce_raw(to, row["patron"], json.dumps(value), self.headers(to, request_id))

    @staticmethod
    def headers(topic, request_id):
        return [("ce_specversion", "1.0"), ("ce_id", f"scenario/{request_id}"), ("ce_source", "/shelfwire/scenario"),
                ("ce_type", f"shelfwire.{topic}"), ("ce_time", stamp(datetime.datetime.now(UTC))),
                ("content-type", "application/json"),
                ("traceparent", f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-01")]

    def row(self, request_id):
        return self.db.one("SELECT row_to_json(r) FROM requests r WHERE request_id = %s", request_id)

    def states(self):
        """How many of this test's requests are in which state."""
        return dict(self.db.rows("SELECT state, count(*) FROM requests GROUP BY 1"))

    def await_state(self, request_id, *states, timeout=30):
        """Until it is in one of the states (or has ended, when none is given); its row."""
        def there():
            row = self.row(request_id)
            assert row["state"] not in ENDS or not states or row["state"] in states, row
            return row if row["state"] in (states or ENDS) else None
        return wait_for(there, lambda: f"{self.row(request_id)}" + self.tails(), timeout, 0.05)

    def await_all(self, timeout=60):
        """Until every request has ended."""
        wait_for(lambda: not self.db.one("SELECT count(*) FROM requests WHERE state IN ('accepted', 'waiting')"),
                 lambda: f"{self.states()}" + self.tails(), timeout, 0.1)

    def tails(self):
        return "".join(p.tail() for p in self.world.programs if p.running())

    def attempts(self, request_id, call=None):
        """[(call, verdict, code)], in order."""
        return self.db.rows("SELECT call, verdict, code FROM attempts WHERE subject = %s AND call = coalesce(%s, call)"
                            " ORDER BY at", request_id, call)

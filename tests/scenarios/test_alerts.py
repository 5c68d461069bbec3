"""What a person must know is told by mail and by post: once when it begins, once when it ends, and the digest once a day."""
import datetime
import email
import http.server
import json
import socket
import threading

import pytest
from aiosmtpd.controller import Controller
from shelfwire import wait_for


class Mailbox:
    """A mail server that may be away, or refuse."""

    def __init__(self):
        self.mails, self.refuses = [], False
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.controller = Controller(self, hostname="127.0.0.1", port=port)
        self.controller.start()
        self.url = f"smtp://127.0.0.1:{port}"

    async def handle_DATA(self, _server, _session, envelope):
        if self.refuses:
            return "451 later"
        self.mails.append((envelope.mail_from, envelope.rcpt_tos, email.message_from_bytes(envelope.content)))
        return "250 ok"

    def subjects(self):
        return [mail["Subject"] for _from, _to, mail in self.mails]


@pytest.fixture
def mailbox():
    it = Mailbox()
    yield it
    it.controller.stop()


@pytest.fixture
def posts():
    found = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            found.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        found_at = f"http://127.0.0.1:{server.server_port}/hook/a-secret-of-the-chat"
        yield found, found_at
        server.shutdown()


def begin(world, mailbox, **changed):
    it = world.begin("monitor", MONITOR_PORT=0, ALERT_MAIL_TO="desk@library.test,night@library.test", ALERT_MAIL_FROM="shelf@library.test",
                     SMTP_URL=mailbox.url, MONITOR_URL="https://shelf.library.test/", **changed)
    it.await_log("the page is at")
    return it


def unknown(world, window):
    world.db.rows("UPDATE appts SET answer = 'unknown', reason = 'no answer in 60 s' WHERE appt_id = %s", window.appt_id)


@pytest.mark.slow
def test_an_alert_is_told_once_and_its_end_once(world, mailbox, posts):
    posted, url = posts
    window = world.make_windows(1, send=False)[0]
    world.make_topics("bookings.new")
    unknown(world, window)
    # as if it had been seen before a monitor that was killed: it has lasted long enough to be told
    world.db.rows("INSERT INTO alerts (name, subject, summary, since) VALUES ('OutcomeUnknown', 'desk', 'one', now() - interval '1 hour')")
    mailbox.refuses = True
    monitor = begin(world, mailbox, ALERT_POST_URL=url)
    monitor.await_log("a mail did not leave")  # which does not keep it from being posted
    wait_for(lambda: world.db.one("SELECT count(*) FROM alerts WHERE name = 'OutcomeUnknown' AND posted_at IS NOT NULL AND told_at IS NULL") == 1,
             "it is not noted that it was posted")
    assert len(posted) == 1 and not mailbox.mails
    monitor.kill9()
    mailbox.refuses = False
    monitor = begin(world, mailbox, ALERT_POST_URL=url)
    wait_for(lambda: world.db.one("SELECT count(*) FROM alerts WHERE name = 'OutcomeUnknown' AND told_at IS NOT NULL") == 1, "it is not mailed", 60)
    assert len(posted) == 1, "it was posted before"
    assert mailbox.subjects() == ["Shelfwire: OutcomeUnknown (desk)"]  # a broker that has just started is away for less than is told
    sender, to, mail = mailbox.mails[0]
    assert (sender, to) == ("shelf@library.test", ["desk@library.test", "night@library.test"])
    words = mail.get_payload()
    assert "of 1 window nobody knows" in words and "Look at the gate" in words and "https://shelf.library.test/" in words
    assert (posted[0]["name"], posted[0]["subject"], posted[0]["state"]) == ("OutcomeUnknown", "desk", "firing")

    # a second monitor does not tell it again; its end is told
    monitor.kill9()
    monitor = begin(world, mailbox, ALERT_POST_URL=url)
    world.db.rows("SELECT appt_made(%s, '4711', 'ada')", window.appt_id)
    wait_for(lambda: len(mailbox.mails) == 2 and len(posted) == 2, lambda: f"{mailbox.subjects()}" + monitor.tail(), 150)
    assert mailbox.subjects()[1] == "Shelfwire: over: OutcomeUnknown (desk)" and posted[1]["state"] == "over"
    assert "a-secret-of-the-chat" not in monitor.log()
    for person in world.people:
        assert not any(value in mail.as_string() for _f, _t, mail in mailbox.mails for value in (person.primary_id, person.email, person.last_name))


class Away:
    """What was told of PostgreSQL; a slow start may tell of Kafka as well."""

    def __init__(self, mailbox, posted):
        self.mailbox, self.posts = mailbox, posted

    def mailed(self):
        return [s.removeprefix("Shelfwire: ") for s in self.mailbox.subjects() if "DatabaseAway" in s]

    def posted(self):
        return [post["state"] for post in self.posts if post["name"] == "DatabaseAway"]


def test_postgresql_away_is_told_without_it(world, mailbox, posts):
    posted, url = posts
    told = Away(mailbox, posted)
    world.make_topics("bookings.new")
    monitor = begin(world, mailbox, ALERT_POST_URL=url, ALERT_AWAY_SECONDS=1)
    wait_for(lambda: monitor.get("/readyz").status_code == 200, "it does not get going", 60)
    mailbox.refuses = True
    world.servers.postgres.stop()
    monitor.await_log("a mail did not leave")
    wait_for(lambda: told.posted() == ["firing"], lambda: "it is not posted" + monitor.tail())
    mailbox.refuses = False
    wait_for(lambda: told.mailed() == ["DatabaseAway (PostgreSQL)"], lambda: "it is not mailed" + monitor.tail(), 120)
    assert any("Start PostgreSQL" in mail.get_payload() for _from, _to, mail in mailbox.mails)
    world.servers.postgres.start()
    wait_for(lambda: len(told.mailed()) == len(told.posted()) == 2, lambda: "its return is not told" + monitor.tail(), 60)
    assert told.mailed()[1] == "over: DatabaseAway (PostgreSQL)" and told.posted() == ["firing", "over"]


def test_who_was_not_told_of_the_beginning_is_not_told_of_the_end(world, mailbox, posts):
    """The mail server refuses all the while; the chat has both."""
    posted, url = posts
    told = Away(mailbox, posted)
    world.make_topics("bookings.new")
    mailbox.refuses = True
    monitor = begin(world, mailbox, ALERT_POST_URL=url, ALERT_AWAY_SECONDS=1)
    wait_for(lambda: monitor.get("/readyz").status_code == 200, "it does not get going", 60)
    world.servers.postgres.stop()
    wait_for(lambda: told.posted() == ["firing"], lambda: "it is not posted" + monitor.tail(), 60)
    world.servers.postgres.start()
    wait_for(lambda: told.posted() == ["firing", "over"], lambda: "its return is not posted" + monitor.tail(), 60)
    mailbox.refuses = False
    world.servers.postgres.stop()
    wait_for(lambda: told.mailed() and len(told.posted()) == 3, lambda: "the next time is not told" + monitor.tail(), 120)
    assert told.mailed() == ["DatabaseAway (PostgreSQL)"] and told.posted() == ["firing", "over", "firing"]
    world.servers.postgres.start()


def test_what_mends_itself_is_not_told(world, mailbox):
    world.make_topics("bookings.new")
    window = world.make_windows(1, send=False)[0]
    unknown(world, window)
    begin(world, mailbox)
    wait_for(lambda: world.db.one("SELECT count(*) FROM alerts WHERE name = 'OutcomeUnknown' AND ended_at IS NULL") == 1, "it is not noticed", 90)
    world.db.rows("SELECT appt_made(%s, '4711', 'ada')", window.appt_id)
    wait_for(lambda: world.db.one("SELECT count(*) FROM alerts WHERE name = 'OutcomeUnknown' AND ended_at IS NOT NULL") == 1, "its end is not noticed", 150)
    assert world.db.one("SELECT end_told_at IS NOT NULL FROM alerts WHERE name = 'OutcomeUnknown'")
    assert not [s for s in mailbox.subjects() if "OutcomeUnknown" in s]


def test_the_digest_of_the_day_comes_once(world, mailbox):
    windows = world.make_windows(2, send=False)
    now = datetime.datetime.now(datetime.timezone.utc)
    start = max(now, now.replace(hour=0, minute=5))
    end = start + datetime.timedelta(hours=1)
    for window in windows:
        world.db.rows("UPDATE appts SET starts_at = %s, ends_at = %s, answer = 'no_card', reason = 'no active card' WHERE appt_id = %s", start, end, window.appt_id)
    at = {"DIGEST_AT": "00:00", "TZ": "UTC", "PGTZ": "UTC"}
    monitor = begin(world, mailbox, **at)
    wait_for(lambda: mailbox.mails, lambda: "no digest" + monitor.tail(), 60)
    words = mailbox.mails[0][2].get_payload()
    assert mailbox.subjects() == ["Shelfwire: today at the desk, 2"]
    assert all(w.booking_id in words and w.person.last_name not in words and w.person.primary_id not in words for w in windows)
    monitor.stop()
    monitor = begin(world, mailbox, **at)
    wait_for(lambda: world.db.one("SELECT count(*) FROM lag_history") or monitor.get("/readyz").status_code == 200, "it does not get going", 60)
    assert len(mailbox.mails) == 1

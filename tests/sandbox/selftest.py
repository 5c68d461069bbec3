#!/usr/bin/python3
"""selftest.py SANDBOX - start that sandbox and check every behaviour and every kind of fault its manual page names."""

import base64
import datetime
import hashlib
import hmac
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse

passed, failed = 0, 0
KEY = "sandbox-alma-key"
JSON = {"Accept": "application/json"}
UNAUTHORIZED = "API-key not defined or not configured to allow this API."


def check(ok, what, seen=""):
    global passed, failed
    if ok:
        passed += 1
    else:
        failed += 1
        print("FAILED: %s %s" % (what, str(seen)[:300]))


def same(seen, want, what):
    check(seen == want, what, "saw %r, wanted %r" % (seen, want))


class Answer:
    def __init__(self, res):
        self.status, self.reason = res.status, res.reason
        self.headers = res.headers
        self.type = res.headers.get("Content-Type", "")
        self.body = res.read()

    def json(self):
        return json.loads(self.body)


class Sandbox:
    def __init__(self, binary, *arguments):
        self.dir = tempfile.TemporaryDirectory()
        port_file = os.path.join(self.dir.name, "port")
        self.process = subprocess.Popen([binary, "--port", "0", "--port-file", port_file, *arguments], stdout=subprocess.PIPE)
        self.line = self.process.stdout.readline().decode()
        with open(port_file) as f:
            self.port = int(f.read())

    def connect(self, port=None, timeout=10):
        return http.client.HTTPConnection("127.0.0.1", port or self.port, timeout=timeout)

    def call(self, method, path, body=None, headers=None, on=None, timeout=10):
        c = on or self.connect(timeout=timeout)
        if isinstance(body, (dict, list)):
            body = json.dumps(body)
        try:
            c.request(method, path, body, headers or {})
            return Answer(c.getresponse())
        finally:
            if not on:
                c.close()

    def get(self, path, headers=None, **more):
        return self.call("GET", path, None, headers, **more)

    def post(self, path, body=None, headers=None, **more):
        return self.call("POST", path, body, headers, **more)

    def admin(self, method, path, body=None):
        a = self.call(method, "/admin" + path, body)
        if a.status != 200:
            check(False, "admin %s %s" % (method, path), a.body)
        return a.json()

    def set(self, **vendors):
        return self.admin("POST", "/settings", vendors)

    def fault(self, **fault):
        return self.admin("POST", "/faults", fault)["id"]

    def clear(self):
        self.admin("DELETE", "/faults")

    def reset(self):
        self.admin("POST", "/reset")

    def counts(self, vendor, call=None):
        of = self.admin("GET", "/counts")[vendor]
        return of["calls"][call] if call else of


def ends(call):
    """How an exchange that brings no answer ends: closed, reset, timeout, refused, short or answered."""
    try:
        call()
    except http.client.IncompleteRead:
        return "short"
    except ConnectionRefusedError:
        return "refused"
    except ConnectionResetError as e:
        return "closed" if isinstance(e, http.client.RemoteDisconnected) else "reset"
    except (socket.timeout, TimeoutError):
        return "timeout"
    return "answered"


def eventually(what, probe, within=3.0):
    end = time.monotonic() + within
    while time.monotonic() < end:
        if probe():
            check(True, what)
            return
        time.sleep(0.01)
    check(False, what, "not within %g s" % within)


# ---- the vendors, as their clients see them ----

class LibCal:
    def __init__(self, s):
        self.s, self.token = s, None

    def log_in(self, **change):
        body = {"client_id": 123, "client_secret": "sandbox-libcal-secret", "grant_type": "client_credentials"}
        body.update(change)
        a = self.s.post("/1.1/oauth/token", body, {"Content-Type": "application/json"})
        if a.status == 200 and "access_token" in a.json():
            self.token = a.json()["access_token"]
        return a

    def get(self, path, **more):
        return self.s.get(path, {"Authorization": "Bearer " + (self.token or "")}, **more)

    def ids(self, query, prefix="/1.1"):
        return [r["bookId"] for r in self.get(prefix + "/space/bookings?" + query).json()]


class Gate:
    def __init__(self, s):
        self.s, self.token = s, None

    def log_in(self, username="sandbox", password="sandbox-pp-password"):
        a = self.s.post("/pp/api/v2/auth/login", {"username": username, "password": password})
        if b"token" in a.body:
            self.token = a.json()["token"]
        return a

    def head(self):
        return {"token": self.token} if self.token else {}

    def visitor(self, unique_id, **change):
        q = {"category": "Student", "firstName": "Ada", "lastName": "Reader & Söhne", "email": "ada@example.edu",
             "mobilePhoneNo": "G00000001", "uniqueId": unique_id}
        q.update(change)
        return self.s.post("/pp/api/v2/person/createVisitor?" + urllib.parse.urlencode(q), None, self.head())

    def find(self, unique_id):
        return self.s.get("/pp/api/v2/person/byUniqueId?uniqueId=" + unique_id, self.head())

    def prereg(self, visitor, start="1791813600", end="1791817200", destination="LibCal Gelman", timeout=10, **change):
        body = {"startTime": start, "endTime": end, "visitorId": str(visitor), "destination": destination}
        body.update(change)
        return self.s.post("/pp/api/v2/visit/createPreReg", body, self.head(), timeout=timeout)


class Folio:
    """mod-patron behind Okapi, or edge-patron. USER, ITEM, … are the first that `generate` makes."""

    USER, ITEM, INSTANCE = ("%d0000000-0000-4000-8000-000000000001" % kind for kind in (1, 2, 3))
    NOBODY, PICKUP = "deadbeef-0000-4000-8000-000000000000", "60000000-0000-4000-8000-000000000001"
    KEY = "eyJzIjoic2FuZGJveCIsInQiOiJkaWt1IiwidSI6ImVkZ2UifQ=="

    def __init__(self, s, patron=USER):
        self.s, self.patron, self.token, self.head = s, patron, None, {}

    def log_in(self, path="/authn/login-with-expiry", tenant="diku", password="sandbox-folio-password"):
        a = self.s.post(path, {"username": "sandbox", "password": password}, {"X-Okapi-Tenant": tenant})
        cookies = dict(c.split(";")[0].split("=", 1) for c in a.headers.get_all("Set-Cookie") or [])
        self.token = cookies.get("folioAccessToken") or a.headers.get("x-okapi-token")
        self.refresh = cookies.get("folioRefreshToken")
        self.head = {"X-Okapi-Tenant": tenant, "X-Okapi-Token": self.token or "", "Accept": "application/json, text/plain",
                     "Content-Type": "application/json"}
        return a

    def call(self, method, path, body=None, patron=None, head=None, **more):
        path = "/patron/account/%s%s" % (patron or self.patron, path)
        return self.s.call(method, path, body, self.head if head is None else head, **more)

    def account(self, lists="Loans Holds Charges", **more):
        return self.call("GET", "?" + "&".join("include%s=true" % l for l in lists.split()), **more)

    def renew(self, item=ITEM, **more):
        return self.call("POST", "/item/%s/renew" % item, **more)

    def hold(self, item=ITEM, by="item", change={}, **more):
        body = {"requestDate": "2026-10-12T10:00:00Z", "pickupLocationId": self.PICKUP}
        body.update(change)
        return self.call("POST", "/%s/%s/hold" % (by, item), {k: v for k, v in body.items() if v != "absent"}, **more)

    def delete(self, hold, item=ITEM, **more):
        return self.call("DELETE", "/item/%s/hold/%s" % (item, hold), **more)

    def cancel(self, hold, change={}, **more):
        body = {"requestDate": "2026-10-12T10:00:00Z", "pickupLocationId": self.PICKUP, "holdId": hold,
                "cancellationReasonId": self.NOBODY, "canceledDate": "2026-10-13T10:00:00Z"}
        body.update(change)
        return self.call("POST", "/hold/%s/cancel" % hold, {k: v for k, v in body.items() if v != "absent"}, **more)


def said(a):
    """An error's status and first words, whatever its form."""
    try:
        of = a.json()
        return a.status, of["errors"][0]["message"] if "errors" in of else of["errorMessage"]
    except ValueError:
        return a.status, a.body.decode()


class Centers:
    def __init__(self, s, api="2.0"):
        self.s, self.api, self.token = s, api, ""
        s.set(webcheckout={"api": api})

    def post(self, command, body=None, token=None, prefix="/rest", **more):
        token = self.token if token is None else token
        body, head = dict(body or {}), {}
        if self.api != "2.0":
            body["sessionid"] = token
        elif token:
            head["Authorization"] = "Bearer " + token
        return self.s.post(prefix + "/" + command, body, head, **more)

    def log_in(self, userid="sandbox", password="sandbox-wco-password"):
        a = self.post("session/start", {"userid": userid, "password": password}, "Requested" if self.api == "2.0" else "")
        self.token = a.json().get("sessionToken" if self.api == "2.0" else "sessionid", "")
        return a

    def search(self, query, properties=(), **more):
        return self.post("allocation/search", dict(more, query=query, properties=list(properties))).json()

    def found(self, query, **more):
        return [r["oid"] for r in self.search(query, **more)["payload"]["result"] or []]


def allocation(oid, patron=55, **change):
    of = {"_class": "allocation", "oid": oid, "name": "CK-%d" % oid, "uniqueId": "CK-%d" % oid, "state": "CHECKOUT",
          "patron": {"_class": "person", "oid": patron, "name": "Ada Reader", "userid": "areader", "barcode": "22"},
          "checkoutCenter": {"_class": "checkoutCenter", "oid": 53207831, "name": "College Library", "code": "C"},
          "pickupTime": "2026-10-12T10:00:00.000000-04:00", "returnTime": "2026-10-12T11:00:00.910231-04:00",
          "realEndTime": None, "staff": [],
          "allocationItems": [{"quantity": 1, "state": "OUT", "resource": {"_class": "resource", "oid": 7, "name": "Room 7",
                                                                           "barcode": "R7"}}]}
    of.update(change)
    return of


def row(book_id, start, **change):
    of = {"bookId": book_id, "id": 1, "eid": 38, "cid": 37, "lid": 1234, "fromDate": start, "toDate": start,
          "firstName": "Ada", "lastName": "Reader", "email": "ada@example.edu", "status": "Confirmed",
          "q12505": "G00000001", "q45": ["a", "b"], "check_in_status": "-",
          "internal_notes": [{"name": "J", "note": "n"}]}
    of.update(change)
    return {k: v for k, v in of.items() if v != "absent"}


def alma_get(s, user, key=KEY, headers=JSON, query="", **more):
    h = dict(headers)
    if key:
        h["Authorization"] = "apikey " + key
    return s.get("/almaws/v1/users/%s%s" % (user, query), h, **more)


# ---- situations ----

def test_server(s):
    check(s.line == "sandbox: listening on http://127.0.0.1:%d\n" % s.port, "the line it prints", s.line)
    same(s.get("/nowhere").status, 404, "an unknown path")
    same(s.get("/almaws/v1/nowhere").status, 404, "an unknown path of a vendor")
    same(s.counts("alma", "other")["requests"], 1, "which is counted as other")
    c = s.connect()
    a = s.get("/admin/ping", on=c)
    local = c.sock.getsockname()
    s.get("/admin/ping", on=c)
    check(a.status == 200 and c.sock.getsockname() == local, "keep-alive")
    a = s.get("/admin/ping", {"Connection": "close"}, on=c)
    same(a.headers.get("Connection"), "close", "Connection: close is respected")
    raw = socket.create_connection(("127.0.0.1", s.port))
    one = b"GET /admin/ping HTTP/1.1\r\nHost: x\r\n\r\n"
    raw.sendall(one * 3)
    raw.settimeout(2)
    seen = b""
    while seen.count(b'"ok":true') < 3:
        seen += raw.recv(4096)
    same(seen.count(b"200 OK"), 3, "three requests at once")
    for i in range(len(one)):
        raw.sendall(one[i:i + 1])
    check(b'"ok":true' in raw.recv(4096), "a request byte by byte")
    raw.sendall(b"POST /admin/faults HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
                b"3\r\n[{\"\r\n10\r\nkind\":\"empty\"}] \r\n0\r\n\r\n")
    check(b'"ids":[' in raw.recv(4096), "a chunked body")
    raw.sendall(b"POST /admin/settings HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
    check(raw.recv(4096).startswith(b"HTTP/1.1 100"), "Expect: 100-continue")
    raw.sendall(b"{}")
    check(raw.recv(4096).startswith(b"HTTP/1.1 200"), "and the answer")
    raw.sendall(b"nonsense\r\n\r\n")
    check(raw.recv(4096).startswith(b"HTTP/1.1 400"), "what is not HTTP")
    s.clear()
    for method, path, body in [("POST", "/settings", "{"), ("POST", "/settings", {"alma": {"nothing": 1}}),
                               ("POST", "/settings", {"nobody": {}}), ("POST", "/settings", {"alma": {"accept_all": 3}}),
                               ("POST", "/settings", []), ("POST", "/faults", {"kind": "nothing"}), ("POST", "/faults", {}),
                               ("POST", "/faults", {"vendor": "alma", "call": "nothing", "kind": "empty"}),
                               ("POST", "/faults", {"vendor": "nobody", "kind": "empty"}), ("POST", "/faults", [1]),
                               ("POST", "/faults", {"kind": "status", "status": 1000}), ("POST", "/reset", {"only": ["x"]}),
                               ("POST", "/faults", {"kind": "empty", "effect": "late"}), ("POST", "/vendor", {}),
                               ("PUT", "/libcal/bookings", {}), ("PATCH", "/libcal/bookings/x", [])]:
        same(s.call(method, "/admin" + path, body).status, 400, "refused: %s %s %s" % (method, path, body))
    same(s.call("DELETE", "/admin/faults/99").status, 404, "a fault that is not there")


def test_libcal_token(s):
    l = LibCal(s)
    a = l.log_in()
    t = a.json()
    check(a.status == 200 and len(t["access_token"]) == 40 and t["expires_in"] == 3600, "a token", a.body)
    same(t["token_type"], "Bearer", "token_type")
    form = "client_id=123&client_secret=sandbox-libcal-secret&grant_type=client_credentials"
    a = s.post("/api/1.1/oauth/token", form, {"Content-Type": "application/x-www-form-urlencoded"})
    check(a.status == 200 and a.json()["access_token"] != l.token, "a token by a form, under /api")
    a = l.log_in(client_secret="wrong")
    check(a.status == 400 and a.json() == {"error": "The client credentials are invalid"}, "wrong secret", a.body)
    same(l.log_in(client_id=124).status, 400, "wrong client")
    same(l.log_in(grant_type="password").json(), {"error": "Grant type not supported"}, "wrong grant")
    same(s.get("/1.1/space/bookings?lid=1").status, 401, "no token")
    same(s.get("/1.1/space/bookings?lid=1", {"Authorization": "Bearer x"}).status, 401, "a wrong token")
    same(l.get("/1.1/space/bookings?lid=1").json(), [], "nothing booked is a bare array")
    s.set(libcal={"token_seconds": 0.2})
    l.log_in()
    same(l.get("/1.1/space/bookings?lid=1").status, 200, "a young token")
    time.sleep(0.3)
    same(l.get("/1.1/space/bookings?lid=1").status, 401, "a stale token")
    s.set(libcal={"token_seconds": 3600})
    l.log_in()
    s.admin("POST", "/vendor", {"vendor": "libcal", "revoke_tokens": True})
    same(l.get("/1.1/space/bookings?lid=1").status, 401, "a revoked token")
    check(s.counts("libcal")["logins"] >= 6, "log-ins are counted")


def test_libcal_bookings(s):
    l = LibCal(s)
    l.log_in()
    s.set(libcal={"now": "2026-10-12T23:30:00-04:00"})
    s.admin("PUT", "/libcal/bookings", [
        row("a", "2026-10-12T10:00:00-04:00"), row("b", "2026-10-13T00:15:00-04:00"),
        row("c", "2026-10-13T05:00:00+02:00"),      # there it is the 13th already
        row("cancelled", "2026-10-12T11:00:00-04:00", status="Cancelled by User", cancelled="2026-10-01T00:00:00-04:00"),
        row("denied", "2026-10-12T12:00:00-04:00", status="Mediated Denied"),
        row("tentative", "2026-10-12T12:00:00-04:00", status="Mediated Tentative"),
        row("exchange", "2026-10-12T12:00:00-04:00", status="Booked in Outlook/Exchange"),
        row("broken", 17, q12505="absent", id="absent"), {"lid": 1234, "_raw": None}, {"lid": 1234, "_raw": "text"},
        row("elsewhere", "2026-10-12T10:00:00-04:00", lid=99), row("past", "2026-10-11T10:00:00-04:00")])
    rows = l.get("/1.1/space/bookings?lid=1234").json()
    same([r["bookId"] if isinstance(r, dict) else r for r in rows],
         ["a", "c", "cancelled", "tentative", "broken", None, "text"],
         "today, in the row's own offset, whatever the rows look like")
    same(rows[0].get("q12505"), None, "answers only when asked for")
    check("check_in_status" not in rows[0] and "internal_notes" not in rows[0], "nor check-in and notes")
    s.admin("DELETE", "/libcal/bookings/broken")
    s.admin("PUT", "/libcal/bookings", [r for r in s.admin("GET", "/libcal/bookings") if isinstance(r, dict)])
    for name in ("form_answers=1", "formAnswers=1"):
        same(l.get("/1.1/space/bookings?lid=1234&" + name).json()[0]["q45"], ["a", "b"], name)
    r = l.get("/api/1.1/space/bookings?lid=1234&check_in_status=1&internal_notes=1").json()[0]
    check(r["check_in_status"] == "-" and r["internal_notes"][0]["name"] == "J", "check-in and notes when asked for")
    for query, want in [
            ("", ["a", "c", "cancelled", "tentative"]), ("days=1", ["a", "b", "c", "cancelled", "tentative"]),
            ("date=2026-10-13", ["b", "c"]), ("include_cancel=0", ["a", "c", "tentative"]),
            ("date=2026-10-11", ["a", "c", "cancelled", "tentative"]), ("include_tentative=0", ["a", "c", "cancelled"]),
            ("include_denied=1", ["a", "c", "cancelled", "denied", "tentative"]),
            ("include_remote=1", ["a", "c", "cancelled", "tentative", "exchange"]), ("unknown=1&days=0&limit=2", ["a", "c"]),
            ("limit=2&page=2", ["cancelled", "tentative"]), ("limit=2&page=3", [])]:
        same(l.ids("lid=1234&" + query), want, "bookings with " + query)
    same(l.ids("lid=1234,99&limit=500"), ["a", "c", "cancelled", "tentative", "elsewhere"], "two locations")
    s.set(libcal={"past_dates": "honoured"})
    same(l.ids("lid=1234&date=2026-10-11"), ["past"], "a past date, honoured")
    s.set(libcal={"page_cap": 3})
    same(l.ids("lid=1234&limit=500"), ["a", "c", "cancelled"], "a page shorter than asked for")
    same(l.ids("lid=1234&limit=500&page=2"), ["tentative"], "and the one behind it")
    s.set(libcal={"page_cap": 500})
    for query, sentence in [("lid=1234&page=0", 'invalid "page" value, must be >= 1'), ("lid=1&date=tomorrow", 'invalid "date" value'),
                            ("lid=1&page=x", 'invalid "page" value, must be >= 1'), ("lid=1&limit=501", 'invalid "limit" value'),
                            ("lid=1&days=366", 'invalid "days" value'), ("days=1", "must supply at least 1 location id")]:
        a = l.get("/1.1/space/bookings?" + query)
        check(a.status == 400 and a.type.startswith("text/plain") and a.body.decode() == sentence, query, a.body)
    same([r["bookId"] for r in l.get("/1.1/space/booking/a,past,cancelled,nobody,denied").json()],
         ["a", "denied", "past"], "bookings by id: past ones, not the cancelled")
    same(len(l.get("/1.1/space/booking/a%2Cb").json()), 2, "ids with an encoded comma")
    same(l.get("/1.1/space/booking/a?form_answers=1").json()[0]["q12505"], "G00000001", "with answers")
    same(l.get("/1.1/space/booking/").body, b"must supply at least 1 booking id", "no id")
    s.set(libcal={"now": "2026-10-13T00:00:00-04:00"})
    same(l.ids("lid=1234"), ["b", "c"], "after midnight")


def test_libcal_changes(s):
    l = LibCal(s)
    l.log_in()
    s.set(libcal={"now": "2026-10-31T09:00:00-04:00"})
    s.admin("PUT", "/libcal/bookings", [row("dst", "2026-10-31T10:00:00-04:00"), row("dst", "2026-11-01T10:00:00-05:00"),
                                        row("x", "2026-10-31T10:00:00-04:00"), row("x", "2026-10-31T11:00:00-04:00")])
    same(l.ids("lid=1234&days=1"), ["dst", "dst", "x", "x"], "an offset that changes within one booking")
    same(s.admin("PATCH", "/libcal/bookings/x", {"status": "Cancelled by User", "fromDate": "2026-11-01T11:00:00-05:00",
                                                 "q12505": "G00000002"})["rows"], 2, "a patch of both rows")
    same(l.ids("lid=1234"), ["dst"], "moved to another day")
    r = l.get("/1.1/space/bookings?lid=1234&days=1&formAnswers=1").json()
    same([(x["status"], x["q12505"]) for x in r[2:]], [("Cancelled by User", "G00000002")] * 2, "and cancelled")
    same(s.admin("DELETE", "/libcal/bookings/dst")["rows"], 2, "rows that vanish")
    same(l.ids("lid=1234&days=1"), ["x", "x"], "are gone")
    same(s.call("DELETE", "/admin/libcal/bookings/dst").status, 404, "twice is once too often")
    same(s.call("PATCH", "/admin/libcal/bookings/dst", {}).status, 404, "nor can it be changed")
    s.admin("POST", "/libcal/bookings", [row("late/1", "2026-11-01T12:00:00-05:00", lid="1234")])
    same(l.ids("lid=1234&days=1"), ["x", "x", "late/1"], "rows are added behind; a lid may be a string")
    same(s.admin("PATCH", "/libcal/bookings/late%2F1", {"nickname": "n"})["rows"], 1, "an id with a slash")
    began = time.monotonic()
    s.admin("POST", "/libcal/generate", {"count": 3000, "lid": 55, "people": 1000, "start": "2026-11-01T08:00:00-05:00",
                                         "minutes": 30, "prefix": "cs_", "slots": 4})
    check(time.monotonic() - began < 2, "3000 rows quickly")
    seen, page = [], 1
    while True:
        rows = l.get("/1.1/space/bookings?lid=55&date=2026-11-01&limit=500&formAnswers=1&page=%d" % page).json()
        if not rows:
            break
        seen += rows
        page += 1
    same((len(seen), page, len({r["bookId"] for r in seen})), (3000, 7, 3000), "six full pages and an empty one")
    same((seen[0]["bookId"], seen[999]["q12505"], seen[1000]["q12505"]), ("cs_00000001", "G00001000", "G00000001"), "people in turn")
    same((seen[3]["fromDate"], seen[3]["toDate"]), ("2026-11-01T09:30:00-05:00", "2026-11-01T10:00:00-05:00"), "slots")
    names = l.get("/1.1/space/locations").json()
    same([(x["lid"], x["formid"]) for x in names], [(1234, 38), (55, 38)], "locations from the rows")
    f = l.get("/1.1/space/form/38").json()
    same((f[0]["id"], sorted(f[0]["fields"])), (38, ["email", "fname", "lname", "q12505"]), "the usual form")
    same(l.get("/1.1/space/question/12505").json()[0]["id"], 12505, "the usual question")
    same(l.get("/1.1/space/form/").body, b"must supply at least 1 form id", "no form id")
    s.set(libcal={"locations": [{"lid": 7, "name": "Gelman"}], "forms": {"9": {"id": 9, "fields": {}}}, "questions": {}})
    same(l.get("/1.1/space/locations").json(), [{"lid": 7, "name": "Gelman"}], "locations as told")
    same(l.get("/1.1/space/form/9,38").json(), [{"id": 9, "fields": {}}], "forms as told")
    same(l.get("/1.1/space/question/12505").json(), [], "questions as told")


def test_libcal_at_work(s):
    """A sandbox that is given its beginning, as a container is: people are there, and somebody books."""
    day = 'settings {"libcal":{"booking_every_seconds":0.02,"now":"2026-10-12T23:30:00-04:00"},"alma":{"accept_all":true}}'
    t = Sandbox(sys.argv[1], "--post", day, "--post", 'alma/users [{"primary_id":"G00000002"}]')
    try:
        l = LibCal(t)
        l.log_in()
        while len(l.ids("lid=1234&days=1")) < 13:
            time.sleep(0.02)
        t.set(libcal={"booking_every_seconds": 0})
        rows = l.get("/1.1/space/bookings?lid=1234&days=1&formAnswers=1&limit=500").json()
        same([(r["bookId"], r["q12505"], r["fromDate"]) for r in (rows[0], rows[12])],
             [("new_%08d" % n, "G%08d" % n, "2026-10-13T08:00:00-04:00") for n in (1, 13)], "hours of tomorrow there, each for another")
        same(len(l.ids("lid=1234&days=1")), len(rows), "nobody books any longer")
        users = [t.get("/almaws/v1/users/G%08d" % n, dict(JSON, Authorization="apikey " + KEY)).json() for n in (1, 2)]
        same(["BARCODE" in json.dumps(u) for u in users], [True, False], "people from the beginning")
    finally:
        t.process.send_signal(signal.SIGTERM)
        same(t.process.wait(10), 0, "SIGTERM ends it with 0")
    for bad, why in (('settings {"nobody":{}}', "there is no vendor nobody"), ("settings {", "the body is not JSON"),
                     ("alma/nothing {}", "no such path")):
        p = subprocess.run([sys.argv[1], "--post", bad], stderr=subprocess.PIPE, text=True, timeout=10)
        same((p.returncode, why in p.stderr), (100, True), "a beginning that cannot be: " + bad)


def test_alma(s):
    s.admin("POST", "/alma/users", [
        {"primary_id": "G00000001", "first_name": "Ada", "last_name": "Reader", "email": "ada@example.edu",
         "barcode": "22822000000019", "group": {"value": "und", "desc": "gw und"}, "expiry_date": "2027-06-30Z",
         "status": "INACTIVE", "blocks": [{"block_type": {"value": "GENERAL"}}], "job": "x",
         "identifiers": [{"value": "areader", "id_type": {"value": "NETID", "desc": "Netid"}, "status": "ACTIVE"}]},
        {"primary_id": "odd one/é", "first_name": "B", "last_name": "<&>"}])
    a = alma_get(s, "G00000001")
    u = a.json()
    check(a.status == 200 and a.type.startswith("application/json"), "a user", a.body)
    same((u["primary_id"], u["full_name"], u["user_group"]["desc"], u["status"]["value"], u["expiry_date"], u["job"]),
         ("G00000001", "Ada Reader", "gw und", "INACTIVE", "2027-06-30Z", "x"), "its members")
    same([(i["value"], i["id_type"]["value"], i["status"]) for i in u["user_identifier"]],
         [("22822000000019", "BARCODE", "ACTIVE"), ("areader", "NETID", "ACTIVE")], "its identifiers")
    same((u["contact_info"]["email"][0]["email_address"], len(u["user_block"])), ("ada@example.edu", 1), "e-mail and block")
    remaining = int(a.headers["X-Exl-Api-Remaining"])
    same(int(alma_get(s, "G00000001").headers["X-Exl-Api-Remaining"]), remaining - 1, "X-Exl-Api-Remaining")
    for asked in ("g00000001", "22822000000019", "AREADER"):
        same(alma_get(s, asked).json()["primary_id"], "G00000001", "found as " + asked)
    same(alma_get(s, "odd%20one%2F%C3%A9").json()["last_name"], "<&>", "a percent-encoded id")
    same(alma_get(s, "areader", query="?user_id_type=NETID").status, 200, "by type")
    a = alma_get(s, "areader", query="?user_id_type=BARCODE")
    same(a.json()["errorList"]["error"][0]["errorCode"], "401890", "by another type")
    a = alma_get(s, "ogrouch")
    e = a.json()
    check(a.status == 400 and e["errorsExist"] and e["result"] is None, "not found is a 400", a.body)
    same((e["errorList"]["error"][0]["errorCode"], e["errorList"]["error"][0]["errorMessage"]),
         ("401861", "User with identifier ogrouch was not found."), "and its code")
    check(e["errorList"]["error"][0]["trackingId"], "and a tracking id")
    a = alma_get(s, "G00000001", headers={})
    check(a.type.startswith("application/xml") and b"<primary_id>G00000001</primary_id>" in a.body, "XML by default", a.body)
    check(b'<user_group desc="gw und">und</user_group>' in a.body, "with a description", a.body)
    same(alma_get(s, "G00000001", headers={}, query="?format=json").json()["primary_id"], "G00000001", "format=json")
    same(alma_get(s, "G00000001", key=None, query="?apikey=" + KEY).status, 200, "the key in the query")
    for key in ("wrong", None):
        a = alma_get(s, "G00000001", key=key)
        check(a.status == 400 and a.type.startswith("application/xml") and UNAUTHORIZED.encode() in a.body,
              "key %s: XML although JSON was asked for" % key, a.body)
    same(s.get("/almaws/v1/users/operation/test", {"Authorization": "apikey " + KEY}).status, 200, "the key check")
    same(s.get("/almaws/v1/users/operation/test", {"Authorization": "apikey x"}).status, 400, "the key check fails")
    s.set(alma={"keys": {"one": "1", "two": "WRLC"}})
    same(alma_get(s, "G00000001", key=KEY).status, 400, "the old key is gone")
    same(alma_get(s, "G00000001", key="one").status, 200, "another key of the same zone")
    same(alma_get(s, "G00000001", key="two").json()["errorList"]["error"][0]["errorCode"], "401861", "another zone")
    s.admin("POST", "/alma/users", [{"primary_id": "G00000001", "iz": "WRLC", "last_name": "Other"}])
    same(alma_get(s, "G00000001", key="two").json()["last_name"], "Other", "that zone's own record")
    same(alma_get(s, "G00000001", key="two").json()["user_identifier"], [], "no identifiers")
    s.admin("POST", "/alma/users", [{"primary_id": "g00000001", "last_name": "New", "barcode": "999"}])
    same(alma_get(s, "G00000001", key="one").json()["last_name"], "New", "a record replaced")
    same(alma_get(s, "22822000000019", key="one").status, 400, "the old card is gone")
    s.admin("DELETE", "/alma/users/G00000001")
    same((alma_get(s, "G00000001", key="one").status, alma_get(s, "999", key="one").status), (400, 400), "a user deleted")
    same(alma_get(s, "G00000001", key="two").status, 200, "in one zone only")


def test_alma_many(s):
    s.admin("POST", "/alma/generate", {"count": 100000, "from": 5})
    same([alma_get(s, u).status for u in ("G00000004", "G00000005", "G00100004", "G00100005")], [400, 200, 200, 400], "generated")
    u = alma_get(s, "g00000077").json()
    same((u["primary_id"], u["user_identifier"][0]["value"]), ("G00000077", "22820000000077"), "one of them")
    same(alma_get(s, "22820000000077").json()["primary_id"], "G00000077", "by barcode")
    s.admin("POST", "/alma/users", [{"primary_id": "G00000077", "last_name": "Posted", "barcode": "22829"}])
    same(alma_get(s, "G00000077").json()["last_name"], "Posted", "a posted record wins")
    same(alma_get(s, "22820000000077").status, 400, "and its barcode")
    s.admin("DELETE", "/alma/users/G00000078")
    same(alma_get(s, "G00000078").status, 400, "one of them deleted")
    s.set(alma={"accept_all": True, "group": {"value": "fac", "desc": "gw fac"}})
    same(alma_get(s, "G98765432").json()["user_group"]["desc"], "gw fac", "everybody exists")
    same(alma_get(s, "G987654321").status, 400, "but nine digits are too many")


def test_alma_thresholds(s):
    s.set(alma={"accept_all": True, "per_second": 5})
    c = s.connect()
    codes = [alma_get(s, "G00000001", on=c) for _ in range(8)]
    same([a.status for a in codes], [200] * 5 + [429] * 3, "five a second")
    same(codes[5].json()["errorList"]["error"][0]["errorCode"], "PER_SECOND_THRESHOLD", "and its code")
    check("Retry-After" not in codes[5].headers, "without Retry-After")
    check(b"<errorCode>PER_SECOND_THRESHOLD" in alma_get(s, "G1", headers={}).body, "as XML when JSON was not asked for")
    time.sleep(1.05)
    same(alma_get(s, "G00000001").status, 200, "a second later")
    n = s.counts("alma")
    same((n["max_calls_in_a_second"], n["zones"]["1"]["used_today"]), (9, 6), "the most in any second; refused ones cost no quota")
    s.set(alma={"per_second": 0, "per_day": 8})
    seen = [alma_get(s, "G00000001") for _ in range(3)]
    same([a.status for a in seen], [200, 200, 429], "eight a day")
    same([a.headers.get("X-Exl-Api-Remaining") for a in seen], ["1", "0", None], "what is left")
    same(seen[2].json()["errorList"]["error"][0]["errorCode"], "DAILY_THRESHOLD", "and its code")
    s.admin("POST", "/reset", {"only": ["counts"]})
    same(alma_get(s, "G00000001").status, 200, "counts reset: another day")


def test_gate(s):
    g = Gate(s)
    same((g.visitor("1").status, g.find("1").status, g.prereg(1).status), (401, 401, 401), "without a token")
    a = g.log_in(password="wrong")
    check(a.status == 200 and "error" in a.json(), "wrong password: 200 with an error", a.body)
    same(g.log_in().status, 200, "a log-in")
    a = g.visitor("22822000000019")
    same((a.status, a.json()), (200, {"data": [{"id": 137505764541148}]}), "a visitor")
    same(g.visitor("22822000000020", category="Staff").json()["data"][0]["id"], 137505764541149, "the next")
    a = g.visitor("22822000000019")
    check(a.status == 409 and b"ALREADY_EXIST_UNIQUE_ID" in a.body, "the same unique id", a.body)
    s.set(passagepoint={"duplicate_status": 422})
    same(g.visitor("22822000000019").status, 422, "with another status")
    same(g.visitor("", ).status, 400, "no unique id")
    s.set(passagepoint={"categories": ["Student"]})
    same((g.visitor("3", category="Robot").status, g.visitor("3").status), (400, 200), "a category that does not exist")
    found = g.find("22822000000019").json()
    same((found[0]["id"], found[0]["lastName"]), (137505764541148, "Reader & Söhne"), "by unique id: a bare array")
    same(g.find("nobody").json(), [], "nobody: an empty one")
    s.set(passagepoint={"unique_id_miss": "404", "unique_id_form": "dict"})
    same((g.find("nobody").status, g.find("3").json()["data"][0]["uniqueId"]), (404, "3"), "404 and a dict")
    s.set(passagepoint={"unique_id_miss": "400"})
    same(g.find("nobody").status, 400, "400")
    v = found[0]["id"]
    a = g.prereg(v)
    same((a.status, a.json()), (200, {"data": [{"id": 137506834088671}]}), "a pre-registration")
    for change, what in [({"start": 1791813600}, "an integer start"), ({"visitorId": v}, "an integer visitor"),
                         ({"destination": None}, "no destination"), ({"destination": ""}, "an empty one"),
                         ({"visitorId": "137505764541999"}, "an unknown visitor"), ({"start": "noon"}, "a start that is no number"),
                         ({"end": "1"}, "an end before the start"), ({"more": {"nested": 1}}, "a nested body")]:
        a = g.prereg(v, **change)
        check(a.status == 400 and "error" in a.json(), what, a.body)
    same(s.get("/pp/api/v2/visit/getDestinations", g.head()).json(), ["LibCal Gelman"], "destinations seen so far")
    s.set(passagepoint={"destinations": ["Gelman", "Eckles \"E\""]})
    same(g.prereg(v).status, 400, "an unknown destination")
    same(g.prereg(v, destination="Eckles \"E\"").status, 200, "a known one, with quotes in it")
    same(s.get("/pp/api/v2/visit/getDestinations", g.head()).json(), ["Gelman", "Eckles \"E\""], "the known destinations")
    s.set(passagepoint={"destinations_404": True, "accept_all_visitors": True})
    same(s.get("/pp/api/v2/visit/getDestinations", g.head()).status, 404, "or none")
    same(g.prereg("7", destination="Gelman").status, 200, "any visitor")
    s.set(passagepoint={"accept_all_visitors": False, "token_seconds": 0.2, "destinations": None})
    g.log_in()
    same(g.find("3").status, 200, "a young token")
    time.sleep(0.3)
    same(g.find("3").status, 401, "a stale token")
    s.set(passagepoint={"token_seconds": 3600})
    g.log_in()
    other = Gate(s)
    other.log_in()
    same((g.find("3").status, other.find("3").status), (200, 200), "two tokens")
    s.set(passagepoint={"one_token": True})
    other.log_in()
    same((g.find("3").status, other.find("3").status), (401, 200), "a new log-in ends the older tokens")
    ids = s.admin("POST", "/passagepoint/visitors", [{"uniqueId": "L", "lastName": "Loaded"}, {"uniqueId": "L"}])["ids"]
    same([x["id"] for x in other.find("L").json()["data"]], ids, "two visitors with one unique id")
    s.admin("DELETE", "/passagepoint/visitors/%d" % v)
    same((other.find("22822000000019").status, other.prereg(v).status), (400, 400), "a visitor deleted at the gate")
    same(other.visitor("22822000000019").status, 200, "can be made again")


def test_effects(s):
    g = Gate(s)
    g.log_in()
    v = g.visitor("1").json()["data"][0]["id"]
    for start in ("1", "1", "2", "1", "2", "3"):
        g.prereg(v, start=start)
    e = s.admin("GET", "/effects")
    same([(x["id"], x["uniqueId"], x["category"], x["mobilePhoneNo"], x["answered"]) for x in e["visitors"]],
         [(v, "1", "Student", "G00000001", True)], "the visitor made")
    same([(x["visitorId"], x["destination"], x["startTime"], x["answered"]) for x in e["preregs"]],
         [(str(v), "LibCal Gelman", t, True) for t in ("1", "1", "2", "1", "2", "3")], "the pre-registrations made")
    check(abs(e["preregs"][0]["at"] - time.time()) < 60, "and when")
    n = s.counts("passagepoint")
    same((n["visitors"], n["preregs"], n["duplicates"], n["duplicate_preregs"], n["logins"]), (1, 6, 2, 3, 1), "counted")
    e = s.admin("GET", "/effects?kind=preregs&from=2&limit=3")
    same((len(e["preregs"]), e["next"], e["preregs_total"]), (3, 5, 6), "a page of them")
    same(s.admin("GET", "/effects?kind=preregs&from=5")["next"], None, "the last page")
    same(len(s.admin("GET", "/effects?kind=duplicates")["duplicates"]), 3, "duplicates only")
    same(s.get("/admin/effects?vendor=alma").status, 404, "Alma changes nothing")
    calls = s.admin("GET", "/calls?vendor=passagepoint&call=createPreReg&last=2")
    same([(c["call"], c["key"], c["status"], c["method"]) for c in calls], [("createPreReg", str(v), 200, "POST")] * 2, "the last calls")
    login = s.admin("GET", "/calls?call=login")[0]
    same(login["credential"], calls[0]["credential"], "a call shows which token it used")
    same(len(s.admin("GET", "/calls?key=1&vendor=passagepoint")), 1, "calls by key")
    s.set(passagepoint={"duplicate_prereg_status": 409})
    same((g.prereg(v, start="1").status, g.prereg(v, start="9").status), (409, 200), "a gate that refuses the very same")
    s.admin("POST", "/reset", {"only": ["effects", "counts"]})
    e = s.admin("GET", "/effects")
    same((e["visitors"], e["preregs"], s.counts("passagepoint")["duplicates"]), ([], [], 0), "effects reset")
    same(s.admin("GET", "/settings")["passagepoint"]["duplicate_prereg_status"], 409, "settings kept")
    same(g.find("1").json(), [], "tokens kept")


def test_latency(s):
    s.set(alma={"latency_ms": 50, "accept_all": True})
    began = time.monotonic()
    conns = [s.connect() for _ in range(20)]
    for c in conns:
        c.request("GET", "/almaws/v1/users/G00000001", None, {"Authorization": "apikey " + KEY})
    eventually("twenty in flight", lambda: s.counts("alma")["in_flight"] == 20, 0.05)
    for c in conns:
        Answer(c.getresponse())
    took = time.monotonic() - began
    check(0.05 <= took < 0.6, "all together after 50 ms", took)
    n = s.counts("alma", "user")
    same((n["requests"], n["in_flight"], n["max_in_flight"], n["by_status"]), (20, 0, 20, {"200": 20}), "counted")
    for c in conns:
        c.close()
    s.fault(vendor="alma", kind="delay", ms=100)
    s.fault(vendor="alma", kind="delay", ms=100)
    s.fault(vendor="alma", kind="status", status=503)
    began = time.monotonic()
    same(alma_get(s, "G00000001").status, 503, "a delay lets the next fault decide")
    check(0.25 <= time.monotonic() - began < 0.8, "delays add up", time.monotonic() - began)
    s.set(alma={"latency_ms": 0.5, "jitter_ms": 2})
    s.clear()
    same(alma_get(s, "G00000001").status, 200, "with jitter")


def test_fault_kinds(s):
    g = Gate(s)
    g.log_in()
    s.set(alma={"accept_all": True}, passagepoint={"accept_all_visitors": True})

    def once(**fault):
        return s.fault(count=1, **fault)

    made = lambda: s.counts("passagepoint")["preregs"]
    once(vendor="alma", call="user", kind="status", status=502, body="<h1>x</h1>", content_type="text/html",
         headers={"X-Test": "1", "Retry-After": "7"}, reason="Sick")
    a = alma_get(s, "G00000001")
    same((a.status, a.reason, a.type, a.body, a.headers["X-Test"], a.headers["Retry-After"]),
         (502, "Sick", "text/html", b"<h1>x</h1>", "1", "7"), "status")
    once(vendor="alma", kind="json_error_object", code="402119", message="odd", status=500)
    a = alma_get(s, "G00000001")
    same((a.status, a.json()["web_service_result"]["errorList"]["error"]["errorCode"]), (500, "402119"), "json_error_object")
    once(vendor="alma", kind="json_error_list", code="60101")
    a = alma_get(s, "G00000001")
    same((a.status, a.json()["errorList"]["error"][0]["errorCode"]), (400, "60101"), "json_error_list")
    once(vendor="alma", kind="xml_error", code="ROUTING_ERROR", message="a < b", status=503)
    a = alma_get(s, "G00000001")
    check(a.status == 503 and "xml" in a.type and b"<errorCode>ROUTING_ERROR" in a.body and b"a &lt; b" in a.body, "xml_error", a.body)
    once(vendor="alma", kind="rate_limited")
    a = alma_get(s, "G00000001")
    same((a.status, a.json()["errorList"]["error"][0]["errorCode"]), (429, "PER_SECOND_THRESHOLD"), "rate_limited")
    once(vendor="alma", kind="rate_limited", code="DAILY_THRESHOLD", retry_after=3)
    a = alma_get(s, "G00000001")
    same((a.headers["Retry-After"], a.json()["errorList"]["error"][0]["errorCode"]), ("3", "DAILY_THRESHOLD"), "with Retry-After")
    for kind, want in [("not_json", b"<html>"), ("empty", b"")]:
        once(vendor="alma", kind=kind)
        a = alma_get(s, "G00000001")
        check(a.status == 200 and a.body.startswith(want) and (want or not a.body), kind, a.body)
    once(vendor="alma", kind="huge", bytes=3000000)
    same(len(alma_get(s, "G00000001").body), 3000000, "huge")
    once(vendor="*", kind="unauthorized")
    a = g.prereg(5)
    same((a.status, a.reason, made()), (401, "Unauthorized", 0), "unauthorized, although the token is good")
    once(vendor="passagepoint", call="createPreReg", kind="error_in_200", message="no")
    a = g.prereg(5)
    same((a.status, a.json(), made()), (200, {"error": "no"}, 0), "error_in_200")
    once(vendor="passagepoint", call="createPreReg", kind="status", status=500, effect=True)
    same((g.prereg(5).status, made()), (500, 1), "a 500 although it was done")
    once(vendor="passagepoint", call="createPreReg", kind="status", status=504)
    same((g.prereg(5).status, made()), (504, 1), "a 504 and it was not")
    once(vendor="passagepoint", call="createPreReg", kind="xml_error")
    check(b"<error>" in g.prereg(5).body, "the gate's own idea of XML")
    once(vendor="passagepoint", call="createPreReg", kind="json_error_list", message="m")
    same(g.prereg(5).json(), {"errors": ["m"]}, "the gate's own idea of a list")
    for kind, how, done in [("drop_before", "closed", 0), ("drop_after", "closed", 1), ("reset_after", "reset", 1),
                            ("refuse", "reset", 0), ("truncate", "short", 1)]:
        before = made()
        once(vendor="passagepoint", call="createPreReg", kind=kind)
        same((ends(lambda: g.prereg(6)), made() - before), (how, done), kind)
    n = s.counts("passagepoint", "createPreReg")
    same((n["dropped"], n["effects"]), (5, 4), "dropped and done are counted")
    same([x["answered"] for x in s.admin("GET", "/effects")["preregs"]], [False] * 4, "nobody heard of those")
    f = s.admin("GET", "/faults")
    check(all(x["fired"] == 1 for x in f) and f[0]["fault"]["kind"] == "status", "the list of faults", f[:2])
    same((alma_get(s, "G00000001").status, g.prereg(5).status), (200, 200), "all of them are used up")


def test_stalls(s):
    g = Gate(s)
    g.log_in()
    s.set(passagepoint={"accept_all_visitors": True})
    made = lambda: s.counts("passagepoint")["preregs"]
    begun = []

    def in_background(**more):
        t = threading.Thread(target=lambda: begun.append(ends(lambda: g.prereg(5, **more))))
        t.start()
        return t

    flight = lambda: s.counts("passagepoint")["in_flight"]
    stall = dict(vendor="passagepoint", call="createPreReg", kind="stall")
    f = s.fault(count=1, **stall)
    t = in_background()
    eventually("it stalls", lambda: flight() == 1)
    same(made(), 0, "before the effect")
    s.admin("DELETE", "/faults/%d" % f)
    t.join()
    same((begun.pop(), made()), ("answered", 1), "taken away, it goes on")
    s.fault(count=1, ms=200, **stall)
    began = time.monotonic()
    same(g.prereg(5).status, 200, "a stall that ends")
    check(0.2 <= time.monotonic() - began < 1, "after its time", time.monotonic() - began)
    s.fault(count=1, effect=True, **stall)
    same((ends(lambda: g.prereg(5, timeout=0.2)), made()), ("timeout", 3), "done, and no answer")
    eventually("the client has left", lambda: s.counts("passagepoint", "createPreReg")["left"] == 1)
    same(s.admin("GET", "/effects")["preregs"][2]["answered"], False, "unheard")
    s.fault(count=1, ms=300, **stall)
    ends(lambda: g.prereg(5, timeout=0.1))
    time.sleep(0.4)
    same(made(), 3, "a client that left: not done")
    s.fault(count=1, ms=300, effect="late", **stall)
    ends(lambda: g.prereg(5, timeout=0.1))
    same(made(), 3, "a client that left: not yet done")
    eventually("but late it is done", lambda: made() == 4)
    s.fault(effect="late", **stall)
    ends(lambda: g.prereg(5, timeout=0.1))
    s.clear()
    eventually("or when the faults are cleared", lambda: made() == 5)
    s.fault(**stall)
    t = in_background()
    eventually("one more stalls", lambda: flight() == 1)
    s.reset()
    t.join()
    same((begun.pop(), flight()), ("closed", 0), "a reset closes what is stalled")


def test_fault_scope(s):
    s.set(alma={"accept_all": True})
    c = s.connect()
    get = lambda u="G00000001": alma_get(s, u, on=c).status
    s.fault(vendor="alma", call="user", key="G00000002", kind="status", status=503)
    same([get("G00000001"), get("G00000002"), get("G00000003")], [200, 503, 200], "one key only")
    s.fault(vendor="alma", call="user", kind="status", status=500, skip=2, count=3)
    same([get() for _ in range(7)], [200, 200, 500, 500, 500, 200, 200], "skip and count")
    same(get("G00000002"), 503, "the older fault wins")
    s.clear()
    same(get("G00000002"), 200, "cleared")
    ids = s.admin("POST", "/faults", [{"vendor": "alma", "key": "G%08d" % i, "kind": "empty"} for i in range(2000)])["ids"]
    same(len(ids), 2000, "many faults at once")
    same(len(alma_get(s, "G00001999", on=c).body), 0, "the last of them")
    check(len(alma_get(s, "G00002000", on=c).body) > 100, "and a key without one")
    s.clear()
    s.set(sandbox={"seed": 5})
    s.fault(vendor="alma", kind="status", status=500, share=0.3)
    first = [get() for _ in range(300)]
    check(60 < first.count(500) < 120, "a share of 0.3", first.count(500))
    s.set(sandbox={"seed": 5})
    same([get() for _ in range(300)], first, "the same again with the same seed")
    s.clear()
    g, l = Gate(s), LibCal(s)
    g.log_in()
    l.log_in()
    s.set(passagepoint={"accept_all_visitors": True})
    for fault, call in [
            (dict(vendor="passagepoint", call="createVisitor", key="22 3"), lambda: g.visitor("22 3")),
            (dict(vendor="passagepoint", call="createVisitor", key="G00000009"), lambda: g.visitor("4", mobilePhoneNo="G00000009")),
            (dict(vendor="passagepoint", call="byUniqueId", key="22"), lambda: g.find("22")),
            (dict(vendor="passagepoint", call="createPreReg", key="55"), lambda: g.prereg("55")),
            (dict(vendor="passagepoint", call="createPreReg", key="Eckles"), lambda: g.prereg("56", destination="Eckles")),
            (dict(vendor="passagepoint", call="login", key="sandbox"), g.log_in),
            (dict(vendor="passagepoint", call="getDestinations"), lambda: s.get("/pp/api/v2/visit/getDestinations", g.head())),
            (dict(vendor="libcal", call="token", key="123"), l.log_in),
            (dict(vendor="libcal", call="bookings", key="1234"), lambda: l.get("/1.1/space/bookings?lid=1234")),
            (dict(vendor="libcal", call="booking", key="cs_b"), lambda: l.get("/1.1/space/booking/cs_a,cs_b")),
            (dict(vendor="libcal", call="locations"), lambda: l.get("/1.1/space/locations")),
            (dict(vendor="libcal", call="form", key="38"), lambda: l.get("/1.1/space/form/38")),
            (dict(vendor="libcal", call="question", key="1"), lambda: l.get("/1.1/space/question/1")),
            (dict(vendor="alma", call="test"), lambda: s.get("/almaws/v1/users/operation/test")),
            (dict(vendor="alma", call="user", key="a b"), lambda: alma_get(s, "a%20b")),
            (dict(vendor="alma", call="other"), lambda: s.get("/almaws/v1/bibs"))]:
        s.fault(kind="status", status=599, **fault)
        same(call().status, 599, "a fault for %s" % fault)
        s.clear()
        check(call().status != 599, "and without it: %s" % fault)
    s.fault(vendor="passagepoint", call="other", kind="drop_after", count=1)
    same(ends(lambda: s.get("/pp/api/v2/nowhere")), "closed", "a fault for a path that serves nothing")
    for code in ("error_in_200", "json_error_object", "json_error_list", "xml_error"):
        s.fault(vendor="libcal", call="bookings", kind=code, message="m", count=1)
        check(b"m" in l.get("/1.1/space/bookings?lid=1").body, "LibCal: " + code)


def test_shapes(s):
    g, l = Gate(s), LibCal(s)
    g.log_in()
    l.log_in()
    s.set(alma={"accept_all": True})

    def once(**fault):
        s.fault(count=1, **fault)

    v = g.visitor("77").json()["data"][0]["id"]
    for kind, want in [("two_ids", 2), ("empty_list", 0)]:
        once(vendor="passagepoint", call="byUniqueId", kind=kind)
        same(len(g.find("77").json()), want, kind)
    once(vendor="passagepoint", call="byUniqueId", kind="dict")
    same(g.find("77").json()["data"][0]["id"], v, "dict")
    once(vendor="passagepoint", call="byUniqueId", kind="not_found")
    same(g.find("77").status, 404, "not_found")
    once(vendor="passagepoint", call="createVisitor", kind="already_exists")
    check(b"ALREADY_EXIST_UNIQUE_ID" in g.visitor("78").body, "already_exists")
    same(g.find("78").json(), [], "although it does not")
    for kind in ("unknown_visitor", "missing_destination"):
        once(vendor="passagepoint", call="createPreReg", kind=kind)
        same(g.prereg(v).status, 400, kind)
    for kind, code in [("not_found", "401861"), ("not_found_typed", "401890")]:
        once(vendor="alma", call="user", kind=kind)
        a = alma_get(s, "G00000001")
        same((a.status, a.json()["errorList"]["error"][0]["errorCode"]), (400, code), "Alma: " + kind)
    once(vendor="alma", kind="no_identifiers")
    same(alma_get(s, "G00000001").json()["user_identifier"], [], "no_identifiers")
    once(vendor="alma", kind="six_barcodes")
    six = alma_get(s, "G00000001").json()["user_identifier"]
    same([(i["status"], i["id_type"]["value"]) for i in six],
         [("ACTIVE" if i == 2 else "INACTIVE", "BARCODE") for i in range(6)], "six_barcodes")
    same(six[2]["value"], "22820000000001", "the third is the one in use")
    once(vendor="alma", kind="other_primary_id", value="X1")
    same(alma_get(s, "G00000001").json()["primary_id"], "X1", "other_primary_id")
    s.admin("POST", "/libcal/generate", {"count": 3, "lid": 1, "start": "2026-10-12T10:00:00-04:00"})
    s.set(libcal={"now": "2026-10-12T09:00:00-04:00"})
    once(vendor="libcal", call="bookings", kind="empty_list")
    same((l.ids("lid=1"), len(l.ids("lid=1"))), ([], 3), "empty_list")
    once(vendor="libcal", call="bookings", kind="page_one")
    same(len(l.ids("lid=1&page=2")), 3, "page_one")
    once(vendor="libcal", call="booking", kind="empty_list")
    same(l.get("/1.1/space/booking/cs_00000001").json(), [], "no booking by id")
    same(s.call("POST", "/admin/faults", {"vendor": "alma", "kind": "two_ids"}).status, 400, "another vendor's shape")


def test_folio_login(s):
    f = Folio(s)
    a = f.log_in()
    same((a.status, sorted(a.json())), (201, ["accessTokenExpiration", "refreshTokenExpiration"]), "log-in with expiry")
    same([c.split("=")[0] for c in a.headers.get_all("Set-Cookie")], ["folioRefreshToken", "folioAccessToken"], "two cookies")
    check("Max-Age=600; Path=/;" in a.headers.get_all("Set-Cookie")[1], "ten minutes")
    same(said(f.account())[0], 404, "the token is good, the user is not there")
    same(f.call("GET", "", head={"X-Okapi-Tenant": "diku", "Cookie": "folioAccessToken=" + f.token,
                                 "Accept": "*/*"}).status, 404, "as a cookie too")
    same(f.call("GET", "", head={"X-Okapi-Token": f.token, "Accept": "*/*"}).status, 404, "the tenant is the token's")
    first = f.refresh
    a = s.post("/authn/refresh", None, {"X-Okapi-Tenant": "diku", "Cookie": "folioRefreshToken=" + first})
    same(a.status, 201, "refreshed")
    second = a.headers.get_all("Set-Cookie")[0].split(";")[0]
    a = s.post("/authn/refresh", None, {"X-Okapi-Tenant": "diku", "Cookie": "folioRefreshToken=" + first})
    same((a.status, a.json()["errors"][0]["code"]), (422, "token.refresh.unprocessable"), "one that was spent")
    same(s.post("/authn/refresh", None, {"X-Okapi-Tenant": "diku", "Cookie": second}).status, 422, "takes the others with it")
    c = s.counts("folio")
    same((c["logins"], c["refreshes"], c["refresh_leaks"]), (1, 3, 2), "which is counted")
    same(f.account().status, 404, "the access token lives on")
    same(s.post("/authn/logout", None, {"X-Okapi-Tenant": "diku"}).status, 204, "logged out")
    a = f.log_in("/authn/login")
    same((a.status, a.json()["okapiToken"]), (201, a.headers["x-okapi-token"]), "legacy")
    same(f.account().status, 404, "is good too")
    a = f.log_in(password="x")
    same((a.status, a.json()["errors"][0]["code"]), (422, "wrong.username.or.wrong.password.or.account.blocked"), "refused")
    same(said(f.log_in(tenant="xyz")), (400, "No such Tenant xyz"), "unknown tenant")
    same(s.post("/authn/login", {"username": "sandbox"}).status, 400, "no tenant")
    s.set(folio={"expiring_login": False})
    a = f.log_in()
    same((a.status, a.body[:25]), (404, b"No suitable module found "), "before there was expiry")
    s.set(folio={"legacy_login": False})
    same(f.log_in("/authn/login").status, 404, "after legacy is gone")


def test_folio_gateway(s):
    s.admin("POST", "/folio/generate", {"users": 2, "items": 2})
    f = Folio(s)
    f.log_in()
    text = {"X-Okapi-Tenant": "diku", "Accept": "*/*"}
    same(said(f.account(head=text)), (400, "Token missing, access requires permission: patron.account.item.get"), "no token")
    same(said(f.account(head=dict(text, **{"X-Okapi-Token": "x"}))), (401, "Invalid token"), "a stale one")
    same(f.account(head=dict(f.head, Authorization="Bearer x")).status, 400, "two tokens")
    same(f.account(head=dict(f.head, Authorization="Bearer " + f.token)).status, 200, "the same twice")
    same(said(f.account(head=dict(f.head, **{"X-Okapi-Tenant": "xyz"}))), (400, "No such Tenant xyz"), "unknown tenant")
    same(said(f.account(patron="abc"))[0], 400, "an id that is none")
    check(f.account(patron="abc").body.startswith(b"\n 'id' parameter is incorrect. parameter value {abc} is not"), "in words")
    for bad in ("00000000-0000-0000-0000-000000000000", "01890a5d-ac96-774b-bcce-b302099a8057"):
        same(f.account(patron=bad).status, 400, "the pattern: " + bad)
    check(said(f.account(head=dict(f.head, Accept="text/html")))[1].startswith("Accept header must be"), "Accept")
    check(said(f.hold(head=dict(f.head, **{"Content-Type": "text/xml"})))[1].startswith("Content-type header"), "Content-Type")
    s.set(folio={"permissions": ["patron.account.item.get"]})
    same(f.account().status, 200, "a permission")
    a = f.renew()
    same(a.status, 403, "without one")
    check(said(a)[1].startswith("Access for user 'sandbox' (") and a.body.endswith(b": patron.renew.item.post"), "in words")
    s.set(folio={"permissions": None, "account_active": False})
    check(said(f.account())[1].endswith("is not active"), "our user is deactivated")
    s.set(folio={"account_active": True, "module_enabled": False})
    same(said(f.account())[1], "No suitable module found for path /patron/account/%s for tenant diku" % f.USER, "no module")
    s.set(folio={"module_enabled": True, "token_seconds": 0.05})
    f.log_in()
    time.sleep(0.1)
    same(f.account().status, 401, "a token that has ended")


def test_folio_account(s):
    f, two = Folio(s), "10000000-0000-4000-8000-000000000002"
    f.log_in()
    s.admin("POST", "/folio/generate", {"users": 2, "items": 2, "lent": True})
    s.admin("POST", "/folio/holds", [{"userId": f.USER, "itemId": f.ITEM, "requestDate": "2026-10-01T10:00:00Z"}])
    s.admin("POST", "/folio/loans", [{"userId": f.USER, "itemId": f.ITEM, "loanDate": "2018-06-01T11:12:00Z",
                                      "dueDate": "2018-06-11T21:13:03Z"}])
    s.admin("POST", "/folio/charges", [{"userId": f.USER, "itemId": f.ITEM, "amount": 12.5, "state": "Outstanding"},
                                       {"userId": f.USER, "itemId": f.ITEM, "amount": 0.25}])
    a = f.account().json()
    same((a["totalLoans"], a["totalHolds"], a["totalChargesCount"]), (1, 1, 2), "totals")
    same(a["totalCharges"], {"amount": 12.75, "isoCurrencyCode": "USD"}, "what remains")
    same((a["loans"][0]["dueDate"], a["loans"][0]["overdue"]), ("2018-06-11T21:13:03.000+0000", True), "a loan, no colon")
    same(a["holds"][0]["requestDate"], "2026-10-01T10:00:00.000+0000", "a hold")
    same([c["state"] for c in a["charges"]], ["Unknown", "Outstanding"], "charges")
    b = f.account("").json()
    same((b["totalLoans"], b["loans"], b["holds"], b["charges"]), (1, [], [], []), "not included: totals are real")
    same(f.call("GET", "?includeLoans=1&includeHolds=TRUE").json()["loans"], [], "1 is not true")
    same(len(f.call("GET", "?includeHolds=TRUE").json()["holds"]), 1, "TRUE is")
    same(f.account(patron=two).json()["totalLoans"], 1, "the other one's")
    same(f.account(patron=f.NOBODY).status, 404, "nobody")
    s.set(folio={"version": 6.5})
    a = f.account().json()
    same((a["loans"][0]["dueDate"], a["totalCharges"]["isoCurrencyCode"]), ("2018-06-11T21:13:03.000+00:00", "EUR"), "6.5")
    s.set(folio={"dates": "z"})
    same(f.account().json()["loans"][0]["dueDate"], "2018-06-11T21:13:03Z", "z")
    s.set(folio={"dates": "usual", "version": 3.0})
    s.admin("POST", "/folio/users", [{"id": f.USER, "active": False}])
    same(said(f.account()), (400, "User is not active"), "an inactive patron")
    s.set(folio={"version": 5.1})
    same(f.account().status, 200, "from 5.1 they may look")
    s.admin("POST", "/folio/holds", [{"userId": two, "itemId": f.ITEM, "status": "Open - Lost"}])
    same(said(f.account(patron=two)), (422, "Invalid value of status"), "a status nobody knows")
    s.set(folio={"version": 3.0})
    same(said(f.account(patron=two)), (500, "Open - Lost"), "at 3.0")
    s.admin("POST", "/folio/users", [{"externalSystemId": "ada"}])
    s.admin("POST", "/folio/charges", [{"userId": "ada", "amount": 1}])
    ada = "10000000-0000-4000-8000-000000000003"
    same(f.account(patron=ada).status, 500, "a charge without an item breaks 3.0")
    s.set(folio={"version": 4})
    check("item" not in f.account(patron=ada).json()["charges"][0], "and later stands there without")


def test_folio_renew(s):
    f, two = Folio(s), "10000000-0000-4000-8000-000000000002"
    f.log_in()
    s.admin("POST", "/folio/generate", {"users": 2, "items": 3})
    s.admin("POST", "/folio/loans", [{"userId": f.USER, "itemId": f.ITEM, "dueDate": "2026-10-01T10:00:00Z"}])
    a = f.renew()
    same((a.status, a.json()["dueDate"]), (201, "2026-10-15T10:00:00.000+0000"), "renewed")
    same(f.renew().json()["dueDate"], "2026-10-29T10:00:00.000+0000", "and again")
    same(said(f.renew(item=f.NOBODY)), (422, "No item with ID %s exists" % f.NOBODY), "no such item is a 422")
    same(said(f.renew(patron=two)), (422, "Cannot renew item checked out to different user"), "somebody else's")
    same(f.renew(item="20000000-0000-4000-8000-000000000002").status, 422, "not lent")
    s.set(folio={"renewals_max": 2})
    same(f.renew().status, 422, "no more")
    same(f.account().json()["loans"][0]["dueDate"], "2026-10-29T10:00:00.000+0000", "nothing was done")
    e = s.admin("GET", "/effects?vendor=folio&kind=renewals")
    same([(r["dueBefore"], r["dueDate"], r["again"], r["answered"]) for r in e["renewals"]],
         [("2026-10-01T10:00:00+00:00", "2026-10-15T10:00:00+00:00", False, True),
          ("2026-10-15T10:00:00+00:00", "2026-10-29T10:00:00+00:00", True, True)], "effects")
    c = s.counts("folio")
    same((c["renewals"], c["repeated_renewals"], c["calls"]["renew"]["effects"]), (2, 1, 2), "counts")


def test_folio_holds(s):
    f, two = Folio(s), "10000000-0000-4000-8000-000000000002"
    f.log_in()
    s.admin("POST", "/folio/generate", {"users": 2, "items": 4, "items_per_instance": 2})
    a = f.hold(change={"expirationDate": "3000-01-30T08:16:30Z", "requestId": "ignored"})
    h = a.json()
    same((a.status, h["queuePosition"], h["requestDate"], h["expirationDate"], h["status"]),
         (201, 1, "2026-10-12T10:00:00.000+0000", "3000-01-30T08:16:30.000+0000", "Open - Not yet filled"), "held")
    same(f.hold(patron=two).json()["queuePosition"], 2, "the next in the queue")
    same(f.hold(f.INSTANCE, "instance").json()["item"]["itemId"], "20000000-0000-4000-8000-000000000002", "FOLIO chooses")
    same(said(f.hold(change={"pickupLocationId": "absent"})), (422, "may not be null"), "a field is missing")
    same(f.hold(change={"pickupLocationId": "x"}).status, 422, "one that is no UUID")
    check(said(f.hold(change={"requestDate": "soon"}))[1].startswith("Json content error"), "a date that is none")
    same(f.hold(change={"item": {"barcode": "1"}}).status, 422, "a field within item that is not known")
    check(said(f.call("POST", "/item/%s/hold" % f.ITEM, "{"))[1].startswith("Json content error"), "broken JSON")
    s.admin("POST", "/folio/items", [{"itemId": "20000000-0000-4000-8000-000000000003", "requestable": False}])
    no = f.hold("20000000-0000-4000-8000-000000000003")
    same(said(no), (422, "Cannot find a valid request type for this item"), "not requestable")
    check("code" not in no.json()["errors"][0], "without a code")
    a = f.hold(f.NOBODY)
    same((a.status, a.type, said(a)[1]), (500, "text/plain", "No item with ID %s exists" % f.NOBODY), "3.0: JSON in a 500")
    s.set(folio={"pickup_locations": [f.NOBODY]})
    same(said(f.hold()), (500, "Service point is not a Pickup location"), "not a pickup location")
    s.set(folio={"version": 6.5})
    same(said(f.hold()), (422, "Service point is not a Pickup location"), "later a 422")
    no = f.hold("20000000-0000-4000-8000-000000000003").json()
    same(no["errors"][0]["code"], "CANNOT_FIND_VALID_REQUEST_FOR_ITEM", "6.5")
    s.set(folio={"pickup_locations": None, "version": 3.0})
    same(f.hold().status, 201, "the very same again is made")
    s.set(folio={"duplicate_holds": False})
    same(said(f.hold()), (500, "This requester already has an open request for this item"), "or refused")
    s.admin("POST", "/folio/users", [{"id": two, "blocked": "Patron has too many books"}])
    same(said(f.hold(patron=two)), (500, "Patron has too many books"), "a blocked patron")
    e = s.admin("GET", "/effects?vendor=folio")
    same((e["holds_total"], e["duplicates_total"], e["holds"][2]["by"]), (4, 1, "instance"), "effects")
    same([d["itemId"] for d in s.admin("GET", "/effects?vendor=folio&kind=duplicates")["duplicates"]], [f.ITEM], "duplicates")
    s.set(folio={"hang_on_missing": True})
    same(ends(lambda: f.hold(f.NOBODY, timeout=0.3)), "timeout", "3.0: nobody answers")
    s.set(folio={"accept_all": True})
    same(f.hold(f.NOBODY, patron="feedface-0000-4000-8000-000000000000").status, 201, "accept_all")
    same(f.hold(f.NOBODY, "instance").status, 201, "accept_all, an instance")


def test_folio_cancel(s):
    f, two = Folio(s), "10000000-0000-4000-8000-000000000002"
    f.log_in()
    s.admin("POST", "/folio/generate", {"users": 2, "items": 2})
    h = f.hold().json()["requestId"]
    same(f.call("PUT", "/item/%s/hold/%s" % (f.ITEM, h), {}).status, 501, "PUT is never there")
    same(said(f.cancel(h))[1][:24], "No suitable module found", "3.0 has no cancel")
    same((f.delete(h).status, f.account().json()["totalHolds"]), (204, 0), "deleted")
    same(f.delete(h).status, 404, "again")
    same(f.delete("x").status, 400, "an id that is none")
    same(f.delete(f.hold().json()["requestId"], patron=two).status, 204, "anybody's")
    same(s.counts("folio")["foreign_cancels"], 1, "which is counted")
    s.set(folio={"version": 4.0})
    h = f.hold().json()["requestId"]
    same(said(f.delete(h))[1][:24], "No suitable module found", "4.0 has no DELETE")
    s.set(folio={"missing_call": "module"})
    same(said(f.delete(h)), (400, "API resource does not support this HTTP method (DELETE)"), "in the module's words")
    same(said(f.call("GET", "/x"))[1][:26], "Invalid URL path requested", "nor that path")
    same(f.cancel(h, change={"canceledDate": "absent"}).status, 500, "without a date")
    same(f.cancel(h, change={"pickupLocationId": "absent"}).status, 422, "without what a hold must have")
    a = f.cancel(h)
    same((a.status, a.json()["status"], a.json()["canceledDate"], a.json()["requestDate"]),
         (200, "Closed - Cancelled", "2026-10-13T10:00:00.000+0000", "2026-10-12T10:00:00.000+00:00"), "cancelled")
    same(said(f.cancel(h)), (422, "Cannot edit a closed request"), "again")
    same(f.cancel(f.NOBODY).status, 404, "no such hold")
    same((s.counts("folio")["cancels"], s.counts("folio")["open_holds"]), (3, 0), "counts")


def test_folio_edge(s):
    s.admin("POST", "/folio/generate", {"users": 1, "items": 2, "lent": True})
    s.set(folio={"edge": True})
    f = Folio(s, "P00000001")
    same(said(f.account()), (401, "Access Denied"), "no key")
    f.head = {"Authorization": "apikey " + f.KEY}
    same(f.account().json()["totalLoans"], 2, "a key in a header")
    same(f.call("GET", "?apiKey=" + urllib.parse.quote(f.KEY), head={}).status, 200, "a key in the URL")
    same(said(f.account(patron="ada%20l")), (404, "Unable to find patron ada l"), "no such patron")
    same(said(f.call("POST", "/item/%s/hold" % f.ITEM)), (400, "No hold data provided"), "no body")
    same(said(f.renew(item=f.NOBODY)), (422, "No item with ID %s exists" % f.NOBODY), "the first message")
    a = f.hold(f.NOBODY)
    same((a.status, json.loads(said(a)[1])["errors"][0]["message"]), (500, "No item with ID %s exists" % f.NOBODY), "in JSON")
    h = f.hold("20000000-0000-4000-8000-000000000002", change={"expirationDate": "3000-01-30T08:16:30Z"})
    same(h.status, 500, "it is this patron's own loan")
    s.admin("POST", "/folio/items", [{"itemId": f.NOBODY}])
    h = f.hold(f.NOBODY, change={"expirationDate": "3000-01-30T08:16:30Z"}).json()
    check("expirationDate" not in h and h["requestDate"][:19] != "2026-10-12T10:00:00", "its own time, and no expiry", h)
    same(f.hold(f.NOBODY, change={"expirationDate": "3000-01-30T08:16:30.000+0000"}).json()["expirationDate"],
         "3000-01-30T08:16:30.000+0000", "an expiry in the one form")
    same(f.cancel(h["requestId"]).status, 404, "no such route at 3.0")
    same(f.delete(h["requestId"]).status, 204, "deleted")
    s.set(folio={"version": 4.0})
    same((f.delete(h["requestId"]).status, f.delete(h["requestId"]).type[:9]), (404, "text/html"), "no such route from 4.0")
    h = f.hold(f.NOBODY).json()["requestId"]
    same(f.cancel(h, change={"cancellationReasonId": "absent"}).status, 422, "a reason is required")
    same(f.cancel(h, change={"cancellationReasonId": "x"}).status, 422, "one that is a UUID")
    same(f.cancel(h, change={"requestDate": "absent", "pickupLocationId": "absent", "canceledDate": "absent"}).status, 200,
         "nothing else is")
    same(said(f.cancel(h)), (422, "Cannot edit a closed request"), "again")
    before = s.counts("folio")["holds"]
    s.fault(vendor="folio", call="holdItem", kind="edge_timeout", count=1)
    same(said(f.hold(f.NOBODY)), (408, "Request to FOLIO timed out"), "edge_timeout")
    same(s.counts("folio")["holds"], before + 1, "it was done")
    same(s.admin("GET", "/effects?vendor=folio")["holds"][-1]["answered"], False, "nobody told the client")


def test_folio_faults(s):
    f = Folio(s)
    f.log_in()
    s.admin("POST", "/folio/generate", {"users": 1, "items": 2, "lent": True})
    s.admin("POST", "/folio/items", [{"itemId": f.NOBODY}])
    f.hold(f.NOBODY)
    s.admin("POST", "/folio/charges", [{"userId": f.USER, "itemId": f.ITEM, "amount": 1}])

    def once(call, kind, **more):
        s.fault(vendor="folio", call=call, kind=kind, count=1, **more)
    once("account", "no_due_dates")
    check("dueDate" not in f.account().json()["loans"][0], "no_due_dates")
    once("account", "bare_holds")
    bare = f.account().json()["holds"][0]
    check("fulfillmentPreference" in bare and "requestDate" not in bare and "pickupLocationId" not in bare, "bare_holds", bare)
    once("account", "hold_status", value="Open - Odd")
    same(f.account().json()["holds"][0]["status"], "Open - Odd", "hold_status")
    once("account", "charge_without_item")
    check("item" not in f.account().json()["charges"][0], "charge_without_item")
    once("account", "includes_ignored")
    a = f.account().json()
    same((a["loans"], a["totalLoans"]), ([], 2), "includes_ignored")
    once("account", "mixed_dates")
    loan = f.account().json()["loans"][0]
    same((loan["loanDate"][19:], loan["dueDate"][19:]), (".000+0000", "Z"), "mixed_dates")
    once("account", "inactive")
    same(said(f.account()), (400, "User is not active"), "inactive")
    for call, go in (("renew", f.renew), ("holdItem", lambda: f.hold(f.NOBODY)), ("deleteHold", lambda: f.delete(f.NOBODY))):
        before = s.counts("folio", call)["effects"]
        once(call, "refused", value="no, said the dog")
        same(said(go()), (422, "no, said the dog"), call + " refused")
        once(call, "refused_in_500")
        same(said(go()), (500, "no more of this today"), call + " refused_in_500")
        same(s.counts("folio", call)["effects"], before, "without effect")
    once("holdItem", "not_requestable")
    same(said(f.hold(f.NOBODY)), (422, "Cannot find a valid request type for this item"), "not_requestable")
    due = f.account().json()["loans"][-1]["dueDate"]
    once("renew", "drop_after")
    same(ends(f.renew), "closed", "done, and the answer lost")
    check(f.account().json()["loans"][-1]["dueDate"] > due, "it was done")
    same(s.admin("GET", "/effects?vendor=folio&kind=renewals")["renewals"][-1]["answered"], False, "not answered")
    once("renew", "status", status=504, effect=True)
    same((f.renew().status, s.counts("folio")["renewals"]), (504, 2), "a gateway's 504 after the effect")
    once("renew", "unauthorized")
    same(said(f.renew()), (401, "Invalid token"), "unauthorized")
    once("renew", "json_error_list", status=422, message="m")
    same(said(f.renew()), (422, "m"), "json_error_list")
    s.fault(vendor="folio", key=f.NOBODY, kind="status", status=502)
    same((f.renew().status, f.hold(f.NOBODY).status), (201, 502), "by item")
    s.admin("POST", "/vendor", {"vendor": "folio", "revoke_tokens": True})
    same(f.account().status, 401, "revoked")
    s.admin("POST", "/reset", {"only": ["effects"]})
    same(s.admin("GET", "/effects?vendor=folio")["renewals_total"], 0, "effects forgotten")
    f.log_in()
    same(f.account().json()["totalLoans"], 2, "the data is not")


def test_down(s):
    g = Gate(s)
    g.log_in()
    s.set(passagepoint={"accept_all_visitors": True, "latency_ms": 500}, alma={"accept_all": True})
    seen = []
    idle = s.connect()
    s.get("/pp/api/v2/nowhere", on=idle)
    t = threading.Thread(target=lambda: seen.append(ends(lambda: g.prereg(5))))
    t.start()
    eventually("one in flight", lambda: s.counts("passagepoint")["in_flight"] == 1)
    s.admin("POST", "/vendor", {"vendor": "passagepoint", "down": True})
    t.join()
    same(seen, ["closed"], "what is in flight is closed")
    idle.sock.settimeout(2)
    same(idle.sock.recv(1), b"", "what is idle too")
    before = s.counts("passagepoint")["preregs"]
    same((ends(lambda: g.prereg(6)), s.counts("passagepoint")["preregs"]), ("closed", before), "down: no answer, no effect")
    same(alma_get(s, "G00000001").status, 200, "the others are up")
    s.admin("POST", "/vendor", {"vendor": "passagepoint", "down": True, "by_reset": True})
    same(ends(lambda: g.prereg(6)), "reset", "down by reset")
    s.admin("POST", "/vendor", {"vendor": "passagepoint", "down": False})
    same(g.prereg(6).status, 200, "up again")
    s.set(passagepoint={"latency_ms": 0})
    door = s.admin("POST", "/vendor", {"vendor": "passagepoint", "port": 0})["port"]
    same(s.admin("POST", "/vendor", {"vendor": "passagepoint", "port": 0})["port"], door, "a door of its own")
    c = s.connect(door)
    same(s.get("/pp/api/v2/person/byUniqueId?uniqueId=1", g.head(), on=c).status, 200, "open")
    for _ in range(2):
        s.admin("POST", "/vendor", {"vendor": "passagepoint", "down": True})
        same(ends(lambda: s.connect(door).connect()), "refused", "down: connections are refused there")
        s.admin("POST", "/vendor", {"vendor": "passagepoint", "down": False})
        same(s.get("/pp/api/v2/person/byUniqueId?uniqueId=1", g.head(), on=s.connect(door)).status, 200, "up at the same port")
    s.admin("POST", "/vendor", {"vendor": "passagepoint", "down": True})
    s.reset()
    same(s.get("/pp/api/v2/person/byUniqueId", on=s.connect(door)).status, 401, "a reset brings it up, without tokens")


# ---- OCLC Wise ----

PSID = "4be868c83ea2f8c03b3e052bb35cf0ff"
OTHER_PSID = "00000000000000000000000000000001"


class Wise:
    """A patron at Wise, as a discovery layer sees it."""

    def __init__(self, s, patron=PSID, day=None):
        self.s, self.patron, self.token, self.day = s, patron, None, day

    def key(self, day=None, key="sandbox-wise-key"):
        if day is None:
            day = self.day if self.day is not None else int(time.time()) // 86400
        message = "%dShelfwire" % day
        return "sandbox-app:" + hmac.new(key.encode(), message.encode(), hashlib.sha256).hexdigest()

    def call(self, method, path, body=None, **more):
        headers = {"WISE_KEY": self.key()}
        if self.token:
            headers["Authorization"] = self.token
        headers.update(more.pop("headers", {}))
        return self.s.call(method, path, body, headers, **more)

    def path(self, behind=""):
        return "/restapi/patron/%s/library/I649%s" % (self.patron, behind)

    def log_in(self, username=None, password="sandbox"):
        a = self.call("POST", "/restapi/patron/authentication",
                      {"username": username or self.patron, "password": password})
        if a.status == 200:
            self.token = a.json()["token"]
        return a

    def prepare(self, title, branch="6490", **more):
        return self.call("GET", self.path("/preparehold/%s/branch/%s" % (title, branch)), **more)

    def options(self, titles, kind="ONE", branch="6490"):
        return self.call("PUT", "/restapi/patron/%s/holdoption" % self.patron, {
            "titleHoldOptions": [{"bibliographicRecordId": t} for t in titles], "holdType": kind, "pickupBranchId": branch})

    def place(self, title, branch="6490", parameters=None, on=None, **more):
        if parameters is None:
            parameters = self.prepare(title, branch).json()["holdParameters"]
        return self.call("POST", self.path("/hold"), {"bibliographicRecordId": title, "holdParameters": parameters,
                                                      "pickupLocationBranchId": branch, **more}, on=on)

    def place_several(self, titles, kind="ONE", fast=False, **more):
        return self.call("POST", "/restapi/patron/%s/hold" % self.patron, {
            "holds": [{"bibliographicRecordId": t, "fastDeliveryAllowed": fast} for t in titles], "holdType": kind,
            "pickupBranchId": "6490", **more})

    def list(self, query=""):
        return self.call("GET", self.path("/hold") + query).json()

    def cancel(self, hold):
        return self.call("DELETE", self.path("/hold/%s" % hold))


def errors(a):
    return a.json().get("validationErrors")


def wise_with(s, titles=("4595", "1137719"), day=None, **settings):
    if settings:
        s.set(wise=settings)
    s.admin("POST", "/wise/titles", [t if isinstance(t, dict) else {"id": t} for t in titles])
    s.admin("POST", "/wise/patrons", [{"patronSystemId": PSID, "username": "ada"}, {"patronSystemId": OTHER_PSID}])
    w = Wise(s, day=day)
    same(w.log_in("ada").status, 200, "a patron logs in")
    return w


def test_wise_keys(s):
    w = wise_with(s)
    a = w.log_in("ada")
    same({k: a.json()[k] for k in ("patronSystemId", "libraryId", "membershipExpiryDate", "id", "validationErrors")},
         {"patronSystemId": PSID, "libraryId": "I649", "membershipExpiryDate": "2099-06-30", "id": "", "validationErrors": []},
         "a log-in says who the patron is")
    a = w.log_in("ada", "wrong")
    same((a.status, len(errors(a))), (401, 1), "a wrong password")
    same(w.log_in("nobody").status, 401, "an unknown patron")
    today = int(time.time()) // 86400
    for what, key in (("yesterday's", w.key(today - 1)), ("tomorrow's", w.key(today + 1)), ("another", w.key(key="x")),
                      ("no", ""), ("half a", w.key()[:-1])):
        same(w.prepare("4595", headers={"WISE_KEY": key}).status, 403, "%s key" % what)
    same(w.prepare("4595").status, 200, "today's key")
    same(w.prepare("4595", headers={"Authorization": ""}).status, 401, "no token")
    same(w.prepare("4595", headers={"Authorization": "Bearer " + w.token}).status, 401, "a token behind Bearer")
    other = Wise(s, OTHER_PSID)
    other.token = w.token
    same(other.prepare("4595").status, 403, "another patron's token")
    staff = Wise(s)
    a = staff.call("POST", "/restapi/login", {"username": "sandbox", "password": "sandbox-wise-password"})
    staff.token = a.json()["token"]
    check("patronSystemId" not in a.json(), "staff is no patron", a.body)
    same(staff.call("POST", "/restapi/login", {"username": "sandbox", "password": "x"}).status, 401, "staff's wrong password")
    same(staff.prepare("4595").status, 403, "staff's own token is no patron's")
    a = staff.call("POST", staff.path("/proxyauthentication"), {})
    same((a.status, a.json().get("patronSystemId")), (200, PSID), "staff gets a patron's token")
    w.token = a.json()["token"]
    same(w.prepare("4595").status, 200, "which works")
    same(w.call("POST", w.path("/proxyauthentication"), {}).status, 403, "a patron gets none")
    s.set(wise={"proxy_auth": False})
    same(staff.call("POST", staff.path("/proxyauthentication"), {}).status, 403, "without the right staff gets none")
    s.admin("POST", "/vendor", {"vendor": "wise", "revoke_tokens": True})
    same(w.prepare("4595").status, 401, "a revoked token")


def test_wise_midnights(s):
    w = wise_with(s, day=18788, now="2021-06-10T23:30:00+02:00", bad_key_status=401, bad_token_status=403)
    same(w.log_in("ada").status, 200, "the key of the UTC day, half an hour before the library's midnight")
    same(w.prepare("4595").status, 200, "a token before it ends")
    s.set(wise={"now": "2021-06-10T23:59:59+02:00"})
    same(w.prepare("4595").status, 403, "a token ends at 23:59:59, in the library")
    s.set(wise={"now": "2021-06-11T01:30:00+02:00"})
    same(w.log_in("ada").status, 200, "the same key behind the library's midnight")
    s.set(wise={"now": "2021-06-11T02:00:00+02:00"})
    same(w.prepare("4595").status, 401, "the key ends at the UTC midnight")
    w.day = 18789
    same(w.prepare("4595").status, 200, "the next day's key, the token of before")
    w.place("4595")
    hold = w.list()["items"][0]
    same((hold["holdPlacedDate"], hold["requestDueDate"], hold["holdNumber"]), ("2021-06-11", "2022-06-11", "21061100001"),
         "days are the library's")


def test_wise_single(s):
    w = wise_with(s, ({"id": "4595", "title": "Glas", "ill": True, "queue": 3, "reservationCost": "0.75"},
                      {"id": "7", "hold": False, "ill": True}, {"id": "8", "hold": False}))
    a = w.prepare("4595").json()
    same(a, {"id": "", "validationErrors": [], "holdPossible": True, "chooseIssueFirst": False, "pickupLocations": [
        {"branchId": b, "locationType": "B", "description": d}
        for b, d in (("6491", "Negenmanneke"), ("6492", "Ruisbroek"), ("6493", "Vlezenbeek"))],
        "pickupLocation": {"branchId": "6490", "locationType": "B"},
        "reservationCostDetails": {"placementCost": 0.0, "pickupFee": 0.0, "lendingFee": 0.0}, "punchCardPunches": 0,
        "holdParameters": "N;N649;BIEB;I649;6490;6490|6491|6492|6493|~~~~|", "queuePosition": 4, "messageParameters": [],
        "reservationCost": 0.75, "illAllowed": True}, "an offer")
    same(w.prepare("9").status, 404, "a title nobody has")
    same(errors(w.prepare("9")), [], "and Wise says so itself")
    same(w.prepare("4595", "7000").status, 404, "a branch nobody has")
    a = w.place("4595")
    same((a.status, a.json()), (200, {"id": "", "validationErrors": []}), "a hold")
    listed = w.list()
    same((listed["offset"], listed["limit"], listed["total"]), (0, 50, 1), "a list")
    hold = listed["items"][0]
    same((hold["bibliographicRecordId"], hold["holdStatus"], hold["title"], hold["cancelAllowed"], hold["awaitingPickup"],
          hold["pickupLocationBranchId"], "groupHoldId" in hold), ("4595", "ACTIVE", "Glas", True, False, "6490", False),
         "a hold in the list")
    same(w.prepare("4595").json()["queuePosition"], 5, "the queue has grown")
    same(len(errors(w.place("4595", "6491", w.prepare("4595").json()["holdParameters"]))), 1,
         "another branch with the parameters of before")
    same(errors(w.place("4595", "6491")), [], "another branch, prepared again")
    same(w.list()["items"][0]["pickupLocationBranchId"], "6491", "is the branch of the hold")
    same(len(errors(w.place("4595", parameters="N;"))), 1, "other parameters")
    offered = w.prepare("7").json()
    same((offered["holdPossible"], offered["illAllowed"]), (False, True), "only an ILL is possible")
    same(len(errors(w.place("7"))), 1, "so no hold is placed")
    same(errors(w.place("7", parameters="I" + offered["holdParameters"][1:])), [], "but an ILL")
    same(len(errors(w.place("8", parameters="I" + w.prepare("8").json()["holdParameters"][1:]))), 1, "where it is allowed")
    same(errors(w.place("4595", requestDueDate="2099-02-28")), [], "a due date")
    same(w.list()["items"][0]["requestDueDate"], "2099-02-28", "is kept")
    same(len(errors(w.place("4595", requestDueDate="2099-02-30"))), 1, "one that is no day")
    same(len(errors(w.place("4595", requestDueDate="2001-01-01"))), 1, "one that is over")
    same(errors(w.place(4595)), [], "a title as a number")
    of = s.admin("GET", "/effects?vendor=wise")
    same((of["holds_total"], of["cancels_total"], of["duplicates_total"]), (5, 0, 3), "what was done")
    same([h["ill"] for h in of["holds"]], [False, False, True, False, False], "and what was an ILL")
    check(all(h["answered"] for h in of["holds"]), "all was answered", of)
    s.set(wise={"duplicate_status": 409, "holds_max": 6})
    a = w.place("4595")
    same((a.status, len(errors(a))), (409, 1), "a second hold can be refused")
    s.admin("POST", "/wise/titles", [{"id": "10"}, {"id": "11"}])
    same([len(errors(w.place(t))) for t in ("10", "11")], [0, 1], "and more holds than a patron may have")
    s.set(wise={"place_answer": "hold", "place_status": 201, "holds_max": 0})
    a = w.place("11")
    same((a.status, a.json()["id"]), (201, w.list()["items"][0]["id"]), "an answer with ids")
    s.set(wise={"place_answer": "empty", "duplicate_status": 0})
    same(w.place("11").body, b"", "an empty answer")


def test_wise_several(s):
    w = wise_with(s, ("1137719", {"id": "4595", "ill": True}, {"id": "8", "hold": False},
                      {"id": "9", "fast": True, "placementCost": 0.5, "fastCost": 2.5}))
    a = w.options(["1137719", "4595"]).json()
    same((a["pickupBranchId"], a["holdType"], a["searchStrategy"], a["reservationCostDetails"]),
         ("6490", "ONE", "BRANCH", {"placementCost": 0, "pickupFee": 0, "punchCardPunches": 0}), "options")
    same(a["titleHoldOptions"][1], {"bibliographicRecordId": 4595, "issueId": "", "holdAllowed": True,
                                    "fastDeliveryAllowed": False, "queuePosition": 1, "illAllowed": True}, "of a title")
    same(a["altPickupBranches"][0], {"locationNumber": "6491", "locationType": "B", "description": "Negenmanneke"},
         "other branches")
    same(w.options(["1"]).status, 404, "a title nobody has")
    same([len(errors(w.options(["4595"], *more))) for more in (("SOME",), ("ONE", "7000"))], [1, 1], "what is none")
    same(len(errors(w.options([]))), 1, "no titles")
    s.fault(vendor="wise", call="holdoption", kind="printed", count=1)
    check(b"}\nsearchStrategy\":\"BRANCH\"" in w.options(["4595"]).body, "as the document prints it")
    a = w.place_several(["1137719", "4595"]).json()
    group = a["groupHoldId"]
    same([h["bibliographicRecordId"] for h in a["holds"]], [1137719, 4595], "a group")
    listed = w.list()["items"]
    same([(h["bibliographicRecordId"], h["groupHoldId"]) for h in listed], [("4595", group), ("1137719", group)],
         "is in the list, newest first")
    same(listed[1]["id"], str(group), "a group has the id of its first hold")
    s.admin("PATCH", "/wise/holds/%s" % listed[0]["id"], {"holdStatus": "MESSAGE_SENT"})
    listed = w.list()["items"]
    same([(h["bibliographicRecordId"], h["holdStatus"], h["awaitingPickup"], h["cancelAllowed"]) for h in listed],
         [("4595", "MESSAGE_SENT", True, False)], "once one has an item the others are gone")
    check("holdDueDate" in listed[0], "what waits says until when", listed)
    same(len(errors(w.cancel(listed[0]["id"]))), 1, "and cannot be cancelled")
    a = w.place_several(["1137719", "8"], "ALL").json()
    check("groupHoldId" not in a, "holds of their own have no group", a)
    same([h["holdAllowed"] for h in a["holds"]], [True, False], "what cannot be held is not")
    same(w.list()["total"], 2, "and is not in the list")
    s.set(wise={"group_of_all": True})
    check("groupHoldId" in w.place_several(["1137719"], "ALL").json(), "unless they have")
    same(len(errors(w.place_several(["9"], fast=True))), 1, "fast delivery is an option")
    s.set(wise={"fast_delivery": True})
    same(w.options(["9"]).json()["reservationCostDetails"]["placementCost"], 2.5, "with costs of its own")
    same(errors(w.place_several(["9"], fast="true")), [], "as the document writes booleans")
    same(len(errors(w.place_several(["9"], fast=True, searchStrategy="ELSEWHERE"))), 1, "a strategy that is none")
    holds = s.admin("GET", "/effects?vendor=wise&kind=holds")["holds"]
    same((holds[-1]["fast"], holds[1]["ill"], holds[0]["ill"]), (True, True, False), "fast ones and ILL are known")
    s.set(wise={"ids": "strings"})
    same(w.options(["9"]).json()["titleHoldOptions"][0]["bibliographicRecordId"], "9", "ids as texts")
    s.set(wise={"ids": "numbers"})
    same(w.list()["items"][0]["bibliographicRecordId"], 9, "ids as numbers")


def test_wise_list(s):
    w = wise_with(s, accept_all_titles=True)
    ids = s.admin("POST", "/wise/holds", [{"patronSystemId": PSID, "bibliographicRecordId": 100 + i,
                                           "holdPlacedDate": "2021-06-10"} for i in range(120)])["ids"]
    same(s.counts("wise")["holds"], 0, "loaded holds are no effects")
    seen, pages = [], []
    while len(seen) < 120 and len(pages) < 9:
        page = w.list("?offset=%d&limit=50" % len(seen))
        pages.append(len(page["items"]))
        seen += [h["id"] for h in page["items"]]
    same((pages, seen), ([50, 50, 20], ids[::-1]), "pages, newest first")
    same(w.list()["items"][0]["holdPlacedDate"], "2021-06-10", "a loaded day")
    same(len(w.list("?limit=500")["items"]), 50, "no page is longer than page_max")
    s.set(wise={"paging": False})
    same(w.list("?offset=50")["items"][0]["id"], ids[-1], "a list that does not page")
    a = w.cancel(ids[-1])
    same((a.status, errors(a)), (200, []), "a hold is cancelled")
    same(w.cancel(ids[-1]).status, 404, "a second time it is not there")
    same(w.list()["total"], 119, "it is gone from the list")
    s.admin("DELETE", "/wise/holds/" + ids[-2])
    same(w.list()["total"], 118, "the library takes one away")
    s.admin("PATCH", "/wise/holds/" + ids[-3], {"holdStatus": "CLOSED"})
    same(w.list()["total"], 117, "a closed one is not active")
    s.admin("PATCH", "/wise/holds/" + ids[-4], {"cancelAllowed": False})
    same(len(errors(w.cancel(ids[-4]))), 1, "one that cannot be cancelled")
    other = Wise(s, OTHER_PSID)
    other.log_in()
    same(other.cancel(ids[0]).status, 404, "nor can another patron's")
    same(other.list()["total"], 0, "whose list is empty")
    of = s.admin("GET", "/effects?vendor=wise&kind=cancels")
    same([(c["id"], c["answered"]) for c in of["cancels"]], [(ids[-1], True)], "one was cancelled by its patron")
    same(s.counts("wise", "cancel")["effects"], 1, "and counted")
    for kind, member in (("undated", "holdPlacedDate"), ):
        s.fault(vendor="wise", call="list", kind=kind, count=1)
        check(member not in w.list()["items"][0], kind)
    s.admin("PATCH", "/wise/holds/" + ids[-5], {"holdStatus": "RECEIVED"})
    s.fault(vendor="wise", call="list", kind="misspelled_status", count=1)
    check("RECIEVED" in [h["holdStatus"] for h in w.list()["items"]], "a status as the client knows it")


def test_wise_spellings(s):
    w = wise_with(s)
    paths = {(root, words): "%s/patron/%s/%s" % (root, PSID, words) for root in ("/restapi", "")
             for words in ("library/I649/preparehold/4595/branch/6490", "libraryId/I649/prepareHold/4595/branch/6490")}
    for root, words, right in (("restapi", "client", 0), ("restapi", "document", 1), ("bare", "client", 2),
                               ("bare", "document", 3), ("both", "both", None)):
        s.set(wise={"root": root, "words": words})
        same([w.call("GET", path).status for path in paths.values()],
             [200 if right in (None, i) else 404 for i in range(4)], "paths: %s, %s" % (root, words))
    s.set(wise={"root": "restapi", "words": "client"})
    check(b"validationErrors" not in w.call("GET", list(paths.values())[1]).body, "what is not Wise's own has no envelope")
    same(w.call("PUT", "/restapi/patron/%s/holdOption" % PSID, {}).status, 404, "holdOption")
    same(w.call("PUT", "/restapi/patron/%s/holdoption" % PSID, {}).status, 200, "holdoption")
    check(s.counts("wise", "other")["requests"] >= 3, "the wrong ones are counted")


def test_wise_faults(s):
    w = wise_with(s)
    parameters = w.prepare("4595").json()["holdParameters"]
    s.fault(vendor="wise", call="place", key="4595", kind="drop_after", count=1)
    same(ends(lambda: w.place("4595", parameters=parameters)), "closed", "a lost answer")
    same([h["bibliographicRecordId"] for h in w.list()["items"]], ["4595"], "of a hold that was placed")
    same(w.place("4595", parameters=parameters).status, 200, "sent again")
    of = s.admin("GET", "/effects?vendor=wise")
    same(([(h["answered"], h["again"]) for h in of["holds"]], of["duplicates_total"]), ([(False, False), (True, True)], 1),
         "it is there twice")
    same([h["id"] for h in s.admin("GET", "/effects?vendor=wise&kind=duplicates")["duplicates"]], [of["holds"][1]["id"]],
         "as the duplicates say")
    same(s.admin("GET", "/effects?vendor=wise&kind=holds&limit=1")["next"], 1, "in pages")
    s.fault(vendor="wise", call="place_several", key="1137719", kind="drop_before", count=1)
    same(ends(lambda: w.place_several(["4595", "1137719"])), "closed", "a group that never arrived")
    same(w.list()["total"], 2, "was not placed")
    s.fault(vendor="wise", call="place_several", kind="some_missing", count=1)
    same(len(w.place_several(["4595", "1137719"]).json()["holds"]), 1, "an answer that lacks a title")
    same(w.list()["total"], 4, "which was placed")
    s.fault(vendor="wise", call="place_several", kind="printed", count=1)
    check(b"},],\"holdType\"" in w.place_several(["4595"]).body, "a trailing comma")
    hold = w.list()["items"][0]["id"]
    s.fault(vendor="wise", call="cancel", key=hold, kind="status", status=500, effect=True, count=1)
    same(w.cancel(hold).status, 500, "a 500 after all was done")
    check(hold not in [h["id"] for h in w.list()["items"]], "and it was cancelled")
    s.fault(vendor="wise", call="preparehold", kind="refused", count=1)
    same(errors(w.prepare("4595"))[0]["code"], "REFUSED", "a refusal")
    s.fault(vendor="wise", call="preparehold", kind="refused_in_words", count=1)
    check(isinstance(errors(w.prepare("4595"))[0], str), "a refusal in words")
    s.fault(vendor="wise", call="preparehold", kind="own_404", count=1)
    a = w.prepare("4595")
    same((a.status, errors(a)), (404, []), "a 404 of its own")
    s.fault(vendor="wise", call="preparehold", kind="no_queue", count=1)
    same(w.prepare("4595").json()["queuePosition"], "", "no queue")
    s.fault(vendor="wise", call="preparehold", kind="cost_text", count=1)
    same(w.prepare("4595").json()["reservationCost"], "0.0", "a cost as a text")
    s.fault(vendor="wise", call="preparehold", kind="not_possible", count=1)
    same(w.prepare("4595").json()["holdPossible"], False, "not possible")
    for kind, status in (("json_error_list", 400), ("unauthorized", 401), ("rate_limited", 429)):
        s.fault(vendor="wise", call="list", kind=kind, count=1)
        a = w.call("GET", w.path("/hold"))
        same((a.status, len(errors(a))), (status, 1), kind)
    s.fault(vendor="wise", call="list", kind="json_error_object", count=1)
    check("error" in w.list(), "an error as an object")
    s.admin("POST", "/reset", {"only": ["effects"]})
    same((w.list()["total"], s.counts("wise")["patrons"]), (0, 2), "effects are forgotten, patrons are not")
    s.set(wise={"accept_all_titles": True, "accept_all_patrons": True})
    w = Wise(s, "f" * 32)
    same(w.log_in().status, 200, "any patron")
    same(errors(w.place("123456")), [], "any title")
    same(errors(w.place_several(["%d" % (1000 + i) for i in range(50)])), [], "any titles, many at once")
    same(len(errors(w.place_several(["%d" % (1000 + i) for i in range(51)]))), 1, "but not more")


def test_reset(s):
    s.set(alma={"latency_ms": 7}, libcal={"now": "2026-10-12T10:00:00-04:00"})
    s.admin("POST", "/libcal/generate", {"count": 5})
    s.admin("POST", "/alma/generate", {"count": 5})
    s.fault(kind="empty")
    s.reset()
    usual = s.admin("GET", "/settings")
    same((usual["alma"]["latency_ms"], usual["libcal"]["now"], s.admin("GET", "/faults")), (0, None, []), "as at the start")
    same((s.counts("libcal")["rows"], alma_get(s, "G00000001").status), (0, 400), "without data")
    c = s.counts("alma", "user")
    same((c["requests"], c["in_flight"]), (1, 0), "and counts")
    now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%S+00:00")
    s.admin("PUT", "/libcal/bookings", [row("today", now)])
    l = LibCal(s)
    l.log_in()
    same(l.ids("lid=1234"), ["today"], "the clock's own day")


def test_webcheckout_sessions(s):
    for api in ("1.0", "1.1", "2.0"):
        w = Centers(s, api)
        a = w.post("session/info", token="")
        same((a.status, a.json()["status"], a.json()["payload"]["webcoVersion"]), (200, "ok", "5.2.1"),
             "information without a session")
        check(len(a.json()["payload"]["serverTime"]) == 32, "six digits of a fraction", a.body)
        a = w.log_in(password="wrong")
        same((a.status, a.json()["status"]), (200, "unauthenticated"), "a wrong password, with 200")
        same(w.search({"and": {}})["status"], "unauthenticated", "no session, with 200")
        a = w.log_in().json()
        p = a["payload"]
        same((a["status"], a["apiVersion"]), ("ok", "2.0" if api == "2.0" else "1.0"), "a session of " + api)
        same(("uri" in a, "alert" in a), (api != "1.0",) * 2, "the envelope of " + api)
        same(isinstance(a["session"], dict), api == "2.0", "the session of " + api)
        check(("patron" in p["roles"]) == (api == "1.0"), "roles of " + api, p)
        same([(c["oid"], c["_class"]) for c in p["roles"]["operator"]], [(53207831, "checkoutCenter")], "centers of " + api)
        if api == "2.0":
            same(json.loads(base64.b64decode(w.token)), {"type": "session", "value": p["uuid"]}, "what a bearer token is")
        else:
            same(p["uuid"], w.token, "the uuid is the session id")
        center = {"_class": "checkoutCenter", "oid": 53207831}
        same(w.post("session/setSessionScope", {"checkoutCenter": center}).json()["status"], "ok", "a scope")
        same(w.post("session/setSessionScope", {"checkoutCenter": 53207831}).json()["status"], "ok", "by a bare oid")
        same(w.post("session/setSessionScope", {"checkoutCenter": 1}).json()["status"], "error", "nobody's scope")
        same(w.post("allocation/search", {"query": {}}, prefix="/webcheckout/rest").json()["status"], "ok", "the older address")
        same(w.search({"and": {}}, token="x")["status"], "ok", "members nobody knows")
        same(w.post("session/logout").json()["status"], "ok", "the end of a session")
        same(w.search({"and": {}})["status"], "unauthenticated", "which is over")
        w.log_in()
        s.admin("POST", "/vendor", {"vendor": "webcheckout", "revoke_tokens": True})
        same(w.search({"and": {}})["status"], "unauthenticated", "a revoked session")
        s.set(webcheckout={"session_seconds": 0.2})
        w.log_in()
        same(w.search({"and": {}})["status"], "ok", "a young session")
        time.sleep(0.3)
        same(w.search({"and": {}})["status"], "unauthenticated", "a stale session")
        s.set(webcheckout={"session_seconds": 300})
    w.log_in()
    same(s.post("/rest/allocation/search", {"sessionid": w.token, "query": {}}).json()["status"], "unauthenticated",
         "2.0 wants a bearer token")
    same(s.post("/rest/session/start", {"userid": "sandbox", "password": "sandbox-wco-password"}).json()["status"], "error",
         "and that it is requested")
    same(w.post("session/dance").status, 404, "a command nobody knows")
    s.set(webcheckout={"centers": [], "class": "hyphen", "nil": "null"})
    same(w.log_in().json()["payload"]["roles"]["operator"], None, "nobody's operator")
    s.set(webcheckout={"centers": [{"oid": 1, "name": "One"}]})
    same(w.log_in().json()["payload"]["roles"]["operator"], [{"_class": "checkout-center", "oid": 1, "name": "One"}],
         "another class")
    check(s.counts("webcheckout")["logins"] >= 9, "log-ins are counted")


def test_webcheckout_allocations(s):
    w = Centers(s)
    w.log_in()
    same(w.search({"and": {}})["payload"], {"result": None, "count": 0}, "nothing is nil")
    s.admin("PUT", "/webcheckout/allocations", [
        allocation(1, 99), allocation(2, state="PENDING"), allocation(3, checkoutCenter={"oid": 7, "name": "Seven"}),
        allocation(4, realEndTime="2026-10-12T14:30:00.5Z"), allocation(9007199254740993), {"_raw": 7}])
    same(w.search({"uniqueId": "CK-2"})["payload"]["result"][1], 7, "what is no object is in every answer")
    s.admin("PUT", "/webcheckout/allocations", s.admin("GET", "/webcheckout/allocations")[:5])
    same((w.found({"uniqueId": "CK-2"}), w.found({"name": "CK-3"})), ([2], [3]), "by its id, by its name")
    for query, want in [({"and": {}}, [1, 2, 3, 4, 9007199254740993]),
                        ({"and": {"state": "CHECKOUT"}}, [1, 3, 4, 9007199254740993]),
                        ({"and": {"state": "PENDING", "center": {"_class": "checkout-center", "oid": 53207831}}}, [2]),
                        ({"and": {"center": {"oid": 7}}}, [3]), ({"and": {"center": 7}}, [3]),
                        ({"and": {"latestScheduledEnd": "2026-10-12T15:00:00+00:00"}}, [1, 2, 3, 4, 9007199254740993]),
                        ({"and": {"latestScheduledEnd": "2026-10-12T14:59:59.000000+00:00"}}, []),
                        ({"and": {"earliestActualEnd": "2026-10-12T14:30:00Z"}}, [4]),
                        ({"and": {"earliestActualEnd": "2026-10-12T14:30:01Z"}}, []),
                        ({"and": {"latestActualEnd": "2026-10-12T14:30:00Z"}}, [4]), ({"uniqueId": "CK-9"}, [])]:
        same(w.found(query), want, "allocations with %s" % query)
    same(w.found({"and": {}}, orderBy="patronId"), [2, 3, 4, 9007199254740993, 1], "by patron")
    for query, more in [({"and": {"color": "red"}}, {}), ({"and": {"latestActualEnd": "2026-10-12T14:30:00"}}, {}), (None, {}),
                        ({"and": {}}, {"orderBy": "color"})]:
        a = w.search(query, **more)
        check(a["status"] == "error" and a["payload"]["message"], "refused: %s %s" % (query, more), a)
    r = w.search({"uniqueId": "CK-1"}, ["state", "returnTime", "realEndTime", "unknown", "patron", "checkoutCenter", {
        "property": "allocationItems", "subProperties": ["quantity", {"property": "resource", "subProperties": ["barcode"]}]}])
    same(r["payload"]["result"][0], {
        "_class": "allocation", "oid": 1, "name": "CK-1", "state": "CHECKOUT", "returnTime": "2026-10-12T11:00:00.910231-04:00",
        "realEndTime": None, "unknown": None, "patron": {"_class": "person", "oid": 99, "name": "Ada Reader"},
        "checkoutCenter": {"_class": "checkoutCenter", "oid": 53207831, "name": "College Library"},
        "allocationItems": [{"quantity": 1, "resource": {"_class": "resource", "oid": 7, "name": "Room 7", "barcode": "R7"}}]},
        "the properties asked for")
    r = w.search({"uniqueId": "CK-1"}, [{"property": "patron", "subProperties": ["userid"]}])["payload"]["result"][0]
    same(r["patron"], {"_class": "person", "oid": 99, "name": "Ada Reader", "userid": "areader"}, "and of the patron")
    a = w.post("allocation/search", {"query": {"uniqueId": "CK-1"}}).json()["payload"]["result"][0]
    same((a["staff"], a["patron"]), (None, {"_class": "person", "oid": 99, "name": "Ada Reader"}),
         "without properties all, short")
    several = [{"query": {"and": {"state": "PENDING"}}}, {"query": {"and": {}}, "limit": 2}]
    a = w.post("allocation/search", {"multiQuery": several}).json()
    same([(len(p["result"]), p["count"]) for p in a["payload"]], [(1, 1), (2, 5)], "several queries at once")
    p = w.search({"and": {}}, limit=2)["payload"]
    same((len(p["result"]), p["count"]), (2, 5), "a limit; count is of what was found")
    s.set(webcheckout={"count": "sent", "row_cap": 3})
    p = w.search({"and": {}}, limit=4)["payload"]
    same((len(p["result"]), p["count"]), (3, 3), "a cap; count is of what is sent")
    s.set(webcheckout={"row_cap": 0, "payload": "list", "nil": "list"})
    same(w.search({"uniqueId": "CK-9"})["payload"], [{"result": [], "count": 0}], "a list of one result, and an empty list")
    s.set(webcheckout={"payload": "object", "nil": "false"})
    same(w.search({"uniqueId": "CK-9"})["payload"]["result"], False, "nil as false")
    same(w.post("allocation/get", {"oid": 9007199254740993, "properties": ["state"]}).json()["payload"],
         {"_class": "allocation", "oid": 9007199254740993, "name": "CK-9007199254740993", "state": "CHECKOUT"}, "one by oid")
    same(w.post("allocation/get", {"oid": 8}).json()["status"], "error", "nobody's oid")
    same(w.post("person/get", {"oid": 99, "properties": ["barcode"]}).json()["payload"],
         {"_class": "person", "oid": 99, "name": "Ada Reader", "barcode": "22"}, "a person")
    same(w.post("person/get", {"oid": 1}).json()["status"], "error", "nobody")
    same(s.admin("PATCH", "/webcheckout/allocations/2", {"state": "GONE", "returnTime": None})["rows"], 1, "a change")
    same(w.found({"and": {"state": "GONE"}}), [2], "is seen")
    same(s.admin("DELETE", "/webcheckout/allocations/2")["rows"], 1, "one vanishes")
    same(w.found({"uniqueId": "CK-2"}), [], "and is not found")
    same(s.call("DELETE", "/admin/webcheckout/allocations/2").status, 404, "twice is once too often")
    same(s.call("PATCH", "/admin/webcheckout/allocations/2", {}).status, 404, "nor can it be changed")
    s.admin("POST", "/webcheckout/generate", {"count": 3000, "people": 1000, "center": 7, "slots": 2, "minutes": 30,
                                              "start": "2026-11-01T08:00:00-05:00"})
    query = {"and": {"center": {"oid": 7}, "state": "CHECKOUT"}}
    r = w.search(query, ["pickupTime", "returnTime"], limit=3000)["payload"]["result"]
    same((len(r), r[2]["oid"], r[2]["pickupTime"], r[2]["returnTime"]),
         (3000, 1000002, "2026-11-01T08:30:00.000000-05:00", "2026-11-01T09:00:00.000000-05:00"), "generated")


def test_webcheckout_faults(s):
    w = Centers(s)
    w.log_in()
    s.admin("PUT", "/webcheckout/allocations", [allocation(1)])
    s.fault(vendor="webcheckout", call="search", kind="status_error", value="busy", count=1)
    same(w.search({"and": {}})["status"], "busy", "another status, with 200")
    for kind, seen in [("no_status", lambda a: "status" not in a), ("no_count", lambda a: "count" not in a["payload"]),
                       ("nil_result", lambda a: a["payload"] == {"result": None, "count": 0}),
                       ("unauthorized", lambda a: a["status"] == "unauthenticated")]:
        s.fault(vendor="webcheckout", call="search", kind=kind, count=1)
        a = w.search({"and": {}})
        check(seen(a), kind, a)
    s.fault(vendor="webcheckout", call="start", kind="no_token", count=1)
    a = w.log_in().json()
    check(a["status"] == "ok" and "sessionToken" not in a and "uuid" not in a["payload"], "no token", a)
    w.log_in()
    for key in ("CHECKOUT", "53207831"):
        s.fault(vendor="webcheckout", call="search", key=key, kind="status", status=500, count=1)
        query = {"and": {"state": "CHECKOUT", "center": {"oid": 53207831}}}
        same((w.post("allocation/search", {"query": {"and": {}}}).status, w.post("allocation/search", {"query": query}).status),
             (200, 500), "a fault of one query: " + key)
    s.fault(vendor="webcheckout", call="get", key="1", kind="rate_limited", retry_after=2, count=1)
    a = w.post("allocation/get", {"oid": 1})
    same((a.status, a.headers["Retry-After"], a.json()["status"]), (429, "2", "error"), "a fault of one oid")
    for body in ("", "{", "[]", "3", "null", '{"query":3}', '{"query":{"and":3}}', '{"query":{"and":{"center":[]}}}',
                 '{"multiQuery":[3]}', '{"oid":"x","properties":3}', '{"query":{},"properties":[3,{"property":1}]}'):
        for command in ("allocation/search", "allocation/get", "person/get", "session/start", "session/setSessionScope"):
            a = s.post("/rest/" + command, body, {"Authorization": "Bearer " + w.token})
            check(a.status == 200 and a.json()["status"] in ("ok", "error", "unauthenticated"),
                  "%s %s" % (command, body), a.body)
    s.admin("POST", "/webcheckout/allocations", [None, 3, [], {"oid": None},
                                                 {"patron": 3, "allocationItems": {}, "checkoutCenter": []}])
    same(w.search({"and": {}}, [{"property": "patron", "subProperties": ["x"]}])["status"], "ok", "odd allocations")
    for body in ("[]", "3", "null", "{", "{\"count\":null}"):
        check(s.call("POST", "/admin/webcheckout/generate", body).status in (200, 400), "generate " + body)


def test_odd_input(s):
    s.set(alma={"accept_all": True, "keys": None})
    same(alma_get(s, "G00000001").status, 400, "no keys at all")
    s.set(alma={"keys": {KEY: "1"}, "group": None})
    same(alma_get(s, "G00000001").json()["user_group"], {"value": "", "desc": ""}, "no group at all")
    s.admin("POST", "/alma/users", [None, 1, {"primary_id": "odd", "user_identifier": 7, "identifiers": [None, 1]}])
    s.fault(vendor="alma", kind="six_barcodes")
    same(len(alma_get(s, "odd").json()["user_identifier"]), 6, "identifiers that are no list")
    same(s.call("POST", "/admin/faults", {"kind": "empty", "effect": None}).status, 400, "effect null")
    same(s.call("POST", "/admin/faults", [None]).status, 400, "fault null")
    for path in ("/libcal/generate", "/alma/generate", "/passagepoint/visitors", "/alma/users", "/vendor", "/reset",
                 "/folio/users", "/folio/items", "/folio/loans", "/folio/holds", "/folio/charges", "/folio/generate"):
        for body in ("[]", "3", "\"x\"", "{\"vendor\":null,\"count\":null}", "[[]]", "null", "{"):
            check(s.call("POST", "/admin" + path, body).status in (200, 400), "%s %s" % (path, body))
    s.admin("POST", "/libcal/bookings", [None, 3, [], {"lid": None}, {"lid": 1, "fromDate": "2026-13-45T99:99:99Z"}])
    l, g = LibCal(s), Gate(s)
    l.log_in()
    g.log_in()
    same(l.get("/1.1/space/bookings?lid=1").status, 200, "odd rows")
    for path in ("/1.1/space/bookings?lid=%", "/1.1/space/bookings?&&=&lid", "/1.1/space/booking/%zz", "/1.1/space/form/x"):
        check(l.get(path).status in (200, 400), path)
    for path in ("/almaws/v1/users/%", "/almaws/v1/users/", "/almaws/v1/users/" + "x" * 5000):
        check(alma_get(s, path[len("/almaws/v1/users/"):]).status == 400, path[:40])
    for body in ("", "{", "{}", "[]", '{"startTime"', '{"a":"\\ud83d\\ude00\\u00e9\\n"}', '{"a":"\\', '{"a":"\\u12', "{,}",
                 '{"a":1}x', '{"a":"' + "y\\n" * 3000 + '"}', "{" + '"a":1,' * 40 + '"b":2}'):
        same(s.post("/pp/api/v2/visit/createPreReg", body, g.head()).status, 400, "a body like " + body[:20])
    same(g.visitor("z" * 200, lastName="\u00e9" * 100).status, 200, "long names")
    s.admin("POST", "/folio/loans", [{"userId": "x" * 300, "itemId": None}, {}, {"userId": 7, "itemId": [], "dueDate": {}}])
    f = Folio(s)
    f.log_in()
    for path in ("/patron/account/", "/patron/account//item//hold", "/patron/account/%zz", "/patron/x", "/authn/x", "/patron"):
        check(s.call("POST", path, "{}", f.head).status in (400, 404), path)
    for body in ("", "{", "[]", "null", '{"requestDate":7,"pickupLocationId":[]}', '{"item":[]}', '{"item":{"x":1}}'):
        check(f.call("POST", "/item/%s/hold" % f.ITEM, body).status in (400, 422), "a hold like " + body)
    for edge in (False, True):
        s.set(folio={"edge": edge, "version": 6.5})
        f.head["Authorization"] = "apikey " + f.KEY if edge else ""
        for body in ("", "{", "[]", '{"holdId":1}'):
            check(f.call("POST", "/hold/%s/cancel" % f.ITEM, body, patron=f.USER if not edge else "x" * 300).status
                  in (400, 404, 422), "a cancellation like " + body)


class Shelf:
    """A client of OneClick's catalog."""

    def __init__(self, s, token="sandbox-oneclick-token", library=1931):
        self.s, self.head, self.base = s, {"Authorization": "Basic " + token}, "/v1/libraries/%s" % library

    def get(self, path, **more):
        return self.s.get(self.base + path, self.head, **more)

    def all(self):
        return self.get("/media/all", timeout=60).json()

    def isbns(self):
        return [t["isbn"] for t in self.all()]

    def delta(self, begin, end):
        d = self.get("/media/delta?begin=%s&end=%s" % (begin, end)).json()[0]
        return sorted(t["isbn"] for t in d["addedTitles"]), sorted(t["isbn"] for t in d["removedTitles"])

    def holdings(self, begin, end):
        d = self.get("/book-holdings/delta?begin=%s&end=%s" % (begin, end)).json()
        return sorted(t["isbn"] for t in d["addedBooks"]), sorted(t["isbn"] for t in d["removedBooks"])


def check_digit(isbn):
    return isbn.isdigit() and len(isbn) == 13 and sum(int(c) * (3 if i % 2 else 1) for i, c in enumerate(isbn)) % 10 == 0


def listed(s, query=""):
    return [json.loads(line) for line in s.call("GET", "/admin/oneclick/titles" + query, timeout=60).body.splitlines()]


def edition(isbn, media="eBook", **change):
    of = {"seriesPosition": 0, "publicationDate": "2009-08-25T00:00:00Z", "isbn": isbn, "mediaType": media, "title": "Tricks",
          "authors": "Hopkins, Ellen", "titleId": 14888, "images": [{"name": "small", "url": "http://x/\u00fc.jpg"}]}
    of.update(change)
    return of


A, B, C, D = "9781615730186", "9781934180723", "9781400024018", "9781441260468"      # valid check digits, all of them


def test_pieces(s):
    s.admin("POST", "/oneclick/generate", {"count": 3000})
    o = Shelf(s)
    c = s.connect()
    a = o.get("/media/all", on=c)
    check(a.headers["Transfer-Encoding"] == "chunked" and len(a.json()) == 3000, "a long answer in chunks", a.headers)
    local = c.sock.getsockname()
    same((o.get("/media/all", on=c).body == a.body, c.sock.getsockname()), (True, local), "again, on the same connection")
    s.set(oneclick={"content_length": True})
    b = o.get("/media/all", on=c)
    check(b.headers["Transfer-Encoding"] is None and int(b.headers["Content-Length"]) == len(b.body) and b.body == a.body,
          "the same with its length announced", b.headers)
    for path in ("/media/eAudio/availability", "/media/delta", "/book-holdings/delta/available-dates"):
        same(o.get(path).status, 200, "announced: " + path)
    s.set(oneclick={"content_length": False})
    raw = socket.create_connection(("127.0.0.1", s.port))
    raw.sendall(b"GET /v1/libraries/1931/media/all HTTP/1.0\r\nAuthorization: Basic sandbox-oneclick-token\r\n\r\n")
    seen = b""
    while True:
        more = raw.recv(65536)
        if not more:
            break
        seen += more
    head, _, body = seen.partition(b"\r\n\r\n")
    check(b"chunked" not in head and body == a.body, "HTTP/1.0 knows no chunks", head)
    for announced in (False, True):
        s.set(oneclick={"content_length": announced})
        how = "announced" if announced else "chunked"
        s.fault(vendor="oneclick", call="all", kind="truncate", count=1)
        c = s.connect()
        c.request("GET", o.base + "/media/all", None, o.head)
        res = c.getresponse()
        try:
            res.read()
            check(False, "truncated, " + how)
        except http.client.IncompleteRead as e:
            check(e.partial == a.body[:len(a.body) // 2], "truncated, %s: the front half" % how, len(e.partial))
        for kind, ending in [("drop_before", "closed"), ("drop_after", "closed"), ("reset_after", "reset"),
                             ("refuse", "reset")]:
            s.fault(vendor="oneclick", call="all", kind=kind, count=1)
            same(ends(lambda: o.get("/media/all")), ending, "%s, %s" % (kind, how))
        for effect in (False, True):
            s.fault(vendor="oneclick", call="all", kind="status", status=503, body="x", count=1, effect=effect)
            b = o.get("/media/all")
            same((b.status, b.body), (503, b"x"), "a status instead, %s" % how)
        s.fault(vendor="oneclick", call="all", kind="delay", ms=150, count=1)
        began = time.monotonic()
        same((o.get("/media/all").body == a.body, time.monotonic() - began >= 0.15), (True, True), "late but whole, %s" % how)
        s.fault(vendor="oneclick", call="all", kind="stall", ms=100, count=1)
        same(o.get("/media/all").body, a.body, "stalled and whole, %s" % how)
    same(s.counts("oneclick", "all")["in_flight"], 0, "none is in flight any more")
    s.set(oneclick={"content_length": False})
    s.admin("POST", "/oneclick/generate", {"count": 100000, "from": 5000})
    slow = s.connect(timeout=60)
    slow.request("GET", o.base + "/media/all", None, o.head)
    res = slow.getresponse()
    front = res.read(1000)
    same(s.counts("oneclick", "all")["in_flight"], 1, "a client that does not read leaves its answer in flight")
    began = time.monotonic()
    same(o.get("/media/9999999999994").status, 200, "and does not hold up the others")
    check(time.monotonic() - began < 1, "at all", time.monotonic() - began)
    rss = s.counts("sandbox")["max_rss_kb"]
    gone = listed(s, "?from=99000&limit=1")[0]["isbn"]
    s.admin("DELETE", "/oneclick/titles/" + gone)
    rows = json.loads(front + res.read())
    same((len(rows), gone in {t["isbn"] for t in rows}), (103000, True), "what is read is the list as it was asked for")
    check(s.counts("sandbox")["max_rss_kb"] - rss < 60000, "110 MB were never in memory",
          s.counts("sandbox")["max_rss_kb"] - rss)
    slow.request("GET", o.base + "/media/all", None, o.head)
    res = slow.getresponse()
    res.read(1000)
    s.admin("POST", "/reset", {"only": ["data"]})
    same(ends(res.read), "short", "titles forgotten in the middle: it breaks off")
    same(o.all(), [], "an empty catalog is an empty list")
    s.admin("POST", "/oneclick/generate", {"count": 100000})
    s.set(oneclick={"content_length": True})
    slow = s.connect(timeout=60)
    slow.request("GET", o.base + "/media/all", None, o.head)
    res = slow.getresponse()
    res.read(1000)
    s.admin("PATCH", "/oneclick/titles/" + listed(s, "?from=99000&limit=1")[0]["isbn"], {"title": "another length"})
    same(ends(res.read), "short", "announced, and a record has another length meanwhile: it breaks off")
    slow = s.connect(timeout=60)
    slow.request("GET", o.base + "/media/all", None, o.head)
    slow.getresponse().read(1000)
    slow.close()
    eventually("a client that leaves in the middle is counted", lambda: s.counts("oneclick", "all")["left"] == 1)


def test_oneclick_records(s):
    o = Shelf(s)
    same(s.admin("POST", "/oneclick/generate", {"count": 4000, "seed": 7}), {"titles": 4000}, "generated")
    body = o.get("/media/all").body
    rows = json.loads(body)
    s.reset()
    s.admin("POST", "/oneclick/generate", {"count": 2500, "seed": 7})
    s.admin("POST", "/oneclick/generate", {"count": 1500, "from": 2501, "seed": 7})
    check(o.get("/media/all").body == body, "the same bytes from the same numbers and seed")
    check(800 < len(body) / 4000 < 1300, "some 1 kB a record", len(body) / 4000)
    check(all(check_digit(t["isbn"]) and t["isbn"].startswith("978") for t in rows), "valid ISBNs")
    same((len({t["isbn"] for t in rows}), len({t["titleId"] for t in rows})), (4000, 4000), "all different")
    of = lambda name: [t.get(name, "absent") for t in rows]
    texts = lambda name: [t for t in of(name) if isinstance(t, str)]
    some = lambda what, it: check(sum(bool(x) for x in it) > 3, "some: " + what)
    same(set(of("mediaType")), {"eBook", "eAudio"}, "both media types")
    some("no series", (t == "absent" for t in of("seriesName")))
    some("Default Blank", (t == "Default Blank" for t in of("seriesName")))
    some("of 2015", (t["seriesTotal"] == 2015 and t["seriesName"] == "Default Blank" for t in rows))
    some("a real series", (t["seriesPosition"] and t["seriesTotal"] for t in rows))
    some("narrators on eBooks", (t["mediaType"] == "eBook" and t.get("narrators") for t in rows))
    for name in ("authors", "narrators"):
        for joint in ("; ", ";", " ;", ";  "):
            some("%r in %s" % (joint, name), (joint in t for t in texts(name)))
        some("one-word " + name, ("jeremy" in t.replace("; ", ";").split(";") for t in texts(name)))
        some("non-ASCII " + name, (not t.isascii() for t in texts(name)))
    some("several genres", (";" in t for t in texts("genres")))
    some("comma lists", ("," in t for t in texts("primaryGenre")))
    some("three images", (isinstance(t, list) and len(t) == 3 and t[0]["url"].startswith("http://") for t in of("images")))
    some("no images", (t == [] for t in of("images")))
    for what in ("\"", "<p>", "&amp;", "\r\n", "\u0420\u043e\u043c", "\u0131\u015f\u0131k", "\U0001f680", "e\u0301",
                 "\u200d", "\\"):
        some("%r in a description" % what, (what in t for t in texts("description")))
    some("long descriptions", (len(t) > 2500 for t in texts("description")))
    for article in ("The ", "A ", "An ", "L'", "Le ", "Der ", "Die ", "Das ", "El ", "Los ", "La ", "De "):
        some("titles with " + article, (t.startswith(article) for t in texts("title")))
    some("Cyrillic titles", (t[0] >= "\u0400" and t[0] < "\u0500" for t in texts("title")))
    for name in ("description", "publisher", "narrators", "audience", "genres", "primaryGenre", "authors", "language"):
        for odd in ("absent", "", None):
            some("%s %r" % (name, odd), (t == odd for t in of(name)))
    for name in ("isbn", "mediaType", "title", "titleId", "hasDigitalRights", "seriesPosition", "seriesTotal"):
        check(all(t not in ("absent", "", None) for t in of(name)), "never missing: " + name)
    some("no date", (t == "absent" for t in of("publicationDate")))
    check(all(t == "absent" or len(t) == 20 and t.endswith("T00:00:00Z") for t in of("publicationDate")), "the other dates")
    for t in (rows[0], rows[1999], rows[3999]):
        same(o.get("/media/" + t["isbn"]).json(), t, "the record by its ISBN")
    s.admin("POST", "/oneclick/generate", {"count": 10, "from": 1, "seed": 8})
    again = o.all()
    same([t["isbn"] for t in again], [t["isbn"] for t in rows], "another seed has the same ISBNs")
    check(again[:10] != rows[:10] and again[10:] == rows[10:], "and other records")
    for body in ({"count": -1}, {"count": 5000001}, {"from": 0}, {"from": 1000000000}, {"seed": -1}, {"day": "yesterday"}):
        same(s.call("POST", "/admin/oneclick/generate", body).status, 400, "refused: %s" % body)
    began = time.monotonic()
    s.admin("POST", "/oneclick/generate", {"count": 500000})
    same(len(s.get("/admin/oneclick/titles?from=499999").body.splitlines()), 1, "half a million")
    check(time.monotonic() - began < 10, "quickly", time.monotonic() - began)


def test_oneclick_titles(s):
    o = Shelf(s)
    s.admin("POST", "/oneclick/titles", [edition(A), edition(B, "eAudio", narrators="jeremy", _availability=False)])
    s.admin("POST", "/oneclick/titles", edition(C, "eMagazine", _raw=["not", {"a": "record"}]))
    s.admin("POST", "/oneclick/titles",
            {"day": "2020-01-01", "titles": [{"title": "no ISBN at all"}, edition("97-8", title=None)]})
    rows = o.all()
    same(rows, [edition(A), edition(B, "eAudio", narrators="jeremy"), ["not", {"a": "record"}], {"title": "no ISBN at all"},
                edition("97-8", title=None)], "records as they were posted")
    same([(t["isbn"], t["mediaType"], t["availability"], t["removed"]) for t in listed(s)],
         [(A, "eBook", True, False), (B, "eAudio", False, False), (C, None, True, False), (None, None, True, False),
          ("97-8", "eBook", True, False)], "as a test sees them")
    same([t["title"] for t in listed(s)], rows, "with the records")
    same([t["isbn"] for t in listed(s, "?from=1&limit=2")], [B, C], "a page")
    same(o.get("/media/97-8").json(), edition("97-8", title=None), "an ISBN that is none, but is there")
    s.admin("POST", "/oneclick/titles", edition(A, title="Tricks, again"))
    same(([t.get("title") for t in o.all() if isinstance(t, dict)][0], len(o.all())), ("Tricks, again", 5),
         "posted again, it is replaced")
    s.admin("PATCH", "/oneclick/titles/" + A, {"title": "Patched", "seriesName": None})
    same(o.get("/media/" + A).json(), dict(edition(A), title="Patched", seriesName=None), "patched")
    s.admin("POST", "/oneclick/generate", {"count": 3})
    made = listed(s, "?from=5")[0]
    s.admin("PATCH", "/oneclick/titles/" + made["isbn"], {"language": "Klingon", "_availability": False})
    same(o.get("/media/" + made["isbn"]).json(), dict(made["title"], language="Klingon"), "a made record, patched")
    same(s.admin("GET", "/oneclick/titles/" + made["isbn"])["availability"], False, "and not available")
    for path, body, status in [("/" + D, {}, 404), ("/" + A, [], 400), ("/" + A, {"isbn": B}, 400),
                               ("/" + C, {"title": "x"}, 400)]:
        same(s.call("PATCH", "/admin/oneclick/titles" + path, body).status, status, "no patch: %s %s" % (path, body))
    for body in ("[1]", "7", '{"titles":[null]}', '{"titles":[],"day":"x"}', "{"):
        same(s.call("POST", "/admin/oneclick/titles", body).status, 400, "no title: " + body)
    s.admin("DELETE", "/oneclick/titles/" + A)
    same((A in o.get("/media/all").body.decode(), s.call("DELETE", "/admin/oneclick/titles/" + A).status), (False, 404),
         "removed")
    same([t["isbn"] for t in listed(s, "?removed=1") if t["removed"]], [A], "but not forgotten")
    count = s.admin("GET", "/oneclick/count")
    same((count["titles"], count["removed"], count["ebooks"] + count["eaudios"]), (7, 1, 5), "counted")
    same({k: s.counts("oneclick")[k] for k in count}, count, "there as well")
    s.admin("POST", "/oneclick/availability", {"isbn": B, "availability": True})
    s.admin("POST", "/oneclick/availability", [{"isbn": B, "availability": False}, {"isbn": C, "availability": False}])
    same([t["availability"] for t in listed(s, "?limit=2")], [False, False], "availability as told")
    for body in ({"isbn": D, "availability": True}, {"isbn": A, "availability": True}, {"isbn": B}, [1]):
        same(s.call("POST", "/admin/oneclick/availability", body).status, 404, "no availability: %s" % body)
    s.admin("POST", "/oneclick/generate", {"count": 1000})
    before = [t["availability"] for t in listed(s)]
    same(s.admin("POST", "/oneclick/availability", {"flip": 100, "seed": 3}), {"changed": 100}, "flipped")
    after = [t["availability"] for t in listed(s)]
    same(sum(x != y for x, y in zip(before, after)), 100, "each once")
    s.admin("POST", "/oneclick/availability", {"flip": 5000})
    same([t["availability"] for t in listed(s)], [not x for x in after], "more than there are: all of them")


def test_oneclick_availability(s):
    o = Shelf(s)
    s.admin("POST", "/oneclick/titles",
            [edition(A, titleId=1), edition(B, "eAudio", titleId=2), edition(C, titleId=3, _availability=False)])
    rows = o.get("/media/eBook/availability").json()
    same([{k: v for k, v in r.items() if k != "timeStamp"} for r in rows],
         [{"isbn": A, "mediaType": "eBook", "availability": True, "titleId": 1},
          {"isbn": C, "mediaType": "eBook", "availability": False, "titleId": 3}], "rows of that media type")
    stamps = {r["timeStamp"] for r in rows}
    check(len(stamps) == 1 and len(stamps.copy().pop()) == 28 and stamps.copy().pop()[19] == ".", "one stamp, seven digits",
          stamps)
    then = datetime.datetime.fromisoformat(stamps.pop()[:19] + "+00:00")
    check(abs(datetime.datetime.now(datetime.timezone.utc) - then) < datetime.timedelta(seconds=10), "of now", then)
    for segment in ("eaudio", "EAUDIO", "eAudio"):
        same([r["isbn"] for r in o.get("/media/%s/availability" % segment).json()], [B], segment)
    s.set(oneclick={"now": "2016-10-07T18:11:52+02:00", "stray_availability": {D: "eAudio", "x": "eMagazine"}})
    same(o.get("/media/eaudio/availability").json()[1:],
         [{"timeStamp": "2016-10-07T16:11:52.5887333Z", "isbn": D, "mediaType": "eAudio", "availability": True, "titleId": 0}],
         "a title that is not in the catalog; a clock that stands still")
    same(len(o.get("/media/ebook/availability").json()), 2, "only among its own")
    same(o.get("/media/%s/availability" % C).json(), {"timeStamp": "2016-10-07T16:11:52.5887333Z", "isbn": C,
                                                      "mediaType": "eBook", "availability": False, "titleId": 3}, "one title's")
    check("LibraryMedia" in o.get("/media/%s/availability" % D).json()["message"], "an unknown one's")
    check("Invalid 'MediaType'" in o.get("/media/eMagazine/availability").json()["message"], "an unknown media type")
    s.admin("DELETE", "/oneclick/titles/" + B)
    same([r["isbn"] for r in o.get("/media/eaudio/availability").json()], [D], "without what is removed")


def test_oneclick_days_are_the_american_easts(s):
    o = Shelf(s)
    for instant, isbn, day in (("2020-04-11T04:59:59Z", A, "2020-04-10"), ("2020-04-11T05:00:00Z", C, "2020-04-11")):
        s.set(oneclick={"now": instant})
        s.admin("POST", "/oneclick/titles", edition(isbn))
        same(o.delta(day, day), ([isbn], []), instant)


def test_oneclick_deltas(s):
    o = Shelf(s)
    at = lambda day: s.set(oneclick={"now": day + "T12:00:00Z"})
    at("2020-04-01")
    s.admin("POST", "/oneclick/generate", {"count": 50})
    e_books = s.counts("oneclick")["ebooks"]
    same(o.delta("2020-03-01", "2020-04-01"), ([], []), "what was generated without a day was there always")
    s.admin("POST", "/oneclick/titles", edition(A))
    at("2020-04-05")
    s.admin("POST", "/oneclick/titles", [edition(B, "eAudio"), edition(C)])
    s.admin("POST", "/oneclick/titles", edition(A, title="changed"))
    at("2020-04-10")
    s.admin("DELETE", "/oneclick/titles/" + B)
    s.admin("DELETE", "/oneclick/titles/" + A + "?day=2020-04-08")
    s.admin("POST", "/oneclick/titles?day=2020-04-09", edition(D, "eAudio"))
    s.admin("POST", "/oneclick/generate", {"count": 2, "from": 1000, "day": "2020-04-07"})
    new = sorted(t["isbn"] for t in listed(s) if t["title"]["titleId"] in (11000, 11001))
    for begin, end, added, removed in [
            ("2020-04-01", "2020-04-10", [A, B, C, D] + new, [A, B]), ("2020-04-02", "2020-04-10", [B, C, D] + new, [A, B]),
            ("2020-04-06", "2020-04-07", new, []), ("2020-04-08", "2020-04-08", [], [A]), ("2020-03-01", "2020-03-31", [], []),
            ("2020-04-10", "2020-04-30", [], [B])]:
        same(o.delta(begin, end), (sorted(added), sorted(removed)), "delta %s to %s" % (begin, end))
    a = o.get("/media/delta?begin=2020-04-05&end=2020-04-10").json()
    same((len(a), list(a[0])),
         (1, ["libraryId", "libraryName", "beginDate", "endDate", "addedTitles", "removedTitles", "eBookAddedCount",
                                    "eBookRemovedCount", "eAudioAddedCount", "eAudioRemovedCount", "titleAddedCount",
                                    "titleRemovedCount"]),
         "a list with one object")
    same((a[0]["libraryId"], a[0]["beginDate"], a[0]["endDate"], a[0]["eAudioRemovedCount"], a[0]["eBookRemovedCount"],
          a[0]["titleAddedCount"], a[0]["titleRemovedCount"]), (1931, "2020-04-05", "2020-04-10", 1, 1, 5, 2), "its counts")
    same(a[0]["eBookAddedCount"] + a[0]["eAudioAddedCount"], 5, "by type")
    same([t for t in a[0]["removedTitles"] if t["isbn"] == B], [edition(B, "eAudio")], "removed titles as full records")
    same(o.get("/media/delta?begin=2020-04-05+03:00:01.123456&end=2020-04-10T00:00:00").json(), a, "dates with a time")
    same(o.get("/media/delta").json()[0]["beginDate"], "2020-02-10", "no dates: the last 60 days")
    same(o.get("/media/delta?begin=2020-01-01").json()[0]["endDate"], "2020-03-01", "no end: 60 days")
    same(o.get("/media/delta?end=2020-03-01").json()[0]["beginDate"], "2020-01-01", "no begin: 60 days")
    for dates in ("begin=2020-02-01&end=2020-04-10", "begin=2019-09-01&end=2019-09-10"):
        a = o.get("/media/delta?" + dates)
        check(a.status == 500 and a.json()["message"].startswith("eXtensible Framework encountered a SqlException"), dates,
              a.body)
        s.set(oneclick={"delta_window": "answer"})
        same(len(o.get("/media/delta?" + dates).json()), 1, "answered all the same")
        s.set(oneclick={"delta_window": "empty"})
        same(o.get("/media/delta?" + dates).json(), [], "an empty list")
        s.set(oneclick={"delta_window": "refuse"})
    dates = o.get("/book-holdings/delta/available-dates").json()
    days = [d["asOf"] for d in dates]
    check(days != sorted(days) and "2020-04-10" in days and "2020-04-04" in days and len(set(days)) == len(days),
          "snapshots", days)
    day = datetime.date.fromisoformat
    recent = [d for d in days if day("2020-04-10") - day(d) < datetime.timedelta(60)]
    check(40 < len(recent) < 60, "daily, with gaps", recent)
    check(len(days) - len(recent) == 48 and all(d.endswith("-01") for d in days if d not in recent), "monthly before", days)
    check(all(d["tenantId"] == 1931 and d["totalCount"] == d["eBookCount"] + d["eAudioCount"] for d in dates), "their members")
    total = {d["asOf"]: d["totalCount"] for d in dates}
    same([total[d] for d in days if d < "2020-04-01"][0], 50, "before anything happened")
    same((total["2020-04-10"], [d["eBookCount"] for d in dates if d["asOf"] < "2020-04-01"][-1]), (54, e_books), "and now")
    for begin, end, added, removed in [("2020-04-04", "2020-04-10", [B, C, D] + new, [A, B]),
                                       ("2020-04-09", "2020-04-10", [], [B])]:
        same(o.holdings(begin, end), (sorted(added), sorted(removed)), "holdings %s to %s" % (begin, end))
        same(total[end] - total[begin], len(added) - len(removed), "and their counts agree")
    d = o.get("/book-holdings/delta?begin=2020-04-09&end=2020-04-10").json()
    same(d, {"tenantId": 1931, "beginDate": "2020-04-09", "endDate": "2020-04-10", "addedBooks": [],
             "removedBooks": [{"id": 14888, "isbn": B, "mediaType": "eAudio"}], "booksAddedCount": 0,
             "booksRemovedCount": 1}, "one object")
    for query in ("begin=2020-04-10&end=2020-04-10", "begin=2020-04-10&end=2020-04-09", "begin=2020-04-09",
                  "begin=2016-06-15&end=2020-04-10",
                  "begin=x&end=2020-04-10", ""):
        same(o.get("/book-holdings/delta?" + query).status, 500, "no holdings: " + query)
    s.set(oneclick={"bad_dates_status": 400})
    a = o.get("/book-holdings/delta?")
    same((a.status, a.json()), (400, {"message": "The request is invalid."}), "or a 400")
    same(o.get("/media/delta?begin=2020-04-10&end=2020-04-09").status, 400, "of media/delta too")
    same(o.get("/media/delta?begin=&end=x").status, 400, "dates that are none")
    s.set(oneclick={"available_dates": ["2020-04-09", "2018-10-03", "2020-04-08"]})
    same([d["asOf"] for d in o.get("/book-holdings/delta/available-dates").json()],
         ["2020-04-09", "2018-10-03", "2020-04-08"], "as told")
    same(o.holdings("2018-10-03", "2020-04-08"), (sorted([A, B, C] + new), [A]), "between them")
    s.set(oneclick={"delta": "media"})
    for path in ("/book-holdings/delta?begin=2018-10-03&end=2020-04-08", "/book-holdings/delta/available-dates"):
        check(o.get(path).status == 404 and "message" in o.get(path).json(), "media only: " + path)
    same(o.get("/media/delta").status, 200, "which is there")
    s.set(oneclick={"delta": "holdings"})
    same((o.get("/media/delta").status, o.get("/book-holdings/delta/available-dates").status), (404, 200), "holdings only")
    s.set(oneclick={"delta": "both"})
    s.admin("POST", "/oneclick/titles", edition(A))
    same(o.delta("2020-04-10", "2020-04-10")[0], [A], "what comes back is added again")


def test_oneclick_errors(s):
    o = Shelf(s)
    s.admin("POST", "/oneclick/titles", edition(A))
    a = o.get("/media/" + D)
    check(a.status == 200 and a.json()["message"].startswith("eXtensible Framework was unable to locate the resource for "
          "RB.API.LibraryMedia.Get ") and D in a.json()["message"] and "\r\n" in a.json()["message"], "an unknown ISBN", a.body)
    for isbn in ("9780307378102", "123", "x%20y", "97816157301860", "%zz", "x" * 400):
        a = o.get("/media/" + isbn)
        sentence = "Invalid 'MediaType', 'TitleId' or 'ISBN' token value supplied: "
        check(a.status == 200 and a.json()["message"].startswith(sentence), "no ISBN: " + isbn[:20], a.body)
    s.set(oneclick={"not_found_status": 404})
    same((o.get("/media/" + D).status, o.get("/media/x").status), (404, 404), "as the later interface says it")
    refused = [Shelf(s, token="wrong"), Shelf(s, library=1998), Shelf(s, library="x"), Shelf(s, token="")]
    for r in refused:
        a = r.get("/media/all")
        same((a.status, a.json()), (401, {"message": "Invalid Basic Token or permission denied"}),
             "refused: %s %s" % (r.head, r.base))
    a = s.get("/v1/libraries/1931/media/all")
    check(a.status == 401 and b"Invalid Basic Token or permission denied" in a.body, "no token")
    s.set(oneclick={"token": "946b9b06-AB", "library_id": 1998})
    same(Shelf(s, "946b9b06-AB", 1998).get("/media/all").status, 200, "another token and library")
    same(Shelf(s, "946b9b06-ab", 1998).get("/media/all").status, 401, "as it is, capitals too")
    for status in (403, 500, 200):
        s.set(oneclick={"denied_status": status})
        a = o.get("/media/all")
        check(a.status == status and b"permission denied" in a.body, "refused with %d" % status)
    s.reset()
    s.set(oneclick={"per_second": 5})
    answers = [o.get("/media/all") for _ in range(12)]
    check(200 in [a.status for a in answers] and 401 in [a.status for a in answers], "a limit that says the token is wrong",
          [a.status for a in answers])
    s.set(oneclick={"per_second": 0})
    for method, path in [("GET", "/media/all/"), ("POST", "/media/all"), ("GET", "/patrons/1"),
                         ("GET", "/media/eBook/availability/x")]:
        a = s.call(method, o.base + path, "{}" if method == "POST" else None, o.head)
        check(a.status == 404 and "message" in a.json(), "no such path: " + path, a.body)
    same(s.get("/1931/media/all", o.head).status, 404, "the document's own short paths")


def test_oneclick_faults(s):
    o = Shelf(s)
    today, week_ago = "2020-04-14", "2020-04-07"
    s.set(oneclick={"now": today + "T12:00:00Z", "available_dates": [week_ago, today]})
    s.admin("POST", "/oneclick/titles", [edition(A), edition(B, "eAudio"), edition(C), edition(D)])
    paths = {"all": "/media/all", "title": "/media/" + A, "delta": "/media/delta",
             "dates": "/book-holdings/delta/available-dates",
             "holdings": "/book-holdings/delta?begin=%s&end=%s" % (week_ago, today),
             "availability": "/media/ebook/availability", "title_availability": "/media/%s/availability" % A}
    usual = {call: o.get(path).json() for call, path in paths.items()}
    for call, path in paths.items():
        once = lambda kind, **more: s.fault(vendor="oneclick", call=call, kind=kind, count=1, **more)
        once("denied")
        a = o.get(path)
        same((a.status, a.json()["message"]), (401, "Invalid Basic Token or permission denied"), call + " denied")
        once("denied", status=429)
        same(o.get(path).status, 429, call + " denied in another way")
        once("unauthorized")
        same((o.get(path).json()["message"]), "Invalid Basic Token or permission denied", call + " unauthorized")
        once("bad_request_html")
        a = o.get(path)
        check(a.status == 400 and a.type.startswith("text/html") and b"The request is badly formed." in a.body,
              call + " HTML", a.body)
        once("sql_exception")
        a = o.get(path)
        m = a.json()["message"]
        check(a.status == 500 and m.startswith("eXtensible Framework encountered a SqlException") and 3000 < len(m) < 10000
              and "\r\n" in m and "SELECT" in m and "10.0.1.48" in m, call + " SqlException", a.body)
        once("message_in_200", value="Nothing of the kind")
        a = o.get(path)
        same((a.status, a.json()), (200, {"message": "Nothing of the kind"}), call + " message_in_200")
        once("bare_string")
        a = o.get(path)
        check(a.status == 200 and isinstance(a.json(), str), call + " bare string", a.body)
        once("bare_string", status=409, value="Hold or Checkout already exists.")
        a = o.get(path)
        same((a.status, a.json()), (409, "Hold or Checkout already exists."), call + " bare string as a conflict")
        once("not_found")
        check("unable to locate" in o.get(path).json()["message"], call + " not_found")
        once("invalid_token")
        check("Invalid 'MediaType'" in o.get(path).json()["message"], call + " invalid_token")
        once("empty")
        a = o.get(path)
        same((a.status, a.body), (200, b""), call + " empty")
        once("json_error_object")
        same(o.get(path).json(), {"message": "General error"}, call + " json_error_object")
        once("json_error_list")
        same(o.get(path).json(), [{"message": "General error"}], call + " json_error_list")
        once("xml_error")
        check(b"<Message>General error</Message>" in o.get(path).body, call + " xml_error")
        once("rate_limited", retry_after=3)
        a = o.get(path)
        same((a.status, a.headers["Retry-After"], list(a.json())), (429, "3", ["message"]), call + " rate_limited")
        rest = o.get(path).json()
        same(str(rest)[:20], str(usual[call])[:20], call + ": and without a fault")
        s.fault(vendor="oneclick", call=call, kind="status", status=599)
        same(sorted(c for c, p in paths.items() if o.get(p).status == 599), [call], "a fault for %s only" % call)
        s.clear()
    for kind, want in [("empty_list", []), ("half_list", [A, B]), ("repeated_row", [A, B, C, D, A])]:
        s.fault(vendor="oneclick", call="all", kind=kind, count=1)
        same(o.isbns(), want, kind)
    s.fault(vendor="oneclick", kind="cut_short", count=1)
    a = o.get("/media/all")
    check(a.status == 200 and a.body.startswith(b"[{") and not a.body.endswith(b"]") and A.encode() in a.body, "cut_short",
          a.body)
    s.fault(vendor="oneclick", kind="object", count=3)
    same(o.get("/media/all").json(), edition(A), "all: an object")
    same(o.get(paths["availability"]).json()["isbn"], A, "availability: an object")
    same(o.get("/media/delta").json()["titleAddedCount"], 4, "delta: an object")
    s.fault(vendor="oneclick", kind="missing_members", count=2)
    same((list(o.get("/media/delta").json()[0]), list(o.get(paths["holdings"]).json())),
         (["libraryId", "libraryName", "beginDate", "endDate"], ["tenantId", "beginDate", "endDate"]), "missing_members")
    s.fault(vendor="oneclick", kind="empty_list", count=3)
    same([o.get(paths[c]).json() for c in ("delta", "availability", "dates")], [[], [], []], "empty lists")
    for key, path, other in [(A, "/media/" + A, "/media/" + B), (A, "/media/%s/availability" % A, "/media/%s/availability" % B),
                             ("eBook", "/media/EBOOK/availability", "/media/eaudio/availability"),
                             ("2020-01-01", "/media/delta?begin=2020-01-01", "/media/delta"),
                             (today, paths["holdings"], "/media/all")]:
        s.fault(vendor="oneclick", key=key, kind="status", status=599)
        same((o.get(path).status, o.get(other).status != 599), (599, True), "the key %s of %s" % (key, path))
        s.clear()
    s.admin("POST", "/vendor", {"vendor": "oneclick", "down": True})
    same(ends(lambda: o.get("/media/all")), "closed", "OneClick is down")
    same(s.get("/admin/oneclick/titles").status, 200, "the test's side is not")
    same(s.call("POST", "/admin/faults", {"vendor": "oneclick", "kind": "denied", "status": 99}).status, 400, "no status")


class Reader:
    """A patron, as the vendor's API sees one."""

    def __init__(self, s, patron_id):
        self.s, self.id, self.head = s, patron_id, {"Authorization": "Basic sandbox-oneclick-token"}

    def call(self, method, path):
        return self.s.call(method, "/v1/libraries/1931/patrons/%s%s" % (self.id, path), None, self.head)

    def borrow(self, isbn, days=""):
        return self.call("POST", "/checkouts/" + isbn + (days and "?days=%s" % days))

    def list(self, what):
        return self.call("GET", "/%s/" % what).json()

    def isbns(self, what):
        return [i["isbn"] for i in self.list(what)]


def shelf_of_patrons(s):
    """Two eBooks and an eAudio, and two patrons."""
    s.admin("POST", "/oneclick/titles", [edition(A, title="Quux"), edition(B, "eAudio", title="Quux",
            narrators="Guskin, Laura; jeremy"), edition(C)])
    ids = s.admin("POST", "/oneclick/patrons", [{"card": "22334", "email": "Ada@x.example", "user_name": "ada"},
                  {"card": "22335"}])["ids"]
    return [Reader(s, i) for i in ids]


def test_oneclick_patrons(s):
    ada, bob = shelf_of_patrons(s)
    head = ada.head
    find = lambda who: s.get("/v1/rpc/libraries/1931/patrons/" + who, head)
    for who in ("22334", "ada%40X.EXAMPLE", "ADA"):
        same((find(who).status, find(who).json()["patronId"], len(find(who).json()["userId"])), (200, ada.id, 36),
             "found: " + who)
    check(find("99").json()["message"].startswith("eXtensible Framework was unable to locate the resource for RB.API.OneClick."),
          "nobody, with 200")
    s.set(oneclick={"nobody_status": 404, "no_user_id": True})
    same((find("99").status, find("22334").json()), (404, {"patronId": ada.id}), "nobody, with 404; before 2018")
    s.set(oneclick={"no_user_id": False})
    same(ada.call("GET", "").json()["libraryCardNumber"], "22334", "a patron")
    same((Reader(s, 1).call("GET", "").status, Reader(s, 1).borrow(A).json()), (404, {"message": "Patron not found."}),
         "no patron")
    body = {"libraryId": 1931, "libraryCard": "44", "userName": "44", "email": "c@x.example", "firstName": "C", "lastName": "D",
            "postalCode": "11111", "password": "p"}
    create = lambda **more: s.post("/v1/libraries/1931/patrons/", {**body, **more}, head)
    a = create()
    same((a.status, a.json()["patron"]["patronId"], a.json()["patron"]["libraryCardNumber"]), (201, bob.id + 1, ""),
         "a new patron")
    for more in ({}, {"libraryCard": "45", "userName": "45"}, {"email": "e@x.example"}):
        same(create(**more).status, 409, "one that exists: %s" % more)
    s.set(oneclick={"patron_exists_status": 500})
    check("already exists for this library" in create().json()["message"] and create().status == 500, "or 500")
    same((create(email="").status, create(password="").status), (400, 400), "a patron without e-mail or password")
    same(s.admin("GET", "/effects?vendor=oneclick&kind=patrons")["deeds"][0]["email"], "c@x.example", "which is a deed")
    same([p["card"] for p in s.admin("GET", "/oneclick/patrons")], ["22334", "22335", "44"], "all patrons")
    s.admin("DELETE", "/oneclick/patrons/%s" % bob.id)
    same((find("22335").status, bob.borrow(A).status), (404, 404), "a patron that was forgotten")


def test_oneclick_loans(s):
    ada, bob = shelf_of_patrons(s)
    s.set(oneclick={"now": "2016-10-08T02:00:00Z"})          # the evening of the 7th there
    a = ada.borrow(A, 7)
    same((a.status, a.json()["output"], "expiration" in a.json(), a.json()["titleId"]), (200, "SUCCESS", False, 0), "borrowed")
    loan = ada.list("checkouts")[0]
    same((loan["isbn"], loan["expiration"], loan["canRenew"], loan["authors"], loan["files"][0]["fileFormat"]),
         (A, "2016-10-14", True, "Ellen Hopkins", "EPUB"), "an eBook's loan")
    check(loan["files"][0]["downloadUrl"].endswith("&expDt=1476417600"), "which ends as the recorded one does", loan["files"])
    same(ada.borrow(A).json(), {"message": "Checkout item already exists"}, "borrowed already")
    same((bob.borrow(A).status, bob.borrow(A).json()), (409, {"message": "Title is not available for checkout"}),
         "an eBook is one copy")
    same(bob.borrow(B, 400).status, 200, "days can only shorten")
    audio = bob.list("checkouts")[0]
    same((audio["expiration"], audio["minutes"], audio["bookmarks"], len(audio["files"]), "fileFormat" in audio["files"][0]),
         ("2016-10-28", 225.95, [], 3, False), "an eAudio's loan")
    same(ada.borrow(B).status, 200, "audio is for all")
    s.admin("POST", "/oneclick/bookmarks", {"patron_id": bob.id, "isbn": B, "bookmarks": [{"position": 7}]})
    same((bob.list("checkouts")[0]["bookmarks"], bob.list("checkouts")[0]["hasBookmark"]), ([{"position": 7}], True),
         "bookmarks")
    a = ada.call("PUT", "/checkouts/%s?days=7" % A)
    same((a.status, a.json()["output"]), (200, "success"), "renewed")
    same(ada.list("checkouts")[1]["expiration"], "2016-10-21", "from its end")
    s.set(oneclick={"renew_from_end": False, "receipt_expiration": True, "renewals_max": 2})
    same(ada.call("PUT", "/checkouts/%s?days=7" % A).json()["expiration"], "2016-10-14", "or from today, and said so")
    same((ada.list("checkouts")[1]["canRenew"], ada.call("PUT", "/checkouts/" + A).status), (False, 409), "no third renewal")
    same(ada.borrow(C, "x").status, 400, "days that are none")
    s.set(oneclick={"checkout_limit": 2})
    same((ada.borrow(C).json(), ada.borrow(A).json()["message"][:8]), ({"message": "Maximum checkout count reached."},
         "Checkout"), "a limit")
    s.set(oneclick={"told_first": "limit"})
    same(ada.borrow(A).json(), {"message": "Maximum checkout count reached."}, "which may be told first")
    same(ada.call("DELETE", "/checkouts/" + A).json(), {"message": "success"}, "returned")
    check(ada.call("DELETE", "/checkouts/" + A).json()["message"].startswith("Checkout does not exists"), "once")
    s.set(oneclick={"empty_success": True})
    same((ada.call("DELETE", "/checkouts/" + B).body, bob.borrow(A).status), (b"", 200),
         "returned without a word; on the shelf again")
    check("unable to locate" in ada.borrow(D).json()["message"], "not in the library")
    s.set(oneclick={"now": "2016-10-28T03:59:59Z"})
    same(bob.isbns("checkouts"), [A, B], "not over yet")
    s.set(oneclick={"now": "2016-10-28T04:00:00Z"})
    same(bob.isbns("checkouts"), [], "over at the first moment of the day, there")
    count = s.counts("oneclick")
    same({k: count[k] for k in ("loans", "renewals", "returns", "duplicates")}, {"loans": 4, "renewals": 2, "returns": 2,
         "duplicates": 1}, "counts")
    s.fault(vendor="oneclick", call="checkout", key=C, kind="drop_after", count=1)
    same((ends(lambda: ada.borrow(C)), ada.isbns("checkouts")), ("closed", [C]), "an answer that is lost")
    deeds = s.admin("GET", "/effects?vendor=oneclick&kind=loans")["deeds"]
    same([d["answered"] for d in deeds], [True, True, True, True, False], "which is seen")
    same([d["id"] for d in s.admin("GET", "/effects?vendor=oneclick&kind=duplicates")["deeds"]], [A], "and what was done again")


def test_oneclick_holds(s):
    ada, bob = shelf_of_patrons(s)
    ada.borrow(A)
    a = bob.call("POST", "/holds/" + A)
    check(a.status == 200 and isinstance(a.json(), int), "a hold is a bare number", a.body)
    same(bob.list("holds")[0]["expiration"], "2050-12-31", "for ever")
    a = bob.call("POST", "/holds/" + A)
    same((a.status, a.json(), ada.call("POST", "/holds/" + A).json()), (409, "Hold or Checkout already exists.",
         "Hold or Checkout already exists."), "already")
    same(s.admin("POST", "/oneclick/convert", {}), {"loans": 0}, "what is out stays a hold")
    ada.call("DELETE", "/checkouts/" + A)
    same((bob.isbns("holds"), bob.isbns("checkouts")), ([A], []), "it takes a while")
    s.set(oneclick={"hold_seconds": 0})
    same((bob.isbns("holds"), bob.isbns("checkouts")), ([], [A]), "a loan")
    s.set(oneclick={"hold_seconds": 3600, "hold_limit": 2})
    same((bob.call("POST", "/holds/" + C).status, bob.call("POST", "/holds/" + B).json()),
         (200, "You have reached your checkout limit and therefore are unable to place additional holds."), "a limit")
    same((s.admin("POST", "/oneclick/convert", {"isbn": B}), s.admin("POST", "/oneclick/convert", {"isbn": C})), ({"loans": 0},
         {"loans": 1}), "now")
    bob.call("DELETE", "/checkouts/" + C)
    bob.call("POST", "/holds/" + C)
    same((bob.call("DELETE", "/holds/" + C).json(), bob.isbns("holds")), ({"message": "success"}, []), "cancelled")
    same((bob.call("DELETE", "/holds/" + C).status, bob.call("DELETE", "/holds/" + C).json()), (409, "Hold does not exist."),
         "once")
    s.fault(vendor="oneclick", call="holds", kind="empty_list", count=1)
    same(bob.list("holds"), [], "an empty list")
    count = s.counts("oneclick")
    same((count["holds"], count["cancels"]), (3, 1), "counts")


def test_oneclick_rest(s):
    ada, _ = shelf_of_patrons(s)
    magazine = "/patron-magazines/4711"
    same((ada.call("POST", magazine).status, ada.call("POST", magazine).status, ada.call("POST",
         "/patron-magazines/x").status), (200, 409, 400), "an issue")
    ada.call("POST", "/patron-magazines/4712")
    h = ada.call("GET", "/patron-magazines/history?pageIndex=1&pageSize=1").json()
    same((h["resultSetCount"], [r["item"]["issueId"] for r in h["resultSet"]]), (2, [4711]), "its history, by pages")
    same((ada.call("DELETE", magazine).status, ada.call("DELETE", magazine).status), (200, 404), "returned")
    same((s.counts("oneclick")["magazines"], s.counts("oneclick")["magazine_returns"], s.counts("oneclick")["patrons"],
          s.counts("oneclick")["patrons_made"]), (2, 1, 2, 0), "counts")
    ada.borrow(B)
    link = urllib.parse.urlsplit(ada.list("checkouts")[0]["files"][0]["downloadUrl"])
    user = s.get("/v1/rpc/libraries/1931/patrons/22334", ada.head).json()["userId"]
    bearer = lambda: s.post("/v1/libraries/1931/tokens", {"userId": user}, ada.head).json()["bearer"]
    get = lambda b: s.get(link.path + "?" + link.query, {"Authorization": "Bearer " + b})
    same((link.netloc, get(bearer()).json()["type"], get("x").status), ("api.rbdigital.com", "audio/mpeg", 401), "a download")
    b = bearer()
    s.set(oneclick={"bearer_seconds": 0.1, "link_root": "https://other.example"})
    check(ada.list("checkouts")[0]["files"][0]["downloadUrl"].startswith("https://other.example/v1/media/"),
          "links lead elsewhere")
    late = bearer()
    time.sleep(0.15)
    same((get(b).status, get(late).status), (200, 401), "a bearer ends")
    s.admin("POST", "/vendor", {"vendor": "oneclick", "revoke_tokens": True})
    same((get(b).status, s.post("/v1/libraries/1931/tokens", {"userId": "x"}, ada.head).status), (401, 404), "and all at once")
    s.admin("POST", "/oneclick/generate", {"count": 250})
    found = lambda query: s.get("/v1/libraries/1931/search" + query, ada.head).json()
    r = found("?page-size=100&page-index=2")
    same((r["resultSetCount"], r["pageCount"], len(r["items"]), r["pageIndex"]), (253, 3, 53, 2), "pages of results")
    r = found("?all=quux&media-type=eaudio")
    same([(i["item"]["isbn"], i["item"]["authors"][0]["text"], i["interest"]["name"]) for i in r["items"]], [(B,
         "Ellen Hopkins", "library")], "one item")
    same([f for f in r["filters"] if f["isSelected"]], [{"tokenLabel": "mediatype", "tokenValue": "eaudio", "count": 1,
         "isSelected": True}], "filters")
    ada.borrow(A)
    same([i["item"]["isbn"] for i in found("?title=quux&availability=unavailable")["items"]], [A], "what is out")
    check(all(i["item"]["mediaType"] == "eBook" for i in found("/ebook/most-popular")["items"]), "a shelf")
    same(found("?all=nobodywrotethis")["pageCount"], 0, "nothing")


def test_manual(s):
    with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "README.md")) as f:
        manual = f.read()
    for vendor, settings in s.admin("GET", "/settings").items():
        for name in settings:
            check(name in manual, "the manual page names the setting %s.%s" % (vendor, name))
    for vendor, counts in s.admin("GET", "/counts").items():
        for name in list(counts) + list(counts.get("calls", {})):
            check("`%s`" % name in manual or name == "calls", "the manual page names %s of %s" % (name, vendor))


def main():
    s = Sandbox(sys.argv[1])
    try:
        for test in (test_server, test_libcal_token, test_libcal_bookings, test_libcal_changes, test_libcal_at_work, test_alma, test_alma_many,
                     test_alma_thresholds, test_gate, test_effects, test_latency, test_fault_kinds, test_stalls,
                     test_fault_scope, test_shapes, test_folio_login, test_folio_gateway, test_folio_account,
                     test_folio_renew, test_folio_holds, test_folio_cancel, test_folio_edge, test_folio_faults, test_down,
                     test_pieces, test_oneclick_records, test_oneclick_titles, test_oneclick_availability, test_oneclick_deltas,
                     test_oneclick_days_are_the_american_easts, test_oneclick_errors, test_oneclick_faults, test_oneclick_patrons, test_oneclick_loans, test_oneclick_holds,
                     test_oneclick_rest, test_wise_keys, test_wise_midnights, test_wise_single,
                     test_wise_several, test_wise_list, test_wise_spellings, test_wise_faults,
                     test_webcheckout_sessions, test_webcheckout_allocations, test_webcheckout_faults, test_reset,
                     test_odd_input, test_manual):
            s.reset()
            try:
                test(s)
            except Exception as e:
                check(False, test.__name__, repr(e))
    finally:
        s.process.send_signal(signal.SIGTERM)
        same(s.process.wait(10), 0, "SIGTERM ends it with 0")
    print("%d passed, %d failed" % (passed, failed))
    return failed != 0


if __name__ == "__main__":
    sys.exit(main())

"""The schemas and the decoders agree: every value here is judged by both.

SHELFWIRE_BUILD names the directory that holds the test program message_decode.
"""
import copy
import datetime
import json
import os
import pathlib
import subprocess

import jsonschema
import pytest
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
SCHEMAS = ROOT / "schemas"
WINDOWS = {"bookings.new": False, "users.resolve": True, "prereg.create": True}  # does it carry primary_id?
CATALOG = "catalog.delta"
# whose requests are these?
REQUESTS = {"folio.requests": "folio", "oneclick.requests": "oneclick", "wise.holds.prepare": "wise", "wise.holds.place": "wise"}
TOPICS = [*WINDOWS, CATALOG, *REQUESTS]

GONE = object()
WINDOW = {
    "source": "libcal",
    "booking_id": "cs_4WqXz0Kd",
    "appt_id": "0b8f3c1e-52d7-4f0a-9a64-6e1d2f9b7c35",
    "asked_id": "G00000042",
    "primary_id": "jdoe",
    "start": "2026-10-12T14:00:00Z",
    "end": "2026-10-12T16:00:00Z",
    "destination": "LibCal Gelman",
}

# when, what is changed in WINDOW, is it valid
CHANGES = [
    ("as it is", {}, True),
    ("a member nobody knows", {"priority": {"deep": [1, None]}}, True),
    ("an empty member name", {"": 1}, True),
    ("another source", {"source": "a"}, True),
    ("the longest source", {"source": "a23456789-12345"}, True),
    ("a source too long", {"source": "a23456789-123456"}, False),
    ("a source in capitals", {"source": "LibCal"}, False),
    ("a source that begins with a digit", {"source": "3m"}, False),
    ("a source with an underscore", {"source": "lib_cal"}, False),
    ("a source that ends in a line end", {"source": "libcal\n"}, False),
    ("an empty source", {"source": ""}, False),
    ("a source that is a number", {"source": 1}, False),
    ("a booking id of one character", {"booking_id": "x"}, True),
    ("the longest booking id", {"booking_id": "x" * 64}, True),
    ("a booking id too long", {"booking_id": "x" * 65}, False),
    ("a booking id with quotes", {"booking_id": "a\"b\\c'd"}, True),
    ("a booking id that is a number", {"booking_id": 42}, False),
    ("an empty booking id", {"booking_id": ""}, False),
    ("an appt id in capitals", {"appt_id": "0B8F3C1E-52D7-4F0A-9A64-6E1D2F9B7C35"}, False),
    ("an appt id without dashes", {"appt_id": "0b8f3c1e52d74f0a9a646e1d2f9b7c35"}, False),
    ("an appt id in braces", {"appt_id": "{0b8f3c1e-52d7-4f0a-9a64-6e1d2f9b7c35}"}, False),
    ("an appt id too short", {"appt_id": "0b8f3c1e-52d7-4f0a-9a64-6e1d2f9b7c3"}, False),
    ("an appt id too long", {"appt_id": "0b8f3c1e-52d7-4f0a-9a64-6e1d2f9b7c355"}, False),
    ("an appt id that ends in a line end", {"appt_id": "0b8f3c1e-52d7-4f0a-9a64-6e1d2f9b7c35\n"}, False),
    ("an appt id with a letter too far", {"appt_id": "0b8f3c1g-52d7-4f0a-9a64-6e1d2f9b7c35"}, False),
    ("an e-mail as asked id", {"asked_id": "g.student+1@somewhere.example"}, True),
    ("an asked id with a space inside", {"asked_id": "1234 5678"}, True),
    ("an asked id with a space before", {"asked_id": " G00000042"}, False),
    ("an asked id with a space after", {"asked_id": "G00000042 "}, False),
    ("an asked id of a space", {"asked_id": " "}, False),
    ("an asked id with a tab", {"asked_id": "G0000\t0042"}, False),
    ("an asked id that ends in a line end", {"asked_id": "G00000042\n"}, False),
    ("an asked id with DEL", {"asked_id": "G0000\x7f0042"}, False),
    ("an asked id with a zero byte", {"asked_id": "G0000\x000042"}, False),
    ("an asked id beyond ASCII", {"asked_id": "m\u00fcller"}, False),
    ("an asked id of null", {"asked_id": None}, False),
    ("an offset", {"start": "2026-10-12T10:00:00-04:00"}, True),
    ("an offset without its colon", {"start": "2026-10-12T10:00:00-0400"}, True),
    ("a fraction", {"start": "2026-10-12T14:00:00.123456Z"}, True),
    ("a fraction as long as may be", {"start": "2026-10-12T14:00:00.123456789012345678Z"}, True),
    ("a fraction too long", {"start": "2026-10-12T14:00:00.1234567890123456789Z"}, False),
    ("an empty fraction", {"start": "2026-10-12T14:00:00.Z"}, False),
    ("small letters", {"start": "2026-10-12t14:00:00z"}, True),
    ("a space instead of T", {"start": "2026-10-12 14:00:00Z"}, True),
    ("a leap second", {"start": "2025-12-31T23:59:60Z"}, True),
    ("second 61", {"start": "2025-12-31T23:59:61Z"}, False),
    ("24 o'clock", {"start": "2026-10-11T24:00:00Z"}, False),
    ("month 13", {"start": "2025-13-12T14:00:00Z"}, False),
    ("day 32", {"start": "2026-08-32T14:00:00Z"}, False),
    ("day 0", {"start": "2026-08-00T14:00:00Z"}, False),
    ("1969", {"start": "1969-12-31T14:00:00Z"}, False),
    ("1970", {"start": "1970-01-01T00:00:00Z"}, True),
    ("the last year", {"end": "9999-12-31T23:59:59Z"}, True),
    ("no offset", {"start": "2026-10-12T14:00:00"}, False),
    ("an offset of 24 hours", {"start": "2026-10-12T14:00:00+24:00"}, False),
    ("an instant that ends in a line end", {"start": "2026-10-12T14:00:00Z\n"}, False),
    ("digits that are not ASCII", {"start": "\u0662\u0660\u0662\u0666-10-12T14:00:00Z"}, False),
    ("an instant as a number", {"start": 1791813600}, False),
    ("an empty instant", {"end": ""}, False),
    ("a destination of one character", {"destination": "E"}, True),
    ("a destination of a space", {"destination": " "}, True),
    ("an empty destination", {"destination": ""}, False),
    ("the longest destination in ASCII", {"destination": "x" * 128}, True),
    ("one more", {"destination": "x" * 129}, False),
    ("the longest in Latin, Greek, Cyrillic", {"destination": "\u00e9" * 64}, True),
    ("one more ASCII character", {"destination": "\u00e9" + "x" * 64}, False),
    ("U+07FF, 64 times", {"destination": "\u07ff" * 64}, True),
    ("U+0800, 42 times", {"destination": "\u0800" * 42}, True),
    ("U+0800, 43 times", {"destination": "\u0800" * 43}, False),
    ("U+FFFD, 42 times", {"destination": "\ufffd" * 42}, True),
    ("one character of three bytes among 43", {"destination": "x" * 42 + "\u9580"}, False),
    ("32 characters of four bytes", {"destination": "\U0001f6aa" * 32}, True),
    ("one character of four bytes among 33", {"destination": "x" * 32 + "\U0001f6aa"}, False),
    ("half a pair of surrogates", {"destination": "\ud83d"}, True),
    ("a tab in the destination", {"destination": "East\tWing"}, False),
    ("a control character of Latin-1", {"destination": "East\u0085Wing"}, False),
    ("a no-break space", {"destination": "East\u00a0Wing"}, True),
    ("a destination that ends in a line end", {"destination": "East\n"}, False),
    ("a destination that is a list", {"destination": ["East"]}, False),
] + [(f"{member} missing", {member: GONE}, False) for member in WINDOW if member != "primary_id"]

# the same for primary_id, which only the topics after bookings.new ask for
PRIMARY_CHANGES = [
    ("primary_id missing", {"primary_id": GONE}, False),
    ("primary_id null", {"primary_id": None}, False),
    ("primary_id a number", {"primary_id": 7}, False),
    ("primary_id empty", {"primary_id": ""}, False),
    ("primary_id too long", {"primary_id": "x" * 65}, False),
    ("the longest primary_id", {"primary_id": "x" * 64}, True),
]

# values that are no objects, or are written in a way of their own
RAW = [
    ("an empty object", "{}", False),
    ("an array", "[]", False),
    ("null", "null", False),
    ("a number", "7", False),
    ("a string", '"window"', False),
    ("the last of two counts, and is bad", json.dumps(WINDOW)[:-1] + ', "source": "LibCal"}', False),
    ("the last of two counts, and is good", '{"source": "LibCal", ' + json.dumps(WINDOW)[1:], True),
    ("UTF-8 as it is", json.dumps({**WINDOW, "destination": "Bibliothèque, entrée"}, ensure_ascii=False), True),
    ("space around", "  " + json.dumps(WINDOW) + " \t", True),
]

# what a schema cannot say: it accepts, the decoder refuses; the description of the schema names these
EXCEPTIONS = [
    ("start after end", {"start": "2026-10-12T16:00:01Z"}, "end: not after start"),
    ("start equal to end", {"start": "2026-10-12T16:00:00Z"}, "end: not after start"),
    ("30 February", {"start": "2026-02-30T14:00:00Z"}, "start: want an instant"),
    ("29 February of another year", {"start": "2026-02-29T14:00:00Z"}, "start: want an instant"),
    ("before 1970 by its offset", {"start": "1970-01-01T00:00:00+00:01"}, "start: want an instant"),
    ("after 9999 by its offset", {"end": "9999-12-31T23:59:59-00:01"}, "end: want an instant"),
    ("deeper than 32 levels", {"x": json.loads("[" * 40 + "]" * 40)}, "not JSON"),
]


ADDED = {
    "isbn": "9781615730186",
    "change": "added",
    "as_of": "2026-11-24T16:00:00.123456Z",
    "record": {"isbn": "9781615730186", "title": "Tricks"},
}

# when, what is changed in ADDED, is it valid
CATALOG_CHANGES = [
    ("as it is", {}, True),
    ("a member nobody knows", {"priority": {"deep": [1, None]}}, True),
    ("an ISBN of 979", {"isbn": "9791090636071"}, True),
    ("an ISBN of 977", {"isbn": "9771615730189"}, False),
    ("an ISBN with hyphens", {"isbn": "978-1-61573-018-6"}, False),
    ("an ISBN of ten digits", {"isbn": "0306406152"}, False),
    ("an ISBN of twelve", {"isbn": "978161573018"}, False),
    ("an ISBN of fourteen", {"isbn": "97816157301860"}, False),
    ("an ISBN with a letter", {"isbn": "978161573018X"}, False),
    ("an ISBN that ends in a line end", {"isbn": "9781615730186\n"}, False),
    ("an ISBN that begins with a blank", {"isbn": " 9781615730186"}, False),
    ("an ISBN of digits that are not ASCII", {"isbn": "978161573018\u0666"}, False),
    ("an ISBN that is a number", {"isbn": 9781615730186}, False),
    ("an empty ISBN", {"isbn": ""}, False),
    ("an ISBN of null", {"isbn": None}, False),
    ("a change nobody knows", {"change": "changed"}, False),
    ("a change in capitals", {"change": "Added"}, False),
    ("a change that ends in a line end", {"change": "added\n"}, False),
    ("a long change", {"change": "availability of it"}, False),
    ("an empty change", {"change": ""}, False),
    ("a change that is a number", {"change": 0}, False),
    ("a change that is a list", {"change": ["added"]}, False),
    ("no fraction", {"as_of": "2026-11-24T16:00:00Z"}, True),
    ("a fraction of one digit", {"as_of": "2026-11-24T16:00:00.1Z"}, True),
    ("a fraction of nine digits", {"as_of": "2026-11-24T16:00:00.123456789Z"}, True),
    ("a fraction of ten", {"as_of": "2026-11-24T16:00:00.1234567891Z"}, False),
    ("a fraction of thirty", {"as_of": "2026-11-24T16:00:00." + "1" * 30 + "Z"}, False),
    ("an empty fraction", {"as_of": "2026-11-24T16:00:00.Z"}, False),
    ("an offset", {"as_of": "2026-11-24T16:00:00+00:00"}, False),
    ("no zone", {"as_of": "2026-11-24T16:00:00"}, False),
    ("small letters", {"as_of": "2026-11-24t16:00:00z"}, False),
    ("a space instead of T", {"as_of": "2026-11-24 16:00:00Z"}, False),
    ("a leap second", {"as_of": "2026-12-31T23:59:60Z"}, False),
    ("24 o'clock", {"as_of": "2026-11-24T24:00:00Z"}, False),
    ("minute 60", {"as_of": "2026-11-24T16:60:00Z"}, False),
    ("month 0", {"as_of": "2026-00-24T16:00:00Z"}, False),
    ("month 13", {"as_of": "2026-13-24T16:00:00Z"}, False),
    ("day 32", {"as_of": "2026-10-32T16:00:00Z"}, False),
    ("1969", {"as_of": "1969-12-31T23:59:59Z"}, False),
    ("1970", {"as_of": "1970-01-01T00:00:00Z"}, True),
    ("the last second", {"as_of": "9999-12-31T23:59:59.999999999Z"}, True),
    ("an instant that ends in a line end", {"as_of": "2026-11-24T16:00:00Z\n"}, False),
    ("an instant as a number", {"as_of": 1791813600}, False),
    ("no record", {"record": GONE}, True),
    ("an empty record", {"record": {}}, True),
    ("a record of null", {"record": None}, False),
    ("a record that is a list", {"record": [{}]}, False),
    ("a record that is text", {"record": "{}"}, False),
    ("added, and available is of no meaning", {"available": "yes"}, True),
    ("removed", {"change": "removed"}, True),
    ("removed without a record", {"change": "removed", "record": GONE}, True),
    ("removed with no record at all", {"change": "removed", "record": 7}, False),
    ("available", {"change": "availability", "available": True}, True),
    ("not available", {"change": "availability", "available": False, "record": GONE}, True),
    ("availability, and the record is of no meaning", {"change": "availability", "available": True, "record": 7}, True),
    ("availability without it", {"change": "availability"}, False),
    ("availability null", {"change": "availability", "available": None}, False),
    ("availability as a word", {"change": "availability", "available": "true"}, False),
    ("availability as a number", {"change": "availability", "available": 1}, False),
    ("a check", {"change": "check", "record": GONE}, True),
    ("a check, and the rest is of no meaning", {"change": "check", "record": None, "available": 1}, True),
] + [(f"{member} missing", {member: GONE}, False) for member in ("isbn", "change", "as_of")]

CATALOG_RAW = [
    ("an empty object", "{}", False),
    ("an array", "[]", False),
    ("null", "null", False),
    ("a string", '"added"', False),
    ("the last of two counts, and is bad", json.dumps(ADDED)[:-1] + ', "change": "more"}', False),
    ("the last of two counts, and is good", '{"change": "more", ' + json.dumps(ADDED)[1:], True),
    ("space around", "  " + json.dumps(ADDED) + " \t", True),
]

CATALOG_EXCEPTIONS = [
    ("a wrong check digit", {"isbn": "9780307378102"}, "isbn: check digit 2, want 1"),
    ("30 February", {"as_of": "2026-02-30T16:00:00Z"}, "as_of: want an instant"),
    ("29 February of another year", {"as_of": "2026-02-29T16:00:00Z"}, "as_of: want an instant"),
    ("deeper than 32 levels", {"record": {"x": json.loads("[" * 40 + "]" * 40)}}, "not JSON"),
]

REQUEST = {
    "request_id": "0b8f3c1e-52d7-4f0a-9a64-6e1d2f9b7c35",
    "action": "hold",
    "patron": "4be868c83ea2f8c03b3e052bb35cf0ff",
}

# when, what is changed in REQUEST (its service is the topic's), is it valid
REQUEST_CHANGES = [
    ("as it is", {}, True),
    ("a member nobody knows", {"priority": {"deep": [1, None]}}, True),
    ("another service", {"service": "other"}, False),
    ("a service in capitals", {"service": "WISE"}, False),
    ("a service that is a number", {"service": 1}, False),
    ("a request id in capitals", {"request_id": "0B8F3C1E-52D7-4F0A-9A64-6E1D2F9B7C35"}, False),
    ("a request id without dashes", {"request_id": "0b8f3c1e52d74f0a9a646e1d2f9b7c35"}, False),
    ("a request id that ends in a line end", {"request_id": "0b8f3c1e-52d7-4f0a-9a64-6e1d2f9b7c35\n"}, False),
    ("a request id too long", {"request_id": "0b8f3c1e-52d7-4f0a-9a64-6e1d2f9b7c355"}, False),
    ("a request id too short", {"request_id": "0b8f3c1e-52d7-4f0a-9a64-6e1d2f9b7c3"}, False),
    ("an action nobody knows", {"action": "burn_2"}, True),
    ("an action in capitals", {"action": "Hold"}, False),
    ("an action that begins with a digit", {"action": "2hold"}, False),
    ("the longest action", {"action": "a" * 32}, True),
    ("an action too long", {"action": "a" * 33}, False),
    ("an empty action", {"action": ""}, False),
    ("a patron with a blank inside", {"patron": "a b"}, True),
    ("a patron with a blank before", {"patron": " ab"}, False),
    ("a patron with a blank after", {"patron": "ab "}, False),
    ("a patron of a blank", {"patron": " "}, False),
    ("a patron beyond ASCII", {"patron": "m\u00fcller"}, False),
    ("a patron with a tab", {"patron": "a\tb"}, False),
    ("the longest patron", {"patron": "x" * 128}, True),
    ("a patron too long", {"patron": "x" * 129}, False),
    ("a patron that is a number", {"patron": 7}, False),
    ("an empty patron", {"patron": ""}, False),
] + [(f"{member} missing", {member: GONE}, False) for member in (*REQUEST, "service")]

ITEM, PICKUP = "1ec54964-70f0-44cc-bd19-2a892ea0d336", "963396d7-c96f-4bb1-a24c-42e868a8823d"
RENEW = {"action": "renew", "item": ITEM}
HOLD_ITEM = {"action": "hold_item", "item": ITEM, "pickup": PICKUP}
HOLD_INSTANCE = {"action": "hold_instance", "instance": ITEM, "pickup": PICKUP}
CANCEL_HOLD = {"action": "cancel_hold", "hold": "8bbac557-d66f-4571-bbbf-47a107cc1589"}

# when, what is asked of FOLIO, what is changed in it, is it valid
FOLIO = [
    ("an account", {"action": "account"}, {}, True),
    ("all of an account", {"action": "account", "loans": True, "holds": True, "charges": False}, {}, True),
    ("loans as a word", {"action": "account"}, {"loans": "true"}, False),
    ("charges as a number", {"action": "account"}, {"charges": 1}, False),
    ("a renewal", RENEW, {}, True),
    ("a hold on an item", HOLD_ITEM, {}, True),
    ("a hold on an instance", HOLD_INSTANCE, {}, True),
    ("a cancelling", CANCEL_HOLD, {}, True),
    ("a cancelling that names the item", CANCEL_HOLD, {"item": ITEM}, True),
    ("an action nobody knows", RENEW, {"action": "checkout"}, False),
    ("an action missing", RENEW, {"action": GONE}, False),
    ("an id in capitals", RENEW, {"item": ITEM.upper()}, True),
    ("the nil UUID", RENEW, {"item": "00000000-0000-0000-0000-000000000000"}, False),
    ("a UUID of version 7", RENEW, {"item": "01a217c9-c026-7ccd-bbcb-ea37b6dc07ec"}, False),
    ("a UUID of another variant", RENEW, {"item": ITEM[:19] + "7" + ITEM[20:]}, False),
    ("a UUID without dashes", RENEW, {"item": ITEM.replace("-", "")}, False),
    ("a UUID in braces", RENEW, {"item": "{" + ITEM + "}"}, False),
    ("a UUID that ends in a line end", RENEW, {"item": ITEM + "\n"}, False),
    ("an id that is a number", RENEW, {"item": 7}, False),
    ("an empty id", CANCEL_HOLD, {"item": ""}, False),
    ("a pickup that is none", HOLD_ITEM, {"pickup": "main desk"}, False),
    ("an expiry", HOLD_ITEM, {"expires": "2030-12-31T23:59:59Z"}, True),
    ("an expiry with an offset", HOLD_INSTANCE, {"expires": "2030-12-31T23:59:59.5+02:00"}, True),
    ("an expiry without a zone", HOLD_ITEM, {"expires": "2030-12-31T23:59:59"}, False),
    ("a day", HOLD_ITEM, {"expires": "2030-12-31"}, False),
    ("an empty expiry", HOLD_ITEM, {"expires": ""}, False),
    ("an expiry that is a number", HOLD_ITEM, {"expires": 1924991999}, False),
    ("a hold's id of any text", CANCEL_HOLD, {"hold": "any text, 64 at most"}, True),
    ("the longest", CANCEL_HOLD, {"hold": "x" * 64}, True),
    ("one more", CANCEL_HOLD, {"hold": "x" * 65}, False),
    ("one beyond ASCII", CANCEL_HOLD, {"hold": "\u00e9"}, False),
    ("one with a blank before", CANCEL_HOLD, {"hold": " 1"}, False),
    ("one that ends in a line end", CANCEL_HOLD, {"hold": "1\n"}, False),
    ("one that is empty", CANCEL_HOLD, {"hold": ""}, False),
    ("one that is a number", CANCEL_HOLD, {"hold": 617985}, False),
] + [(f"{member} missing", base, {member: GONE}, False)
     for base in (RENEW, HOLD_ITEM, HOLD_INSTANCE, CANCEL_HOLD) for member in base if member != "action"]

# what the schema refuses or accepts and the worker does not, because a row may be older than the schema
FOLIO_EXCEPTIONS = [
    ("a member nobody knows", {"colour": "green"}, "ok"),
    ("an expiry of null", {"expires": None}, "ok"),
    ("30 February", {"expires": "2030-02-30T00:00:00Z"}, "expires: want an instant"),
]

HOLD = {"action": "hold", "library": "I649", "title": "3407533", "branch": "6490"}
HOLDS = {"action": "holds", "library": "I649", "titles": ["1137719", "4595"], "type": "ONE", "pickup": "6490"}
CANCEL = {"action": "cancel_hold", "library": "I649", "hold": "617985"}

# when, what is asked of Wise, what is changed in it, is it valid
WISE = [
    ("a hold", HOLD, {}, True),
    ("all that can be said of it", HOLD, {"pickup": "6491", "due": "2026-12-31", "cost_max": 2.5, "ill": "if_needed"}, True),
    ("several", HOLDS, {}, True),
    ("all that can be said of them", HOLDS, {"due": "2026-12-31", "cost_max": 0, "ill": "only", "fast": True}, True),
    ("a list", {"action": "list", "library": "I649"}, {}, True),
    ("a cancelling", CANCEL, {}, True),
    ("an action nobody knows", HOLD, {"action": "renew"}, False),
    ("an action missing", HOLD, {"action": GONE}, False),
    ("an id with everything", HOLD, {"title": "aZ09-_"}, True),
    ("the longest id", HOLD, {"title": "1" * 40}, True),
    ("an id too long", HOLD, {"title": "1" * 41}, False),
    ("an id with a slash", HOLD, {"title": "1/2"}, False),
    ("an id with a blank", HOLD, {"library": "I 649"}, False),
    ("an id that ends in a line end", HOLD, {"branch": "6490\n"}, False),
    ("an id that is a number", HOLD, {"title": 3407533}, False),
    ("an empty id", HOLD, {"branch": ""}, False),
    ("an empty pickup", HOLD, {"pickup": ""}, False),
    ("a pickup that is a list", HOLD, {"pickup": ["6491"]}, False),
    ("month 13", HOLD, {"due": "2026-13-01"}, False),
    ("day 32", HOLD, {"due": "2026-12-32"}, False),
    ("1969", HOLD, {"due": "1969-12-31"}, False),
    ("1970", HOLD, {"due": "1970-01-01"}, True),
    ("an instant", HOLD, {"due": "2026-12-31T00:00:00Z"}, False),
    ("a day that ends in a line end", HOLD, {"due": "2026-12-31\n"}, False),
    ("an empty day", HOLD, {"due": ""}, False),
    ("the most it may cost", HOLD, {"cost_max": 10000}, True),
    ("more", HOLD, {"cost_max": 10000.5}, False),
    ("less than nothing", HOLD, {"cost_max": -0.01}, False),
    ("a cost as text", HOLD, {"cost_max": "2.50"}, False),
    ("a cost of many digits", HOLD, {"cost_max": 1.234567890123}, True),
    ("a cost that is a truth", HOLD, {"cost_max": True}, False),
    ("ILL if needed", HOLD, {"ill": "if_needed"}, True),
    ("ILL never", HOLD, {"ill": "never"}, True),
    ("ILL, yes", HOLD, {"ill": "yes"}, False),
    ("ILL in capitals", HOLD, {"ill": "ONLY"}, False),
    ("ILL as a list", HOLD, {"ill": [True]}, False),
    ("no title at all", HOLDS, {"titles": []}, False),
    ("one title", HOLDS, {"titles": ["1"]}, True),
    ("fifty", HOLDS, {"titles": [str(n) for n in range(50)]}, True),
    ("fifty-one", HOLDS, {"titles": [str(n) for n in range(51)]}, False),
    ("a title twice", HOLDS, {"titles": ["1", "2", "1"]}, False),
    ("a title that is a number", HOLDS, {"titles": [1]}, False),
    ("titles that are none", HOLDS, {"titles": "1"}, False),
    ("ALL", HOLDS, {"type": "ALL"}, True),
    ("some", HOLDS, {"type": "SOME"}, False),
    ("one in small letters", HOLDS, {"type": "one"}, False),
    ("fast as a word", HOLDS, {"fast": "true"}, False),
] + [(f"{member} missing", base, {member: GONE}, False)
     for base in (HOLD, HOLDS, CANCEL) for member in base if member != "action"]

# what the schema refuses or accepts and the worker does not, because a row may be older than the schema
WISE_EXCEPTIONS = [
    ("a member nobody knows", {"colour": "green"}, "ok"),
    ("a pickup of null", {"pickup": None}, "ok"),
    ("30 February", {"due": "2026-02-30"}, "due: want a day"),
]


CHECKOUT = {"action": "checkout", "isbn": "9781441260468"}
SEARCH = {"action": "search"}
DOWNLOAD = {"action": "download", "isbn": "9781441260468"}
ISSUE = {"action": "magazine_checkout", "issue": "4711"}
OF_ISBN = ("checkout", "renew", "return", "hold", "cancel_hold", "download")

# when, what is asked of OneClick, what is changed in it, is it valid
ONECLICK = [
    ("a loan", CHECKOUT, {}, True),
    ("all that can be said of it", CHECKOUT,
     {"days": 14, "create": True, "email": "ada@example.edu", "first_name": "\u00c7i\u011fdem", "last_name": "O'Brien"}, True),
    ("a hold of somebody new", CHECKOUT, {"action": "hold", "create": True, "email": "a+b@c"}, True),
    ("a renewal", CHECKOUT, {"action": "renew", "days": 1}, True),
    ("an issue", ISSUE, {}, True),
    ("an issue returned", ISSUE, {"action": "magazine_return"}, True),
    ("an action nobody knows", CHECKOUT, {"action": "lend"}, False),
    ("an action of another service", CHECKOUT, {"action": "holds_all"}, False),
    ("an action missing", CHECKOUT, {"action": GONE}, False),
    ("an ISBN of 979", CHECKOUT, {"isbn": "9791090636071"}, True),
    ("an ISBN of 977", CHECKOUT, {"isbn": "9771615730189"}, False),
    ("an ISBN with hyphens", CHECKOUT, {"isbn": "978-1-4412-6046-8"}, False),
    ("an ISBN of ten digits", CHECKOUT, {"isbn": "0306406152"}, False),
    ("an ISBN of twelve", CHECKOUT, {"isbn": "978144126046"}, False),
    ("an ISBN of fourteen", CHECKOUT, {"isbn": "97814412604680"}, False),
    ("an ISBN with a blank", CHECKOUT, {"isbn": " 9781441260468"}, False),
    ("an ISBN that ends in a line end", CHECKOUT, {"isbn": "9781441260468\n"}, False),
    ("an ISBN that is a number", CHECKOUT, {"isbn": 9781441260468}, False),
    ("an ISBN of null", CHECKOUT, {"isbn": None}, False),
    ("no days", CHECKOUT, {"days": 0}, False),
    ("a day", CHECKOUT, {"days": 1}, True),
    ("a year", CHECKOUT, {"days": 365}, True),
    ("more", CHECKOUT, {"days": 366}, False),
    ("days in the past", CHECKOUT, {"days": -7}, False),
    ("half a day", CHECKOUT, {"days": 0.5}, False),
    ("days as text", CHECKOUT, {"days": "7"}, False),
    ("create as a word", CHECKOUT, {"create": "true"}, False),
    ("create as a number", CHECKOUT, {"create": 1}, False),
    ("not to be made", CHECKOUT, {"create": False}, True),
    ("an e-mail without @", CHECKOUT, {"email": "ada"}, False),
    ("an e-mail of nobody", CHECKOUT, {"email": "@example.edu"}, False),
    ("an e-mail nowhere", CHECKOUT, {"email": "ada@"}, False),
    ("an e-mail with a blank", CHECKOUT, {"email": "ada b@example.edu"}, False),
    ("an e-mail beyond ASCII", CHECKOUT, {"email": "\u00e7@example.edu"}, False),
    ("the longest e-mail", CHECKOUT, {"email": "a@" + "b" * 252}, True),
    ("an e-mail too long", CHECKOUT, {"email": "a@" + "b" * 253}, False),
    ("an empty e-mail", CHECKOUT, {"email": ""}, False),
    ("the longest name", CHECKOUT, {"first_name": "\u00fc" * 100}, True),
    ("a name too long", CHECKOUT, {"first_name": "\u00fc" * 101}, False),
    ("an empty name", CHECKOUT, {"last_name": ""}, False),
    ("a name of two lines", CHECKOUT, {"last_name": "a\nb"}, False),
    ("a name with a C1 control", CHECKOUT, {"last_name": "a\u0085"}, False),
    ("a name that is a number", CHECKOUT, {"last_name": 7}, False),
    ("a search of all", SEARCH, {}, True),
    ("all that can be searched by", SEARCH, {"all": "wind & willows", "title": "w", "author": "k", "genre": "sci-fi",
                                              "audience": "young-adult", "media_type": "eBook", "available": False, "page": 0,
                                              "page_size": 100}, True),
    ("words without end", SEARCH, {"all": "x" * 201}, False),
    ("no words", SEARCH, {"title": ""}, False),
    ("words that are a list", SEARCH, {"author": ["x"]}, False),
    ("a media type in small letters", SEARCH, {"media_type": "ebook"}, False),
    ("a media type that is empty", SEARCH, {"media_type": ""}, False),
    ("magazines", SEARCH, {"media_type": "eMagazine"}, False),
    ("available as a word", SEARCH, {"available": "available"}, False),
    ("a page before the first", SEARCH, {"page": -1}, False),
    ("a page too far", SEARCH, {"page": 10001}, False),
    ("a page of nothing", SEARCH, {"page_size": 0}, False),
    ("a page too long", SEARCH, {"page_size": 101}, False),
    ("an issue with a slash", ISSUE, {"issue": "1/2"}, False),
    ("the longest issue", ISSUE, {"issue": "1" * 40}, True),
    ("an issue too long", ISSUE, {"issue": "1" * 41}, False),
    ("an issue that is a number", ISSUE, {"issue": 4711}, False),
    ("an empty issue", ISSUE, {"issue": ""}, False),
    ("a download", DOWNLOAD, {}, True),
    ("a file by name", DOWNLOAD, {"file": "78226 (1).mp3"}, True),
    ("a file with a blank before", DOWNLOAD, {"file": " x"}, False),
    ("a file with a blank after", DOWNLOAD, {"file": "x "}, False),
    ("a file beyond ASCII", DOWNLOAD, {"file": "\u00fc.mp3"}, False),
    ("the longest file", DOWNLOAD, {"file": "x" * 200}, True),
    ("a file too long", DOWNLOAD, {"file": "x" * 201}, False),
    ("a file that is a number", DOWNLOAD, {"file": 1646766}, False),
    ("an empty file", DOWNLOAD, {"file": ""}, False),
    ("an issue missing", ISSUE, {"issue": GONE}, False),
] + [(action, {"action": action}, {}, True) for action in ("loans", "holds", "magazine_history")] \
  + [(f"{action}", CHECKOUT, {"action": action}, True) for action in OF_ISBN] \
  + [(f"an ISBN missing: {action}", CHECKOUT, {"action": action, "isbn": GONE}, False) for action in OF_ISBN]

# what the schema refuses or accepts and the worker does not, because a row may be older than the schema
ONECLICK_EXCEPTIONS = [
    ("a member nobody knows", {"colour": "green"}, "ok"),
    ("days of null", {"days": None}, "ok"),
    ("a wrong check digit", {"isbn": "9780307378102"}, "isbn: check digit 2, want 1"),
]


# ---- requests as callers send them ----

UUID = "1ec54964-70f0-44cc-bd19-2a892ea0d336"
ISBN = "9781615730186"
ENVELOPE = ["ref", "service", "patron", "callback"]
NEXT_YEAR = datetime.date.today().year + 1

# service and action: a request with all its members
ASKABLE = {
    ("folio", "account"): {"loans": True, "charges": False, "holds": True},
    ("folio", "renew"): {"item": UUID},
    ("folio", "hold_item"): {"item": UUID, "pickup": UUID, "expires": f"{NEXT_YEAR}-10-12T14:00:00Z"},
    ("folio", "hold_instance"): {"instance": UUID, "pickup": UUID, "expires": f"{NEXT_YEAR}-10-12T14:00:00+02:00"},
    ("folio", "cancel_hold"): {"hold": "any text, 64 at most", "item": UUID},
    ("wise", "hold"): {"library": "I649", "title": "3407533", "branch": "6490", "pickup": "6491", "due": f"{NEXT_YEAR}-07-14",
                       "cost_max": 2.5, "ill": "if_needed"},
    ("wise", "holds"): {"library": "I649", "titles": ["1137719", "4595"], "type": "ONE", "pickup": "6490",
                        "due": f"{NEXT_YEAR}-07-14", "fast": True, "cost_max": 0, "ill": "never"},
    ("wise", "list"): {"library": "I649"},
    ("wise", "cancel_hold"): {"library": "I649", "hold": "617985"},
    ("oneclick", "checkout"): {"isbn": ISBN, "days": 14, "create": True, "email": "ada@example.edu", "first_name": "\u00c7i\u011fdem",
                               "last_name": "O'Brien"},
    ("oneclick", "renew"): {"isbn": ISBN, "days": 365},
    ("oneclick", "return"): {"isbn": ISBN},
    ("oneclick", "loans"): {},
    ("oneclick", "hold"): {"isbn": ISBN, "create": False, "email": "a+b@c", "first_name": "A", "last_name": "B"},
    ("oneclick", "cancel_hold"): {"isbn": ISBN},
    ("oneclick", "holds"): {},
    ("oneclick", "search"): {"all": "caf\u00e9", "title": "Tricks", "author": "Hopkins", "genre": "juvenile-fiction", "audience": "adult",
                             "media_type": "eBook", "available": True, "page": 0, "page_size": 100},
    ("oneclick", "magazine_checkout"): {"issue": "12345"},
    ("oneclick", "magazine_return"): {"issue": "12345"},
    ("oneclick", "magazine_history"): {},
    ("oneclick", "download"): {"isbn": ISBN, "file": "part 1.mp3"},
}
MAY_LACK = {"loans", "charges", "holds", "expires", "pickup", "due", "cost_max", "ill", "fast", "days", "create", "email", "first_name", "last_name", "file", "all", "title",
            "author", "genre", "audience", "media_type", "available", "page", "page_size", "item"}
MUST_HAVE = {("folio", "renew"): ["item"], ("folio", "hold_item"): ["item", "pickup"], ("folio", "hold_instance"): ["pickup"],
             ("wise", "hold"): ["title"], ("wise", "holds"): ["pickup"]}

# which member, a value, is it valid; of every action that has the member
VALUES = [
    ("ref", "!" * 128, True), ("ref", "a" * 129, False), ("ref", "", False), ("ref", "a b", False), ("ref", "caf\u00e9", False),
    ("ref", "a\n", False), ("ref", 7, False), ("ref", None, False), ("ref", "a\x00b", False),
    ("patron", "x" * 129, False), ("patron", " reader", False), ("patron", "reader\n", False), ("patron", "", False), ("patron", 7, False),
    ("callback", "https://discovery.example.edu/hooks", True), ("callback", "http://localhost/x", True), ("callback", "ftp://x/", False),
    ("callback", "https://", False), ("callback", "https://x/ y", False), ("callback", "https://x/" + "y" * 490, True),
    ("callback", "https://x/" + "y" * 491, False), ("callback", None, False), ("callback", "HTTPS://x/", False),
    ("service", "alma", False), ("service", "FOLIO", False), ("service", 1, False), ("service", None, False),
    ("action", "nothing", False), ("action", "", False), ("action", ["renew"], False), ("action", "renew\n", False),
    ("loans", "true", False), ("loans", 1, False), ("loans", None, False), ("create", 0, False), ("fast", "false", False),
    ("item", UUID.upper(), True), ("item", "00000000-0000-0000-0000-000000000000", False), ("item", UUID[:-1], False),
    ("item", UUID + "0", False), ("item", "01a217c9-c026-7ccd-bbcb-ea37b6dc07ec", False), ("item", UUID[:19] + "7" + UUID[20:], False),
    ("item", UUID + "\n", False), ("item", "{" + UUID + "}", False), ("instance", UUID.replace("-", ""), False), ("item", 7, False),
    ("expires", f"{NEXT_YEAR}-10-12T14:00:00", False), ("expires", f"{NEXT_YEAR}-13-12T14:00:00Z", False), ("expires", NEXT_YEAR, False),
    ("expires", "9999-12-31T23:59:59.123456Z", True), ("expires", f"{NEXT_YEAR}-10-12", False), ("expires", "", False),
    ("due", f"{NEXT_YEAR}-12-31", True), ("due", f"{NEXT_YEAR}-12-32", False), ("due", f"{NEXT_YEAR}-1-1", False), ("due", "soon", False),
    ("due", f"{NEXT_YEAR}-12-31T00:00:00Z", False), ("due", f"{NEXT_YEAR}-12-31\n", False), ("due", 20261231, False),
    ("cost_max", 0, True), ("cost_max", 10000, True), ("cost_max", 10000.01, False), ("cost_max", -0.01, False), ("cost_max", "2.50", False),
    ("cost_max", True, False), ("ill", "always", False), ("ill", "", False), ("ill", None, False), ("ill", "only", True), ("ill", "only|", False),
    ("type", "ALL", True), ("type", "all", False), ("type", "ONE|ALL", False),
    ("titles", [], False), ("titles", ["1"] * 2, False), ("titles", [str(n) for n in range(50)], True), ("titles", "1", False),
    ("titles", [str(n) for n in range(51)], False), ("titles", [7], False), ("titles", ["a b"], False), ("titles", [None], False),
    ("title", "x" * 201, False), ("library", "I 649", False), ("library", "", False), ("branch", "x" * 40, True), ("branch", "x" * 41, False),
    ("isbn", "978-1-61573-018-6", False), ("isbn", "0306406152", False), ("isbn", int(ISBN), False), ("isbn", ISBN + "\n", False),
    ("isbn", "9771615730189", False), ("isbn", "97816157301\u0668\u0666", False),
    ("days", 0, False), ("days", 366, False), ("days", 1, True), ("days", 1.5, False), ("days", "14", False), ("days", 10**30, False),
    ("page", 10000, True), ("page", -1, False), ("page_size", 0, False), ("all", "\U0001f4da" * 200, True), ("all", "\U0001f4da" * 201, False),
    ("all", "a\tb", False), ("all", "a\u0085b", False), ("all", "a\u00a0b", True), ("all", "", False), ("media_type", "ebook", False),
    ("issue", "", False), ("issue", 12345, False), ("file", " x", False), ("file", "x" * 200, True), ("file", "x" * 201, False),
]

# what a schema cannot say; the description of the schema names these
REQUEST_EXCEPTIONS = [
    (("folio", "hold_item"), {"expires": "2020-10-12T14:00:00Z"}, "/expires", "past"),
    (("folio", "hold_item"), {"expires": f"{NEXT_YEAR}-02-30T14:00:00Z"}, "/expires", "want an instant"),
    (("wise", "hold"), {"due": "2020-07-14"}, "/due", "past"),
    (("wise", "hold"), {"due": f"{NEXT_YEAR}-02-30"}, "/due", "calendar"),
    (("oneclick", "checkout"), {"isbn": "9780307378102"}, "/isbn", "check digit"),
    (("oneclick", "checkout"), {"days": 14.0}, "/days", "want a whole number"),
]


def load(name):
    return json.loads((SCHEMAS / name).read_text(encoding="utf-8"))


def validator(schema, base="booking-window.schema.json"):
    resolver = jsonschema.RefResolver((SCHEMAS / base).as_uri(), schema)
    return jsonschema.Draft202012Validator(schema, resolver=resolver)


def topic_validator(topic):
    return validator(load(f"{topic}.schema.json"), f"{topic}.schema.json")


def decode(values, topic):
    """The decoder's verdict on every value: "ok" or what is wrong."""
    run = subprocess.run(
        [pathlib.Path(os.environ["SHELFWIRE_BUILD"]) / "message_decode", topic],
        input="".join(v + "\n" for v in values).encode(),
        stdout=subprocess.PIPE,
        check=True,
    )
    verdicts = run.stdout.decode().splitlines()
    assert len(verdicts) == len(values)
    return verdicts


def changed(base, change):
    value = copy.deepcopy(base)
    for key, to in change.items():
        if to is GONE:
            del value[key]
        else:
            value[key] = to
    return json.dumps(value)


def situations(topic):
    if topic in REQUESTS:
        base = {**REQUEST, "service": REQUESTS[topic]}
        return [(when, changed(base, change), valid) for when, change, valid in REQUEST_CHANGES]
    if topic == CATALOG:
        return [(when, changed(ADDED, change), valid) for when, change, valid in CATALOG_CHANGES] + CATALOG_RAW
    rows = [(when, changed(WINDOW, change), valid) for when, change, valid in CHANGES] + RAW
    for when, change, valid in PRIMARY_CHANGES:
        rows.append((when, changed(WINDOW, change), valid or not WINDOWS[topic]))
    return rows


@pytest.mark.parametrize("topic", TOPICS)
def test_schema_and_decoder_agree(topic):
    rows = situations(topic)
    check = topic_validator(topic)
    verdicts = decode([value for _, value, _ in rows], topic)
    wrong = [
        f"{when}: want {valid}, schema {by_schema}, decoder {verdict}"
        for (when, value, valid), verdict in zip(rows, verdicts)
        for by_schema in [check.is_valid(json.loads(value))]
        if by_schema != valid or (verdict == "ok") != valid
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("topic", ["prereg.create", CATALOG])
def test_exceptions_are_the_ones_described(topic):
    base, exceptions = (ADDED, CATALOG_EXCEPTIONS) if topic == CATALOG else (WINDOW, EXCEPTIONS)
    check = topic_validator(topic)
    verdicts = decode([changed(base, change) for _, change, _ in exceptions], topic)
    for (when, change, want), verdict in zip(exceptions, verdicts):
        assert check.is_valid(json.loads(changed(base, change))), when
        assert verdict.startswith(want), f"{when}: {verdict}"


@pytest.mark.parametrize("service, table, base, exceptions", [
    pytest.param("folio", FOLIO, HOLD_ITEM, FOLIO_EXCEPTIONS, id="folio"),
    pytest.param("wise", WISE, HOLD, WISE_EXCEPTIONS, id="wise"),
    pytest.param("oneclick", ONECLICK, CHECKOUT, ONECLICK_EXCEPTIONS, id="oneclick")])
def test_what_is_asked(service, table, base, exceptions):
    name = f"request.{service}"
    check = validator(load(f"{name}.schema.json"), f"{name}.schema.json")
    rows = [(when, changed(asked, change), valid) for when, asked, change, valid in table]
    verdicts = decode([value for _, value, _ in rows], name)
    wrong = [
        f"{when}: want {valid}, schema {by_schema}, worker {verdict}"
        for (when, value, valid), verdict in zip(rows, verdicts)
        for by_schema in [check.is_valid(json.loads(value))]
        if by_schema != valid or (verdict == "ok") != valid
    ]
    assert not wrong, "\n".join(wrong)
    for when, change, verdict in exceptions:
        value = changed(base, change)
        assert check.is_valid(json.loads(value)) == (verdict != "ok"), when
        assert decode([value], name)[0].startswith(verdict), when


@pytest.mark.parametrize("path", sorted(SCHEMAS.glob("*.schema.json")), ids=lambda p: p.name)
def test_schema_is_one(path):
    schema = load(path.name)
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["$id"] == path.name
    for example in schema.get("examples", []):
        validator(schema, path.name).validate(example)


@pytest.mark.parametrize("topic", TOPICS)
def test_examples_are_decoded(topic):
    examples = load(f"{topic}.schema.json")["examples"]
    assert examples
    assert decode([json.dumps(e) for e in examples], topic) == ["ok"] * len(examples)


def asyncapi():
    return yaml.safe_load((SCHEMAS / "asyncapi.yaml").read_text(encoding="utf-8"))


def follow(document, ref):
    assert ref.startswith("#/"), ref
    at = document
    for part in ref[2:].split("/"):
        at = at[part.replace("~1", "/").replace("~0", "~")]
    return at


def refs(node):
    if isinstance(node, dict):
        for key, value in node.items():
            if key == "$ref":
                yield value
            else:
                yield from refs(value)
    elif isinstance(node, list):
        for value in node:
            yield from refs(value)


def test_asyncapi_refers_to_what_is_there():
    document = asyncapi()
    assert document["asyncapi"] == "3.0.0"
    files = set()
    for ref in refs(document):
        if ref.startswith("#"):
            follow(document, ref)
        else:
            assert (SCHEMAS / ref).is_file(), ref
            files.add((SCHEMAS / ref).name)
    assert {f"{topic}.schema.json" for topic in TOPICS} <= files


def test_asyncapi_describes_every_topic():
    document = asyncapi()
    channels = {c["address"]: c for c in document["channels"].values()}
    topics = [a for a in channels if not a.endswith(".dlq")]
    assert set(TOPICS) <= set(topics)
    assert {f"{t}.dlq" for t in topics} == {a for a in channels if a.endswith(".dlq")}
    used = {op["action"] + " " + op["channel"]["$ref"].removeprefix("#/channels/") for op in document["operations"].values()}
    for topic in topics:
        assert {f"send {topic}", f"receive {topic}", f"send {topic}.dlq"} <= used
        (message,) = (follow(document, m["$ref"]) for m in channels[topic]["messages"].values())
        assert message["payload"]["schema"]["$ref"] == f"./{topic}.schema.json"
        assert "key" in message["bindings"]["kafka"]


def test_asyncapi_examples():
    document = asyncapi()
    for name in TOPICS:
        message = document["components"]["messages"][name]
        headers = validator(follow(document, message["headers"]["$ref"]), "asyncapi.yaml")
        for example in message["examples"]:
            headers.validate(example["headers"])
            topic_validator(name).validate(example["payload"])
            assert decode([json.dumps(example["payload"])], name) == ["ok"]


def request(key, **changes):
    service, action = key
    return {"ref": "order-4711", "service": service, "action": action, "patron": "reader-1", **ASKABLE[key], **changes}


def without(value, *names):
    return {k: v for k, v in value.items() if k not in names}


def by_schema(value):
    """The members of every request by the one schema, the action's own by its service's."""
    if not validator(load("request.schema.json"), "request.schema.json").is_valid(value):
        return False
    name = f"request.{value['service']}.schema.json"
    return validator(load(name), name).is_valid(without(value, *ENVELOPE))


def request_situations():
    rows = []
    for key in ASKABLE:
        rows += [(f"{key}: as it is", request(key), True), (f"{key}: a member nobody knows", request(key, priority=1), False),
                 (f"{key}: an empty name", request(key, **{"": 1}), False)]
        rows += [(f"{key}: {name} missing", without(request(key), name), False) for name in ("ref", "service", "action", "patron")]
        rows += [(f"{key}: {name} missing", without(request(key), name), name in MAY_LACK and name not in MUST_HAVE.get(key, ()))
                 for name in ASKABLE[key]]
        rows += [(f"{key}: {name} {value!r}", request(key, **{name: value}), valid) for name, value, valid in VALUES
                 if name in request(key) or name == "callback"]
    rows += [("wise: a patron with a space", request(("wise", "list"), patron="a b"), False),
             ("folio: a patron with a space", request(("folio", "account"), patron="a b"), True),
             ("a title of Wise with a space", request(("wise", "hold"), title="a b"), False)]
    rows += [(f"{value!r}", value, False) for value in (None, 7, "renew", [], True, {})]
    return rows


def test_request_schema_and_forms_agree():
    rows = request_situations()
    verdicts = decode([json.dumps(value) for _, value, _ in rows], "request")
    wrong = [f"{when}: want {valid}, schema {said}, forms {verdict}" for (when, value, valid), verdict in zip(rows, verdicts)
             for said in [by_schema(value)] if said != valid or (verdict == "ok") != valid]
    assert not wrong, "\n".join(wrong)
    assert len(rows) > 500


def test_request_exceptions_are_the_ones_described():
    verdicts = decode([json.dumps(request(key, **change)) for key, change, _, _ in REQUEST_EXCEPTIONS], "request")
    for (key, change, pointer, words), verdict in zip(REQUEST_EXCEPTIONS, verdicts):
        assert by_schema(request(key, **change)), change
        assert f'"pointer":"{pointer}"' in verdict and words in verdict, f"{change}: {verdict}"


@pytest.mark.parametrize("written, words", [
    ('{"ref":"a","ref":"b","service":"oneclick","action":"loans","patron":"p"}', "given twice"),
    ('{"ref":"a","service":"oneclick","action":"loans","patron":"p","patr\\u006fn":"q"}', "given twice"),
    ('{"ref":"a","service":"oneclick","action":"loans","patron":"p","patron\\u0000":"q"}', "zero character"),
    ('{"ref":"a","service":"oneclick","action":"loans","patron":"p\\u0000"}', "zero"),
    ('{"ref":"a:b\\":{","service":"oneclick","action":"loans","patron":"p"}', "ok"),
    ('{"ref":"a","service":"oneclick","action":"loans","patron":"p","a/b~c":1}', "/a~1b~0c"),
    ('{"ref":"a","service":"oneclick","action":"loans","patron":"p","' + "x" * 65 + '":1}', "65 characters"),
])
def test_what_json_itself_allows(written, words):
    (verdict,) = decode([written], "request")
    assert words in verdict


def test_every_action_is_in_a_schema():
    for service in ("folio", "wise", "oneclick"):
        actions = {name for branch in load(f"request.{service}.schema.json")["oneOf"] for action in [branch["properties"]["action"]]
                   for name in action.get("enum", [action.get("const")])}
        assert actions == {a for s, a in ASKABLE if s == service}

"""Prometheus and Grafana find the metrics that our alerts and panels ask for by name, and these say what they are named for."""
import math
import re

import pytest
import yaml
from patrons import Requests
from shelfwire import (FOLIO_PASSWORD, GATE_PASSWORD, LIBCAL_SECRET, READS, ROOT, WEBCHECKOUT_PASSWORD, booked, local, person,
                       wait_for)
from test_endpoints import assert_prometheus

RULES = ROOT / "ops/prometheus/shelfwire.rules.yml"
RULES_TEST = ROOT / "tests/rules/shelfwire.rules_test.yml"
DASHBOARD = ROOT / "ops/grafana/shelfwire.json"
SCRAPED = {"job", "instance"}  # the labels that Prometheus puts to a series
KAFKA_EXPORTER = {  # what dashboards made for it read, Grafana's 7589 among them
    "kafka_consumergroup_lag": {"consumergroup", "topic", "partition"},
    "kafka_consumergroup_current_offset": {"consumergroup", "topic", "partition"},
    "kafka_topic_partition_current_offset": {"topic", "partition"},
    "kafka_topic_partition_oldest_offset": {"topic", "partition"},
    "kafka_topic_partitions": {"topic"}}



# ---- names ----

def named_metrics():
    """{name: who names it}"""
    found = {name: {"kafka_exporter"} for name in KAFKA_EXPORTER}
    for rule in (rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]):
        for name in re.findall(r"\b(?:shelfwire|kafka)_\w+", rule["expr"]):
            found.setdefault(name, set()).add(rule["alert"])
    for name in re.findall(r"\b(?:shelfwire|kafka)_\w+", DASHBOARD.read_text()):
        found.setdefault(name, set()).add("the dashboard")
    return found


def labels_supposed():
    """{name: label names}, as the tests of the alerts suppose them."""
    found = {name: {frozenset(labels)} for name, labels in KAFKA_EXPORTER.items()}
    for test in yaml.safe_load(RULES_TEST.read_text())["tests"]:
        for series in test["input_series"]:
            name, labels = re.fullmatch(r"(\w+)\{(.*)\}", series["series"]).groups()
            found.setdefault(name, set()).add(frozenset(re.findall(r'(\w+)="', labels)) - SCRAPED)
    return found


def served(programs):
    """{name: sets of label names}, of all programs together."""
    found = {}
    for program in programs:
        for name, series in program.metrics().items():
            for labels in series:
                found.setdefault(name, set()).add(frozenset(re.findall(r'(\w+)="', labels)))
    return found


def every_program(world):
    """All of them, each with something to do."""
    world.sandbox.settings(alma={"per_day": 10000})
    world.sandbox.admin("POST", "/oneclick/generate", {"count": 20})
    world.make_topics("catalog.delta")
    world.run("oneclick-catalog", "--import")
    who = person(1)
    world.sandbox.admin("POST", "/alma/users", [who.alma()])
    world.sandbox.admin("POST", "/libcal/bookings", [booked("cs_00000001", who, local("09:00"), local("11:00")),
                                                        booked("cs_00000002", "G99999999", local("09:00"), local("11:00"))])
    Requests(world, "folio.requests", "wise.holds.prepare", "wise.holds.place", "oneclick.requests")
    programs = [world.begin(name) for name in ("libcal-bookings", "webcheckout-allocations", "patron-requests")]
    programs += [world.start(name) for name in READS]
    programs.append(world.begin("oneclick-catalog", ONECLICK_DELTA_SECONDS=1, ONECLICK_AVAILABILITY_SECONDS=1))
    world.produce_raw("bookings.new", "x", "no JSON")  # a dead letter
    heard = ",".join(p.url.removeprefix("http://") for p in programs)
    return [*programs, world.begin("monitor", MONITOR_PORT=0, MONITOR_PROGRAMS=heard)]


def test_every_metric_that_an_alert_or_a_panel_names_is_served(world):
    """And has the labels that the alerts' own tests suppose."""
    programs, names = every_program(world), named_metrics()
    wait_for(lambda: not names.keys() - served(programs).keys(),
             lambda: {name: names[name] for name in names.keys() - served(programs).keys()}, 60, 1)
    labels = served(programs)
    wrong = {name: (supposed, labels[name]) for name, supposed in labels_supposed().items()
             if not supposed <= labels[name]}
    assert not wrong, "\n".join(f"{name}: {supposed} is supposed, {there} is served" for name, (supposed, there) in wrong.items())


# ---- visits ----

@pytest.mark.parametrize("starts, ends, answer, least, most", [
    (-10, 50, None, 0, 0),  # no less urgent for having begun
    (30, 90, None, 1, 1800),
    (-90, -30, None, math.inf, math.inf),
    (30, 90, "no_card", math.inf, math.inf),
], ids=["begun", "near", "over", "answered"])
def test_a_metric_says_when_the_next_visit_is_that_is_not_ready(world, starts, ends, answer, least, most):
    world.make_topics("bookings.new")
    window, other = world.make_windows(2, send=False)
    world.db.rows("UPDATE appts SET answer = 'unknown', reason = 'no answer' WHERE appt_id = %s", other.appt_id)
    world.db.rows("UPDATE appts SET starts_at = now() + %s * interval '1 minute', ends_at = now() + %s * interval '1 minute', answer = %s"
                  " WHERE appt_id = %s", starts, ends, answer, window.appt_id)
    monitor = world.begin("monitor", MONITOR_PORT=0)
    wait_for(lambda: monitor.metric("shelfwire_outcomes_unknown") == 1, lambda: "nothing was read" + monitor.tail())
    (seen,) = monitor.metrics()["shelfwire_next_visit_waiting_seconds"].values()
    assert least <= seen <= most
    assert_prometheus(monitor.get("/metrics").text)


# ---- vendors ----

def test_a_metric_says_who_refuses_us_until_it_is_mended(world):
    def refused():
        return {p.name: p.metric("shelfwire_vendor_credentials_refused", f'vendor="{vendor}"') for vendor, p in programs.items()}

    world.make_windows(1, 1)
    world.sandbox.settings(alma={"keys": {"another": "1"}}, passagepoint={"password": "another"}, libcal={"client_secret": "another"},
                           webcheckout={"password": "another"}, folio={"password": "another"})
    world.make_topics("folio.requests", "folio.requests.dlq")
    programs = {"alma": world.start("bookings-new"), "passagepoint": world.start("users-resolve"), "folio": world.start("folio-requests"),
                "libcal": world.begin("libcal-bookings"), "webcheckout": world.begin("webcheckout-allocations")}
    wait_for(lambda: all(refused().values()), refused, 30, 0.2)
    world.sandbox.settings(alma={"keys": {"sandbox-alma-key": "1"}}, passagepoint={"password": GATE_PASSWORD},
                           libcal={"client_secret": LIBCAL_SECRET}, webcheckout={"password": WEBCHECKOUT_PASSWORD},
                           folio={"password": FOLIO_PASSWORD})
    wait_for(lambda: not any(refused().values()), refused, 90, 0.5)


def test_a_metric_says_what_is_left_of_each_keys_day(world):
    keys = {"key-of-zone-one": "1", "key-of-zone-two": "2"}
    world.secrets |= keys.keys()
    world.sandbox.settings(alma={"keys": keys, "per_day": 5000})
    one, two = person(1), person(2)
    world.people += [one, two]
    world.sandbox.admin("POST", "/alma/users", [one.alma(iz="1"), two.alma(iz="2")])
    world.make_windows(2, [one, two])
    worker = world.start("bookings-new", ALMA_API_KEYS=",".join(keys), ALMA_CALLS_LEFT_MIN=700)
    world.await_no_lag("bookings-new")
    left = worker.metrics()["shelfwire_vendor_calls_left"]
    assert left == {'vendor="alma",account="1"': 4998, 'vendor="alma",account="2"': 4999}  # the first key was asked for both
    assert worker.metrics()["shelfwire_vendor_calls_left_min"] == dict.fromkeys(left, 700)

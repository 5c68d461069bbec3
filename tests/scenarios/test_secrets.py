"""Keys and passwords in files are turned under running programs: each takes the new one without a restart, and no work is given up."""
import os

import pytest
from shelfwire import ALMA_KEY, FOLIO_PASSWORD, GATE_PASSWORD, LIBCAL_SECRET, ONECLICK_TOKEN, READS, booked, keeps_true, local, wait_for
from test_folio import Folio
from test_oneclick import OneClick

NEW = "a-new-secret-of-the-scenario"


@pytest.fixture
def secret(world):
    """Writes a secret's file, in place or as another file in its stead; its path."""
    world.secrets.add(NEW)

    def write(name, value, in_place=False):
        path, fresh = world.folder / name, world.folder / f"{name}.fresh"
        (path if in_place else fresh).write_text(value + "\n")
        if not in_place:
            os.rename(fresh, path)
        return path
    return write


@pytest.mark.parametrize("order", ["the vendor first", "the file first"])
@pytest.mark.parametrize("name", ["bookings-new", "users-resolve", "prereg-create"])
def test_a_secret_is_turned_under_a_running_worker(world, secret, name, order):
    alma = name == "bookings-new"
    variable, old = ("ALMA_API_KEYS", ALMA_KEY) if alma else ("PASSAGEPOINT_PASSWORD", GATE_PASSWORD)
    call = {"bookings-new": ("alma", "user"), "users-resolve": ("passagepoint", "createVisitor"),
            "prereg-create": ("passagepoint", "createPreReg")}[name]
    windows = world.make_windows(60, 60, topic=READS[name], send=False)
    worker = world.start(name, **{variable: None, variable + "_FILE": secret(variable, old), "CONCURRENCY": 4})
    world.send(READS[name], windows[:20])
    world.await_no_lag(name)

    def turn_vendor():
        if alma:
            world.sandbox.settings(alma={"keys": {NEW: "1"}})
        else:
            world.sandbox.settings(passagepoint={"password": NEW})
            world.sandbox.fault("passagepoint", call[1], "unauthorized", count=1)  # and the token in hand ends

    if order == "the vendor first":
        turn_vendor()
        world.send(READS[name], windows[20:40])
        wait_for(lambda: worker.metric("shelfwire_vendor_credentials_refused") == 1, "it is not refused" + worker.tail())
        keeps_true(lambda: world.desk() == [], "something was given up", 1)
        secret(variable, NEW)
    else:
        secret(variable, NEW, in_place=True)
        if not alma:  # the token in hand is good: nobody asks before it ends
            turn_vendor()
        else:
            world.sandbox.settings(alma={"keys": {ALMA_KEY: "1", NEW: "1"}})  # as both are for a while
            worker.await_log(f"{variable} was read again")
            turn_vendor()
        world.send(READS[name], windows[20:40])
    world.await_no_lag(name, timeout=15)
    world.send(READS[name], windows[40:])
    world.await_no_lag(name)
    assert worker.running() and f"{variable} was read again" in worker.log()
    assert worker.metric("shelfwire_vendor_credentials_refused") == 0
    assert world.sandbox.count(*call, "effects") == (0 if alma else 60)
    world.assert_no_dead_letters()
    assert world.desk() == []


def test_a_file_that_is_gone_or_empty_leaves_the_old_secret(world, secret):
    path = secret("gate", GATE_PASSWORD)
    worker = world.start("prereg-create", PASSAGEPOINT_PASSWORD=None, PASSAGEPOINT_PASSWORD_FILE=path)
    path.write_text("")
    worker.await_log("is empty; the value it had stays")
    path.unlink()
    world.make_windows(5, topic="prereg.create")
    world.await_made(5)
    world.sandbox.settings(passagepoint={"password": NEW})
    secret("gate", NEW)
    worker.await_log("PASSAGEPOINT_PASSWORD was read again")


def test_libcals_secret_is_turned_under_the_producer(world, secret):
    path = secret("libcal", LIBCAL_SECRET)
    world.sandbox.settings(libcal={"token_seconds": 3})
    who, = world.make_people(1)
    producer = world.start("libcal-bookings", LIBCAL_CLIENT_SECRET=None, LIBCAL_CLIENT_SECRET_FILE=path, LIBCAL_POLL_SECONDS=600)
    wait_for(lambda: world.sandbox.count("libcal", "bookings"), "it does not poll")
    world.sandbox.settings(libcal={"client_secret": NEW})
    world.sandbox.admin("POST", "/libcal/bookings", [booked("cs_1", who, local("10:00"), local("11:00"))])
    before = world.sandbox.count("libcal", "bookings", "200")
    secret("libcal", NEW)
    wait_for(lambda: world.db.one("SELECT count(*) FROM appts WHERE sent_at IS NOT NULL") == 1,
             lambda: "with the new secret it does not look at once" + producer.tail(), 15)
    assert world.sandbox.count("libcal", "bookings", "200") > before


def test_tokens_and_passwords_of_those_who_ask_for_patrons(world, secret):
    folio, oneclick = Folio(world), OneClick(world)
    at_folio = world.start("folio-requests", FOLIO_PASSWORD=None, FOLIO_PASSWORD_FILE=secret("folio", FOLIO_PASSWORD))
    at_oneclick = oneclick.start(ONECLICK_TOKEN=None, ONECLICK_TOKEN_FILE=secret("oneclick", ONECLICK_TOKEN))
    card, _ = oneclick.someone()
    oneclick.done("loans", card)
    world.sandbox.settings(folio={"password": NEW}, oneclick={"token": NEW})
    folio.fault("account", "unauthorized", count=1)
    asked = [folio.one("renew", folio.someone()), oneclick.want("loans", card)]
    for worker in (at_folio, at_oneclick):
        wait_for(lambda: worker.metric("shelfwire_vendor_credentials_refused") == 1, lambda: "it is not refused" + worker.tail())
    secret("folio", NEW)
    secret("oneclick", NEW)
    for request in asked:
        folio.await_state(request, "done", timeout=60)


def test_postgresqls_password_is_another_at_the_next_connection(world, secret):
    env = world.servers.postgres.env
    settings = {"PGHOST": "127.0.0.1", "PGPASSWORD": None, "PGPASSWORD_FILE": secret("pg", env["PGPASSWORD"])}
    programs = [world.start("prereg-create", **settings), world.start(
        "libcal-bookings", LIBCAL_LOCATIONS="1235", PASSAGEPOINT_DESTINATIONS='{"1235": "Second Door"}', **settings)]
    try:
        world.db.rows(f"ALTER ROLE {env['PGUSER']} PASSWORD '{NEW}'")
        world.db.rows("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s AND application_name <> 'scenario'", world.db.name)
        for p in programs:
            wait_for(lambda: p.get("/readyz").status_code == 503, "the old password is still good")
            p.await_log("password authentication failed")
        secret("pg", NEW)
        world.make_windows(5, topic="prereg.create")
        world.await_made(5)
        for p in programs:
            wait_for(lambda: p.get("/readyz").status_code == 200, lambda: p.get("/readyz").text + p.tail())
    finally:
        for p in programs:
            p.stop()
        world.db.rows(f"ALTER ROLE {env['PGUSER']} PASSWORD '{env['PGPASSWORD']}'")

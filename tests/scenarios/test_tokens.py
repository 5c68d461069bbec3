"""Tokens expire in the middle of anything; log-ins are few, one at a time, and no result is lost over them."""
import pytest
from shelfwire import keeps_true, wait_for


def logins(world):
    return world.sandbox.counts()["logins"]


def assert_one_login_at_a_time(world, programs=1):
    assert world.sandbox.counts()["max_logins_at_once"] <= programs


def test_tokens_that_expire_in_the_middle_lose_no_result(world):
    world.sandbox.settings(passagepoint={"token_seconds": 0.6, "latency_ms": 40})
    world.make_windows(150, 150, topic="users.resolve")
    world.start("users-resolve", CONCURRENCY=4)
    world.start("prereg-create", CONCURRENCY=4)
    world.await_made(150)
    world.await_no_lag("users-resolve", "prereg-create")
    refused = sum(world.sandbox.count("passagepoint", call, "401") for call in ("createVisitor", "createPreReg"))
    assert refused > 0 and logins(world) >= 4
    assert_one_login_at_a_time(world, programs=2)
    world.assert_exactly_once()
    world.assert_no_dead_letters()
    assert world.desk() == [] and not world.db.one("SELECT count(*) FROM appts WHERE maybe_made")


@pytest.mark.parametrize("name", ["users-resolve", "prereg-create"])
def test_a_token_refused_during_the_call_is_not_done_and_the_call_is_made_once_logged_in(world, name):
    """The vendor takes 300 ms: eight calls are under way when the token is revoked, and some come after it."""
    topic = {"users-resolve": "users.resolve", "prereg-create": "prereg.create"}[name]
    call = {"users-resolve": "createVisitor", "prereg-create": "createPreReg"}[name]
    world.make_windows(30, 30, topic=topic)
    world.sandbox.fault("passagepoint", call, "unauthorized", count=12, skip=6)
    world.start(name, CONCURRENCY=8)
    world.await_no_lag(name)
    assert world.sandbox.count("passagepoint", call, "401") == 12
    assert_one_login_at_a_time(world)
    assert logins(world) <= 8
    if name == "users-resolve":
        world.start("prereg-create")
    world.await_made(30)
    world.assert_exactly_once()
    assert world.desk() == [] and not world.db.one("SELECT count(*) FROM appts WHERE maybe_made")


@pytest.mark.parametrize("name, call", [("users-resolve", "createVisitor"), ("prereg-create", "createPreReg")])
def test_a_token_refused_for_ever_is_said_and_log_ins_are_few(world, name, call):
    world.make_windows(20, 20, topic={"users-resolve": "users.resolve", "prereg-create": "prereg.create"}[name])
    world.sandbox.fault("passagepoint", call, "unauthorized")
    worker = world.start(name, TRIES_MAX=1, CONCURRENCY=8)
    worker.await_log("is another program using this account?")
    keeps_true(lambda: not world.db.one("SELECT count(*) FROM appts WHERE answer IS NOT NULL"), "something was given up", 3)
    assert "is another program using this account?" in worker.get("/readyz").text
    assert worker.get("/healthz").status_code == 200
    assert logins(world) <= 6 and world.sandbox.count("passagepoint", call) <= 6 * 8
    assert_one_login_at_a_time(world)
    world.sandbox.heal()
    world.await_no_lag(name)
    if name == "users-resolve":
        world.start("prereg-create")
    world.await_made(20)
    world.assert_exactly_once()
    world.assert_no_dead_letters()


def test_two_programs_on_one_account_whose_tokens_drive_each_other_out_still_finish(world):
    world.sandbox.settings(passagepoint={"one_token": True})
    world.make_windows(40, 40, topic="users.resolve")
    world.start("users-resolve", CONCURRENCY=2)
    world.start("prereg-create", CONCURRENCY=2)
    world.await_made(40)
    world.assert_exactly_once()
    assert world.desk() == []
    assert_one_login_at_a_time(world, programs=2)


def test_a_wrong_password_is_said_and_mends_itself(world):
    world.sandbox.settings(passagepoint={"password": "changed"})
    world.make_windows(5, 5, topic="prereg.create")
    worker = world.start("prereg-create")
    worker.await_log("PassagePoint refuses the user name or password")
    keeps_true(lambda: not world.db.one("SELECT count(*) FROM appts WHERE answer IS NOT NULL"), "something was given up", 2)
    assert logins(world) <= 5
    assert "not logged in" in worker.get("/readyz").text
    world.sandbox.settings(passagepoint={"password": "sandbox-pp-password"})
    world.await_made(5)
    world.assert_exactly_once()
    world.assert_no_dead_letters()


@pytest.mark.parametrize("kind, members", [("status", {"status": 500}), ("drop_before", {}), ("not_json", {})])
def test_a_log_in_that_fails_twice_is_tried_again(world, kind, members):
    world.sandbox.fault("passagepoint", "login", kind, count=2, **members)
    world.make_windows(5, 5, topic="prereg.create")
    world.start("prereg-create")
    world.await_made(5)
    wait_for(lambda: logins(world) <= 3, "too many log-ins", 1)
    world.assert_exactly_once()

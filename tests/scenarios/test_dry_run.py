"""DRY_RUN=1: everything is read, decided and shown, nothing is changed at a vendor; a run in earnest then does all of the work, once."""
import collections

import confluent_kafka
from shelfwire import READS, STAGES, booked, keeps_true, local, wait_for
from test_folio import Folio
from test_oneclick import OneClick
from test_wise import Wise

CHANGES = {"passagepoint": ("createVisitor", "createPreReg"),
           "folio": ("renew", "holdItem", "holdInstance", "cancelHold", "deleteHold", "changeHold"),
           "wise": ("place", "place_several", "cancel"),
           "oneclick": ("create", "checkout", "renew", "return", "hold", "cancel_hold", "magazine", "magazine_return")}


def changes(world):
    """How many calls that change something have reached a vendor."""
    return sum(world.sandbox.count(vendor, call) for vendor, calls in CHANGES.items() for call in calls)


def await_read(world, name):
    """The dry run's own group has finished its topic."""
    group, topic = f"{world.prefix}{name}-dry-run", world.topic(READS[name])

    def lag():
        with world.consumer(group) as c:
            at = [confluent_kafka.TopicPartition(topic, p) for p in c.list_topics(topic, timeout=20).topics[topic].partitions]
            return sum(c.get_watermark_offsets(tp, timeout=20)[1] - max(tp.offset, 0) for tp in c.committed(at, timeout=20))
    wait_for(lambda: lag() == 0, lambda: f"{group} lags by {lag()}" + "".join(p.tail() for p in world.programs if p.running()), every=0.2)


def not_called(world):
    """{call: how often the history says that a dry run has not made it}"""
    return dict(world.db.rows("SELECT call, count(*) FROM attempts WHERE verdict = 'dry_run' GROUP BY call"))


def committed(world, name):
    with world.consumer(world.prefix + name) as c:
        topic = world.topic(READS[name])
        at = [confluent_kafka.TopicPartition(topic, p) for p in c.list_topics(topic, timeout=20).topics[topic].partitions]
        return sum(max(tp.offset, 0) for tp in c.committed(at, timeout=20))


def test_bookings_go_all_the_way_and_nobody_is_made_at_the_gate(world):
    people = world.make_people(6)
    nobody = booked("cs_nobody", "G00000099", local("10:00"), local("11:00"))
    world.sandbox.admin("PUT", "/libcal/bookings", [
        *[booked(f"cs_{p.number}", p, local("10:00"), local("11:00")) for p in people], nobody])
    dry = [world.start("libcal-bookings", DRY_RUN=1), *world.start_all(DRY_RUN=1)]
    for p in dry:
        ready = p.get("/readyz")
        assert ready.status_code == 200 and "dry run" in ready.text, ready.text
    wait_for(lambda: not_called(world) == {"createVisitor": 6, "createPreReg": 6}, lambda: f"{not_called(world)}")
    for name in ("users-resolve", "prereg-create"):
        await_read(world, name)
        assert committed(world, name) == 0, "the group that works has moved"
    assert changes(world) == 0 and world.sandbox.counts()["logins"] >= 2
    assert dry[2].metrics()["shelfwire_dry_run_calls_total"] == {'vendor="passagepoint",call="createVisitor"': 6}
    assert "dry run: createPreReg is not called for" in dry[3].log()
    assert world.db.one("SELECT count(*) FROM intents") == 0 and world.db.one("SELECT count(*) FROM partition_owners") == 0
    assert world.db.one("SELECT count(*) FROM users WHERE visitor_id IS NOT NULL") == 0
    assert world.db.rows("SELECT booking_id, answer FROM appts WHERE answer IS NOT NULL") == [("cs_nobody", "unknown_id")], (
        "what Alma says is so, and is written; what the gate would say is not known")
    for p in dry:
        p.stop()

    world.start("libcal-bookings")
    world.start_all()
    world.await_made(6)
    world.await_no_lag()
    assert len(world.sandbox.preregs()) == len(world.sandbox.visitors()) == 6 and changes(world) == 12
    assert world.db.one("SELECT count(*) FROM attempts WHERE code = 'visitor_gone'") == 0, "what a dry run had sent on was taken for work"
    assert world.desk() == [("unknown_id", world.db.one("SELECT appt_id::text FROM appts WHERE booking_id = 'cs_nobody'"))]
    world.assert_no_dead_letters()


def test_a_dry_run_beside_one_in_earnest_disturbs_nothing(world):
    world.sandbox.settings(passagepoint={"latency_ms": 20})
    world.make_windows(200, 50, topic="users.resolve", send=False)
    dry = [world.start(name, DRY_RUN=1) for name in ("users-resolve", "prereg-create")]
    real = [world.start(name) for name in ("users-resolve", "prereg-create")]
    world.send("users.resolve", world.windows_made)
    world.await_made(200)
    world.await_no_lag("users-resolve", "prereg-create")
    for p in dry:
        await_read(world, p.name)
    assert not any("another worker took" in p.log() for p in dry + real)
    world.assert_exactly_once()
    world.assert_in_order()
    world.assert_no_dead_letters()
    assert world.desk() == []


def test_what_nobody_can_read_is_set_aside_once_and_in_earnest(world):
    world.make_topics("prereg.create", "prereg.create.dlq")
    world.produce_raw("prereg.create", "k", "no json")
    dry = world.start("prereg-create", DRY_RUN=1)
    dry.await_log("dry run: it would be set aside")
    await_read(world, "prereg-create")
    assert world.dead_letters("prereg.create") == []
    dry.stop()
    world.start("prereg-create")
    world.await_no_lag("prereg-create")
    assert len(world.dead_letters("prereg.create")) == 1


def ask_everything(world):
    """{request id: its action}, of every action of every service that changes something, and one that does not."""
    folio, wise, oneclick = Folio(world), Wise(world), OneClick(world)
    asked = {}
    for n, action in enumerate(("account", "renew", "hold_item", "hold_instance", "cancel_hold"), 1):
        asked[folio.one(action, folio.someone(), n)] = action
    asked[wise.hold(wise.someone())] = "hold"
    asked[wise.holds(wise.someone())] = "holds"
    who = wise.someone()
    asked[wise.want("cancel_hold", who, hold=str(wise.loaded(who, "4595")))] = "cancel_hold"
    card, number = oneclick.someone()
    oneclick.lend(number, oneclick.b)
    oneclick.hold(number, oneclick.c)
    for action, of in (("checkout", {"isbn": oneclick.a}), ("renew", {"isbn": oneclick.b}), ("return", {"isbn": oneclick.b}),
                       ("cancel_hold", {"isbn": oneclick.c}), ("magazine_checkout", {"issue": "4711"}), ("loans", {})):
        asked[oneclick.want(action, card, **of)] = action
    asked[oneclick.want("checkout", oneclick.card(), isbn=oneclick.d, create=True)] = "checkout"
    return folio, asked


def test_what_patrons_ask_for_is_asked_about_and_not_done(world):
    folio, asked = ask_everything(world)
    settings = {"ONECLICK_EMAIL": "library@example.edu", "ONECLICK_FOLLOW_SECONDS": 1}
    names = ("folio-requests", "wise-holds-prepare", "wise-holds-place", "oneclick-requests")
    before = changes(world)  # what the patrons have done without us
    dry = [world.start(name, DRY_RUN=1, **settings) for name in names]
    want = collections.Counter(renew=2, holdItem=1, holdInstance=1, cancelHold=3, placeHold=1, placeHolds=1, checkout=1, magazineCheckout=1,
                               createPatron=1, **{"return": 1})
    wait_for(lambda: not_called(world) == want, lambda: f"{not_called(world)}")
    for name in names:
        if name != "wise-holds-prepare":  # only reads, and works as ever
            await_read(world, name)
    assert changes(world) == before
    assert {state for state, in world.db.rows("SELECT DISTINCT state FROM requests")} == {"accepted"}
    for p in dry:
        p.stop()
    for name in names:
        world.start(name, **settings)
    folio.await_all()
    states = dict(world.db.rows("SELECT request_id::text, state FROM requests"))
    assert {request: state for request, state in states.items() if state != "done"} == {}, world.db.rows(
        "SELECT service, action, state, code FROM requests WHERE state <> 'done'")
    assert states.keys() == asked.keys()
    world.await_no_lag(*names)
    assert changes(world) == before + sum(want.values()) + 1, "the checkout behind the patron that was made"


def test_what_became_of_a_lost_answer_is_asked_once_in_a_dry_run(world):
    folio = Folio(world)
    lost = folio.fault("renew", "drop_before")
    request = folio.one("renew", folio.someone())
    (worker,) = folio.start(FOLIO_TIMEOUT_MS=300)
    wait_for(lambda: folio.sandbox.fired(lost) and folio.row(request)["state"] == "waiting", "no answer was lost")
    worker.kill9()
    folio.sandbox.heal()
    row, made = folio.row(request), folio.sandbox.count("folio", "renew")
    world.start("folio-requests", DRY_RUN=1)
    wait_for(lambda: not_called(world) == {"renew": 1}, lambda: f"{not_called(world)}")
    await_read(world, "folio-requests")
    asked = folio.sandbox.count("folio", "account")
    keeps_true(lambda: folio.sandbox.count("folio", "account") == asked, "it asks again and again", 1)
    assert folio.sandbox.count("folio", "renew") == made
    assert world.db.one("SELECT state FROM intents") in ("taken", "unsure") and folio.row(request)["state"] == row["state"]
    world.start("folio-requests", FOLIO_TIMEOUT_MS=300)
    folio.await_state(request, "done")
    folio.assert_once({request: ("renew", row["patron"])})

"""Somebody is erased while everything runs: no byte of them comes back into PostgreSQL, and nothing is made twice."""
import pytest
from shelfwire import STAGES, booked, keeps_true, local, wait_for


def everything(world):
    """All rows of all tables, as a text."""
    tables = [t for t, in world.db.rows("SELECT c.oid::regclass::text FROM pg_class c WHERE relkind IN ('r', 'p') AND NOT relispartition"
                                        " AND relnamespace = 'public'::regnamespace")]
    return {t: "\n".join(r for r, in world.db.rows(f"SELECT x::text FROM {t} AS x")) for t in tables}


def where(world, person):
    values = (person.asked_id, person.barcode, person.first_name, person.last_name, person.email)
    return {t for t, text in everything(world).items() if any(v.lower() in text.lower() for v in values)}


def erase(world, given):
    return dict(world.db.rows("SELECT * FROM person_erase(%s, 'the desk')", given))


def await_polls(world, producer, count=2):
    def polls():
        return producer.metric("shelfwire_polls_total", 'outcome="ok"')
    before = polls()
    wait_for(lambda: polls() >= before + count, lambda: "it does not poll" + producer.tail())


def test_what_libcal_still_shows_of_an_erased_person_does_not_come_back(world):
    anna, bert = world.make_people(2)
    rows = [booked("cs_anna", anna, local("10:00"), local("11:00")), booked("cs_bert", bert, local("10:00"), local("11:00")),
            booked("cs_blank", "", local("12:00"), local("13:00"), email=anna.email, firstName=anna.first_name, lastName=anna.last_name)]
    world.sandbox.admin("PUT", "/libcal/bookings", rows)
    producer = world.start("libcal-bookings")
    world.start_all()
    world.await_made(2)
    wait_for(lambda: ("blank_id", "cs_blank") in world.desk(), "the blank one is not on the desk")
    world.await_no_lag()
    assert where(world, anna) >= {"users", "asked_ids", "appts", "bookings"}

    told = erase(world, anna.email)
    assert (told["users"], told["appts"], told["bookings"], told["to be withdrawn"]) == (1, 1, 2, 1)
    # the topics keep messages for 30 days, and their segments another week
    assert 36 < (told["kafka_until"] - world.db.one("SELECT extract(epoch FROM now())::float")) / 86400 < 38
    assert where(world, anna) == set()
    await_polls(world, producer, 3)
    assert where(world, anna) == set(), "the next poll brought them back"
    prereg = next(p["id"] for p in world.sandbox.preregs() if str(p["visitorId"]) == visitor_of(world, anna))
    assert world.db.rows("SELECT kind, reason FROM desk WHERE closed_at IS NULL") == [
        ("withdraw", f"withdraw at the gate: the person was erased; pre-registration {prereg}")]
    assert len(world.sandbox.preregs()) == 2, "something was made again"
    assert producer.metric("shelfwire_windows_total", 'change="made"') == 2, "what is left out is not even decided"

    # a booking that comes later is a booking like any other
    world.sandbox.admin("POST", "/libcal/bookings", [booked("cs_later", anna, local("15:00"), local("16:00"))])
    wait_for(lambda: len(world.sandbox.preregs()) == 3, "a new booking is not made")
    world.await_no_lag()
    assert len(world.sandbox.visitors()) == 2, "the gate knew the visitor"
    assert world.db.one("SELECT count(*) FROM appts WHERE booking_id = 'cs_anna'") == 1
    assert world.db.one("SELECT count(*) FROM bookings WHERE booking_id IN ('cs_anna', 'cs_blank')") == 0
    world.assert_no_dead_letters()


def visitor_of(world, person):
    return next(str(v["id"]) for v in world.sandbox.visitors() if v["uniqueId"] == person.barcode)


@pytest.mark.parametrize("name, vendor, call", [("bookings-new", "alma", "user"), ("users-resolve", "passagepoint", "createVisitor"),
                                                ("prereg-create", "passagepoint", "createPreReg")])
def test_somebody_is_erased_while_a_call_for_them_is_under_way(world, name, vendor, call):
    """Alma is only read, so nobody waits for it; what the gate does must be written down first."""
    world.sandbox.settings(**{vendor: {"latency_ms": 1500}})
    anna, bert = world.make_people(2, STAGES[name])
    world.make_windows(1, [anna], topic=STAGES[name])
    worker = world.start(name, PASSAGEPOINT_TIMEOUT_MS=3000, PASSAGEPOINT_PREREG_TIMEOUT_MS=3000)
    wait_for(lambda: world.sandbox.count(vendor, call, "in_flight"), "no call is under way")

    def erased():
        try:
            return erase(world, anna.primary_id)
        except Exception as e:
            assert "ask again in" in str(e) and name != "bookings-new", e
            return None
    told = erased()
    if name == "bookings-new":
        assert told and world.sandbox.count(vendor, call, "in_flight"), "the call has ended: this shows nothing"
    else:
        assert told is None and where(world, anna)
        told = wait_for(erased, "never erased", every=0.2)
    assert told["appts"] == 1
    world.await_no_lag(name)
    assert where(world, anna) == set()
    made = world.sandbox.count(vendor, call, "effects")
    assert told["to be withdrawn"] == (made if name == "prereg-create" else 0)
    world.sandbox.settings(**{vendor: {"latency_ms": 0}})
    for rest in list(STAGES)[list(STAGES).index(name) + 1:]:  # what is on its way ends there
        world.start(rest)
        world.await_no_lag(rest)
    keeps_true(lambda: where(world, anna) == set(), "they came back", 1)
    assert len(world.sandbox.preregs()) == (name == "prereg-create")
    world.make_windows(1, [bert], topic=STAGES[name])
    world.await_no_lag(*list(STAGES)[list(STAGES).index(name):])
    assert where(world, bert), "nobody gets in any more: this shows nothing"

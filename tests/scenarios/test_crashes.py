"""kill -9 at every moment of a call, and again in the middle of thousands: nothing is lost, nothing done twice in silence."""
import pytest
from shelfwire import wait_for

COUNT, CONCURRENCY = 12, 4
CALL = {"users-resolve": "createVisitor", "prereg-create": "createPreReg"}
TOPIC = {"users-resolve": "users.resolve", "prereg-create": "prereg.create"}


class Stage:
    """One worker and what can be seen of its work."""

    def __init__(self, world, name, identity):
        self.world, self.name, self.call, self.identity = world, name, CALL[name], identity
        self.windows = world.make_windows(COUNT, COUNT, topic=TOPIC[name], send=False)

    def start(self, timeout_ms=1000, **more):
        timeouts = {"PASSAGEPOINT_TIMEOUT_MS": timeout_ms, "PASSAGEPOINT_PREREG_TIMEOUT_MS": timeout_ms}
        return self.world.start(self.name, CONCURRENCY=CONCURRENCY, **timeouts, **self.identity, **more)

    def send(self):
        self.world.send(TOPIC[self.name], self.windows)

    def rows(self):
        """Rows that say it was done."""
        return self.world.db.one("SELECT count(*) FROM appts WHERE prereg_id IS NOT NULL" if self.name == "prereg-create"
                                 else "SELECT count(*) FROM users WHERE visitor_id IS NOT NULL")

    def taken(self):
        return self.world.db.one("SELECT count(*) FROM intents WHERE stage = %s AND state = 'taken'", self.name)

    def in_doubt(self):
        """Intents left behind, once nothing that a dead worker sent to PostgreSQL can come late."""
        self.world.db.end_sessions()
        return self.taken()

    def at_gate(self, what):
        return self.world.sandbox.count("passagepoint", self.call, what)


def before_the_intent(stage):
    worker = stage.start()
    with stage.world.db.locked("intents"):
        stage.send()
        wait_for(stage.world.db.waiting, "no look-up waits for the lock" + worker.tail())
        worker.kill9()
        stage.world.db.end_sessions()
    assert stage.taken() == 0 and stage.at_gate("requests") == 0
    return 0


def after_the_intent_before_the_call(stage):
    worker = stage.start(PASSAGEPOINT_CALLS_PER_SECOND="0.2")  # a slot each five seconds
    stage.send()
    wait_for(lambda: stage.taken() >= CONCURRENCY - 1, "no intents wait for their slots" + worker.tail())
    worker.kill9()
    assert stage.at_gate("requests") <= 1
    return stage.in_doubt()


def after_the_request_left(stage):
    stage.world.sandbox.fault("passagepoint", stage.call, "stall", effect=True)
    worker = stage.start(timeout_ms=4000)
    stage.send()
    wait_for(lambda: stage.at_gate("in_flight") == CONCURRENCY, "no calls under way" + worker.tail())
    worker.kill9()
    stage.world.sandbox.heal()
    assert stage.at_gate("effects") == CONCURRENCY and stage.rows() == 0
    return CONCURRENCY


def after_the_answer_before_the_commit(stage):
    worker = stage.start()
    with stage.world.db.locked("appts" if stage.name == "prereg-create" else "users", "SHARE"):
        stage.send()
        wait_for(lambda: stage.at_gate("200") >= 1 and stage.world.db.waiting(), "no outcome waits for the lock" + worker.tail())
        worker.kill9()
        stage.world.db.end_sessions()
    assert stage.rows() == 0
    return stage.in_doubt()


def after_the_commit_before_kafka_heard_of_it(stage):
    stage.world.sandbox.fault("passagepoint", stage.call, "stall")
    worker = stage.start(timeout_ms=4000, KAFKA_AUTO_COMMIT_INTERVAL_MS=60000)  # nothing waits in a socket
    stage.send()
    wait_for(lambda: stage.at_gate("in_flight") == CONCURRENCY, "no calls under way" + worker.tail())
    with stage.world.servers.kafka_frozen():
        stage.world.sandbox.heal()
        wait_for(lambda: stage.rows() >= CONCURRENCY, "nothing is recorded while Kafka is silent" + worker.tail())
        worker.kill9()
    assert stage.world.lag(stage.name) == COUNT
    return stage.in_doubt()


def after_all_before_the_offset(stage):
    worker = stage.start(KAFKA_AUTO_COMMIT_INTERVAL_MS=60000)
    stage.send()
    wait_for(lambda: stage.rows() == COUNT, "not all is done" + worker.tail())
    worker.kill9()
    assert stage.world.lag(stage.name) == COUNT, "an offset was committed: this test shows nothing"
    return stage.in_doubt()


MOMENTS = [before_the_intent, after_the_intent_before_the_call, after_the_request_left, after_the_answer_before_the_commit,
           after_the_commit_before_kafka_heard_of_it, after_all_before_the_offset]
NAMED = {"KAFKA_GROUP_INSTANCE_ID": "one"}
NAMELESS = {"KAFKA_SESSION_TIMEOUT_MS": 3000, "KAFKA_HEARTBEAT_INTERVAL_MS": 500}
CASES = [pytest.param(m, NAMED, id=m.__name__) for m in MOMENTS] + [
    pytest.param(after_the_request_left, NAMELESS, id="after_the_request_left_by_a_worker_without_a_name", marks=pytest.mark.slow)]


@pytest.mark.parametrize("moment, identity", CASES)
def test_a_killed_users_resolve_makes_each_visitor_once(world, moment, identity):
    stage = Stage(world, "users-resolve", identity)
    moment(stage)
    assert world.lag("users-resolve") > 0
    stage.start()
    world.await_no_lag("users-resolve")
    world.start("prereg-create")
    world.await_made(COUNT)
    world.await_no_lag("users-resolve", "prereg-create")
    world.assert_exactly_once()
    world.assert_no_dead_letters()
    assert world.desk() == []


@pytest.mark.parametrize("moment, identity", CASES)
def test_a_killed_prereg_create_holds_what_nobody_can_know(world, moment, identity):
    stage = Stage(world, "prereg-create", identity)
    in_doubt = moment(stage)
    assert in_doubt <= CONCURRENCY, "intents were written ahead of calls that cannot be asked about"
    assert world.lag("prereg-create") > 0
    stage.start()
    world.await_no_lag("prereg-create")
    world.assert_never_twice()
    world.assert_no_dead_letters()
    unknown = world.db.rows("SELECT appt_id::text FROM appts WHERE answer = 'unknown'")
    assert len(unknown) <= in_doubt, world.answers()
    assert world.answers().get("made", 0) + len(unknown) == COUNT, world.answers()
    assert sorted(world.desk()) == sorted(("unknown", appt_id) for appt_id, in unknown)
    world.assert_exactly_once([]) if not world.made() else check_rows(world, unknown)


def check_rows(world, unknown):
    """Each made row is one of the gate's; what the gate has besides belongs to rows that say unknown."""
    held = {appt_id for appt_id, in unknown}
    ids = {str(p["id"]) for p in world.sandbox.preregs()}
    rows = {r for r, in world.db.rows("SELECT prereg_id FROM appts WHERE prereg_id IS NOT NULL")}
    assert rows <= ids and len(ids) - len(rows) <= len(held)


def test_a_killed_prereg_create_that_may_repeat_says_so(world):
    stage = Stage(world, "prereg-create", NAMED)
    after_the_request_left(stage)
    stage.start(PASSAGEPOINT_ON_UNKNOWN="repeat")
    world.await_made(COUNT)
    world.await_no_lag("prereg-create")
    marked = {r for r, in world.db.rows("SELECT appt_id::text FROM appts WHERE maybe_made")}
    assert len(marked) == CONCURRENCY
    assert len(world.sandbox.preregs()) == COUNT + CONCURRENCY
    assert sorted(world.desk()) == sorted(("maybe_twice", appt_id) for appt_id in marked)
    twice = [p for p in world.sandbox.preregs() if p["again"]]
    visitor = dict(world.db.rows("SELECT visitor_id, maybe_made FROM appts"))
    assert len(twice) == CONCURRENCY and all(visitor[p["visitorId"]] for p in twice), "a duplicate that no row admits"


def killed_thrice(world, name, count, **settings):
    """Starts it, kills it at a quarter, a half and three quarters of the work, and lets the last one finish."""
    for part in (0.25, 0.5, 0.75):
        worker = world.begin(name, KAFKA_GROUP_INSTANCE_ID="one", **settings)
        wait_for(lambda: world.sandbox.count("passagepoint", CALL[name]) >= count * part, lambda: "too slow" + worker.tail(), 60)
        worker.kill9()
    world.start(name, KAFKA_GROUP_INSTANCE_ID="one", **settings)
    world.await_no_lag(name, timeout=60)


@pytest.mark.slow
def test_three_kills_over_three_thousand_people_lose_and_repeat_no_visitor(world):
    world.sandbox.settings(passagepoint={"latency_ms": 30})
    world.make_windows(3000, 3000, topic="users.resolve")
    killed_thrice(world, "users-resolve", 3000, CONCURRENCY=50)
    cards = [v["uniqueId"] for v in world.sandbox.visitors()]
    assert len(cards) == len(set(cards)) == 3000
    assert dict(world.db.rows("SELECT visitor_barcode, visitor_id FROM users")) == {
        v["uniqueId"]: str(v["id"]) for v in world.sandbox.visitors()}
    assert {m.json()["appt_id"] for m in world.read_topic("prereg.create")} == {w.appt_id for w in world.windows_made}
    world.assert_no_dead_letters()


@pytest.mark.slow
def test_three_kills_over_three_thousand_windows_leave_no_more_in_doubt_than_was_in_flight(world):
    world.sandbox.settings(passagepoint={"latency_ms": 15})
    world.make_windows(3000, 3000, topic="prereg.create")
    killed_thrice(world, "prereg-create", 3000, CONCURRENCY=20)
    world.assert_never_twice()
    world.assert_no_dead_letters()
    unknown = world.db.rows("SELECT appt_id::text FROM appts WHERE answer = 'unknown'")
    assert world.answers().get("made", 0) + len(unknown) == 3000, world.answers()
    assert len(unknown) <= 3 * 20, f"{len(unknown)} in doubt after three kills with 20 calls in flight"
    assert sorted(world.desk()) == sorted(("unknown", appt_id) for appt_id, in unknown)
    check_rows(world, unknown)

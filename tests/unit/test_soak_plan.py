"""The plan of a soak: a seed repeats it, and it has all kinds of trouble in the numbers that were asked for."""
import collections
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from fires import soak_plan  # noqa: E402


def test_a_seed_repeats_the_plan_and_another_makes_another():
    assert soak_plan.make(7, 50, 6, 3) == soak_plan.make(7, 50, 6, 3) != soak_plan.make(8, 50, 6, 3)


def test_it_has_every_kind_and_as_many_kills_as_were_asked_for():
    for kills in (12, 1000):
        events = soak_plan.make(1, kills, 6, 3)
        counts = collections.Counter(e.kind for e in events)
        assert counts["kill"] == kills and set(counts) == set(soak_plan.KINDS) and counts["add"] == counts["remove"]
        assert [e.at for e in events] == sorted(e.at for e in events) and 0 < events[0].at <= events[-1].at < 1
        killed = {e.whom for e in events if e.kind == "kill"}
        assert killed <= set(soak_plan.copies(3)) and (kills < 1000 or killed == set(soak_plan.copies(3)))


def test_what_is_frozen_sleeps_for_longer_than_its_session_and_what_is_added_leaves_later():
    events = soak_plan.make(3, 300, 6, 5)
    assert all(e.seconds > 6 for e in events if e.kind == "freeze")
    there = collections.Counter()
    for e in events:
        there[e.whom] += {"add": 1, "remove": -1}.get(e.kind, 0)
        assert there[e.whom] >= 0

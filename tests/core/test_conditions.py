"""Which route's rules hold: by kind, needs, budget, time of day and tags."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from gateway.core.candidate import Signals
from gateway.core.catalog import Capability
from gateway.core.conditions import rules_in_force
from gateway.core.question import Question, answer
from gateway.core.route import Hours, Route, StepDown, When
from gateway.core.world import Caller, World
from gateway.policies import POLICIES
from tests.core.market import ALL, MARKET, NOW, chat

UTC_ZONE, PARIS = ZoneInfo("UTC"), ZoneInfo("Europe/Paris")
EVERY_DAY, MONDAY, FRIDAY, SUNDAY = frozenset(range(7)), frozenset({0}), frozenset({4}), frozenset({6})
OTHER = Route("other", POLICIES["best"], ALL, kind="code")
TOOLS = chat(
    b'{"model":"auto","messages":[{"role":"user","content":"x"}],"tools":[{"type":"function","function":{"name":"f"}}]}'
)


def rules(*conditions: When, request=None, tags=None, **signals) -> Route:
    route = Route("auto", POLICIES["cheapest"], ALL, when=conditions)
    routes = {"auto": route, "other": OTHER, "third": Route("third", POLICIES["value"], ALL)}
    return rules_in_force(route, routes, request or chat(), tags or {}, Signals(**{"now": NOW, **signals}))


def holds(condition: When, **asked) -> bool:
    return rules(condition, **asked).policy.name == "best"


def test_the_rules_of_another_route_hold_under_the_name_of_this_one():
    route = rules(When("other", needs=frozenset({Capability.TOOLS})), request=TOOLS)

    assert (route.name, route.policy.name, route.kind, route.when) == ("auto", "best", "code", ())


def test_the_first_condition_that_holds_counts():
    late = When("third", used_from_percent=50)
    early = When("other", used_from_percent=90)

    assert rules(early, late, used_percent=95).policy.name == "best"
    assert rules(early, late, used_percent=60).policy.name == "value"
    assert rules(early, late, used_percent=10).policy.name == "cheapest"


def test_everything_that_a_condition_says_must_hold_at_once():
    both = When("other", needs=frozenset({Capability.TOOLS}), used_from_percent=80)

    assert holds(both, request=TOOLS, used_percent=80)
    assert not holds(both, request=TOOLS, used_percent=79)
    assert not holds(both, used_percent=80)


def test_a_kind_holds_when_it_is_what_the_request_most_likely_is():
    condition = When("other", kinds=frozenset({"code", "maths"}))

    assert holds(condition, kinds={"code": 0.5, "chat": 0.3, "maths": 0.2})
    assert not holds(condition, kinds={"chat": 0.4, "code": 0.3, "maths": 0.3})
    assert not holds(condition)  # nothing was seen


def test_all_tags_of_a_condition_must_be_there():
    condition = When("other", tags={"tier": "gold", "stage": "test"})

    assert holds(condition, tags={"tier": "gold", "stage": "test", "more": "x"})
    assert not holds(condition, tags={"tier": "gold"})
    assert not holds(condition, tags={"tier": "silver", "stage": "test"})


@pytest.mark.parametrize(
    ("hours", "at", "expected"),
    [
        # within one day: the start is in, the end is out
        (Hours(9 * 60, 12 * 60, EVERY_DAY, UTC_ZONE), "2026-11-23T08:59:59", False),
        (Hours(9 * 60, 12 * 60, EVERY_DAY, UTC_ZONE), "2026-11-23T09:00:00", True),
        (Hours(9 * 60, 12 * 60, EVERY_DAY, UTC_ZONE), "2026-11-23T11:59:59", True),
        (Hours(9 * 60, 12 * 60, EVERY_DAY, UTC_ZONE), "2026-11-23T12:00:00", False),
        (Hours(0, 24 * 60, MONDAY, UTC_ZONE), "2026-11-23T23:59:59", True),
        (Hours(0, 24 * 60, MONDAY, UTC_ZONE), "2026-11-24T00:00:00", False),
        # over midnight: the day is that of the beginning (2026-11-27 is a Friday)
        (Hours(22 * 60, 6 * 60, FRIDAY, UTC_ZONE), "2026-11-27T21:59:00", False),
        (Hours(22 * 60, 6 * 60, FRIDAY, UTC_ZONE), "2026-11-27T22:00:00", True),
        (Hours(22 * 60, 6 * 60, FRIDAY, UTC_ZONE), "2026-11-28T05:59:00", True),
        (Hours(22 * 60, 6 * 60, FRIDAY, UTC_ZONE), "2026-11-28T06:00:00", False),
        (Hours(22 * 60, 6 * 60, FRIDAY, UTC_ZONE), "2026-11-27T05:00:00", False),
        (Hours(22 * 60, 6 * 60, SUNDAY, UTC_ZONE), "2026-11-23T03:00:00", True),  # Monday, of Sunday's night
        (Hours(8 * 60, 0, MONDAY, UTC_ZONE), "2026-11-23T23:59:00", True),
        (Hours(8 * 60, 0, MONDAY, UTC_ZONE), "2026-11-24T00:00:00", False),
        # another zone: one hour before UTC in winter, two in summer
        (Hours(22 * 60, 6 * 60, EVERY_DAY, PARIS), "2026-11-23T21:00:00", True),
        (Hours(22 * 60, 6 * 60, EVERY_DAY, PARIS), "2026-07-01T20:00:00", True),
        (Hours(22 * 60, 6 * 60, EVERY_DAY, PARIS), "2026-11-23T20:00:00", False),
        (Hours(0, 24 * 60, MONDAY, PARIS), "2026-11-22T23:30:00", True),  # Monday there, Sunday here
        # clocks go forward on 2026-03-29 at 01:00 UTC: 02:00 to 03:00 is no hour of that day
        (Hours(2 * 60, 3 * 60, EVERY_DAY, PARIS), "2026-03-29T00:59:59", False),
        (Hours(2 * 60, 3 * 60, EVERY_DAY, PARIS), "2026-03-29T01:00:00", False),
        (Hours(3 * 60, 4 * 60, EVERY_DAY, PARIS), "2026-03-29T01:00:00", True),
        # and back on 2026-10-25 at 01:00 UTC: 02:00 to 03:00 comes twice
        (Hours(2 * 60, 3 * 60, EVERY_DAY, PARIS), "2026-10-25T00:30:00", True),
        (Hours(2 * 60, 3 * 60, EVERY_DAY, PARIS), "2026-10-25T01:30:00", True),
        (Hours(2 * 60, 3 * 60, EVERY_DAY, PARIS), "2026-10-25T02:00:00", False),
    ],
)
def test_hours_hold_by_the_clock_of_their_zone(hours, at, expected):
    assert holds(When("other", hours=hours), now=datetime.fromisoformat(at).replace(tzinfo=UTC)) is expected


def test_a_step_down_of_the_route_itself_holds_where_no_condition_does():
    route = Route(
        "auto", POLICIES["cheapest"], ALL,
        when=(When("other", tags={"a": "b"}),), step_down=StepDown(80, "third"),
    )  # fmt: skip
    routes = {"auto": route, "other": OTHER, "third": Route("third", POLICIES["value"], ALL)}
    world = World("1", MARKET, routes, {})

    def policy(tags, used):
        question = Question(route, chat(), Caller("t", "k"), Signals(now=NOW, used_percent=used), tags=tags)
        decision = answer(question, world)
        assert decision.route.name == "auto"
        return decision.route.policy.name

    assert policy({}, 79) == "cheapest"
    assert policy({}, 80) == "value"
    assert policy({"a": "b"}, 80) == "best"

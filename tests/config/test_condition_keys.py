"""Conditions of routes: what they become, every mistake they can hold, and what is said of those in vain."""

from zoneinfo import ZoneInfo

import pytest
from conffiles import FULL, KEYS, loaded, marked_lines, mistakes

from gateway.core.catalog import Capability
from gateway.core.route import Hours, When

EVERY_DAY = frozenset(range(7))


def test_conditions_are_what_their_keys_say_in_their_order(tmp_path):
    first, second, third = loaded(tmp_path, FULL, KEYS).world.routes["auto"].when

    assert first == When("home", frozenset({"code"}), frozenset({Capability.TOOLS, Capability.VISION}))
    assert second == When(
        "home",
        kinds=frozenset({"maths", "chat"}),
        used_from_percent=80,
        hours=Hours(22 * 60, 6 * 60, frozenset({0, 4}), ZoneInfo("Europe/Paris")),
        tags={"tier": "gold", "cost centre": "4711"},
    )
    assert third.hours == Hours(0, 24 * 60, frozenset({6}), ZoneInfo("UTC"))


def test_hours_without_days_are_those_of_every_day_and_utc_unless_said(tmp_path):
    (condition,) = loaded(tmp_path, file_with('{hours: "08:00-00:00", use: other}')).world.routes["auto"].when

    assert condition.hours == Hours(8 * 60, 0, EVERY_DAY, ZoneInfo("UTC"))


def test_a_route_with_a_condition_on_the_kind_asks_for_it(tmp_path):
    routes = loaded(tmp_path, FULL, KEYS).world.routes

    assert {name: route.asks_kind for name, route in routes.items()} == {
        "auto": True, "home": False, "each": True, "shares": False, "plain": False,
    }  # fmt: skip


def file_with(*conditions, more=""):
    lines = "".join(f"      - {one}\n" for one in conditions)
    return (
        f"routes:\n  auto:\n    policy: best\n    candidates: [big]\n    jurisdictions: [US]\n    when:\n{lines}"
        "  other: {policy: best, candidates: [small]}\n"
        "  abroad: {policy: best, candidates: [small], fallbacks: [flash]}\n"
        "  steps: {policy: best, candidates: [small], step_down: {from_percent: 90, to: other}}\n"
        "  chain: {policy: best, candidates: [small], when: [{kind: code, use: other}]}\n"
        f"budgets:\n  b: {{each: team, usd: 5, window: day}}\n{more}"
    )


KINDS = "'chat', 'code', 'extraction', 'knowledge', 'maths', 'overall', 'reasoning', 'summarisation', 'translation' and"
MISTAKES = {
    "no condition": (
        "{use: other}",
        "no condition stands beside 'use'; write at least one of 'kind', 'needs', 'budget_used_percent', 'hours', "
        "'days' and 'tags'",
    ),
    "no route": ("{kind: code}", "'when' of route 'auto' has no 'use'"),
    "an unknown key": (
        "{kinds: code, use: other}",
        "unknown key 'kinds' in 'when' of route 'auto'; did you mean 'kind'?",
    ),
    "an unknown route": ("{kind: code, use: ohter}", "unknown route 'ohter'; did you mean 'other'?"),
    "itself": ("{kind: code, use: auto}", "route 'auto' leads to itself; name another route"),
    "a model": ("{kind: code, use: small}", "unknown route 'small'"),
    "a route with conditions of its own": (
        "{kind: code, use: chain}",
        "route 'chain' has 'when' of its own, which would not be looked at; one step is all",
    ),
    "a route that steps down": (
        "{kind: code, use: steps}",
        "route 'steps' has 'step_down' of its own, which would not be looked at; one step is all",
    ),
    "servers it may not reach": (
        "{kind: code, use: abroad}",
        "route 'abroad' sends prompts to 'CN', and route 'auto' allows 'US' only; give 'abroad' the same "
        "'jurisdictions', or name another route",
    ),
    "an unknown kind": (
        "{kind: coed, use: other}",
        f"unknown task kind 'coed'; there are {KINDS} 'writing'; did you mean 'code'?",
    ),
    "an unknown kind of several": (
        "{kind: [code, mahts], use: other}",
        f"unknown task kind 'mahts'; there are {KINDS} 'writing'; did you mean 'maths'?",
    ),
    "the kind overall": (
        "{kind: overall, use: other}",
        "no request is of the kind 'overall'; leave 'kind' away for whatever it is",
    ),
    "no kinds": ("{kind: [], use: other}", "'kind' in 'when' of route 'auto' is empty; write at least one entry"),
    "an unknown need": (
        "{needs: [tool], use: other}",
        "entry 1 of 'needs' in 'when' of route 'auto' is 'tool'; it is one of tools, json_object, json_schema, vision, "
        "audio, logprobs, n, reasoning; did you mean 'tools'?",
    ),
    "a percentage of 0": (
        "{budget_used_percent: 0, use: other}",
        "'budget_used_percent' in 'when' of route 'auto' is 0; it must be more than 0",
    ),
    "a percentage above 100": (
        "{budget_used_percent: 101, use: other}",
        "'budget_used_percent' in 'when' of route 'auto' is 101; it must be 100 or less",
    ),
    "hours that are none": (
        "{hours: 22-6, use: other}",
        "'hours' in 'when' of route 'auto' is '22-6'; hours are written \"09:00-12:00\"",
    ),
    "hours of no length": (
        '{hours: "22:00-22:00", use: other}',
        "'hours' in 'when' of route 'auto' is '22:00-22:00', which is no time at all; the whole day is \"00:00-24:00\"",
    ),
    "an hour past the day's end": (
        '{hours: "22:00-25:00", use: other}',
        "'hours' in 'when' of route 'auto' is '22:00-25:00'; a day ends at 24:00",
    ),
    "an unknown day": (
        "{days: [mon, tues], use: other}",
        "entry 2 of 'days' in 'when' of route 'auto' is 'tues'; it is one of mon, tue, wed, thu, fri, sat, sun; "
        "did you mean 'tue'?",
    ),
    "an unknown zone": (
        "{days: [mon], zone: Europe/Pari, use: other}",
        "'zone' in 'when' of route 'auto' is 'Europe/Pari', not a time zone such as Asia/Shanghai; did you mean "
        "'Europe/Paris'?",
    ),
    "a zone of nothing": (
        "{kind: code, zone: Europe/Paris, use: other}",
        "'zone' is for 'hours' and 'days', and neither stands here",
    ),
    "a tag that is a number": (
        "{tags: {tier: 1}, use: other}",
        "'tier' in 'tags' of route 'auto' is 1, not text; write it in quotes",
    ),
    "no tags": ("{tags: {}, use: other}", "'tags' in 'when' of route 'auto' is empty; write at least one entry"),
}


@pytest.mark.parametrize(("condition", "message"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_in_a_condition(tmp_path, condition, message):
    text = file_with(condition)

    assert [(one.line, one.message) for one in mistakes(tmp_path, text)] == [(7, message)]


def test_a_step_down_to_a_route_with_conditions_is_a_mistake_too(tmp_path):
    text = file_with("{kind: code, use: other}").replace("to: other}", "to: chain}")

    assert [one.message for one in mistakes(tmp_path, text)] == [
        "route 'chain' has 'when' of its own, which would not be looked at; one step is all"
    ]


WARNINGS = {
    "one that is never looked at": (
        file_with("{kind: [code, maths], use: other}", "{kind: code, needs: [tools], use: other}  # <-"),
        "the condition is never looked at: the one of line 7 holds whenever it does",
    ),
    "one with a higher percentage": (
        file_with("{budget_used_percent: 50, use: other}", "{budget_used_percent: 80, use: other}  # <-"),
        "the condition is never looked at: the one of line 7 holds whenever it does",
    ),
    "one that nobody can serve": (
        file_with("{needs: [vision, tools], use: other}  # <-"),
        "no candidate of route 'other' has 'tools' and 'vision', so such requests are refused",
    ),
}


@pytest.mark.parametrize(("text", "message"), WARNINGS.values(), ids=WARNINGS)
def test_a_warning_about_a_condition(tmp_path, text, message):
    found = loaded(tmp_path, text).warnings

    assert [(one.line, one.message) for one in found] == [(marked_lines(text)[0], message)]


def test_a_condition_on_budgets_without_budgets_never_holds(tmp_path):
    text = file_with("{budget_used_percent: 50, use: other}").partition("budgets:")[0]
    text = text.replace(", step_down: {from_percent: 90, to: other}", "")

    assert [(one.line, one.message) for one in loaded(tmp_path, text).warnings] == [
        (7, "the condition never holds: there are no budgets")
    ]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("{kind: code, use: other}", "{kind: maths, use: other}"),
        ("{kind: code, use: other}", "{needs: [tools], use: other}"),
        ('{hours: "22:00-06:00", use: other}', '{hours: "21:00-06:00", use: other}'),
        ("{tags: {a: b}, use: other}", "{tags: {a: c}, use: other}"),
    ],
)
def test_conditions_that_leave_room_for_the_next_bring_no_warning(tmp_path, before, after):
    assert loaded(tmp_path, file_with(before, after)).warnings == ()

"""Budgets, limits and steps down: what they become, and every mistake that can be made with them."""

from zoneinfo import ZoneInfo

import pytest
from conffiles import FULL, KEYS, MINIMAL, loaded, marked_lines, mistakes

from gateway.core.budget import Budget, Limit, Offline, Scope, ScopeKind, Unit, Window
from gateway.core.route import StepDown

WHOM = "one of 'key', 'team', 'organisation', 'route', 'provider' and 'each'"
NANO = 1_000_000_000


def test_budgets_and_limits_are_what_their_keys_say(tmp_path):
    rules = loaded(tmp_path, FULL, KEYS).world.rules

    team, key = Scope(ScopeKind.TEAM, "research"), Scope(ScopeKind.KEY)
    provider, organisation = Scope(ScopeKind.PROVIDER, "deepseek"), Scope(ScopeKind.ORGANISATION, "acme")
    month, day = Window(Unit.MONTH), Window(Unit.DAY)
    assert rules.budgets == (
        Budget("research-month", team, 500 * NANO, month),
        Budget("per-key-day", key, 20_500_000_000, day, hard=False),
        Budget("deepseek-day", provider, 1, Window(Unit.DAY, rolling=True), offline=Offline.SLICE),
        Budget("all", organisation, 9_000_000 * NANO, Window(Unit.MONTH, zone=ZoneInfo("Europe/Paris"))),
        Budget("named", Scope(ScopeKind.ROUTE, "direct"), NANO, Window(Unit.HOUR)),
    )
    assert rules.limits == (
        Limit("app", Scope(ScopeKind.KEY, "research-app"), requests_per_minute=600, tokens_per_minute=200_000),
        Limit("guests", Scope(ScopeKind.ORGANISATION, "guests"), concurrency=4),
    )


@pytest.mark.parametrize("kind", ScopeKind)
def test_each_one_of_a_kind_may_have_a_budget_by_itself(tmp_path, kind):
    text = f'{MINIMAL}budgets:\n  b: {{each: {kind}, usd: "1", window: day}}\n'

    assert loaded(tmp_path, text).world.rules.budgets[0].scope == Scope(kind, None)


def test_output_limits_and_steps_down_of_routes(tmp_path):
    world = loaded(tmp_path, FULL, KEYS).world

    limits = {name: route.max_output_tokens for name, route in world.routes.items()}
    assert limits == {"auto": 500, "home": 2000, "each": 2000, "shares": 2000, "plain": 2000}
    assert world.direct["big"].max_output_tokens == 2000
    assert [world.routes[name].step_down for name in ("shares", "plain")] == [StepDown(80, "plain"), None]


def test_a_key_that_is_made_later_may_have_a_budget(tmp_path):
    text = MINIMAL + 'teams: {t: {}}\nbudgets:\n  b: {key: app, usd: "1", window: day}\n'

    assert loaded(tmp_path, text).world.rules.budgets[0].scope == Scope(ScopeKind.KEY, "app")


BUDGETS = {
    "no window": ('team: t, usd: "5"', "budget 'b' has no 'window'; a budget needs a window: hour, day or month"),
    "another window": (
        'team: t, usd: "5", window: week',
        "'window' in budget 'b' is 'week'; it is one of hour, day, month",
    ),
    "a misspelt window": (
        'team: t, usd: "5", window: mont',
        "'window' in budget 'b' is 'mont'; it is one of hour, day, month; did you mean 'month'?",
    ),
    "no amount": ("team: t, window: day", "budget 'b' has no 'usd'"),
    "nothing": ('team: t, usd: "0", window: day', "'usd' in budget 'b' is '0'; it must be more than 0"),
    "less than nothing": (
        "team: t, usd: -5, window: day",
        "'usd' in budget 'b' is no amount: '-5' must be zero or more, with at most 9 decimals, in dollars",
    ),
    "less than a nano-dollar": (
        "team: t, usd: 0.0000000001, window: day",
        "'usd' in budget 'b' is no amount: '1E-10' must be zero or more, with at most 9 decimals, in dollars",
    ),
    "more than sums are exact for": (
        'team: t, usd: "9000000.000000001", window: day',
        "'usd' in budget 'b' is '9000000.000000001'; it must be 9,000,000 or less, for sums are exact up to 2^53 "
        "nano-dollars",
    ),
    "an endless amount": (
        "team: t, usd: 1e400, window: day",
        "'usd' in budget 'b' is 1E+400; it must be 9,000,000 or less, for sums are exact up to 2^53 nano-dollars",
    ),
    "true for an amount": (
        "team: t, usd: true, window: day",
        "'usd' in budget 'b' is true, not an amount in dollars",
    ),
    "no scope": ('usd: "5", window: day', f"budget 'b' needs to say whom it concerns: {WHOM}"),
    "two scopes": (
        'team: t, provider: openai, usd: "5", window: day',
        "budget 'b' has 'team' and 'provider'; it concerns one of them only",
    ),
    "a scope and each": (
        'team: t, each: key, usd: "5", window: day',
        "budget 'b' has 'team' and 'each'; it concerns one of them only",
    ),
    "each of an unknown kind": (
        'each: keys, usd: "5", window: day',
        "'each' in budget 'b' is 'keys'; it is one of key, team, organisation, route, provider; did you mean 'key'?",
    ),
    "an unknown team": (
        'team: serach, usd: "5", window: day',
        "unknown team 'serach'; did you mean 'search'?",
    ),
    "an unknown organisation": (
        'organisation: akme, usd: "5", window: day',
        "unknown organisation 'akme'; did you mean 'acme'?",
    ),
    "an unknown route": ('route: atuo, usd: "5", window: day', "unknown route 'atuo'; did you mean 'auto'?"),
    "an unknown provider": (
        'provider: opnai, usd: "5", window: day',
        "unknown provider 'opnai'; did you mean 'openai'?",
    ),
    "an unknown key of it": (
        'teem: t, usd: "5", window: day',
        "unknown key 'teem' in budget 'b'; did you mean 'team'?",
    ),
    "a number for a name": (
        'team: 5, usd: "5", window: day',
        "'team' in budget 'b' is 5, not text; write it in quotes",
    ),
    "another mode": (
        'team: t, usd: "5", window: day, mode: sofd',
        "'mode' in budget 'b' is 'sofd'; it is one of hard, soft; did you mean 'soft'?",
    ),
    "another way offline": (
        'team: t, usd: "5", window: day, offline: open',
        "'offline' in budget 'b' is 'open'; it is one of closed, slice",
    ),
    "a word for true": (
        'team: t, usd: "5", window: day, rolling: 1',
        "'rolling' in budget 'b' is 1, not true or false",
    ),
    "an unknown zone": (
        'team: t, usd: "5", window: day, zone: Europe/Pari',
        "'zone' in budget 'b' is 'Europe/Pari', not a time zone such as Asia/Shanghai; did you mean 'Europe/Paris'?",
    ),
    "a zone of half hours": (
        'team: t, usd: "5", window: day, zone: Asia/Kolkata',
        "the time zone Asia/Kolkata is not whole hours from UTC, and spending is summed by whole hours; take a near "
        "one that is",
    ),
    "a zone of half hours in summer only": (
        'team: t, usd: "5", window: day, zone: Australia/Lord_Howe',
        "the time zone Australia/Lord_Howe is not whole hours from UTC, and spending is summed by whole hours; take a "
        "near one that is",
    ),
    "a zone for a rolling window": (
        'team: t, usd: "5", window: day, rolling: true, zone: Europe/Paris',
        "a rolling window begins at no midnight; delete 'zone'",
    ),
    "offline for a soft one": (
        'team: t, usd: "5", window: day, mode: soft, offline: slice',
        "'offline' is for hard budgets; a soft one never refuses",
    ),
}

LIMITS = {
    "none of the three": (
        "team: t",
        "limit 'b' limits nothing; write at least one of 'requests_per_minute', 'tokens_per_minute' and 'concurrency'",
    ),
    "nothing a minute": (
        "team: t, requests_per_minute: 0",
        "'requests_per_minute' in limit 'b' is 0; it must be more than 0",
    ),
    "a fraction": ("team: t, concurrency: 1.5", "'concurrency' in limit 'b' is 1.5, not a whole number"),
    "no scope": ("concurrency: 1", f"limit 'b' needs to say whom it concerns: {WHOM}"),
    "two scopes": (
        "route: auto, team: t, concurrency: 1",
        "limit 'b' has 'team' and 'route'; it concerns one of them only",
    ),
    "an unknown team": ("team: u, concurrency: 1", "unknown team 'u'"),
}


def file_with(section, keys):
    return f"organisation: acme\n{MINIMAL}teams: {{t: {{}}, search: {{}}}}\n{section}:\n  b: {{{keys}}}  # <-\n"


CASES = {
    **{f"a budget: {case}": (file_with("budgets", keys), said) for case, (keys, said) in BUDGETS.items()},
    **{f"a limit: {case}": (file_with("limits", keys), said) for case, (keys, said) in LIMITS.items()},
}


@pytest.mark.parametrize(("text", "message"), CASES.values(), ids=CASES)
def test_a_mistake_in_a_rule(tmp_path, text, message):
    found = mistakes(tmp_path, text)

    assert [(one.line, one.message) for one in found] == [(marked_lines(text)[0], message)]


STEPS = {
    "to itself": ("auto", "route 'auto' leads to itself; name another route"),
    "to an unknown route": ("chaep", "unknown route 'chaep'; did you mean 'cheap'?"),
    "to models that callers name": ("direct", "unknown route 'direct'"),
    "to a route that steps down too": (
        "chain",
        "route 'chain' has 'step_down' of its own, which would not be looked at; one step is all",
    ),
    "to servers it may not reach": (
        "abroad",
        "route 'abroad' sends prompts to 'CN', and route 'auto' allows 'US' only; give 'abroad' the same "
        "'jurisdictions', or name another route",
    ),
}


def file_with_step(step):
    return (
        "routes:\n  auto:\n    policy: best\n    candidates: [big]\n    jurisdictions: [US]\n"
        f"    step_down: {step}  # <-\n"
        "  cheap: {policy: best, candidates: [small]}\n"
        "  abroad: {policy: best, candidates: [small], fallbacks: [flash]}\n"
        "  chain: {policy: best, candidates: [small], step_down: {from_percent: 90, to: cheap}}\n"
        "budgets:\n  b: {each: team, usd: 5, window: day}\n"
    )


@pytest.mark.parametrize(("to", "message"), STEPS.values(), ids=STEPS)
def test_a_mistake_in_a_step_down(tmp_path, to, message):
    text = file_with_step(f"{{from_percent: 80, to: {to}}}")

    assert [(one.line, one.message) for one in mistakes(tmp_path, text)] == [(6, message)]


def test_two_routes_that_step_down_to_each_other_are_two_mistakes(tmp_path):
    text = file_with_step("{from_percent: 80, to: chain}").replace("to: cheap", "to: auto")

    assert [(one.line, one.message) for one in mistakes(tmp_path, text)] == [
        (6, "route 'chain' has 'step_down' of its own, which would not be looked at; one step is all"),
        (9, "route 'auto' has 'step_down' of its own, which would not be looked at; one step is all"),
    ]


def test_a_wrong_percentage_hides_no_unknown_route(tmp_path):
    found = mistakes(tmp_path, file_with_step("{from_percent: 300, to: chaep}"))

    assert [(one.line, one.message.partition(";")[0]) for one in found] == [
        (6, "'from_percent' in 'step_down' of route 'auto' is 300"),
        (6, "unknown route 'chaep'"),
    ]


def test_a_step_to_a_route_with_the_same_jurisdictions_is_good(tmp_path):
    text = file_with_step("{from_percent: 80, to: abroad}").replace("fallbacks: [", "jurisdictions: [US], fallbacks: [")

    assert loaded(tmp_path, text).world.routes["auto"].step_down == StepDown(80, "abroad")


@pytest.mark.parametrize("percent", ["0", "101"])
def test_a_step_begins_between_1_and_100_percent(tmp_path, percent):
    (found,) = mistakes(tmp_path, file_with_step(f"{{from_percent: {percent}, to: cheap}}"))

    assert found.message.startswith(f"'from_percent' in 'step_down' of route 'auto' is {percent}; it must be ")


def test_an_unknown_organisation_does_not_follow_from_one_that_is_no_name(tmp_path):
    text = f'organisation: a b\n{MINIMAL}budgets:\n  b: {{organisation: acme, usd: "5", window: day}}\n'

    assert [one.line for one in mistakes(tmp_path, text)] == [1]


def test_what_else_is_wrong_with_a_budget_is_said_beside_its_missing_window(tmp_path):
    found = mistakes(tmp_path, MINIMAL + "budgets:\n  b: {team: nobody, provider: openai}\n  c: {team: no, usd: x}\n")

    assert [(one.line, one.message) for one in found] == [
        (6, "budget 'b' has no 'usd'"),
        (6, "budget 'b' has no 'window'; a budget needs a window: hour, day or month"),
        (6, "budget 'b' has 'team' and 'provider'; it concerns one of them only"),
        (7, "budget 'c' has no 'window'; a budget needs a window: hour, day or month"),
        (7, "unknown team 'no'"),
        (7, "'usd' in budget 'c' is no amount: 'x' is not a decimal number of dollars"),
    ]

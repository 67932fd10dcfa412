"""Whatever the inputs: nobody is chosen who breaks a promise of the route, and everybody is ranked or dropped once."""

from __future__ import annotations

import random
from collections.abc import Mapping
from datetime import date
from fractions import Fraction

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.candidate import Candidate, Estimate, Signals, Warm
from gateway.core.catalog import AUTO, EFFORTS, OVERALL, Capability, Model, QualityScore
from gateway.core.market import Market
from gateway.core.money import Nano
from gateway.core.pricing import PriceBook, Status
from gateway.core.request import ChatRequest
from gateway.core.route import FloorMeaning, Route
from gateway.core.routing import Decision, decide
from gateway.policies import POLICIES
from tests.core.market import NOW, PROVIDERS, chat, price

KINDS = (OVERALL, "code", "maths", "chat")
NAMES = ("openai/a", "openai/b", "openai/b@high", "deepseek/c", "deepseek/c@low", "deepseek/c@high", "google/d")

points = st.floats(0, 100, allow_nan=False)
kinds = st.sampled_from(KINDS)
some = st.lists(st.sampled_from(NAMES), max_size=len(NAMES), unique=True)
needs = st.frozensets(st.sampled_from(list(Capability)), max_size=2)
places = st.none() | st.frozensets(st.sampled_from(["US", "CN"]))


def a_model(name: str, dice: random.Random) -> Model:
    plain, _, effort = name.partition("@")
    scores = {kind: dice.uniform(0, 100) for kind in dice.sample(KINDS, dice.randint(0, 3))}
    status = dice.choice([Status.MEASURED, Status.ANNOUNCED, Status.RUMOURED])
    return Model(
        id=name, provider=plain.partition("/")[0], upstream_name=plain, effort=effort or None,
        context_tokens=dice.choice([10, 100_000, 100_000]), max_output_tokens=dice.randint(1, 5_000),
        capabilities=frozenset(dice.sample(list(Capability), dice.randint(6, 8))),
        expected_output_tokens=dice.randint(1, 5_000),
        quality={kind: QualityScore(score, status, "t", NOW.date()) for kind, score in scores.items()},
        deprecated_on=dice.choice([None, None, date(2026, 11, 23), date(2026, 11, 24)]),
    )  # fmt: skip


def a_market(seed: int) -> Market:
    dice = random.Random(seed)
    rows = [
        price(name, str(dice.randint(0, 30)), str(dice.randint(0, 30)))
        for name in NAMES
        if "@" not in name and dice.random() < 0.9
    ]
    off = dice.choice([{}, {}, {"google": "no key"}])
    return Market({name: a_model(name, dice) for name in NAMES}, PROVIDERS, PriceBook(rows), off)


@st.composite
def routes(draw: st.DrawFn) -> Route:
    return Route(
        "auto",
        POLICIES[draw(st.sampled_from(sorted(POLICIES)))],
        tuple(draw(some.filter(bool))),
        fallbacks=tuple(draw(some)),
        weights=draw(st.dictionaries(st.sampled_from(NAMES), st.integers(0, 3))),
        kind=draw(st.sampled_from([*KINDS, AUTO])),
        floors=draw(st.dictionaries(kinds, points, max_size=2)),
        floor_means=draw(st.sampled_from(list(FloorMeaning))),
        jurisdictions=draw(places),
        max_cost_nano=draw(st.none() | st.integers(0, 10**8).map(Nano)),
        expected_output_tokens=draw(st.none() | st.integers(1, 4_000)),
    )


estimates = st.builds(
    Estimate,
    tokens_per_byte=st.floats(0.01, 1),
    output_tokens=st.integers(1, 5_000),
    cached_share=st.floats(0, 1),
    scores=st.dictionaries(kinds, points),
    bars=st.dictionaries(kinds, points),
    ttft_ms=st.none() | st.integers(0, 10_000),
    tokens_per_s=st.none() | st.floats(0.1, 500),
    answers=st.integers(0, 100),
)
signals = st.builds(
    Signals,
    now=st.just(NOW),
    seed=st.integers(0, 2**32),
    unhealthy=st.dictionaries(st.sampled_from(["openai/b", "deepseek/c"]), st.just("ill")),
    kinds=st.dictionaries(kinds, st.floats(0.01, 1)),
    estimates=st.dictionaries(st.sampled_from(NAMES), estimates),
    warm=st.none() | st.builds(Warm, st.sampled_from(NAMES), st.integers(0, 10_000), st.booleans()),
)
requests = st.builds(
    lambda **given: msgspec.structs.replace(chat(), **given),
    prompt_bytes=st.integers(0, 500),
    needs=needs,
    effort=st.none() | st.sampled_from(EFFORTS),
    max_output_tokens=st.none() | st.integers(1, 3_000),
    n=st.integers(1, 3),
)


def floor_and_score(
    route: Route, signals: Signals, scores: Mapping[str, float]
) -> tuple[str, float | None, float | None]:
    """The likeliest kind, its floor, and the score expected of a model with these: worked out apart from the code."""
    weights = {route.kind: 1.0} if route.kind != AUTO else dict(signals.kinds) or {OVERALL: 1.0}
    best = sorted(weights, key=lambda kind: -weights[kind])[:3]
    found = [scores.get(kind, scores.get(OVERALL)) for kind in best]
    floor = route.floors.get(best[0], route.floors.get(OVERALL))
    if any(one is None for one in found):
        return best[0], floor, None
    total = sum(weights[kind] for kind in best)
    return best[0], floor, sum(weights[kind] * one for kind, one in zip(best, found, strict=True)) / total


def keeps_every_promise(
    one: Candidate, route: Route, request: ChatRequest, market: Market, signals: Signals, team: frozenset[str] | None
) -> None:
    model = one.model
    where = market.providers[model.provider].jurisdiction
    assert all(where in allowed for allowed in (route.jurisdictions, team) if allowed is not None)
    assert model.provider not in market.off
    assert request.needs <= model.capabilities
    assert request.effort is None or model.effort in (None, request.effort)
    assert model.deprecated_on is None or NOW.date() < model.deprecated_on
    assert model.base not in signals.unhealthy
    assert one.price == market.prices.at(model.base, NOW) is not None
    estimate = signals.estimates.get(model.id)
    if estimate is None:
        quality = {kind: it.score for kind, it in model.quality.items() if it.status is not Status.RUMOURED}
        estimate = Estimate(model.tokens_per_byte, model.expected_output_tokens, scores=quality)
    assert one.expected.prompt <= model.context_tokens
    assert one.expected.output <= model.max_output_tokens * request.n
    rates, used = one.price.rates(one.expected.prompt), one.expected
    cost = Fraction(
        used.input * rates.input + used.cached_input * rates.cached_input + used.output * rates.output, 1_000
    )
    assert one.expected_cost == -(-cost.numerator // cost.denominator)
    assert route.max_cost_nano is None or one.expected_cost <= route.max_cost_nano
    kind, floor, score = floor_and_score(route, signals, estimate.scores)
    if floor is not None:
        assert score is not None
        bar = estimate.bars.get(kind, floor) if route.floor_means is FloorMeaning.AVERAGE else floor
        assert score >= bar - 1e-9


def stand_for(names: tuple[str, ...], effort: str | None) -> list[str]:
    """Who is judged for these: a model at the effort that is asked for, where it is declared."""
    return [f"{name}@{effort}" if f"{name}@{effort}" in NAMES else name for name in names]


@settings(max_examples=200)
@given(route=routes(), request=requests, market=st.integers(0, 2**32).map(a_market), signals=signals, team=places)
def test_nobody_is_chosen_who_breaks_a_promise_and_everybody_is_ranked_or_dropped_once(
    route, request, market, signals, team
):
    decision: Decision = decide(route, request, market, signals, jurisdictions=team)

    for one in decision.candidates:
        keeps_every_promise(one, route, request, market, signals, team)
    told = [one.model.id for one in decision.candidates] + [drop.model for drop in decision.drops]
    declared = stand_for((*route.candidates, *route.fallbacks), request.effort)
    assert sorted(told) == sorted(set(declared))
    assert all(drop.code and drop.reason for drop in decision.drops)
    assert decide(route, request, market, signals, jurisdictions=team) == decision

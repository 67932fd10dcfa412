"""A model at one reasoning effort is a candidate of its own: its length, quality and price, and who asks for it."""

from __future__ import annotations

from dataclasses import replace

import msgspec

from gateway.core.candidate import Estimate, Signals
from gateway.core.catalog import Model
from gateway.core.market import Market
from gateway.core.pricing import PriceBook
from gateway.core.route import Route
from gateway.core.routing import Decision, decide
from gateway.policies import POLICIES
from tests.core.market import ALL, MODELS, NOW, PRICES, PROVIDERS, chat, price


def at(effort: str, model: str = "openai/big", *, score: float | None = None, output: int = 3_000) -> Model:
    plain = MODELS[model]
    quality = {} if score is None else {"overall": replace(plain.quality["overall"], score=score)}
    return replace(
        plain, id=f"{model}@{effort}", effort=effort, expected_output_tokens=output, quality=quality
    )  # fmt: skip


HIGH, LOW = at("high", score=88), at("low", score=70, output=200)
MARKET = Market({**MODELS, HIGH.id: HIGH, LOW.id: LOW}, PROVIDERS, PriceBook(PRICES))
BOTH = Route("auto", POLICIES["cheapest"], ("openai/big@high", "openai/big"))


def asking(effort: str | None):
    return msgspec.structs.replace(chat(), effort=effort)


def decided(route: Route = BOTH, effort: str | None = None, market: Market = MARKET, **signals) -> Decision:
    return decide(route, asking(effort), market, Signals(**{"now": NOW, **signals}))


def ranked(decision: Decision) -> list[str]:
    return [one.model.id for one in decision.candidates]


def drops(decision: Decision) -> dict[str, str]:
    return {drop.model: drop.code for drop in decision.drops}


def test_a_model_at_an_effort_costs_its_own_length_at_the_price_of_the_model():
    high, plain = (
        next(one for one in decided().candidates if one.model.id == name) for name in ("openai/big@high", "openai/big")
    )

    assert high.price is plain.price
    assert (high.expected.output, plain.expected.output) == (3_000, 500)
    assert (high.score, plain.score) == (88, 80)
    # 9 tokens in at $2, out at $10 per million
    assert (high.expected_cost, plain.expected_cost) == (30_018_000, 5_018_000)


def test_an_effort_has_every_price_of_its_model_past_and_to_come():
    later = price("openai/big", "1", "1", since="2026-12-01")
    book = PriceBook([*PRICES, later])

    for instant in (NOW, NOW.replace(month=12), NOW.replace(year=2025)):
        assert book.at("openai/big@high", instant) == book.at("openai/big", instant)
        assert book.next_start("openai/big@high", instant) == book.next_start("openai/big", instant)


def test_a_better_effort_wins_where_quality_is_asked_for():
    assert ranked(decided(replace(BOTH, policy=POLICIES["best"]))) == ["openai/big@high", "openai/big"]
    assert ranked(decided(replace(BOTH, floors={"overall": 85.0}))) == ["openai/big@high"]


def test_the_scores_of_the_model_are_not_taken_for_an_effort():
    unmeasured = at("high")
    market = Market({**MODELS, unmeasured.id: unmeasured}, PROVIDERS, PriceBook(PRICES))
    decision = decided(replace(BOTH, floors={"overall": 60.0}), market=market)

    assert (ranked(decision), drops(decision)) == (["openai/big"], {"openai/big@high": "quality"})


def test_what_was_learned_of_an_effort_is_its_own():
    decision = decided(estimates={"openai/big@high": Estimate(0.25, 100, answers=40)})

    assert ranked(decision) == ["openai/big@high", "openai/big"]


def test_a_candidate_for_another_effort_than_asked_is_dropped_with_its_reason():
    decision = decided(replace(BOTH, candidates=("openai/big@high", "openai/small")), "low")

    assert ranked(decision) == ["openai/small"]
    assert [(drop.code, drop.reason) for drop in decision.drops] == [("effort", "stands for effort high, asked is low")]


def test_a_model_is_judged_at_the_effort_that_the_request_asks_for_where_it_is_declared():
    decision = decided(replace(BOTH, candidates=ALL), "high")

    assert set(ranked(decision)) == {"openai/big@high", "openai/small", "deepseek/flash", "google/new"}


def test_a_model_that_stands_for_an_asked_effort_twice_is_asked_once():
    assert ranked(decided(BOTH, "high")) == ["openai/big@high"]
    assert decided(BOTH, "high").drops == ()
    route = replace(BOTH, candidates=("openai/big",), fallbacks=("openai/big@high", "openai/small"))
    assert ranked(decided(route, "high")) == ["openai/big@high", "openai/small"]


def test_an_asked_effort_keeps_the_share_of_its_model():
    route = Route(
        "auto", POLICIES["split"], ("openai/big", "openai/small"), weights={"openai/big": 1, "openai/small": 0}
    )

    assert ranked(decided(route, "high")) == ["openai/big@high"]


def test_a_model_that_is_set_aside_is_so_at_every_effort():
    decision = decided(unhealthy={"openai/big": "5 faults in a row"})

    assert drops(decision) == {"openai/big": "unhealthy", "openai/big@high": "unhealthy"}

"""What a request may be, mixed by how likely it is, and the two meanings of a floor."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import pytest

from gateway.core.candidate import Estimate, Signals
from gateway.core.catalog import AUTO, QualityScore
from gateway.core.market import Market
from gateway.core.pricing import PriceBook, Status
from gateway.core.route import FloorMeaning, Route
from gateway.core.routing import Decision, decide, expected_score, likeliest
from gateway.policies import POLICIES
from tests.core.market import MODELS, NOW, PRICES, PROVIDERS, chat

DAY = date(2026, 1, 1)


def scored(name: str, status: Status = Status.MEASURED, **scores: float):
    return replace(MODELS[name], quality={kind: QualityScore(one, status, "t", DAY) for kind, one in scores.items()})


CODER = scored("openai/small", overall=60, code=90, maths=50)
THINKER = scored("openai/big", overall=70, code=60, maths=95)
PLAIN = scored("deepseek/flash", overall=65)
MARKET = Market({**MODELS, **{one.id: one for one in (CODER, THINKER, PLAIN)}}, PROVIDERS, PriceBook(PRICES))
AUTO_ROUTE = Route("auto", POLICIES["best"], (CODER.id, THINKER.id, PLAIN.id), kind=AUTO)


def decided(route: Route = AUTO_ROUTE, market: Market = MARKET, **signals) -> Decision:
    return decide(route, chat(), market, Signals(**{"now": NOW, **signals}))


def scores(decision: Decision) -> dict[str, float | None]:
    return {one.model.id: one.score for one in decision.candidates}


def test_a_declared_kind_holds_whatever_the_request_seems_to_be():
    assert likeliest("code", {"maths": 1.0}) == (("code", 1.0),)
    assert decided(replace(AUTO_ROUTE, kind="code"), kinds={"maths": 1.0}).kind == "code"


def test_a_request_of_which_nothing_is_known_is_judged_overall():
    assert likeliest(AUTO, {}) == (("overall", 1.0),)
    assert scores(decided()) == {THINKER.id: 70, PLAIN.id: 65, CODER.id: 60}


def test_the_three_likeliest_kinds_are_weighed_by_their_shares_of_one():
    found = likeliest(AUTO, {"chat": 0.1, "code": 0.4, "maths": 0.3, "writing": 0.05, "reasoning": 0.15})

    assert [kind for kind, _ in found] == ["code", "maths", "reasoning"]
    assert [share for _, share in found] == pytest.approx([0.4 / 0.85, 0.3 / 0.85, 0.15 / 0.85])


def test_an_expected_score_is_the_scores_of_the_kinds_by_their_probability():
    decision = decided(kinds={"code": 0.75, "maths": 0.25})

    assert decision.kind == "code"
    assert scores(decision) == pytest.approx(
        {CODER.id: 0.75 * 90 + 0.25 * 50, THINKER.id: 0.75 * 60 + 0.25 * 95, PLAIN.id: 65}
    )
    assert decision.candidates[0].model.id == CODER.id
    assert decided(kinds={"code": 0.25, "maths": 0.75}).candidates[0].model.id == THINKER.id


def test_the_overall_score_stands_in_for_a_kind_without_one_and_unknown_is_no_score():
    assert expected_score({"code": 80.0, "overall": 60.0}, (("code", 0.5), ("chat", 0.5))) == 70.0
    assert expected_score({"code": 80.0}, (("code", 0.9), ("chat", 0.1))) is None
    assert expected_score({}, (("code", 1.0),)) is None


def test_the_floor_is_that_of_the_likeliest_kind():
    route = replace(AUTO_ROUTE, floors={"code": 80.0, "overall": 60.0})

    assert set(scores(decided(route, kinds={"code": 1.0}))) == {CODER.id}
    assert set(scores(decided(route, kinds={"chat": 1.0}))) == {CODER.id, THINKER.id, PLAIN.id}
    assert set(scores(decided(route))) == {CODER.id, THINKER.id, PLAIN.id}


def test_a_rumoured_score_counts_as_none():
    rumoured = scored("openai/big", Status.RUMOURED, overall=99)
    market = Market({**MARKET.models, rumoured.id: rumoured}, PROVIDERS, PriceBook(PRICES))
    decision = decided(replace(AUTO_ROUTE, floors={"overall": 60.0}), market)

    assert [(drop.model, drop.code) for drop in decision.drops] == [(rumoured.id, "quality")]
    assert "nobody has measured" in decision.drops[0].reason


FLOORED = replace(AUTO_ROUTE, kind="code", floors={"code": 80.0})
AVERAGE = replace(FLOORED, floor_means=FloorMeaning.AVERAGE)


def learned(score: float, **bars: float) -> dict[str, Estimate]:
    return {CODER.id: Estimate(0.25, 500, scores={"code": score}, bars=bars, answers=200)}


@pytest.mark.parametrize(
    ("route", "score", "bars", "serves"),
    [
        # of each answer: what is expected of it must reach the floor, whatever was graded
        (FLOORED, 80.0, {}, True),
        (FLOORED, 79.9, {}, False),
        (FLOORED, 79.9, {"code": 40.0}, False),
        # on average: from the score on at which graded answers reached it together
        (AVERAGE, 60.0, {"code": 60.0}, True),
        (AVERAGE, 59.9, {"code": 60.0}, False),
        (AVERAGE, 85.0, {"code": 90.0}, False),  # grades were worse than scores promised
        # without grades enough an average is promised by nothing better than the expected score
        (AVERAGE, 80.0, {}, True),
        (AVERAGE, 79.9, {}, False),
        (AVERAGE, 79.9, {"maths": 10.0}, False),
    ],
)
def test_the_two_meanings_of_a_floor(route, score, bars, serves):
    decision = decided(route, estimates=learned(score, **bars))

    assert (CODER.id in scores(decision)) is serves
    if not serves:
        reason = next(drop.reason for drop in decision.drops if drop.model == CODER.id)
        assert "80" in reason


def test_nobody_unmeasured_passes_a_floor_of_either_meaning():
    for route in (FLOORED, AVERAGE):
        estimate = Estimate(0.25, 500, bars={"code": 0.0})
        assert CODER.id not in scores(decided(route, estimates={CODER.id: estimate}))

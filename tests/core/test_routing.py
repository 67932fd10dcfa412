"""Who may serve a request, in which order, and why not the others."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import UTC, date, datetime

import pytest

from gateway.core.candidate import Signals
from gateway.core.errors import GatewayError
from gateway.core.explain import explain, render
from gateway.core.market import Market
from gateway.core.money import nano_from_usd
from gateway.core.pricing import PriceBook, Status
from gateway.core.route import Route
from gateway.core.routing import Decision, decide, refusal
from gateway.policies import POLICIES
from tests.core.market import ALL, MARKET, MODELS, NOW, PRICES, PROVIDERS, chat, model, price

CHEAPEST = Route("auto", POLICIES["cheapest"], ALL)


def ranked(route: Route, request=None, market: Market = MARKET, **signals) -> list[str]:
    decision = decide(route, request or chat(), market, Signals(**{"now": NOW, **signals}))
    return [candidate.model.id for candidate in decision.candidates]


def drops(decision: Decision) -> dict[str, str]:
    return {drop.model: drop.code for drop in decision.drops}


def decided(route: Route, request=None, market: Market = MARKET, jurisdictions=None, **signals) -> Decision:
    return decide(route, request or chat(), market, Signals(**{"now": NOW, **signals}), jurisdictions=jurisdictions)


def test_cheapest_ranks_by_the_expected_cost_of_this_request():
    assert ranked(CHEAPEST) == ["google/new", "deepseek/flash", "openai/small", "openai/big"]


def test_a_verbose_model_loses_although_its_list_price_is_lower():
    verbose = replace(MODELS["google/new"], expected_output_tokens=5_000)
    market = replace(MARKET, models={**MODELS, verbose.id: verbose})

    assert ranked(CHEAPEST, market=market)[0] == "deepseek/flash"


def test_the_callers_own_limit_bounds_the_expectation():
    request = chat(b'{"model":"auto","messages":[{"role":"user","content":"hello"}],"max_tokens":10}')
    decision = decided(CHEAPEST, request)

    assert {candidate.expected.output for candidate in decision.candidates} == {10}


def test_a_price_cut_moves_the_ranking_at_its_instant():
    cut = price("openai/big", "0.01", "0.01", since="2026-12-01")
    market = replace(MARKET, prices=PriceBook([*PRICES, cut]))

    assert ranked(CHEAPEST, market=market, now=datetime(2026, 11, 30, 23, 59, 59, tzinfo=UTC))[0] == "google/new"
    assert ranked(CHEAPEST, market=market, now=datetime(2026, 12, 1, tzinfo=UTC))[0] == "openai/big"


def test_best_puts_quality_first_and_the_unmeasured_last():
    route = replace(CHEAPEST, policy=POLICIES["best"])

    assert ranked(route) == ["openai/big", "deepseek/flash", "openai/small", "google/new"]


def test_best_obeys_its_cost_cap_and_says_so():
    route = replace(CHEAPEST, policy=POLICIES["best"], max_cost_nano=nano_from_usd("0.001"))
    decision = decided(route)

    assert decision.candidates[0].model.id == "deepseek/flash"
    assert drops(decision) == {"openai/big": "cost"}


def test_split_follows_its_weights_and_drains_at_zero():
    route = replace(CHEAPEST, policy=POLICIES["split"], weights={"openai/big": 9, "openai/small": 1, "google/new": 0})
    firsts = Counter(ranked(route, seed=seed)[0] for seed in range(4_000))

    assert set(firsts) == {"openai/big", "openai/small"}
    assert 0.88 < firsts["openai/big"] / 4_000 < 0.92
    assert drops(decided(route)) == {"deepseek/flash": "policy", "google/new": "policy"}


def test_the_same_seed_gives_the_same_decision():
    route = replace(CHEAPEST, policy=POLICIES["split"], weights=dict.fromkeys(ALL, 1))

    assert ranked(route, seed=7) == ranked(route, seed=7)
    assert len({tuple(ranked(route, seed=seed)) for seed in range(50)}) > 5


def test_a_floor_drops_the_worse_and_the_unmeasured_with_their_reasons():
    decision = decided(replace(CHEAPEST, floors={"overall": 65.0}))

    assert [candidate.model.id for candidate in decision.candidates] == ["deepseek/flash", "openai/big"]
    reasons = {drop.model: drop.reason for drop in decision.drops}
    assert reasons["openai/small"] == "overall quality 60 is under the floor of 65"
    assert reasons["google/new"] == "nobody has measured its overall quality; the floor is 65"


def test_a_task_kind_has_its_own_floor():
    route = replace(CHEAPEST, kind="code", floors={"overall": 10.0, "code": 70.0})

    assert ranked(route) == ["openai/big"]  # no code scores here, so the overall score stands in


@pytest.mark.parametrize(
    ("route", "body", "market", "expected"),
    [
        (CHEAPEST,
         b'{"model":"a","messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"u"}}]}]}',
         MARKET, {"openai/small": "capability"}),
        (replace(CHEAPEST, jurisdictions=frozenset({"US"})), None, MARKET, {"deepseek/flash": "jurisdiction"}),
        (CHEAPEST, b'{"model":"a","messages":[{"role":"user","content":"' + b"x" * 500_000 + b'"}]}',
         MARKET, dict.fromkeys(ALL, "context")),
        (CHEAPEST, None, replace(MARKET, off={"openai": "no key"}), {"openai/big": "off", "openai/small": "off"}),
        (CHEAPEST, None, Market(MODELS, PROVIDERS, PriceBook(PRICES[:3])), {"google/new": "unpriced"}),
        (CHEAPEST, None, Market(MODELS, PROVIDERS, PriceBook(
            [*PRICES[:3], price("google/new", "0.01", "0.01", status=Status.RUMOURED)])), {"google/new": "unpriced"}),
        (CHEAPEST, None, replace(MARKET, models={**MODELS, "google/new": model(
            "google/new", deprecated_on=date(2026, 11, 23))}), {"google/new": "deprecated"}),
    ],
)  # fmt: skip
def test_who_cannot_serve_is_dropped_with_a_code(route, body, market, expected):
    decision = decided(route, chat(body) if body else None, market)

    assert drops(decision) == expected
    assert all(drop.reason for drop in decision.drops)


def test_a_teams_jurisdictions_hold_beside_the_routes():
    decision = decided(CHEAPEST, jurisdictions=frozenset({"CN"}))

    assert [candidate.model.id for candidate in decision.candidates] == ["deepseek/flash"]


def test_the_unhealthy_are_left_out_while_they_are_ill():
    assert "google/new" not in ranked(CHEAPEST, unhealthy={"google/new": "5 faults in a row"})


def test_fallbacks_come_after_the_ranked_in_their_own_order_and_pass_the_same_filters():
    route = replace(
        CHEAPEST, candidates=("openai/big",), fallbacks=("openai/small", "google/new"), floors={"overall": 50.0}
    )
    decision = decided(route)

    assert [candidate.model.id for candidate in decision.candidates] == ["openai/big", "openai/small"]
    assert drops(decision) == {"google/new": "quality"}


@pytest.mark.parametrize(
    ("route", "market", "signals", "status", "code"),
    [
        (replace(CHEAPEST, jurisdictions=frozenset({"DE"})), MARKET, {}, 403, "jurisdiction_not_allowed"),
        (replace(CHEAPEST, floors={"overall": 99.0}), MARKET, {}, 422, "under_quality_floor"),
        (CHEAPEST, Market(MODELS, PROVIDERS, PriceBook([])), {}, 422, "unpriced_model"),
        (CHEAPEST, MARKET, {"unhealthy": dict.fromkeys(ALL, "ill")}, 503, "no_healthy_candidate"),
        (CHEAPEST, replace(MARKET, off=dict.fromkeys(PROVIDERS, "no key: set X")), {}, 503, "provider_off"),
    ],
)
def test_a_refusal_names_every_candidate_and_its_reason(route, market, signals, status, code):
    error = refusal(decided(route, market=market, **signals))

    assert isinstance(error, GatewayError)
    assert (error.status, error.code) == (status, code)
    assert all(name in error.told for name in ALL)


def test_an_explanation_shows_candidates_drops_and_the_baseline():
    route = replace(CHEAPEST, floors={"overall": 65.0}, baseline="openai/big")
    request = chat()
    explanation = explain(decided(route, request), request, MARKET)
    text = render(explanation)

    assert [one.model for one in explanation.candidates] == ["deepseek/flash", "openai/big"]
    assert explanation.candidates[0].expected_cost_usd == "0.000301350"  # 9 tokens in, 500 out
    assert explanation.baseline_expected_cost_usd == "0.005018000"
    assert "google/new: nobody has measured its overall quality; the floor is 65 [quality]" in text

"""Each way to order candidates: value, fastest, ordered, and split. Cheapest and best: test_routing.py."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from gateway.core.candidate import Estimate, Signals
from gateway.core.market import Market
from gateway.core.pricing import PriceBook
from gateway.core.route import Route
from gateway.core.routing import Decision, decide
from gateway.policies import POLICIES
from gateway.policies.fastest import TRIED_ONE_IN
from tests.core.market import ALL, MARKET, MODELS, NOW, PRICES, PROVIDERS, chat, price


def decided(policy: str, *candidates: str, market: Market = MARKET, seed: int = 1, estimates=None, **more) -> Decision:
    route = Route("auto", POLICIES[policy], candidates or ALL, **more)
    return decide(route, chat(), market, Signals(now=NOW, seed=seed, estimates=estimates or {}))


def ranked(policy: str, *candidates: str, **more) -> list[str]:
    return [one.model.id for one in decided(policy, *candidates, **more).candidates]


def seen(ttft_ms: int | None, tokens_per_s: float | None = None, **more) -> Estimate:
    fields = {"tokens_per_byte": 0.25, "output_tokens": 500, "answers": 50}
    return Estimate(ttft_ms=ttft_ms, tokens_per_s=tokens_per_s, **{**fields, **more})


def test_value_ranks_by_score_per_dollar_and_the_unmeasured_come_last():
    # 66 for $0.00030, 60 for $0.00050, 80 for $0.00502
    assert ranked("value") == ["deepseek/flash", "openai/small", "openai/big", "google/new"]


def test_value_takes_the_dearer_where_it_is_better_by_more_than_it_costs():
    twice = price("openai/big", "0.05", "1.3")
    market = Market(MODELS, PROVIDERS, PriceBook([twice, *PRICES[1:]]))

    assert ranked("cheapest", "openai/big", "openai/small", market=market) == ["openai/small", "openai/big"]
    assert ranked("value", "openai/big", "openai/small", market=market) == ["openai/big", "openai/small"]


def test_value_is_only_asked_about_those_above_the_floor():
    assert ranked("value", floors={"overall": 65.0}) == ["deepseek/flash", "openai/big"]


def test_of_free_models_the_better_one_has_more_value():
    free = [price(name, "0", "0") for name in ("openai/big", "openai/small")]
    market = Market(MODELS, PROVIDERS, PriceBook([*free, *PRICES[2:]]))

    assert ranked("value", market=market)[:2] == ["openai/big", "openai/small"]


def test_fastest_ranks_by_the_time_to_the_whole_answer_not_to_its_first_token():
    estimates = {
        "openai/big": seen(200, 50.0),  # 0.2 s + 500 tokens at 50 a second: 10.2 s
        "openai/small": seen(2_000, 200.0),  # 4.5 s
        "deepseek/flash": seen(300, 100.0, output_tokens=3_000),  # thinks long: 30.3 s
    }

    assert ranked("fastest", estimates=estimates) == ["openai/small", "openai/big", "deepseek/flash", "google/new"]


def test_fastest_tries_those_it_has_not_seen_for_one_request_in_twenty():
    estimates = {name: seen(200, 50.0) for name in ALL if name != "google/new"}
    firsts = Counter(ranked("fastest", estimates=estimates, seed=seed)[0] for seed in range(10 * TRIED_ONE_IN))

    assert firsts["google/new"] == 10
    assert set(firsts) == {"google/new", "deepseek/flash"}  # of equally fast ones the cheaper


def test_before_anything_was_seen_fastest_keeps_the_order_of_the_route():
    assert ranked("fastest", *ALL) == list(ALL)
    assert ranked("fastest", *reversed(ALL)) == list(reversed(ALL))


def test_ordered_keeps_the_order_of_the_route_and_leaves_out_who_cannot_serve():
    assert ranked("ordered", *reversed(ALL)) == list(reversed(ALL))
    assert ranked("ordered", *ALL, floors={"overall": 65.0}) == ["openai/big", "deepseek/flash"]


def test_a_candidate_of_weight_0_is_drained_not_even_a_fallback():
    weights = {"openai/big": 1, "openai/small": 0}
    for seed in range(50):
        decision = decided("split", "openai/big", "openai/small", seed=seed, weights=weights)

        assert [one.model.id for one in decision.candidates] == ["openai/big"]
        assert [(drop.model, drop.code) for drop in decision.drops] == [("openai/small", "policy")]


def test_split_is_a_draw_without_replacement_by_weight():
    weights = {"openai/big": 8, "openai/small": 1, "deepseek/flash": 1}
    draws = [ranked("split", *weights, seed=seed, weights=weights) for seed in range(4_000)]

    assert all(sorted(draw) == sorted(weights) for draw in draws)
    firsts = Counter(draw[0] for draw in draws)
    assert 0.77 < firsts["openai/big"] / 4_000 < 0.83
    # what is left after the first draw is shared by the weights that are left
    seconds = Counter(draw[1] for draw in draws if draw[0] == "openai/small")
    assert seconds["openai/big"] > 5 * seconds["deepseek/flash"]


def test_split_on_a_route_without_weights_shares_equally():
    firsts = Counter(ranked("split", seed=seed)[0] for seed in range(4_000))

    assert all(0.22 < firsts[name] / 4_000 < 0.28 for name in ALL)


def test_no_policy_adds_repeats_or_changes_a_candidate():
    able = decided("ordered").candidates
    for policy in POLICIES.values():
        route = replace(Route("auto", policy, ALL), weights=dict.fromkeys(ALL, 1))
        order = list(policy.order(able, route, Signals(now=NOW, seed=3)))

        assert sorted(order, key=id) == sorted(able, key=id)


def known(here: int) -> Estimate:
    return Estimate(tokens_per_byte=0.25, output_tokens=500, answers=here, here=here)


def test_cheapest_explores_no_more_than_it_is_told_and_only_who_is_little_known():
    # The three cheap ones cost 200, 300 and 500 for the answer; the big one many times that.
    cheap = ("google/new", "deepseek/flash", "openai/small", "openai/big")
    estimates = {name: known(100) for name in cheap} | {"deepseek/flash": known(4)}
    first = Counter(ranked("cheapest", *cheap, seed=seed, estimates=estimates, explore_percent=3)[0]
                    for seed in range(1_000))  # fmt: skip

    assert first == {"google/new": 970, "deepseek/flash": 30}


def test_cheapest_never_tries_who_is_expected_to_cost_more_than_twice_the_least():
    estimates = {"google/new": known(100)}
    first = {ranked("cheapest", "google/new", "openai/big", seed=seed, estimates=estimates, explore_percent=100)[0]
             for seed in range(100)}  # fmt: skip

    assert first == {"google/new"}


def test_cheapest_stops_exploring_once_enough_is_known_and_explores_nobody_by_default():
    few = {"google/new": known(100), "deepseek/flash": known(4)}
    enough = {"google/new": known(100), "deepseek/flash": known(5)}

    for estimates, percent in ((enough, 100), (few, 0)):
        found = ranked("cheapest", "google/new", "deepseek/flash", estimates=estimates, explore_percent=percent)
        assert found == ["google/new", "deepseek/flash"]

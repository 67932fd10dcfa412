"""The baseline of an answer: never a dearer comparison than the answer itself can support."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.core.money import nano_from_usd
from gateway.core.pricing import PriceBook, Usage
from gateway.core.savings import baseline
from tests.core.market import MARKET, MODELS, NOW, PRICES

USAGE = Usage(input=1_000_000, output=200_000, reasoning=800_000)
FLASH = MARKET.prices.at("deepseek/flash", NOW)


def lengths(flash: int, big: int):
    models = {
        **MODELS,
        "deepseek/flash": replace(MODELS["deepseek/flash"], expected_output_tokens=flash),
        "openai/big": replace(MODELS["openai/big"], expected_output_tokens=big),
    }
    return replace(MARKET, models=models)


@pytest.mark.parametrize(
    ("flash", "big", "dollars"),
    [
        (500, 500, "12"),  # equal lengths: 1 M in at $2, 1 M out at $10
        (2_000, 500, "4.5"),  # the baseline is four times terser: 0.25 M out
        (500, 2_000, "12"),  # the baseline is more verbose: the answer's own length, never more
    ],
)
def test_a_verbose_answer_is_compared_at_the_baselines_own_length(flash, big, dollars):
    found = baseline("openai/big", FLASH, USAGE, lengths(flash, big), NOW)

    assert (found.model, found.cost) == ("openai/big", nano_from_usd(dollars))


def test_without_a_baseline_the_answer_is_compared_with_itself():
    found = baseline(None, FLASH, USAGE, lengths(2_000, 500), NOW)

    assert (found.model, found.cost) == ("deepseek/flash", FLASH.cost(USAGE))


def test_an_unpriced_baseline_claims_nothing():
    market = replace(MARKET, prices=PriceBook([row for row in PRICES if row.model != "openai/big"]))

    assert baseline("openai/big", FLASH, USAGE, market, NOW).cost == FLASH.cost(USAGE)

"""The two public catalogues in one form: what they say, and what they do not."""

import subprocess
import sys
from datetime import UTC, date, datetime, time
from decimal import Decimal

import pytest
from genai_prices.types import (
    ClauseEquals,
    ConditionalPrice,
    ModelInfo,
    ModelPrice,
    PriceVariant,
    Provider,
    StartDateConstraint,
    Tier,
    TieredPrices,
    TimeOfDateConstraint,
)

from gateway.pricebook.catalogue import STANDARD, Cell, Stated
from gateway.pricebook.genai import GenaiPrices
from gateway.pricebook.litellm_map import LiteLLMMap
from tests.running import ROOT


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


NOW = at("2026-11-24T12:00:00")
D = Decimal


def litellm(**entry) -> Stated:
    return LiteLLMMap({"m": {"litellm_provider": "openai", **entry}}, "1").states("openai", "m", NOW)


def test_a_name_of_the_map_is_a_cell():
    found = litellm(
        input_cost_per_token=D("2.5e-06"),
        cache_read_input_token_cost_above_272k_tokens=D("5e-07"),
        output_cost_per_token_above_272k_tokens_flex=D("1.125e-05"),
        input_cost_per_audio_token_priority=D("1.8e-06"),
        output_cost_per_reasoning_token=0,
        output_cost_per_image_token=D("3e-05"),
    )

    assert found.cells == {
        Cell(STANDARD, 0, "input"): 2_500_000,
        Cell(STANDARD, 272_000, "cached_input"): 500_000,
        Cell("flex", 272_000, "output"): 11_250_000,
        Cell("priority", 0, "audio_input"): 1_800_000,
        Cell(STANDARD, 0, "reasoning"): 0,
        Cell(STANDARD, 0, "image_output"): 30_000_000,
    }


def test_other_products_and_what_is_no_exact_price_say_nothing():
    found = litellm(
        input_cost_per_token_batches=D("1e-06"),
        cache_creation_input_token_cost_above_12hr=D("1e-06"),
        input_cost_per_second=D("1"),
        output_cost_per_token=None,
        input_cost_per_token=D("1.0000001e-06"),
    )

    assert found.cells == {}


PEAK = {
    "litellm_provider": "deepseek",
    "input_cost_per_token": D("3e-07"),
    "output_cost_per_token": D("1.2e-06"),
    "off_peak_pricing": {
        "input_cost_per_token": D("1.5e-07"),
        "windows": [
            {"hours_utc": ["00:00-01:00", "10:00-00:00"], "weekdays": [1, 2, 3, 4, 5]},
            {"hours_utc": "00:00-00:00", "weekdays": [6, 7]},
        ],
        "weekday_timezone": "Asia/Shanghai",
    },
}


@pytest.mark.parametrize(
    ("instant", "input"),
    [
        ("2026-11-24T00:59:59", 150_000),
        ("2026-11-24T01:00:00", 300_000),
        ("2026-11-24T09:59:59", 300_000),
        ("2026-11-24T23:00:00", 150_000),  # over midnight
        ("2026-11-28T05:00:00", 150_000),  # a Saturday
        ("2026-11-27T17:00:00", 150_000),  # a Saturday in Shanghai
    ],
)
def test_off_peak_hours_replace_the_rates_they_name(instant, input):
    found = LiteLLMMap({"deepseek/m": PEAK}, "1").states("deepseek", "m", at(instant))

    assert found.cells[Cell(STANDARD, 0, "input")] == input
    assert found.cells[Cell(STANDARD, 0, "output")] == 1_200_000


def test_an_unknown_model_is_not_a_free_one():
    assert LiteLLMMap({}, "1").states("openai", "m", NOW) is None
    assert GenaiPrices([], "1").states("openai", "m", NOW) is None


def test_retired_models_and_other_modes_are_not_listed():
    chat = {"litellm_provider": "gemini", "mode": "chat"}
    entries = {
        "gemini/new": chat,
        "gemini/old": {**chat, "deprecation_date": "2026-11-24"},
        "gemini/pictures": {**chat, "mode": "image_generation"},
        "new": chat,
    }

    assert LiteLLMMap(entries, "1").models("google", NOW) == ["new"]


def genai(prices, variants=()) -> GenaiPrices:
    model = ModelInfo(id="m", match=ClauseEquals(equals="m"), prices=prices, price_variants=list(variants))
    return GenaiPrices([Provider(id="openai", name="", api_pattern="", models=[model])], "1")


def test_dated_prices_take_effect_with_their_day():
    catalogue = genai(
        [
            ConditionalPrice(prices=ModelPrice(input_mtok=D(2), output_mtok=D(10))),
            ConditionalPrice(
                constraint=StartDateConstraint(start_date=date(2026, 12, 1)),
                prices=ModelPrice(input_mtok=D(4), output_mtok=D(20)),
            ),
        ]
    )

    inputs = [
        catalogue.states("openai", "m", at(text)).cells[Cell(STANDARD, 0, "input")]
        for text in ("2026-11-30T23:59:59", "2026-12-01T00:00:00")
    ]
    assert inputs == [2_000_000, 4_000_000]
    assert catalogue.starts("openai", "m") == [at("2026-12-01T00:00:00")]


def test_tiers_of_size_and_service_are_cells_and_a_flat_service_tier_says_so():
    catalogue = genai(
        ModelPrice(
            input_mtok=TieredPrices(base=D(2), tiers=[Tier(start=272_000, price=D(4))]),
            cache_read_mtok=D("0.2"),
            output_mtok=D(10),
            input_audio_mtok=D(7),
        ),
        [
            PriceVariant(when={"service_tier": "default"}, prices=ModelPrice()),
            PriceVariant(when={"service_tier": "priority"}, prices=ModelPrice(input_mtok=D(5))),
            PriceVariant(
                when={"service_tier": "flex"},
                prices=ModelPrice(input_mtok=D(1)),
                constraint=StartDateConstraint(start_date=date(2027, 1, 1)),
            ),
            PriceVariant(when={"processing": "batch"}, prices=ModelPrice(input_mtok=D(1))),
        ],
    )

    found = catalogue.states("openai", "m", NOW)

    assert found.tiers == (STANDARD, "priority")
    assert [found.value(STANDARD, above, "input") for above in (0, 200_000, 272_000)] == [
        2_000_000,
        2_000_000,
        4_000_000,
    ]
    assert [found.value("priority", above, "input") for above in (0, 272_000)] == [5_000_000, 5_000_000]
    assert found.value(STANDARD, 272_000, "audio_input") == 7_000_000
    assert found.value(STANDARD, 0, "cache_write") is None


def test_daily_hours_hold_every_day():
    catalogue = genai(
        [
            ConditionalPrice(prices=ModelPrice(input_mtok=D(1), output_mtok=D(1))),
            ConditionalPrice(
                constraint=TimeOfDateConstraint(start_time=time(1, tzinfo=UTC), end_time=time(4, tzinfo=UTC)),
                prices=ModelPrice(input_mtok=D(2), output_mtok=D(2)),
            ),
        ]
    )

    inputs = [
        catalogue.states("openai", "m", at(text)).cells[Cell(STANDARD, 0, "input")]
        for text in ("2026-11-24T01:00:00", "2026-11-28T01:00:00", "2026-11-28T04:00:00")
    ]
    assert inputs == [2_000_000, 2_000_000, 1_000_000]


def test_a_service_tier_says_nothing_about_sizes_it_does_not_name():
    stated = Stated({Cell(STANDARD, 0, "input"): 2, Cell("flex", 0, "input"): 1})

    assert stated.value(STANDARD, 200_000, "input") == 2
    assert stated.value("flex", 200_000, "input") is None


WITHOUT_LITELLM = """
import sys
from datetime import UTC, datetime
from gateway.pricebook.litellm_map import LiteLLMMap
assert len(LiteLLMMap.installed().models("openai", datetime.now(UTC))) > 20
assert "litellm" not in sys.modules
"""


def test_litellm_is_not_imported_for_its_map():
    subprocess.run([sys.executable, "-c", WITHOUT_LITELLM], cwd=ROOT, check=True, timeout=60)


def test_genai_prices_is_installed():
    assert GenaiPrices.installed().states("openai", "gpt-4o", NOW) is not None

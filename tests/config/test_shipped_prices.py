"""The shipped price book on real events: what a million tokens cost, worked out by hand from the published prices."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from conffiles import ROOT

from gateway.config import load
from gateway.core.money import nano_from_usd, usd_per_million
from gateway.core.pricing import Usage

BEIJING = ZoneInfo("Asia/Shanghai")
MILLION_IN = Usage(input=1_000_000)
MILLION_OUT = Usage(output=1_000_000)
# Small enough to stay under every context tier.
SMALL_IN = Usage(input=1_000)
SMALL_CACHED = Usage(cached_input=1_000)
SMALL_OUT = Usage(output=1_000)


@pytest.fixture(scope="module")
def prices():
    return load(ROOT / "routes.yaml", {}, now=datetime(2026, 11, 23, tzinfo=UTC)).world.market.prices


def beijing(*moment):
    return datetime(*moment, tzinfo=BEIJING).astimezone(UTC)


def per_million(prices, model, instant):
    """Dollars per million tokens of input, cached input and output, for a small request."""
    price = prices.at(model, instant)
    return tuple(price.cost(usage) / 1_000_000 for usage in (SMALL_IN, SMALL_CACHED, SMALL_OUT))


PEAK, OFF = (0.30, 0.006, 1.20), (0.15, 0.003, 0.60)


@pytest.mark.parametrize(
    ("instant", "expected"),
    [
        (beijing(2026, 11, 23, 9, 30), PEAK),  # a Monday morning
        (beijing(2026, 11, 23, 8, 59, 59), OFF),
        (beijing(2026, 11, 23, 9), PEAK),
        (beijing(2026, 11, 23, 11, 59, 59), PEAK),
        (beijing(2026, 11, 23, 12), OFF),  # lunch
        (beijing(2026, 11, 23, 14), PEAK),
        (beijing(2026, 11, 23, 18), OFF),
        (beijing(2026, 11, 21, 9, 30), OFF),  # a Saturday
        (beijing(2026, 11, 22, 15), OFF),  # a Sunday
        (beijing(2026, 10, 1, 9, 30), OFF),  # a Thursday, National Day
        (beijing(2026, 10, 7, 9, 30), OFF),  # a Wednesday, the holiday's last day
        (beijing(2026, 10, 8, 9, 30), PEAK),  # the Thursday after it
        (beijing(2026, 10, 10, 9, 30), OFF),  # a Saturday worked in exchange: a weekend all the same
    ],
)
def test_deepseek_peak_is_the_working_day_in_beijing(prices, instant, expected):
    assert per_million(prices, "deepseek/deepseek-flash", instant) == expected


def test_deepseek_peak_names_its_window_in_the_price_id(prices):
    peak = prices.at("deepseek/deepseek-flash", beijing(2026, 11, 23, 9, 30))
    off = prices.at("deepseek/deepseek-flash", beijing(2026, 11, 23, 13))

    assert (peak.id, off.id) == ("deepseek-flash@2026-09-10#peak", "deepseek-flash@2026-09-10")


def test_deepseek_v4_went_from_flat_to_peak_and_off_peak_on_2026_08_16(prices):
    # a Monday noon and, after the change, a Monday morning and noon in Beijing
    model = "deepseek/deepseek-v4-pro"

    assert per_million(prices, model, beijing(2026, 8, 16, 23, 59, 59)) == (0.435, 0.003625, 0.87)
    assert per_million(prices, model, beijing(2026, 8, 17, 9)) == (1.32, 0.044, 3.96)
    assert per_million(prices, model, beijing(2026, 8, 17, 12)) == (0.66, 0.022, 1.98)


def test_deepseek_weekends_are_off_peak_only_since_2026_08_23(prices):
    model = "deepseek/deepseek-v4-pro"

    assert per_million(prices, model, beijing(2026, 8, 22, 9, 30)) == (1.32, 0.044, 3.96)
    assert per_million(prices, model, beijing(2026, 8, 29, 9, 30)) == (0.66, 0.022, 1.98)


def test_deepseek_v4_1_flash_cut_the_price_at_noon_in_beijing_on_2026_09_10(prices):
    model = "deepseek/deepseek-flash"  # a Thursday: peak until noon, and again from 14:00

    assert per_million(prices, model, beijing(2026, 9, 10, 11, 59, 59)) == (0.44, 0.014, 1.32)
    assert per_million(prices, model, beijing(2026, 9, 10, 12)) == OFF
    assert per_million(prices, model, beijing(2026, 9, 10, 14)) == PEAK


@pytest.mark.parametrize(
    ("model", "day", "before", "after"),
    [
        ("openai/o3", (2025, 6, 10), (10.0, 2.5, 40.0), (2.0, 0.5, 8.0)),  # minus 80 %
        ("openai/gpt-5.6-sol", (2026, 8, 21), (5.0, 0.5, 30.0), (4.0, 0.4, 20.0)),  # a promotion
    ],
)
def test_a_cut_takes_effect_with_its_day(prices, model, day, before, after):
    cut = datetime(*day, tzinfo=UTC)

    assert per_million(prices, model, cut - timedelta(seconds=1)) == before
    assert per_million(prices, model, cut) == after


@pytest.mark.parametrize(
    ("model", "before", "after"),
    [
        ("openai/gpt-5.6-luna", (1.0, 6.0), (0.2, 1.2)),  # minus 80 %
        ("openai/gpt-5.6-terra", (2.5, 15.0), (2.0, 12.0)),  # minus 20 %
    ],
)
def test_the_cut_of_2026_07_30(prices, model, before, after):
    def at(*moment):
        rates = per_million(prices, model, datetime(*moment, tzinfo=UTC))
        return rates[0], rates[2]

    assert at(2026, 7, 29, 12) == before
    assert at(2026, 7, 31, 12) == after


def test_argon_doubles_to_the_second(prices):
    model = "google/gemini-4-argon"

    before = per_million(prices, model, datetime(2026, 11, 30, 23, 59, 59, tzinfo=UTC))
    after = per_million(prices, model, datetime(2026, 12, 1, tzinfo=UTC))

    assert before == (2.0, 0.1, 10.0)
    assert after == (4.0, 0.2, 20.0)


@pytest.mark.parametrize("name", ["gemini-3.6-flash", "gemini-3.7-flash", "gemini-3.8-flash"])
def test_gemini_flash_doubles_with_the_new_year(prices, name):
    before = per_million(prices, f"google/{name}", datetime(2026, 12, 31, 23, 59, 59, tzinfo=UTC))
    after = per_million(prices, f"google/{name}", datetime(2027, 1, 1, tzinfo=UTC))

    assert (before, after) == ((0.75, 0.075, 3.75), (1.5, 0.15, 7.5))


def test_gpt_5_4_past_272000_tokens_bills_the_whole_request_at_the_tier(prices):
    price = prices.at("openai/gpt-5.4", datetime(2026, 11, 23, tzinfo=UTC))

    # $2.50 and $15 a million up to 272,000 prompt tokens; twice and one and a half times as much beyond
    assert price.cost(Usage(input=272_000, output=1_000)) == nano_from_usd("0.695")  # 0.68 + 0.015
    assert price.cost(Usage(input=272_001, output=1_000)) == nano_from_usd("1.382505")  # 1.360005 + 0.0225
    assert price.cost(Usage(input=100_000, cached_input=172_001)) == nano_from_usd("0.5860005")  # 0.5 + 0.0860005


def test_a_flex_request_bills_half(prices):
    price = prices.at("openai/gpt-5.5", datetime(2026, 11, 23, tzinfo=UTC))

    assert price.cost(MILLION_IN) == nano_from_usd("10")  # beyond 272,000: twice $5
    assert price.cost(SMALL_OUT) == nano_from_usd("0.03")
    assert price.cost(SMALL_OUT, "flex") == nano_from_usd("0.015")


NOVEMBER = datetime(2026, 11, 23, tzinfo=UTC)


@pytest.mark.parametrize(
    ("model", "tier", "tokens", "dollars"),
    [
        # 272,000 prompt tokens and 1,000 of output, then one prompt token more
        ("openai/gpt-5.4", "flex", 272_000, "0.3475"),  # 0.34 + 0.0075
        ("openai/gpt-5.4", "flex", 272_001, "0.6912525"),  # 0.6800025 + 0.01125
        ("openai/gpt-5.4", "priority", 272_001, "1.390005"),  # no cliff: 1.360005 + 0.03
        ("openai/gpt-5.5", "fast", 272_001, "3.4750125"),  # no cliff: 3.4000125 + 0.075
        ("openai/gpt-5.6-luna", "flex", 272_001, "0.0553002"),  # 0.0544002 + 0.0009
        ("openai/gpt-5.6-luna", "priority", 272_000, "0.1112"),  # 0.1088 + 0.0024
        ("openai/gpt-5.6-luna", "priority", 272_001, "0.2212008"),  # 0.2176008 + 0.0036
        ("openai/gpt-5.6-luna", "fast", 272_001, "0.2212008"),
        ("openai/gpt-6-astra", "priority", 272_001, "11.03004"),  # 10.88004 + 0.15
        # 200,000 at Google
        ("google/gemini-2.5-pro", "priority", 200_000, "0.468"),  # 0.45 + 0.018
        ("google/gemini-2.5-pro", "priority", 200_001, "0.9270045"),  # 0.9000045 + 0.027
        ("google/gemini-2.5-pro", "flex", 200_001, "0.25750125"),  # 0.25000125 + 0.0075
        ("google/gemini-3.1-pro-preview", "priority", 200_001, "1.4724072"),  # 1.4400072 + 0.0324
        ("google/gemini-3.1-pro-preview", "flex", 200_001, "0.409002"),  # 0.400002 + 0.009
    ],
)
def test_a_service_tier_past_a_context_cliff(prices, model, tier, tokens, dollars):
    cost = prices.at(model, NOVEMBER).cost(Usage(input=tokens, output=1_000), tier)

    # The row's price may end in a fraction of a nano-dollar, and is rounded up once.
    assert cost == -(-int(Decimal(dollars) * 10**12) // 1_000)


@pytest.mark.parametrize(
    ("model", "tier", "audio"),
    [
        ("google/gemini-2.5-flash", None, "1"),
        ("google/gemini-2.5-flash", "flex", "0.5"),
        ("google/gemini-2.5-flash", "priority", "1.8"),
        ("google/gemini-2.5-flash-lite", None, "0.3"),
        ("google/gemini-3-flash-preview", None, "1"),
        ("google/gemini-3.1-flash-lite", "priority", "0.9"),
        ("google/gemini-2.5-pro", None, "1.25"),  # as text
        ("google/gemini-3.8-flash", None, "0.75"),  # as text
    ],
)
def test_audio_in_the_prompt(prices, model, tier, audio):
    assert prices.at(model, NOVEMBER).cost(Usage(audio_input=1_000), tier) * 1_000 == nano_from_usd(audio)


def test_money_for_a_long_request_is_held_at_the_dearest_tier_it_may_be_served_in(prices):
    luna = prices.at("openai/gpt-5.6-luna", NOVEMBER)

    short, long, standard = luna.dearest(1_000, None), luna.dearest(300_000, "auto"), luna.dearest(300_000, "default")

    assert [usd_per_million(rate) for rate in (short.input, short.output)] == ["0.4", "2.4"]
    assert [usd_per_million(rate) for rate in (long.input, long.output)] == ["0.8", "3.6"]
    assert [usd_per_million(rate) for rate in (standard.input, standard.output)] == ["0.4", "1.8"]


def test_every_shipped_row_names_its_day_in_its_id(prices):
    loaded = load(ROOT / "routes.yaml", {}, now=datetime(2026, 11, 23, tzinfo=UTC))

    rows = [row for model in loaded.world.market.models for row in prices.rows(model)]
    assert len(rows) > 50
    assert all(row.id == f"{row.model.partition('/')[2]}@{row.effective_from:%Y-%m-%d}" for row in rows)

"""Prices in time: rows, windows, holidays, cliffs and service tiers, in exact integers."""

from __future__ import annotations

from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.money import Pico, nano_from_usd, pico_from_usd_per_million, usd, usd_per_million
from gateway.core.pricing import ContextTier, Holidays, PriceBook, PriceRow, Rates, Status, Usage, Window

SHANGHAI = ZoneInfo("Asia/Shanghai")


def rates(input: str, output: str, cached: str | None = None) -> Rates:
    into, out = pico_from_usd_per_million(input), pico_from_usd_per_million(output)
    return Rates(into, pico_from_usd_per_million(cached) if cached else into, into, out, out)


def row(day: str, base: Rates, **more) -> PriceRow:
    start = datetime.fromisoformat(day).replace(tzinfo=UTC)
    fields = {"id": f"m@{day}", "model": "p/m", "effective_from": start, "effective_until": None,
              "status": Status.ANNOUNCED, "source": "test"}  # fmt: skip
    return PriceRow(**{**fields, **more}, rates=base)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


PEAK = Window(
    name="peak",
    zone=SHANGHAI,
    weekdays=frozenset(range(5)),
    minutes=((9 * 60, 12 * 60), (14 * 60, 18 * 60)),
    holidays=Holidays("cn", SHANGHAI, date(2026, 1, 1), date(2026, 12, 31), frozenset({date(2026, 10, 1)})),
    rates=rates("0.30", "1.20", "0.006"),
)


def test_a_cost_is_rounded_up_once():
    one_token = Usage(input=1)

    assert rates("0.15", "0.60").cost(one_token) == 150  # 150,000 pico-dollars are exactly 150 nano-dollars
    assert rates("0.003", "0").cost(one_token) == 3
    assert rates("0.0001", "0").cost(one_token) == 1  # 0.1 nano-dollar, up
    assert rates("0.0001", "0.0001").cost(Usage(input=1, output=1)) == 1  # the sum is rounded, not each class


def test_each_class_is_priced_at_its_own_rate():
    price = Rates(Pico(1_000), Pico(10), Pico(2_000), Pico(5_000), Pico(7_000))
    usage = Usage(input=1, cached_input=100, cache_write=1, output=1, reasoning=1)

    assert price.cost(usage) == 1 + 1 + 2 + 5 + 7


def test_a_row_takes_effect_to_the_second_and_history_stays():
    book = PriceBook([row("2026-07-30", rates("0.2", "1.2")), row("2026-01-01", rates("1", "6"))])

    assert book.at("p/m", at("2026-07-29T23:59:59")).id == "m@2026-01-01"
    assert book.at("p/m", at("2026-07-30T00:00:00")).id == "m@2026-07-30"
    assert book.at("p/m", at("2025-12-31T23:59:59")) is None
    assert book.next_start("p/m", at("2026-03-01T00:00:00")) == at("2026-07-30T00:00:00")


def test_an_ended_row_leaves_the_model_unpriced_not_free():
    book = PriceBook([row("2026-01-01", rates("1", "6"), effective_until=at("2026-02-01"))])

    assert book.at("p/m", at("2026-01-31T23:59:59")) is not None
    assert book.at("p/m", at("2026-02-01T00:00:00")) is None


def test_a_rumoured_row_is_never_in_force():
    book = PriceBook([row("2026-01-01", rates("0.07", "0.27"), status=Status.RUMOURED)])

    assert book.at("p/m", at("2026-06-01T00:00:00")) is None
    assert book.rows("p/m") == ()


@pytest.mark.parametrize(
    ("instant", "window"),
    [
        ("2026-09-28T00:59:59", None),  # Monday 08:59:59 in Shanghai
        ("2026-09-28T01:00:00", "peak"),  # 09:00
        ("2026-09-28T03:59:59", "peak"),  # 11:59:59
        ("2026-09-28T04:00:00", None),  # noon
        ("2026-09-28T06:00:00", "peak"),  # 14:00
        ("2026-09-28T10:00:00", None),  # 18:00
        ("2026-09-26T02:00:00", None),  # Saturday
        ("2026-10-01T02:00:00", None),  # Thursday, a holiday
    ],
)
def test_a_weekly_window_follows_its_own_zone_and_holidays(instant, window):
    book = PriceBook([row("2026-01-01", rates("0.15", "0.60", "0.003"), windows=(PEAK,))])
    price = book.at("p/m", at(instant))

    assert price.id == ("m@2026-01-01#peak" if window else "m@2026-01-01")
    assert price.cost(Usage(output=1_000_000)) == nano_from_usd("1.20" if window else "0.60")


def test_past_a_context_cliff_the_whole_request_bills_at_the_tier():
    tiers = (ContextTier(200_000, rates("4", "18")), ContextTier(500_000, rates("8", "36")))
    price = PriceBook([row("2026-01-01", rates("2", "12"), context_tiers=tiers)]).at("p/m", at("2026-06-01"))

    assert price.cost(Usage(input=200_000)) == nano_from_usd("0.4")
    assert price.cost(Usage(input=150_000, cached_input=50_001)) == nano_from_usd("0.800004")
    assert price.cost(Usage(input=500_001)) == nano_from_usd("4.000008")


def test_the_service_tier_in_the_reply_decides_and_an_unknown_one_changes_nothing():
    price = PriceBook([row("2026-01-01", rates("2", "12"), service_tiers={"flex": rates("1", "6")})]).at(
        "p/m", at("2026-06-01")
    )
    usage = Usage(input=1_000_000)

    assert price.cost(usage, "flex") == nano_from_usd("1")
    assert price.cost(usage, "default") == price.cost(usage, None) == nano_from_usd("2")


@given(st.integers(0, 10**15))
def test_dollars_are_shown_and_read_back_exactly(nano):
    assert nano_from_usd(usd(nano)) == nano


@given(st.integers(0, 10**9))
def test_a_token_price_is_shown_and_read_back_exactly(pico):
    assert pico_from_usd_per_million(usd_per_million(pico)) == pico


def test_a_loss_keeps_its_sign():
    assert usd(-1_500) == "-0.000001500"


@pytest.mark.parametrize("text", ["-1", "NaN", "Infinity", "0.0000001", "free", ""])
def test_what_is_no_exact_price_is_refused(text):
    with pytest.raises(ValueError, match="dollars per million tokens"):
        pico_from_usd_per_million(text)

"""Prices in time: rows, windows, holidays, cliffs and service tiers, in exact integers."""

from __future__ import annotations

from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.money import Pico, nano_from_usd, pico_from_usd_per_million, usd, usd_per_million
from gateway.core.pricing import (
    CLASSES,
    ContextTier,
    Holidays,
    PriceBook,
    PriceRow,
    Rates,
    ServiceTier,
    Status,
    Usage,
    Window,
)

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
    price = PriceBook([row("2026-01-01", rates("2", "12"), service_tiers={"flex": ServiceTier(rates("1", "6"))})]).at(
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


# What a request may be held at --------------------------------------------------------------------------------------


def test_a_service_tier_has_a_cliff_of_its_own():
    flex = ServiceTier(rates("1", "6"), (ContextTier(200_000, rates("2", "9")),))
    base = (ContextTier(200_000, rates("4", "18")),)
    price = PriceBook(
        [row("2026-01-01", rates("2", "12"), context_tiers=base, service_tiers={"flex": flex})]
    ).at("p/m", at("2026-06-01"))  # fmt: skip

    assert price.cost(Usage(input=200_000), "flex") == nano_from_usd("0.2")
    assert price.cost(Usage(input=200_001), "flex") == nano_from_usd("0.400002")
    assert price.cost(Usage(input=200_001)) == nano_from_usd("0.800004")


def test_audio_and_images_bill_as_text_unless_they_have_a_rate():
    plain = Rates(Pico(1_000), Pico(10), Pico(2_000), Pico(5_000), Pico(5_000))
    rich = Rates(Pico(1_000), Pico(10), Pico(2_000), Pico(5_000), Pico(5_000), Pico(7_000), Pico(0), Pico(9_000))
    usage = Usage(audio_input=1, image_input=1, audio_output=1, image_output=1)

    assert plain.cost(usage) == 1 + 1 + 5 + 5
    assert rich.cost(usage) == 7 + 0 + 9 + 5


def test_a_request_is_held_at_the_tiers_it_may_be_served_in():
    tiers = {
        "flex": ServiceTier(rates("1", "6")),
        "priority": ServiceTier(rates("3", "20"), (ContextTier(100, rates("9", "20")),)),
    }
    price = PriceBook(
        [row("2026-01-01", rates("2", "12"), context_tiers=(ContextTier(200, rates("4", "18")),), service_tiers=tiers)]
    ).at("p/m", at("2026-06-01"))  # fmt: skip

    def held(tokens: int, tier: str | None) -> tuple[str, str]:
        found = price.dearest(tokens, tier)
        return usd_per_million(found.input), usd_per_million(found.output)

    for tier in ("default", "standard", "flex"):
        assert [held(tokens, tier) for tokens in (0, 200, 201)] == [("2", "12"), ("2", "12"), ("4", "18")]
    for tier in (None, "auto", "priority", "fast", ""):
        assert [held(tokens, tier) for tokens in (100, 101, 201)] == [("3", "20"), ("9", "20"), ("9", "20")]


def test_a_flex_tier_dearer_than_the_base_is_held_at_its_own_rates():
    tiers = {"flex": ServiceTier(rates("5", "6"))}
    price = PriceBook([row("2026-01-01", rates("2", "12"), service_tiers=tiers)]).at("p/m", at("2026-06-01"))

    found = price.dearest(1, "flex")

    assert (usd_per_million(found.input), usd_per_million(found.output)) == ("5", "12")


picos = st.integers(0, 10**8).map(Pico)
any_rates = st.builds(
    Rates, *[picos] * 5, **dict.fromkeys(CLASSES[5:], st.none() | picos)
)  # fmt: skip
steps = st.lists(
    st.builds(ContextTier, st.integers(1, 50), any_rates), max_size=3, unique_by=lambda tier: tier.above_input_tokens
).map(lambda found: tuple(sorted(found, key=lambda tier: tier.above_input_tokens)))
TIERS = ("flex", "priority", "fast")
usages = st.builds(Usage, **dict.fromkeys(CLASSES, st.integers(0, 20)))


@given(
    any_rates, steps, st.dictionaries(st.sampled_from(TIERS), st.builds(ServiceTier, any_rates, steps)),
    usages, st.integers(0, 40), st.sampled_from((None, "auto", "default", "standard", "scale", *TIERS)),
    st.sampled_from((None, "default", *TIERS)),
)  # fmt: skip
def test_no_attempt_within_the_bound_costs_more_than_at_its_dearest(base, cliffs, tiers, usage, spare, asked, served):
    price = PriceBook([row("2026-01-01", base, context_tiers=cliffs, service_tiers=tiers)]).at(
        "p/m", at("2026-06-01")
    )  # fmt: skip
    if asked in ("default", "standard") or (asked == "flex" and served != "flex"):
        served = "default"

    assert price.cost(usage, served) <= price.dearest(usage.prompt + spare, asked).cost(usage)


# What comes next ----------------------------------------------------------------------------------------------------


def test_the_next_change_is_a_row_an_end_or_the_edge_of_a_window():
    book = PriceBook(
        [
            row("2026-01-01", rates("1", "1"), windows=(PEAK,)),
            row("2026-09-30", rates("2", "2"), effective_until=at("2026-12-01")),
        ]
    )

    def next_of(text: str) -> tuple[datetime, str | None]:
        change = book.next_change("p/m", at(text))
        return change.at, change.price and change.price.id

    assert next_of("2025-12-31T00:00:00") == (at("2026-01-01"), "m@2026-01-01")
    assert next_of("2026-09-28T00:00:00") == (at("2026-09-28T01:00:00"), "m@2026-01-01#peak")
    assert next_of("2026-09-28T01:00:00") == (at("2026-09-28T04:00:00"), "m@2026-01-01")
    assert next_of("2026-09-25T10:00:00") == (at("2026-09-28T01:00:00"), "m@2026-01-01#peak")  # over the weekend
    assert next_of("2026-09-29T10:00:00") == (at("2026-09-30"), "m@2026-09-30")
    assert next_of("2026-10-01T00:00:00") == (at("2026-12-01"), None)
    assert book.next_change("p/m", at("2026-12-01T00:00:00")) is None
    assert book.next_change("p/unknown", at("2026-12-01T00:00:00")) is None


def test_a_holiday_moves_the_next_window():
    book = PriceBook([row("2026-01-01", rates("1", "1"), windows=(PEAK,))])

    # Wednesday evening, before a Thursday off
    assert book.next_change("p/m", at("2026-09-30T10:00:00")).at == at("2026-10-02T01:00:00")

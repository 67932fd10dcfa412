"""FOCUS rows: sums that are exact whatever is grouped, and rows that the FOCUS 1.4 linter has nothing to say about."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

import msgspec
from focus_data_toolkit.model import lint_focus_1_4_structure
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.corrections import correction, reversal
from gateway.core.money import Nano, Pico
from gateway.core.pricing import ContextTier, PriceRow, Rates, ServiceTier, Status, Usage, Window
from gateway.core.records import SpendRecord, State, UsageSource
from gateway.core.sheet import Row
from gateway.finance.focus import COLUMNS, GROUP, by_attempt, by_day
from gateway.finance.split import METERS, PricesById, split
from tests.stores.samples import ONE

picos = st.integers(0, 10**9).map(Pico)
some_rates = st.builds(Rates, *[picos] * 5, *[st.none() | picos] * 4)
usages = st.builds(Usage, *[st.just(0) | st.integers(0, 10**6)] * 9)
CONDITIONS = ("SupportsUnitPricing", "SupportsMultiplePricingCategories")


def row(rates: Rates, **more) -> PriceRow:
    since = datetime(2026, 1, 1, tzinfo=UTC)
    return PriceRow("row@2026", "deepseek/v4-flash", since, None, Status.ANNOUNCED, "test", rates, **more)


def record(usage: Usage, rates: Rates, **changes) -> SpendRecord:
    tokens = {f"{name}_tokens": count for name, count in msgspec.structs.asdict(usage).items()}
    return msgspec.structs.replace(ONE, **{"price_id": "row@2026", "cost_nano": rates.cost(usage), **tokens, **changes})


def plain_rates(times: int = 1) -> Rates:
    return Rates(*(Pico(one * times) for one in (150_000, 3_333, 150_000, 600_001, 600_001)))


def named(rows) -> list[dict[str, str]]:
    return [dict(zip((column.name for column in COLUMNS), map(text, one), strict=True)) for one in rows]


def text(cell: str | int | None) -> str:
    return "" if cell is None else str(cell)


def nano(rows: list[dict[str, str]], column: str) -> int:
    return int(sum(Decimal(one[column]) for one in rows) * 10**9)


def sorted_days(records: list[SpendRecord]) -> list[SpendRecord]:
    """As the stores read them."""
    return sorted(records, key=lambda one: (one.at_us // 86_400_000_000, *(str(getattr(one, name)) for name in GROUP)))


@given(usages, some_rates, st.sampled_from([1, -1]))
def test_the_parts_of_an_attempt_sum_to_its_cost_and_each_is_its_share_rounded(usage, rates, sign):
    one = record(usage, rates, corrects=None)
    if sign < 0:
        one = reversal(one)
    parts = split(one, PricesById([row(rates)]).get("row@2026"))

    assert sum(part.billed_nano for part in parts) == one.cost_nano
    assert sum(part.baseline_nano for part in parts) == one.baseline_nano
    assert sum(part.tokens for part in parts) == sign * usage.total
    if usage.total:
        assert [part.meter for part in parts] == [name for name in METERS if getattr(usage, name)]
        for part in parts:
            assert abs(part.billed_nano * 1000 - part.rate * part.tokens) < 1000 * len(parts)


def test_the_dearest_class_carries_the_rounding():
    rates = Rates(*map(Pico, (1, 1, 1, 2, 2)))
    parts = split(
        record(Usage(input=999, cached_input=1500, output=600), rates), PricesById([row(rates)]).get("row@2026")
    )

    assert [(part.meter, part.billed_nano) for part in parts] == [("input", 0), ("cached_input", 3), ("output", 1)]


def test_no_unit_price_is_shown_that_does_not_give_the_booked_cost():
    rates = plain_rates()
    usage = Usage(input=100, output=10)
    book = PricesById([row(rates)])
    cases = [
        record(usage, rates, price_id="gone@2020"),
        record(usage, rates, price_id=None),
        record(usage, rates, cost_nano=Nano(rates.cost(usage) + 1)),
        record(usage, rates, state=State.UNCERTAIN, cost_nano=Nano(77)),
    ]
    rows = named(by_attempt(cases, book))

    assert len(rows) == len(cases)
    for one, made in zip(rows, cases, strict=True):
        assert (one["ListUnitPrice"], one["SkuPriceId"], one["SkuId"], one["PricingCategory"]) == ("", "", "", "")
        assert (one["ConsumedQuantity"], one["x_PriceId"]) == ("110", made.price_id or "")
        assert one["BilledCost"] == one["ListCost"] == f"{made.cost_nano / 10**9:.9f}"
    assert lint_focus_1_4_structure("Cost and Usage", rows).messages() == []


def test_windows_tiers_and_context_cliffs_find_their_own_rates():
    peak = Window("peak", ZoneInfo("UTC"), frozenset(range(7)), ((0, 1440),), None, plain_rates(2))
    dear = row(
        plain_rates(), windows=(peak,), service_tiers={"flex": ServiceTier(plain_rates(3))},
        context_tiers=(ContextTier(1000, plain_rates(4)),),
    )  # fmt: skip
    small, large = Usage(input=10, output=1), Usage(input=1001, output=1)
    rows = named(
        by_attempt(
            [
                record(small, plain_rates()),
                record(small, plain_rates(2), price_id="row@2026#peak"),
                record(small, plain_rates(3), service_tier="flex"),
                record(large, plain_rates(4)),
            ],
            PricesById([dear]),
        )
    )
    assert [one["ListUnitPrice"] for one in rows[::2]] == [f"0.000000{150 * times}000" for times in (1, 2, 3, 4)]
    assert {one["PricingCategory"] for one in rows} == {"Dynamic"}
    assert rows[2]["SkuPriceId"] == "row@2026#peak"
    assert named(by_attempt([record(small, plain_rates())], PricesById([row(plain_rates())])))[0][
        "PricingCategory"
    ] == ("Standard")


def test_an_attempt_that_took_and_cost_nothing_is_no_charge_and_a_cache_hit_is_one_of_nothing():
    nothing = msgspec.structs.replace(record(Usage(), plain_rates()), baseline_nano=Nano(0))
    hit = msgspec.structs.replace(nothing, usage_source=UsageSource.CACHE, price_id=None, baseline_nano=Nano(1500))
    rows = named(by_day([nothing, hit, hit], PricesById([row(plain_rates())])))

    (one,) = rows
    assert (one["BilledCost"], one["x_BaselineCost"], one["x_SavedCost"]) == (
        "0.000000000",
        "0.000003000",
        "0.000003000",
    )
    assert (one["x_CacheHit"], one["ConsumedQuantity"], one["ConsumedUnit"]) == ("true", "", "")
    assert lint_focus_1_4_structure("Cost and Usage", rows).messages() == []


def some_records() -> list[SpendRecord]:
    at = ONE.at_us + 8 * 86_400_000_000 - 1  # the last microsecond of a month
    return [
        record(
            Usage(input=7 * number, cached_input=number % 3, output=number, reasoning=number % 2),
            plain_rates(),
            attempt_id=f"a{number}",
            at_us=at - 3_600_000_000 * (number % 30),
            team="Zürich" if number % 2 else "search",
            tags='{"cost_centre":"42"}' if number % 5 == 0 else "{}",
            organisation="acme" if number % 7 else "",
        )
        for number in range(1, 200)
    ]


def both(records: list[SpendRecord]) -> tuple[list[dict[str, str]], list[dict[str, str]]]:
    book = PricesById([row(plain_rates())])
    return named(by_attempt(records, book)), named(by_day(sorted_days(records), book))


def test_days_sum_to_the_same_as_attempts_and_to_the_records():
    records = some_records()
    fixed = [
        each
        for one in records[:9]
        for each in (reversal(one), correction(one, cost_nano=Nano(3), usage=Usage(input=1)))
    ]
    records += fixed
    fine, coarse = both(records)

    for rows in (fine, coarse):
        assert nano(rows, "BilledCost") == nano(rows, "EffectiveCost") == sum(one.cost_nano for one in records)
        assert nano(rows, "x_BaselineCost") == sum(one.baseline_nano for one in records)
        assert nano(rows, "x_SavedCost") == sum(one.saved_nano for one in records)
        assert sum(int(one["ConsumedQuantity"] or 0) for one in rows) == sum(
            getattr(one, f"{name}_tokens") for one in records for name in METERS
        )
        assert lint_focus_1_4_structure("Cost and Usage", rows).messages() == []
    assert len(coarse) < len(fine) / 5
    assert {one["ChargeClass"] for one in coarse} == {"", "Correction"}
    assert {one["x_Corrects"] for one in coarse} == {"", *(one.attempt_id for one in records[:9])}


def test_priced_rows_pass_with_unit_pricing_and_pricing_categories_declared():
    fine, coarse = both(some_records())
    for rows in (fine, coarse):
        assert lint_focus_1_4_structure("Cost and Usage", rows, supported_conditions=CONDITIONS).messages() == []


def test_periods_are_whole_months_days_and_seconds():
    fine, coarse = both(some_records()[:1])
    (day, second) = (coarse[0], fine[0])

    assert (day["BillingPeriodStart"], day["BillingPeriodEnd"]) == ("2026-11-01T00:00:00Z", "2026-12-01T00:00:00Z")
    assert (day["ChargePeriodStart"], day["ChargePeriodEnd"]) == ("2026-11-30T00:00:00Z", "2026-12-01T00:00:00Z")
    assert (second["ChargePeriodStart"], second["ChargePeriodEnd"]) == ("2026-11-30T22:59:59Z", "2026-11-30T23:00:00Z")


def test_providers_go_by_the_names_on_their_invoices():
    def issuer(provider: str) -> Row:
        one = named(by_attempt([record(Usage(input=1), plain_rates(), provider=provider)], PricesById([])))[0]
        return one["InvoiceIssuerName"], one["HostProviderName"], one["ServiceProviderName"], one["ServiceName"]

    assert issuer("openai") == ("OpenAI", "OpenAI", "OpenAI", "OpenAI API")
    assert issuer("deepseek")[0] == "DeepSeek"
    assert issuer("google") == ("Google", "Google", "Google", "Gemini API")
    assert issuer("mistral") == ("mistral",) * 4

"""The ledger as FOCUS 1.4 Cost and Usage: one row for each attempt, or group of a day's attempts, and class of token.

BilledCost sums to the ledger's cost to the nano-dollar, whatever is grouped. ListCost and ContractedCost are the unit
price times the quantity, before the rounding that `split` describes. Savings are no credit of a provider, so they
stand in x_ columns; x_BaselineCost is whole in one row of an attempt, so that it too can be summed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import groupby
from operator import attrgetter

import msgspec

from gateway.core.money import usd
from gateway.core.pricing import Price
from gateway.core.records import SpendRecord, UsageSource
from gateway.core.sheet import Column, Kind, Row

from .exact import usd_from_pico
from .split import METERS, Part, PricesById, split

GROUP = (
    "provider", "model", "route", "policy", "team", "key_id", "organisation", "tags", "price_id", "service_tier",
    "state", "usage_source", "simulated", "sign", "corrects",
)  # fmt: skip
"""What a day's attempts must have in common to share rows: the ledger is read in this order, day by day."""

_DISPLAY = {
    "openai": ("OpenAI", "OpenAI API"),
    "deepseek": ("DeepSeek", "DeepSeek API"),
    "google": ("Google", "Gemini API"),
}
"""Provider and service as invoices name them; any other provider goes by its name in routes.yaml."""

_KINDS = {
    Kind.DECIMAL: (
        "BilledCost", "EffectiveCost", "ListCost", "ContractedCost", "ListUnitPrice", "ContractedUnitPrice",
        "PricingQuantity", "ConsumedQuantity", "x_BaselineCost", "x_SavedCost",
    ),
    Kind.INSTANT: ("BillingPeriodStart", "BillingPeriodEnd", "ChargePeriodStart", "ChargePeriodEnd"),
    Kind.BOOLEAN: ("x_CacheHit", "x_Simulated"),
}  # fmt: skip
_KIND_OF = {name: kind for kind, names in _KINDS.items() for name in names}
COLUMNS = tuple(
    Column(name, _KIND_OF.get(name, Kind.TEXT))
    for name in (
        # Who billed whom for what, when.
        "BillingAccountId", "BillingAccountName", "BillingPeriodStart", "BillingPeriodEnd", "ChargePeriodStart",
        "ChargePeriodEnd", "SubAccountId", "SubAccountName", "ServiceProviderName", "HostProviderName",
        "InvoiceIssuerName", "ServiceCategory", "ServiceSubcategory", "ServiceName",
        "ChargeCategory", "ChargeClass", "ChargeDescription", "ChargeFrequency",
        # What and how much.
        "SkuId", "SkuMeter", "SkuPriceId", "PricingCategory", "PricingQuantity", "PricingUnit", "ConsumedQuantity",
        "ConsumedUnit", "ListUnitPrice", "ContractedUnitPrice",
        "BillingCurrency", "ListCost", "ContractedCost", "EffectiveCost", "BilledCost", "Tags",
        # What only the gateway knows.
        "x_BaselineCost", "x_SavedCost", "x_Model", "x_Route", "x_Policy", "x_Organisation", "x_KeyId", "x_EndUser",
        "x_PriceId", "x_ServiceTier", "x_UsageSource", "x_State", "x_CacheHit", "x_Simulated", "x_AttemptId",
        "x_Corrects",
    )
)  # fmt: skip

_DAY = timedelta(days=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_US_PER_S = 1_000_000
_US_PER_DAY = 86_400 * _US_PER_S
_same_rows = attrgetter(*GROUP)


class _Period(msgspec.Struct, frozen=True, gc=False):
    """Instants as text: the calendar month in UTC, and what the charge covers; ends exclusive."""

    month: str
    next_month: str
    start: str
    end: str


class _Sum(msgspec.Struct, gc=False):
    tokens: int = 0
    billed_nano: int = 0
    baseline_nano: int = 0


def by_attempt(records: Iterable[SpendRecord], prices: PricesById) -> Iterator[Row]:
    """One row for each attempt and class. A charge covers the second in which the attempt began."""
    for record in records:
        price = prices.get(record.price_id)
        period = _second(record.at_us)
        for part in split(record, price):
            yield _row(record, price, period, part, attempt_id=record.attempt_id, end_user=record.end_user)


def by_day(records: Iterable[SpendRecord], prices: PricesById) -> Iterator[Row]:
    """One row for each day, group and class. Records must come day by day, and within a day in the order of GROUP."""
    for (day, *_), group in groupby(records, lambda record: (record.at_us // _US_PER_DAY, *_same_rows(record))):
        first: SpendRecord | None = None
        price: Price | None = None
        sums: dict[tuple[str | None, int | None], _Sum] = {}
        for record in group:
            if first is None:
                first, price = record, prices.get(record.price_id)
            for part in split(record, price):
                total = sums.setdefault((part.meter, part.rate), _Sum())
                total.tokens += part.tokens
                total.billed_nano += part.billed_nano
                total.baseline_nano += part.baseline_nano
        assert first is not None  # groupby yields no empty group
        for (meter, rate), total in sorted(sums.items(), key=lambda item: _place(*item[0])):
            part = Part(meter, rate, total.tokens, total.billed_nano, total.baseline_nano)
            yield _row(first, price, _day(day), part)


_PLACES = {name: place for place, name in enumerate(METERS)}


def _place(meter: str | None, rate: int | None) -> tuple[int, int]:
    return (len(_PLACES), 0) if meter is None else (_PLACES[meter], rate or 0)


def _row(
    record: SpendRecord,
    price: Price | None,
    period: _Period,
    part: Part,
    *,
    attempt_id: str | None = None,
    end_user: str | None = None,
) -> Row:
    issuer, service = _DISPLAY.get(record.provider, (record.provider, record.provider))
    billed = usd(part.billed_nano)
    unit_price, listed, category, sku, meter, price_id = None, billed, None, None, None, None
    if part.meter is not None and part.rate is not None and price is not None:
        unit_price, listed = usd_from_pico(part.rate), usd_from_pico(part.rate * part.tokens)
        category = "Dynamic" if price.row.windows else "Standard"
        sku, meter, price_id = f"{record.model}:{part.meter}", METERS[part.meter], price.id
    quantity, unit = (str(part.tokens), "tokens") if part.tokens else (None, None)
    return (
        record.provider, issuer, period.month, period.next_month, period.start,
        period.end, record.team, record.team, issuer, issuer,
        issuer, "AI and Machine Learning", "Generative AI", service,
        "Usage", None if record.corrects is None else "Correction", _description(record, part), "Usage-Based",
        sku, meter, price_id, category, quantity, unit, quantity,
        unit, unit_price, unit_price,
        "USD", listed, listed, billed, billed, record.tags,
        usd(part.baseline_nano), usd(part.baseline_nano - part.billed_nano),
        record.model, record.route, record.policy, record.organisation or None, record.key_id, end_user,
        record.price_id, record.service_tier, record.usage_source.value, record.state.value,
        _truth(record.usage_source is UsageSource.CACHE), _truth(record.simulated), attempt_id,
        record.corrects,
    )  # fmt: skip


def _description(record: SpendRecord, part: Part) -> str:
    if part.meter is not None:
        return f"{record.model}: {METERS[part.meter].lower()}"
    if record.usage_source is UsageSource.CACHE:
        return f"{record.model}: answered from the response cache"
    return f"{record.model}: not split by class of token"


def _truth(value: bool) -> str:
    return "true" if value else "false"


@lru_cache(maxsize=64)
def _day(day: int) -> _Period:
    start = _EPOCH + day * _DAY
    return _Period(*_month(start), _instant(start), _instant(start + _DAY))


@lru_cache(maxsize=1024)
def _of_second(second: int) -> _Period:
    start = _EPOCH + timedelta(seconds=second)
    return _Period(*_month(start), _instant(start), _instant(start + timedelta(seconds=1)))


def _second(at_us: int) -> _Period:
    return _of_second(at_us // _US_PER_S)


def _month(at: datetime) -> tuple[str, str]:
    first = at.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    return _instant(first), _instant((first + 32 * _DAY).replace(day=1))


def _instant(at: datetime) -> str:
    return f"{at:%Y-%m-%dT%H:%M:%S}Z"

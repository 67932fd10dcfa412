"""One attempt's cost, split by class of token so that the parts sum to it exactly.

The ledger keeps what an attempt cost and the id of its price row, not the rates. They are looked up in the price book,
and believed only when they give the booked cost to the nano-dollar; so an edited book, an amount that a hold or a
correction set, or a row that is gone never yields unit prices that were not charged. Such an attempt stays in one part.

An attempt is rounded up once, over all its classes. Each class gets its own share rounded down, and the dearest class
(the first in the order of METERS among equals) what is missing to the whole: less than a nano-dollar for each class.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from gateway.core.money import PICO_PER_NANO
from gateway.core.pricing import Price, PriceRow, Rates, Usage, price_of
from gateway.core.records import SpendRecord

METERS = {
    "input": "Input Tokens",
    "cached_input": "Cached Input Tokens",
    "cache_write": "Cache Write Tokens",
    "output": "Output Tokens",
    "reasoning": "Reasoning Tokens",
    "audio_input": "Audio Input Tokens",
    "image_input": "Image Input Tokens",
    "audio_output": "Audio Output Tokens",
    "image_output": "Image Output Tokens",
}
"""The classes of Usage, in the order of its fields, as an invoice would call them."""


class Part(msgspec.Struct, frozen=True, gc=False):
    """A share of one attempt: nano-dollars billed, pico-dollars a token.

    meter and rate are None when the attempt could not be split. baseline_nano is whole in one part, 0 in the others.
    """

    meter: str | None
    rate: int | None
    tokens: int
    billed_nano: int
    baseline_nano: int = 0


class PricesById:
    """The price book by what the ledger calls its rows: `row` or `row#window`."""

    def __init__(self, rows: Iterable[PriceRow]) -> None:
        self._prices: dict[str, Price] = {}
        for row in rows:
            for price in (price_of(row, None), *(price_of(row, window) for window in row.windows)):
                self._prices[price.id] = price

    def get(self, price_id: str | None) -> Price | None:
        return None if price_id is None else self._prices.get(price_id)


def tokens_of(record: SpendRecord) -> dict[str, int]:
    """By class; negative in a row that takes another back."""
    return {name: getattr(record, f"{name}_tokens") for name in METERS}


def split(record: SpendRecord, price: Price | None) -> list[Part]:
    """The parts of an attempt. None at all when it took no tokens, cost nothing and saved nothing."""
    tokens = tokens_of(record)
    rates = _rates(record, price, tokens)
    if rates is not None:
        parts = _parts(record, rates, tokens)
        if parts:
            return parts
    total = sum(tokens.values())
    if not (total or record.cost_nano or record.baseline_nano):
        return []
    return [Part(None, None, total, record.cost_nano, record.baseline_nano)]


def _rates(record: SpendRecord, price: Price | None, tokens: dict[str, int]) -> Rates | None:
    """The rates that this attempt was billed by: those that give its cost, else None."""
    if price is None:
        return None
    sign = record.sign
    usage = Usage(**{name: count * sign for name, count in tokens.items()})
    if any(count * sign < 0 for count in tokens.values()):
        return None
    rates = price.rates(usage.prompt, record.service_tier)
    return rates if rates.cost(usage) == record.cost_nano * sign else None


def _parts(record: SpendRecord, rates: Rates, tokens: dict[str, int]) -> list[Part]:
    sign = record.sign
    shares = [(name, _rate(rates, name), count) for name, count in tokens.items() if count]
    if not shares:
        return []
    exact = [rate * count * sign for _, rate, count in shares]
    billed = [pico // PICO_PER_NANO for pico in exact]
    dearest = exact.index(max(exact))
    billed[dearest] += record.cost_nano * sign - sum(billed)
    return [
        Part(name, rate, count, nano * sign, record.baseline_nano if at == dearest else 0)
        for at, ((name, rate, count), nano) in enumerate(zip(shares, billed, strict=True))
    ]


def _rate(rates: Rates, name: str) -> int:
    """As Rates.cost takes it: audio and images without a rate of their own bill as the text of their direction."""
    own: int | None = getattr(rates, name)
    if own is not None:
        return own
    return rates.input if name.endswith("input") else rates.output

"""What an answer would have cost at the route's declared baseline, at the prices in force at the same instant.

The prompt keeps its token classes: cached input is priced at the baseline's cached rate, so a prompt-cache discount is
never counted as a saving of routing. The answer is converted by the two models' stated expectations of an answer's
length, and only downwards: where the baseline is terser, its shorter answer is priced; where it is more verbose, the
answer's own length is. So a cheap model that thinks at length cannot make a saving look larger than it was, and no
saving is claimed for words that nobody wrote.
"""

from __future__ import annotations

from datetime import datetime

import msgspec

from .market import Market
from .money import Nano
from .pricing import Price, Usage


class Baseline(msgspec.Struct, frozen=True):
    """The declared comparison for one answer; without a declared model it is the answering model itself."""

    model: str
    price_id: str
    cost: Nano


def baseline(
    declared: str | None, own: Price, usage: Usage, market: Market, at: datetime, *, service_tier: str | None = None
) -> Baseline:
    """An unpriced baseline falls back to the answering model: an unknown price never becomes a saving.

    service_tier: what the provider reported. It counts where the answer is compared with its own model, which then
    has saved nothing; another model is compared at its standard rates.
    """
    price = own if declared is None else market.prices.at(declared, at) or own
    answering = own.row.model
    compared = price.row.model
    if compared == answering:
        return Baseline(model=compared, price_id=price.id, cost=price.cost(usage, service_tier))
    own_length = market.models[answering].expected_output_tokens
    converted = _converted(usage, own_length, market.models[compared].expected_output_tokens)
    return Baseline(model=compared, price_id=price.id, cost=price.cost(converted))


def _converted(usage: Usage, own_length: int, compared_length: int) -> Usage:
    """The answer at the compared model's length, rounded up; thinking is billed as output at every known provider."""
    if compared_length >= own_length:
        return usage
    return Usage(
        input=usage.input,
        cached_input=usage.cached_input,
        cache_write=usage.cache_write,
        output=-(-usage.completion * compared_length // own_length),
    )

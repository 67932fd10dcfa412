"""What an answer would have cost at the route's declared baseline, at the prices in force at the same instant.

The same disjoint token classes are priced at the baseline's rates: cached input keeps the cached rate there, so a
prompt-cache discount is never counted as a saving of routing. Token counts are not converted between the two models'
tokenizers: the answer's own counts are used.
"""

from __future__ import annotations

from datetime import datetime

import msgspec

from .money import Nano
from .pricing import Price, PriceBook, Usage


class Baseline(msgspec.Struct, frozen=True):
    """The declared comparison for one answer; without a declared model it is the answering model itself."""

    model: str
    price_id: str
    cost: Nano


def baseline(declared: str | None, own: Price, usage: Usage, prices: PriceBook, at: datetime) -> Baseline:
    """An unpriced baseline falls back to the answering model: an unknown price never becomes a saving."""
    price = own if declared is None else prices.at(declared, at) or own
    return Baseline(model=price.row.model, price_id=price.id, cost=price.cost(usage))

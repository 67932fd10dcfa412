"""Prices as a person and a program read them: a line for each model, all of one model, or JSON.

Dollars per million tokens, as decimal text: the form of the price book, exact in both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import msgspec

from gateway.core.money import Pico, usd_per_million
from gateway.core.pricing import CLASSES, Change, Price, Rates

from .catalogue import STANDARD, rates_by_class

_HEADS = ("input", "cached", "write", "output", "reasoning", "audio in", "image in", "audio out", "image out")
_COMMON = 5
"""The classes that every model has; the others are shown where somebody has a rate for them."""


@dataclass(frozen=True, slots=True)
class Quote:
    """A model's price at an instant, None when it has none, and what comes next, None when nothing is known."""

    model: str
    at: datetime
    price: Price | None
    change: Change | None


def _stamp(instant: datetime) -> str:
    return f"{instant:%Y-%m-%dT%H:%M:%SZ}"


def sizes(price: Price) -> list[tuple[str, int, Rates]]:
    """Every service tier and context tier of a price: its name, the threshold, the rates past it."""
    found = [(STANDARD, 0, price.base)]
    found += [(STANDARD, step.above_input_tokens, step.rates) for step in price.row.context_tiers]
    for name, tier in (price.row.service_tiers or {}).items():
        found.append((name, 0, tier.rates))
        found += [(name, step.above_input_tokens, step.rates) for step in tier.context_tiers]
    return found


def overview(quotes: Sequence[Quote]) -> str:
    """A table of standard rates, with the row and what comes next."""
    priced = [quote for quote in quotes if quote.price is not None]
    own = [quote.price.base for quote in priced if quote.price is not None]
    columns = _columns(own)
    lines = [["model", *(_HEADS[column] for column in columns), "price row", "status", "next change"]]
    for quote in priced:
        assert quote.price is not None
        told = "" if quote.change is None else f"{_stamp(quote.change.at)} {_id(quote.change)}"
        cells = _cells(quote.price.base, columns)
        lines.append([quote.model, *cells, quote.price.id, str(quote.price.row.status), told])
    return _table(lines, numbers=range(1, 1 + len(columns)))


def detail(quote: Quote) -> str:
    """All that the book says of one model's price."""
    head = f"{quote.model} at {_stamp(quote.at)}"
    if quote.price is None:
        later = "" if quote.change is None else f"; the next row, {_id(quote.change)}, begins {_stamp(quote.change.at)}"
        return f"{head}: no price{later}\n"
    row, found = quote.price.row, sizes(quote.price)
    columns = _columns([rates for _, _, rates in found])
    until = "" if row.effective_until is None else f" until {_stamp(row.effective_until)}"
    lines = [["service tier", "prompt", *(_HEADS[column] for column in columns)]]
    lines += [[name, f"> {above}" if above else "any", *_cells(rates, columns)] for name, above, rates in found]
    table = _table(lines, numbers=range(2, 2 + len(columns)))
    facts = [
        f"{head}, $ per million tokens",
        f"  row     {quote.price.id}, {row.status}, from {_stamp(row.effective_from)}{until}",
        f"  source  {row.source}",
        f"  next    {_next(quote)}",
    ]
    return "\n".join([*facts, "", *(f"  {line}" for line in table.splitlines())]) + "\n"


def as_json(quotes: Sequence[Quote]) -> str:
    return msgspec.json.format(msgspec.json.encode([_plain(quote) for quote in quotes])).decode() + "\n"


def _plain(quote: Quote) -> dict[str, object]:
    change = quote.change
    found: dict[str, object] = {"model": quote.model, "at": _stamp(quote.at), "price": None}
    if quote.price is not None:
        row = quote.price.row
        found["price"] = {
            "id": quote.price.id,
            "status": row.status,
            "source": row.source,
            "effective_from": _stamp(row.effective_from),
            "effective_until": None if row.effective_until is None else _stamp(row.effective_until),
            "window": None if quote.price.window is None else quote.price.window.name,
            "usd_per_million_tokens": [
                {"service_tier": name, "above_input_tokens": above, "rates": _texts(rates)}
                for name, above, rates in sizes(quote.price)
            ],
        }
    found["next"] = change and {
        "at": _stamp(change.at),
        "id": None if change.price is None else change.price.id,
        "rates": None if change.price is None else _texts(change.price.base),
    }
    return found


def _texts(rates: Rates) -> dict[str, str]:
    return {name: usd_per_million(pico) for name, pico in rates_by_class(rates).items()}


def _id(change: Change) -> str:
    return "no price" if change.price is None else change.price.id


def _next(quote: Quote) -> str:
    if quote.change is None:
        return "no change is known"
    told = f"{_stamp(quote.change.at)} {_id(quote.change)}"
    if quote.change.price is None or quote.price is None:
        return told
    bases = (quote.price.base, quote.change.price.base)
    before, after = map(_texts, bases)
    shown = [CLASSES[column] for column in _columns(bases)]
    moves = [f"{name} {before[name]} -> {after[name]}" for name in shown if before[name] != after[name]]
    return f"{told}: {', '.join(moves)}" if moves else f"{told}: the same standard rates"


def _columns(rates: Sequence[Rates]) -> list[int]:
    """Which classes are shown."""
    own = [index for index, name in enumerate(CLASSES) if any(getattr(one, name) is not None for one in rates)]
    return [index for index in range(len(CLASSES)) if index < _COMMON or index in own]


def _cells(rates: Rates, columns: Sequence[int]) -> list[str]:
    by_class = rates_by_class(rates)
    found: list[Pico] = [by_class[CLASSES[column]] for column in columns]
    return [usd_per_million(pico) for pico in found]


def _table(lines: Sequence[Sequence[str]], *, numbers: range) -> str:
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    shown = [
        "  ".join(
            cell.rjust(width) if column in numbers else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    ]
    return "\n".join(shown) + "\n"

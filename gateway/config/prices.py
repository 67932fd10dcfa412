"""Price rows: from their text to the price book, with the checks that need more than one row.

Rows of one model follow one another: each holds from its first instant until its own end or the next row's start.
Rows of routes.yaml go before the shipped ones while they hold (a negotiated price must not end because a list price
changes); afterwards the shipped row of that instant holds again.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from itertools import pairwise

from gateway.core.pricing import ContextTier, Holidays, PriceBook, PriceRow, Rates, Status, Window

from .catalogue import Names
from .files import File, listed
from .leaves import DAYS
from .mistakes import did_you_mean
from .shape import BookFile, HolidaysKeys, PriceKeys, RatesKeys, RoutesFile, WindowKeys
from .source import Spot


def build_prices(books: Sequence[File[BookFile]], routes: File[RoutesFile], names: Names) -> PriceBook:
    """All rows of all files. Raises nothing; mistakes are noted where they stand."""
    holidays: dict[str, Holidays] = {}
    for file in (*books, routes):
        for name, keys in file.keys.holidays.items():
            holidays[name] = _holidays(name, keys, file.spot.at("holidays", name))
    declared = {*holidays, *routes.source.names("holidays")}
    shipped: list[tuple[PriceRow, Spot]] = []
    for book in books:
        shipped += _rows(book, book.keys.provider.name + "/", names, holidays, declared)
    own = _rows(routes, "", names, holidays, declared)
    _check_ids([*shipped, *own])
    _check_overlaps(shipped)
    _check_overlaps(own)
    return PriceBook(lay_over([row for row, _ in own], [row for row, _ in shipped]))


def lay_over(own: Sequence[PriceRow], shipped: Sequence[PriceRow]) -> list[PriceRow]:
    """The rows in force when own ones go before shipped ones; a shipped row holds again where an own one ends."""
    rows = list(own)
    for model, theirs in _by_model(shipped).items():
        ours = _by_model(own).get(model, [])
        rows += [row for row in theirs if not any(_covers(one, following, row.effective_from) for one, following in _pairs(ours))]
        for one, following in _pairs(ours):
            end = one.effective_until
            if end is not None and (following is None or end < following.effective_from):
                rows += [dataclasses.replace(row, effective_from=end) for row in _in_force(theirs, end)]
    return rows

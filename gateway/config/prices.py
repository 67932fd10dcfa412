"""Price rows: from their text to the price book, with the checks that need more than one row.

Rows of one model follow one another: each holds from its first instant until its own end or the next row's start.
Rows of routes.yaml go before the shipped ones while they hold (a negotiated price must not end because a list price
changes); where one ends, the shipped row of that instant holds again.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from itertools import pairwise

from gateway.core.pricing import (
    ContextTier,
    Holidays,
    PriceBook,
    PriceRow,
    Rates,
    ServiceTier,
    Status,
    Window,
)

from .catalogue import Names
from .files import File
from .leaves import DAYS
from .mistakes import did_you_mean
from .shape import RoutesFile
from .shape_book import BookFile, ContextTierKeys, HolidaysKeys, PriceKeys, RatesKeys, WindowKeys
from .source import Spot

_FOREVER = datetime.max.replace(tzinfo=UTC)


def build_prices(books: Sequence[File[BookFile]], routes: File[RoutesFile], names: Names) -> PriceBook:
    """All rows of all files. Raises nothing; mistakes are noted where they stand."""
    holidays: dict[str, Holidays] = {}
    declared: set[str] = set()
    files: list[File[BookFile] | File[RoutesFile]] = [*books, routes]
    for file in files:
        declared.update(file.source.names("holidays"))
        for name, keys in file.keys.holidays.items():
            holidays[name] = _holidays(name, keys, file.spot.at("holidays", name))
    shipped: list[tuple[PriceRow, Spot]] = []
    for book in books:
        shipped += _rows(book, f"{book.keys.provider.name}/", names, holidays, declared)
    own = _rows(routes, "", names, holidays, declared)
    _check_ids([*shipped, *own])
    for group in (shipped, own):
        _check_overlaps(group)
    return PriceBook(lay_over([row for row, _ in own], [row for row, _ in shipped]))


def lay_over(own: Sequence[PriceRow], shipped: Sequence[PriceRow]) -> list[PriceRow]:
    """The rows in force when own ones go before shipped ones of the same model."""
    spans: dict[str, list[tuple[datetime, datetime]]] = {}
    for model, rows in _live(own).items():
        ends = [following.effective_from for following in rows[1:]] + [_FOREVER]
        spans[model] = [
            (row.effective_from, min(row.effective_until or _FOREVER, end)) for row, end in zip(rows, ends, strict=True)
        ]
    laid = list(own)
    for row in shipped:
        if not any(start <= row.effective_from < end for start, end in spans.get(row.model, ())):
            laid.append(row)
    shipped_book = PriceBook(shipped)
    for model, held in spans.items():
        starts = {start for start, _ in held}
        for _, end in held:
            price = None if end == _FOREVER or end in starts else shipped_book.at(model, end)
            if price is not None and price.row.effective_from != end:
                laid.append(dataclasses.replace(price.row, effective_from=end))
    return laid


def _live(rows: Sequence[PriceRow]) -> dict[str, list[PriceRow]]:
    """By model, oldest first, without rumours: those never hold."""
    found: dict[str, list[PriceRow]] = {}
    for row in sorted(rows, key=lambda row: row.effective_from):
        if row.status is not Status.RUMOURED:
            found.setdefault(row.model, []).append(row)
    return found


def _holidays(name: str, keys: HolidaysKeys, spot: Spot) -> Holidays:
    covers = keys.covers
    if covers.until < covers.from_:
        spot.at("covers", "until").wrong(f"holiday list {name!r} ends on {covers.until}, before it begins")
    else:
        for index, day in enumerate(keys.dates):
            if not covers.from_ <= day <= covers.until:
                spot.at("dates", index).wrong(f"{day} lies outside the period that holiday list {name!r} covers")
    return Holidays(name, keys.zone, covers.from_, covers.until, frozenset(keys.dates))


def _rows(
    file: File[BookFile] | File[RoutesFile],
    prefix: str,
    names: Names,
    holidays: Mapping[str, Holidays],
    declared: Collection[str],
) -> list[tuple[PriceRow, Spot]]:
    found = []
    for index, keys in enumerate(file.keys.prices):
        spot = file.spot.at("prices", index)
        model = names.resolve(spot.at("model"), keys.model if keys.model.startswith(prefix) else prefix + keys.model)
        _check_row(keys, spot, declared)
        if model is not None:
            found.append((_row(keys, model, holidays), spot))
    return found


def _row(keys: PriceKeys, model: str, holidays: Mapping[str, Holidays]) -> PriceRow:
    return PriceRow(
        id=keys.id,
        model=model,
        effective_from=keys.effective_from,
        effective_until=keys.effective_until,
        status=Status(keys.status),
        source=keys.source,
        rates=_rates(keys.rates),
        context_tiers=_context_tiers(keys.context_tiers),
        service_tiers={
            name: ServiceTier(_rates(tier), _context_tiers(tier.context_tiers))
            for name, tier in keys.service_tiers.items()
        }
        or None,
        windows=tuple(_window(window, holidays) for window in keys.windows),
    )


def _rates(keys: RatesKeys) -> Rates:
    return Rates(
        input=keys.input,
        cached_input=keys.input if keys.cached_input is None else keys.cached_input,
        cache_write=keys.input if keys.cache_write is None else keys.cache_write,
        output=keys.output,
        reasoning=keys.output if keys.reasoning is None else keys.reasoning,
        audio_input=keys.audio_input,
        image_input=keys.image_input,
        audio_output=keys.audio_output,
        image_output=keys.image_output,
    )


def _context_tiers(keys: Sequence[ContextTierKeys]) -> tuple[ContextTier, ...]:
    return tuple(ContextTier(tier.above_input_tokens, _rates(tier.rates)) for tier in keys)


def _window(keys: WindowKeys, holidays: Mapping[str, Holidays]) -> Window:
    return Window(
        name=keys.name,
        zone=keys.zone,
        weekdays=frozenset(DAYS.index(day) for day in keys.days),
        minutes=tuple(sorted(keys.hours)),
        holidays=holidays.get(keys.except_holidays) if keys.except_holidays is not None else None,
        rates=_rates(keys.rates),
    )


def _check_row(keys: PriceKeys, spot: Spot, declared: Collection[str]) -> None:
    if keys.effective_until is not None and keys.effective_until <= keys.effective_from:
        spot.at("effective_until").wrong(f"price row {keys.id!r} ends before it begins")
    _check_ascending(keys.context_tiers, f"price row {keys.id!r}", spot)
    for name, tier in keys.service_tiers.items():
        whose = f"service tier {name!r} in price row {keys.id!r}"
        _check_ascending(tier.context_tiers, whose, spot.at("service_tiers", name))
    for index, window in enumerate(keys.windows):
        here = spot.at("windows", index)
        holidays = window.except_holidays
        if holidays is not None and holidays not in declared:
            near = did_you_mean(holidays, declared)
            here.at("except_holidays").wrong(f"unknown holiday list {holidays!r} in price row {keys.id!r}{near}")
        for before in keys.windows[:index]:
            _check_windows(before, window, keys.id, here)
        for (_, end), (start, _) in pairwise(sorted(window.hours)):
            if start < end:
                here.at("hours").wrong(f"hours of window {window.name!r} in price row {keys.id!r} overlap")


def _check_ascending(tiers: Sequence[ContextTierKeys], whose: str, spot: Spot) -> None:
    for index, (lower, higher) in enumerate(pairwise(tier.above_input_tokens for tier in tiers), start=1):
        if higher <= lower:
            at = spot.at("context_tiers", index, "above_input_tokens")
            at.wrong(f"context tiers of {whose} do not ascend: {higher} stands after {lower}")


def _check_windows(before: WindowKeys, window: WindowKeys, row: str, spot: Spot) -> None:
    pair = f"windows {before.name!r} and {window.name!r} of price row {row!r}"
    if window.name == before.name:
        spot.at("name").wrong(f"two windows of price row {row!r} have the name {window.name!r}; the ledger names them")
    elif window.zone.key != before.zone.key:
        # Whether they overlap would change with every daylight-saving rule of both.
        spot.at("zone").wrong(f"{pair} are in different time zones; write both in one")
    elif set(window.days) & set(before.days) and any(
        start < other_end and other_start < end
        for start, end in window.hours
        for other_start, other_end in before.hours
    ):
        spot.wrong(f"{pair} overlap; at one instant only one may hold")


def _check_ids(rows: Sequence[tuple[PriceRow, Spot]]) -> None:
    first: dict[str, Spot] = {}
    for row, spot in rows:
        other = first.setdefault(row.id, spot)
        if other is not spot:
            first_one = f"line {other.at('id').place.line} of {other.source.name}"
            spot.at("id").wrong(f"price row id {row.id!r} stands twice; the first is on {first_one}")


def _check_overlaps(rows: Sequence[tuple[PriceRow, Spot]]) -> None:
    spots = {id(row): spot for row, spot in rows}
    for held in _live([row for row, _ in rows]).values():
        for row, following in pairwise(held):
            starts = following.effective_from
            if row.effective_from == starts:
                why = f"both begin at {_stamp(starts)}"
            elif row.effective_until is not None and row.effective_until > starts:
                why = f"that one ends at {_stamp(row.effective_until)}, this one begins at {_stamp(starts)}"
            else:
                continue
            at = spots[id(following)].at("effective_from")
            at.wrong(f"price row {following.id!r} overlaps {row.id!r}: {why}")


def _stamp(instant: datetime) -> str:
    return instant.strftime("%Y-%m-%dT%H:%M:%SZ")

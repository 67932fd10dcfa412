"""Price rows: from their text to the price book, with the checks that need more than one row.

Rows of one model follow one another: each holds from its first instant until its own end or the next row's start.
Rows of routes.yaml, and of the reviewed file it may name, go before the shipped ones while they hold (a negotiated
price must not end because a list price changes); where one ends, the shipped row of that instant holds again.

A holiday list that is about to end is refused, not guessed past: its days are working days to a window, and nobody
would notice that they are priced so. It has to cover the next 30 days for as long as a row with such a window holds
beyond its end. Not a whole year: China publishes its days in November for the year that follows, so a list that reaches
further cannot be had in spring. A warning comes 60 days before the end.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime, time, timedelta
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
from .shape import PricesKeys, RoutesFile
from .shape_book import BookFile, ContextTierKeys, HolidaysKeys, PriceKeys, RatesKeys, ReviewedFile, WindowKeys
from .source import Spot

_FOREVER = datetime.max.replace(tzinfo=UTC)
HOLIDAYS_NEEDED = timedelta(days=30)
"""How far a list of days must reach while a row needs it."""


def build_prices(
    books: Sequence[File[BookFile]],
    routes: File[RoutesFile],
    reviewed: File[ReviewedFile] | None,
    names: Names,
    now: datetime,
) -> PriceBook:
    """All rows of all files. Raises nothing; mistakes are noted where they stand."""
    holidays: dict[str, Holidays] = {}
    declared: set[str] = set()
    spots: dict[str, Spot] = {}
    for file in all_files(books, routes, reviewed):
        declared.update(file.source.names("holidays"))
        for name, keys in file.keys.holidays.items():
            spots[name] = file.spot.at("holidays", name)
            holidays[name] = _holidays(name, keys, spots[name])
    shipped: list[tuple[PriceRow, Spot]] = []
    for book in books:
        prefix = f"{book.keys.provider.name}/"
        shipped += _rows(book.keys.prices, book.spot.at("prices"), prefix, names, holidays, declared)
    with_keys = isinstance(routes.keys.prices, PricesKeys)
    at = routes.spot.at("prices", "rows") if with_keys else routes.spot.at("prices")
    own = _rows(routes.keys.price_rows, at, "", names, holidays, declared)
    if reviewed is not None:
        own += _rows(reviewed.keys.prices, reviewed.spot.at("prices"), "", names, holidays, declared)
    _check_ids([*shipped, *own])
    for group in (shipped, own):
        _check_overlaps(group)
    book_of_all = PriceBook(lay_over([row for row, _ in own], [row for row, _ in shipped]))
    _check_coverage(book_of_all, spots, now)
    return book_of_all


def all_files(
    books: Sequence[File[BookFile]], routes: File[RoutesFile], reviewed: File[ReviewedFile] | None
) -> list[File[BookFile] | File[RoutesFile] | File[ReviewedFile]]:
    """In the order in which a later list of days replaces an earlier one of its name."""
    return [*books, routes, *([] if reviewed is None else [reviewed])]


def _check_coverage(prices: PriceBook, spots: Mapping[str, Spot], now: datetime) -> None:
    """Refuse a list of days that ends soon while a row that needs it goes on."""
    for model in prices.models:
        rows = prices.rows(model)
        ends = [following.effective_from for following in rows[1:]] + [_FOREVER]
        for row, next_start in zip(rows, ends, strict=True):
            end = min(row.effective_until or _FOREVER, next_start)
            for days in (window.holidays for window in row.windows if window.holidays is not None):
                if days.covers_until >= (now + HOLIDAYS_NEEDED).astimezone(days.zone).date():
                    continue
                covered = datetime.combine(days.covers_until + timedelta(days=1), time(), days.zone)
                if end > max(covered, now):
                    spots[days.name].at("covers", "until").wrong(
                        f"holiday list {days.name!r} ends on {days.covers_until}, and price row {row.id!r} needs its "
                        "days beyond: enter those of the following year, or end the row"
                    )


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
    written: Sequence[PriceKeys],
    at: Spot,
    prefix: str,
    names: Names,
    holidays: Mapping[str, Holidays],
    declared: Collection[str],
) -> list[tuple[PriceRow, Spot]]:
    found = []
    for index, keys in enumerate(written):
        spot = at.at(index)
        model = names.resolve(spot.at("model"), keys.model if keys.model.startswith(prefix) else prefix + keys.model)
        if model in names.plain:
            plain = names.plain[model]
            spot.at("model").wrong(f"{keys.model!r} has the price of its model, whatever the effort; write {plain!r}")
        _check_row(keys, spot, holidays, declared)
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


def _check_row(keys: PriceKeys, spot: Spot, known: Mapping[str, Holidays], declared: Collection[str]) -> None:
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
        days = known.get(holidays or "")
        if days is not None and days.zone.key != window.zone.key:
            # A day of one zone is parts of two in another.
            here.at("zone").wrong(
                f"window {window.name!r} of price row {keys.id!r} is in the time zone {window.zone.key}, and the days "
                f"of {days.name!r} are in {days.zone.key}; write both in one"
            )
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
    """Of one model only one row may hold at an instant. Rumours are apart: a rumour may say otherwise than a price."""
    spots = {id(row): spot for row, spot in rows}
    groups: dict[tuple[str, bool], list[PriceRow]] = {}
    for row, _ in sorted(rows, key=lambda one: one[0].effective_from):
        groups.setdefault((row.model, row.status is Status.RUMOURED), []).append(row)
    for held in groups.values():
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

"""Where the price book and the public catalogues disagree, cell by cell, with what each of them says.

Pure: book, catalogues and instant come in, a report goes out. Nothing is applied: a disagreement is quarantined here
until a person has looked at the provider's page, and has added a row or a note that says why the book is right
(notes/known-drift.yaml). A note holds only for the two numbers it names; when either changes, it is news again.

A catalogue is asked at each hour of the coming week (hours and weekdays matter), on the next listed holiday, and where
it dates prices also at each coming change. One without a future is asked only while the book's row of today holds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from fnmatch import fnmatchcase

from gateway.core.catalog import Model
from gateway.core.money import Pico
from gateway.core.pricing import CLASSES, Price, PriceBook

from .catalogue import STANDARD, Catalogue, Cell, Stated, rate_of, thresholds_of

_HOUR = timedelta(hours=1)
_HOURS = 7 * 24


@dataclass(frozen=True, slots=True)
class Known:
    """A disagreement that was looked into: the book is right, and why. `models` are patterns such as google/*."""

    models: tuple[str, ...]
    source: str
    tier: str
    above: int
    differs: Mapping[str, tuple[Pico, Pico]]
    """By class: what the book bills, and what the source says."""

    reason: str
    decided: date

    def covers(self, model: str, source: str, cell: Cell, book: Pico, theirs: Pico) -> bool:
        return (
            source == self.source
            and (cell.tier, cell.above) == (self.tier, self.above)
            and self.differs.get(cell.token_class) == (book, theirs)
            and any(fnmatchcase(model, pattern) for pattern in self.models)
        )


@dataclass(frozen=True, slots=True)
class Disagreement:
    """One cell in which somebody differs from the book. `says`: by catalogue, what it states; agreeing ones too."""

    model: str
    cell: Cell
    book: Pico
    says: Mapping[str, Pico]
    first: datetime
    instants: int
    """At how many of the instants that were asked about."""

    notes: tuple[Known, ...]
    """Those that explain it. Empty: new."""

    @property
    def differing(self) -> tuple[str, ...]:
        return tuple(name for name, theirs in self.says.items() if theirs != self.book)

    def why(self, catalogues: Sequence[str]) -> str:
        """Why it is held back, or why it is known."""
        if self.notes:
            return "; ".join(dict.fromkeys(note.reason for note in self.notes))
        differing = self.differing
        if len(differing) > 1:
            same = len({self.says[name] for name in differing}) == 1
            return "the catalogues agree with each other" if same else "no two agree"
        others = [name for name in catalogues if name not in differing]
        return f"{differing[0]} alone" + "".join(
            f"; {name} {'agrees with the book' if name in self.says else 'does not say'}" for name in others
        )


@dataclass(frozen=True, slots=True)
class Report:
    """`cells` were compared; `new` and `known` are those that differ; `unused` notes explain nothing any more."""

    at: datetime
    catalogues: tuple[str, ...]
    cells: int
    new: tuple[Disagreement, ...]
    known: tuple[Disagreement, ...]
    unused: tuple[Known, ...]
    unlisted: Mapping[str, tuple[str, ...]]
    """By catalogue: models of the book that it does not know."""


def drift(
    book: PriceBook, models: Mapping[str, Model], catalogues: Sequence[Catalogue], known: Sequence[Known], at: datetime
) -> Report:
    """Compare every model that has a price at this instant."""
    found: list[Disagreement] = []
    unlisted: dict[str, list[str]] = {catalogue.name: [] for catalogue in catalogues}
    cells = 0
    for name in sorted(model for model in models if book.at(model, at) is not None):
        listing = [one for one in catalogues if _states(one, models[name], at) is not None]
        for catalogue in catalogues:
            if catalogue not in listing:
                unlisted[catalogue.name].append(name)
        count, differing = _compare(book, models[name], listing, known, at)
        cells += count
        found += differing
    used = {id(note) for one in found for note in one.notes}
    return Report(
        at=at,
        catalogues=tuple(one.name for one in catalogues),
        cells=cells,
        new=tuple(one for one in found if not one.notes),
        known=tuple(one for one in found if one.notes),
        unused=tuple(note for note in known if id(note) not in used),
        unlisted={name: tuple(absent) for name, absent in unlisted.items()},
    )


def _states(catalogue: Catalogue, model: Model, at: datetime) -> Stated | None:
    return catalogue.states(model.provider, model.upstream_name, at)


def _compare(
    book: PriceBook, model: Model, catalogues: Sequence[Catalogue], known: Sequence[Known], at: datetime
) -> tuple[int, list[Disagreement]]:
    """How many cells somebody states, and those that differ, each once however many instants it differs at."""
    compared: set[Cell] = set()
    seen: dict[tuple[Cell, Pico, tuple[tuple[str, Pico], ...]], list[datetime]] = {}
    row = _price(book, model, at).row
    for instant in sorted({*_instants(book, model, catalogues, at)}):
        price = book.at(model.id, instant)
        if price is None:
            continue
        asked = [one for one in catalogues if one.knows_the_future or price.row is row]
        stated = {one.name: found for one in asked if (found := _states(one, model, instant)) is not None}
        for cell, says in _cells(price, stated):
            compared.add(cell)
            ours = rate_of(price, cell)
            if any(theirs != ours for theirs in says.values()):
                seen.setdefault((cell, ours, tuple(says.items())), []).append(instant)
    disagreements = []
    for (cell, ours, pairs), instants in seen.items():
        says = dict(pairs)
        differing = [(source, theirs) for source, theirs in pairs if theirs != ours]
        notes = [
            next((note for note in known if note.covers(model.id, source, cell, ours, theirs)), None)
            for source, theirs in differing
        ]
        # Every source that differs must be explained, or it is news.
        explained = tuple(note for note in notes if note is not None)
        told = explained if len(explained) == len(notes) else ()
        disagreements.append(Disagreement(model.id, cell, ours, says, instants[0], len(instants), told))
    return len(compared), disagreements


def _price(book: PriceBook, model: Model, at: datetime) -> Price:
    price = book.at(model.id, at)
    assert price is not None
    return price


def _instants(book: PriceBook, model: Model, catalogues: Sequence[Catalogue], at: datetime) -> Iterator[datetime]:
    yield at
    hour = at.replace(minute=0, second=0, microsecond=0)
    yield from (hour + _HOUR * count for count in range(1, _HOURS))
    for window in _price(book, model, at).row.windows:
        off = window.holidays.days if window.holidays is not None else frozenset()
        coming = [day for day in off if day > at.date() and day.weekday() in window.weekdays]
        if coming:
            midnight = datetime.combine(min(coming), time(), window.zone).astimezone(UTC)
            yield from (midnight + _HOUR * count for count in range(24))
    starts = [row.effective_from for row in book.rows(model.id)]
    starts += [start for one in catalogues for start in one.starts(model.provider, model.upstream_name)]
    yield from (start for start in starts if start > at)


def _cells(price: Price, stated: Mapping[str, Stated]) -> Iterator[tuple[Cell, dict[str, Pico]]]:
    """Every cell that a catalogue states, with what each of them says."""
    tiers = dict.fromkeys(tier for found in stated.values() for tier in found.tiers)
    for tier in tiers:
        thresholds = thresholds_of(price, tier).union(*(found.thresholds(tier) for found in stated.values()))
        for above in sorted(thresholds):
            for name in CLASSES:
                says = {
                    source: theirs
                    for source, found in stated.items()
                    if (theirs := found.value(tier, above, name)) is not None
                }
                if says:
                    yield Cell(tier, above, name), says


def label(cell: Cell) -> str:
    """A cell in words: "flex >272000 input"."""
    parts = [cell.tier if cell.tier != STANDARD else "", f">{cell.above}" if cell.above else "", cell.token_class]
    return " ".join(part for part in parts if part)

"""Rows that would bring the book to what a catalogue says, for a person to review. Nothing is written into the book.

A proposal is the row in force with what the catalogue states laid over it; what it does not state is carried over, and
so is what its form cannot say: the hours, days and holidays of windows, whose rates are read at an instant within them.
What a note on known drift explains is not proposed again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta

import msgspec

from gateway.core.catalog import Model
from gateway.core.money import Pico, usd_per_million
from gateway.core.pricing import (
    CLASSES,
    ContextTier,
    Price,
    PriceBook,
    PriceRow,
    Rates,
    ServiceTier,
    Status,
    Window,
    price_of,
)

from .catalogue import STANDARD, Catalogue, Cell, Stated, rate_of
from .drift import Known, label

_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_HOURS_AHEAD = 21 * 24
"""A window is looked for this far: beyond the longest run of holidays."""

# A class that a row left out is billed as this one, and follows it.
_FOLLOWS = {"cached_input": "input", "cache_write": "input", "reasoning": "output"}


@dataclass(frozen=True, slots=True)
class Proposal:
    """A row to review. `changes` say old -> new, cell by cell; `cautions` what the catalogue could not tell."""

    row: PriceRow
    read: date
    changes: tuple[str, ...]
    cautions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Import:
    """`same` models need no row; `unlisted` are in the book and not in the catalogue; `new` the other way round."""

    proposals: tuple[Proposal, ...]
    same: tuple[str, ...]
    unlisted: tuple[str, ...]
    new: tuple[str, ...]


def propose(
    book: PriceBook, models: Mapping[str, Model], catalogue: Catalogue, known: Sequence[Known], at: datetime
) -> Import:
    """For each of these models with a price at this instant: a row from now on, and one for each dated change to come.

    The first is absent when the catalogue says what the book says.
    """
    proposals: list[Proposal] = []
    same, unlisted = [], []
    for model in models.values():
        price = book.at(model.id, at)
        if price is None:
            continue
        if catalogue.states(model.provider, model.upstream_name, at) is None:
            unlisted.append(model.id)
            continue
        found = list(_of_model(book, model, catalogue, known, at))
        proposals += found
        if not found:
            same.append(model.id)
    return Import(tuple(proposals), tuple(same), tuple(unlisted), _new(models, catalogue, at))


def propose_new(provider: str, name: str, catalogue: Catalogue, at: datetime) -> Proposal | None:
    """A first row of a model that the book does not have; None when the catalogue prices no input or output of it."""
    stated = catalogue.states(provider, name, at) or Stated()
    base = {cell.token_class: pico for cell, pico in stated.cells.items() if (cell.tier, cell.above) == (STANDARD, 0)}
    if not {"input", "output"} <= base.keys():
        return None
    text = {"cached_input": base["input"], "cache_write": base["input"], "reasoning": base["output"]}
    rates, steps = _sizes(Rates(**{**text, **base}), (), stated, STANDARD)
    tiers = {tier: ServiceTier(*_sizes(rates, steps, stated, tier)) for tier in stated.tiers if tier != STANDARD}
    past = [start for start in catalogue.starts(provider, name) if start <= at]
    begins = past[-1] if past else at.replace(hour=0, minute=0, second=0, microsecond=0)
    row = PriceRow(
        id=f"{name}@{begins:%Y-%m-%d}",
        model=f"{provider}/{name}",
        effective_from=begins,
        effective_until=None,
        status=Status.ANNOUNCED,
        source=_source(catalogue),
        rates=rates,
        context_tiers=steps,
        service_tiers=tiers or None,
    )
    cautions = ["the model needs an entry under models: its limits and what it can do"]
    cautions += [f"{catalogue.name} cannot say: {what}" for what in catalogue.cannot_say]
    return Proposal(row, at.date(), ("not in the book yet",), tuple(cautions))


def _source(catalogue: Catalogue) -> str:
    return f"{catalogue.name} {catalogue.version}, to be checked against the provider's own page"


def _new(models: Mapping[str, Model], catalogue: Catalogue, at: datetime) -> tuple[str, ...]:
    names = {f"{model.provider}/{name}" for model in models.values() for name in (model.upstream_name, *model.aliases)}
    providers = dict.fromkeys(model.provider for model in models.values())
    listed = (f"{provider}/{name}" for provider in providers for name in catalogue.models(provider, at))
    return tuple(name for name in listed if name not in names)


def _of_model(
    book: PriceBook, model: Model, catalogue: Catalogue, known: Sequence[Known], at: datetime
) -> Iterator[Proposal]:
    starts = catalogue.starts(model.provider, model.upstream_name)
    past = [start for start in starts if start <= at]
    for instant in (at, *(start for start in starts if start > at)):
        price = book.at(model.id, instant)
        if price is None:
            continue
        row, changes, cautions = _laid_over(price.row, model, catalogue, known, instant)
        if not changes:
            continue
        if instant > at:
            begins = instant
        elif past and past[-1] > price.row.effective_from:
            begins = past[-1]
        else:
            begins = at.replace(hour=0, minute=0, second=0, microsecond=0)
            cautions = (*cautions, f"{catalogue.name} does not say since when: this is the day it was read")
        yield Proposal(
            row=replace(
                row,
                id=f"{model.upstream_name}@{begins:%Y-%m-%d}",
                effective_from=begins,
                effective_until=None,
                status=Status.ANNOUNCED,
                source=_source(catalogue),
            ),
            read=at.date(),
            changes=changes,
            cautions=cautions,
        )


def _laid_over(
    row: PriceRow, model: Model, catalogue: Catalogue, known: Sequence[Known], at: datetime
) -> tuple[PriceRow, tuple[str, ...], tuple[str, ...]]:
    changes: list[str] = []
    cautions: list[str] = []

    def stated(price: Price, instant: datetime, prefix: str) -> Stated:
        """What it states at an instant, less what is known; what differs is noted."""
        found = catalogue.states(model.provider, model.upstream_name, instant) or Stated()
        kept = Stated()
        for cell, theirs in found.cells.items():
            ours = rate_of(price, cell)
            if theirs != ours and any(note.covers(model.id, catalogue.name, cell, ours, theirs) for note in known):
                continue
            kept.cells[cell] = theirs
            if theirs != ours:
                changes.append(f"{prefix}{label(cell)} {usd_per_million(ours)} -> {usd_per_million(theirs)}")
        return kept

    outside = _instant_of(row, None, at) if row.windows else at
    base = stated(price_of(row, None), outside, "")
    windows = []
    for window in row.windows:
        within = _instant_of(row, window, at)
        inside = stated(price_of(row, window), within, f"{window.name} ")
        only_base = {cell: pico for cell, pico in inside.cells.items() if (cell.tier, cell.above) == (STANDARD, 0)}
        windows.append(replace(window, rates=_over(window.rates, only_base, STANDARD, 0)))
        cautions.append(
            f"the hours of {window.name!r} are the book's; {catalogue.name} cannot say: "
            + "; ".join(catalogue.cannot_say)
        )
    service_tiers = dict(row.service_tiers or {})
    for tier in base.tiers:
        if tier != STANDARD:
            before = service_tiers.get(tier) or ServiceTier(row.rates, row.context_tiers)
            service_tiers[tier] = ServiceTier(*_sizes(before.rates, before.context_tiers, base, tier))
    rates, context_tiers = _sizes(row.rates, row.context_tiers, base, STANDARD)
    changed = replace(
        row, rates=rates, context_tiers=context_tiers, service_tiers=service_tiers or None, windows=tuple(windows)
    )
    return changed, tuple(dict.fromkeys(changes)), tuple(dict.fromkeys(cautions))


def _sizes(
    rates: Rates, steps: Sequence[ContextTier], stated: Stated, tier: str
) -> tuple[Rates, tuple[ContextTier, ...]]:
    """A tier's rates and context tiers with what is stated laid over; a new threshold has the rates below it first."""
    known = {step.above_input_tokens: step.rates for step in steps}
    first = below = _over(rates, stated.cells, tier, 0)
    found = []
    for above in sorted((known.keys() | stated.thresholds(tier)) - {0}):
        below = _over(known.get(above, below), stated.cells, tier, above)
        found.append(ContextTier(above, below))
    # A threshold past which nothing changes is none.
    return first, () if all(step.rates == first for step in found) else tuple(found)


def _over(rates: Rates, cells: Mapping[Cell, Pico], tier: str, above: int) -> Rates:
    given = {cell.token_class: pico for cell, pico in cells.items() if (cell.tier, cell.above) == (tier, above)}
    for name, leader in _FOLLOWS.items():
        if name not in given and leader in given and getattr(rates, name) == getattr(rates, leader):
            given[name] = given[leader]
    return msgspec.structs.replace(rates, **given)


def _instant_of(row: PriceRow, window: Window | None, at: datetime) -> datetime:
    """An instant of a working day within a window, or (None) just after one ends: catalogues agree on such hours."""
    hour = at.replace(minute=0, second=0, microsecond=0)
    inside = False
    for ahead in range(_HOURS_AHEAD):
        then = hour + timedelta(hours=ahead)
        now = row.window_at(then)
        if (window is None and now is None and inside) or (window is not None and now is window):
            return then
        inside = now is not None
    return at


def as_yaml(proposal: Proposal, model: str) -> str:
    """The row as it is pasted under `prices:` of the provider's file; `model` as that file names it."""
    row = proposal.row
    lines = [f"# {change}" for change in proposal.changes]
    lines += [f"# caution: {caution}" for caution in proposal.cautions]
    lines += [
        f"- id: {row.id}",
        f"  model: {model}",
        f"  effective_from: {row.effective_from.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}",
        f"  status: {row.status}",
        f'  source: "{row.source}"',
        f"  read: {proposal.read}",
        f"  rates: {{{_rates(row.rates)}}}",
    ]
    if row.context_tiers:
        lines += ["  context_tiers:", *(f"    - {_step(step)}" for step in row.context_tiers)]
    if row.service_tiers:
        lines.append("  service_tiers:")
        for name, tier in row.service_tiers.items():
            steps = ", ".join(_step(step) for step in tier.context_tiers)
            own = f",\n       context_tiers: [{steps}]" if steps else ""
            lines.append(f"    {name}:\n      {{{_rates(tier.rates)}{own}}}")
    if row.windows:
        lines.append("  windows:")
    for window in row.windows:
        lines += [
            f"    - name: {window.name}",
            f"      zone: {window.zone.key}",
            f"      days: [{', '.join(_DAYS[day] for day in sorted(window.weekdays))}]",
            f"      hours: [{', '.join(_hours(*span) for span in window.minutes)}]",
            *([] if window.holidays is None else [f"      except_holidays: {window.holidays.name}"]),
            f"      rates: {{{_rates(window.rates)}}}",
        ]
    return "\n".join(lines) + "\n"


def _step(step: ContextTier) -> str:
    return f"{{above_input_tokens: {step.above_input_tokens}, rates: {{{_rates(step.rates)}}}}}"


def _rates(rates: Rates) -> str:
    """Only what differs from the class that would stand in for it."""
    said = []
    for name in CLASSES:
        pico: Pico | None = getattr(rates, name)
        follows = _FOLLOWS.get(name)
        if pico is not None and not (follows is not None and pico == getattr(rates, follows)):
            said.append(f'{name}: "{usd_per_million(pico)}"')
    return ", ".join(said)


def _hours(start: int, end: int) -> str:
    return f'"{start // 60:02}:{start % 60:02}-{end // 60:02}:{end % 60:02}"'

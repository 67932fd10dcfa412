"""Which sums and which rows of the book answer a question about a period. Pure.

Invariant: every instant of the period lies in exactly one part, and no part reaches beyond it.

Whole days come from the sums of days, whole hours beside them from the sums of hours, and what is left at the ragged
ends from the book itself.
"""

from __future__ import annotations

from dataclasses import dataclass

from .table import DAY_H, HOUR_US

_ALWAYS = 2**62 // HOUR_US // DAY_H * DAY_H
"""Hours since the epoch at which nothing was and nothing will be booked."""


@dataclass(frozen=True, slots=True)
class Span:
    """Sums of `hours` (1 or DAY_H) each, from one hour to before another (since the epoch)."""

    hours: int
    first: int
    end: int


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of the book from one instant to before another, in microseconds; None is without an end."""

    first_us: int | None
    end_us: int | None


def parts(since_us: int | None, until_us: int | None, *, coarsest_h: int = DAY_H) -> list[Span | Rows]:
    """The period as sums and rows. coarsest_h: 1 where days are too coarse for the question, 0 where hours are."""
    first = -_ALWAYS if since_us is None else -(-since_us // HOUR_US)
    end = _ALWAYS if until_us is None else until_us // HOUR_US
    if coarsest_h == 0 or first >= end:
        return [Rows(since_us, until_us)]
    ragged: list[Span | Rows] = []
    if since_us is not None and since_us < first * HOUR_US:
        ragged.append(Rows(since_us, first * HOUR_US))
    if until_us is not None and end * HOUR_US < until_us:
        ragged.append(Rows(end * HOUR_US, until_us))
    return [*_whole(first, end, coarsest_h), *ragged]


def _whole(first: int, end: int, coarsest_h: int) -> list[Span]:
    day, last = -(-first // DAY_H) * DAY_H, end // DAY_H * DAY_H
    if coarsest_h < DAY_H or day >= last:
        return [Span(1, first, end)]
    found = [Span(1, first, day), Span(DAY_H, day, last), Span(1, last, end)]
    return [span for span in found if span.first < span.end]

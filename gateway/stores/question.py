"""A question about spend as SQL: of the sums that are kept, or of the book. Both give the same columns.

Where every name in a question is one that sums are kept by, the sums answer it, and the book only at the ragged ends of
its period. A question of tags, end users or requests reads every row of its period.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from sqlalchemy import ColumnElement, Select, Text, case, func, select
from sqlalchemy.dialects import postgresql

from gateway.core.records import State

from .spans import Rows, Span
from .table import DAY_H, HOUR_US, SERIES, SERIES_OF, SUMMED, SUMS, TABLE

Dimension = Literal[
    "provider", "model", "route", "team", "key", "organisation", "policy", "outcome", "cache", "day", "hour",
    "end_user", "request",
]  # fmt: skip
DIMENSIONS: tuple[Dimension, ...] = get_args(Dimension)
TAG = "tag:"
"""Before the name of a tag, where a dimension is named."""
TIMES = {"day": DAY_H, "hour": 1}
"""How many hours those dimensions have that are times."""

_COLUMN_OF = {"key": "key_id", "request": "request_id"}
_ANSWERED = ("ok", "cached")
_ABORTED = "aborted"
_BACKGROUND = ("revalidated", "embedded")
"""Whole, and the answer to no request: what the response cache had made for itself."""
_PLAIN = tuple(name for name in SUMMED if name not in ("sign", "cost_nano"))

TOTALS: Sequence[str] = (
    "requests", "attempts", "aborted", "background", "cache_hits", "settled_nano", "uncertain_nano", *_PLAIN,
)  # fmt: skip
"""What is summed of each group. Things are counted by summing `sign`: a row taken back and said anew counts once."""

Columns = Mapping[str, ColumnElement[Any]]
"""By the names of the book's columns, and `hour` (since the epoch). Any: texts and numbers."""


@dataclass(frozen=True, slots=True)
class Question:
    """by: dimensions to group by. wanted: dimensions that must have a value. of_postgres: which SQL is spoken."""

    by: tuple[str, ...]
    wanted: Mapping[str, str]
    simulated: bool
    of_postgres: bool

    @property
    def coarsest_h(self) -> int:
        """How many hours the sums may span that answer this; 0 when only the book can."""
        names = {_COLUMN_OF.get(name, name) for name in (*self.by, *self.wanted)}
        if not names <= {*SERIES_OF, *TIMES}:
            return 0
        return min([DAY_H, *(hours for name, hours in TIMES.items() if name in self.by)])

    def select(self, part: Span | Rows) -> Select[Any]:  # Any: the values of `by`, and then those of TOTALS
        """Its groups within one part of the period: values of `by` (days and hours as numbers), then TOTALS."""
        source = self._of_sums(part) if isinstance(part, Span) else self._of_rows(part)
        # Grouped by columns of a subquery: an expression with a parameter, written twice, is two to PostgreSQL.
        within = source.subquery()
        groups = [within.c[f"group{number}"] for number in range(len(self.by))]
        return select(*groups, *_totals(dict(within.c))).group_by(*groups)

    def _of_rows(self, part: Rows) -> Select[Any]:  # Any: columns that `_columns` names
        at = TABLE.c.at_us
        query = self._columns({**TABLE.c, "hour": at // HOUR_US})
        if part.first_us is not None:
            query = query.where(at >= part.first_us)
        if part.end_us is not None:
            query = query.where(at < part.end_us)
        return query

    def _of_sums(self, part: Span) -> Select[Any]:  # Any: columns that `_columns` names
        period = (SUMS.c.hours == part.hours, SUMS.c.start >= part.first, SUMS.c.start < part.end)
        if TIMES.keys() & set(self.by):
            query = self._columns({**SERIES.c, **SUMS.c, "hour": SUMS.c.start}).where(*period)
            return query.join_from(SUMS, SERIES, SERIES.c.id == SUMS.c.series)
        # Each series over all its hours first, by its number: few rows are left to find the names of.
        sums = [func.sum(SUMS.c[name]).label(name) for name in SUMMED]
        within = select(SUMS.c.series, *sums).where(*period).group_by(SUMS.c.series).subquery()
        return self._columns({**SERIES.c, **within.c}).join_from(within, SERIES, SERIES.c.id == within.c.series)

    def _columns(self, of: Columns) -> Select[Any]:  # Any: the groups, and what `_totals` reads
        groups = [self._dimension(name, of).label(f"group{number}") for number, name in enumerate(self.by)]
        summed = [of[name].label(name) for name in (*SUMMED, "outcome", "state")]
        wanted = [self._dimension(name, of) == value for name, value in self.wanted.items()]
        return select(*groups, *summed).where(of["simulated"] == self.simulated, *wanted)

    def _dimension(self, name: str, of: Columns) -> ColumnElement[Any]:  # Any: text, or a number of days or hours
        if name in TIMES:
            return of["hour"] // TIMES[name]
        if name.startswith(TAG):
            return func.coalesce(self._tag(name.removeprefix(TAG)), "")
        column = of[_COLUMN_OF.get(name, name)]
        return func.coalesce(column, "") if name == "end_user" else column

    def _tag(self, name: str) -> ColumnElement[str]:
        tags = TABLE.c.tags
        if self.of_postgres:
            return tags.cast(postgresql.JSON).op("->>", return_type=Text())(name)
        # Not json_extract: its paths have no way to write every name.
        each = func.json_each(tags).table_valued("key", "value")
        found = select(each.c.value).where(each.c.key == name).scalar_subquery()
        return case((tags == "{}", None), else_=found)  # most rows have none, and the look takes a microsecond


def _totals(of: Columns) -> list[ColumnElement[int]]:
    count, cost = func.sum(of["sign"]), func.sum(of["cost_nano"])
    found: dict[str, ColumnElement[int]] = {
        "requests": count.filter(of["outcome"].in_(_ANSWERED)),
        "attempts": count,
        "aborted": count.filter(of["outcome"] == _ABORTED),
        "background": count.filter(of["outcome"].in_(_BACKGROUND)),
        "cache_hits": count.filter(of["outcome"] == "cached"),
        "settled_nano": cost.filter(of["state"] != State.UNCERTAIN.value),
        "uncertain_nano": cost.filter(of["state"] == State.UNCERTAIN.value),
        **{name: func.sum(of[name]) for name in _PLAIN},
    }
    return [func.coalesce(found[name], 0) for name in TOTALS]

"""The book's sums by hour and by day, kept with it: what is asked of a month is then a few thousand rows to read.

Invariant: for every series and every hour, the sums are those of the book's rows. So they are added to in the
transaction that adds the rows, and for no row that was there already.

A series is one combination of SERIES_OF and has a number, so that sums are small and cheap to find. A row is added to
two spans: its hour and its day (in UTC).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from operator import add, itemgetter
from typing import Any

from sqlalchemy import Connection

from .table import COLUMNS, DAY_H, HOUR_US, SERIES, SERIES_OF, SUMMED

Row = tuple[Any, ...]
"""A row of the book, in the order of COLUMNS. Any: texts, numbers, booleans."""
SeriesKey = tuple[Any, ...]
Sums = tuple[int, ...]

_series_of = itemgetter(*(COLUMNS.index(name) for name in SERIES_OF))
_summed_of = itemgetter(*(COLUMNS.index(name) for name in SUMMED))
_AT = COLUMNS.index("at_us")


def by_hour(rows: Iterable[Row]) -> dict[tuple[int, SeriesKey], Sums]:
    """The sums of rows for each hour (hours since the epoch) and series."""
    found: dict[tuple[int, SeriesKey], Sums] = {}
    for row in rows:
        key = (row[_AT] // HOUR_US, _series_of(row))
        have = found.get(key)
        found[key] = _summed_of(row) if have is None else tuple(map(add, have, _summed_of(row)))
    return found


def spans(sums: Mapping[tuple[int, SeriesKey], Sums], ids: Mapping[SeriesKey, int]) -> list[tuple[int, ...]]:
    """Rows of `spend_sums` to add: of hours and of days, in the order of their key, in which all writers lock them."""
    found: dict[tuple[int, int, int], Sums] = {}
    for (hour, key), values in sums.items():
        series = ids[key]
        found[1, hour, series] = values
        day = (DAY_H, hour // DAY_H * DAY_H, series)
        have = found.get(day)
        found[day] = values if have is None else tuple(map(add, have, values))
    return [(*span, *values) for span, values in sorted(found.items())]


class SeriesNumbers:
    """The numbers of series. Remembers them, once the transaction that gave them is known to have been kept."""

    def __init__(self, mark: str) -> None:
        self._kept: Mapping[SeriesKey, int] = {}
        names, marks = ", ".join(SERIES_OF), ", ".join(mark for _ in SERIES_OF)
        same = " AND ".join(f"{name} = {mark}" for name in SERIES_OF)
        self._insert = f"INSERT INTO {SERIES.name} ({names}) VALUES ({marks}) ON CONFLICT DO NOTHING"  # noqa: S608
        self._select = f"SELECT id FROM {SERIES.name} WHERE {same}"  # noqa: S608

    def of(self, connection: Connection, keys: Set[SeriesKey]) -> Mapping[SeriesKey, int]:
        """The number of each, among others; those that have none get one."""
        kept = self._kept  # once: another thread may put another in its place
        missing = sorted(keys - kept.keys())
        if not missing:
            return kept
        connection.exec_driver_sql(self._insert, missing)
        found = {key: connection.exec_driver_sql(self._select, key).scalar_one() for key in missing}
        return {**kept, **found}

    def keep(self, ids: Mapping[SeriesKey, int]) -> None:
        """After the commit: remember what `of` said."""
        self._kept = ids

    def forget(self) -> None:
        """What was known may be of another database: it came back empty, or was restored from a backup."""
        self._kept = {}

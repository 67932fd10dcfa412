"""Makes the sums anew from the book, for when something else has written into it: a gateway of an older version.

Until it is done nobody else writes; what they have waits with them.
"""

from __future__ import annotations

from sqlalchemy import Engine

from . import schema
from .ledger import transaction
from .table import DAY_H, HOUR_US, SERIES, SERIES_OF, SUMMED, SUMS, TABLE

_NAMES, _SUMMED = ", ".join(SERIES_OF), ", ".join(SUMMED)
_TOTALS = ", ".join(f"SUM(r.{name})" for name in SUMMED)
_SAME = " AND ".join(f"r.{name} = s.{name}" for name in SERIES_OF)
_INTO = f"INSERT INTO {SUMS.name} (hours, start, series, {_SUMMED})"

_STATEMENTS = (
    f"DELETE FROM {SUMS.name}",  # noqa: S608
    # WHERE true: without it SQLite reads ON as the beginning of a join.
    f"INSERT INTO {SERIES.name} ({_NAMES}) SELECT DISTINCT {_NAMES} FROM {TABLE.name} WHERE true"  # noqa: S608
    " ON CONFLICT DO NOTHING",
    f"{_INTO} SELECT 1, r.at_us / {HOUR_US}, s.id, {_TOTALS} FROM {TABLE.name} r JOIN {SERIES.name} s ON {_SAME}"  # noqa: S608
    f" GROUP BY r.at_us / {HOUR_US}, s.id",
    f"{_INTO} SELECT {DAY_H}, r.start / {DAY_H} * {DAY_H}, r.series, {_TOTALS} FROM {SUMS.name} r"  # noqa: S608
    f" GROUP BY r.start / {DAY_H} * {DAY_H}, r.series",
)


def recount(engine: Engine) -> None:
    """Blocking, for a minute on ten million rows. Raises LedgerUnavailable, and then nothing has changed."""
    with transaction(engine) as connection:
        schema.lock(connection)
        if connection.dialect.name == "postgresql":
            connection.exec_driver_sql(f"LOCK TABLE {TABLE.name} IN SHARE MODE")
        for statement in _STATEMENTS:
            connection.exec_driver_sql(statement)

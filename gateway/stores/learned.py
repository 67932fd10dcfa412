"""Tallies in the ledger's database: every worker adds to them, each reads them all.

Invariants: a batch of tallies is one transaction. Numbers are only added to, so the order of writers does not matter;
rows are locked in the order of their keys, so that no two wait for one another. Removed is only what no longer counts.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
from sqlalchemy import Connection, Engine, and_, case, delete, func, or_, select

from gateway.core.learning import BY_HOUR, KEPT_DAYS, RECENT_HOURS, WEIGHTS, Key, Tallies, WeightedTallies

from .ledger import transaction
from .table import LEARNED, storable

_NAMES = tuple(column.name for column in LEARNED.columns)
_COLUMNS = [LEARNED.c[name] for name in (*Key._fields, "n", "total", "base")]
_KEY = ", ".join(column.name for column in LEARNED.primary_key)
_ADD = f"ON CONFLICT ({_KEY}) DO UPDATE SET " + ", ".join(
    f"{name} = {LEARNED.name}.{name} + excluded.{name}" for name in ("n", "total", "base")
)
_INTO = f"INSERT INTO {LEARNED.name} ({', '.join(_NAMES)})"
_SQLITE = f"{_INTO} VALUES ({', '.join('?' for _ in _NAMES)}) {_ADD}"
_POSTGRES = (
    f"{_INTO} SELECT {', '.join(_NAMES)} FROM json_populate_recordset(NULL::{LEARNED.name}, %s::json)"  # noqa: S608
    f" ORDER BY {_KEY} {_ADD}"
)


def add_tallies(connection: Connection, tallies: Tallies) -> None:
    """Within the caller's transaction."""
    rows = sorted(_rows(tallies), key=lambda row: [row[name] for name in _NAMES])
    if not rows:
        return
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql(_SQLITE, [tuple(row[name] for name in _NAMES) for row in rows])
    else:
        connection.exec_driver_sql(_POSTGRES, (msgspec.json.encode(rows).decode(),))


def _rows(tallies: Tallies) -> Iterable[dict[str, str | int | bool]]:
    for key, (n, total, base) in tallies.items():
        yield {
            "what": key.what, "simulated": key.simulated, "span": key.span, "route": storable(key.route),
            "kind": storable(key.kind), "model": storable(key.model), "bucket": key.bucket,
            "n": n, "total": total, "base": base,
        }  # fmt: skip


class SqlTallies:
    """core.contracts.TallyStore. May be used from any thread."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def merge(self, tallies: Tallies) -> None:
        with transaction(self._engine) as connection:
            add_tallies(connection, tallies)

    def past(self, simulated: bool, day: int) -> WeightedTallies:
        """Weighted and summed by the database: days are many, and each may have as many rows as this one."""
        span, what = LEARNED.c.span, LEARNED.c.what
        weight = case({day - age: WEIGHTS[age] for age in range(1, KEPT_DAYS)}, value=span, else_=0.0)
        places = [column for column in _COLUMNS[: len(Key._fields)] if column is not span]
        sums = [func.sum(LEARNED.c[name] * weight) for name in ("n", "total", "base")]
        query = select(*places, *sums).group_by(*places)
        query = query.where(
            LEARNED.c.simulated == simulated, what.not_in(BY_HOUR), span < day, span > day - KEPT_DAYS
        )  # fmt: skip
        with transaction(self._engine) as connection:
            return {Key(row[0], row[1], day, *row[2:6]): row[6:] for row in connection.execute(query)}

    def present(self, simulated: bool, day: int, hour: int) -> Tallies:
        by_hour = LEARNED.c.what.in_(BY_HOUR)
        now = or_(
            and_(by_hour, LEARNED.c.span > hour - RECENT_HOURS), and_(~by_hour, LEARNED.c.span >= day)
        )  # fmt: skip
        with transaction(self._engine) as connection:
            found = connection.execute(select(*_COLUMNS).where(LEARNED.c.simulated == simulated, now))
            return {Key(*row[:7]): list(row[7:]) for row in found}

    def forget(self, day: int, hour: int) -> None:
        by_hour = LEARNED.c.what.in_(BY_HOUR)
        old = or_(
            and_(by_hour, LEARNED.c.span <= hour - RECENT_HOURS), and_(~by_hour, LEARNED.c.span <= day - KEPT_DAYS)
        )
        with transaction(self._engine) as connection:
            connection.execute(delete(LEARNED).where(old))

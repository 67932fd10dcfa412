"""Adding rows to the book and to its sums, as each database does it fastest. Statements are text, written once.

Both say which rows were new, and that holds with any number of writers: SQLite lets one in at a time; in PostgreSQL
whoever comes second to a row waits for the first to commit, and then finds it there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec
from sqlalchemy import Connection

from .rollup import Row
from .table import COLUMNS, SUMMED, SUMS, TABLE

_NAMES = ", ".join(COLUMNS)
_SUM_COLUMNS = tuple(column.name for column in SUMS.columns)
_SUM_NAMES = ", ".join(_SUM_COLUMNS)
_ADD = "ON CONFLICT (hours, start, series) DO UPDATE SET " + ", ".join(
    f"{name} = {SUMS.name}.{name} + excluded.{name}" for name in SUMMED
)
# ON CONFLICT and not SQLite's OR IGNORE, which would also pass over a row that lacks a value.
_ONCE = "ON CONFLICT (attempt_id) DO NOTHING"


class Writing(Protocol):
    """Rows have their attempt_id first, and no two the same. Within the caller's transaction."""

    mark: str

    def insert(self, connection: Connection, rows: Sequence[Row]) -> list[Row]:
        """Add those rows that are not there; says which they were."""
        ...

    def add(self, connection: Connection, sums: Sequence[tuple[int, ...]]) -> None:
        """Add to the sums. In the order of their key."""
        ...


class SqliteWriting:
    mark = "?"
    _insert = f"INSERT INTO {TABLE.name} ({_NAMES}) VALUES ({', '.join('?' for _ in COLUMNS)}) {_ONCE}"  # noqa: S608
    _last = f"SELECT attempt_id FROM {TABLE.name} ORDER BY rowid DESC LIMIT ?"  # noqa: S608
    _add = f"INSERT INTO {SUMS.name} ({_SUM_NAMES}) VALUES ({', '.join('?' for _ in _SUM_COLUMNS)}) {_ADD}"  # noqa: S608

    def insert(self, connection: Connection, rows: Sequence[Row]) -> list[Row]:
        inserted = connection.exec_driver_sql(self._insert, list(rows), {"preserve_rowcount": True}).rowcount
        if inserted == len(rows):
            return list(rows)
        # No row is ever removed, so what came last has the highest rowids; and nobody else writes now.
        new = set(connection.exec_driver_sql(self._last, (inserted,)).scalars())
        return [row for row in rows if row[0] in new]

    def add(self, connection: Connection, sums: Sequence[tuple[int, ...]]) -> None:
        connection.exec_driver_sql(self._add, list(sums))


class PostgresWriting:
    """One statement a batch, its rows as one JSON parameter: half the work of a statement for each row.

    Rows and sums are locked in the order of their keys, rows first, so that writers never wait for one another in a
    circle.
    """

    mark = "%s"
    _insert = (
        f"INSERT INTO {TABLE.name} ({_NAMES})"  # noqa: S608
        f" SELECT {_NAMES} FROM json_populate_recordset(NULL::{TABLE.name}, %s::json) ORDER BY attempt_id"
        f" {_ONCE} RETURNING attempt_id"
    )
    _add = (
        f"INSERT INTO {SUMS.name} ({_SUM_NAMES})"  # noqa: S608
        f" SELECT {_SUM_NAMES} FROM json_populate_recordset(NULL::{SUMS.name}, %s::json) ORDER BY hours, start, series"
        f" {_ADD}"
    )

    def insert(self, connection: Connection, rows: Sequence[Row]) -> list[Row]:
        new = set(connection.exec_driver_sql(self._insert, (_json(COLUMNS, rows),)).scalars())
        return [row for row in rows if row[0] in new]

    def add(self, connection: Connection, sums: Sequence[tuple[int, ...]]) -> None:
        connection.exec_driver_sql(self._add, (_json(_SUM_COLUMNS, sums),))


def _json(names: Sequence[str], rows: Sequence[Row]) -> str:
    return msgspec.json.encode([dict(zip(names, row, strict=True)) for row in rows]).decode()

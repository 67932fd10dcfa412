"""Reads the ledger from end to end in constant memory: for exports, and for a comparison with an invoice.

Invariants: one reading sees the ledger as it was when it began, whatever is booked meanwhile. Real and simulated
records are never in one reading. Rows come day by day (UTC), so that no database sorts more than a day.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import BigInteger, Boolean, ColumnElement, Connection, Engine, Text, func, literal, select

from gateway.core.money import usd
from gateway.core.records import SpendRecord
from gateway.core.sheet import Column, Kind, Row

from .ledger import transaction
from .table import FIELDS, TABLE, storable, to_us

ROWS_AT_ONCE = 1000
BY_TIME = ("at_us", "attempt_id")
DAY_US = 86_400_000_000
# Sorting a day of a large ledger takes longer than a gateway's own queries may.
_STATEMENT_TIMEOUT = "10min"
_row = TABLE.c


class Selection(msgspec.Struct, frozen=True, kw_only=True):
    """Which records. since is included, until is not."""

    simulated: bool
    since: datetime | None = None
    until: datetime | None = None
    team: str | None = None
    providers: tuple[str, ...] | None = None


def records(engine: Engine, selection: Selection, *, sorted_by: Sequence[str] = BY_TIME) -> Iterator[SpendRecord]:
    """Records, each day's in the order of these fields. Raises LedgerUnavailable.

    `candidates` and `drops` are left empty: they are most of a row's bytes, and no sum needs them.
    """
    names = [field.name for field in FIELDS]
    columns = [literal("").label(name) if name in ("candidates", "drops") else _row[name] for name in names]
    for row in _stream(engine, columns, selection, sorted_by):
        yield msgspec.convert(dict(zip(names, row, strict=True)), SpendRecord)


def _ledger_columns() -> Iterator[Column]:
    for column in TABLE.columns:
        if isinstance(column.type, Boolean):
            yield Column(column.name, Kind.BOOLEAN)
        elif isinstance(column.type, BigInteger):
            yield Column(column.name, Kind.INTEGER)
            if column.name.endswith("_nano"):
                yield Column(f"{column.name.removesuffix('_nano')}_usd", Kind.DECIMAL)
        else:
            yield Column(column.name)


LEDGER_COLUMNS = tuple(_ledger_columns())
"""The table's own columns, in its order; beside every amount in nano-dollars the same in dollars."""


def ledger_rows(engine: Engine, selection: Selection) -> Iterator[Row]:
    """Every column of every record, in the order of time, as LEDGER_COLUMNS says. Raises LedgerUnavailable."""
    kinds = [(column.name.endswith("_nano"), isinstance(column.type, Boolean)) for column in TABLE.columns]
    for values in _stream(engine, list(TABLE.columns), selection, BY_TIME):
        row: list[str | int | None] = []
        for value, (is_money, is_truth) in zip(values, kinds, strict=True):
            if is_truth:
                row.append("true" if value else "false")
            else:
                row.append(value)
                if is_money:
                    row.append(usd(value))
        yield row


def _stream(
    engine: Engine, columns: Sequence[ColumnElement[Any]], selection: Selection, sorted_by: Sequence[str]
) -> Iterator[Sequence[Any]]:  # Any: the values of one row
    with transaction(engine) as connection:
        _hold_still(connection)
        order = [_in_order(connection, name) for name in sorted_by]
        chosen = _conditions(selection)
        for start, end in _days(connection, chosen, selection):
            query = select(*columns).where(*chosen, _row.at_us >= start, _row.at_us < end).order_by(*order)
            yield from connection.execute(query, execution_options={"yield_per": ROWS_AT_ONCE})


def _hold_still(connection: Connection) -> None:
    """All statements of this transaction see the same ledger."""
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("BEGIN")
    else:
        connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        connection.exec_driver_sql(f"SET LOCAL statement_timeout = '{_STATEMENT_TIMEOUT}'")


def _in_order(connection: Connection, name: str) -> ColumnElement[Any]:  # Any: a column of whatever type
    """Both databases sort alike: text by its bytes, nothing before something."""
    column: ColumnElement[Any] = _row[name]
    if connection.dialect.name != "sqlite" and isinstance(_row[name].type, Text):
        column = column.collate("C")
    return column.nulls_first() if _row[name].nullable else column


def _conditions(selection: Selection) -> list[ColumnElement[bool]]:
    chosen: list[ColumnElement[bool]] = [_row.simulated == selection.simulated]
    if selection.team is not None:
        chosen.append(_row.team == storable(selection.team))
    if selection.providers is not None:
        chosen.append(_row.provider.in_(selection.providers))
    return chosen


def _days(
    connection: Connection, chosen: Sequence[ColumnElement[bool]], selection: Selection
) -> Iterator[tuple[int, int]]:
    """The parts of days that have records, as microseconds, ends exclusive."""
    since = None if selection.since is None else to_us(selection.since)
    until = None if selection.until is None else to_us(selection.until)
    while True:
        query = select(func.min(_row.at_us)).where(*chosen)
        if since is not None:
            query = query.where(_row.at_us >= since)
        if until is not None:
            query = query.where(_row.at_us < until)
        first = connection.execute(query).scalar_one()
        if first is None:
            return
        next_day = first - first % DAY_US + DAY_US
        end = next_day if until is None else min(next_day, until)
        yield first, end
        since = end

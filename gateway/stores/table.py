"""The ledger's one table. Its columns are SpendRecord's fields, read from the type itself, and `day`.

Nothing else lists the columns: a new field of SpendRecord is a new column here.
"""

from __future__ import annotations

import types
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Union, get_args, get_origin

import msgspec
from sqlalchemy import BigInteger, Boolean, Column, Index, MetaData, Table, Text
from sqlalchemy.types import TypeEngine

from gateway.core.records import SpendRecord

METADATA = MetaData()
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
LARGEST = 2**53
"""No integer of a record may reach this: nine million dollars an attempt. Sums of such rows stay within 64 bits, and
whoever reads them as JSON gets them exactly."""

_DAY_US = 86_400_000_000


def day_of(at_us: int) -> str:
    """The UTC date of an instant, as ISO text."""
    return _date(at_us // _DAY_US)


def to_us(at: datetime) -> int:
    """Microseconds since the epoch, exactly. Raises ValueError without a time zone."""
    if at.tzinfo is None:
        raise ValueError(f"{at.isoformat()} names no time zone")
    return (at - EPOCH) // timedelta(microseconds=1)


def to_row(record: SpendRecord) -> tuple[str | int | bool | None, ...]:
    """A record as values in the order of COLUMNS, fit for both databases.

    Raises ValueError when a number is not whole or not believable (see LARGEST).
    """
    values = msgspec.to_builtins(record)
    for name, value in values.items():
        kind = type(value)
        if kind is int:
            if not -LARGEST < value < LARGEST:
                raise ValueError(f"{name} is {value}, which nothing real reaches")
        elif kind is str:
            if not value.isascii() or "\0" in value:
                values[name] = storable(value)
        elif kind is float:
            raise ValueError(f"{name} is {value}, a float")
    return (*values.values(), day_of(record.at_us))


def storable(text: str) -> str:
    """Text as both databases keep it: PostgreSQL refuses a zero byte, both refuse half of a surrogate pair."""
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode()


@lru_cache(maxsize=64)
def _date(day: int) -> str:
    return (EPOCH + timedelta(days=day)).date().isoformat()


def _column(field: msgspec.structs.FieldInfo) -> Column[Any]:  # Any: a column of whatever type the field has
    kinds = set(get_args(field.type)) if get_origin(field.type) in (Union, types.UnionType) else {field.type}
    nullable = type(None) in kinds
    (kind,) = kinds - {type(None)}
    kind = getattr(kind, "__supertype__", kind)  # a NewType of int is an int
    column_type: Callable[[], TypeEngine[Any]]
    if kind is bool:
        column_type = Boolean
    elif issubclass(kind, int):
        column_type = BigInteger
    elif issubclass(kind, str):
        column_type = Text
    else:
        raise TypeError(f"SpendRecord.{field.name}: no column type for {field.type!r}")
    return Column(field.name, column_type(), nullable=nullable, primary_key=field.name == "attempt_id")


FIELDS = msgspec.structs.fields(SpendRecord)
TABLE = Table(
    "spend_records",
    METADATA,
    *(_column(field) for field in FIELDS),
    Column("day", Text, nullable=False),
    # Every sum and every list is of one kind, real or simulated, and mostly of a period.
    Index("spend_records_time", "simulated", "at_us"),
    Index("spend_records_team_time", "team", "at_us"),
    Index("spend_records_request", "request_id"),
)
COLUMNS = tuple(column.name for column in TABLE.columns)

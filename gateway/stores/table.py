"""The tables. The book's columns are SpendRecord's fields, read from the type itself, and `day`; nothing lists them.

    spend_records   the book: one row for each attempt, never changed
    spend_series    what attempts have in common, each combination once
    spend_sums      the book's sums for each hour and each day of a series, kept with it in the same transaction
    api_keys        keys that were made while the gateway ran; by their digest, never themselves
    audit           who changed what, and when
    learned         tallies of answers and grades, which estimates are made of (core.learning)
    feedback        how good an answer was, as its caller says: one row for each request, the last word
    configurations  what a gateway was configured by, by version: an old decision is replayed under its own

A change here needs a revision in `migrations/` that makes the same of an older database, and a new HEAD in `schema`.
A new field of SpendRecord needs a default, which older rows then have.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Union, get_args, get_origin

import msgspec
from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
)
from sqlalchemy.types import TypeEngine

from gateway.core.records import SpendRecord

METADATA = MetaData()
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
LARGEST = 2**53
"""No integer of a record may reach this: nine million dollars an attempt. Sums of such rows stay within 64 bits, and
whoever reads them as JSON gets them exactly."""

HOUR_US = 3_600_000_000
DAY_H = 24


def day_of(at_us: int) -> str:
    """The UTC date of an instant, as ISO text."""
    return _date(at_us // HOUR_US // DAY_H)


def to_us(at: datetime) -> int:
    """Microseconds since the epoch, exactly. Raises ValueError without a time zone."""
    if at.tzinfo is None:
        raise ValueError(f"{at.isoformat()} names no time zone")
    return (at - EPOCH) // timedelta(microseconds=1)


def to_row(record: SpendRecord) -> tuple[str | int | bool | None, ...]:
    """A record as values in the order of COLUMNS, fit for both databases.

    Raises ValueError when a number is not whole or not believable (see LARGEST). Amounts and tokens may be negative:
    a reversal's are.
    """
    values = list(msgspec.structs.astuple(record))
    for at, name in _WHOLE:
        value = values[at]
        if value is not None and (type(value) is not int or not -LARGEST < value < LARGEST):
            raise ValueError(f"{name} is {value}, which is not whole, or nothing real reaches")
    for at in _TEXTS:
        value = values[at]
        if value is not None and (not value.isascii() or "\0" in value):
            values[at] = storable(value)
    if "\\u0000" in record.tags:
        # Valid JSON, which PostgreSQL stores and then cannot read.
        values[_TAGS] = values[_TAGS].replace("\\u0000", "\\ufffd")
    return (*values, day_of(record.at_us))


def from_row(row: Sequence[Any]) -> SpendRecord:  # Any: the values of one row
    """The record in a row of RECORD_COLUMNS."""
    return msgspec.convert(dict(zip((field.name for field in FIELDS), row, strict=True)), SpendRecord)


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
    default = None if nullable or field.default is msgspec.NODEFAULT else str(field.default)
    return Column(
        field.name, column_type(), nullable=nullable, primary_key=field.name == "attempt_id", server_default=default
    )


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
RECORD_COLUMNS = [TABLE.c[field.name] for field in FIELDS]

SERIES_OF = (
    "simulated", "organisation", "team", "key_id", "provider", "model", "route", "policy", "outcome", "state",
)  # fmt: skip
"""What makes a series: the columns of the book by which sums are kept."""

SUMMED = (
    "sign", "input_tokens", "cached_input_tokens", "cache_write_tokens", "output_tokens", "reasoning_tokens",
    "audio_input_tokens", "image_input_tokens", "audio_output_tokens", "image_output_tokens",
    "cost_nano", "baseline_nano", "duration_us",
)  # fmt: skip
"""The columns of the book that are summed. The sum of `sign` is the number of attempts."""

_ID = BigInteger().with_variant(Integer, "sqlite")  # SQLite counts up by itself in an INTEGER column only

SERIES = Table(
    "spend_series",
    METADATA,
    Column("id", _ID, primary_key=True),
    *(Column(name, TABLE.c[name].type, nullable=False) for name in SERIES_OF),
    UniqueConstraint(*SERIES_OF, name="spend_series_once"),
)

# Small rows, side by side by time: a month's days are few, and the hours that are being written lie on the same pages.
SUMS = Table(
    "spend_sums",
    METADATA,
    Column("hours", SmallInteger, primary_key=True, autoincrement=False),  # 1 or DAY_H: how long the span is
    Column("start", BigInteger, primary_key=True, autoincrement=False),  # hours since the epoch, UTC
    Column("series", BigInteger, ForeignKey(SERIES.c.id), primary_key=True, autoincrement=False),
    *(Column(name, BigInteger, nullable=False) for name in SUMMED),
    sqlite_with_rowid=False,
)

KEYS = Table(
    "api_keys",
    METADATA,
    Column("digest", Text, primary_key=True),  # SHA-256 of the key, in hex
    Column("id", Text, nullable=False),
    Column("team", Text, nullable=False),
    Column("organisation", Text, nullable=False),
    Column("created_at_us", BigInteger, nullable=False),
    Column("expires_at_us", BigInteger),
    Column("revoked_at_us", BigInteger),
    Column("rotated_from", Text),
    Column("note", Text, nullable=False),
    UniqueConstraint("id", name="api_keys_id"),
)

KEYS_VERSION = Table(
    "api_keys_version",
    METADATA,
    Column("one", Boolean, primary_key=True),  # always true: there is one row, or none before the first key
    Column("version", BigInteger, nullable=False),
)

AUDIT = Table(
    "audit",
    METADATA,
    Column("id", _ID, primary_key=True),
    Column("at_us", BigInteger, nullable=False),
    Column("actor", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("detail", Text, nullable=False),  # a JSON object
    Index("audit_time", "at_us"),
)

# Added to, row by row, by every worker; what it counts and how, core.learning says.
LEARNED = Table(
    "learned",
    METADATA,
    Column("what", Text, primary_key=True),
    Column("simulated", Boolean, primary_key=True),
    Column("span", BigInteger, primary_key=True, autoincrement=False),  # days or hours since the epoch, UTC
    Column("route", Text, primary_key=True),
    Column("kind", Text, primary_key=True),
    Column("model", Text, primary_key=True),
    Column("bucket", BigInteger, primary_key=True, autoincrement=False),
    Column("n", BigInteger, nullable=False),
    Column("total", BigInteger, nullable=False),
    Column("base", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

FEEDBACK = Table(
    "feedback",
    METADATA,
    Column("request_id", Text, primary_key=True),
    Column("at_us", BigInteger, nullable=False),
    Column("team", Text, nullable=False),
    Column("key_id", Text, nullable=False),  # of whoever gave it
    Column("simulated", Boolean, nullable=False),
    Column("model", Text, nullable=False),  # with effort
    Column("kind", Text, nullable=False),  # what it was, by whoever gave it
    Column("decided", Text, nullable=False),  # what its decision took it for
    Column("bucket", BigInteger, nullable=False),  # of the score that was expected, as in `learned`
    Column("score", BigInteger, nullable=False),  # thousandths
)

CONFIGURATIONS = Table(
    "configurations",
    METADATA,
    Column("version", Text, primary_key=True),
    Column("at_us", BigInteger, nullable=False),  # when it was first put in force
    Column("content", LargeBinary, nullable=False),
)
_WHOLE = [(at, field.name) for at, field in enumerate(FIELDS) if isinstance(TABLE.c[field.name].type, BigInteger)]
_TEXTS = [at for at, field in enumerate(FIELDS) if isinstance(TABLE.c[field.name].type, Text)]
_TAGS = [field.name for field in FIELDS].index("tags")

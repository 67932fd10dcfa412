"""Tables into Parquet, row group by row group. Its writer is an extra: import this file only when it is asked for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

from arro3.core import Array, DataType, Field, RecordBatch, RecordBatchReader, Schema
from arro3.io import write_parquet as write

from gateway.core.contracts import LedgerUnavailable
from gateway.core.sheet import Cell, Column, Kind, Row

ROWS_AT_ONCE = 5_000
ROWS_IN_A_GROUP = 20_000

_TYPES = {
    Kind.TEXT: DataType.utf8(),
    Kind.INTEGER: DataType.int64(),
    Kind.DECIMAL: DataType.decimal128(38, 12),
    Kind.INSTANT: DataType.timestamp("us", tz="UTC"),
    Kind.BOOLEAN: DataType.bool(),
}
"""Twelve decimals are a pico-dollar, the smallest price of a token there is."""


def write_parquet(path: Path, columns: Sequence[Column], rows: Iterable[Row]) -> int:
    """Returns how many rows. Raises LedgerUnavailable when reading them does, OSError when the file cannot be made."""
    schema = Schema([Field(column.name, _TYPES[column.kind]) for column in columns])
    count = 0
    failure: LedgerUnavailable | None = None

    def batches() -> Iterator[RecordBatch]:
        # An exception would not pass through the writer as itself, so it is kept until the writer is done.
        nonlocal count, failure
        remaining = iter(rows)
        try:
            while chunk := list(islice(remaining, ROWS_AT_ONCE)):
                count += len(chunk)
                yield _batch(columns, schema, chunk)
        except LedgerUnavailable as error:
            failure = error

    with open(path, "wb") as out:
        reader = RecordBatchReader.from_batches(schema, batches())
        write(reader, out, compression="zstd(3)", max_row_group_size=ROWS_IN_A_GROUP)
    if failure is not None:
        raise failure
    return count


def _batch(columns: Sequence[Column], schema: Schema, rows: Sequence[Row]) -> RecordBatch:
    cells = zip(*rows, strict=True)
    return RecordBatch([_array(column.kind, each) for column, each in zip(columns, cells, strict=True)], schema=schema)


def _array(kind: Kind, cells: Sequence[Cell]) -> Array:
    if kind is Kind.INTEGER:
        return Array(cells, DataType.int64())
    text = Array(cells, DataType.utf8())
    return text if kind is Kind.TEXT else text.cast(_TYPES[kind])

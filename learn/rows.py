"""The rows that kinds are learned from: JSON lines with `text` and `kind`, and, if known, whose answers were right."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import msgspec

T = TypeVar("T")


class Row(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """right: per model whether its answer to this text was good (1) or not (0); models nobody asked are left out."""

    text: str
    kind: str
    right: dict[str, int] = {}


class RowsError(ValueError):
    """A row that cannot be learned from; the message names its line and says what to do."""


_decoder = msgspec.json.Decoder(Row)


def read_rows(path: Path) -> list[Row]:
    """Every row of a file; empty lines are passed over. Raises RowsError."""
    try:
        lines = path.read_bytes().splitlines()
    except OSError as exc:
        raise RowsError(f"{path}: {exc.strerror or exc}") from exc
    rows = [_row(line, f"{path}:{number}") for number, line in enumerate(lines, 1) if line.strip()]
    if not rows:
        raise RowsError(f'{path} has no rows; write one a line: {{"text": "...", "kind": "..."}}')
    return rows


def _row(line: bytes, where: str) -> Row:
    try:
        row = _decoder.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise RowsError(f'{where}: {exc}; a row is {{"text": "...", "kind": "..."}}, with "right" if known') from exc
    if not row.text.strip() or not row.kind.strip():
        raise RowsError(f"{where}: 'text' and 'kind' must not be empty; leave the row out or complete it")
    if wrong := [model for model, value in row.right.items() if value not in (0, 1)]:
        raise RowsError(f"{where}: 'right' of {wrong[0]!r} must be 0 or 1; leave the model out when nobody knows")
    return row


def divided(items: Sequence[T], shares: Sequence[float], seed: int) -> list[list[T]]:
    """The items in parts of these sizes, by a seeded draw; the last part has what is left."""
    order = list(items)
    random.Random(seed).shuffle(order)
    parts, start = [], 0
    for share in shares[:-1]:
        end = start + round(share * len(order))
        parts.append(order[start:end])
        start = end
    return [*parts, order[start:]]

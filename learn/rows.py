"""The rows that kinds are learned from: JSON lines with `text` and `kind`, and, if known, whose answers were right."""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path

import msgspec


class Row(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """group: rows that resemble one another have the same, so that none of them tests what another taught.

    right: per model whether its answer to this text was good (1) or not (0); models nobody asked are left out.
    """

    text: str
    kind: str
    group: str = ""
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


def divided(rows: Sequence[Row], shares: Sequence[float], seed: int) -> list[list[Row]]:
    """The rows in parts of these shares, by a seeded draw that keeps the rows of a group together.

    Within each kind by itself, so that every part knows every kind.
    """
    groups: dict[str, dict[str, list[Row]]] = {}
    for number, row in enumerate(rows):
        groups.setdefault(row.kind, {}).setdefault(row.group or f"#{number}", []).append(row)
    dice = random.Random(seed)
    parts: list[list[Row]] = [[] for _ in shares]
    for kind in sorted(groups):
        members = list(groups[kind].values())
        dice.shuffle(members)
        for number, group in enumerate(members):
            parts[_part(number / len(members), shares)] += group
    return parts


def _part(position: float, shares: Sequence[float]) -> int:
    """Which part this position between 0 and 1 falls into."""
    for number, end in enumerate(accumulate(shares)):
        if position < end:
            return number
    return len(shares) - 1

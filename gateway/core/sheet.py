"""A table as it leaves the house: named, typed columns, and rows of text and whole numbers.

Money and token prices travel as exact decimal text, instants as ISO 8601 text, truth as "true" and "false". Whoever
writes a file turns them into what its format has for them; nothing in between can round.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import TypeAlias

import msgspec


class Kind(StrEnum):
    TEXT = "text"
    INTEGER = "integer"
    DECIMAL = "decimal"
    INSTANT = "instant"
    BOOLEAN = "boolean"


class Column(msgspec.Struct, frozen=True):
    name: str
    kind: Kind = Kind.TEXT


Cell: TypeAlias = str | int | None
Row: TypeAlias = Sequence[Cell]

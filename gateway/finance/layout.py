"""What a line of an invoice says, and what a layout is."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import TypeAlias
from zoneinfo import ZoneInfo

import msgspec

Cells: TypeAlias = Mapping[str, str]
"""One line of a file by its header cells, as `plain` writes them."""


class InvoiceLine(msgspec.Struct, frozen=True, kw_only=True):
    """One line. Days are included, in the zone of the layout.

    cost_pico: None when the file tells tokens only. tokens: any of `prompt` (all input), `input` (without cached),
    `cached_input`, `output`, as far as told. part: tells apart the lines of one attempt that is billed in several.
    """

    number: int
    first: date
    last: date
    model: str
    cost_pico: int | None
    tokens: dict[str, int] = {}
    attempt_id: str | None = None
    part: str = ""


@dataclass(frozen=True, slots=True)
class Layout:
    """needs: the header cells that tell this layout. read: a line of it; None for one that bills nothing.

    renamed: the file's header cells to ours.
    """

    name: str
    needs: frozenset[str]
    read: Callable[[Layout, Cells, int], InvoiceLine | None]
    provider: str | None = None
    zone: ZoneInfo | None = None
    renamed: Mapping[str, str] = field(default_factory=dict)

    def day(self, text: str) -> date:
        """A date, an instant or Unix seconds. Raises ValueError."""
        text = text.strip()
        if re.fullmatch(r"\d{8}", text):
            return datetime.strptime(text, "%Y%m%d").replace(tzinfo=UTC).date()
        if re.fullmatch(r"\d{9,11}", text):
            return datetime.fromtimestamp(int(text), self.zone or UTC).date()
        try:
            at = datetime.fromisoformat(text)
        except ValueError:
            raise ValueError(f"{text[:40]!r} is no date such as 2026-11-23") from None
        return at.date() if at.tzinfo is None else at.astimezone(self.zone or UTC).date()

    def days(self, start: str, end: str) -> tuple[date, date]:
        """From a start and an exclusive end."""
        first = self.day(start)
        return first, max(first, self.day(end) - timedelta(days=1)) if end.strip() else first


def plain(header: str) -> str:
    """A header cell without case, units and signs: "Unrounded cost ($)" -> "unrounded_cost"."""
    return re.sub(r"[^a-z0-9]+", "_", header.lower()).strip("_")

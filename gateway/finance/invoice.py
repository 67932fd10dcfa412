"""A provider's invoice or usage export, as CSV, into lines: which day, which model, how many tokens, how much money.

A file's layout is known by its header, wherever in the first lines it stands. What does not fit the layout is an error
with its line number, never a guess.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice, zip_longest

from .layout import InvoiceLine, Layout, plain
from .layouts import LAYOUTS, generic

HEADER_WITHIN = 40
"""A header stands in the first lines; Google's export has a preamble of account and invoice numbers."""

FIELDS = (
    "date", "end_date", "model", "cost", "input_tokens", "cached_input_tokens", "output_tokens", "attempt_id",
)  # fmt: skip
"""What --columns may name."""


class InvoiceError(Exception):
    """The file cannot be taken for an invoice; the text names the line."""


class Invoice:
    """The lines of a file, read as they are asked for; `layout` is known from the start."""

    def __init__(self, name: str, lines: Iterable[str], columns: Mapping[str, str] | None = None) -> None:
        """columns: our names to the file's own, for a layout that is not known. Raises InvoiceError."""
        self.name = name
        self._rows = csv.reader(lines)
        self.layout, self._header = self._find_header(columns)

    def lines(self) -> Iterator[InvoiceLine]:
        """Raises InvoiceError at the first line that does not fit."""
        for cells in self._checked(self._rows):
            if not any(cell.strip() for cell in cells):
                continue
            named = dict(zip_longest(self._header, cells[: len(self._header)], fillvalue=""))
            try:
                line = self.layout.read(self.layout, named, self._rows.line_num)
            except ValueError as exc:
                raise InvoiceError(f"{self.name}:{self._rows.line_num}: {exc}") from exc
            if line is not None:
                yield line

    def _find_header(self, columns: Mapping[str, str] | None) -> tuple[Layout, list[str]]:
        known = LAYOUTS if columns is None else (_own(columns),)
        for cells in islice(self._checked(self._rows), HEADER_WITHIN):
            header = [plain(cell) for cell in cells]
            for layout in known:
                names = [layout.renamed.get(name, name) for name in header]
                if layout.needs <= set(names):
                    return layout, names
        raise InvoiceError(f"{self.name}: {_unknown(known, columns)}")

    def _checked(self, rows: Iterator[list[str]]) -> Iterator[list[str]]:
        try:
            yield from rows
        except csv.Error as exc:
            raise InvoiceError(f"{self.name}:{self._rows.line_num}: no CSV: {exc}") from exc
        except UnicodeDecodeError as exc:
            raise InvoiceError(f"{self.name}: not text in UTF-8") from exc


def columns_from(text: str) -> dict[str, str]:
    """`date=Day,model=Engine,cost=Total` -> our names to the file's. Raises ValueError."""
    pairs = [pair.partition("=") for pair in text.split(",") if pair.strip()]
    found = {ours.strip(): theirs.strip() for ours, _, theirs in pairs}
    unknown = [ours for ours in found if ours not in FIELDS]
    if unknown or not all(found.values()):
        raise ValueError(f"--columns takes name=header pairs with the names {', '.join(FIELDS)}")
    missing = [name for name in ("date", "model") if name not in found]
    if missing or not {"cost", "input_tokens", "output_tokens"} & set(found):
        raise ValueError("--columns must name date, model, and at least one of cost, input_tokens, output_tokens")
    return found


def _own(columns: Mapping[str, str]) -> Layout:
    names = {"cost": "cost_usd"}
    renamed = {plain(theirs): names.get(ours, ours) for ours, theirs in columns.items()}
    return Layout("--columns", frozenset(renamed.values()), generic, renamed=renamed)


def _unknown(known: Iterable[Layout], columns: Mapping[str, str] | None) -> str:
    if columns is not None:
        return f"no line among the first {HEADER_WITHIN} has the columns {', '.join(columns.values())}"
    told = "; ".join(f"{layout.name} ({', '.join(sorted(layout.needs))})" for layout in known)
    return f"no known header among the first {HEADER_WITHIN} lines. Known: {told}. Name the columns with --columns"

"""The ledger against an invoice, by day and model: who misses what, and whether it is tokens or prices.

The ledger rounds each attempt up to a nano-dollar and invoices do not, so up to a nano-dollar for each attempt by which
the ledger is above is no difference. A line may bill several days (Google's bill a month): lines whose days overlap
are compared together, with all days that they cover.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime
from enum import StrEnum
from functools import lru_cache
from zoneinfo import ZoneInfo

import msgspec

from gateway.core.records import SpendRecord, State

from .exact import nearest_nano
from .layout import InvoiceLine
from .names import ModelNames

MEASURES = ("prompt", "input", "cached_input", "output")
"""`prompt` is `input` and `cached_input` together, where a file does not tell them apart."""


class What(StrEnum):
    """Of a finding by day and model."""

    NOT_BOOKED = "in the invoice, not in the ledger"
    NOT_BILLED = "in the ledger, not in the invoice"
    BILLED_MORE = "billed more than booked"
    BILLED_LESS = "billed less than booked"
    PRICE = "same tokens, another price"
    TOKENS = "other tokens"
    UNKNOWN = "no model of the catalogue"


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One difference. Days are included. Money in nano-dollars; invoice_nano is None when the file tells no money.

    booked_nano: settled and uncertain together. tokens: measure -> (invoice, ledger), where they differ.
    explained: the invoice lies between what is settled and what is booked, so what is uncertain can explain it.
    lines: the first lines of the file that were added up.
    """

    what: What
    first: date
    last: date
    model: str
    invoice_nano: int | None
    booked_nano: int
    uncertain_nano: int
    uncertain_attempts: int
    tokens: dict[str, tuple[int, int]]
    explained: bool
    lines: tuple[int, ...]


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """Totals of what was compared, and every difference."""

    first: date | None
    last: date | None
    lines: int
    lines_outside: int
    attempts: int
    invoice_nano: int | None
    settled_nano: int
    uncertain_nano: int
    findings: list[Finding]


class _Billed(msgspec.Struct):
    lines: list[int]
    pico: int = 0
    has_cost: bool = False
    tokens: dict[str, int] = {}

    def add(self, line: InvoiceLine) -> None:
        if len(self.lines) < _LINES_TOLD:
            self.lines.append(line.number)
        if line.cost_pico is not None:
            self.pico += line.cost_pico
            self.has_cost = True
        for measure, count in line.tokens.items():
            self.tokens[measure] = self.tokens.get(measure, 0) + count

    def join(self, other: _Billed) -> None:
        self.lines = sorted(self.lines + other.lines)[:_LINES_TOLD]
        self.pico += other.pico
        self.has_cost |= other.has_cost
        for measure, count in other.tokens.items():
            self.tokens[measure] = self.tokens.get(measure, 0) + count


class _Booked(msgspec.Struct):
    attempts: int = 0
    settled_nano: int = 0
    uncertain_nano: int = 0
    uncertain_attempts: int = 0
    tokens: dict[str, int] = msgspec.field(default_factory=lambda: dict.fromkeys(MEASURES, 0))

    def add(self, record: SpendRecord) -> None:
        self.attempts += record.sign
        if record.state is State.UNCERTAIN:
            self.uncertain_nano += record.cost_nano
            self.uncertain_attempts += record.sign
        else:
            self.settled_nano += record.cost_nano
        for measure, count in measured(record).items():
            self.tokens[measure] += count


_LINES_TOLD = 5
_NOTHING = _Booked()
Days = tuple[date, date]


def measured(record: SpendRecord) -> dict[str, int]:
    """An attempt's tokens as invoices count them: reasoning is output, a cache write is input."""
    fresh = record.input_tokens + record.cache_write_tokens + record.audio_input_tokens + record.image_input_tokens
    spoken = record.output_tokens + record.reasoning_tokens + record.audio_output_tokens + record.image_output_tokens
    cached = record.cached_input_tokens
    return {"prompt": fresh + cached, "input": fresh, "cached_input": cached, "output": spoken}


def days_in(zone: ZoneInfo | None) -> Callable[[int], date]:
    """Microseconds since the epoch to the day there; UTC without a zone."""

    @lru_cache(maxsize=1024)
    def of_quarter(quarter: int) -> date:  # every zone's midnight is at a quarter of an hour
        return datetime.fromtimestamp(quarter * 900, zone or UTC).date()

    return lambda at_us: of_quarter(at_us // 900_000_000)


class Bills:
    """An invoice added up by days and model. Grows with its days and models, not with its lines."""

    def __init__(
        self, lines: Iterable[InvoiceLine], names: ModelNames, *, since: date | None, until: date | None
    ) -> None:
        """since is included, until is not; a line that is not wholly inside is left out and counted."""
        self.lines = self.outside = 0
        self.named: dict[tuple[Days, str], _Billed] = {}
        self.unknown: dict[tuple[Days, str], _Billed] = {}
        for line in lines:
            if (since is not None and line.first < since) or (until is not None and line.last >= until):
                self.outside += 1
                continue
            self.lines += 1
            model = names.find(line.model)
            heap, key = (self.unknown, line.model) if model is None else (self.named, model)
            heap.setdefault(((line.first, line.last), key), _Billed([])).add(line)
        self.spans = _joined({days for days, _ in [*self.named, *self.unknown]})
        self.named = _by_span(self.named, self.spans)

    @property
    def models(self) -> set[str]:
        return {model for _, model in self.named}

    @property
    def whole(self) -> Days | None:
        return (self.spans[0][0], max(last for _, last in self.spans)) if self.spans else None


def compare(
    bills: Bills, records: Iterable[SpendRecord], day_of: Callable[[int], date], *, tolerance_nano: int
) -> Report:
    """day_of: an instant in microseconds as a day in the invoice's zone."""
    booked: dict[tuple[Days, str], _Booked] = {}
    span_of = {day: span for span in bills.spans for day in _each(span)}
    attempts = 0
    for record in records:
        attempts += record.sign
        day = day_of(record.at_us)
        key = (span_of.get(day, (day, day)), record.model)
        booked.setdefault(key, _Booked()).add(record)
    findings = []
    for days, model in sorted({*bills.named, *booked}):
        found = _finding(days, model, bills.named.get((days, model)), booked.get((days, model)), tolerance_nano)
        if found is not None:
            findings.append(found)
    findings += [_unknown(days, name, billed) for (days, name), billed in sorted(bills.unknown.items())]
    every = [*bills.named.values(), *bills.unknown.values()]
    return Report(
        first=bills.whole[0] if bills.whole else None,
        last=bills.whole[1] if bills.whole else None,
        lines=bills.lines,
        lines_outside=bills.outside,
        attempts=attempts,
        invoice_nano=nearest_nano(sum(one.pico for one in every)) if any(one.has_cost for one in every) else None,
        settled_nano=sum(one.settled_nano for one in booked.values()),
        uncertain_nano=sum(one.uncertain_nano for one in booked.values()),
        findings=findings,
    )


def _finding(days: Days, model: str, billed: _Billed | None, own: _Booked | None, tolerance: int) -> Finding | None:
    booked = own or _NOTHING
    tokens = {
        measure: (count, booked.tokens[measure])
        for measure, count in (billed.tokens.items() if billed else ())
        if count != booked.tokens[measure]
    }
    total = booked.settled_nano + booked.uncertain_nano
    invoice = nearest_nano(billed.pico) if billed and billed.has_cost else None
    if billed is None:
        invoice = 0
    over = 0 if invoice is None else invoice - total
    differs = over > tolerance or -over > tolerance + booked.attempts
    what = _what(billed, own, differs=differs, over=over, tokens_differ=bool(tokens))
    if what is None:
        return None
    explained = invoice is not None and (
        booked.uncertain_nano > 0 and booked.settled_nano - tolerance - booked.attempts <= invoice <= total + tolerance
    )
    return Finding(
        what=what, first=days[0], last=days[1], model=model, invoice_nano=invoice, booked_nano=total,
        uncertain_nano=booked.uncertain_nano, uncertain_attempts=booked.uncertain_attempts, tokens=tokens,
        explained=explained, lines=tuple(billed.lines) if billed else (),
    )  # fmt: skip


def _what(billed: _Billed | None, own: _Booked | None, *, differs: bool, over: int, tokens_differ: bool) -> What | None:
    if billed is None:
        return What.NOT_BILLED if differs else None
    if not differs and not tokens_differ:
        return None
    if own is None:
        return What.NOT_BOOKED
    if not differs:
        return What.TOKENS
    if billed.tokens and not tokens_differ:
        return What.PRICE
    return What.BILLED_MORE if over > 0 else What.BILLED_LESS


def _unknown(days: Days, name: str, billed: _Billed) -> Finding:
    return Finding(
        what=What.UNKNOWN, first=days[0], last=days[1], model=name,
        invoice_nano=nearest_nano(billed.pico) if billed.has_cost else None, booked_nano=0, uncertain_nano=0,
        uncertain_attempts=0, tokens={measure: (count, 0) for measure, count in billed.tokens.items()},
        explained=False, lines=tuple(billed.lines),
    )  # fmt: skip


def _joined(spans: set[Days]) -> list[Days]:
    """Spans that overlap, as one; in order."""
    found: list[Days] = []
    for first, last in sorted(spans):
        if found and first <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], last))
        else:
            found.append((first, last))
    return found


def _by_span(named: dict[tuple[Days, str], _Billed], spans: list[Days]) -> dict[tuple[Days, str], _Billed]:
    span_of = {day: span for span in spans for day in _each(span)}
    joined: dict[tuple[Days, str], _Billed] = {}
    for (days, model), billed in named.items():
        key = (span_of[days[0]], model)
        if key in joined:
            joined[key].join(billed)
        else:
            joined[key] = billed
    return joined


def _each(span: Days) -> Iterable[date]:
    return (date.fromordinal(day) for day in range(span[0].toordinal(), span[1].toordinal() + 1))

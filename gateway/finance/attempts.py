"""The ledger against a bill that names our attempts (the header x-gateway-attempt goes to every provider).

Every attempt is compared by itself, to the nano-dollar; corrections count to the attempt that they correct. The bill is
held in memory, one entry for each attempt, and the ledger is read past it. What was uncertain and stands on the bill is
known: `settled_by` says by which rows it is put right.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import date
from enum import StrEnum

import msgspec

from gateway.core.corrections import correction, reversal
from gateway.core.money import Nano
from gateway.core.pricing import Usage
from gateway.core.records import SpendRecord, State

from .exact import nearest_nano
from .invoice import InvoiceError
from .layout import InvoiceLine
from .reconcile import MEASURES, measured


class Fault(StrEnum):
    LOST = "booked, not billed"
    NOT_BOOKED = "billed, not booked"
    DOUBLED = "billed more than once"
    MISPRICED = "same tokens, another price"
    DIFFERS = "other tokens"
    UNCERTAIN = "uncertain, and the bill knows better"


class AttemptFinding(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt that differs. Money in nano-dollars; tokens: measure -> (bill, ledger), where they differ."""

    fault: Fault
    attempt_id: str
    day: date
    model: str
    bill_nano: int | None
    booked_nano: int
    tokens: dict[str, tuple[int, int]]
    lines: tuple[int, ...]


class AttemptReport(msgspec.Struct, frozen=True, kw_only=True):
    first: date | None
    last: date | None
    lines: int
    attempts: int
    billed_nano: int
    settled_nano: int
    uncertain_nano: int
    findings: list[AttemptFinding]
    known: list[Known]


class Known(msgspec.Struct, frozen=True):
    """An uncertain attempt that the bill names: the row that stands, and what was billed for it."""

    request_id: str
    attempt_id: str
    bill_nano: int
    usage: Usage | None


class _Entry(msgspec.Struct):
    day: date
    model: str
    lines: list[int]
    parts: set[str]
    doubled: bool = False
    pico: int | None = None
    tokens: dict[str, int] = {}
    booked: _Attempt | None = None


class _Attempt(msgspec.Struct):
    day: date
    model: str
    settled_nano: int = 0
    uncertain_nano: int = 0
    uncertain: dict[str, str] = {}
    taken_back: set[str] = set()
    tokens: dict[str, int] = msgspec.field(default_factory=lambda: dict.fromkeys(MEASURES, 0))

    def add(self, record: SpendRecord) -> None:
        if record.sign < 0 and record.corrects is not None:
            self.taken_back.add(record.corrects)
        if record.state is State.UNCERTAIN:
            self.uncertain_nano += record.cost_nano
            if record.sign > 0:
                self.uncertain[record.attempt_id] = record.request_id
        else:
            self.settled_nano += record.cost_nano
        for measure, count in measured(record).items():
            self.tokens[measure] += count

    @property
    def nano(self) -> int:
        return self.settled_nano + self.uncertain_nano

    @property
    def standing(self) -> tuple[str, str] | None:
        """The uncertain row that nothing has taken back, with its request."""
        return next((row for row in self.uncertain.items() if row[0] not in self.taken_back), None)


class AttemptBills:
    """A bill by attempt. Raises InvoiceError for a line that names none."""

    def __init__(self, name: str, lines: Iterable[InvoiceLine], *, since: date | None, until: date | None) -> None:
        self.lines = 0
        self.entries: dict[str, _Entry] = {}
        for line in lines:
            if line.attempt_id is None:
                raise InvoiceError(f"{name}:{line.number}: no attempt is named; the column is attempt_id")
            if (since is not None and line.first < since) or (until is not None and line.first >= until):
                continue
            self.lines += 1
            self._add(line.attempt_id, line)
        days = [entry.day for entry in self.entries.values()]
        self.first, self.last = min(days, default=None), max(days, default=None)

    def _add(self, attempt_id: str, line: InvoiceLine) -> None:
        entry = self.entries.get(attempt_id)
        if entry is None:
            entry = self.entries[attempt_id] = _Entry(line.first, line.model, [], set())
        entry.doubled |= line.part in entry.parts
        entry.parts.add(line.part)
        entry.lines.append(line.number)
        if line.cost_pico is not None:
            entry.pico = (entry.pico or 0) + line.cost_pico
        for measure, count in line.tokens.items():
            entry.tokens[measure] = entry.tokens.get(measure, 0) + count


def compare_attempts(
    bills: AttemptBills, records: Iterable[SpendRecord], day_of: Callable[[int], date], *, tolerance_nano: int
) -> AttemptReport:
    """records: those of the bill's days, and of a day more on either side, where an attempt may have been received."""
    strangers: dict[str, _Attempt] = {}
    attempts = settled = uncertain = 0
    for record in records:
        attempt_id = record.attempt_id.partition("~")[0]  # corrections carry the first row's id, with a suffix
        entry = bills.entries.get(attempt_id)
        day = day_of(record.at_us)
        if entry is not None:
            own = entry.booked = entry.booked or _Attempt(day, record.model)
        elif bills.first is None or bills.last is None or not bills.first <= day <= bills.last:
            continue
        else:
            own = strangers.setdefault(attempt_id, _Attempt(day, record.model))
        own.add(record)
        attempts += record.sign
        settled += record.cost_nano if record.state is State.SETTLED else 0
        uncertain += record.cost_nano if record.state is State.UNCERTAIN else 0
    found = [_of_entry(name, entry, tolerance_nano) for name, entry in bills.entries.items()]
    found += [_of_stranger(name, own, tolerance_nano) for name, own in strangers.items()]
    return AttemptReport(
        first=bills.first, last=bills.last, lines=bills.lines, attempts=attempts, settled_nano=settled,
        billed_nano=nearest_nano(sum(entry.pico or 0 for entry in bills.entries.values())),
        uncertain_nano=uncertain, known=[one for one in map(_known, bills.entries.values()) if one is not None],
        findings=sorted((one for one in found if one is not None), key=lambda one: (one.day, one.attempt_id)),
    )  # fmt: skip


def _of_entry(attempt_id: str, entry: _Entry, tolerance: int) -> AttemptFinding | None:
    own = entry.booked
    billed = None if entry.pico is None else nearest_nano(entry.pico)
    booked = own.tokens if own else dict.fromkeys(MEASURES, 0)
    tokens = {name: (count, booked[name]) for name, count in entry.tokens.items() if count != booked[name]}
    # A bill in parts below the nano-dollar is rounded here, the ledger's up: they may be one apart.
    money = billed is not None and own is not None and abs(billed - own.nano) > tolerance + (len(entry.parts) > 1)
    if own is None:
        fault = Fault.NOT_BOOKED
    elif entry.doubled:
        fault = Fault.DOUBLED
    elif own.standing is not None:
        fault = Fault.UNCERTAIN
    elif tokens:
        fault = Fault.DIFFERS
    else:
        fault = Fault.MISPRICED
    if own is not None and not entry.doubled and not money and not tokens:
        return None
    return AttemptFinding(
        fault=fault, attempt_id=attempt_id, day=entry.day, model=own.model if own else entry.model, bill_nano=billed,
        booked_nano=own.nano if own else 0, tokens=tokens, lines=tuple(entry.lines),
    )  # fmt: skip


def _of_stranger(attempt_id: str, own: _Attempt, tolerance: int) -> AttemptFinding | None:
    """An attempt that cost nothing need not be on a bill."""
    if abs(own.nano) <= tolerance:
        return None
    return AttemptFinding(
        fault=Fault.UNCERTAIN if own.standing is not None else Fault.LOST, attempt_id=attempt_id, day=own.day,
        model=own.model, bill_nano=None, booked_nano=own.nano, tokens={}, lines=(),
    )  # fmt: skip


def _known(entry: _Entry) -> Known | None:
    standing = entry.booked.standing if entry.booked else None
    if standing is None or entry.pico is None or entry.doubled:
        return None
    attempt_id, request_id = standing
    return Known(request_id, attempt_id, nearest_nano(entry.pico), _usage(entry.tokens))


def _usage(tokens: dict[str, int]) -> Usage | None:
    """None when the bill does not tell all of it."""
    fresh = tokens.get("input", tokens.get("prompt"))
    if fresh is None or "output" not in tokens:
        return None
    return Usage(input=fresh, cached_input=tokens.get("cached_input", 0), output=tokens["output"])


def settled_by(record: SpendRecord, known: Known) -> tuple[SpendRecord, SpendRecord]:
    """The row that takes this one back, and the one that says what the bill says."""
    return reversal(record), correction(record, cost_nano=Nano(known.bill_nano), usage=known.usage)

"""`gateway reconcile`: the ledger against a provider's invoice.

Exit codes: 0 they agree, 1 they differ, 2 they could not be compared.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from sqlalchemy import Engine

from gateway.config import ConfigError, load
from gateway.core.contracts import LedgerUnavailable
from gateway.core.market import Market
from gateway.core.money import NANO_PER_USD, nano_from_usd
from gateway.core.records import SpendRecord
from gateway.finance.attempts import AttemptBills, AttemptReport, compare_attempts, settled_by
from gateway.finance.invoice import Invoice, InvoiceError, columns_from
from gateway.finance.names import ModelNames
from gateway.finance.reconcile import Bills, Report, compare, days_in
from gateway.finance.reconcile_text import render, to_json
from gateway.stores.export import Selection, records
from gateway.stores.ledger import SqlLedger
from gateway.stores.spend import attempts_of

from . import add_data_argument, add_routes_argument
from .book import open_book

AGREE, DIFFER, NO_ANSWER = 0, 1, 2
TOLERANCE_NANO = NANO_PER_USD // 100
_DAY = timedelta(days=1)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "file", metavar="FILE.csv", help="an invoice or usage export; its layout is known by its header"
    )
    add_data_argument(parser)
    add_routes_argument(parser)
    parser.add_argument(
        "--provider", help="only this provider's attempts; default: what the layout says, else the file"
    )
    parser.add_argument("--from", dest="since", type=_day, metavar="DAY", help="the first day; default: the file's")
    parser.add_argument(
        "--to", dest="until", type=_day, metavar="DAY", help="the day after the last; default: the file's"
    )
    parser.add_argument("--tolerance-usd", dest="tolerance", type=_dollars, metavar="USD",
                        help="what a day and model may differ by; default 0.01, with --per-attempt 0")  # fmt: skip
    parser.add_argument(
        "--columns", metavar="date=...,model=...,cost=...", help="the headers of a layout not known here"
    )
    parser.add_argument("--per-attempt", action="store_true", help="the file names our attempts in a column attempt_id")
    parser.add_argument(
        "--apply", action="store_true", help="with --per-attempt: correct uncertain attempts to what the file says"
    )
    parser.add_argument("--simulated", action="store_true", help="the simulated records instead of the real ones")
    parser.add_argument("--json", action="store_true", help="as JSON, with nano-dollars as integers")
    parser.set_defaults(run=reconcile)


def reconcile(arguments: argparse.Namespace) -> int:
    try:
        if arguments.apply and not arguments.per_attempt:
            raise InvoiceError("--apply needs --per-attempt: only a file that names attempts says which one to correct")
        columns = None if arguments.columns is None else columns_from(arguments.columns)
        market = load(arguments.routes, os.environ, now=datetime.now(UTC)).world.market
        engine = open_book(arguments)
        with open(arguments.file, encoding="utf-8-sig", newline="") as file:
            return _against(Invoice(Path(arguments.file).name, file, columns), engine, market, arguments)
    except OSError as error:
        return _no_answer(f"{arguments.file} cannot be read: {error.strerror}")
    except (ConfigError, InvoiceError, LedgerUnavailable, ValueError) as error:
        return _no_answer(str(error))


def _against(invoice: Invoice, engine: Engine, market: Market, arguments: argparse.Namespace) -> int:
    provider = arguments.provider or invoice.layout.provider
    names = ModelNames(market.plain.values(), provider)
    reader = _Reader(engine, market, provider, invoice.layout.zone, arguments.simulated)
    title = f"{invoice.name} ({invoice.layout.name}, days in {invoice.layout.zone or 'UTC'})"
    work = _by_attempt if arguments.per_attempt else _by_day
    report = work(invoice, names, reader, arguments)
    print(f"{to_json(title, report)}\n" if arguments.json else render(title, report), end="", flush=True)
    if arguments.apply and isinstance(report, AttemptReport):
        corrected = _apply(engine, report)
        print(f"uncertain attempts that are settled now: {len(corrected)}", file=sys.stderr)
        return DIFFER if any(one.attempt_id not in corrected for one in report.findings) else AGREE
    return DIFFER if report.findings else AGREE


def _by_day(invoice: Invoice, names: ModelNames, reader: _Reader, arguments: argparse.Namespace) -> Report:
    bills = Bills(invoice.lines(), names, since=arguments.since, until=arguments.until)
    first, last = bills.whole or (None, None)
    found = reader.read(*_period(invoice, first, last, arguments), models=bills.models)
    tolerance = TOLERANCE_NANO if arguments.tolerance is None else arguments.tolerance
    return compare(bills, found, days_in(invoice.layout.zone), tolerance_nano=tolerance)


def _by_attempt(invoice: Invoice, names: ModelNames, reader: _Reader, arguments: argparse.Namespace) -> AttemptReport:
    bills = AttemptBills(invoice.name, invoice.lines(), since=arguments.since, until=arguments.until)
    since, until = _period(invoice, bills.first, bills.last, arguments)
    named = {model for entry in bills.entries.values() if (model := names.find(entry.model)) is not None}
    found = reader.read(since - _DAY, until + _DAY, models=named)
    return compare_attempts(bills, found, days_in(invoice.layout.zone), tolerance_nano=arguments.tolerance or 0)


def _period(
    invoice: Invoice, first: date | None, last: date | None, arguments: argparse.Namespace
) -> tuple[date, date]:
    """What was asked for, else the days of the file; the end exclusive."""
    since = arguments.since or first
    until = arguments.until or (last + _DAY if last is not None else None)
    if since is None or until is None:
        raise InvoiceError(f"{invoice.name}: no lines in this period, so nothing can be compared")
    if until <= since:
        raise InvoiceError(f"the period ends ({until}) before it begins ({since})")
    return since, until


@dataclass(frozen=True, slots=True)
class _Reader:
    """The ledger's records of some days of a zone."""

    engine: Engine
    market: Market
    provider: str | None
    zone: ZoneInfo | None
    simulated: bool

    def read(self, since: date, until: date, *, models: set[str]) -> Iterator[SpendRecord]:
        """models: those of the file; where no provider is said, theirs are meant, and all when none is known."""
        providers = {self.market.models[model].provider for model in models}
        if self.provider is not None:
            providers = {self.provider}
        selection = Selection(
            simulated=self.simulated,
            since=self._midnight(since),
            until=self._midnight(until),
            providers=tuple(sorted(providers)) or None,
        )
        return records(self.engine, selection)

    def _midnight(self, day: date) -> datetime:
        return datetime.combine(day, time(), self.zone or UTC)


def _apply(engine: Engine, report: AttemptReport) -> set[str]:
    """Books the corrections; the ids of the attempts that they settle. Booking them again changes nothing."""
    ledger = SqlLedger(engine)
    corrected = set()
    for known in report.known:
        rows = [row for row in attempts_of(engine, known.request_id) if row.attempt_id == known.attempt_id]
        for row in rows:
            ledger.append(settled_by(row, known))
            corrected.add(known.attempt_id.partition("~")[0])
    return corrected


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError as exc:
        raise argparse.ArgumentTypeError(f"{text!r} is not a day such as 2026-11-23") from exc


def _dollars(text: str) -> int:
    try:
        return nano_from_usd(text)
    except ValueError as exc:
        raise argparse.ArgumentTypeError(str(exc)) from exc


def _no_answer(text: str) -> int:
    print(text, file=sys.stderr)
    return NO_ANSWER

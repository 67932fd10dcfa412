"""`gateway export`: the ledger as a file for finance. Rows are streamed; a file is whole or it is not there."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeAlias

from sqlalchemy import Engine

from gateway.config import ConfigError, load
from gateway.core.contracts import LedgerUnavailable
from gateway.core.sheet import Column, Row
from gateway.finance import focus
from gateway.finance.split import PricesById
from gateway.stores.export import LEDGER_COLUMNS, Selection, ledger_rows, records
from gateway.stores.sheets import whole_file, write_csv
from gateway.stores.spend import both_kinds, period

from . import add_data_argument, add_routes_argument, complain
from .book import add_period_arguments, open_book

WRONG_WORDS = 2
Writer: TypeAlias = Callable[[Path, Sequence[Column], Iterable[Row]], int]
NO_PARQUET = (
    "Parquet needs the packages arro3-core and arro3-io, which are not installed. In a checkout: make venv-dev. "
    "Elsewhere: install llm-routing-gateway[export]. CSV needs neither."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_data_argument(parser)
    add_routes_argument(parser)
    parser.add_argument(
        "--format",
        choices=("focus", "csv", "parquet"),
        default="focus",
        help="focus: FOCUS 1.4 Cost and Usage (default); csv, parquet: the ledger's own columns, a row an attempt",
    )
    parser.add_argument("--parquet", action="store_true", help="FOCUS as Parquet, as an --out that ends in .parquet is")
    parser.add_argument("--granularity", choices=("day", "attempt"), help="of FOCUS rows; default day")
    add_period_arguments(parser)
    parser.add_argument("--team", help="only this team")
    parser.add_argument("--simulated", action="store_true", help="the simulated records instead of the real ones")
    parser.add_argument("--out", metavar="FILE", default="-", help="default: - for standard output (CSV only)")
    parser.set_defaults(run=export)


def export(arguments: argparse.Namespace) -> int:
    parquet = arguments.format == "parquet" or arguments.parquet or arguments.out.endswith(".parquet")
    fault = _fault(arguments, parquet)
    if fault is not None:
        complain(fault)
        return WRONG_WORDS
    writer = _parquet_writer() if parquet else _csv_file
    if writer is None:
        return complain(NO_PARQUET)
    try:
        since, until = period(arguments.since, arguments.until)
        engine = open_book(arguments)
        selection = Selection(simulated=arguments.simulated, since=since, until=until, team=arguments.team)
        columns, rows = _table(arguments, engine, selection)
        count = _write(arguments.out, columns, rows, writer)
        if not count:
            _say_empty(engine, simulated=arguments.simulated)
    except BrokenPipeError:  # whoever read it has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        return complain(f"{arguments.out} cannot be written: {error.strerror}")
    except (ConfigError, LedgerUnavailable, ValueError) as error:
        return complain(str(error))
    return 0


def _fault(arguments: argparse.Namespace, parquet: bool) -> str | None:
    if arguments.format != "focus" and arguments.granularity == "day":
        return "--granularity day is for --format focus; the ledger's own columns have a row for each attempt"
    if arguments.format == "csv" and parquet:
        return "--format csv writes CSV; for the same columns as Parquet say --format parquet"
    if parquet and arguments.out == "-":
        return "Parquet is written to a file: say --out FILE"
    return None


def _table(
    arguments: argparse.Namespace, engine: Engine, selection: Selection
) -> tuple[Sequence[Column], Iterable[Row]]:
    if arguments.format != "focus":
        return LEDGER_COLUMNS, ledger_rows(engine, selection)
    market = load(arguments.routes, os.environ, now=datetime.now(UTC)).world.market
    prices = PricesById(row for model in market.models for row in market.prices.rows(model))
    if arguments.granularity == "attempt":
        return focus.COLUMNS, focus.by_attempt(records(engine, selection), prices)
    return focus.COLUMNS, focus.by_day(records(engine, selection, sorted_by=focus.GROUP), prices)


def _write(out: str, columns: Sequence[Column], rows: Iterable[Row], writer: Writer) -> int:
    if out == "-":
        count = write_csv(sys.stdout, columns, rows)
        sys.stdout.flush()
        return count
    with whole_file(Path(out)) as draft:
        return writer(draft, columns, rows)


def _csv_file(path: Path, columns: Sequence[Column], rows: Iterable[Row]) -> int:
    with open(path, "w", encoding="utf-8", newline="") as file:
        return write_csv(file, columns, rows)


def _parquet_writer() -> Writer | None:
    """None where its packages are not installed."""
    try:
        from gateway.stores.parquet import write_parquet
    except ImportError:
        return None
    return write_parquet


def _say_empty(engine: Engine, *, simulated: bool) -> None:
    real, made_up = both_kinds(engine)
    other, kind, change = (real, "real", "leave out") if simulated else (made_up, "simulated", "add")
    hint = f"; there are {other} {kind} records, which are never mixed in: {change} --simulated" if other else ""
    print(f"no records in this period{hint}", file=sys.stderr)

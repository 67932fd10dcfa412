"""The ledger as a command opens it: DATABASE_URL, else the file in the data directory."""

from __future__ import annotations

import argparse
import os

from sqlalchemy import Engine

from gateway.core.contracts import LedgerUnavailable
from gateway.stores.ledger import LEDGER_FILE, SqlLedger, open_engine, sqlite_url
from gateway.stores.schema import HEAD


def open_book(arguments: argparse.Namespace) -> Engine:
    """Raises LedgerUnavailable when there is none yet or one of another version, ValueError for a bad address."""
    engine = open_any_book(arguments)
    if (found := SqlLedger(engine).version()) != HEAD:
        raise LedgerUnavailable(
            f"the ledger's tables are of version {found or 'none'}, this program reads {HEAD}: start the gateway, or"
            " run `gateway ledger upgrade`"
        )
    return engine


def open_any_book(arguments: argparse.Namespace) -> Engine:
    """The same of whatever version."""
    url = os.environ.get("DATABASE_URL") or None
    file = arguments.data_dir / LEDGER_FILE
    if url is None and not file.exists():
        raise LedgerUnavailable(
            f"there is no ledger at {file} yet: start the gateway, or set DATABASE_URL or --data-dir"
        )
    return open_engine(url or sqlite_url(file))


def add_period_arguments(parser: argparse.ArgumentParser) -> None:
    when = "ISO date or instant, UTC if unsaid"
    parser.add_argument("--from", "--since", dest="since", metavar="WHEN", help=f"{when}; included")
    parser.add_argument("--to", "--until", dest="until", metavar="WHEN", help=f"{when}; excluded")

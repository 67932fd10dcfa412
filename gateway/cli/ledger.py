"""`gateway ledger`: the version of the ledger's tables, their upgrade, and its sums made anew from its rows."""

from __future__ import annotations

import argparse
import os

from gateway.core.contracts import LedgerUnavailable
from gateway.stores.ledger import LEDGER_FILE, SqlLedger, open_engine, sqlite_url
from gateway.stores.recount import recount
from gateway.stores.schema import HEAD

from . import add_data_argument, complain


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_data_argument(parser)
    parser.add_argument(
        "action", choices=["version", "upgrade", "recount"],
        help="version: of the tables, and exit code 1 where it is another than this program's; upgrade: to this"
             " program's version, as a start of the gateway does; recount: make the sums anew from the rows",
    )  # fmt: skip
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    url = os.environ.get("DATABASE_URL") or None
    file = arguments.data_dir / LEDGER_FILE
    if url is None and not file.exists():
        return complain(f"there is no ledger at {file} yet: start the gateway, or set DATABASE_URL or --data-dir")
    try:
        ledger = SqlLedger(open_engine(url or sqlite_url(file)))
        if arguments.action != "version":
            ledger.prepare()
        if arguments.action == "recount":
            recount(ledger.engine)
        found = ledger.version()
    except (LedgerUnavailable, ValueError) as error:
        return complain(str(error))
    print(f"the ledger's tables: {found or 'no version'}; this program's: {HEAD}")
    return 0 if found == HEAD else 1

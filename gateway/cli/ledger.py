"""`gateway ledger`: the version of the ledger's tables, their upgrade, and its sums made anew from its rows."""

from __future__ import annotations

import argparse

from gateway.core.contracts import LedgerUnavailable
from gateway.stores.ledger import SqlLedger
from gateway.stores.recount import recount
from gateway.stores.schema import HEAD

from . import add_data_argument, complain
from .book import open_any_book


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_data_argument(parser)
    parser.add_argument(
        "action", choices=["version", "upgrade", "recount"],
        help="version: of the tables, and exit code 1 where it is another than this program's; upgrade: to this"
             " program's version, as a start of the gateway does; recount: make the sums anew from the rows",
    )  # fmt: skip
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    try:
        ledger = SqlLedger(open_any_book(arguments))
        if arguments.action != "version":
            ledger.prepare()
        if arguments.action == "recount":
            recount(ledger.engine)
        found = ledger.version()
    except (LedgerUnavailable, ValueError) as error:
        return complain(str(error))
    print(f"the ledger's tables: {found or 'no version'}; this program's: {HEAD}")
    return 0 if found == HEAD else 1

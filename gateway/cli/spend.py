"""`gateway spend`: what was spent, what the baseline would have cost, and the difference, from the ledger."""

from __future__ import annotations

import argparse
import os

from gateway.core.contracts import LedgerUnavailable
from gateway.stores.ledger import LEDGER_FILE, SqlLedger, open_engine, sqlite_url
from gateway.stores.question import DIMENSIONS, TAG
from gateway.stores.schema import HEAD
from gateway.stores.spend import both_kinds, period, spend
from gateway.stores.spend_text import render_table, to_json

from . import add_data_argument, complain


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_data_argument(parser)
    choices = f"{', '.join(DIMENSIONS)}, {TAG}NAME"
    parser.add_argument("--by", default="provider", help=f"comma-separated: {choices}; default provider")
    parser.add_argument("--since", metavar="WHEN", help="ISO date or instant, UTC if unsaid; included")
    parser.add_argument("--until", metavar="WHEN", help="ISO date or instant, UTC if unsaid; excluded")
    for name in ("team", "provider", "model", "route", "key", "organisation"):
        parser.add_argument(f"--{name}", help=f"only this {name}")
    parser.add_argument("--end-user", help="only this end user")
    parser.add_argument("--tag", action="append", default=[], type=_tag, metavar="NAME=VALUE",
                        help="only with this tag; may be given several times")  # fmt: skip
    parser.add_argument("--simulated", action="store_true", help="the simulated records instead of the real ones")
    parser.add_argument("--json", action="store_true", help="as JSON, with nano-dollars as integers")
    parser.set_defaults(run=show)


def _tag(text: str) -> tuple[str, str]:
    name, sign, value = text.partition("=")
    if not name or not sign:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    return name, value


def show(arguments: argparse.Namespace) -> int:
    url = os.environ.get("DATABASE_URL") or None
    file = arguments.data_dir / LEDGER_FILE
    if url is None and not file.exists():
        return complain(f"there is no ledger at {file} yet: start the gateway, or set DATABASE_URL or --data-dir")
    by = tuple(name.strip() for name in arguments.by.split(",") if name.strip())
    try:
        engine = open_engine(url or sqlite_url(file))
        if (found := SqlLedger(engine).version()) != HEAD:
            return complain(f"the ledger's tables are of version {found or 'none'}, this program reads {HEAD}: start"
                            " the gateway, or run `gateway ledger upgrade`")  # fmt: skip
        since, until = period(arguments.since, arguments.until)
        lines = spend(
            engine, by=by, since=since, until=until, team=arguments.team, provider=arguments.provider,
            model=arguments.model, route=arguments.route, key=arguments.key, organisation=arguments.organisation,
            end_user=arguments.end_user, tags=dict(arguments.tag), simulated=arguments.simulated,
        )  # fmt: skip
        real, simulated = both_kinds(engine)
    except (LedgerUnavailable, ValueError) as error:
        return complain(str(error))
    print(to_json(lines) if arguments.json else render_table(lines, by), end="\n" if arguments.json else "")
    other = real if arguments.simulated else simulated
    if not lines and other and not arguments.json:
        print(f"(there are {other} {'real' if arguments.simulated else 'simulated'} records, which are never mixed in: "
              f"{'leave out' if arguments.simulated else 'add'} --simulated)")  # fmt: skip
    return 0

"""`gateway spend`: what was spent, what the baseline would have cost, and the difference, from the ledger."""

from __future__ import annotations

import argparse

from gateway.core.contracts import LedgerUnavailable
from gateway.stores.question import DIMENSIONS, TAG
from gateway.stores.spend import both_kinds, names_in, period, spend, tags_wanted
from gateway.stores.spend_text import render_table, to_json

from . import add_data_argument, complain
from .book import add_period_arguments, open_book


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_data_argument(parser)
    choices = f"{', '.join(DIMENSIONS)}, {TAG}NAME"
    parser.add_argument("--by", default="provider", help=f"comma-separated: {choices}; default provider")
    add_period_arguments(parser)
    for name in ("team", "provider", "model", "route", "key", "organisation"):
        parser.add_argument(f"--{name}", help=f"only this {name}")
    parser.add_argument("--end-user", help="only this end user")
    parser.add_argument("--tag", action="append", default=[], metavar="NAME=VALUE",
                        help="only with this tag; may be given several times")  # fmt: skip
    parser.add_argument("--simulated", action="store_true", help="the simulated records instead of the real ones")
    parser.add_argument("--json", action="store_true", help="as JSON, with nano-dollars as integers")
    parser.set_defaults(run=show)


def show(arguments: argparse.Namespace) -> int:
    by = names_in(arguments.by)
    try:
        tags, (since, until) = tags_wanted(arguments.tag), period(arguments.since, arguments.until)
        engine = open_book(arguments)
        lines = spend(
            engine, by=by, since=since, until=until, team=arguments.team, provider=arguments.provider,
            model=arguments.model, route=arguments.route, key=arguments.key, organisation=arguments.organisation,
            end_user=arguments.end_user, tags=tags, simulated=arguments.simulated,
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

"""`gateway keys`: API keys, for routes.yaml (`new`) or in the ledger's database while the gateway runs (the others).

A key is shown once, by the command that makes it.
"""

from __future__ import annotations

import argparse
import json
import os
import re
from collections.abc import Sequence
from datetime import UTC, datetime

from gateway.config import ConfigError, load_teams
from gateway.core.contracts import LedgerUnavailable
from gateway.core.world import key_digest
from gateway.keyring import Facts, Keyring, UnknownKey, new_key
from gateway.stores.ledger import LEDGER_FILE, SqlLedger, open_engine, sqlite_url

from . import add_data_argument, add_routes_argument, complain

_UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
_COLUMNS = ("id", "team", "state", "created_at", "expires_at", "revoked_at", "rotated_from", "note")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="action")
    for name, says in _ACTIONS.items():
        action = actions.add_parser(name, help=says, description=says[0].upper() + says[1:] + ".")
        if name == "new":
            action.add_argument("--id", default="my-app", help="a name for the key, shown in reports (default: my-app)")
            action.set_defaults(run=new)
            continue
        add_routes_argument(action)
        add_data_argument(action)
        action.set_defaults(run=_with_keyring)
        if name in ("revoke", "rotate"):
            action.add_argument("id", help="as `keys list` shows it")
    _options(actions.choices)


_ACTIONS = {
    "new": "make a key and the line that routes.yaml needs; nothing is stored",
    "create": "make a key for a team; it is taken within a second",
    "list": "all keys that were created, never the keys themselves",
    "revoke": "let a key open nothing any more, within a second",
    "rotate": "make another key in the place of one, which opens on for a while",
}


def _options(actions: dict[str, argparse.ArgumentParser]) -> None:
    create, listed, rotate = actions["create"], actions["list"], actions["rotate"]
    create.add_argument("--team", required=True, help="a team of routes.yaml")
    create.add_argument("--id", help="a name for the key, shown in reports (default: made of the team's)")
    create.add_argument("--expires", type=_instant, metavar="WHEN", help="ISO date or instant, UTC if unsaid")
    create.add_argument("--note", default="", help="one line for people")
    listed.add_argument("--json", action="store_true", help="as JSON")
    rotate.add_argument("--grace", type=_seconds, default="24h", metavar="TIME",
                        help="how long the old key opens on: 90s, 30m, 24h, 7d (default: 24h)")  # fmt: skip


def new(arguments: argparse.Namespace) -> int:
    key = new_key()
    print(f"The key, for the app (it is not stored and not shown again):\n\n  {key}\n")
    print("Under its team in routes.yaml:\n")
    print(f'  keys:\n    - {{id: {arguments.id}, sha256: "{key_digest(key)}"}}')
    return 0


def _with_keyring(arguments: argparse.Namespace) -> int:
    url = os.environ.get("DATABASE_URL") or None
    file = arguments.data_dir / LEDGER_FILE
    if arguments.action != "create" and url is None and not file.exists():
        return complain(f"there is no ledger at {file}, so no key was created: set DATABASE_URL or --data-dir")
    try:
        teams = load_teams(arguments.routes)
        ledger = SqlLedger(open_engine(url or sqlite_url(file)))
        if arguments.action == "create":
            ledger.prepare()
        return _RUN[arguments.action](Keyring(ledger.engine, lambda: teams, actor="command line"), arguments)
    except (ConfigError, LedgerUnavailable, UnknownKey, ValueError) as error:
        return complain(str(error))


def _create(ring: Keyring, arguments: argparse.Namespace) -> int:
    _show(ring.create(arguments.team, id=arguments.id, expires_at=arguments.expires, note=arguments.note))
    return 0


def _list(ring: Keyring, arguments: argparse.Namespace) -> int:
    keys = ring.listed()
    print(json.dumps(keys, indent=2, ensure_ascii=False) if arguments.json else _table(keys))
    return 0


def _revoke(ring: Keyring, arguments: argparse.Namespace) -> int:
    key = ring.revoke(arguments.id)
    print(f"{key['id']} of team {key['team']} is revoked; every process refuses it within a second")
    return 0


def _rotate(ring: Keyring, arguments: argparse.Namespace) -> int:
    _show(ring.rotate(arguments.id, arguments.grace))
    return 0


_RUN = {"create": _create, "list": _list, "revoke": _revoke, "rotate": _rotate}


def _show(made: Facts) -> None:
    print(f"The key, for the app (only its SHA-256 is stored; it is not shown again):\n\n  {made['key']}\n")
    ends = f"expires {made['expires_at']}" if made["expires_at"] else "does not expire"
    print(f"id {made['id']}, team {made['team']}, organisation {made['organisation']}, {ends}")
    if made["rotated_from"]:
        print(f"It takes the place of {made['rotated_from']}.")


def _table(keys: Sequence[Facts]) -> str:
    lines = [_COLUMNS, *([str(key[name] or "") for name in _COLUMNS] for key in keys)]
    widths = [max(len(line[at]) for line in lines) for at in range(len(_COLUMNS))]
    return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)


def _instant(text: str) -> datetime:
    try:
        at = datetime.fromisoformat(text)
    except ValueError as exc:
        raise argparse.ArgumentTypeError(f"{text!r} is no ISO date or instant, such as 2027-01-01") from exc
    return at if at.tzinfo is not None else at.replace(tzinfo=UTC)


def _seconds(text: str) -> int:
    found = re.fullmatch(r"(\d{1,6})([smhd])", text)
    if found is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no time: a number with s, m, h or d, such as 24h")
    return int(found[1]) * _UNITS[found[2]]

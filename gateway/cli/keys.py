"""`gateway keys new`: a random key, shown once, and the line of routes.yaml that lets it in. Nothing is stored."""

from __future__ import annotations

import argparse
import secrets

from gateway.core.world import key_digest


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", choices=["new"])
    parser.add_argument("--id", default="my-app", help="a name for the key, shown in reports (default: my-app)")
    parser.set_defaults(run=keys)


def keys(arguments: argparse.Namespace) -> int:
    key = f"sk-gw-{secrets.token_urlsafe(32)}"
    print(f"The key, for the app (it is not stored and not shown again):\n\n  {key}\n")
    print("Under its team in routes.yaml:\n")
    print(f'  keys:\n    - {{id: {arguments.id}, sha256: "{key_digest(key)}"}}')
    return 0

"""The command line: one file for each command, imported only when it is asked for.

Exit codes: 0 done, 1 refused for a reason that was printed, 2 the command line itself was wrong.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from datetime import UTC, datetime
from pathlib import Path

from dotenv import load_dotenv

COMMANDS = {
    "serve": "start the gateway",
    "check": "find every mistake in routes.yaml; nothing is started",
    "explain": "how a request would be routed now; nothing is sent",
    "prices": "what models cost and what comes next; rows to review; drift from catalogues",
    "spend": "spend, baseline and savings from the ledger",
    "export": "the ledger as FOCUS 1.4, CSV or Parquet",
    "reconcile": "the ledger against a provider's invoice or usage export",
    "ledger": "version, upgrade and recount of the ledger's tables",
    "cache": "what the response cache keeps; inspect a request; purge",
    "keys": "make, list, revoke and rotate API keys",
    "schema": "print the JSON Schema of routes.yaml, for editors",
    "demo": "simulated providers, steady traffic, and a price cut to watch",
}


def main(argv: list[str] | None = None) -> None:
    """Parse the command line and run the command; exits with its code."""
    load_dotenv(".env")  # before the defaults below are read from the environment
    parser = argparse.ArgumentParser(prog="gateway", description="An OpenAI-compatible LLM routing gateway.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    words = sys.argv[1:] if argv is None else argv
    for name, says in COMMANDS.items():
        sub = commands.add_parser(name, help=says, description=says[0].upper() + says[1:] + ".")
        if words and words[0] == name:  # a command's own module, and what it imports, only when it runs
            importlib.import_module(f"gateway.cli.{name}").add_arguments(sub)
    arguments = parser.parse_args(words)
    sys.exit(arguments.run(arguments))


def add_routes_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--routes", type=Path, default=Path(os.environ.get("GATEWAY_ROUTES", "routes.yaml")),
                        metavar="FILE", help="the routes file (default: routes.yaml, or GATEWAY_ROUTES)")  # fmt: skip


def add_data_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data-dir", type=Path, default=Path(os.environ.get("GATEWAY_DATA_DIR", "data")),
                        metavar="DIR", help="the embedded stores (default: data, or GATEWAY_DATA_DIR)")  # fmt: skip


def port_number(text: str) -> int:
    """A TCP port. Raises argparse's own error, so that the command line says what is wrong."""
    if not text.isdigit() or not 1 <= int(text) <= 65_535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port: a number from 1 to 65535")
    return int(text)


def instant(text: str) -> datetime:
    """An ISO 8601 instant, UTC if unsaid. Raises argparse's own error."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError as exc:
        raise argparse.ArgumentTypeError(f"{text!r} is not an ISO 8601 instant such as 2026-12-01T00:00:00Z") from exc
    return at.astimezone(UTC) if at.tzinfo is not None else at.replace(tzinfo=UTC)


def complain(text: str) -> int:
    """Print why a command was refused; returns its exit code."""
    print(text, file=sys.stderr)
    return 1

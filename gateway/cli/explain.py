"""`gateway explain request.json`: every candidate with expected cost, quality and reason; nothing is sent.

`gateway explain --decision ID`: the same of a decision that was made, from the ledger, with what became of it.
"""

from __future__ import annotations

import argparse
import os
import sys
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from gateway.config import ConfigError, load
from gateway.core.candidate import Signals
from gateway.core.contracts import LedgerUnavailable
from gateway.core.decided import render_past
from gateway.core.errors import GatewayError
from gateway.core.explain import explain as put_in_words
from gateway.core.explain import render
from gateway.core.question import Question, answer
from gateway.core.request import parse_chat
from gateway.past import past_decision

from . import add_data_argument, add_routes_argument, complain, instant
from .book import open_book


def add_arguments(parser: argparse.ArgumentParser) -> None:
    about = parser.add_mutually_exclusive_group(required=True)
    about.add_argument("request", nargs="?", help="a chat-completions body as a JSON file; - reads standard input")
    about.add_argument("--decision", metavar="ID", help="a decision of the ledger, by x-gateway-decision of its reply")
    add_routes_argument(parser)
    add_data_argument(parser)
    parser.add_argument("--at", type=instant, metavar="WHEN", help="prices of this instant (ISO 8601, UTC if unsaid)")
    parser.add_argument("--seed", type=int, default=0, help="the dice of a split policy (default: 0)")
    parser.add_argument("--json", action="store_true", help="as JSON")
    parser.set_defaults(run=explain)


def explain(arguments: argparse.Namespace) -> int:
    return explain_request(arguments) if arguments.decision is None else explain_decision(arguments)


def explain_decision(arguments: argparse.Namespace) -> int:
    try:
        past = past_decision(open_book(arguments), arguments.decision)
    except (LedgerUnavailable, LookupError, ValueError) as error:
        return complain(str(error))
    print(msgspec.json.format(msgspec.json.encode(past)).decode() if arguments.json else render_past(past))
    return 0


def explain_request(arguments: argparse.Namespace) -> int:
    at = arguments.at or datetime.now(UTC)
    try:
        body = sys.stdin.buffer.read() if arguments.request == "-" else Path(arguments.request).read_bytes()
        world = load(arguments.routes, os.environ, now=datetime.now(UTC)).world
        request = parse_chat(body)
    except OSError as error:
        return complain(f"{arguments.request} cannot be read: {error.strerror}")
    except ConfigError as error:
        return complain(str(error))
    except GatewayError as error:
        return complain(f"{arguments.request}: {error.told}")
    route = world.route(request.model)
    if route is None:
        return complain(f"{arguments.request}: no route or model is named {request.model!r}")
    question = Question(route, request, world.keyless, Signals(now=at, seed=arguments.seed), tags=request.tags)
    explanation = put_in_words(answer(question, world), request, world.market)
    print(msgspec.json.format(msgspec.json.encode(explanation)).decode() if arguments.json else render(explanation))
    return 0 if explanation.candidates else 1

"""`gateway explain request.json`: every candidate with expected cost, quality and reason; nothing is sent."""

from __future__ import annotations

import argparse
import os
import sys
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from gateway.config import ConfigError, load
from gateway.core.candidate import Signals
from gateway.core.errors import GatewayError
from gateway.core.explain import explain as put_in_words
from gateway.core.explain import render
from gateway.core.request import parse_chat
from gateway.core.routing import decide

from . import add_routes_argument, complain, instant


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("request", help="a chat-completions body as a JSON file; - reads standard input")
    add_routes_argument(parser)
    parser.add_argument("--at", type=instant, metavar="WHEN", help="prices of this instant (ISO 8601, UTC if unsaid)")
    parser.add_argument("--seed", type=int, default=0, help="the dice of a split policy (default: 0)")
    parser.add_argument("--json", action="store_true", help="as JSON")
    parser.set_defaults(run=explain)


def explain(arguments: argparse.Namespace) -> int:
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
    explanation = put_in_words(
        decide(route, request, world.market, Signals(now=at, seed=arguments.seed)), request, world.market
    )
    print(msgspec.json.format(msgspec.json.encode(explanation)).decode() if arguments.json else render(explanation))
    return 0 if explanation.candidates else 1

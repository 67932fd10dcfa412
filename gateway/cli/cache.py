"""`gateway cache`: what the response cache keeps, whether a request would be served from it, and purging it.

It asks the store itself: REDIS_URL, or the embedded store while a gateway runs on the data directory.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from gateway.cacheinspect import caller_of, inspect
from gateway.cachekeeping import MOST_ENTRIES, CacheKeeping, Facts, Purge
from gateway.config import ConfigError, Loaded, load
from gateway.core.caching import read_control
from gateway.core.candidate import Signals
from gateway.core.contracts import LedgerUnavailable
from gateway.core.errors import GatewayError
from gateway.core.question import Question
from gateway.core.request import parse_chat
from gateway.inforce import live_of
from gateway.settings import Settings
from gateway.shared import cache_keys, cache_secret, has_cache_secret
from gateway.stores.embedded import EmbeddedStoreError, running_store
from gateway.stores.kept import CacheUnavailable, KeptAnswers

from . import add_data_argument, add_routes_argument, complain
from .book import open_book
from .cache_text import inspect_text, purge_text, stats_text

Act = Callable[[argparse.Namespace], Coroutine[Any, Any, tuple[Facts, str]]]  # Any: what a coroutine is sent


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="action")
    for name, (act, says) in _ACTIONS.items():
        action = actions.add_parser(name, help=says, description=says[0].upper() + says[1:] + ".")
        add_routes_argument(action)
        add_data_argument(action)
        action.add_argument("--json", action="store_true", help="as JSON")
        action.set_defaults(run=_told, act=act)
    stats, inspected, purge = (actions.choices[name] for name in _ACTIONS)
    stats.add_argument("--by", choices=["route", "team", "model", "scope"], default="route",
                       help="in which groups (default: route)")  # fmt: skip
    stats.add_argument("--most", type=_count, default=MOST_ENTRIES, metavar="N",
                       help=f"how many entries are looked at (default: {MOST_ENTRIES:,})")  # fmt: skip
    inspected.add_argument("request", help="a chat-completions body as a JSON file; - reads standard input")
    inspected.add_argument("--team", help="the team that asks; needed where teams are configured")
    inspected.add_argument("--key", default="", help="the id of the key, where each key has answers of its own")
    inspected.add_argument("--cache-control", default="", metavar="TEXT", help="the header that the request carries")
    for kind in ("route", "team", "model"):
        purge.add_argument(f"--{kind}", action="append", default=[], metavar="NAME",
                           help=f"what this {kind} has; may be given several times")  # fmt: skip
    purge.add_argument("--tag", action="append", default=[], metavar="NAME=VALUE",
                       help="what was asked for with this tag; may be given several times")  # fmt: skip
    purge.add_argument("--all", action="store_true", help="everything")
    purge.add_argument("--force", action="store_true", help="also names that the routes file does not have")


def _told(arguments: argparse.Namespace) -> int:
    act: Act = arguments.act
    try:
        facts, text = asyncio.run(act(arguments))
    except GatewayError as error:
        return complain(f"{arguments.request}: {error.told}")
    except (ConfigError, LedgerUnavailable, CacheUnavailable, EmbeddedStoreError, ValueError) as error:
        return complain(str(error))
    print(json.dumps(facts, indent=2, ensure_ascii=False) if arguments.json else text)
    return 0


async def _stats(arguments: argparse.Namespace) -> tuple[Facts, str]:
    async with _keeping(arguments) as keeping:
        facts = await keeping.stats(arguments.by, arguments.most)
    return facts, stats_text(facts)


async def _purge(arguments: argparse.Namespace) -> tuple[Facts, str]:
    wanted = Purge(
        routes=arguments.route, teams=arguments.team, models=arguments.model, tags=arguments.tag,
        everything=arguments.all,
    )  # fmt: skip
    async with _keeping(arguments) as keeping:
        facts = await keeping.purge(wanted, force=arguments.force)
    return facts, purge_text(facts)


async def _inspect(arguments: argparse.Namespace) -> tuple[Facts, str]:
    loaded, settings = _loaded(arguments), _settings(arguments)
    request = parse_chat(_body(arguments.request))
    world = loaded.world
    caller, route = caller_of(world, arguments.team, arguments.key), world.route(request.model)
    if route is None:
        raise ValueError(f"{arguments.request}: no route or model is named {request.model[:100]!r}")
    simulators = {name: "" for name, mode in loaded.modes.items() if mode == "simulated"}
    question = Question(route, request, caller, Signals(now=datetime.now(UTC), seed=0), tags=request.tags)
    control = read_control(arguments.cache_control)
    async with _store(settings) as store:
        live = live_of(loaded, settings, simulators)
        facts = await inspect(store, cache_secret(settings), question, live, control)
    return facts, inspect_text(facts)


_ACTIONS = {
    "stats": (_stats, "what is kept, in groups, and the memory of its store"),
    "inspect": (_inspect, "whether a request would be looked for and kept, and what is kept for it"),
    "purge": (_purge, "let kept answers go, in every process, within a second"),
}


@asynccontextmanager
async def _keeping(arguments: argparse.Namespace) -> AsyncIterator[CacheKeeping]:
    async with _store(_settings(arguments)) as store:
        yield CacheKeeping(store, lambda: open_book(arguments), lambda: _loaded(arguments).world, actor="command line")


@asynccontextmanager
async def _store(settings: Settings) -> AsyncIterator[KeptAnswers]:
    url = settings.get("REDIS_URL") or running_store(settings.data_dir)
    if not has_cache_secret(settings):
        raise ValueError(f"there is no cache.secret in {settings.data_dir}: set GATEWAY_CACHE_SECRET or --data-dir")
    store = KeptAnswers(url, cache_keys(settings, cache_secret(settings)))
    try:
        yield store
    finally:
        await store.close()


def _loaded(arguments: argparse.Namespace) -> Loaded:
    return load(arguments.routes, os.environ, now=datetime.now(UTC))


def _settings(arguments: argparse.Namespace) -> Settings:
    return Settings.from_env(os.environ, routes=arguments.routes, host="", port=0, data_dir=arguments.data_dir)


def _body(name: str) -> bytes:
    try:
        return sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
    except OSError as error:
        raise ValueError(f"{name} cannot be read: {error.strerror}") from error


def _count(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no count: a number from 1")
    return int(text)

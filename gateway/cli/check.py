"""`gateway check routes.yaml`: every mistake at once, each with its place; warnings do not fail."""

from __future__ import annotations

import argparse
import os
from datetime import UTC, datetime
from pathlib import Path

from gateway.config import ConfigError, load, render_mistakes, render_warnings

from . import add_routes_argument, complain


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_routes_argument(parser)
    parser.add_argument("file", type=Path, nargs="?", help="the same, without --routes; it goes before it")
    parser.add_argument("--strict", action="store_true", help="warnings fail too")
    parser.set_defaults(run=check)


def check(arguments: argparse.Namespace) -> int:
    path = arguments.file or arguments.routes
    try:
        loaded = load(path, os.environ, now=datetime.now(UTC))
    except ConfigError as error:
        count = len(error.mistakes)
        return complain(f"{render_mistakes(error.mistakes)}\n{count} mistake{'s' if count != 1 else ''}")
    if loaded.warnings:
        print(render_warnings(loaded.warnings))
    world = loaded.world
    print(
        f"{path}: good; {len(world.routes)} routes, {len(world.market.plain)} models, "
        f"{len(world.teams)} teams, {len(loaded.warnings)} warnings"
    )
    return 1 if arguments.strict and loaded.warnings else 0

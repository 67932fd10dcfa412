"""`gateway serve`: start the gateway and stay until told to stop (SIGINT or SIGTERM drains first)."""

from __future__ import annotations

import argparse
import logging
import os
import sys

from gateway.config import ConfigError
from gateway.settings import Settings, StartError

from . import add_data_argument, add_routes_argument, complain, port_number

MOST_WORKERS = 64


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_routes_argument(parser)
    add_data_argument(parser)
    parser.add_argument("--host", default=os.environ.get("GATEWAY_HOST", "127.0.0.1"), help="default: 127.0.0.1")
    parser.add_argument(
        "--port", type=port_number, default=os.environ.get("GATEWAY_PORT") or "8080", help="default: 8080"
    )
    parser.add_argument(
        "--workers", type=worker_count, default=os.environ.get("GATEWAY_WORKERS") or "1", metavar="N",
        help="processes behind the port, one core each (default: 1, or GATEWAY_WORKERS)",
    )  # fmt: skip
    parser.set_defaults(run=serve)


def serve(arguments: argparse.Namespace) -> int:
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("uvicorn").setLevel(logging.WARNING)  # what it has to say at the start stands in the banner
    settings = Settings.from_env(
        os.environ, routes=arguments.routes, host=arguments.host, port=arguments.port, data_dir=arguments.data_dir
    )
    try:
        _run(settings, arguments.workers)
    except ConfigError as error:
        return complain(f"{error}\nThe gateway was not started.")
    except StartError as error:
        return complain(f"{error}\nThe gateway was not started.")
    return 0


def _run(settings: Settings, workers: int) -> None:
    # Imported here: a supervisor serves nothing itself, and would only wait for the half that does.
    if workers == 1:
        from gateway.server import run

        run(settings)
    else:
        from gateway.workers.supervisor import run as supervise

        supervise(settings, workers)


def worker_count(text: str) -> int:
    """Raises argparse's own error, so that the command line says what is wrong."""
    if not text.isdigit() or not 1 <= int(text) <= MOST_WORKERS:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of workers: 1 to {MOST_WORKERS}")
    return int(text)

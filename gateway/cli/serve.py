"""`gateway serve`: start the gateway and stay until told to stop (SIGINT or SIGTERM drains first)."""

from __future__ import annotations

import argparse
import logging
import os
import sys

from gateway.config import ConfigError
from gateway.server import run
from gateway.settings import Settings, StartError

from . import add_data_argument, add_routes_argument, complain, port_number


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_routes_argument(parser)
    add_data_argument(parser)
    parser.add_argument("--host", default=os.environ.get("GATEWAY_HOST", "127.0.0.1"), help="default: 127.0.0.1")
    parser.add_argument(
        "--port", type=port_number, default=os.environ.get("GATEWAY_PORT") or "8080", help="default: 8080"
    )
    parser.set_defaults(run=serve)


def serve(arguments: argparse.Namespace) -> int:
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("uvicorn").setLevel(logging.WARNING)  # what it has to say at the start stands in the banner
    settings = Settings.from_env(
        os.environ, routes=arguments.routes, host=arguments.host, port=arguments.port, data_dir=arguments.data_dir
    )
    try:
        run(settings)
    except ConfigError as error:
        return complain(f"{error}\nThe gateway was not started.")
    except StartError as error:
        return complain(f"{error}\nThe gateway was not started.")
    return 0

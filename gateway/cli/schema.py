"""`gateway schema`: the JSON Schema of routes.yaml."""

from __future__ import annotations

import argparse
import json

from gateway.config import json_schema


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=schema)


def schema(arguments: argparse.Namespace) -> int:
    print(json.dumps(json_schema(), indent=2))
    return 0

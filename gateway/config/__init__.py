"""routes.yaml and the price book -> one World, or every mistake at once, each with its place and what was meant.

yaml_places reads YAML with places; shape says what may stand in a file, leaves what single values may be; recover
makes the most of a file that is partly wrong. Then what refers to what: providers, catalogue, prices, routes, steps,
teams, rules. load ties them together; refresh looks at the reviewed price file while the gateway runs. Nothing here
knows a clock: the instant comes in.
"""

from .kept import keep, restore
from .known import KNOWN_DRIFT, load_known
from .leaves import is_name
from .load import (
    DEFAULT_ROUTES,
    PRICEBOOK,
    SHIPPED_ROUTES,
    Loaded,
    Teams,
    load,
    load_teams,
    teams_of,
    with_reviewed,
)
from .mistakes import ConfigError, Mistake, did_you_mean, render_mistakes, render_warnings
from .modes import Mode
from .refresh import PriceRefresher
from .schema import json_schema

__all__ = [
    "DEFAULT_ROUTES",
    "KNOWN_DRIFT",
    "PRICEBOOK",
    "SHIPPED_ROUTES",
    "ConfigError",
    "Loaded",
    "Mistake",
    "Mode",
    "PriceRefresher",
    "Teams",
    "did_you_mean",
    "is_name",
    "json_schema",
    "keep",
    "load",
    "load_known",
    "load_teams",
    "render_mistakes",
    "render_warnings",
    "restore",
    "teams_of",
    "with_reviewed",
]

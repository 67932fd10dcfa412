"""routes.yaml and the price book -> one World, or every mistake at once, each with its place and what was meant.

yaml_places reads YAML with places; shape says what may stand in a file, leaves what single values may be; recover
makes the most of a file that is partly wrong. Then what refers to what: providers, catalogue, prices, routes, steps,
teams, rules. load ties them together; refresh looks at the reviewed price file while the gateway runs. Nothing here
knows a clock: the instant comes in.
"""

from .known import KNOWN_DRIFT, load_known
from .load import DEFAULT_ROUTES, PRICEBOOK, SHIPPED_ROUTES, Loaded, load, with_reviewed
from .mistakes import ConfigError, Mistake, render_mistakes, render_warnings
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
    "json_schema",
    "load",
    "load_known",
    "render_mistakes",
    "render_warnings",
    "with_reviewed",
]

"""routes.yaml and the price book -> one World, or every mistake at once, each with its place and what was meant.

yaml_places reads YAML with places; shape says what may stand in a file, leaves what single values may be; recover
makes the most of a file that is partly wrong. Then what refers to what: providers, catalogue, prices, routes, steps,
teams, rules. load ties them together; reload does it again while the gateway runs. Nothing here knows a clock: the
instant comes in.
"""

from .kept import keep, restore
from .kinds import kinds_file
from .known import KNOWN_DRIFT, load_known
from .leaves import is_name
from .load import (
    DEFAULT_ROUTES,
    PRICEBOOK,
    SHIPPED_ROUTES,
    Loaded,
    Teams,
    Texts,
    build,
    load,
    load_teams,
    read_texts,
    teams_of,
)
from .mistakes import ConfigError, Mistake, did_you_mean, render_mistakes, render_warnings
from .modes import Mode
from .reload import Outcome, Reloader, Standing
from .schema import json_schema
from .source import Text

__all__ = [
    "DEFAULT_ROUTES",
    "KNOWN_DRIFT",
    "PRICEBOOK",
    "SHIPPED_ROUTES",
    "ConfigError",
    "Loaded",
    "Mistake",
    "Mode",
    "Outcome",
    "Reloader",
    "Standing",
    "Teams",
    "Text",
    "Texts",
    "build",
    "did_you_mean",
    "is_name",
    "json_schema",
    "keep",
    "kinds_file",
    "load",
    "load_known",
    "load_teams",
    "read_texts",
    "render_mistakes",
    "render_warnings",
    "restore",
    "teams_of",
]

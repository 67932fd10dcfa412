"""What is not wrong and will still surprise: what stands in routes (warn_routes.py, warn_cache.py), keys, rules, days
that run out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta

from gateway.core.world import World

from .files import File
from .mistakes import Mistake, did_you_mean
from .modes import Mode
from .prices import HOLIDAYS_NEEDED, all_files
from .rules import key_ids
from .shape import RoutesFile
from .shape_book import BookFile, ReviewedFile
from .warn_routes import route_warnings

_HOLIDAYS_SOON = timedelta(days=60)
_SHORT_KEY = 20
"""Keys are stored as a plain SHA-256, which is safe for random secrets only."""


def find_warnings(
    books: Sequence[File[BookFile]],
    routes: File[RoutesFile],
    reviewed: File[ReviewedFile] | None,
    world: World,
    modes: Mapping[str, Mode],
    env: Mapping[str, str],
    now: datetime,
) -> tuple[Mistake, ...]:
    found = {
        *_holiday_warnings(books, routes, reviewed, now),
        *_key_warnings(routes, env),
        *_rule_warnings(routes),
    }
    for name, route in world.routes.items():
        found.update(route_warnings(route, world, modes, routes.spot.at("routes", name), now))
    return tuple(sorted(found))


def _holiday_warnings(
    books: Sequence[File[BookFile]], routes: File[RoutesFile], reviewed: File[ReviewedFile] | None, now: datetime
) -> Iterator[Mistake]:
    files = all_files(books, routes, reviewed)
    latest = {name: (keys, file.spot) for file in files for name, keys in file.keys.holidays.items()}
    for name, (keys, spot) in latest.items():
        if keys.covers.until - now.date() <= _HOLIDAYS_SOON:
            last = keys.covers.until - HOLIDAYS_NEEDED
            why = f"holiday list {name!r} ends on {keys.covers.until}; after {last} it is refused where a row needs it"
            yield spot.at("holidays", name, "covers", "until").mistake(why)


def _key_warnings(routes: File[RoutesFile], env: Mapping[str, str]) -> Iterator[Mistake]:
    for team, keys in routes.keys.teams.items():
        for index, key in enumerate(keys.keys):
            if key.env is not None and len(env.get(key.env, "").strip()) < _SHORT_KEY:
                spot = routes.spot.at("teams", team, "keys", index, "env")
                yield spot.mistake(f"the key in {key.env} is short enough to be guessed; use a long random one")


def _rule_warnings(routes: File[RoutesFile]) -> Iterator[Mistake]:
    keys, spot, ids = routes.keys, routes.spot, key_ids(routes)
    for section, rules in (("budgets", keys.budgets), ("limits", keys.limits)):
        for name, rule in rules.items():
            if rule.key is not None and rule.key not in ids:
                near = did_you_mean(rule.key, ids)
                why = f"no key in this file has the id {rule.key!r}, so it waits for one of `gateway keys create`{near}"
                yield spot.at(section, name, "key").mistake(why)
    for name, route in keys.routes.items():
        if keys.budgets:
            continue
        if route.step_down is not None:
            yield spot.at("routes", name, "step_down").key.mistake("it has no effect: there are no budgets")
        for index, condition in enumerate(route.when):
            if condition.budget_used_percent is not None:
                here = spot.at("routes", name, "when", index, "budget_used_percent").key
                yield here.mistake("the condition never holds: there are no budgets")

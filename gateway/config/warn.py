"""What is not wrong and will still surprise: candidates that never serve, prices and holidays that run out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta

from gateway.core.catalog import AUTO, Model
from gateway.core.market import Market
from gateway.core.route import Route
from gateway.core.world import World

from .files import File, listed
from .mistakes import Mistake, did_you_mean
from .modes import Mode
from .prices import HOLIDAYS_NEEDED, all_files
from .rules import key_ids
from .shape import RoutesFile
from .shape_book import BookFile, ReviewedFile
from .source import Spot

_SOON = timedelta(days=30)
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
        found.update(_route_warnings(route, world.market, modes, routes.spot.at("routes", name), now))
    return tuple(sorted(found))


def _route_warnings(
    route: Route, market: Market, modes: Mapping[str, Mode], spot: Spot, now: datetime
) -> Iterator[Mistake]:
    for section, names in (("candidates", route.candidates), ("fallbacks", route.fallbacks)):
        for index, name in enumerate(names):
            why = _never(market.models[name], route, market, now) or _not_for_long(market.models[name], now)
            if why is not None:
                yield spot.at(section, index).mistake(f"{name} {why}")
    if route.floors and route.kind != AUTO and route.floor_for(route.kind) is None:
        kinds = listed(sorted(route.floors))
        why = f"the floor for {kinds} has no effect: the route's kind is {route.kind!r}"
        yield spot.at("quality_floor").mistake(why)
    if route.baseline is not None and market.prices.at(route.baseline, now) is None:
        own = spot.at("baseline")
        at = own if "baseline" in spot.source.value(spot.path) else Spot(spot.source, ("defaults", "baseline"))
        yield at.mistake(f"the baseline {route.baseline} has no price now, so no savings are counted against it")
    providers = {market.models[name].provider for name in (*route.candidates, *route.fallbacks)}
    if all(modes[provider] == "off" for provider in providers):
        unset = sorted({str(market.providers[provider].key_env) for provider in providers})
        why = f"route {route.name!r} cannot serve: none of its providers has a key; set {listed(unset)}"
        yield spot.key.mistake(why)


def _never(model: Model, route: Route, market: Market, now: datetime) -> str | None:
    """Why the route would drop this model whatever the request is."""
    never = "can never be chosen here:"
    where = market.providers[model.provider].jurisdiction
    if route.jurisdictions is not None and where not in route.jurisdictions:
        return f"{never} prompts may not go to {where} (allowed: {', '.join(sorted(route.jurisdictions))})"
    floor = route.floor_for(route.kind)
    if floor is not None and route.kind != AUTO:  # with "auto" it depends on the request
        score = model.score(route.kind)
        if score is None:
            return f"{never} nobody has measured its {route.kind} quality, and the floor is {floor:g}"
        if score.score < floor:
            return f"{never} its {route.kind} quality is {score.score:g}, under the floor of {floor:g}"
    if model.deprecated_on is not None and now.date() >= model.deprecated_on:
        return f"{never} its provider retired it on {model.deprecated_on}"
    if market.prices.at(model.id, now) is None:
        start = market.prices.next_start(model.id, now)
        since = "add a row under 'prices'" if start is None else f"its next row begins on {start.date()}"
        return f"has no price now, so it is not chosen; {since}"
    return None


def _not_for_long(model: Model, now: datetime) -> str | None:
    if model.deprecated_on is None or model.deprecated_on - now.date() > _SOON:
        return None
    return f"is retired by its provider on {model.deprecated_on}, in {(model.deprecated_on - now.date()).days} days"


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
        if route.step_down is not None and not keys.budgets:
            yield spot.at("routes", name, "step_down").key.mistake("it has no effect: there are no budgets")

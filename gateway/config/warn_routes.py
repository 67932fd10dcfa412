"""What is not wrong in a route and will still surprise: candidates that do not serve, floors and conditions in vain."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta

from gateway.core.catalog import AUTO, Model
from gateway.core.market import Market
from gateway.core.route import FloorMeaning, Route, When
from gateway.core.routing import expected_score
from gateway.core.world import World

from .files import listed
from .mistakes import Mistake
from .modes import Mode
from .source import Spot
from .warn_cache import cache_warnings

_SOON = timedelta(days=30)


def route_warnings(
    route: Route, world: World, modes: Mapping[str, Mode], spot: Spot, now: datetime
) -> Iterator[Mistake]:
    market = world.market
    for section, names in (("candidates", route.candidates), ("fallbacks", route.fallbacks)):
        for index, name in enumerate(names):
            model = market.models[name]
            why = _not_chosen(model, route, world, now) or _not_for_long(model, now)
            if why is not None:
                yield spot.at(section, index).mistake(f"{name} {why}")
    yield from _floor_warnings(route, world, spot)
    yield from _baseline_warnings(route, market, spot, now)
    yield from _condition_warnings(route, world, spot)
    yield from cache_warnings(route, world, modes, spot)
    providers = {market.models[name].provider for name in (*route.candidates, *route.fallbacks)}
    if all(modes[provider] == "off" for provider in providers):
        unset = sorted({str(market.providers[provider].key_env) for provider in providers})
        why = f"route {route.name!r} cannot serve: none of its providers has a key; set {listed(unset)}"
        yield spot.key.mistake(why)


def _not_chosen(model: Model, route: Route, world: World, now: datetime) -> str | None:
    """Why the route would drop this model whatever the request is."""
    market, never = world.market, "can never be chosen here:"
    where = market.providers[model.provider].jurisdiction
    if route.jurisdictions is not None and where not in route.jurisdictions:
        return f"{never} prompts may not go to {where} (allowed: {', '.join(sorted(route.jurisdictions))})"
    under = [_under_floor(model, route, kind, market) for kind in _kinds(route, world)]
    if None not in under:
        why = under[0] if len(under) == 1 else "its quality is under the floor of every task kind"
        return f"is not chosen here: {why}"
    if model.deprecated_on is not None and now.date() >= model.deprecated_on:
        return f"{never} its provider retired it on {model.deprecated_on}"
    if market.prices.at(model.id, now) is None:
        start = market.prices.next_start(model.id, now)
        since = "add a row under 'prices'" if start is None else f"its next row begins on {start.date()}"
        return f"has no price now, so it is not chosen; {since}"
    return None


def _kinds(route: Route, world: World) -> list[str]:
    """What a request of this route may be."""
    return sorted(world.words.kinds) if route.kind == AUTO else [route.kind]


def _under_floor(model: Model, route: Route, kind: str, market: Market) -> str | None:
    """Graded answers may move a score later; this is how it stands without any."""
    floor = route.floor_for(kind)
    if floor is None:
        return None
    score = expected_score(market.priors[model.id].scores, ((kind, 1.0),))
    if score is None and model.score(kind) is not None:
        return f"its {kind} quality is only rumoured, which counts as none, and the floor is {floor:g}"
    if score is None:
        return f"nobody has measured its {kind} quality, and the floor is {floor:g}"
    return f"its {kind} quality is {score:g}, under the floor of {floor:g}" if score < floor else None


def _not_for_long(model: Model, now: datetime) -> str | None:
    if model.deprecated_on is None or model.deprecated_on - now.date() > _SOON:
        return None
    return f"is retired by its provider on {model.deprecated_on}, in {(model.deprecated_on - now.date()).days} days"


def _floor_warnings(route: Route, world: World, spot: Spot) -> Iterator[Mistake]:
    here = spot.at("quality_floor")
    if not route.floors:
        if route.floor_means is not FloorMeaning.REQUEST:
            yield spot.at("floor_means").mistake("it has no effect: there is no 'quality_floor'")
        return
    if route.kind != AUTO and route.floor_for(route.kind) is None:
        kinds = listed(sorted(route.floors))
        yield here.mistake(f"the floor for {kinds} has no effect: the route's kind is {route.kind!r}")
    models = [world.market.models[name] for name in (*route.candidates, *route.fallbacks)]
    unreached = [
        kind for kind in _kinds(route, world) if all(_under_floor(model, route, kind, world.market) for model in models)
    ]
    # Of the only candidate of one kind of task the same has been said where it stands.
    if unreached and (len(models) > 1 or route.kind == AUTO):
        yield here.mistake(f"no candidate reaches the floor for {listed(unreached)}, so such requests are refused")


def _baseline_warnings(route: Route, market: Market, spot: Spot, now: datetime) -> Iterator[Mistake]:
    if route.baseline is None:
        return
    own = spot.at("baseline")
    here = own if "baseline" in spot.source.value(spot.path) else Spot(spot.source, ("defaults", "baseline"))
    model, named = market.models[route.baseline], f"the baseline {route.baseline}"
    if market.prices.at(route.baseline, now) is None:
        yield here.mistake(f"{named} has no price now, so no savings are counted against it")
    if model.deprecated_on is not None and now.date() >= model.deprecated_on:
        yield here.mistake(f"{named} was retired by its provider on {model.deprecated_on}: nobody could call it now")
    elif (why := _not_for_long(model, now)) is not None:
        yield here.mistake(f"{named} {why}")


def _condition_warnings(route: Route, world: World, spot: Spot) -> Iterator[Mistake]:
    for index, condition in enumerate(route.when):
        here = spot.at("when", index)
        for earlier, before in enumerate(route.when[:index]):
            if _covers(before, condition):
                line = spot.at("when", earlier).place.line
                yield here.mistake(f"the condition is never looked at: the one of line {line} holds whenever it does")
                break
        to = world.routes[condition.to]
        models = [world.market.models[name] for name in (*to.candidates, *to.fallbacks)]
        if not any(condition.needs <= model.capabilities for model in models):
            needs = listed(sorted(condition.needs))
            yield here.at("use").mistake(f"no candidate of route {to.name!r} has {needs}, so such requests are refused")


def _covers(before: When, after: When) -> bool:
    """Whether one holds in every case in which the other does. Hours are only compared as a whole."""
    return (
        (not before.kinds or (bool(after.kinds) and after.kinds <= before.kinds))
        and before.needs <= after.needs
        and (before.used_from_percent or 0) <= (after.used_from_percent or 0)
        and before.hours in (None, after.hours)
        and before.tags.items() <= after.tags.items()
    )

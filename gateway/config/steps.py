"""Ways from one route to another: its step down once a budget is nearly used up, and its conditions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from gateway.core.route import Route

from .catalogue import Catalogue
from .files import File, listed
from .mistakes import did_you_mean
from .shape import RouteKeys, RoutesFile
from .source import Spot

WAYS = ("step_down", "when")


def check_ways(file: File[RoutesFile], routes: Mapping[str, Route], catalogue: Catalogue) -> None:
    """Note where a way leads nowhere, in a circle, or to servers that the route's prompts may not reach."""
    names = file.source.names("routes")
    for name, keys in file.keys.routes.items():
        for to, spot in _ways(keys, file.spot.at("routes", name)):
            following = file.keys.routes.get(to)
            further = [way for way in WAYS if following is not None and getattr(following, way)]
            if to == name:
                spot.wrong(f"route {name!r} leads to itself; name another route")
            elif to not in names:
                spot.wrong(f"unknown route {to!r}{did_you_mean(to, [one for one in names if one != name])}")
            elif further:
                spot.wrong(f"route {to!r} has {further[0]!r} of its own, which would not be looked at; one step is all")
            elif name in routes and to in routes:
                _check_places(routes[name], routes[to], catalogue, spot)


def _ways(keys: RouteKeys, spot: Spot) -> Iterator[tuple[str, Spot]]:
    """The routes that this one leads to, and where each is named."""
    if keys.step_down is not None:
        yield keys.step_down.to, spot.at("step_down", "to")
    for index, condition in enumerate(keys.when):
        yield condition.use, spot.at("when", index, "use")


def _check_places(route: Route, to: Route, catalogue: Catalogue, spot: Spot) -> None:
    """Neither money nor a condition may move a prompt to where its route would never have sent it."""
    models = [catalogue.models[name] for name in (*to.candidates, *to.fallbacks) if name in catalogue.models]
    places = {catalogue.providers[one.provider].jurisdiction for one in models if one.provider in catalogue.providers}
    if to.jurisdictions is not None:
        places &= to.jurisdictions
    outside = sorted(places - route.jurisdictions) if route.jurisdictions is not None else []
    if outside:
        allowed = listed(sorted(route.jurisdictions or ()))
        spot.wrong(
            f"route {to.name!r} sends prompts to {listed(outside)}, and route {route.name!r} allows {allowed} only; "
            f"give {to.name!r} the same 'jurisdictions', or name another route"
        )

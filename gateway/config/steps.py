"""Steps down: from a route to another one once a budget is nearly used up."""

from __future__ import annotations

from collections.abc import Mapping

from gateway.core.route import Route

from .catalogue import Catalogue
from .files import File, listed
from .mistakes import did_you_mean
from .shape import RoutesFile
from .source import Spot


def check_steps(file: File[RoutesFile], routes: Mapping[str, Route], catalogue: Catalogue) -> None:
    """Note where a step leads nowhere, in a circle, or to servers that the route's prompts may not reach."""
    names = file.source.names("routes")
    for name, keys in file.keys.routes.items():
        if keys.step_down is None:
            continue
        to, spot = keys.step_down.to, file.spot.at("routes", name, "step_down", "to")
        following = file.keys.routes.get(to)
        if to == name:
            spot.wrong(f"route {name!r} steps down to itself; name another route")
        elif to not in names:
            spot.wrong(f"unknown route {to!r}{did_you_mean(to, [one for one in names if one != name])}")
        elif following is not None and following.step_down is not None:
            spot.wrong(f"route {to!r} has a 'step_down' of its own, to {following.step_down.to!r}; one step is all")
        elif name in routes and to in routes:
            _check_places(routes[name], routes[to], catalogue, spot)


def _check_places(route: Route, to: Route, catalogue: Catalogue, spot: Spot) -> None:
    """Money must not move a prompt to where its route would never have sent it."""
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

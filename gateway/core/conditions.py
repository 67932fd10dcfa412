"""Which route's rules hold for a request: its own, or those of the first condition that applies. Pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from .candidate import Signals
from .request import ChatRequest
from .route import Route, When


def rules_in_force(
    route: Route, routes: Mapping[str, Route], request: ChatRequest, tags: Mapping[str, str], signals: Signals
) -> Route:
    """The route, or under its name the rules of the first condition that holds."""
    for condition in route.when:
        if _holds(condition, route, request, tags, signals):
            return dataclasses.replace(routes[condition.to], name=route.name, when=())
    return route


def _holds(one: When, route: Route, request: ChatRequest, tags: Mapping[str, str], signals: Signals) -> bool:
    if one.used_from_percent is not None and signals.used_percent < one.used_from_percent:
        return False
    if not one.needs <= request.needs:
        return False
    if any(tags.get(name) != value for name, value in one.tags.items()):
        return False
    if one.kinds and (not signals.kinds or max(signals.kinds, key=signals.kinds.__getitem__) not in one.kinds):
        return False
    return one.hours is None or one.hours.hold(signals.now)

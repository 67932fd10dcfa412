"""What is not wrong in a route's cache and will still surprise: who shares answers, how old they get, near-misses."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from gateway.core.caching import CacheRule, Scope
from gateway.core.route import Route
from gateway.core.world import World

from .mistakes import Mistake
from .modes import Mode
from .source import Spot

_STALE_FOR = 10
_EXACT_KINDS = ("code", "maths")
"""Where a number or a sign makes another question."""


def cache_warnings(route: Route, world: World, modes: Mapping[str, Mode], spot: Spot) -> Iterator[Mistake]:
    """spot: of the route."""
    rule, here = route.cache, spot.at("cache")
    if rule is None:
        return
    if rule.scope is Scope.GLOBAL and len(world.teams) > 1:
        yield here.at("scope").mistake("every team may be shown answers that were made for another one")
    yield from _stale_warnings(rule, here)
    if rule.semantic is None:
        return
    if route.kind in _EXACT_KINDS:
        why = f"the route's kind is {route.kind!r}, where questions that look alike seldom have the same answer"
        yield here.at("semantic").key.mistake(why)
    provider = world.market.providers[world.market.models[rule.semantic.model].provider]
    if modes[provider.name] == "off":
        why = f"similar questions are not looked for: {provider.name} has no key; set {provider.key_env}"
        yield here.at("semantic", "model").mistake(why)


def _stale_warnings(rule: CacheRule, here: Spot) -> Iterator[Mistake]:
    revalidate_s, error_s = rule.stale_while_revalidate_s, rule.stale_if_error_s
    for name, stale_s in (("stale_while_revalidate_s", revalidate_s), ("stale_if_error_s", error_s)):
        if stale_s > _STALE_FOR * rule.ttl_s:
            why = f"answers may be replayed for more than {_STALE_FOR} times their ttl_s ({rule.ttl_s}) after it"
            yield here.at(name).mistake(why)
    if 0 < error_s <= revalidate_s:
        why = f"it has no effect: for stale_while_revalidate_s ({revalidate_s}) answers are replayed in any case"
        yield here.at("stale_if_error_s").mistake(why)

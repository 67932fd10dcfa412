"""What the response cache is to one request: under which key, and what may be done for it. Decided before anything.

Whoever may not go past the cache is answered from it whatever its headers say; only `no-store` is everybody's right.
"""

from __future__ import annotations

import msgspec

from gateway.core.cachekey import cache_key, not_kept_for, rules_digest, scope_name
from gateway.core.caching import AS_EVER, CacheRule, Control
from gateway.core.request import ChatRequest
from gateway.core.route import Route
from gateway.core.routing import Decision
from gateway.core.world import Caller

from .live import Live

REVALIDATION = "revalidation"
"""What the record of a call says that nobody waits for: it renews a kept answer."""

REVALIDATED = "revalidated"
"""How such a call ends well: whole, and not as the answer to a request."""

EMBEDDING = "embedding"
"""What the record of a call says that made a vector of a question: a cost of the cache, and nobody's request."""


class CachePlan(msgspec.Struct, frozen=True):
    """look: a kept answer may be replayed. keep: the answer may be kept. share: equal requests may share the call.

    rules: a digest of those that hold. oldest_s: the oldest answer that is taken; None: any. reason: why less than all
    of it is done, for the caller.
    """

    rule: CacheRule
    key: str
    scope: str
    rules: bytes
    look: bool = True
    keep: bool = True
    share: bool = True
    only_kept: bool = False
    oldest_s: int | None = None
    reason: str = ""

    @property
    def word(self) -> str:
        """What a request is to the cache when no kept answer serves it."""
        return "miss" if self.look and self.keep else "bypass"


def plan_cache(
    secret: bytes, request: ChatRequest, caller: Caller, decision: Decision, live: Live, control: Control
) -> CachePlan:
    """Only for a route that has a cache. secret: keys the names of kept answers."""
    rule = decision.route.cache
    assert rule is not None
    scope = scope_name(rule.scope, caller, simulated=live.simulated)
    rules = rules_digest(decision.route, live.world.market)
    key = cache_key(secret, scope=scope, rules=rules, caller=caller, request=request)
    plan = CachePlan(rule, key, scope, rules, share=rule.coalesce)
    reason = not_kept_for(rule, request)
    if reason:
        return msgspec.structs.replace(
            plan, look=False, keep=False, share=False, reason=reason, only_kept=control.only_if_cached
        )  # fmt: skip
    return plan if control is AS_EVER else _controlled(plan, control, permitted=caller.may_bypass_cache)


def _controlled(plan: CachePlan, control: Control, *, permitted: bool) -> CachePlan:
    changed = msgspec.structs.replace
    if control.only_if_cached:
        plan = changed(plan, only_kept=True, share=False)
    if control.no_store:
        plan = changed(plan, keep=False, share=False, reason="no-store")
    if not (control.no_cache or control.max_age_s is not None):
        return plan
    if not permitted:
        return changed(plan, reason="bypass_not_permitted")
    if control.no_cache or control.max_age_s == 0:
        return changed(plan, look=False, share=False, reason="no-cache")
    return changed(plan, oldest_s=control.max_age_s)


def flight_name(plan: CachePlan, request: ChatRequest, route: Route) -> str:
    """Requests share a call only when they want it delivered in the same way, and what may make it fail is the same."""
    delivery = "whole" if not request.stream else f"{route.delivery}{':usage' if request.include_usage else ''}"
    return f"{plan.key}:{delivery}:{route.timeouts.total:g}:{route.max_cost_nano}"

"""Kept answers on their way in and out: may this one be replayed for this request, and may that one be kept."""

from __future__ import annotations

import asyncio

from gateway.core.cachekey import not_kept_as
from gateway.core.caching import CachedAnswer
from gateway.core.contracts import Cache
from gateway.core.records import UsageSource
from gateway.core.routing import Decision

from .attempt import Attempt
from .clock import chance, now_us
from .health import set_aside
from .live import Live
from .metrics import Metrics
from .plan import CachePlan

PUTS_AT_ONCE = 256
"""Answers on their way into the cache at once; beyond it an answer is served and not kept."""

_US = 1_000_000


class Keeper:
    """Owns the writes that go on beside replies; `close` waits for them."""

    def __init__(self, cache: Cache, metrics: Metrics) -> None:
        self._cache = cache
        self._metrics = metrics
        self._puts: set[asyncio.Task[None]] = set()

    def to_keep(self, attempt: Attempt, body: bytes | None, plan: CachePlan, epoch: int) -> CachedAnswer | None:
        """What is kept of an answer; None when it must not be. epoch: as `look` told it, 0 when nobody knows."""
        if not plan.keep:
            return None
        reason = _not_kept(attempt, body, plan, epoch)
        if reason or body is None:
            self._metrics.unkept(reason or "unreadable")
            return None
        self._metrics.kept(len(body))
        rule, job = plan.rule, attempt.job
        kept_at = now_us()
        fresh_until = kept_at + rule.ttl_s * _US - int(chance() * rule.jitter_percent / 100 * rule.ttl_s * _US)
        return CachedAnswer(
            scope=plan.scope,
            route=job.decision.route.name,
            team=job.caller.team,
            tags=job.tags,
            model=attempt.candidate.model.id,
            body=body,
            usage=attempt.usage,
            service_tier=attempt.service_tier,
            finish_reason=attempt.finish_reason,
            epoch=epoch,
            kept_at_us=kept_at,
            fresh_until_us=fresh_until,
            revalidate_until_us=fresh_until + rule.stale_while_revalidate_s * _US,
            fallback_until_us=fresh_until + rule.stale_if_error_s * _US,
        )

    def put(self, key: str, answer: CachedAnswer) -> None:
        """Beside the request, not before its reply."""
        if len(self._puts) >= PUTS_AT_ONCE:
            self._metrics.unkept("busy")
            return
        task = asyncio.create_task(self._cache.put(key, answer), name="cache-put")
        self._puts.add(task)
        task.add_done_callback(self._puts.discard)

    async def close(self) -> None:
        if self._puts:
            await asyncio.wait(self._puts, timeout=5.0)


def _not_kept(attempt: Attempt, body: bytes | None, plan: CachePlan, epoch: int) -> str:
    if body is None:
        return "unreadable"
    if epoch == 0:
        return "away"
    if attempt.no_store:
        return "no_store"
    if attempt.usage_source is not UsageSource.PROVIDER:
        return "estimated"  # it must not turn into savings that look settled
    if all(attempt.candidate.model.id != one.model.id for one in attempt.job.decision.candidates):
        return "stepped_down"  # by another route's rules, which are not those in the key
    return not_kept_as(plan.rule, attempt.job.request, body)


def not_replayed(kept: CachedAnswer, decision: Decision, plan: CachePlan, live: Live, at_us: int) -> str:
    """Why a kept answer is not one for this request; "" when it is.

    Its model must be one that may answer now. One that is set aside for its health may: nobody has to ask it.
    """
    if plan.oldest_s is not None and kept.age_s(at_us) > plan.oldest_s:
        return "too_old"
    market = live.world.market
    model = market.models.get(kept.model)
    if model is None or kept.model not in live.targets or market.prices.at(kept.model, decision.now) is None:
        return "model_not_allowed"
    if any(kept.model == one.model.id for one in decision.candidates):
        return ""
    return "" if model.base in set_aside(decision, market) else "model_not_allowed"

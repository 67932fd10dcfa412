"""The response cache as one request uses it: look up, replay in the delivery asked for, keep a whole answer."""

from __future__ import annotations

import asyncio

import msgspec

from gateway.core.cachekey import cache_key, may_keep
from gateway.core.contracts import Cache, CachedAnswer, Target
from gateway.core.question import Question
from gateway.core.records import UsageSource
from gateway.core.replay import cut_stream
from gateway.core.route import Route
from gateway.core.savings import baseline
from gateway.core.sse import DONE

from . import headers
from .attempt import Attempt, Job, cached_record
from .clock import now_us
from .reply import Reply
from .settle import Booking

PUTS_AT_ONCE = 256
"""Answers on their way into the cache at once; beyond it an answer is served and not kept."""


class Keeper:
    """Owns the writes that go on beside a reply; `close` waits for them."""

    def __init__(self, cache: Cache, secret: bytes) -> None:
        self._cache = cache
        self._secret = secret
        self._puts: set[asyncio.Task[None]] = set()

    def key(self, question: Question, route: Route, version: str) -> str | None:
        """None when the route keeps no answers. Under other terms another model may have to answer."""
        if route.cache is None:
            return None
        terms = msgspec.json.encode(question.terms).decode()
        return cache_key(
            self._secret, team=question.caller.team, route=route.name, version=f"{version} {terms}",
            request=question.request,
        )  # fmt: skip

    async def find(self, job: Job) -> CachedAnswer | None:
        """A kept answer for this request. The team is checked again in the value itself."""
        if job.cache_key is None:
            return None
        kept = await self._cache.get(job.cache_key)
        return kept if kept is not None and kept.team == job.caller.team else None

    def keep(self, attempt: Attempt, body: bytes) -> None:
        """Put a whole answer into the cache, beside the request, not before its reply."""
        job, rule = attempt.job, attempt.job.decision.route.cache
        if job.cache_key is None or rule is None or len(self._puts) >= PUTS_AT_ONCE:
            return
        if attempt.usage_source is not UsageSource.PROVIDER:
            return  # an estimate must not turn into savings that look settled
        if not may_keep(n=job.request.n, finish_reason=attempt.finish_reason, size=len(body), max_bytes=rule.max_bytes):
            return
        answer = CachedAnswer(
            team=job.caller.team,
            model=attempt.target.model.id,
            body=body,
            usage=attempt.usage,
            service_tier=attempt.service_tier,
            finish_reason=attempt.finish_reason,
            kept_at_us=now_us(),
        )
        task = asyncio.create_task(self._cache.put(job.cache_key, answer, rule.ttl_s), name="cache-put")
        self._puts.add(task)
        task.add_done_callback(self._puts.discard)

    async def close(self) -> None:
        if self._puts:
            await asyncio.wait(self._puts, timeout=5.0)


async def replay(job: Job, kept: CachedAnswer, target: Target, reply: Reply, booking: Booking) -> bool:
    """Answer from the cache. False when the kept answer's model has no price now, so its saving is unknown."""
    own = job.market.prices.at(kept.model, job.decision.now)
    if own is None:
        return False
    compared = baseline(job.decision.route.baseline, own, kept.usage, job.market, job.decision.now)
    record = cached_record(job, kept, target, compared)
    age_s = max(job.at_us - kept.kept_at_us, 0) // 1_000_000
    reply.headers += headers.of_target(target, cache="hit", attempts=0)
    reply.headers += headers.of_money(cost=0, saved=record.saved_nano)
    reply.headers.append((b"age", str(age_s).encode()))
    try:
        if job.request.stream:
            await reply.start_stream()
            await reply.write(cut_stream(kept.body, include_usage=job.request.include_usage))
            await reply.end_stream(DONE)
        else:
            await reply.whole(200, kept.body)
    finally:
        booking.book(record, None, final=True)
    return True

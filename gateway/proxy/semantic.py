"""Kept answers to questions that mean the same, on routes that ask for it. Implements sharing.Similar.

Asked only by who would make the call, after nothing was kept for the request itself. A question is answered from
another one when everything else of both requests is equal (core.asked), their vectors are close enough, and nothing
speaks against their meaning the same (core.nearmiss). The answer is then looked for under its own key, so its end, its
scope and every purge hold as for any other.
"""

from __future__ import annotations

import asyncio
from array import array
from collections import OrderedDict
from dataclasses import dataclass

from gateway.core.asked import Asked, asked
from gateway.core.caching import CachedAnswer, Freshness, Scope
from gateway.core.contracts import Cache, Neighbours
from gateway.core.nearmiss import differs

from .attempt import Job
from .clock import now_us
from .embedder import Embedder
from .keeper import not_replayed
from .live import Live

MOST_READ_CHARS = 8_000
"""Of questions that are read against the asked one, while all wait: some milliseconds, tens at the very worst."""

MOST_WAITING = 1_000
"""Vectors of questions whose answers are under way, some 6 kB each."""

KEEPS_AT_ONCE = 64


@dataclass(frozen=True, slots=True)
class _Vector:
    asked: Asked
    values: array[float]


class Semantic:
    """Owns the writes that go on beside replies; `close` waits for them."""

    def __init__(self, cache: Cache, neighbours: Neighbours, embedder: Embedder, secret: bytes) -> None:
        self._cache = cache
        self._neighbours = neighbours
        self._embedder = embedder
        self._secret = secret
        self._under_way: OrderedDict[str, _Vector] = OrderedDict()
        self._keeping: set[asyncio.Task[None]] = set()

    async def find(self, job: Job, live: Live) -> tuple[CachedAnswer, float] | None:
        """A kept answer that may be replayed, and how similar its question is."""
        plan = job.cache_plan
        rule = None if plan is None else plan.rule.semantic
        # Inside one team, whatever a configuration says.
        if plan is None or rule is None or plan.rule.scope not in (Scope.TEAM, Scope.KEY):
            return None
        question = asked(
            self._secret, scope=plan.scope, rules=plan.rules, caller=job.caller, request=job.request,
            embedded_by=rule.model,
        )  # fmt: skip
        values = None if question is None else await self._embedder.embed(question.text, rule.model, job, live)
        if question is None or values is None:
            return None
        found = await self._neighbours.find(question.context, values, rule.threshold)
        read = 0
        for near in found:
            read += len(question.text) + len(near.text)
            if read > MOST_READ_CHARS:
                break
            if near.key == plan.key or differs(question.text, near.text):
                continue
            answer = (await self._cache.look(near.key, plan.scope, flight="")).answer
            if answer is None or answer.freshness(now_us()) is not Freshness.FRESH:
                continue
            if not not_replayed(answer, job.decision, plan, live, now_us()):
                return answer, near.similarity
        self._under_way[job.request_id] = _Vector(question, values)
        if len(self._under_way) > MOST_WAITING:
            self._under_way.popitem(last=False)
        return None

    def keep(self, job: Job, live: Live, answer: CachedAnswer) -> None:
        """The question of an answer that was kept, by the vector that it was looked for with; else nothing is kept."""
        vector, plan = self._under_way.pop(job.request_id, None), job.cache_plan
        if vector is None or plan is None or len(self._keeping) >= KEEPS_AT_ONCE:
            return
        question = vector.asked
        keeping = self._neighbours.keep(
            question.context, vector.values, question.text, plan.key, answer.fresh_until_us
        )  # fmt: skip
        task = asyncio.create_task(keeping, name="similar-keep")
        self._keeping.add(task)
        task.add_done_callback(self._keeping.discard)

    async def close(self) -> None:
        if self._keeping:
            await asyncio.wait(self._keeping, timeout=5.0)
        await self._neighbours.close()

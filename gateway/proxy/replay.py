"""Answers that no provider was asked for: a kept one replayed, and the end of one that was made for another request.

Each leaves its own row in the ledger: it cost nothing, and its saving is what it would have cost.
"""

from __future__ import annotations

import msgspec

from gateway.core.caching import CachedAnswer
from gateway.core.contracts import Target
from gateway.core.pricing import Usage
from gateway.core.records import SpendRecord, State, UsageSource
from gateway.core.replay import cut_stream
from gateway.core.savings import Baseline, baseline
from gateway.core.sse import DONE

from . import headers
from .attempt import NOTHING, Job
from .clock import now_us, ticks_us
from .reply import Reply
from .settle import Booking

_TOLD_OF_THE_CALL = frozenset(
    {b"x-gateway-provider", b"x-gateway-model", b"x-gateway-simulated", b"x-should-retry"}
)  # fmt: skip


class Landed(msgspec.Struct, frozen=True):
    """Who answered, and what a row of the ledger says of it. counted: the provider reported the usage."""

    model: str
    usage: Usage
    service_tier: str | None
    finish_reason: str | None
    counted: bool


def landed(kept: CachedAnswer) -> Landed:
    return Landed(kept.model, kept.usage, kept.service_tier, kept.finish_reason, counted=True)


def compared(job: Job, one: Landed) -> Baseline | None:
    """What the answer would have cost now. None when its model has no price, or nobody counted its tokens: then nothing
    is claimed to be saved."""
    own = job.market.prices.at(one.model, job.decision.now)
    if own is None or not one.counted:
        return None
    route, now = job.decision.route, job.decision.now
    return baseline(route.baseline, own, one.usage, job.market, now, service_tier=one.service_tier)


def free_record(
    job: Job,
    one: Landed,
    target: Target,
    against: Baseline | None,
    *,
    cache: str,
    outcome: str,
    status: int,
    made: int = 0,
) -> SpendRecord:  # fmt: skip
    """The row of a request that asked no provider. cache: hit, semantic, stale or coalesced; outcome: `cached`, or how
    a call ended that came to nothing for it. made: attempts of the same request that have rows of their own."""
    route = job.decision.route
    duration = ticks_us() - job.began_us
    return SpendRecord(
        attempt_id=f"{job.request_id}.{made + 1}", request_id=job.request_id, attempt=made + 1, at_us=job.at_us,
        route=route.name, policy=route.policy.name, kind=job.decision.kind,
        team=job.caller.team, key_id=job.caller.key_id,
        provider=target.provider.name, model=target.model.base, simulated=target.simulated, stream=job.request.stream,
        cache=cache, state=State.SETTLED, outcome=outcome, status=status, finish_reason=one.finish_reason,
        usage_source=UsageSource.CACHE if outcome == "cached" else UsageSource.NONE,
        input_tokens=0, cached_input_tokens=0, cache_write_tokens=0, output_tokens=0,
        reasoning_tokens=0, service_tier=None, price_id=None, expected_nano=NOTHING, cost_nano=NOTHING,
        baseline_model=None if against is None else against.model,
        baseline_price_id=None if against is None else against.price_id,
        baseline_nano=NOTHING if against is None else against.cost,
        duration_us=duration, ttft_us=duration, candidates=job.candidates_json, drops=job.drops_json,
        organisation=job.caller.organisation, end_user=job.request.end_user, tags=job.tags_json,
        effort=target.model.effort or job.request.effort, prompt_bytes=job.request.prompt_bytes,
        decision="" if made else job.remembered,
    )  # fmt: skip


class Kept(msgspec.Struct, frozen=True):
    """A kept answer and how it is replayed. word: hit or stale, as `x-gateway-cache` says; booked: in the ledger; made:
    attempts of the request before."""

    answer: CachedAnswer
    word: str = "hit"
    reason: str = ""
    similarity: float | None = None
    made: int = 0

    @property
    def booked(self) -> str:
        return "semantic" if self.similarity is not None else self.word


class Replayed(msgspec.Struct, frozen=True):
    """What was replayed, and the row that was booked for it."""

    kept: Kept
    record: SpendRecord


async def replay(job: Job, kept: Kept, target: Target, reply: Reply, booking: Booking) -> SpendRecord:
    """Answer with what was kept. Returns the row that was booked."""
    answer, request = kept.answer, job.request
    one = landed(answer)
    record = free_record(
        job, one, target, compared(job, one), cache=kept.booked, outcome="cached", status=200, made=kept.made
    )
    reply.headers += headers.of_target(target, cache=kept.word, attempts=kept.made)
    reply.headers += headers.of_money(cost=0, saved=record.saved_nano)
    reply.headers += headers.of_kept(answer, now_us(), reason=kept.reason, stream=request.stream)
    if kept.similarity is not None:
        reply.headers.append((b"x-gateway-cache-similarity", b"%.4f" % kept.similarity))
    try:
        if request.stream:
            await reply.start_stream()
            await reply.write(cut_stream(answer.body, include_usage=request.include_usage))
            await reply.end_stream(headers.free_trailer(target, record) + DONE)
        else:
            await reply.whole(200, answer.body)
    finally:
        booking.book(record, None, final=True)
    return record


def follower_headers(head: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Who answered, from the headers of the request that the call was made for; its costs are its own."""
    told = [(name, value) for name, value in head if name in _TOLD_OF_THE_CALL]
    return [*told, (b"x-gateway-cache", b"coalesced"), (b"x-gateway-attempts", b"0")]

"""What this worker answered from the cache less than a second ago, by the very bytes of the request.

The same bytes from the same key, with no header that could change anything, are answered without being read again.
All that could differ is looked at each time (the key, the configuration, the answer's end, the prices); what cannot be
known without asking the store (a purge) is trusted for MEMO_S.
"""

from __future__ import annotations

from collections import OrderedDict

import msgspec

from gateway.core.caching import CachedAnswer
from gateway.core.pricing import Price
from gateway.core.records import SpendRecord
from gateway.core.replay import cut_stream
from gateway.core.sse import DONE
from gateway.core.world import Caller

from . import headers
from .attempt import Job
from .clock import instant, ticks_us
from .live import Live
from .replay import Kept
from .reply import Headers, Reply, Scope
from .settle import Booking

MEMO_S = 1.0
MOST_BYTES = 32 * 1024 * 1024
"""Requests and answers together."""

BESIDE_BYTES = 4_096
"""What one takes beside request and answer: its row of the ledger, its headers."""

_US = 1_000_000


class Remembered(msgspec.Struct, frozen=True):
    """A replayed answer and the row that was booked for it. prices: those that its saving was counted by, by model."""

    live: Live
    until_us: int
    record: SpendRecord
    answer: CachedAnswer
    head: Headers
    payload: bytes
    last: bytes
    prices: tuple[tuple[str, Price | None], ...]

    @property
    def size(self) -> int:
        return len(self.payload) + len(self.answer.body) + len(self.last) + BESIDE_BYTES


class Memo:
    """Bounded by bytes; the oldest go first, and those whose time is over."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[str, str, bytes], Remembered] = OrderedDict()
        self._bytes = 0

    def find(self, caller: Caller, body: bytes, live: Live, at_us: int) -> Remembered | None:
        one = self._kept.get((caller.team, caller.key_id, body))
        if one is None or one.live is not live or at_us >= one.until_us or at_us >= one.answer.fresh_until_us:
            return None
        now, prices = instant(at_us), live.world.market.prices
        for model, price in one.prices:
            if prices.at(model, now) is not price:
                return None
        return one

    def keep(self, job: Job, kept: Kept, live: Live, record: SpendRecord, body: bytes) -> None:
        """After a fresh answer was replayed for this body, which came without headers that ask for something."""
        if kept.booked != "hit" or len(body) > MOST_BYTES // 64:
            return
        key = (job.caller.team, job.caller.key_id, body)
        before = self._kept.pop(key, None)
        if before is not None:
            self._bytes -= before.size + len(body)
        one = _remembered(job, kept, live, record)
        self._kept[key] = one
        self._bytes += one.size + len(body)
        while self._kept and (self._bytes > MOST_BYTES or next(iter(self._kept.values())).until_us <= job.at_us):
            (_, _, oldest), gone = self._kept.popitem(last=False)
            self._bytes -= gone.size + len(oldest)


def _remembered(job: Job, kept: Kept, live: Live, record: SpendRecord) -> Remembered:
    answer, request, now = kept.answer, job.request, job.decision.now
    target, prices = live.targets[answer.model], live.world.market.prices
    models = {answer.model, record.baseline_model or answer.model}
    if request.stream:
        payload = cut_stream(answer.body, include_usage=request.include_usage)
        last = headers.free_trailer(target, record) + DONE
    else:
        payload, last = answer.body, b""
    head = headers.of_target(target, cache=kept.word, attempts=0)
    head += headers.of_money(cost=0, saved=record.saved_nano)
    return Remembered(
        live=live,
        until_us=job.at_us + int(MEMO_S * _US),
        record=record,
        answer=answer,
        head=headers.of_route(job.decision.route) + head,
        payload=payload,
        last=last,
        prices=tuple((model, prices.at(model, now)) for model in models),
    )


def asks_nothing(scope: Scope) -> bool:
    """Whether a request has no header that could change what becomes of it, but its key."""
    return not any(name.startswith(b"x-gateway-") or name == b"cache-control" for name, _ in scope["headers"])


async def repeat(one: Remembered, request_id: str, began_us: int, at_us: int, reply: Reply, booking: Booking) -> None:
    """Answer once more; the request has a row of its own."""
    duration = ticks_us() - began_us
    record = msgspec.structs.replace(
        one.record, attempt_id=f"{request_id}.1", request_id=request_id, at_us=at_us, duration_us=duration,
        ttft_us=duration,
    )  # fmt: skip
    stream = record.stream
    reply.headers += one.head
    reply.headers.append(headers.of_id(request_id))
    reply.headers += headers.of_kept(one.answer, at_us, reason="", stream=stream)
    try:
        if stream:
            await reply.start_stream()
            await reply.write(one.payload)
            await reply.end_stream(one.last)
        else:
            await reply.whole(200, one.payload)
    finally:
        booking.book(record, None, final=True)

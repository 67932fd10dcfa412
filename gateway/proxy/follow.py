"""One request that reads a shared call: the one that it is made for, or one that came along.

What a follower gets is the same bytes; its headers, its trailer and its row in the ledger are its own. When a call is
lost after a part of a stream has gone out, the next answer is waited for whole: where it begins with what the client
has had, the client gets the rest of it, otherwise an error.
"""

from __future__ import annotations

import msgspec

from gateway.core.errors import GatewayError
from gateway.core.pricing import Usage
from gateway.core.records import SpendRecord
from gateway.core.replay import join_stream, rest_of
from gateway.core.sse import DONE

from . import headers
from .attempt import Job
from .faults import call_lost
from .flight import End, Fault, Flight, Head
from .live import Live
from .replay import Kept, Landed, Replayed, compared, follower_headers, free_record, landed, replay
from .reply import Reply
from .settle import Booking


class Follower:
    """One request and its reply."""

    def __init__(self, job: Job, live: Live, reply: Reply, booking: Booking) -> None:
        self.job = job
        self.live = live
        self.reply = reply
        self._booking = booking
        self._sent: list[bytes] = []  # the events of a stream that the client has had
        self._along = False  # it came along with a call of another request, and has no row yet

    @property
    def has_had(self) -> bool:
        return bool(self._sent)

    async def read(self, flight: Flight, *, own: bool) -> End:
        """To its end; where that is an answer, the reply is complete. own: the call is made for this request."""
        self._along = not own
        if flight.end is None:
            self.reply.watch()
        passes_on = self.job.request.stream and not self._sent
        head = Head([])
        held: list[bytes] = []
        async for part in flight.parts():
            if isinstance(part, Head):
                head = part
                if passes_on:
                    self._take_headers(head.headers, own=own)
                    await self.reply.start_stream()
            elif passes_on:
                self._sent.append(part)
                await self.reply.write(part)
            else:
                held.append(part)
        end = flight.end
        assert end is not None
        if end.landed is None:
            return end
        body = b"".join(held)
        if self.job.request.stream:
            await self._finish_stream(end, end.landed, None if passes_on else join_stream(body, b""), own=own)
        else:
            self._take_headers(head.headers, own=own)
            await self._finish_whole(end.landed, body, own=own)
        return end

    async def replay(self, kept: Kept) -> Replayed | None:
        """Answer with what was kept: all of it, or what the client has not had of it yet (None)."""
        if self._sent:
            await self._finish_stream(End(), landed(kept.answer), kept.answer.body, own=False)
            return None
        self.calls_itself()
        reason = kept.reason or self._own_reason
        kept, target = msgspec.structs.replace(kept, reason=reason), self.live.targets[kept.answer.model]
        record = await replay(self.job, kept, target, self.reply, self._booking)
        return Replayed(kept, record)

    def failed(self, fault: Fault, *, own: bool) -> None:
        """The call ended with an error that is everybody's. Who came along has a row of its own, at no cost."""
        if not self.reply.started:
            self._take_headers(fault.headers, own=own)
        self._book_failure(fault.outcome, fault.status)

    def calls_itself(self) -> None:
        """From here on its rows are those of its own attempts, or of what is replayed."""
        self._along = False

    def leave(self) -> None:
        """However it went: whoever came along with a call has one row."""
        self._book_failure("client_stalled" if self.reply.blocked else "timeout", 504)

    def lost(self) -> GatewayError:
        error = call_lost()
        self._book_failure(error.outcome, error.status)
        return error

    def _book_failure(self, outcome: str, status: int) -> None:
        candidates = self.job.decision.candidates
        if self._along and candidates:
            one = Landed(candidates[0].model.id, Usage(), None, None, counted=False)
            self._book(self._row(one, outcome=outcome, status=status))

    @property
    def _own_reason(self) -> str:
        plan = self.job.cache_plan
        return "" if plan is None else plan.reason

    async def _finish_stream(self, end: End, one: Landed, completion: bytes | None, *, own: bool) -> None:
        """completion: the whole answer, when the client has had a part of another one."""
        record = None if own else self._row(one)
        try:
            if self._sent and completion is not None:
                sent, request = b"".join(self._sent), self.job.request
                rest = rest_of(sent, completion, include_usage=request.include_usage)
                if rest is None:
                    record = None if own else self._row(one, outcome="call_lost", status=502)
                    raise call_lost()
                await self.reply.write(rest)
            last = end.last if record is None else self._trailer(one, record) + DONE
            await self.reply.end_stream(last)
        finally:
            if record is not None:
                self._book(record)

    async def _finish_whole(self, one: Landed, body: bytes, *, own: bool) -> None:
        record = None if own else self._row(one)
        try:
            if record is not None:
                self.reply.headers += headers.of_money(cost=0, saved=record.saved_nano)
            if not self.reply.gone:
                await self.reply.whole(200, body)
        finally:
            if record is not None:
                self._book(record)

    def _take_headers(self, head: list[tuple[bytes, bytes]], *, own: bool) -> None:
        if own:
            self.reply.headers = list(head)
        else:
            self.reply.headers += [*follower_headers(head), *headers.of_cache_reason(self._own_reason)]

    def _trailer(self, one: Landed, record: SpendRecord) -> bytes:
        return headers.free_trailer(self.live.targets[one.model], record)

    def _row(self, one: Landed, *, outcome: str = "cached", status: int = 200) -> SpendRecord:
        """One who has left has saved nothing."""
        against = compared(self.job, one) if outcome == "cached" and not self.reply.gone else None
        if self.reply.gone:
            outcome = "aborted"
        target = self.live.targets[one.model]
        return free_record(self.job, one, target, against, cache="coalesced", outcome=outcome, status=status)

    def _book(self, record: SpendRecord) -> None:
        self._along = False
        self._booking.book(record, None, final=True)

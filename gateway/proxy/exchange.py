"""One attempt's bytes: dispatch, a whole answer, or a stream for the client, as it comes or once it is complete.

Deadlines count content: the clock of a stream is wound by content events, so keep-alive comments do not hide a stall.
A stream has finished when every choice has a finish reason. One that ends without is cut short, whatever its last words
were; of one that has finished, nothing that happens afterwards changes the answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress

from gateway.core.answer import Answer, malformed, read_answer
from gateway.core.contracts import Exchange, Upstream
from gateway.core.errors import GatewayError
from gateway.core.sse import StreamScanner

from . import headers
from .attempt import Attempt
from .faults import MAX_ANSWER_BYTES, broken_stream, client_stalled, oversized, silent, truncated
from .reply import Reply

USAGE_GRACE_S = 1.0
"""After the finish reason: how long the usage event may take."""

REST_S = 0.25
"""After finish reason and usage the client has its answer; so long the rest is read, to use the connection again."""


async def dispatch(attempt: Attempt, upstream: Upstream) -> Exchange:
    """Send the request. An error status is read and raised as the provider's error."""
    target = attempt.target
    decision = attempt.job.decision
    body = target.dialect.body(attempt.job.request, target.model, attempt.output_cap, decision.signals.warm)
    timeouts = decision.route.timeouts
    exchange = await upstream.send(target, body, attempt_id=attempt.attempt_id, timeouts=timeouts)
    attempt.status = exchange.status
    if exchange.status == 200:
        if attempt.job.keeps:
            attempt.no_store = "no-store" in exchange.headers.get("cache-control", "")
        return exchange
    try:
        refused = await exchange.read()
    finally:
        await exchange.close()
    raise target.dialect.error(exchange.status, exchange.headers, refused)


async def fetch(
    attempt: Attempt, upstream: Upstream, reply: Reply, *, until: float, on_gone: Callable[[], None]
) -> Answer | None:
    """A whole answer, by the loop time `until`. The attempt is complete when this returns.

    None: the client left, and the call was cut off, for that ends its bill. Else `on_gone` bounds how long it goes on.
    """
    exchange = None
    try:
        async with asyncio.timeout_at(until) as clock:
            _listen(reply, attempt, clock, on_gone)
            exchange = await dispatch(attempt, upstream)
            body = await exchange.read()
    except TimeoutError as exc:
        if reply.gone and not attempt.read_on:
            attempt.left(b"", None, 0)
            return None
        raise silent(attempt.target.provider.name, attempt.attempt_id) from exc
    finally:
        reply.ignore_gone()
        if exchange is not None:
            await exchange.close()
    attempt.waited()
    answer = read_answer(body)
    attempt.complete(answer.usage_raw, answer.finish_reason, answer.service_tier, 0)
    return answer


def _listen(reply: Reply, attempt: Attempt, clock: asyncio.Timeout, on_gone: Callable[[], None]) -> None:
    """When the client leaves: cut the call off where that ends its bill, else read on for what it cost."""

    def left() -> None:
        if attempt.read_on:
            on_gone()
        elif not clock.expired():
            clock.reschedule(asyncio.get_running_loop().time())

    reply.on_gone = left
    if reply.gone:  # before it was asked
        left()


class Relay:
    """One stream from a provider to the client. The attempt is complete when `run` returns; then `wind_up` lets go.

    whole: nothing is passed on before the end. kept: the events, when they are wanted at the end.
    """

    def __init__(self, attempt: Attempt, reply: Reply, *, keep: bool, whole: bool) -> None:
        self._attempt = attempt
        self._reply = reply
        self._whole = whole
        self._scanner = StreamScanner(drop_usage=not attempt.job.request.include_usage, choices=attempt.job.request.n)
        self._gap = attempt.job.decision.route.timeouts.between_tokens
        self._now = asyncio.get_running_loop().time
        self._begun = False
        self._graced = False
        self._size = 0
        self._exchange: Exchange | None = None
        self._chunks: AsyncIterator[bytes] | None = None
        self.kept: list[bytes] | None = [] if keep or whole else None

    async def run(
        self, upstream: Upstream, *, first_by: float, on_content: Callable[[], None], on_gone: Callable[[], None]
    ) -> None:
        """Read the stream to its finish and its usage. Raises GatewayError when it does not come so far.

        on_content: hears of the first content. on_gone: bounds a stream that is read on after the client has left.
        """
        scanner, attempt = self._scanner, self._attempt
        finished = False
        try:
            async with asyncio.timeout_at(first_by) as clock:
                _listen(self._reply, attempt, clock, on_gone)
                self._exchange = await dispatch(attempt, upstream)
                self._chunks = self._exchange.chunks()
                held = await self._until_content(self._chunks)
                attempt.first_content()
                on_content()
                await self._begin()
                clock.reschedule(self._now() + self._gap)
                await self._pass_on(held)
                if not self._is_over(clock):
                    await self._pump(self._chunks, clock)
            finished = True
        except TimeoutError as exc:
            finished = self._finished and not self._reply.blocked
            if not finished and self._reply.gone and not attempt.read_on:
                attempt.left(scanner.usage_raw, scanner.service_tier, scanner.events)
                return
            if not finished:
                attempt.broke(scanner.usage_raw, scanner.events)
                if self._reply.blocked:
                    raise client_stalled() from exc
                raise silent(attempt.target.provider.name, attempt.attempt_id) from exc
        except (GatewayError, asyncio.CancelledError) as exc:
            finished = self._finished and isinstance(exc, GatewayError)
            if not finished:
                if scanner.content:
                    attempt.broke(scanner.usage_raw, scanner.events)
                raise
        finally:
            self._reply.ignore_gone()
            if not finished:
                await self.let_go()
        attempt.complete(scanner.usage_raw, scanner.finish_reason, scanner.service_tier, scanner.events)

    async def wind_up(self) -> None:
        """The answer is where it belongs: read what is left for a moment, so that the connection can be used again."""
        if self._exchange is not None and self._chunks is not None:
            try:
                with suppress(TimeoutError, GatewayError):
                    async with asyncio.timeout(REST_S):
                        async for _ in self._chunks:
                            pass
            finally:
                await self.let_go()

    async def let_go(self) -> None:
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            await exchange.close()

    @property
    def usage_raw(self) -> bytes:
        return self._scanner.usage_raw

    @property
    def _finished(self) -> bool:
        return self._begun and self._scanner.complete

    async def _begin(self) -> None:
        self._begun = True
        if not self._whole:
            self._reply.headers += headers.of_attempt(self._attempt)
            await self._reply.start_stream()

    async def _until_content(self, chunks: AsyncIterator[bytes]) -> bytes:
        """Hold everything back until the first content event, so that another candidate can still take over."""
        held: list[bytes] = []
        async for chunk in chunks:
            held.append(self._scanner.feed(chunk))
            self._raise_fault()
            if self._scanner.content:
                return b"".join(held)
            if self._scanner.done:
                break
        raise malformed(f"{self._attempt.target.provider.name}: the stream ended without content")

    async def _pump(self, chunks: AsyncIterator[bytes], clock: asyncio.Timeout) -> None:
        scanner = self._scanner
        seen = scanner.events
        async for chunk in chunks:
            out = scanner.feed(chunk)
            if scanner.events != seen and not self._graced:
                seen = scanner.events
                clock.reschedule(self._now() + self._gap)
            if out:
                await self._pass_on(out)
            self._raise_fault()
            if (scanner.finish_reason is not None or scanner.done) and self._is_over(clock):
                return
        if not self._finished:
            raise truncated(self._attempt.target.provider.name)

    def _is_over(self, clock: asyncio.Timeout) -> bool:
        """Nothing is missing any more. Of a stream that has finished, usage may still follow, for a moment."""
        scanner = self._scanner
        if not scanner.complete:
            if scanner.done:
                raise truncated(self._attempt.target.provider.name)
            return False
        if scanner.settled or scanner.done:
            return True
        if not self._graced:  # once: what still arrives does not move it on
            self._graced = True
            clock.reschedule(self._now() + USAGE_GRACE_S)
        return False

    async def _pass_on(self, data: bytes) -> None:
        if self.kept is not None:
            self.kept.append(data)
        if not self._whole:
            await self._reply.write(data)
            return
        self._size += len(data)
        if self._size > MAX_ANSWER_BYTES:
            raise oversized(self._attempt.target.provider.name)

    def _raise_fault(self) -> None:
        if self._scanner.fault is not None:
            raise broken_stream(self._scanner, self._attempt.target.provider.name)

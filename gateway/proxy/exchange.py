"""One attempt's bytes: dispatch, a whole answer, or a stream passed on to the client.

Deadlines count content: the clock of a stream is wound by content events, so keep-alive comments do not hide a stall.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

from gateway.core.answer import Answer, malformed, read_answer
from gateway.core.contracts import Exchange, Upstream
from gateway.core.errors import GatewayError
from gateway.core.sse import StreamScanner

from . import headers
from .attempt import Attempt
from .faults import broken_stream, client_stalled, silent, truncated
from .reply import Reply

USAGE_GRACE_S = 2.0
"""After the finish reason: how long the usage event may take."""

DONE_GRACE_S = 0.25
"""After finish reason and usage: how long `[DONE]` and the end of the reply may take."""


async def dispatch(attempt: Attempt, upstream: Upstream) -> Exchange:
    """Send the request. An error status is read and raised as the provider's error."""
    target = attempt.target
    decision = attempt.job.decision
    body = target.dialect.body(attempt.job.request, target.model, attempt.output_cap, decision.signals.warm)
    timeouts = decision.route.timeouts
    exchange = await upstream.send(target, body, attempt_id=attempt.attempt_id, timeouts=timeouts)
    attempt.status = exchange.status
    if exchange.status == 200:
        return exchange
    try:
        refused = await exchange.read()
    finally:
        await exchange.close()
    raise target.dialect.error(exchange.status, exchange.headers, refused)


async def fetch(attempt: Attempt, upstream: Upstream, *, until: float) -> Answer:
    """A whole answer, by the loop time `until`. The attempt is complete when this returns."""
    exchange = None
    try:
        async with asyncio.timeout_at(until):
            exchange = await dispatch(attempt, upstream)
            body = await exchange.read()
    except TimeoutError as exc:
        raise silent(attempt.target.provider.name, attempt.attempt_id) from exc
    finally:
        if exchange is not None:
            await exchange.close()
    attempt.waited()
    answer = read_answer(body)
    attempt.complete(answer.usage_raw, answer.finish_reason, answer.service_tier, 0)
    return answer


class Relay:
    """One stream from a provider to the client. `kept` holds its events when they are wanted for the cache."""

    def __init__(self, attempt: Attempt, reply: Reply, *, keep: bool) -> None:
        self._attempt = attempt
        self._reply = reply
        self._scanner = StreamScanner(drop_usage=not attempt.job.request.include_usage, choices=attempt.job.request.n)
        self._gap = attempt.job.decision.route.timeouts.between_tokens
        self._now = asyncio.get_running_loop().time
        self._grace = float("inf")
        self.kept: list[bytes] | None = [] if keep else None

    async def run(self, upstream: Upstream, *, first_by: float, on_gone: Callable[[], None]) -> None:
        """Pass the stream on to its last content event. The attempt is complete when this returns.

        When the client leaves, a provider that bills what it has generated is cut off at once. From one that bills the
        whole answer anyway it is read on, to learn what it cost; `on_gone` bounds that.
        """
        scanner, attempt = self._scanner, self._attempt
        exchange = None

        def left() -> None:
            if attempt.target.provider.abort_stops_billing:
                clock.reschedule(self._now())
            else:
                on_gone()

        try:
            async with asyncio.timeout_at(first_by) as clock:
                exchange = await dispatch(attempt, upstream)
                chunks = exchange.chunks()
                held = await self._until_content(chunks)
                attempt.first_content()
                self._reply.headers += headers.of_attempt(attempt)
                await self._reply.start_stream(left)
                clock.reschedule(self._now() + self._gap)
                await self._pass_on(held)
                await self._pump(chunks, clock)
        except TimeoutError as exc:
            if self._reply.gone and not self._finished and attempt.target.provider.abort_stops_billing:
                attempt.left(scanner.usage_raw, scanner.service_tier, scanner.events)
                return
            if self._reply.blocked or not self._finished:
                attempt.broke(scanner.usage_raw, scanner.events)
                if self._reply.blocked:
                    raise client_stalled() from exc
                raise silent(attempt.target.provider.name, attempt.attempt_id) from exc
        except (GatewayError, asyncio.CancelledError):
            if scanner.content:
                attempt.broke(scanner.usage_raw, scanner.events)
            raise
        finally:
            if exchange is not None:
                await exchange.close()
        attempt.complete(scanner.usage_raw, scanner.finish_reason, scanner.service_tier, scanner.events)

    @property
    def usage_raw(self) -> bytes:
        return self._scanner.usage_raw

    @property
    def _finished(self) -> bool:
        return self._reply.started and (self._scanner.complete or self._scanner.done)

    async def _until_content(self, chunks: AsyncIterator[bytes]) -> bytes:
        """Hold everything back until the first content event, so that another candidate can still take over."""
        held: list[bytes] = []
        async for chunk in chunks:
            held.append(self._scanner.feed(chunk))
            self._raise_fault()
            if self._scanner.content:
                return b"".join(held)
        raise malformed(f"{self._attempt.target.provider.name}: the stream ended without content")

    async def _pump(self, chunks: AsyncIterator[bytes], clock: asyncio.Timeout) -> None:
        scanner = self._scanner
        seen = scanner.events
        async for chunk in chunks:
            out = scanner.feed(chunk)
            if scanner.events != seen and not scanner.complete:
                seen = scanner.events
                clock.reschedule(self._now() + self._gap)
            if out:
                await self._pass_on(out)
            self._raise_fault()
            if scanner.complete or scanner.done:
                self._wind_down(clock)
        # `async for` has read to the very end, so the connection can be used again.
        if not self._finished:
            raise truncated(self._attempt.target.provider.name)

    def _wind_down(self, clock: asyncio.Timeout) -> None:
        """A reply that has finished but is held open ends soon: usage may follow, then `[DONE]`, then the end."""
        grace = DONE_GRACE_S if self._scanner.usage_raw or self._scanner.done else USAGE_GRACE_S
        if grace < self._grace:  # each once: what still arrives does not move it on
            self._grace = grace
            clock.reschedule(self._now() + grace)

    async def _pass_on(self, data: bytes) -> None:
        if self.kept is not None:
            self.kept.append(data)
        await self._reply.write(data)

    def _raise_fault(self) -> None:
        if self._scanner.fault is not None:
            raise broken_stream(self._scanner, self._attempt.target.provider.name)

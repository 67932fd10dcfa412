"""Put an answer on the socket at the scenario's pace, and strike its fault at the chunk it names.

Everything was decided before; here it is only said, slowly or not to the end. Whatever happens, `progress` tells how
far the answer had been generated and `if_left` what it means when the client leaves now: the bill needs both.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from aiohttp import web

from gateway.simulator.answers import Answer
from gateway.simulator.bill import End
from gateway.simulator.scenario import Fault, Scenario
from gateway.simulator.wires import Event, Wire

_SLOW_GAP_MS = 250.0
_BROKEN_JSON = b'{"id":"broken","choices":[{"index":0,"delta":{"content":"unfin'


class _BrokeOff(Exception):
    """The provider ended the answer here, on purpose."""


@dataclass(slots=True)
class Progress:
    """What was generated so far. Counted before the bytes leave: a provider bills what it made, not what arrived."""

    output: int = 0
    reasoning: int = 0
    content_chunks: int = 0

    def count(self, event: Event) -> None:
        self.output += event.output
        self.reasoning += event.reasoning
        self.content_chunks += event.kind == "content"


class Delivery:
    def __init__(
        self, request: web.Request, wire: Wire, scenario: Scenario, fault: Fault, headers: Mapping[str, str]
    ) -> None:
        self.progress = Progress()
        self.if_left = End.LEFT_WHOLE if wire.bills_whole_when_left else End.LEFT_PARTIAL
        self.response = web.StreamResponse()
        self._request = request
        self._wire = wire
        self._scenario = scenario
        self._fault = fault
        self._headers = headers
        self._gap_ms = scenario.gap_ms or (_SLOW_GAP_MS if fault.kind == "slow" else 0.0)
        self._keeps_alive = wire.name == "deepseek" and scenario.keepalive_ms > 0

    async def send(self, answer: Answer) -> End:
        """Raises CancelledError or ConnectionError when the client has left."""
        try:
            stream = answer.ask.stream
            if self._is_plain() and not stream:
                await _pause(self._scenario.ttft_ms)
                await self._generate_unseen(answer)
                self.response = web.Response(
                    body=self._wire.whole(answer), headers=self._headers, content_type="application/json"
                )
                return End.COMPLETED
            await self._open(stream)
            await (self._stream(answer) if stream else self._whole(answer))
            await self.response.write_eof()
        except _BrokeOff:
            return End.BROKEN
        return End.COMPLETED

    def _is_plain(self) -> bool:
        """Nothing between the headers and the end: then aiohttp's own response is the quickest."""
        return not (self._fault.kind or self._scenario.queue_ms or self._scenario.split_bytes)

    async def _open(self, stream: bool) -> None:
        """Headers, the wait for a place, the wait for the first token."""
        scenario, kind = self._scenario, self._fault.kind
        queue_ms = scenario.queue_ms if self._wire.name == "deepseek" else 0
        if kind == "drop":
            await _pause(scenario.ttft_ms)
            self._abort()
        if not queue_ms and kind not in ("stall", "drop_headers"):
            # Without a queue a provider sends its headers together with the first token.
            await _pause(scenario.ttft_ms)
            await self._prepare(stream)
            return
        await self._prepare(stream)
        if kind == "drop_headers":
            self._abort()
        while queue_ms > 0:
            step = min(scenario.keepalive_ms or queue_ms, queue_ms)
            await _pause(step)
            queue_ms -= step
            await self._keep_alive(stream)
        await _pause(scenario.ttft_ms)

    async def _prepare(self, stream: bool) -> None:
        self.response.headers.update(self._headers)
        self.response.content_type = "text/event-stream" if stream else "application/json"
        if stream:
            self.response.headers["cache-control"] = "no-cache"
        self.response.enable_chunked_encoding()
        await self.response.prepare(self._request)

    async def _stream(self, answer: Answer) -> None:
        if self._fault.kind == "stall" and self._fault.after < 0:
            await self._stall(stream=True)
        for event in self._wire.events(answer):
            # A place beyond the last chunk is before the finish: a fault that was asked for always strikes.
            due = event.kind == "content" and self.progress.content_chunks >= self._fault.after
            if due or event.kind == "finish":
                await self._strike_stream()
            if event.kind == "done":
                self.if_left = End.COMPLETED
                if self._fault.kind == "no_done":
                    await asyncio.Event().wait()
            if event.kind == "content" and self.progress.content_chunks:
                await _pause(self._gap_ms)
            self.progress.count(event)
            await self._write(event.data)

    async def _strike_stream(self) -> None:
        match self._fault.kind:
            case "stall":
                await self._stall(stream=True)
            case "cut":
                self._abort()
            case "eof":
                await self._end()
            case "malformed":
                await self._write(b"data: " + _BROKEN_JSON + b"\n\n")
                await self._end()
            case "error_event":
                await self._write(self._wire.error_event())
                await self._end()

    async def _whole(self, answer: Answer) -> None:
        body = self._wire.whole(answer)
        half = body[: len(body) // 2]
        match self._fault.kind:
            case "stall":
                await self._write(half if self._fault.after > 0 else b"")
                await self._stall(stream=False)
            case "cut":
                await self._write(half)
                self._abort()
            case "eof":
                await self._write(half)
                await self._end()
            case "malformed":
                await self._write(_BROKEN_JSON)
                await self._end()
            case "error_event":
                await self._write(self._wire.error_event().removeprefix(b"data: "))
                await self._end()
        await self._generate_unseen(answer)
        self.if_left = End.COMPLETED
        await self._write(body)

    async def _generate_unseen(self, answer: Answer) -> None:
        """A whole answer takes as long as its stream would; only nobody sees it grow."""
        if not self._gap_ms:
            return
        for event in self._wire.events(answer):
            if event.kind == "content" and self.progress.content_chunks:
                await _pause(self._gap_ms)
            self.progress.count(event)

    async def _write(self, data: bytes) -> None:
        size = self._scenario.split_bytes
        if not size:
            await self.response.write(data)
            return
        for start in range(0, len(data), size):
            await self.response.write(data[start : start + size])
            await asyncio.sleep(0)  # lets a reader in this process see each piece by itself

    async def _keep_alive(self, stream: bool) -> None:
        if self._keeps_alive:
            await self.response.write(b": keep-alive\n\n" if stream else b"\n")

    async def _stall(self, stream: bool) -> None:
        """No content until the client leaves or the simulator stops; DeepSeek keeps the line warm all the while."""
        self.if_left = End.BROKEN
        while True:
            await asyncio.sleep(self._scenario.keepalive_ms / 1000 if self._keeps_alive else 3600)
            await self._keep_alive(stream)

    async def _end(self) -> None:
        await self.response.write_eof()
        raise _BrokeOff

    def _abort(self) -> None:
        if self._request.transport is not None:
            self._request.transport.abort()
        raise _BrokeOff


async def _pause(ms: float) -> None:
    if ms > 0:
        await asyncio.sleep(ms / 1000)

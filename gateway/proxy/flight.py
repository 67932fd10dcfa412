"""One call that several requests share, as this process sees it: a log that grows, and those who read along.

The call runs in a task of its own, or in another process whose parts are copied into the log; nobody who reads holds
it up, and nobody who leaves ends it. A reader gets what is there already, then what comes.

Parts travel between processes as bytes: a letter that says what it is, then the part.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import msgspec

from gateway.core.caching import CachedAnswer
from gateway.core.errors import Blame, GatewayError

from .faults import MAX_ANSWER_BYTES
from .replay import Kept, Landed
from .reply import Headers, Reply


class Head(msgspec.Struct, frozen=True):
    """The reply's headers, as the request has them that the call was made for."""

    headers: list[tuple[bytes, bytes]]


class Fault(msgspec.Struct, frozen=True):
    """A GatewayError on its way to another process. shared: it is the answer to every equal request."""

    blame: Blame
    status: int
    told: str
    type: str
    code: str | None
    param: str | None
    outcome: str
    shared: bool
    retry_after_s: float | None = None
    attempts: int = 0
    headers: list[tuple[bytes, bytes]] = []

    def error(self) -> GatewayError:
        return GatewayError(
            self.blame, self.status, told=self.told, type=self.type, code=self.code, param=self.param,
            outcome=self.outcome, retry_after_s=self.retry_after_s,
        )  # fmt: skip


class End(msgspec.Struct, frozen=True):
    """How it ended; all of them None: nobody knows, and another one has to make the call.

    kept: a kept answer served it instead (within this process only).
    last: what closes a stream for the request that the call was made for (within this process only).
    """

    landed: Landed | None = None
    fault: Fault | None = None
    kept: Kept | None = None
    last: bytes = b""


LOST = End()

Part = Head | bytes | End

_encode = msgspec.msgpack.Encoder().encode
_head = msgspec.msgpack.Decoder(Head).decode
_end = msgspec.msgpack.Decoder(End).decode


def packed(part: Part) -> bytes:
    if isinstance(part, bytes):
        return b"p" + part
    if isinstance(part, Head):
        return b"h" + _encode(part)
    return b"e" + _encode(End(landed=part.landed, fault=part.fault, kept=part.kept))


def unpacked(raw: bytes) -> Part:
    """Raises msgspec.MsgspecError or UnicodeDecodeError for what no gateway of this version has written."""
    kind, part = raw[:1], raw[1:]
    if kind == b"p":
        return part
    return _head(part) if kind == b"h" else _end(part)


class Flight:
    """The log. made_for: the id of the request that the call is made for, here. fallback: a kept answer past its end,
    for when the call fails. on_part: told of each part of the log."""

    def __init__(self) -> None:
        self.made_for = ""
        self._parts: list[Head | bytes] = []
        self._changed: asyncio.Event | None = None
        self._size = 0
        self.end: End | None = None
        self.fallback: CachedAnswer | None = None
        self.on_part: Callable[[Head | bytes], None] | None = None

    def add(self, part: Head | bytes) -> None:
        """Raises GatewayError for an answer that is too large to be held."""
        if isinstance(part, bytes):
            self._size += len(part)
            if self._size > MAX_ANSWER_BYTES:
                told = f"an answer of more than {MAX_ANSWER_BYTES} bytes cannot be shared; set coalesce to false"
                raise GatewayError(Blame.UPSTREAM, 502, told=told, outcome="oversized")
        self._parts.append(part)
        if self.on_part is not None:
            self.on_part(part)
        self._wake()

    def finish(self, end: End) -> None:
        """Once; what comes later changes nothing."""
        if self.end is None:
            self.end = end
            self._wake()

    def _wake(self) -> None:
        if self._changed is not None:
            self._changed.set()
            self._changed = None

    async def parts(self) -> AsyncIterator[Head | bytes]:
        """All of it, then `end` is set. Whoever reads brings the deadline."""
        at = 0
        while True:
            while at < len(self._parts):
                yield self._parts[at]
                at += 1
            if self.end is not None:
                return
            if self._changed is None:
                self._changed = asyncio.Event()
            await self._changed.wait()


async def _never() -> dict[str, str]:
    raise AssertionError("nobody reads from a call's client: it has none")


async def _nowhere(message: object) -> None:
    raise AssertionError("a call's reply goes into its flight")


class CallReply(Reply):
    """The reply of a call without a client: everything goes into the flight. It never leaves and never blocks."""

    __slots__ = ("_flight", "last")

    def __init__(self, flight: Flight, headers: Headers) -> None:
        super().__init__(_never, _nowhere, "")
        self._flight = flight
        self.headers = list(headers)
        self.last = b""

    def watch(self) -> None:
        pass

    async def whole(self, status: int, body: bytes, content_type: bytes = b"") -> None:
        self.started = self.answered = True
        self._flight.add(Head(self.headers))
        self._flight.add(body)

    async def start_stream(self) -> None:
        if not self.started:
            self.started = True
            self._flight.add(Head(self.headers))

    async def end_stream(self, last: bytes) -> None:
        await self.stop_watching()
        self.last = last

    async def _write(self, data: bytes) -> None:
        self._flight.add(data)

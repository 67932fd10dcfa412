"""Answering over ASGI: one reply, whole or streamed, with the gateway's headers. Knows whether the client is there."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

from gateway.core.errors import GatewayError

# The ASGI types, as starlette spells them. Any: a message holds whatever its type says.
Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

JSON = b"application/json"
SSE = b"text/event-stream; charset=utf-8"
KEEP_ALIVE = b": keep-alive\n\n"

WATCH_AFTER_S = 0.05
"""A client that leaves sooner is not noticed before: most replies are there by then, and need nobody to watch."""

KEEP_ALIVE_S = 5.0
"""How often a client that waits for a whole stream hears that it is still worth waiting."""

Headers = list[tuple[bytes, bytes]]


def _nobody() -> None:
    """Who hears that the client has left, while nobody is asked for it."""


class Reply:
    """One reply. After the client has left, writing goes nowhere and `gone` is true.

    on_gone: called once when the client leaves before the end; whoever is asked at the moment sets it.
    started: the head has been sent; answered: so has some of the answer, or all of it.
    """

    __slots__ = (
        "_beat", "_due", "_receive", "_send", "_watch", "answered", "blocked", "gone", "headers", "on_gone", "started",
    )  # fmt: skip

    def __init__(self, receive: Receive, send: Send, request_id: str) -> None:
        self._receive = receive
        self._send = send
        self._due: asyncio.TimerHandle | None = None
        self._watch: asyncio.Task[None] | None = None
        self._beat: asyncio.Task[None] | None = None
        self.headers: Headers = [(b"x-request-id", request_id.encode())]
        self.on_gone: Callable[[], None] = _nobody
        self.started = False
        self.answered = False
        self.gone = False
        self.blocked = False

    def ignore_gone(self) -> None:
        self.on_gone = _nobody

    async def whole(self, status: int, body: bytes, content_type: bytes = JSON) -> None:
        await self.stop_watching()
        self.started = self.answered = True
        length = str(len(body)).encode()
        headers = [(b"content-type", content_type), (b"content-length", length), *self.headers]
        await self._send({"type": "http.response.start", "status": status, "headers": headers})
        await self._send({"type": "http.response.body", "body": body})

    async def error(self, error: GatewayError) -> None:
        if error.retry_after_s is not None:
            self.headers.append((b"retry-after", str(max(int(error.retry_after_s + 0.999), 1)).encode()))
        self.headers += [(name.encode(), value.encode()) for name, value in error.headers]
        await self.whole(error.status, error.body())

    async def start_stream(self) -> None:
        """Send the head, unless it has been sent."""
        if self.started:
            return
        self.started = True
        headers = [(b"content-type", SSE), (b"cache-control", b"no-cache"), *self.headers]
        await self._send({"type": "http.response.start", "status": 200, "headers": headers})

    async def write(self, data: bytes) -> None:
        self.answered = True
        await self._write(data)

    async def end_stream(self, last: bytes) -> None:
        await self.stop_watching()
        if not self.gone:
            await self._send({"type": "http.response.body", "body": last})

    async def _write(self, data: bytes) -> None:
        if not self.gone:
            self.blocked = True  # still true when a deadline strikes: the client, not the provider, was slow
            await self._send({"type": "http.response.body", "body": data, "more_body": True})
            self.blocked = False

    # What goes on beside an answer that is waited for ------------------------------------------------------------

    def watch(self) -> None:
        """From now on the client's leaving is noticed."""
        if self._due is None and self._watch is None:
            self._due = asyncio.get_running_loop().call_later(WATCH_AFTER_S, self._watch_now)

    def keep_alive(self) -> None:
        """Send comments until the answer comes. With the first one the head is sent, so no status can change later."""
        self._beat = asyncio.create_task(self._keep_alive(), name="keep-alive")

    async def stop_keep_alive(self) -> None:
        beat, self._beat = self._beat, None
        await _ended([] if beat is None else [beat])

    async def stop_watching(self) -> None:
        """No one hears of the client any more, and it gets nothing but what is sent from here on."""
        if self._due is not None:
            self._due.cancel()
            self._due = None
        if self._beat is None and self._watch is None:  # as nearly always
            return
        beside = [task for task in (self._beat, self._watch) if task is not None]
        self._beat = self._watch = None
        await _ended(beside)

    def _watch_now(self) -> None:
        self._due = None
        self._watch = asyncio.create_task(self._await_disconnect(), name="client-watch")

    async def _await_disconnect(self) -> None:
        # Bounded by its owner: every way out of a request passes stop_watching.
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self.gone = True
        self.on_gone()

    async def _keep_alive(self) -> None:
        while not self.gone:
            await asyncio.sleep(KEEP_ALIVE_S)
            await self.start_stream()
            await self._write(KEEP_ALIVE)


async def _ended(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:  # all of them first: none may go on while another one ends
        task.cancel()
    if tasks:
        await asyncio.wait(tasks, timeout=1.0)


def header(scope: Scope, name: bytes) -> bytes | None:
    """The first value of a request header; names arrive in lower case."""
    pairs: Iterable[tuple[bytes, bytes]] = scope["headers"]
    for key, value in pairs:
        if key == name:
            return value
    return None

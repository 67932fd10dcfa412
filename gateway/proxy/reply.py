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

Headers = list[tuple[bytes, bytes]]


class Reply:
    """One reply. After the client has left, writing goes nowhere and `gone` is true."""

    __slots__ = ("_receive", "_send", "_watch", "blocked", "gone", "headers", "started")

    def __init__(self, receive: Receive, send: Send, request_id: str) -> None:
        self._receive = receive
        self._send = send
        self._watch: asyncio.Task[None] | None = None
        self.headers: Headers = [(b"x-request-id", request_id.encode())]
        self.started = False
        self.gone = False
        self.blocked = False

    async def whole(self, status: int, body: bytes, content_type: bytes = JSON) -> None:
        self.started = True
        length = str(len(body)).encode()
        headers = [(b"content-type", content_type), (b"content-length", length), *self.headers]
        await self._send({"type": "http.response.start", "status": status, "headers": headers})
        await self._send({"type": "http.response.body", "body": body})

    async def error(self, error: GatewayError) -> None:
        if error.retry_after_s is not None:
            self.headers.append((b"retry-after", str(max(int(error.retry_after_s + 0.999), 1)).encode()))
        self.headers += [(name.encode(), value.encode()) for name, value in error.headers]
        await self.whole(error.status, error.body())

    async def start_stream(self, on_gone: Callable[[], None]) -> None:
        """Send the head; `on_gone` is called once if the client leaves before the end."""
        self.started = True
        headers = [(b"content-type", SSE), (b"cache-control", b"no-cache"), *self.headers]
        await self._send({"type": "http.response.start", "status": 200, "headers": headers})
        self._watch = asyncio.create_task(self._await_disconnect(on_gone), name="client-watch")

    async def write(self, data: bytes) -> None:
        if not self.gone:
            self.blocked = True  # still true when a deadline strikes: the client, not the provider, was slow
            await self._send({"type": "http.response.body", "body": data, "more_body": True})
            self.blocked = False

    async def end_stream(self, last: bytes) -> None:
        await self.stop_watching()
        if not self.gone:
            await self._send({"type": "http.response.body", "body": last})

    async def stop_watching(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.wait((self._watch,), timeout=1.0)
            self._watch = None

    async def _await_disconnect(self, on_gone: Callable[[], None]) -> None:
        # Bounded by its owner: every way out of a stream passes stop_watching.
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self.gone = True
        on_gone()


def header(scope: Scope, name: bytes) -> bytes | None:
    """The first value of a request header; names arrive in lower case."""
    pairs: Iterable[tuple[bytes, bytes]] = scope["headers"]
    for key, value in pairs:
        if key == name:
            return value
    return None

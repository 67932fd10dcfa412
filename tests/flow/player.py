"""A provider that plays exactly the bytes it is given, to end a stream where the simulator would not."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from dataclasses import dataclass

import aiohttp

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


@dataclass(frozen=True)
class Play:
    """events: what is sent. ending: `eof` in good order, `abort` in the middle, `hold` open and silent."""

    events: tuple[bytes, ...]
    ending: str


class Player:
    """Plays what is queued, one request each; once nothing is queued, everything."""

    def __init__(self, events: tuple[bytes, ...]) -> None:
        self.whole = Play(events, "eof")
        self.queue: deque[Play] = deque()
        self.requests = self.connections = 0
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Player:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()

    @property
    def url(self) -> str:
        assert self._server is not None
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/v1"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = next(int(line.split(b":")[1]) for line in head.lower().split(b"\r\n")
                              if line.startswith(b"content-length:"))  # fmt: skip
                await reader.readexactly(length)
                self.requests += 1
                play = self.queue.popleft() if self.queue else self.whole
                writer.write(HEAD)
                for event in play.events:
                    writer.write(b"%x\r\n%b\r\n" % (len(event), event))
                    await writer.drain()
                    await asyncio.sleep(0)
                if play.ending == "hold":
                    await reader.read()
                if play.ending != "eof":
                    await asyncio.sleep(0.01)  # what was written before is on its way
                    break
                writer.write(b"0\r\n\r\n")
        writer.close()


async def recorded(url: str, model: str) -> tuple[bytes, ...]:
    """The events of a good stream, as the simulator of this provider says them."""
    body = {
        "model": model, "stream": True, "messages": [{"role": "user", "content": "Say something."}],
        "user": "sim:answer_tokens=6;chunk_tokens=1", "stream_options": {"include_usage": True},
    }  # fmt: skip
    headers = {"authorization": "Bearer any"}
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{url}/chat/completions", json=body, headers=headers) as reply,
    ):
        whole = await reply.read()
    return tuple(event + b"\n\n" for event in whole.split(b"\n\n") if event)

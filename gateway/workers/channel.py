"""What a supervisor and one of its workers tell each other: MessagePack over a socket pair, each with its length.

A worker gets its orders first, then says when it is ready, reports what it has counted, and may ask for the others'
sum or for a reload. The supervisor sends a configuration to serve, and how matters stand. Either side learns from the
end of the stream that the other is gone, however that happened.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import Callable, Mapping
from typing import Self

import msgspec

from gateway.config import Outcome, Standing, Texts
from gateway.proxy.reports import Report

_LENGTH = struct.Struct("!I")


class Serve(msgspec.Struct, frozen=True, tag="serve"):
    """Put this configuration in force.

    texts: the files as they were checked, so that all workers serve the same whatever stands there by now.
    simulated: base URLs by provider, empty while none is simulated.
    """

    texts: Texts
    simulated: Mapping[str, str]
    standing: Standing


class Served(msgspec.Struct, frozen=True, tag="served"):
    """This version is in force here."""

    version: str


class Orders(msgspec.Struct, frozen=True, tag="orders"):
    """What a worker is started with. The environment it inherits.

    store_url: of the embedded store; None: the worker finds REDIS_URL in its environment. sockets: listening ones, by
    file descriptor.
    """

    routes: str
    host: str
    port: int
    data_dir: str
    store_url: str | None
    sockets: list[int]
    serve: Serve


class Ready(msgspec.Struct, frozen=True, tag="ready"):
    """The worker takes connections."""


class Ask(msgspec.Struct, frozen=True, tag="ask"):
    """What have the other workers counted? The answer is one Report."""


class AskReload(msgspec.Struct, frozen=True, tag="ask-reload"):
    """Read the files again. The answer is one Outcome, once every worker serves what came of it."""


Message = Orders | Serve | Served | Ready | Ask | Report | AskReload | Outcome | Standing

_encode = msgspec.msgpack.Encoder().encode
_decode: Callable[[bytes], Message] = msgspec.msgpack.Decoder(Message).decode


class Channel:
    """One end. Messages arrive whole, in order, or not at all."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def over(cls, sock: socket.socket) -> Self:
        return cls(*await asyncio.open_unix_connection(sock=sock))

    async def receive(self) -> Message | None:
        """The next message, or None at the end. Whoever waits without a deadline has an owner that ends it.

        Raises msgspec.DecodeError for what is no message of this version.
        """
        try:
            (length,) = _LENGTH.unpack(await self._reader.readexactly(_LENGTH.size))
            raw = await self._reader.readexactly(length)
        except (asyncio.IncompleteReadError, ConnectionError):
            return None
        return _decode(raw)

    def put(self, message: Message) -> None:
        """Write without waiting. What the other side can no longer read is dropped."""
        raw = _encode(message)
        self._writer.write(_LENGTH.pack(len(raw)) + raw)

    @property
    def clogged(self) -> bool:
        """The other side has not yet taken all that was put."""
        return self._writer.transport.get_write_buffer_size() > 0

    async def close(self, within_s: float) -> None:
        """Let the other side take what was put, for so long; a side that is gone took all."""
        self._writer.close()
        with contextlib.suppress(ConnectionError, TimeoutError):
            async with asyncio.timeout(within_s):
                await self._writer.wait_closed()

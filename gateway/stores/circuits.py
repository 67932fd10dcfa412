"""Open circuits, shared by all workers and replicas through Redis: told and heard a few times a second.

No request waits for it: each worker decides by what it knows, and one task of its own tells what has changed and hears
what the others know, both in one round trip. While the server is away each worker goes on by itself, and tells
afterwards. The server's clock is the only one that measures.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from importlib.resources import files

import msgspec
from redis.exceptions import ResponseError

from gateway.core.contracts import CircuitBook, CircuitState

from .redis_link import GONE, RedisLink, kind_of, packed

log = logging.getLogger("gateway.health")

EVERY_S = 0.25
"""How often. What one worker has learned, every other one knows after at most two of these and two round trips."""

AWAY_S = 1.0
ANSWER_S = 0.25
KEPT_MS = 60_000
"""How long a circuit is remembered after its pause when nobody tries it."""

_NAME = "gw:h1:{circuits}"
"""The number goes up when the stored form changes."""

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[CircuitState]).decode


class SharedCircuits:
    """Owns the task and the connection. `start` it in a running loop; `close` ends both."""

    def __init__(self, url: str, book: CircuitBook, *, simulated: Callable[[], bool]) -> None:
        """simulated: whether providers are now; their circuits are kept apart.

        Raises ValueError when the address is none.
        """
        self._link = RedisLink(url, connections=2)
        self._book = book
        self._simulated = simulated
        # Sent whole each time: a kilobyte, and a server that was started anew needs nothing to be told first.
        self._script = (files("gateway.stores") / "lua" / "circuits.lua").read_text()
        self._away = False
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._talk(), name="circuits")

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait((self._task,), timeout=1.0)
        await self._link.close()

    async def _talk(self) -> None:
        while True:
            await asyncio.sleep(AWAY_S if self._away else EVERY_S)
            try:
                said = self._book.unsaid()
                states = await self._exchanged(said)
            except (*GONE, msgspec.MsgspecError) as exc:
                if not self._away:
                    self._away = True
                    log.warning("circuits are not shared at the moment: %s (%s)", kind_of(exc), type(exc).__name__)
                continue
            if self._away:
                self._away = False
                log.info("circuits are shared again")
            self._book.hear(said, states)

    async def _exchanged(self, said: Sequence[CircuitState]) -> list[CircuitState]:
        key = f"{_NAME}:simulated" if self._simulated() else _NAME
        command = packed("EVAL", self._script, "1", key, _encode(said), str(KEPT_MS))
        (reply,) = await self._link.ask([command], timeout_s=ANSWER_S)
        if isinstance(reply, ResponseError):
            raise reply
        return _decode(reply if isinstance(reply, bytes) else b"")

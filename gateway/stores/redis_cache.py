"""The response cache in Redis or Valkey. It never fails a request: whatever goes wrong is a miss.

Invariants: an unreachable or frozen server costs at most one timeout a period (see breaker). No key and no answer is
ever logged.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable

import msgspec
from redis.exceptions import ResponseError

from gateway.core.contracts import CachedAnswer

from .breaker import Breaker, Pass
from .redis_link import CONNECT_TIMEOUT_S, GONE, TIMEOUT_S, RedisLink, Reply, Word, kind_of, packed

log = logging.getLogger("gateway.cache")

PREFIX = "gw:c2:"
"""The number goes up when the stored form changes, so that two versions of the gateway never read each other's."""

CONNECTIONS = 64

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(CachedAnswer).decode


class _Busy(Exception):
    """No connection became free in time."""


class RedisCache:
    """core.contracts.Cache. `errors` counts by kind, and `on_error(kind)` hears of each as it happens.

    Kinds: timeout, unreachable (the connection), busy (no free connection in time), refused (the server answered with
    an error), undecodable (a value that is not ours). The first two close the breaker.
    """

    def __init__(
        self,
        url: str,
        *,
        connect_timeout_s: float = CONNECT_TIMEOUT_S,
        timeout_s: float = TIMEOUT_S,
        connections: int = CONNECTIONS,
        on_error: Callable[[str], None] | None = None,
    ) -> None:
        """Raises ValueError when the address is none; its text never repeats the address, which may hold a password."""
        self._link = RedisLink(
            url, connections=connections, connect_timeout_s=connect_timeout_s, timeout_s=timeout_s
        )
        # Our own turnstile before redis-py's pool: its BlockingConnectionPool loses a connection for good when the
        # task that hands one back is cancelled while waiting for the pool's lock.
        self._slots = asyncio.Semaphore(connections)
        self._timeout_s = timeout_s
        self._breaker = Breaker()
        self._refused = False
        self._on_error = on_error
        self.errors: Counter[str] = Counter()

    @property
    def off(self) -> bool:
        """The server is being left alone."""
        return self._breaker.off_s > 0

    async def get(self, key: str) -> CachedAnswer | None:
        name = PREFIX + key
        raw = await self._ask("GET", name)
        if raw is None:
            return None
        try:
            return _decode(raw if isinstance(raw, bytes) else b"")
        except (msgspec.MsgspecError, UnicodeDecodeError):
            self._count("undecodable")
            await self._ask("DEL", name)
            return None

    async def put(self, key: str, answer: CachedAnswer, ttl_s: int) -> None:
        if ttl_s <= 0:
            raise ValueError("ttl_s must be positive: an answer without an end would never be evicted")
        if await self._ask("SET", PREFIX + key, _encode(answer), "PX", str(ttl_s * 1000)) and self._refused:
            self._refused = False
            log.info("the response cache keeps answers again")

    async def ping(self) -> bool:
        """The server answers now; asked whatever the breaker says, and without changing its mind."""
        try:
            await self._slot()
            try:
                return await self._send("PING") == b"PONG"
            finally:
                self._slots.release()
        except (_Busy, *GONE):
            return False

    async def close(self) -> None:
        """Close all connections. Whatever still uses one fails."""
        await self._link.close()

    async def _ask(self, *command: Word) -> Reply:
        """The reply; None also when there is none to be had. Every way out reports to the breaker exactly once."""
        how = self._breaker.enter(time.monotonic())
        if how is Pass.CLOSED:
            return None
        try:
            await self._slot()
            try:
                if how is Pass.FREE and self.off:
                    return None  # the breaker closed while we waited: one timeout is enough
                reply = await self._send(*command)
            finally:
                self._slots.release()
        except _Busy:
            # Those who hold the connections will find out whether the server is ill; a crowd alone is no illness.
            self._breaker.abandoned(how)
            self._count("busy")
            return None
        except ResponseError as exc:
            self._went_well(how)  # a refusal is an answer, and in time
            self._was_refused(exc)
            return None
        except GONE as exc:
            self._went_wrong(how, exc)
            return None
        except BaseException:
            self._breaker.abandoned(how)
            raise
        self._went_well(how)
        return reply

    async def _send(self, *command: Word) -> Reply:
        (reply,) = await self._link.ask([packed(*command)])
        if isinstance(reply, ResponseError):
            raise reply
        return reply

    async def _slot(self) -> None:
        """One of the places at the turnstile; the caller gives it back."""
        if not self._slots.locked():
            await self._slots.acquire()
            return
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._slots.acquire()
        except TimeoutError:
            raise _Busy from None

    def _went_well(self, how: Pass) -> None:
        if self._breaker.succeeded(how):
            log.info("the response cache is on again")

    def _went_wrong(self, how: Pass, exc: Exception) -> None:
        kind = kind_of(exc)
        self._count(kind)
        if self._breaker.failed(how, time.monotonic()):
            # The kind of error only: a server's words may repeat the command, and so the key.
            told = "the response cache is off, requests go to the providers until it answers: %s (%s)"
            log.warning(told, kind, type(exc).__name__)

    def _was_refused(self, exc: ResponseError) -> None:
        self._count("refused")
        if not self._refused:
            self._refused = True
            log.warning("the response cache's server refuses commands: %s", type(exc).__name__)

    def _count(self, kind: str) -> None:
        self.errors[kind] += 1
        if self._on_error is not None:
            self._on_error(kind)

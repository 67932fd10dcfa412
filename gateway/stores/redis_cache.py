"""The response cache in Redis or Valkey, and the calls under way that equal requests share: core.contracts.Cache.

It never fails a request: whatever goes wrong is "nothing found, and alone". One round trip tells what is kept, which
purges there were, and who makes the call when nothing is kept.

Invariants: an unreachable or frozen server costs at most one deadline a period (see breaker). Nothing is replayed that
does not open, that is of another scope, or that was purged. No key and no answer is ever logged.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence

import msgspec
from redis.exceptions import ResponseError

from gateway.core.caching import CachedAnswer, Lookup, Role, purged

from .box import HEAD, LARGEST_BYTES, Unreadable
from .cache_health import Health
from .flight_line import LEASE_S, LOG_KEPT_S, FlightLine, lease_of, log_of
from .kept import PREFIX, PURGES, KeptAnswers, opened, purges_of
from .lanes import Answer, Lanes
from .redis_link import RedisLink, packed
from .scripts import Script

TIMEOUT_S = 0.05
"""No request waits longer for the store, connecting included."""

LOAD_S = 0.02
"""The least that the table of purges is given once it has changed, also when nothing is left of TIMEOUT_S."""

WRITE_PATIENCE_S = 1.0
"""A large answer may take this long on its way; whoever gives it away waits TIMEOUT_S."""

READERS, WRITERS, TELLERS = 4, 2, 2
"""Connections."""

_LEASE_MS = b"%d" % (LEASE_S * 1_000)
_LOG_KEPT_MS = b"%d" % (LOG_KEPT_S * 1_000)
_ALONE = Lookup()

_encode = msgspec.msgpack.Encoder().encode
_look, _land = Script("look"), Script("land")


class RedisCache(KeptAnswers):
    """`errors` counts by kind, and `on_error(kind)` hears of each as it happens; the kinds stand in Health.

    kept_bytes: of sealed answers that the server took.
    """

    def __init__(
        self,
        url: str,
        keys: Sequence[bytes],
        *,
        timeout_s: float = TIMEOUT_S,
        on_error: Callable[[str], None] | None = None,
    ) -> None:
        """keys: as `box.box_key` makes them, the one that seals first.

        Raises ValueError when the address is none; its text never repeats the address, which may hold a password.
        """
        super().__init__(url, keys)
        self._timeout_s = timeout_s
        self._health = Health(on_error)
        self._link = RedisLink(url, connections=READERS + WRITERS + TELLERS)
        self._reads = Lanes(self._link, self._health, (_look,), lanes=READERS, wait_s=timeout_s, patience_s=timeout_s)
        self._writes = Lanes(
            self._link, self._health, (_land,), lanes=WRITERS, wait_s=timeout_s, patience_s=WRITE_PATIENCE_S
        )
        self._line = FlightLine(self._link, self._health, self._box)
        self._purges: tuple[int, dict[str, int]] = (0, {})
        self._loading: asyncio.Task[bool] | None = None
        self.kept_bytes = 0

    @property
    def off(self) -> bool:
        """The server is being left alone."""
        return self._health.off

    @property
    def errors(self) -> Counter[str]:
        return self._health.errors

    def start(self) -> None:
        self._line.start()

    async def close(self) -> None:
        """Close all connections. Whatever still uses one fails."""
        if self._loading is not None:
            self._loading.cancel()
        await self._line.close()
        await self._reads.close()
        await self._writes.close()
        await self._link.close()
        await super().close()

    # Looking -----------------------------------------------------------------------------------------------------

    async def look(self, key: str, scope: str, *, flight: str) -> Lookup:
        until = time.monotonic() + self._timeout_s
        name = PREFIX + key
        found, value = await self._ask_look(name, flight, wanted=b"1")
        if value is None:
            return found
        answer, reason = await self._judged(name, scope, value, found.epoch, until)
        if answer is not None or reason == "away":
            return Lookup(answer=answer, reason=reason, epoch=found.epoch)
        try:
            async with asyncio.timeout(until - time.monotonic()):
                return await self._look_past(name, scope, value, flight, reason)
        except TimeoutError:
            return Lookup(reason=reason, epoch=found.epoch)

    async def lead(self, flight: str) -> Lookup:
        found, _ = await self._ask_look(PREFIX, flight, wanted=b"0")
        return found

    async def _look_past(self, name: str, scope: str, bad: bytes, flight: str, reason: str) -> Lookup:
        """Remove what cannot be replayed, unless another value took its place meanwhile."""
        found, value = await self._ask_look(name, flight, wanted=b"1", remove=(bad[:HEAD],))
        answer = None
        if value is not None:
            until = time.monotonic() + self._timeout_s  # the caller's own deadline goes before
            answer, _ = await self._judged(name, scope, value, found.epoch, until)
        return msgspec.structs.replace(found, answer=answer, reason="" if answer is not None else reason)

    async def _ask_look(
        self, name: str, flight: str, *, wanted: bytes, remove: Sequence[bytes] = ()
    ) -> tuple[Lookup, bytes | None]:
        """What look.lua answers: who makes the call, and the sealed value, either of them None."""
        token = f"{flight}:{secrets.token_hex(16)}" if flight else ""
        command = _look.call((name, PURGES, lease_of(flight)), token, _LEASE_MS, wanted, *remove)
        asked = self._reads.ask(command, lambda reply: self._unheard(token, reply))
        try:
            reply = await asked
        except asyncio.CancelledError:
            if asked.done() and not asked.cancelled():
                self._unheard(token, asked.result())
            raise
        if not isinstance(reply, list):
            if isinstance(reply, ResponseError):
                self._health.was_refused(type(reply).__name__)
            return _ALONE, None
        value, epoch, holder, removed = reply
        self.deleted += removed
        if value is not None:
            return Lookup(epoch=int(epoch)), value
        return self._role(int(epoch), flight, token, holder), None

    def _role(self, epoch: int, flight: str, token: str, holder: bytes | None) -> Lookup:
        if holder is None:
            if flight:  # the server is full
                self._health.was_refused("no lease")
            return Lookup(epoch=epoch)
        held = holder.decode()
        if held == token:
            self._line.leads(token)
            return Lookup(epoch=epoch, role=Role.LEAD, flight=token)
        if held in self._line.unreadable:
            return Lookup(epoch=epoch)
        return Lookup(epoch=epoch, role=Role.FOLLOW, flight=held)

    def _unheard(self, token: str, reply: Answer) -> None:
        """Nobody waited for this reply any more: a lease that it brought is let go."""
        if token and isinstance(reply, list) and reply[2] == token.encode():
            self._line.give_up(token)

    # Judging -----------------------------------------------------------------------------------------------------

    async def _judged(
        self, name: str, scope: str, value: bytes, epoch: int, until: float
    ) -> tuple[CachedAnswer | None, str]:
        """The answer when it may be replayed, else why not."""
        try:
            answer = opened(self._box, name, value)
        except Unreadable:
            self.unreadable += 1
            self._health.count("unreadable")
            return None, "unreadable"
        if answer.scope != scope:
            return None, "foreign"
        if epoch != self._purges[0] and not await self._load_purges(until):
            return None, "away"
        known, purges = self._purges
        if answer.epoch < known and purged(answer, purges):
            return None, "purged"
        return answer, ""

    async def _load_purges(self, until: float) -> bool:
        """The table of purges anew, once for all who ask."""
        if self._loading is None or self._loading.done():
            self._loading = asyncio.create_task(self._loaded(), name="cache-purges")
        loading = self._loading
        await asyncio.wait((loading,), timeout=max(until - time.monotonic(), LOAD_S))
        return loading.done() and not loading.cancelled() and loading.result()

    async def _loaded(self) -> bool:
        reply = await self._reads.ask(packed("HGETALL", PURGES))
        if not isinstance(reply, list):
            return False
        self._purges = purges_of(reply)
        return True

    # Keeping -----------------------------------------------------------------------------------------------------

    async def put(self, key: str, answer: CachedAnswer) -> None:
        await self._land("", PREFIX + key, answer, -1, [])

    def publish(self, flight: str, parts: Sequence[bytes]) -> None:
        self._line.publish(flight, parts)

    async def land(self, flight: str, parts: Sequence[bytes], *, key: str, answer: CachedAnswer | None) -> None:
        first, chunks = self._line.last_of(flight, parts)
        await self._land(flight, PREFIX + key, answer, first, chunks)

    def follow(self, flight: str) -> AsyncIterator[bytes]:
        return self._line.follow(flight)

    async def _land(
        self, token: str, name: str, answer: CachedAnswer | None, first: int, chunks: Sequence[bytes]
    ) -> None:
        sealed, kept_ms = self._sealed(name, answer)
        keys = (name, lease_of(token.rpartition(":")[0]), log_of(token))
        command = _land.call(keys, token, sealed, b"%d" % kept_ms, _LOG_KEPT_MS, b"%d" % first, *chunks)
        size = len(sealed)
        asked = self._writes.ask(command, lambda reply: self._has_landed(reply, size), anyway=True)
        self._has_landed(await asked, size)

    def _sealed(self, name: str, answer: CachedAnswer | None) -> tuple[bytes, int]:
        """The value and for how many milliseconds it is kept; nothing of an answer that may not be."""
        if answer is None or not answer.epoch:  # without an epoch it could not be purged
            return b"", 0
        kept_ms = (answer.ends_us - time.time_ns() // 1_000) // 1_000
        content = _encode(answer)
        if kept_ms <= 0 or len(content) > LARGEST_BYTES:
            return b"", 0
        return self._box.seal(content, name.encode()), kept_ms

    def _has_landed(self, reply: Answer, size: int) -> None:
        if isinstance(reply, ResponseError):
            self._health.was_refused(type(reply).__name__)
        elif reply == -1:
            self._health.was_refused("out of memory")
        elif reply == 1:
            self._health.was_kept()
            self.kept_bytes += size

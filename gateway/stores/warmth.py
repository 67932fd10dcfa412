"""Who answered which turn of a conversation, in Redis or Valkey: core.contracts.Warmth.

It never fails a request and holds none up for long: a server that is away, slow or crowded is "unknown". Turns are
written beside the requests, many in one round trip; when the server does not take them they are forgotten.

What this process kept or looked for is remembered here as well, also that there was nothing: examples that a client
puts before every question look like answers, and are asked for once only.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter, OrderedDict
from collections.abc import Callable

import msgspec
from redis.exceptions import ResponseError

from gateway.core.conversation import Turn

from .breaker import Breaker, Pass
from .redis_link import GONE, RedisLink, Reply, kind_of, packed

log = logging.getLogger("gateway.affinity")

PREFIX = "gw:w1:"
"""The number goes up when the stored form changes, so that two versions of the gateway never read each other's."""

TIMEOUT_S = 0.05
"""A request waits for this; the saving is not worth more."""

WRITE_TIMEOUT_S = 1.0
CLOSE_S = 2.0
CONNECTIONS = 32
"""Look-ups at once; beyond it a turn is unknown. One more is for the writer."""

MOST_HERE = 20_000
"""Turns remembered in this process, of about 400 bytes each."""

MOST_WAITING = 10_000
BATCH = 500
PAUSE_S = 0.01
"""How long a batch gathers. The next turn of a conversation takes longer than this to come."""

NOTHING_S = 60.0
"""How long it is believed that nothing is known of a turn."""

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Turn).decode


class RedisWarmth:
    """`errors` counts by kind, and `on_error(kind)` hears of each: timeout, unreachable, busy, refused, undecodable."""

    def __init__(
        self, url: str, *, timeout_s: float = TIMEOUT_S, on_error: Callable[[str], None] | None = None
    ) -> None:
        """Raises ValueError when the address is none; its text never repeats the address, which may hold a password."""
        self._link = RedisLink(url, connections=CONNECTIONS + 1, timeout_s=WRITE_TIMEOUT_S)
        self._timeout_s = timeout_s
        self._breaker = Breaker()
        self._on_error = on_error
        self._here: OrderedDict[str, tuple[Turn | None, float]] = OrderedDict()
        self._waiting: OrderedDict[str, bytes] = OrderedDict()
        self._asking = 0
        self._wake = asyncio.Event()
        self._closing = False
        self._writer: asyncio.Task[None] | None = None
        self.errors: Counter[str] = Counter()

    def start(self) -> None:
        self._writer = asyncio.create_task(self._write(), name="warmth-writer")

    async def close(self) -> None:
        """Write what waits, once, and close the connections."""
        self._closing = True
        self._wake.set()
        if self._writer is not None:
            try:
                await asyncio.wait_for(self._writer, CLOSE_S)
            except TimeoutError:
                log.debug("the last turns were not written in time")
        await self._link.close()

    async def find(self, name: str) -> Turn | None:
        known = self._here.get(name)
        if known is not None and time.monotonic() < known[1]:
            self._here.move_to_end(name)
            return known[0]
        if self._asking >= CONNECTIONS:
            self._count("busy")
            return None
        self._asking += 1
        try:
            found = await self._ask([packed("GET", PREFIX + name)], self._timeout_s)
        finally:
            self._asking -= 1
        if found is None:
            return None
        turn = self._read(found[0])
        if turn is None:  # what is found is not kept here: the server knows how long it is true
            self._remember(name, None, NOTHING_S)
        return turn

    def keep(self, name: str, turn: Turn, ttl_s: int) -> None:
        self._remember(name, turn, ttl_s)
        if len(self._waiting) >= MOST_WAITING:
            self._waiting.popitem(last=False)
            self._count("busy")
        self._waiting[name] = packed("SET", PREFIX + name, _encode(turn), "EX", str(ttl_s))
        self._wake.set()

    def _remember(self, name: str, turn: Turn | None, for_s: float) -> None:
        self._here[name] = (turn, time.monotonic() + for_s)
        self._here.move_to_end(name)
        if len(self._here) > MOST_HERE:
            self._here.popitem(last=False)

    async def _write(self) -> None:
        while self._waiting or not self._closing:
            if not self._waiting:
                self._wake.clear()
                await self._wake.wait()  # woken by the next turn or by close
                continue
            if not self._closing:
                await asyncio.sleep(PAUSE_S)
            batch = [self._waiting.popitem(last=False)[1] for _ in range(min(BATCH, len(self._waiting)))]
            replies = await self._ask(batch, WRITE_TIMEOUT_S)
            if any(isinstance(reply, ResponseError) for reply in replies or ()):
                self._count("refused")

    async def _ask(self, commands: list[bytes], within_s: float) -> list[Reply | ResponseError] | None:
        """The replies; None when there are none to be had. Every way out reports to the breaker exactly once."""
        how = self._breaker.enter(time.monotonic())
        if how is Pass.CLOSED:
            return None
        try:
            async with asyncio.timeout(within_s):  # connecting counts too; the writer's connections are lent again
                replies = await self._link.ask(commands)
        except GONE as exc:
            self._count(kind_of(exc))
            if self._breaker.failed(how, time.monotonic()):
                log.warning("conversations are not followed until Redis answers: %s", kind_of(exc))
            return None
        except BaseException:
            self._breaker.abandoned(how)
            raise
        if self._breaker.succeeded(how):
            log.info("conversations are followed again")
        return replies

    def _read(self, reply: Reply | ResponseError) -> Turn | None:
        if reply is None:
            return None
        if isinstance(reply, ResponseError):
            self._count("refused")
            return None
        try:
            return _decode(reply if isinstance(reply, bytes) else b"")
        except (msgspec.MsgspecError, UnicodeDecodeError):
            self._count("undecodable")
            return None

    def _count(self, kind: str) -> None:
        self.errors[kind] += 1
        if self._on_error is not None:
            self._on_error(kind)

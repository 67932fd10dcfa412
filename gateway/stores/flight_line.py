"""Calls under way, told to and heard from the other processes through Redis: one task, awake while there is any.

A call is known by its token, `<flight>:<random>`. Whoever leads it holds the flight's lease and renews it; a leader
that dies lets it end. What it has received so far is a log of sealed chunks, each under its number, so that a chunk
that is sent twice, or overtaken by the last one, changes nothing.

Invariants: what is told and what is heard never makes a request wait. Lease and log are read at one moment, so an end
is never missed. A call nobody listens to is told at leisure. Once the server is left alone, whoever follows has lost: a
request never waits for it to come back.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

import msgspec
from redis.exceptions import ResponseError

from gateway.core.caching import FlightLost

from .box import Box, Unreadable
from .cache_health import Health
from .lanes import Answer, Lanes
from .redis_link import RedisLink
from .scripts import Script

log = logging.getLogger("gateway.cache")

PREFIX = "gw:f1:"
"""The number goes up when what is kept of a call changes its form."""

LEASE_S = 2.0
RENEW_S = 0.5
LOG_KEPT_S = 30.0
TICK_S = 0.015
"""How soon what is new is told, once somebody listens."""

LEISURE_S = 0.1
"""How soon while nobody does: he who begins to listen waits for it once."""

IDLE_S = 0.05
"""How often a follower looks, after a while in which there was nothing."""

LONGEST_S = 3_600.0
"""A call that has not landed by then has no followers any more: whoever led it has forgotten it."""

PATIENCE_S = 0.5
MOST_BYTES = 64 * 2**20
"""Of the parts of one call; a larger one has no followers."""

READ_BYTES = 2**20
"""Read at once, and waiting for one follower, before no more is read for it."""

TICK_BYTES = 8 * 2**20
MOST_UNREADABLE = 1_000

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[bytes]).decode

_fly, _hear = Script("fly"), Script("hear")


def lease_of(flight: str) -> str:
    return f"{PREFIX}{flight}:lease"


def log_of(token: str) -> str:
    return PREFIX + token


def _names(token: str) -> tuple[str, str]:
    """Its lease and its log."""
    return lease_of(token.rpartition(":")[0]), log_of(token)


@dataclass(slots=True, eq=False)
class _Led:
    """parts: not sealed yet. chunk: the sealed one on its way, number `told`; it stays until the server has it."""

    token: str
    since: float
    renewed_at: float
    parts: list[bytes] = field(default_factory=list)
    size: int = 0
    told: int = 0
    chunk: bytes = b""
    heard: bool = False
    next_at: float = 0.0


@dataclass(slots=True, eq=False)
class _Followed:
    """read: chunks. parts: not yet taken by who follows. wake: set when there is something to take, or an end."""

    token: str
    heard_at: float
    read: int = 0
    parts: deque[bytes] = field(default_factory=deque)
    size: int = 0
    ended: bool = False
    lost: bool = False
    pause_s: float = TICK_S
    next_at: float = 0.0
    wake: asyncio.Event = field(default_factory=asyncio.Event)


class FlightLine:
    """Connections of its own: what is told in bulk never holds a look up."""

    def __init__(self, link: RedisLink, health: Health, box: Box) -> None:
        self._lanes = Lanes(link, health, (_fly, _hear), lanes=2, wait_s=PATIENCE_S, patience_s=PATIENCE_S)
        self._health = health
        health.on_off = self._lose_all
        self._box = box
        self._led: dict[str, _Led] = {}
        self._followed: set[_Followed] = set()
        self._given_up: list[str] = []
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.unreadable: deque[str] = deque(maxlen=MOST_UNREADABLE)
        """Calls that cannot be followed from here: their chunks do not open."""

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="flights")

    async def close(self) -> None:
        """Those who follow have lost. What is led from here ends with its lease."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait((self._task,), timeout=1.0)
        self._lose_all()
        await self._lanes.close()

    # Leading -----------------------------------------------------------------------------------------------------

    def leads(self, token: str) -> None:
        """The lease was taken just now."""
        now = time.monotonic()
        self._led[token] = _Led(token, since=now, renewed_at=now, next_at=now + LEISURE_S)
        self._wake.set()

    def give_up(self, token: str) -> None:
        """Nobody here makes the call: another one may lead at once."""
        self._led.pop(token, None)
        self._given_up.append(token)
        self._wake.set()

    def publish(self, token: str, parts: Sequence[bytes]) -> None:
        led = self._led.get(token)
        if led is None:  # its lease was lost: it goes on without followers
            return
        led.size += _size(parts)
        if led.size > MOST_BYTES:
            self.give_up(token)
            return
        led.parts.extend(parts)
        self._wake.set()

    def last_of(self, token: str, parts: Sequence[bytes]) -> tuple[int, list[bytes]]:
        """What a log still lacks, sealed, and the first one's number; -1 when there is no log. It is led no more."""
        led = self._led.pop(token, None)
        if led is None or led.size + _size(parts) > MOST_BYTES:
            return -1, []
        chunks = [led.chunk] if led.chunk else []
        rest = [*led.parts, *parts]
        if rest:
            chunks.append(self._sealed(token, led.told + len(chunks), rest))
        return led.told, chunks

    def _sealed(self, token: str, number: int, parts: Sequence[bytes]) -> bytes:
        return self._box.seal(_encode(parts), _place(token, number))

    # Following ---------------------------------------------------------------------------------------------------

    async def follow(self, token: str) -> AsyncIterator[bytes]:
        followed = _Followed(token, heard_at=time.monotonic())
        self._followed.add(followed)
        self._wake.set()
        try:
            while True:
                while followed.parts:
                    part = followed.parts.popleft()
                    followed.size -= _size((part,))
                    yield part
                if followed.lost:
                    raise FlightLost
                if followed.ended:
                    return
                followed.wake.clear()
                await followed.wake.wait()  # bounded: a server that says nothing loses it, see _heard
        finally:
            self._followed.discard(followed)

    # The task ----------------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        while True:
            if not (self._led or self._followed or self._given_up):
                self._wake.clear()
                await self._wake.wait()  # woken by the next call
            try:
                await self._tick()
            except Exception:  # a fault of ours: the others' calls must go on
                log.exception("a tick of the calls under way failed inside the gateway")
                self._lose_all()
            await asyncio.sleep(TICK_S)

    def _lose_all(self) -> None:
        for followed in self._followed:
            followed.lost = True
            followed.wake.set()

    async def _tick(self) -> None:
        now = time.monotonic()
        asked = [
            *((None, self._lanes.ask(_fly.call(_names(token), token, "0", "0", "0", ""))) for token in self._let_go()),
            *((led, self._lanes.ask(command)) for led, command in self._news(now)),
            *((one, self._lanes.ask(self._question(one))) for one in self._followed if self._wants(one, now)),
        ]
        for whose, future in asked:
            reply = await future  # within PATIENCE_S: the lanes see to it
            if isinstance(whose, _Led):
                self._told(whose, reply, now)
            elif whose is not None:
                self._heard(whose, reply, now)

    def _let_go(self) -> list[str]:
        tokens, self._given_up = self._given_up, []
        return tokens

    def _news(self, now: float) -> list[tuple[_Led, bytes]]:
        """What is told in this tick."""
        for token in [led.token for led in self._led.values() if now - led.since > LONGEST_S]:
            self.give_up(token)
        news: list[tuple[_Led, bytes]] = []
        room = TICK_BYTES
        for led in self._led.values():
            if room > 0 and led.parts and not led.chunk and now >= led.next_at:
                led.chunk, led.parts = self._sealed(led.token, led.told, led.parts), []
            if led.chunk or now - led.renewed_at >= RENEW_S:
                room -= len(led.chunk)
                words = (led.token, _ms(LEASE_S), _ms(LOG_KEPT_S), b"%d" % led.told, led.chunk)
                news.append((led, _fly.call(_names(led.token), *words)))
        return news

    def _told(self, led: _Led, reply: Answer, now: float) -> None:
        if self._was_refused(reply):
            self.give_up(led.token)
            return
        if not isinstance(reply, list):
            return  # away: the same again with the next tick
        stands, heard = reply
        if not stands:
            self._led.pop(led.token, None)
            return
        led.renewed_at = now
        if led.chunk:
            led.told, led.chunk = led.told + 1, b""
        led.heard = bool(heard)
        led.next_at = now if led.heard else now + LEISURE_S

    def _wants(self, followed: _Followed, now: float) -> bool:
        return not (followed.ended or followed.lost) and now >= followed.next_at and followed.size < READ_BYTES

    def _question(self, followed: _Followed) -> bytes:
        words = (followed.token, b"%d" % followed.read, b"%d" % READ_BYTES, _ms(LOG_KEPT_S))
        return _hear.call(_names(followed.token), *words)

    def _heard(self, followed: _Followed, reply: Answer, now: float) -> None:
        if followed.lost:  # meanwhile, with all others
            return
        if not isinstance(reply, list):
            self._was_refused(reply)
            silent_s = time.monotonic() - followed.heard_at
            followed.lost = isinstance(reply, ResponseError) or self._health.off or silent_s > LEASE_S
        else:
            followed.heard_at = time.monotonic()
            self._take(followed, reply)
        if followed.lost or followed.ended or followed.parts:
            followed.pause_s = TICK_S
            followed.wake.set()
        else:
            followed.pause_s = min(followed.pause_s * 1.2, IDLE_S)
        followed.next_at = now + followed.pause_s - TICK_S / 2  # at the tick nearest to it

    def _take(self, followed: _Followed, reply: list[object]) -> None:
        stands, total, *chunks = reply
        for chunk in chunks:
            place = _place(followed.token, followed.read)
            try:
                parts = _decode(self._box.open(chunk if isinstance(chunk, bytes) else b"", place))
            except (Unreadable, msgspec.MsgspecError):
                self._health.count("unreadable")
                self.unreadable.append(followed.token)
                followed.lost = True
                return
            followed.read += 1
            followed.parts.extend(parts)
            followed.size += _size(parts)
        followed.ended = followed.read == total
        # Nobody makes it any more, and what there was of it has been read.
        followed.lost = not followed.ended and not chunks and (total != -1 or not stands)

    def _was_refused(self, reply: Answer) -> bool:
        if isinstance(reply, ResponseError):
            self._health.was_refused(type(reply).__name__)
            return True
        return False


def _place(token: str, number: int) -> bytes:
    return b"%b%b#%d" % (PREFIX.encode(), token.encode(), number)


def _size(parts: Sequence[bytes]) -> int:
    return sum(len(part) + 8 for part in parts)


def _ms(seconds: float) -> bytes:
    return b"%d" % (seconds * 1_000)

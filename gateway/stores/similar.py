"""Questions that were answered, found again by questions like them, on plain Redis or Valkey: contracts.Neighbours.

All that is kept of one context (everything of a request but the text of its last message) has one index: 32 bytes of
signature and the key of the answer for each question, in the order in which they end. One round trip reads the index,
at most MOST entries of 64 bytes; the closest signatures are found here, and a second one reads their vectors, which are
compared exactly. Vectors and texts are sealed like answers; signatures say nothing without the secret.

It never fails a request: a store that is away, slow or full is "nothing like it". Whoever looks waits TIMEOUT_S at
most, for both round trips together.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence

import msgspec
from redis.exceptions import ResponseError

from gateway.core.contracts import Near
from gateway.vectors import Signer, cosines, most_apart, nearest, packed, unit

from .box import Box, Unreadable
from .cache_health import Health
from .lanes import Lanes
from .redis_link import RedisLink
from .redis_link import packed as command
from .scripts import Script

PREFIX = "gw:s1:"
"""The number goes up when the stored form changes, so that two versions of the gateway never read each other's."""

TIMEOUT_S = 0.05
WRITE_PATIENCE_S = 1.0
READERS, WRITERS = 2, 1

MOST = 1_000
"""Questions of one context; past it those that end first are gone."""

MOST_COMPARED = 64
MOST_NEAR = 8

_SIGNATURE_BYTES = 32
_similar = Script("similar")


class _Question(msgspec.Struct, frozen=True, array_like=True):
    vector: bytes
    text: str


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Question).decode


class RedisSimilar:
    """secret: what signatures are made with; the same in all processes that share the store."""

    def __init__(
        self,
        url: str,
        keys: Sequence[bytes],
        secret: bytes,
        *,
        timeout_s: float = TIMEOUT_S,
        on_error: Callable[[str], None] | None = None,
    ) -> None:
        """keys: of the box, the one that seals first. Raises ValueError when the address is none; never repeats it."""
        self._box = Box(keys)
        self._signer = Signer(secret)
        self._timeout_s = timeout_s
        self._health = Health(on_error)
        self._link = RedisLink(url, connections=READERS + WRITERS)
        self._reads = Lanes(self._link, self._health, (), lanes=READERS, wait_s=timeout_s, patience_s=timeout_s)
        self._writes = Lanes(
            self._link, self._health, (_similar,), lanes=WRITERS, wait_s=timeout_s, patience_s=WRITE_PATIENCE_S
        )

    async def close(self) -> None:
        await self._reads.close()
        await self._writes.close()
        await self._link.close()

    async def find(self, context: str, vector: Sequence[float], threshold: float) -> list[Near]:
        """Those of at least this cosine, the closest first."""
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._find(context, vector, threshold)
        except TimeoutError:
            return []

    async def keep(self, context: str, vector: Sequence[float], text: str, key: str, ends_us: int) -> None:
        try:
            direction = unit(vector)
        except ValueError:
            return
        index, raw_key = _index(context), bytes.fromhex(key)
        name = _name(context, raw_key)
        sealed = self._box.seal(_encode(_Question(packed(direction), text)), name)
        reply = await self._writes.ask(
            _similar.call(
                (index, name), self._signer.sign(direction) + raw_key, b"%d" % (time.time_ns() // 1_000_000),
                b"%d" % (ends_us // 1_000), sealed, b"%d" % MOST, b"%d" % _SIGNATURE_BYTES, _name(context, b""),
            )
        )  # fmt: skip
        if isinstance(reply, ResponseError):
            self._health.was_refused(type(reply).__name__)

    async def _find(self, context: str, vector: Sequence[float], threshold: float) -> list[Near]:
        try:
            direction = unit(vector)
        except ValueError:
            return []
        since = b"(%d" % (time.time_ns() // 1_000_000)
        asked = command("ZREVRANGEBYSCORE", _index(context), "+inf", since, "LIMIT", "0", b"%d" % MOST)
        members = await self._reads.ask(asked)
        if not isinstance(members, list):
            return []
        signatures = (member[:_SIGNATURE_BYTES] for member in members)
        signature, most_bits = self._signer.sign(direction), most_apart(threshold)
        places = nearest(signature, signatures, most_bits=most_bits, most=MOST_COMPARED)
        keys = list(dict.fromkeys(members[place][_SIGNATURE_BYTES:] for place in places))
        if not keys:
            return []
        names = [_name(context, key) for key in keys]
        values = await self._reads.ask(command("MGET", *names))
        if not isinstance(values, list):
            return []
        known = [
            (key, question)
            for key, name, value in zip(keys, names, values, strict=True)
            if value is not None and (question := self._opened(name, value)) is not None
        ]
        alike = cosines(direction, [question.vector for _, question in known])
        found = [
            Near(key.hex(), question.text, cosine)
            for (key, question), cosine in zip(known, alike, strict=True)
            if cosine >= threshold
        ]
        return sorted(found, key=lambda near: -near.similarity)[:MOST_NEAR]

    def _opened(self, name: bytes, sealed: bytes) -> _Question | None:
        try:
            return _decode(self._box.open(sealed, name))
        except (Unreadable, msgspec.MsgspecError, UnicodeDecodeError):
            self._health.count("unreadable")
            return None


def _index(context: str) -> bytes:
    """All of a context lies in one slot of a cluster, by its braces."""
    return f"{PREFIX}{{{context}}}".encode()


def _name(context: str, key: bytes) -> bytes:
    return _index(context) + b":" + key

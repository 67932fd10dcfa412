"""Looks after what the response cache keeps: counts, lists, removes and purges it. Not for requests: it takes its time.

Names are those in the store; they are made from a key that tells nothing, and no content is ever logged.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

import msgspec
from redis.exceptions import RedisError

from gateway.core.caching import CachedAnswer, purged

from .box import Box, Unreadable
from .redis_link import GONE, RedisLink, Word, packed
from .scripts import Script

PREFIX = "gw:c3:"
"""The number goes up when the stored form changes, so that two versions of the gateway never read each other's."""

PURGES = PREFIX + "purges"
MOST_LABELS = 4_096
"""Purged labels that are kept apart; past it the oldest half becomes one purge of everything older."""

PATIENCE_S = 5.0
CONNECTIONS = 4
SCAN_COUNT = 500
READ_BYTES = 4 * 2**20
"""Values read at once, or one that is larger."""

_decode = msgspec.msgpack.Decoder(CachedAnswer).decode

_purge = Script("purge")


class CacheUnavailable(Exception):
    """The response cache's store cannot be reached, or refuses; nothing is known to have been done."""


class Entry(msgspec.Struct, frozen=True):
    """A kept value. stored_bytes: as it lies there, sealed. ttl_ms: until it ends. answer: None when it does not open.

    reason: why it would not be replayed: unreadable, foreign or purged; "" when it would.
    """

    name: str
    stored_bytes: int
    ttl_ms: int
    answer: CachedAnswer | None
    reason: str


class StoreFacts(msgspec.Struct, frozen=True):
    """What the store tells of itself. It may be shared with other parts of the gateway, which these figures include.

    keys: of our database. maxmemory_bytes: 0 when it has no bound of its own.
    """

    evicted_keys: int
    expired_keys: int
    used_memory_bytes: int
    maxmemory_bytes: int
    maxmemory_policy: str
    keys: int


def opened(box: Box, name: str, sealed: bytes) -> CachedAnswer:
    """Raises Unreadable."""
    try:
        return _decode(box.open(sealed, name.encode()))
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise Unreadable from None


def purges_of(reply: object) -> tuple[int, dict[str, int]]:
    """The epoch and the purges by label, from HGETALL; the epoch is 0 when there are none."""
    flat = reply if isinstance(reply, list) else []
    purges = {name.decode(): int(epoch) for name, epoch in zip(flat[::2], flat[1::2], strict=True)}
    return purges.pop("epoch", 0), purges


class KeptAnswers:
    """`deleted` counts values that were removed before their end, `unreadable` those that did not open."""

    def __init__(self, url: str, keys: Sequence[bytes]) -> None:
        """keys: of the box; the first seals. Raises ValueError when the address is none, without repeating it."""
        self._slow = RedisLink(url, connections=CONNECTIONS, connect_timeout_s=PATIENCE_S, timeout_s=PATIENCE_S)
        self._box = Box(keys)
        self.deleted = 0
        self.unreadable = 0

    async def close(self) -> None:
        await self._slow.close()

    async def ping(self) -> bool:
        """The server answers now, whatever is thought of it."""
        try:
            return await self._slow.ask([packed("PING")], timeout_s=0.25) == [b"PONG"]
        except GONE:
            return False

    async def purge(self, labels: Sequence[str]) -> int:
        """Everything that carries one of them and was asked for until now is gone. The new epoch.

        Raises CacheUnavailable, and ValueError for no labels.
        """
        if not labels or "epoch" in labels:
            raise ValueError("a purge names labels of kept answers")
        call = _purge.call((PURGES,), b"%d" % MOST_LABELS, *labels)
        (_, epoch) = await self._manage(_purge.load, call)
        return int(epoch)

    async def purges(self) -> tuple[int, dict[str, int]]:
        """The epoch, and of each label the epoch of its last purge. Raises CacheUnavailable."""
        (reply,) = await self._manage(packed("HGETALL", PURGES))
        return purges_of(reply)

    async def entries(self) -> AsyncIterator[Entry]:
        """All that is kept, in no order; what comes and goes meanwhile may be told or not, or twice.

        Raises CacheUnavailable.
        """
        cursor: Word = b"0"
        while True:
            ((cursor, names),) = await self._manage(
                packed("SCAN", cursor, "MATCH", PREFIX + "*", "COUNT", str(SCAN_COUNT), "TYPE", "string")
            )
            async for entry in self._entries([name.decode() for name in names]):
                yield entry
            if cursor == b"0":
                return

    async def inspect(self, key: str, scope: str) -> Entry | None:
        """What is kept under a key, as a request of this scope would be told; nothing is removed."""
        async for entry in self._entries([PREFIX + key]):
            foreign = entry.answer is not None and entry.answer.scope != scope
            return msgspec.structs.replace(entry, reason="foreign") if foreign else entry
        return None

    async def delete(self, names: Sequence[str]) -> int:
        """How many there were. Names are those of entries. Raises CacheUnavailable, and ValueError for other names."""
        if any(not name.startswith(PREFIX) or name == PURGES for name in names):
            raise ValueError("only kept answers are deleted here")
        gone = 0
        for at in range(0, len(names), SCAN_COUNT):
            (count,) = await self._manage(packed("UNLINK", *names[at : at + SCAN_COUNT]))
            gone += count
        self.deleted += gone
        return gone

    async def facts(self) -> StoreFacts:
        """Raises CacheUnavailable."""
        info, keys = await self._manage(packed("INFO"), packed("DBSIZE"))
        said = dict(line.split(":", 1) for line in info.decode().splitlines() if ":" in line)
        return StoreFacts(
            evicted_keys=int(said.get("evicted_keys", 0)),
            expired_keys=int(said.get("expired_keys", 0)),
            used_memory_bytes=int(said.get("used_memory", 0)),
            maxmemory_bytes=int(said.get("maxmemory", 0)),
            maxmemory_policy=said.get("maxmemory_policy", ""),
            keys=keys,
        )

    async def _entries(self, names: Sequence[str]) -> AsyncIterator[Entry]:
        if not names:
            return
        sizes = await self._manage(packed("HGETALL", PURGES), *(packed("STRLEN", name) for name in names))
        _, purges = purges_of(sizes[0])
        for group in _grouped(names, sizes[1:]):
            asked = [command for name in group for command in (packed("GET", name), packed("PTTL", name))]
            replies = await self._manage(*asked)
            for name, value, ttl_ms in zip(group, replies[::2], replies[1::2], strict=True):
                if value is not None:
                    yield self._entry(name, value, ttl_ms, purges)

    def _entry(self, name: str, value: bytes, ttl_ms: int, purges: dict[str, int]) -> Entry:
        try:
            answer = opened(self._box, name, value)
        except Unreadable:
            return Entry(name, len(value), ttl_ms, None, "unreadable")
        return Entry(name, len(value), ttl_ms, answer, "purged" if purged(answer, purges) else "")

    async def _manage(self, *commands: bytes) -> list[Any]:  # Any: replies of any kind
        try:
            replies = await self._slow.ask(commands)
        except GONE as exc:
            raise CacheUnavailable(f"the response cache's store cannot be reached ({type(exc).__name__})") from exc
        for reply in replies:
            if isinstance(reply, RedisError):
                # The kind of error only: a server's words may repeat a command.
                raise CacheUnavailable(f"the response cache's store refuses ({type(reply).__name__})") from reply
        return replies


def _grouped(names: Sequence[str], sizes: Sequence[int]) -> list[list[str]]:
    groups: list[list[str]] = []
    room = 0
    for name, size in zip(names, sizes, strict=True):
        if not groups or size > room:
            groups.append([])
            room = READ_BYTES
        groups[-1].append(name)
        room -= size
    return groups

"""Kept answers and caches for the tests of the response cache."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec

from gateway.core.caching import CachedAnswer, FlightLost, Lookup, Role
from gateway.core.pricing import Usage
from gateway.stores.box import box_key
from gateway.stores.redis_cache import RedisCache

KEYS = [box_key(b"a text of an operator, long enough")]
OTHER_KEYS = [box_key(b"another text, which is long enough")]
SCOPE = "team:search"
FRESH_US, KEPT_US = 600_000_000, 900_000_000
MARGIN_S = 2.0  # what a busy test machine may add to a deadline; timeouts that add up would take longer still

ANSWER = CachedAnswer(
    scope=SCOPE,
    route="faq",
    team="search",
    tags={"app": "docs"},
    model="openai/gpt-6-luna",
    body=b'{"id":"x","choices":[{"message":{"content":"caf\xc3\xa9"}}]}',
    usage=Usage(input=12, output=34),
    service_tier=None,
    finish_reason="stop",
    epoch=1,
    kept_at_us=0,
    fresh_until_us=FRESH_US,
    revalidate_until_us=0,
    fallback_until_us=KEPT_US,
)


def key_of(number: int) -> str:
    return f"{number:064x}"


def answer(epoch: int, **changes: object) -> CachedAnswer:
    """Kept just now."""
    now_us = time.time_ns() // 1_000
    times = {"kept_at_us": now_us, "fresh_until_us": now_us + FRESH_US, "fallback_until_us": now_us + KEPT_US}
    return msgspec.structs.replace(ANSWER, epoch=epoch, **{**times, **changes})


@asynccontextmanager
async def cache_on(url: str, keys: list[bytes] = KEYS, **options: float) -> AsyncIterator[RedisCache]:
    """Generous by itself: only tests of deadlines mean their deadlines."""
    cache = RedisCache(url, keys, **{"timeout_s": 2.0, **options})
    cache.start()
    yield cache
    await cache.close()


async def look(cache: RedisCache, number: int = 1, scope: str = SCOPE) -> Lookup:
    """Sharing nothing."""
    return await cache.look(key_of(number), scope, flight="")


async def kept(cache: RedisCache, number: int = 1, **changes: object) -> CachedAnswer:
    """An answer that was asked for now, kept."""
    made = answer((await look(cache, number)).epoch, **changes)
    await cache.put(key_of(number), made)
    return made


async def leads(cache: RedisCache, flight: str = "f") -> Lookup:
    found = await cache.lead(flight)
    assert found.role is Role.LEAD
    return found


async def heard(cache: RedisCache, token: str, *, within_s: float = 20.0) -> list[bytes]:
    """All parts, to the end."""
    async with asyncio.timeout(within_s):
        return [part async for part in cache.follow(token)]


async def lost_after(cache: RedisCache, token: str) -> tuple[list[bytes], float]:
    """What was heard until the call was lost, and how many seconds that took."""
    began, parts = time.monotonic(), []
    try:
        async with asyncio.timeout(20.0):
            async for part in cache.follow(token):
                parts.append(part)
    except FlightLost:
        return parts, time.monotonic() - began
    raise AssertionError("the call ended")

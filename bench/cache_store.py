"""What looking in the response cache costs: CPU of the gateway for one look, and how long it takes.

A real embedded store, which is another process: process_time counts the gateway's side alone. A hit opens a sealed
answer of 2 KB; a miss leads a call, which lands at once with its answer. The median of the rounds is shown, and the
fastest.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import uvloop

from gateway.core.caching import CachedAnswer, Role
from gateway.core.pricing import Usage
from gateway.stores.box import box_key
from gateway.stores.embedded import EmbeddedStore
from gateway.stores.redis_cache import RedisCache

TARGET_US = 40
"""CPU of the gateway a hit, at 32 at once."""

SCOPE = "team:bench"


def answer(epoch: int) -> CachedAnswer:
    """2 KB, half of it as regular as JSON is."""
    now_us = time.time_ns() // 1_000
    body = os.urandom(512).hex().encode() + b'{"role":"assistant","content":"' * 33
    return CachedAnswer(
        scope=SCOPE, route="faq", team="bench", tags={}, model="openai/gpt-6-luna", body=body,
        usage=Usage(input=12, output=34), service_tier=None, finish_reason="stop", epoch=epoch, kept_at_us=now_us,
        fresh_until_us=now_us + 10**9, revalidate_until_us=0, fallback_until_us=0,
    )  # fmt: skip


async def measured(once: Callable[[int], Awaitable[None]], count: int, at_once: int) -> tuple[float, float]:
    """Microseconds of CPU and of time a call."""
    numbers = iter(range(count))

    async def caller() -> None:
        for number in numbers:
            await once(number)

    began, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*(caller() for _ in range(at_once)))
    return (time.process_time() - cpu) / count * 1e6, (time.perf_counter() - began) / count * 1e6


async def run(rounds: int, count: int) -> bool:
    with tempfile.TemporaryDirectory() as folder:
        async with EmbeddedStore(Path(folder)) as store:
            cache = RedisCache(store.url, [box_key(b"bench")])
            cache.start()
            kept = answer((await cache.look("hit", SCOPE, flight="")).epoch)
            await cache.put("hit", kept)

            async def hit(_: int) -> None:
                assert (await cache.look("hit", SCOPE, flight="hit")).answer is not None

            async def miss(number: int) -> None:
                key = f"{time.monotonic_ns()}-{number}"
                found = await cache.look(key, SCOPE, flight=key)
                assert found.role is Role.LEAD
                made = msgspec.structs.replace(kept, epoch=found.epoch)
                await cache.land(found.flight, [kept.body], key=key, answer=made)

            good = True
            print(f"{'us':<18}{'at once':>8}{'CPU median':>12}{'fastest':>10}{'time median':>13}")
            for name, once in (("hit", hit), ("miss and landing", miss)):
                for at_once in (1, 32):
                    await measured(once, count // 10, at_once)
                    found = [await measured(once, count, at_once) for _ in range(rounds)]
                    used, took = zip(*found, strict=True)
                    middle = statistics.median(used)
                    print(f"{name:<18}{at_once:>8}{middle:>12.1f}{min(used):>10.1f}{statistics.median(took):>13.1f}")
                    good = good and (name != "hit" or at_once == 1 or min(used) < TARGET_US)
            print(f"errors: {dict(cache.errors)}")
            await cache.close()
    return good and not cache.errors


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="how often each is measured (default: 5)")
    parser.add_argument("--count", type=int, default=5_000, help="calls in a round (default: 5000)")
    asked = parser.parse_args()
    if not uvloop.run(run(asked.rounds, asked.count)):
        raise SystemExit(f"more than {TARGET_US} us of CPU a hit, or errors")


if __name__ == "__main__":
    main()

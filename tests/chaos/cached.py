"""The store frozen, refused and flushed under load on a cached route: requests flow, nothing hangs, hits come back."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import aiohttp

from gateway.simulator import Scenario
from gateway.stores.embedded import EmbeddedStore

from .coalesce import shared_routes
from .stage import KEYS, Stage, Verdict, compare, percentile, stage

CLIENTS = 4
"""Of each kind of work."""

NEW, KNOWN, PLAIN = KINDS = ("new", "known", "plain")
"""Questions that nobody asked before, and such that many ask; new ones on a route like the other, but without a cache:
what the accounts cost while the store is away, they cost there too."""

PAUSE_S = 0.02
MOST_ADDED_MS = 50.0
RETURNS_S = 15.0
"""A store that was away is looked at again after ten seconds at most."""


@dataclass
class Heard:
    """What the clients heard. words: of the cache; took_ms: by kind of work."""

    words: Counter = field(default_factory=Counter)
    failed: Counter = field(default_factory=Counter)
    took_ms: dict[str, list[float]] = field(default_factory=lambda: {kind: [] for kind in KINDS})

    def figures(self, kind: str) -> tuple[float, float, float]:
        took = self.took_ms[kind]
        return percentile(took, 50), percentile(took, 99), max(took)

    @property
    def hits(self) -> float:
        """The share of known questions that were answered from the cache."""
        return self.words["hit"] / len(self.took_ms[KNOWN])

    def show(self, when: str) -> None:
        told = [f"{kind} " + " ".join(f"{one:.0f}" for one in self.figures(kind)) for kind in KINDS]
        print(f"  {when}, ms (p50 p99 most): {', '.join(told)}; {dict(self.words)}", flush=True)


async def run(folder: Path, *, seconds: float = 10.0) -> bool:
    print(f"cached: the store frozen and refused for {seconds:g} s each, and flushed; 2 workers", flush=True)
    verdict = Verdict()
    home = folder / "redis"
    store = EmbeddedStore(home)
    await store.start()
    try:
        async with stage(folder, shared_routes(), workers=2, more={"REDIS_URL": store.url}) as on:
            on.sim.set_scenario(None, Scenario(ttft_ms=20, gap_ms=1, answer_tokens=20, reasoning_tokens=0))
            numbers = count()
            await _load(on, 2, numbers)
            calm = await _load(on, seconds, numbers)
            calm.show("calm")
            _all_well(verdict, "calm", calm)
            verdict.hold("calm: known questions are answered from the cache", calm.hits > 0.8, f"{calm.hits:.0%}")

            await _away(on, verdict, "frozen", seconds, numbers, lambda: os.kill(store.pid, signal.SIGSTOP))
            os.kill(store.pid, signal.SIGCONT)
            await _back(on, verdict, "frozen", numbers)

            await _away(on, verdict, "refused", seconds, numbers, lambda: os.kill(store.pid, signal.SIGKILL))
            await store.close()
            store = EmbeddedStore(home)
            await store.start()
            await _back(on, verdict, "refused", numbers)

            await _away(on, verdict, "flushed", seconds, numbers, on.store.flushall)
            await _back(on, verdict, "flushed", numbers)
            rested = await on.at_rest(90)
            verdict.hold("held afterwards", rested and on.held() == 0, on.held())
    finally:
        await store.close()
    async with asyncio.timeout(20):
        await on.sim.idle()
    books = compare(folder, on.sim)
    verdict.hold("lost, doubled, mispriced rows", books.good, books.faults)
    return verdict.kept


async def _away(
    on: Stage, verdict: Verdict, what: str, seconds: float, numbers: count, blow: Callable[[], object]
) -> None:
    """The blow falls while requests are under way; the first of them, who find it out, count as well."""
    loading = asyncio.create_task(_load(on, seconds, numbers))
    await asyncio.sleep(min(1.0, seconds / 5))
    blow()
    heard = await loading
    heard.show(what)
    _all_well(verdict, what, heard)
    for kind in (NEW, KNOWN):
        added = [one - plain for one, plain in zip(heard.figures(kind), heard.figures(PLAIN), strict=True)]
        verdict.hold(f"{what}: {kind} questions wait longer than without a cache by (p50 p99 most)",
                     max(added) <= MOST_ADDED_MS, " ".join(f"{one:.1f}" for one in added) + " ms")  # fmt: skip


async def _back(on: Stage, verdict: Verdict, what: str, numbers: count) -> None:
    began = time.monotonic()
    while time.monotonic() < began + RETURNS_S:
        heard = await _load(on, 1, numbers)
        if heard.hits > 0.8:
            break
    _all_well(verdict, f"{what}, back", heard)
    verdict.hold(f"{what}, back: hits again", heard.hits > 0.8, f"after {time.monotonic() - began:.0f} s")


def _all_well(verdict: Verdict, what: str, heard: Heard) -> None:
    verdict.hold(f"{what}: failed of {sum(heard.words.values())}", not heard.failed, dict(heard.failed) or 0)


async def _load(on: Stage, seconds: float, numbers: count) -> Heard:
    heard = Heard()
    until = time.monotonic() + seconds
    headers = {"authorization": f"Bearer {KEYS['free']}"}
    connector = aiohttp.TCPConnector(limit=0, force_close=True)  # so that both workers have their share

    async def client(session: aiohttp.ClientSession, kind: str) -> None:
        while time.monotonic() < until:
            number = next(numbers)
            question = f"known {number // 200}" if kind == KNOWN else f"new {number}"
            body = {"model": "plain" if kind == PLAIN else "shared", "stream": number % 3 == 0,
                    "messages": [{"role": "user", "content": question}]}  # fmt: skip
            began = time.monotonic()
            try:
                async with session.post("/v1/chat/completions", json=body) as reply:
                    answer = await reply.read()
            except (aiohttp.ClientError, TimeoutError, OSError) as exc:
                heard.failed[type(exc).__name__] += 1
                continue
            heard.took_ms[kind].append((time.monotonic() - began) * 1e3)
            heard.words[reply.headers.get("x-gateway-cache", "")] += 1
            if reply.status != 200 or (body["stream"] and not answer.endswith(b"data: [DONE]\n\n")):
                heard.failed[f"{reply.status} {answer[-200:]!r}"] += 1
            await asyncio.sleep(PAUSE_S)

    timeout = aiohttp.ClientTimeout(total=30)
    async with aiohttp.ClientSession(on.gateway.url, timeout=timeout, connector=connector, headers=headers) as session:
        await asyncio.gather(*(client(session, kind) for kind in KINDS * CLIENTS))
    return heard

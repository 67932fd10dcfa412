"""The store frozen, refused, flushed and set back under load: money fails closed, the rest flows, no row is lost."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from pathlib import Path

from gateway.stores.embedded import EmbeddedStore

from .rolling import steady
from .stage import Seen, Stage, Verdict, compare, load, percentile, routes, sqlite_rows, stage

SETTLES_S = 3.0
"""How long after a blow everybody may still be finding out."""


async def run(folder: Path, *, seconds: float = 10.0) -> bool:
    print(f"store: frozen and refused for {seconds:g} s each, flushed, set back; 2 workers", flush=True)
    verdict = Verdict()
    home = folder / "redis"
    store = EmbeddedStore(home)
    await store.start()
    try:
        async with stage(folder, routes("100000"), workers=2, more={"REDIS_URL": store.url}) as on:
            calm = await _phase(on, seconds)
            verdict.hold("calm: all answered", set(calm["free"].statuses) == set(calm["paying"].statuses) == {200})

            os.kill(store.pid, signal.SIGSTOP)
            await _away(on, verdict, "frozen", seconds, calm)
            os.kill(store.pid, signal.SIGCONT)
            await _back(on, verdict, "frozen")

            os.kill(store.pid, signal.SIGKILL)
            await _away(on, verdict, "refused", seconds, calm)
            await store.close()
            store = EmbeddedStore(home)
            await store.start()
            await _back(on, verdict, "refused")

            both = asyncio.create_task(_phase(on, seconds))
            await asyncio.sleep(seconds / 2)
            on.store.flushall()
            await _all_answered(verdict, "flushed", await both)

            await store.close()
            shutil.copytree(home / "valkey", folder / "older")
            store = EmbeddedStore(home)
            await store.start()
            await asyncio.sleep(1.0)
            await _phase(on, seconds)
            await store.close()
            shutil.rmtree(home / "valkey")
            shutil.copytree(folder / "older", home / "valkey")
            store = EmbeddedStore(home)
            await store.start()
            await _back(on, verdict, "set back")

            await asyncio.sleep(12)  # counters below the ledger are raised every ten seconds
            verdict.hold("held afterwards", await on.at_rest(90) and on.held() == 0, on.held())
            spent = on.spent("paying-month")
    finally:
        await store.close()
    async with asyncio.timeout(20):
        await on.sim.idle()
    books = compare(folder, on.sim)
    verdict.hold("lost, doubled, mispriced rows", books.good, books.faults)
    paying = sum(row["cost_nano"] for row in _rows_of(folder, "paying"))
    verdict.hold("counter is the ledger", spent == paying, f"{spent} = {paying}")
    return verdict.kept


def _rows_of(folder: Path, team: str) -> list[dict]:
    return [row for row in sqlite_rows(folder) if row["team"] == team]


async def _phase(on: Stage, seconds: float) -> dict[str, Seen]:
    """Both teams at once for so long."""
    found = {}
    for team in ("free", "paying"):
        found[team] = Stage(on.sim, on.gateway, on.store)
    await asyncio.gather(
        *(load(one, seconds=seconds, at_once=6, team=team, make=steady) for team, one in found.items())
    )
    return {team: one.seen for team, one in found.items()}


async def _away(on: Stage, verdict: Verdict, what: str, seconds: float, calm: dict[str, Seen]) -> None:
    first = await _phase(on, SETTLES_S)
    seen = await _phase(on, seconds)
    for team in ("free", "paying"):
        verdict.hold(f"{what}: {team} never fails otherwise", not (first[team].failed or seen[team].failed))
    verdict.hold(f"{what}: without a hard budget all are answered", set(seen["free"].statuses) == {200},
                 dict(seen["free"].statuses))  # fmt: skip
    verdict.hold(f"{what}: under a hard budget all are refused with 503", set(seen["paying"].statuses) == {503},
                 dict(seen["paying"].statuses))  # fmt: skip
    added = _p99(seen["free"]) - _p99(calm["free"])
    verdict.hold(f"{what}: added p99 once it is known", added < 0.05, f"{added * 1e3:.1f} ms")


async def _back(on: Stage, verdict: Verdict, what: str) -> None:
    await asyncio.sleep(SETTLES_S)
    await _all_answered(verdict, f"{what}, back", await _phase(on, SETTLES_S))


async def _all_answered(verdict: Verdict, what: str, seen: dict[str, Seen]) -> None:
    for team, one in seen.items():
        good = set(one.statuses) == {200} and not one.failed
        verdict.hold(f"{what}: {team} is answered", good, dict(one.statuses))


def _p99(seen: Seen) -> float:
    return percentile(seen.took_s, 99)

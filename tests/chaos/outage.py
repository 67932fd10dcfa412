"""A provider that fails everything, and returns; then two of three. Nobody is failed, and nobody is asked in vain."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections import Counter
from pathlib import Path

from gateway.simulator import Scenario

from .rolling import steady
from .stage import Seen, Stage, Verdict, compare, load, routes, stage

WORKERS = 4
CLIENTS = 16
PAUSE_S = 0.15
"""Between two requests of a client: about a hundred a second in all."""

RETURN_S = 30.0
MOST = 1.1
SICK, ALSO_SICK = "deepseek", "google"
"""The two cheapest of the three."""


async def run(folder: Path, *, minutes: float = 0.3) -> bool:
    print(f"outage: {SICK} answers 503 for {minutes:g} minutes, then is well again; {WORKERS} workers", flush=True)
    verdict = Verdict()
    async with stage(folder, routes("100000"), workers=WORKERS) as on:
        await _phase(on, 4)
        print(f"  before: {_shares(on, 0)}")

        since = len(on.sim.bill)
        on.sim.set_scenario(SICK, Scenario(fault="http_503"))
        seen = await _phase(on, minutes * 60)
        _judge(verdict, on, since, seen, f"{SICK} down")

        on.sim.set_scenario(SICK, None)
        since, well_at = len(on.sim.bill), time.time()
        seen = await _phase(on, RETURN_S)
        returned = _returned_s(on, since, well_at)
        verdict.hold(f"traffic returned within {RETURN_S:g} s", returned < RETURN_S, f"{returned:.1f} s")
        verdict.hold("failed meanwhile", not _failed(seen), _failed(seen))

        since = len(on.sim.bill)
        for provider in (SICK, ALSO_SICK):
            on.sim.set_scenario(provider, Scenario(fault="http_503"))
        seen = await _phase(on, max(minutes * 20, 20))
        _judge(verdict, on, since, seen, "two of three down")
        rested = await on.at_rest(20)
        held = on.held()
    books = compare(folder, on.sim)
    verdict.hold("lost, doubled, mispriced rows", books.good, books.faults)
    verdict.hold("held afterwards", rested and held == 0, held)
    return verdict.kept


async def _phase(on: Stage, seconds: float) -> Seen:
    await load(on, seconds=seconds, at_once=CLIENTS, make=steady, pause_s=PAUSE_S)
    async with asyncio.timeout(30):
        await on.sim.idle()
    return on.afresh()


def _judge(verdict: Verdict, on: Stage, since: int, seen: Seen, when: str) -> None:
    requests = len(seen.took_s)
    lines = on.sim.bill[since:]
    sick = sum(line.status == 503 for line in lines)
    verdict.hold(f"{when}: failed of {requests} requests", not _failed(seen), _failed(seen))
    verdict.hold(
        f"{when}: attempts a request, at most {MOST:g}", len(lines) <= MOST * requests, f"{len(lines) / requests:.4f}"
    )
    took_ms = statistics.quantiles([one * 1e3 for one in seen.took_s], n=100)
    print(f"       {sick} attempts in vain ({sick / requests:.4f} a request); {_shares(on, since)}")
    print(f"       a request took {took_ms[49]:.1f} ms (p50), {took_ms[98]:.1f} ms (p99)", flush=True)


def _failed(seen: Seen) -> int:
    return len(seen.failed) + seen.cut + sum(count for status, count in seen.statuses.items() if status != 200)


def _returned_s(on: Stage, since: int, well_at: float) -> float:
    """When the last request went elsewhere."""
    elsewhere = [line.received_at for line in on.sim.bill[since:] if line.provider != SICK]
    return max(elsewhere, default=well_at) - well_at


def _shares(on: Stage, since: int) -> str:
    counted = Counter(line.provider for line in on.sim.bill[since:])
    return ", ".join(f"{provider} {count}" for provider, count in counted.most_common())

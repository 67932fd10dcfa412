"""kill -9 of a random worker, over and over, under load: no attempt is lost, none is booked twice."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
from pathlib import Path

from .stage import Verdict, compare, load, routes, stage

WORKERS = 4


async def run(folder: Path, *, times: int = 100) -> bool:
    print(f"kill: {times} times kill -9 of one of {WORKERS} workers", flush=True)
    verdict = Verdict()
    async with stage(folder, routes("100000"), workers=WORKERS) as on:
        loading = asyncio.create_task(load(on, seconds=3_600, at_once=30))
        killed = await _kill(on.gateway, times)
        loading.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await loading
        rested = await on.at_rest(100)  # a lease is a minute; then whoever lives sweeps
        spent, held = on.spent("paying-month"), on.held()
        answered = on.seen.statuses[200]
    async with asyncio.timeout(20):
        await on.sim.idle()
    books = compare(folder, on.sim)
    verdict.hold("killed", killed == times, killed)
    verdict.hold("answered all the while", answered > 10 * times, f"{answered} answers, {len(on.seen.failed)} cut off")
    verdict.hold("lost", not books.lost, len(books.lost))
    verdict.hold("doubled", not books.doubled, len(books.doubled))
    verdict.hold("settled rows that differ from their bill", not books.mispriced, len(books.mispriced))
    verdict.hold("settled rows that nobody billed", not books.unbilled_settled, books.unbilled_settled)
    verdict.hold("held afterwards", rested and held == 0, held)
    total = books.settled_nano + books.uncertain_nano
    verdict.hold("counter is the ledger", spent == total, f"{spent} = {total}")
    print(f"       {books.attempts} attempts, in flight at a kill and booked at their hold: {books.outcomes['lost']}")
    return verdict.kept


async def _kill(gateway, times: int) -> int:
    dice = random.Random(times)
    killed = 0
    deadline = asyncio.get_running_loop().time() + 10 * times + 60
    while killed < times and asyncio.get_running_loop().time() < deadline:
        await asyncio.sleep(dice.uniform(0.2, 0.6))
        pids = gateway.worker_pids()
        if len(pids) < WORKERS - 1:  # let them come back, or nobody would be left to answer
            continue
        with contextlib.suppress(ProcessLookupError):
            os.kill(dice.choice(pids), signal.SIGKILL)
            killed += 1
    return killed

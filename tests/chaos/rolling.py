"""Workers are told to leave, one after the other, under load: no request fails, no row is missing."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
from pathlib import Path

from .stage import Verdict, compare, load, routes, stage

WORKERS = 4


def steady(dice: random.Random, number: int) -> tuple[dict, bool]:
    fields: dict = {"model": "auto", "messages": [{"role": "user", "content": f"question {number}"}]}
    if dice.random() < 0.5:
        fields |= {"stream": True, "user": "sim:gap_ms=5"}
    return fields, False


async def run(folder: Path, *, times: int = 100) -> bool:
    print(f"rolling: {times} restarts by SIGTERM of one of {WORKERS} workers", flush=True)
    verdict = Verdict()
    async with stage(folder, routes("100000"), workers=WORKERS) as on:
        loading = asyncio.create_task(load(on, seconds=3_600, at_once=20, make=steady))
        done = 0
        deadline = asyncio.get_running_loop().time() + 10 * times + 60
        while done < times and asyncio.get_running_loop().time() < deadline:
            await asyncio.sleep(0.3)
            pids = on.gateway.worker_pids()
            if len(pids) >= WORKERS:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pids[0], signal.SIGTERM)
                    done += 1
        failed = list(on.seen.failed)
        loading.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await loading
        statuses = dict(on.seen.statuses)
        rested = await on.at_rest(20)
        spent, held = on.spent("paying-month"), on.held()
    books = compare(folder, on.sim)
    verdict.hold("restarts", done == times, done)
    verdict.hold("failed requests", not failed and set(statuses) == {200}, f"{len(failed)} of {statuses}")
    verdict.hold("lost rows", not books.lost, len(books.lost))
    verdict.hold("doubled rows", not books.doubled, len(books.doubled))
    verdict.hold("held afterwards", rested and held == 0, held)
    total = books.settled_nano + books.uncertain_nano
    verdict.hold("counter is the ledger", spent == total, f"{spent} = {total}")
    return verdict.kept

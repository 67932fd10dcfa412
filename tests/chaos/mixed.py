"""Many mixed requests with every fault: the ledger is the bill, attempt by attempt."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from .stage import Verdict, compare, load, routes, stage


async def run(folder: Path, *, requests: int = 20_000) -> bool:
    print(f"mixed: {requests} requests with all faults, 2 workers", flush=True)
    verdict = Verdict()
    began = time.monotonic()
    async with stage(folder, routes("1000000"), workers=2) as on:
        await load(on, count=requests, at_once=60)
        rested = await on.at_rest(60)
        async with asyncio.timeout(30):
            await on.sim.idle()
        spent, held = on.spent("paying-month"), on.held()
    took = time.monotonic() - began
    books = compare(folder, on.sim)
    verdict.hold("requests", len(on.seen.took_s) == requests, f"{len(on.seen.took_s)} in {took:.0f} s")
    wire = len(on.sim.bill)
    verdict.hold("wire attempts are ledger attempts", wire == books.attempts, f"{wire} = {books.attempts}")
    verdict.hold("lost, doubled, mispriced", books.good, books.faults)
    cut = sum(line.cost_nano for line in on.sim.bill) - books.settled_nano
    verdict.hold("settled rows are their bill to the nano-dollar", not books.mispriced, f"{books.settled_nano}")
    verdict.hold("held afterwards", rested and held == 0, held)
    total = books.settled_nano + books.uncertain_nano
    verdict.hold("counter is the ledger", spent == total, f"{spent} = {total}")
    print(f"       billed outside settled rows (cut off by their clients): {cut}, estimated: {books.uncertain_nano}")
    print(f"       {on.seen.left} clients left early; {dict(books.outcomes)}")
    return verdict.kept

"""Many mixed requests with every fault: the ledger is the bill, attempt by attempt.

What clients left and the gateway cut off is an estimate until a bill says what it cost. At the end the bill says so,
through `gateway reconcile`: then ledger and bill are equal to the nano-dollar, all of it.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from pathlib import Path

from tests.finance.bills import per_attempt
from tests.flow.world import env
from tests.running import ROOT

from .stage import Stage, Verdict, compare, load, routes, stage


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
    settled, agrees = await asyncio.to_thread(_settle_by_the_bill, on, folder)
    verdict.hold("requests", len(on.seen.took_s) == requests, f"{len(on.seen.took_s)} in {took:.0f} s")
    wire = len(on.sim.bill)
    verdict.hold("wire attempts are ledger attempts", wire == books.attempts, f"{wire} = {books.attempts}")
    verdict.hold("lost, doubled, mispriced", books.good, books.faults)
    verdict.hold("settled rows are their bill to the nano-dollar", not books.mispriced, f"{books.settled_nano}")
    verdict.hold("held afterwards", rested and held == 0, held)
    total = books.settled_nano + books.uncertain_nano
    verdict.hold("counter is the ledger", spent == total, f"{spent} = {total}")
    known = compare(folder, on.sim)
    total = known.settled_nano + known.uncertain_nano
    equal = agrees and total == known.bill_nano
    verdict.hold("ledger == bill, once the bill was read", equal, f"{total} = {known.bill_nano}")
    print(f"       estimated before: {books.uncertain_nano} nano-dollars, in {settled} of {books.attempts} attempts")
    print(f"       {on.seen.left} clients left early; {dict(books.outcomes)}")
    return verdict.kept


def _settle_by_the_bill(on: Stage, folder: Path) -> tuple[int, bool]:
    """How many uncertain attempts the bill settled, and whether ledger and bill agree then."""
    file = folder / "bill.csv"
    file.write_text(per_attempt(on.sim.bill))
    command = [sys.executable, "-m", "gateway", "reconcile", str(file), "--per-attempt", "--json",
               "--routes", str(on.gateway.routes), "--data-dir", str(folder / "data")]  # fmt: skip
    settings = {"cwd": folder, "env": {**os.environ, **env(on.sim), "PYTHONPATH": str(ROOT)}, "capture_output": True}
    first = subprocess.run([*command, "--apply"], timeout=600, **settings)
    again = subprocess.run(command, timeout=600, **settings)
    settled = int(first.stderr.decode().rpartition(":")[2])
    return settled, json.loads(again.stdout)["agrees"]

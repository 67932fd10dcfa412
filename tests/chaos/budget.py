"""A budget of one dollar, 500 requests at once, 4 workers: nothing is overspent, nothing stays held."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

from gateway.core.money import usd

from .stage import KEYS, Verdict, compare, load, routes, stage

LIMIT_NANO = 1_000_000_000


def costly(dice: random.Random, number: int) -> tuple[dict, bool]:
    fields: dict = {
        "model": dice.choice(["auto", "best", "openai/gpt-6-test", "google/gemini-test"]),
        "messages": [{"role": "user", "content": f"question {number}"}],
        "max_tokens": dice.randrange(500, 8_000),
        "stream": dice.random() < 0.5,
        "user": f"sim:answer_tokens={dice.randrange(200, 4_000)};chunk_tokens=50",
    }
    return fields, False


async def run(folder: Path, *, requests: int = 1_500) -> bool:
    print(f"budget: $1, {requests} requests, 500 at once, 4 workers", flush=True)
    verdict = Verdict()
    async with stage(folder, routes("1"), workers=4) as on:
        await load(on, count=requests, at_once=500, make=costly)
        rested = await on.at_rest(20)
        spent, held = on.spent("paying-month"), on.held()
        bill = on.sim.total_nano()
        probe = await asyncio.to_thread(_fits, on.gateway, LIMIT_NANO - spent)
        verdict.hold("no request failed", not on.seen.failed, dict(on.seen.statuses))
        verdict.hold("both happened: answers and refusals", {200, 402} <= set(on.seen.statuses))
        verdict.hold("statuses are 200 and 402 only", set(on.seen.statuses) <= {200, 402})
        verdict.hold("overspend", bill <= LIMIT_NANO, f"${usd(max(bill - LIMIT_NANO, 0))} (billed ${usd(bill)})")
        verdict.hold("held afterwards", rested and held == 0, f"{held} nano-dollars")
        verdict.hold("counter is the bill", spent == bill, f"{spent} = {bill}")
        verdict.hold("what fits is admitted, what does not is refused", probe, f"{LIMIT_NANO - spent} left")
    books = compare(folder, on.sim)
    verdict.hold("ledger is the bill", books.good and books.settled_nano == books.bill_nano, f"{books.rows} rows")
    return verdict.kept


def _fits(gateway, left_nano: int) -> bool:
    """A hold is the bound on the prompt and the limit on the answer, at gpt-6-test's rates ($1.375 and $5.30)."""

    def status(max_tokens: int) -> int:
        return gateway.chat("x", "openai/gpt-6-test", KEYS["paying"], max_tokens=max_tokens)[0]

    most = (left_nano - 100 * 1_375) // 5_300  # a prompt of less than 100 bytes
    return (most < 1 or status(min(most, 7_900)) == 200) and (most > 7_000 or status(max(most, 0) + 900) == 402)

"""The ledger against the simulator's own bill: 2,000 mixed requests, to the nano-dollar."""

from __future__ import annotations

import asyncio
import random
from collections import Counter

import aiohttp

from gateway.simulator import Simulator
from tests.flow.traffic import one_request, send
from tests.flow.world import PRICES, ROUTES, env
from tests.running import RunningGateway

REQUESTS = 2_000
AT_ONCE = 40

async def test_the_ledger_equals_the_simulators_bill_to_the_nano_dollar(tmp_path):
    dice, seen = random.Random(20261123), Counter()
    requests = [one_request(dice, number) for number in range(REQUESTS)]
    async with Simulator(PRICES) as sim:
        gateway = RunningGateway(tmp_path, ROUTES, env(sim))
        await asyncio.to_thread(gateway.start)
        try:
            gate = asyncio.Semaphore(AT_ONCE)

            async def guarded(fields: dict, leaves: bool) -> None:
                async with gate:
                    await send(session, fields, leaves, seen)

            timeout = aiohttp.ClientTimeout(total=60)
            connector = aiohttp.TCPConnector(limit=0)
            async with aiohttp.ClientSession(gateway.url, timeout=timeout, connector=connector) as session:
                await asyncio.gather(*(guarded(fields, leaves) for fields, leaves in requests))
        finally:
            code = await asyncio.to_thread(gateway.stop)
        async with asyncio.timeout(10):
            await sim.idle()
        rows, bill = gateway.rows(), sim.bill

    assert code == 0
    assert "accounts cannot be reached" not in gateway.log  # or this would have tested the gateway without them
    # Every attempt on the wire has its one row, and no row is without its attempt.
    assert Counter(row["attempt_id"] for row in rows) == Counter(line.attempt for line in bill)
    assert len({row["attempt_id"] for row in rows}) == len(rows)

    # Row by row: what is settled is what was billed. Outside the settled rows only one thing is billed: as far as it
    # came, what a client left and the gateway cut off. Its usage is never told, so it is estimated and marked.
    billed = {line.attempt: line for line in bill}
    cut_off = 0
    for row in rows:
        line = billed[row["attempt_id"]]
        if row["state"] == "settled":
            assert row["cost_nano"] == line.cost_nano, (row, line)
            assert row["output_tokens"] + row["reasoning_tokens"] == (line.tokens.completion if line.billed else 0)
        elif row["outcome"] == "aborted":
            assert row["usage_source"] == "estimated"
            assert row["cost_nano"] <= row["hold_nano"]
            cut_off += line.cost_nano
        else:
            assert not line.billed, (row, line)
    settled = sum(row["cost_nano"] for row in rows if row["state"] == "settled")
    assert settled + cut_off == sim.total_nano() == sum(line.cost_nano for line in bill)

    # The mix was one: streams and whole answers, fallbacks, broken streams, clients that left.
    outcomes = Counter(row["outcome"] for row in rows)
    assert seen["left"] > 100
    assert seen["whole stream"] > 500
    assert seen["broken stream"] > 10
    assert outcomes["aborted"] > 20
    assert {"http_500", "http_503", "http_429", "disconnected", "truncated", "malformed", "timeout"} <= set(outcomes)
    assert sum(row["attempt"] > 1 for row in rows) > 100
    assert any(row["cached_input_tokens"] for row in rows)
    print(f"\n{len(rows)} attempts of {REQUESTS} requests, {settled} nano-dollars settled; {dict(outcomes)}")

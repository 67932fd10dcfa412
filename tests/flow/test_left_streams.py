"""A client that leaves a stream: cut off where that ends the bill, read to its end where it does not."""

from __future__ import annotations

import asyncio
import json
import time

import aiohttp
import pytest

from gateway.simulator import Simulator
from tests.flow.world import PRICES, ROUTES, env
from tests.running import RunningGateway

TOKENS, GAP_MS = 400, 10
WHOLE_S = TOKENS * GAP_MS / 1e3


async def leave_after(gateway: RunningGateway, model: str, chunks: int) -> None:
    body = {
        "model": model, "stream": True, "messages": [{"role": "user", "content": "Tell me a long story."}],
        "user": f"sim:answer_tokens={TOKENS};gap_ms={GAP_MS};chunk_tokens=1",
    }  # fmt: skip
    async with (
        aiohttp.ClientSession(gateway.url) as session,
        session.post("/v1/chat/completions", json=body) as reply,
    ):
        for _ in range(chunks):
            await reply.content.readuntil(b"\n\n")
        reply.close()


@pytest.mark.parametrize("model", ["openai/gpt-6-test", "deepseek/chat-test"])
@pytest.mark.parametrize("chunks", [1, 20])
async def test_where_cutting_off_ends_the_bill_little_is_paid_and_marked_as_an_estimate(tmp_path, model, chunks):
    async with Simulator(PRICES) as sim:
        gateway = RunningGateway(tmp_path, ROUTES, env(sim))
        await asyncio.to_thread(gateway.start)
        try:
            await leave_after(gateway, model, chunks)
            async with asyncio.timeout(WHOLE_S / 2):  # the provider saw it long before its answer was whole
                await sim.idle()
            (row,) = await asyncio.to_thread(gateway.rows, 1)
        finally:
            await asyncio.to_thread(gateway.stop)
    (line,) = sim.bill

    assert line.why.startswith("the client left early: billed as far")
    assert (row["outcome"], row["state"], row["usage_source"]) == ("aborted", "uncertain", "estimated")
    assert row["cost_nano"] <= row["hold_nano"]
    # What was on its way when the client left is what the estimate may miss.
    assert abs(row["output_tokens"] - line.tokens.completion) <= 40
    assert line.tokens.completion < TOKENS / 4


async def test_where_the_whole_answer_is_billed_anyway_it_is_read_on_and_known_to_the_nano_dollar(tmp_path):
    async with Simulator(PRICES) as sim:
        gateway = RunningGateway(tmp_path, ROUTES, env(sim))
        await asyncio.to_thread(gateway.start)
        try:
            began = time.monotonic()
            await leave_after(gateway, "google/gemini-test", 3)
            async with asyncio.timeout(WHOLE_S + 15):
                await sim.idle()
            took = time.monotonic() - began
            (row,) = await asyncio.to_thread(gateway.rows, 1)
        finally:
            await asyncio.to_thread(gateway.stop)
    (line,) = sim.bill

    assert took > WHOLE_S / 10
    assert (row["outcome"], row["state"], row["usage_source"]) == ("aborted", "settled", "provider")
    assert row["cost_nano"] == line.cost_nano
    assert json.loads(row["tags"]) == {}

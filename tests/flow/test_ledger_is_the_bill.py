"""The ledger against the simulator's own bill: 2,000 mixed requests, to the nano-dollar."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter

import aiohttp

from gateway.simulator import Simulator
from tests.flow.world import MODELS, PRICES, ROUTES, env
from tests.running import RunningGateway

REQUESTS = 2_000
AT_ONCE = 40

FAULTS = ("http_500", "http_503", "http_429;retry_after@{p}=0", "drop", "drop_headers", "cut_after_3", "eof_after_2",
          "malformed_after_1", "error_event_after_2", "http_400", "stall", "no_done", "content_filter")  # fmt: skip
LONG_PREFIX = "The merchants argued about the price of paper and of copper, in the market by the sea. " * 60
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}


def one_request(dice: random.Random, number: int) -> tuple[dict, bool]:
    """A request body and whether its client leaves after the first bytes."""
    fields: dict = {"model": dice.choice(["auto"] * 5 + ["best"] * 2 + [*MODELS])}
    text = f"{LONG_PREFIX if dice.random() < 0.2 else ''}question {dice.randrange(400)} {number if number % 2 else ''}"
    fields["messages"] = [{"role": "user", "content": text}]
    if dice.random() < 0.5:
        fields["stream"] = True
        if dice.random() < 0.3:
            fields["stream_options"] = {"include_usage": True}
    if dice.random() < 0.2:
        fields["max_tokens"] = dice.randrange(5, 60)
    if dice.random() < 0.15:
        fields["tools"] = [TOOL]
    rule = ["gap_ms=1"] if dice.random() < 0.3 else []
    if dice.random() < 0.3:
        provider = dice.choice(["deepseek", "deepseek", "deepseek", "openai", "google"])  # the cheapest is asked most
        # A stall costs a second of waiting each, so there are few of them.
        fault = dice.choice(FAULTS) if dice.random() < 0.9 else "stall"
        if fault == "stall" and dice.random() < 0.7:
            fault = "http_500"
        rule.append(f"fault@{provider}={fault.format(p=provider)}")
    if dice.random() < 0.1:
        rule.append("split_bytes=7")
    if rule:
        fields["user"] = "sim:" + ";".join(rule)
    return fields, dice.random() < 0.1


async def send(session: aiohttp.ClientSession, fields: dict, leaves: bool, seen: Counter) -> None:
    async with session.post("/v1/chat/completions", json=fields) as reply:
        if leaves:
            await reply.content.readany()
            reply.close()
            seen["left"] += 1
            return
        body = await reply.read()
    if reply.status != 200:
        assert set(json.loads(body)["error"]) == {"message", "type", "param", "code"}
    elif fields.get("stream"):
        finished = body.endswith(b"data: [DONE]\n\n")
        assert finished or b'data: {"error":' in body
        assert finished == (b": gateway {" in body)
        seen["whole stream" if finished else "broken stream"] += 1
    seen[reply.status] += 1


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

    # Row by row: what is settled is what was billed, and nothing that was billed is outside the settled rows.
    billed = {line.attempt: line for line in bill}
    for row in rows:
        line = billed[row["attempt_id"]]
        if row["state"] == "settled":
            assert row["cost_nano"] == line.cost_nano, (row, line)
            assert row["output_tokens"] + row["reasoning_tokens"] == (line.tokens.completion if line.billed else 0)
        else:
            assert not line.billed, (row, line)
    settled = sum(row["cost_nano"] for row in rows if row["state"] == "settled")
    assert settled == sim.total_nano() == sum(line.cost_nano for line in bill)

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

"""Mixed traffic for whole-gateway runs: streams and whole answers, every fault of the simulator, clients that leave."""

from __future__ import annotations

import json
import random
from collections import Counter

import aiohttp

from tests.flow.world import MODELS

AFTER_CONTENT = ("cut_after_3", "eof_after_2", "malformed_after_1", "error_event_after_2")
FAULTS = ("http_500", "http_503", "http_429;retry_after@{p}=0", "drop", "drop_headers", "http_400", "stall", "no_done",
          "content_filter", *AFTER_CONTENT * 3)  # fmt: skip
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

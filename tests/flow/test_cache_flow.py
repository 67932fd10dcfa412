"""The response cache through a whole gateway: off by default, exact, per team, in both deliveries, booked."""

from __future__ import annotations

import asyncio
import json

import pytest
import pytest_asyncio

from gateway.core.world import key_digest
from tests.flow.river import afresh, running
from tests.flow.world import ROUTES

ONE, TWO = "sk-one-" + "1" * 40, "sk-two-" + "2" * 40
TEAMS = f"""
teams:
  one: {{keys: [{{id: one, sha256: "{key_digest(ONE)}"}}]}}
  two: {{keys: [{{id: two, sha256: "{key_digest(TWO)}"}}]}}
"""


pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(tmp_path_factory):
    async with running(tmp_path_factory.mktemp("river"), ROUTES + TEAMS) as one:
        yield one


@pytest_asyncio.fixture(loop_scope="module")
async def river(shared):
    return await afresh(shared)


async def ask(river, text=None, key=ONE, model="kept", **fields):
    answer = await asyncio.to_thread(river.gateway.chat, text or river.text, model, key, **fields)
    await asyncio.sleep(0.1)  # an answer is kept beside its reply
    return answer


async def test_the_second_equal_request_is_answered_from_the_cache_and_costs_nothing(river):
    first, second = await ask(river), await ask(river)
    rows = await river.rows(2)

    assert [headers["x-gateway-cache"] for _, headers, _ in (first, second)] == ["miss", "hit"]
    assert second[2] == first[2]
    assert second[1]["x-gateway-cost-usd"] == "0.000000000"
    assert float(second[1]["x-gateway-saved-usd"]) > 0
    assert len(river.sim.bill) == 1
    assert [(row["outcome"], row["cost_nano"]) for row in rows][1] == ("cached", 0)
    assert rows[1]["baseline_nano"] == rows[0]["baseline_nano"] > 0


async def test_another_team_and_another_request_never_meet(river):
    await ask(river)
    others = [
        await ask(river, key=TWO),
        await ask(river, top_p=0.5),
        await ask(river, "what else is cached?"),
        await ask(river, model="auto"),
    ]

    assert [headers["x-gateway-cache"] for _, headers, _ in others] == ["miss", "miss", "miss", "off"]
    assert len(river.sim.bill) == 5


async def test_a_stream_fills_the_cache_and_a_hit_can_be_streamed(river):
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
    streamed = await ask(river, stream=True, tools=[tool])
    whole = await ask(river, tools=[tool])
    again = await ask(river, stream=True, tools=[tool], stream_options={"include_usage": True})

    assert [one[1]["x-gateway-cache"] for one in (streamed, whole, again)] == ["miss", "hit", "hit"]
    assert len(river.sim.bill) == 1
    message = json.loads(whole[2])["choices"][0]["message"]
    assert message["tool_calls"][0]["function"]["name"] == "f"
    chunks = [json.loads(event[6:]) for event in again[2].split(b"\n\n") if event.startswith(b"data: {")]
    (called,) = [call for chunk in chunks for part in chunk["choices"] for call in part["delta"].get("tool_calls", ())]
    assert called["function"] == message["tool_calls"][0]["function"]
    assert chunks[-1]["usage"]["total_tokens"] == json.loads(whole[2])["usage"]["total_tokens"]
    assert again[2].endswith(b"data: [DONE]\n\n")


@pytest.mark.parametrize("fields", [{"max_tokens": 3}, {"user": "sim:fault=content_filter"}])
async def test_truncated_and_filtered_answers_are_never_kept(river, fields):
    answers = [await ask(river, **fields) for _ in range(2)]

    assert [headers["x-gateway-cache"] for _, headers, _ in answers] == ["miss", "miss"]
    assert json.loads(answers[0][2])["choices"][0]["finish_reason"] in ("length", "content_filter")


async def test_kept_answers_outlive_a_restart(river):
    await ask(river)
    await asyncio.to_thread(river.gateway.stop)
    await asyncio.to_thread(river.gateway.start)

    assert (await ask(river))[1]["x-gateway-cache"] == "hit"
    assert len(river.sim.bill) == 1

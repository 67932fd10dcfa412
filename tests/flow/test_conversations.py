"""Conversations through a whole gateway: where the prompt cache is warm, it stays; what it cannot keep, it adapts."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from gateway.core.world import key_digest
from gateway.dialects import DIALECTS
from gateway.simulator import PriceData, Simulator
from gateway.stores.embedded import EmbeddedStore
from gateway.stores.warmth import PREFIX
from tests.core.market import model
from tests.flow.world import PRICES, ROUTES, env
from tests.running import RunningGateway

SIGNING = ("google/gemini-3-test", "google/gemini-4-test")
PRICES_HERE: PriceData = {
    **PRICES,
    ("google", "gemini-3-test"): [(0, {"input": "0.3", "cached_input": "0.03", "output": "2.5"})],
    ("google", "gemini-4-test"): [(0, {"input": "0.2", "cached_input": "0.02", "output": "1.5"})],
}
_MODEL = "context_tokens: 200000, max_output_tokens: 8000, expected_output_tokens: 60, capabilities: [tools, reasoning]"
_ROW = "effective_from: 2020-01-01T00:00:00Z, status: announced, source: the tests, read: 2026-11-23"
TEAMS = ("ours", "theirs")
KEYS = {team: f"sk-{team}-canary" for team in TEAMS}
ROUTES_HERE = (
    ROUTES.replace(
        "prices:\n",
        f"""  google/gemini-3-test: {{{_MODEL}}}
  google/gemini-4-test: {{{_MODEL}}}
prices:
  - {{id: d, model: google/gemini-3-test, {_ROW}, rates: {{input: "0.3", cached_input: "0.03", output: "2.5"}}}}
  - {{id: e, model: google/gemini-4-test, {_ROW}, rates: {{input: "0.2", cached_input: "0.02", output: "1.5"}}}}
""",
    )
    + f"""
  signing:
    policy: cheapest
    candidates: [{", ".join(SIGNING)}]
teams:
"""
    + "".join(f'  {team}: {{keys: [{{id: {team}, sha256: "{key_digest(KEYS[team])}"}}]}}\n' for team in TEAMS)
)
LONG = {"role": "user", "content": "The merchants argued about the price of paper. " * 600}
SHORT = {"role": "user", "content": "What did they argue about?"}
MORE = {"role": "user", "content": "And then?"}
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}

WARM, CHEAPEST = "openai/gpt-6-test", "deepseek/chat-test"


class Talk:
    """One conversation of one team, as a client keeps it."""

    def __init__(self, gateway: RunningGateway, *messages: dict[str, Any], team: str = "ours") -> None:
        self.gateway, self.team = gateway, team
        self.messages: list[dict[str, Any]] = list(messages)

    async def ask(self, model: str = "auto", **fields: Any) -> str:
        """The model that answered; its answer is part of the conversation from now on."""
        body = {"model": model, "messages": self.messages, **fields}
        authorization = f"Bearer {KEYS[self.team]}"
        status, headers, raw = await asyncio.to_thread(
            self.gateway.post, "/v1/chat/completions", body, authorization=authorization
        )
        assert status == 200, raw
        self.messages.append(json.loads(raw)["choices"][0]["message"])
        return headers["x-gateway-model"]

    def say(self, message: dict[str, Any]) -> None:
        self.messages.append(message)

    def return_results(self) -> None:
        for call in self.messages[-1]["tool_calls"]:
            self.say({"role": "tool", "tool_call_id": call["id"], "content": "sunny"})


@pytest.fixture
async def river(tmp_path: Path) -> AsyncIterator[tuple[RunningGateway, Simulator]]:
    async with Simulator(PRICES_HERE) as simulator:
        gateway = RunningGateway(tmp_path, ROUTES_HERE, env(simulator))
        await asyncio.to_thread(gateway.start)
        try:
            yield gateway, simulator
        finally:
            await asyncio.to_thread(gateway.stop)


async def test_a_conversation_stays_where_its_prompt_is_cached_and_is_billed_as_expected(river):
    gateway, sim = river
    talk = Talk(gateway, LONG)
    answered = [await talk.ask(WARM)]
    for _ in range(3):
        talk.say(MORE)
        answered.append(await talk.ask("auto"))
    rows = await asyncio.to_thread(gateway.rows, 4)

    assert answered == [WARM] * 4  # also on another route than it began on
    prompts = [row["input_tokens"] + row["cached_input_tokens"] + row["cache_write_tokens"] for row in rows]
    cache = DIALECTS["openai"].prompt_cache(model(WARM))
    assert [row["cached_input_tokens"] for row in rows] == [0, *(cache.holds(prompt) for prompt in prompts[:-1])]
    assert [row["cost_nano"] for row in rows] == [line.cost_nano for line in sim.bill]
    assert [row["cached_input_tokens"] for row in rows] == [line.tokens.cached_input for line in sim.bill]
    # What staying was expected to cost, and what moving would have, stands in each row's candidates.
    stayed = json.loads(rows[1]["candidates"])
    expected = {one[0]: one[2] for one in stayed}
    assert expected[WARM] < expected[CHEAPEST]
    cold = prompts[1] * 1_100 + rows[1]["output_tokens"] * 5_300
    assert rows[1]["cost_nano"] < cold / 3


async def test_what_is_not_warm_goes_where_it_is_cheapest(river):
    gateway, _ = river
    talk = Talk(gateway, LONG)
    await talk.ask(WARM)
    talk.say(MORE)

    edited = Talk(gateway, {**LONG, "content": LONG["content"] + "!"}, *talk.messages[1:])
    others = Talk(gateway, *talk.messages, team="theirs")
    short = Talk(gateway, SHORT)
    await short.ask(WARM)
    short.say(MORE)

    assert [await one.ask() for one in (edited, others, short)] == [CHEAPEST] * 3
    assert await talk.ask() == WARM


async def test_it_leaves_a_provider_that_fails_and_moves_back_only_if_it_pays(river):
    gateway, _ = river
    talk = Talk(gateway, LONG)
    await talk.ask(WARM)
    talk.say(MORE)
    assert await talk.ask(user="sim:fault@openai=http_503") == CHEAPEST
    talk.say(MORE)

    assert await talk.ask() == CHEAPEST  # both are warm now, and this one costs less


async def test_another_process_finds_what_this_one_remembers(tmp_path):
    async with AsyncExitStack() as stack:
        sim = await stack.enter_async_context(Simulator(PRICES_HERE))
        store = await stack.enter_async_context(EmbeddedStore(tmp_path / "store"))
        shared = {**env(sim), "REDIS_URL": store.url, "GATEWAY_CACHE_SECRET": "a secret of both"}
        gateways = []
        for name in ("one", "two"):
            (tmp_path / name).mkdir()
            gateway = RunningGateway(tmp_path / name, ROUTES_HERE, shared)
            await asyncio.to_thread(gateway.start)
            stack.push_async_callback(asyncio.to_thread, gateway.stop)
            gateways.append(gateway)
        talk = Talk(gateways[0], LONG)
        answered = [await talk.ask(WARM)]
        for turn in range(4):
            await asyncio.sleep(0.2)  # a person takes longer to answer
            talk.gateway = gateways[(turn + 1) % 2]
            talk.say(MORE)
            answered.append(await talk.ask())

    assert answered == [WARM] * 5


async def test_a_tool_loop_stays_with_the_model_that_called(river):
    gateway, _ = river
    talk = Talk(gateway, SHORT)
    dear, cheap = SIGNING
    await talk.ask(dear, tools=[TOOL])
    talk.return_results()
    within = await talk.ask("signing", tools=[TOOL])
    talk.say(MORE)
    after = await talk.ask("signing", tools=[TOOL])

    assert (within, after) == (dear, cheap)


async def test_signatures_of_one_model_do_not_stop_the_next_one(river):
    gateway, sim = river
    talk = Talk(gateway, SHORT)
    for asked in (*SIGNING, "deepseek/chat-test", *reversed(SIGNING), "openai/gpt-6-test", SIGNING[0]):
        assert await talk.ask(asked, tools=[TOOL]) == asked
        talk.return_results()
        talk.say(MORE)

    assert {line.status for line in sim.bill} == {200}


async def test_a_question_that_nothing_follows_leaves_no_trace(tmp_path):
    async with AsyncExitStack() as stack:
        sim = await stack.enter_async_context(Simulator(PRICES_HERE))
        store = await stack.enter_async_context(EmbeddedStore(tmp_path / "store"))
        (tmp_path / "gateway").mkdir()
        gateway = RunningGateway(tmp_path / "gateway", ROUTES_HERE, {**env(sim), "REDIS_URL": store.url})
        await asyncio.to_thread(gateway.start)
        stack.push_async_callback(asyncio.to_thread, gateway.stop)
        redis = await stack.enter_async_context(Redis.from_url(store.url))

        async def noted(*messages: dict[str, Any], **fields: Any) -> tuple[int, int]:
            """Notes in the store after this request, and look-ups that it made."""
            before = await gets()
            await Talk(gateway, *messages).ask(**fields)
            await asyncio.sleep(0.2)  # they are written beside the reply
            return len(await redis.keys(f"{PREFIX}*")), await gets() - before

        async def gets() -> int:
            return int((await redis.info("commandstats")).get("cmdstat_get", {"calls": 0})["calls"])

        answer = {"role": "assistant", "content": "So."}
        assert await noted(SHORT) == (0, 0)
        assert await noted(LONG) == (1, 0)
        assert await noted(SHORT, tools=[TOOL]) == (2, 0)
        assert await noted(SHORT, answer, MORE) == (3, 0)  # known here: the question with tools began alike
        assert await noted(MORE, answer, MORE) == (4, 1)
        assert await noted(MORE, answer, SHORT) == (5, 0)  # examples before a question are looked for once

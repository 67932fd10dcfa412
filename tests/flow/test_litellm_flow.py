"""A provider reached through the litellm SDK, through a whole gateway: answered, streamed, booked, fallen back from."""

from __future__ import annotations

import asyncio
import json

from gateway.simulator import Scenario, Simulator
from tests.flow.world import ROUTES, env
from tests.running import RunningGateway

# The simulator's OpenAI wire stands for a provider that the gateway has no dialect for.
PRICES = {
    ("openai", "anything"): [(0, {"input": "0.8", "output": "2.4"})],
    ("deepseek", "chat-test"): [(0, {"input": "0.27", "cached_input": "0.007", "output": "1.1"})],
}
MORE = """
  wide:
    policy: cheapest
    candidates: [elsewhere/anything]
    fallbacks: [deepseek/chat-test]
"""
LITELLM = {
    "  openai: {base_url_env: SIM_OPENAI}\n": """\
  openai: {base_url_env: SIM_OPENAI}
  elsewhere:
    {via: litellm, litellm_provider: hosted_vllm, base_url_env: SIM_OPENAI, key_env: ELSEWHERE_KEY, jurisdiction: FR}
""",
    "models:\n": """\
models:
  elsewhere/anything:
    {context_tokens: 32000, max_output_tokens: 4000, capabilities: [tools], expected_output_tokens: 60}
""",
    "prices:\n": """\
prices:
  - {id: e, model: elsewhere/anything, effective_from: 2020-01-01T00:00:00Z, status: announced, source: the tests,
     read: 2026-11-23, rates: {input: "0.80", output: "2.40"}}
""",
}


def routes() -> str:
    text = ROUTES
    for before, after in LITELLM.items():
        assert before in text
        text = text.replace(before, after)
    return text + MORE


async def test_a_litellm_provider_answers_streams_and_is_booked_like_any_other(tmp_path):
    async with Simulator(PRICES) as sim:
        gateway = RunningGateway(tmp_path, routes(), {**env(sim), "ELSEWHERE_KEY": "key-elsewhere-canary"})
        await asyncio.to_thread(gateway.start)
        try:
            whole = await asyncio.to_thread(gateway.chat, "hello", "wide")
            stream = await asyncio.to_thread(gateway.chat, "hello", "wide", stream=True)
            sim.set_scenario("openai", Scenario(fault="http_503"))
            fallen = await asyncio.to_thread(gateway.chat, "hello", "wide")
            rows = await asyncio.to_thread(gateway.rows, 4)
        finally:
            await asyncio.to_thread(gateway.stop)

    assert [status for status, _, _ in (whole, stream, fallen)] == [200, 200, 200]
    assert json.loads(whole[2])["choices"][0]["message"]["content"]
    assert stream[2].endswith(b"data: [DONE]\n\n")
    assert [one[1]["x-gateway-provider"] for one in (whole, stream, fallen)] == ["elsewhere", "elsewhere", "deepseek"]
    assert [row["outcome"] for row in rows] == ["ok", "ok", "http_503", "ok"]
    assert {row["state"] for row in rows} == {"settled"}
    assert sum(row["cost_nano"] for row in rows) == sim.total_nano() > 0
    assert len(sim.bill) == 4
    assert "canary" not in gateway.log

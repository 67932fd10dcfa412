"""The official OpenAI SDK takes the simulator for the real thing."""

import json

import openai
import pytest
from pydantic import BaseModel
from simclient import HELLO, MODELS

from gateway.simulator import Scenario

WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather in a city.",
        "strict": True,
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "unit": {"type": "string", "enum": ["c", "f"]}},
            "required": ["city", "unit"],
            "additionalProperties": False,
        },
    },
}
TIME = {"type": "function", "function": {"name": "get_time", "parameters": {"type": "object", "properties": {}}}}


class Step(BaseModel):
    explanation: str
    output: str


class Solution(BaseModel):
    steps: list[Step]
    answer: float
    sure: bool


@pytest.fixture
async def sdk(sim):
    async with openai.AsyncOpenAI(base_url=sim.base_url("openai"), api_key="sk-any", max_retries=0) as client:
        yield client


async def test_whole(sdk):
    reply = await sdk.chat.completions.create(model="gpt-6-luna", messages=HELLO)

    assert reply.choices[0].message.content
    assert reply.usage.completion_tokens_details.reasoning_tokens == 4
    assert reply._request_id.startswith("req_")


async def test_stream(sdk):
    stream = await sdk.chat.completions.create(
        model="gpt-6-luna", messages=HELLO, stream=True, stream_options={"include_usage": True}
    )
    chunks = [chunk async for chunk in stream]

    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks[:-1]).count(" ") >= 5
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert chunks[-1].choices == []
    assert chunks[-1].usage.total_tokens == 22


async def test_the_streaming_helper_puts_the_answer_together(sdk):
    async with sdk.chat.completions.stream(
        model="gpt-6-luna", messages=HELLO, tools=[WEATHER, TIME], stream_options={"include_usage": True}
    ) as stream:
        async for _ in stream:
            pass
        reply = await stream.get_final_completion()

    calls = reply.choices[0].message.tool_calls
    assert [call.function.name for call in calls] == ["get_weather", "get_time"]
    assert json.loads(calls[0].function.arguments)["unit"] in ("c", "f")
    assert reply.usage.total_tokens > 8


async def test_tools(sdk):
    first = await sdk.chat.completions.create(
        model="gpt-6-luna", messages=HELLO, tools=[WEATHER], tool_choice="required"
    )
    message = first.choices[0].message
    result = {"role": "tool", "tool_call_id": message.tool_calls[0].id, "content": "sunny"}
    second = await sdk.chat.completions.create(model="gpt-6-luna", messages=[*HELLO, message, result], tools=[WEATHER])

    assert first.choices[0].finish_reason == "tool_calls"
    assert second.choices[0].message.content


async def test_json_schema(sdk):
    reply = await sdk.chat.completions.parse(model="gpt-6-luna", messages=HELLO, response_format=Solution)

    assert isinstance(reply.choices[0].message.parsed, Solution)


@pytest.mark.parametrize(
    ("provider", "key", "kind"),
    [
        ("openai", "bad-key", openai.AuthenticationError),
        ("deepseek", "bad-key", openai.AuthenticationError),
        ("google", "bad-key", openai.AuthenticationError),
    ],
)
async def test_a_bad_key_is_an_authentication_error(sim, provider, key, kind):
    async with openai.AsyncOpenAI(base_url=sim.base_url(provider), api_key=key, max_retries=0) as client:
        with pytest.raises(kind):
            await client.chat.completions.create(model=MODELS[provider], messages=HELLO)


@pytest.mark.parametrize("provider", ["deepseek", "google"])
async def test_the_other_wires_are_understood_too(sim, provider):
    async with openai.AsyncOpenAI(base_url=sim.base_url(provider), api_key="sk-any", max_retries=0) as client:
        whole = await client.chat.completions.create(model=MODELS[provider], messages=HELLO)
        stream = await client.chat.completions.create(model=MODELS[provider], messages=HELLO, stream=True)
        chunks = [chunk async for chunk in stream]

    assert whole.usage.total_tokens == chunks[-1].usage.total_tokens == 22
    assert chunks[-1].choices[0].finish_reason == "stop"


async def test_errors_have_the_sdks_types(sdk, sim):
    cases = [
        ("http_400", openai.BadRequestError),
        ("http_404", openai.NotFoundError),
        ("http_429", openai.RateLimitError),
    ]
    cases += [("http_503", openai.InternalServerError), ("drop", openai.APIConnectionError)]
    for fault, kind in cases:
        sim.set_scenario("openai", Scenario(fault=fault))
        with pytest.raises(kind):
            await sdk.chat.completions.create(model="gpt-6-luna", messages=HELLO)


async def test_an_error_event_is_raised_by_the_sdk_in_mid_stream(sdk, sim):
    sim.set_scenario("openai", Scenario(fault="error_event_after_2"))
    stream = await sdk.chat.completions.create(model="gpt-6-luna", messages=HELLO, stream=True)

    with pytest.raises(openai.APIError, match="had an error"):
        _ = [chunk async for chunk in stream]


async def test_the_sdk_retries_a_rate_limit_after_the_time_it_was_told(sim):
    sim.set_scenario("openai", Scenario(fault="http_429", retry_after=0.05))
    async with openai.AsyncOpenAI(base_url=sim.base_url("openai"), api_key="sk-any", max_retries=2) as client:
        with pytest.raises(openai.RateLimitError):
            await client.chat.completions.create(model="gpt-6-luna", messages=HELLO)

    assert [line.status for line in sim.bill] == [429, 429, 429]


async def test_models_are_listed(sdk):
    assert [model.id async for model in sdk.models.list()] == ["gpt-6-luna", "gpt-4o-mini"]

"""The official OpenAI SDK against a running gateway with simulated providers."""

from __future__ import annotations

import json

import openai
import pytest

from tests.running import RunningGateway

ROUTES = """
routes:
  auto:
    policy: cheapest
    candidates: [openai/gpt-6-luna, deepseek/deepseek-flash, google/gemini-3.8-flash, openai/gpt-4o-mini]
    baseline: openai/gpt-4o
"""
HELLO = [{"role": "user", "content": "Say hello to the gateway."}]
WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
CLOCK = {"type": "function", "function": {"name": "clock", "parameters": {"type": "object", "properties": {}}}}


@pytest.fixture(scope="module")
def gateway(tmp_path_factory):
    with RunningGateway(tmp_path_factory.mktemp("sdk"), ROUTES) as running:
        yield running


@pytest.fixture
def client(gateway):
    with openai.OpenAI(base_url=f"{gateway.url}/v1", api_key="any", max_retries=0) as one:
        yield one


def test_a_whole_answer_with_usage(client):
    answer = client.chat.completions.create(model="auto", messages=HELLO)

    assert answer.choices[0].message.content
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
    assert answer._request_id


async def test_an_asynchronous_client(gateway):
    async with openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key="any", max_retries=0) as client:
        answer = await client.chat.completions.create(model="auto", messages=HELLO)
        assert answer.choices[0].message.content

        stream = await client.chat.completions.create(model="auto", messages=HELLO, stream=True)
        assert "".join([chunk.choices[0].delta.content or "" async for chunk in stream])


@pytest.mark.parametrize("model", ["openai/gpt-6-luna", "deepseek/deepseek-flash", "google/gemini-3.8-flash"])
def test_each_provider_answers_whole_and_streamed(client, model):
    whole = client.chat.completions.create(model=model, messages=HELLO)
    stream = client.chat.completions.create(model=model, messages=HELLO, stream=True)
    chunks = list(stream)

    assert len(whole.choices[0].message.content.split()) > 1
    assert len("".join(chunk.choices[0].delta.content or "" for chunk in chunks).split()) > 1
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices[0].finish_reason] == ["stop"]


def test_a_stream_has_a_usage_chunk_only_when_it_was_asked_for(client):
    asked = list(
        client.chat.completions.create(
            model="openai/gpt-6-luna", messages=HELLO, stream=True, stream_options={"include_usage": True}
        )
    )
    unasked = list(client.chat.completions.create(model="openai/gpt-6-luna", messages=HELLO, stream=True))

    assert asked[-1].choices == []
    assert asked[-1].usage.total_tokens > 0
    assert all(chunk.choices for chunk in unasked)
    assert all(chunk.usage is None for chunk in unasked)


@pytest.mark.parametrize("model", ["openai/gpt-6-luna", "deepseek/deepseek-flash", "google/gemini-3.8-flash"])
@pytest.mark.parametrize("stream", [False, True])
def test_parallel_tool_calls_come_whole_from_every_provider(client, model, stream):
    reply = client.chat.completions.create(model=model, messages=HELLO, tools=[WEATHER, CLOCK], stream=stream)

    if stream:
        calls: dict[int, list[str]] = {}
        for chunk in reply:
            for call in chunk.choices[0].delta.tool_calls or ():
                held = calls.setdefault(call.index, ["", ""])
                held[0] += call.function.name or ""
                held[1] += call.function.arguments or ""
        found = sorted(tuple(call) for call in calls.values())
    else:
        found = sorted((call.function.name, call.function.arguments) for call in reply.choices[0].message.tool_calls)
    assert [name for name, _ in found] == ["clock", "weather"]
    assert "city" in json.loads(found[1][1])


def test_a_json_schema_goes_only_to_providers_that_hold_it(client):
    number = {"n": {"type": "integer"}}
    schema = {"type": "object", "properties": number, "required": ["n"], "additionalProperties": False}
    wanted = {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema, "strict": True}}
    raw = client.chat.completions.with_raw_response.create(model="auto", messages=HELLO, response_format=wanted)

    assert raw.headers["x-gateway-provider"] != "deepseek"
    assert isinstance(json.loads(raw.parse().choices[0].message.content)["n"], int)


def test_images_n_logprobs_and_effort_pass_through(client):
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
    seen = client.chat.completions.create(
        model="auto", messages=[{"role": "user", "content": [{"type": "text", "text": "what is this?"}, picture]}]
    )
    many = client.chat.completions.create(model="openai/gpt-4o-mini", messages=HELLO, n=3)
    likely = client.chat.completions.create(model="openai/gpt-4o-mini", messages=HELLO, logprobs=True, top_logprobs=2)
    hard = client.chat.completions.create(model="openai/gpt-6-luna", messages=HELLO, reasoning_effort="high")
    easy = client.chat.completions.create(model="openai/gpt-6-luna", messages=HELLO, reasoning_effort="low")

    assert seen.choices[0].message.content
    assert len(many.choices) == 3
    assert likely.choices[0].logprobs.content
    spent = [one.usage.completion_tokens_details.reasoning_tokens for one in (hard, easy)]
    assert spent[0] > spent[1]


def test_headers_say_how_the_answer_came_about(client):
    raw = client.chat.completions.with_raw_response.create(model="auto", messages=HELLO)
    headers = raw.headers

    assert headers["x-gateway-model"].startswith(headers["x-gateway-provider"] + "/")
    assert (headers["x-gateway-route"], headers["x-gateway-policy"]) == ("auto", "cheapest")
    assert (headers["x-gateway-cache"], headers["x-gateway-attempts"]) == ("off", "1")
    assert headers["x-gateway-simulated"] == "true"
    assert headers["x-gateway-decision"] == headers["x-request-id"]
    assert float(headers["x-gateway-cost-usd"]) > 0
    assert float(headers["x-gateway-saved-usd"]) > 0


def test_a_stream_tells_its_cost_in_a_comment_before_done(gateway):
    status, headers, body = gateway.chat(stream=True)
    events = body.decode().strip().split("\n\n")

    assert status == 200
    assert events[-1] == "data: [DONE]"
    trailer = json.loads(events[-2].removeprefix(": gateway "))
    assert headers["x-gateway-model"] == trailer["model"]
    assert float(trailer["cost_usd"]) > 0
    assert trailer["usage_source"] == "provider"


def test_models_lists_routes_and_models(client):
    names = [model.id for model in client.models.list()]

    assert "auto" in names
    assert "openai/gpt-6-luna" in names
    assert client.models.retrieve("auto").owned_by == "gateway"


def test_a_bare_model_name_is_enough_when_it_is_unique(client):
    raw = client.chat.completions.with_raw_response.create(model="gpt-6-luna", messages=HELLO)

    assert raw.headers["x-gateway-model"] == "openai/gpt-6-luna"
    assert raw.headers["x-gateway-route"] == "direct"


@pytest.mark.parametrize(
    ("request_", "error", "words"),
    [
        ({"model": "autp", "messages": HELLO}, openai.NotFoundError, "did you mean 'auto'"),
        ({"model": "auto", "messages": []}, openai.BadRequestError, "at least one message"),
        ({"model": "auto", "messages": HELLO, "n": 0}, openai.BadRequestError, "1 or more"),
    ],
)
def test_mistakes_become_the_sdks_own_errors(client, request_, error, words):
    with pytest.raises(error, match=words) as caught:
        client.chat.completions.create(**request_)

    assert set(caught.value.body) == {"message", "type", "param", "code"}
    assert caught.value.request_id


NEW_MODELS = ["openai/gpt-6-luna", "deepseek/deepseek-flash", "google/gemini-3.8-flash"]


def one_turn(client, model: str, messages: list, *, stream: bool = False, down: str | None = None):
    """The conversation with one more tool call and its results, as agents go on; and who answered."""
    more = {} if down is None else {"user": f"sim:fault@{down}=http_503"}
    raw = client.chat.completions.with_raw_response.create(
        model=model, messages=messages, tools=[WEATHER, CLOCK], tool_choice="auto", stream=stream, **more
    )
    message = _gathered(raw.parse()) if stream else raw.parse().choices[0].message
    calls = message["tool_calls"] if stream else message.tool_calls
    ids = [call["id"] if stream else call.id for call in calls]
    results = [{"role": "tool", "tool_call_id": id, "content": "sunny, noon"} for id in ids]
    asked = {"role": "user", "content": "And tomorrow?"}  # the simulator calls no tool right after a result
    return [*messages, message, *results, asked], raw.headers["x-gateway-model"]


def _gathered(stream) -> dict:
    """A streamed answer as clients put it together, fields of the provider's own and all."""
    message: dict = {"role": "assistant", "content": None}
    calls: dict[int, dict] = {}
    for chunk in stream:
        delta = chunk.choices[0].delta if chunk.choices else None
        if delta is None:
            continue
        if thought := getattr(delta, "reasoning_content", None):
            message["reasoning_content"] = message.get("reasoning_content", "") + thought
        for part in delta.tool_calls or ():
            known = part.model_dump(exclude_unset=True)
            held = calls.setdefault(part.index, known)
            if held is not known:
                held["function"]["arguments"] += part.function.arguments or ""
    return {**message, "tool_calls": list(calls.values())}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("second", NEW_MODELS)
@pytest.mark.parametrize("first", NEW_MODELS)
def test_a_tool_loop_goes_from_any_model_to_any_other_and_back(client, first, second, stream):
    messages = [{"role": "user", "content": "What is the weather?"}]

    for model in (first, second, first, second):
        messages, answered = one_turn(client, model, messages, stream=stream)
        assert answered == model


def test_a_tool_loop_survives_its_providers_failure_and_comes_back(tmp_path):
    routes = """
routes:
  agent:
    policy: cheapest
    candidates: [google/gemini-3.8-flash]
    fallbacks: [deepseek/deepseek-flash, openai/gpt-6-luna]
"""
    with (
        RunningGateway(tmp_path, routes) as gateway,
        openai.OpenAI(base_url=f"{gateway.url}/v1", api_key="any", max_retries=0) as client,
    ):
        messages = [{"role": "user", "content": "What is the weather?"}]
        answered = []
        for down in (None, "google", "deepseek"):
            messages, model = one_turn(client, "agent", messages, down=down)
            answered.append(model)
        last = client.chat.completions.create(
            model="agent", messages=messages, tools=[WEATHER], tool_choice="none", user="sim:fault@deepseek=http_503"
        )

    assert answered == ["google/gemini-3.8-flash", "deepseek/deepseek-flash", "google/gemini-3.8-flash"]
    assert last.choices[0].message.content

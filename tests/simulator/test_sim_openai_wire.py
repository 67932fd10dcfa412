"""OpenAI's wire, byte shapes and refusals."""

import json

import pytest

WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
CLOCK = {"type": "function", "function": {"name": "get_time", "parameters": {"type": "object", "properties": {}}}}


async def test_a_whole_answer_has_every_field_of_the_description(client):
    reply = await client.chat("openai")

    assert reply.status == 200
    body = reply.json
    assert body["object"] == "chat.completion"
    assert body["id"].startswith("chatcmpl-")
    assert body["service_tier"] == "default"
    [choice] = body["choices"]
    assert (choice["index"], choice["logprobs"], choice["finish_reason"]) == (0, None, "stop")
    assert choice["message"]["role"] == "assistant"
    assert choice["message"]["refusal"] is None
    assert body["usage"] == {
        "prompt_tokens": 8,
        "completion_tokens": 14,
        "total_tokens": 22,
        "prompt_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": 4,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }
    assert b'\n  "usage": {' in reply.raw, "whole bodies are indented on this wire"


async def test_the_headers_are_those_that_clients_read(client):
    reply = await client.chat("openai")

    assert reply.headers["x-request-id"].startswith("req_")
    assert int(reply.headers["openai-processing-ms"]) > 0
    assert reply.headers["x-ratelimit-remaining-requests"] == "9999"
    assert reply.headers["x-ratelimit-reset-tokens"] == "30ms"


async def test_a_stream_is_role_content_finish_usage_done_in_that_order(client):
    reply = await client.stream("openai")

    *chunks, last = reply.chunks
    first, finish = chunks[0], chunks[-1]
    assert first["choices"][0]["delta"] == {"role": "assistant", "content": "", "refusal": None}
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks] == [None] * 11 + ["stop"]
    assert finish["choices"][0]["delta"] == {}
    assert all(chunk["usage"] is None for chunk in chunks)
    assert last["choices"] == []
    assert last["usage"]["completion_tokens"] == 14
    assert reply.events[-1] == "[DONE]"
    assert {chunk["object"] for chunk in reply.chunks} == {"chat.completion.chunk"}
    assert len({chunk["id"] for chunk in reply.chunks}) == 1


async def test_usage_is_not_streamed_unless_it_was_asked_for(client):
    reply = await client.chat("openai", stream=True)

    assert all("usage" not in chunk for chunk in reply.chunks)
    assert all(chunk["choices"] for chunk in reply.chunks)
    assert reply.events[-1] == "[DONE]"


async def test_obfuscation_is_on_until_it_is_switched_off(client):
    on = await client.stream("openai")
    off = await client.stream("openai", stream_options={"include_usage": True, "include_obfuscation": False})

    assert all("obfuscation" in chunk for chunk in on.chunks[:-1])
    assert all("obfuscation" not in chunk for chunk in off.chunks)


async def test_reasoning_models_refuse_max_tokens_in_the_real_words(client):
    reply = await client.chat("openai", max_tokens=5)

    assert reply.status == 400
    assert reply.json == {
        "error": {
            "message": "Unsupported parameter: 'max_tokens' is not supported with this model. "
            "Use 'max_completion_tokens' instead.",
            "type": "invalid_request_error",
            "param": "max_tokens",
            "code": "unsupported_parameter",
        }
    }


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"model": "gpt-4o-mini", "reasoning_effort": "low"}, "Unrecognized request argument supplied"),
        ({"model": "gpt-4o-mini", "max_tokens": 0}, "Invalid 'max_tokens': integer below minimum value"),
        ({"response_format": {"type": "json_object"}}, "must contain the word 'json'"),
        ({"messages": []}, "missing required parameter: 'messages'"),
        ({"model": ""}, "you must provide a model parameter"),
    ],
)
async def test_what_openai_does_not_accept_it_refuses_with_400(client, body, said):
    reply = await client.chat("openai", **body)

    assert reply.status == 400
    assert said in reply.json["error"]["message"]
    assert set(reply.json["error"]) == {"message", "type", "param", "code"}


async def test_an_unknown_model_is_404_model_not_found(client):
    reply = await client.chat("openai", model="gpt-99")

    assert reply.status == 404
    assert reply.json["error"]["code"] == "model_not_found"
    assert "`gpt-99`" in reply.json["error"]["message"]


@pytest.mark.parametrize(("key", "code"), [("bad-key", "invalid_api_key"), ("", None)])
async def test_a_bad_or_missing_key_is_401(client, key, code):
    reply = await client.chat("openai", key=key)

    assert reply.status == 401
    assert reply.json["error"]["code"] == code


async def test_max_tokens_cuts_the_answer_and_says_length(client):
    reply = await client.chat("openai", max_completion_tokens=9)

    assert reply.json["choices"][0]["finish_reason"] == "length"
    assert reply.json["usage"]["completion_tokens"] == 9
    assert reply.json["usage"]["completion_tokens_details"]["reasoning_tokens"] == 4


async def test_a_limit_below_the_reasoning_leaves_no_text(client):
    reply = await client.chat("openai", max_completion_tokens=3)

    assert reply.text == ""
    assert reply.json["choices"][0]["finish_reason"] == "length"
    assert reply.json["usage"]["completion_tokens_details"]["reasoning_tokens"] == 3


async def test_stop_sequences_end_the_text_before_themselves(client):
    whole = await client.chat("openai", model="gpt-4o-mini")
    word = whole.text.split()[4]
    stopped = await client.chat("openai", model="gpt-4o-mini", stop=[" "])

    assert word
    assert " " not in stopped.text
    assert stopped.json["choices"][0]["finish_reason"] == "stop"


async def test_n_choices_are_told_apart_by_index_and_all_counted(client):
    whole = await client.chat("openai", model="gpt-4o-mini", n=3)
    streamed = await client.stream("openai", model="gpt-4o-mini", n=3)

    assert [choice["index"] for choice in whole.json["choices"]] == [0, 1, 2]
    assert len({choice["message"]["content"] for choice in whole.json["choices"]}) == 3
    assert whole.json["usage"]["completion_tokens"] == 30
    finished = [c["choices"][0]["index"] for c in streamed.chunks if c["choices"] and c["choices"][0]["finish_reason"]]
    assert finished == [0, 1, 2]
    assert streamed.chunks[-1]["usage"]["completion_tokens"] == 30


async def test_logprobs_are_given_for_every_token_when_asked_for(client):
    whole = await client.chat("openai", model="gpt-4o-mini", logprobs=True, top_logprobs=2)
    streamed = await client.stream("openai", model="gpt-4o-mini", logprobs=True)

    tokens = whole.json["choices"][0]["logprobs"]["content"]
    assert "".join(token["token"] for token in tokens) == whole.text
    assert bytes(b for token in tokens for b in token["bytes"]).decode() == whole.text
    assert {len(token["top_logprobs"]) for token in tokens} == {2}
    told = [c["choices"][0] for c in streamed.chunks if c["choices"]]
    assert [len(c["logprobs"]["content"]) for c in told if c["delta"].get("content")] == [1] * 10


async def test_two_tools_are_called_in_parallel_and_their_arguments_come_in_pieces(client):
    reply = await client.stream("openai", tools=[WEATHER, CLOCK])

    calls: dict[int, dict] = {}
    for chunk in reply.chunks[:-1]:
        for delta in chunk["choices"][0]["delta"].get("tool_calls", ()):
            call = calls.setdefault(delta["index"], {"arguments": ""})
            call |= {key: delta[key] for key in ("id", "type") if key in delta}
            call["name"] = delta["function"].get("name", call.get("name"))
            call["arguments"] += delta["function"]["arguments"]
    assert [call["name"] for call in calls.values()] == ["get_weather", "get_time"]
    assert isinstance(json.loads(calls[0]["arguments"])["city"], str)
    assert json.loads(calls[1]["arguments"]) == {}
    assert len({call["id"] for call in calls.values()}) == 2
    assert reply.chunks[-2]["choices"][0]["finish_reason"] == "tool_calls"


@pytest.mark.parametrize(
    ("choice", "called"),
    [
        ({"tool_choice": "none"}, []),
        ({"tool_choice": "required"}, ["get_weather", "get_time"]),
        ({"tool_choice": {"type": "function", "function": {"name": "get_time"}}}, ["get_time"]),
        ({"parallel_tool_calls": False}, ["get_weather"]),
    ],
)
async def test_tool_choice_is_obeyed(client, choice, called):
    reply = await client.chat("openai", tools=[WEATHER, CLOCK], **choice)

    message = reply.json["choices"][0]["message"]
    assert [call["function"]["name"] for call in message.get("tool_calls", ())] == called
    assert (message["content"] is None) == bool(called)


async def test_after_a_tools_result_comes_text(client):
    first = await client.chat("openai", tools=[CLOCK])
    called = first.json["choices"][0]["message"]
    result = {"role": "tool", "tool_call_id": called["tool_calls"][0]["id"], "content": "noon"}

    second = await client.chat("openai", tools=[CLOCK], messages=[{"role": "user", "content": "?"}, called, result])

    assert second.json["choices"][0]["finish_reason"] == "stop"
    assert second.text


async def test_images_are_accepted_and_counted(client):
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
    reply = await client.chat(
        "openai", messages=[{"role": "user", "content": [{"type": "text", "text": "hello there"}, picture]}]
    )

    assert reply.json["usage"]["prompt_tokens"] == 8 + 258


async def test_reasoning_effort_decides_how_many_reasoning_tokens_there_are(client, sim):
    sim.set_scenario("openai", None)

    async def reasoning(effort: str) -> int:
        reply = await client.chat("openai", reasoning_effort=effort)
        return reply.json["usage"]["completion_tokens_details"]["reasoning_tokens"]

    assert await reasoning("none") == 0
    assert 0 < await reasoning("low") < await reasoning("high")


async def test_the_same_body_is_answered_the_same_but_under_another_id(client):
    one, two = await client.chat("openai"), await client.chat("openai")
    other = await client.chat("openai", seed=7)

    assert one.text == two.text != other.text
    assert one.json["id"] != two.json["id"]


async def test_the_service_tier_that_was_asked_for_is_the_one_reported(client):
    assert (await client.chat("openai", service_tier="flex")).json["service_tier"] == "flex"
    assert (await client.chat("openai", service_tier="auto")).json["service_tier"] == "default"


async def test_the_models_on_sale_are_listed(client, sim):
    async with client.session.get(sim.base_url("openai") + "/models") as response:
        listed = await response.json()

    assert [model["id"] for model in listed["data"]] == ["gpt-6-luna", "gpt-4o-mini"]


@pytest.mark.parametrize(
    ("message", "unknown"),
    [
        ({"role": "assistant", "content": "a", "reasoning_content": "hm"}, "messages[1].reasoning_content"),
        ({"role": "assistant", "tool_calls": [{"id": "c", "index": 0}]}, "messages[1].tool_calls[0].index"),
        ({"role": "assistant", "tool_calls": [{"extra_content": {}}]}, "messages[1].tool_calls[0].extra_content"),
    ],
)
async def test_fields_that_it_does_not_know_are_refused_in_messages_too(client, message, unknown):
    reply = await client.chat("openai", messages=[{"role": "user", "content": "?"}, message])

    assert reply.status == 400
    assert reply.json["error"]["code"] == "unknown_parameter"
    assert reply.json["error"]["param"] == unknown

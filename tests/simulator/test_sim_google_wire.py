"""Google's OpenAI-compatible wire: growing usage, hidden thinking, error arrays, signatures."""

import json

import pytest

from gateway.simulator import Scenario

TOOL = {
    "type": "function",
    "function": {"name": "get_time", "parameters": {"type": "object", "properties": {"zone": {"enum": ["UTC"]}}}},
}


async def test_usage_is_repeated_and_grows_in_every_chunk(client):
    chunks = (await client.stream("google")).chunks

    said = [(c["usage"]["completion_tokens"], c["usage"]["prompt_tokens"], c["usage"]["total_tokens"]) for c in chunks]
    # Ten tokens of text in pieces of five; four of thinking that only the total shows.
    assert said == [(5, 8, 17), (10, 8, 22), (10, 8, 22)]


async def test_usage_comes_whether_or_not_it_was_asked_for(client):
    assert all("usage" in chunk for chunk in (await client.chat("google", stream=True)).chunks)


async def test_the_stream_has_this_wires_own_shape(client):
    reply = await client.stream("google")

    *chunks, last = reply.chunks
    assert all("finish_reason" not in chunk["choices"][0] for chunk in chunks)
    assert last["choices"][0]["finish_reason"] == "stop"
    assert all(set(chunk) == {"choices", "created", "id", "model", "object", "usage"} for chunk in reply.chunks)
    assert all(chunk["choices"][0]["delta"]["role"] == "assistant" for chunk in reply.chunks)
    assert reply.events[-1] == "[DONE]"


async def test_thinking_shows_only_as_what_the_total_has_more(client):
    usage = (await client.chat("google")).json["usage"]

    assert usage == {"completion_tokens": 10, "prompt_tokens": 8, "total_tokens": 22}


async def test_cached_tokens_are_told_only_when_there_are_any(client, sim):
    sim.set_scenario("google", Scenario(cache_min=1))

    first, second = await client.chat("google"), await client.chat("google")

    assert "prompt_tokens_details" not in first.json["usage"]
    assert second.json["usage"]["prompt_tokens_details"] == {"cached_tokens": 8}


@pytest.mark.parametrize(
    ("status", "name"),
    [
        (400, "INVALID_ARGUMENT"),
        (401, "UNAUTHENTICATED"),
        (404, "NOT_FOUND"),
        (429, "RESOURCE_EXHAUSTED"),
        (500, "INTERNAL"),
        (503, "UNAVAILABLE"),
    ],
)
async def test_errors_come_in_a_json_array(client, status, name):
    reply = await client.chat("google", user=f"sim:fault=http_{status}")

    assert reply.status == status
    [told] = reply.json
    assert told["error"]["code"] == status
    assert told["error"]["status"] == name
    assert told["error"]["message"]


async def test_a_rate_limit_says_how_long_to_wait_in_the_body_too(client):
    [told] = (await client.chat("google", user="sim:fault=http_429;retry_after=7")).json

    assert told["error"]["details"][0]["retryDelay"] == "7s"


async def test_a_bad_key_and_an_unknown_model_are_told_in_googles_shape(client):
    [bad_key] = (await client.chat("google", key="bad-key")).json
    unknown = await client.chat("google", model="gemini-99")

    assert bad_key["error"]["status"] == "UNAUTHENTICATED"
    assert unknown.status == 404
    assert "models/gemini-99 is not found" in unknown.json[0]["error"]["message"]


async def test_a_model_may_be_named_with_its_prefix(client):
    reply = await client.chat("google", model="models/gemini-3.8-flash")

    assert reply.json["model"] == "gemini-3.8-flash"


@pytest.mark.parametrize("streamed", [False, True])
async def test_tool_calls_carry_a_thought_signature_that_has_to_come_back(client, streamed):
    reply = await client.chat("google", tools=[TOOL], stream=streamed)
    body = reply.chunks[0] if streamed else reply.json
    message = body["choices"][0]["delta" if streamed else "message"]
    [call] = message["tool_calls"]
    assert json.loads(call["function"]["arguments"]) == {"zone": "UTC"}
    assert call["extra_content"]["google"]["thought_signature"]

    result = {"role": "tool", "tool_call_id": call["id"], "content": "noon"}
    kept = await client.chat("google", tools=[TOOL], messages=[*[{"role": "user", "content": "?"}], message, result])
    bare = {**call, "extra_content": None}
    lost = await client.chat("google", tools=[TOOL], messages=[{**message, "tool_calls": [bare]}, result])

    assert kept.status == 200
    assert lost.status == 400
    assert "missing a thought_signature" in lost.json[0]["error"]["message"]


async def test_a_signature_of_another_model_is_refused_and_the_documented_word_is_taken(client):
    asked = [{"role": "user", "content": "?"}]
    reply = await client.chat("google", tools=[TOOL], messages=asked)
    message = reply.json["choices"][0]["message"]
    [call] = message["tool_calls"]
    result = {"role": "tool", "tool_call_id": call["id"], "content": "noon"}

    async def again(signature: str, model: str = "gemini-3.8-flash") -> tuple[int, str]:
        signed = {**call, "extra_content": {"google": {"thought_signature": signature}}}
        messages = [*asked, {**message, "tool_calls": [signed]}, result]
        answer = await client.chat("google", model=model, tools=[TOOL], messages=messages)
        return answer.status, "" if answer.status == 200 else answer.json[0]["error"]["message"]

    own = call["extra_content"]["google"]["thought_signature"]
    assert await again(own) == (200, "")
    assert await again(own, model="gemini-4-argon") == (400, "Corrupted thought signature.")
    assert await again("no base64") == (400, "Corrupted thought signature.")
    assert await again("skip_thought_signature_validator", model="gemini-4-argon") == (200, "")


async def test_of_calls_made_at_once_only_the_first_is_signed(client):
    clock = {"type": "function", "function": {"name": "clock", "parameters": {"type": "object"}}}
    reply = await client.chat("google", tools=[TOOL, clock])

    assert ["extra_content" in call for call in reply.json["choices"][0]["message"]["tool_calls"]] == [True, False]


@pytest.mark.parametrize("effort", ["none", "minimal"])
async def test_argon_cannot_stop_thinking(client, effort):
    argon = await client.chat("google", model="gemini-4-argon", reasoning_effort=effort)
    flash = await client.chat("google", reasoning_effort=effort)

    assert argon.status == 400
    assert flash.status == 200


async def test_json_schema_is_obeyed(client):
    schema = {"type": "object", "properties": {"n": {"type": "integer", "minimum": 3, "maximum": 4}}, "required": ["n"]}
    reply = await client.chat("google", response_format={"type": "json_schema", "json_schema": {"schema": schema}})

    assert json.loads(reply.text)["n"] in (3, 4)

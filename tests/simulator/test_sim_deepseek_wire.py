"""DeepSeek's wire: cache counts, open reasoning, keep-alives, refusals."""

import pytest

from gateway.simulator import Scenario


async def test_cache_hits_and_misses_are_inside_prompt_tokens(client):
    long = [{"role": "system", "content": "rule " * 200}]

    first = (await client.chat("deepseek", messages=[*long, {"role": "user", "content": "one"}])).json["usage"]
    second = (await client.chat("deepseek", messages=[*long, {"role": "user", "content": "two"}])).json["usage"]

    # 3 for the request, 3 + 200 and 3 + 1 for the messages; the shared 206 are cached in steps of 64.
    counts = ("prompt_tokens", "prompt_cache_hit_tokens", "prompt_cache_miss_tokens")
    assert [first[count] for count in counts] == [210, 0, 210]
    assert [second[count] for count in counts] == [210, 192, 18]
    assert second["prompt_tokens_details"] == {"cached_tokens": 192}


async def test_thinking_is_told_in_reasoning_content_and_counted(client):
    reply = await client.chat("deepseek")

    message = reply.json["choices"][0]["message"]
    assert len(message["reasoning_content"].split()) <= 4
    assert message["reasoning_content"]
    assert reply.json["usage"]["completion_tokens_details"] == {"reasoning_tokens": 4}
    assert reply.json["usage"]["completion_tokens"] == 14


async def test_a_stream_thinks_first_then_answers(client):
    deltas = [chunk["choices"][0]["delta"] for chunk in (await client.stream("deepseek")).chunks]

    assert deltas[0] == {"role": "assistant", "content": None, "reasoning_content": ""}
    thoughts, words = deltas[1:5], deltas[5:15]
    assert all(delta["content"] is None and delta["reasoning_content"] for delta in thoughts)
    assert all(delta["content"] and delta["reasoning_content"] is None for delta in words)


@pytest.mark.parametrize("body", [{"thinking": {"type": "disabled"}}, {"model": "deepseek-chat"}])
async def test_thinking_can_be_switched_off(client, body):
    reply = await client.chat("deepseek", **body)

    assert "reasoning_content" not in reply.json["choices"][0]["message"]
    assert "completion_tokens_details" not in reply.json["usage"]


async def test_usage_rides_on_the_finish_chunk(client):
    *chunks, finish = (await client.stream("deepseek")).chunks

    assert all(chunk["usage"] is None for chunk in chunks)
    assert finish["choices"][0]["finish_reason"] == "stop"
    assert finish["usage"]["total_tokens"] == 22


async def test_usage_rides_on_the_finish_chunk_even_if_nobody_asked(client):
    *chunks, finish = (await client.chat("deepseek", stream=True)).chunks

    assert all("usage" not in chunk for chunk in chunks)
    assert finish["usage"]["total_tokens"] == 22


async def test_usage_can_come_in_a_chunk_of_its_own(client):
    *_, finish, own = (await client.stream("deepseek", user="sim:usage_at=own")).chunks

    assert finish["choices"][0]["finish_reason"] == "stop"
    assert finish["usage"] is None
    assert own["choices"] == []
    assert own["usage"]["total_tokens"] == 22


async def test_a_queued_stream_is_kept_alive_by_comments(client, sim):
    sim.set_scenario("deepseek", Scenario(queue_ms=50, keepalive_ms=10, answer_tokens=3))

    reply = await client.stream("deepseek")

    assert reply.events[:5] == [": keep-alive"] * 5
    assert reply.events[5].startswith("{")
    assert reply.events[-1] == "[DONE]"


async def test_a_queued_whole_answer_is_kept_alive_by_empty_lines(client, sim):
    sim.set_scenario("deepseek", Scenario(queue_ms=50, keepalive_ms=10, answer_tokens=3))

    reply = await client.chat("deepseek")

    assert reply.raw.startswith(b"\n\n\n\n\n{")
    assert reply.json["object"] == "chat.completion"


@pytest.mark.parametrize(
    ("status", "type", "message"),
    [
        (400, "invalid_request_error", "refused"),
        (401, "authentication_error", "Authentication Fails"),
        (402, "unknown_error", "Insufficient Balance"),
        (422, "invalid_request_error", "Failed to deserialize"),
        (429, "rate_limit_error", "Rate limit reached"),
        (500, "internal_server_error", "Internal Server Error"),
        (503, "service_unavailable_error", "Service is too busy"),
    ],
)
async def test_each_error_status_has_deepseeks_body(client, status, type, message):
    reply = await client.chat("deepseek", user=f"sim:fault=http_{status}")

    assert reply.status == status
    assert set(reply.json["error"]) == {"message", "type", "param", "code"}
    assert reply.json["error"]["type"] == type
    assert message in reply.json["error"]["message"]


CALLED = {
    "role": "assistant",
    "content": "",
    "tool_calls": [{"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
}


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"response_format": {"type": "json_schema"}}, "This response_format type is unavailable now"),
        ({"response_format": {"type": "json_object"}}, "Prompt must contain the word 'json'"),
        ({"messages": [{"role": "developer", "content": "x"}]}, "messages[0].role: unknown variant `developer`"),
        ({"messages": [CALLED, {"role": "tool", "content": "1"}]}, "`reasoning_content` in the thinking mode"),
        ({"max_tokens": 400_000}, "the valid range of max_tokens is [1, 393216]"),
        ({"model": "deepseek-99"}, "Model Not Exist"),
        (
            {
                "model": "deepseek-v4-pro",
                "messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}],
            },
            "unknown variant `image_url`",
        ),
    ],
)
async def test_what_deepseek_does_not_accept_it_refuses_with_400(client, body, said):
    reply = await client.chat("deepseek", **body)

    assert reply.status == 400
    assert said in reply.json["error"]["message"]
    assert reply.json["error"]["code"] == "invalid_request_error"


async def test_a_turn_that_gives_its_reasoning_back_is_accepted(client):
    thought = {**CALLED, "reasoning_content": "because"}
    reply = await client.chat("deepseek", messages=[thought, {"role": "tool", "content": "1"}])

    assert reply.status == 200


async def test_a_bad_key_is_401_in_deepseeks_words(client):
    reply = await client.chat("deepseek", key="bad-key")

    assert reply.status == 401
    assert reply.json["error"]["message"] == "Authentication Fails, Your api key: ****-key is invalid"


async def test_json_mode_answers_with_an_object(client):
    reply = await client.chat(
        "deepseek",
        response_format={"type": "json_object"},
        messages=[{"role": "user", "content": "answer in JSON"}],
    )

    assert reply.text.startswith('{"answer"')

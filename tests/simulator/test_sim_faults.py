"""Every fault, as a client meets it and as the bill has it."""

import json
import time
from pathlib import Path

import aiohttp
import pytest
from simclient import BROKEN, read_until_broken, read_until_silent

from gateway.dialects import DIALECTS
from gateway.simulator import FAULTS, PROVIDERS, Scenario

EVERY_PROVIDER = pytest.mark.parametrize("provider", PROVIDERS)
STREAMED_OR_NOT = pytest.mark.parametrize("stream", [False, True])
ASKED = {"stream": True, "stream_options": {"include_usage": True}}


def content_chunks(reply) -> int:
    deltas = [choice["delta"] for chunk in reply.chunks for choice in chunk["choices"]]
    return sum(bool(delta.get("content") or delta.get("reasoning_content")) for delta in deltas)


async def last_line(sim):
    await sim.idle()
    return sim.bill[-1]


@EVERY_PROVIDER
@STREAMED_OR_NOT
@pytest.mark.parametrize("status", [400, 401, 402, 404, 422, 429, 500, 503])
async def test_an_error_status_is_answered_and_not_billed(client, sim, provider, stream, status):
    reply = await client.chat(provider, stream=stream, user=f"sim:fault=http_{status};retry_after=3")

    assert reply.status == status
    assert reply.headers.get("retry-after") == ("3" if status == 429 else None)
    line = await last_line(sim)
    assert (line.status, line.billed, line.cost_nano, line.why) == (status, False, 0, "error status")


@EVERY_PROVIDER
@STREAMED_OR_NOT
async def test_a_request_that_is_too_long_is_refused_in_the_providers_words(client, sim, provider, stream):
    reply = await client.chat(provider, stream=stream, user="sim:fault=context_length")

    assert reply.status == 400
    assert DIALECTS[provider].error(reply.status, {}, reply.raw).too_long
    assert not (await last_line(sim)).billed


@EVERY_PROVIDER
@STREAMED_OR_NOT
async def test_drop_ends_the_connection_before_any_byte(client, sim, provider, stream):
    with pytest.raises((aiohttp.ServerDisconnectedError, aiohttp.ClientOSError)):
        await client.chat(provider, stream=stream, user="sim:fault=drop")

    line = await last_line(sim)
    assert (line.status, line.billed, line.why) == (0, False, "the provider broke it off")


@EVERY_PROVIDER
@STREAMED_OR_NOT
async def test_drop_headers_ends_the_connection_after_the_headers(client, sim, provider, stream):
    async with client.open(provider, stream=stream, user="sim:fault=drop_headers") as response:
        assert response.status == 200
        with pytest.raises(BROKEN):
            await response.read()

    assert not (await last_line(sim)).billed


@EVERY_PROVIDER
@STREAMED_OR_NOT
@pytest.mark.parametrize("fault", ["stall", "stall_after_2"])
async def test_a_stall_is_silent_until_the_client_leaves_and_is_not_billed(client, sim, provider, stream, fault):
    async with client.open(provider, stream=stream, user=f"sim:fault={fault};keepalive_ms=0") as response:
        assert response.status == 200
        got = await read_until_silent(response)

    assert bool(got) == (fault != "stall"), "a stall with a place comes after something"
    line = await last_line(sim)
    assert (line.billed, line.why, line.fault) == (False, "the provider broke it off", fault)


async def test_a_stalled_deepseek_sends_keep_alives_and_nothing_else(client, sim):
    async with client.open("deepseek", stream=True, user="sim:fault=stall;keepalive_ms=10") as response:
        got = await read_until_silent(response)

    assert got.count(b": keep-alive\n\n") >= 2
    assert got.replace(b": keep-alive\n\n", b"") == b""
    assert not (await last_line(sim)).billed


@EVERY_PROVIDER
@pytest.mark.parametrize("after", [0, 1])
async def test_cut_aborts_the_stream_after_that_many_content_chunks(client, sim, provider, after):
    async with client.open(provider, stream=True, user=f"sim:fault=cut_after_{after}") as response:
        got, broke = await read_until_broken(response)

    assert broke
    events = [json.loads(event.removeprefix("data: ")) for event in got.decode().split("\n\n") if event]
    assert sum(has_text(event) for event in events) == after
    line = await last_line(sim)
    assert (line.billed, line.cost_nano, line.fault) == (False, 0, f"cut_after_{after}")


def has_text(event: dict) -> bool:
    delta = event["choices"][0]["delta"]
    return bool(delta.get("content") or delta.get("reasoning_content"))


@EVERY_PROVIDER
async def test_a_place_beyond_the_last_chunk_is_just_before_the_finish(client, sim, provider):
    reply = await client.stream(provider, user="sim:fault=eof_after_999")

    assert reply.text
    assert not any(choice.get("finish_reason") for chunk in reply.chunks for choice in chunk["choices"])
    assert not (await last_line(sim)).billed


@EVERY_PROVIDER
@pytest.mark.parametrize("after", [0, 1, 2])
async def test_eof_ends_the_stream_in_good_order_without_a_finish(client, sim, provider, after):
    reply = await client.stream(provider, user=f"sim:fault=eof_after_{after}")

    assert content_chunks(reply) == after
    assert "[DONE]" not in reply.events
    assert not (await last_line(sim)).billed


@EVERY_PROVIDER
@pytest.mark.parametrize("fault", ["cut", "eof"])
async def test_a_whole_body_is_broken_off_half_way(client, sim, provider, fault):
    async with client.open(provider, user=f"sim:fault={fault}") as response:
        got, broke = await read_until_broken(response)

    assert broke == (fault == "cut")
    assert got
    with pytest.raises(json.JSONDecodeError):
        json.loads(got)
    assert not (await last_line(sim)).billed


@EVERY_PROVIDER
@STREAMED_OR_NOT
async def test_malformed_json_is_sent_and_not_billed(client, sim, provider, stream):
    reply = await client.chat(provider, stream=stream, user="sim:fault=malformed")

    broken = reply.events[-1] if stream else reply.raw.decode()
    with pytest.raises(json.JSONDecodeError):
        json.loads(broken)
    assert reply.status == 200
    assert not (await last_line(sim)).billed


@EVERY_PROVIDER
@STREAMED_OR_NOT
async def test_an_error_event_comes_inside_a_200_and_is_not_billed(client, sim, provider, stream):
    reply = await client.chat(provider, stream=stream, user="sim:fault=error_event")

    told = reply.chunks[-1] if stream else reply.json
    assert reply.status == 200
    assert told["error"]["message"]
    assert not (await last_line(sim)).billed


@EVERY_PROVIDER
@STREAMED_OR_NOT
async def test_an_answer_without_usage_is_whole_and_billed(client, sim, provider, stream):
    reply = await client.chat(
        provider,
        user="sim:fault=no_usage",
        **(ASKED if stream else {}),
    )

    bodies = reply.chunks if stream else [reply.json]
    assert not any(body.get("usage") for body in bodies)
    line = await last_line(sim)
    assert line.billed
    assert (line.tokens.prompt, line.tokens.completion) == (8, 14)


@EVERY_PROVIDER
@STREAMED_OR_NOT
async def test_zero_usage_is_told_as_zero_and_billed_as_zero(client, sim, provider, stream):
    reply = await client.chat(
        provider,
        user="sim:fault=zero_usage",
        **(ASKED if stream else {}),
    )

    usage = (reply.chunks[-1] if stream else reply.json)["usage"]
    assert (usage["prompt_tokens"], usage["completion_tokens"], usage["total_tokens"]) == (0, 0, 0)
    assert reply.text
    line = await last_line(sim)
    assert (line.billed, line.cost_nano) == (True, 0)


@EVERY_PROVIDER
async def test_no_done_finishes_then_holds_the_connection_and_is_billed_whole(client, sim, provider):
    async with client.open(provider, stream=True, user="sim:fault=no_done") as response:
        got = await read_until_silent(response)

    assert b'"finish_reason":"stop"' in got
    assert b"[DONE]" not in got
    line = await last_line(sim)
    assert (line.billed, line.tokens.completion, line.why) == (True, 14, "completed")


@EVERY_PROVIDER
@STREAMED_OR_NOT
async def test_the_content_filter_stops_half_way_and_that_much_is_billed(client, sim, provider, stream):
    reply = await client.chat(provider, stream=stream, user="sim:fault=content_filter")

    assert '"content_filter"' in reply.raw.decode()
    line = await last_line(sim)
    assert line.billed
    assert line.tokens.output == 5


@STREAMED_OR_NOT
async def test_slow_takes_its_gap_between_chunks(client, stream):
    started = time.perf_counter()
    reply = await client.chat("openai", stream=stream, user="sim:fault=slow;gap_ms=20;answer_tokens=6")

    assert reply.status == 200
    assert time.perf_counter() - started >= 5 * 0.018


@EVERY_PROVIDER
@STREAMED_OR_NOT
async def test_the_first_token_waits_its_time(client, provider, stream):
    started = time.perf_counter()
    async with client.open(provider, stream=stream, user="sim:ttft_ms=60") as response:
        assert time.perf_counter() - started >= 0.058  # timers may fire a clock tick early
        await response.read()


@EVERY_PROVIDER
@pytest.mark.parametrize("size", [1, 7])
async def test_events_may_be_split_at_any_byte_and_say_the_same(client, sim, provider, size):
    sim.set_scenario(provider, Scenario(answer_tokens=40, reasoning_tokens=4))
    whole = await client.stream(provider)
    sim.set_scenario(provider, Scenario(answer_tokens=40, reasoning_tokens=4, split_bytes=size))
    pieces = []
    async with client.open(provider, stream=True, stream_options={"include_usage": True}) as response:
        async for piece, _ in response.content.iter_chunks():
            pieces.append(piece)

    got = b"".join(pieces)
    assert len(got) == len(whole.raw)
    assert got.endswith(b"data: [DONE]\n\n")
    assert not whole.text.isascii(), "the split is to cut inside UTF-8 sequences too"


def test_every_fault_is_tried_in_this_file():
    source = Path(__file__).read_text()
    untried = [name for name in FAULTS if name not in source and not name.startswith("http_")]
    assert untried == []

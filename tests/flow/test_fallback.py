"""Faults of providers cost the caller time and nothing else, until the first content has left."""

from __future__ import annotations

import asyncio
import json
import time

import pytest

from gateway.simulator import Scenario, Simulator
from tests.flow.world import PRICES, ROUTES, env
from tests.running import RunningGateway


@pytest.fixture
async def river(tmp_path):
    """A gateway and the simulator behind it; the cheapest candidate of `auto` is deepseek, then google."""
    async with Simulator(PRICES) as sim:
        gateway = RunningGateway(tmp_path, ROUTES, env(sim))
        await asyncio.to_thread(gateway.start)
        try:
            yield gateway, sim
        finally:
            await asyncio.to_thread(gateway.stop)


async def ask(gateway: RunningGateway, text="hello", model="auto", **fields):
    return await asyncio.to_thread(gateway.chat, text, model, **fields)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    "fault", ["http_500", "http_503", "http_429", "http_401", "http_402", "http_404", "drop", "drop_headers", "stall",
              "malformed_after_0", "error_event_after_0", "cut_after_0", "eof_after_0"],
)  # fmt: skip
async def test_before_the_first_content_every_fault_is_invisible(river, fault, stream):
    gateway, sim = river
    sim.set_scenario("deepseek", Scenario(fault=fault))
    status, headers, body = await ask(gateway, stream=stream, max_tokens=20)
    rows = await asyncio.to_thread(gateway.rows, 2)

    if not stream and fault == "stall":
        # A whole answer has no first token to wait for: an attempt that another could follow has half of the time.
        assert status == 200
    assert status == 200
    assert headers["x-gateway-provider"] == "google"
    assert int(headers["x-gateway-attempts"]) == len(rows) >= 2
    assert not stream or body.endswith(b"data: [DONE]\n\n")
    assert [row["outcome"] for row in rows][-1] == "ok"
    assert {row["provider"] for row in rows[:-1]} == {"deepseek"}


@pytest.mark.parametrize(
    "fault", ["cut_after_3", "eof_after_3", "malformed_after_3", "error_event_after_3", "stall_after_3"]
)
@pytest.mark.parametrize("provider", ["openai", "deepseek", "google"])
async def test_after_the_first_content_a_fault_is_told_in_band_and_never_done(river, fault, provider):
    gateway, sim = river
    model = next(f"{name}/{model}" for name, model in PRICES if name == provider)
    sim.set_scenario(provider, Scenario(fault=fault, answer_tokens=40, chunk_tokens=1, gap_ms=30, reasoning_tokens=0))
    status, _, body = await ask(gateway, model=model, stream=True)
    rows = await asyncio.to_thread(gateway.rows, 1)

    assert status == 200
    events = [event for event in body.split(b"\n\n") if event.startswith(b"data: ")]
    assert set(json.loads(events[-1][6:])["error"]) == {"message", "type", "param", "code"}
    assert b"[DONE]" not in body
    assert [row["state"] for row in rows] == ["uncertain"]
    assert rows[0]["cost_nano"] > 0


async def test_the_callers_own_mistake_is_not_tried_elsewhere(river):
    gateway, sim = river
    sim.set_scenario("deepseek", Scenario(fault="http_400"))
    status, headers, body = await ask(gateway)

    assert (status, headers["x-gateway-attempts"]) == (400, "1")
    assert json.loads(body)["error"]["type"] == "invalid_request_error"
    assert len(await asyncio.to_thread(gateway.rows, 1)) == 1


async def test_when_all_fail_the_caller_learns_who_was_asked_last_and_not_to_retry(river):
    gateway, sim = river
    sim.set_scenario(None, Scenario(fault="http_503"))
    status, headers, body = await ask(gateway)

    assert status == 502
    assert headers["x-gateway-attempts"] == "3"
    assert headers["x-should-retry"] == "false"
    assert json.loads(body)["error"]["message"] == "openai answered 503; no other candidate was left"
    rows = await asyncio.to_thread(gateway.rows, 3)
    assert [row["cost_nano"] for row in rows] == [0, 0, 0]


async def test_bad_credentials_set_the_whole_provider_aside(river):
    gateway, sim = river
    sim.set_scenario("deepseek", Scenario(fault="http_401"))
    first = await ask(gateway)
    second = await ask(gateway)

    assert [headers["x-gateway-attempts"] for _, headers, _ in (first, second)] == ["2", "1"]
    assert "key-deepseek-canary" not in gateway.log
    explained = json.loads((await asyncio.to_thread(gateway.post, "/admin/explain", {"model": "auto", "messages": [
        {"role": "user", "content": "x"}]}))[2])  # fmt: skip
    assert [drop["code"] for drop in explained["drops"]] == ["unhealthy"]


async def test_retry_after_is_obeyed_and_the_provider_returns(river):
    gateway, sim = river
    sim.set_scenario("deepseek", Scenario(fault="http_429", retry_after=1))
    await ask(gateway)
    sim.set_scenario("deepseek", None)

    assert (await ask(gateway))[1]["x-gateway-provider"] == "google"
    await asyncio.sleep(1.1)
    assert (await ask(gateway))[1]["x-gateway-provider"] == "deepseek"


async def test_keep_alive_comments_do_not_hide_a_stall(river):
    gateway, sim = river
    sim.set_scenario("deepseek", Scenario(fault="stall", keepalive_ms=50))
    began = time.monotonic()
    status, headers, _ = await ask(gateway, stream=True)

    assert (status, headers["x-gateway-provider"]) == (200, "google")
    assert time.monotonic() - began < 10


async def test_a_queue_with_keep_alives_is_waited_for(river):
    gateway, sim = river
    sim.set_scenario("deepseek", Scenario(queue_ms=400, keepalive_ms=50))
    for stream in (False, True):
        status, headers, _ = await ask(gateway, stream=stream)
        assert (status, headers["x-gateway-provider"]) == (200, "deepseek")


async def test_an_answer_without_usage_is_estimated_and_kept_apart(river):
    gateway, sim = river
    sim.set_scenario("deepseek", Scenario(fault="no_usage"))
    for stream in (False, True):
        assert (await ask(gateway, stream=stream))[0] == 200
    rows = await asyncio.to_thread(gateway.rows, 2)

    assert {(row["state"], row["usage_source"]) for row in rows} == {("uncertain", "estimated")}
    spent = json.loads((await asyncio.to_thread(gateway.get, "/admin/spend"))[2])["total"]
    assert spent["settled_nano"] == 0
    assert spent["uncertain_nano"] == sum(row["cost_nano"] for row in rows) > 0


async def test_a_reply_held_open_after_its_finish_ends_soon(river):
    gateway, sim = river
    sim.set_scenario(None, Scenario(fault="no_done"))
    for model in ("openai/gpt-6-test", "deepseek/chat-test", "google/gemini-test"):
        began = time.monotonic()
        status, _, body = await ask(gateway, model=model, stream=True)
        assert status == 200
        assert body.endswith(b"data: [DONE]\n\n")
        assert time.monotonic() - began < 5


async def test_a_client_that_leaves_does_not_lose_the_bill_of_a_whole_answer(river):
    gateway, sim = river
    sim.set_scenario("google", Scenario(gap_ms=20, answer_tokens=30))
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    body = b'{"model":"google/gemini-test","stream":true,"messages":[{"role":"user","content":"leave early"}]}'
    writer.write(
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)
    )
    await reader.readuntil(b"data: ")
    writer.close()
    rows = await asyncio.to_thread(gateway.rows, 1)
    await sim.idle()

    assert [(row["outcome"], row["state"]) for row in rows] == [("aborted", "settled")]
    assert rows[0]["cost_nano"] == sim.total_nano() > 0

"""One attempt layer: who is asked next, who is not, and that no text ever comes twice."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager

import aiohttp
import pytest

from gateway.simulator import Scenario, Simulator
from tests.flow.player import Play, Player, recorded
from tests.flow.world import _ALL, _ROW, PRICES, ROUTES, env
from tests.running import RunningGateway

NAMES = {"openai": "openai/gpt-6-test", "deepseek": "deepseek/chat-test", "google": "google/gemini-test"}
SECOND = ("openai", "gpt-6-second")

LARGE = "context_tokens: 900000, max_output_tokens: 8000, expected_output_tokens: 60"
MORE = ROUTES.replace(
    "prices:\n",
    f"""  openai/gpt-6-second: {{{LARGE}, capabilities: [{_ALL}]}}
prices:
  - {{id: d, model: openai/gpt-6-second, {_ROW}, rates: {{input: "1.10", cached_input: "0.110", output: "5.30"}}}}
""",
)


def first(name: str, others: list[str], more: str = "") -> str:
    return f"  {name}: {{policy: cheapest, candidates: [{others[0]}], fallbacks: [{', '.join(others[1:])}]{more}}}\n"


for provider, model in NAMES.items():
    others = [model, *(one for one in NAMES.values() if one != model)]
    MORE += first(f"first-{provider}", others) + first(f"whole-{provider}", others, ", delivery: whole")
PATIENT = ", delivery: whole, timeouts: {connect_s: 2, first_token_s: 6, between_tokens_s: 6, total_s: 20}"
MORE += first("patient", ["deepseek/chat-test", "google/gemini-test"], PATIENT)
MORE += first("same", ["openai/gpt-6-test", "openai/gpt-6-second", "google/gemini-test"])
MORE += first("larger", ["deepseek/chat-test", "google/gemini-test", "openai/gpt-6-second"])
MORE += first("none-larger", ["openai/gpt-6-second", "google/gemini-test"])

PRICES_TOO = {**PRICES, SECOND: [(0, {"input": "1.1", "cached_input": "0.11", "output": "5.3"})]}


@asynccontextmanager
async def river(folder, sim: Simulator, *, workers: int | None = None, **addresses: str):
    gateway = RunningGateway(folder, MORE, env(sim) | addresses, workers=workers)
    await asyncio.to_thread(gateway.start)
    try:
        yield gateway
    finally:
        await asyncio.to_thread(gateway.stop)


async def ask(gateway: RunningGateway, model: str, **fields):
    headers = fields.pop("headers", {})
    body = {"model": model, "messages": [{"role": "user", "content": "hello"}], **fields}
    return await asyncio.to_thread(gateway.post, "/v1/chat/completions", body, **headers)


def chunks(body: bytes) -> list[dict]:
    return [json.loads(event[6:]) for event in body.split(b"\n\n")
            if event.startswith(b"data: {") and b'"choices"' in event]  # fmt: skip


def said(events: list[dict]) -> list[str]:
    deltas = [choice["delta"] for event in events for choice in event["choices"]]
    return [text for delta in deltas if (text := delta.get("content") or delta.get("reasoning_content"))]


def finished(events: list[dict]) -> bool:
    return any(choice.get("finish_reason") for event in events for choice in event["choices"])


# Where a stream ends -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["abort", "eof", "hold"])
@pytest.mark.parametrize("provider", NAMES)
async def test_wherever_a_stream_is_cut_no_text_comes_twice_and_a_cut_one_is_never_done(tmp_path, provider, ending):
    async with Simulator(PRICES_TOO) as sim:
        events = await recorded(sim.base_url(provider), NAMES[provider].partition("/")[2])
        async with (
            Player(events) as player,
            river(tmp_path, sim, **{f"SIM_{provider.upper()}": player.url}) as gateway,
        ):
            for cut in range(len(events) + 1):
                if ending == "hold" and 1 < cut < len(events) - 3:
                    continue  # each takes a deadline: the first, and those about the end
                before = chunks(b"".join(events[:cut]))
                model = json.loads(events[0][6:])["model"]
                player.queue += [Play(events[:cut], ending)]
                status, headers, body = await ask(gateway, f"first-{provider}", stream=True)
                assert status == 200
                got = chunks(body)
                if finished(before):
                    assert said(got) == said(before) == said(chunks(b"".join(events)))
                    assert body.endswith(b"data: [DONE]\n\n")
                elif said(before):
                    assert said(got) == said(before), "what had come, once"
                    assert b"[DONE]" not in body
                    assert b'data: {"error":' in body
                else:
                    assert {one["model"] for one in got}.isdisjoint({model}), "another one answers, alone"
                    assert headers["x-gateway-attempts"] == "2"
                    assert finished(got)
                    assert body.endswith(b"data: [DONE]\n\n")

                player.queue += [Play(events[:cut], ending)]
                status, headers, body = await ask(gateway, f"whole-{provider}", stream=True)
                assert status == 200
                got = chunks(body)
                assert len({one["model"] for one in got}) == 1
                assert finished(got)
                assert body.endswith(b"data: [DONE]\n\n")
                assert (headers["x-gateway-provider"] == provider) == finished(before)
                for _ in range(3):  # good ones between: no circuit opens
                    await ask(gateway, f"first-{provider}", stream=True)
            rows = await asyncio.to_thread(gateway.rows)

    broken = [row for row in rows if row["provider"] == provider and row["outcome"] != "ok"]
    assert {row["state"] for row in broken} == {"uncertain"}
    assert all(row["cost_nano"] > 0 for row in broken)


@pytest.mark.parametrize("provider", NAMES)
async def test_done_without_a_finish_reason_is_a_truncation(tmp_path, provider):
    async with Simulator(PRICES_TOO) as sim:
        events = await recorded(sim.base_url(provider), NAMES[provider].partition("/")[2])
        whole = chunks(b"".join(events))
        finish = next(at for at, event in enumerate(whole) if finished([event]))
        async with (
            Player(events) as player,
            river(tmp_path, sim, **{f"SIM_{provider.upper()}": player.url}) as gateway,
        ):
            lying = Play((*events[:finish], b"data: [DONE]\n\n"), "hold")
            player.queue += [lying]
            _, _, body = await ask(gateway, f"first-{provider}", stream=True)
            assert b"[DONE]" not in body
            assert b'data: {"error":' in body
            player.queue += [lying]
            _, headers, body = await ask(gateway, f"whole-{provider}", stream=True)
            assert headers["x-gateway-provider"] != provider
            assert body.endswith(b"data: [DONE]\n\n")
            player.queue += [Play((b"data: [DONE]\n\n",), "hold")]
            _, headers, _ = await ask(gateway, f"first-{provider}", stream=True)
            assert headers["x-gateway-provider"] != provider
            rows = await asyncio.to_thread(gateway.rows, 5)

    assert [row["outcome"] for row in rows if row["provider"] == provider] == ["truncated", "truncated", "malformed"]


async def test_a_connection_whose_stream_has_ended_is_used_again(tmp_path):
    async with Simulator(PRICES_TOO) as sim:
        events = await recorded(sim.base_url("openai"), "gpt-6-test")
        async with Player(events) as player, river(tmp_path, sim, SIM_OPENAI=player.url) as gateway:
            for _ in range(5):
                await ask(gateway, "first-openai", stream=True)

    assert (player.requests, player.connections) == (5, 1)


# Delivery ------------------------------------------------------------------------------------------------------------


async def test_the_delivery_can_be_chosen_for_each_request_and_an_unknown_one_is_refused(tmp_path):
    async with Simulator(PRICES_TOO) as sim, river(tmp_path, sim) as gateway:
        cut = {"stream": True, "user": "sim:fault@deepseek=cut_after_3;answer_tokens=20"}
        as_it_comes = await ask(gateway, "first-deepseek", **cut)
        whole = await ask(gateway, "first-deepseek", headers={"x-gateway-delivery": "whole"}, **cut)
        as_asked = await ask(gateway, "whole-deepseek", headers={"x-gateway-delivery": "stream"}, **cut)
        status, _, body = await ask(gateway, "auto", headers={"x-gateway-delivery": "pigeon"})

    assert b"[DONE]" not in as_it_comes[2]
    assert b"[DONE]" not in as_asked[2]
    assert whole[2].endswith(b"data: [DONE]\n\n")
    assert (whole[1]["x-gateway-provider"], whole[1]["x-gateway-attempts"]) == ("openai", "2")
    error = json.loads(body)["error"]
    assert (status, error["code"], error["param"]) == (400, "invalid_term", "x-gateway-delivery")
    assert error["message"] == "'x-gateway-delivery' is 'pigeon'; it takes one of stream, whole"


async def test_a_client_that_waits_for_a_whole_stream_hears_comments_and_then_all_of_it_or_an_error(tmp_path):
    async with Simulator(PRICES_TOO) as sim, river(tmp_path, sim) as gateway:
        one, both = await asyncio.gather(
            ask(gateway, "patient", stream=True, user="sim:fault@deepseek=stall_after_2;answer_tokens=20"),
            ask(gateway, "patient", stream=True, user="sim:fault=stall_after_2;answer_tokens=20"),
        )
        refused = await ask(gateway, "patient", stream=True, user="sim:fault=http_400")
        rows = await asyncio.to_thread(gateway.rows, 5)

    status, headers, body = one
    assert (status, headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
    assert "x-gateway-provider" not in headers, "nobody knew yet"
    assert body.startswith(b": keep-alive\n\n")
    assert b'"provider":"google"' in body
    assert body.endswith(b"data: [DONE]\n\n")
    assert both[0] == 200
    assert b"[DONE]" not in both[2]
    assert [event[:13] for event in both[2].split(b"\n\n") if event.startswith(b"data")] == [b'data: {"error']
    assert refused[0] == 400, "before the first comment an error has its own status"
    assert sorted(row["outcome"] for row in rows) == ["http_400", "ok", "timeout", "timeout", "timeout"]


# Who is asked next ---------------------------------------------------------------------------------------------------


async def test_a_silent_provider_is_not_asked_again_and_a_failing_one_within_its_budget(tmp_path):
    async with Simulator(PRICES_TOO) as sim, river(tmp_path, sim) as gateway:
        sim.set_scenario("openai", Scenario(fault="stall"), "gpt-6-test")
        silent = await ask(gateway, "same", stream=True)
        sim.set_scenario("openai", Scenario(fault="http_503"), "gpt-6-test")
        failing = await ask(gateway, "same")

    assert (silent[1]["x-gateway-model"], silent[1]["x-gateway-attempts"]) == ("google/gemini-test", "2")
    assert (failing[1]["x-gateway-model"], failing[1]["x-gateway-attempts"]) == ("openai/gpt-6-second", "2")


@pytest.mark.parametrize("stream", [False, True])
async def test_a_prompt_that_is_too_long_goes_to_a_model_that_takes_more_or_back_in_the_providers_words(
    tmp_path, stream
):
    async with Simulator(PRICES_TOO) as sim, river(tmp_path, sim) as gateway:
        larger = await ask(gateway, "larger", stream=stream, user="sim:fault@deepseek=context_length")
        told = await ask(gateway, "none-larger", stream=stream, user="sim:fault@openai=context_length")
        unhealthy = json.loads((await asyncio.to_thread(gateway.post, "/admin/explain", {
            "model": "auto", "messages": [{"role": "user", "content": "x"}]}))[2])["drops"]  # fmt: skip

    assert (larger[0], larger[1]["x-gateway-attempts"]) == (200, "2")
    assert larger[1]["x-gateway-model"] == "/".join(SECOND)
    assert (told[0], told[1]["x-gateway-attempts"]) == (400, "1")
    assert json.loads(told[2])["error"]["code"] == "context_length_exceeded"
    assert unhealthy == []


@pytest.mark.parametrize("stream", [False, True])
async def test_what_a_filter_stopped_is_handed_on_and_not_asked_elsewhere(tmp_path, stream):
    async with Simulator(PRICES_TOO) as sim, river(tmp_path, sim) as gateway:
        status, headers, body = await ask(gateway, "auto", stream=stream, user="sim:fault=content_filter")

    assert (status, headers["x-gateway-attempts"]) == (200, "1")
    assert b'"content_filter"' in body


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("provider", NAMES)
async def test_the_answer_says_who_made_it_and_what_it_took(tmp_path, provider, stream):
    async with Simulator(PRICES_TOO) as sim, river(tmp_path, sim) as gateway:
        options = {"stream": True, "stream_options": {"include_usage": True}} if stream else {}
        _, headers, body = await ask(gateway, f"first-{provider}", **options)
    answers = chunks(body) if stream else [json.loads(body)]

    assert {one["model"] for one in answers} == {NAMES[provider].partition("/")[2]}
    assert answers[-1]["usage"]["completion_tokens"] > 0
    assert headers["x-gateway-model"] == NAMES[provider]


# Circuits ------------------------------------------------------------------------------------------------------------


async def test_when_all_candidates_are_counted_out_the_least_bad_one_is_asked(tmp_path):
    async with Simulator(PRICES_TOO) as sim, river(tmp_path, sim) as gateway:
        sim.set_scenario(None, Scenario(fault="http_503"))
        for _ in range(6):
            status, headers, _ = await ask(gateway, "deepseek/chat-test")
            assert (status, headers["x-gateway-attempts"]) == (502, "1")
        sim.set_scenario(None, None)
        assert (await ask(gateway, "deepseek/chat-test"))[0] == 200
        sim.set_scenario(None, Scenario(fault="http_401"))
        assert (await ask(gateway, "deepseek/chat-test"))[0] == 502
        status, headers, body = await ask(gateway, "deepseek/chat-test")

    assert (status, json.loads(body)["error"]["code"]) == (503, "no_healthy_candidate")
    assert int(headers["retry-after"]) > 10


async def test_who_asks_to_be_left_alone_meanwhile_is_passed_over(tmp_path):
    async with Simulator(PRICES_TOO) as sim, river(tmp_path, sim) as gateway:
        slow = asyncio.create_task(ask(gateway, "first-google", stream=True, user="sim:fault@google=stall"))
        await asyncio.sleep(0.3)
        await ask(gateway, "openai/gpt-6-test", user="sim:fault@openai=http_429;retry_after=60")
        _, headers, _ = await slow

    assert (headers["x-gateway-provider"], headers["x-gateway-attempts"]) == ("deepseek", "2")


async def test_a_request_to_wait_is_obeyed_by_every_worker(tmp_path):
    async with Simulator(PRICES_TOO) as sim, river(tmp_path, sim, workers=3) as gateway:
        sim.set_scenario("deepseek", Scenario(fault="http_429", retry_after=60))
        await ask(gateway, "auto")
        sim.set_scenario("deepseek", None)
        await asyncio.sleep(1.0)  # the promise: by then nobody asks deepseek, who would answer
        before = len(sim.bill)
        for _ in range(30):
            assert (await ask(gateway, "auto"))[1]["x-gateway-provider"] == "google"

    assert {line.provider for line in sim.bill[before:]} == {"google"}


# Clients that leave --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("provider", NAMES)
async def test_a_client_that_leaves_a_whole_answer_is_noticed(tmp_path, provider):
    async with Simulator(PRICES_TOO) as sim, river(tmp_path, sim) as gateway:
        body = {
            "model": NAMES[provider], "messages": [{"role": "user", "content": "Tell me a long story."}],
            "user": "sim:answer_tokens=200;gap_ms=10;chunk_tokens=1",
        }  # fmt: skip
        async with aiohttp.ClientSession(gateway.url) as session:
            with pytest.raises(TimeoutError):
                await session.post("/v1/chat/completions", json=body, timeout=aiohttp.ClientTimeout(total=0.3))
        async with asyncio.timeout(15):
            await sim.idle()
        (row,) = await asyncio.to_thread(gateway.rows, 1)
    (line,) = sim.bill

    assert row["outcome"] == "aborted"
    if provider == "google":
        assert (row["state"], row["cost_nano"]) == ("settled", line.cost_nano)
        assert line.tokens.completion >= 200
    else:
        assert (row["state"], row["usage_source"]) == ("uncertain", "estimated")
        assert line.tokens.completion < 100

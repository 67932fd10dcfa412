"""How a scenario is chosen: set for a provider or a model, carried by a request, sent to the control paths."""

import asyncio
import json
import re
import sys
from pathlib import Path

import aiohttp
import pytest
from simclient import HELLO, PRICES, TEN, Client

import gateway
from gateway.simulator import PROVIDERS, Scenario, Simulator
from gateway.simulator.scenario import DEFAULT, apply_rule, parse_rule
from gateway.simulator.wires import WIRES

ROOT = Path(gateway.__file__).parents[1]


def test_a_rule_is_read_with_its_types():
    scenario = apply_rule(
        DEFAULT, "fault=cut_after_3; ttft_ms=20;gap_ms=1.5;split_bytes=7;answer_tokens=4;p=.5", "openai"
    )

    assert scenario == Scenario(
        fault="cut_after_3", ttft_ms=20.0, gap_ms=1.5, split_bytes=7, answer_tokens=4, p=0.5
    )  # fmt: skip


def test_a_rule_may_limit_a_part_to_one_provider():
    rule = "fault@deepseek=http_503;fault@openai=cut_after_2;gap_ms=1"

    assert apply_rule(DEFAULT, rule, "deepseek") == Scenario(fault="http_503", gap_ms=1)
    assert apply_rule(DEFAULT, rule, "openai") == Scenario(fault="cut_after_2", gap_ms=1)
    assert apply_rule(DEFAULT, rule, "google") == Scenario(gap_ms=1)


def test_a_bare_fault_name_is_a_rule_and_none_takes_a_value_away():
    assert apply_rule(DEFAULT, "http_503", "openai").fault == "http_503"
    assert apply_rule(Scenario(fault="drop", gap_ms=3), "fault=none", "openai") == Scenario(gap_ms=3)
    assert parse_rule("") == ()


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ("fault=nonsense", "no fault named 'nonsense'"),
        ("fault=drop_after_3", "strikes at one place only"),
        ("falt=drop", "no scenario field named 'falt'"),
        ("fault@mistral=drop", "no provider named 'mistral'"),
        ("gap_ms=soon", "gap_ms='soon' is not a float"),
        ("gap_ms=-1", "must not be negative"),
        ("p=2", "not a probability"),
        ("answer_tokens=1000001", "at most 1,000,000 tokens"),
        ("usage_at=never", "use finish or own"),
        ("gap_ms=1 2", "bad rule part"),
    ],
)
async def test_a_mistake_in_a_rule_is_answered_400_with_what_is_wrong(client, sim, rule, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        apply_rule(DEFAULT, rule, "openai")

    reply = await client.chat("openai", user=f"sim:{rule}")
    assert reply.status == 400
    assert said in reply.json["error"]["message"]
    assert not sim.bill[-1].billed


async def test_the_nearest_scenario_wins(client, sim):
    sim.set_scenario(None, Scenario(fault="http_500"))
    sim.set_scenario("openai", Scenario(fault="http_503"))
    sim.set_scenario("openai", Scenario(), model="gpt-4o-mini")
    sim.set_scenario("google", None)

    assert (await client.chat("openai", model="gpt-4o-mini")).status == 200
    assert (await client.chat("openai")).status == 503
    assert (await client.chat("google")).status == 500
    assert (await client.chat("openai", user="sim:fault=none")).status == 200
    assert (await client.chat("openai", user="sim:drop", headers={"x-sim-fault": "http_402"})).status == 402
    assert (await client.chat("openai", user="somebody")).status == 503


async def test_an_outage_begins_and_ends_with_the_switch(client, sim):
    sim.set_scenario("deepseek", Scenario(fault="http_503"))
    down = await client.chat("deepseek")
    sim.set_scenario("deepseek", None)
    up = await client.chat("deepseek")

    assert (down.status, up.status) == (503, 200)


async def test_a_probable_fault_strikes_as_often_as_it_says_and_the_same_for_the_same_seed():
    async def statuses(seed: int) -> list[int]:
        async with Simulator(PRICES, seed=seed) as sim, aiohttp.ClientSession() as http:
            sim.set_scenario("openai", Scenario(fault="http_500", p=0.3))
            return [(await Client(http, sim).chat("openai")).status for _ in range(200)]

    first = await statuses(1)
    assert 35 <= first.count(500) <= 85
    assert first == await statuses(1)
    assert first != await statuses(2)


async def test_the_fault_in_the_line_is_the_one_that_struck(client, sim):
    for _ in range(20):
        await client.chat("openai", user="sim:fault=http_500;p=0.5")

    assert {(line.status, line.fault) for line in sim.bill} == {(200, None), (500, "http_500")}


def test_every_provider_has_its_wire():
    assert tuple(WIRES) == PROVIDERS


# ── the control paths ──


async def post(client, path: str, body: object = None) -> tuple[int, dict]:
    async with client.session.post(client.sim.url + path, json=body) as response:
        return response.status, await response.json()


async def get(client, path: str) -> dict:
    async with client.session.get(client.sim.url + path) as response:
        return await response.json()


async def test_the_bill_is_told_over_http(client, sim):
    await client.chat("openai", headers={"x-gateway-attempt": "A1"})
    await client.chat("google", user="sim:fault=http_500")

    bill, attempts = await get(client, "/_sim/bill"), await get(client, "/_sim/attempts?limit=1")

    assert bill["total_nano"] == sim.total_nano() == 128_000
    assert (bill["attempts"], bill["in_flight"]) == (2, 0)
    assert bill["by_model"][0] == {
        "provider": "openai",
        "model": "gpt-6-luna",
        "attempts": 1,
        "billed": 1,
        "cost_nano": 128_000,
        "tokens": {"input": 8, "cached_input": 0, "cache_write": 0, "output": 10, "reasoning": 4},
    }
    assert [(line["provider"], line["status"], line["why"]) for line in attempts["attempts"]] == [
        ("google", 500, "error status")
    ]


@pytest.mark.parametrize("scenario", [{"fault": "http_503", "ttft_ms": 1}, "fault=http_503;ttft_ms=1"])
async def test_a_scenario_is_set_and_taken_away_over_http(client, scenario):
    set_status, _ = await post(client, "/_sim/scenario", {"provider": "openai", "scenario": scenario})
    down = await client.chat("openai")
    await post(client, "/_sim/scenario", {"provider": "openai", "scenario": None})
    up = await client.chat("openai")

    assert (set_status, down.status, up.status) == (200, 503, 200)


@pytest.mark.parametrize(
    ("path", "body", "said"),
    [
        ("/_sim/scenario", {"provider": "openai", "scenario": {"falt": "drop"}}, "no scenario field named 'falt'"),
        ("/_sim/scenario", {"provider": "mistral", "scenario": "drop"}, "no provider named 'mistral'"),
        ("/_sim/scenario", {"who": "openai"}, "unknown: who"),
        ("/_sim/scenario", [1], "must be a JSON object"),
        ("/_sim/scenario", {"scenario": 5}, "give an object"),
        ("/_sim/price", {"provider": "openai"}, "give provider, model"),
        ("/_sim/price", {"provider": "openai", "model": "m", "rates": {"input": "1"}}, "'output'"),
    ],
)
async def test_a_wrong_control_request_is_400_and_says_why(client, path, body, said):
    status, told = await post(client, path, body)

    assert status == 400
    assert said in told["error"]["message"]


async def test_a_price_cut_over_http_holds_from_then_on(client, sim):
    await client.chat("openai")
    await post(client, "/_sim/price", {"provider": "openai", "model": "gpt-6-luna", "from": 1,
                                       "rates": {"input": "1", "output": "1"}})  # fmt: skip
    await client.chat("openai")

    assert [line.cost_nano for line in sim.bill] == [128_000, 22_000]


async def test_reset_forgets_the_bill_the_cache_and_the_scenarios_but_no_price(client, sim):
    sim.set_scenario("openai", Scenario(fault="drop", cache_min=1))
    sim.set_price("openai", "gpt-new", 0, {"input": "1", "output": "1"})

    status, _ = await post(client, "/_sim/reset")
    reply = await client.chat("openai", model="gpt-new")

    assert (status, reply.status) == (200, 200)
    assert reply.json["usage"]["completion_tokens"] == TEN.answer_tokens
    assert len(sim.bill) == 1


async def test_stopping_does_not_wait_for_what_never_ends():
    async with Simulator(PRICES) as sim, aiohttp.ClientSession() as http:
        async with Client(http, sim).open("openai", stream=True, user="sim:fault=stall") as stalled:
            assert sim.in_flight == 1
            async with asyncio.timeout(2):
                await sim.stop()
            with pytest.raises(aiohttp.ClientError):
                await stalled.read()

        assert sim.in_flight == 0
        assert not sim.bill[0].billed


async def test_it_runs_by_itself():
    command = [sys.executable, "-m", "gateway.simulator", "--port", "0", "--rule", "fault@openai=http_503"]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE, cwd=ROOT)
    try:
        lines = [(await process.stdout.readline()).decode().split() for _ in range(4)]
        urls = dict(lines)
        headers = {"authorization": "Bearer x"}
        async with aiohttp.ClientSession(headers=headers) as http:
            body = {"model": "gpt-4o-mini", "messages": HELLO}
            async with http.post(urls["openai"] + "/chat/completions", json=body) as response:
                assert response.status == 503
            body["model"] = "deepseek-flash"
            async with http.post(urls["deepseek"] + "/chat/completions", json=body) as response:
                assert response.status == 200
            async with http.get(urls["bill"]) as response:
                assert (await response.json())["attempts"] == 2
    finally:
        process.terminate()
        await process.wait()


async def test_a_price_file_of_the_wrong_shape_is_refused_in_one_line(tmp_path):
    prices = tmp_path / "prices.json"
    prices.write_text(json.dumps({"openai/gpt-x": [[0, {"input": "1"}]]}))
    command = [sys.executable, "-m", "gateway.simulator", "--port", "0", "--prices", str(prices)]
    process = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.PIPE, cwd=ROOT)
    _, told = await process.communicate()

    assert process.returncode == 1
    assert told.decode() == "simulator: price of openai/gpt-x: ['output'] is missing\n"

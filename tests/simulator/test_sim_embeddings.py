"""Vectors of the simulated providers: on the wires that have them, the same for the same text, and billed."""

from __future__ import annotations

import asyncio
import json
import math
import urllib.error
import urllib.request

import pytest

from gateway.simulator import Scenario, Simulator
from gateway.simulator.embeddings import vector

PRICES = {(provider, "vectors"): [(0, {"input": "0.02", "output": "0"})] for provider in ("openai", "google")}


@pytest.fixture
async def sim():
    async with Simulator(PRICES) as one:
        yield one


async def post(sim, provider, body, key="k"):
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = {"authorization": f"Bearer {key}", "content-type": "application/json", "x-gateway-attempt": "a.1"}
    request = urllib.request.Request(f"{sim.base_url(provider)}/embeddings", raw, headers)

    def send():
        try:
            with urllib.request.urlopen(request, timeout=10) as reply:
                return reply.status, json.loads(reply.read())
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    return await asyncio.to_thread(send)


@pytest.mark.parametrize("provider", ["openai", "google"])
async def test_a_vector_is_answered_and_its_line_is_on_the_bill(sim, provider):
    status, reply = await post(sim, provider, {"model": "vectors", "input": "what is the price of it"})

    assert status == 200
    assert reply["data"][0]["embedding"] == vector("what is the price of it")
    assert reply["usage"] == {"prompt_tokens": 6, "total_tokens": 6}
    (line,) = sim.bill
    assert (line.attempt, line.provider, line.model, line.tokens.input) == ("a.1", provider, "vectors", 6)
    assert line.cost_nano == 120


async def test_deepseek_has_none(sim):
    assert (await post(sim, "deepseek", {"model": "vectors", "input": "a"}))[0] == 404


@pytest.mark.parametrize(
    ("body", "key", "status"),
    [
        ({"model": "vectors", "input": "a"}, "bad-key", 401),
        ({"model": "other", "input": "a"}, "k", 404),
        ({"model": "vectors", "input": ""}, "k", 400),
        ({"model": "vectors", "input": ["a"]}, "k", 400),
        (b"{", "k", 400),
        (b"[1]", "k", 400),
    ],
)
async def test_what_is_refused_costs_nothing(sim, body, key, status):
    assert (await post(sim, "openai", body, key))[0] == status
    assert [(line.status, line.cost_nano) for line in sim.bill] == [(status, 0)]


async def test_a_fault_with_a_status_strikes(sim):
    sim.set_scenario("openai", Scenario(fault="http_503"), "vectors")

    assert (await post(sim, "openai", {"model": "vectors", "input": "a"}))[0] == 503
    assert [(line.fault, line.cost_nano) for line in sim.bill] == [("http_503", 0)]


def test_texts_that_share_words_lie_close_and_others_do_not():
    def cosine(one, other):
        return sum(a * b for a, b in zip(vector(one), vector(other), strict=True))

    assert cosine("how do I restart the service", "how can I restart the service") > 0.95
    assert cosine("how do I restart the service", "what grows in the garden") < 0.5
    assert math.isclose(cosine("?!", "?!"), 1.0, abs_tol=1e-5)

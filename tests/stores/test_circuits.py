"""Circuits shared through a real server: told, heard, closed by whoever knows them, kept apart where they must be."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable

import pytest

from gateway.core.errors import Blame, GatewayError
from gateway.proxy.health import FAULTS_TO_OPEN, Health
from gateway.stores.circuits import _NAME, SharedCircuits
from gateway.stores.embedded import EmbeddedStore

FAULT = GatewayError(Blame.UPSTREAM, 502, told="fault", retry=True, outcome="http_503")
ASKED = GatewayError(Blame.UPSTREAM, 429, told="wait", retry=True, retry_after_s=60, outcome="http_429")
WITHIN_S = 5.0

_numbers = itertools.count()


@pytest.fixture
def model() -> str:
    """Unlike any other test's: they share the server."""
    return f"p/m{next(_numbers)}"


class Worker:
    """Health with its line to the others."""

    def __init__(self, url: str, *, simulated: bool = False) -> None:
        self.health = Health(time.perf_counter, lambda _: ())
        self.circuits = SharedCircuits(url, self.health, simulated=lambda: simulated)

    async def __aenter__(self) -> Health:
        self.circuits.start()
        return self.health

    async def __aexit__(self, *_: object) -> None:
        await self.circuits.close()


def fail(health: Health, model: str, error: GatewayError = FAULT) -> None:
    for _ in range(FAULTS_TO_OPEN):
        health.failed(model, "p", error)


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(WITHIN_S):
        while not holds():  # noqa: ASYNC110 - nobody tells a test when another worker has heard
            await asyncio.sleep(0.01)


async def test_what_one_worker_sets_aside_every_other_one_does(valkey_url, model):
    async with Worker(valkey_url) as first, Worker(valkey_url) as second, Worker(valkey_url) as third:
        fail(first, model, ASKED)
        await until(lambda: model in second.unhealthy() and model in third.unhealthy())

        assert "http_429; set aside for 60 s more" in first.unhealthy()[model]
        assert 59 < second.recovers_in_s((model,)) < 67
        assert second.suspects() == []


async def test_an_answer_to_one_worker_closes_the_circuit_of_all(valkey_url, model):
    async with Worker(valkey_url) as first, Worker(valkey_url) as second:
        fail(first, model)
        await until(lambda: model in second.unhealthy())
        second.answered(model, time.perf_counter())
        await until(lambda: model not in first.unhealthy())

        fail(first, model)
        assert first.recovers_in_s((model,)) < 6, "and the past is forgotten"


async def test_an_answer_from_before_an_opening_that_is_heard_of_does_not_close_it(valkey_url, model):
    began = time.perf_counter()
    async with Worker(valkey_url) as first, Worker(valkey_url) as second:
        fail(first, model)
        await until(lambda: model in second.unhealthy())
        second.answered(model, began)

        assert model in second.unhealthy()


async def test_of_two_pauses_the_longer_one_holds(valkey_url, model):
    async with Worker(valkey_url) as first, Worker(valkey_url) as second:
        fail(first, model, ASKED)
        fail(second, model)
        await until(lambda: min(one.recovers_in_s((model,)) for one in (first, second)) > 50)


async def test_simulated_providers_have_circuits_of_their_own(valkey_url, model):
    async with Worker(valkey_url) as real, Worker(valkey_url, simulated=True) as simulated:
        fail(simulated, model)
        fail(real, f"{model}-real")
        await until(lambda: not real.unsaid() and not simulated.unsaid())
        await asyncio.sleep(0.6)

        assert model not in real.unhealthy()
        assert f"{model}-real" not in simulated.unhealthy()


async def test_what_was_closed_meanwhile_or_is_long_past_is_not_kept(valkey_url, raw, model):
    short = GatewayError(Blame.UPSTREAM, 429, told="wait", retry=True, retry_after_s=0.1, outcome="http_429")
    circuits = SharedCircuits(valkey_url, health := Health(time.perf_counter, lambda _: ()), simulated=lambda: False)
    health.failed(model, "p", short)
    said = health.unsaid()
    assert model in {one.model for one in await circuits._exchanged(said)}
    assert await raw.hexists(_NAME, model)

    health.hear(said, said)
    await asyncio.sleep(0.15)
    health.began(model)
    health.answered(model, time.perf_counter())
    assert model not in {one.model for one in await circuits._exchanged(health.unsaid())}
    await circuits.close()


async def test_while_the_server_is_away_each_worker_goes_on_by_itself_and_tells_afterwards(tmp_path, model):
    store = EmbeddedStore(tmp_path)
    await store.start()
    async with Worker(store.url) as first, Worker(store.url) as second:
        await store.close()
        fail(first, model, ASKED)
        await asyncio.sleep(0.5)
        assert model in first.unhealthy()
        assert model not in second.unhealthy()

        store = EmbeddedStore(tmp_path)
        await store.start()
        await until(lambda: model in second.unhealthy())
    await store.close()

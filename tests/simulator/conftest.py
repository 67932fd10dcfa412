"""A simulator on a real socket."""

from collections.abc import AsyncIterator

import aiohttp
import pytest
from simclient import MODELS, PRICES, TEN, Client

from gateway.simulator import Simulator


@pytest.fixture
async def sim() -> AsyncIterator[Simulator]:
    async with Simulator(PRICES, scenarios=dict.fromkeys(MODELS, TEN)) as simulator:
        yield simulator


@pytest.fixture
async def client(sim: Simulator) -> AsyncIterator[Client]:
    async with aiohttp.ClientSession() as session:
        yield Client(session, sim)

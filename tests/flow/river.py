"""One gateway before one simulator, for all tests of a module; each test starts with an empty bill and words of its
own, and sees its own rows of the ledger only."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from gateway.simulator import Scenario, Simulator
from tests.flow.world import PRICES, env
from tests.running import RunningGateway


@dataclass(slots=True)
class River:
    """text: a question that no other test has asked."""

    gateway: RunningGateway
    sim: Simulator
    before: int
    text: str = field(default_factory=lambda: f"what is cached of {uuid.uuid4()}?")

    async def rows(self, expected: int) -> list[dict[str, object]]:
        """The ledger's rows of this test, oldest first; waits until there are `expected` of them."""
        return (await asyncio.to_thread(self.gateway.rows, self.before + expected))[self.before :]


@asynccontextmanager
async def running(
    folder: Path, routes: str, more: dict[str, str] | None = None, workers: int | None = None
) -> AsyncIterator[River]:
    async with Simulator(PRICES) as sim:
        gateway = RunningGateway(folder, routes, {**env(sim), **(more or {})}, workers=workers)
        await asyncio.to_thread(gateway.start)
        try:
            yield River(gateway, sim, 0)
        finally:
            await asyncio.to_thread(gateway.stop)


async def afresh(river: River, scenario: Scenario | None = None) -> River:
    """For the next test: once nothing is under way, and all rows are written."""
    await river.sim.idle()
    seen, rows = -1, len(river.gateway.rows())
    while rows != seen:
        await asyncio.sleep(0.2)  # a batch of rows gathers for a twentieth of a second
        seen, rows = rows, len(river.gateway.rows())
    river.sim.reset()
    river.sim.set_scenario(None, scenario)
    return River(river.gateway, river.sim, rows)

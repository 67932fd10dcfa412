"""Equal requests over several workers: one call, also streamed, and a worker that dies takes nobody else with it."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections import Counter

import pytest
import pytest_asyncio

from gateway.simulator import Scenario
from tests.flow.crowd import Client, ask_all, crowd, workers_of
from tests.flow.river import River, afresh, running
from tests.flow.world import ROUTES
from tests.running import RunningGateway

MANY = 60
SLOW = Scenario(ttft_ms=500, gap_ms=50, answer_tokens=40, reasoning_tokens=0)
"""Two seconds and a half: time for everybody to come."""

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif(sys.platform != "linux", reason="the worker of a connection is found in /proc"),
]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(tmp_path_factory):
    async with running(tmp_path_factory.mktemp("river"), ROUTES, workers=2) as one:
        yield one


@pytest_asyncio.fixture(loop_scope="module")
async def river(shared):
    return await afresh(shared, SLOW)


def asked(river: River, stream: bool) -> dict:
    return {"model": "kept", "messages": [{"role": "user", "content": river.text}], "stream": stream}


async def both(gateway: RunningGateway, count: int = MANY) -> list[Client]:
    """Clients of whom each worker has some."""
    clients: list[Client] = []
    deadline = time.monotonic() + 20
    while len(set((await workers_of(gateway, clients)).values())) < 2:
        assert time.monotonic() < deadline, "one worker has all connections"
        await asyncio.sleep(0.1)
        for client in clients:
            client.writer.close()
        clients = await crowd(gateway, count)
    return clients


async def all_have_a_part(clients: list[Client]) -> None:
    async with asyncio.timeout(10):
        while not all(one.events for one in clients):  # noqa: ASYNC110 - it comes from other processes
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("stream", [False, True])
async def test_equal_requests_to_two_workers_make_one_call(river, stream):
    gateway, sim = river.gateway, river.sim
    clients = await both(gateway)
    await ask_all(clients, asked(river, stream))
    rows = await river.rows(MANY)

    assert len(sim.bill) == 1
    assert len({client.text for client in clients}) == 1
    assert clients[0].text
    assert Counter(client.cache for client in clients) == {"miss": 1, "coalesced": MANY - 1}
    followers = [row for row in rows if row["cache"] == "coalesced"]
    assert len(followers) == MANY - 1
    assert {(row["outcome"], row["cost_nano"]) for row in followers} == {("cached", 0)}
    assert all(row["baseline_nano"] > 0 for row in rows)
    assert sum(row["cost_nano"] for row in rows) == sim.total_nano()


async def test_a_follower_on_another_worker_gets_a_stream_from_its_beginning_and_while_it_lasts(river):
    gateway, sim = river.gateway, river.sim
    leader, *others = await both(gateway)
    workers = await workers_of(gateway, [leader, *others])
    follower = next(one for one in others if workers[one.port] != workers[leader.port])
    leading = asyncio.create_task(leader.ask(asked(river, True)))
    await all_have_a_part([leader])
    following = asyncio.create_task(follower.ask(asked(river, True)))
    await all_have_a_part([follower])
    had = follower.body
    await asyncio.gather(leading, following)

    assert len(sim.bill) == 1
    assert b"[DONE]" not in had
    assert follower.events == leader.events
    assert follower.cache == "coalesced"


@pytest.mark.parametrize("stream", [False, True])
async def test_when_the_worker_dies_that_makes_the_call_the_others_are_answered_all_the_same(river, stream):
    gateway, sim = river.gateway, river.sim
    leader, *others = await both(gateway)
    workers = await workers_of(gateway, [leader, *others])
    safe = [one for one in others if workers[one.port] != workers[leader.port]]
    leading = asyncio.create_task(leader.ask(asked(river, stream)))
    await asyncio.sleep(0.2)
    following = asyncio.create_task(ask_all(safe, asked(river, stream)))
    await (all_have_a_part(safe) if stream else asyncio.sleep(0.3))
    had = [one.events for one in safe]
    os.kill(workers[leader.port], signal.SIGKILL)
    await asyncio.gather(leading, following)
    [after] = await crowd(gateway, 1)
    await after.ask(asked(river, stream))

    assert all(had) is stream
    assert after.cache == "hit"
    assert after.text
    assert {one.text for one in safe} == {after.text}
    assert {one.cache for one in safe} <= {"coalesced", "miss"}
    assert all(one.events.startswith(part) for one, part in zip(safe, had, strict=True))
    assert len(sim.bill) == 2
    if stream:  # one answer to each client: the name that it was told first stays
        assert all(len({chunk["id"] for chunk in one.chunks}) == 1 for one in safe)

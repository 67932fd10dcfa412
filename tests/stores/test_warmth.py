"""The memory of conversations against a real Valkey: shared, bounded, and never in anybody's way."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from redis.asyncio import Redis

from gateway.core.candidate import Held
from gateway.core.conversation import Turn
from gateway.stores.embedded import EmbeddedStore
from gateway.stores.warmth import MOST_WAITING, PREFIX, RedisWarmth

UNTIL_US = 1_795_392_000_000_000
TURN = Turn(Held("openai/big@high", 2_048, UNTIL_US), b"12345678", 3, (Held("google/new", 1_024, UNTIL_US),))
MARGIN_S = 2.0  # what a busy test machine may add to a deadline; timeouts that add up would take longer still


@pytest.fixture
async def warmth(valkey_url: str) -> AsyncIterator[RedisWarmth]:
    async with Redis.from_url(valkey_url) as client:
        await client.flushall()
    opened = RedisWarmth(valkey_url, timeout_s=2.0)  # generous: only the tests of deadlines mean their deadlines
    opened.start()
    yield opened
    await opened.close()


async def other_finds(url: str, name: str) -> Turn | None:
    """What another process would find."""
    other = RedisWarmth(url, timeout_s=2.0)
    try:
        return await other.find(name)
    finally:
        await other.close()


async def written(raw: Redis, name: str) -> None:
    async with asyncio.timeout(5):
        while not await raw.exists(PREFIX + name):  # noqa: ASYNC110 - another process' writing has no event here
            await asyncio.sleep(0.005)


async def test_a_turn_is_found_at_once_here_and_soon_elsewhere(warmth, raw, valkey_url):
    warmth.keep("a" * 32, TURN, 300)
    assert await warmth.find("a" * 32) == TURN

    await written(raw, "a" * 32)
    assert await other_finds(valkey_url, "a" * 32) == TURN
    assert 290 < await raw.ttl(PREFIX + "a" * 32) <= 300


async def test_many_turns_are_written_in_few_round_trips(warmth, raw):
    before = (await raw.info("commandstats")).get("cmdstat_set", {"calls": 0})["calls"]
    for number in range(1_200):
        warmth.keep(f"{number:032x}", TURN, 300)
    await warmth.close()

    assert await raw.dbsize() == 1_200
    assert (await raw.info("commandstats"))["cmdstat_set"]["calls"] == before + 1_200
    assert not warmth.errors


async def test_what_was_not_there_is_asked_for_once(warmth, raw):
    async def asked() -> int:
        return int((await raw.info("commandstats")).get("cmdstat_get", {"calls": 0})["calls"])

    before = await asked()
    assert [await warmth.find("b" * 32) for _ in range(5)] == [None] * 5
    assert await asked() == before + 1

    warmth.keep("b" * 32, TURN, 300)
    assert await warmth.find("b" * 32) == TURN


async def test_a_value_that_is_not_ours_is_unknown(warmth, raw):
    await raw.set(PREFIX + "c" * 32, b"\xff\x00 no turn")

    assert await warmth.find("c" * 32) is None
    assert warmth.errors == {"undecodable": 1}


async def test_a_frozen_server_costs_one_short_wait_and_then_nothing(tmp_path: Path):
    async with EmbeddedStore(tmp_path) as store:
        warmth = RedisWarmth(store.url)
        warmth.start()
        assert await warmth.find("d" * 32) is None
        os.kill(store.pid, signal.SIGSTOP)
        try:
            began = time.monotonic()
            for number in range(100):
                assert await warmth.find(f"{number:032x}") is None
                warmth.keep(f"{number:032x}", TURN, 300)
            assert time.monotonic() - began < MARGIN_S
            assert warmth.errors["timeout"] == 1
            assert await warmth.find(f"{5:032x}") == TURN  # this process still knows its own
        finally:
            os.kill(store.pid, signal.SIGCONT)
            await warmth.close()


async def test_without_a_server_everything_is_unknown_and_memory_stays_bounded():
    warmth = RedisWarmth("redis://127.0.0.1:1/0")
    for number in range(MOST_WAITING + 50):
        warmth.keep(f"{number:032x}", TURN, 300)

    assert warmth.errors["busy"] == 50
    assert await warmth.find("e" * 32) is None
    assert warmth.errors["unreachable"] == 1
    warmth.start()
    await warmth.close()


async def test_a_cancelled_look_up_hands_its_place_back(warmth):
    for _ in range(100):
        task = asyncio.ensure_future(warmth.find("f" * 32))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    assert await warmth.find("f" * 32) is None
    assert warmth.errors["busy"] == 0


def test_an_address_that_is_none_is_refused_without_repeating_it():
    with pytest.raises(ValueError, match="must look like") as caught:
        RedisWarmth("http://user:hunter2@example/0")

    assert "hunter2" not in str(caught.value)

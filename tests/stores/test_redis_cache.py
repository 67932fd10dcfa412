"""The response cache against a real Valkey: frozen, dead, full, confused, and cancelled at every moment."""

import asyncio
import contextlib
import logging
import os
import random
import signal
import socket
import time
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
from redis.asyncio import Redis

from gateway.core.contracts import Cache, CachedAnswer
from gateway.core.pricing import Usage
from gateway.stores.embedded import EmbeddedStore
from gateway.stores.redis_cache import PREFIX, TIMEOUT_S, RedisCache

ANSWER = CachedAnswer(
    team="search",
    model="openai/gpt-6-luna",
    body=b'{"id":"x","choices":[{"message":{"content":"caf\xc3\xa9"}}]}',
    usage=Usage(input=12, output=34),
    service_tier=None,
    finish_reason="stop",
    kept_at_us=1_795_392_000_000_000,
)
MARGIN_S = 2.0  # what a busy test machine may add to a deadline; timeouts that add up would take longer still


def key_of(number: int) -> str:
    return f"{number:064x}"


@pytest.fixture
async def cache(valkey_url: str) -> AsyncIterator[RedisCache]:
    """A cache of its own, on an empty server."""
    async with Redis.from_url(valkey_url) as client:
        await client.flushall()
    opened = RedisCache(valkey_url, timeout_s=2.0)  # generous: only the tests of deadlines mean their deadlines
    yield opened
    await opened.close()


@pytest.fixture
async def raw(valkey_url: str) -> AsyncIterator[Redis]:
    async with Redis.from_url(valkey_url) as client:
        yield client


async def timed(cache: Cache, key: str = key_of(1)) -> float:
    began = time.monotonic()
    assert await cache.get(key) is None
    return time.monotonic() - began


def messages(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "gateway.cache"]


async def test_an_answer_comes_back_as_it_was_kept_and_goes_with_its_time(cache: RedisCache, raw: Redis):
    await cache.put(key_of(1), ANSWER, 60)

    assert await cache.get(key_of(1)) == ANSWER
    assert await cache.get(key_of(2)) is None
    assert await raw.keys() == [f"gw:c2:{key_of(1)}".encode()]
    assert 59_000 < await raw.pttl(PREFIX + key_of(1)) <= 60_000
    assert await cache.ping()
    assert not cache.errors


async def test_an_answer_without_an_end_is_a_mistake_of_the_program(cache: RedisCache):
    with pytest.raises(ValueError, match="ttl_s"):
        await cache.put(key_of(1), ANSWER, 0)


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"\xc1",
        b"not msgpack",
        msgspec.msgpack.encode({"team": "search"}),
        msgspec.msgpack.encode(ANSWER)[:-1],
        msgspec.msgpack.encode(ANSWER).replace(b"search", b"sear\xff\xfe"),
    ],
    ids=["empty", "reserved byte", "text", "another shape", "cut", "no text"],
)
async def test_what_is_not_ours_is_a_miss_and_is_deleted(cache: RedisCache, raw: Redis, value: bytes):
    await raw.set(PREFIX + key_of(1), value)

    assert await cache.get(key_of(1)) is None

    assert cache.errors == {"undecodable": 1}
    assert await raw.exists(PREFIX + key_of(1)) == 0
    assert not cache.off


async def test_a_refusal_is_a_miss_logged_once_and_does_not_turn_the_cache_off(
    cache: RedisCache, raw: Redis, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.INFO)
    await raw.rpush(PREFIX + key_of(1), "a list")
    await cache.put(key_of(2), ANSWER, 60)

    for _ in range(5):
        assert await cache.get(key_of(1)) is None

    assert await cache.get(key_of(2)) == ANSWER
    assert cache.errors == {"refused": 5}
    assert messages(caplog) == ["the response cache's server refuses commands: ResponseError"]


async def test_a_full_server_still_answers_from_what_it_has(
    cache: RedisCache, raw: Redis, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.INFO)
    await cache.put(key_of(1), ANSWER, 60)
    await raw.config_set("maxmemory-policy", "noeviction")
    await raw.config_set("maxmemory", "1")
    try:
        await cache.put(key_of(2), ANSWER, 60)
        await cache.put(key_of(2), ANSWER, 60)
        assert await cache.get(key_of(1)) == ANSWER
        assert await cache.get(key_of(2)) is None
    finally:
        await raw.config_set("maxmemory", "256mb")
        await raw.config_set("maxmemory-policy", "volatile-lru")
    await cache.put(key_of(2), ANSWER, 60)

    assert await cache.get(key_of(2)) == ANSWER
    assert cache.errors == {"refused": 2}
    assert messages(caplog) == [
        "the response cache's server refuses commands: OutOfMemoryError",
        "the response cache keeps answers again",
    ]


async def test_an_absent_server_costs_one_try_then_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO)
    heard: list[str] = []
    cache = RedisCache(f"unix://{tmp_path}/none.sock", on_error=heard.append)

    for _ in range(200):
        assert await cache.get(key_of(1)) is None
    await cache.put(key_of(1), ANSWER, 60)

    assert heard == ["unreachable"]
    assert messages(caplog) == [
        "the response cache is off, requests go to the providers until it answers: unreachable (ConnectionError)"
    ]
    assert not await cache.ping()
    await cache.close()


async def test_a_server_that_accepts_and_says_nothing_costs_one_timeout():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        cache = RedisCache(f"redis://127.0.0.1:{silent.getsockname()[1]}/0")
        assert await timed(cache) < 0.25 + TIMEOUT_S + MARGIN_S
        assert await cache.get(key_of(1)) is None
        assert cache.errors.total() == 1  # the second did not ask
        await cache.close()


async def test_a_frozen_server_costs_one_timeout_a_period_and_comes_back(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.INFO)
    async with EmbeddedStore(tmp_path) as store:
        cache = RedisCache(store.url)
        await cache.put(key_of(7), ANSWER, 600)

        os.kill(store.pid, signal.SIGSTOP)
        try:
            assert TIMEOUT_S * 0.9 < await timed(cache) < TIMEOUT_S + MARGIN_S
            assert sum([await timed(cache) for _ in range(100)]) < MARGIN_S
            assert cache.errors == {"timeout": 1}
            await asyncio.sleep(1.05)
            assert max(await asyncio.gather(*(timed(cache) for _ in range(50)))) < TIMEOUT_S + MARGIN_S
            assert cache.errors == {"timeout": 2}  # one looked, the others missed at once
            assert cache.off
        finally:
            os.kill(store.pid, signal.SIGCONT)

        await asyncio.sleep(2.05)
        assert await cache.get(key_of(7)) == ANSWER
        assert not cache.off
        assert cache.errors == {"timeout": 2}
        await cache.close()
    assert messages(caplog) == [
        "the response cache is off, requests go to the providers until it answers: timeout (TimeoutError)",
        "the response cache is on again",
    ]


async def test_a_crowd_on_a_frozen_server_waits_one_timeout_each(tmp_path: Path):
    async with EmbeddedStore(tmp_path) as store:
        cache = RedisCache(store.url, connections=8)
        await asyncio.gather(*(cache.get(key_of(number)) for number in range(8)))
        os.kill(store.pid, signal.SIGSTOP)
        try:
            took = await asyncio.gather(*(timed(cache) for _ in range(400)))
        finally:
            os.kill(store.pid, signal.SIGCONT)
        assert max(took) < TIMEOUT_S + MARGIN_S
        await cache.close()


async def test_a_server_that_was_restarted_is_found_again(tmp_path: Path):
    async with EmbeddedStore(tmp_path) as store:
        cache = RedisCache(store.url)
        await cache.put(key_of(1), ANSWER, 600)
    async with EmbeddedStore(tmp_path):
        assert await cache.get(key_of(1)) == ANSWER  # over a new connection: the old one is found closed
        assert not cache.errors
        await cache.close()


async def test_a_crowd_shares_few_connections(valkey_url: str, raw: Redis):
    cache = RedisCache(valkey_url, connections=4, timeout_s=5.0)
    await cache.put(key_of(1), ANSWER, 60)

    answers = await asyncio.gather(*(cache.get(key_of(1)) for _ in range(500)))

    assert all(answer == ANSWER for answer in answers)
    assert len(await raw.client_list()) <= 4 + 3
    assert not cache.errors
    await cache.close()


async def test_cancelled_reads_never_cross_replies(cache: RedisCache):
    dice = random.Random(16)
    kept = {number: msgspec.structs.replace(ANSWER, model=f"m{number}", body=b"x" * number) for number in range(500)}
    for number, answer in kept.items():
        await cache.put(key_of(number), answer, 600)

    async def read(number: int) -> bool:
        await asyncio.sleep(dice.random() * 0.05)
        assert await cache.get(key_of(number)) == kept[number]
        return True

    async def cut(task: asyncio.Task[bool], after_s: float) -> None:
        await asyncio.sleep(after_s)
        task.cancel()

    reads = [asyncio.create_task(read(dice.randrange(500))) for _ in range(2_000)]
    cuts = [cut(task, dice.random() * 0.15) for task in reads if dice.random() < 0.4]
    results = await asyncio.gather(*reads, asyncio.gather(*cuts), return_exceptions=True)

    cancelled = sum(isinstance(result, asyncio.CancelledError) for result in results)
    assert all(result is True or isinstance(result, asyncio.CancelledError) for result in results[:-1])
    assert cancelled > 200, "the storm was no storm"
    assert not cache.errors
    answers = await asyncio.gather(*(cache.get(key_of(number)) for number in range(500)))
    assert answers == list(kept.values()), "connections were lost, or hold replies of others"


async def test_a_read_cancelled_at_any_step_leaves_no_reply_behind(cache: RedisCache):
    for number in range(40):
        await cache.put(key_of(number), msgspec.structs.replace(ANSWER, model=f"m{number}"), 600)
    for steps in range(40):
        task = asyncio.create_task(cache.get(key_of(steps)))
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        after = await cache.get(key_of((steps + 1) % 40))
        assert after is not None
        assert after.model == f"m{(steps + 1) % 40}"


async def test_a_look_that_is_cancelled_does_not_keep_the_cache_off(tmp_path: Path):
    async with EmbeddedStore(tmp_path) as store:
        cache = RedisCache(store.url)
        await cache.put(key_of(1), ANSWER, 600)
        os.kill(store.pid, signal.SIGSTOP)
        await timed(cache)
        await asyncio.sleep(1.05)
        look = asyncio.create_task(cache.get(key_of(1)))
        await asyncio.sleep(0.02)
        look.cancel()
        await asyncio.gather(look, return_exceptions=True)
        os.kill(store.pid, signal.SIGCONT)

        assert await cache.get(key_of(1)) == ANSWER
        await cache.close()


@pytest.mark.parametrize(
    "url", ["", "localhost:6379", "http://u:s3cret@h", "redis://:s3/cret@h:6379", "redis://:s3cret@h?nonsense=1"]
)
def test_an_address_that_is_none_is_refused_without_repeating_it(url: str):
    with pytest.raises(ValueError, match="must look like redis://") as refused:
        RedisCache(url)
    assert "s3" not in str(refused.value)
    assert refused.value.__suppress_context__


async def test_a_wrong_password_is_a_miss_and_is_not_logged(valkey_url: str, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.DEBUG)
    cache = RedisCache(valkey_url.replace("unix://", "unix://:s3cret@"))
    assert await cache.get(key_of(1)) is None
    assert not await cache.ping()
    assert "s3cret" not in caplog.text
    assert key_of(1) not in caplog.text
    await cache.close()

"""Questions found by questions like them, on a real Valkey."""

from __future__ import annotations

import asyncio
import random
import time
import uuid

import pytest
from redis.asyncio import Redis

from gateway.stores import similar
from gateway.stores.box import box_key
from gateway.stores.similar import MOST_NEAR, PREFIX, RedisSimilar

KEYS = (box_key(b"k" * 32),)
DICE = random.Random(3)


def vector(size=256):
    return [DICE.gauss(0, 1) for _ in range(size)]


def near(one, noise):
    return [value + noise * DICE.gauss(0, 1) for value in one]


def key() -> str:
    return uuid.uuid4().hex * 2


def soon(seconds=60.0) -> int:
    return int((time.time() + seconds) * 1e6)


@pytest.fixture
async def store(valkey_url):
    one = RedisSimilar(valkey_url, KEYS, b"secret")
    yield one
    await one.close()


@pytest.fixture
def context():
    return uuid.uuid4().hex


async def test_a_question_is_found_by_one_like_it_with_its_text_and_the_key_of_its_answer(store, context):
    one, name = vector(), key()
    await store.keep(context, one, "what is it?", name, soon())
    (found,) = await store.find(context, near(one, 0.05), 0.95)

    assert (found.key, found.text) == (name, "what is it?")
    assert 0.99 < found.similarity < 1


async def test_the_closest_come_first_and_those_too_far_do_not_come(store, context):
    one = vector()
    for text, noise in (("far", 2.0), ("near", 0.3), ("nearest", 0.05)):
        await store.keep(context, near(one, noise), text, key(), soon())

    assert [found.text for found in await store.find(context, one, 0.8)] == ["nearest", "near"]


async def test_nothing_is_found_from_another_context_or_by_a_vector_of_another_model(store, context):
    one = vector()
    await store.keep(context, one, "what is it?", key(), soon())

    assert await store.find(uuid.uuid4().hex, one, 0.8) == []
    assert await store.find(context, vector(512), 0.8) == []


async def test_a_question_is_gone_when_its_answer_is(store, context):
    one = vector()
    await store.keep(context, one, "soon over", key(), soon(0.2))
    await store.keep(context, one, "over later", key(), soon())
    await asyncio.sleep(0.3)

    assert [found.text for found in await store.find(context, one, 0.8)] == ["over later"]


async def test_a_context_holds_so_many_and_those_that_end_first_go(store, context, valkey_url, monkeypatch):
    monkeypatch.setattr(similar, "MOST", 3)
    one = vector()
    for place in range(5):
        await store.keep(context, near(one, 0.01), f"number {place}", key(), soon(60 + place))
    found = await store.find(context, one, 0.8)
    async with Redis.from_url(valkey_url) as redis:
        names = [name async for name in redis.scan_iter(f"{PREFIX}{{{context}}}*")]

    assert sorted(one.text for one in found) == ["number 2", "number 3", "number 4"]
    assert len(names) == 4  # the index, and three questions


async def test_no_more_than_a_few_are_told(store, context):
    one = vector()
    for place in range(MOST_NEAR + 5):
        await store.keep(context, near(one, 0.01), str(place), key(), soon())

    assert len(await store.find(context, one, 0.8)) == MOST_NEAR


async def test_text_and_vector_are_sealed_and_open_only_where_they_lie(store, context, valkey_url):
    one, first, second = vector(), key(), key()
    await store.keep(context, one, "a text that nobody may read", first, soon())
    await store.keep(context, one, "another text", second, soon())
    names = [f"{PREFIX}{{{context}}}:".encode() + bytes.fromhex(name) for name in (first, second)]
    async with Redis.from_url(valkey_url) as redis:
        raw = await redis.get(names[0])
        assert b"nobody" not in raw
        await redis.set(names[1], raw)

    assert [found.text for found in await store.find(context, one, 0.8)] == ["a text that nobody may read"]
    assert await RedisSimilar(valkey_url, (box_key(b"j" * 32),), b"secret").find(context, one, 0.8) == []


async def test_everything_that_is_kept_ends(store, context, valkey_url):
    await store.keep(context, vector(), "a", key(), soon(60))
    await store.keep(context, vector(), "b", key(), soon(30))
    async with Redis.from_url(valkey_url) as redis:
        ends = [await redis.pttl(name) async for name in redis.scan_iter(f"{PREFIX}{{{context}}}*")]

    assert len(ends) == 3
    assert all(0 < end <= 60_000 for end in ends)


async def test_a_store_that_is_away_finds_nothing_and_keeps_nothing_and_nobody_waits():
    away = RedisSimilar("redis://127.0.0.1:1/0", KEYS, b"secret")
    began = time.monotonic()
    found = await away.find("context", vector(), 0.8)
    await away.keep("context", vector(), "a", key(), soon())
    await away.close()

    assert found == []
    assert time.monotonic() - began < 2

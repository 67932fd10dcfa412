"""Calls that are shared between processes, through a real Valkey: heard to their end, or lost within a lease."""

import asyncio
import os
import random
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from redis.asyncio import Redis

from gateway.core.caching import FlightLost, Role
from gateway.stores import flight_line
from gateway.stores.embedded import EmbeddedStore
from gateway.stores.flight_line import LEASE_S, lease_of, log_of
from gateway.stores.redis_cache import RedisCache
from tests.stores.cached import (
    KEYS,
    MARGIN_S,
    OTHER_KEYS,
    SCOPE,
    answer,
    cache_on,
    heard,
    key_of,
    leads,
    look,
    lost_after,
)


@pytest.fixture
async def one(emptied_url: str) -> AsyncIterator[RedisCache]:
    async with cache_on(emptied_url) as opened:
        yield opened


async def until(claim) -> None:
    async with asyncio.timeout(20.0):
        while not await claim():  # noqa: ASYNC110 - another process' state
            await asyncio.sleep(0.01)


async def test_one_leads_and_all_others_follow_to_the_end(one: RedisCache, other: RedisCache):
    led = await leads(one)
    followed = await asyncio.gather(*(cache.lead("f") for cache in (one, other) for _ in range(5)))
    assert {(found.role, found.flight) for found in followed} == {(Role.FOLLOW, led.flight)}
    assert led.epoch == followed[0].epoch > 0

    hearing = [asyncio.create_task(heard(cache, led.flight)) for cache in (one, other, other)]
    told = [b"%d" % number for number in range(50)]
    for part in told[:40]:
        one.publish(led.flight, [part])
        await asyncio.sleep(0.005)
    await one.land(led.flight, told[40:], key=key_of(1), answer=None)

    assert await asyncio.gather(*hearing) == [told] * 3
    assert await heard(other, led.flight) == told, "also who looked before it landed and follows late"
    assert (await other.lead("f")).role is Role.LEAD


async def test_parts_are_heard_while_the_call_goes_on(one: RedisCache, other: RedisCache):
    led = await leads(one)
    following = other.follow(led.flight)
    for number in range(20):
        one.publish(led.flight, [b"%d" % number])
        async with asyncio.timeout(20.0):
            assert await anext(following) == b"%d" % number
    await one.land(led.flight, [], key=key_of(1), answer=None)
    with pytest.raises(StopAsyncIteration):
        await anext(following)


async def test_a_call_that_lands_at_once_and_says_nothing_ends_all_the_same(one: RedisCache, other: RedisCache):
    led = await leads(one)
    await one.land(led.flight, [], key=key_of(1), answer=None)
    assert await heard(other, led.flight) == []


async def test_a_landed_answer_is_kept_and_its_lease_is_free(one: RedisCache, other: RedisCache, raw: Redis):
    led = await one.look(key_of(1), SCOPE, flight="f")
    made = answer(led.epoch)

    await one.land(led.flight, [b"part"], key=key_of(1), answer=made)

    assert (await other.look(key_of(1), SCOPE, flight="f")).answer == made
    assert await raw.exists(lease_of("f")) == 0
    assert 29_000 < await raw.pttl(log_of(led.flight)) <= 30_000


async def test_landing_and_looking_at_the_same_moment_never_misses_both(one: RedisCache, other: RedisCache):
    dice = random.Random(7)
    for number in range(150):
        flight, key = f"f{number}", key_of(number)
        led = await one.look(key, SCOPE, flight=flight)
        assert led.role is Role.LEAD
        made, parts = answer(led.epoch), [b"a" * dice.randrange(300) for _ in range(3)]

        async def land(led=led, parts=parts, key=key, made=made) -> None:
            one.publish(led.flight, parts[:2])
            await asyncio.sleep(dice.random() * 0.02)
            await one.land(led.flight, parts[2:], key=key, answer=made)

        async def ask(key=key, flight=flight, parts=parts, made=made, led=led) -> bool:
            await asyncio.sleep(dice.random() * 0.025)
            found = await other.look(key, SCOPE, flight=flight)
            if found.answer is not None:
                assert found.answer == made
                return True
            assert (found.role, found.flight) == (Role.FOLLOW, led.flight)
            assert await heard(other, found.flight) == parts
            return False

        await asyncio.gather(land(), *(ask() for _ in range(6)))


async def test_large_and_many_parts_arrive_as_they_were(one: RedisCache, other: RedisCache):
    led = await leads(one)
    hearing = asyncio.create_task(heard(other, led.flight, within_s=60.0))
    parts = [random.Random(3).randbytes(3 * 2**20), b"", *(b"%d" % number for number in range(10_000)), b"x" * 2**20]
    for part in parts:
        one.publish(led.flight, [part])
    await asyncio.sleep(0.3)
    await one.land(led.flight, parts, key=key_of(1), answer=None)
    assert await hearing == parts * 2


async def test_a_call_that_is_too_large_loses_its_followers_and_is_led_by_nobody(
    one: RedisCache, other: RedisCache, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(flight_line, "MOST_BYTES", 10_000)
    led = await leads(one)
    losing = asyncio.create_task(lost_after(other, led.flight))
    await asyncio.sleep(0.05)

    one.publish(led.flight, [b"x" * 20_000])

    _, took_s = await losing
    assert took_s < LEASE_S + MARGIN_S
    again = await leads(other)
    await one.land(led.flight, [b"the end"], key=key_of(1), answer=answer(led.epoch))
    assert (await look(other)).answer is not None
    assert (await one.lead("f")).flight == again.flight, "another one's lease was freed"


@pytest.mark.parametrize("told", [0, 3])
async def test_a_leader_that_is_gone_is_noticed_within_a_lease(valkey_url: str, other: RedisCache, told: int):
    async with cache_on(valkey_url) as leader:
        led = await leads(leader)
        parts = [b"%d" % number for number in range(told)]
        leader.publish(led.flight, parts)
        await asyncio.sleep(0.3)
    gone_at = time.monotonic()

    found, _ = await lost_after(other, led.flight)

    assert time.monotonic() - gone_at < LEASE_S + MARGIN_S
    assert found == parts
    assert (await other.lead("f")).role is Role.LEAD


async def test_a_call_that_takes_longer_than_a_lease_keeps_it(one: RedisCache, other: RedisCache):
    led = await leads(one)
    hearing = asyncio.create_task(heard(other, led.flight))
    for _ in range(8):
        await asyncio.sleep(LEASE_S / 6)
        assert (await other.lead("f")).flight == led.flight
    await one.land(led.flight, [b"at last"], key=key_of(1), answer=None)
    assert await hearing == [b"at last"]


async def test_a_lease_that_ended_is_taken_again_while_it_is_free(one: RedisCache, other: RedisCache, raw: Redis):
    led = await leads(one)
    one.publish(led.flight, [b"first"])
    await until(lambda: raw.hexists(log_of(led.flight), "0"))

    await raw.delete(lease_of("f"))
    await until(lambda: raw.exists(lease_of("f")))

    hearing = asyncio.create_task(heard(other, (await other.lead("f")).flight))
    await one.land(led.flight, [b"last"], key=key_of(1), answer=None)
    assert await hearing == [b"first", b"last"]


async def test_a_lease_that_another_one_took_meanwhile_is_left_to_it(one: RedisCache, other: RedisCache, raw: Redis):
    led = await leads(one)
    await raw.delete(lease_of("f"))
    again = await leads(other)
    await asyncio.sleep(0.7)  # a renewal later

    one.publish(led.flight, [b"goes on by itself"])
    await one.land(led.flight, [b"its end"], key=key_of(1), answer=answer(led.epoch))

    assert (await look(one)).answer is not None
    assert (await one.lead("f")).flight == again.flight
    await other.land(again.flight, [b"mine"], key=key_of(2), answer=None)
    assert await heard(one, again.flight) == [b"mine"]


async def test_a_log_that_was_lost_in_the_middle_is_never_heard_as_a_whole(
    one: RedisCache, other: RedisCache, raw: Redis
):
    led = await leads(one)
    one.publish(led.flight, [b"first"])
    await until(lambda: raw.hexists(log_of(led.flight), "0"))
    await raw.flushall()

    one.publish(led.flight, [b"second"])
    await asyncio.sleep(0.7)

    assert (await lost_after(other, led.flight))[0] == []
    again = await leads(other)
    await one.land(led.flight, [b"last"], key=key_of(1), answer=None)
    assert (await lost_after(one, led.flight))[0] == []
    await other.land(again.flight, [b"whole"], key=key_of(1), answer=None)
    assert await heard(one, again.flight) == [b"whole"]


async def test_a_renewal_that_comes_after_the_landing_does_not_revive_the_call(one: RedisCache, raw: Redis):
    led = await leads(one)
    forgotten = one._line._led[led.flight]
    await one.land(led.flight, [b"x"], key=key_of(1), answer=None)

    one._line._led[led.flight] = forgotten
    forgotten.renewed_at -= 10
    await until(lambda: asyncio.sleep(0, led.flight not in one._line._led))

    assert await raw.exists(lease_of("f")) == 0


async def test_a_call_that_does_not_open_is_lost_and_not_followed_again(valkey_url: str, one: RedisCache):
    led = await leads(one)
    one.publish(led.flight, [b"sealed with another key"])
    async with cache_on(valkey_url, OTHER_KEYS) as stranger:
        assert (await stranger.lead("f")).role is Role.FOLLOW
        assert (await lost_after(stranger, led.flight))[0] == []
        assert (await stranger.lead("f")).role is Role.ALONE
        assert stranger.errors == {"unreadable": 1}


async def test_followers_are_lost_when_the_store_stays_away_and_when_it_closes(tmp_path: Path):
    async with EmbeddedStore(tmp_path) as store, cache_on(store.url) as leader:
        cache = RedisCache(store.url, KEYS, timeout_s=0.05)
        cache.start()
        led = await leads(leader)
        losing = [asyncio.create_task(lost_after(cache, led.flight)) for _ in range(2)]
        await asyncio.sleep(0.1)
        os.kill(store.pid, signal.SIGSTOP)
        try:
            for _, took_s in await asyncio.gather(*losing):
                assert took_s < LEASE_S + 1.0 + MARGIN_S
        finally:
            os.kill(store.pid, signal.SIGCONT)
        following = asyncio.create_task(lost_after(cache, led.flight))
        await asyncio.sleep(0.1)
        await cache.close()
        await following


@pytest.mark.parametrize("blow", [signal.SIGKILL, signal.SIGSTOP])
async def test_followers_are_lost_as_soon_as_the_store_is_known_to_be_away(tmp_path: Path, blow: signal.Signals):
    async with EmbeddedStore(tmp_path) as store, cache_on(store.url) as leader:
        cache = RedisCache(store.url, KEYS, timeout_s=0.05)
        cache.start()
        led = await leads(leader)
        losing = [asyncio.create_task(lost_after(cache, led.flight)) for _ in range(3)]
        await asyncio.sleep(0.1)
        began = time.monotonic()
        os.kill(store.pid, blow)
        try:
            assert (await cache.look(key_of(2), SCOPE, flight="another")).role is Role.ALONE
            await asyncio.gather(*losing)
            assert time.monotonic() - began < LEASE_S / 2
        finally:
            os.kill(store.pid, signal.SIGCONT)
            await cache.close()


async def test_a_store_that_is_away_for_a_moment_loses_nothing(tmp_path: Path):
    async with EmbeddedStore(tmp_path) as store, cache_on(store.url) as leader, cache_on(store.url) as cache:
        led = await leads(leader)
        hearing = asyncio.create_task(heard(cache, led.flight))
        for number in range(40):
            leader.publish(led.flight, [b"%d" % number])
            await asyncio.sleep(0.01)
            if number == 20:
                os.kill(store.pid, signal.SIGSTOP)
                await asyncio.sleep(0.2)
                os.kill(store.pid, signal.SIGCONT)
        await leader.land(led.flight, [], key=key_of(1), answer=None)
        assert await hearing == [b"%d" % number for number in range(40)]


async def test_who_leaves_while_following_leaves_nothing_behind(one: RedisCache, other: RedisCache):
    led = await leads(one)
    task = asyncio.create_task(heard(other, led.flight))
    await asyncio.sleep(0.05)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert not other._line._followed


async def test_a_slow_follower_is_not_read_for_without_bound(one: RedisCache, other: RedisCache):
    led = await leads(one)
    following = other.follow(led.flight)
    one.publish(led.flight, [b"first"])
    assert await anext(following) == b"first"
    for _ in range(12):
        one.publish(led.flight, [os.urandom(2**20)])
        await asyncio.sleep(0.05)
    await one.land(led.flight, [b"last"], key=key_of(1), answer=None)
    await asyncio.sleep(0.3)
    (state,) = other._line._followed
    assert state.size < 4 * 2**20
    rest = [part async for part in following]
    assert (len(rest), rest[-1]) == (13, b"last")


async def test_nothing_is_led_or_followed_when_the_store_is_away(tmp_path: Path):
    async with cache_on(f"unix://{tmp_path}/none.sock") as cache:
        assert (await cache.lead("f")).role is Role.ALONE
        cache.publish("f:unknown", [b"nobody hears"])
        await cache.land("f:unknown", [b"nobody hears"], key=key_of(1), answer=answer(7))
        with pytest.raises(FlightLost):
            await anext(cache.follow("f:unknown"))

"""The response cache against a real Valkey: frozen, dead, full, confused, and cancelled at every moment."""

import asyncio
import contextlib
import logging
import os
import random
import signal
import socket
import time
from pathlib import Path

import msgspec
import pytest
from redis.asyncio import Redis

from gateway.core.caching import Role
from gateway.stores.box import Box
from gateway.stores.embedded import EmbeddedStore
from gateway.stores.kept import PREFIX, PURGES
from gateway.stores.redis_cache import TIMEOUT_S, RedisCache
from tests.stores.cached import ANSWER, KEYS, MARGIN_S, OTHER_KEYS, SCOPE, answer, cache_on, kept, key_of, look

NAME = PREFIX + key_of(1)


async def timed(cache: RedisCache) -> float:
    """How long it took to find nothing and nobody."""
    began = time.monotonic()
    found = await cache.look(key_of(1), SCOPE, flight="f")
    assert (found.answer, found.role, found.epoch) == (None, Role.ALONE, 0)
    return time.monotonic() - began


def messages(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "gateway.cache"]


# Kept answers ----------------------------------------------------------------------------------------------------


async def test_an_answer_comes_back_as_it_was_kept_and_goes_with_its_time(cache: RedisCache, raw: Redis):
    made = await kept(cache)

    assert (await look(cache)).answer == made
    assert (await look(cache, 2)).answer is None
    assert sorted(await raw.keys()) == sorted([NAME.encode(), PURGES.encode()])
    assert 850_000 < await raw.pttl(NAME) <= 900_000  # until it may not even be a fallback
    assert cache.kept_bytes == await raw.strlen(NAME)
    assert await cache.ping()
    assert not cache.errors


async def test_an_answer_whose_end_is_over_or_whose_epoch_is_unknown_is_not_kept(cache: RedisCache, raw: Redis):
    epoch = (await look(cache)).epoch

    await cache.put(key_of(1), answer(epoch, fresh_until_us=1, fallback_until_us=1))
    await cache.put(key_of(1), answer(0))

    assert await raw.exists(NAME) == 0


async def test_values_at_rest_hold_no_readable_text(cache: RedisCache, raw: Redis):
    secret = b"the launch is on Tuesday"
    await kept(cache, body=secret)
    found = await cache.look(key_of(2), SCOPE, flight="f")
    cache.publish(found.flight, [secret])
    await cache.land(found.flight, [secret], key=key_of(2), answer=answer(found.epoch, body=secret * 100))

    lying = b""
    for name in await raw.keys():
        if await raw.type(name) == b"hash":
            lying += b"".join(part for pair in (await raw.hgetall(name)).items() for part in pair)
        else:
            lying += await raw.get(name)
    assert len(lying) > 300
    for word in (b"launch", b"Tuesday", b"search", b"openai", b"faq", b"team"):
        assert word not in lying


async def test_an_answer_of_another_scope_is_a_miss_and_is_deleted(cache: RedisCache, raw: Redis):
    await kept(cache)

    found = await cache.look(key_of(1), "team:billing", flight="f")

    assert (found.answer, found.reason, found.role) == (None, "foreign", Role.LEAD)
    assert await raw.exists(NAME) == 0
    assert cache.deleted == 1


@pytest.mark.parametrize(
    "damage",
    [
        lambda sealed: b"",
        lambda sealed: b"\x02",
        lambda sealed: b"not sealed at all, but long enough to have a head",
        lambda sealed: sealed[:-1],
        lambda sealed: sealed[:40] + bytes([sealed[40] ^ 1]) + sealed[41:],
        lambda sealed: Box(OTHER_KEYS).seal(msgspec.msgpack.encode(ANSWER), NAME.encode()),
        lambda sealed: Box(KEYS).seal(msgspec.msgpack.encode(ANSWER), (PREFIX + key_of(2)).encode()),
        lambda sealed: Box(KEYS).seal(b"\xc1", NAME.encode()),
        lambda sealed: Box(KEYS).seal(msgspec.msgpack.encode({"team": "search"}), NAME.encode()),
        lambda sealed: Box(KEYS).seal(msgspec.msgpack.encode(ANSWER).replace(b"faq", b"f\xff\xfe"), NAME.encode()),
    ],
    ids=["empty", "a byte", "text", "cut", "flipped", "foreign key", "moved", "no msgpack", "another shape", "no text"],
)
@pytest.mark.parametrize("flight", ["", "f"])
async def test_what_does_not_open_is_a_miss_and_is_deleted(cache: RedisCache, raw: Redis, damage, flight: str):
    await kept(cache)
    await raw.set(NAME, damage(await raw.get(NAME)))

    found = await cache.look(key_of(1), SCOPE, flight=flight)

    assert (found.answer, found.reason) == (None, "unreadable")
    assert found.role is (Role.LEAD if flight else Role.ALONE)
    assert found.epoch > 0
    assert await raw.exists(NAME) == 0
    assert (cache.unreadable, cache.errors) == (1, {"unreadable": 1})
    assert not cache.off


async def test_a_changed_key_invalidates_and_a_rotated_one_does_not(valkey_url: str, cache: RedisCache):
    await kept(cache, 1)
    made = await kept(cache, 2)

    async with cache_on(valkey_url, [*OTHER_KEYS, *KEYS]) as rotated:
        assert (await look(rotated, 2)).answer == made
        from_new = await kept(rotated, 3)
    async with cache_on(valkey_url, OTHER_KEYS) as changed:
        assert (await look(changed, 1)).reason == "unreadable"
        assert (await look(changed, 3)).answer == from_new
        again = await kept(changed, 1)
        assert (await look(changed, 1)).answer == again
    assert (await look(cache, 1)).reason == "unreadable"


async def test_removing_what_cannot_be_replayed_never_removes_what_took_its_place(cache: RedisCache, raw: Redis):
    await kept(cache)
    await raw.set(NAME, b"damaged")
    newer = answer((await look(cache, 9)).epoch, model="newer")
    await cache.put(key_of(1), newer)

    found = await cache._look_past(NAME, SCOPE, b"damaged", "f", "unreadable")

    assert found.answer == newer
    assert cache.deleted == 0


# A server that is not well ---------------------------------------------------------------------------------------


async def test_a_refusal_is_a_miss_logged_once_and_does_not_turn_the_cache_off(
    cache: RedisCache, raw: Redis, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.INFO)
    await raw.rpush(NAME, "a list")
    made = await kept(cache, 2)

    for _ in range(5):
        assert (await cache.look(key_of(1), SCOPE, flight="f")).role is Role.ALONE

    assert (await look(cache, 2)).answer == made
    assert cache.errors == {"refused": 5}
    assert messages(caplog) == ["the response cache's server refuses commands: ResponseError"]


async def test_a_full_server_still_answers_from_what_it_has(
    cache: RedisCache, raw: Redis, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.INFO)
    made = await kept(cache)
    before = await cache.look(key_of(2), SCOPE, flight="before")
    await raw.config_set("maxmemory-policy", "noeviction")
    await raw.config_set("maxmemory", "1")
    try:
        await cache.land(before.flight, [b"part"], key=key_of(2), answer=answer(before.epoch))
        await cache.put(key_of(2), answer(before.epoch))
        assert await raw.keys("gw:f1:*:lease") == [], "the lease was kept from who comes next"
        assert (await look(cache)).answer == made
        assert (await look(cache, 2)).answer is None
        assert (await cache.look(key_of(2), SCOPE, flight="f")).role is Role.ALONE
    finally:
        await raw.config_set("maxmemory", "256mb")
        await raw.config_set("maxmemory-policy", "volatile-lru")
    await cache.put(key_of(2), made)

    assert (await look(cache, 2)).answer == made
    assert cache.errors == {"refused": 3}
    assert messages(caplog) == [
        "the response cache's server refuses commands: out of memory",
        "the response cache keeps answers again",
    ]


async def test_an_absent_server_costs_one_try_then_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO)
    heard: list[str] = []
    cache = RedisCache(f"unix://{tmp_path}/none.sock", KEYS, on_error=heard.append)

    for _ in range(200):
        assert (await cache.look(key_of(1), SCOPE, flight="f")).role is Role.ALONE
    await cache.put(key_of(1), answer(7))

    assert heard == ["unreachable"]
    assert messages(caplog) == [
        "the response cache is off, requests go to the providers until it answers: unreachable (ConnectionError)"
    ]
    assert not await cache.ping()
    await cache.close()


async def test_a_server_that_accepts_and_says_nothing_costs_one_deadline():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        cache = RedisCache(f"redis://127.0.0.1:{silent.getsockname()[1]}/0", KEYS)
        assert await timed(cache) < TIMEOUT_S + MARGIN_S
        await timed(cache)
        assert cache.errors.total() == 1  # the second did not ask
        await cache.close()


async def test_a_server_that_cannot_be_connected_to_costs_one_deadline():
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        port = full.getsockname()[1]
        crowd = []
        for _ in range(4):  # past the backlog a connection is neither taken nor refused
            one = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            one.setblocking(False)
            one.connect_ex(("127.0.0.1", port))
            crowd.append(one)
        cache = RedisCache(f"redis://127.0.0.1:{port}/0", KEYS)
        assert await timed(cache) < TIMEOUT_S + MARGIN_S
        assert cache.off
        await cache.close()
        for one in crowd:
            one.close()


async def test_a_frozen_server_costs_one_deadline_a_period_and_comes_back(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.INFO)
    async with EmbeddedStore(tmp_path) as store, cache_on(store.url, timeout_s=TIMEOUT_S) as cache:
        made = await kept(cache, 7)

        os.kill(store.pid, signal.SIGSTOP)
        try:
            assert TIMEOUT_S * 0.7 < await timed(cache) < TIMEOUT_S + MARGIN_S
            assert sum([await timed(cache) for _ in range(100)]) < MARGIN_S
            assert cache.errors == {"timeout": 1}
            await asyncio.sleep(1.05)
            assert max(await asyncio.gather(*(timed(cache) for _ in range(50)))) < TIMEOUT_S + MARGIN_S
            assert cache.errors == {"timeout": 2}  # one looked, the others missed at once
            assert cache.off
        finally:
            os.kill(store.pid, signal.SIGCONT)

        await asyncio.sleep(2.05)
        assert (await look(cache, 7)).answer == made
        assert not cache.off
        assert cache.errors == {"timeout": 2}
    assert messages(caplog) == [
        "the response cache is off, requests go to the providers until it answers: timeout (TimeoutError)",
        "the response cache is on again",
    ]


async def test_a_crowd_on_a_frozen_server_waits_one_deadline_each(tmp_path: Path):
    async with EmbeddedStore(tmp_path) as store, cache_on(store.url, timeout_s=TIMEOUT_S) as cache:
        await asyncio.gather(*(look(cache, number) for number in range(200)))
        assert not cache.errors
        os.kill(store.pid, signal.SIGSTOP)
        try:
            took = await asyncio.gather(*(timed(cache) for _ in range(400)))
            puts = [cache.put(key_of(number), answer(7)) for number in range(100)]
            began = time.monotonic()
            await asyncio.gather(*puts)
            assert time.monotonic() - began < MARGIN_S
        finally:
            os.kill(store.pid, signal.SIGCONT)
        assert max(took) < TIMEOUT_S + MARGIN_S


async def test_a_loop_that_was_held_up_mistakes_it_for_no_fault_of_the_server(valkey_url: str, raw: Redis):
    async with cache_on(valkey_url, timeout_s=TIMEOUT_S) as cache:
        made = await kept(cache)
        for held_s in (0.2, 0.2, 0.06, 0.049, 0.5):
            for on_its_way in (False, True):
                looks = [asyncio.create_task(look(cache)) for _ in range(100)]
                if on_its_way:
                    await asyncio.sleep(0)
                    await asyncio.sleep(0)
                asyncio.get_running_loop().call_soon(time.sleep, held_s)
                assert all(found.answer == made for found in await asyncio.gather(*looks))
        assert not cache.errors


async def test_a_server_that_was_restarted_is_found_again(tmp_path: Path):
    async with EmbeddedStore(tmp_path) as store:
        cache = RedisCache(store.url, KEYS, timeout_s=2.0)
        made = await kept(cache)
    async with EmbeddedStore(tmp_path):
        assert (await look(cache)).answer == made  # over a new connection: the old one is found closed
        assert not cache.errors
        await cache.close()


async def test_a_server_that_forgot_the_scripts_is_told_them(cache: RedisCache, raw: Redis):
    made = await kept(cache)
    await raw.script_flush()

    found = await asyncio.gather(*(look(cache) for _ in range(200)))

    assert all(one.answer == made for one in found)
    assert not cache.errors


async def test_a_crowd_shares_few_connections(cache: RedisCache, raw: Redis):
    made = await kept(cache)

    found = await asyncio.gather(*(look(cache) for _ in range(2_000)))

    assert all(one.answer == made for one in found)
    assert len(await raw.client_list()) <= 8 + 3
    assert not cache.errors


async def test_large_values_do_not_pass_for_a_frozen_server(valkey_url: str, raw: Redis):
    async with cache_on(valkey_url, timeout_s=TIMEOUT_S) as cache:
        body = random.Random(5).randbytes(2**18)
        found = await look(cache)
        for number in range(4):
            await cache.put(key_of(number), answer(found.epoch, body=body))
        await asyncio.sleep(0.5)
        await look(cache, 0)
        await asyncio.gather(*(look(cache, number % 4) for number in range(100)))

        assert not cache.off
        assert "timeout" not in cache.errors


# Callers that leave ----------------------------------------------------------------------------------------------


async def test_cancelled_looks_never_cross_replies(cache: RedisCache):
    dice = random.Random(16)
    made = {number: await kept(cache, number, model=f"m{number}", body=b"x" * number) for number in range(500)}

    async def read(number: int) -> bool:
        await asyncio.sleep(dice.random() * 0.05)
        assert (await look(cache, number)).answer == made[number]
        return True

    async def cut(task: asyncio.Task[bool], after_s: float) -> None:
        await asyncio.sleep(after_s)
        task.cancel()

    reads = [asyncio.create_task(read(dice.randrange(500))) for _ in range(2_000)]
    cuts = [cut(task, dice.random() * 0.15) for task in reads if dice.random() < 0.4]
    results = await asyncio.gather(*reads, asyncio.gather(*cuts), return_exceptions=True)

    cancelled = sum(isinstance(result, asyncio.CancelledError) for result in results)
    assert all(result is True or isinstance(result, asyncio.CancelledError) for result in results[:-1])
    assert cancelled > 100, "the storm was no storm"
    assert not cache.errors
    found = await asyncio.gather(*(look(cache, number) for number in range(500)))
    assert [one.answer for one in found] == list(made.values())


async def test_a_look_cancelled_at_any_step_leaves_no_reply_and_no_lease_behind(cache: RedisCache, raw: Redis):
    for number in range(40):
        await kept(cache, number, model=f"m{number}")
    for steps in range(40):
        task = asyncio.create_task(cache.look(key_of(1_000 + steps), SCOPE, flight=f"f{steps}"))
        for _ in range(steps):
            await asyncio.sleep(0)
        if task.done():
            continue
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        found = (await look(cache, (steps + 1) % 40)).answer
        assert found is not None
        assert found.model == f"m{(steps + 1) % 40}"
        async with asyncio.timeout(1.5):  # less than a lease
            while await raw.exists(f"gw:f1:f{steps}:lease"):  # noqa: ASYNC110 - another process' state
                await asyncio.sleep(0.01)


async def test_a_look_that_is_cancelled_does_not_keep_the_cache_off(tmp_path: Path):
    async with EmbeddedStore(tmp_path) as store, cache_on(store.url, timeout_s=TIMEOUT_S) as cache:
        made = await kept(cache)
        os.kill(store.pid, signal.SIGSTOP)
        await timed(cache)
        await asyncio.sleep(1.05)
        probe = asyncio.create_task(look(cache))
        await asyncio.sleep(0.01)
        probe.cancel()
        await asyncio.gather(probe, return_exceptions=True)
        os.kill(store.pid, signal.SIGCONT)

        await asyncio.sleep(0.1)
        assert (await look(cache)).answer == made


# Addresses and secrets -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url", ["", "localhost:6379", "http://u:s3cret@h", "redis://:s3/cret@h:6379", "redis://:s3cret@h?nonsense=1"]
)
def test_an_address_that_is_none_is_refused_without_repeating_it(url: str):
    with pytest.raises(ValueError, match="must look like redis://") as refused:
        RedisCache(url, KEYS)
    assert "s3" not in str(refused.value)
    assert refused.value.__suppress_context__


async def test_a_wrong_password_is_a_miss_and_is_not_logged(valkey_url: str, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.DEBUG)
    cache = RedisCache(valkey_url.replace("unix://", "unix://:s3cret@"), KEYS)
    assert (await look(cache)).answer is None
    assert not await cache.ping()
    assert "s3cret" not in caplog.text
    assert key_of(1) not in caplog.text
    await cache.close()

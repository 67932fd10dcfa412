"""Purges, and what is told and done beside the requests to what the response cache keeps."""

import asyncio
import os
import signal
from pathlib import Path

import pytest
from redis.asyncio import Redis

from gateway.core.caching import ALL
from gateway.stores import kept as keeping
from gateway.stores.embedded import EmbeddedStore
from gateway.stores.kept import PREFIX, PURGES, CacheUnavailable
from gateway.stores.redis_cache import RedisCache
from tests.stores.cached import KEYS, OTHER_KEYS, SCOPE, answer, cache_on, kept, key_of, leads, look


@pytest.mark.parametrize("label", [ALL, "route:faq", "team:search", "model:openai/gpt-6-luna", "tag:app=docs"])
async def test_a_purge_by_any_label_is_obeyed_everywhere_at_once(
    cache: RedisCache, other: RedisCache, raw: Redis, label: str
):
    await kept(cache, 1)
    far = {"route": "b", "team": "b", "model": "b", "tags": {"app": "b"}}
    spared = await kept(cache, 2, **far)
    assert (await look(other, 1)).answer is not None

    epoch = await cache.purge([label])

    for one in (other, cache):
        found = await look(one, 1)
        assert (found.answer, found.epoch) == (None, epoch)
        assert (await look(one, 2)).answer == (None if label == ALL else spared)
    assert await raw.exists(PREFIX + key_of(1)) == 0
    again = await kept(cache, 1)
    assert (await look(other, 1)).answer == again


async def test_what_was_asked_for_before_a_purge_is_gone_though_it_is_kept_after_it(
    cache: RedisCache, other: RedisCache
):
    led = await leads(cache)
    await other.purge(["team:search"])

    await cache.land(led.flight, [b"x"], key=key_of(1), answer=answer(led.epoch))
    await cache.put(key_of(2), answer(led.epoch))

    for number in (1, 2):
        assert (await look(other, number)).reason == "purged"


async def test_epochs_only_go_up(cache: RedisCache, raw: Redis):
    epochs = [(await look(cache)).epoch]
    epochs += [await cache.purge([f"tag:n={number}"]) for number in range(50)]
    ahead = epochs[-1] + 10**12  # the server's clock was put back
    await raw.hset(PURGES, "epoch", str(ahead))
    epochs += [await cache.purge(["tag:a=b"]), (await look(cache)).epoch + 1]
    assert epochs == sorted(set(epochs))
    assert epochs[-2] == ahead + 1


async def test_after_a_flush_nothing_from_before_is_replayed(cache: RedisCache, other: RedisCache, raw: Redis):
    made = await kept(cache)
    copy = await raw.get(PREFIX + key_of(1))
    await raw.flushall()

    found = await look(other)
    assert (found.answer, found.reason) == (None, "")
    assert found.epoch > made.epoch
    await raw.set(PREFIX + key_of(1), copy, px=60_000)  # as if only the purges had been lost
    assert (await look(other)).reason == "purged"
    again = await kept(cache)
    assert (await look(other)).answer == again


async def test_a_table_with_too_many_labels_forgets_which_never_that(
    cache: RedisCache, raw: Redis, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(keeping, "MOST_LABELS", 10)
    await kept(cache, 1, tags={"n": "0"})
    await kept(cache, 2, tags={"n": "none"})
    for number in range(10):
        await cache.purge([f"tag:n={number}"])
    assert (await look(cache, 2)).answer is not None
    await kept(cache, 3, tags={"n": "none"})

    await cache.purge(["tag:n=10"])

    table = await raw.hgetall(PURGES)
    assert len(table) == 2 + 6
    assert b"tag:n=0" not in table
    assert (await look(cache, 1)).reason == "purged"
    assert (await look(cache, 2)).reason == "purged", "it is older than a label that was forgotten"
    assert (await look(cache, 3)).answer is not None


async def test_a_full_table_is_loaded_by_those_who_look(cache: RedisCache, other: RedisCache):
    made = await kept(cache, 1)
    await cache.purge([f"tag:n={number}" for number in range(keeping.MOST_LABELS)])
    found = await asyncio.gather(*(look(other, 1) for _ in range(100)))
    assert all(one.answer == made for one in found)
    assert not other.errors


async def test_a_purge_says_when_it_was_not_done(tmp_path: Path, cache: RedisCache, raw: Redis):
    async with cache_on(f"unix://{tmp_path}/none.sock") as away:
        with pytest.raises(CacheUnavailable, match="cannot be reached"):
            await away.purge([ALL])
    await raw.set(PURGES, "not a hash")
    with pytest.raises(CacheUnavailable, match="refuses"):
        await cache.purge([ALL])
    for labels in ([], ["epoch"]):
        with pytest.raises(ValueError, match="labels"):
            await cache.purge(labels)


async def test_management_is_patient_with_a_slow_server(tmp_path: Path):
    async with EmbeddedStore(tmp_path) as store, cache_on(store.url, timeout_s=0.05) as cache:
        os.kill(store.pid, signal.SIGSTOP)
        asyncio.get_running_loop().call_later(0.5, os.kill, store.pid, signal.SIGCONT)
        assert await cache.purge([ALL]) > 0
        assert not cache.off


async def test_all_entries_are_listed_with_their_size_and_end_and_nothing_else(
    valkey_url: str, cache: RedisCache, raw: Redis
):
    made = {PREFIX + key_of(number): await kept(cache, number) for number in range(1_200)}
    async with cache_on(valkey_url, OTHER_KEYS) as stranger:
        await kept(stranger, 5_000)
    await raw.mset({f"something-else:{number}": "x" for number in range(500)})
    await cache.purge(["route:faq"])
    late = await kept(cache, 6_000)

    found = {entry.name: entry async for entry in cache.entries()}

    assert len(found) == 1_202
    for name, one in made.items():
        assert (found[name].answer, found[name].reason) == (one, "purged")
    foreign = found[PREFIX + key_of(5_000)]
    assert (foreign.answer, foreign.reason) == (None, "unreadable")
    last = found[PREFIX + key_of(6_000)]
    assert (last.answer, last.reason) == (late, "")
    assert last.stored_bytes == await raw.strlen(last.name)
    assert 850_000 < last.ttl_ms <= 900_000
    assert cache.deleted == 0


async def test_large_entries_are_read_a_few_at_a_time(cache: RedisCache):
    body = os.urandom(3 * 2**20)
    for number in range(5):
        await kept(cache, number, body=body)
    assert [len(entry.answer.body) async for entry in cache.entries() if entry.answer] == [len(body)] * 5


async def test_one_answer_is_inspected_without_changing_anything(cache: RedisCache, raw: Redis):
    made = await kept(cache)

    found = await cache.inspect(key_of(1), SCOPE)
    assert found is not None
    assert (found.answer, found.reason) == (made, "")
    foreign = await cache.inspect(key_of(1), "team:billing")
    assert foreign is not None
    assert foreign.reason == "foreign"
    await cache.purge([ALL])
    purged = await cache.inspect(key_of(1), SCOPE)
    assert purged is not None
    assert purged.reason == "purged"
    assert await cache.inspect(key_of(2), SCOPE) is None
    assert await raw.exists(PREFIX + key_of(1)) == 1


async def test_named_answers_are_deleted_and_nothing_else_can_be(cache: RedisCache, raw: Redis):
    for number in range(1_200):
        await kept(cache, number)
    names = [PREFIX + key_of(number) for number in range(2_000)]

    assert await cache.delete(names) == 1_200
    assert cache.deleted == 1_200
    assert await cache.delete([]) == 0
    for name in (PURGES, "gw:a1:{default}:books", "gw:c2:x"):
        with pytest.raises(ValueError, match="only kept answers"):
            await cache.delete([*names, name])
    assert await raw.exists(PURGES) == 1


async def test_the_store_tells_of_itself(cache: RedisCache, raw: Redis):
    await kept(cache)
    await raw.set("soon over", "x", px=1)
    await asyncio.sleep(0.05)
    await raw.get("soon over")

    facts = await cache.facts()

    assert facts.keys == 2
    assert facts.expired_keys >= 1
    assert facts.evicted_keys == 0
    assert facts.used_memory_bytes > 100_000
    assert facts.maxmemory_bytes == int((await raw.config_get("maxmemory"))["maxmemory"])
    assert facts.maxmemory_policy == "volatile-lru"


async def test_all_that_manages_says_when_the_store_is_away(tmp_path: Path):
    cache = RedisCache(f"unix://{tmp_path}/none.sock", KEYS)
    for asked in (cache.facts(), cache.delete([PREFIX + key_of(1)]), cache.inspect(key_of(1), SCOPE)):
        with pytest.raises(CacheUnavailable):
            await asked
    with pytest.raises(CacheUnavailable):
        async for _ in cache.entries():
            pass
    assert not await cache.ping()
    await cache.close()

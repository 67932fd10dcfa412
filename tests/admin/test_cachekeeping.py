"""Kept answers counted and purged, in a real Valkey; their audit in a real ledger."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import msgspec
import pytest
from redis.asyncio import Redis

from gateway.cachekeeping import CacheKeeping, NotAudited, Purge, labels_of
from gateway.config import load
from gateway.core.caching import CachedAnswer
from gateway.core.contracts import LedgerUnavailable
from gateway.core.pricing import Usage
from gateway.stores.audit import audit_log
from gateway.stores.box import box_key
from gateway.stores.kept import PREFIX, PURGES, CacheUnavailable
from gateway.stores.ledger import SqlLedger, open_engine
from gateway.stores.redis_cache import RedisCache
from tests.stores.services import valkey_store, valkey_url

__all__ = ["valkey_store", "valkey_url"]

KEYS = [box_key(b"a secret of the tests")]
S = 1_000_000
MODEL = "openai/gpt-5.6-luna"
ROUTES = """\
routes:
  faq: {policy: cheapest, candidates: [openai/gpt-5.6-luna, openai/gpt-5.6-luna@xhigh], cache: {ttl_s: 60}}
  auto: {policy: cheapest, candidates: [deepseek/deepseek-flash]}
teams:
  search: {}
  sales: {}
"""


@pytest.fixture
def world(tmp_path):
    (tmp_path / "routes.yaml").write_text(ROUTES)
    return load(tmp_path / "routes.yaml", {}, now=datetime.now(UTC)).world


@pytest.fixture
async def cache(valkey_url: str) -> AsyncIterator[RedisCache]:
    async with Redis.from_url(valkey_url) as client:
        await client.flushall()
    opened = RedisCache(valkey_url, KEYS)
    opened.start()
    yield opened
    await opened.close()


@pytest.fixture
def engine(tmp_path):
    ledger = SqlLedger(open_engine(f"sqlite:///{tmp_path / 'ledger.sqlite'}"))
    ledger.prepare()
    yield ledger.engine
    ledger.close()


@pytest.fixture
def keeping(cache, engine, world) -> CacheKeeping:
    return CacheKeeping(cache, lambda: engine, lambda: world, actor="a test")


def key_of(number: int) -> str:
    return f"{number:064x}"


async def keep(cache: RedisCache, number: int, *, ago_s: int = 0, fresh_s: int = 60, **changes: object) -> None:
    """One more answer, asked for and kept so long ago."""
    epoch = (await cache.look(key_of(10**9), "team:search", flight="")).epoch
    now = time.time_ns() // 1_000
    answer = CachedAnswer(
        scope="team:search", route="faq", team="search", tags={}, model=MODEL, body=b'{"choices":[]}',
        usage=Usage(input=1), service_tier=None, finish_reason="stop", epoch=epoch, kept_at_us=now - ago_s * S,
        fresh_until_us=now + fresh_s * S, revalidate_until_us=now + 3_600 * S, fallback_until_us=now,
    )  # fmt: skip
    await cache.put(key_of(number), msgspec.structs.replace(answer, **changes))


async def kept(cache: RedisCache, numbers: range) -> list[int]:
    """Those that are replayed."""
    return [one for one in numbers if (await cache.look(key_of(one), "team:search", flight="")).answer is not None]


async def test_what_is_kept_is_counted_in_groups(cache, keeping, valkey_url):
    await keep(cache, 1)
    await keep(cache, 2, ago_s=100, fresh_s=-10)
    await keep(cache, 3, route="auto", team="sales", scope="team:sales")
    async with Redis.from_url(valkey_url) as client:
        await client.set(PREFIX + key_of(4), b"of somebody else", px=60_000)

    facts = await keeping.stats()

    assert (facts["entries"], facts["stale"], facts["unreadable"], facts["purged"]) == (4, 1, 1, 0)
    assert [(one["route"], one["entries"], one["stale"]) for one in facts["groups"]] == [("faq", 2, 1), ("auto", 1, 0)]
    assert facts["complete"] is True
    assert facts["oldest_age_s"] in range(100, 110)
    by_scope = await keeping.stats("scope")
    assert {one["scope"]: one["entries"] for one in by_scope["groups"]} == {"team:search": 2, "team:sales": 1}
    assert facts["stored_bytes"] > sum(one["stored_bytes"] for one in facts["groups"])
    assert "choices" not in str(facts)


async def test_counting_stops_where_it_is_told_to_and_says_so(cache, keeping):
    for number in range(5):
        await keep(cache, number)

    facts = await keeping.stats(most=3)

    assert (facts["entries"], facts["complete"]) == (3, False)


@pytest.mark.parametrize(
    ("asked", "left"),
    [
        (Purge(routes=["faq"]), [3]),
        (Purge(teams=["sales"]), [0, 1, 2]),
        (Purge(models=[MODEL]), [3]),
        (Purge(tags=["project=apollo"]), [0, 2, 3]),
        (Purge(routes=["auto"], tags=["project=apollo"]), [0, 2]),
        (Purge(everything=True), []),
    ],
    ids=["route", "team", "model", "tag", "any of several", "all"],
)
async def test_a_purge_takes_what_carries_any_of_its_labels_and_nothing_else(cache, keeping, engine, asked, left):
    await keep(cache, 0)
    await keep(cache, 1, tags={"project": "apollo"})
    await keep(cache, 2, model=f"{MODEL}@xhigh")
    # An answer of a key of another team, kept in the same scope, so that one look finds all.
    await keep(cache, 3, route="auto", team="sales", model="deepseek/deepseek-flash")
    assert await kept(cache, range(4)) == [0, 1, 2, 3]

    facts = await keeping.purge(asked)

    assert facts["entries"] == 4 - len(left)
    assert await kept(cache, range(4)) == left
    (line,) = audit_log(engine)
    assert (line.actor, line.action, line.subject) == ("a test", "purge", ", ".join(facts["purged"]))
    assert msgspec.json.decode(line.detail)["entries"] == 4 - len(left)
    assert (await keeping.stats())["entries"] == len(left)


async def test_an_answer_that_was_asked_for_before_a_purge_and_kept_after_it_is_gone_too(cache, keeping):
    epoch = (await cache.look(key_of(7), "team:search", flight="")).epoch
    await keeping.purge(Purge(routes=["faq"]))

    await keep(cache, 7, epoch=epoch)
    assert await kept(cache, range(7, 8)) == []
    await keep(cache, 7)
    assert await kept(cache, range(7, 8)) == [7]


REFUSED = {
    "a route": (Purge(routes=["fag"]), r"no route is named 'fag' in .*; did you mean 'faq'\?; .*with force"),
    "a team": (Purge(teams=["serach"]), "did you mean 'search'"),
    "a model": (Purge(models=["openai/gpt-5.6-lunar"]), f"did you mean '{MODEL}'"),
    "a tag": (Purge(tags=["apollo"]), "'apollo' is not NAME=VALUE"),
    "nothing": (Purge(), "nothing is named to be purged"),
}


@pytest.mark.parametrize(("asked", "said"), REFUSED.values(), ids=REFUSED)
async def test_what_cannot_be_purged_is_said_and_nothing_happens(cache, keeping, engine, asked, said):
    await keep(cache, 1)

    with pytest.raises(ValueError, match=said):
        await keeping.purge(asked)

    assert await kept(cache, range(1, 2)) == [1]
    assert audit_log(engine) == []


async def test_what_the_file_no_longer_has_is_purged_by_force(cache, keeping):
    await keep(cache, 1, route="gone")

    facts = await keeping.purge(Purge(routes=["gone"]), force=True)

    assert (facts["purged"], facts["entries"]) == (["route:gone"], 1)


def test_a_model_is_purged_with_all_its_efforts_and_under_any_of_its_names(world):
    efforts = [f"model:{MODEL}", f"model:{MODEL}@xhigh"]

    assert labels_of(Purge(models=[MODEL]), world, force=False) == efforts
    assert labels_of(Purge(models=["gpt-5.6-luna", MODEL]), world, force=False) == efforts


async def test_without_an_audit_nothing_is_purged(cache, world, tmp_path):
    away = open_engine(f"sqlite:///{tmp_path / 'none' / 'ledger.sqlite'}")
    await keep(cache, 1)

    with pytest.raises(LedgerUnavailable) as told:
        await CacheKeeping(cache, lambda: away, lambda: world, actor="a test").purge(Purge(everything=True))

    assert not isinstance(told.value, NotAudited)
    assert await kept(cache, range(1, 2)) == [1]


async def test_a_store_that_is_away_is_said(engine, world, tmp_path):
    cache = RedisCache(f"unix://{tmp_path}/none.sock", KEYS)
    keeping = CacheKeeping(cache, lambda: engine, lambda: world, actor="a test")
    for act in (keeping.stats(), keeping.purge(Purge(everything=True))):
        with pytest.raises(CacheUnavailable):
            await act
    await cache.close()
    assert audit_log(engine) == []


@pytest.mark.parametrize(
    ("policy", "said"),
    [("allkeys-lru", "evict budgets"), ("noeviction", "refuses budgets"), ("volatile-lru", None)],
)
async def test_a_policy_that_could_cost_budgets_is_warned_of(keeping, valkey_url, policy, said):
    async with Redis.from_url(valkey_url) as client:
        before = (await client.config_get("maxmemory-policy"))["maxmemory-policy"]
        await client.config_set("maxmemory-policy", policy)
        try:
            store = (await keeping.stats())["store"]
        finally:
            await client.config_set("maxmemory-policy", before)

    assert store["policy"] == policy
    assert store["warning"] is None if said is None else said in store["warning"]


async def test_purges_that_are_remembered_are_counted(cache, keeping, valkey_url):
    await keeping.purge(Purge(tags=["a=1", "a=2"]))

    told = (await keeping.stats())["purges"]

    async with Redis.from_url(valkey_url) as client:
        assert told["epoch"] == int(await client.hget(PURGES, "epoch"))
    assert told["labels"] == 3  # and all, from when the store was new

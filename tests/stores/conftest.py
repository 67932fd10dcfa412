"""Both databases for every test that asks for `ledger`, and the servers of services.py."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from redis.asyncio import Redis

from gateway.stores.ledger import SqlLedger, open_engine
from gateway.stores.redis_cache import RedisCache
from tests.stores.cached import cache_on
from tests.stores.services import postgres_cluster, postgres_url, valkey_store, valkey_url

__all__ = ["postgres_cluster", "postgres_url", "valkey_store", "valkey_url"]


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'ledger.sqlite'}"


@pytest.fixture(params=["sqlite", "postgres"])
def database_url(request: pytest.FixtureRequest) -> str:
    """An empty database of each kind."""
    return str(request.getfixturevalue(f"{request.param}_url"))


@pytest.fixture
def ledger(database_url: str) -> Iterator[SqlLedger]:
    opened = SqlLedger(open_engine(database_url))
    yield opened
    opened.close()


@pytest.fixture
def book(sqlite_url: str) -> Iterator[SqlLedger]:
    """The ledger behind the accounts, its tables made."""
    opened = SqlLedger(open_engine(sqlite_url))
    opened.prepare()
    yield opened
    opened.close()


@pytest.fixture
async def raw(valkey_url: str) -> AsyncIterator[Redis]:
    """The store itself, to look at what the accounts keep there."""
    async with Redis.from_url(valkey_url) as client:
        yield client


@pytest.fixture
async def emptied_url(valkey_url: str, raw: Redis) -> str:
    """The address of a store without anything in it."""
    await raw.flushall()
    return valkey_url


@pytest.fixture
async def cache(emptied_url: str) -> AsyncIterator[RedisCache]:
    async with cache_on(emptied_url) as opened:
        yield opened


@pytest.fixture
async def other(emptied_url: str) -> AsyncIterator[RedisCache]:
    """Of another process, as far as Redis can tell."""
    async with cache_on(emptied_url) as opened:
        yield opened

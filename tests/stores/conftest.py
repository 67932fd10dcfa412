"""Both databases for every test that asks for `ledger`, and the servers of services.py."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from redis.asyncio import Redis

from gateway.stores.ledger import SqlLedger, open_engine
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

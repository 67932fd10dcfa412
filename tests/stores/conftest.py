"""Both databases for every test that asks for `ledger`, and the servers of services.py."""

from collections.abc import Iterator
from pathlib import Path

import pytest

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

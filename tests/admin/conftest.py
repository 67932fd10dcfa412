"""Both databases for the tests of the admin API."""

from tests.stores.conftest import database_url, ledger, sqlite_url
from tests.stores.services import postgres_cluster, postgres_url

__all__ = ["database_url", "ledger", "postgres_cluster", "postgres_url", "sqlite_url"]

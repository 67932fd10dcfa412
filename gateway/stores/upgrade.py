"""Alembic, run within a transaction of ours. Imported only where a database is older than this program: loading Alembic
takes longer than all else that a start does with the ledger."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection

from .migrations.versions import v0001_spend_records

FIRST_COLUMNS = frozenset(column.name for column in v0001_spend_records.columns())
"""The columns of a book that was made before the schema had versions."""


def upgrade(connection: Connection, revision: str) -> None:
    """Run the revisions up to this one. The caller holds the lock and ends the transaction."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, revision)

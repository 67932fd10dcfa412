"""Which version the database's tables have, and how they come to the one that this program knows.

Invariants: an empty database is made whole at once. An older one is brought up, one process at a time, in one
transaction. A newer one, or one that no version of ours has made, is refused and left as it is.
"""

from __future__ import annotations

import logging

from sqlalchemy import Column, Connection, PrimaryKeyConstraint, String, Table, inspect, select

from gateway.core.contracts import LedgerUnavailable

from .table import METADATA, TABLE

log = logging.getLogger("gateway.ledger")

REVISIONS = ("0001", "0002", "0003")
HEAD = REVISIONS[-1]

SCHEMA_TIMEOUT_S = 600
"""How long an upgrade, or waiting for another process's, may take. Ten million rows take about a minute."""

_LOCK = 0x67773173  # any number, as long as every gateway takes the same one

# Alembic's own table, as it makes it.
_VERSION = Table(
    "alembic_version",
    METADATA,
    Column("version_num", String(32), nullable=False),
    PrimaryKeyConstraint("version_num", name="alembic_version_pkc"),
)


def version(connection: Connection) -> str | None:
    """The revision that the database says it has; None for one without a version."""
    if not inspect(connection).has_table(_VERSION.name):
        return None
    return connection.execute(select(_VERSION.c.version_num)).scalar_one_or_none()


def is_current(connection: Connection) -> bool:
    """Whether there is nothing to do, as at nearly every start: found without a lock, so that nobody waits."""
    if version(connection) != HEAD:
        return False
    _check(connection)
    return True


def bring_up(connection: Connection) -> None:
    """Make the tables those of HEAD. The caller holds `lock`. Raises LedgerUnavailable for tables that are not ours."""
    found = version(connection)
    if found is None and not inspect(connection).has_table(TABLE.name):
        METADATA.create_all(connection)
        connection.execute(_VERSION.insert().values(version_num=HEAD))
    elif found is None:
        _adopt(connection)
        _upgrade(connection, REVISIONS[0])
    elif found not in REVISIONS:
        raise LedgerUnavailable(
            f"the ledger's tables are of version {found}, this gateway knows up to {HEAD}: they were made by a newer"
            " gateway; run that one, or restore a backup that is older"
        )
    elif found != HEAD:
        _upgrade(connection, found)
    _check(connection)


def _check(connection: Connection) -> None:
    connection.execute(select(TABLE).limit(0))  # a table that was altered by hand is found now and not at a write


def lock(connection: Connection) -> None:
    """One process at a time, until the transaction ends. In SQLite this begins the transaction."""
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(f"SET LOCAL statement_timeout = '{SCHEMA_TIMEOUT_S}s'")
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK})")
        return
    patience_ms = connection.exec_driver_sql("PRAGMA busy_timeout").scalar_one()
    connection.exec_driver_sql(f"PRAGMA busy_timeout={SCHEMA_TIMEOUT_S * 1000}")
    try:
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    finally:
        connection.exec_driver_sql(f"PRAGMA busy_timeout={patience_ms}")


def _adopt(connection: Connection) -> None:
    """Give the first revision to a book that was made before there were any."""
    from .upgrade import FIRST_COLUMNS  # for the sake of the start, see there

    names = {column["name"] for column in inspect(connection).get_columns(TABLE.name)}
    if names != FIRST_COLUMNS:
        odd = ", ".join(sorted(names ^ FIRST_COLUMNS)[:5])
        raise LedgerUnavailable(
            f"{TABLE.name} has no version and was not made by a released gateway (these columns differ: {odd})"
        )
    _VERSION.create(connection)
    connection.execute(_VERSION.insert().values(version_num=REVISIONS[0]))


def _upgrade(connection: Connection, found: str) -> None:
    from .upgrade import upgrade  # for the sake of the start, see there

    log.warning("the ledger's tables are of version %s and are brought to %s now; this may take a while", found, HEAD)
    upgrade(connection, HEAD)
    log.warning("the ledger's tables are of version %s", HEAD)

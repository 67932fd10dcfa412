"""Configurations by their version. Rows are only ever added: what a version stands for never changes.

Both functions block and raise LedgerUnavailable when the database cannot be read or written.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import Engine, select

from .ledger import transaction
from .table import CONFIGURATIONS, EPOCH, storable

_NAMES = "version, at_us, content"


def keep_configuration(engine: Engine, version: str, content: bytes, *, at_us: int) -> None:
    """Keeping one twice is keeping it once; the first time is the one that counts."""
    mark = "?" if engine.dialect.name == "sqlite" else "%s"
    with transaction(engine) as connection:
        connection.exec_driver_sql(
            f"INSERT INTO {CONFIGURATIONS.name} ({_NAMES}) VALUES ({mark}, {mark}, {mark})"  # noqa: S608
            " ON CONFLICT (version) DO NOTHING",
            (version, at_us, content),
        )


def configuration(engine: Engine, version: str) -> tuple[bytes, datetime] | None:
    """What was kept of this version, and when it was first put in force."""
    query = select(CONFIGURATIONS.c.content, CONFIGURATIONS.c.at_us).where(
        CONFIGURATIONS.c.version == storable(version)
    )
    with transaction(engine) as connection:
        row = connection.execute(query).one_or_none()
    return None if row is None else (bytes(row.content), EPOCH + timedelta(microseconds=row.at_us))

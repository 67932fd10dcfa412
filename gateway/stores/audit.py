"""Who changed what while the gateway ran, and when: lines are added and read, never changed and never removed.

All functions block and raise LedgerUnavailable when the database cannot be read or written.
"""

from __future__ import annotations

import msgspec
from sqlalchemy import Connection, Engine, select

from .ledger import transaction
from .table import AUDIT, storable

AUDIT_AT_MOST = 1000


class AuditEntry(msgspec.Struct, frozen=True, kw_only=True):
    """Who did what to what, and when. detail: a JSON object."""

    at_us: int
    actor: str
    action: str
    subject: str
    detail: str


def append_audit(
    connection: Connection, at_us: int, actor: str, action: str, subject: str, **detail: str | int | bool
) -> None:
    """Within a transaction of what is told, so that one is never kept without the other."""
    text = msgspec.json.encode(detail).decode()
    connection.execute(
        AUDIT.insert().values(
            at_us=at_us, actor=storable(actor), action=action, subject=storable(subject), detail=storable(text)
        )
    )  # fmt: skip


def audited(engine: Engine, at_us: int, actor: str, action: str, subject: str, **detail: str | int | bool) -> None:
    """A line of its own, for what is done outside of this database."""
    with transaction(engine) as connection:
        append_audit(connection, at_us, actor, action, subject, **detail)


def audit_log(engine: Engine, *, limit: int = 100, subject: str | None = None) -> list[AuditEntry]:
    """The newest entries, newest first, at most AUDIT_AT_MOST; of one subject when it is named."""
    columns = [AUDIT.c[name] for name in AuditEntry.__struct_fields__]
    query = select(*columns).order_by(AUDIT.c.id.desc()).limit(max(0, min(limit, AUDIT_AT_MOST)))
    if subject is not None:
        query = query.where(AUDIT.c.subject == storable(subject))
    with transaction(engine) as connection:
        return [AuditEntry(**row._mapping) for row in connection.execute(query)]

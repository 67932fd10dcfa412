"""API keys that are made, rotated and revoked while the gateway runs, and the record of who did it.

Invariants: the key itself never comes here, only its SHA-256; no text of an error repeats what was given for a digest.
Every change, its line in `audit` and the next version are one transaction. Nothing is ever removed: a revoked key
stays, so that its id keeps its meaning in the book.

Other processes learn of a change by asking `changed_since` with the version they know: one small read.
All functions block and raise LedgerUnavailable when the database cannot be read or written.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec
from sqlalchemy import Connection, Engine, Row, select

from .audit import append_audit
from .ledger import transaction
from .table import KEYS, KEYS_VERSION, storable

US_PER_S = 1_000_000

_TAKE_TURNS = (
    f"INSERT INTO {KEYS_VERSION.name} (one, version) VALUES (true, 1)"  # noqa: S608
    f" ON CONFLICT (one) DO UPDATE SET version = {KEYS_VERSION.name}.version + 1"
)


class ApiKey(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a key. Times in microseconds since the epoch; None where there is no such moment."""

    digest: str
    id: str
    team: str
    organisation: str
    created_at_us: int
    expires_at_us: int | None
    revoked_at_us: int | None
    rotated_from: str | None
    note: str

    def opens(self, now_us: int) -> bool:
        """Whether it lets somebody in at this moment."""
        return self.revoked_at_us is None and (self.expires_at_us is None or now_us < self.expires_at_us)


def create_key(
    engine: Engine,
    *,
    digest: str,
    id: str,
    team: str,
    organisation: str = "",
    expires_at_us: int | None = None,
    note: str = "",
    actor: str,
    now_us: int,
) -> ApiKey:
    """A key that opens at once. digest: the SHA-256 of the key, in hex.

    Raises ValueError for an id that is taken, a key that is known already, and a digest that is none.
    """
    key = ApiKey(
        digest=_digest(digest), id=storable(id), team=storable(team), organisation=storable(organisation),
        created_at_us=now_us, expires_at_us=expires_at_us, revoked_at_us=None, rotated_from=None, note=storable(note),
    )  # fmt: skip
    if not key.id:
        raise ValueError("a key needs an id")
    with transaction(engine) as connection:
        connection.exec_driver_sql(_TAKE_TURNS)
        _add(connection, key)
        append_audit(connection, now_us, actor, "create", key.id, team=key.team, organisation=key.organisation)
    return key


def revoke_key(engine: Engine, id: str, *, actor: str, now_us: int) -> ApiKey:
    """From now on it opens nothing. Raises ValueError for an unknown id and a key that is revoked already."""
    with transaction(engine) as connection:
        connection.exec_driver_sql(_TAKE_TURNS)
        key = _standing(connection, id)
        connection.execute(KEYS.update().where(KEYS.c.id == key.id).values(revoked_at_us=now_us))
        append_audit(connection, now_us, actor, "revoke", key.id)
    return msgspec.structs.replace(key, revoked_at_us=now_us)


def rotate_key(engine: Engine, id: str, *, digest: str, grace_s: int, actor: str, now_us: int) -> ApiKey:
    """A new key in the place of an old one: it opens at once, the old one for `grace_s` more seconds.

    Its id is the old one's with the next number: `app`, `app.2`, `app.3`. It has the old one's team, organisation, note
    and end. Raises ValueError as `create_key` and `revoke_key` do.
    """
    if grace_s < 0:
        raise ValueError(f"a grace of {grace_s} s is none")
    with transaction(engine) as connection:
        connection.exec_driver_sql(_TAKE_TURNS)
        old = _standing(connection, id)
        if not old.opens(now_us):
            raise ValueError(f"the key {old.id!r} has expired; make a new one instead")
        new = msgspec.structs.replace(
            old, digest=_digest(digest), id=_next_id(connection, old), created_at_us=now_us, rotated_from=old.id
        )
        _add(connection, new)
        ends_us = now_us + grace_s * US_PER_S
        if old.expires_at_us is None or ends_us < old.expires_at_us:
            connection.execute(KEYS.update().where(KEYS.c.id == old.id).values(expires_at_us=ends_us))
        append_audit(connection, now_us, actor, "rotate", old.id, to=new.id, grace_s=grace_s)
    return new


def list_keys(engine: Engine) -> list[ApiKey]:
    """Every key there ever was, by id."""
    with transaction(engine) as connection:
        return _all(connection)


def key_table_version(engine: Engine) -> int:
    """Another number after every change; 0 before the first."""
    with transaction(engine) as connection:
        return _version(connection)


def changed_since(engine: Engine, version: int) -> tuple[int, list[ApiKey]] | None:
    """The version and every key, or None while `version` is still the one."""
    with transaction(engine) as connection:
        now = _version(connection)
        # Read after the version: keys that are newer than it come once more with the next one.
        return None if now == version else (now, _all(connection))


def _digest(text: str) -> str:
    if re.fullmatch(r"[0-9a-f]{64}", text) is None:
        raise ValueError("a key is stored as its SHA-256: 64 digits of lower-case hex")  # what came may be the key
    return text


def _standing(connection: Connection, id: str) -> ApiKey:
    row = connection.execute(select(*KEYS.columns).where(KEYS.c.id == storable(id))).one_or_none()
    if row is None:
        raise ValueError(f"there is no key {id[:100]!r}")
    key = _key(row)
    if key.revoked_at_us is not None:
        raise ValueError(f"the key {key.id!r} is revoked already")
    return key


def _add(connection: Connection, key: ApiKey) -> None:
    # Looked up first: whoever changes keys has the version's row, so that nobody comes in between.
    for column, value, told in ((KEYS.c.id, key.id, f"the id {key.id[:100]!r} is taken"),
                                (KEYS.c.digest, key.digest, "this very key is there already")):  # fmt: skip
        if connection.execute(select(KEYS.c.id).where(column == value)).first() is not None:
            raise ValueError(told)
    connection.execute(KEYS.insert().values(**msgspec.structs.asdict(key)))


def _next_id(connection: Connection, old: ApiKey) -> str:
    family = re.sub(r"\.\d+$", "", old.id) if old.rotated_from is not None else old.id
    same = re.compile(re.escape(family) + r"\.(\d+)")
    found = (same.fullmatch(id) for id in connection.execute(select(KEYS.c.id)).scalars())
    return f"{family}.{max([1, *(int(match[1]) for match in found if match)]) + 1}"


def _version(connection: Connection) -> int:
    return connection.execute(select(KEYS_VERSION.c.version)).scalar_one_or_none() or 0


def _all(connection: Connection) -> list[ApiKey]:
    return [_key(row) for row in connection.execute(select(*KEYS.columns).order_by(KEYS.c.id))]


def _key(row: Row[Any]) -> ApiKey:  # Any: the values of one row
    return ApiKey(**row._mapping)

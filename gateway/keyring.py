"""Keys, as those who hand them out see them: made, listed, revoked, rotated.

The command line and the admin API share it. A key is made here, told once to whoever asked, and forgotten: only its
SHA-256 is stored.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias

from sqlalchemy import Engine

from gateway.config import Teams, did_you_mean, is_name
from gateway.core.world import key_digest
from gateway.stores.keys import ApiKey, create_key, list_keys, revoke_key, rotate_key
from gateway.stores.table import EPOCH, to_us

MOST_NOTE_CHARS = 200

# Any: text, and None where there is no such moment.
Facts: TypeAlias = dict[str, Any]
"""A key as JSON: id, team, organisation, state, created_at, expires_at, revoked_at, rotated_from, note; `key`, the key
itself, only where it was just made."""


class UnknownKey(LookupError):
    """No key has this id; the text says which one may have been meant."""


def new_key() -> str:
    """256 random bits, with a beginning that leak scanners can look for."""
    return f"sk-gw-{secrets.token_urlsafe(32)}"


class Keyring:
    """Blocks. Raises ValueError for what cannot be done, UnknownKey, and LedgerUnavailable.

    teams: whom keys can be made for now. actor: who is written into the audit.
    """

    def __init__(self, engine: Engine, teams: Callable[[], Teams], *, actor: str) -> None:
        self._engine = engine
        self._teams = teams
        self._actor = actor

    def create(self, team: str, id: str | None = None, expires_at: datetime | None = None, note: str = "") -> Facts:
        """expires_at: aware."""
        teams, now_us = self._teams(), _now_us()
        if team not in teams.organisations:
            raise ValueError(f"no team is named {team[:100]!r} in the routes file{_near(team, teams.organisations)}")
        if len(note) > MOST_NOTE_CHARS or not note.isprintable():
            raise ValueError(f"a note is one line of at most {MOST_NOTE_CHARS} characters")
        id = _free(id or f"{team[:50]}-{secrets.token_hex(4)}", teams)
        ends_us = _in_future(expires_at, now_us)
        key = new_key()
        made = create_key(
            self._engine, digest=key_digest(key), id=id, team=team, organisation=teams.organisations[team],
            expires_at_us=ends_us, note=note, actor=self._actor, now_us=now_us,
        )  # fmt: skip
        return {**_facts(made, now_us), "key": key}

    def listed(self) -> list[Facts]:
        """Every key there ever was, by id."""
        now_us = _now_us()
        return [_facts(key, now_us) for key in list_keys(self._engine)]

    def revoke(self, id: str) -> Facts:
        """It opens nothing any more, within a second in every process."""
        self._check(id)
        now_us = _now_us()
        return _facts(revoke_key(self._engine, id, actor=self._actor, now_us=now_us), now_us)

    def rotate(self, id: str, grace_s: int) -> Facts:
        """Another key in its place; the old one opens for grace_s more seconds. Returns the new one."""
        self._check(id)
        key, now_us = new_key(), _now_us()
        made = rotate_key(
            self._engine, id, digest=key_digest(key), grace_s=grace_s, actor=self._actor, now_us=now_us
        )  # fmt: skip
        return {**_facts(made, now_us), "key": key}

    def _check(self, id: str) -> None:
        ids = [key.id for key in list_keys(self._engine)]
        if id in ids:
            return
        if id in self._teams().key_ids:
            raise UnknownKey(f"the key {id!r} stands in the routes file: change it there")
        raise UnknownKey(f"there is no key {id[:100]!r}{_near(id, ids)}")


def _free(id: str, teams: Teams) -> str:
    if not is_name(id):
        raise ValueError(f"{id[:100]!r} is no id: letters, digits, . _ - and at most 64 of them")
    if id in teams.key_ids:
        raise ValueError(f"the id {id!r} is that of a key in the routes file")
    return id


def _in_future(at: datetime | None, now_us: int) -> int | None:
    at_us = None if at is None else to_us(at)
    if at_us is not None and at_us <= now_us:
        raise ValueError(f"the key would have expired already, on {_stamp(at_us)}")
    return at_us


def _near(word: str, choices: Iterable[str]) -> str:
    return did_you_mean(word[:100], choices)


def _now_us() -> int:
    return time.time_ns() // 1_000


def _facts(key: ApiKey, now_us: int) -> Facts:
    state = "active" if key.opens(now_us) else "expired" if key.revoked_at_us is None else "revoked"
    return {
        "id": key.id,
        "team": key.team,
        "organisation": key.organisation,
        "state": state,
        "created_at": _stamp(key.created_at_us),
        "expires_at": _stamp(key.expires_at_us),
        "revoked_at": _stamp(key.revoked_at_us),
        "rotated_from": key.rotated_from,
        "note": key.note,
    }


def _stamp(at_us: int | None) -> str | None:
    if at_us is None:
        return None
    return (EPOCH + timedelta(microseconds=at_us)).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

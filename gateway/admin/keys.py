"""/admin/keys: making, listing, revoking and rotating API keys while the gateway runs.

A key is in one reply only, that to its making. The guard comes before anything of a request is read.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal, TypeAlias, TypeVar

from fastapi import APIRouter, Path
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from gateway.core.contracts import LedgerUnavailable
from gateway.core.errors import Blame, GatewayError

from .guard import guarded

Found = TypeVar("Found")

DEADLINE_S = 10.0
DAY_S = 86_400

KeyId: TypeAlias = Annotated[str, Path(alias="id", description="The id of a key")]


class NewKey(BaseModel):
    """A key to be made."""

    model_config = ConfigDict(extra="forbid")

    team: str = Field(description="A team of the routes file.")
    id: str | None = Field(default=None, description="Names the key in the ledger. Absent: made of the team's name.")
    expires_at: AwareDatetime | None = Field(default=None, description="From when on it no longer opens.")
    note: str = Field(default="", description="One line for people.")


class Rotation(BaseModel):
    """How the old key ends."""

    model_config = ConfigDict(extra="forbid")

    grace_s: int = Field(default=DAY_S, ge=0, le=366 * DAY_S, description="How long the old key opens still.")


class Key(BaseModel):
    """A key; never the secret itself."""

    id: str
    team: str
    organisation: str
    state: Literal["active", "expired", "revoked"]
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    rotated_from: str | None
    note: str


class MadeKey(Key):
    """A key that was just made, with the secret."""

    key: str = Field(description="For the application. It is not stored and not shown again.")


class KeyList(BaseModel):
    """Every key there ever was, by id."""

    keys: list[Key]


# Any: text, and None where there is no such moment; it is checked on its way out.
_Facts = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class KeyParts:
    """What the composition root hands in. All of it blocks and runs in a thread.

    It raises LookupError for an unknown id, ValueError for what cannot be done, LedgerUnavailable.
    create: team, id, expires_at, note; rotate: id, grace in seconds.
    """

    create: Callable[[str, str | None, datetime | None, str], _Facts]
    listed: Callable[[], Sequence[_Facts]]
    revoke: Callable[[str], _Facts]
    rotate: Callable[[str, int], _Facts]


def key_routes(parts: KeyParts, authorise: Callable[[Any], None]) -> APIRouter:  # Any: an ASGI scope
    routes = APIRouter(prefix="/admin/keys", tags=["keys"], route_class=guarded(authorise))

    @routes.post("", status_code=201, response_model=MadeKey)
    async def create(asked: NewKey) -> _Facts:
        """Make a key for a team. The reply is the only place where it is shown."""
        return await _in_time(parts.create, asked.team, asked.id, asked.expires_at, asked.note)

    @routes.get("", response_model=KeyList)
    async def list_all() -> dict[str, Sequence[_Facts]]:
        """Every key that was made here, revoked and expired ones too; not those of the routes file."""
        return {"keys": await _in_time(parts.listed)}

    @routes.post("/{id}/revoke", response_model=Key)
    async def revoke(name: KeyId) -> _Facts:
        """Let a key open nothing any more, within a second in every process."""
        return await _in_time(parts.revoke, name)

    @routes.post("/{id}/rotate", status_code=201, response_model=MadeKey)
    async def rotate(name: KeyId, asked: Rotation | None = None) -> _Facts:
        """Make another key in the place of one; the old one opens for the time of grace."""
        return await _in_time(parts.rotate, name, (asked or Rotation()).grace_s)

    return routes


async def _in_time(act: Callable[..., Found], *arguments: object) -> Found:
    try:
        async with asyncio.timeout(DEADLINE_S):
            return await asyncio.to_thread(act, *arguments)
    except LookupError as exc:
        raise GatewayError(Blame.CALLER, 404, told=str(exc)) from exc
    except ValueError as exc:
        raise GatewayError(Blame.CALLER, 400, told=str(exc)) from exc
    except LedgerUnavailable as exc:
        told = "keys cannot be read or changed at the moment (the database is away); try again shortly"
        raise GatewayError(Blame.GATEWAY, 503, told=told, headers=(("retry-after", "1"),)) from exc
    except TimeoutError as exc:
        told = f"the database did not answer within {DEADLINE_S:g} s; what was asked may still happen: list the keys"
        raise GatewayError(Blame.GATEWAY, 504, told=told) from exc

"""/admin/cache: what the response cache keeps, whether a request would be served from it, and purging it.

The guard comes before anything of a request is read. No kept answer and no prompt is ever in a reply.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict, Field

from gateway.core.contracts import LedgerUnavailable
from gateway.core.errors import Blame, GatewayError

from .guard import guarded

Found = TypeVar("Found")

DEADLINE_S = 60.0

# Any: numbers, text, lists of the same; None where nothing is known.
_Facts = Mapping[str, Any]
Names = str | list[str]


class StatsQuestion(BaseModel):
    """What is counted."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    by: Literal["route", "team", "model", "scope"] = "route"
    most: int = Field(default=10_000, ge=1, le=100_000, description="So many entries are looked at.")


class PurgeRequest(BaseModel):
    """What is to go: everything that carries any one of these."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    route: Names = Field(default=[], description="One name or several.")
    team: Names = []
    model: Names = []
    tag: Names = Field(default=[], description="NAME=VALUE")
    all: bool = False
    force: bool = Field(default=False, description="Also names that the configuration does not have.")

    def named(self, kind: Literal["route", "team", "model", "tag"]) -> Sequence[str]:
        names: Names = getattr(self, kind)
        return [names] if isinstance(names, str) else names


class WhoAsks(BaseModel):
    """For whom a request is inspected."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    team: str | None = Field(default=None, description="Needed where teams are configured.")
    key: str = Field(default="", description="The id of a key: where each key has answers of its own.")


@dataclass(frozen=True, slots=True)
class CacheParts:
    """What the composition root hands in. stats: by, most. inspect: an ASGI scope, a chat body, team, key.

    They raise GatewayError, ValueError for what cannot be done, LedgerUnavailable; CacheUnavailable is `unavailable`.
    """

    stats: Callable[[Literal["route", "team", "model", "scope"], int], Awaitable[_Facts]]
    purge: Callable[[PurgeRequest], Awaitable[_Facts]]
    inspect: Callable[[Any, bytes, str | None, str], Awaitable[_Facts]]
    unavailable: type[Exception]


def cache_routes(parts: CacheParts, authorise: Callable[[Any], None]) -> APIRouter:  # Any: an ASGI scope
    routes = APIRouter(prefix="/admin/cache", tags=["cache"], route_class=guarded(authorise))

    @routes.get("")
    async def stats(asked: Annotated[StatsQuestion, Query()]) -> _Facts:
        """Kept answers in groups, the memory of their store, and the purges that it remembers."""
        return await _in_time(parts, parts.stats(asked.by, asked.most))

    @routes.post("/purge")
    async def purge(asked: PurgeRequest) -> _Facts:
        """Let kept answers go. Once this is answered no process replays them any more."""
        return await _in_time(parts, parts.purge(asked))

    @routes.post("/inspect")
    async def inspect(who: Annotated[WhoAsks, Query()], request: Request) -> _Facts:
        """Whether a chat request would be looked for and kept, and what is kept for it. The body is a chat body."""

        async def inspected() -> _Facts:
            return await parts.inspect(request.scope, await request.body(), who.team, who.key)

        return await _in_time(parts, inspected())  # reading the body counts too

    return routes


async def _in_time(parts: CacheParts, asked: Awaitable[Found]) -> Found:
    try:
        async with asyncio.timeout(DEADLINE_S):
            return await asked
    except ValueError as exc:
        raise GatewayError(Blame.CALLER, 400, told=str(exc)) from exc
    except LedgerUnavailable as exc:
        raise GatewayError(Blame.GATEWAY, 503, told=str(exc), headers=(("retry-after", "1"),)) from exc
    except parts.unavailable as exc:
        raise GatewayError(Blame.GATEWAY, 503, told=str(exc), headers=(("retry-after", "1"),)) from exc
    except TimeoutError as exc:
        told = f"the response cache was not looked through within {DEADLINE_S:g} s; ask for fewer entries with 'most'"
        raise GatewayError(Blame.GATEWAY, 504, told=told) from exc

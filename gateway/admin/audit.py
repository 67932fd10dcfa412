"""/admin/audit: who changed what while the gateway ran, newest first."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, TypeAlias

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from gateway.core.contracts import LedgerUnavailable
from gateway.core.errors import Blame, GatewayError

from .guard import guarded

DEADLINE_S = 10.0


class AuditQuestion(BaseModel):
    """Which lines are asked for."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    limit: int = Field(default=100, ge=1, le=1_000)
    subject: str | None = Field(default=None, description="Only lines about this one.")


class AuditLine(BaseModel):
    """One change."""

    at: datetime
    actor: str
    action: str
    subject: str
    detail: dict[str, Any] = Field(description="What else there is to say of it.")  # Any: numbers, text, truth


class AuditLines(BaseModel):
    """The newest first."""

    audit: list[AuditLine]


Read: TypeAlias = Callable[[int, str | None], Sequence[Mapping[str, Any]]]
"""limit, subject. Blocks; raises LedgerUnavailable. Any: as above; it is checked on its way out."""


def audit_routes(read: Read, authorise: Callable[[Any], None]) -> APIRouter:  # Any: an ASGI scope
    routes = APIRouter(prefix="/admin/audit", tags=["admin"], route_class=guarded(authorise))

    @routes.get("", response_model=AuditLines)
    async def audit(asked: Annotated[AuditQuestion, Query()]) -> dict[str, Any]:  # Any: as above
        """Keys that were made, rotated and revoked, and purges of the response cache."""
        try:
            async with asyncio.timeout(DEADLINE_S):
                return {"audit": await asyncio.to_thread(read, asked.limit, asked.subject)}
        except LedgerUnavailable as exc:
            told = "the audit cannot be read at the moment (the database is away); try again shortly"
            raise GatewayError(Blame.GATEWAY, 503, told=told, headers=(("retry-after", "1"),)) from exc
        except TimeoutError as exc:
            raise GatewayError(Blame.GATEWAY, 504, told=f"the database did not answer within {DEADLINE_S:g} s") from exc

    return routes
